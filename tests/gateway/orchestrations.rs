//! Orders that are given to drivers as staff saw fit: shown first, then committed as shown or not at all.

use crate::{
    client::Client,
    control::done,
    node::{Node, driver, rider},
    plans::{PLAN, long},
    rest::{Caller, assert_refused, json_of},
    ride::{PICKUP, act, go_on_duty, hear_offer, position},
    runs::{accept, bring, carrying, hear_given, here, names, place_between},
    together::{insisted, node_that_waits, sorted, why},
    why::until,
};
use actors::zone::{neighbourhood, zones_at};
use protocol::{
    OrderId, Point, Principal,
    work::{DriverAction, DutyWish, OrderAction, Wish},
};
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

const SHOWN: &str = "/v1/orchestrations";
const COMMIT: &str = "/v1/orchestrations/commit";

/// Four parcels of nine kilograms, which a dispatcher holds.
async fn place_four(node: &Node, staff: &Caller<'_>) -> Vec<OrderId> {
    let mut orders = Vec::new();
    for n in 0..4 {
        let mut rider = Client::connect(node, rider(n)).await;
        let east_m = 20.0 * n as f64;
        let ends = [PICKUP.offset_m(east_m, 0.0), PICKUP.offset_m(east_m, 150.0)];
        orders.push(place_between(&mut rider, ends, 9_000).await);
    }
    for order in &orders {
        let path = format!("/v1/orders/{order}/actions");
        done(staff, &path, json!({ "hold": { "reason": "for the evening" } })).await;
    }
    orders
}

fn wanted(orders: &[OrderId], drivers: &[u64], engine: &str) -> Value {
    let drivers: Vec<String> = drivers.iter().map(|n| driver(*n).to_string()).collect();
    json!({ "orders": names(orders), "drivers": drivers, "engine": engine })
}

/// What is shown, once both drivers can be given something.
async fn shown(staff: &Caller<'_>, wanted: &Value) -> Value {
    insisted(staff, SHOWN, wanted, |it| it["unfit"] == json!([])).await
}

fn commitment(shown: &Value) -> Value {
    let given = |it: &Value| json!({ "driver": it["driver"], "orders": it["orders"] });
    let manifests: Vec<Value> = shown["manifests"].as_array().unwrap().iter().map(given).collect();
    let (seen, digest) = (&shown["seen"], &shown["digest"]);
    json!({ "manifests": manifests, "seen": seen, "digest": digest, "reason": "as planned" })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_shown_is_committed_once_and_each_driver_brings_its_own() {
    let node = node_that_waits();
    let staff = Caller::new(&node, Principal::Dispatcher);
    let orders = place_four(&node, &staff).await;
    let mut phones = [carrying(&node, 1, 20_000).await, carrying(&node, 2, 20_000).await];
    for engine in ["greedy", "sequencing"] {
        let told = shown(&staff, &wanted(&orders, &[1, 2], engine)).await;
        assert_eq!(told["unassigned"], json!([]), "{told}");
    }
    let told = shown(&staff, &wanted(&orders, &[1, 2], "capacity")).await;
    assert_eq!(told["unassigned"], json!([]), "{told}");
    let manifests = told["manifests"].as_array().unwrap();
    assert_eq!(manifests.len(), 2, "two are as much as each holds: {told}");
    for manifest in manifests {
        assert_eq!(manifest["weight_g"], 18_000, "{told}");
        let stops = manifest["stops"].as_array().unwrap();
        let loads: Vec<u64> = stops.iter().map(|it| it["load_g"].as_u64().unwrap()).collect();
        assert_eq!((loads.len(), loads.last()), (4, Some(&0)), "{told}");
        assert!(loads.iter().all(|load| *load <= 20_000), "{told}");
        let due: Vec<u64> = stops.iter().map(|it| it["due"].as_u64().unwrap()).collect();
        assert!(due.is_sorted(), "{told}");
    }

    let body = commitment(&told);
    let committed = json_of(staff.post_as("evening", COMMIT, &body).await).await;
    assert_eq!(committed["runs"].as_array().map(Vec::len), Some(2), "{committed}");
    assert_eq!(committed["failed"], json!([]), "{committed}");
    let again = json_of(staff.post_as("evening", COMMIT, &body).await).await;
    let runs = |it: &Value| [it["runs"][0]["run"].clone(), it["runs"][1]["run"].clone()];
    assert_eq!(runs(&again), runs(&committed), "{again}");
    let anew = json_of(staff.post(COMMIT, &body).await).await;
    assert_eq!(anew["code"], "too_late", "it is not as it was shown: {anew}");

    for phone in &mut phones {
        let offer = hear_offer(phone).await;
        let whole = offer.run.as_deref().expect("of a run");
        let mut all = committed["runs"].as_array().unwrap().iter();
        let mine = all.find(|it| it["run"] == json!(whole.run)).expect("as committed");
        let given: Vec<OrderId> = whole.orders.iter().map(|it| it.order).collect();
        assert_eq!(sorted(&json!(given)), sorted(&mine["orders"]));
        accept(phone, &offer).await;
        let run = hear_given(phone, 2, 4).await;
        phone.say(&position(here())).await;
        for order in run.orders {
            bring(phone, order.order).await;
        }
        until(&staff, &format!("/v1/runs/{}", run.id), |it| it["status"] == "completed").await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_has_changed_since_it_was_shown_is_named_and_nothing_is_done() {
    let node = node_that_waits();
    let staff = Caller::new(&node, Principal::Dispatcher);
    let orders = place_four(&node, &staff).await;
    let _phones = [carrying(&node, 1, 20_000).await, carrying(&node, 2, 20_000).await];
    let told = shown(&staff, &wanted(&orders, &[1, 2], "capacity")).await;
    let body = commitment(&told);

    // Not what was shown.
    let mut other = body.clone();
    other["manifests"][0]["orders"].as_array_mut().unwrap().pop();
    assert_refused(staff.post(COMMIT, &other).await, 422, "invalid").await;
    let mut other = body.clone();
    other["seen"][0]["state"] = json!("1000");
    assert_refused(staff.post(COMMIT, &other).await, 422, "invalid").await;

    let mut second = Client::connect(&node, rider(1)).await;
    act(&mut second, orders[1], OrderAction::Cancel { reason: "rain".to_owned() }).await;
    let response = staff.post(COMMIT, &body).await;
    let (status, refused) = (response.status().as_u16(), json_of(response).await);
    assert_eq!((status, &refused["code"]), (409, &json!("too_late")), "{refused}");
    let changed = refused["changed"].as_array().unwrap();
    assert_eq!(changed.len(), 1, "{refused}");
    assert_eq!(changed[0]["id"], json!(orders[1]), "{refused}");
    assert_ne!(changed[0]["was"], changed[0]["is"], "{refused}");
    let listed = json_of(staff.get("/v1/runs").await).await;
    assert_eq!(listed["items"], json!([]), "{listed}");

    // Shown anew, it is left out, and said why.
    let told = shown(&staff, &wanted(&orders, &[1, 2], "capacity")).await;
    let cancelled = json!({ "alone": told["unassigned"] });
    assert_eq!(why(&cancelled, orders[1]), "taken", "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_committed_is_told_once_more_only_to_whom_its_orders_are_shown() {
    let node = node_that_waits();
    let staff = Caller::new(&node, Principal::Dispatcher);
    let orders = place_four(&node, &staff).await;
    let _phones = [carrying(&node, 1, 20_000).await, carrying(&node, 2, 20_000).await];
    let body = commitment(&shown(&staff, &wanted(&orders, &[1, 2], "capacity")).await);
    let committed = json_of(staff.post_as("evening", COMMIT, &body).await).await;
    assert_eq!(committed["runs"].as_array().map(Vec::len), Some(2), "{committed}");
    // To the node all dispatchers are one, and this is said again.
    let elsewhere = [neighbourhood(Point { lat: 40.75, lon: -73.98 })];
    let theirs = Caller::with(&node, node.token_of(&elsewhere));
    assert_refused(theirs.post_as("evening", COMMIT, &body).await, 404, "not_found").await;
    let around = zones_at(PICKUP).next().expect("it is in one");
    let ours = Caller::with(&node, node.token_of(&[around]));
    let again = json_of(ours.post_as("evening", COMMIT, &body).await).await;
    assert_eq!(again["runs"].as_array().map(Vec::len), Some(2), "{again}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_asks_while_routes_are_planned_is_told_when_to_ask_again_and_has_its_turn_then() {
    let node = node_that_waits();
    let staff = Caller::new(&node, Principal::Dispatcher);
    let orders = place_four(&node, &staff).await;
    let _phone = carrying(&node, 1, 20_000).await;
    let asked = wanted(&orders, &[1], "greedy");
    shown(&staff, &asked).await;
    let (url, token) = (node.url(PLAN), node.token(Principal::Dispatcher));
    let planning = tokio::spawn(async move {
        let http = reqwest::Client::new();
        loop {
            let plan = http.post(&url).bearer_auth(&token).json(&long());
            // What is asked below may be before it.
            if plan.send().await.unwrap().status() != StatusCode::TOO_MANY_REQUESTS {
                return;
            }
        }
    });
    let began = Instant::now();
    let refused = loop {
        let response = staff.post(SHOWN, &asked).await;
        if response.status() != StatusCode::OK {
            break response;
        }
        let is_soon = began.elapsed() < Duration::from_secs(5);
        assert!(is_soon && !planning.is_finished(), "both are planned at once");
    };
    assert_eq!(refused.headers()["retry-after"], "1");
    assert_refused(refused, 429, "busy").await;
    // Its search would last for seconds more.
    planning.abort();
    let told = shown(&staff, &asked).await;
    assert_eq!(told["manifests"].as_array().map(Vec::len), Some(1), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_sent_to_a_paused_zone_for_what_is_held_there() {
    let node = node_that_waits();
    let staff = Caller::new(&node, Principal::Dispatcher);
    let orders = place_four(&node, &staff).await;
    let _phones = [carrying(&node, 1, 20_000).await, carrying(&node, 2, 20_000).await];
    let asked = wanted(&orders, &[1, 2], "capacity");
    let body = commitment(&shown(&staff, &asked).await);
    let zone = zones_at(PICKUP).next().expect("it is in one");
    let pause = json!({ "pause": { "reason": "a flood" } });
    done(&staff, &format!("/v1/zones/{zone}/actions"), pause).await;

    let all = |it: &Value| it["unassigned"].as_array().map(Vec::len) == Some(4);
    let told = insisted(&staff, SHOWN, &asked, all).await;
    assert_eq!(why(&json!({ "alone": told["unassigned"] }), orders[0]), "zone_paused", "{told}");
    let run = json!({ "orders": names(&orders[..2]), "force": true, "reason": "why not" });
    for (path, body) in [(COMMIT, &body), ("/v1/runs", &run)] {
        let response = staff.post(path, body).await;
        let (status, refused) = (response.status().as_u16(), json_of(response).await);
        assert_eq!((status, &refused["code"]), (409, &json!("not_eligible")), "{refused}");
        assert_eq!(refused["against"][0]["why"], "zone_paused", "{refused}");
    }
    let listed = json_of(staff.get("/v1/runs").await).await;
    assert_eq!(listed["items"], json!([]), "{listed}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_may_not_and_what_is_too_much_is_refused() {
    let node = node_that_waits();
    let staff = Caller::new(&node, Principal::Dispatcher);
    let orders = place_four(&node, &staff).await;
    let _phone = carrying(&node, 1, 20_000).await;
    let fine = wanted(&orders, &[1], "greedy");
    for who in [rider(0), driver(1)] {
        let caller = Caller::new(&node, who);
        assert_refused(caller.post(SHOWN, &fine).await, 403, "forbidden").await;
    }
    let elsewhere = [neighbourhood(Point { lat: 40.75, lon: -73.98 })];
    let theirs = Caller::with(&node, node.token_of(&elsewhere));
    assert_refused(theirs.post(SHOWN, &fine).await, 404, "not_found").await;
    let told = shown(&staff, &fine).await;
    assert_refused(theirs.post(COMMIT, &commitment(&told)).await, 404, "not_found").await;
    let many: Vec<OrderId> = (0..51).map(OrderId::nth).collect();
    for wrong in [
        wanted(&many, &[1], "greedy"),
        wanted(&[], &[1], "greedy"),
        wanted(&orders, &[], "greedy"),
        wanted(&orders, &(0..21).collect::<Vec<_>>(), "greedy"),
        wanted(&orders, &[1, 1], "greedy"),
        wanted(&orders, &[1], "magic"),
    ] {
        assert_refused(staff.post(SHOWN, &wrong).await, 422, "invalid").await;
    }
    assert_refused(staff.post(SHOWN, &wanted(&orders, &[9], "greedy")).await, 404, "not_found")
        .await;
    // Who is known and does not work is named with a reason.
    let mut off = Client::connect(&node, driver(3)).await;
    go_on_duty(&mut off, here()).await;
    let action = DriverAction::SetDuty { duty: DutyWish::Off, vehicle: None };
    off.wish(Wish::Driver { id: None, action }).await;
    let told = json_of(staff.post(SHOWN, &wanted(&orders, &[3], "greedy")).await).await;
    assert_eq!(told["unfit"][0]["why"][0], "off_duty", "{told}");
    assert_eq!(why(&json!({ "alone": told["unassigned"] }), orders[0]), "no_driver", "{told}");
}
