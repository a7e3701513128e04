//! Tokens that are good no longer: nobody comes in with one, and nobody stays.

use crate::{
    client::{Client, is_welcome, refused, request},
    cluster::{Shared, is_shared_by, seen},
    node::{Node, driver, outrider, rider},
    rest::{Caller, assert_refused, json_of},
};
use actors::{EntityKey, revocation::Target};
use base64::Engine;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use protocol::{
    Code, Principal,
    codec::Codec,
    frame::{ClientFrame, Resume, ServerFrame},
};
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::{fs, time::Duration};
use tokio::time::{Instant, timeout};

/// Everywhere, within this.
const SOON: Duration = Duration::from_secs(1);

/// What a token says, whoever signed it.
fn claims(token: &str) -> Value {
    let claims = token.split('.').nth(1).unwrap();
    let claims = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(claims).unwrap();
    serde_json::from_slice(&claims).unwrap()
}

fn jti(token: &str) -> String {
    claims(token)["jti"].as_str().unwrap().to_owned()
}

async fn connect(node: &Node, who: Principal, token: &str) -> Client {
    let mut client = Client::stranger(node, Codec::MsgPack).await;
    client.identify(token).await;
    let welcome = client.hear().await;
    assert!(is_welcome(&welcome, who), "{welcome:?}");
    client
}

/// It ends within a second, and says why.
pub(crate) async fn assert_ended(client: &mut Client) {
    let began = Instant::now();
    let (heard, closed) = timeout(SOON, client.hear_out()).await.expect("closes within a second");
    assert_eq!(closed.code, 4401, "after {:?}", began.elapsed());
    let Some(ServerFrame::Goodbye { refused }) = heard.last() else { panic!("{heard:?}") };
    assert_eq!(
        (refused.code, refused.message.as_str()),
        (Code::Unauthenticated, "the token has been revoked")
    );
}

/// It goes on as if nothing had happened.
async fn assert_alive(client: &mut Client) {
    client.say(&ClientFrame::Heartbeat { heard: None }).await;
    client.hear_any(|frame| matches!(frame, ServerFrame::Heartbeat { .. }).then_some(())).await;
}

async fn ask(node: &Node, token: &str, path: &str) -> StatusCode {
    let asked = reqwest::Client::new().get(node.url(path)).bearer_auth(token).send().await;
    asked.unwrap().status()
}

/// None of the ways in is open to this token.
async fn assert_locked_out(node: &Node, token: &str) {
    assert_eq!(ask(node, token, "/v1/orders").await, StatusCode::UNAUTHORIZED);
    let mut by_header = request(node, Some(Codec::MsgPack));
    by_header.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
    let (status, body) = refused(by_header).await;
    assert!(status == 401 && body.contains("revoked"), "{status} {body}");
    let mut by_query = request(node, Some(Codec::MsgPack));
    *by_query.uri_mut() = node.websocket(&format!("token={token}")).parse().unwrap();
    assert_eq!(refused(by_query).await.0, 401);
    let mut by_frame = Client::stranger(node, Codec::MsgPack).await;
    by_frame.identify(token).await;
    assert_ended(&mut by_frame).await;
}

async fn revoke(node: &Node, what: Value) -> Value {
    let admin = Caller::new(node, Principal::Admin);
    let response = admin.post("/admin/revocations", &what).await;
    assert_eq!(response.status(), StatusCode::OK);
    json_of(response).await
}

pub(crate) async fn revoke_token(node: &Node, token: &str) -> Value {
    revoke(node, json!({ "token": jti(token), "reason": "a stolen phone" })).await
}

async fn revoke_all(node: &Node, who: Principal) -> Value {
    revoke(node, json!({ "principal": who.to_string(), "reason": "a stolen phone" })).await
}

/// The first token of a second that has not begun yet: what is revoked now does not concern it.
async fn later_token(node: &Node, who: Principal) -> String {
    let before = claims(&node.token(who))["iat"].as_u64();
    loop {
        let token = node.token(who);
        if claims(&token)["iat"].as_u64() > before {
            return token;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

#[tokio::test]
async fn a_revoked_token_ends_what_lives_by_it_and_nothing_else() {
    let node = Node::start();
    let (stolen, own) = (node.token(rider(1)), node.token(rider(1)));
    let mut thief = connect(&node, rider(1), &stolen).await;
    let mut owner = connect(&node, rider(1), &own).await;
    let mut refreshed = connect(&node, rider(1), &stolen).await;
    let longer = node.token_for(rider(1), "13h");
    refreshed.identify(&longer).await;
    refreshed.hear_any(|frame| is_welcome(&frame, rider(1)).then_some(())).await;

    let done = revoke_token(&node, &stolen).await;
    assert_eq!(
        (&done["n_ended"], &done["n_told"], &done["n_nodes"]),
        (&json!(1), &json!(1), &json!(1))
    );
    assert_ended(&mut thief).await;
    assert_locked_out(&node, &stolen).await;
    assert_alive(&mut owner).await;
    assert_alive(&mut refreshed).await;
    assert_eq!(ask(&node, &own, "/v1/orders").await, StatusCode::OK);

    // It refreshes nobody either, and costs them nothing.
    owner.identify(&stolen).await;
    let refused = owner
        .hear_any(|frame| match frame {
            ServerFrame::Refused(refused) => Some(refused),
            _ => None,
        })
        .await;
    assert_eq!(refused.code, Code::Unauthenticated);
    assert_alive(&mut owner).await;

    // Said again, it is so already; the list says it once.
    revoke_token(&node, &stolen).await;
    let admin = Caller::new(&node, Principal::Admin);
    let listed = json_of(admin.get("/admin/revocations").await).await;
    assert_eq!(listed["items"].as_array().unwrap().len(), 1, "{listed}");
    assert_eq!(listed["items"][0]["status"], "in_force");
    assert_eq!(listed["items"][0]["body"]["reason"], "a stolen phone");
    assert_eq!(listed["items"][0]["id"], done["id"]);
}

#[tokio::test]
async fn logged_out_everywhere_nobody_stays_and_whoever_logs_in_later_does() {
    let node = Node::start();
    let (one, other) = (node.token(rider(1)), node.token(rider(1)));
    let mut phones = [connect(&node, rider(1), &one).await, connect(&node, rider(1), &other).await];
    let waiting = connect(&node, rider(1), &one).await.cut();
    let mut same_person = connect(&node, driver(1), &node.token(driver(1))).await;
    let mut somebody = connect(&node, rider(2), &node.token(rider(2))).await;
    // It waits for its client now.
    let staff = Caller::new(&node, Principal::Admin);
    while !staff
        .get("/metrics")
        .await
        .text()
        .await
        .unwrap()
        .contains("outrider_sessions_suspended 1")
    {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }

    let everywhere = json!({ "everywhere": true });
    let http = reqwest::Client::new();
    let log_out = http.post(node.url("/v1/auth/logout")).bearer_auth(&one).json(&everywhere);
    let done = json_of(log_out.send().await.unwrap()).await;
    assert_eq!(done["n_ended"], 3, "{done}");
    for phone in &mut phones {
        assert_ended(phone).await;
    }
    for token in [&one, &other] {
        assert_locked_out(&node, token).await;
    }
    assert_alive(&mut same_person).await;
    assert_alive(&mut somebody).await;

    let later = later_token(&node, rider(1)).await;
    let mut again = Client::stranger(&node, Codec::MsgPack).await;
    again.say(&ClientFrame::Identify { token: later.clone(), resume: Some(waiting) }).await;
    let ServerFrame::Welcome { resumed, .. } = again.hear().await else { panic!("not let in") };
    assert_eq!(resumed, Some(false), "what waited went with the token it lived by");
    // One logs out of one phone, too.
    let one_phone = http.post(node.url("/v1/auth/logout")).bearer_auth(&later).json(&json!({}));
    assert_eq!(json_of(one_phone.send().await.unwrap()).await["n_ended"], 1);
    assert_ended(&mut again).await;
}

#[tokio::test]
async fn a_consumer_that_waits_for_events_is_refused_at_once() {
    let node = Node::start();
    let token = node.token(Principal::Dispatcher);
    // The revocation is an event itself, and nobody should wait where it happens.
    let target = Target::Token(jti(&token).parse().unwrap());
    let shards = if EntityKey::from(target.id()).shard().0 < 512 { "512-1023" } else { "0-511" };
    let path = format!("/v1/events?wait=20s&shards={shards}");
    let waiting = tokio::spawn({
        let asked = reqwest::Client::new().get(node.url(&path)).bearer_auth(&token);
        async move { asked.send().await.unwrap().status() }
    });
    revoke_token(&node, &token).await;
    let status = timeout(SOON, waiting).await.expect("within a second").unwrap();
    assert_eq!(status, StatusCode::UNAUTHORIZED);
}

#[tokio::test]
async fn what_is_revoked_stays_revoked_when_the_node_is_killed() {
    let mut node = Node::with(&[("JOURNAL__KIND", "sqlite")]);
    let (stolen, own) = (node.token(rider(1)), node.token(driver(2)));
    let all = node.token(rider(3));
    revoke_token(&node, &stolen).await;
    revoke_all(&node, rider(3)).await;
    node.kill_and_restart();
    assert_locked_out(&node, &stolen).await;
    assert_locked_out(&node, &all).await;
    assert_eq!(ask(&node, &own, "/v1/orders").await, StatusCode::OK);
}

#[tokio::test]
async fn tokens_of_old_have_no_name_and_go_with_all_of_their_principals() {
    let node = Node::start();
    let key = EncodingKey::from_ed_pem(&fs::read(node.key_file()).unwrap());
    let mut old = claims(&node.token(rider(1)));
    old.as_object_mut().unwrap().remove("jti");
    let header = Header { typ: Some("at+jwt".to_owned()), ..Header::new(Algorithm::EdDSA) };
    let old = jsonwebtoken::encode(&header, &old, &key.unwrap()).unwrap();
    let mut phone = connect(&node, rider(1), &old).await;
    let http = reqwest::Client::new();
    let log_out = http.post(node.url("/v1/auth/logout")).bearer_auth(&old).json(&json!({}));
    assert_refused(log_out.send().await.unwrap(), 422, "invalid").await;
    assert_alive(&mut phone).await;
    revoke_all(&node, rider(1)).await;
    assert_ended(&mut phone).await;
    assert_locked_out(&node, &old).await;
}

#[tokio::test]
async fn only_admins_revoke_and_rubbish_is_refused() {
    let node = Node::with(&[("AUTH__REVOCATIONS_MAX", "1")]);
    let what = json!({ "principal": rider(2).to_string(), "reason": "spite" });
    for by in [rider(1), driver(1), Principal::Dispatcher] {
        let caller = Caller::new(&node, by);
        assert_refused(caller.post("/admin/revocations", &what).await, 403, "forbidden").await;
        assert_refused(caller.get("/admin/revocations").await, 403, "forbidden").await;
    }
    let nobody = reqwest::Client::new().post(node.url("/admin/revocations")).json(&what);
    assert_refused(nobody.send().await.unwrap(), 401, "unauthenticated").await;
    // All dispatchers share a name: none logs the others out.
    let dispatcher = Caller::new(&node, Principal::Dispatcher);
    let all = dispatcher.post("/v1/auth/logout", &json!({ "everywhere": true })).await;
    assert_refused(all, 403, "forbidden").await;

    let admin = Caller::new(&node, Principal::Admin);
    let token = jti(&node.token(rider(1)));
    for rubbish in [
        json!({}),
        json!({ "reason": "because" }),
        json!({ "token": token }),
        json!({ "token": token, "principal": "admin", "reason": "both" }),
        json!({ "token": node.token(rider(1)), "reason": "a whole token" }),
        json!({ "token": "token-7", "reason": "short" }),
        json!({ "principal": "rider", "reason": "nobody" }),
        json!({ "principal": "rider-7", "reason": "nobody" }),
        json!({ "principal": "system", "reason": "nobody" }),
        json!({ "principal": "admin-x", "reason": "nobody" }),
        json!({ "token": token, "reason": " " }),
        json!({ "token": token, "reason": "two\nlines" }),
        json!({ "token": token, "reason": "x".repeat(201) }),
        json!({ "token": token, "reason": "fine", "more": 1 }),
    ] {
        let response = admin.post("/admin/revocations", &rubbish).await;
        assert_refused(response, 422, "invalid").await;
    }
    // As many as may be.
    revoke(&node, json!({ "token": token, "reason": "the first" })).await;
    assert_refused(admin.post("/admin/revocations", &what).await, 429, "busy").await;
}

#[test]
fn operators_revoke_on_the_command_line() {
    let node = Node::start();
    let token = node.token(rider(1));
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let mut phone = runtime.block_on(connect(&node, rider(1), &token));
    let told = |args: &[&str]| {
        let mut command = outrider(node.key_file().parent().unwrap());
        command.args(["token", "revoke", "--at", &node.url("")]).args(args);
        let output = command.output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        (output.status.success(), text + &String::from_utf8_lossy(&output.stderr))
    };
    let (is_ok, text) = told(&["--token", &token, "--reason", "a stolen phone"]);
    assert!(is_ok && text.contains("1 sessions ended; 1 of 1 nodes know"), "{text}");
    runtime.block_on(assert_ended(&mut phone));
    assert!(told(&["--token", &jti(&token), "--reason", "by its name"]).0);
    assert!(told(&["--principal", &rider(2).to_string(), "--reason", "all"]).0);
    for rubbish in [
        &["--token", "rubbish", "--reason", "x"][..],
        &["--principal", "nobody", "--reason", "x"],
        &["--reason", "x"],
        &["--token", &token],
    ] {
        assert!(!told(rubbish).0, "{rubbish:?}");
    }
    let ttl = outrider(node.key_file().parent().unwrap())
        .args(["token", "--role", "admin", "--ttl", "31d"])
        .output()
        .unwrap();
    assert!(!ttl.status.success(), "for longer than a revocation would be remembered");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_node_of_a_cluster_knows_within_a_second_and_whoever_starts_later() {
    let shared = Shared::new().await;
    let (first, second) = (shared.node("first"), shared.node("second"));
    seen(&first, is_shared_by(2)).await;
    let (stolen, all) = (first.token(rider(1)), first.token(driver(2)));
    let mut there = connect(&second, rider(1), &stolen).await;
    let mut here = connect(&first, rider(1), &stolen).await;
    let mut driving = connect(&second, driver(2), &all).await;

    let done = revoke_token(&first, &stolen).await;
    assert_eq!((&done["n_told"], &done["n_nodes"]), (&json!(2), &json!(2)));
    // The other node may have found out by itself, a moment before it was told.
    assert!((1..=2).contains(&done["n_ended"].as_u64().unwrap()), "{done}");
    assert_ended(&mut there).await;
    assert_ended(&mut here).await;
    assert_locked_out(&second, &stolen).await;
    assert_alive(&mut driving).await;
    revoke_all(&second, driver(2)).await;
    assert_ended(&mut driving).await;
    assert_locked_out(&first, &all).await;

    // Both are killed without a word; one that starts then has read it.
    drop((first, second));
    let third = shared.node("third");
    assert_locked_out(&third, &stolen).await;
    assert_locked_out(&third, &all).await;
    let later = later_token(&third, driver(2)).await;
    connect(&third, driver(2), &later).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_that_was_not_told_finds_out_by_itself() {
    let shared = Shared::new().await;
    let first = shared.node("first");
    // It hears nothing of the first, and says nothing to it: only the database is shared.
    let deaf = shared.node_with("deaf", &[("CLUSTER__NAME", "elsewhere")]);
    let cluster = seen(&first, |it| it["nodes"].as_array().unwrap().len() == 2).await;
    let me = &cluster["me"];
    let is_ours = |who: &Principal| {
        let shard = EntityKey::from(Target::Principal(*who).id()).shard();
        cluster["shards"][usize::from(shard.0)]["owner"] == *me
    };
    let who = (1..).map(rider).find(is_ours).unwrap();
    let token = first.token(who);
    let mut phone = connect(&deaf, who, &token).await;
    let done = revoke_all(&first, who).await;
    assert_eq!((&done["n_told"], &done["n_nodes"]), (&json!(1), &json!(2)), "{done}");
    let (_, closed) = timeout(SOON * 4, phone.hear_out()).await.expect("it looks every second");
    assert_eq!(closed.code, 4401);
    assert_locked_out(&deaf, &token).await;
}

/// Resuming by a token that is good no longer, where the session was opened by another one.
#[tokio::test]
async fn nobody_goes_on_with_a_revoked_token() {
    let node = Node::start();
    let (good, bad) = (node.token(rider(1)), node.token(rider(1)));
    let at: Resume = connect(&node, rider(1), &good).await.cut();
    revoke_token(&node, &bad).await;
    let mut thief = Client::stranger(&node, Codec::MsgPack).await;
    thief.say(&ClientFrame::Identify { token: bad, resume: Some(at) }).await;
    assert_ended(&mut thief).await;
    let mut owner = Client::stranger(&node, Codec::MsgPack).await;
    owner.say(&ClientFrame::Identify { token: good, resume: Some(at) }).await;
    let ServerFrame::Welcome { resumed, .. } = owner.hear().await else { panic!("not let in") };
    assert_eq!(resumed, Some(true), "and took nothing from whoever may");
}
