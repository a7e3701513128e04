//! Clients that mean harm: what each is told, and that nobody else notices.

use crate::{
    client::{Client, Closed, PATIENCE, refused, request},
    node::{Node, driver, rider},
    rest::{self, Caller, json_of},
    ride,
};
use protocol::{
    Code, CommandId, DriverId, Principal,
    codec::Codec,
    frame::{ClientFrame, FRAME_BYTES_MAX, Outcome, ServerFrame, Topic},
    work::{OrderAction, Wish},
};
use serde_json::json;
use std::time::Duration;
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpStream,
    time::{Instant, interval, timeout},
};
use tokio_tungstenite::{connect_async, tungstenite::client::IntoClientRequest};

/// First bytes of WebSocket frames.
const TEXT: u8 = 0x01;
const BINARY: u8 = 0x02;
const MORE: u8 = 0x00;
const PING: u8 = 0x09;
const FINAL: u8 = 0x80;
const COMPRESSED: u8 = 0x40;

/// A frame as it is on the line, under a mask that changes nothing.
fn on_the_line(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    match payload.len() {
        n @ ..126 => bytes.push(0x80 | u8::try_from(n).unwrap()),
        n => {
            bytes.push(0x80 | 126);
            bytes.extend(u16::try_from(n).unwrap().to_be_bytes());
        }
    }
    bytes.extend([0; 4]);
    bytes.extend(payload);
    bytes
}

/// Reads until the other side hangs up.
async fn all_it_says(line: &mut TcpStream) -> Vec<u8> {
    let mut said = Vec::new();
    let read = timeout(PATIENCE, line.read_to_end(&mut said)).await;
    // Whoever is hung up on with bytes under way hears of a reset.
    drop(read.expect("it never hangs up"));
    said
}

/// It still is what it was.
async fn lives(client: &mut Client) {
    client.say(&ClientFrame::Heartbeat { heard: None }).await;
    client.hear_any(|frame| matches!(frame, ServerFrame::Heartbeat { .. }).then_some(())).await;
}

async fn hear_refused(client: &mut Client) -> Code {
    client
        .hear_any(|frame| match frame {
            ServerFrame::Refused(refused) => Some(refused.code),
            _ => None,
        })
        .await
}

fn heartbeat() -> Vec<u8> {
    Codec::MsgPack.encode(&ClientFrame::Heartbeat { heard: None }).unwrap()
}

#[tokio::test]
async fn a_handshake_that_trickles_is_cut_off() {
    let node = Node::with(&[("GATEWAY__HEAD_WITHIN", "400ms")]);
    let mut other = Client::connect(&node, rider(1)).await;
    let mut line = TcpStream::connect(&node.address).await.unwrap();
    line.write_all(b"GET /v1/ws HTTP/1.1\r\nhost: x\r\nx-slow: ").await.unwrap();
    let (mut reading, mut writing) = line.split();
    let mut every = interval(Duration::from_millis(20));
    let trickle = async {
        while writing.write_all(b"a").await.is_ok() {
            every.tick().await;
        }
    };
    let mut said = Vec::new();
    let cut_off = async {
        tokio::select! {
            () = trickle => {}
            _ = reading.read_to_end(&mut said) => {}
        }
    };
    assert!(timeout(PATIENCE, cut_off).await.is_ok(), "it may go on for ever");
    assert!(!String::from_utf8_lossy(&said).contains("200"), "{said:?}");
    lives(&mut other).await;
}

#[tokio::test]
async fn a_head_that_never_ends_is_431() {
    let node = Node::start();
    let mut line = TcpStream::connect(&node.address).await.unwrap();
    let endless = [b"GET /v1/ws HTTP/1.1\r\nx: ".to_vec(), vec![b'a'; 17 * 1_024]].concat();
    line.write_all(&endless).await.unwrap();
    let said = all_it_says(&mut line).await;
    assert!(said.starts_with(b"HTTP/1.1 431 "), "{:?}", String::from_utf8_lossy(&said));
}

#[tokio::test]
async fn a_body_that_does_not_come_is_not_waited_for() {
    let node = Node::with(&[("GATEWAY__REQUEST_TIMEOUT", "300ms")]);
    let mut line = TcpStream::connect(&node.address).await.unwrap();
    let token = node.token(rider(1));
    let head = format!(
        "POST /v1/orders HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\n\
         content-type: application/json\r\ncontent-length: 100\r\n\r\n{{"
    );
    line.write_all(head.as_bytes()).await.unwrap();
    let said = all_it_says(&mut line).await;
    assert!(said.starts_with(b"HTTP/1.1 503 "), "{:?}", String::from_utf8_lossy(&said));
}

#[tokio::test]
async fn those_who_only_hold_a_line_are_few_and_not_for_long() {
    let node = Node::with(&[
        ("GATEWAY__HEAD_WITHIN", "4s"),
        ("GATEWAY__CONNECTIONS_MAX", "4"),
        ("GATEWAY__SESSION__HEARTBEAT", "10m"),
    ]);
    // A session is no connection any more: it takes nobody's place.
    let mut session = Client::connect(&node, rider(1)).await;
    let mut idle = Vec::new();
    for _ in 0..4 {
        idle.push(TcpStream::connect(&node.address).await.unwrap());
    }
    let mut asked = idle.pop().unwrap();
    asked.write_all(b"GET /v1/nowhere HTTP/1.1\r\nhost: x\r\n\r\n").await.unwrap();
    let mut first = [0; 12];
    asked.read_exact(&mut first).await.unwrap();
    assert_eq!(&first, b"HTTP/1.1 404");

    let begun = Instant::now();
    let mut one_too_many = TcpStream::connect(&node.address).await.unwrap();
    assert_eq!(all_it_says(&mut one_too_many).await, b"");
    // Whoever has a place keeps it for longer than that.
    assert!(begun.elapsed() < Duration::from_secs(3), "not closed at once: {:?}", begun.elapsed());
    lives(&mut session).await;

    for line in &mut idle {
        assert_eq!(all_it_says(line).await, b"", "closed without a word");
    }
    // Between two requests there is no more time than before the first.
    all_it_says(&mut asked).await;
    Client::connect(&node, rider(2)).await;
    lives(&mut session).await;
}

#[tokio::test]
async fn a_frame_that_says_it_is_huge_is_refused_before_it_comes() {
    let node = Node::start();
    let mut client = Client::connect(&node, rider(1)).await;
    let claims = |bytes: u64| [vec![FINAL | BINARY, 0xff], bytes.to_be_bytes().to_vec()].concat();
    for bytes in [FRAME_BYTES_MAX as u64 + 1, 1 << 40, u64::MAX >> 1] {
        let mut client = Client::connect(&node, rider(2)).await;
        client.say_raw(&[claims(bytes), vec![0; 4]].concat()).await;
        let (heard, closed) = client.hear_out().await;
        assert_eq!(closed, Closed { code: 1009 }, "{bytes}: {heard:?}");
    }
    lives(&mut client).await;
}

#[tokio::test]
async fn a_message_may_come_in_pieces() {
    let node = Node::start();
    let mut client = Client::connect(&node, rider(1)).await;
    let bytes = heartbeat();
    let (last, begun) = bytes.split_last().unwrap();
    for (i, byte) in begun.iter().enumerate() {
        client.say_raw(&on_the_line(if i == 0 { BINARY } else { MORE }, &[*byte])).await;
        client.say_raw(&on_the_line(MORE, &[])).await;
        client.say_raw(&on_the_line(FINAL | PING, b"still here")).await;
    }
    client.say_raw(&on_the_line(FINAL | MORE, &[*last])).await;
    client.hear_any(|frame| matches!(frame, ServerFrame::Heartbeat { .. }).then_some(())).await;
}

#[tokio::test]
async fn pieces_of_more_than_a_frame_are_too_large() {
    let node = Node::start();
    let mut other = Client::connect(&node, rider(1)).await;
    let mut client = Client::connect(&node, rider(2)).await;
    client.say_raw(&on_the_line(BINARY, &[0xc0; 1_024])).await;
    for _ in 0..64 {
        client.say_raw(&on_the_line(MORE, &[0xc0; 1_024])).await;
    }
    assert_eq!(client.hear_out().await.1, Closed { code: 1009 });
    lives(&mut other).await;
}

#[tokio::test]
async fn empty_pieces_without_end_are_silence() {
    let node = Node::with(&[("GATEWAY__SESSION__HEARTBEAT", "200ms")]);
    let mut client = Client::connect(&node, rider(1)).await;
    client.say_raw(&on_the_line(BINARY, b"")).await;
    let piece = on_the_line(MORE, b"").repeat(100);
    let mut every = interval(Duration::from_millis(5));
    let begun = Instant::now();
    while client.say_raw(&piece).await && begun.elapsed() < Duration::from_secs(2) {
        every.tick().await;
    }
    let (heard, closed) = client.hear_out().await;
    assert_eq!(closed, Closed { code: 4408 }, "{heard:?}");
}

#[tokio::test]
async fn what_no_websocket_may_say_is_1002() {
    let node = Node::start();
    let mut other = Client::connect(&node, rider(1)).await;
    // What a mebibyte of zeros is after compression.
    let bomb = [&[0x62, 0x18, 0x05, 0xa3, 0x60, 0x14, 0x8c, 0x82][..], &[0; 990]].concat();
    let wrongs = [
        ("compressed, which was not agreed", on_the_line(FINAL | COMPRESSED | BINARY, &bomb)),
        ("an unknown kind", on_the_line(FINAL | 0x03, b"")),
        ("a continuation of nothing", on_the_line(FINAL | MORE, b"")),
        ("a ping in pieces", on_the_line(PING, b"")),
        ("a ping of 126 bytes", on_the_line(FINAL | PING, &[0; 126])),
        ("no mask", vec![FINAL | BINARY, 1, 0xc0]),
    ];
    for (wrong, bytes) in wrongs {
        let mut client = Client::connect(&node, rider(2)).await;
        client.say_raw(&bytes).await;
        let (heard, closed) = client.hear_out().await;
        assert_eq!(closed, Closed { code: 1002 }, "{wrong}");
        assert!(
            matches!(heard.last(), Some(ServerFrame::Goodbye { refused }) if refused.code == Code::Malformed),
            "{wrong}: {heard:?}"
        );
    }
    lives(&mut other).await;
}

#[tokio::test]
async fn text_that_is_not_utf8_is_1007() {
    let node = Node::start();
    let mut other = Client::connect(&node, rider(1)).await;
    let wrongs = [
        ("a byte", on_the_line(FINAL | TEXT, b"{\"heartbeat\":\xff}")),
        ("a surrogate", on_the_line(FINAL | TEXT, b"\xed\xa0\x80")),
        ("too long a form", on_the_line(FINAL | TEXT, b"\xc0\xaf")),
        ("half a character at the end", on_the_line(FINAL | TEXT, b"\xe2\x82")),
        (
            "in the second piece",
            [on_the_line(TEXT, b"{\"heartbeat\""), on_the_line(FINAL | MORE, b"\xff")].concat(),
        ),
    ];
    for (wrong, bytes) in wrongs {
        let mut client = Client::stranger(&node, Codec::Json).await;
        client.say_raw(&bytes).await;
        assert_eq!(client.hear_out().await.1, Closed { code: 1007 }, "{wrong}");
    }
    lives(&mut other).await;
}

#[tokio::test]
async fn whoever_says_goodbye_is_answered() {
    let node = Node::start();
    let client = Client::connect(&node, rider(1)).await;
    assert_eq!(client.goodbye(4_000).await, Closed { code: 4_000 });
    let client = Client::connect(&node, rider(1)).await;
    assert_eq!(client.goodbye(1_000).await, Closed { code: 1_000 });
}

#[tokio::test]
async fn nesting_without_end_is_malformed_in_both_codecs() {
    let node = Node::start();
    for codec in [Codec::MsgPack, Codec::Json] {
        let mut client = Client::stranger(&node, codec).await;
        client.identify(&node.token(rider(1))).await;
        let (array, map, end) = match codec {
            Codec::MsgPack => (vec![0x91], vec![0x81, 0xa1, b'a'], vec![0xc0]),
            Codec::Json => (b"[".to_vec(), b"{\"a\":".to_vec(), b"0".to_vec()),
        };
        let id = CommandId::mint();
        let within = match codec {
            Codec::MsgPack => [
                &[0x81, 0xa7][..],
                b"command",
                &[0x82, 0xa2],
                b"id",
                &[0xc4, 16],
                id.0.as_bytes(),
                &[0xa4],
                b"wish",
            ]
            .concat(),
            Codec::Json => format!("{{\"command\":{{\"id\":\"{id}\",\"wish\":").into_bytes(),
        };
        for level in [array, map] {
            let deep = [level.repeat(FRAME_BYTES_MAX / level.len() - 64), end.clone()].concat();
            for bytes in [deep.clone(), [within.clone(), deep[..30_000].to_vec()].concat()] {
                client.say_bytes(bytes).await;
                assert_eq!(hear_refused(&mut client).await, Code::Malformed, "{codec:?}");
            }
        }
        lives(&mut client).await;
    }
}

#[tokio::test]
async fn an_expired_token_opens_nothing_and_neither_does_a_price_promise() {
    let node = Node::with(&[("AUTH__LEEWAY", "0s")]);
    let brief = node.token_for(rider(1), "1s");
    let mut other = Client::connect(&node, rider(2)).await;

    let by_header = |token: &str| {
        let mut request = request(&node, Some(Codec::Json));
        request.headers_mut().insert("authorization", format!("Bearer {token}").parse().unwrap());
        request
    };
    let by_query = |token: &str| {
        let url = node.websocket(&format!("token={token}"));
        let mut request = url.into_client_request().unwrap();
        let subprotocol = Codec::Json.subprotocol().parse().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", subprotocol);
        request
    };
    // Good once, and replayed until it is not.
    let (begun, mut every) = (Instant::now(), interval(Duration::from_millis(50)));
    while connect_async(by_header(&brief)).await.is_ok() {
        assert!(begun.elapsed() < PATIENCE, "it never expires");
        every.tick().await;
    }
    let me = Caller::new(&node, rider(1));
    let asked = json!({ "kind": "ride", "stops": rest::ride()["stops"] });
    let promise = json_of(me.post("/v1/quotes", &asked).await).await;
    let promise = promise["quote"].as_str().unwrap();
    for token in [brief.as_str(), promise] {
        assert_eq!(refused(by_header(token)).await.0, 401);
        assert_eq!(refused(by_query(token)).await.0, 401);
        let mut client = Client::stranger(&node, Codec::MsgPack).await;
        client.identify(token).await;
        let (heard, closed) = client.hear_out().await;
        assert_eq!(closed, Closed { code: 4401 }, "{heard:?}");
    }
    lives(&mut other).await;
}

#[tokio::test]
async fn an_older_token_that_is_replayed_neither_shortens_a_session_nor_changes_whose_it_is() {
    let node = Node::start();
    let (older, newer) = (node.token_for(rider(1), "1h"), node.token_for(rider(1), "2h"));
    let stolen = node.token(rider(2));
    let mut client = Client::stranger(&node, Codec::MsgPack).await;
    let hear_until = async |client: &mut Client| {
        client
            .hear_any(|frame| match frame {
                ServerFrame::Welcome { principal, expires_at, .. } => Some((principal, expires_at)),
                _ => None,
            })
            .await
    };
    client.identify(&newer).await;
    let first = hear_until(&mut client).await;
    client.identify(&older).await;
    assert_eq!(hear_until(&mut client).await, first);
    client.identify(&stolen).await;
    assert_eq!(hear_refused(&mut client).await, Code::Forbidden);
    lives(&mut client).await;
}

#[tokio::test]
async fn a_flood_of_subscriptions_ends_with_its_own_session() {
    let node = Node::start();
    let mut other = Client::connect(&node, rider(1)).await;
    let mut client = Client::connect(&node, rider(2)).await;
    for n in 0..1_000 {
        client.subscribe(Topic::Driver(DriverId::nth(n))).await;
    }
    let (heard, closed) = client.hear_out().await;
    assert_eq!(closed, Closed { code: 1008 }, "{:?}", heard.last());
    lives(&mut other).await;
}

#[tokio::test]
async fn a_session_follows_so_much_and_no_more() {
    let node = Node::with(&[
        ("GATEWAY__SESSION__TOPICS_MAX", "2"),
        ("GATEWAY__SESSION__FRAMES_PER_S", "1000000"),
        ("GATEWAY__SESSION__FRAMES_BURST", "1000000"),
    ]);
    let topic = |n| Topic::Driver(DriverId::nth(n));
    for n in 1..=3 {
        let mut client = Client::connect(&node, driver(n)).await;
        ride::go_on_duty(&mut client, protocol::Point::default()).await;
    }
    let mut staff = Client::connect(&node, Principal::Dispatcher).await;
    let hear_driver = async |staff: &mut Client, n| {
        staff
            .hear_any(|frame| match frame {
                ServerFrame::Driver(view) => (view.id == DriverId::nth(n)).then_some(()),
                _ => None,
            })
            .await;
    };
    for n in 1..=2 {
        staff.subscribe(topic(n)).await;
        hear_driver(&mut staff, n).await;
    }
    for _ in 0..200 {
        staff.subscribe(topic(3)).await;
        let code = staff
            .hear_any(|frame| match frame {
                ServerFrame::Unsubscribed { topic: ended, refused } => {
                    assert_eq!(ended, topic(3));
                    Some(refused.code)
                }
                ServerFrame::Driver(view) => {
                    assert_ne!(view.id, DriverId::nth(3));
                    None
                }
                _ => None,
            })
            .await;
        assert_eq!(code, Code::Busy);
    }
    staff.say(&ClientFrame::Unsubscribe(topic(1))).await;
    staff.subscribe(topic(3)).await;
    hear_driver(&mut staff, 3).await;
}

#[tokio::test]
async fn a_driver_hears_no_more_of_a_job_that_was_taken_away() {
    let node = Node::start();
    let mut driver = Client::connect(&node, driver(1)).await;
    ride::go_on_duty(&mut driver, ride::PICKUP.offset_m(60.0, 0.0)).await;
    let mut rider = Client::connect(&node, rider(1)).await;
    let order = ride::place_ride(&mut rider).await;
    let offer = ride::hear_offer(&mut driver).await;
    ride::accept(&mut driver, &offer).await;
    driver.subscribe(Topic::Order(order)).await;
    let of_order =
        |frame: &ServerFrame| matches!(frame, ServerFrame::Order(view) if view.id == order);
    driver.hear_any(|frame| of_order(&frame).then_some(())).await;

    let mut staff = Client::connect(&node, Principal::Dispatcher).await;
    let unassign = OrderAction::Unassign { reason: "stolen account".to_owned() };
    ride::act(&mut staff, order, unassign).await;
    driver
        .hear_any(|frame| match frame {
            ServerFrame::Unsubscribed { topic, refused } => {
                assert_eq!((topic, refused.code), (Topic::Order(order), Code::NotFound));
                Some(())
            }
            _ => None,
        })
        .await;
    // Whatever becomes of it now is not theirs to know.
    ride::act(&mut rider, order, OrderAction::Cancel { reason: "rain".to_owned() }).await;
    driver.subscribe(Topic::Order(order)).await;
    driver
        .hear_any(|frame| match frame {
            ServerFrame::Unsubscribed { refused, .. } => {
                assert_eq!(refused.code, Code::NotFound);
                Some(())
            }
            frame => {
                assert!(!of_order(&frame), "{frame:?}");
                None
            }
        })
        .await;
    let arrive = Wish::Order { id: order, action: OrderAction::Arrive {} };
    let Outcome::Refused(refused) = driver.wish(arrive).await else { panic!("theirs to do") };
    assert_eq!(refused.code, Code::NotFound);
}

#[tokio::test]
async fn a_rider_does_not_see_where_the_driver_goes_after_the_ride() {
    let node = Node::with(&[("GATEWAY__SESSION__SIGHTED_EVERY", "1s")]);
    let mut driver = Client::connect(&node, driver(1)).await;
    ride::go_on_duty(&mut driver, ride::PICKUP.offset_m(60.0, 0.0)).await;
    let mut rider = Client::connect(&node, rider(1)).await;
    let order = ride::place_ride(&mut rider).await;
    let offer = ride::hear_offer(&mut driver).await;
    ride::accept(&mut driver, &offer).await;
    let is_sighted = |frame: &ServerFrame| matches!(frame, ServerFrame::Sighted { .. });
    driver.say(&ride::position(ride::PICKUP.offset_m(50.0, 0.0))).await;
    rider.hear_any(|frame| is_sighted(&frame).then_some(())).await;
    // The next one waits for its second, and the ride ends before that.
    driver.say(&ride::position(ride::PICKUP.offset_m(40.0, 0.0))).await;
    lives(&mut driver).await;
    ride::act(&mut rider, order, OrderAction::Cancel { reason: "rain".to_owned() }).await;
    rider
        .hear_any(|frame| match frame {
            ServerFrame::Order(view) => view.status.is_final().then_some(()),
            _ => None,
        })
        .await;
    // The second is over, and what waited for its end would have been said.
    tokio::time::sleep(Duration::from_millis(1_200)).await;
    rider.say(&ClientFrame::Heartbeat { heard: None }).await;
    rider
        .hear_any(|frame| {
            assert!(!is_sighted(&frame), "{frame:?}");
            matches!(frame, ServerFrame::Heartbeat { .. }).then_some(())
        })
        .await;
}
