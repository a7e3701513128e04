//! Orders that go on as another order.

use super::*;

fn continued(play: &Play) -> (OrderId, Placement) {
    let found = play.journal.iter().find_map(|event| {
        let Event::Continued { order, placement, .. } = event else { return None };
        Some((*order, (**placement).clone()))
    });
    found.expect("it goes on")
}

fn finish(reason: Option<&str>) -> Command {
    Command::Finish { code: None, early_reason: reason.map(str::to_owned) }
}

/// Half of the way is done.
fn half_way(placement: Placement) -> Play {
    let mut play = Play::at(placement, OrderStatus::InProgress);
    play.see(2_500.0);
    play
}

#[test]
fn a_ride_whose_driver_breaks_down_goes_on_from_there_and_costs_no_second_base_fare() {
    let mut play = half_way(ride());
    play.yes(driver(1), Command::CannotContinue { reason: "engine".to_owned() });
    play.effects.clear();
    play.yes(driver(1), finish(None));
    assert_eq!(play.status(), OrderStatus::Completed);
    let (id, placement) = continued(&play);
    assert_eq!(play.told(), ["order: place", "driver: end_job", "rider: close_job"]);
    assert_eq!(play.order.claims(play.id), [], "the rider is free to ride on");

    let view = play.order.order_view(play.id, 1, RIDER).unwrap();
    assert_eq!(view.followed_by, Some(id));
    assert_eq!(placement.follows, Some(play.id));
    assert!(placement.stops[0].at.distance_m(PICKUP.offset_m(2_500.0, 0.0)) < 1.0);
    assert_eq!(placement.stops[1], place_at(5_000.0));
    let rest = placement.fare.total().amount;
    assert_eq!(view.fare.total().amount + rest, 2_000, "together they cost what was promised");
    assert!((740..=760).contains(&rest), "{rest}: half of what is not the base");

    let mut next = Play { id, now: play.now, ..Play::new() };
    next.yes(SYSTEM, Command::Place(Box::new(placement)));
    assert_eq!(next.status(), OrderStatus::Searching);
    let round = next.round();
    next.yes(SYSTEM, propose(round, &[1]));
    assert_eq!(next.order.offers(), [], "not with the driver who broke down");
    next.assign(2);
}

#[test]
fn a_ride_that_ends_where_it_should_or_because_its_rider_wants_out_does_not_go_on() {
    let is_over =
        |play: &Play| play.status() == OrderStatus::Completed && play.life().followed_by.is_none();
    let mut wanted = half_way(ride());
    wanted.yes(RIDER, Command::EndEarly {});
    wanted.yes(driver(1), finish(None));
    assert!(is_over(&wanted));
    let mut arrived = half_way(ride());
    arrived.yes(driver(1), Command::CannotContinue { reason: "engine".to_owned() });
    arrived.see(5_000.0);
    arrived.yes(driver(1), finish(None));
    assert!(is_over(&arrived));
    let mut asked = half_way(ride());
    asked.yes(driver(1), finish(Some("rider_asked")));
    assert!(is_over(&asked));
    let mut broken = half_way(ride());
    broken.yes(driver(1), finish(Some("breakdown")));
    assert!(!is_over(&broken));
}

#[test]
fn what_was_paid_in_advance_is_not_paid_again() {
    let mut play = Play::placed(Placement { payment: PaymentTiming::Prepay, ..ride() });
    play.yes(SYSTEM, Command::ConfirmPayment { amount: 2_000 });
    play.assign(1);
    for step in [OrderStatus::EnRoutePickup, OrderStatus::AtPickup, OrderStatus::InProgress] {
        play.drive_to(step);
    }
    play.yes(driver(1), finish(Some("breakdown")));
    let (_, placement) = continued(&play);
    assert_eq!(placement.fare.total().amount, 0);
    assert_eq!(placement.payment, PaymentTiming::OnCompletion);
}

#[test]
fn nobody_found_may_be_tried_again_once_as_a_new_order() {
    let mut play = Play::at(ride(), OrderStatus::NoDriverFound);
    play.effects.clear();
    play.yes(RIDER, Command::Retry {});
    let (id, placement) = continued(&play);
    assert_eq!(
        (play.status(), play.told()),
        (OrderStatus::NoDriverFound, vec!["order: place".to_owned()])
    );
    assert_eq!((placement.follows, placement.start_at), (Some(play.id), None));
    assert_ne!(id, play.id);
    assert_eq!(play.ask(RIDER, Command::Retry {}), Ok(vec![]), "the same one");
    play.yes(SYSTEM, Command::Unfollow {});
    assert_eq!(play.life().followed_by, None, "its rider was on another ride");
    play.yes(RIDER, Command::Retry {});
    assert_eq!(play.life().followed_by, Some(id));
    let mut late = Play::at(delivery(), OrderStatus::NoDriverFound);
    late.wait(30 * MINUTE);
    assert!(matches!(late.no(RIDER, Command::Retry {}), Refusal::TooLate(_)));
}

#[test]
fn a_basket_nobody_brings_is_collected() {
    let mut play = Play::at(commerce(), OrderStatus::JobFeed);
    assert!(matches!(play.no(merchant(), Command::CollectInstead {}), Refusal::NotYours(_)));
    play.yes(RIDER, Command::CollectInstead {});
    assert_eq!(play.status(), OrderStatus::Waiting);
    let claim =
        Command::Search(Heard::Claim { driver: nth(2), slots: vec![0], fleet: None, brings: None });
    assert!(matches!(play.no(SYSTEM, claim), Refusal::TooLate(_)));
    play.yes(RIDER, Command::Collected { code: Some("1234".to_owned()) });
    assert_eq!(play.status(), OrderStatus::Completed);
    assert_eq!(play.order.driver(), None);
}
