//! Why a job was offered as it was, and why a driver was offered nothing, asked over HTTP.

use crate::{
    client::Client,
    node::{Node, driver, rider},
    rest::{Caller, assert_refused, json_of, ride},
    ride::{PICKUP, accept, go_on_duty, hear_offer, hear_status, place_ride, position},
};
use protocol::{
    OrderId, OrderStatus, Principal,
    frame::Outcome,
    work::{DriverAction, DutyWish, Wish},
};
use serde_json::{Value, json};
use std::time::Duration;

/// Rounds are often, and nobody is left out of one for having been proposed in the last.
pub(crate) fn node_that_looks_often() -> Node {
    let settings = ["REGIONS__WARM_UP_MS", "REGIONS__REPEAT_MS"].map(|it| (it, "0"));
    Node::with(&[("REGIONS__TICK_MS", "50"), settings[0], settings[1]])
}

/// Waits until rounds can see a driver.
async fn seen(staff: &Caller<'_>, n: u64) {
    let path = format!("/v1/drivers/{}/why-no-offers", driver(n));
    until(staff, &path, |it| it["now"] == json!([])).await;
}

/// A ride that is offered to one driver at a time.
async fn place_for_one(staff: &Caller<'_>, whose: Principal) -> OrderId {
    let mut order = ride();
    order["policy"] = json!("batch_optimal");
    order["rider"] = json!(whose.to_string());
    let placed = json_of(staff.post("/v1/orders", &order).await).await;
    placed["actor"].as_str().unwrap().parse().unwrap()
}

/// Asks until the answer is what `is_it` wants.
pub(crate) async fn until(
    caller: &Caller<'_>,
    path: &str,
    is_it: impl Fn(&Value) -> bool,
) -> Value {
    for _ in 0..60 {
        let answer = json_of(caller.get(path).await).await;
        if is_it(&answer) {
            return answer;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{path}: {}", json_of(caller.get(path).await).await);
}

fn find<'v>(list: &'v Value, key: &str, value: &str) -> &'v Value {
    let all = list.as_array().unwrap();
    all.iter().find(|it| it[key] == value).unwrap_or_else(|| panic!("no {key} {value} in {list}"))
}

#[tokio::test]
async fn a_match_trace_tells_who_was_weighed_who_did_not_fit_and_what_was_answered() {
    let node = node_that_looks_often();
    let staff = Caller::new(&node, Principal::Dispatcher);
    let mut near = Client::connect(&node, driver(1)).await;
    let mut far = Client::connect(&node, driver(2)).await;
    go_on_duty(&mut near, PICKUP.offset_m(60.0, 0.0)).await;
    go_on_duty(&mut far, PICKUP.offset_m(300.0, 0.0)).await;
    seen(&staff, 1).await;
    seen(&staff, 2).await;
    let mut waiting = Client::connect(&node, rider(9)).await;
    let order = place_for_one(&staff, rider(9)).await;
    let path = format!("/v1/orders/{order}/match-trace");

    let offer = hear_offer(&mut near).await;
    let decline = DriverAction::DeclineOffer { offer: offer.id };
    let declined = near.wish(Wish::Driver { id: None, action: decline }).await;
    assert!(matches!(declined, Outcome::Ok(_)), "{declined:?}");
    let second = hear_offer(&mut far).await;
    accept(&mut far, &second).await;
    hear_status(&mut waiting, OrderStatus::Assigned).await;

    let trace = json_of(staff.get(&path).await).await;
    assert_eq!(trace["job"], json!({ "order": order.to_string() }));
    let offers = trace["offers"].as_array().unwrap();
    let outcomes: Vec<_> = offers.iter().map(|it| (&it["driver"], &it["outcome"])).collect();
    let names = [driver(1).to_string(), driver(2).to_string()].map(Value::from);
    assert_eq!(outcomes, [(&names[0], &json!("declined")), (&names[1], &json!("accepted"))]);
    assert!(offers[1]["cost_ms"].as_u64() > offers[1]["distance_m"].as_u64(), "{trace}");
    assert_eq!(trace["steps"][0]["what"], "search_opened");
    assert_eq!(find(&trace["steps"], "what", "assigned")["driver"], names[1]);

    let rounds = trace["rounds"].as_array().unwrap();
    let proposed: Vec<&Value> = rounds.iter().filter(|it| it["verdict"] == "proposed").collect();
    let [first, then] = proposed[..] else { panic!("{trace}") };
    assert_eq!(find(&first["weighed"], "fate", "proposed")["driver"], names[0]);
    assert_eq!(find(&first["weighed"], "fate", "spare")["driver"], names[1]);
    let best = find(&then["weighed"], "fate", "proposed");
    assert_eq!(best["driver"], names[1]);
    let costs = best.as_object().unwrap().iter().filter(|(name, _)| name.ends_with("_ms"));
    let parts = costs.filter(|(name, _)| *name != "cost_ms");
    let sum_ms: u64 = parts.filter_map(|(_, ms)| ms.as_u64()).sum();
    assert_eq!(Some(sum_ms), best["cost_ms"].as_u64());
    assert_eq!(find(&then["unfit"], "driver", driver(1).to_string().as_str())["why"], "excluded");

    let mine = Caller::new(&node, rider(9));
    assert_refused(mine.get(&path).await, 403, "forbidden").await;
    let nobody = "/v1/orders/order-01890a5d-ac96-774b-bcce-b302099a8057/match-trace";
    assert_refused(staff.get(nobody).await, 404, "not_found").await;
}

#[tokio::test]
async fn a_driver_is_told_why_it_gets_no_offers() {
    let node = node_that_looks_often();
    let me = Caller::new(&node, driver(2));
    let staff = Caller::new(&node, Principal::Dispatcher);
    let mut near = Client::connect(&node, driver(1)).await;
    let mut far = Client::connect(&node, driver(2)).await;
    let path = "/v1/drivers/me/why-no-offers";
    assert_refused(me.get(path).await, 404, "not_found").await;

    go_on_duty(&mut near, PICKUP.offset_m(60.0, 0.0)).await;
    go_on_duty(&mut far, PICKUP.offset_m(400.0, 0.0)).await;
    seen(&staff, 1).await;
    seen(&staff, 2).await;
    let order = place_for_one(&staff, rider(9)).await;
    hear_offer(&mut near).await;

    let told = until(&me, path, |it| it["n_jobs"] == 1).await;
    assert_eq!(told["now"], json!([]));
    assert_eq!(told["why"], json!({ "outranked": 1 }));
    let chance = &told["chances"][0];
    assert!(chance["cost_ms"].as_u64() > chance["best_cost_ms"].as_u64(), "{told}");
    assert!(chance.get("job").is_none(), "which job it was is nobody else's business: {told}");

    let action = DriverAction::SetDuty { duty: DutyWish::Break, vehicle: None };
    far.wish(Wish::Driver { id: None, action }).await;
    let their = format!("/v1/drivers/{}/why-no-offers", driver(2));
    let told = json_of(staff.get(&their).await).await;
    assert_eq!(told["now"], json!(["on_break"]));
    assert_eq!(told["spells"][0]["why"], "on_break");
    assert_eq!(told["chances"][0]["job"], json!({ "order": order.to_string() }));

    let first = format!("/v1/drivers/{}/why-no-offers", driver(1));
    let told = json_of(staff.get(&first).await).await;
    assert_eq!((&told["now"], &told["n_proposed"]), (&json!(["has_offer"]), &json!(1)));
    assert_eq!(told["offers"].as_array().unwrap().len(), 1);
    assert_refused(me.get(&first).await, 404, "not_found").await;
}

/// Offers and their ends are in the journal, and what the rounds saw that came to them.
#[tokio::test]
async fn what_was_offered_and_why_is_told_after_a_power_cut() {
    let mut node = Node::with(&[("JOURNAL__KIND", "sqlite"), ("REGIONS__TICK_MS", "50")]);
    let order = {
        let mut near = Client::connect(&node, driver(1)).await;
        go_on_duty(&mut near, PICKUP.offset_m(60.0, 0.0)).await;
        let mut waiting = Client::connect(&node, rider(9)).await;
        let order = place_ride(&mut waiting).await;
        let offer = hear_offer(&mut near).await;
        accept(&mut near, &offer).await;
        order
    };
    let path = format!("/v1/orders/{order}/match-trace");
    let before = json_of(Caller::new(&node, Principal::Dispatcher).get(&path).await).await;
    node.kill_and_restart();
    let staff = Caller::new(&node, Principal::Dispatcher);
    let trace = json_of(staff.get(&path).await).await;
    assert_eq!(trace["offers"][0]["outcome"], "accepted");
    assert!(trace["offers"][0]["cost_ms"].as_u64() > Some(0), "{trace}");
    let round = find(&trace["rounds"], "verdict", "proposed");
    assert_eq!(round["weighed"], find(&before["rounds"], "verdict", "proposed")["weighed"]);
    assert_eq!(round["weighed"][0]["driver"], driver(1).to_string());
    assert!(
        trace["known_since"].as_u64() > round["at"].as_u64(),
        "since it was restarted: {trace}"
    );

    // What became of drivers whom nobody asked is not kept, and it is said since when it is known.
    let mut near = Client::connect(&node, driver(1)).await;
    near.say(&position(PICKUP.offset_m(60.0, 0.0))).await;
    let path = format!("/v1/drivers/{}/why-no-offers", driver(1));
    let told = until(&staff, &path, |it| it.get("known_since").is_some()).await;
    assert!(told["known_since"].as_u64() > told["since"].as_u64(), "{told}");
}
