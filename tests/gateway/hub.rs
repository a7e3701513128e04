//! A delivery that changes vehicles at a hub: one driver brings it there, another one on from there, and its rider has one order.

use crate::{
    client::Client,
    cluster::insist,
    control::event,
    node::{Node, driver, rider},
    rest::{Caller, assert_refused, json_of, ride},
    ride::{PICKUP, accept, act, hear_offer, new_ride, position},
    runs::{carrying, here},
    why::until,
};
use protocol::{
    JobId, OrderId, Principal,
    frame::Outcome,
    work::{DriverAction, DutyWish, NewOrder, OrderAction, OrderKind, Via, Wish},
};
use serde_json::{Value, json};

/// Everything is so near that nobody has to move.
async fn place_by_hub(client: &mut Client) -> OrderId {
    let order = NewOrder {
        kind: OrderKind::Delivery,
        stops: vec![PICKUP.into(), PICKUP.offset_m(0.0, 150.0).into()],
        via: Some(Via { hub: here().into(), until: None }),
        ..new_ride()
    };
    let outcome = client.wish(Wish::PlaceOrder(Box::new(order))).await;
    let Outcome::Ok(done) = outcome else { panic!("{outcome:?}") };
    done.actor.parse().unwrap()
}

async fn wish(client: &mut Client, action: DriverAction) {
    let outcome = client.wish(Wish::Driver { id: None, action }).await;
    assert!(matches!(outcome, Outcome::Ok(_)), "{outcome:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivery_changes_vehicles_at_a_hub_and_stays_one_order() {
    let node = Node::with(&[
        ("PRESET__NAME", "reskflow"),
        ("REGIONS__WARM_UP_MS", "0"),
        ("REGIONS__TICK_MS", "100"),
    ]);
    let staff = Caller::new(&node, Principal::Dispatcher);
    let mut sender = Client::connect(&node, rider(1)).await;
    let order = place_by_hub(&mut sender).await;
    let path = format!("/v1/orders/{order}");
    let shown = json_of(staff.get(&path).await).await;
    assert_eq!((shown["stops"].as_array().map(Vec::len), &shown["hub"]), (Some(3), &json!({})));

    let mut first = carrying(&node, 1, 0).await;
    let offer = hear_offer(&mut first).await;
    assert_eq!(offer.job, JobId::Order(order));
    accept(&mut first, &offer).await;
    first.say(&position(here())).await;
    insist(&mut first, order, OrderAction::Arrive {}).await;
    act(&mut first, order, OrderAction::PickUp { proofs: Vec::new() }).await;
    act(&mut first, order, OrderAction::Depart {}).await;
    act(&mut first, order, OrderAction::ArriveStop {}).await;
    act(&mut first, order, OrderAction::CompleteStop { proofs: Vec::new() }).await;
    let shown = json_of(staff.get(&path).await).await;
    assert_eq!(shown["hub"]["by"], json!(driver(1).to_string()), "{shown}");
    assert_eq!((&shown["stops_done"], &shown["driver"]), (&json!(2), &Value::Null), "{shown}");

    // Who has brought it there may bring it on, too, and need not.
    let offer = hear_offer(&mut first).await;
    assert_eq!(offer.job, JobId::Order(order));
    wish(&mut first, DriverAction::DeclineOffer { offer: offer.id }).await;
    wish(&mut first, DriverAction::SetDuty { duty: DutyWish::Off, vehicle: None }).await;
    let mut second = carrying(&node, 2, 0).await;
    let offer = hear_offer(&mut second).await;
    accept(&mut second, &offer).await;
    second.say(&position(here())).await;
    insist(&mut second, order, OrderAction::Arrive {}).await;
    act(&mut second, order, OrderAction::PickUp { proofs: Vec::new() }).await;
    act(&mut second, order, OrderAction::Depart {}).await;
    second.say(&position(here())).await;
    act(&mut second, order, OrderAction::Arrive {}).await;
    act(&mut second, order, OrderAction::Deliver { proofs: Vec::new(), cash: None }).await;

    let me = Caller::new(&node, rider(1));
    let ended = until(&me, &path, |it| it["status"] == "delivered").await;
    let drivers = (&ended["hub"]["by"], &ended["driver"]);
    assert_eq!(drivers, (&json!(driver(1).to_string()), &json!(driver(2).to_string())), "{ended}");
    let listed = json_of(me.get("/v1/orders").await).await;
    assert_eq!(listed["items"].as_array().map(Vec::len), Some(1), "{listed}");
    let history = json_of(staff.get(&format!("/v1/actors/{order}/history")).await).await;
    assert_eq!(event(&history, "left_at_hub")["by"], json!(driver(1).to_string()), "{history}");
    let n_assigned = history.as_array().unwrap().iter().filter(|it| it["event"] == "assigned");
    assert_eq!(n_assigned.count(), 2, "one history of both");
}

#[tokio::test]
async fn only_a_delivery_with_two_stops_goes_by_a_hub() {
    let node = Node::start();
    let me = Caller::new(&node, rider(1));
    let by_hub = |kind: &str, n_stops: usize| {
        let mut order = ride();
        order["kind"] = json!(kind);
        order["stops"] =
            (0..n_stops).map(|n| json!({ "at": PICKUP.offset_m(300.0 * n as f64, 0.0) })).collect();
        order["via"] = json!({ "hub": { "at": here(), "label": "the depot" } });
        order
    };
    assert_refused(me.post("/v1/orders", &by_hub("ride", 2)).await, 422, "invalid").await;
    assert_refused(me.post("/v1/orders", &by_hub("delivery", 3)).await, 422, "invalid").await;
    let mut late = by_hub("delivery", 2);
    late["via"]["until"] = json!(1_000);
    assert_refused(me.post("/v1/orders", &late).await, 422, "invalid").await;
    assert_eq!(me.post("/v1/orders", &by_hub("delivery", 2)).await.status(), 201);
}
