use super::*;
use protocol::{
    CommandId, OrderId,
    work::{OrderAction, Proof, ProofKind, Wish},
};
use serde_json::{Value, json};

const NOW: Timestamp = Timestamp(1_000);
const MINUTE: Duration = Duration::from_secs(60);

fn heartbeat() -> Seen {
    Seen::Heard(Box::new(ClientFrame::Heartbeat { heard: None }))
}

async fn shown(seen: Seen) -> Value {
    let (mut tap, mut tapping) = tap(MINUTE);
    assert!(tap.pass(NOW, || seen));
    tapping.next().await.unwrap().frame
}

fn command(action: OrderAction) -> Seen {
    let wish = Wish::Order { id: OrderId::nth(1), action };
    Seen::Heard(Box::new(ClientFrame::Command { id: CommandId::nth(1), wish }))
}

#[tokio::test]
async fn what_lets_somebody_in_or_proves_something_is_masked() {
    let identify = ClientFrame::Identify { token: "a.secret.token".to_owned(), resume: None };
    assert_eq!(
        shown(Seen::Heard(Box::new(identify))).await,
        json!({ "identify": { "token": MASK } })
    );
    let start = shown(command(OrderAction::Start { code: Some("4711".to_owned()) })).await;
    assert!(!start.to_string().contains("4711"), "{start}");
    let proof = Proof { kind: ProofKind::Pin, value: "9876".to_owned() };
    let picked = shown(command(OrderAction::PickUp { proofs: vec![proof] })).await;
    assert!(!picked.to_string().contains("9876"), "{picked}");
    let mut state = json!({ "placement": { "code": "4711", "end_code": 17 }, "code": null });
    mask(&mut state);
    assert_eq!(state, json!({ "placement": { "code": MASK, "end_code": MASK }, "code": null }));
}

#[tokio::test]
async fn words_that_are_no_secret_are_shown() {
    let refused = protocol::Refused::new(protocol::Code::Busy, "later");
    for codec in [Codec::Json, Codec::MsgPack] {
        let bytes = codec.encode(&ServerFrame::Refused(refused.clone())).unwrap();
        let said = shown(Seen::Said(codec, Message::Binary(bytes.into()))).await;
        assert_eq!(said["refused"]["code"], "busy", "{said}");
    }
    let mut fare = json!({ "lines": [{ "code": "base", "amount": 500 }] });
    mask(&mut fare);
    assert_eq!(fare["lines"][0]["code"], "base");
    let rubbish = shown(Seen::Rubbish("not a frame".to_owned())).await;
    assert_eq!(rubbish, json!({ "rubbish": "not a frame" }));
    let unreadable = shown(Seen::Said(Codec::Json, Message::Text("{".into()))).await;
    assert!(unreadable["unreadable"].is_string(), "{unreadable}");
}

#[tokio::test]
async fn a_slow_listener_hears_how_much_it_missed_and_nobody_waits_for_it() {
    let (mut tap, mut tapping) = tap(MINUTE);
    for _ in 0..WAITING_MAX + 7 {
        assert!(tap.pass(NOW, heartbeat));
    }
    assert_eq!(tapping.n_waiting(), WAITING_MAX);
    for _ in 0..WAITING_MAX {
        assert_eq!(tapping.next().await.unwrap().n_dropped, 0);
    }
    tap.pass(NOW, heartbeat);
    assert_eq!(tapping.next().await.unwrap().n_dropped, 7);
    tap.pass(NOW, heartbeat);
    assert_eq!(tapping.next().await.unwrap().n_dropped, 0, "it is said once");
}

#[tokio::test(start_paused = true)]
async fn it_ends_with_its_time_its_session_or_its_listener() {
    let (mut one, tapping) = tap(MINUTE);
    drop(tapping);
    assert!(one.is_over());
    assert!(!one.pass(NOW, || panic!("nobody looks")));

    let (two, mut tapping) = tap(MINUTE);
    drop(two);
    assert_eq!(tapping.next().await, Err(Over::Session));

    let (mut three, mut tapping) = tap(MINUTE);
    assert_eq!(tapping.next().await, Err(Over::Time));
    assert!(!three.pass(NOW, heartbeat));
}

#[tokio::test]
async fn what_is_too_large_is_said_to_be() {
    let message = "x".repeat(SHOWN_BYTES_MAX);
    let refused = protocol::Refused::new(protocol::Code::Busy, message);
    let bytes = Codec::Json.encode(&ServerFrame::Refused(refused)).unwrap();
    let said = shown(Seen::Said(Codec::Json, Message::Binary(bytes.into()))).await;
    assert!(said["too_large"].is_u64(), "{said}");
}
