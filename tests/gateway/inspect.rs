//! Operators who look at sessions: who is there, and what one of them hears and says.

use crate::{
    client::{Client, PATIENCE, is_welcome},
    cluster::{Shared, is_shared_by, seen},
    node::{Node, driver, outrider, rider},
    rest::{Caller, assert_refused, json_of},
    ride::place_ride,
};
use protocol::{
    CommandId, Principal, SessionId,
    frame::{ClientFrame, ServerFrame, Topic},
    work::{OrderAction, Wish},
};
use reqwest::Response;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::timeout;

/// Frames of one session, as they come.
struct Tap {
    events: Response,
    rest: String,
}

impl Tap {
    async fn open(node: &Node, session: SessionId, lasts: &str) -> Self {
        let admin = Caller::new(node, Principal::Admin);
        let events = admin.get(&format!("/admin/sessions/{session}/frames?for={lasts}")).await;
        assert_eq!(events.status(), 200);
        assert_eq!(events.headers()["content-type"], "text/event-stream");
        Self { events, rest: String::new() }
    }

    /// The next event: its name, and what it says.
    async fn next(&mut self) -> Option<(String, String)> {
        loop {
            if let Some((event, rest)) = self.rest.split_once("\n\n") {
                let field = |name| event.lines().find_map(|line| line.strip_prefix(name));
                let said = field("event: ").zip(field("data: "));
                let said = said.map(|(name, data)| (name.to_owned(), data.to_owned()));
                self.rest = rest.to_owned();
                match said {
                    Some(said) => return Some(said),
                    // A sign of life.
                    None => continue,
                }
            }
            let bytes =
                timeout(PATIENCE * 2, self.events.chunk()).await.expect("in time").unwrap()?;
            self.rest.push_str(std::str::from_utf8(&bytes).unwrap());
        }
    }

    /// The next frame that is wanted, with all that is said about it.
    async fn frame(&mut self, is_wanted: impl Fn(&Value) -> bool) -> Value {
        loop {
            let (name, data) = self.next().await.expect("a frame");
            assert_eq!(name, "frame", "{data}");
            let line: Value = serde_json::from_str(&data).unwrap();
            if is_wanted(&line) {
                return line;
            }
        }
    }

    /// Why it ends, whatever comes before.
    async fn end(&mut self) -> String {
        loop {
            let (name, data) = self.next().await.expect("a word at the end");
            if name == "end" {
                assert!(self.next().await.is_none(), "it was the last");
                return data;
            }
        }
    }
}

/// So many sessions of somebody, once there are.
async fn listed(node: &Node, query: &str, n: usize) -> Value {
    let admin = Caller::new(node, Principal::Admin);
    loop {
        let page = json_of(admin.get(&format!("/admin/sessions{query}")).await).await;
        if page["items"].as_array().unwrap().len() == n {
            return page;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

async fn heartbeat(client: &mut Client) {
    client.say(&ClientFrame::Heartbeat { heard: None }).await;
    client.hear_any(|frame| matches!(frame, ServerFrame::Heartbeat { .. }).then_some(())).await;
}

#[tokio::test]
async fn sessions_are_listed_with_what_they_do_in_pages() {
    let node = Node::start();
    let mut dispatcher = Client::connect(&node, Principal::Dispatcher).await;
    dispatcher.subscribe(Topic::Board).await;
    heartbeat(&mut dispatcher).await;
    let mut riders = Vec::new();
    for n in 0..5 {
        riders.push(Client::connect(&node, rider(n)).await);
    }
    let all = listed(&node, "", 6).await;
    let of = |who: Principal| {
        let mut items = all["items"].as_array().unwrap().iter();
        items.find(|it| it["principal"] == who.to_string()).unwrap()
    };
    let shown = of(Principal::Dispatcher);
    assert_eq!(shown["id"], dispatcher.at.session.to_string());
    assert_eq!(shown["speaks"], "outrider.v1.msgpack");
    assert_eq!((&shown["n_followed"], &shown["n_heard"]), (&json!(1), &json!(3)), "{shown}");
    assert!(shown["n_said"].as_u64() >= Some(3) && shown["token"].is_string(), "{shown}");
    assert_eq!(shown["is_tapped"], false);
    assert!(shown["heard_at"].as_u64() >= shown["since"].as_u64(), "{shown}");

    let one = listed(&node, &format!("?principal={}", rider(3)), 1).await;
    assert_eq!(one["items"][0]["id"], riders[3].at.session.to_string());
    assert_eq!(one.get("next"), None);
    let (mut ids, mut query) = (Vec::new(), "?limit=4".to_owned());
    for n in [4, 2] {
        let page = listed(&node, &query, n).await;
        ids.extend(page["items"].as_array().unwrap().iter().map(|it| it["id"].clone()));
        query = format!("?limit=4&after={}", page["next"].as_str().unwrap_or_default());
    }
    let every: Vec<_> =
        all["items"].as_array().unwrap().iter().map(|it| it["id"].clone()).collect();
    assert_eq!(ids, every, "each once, in their order");
    riders.pop().unwrap().leave().await;
    listed(&node, "", 5).await;
}

#[tokio::test]
async fn a_tap_shows_both_ways_and_no_secrets_and_leaves_a_trace() {
    let node = Node::with(&[("TELEMETRY__FILTER", "info")]);
    let mut client = Client::connect(&node, rider(1)).await;
    let order = place_ride(&mut client).await;
    let mut tap = Tap::open(&node, client.at.session, "5m").await;

    heartbeat(&mut client).await;
    let heard = tap.frame(|it| it["way"] == "in").await;
    assert_eq!(heard["frame"], json!({ "heartbeat": {} }));
    assert!(heard["at"].as_u64() > Some(1_600_000_000_000), "{heard}");
    let said = tap.frame(|it| it["way"] == "out").await;
    assert!(said["frame"]["heartbeat"]["server_time"].is_u64(), "{said}");
    assert_eq!(listed(&node, "", 1).await["items"][0]["is_tapped"], true);

    let start = Wish::Order { id: order, action: OrderAction::Start { code: Some("4711".into()) } };
    client.wish(start).await;
    let command = tap.frame(|it| it["frame"].get("command").is_some()).await;
    assert!(!command.to_string().contains("4711"), "{command}");
    let result = tap.frame(|it| it["frame"].get("result").is_some()).await;
    let code = &result["frame"]["result"]["outcome"]["refused"]["code"];
    assert!(code.is_string() && code != "***", "why is no secret: {result}");

    let token = node.token_for(rider(1), "13h");
    client.identify(&token).await;
    client.hear_any(|frame| is_welcome(&frame, rider(1)).then_some(())).await;
    let identify = tap.frame(|it| it["frame"].get("identify").is_some()).await;
    assert_eq!(identify["frame"]["identify"]["token"], "***");
    client.say_bytes(vec![0xc1]).await;
    let rubbish = tap.frame(|it| it["frame"].get("rubbish").is_some()).await;
    assert_eq!(rubbish["way"], "in");

    // One at a time; and it ends with the session.
    let admin = Caller::new(&node, Principal::Admin);
    let path = format!("/admin/sessions/{}/frames", client.at.session);
    assert_refused(admin.get(&path).await, 409, "taken").await;
    let session = client.at.session.to_string();
    client.leave().await;
    assert_eq!(tap.end().await, "session");
    let log = node.log();
    let line = |what: &str| log.lines().find(|it| it.contains(what)).unwrap_or_default().to_owned();
    let began = line("session tapped");
    assert!(began.contains("by=admin") && began.contains(&session), "{log}");
    assert!(began.contains("with=\"token-"), "{began}");
    assert!(line("session not tapped any more").contains("n_dropped=0"), "{log}");
    assert!(!log.contains(&token) && !log.contains("4711"));
    let metrics = admin.get("/metrics").await.text().await.unwrap();
    assert!(metrics.contains("outrider_taps_total 1"), "{metrics}");
}

#[tokio::test]
async fn a_tap_leaves_a_trace_where_nothing_else_is_logged() {
    let node = Node::with(&[("TELEMETRY__FILTER", "off,outrider::audit=off")]);
    let client = Client::connect(&node, rider(1)).await;
    let session = client.at.session.to_string();
    let mut tap = Tap::open(&node, client.at.session, "5m").await;
    client.leave().await;
    assert_eq!(tap.end().await, "session");
    let log = node.log();
    for what in ["session tapped", "session not tapped any more"] {
        assert!(log.lines().any(|it| it.contains(what) && it.contains(&session)), "{log}");
    }
}

#[tokio::test]
async fn a_tap_is_for_admins_of_a_session_there_is_and_for_a_while() {
    let node = Node::start();
    let mut client = Client::connect(&node, driver(1)).await;
    let path = format!("/admin/sessions/{}/frames", client.at.session);
    for by in [driver(1), rider(1), Principal::Dispatcher] {
        let caller = Caller::new(&node, by);
        assert_refused(caller.get(&path).await, 403, "forbidden").await;
        assert_refused(caller.get("/admin/sessions").await, 403, "forbidden").await;
    }
    let admin = Caller::new(&node, Principal::Admin);
    let nowhere = SessionId::nth(7);
    for unknown in [nowhere.to_string(), "rubbish".to_owned(), "order-1".to_owned()] {
        let response = admin.get(&format!("/admin/sessions/{unknown}/frames")).await;
        assert_refused(response, 404, "not_found").await;
    }
    for rubbish in ["for=0s", "for=16m", "for=soon", "x=1"] {
        assert_refused(admin.get(&format!("{path}?{rubbish}")).await, 422, "invalid").await;
    }
    for rubbish in ["limit=0", "limit=201", "principal=nobody", "after=yesterday", "x=1"] {
        let response = admin.get(&format!("/admin/sessions?{rubbish}")).await;
        assert_refused(response, 422, "invalid").await;
    }
    let mut tap = Tap::open(&node, client.at.session, "300ms").await;
    assert_eq!(tap.end().await, "time");
    heartbeat(&mut client).await;
    // It ends with the listener's token, too.
    let mut tap = Tap::open(&node, client.at.session, "5m").await;
    let all = json!({ "principal": "admin", "reason": "a stolen laptop" });
    assert_eq!(admin.post("/admin/revocations", &all).await.status(), 200);
    assert_eq!(tap.end().await, "unauthenticated");
    heartbeat(&mut client).await;
}

/// A client that says all it can, and a listener who reads nothing: frames are left out of the tap and counted, and
/// the client is answered all the while.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_listener_who_does_not_read_slows_nobody() {
    const N: usize = 30_000;
    let node = Node::with(&[
        ("GATEWAY__SESSION__FRAMES_PER_S", "1000000"),
        ("GATEWAY__SESSION__FRAMES_BURST", "1000000"),
        ("GATEWAY__SESSION__QUEUE_MAX", "100000"),
    ]);
    let mut client = Client::connect(&node, rider(1)).await;
    let mut tap = Tap::open(&node, client.at.session, "5m").await;
    for _ in 0..N / 100 {
        for _ in 0..100 {
            client.say(&ClientFrame::Heartbeat { heard: None }).await;
        }
        for _ in 0..100 {
            let heard = client.hear().await;
            assert!(
                matches!(heard, ServerFrame::Heartbeat { .. } | ServerFrame::Rider(_)),
                "{heard:?}"
            );
        }
    }
    // What was left out is said with the next frame there is room for, so there must be more of them.
    let talking = tokio::spawn(async move {
        loop {
            heartbeat(&mut client).await;
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    });
    let (mut n_shown, mut n_dropped) = (0, 0);
    while n_shown + n_dropped < 2 * N as u64 {
        let frame = tap.frame(|_| true).await;
        n_dropped += frame["n_dropped"].as_u64().unwrap_or(0);
        n_shown += 1;
    }
    talking.abort();
    assert!(n_dropped > 0, "{n_shown} shown");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sessions_of_other_nodes_are_listed_and_tapped_from_any() {
    let shared = Shared::new().await;
    let (first, second) = (shared.node("first"), shared.node("second"));
    seen(&first, is_shared_by(2)).await;
    let mut here = Client::connect(&first, rider(1)).await;
    let mut there = Client::connect(&second, rider(2)).await;
    let page = listed(&first, "", 2).await;
    let node_of = |who: Principal| {
        let mut items = page["items"].as_array().unwrap().iter();
        items.find(|it| it["principal"] == who.to_string()).unwrap()["node"].clone()
    };
    assert_eq!((node_of(rider(1)), node_of(rider(2))), (json!("first"), json!("second")));
    assert_eq!(page.get("silent"), None);

    let mut tap = Tap::open(&first, there.at.session, "5m").await;
    for n in 0..40 {
        there.say(&ClientFrame::Ack { n }).await;
    }
    for n in 0..40 {
        let ack = tap.frame(|it| it["frame"].get("ack").is_some()).await;
        assert_eq!(ack["frame"]["ack"]["n"], n, "in order, each once");
    }
    heartbeat(&mut there).await;
    heartbeat(&mut here).await;
    let admin = Caller::new(&first, Principal::Admin);
    let again = admin.get(&format!("/admin/sessions/{}/frames", there.at.session)).await;
    assert_refused(again, 409, "taken").await;
    there.leave().await;
    assert_eq!(tap.end().await, "session");
    // Whoever stops listening is not listened for.
    let mut third = Client::connect(&second, rider(3)).await;
    drop(Tap::open(&first, third.at.session, "5m").await);
    heartbeat(&mut third).await;
    // Where nobody answers any more.
    let lost = Client::connect(&second, rider(4)).await;
    let mut tap = Tap::open(&first, lost.at.session, "5m").await;
    drop(second);
    assert_eq!(tap.end().await, "lost");
}

#[test]
fn operators_look_on_the_command_line() {
    let node = Node::start();
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut client = runtime.block_on(Client::connect(&node, rider(1)));
    let run = |args: &[&str]| {
        let mut command = outrider(node.key_file().parent().unwrap());
        command.args(["sessions", "--at", &node.url("")]).args(args);
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.success(), text + &String::from_utf8_lossy(&output.stderr))
    };
    let session = client.at.session.to_string();
    let (is_ok, table) = run(&[]);
    assert!(is_ok && table.contains(&session) && table.contains(&rider(1).to_string()), "{table}");
    let (is_ok, json) = run(&["--json", "--principal", &rider(1).to_string()]);
    let page: Value = serde_json::from_str(&json).unwrap();
    assert!(is_ok && page["items"][0]["id"] == session, "{json}");
    assert!(!run(&["--principal", "nobody"]).0);

    let talking = runtime.spawn(async move {
        loop {
            let id = CommandId::mint();
            let wish =
                Wish::Order { id: protocol::OrderId::nth(1), action: OrderAction::Arrive {} };
            client.say(&ClientFrame::Command { id, wish }).await;
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    });
    let (is_ok, text) = run(&["tap", &session, "--for", "500ms"]);
    assert!(is_ok && text.contains(" in ") && text.contains("arrive"), "{text}");
    assert!(text.trim_end().ends_with("over: time"), "{text}");
    let (is_ok, text) = run(&["tap", &SessionId::nth(9).to_string()]);
    assert!(!is_ok && text.contains("session-"), "{text}");
    talking.abort();
}
