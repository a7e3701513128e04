//! What it takes to carry something stranded away, and who has got it, from outside.

use crate::{
    client::Client,
    control::{done, nth},
    node::{Node, driver, rider},
    rest::{Caller, assert_refused, json_of, ride},
    ride::{PICKUP, hear_offer, position},
    why::until,
};
use protocol::{
    JobId, Principal,
    frame::Outcome,
    work::{DriverAction, DutyWish, Vehicle, VehicleKind, Wish},
};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

/// A node that looks for drivers often, of a brand that asks for what loads something of which it is known what it is, or of one that
/// does not; and the preset that says so.
fn node_that_asks(loading: &str) -> (Node, NamedTempFile) {
    let preset = NamedTempFile::new().unwrap();
    let (safeboda, never) =
        (include_str!("../../config/presets/safeboda.toml"), "loading = \"never\"");
    assert_eq!(safeboda.matches(never).count(), 1);
    let said = safeboda.replace(never, &format!("loading = \"{loading}\""));
    std::fs::write(preset.path(), said).unwrap();
    let file = preset.path().to_str().unwrap();
    let often = ["REGIONS__WARM_UP_MS", "REGIONS__REPEAT_MS"].map(|it| (it, "0"));
    let tick = ("REGIONS__TICK_MS", "50");
    (Node::with(&[("PRESET__FILE", file), often[0], often[1], tick]), preset)
}

/// A driver on duty in such a vehicle, so many metres from the pickup, whom rounds can see.
async fn drives(node: &Node, n: u64, what: (VehicleKind, u32), has: &[&str]) -> Client {
    let mut phone = Client::connect(node, driver(n)).await;
    let (kind, capacity_g) = what;
    let skills = has.iter().map(|&it| it.to_owned()).collect();
    let vehicle = Some(Vehicle { kind, capacity_g, skills });
    let action = DriverAction::SetDuty { duty: DutyWish::On, vehicle };
    let outcome = phone.wish(Wish::Driver { id: None, action }).await;
    assert!(matches!(outcome, Outcome::Ok(_)), "{outcome:?}");
    phone.say(&position(PICKUP.offset_m(50.0 * n as f64, 0.0))).await;
    let staff = Caller::new(node, Principal::Dispatcher);
    let path = format!("/v1/drivers/{}/why-no-offers", nth(n));
    until(&staff, &path, |it| it["now"] == json!([])).await;
    phone
}

/// What one of the rounds says of why a driver did not fit.
fn why(trace: &Value, n: u64) -> Value {
    let rounds = trace["rounds"].as_array().unwrap().iter();
    let mut unfit = rounds.flat_map(|it| it["unfit"].as_array().unwrap());
    let told = unfit.find(|it| it["driver"] == json!(nth(n).to_string()));
    told.map_or(Value::Null, |it| it["why"].clone())
}

#[tokio::test]
async fn a_motorcycle_is_carried_by_who_can_load_it_and_the_trace_says_what_each_other_lacks() {
    let (node, _preset) = node_that_asks("known");
    let van = (VehicleKind::Van, 1_000_000);
    let _moto = drives(&node, 1, (VehicleKind::Moto, 20_000), &["tie_downs"]).await;
    let _bare = drives(&node, 2, van, &[]).await;
    let _ramp = drives(&node, 3, van, &["ramp", "tie_downs"]).await;
    let _small = drives(&node, 4, (VehicleKind::Van, 150_000), &["lift_gate", "tie_downs"]).await;
    let _loose = drives(&node, 5, van, &["lift_gate"]).await;
    // A tow truck need not say what makes it one.
    let mut truck = drives(&node, 6, (VehicleKind::TowTruck, 3_500_000), &[]).await;

    let staff = Caller::new(&node, Principal::Dispatcher);
    let stranded = Caller::new(&node, rider(9));
    let at = ride()["stops"][0].clone();
    let rescue = json!({ "issue": "accident", "at": at, "bike": "motorcycle" });
    let placed = json_of(stranded.post("/v1/rescues", &rescue).await).await;
    let rescue = placed["actor"].as_str().unwrap();
    let offer = hear_offer(&mut truck).await;
    assert_eq!(offer.job, JobId::Rescue(rescue.parse().unwrap()));
    let view = json_of(staff.get(&format!("/v1/rescues/{rescue}")).await).await;
    let needs = json!({
        "vehicles": ["van", "tow_truck"], "weight_g": 200_000, "skills": ["lift_gate", "tie_downs"],
    });
    assert_eq!(view["needs"], needs);

    let path = format!("/v1/rescues/{rescue}/match-trace");
    let trace = json_of(staff.get(&path).await).await;
    let told = [1, 2, 3, 4, 5].map(|n| why(&trace, n));
    let lacks = ["vehicle", "lift_gate", "lift_gate", "capacity", "tie_downs"].map(Value::from);
    assert_eq!(told, lacks, "{trace}");
    let triaged = trace["steps"].as_array().unwrap().iter().find(|it| it["what"] == "triaged");
    let said = "van or tow_truck, 200 kg, lift_gate, tie_downs";
    assert_eq!(triaged.unwrap()["reason"], said);
    let me = Caller::new(&node, driver(3));
    let mine = until(&me, "/v1/drivers/me/why-no-offers", |it| it["n_jobs"] == 1).await;
    assert_eq!(mine["why"], json!({ "lift_gate": 1 }));

    // Whoever insists is told what it overrules, all of it, and so is whoever asks later.
    let actions = format!("/v1/rescues/{rescue}/actions");
    let assign = |force: bool| {
        json!({ "assign": {
            "driver": nth(2).to_string(), "force": force, "reason": "it is nearer" } })
    };
    let refused = json_of(staff.post(&actions, &assign(false)).await).await;
    let lacks = json!(["lift_gate", "tie_downs"]);
    assert_eq!((&refused["code"], &refused["why"]), (&json!("not_eligible"), &lacks));
    done(&staff, &actions, assign(true)).await;
    let trace = json_of(staff.get(&path).await).await;
    let chosen = trace["steps"].as_array().unwrap().iter().find(|it| it["what"] == "driver_chosen");
    assert_eq!(chosen.unwrap()["bypassed"], lacks);
}

#[tokio::test]
async fn where_the_brand_does_not_ask_for_what_loads_it_a_van_that_says_nothing_is_sent() {
    let (node, _preset) = node_that_asks("never");
    let mut van = drives(&node, 1, (VehicleKind::Van, 1_000_000), &[]).await;
    let stranded = Caller::new(&node, rider(9));
    let at = ride()["stops"][0].clone();
    let rescue = json!({ "issue": "accident", "at": at, "vehicle": "moto" });
    let placed = json_of(stranded.post("/v1/rescues", &rescue).await).await;
    let offer = hear_offer(&mut van).await;
    assert_eq!(offer.job, JobId::Rescue(placed["actor"].as_str().unwrap().parse().unwrap()));
}

#[tokio::test]
async fn what_is_stranded_must_be_something_and_weigh_no_more_than_anything_does() {
    let node = Node::start();
    let me = Caller::new(&node, rider(1));
    let rescue = |what: Value| {
        let mut all = json!({ "issue": "stuck", "at": ride()["stops"][0] });
        all.as_object_mut().unwrap().extend(what.as_object().unwrap().clone());
        all
    };
    for what in [
        json!({ "weight_g": 40_000_001 }),
        json!({ "bike": "cargo_bike", "vehicle": "car" }),
        json!({ "bike": "e_bike", "vehicle": "moto" }),
    ] {
        assert_refused(me.post("/v1/rescues", &rescue(what)).await, 422, "invalid").await;
    }
    let what = json!({ "bike": "cargo_bike", "vehicle": "bicycle", "weight_g": 40_000_000 });
    assert_eq!(me.post("/v1/rescues", &rescue(what)).await.status(), 201);
}
