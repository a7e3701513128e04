//! What happens to clients that are too many, too fast, too slow or too silent.

use crate::{
    client::{Client, Closed, now, refused, request},
    node::{Node, driver, rider},
    rest::{Caller, json_of},
    ride,
};
use protocol::{
    Code, CommandId, OrderId, OrderStatus, Point, Principal,
    codec::Codec,
    frame::{ClientFrame, Outcome, ServerFrame, Topic},
    view::Position,
    work::Wish,
};
use std::{pin::pin, time::Duration};

#[tokio::test]
async fn a_hasty_client_is_told_how_long_to_wait() {
    let node = Node::with(&[
        ("GATEWAY__SESSION__FRAMES_PER_S", "1"),
        ("GATEWAY__SESSION__FRAMES_BURST", "3"),
    ]);
    let mut client = Client::connect(&node, rider(1)).await;
    for _ in 0..5 {
        client.say(&ClientFrame::Heartbeat { heard: None }).await;
    }
    let refused = client
        .hear_any(|frame| match frame {
            ServerFrame::Refused(refused) => Some(refused),
            _ => None,
        })
        .await;
    assert_eq!(refused.code, Code::RateLimited);
    assert!(refused.retry_after_ms.is_some_and(|ms| (1..=1_000).contains(&ms)), "{refused:?}");
}

#[tokio::test]
async fn two_sockets_of_one_client_are_not_twice_as_fast() {
    let node = Node::with(&[
        ("GATEWAY__SESSION__FRAMES_PER_S", "1"),
        ("GATEWAY__SESSION__FRAMES_BURST", "4"),
        ("GATEWAY__SESSION__COMMANDS_PER_S", "1"),
        ("GATEWAY__SESSION__COMMANDS_BURST", "1"),
    ]);
    let unknown = || {
        let action = protocol::work::OrderAction::OnBoard {};
        Wish::Order { id: OrderId::nth(404), action }
    };
    let mut first = Client::connect(&node, rider(1)).await;
    let mut second = Client::connect(&node, rider(1)).await;
    assert_eq!(code_of(first.wish(unknown()).await), Some(Code::NotFound));
    assert_eq!(code_of(second.wish(unknown()).await), Some(Code::RateLimited));
    let mut other = Client::connect(&node, rider(2)).await;
    assert_eq!(code_of(other.wish(unknown()).await), Some(Code::NotFound), "someone else");

    for _ in 0..2 {
        first.say(&ClientFrame::Heartbeat { heard: None }).await;
        first.hear_any(|frame| matches!(frame, ServerFrame::Heartbeat { .. }).then_some(())).await;
    }
    second.say(&ClientFrame::Heartbeat { heard: None }).await;
    let answer = second
        .hear_any(|frame| match frame {
            ServerFrame::Refused(refused) => Some(Some(refused.code)),
            ServerFrame::Heartbeat { .. } => Some(None),
            _ => None,
        })
        .await;
    assert_eq!(answer, Some(Code::RateLimited));
}

/// What somebody in danger would wish for, of a job that is not there.
fn call_off(n: u64) -> Wish {
    let action = protocol::work::OrderAction::CancelSafety { reason: String::new() };
    Wish::Order { id: OrderId::nth(n), action }
}

#[tokio::test]
async fn whoever_floods_is_not_let_past_for_calling_it_danger() {
    const N: usize = 60;
    let node = Node::with(&[
        ("GATEWAY__SESSION__FRAMES_PER_S", "1"),
        ("GATEWAY__SESSION__FRAMES_BURST", "4"),
        ("GATEWAY__SESSION__COMMANDS_PER_S", "1"),
        ("GATEWAY__SESSION__COMMANDS_BURST", "2"),
        ("GATEWAY__SESSION__URGENT_PER_S", "1"),
        ("GATEWAY__SESSION__URGENT_BURST", "10"),
        ("GATEWAY__SESSION__INFLIGHT_MAX", "100"),
        ("GATEWAY__SESSION__STRIKES_MAX", "20"),
        ("GATEWAY__REQUESTS_PER_S", "1"),
        ("GATEWAY__REQUESTS_BURST", "1"),
    ]);
    // Two sockets of one client share what there is for it.
    for is_second in [false, true] {
        let mut client = Client::connect(&node, rider(1)).await;
        for n in 0..N {
            let frame = ClientFrame::Command { id: CommandId::mint(), wish: call_off(n as u64) };
            client.say(&frame).await;
        }
        let (frames, closed) = client.hear_out().await;
        let with = |code| {
            let is_so = |frame: &&ServerFrame| match frame {
                ServerFrame::Result { outcome: Outcome::Refused(refused), .. } => {
                    refused.code == code
                }
                _ => false,
            };
            frames.iter().filter(is_so).count()
        };
        let n_limited = with(Code::RateLimited);
        assert!((20..N).contains(&n_limited), "{n_limited} of {N}");
        if !is_second {
            let n_seen = with(Code::NotFound);
            assert!(n_seen <= 20, "{n_seen} of {N} looked for what is not there");
        }
        assert_eq!(closed, Closed { code: 1008 });
    }
    // By REST likewise.
    let caller = Caller::new(&node, rider(1));
    let mut n_limited = 0;
    for n in 0..10 {
        let path = format!("/v1/orders/{}/actions", OrderId::nth(n));
        let afraid = serde_json::json!({ "cancel_safety": { "reason": "" } });
        n_limited += usize::from(caller.post(&path, &afraid).await.status().as_u16() == 429);
    }
    assert!(n_limited > 0);
    // What is no wish at all is a request like any other.
    let actions = format!("/v1/orders/{}/actions", OrderId::nth(1));
    let paths = ["/v1/sos", actions.as_str(), "/v1/orders/nobody/actions"];
    for (path, n) in paths.into_iter().zip(2..) {
        let caller = Caller::new(&node, rider(n));
        let mut n_limited = 0;
        for _ in 0..10 {
            let rubbish = serde_json::json!({ "colour": "red" });
            n_limited += usize::from(caller.post(path, &rubbish).await.status().as_u16() == 429);
        }
        assert!(n_limited > 0, "{path}");
    }
    // And a dispatcher, of whom there are many by that name, has its own.
    let mut staff = Client::connect(&node, Principal::Dispatcher).await;
    for n in 0..10 {
        let code = code_of(staff.wish(call_off(n)).await);
        assert_ne!(code, Some(Code::RateLimited), "the {n}th");
    }
    // By REST they are one, and none of them keeps another from it.
    let staff = Caller::new(&node, Principal::Dispatcher);
    for _ in 0..30 {
        let afraid = serde_json::json!({ "cancel_safety": { "reason": "afraid" } });
        let status = staff.post(&actions, &afraid).await.status().as_u16();
        assert_ne!(status, 429);
    }
}

fn code_of(outcome: Outcome) -> Option<Code> {
    match outcome {
        Outcome::Ok(_) => None,
        Outcome::Refused(refused) => Some(refused.code),
    }
}

#[tokio::test]
async fn a_silent_client_is_closed_and_one_that_beats_is_not() {
    let node = Node::with(&[("GATEWAY__SESSION__HEARTBEAT", "200ms")]);
    let mut beating = Client::connect(&node, rider(2)).await;
    let mut silent = Client::connect(&node, rider(1)).await;
    let (mut n_beats, mut waiting) = (0, Box::pin(silent.hear_out()));
    let closed = loop {
        tokio::select! {
            (_, closed) = &mut waiting => break closed,
            frame = beating.hear() => {
                if let ServerFrame::Heartbeat { .. } = frame {
                    n_beats += 1;
                    // An answer to every beat would be answered in turn.
                    if n_beats % 2 == 1 {
                        beating.say(&ClientFrame::Heartbeat { heard: None }).await;
                    }
                }
            }
        }
    };
    assert_eq!(closed, Closed { code: 4408 });
    beating.say(&ClientFrame::Heartbeat { heard: None }).await;
    beating.hear().await;
}

#[tokio::test]
async fn one_session_too_many_is_turned_away() {
    let node = Node::with(&[("GATEWAY__SESSIONS_MAX", "1")]);
    let _first = Client::connect(&node, rider(1)).await;
    let (status, body) = refused(request(&node, Some(Codec::Json))).await;
    assert_eq!(status, 503);
    assert!(body.contains("too many sessions"), "{body}");
}

#[tokio::test]
async fn one_address_may_not_knock_without_end() {
    let node =
        Node::with(&[("GATEWAY__HANDSHAKES_PER_S", "1"), ("GATEWAY__HANDSHAKES_BURST", "2")]);
    for _ in 0..2 {
        Client::stranger(&node, Codec::Json).await;
    }
    assert_eq!(refused(request(&node, Some(Codec::Json))).await.0, 429);
}

#[tokio::test]
async fn a_client_that_does_not_read_is_closed_and_others_do_not_notice() {
    let node = Node::with(&[
        ("GATEWAY__SESSION__FRAMES_PER_S", "1000000"),
        ("GATEWAY__SESSION__FRAMES_BURST", "1000000"),
        ("GATEWAY__SESSION__QUEUE_MAX", "16"),
    ]);
    let mut other = Client::connect(&node, rider(1)).await;
    let order = ride::place_ride(&mut other).await;
    let mut slow = Client::connect(&node, Principal::Dispatcher).await;
    let ask = ClientFrame::Subscribe(Topic::Actor(order.to_string()));
    // Each of these is answered with more than it is; at some point nobody can keep the answers.
    let flood = async {
        for n_said in 0..400_000 {
            if !slow.try_say(&ask).await {
                return n_said;
            }
        }
        panic!("the node kept everything");
    };
    let mut n_answered = 0;
    let n_said = {
        let mut flood = pin!(flood);
        loop {
            tokio::select! {
                n_said = &mut flood => break n_said,
                () = lives(&mut other) => n_answered += 1,
            }
        }
    };
    assert!(n_answered > 3, "{n_answered} answers to another while {n_said} were asked for");
    lives(&mut other).await;
    let admin = Caller::new(&node, Principal::Admin);
    let metrics = admin.get("/metrics").await.text().await.unwrap();
    let goodbye =
        |line: &&str| line.starts_with("outrider_goodbyes_total") && line.contains("busy");
    assert!(metrics.lines().any(|line| goodbye(&line)), "it was closed for another reason");
    // Whoever did not read may find nothing but a broken line. What it does find is the reason.
    let (heard, Closed { code }) = slow.hear_out().await;
    assert!(matches!(code, 1013 | 1006), "{code}");
    if let Some(ServerFrame::Goodbye { refused }) = heard.last() {
        assert_eq!((refused.code, code), (Code::Busy, 1013));
    }
}

/// Hears an answer to a heartbeat.
async fn lives(client: &mut Client) {
    client.say(&ClientFrame::Heartbeat { heard: None }).await;
    client.hear_any(|frame| matches!(frame, ServerFrame::Heartbeat { .. }).then_some(())).await;
}

/// Lets a client ask again and again without listening, until so many answers wait for it on the node: its connection takes
/// no more. Of a node that lets it, and whoever looks at it, be quick.
pub(crate) async fn stall(node: &Node, client: &mut Client, ask: &ClientFrame, n_wanted: u64) {
    const AT_A_TIME: u64 = 100;
    let admin = Caller::new(node, Principal::Admin);
    let id = client.at.session.to_string();
    let look = async || {
        let page = json_of(admin.get("/admin/sessions").await).await;
        let mut items = page["items"].as_array().unwrap().iter();
        let it = items.find(|it| it["id"] == id).expect("it is still there");
        (it["n_heard"].as_u64().unwrap(), it["n_waiting"].as_u64().unwrap())
    };
    let (mut n_said, mut n_waiting) = look().await;
    while n_waiting < n_wanted {
        for _ in 0..AT_A_TIME {
            assert!(client.try_say(ask).await, "it is closed");
        }
        n_said += AT_A_TIME;
        n_waiting = loop {
            let (n_heard, n_waiting) = look().await;
            if n_heard >= n_said {
                break n_waiting;
            }
        };
    }
}

#[tokio::test]
async fn whoever_does_not_read_hears_in_the_end_where_its_driver_is_and_not_everywhere_it_was() {
    const N: u64 = 50;
    let node = Node::with(&[
        ("GATEWAY__REQUESTS_PER_S", "1000000"),
        ("GATEWAY__REQUESTS_BURST", "1000000"),
        ("GATEWAY__SESSION__FRAMES_PER_S", "1000000"),
        ("GATEWAY__SESSION__FRAMES_BURST", "1000000"),
        ("GATEWAY__SESSION__QUEUE_MAX", "1000000"),
        ("GATEWAY__SESSION__STALL_MAX", "5m"),
        ("GATEWAY__SESSION__SIGHTED_EVERY", "1ms"),
    ]);
    let place = |n: u64| ride::PICKUP.offset_m(200.0 + 2.0 * n as f64, 0.0);
    let mut driving = Client::connect(&node, driver(1)).await;
    ride::go_on_duty(&mut driving, place(0)).await;
    let mut riding = Client::connect(&node, rider(1)).await;
    let order = ride::place_ride(&mut riding).await;
    let offer = ride::hear_offer(&mut driving).await;
    ride::accept(&mut driving, &offer).await;
    // The same person's other device.
    let mut reading = Client::connect(&node, rider(1)).await;
    ride::hear_status(&mut reading, OrderStatus::Assigned).await;

    stall(&node, &mut riding, &ClientFrame::Subscribe(Topic::Order(order)), 1_000).await;
    let seen_at = |frame: ServerFrame, place: Point| match frame {
        ServerFrame::Sighted { at, .. } => Some(at.distance_m(place) < 1.0),
        _ => None,
    };
    let began = now();
    for n in 1..=N {
        let position = Position {
            at: place(n),
            sampled_at: began + Duration::from_millis(n),
            heading_deg: None,
            speed_mps: None,
            accuracy_m: Some(5.0),
        };
        driving.say(&ClientFrame::Position(position.into())).await;
        // Whoever reads is told of each.
        reading.hear_any(|frame| seen_at(frame, place(n)).filter(|is_there| *is_there)).await;
    }
    let mut n_sighted = 1;
    while !riding.hear_any(|frame| seen_at(frame, place(N))).await {
        n_sighted += 1;
    }
    assert!(n_sighted <= 3, "{n_sighted} of {N}");
}

#[tokio::test]
async fn a_session_that_does_nothing_costs_next_to_nothing() {
    const N: usize = 500;
    let node = Node::with(&[("GATEWAY__SESSION__HEARTBEAT", "10m")]);
    let token = node.token(rider(1));
    let connect = async |n: usize| {
        let mut clients = Vec::new();
        for _ in 0..n {
            let mut client = Client::stranger(&node, Codec::MsgPack).await;
            client.identify(&token).await;
            client.hear().await;
            clients.push(client);
        }
        clients
    };
    // The first ones pay for what all share.
    let _warm = connect(100).await;
    let before = node.rss_bytes();
    let _clients = connect(N).await;
    let each = node.rss_bytes().saturating_sub(before) / N;
    // 4 KiB are for a session at rest, of thousands, in a release build (`chaos hold` weighs those). These are not at rest, so each has
    // the buffers of its WebSocket and its token, some 1.4 KB more; and of a few hundred the pages that an allocator takes ahead
    // and does not give back, a megabyte or so, are two kilobytes each.
    assert!(each <= 8 * 1_024, "{each} bytes");
}

#[tokio::test]
async fn a_client_that_keeps_changing_its_topics_has_only_so_much_under_way() {
    let node = Node::with(&[
        ("JOURNAL__KIND", "sqlite"),
        ("GATEWAY__SESSION__FRAMES_PER_S", "1000000"),
        ("GATEWAY__SESSION__FRAMES_BURST", "1000000"),
        ("GATEWAY__SESSION__TOPICS_MAX", "2"),
        ("GATEWAY__SESSION__INFLIGHT_MAX", "1"),
        ("GATEWAY__SESSION__QUEUE_MAX", "100000"),
    ]);
    let mut client = Client::connect(&node, rider(1)).await;
    // Each of these has to be read from the disk before it is known that it is not there.
    for n in 0..500 {
        let topic = Topic::Order(OrderId::nth(n));
        client.say(&ClientFrame::Subscribe(topic.clone())).await;
        client.say(&ClientFrame::Unsubscribe(topic)).await;
    }
    client.say(&ClientFrame::Heartbeat { heard: None }).await;
    let mut n_busy = 0;
    client
        .hear_any(|frame| match frame {
            ServerFrame::Unsubscribed { refused, .. } => {
                n_busy += usize::from(refused.code == Code::Busy);
                None
            }
            ServerFrame::Heartbeat { .. } => Some(()),
            _ => None,
        })
        .await;
    assert!(n_busy > 0);
    // That was then; now there is room again.
    let topic = Topic::Order(OrderId::nth(404));
    loop {
        client.subscribe(topic.clone()).await;
        let code = client
            .hear_any(|frame| match frame {
                ServerFrame::Unsubscribed { topic: ended, refused } if ended == topic => {
                    Some(refused.code)
                }
                _ => None,
            })
            .await;
        if code == Code::NotFound {
            break;
        }
        assert_eq!(code, Code::Busy);
    }
}
