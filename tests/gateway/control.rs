//! What dispatchers do to orders and rescues over both doors, and what they are told when it cannot be.

use crate::{
    client::Client,
    cluster::insist,
    node::{Node, driver, rider},
    rest::{Caller, assert_refused, json_of, ride},
    ride::{PICKUP, accept, act, go_on_duty, hear_offer, hear_status, place_ride, position},
    why::{node_that_looks_often, until},
};
use protocol::{
    Code, DriverId, JobId, OfferStatus, OrderId, OrderStatus, PartnerId, Principal,
    frame::{Outcome, Push},
    trace::WhyNot,
    work::{DriverAction, DutyWish, OrderAction, Vehicle, VehicleKind, Wish},
};
use serde_json::{Value, json};
use std::time::Duration;

pub(crate) fn nth(n: u64) -> DriverId {
    let Principal::Driver(id) = driver(n) else { panic!("a driver") };
    id
}

/// A driver on duty, so many metres from the pickup.
pub(crate) async fn on_duty(node: &Node, n: u64, east_m: f64) -> Client {
    let mut client = Client::connect(node, driver(n)).await;
    go_on_duty(&mut client, PICKUP.offset_m(east_m, 0.0)).await;
    client
}

pub(crate) async fn hear_assigned(client: &mut Client, wanted: JobId) {
    let job = client.hear_push(|push| match push {
        Push::Assigned { job } => Some(job),
        _ => None,
    });
    assert_eq!(job.await, wanted);
}

async fn hear_released(client: &mut Client, wanted: JobId) {
    let job = client.hear_push(|push| match push {
        Push::Released { job, .. } => Some(job),
        _ => None,
    });
    assert_eq!(job.await, wanted);
}

async fn refused(client: &mut Client, id: OrderId, action: OrderAction) -> (Code, Vec<WhyNot>) {
    let outcome = client.wish(Wish::Order { id, action: action.clone() }).await;
    let Outcome::Refused(refused) = outcome else { panic!("{action:?}: {outcome:?}") };
    (refused.code, refused.why)
}

pub(crate) async fn done(caller: &Caller<'_>, path: &str, action: Value) {
    let response = caller.post(path, &action).await;
    let (status, body) = (response.status().as_u16(), json_of(response).await);
    assert_eq!(status, 200, "{action}: {body}");
}

pub(crate) fn event<'v>(history: &'v Value, name: &str) -> &'v Value {
    let all = history.as_array().unwrap();
    all.iter().rev().find(|it| it["event"] == name).unwrap_or_else(|| panic!("{name}: {history}"))
}

#[tokio::test]
async fn a_dispatcher_goes_before_a_running_offer_and_the_history_says_who_did_it_and_why() {
    let node = node_that_looks_often();
    let staff = Caller::new(&node, Principal::Dispatcher);
    let mut near = on_duty(&node, 1, 50.0).await;
    let mut far = on_duty(&node, 2, 4_000.0).await;
    let mut waiting = Client::connect(&node, rider(9)).await;
    let order = place_ride(&mut waiting).await;
    let running = hear_offer(&mut near).await;

    let actions = format!("/v1/orders/{order}/actions");
    let assign = json!({ "assign": { "driver": nth(2).to_string(), "reason": "knows them" } });
    done(&staff, &actions, assign).await;
    let ended = near.hear_push(|push| match push {
        Push::OfferEnded { offer, status } => Some((offer, status)),
        _ => None,
    });
    assert_eq!(ended.await, (running.id, OfferStatus::Withdrawn));
    hear_assigned(&mut far, running.job).await;
    hear_status(&mut waiting, OrderStatus::Assigned).await;

    let history = json_of(staff.get(&format!("/v1/actors/{order}/history")).await).await;
    let chosen = event(&history, "driver_chosen");
    assert_eq!((&chosen["by"], &chosen["reason"]), (&json!("dispatcher"), &json!("knows them")));
    assert_eq!(chosen["driver"], json!(nth(2).to_string()));
    assert!(chosen.get("bypassed").is_none(), "{chosen}");
}

#[tokio::test]
async fn who_cannot_have_it_is_named_with_every_reason_and_force_says_what_it_overruled() {
    let node = node_that_looks_often();
    let mut staff = Client::connect(&node, Principal::Dispatcher).await;
    let mut busy = on_duty(&node, 1, 50.0).await;
    let mut first = Client::connect(&node, rider(8)).await;
    let ridden = place_ride(&mut first).await;
    let offer = hear_offer(&mut busy).await;
    accept(&mut busy, &offer).await;
    let mut off = on_duty(&node, 2, 60.0).await;
    let leave = json!({ "set_duty": { "duty": "off" } });
    let me = Caller::new(&node, driver(2));
    done(&me, &format!("/v1/drivers/{}/actions", nth(2)), leave).await;

    let mut second = Client::connect(&node, rider(9)).await;
    let order = place_ride(&mut second).await;
    let assign = |n: u64, force| OrderAction::Assign {
        driver: nth(n),
        force,
        reason: "nobody else".to_owned(),
    };
    let full = (Code::NotEligible, vec![WhyNot::NoRoom]);
    assert_eq!(refused(&mut staff, order, assign(1, false)).await, full);
    let gone = (Code::NotEligible, vec![WhyNot::OffDuty]);
    assert_eq!(refused(&mut staff, order, assign(2, false)).await, gone);
    assert_eq!(refused(&mut staff, order, assign(2, true)).await, gone, "nor by force");
    let nobody = (Code::NotFound, vec![]);
    assert_eq!(refused(&mut staff, order, assign(99, true)).await, nobody);
    let (code, _) = refused(&mut second, order, assign(1, false)).await;
    assert_eq!(code, Code::Forbidden, "it is not for riders");
    let (code, _) = refused(&mut off, order, assign(1, false)).await;
    assert_eq!(code, Code::NotFound, "nor for drivers who have no part in it");

    // The ride in its way goes to somebody else first.
    let outcome = staff.wish(Wish::Order { id: order, action: assign(1, true) }).await;
    assert!(matches!(outcome, Outcome::Ok(_)), "{outcome:?}");
    hear_released(&mut busy, JobId::Order(ridden)).await;
    hear_assigned(&mut busy, JobId::Order(order)).await;
    let caller = Caller::new(&node, Principal::Dispatcher);
    let history = json_of(caller.get(&format!("/v1/actors/{order}/history")).await).await;
    assert_eq!(event(&history, "driver_chosen")["bypassed"], json!(["no_room"]));
    let trace = json_of(caller.get(&format!("/v1/orders/{order}/match-trace")).await).await;
    let steps = trace["steps"].as_array().unwrap();
    let chosen = steps.iter().find(|it| it["what"] == "driver_chosen").unwrap();
    assert_eq!(chosen["bypassed"], json!(["no_room"]));

    let actions = format!("/v1/orders/{order}/actions");
    done(&caller, &actions, json!({ "cancel": { "reason": "over" } })).await;
    let late = json!({ "assign": { "driver": nth(1).to_string() } });
    assert_refused(caller.post(&actions, &late).await, 409, "illegal_transition").await;
}

#[tokio::test]
async fn who_lacks_what_is_needed_is_told_apart_from_who_is_busy() {
    let node = node_that_looks_often();
    let staff = Caller::new(&node, Principal::Dispatcher);
    let me = Caller::new(&node, rider(9));
    let _moto = on_duty(&node, 1, 50.0).await;
    let mut order = ride();
    order["kind"] = json!("delivery");
    order["needs"] = json!({ "weight_g": 5_000, "skills": ["cold_chain"] });
    let placed = json_of(me.post("/v1/orders", &order).await).await;
    let actions = format!("/v1/orders/{}/actions", placed["actor"].as_str().unwrap());
    let assign = json!({ "assign": { "driver": nth(1).to_string() } });
    let answer = staff.post(&actions, &assign).await;
    assert_eq!(answer.status().as_u16(), 409);
    let body = json_of(answer).await;
    let why = json!(["capacity", "cold_chain"]);
    assert_eq!((&body["code"], &body["why"]), (&json!("not_eligible"), &why));
}

#[tokio::test]
async fn goods_on_board_go_to_another_driver_who_can_have_them_and_the_history_says_why() {
    let node = node_that_looks_often();
    let staff = Caller::new(&node, Principal::Dispatcher);
    let mut first = Client::connect(&node, driver(1)).await;
    let vehicle = Vehicle { kind: VehicleKind::Moto, capacity_g: 20_000, skills: Vec::new() };
    let action = DriverAction::SetDuty { duty: DutyWish::On, vehicle: Some(vehicle) };
    let outcome = first.wish(Wish::Driver { id: None, action }).await;
    assert!(matches!(outcome, Outcome::Ok(_)), "{outcome:?}");
    first.say(&position(PICKUP.offset_m(20.0, 0.0))).await;
    let mut order = ride();
    (order["kind"], order["needs"]) = (json!("delivery"), json!({ "weight_g": 5_000 }));
    let placed = Caller::new(&node, rider(9)).post("/v1/orders", &order).await;
    let order: OrderId = json_of(placed).await["actor"].as_str().unwrap().parse().unwrap();
    let offer = hear_offer(&mut first).await;
    accept(&mut first, &offer).await;
    first.say(&position(PICKUP.offset_m(15.0, 0.0))).await;
    insist(&mut first, order, OrderAction::Arrive {}).await;
    act(&mut first, order, OrderAction::PickUp { proofs: Vec::new() }).await;

    // Its vehicle carries nothing.
    let mut second = on_duty(&node, 2, 40.0).await;
    let seen = format!("/v1/drivers/{}/why-no-offers", nth(2));
    until(&staff, &seen, |it| it["now"] == json!([])).await;
    let actions = format!("/v1/orders/{order}/actions");
    let to = |n: u64, force: bool| {
        json!({ "handover": {
            "driver": nth(n).to_string(), "force": force, "reason": "a flat tyre" } })
    };
    let refused = staff.post(&actions, &to(2, false)).await;
    assert_eq!(refused.status().as_u16(), 409);
    let refused = json_of(refused).await;
    let said = (&refused["code"], &refused["why"]);
    assert_eq!(said, (&json!("not_eligible"), &json!(["capacity"])));
    assert_refused(staff.post(&actions, &to(99, true)).await, 404, "not_found").await;
    let shown = json_of(staff.get(&format!("/v1/orders/{order}")).await).await;
    assert_eq!((&shown["driver"], &shown["offers"]), (&json!(nth(1).to_string()), &json!([])));

    done(&staff, &actions, to(2, true)).await;
    hear_released(&mut first, offer.job).await;
    hear_assigned(&mut second, offer.job).await;
    let history = json_of(staff.get(&format!("/v1/actors/{order}/history")).await).await;
    let chosen = event(&history, "driver_chosen");
    assert_eq!((&chosen["by"], &chosen["reason"]), (&json!("dispatcher"), &json!("a flat tyre")));
    assert_eq!(chosen["bypassed"], json!(["capacity"]));
}

#[tokio::test]
async fn a_ride_and_a_rescue_go_from_one_driver_to_another_in_one_go() {
    let node = node_that_looks_often();
    let mut staff = Client::connect(&node, Principal::Dispatcher).await;
    let mut first = on_duty(&node, 1, 50.0).await;
    let mut waiting = Client::connect(&node, rider(9)).await;
    let order = place_ride(&mut waiting).await;
    let offer = hear_offer(&mut first).await;
    accept(&mut first, &offer).await;
    let mut second = on_duty(&node, 2, 900.0).await;
    let action = OrderAction::Reassign {
        driver: nth(2),
        force: false,
        reason: "the first one is stuck".to_owned(),
    };
    let outcome = staff.wish(Wish::Order { id: order, action }).await;
    assert!(matches!(outcome, Outcome::Ok(_)), "{outcome:?}");
    hear_released(&mut first, offer.job).await;
    hear_assigned(&mut second, offer.job).await;

    let caller = Caller::new(&node, Principal::Dispatcher);
    let stranded = Caller::new(&node, rider(7));
    let rescue = json!({ "issue": "battery_dead", "at": ride()["stops"][0] });
    let placed = json_of(stranded.post("/v1/rescues", &rescue).await).await;
    let rescue = placed["actor"].as_str().unwrap();
    let actions = format!("/v1/rescues/{rescue}/actions");
    let job = JobId::Rescue(rescue.parse().unwrap());
    let assign = json!({ "assign": { "driver": nth(1).to_string(), "force": true, "reason": "has cables" } });
    done(&caller, &actions, assign).await;
    hear_assigned(&mut first, job).await;
    let mut third = on_duty(&node, 3, 100.0).await;
    let reassign =
        json!({ "reassign": { "driver": nth(3).to_string(), "force": true, "reason": "nearer" } });
    done(&caller, &actions, reassign).await;
    hear_released(&mut first, job).await;
    hear_assigned(&mut third, job).await;
    let history = json_of(caller.get(&format!("/v1/actors/{rescue}/history")).await).await;
    let (chosen, gone) = (event(&history, "driver_chosen"), event(&history, "driver_released"));
    assert_eq!((&chosen["reason"], &chosen["bypassed"]), (&json!("nearer"), &json!(["skill"])));
    assert_eq!((&gone["by"], &gone["reason"]), (&json!("dispatcher"), &json!("nearer")));
    let path = format!("/v1/rescues/{rescue}/match-trace");
    let trace = json_of(caller.get(&path).await).await;
    assert_eq!(trace["offers"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn a_held_ride_is_offered_to_nobody_until_it_goes_on() {
    let node = node_that_looks_often();
    let staff = Caller::new(&node, Principal::Dispatcher);
    let mut near = on_duty(&node, 1, 50.0).await;
    let mut waiting = Client::connect(&node, rider(9)).await;
    let order = place_ride(&mut waiting).await;
    let offer = hear_offer(&mut near).await;
    let actions = format!("/v1/orders/{order}/actions");
    let hold = json!({ "hold": { "reason": "wrong address" } });
    assert_refused(Caller::new(&node, rider(9)).post(&actions, &hold).await, 403, "forbidden")
        .await;
    done(&staff, &actions, hold).await;
    let ended = near.hear_push(|push| match push {
        Push::OfferEnded { offer, .. } => Some(offer),
        _ => None,
    });
    assert_eq!(ended.await, offer.id);
    let shown = json_of(staff.get(&format!("/v1/orders/{order}")).await).await;
    assert_eq!((&shown["held"], &shown["status"]), (&json!(true), &json!("searching")));

    // Another driver comes, and many ticks pass.
    let mut other = on_duty(&node, 2, 20.0).await;
    tokio::time::sleep(Duration::from_millis(400)).await;
    let shown = json_of(staff.get(&format!("/v1/orders/{order}")).await).await;
    assert_eq!(shown["offers"], json!([]));
    done(&staff, &actions, json!({ "resume": { "reason": "corrected" } })).await;
    assert_eq!(hear_offer(&mut other).await.job, JobId::Order(order));
    let history = json_of(staff.get(&format!("/v1/actors/{order}/history")).await).await;
    assert_eq!(event(&history, "search_held")["reason"], "wrong address");
    assert_eq!(event(&history, "search_resumed")["by"], "dispatcher");
}

#[tokio::test]
async fn of_two_who_wait_for_one_driver_the_one_that_matters_more_gets_it() {
    let node = node_that_looks_often();
    let staff = Caller::new(&node, Principal::Dispatcher);
    let mut places = Vec::new();
    for n in [8, 9] {
        let mut order = ride();
        // Never held for a better pair: who is first would get it.
        order["policy"] = json!("sequential");
        order["rider"] = json!(rider(n).to_string());
        let placed = json_of(staff.post("/v1/orders", &order).await).await;
        places.push(placed["actor"].as_str().unwrap().to_owned());
    }
    let actions = format!("/v1/orders/{}/actions", places[1]);
    let high = json!({ "set_priority": { "priority": "high", "reason": "to a hospital" } });
    done(&staff, &actions, high).await;
    let shown = json_of(staff.get(&format!("/v1/orders/{}", places[1])).await).await;
    assert_eq!(shown["priority"], "high");
    let mut only = on_duty(&node, 1, 50.0).await;
    let offer = hear_offer(&mut only).await;
    assert_eq!(offer.job, JobId::Order(places[1].parse().unwrap()));
    let history = json_of(staff.get(&format!("/v1/actors/{}/history", places[1])).await).await;
    assert_eq!(event(&history, "priority_set")["reason"], "to a hospital");

    let stranded = Caller::new(&node, rider(7));
    let rescue = json!({ "issue": "flat_tyre", "at": ride()["stops"][0] });
    let placed = json_of(stranded.post("/v1/rescues", &rescue).await).await;
    let path = format!("/v1/rescues/{}", placed["actor"].as_str().unwrap());
    for action in [
        json!({ "set_priority": { "priority": "urgent", "reason": "a motorway" } }),
        json!({ "hold": { "reason": "police first" } }),
    ] {
        done(&staff, &format!("{path}/actions"), action).await;
    }
    let shown = json_of(staff.get(&path).await).await;
    assert_eq!((&shown["held"], &shown["priority"]), (&json!(true), &json!("urgent")));
}

#[tokio::test]
async fn a_rider_and_a_driver_who_are_kept_apart_do_not_meet() {
    let node = node_that_looks_often();
    let staff = Caller::new(&node, Principal::Dispatcher);
    let mut near = on_duty(&node, 1, 50.0).await;
    let mut waiting = Client::connect(&node, rider(9)).await;
    let first = place_ride(&mut waiting).await;
    let offer = hear_offer(&mut near).await;

    // What is running already hears of it.
    let actions = format!("/v1/riders/{}/actions", rider(9));
    let block = json!({ "block": { "driver": nth(1).to_string(), "reason": "a quarrel" } });
    let me = Caller::new(&node, rider(9));
    assert_refused(me.post(&actions, &block).await, 403, "forbidden").await;
    done(&staff, &actions, block).await;
    let ended = near.hear_push(|push| match push {
        Push::OfferEnded { offer, .. } => Some(offer),
        _ => None,
    });
    assert_eq!(ended.await, offer.id);
    let assign = json!({
        "assign": { "driver": nth(1).to_string(), "force": true, "reason": "nobody else" }
    });
    let answer = staff.post(&format!("/v1/orders/{first}/actions"), &assign).await;
    assert_eq!(json_of(answer).await["why"], json!(["pair_blocked"]));
    done(&staff, &format!("/v1/orders/{first}/actions"), json!({ "cancel": {} })).await;

    // So does what is placed later, and other riders are not concerned.
    let second = place_ride(&mut waiting).await;
    let mut other = Client::connect(&node, rider(8)).await;
    let theirs = place_ride(&mut other).await;
    let offer = hear_offer(&mut near).await;
    assert_eq!(offer.job, JobId::Order(theirs));
    accept(&mut near, &offer).await;
    let trace = json_of(staff.get(&format!("/v1/orders/{second}/match-trace")).await).await;
    assert_eq!(trace["offers"], json!([]));

    done(&staff, &actions, json!({ "unblock": { "driver": nth(1).to_string() } })).await;
    let history = json_of(staff.get(&format!("/v1/actors/{}/history", rider(9))).await).await;
    let blocked = event(&history, "driver_blocked");
    assert_eq!((&blocked["by"], &blocked["reason"]), (&json!("dispatcher"), &json!("a quarrel")));
    assert_eq!(event(&history, "driver_unblocked")["driver"], json!(nth(1).to_string()));
}

#[tokio::test]
async fn a_job_that_is_kept_to_a_fleet_is_for_its_drivers_until_it_is_freed() {
    let node = node_that_looks_often();
    let staff = Caller::new(&node, Principal::Dispatcher);
    let fleet = PartnerId::nth(1).to_string();
    let mut own = on_duty(&node, 1, 300.0).await;
    let hire = json!({ "set_fleet": { "fleet": fleet, "reason": "hired" } });
    let theirs = format!("/v1/drivers/{}/actions", nth(1));
    let me = Caller::new(&node, driver(1));
    assert_refused(me.post(&theirs, &hire).await, 403, "forbidden").await;
    done(&staff, &theirs, hire).await;

    let mut waiting = Client::connect(&node, rider(9)).await;
    let order = place_ride(&mut waiting).await;
    hear_offer(&mut own).await;
    let actions = format!("/v1/orders/{order}/actions");
    let keep = json!({ "set_fleet": { "fleet": fleet, "reason": "their contract" } });
    done(&staff, &actions, keep).await;
    let shown = json_of(staff.get(&format!("/v1/orders/{order}")).await).await;
    assert_eq!(shown["fleet"], json!(fleet));
    hear_offer(&mut own).await;
    let decline = json!({ "set_duty": { "duty": "off" } });
    done(&me, &theirs, decline).await;

    // A driver of nobody's is nearer, and is not asked.
    let mut near = on_duty(&node, 2, 20.0).await;
    let why = format!("/v1/drivers/{}/why-no-offers", nth(2));
    let told = until(&staff, &why, |it| it["why"]["other_fleet"] == 1).await;
    assert_eq!(told["n_proposed"], 0, "{told}");
    let assign = |force: bool| json!({ "assign": { "driver": nth(2).to_string(), "force": force, "reason": "nobody else" } });
    let refused = json_of(staff.post(&actions, &assign(false)).await).await;
    assert_eq!(
        (&refused["code"], &refused["why"]),
        (&json!("not_eligible"), &json!(["other_fleet"]))
    );
    done(&staff, &actions, json!({ "set_fleet": { "reason": "they are all busy" } })).await;
    assert_eq!(hear_offer(&mut near).await.job, JobId::Order(order));

    // Kept to it again, it is given to somebody else all the same, and that is written down.
    let keep = json!({ "set_fleet": { "fleet": fleet, "reason": "not so busy" } });
    done(&staff, &actions, keep).await;
    done(&staff, &actions, assign(true)).await;
    hear_assigned(&mut near, JobId::Order(order)).await;
    let history = json_of(staff.get(&format!("/v1/actors/{order}/history")).await).await;
    assert_eq!(event(&history, "driver_chosen")["bypassed"], json!(["other_fleet"]));
    assert_eq!(event(&history, "fleet_set")["reason"], "not so busy");
    let trace = json_of(staff.get(&format!("/v1/orders/{order}/match-trace")).await).await;
    let steps = trace["steps"].as_array().unwrap();
    assert!(steps.iter().any(|it| it["what"] == format!("fleet_set: {fleet}")), "{trace}");
}

#[tokio::test]
async fn whoever_has_a_fleet_has_its_drivers_asked_first_and_nobody_elses_fleet() {
    let node = node_that_looks_often();
    let staff = Caller::new(&node, Principal::Dispatcher);
    let [fleet, other] = [1, 2].map(|n| PartnerId::nth(n).to_string());
    let mut own = on_duty(&node, 1, 300.0).await;
    let hire = json!({ "set_fleet": { "fleet": fleet, "reason": "hired" } });
    done(&staff, &format!("/v1/drivers/{}/actions", nth(1)), hire).await;
    // A driver of nobody's is nearer.
    let _near = on_duty(&node, 2, 20.0).await;
    let named = |fleet: &str| {
        let mut wanted = ride();
        wanted["fleet"] = json!(fleet);
        wanted
    };
    let me = Caller::new(&node, rider(9));
    assert_refused(me.post("/v1/orders", &named(&fleet)).await, 403, "forbidden").await;
    let id = rider(9).to_string();
    let token = node.minted(&["--role", "rider", "--id", &id, "--fleet", &fleet]).unwrap();
    let me = Caller::with(&node, token);
    assert_refused(me.post("/v1/orders", &named(&other)).await, 403, "forbidden").await;
    let mut nobodys = ride();
    nobodys["exclusive"] = json!(true);
    assert_refused(me.post("/v1/orders", &nobodys).await, 422, "invalid").await;
    let malformed = me.post("/v1/orders", &named("mine")).await;
    assert!(malformed.status().is_client_error(), "{}", malformed.status());

    let placed = json_of(me.post("/v1/orders", &named(&fleet)).await).await;
    let offer = hear_offer(&mut own).await;
    let JobId::Order(order) = offer.job else { panic!("an order") };
    assert_eq!(placed["actor"], json!(order.to_string()), "{placed}");
    let shown = json_of(staff.get(&format!("/v1/orders/{order}")).await).await;
    assert_eq!((&shown["fleet"], &shown["fleet_first"]), (&json!(fleet), &json!(true)));
    let why = format!("/v1/drivers/{}/why-no-offers", nth(2));
    until(&staff, &why, |it| it["why"]["other_fleet_first"] == 1).await;
    accept(&mut own, &offer).await;

    let drives = driver(1).to_string();
    let refused = node.minted(&["--role", "driver", "--id", &drives, "--fleet", &fleet]);
    let refused = refused.unwrap_err();
    assert!(refused.contains("--fleet: only riders and merchants"), "{refused}");
    let refused = node.minted(&["--role", "rider", "--id", &id, "--fleet", "mine"]).unwrap_err();
    assert!(refused.contains("--fleet: \"mine\" is no partner"), "{refused}");
}

#[tokio::test]
async fn what_staff_write_is_pushed_to_whom_it_is_for_and_stays_in_their_history() {
    let node = Node::start();
    let staff = Caller::new(&node, Principal::Dispatcher);
    let mut drives = on_duty(&node, 1, 50.0).await;
    let mut rides = Client::connect(&node, rider(9)).await;
    let order = place_ride(&mut rides).await;
    let job = JobId::Order(order);
    let about = json!({ "message": { "job": job, "text": "the gate is open" } });
    done(&staff, &format!("/v1/riders/{}/actions", rider(9)), about).await;
    let plain = json!({ "message": { "text": "come in, please" } });
    done(&staff, &format!("/v1/drivers/{}/actions", nth(1)), plain.clone()).await;
    let message = |push| if let Push::Message(message) = push { Some(message) } else { None };
    let told = rides.hear_push(message).await;
    assert_eq!((told.job, told.text.as_str()), (Some(job), "the gate is open"));
    let told = drives.hear_push(message).await;
    assert_eq!((told.by, told.text.as_str()), (Principal::Dispatcher, "come in, please"));

    let history = json_of(staff.get(&format!("/v1/actors/{}/history", nth(1))).await).await;
    let kept = event(&history, "messaged");
    assert_eq!((&kept["by"], &kept["reason"]), (&json!("dispatcher"), &json!("come in, please")));
    let me = Caller::new(&node, driver(1));
    let own = me.post(&format!("/v1/drivers/{}/actions", nth(1)), &plain).await;
    assert_refused(own, 403, "forbidden").await;
}
