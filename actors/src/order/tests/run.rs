//! Orders that are brought with others: they wait for a run without losing anything by it, and stay their own judges.

use super::*;
use crate::run;
use protocol::{trace::WhyAlone, view::StopKind};

fn batched() -> Placement {
    let placement = delivery();
    Placement { policy: JobPolicy { batch: true, ..placement.policy }, ..placement }
}

fn leave(n: u64, status: OfferStatus) -> Command {
    Command::Search(Heard::LeaveRun { run: RunId::nth(n), status })
}

fn offer_of(n: u64) -> OfferId {
    OfferId::of_run(RunId::nth(n), 0)
}

fn take(n: u64) -> Command {
    let (run, offer) = (RunId::nth(n), offer_of(n));
    Command::Search(Heard::TakeByRun { run, offer, driver: nth(1), slots: vec![2] })
}

impl Play {
    fn joined(n: u64) -> Self {
        let mut play = Self::placed(batched());
        let join = join_run(n, play.round(), play.now);
        play.yes(SYSTEM, join);
        play
    }

    fn in_run(n: u64) -> Self {
        let mut play = Self::joined(n);
        play.yes(SYSTEM, take(n));
        play
    }

    pub(super) fn card(&self) -> crate::SearchCard {
        match self.order.listing(self.id).expect("it is listed").card {
            crate::Card::Search(card) => *card,
            crate::Card::Driver(_) | crate::Card::Run(_) => panic!("it is an order"),
        }
    }

    fn run(&self) -> Option<RunId> {
        self.order.order_view(self.id, 1, RIDER).expect("it is placed").run
    }

    /// What runs were told, in order.
    fn told_runs(&self) -> Vec<run::Command> {
        let mut told = Vec::new();
        for effect in &self.effects {
            if let Tell::Run { command, .. } = &effect.tell {
                told.push(command.clone());
            }
        }
        told
    }
}

#[test]
fn one_that_waits_for_a_run_is_asked_about_by_nobody_else() {
    let mut play = Play::placed(batched());
    assert!(play.card().batch.is_some(), "regions may bring it with others");
    let join = join_run(1, play.round(), play.now);
    play.yes(SYSTEM, join);
    assert_eq!((play.status(), play.run()), (OrderStatus::Searching, Some(RunId::nth(1))));
    let card = play.card();
    assert_eq!((card.n_wanted, card.batch), (0, None));
    let round = play.round();
    assert!(matches!(play.ask(SYSTEM, propose(round, &[2])), Err(Refusal::TooLate(_))));
    let other = join_run(2, round, play.now);
    assert!(matches!(play.ask(SYSTEM, other), Err(Refusal::NotEligible(_))));
    let told = play.told_runs();
    let [run::Command::Join { part, .. }] = told.as_slice() else { panic!("{told:?}") };
    assert_eq!(
        (part.fare.amount, part.times.promise),
        (2_000, Some(play.now + Duration::from_hours(1)))
    );
}

#[test]
fn what_cannot_or_need_not_be_brought_with_others_does_not_join() {
    let late = |play: &Play| join_run(1, play.round() + 1, play.now);
    let mut play = Play::placed(batched());
    let command = late(&play);
    assert!(matches!(play.ask(SYSTEM, command), Err(Refusal::TooLate(_))), "another round");
    play.offer_to(2);
    let command = join_run(1, play.round(), play.now);
    assert!(matches!(play.ask(SYSTEM, command), Err(Refusal::NotEligible(_))), "it is offered");
    let mut ride = Play::placed(ride());
    let command = join_run(1, ride.round(), ride.now);
    assert!(matches!(ride.ask(SYSTEM, command), Err(Refusal::NotEligible(_))));
    let stops = vec![place_at(0.0), place_at(2_000.0), place_at(5_000.0)];
    let mut via = Play::placed(Placement { stops, ..batched() });
    assert_eq!(via.card().batch, None);
    let command = join_run(1, via.round(), via.now);
    assert!(matches!(via.ask(SYSTEM, command), Err(Refusal::NotEligible(_))), "it has three stops");
    assert_eq!(Play::placed(delivery()).card().batch, None, "its brand does not want it");
    // None waits longer than it would look on its own.
    let mut soon = Play::placed(batched());
    soon.wait(u64::from(soon.placement().policy.search_ms) - 10_000);
    if soon.order.deadline().is_some_and(|(at, _)| at <= soon.now) {
        soon.tick();
    }
    let command = join_run(1, soon.round(), soon.now);
    assert!(matches!(soon.ask(SYSTEM, command), Err(Refusal::TooLate(_))));
    let barred = Placement { barred: vec![nth(1)].into(), ..batched() };
    let mut barred = Play::placed(barred);
    let command = join_run(1, barred.round(), barred.now);
    assert!(matches!(barred.ask(SYSTEM, command), Err(Refusal::NotEligible(_))));
}

#[test]
fn a_run_that_comes_to_nothing_leaves_the_search_as_it_was_and_twice_is_enough() {
    let mut play = Play::joined(1);
    play.yes(SYSTEM, leave(1, OfferStatus::Declined));
    assert_eq!((play.status(), play.run()), (OrderStatus::Searching, None));
    assert_eq!(
        play.card().excluded,
        [nth(1)],
        "who declined it with others is not asked about it alone"
    );
    assert!(play.card().batch.is_some());
    let join = Command::Search(Heard::JoinRun {
        run: RunId::nth(2),
        driver: nth(2),
        round: Some(play.round()),
        from: None,
        until: play.now + Duration::from_secs(40),
    });
    play.yes(SYSTEM, join);
    // The run says nothing any more: it goes on by itself, and tells it so.
    play.wait(40_000);
    play.tick();
    assert_eq!((play.run(), play.card().n_wanted), (None, 1));
    assert!(matches!(play.told_runs().last(), Some(run::Command::Leave { .. })));
    assert_eq!(play.card().batch, None);
    assert_eq!(play.ask(SYSTEM, leave(2, OfferStatus::Declined)), Ok(vec![]));
}

#[test]
fn what_is_held_goes_with_a_run_and_is_held_again_if_that_comes_to_nothing() {
    let hold = Command::Hold { reason: "for the evening round".to_owned() };
    let held = || {
        let mut play = Play::placed(batched());
        play.yes(DISPATCHER, hold.clone());
        play
    };
    let mut play = held();
    assert_eq!(play.order.listing(play.id), None, "no region knows of it");
    let card = play.order.to_bring(play.id, false).expect("staff may have it brought");
    assert!(card.n_wanted > 0 && card.batch.is_some(), "{card:?}");
    play.yes(SYSTEM, join_any(1, play.now));
    assert_eq!(play.order.to_bring(play.id, true), Err(WhyAlone::InRun));
    play.yes(SYSTEM, take(1));
    assert_eq!((play.status(), play.order.driver()), (OrderStatus::Assigned, Some(nth(1))));
    assert_eq!(play.order.to_bring(play.id, true), Err(WhyAlone::Taken));

    let mut play = held();
    play.yes(SYSTEM, join_any(1, play.now));
    play.yes(SYSTEM, leave(1, OfferStatus::Withdrawn));
    assert_eq!((play.run(), play.order.listing(play.id)), (None, None), "it is held as before");
    // Nobody says anything any more: it goes on by itself, and stays held.
    play.yes(SYSTEM, join_any(2, play.now));
    play.wait(40_000);
    play.tick();
    assert_eq!((play.run(), play.order.listing(play.id)), (None, None));
}

#[test]
fn what_is_held_leaves_its_run_when_it_is_held_anew_and_when_its_zone_is_paused() {
    let hold = Command::Hold { reason: "not yet".to_owned() };
    let pause = ZonePause {
        zone: ZoneId::of_cell(7),
        since: Timestamp(1),
        until: None,
        reason: "a flood".to_owned(),
    };
    let pause = Command::Search(Heard::Pause { pause });
    for (by, said) in [(DISPATCHER, hold.clone()), (SYSTEM, pause)] {
        let mut play = Play::placed(batched());
        play.yes(DISPATCHER, hold.clone());
        play.yes(SYSTEM, join_any(1, play.now));
        // Its region can only tell whom it knows of, and asks nobody about it.
        let card = play.card();
        assert_eq!((card.n_wanted, card.batch, card.paused), (0, None, None));
        play.yes(by, said.clone());
        assert_eq!((play.run(), play.order.listing(play.id)), (None, None), "{said:?}");
        assert!(matches!(play.told_runs().last(), Some(run::Command::Leave { .. })), "{said:?}");
        assert_eq!(play.ask(by, said), Ok(vec![]), "it waits for none any more");
    }
}

#[test]
fn what_is_held_joins_only_as_it_was_looked_at() {
    let mut play = Play::placed(batched());
    play.yes(DISPATCHER, Command::Hold { reason: "for the evening round".to_owned() });
    let seen = play.order.to_bring(play.id, true).expect("staff may have it brought").round;
    play.yes(SYSTEM, join_run(1, seen, play.now));
    play.yes(SYSTEM, leave(1, OfferStatus::Withdrawn));
    let late = play.ask(SYSTEM, join_run(2, seen, play.now));
    assert!(matches!(late, Err(Refusal::TooLate(_))), "it was looked at before: {late:?}");
}

#[test]
fn what_looks_further_away_since_it_was_looked_at_joins_all_the_same_and_what_was_offered_since_does_not()
 {
    let mut play = Play::placed(batched());
    let seen = play.order.to_bring(play.id, false).expect("it looks for a driver").round;
    let version = |play: &Play| play.order.version_as_seen(play.journal.len() as u64);
    let before = version(&play);
    for _ in 0..2 {
        assert_eq!(play.tick_at_deadline(), ["tier_opened"]);
    }
    assert_eq!(version(&play), before, "nothing has happened that anybody looks at");
    assert!(play.round() > seen);
    let mut joined = play.clone();
    joined.yes(SYSTEM, join_run(1, seen, joined.now));
    assert_eq!(joined.run(), Some(RunId::nth(1)));
    // A round that is still to come nobody has looked at, and one before an offer is another one.
    let early = play.ask(SYSTEM, join_run(1, play.round() + 1, play.now));
    assert!(matches!(early, Err(Refusal::TooLate(_))), "{early:?}");
    play.offer_to(2);
    let offer = play.order.offers()[0].id;
    play.yes(SYSTEM, Command::Search(Heard::OfferRefused { offer, why: None }));
    assert!(version(&play) > before);
    let late = play.ask(SYSTEM, join_run(1, seen, play.now));
    assert!(matches!(late, Err(Refusal::TooLate(_))), "{late:?}");
}

/// Whatever round it is.
fn join_any(n: u64, now: Timestamp) -> Command {
    Command::Search(Heard::JoinRun {
        run: RunId::nth(n),
        driver: nth(1),
        round: None,
        from: None,
        until: now + Duration::from_secs(40),
    })
}

#[test]
fn it_is_said_what_keeps_an_order_from_being_brought_with_others() {
    let why = |play: &Play, is_forced| play.order.to_bring(play.id, is_forced).err();
    assert_eq!(why(&Play::placed(ride()), true), Some(WhyAlone::OtherKind));
    let other_brand = Play::placed(delivery());
    assert_eq!(why(&other_brand, false), Some(WhyAlone::NotBatched));
    assert_eq!(why(&other_brand, true), None, "staff insist");
    let mut offered = Play::placed(batched());
    offered.offer_to(2);
    assert_eq!(why(&offered, true), Some(WhyAlone::Offered));
    let mut over = Play::placed(batched());
    over.yes(RIDER, cancel());
    assert_eq!(why(&over, true), Some(WhyAlone::Taken));
    assert_eq!(Order::default().to_bring(OrderId::nth(1), true), Err(WhyAlone::NotLooking));
}

#[test]
fn a_cancel_and_a_dispatchers_word_win_over_a_run() {
    let assign = Command::Assign {
        driver: nth(2),
        force: false,
        reason: String::new(),
        against: Vec::new(),
    };
    let hold = Command::Hold { reason: "a flood".to_owned() };
    let pause = Command::Search(Heard::Pause { pause: flood(None) });
    for (by, command) in
        [(RIDER, cancel()), (DISPATCHER, assign), (DISPATCHER, hold), (SYSTEM, pause)]
    {
        let mut play = Play::joined(1);
        play.yes(by, command.clone());
        assert_eq!(play.run(), None, "{command:?}");
        assert!(matches!(play.told_runs().last(), Some(run::Command::Leave { .. })));
        assert!(matches!(play.ask(SYSTEM, take(1)), Err(Refusal::OfferGone(_))));
    }
}

#[test]
fn the_driver_of_the_run_gets_it_and_the_run_hears_what_becomes_of_it() {
    let mut play = Play::in_run(1);
    assert_eq!((play.status(), play.order.driver()), (OrderStatus::Assigned, Some(nth(1))));
    assert_eq!(play.order.claims(play.id), [Claim::slot(nth(1), 2)]);
    assert_eq!(play.run(), Some(RunId::nth(1)));
    assert_eq!(play.told_runs().last(), Some(&run::Command::NoteAssigned { order: play.id }));
    for step in GOODS {
        play.drive_to(*step);
    }
    let done = |what| run::Command::StopDone { order: OrderId::nth(1), what };
    assert_eq!(play.told_runs()[2..], [done(StopKind::Pickup), done(StopKind::Dropoff)]);
    let mut gone = Play::in_run(1);
    gone.yes(DISPATCHER, Command::Unassign { reason: "a flat tyre".to_owned() });
    assert_eq!((gone.status(), gone.run()), (OrderStatus::Searching, None));
    assert!(matches!(gone.told_runs().last(), Some(run::Command::Leave { .. })));
    let mut late = Play::joined(1);
    late.wait(40_000);
    assert!(
        matches!(late.ask(SYSTEM, take(1)), Err(Refusal::OfferGone(_))),
        "nobody waits for ever"
    );
}

#[test]
fn one_that_is_not_fetched_goes_with_another_run_and_one_that_is_stays() {
    let other = |play: &Play| {
        Command::Search(Heard::JoinRun {
            run: RunId::nth(2),
            driver: nth(2),
            round: None,
            from: Some(RunId::nth(1)),
            until: play.now + Duration::from_secs(40),
        })
    };
    let mut play = Play::in_run(1);
    let join = other(&play);
    play.yes(SYSTEM, join);
    assert_eq!((play.status(), play.run()), (OrderStatus::Searching, Some(RunId::nth(2))));
    let told = play.told_runs();
    let [.., run::Command::Leave { .. }, run::Command::Join { .. }] = told.as_slice() else {
        panic!("{told:?}")
    };
    let mut fetched = Play::in_run(1);
    fetched.drive_to(OrderStatus::EnRoutePickup);
    fetched.drive_to(OrderStatus::AtPickup);
    fetched.drive_to(OrderStatus::PickedUp);
    let join = other(&fetched);
    assert!(matches!(fetched.ask(SYSTEM, join), Err(Refusal::TooLate(_))));
    assert!(matches!(
        fetched.ask(SYSTEM, leave(1, OfferStatus::Withdrawn)),
        Err(Refusal::TooLate(_))
    ));
    assert_eq!(fetched.run(), Some(RunId::nth(1)));
    let mut taken_out = Play::in_run(1);
    taken_out.yes(SYSTEM, leave(1, OfferStatus::Withdrawn));
    assert_eq!((taken_out.status(), taken_out.run()), (OrderStatus::Searching, None));
}

#[test]
fn on_board_of_a_lost_driver_it_calls_for_a_dispatcher_and_tells_its_run() {
    let mut play = Play::in_run(1);
    for step in [OrderStatus::EnRoutePickup, OrderStatus::AtPickup, OrderStatus::PickedUp] {
        play.drive_to(step);
    }
    let lost = Heard::DriverLost { driver: nth(1), reason: "a flat tyre".to_owned() };
    play.yes(SYSTEM, Command::Search(lost));
    assert_eq!((play.status(), play.order.driver()), (OrderStatus::PickedUp, Some(nth(1))));
    assert!(matches!(play.told_runs().last(), Some(run::Command::LoseDriver { .. })));
    assert_eq!(play.run(), None, "which is over then");
}

#[test]
fn goods_that_nobody_takes_over_may_be_handed_over_once_more() {
    let mut play = Play::in_run(1);
    for step in [OrderStatus::EnRoutePickup, OrderStatus::AtPickup, OrderStatus::PickedUp] {
        play.drive_to(step);
    }
    let hand_over = |play: &mut Play, n| {
        play.yes(DISPATCHER, handover(n, false, "a flat tyre", &[]));
        play.order.offers()[0].clone()
    };
    let stay = run::Command::Stay { orders: vec![play.id] };
    let n_stays = |play: &Play| play.told_runs().iter().filter(|it| **it == stay).count();
    let offer = hand_over(&mut play, 2).id;
    assert_eq!(n_stays(&play), 0);
    play.yes(SYSTEM, Command::Search(Heard::OfferRefused { offer, why: None }));
    assert_eq!(n_stays(&play), 1, "its driver has other work");
    play.now = hand_over(&mut play, 2).expires_at;
    play.tick();
    assert_eq!(n_stays(&play), 2, "it did not answer");
    let offer = hand_over(&mut play, 2).id;
    play.yes(SYSTEM, Command::Search(Heard::OfferDeclined { offer }));
    assert_eq!(n_stays(&play), 3, "it said no");
    let offer = hand_over(&mut play, 3).id;
    play.yes(SYSTEM, accepted(offer, 3));
    assert_eq!((n_stays(&play), play.run()), (3, None));
    assert!(matches!(play.told_runs().last(), Some(run::Command::Leave { .. })));
}

#[test]
fn one_that_not_every_node_can_read_is_brought_alone() {
    let around = Context { id: OrderId::nth(1), by: RIDER, now: Timestamp(1), writes: Format(4) };
    let events = Order::default().decide(&Command::Place(Box::new(batched())), &around).unwrap();
    assert!(events.iter().all(|event| Order::event_format(event) <= Format(4)));
    let play = Play::joined(1);
    assert!(play.journal.iter().any(|event| Order::event_format(event) == run::KNOWN));
}

/// A delivery that is first to be brought with others, for two minutes from when it looks for a driver.
fn kept() -> Placement {
    Placement { kept_until: Some(Play::new().now + Duration::from_mins(2)), ..delivery() }
}

#[test]
fn one_that_is_kept_for_a_run_is_asked_about_by_nobody_and_goes_alone_in_time() {
    let mut play = Play::placed(kept());
    assert_eq!(play.status(), OrderStatus::Searching);
    assert_eq!(play.order.listing(play.id), None, "no region knows of it");
    assert!(play.order.to_bring(play.id, true).is_ok(), "but whoever wants it brought with others");
    let events = play.journal.iter().map(Order::event_name).collect::<Vec<_>>();
    assert_eq!(events, ["placed", "search_opened", "search_held"]);
    let (due, _) = play.order.deadline().expect("it waits for something");
    assert_eq!(due, play.now + Duration::from_mins(2));
    play.tick_at_deadline();
    assert_eq!(play.journal.last().map(Event::name), Some("search_resumed"));
    assert_eq!(play.card().n_wanted, 1);
    assert_ne!(play.order.deadline().map(|(at, _)| at), Some(play.now), "once is enough");
    // Whoever loses its driver afterwards is not kept again.
    let mut lost = Play::placed(kept());
    lost.tick_at_deadline();
    lost.assign(1);
    lost.yes(driver(1), cancel());
    assert!(lost.order.listing(lost.id).is_some());
}

#[test]
fn one_that_is_kept_goes_with_a_run_and_one_for_later_is_kept_from_when_it_looks() {
    let mut play = Play::placed(kept());
    let round = play.order.to_bring(play.id, true).expect("it may be brought with others").round;
    let join = join_run(1, round, play.now);
    play.yes(SYSTEM, join);
    play.yes(SYSTEM, take(1));
    assert_eq!((play.status(), play.run()), (OrderStatus::Assigned, Some(RunId::nth(1))));

    let start_at = Play::new().now + Duration::from_hours(1);
    let later = Placement { start_at: Some(start_at), kept_until: Some(start_at), ..kept() };
    let mut play = Play::placed(later.clone());
    assert_eq!(play.status(), OrderStatus::Scheduled);
    while play.status() == OrderStatus::Scheduled {
        play.tick_at_deadline();
    }
    assert_eq!(play.order.listing(play.id), None);
    assert_eq!(play.order.deadline().map(|(at, _)| at), Some(start_at));
    // One whose moment is over is a delivery like any other.
    let over = Placement { kept_until: Some(Play::new().now), ..kept() };
    assert!(Play::placed(over).order.listing(OrderId::nth(1)).is_some());
}

#[test]
fn whoever_holds_or_resumes_one_that_is_kept_has_the_last_word() {
    let reason = || "wait for the boss".to_owned();
    let mut play = Play::placed(kept());
    play.yes(DISPATCHER, Command::Hold { reason: reason() });
    let until = play.now + Duration::from_mins(2);
    assert!(play.order.deadline().is_none_or(|(at, _)| until < at), "it does not go on by itself");
    assert!(play.order.to_bring(play.id, true).is_ok());
    let mut play = Play::placed(kept());
    play.yes(DISPATCHER, Command::Resume { reason: reason() });
    assert_eq!(play.card().n_wanted, 1);
}

#[test]
fn one_is_kept_only_where_every_node_knows_of_it() {
    let around = Context {
        id: OrderId::nth(1),
        by: RIDER,
        now: Play::new().now,
        writes: Format(crate::template::KNOWN.0 - 1),
    };
    let place = Command::Place(Box::new(kept()));
    let events = Order::default().decide(&place, &around).unwrap();
    assert!(events.iter().all(|event| Order::event_format(event) <= around.writes), "{events:?}");
    assert!(!events.iter().any(|event| Order::event_name(event) == "search_held"));
}
