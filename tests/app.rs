//! The Rust client against a real node, through a network that breaks.
#![expect(clippy::unwrap_used, reason = "in a test, a panic is the report")]
#![expect(clippy::wildcard_enum_match_arm, reason = "a client picks what it waits for")]

#[path = "gateway/node.rs"]
#[expect(dead_code, reason = "the gateway's own tests use all of it")]
mod node;
#[path = "app/proxy.rs"]
mod proxy;

use node::{Node, driver, rider};
use outrider_client::{
    Builder, Change, Client, Event, Habits, JsonLines, Link, NotDone, NotTaken, State, Target,
    View, Why,
};
use protocol::{
    Code, DriverId, OrderId, OrderStatus, Point, Principal,
    frame::{Push, ServerFrame, Topic},
    view::{OrderView, Position},
    work::{DriverAction, OrderAction, Wish},
};
use proxy::Proxy;
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{
    collections::HashSet,
    time::{Duration, Instant},
};
use tokio::time::timeout;

const PICKUP: Point = Point { lat: -1.9441, lon: 30.0619 };
/// Longer than anything here should take.
const PATIENCE: Duration = Duration::from_secs(12);

/// A node that lets one client be quick, and notices soon that one is silent.
fn quick_node(more: &[(&str, &str)]) -> Node {
    let settings = [
        ("GATEWAY__SESSION__HEARTBEAT", "400ms"),
        ("GATEWAY__SESSION__HEARTBEAT_AT_REST", "400ms"),
        ("GATEWAY__SESSION__PUSH_AGAIN", "150ms"),
        ("GATEWAY__SESSION__COMMANDS_PER_S", "1000"),
        ("GATEWAY__SESSION__COMMANDS_BURST", "1000"),
        ("GATEWAY__SESSION__FRAMES_PER_S", "1000"),
        ("GATEWAY__SESSION__FRAMES_BURST", "1000"),
    ];
    Node::with(&[&settings, more].concat())
}

fn client(node: &Node, proxy: &Proxy, who: Principal) -> Builder {
    let (first, most) = (Duration::from_millis(20), Duration::from_millis(200));
    Client::builder([proxy.url.as_str()], node.token(who)).pauses(first, most)
}

fn wish(json: &str) -> Wish {
    serde_json::from_str(json).unwrap()
}

/// Riders may have as many of these as they like.
fn delivery() -> Wish {
    wish(
        r#"{"place_order": {"kind": "delivery", "stops": [{"at": {"lat": -1.9441, "lon": 30.0619}}, {"at": {"lat": -1.93, "lon": 30.1}}]}}"#,
    )
}

fn on_duty() -> Wish {
    wish(
        r#"{"driver": {"action": {"set_duty": {"duty": "on", "vehicle": {"kind": "moto", "capacity_g": 50000, "skills": []}}}}}"#,
    )
}

async fn place(client: &Client) -> OrderId {
    client.command(delivery()).await.unwrap().actor.parse().unwrap()
}

fn cancel(id: OrderId) -> Wish {
    Wish::Order { id, action: OrderAction::Cancel { reason: "changed_mind".to_owned() } }
}

fn at(client: &Client, at: Point) -> Position {
    Position {
        at,
        sampled_at: client.server_now(),
        heading_deg: None,
        speed_mps: None,
        accuracy_m: Some(5.0),
    }
}

async fn until(client: &Client, wanted: impl Fn(&State) -> bool) {
    let mut state = client.state();
    timeout(PATIENCE, state.wait_for(|it| wanted(it))).await.unwrap().unwrap();
}

async fn until_open(client: &Client) {
    until(client, |state| matches!(state, State::Open)).await;
}

async fn until_away(client: &Client) {
    until(client, |state| matches!(state, State::Waiting { .. })).await;
}

/// Breaks the connection, and returns when the client has noticed; it may be back by then.
async fn cut_off(client: &Client, proxy: &Proxy) {
    let mut state = client.state();
    state.mark_unchanged();
    proxy.cut();
    timeout(PATIENCE, state.changed()).await.expect("it notices").unwrap();
}

/// The next order that `pick` wants.
async fn order(
    following: &mut outrider_client::Following,
    pick: impl Fn(&OrderView) -> bool,
) -> OrderView {
    let looking = async {
        loop {
            if let Some(Change::View(View::Order(view))) = following.next().await
                && pick(&view)
            {
                return *view;
            }
        }
    };
    timeout(PATIENCE, looking).await.expect("the order is told")
}

/// How many orders of a rider the node has.
async fn n_orders(node: &Node, who: Principal) -> usize {
    let url = node.url("/v1/orders?limit=100");
    let answer = reqwest::Client::new().get(url).bearer_auth(node.token(who)).send().await.unwrap();
    let page: serde_json::Value = answer.json().await.unwrap();
    page["items"].as_array().unwrap().len()
}

#[tokio::test]
async fn a_command_is_answered_with_what_it_did_or_with_why_not() {
    let node = quick_node(&[]);
    let proxy = Proxy::start(&node.address).await;
    for builder in [client(&node, &proxy, rider(1)), client(&node, &proxy, rider(1)).json()] {
        let client = builder.connect().unwrap();
        place(&client).await;
        let refused = client.command(cancel(OrderId::nth(9))).await.unwrap_err();
        assert!(matches!(refused, NotDone::Refused(it) if it.code == Code::NotFound));
        client.close().await;
        assert!(matches!(client.command(delivery()).await, Err(NotDone::Closed)));
    }
}

#[tokio::test]
async fn however_often_and_wherever_the_connection_breaks_each_command_happens_once() {
    let node = quick_node(&[]);
    let proxy = Proxy::start(&node.address).await;
    let client = client(&node, &proxy, rider(1)).connect().unwrap();
    proxy.slow(Duration::from_millis(2));
    let mut dice = StdRng::seed_from_u64(7);
    let mut answers = Vec::new();
    for n in 0..60 {
        let client = client.clone();
        answers.push(tokio::spawn(async move { place(&client).await }));
        match n % 6 {
            // In the middle of the greeting, of a command, of an answer.
            1 => proxy.break_up_after(dice.random_range(1..600)),
            3 => proxy.break_down_after(dice.random_range(1..900)),
            5 => proxy.cut(),
            _ => {}
        }
        tokio::time::sleep(Duration::from_millis(dice.random_range(0..40))).await;
    }
    proxy.break_up_after(i64::MAX / 2);
    proxy.break_down_after(i64::MAX / 2);
    let mut placed = HashSet::new();
    for answer in answers {
        assert!(placed.insert(timeout(PATIENCE, answer).await.unwrap().unwrap()));
    }
    assert_eq!(n_orders(&node, rider(1)).await, 60);
    assert!(proxy.n_ways() > 10, "it broke {} times", proxy.n_ways());
}

#[tokio::test]
async fn a_node_that_is_killed_and_comes_back_has_done_each_command_once() {
    let mut node = quick_node(&[("JOURNAL__KIND", "sqlite")]);
    let proxy = Proxy::start(&node.address).await;
    let client = client(&node, &proxy, rider(1)).connect().unwrap();
    let mut answers = Vec::new();
    for n in 0..20 {
        let client = client.clone();
        answers.push(tokio::spawn(async move { place(&client).await }));
        if n == 10 {
            node.kill_and_restart();
        }
    }
    let mut placed = HashSet::new();
    for answer in answers {
        assert!(placed.insert(timeout(PATIENCE, answer).await.unwrap().unwrap()));
    }
    assert_eq!(n_orders(&node, rider(1)).await, 20);
}

#[tokio::test]
async fn what_is_wished_without_a_connection_waits_and_has_a_bound() {
    let node = quick_node(&[]);
    let proxy = Proxy::start(&node.address).await;
    proxy.open(false);
    let client = client(&node, &proxy, rider(1)).commands_max(3).connect().unwrap();
    let wishing = [(); 3].map(|()| {
        let client = client.clone();
        tokio::spawn(async move { place(&client).await })
    });
    until_away(&client).await;
    tokio::task::yield_now().await;
    let more = client.command(delivery()).await;
    assert!(matches!(more, Err(NotDone::NotTaken(NotTaken::Full))), "{more:?}");
    proxy.open(true);
    for wish in wishing {
        timeout(PATIENCE, wish).await.unwrap().unwrap();
    }
    assert_eq!(n_orders(&node, rider(1)).await, 3);
}

#[tokio::test]
async fn an_app_that_starts_again_asks_for_what_was_not_answered() {
    let node = quick_node(&[]);
    let proxy = Proxy::start(&node.address).await;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("commands");
    let start =
        || client(&node, &proxy, rider(1)).keep(JsonLines::open(&path).unwrap()).connect().unwrap();
    let first = start();
    place(&first).await;
    // One is done and its answer lost, one is not even asked for.
    proxy.open(false);
    proxy.break_down_after(1);
    let (one, other) = (first.mint(), first.mint());
    for id in [one, other] {
        let asking = first.command_as(id, delivery());
        assert!(timeout(Duration::from_millis(100), asking).await.is_err(), "no answer comes");
    }
    first.close().await;
    proxy.open(true);

    let second = start();
    let kept = second.take_kept();
    assert_eq!(kept.iter().map(|kept| kept.id).collect::<Vec<_>>(), [one, other]);
    for kept in kept {
        timeout(PATIENCE, kept.answer()).await.unwrap().unwrap();
    }
    assert_eq!(n_orders(&node, rider(1)).await, 3);
    second.close().await;
    assert_eq!(start().take_kept().len(), 0, "what was answered is kept no more");
}

#[tokio::test]
async fn what_was_missed_is_told_in_the_order_of_its_versions_and_once() {
    let node = quick_node(&[]);
    let proxy = Proxy::start(&node.address).await;
    let phone = client(&node, &proxy, rider(1)).connect().unwrap();
    let mut own = phone.take_own().unwrap();
    let id = place(&phone).await;
    order(&mut own, |view| view.id == id && view.status == OrderStatus::Searching).await;
    proxy.open(false);
    cut_off(&phone, &proxy).await;
    // The same person's other device, by another way.
    let elsewhere = Client::builder([node.websocket("")], node.token(rider(1))).connect().unwrap();
    elsewhere.command(cancel(id)).await.unwrap();
    proxy.open(true);
    let ended = order(&mut own, |view| view.id == id).await;
    assert_eq!(ended.status, OrderStatus::CancelledByRider, "nothing older is told again");
}

#[tokio::test]
async fn a_topic_is_followed_through_every_break_and_is_right_in_the_end() {
    for within in ["2m", "0s"] {
        let node = quick_node(&[("GATEWAY__RESUME_WITHIN", within)]);
        let proxy = Proxy::start(&node.address).await;
        let staff = client(&node, &proxy, Principal::Dispatcher).connect().unwrap();
        let riding = Client::builder([node.websocket("")], node.token(rider(1))).connect().unwrap();
        let id = place(&riding).await;
        let mut following = staff.follow(Topic::Order(id)).await.unwrap();
        order(&mut following, |view| view.id == id).await;
        let mut dice = StdRng::seed_from_u64(3);
        let (mut n_anew, mut last) = (0, 0);
        for n in 0..8 {
            if n % 2 == 0 {
                proxy.break_down_after(dice.random_range(1..700));
            } else {
                proxy.cut();
            }
            tokio::time::sleep(Duration::from_millis(dice.random_range(0..60))).await;
        }
        proxy.break_down_after(i64::MAX / 2);
        until_open(&staff).await;
        cut_off(&staff, &proxy).await;
        let done = riding.command(cancel(id)).await.unwrap();
        let watching = async {
            loop {
                match following.next().await.unwrap() {
                    Change::Anew => (n_anew, last) = (n_anew + 1, 0),
                    Change::View(view) => {
                        let version = view.version().unwrap_or(last);
                        assert!(version >= last, "from {last} to {version}");
                        last = version;
                    }
                    Change::Ended(refused) => panic!("{refused}"),
                }
                if last >= done.version {
                    return;
                }
            }
        };
        timeout(PATIENCE, watching).await.expect("its end is told");
        match within {
            "0s" => assert!(n_anew > 0, "it begins anew where no session waits"),
            _ => assert_eq!(n_anew, 0, "one that waits goes on, wherever its client was cut off"),
        }
    }
}

#[tokio::test]
async fn each_push_comes_once_and_is_acknowledged_when_it_is_taken() {
    for within in ["2m", "0s"] {
        let node = quick_node(&[("GATEWAY__RESUME_WITHIN", within)]);
        let proxy = Proxy::start(&node.address).await;
        let driving = client(&node, &proxy, driver(1)).connect().unwrap();
        let mut pushes = driving.take_pushes().unwrap();
        assert!(driving.take_pushes().is_none());
        driving.command(on_duty()).await.unwrap();
        driving.position(at(&driving, PICKUP));
        let riding = Client::builder([node.websocket("")], node.token(rider(1))).connect().unwrap();
        let id = place(&riding).await;
        let mut heard = Vec::new();
        let offered = timeout(PATIENCE, pushes.next()).await.unwrap().unwrap();
        let Push::Offer(offer) = &offered else { panic!("{offered:?}") };
        // Its acknowledgement may be lost, and is said again more than once until it is not.
        let accept = DriverAction::AcceptOffer { offer: offer.id };
        heard.push(format!("{offered:?}"));
        for _ in 0..3 {
            cut_off(&driving, &proxy).await;
            until_open(&driving).await;
        }
        driving.command(Wish::Driver { id: None, action: accept }).await.unwrap();
        loop {
            let Ok(push) = timeout(PATIENCE, pushes.next()).await else {
                panic!("nothing came after {heard:?}, while it was {:?}", driving.state());
            };
            let push = push.unwrap();
            heard.push(format!("{push:?}"));
            match push {
                Push::Released { .. } => break,
                // Of a job that is over before a session sees it, only the view tells. One that waits has seen it; where none
                // does, the next one must have, and stay.
                Push::Assigned { .. } if within == "0s" => {
                    proxy.break_up_after(i64::MAX);
                    cut_off(&driving, &proxy).await;
                    until_open(&driving).await;
                    let mut me = driving.follow(Topic::Me).await.unwrap();
                    let sees = async {
                        loop {
                            if let Some(Change::View(View::Driver(view))) = me.next().await
                                && !view.jobs.is_empty()
                            {
                                break;
                            }
                        }
                    };
                    timeout(PATIENCE, sees).await.expect("it has the job");
                    riding.command(cancel(id)).await.unwrap();
                    continue;
                }
                Push::Assigned { .. } => riding.command(cancel(id)).await.map(drop).unwrap(),
                _ => {}
            }
            proxy.break_up_after(1);
        }
        // As long as several repeats would take.
        let more = timeout(Duration::from_millis(600), pushes.next()).await;
        assert!(more.is_err(), "{more:?} after {heard:?}");
        let unique: HashSet<&String> = heard.iter().collect();
        assert_eq!(unique.len(), heard.len(), "{heard:?}");
    }
}

#[tokio::test]
async fn only_the_latest_position_is_said_after_a_tunnel() {
    let node = quick_node(&[]);
    let proxy = Proxy::start(&node.address).await;
    let driving = client(&node, &proxy, driver(1)).connect().unwrap();
    driving.command(on_duty()).await.unwrap();
    proxy.open(false);
    cut_off(&driving, &proxy).await;
    for n in 0..100 {
        driving.position(at(&driving, PICKUP.offset_m(f64::from(n), 0.0)));
    }
    let staff = Client::builder([node.websocket("")], node.token(Principal::Dispatcher)).connect();
    let staff = staff.unwrap();
    let mut following = staff.follow(Topic::Driver(DriverId::nth(1))).await.unwrap();
    proxy.open(true);
    let seen = async {
        loop {
            if let Some(Change::View(View::Driver(view))) = following.next().await
                && let Some(position) = view.position
            {
                return position.at;
            }
        }
    };
    let watching = timeout(Duration::from_millis(1_500), seen);
    let seen = match watching.await {
        Ok(seen) => seen,
        // A driver's view is not told for each position: ask for it.
        Err(_) => {
            let mut again = staff.follow(Topic::Driver(DriverId::nth(1))).await.unwrap();
            loop {
                if let Some(Change::View(View::Driver(view))) = again.next().await {
                    break view.position.unwrap().at;
                }
            }
        }
    };
    let last = PICKUP.offset_m(99.0, 0.0);
    assert!((seen.lat - last.lat).abs() < 1e-9 && (seen.lon - last.lon).abs() < 1e-9, "{seen:?}");
}

#[tokio::test]
async fn a_way_that_leads_nowhere_is_noticed() {
    let node = quick_node(&[]);
    let proxy = Proxy::start(&node.address).await;
    let client = client(&node, &proxy, rider(1)).connect().unwrap();
    until_open(&client).await;
    proxy.hang();
    let wishing = client.clone();
    let wish = tokio::spawn(async move { place(&wishing).await });
    timeout(PATIENCE, wish).await.unwrap().unwrap();
    assert_eq!(n_orders(&node, rider(1)).await, 1);
    assert!(proxy.n_ways() >= 2, "it found another way");
}

#[tokio::test]
async fn whoever_is_cut_off_at_rest_is_late_unless_somebody_takes_the_phone_out() {
    let node = quick_node(&[
        ("GATEWAY__SESSION__HEARTBEAT_AT_REST", "30s"),
        ("GATEWAY__SESSION__HEARTBEAT_AT_REST_MAX", "30s"),
    ]);
    let proxy = Proxy::start(&node.address).await;
    let target = Target::new(vec![proxy.url.parse().unwrap()], node.token(rider(1)));
    let habits = Habits { pause_max: Duration::from_hours(24), ..Habits::default() };
    let mut link = Link::new(target, habits);
    let rests = |event| match event {
        Event::Frame(ServerFrame::Heartbeat { heartbeat_ms, .. }) => {
            (heartbeat_ms == Some(30_000)).then_some(())
        }
        _ => None,
    };
    told(&mut link, rests).await;
    proxy.cut();
    let waits = |event| match event {
        Event::State(State::Waiting { until }) => Some(until),
        _ => None,
    };
    let until = told(&mut link, waits).await;
    assert!(until > Instant::now() + Duration::from_secs(60), "it leaves the way to others");
    link.rouse();
    let welcome = |event| match event {
        Event::Welcome { resumed, .. } => Some(resumed),
        _ => None,
    };
    assert!(told(&mut link, welcome).await, "it goes on where it was");
    link.leave().await;
}

/// The next event that `pick` wants.
async fn told<T>(link: &mut Link, pick: impl Fn(Event) -> Option<T>) -> T {
    loop {
        let event = timeout(PATIENCE, link.next()).await.unwrap().unwrap();
        if let Some(picked) = pick(event) {
            return picked;
        }
    }
}

#[tokio::test]
async fn a_client_that_knows_several_nodes_finds_the_one_that_is_there() {
    let node = quick_node(&[]);
    let proxy = Proxy::start(&node.address).await;
    let nowhere = "ws://127.0.0.1:1/v1/ws";
    for _ in 0..4 {
        let known = [nowhere, nowhere, proxy.url.as_str()];
        let pauses = (Duration::from_millis(5), Duration::from_millis(5));
        let client =
            Client::builder(known, node.token(rider(1))).pauses(pauses.0, pauses.1).connect();
        place(&client.unwrap()).await;
    }
}

#[tokio::test]
async fn a_session_outlasts_its_token_and_a_token_that_is_not_believed_ends_it() {
    let node = quick_node(&[]);
    let proxy = Proxy::start(&node.address).await;
    let long = node.token_for(rider(1), "1h");
    let short = node.token_for(rider(1), "4s");
    let given = std::sync::Arc::new(std::sync::atomic::AtomicUsize::new(0));
    let counted = std::sync::Arc::clone(&given);
    let tokens = move || {
        let is_first = counted.fetch_add(1, std::sync::atomic::Ordering::SeqCst) == 0;
        let token = if is_first { short.clone() } else { long.clone() };
        async move { Ok(token) }
    };
    let client = Client::builder([proxy.url.as_str()], tokens).connect().unwrap();
    place(&client).await;
    // Longer than the first token is good for, and than a node's clocks may differ.
    tokio::time::sleep(Duration::from_millis(5_500)).await;
    assert_eq!(*client.state().borrow(), State::Open);
    place(&client).await;
    assert_eq!((proxy.n_ways(), given.load(std::sync::atomic::Ordering::SeqCst)), (1, 2));

    let pauses = (Duration::from_millis(5), Duration::from_millis(5));
    let stranger = Client::builder([proxy.url.as_str()], "a.b.c".to_owned());
    let stranger = stranger.pauses(pauses.0, pauses.1).connect().unwrap();
    until(&stranger, |state| matches!(state, State::Closed(Why::Disbelieved(_)))).await;
    assert!(matches!(stranger.command(delivery()).await, Err(NotDone::Closed)));
}

#[tokio::test]
async fn a_link_needs_no_task_and_tells_everything() {
    let node = quick_node(&[]);
    let address = node.websocket("").parse().unwrap();
    let mut link = Link::new(Target::new(vec![address], node.token(rider(1))), Habits::default());
    let id = protocol::CommandId::mint();
    link.command(id, delivery()).unwrap();
    let mut told = Vec::new();
    let is_answer = |event: &Event| matches!(event, Event::Answered(answer) if answer.id == id);
    while !told.last().is_some_and(is_answer) {
        told.push(timeout(PATIENCE, link.next()).await.unwrap().unwrap());
    }
    let welcome = told.iter().position(|it| matches!(it, Event::Welcome { resumed: false, .. }));
    let asked = told.iter().position(|it| *it == Event::Asked { id, n: 1 });
    assert!(welcome.is_some() && asked > welcome, "{told:?}");
    link.leave().await;
}

#[tokio::test]
async fn a_push_is_said_again_until_it_is_taken_and_not_after_that() {
    let node = quick_node(&[]);
    let address = node.websocket("").parse().unwrap();
    let mut link = Link::new(Target::new(vec![address], node.token(driver(1))), Habits::default());
    let riding = Client::builder([node.websocket("")], node.token(rider(1))).connect().unwrap();
    link.command(protocol::CommandId::mint(), on_duty()).unwrap();
    while !matches!(timeout(PATIENCE, link.next()).await.unwrap(), Some(Event::Answered(_))) {}
    link.position(at(&riding, PICKUP));
    let placing = tokio::spawn(async move { place(&riding).await });
    let (mut offered, mut n_again) = (None, 0);
    while n_again < 3 {
        match timeout(PATIENCE, link.next()).await.unwrap() {
            Some(Event::Push { id, push: Push::Offer(_) }) => offered = Some(id),
            Some(Event::PushedAgain(Push::Offer(_))) => n_again += 1,
            event => assert!(event.is_some()),
        }
    }
    placing.await.unwrap();
    link.taken(offered.unwrap());
    // Some may have been on their way. It is over once there is none for as long as several would take.
    let is_over = async {
        while n_again > 0 {
            n_again = 0;
            let listening = async {
                while let Some(event) = link.next().await {
                    n_again += u32::from(matches!(event, Event::PushedAgain(_)));
                }
            };
            assert!(timeout(Duration::from_millis(700), listening).await.is_err());
        }
    };
    timeout(PATIENCE, is_over).await.expect("it is not said again for ever");
}
