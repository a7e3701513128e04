//! A ride from wish to rating, and what the two phones hear of it.

use crate::{
    client::{Client, Counted, now},
    node::{Node, driver, rider},
};
use protocol::{
    CommandId, DriverId, JobId, OrderId, OrderStatus, Point, Principal, RiderId,
    frame::{ClientFrame, Fix, Outcome, Push, ServerFrame, Topic},
    view::Offer,
    work::{
        DriverAction, DutyWish, Handoff, Needs, NewOrder, OfferPolicy, OrderAction, OrderKind,
        PaymentTiming, Vehicle, VehicleKind, Wish,
    },
};

pub(crate) const PICKUP: Point = Point { lat: -1.9441, lon: 30.0619 };

pub(crate) fn new_ride() -> NewOrder {
    NewOrder {
        kind: OrderKind::Ride,
        stops: vec![PICKUP.into(), PICKUP.offset_m(1_500.0, 0.0).into()],
        rider: None,
        start_at: None,
        payment: PaymentTiming::Cash,
        needs: Needs::default(),
        quote: None,
        merchant: None,
        handoff: Handoff::Driver,
        driver: None,
        policy: None,
        pickup_proof: Vec::new(),
        dropoff_proof: Vec::new(),
        cash_on_delivery: None,
        n_items: None,
        fleet: None,
        exclusive: false,
        via: None,
    }
}

pub(crate) async fn place_ride(client: &mut Client) -> OrderId {
    let outcome = client.wish(Wish::PlaceOrder(Box::new(new_ride()))).await;
    let Outcome::Ok(done) = outcome else { panic!("{outcome:?}") };
    done.actor.parse().unwrap()
}

pub(crate) fn position(at: Point) -> ClientFrame {
    ClientFrame::Position(Fix {
        at,
        sampled_at: now(),
        heading_deg: None,
        speed_mps: None,
        accuracy_m: Some(5.0),
        mock: false,
    })
}

pub(crate) async fn go_on_duty(client: &mut Client, at: Point) {
    let vehicle = Vehicle { kind: VehicleKind::Moto, capacity_g: 0, skills: Vec::new() };
    let action = DriverAction::SetDuty { duty: DutyWish::On, vehicle: Some(vehicle) };
    let outcome = client.wish(Wish::Driver { id: None, action }).await;
    assert!(matches!(outcome, Outcome::Ok(_)), "{outcome:?}");
    client.say(&position(at)).await;
}

pub(crate) async fn hear_offer(client: &mut Client) -> Offer {
    client
        .hear_push(|push| match push {
            Push::Offer(offer) => Some(offer),
            _ => None,
        })
        .await
}

pub(crate) async fn accept(client: &mut Client, offer: &Offer) {
    let action = DriverAction::AcceptOffer { offer: offer.id };
    let outcome = client.wish(Wish::Driver { id: None, action }).await;
    assert!(matches!(outcome, Outcome::Ok(_)), "{outcome:?}");
    let job = client
        .hear_push(|push| match push {
            Push::Assigned { job } => Some(job),
            _ => None,
        })
        .await;
    assert_eq!(job, offer.job);
}

pub(crate) async fn act(client: &mut Client, id: OrderId, action: OrderAction) {
    let outcome = client.wish(Wish::Order { id, action: action.clone() }).await;
    assert!(matches!(outcome, Outcome::Ok(_)), "{action:?}: {outcome:?}");
}

pub(crate) async fn hear_status(client: &mut Client, wanted: OrderStatus) {
    client
        .hear_any(|frame| match frame {
            ServerFrame::Order(view) if view.status == wanted => Some(()),
            _ => None,
        })
        .await;
}

/// A ride, with what the two phones hear of it.
pub(crate) async fn ride(driver: &mut Client, rider: &mut Client) {
    go_on_duty(driver, PICKUP.offset_m(60.0, 0.0)).await;
    let order = place_ride(rider).await;
    hear_status(rider, OrderStatus::Searching).await;

    let offer = hear_offer(driver).await;
    assert_eq!(offer.job, JobId::Order(order));
    accept(driver, &offer).await;
    hear_status(rider, OrderStatus::Assigned).await;

    driver.say(&position(PICKUP)).await;
    let (job, eta_s) = rider
        .hear_any(|frame| match frame {
            ServerFrame::Sighted { job, eta_s, .. } => Some((job, eta_s)),
            _ => None,
        })
        .await;
    assert_eq!((job, eta_s.is_some()), (JobId::Order(order), true));

    act(driver, order, OrderAction::Arrive {}).await;
    act(driver, order, OrderAction::Start { code: None }).await;
    hear_status(rider, OrderStatus::InProgress).await;
    let early = OrderAction::Finish { code: None, early_reason: Some("rider_asked".to_owned()) };
    act(driver, order, early).await;
    hear_status(rider, OrderStatus::Completed).await;
    let released = driver.hear_push(|push| match push {
        Push::Released { job, .. } => Some(job),
        _ => None,
    });
    assert_eq!(released.await, offer.job);
    act(rider, order, OrderAction::Rate { stars: 5 }).await;
}

#[tokio::test]
async fn a_ride_from_wish_to_rating() {
    let node = Node::start();
    let mut driver = Client::connect(&node, driver(1)).await;
    let mut rider = Client::connect(&node, rider(1)).await;
    ride(&mut driver, &mut rider).await;
}

/// Not a promise but a figure: what a ride's frames take, and what they would take if every view was said whole.
#[tokio::test]
#[expect(clippy::print_stdout, reason = "the figure is what it is for")]
async fn views_are_said_in_few_bytes() {
    let node = Node::start();
    let mut driver = Client::connect(&node, driver(1)).await;
    let mut rider = Client::connect(&node, rider(1)).await;
    ride(&mut driver, &mut rider).await;
    for (who, client) in [("driver", &driver), ("rider", &rider)] {
        let Counted { n_changes, bytes, bytes_if_whole, view_bytes, view_bytes_if_whole } =
            client.counted;
        let figure = serde_json::json!({
            "phone": who,
            "frames": client.at.heard,
            "changes": n_changes,
            "bytes": bytes,
            "bytes_if_whole": bytes_if_whole,
            "view_bytes": view_bytes,
            "view_bytes_if_whole": view_bytes_if_whole,
        });
        println!("{figure}");
        assert!(n_changes > 0 && bytes < bytes_if_whole, "{figure}");
    }
}

#[tokio::test]
async fn an_offer_is_pushed_again_until_it_is_acknowledged_and_after_a_reconnect() {
    let node = Node::with(&[("GATEWAY__SESSION__PUSH_AGAIN", "150ms")]);
    let mut first = Client::connect(&node, driver(1)).await;
    go_on_duty(&mut first, PICKUP).await;
    let mut rider = Client::connect(&node, rider(1)).await;
    place_ride(&mut rider).await;
    let hear_offer_n = async |client: &mut Client| {
        client
            .hear_any(|frame| match frame {
                ServerFrame::Push { n, push: Push::Offer(offer) } => Some((n, offer.id)),
                _ => None,
            })
            .await
    };
    let offered = hear_offer_n(&mut first).await;
    assert_eq!(hear_offer_n(&mut first).await, offered, "the same push, again");
    drop(first);
    let mut second = Client::connect(&node, driver(1)).await;
    let (n, offer) = hear_offer_n(&mut second).await;
    assert_eq!(offer, offered.1);
    second.say(&ClientFrame::Ack { n }).await;
    second.say(&ClientFrame::Heartbeat { heard: None }).await;
    let mut n_pushes = 0;
    // A push that was on its way when it was acknowledged may still come.
    for _ in 0..3 {
        second.say(&ClientFrame::Heartbeat { heard: None }).await;
        second
            .hear_any(|frame| match frame {
                ServerFrame::Push { .. } => {
                    n_pushes += 1;
                    None
                }
                ServerFrame::Heartbeat { .. } => Some(()),
                _ => None,
            })
            .await;
    }
    assert!(n_pushes <= 1, "{n_pushes}");
}

#[tokio::test]
async fn a_device_is_told_that_it_cannot_be_where_it_says_but_not_each_time() {
    let node = Node::start();
    let mut driver = Client::connect(&node, driver(1)).await;
    go_on_duty(&mut driver, PICKUP).await;
    const N: usize = 10;
    for _ in 0..N {
        let ClientFrame::Position(good) = position(PICKUP) else { unreachable!() };
        let blurred = Fix { accuracy_m: Some(90_000.0), ..good };
        driver.say(&ClientFrame::Position(blurred)).await;
    }
    let hear_refused = async |driver: &mut Client| {
        driver
            .hear_any(|frame| match frame {
                ServerFrame::Refused(refused) => Some(refused.code),
                _ => None,
            })
            .await
    };
    assert_eq!(hear_refused(&mut driver).await, protocol::Code::Invalid);
    // What is no position at all is refused each time, and so marks the end.
    let ClientFrame::Position(good) = position(PICKUP) else { unreachable!() };
    let broken = Fix { heading_deg: Some(720.0), ..good };
    driver.say(&ClientFrame::Position(broken)).await;
    let mut n_told = 1;
    loop {
        let refused = driver
            .hear_any(|frame| match frame {
                ServerFrame::Refused(refused) => Some(refused),
                _ => None,
            })
            .await;
        if refused.message.starts_with("heading_deg") {
            break;
        }
        n_told += 1;
    }
    assert!(n_told < N, "{n_told}");
    accepts_commands(&mut driver).await;
}

async fn accepts_commands(client: &mut Client) {
    let action = DriverAction::SetDuty { duty: DutyWish::Break, vehicle: None };
    let outcome = client.wish(Wish::Driver { id: None, action }).await;
    assert!(matches!(outcome, Outcome::Ok(_)), "{outcome:?}");
}

#[tokio::test]
async fn a_driver_hears_that_a_claim_was_lost_and_why() {
    let node = Node::start();
    let mut driver = Client::connect(&node, driver(1)).await;
    // Too far away to be offered anything.
    go_on_duty(&mut driver, PICKUP.offset_m(0.0, 100_000.0)).await;
    let mut rider = Client::connect(&node, rider(1)).await;
    let order = place_ride(&mut rider).await;
    let claim = DriverAction::ClaimJob { job: JobId::Order(order) };
    let outcome = driver.wish(Wish::Driver { id: None, action: claim }).await;
    assert!(matches!(outcome, Outcome::Ok(_)), "the driver's side of it: {outcome:?}");
    let (job, reason) = driver
        .hear_push(|push| match push {
            Push::ClaimLost { job, reason } => Some((job, reason)),
            _ => None,
        })
        .await;
    assert_eq!(job, JobId::Order(order));
    assert!(!reason.is_empty());
}

#[tokio::test]
async fn what_a_driver_may_not_be_offered_it_may_not_claim_either() {
    let node = Node::start();
    let mut driver = Client::connect(&node, driver(1)).await;
    go_on_duty(&mut driver, PICKUP).await;
    let mut staff = Client::connect(&node, Principal::Dispatcher).await;
    let needs = Needs { skills: vec!["certificate.hazmat".to_owned()], ..Needs::default() };
    let (kind, policy) = (OrderKind::Delivery, Some(OfferPolicy::Feed));
    let order = NewOrder { needs, kind, policy, rider: Some(RiderId::nth(1)), ..new_ride() };
    let outcome = staff.wish(Wish::PlaceOrder(Box::new(order))).await;
    let Outcome::Ok(done) = outcome else { panic!("{outcome:?}") };
    let job = JobId::Order(done.actor.parse().unwrap());
    let claim = Wish::Driver { id: None, action: DriverAction::ClaimJob { job } };
    let outcome = driver.wish(claim).await;
    let Outcome::Refused(refused) = outcome else { panic!("{outcome:?}") };
    assert_eq!(refused.code, protocol::Code::NotEligible);
    assert_eq!(refused.why, [protocol::trace::WhyNot::Certificate]);
}

#[tokio::test]
async fn a_repeated_command_has_one_effect_and_one_answer() {
    let node = Node::start();
    let mut rider = Client::connect(&node, rider(1)).await;
    let wish = Wish::PlaceOrder(Box::new(new_ride()));
    let id = CommandId::mint();
    let first = rider.wish_as(id, wish.clone()).await;
    assert!(matches!(first, Outcome::Ok(_)), "{first:?}");
    assert_eq!(rider.wish_as(id, wish.clone()).await, first);
    let mut again = Client::connect(&node, crate::node::rider(1)).await;
    assert_eq!(again.wish_as(id, wish).await, first, "also on another socket");
}

#[tokio::test]
async fn a_command_id_used_for_other_details_is_refused_also_after_a_crash() {
    let mut node = Node::with(&[("JOURNAL__KIND", "sqlite")]);
    let id = CommandId::mint();
    let ride = new_ride();
    let other = NewOrder { payment: PaymentTiming::Prepay, ..ride.clone() };
    let first = Client::connect(&node, rider(1))
        .await
        .wish_as(id, Wish::PlaceOrder(Box::new(ride.clone())))
        .await;
    assert!(matches!(first, Outcome::Ok(_)), "{first:?}");
    for _ in 0..2 {
        let mut client = Client::connect(&node, rider(1)).await;
        let outcome = client.wish_as(id, Wish::PlaceOrder(Box::new(other.clone()))).await;
        let Outcome::Refused(refused) = outcome else { panic!("{outcome:?}") };
        assert_eq!(refused.code, protocol::Code::CommandIdReused);
        let again = client.wish_as(id, Wish::PlaceOrder(Box::new(ride.clone()))).await;
        assert_eq!(again, first, "the wish itself may still be repeated");
        node.kill_and_restart();
    }
}

#[tokio::test]
async fn a_command_id_makes_one_order_even_if_the_next_would_start_elsewhere() {
    let node = Node::start();
    let mut client = Client::connect(&node, rider(1)).await;
    let here = NewOrder { kind: OrderKind::Delivery, ..new_ride() };
    let far = PICKUP.offset_m(0.0, 400_000.0);
    let stops = vec![far.into(), far.offset_m(900.0, 0.0).into()];
    let elsewhere = NewOrder { stops, ..here.clone() };
    let id = CommandId::mint();
    // What was refused stands for nothing yet.
    let nowhere = NewOrder { stops: Vec::new(), ..here.clone() };
    let refused = client.wish_as(id, Wish::PlaceOrder(Box::new(nowhere))).await;
    assert!(matches!(refused, Outcome::Refused(_)), "{refused:?}");
    let placed = client.wish_as(id, Wish::PlaceOrder(Box::new(here.clone()))).await;
    assert!(matches!(placed, Outcome::Ok(_)), "{placed:?}");
    let outcome = client.wish_as(id, Wish::PlaceOrder(Box::new(elsewhere))).await;
    let Outcome::Refused(refused) = outcome else { panic!("{outcome:?}") };
    assert_eq!(refused.code, protocol::Code::CommandIdReused);
    assert_eq!(client.wish_as(id, Wish::PlaceOrder(Box::new(here))).await, placed);
}

#[tokio::test]
async fn a_repeat_after_a_crash_has_the_first_answer() {
    let mut node = Node::with(&[("JOURNAL__KIND", "sqlite")]);
    let wish = Wish::PlaceOrder(Box::new(new_ride()));
    let id = CommandId::mint();
    let first = Client::connect(&node, rider(1)).await.wish_as(id, wish.clone()).await;
    assert!(matches!(first, Outcome::Ok(_)), "{first:?}");
    node.kill_and_restart();
    let again = Client::connect(&node, rider(1)).await.wish_as(id, wish).await;
    assert_eq!(again, first);
}

#[tokio::test]
async fn others_do_not_see_or_touch_an_order() {
    let node = Node::start();
    let mut owner = Client::connect(&node, rider(1)).await;
    let order = place_ride(&mut owner).await;
    for stranger in [rider(2), driver(9), Principal::Driver(DriverId(RiderId::nth(1).0))] {
        let mut client = Client::connect(&node, stranger).await;
        let action = OrderAction::Cancel { reason: String::new() };
        let outcome = client.wish(Wish::Order { id: order, action }).await;
        let Outcome::Refused(refused) = outcome else { panic!("{outcome:?}") };
        assert_eq!(refused.code, protocol::Code::NotFound, "{stranger}");
        client.subscribe(Topic::Order(order)).await;
        client
            .hear_any(|frame| match frame {
                ServerFrame::Unsubscribed { .. } => Some(()),
                ServerFrame::Order(view) => panic!("{stranger} saw {view:?}"),
                _ => None,
            })
            .await;
    }
}

#[tokio::test]
async fn staff_follow_any_actor_live() {
    let node = Node::start();
    let mut staff = Client::connect(&node, Principal::Dispatcher).await;
    let mut owner = Client::connect(&node, rider(1)).await;
    let order = place_ride(&mut owner).await;
    staff.subscribe(Topic::Actor(order.to_string())).await;
    let hear_actor = async |staff: &mut Client| {
        staff
            .hear_any(|frame| match frame {
                ServerFrame::Actor(view) => Some(view),
                _ => None,
            })
            .await
    };
    let before = hear_actor(&mut staff).await;
    assert_eq!(before.actor, order.to_string());
    act(&mut owner, order, OrderAction::Cancel { reason: "changed my mind".to_owned() }).await;
    let after = hear_actor(&mut staff).await;
    assert!(after.version > before.version && !after.events.is_empty(), "{after:?}");
}

#[tokio::test]
async fn a_price_that_rose_since_is_asked_before_the_ride() {
    let preset = tempfile::NamedTempFile::new().unwrap();
    let terms = |base: u32| {
        let riderguy = include_str!("../../config/presets/riderguy.toml");
        // Reminded of some seconds from now, which is long before it starts.
        let soon = format!("[ride.policy]\nremind_ms = {}", 30 * 60_000 - 6_000);
        riderguy.replacen("base = 500", &format!("base = {base}"), 1).replacen(
            "[ride.policy]",
            &soon,
            1,
        )
    };
    std::fs::write(preset.path(), terms(500)).unwrap();
    let file = preset.path().to_str().unwrap();
    let mut node = Node::with(&[("JOURNAL__KIND", "sqlite"), ("PRESET__FILE", file)]);
    let mut later = new_ride();
    later.start_at = Some(now() + std::time::Duration::from_secs(30 * 60));
    let mut client = Client::connect(&node, rider(1)).await;
    let outcome = client.wish(Wish::PlaceOrder(Box::new(later))).await;
    let Outcome::Ok(done) = outcome else { panic!("{outcome:?}") };
    let order: OrderId = done.actor.parse().unwrap();

    std::fs::write(preset.path(), terms(5_000)).unwrap();
    node.kill_and_restart();
    let mut client = Client::connect(&node, rider(1)).await;
    client.subscribe(Topic::Order(order)).await;
    let asked = client
        .hear_any(|frame| match frame {
            ServerFrame::Order(view) if view.id == order => view.price_asked,
            _ => None,
        })
        .await;
    assert!(asked.total().amount > 5_000, "{asked:?}");
}
