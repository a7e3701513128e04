//! A client that was cut off goes on where it was: nothing is missed, and nothing is said twice.

use crate::{
    client::{Client, Closed, request},
    cluster::{Shared, is_shared_by, seen},
    control::{done, on_duty},
    limits::stall,
    node::{Node, driver, rider},
    rest::Caller,
    ride::{accept, act, go_on_duty, hear_offer, hear_status, place_ride},
};
use actors::listing::RegionId;
use protocol::{
    Code, JobId, OfferStatus, OrderStatus, Point, Principal,
    changes::Changed,
    codec::Codec,
    frame::{ClientFrame, Push, Resume, ServerFrame, Topic},
    work::{DriverAction, OrderAction, Wish},
};

const PICKUP: Point = Point { lat: -1.9441, lon: 30.0619 };

/// Whatever is said until the next heartbeat, which is asked for.
async fn all_until_now(client: &mut Client) -> Vec<ServerFrame> {
    client.say(&ClientFrame::Heartbeat { heard: None }).await;
    let mut heard = Vec::new();
    loop {
        match client.hear().await {
            ServerFrame::Heartbeat { .. } => return heard,
            frame => heard.push(frame),
        }
    }
}

/// Everything up to the order's search and the rider's view of it, whichever comes last. Heartbeats and
/// answers to wishes come between.
async fn until_all_is_said(client: &mut Client) -> Vec<ServerFrame> {
    let mut said = Vec::new();
    let (mut is_searching, mut is_known) = (false, false);
    while !(is_searching && is_known) {
        let frame = client.hear().await;
        match &frame {
            ServerFrame::Order(view) => is_searching |= view.status == OrderStatus::Searching,
            ServerFrame::Rider(view) => is_known |= !view.jobs.is_empty(),
            _ => {}
        }
        said.push(frame);
    }
    said.retain(|frame| matches!(frame, ServerFrame::Order(_) | ServerFrame::Rider(_)));
    said
}

#[tokio::test]
async fn what_was_said_and_did_not_arrive_is_said_again_in_its_order() {
    let node = Node::start();
    let mut client = Client::connect(&node, rider(1)).await;
    place_ride(&mut client).await;
    let first = until_all_is_said(&mut client).await;
    let at = client.cut();
    // It has hello and welcome, and nothing since.
    let early = Resume { heard: 2, ..at };
    let (mut again, is_resumed) = Client::resume(&node, rider(1), early).await;
    assert!(is_resumed);
    let second = until_all_is_said(&mut again).await;
    assert_eq!(second, first);
    let more = all_until_now(&mut again).await;
    assert_eq!(more, [], "nothing is new, so nothing more is said");
}

#[tokio::test]
async fn whoever_is_cut_off_again_before_its_welcome_goes_on_all_the_same() {
    let node = Node::start();
    let mut client = Client::connect(&node, rider(1)).await;
    place_ride(&mut client).await;
    let first = until_all_is_said(&mut client).await;
    let early = Resume { heard: 2, ..client.cut() };
    for _ in 0..3 {
        Client::resume_in_vain(&node, rider(1), early).await;
    }
    let (mut again, is_resumed) = Client::resume(&node, rider(1), early).await;
    assert!(is_resumed);
    let second = until_all_is_said(&mut again).await;
    assert_eq!(second, first);
    let more = all_until_now(&mut again).await;
    assert_eq!(more, [], "what was said in vain is said once");
}

#[tokio::test]
async fn whoever_was_told_everything_anew_in_vain_is_told_so_again() {
    let node = Node::with(&[("GATEWAY__SESSION__REPLAY_MAX", "1")]);
    let mut client = Client::connect(&node, rider(1)).await;
    place_ride(&mut client).await;
    until_all_is_said(&mut client).await;
    let early = Resume { heard: 2, ..client.cut() };
    Client::resume_in_vain(&node, rider(1), early).await;
    let (_again, is_resumed) = Client::resume(&node, rider(1), early).await;
    assert!(!is_resumed, "it has not heard yet that it begins anew");
}

#[tokio::test]
async fn whoever_has_heard_everything_hears_only_what_is_new() {
    let node = Node::start();
    let mut client = Client::connect(&node, rider(1)).await;
    let order = place_ride(&mut client).await;
    hear_status(&mut client, OrderStatus::Searching).await;
    let mut staff = Client::connect(&node, Principal::Dispatcher).await;
    let cancel = OrderAction::Cancel { reason: "no_driver".to_owned() };
    let at = client.cut();
    act(&mut staff, order, cancel).await;
    let (mut again, is_resumed) = Client::resume(&node, rider(1), at).await;
    assert!(is_resumed);
    hear_status(&mut again, OrderStatus::CancelledByAdmin).await;
    // The next one goes on from there, and has heard it all.
    let (mut third, is_resumed) = Client::resume(&node, rider(1), again.cut()).await;
    assert!(is_resumed);
    let more = all_until_now(&mut third).await;
    assert!(!more.iter().any(|frame| matches!(frame, ServerFrame::Order(_))), "{more:?}");
}

#[tokio::test]
async fn whoever_did_nothing_is_asked_nothing_anew_and_hears_all_the_same_what_came_meanwhile() {
    let node = Node::start();
    let mut client = Client::connect(&node, rider(1)).await;
    let order = place_ride(&mut client).await;
    act(&mut client, order, OrderAction::Cancel { reason: "changed_mind".to_owned() }).await;
    let is_at_rest = |frame| match frame {
        ServerFrame::Rider(view) => view.jobs.is_empty().then_some(()),
        ServerFrame::Changed(Changed::Rider(changes)) => changes.jobs?.is_empty().then_some(()),
        _ => None,
    };
    client.hear_any(is_at_rest).await;
    let at = client.cut();
    // Its other phone is not in the tunnel.
    let mut other = Client::connect(&node, rider(1)).await;
    let order = place_ride(&mut other).await;
    let (mut again, is_resumed) = Client::resume(&node, rider(1), at).await;
    assert!(is_resumed);
    let hears_of_it = |frame| match frame {
        ServerFrame::Order(view) => (view.id == order).then_some(()),
        _ => None,
    };
    again.hear_any(hears_of_it).await;
    let metrics = reqwest::get(node.url("/metrics")).await.unwrap().text().await.unwrap();
    let ways = metrics.lines().filter(|it| it.starts_with("outrider_resumed_follows_total"));
    let ways: Vec<_> = ways.collect();
    // Itself, and the ride that is over.
    assert_eq!(ways, ["outrider_resumed_follows_total{way=\"kept\"} 2"]);
}

#[tokio::test]
async fn a_driver_in_a_tunnel_hears_of_every_offer_and_of_every_end() {
    let node = Node::with(&[("GATEWAY__SESSION__PUSH_AGAIN", "60s")]);
    let mut driving = Client::connect(&node, driver(1)).await;
    go_on_duty(&mut driving, PICKUP).await;
    let at = driving.cut();

    // An offer comes while it is in the tunnel.
    let mut riding = Client::connect(&node, rider(1)).await;
    let order = place_ride(&mut riding).await;
    let mut staff = Client::connect(&node, Principal::Dispatcher).await;
    staff.subscribe(Topic::Driver(protocol::DriverId::nth(1))).await;
    let has_offer = |frame| match frame {
        ServerFrame::Driver(view) => (!view.offers.is_empty()).then_some(()),
        _ => None,
    };
    staff.hear_any(has_offer).await;
    let (mut driving, is_resumed) = Client::resume(&node, driver(1), at).await;
    assert!(is_resumed);
    let offer = hear_offer(&mut driving).await;
    accept(&mut driving, &offer).await;

    // Its job is taken away while it is in the next one.
    let at = driving.cut();
    let unassign = OrderAction::Unassign { reason: "vip".to_owned() };
    act(&mut staff, order, unassign).await;
    let is_free = |frame| match frame {
        ServerFrame::Driver(view) => view.jobs.is_empty().then_some(()),
        _ => None,
    };
    staff.hear_any(is_free).await;
    let (mut driving, is_resumed) = Client::resume(&node, driver(1), at).await;
    assert!(is_resumed);
    let released = driving.hear_push(|push| match push {
        Push::Released { job, reason } => Some((job, reason)),
        _ => None,
    });
    let (job, reason) = released.await;
    assert_eq!(job, JobId::Order(order));
    assert!(!reason.is_empty(), "also why, which only the journal knows by now");
}

#[tokio::test]
async fn an_offer_that_ended_before_many_others_is_told_as_ended() {
    let node = Node::with(&[
        ("GATEWAY__SESSION__PUSH_AGAIN", "60s"),
        ("REGIONS__TICK_MS", "100"),
        ("REGIONS__REPEAT_MS", "200"),
    ]);
    let mut driving = Client::connect(&node, driver(1)).await;
    go_on_duty(&mut driving, PICKUP).await;
    let mut riding = Client::connect(&node, rider(1)).await;
    place_ride(&mut riding).await;
    let first = hear_offer(&mut driving).await;
    let at = driving.cut();
    // On its other device the driver declines that one, and more than it remembers.
    let mut other = Client::connect(&node, driver(1)).await;
    for n in 0..6 {
        let offer = hear_offer(&mut other).await;
        assert_eq!(offer.id == first.id, n == 0);
        let decline = DriverAction::DeclineOffer { offer: offer.id };
        other.wish(Wish::Driver { id: None, action: decline }).await;
        place_ride(&mut Client::connect(&node, rider(n + 2)).await).await;
    }
    let (mut driving, is_resumed) = Client::resume(&node, driver(1), at).await;
    assert!(is_resumed);
    let ended = driving.hear_push(|push| match push {
        Push::OfferEnded { offer, status } => Some((offer, status)),
        _ => None,
    });
    assert_eq!(ended.await, (first.id, OfferStatus::Declined));
}

#[tokio::test]
async fn a_claim_that_was_lost_in_the_tunnel_is_heard_of_after_it() {
    let node = Node::start();
    let mut driving = Client::connect(&node, driver(1)).await;
    // Too far away to be offered anything, or to get what it claims.
    go_on_duty(&mut driving, PICKUP.offset_m(0.0, 100_000.0)).await;
    let mut riding = Client::connect(&node, rider(1)).await;
    let order = place_ride(&mut riding).await;
    let at = driving.cut();
    // The same driver's other device claims, and loses.
    let mut other = Client::connect(&node, driver(1)).await;
    let claim = DriverAction::ClaimJob { job: JobId::Order(order) };
    other.wish(Wish::Driver { id: None, action: claim }).await;
    let is_lost = |push| match push {
        Push::ClaimLost { job, .. } => Some(job),
        _ => None,
    };
    other.hear_push(is_lost).await;
    let (mut driving, is_resumed) = Client::resume(&node, driver(1), at).await;
    assert!(is_resumed);
    assert_eq!(driving.hear_push(is_lost).await, JobId::Order(order));
}

#[tokio::test]
async fn a_job_that_came_and_went_in_the_tunnel_is_heard_of_after_it() {
    let node = Node::with(&[("GATEWAY__SESSION__PUSH_AGAIN", "60s")]);
    let mut driving = Client::connect(&node, driver(1)).await;
    go_on_duty(&mut driving, PICKUP).await;
    let mut riding = Client::connect(&node, rider(1)).await;
    let order = place_ride(&mut riding).await;
    let offer = hear_offer(&mut driving).await;
    let at = driving.cut();
    // On its other device the driver says yes; then staff take the job away.
    let mut other = Client::connect(&node, driver(1)).await;
    accept(&mut other, &offer).await;
    let mut staff = Client::connect(&node, Principal::Dispatcher).await;
    act(&mut staff, order, OrderAction::Unassign { reason: "vip".to_owned() }).await;
    let is_released = |push| match push {
        Push::Released { job, reason } => Some((job, reason)),
        _ => None,
    };
    other.hear_push(is_released).await;
    let (mut driving, is_resumed) = Client::resume(&node, driver(1), at).await;
    assert!(is_resumed);
    let (job, reason) = driving.hear_push(is_released).await;
    assert_eq!(job, JobId::Order(order));
    assert!(!reason.is_empty());
}

#[tokio::test]
async fn a_session_is_nobody_elses_and_waits_for_its_own_client() {
    let node = Node::start();
    let mut client = Client::connect(&node, rider(1)).await;
    place_ride(&mut client).await;
    let at = client.cut();
    let (_, is_resumed) = Client::resume(&node, rider(2), at).await;
    assert!(!is_resumed);
    let (mut again, is_resumed) = Client::resume(&node, rider(1), at).await;
    assert!(is_resumed);
    let heard = Some(again.at.heard);
    again.say(&ClientFrame::Heartbeat { heard }).await;
    again.hear_any(|frame| matches!(frame, ServerFrame::Heartbeat { .. }).then_some(())).await;
    let (_, is_resumed) = Client::resume(&node, rider(1), at).await;
    assert!(!is_resumed, "it has shown that it knows where it goes on");
    assert_eq!(all_until_now(&mut again).await, [], "old words do not take it away");
    // By the name it has just heard, there is nothing to go on with.
    let mut client = Client::stranger(&node, Codec::MsgPack).await;
    let (token, own) = (node.token(rider(3)), Some(client.at));
    client.say(&ClientFrame::Identify { token, resume: own }).await;
    let welcome = client.hear().await;
    assert!(matches!(welcome, ServerFrame::Welcome { resumed: Some(false), .. }), "{welcome:?}");
    assert_eq!(all_until_now(&mut client).await, []);
}

#[tokio::test]
async fn who_says_goodbye_does_not_come_back() {
    let node = Node::start();
    let client = Client::connect(&node, rider(1)).await;
    let at = client.at;
    client.leave().await;
    let (_, is_resumed) = Client::resume(&node, rider(1), at).await;
    assert!(!is_resumed);
}

#[tokio::test]
async fn a_gap_that_is_too_large_is_not_half_filled() {
    let node = Node::with(&[("GATEWAY__SESSION__REPLAY_MAX", "1")]);
    let mut client = Client::connect(&node, rider(1)).await;
    let order = place_ride(&mut client).await;
    hear_status(&mut client, OrderStatus::Searching).await;
    let early = Resume { heard: 2, ..client.cut() };
    let (mut again, is_resumed) = Client::resume(&node, rider(1), early).await;
    assert!(!is_resumed);
    // It is told as it is now, like whoever comes for the first time.
    let status = again.hear_any(|frame| match frame {
        ServerFrame::Order(view) if view.id == order => Some(view.status),
        _ => None,
    });
    assert_eq!(status.await, OrderStatus::Searching);
}

/// How many goodbyes the node has said for a reason.
async fn n_goodbyes(http: &reqwest::Client, node: &Node, code: &str) -> bool {
    let metrics = http.get(node.url("/metrics")).send().await.unwrap().text().await.unwrap();
    metrics.contains(&format!("outrider_goodbyes_total{{code=\"{code}\"}}"))
}

#[tokio::test]
async fn whoever_read_too_slowly_goes_on_where_it_was() {
    let node = Node::with(&[
        ("GATEWAY__SESSION__FRAMES_PER_S", "1000000"),
        ("GATEWAY__SESSION__FRAMES_BURST", "1000000"),
        ("GATEWAY__SESSION__QUEUE_MAX", "16"),
    ]);
    let mut riding = Client::connect(&node, rider(1)).await;
    let order = place_ride(&mut riding).await;
    hear_status(&mut riding, OrderStatus::Searching).await;
    let mut slow = Client::connect(&node, Principal::Dispatcher).await;
    // Each of these is answered with more than it is, until nobody can keep the answers.
    let ask = ClientFrame::Subscribe(Topic::Actor(order.to_string()));
    // No more at a time than leaves time for the goodbye.
    let http = reqwest::Client::new();
    while !n_goodbyes(&http, &node, "busy").await {
        for _ in 0..20 {
            slow.try_say(&ask).await;
        }
    }
    // It reads on while there is time for a goodbye.
    let (heard, closed) = slow.hear_out().await;
    assert_eq!(closed.code, 1013);
    assert!(matches!(heard.last(), Some(ServerFrame::Goodbye { .. })), "{:?}", heard.last());
    // The last four before the goodbye have not arrived.
    let early = Resume { heard: slow.at.heard - 5, ..slow.at };
    let (mut again, is_resumed) = Client::resume(&node, Principal::Dispatcher, early).await;
    assert!(is_resumed);
    for missed in &heard[heard.len() - 5..heard.len() - 1] {
        assert_eq!(again.hear().await, *missed);
    }
    // And it follows what it followed.
    act(&mut riding, order, OrderAction::Cancel { reason: "changed_mind".to_owned() }).await;
    again
        .hear_any(|frame| match frame {
            ServerFrame::Actor(view) => {
                view.events.contains(&"cancelled_by_rider".to_owned()).then_some(())
            }
            _ => None,
        })
        .await;
}

#[tokio::test]
async fn an_offer_that_did_not_reach_a_driver_who_read_too_slowly_is_there_when_it_comes_back() {
    let node = Node::with(&[
        ("GATEWAY__REQUESTS_PER_S", "1000000"),
        ("GATEWAY__REQUESTS_BURST", "1000000"),
        ("GATEWAY__SESSION__FRAMES_PER_S", "1000000"),
        ("GATEWAY__SESSION__FRAMES_BURST", "1000000"),
        ("GATEWAY__SESSION__PUSH_AGAIN", "60s"),
        ("GATEWAY__SESSION__QUEUE_MAX", "200"),
        ("GATEWAY__SESSION__REPLAY_MAX", "1000"),
        ("GATEWAY__SESSION__REPLAY_BYTES_MAX", "1000000"),
    ]);
    let mut slow = Client::connect(&node, driver(1)).await;
    go_on_duty(&mut slow, PICKUP).await;
    let mut staff = Client::connect(&node, Principal::Dispatcher).await;
    staff.subscribe(Topic::Driver(protocol::DriverId::nth(1))).await;
    let mut riding = Client::connect(&node, rider(1)).await;
    let ask = ClientFrame::Subscribe(Topic::Me);
    stall(&node, &mut slow, &ask, 40).await;
    // The offer waits behind what waits already.
    place_ride(&mut riding).await;
    let has_offer = |frame| match frame {
        ServerFrame::Driver(view) => (!view.offers.is_empty()).then_some(()),
        _ => None,
    };
    staff.hear_any(has_offer).await;
    let http = reqwest::Client::new();
    while !n_goodbyes(&http, &node, "busy").await {
        for _ in 0..10 {
            slow.try_say(&ask).await;
        }
    }
    let (heard, closed) = slow.hear_out().await;
    assert_eq!(closed.code, 1013);
    let is_offer = |it: &ServerFrame| matches!(it, ServerFrame::Push { push: Push::Offer(_), .. });
    let n_before = heard.iter().position(is_offer).expect("it was on its way");
    // Its way breaks right before the offer.
    let n_lost = (heard.len() - n_before) as u64;
    let early = Resume { heard: slow.at.heard - n_lost, ..slow.at };
    let (mut again, is_resumed) = Client::resume(&node, driver(1), early).await;
    assert!(is_resumed);
    let offer = hear_offer(&mut again).await;
    accept(&mut again, &offer).await;
}

#[tokio::test]
async fn whoever_was_silent_for_too_long_goes_on_where_it_was() {
    let node = Node::with(&[("GATEWAY__SESSION__HEARTBEAT", "200ms")]);
    let mut client = Client::connect(&node, rider(1)).await;
    let order = place_ride(&mut client).await;
    hear_status(&mut client, OrderStatus::Searching).await;
    let (_, closed) = client.hear_out().await;
    assert_eq!(closed.code, 4408);
    let mut staff = Client::connect(&node, Principal::Dispatcher).await;
    act(&mut staff, order, OrderAction::Cancel { reason: "no_driver".to_owned() }).await;
    let (mut again, is_resumed) = Client::resume(&node, rider(1), client.cut()).await;
    assert!(is_resumed);
    hear_status(&mut again, OrderStatus::CancelledByAdmin).await;
}

#[tokio::test]
async fn topics_are_still_followed() {
    let node = Node::start();
    let mut riding = Client::connect(&node, rider(1)).await;
    let order = place_ride(&mut riding).await;
    let mut staff = Client::connect(&node, Principal::Dispatcher).await;
    staff.subscribe(Topic::Order(order)).await;
    staff.subscribe(Topic::Board).await;
    hear_status(&mut staff, OrderStatus::Searching).await;
    let board = |frame| matches!(frame, ServerFrame::Board(_)).then_some(());
    staff.hear_any(board).await;
    let region = RegionId::at(PICKUP).to_string();
    staff.subscribe(Topic::Region(region)).await;
    let full = |frame| matches!(frame, ServerFrame::Region(it) if it.full).then_some(());
    staff.hear_any(full).await;
    let (mut staff, is_resumed) = Client::resume(&node, Principal::Dispatcher, staff.cut()).await;
    assert!(is_resumed);
    staff.hear_any(board).await;
    staff.hear_any(full).await;
    act(&mut riding, order, OrderAction::Cancel { reason: "changed_mind".to_owned() }).await;
    hear_status(&mut staff, OrderStatus::CancelledByRider).await;
}

#[tokio::test]
async fn a_client_may_say_it_all_when_it_opens_the_socket() {
    let node = Node::start();
    let mut client = Client::connect(&node, rider(1)).await;
    place_ride(&mut client).await;
    let Resume { session, heard } = client.cut();
    let token = node.token(rider(1));
    let mut opening = request(&node, Some(Codec::Json));
    *opening.uri_mut() = node.websocket(&format!("token={token}")).parse().unwrap();
    let mut other = Client::by(opening, Codec::Json).await;
    let welcome = other.hear().await;
    assert!(matches!(welcome, ServerFrame::Welcome { resumed: Some(false), .. }), "{welcome:?}");

    let mut opening = request(&node, Some(Codec::MsgPack));
    let query = format!("token={token}&session={session}&heard={heard}");
    *opening.uri_mut() = node.websocket(&query).parse().unwrap();
    let mut again = Client::by(opening, Codec::MsgPack).await;
    let welcome = again.hear().await;
    assert!(matches!(welcome, ServerFrame::Welcome { resumed: Some(true), .. }), "{welcome:?}");
}

#[tokio::test]
async fn what_makes_no_sense_is_refused() {
    let node = Node::start();
    for query in ["session=order-1&heard=1", "heard=1", "token=a.b.c", "tokken=a", "heard=-1"] {
        let mut opening = request(&node, Some(Codec::MsgPack));
        *opening.uri_mut() = node.websocket(query).parse().unwrap();
        let (status, body) = crate::client::refused(opening).await;
        assert!(matches!(status, 401 | 422), "{query}: {status} {body}");
    }
    let mut client = Client::connect(&node, rider(1)).await;
    client.say(&ClientFrame::Heartbeat { heard: Some(1_000) }).await;
    let at = Some(client.at);
    client.say(&ClientFrame::Identify { token: node.token(rider(1)), resume: at }).await;
    for _ in 0..2 {
        let refused = client.hear_any(|frame| match frame {
            ServerFrame::Refused(refused) => Some(refused),
            _ => None,
        });
        assert_eq!(refused.await.code, Code::Invalid);
    }
    // A session that nobody knows is no reason not to let somebody in.
    let unknown = Resume { session: protocol::SessionId::nth(7), heard: u64::MAX };
    let (_, is_resumed) = Client::resume(&node, rider(1), unknown).await;
    assert!(!is_resumed);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_client_goes_on_at_any_node_also_before_the_first_one_has_noticed() {
    let shared = Shared::new().await;
    let (first, second) = (shared.node("first"), shared.node("second"));
    seen(&first, is_shared_by(2)).await;
    let mut client = Client::connect(&first, rider(1)).await;
    let order = place_ride(&mut client).await;
    hear_status(&mut client, OrderStatus::Searching).await;

    // The way to the first node leads nowhere, and the first node does not know.
    let mut lost = client;
    let (mut client, is_resumed) = Client::resume(&second, rider(1), lost.at).await;
    assert!(is_resumed);
    let (_, closed) = lost.hear_out().await;
    assert_eq!(closed.code, 4409, "{closed:?}");
    act(&mut client, order, OrderAction::Cancel { reason: "changed_mind".to_owned() }).await;
    hear_status(&mut client, OrderStatus::CancelledByRider).await;

    // The second is told to leave: whoever it says goodbye to goes on at the first.
    second.terminate();
    let (_, closed) = client.hear_out().await;
    assert_eq!(closed.code, 1012, "{closed:?}");
    let (mut client, is_resumed) = Client::resume(&first, rider(1), client.at).await;
    assert!(is_resumed);
    let more = all_until_now(&mut client).await;
    assert!(!more.iter().any(|frame| matches!(frame, ServerFrame::Order(_))), "{more:?}");
    assert!(second.wait().success());

    // Of a node that is gone nothing is left: everything is told anew.
    let gone = Resume { session: client.at.session, heard: 1 };
    drop(client);
    drop(first);
    let third = shared.node("third");
    seen(&third, is_shared_by(1)).await;
    let (_, is_resumed) = Client::resume(&third, rider(1), gone).await;
    assert!(!is_resumed);
}

#[tokio::test]
async fn whoever_acknowledges_nothing_is_sent_away_and_has_all_of_it_when_it_is_back() {
    // More than may wait.
    const N: u64 = 65;
    let node = Node::with(&[
        ("GATEWAY__SESSION__FRAMES_BURST", "1000"),
        ("GATEWAY__SESSION__PUSH_AGAIN", "1s"),
    ]);
    let staff = Caller::new(&node, Principal::Dispatcher);
    let actions = format!("/v1/drivers/{}/actions", driver(1));
    let write = async |text: u64| {
        let message = serde_json::json!({ "message": { "text": text.to_string() } });
        done(&staff, &actions, message).await;
    };
    let text_of = |frame: &ServerFrame| match frame {
        ServerFrame::Push { push: Push::Message(message), .. } => message.text.parse::<u64>().ok(),
        _ => None,
    };
    let mut driving = on_duty(&node, 1, 50.0).await;
    for text in 1..=N {
        write(text).await;
    }
    let (heard, closed) = driving.hear_out().await;
    assert_eq!(closed, Closed { code: 1013 });
    let Some(ServerFrame::Goodbye { refused }) = heard.last() else { panic!("{heard:?}") };
    assert!(refused.code == Code::Busy && refused.retry_after_ms.is_some(), "{refused:?}");

    let (mut back, is_resumed) = Client::resume(&node, driver(1), driving.cut()).await;
    assert!(is_resumed);
    let mut texts = std::collections::BTreeSet::new();
    while texts.len() < usize::try_from(N).unwrap() {
        let frame = back.hear().await;
        texts.extend(text_of(&frame));
        if let ServerFrame::Push { n, .. } = frame {
            back.say(&ClientFrame::Ack { n }).await;
        }
    }
    assert_eq!(texts, (1..=N).collect());
    // What is answered comes after what was acknowledged.
    all_until_now(&mut back).await;
    write(N + 1).await;
    back.hear_any(|frame| text_of(&frame).filter(|text| *text == N + 1)).await;
}
