//! Sessions without a WebSocket: a ride by server-sent events and posts, and what is refused.

use crate::{
    client::{Client, PATIENCE, is_welcome},
    cluster::{Shared, is_shared_by, seen},
    node::{Node, driver, rider},
    revoke::{assert_ended, revoke_token},
    ride::{act, hear_offer, hear_status, place_ride, ride},
};
use protocol::{
    Code, CommandId, OrderStatus, Principal, Refused,
    codec::Codec,
    frame::{ClientFrame, Outcome, Resume, ServerFrame, Topic},
    work::{OrderAction, Sos, Wish},
};
use reqwest::{Method, StatusCode, header};
use std::time::Duration;
use tokio_tungstenite::tungstenite::{Message, protocol::CloseFrame};

/// A client that hears events.
pub(crate) struct Events {
    http: reqwest::Client,
    /// Where it posts.
    pub(crate) url: String,
    pub(crate) token: String,
    response: reqwest::Response,
    /// What came of an event that is not whole.
    rest: String,
    session: Option<String>,
    /// As a browser would say it.
    pub(crate) last_id: Option<String>,
}

async fn opened(node: &Node, token: &str, last_id: Option<&str>, query: &str) -> reqwest::Response {
    let mut request = reqwest::Client::new().get(node.url(&format!("/v1/sse{query}")));
    if !token.is_empty() {
        request = request.bearer_auth(token);
    }
    if let Some(id) = last_id {
        request = request.header("last-event-id", id);
    }
    request.send().await.unwrap()
}

impl Events {
    async fn open(node: &Node, token: String, last_id: Option<&str>) -> Self {
        let response = opened(node, &token, last_id, "").await;
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()[header::CONTENT_TYPE], "text/event-stream");
        let (http, url) = (reqwest::Client::new(), node.url("/v1/sse"));
        Self { http, url, token, response, rest: String::new(), session: None, last_id: None }
    }

    /// The next frame, or the close code; nothing when the connection is over.
    pub(crate) async fn next(&mut self) -> Option<Message> {
        loop {
            while let Some((event, rest)) = self.rest.split_once("\n\n") {
                let event = event.to_owned();
                self.rest = rest.to_owned();
                let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
                if let Some(id) = field("id: ") {
                    self.last_id = Some(id.to_owned());
                }
                let Some(data) = field("data: ") else { continue };
                if field("event: ") == Some("goodbye") {
                    let goodbye: serde_json::Value = serde_json::from_str(data).unwrap();
                    let code = u16::try_from(goodbye["code"].as_u64().unwrap()).unwrap();
                    let close = CloseFrame { code: code.into(), reason: "".into() };
                    return Some(Message::Close(Some(close)));
                }
                if self.session.is_none() {
                    let hello: serde_json::Value = serde_json::from_str(data).unwrap();
                    self.session = hello["hello"]["session"].as_str().map(str::to_owned);
                }
                return Some(Message::text(data.to_owned()));
            }
            let chunk = self.response.chunk().await.ok()??;
            self.rest.push_str(std::str::from_utf8(&chunk).unwrap());
        }
    }

    /// Says something, whatever it is. Answers with the status.
    pub(crate) async fn post(&self, bytes: Vec<u8>) -> u16 {
        self.ask(Method::POST, &self.token, bytes).await.0.as_u16()
    }

    async fn ask(&self, method: Method, token: &str, bytes: Vec<u8>) -> (StatusCode, String) {
        let url = format!("{}/{}", self.url, self.session.as_deref().unwrap());
        let request = self.http.request(method, url).bearer_auth(token).body(bytes);
        let response = tokio::time::timeout(PATIENCE, request.send()).await.unwrap().unwrap();
        (response.status(), response.text().await.unwrap())
    }
}

async fn connect(node: &Node, principal: Principal) -> Client {
    let mut client = Client::streaming(Events::open(node, node.token(principal), None).await).await;
    let welcome = client.hear().await;
    assert!(is_welcome(&welcome, principal), "{welcome:?}");
    client
}

/// As a browser does it: with the id of the last event.
async fn come_back(node: &Node, principal: Principal, last_id: &str) -> (Client, bool) {
    let events = Events::open(node, node.token(principal), Some(last_id)).await;
    let mut client = Client::streaming(events).await;
    let is_resumed = client.is_resumed().await;
    (client, is_resumed)
}

fn code_of(body: &str) -> Code {
    serde_json::from_str::<Refused>(body).unwrap_or_else(|error| panic!("{body}: {error}")).code
}

fn heartbeat() -> Vec<u8> {
    Codec::Json.encode(&ClientFrame::Heartbeat { heard: None }).unwrap()
}

#[tokio::test]
async fn a_ride_by_events_and_posts() {
    let node = Node::start();
    let mut driver = connect(&node, driver(1)).await;
    let mut rider = connect(&node, rider(1)).await;
    ride(&mut driver, &mut rider).await;
}

#[tokio::test]
async fn whoever_was_cut_off_goes_on_after_the_last_event_and_hears_nothing_twice() {
    let node = Node::start();
    let mut client = connect(&node, rider(1)).await;
    let order = place_ride(&mut client).await;
    hear_status(&mut client, OrderStatus::Searching).await;
    let last_id = client.events().last_id.clone().unwrap();
    assert_eq!(last_id, format!("{}:{}", client.at.session, client.at.heard));
    let url = client.events().url.clone();
    client.cut();
    let mut staff = Client::connect(&node, Principal::Dispatcher).await;
    act(&mut staff, order, OrderAction::Cancel { reason: "no_driver".to_owned() }).await;

    let (mut again, is_resumed) = come_back(&node, rider(1), &last_id).await;
    assert!(is_resumed);
    hear_status(&mut again, OrderStatus::CancelledByAdmin).await;
    assert_eq!(again.events().url, url);
    // What did not arrive is said again, and what did is not.
    let last_id = again.events().last_id.clone().unwrap();
    again.say(&ClientFrame::Subscribe(Topic::Order(order))).await;
    let shown = hear_status(&mut again, OrderStatus::CancelledByAdmin);
    shown.await;
    let missed = again.at.heard - last_id.rsplit_once(':').unwrap().1.parse::<u64>().unwrap();
    again.cut();
    let (mut third, is_resumed) = come_back(&node, rider(1), &last_id).await;
    assert!(is_resumed);
    third.say(&ClientFrame::Heartbeat { heard: None }).await;
    let mut n_again = 0;
    loop {
        match third.hear().await {
            ServerFrame::Heartbeat { .. } => break,
            ServerFrame::Order(_) | ServerFrame::Rider(_) | ServerFrame::Changed(_) => n_again += 1,
            frame => panic!("{frame:?}"),
        }
    }
    assert!(n_again >= missed, "{n_again} of {missed}");
}

#[tokio::test]
async fn a_revoked_token_ends_a_stream_and_is_no_way_into_another() {
    let node = Node::start();
    let mut thief = connect(&node, rider(1)).await;
    let mut owner = connect(&node, rider(1)).await;
    let stolen = thief.events().token.clone();
    revoke_token(&node, &stolen).await;
    assert_ended(&mut thief).await;
    let (status, body) = thief.events().ask(Method::POST, &stolen, heartbeat()).await;
    assert_eq!((status, code_of(&body)), (StatusCode::UNAUTHORIZED, Code::Unauthenticated));
    let last_id = thief.events().last_id.clone();
    let again = opened(&node, &stolen, last_id.as_deref(), "").await;
    assert_eq!(again.status(), StatusCode::UNAUTHORIZED);
    owner.say(&ClientFrame::Heartbeat { heard: None }).await;
    owner.hear_any(|frame| matches!(frame, ServerFrame::Heartbeat { .. }).then_some(())).await;
}

#[tokio::test]
async fn a_session_goes_on_from_a_websocket_to_events_and_back() {
    let node = Node::start();
    let mut web = Client::stranger(&node, Codec::Json).await;
    web.identify(&node.token(rider(1))).await;
    web.hear().await;
    let order = place_ride(&mut web).await;
    hear_status(&mut web, OrderStatus::Searching).await;
    let Resume { session, heard } = web.cut();
    let (mut events, is_resumed) = come_back(&node, rider(1), &format!("{session}:{heard}")).await;
    assert!(is_resumed);
    act(&mut events, order, OrderAction::Cancel { reason: "changed_mind".to_owned() }).await;
    hear_status(&mut events, OrderStatus::CancelledByRider).await;
    let at = events.cut();
    let mut web = Client::stranger(&node, Codec::Json).await;
    web.say(&ClientFrame::Identify { token: node.token(rider(1)), resume: Some(at) }).await;
    assert!(web.is_resumed().await);
}

#[tokio::test]
async fn a_driver_in_a_tunnel_is_offered_what_came_meanwhile() {
    let node = Node::start();
    let mut driving = connect(&node, driver(1)).await;
    crate::ride::go_on_duty(&mut driving, crate::ride::PICKUP).await;
    let last_id = driving.events().last_id.clone().unwrap();
    driving.cut();
    let mut riding = connect(&node, rider(1)).await;
    place_ride(&mut riding).await;
    let (mut driving, is_resumed) = come_back(&node, driver(1), &last_id).await;
    assert!(is_resumed);
    hear_offer(&mut driving).await;
}

#[tokio::test]
async fn a_stream_is_nobodys_without_a_token() {
    let node = Node::start();
    for (token, query, status) in [
        ("", "", 401),
        ("a.b.c", "", 401),
        ("", "?token=a.b.c", 401),
        ("", "?tokken=a", 422),
        ("", "?session=session-1&heard=1", 422),
    ] {
        let response = opened(&node, token, None, query).await;
        assert_eq!(response.status().as_u16(), status, "{token} {query}");
    }
    let token = node.token(rider(1));
    let response = opened(&node, &token, Some("order-1:7"), "").await;
    assert_eq!(response.status().as_u16(), 422);
    let response = opened(&node, "", None, &format!("?token={token}")).await;
    assert_eq!(response.status().as_u16(), 200);
    let mut request = reqwest::Client::new().get(node.url("/v1/sse")).bearer_auth(&token);
    request = request.header("origin", "https://elsewhere.example");
    assert_eq!(request.send().await.unwrap().status().as_u16(), 403);
}

#[tokio::test]
async fn only_its_own_client_speaks_on_a_stream() {
    let node = Node::start();
    let mut client = connect(&node, rider(1)).await;
    let (own, other) = (node.token(rider(1)), node.token(rider(2)));
    let events = client.events();
    let (status, body) = events.ask(Method::POST, &other, heartbeat()).await;
    assert_eq!((status.as_u16(), code_of(&body)), (404, Code::NotFound));
    let (status, body) = events.ask(Method::DELETE, &other, Vec::new()).await;
    assert_eq!((status.as_u16(), code_of(&body)), (404, Code::NotFound));
    let (status, body) = events.ask(Method::POST, "a.b.c", heartbeat()).await;
    assert_eq!((status.as_u16(), code_of(&body)), (401, Code::Unauthenticated));
    assert_eq!(events.ask(Method::POST, &own, heartbeat()).await.0.as_u16(), 202);
    client.hear_any(|frame| matches!(frame, ServerFrame::Heartbeat { .. }).then_some(())).await;

    // A session that speaks otherwise, and one that there is not.
    let web = Client::connect(&node, rider(1)).await;
    let post = async |session: String| {
        let url = node.url(&format!("/v1/sse/{session}"));
        let request = reqwest::Client::new().post(url).bearer_auth(&own).body(heartbeat());
        let response = request.send().await.unwrap();
        (response.status().as_u16(), code_of(&response.text().await.unwrap()))
    };
    assert_eq!(post(web.at.session.to_string()).await, (404, Code::NotFound));
    assert_eq!(post(protocol::SessionId::nth(7).to_string()).await, (404, Code::NotFound));
    assert_eq!(post("7".to_owned()).await, (404, Code::NotFound));
}

#[tokio::test]
async fn what_cannot_be_heard_is_refused_and_loses_nothing() {
    let node = Node::start();
    let mut client = connect(&node, rider(1)).await;
    let own = node.token(rider(1));
    let events = client.events();
    let huge = vec![b' '; 64 * 1_024 + 1];
    let many = b"{}\n".repeat(65);
    for (body, status, code) in [
        (huge, 413, Code::TooLarge),
        (many, 413, Code::TooLarge),
        (Vec::new(), 400, Code::Malformed),
        (vec![0xff, 0xfe], 400, Code::Malformed),
    ] {
        let (was, text) = events.ask(Method::POST, &own, body).await;
        assert_eq!((was.as_u16(), code_of(&text)), (status, code));
    }
    // What is in it is judged by the session, as on a socket.
    let mut body = b"{\"colour\":\"red\"}\n".to_vec();
    body.extend(heartbeat());
    assert_eq!(events.post(body).await, 202);
    let refused = client
        .hear_any(|frame| match frame {
            ServerFrame::Refused(refused) => Some(refused.code),
            _ => None,
        })
        .await;
    assert_eq!(refused, Code::Malformed);
    client.hear_any(|frame| matches!(frame, ServerFrame::Heartbeat { .. }).then_some(())).await;
    place_ride(&mut client).await;
}

#[tokio::test]
async fn whoever_has_said_too_much_is_heard_calling_for_help() {
    let node = Node::with(&[("GATEWAY__REQUESTS_PER_S", "1"), ("GATEWAY__REQUESTS_BURST", "1")]);
    let mut client = connect(&node, rider(1)).await;
    let events = client.events();
    while events.post(heartbeat()).await != 429 {}
    let call = CommandId::mint();
    let frame = ClientFrame::Command { id: call, wish: Wish::Sos(Sos::default()) };
    let mut body = heartbeat();
    body.push(b'\n');
    body.extend(Codec::Json.encode(&frame).unwrap());
    assert_eq!(events.post(body).await, 202);
    client
        .hear_any(|frame| match frame {
            ServerFrame::Result { id, outcome: Outcome::Ok(_) } if id == call => Some(()),
            _ => None,
        })
        .await;
}

#[tokio::test]
async fn a_stream_ends_with_its_code() {
    let node = Node::with(&[("GATEWAY__SESSION__HEARTBEAT", "100ms")]);
    // Nothing is heard of it.
    let (heard, closed) = connect(&node, rider(1)).await.hear_out().await;
    assert!(matches!(heard.last(), Some(ServerFrame::Goodbye { .. })), "{heard:?}");
    assert_eq!(closed.code, 4408);

    let node = Node::with(&[("GATEWAY__SESSION__STRIKES_MAX", "3")]);
    let mut client = connect(&node, rider(1)).await;
    assert_eq!(client.events().post(b"{}\n".repeat(10)).await, 202);
    assert_eq!(client.hear_out().await.1.code, 1008);

    let mut client = connect(&node, rider(1)).await;
    let own = node.token(rider(1));
    assert_eq!(client.events().ask(Method::DELETE, &own, Vec::new()).await.0.as_u16(), 202);
    let at = client.at;
    assert_eq!(client.hear_out().await.1.code, 1000);
    let last_id = format!("{}:{}", at.session, at.heard);
    let (mut client, is_resumed) = come_back(&node, rider(1), &last_id).await;
    assert!(!is_resumed, "whoever says goodbye does not come back");

    // It goes on elsewhere while nobody has noticed that it broke.
    let last_id = client.events().last_id.clone().unwrap();
    let (mut other, is_resumed) = come_back(&node, rider(1), &last_id).await;
    assert!(is_resumed);
    assert_eq!(client.hear_out().await.1.code, 4409);
    node.terminate();
    assert_eq!(other.hear_out().await.1.code, 1012);
}

#[tokio::test]
async fn whoever_reads_too_slowly_is_closed() {
    let node = Node::with(&[
        ("GATEWAY__SESSION__QUEUE_MAX", "16"),
        ("GATEWAY__SESSION__STALL_MAX", "300ms"),
        ("GATEWAY__SESSION__COMMANDS_PER_S", "100000"),
        ("GATEWAY__SESSION__COMMANDS_BURST", "100000"),
        ("GATEWAY__SESSION__FRAMES_PER_S", "100000"),
        ("GATEWAY__SESSION__FRAMES_BURST", "100000"),
        ("GATEWAY__REQUESTS_PER_S", "100000"),
        ("GATEWAY__REQUESTS_BURST", "100000"),
    ]);
    let mut client = connect(&node, rider(1)).await;
    let order = place_ride(&mut client).await;
    // It never reads what it asks for, until there is no room for more.
    let frame = Codec::Json.encode(&ClientFrame::Subscribe(Topic::Order(order))).unwrap();
    let frames = [frame.as_slice(), b"\n"].concat().repeat(16);
    let asking = async {
        loop {
            match client.events().post(frames.clone()).await {
                202 => {}
                429 => tokio::time::sleep(Duration::from_millis(5)).await,
                status => return status,
            }
        }
    };
    let status = tokio::time::timeout(PATIENCE * 3, asking).await.expect("it is closed");
    assert_eq!(status, 404, "its stream is gone");
}

#[tokio::test]
async fn pages_of_listed_origins_may_open_streams() {
    let node = Node::with(&[("GATEWAY__ORIGINS", r#"["https://app.example"]"#)]);
    let http = reqwest::Client::new();
    let preflight = |origin: &'static str| {
        let request = http.request(Method::OPTIONS, node.url("/v1/sse/session-1"));
        let request = request.header("origin", origin);
        request
            .header("access-control-request-method", "POST")
            .header("access-control-request-headers", "authorization,content-type")
            .send()
    };
    let allowed = preflight("https://app.example").await.unwrap();
    assert_eq!(allowed.headers()["access-control-allow-origin"], "https://app.example");
    let other = preflight("https://elsewhere.example").await.unwrap();
    assert!(!other.headers().contains_key("access-control-allow-origin"));
    let token = node.token(rider(1));
    let request = http.get(node.url("/v1/sse")).bearer_auth(&token);
    let answer = request.header("origin", "https://app.example").send().await.unwrap();
    assert_eq!(answer.status(), StatusCode::OK);
    assert_eq!(answer.headers()["access-control-allow-origin"], "https://app.example");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_posted_to_another_node_reaches_its_session() {
    let shared = Shared::new().await;
    let (first, second) = (shared.node("first"), shared.node("second"));
    seen(&first, is_shared_by(2)).await;
    seen(&second, is_shared_by(2)).await;
    let mut client = connect(&first, rider(1)).await;
    client.events().url = second.url("/v1/sse");
    let order = place_ride(&mut client).await;
    hear_status(&mut client, OrderStatus::Searching).await;
    let (status, _) = client.events().ask(Method::POST, &second.token(rider(2)), heartbeat()).await;
    assert_eq!(status.as_u16(), 404, "nobody else's, there too");
    // It goes on at the other node.
    let last_id = client.events().last_id.clone().unwrap();
    client.cut();
    let (mut client, is_resumed) = come_back(&second, rider(1), &last_id).await;
    assert!(is_resumed);
    client.events().url = first.url("/v1/sse");
    act(&mut client, order, OrderAction::Cancel { reason: "changed_mind".to_owned() }).await;
    hear_status(&mut client, OrderStatus::CancelledByRider).await;
}
