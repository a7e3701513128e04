//! How scarce drivers are around a place, where somebody is in the queue, and where a driver had better wait.

use crate::{
    client::{Client, now},
    control::{done, event, on_duty},
    node::{Node, driver, rider},
    rest::{Caller, assert_refused, json_of, ride},
    ride::{PICKUP, place_ride},
    why::until,
};
use protocol::{Point, Principal, Timestamp, frame::ServerFrame, view::Hint};
use serde_json::{Value, json};
use std::time::Duration;

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

/// The middle of the zone that the pickup is in, about.
async fn middle(staff: &Caller<'_>) -> (Value, Value) {
    let path = format!("/v1/zones/at?lat={}&lon={}", PICKUP.lat, PICKUP.lon);
    let zones = json_of(staff.get(&path).await).await;
    let zone = zones.as_array().unwrap().iter().find(|it| it["resolution"] == 7).unwrap();
    let corners = zone["outline"].as_array().unwrap();
    let mean = |axis: &str| {
        let sum: f64 = corners.iter().filter_map(|it| it[axis].as_f64()).sum();
        sum / corners.len() as f64
    };
    (zone["id"].clone(), json!({ "lat": mean("lat"), "lon": mean("lon") }))
}

/// What matters of a multiplier is written down, and gone on from by whoever matches there next.
#[tokio::test]
async fn a_multiplier_survives_a_power_cut_and_its_history_says_how_it_came_about() {
    let mut node = Node::with(&[
        ("JOURNAL__KIND", "sqlite"),
        ("REGIONS__TICK_MS", "50"),
        ("REGIONS__WARM_UP_MS", "0"),
        ("REGIONS__SURGE__EVERY_MS", "1000"),
        // Whose multipliers lie where the node says.
        ("PRESET__NAME", "reskflow"),
        ("REGIONS__SURGE__PERCENT_MAX", "130"),
        ("REGIONS__SURGE__FOLLOW_PERCENT", "100"),
    ]);
    let id = {
        let staff = Caller::new(&node, Principal::Dispatcher);
        let (id, at) = middle(&staff).await;
        for n in 1..=3 {
            let mut order = ride();
            order["stops"][0]["at"] = at.clone();
            order["rider"] = json!(rider(n).to_string());
            assert_eq!(staff.post("/v1/orders", &order).await.status(), 201);
        }
        let path = format!("/v1/zones/{}", id.as_str().unwrap());
        let zone = until(&staff, &path, |it| it["surge"]["percent"] == 130).await;
        assert_eq!(zone["paused"], Value::Null, "{zone}");
        let told = json_of(staff.get(&format!("{path}/surge")).await).await;
        let surged = &told[0];
        assert_eq!((&surged["from_percent"], &surged["to_percent"]), (&json!(100), &json!(130)));
        assert_eq!((&surged["by"], &surged["cause"]), (&json!("system"), &json!("counted")));
        assert!(surged["n_waiting"].as_u64() >= Some(1), "{surged}");
        // However often it is counted meanwhile.
        assert_eq!(told.as_array().unwrap().len(), 1, "{told}");
        let path = format!("/v1/actors/{}/history", id.as_str().unwrap());
        assert_eq!(event(&json_of(staff.get(&path).await).await, "zone_surged")["by"], "system");
        id
    };
    node.kill_and_restart();
    let staff = Caller::new(&node, Principal::Dispatcher);
    let is_it = |it: &Value| it["zone"] == id && it["changes"][0]["cause"] == "restored";
    let zones = until(&staff, &around(), |it| it.as_array().unwrap().iter().any(is_it)).await;
    let zone = zones.as_array().unwrap().iter().find(|it| is_it(it)).unwrap();
    let change = &zone["changes"][0];
    assert_eq!((&change["from_percent"], &change["to_percent"]), (&json!(100), &json!(130)));
    let listed = json_of(staff.get("/v1/zones?status=scarce").await).await;
    assert_eq!(listed["items"][0]["id"], id);
    let path = format!("/v1/zones/{}/surge", id.as_str().unwrap());
    assert_eq!(json_of(staff.get(&path).await).await[0]["to_percent"], 130);
    let me = Caller::new(&node, rider(1));
    assert_refused(me.get(&path).await, 403, "forbidden").await;
}

#[tokio::test]
async fn staff_set_a_multiplier_for_a_while_and_its_history_says_who_and_why() {
    let node = node_that_counts_often();
    let staff = Caller::new(&node, Principal::Dispatcher);
    let (id, _) = middle(&staff).await;
    let path = format!("/v1/zones/{}", id.as_str().unwrap());
    let actions = format!("{path}/actions");
    let set = |percent: u32, until: Timestamp| json!({ "set_surge": { "percent": percent, "reason": "a concert", "until": until } });
    let later = now() + Duration::from_mins(30);
    let me = Caller::new(&node, rider(1));
    assert_refused(me.post(&actions, &set(120, later)).await, 403, "forbidden").await;
    let around = format!("/v1/zones/at?lat={}&lon={}", PICKUP.lat, PICKUP.lon);
    let zones = json_of(staff.get(&around).await).await;
    let larger = zones.as_array().unwrap().iter().find(|it| it["resolution"] == 6).unwrap();
    let larger = format!("/v1/zones/{}/actions", larger["id"].as_str().unwrap());
    // The brand allows 120; and a day is the most.
    let senseless = [
        (&actions, set(130, later)),
        (&actions, set(120, now() - Duration::from_secs(1))),
        (&actions, set(120, now() + Duration::from_hours(25))),
        (&actions, json!({ "set_surge": { "percent": 120, "reason": "", "until": later } })),
        (&larger, set(120, later)),
    ];
    for (path, action) in senseless {
        assert_refused(staff.post(path, &action).await, 422, "invalid").await;
    }

    done(&staff, &actions, set(120, later)).await;
    let shown = json_of(staff.get(&path).await).await["surge"].clone();
    assert_eq!((&shown["percent"], &shown["until"]), (&json!(120), &json!(later)), "{shown}");
    assert_eq!((&shown["by"], &shown["reason"]), (&json!("dispatcher"), &json!("a concert")));
    let listed = json_of(staff.get("/v1/zones?status=scarce").await).await;
    assert_eq!(listed["items"][0]["id"], id, "{listed}");
    done(&staff, &actions, json!({ "lift_surge": { "reason": "rained off" } })).await;
    let shown = json_of(staff.get(&path).await).await;
    assert_ne!(shown["surge"]["percent"], 120, "{shown}");

    // Another one ends by itself.
    done(&staff, &actions, set(110, now() + Duration::from_millis(700))).await;
    let surge = format!("{path}/surge");
    let told = until(&staff, &surge, |it| it[3]["cause"] == "lifted").await;
    let said = |n: usize| {
        let it = &told[n];
        ["by", "cause", "to_percent", "reason"].map(|field| it[field].clone())
    };
    let [by, cause] = ["dispatcher", "set"].map(|it| json!(it));
    assert_eq!(said(0), [by.clone(), cause, json!(120), json!("a concert")]);
    assert_eq!(said(1), [by, json!("lifted"), json!(100), json!("rained off")]);
    assert_eq!((&told[2]["to_percent"], &told[2]["from_percent"]), (&json!(110), &json!(100)));
    assert_eq!(said(3), [json!("system"), json!("lifted"), json!(100), Value::Null]);
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

#[tokio::test]
async fn who_asks_from_where_nobody_goes_is_told_who_does_and_counted_there() {
    let Point { lat, lon } = PICKUP;
    let circle = format!("[{{lat={lat},lon={lon},radius_km=2.0}}]");
    let partner = format!(
        "[{{name=\"Roadside\",phone=\"+250 788 000 000\",lat={lat},lon={lon},radius_km=200.0}}]"
    );
    let node = Node::with(&[("AREA__CIRCLES", &circle), ("AREA__PARTNERS", &partner)]);
    let staff = Caller::new(&node, Principal::Dispatcher);
    let outside = PICKUP.offset_m(10_000.0, 0.0);
    let refused = async |at: Point| {
        let path = format!("/v1/demand?lat={}&lon={}&within_m=3000", at.lat, at.lon);
        let zones = json_of(staff.get(&path).await).await;
        let each = zones.as_array().unwrap().iter().map(|it| it["n_refused"].as_u64().unwrap());
        each.sum::<u64>()
    };
    let stranded = Caller::new(&node, rider(7));
    let rescue = json!({ "issue": "flat_tyre", "at": { "at": outside } });
    let placed = json_of(stranded.post("/v1/rescues", &rescue).await).await;
    let path = format!("/v1/rescues/{}", placed["actor"].as_str().unwrap());
    let shown = json_of(stranded.get(&path).await).await;
    assert_eq!(shown["status"], "rejected_out_of_area");
    assert_eq!(shown["alternatives"][0]["name"], "Roadside");
    assert_eq!((refused(outside).await, refused(PICKUP).await), (1, 0));

    let mut order = ride();
    order["stops"][0]["at"] = json!(outside);
    assert_refused(stranded.post("/v1/orders", &order).await, 422, "out_of_area").await;
    assert_eq!(refused(outside).await, 1, "it is the same one");
    let other = Caller::new(&node, rider(9));
    assert_refused(other.post("/v1/orders", &order).await, 422, "out_of_area").await;
    assert_eq!(refused(outside).await, 2);

    // One that said vaguely where it was turns out to be there, too.
    let lost = Caller::new(&node, rider(8));
    let vague = json!({ "issue": "flat_tyre", "at": { "at": PICKUP }, "accuracy_m": 50_000 });
    let placed = json_of(lost.post("/v1/rescues", &vague).await).await;
    assert_eq!((refused(outside).await, refused(PICKUP).await), (2, 0));
    let actions = format!("/v1/rescues/{}/actions", placed["actor"].as_str().unwrap());
    done(&lost, &actions, json!({ "locate": { "at": { "at": outside } } })).await;
    assert_eq!((refused(outside).await, refused(PICKUP).await), (3, 0));
    // Whoever is served is nobody's loss.
    assert_eq!(stranded.post("/v1/orders", &ride()).await.status(), 201);
    assert_eq!(refused(PICKUP).await, 0);
}
