//! Rules of assignment that admins make: what is placed and matched under them, who may, and that every node knows them, also
//! after a restart.

use crate::{
    client::Client,
    cluster::{Shared, is_shared_by, seen},
    control::{event, nth, on_duty},
    node::{Node, rider},
    rest::{Caller, assert_refused, json_of, ride},
    ride::{PICKUP, act, hear_offer, place_ride, position},
    why::{node_that_looks_often, until},
};
use actors::zone::neighbourhood;
use protocol::{
    Principal,
    frame::Outcome,
    work::{DriverAction, DutyWish, OrderAction, Vehicle, VehicleKind, Wish},
};
use serde_json::{Value, json};

/// A rule for rides around the pickup.
fn rule(changes: &Value) -> Value {
    let zones = [neighbourhood(PICKUP).to_string()];
    json!({
        "rule": { "name": "rush hour", "zones": zones, "kinds": ["ride"], "changes": changes },
        "reason": "a trial",
    })
}

/// Makes one, and says under which path it is.
async fn made(admin: &Caller<'_>, changes: &Value) -> (String, Value) {
    let response = admin.post("/v1/rules", &rule(changes)).await;
    assert_eq!(response.status(), 201);
    assert_eq!(response.headers()["etag"], "\"1\"");
    let path = response.headers()["location"].to_str().unwrap().to_owned();
    (path, json_of(response).await)
}

fn trace(order: impl std::fmt::Display) -> String {
    format!("/v1/orders/{order}/match-trace")
}

/// Has a round been held under this version of a rule?
fn is_ruled(trace: &Value, mark: &Value) -> bool {
    trace["rounds"].as_array().unwrap().iter().any(|it| it["rule"] == *mark)
}

async fn place_as(node: &Node, n: u64) -> String {
    Caller::new(node, rider(n)).place().await
}

#[tokio::test]
async fn what_is_placed_and_matched_says_under_which_rule_until_that_is_removed() {
    let node = node_that_looks_often();
    let admin = Caller::new(&node, Principal::Admin);
    let mut early = Client::connect(&node, rider(1)).await;
    let before = place_ride(&mut early).await;
    until(&admin, &trace(before), |it| it["rounds"][0]["verdict"] == "nobody").await;

    let (path, shown) = made(&admin, &json!({ "offer_ttl_ms": 61_000, "hold_ms": 0 })).await;
    assert_eq!((&shown["version"], &shown["status"]), (&json!(1), &json!("set")));
    assert_eq!((&shown["by"], &shown["reason"]), (&json!("admin"), &json!("a trial")));
    assert_eq!(shown["rule"]["preset"], "safeboda", "of the node's own brand");
    let mark = json!({ "id": shown["id"], "version": 1 });

    // A search that has begun is matched under it, and offered as it was placed.
    let told = until(&admin, &trace(before), |it| is_ruled(it, &mark)).await;
    assert!(told.get("rule").is_none(), "{told}");
    assert!(told["rounds"][0].get("rule").is_none(), "before it was made: {told}");
    // What is placed now is both.
    act(&mut early, before, OrderAction::Cancel { reason: "rain".to_owned() }).await;
    let order = place_as(&node, 2).await;
    let mut near = on_duty(&node, 1, 60.0).await;
    hear_offer(&mut near).await;
    let told = until(&admin, &trace(&order), |it| it["offers"][0].is_object()).await;
    assert_eq!(told["rule"], mark, "{told}");
    assert!(is_ruled(&told, &mark), "{told}");
    let [made_at, expires_at] =
        ["made_at", "expires_at"].map(|it| told["offers"][0][it].as_u64().unwrap());
    // A moment passes until it is written down.
    assert!((60_000..=61_000).contains(&(expires_at - made_at)), "not as in the preset: {told}");

    // Elsewhere, and for other work, it is as everywhere.
    let mut far = ride();
    far["stops"][0] = json!({ "at": PICKUP.offset_m(9_000.0, 0.0) });
    let mut goods = ride();
    goods["kind"] = json!("delivery");
    for (n, body) in (3..).zip([far, goods]) {
        let placed = Caller::new(&node, rider(n)).post("/v1/orders", &body).await;
        let order = json_of(placed).await["actor"].as_str().unwrap().to_owned();
        let has_rounds = |it: &Value| it["rounds"].as_array().is_some_and(|it| !it.is_empty());
        let told = until(&admin, &trace(&order), has_rounds).await;
        assert!(told.get("rule").is_none() && !is_ruled(&told, &mark), "{told}");
    }

    let changed = admin.put(&path, 1, &rule(&json!({ "hold_ms": 1 }))).await;
    assert_eq!(changed.status(), 200);
    assert_eq!(changed.headers()["etag"], "\"2\"");
    let mark = json!({ "id": shown["id"], "version": 2 });
    let order = place_as(&node, 5).await;
    let told = until(&admin, &trace(&order), |it| is_ruled(it, &mark)).await;
    assert_eq!(told["rule"], mark, "{told}");

    let gone = json_of(admin.delete(&format!("{path}?reason=enough"), 2).await).await;
    assert_eq!((&gone["status"], &gone["version"]), (&json!("removed"), &json!(3)));
    let order = place_as(&node, 6).await;
    let has_rounds = |it: &Value| it["rounds"].as_array().is_some_and(|it| !it.is_empty());
    let told = until(&admin, &trace(&order), has_rounds).await;
    assert!(told.get("rule").is_none(), "{told}");
    let rounds = told["rounds"].as_array().unwrap();
    assert!(rounds.iter().all(|it| it.get("rule").is_none()), "{told}");
    let history = format!("/v1/actors/{}/history", shown["id"].as_str().unwrap());
    let history = json_of(admin.get(&history).await).await;
    let removed = event(&history, "rule_removed");
    assert_eq!((&removed["by"], &removed["reason"]), (&json!("admin"), &json!("enough")));
    let listed = json_of(admin.get("/v1/rules?status=set").await).await;
    assert_eq!(listed["items"], json!([]));
}

#[tokio::test]
async fn two_editors_do_not_overwrite_each_other_and_a_repeat_has_one_effect() {
    let node = Node::start();
    let admin = Caller::new(&node, Principal::Admin);
    let body = rule(&json!({ "hold_ms": 1 }));
    let key = protocol::CommandId::mint().0.to_string();
    let mut first = None;
    for key in [key.as_str(), key.as_str(), "tuesday", "tuesday"] {
        let made = json_of(admin.post_as(key, "/v1/rules", &body).await).await;
        let id = made["id"].as_str().unwrap().to_owned();
        first.get_or_insert(id);
    }
    let listed = json_of(admin.get("/v1/rules").await).await;
    assert_eq!(listed["items"].as_array().unwrap().len(), 2, "one for each key: {listed}");
    let other = rule(&json!({ "hold_ms": 2 }));
    let reused = admin.post_as(&key, "/v1/rules", &other).await;
    assert_refused(reused, 422, "command_id_reused").await;

    let path = format!("/v1/rules/{}", first.unwrap());
    let changed = admin.put(&path, 1, &rule(&json!({ "hold_ms": 3 }))).await;
    assert_eq!(changed.status(), 200);
    assert_refused(admin.put(&path, 1, &other).await, 409, "too_late").await;
    let removal = format!("{path}?reason=enough");
    assert_refused(admin.delete(&removal, 1).await, 409, "too_late").await;
    let shown = json_of(admin.get(&path).await).await;
    assert_eq!(
        (&shown["rule"]["changes"], &shown["version"]),
        (&json!({ "hold_ms": 3 }), &json!(2))
    );
    assert_refused(admin.put(&path, 0, &other).await, 422, "invalid").await;
    assert_eq!(admin.delete(&removal, 2).await.status(), 200);
    assert_refused(admin.put(&path, 3, &other).await, 404, "not_found").await;
    let nobodys = "/v1/rules/rule-01890a5d-ac96-774b-bcce-b302099a8057";
    assert_refused(admin.get(nobodys).await, 404, "not_found").await;
}

#[tokio::test]
async fn only_admins_make_rules_and_what_makes_no_sense_is_named() {
    let node = Node::start();
    let admin = Caller::new(&node, Principal::Admin);
    let (path, shown) = made(&admin, &json!({ "hold_ms": 1 })).await;
    let id = shown["id"].as_str().unwrap();
    let body = rule(&json!({ "hold_ms": 2 }));
    let trial = json!({ "rule": body["rule"] });
    for by in [Principal::Dispatcher, rider(1)] {
        let staff = Caller::new(&node, by);
        assert_refused(staff.post("/v1/rules", &body).await, 403, "forbidden").await;
        assert_refused(staff.get("/v1/rules").await, 403, "forbidden").await;
        assert_refused(staff.get(&path).await, 403, "forbidden").await;
        assert_refused(staff.put(&path, 1, &body).await, 403, "forbidden").await;
        let removal = format!("{path}?reason=enough");
        assert_refused(staff.delete(&removal, 1).await, 403, "forbidden").await;
        for what in ["", "?version=1", "/history", "/residence"] {
            let whole = format!("/v1/actors/{id}{what}");
            assert_refused(staff.get(&whole).await, 403, "forbidden").await;
            assert_eq!(admin.get(&whole).await.status(), 200, "{whole}");
        }
        assert_refused(staff.post("/v1/rules/dry-run", &trial).await, 403, "forbidden").await;
    }
    let cases = [
        ("changes", json!({})),
        ("changes.offer", json!({ "offer": "direct" })),
        ("changes.tiers_m", json!({ "tiers_m": [3, 2, 1] })),
        ("changes.weights.star_ms", json!({ "weights": { "star_ms": 3_600_001 } })),
    ];
    for (field, changes) in cases {
        let refused = admin.post("/v1/rules", &rule(&changes)).await;
        assert_eq!(refused.status(), 422, "{changes}");
        let refused = json_of(refused).await;
        let message = refused["message"].as_str().unwrap();
        assert!(message.starts_with(&format!("{field}: ")), "{refused}");
    }
    let mut foreign = rule(&json!({ "hold_ms": 1 }));
    foreign["rule"]["preset"] = json!("riderguy");
    assert_refused(admin.post("/v1/rules", &foreign).await, 422, "invalid").await;
    let unknown = rule(&json!({ "hodl_ms": 1 }));
    assert_refused(admin.post("/v1/rules", &unknown).await, 422, "invalid").await;
}

#[tokio::test]
async fn a_rule_survives_a_power_cut() {
    let mut node = Node::with(&[("JOURNAL__KIND", "sqlite"), ("REGIONS__TICK_MS", "50")]);
    let (path, shown) = made(&Caller::new(&node, Principal::Admin), &json!({ "hold_ms": 1 })).await;
    node.kill_and_restart();
    let admin = Caller::new(&node, Principal::Admin);
    assert_eq!(json_of(admin.get(&path).await).await, shown);
    let order = place_as(&node, 1).await;
    let mark = json!({ "id": shown["id"], "version": 1 });
    let told = until(&admin, &trace(&order), |it| is_ruled(it, &mark)).await;
    assert_eq!(told["rule"], mark, "{told}");
    node.kill_and_restart();
    let admin = Caller::new(&node, Principal::Admin);
    let told = json_of(admin.get(&trace(&order)).await).await;
    assert_eq!(told["rule"], mark, "it was written down with the order: {told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_node_knows_a_rule_at_once_and_one_that_comes_later_reads_it() {
    let shared = Shared::new().await;
    let (first, second) = (shared.node("first"), shared.node("second"));
    seen(&first, is_shared_by(2)).await;
    let admin = Caller::new(&first, Principal::Admin);
    let (path, shown) = made(&admin, &json!({ "hold_ms": 1 })).await;
    let mark = json!({ "id": shown["id"], "version": 1 });
    let order = place_as(&second, 1).await;
    let there = Caller::new(&second, Principal::Admin);
    let told = until(&there, &trace(&order), |it| is_ruled(it, &mark)).await;
    assert_eq!(told["rule"], mark, "{told}");

    // Whoever made it is killed, with whatever else it had.
    drop(admin);
    drop(first);
    seen(&second, is_shared_by(1)).await;
    let third = shared.node("third");
    seen(&second, is_shared_by(2)).await;
    let order = place_as(&third, 2).await;
    let late = Caller::new(&third, Principal::Admin);
    assert_eq!(json_of(late.get(&trace(&order)).await).await["rule"], mark);
    assert_eq!(late.delete(&format!("{path}?reason=enough"), 1).await.status(), 200);
    let order = place_as(&second, 3).await;
    let told = json_of(there.get(&trace(&order)).await).await;
    assert!(told.get("rule").is_none(), "{told}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_rule_is_changed_and_removed_by_nodes_of_its_brand_only() {
    let shared = Shared::new().await;
    let first = shared.node("first");
    let other = shared.node_with("second", &[("PRESET__NAME", "riderguy")]);
    seen(&first, is_shared_by(2)).await;
    let admin = Caller::new(&first, Principal::Admin);
    let (path, shown) = made(&admin, &json!({ "hold_ms": 1 })).await;
    let removal = format!("{path}?reason=enough");
    let there = Caller::new(&other, Principal::Admin);
    let body = rule(&json!({ "hold_ms": 2 }));
    assert_refused(there.put(&path, 1, &body).await, 422, "invalid").await;
    assert_refused(there.delete(&removal, 1).await, 422, "invalid").await;
    assert_eq!(json_of(there.get(&path).await).await, shown, "it is read everywhere");
    assert_eq!(admin.delete(&removal, 1).await.status(), 200);
}

/// A driver with a car on duty, so many metres from the pickup.
async fn in_a_car(node: &Node, n: u64, east_m: f64) -> Client {
    let mut phone = Client::connect(node, Principal::Driver(nth(n))).await;
    let vehicle = Vehicle { kind: VehicleKind::Car, capacity_g: 0, skills: Vec::new() };
    let action = DriverAction::SetDuty { duty: DutyWish::On, vehicle: Some(vehicle) };
    let outcome = phone.wish(Wish::Driver { id: None, action }).await;
    assert!(matches!(outcome, Outcome::Ok(_)), "{outcome:?}");
    phone.say(&position(PICKUP.offset_m(east_m, 0.0))).await;
    phone
}

#[tokio::test]
async fn a_dry_run_says_whom_a_rule_would_have_sent_and_what_it_cannot_know() {
    let node = node_that_looks_often();
    let admin = Caller::new(&node, Principal::Admin);
    let mut car = in_a_car(&node, 1, 60.0).await;
    let _moto = on_duty(&node, 2, 600.0).await;
    for n in 1..=2 {
        let path = format!("/v1/drivers/{}/why-no-offers", nth(n));
        until(&admin, &path, |it| it["now"] == json!([])).await;
    }
    let mut order = ride();
    order["policy"] = json!("batch_optimal");
    order["rider"] = json!(rider(9).to_string());
    order["needs"] = json!({ "vehicles": ["moto", "car"] });
    let placed = json_of(admin.post("/v1/orders", &order).await).await;
    hear_offer(&mut car).await;

    let tried = async |changes: Value| {
        let body = json!({ "rule": rule(&changes)["rule"] });
        let response = admin.post("/v1/rules/dry-run", &body).await;
        assert_eq!(response.status(), 200);
        json_of(response).await
    };
    let told = tried(json!({ "weights": { "excess_ms": 3_600_000 }, "tier_ms": 9_000 })).await;
    assert!(told["n_assignments"].as_u64() > Some(0), "{told}");
    assert_eq!(told["n_differ"], told["n_assignments"], "{told}");
    let differs = &told["differ"][0];
    assert_eq!(differs["job"], json!({ "order": placed["actor"] }));
    let [before, after] = [1, 2].map(|n| json!(nth(n).to_string()));
    assert_eq!((&differs["before"], &differs["after"]), (&before, &after), "{told}");
    assert!(told["eta_after_s"].as_f64() > told["eta_before_s"].as_f64(), "{told}");
    assert_eq!(told["cannot_know"], json!(["changes.tier_ms"]));
    assert!(told["known_since"].as_u64() > told["since"].as_u64(), "it has just started: {told}");

    let same = tried(json!({ "weights": { "excess_ms": 3_600_000 }, "hold_ms": 1 })).await;
    assert_eq!(same["n_differ"], told["n_differ"]);
    let nothing = tried(json!({ "learned_ways": false })).await;
    assert_eq!(nothing["n_differ"], 0, "{nothing}");
    assert_eq!(nothing["cannot_know"], json!(["changes.learned_ways"]));
    // It is no rule: nothing has become of it.
    assert_eq!(json_of(admin.get("/v1/rules").await).await["items"], json!([]));
    let bad = json!({ "rule": rule(&json!({}))["rule"] });
    assert_refused(admin.post("/v1/rules/dry-run", &bad).await, 422, "invalid").await;
}
