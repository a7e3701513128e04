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
    assert!(play.n_claims() > 0);
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
    // Nobody pays for that.
    let mut over = play.clone();
    over.yes(RIDER, cancel());
    assert!(matches!(over.journal.last(), Some(Event::Cancelled { fee: 0, .. })));
    play.yes(DISPATCHER, Command::Resume { reason: "the night shift is there".to_owned() });
    play.assign(2);
    // However often somebody gives it up, it is looked for another one: it cannot lie there for ever.
    for n in 2..8 {
        play.yes(driver(n), cancel());
        assert_eq!(play.status(), OrderStatus::Searching, "{n}");
        play.assign(n + 1);
    }
    // Or has it taken away.
    play.yes(DISPATCHER, Command::Unassign { reason: "the tyre is flat".to_owned() });
    assert_eq!(play.status(), OrderStatus::Searching);
    let mut often = play.life().clone();
    often.n_reassigns = u8::MAX;
    let (by, reason, at) = (driver(8), "tired".to_owned(), play.now);
    often.evolve(&Event::DriverGone { driver: nth(8), by, reason, at });
    assert_eq!(often.n_reassigns, u8::MAX);
}

#[test]
fn a_dispatcher_lets_it_be_brought_on_before_it_was_to_be() {
    for offer in [OfferPolicy::BatchOptimal, OfferPolicy::Feed] {
        let mut play = Play::left_at_hub(Some(Timestamp(2_000_000_000)));
        play.order.0.as_mut().unwrap().placement.policy.offer = offer;
        play.no(RIDER, Command::ExtendSearch {});
        let (id, by, now) = (play.id, DISPATCHER, play.now);
        let around = Context { id, by, now, writes: Format::WRITES };
        let events = play.order.decide(&Command::ExtendSearch {}, &around).unwrap();
        let names: Vec<&str> = events.iter().map(Event::name).collect();
        let opened = if offer == OfferPolicy::Feed { "feed_opened" } else { "search_opened" };
        assert_eq!(names, [opened], "{offer}");
    }
}

#[test]
fn what_was_of_the_first_driver_is_not_of_the_second() {
    let mut play = Play::placed(Placement {
        excluded: vec![nth(5)],
        barred: Box::new([nth(4)]),
        ..by_hub(None)
    });
    play.assign(3);
    play.yes(driver(3), cancel());
    play.assign(1);
    play.wait(MINUTE);
    for step in &GOODS_VIA[..4] {
        play.drive_to(*step);
    }
    for _ in 0..play.life().placement.policy.retries_max {
        play.yes(driver(1), Command::Fail { reason: "the road is closed".to_owned() });
        play.yes(driver(1), Command::Retry {});
    }
    play.drive_to(OrderStatus::AtStop);
    play.yes(driver(1), complete());
    let card = play.card();
    assert_eq!(card.opened_at, play.now, "nobody has waited for the second yet");
    assert_eq!(card.excluded, [nth(5), nth(4)], "who gave up the first half may bring the other");
    play.assign(3);
    play.see_driver(3, 2_000.0);
    play.yes(driver(3), Command::Arrive {});
    play.yes(driver(3), Command::PickUp { proofs: vec![photo()] });
    play.yes(driver(3), Command::Depart {});
    play.yes(driver(3), Command::Fail { reason: "nobody is there".to_owned() });
    assert_eq!(play.status(), OrderStatus::FailedAttempt, "it is tried again");
}

#[test]
fn what_is_to_stay_at_the_hub_was_promised_from_then_on() {
    let until = Timestamp(1_000_000_000 + 7_200_000);
    for (hub, awaited) in [(Some(until), until), (None, Timestamp(1_000_000_000))] {
        let play = Play::placed(by_hub(hub));
        let promised = Duration::from_millis(play.life().placement.policy.sla_ms.into());
        let Some(Mark::Order { since, due, .. }) = play.order.mark(play.id) else {
            panic!("it is on the map");
        };
        assert_eq!((since, due), (Some(awaited), Some(awaited + promised)));
    }
}

#[test]
fn drivers_are_not_told_which_other_one_left_it_there_and_lists_say_where_it_came_from() {
    let play = Play::brought_on();
    let by = |reader| play.order.order_view(play.id, 1, reader).unwrap().hub.unwrap().by;
    assert_eq!((by(driver(2)), by(RIDER), by(DISPATCHER)), (None, Some(nth(1)), Some(nth(1))));
    let row = play.order.view(play.id).unwrap().body;
    let place = |field: &str| serde_json::from_value::<Place>(row[field].clone()).unwrap();
    assert_eq!((place("from"), place("pickup")), (place_at(0.0), place_at(2_000.0)));
    let before = Play::at(by_hub(None), OrderStatus::AtStop).order.view(play.id).unwrap().body;
    assert_eq!(before.get("from"), None, "it is its pickup");
}

#[test]
fn who_calls_it_off_at_the_hub_pays_the_way_there() {
    for mut play in [Play::left_at_hub(None), Play::left_at_hub(Some(Timestamp(2_000_000_000)))] {
        play.yes(RIDER, cancel());
        assert_eq!((play.status(), play.n_claims()), (OrderStatus::CancelledByRider, 0));
        let fee = play.journal.iter().find_map(|it| {
            let Event::Cancelled { fee, .. } = it else { return None };
            Some(*fee)
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
