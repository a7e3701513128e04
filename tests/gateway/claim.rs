//! Jobs in the feed from outside: who is told of one, whose it becomes, and who hears that it is gone.

use crate::{
    client::Client,
    node::{Node, driver, rider},
    rest::{Caller, assert_refused, json_of},
    ride::{PICKUP, hear_status, new_ride, position},
    why::until,
};
use protocol::{
    Code, DriverId, JobId, MerchantId, OrderId, OrderStatus, Point, Principal,
    frame::{Outcome, Push},
    trace::WhyNot,
    work::{DriverAction, DutyWish, Needs, NewOrder, OrderKind, Vehicle, VehicleKind, Wish},
};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

const FEED: &str = "/v1/feed";

/// A node on which a delivery is soon given up by those who ask, and the preset that says so.
fn impatient() -> (Node, NamedTempFile) {
    let preset = NamedTempFile::new().unwrap();
    let riderguy = include_str!("../../config/presets/riderguy.toml");
    let soon = riderguy.replacen("[delivery.policy]", "[delivery.policy]\nsearch_ms = 300", 1);
    std::fs::write(preset.path(), soon).unwrap();
    let file = preset.path().to_str().unwrap();
    (Node::with(&[("PRESET__FILE", file)]), preset)
}

/// Something warm, which not everybody can bring.
fn delivery() -> NewOrder {
    let needs = Needs {
        vehicles: vec![VehicleKind::Moto],
        weight_g: 5_000,
        skills: vec!["thermal_bag".to_owned()],
    };
    NewOrder { kind: OrderKind::Delivery, needs, ..new_ride() }
}

/// Who can.
fn courier() -> Vehicle {
    let skills = vec!["thermal_bag".to_owned()];
    Vehicle { kind: VehicleKind::Moto, capacity_g: 20_000, skills }
}

/// Places it where there are no drivers, and waits until nobody was found.
async fn place_in_vain(node: &Node, order: NewOrder) -> OrderId {
    let mut client = Client::connect(node, rider(1)).await;
    let outcome = client.wish(Wish::PlaceOrder(Box::new(order))).await;
    let Outcome::Ok(done) = outcome else { panic!("{outcome:?}") };
    hear_status(&mut client, OrderStatus::JobFeed).await;
    done.actor.parse().unwrap()
}

async fn go_on_duty(node: &Node, n: u64, vehicle: Vehicle, at: Point) -> Client {
    let mut phone = Client::connect(node, driver(n)).await;
    set_duty(&mut phone, DutyWish::On, Some(vehicle)).await;
    phone.say(&position(at)).await;
    phone
}

async fn set_duty(phone: &mut Client, duty: DutyWish, vehicle: Option<Vehicle>) {
    let action = DriverAction::SetDuty { duty, vehicle };
    let outcome = phone.wish(Wish::Driver { id: None, action }).await;
    assert!(matches!(outcome, Outcome::Ok(_)), "{outcome:?}");
}

async fn claim(phone: &mut Client, order: OrderId) {
    let action = DriverAction::ClaimJob { job: JobId::Order(order) };
    let outcome = phone.wish(Wish::Driver { id: None, action }).await;
    assert!(matches!(outcome, Outcome::Ok(_)), "the driver's side of it: {outcome:?}");
}

async fn hear_claim_lost(phone: &mut Client, order: OrderId) {
    let lost = phone.hear_push(|push| match push {
        Push::ClaimLost { job, reason } => Some((job, reason)),
        _ => None,
    });
    let (job, reason) = lost.await;
    assert_eq!((job, reason.is_empty()), (JobId::Order(order), false));
}

fn named(order: OrderId) -> Value {
    json!({ "order": order.to_string() })
}

/// Nothing keeps the driver from claiming, and there is nothing for it.
fn has_nothing(told: &Value) -> bool {
    told["why"] == json!([]) && told["jobs"] == json!([])
}

#[tokio::test]
async fn a_delivery_nobody_was_found_for_is_seen_by_two_and_goes_to_who_claims_first() {
    let (node, _preset) = impatient();
    let order = place_in_vain(&node, delivery()).await;
    let mut quick = go_on_duty(&node, 1, courier(), PICKUP.offset_m(400.0, 0.0)).await;
    let mut slow = go_on_duty(&node, 2, courier(), PICKUP.offset_m(900.0, 0.0)).await;
    let [first, second] = [driver(1), driver(2)].map(|by| Caller::new(&node, by));
    let is_seen = |told: &Value| told["jobs"][0]["job"] == named(order);
    let told = until(&first, FEED, is_seen).await;
    until(&second, FEED, is_seen).await;

    let job = &told["jobs"][0];
    let mut said: Vec<&str> = job.as_object().unwrap().keys().map(String::as_str).collect();
    said.sort_unstable();
    // As an offer, without what makes it one; whose it is, is said to whoever has it.
    let all = ["distance_m", "dropoff", "eta_s", "fare", "job", "needs", "pickup", "until", "work"];
    assert_eq!(said, all);
    assert!((395..=405).contains(&job["distance_m"].as_u64().unwrap()), "{job}");
    assert_eq!(job["needs"], serde_json::to_value(delivery().needs).unwrap());
    assert_eq!((&told["more"], &job["work"]), (&json!(false), &json!("delivery")));

    claim(&mut quick, order).await;
    let assigned = quick.hear_push(|push| match push {
        Push::Assigned { job } => Some(job),
        _ => None,
    });
    assert_eq!(assigned.await, JobId::Order(order));
    claim(&mut slow, order).await;
    hear_claim_lost(&mut slow, order).await;
    until(&first, FEED, has_nothing).await;
    until(&second, FEED, has_nothing).await;
}

#[tokio::test]
async fn who_does_not_fit_or_is_too_far_away_is_not_told_of_it() {
    let (node, _preset) = impatient();
    place_in_vain(&node, delivery()).await;
    let misfits = [
        Vehicle { kind: VehicleKind::Car, ..courier() },
        Vehicle { capacity_g: 4_999, ..courier() },
        Vehicle { skills: Vec::new(), ..courier() },
    ];
    for (n, vehicle) in (1..).zip(misfits) {
        let _phone = go_on_duty(&node, n, vehicle, PICKUP).await;
        until(&Caller::new(&node, driver(n)), FEED, |told| told["why"] == json!([])).await;
        let told = json_of(Caller::new(&node, driver(n)).get(FEED).await).await;
        assert_eq!(told["jobs"], json!([]), "{n}");
    }
    let mut phone = go_on_duty(&node, 4, courier(), PICKUP.offset_m(0.0, 20_000.0)).await;
    let far = Caller::new(&node, driver(4));
    until(&far, FEED, has_nothing).await;
    let far_around = "/v1/feed?within_m=50000";
    let told = json_of(far.get(far_around).await).await;
    assert_eq!(told["jobs"].as_array().unwrap().len(), 1, "{told}");
    // Nor is it too far away where a rule lets drivers be looked for as far.
    let changes = json!({ "tiers_m": [1_000, 2_000, 30_000] });
    let rule = json!({ "name": "far", "kinds": ["delivery"], "changes": changes });
    let admin = Caller::new(&node, Principal::Admin);
    let made = admin.post("/v1/rules", &json!({ "rule": rule, "reason": "a trial" })).await;
    assert_eq!(made.status(), 201);
    until(&far, FEED, |told| told["jobs"].as_array().is_some_and(|it| it.len() == 1)).await;

    set_duty(&mut phone, DutyWish::Break, None).await;
    let told = json_of(far.get(far_around).await).await;
    assert_eq!((&told["why"], &told["jobs"]), (&json!(["on_break"]), &json!([])));
}

#[tokio::test]
async fn what_a_rule_let_be_looked_for_further_away_is_told_as_far_away_once_that_rule_is_gone() {
    let (node, _preset) = impatient();
    let admin = Caller::new(&node, Principal::Admin);
    let changes = json!({ "tiers_m": [1_000, 2_000, 30_000] });
    let rule = json!({ "name": "far", "kinds": ["delivery"], "changes": changes });
    let made = admin.post("/v1/rules", &json!({ "rule": rule, "reason": "a trial" })).await;
    assert_eq!(made.status(), 201);
    let path = made.headers()["location"].to_str().unwrap().to_owned();
    let order = place_in_vain(&node, delivery()).await;
    assert_eq!(admin.delete(&format!("{path}?reason=enough"), 1).await.status(), 200);
    let _phone = go_on_duty(&node, 1, courier(), PICKUP.offset_m(0.0, 20_000.0)).await;
    let far = Caller::new(&node, driver(1));
    until(&far, FEED, |told| told["jobs"][0]["job"] == named(order)).await;
    let told = json_of(far.get("/v1/feed?within_m=10000").await).await;
    assert_eq!(told["jobs"], json!([]), "whoever says how far means it: {told}");
}

#[tokio::test]
async fn a_delivery_asked_of_one_driver_is_in_nobody_elses_feed() {
    let (node, _preset) = impatient();
    let wanted = Some(DriverId::nth(1));
    let order = place_in_vain(&node, NewOrder { driver: wanted, ..delivery() }).await;
    let _asked = go_on_duty(&node, 1, courier(), PICKUP).await;
    let mut other = go_on_duty(&node, 2, courier(), PICKUP).await;
    let is_seen = |told: &Value| told["jobs"][0]["job"] == named(order);
    until(&Caller::new(&node, driver(1)), FEED, is_seen).await;
    let theirs = Caller::new(&node, driver(2));
    until(&theirs, FEED, has_nothing).await;
    assert_refused(theirs.get(&format!("/v1/orders/{order}")).await, 404, "not_found").await;
    claim(&mut other, order).await;
    hear_claim_lost(&mut other, order).await;
    // Nor does anybody learn what it needs.
    let without = Vehicle { skills: Vec::new(), ..courier() };
    let mut curious = go_on_duty(&node, 3, without, PICKUP).await;
    claim(&mut curious, order).await;
    hear_claim_lost(&mut curious, order).await;
    until(&Caller::new(&node, driver(1)), FEED, is_seen).await;
}

#[tokio::test]
async fn who_claims_what_it_does_not_fit_is_told_why_but_not_what_the_rider_asked_of_its_driver() {
    let (node, _preset) = impatient();
    let Needs { vehicles, weight_g, mut skills } = delivery().needs;
    skills.insert(0, "gender.female".to_owned());
    let needs = Needs { vehicles, weight_g, skills };
    let order = place_in_vain(&node, NewOrder { needs, ..delivery() }).await;
    let small = Vehicle { capacity_g: 4_999, ..courier() };
    for (n, vehicle, wanted) in [(1, courier(), WhyNot::Skill), (2, small, WhyNot::Capacity)] {
        let mut phone = go_on_duty(&node, n, vehicle, PICKUP).await;
        let action = DriverAction::ClaimJob { job: JobId::Order(order) };
        let outcome = phone.wish(Wish::Driver { id: None, action }).await;
        let Outcome::Refused(refused) = outcome else { panic!("{outcome:?}") };
        assert_eq!((refused.code, refused.why), (Code::NotEligible, vec![wanted]));
    }
}

#[tokio::test]
async fn the_nearest_are_told_first_and_whether_there_are_more() {
    let (node, _preset) = impatient();
    let mut orders = Vec::new();
    for east_m in [900.0, 300.0, 600.0] {
        let pickup = PICKUP.offset_m(east_m, 0.0);
        let stops = vec![pickup.into(), pickup.offset_m(0.0, 1_500.0).into()];
        orders.push(place_in_vain(&node, NewOrder { stops, ..delivery() }).await);
    }
    let _phone = go_on_duty(&node, 1, courier(), PICKUP).await;
    let me = Caller::new(&node, driver(1));
    let jobs = |told: &Value| -> Vec<Value> {
        told["jobs"].as_array().unwrap().iter().map(|it| it["job"].clone()).collect()
    };
    let told = until(&me, "/v1/feed?limit=2", |told| told["more"] == json!(true)).await;
    assert_eq!(jobs(&told), [named(orders[1]), named(orders[2])]);
    let told = json_of(me.get(FEED).await).await;
    assert_eq!(jobs(&told), [named(orders[1]), named(orders[2]), named(orders[0])]);
    assert_eq!(told["more"], json!(false));
}

#[tokio::test]
async fn the_feed_is_for_drivers_and_for_staff_who_say_whose() {
    let node = Node::start();
    for other in [rider(1), Principal::Merchant(MerchantId::nth(1))] {
        assert_refused(Caller::new(&node, other).get(FEED).await, 403, "forbidden").await;
    }
    let staff = Caller::new(&node, Principal::Dispatcher);
    let theirs = format!("{FEED}?driver={}", driver(1));
    assert_refused(staff.get(FEED).await, 422, "invalid").await;
    assert_refused(staff.get(&theirs).await, 404, "not_found").await;
    let _phone = go_on_duty(&node, 1, courier(), PICKUP).await;
    until(&staff, &theirs, has_nothing).await;

    let me = Caller::new(&node, driver(1));
    assert!(me.get(&theirs).await.status().is_success());
    for query in ["limit=0", "limit=51", "within_m=50001", "within_m=far", "x=1"] {
        assert_refused(me.get(&format!("{FEED}?{query}")).await, 422, "invalid").await;
    }
    let other = format!("{FEED}?driver={}", driver(2));
    assert_refused(me.get(&other).await, 404, "not_found").await;
}
