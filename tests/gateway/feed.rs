//! The event feed from outside: in order, without a gap, and for staff only.

use crate::{
    node::{Node, rider},
    rest::{Caller, assert_refused, json_of, ride},
};
use protocol::{MerchantId, Principal};
use serde_json::Value;
use std::collections::HashMap;

/// Each event is the next of its shard.
fn assert_gapless(events: &[Value], heads: &mut HashMap<u64, u64>) {
    for event in events {
        let head = heads.entry(event["shard"].as_u64().unwrap()).or_default();
        *head += 1;
        assert_eq!(event["seq"].as_u64(), Some(*head), "{event}");
    }
}

#[tokio::test]
async fn a_consumer_pages_through_and_resumes_after_a_restart() {
    let mut node = Node::with(&[("JOURNAL__KIND", "sqlite")]);
    let mut placed = Vec::new();
    for n in 0..5 {
        placed.push(Caller::new(&node, rider(n)).place().await);
    }
    let (mut heads, mut names, mut path) =
        (HashMap::new(), Vec::new(), "/v1/events?limit=2".to_owned());
    let mut is_restarted = false;
    loop {
        let page = json_of(Caller::new(&node, Principal::Dispatcher).get(&path).await).await;
        let events = page["events"].as_array().unwrap();
        assert!(events.len() <= 2);
        if events.is_empty() {
            break;
        }
        assert_gapless(events, &mut heads);
        names.extend(events.iter().map(|it| (it["entity"].clone(), it["name"].clone())));
        path = format!("/v1/events?limit=2&after={}", page["next"].as_str().unwrap());
        if !is_restarted {
            node.kill_and_restart();
            is_restarted = true;
        }
    }
    for order in placed {
        let is_placed = |(entity, name): &&(Value, Value)| *entity == order && name == "placed";
        assert_eq!(names.iter().filter(is_placed).count(), 1, "{order}");
    }
}

#[tokio::test]
async fn a_waiting_consumer_hears_of_the_next_commit() {
    let node = Node::start();
    let staff = Caller::new(&node, Principal::Admin);
    let page = json_of(staff.get("/v1/events").await).await;
    assert_eq!(page["events"], serde_json::json!([]));
    let path = format!("/v1/events?wait=20s&after={}", page["next"].as_str().unwrap());
    let me = Caller::new(&node, rider(1));
    let (page, order) = tokio::join!(async { json_of(staff.get(&path).await).await }, me.place());
    let event = &page["events"][0];
    assert_eq!((&event["entity"], &event["name"]), (&order.into(), &"placed".into()));
    let placement = &event["event"]["placed"]["placement"];
    assert_eq!(placement["rider"], rider(1).to_string(), "{event}");
}

#[tokio::test]
async fn the_feed_tells_nobody_a_riders_code() {
    let node = Node::start();
    let me = Caller::new(&node, rider(1));
    let mut meal = ride();
    meal["kind"] = "commerce".into();
    meal["merchant"] = MerchantId::nth(1).to_string().into();
    meal["handoff"] = "collect".into();
    let placed = json_of(me.post("/v1/orders", &meal).await).await;
    let order = &placed["actor"];
    assert!(order.is_string(), "{placed}");
    let shown = json_of(me.get(&format!("/v1/orders/{}", order.as_str().unwrap())).await).await;
    assert!(shown["code"].is_string(), "its rider knows it: {shown}");
    let staff = Caller::new(&node, Principal::Admin);
    let page = json_of(staff.get("/v1/events").await).await;
    let placement = &page["events"][0]["event"]["placed"]["placement"];
    assert_eq!(placement["rider"], rider(1).to_string(), "{page}");
    assert!(placement.get("code").is_none(), "{page}");
}

#[tokio::test]
async fn the_feed_is_for_staff_and_refuses_rubbish() {
    let node = Node::start();
    let me = Caller::new(&node, rider(1));
    assert_refused(me.get("/v1/events").await, 403, "forbidden").await;
    let staff = Caller::new(&node, Principal::Dispatcher);
    for query in [
        "after=rubbish",
        "limit=0",
        "limit=501",
        "shards=7",
        "shards=5-4",
        "shards=0-1024",
        "wait=soon",
        "x=1",
    ] {
        let response = staff.get(&format!("/v1/events?{query}")).await;
        assert_refused(response, 422, "invalid").await;
    }
    let page = json_of(staff.get("/v1/events?shards=0-511").await).await;
    let next = page["next"].as_str().unwrap();
    let same = format!("/v1/events?shards=0-511&after={next}");
    assert!(staff.get(&same).await.status().is_success());
    let other = format!("/v1/events?shards=0-512&after={next}");
    assert_refused(staff.get(&other).await, 422, "invalid").await;
}
