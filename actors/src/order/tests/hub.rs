//! Goods that change vehicles at a hub: two drivers, one after the other, one order all the while.

use super::*;
use protocol::view::HubStay;

/// Two kilometres to the hub, and three on from there.
fn by_hub(until: Option<Timestamp>) -> Placement {
    let stops = vec![place_at(0.0), place_at(2_000.0), place_at(5_000.0)];
    Placement { stops, hub: Some(Box::new(Hub { until })), ..delivery() }
}

fn complete() -> Command {
    Command::CompleteStop { proofs: vec![photo()] }
}

impl Play {
    /// Left at the hub by the first driver.
    fn left_at_hub(until: Option<Timestamp>) -> Self {
        let mut play = Self::at(by_hub(until), OrderStatus::AtStop);
        play.yes(driver(1), complete());
        play
    }

    /// On its way on from there with the second.
    fn brought_on() -> Self {
        let mut play = Self::left_at_hub(None);
        play.assign(2);
        play.see_driver(2, 2_000.0);
        play.yes(driver(2), Command::Arrive {});
        play.yes(driver(2), Command::PickUp { proofs: vec![photo()] });
        play
    }

    fn stay(&self) -> HubStay {
        self.order.order_view(self.id, 1, RIDER).unwrap().hub.expect("it goes by a hub")
    }

    fn n_claims(&self) -> usize {
        self.order.claims(self.id).len()
    }
}

#[test]
fn each_leg_has_its_own_driver_and_all_of_it_is_one_order() {
    let mut play = Play::at(by_hub(None), OrderStatus::InTransit);
    assert_eq!(play.stay(), HubStay { until: None, left_at: None, by: None });
    // Nobody goes past the hub with it.
    play.see(2_000.0);
    play.no(driver(1), Command::Arrive {});
    play.yes(driver(1), Command::ArriveStop {});
    play.no(driver(1), Command::SkipStop { reason: "closed".to_owned() });
    assert_eq!(play.n_claims(), 1);
    let events = play.ask(driver(1), complete()).expect("it is there");
    let names: Vec<&str> = events.iter().map(Event::name).collect();
    assert_eq!(names, ["left_at_hub", "search_opened"]);
    assert_eq!(
        (play.status(), play.order.driver(), play.n_claims()),
        (OrderStatus::Searching, None, 0)
    );
    assert_eq!(play.stay(), HubStay { until: None, left_at: Some(play.now), by: Some(nth(1)) });
    let ended = play.effects.iter().any(|effect| {
        let Tell::Driver { to, command } = &effect.tell else { return false };
        *to == nth(1) && matches!(command, driver::Command::EndJob { reason, .. } if reason == "left at the hub")
    });
    assert!(ended, "its first driver has something else to do");
    // Somebody is looked for where it lies, to where it is brought.
    let card = play.card();
    assert_eq!(card.pickup, place_at(2_000.0).at);
    assert_eq!(card.dropoff, Some(place_at(5_000.0).at));

    play.assign(2);
    play.see_driver(2, 0.0);
    play.no(driver(2), Command::Arrive {});
    play.see_driver(2, 2_000.0);
    play.yes(driver(2), Command::Arrive {});
    play.yes(driver(2), Command::PickUp { proofs: vec![photo()] });
    let view = play.order.order_view(play.id, 1, RIDER).unwrap();
    assert_eq!(
        (view.status, view.stops_done, view.driver),
        (OrderStatus::PickedUp, 2, Some(nth(2)))
    );
    play.yes(driver(2), Command::Depart {});
    play.see_driver(2, 5_000.0);
    play.yes(driver(2), Command::Arrive {});
    play.yes(driver(2), Command::Deliver { proofs: vec![photo()], cash: None });
    assert_eq!((play.status(), play.n_claims()), (OrderStatus::Delivered, 0));
    let left = play.journal.iter().filter(|it| it.name() == "left_at_hub").count();
    let assigned = play.journal.iter().filter(|it| matches!(it, Event::Assigned(_))).count();
    assert_eq!((left, assigned), (1, 2), "one history of both");
}

#[test]
fn who_was_to_take_it_over_on_the_way_does_not_do_so_at_the_hub() {
    let mut play = Play::at(by_hub(Some(Timestamp(2_000_000_000))), OrderStatus::AtStop);
    play.yes(DISPATCHER, handover(3, false, "the tyre is flat", &[]));
    let offer = play.order.offers().first().expect("it is told").id;
    play.yes(driver(1), complete());
    assert_eq!(play.order.offers(), []);
    play.no(SYSTEM, accepted(offer, 3));
    assert_eq!((play.status(), play.order.driver()), (OrderStatus::Waiting, None));
}

#[test]
fn it_stays_at_the_hub_for_as_long_as_it_is_to() {
    let until = Timestamp(1_000_000_000 + 7_200_000);
    let mut play = Play::left_at_hub(Some(until));
    assert_eq!((play.status(), play.order.listing(play.id)), (OrderStatus::Waiting, None));
    while play.status() == OrderStatus::Waiting {
        assert!(play.now < until);
        play.tick_at_deadline();
    }
    assert_eq!((play.status(), play.now), (OrderStatus::Searching, until));
    // One that comes later than that is not kept.
    let past = Play::left_at_hub(Some(Timestamp(1_000_000_000)));
    assert_eq!(past.status(), OrderStatus::Searching);
}

#[test]
fn whom_nobody_brings_on_is_held_at_the_hub_until_a_dispatcher_says_otherwise() {
    let mut play = Play::left_at_hub(None);
    for _ in 0..40 {
        if play.life().search.is_held() {
            break;
        }
        play.tick_at_deadline();
    }
    let view = play.order.order_view(play.id, 1, DISPATCHER).unwrap();
    assert!(view.held && view.status == OrderStatus::Searching, "{view:?}");
    assert!(play.journal.iter().any(|it| it.name() == "dispatch_failed"));
    play.yes(DISPATCHER, Command::Resume { reason: "the night shift is there".to_owned() });
    play.assign(2);
    // However often somebody gives it up, it is looked for another one: it cannot lie there for ever.
    for n in 2..8 {
        play.yes(driver(n), cancel());
        assert_eq!(play.status(), OrderStatus::Searching, "{n}");
        play.assign(n + 1);
    }
}

#[test]
fn who_calls_it_off_at_the_hub_pays_the_way_there() {
    for mut play in [Play::left_at_hub(None), Play::left_at_hub(Some(Timestamp(2_000_000_000)))] {
        play.yes(RIDER, cancel());
        assert_eq!((play.status(), play.n_claims()), (OrderStatus::CancelledByRider, 0));
        let fee = play.journal.iter().find_map(|it| match it {
            Event::Cancelled { fee, .. } => Some(*fee),
            _ => None,
        });
        // Two of five kilometres, of 2,000.
        assert!(fee.is_some_and(|fee| (795..=805).contains(&fee)), "{fee:?}");
    }
    let mut play = Play::left_at_hub(None);
    play.yes(DISPATCHER, cancel());
    assert!(matches!(play.journal.last(), Some(Event::Cancelled { fee: 0, .. })));
    // What cannot be handed over goes back to the hub.
    let mut play = Play::brought_on();
    play.yes(driver(2), Command::Depart {});
    play.yes(driver(2), Command::Fail { reason: "nobody is there".to_owned() });
    play.yes(DISPATCHER, Command::StartReturn {});
    play.see_driver(2, 0.0);
    play.no(driver(2), Command::Returned { proofs: vec![photo()] });
    play.see_driver(2, 2_000.0);
    play.yes(driver(2), Command::Returned { proofs: vec![photo()] });
    assert_eq!(play.status(), OrderStatus::Returned);
}

#[test]
fn only_deliveries_with_two_stops_and_for_nobody_in_particular_go_by_a_hub() {
    let hub = || Some(Box::new(Hub::default()));
    let cases = [
        Placement { hub: hub(), ..ride() },
        Placement { hub: hub(), ..delivery() },
        Placement { hub: hub(), ..commerce() },
        Placement { driver: Some(nth(1)), ..by_hub(None) },
    ];
    for placement in cases {
        let refused = Play::new().no(RIDER, Command::Place(Box::new(placement)));
        assert!(
            matches!(&refused, Refusal::Invalid { field, .. } if field == "via"),
            "{refused:?}"
        );
    }
    // Its stops stay what they are.
    let start_at = Some(Timestamp(1_000_000_000 + 3_600_000));
    let mut play = Play::placed(Placement { start_at, ..by_hub(None) });
    let stops = vec![place_at(0.0), place_at(4_000.0)];
    let refused = play.no(RIDER, Command::ModifyStops { stops, fare: None });
    assert!(matches!(&refused, Refusal::Invalid { field, .. } if field == "stops"), "{refused:?}");
    // Not before every node knows what to do with it.
    let around = Context {
        id: OrderId::nth(1),
        by: RIDER,
        now: Play::new().now,
        writes: Format(crate::template::KNOWN.0 - 1),
    };
    let place = Command::Place(Box::new(by_hub(None)));
    assert_eq!(Order::default().decide(&place, &around), Err(Refusal::Unavailable));
}
