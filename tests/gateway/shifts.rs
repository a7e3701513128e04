//! Shifts that staff give drivers, from outside: who may be on duty, what becomes of whoever is when one is over, and of whoever
//! does not come.

use crate::{
    client::{Client, now},
    control::{done, event, nth, on_duty},
    grants::node_where,
    node::{Node, driver, rider},
    rest::{Caller, assert_refused, json_of},
    ride::{accept, act, go_on_duty, hear_offer, place_ride},
    why::until,
};
use protocol::{
    Code, Principal,
    frame::{Outcome, Push},
    trace::WhyNot,
    work::{DriverAction, DutyWish, OrderAction, Vehicle, VehicleKind, Wish},
};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

const HOUR: u64 = 3_600_000;

fn demanding() -> (Node, NamedTempFile) {
    node_where("shifts = \"off\"", "shifts = \"demanded\"")
}

fn path(what: &str) -> String {
    format!("/v1/drivers/{}{what}", nth(1))
}

/// Shifts that begin and end so many milliseconds from now.
fn shifts(spans: &[(i64, u64)]) -> Value {
    let now = now().0;
    let shift = |(from, until): &(i64, u64)| json!({ "start": now.saturating_add_signed(*from), "end": now + until });
    let shifts: Vec<Value> = spans.iter().map(shift).collect();
    json!({ "shifts": shifts, "reason": "next week" })
}

async fn set(staff: &Caller<'_>, version: u64, body: &Value) -> Value {
    let response = staff.put(&path("/shifts"), version, body).await;
    let status = response.status().as_u16();
    let tag = response.headers().get("etag").cloned();
    let shown = json_of(response).await;
    assert_eq!(status, 200, "{shown}");
    assert_eq!(tag.unwrap(), format!("\"{}\"", version + 1));
    shown
}

/// Why a driver may not go on duty.
async fn refused(phone: &mut Client) -> (Code, Vec<WhyNot>) {
    let vehicle = Vehicle { kind: VehicleKind::Moto, capacity_g: 0, skills: Vec::new() };
    let action = DriverAction::SetDuty { duty: DutyWish::On, vehicle: Some(vehicle) };
    let outcome = phone.wish(Wish::Driver { id: None, action }).await;
    let Outcome::Refused(refused) = outcome else { panic!("{outcome:?}") };
    (refused.code, refused.why)
}

async fn hear_message(phone: &mut Client) -> String {
    let message = phone.hear_push(|push| match push {
        Push::Message(message) => Some(message),
        _ => None,
    });
    let message = message.await;
    assert_eq!(message.by, Principal::System);
    message.text
}

#[tokio::test]
async fn where_shifts_are_demanded_a_driver_works_in_one_or_as_staff_let_it() {
    let (node, _preset) = demanding();
    let staff = Caller::new(&node, Principal::Dispatcher);
    let me = Caller::new(&node, driver(1));
    let mut phone = Client::connect(&node, driver(1)).await;
    let outside = (Code::NotEligible, vec![WhyNot::OutsideShift]);
    assert_eq!(refused(&mut phone).await, outside);
    let none = json_of(me.get("/v1/drivers/me/shifts").await).await;
    let wanted = json!({ "version": 0, "demanded": true, "shifts": [], "n_shift_no_shows": 0 });
    assert_eq!(none, wanted);

    let week = shifts(&[(-1_000, HOUR), (2 * HOUR as i64, 3 * HOUR)]);
    assert_refused(me.put(&path("/shifts"), 0, &week).await, 403, "forbidden").await;
    let given = set(&staff, 0, &week).await;
    assert_eq!(given["shifts"][0]["turnout"], "awaited");
    assert_eq!(given["works_until"], week["shifts"][0]["end"]);
    assert_eq!(hear_message(&mut phone).await, "Your shifts have changed.");
    let other = shifts(&[(HOUR as i64, 2 * HOUR)]);
    assert_refused(staff.put(&path("/shifts"), 0, &other).await, 409, "too_late").await;
    let overlapping = shifts(&[(0, 2 * HOUR), (HOUR as i64, 3 * HOUR)]);
    assert_refused(staff.put(&path("/shifts"), 1, &overlapping).await, 422, "invalid").await;
    let stranger = Caller::new(&node, driver(2));
    assert_refused(stranger.get(&path("/shifts")).await, 404, "not_found").await;

    go_on_duty(&mut phone, crate::ride::PICKUP).await;
    let mine = json_of(me.get("/v1/drivers/me/shifts").await).await;
    assert_eq!(mine["shifts"][0]["turnout"], "came");
    let shown = json_of(staff.get(&path("")).await).await;
    assert_eq!(shown["shift"], week["shifts"][0]);

    // They are taken from it, and with them its leave to work.
    set(&staff, 1, &shifts(&[])).await;
    let is_offline = |it: &Value| it["status"] == "offline";
    until(&staff, &path(""), is_offline).await;
    let why = json_of(me.get(&path("/why-no-offers")).await).await;
    assert_eq!(why["now"], json!(["off_duty", "outside_shift"]));
    assert_eq!(refused(&mut phone).await, outside);

    let allow = json!({ "allow_off_shift": { "until": now().0 + HOUR, "reason": "rain" } });
    let revoke = json!({ "revoke_off_shift": { "reason": "dry again" } });
    for action in [&allow, &revoke] {
        assert_refused(me.post(&path("/actions"), action).await, 403, "forbidden").await;
    }
    let for_long = json!({ "allow_off_shift": { "until": now().0 + 25 * HOUR, "reason": "rain" } });
    assert_refused(staff.post(&path("/actions"), &for_long).await, 422, "invalid").await;
    done(&staff, &path("/actions"), allow).await;
    go_on_duty(&mut phone, crate::ride::PICKUP).await;
    let mine = json_of(me.get("/v1/drivers/me/shifts").await).await;
    assert_eq!(mine["off_shift"]["reason"], "rain");
    done(&staff, &path("/actions"), revoke).await;
    until(&staff, &path(""), is_offline).await;

    let history = json_of(staff.get(&format!("/v1/actors/{}/history", nth(1))).await).await;
    for (name, reason) in [
        ("shifts_set", "next week"),
        ("off_shift_allowed", "rain"),
        ("off_shift_revoked", "dry again"),
    ] {
        let told = event(&history, name);
        assert_eq!((&told["by"], &told["reason"]), (&json!("dispatcher"), &json!(reason)));
    }
}

#[tokio::test]
async fn when_its_shift_is_over_a_driver_ends_what_it_has_and_is_taken_off_duty() {
    let (node, _preset) = demanding();
    let staff = Caller::new(&node, Principal::Dispatcher);
    set(&staff, 0, &shifts(&[(-1_000, 5_000)])).await;
    let mut phone = on_duty(&node, 1, 50.0).await;
    let mut waiting = Client::connect(&node, rider(9)).await;
    let order = place_ride(&mut waiting).await;
    let offer = hear_offer(&mut phone).await;
    accept(&mut phone, &offer).await;

    let told = hear_message(&mut phone).await;
    assert!(told.starts_with("Your shift is over"), "{told}");
    let why = json_of(staff.get(&path("/why-no-offers")).await).await;
    assert_eq!(why["now"], json!(["leaving", "outside_shift", "no_room"]));
    let spells = why["spells"].as_array().unwrap();
    assert!(spells.iter().any(|it| it["why"] == "outside_shift"), "{why}");
    let shown = json_of(staff.get(&path("")).await).await;
    assert_eq!((&shown["status"], shown["jobs"].as_array().unwrap().len()), (&json!("busy"), 1));

    act(&mut waiting, order, OrderAction::Cancel { reason: "changed_mind".to_owned() }).await;
    until(&staff, &path(""), |it| it["status"] == "offline").await;
    assert_eq!(refused(&mut phone).await, (Code::NotEligible, vec![WhyNot::OutsideShift]));
}

#[tokio::test]
async fn who_does_not_come_to_a_shift_is_counted_once_also_after_a_power_cut() {
    let preset = NamedTempFile::new().unwrap();
    let riderguy = include_str!("../../config/presets/riderguy.toml");
    let soon = riderguy.replace("shift_grace_s = 900", "shift_grace_s = 1");
    std::fs::write(preset.path(), soon).unwrap();
    let file = preset.path().to_str().unwrap();
    let mut node = Node::with(&[("PRESET__FILE", file), ("JOURNAL__KIND", "sqlite")]);
    let given = {
        let staff = Caller::new(&node, Principal::Dispatcher);
        set(&staff, 0, &shifts(&[(500, HOUR)])).await
    };
    let [start, due] = ["start", "due"].map(|it| given["shifts"][0][it].as_u64().unwrap());
    assert_eq!((due - start, &given["demanded"]), (1_000, &json!(false)));
    // What is due is written down: nothing in memory waits for it.
    node.kill_and_restart();
    let staff = Caller::new(&node, Principal::Dispatcher);
    until(&staff, &path(""), |it| it["n_shift_no_shows"] == 1).await;
    let mine = json_of(Caller::new(&node, driver(1)).get("/v1/drivers/me/shifts").await).await;
    assert_eq!(
        (&mine["shifts"][0]["turnout"], &mine["n_shift_no_shows"]),
        (&json!("missed"), &json!(1))
    );
    let metrics = reqwest::get(node.url("/metrics")).await.unwrap().text().await.unwrap();
    let counted = metrics.lines().find(|it| {
        it.starts_with("outrider_events_total{") && it.contains("event=\"shift_missed\"")
    });
    assert_eq!(counted.and_then(|it| it.split(' ').next_back()), Some("1"), "{metrics}");

    let mut phone = on_duty(&node, 1, 50.0).await;
    let off = DriverAction::SetDuty { duty: DutyWish::Off, vehicle: None };
    let outcome = phone.wish(Wish::Driver { id: None, action: off }).await;
    assert!(matches!(outcome, Outcome::Ok(_)), "{outcome:?}");
    let shown = json_of(staff.get(&path("")).await).await;
    assert_eq!((&shown["status"], &shown["n_shift_no_shows"]), (&json!("offline"), &json!(1)));
}
