//! Three deliveries that one driver is offered as one, through a kill of the node in the middle.

use crate::{
    client::Client,
    control::{done, event},
    node::{Node, driver, rider},
    rest::{Caller, assert_refused, json_of},
    ride::{PICKUP, act, go_on_duty, hear_offer, hear_status, new_ride, position},
};
use protocol::{
    DriverId, JobId, OrderId, OrderStatus, Point, Principal, RunId, RunStatus,
    frame::{ClientFrame, Outcome, Push, ServerFrame},
    view::{RunView, StopKind},
    work::{DriverAction, NewOrder, OrderAction, OrderKind, Wish},
};
use serde_json::json;
use std::time::Duration;

/// Near enough to every shop and every door: nobody has to move in this test.
fn here() -> Point {
    PICKUP.offset_m(20.0, 60.0)
}

async fn place_delivery(client: &mut Client, n: u8) -> OrderId {
    let east_m = 20.0 * f64::from(n);
    let stops = vec![PICKUP.offset_m(east_m, 0.0).into(), PICKUP.offset_m(east_m, 150.0).into()];
    let order = NewOrder { kind: OrderKind::Delivery, stops, ..new_ride() };
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

async fn bring(client: &mut Client, order: OrderId) {
    act(client, order, OrderAction::Arrive {}).await;
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
    let ended = crate::why::until(&staff, &path, |it| it["status"] == "completed").await;
    assert_eq!((ended["stops"].clone(), ended["orders"].as_array().unwrap().len()), (json!([]), 2));
    let listed = json_of(staff.get("/v1/runs?status=completed").await).await;
    assert_eq!(listed["items"][0]["id"], json!(run), "{listed}");
    let history = json_of(staff.get(&format!("/v1/actors/{run}/history")).await).await;
    assert_eq!(event(&history, "order_left")["reason"], "cancelled_by_rider");
    assert_eq!(event(&history, "run_resequenced")["by"], "dispatcher");
    assert!(ended["saving_percent"].as_u64() >= Some(15), "{ended}");
}
