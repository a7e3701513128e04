//! Zones that staff pause: what is new is refused there, what looks for a driver stands still, and whoever is in need is
//! helped all the same.

use crate::{
    client::{Client, now},
    cluster::{Shared, is_shared_by, seen},
    control::{done, event, hear_assigned, nth, on_duty},
    node::{Node, rider},
    rest::{Caller, assert_refused, json_of, ride},
    ride::{PICKUP, hear_offer, new_ride, place_ride},
    why::{node_that_looks_often, until},
};
use protocol::{
    Code, JobId, Principal, Timestamp, ZoneId,
    frame::{Outcome, ServerFrame},
    work::{Wish, ZoneAction},
};
use serde_json::{Value, json};
use std::time::Duration;

/// The zone of about five square kilometres that the pickup is in.
async fn zone(staff: &Caller<'_>) -> String {
    let path = format!("/v1/zones/at?lat={}&lon={}", PICKUP.lat, PICKUP.lon);
    let zones = json_of(staff.get(&path).await).await;
    let zone = zones.as_array().unwrap().iter().find(|it| it["resolution"] == 7);
    zone.unwrap()["id"].as_str().unwrap().to_owned()
}

fn pause(until: Option<Timestamp>) -> Value {
    json!({ "pause": { "reason": "a flood", "until": until } })
}

fn resume() -> Value {
    json!({ "resume": { "reason": "dry again" } })
}

/// Until the rider is shown that its search stands still, or goes on.
async fn hear_paused(client: &mut Client, wanted: bool) -> Value {
    client
        .hear_any(|frame| match frame {
            ServerFrame::Order(view) if view.paused.is_some() == wanted => {
                Some(serde_json::to_value(view).unwrap())
            }
            _ => None,
        })
        .await
}

#[tokio::test]
async fn in_a_paused_zone_nothing_begins_and_searches_stand_still_until_it_is_resumed() {
    let node = node_that_looks_often();
    let staff = Caller::new(&node, Principal::Dispatcher);
    let mut waiting = Client::connect(&node, rider(9)).await;
    let order = place_ride(&mut waiting).await;
    let id = zone(&staff).await;
    let actions = format!("/v1/zones/{id}/actions");
    let me = Caller::new(&node, rider(8));
    assert_refused(me.post(&actions, &pause(None)).await, 403, "forbidden").await;
    done(&staff, &actions, pause(None)).await;

    // New rides are refused, and told why; where it goes on, they are not.
    let refused = json_of(me.post("/v1/orders", &ride()).await).await;
    assert_eq!(refused["code"], "zone_paused", "{refused}");
    assert_eq!(
        (&refused["zone"]["zone"], &refused["zone"]["reason"]),
        (&json!(id), &json!("a flood"))
    );
    let asked = json!({ "kind": "ride", "stops": ride()["stops"] });
    assert_refused(me.post("/v1/quotes", &asked).await, 409, "zone_paused").await;
    let far = PICKUP.offset_m(9_000.0, 0.0);
    let mut elsewhere = ride();
    elsewhere["stops"][0] = json!({ "at": far });
    let rescue = json!({ "issue": "flat_tyre", "at": ride()["stops"][0] });
    for (path, body) in [("/v1/orders", elsewhere), ("/v1/rescues", rescue)] {
        let placed = me.post(path, &body).await;
        assert_eq!(
            placed.status(),
            201,
            "{path}: safety before everything, and not where it is dry"
        );
        let placed = json_of(placed).await;
        let path = format!("{path}/{}/actions", placed["actor"].as_str().unwrap());
        done(&me, &path, json!({ "cancel": { "reason": "only asking" } })).await;
    }

    // Who waits is told; a driver beside them is offered nothing, and told why.
    let told = hear_paused(&mut waiting, true).await;
    assert_eq!(told["paused"]["reason"], "a flood");
    assert!(told.get("held").is_none(), "it is not a dispatcher who holds it: {told}");
    let mut spare = on_duty(&node, 2, 40.0).await;
    let why = format!("/v1/drivers/{}/why-no-offers", nth(2));
    let told = until(&staff, &why, |it| it["why"]["zone_paused"] == 1).await;
    assert_eq!(told["n_proposed"], 0, "{told}");
    let trace = format!("/v1/orders/{order}/match-trace");
    let is_told = |it: &Value| {
        it["rounds"].as_array().unwrap().iter().any(|it| it["verdict"] == "zone_paused")
    };
    let trace = until(&staff, &trace, is_told).await;
    let steps = trace["steps"].as_array().unwrap();
    let step = steps.iter().find(|it| it["what"] == "search_paused").unwrap();
    assert!(step["reason"].as_str().unwrap().ends_with("a flood"), "{step}");

    // A dispatcher does not let it go on, and may overrule it.
    let path = format!("/v1/orders/{order}/actions");
    assert_refused(staff.post(&path, &json!({ "resume": {} })).await, 409, "zone_paused").await;
    let assign = |force: bool| json!({ "assign": { "driver": nth(2).to_string(), "force": force, "reason": "a doctor" } });
    let refused = json_of(staff.post(&path, &assign(false)).await).await;
    assert_eq!(refused["why"], json!(["zone_paused"]), "{refused}");

    done(&staff, &actions, resume()).await;
    hear_paused(&mut waiting, false).await;
    assert_eq!(hear_offer(&mut spare).await.job, JobId::Order(order));
    let listed = json_of(staff.get("/v1/zones?status=paused").await).await;
    assert_eq!(listed["items"], json!([]));
    let history = json_of(staff.get(&format!("/v1/actors/{id}/history")).await).await;
    let paused = event(&history, "zone_paused");
    assert_eq!((&paused["by"], &paused["reason"]), (&json!("dispatcher"), &json!("a flood")));
    assert_eq!(event(&history, "zone_resumed")["reason"], "dry again");
}

#[tokio::test]
async fn what_is_held_in_a_paused_zone_is_given_to_nobody_but_by_force() {
    let node = node_that_looks_often();
    let staff = Caller::new(&node, Principal::Dispatcher);
    let mut waiting = Client::connect(&node, rider(9)).await;
    let order = place_ride(&mut waiting).await;
    let path = format!("/v1/orders/{order}/actions");
    done(&staff, &path, json!({ "hold": { "reason": "not yet" } })).await;
    let mut spare = on_duty(&node, 2, 40.0).await;
    let why = format!("/v1/drivers/{}/why-no-offers", nth(2));
    until(&staff, &why, |it| it["now"] == json!([])).await;
    done(&staff, &format!("/v1/zones/{}/actions", zone(&staff).await), pause(None)).await;
    let assign = |force: bool| json!({ "assign": { "driver": nth(2).to_string(), "force": force, "reason": "a doctor" } });
    let refused = json_of(staff.post(&path, &assign(false)).await).await;
    assert_eq!(refused["why"], json!(["zone_paused"]), "{refused}");
    done(&staff, &path, assign(true)).await;
    hear_assigned(&mut spare, JobId::Order(order)).await;
}

#[tokio::test]
async fn a_pause_with_an_end_is_over_then_and_what_comes_later_is_taken() {
    let node = node_that_looks_often();
    let mut staff = Client::connect(&node, Principal::Dispatcher).await;
    let caller = Caller::new(&node, Principal::Dispatcher);
    let mut waiting = Client::connect(&node, rider(9)).await;
    let order = place_ride(&mut waiting).await;
    let id: ZoneId = zone(&caller).await.parse().unwrap();
    let until = now() + Duration::from_millis(2_500);
    let action = ZoneAction::Pause { reason: "a race".to_owned(), until: Some(until) };
    let outcome = staff.wish(Wish::Zone { id, action }).await;
    assert!(matches!(outcome, Outcome::Ok(_)), "{outcome:?}");

    let mut other = Client::connect(&node, rider(8)).await;
    let outcome = other.wish(Wish::PlaceOrder(Box::new(new_ride()))).await;
    let Outcome::Refused(refused) = outcome else { panic!("{outcome:?}") };
    assert_eq!(refused.code, Code::ZonePaused);
    assert!(refused.retry_after_ms.is_some_and(|ms| ms <= 2_500), "{refused:?}");
    assert_eq!(refused.zone.unwrap().until, Some(until));
    let mut later = new_ride();
    later.start_at = Some(now() + Duration::from_hours(2));
    let outcome = other.wish(Wish::PlaceOrder(Box::new(later))).await;
    assert!(matches!(outcome, Outcome::Ok(_)), "{outcome:?}");

    let told = hear_paused(&mut waiting, true).await;
    assert_eq!(told["paused"]["until"], json!(until));
    let mut near = on_duty(&node, 1, 20.0).await;
    hear_paused(&mut waiting, false).await;
    assert!(now() >= until);
    assert_eq!(hear_offer(&mut near).await.job, JobId::Order(order));
    place_ride(&mut other).await;
}

#[tokio::test]
async fn what_is_paused_survives_a_power_cut() {
    let mut node = Node::with(&[("JOURNAL__KIND", "sqlite"), ("REGIONS__TICK_MS", "50")]);
    let id = {
        let staff = Caller::new(&node, Principal::Dispatcher);
        let id = zone(&staff).await;
        done(&staff, &format!("/v1/zones/{id}/actions"), pause(None)).await;
        id
    };
    node.kill_and_restart();
    let me = Caller::new(&node, rider(8));
    assert_refused(me.post("/v1/orders", &ride()).await, 409, "zone_paused").await;
    let staff = Caller::new(&node, Principal::Admin);
    let listed = json_of(staff.get("/v1/zones?status=paused").await).await;
    assert_eq!(listed["items"][0]["id"], json!(id));
    done(&staff, &format!("/v1/zones/{id}/actions"), resume()).await;
    assert_eq!(me.post("/v1/orders", &ride()).await.status(), 201);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_node_knows_at_once_and_one_that_was_not_told_finds_out() {
    let shared = Shared::new().await;
    let (first, second) = (shared.node("first"), shared.node("second"));
    seen(&first, is_shared_by(2)).await;
    let mut waiting = Client::connect(&second, rider(9)).await;
    place_ride(&mut waiting).await;
    let staff = Caller::new(&first, Principal::Dispatcher);
    let id = zone(&staff).await;
    let actions = format!("/v1/zones/{id}/actions");
    done(&staff, &actions, pause(None)).await;
    let there = Caller::new(&second, rider(8));
    assert_refused(there.post("/v1/orders", &ride()).await, 409, "zone_paused").await;
    hear_paused(&mut waiting, true).await;

    // Whoever paused it is killed, with whatever else it had. The other has it, and knows.
    drop(staff);
    drop(first);
    seen(&second, is_shared_by(1)).await;
    assert_refused(there.post("/v1/orders", &ride()).await, 409, "zone_paused").await;
    let third = shared.node("third");
    let late = Caller::new(&third, rider(7));
    assert_refused(late.post("/v1/orders", &ride()).await, 409, "zone_paused").await;
    seen(&second, is_shared_by(2)).await;
    done(&Caller::new(&second, Principal::Dispatcher), &actions, resume()).await;
    hear_paused(&mut waiting, false).await;
    assert_eq!(late.post("/v1/orders", &ride()).await.status(), 201);
}
