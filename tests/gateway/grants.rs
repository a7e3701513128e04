//! Skills that staff vouch for, and drivers who take none of their offers, from outside.

use crate::{
    client::Client,
    control::{done, event, nth, on_duty},
    node::{Node, driver, rider},
    rest::{Caller, assert_refused, json_of, ride},
    ride::{PICKUP, hear_offer, place_ride, position},
    why::{node_that_looks_often, until},
};
use protocol::{
    JobId, Principal,
    frame::{Outcome, Push},
    work::{DriverAction, DutyWish, Vehicle, VehicleKind, Wish},
};
use serde_json::{Value, json};
use tempfile::NamedTempFile;

const HAZMAT: &str = "certificate.hazmat";

/// A node whose drivers' rules are others, and the preset that says so.
pub(crate) fn node_where(rule: &str, instead: &str) -> (Node, NamedTempFile) {
    let preset = NamedTempFile::new().unwrap();
    let riderguy = include_str!("../../config/presets/riderguy.toml");
    assert_eq!(riderguy.matches(rule).count(), 1, "{rule}");
    std::fs::write(preset.path(), riderguy.replace(rule, instead)).unwrap();
    let file = preset.path().to_str().unwrap();
    let often = ["REGIONS__WARM_UP_MS", "REGIONS__REPEAT_MS"].map(|it| (it, "0"));
    let tick = ("REGIONS__TICK_MS", "50");
    (Node::with(&[("PRESET__FILE", file), often[0], often[1], tick]), preset)
}

/// A driver on duty at the pickup who says that it may carry what is dangerous.
async fn who_says_so(node: &Node) -> Client {
    let mut phone = Client::connect(node, driver(1)).await;
    let skills = vec![HAZMAT.to_owned(), "winch".to_owned()];
    let vehicle = Some(Vehicle { kind: VehicleKind::Moto, capacity_g: 20_000, skills });
    let action = DriverAction::SetDuty { duty: DutyWish::On, vehicle };
    let outcome = phone.wish(Wish::Driver { id: None, action }).await;
    assert!(matches!(outcome, Outcome::Ok(_)), "{outcome:?}");
    phone.say(&position(PICKUP)).await;
    phone
}

/// Places a ride that only somebody with the certificate may drive.
async fn place_dangerous(node: &Node) -> JobId {
    let mut order = ride();
    order["needs"] = json!({ "skills": [HAZMAT] });
    let placed = json_of(Caller::new(node, rider(9)).post("/v1/orders", &order).await).await;
    JobId::Order(placed["actor"].as_str().unwrap().parse().unwrap())
}

#[tokio::test]
async fn what_a_driver_says_of_itself_counts_once_staff_vouch_for_it_and_no_longer() {
    let node = node_that_looks_often();
    let staff = Caller::new(&node, Principal::Dispatcher);
    let me = Caller::new(&node, driver(1));
    let (view, actions) =
        (format!("/v1/drivers/{}", nth(1)), format!("/v1/drivers/{}/actions", nth(1)));
    let grant = json!({ "grant_skill": { "skill": HAZMAT, "reason": "seen at the office" } });
    let revoke = json!({ "revoke_skill": { "skill": HAZMAT, "reason": "expired" } });
    assert_refused(staff.post(&actions, &grant).await, 404, "not_found").await;
    let mut phone = who_says_so(&node).await;
    let job = place_dangerous(&node).await;
    let JobId::Order(order) = job else { panic!("an order") };

    // It is not told that it may not say so, only that it does not count.
    let why = format!("{view}/why-no-offers");
    let told = until(&me, &why, |it| it["why"]["certificate"] == 1).await;
    assert_eq!(told["ungranted"], json!([HAZMAT]));
    let shown = json_of(me.get(&view).await).await;
    assert_eq!((&shown["ungranted"], shown.get("grants")), (&json!([HAZMAT]), None));
    let assign = json!({ "assign": {
        "driver": nth(1).to_string(), "force": true, "reason": "it says it can" } });
    let refused = staff.post(&format!("/v1/orders/{order}/actions"), &assign).await;
    assert_eq!(json_of(refused).await["why"], json!(["certificate"]));

    for action in [&grant, &revoke] {
        assert_refused(me.post(&actions, action).await, 403, "forbidden").await;
    }
    let winch = json!({ "grant_skill": { "skill": "winch", "reason": "has one" } });
    assert_refused(staff.post(&actions, &winch).await, 422, "invalid").await;
    done(&staff, &actions, grant).await;
    assert_eq!(hear_offer(&mut phone).await.job, job);
    let shown = json_of(me.get(&view).await).await;
    assert_eq!(shown["grants"], json!([{ "skill": HAZMAT }]));
    assert_eq!(shown.get("ungranted"), None, "{shown}");

    done(&staff, &actions, revoke).await;
    let shown = json_of(me.get(&view).await).await;
    assert_eq!((&shown["ungranted"], shown.get("grants")), (&json!([HAZMAT]), None));
    let history = json_of(staff.get(&format!("/v1/actors/{}/history", nth(1))).await).await;
    for (name, reason) in [("skill_granted", "seen at the office"), ("skill_revoked", "expired")] {
        let told = event(&history, name);
        assert_eq!((&told["by"], &told["reason"]), (&json!("dispatcher"), &json!(reason)));
    }
}

#[tokio::test]
async fn a_grant_counts_until_it_is_over() {
    let node = node_that_looks_often();
    let staff = Caller::new(&node, Principal::Admin);
    let actions = format!("/v1/drivers/{}/actions", nth(1));
    let _phone = who_says_so(&node).await;
    let until_then = |until: u64| json!({ "grant_skill": { "skill": HAZMAT, "reason": "a trial", "until": until } });
    assert_refused(staff.post(&actions, &until_then(1)).await, 422, "invalid").await;
    let soon = crate::client::now().0 + 2_500;
    done(&staff, &actions, until_then(soon)).await;
    let why = format!("/v1/drivers/{}/why-no-offers", nth(1));
    let told = json_of(staff.get(&why).await).await;
    assert_eq!(told.get("ungranted"), None, "{told}");
    until(&staff, &why, |it| it["ungranted"] == json!([HAZMAT])).await;
}

#[tokio::test]
async fn where_a_brand_takes_drivers_at_their_word_nobody_need_vouch() {
    let (node, _preset) = node_where("self_declared = false", "self_declared = true");
    let mut phone = who_says_so(&node).await;
    let job = place_dangerous(&node).await;
    assert_eq!(hear_offer(&mut phone).await.job, job);
    let shown = json_of(Caller::new(&node, driver(1)).get("/v1/drivers/me/why-no-offers").await);
    assert_eq!(shown.await.get("ungranted"), None);
}

#[tokio::test]
async fn who_takes_none_of_its_offers_is_told_so_and_sees_what_it_made_of_them() {
    let (node, _preset) = node_where("unwanted_told = 5", "unwanted_told = 2");
    let mut phone = on_duty(&node, 1, 50.0).await;
    for n in 1..=2 {
        let mut waiting = Client::connect(&node, rider(n)).await;
        let order = place_ride(&mut waiting).await;
        let offer = hear_offer(&mut phone).await;
        assert_eq!(offer.job, JobId::Order(order));
        let decline = DriverAction::DeclineOffer { offer: offer.id };
        let declined = phone.wish(Wish::Driver { id: None, action: decline }).await;
        assert!(matches!(declined, Outcome::Ok(_)), "{declined:?}");
    }
    let told = phone
        .hear_push(|push| match push {
            Push::Message(message) => Some(message),
            _ => None,
        })
        .await;
    assert_eq!((told.by, told.in_a_row), (Principal::System, Some(2)));
    let me = Caller::new(&node, driver(1));
    let shown: Value = json_of(me.get(&format!("/v1/drivers/{}", nth(1))).await).await;
    let rates = &shown["rates"];
    assert_eq!(
        (&rates["made"], &rates["declined"], &rates["in_a_row"]),
        (&json!(2), &json!(2), &json!(2))
    );

    // And is asked as before.
    let mut waiting = Client::connect(&node, rider(3)).await;
    let order = place_ride(&mut waiting).await;
    assert_eq!(hear_offer(&mut phone).await.job, JobId::Order(order));
}
