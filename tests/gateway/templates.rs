//! Templates of runs: the orders and the run that are made of a day, once, through a kill of the node; and who may say what of them.

use crate::{
    client::now,
    cluster::{Shared, is_shared_by, seen},
    control::event,
    node::{Node, driver, rider},
    rest::{Caller, assert_refused, json_of},
    ride::{PICKUP, hear_offer, position},
    runs::{accept, carrying, hear_given, here},
    together::node_that_waits,
    why::until,
};
use actors::zone::neighbourhood;
use protocol::{Principal, RunId, TimeOfDay};
use serde_json::{Value, json};
use std::time::Duration;

const TEMPLATES: &str = "/v1/run-templates";
const WEEKDAYS: [&str; 7] =
    ["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"];

/// The time of the day in so many minutes, by clocks that show UTC.
fn in_minutes(n: u64) -> String {
    let minutes = now().0 / 60_000 + n;
    TimeOfDay::new(u16::try_from(minutes % 1_440).unwrap()).unwrap().to_string()
}

fn delivery(n: u64) -> Value {
    let east_m = 20.0 * n as f64;
    json!({
        "rider": rider(n).to_string(),
        "from": { "at": PICKUP.offset_m(east_m, 0.0) },
        "to": { "at": PICKUP.offset_m(east_m, 150.0) },
    })
}

/// Two deliveries, every day, due in so many minutes; begun an hour before.
fn template(due_min: u64) -> Value {
    json!({
        "template": {
            "name": "the bakery's round",
            "orders": [delivery(1), delivery(2)],
            "weekdays": WEEKDAYS,
            "at": in_minutes(due_min),
        },
        "reason": "the bakery asked",
    })
}

async fn made(staff: &Caller<'_>, body: &Value) -> (String, Value) {
    let response = staff.post(TEMPLATES, body).await;
    let (status, location) = (response.status(), response.headers().get("location").cloned());
    let shown = json_of(response).await;
    assert_eq!(status, 201, "{shown}");
    (location.unwrap().to_str().unwrap().to_owned(), shown)
}

/// Asks until the template is so. It is looked for days once a second.
async fn eventually(staff: &Caller<'_>, path: &str, is_it: impl Fn(&Value) -> bool) -> Value {
    let mut last = Value::Null;
    for _ in 0..300 {
        last = json_of(staff.get(path).await).await;
        if is_it(&last) {
            return last;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("never so: {last}");
}

/// The orders of its latest day, once all of them are placed.
async fn orders(staff: &Caller<'_>, path: &str) -> Vec<String> {
    let order = |it: &Value| it["placed"].as_str().map(str::to_owned);
    let all = |it: &Value| {
        let orders = it["days"][0]["orders"].as_array().cloned().unwrap_or_default();
        orders.iter().filter_map(order).collect::<Vec<_>>()
    };
    all(&eventually(staff, path, |it| all(it).len() == 2).await)
}

async fn n_orders(staff: &Caller<'_>) -> usize {
    json_of(staff.get("/v1/orders").await).await["items"].as_array().unwrap().len()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_is_made_as_one_run_and_asked_about_alone_is_nobody_meanwhile() {
    let node = node_that_waits();
    let staff = Caller::new(&node, Principal::Dispatcher);
    let mut phone = carrying(&node, 1, 0).await;
    let (path, shown) = made(&staff, &template(10)).await;
    assert_eq!(shown["template"]["preset"], "reskflow", "of the node's own brand");
    let placed = orders(&staff, &path).await;

    let offer = hear_offer(&mut phone).await;
    let whole = offer.run.as_deref().expect("all of it, as one");
    let run: RunId = whole.run;
    assert_eq!(whole.orders.len(), 2);
    accept(&mut phone, &offer).await;
    hear_given(&mut phone, 2, 4).await;
    let told = eventually(&staff, &path, |it| it["days"][0]["outcome"] == "run").await;
    let day = &told["days"][0];
    assert_eq!((&day["run"], &told["status"]), (&json!(run), &json!("set")), "{told}");
    assert_eq!(told["version"], 1, "that a day is made changes nothing that staff said");
    assert_ne!(told["next"]["day"], day["day"], "{told}");
    assert!(told["next"]["due"].as_u64() > day["due"].as_u64(), "{told}");
    for order in &placed {
        let shown = json_of(staff.get(&format!("/v1/orders/{order}")).await).await;
        assert_eq!((&shown["run"], &shown["start_at"]), (&json!(run), &day["due"]), "{shown}");
    }
    assert_eq!(n_orders(&staff).await, 2);
    let id = told["id"].as_str().unwrap();
    let history = json_of(staff.get(&format!("/v1/actors/{id}/history")).await).await;
    assert!(event(&history, "day_settled").get("reason").is_none(), "{history}");
    let planned = json_of(staff.get(&format!("/v1/actors/{run}/history")).await).await;
    assert_eq!(event(&planned, "run_planned")["reason"], "the bakery's round");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_begun_goes_on_after_a_kill_and_nothing_of_it_is_twice() {
    let mut node = Node::with(&[
        ("JOURNAL__KIND", "sqlite"),
        ("PRESET__NAME", "reskflow"),
        ("REGIONS__WARM_UP_MS", "0"),
        ("REGIONS__TICK_MS", "100"),
        ("REGIONS__BATCHES__EVERY_MS", "3600000"),
    ]);
    // Whoever is to bring it is known, and is not there yet.
    drop(carrying(&node, 1, 0).await);
    let mut near = carrying(&node, 2, 0).await;
    let mut body = template(10);
    body["template"]["driver"] = json!(driver(1).to_string());
    let (path, first) = {
        let staff = Caller::new(&node, Principal::Dispatcher);
        let off = json!({ "set_duty": { "duty": "off" } });
        let me = Caller::new(&node, driver(1));
        let gone = me.post(&format!("/v1/drivers/{}/actions", driver(1)), &off).await;
        assert_eq!(gone.status(), 200);
        let (path, _) = made(&staff, &body).await;
        let first = orders(&staff, &path).await;
        for order in &first {
            let path = format!("/v1/orders/{order}");
            let shown = until(&staff, &path, |it| it["status"] == "searching").await;
            assert_eq!(shown["held"], true, "nobody is asked about it alone");
        }
        (path, first)
    };
    tokio::task::block_in_place(|| node.kill_and_restart());
    let staff = Caller::new(&node, Principal::Dispatcher);
    assert_eq!(orders(&staff, &path).await, first);
    // The one who is near is not asked; the one who is named is, once it is there.
    near = {
        drop(near);
        carrying(&node, 2, 0).await
    };
    let mut named = carrying(&node, 1, 0).await;
    let offer = hear_offer(&mut named).await;
    accept(&mut named, &offer).await;
    hear_given(&mut named, 2, 4).await;
    let told = eventually(&staff, &path, |it| it["days"][0]["outcome"] == "run").await;
    assert_eq!(told["days"].as_array().map(Vec::len), Some(1), "{told}");
    assert_eq!(n_orders(&staff).await, 2);
    let runs = json_of(staff.get("/v1/runs").await).await;
    assert_eq!(runs["items"].as_array().map(Vec::len), Some(1), "{runs}");
    near.say(&position(here())).await;
}

#[tokio::test]
async fn two_editors_do_not_overwrite_each_other_and_a_paused_one_makes_nothing() {
    let node = node_that_waits();
    let staff = Caller::new(&node, Principal::Dispatcher);
    // Due in twelve hours: nothing of it is begun.
    let body = template(720);
    let mut first = None;
    for _ in 0..2 {
        let response = staff.post_as("monday", TEMPLATES, &body).await;
        assert_eq!(
            (response.status().as_u16(), &response.headers()["etag"]),
            (201, &"\"1\"".parse().unwrap())
        );
        let made = json_of(response).await;
        assert_eq!(
            *first.get_or_insert(made["id"].clone()),
            made["id"],
            "said again, it is the same"
        );
    }
    let path = format!("{TEMPLATES}/{}", first.unwrap().as_str().unwrap());
    let mut other = body.clone();
    other["template"]["name"] = json!("the florist's round");
    let reused = staff.post_as("monday", TEMPLATES, &other).await;
    assert_refused(reused, 422, "command_id_reused").await;
    let changed = staff.put(&path, 1, &other).await;
    assert_eq!(
        (changed.status().as_u16(), &changed.headers()["etag"]),
        (200, &"\"2\"".parse().unwrap())
    );
    assert_refused(staff.put(&path, 1, &body).await, 409, "too_late").await;
    assert_refused(staff.put(&path, 0, &body).await, 422, "invalid").await;
    assert_refused(staff.delete(&format!("{path}?reason=enough"), 1).await, 409, "too_late").await;

    let actions = format!("{path}/actions");
    let act = async |version: u64, action: &str| {
        let body = json!({ action: { "reason": "holidays" } });
        json_of(staff.post_for(&actions, version, &body).await).await
    };
    assert_eq!(act(1, "pause").await["code"], "too_late");
    let paused = act(2, "pause").await;
    assert_eq!((&paused["status"], paused.get("next")), (&json!("paused"), None), "{paused}");
    let mut due = body.clone();
    due["template"]["at"] = json!(in_minutes(10));
    assert_eq!(staff.put(&path, 3, &due).await.status(), 200);
    let listed = json_of(staff.get(&format!("{TEMPLATES}?status=paused")).await).await;
    assert_eq!(listed["items"][0]["body"]["version"], 4, "{listed}");
    assert_eq!(n_orders(&staff).await, 0, "it is paused");
    act(4, "resume").await;
    orders(&staff, &path).await;
    // What has begun goes on, and nothing more comes of it.
    let gone = json_of(staff.delete(&format!("{path}?reason=enough"), 5).await).await;
    assert_eq!((&gone["version"], gone.get("next")), (&json!(6), None), "{gone}");
    assert_refused(staff.put(&path, 6, &due).await, 404, "not_found").await;
}

#[tokio::test]
async fn what_could_be_made_on_no_day_is_refused_and_so_is_who_may_not() {
    let node = node_that_waits();
    let staff = Caller::new(&node, Principal::Dispatcher);
    let of_region = Caller::with(&node, node.token_of(&[neighbourhood(PICKUP)]));
    for other in [Caller::new(&node, rider(1)), Caller::new(&node, driver(1)), of_region] {
        assert_refused(other.post(TEMPLATES, &template(720)).await, 403, "forbidden").await;
        assert_refused(other.get(TEMPLATES).await, 403, "forbidden").await;
    }
    let with = |field: &str, value: Value| {
        let mut body = template(720);
        body["template"][field] = value;
        body
    };
    let mut far = delivery(2);
    far["to"] = json!({ "at": { "lat": PICKUP.lat + 5.0, "lon": PICKUP.lon } });
    let cases = [
        (with("orders", json!([delivery(1)])), 422, "invalid"),
        (with("orders", Value::Array((0..6).map(delivery).collect())), 422, "invalid"),
        (with("orders", json!([delivery(1), far])), 422, "invalid"),
        (with("weekdays", json!([])), 422, "invalid"),
        (with("at", json!("24:00")), 422, "invalid"),
        (with("except", json!(["2026-02-30"])), 422, "invalid"),
        (with("until", json!("2020-01-01")), 422, "invalid"),
        (with("preset", json!("safeboda")), 422, "invalid"),
        (with("driver", json!(driver(9).to_string())), 404, "not_found"),
        (with("colour", json!("red")), 422, "invalid"),
    ];
    for (body, status, code) in cases {
        assert_refused(staff.post(TEMPLATES, &body).await, status, code).await;
    }
    let unknown = format!("{TEMPLATES}/{}", protocol::TemplateId::nth(1));
    assert_refused(staff.get(&unknown).await, 404, "not_found").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_template_is_changed_paused_and_removed_by_nodes_of_its_brand_only() {
    let shared = Shared::new().await;
    let first = shared.node_with("first", &[("PRESET__NAME", "reskflow")]);
    let other = shared.node_with("second", &[("PRESET__NAME", "riderguy")]);
    seen(&first, is_shared_by(2)).await;
    let staff = Caller::new(&first, Principal::Dispatcher);
    let body = template(720);
    let (path, shown) = made(&staff, &body).await;
    let (actions, removal) = (format!("{path}/actions"), format!("{path}?reason=enough"));
    let pause = json!({ "pause": { "reason": "holidays" } });

    let there = Caller::new(&other, Principal::Dispatcher);
    // Whether it says whose it is to be, or leaves that to the node.
    let mut named = body.clone();
    named["template"]["preset"] = json!("reskflow");
    for body in [&body, &named] {
        assert_refused(there.put(&path, 1, body).await, 422, "invalid").await;
    }
    assert_refused(there.post(TEMPLATES, &named).await, 422, "invalid").await;
    assert_refused(there.post_for(&actions, 1, &pause).await, 422, "invalid").await;
    assert_refused(there.delete(&removal, 1).await, 422, "invalid").await;
    assert_eq!(json_of(there.get(&path).await).await, shown, "it is read everywhere");

    let paused = json_of(staff.post_for(&actions, 1, &pause).await).await;
    assert_eq!((&paused["status"], &paused["version"]), (&json!("paused"), &json!(2)), "{paused}");
    assert_eq!(staff.delete(&removal, 2).await.status(), 200);
}
