//! Routes that a node plans in advance: for whom, in how much time, and what it is busy with meanwhile.

use crate::{
    node::{Node, outrider, rider},
    rest::{Caller, assert_refused, json_of},
    ride::PICKUP,
};
use actors::zone::neighbourhood;
use protocol::{Point, Principal};
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::{
    fs,
    time::{Duration, Instant},
};

pub(crate) const PLAN: &str = "/v1/routes/plan";
/// Longer than a node needs to notice anything here, and shorter than it would search.
const SOON: Duration = Duration::from_secs(5);

/// A moment so many minutes after shifts begin.
fn minute(n: u64) -> u64 {
    1_767_225_600_000 + n * 60_000
}

fn at(east_m: f64, north_m: f64) -> Point {
    PICKUP.offset_m(east_m, north_m)
}

fn vehicle(n: u32) -> Value {
    json!({
        "id": format!("van {n}"), "start": at(0.0, 0.0), "end": at(0.0, 0.0), "capacity": 4,
        "kind": "van", "skills": ["tail_lift"],
        "shift_from": minute(0), "shift_until": minute(480),
    })
}

/// Fetched somewhere and brought somewhere else, all of them apart.
fn job(n: u32) -> Value {
    let (x, y) = (f64::from(n * 37 % 19) * 150.0, f64::from(n * 53 % 23) * 130.0);
    json!({
        "id": format!("job {n}"), "size": 1 + n % 2,
        "pickup": { "at": at(x, y), "opens_at": minute(u64::from(n % 5) * 20), "service_s": 120 },
        "dropoff": { "at": at(y, -x), "closes_at": minute(470), "service_s": 60 },
    })
}

fn body(n_vehicles: u32, n_jobs: u32) -> Value {
    let vehicles: Vec<Value> = (0..n_vehicles).map(vehicle).collect();
    let jobs: Vec<Value> = (0..n_jobs).map(job).collect();
    json!({ "vehicles": vehicles, "jobs": jobs, "iterations": 200, "seed": 7, "budget_ms": 10_000 })
}

/// As much as there may be, searched for as long as it may.
pub(crate) fn long() -> Value {
    let mut body = body(20, 150);
    body["iterations"] = json!(1_000_000);
    body
}

async fn planned(caller: &Caller<'_>, body: &Value) -> Value {
    let response = caller.post(PLAN, body).await;
    let (status, plan) = (response.status(), json_of(response).await);
    assert_eq!(status, StatusCode::OK, "{plan}");
    plan
}

fn stops(plan: &Value) -> impl Iterator<Item = &Value> {
    let routes = plan["routes"].as_array().unwrap().iter();
    routes.flat_map(|route| route["stops"].as_array().unwrap())
}

#[tokio::test]
async fn each_job_is_fetched_and_then_brought_by_one_vehicle_in_its_time() {
    let node = Node::start();
    let staff = Caller::new(&node, Principal::Dispatcher);
    let plan = planned(&staff, &body(3, 12)).await;
    assert_eq!(plan["unserved"], json!([]), "{plan}");
    assert_eq!(plan["ways"], "straight_line");
    assert_eq!(plan["search"]["ended_by"], "iterations");
    assert_eq!(plan["search"]["iterations"], 200);
    for n in 0..12 {
        let (id, asked) = (json!(format!("job {n}")), job(n));
        let mine: Vec<&Value> = stops(&plan).filter(|it| it["job"] == id).collect();
        let what: Vec<&Value> = mine.iter().map(|it| &it["what"]).collect();
        assert_eq!(what, ["pickup", "dropoff"], "{plan}");
        assert!(mine[0]["begins_at"].as_u64() >= asked["pickup"]["opens_at"].as_u64());
        assert!(mine[1]["begins_at"].as_u64() <= asked["dropoff"]["closes_at"].as_u64());
        assert!(mine[0]["departs_at"].as_u64() <= mine[1]["arrives_at"].as_u64());
    }
    assert!(stops(&plan).all(|it| it["load"].as_u64() <= Some(4)), "{plan}");
    for route in plan["routes"].as_array().unwrap() {
        let both = route["stops"].as_array().unwrap().iter().map(|it| &it["job"]);
        assert_eq!(both.clone().count() % 2, 0, "what is fetched is brought by the same: {route}");
        assert!(route["departs_at"].as_u64() >= Some(minute(0)), "{route}");
        assert!(route["ends_at"].as_u64() <= Some(minute(480)), "{route}");
        assert!(route["distance_m"].as_u64() > Some(0), "{route}");
    }
    // The same body again, and of an admin.
    let mut again = planned(&Caller::new(&node, Principal::Admin), &body(3, 12)).await;
    again["search"]["seconds"] = plan["search"]["seconds"].clone();
    assert_eq!(again, plan);
}

#[tokio::test]
async fn what_cannot_be_served_is_named_with_a_reason() {
    let node = Node::start();
    let staff = Caller::new(&node, Principal::Dispatcher);
    let mut body = body(2, 5);
    body["jobs"][0]["skills"] = json!(["cold_chain"]);
    body["jobs"][1]["size"] = json!(5);
    body["jobs"][2]["dropoff"]["closes_at"] = json!(minute(41));
    body["jobs"][2]["pickup"]["opens_at"] = json!(minute(40));
    body["jobs"][3] = json!({ "id": "job 3", "visit": { "at": at(500.0, 0.0), "service_s": 600 } });
    let plan = planned(&staff, &body).await;
    let unserved = json!([
        { "job": "job 0", "reason": "no_skills" },
        { "job": "job 1", "reason": "too_large" },
        { "job": "job 2", "reason": "out_of_time" },
    ]);
    assert_eq!(plan["unserved"], unserved, "{plan}");
    assert!(stops(&plan).any(|it| it["what"] == "visit" && it["job"] == "job 3"), "{plan}");
}

#[tokio::test]
async fn what_makes_no_sense_and_who_may_not_is_refused() {
    let node = Node::start();
    let staff = Caller::new(&node, Principal::Dispatcher);
    let me = Caller::new(&node, rider(1));
    assert_refused(me.post(PLAN, &body(1, 1)).await, 403, "forbidden").await;
    assert_refused(staff.get(PLAN).await, 405, "invalid").await;
    let with = |pointer: &str, value: Value| {
        let mut body = body(1, 2);
        *body.pointer_mut(pointer).unwrap() = value;
        body
    };
    let mut unknown = body(1, 1);
    unknown["colour"] = json!("red");
    for wrong in [
        with("/jobs/0/pickup/opens_at", json!(minute(471))),
        with("/vehicles/0/shift_until", json!(minute(0))),
        with("/vehicles/0/start/lat", json!(91.0)),
        with("/vehicles/0/capacity", json!(-1)),
        with("/jobs/0/pickup/service_s", json!(1e12)),
        with("/jobs/1/id", json!("job 0")),
        with("/budget_ms", json!(10_001)),
        body(51, 1),
        body(1, 201),
        unknown,
    ] {
        assert_refused(staff.post(PLAN, &wrong).await, 422, "invalid").await;
    }
    let long = with("/jobs/0/dropoff/service_s", json!(86_401));
    let refused = json_of(staff.post(PLAN, &long).await).await;
    assert_eq!(refused["message"], "jobs[0].dropoff.service_s: 86,400 at most");
    // More than other bodies may be, and more than this one may.
    let mut large = body(1, 200);
    let roomy: Vec<String> = (0..60).map(|n| format!("{n:060}")).collect();
    (large["iterations"], large["budget_ms"]) = (json!(1), json!(100));
    for n in 0..200 {
        if large.to_string().len() > 258_000 {
            break;
        }
        large["jobs"][n]["skills"] = json!(roomy);
    }
    planned(&staff, &large).await;
    for n in 0..3 {
        large["jobs"][199 - n]["skills"] = json!(roomy);
    }
    assert_refused(staff.post(PLAN, &large).await, 413, "too_large").await;
}

#[tokio::test]
async fn a_dispatcher_of_some_regions_plans_within_them() {
    let node = Node::start();
    let here = Caller::with(&node, node.token_of(&[neighbourhood(PICKUP)]));
    let mut body = json!({
        "vehicles": [vehicle(0)],
        "jobs": [{ "id": "a", "visit": { "at": PICKUP } }],
        "iterations": 10,
    });
    planned(&here, &body).await;
    body["jobs"][0]["visit"]["at"] = json!(at(9_000.0, 0.0));
    assert_refused(here.post(PLAN, &body).await, 403, "forbidden").await;
    planned(&Caller::new(&node, Principal::Dispatcher), &body).await;
    body["jobs"][0]["visit"]["at"] = json!(PICKUP);
    body["vehicles"][0]["end"] = json!(at(9_000.0, 0.0));
    assert_refused(here.post(PLAN, &body).await, 403, "forbidden").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_plan_at_a_time_keeps_nobody_else_waiting_and_ends_with_whoever_asked() {
    let node = Node::start();
    let staff = Caller::new(&node, Principal::Dispatcher);
    let (url, token) = (node.url(PLAN), node.token(Principal::Dispatcher));
    let began = Instant::now();
    let asking = tokio::spawn(async move {
        let http = reqwest::Client::new();
        loop {
            let asked = http.post(&url).bearer_auth(&token).json(&long());
            // What is asked below may be before it.
            if asked.send().await.unwrap().status() != StatusCode::TOO_MANY_REQUESTS {
                return;
            }
        }
    });
    // Until the other has its turn.
    let refused = loop {
        let response = staff.post(PLAN, &body(1, 1)).await;
        if response.status() != StatusCode::OK {
            break response;
        }
        assert!(began.elapsed() < SOON && !asking.is_finished(), "nobody was kept waiting");
    };
    assert_eq!(refused.headers()["retry-after"], "2");
    assert_refused(refused, 429, "busy").await;
    let me = Caller::new(&node, rider(1));
    me.place().await;
    assert!(!asking.is_finished(), "an order was placed meanwhile");

    // Its search would last for seconds more.
    asking.abort();
    loop {
        let response = staff.post(PLAN, &body(1, 1)).await;
        if response.status() == StatusCode::OK {
            break;
        }
        assert_refused(response, 429, "busy").await;
        assert!(began.elapsed() < SOON, "nobody waits for it, and it goes on");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn a_search_ends_when_its_time_is_over_and_says_so() {
    let node = Node::with(&[("GATEWAY__PLANS_MAX", "2")]);
    let staff = Caller::new(&node, Principal::Dispatcher);
    let mut body = long();
    body["budget_ms"] = json!(300);
    let both = tokio::join!(planned(&staff, &body), planned(&staff, &body));
    for plan in [both.0, both.1] {
        assert_eq!(plan["search"]["ended_by"], "time", "{}", plan["search"]);
        assert!(plan["search"]["seconds"].as_f64() >= Some(0.3), "{}", plan["search"]);
    }
}

#[test]
fn the_command_prints_what_the_node_planned() {
    let node = Node::start();
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("day.json");
    let mut asked = body(1, 2);
    asked["jobs"][1]["skills"] = json!(["cold_chain"]);
    fs::write(&file, asked.to_string()).unwrap();
    // The node's key is in its own folder.
    let folder = node.key_file().parent().unwrap().to_owned();
    let run = |more: &[&str]| {
        let mut command = outrider(&folder);
        command.args(["plan", file.to_str().unwrap(), "--at", &node.url("")]).args(more);
        command.output().unwrap()
    };
    let printed = String::from_utf8(run(&[]).stdout).unwrap();
    assert!(printed.contains("van 0 leaves at ") && printed.contains(" dropoff "), "{printed}");
    assert!(printed.contains("job 1 is left out: no_skills"), "{printed}");
    assert!(printed.contains("by straight lines"), "{printed}");
    let plan: Value = serde_json::from_slice(&run(&["--json"]).stdout).unwrap();
    assert_eq!(plan["unserved"][0]["job"], "job 1");
    fs::write(&file, "{").unwrap();
    let said = String::from_utf8(run(&[]).stderr).unwrap();
    assert!(said.starts_with("outrider: plan: ") && said.contains("is no JSON"), "{said}");
}
