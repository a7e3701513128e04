//! Calls for help: every dispatcher hears of each, on every node, until somebody sees to it.

use crate::{
    client::Client,
    cluster::{Shared, is_shared_by, seen},
    node::{Node, driver, rider},
    rest::{Caller, assert_refused, json_of},
    ride::{PICKUP, accept, act, go_on_duty, hear_offer, hear_status, place_ride},
};
use protocol::{
    Code, CommandId, IncidentId, IncidentStatus, JobId, OrderId, OrderStatus, Principal,
    frame::{ClientFrame, Outcome, Push, Resume, ServerFrame, Topic},
    view::IncidentView,
    work::{IncidentAction, IncidentKind, OrderAction, Resolution, Sos, Wish},
};
use reqwest::StatusCode;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::time::{Instant, timeout};

/// How often pushes are said again here.
const AGAIN: (&str, &str) = ("GATEWAY__SESSION__PUSH_AGAIN", "300ms");
/// Longer than that, and shorter than anybody's patience.
const A_WHILE: Duration = Duration::from_millis(900);

async fn raise(client: &mut Client, job: Option<OrderId>) -> IncidentId {
    let sos = Sos { job: job.map(JobId::Order), ..Sos::default() };
    id_of(client.wish(Wish::Sos(sos)).await)
}

fn id_of(outcome: Outcome) -> IncidentId {
    let Outcome::Ok(done) = outcome else { panic!("{outcome:?}") };
    done.actor.parse().unwrap()
}

async fn see_to(client: &mut Client, id: IncidentId, action: IncidentAction) {
    let outcome = client.wish(Wish::Incident { id, action: action.clone() }).await;
    assert!(matches!(outcome, Outcome::Ok(_)), "{action:?}: {outcome:?}");
}

/// The next call, with its number; it is not acknowledged.
async fn hear_call(client: &mut Client) -> (u64, IncidentView) {
    client
        .hear_any(|frame| match frame {
            ServerFrame::Push { n, push: Push::Incident(view) } => Some((n, *view)),
            _ => None,
        })
        .await
}

async fn hear_heeded(client: &mut Client) -> IncidentId {
    client
        .hear_push(|push| match push {
            Push::IncidentHeeded { incident } => Some(incident),
            _ => None,
        })
        .await
}

async fn hear_incident(client: &mut Client, wanted: IncidentStatus) -> IncidentView {
    client
        .hear_any(|frame| match frame {
            ServerFrame::Incident(view) if view.status == wanted => Some(*view),
            _ => None,
        })
        .await
}

/// What is pushed within a while.
async fn pushed_meanwhile(client: &mut Client) -> Vec<(u64, Push)> {
    let mut pushed = Vec::new();
    let until = Instant::now() + A_WHILE;
    let hearing = async {
        loop {
            if let ServerFrame::Push { n, push } = client.hear().await {
                pushed.push((n, push));
            }
        }
    };
    assert!(tokio::time::timeout_at(until, hearing).await.is_err());
    pushed
}

/// Everybody said so far is heard: what comes after this came later.
async fn nothing_until_now(client: &mut Client, is_unwanted: impl Fn(&ServerFrame) -> bool) {
    client.say(&ClientFrame::Heartbeat { heard: None }).await;
    loop {
        let frame = client.hear().await;
        assert!(!is_unwanted(&frame), "{frame:?}");
        if matches!(frame, ServerFrame::Heartbeat { .. }) {
            return;
        }
    }
}

#[tokio::test]
async fn a_call_is_pushed_to_all_staff_until_each_has_it_and_not_when_somebody_sees_to_it() {
    let node = Node::with(&[AGAIN]);
    let mut first = Client::connect(&node, Principal::Dispatcher).await;
    let mut second = Client::connect(&node, Principal::Admin).await;
    let mut calling = Client::connect(&node, driver(1)).await;
    let began = Instant::now();
    // A driver without a job.
    let id = raise(&mut calling, None).await;
    let (n, view) = hear_call(&mut first).await;
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());
    assert_eq!((view.id, view.raised_by, view.calling), (id, driver(1), true));
    let (m, _) = hear_call(&mut second).await;
    let mine = hear_incident(&mut calling, IncidentStatus::Open).await;
    assert_eq!((mine.id, mine.version), (id, 1));

    // One has it, and is not told again; the other is.
    first.say(&ClientFrame::Ack { n }).await;
    let (first_hears, second_hears) =
        tokio::join!(pushed_meanwhile(&mut first), pushed_meanwhile(&mut second));
    assert_eq!(first_hears, []);
    let is_same =
        |(n, push): &(u64, Push)| *n == m && matches!(push, Push::Incident(view) if view.id == id);
    assert!(second_hears.len() >= 2 && second_hears.iter().all(is_same), "{second_hears:?}");

    // Somebody sees to it: nobody needs to hear of it any more, but that.
    see_to(&mut first, id, IncidentAction::Ack {}).await;
    assert_eq!(hear_heeded(&mut second).await, id);
    assert_eq!(hear_heeded(&mut first).await, id);
    assert_eq!(pushed_meanwhile(&mut second).await, []);
    let mine = hear_incident(&mut calling, IncidentStatus::Acked).await;
    assert!(mine.acked_at.is_some() && !mine.calling);

    // More is needed: everybody is called again.
    see_to(&mut first, id, IncidentAction::Escalate { reason: "armed".to_owned() }).await;
    let (n, view) = hear_call(&mut second).await;
    assert_eq!((view.escalations, view.note.as_deref()), (1, Some("armed")));
    second.say(&ClientFrame::Ack { n }).await;
    see_to(&mut second, id, IncidentAction::Ack {}).await;
    see_to(&mut second, id, IncidentAction::AddResponder { name: "police".to_owned() }).await;
    let resolution = Resolution::Helped;
    see_to(&mut second, id, IncidentAction::Resolve { resolution, note: String::new() }).await;
    let mine = hear_incident(&mut calling, IncidentStatus::Resolved).await;
    assert_eq!((mine.responders, mine.note), (vec!["police".to_owned()], None));
    // Whoever calls then, calls anew.
    assert_ne!(raise(&mut calling, None).await, id);
}

#[tokio::test]
async fn whoever_comes_back_hears_what_was_not_acknowledged_and_what_came_meanwhile() {
    let node = Node::with(&[AGAIN]);
    let mut staff = Client::connect(&node, Principal::Dispatcher).await;
    let mut calling = Client::connect(&node, rider(1)).await;
    let mut other = Client::connect(&node, rider(2)).await;
    let first = raise(&mut calling, None).await;
    let (n, _) = hear_call(&mut staff).await;
    // What it has, it is not told again; what it has not, it is, under the same number.
    staff.say(&ClientFrame::Ack { n }).await;
    nothing_until_now(&mut staff, |_| false).await;
    let second = raise(&mut other, None).await;
    let (n, view) = hear_call(&mut staff).await;
    assert_eq!(view.id, second);
    let (mut staff, is_resumed) = Client::resume(&node, Principal::Dispatcher, staff.cut()).await;
    assert!(is_resumed);
    let heard = pushed_meanwhile(&mut staff).await;
    assert!(!heard.is_empty());
    for (again, push) in &heard {
        let Push::Incident(view) = push else { panic!("{push:?}") };
        assert_eq!((*again, view.id), (n, second));
    }
    staff.say(&ClientFrame::Ack { n }).await;
    nothing_until_now(&mut staff, |_| false).await;

    // While it is away, one is seen to and another one calls.
    let at = staff.cut();
    let mut colleague = Client::connect(&node, Principal::Admin).await;
    see_to(&mut colleague, first, IncidentAction::Ack {}).await;
    let third = raise(&mut Client::connect(&node, rider(3)).await, None).await;
    let (mut staff, is_resumed) = Client::resume(&node, Principal::Dispatcher, at).await;
    assert!(is_resumed);
    let mut heard = [hear_next(&mut staff).await, hear_next(&mut staff).await];
    heard.sort();
    let mut wanted = [(false, first), (true, third)];
    wanted.sort();
    assert_eq!(heard, wanted);

    // And who begins anew hears of all that call.
    let mut anew = Client::connect(&node, Principal::Dispatcher).await;
    let mut heard = [hear_next(&mut anew).await, hear_next(&mut anew).await];
    heard.sort();
    let mut wanted = [(true, second), (true, third)];
    wanted.sort();
    assert_eq!(heard, wanted);
}

/// The next push about an incident, acknowledged: does it call?
async fn hear_next(client: &mut Client) -> (bool, IncidentId) {
    client
        .hear_push(|push| match push {
            Push::Incident(view) => Some((true, view.id)),
            Push::IncidentHeeded { incident } => Some((false, incident)),
            _ => None,
        })
        .await
}

#[tokio::test]
async fn the_other_side_of_the_job_hears_nothing_of_it_and_strangers_cannot_call_in_it() {
    let node = Node::start();
    let mut driving = Client::connect(&node, driver(1)).await;
    go_on_duty(&mut driving, PICKUP.offset_m(60.0, 0.0)).await;
    let mut riding = Client::connect(&node, rider(1)).await;
    let order = place_ride(&mut riding).await;
    let offer = hear_offer(&mut driving).await;
    accept(&mut driving, &offer).await;
    hear_status(&mut riding, OrderStatus::Assigned).await;

    let id = raise(&mut riding, Some(order)).await;
    assert_eq!(raise(&mut riding, Some(order)).await, id, "one call, however often");
    hear_incident(&mut riding, IncidentStatus::Open).await;
    driving.subscribe(Topic::Incident(id)).await;
    let refused = driving
        .hear_any(|frame| match frame {
            ServerFrame::Incident(view) => panic!("{view:?}"),
            ServerFrame::Unsubscribed { topic: Topic::Incident(it), refused } if it == id => {
                Some(refused)
            }
            _ => None,
        })
        .await;
    assert_eq!(refused.code, Code::NotFound);
    let path = format!("/v1/incidents/{id}");
    let [of_rider, of_driver, of_staff] =
        [rider(1), driver(1), Principal::Dispatcher].map(|by| Caller::new(&node, by));
    assert_refused(of_driver.get(&path).await, 404, "not_found").await;
    let actions = format!("{path}/actions");
    assert_refused(of_driver.post(&actions, &json!({ "ack": {} })).await, 404, "not_found").await;
    assert_refused(of_rider.post(&actions, &json!({ "ack": {} })).await, 403, "forbidden").await;
    let shown = json_of(of_rider.get(&path).await).await;
    assert_eq!((&shown["status"], shown.get("others")), (&json!("open"), None));
    let shown = json_of(of_staff.get(&path).await).await;
    assert_eq!(shown["others"], json!([{ "driver": driver(1).to_string() }]));
    // The driver's own call is another incident.
    assert_ne!(raise(&mut driving, Some(order)).await, id);
    nothing_until_now(
        &mut riding,
        |frame| matches!(frame, ServerFrame::Incident(view) if view.id != id),
    )
    .await;
    // Neither a stranger nor who names no job there is.
    let mut stranger = Client::connect(&node, rider(2)).await;
    for job in [order, OrderId::nth(404)] {
        let sos = Sos { job: Some(JobId::Order(job)), ..Sos::default() };
        let Outcome::Refused(refused) = stranger.wish(Wish::Sos(sos)).await else { panic!() };
        assert_eq!(refused.code, Code::NotFound);
    }
    raise(&mut stranger, None).await;
}

#[tokio::test]
async fn nothing_that_limits_others_keeps_a_call_from_being_heard() {
    let node = Node::with(&[
        ("GATEWAY__SESSION__FRAMES_PER_S", "1"),
        ("GATEWAY__SESSION__FRAMES_BURST", "2"),
        ("GATEWAY__SESSION__COMMANDS_PER_S", "1"),
        ("GATEWAY__SESSION__COMMANDS_BURST", "1"),
        ("GATEWAY__REQUESTS_PER_S", "1"),
        ("GATEWAY__REQUESTS_BURST", "1"),
    ]);
    let mut calling = Client::connect(&node, rider(1)).await;
    let order = place_ride(&mut calling).await;
    let cancel = || OrderAction::Cancel { reason: String::new() };
    let limited = loop {
        match calling.wish(Wish::Order { id: OrderId::nth(404), action: cancel() }).await {
            Outcome::Refused(refused) if refused.code == Code::RateLimited => break refused,
            outcome => assert!(matches!(&outcome, Outcome::Refused(_)), "{outcome:?}"),
        }
    };
    assert!(limited.retry_after_ms.is_some());
    let id = raise(&mut calling, Some(order)).await;
    // Taps of a shaking hand: all at once, each answered, all by the same incident.
    let taps: Vec<_> = (0..12).map(|_| CommandId::mint()).collect();
    for tap in &taps {
        let sos = Sos { job: Some(JobId::Order(order)), ..Sos::default() };
        calling.say(&ClientFrame::Command { id: *tap, wish: Wish::Sos(sos) }).await;
    }
    for _ in &taps {
        let (tap, outcome) = calling
            .hear_any(|frame| match frame {
                ServerFrame::Result { id, outcome } => Some((id, outcome)),
                _ => None,
            })
            .await;
        assert!(taps.contains(&tap));
        assert_eq!(id_of(outcome), id);
    }
    // By REST likewise, and to call it off because one is not safe.
    let caller = Caller::new(&node, rider(1));
    let path = format!("/v1/orders/{order}");
    while caller.get(&path).await.status() != StatusCode::TOO_MANY_REQUESTS {}
    let body = json!({ "job": { "order": order.to_string() } });
    let response = caller.post("/v1/sos", &body).await;
    assert_eq!(response.status(), StatusCode::CREATED);
    assert_eq!(response.headers()["location"], format!("/v1/incidents/{id}"));
    let actions = format!("{path}/actions");
    let rained = json!({ "cancel": { "reason": "rain" } });
    assert_refused(caller.post(&actions, &rained).await, 429, "rate_limited").await;
    let afraid = json!({ "cancel_safety": { "reason": "afraid" } });
    assert_eq!(caller.post(&actions, &afraid).await.status(), StatusCode::OK);
    let wish =
        Wish::Order { id: order, action: OrderAction::CancelSafety { reason: String::new() } };
    let outcome = calling.wish(wish).await;
    let Outcome::Refused(refused) = outcome else { panic!("{outcome:?}") };
    assert_eq!(refused.code, Code::IllegalTransition, "it is over, but was not too fast");
    // A phone whose clock is wrong is heard as well.
    let old = CommandId("01000000-0000-7000-8000-000000000001".parse().unwrap());
    let sos = Wish::Sos(Sos { job: Some(JobId::Order(order)), ..Sos::default() });
    assert_eq!(id_of(calling.wish_as(old, sos).await), id);
}

async fn listed(staff: &Caller<'_>, query: &str) -> Vec<Value> {
    let page = json_of(staff.get(&format!("/v1/incidents{query}")).await).await;
    page["items"].as_array().unwrap_or_else(|| panic!("{page}")).clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_calls_a_job_off_for_safety_raises_one_incident_also_when_the_node_is_killed() {
    let mut node = Node::with(&[("JOURNAL__KIND", "sqlite"), AGAIN]);
    let mut staff = Client::connect(&node, Principal::Dispatcher).await;
    let mut riding = Client::connect(&node, rider(1)).await;
    let order = place_ride(&mut riding).await;
    act(&mut riding, order, OrderAction::CancelSafety { reason: "followed".to_owned() }).await;
    let (_, view) = hear_call(&mut staff).await;
    assert_eq!((view.kind, view.raised_by), (IncidentKind::CancelledSafety, rider(1)));
    assert_eq!(view.job, Some(JobId::Order(order)));
    let fee = Caller::new(&node, rider(1)).get(&format!("/v1/orders/{order}")).await;
    assert_eq!(json_of(fee).await["status"], "cancelled_safety");

    tokio::task::block_in_place(|| node.kill_and_restart());
    let mut staff = Client::connect(&node, Principal::Dispatcher).await;
    let (n, again) = hear_call(&mut staff).await;
    assert_eq!(again.id, view.id);
    staff.say(&ClientFrame::Ack { n }).await;
    assert_eq!(pushed_meanwhile(&mut staff).await, [], "once, and no other");
    let caller = Caller::new(&node, Principal::Admin);
    let all = listed(&caller, "").await;
    assert_eq!(all.len(), 1, "{all:?}");
    assert_eq!(all[0]["id"], view.id.to_string());
}

#[tokio::test]
async fn staff_list_incidents_by_their_state_page_by_page_and_see_to_them() {
    let node = Node::start();
    let staff = Caller::new(&node, Principal::Dispatcher);
    let mut ids = Vec::new();
    for n in 1..=3 {
        let caller = Caller::new(&node, rider(n));
        let response = caller.post("/v1/sos", &json!({ "mock": true })).await;
        assert_eq!(response.status(), StatusCode::CREATED);
        ids.push(json_of(response).await["actor"].as_str().unwrap().to_owned());
        assert_refused(caller.get("/v1/incidents").await, 403, "forbidden").await;
    }
    ids.reverse();
    let mut paged = Vec::new();
    let mut before = String::new();
    loop {
        let page = json_of(staff.get(&format!("/v1/incidents?limit=2{before}")).await).await;
        let items = page["items"].as_array().unwrap();
        paged.extend(items.iter().map(|it| it["id"].as_str().unwrap().to_owned()));
        let Some(next) = page["next"].as_str() else { break };
        before = format!("&before={next}");
    }
    paged.sort();
    let mut sorted = ids.clone();
    sorted.sort();
    assert_eq!(paged, sorted);

    let actions = format!("/v1/incidents/{}/actions", ids[0]);
    let does = async |action: Value, status: StatusCode| {
        let response = staff.post(&actions, &action).await;
        let got = response.status();
        assert_eq!(got, status, "{action}: {}", json_of(response).await);
    };
    let resolve = json!({ "resolve": { "resolution": "false", "note": "a drill" } });
    does(resolve.clone(), StatusCode::CONFLICT).await;
    does(json!({ "ack": {} }), StatusCode::OK).await;
    does(json!({ "ack": {} }), StatusCode::OK).await;
    does(json!({ "add_responder": { "name": "" } }), StatusCode::UNPROCESSABLE_ENTITY).await;
    does(json!({ "add_responder": { "name": "police" } }), StatusCode::OK).await;
    does(json!({ "check": { "item": "caller_safe", "answer": true } }), StatusCode::OK).await;
    does(json!({ "escalate": { "reason": "drill" } }), StatusCode::OK).await;
    does(resolve, StatusCode::OK).await;
    does(json!({ "ack": {} }), StatusCode::CONFLICT).await;
    let ended = listed(&staff, "?status=false").await;
    assert_eq!(ended.len(), 1);
    assert_eq!(ended[0]["body"]["mock"], true);
    assert_eq!(listed(&staff, "?status=open,acked").await.len(), 2);
    assert_eq!(listed(&staff, &format!("?rider={}", rider(1))).await.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn staff_on_every_node_hear_of_a_call_and_go_on_hearing_when_a_node_is_killed() {
    let shared = Shared::new().await;
    let [first, second] = ["first", "second"].map(|name| shared.node_with(name, &[AGAIN]));
    seen(&first, is_shared_by(2)).await;
    let mut near = Client::connect(&first, Principal::Dispatcher).await;
    let mut far = Client::connect(&second, Principal::Dispatcher).await;
    let mut calling = Client::connect(&first, rider(1)).await;
    let began = Instant::now();
    let id = raise(&mut calling, None).await;
    let [(n, at_first), (_, at_second)] = [hear_call(&mut near).await, hear_call(&mut far).await];
    assert_eq!((at_first.id, at_second.id), (id, id));
    assert!(began.elapsed() < Duration::from_secs(1), "{:?}", began.elapsed());

    // Whoever comes back to another node has what it had.
    near.say(&ClientFrame::Ack { n }).await;
    nothing_until_now(&mut near, |_| false).await;
    let (mut near, is_resumed) = resume(&second, near.cut()).await;
    assert!(is_resumed);
    assert_eq!(pushed_meanwhile(&mut near).await, []);
    assert!(!pushed_meanwhile(&mut far).await.is_empty(), "which has not acknowledged it");

    // One node is killed, whoever owns what: the other tells on, and somebody sees to it there.
    let mut late = Client::connect(&first, Principal::Admin).await;
    hear_call(&mut late).await;
    drop(first);
    let mut late = Client::connect(&second, Principal::Admin).await;
    assert_eq!(hear_call(&mut late).await.1.id, id);
    let acked = async {
        loop {
            let wish = Wish::Incident { id, action: IncidentAction::Ack {} };
            if let Outcome::Ok(_) = late.wish(wish).await {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(Duration::from_secs(10), acked).await.unwrap();
    assert_eq!(hear_heeded(&mut far).await, id);
    let mut calling = Client::connect(&second, rider(2)).await;
    let next = raise(&mut calling, None).await;
    assert_eq!(hear_call(&mut far).await.1.id, next);
}

async fn resume(node: &Node, at: Resume) -> (Client, bool) {
    Client::resume(node, Principal::Dispatcher, at).await
}
