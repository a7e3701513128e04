//! Deliveries that one driver is offered as one, through a kill of the node in the middle; and what dispatchers make of such
//! runs: two of one, and one of two.

use crate::{
    client::Client,
    cluster::insist,
    control::{done, event},
    node::{Node, driver, rider},
    rest::{Caller, assert_refused, json_of},
    ride::{PICKUP, act, go_on_duty, hear_offer, hear_status, new_ride, position},
    why::until,
};
use protocol::{
    DriverId, JobId, OrderId, OrderStatus, Point, Principal, RunId, RunStatus,
    frame::{ClientFrame, Outcome, Push, ServerFrame},
    view::{Offer, RunView, StopKind},
    work::{
        DriverAction, DutyWish, Needs, NewOrder, OrderAction, OrderKind, Vehicle, VehicleKind, Wish,
    },
};
use serde_json::{Value, json};
use std::{fs, time::Duration};

/// Near enough to every shop and every door: nobody has to move in this test.
pub(crate) fn here() -> Point {
    PICKUP.offset_m(20.0, 60.0)
}

pub(crate) async fn place_delivery(client: &mut Client, n: u8) -> OrderId {
    place_parcel(client, n, 0).await
}

async fn place_parcel(client: &mut Client, n: u8, weight_g: u32) -> OrderId {
    let east_m = 20.0 * f64::from(n);
    let ends = [PICKUP.offset_m(east_m, 0.0), PICKUP.offset_m(east_m, 150.0)];
    place_between(client, ends, weight_g).await
}

pub(crate) async fn place_between(client: &mut Client, ends: [Point; 2], weight_g: u32) -> OrderId {
    let stops = ends.map(Into::into).to_vec();
    let needs = Needs { weight_g, ..Needs::default() };
    let order = NewOrder { kind: OrderKind::Delivery, stops, needs, ..new_ride() };
    let outcome = client.wish(Wish::PlaceOrder(Box::new(order))).await;
    let Outcome::Ok(done) = outcome else { panic!("{outcome:?}") };
    done.actor.parse().unwrap()
}

/// Until the driver sees its run like this.
async fn hear_run(client: &mut Client, is_it: impl Fn(&RunView) -> bool) -> RunView {
    hear_pushes_and_run(client, 0, |_| false, is_it).await
}

/// Until the driver was told this so many times and sees its run like this, whichever it hears first.
async fn hear_pushes_and_run(
    client: &mut Client,
    n_pushes: usize,
    is_told: impl Fn(&Push) -> bool,
    is_it: impl Fn(&RunView) -> bool,
) -> RunView {
    let (mut n_told, mut last, mut seen) = (0, None, None);
    let hearing = async {
        while n_told < n_pushes || seen.is_none() {
            match client.hear().await {
                ServerFrame::Push { n, push } => {
                    client.say(&ClientFrame::Ack { n }).await;
                    n_told += usize::from(is_told(&push));
                }
                ServerFrame::Run(view) if is_it(&view) => seen = Some(*view),
                ServerFrame::Run(view) => last = Some(view),
                _ => {}
            }
        }
    };
    let is_heard = tokio::time::timeout(Duration::from_secs(8), hearing).await.is_ok();
    assert!(is_heard, "told {n_told} of {n_pushes} times, and of the run: {seen:?}, or {last:?}");
    seen.expect("heard")
}

pub(crate) async fn bring(client: &mut Client, order: OrderId) {
    // What was seen takes another way than what is asked, and may come later.
    insist(client, order, OrderAction::Arrive {}).await;
    act(client, order, OrderAction::PickUp { proofs: Vec::new() }).await;
    act(client, order, OrderAction::Depart {}).await;
    act(client, order, OrderAction::Arrive {}).await;
    act(client, order, OrderAction::Deliver { proofs: Vec::new(), cash: None }).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn three_deliveries_are_offered_as_one_and_brought_through_a_kill_of_the_node() {
    let mut node = Node::with(&[
        ("JOURNAL__KIND", "sqlite"),
        ("PRESET__NAME", "reskflow"),
        ("REGIONS__WARM_UP_MS", "0"),
        ("REGIONS__TICK_MS", "100"),
        ("REGIONS__BATCHES__EVERY_MS", "200"),
        // Nobody is asked about one of them alone meanwhile.
        ("REGIONS__BATCHES__HOLD_MS", "60000"),
    ]);
    let mut orders = Vec::new();
    for n in 0..3 {
        let mut rider = Client::connect(&node, rider(n)).await;
        orders.push(place_delivery(&mut rider, n as u8).await);
    }
    let mut phone = Client::connect(&node, driver(1)).await;
    go_on_duty(&mut phone, here()).await;

    // One offer of all: what it pays altogether and for each, and every stop.
    let offer = hear_offer(&mut phone).await;
    let whole = offer.run.as_deref().expect("of a run");
    let run: RunId = whole.run;
    assert_eq!((whole.orders.len(), whole.stops.len()), (3, 6));
    let sum: i64 = whole.orders.iter().map(|it| it.fare.amount).sum();
    assert!(sum > 0 && offer.fare.amount == sum, "{offer:?}");
    assert!(offer.jobs().all(|job| orders.iter().any(|it| JobId::Order(*it) == job)));
    let accept = DriverAction::AcceptOffer { offer: offer.id };
    let outcome = phone.wish(Wish::Driver { id: None, action: accept }).await;
    assert!(matches!(outcome, Outcome::Ok(_)), "{outcome:?}");
    let is_assigned = |push: &Push| matches!(push, Push::Assigned { .. });
    let is_active = |it: &RunView| it.status == RunStatus::Active && it.stops.len() == 6;
    hear_pushes_and_run(&mut phone, 3, is_assigned, is_active).await;

    tokio::task::block_in_place(|| node.kill_and_restart());
    let mut phone = Client::connect(&node, driver(1)).await;
    phone.say(&position(here())).await;
    let view = hear_run(&mut phone, |it| it.status == RunStatus::Active).await;
    assert_eq!((view.id, view.stops.len(), view.orders.len()), (run, 6, 3));
    let staff = Caller::new(&node, Principal::Dispatcher);
    for order in &orders {
        let shown = json_of(staff.get(&format!("/v1/orders/{order}")).await).await;
        assert_eq!((&shown["run"], &shown["status"]), (&json!(run), &json!("assigned")));
    }

    // One is called off: the driver sees what is left, and why it is left with it.
    let mut second = Client::connect(&node, rider(1)).await;
    act(&mut second, orders[1], OrderAction::Cancel { reason: "rain".to_owned() }).await;
    let called_off = JobId::Order(orders[1]);
    let is_released =
        |push: &Push| matches!(push, Push::Released { job, .. } if *job == called_off);
    let view = hear_pushes_and_run(&mut phone, 1, is_released, |it| it.stops.len() == 4).await;
    assert!(view.stops.iter().all(|it| it.order != orders[1]));

    // A dispatcher has another sequence in mind; riders have no say in it.
    let path = format!("/v1/runs/{run}/actions");
    let stop = |order: OrderId, what: StopKind| json!({ "order": order, "what": what });
    let stops = [orders[2], orders[0]]
        .map(|it| [StopKind::Pickup, StopKind::Dropoff].map(|what| stop(it, what)));
    let reorder = json!({ "reorder": { "stops": stops.concat(), "reason": "a birthday" } });
    let me = Caller::new(&node, rider(0));
    assert_refused(me.post(&path, &reorder).await, 403, "forbidden").await;
    assert_eq!(me.get(&format!("/v1/runs/{run}")).await.status(), 404);
    done(&staff, &path, reorder).await;
    let first = |it: &RunView| it.stops.first().map(|it| (it.order, it.what));
    hear_run(&mut phone, |it| first(it) == Some((orders[2], StopKind::Pickup))).await;
    let backwards = json!({ "reorder": {
        "stops": stops.concat().into_iter().rev().collect::<Vec<_>>(), "reason": "never mind" } });
    assert_refused(staff.post(&path, &backwards).await, 422, "invalid").await;

    // Nobody loses its driver for one who cannot come.
    let stranger = DriverId::nth(9);
    let split =
        json!({ "split": { "orders": [orders[0]], "driver": stranger, "reason": "why not" } });
    assert_refused(staff.post(&path, &split).await, 404, "not_found").await;
    phone.say(&position(here())).await;
    for (n, order) in [(2, orders[2]), (0, orders[0])] {
        bring(&mut phone, order).await;
        let mut rider = Client::connect(&node, rider(n)).await;
        let frame = ClientFrame::Subscribe(protocol::frame::Topic::Order(order));
        rider.say(&frame).await;
        hear_status(&mut rider, OrderStatus::Delivered).await;
    }
    let path = format!("/v1/runs/{run}");
    let ended = until(&staff, &path, |it| it["status"] == "completed").await;
    assert_eq!((ended["stops"].clone(), ended["orders"].as_array().unwrap().len()), (json!([]), 2));
    let listed = json_of(staff.get("/v1/runs?status=completed").await).await;
    assert_eq!(listed["items"][0]["id"], json!(run), "{listed}");
    let history = json_of(staff.get(&format!("/v1/actors/{run}/history")).await).await;
    assert_eq!(event(&history, "order_left")["reason"], "cancelled_by_rider");
    assert_eq!(event(&history, "run_resequenced")["by"], "dispatcher");
    assert!(ended["saving_percent"].as_u64() >= Some(15), "{ended}");
}

/// A node that looks often for what had better be brought together, and asks nobody about one of them alone.
fn node_with_runs(preset: (&str, &str)) -> Node {
    Node::with(&[
        preset,
        ("REGIONS__WARM_UP_MS", "0"),
        ("REGIONS__TICK_MS", "100"),
        ("REGIONS__BATCHES__EVERY_MS", "200"),
        ("REGIONS__BATCHES__HOLD_MS", "60000"),
    ])
}

/// On duty near every shop and door, with a vehicle that carries so much.
pub(crate) async fn carrying(node: &Node, n: u64, capacity_g: u32) -> Client {
    let mut client = Client::connect(node, driver(n)).await;
    let vehicle = Vehicle { kind: VehicleKind::Moto, capacity_g, skills: Vec::new() };
    let action = DriverAction::SetDuty { duty: DutyWish::On, vehicle: Some(vehicle) };
    let outcome = client.wish(Wish::Driver { id: None, action }).await;
    assert!(matches!(outcome, Outcome::Ok(_)), "{outcome:?}");
    client.say(&position(here())).await;
    client
}

pub(crate) async fn accept(client: &mut Client, offer: &Offer) {
    let accept = DriverAction::AcceptOffer { offer: offer.id };
    let outcome = client.wish(Wish::Driver { id: None, action: accept }).await;
    assert!(matches!(outcome, Outcome::Ok(_)), "{outcome:?}");
}

/// Until a driver was told so many times that it has one more job, and sees a run under way with so many stops left.
pub(crate) async fn hear_given(client: &mut Client, n_jobs: usize, n_stops: usize) -> RunView {
    let is_assigned = |push: &Push| matches!(push, Push::Assigned { .. });
    let is_it = |it: &RunView| it.status == RunStatus::Active && it.stops.len() == n_stops;
    hear_pushes_and_run(client, n_jobs, is_assigned, is_it).await
}

async fn hear_taken(client: &mut Client, orders: &[OrderId]) {
    for _ in orders {
        let job = client.hear_push(|push| match push {
            Push::Released { job, .. } => Some(job),
            _ => None,
        });
        let job = job.await;
        assert!(orders.iter().any(|it| JobId::Order(*it) == job), "{job:?}");
    }
}

pub(crate) fn names(orders: &[OrderId]) -> Vec<String> {
    orders.iter().map(OrderId::to_string).collect()
}

fn split(orders: &[OrderId], n: u64) -> Value {
    let driver = driver(n).to_string();
    json!({ "split": { "orders": names(orders), "driver": driver, "reason": "too much for one" } })
}

fn merge(into: RunId) -> Value {
    json!({ "merge": { "into": into, "reason": "one will do" } })
}

/// What is said against a driver.
async fn why_not(caller: &Caller<'_>, path: &str, action: &Value) -> Value {
    let response = caller.post(path, action).await;
    let (status, refused) = (response.status().as_u16(), json_of(response).await);
    assert_eq!((status, &refused["code"]), (409, &json!("not_eligible")), "{refused}");
    refused["why"].clone()
}

/// Whoever has it has it by that run.
async fn assert_with(staff: &Caller<'_>, orders: &[OrderId], run: RunId, n: u64) {
    for order in orders {
        let shown = json_of(staff.get(&format!("/v1/orders/{order}")).await).await;
        let with = (&shown["status"], &shown["run"], &shown["driver"]);
        let driver = json!(driver(n).to_string());
        assert_eq!(with, (&json!("assigned"), &json!(run), &driver), "{shown}");
    }
}

/// It was fetched once and handed over once, by that driver, whoever had it before.
async fn assert_served_once(staff: &Caller<'_>, order: OrderId, n: u64, n_drivers: usize) {
    let path = format!("/v1/orders/{order}");
    let shown = until(staff, &path, |it| it["status"] == "delivered").await;
    assert_eq!(shown["driver"], json!(driver(n).to_string()), "{shown}");
    let history = json_of(staff.get(&format!("/v1/actors/{order}/history")).await).await;
    let count = |name: &str| {
        let all = history.as_array().unwrap().iter();
        all.filter(|it| it["event"] == name).count()
    };
    assert_eq!((count("picked_up"), count("delivered")), (1, 1), "{history}");
    let assigned = (count("assigned"), count("driver_gone"));
    assert_eq!(assigned, (n_drivers, n_drivers - 1), "{history}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dispatcher_makes_two_runs_of_one_and_one_of_two_and_each_order_is_served_once() {
    let node = node_with_runs(("PRESET__NAME", "reskflow"));
    let staff = Caller::new(&node, Principal::Dispatcher);
    let mut orders = Vec::new();
    for n in 0..3 {
        let mut rider = Client::connect(&node, rider(n)).await;
        orders.push(place_delivery(&mut rider, n as u8).await);
    }
    let (stays, goes) = orders.split_at(1);
    let mut phone = carrying(&node, 1, 0).await;
    let offer = hear_offer(&mut phone).await;
    let run = offer.run.as_deref().expect("of a run").run;
    let path = format!("/v1/runs/{run}/actions");
    // Not before its driver has said yes.
    let refused = json_of(staff.post(&path, &merge(run)).await).await;
    assert_eq!(refused["code"], "illegal_transition", "{refused}");
    assert_eq!(refused["allowed"], json!(["abandon"]), "{refused}");
    accept(&mut phone, &offer).await;
    hear_given(&mut phone, 3, 6).await;

    // Two of one. Neither driver is asked, and both are told.
    let mut other = carrying(&node, 2, 0).await;
    let me = Caller::new(&node, rider(0));
    assert_refused(me.post(&path, &split(goes, 2)).await, 403, "forbidden").await;
    done(&staff, &path, split(goes, 2)).await;
    let second = hear_given(&mut other, 2, 4).await.id;
    assert_ne!(second, run);
    hear_taken(&mut phone, goes).await;
    let left = format!("/v1/runs/{run}");
    let is_left = |it: &Value| it["stops"].as_array().is_some_and(|stops| stops.len() == 2);
    let shown = until(&staff, &left, is_left).await;
    assert_eq!(shown["status"], "active");
    assert_eq!(shown["stops"][0]["order"], json!(stays[0]));
    assert_with(&staff, goes, second, 2).await;
    assert_with(&staff, stays, run, 1).await;

    // One of two. Whoever is to have more is asked, as ever.
    let theirs = format!("/v1/runs/{second}/actions");
    let nobody = RunId::nth(9);
    assert_refused(staff.post(&theirs, &merge(nobody)).await, 404, "not_found").await;
    assert_refused(me.post(&theirs, &merge(run)).await, 403, "forbidden").await;
    done(&staff, &theirs, merge(run)).await;
    let offer = hear_offer(&mut phone).await;
    let whole = offer.run.as_deref().expect("of a run");
    assert_eq!((whole.run, whole.orders.len(), whole.stops.len()), (run, 2, 6), "{offer:?}");
    accept(&mut phone, &offer).await;
    hear_given(&mut phone, 2, 6).await;
    hear_taken(&mut other, goes).await;
    let is_over = |it: &Value| it["status"] == "abandoned";
    let ended = until(&staff, &format!("/v1/runs/{second}"), is_over).await;
    assert_eq!((&ended["orders"], &ended["stops"]), (&json!([]), &json!([])));
    assert_with(&staff, &orders, run, 1).await;

    // What is on board is handed over from hand to hand, and by no word of a dispatcher's alone.
    phone.say(&position(here())).await;
    insist(&mut phone, stays[0], OrderAction::Arrive {}).await;
    act(&mut phone, stays[0], OrderAction::PickUp { proofs: Vec::new() }).await;
    let is_aboard = |it: &Value| {
        let all = it["orders"].as_array().into_iter().flatten();
        all.filter(|it| it["status"] == "aboard").count() == 1
    };
    until(&staff, &left, is_aboard).await;
    assert_refused(staff.post(&path, &split(stays, 2)).await, 409, "too_late").await;
    act(&mut phone, stays[0], OrderAction::Depart {}).await;
    act(&mut phone, stays[0], OrderAction::Arrive {}).await;
    let deliver = OrderAction::Deliver { proofs: Vec::new(), cash: None };
    act(&mut phone, stays[0], deliver).await;
    for order in goes {
        bring(&mut phone, *order).await;
    }
    until(&staff, &left, |it| it["status"] == "completed").await;
    let late = json_of(staff.post(&path, &merge(second)).await).await;
    assert_eq!(late["code"], "illegal_transition", "{late}");

    assert_served_once(&staff, stays[0], 1, 1).await;
    for order in goes {
        assert_served_once(&staff, *order, 1, 3).await;
    }
    for (run, name, reason) in
        [(run, "split_asked", "too much for one"), (second, "merge_asked", "one will do")]
    {
        let history = json_of(staff.get(&format!("/v1/actors/{run}/history")).await).await;
        let asked = event(&history, name);
        assert_eq!((&asked["by"], &asked["reason"]), (&json!("dispatcher"), &json!(reason)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_run_is_neither_split_nor_merged_for_who_has_no_room_and_goes_on_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("few.toml");
    let preset = include_str!("../../config/presets/reskflow.toml");
    let few = preset.replace("deliveries_max = 5", "deliveries_max = 3");
    assert_ne!(few, preset);
    fs::write(&file, few).unwrap();
    let node = node_with_runs(("PRESET__FILE", file.to_str().unwrap()));
    let staff = Caller::new(&node, Principal::Dispatcher);
    let mut orders = Vec::new();
    for n in 0..3 {
        let mut rider = Client::connect(&node, rider(n)).await;
        orders.push(place_parcel(&mut rider, n as u8, 8_000).await);
    }
    let mut phone = carrying(&node, 1, 50_000).await;
    let offer = hear_offer(&mut phone).await;
    let run = offer.run.as_deref().expect("of a run").run;
    accept(&mut phone, &offer).await;
    hear_given(&mut phone, 3, 6).await;

    let mut other = carrying(&node, 2, 50_000).await;
    let _small = carrying(&node, 3, 5_000).await;
    let path = format!("/v1/runs/{run}/actions");
    assert_eq!(why_not(&staff, &path, &split(&orders[1..], 3)).await, json!(["capacity"]));
    // One of them it could carry, but not both.
    let _middling = carrying(&node, 4, 15_000).await;
    assert_eq!(why_not(&staff, &path, &split(&orders[1..], 4)).await, json!(["capacity"]));
    let own = why_not(&staff, &path, &split(&orders[1..], 1)).await;
    assert_eq!(own, json!(["has_it", "no_room"]), "it is as full as it may be");
    assert_refused(staff.post(&path, &split(&[], 2)).await, 422, "invalid").await;
    assert_with(&staff, &orders, run, 1).await;
    done(&staff, &path, split(&orders[1..], 2)).await;
    let second = hear_given(&mut other, 2, 4).await.id;
    hear_taken(&mut phone, &orders[1..]).await;

    // Each has two of three now: neither has room for what the other brings.
    let mut rider = Client::connect(&node, rider(3)).await;
    orders.push(place_parcel(&mut rider, 1, 8_000).await);
    let more = hear_offer(&mut phone).await;
    assert_eq!(more.run.as_deref().map(|it| (it.run, it.orders.len())), Some((run, 1)), "{more:?}");
    accept(&mut phone, &more).await;
    hear_given(&mut phone, 1, 4).await;
    let theirs = format!("/v1/runs/{second}/actions");
    assert_eq!(why_not(&staff, &theirs, &merge(run)).await, json!(["no_room"]));
    assert_eq!(why_not(&staff, &path, &merge(second)).await, json!(["no_room"]));
    let alone = why_not(&staff, &path, &split(&orders[3..], 2)).await;
    assert_eq!(alone, Value::Null, "it has a run already");

    for (client, mine) in [(&mut phone, [0, 3]), (&mut other, [1, 2])] {
        client.say(&position(here())).await;
        for n in mine {
            bring(client, orders[n]).await;
        }
    }
    for run in [run, second] {
        until(&staff, &format!("/v1/runs/{run}"), |it| it["status"] == "completed").await;
    }
    for (n, by, n_drivers) in [(0, 1, 1), (1, 2, 2), (2, 2, 2), (3, 1, 1)] {
        assert_served_once(&staff, orders[n], by, n_drivers).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_brought_with_others_is_expected_after_all_that_is_brought_before_it() {
    let node = node_with_runs(("PRESET__NAME", "reskflow"));
    let (mut orders, mut riders) = (Vec::new(), Vec::new());
    for n in 0..3 {
        let mut rider = Client::connect(&node, rider(n)).await;
        orders.push(place_delivery(&mut rider, n as u8).await);
        riders.push(rider);
    }
    let mut phone = carrying(&node, 1, 50_000).await;
    let offer = hear_offer(&mut phone).await;
    accept(&mut phone, &offer).await;
    let run = hear_given(&mut phone, 3, 6).await;
    phone.say(&position(here())).await;
    let staff = Caller::new(&node, Principal::Dispatcher);
    let brought = run.stops.iter().filter(|it| it.what == StopKind::Dropoff);
    let mut before_s = 0;
    for stop in brought {
        let path = format!("/v1/orders/{}", stop.order);
        let shown = until(&staff, &path, |it| it["eta"]["arrival"].is_object()).await;
        let arrival_s = shown["eta"]["arrival"]["s"].as_u64().unwrap();
        assert!(arrival_s > before_s, "{shown}: {before_s} s until what comes before");
        before_s = arrival_s;
    }
    // And whoever follows the way of the driver is told so.
    phone.say(&position(here())).await;
    for rider in &mut riders {
        rider
            .hear_any(|frame| match frame {
                ServerFrame::Sighted { eta_s, .. } => eta_s,
                _ => None,
            })
            .await;
    }
}
