//! Deliveries that staff have brought together, and what they are told would be.

use crate::{
    client::Client,
    cluster::{Shared, is_shared_by, seen},
    control::{done, event},
    node::{Node, driver, rider},
    rest::{Caller, assert_refused, json_of},
    ride::{PICKUP, hear_offer, position},
    runs::{accept, bring, carrying, hear_given, here, names, place_between, place_delivery},
    why::until,
};
use actors::{
    listing::RegionId,
    zone::{neighbourhood, zones_at},
};
use futures_util::future::join_all;
use protocol::{JobId, OrderId, Point, Principal, RunId};
use serde_json::{Value, json};
use std::time::Duration;

const RUNS: &str = "/v1/runs";
const GROUPS: &str = "/v1/cluster-deliveries";

/// A node that brings nothing together by itself for an hour, and asks nobody about one of them alone for a minute.
pub(crate) fn node_that_waits() -> Node {
    node_that_looks_every("3600000")
}

fn node_that_looks_every(ms: &str) -> Node {
    Node::with(&[
        ("PRESET__NAME", "reskflow"),
        ("REGIONS__WARM_UP_MS", "0"),
        ("REGIONS__TICK_MS", "100"),
        ("REGIONS__BATCHES__EVERY_MS", ms),
        ("REGIONS__BATCHES__HOLD_MS", "60000"),
    ])
}

fn region() -> String {
    RegionId::at(PICKUP).to_string()
}

async fn place_three(node: &Node) -> Vec<OrderId> {
    let mut orders = Vec::new();
    for n in 0..3 {
        let mut rider = Client::connect(node, rider(n)).await;
        orders.push(place_delivery(&mut rider, n as u8).await);
    }
    orders
}

/// What is answered, once it is so many groups and so many alone: what somebody says takes a moment to be known everywhere.
async fn groups(staff: &Caller<'_>, asked: &Value, n: usize, n_alone: usize) -> Value {
    let is_it = |told: &Value| {
        let n_groups = told["groups"].as_array().map(Vec::len);
        n_groups == Some(n) && told["n_alone"] == json!(n_alone)
    };
    insisted(staff, GROUPS, asked, is_it).await
}

/// Asks again until the answer is such.
pub(crate) async fn insisted(
    staff: &Caller<'_>,
    path: &str,
    body: &Value,
    is_it: impl Fn(&Value) -> bool,
) -> Value {
    let mut last = Value::Null;
    for _ in 0..100 {
        last = json_of(staff.post(path, body).await).await;
        if is_it(&last) {
            return last;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never so: {last}");
}

pub(crate) fn why(told: &Value, order: OrderId) -> &Value {
    let all = told["alone"].as_array().or(told["against"].as_array()).expect("says who is alone");
    let found = all.iter().find(|it| it["order"] == json!(order));
    &found.unwrap_or_else(|| panic!("{order} is not among {told}"))["why"]
}

pub(crate) fn sorted(orders: &Value) -> Vec<OrderId> {
    let mut orders: Vec<OrderId> = serde_json::from_value(orders.clone()).unwrap();
    orders.sort_unstable();
    orders
}

async fn refused(staff: &Caller<'_>, body: &Value, code: &str) -> Value {
    let response = staff.post(RUNS, body).await;
    let (status, refused) = (response.status().as_u16(), json_of(response).await);
    assert_eq!((status, &refused["code"]), (409, &json!(code)), "{refused}");
    refused
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dispatcher_wants_together_is_made_once_and_brought() {
    let node = node_that_waits();
    let staff = Caller::new(&node, Principal::Dispatcher);
    let orders = place_three(&node).await;
    let alone = groups(&staff, &json!({ "region": region() }), 0, 3).await;
    assert_eq!(why(&alone, orders[0]), "no_driver", "{alone}");
    let mut phone = carrying(&node, 1, 0).await;
    let told = groups(&staff, &json!({ "region": region() }), 1, 0).await;
    let group = &told["groups"][0];
    assert_eq!(sorted(&group["orders"]), sorted(&json!(orders)), "{told}");
    assert_eq!(group["driver"], json!(driver(1).to_string()), "{told}");
    assert_eq!(told["alone"], json!([]), "{told}");

    let body = json!({ "orders": names(&orders), "reason": "the bus leaves at six" });
    let made = json_of(staff.post_as("six-o-clock", RUNS, &body).await).await;
    let run = &made["runs"][0];
    assert_eq!(run["driver"], json!(driver(1).to_string()), "{made}");
    assert_eq!(sorted(&run["orders"]), sorted(&json!(orders)), "{made}");
    assert_eq!(run["stops"].as_array().map(Vec::len), Some(6), "{made}");
    assert!(run["saving_percent"].as_u64() >= Some(15), "{made}");
    let again = json_of(staff.post_as("six-o-clock", RUNS, &body).await).await;
    assert_eq!(again["runs"][0]["run"], run["run"], "{again}");
    assert_eq!(again["runs"][0]["stops"], run["stops"], "{again}");
    let other = json!({ "orders": names(&orders), "reason": "or at seven" });
    let reused = staff.post_as("six-o-clock", RUNS, &other).await;
    assert_refused(reused, 422, "command_id_reused").await;

    let offer = hear_offer(&mut phone).await;
    let whole = offer.run.as_deref().expect("of a run");
    assert_eq!((json!(whole.run), whole.orders.len()), (run["run"].clone(), 3));
    accept(&mut phone, &offer).await;
    let given = hear_given(&mut phone, 3, 6).await;
    let mut in_turn = Vec::new();
    for stop in &given.stops {
        if !in_turn.contains(&stop.order) {
            in_turn.push(stop.order);
        }
    }
    assert_eq!(json!(in_turn), run["orders"], "as the dispatcher was told");
    // Each is in one now, and in no other.
    let late = refused(&staff, &body, "not_eligible").await;
    assert_eq!(why(&late, orders[1]), "taken", "{late}");
    phone.say(&position(here())).await;
    for order in in_turn {
        bring(&mut phone, order).await;
    }
    let path = format!("/v1/runs/{}", run["run"].as_str().unwrap());
    until(&staff, &path, |it| it["status"] == "completed").await;
    let listed = json_of(staff.get(RUNS).await).await;
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1), "{listed}");
    let history = format!("/v1/actors/{}/history", whole.run);
    let history = json_of(staff.get(&history).await).await;
    let planned = event(&history, "run_planned");
    assert_eq!(planned["by"], "dispatcher", "{planned}");
    assert_eq!(planned["reason"], "the bus leaves at six", "{planned}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_made_is_told_once_more_only_to_whom_its_orders_are_shown() {
    let node = node_that_waits();
    let staff = Caller::new(&node, Principal::Dispatcher);
    let orders = place_three(&node).await;
    let _phone = carrying(&node, 1, 0).await;
    groups(&staff, &json!({ "region": region() }), 1, 0).await;
    let body = json!({ "orders": names(&orders), "reason": "the bus leaves at six" });
    let made = json_of(staff.post_as("six-o-clock", RUNS, &body).await).await;
    assert!(made["runs"][0]["run"].is_string(), "{made}");
    // To the node all dispatchers are one, and this is said again.
    let elsewhere = [neighbourhood(Point { lat: 40.75, lon: -73.98 })];
    let theirs = Caller::with(&node, node.token_of(&elsewhere));
    assert_refused(theirs.post_as("six-o-clock", RUNS, &body).await, 404, "not_found").await;
    let around = zones_at(PICKUP).next().expect("it is in one");
    let ours = Caller::with(&node, node.token_of(&[around]));
    let again = json_of(ours.post_as("six-o-clock", RUNS, &body).await).await;
    assert_eq!(again["runs"][0]["run"], made["runs"][0]["run"], "{again}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_looks_while_as_many_look_as_may_is_told_when_to_look_again() {
    let node = node_that_waits();
    let staff = Caller::new(&node, Principal::Dispatcher);
    place_three(&node).await;
    let asked = json!({ "region": region() });
    let mut refused = None;
    for _ in 0..10 {
        let all = join_all((0..8).map(|_| staff.post(GROUPS, &asked))).await;
        refused = all.into_iter().find(|it| it.status() != 200);
        if refused.is_some() {
            break;
        }
    }
    let refused = refused.expect("eight at once are more than two");
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_refused(refused, 429, "busy").await;
    // Whoever comes when the others are done has its turn.
    groups(&staff, &asked, 0, 3).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_held_goes_to_the_driver_who_was_named_and_to_nobody_else() {
    let node = node_that_waits();
    let staff = Caller::new(&node, Principal::Dispatcher);
    let orders = place_three(&node).await;
    for order in &orders {
        let path = format!("/v1/orders/{order}/actions");
        done(&staff, &path, json!({ "hold": { "reason": "for one round" } })).await;
    }
    let held = groups(&staff, &json!({ "orders": names(&orders) }), 0, 3).await;
    assert_eq!(why(&held, orders[2]), "held", "{held}");
    let mut near = carrying(&node, 1, 0).await;
    let body = |n: u64| json!({ "orders": names(&orders), "driver": driver(n).to_string(), "reason": "one round" });
    let unknown = staff.post(RUNS, &body(7)).await;
    assert_refused(unknown, 404, "not_found").await;
    let mut named = carrying(&node, 2, 0).await;
    // Once it is known where it is.
    let made = insisted(&staff, RUNS, &body(2), |it| it["runs"].is_array()).await;
    assert_eq!(made["runs"][0]["driver"], json!(driver(2).to_string()), "{made}");
    let offer = hear_offer(&mut named).await;
    accept(&mut named, &offer).await;
    hear_given(&mut named, 3, 6).await;
    let busy = refused(&staff, &body(1), "not_eligible").await;
    assert_eq!(why(&busy, orders[0]), "taken", "{busy}");
    near.say(&position(here())).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_is_said_which_order_is_in_the_way_and_who_may_not_ask() {
    let node = node_that_waits();
    let staff = Caller::new(&node, Principal::Dispatcher);
    let orders = place_three(&node).await;
    let mut rider_there = Client::connect(&node, rider(5)).await;
    let ends = [PICKUP.offset_m(2_600.0, 0.0), PICKUP.offset_m(2_600.0, 300.0)];
    let far = place_between(&mut rider_there, ends, 0).await;
    let _phone = carrying(&node, 1, 0).await;
    groups(&staff, &json!({ "region": region() }), 1, 1).await;

    let with = |more: &[OrderId]| {
        let all = [&orders[..2], more].concat();
        json!({ "orders": names(&all), "reason": "why not" })
    };
    let apart = refused(&staff, &with(&[far]), "not_eligible").await;
    assert_eq!(why(&apart, far), "pickups_apart", "{apart}");
    assert_eq!(apart["against"].as_array().map(Vec::len), Some(1), "{apart}");
    let told = json_of(staff.post(GROUPS, &with(&[far])).await).await;
    assert_eq!(told["code"], "invalid", "a reason is nothing to it: {told}");
    let among = json!({ "orders": names(&[orders[0], orders[1], far]) });
    let told = groups(&staff, &among, 1, 1).await;
    assert_eq!(why(&told, far), "pickups_apart", "{told}");

    let one = json!({ "orders": names(&orders[..1]), "reason": "why not" });
    assert_refused(staff.post(RUNS, &one).await, 422, "invalid").await;
    let twice = json!({ "orders": names(&[orders[0], orders[0]]), "reason": "why not" });
    assert_refused(staff.post(RUNS, &twice).await, 422, "invalid").await;
    let silent = json!({ "orders": names(&orders), "reason": " " });
    assert_refused(staff.post(RUNS, &silent).await, 422, "invalid").await;
    let nobody = with(&[OrderId::nth(9)]);
    assert_refused(staff.post(RUNS, &nobody).await, 404, "not_found").await;
    let nowhere = json!({ "region": "region-nowhere", "reason": "why not" });
    assert_refused(staff.post(RUNS, &nowhere).await, 404, "not_found").await;
    for who in [rider(0), driver(1)] {
        let caller = Caller::new(&node, who);
        assert_refused(caller.post(RUNS, &with(&[])).await, 403, "forbidden").await;
        let region = json!({ "region": region() });
        assert_refused(caller.post(GROUPS, &region).await, 403, "forbidden").await;
    }

    // To whom these places are not shown, what is there does not exist.
    let elsewhere = [neighbourhood(Point { lat: 40.75, lon: -73.98 })];
    let theirs = Caller::with(&node, node.token_of(&elsewhere));
    assert_refused(theirs.post(RUNS, &with(&[])).await, 404, "not_found").await;
    let body = json!({ "region": region(), "reason": "why not" });
    assert_refused(theirs.post(RUNS, &body).await, 403, "forbidden").await;
    assert_refused(theirs.post(GROUPS, &json!({ "region": region() })).await, 403, "forbidden")
        .await;

    // Nothing was done by any of that.
    let listed = json_of(staff.get(RUNS).await).await;
    assert_eq!(listed["items"], json!([]), "{listed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_told_of_a_region_is_what_it_makes_by_itself_and_when_it_is_asked_to() {
    let numbers = |all: &[OrderId], some: &[OrderId]| {
        let mut numbers: Vec<usize> =
            some.iter().filter_map(|it| all.iter().position(|one| one == it)).collect();
        numbers.sort_unstable();
        numbers
    };
    // By itself.
    let node = node_that_looks_every("200");
    let orders = place_three(&node).await;
    let mut phone = carrying(&node, 1, 0).await;
    let offer = hear_offer(&mut phone).await;
    let offered: Vec<OrderId> = offer
        .jobs()
        .filter_map(|job| match job {
            JobId::Order(order) => Some(order),
            JobId::Rescue(_) => None,
        })
        .collect();
    let by_itself = numbers(&orders, &offered);

    // As it is told, and as a dispatcher wants it now.
    let node = node_that_waits();
    let staff = Caller::new(&node, Principal::Dispatcher);
    let orders = place_three(&node).await;
    let mut phone = carrying(&node, 1, 0).await;
    let told = groups(&staff, &json!({ "region": region() }), 1, 0).await;
    assert_eq!(numbers(&orders, &sorted(&told["groups"][0]["orders"])), by_itself, "{told}");
    let body = json!({ "region": region(), "reason": "it begins to rain" });
    let made = json_of(staff.post(RUNS, &body).await).await;
    assert_eq!(numbers(&orders, &sorted(&made["runs"][0]["orders"])), by_itself, "{made}");
    assert_eq!((&made["alone"], &made["n_left"]), (&json!([]), &json!(0)), "{made}");
    let saving = &made["runs"][0]["saving_percent"];
    assert_eq!(saving, &told["groups"][0]["saving_percent"], "{made}");
    let offer = hear_offer(&mut phone).await;
    let run: RunId = offer.run.as_deref().expect("of a run").run;
    assert_eq!(json!(run), made["runs"][0]["run"]);
    // Said once more, there is nothing left to be made.
    let again = json_of(staff.post(RUNS, &body).await).await;
    assert_eq!(again["runs"], json!([]), "{again}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whichever_node_is_asked_the_one_that_matches_there_says_what_would_be() {
    let shared = Shared::new().await;
    let settings = [
        ("PRESET__NAME", "reskflow"),
        ("REGIONS__BATCHES__EVERY_MS", "3600000"),
        ("REGIONS__BATCHES__HOLD_MS", "60000"),
    ];
    let nodes = ["first", "second"].map(|name| shared.node_with(name, &settings));
    for node in &nodes {
        seen(node, is_shared_by(2)).await;
    }
    let orders = place_three(&nodes[0]).await;
    let _phone = carrying(&nodes[0], 1, 0).await;
    for node in &nodes {
        let staff = Caller::new(node, Principal::Dispatcher);
        let told = groups(&staff, &json!({ "region": region() }), 1, 0).await;
        assert_eq!(sorted(&told["groups"][0]["orders"]), sorted(&json!(orders)), "{told}");
    }
}
