//! How scarce drivers are around a place, where somebody is in the queue, and where a driver had better wait.

use crate::{
    client::Client,
    control::{done, on_duty},
    node::{Node, driver, rider},
    rest::{Caller, assert_refused, json_of},
    ride::{PICKUP, place_ride},
    why::until,
};
use protocol::{Principal, frame::ServerFrame, view::Hint};
use serde_json::{Value, json};

/// Counts five times a second.
fn node_that_counts_often() -> Node {
    Node::with(&[
        ("REGIONS__TICK_MS", "50"),
        ("REGIONS__WARM_UP_MS", "0"),
        ("REGIONS__SURGE__EVERY_MS", "200"),
        ("REGIONS__SPREADING__REST_MS", "0"),
        ("PRESET__NAME", "safeboda"),
    ])
}

fn around() -> String {
    format!("/v1/demand?lat={}&lon={}&within_m=3000", PICKUP.lat, PICKUP.lon)
}

#[tokio::test]
async fn where_many_wait_the_multiplier_rises_and_everybody_knows_their_place() {
    let node = node_that_counts_often();
    let staff = Caller::new(&node, Principal::Dispatcher);
    let mut first = Client::connect(&node, rider(1)).await;
    let mut second = Client::connect(&node, rider(2)).await;
    let [one, two] = [place_ride(&mut first).await, place_ride(&mut second).await];
    let is_scarce = |it: &Value| it[0]["surge_percent"].as_u64() > Some(100);
    let zones = until(&staff, &around(), is_scarce).await;
    let zone = &zones[0];
    assert_eq!((&zone["n_waiting"], &zone["n_free"]), (&json!(2), &json!(0)), "{zone}");
    assert!(zone["ratio"].as_f64() > Some(2.0), "{zone}");
    // What was asked is counted by squares, whose middles may lie in the next zone.
    let all = zones.as_array().unwrap().iter();
    let per_hour: f64 = all.filter_map(|it| it["per_hour"].as_f64()).sum();
    assert!(per_hour > 0.0, "{zones}");
    let change = &zone["changes"][0];
    assert_eq!((&change["from_percent"], &change["n_waiting"]), (&json!(100), &json!(2)), "{zone}");

    let me = Caller::new(&node, rider(2));
    let queue = format!("/v1/orders/{two}/queue");
    let place = until(&me, &queue, |it| it["n_waiting"] == 2).await;
    assert_eq!(place["position"], 2, "{place}");
    assert!(place.get("eta_s").is_none(), "there is nobody who could come: {place}");
    let high = json!({ "set_priority": { "priority": "high", "reason": "to a hospital" } });
    done(&staff, &format!("/v1/orders/{two}/actions"), high).await;
    until(&me, &queue, |it| it["position"] == 1).await;
    assert_refused(me.get(&format!("/v1/orders/{one}/queue")).await, 404, "not_found").await;
    assert_refused(me.get(&around()).await, 403, "forbidden").await;
}

#[tokio::test]
async fn a_driver_with_nothing_to_do_is_told_where_somebody_asks() {
    let node = node_that_counts_often();
    let staff = Caller::new(&node, Principal::Dispatcher);
    let mut asking = Client::connect(&node, rider(1)).await;
    let order = place_ride(&mut asking).await;
    until(&staff, &around(), |it| it[0]["n_waiting"] == 1).await;
    done(&staff, &format!("/v1/orders/{order}/actions"), json!({ "cancel": {} })).await;
    until(&staff, &around(), |it| it[0]["n_waiting"] == 0).await;

    let mut waiting = on_duty(&node, 1, 1_800.0).await;
    let hint: Hint = waiting
        .hear_any(|frame| match frame {
            ServerFrame::Driver(view) => view.hint,
            _ => None,
        })
        .await;
    assert!(hint.to.distance_m(PICKUP) < 600.0, "{hint:?}");
    let me = Caller::new(&node, driver(1));
    let history = json_of(staff.get(&format!("/v1/actors/{}/history", driver(1))).await).await;
    let told = history.as_array().unwrap().iter().filter(|it| it["event"] == "hinted");
    assert_eq!(told.count(), 1, "{history}");
    assert_refused(me.get(&around()).await, 403, "forbidden").await;
}
