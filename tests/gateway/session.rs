//! How sessions begin, refuse and end.

use crate::{
    client::{Client, Closed, is_welcome, refused, request},
    node::{Node, driver, rider},
    ride::{go_on_duty, place_ride, position},
};
use actors::listing::RegionId;
use protocol::{
    Code, CommandId, DriverId, JobId, OrderId, Point, Principal,
    codec::Codec,
    frame::{ClientFrame, FRAME_BYTES_MAX, Fix, Outcome, ServerFrame, Topic, Viewport},
    view::Mark,
    work::{DriverAction, DutyWish, OrderAction, Wish},
};
use std::time::Duration;
use tokio_tungstenite::tungstenite::Message;

fn is_refused(frame: &ServerFrame, wanted: Code) -> bool {
    matches!(frame, ServerFrame::Refused(refused) if refused.code == wanted)
}

fn is_goodbye(frame: Option<&ServerFrame>, wanted: Code) -> bool {
    matches!(frame, Some(ServerFrame::Goodbye { refused }) if refused.code == wanted)
}

fn cancel(n: u64) -> Wish {
    Wish::Order { id: OrderId::nth(n), action: OrderAction::Cancel { reason: String::new() } }
}

#[tokio::test]
async fn both_subprotocols_say_the_same() {
    let node = Node::start();
    for codec in [Codec::MsgPack, Codec::Json] {
        let mut client = Client::stranger(&node, codec).await;
        client.identify(&node.token(rider(1))).await;
        let welcome = client.hear().await;
        assert!(is_welcome(&welcome, rider(1)), "{codec:?}: {welcome:?}");
    }
}

#[tokio::test]
async fn a_client_that_offers_no_subprotocol_is_told_which_there_are() {
    let node = Node::start();
    let (status, body) = refused(request(&node, None)).await;
    assert_eq!(status, 400);
    assert!(body.contains("outrider.v1.msgpack") && body.contains("outrider.v1.json"), "{body}");
}

#[tokio::test]
async fn compression_is_not_negotiated() {
    let node = Node::start();
    let mut offer = request(&node, Some(Codec::Json));
    let deflate = "permessage-deflate; client_max_window_bits";
    offer.headers_mut().insert("sec-websocket-extensions", deflate.parse().unwrap());
    let (_, response) = tokio_tungstenite::connect_async(offer).await.unwrap();
    assert_eq!(response.headers().get("sec-websocket-extensions"), None);
}

#[tokio::test]
async fn a_page_from_elsewhere_may_not_open_a_socket() {
    let node = Node::start();
    let mut foreign = request(&node, Some(Codec::Json));
    foreign.headers_mut().insert("origin", "https://evil.example".parse().unwrap());
    assert_eq!(refused(foreign).await.0, 403);
}

#[tokio::test]
async fn a_wrong_token_in_the_header_is_401_and_in_a_frame_4401() {
    let node = Node::start();
    let mut wrong = request(&node, Some(Codec::Json));
    wrong.headers_mut().insert("authorization", "Bearer a.b.c".parse().unwrap());
    assert_eq!(refused(wrong).await.0, 401);

    let mut client = Client::stranger(&node, Codec::Json).await;
    client.identify("a.b.c").await;
    let (heard, closed) = client.hear_out().await;
    assert!(is_goodbye(heard.last(), Code::Unauthenticated), "{heard:?}");
    assert_eq!(closed, Closed { code: 4401 });
}

#[tokio::test]
async fn a_token_of_another_node_is_not_believed() {
    let (ours, theirs) = (Node::start(), Node::start());
    let key = |node: &Node| std::fs::read(node.key_file()).unwrap();
    assert_ne!(key(&ours), key(&theirs), "each development node makes its own");
    let mut client = Client::stranger(&ours, Codec::Json).await;
    client.identify(&theirs.token(rider(1))).await;
    assert_eq!(client.hear_out().await.1, Closed { code: 4401 });
}

#[tokio::test]
async fn a_client_that_does_not_say_who_it_is_is_closed() {
    let node = Node::with(&[("GATEWAY__SESSION__IDENTIFY_WITHIN", "200ms")]);
    let mut client = Client::stranger(&node, Codec::MsgPack).await;
    let (heard, closed) = client.hear_out().await;
    assert!(is_goodbye(heard.last(), Code::Unauthenticated), "{heard:?}");
    assert_eq!(closed, Closed { code: 4401 });
}

#[tokio::test]
async fn a_newer_token_keeps_a_session_alive_and_no_other_does() {
    let node = Node::with(&[("AUTH__LEEWAY", "0s")]);
    let brief = node.token_for(rider(1), "3s");
    let mut clients = Vec::new();
    for _ in 0..2 {
        let mut client = Client::stranger(&node, Codec::MsgPack).await;
        client.identify(&brief).await;
        let welcome = client.hear().await;
        assert!(is_welcome(&welcome, rider(1)), "{welcome:?}");
        clients.push(client);
    }
    let [mut forgetful, mut careful] = <[Client; 2]>::try_from(clients).ok().unwrap();
    for (token, wanted) in
        [(node.token(rider(2)), Code::Forbidden), ("a.b.c".to_owned(), Code::Unauthenticated)]
    {
        careful.identify(&token).await;
        careful.hear_any(|frame| is_refused(&frame, wanted).then_some(())).await;
    }
    careful.identify(&node.token(rider(1))).await;
    careful.hear_any(|frame| is_welcome(&frame, rider(1)).then_some(())).await;
    let (heard, closed) = forgetful.hear_out().await;
    assert!(is_goodbye(heard.last(), Code::Unauthenticated), "{heard:?}");
    assert_eq!(closed, Closed { code: 4401 });
    careful.say(&ClientFrame::Heartbeat { heard: None }).await;
    let heartbeat = |frame| matches!(frame, ServerFrame::Heartbeat { .. }).then_some(());
    careful.hear_any(heartbeat).await;
}

#[tokio::test]
async fn whoever_nobody_waits_for_may_be_silent_for_longer_and_is_hurried_when_somebody_does() {
    let node = Node::with(&[
        ("GATEWAY__SESSION__HEARTBEAT", "700ms"),
        ("GATEWAY__SESSION__HEARTBEAT_AT_REST", "30s"),
        ("GATEWAY__SESSION__HEARTBEAT_AT_REST_MAX", "30s"),
    ]);
    let paced = |frame| match frame {
        ServerFrame::Heartbeat { heartbeat_ms, .. } => Some(heartbeat_ms),
        _ => None,
    };
    let mut client = Client::connect(&node, rider(1)).await;
    // What it is has to be read before it is known to be at rest.
    let at_rest = loop {
        client.say(&ClientFrame::Heartbeat { heard: None }).await;
        if let Some(ms) = client.hear_any(paced).await {
            break ms;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(at_rest, 30_000);
    // Two and a half of the short ones pass: that would have been silence.
    tokio::time::sleep(Duration::from_millis(2_000)).await;
    place_ride(&mut client).await;
    let hurried = loop {
        // It may have been told that it is at rest before it asked, and is answered all the same.
        if let Some(ms) = client.hear_any(paced).await {
            break ms;
        }
    };
    assert_eq!(hurried, 700);
    // Whoever does not hurry is silent again.
    let (heard, closed) = client.hear_out().await;
    assert!(is_goodbye(heard.last(), Code::Unavailable), "{heard:?}");
    assert_eq!(closed, Closed { code: 4408 });
}

#[tokio::test]
async fn all_speak_equally_often_where_nobody_is_to_rest() {
    let node = Node::with(&[
        ("GATEWAY__SESSION__HEARTBEAT_AT_REST", "30s"),
        ("GATEWAY__SESSION__HEARTBEAT_AT_REST_MAX", "20s"),
    ]);
    let mut client = Client::connect(&node, rider(1)).await;
    let paced = |frame| match frame {
        ServerFrame::Heartbeat { heartbeat_ms, .. } => Some(heartbeat_ms),
        _ => None,
    };
    for _ in 0..20 {
        client.say(&ClientFrame::Heartbeat { heard: None }).await;
        assert_eq!(client.hear_any(paced).await, None);
        // What it is has to be read before it is known to be at rest.
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test]
async fn nobody_rests_for_longer_than_its_session_would_wait() {
    // Whoever speaks after half of two seconds has 50 to notice that nobody hears it, and to come back.
    let node = Node::with(&[
        ("GATEWAY__RESUME_WITHIN", "51s"),
        ("GATEWAY__SESSION__HEARTBEAT", "700ms"),
        ("GATEWAY__SESSION__HEARTBEAT_AT_REST", "30s"),
        ("GATEWAY__SESSION__HEARTBEAT_AT_REST_MAX", "30s"),
    ]);
    let mut client = Client::connect(&node, rider(1)).await;
    let at_rest = loop {
        client.say(&ClientFrame::Heartbeat { heard: None }).await;
        let heartbeat = client.hear_any(|frame| match frame {
            ServerFrame::Heartbeat { heartbeat_ms, .. } => Some(heartbeat_ms),
            _ => None,
        });
        if let Some(ms) = heartbeat.await {
            break ms;
        }
        // What it is has to be read before it is known to be at rest.
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!(at_rest, 2_000);
}

#[tokio::test]
async fn whoever_is_at_rest_is_asked_ever_less_often_until_the_way_to_it_breaks() {
    let least = 300;
    let node = Node::with(&[
        ("GATEWAY__SESSION__HEARTBEAT", "200ms"),
        ("GATEWAY__SESSION__HEARTBEAT_AT_REST", "300ms"),
        ("GATEWAY__SESSION__HEARTBEAT_AT_REST_MAX", "1m"),
    ]);
    let heartbeat = |frame| match frame {
        ServerFrame::Heartbeat { heartbeat_ms, .. } => Some(heartbeat_ms),
        _ => None,
    };
    async fn silent_for_half_of(every: u64) {
        tokio::time::sleep(Duration::from_millis(every / 2)).await;
    }
    let mut client = Client::connect(&node, rider(1)).await;
    let (mut every, mut told) = (100, Vec::new());
    while every < 8 * least {
        silent_for_half_of(every).await;
        client.say(&ClientFrame::Heartbeat { heard: None }).await;
        if let Some(ms) = client.hear_any(heartbeat).await {
            (every, _) = (ms, told.push(ms));
        }
    }
    assert!(told.is_sorted() && told.len() > 2 && told[0] >= least, "{told:?}");
    // It is silent for as long as it may, and then its way is gone.
    silent_for_half_of(every).await;
    let (mut again, is_resumed) = Client::resume(&node, rider(1), client.cut()).await;
    assert!(is_resumed);
    let after = loop {
        again.say(&ClientFrame::Heartbeat { heard: None }).await;
        if let Some(ms) = again.hear_any(heartbeat).await {
            break ms;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert!(after > told[0] && after < every, "{told:?}, then {after}");
}

#[tokio::test]
async fn a_stranger_wishes_in_vain() {
    let node = Node::start();
    let mut client = Client::stranger(&node, Codec::MsgPack).await;
    let outcome = client.wish(cancel(1)).await;
    let Outcome::Refused(refused) = outcome else { panic!("{outcome:?}") };
    assert_eq!(refused.code, Code::Unauthenticated);
    client.subscribe(Topic::Board).await;
    assert!(is_refused(&client.hear().await, Code::Unauthenticated));
}

#[tokio::test]
async fn rubbish_is_refused_and_the_session_goes_on() {
    let node = Node::start();
    let mut client = Client::connect(&node, rider(1)).await;
    let deep = [vec![0x91; 10_000], vec![0xc0]].concat();
    let long = vec![0xdd, 0xff, 0xff, 0xff, 0xff];
    for rubbish in [vec![], vec![0xc1], b"{}".to_vec(), deep, long, vec![0xff; 1_000]] {
        client.say_bytes(rubbish).await;
        let refused = client
            .hear_any(|frame| matches!(frame, ServerFrame::Refused(_)).then_some(frame))
            .await;
        assert!(is_refused(&refused, Code::Malformed), "{refused:?}");
    }
    client.say_message(Message::text("text on a binary subprotocol")).await;
    assert!(is_refused(&client.hear().await, Code::Malformed));
    client.say(&ClientFrame::Heartbeat { heard: None }).await;
    assert!(matches!(client.hear().await, ServerFrame::Heartbeat { .. }));
}

#[tokio::test]
async fn a_client_that_speaks_only_rubbish_is_closed() {
    let node = Node::with(&[("GATEWAY__SESSION__STRIKES_MAX", "3")]);
    let mut client = Client::connect(&node, rider(1)).await;
    for _ in 0..6 {
        client.say_bytes(vec![0xc1]).await;
    }
    let (heard, closed) = client.hear_out().await;
    assert!(is_goodbye(heard.last(), Code::RateLimited), "{heard:?}");
    assert_eq!(closed, Closed { code: 1008 });
}

#[tokio::test]
async fn fields_and_numbers_that_are_none_are_malformed() {
    let node = Node::start();
    let mut client = Client::stranger(&node, Codec::Json).await;
    client.identify(&node.token(driver(1))).await;
    for frame in [
        r#"{"position":{"at":{"lat":91,"lon":0},"sampled_at":1}}"#,
        r#"{"position":{"at":{"lat":0,"lon":181},"sampled_at":1}}"#,
        r#"{"position":{"at":{"lat":0,"lon":0},"sampled_at":1,"altitude":9}}"#,
        r#"{"heartbeat":{"extra":1}}"#,
        r#"{"dance":{}}"#,
        r#"{"heartbeat":{}} {"heartbeat":{}}"#,
    ] {
        client.say_bytes(frame.into()).await;
        let refused = client
            .hear_any(|frame| matches!(frame, ServerFrame::Refused(_)).then_some(frame))
            .await;
        assert!(is_refused(&refused, Code::Malformed), "{frame}: {refused:?}");
    }
}

#[tokio::test]
async fn an_oversized_frame_is_refused_and_the_socket_closed() {
    let node = Node::start();
    let mut client = Client::connect(&node, rider(1)).await;
    client.say_bytes(vec![0xc0; FRAME_BYTES_MAX + 1]).await;
    let (heard, closed) = client.hear_out().await;
    assert!(heard.iter().any(|frame| is_refused(frame, Code::TooLarge)), "{heard:?}");
    assert_eq!(closed, Closed { code: 1009 });
    Client::connect(&node, rider(1)).await;
}

#[tokio::test]
async fn what_is_not_there_and_what_is_not_yours_look_the_same() {
    let node = Node::start();
    let mut client = Client::connect(&node, rider(1)).await;
    let outcome = client.wish(cancel(404)).await;
    let Outcome::Refused(refused) = outcome else { panic!("{outcome:?}") };
    assert_eq!(refused.code, Code::NotFound);
    for topic in [Topic::Order(OrderId::nth(404)), Topic::Driver(DriverId::nth(1))] {
        client.subscribe(topic.clone()).await;
        let (ended, refused) = client
            .hear_any(|frame| match frame {
                ServerFrame::Unsubscribed { topic, refused } => Some((topic, refused)),
                _ => None,
            })
            .await;
        assert_eq!((ended, refused.code), (topic, Code::NotFound));
    }
}

#[tokio::test]
async fn boards_and_actors_are_for_staff() {
    let node = Node::start();
    let mut client = Client::connect(&node, driver(1)).await;
    let region = Topic::Region("region-856a3243fffffff".to_owned());
    for topic in [Topic::Board, region, Topic::Actor(driver(1).to_string())] {
        client.subscribe(topic.clone()).await;
        let refused = client
            .hear_any(|frame| match frame {
                ServerFrame::Unsubscribed { refused, .. } => Some(refused),
                _ => None,
            })
            .await;
        assert_eq!(refused.code, Code::Forbidden, "{topic:?}");
    }
    let mut staff = Client::connect(&node, Principal::Dispatcher).await;
    staff.subscribe(Topic::Board).await;
    let board = staff
        .hear_any(|frame| match frame {
            ServerFrame::Board(board) => Some(board),
            _ => None,
        })
        .await;
    assert!(board.full);
}

#[tokio::test]
async fn a_region_shows_who_is_in_it_and_nobody_else() {
    let node = Node::start();
    let here = Point { lat: -1.9441, lon: 30.0619 };
    let region = RegionId::at(here).to_string();
    let (mut near, mut far) =
        (Client::connect(&node, driver(1)).await, Client::connect(&node, driver(2)).await);
    go_on_duty(&mut near, here).await;
    go_on_duty(&mut far, here.offset_m(0.0, 100_000.0)).await;
    let mut staff = Client::connect(&node, Principal::Dispatcher).await;
    staff.subscribe(Topic::Region(region.clone())).await;
    let mut seq = 0;
    let mut next = async |staff: &mut Client| loop {
        let board = staff.hear_any(|frame| match frame {
            ServerFrame::Region(board) => Some(board),
            _ => None,
        });
        let board = board.await;
        assert_eq!(board.region, region);
        assert!(board.full || board.seq == seq + 1, "{board:?}");
        seq = board.seq;
        for mark in &board.marks {
            let Mark::Driver { id, .. } = mark else { panic!("{mark:?}") };
            assert_eq!(*id, DriverId::nth(1), "the other one is elsewhere");
        }
        if !board.marks.is_empty() || !board.gone.is_empty() {
            return board;
        }
    };
    assert_eq!(next(&mut staff).await.marks.len(), 1);
    let off = DriverAction::SetDuty { duty: DutyWish::Off, vehicle: None };
    near.wish(Wish::Driver { id: None, action: off }).await;
    loop {
        let board = next(&mut staff).await;
        if !board.gone.is_empty() {
            assert_eq!(board.gone, [driver(1).to_string()]);
            break;
        }
    }
    for nowhere in ["region-856a3243ffffff", "region-866a32437ffffff", "856a3243fffffff"] {
        staff.subscribe(Topic::Region(nowhere.to_owned())).await;
        let refused = staff.hear_any(|frame| match frame {
            ServerFrame::Unsubscribed { refused, .. } => Some(refused),
            _ => None,
        });
        assert_eq!(refused.await.code, Code::NotFound);
    }
}

/// So many metres around a place.
fn around(at: Point, m: f64) -> Viewport {
    let [(south, west), (north, east)] = [-m, m].map(|m| {
        let corner = at.offset_m(m, m);
        ((corner.lat * 1e6) as i32, (corner.lon * 1e6) as i32)
    });
    Viewport { south, west, north, east }
}

#[tokio::test]
async fn who_begins_to_look_is_shown_where_everybody_is_by_now() {
    let node = Node::start();
    let here = Point { lat: -1.9441, lon: 30.0619 };
    let there = here.offset_m(0.0, 150.0);
    let mut driving = Client::connect(&node, driver(1)).await;
    go_on_duty(&mut driving, here).await;
    // Nobody looks while it goes there, by its clock in a quarter of a minute.
    let ClientFrame::Position(fix) = position(there) else { unreachable!() };
    let sampled_at = fix.sampled_at + Duration::from_secs(15);
    driving.say(&ClientFrame::Position(Fix { sampled_at, ..fix })).await;
    driving.say(&ClientFrame::Heartbeat { heard: None }).await;
    driving.hear_any(|frame| matches!(frame, ServerFrame::Heartbeat { .. }).then_some(())).await;
    let mut staff = Client::connect(&node, Principal::Dispatcher).await;
    staff.subscribe(Topic::Board).await;
    let first = staff.hear_any(|frame| match frame {
        ServerFrame::Board(board) => Some(board),
        _ => None,
    });
    let first = first.await;
    assert!(first.full);
    let [Mark::Driver { at, .. }] = first.marks[..] else { panic!("{first:?}") };
    assert!(at.distance_m(there) < 5.0, "{at:?}, not {there:?}");
}

#[tokio::test]
async fn a_viewport_shows_its_drivers_and_every_job_and_follows_whoever_pans() {
    let node = Node::start();
    let here = Point { lat: -1.9441, lon: 30.0619 };
    let there = here.offset_m(0.0, 100_000.0);
    let (mut near, mut far) =
        (Client::connect(&node, driver(1)).await, Client::connect(&node, driver(2)).await);
    go_on_duty(&mut near, here).await;
    go_on_duty(&mut far, there).await;
    let order = place_ride(&mut Client::connect(&node, rider(9)).await).await;
    let mut staff = Client::connect(&node, Principal::Dispatcher).await;
    let (mut seq, mut shown) = (0, std::collections::BTreeSet::new());
    let mut see = async |staff: &mut Client, wanted: &[String]| {
        while !shown.iter().eq(wanted) {
            let board = staff.hear_any(|frame| match frame {
                ServerFrame::Board(board) => Some(board),
                _ => None,
            });
            let board = board.await;
            assert!(board.full || board.seq == seq || board.seq == seq + 1, "{board:?}");
            seq = board.seq;
            for mark in &board.marks {
                shown.insert(match mark {
                    Mark::Driver { id, .. } => id.to_string(),
                    Mark::Order { id, .. } => id.to_string(),
                    Mark::Rescue { id, .. } => id.to_string(),
                });
            }
            for id in &board.gone {
                shown.remove(id);
            }
        }
    };
    let (first, second) = (around(here, 5_000.0), around(there, 5_000.0));
    staff.subscribe(Topic::Viewport(first)).await;
    see(&mut staff, &[driver(1).to_string(), order.to_string()]).await;
    staff.subscribe(Topic::Viewport(second)).await;
    // What is looked at no more was not this one.
    staff.say(&ClientFrame::Unsubscribe(Topic::Viewport(first))).await;
    see(&mut staff, &[driver(2).to_string(), order.to_string()]).await;
    let nowhere = Viewport { south: 1, north: 0, ..first };
    staff.subscribe(Topic::Viewport(nowhere)).await;
    let refused = staff.hear_any(|frame| match frame {
        ServerFrame::Unsubscribed { refused, .. } => Some(refused),
        _ => None,
    });
    assert_eq!(refused.await.code, Code::Invalid);
}

#[tokio::test]
async fn two_dispatchers_see_which_job_the_other_has_open() {
    let node = Node::start();
    let here = around(Point { lat: -1.9441, lon: 30.0619 }, 5_000.0);
    let order = place_ride(&mut Client::connect(&node, rider(9)).await).await;
    let mut one = Client::connect(&node, Principal::Dispatcher).await;
    let mut other = Client::connect(&node, Principal::Admin).await;
    for staff in [&mut one, &mut other] {
        staff.subscribe(Topic::Viewport(here)).await;
    }
    let open = async |staff: &mut Client, n: usize| {
        let all = staff.hear_any(|frame| match frame {
            ServerFrame::Board(board) => board.attending.filter(|all| all.len() == n),
            _ => None,
        });
        all.await
    };
    assert!(open(&mut one, 0).await.is_empty());
    other.subscribe(Topic::Order(order)).await;
    let [it] = open(&mut one, 1).await.try_into().unwrap();
    assert_eq!((it.job, it.by), (JobId::Order(order), Principal::Admin));
    other.say(&ClientFrame::Unsubscribe(Topic::Order(order))).await;
    assert!(open(&mut one, 0).await.is_empty());
    one.subscribe(Topic::Order(order)).await;
    assert_eq!(open(&mut other, 1).await.len(), 1);
    one.leave().await;
    assert!(open(&mut other, 0).await.is_empty());
}

#[tokio::test]
async fn one_may_ask_for_oneself() {
    let node = Node::start();
    let mut client = Client::connect(&node, driver(1)).await;
    go_on_duty(&mut client, Point { lat: -1.9441, lon: 30.0619 }).await;
    let me = |frame| match frame {
        ServerFrame::Driver(view) => Some(view),
        _ => None,
    };
    let told = client.hear_any(me).await;
    client.subscribe(Topic::Me).await;
    let again = client.hear_any(me).await;
    assert_eq!((again.id, again.version), (told.id, told.version));
    client.say(&ClientFrame::Unsubscribe(Topic::Me)).await;
    client.subscribe(Topic::Me).await;
    client.hear_any(me).await;
    let mut staff = Client::connect(&node, Principal::Dispatcher).await;
    staff.subscribe(Topic::Me).await;
    let refused = staff.hear_any(|frame| match frame {
        ServerFrame::Unsubscribed { topic: Topic::Me, refused } => Some(refused),
        _ => None,
    });
    assert_eq!(refused.await.code, Code::Forbidden);
}

#[tokio::test]
async fn only_drivers_say_where_they_are() {
    let node = Node::start();
    let mut client = Client::connect(&node, rider(1)).await;
    let position = protocol::view::Position {
        at: Point::default(),
        sampled_at: crate::client::now(),
        heading_deg: None,
        speed_mps: None,
        accuracy_m: None,
    };
    client.say(&ClientFrame::Position(position.into())).await;
    assert!(is_refused(&client.hear().await, Code::Forbidden));
}

#[tokio::test]
async fn a_command_id_that_says_no_time_is_told_to_be_none() {
    let node = Node::start();
    let mut client = Client::connect(&node, driver(1)).await;
    for id in ["00000000-0000-0000-0000-000000000000", "f47ac10b-58cc-4372-a567-0e02b2c3d479"] {
        let id = CommandId(id.parse().unwrap());
        let outcome = client.wish_as(id, cancel(1)).await;
        let Outcome::Refused(refused) = outcome else { panic!("{outcome:?}") };
        assert_eq!(refused.code, Code::Invalid);
        assert!(refused.message.contains("UUIDv7"), "{refused}");
    }
}

#[tokio::test]
async fn a_command_from_long_ago_is_refused() {
    let node = Node::start();
    let mut client = Client::connect(&node, driver(1)).await;
    let action = DriverAction::SetDuty { duty: DutyWish::Off, vehicle: None };
    let wish = Wish::Driver { id: None, action };
    let outcome = client.wish_as(CommandId::nth(1), wish).await;
    let Outcome::Refused(refused) = outcome else { panic!("{outcome:?}") };
    assert_eq!(refused.code, Code::CommandExpired);
}

#[tokio::test]
async fn a_leaving_node_says_goodbye_and_ends_well() {
    let node = Node::start();
    let mut client = Client::connect(&node, rider(1)).await;
    node.terminate();
    let (heard, closed) = client.hear_out().await;
    assert!(is_goodbye(heard.last(), Code::Draining), "{heard:?}");
    assert_eq!(closed, Closed { code: 1012 });
    drop(client);
    assert!(node.wait().success());
}
