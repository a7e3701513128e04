//! Dispatchers of some regions: each sees what is in them and acts there, and what lies elsewhere is not there.

use crate::{
    client::{Client, now},
    control::{done, on_duty},
    node::{Node, driver, rider},
    rest::{Caller, assert_refused, json_of, ride},
    ride::{PICKUP, accept, go_on_duty, hear_offer, hear_status, place_ride, position},
    why::{node_that_looks_often, until},
};
use actors::zone::{neighbourhood, zones_at};
use protocol::{
    Code, CommandId, OrderId, OrderStatus, Point, Principal, ZoneId,
    codec::Codec,
    frame::{ClientFrame, Outcome, Push, Resume, ServerFrame, Topic},
    view::Mark,
    work::{DriverAction, DutyWish, OrderAction, Sos, Wish},
};
use serde_json::{Value, json};
use std::{collections::BTreeSet, time::Duration};

/// Some kilometres from the pickup: in another region.
fn far() -> Point {
    PICKUP.offset_m(9_000.0, 0.0)
}

/// A dispatcher of some regions, who was told of which.
async fn connect(node: &Node, regions: &[ZoneId]) -> Client {
    let mut client = Client::stranger(node, Codec::MsgPack).await;
    client.identify(&node.token_of(regions)).await;
    assert_eq!(hear_regions(&mut client).await, regions);
    client
}

/// The regions of the next welcome.
async fn hear_regions(client: &mut Client) -> Vec<ZoneId> {
    client
        .hear_any(|frame| match frame {
            ServerFrame::Welcome { regions, .. } => Some(regions),
            _ => None,
        })
        .await
}

/// Why a topic ends.
async fn hear_unsubscribed(client: &mut Client, wanted: &Topic) -> Code {
    client
        .hear_any(|frame| match frame {
            ServerFrame::Unsubscribed { topic, refused } if topic == *wanted => Some(refused.code),
            _ => None,
        })
        .await
}

/// What a board shows.
#[derive(Default)]
struct Shown(BTreeSet<String>);

impl Shown {
    /// Hears of the board until it shows these, and no others.
    async fn hear(&mut self, client: &mut Client, wanted: &[String]) {
        let wanted: BTreeSet<String> = wanted.iter().cloned().collect();
        while self.0 != wanted {
            let board = client.hear_any(|frame| match frame {
                ServerFrame::Board(board) => Some(board),
                _ => None,
            });
            let board = board.await;
            if board.full {
                self.0.clear();
            }
            self.0.extend(board.marks.iter().map(|mark| match mark {
                Mark::Driver { id, .. } => id.to_string(),
                Mark::Order { id, .. } => id.to_string(),
                Mark::Rescue { id, .. } => id.to_string(),
            }));
            for id in &board.gone {
                self.0.remove(id);
            }
            let n_told: u32 = board.counters.drivers.values().sum();
            let n_drivers = self.0.iter().filter(|id| id.starts_with("driver-")).count();
            assert_eq!(n_told as usize, n_drivers, "{board:?}");
        }
    }
}

/// An order somewhere, which nobody has accepted.
async fn place_at(node: &Node, n: u64, at: Point) -> OrderId {
    let mut order = ride();
    order["stops"] = json!([{ "at": at }, { "at": at.offset_m(1_500.0, 0.0) }]);
    let placed = Caller::new(node, rider(n)).post("/v1/orders", &order).await;
    json_of(placed).await["actor"].as_str().unwrap().parse().unwrap()
}

/// The ids of a list.
fn ids(page: &Value) -> BTreeSet<String> {
    let items = page["items"].as_array().unwrap_or_else(|| panic!("{page}"));
    items.iter().map(|it| it["id"].as_str().unwrap().to_owned()).collect()
}

/// The drivers among what was looked for.
fn drivers_of(found: &Value) -> BTreeSet<String> {
    let all = found.as_array().into_iter().flatten();
    all.filter_map(|it| it["driver"]["id"].as_str().map(str::to_owned)).collect()
}

#[tokio::test]
async fn each_sees_and_does_what_is_in_its_regions_and_everywhere_is_everything() {
    let node = node_that_looks_often();
    let [one, other] = [PICKUP, far()].map(neighbourhood);
    let here = Caller::with(&node, node.token_of(&[one]));
    let there = Caller::with(&node, node.token_of(&[other]));
    let all = [Principal::Dispatcher, Principal::Admin].map(|by| Caller::new(&node, by));
    let _near = on_duty(&node, 1, 0.0).await;
    let _far = on_duty(&node, 2, 9_000.0).await;
    let orders = [place_at(&node, 8, PICKUP).await, place_at(&node, 9, far()).await];
    let [mine, theirs] = orders.map(|it| it.to_string());

    // Lists.
    let both = BTreeSet::from([mine.clone(), theirs.clone()]);
    for caller in &all {
        until(caller, "/v1/orders", |page| ids(page) == both).await;
    }
    until(&here, "/v1/orders", |page| ids(page) == [mine.clone()].into()).await;
    until(&there, "/v1/orders?limit=1", |page| ids(page) == [theirs.clone()].into()).await;

    // One thing, and what else is told of it.
    for caller in all.iter().chain([&here]) {
        let path = format!("/v1/drivers/{}", driver(1));
        until(caller, &path, |view| view["position"].is_object()).await;
    }
    let (rider, driver) = (rider(8).to_string(), driver(1).to_string());
    let has_job = |view: &Value| view["jobs"].as_array().is_some_and(|jobs| !jobs.is_empty());
    until(&here, &format!("/v1/riders/{rider}"), has_job).await;
    let told = [
        format!("/v1/orders/{mine}"),
        format!("/v1/orders/{mine}/match-trace"),
        format!("/v1/drivers/{driver}"),
        format!("/v1/drivers/{driver}/why-no-offers"),
        format!("/v1/riders/{rider}"),
        format!("/v1/actors/{mine}"),
        format!("/v1/actors/{mine}?version=1"),
        format!("/v1/actors/{mine}/history"),
        format!("/v1/actors/{mine}/residence"),
        format!("/v1/actors/{driver}"),
    ];
    for path in &told {
        for caller in all.iter().chain([&here]) {
            assert_eq!(caller.get(path).await.status().as_u16(), 200, "{path}");
        }
        assert_refused(there.get(path).await, 404, "not_found").await;
    }
    // Whether it exists or not makes no difference.
    let nothing = OrderId::nth(999).to_string();
    let [hidden, absent] = [&mine, &nothing].map(|id| format!("/v1/orders/{id}"));
    let hidden = json_of(there.get(&hidden).await).await.to_string();
    let absent = json_of(there.get(&absent).await).await.to_string();
    assert_eq!(hidden.replace(&mine, &nothing), absent);

    // Who is looked for.
    let marks = "/v1/marks?text=driver";
    until(&all[0], marks, |page| drivers_of(page).len() == 2).await;
    until(&here, marks, |page| drivers_of(page) == [driver.clone()].into()).await;

    // What is done.
    let cancel = json!({ "cancel": { "reason": "a test" } });
    let actions = |id: &str| format!("/v1/orders/{id}/actions");
    assert_refused(there.post(&actions(&mine), &cancel).await, 404, "not_found").await;
    assert_refused(there.post(&actions(&nothing), &cancel).await, 404, "not_found").await;
    let assign =
        json!({ "assign": { "driver": crate::control::nth(2).to_string(), "reason": "x" } });
    assert_refused(here.post(&actions(&mine), &assign).await, 404, "not_found").await;
    let suspend = json!({ "suspend": { "reason": "a test" } });
    let path = format!("/v1/drivers/{driver}/actions");
    assert_refused(there.post(&path, &suspend).await, 404, "not_found").await;
    let message = json!({ "message": { "text": "hello" } });
    let path = format!("/v1/riders/{rider}/actions");
    assert_refused(there.post(&path, &message).await, 404, "not_found").await;
    done(&here, &path, message).await;
    done(&here, &actions(&mine), cancel).await;
    assert_refused(here.get("/v1/events").await, 403, "forbidden").await;
    assert_eq!(all[0].get("/v1/events").await.status().as_u16(), 200);
}

#[tokio::test]
async fn nothing_is_begun_and_no_zone_is_paused_elsewhere() {
    let node = Node::start();
    let [one, other] = [PICKUP, far()].map(neighbourhood);
    let here = Caller::with(&node, node.token_of(&[one]));
    let everywhere = Caller::new(&node, Principal::Dispatcher);
    let mut order = ride();
    order["rider"] = json!(rider(8).to_string());
    order["stops"] = json!([{ "at": far() }, { "at": PICKUP }]);
    let refused = json_of(here.post("/v1/orders", &order).await).await;
    assert_eq!(refused["code"], "forbidden", "{refused}");
    assert!(refused["message"].as_str().unwrap().contains(&one.to_string()), "{refused}");
    order["stops"] = json!([{ "at": PICKUP }, { "at": far() }]);
    assert_eq!(here.post("/v1/orders", &order).await.status().as_u16(), 201);
    let quote =
        |from: Point, to: Point| json!({ "kind": "ride", "stops": [{ "at": from }, { "at": to }] });
    let asked = here.post("/v1/quotes", &quote(far(), PICKUP)).await;
    assert_refused(asked, 403, "forbidden").await;
    let asked = here.post("/v1/quotes", &quote(PICKUP, far())).await;
    assert_eq!(asked.status().as_u16(), 200);

    let pause = json!({ "pause": { "reason": "a flood" } });
    let actions = |zone: ZoneId| format!("/v1/zones/{zone}/actions");
    assert_refused(here.post(&actions(other), &pause).await, 403, "forbidden").await;
    // Most of a larger one is somebody else's.
    let larger = zones_at(PICKUP).next().unwrap();
    assert_refused(here.post(&actions(larger), &pause).await, 403, "forbidden").await;
    done(&everywhere, &actions(other), pause.clone()).await;
    done(&here, &actions(one), pause).await;
    until(&everywhere, "/v1/zones", |page| ids(page).len() == 2).await;
    until(&here, "/v1/zones", |page| ids(page) == [one.to_string()].into()).await;
    assert_eq!(here.get(&format!("/v1/zones/{larger}")).await.status().as_u16(), 200);
    assert_refused(here.get(&format!("/v1/zones/{other}")).await, 403, "forbidden").await;
    let at = |at: Point| format!("/v1/zones/at?lat={}&lon={}", at.lat, at.lon);
    assert_eq!(here.get(&at(PICKUP)).await.status().as_u16(), 200);
    assert_refused(here.get(&at(far())).await, 403, "forbidden").await;
}

#[tokio::test]
async fn who_drives_over_the_border_leaves_one_board_and_comes_on_the_other() {
    let node = Node::start();
    // Small ones: nobody drives kilometres in a moment.
    let end = PICKUP.offset_m(0.0, 600.0);
    let [one, other] = [PICKUP, end].map(|at| zones_at(at).last().unwrap());
    assert_ne!(one, other);
    let mut driving = Client::connect(&node, driver(1)).await;
    go_on_duty(&mut driving, PICKUP).await;
    let order = place_at(&node, 9, PICKUP).await.to_string();
    let (id, staff) = (driver(1).to_string(), Caller::new(&node, Principal::Dispatcher));
    let path = format!("/v1/drivers/{id}");
    until(&staff, &path, |view| view["position"].is_object()).await;

    let (mut here, mut there) = (connect(&node, &[one]).await, connect(&node, &[other]).await);
    let mut following = connect(&node, &[one]).await;
    let mut everywhere = Client::connect(&node, Principal::Admin).await;
    let (mut shown_here, mut shown_there) = (Shown::default(), Shown::default());
    let mut shown = Shown::default();
    let topic = Topic::Driver(crate::control::nth(1));
    for client in [&mut here, &mut there, &mut everywhere] {
        client.subscribe(Topic::Board).await;
    }
    let both = [id.clone(), order.clone()];
    shown_here.hear(&mut here, &both).await;
    shown.hear(&mut everywhere, &both).await;
    following.subscribe(topic.clone()).await;
    following.hear_any(|frame| matches!(frame, ServerFrame::Driver(_)).then_some(())).await;
    there.subscribe(topic.clone()).await;
    assert_eq!(hear_unsubscribed(&mut there, &topic).await, Code::NotFound);

    for n in 1..=4 {
        let at = PICKUP.offset_m(0.0, 150.0 * f64::from(n));
        driving.say(&position(at)).await;
        let is_there = |view: &Value| {
            let lat = view["position"]["at"]["lat"].as_f64();
            lat.is_some_and(|lat| (lat - at.lat).abs() < 1e-5)
        };
        until(&staff, &path, is_there).await;
    }
    assert_eq!(hear_unsubscribed(&mut following, &topic).await, Code::NotFound);
    shown_here.hear(&mut here, &[order]).await;
    shown_there.hear(&mut there, &[id]).await;
    shown.hear(&mut everywhere, &both).await;
    there.subscribe(topic.clone()).await;
    there.hear_any(|frame| matches!(frame, ServerFrame::Driver(_)).then_some(())).await;
}

#[tokio::test]
async fn a_job_of_elsewhere_is_there_as_long_as_its_driver_is() {
    let node = node_that_looks_often();
    // The driver waits some hundred metres from the pickup, in another small zone.
    let away = PICKUP.offset_m(600.0, 0.0);
    let mut driving = Client::connect(&node, driver(1)).await;
    go_on_duty(&mut driving, away).await;
    let [one, other] = [PICKUP, away].map(|at| zones_at(at).last().unwrap());
    assert_ne!(one, other);
    let mut waiting = Client::connect(&node, rider(9)).await;
    let order = place_ride(&mut waiting).await;
    let offer = hear_offer(&mut driving).await;
    let there = Caller::with(&node, node.token_of(&[other]));
    let path = format!("/v1/orders/{order}");
    assert_refused(there.get(&path).await, 404, "not_found").await;
    accept(&mut driving, &offer).await;
    hear_status(&mut waiting, OrderStatus::Assigned).await;
    until(&there, &path, |view| view["status"] == "assigned").await;
    until(&there, "/v1/orders", |page| ids(page) == [order.to_string()].into()).await;

    let mut looking = connect(&node, &[other]).await;
    looking.subscribe(Topic::Order(order)).await;
    hear_status(&mut looking, OrderStatus::Assigned).await;
    // It is over: where its driver is does not matter any more.
    let action = OrderAction::Cancel { reason: "a test".to_owned() };
    let cancelled = waiting.wish(Wish::Order { id: order, action }).await;
    assert!(matches!(cancelled, Outcome::Ok(_)), "{cancelled:?}");
    assert_eq!(hear_unsubscribed(&mut looking, &Topic::Order(order)).await, Code::NotFound);
    until(&there, &path, |view| view["code"] == "not_found").await;
    until(&there, "/v1/orders", |page| ids(page).is_empty()).await;
}

#[tokio::test]
async fn a_newer_token_of_other_regions_counts_and_what_is_not_in_them_is_told_no_more() {
    let node = Node::start();
    let [one, other] = [PICKUP, far()].map(neighbourhood);
    let orders = [place_at(&node, 8, PICKUP).await, place_at(&node, 9, far()).await];
    let names = orders.map(|it| it.to_string());
    let mut regions = [one, other];
    regions.sort();
    let mut looking = connect(&node, &regions).await;
    let mut shown = Shown::default();
    looking.subscribe(Topic::Board).await;
    shown.hear(&mut looking, &names).await;
    let topics = orders.map(Topic::Order);
    for topic in &topics {
        looking.subscribe(topic.clone()).await;
        looking.hear_any(|frame| matches!(frame, ServerFrame::Order(_)).then_some(())).await;
    }

    looking.identify(&node.token_of(&[one])).await;
    assert_eq!(hear_regions(&mut looking).await, [one]);
    assert_eq!(hear_unsubscribed(&mut looking, &topics[1]).await, Code::NotFound);
    // What was said of the board meanwhile was not listened to.
    looking.subscribe(Topic::Board).await;
    shown.hear(&mut looking, &names[..1]).await;
    let action = OrderAction::Cancel { reason: "a test".to_owned() };
    let Outcome::Refused(refused) =
        looking.wish(Wish::Order { id: orders[1], action: action.clone() }).await
    else {
        panic!("it is elsewhere")
    };
    assert_eq!(refused.code, Code::NotFound);
    let cancelled = looking.wish(Wish::Order { id: orders[0], action }).await;
    assert!(matches!(cancelled, Outcome::Ok(_)), "{cancelled:?}");
    // Everywhere is told as well, and nothing is kept back any more.
    looking.identify(&node.token(Principal::Dispatcher)).await;
    assert!(hear_regions(&mut looking).await.is_empty());
    looking.subscribe(topics[1].clone()).await;
    looking.hear_any(|frame| matches!(frame, ServerFrame::Order(_)).then_some(())).await;
}

#[tokio::test]
async fn a_session_goes_on_with_a_token_of_its_regions_only() {
    let node = Node::start();
    let [one, other] = [PICKUP, far()].map(neighbourhood);
    let going = async |at: Resume, regions: &[ZoneId]| {
        let mut client = Client::stranger(&node, Codec::MsgPack).await;
        let token = node.token_of(regions);
        client.say(&ClientFrame::Identify { token, resume: Some(at) }).await;
        let is_resumed = client.is_resumed().await;
        (client, is_resumed)
    };
    let at = connect(&node, &[one]).await.cut();
    let (client, is_resumed) = going(at, &[one]).await;
    assert!(is_resumed);
    let (client, is_resumed) = going(client.cut(), &[other]).await;
    assert!(!is_resumed, "it would be told again what is of other regions");
    let (_client, is_resumed) = going(client.cut(), &[other]).await;
    assert!(is_resumed);

    // What it was told before its regions became others is not told it again.
    let order = place_at(&node, 9, far()).await;
    let mut client = connect(&node, &[other]).await;
    client.subscribe(Topic::Order(order)).await;
    client.hear_any(|frame| matches!(frame, ServerFrame::Order(_)).then_some(())).await;
    client.identify(&node.token_of(&[one])).await;
    assert_eq!(hear_regions(&mut client).await, [one]);
    assert_eq!(hear_unsubscribed(&mut client, &Topic::Order(order)).await, Code::NotFound);
    let nothing = Resume { heard: 0, ..client.cut() };
    let (_client, is_resumed) = going(nothing, &[one]).await;
    assert!(!is_resumed);
}

#[tokio::test]
async fn a_call_for_help_tells_nobody_whose_a_job_of_elsewhere_is() {
    let node = Node::start();
    let here = Caller::with(&node, node.token_of(&[neighbourhood(PICKUP)]));
    let [mine, theirs] = [place_at(&node, 8, PICKUP).await, place_at(&node, 9, far()).await];
    for (order, is_told) in [(theirs, false), (OrderId::nth(999), false), (mine, true)] {
        let sos = json!({ "job": { "order": order.to_string() }, "mock": true });
        let raised = here.post("/v1/sos", &sos).await;
        assert_eq!(raised.status().as_u16(), 201, "{order}");
        let incident = json_of(raised).await["actor"].as_str().unwrap().to_owned();
        let view = json_of(here.get(&format!("/v1/incidents/{incident}")).await).await;
        assert_eq!(view["job"]["order"] == order.to_string(), is_told, "{view}");
        let others = view["others"].as_array().is_some_and(|others| !others.is_empty());
        assert_eq!(others, is_told, "{view}");
    }
}

#[tokio::test]
async fn what_begins_here_is_not_moved_elsewhere_before_it_has_begun() {
    let node = Node::start();
    let here = Caller::with(&node, node.token_of(&[neighbourhood(PICKUP)]));
    let everywhere = Caller::new(&node, Principal::Dispatcher);
    let mut order = ride();
    order["rider"] = json!(rider(8).to_string());
    order["start_at"] = json!(now() + Duration::from_secs(2 * 3_600));
    let placed = json_of(here.post("/v1/orders", &order).await).await;
    let actions = format!("/v1/orders/{}/actions", placed["actor"].as_str().unwrap());
    let stops =
        |all: [Point; 2]| json!({ "modify_stops": { "stops": all.map(|at| json!({ "at": at })) } });
    let moved = here.post(&actions, &stops([far(), PICKUP])).await;
    assert_refused(moved, 403, "forbidden").await;
    done(&here, &actions, stops([PICKUP, far()])).await;
    done(&everywhere, &actions, stops([far(), PICKUP])).await;

    // So vague that somebody must find out where it is.
    let rescue = json!({
        "issue": "flat_tyre", "at": { "at": PICKUP }, "accuracy_m": 50_000, "rider": rider(7).to_string(),
    });
    let requested = json_of(here.post("/v1/rescues", &rescue).await).await;
    let actions = format!("/v1/rescues/{}/actions", requested["actor"].as_str().unwrap());
    let locate = |at: Point| json!({ "locate": { "at": { "at": at } } });
    assert_refused(here.post(&actions, &locate(far())).await, 403, "forbidden").await;
    done(&here, &actions, locate(PICKUP.offset_m(20.0, 0.0))).await;
}

#[tokio::test]
async fn a_driver_who_is_nowhere_is_seen_from_everywhere_and_let_work_again() {
    let node = Node::start();
    let [here, there] =
        [PICKUP, far()].map(|at| Caller::with(&node, node.token_of(&[neighbourhood(at)])));
    let _driving = on_duty(&node, 1, 0.0).await;
    let (id, nobody) = (driver(1).to_string(), driver(999).to_string());
    let path = format!("/v1/drivers/{id}");
    let actions = format!("{path}/actions");
    until(&here, &path, |view| view["position"].is_object()).await;
    assert_refused(there.get(&path).await, 404, "not_found").await;
    let suspend = json!({ "suspend": { "reason": "a test", "reassign": true } });
    done(&here, &actions, suspend.clone()).await;

    let message = json!({ "message": { "text": "hello" } });
    for caller in [&here, &there] {
        let has_left = |view: &Value| view["id"] == id && !view["position"].is_object();
        until(caller, &path, has_left).await;
        for path in [format!("/v1/actors/{id}/history"), format!("{path}/why-no-offers")] {
            assert_eq!(caller.get(&path).await.status().as_u16(), 200, "{path}");
        }
        assert_refused(caller.get(&format!("/v1/drivers/{nobody}")).await, 404, "not_found").await;
        done(caller, &actions, message.clone()).await;
    }
    assert_refused(there.post(&actions, &suspend).await, 403, "forbidden").await;
    done(&here, &actions, json!({ "reinstate": {} })).await;
}

#[tokio::test]
async fn what_is_vouched_for_counts_everywhere_so_that_dispatchers_of_some_regions_do_not() {
    let node = Node::start();
    let [here, there] =
        [PICKUP, far()].map(|at| Caller::with(&node, node.token_of(&[neighbourhood(at)])));
    let _driving = on_duty(&node, 1, 0.0).await;
    let path = format!("/v1/drivers/{}", driver(1));
    let actions = format!("{path}/actions");
    until(&here, &path, |view| view["position"].is_object()).await;
    let said = json!({ "skill": "certificate.hazmat", "reason": "seen at the office" });
    let grant = json!({ "grant_skill": said });
    assert_refused(there.post(&actions, &grant).await, 404, "not_found").await;
    assert_refused(here.post(&actions, &grant).await, 403, "forbidden").await;
    assert_eq!(json_of(here.get(&path).await).await.get("grants"), None);
    done(&Caller::new(&node, Principal::Dispatcher), &actions, grant).await;
    let shown = json_of(here.get(&path).await).await;
    assert_eq!(shown["grants"], json!([{ "skill": "certificate.hazmat" }]));
    // That somebody vouches for it no more is no harm anywhere.
    done(&here, &actions, json!({ "revoke_skill": said })).await;
    assert_eq!(json_of(here.get(&path).await).await.get("grants"), None);
}

#[tokio::test]
async fn who_asks_again_hears_what_was_done_although_it_led_out_of_its_regions() {
    let node = node_that_looks_often();
    let away = PICKUP.offset_m(600.0, 0.0);
    let mut driving = Client::connect(&node, driver(1)).await;
    go_on_duty(&mut driving, away).await;
    let mut waiting = Client::connect(&node, rider(9)).await;
    let order = place_ride(&mut waiting).await;
    let offer = hear_offer(&mut driving).await;
    accept(&mut driving, &offer).await;
    let other = zones_at(away).last().unwrap();
    let there = Caller::with(&node, node.token_of(&[other]));
    let path = format!("/v1/orders/{order}");
    until(&there, &path, |view| view["status"] == "assigned").await;

    let mut staff = connect(&node, &[other]).await;
    let action = OrderAction::Cancel { reason: "a test".to_owned() };
    let cancel = Wish::Order { id: order, action };
    let id = CommandId::mint();
    let first = staff.wish_as(id, cancel.clone()).await;
    assert!(matches!(first, Outcome::Ok(_)), "{first:?}");
    assert_refused(there.get(&path).await, 404, "not_found").await;
    assert_eq!(staff.wish_as(id, cancel.clone()).await, first);
    let Outcome::Refused(refused) = staff.wish(cancel).await else { panic!("it is elsewhere") };
    assert_eq!(refused.code, Code::NotFound);
}

#[tokio::test]
async fn who_is_here_is_found_among_many_of_elsewhere() {
    let node = Node::start();
    let here = Caller::with(&node, node.token_of(&[neighbourhood(PICKUP)]));
    let everywhere = Caller::new(&node, Principal::Dispatcher);
    let mut driving = Vec::new();
    // Whoever is elsewhere comes first.
    for n in 1..=6 {
        driving.push(on_duty(&node, n, if n <= 3 { 9_000.0 } else { 0.0 }).await);
    }
    let some = |numbers: &[u64]| -> BTreeSet<String> {
        numbers.iter().map(|n| driver(*n).to_string()).collect()
    };
    let marks = "/v1/marks?text=driver";
    until(&everywhere, marks, |page| drivers_of(page).len() == 6).await;
    until(&here, marks, |page| drivers_of(page) == some(&[4, 5, 6])).await;
    until(&here, &format!("{marks}&limit=2"), |page| drivers_of(page) == some(&[4, 5])).await;
    until(&here, "/v1/drivers", |page| ids(page) == some(&[4, 5, 6])).await;
    until(&everywhere, "/v1/drivers", |page| ids(page) == some(&[1, 2, 3, 4, 5, 6])).await;
    // Who does not work is nowhere, and so is seen from everywhere.
    let off = Wish::Driver {
        id: None,
        action: DriverAction::SetDuty { duty: DutyWish::Off, vehicle: None },
    };
    assert!(matches!(driving[0].wish(off).await, Outcome::Ok(_)));
    let suspend = json!({ "suspend": { "reason": "a test", "reassign": true } });
    done(&everywhere, &format!("/v1/drivers/{}/actions", driver(2)), suspend).await;
    for (path, who) in
        [("?status=offline", &[1][..]), ("?status=blocked", &[2]), ("", &[1, 2, 4, 5, 6])]
    {
        until(&here, &format!("/v1/drivers{path}"), |page| ids(page) == some(who)).await;
    }
}

#[tokio::test]
async fn who_calls_for_help_is_heard_by_everybody_wherever_that_is() {
    let node = Node::start();
    let other = neighbourhood(far());
    let mut there = connect(&node, &[other]).await;
    let staff = Caller::with(&node, node.token_of(&[other]));
    let mut calling = on_duty(&node, 1, 0.0).await;
    let Outcome::Ok(called) = calling.wish(Wish::Sos(Sos::default())).await else {
        panic!("heard")
    };
    let incident = there.hear_push(|push| match push {
        Push::Incident(view) => Some(view.id.to_string()),
        _ => None,
    });
    assert_eq!(incident.await, called.actor);
    let path = format!("/v1/incidents/{}", called.actor);
    let actions = format!("{path}/actions");
    until(&staff, "/v1/incidents", |page| ids(page) == [called.actor.clone()].into()).await;
    done(&staff, &actions, json!({ "ack": {} })).await;
    // Until it is over: then it is of where it was.
    let everywhere = Caller::new(&node, Principal::Dispatcher);
    let seen = json_of(everywhere.get(&path).await).await;
    let resolve = json!({ "resolve": { "resolution": "helped" } });
    done(&everywhere, &actions, resolve).await;
    let is_somewhere = seen["position"].is_object();
    until(&staff, &path, |view| (view["code"] == "not_found") == is_somewhere).await;
}

#[test]
fn only_dispatchers_are_of_regions_and_only_of_some_that_there_are() {
    let node = Node::start();
    let zone = neighbourhood(PICKUP).to_string();
    let refused = node.minted(&["--role", "admin", "--region", &zone]).unwrap_err();
    assert!(refused.contains("only dispatchers"), "{refused}");
    let refused = node.minted(&["--role", "dispatcher", "--region", "kigali"]).unwrap_err();
    assert!(refused.contains("\"kigali\" is no cell"), "{refused}");
    let many = ["--region", zone.as_str()].repeat(65);
    let args = [vec!["--role", "dispatcher"], many].concat();
    let refused = node.minted(&args).unwrap_err();
    assert!(refused.contains("64 at most"), "{refused}");
}
