//! One guard at a time.

use super::*;
use protocol::view::{Crossing, StopKind};
use strum::IntoEnumIterator;

#[test]
fn a_driver_arrives_only_inside_the_fence_but_a_dispatcher_may_say_so() {
    let mut play = Play::at(ride(), OrderStatus::EnRoutePickup);
    let unknown = play.no(driver(1), Command::Arrive {});
    assert!(matches!(unknown, Refusal::TooEarly { .. }), "nobody knows where: {unknown}");
    play.see(150.0);
    let refusal = play.no(driver(1), Command::Arrive {});
    assert_eq!(refusal, Refusal::TooFar { distance_m: 150, limit_m: 100, retry_after_ms: None });
    play.clone().yes(RIDER, Command::Arrive {});
    play.see(90.0);
    play.wait(61 * SECOND);
    assert!(matches!(play.no(driver(1), Command::Arrive {}), Refusal::TooEarly { .. }));
    play.yes(DISPATCHER, Command::Arrive {});
}

#[test]
fn who_may_be_there_by_now_is_told_to_ask_again_and_who_cannot_be_is_not() {
    let mut play = Play::at(ride(), OrderStatus::EnRoutePickup);
    let retry_after_ms = |seen_m, waited| {
        let mut play = play.clone();
        play.see(seen_m);
        play.wait(waited);
        let refused = protocol::Refused::from(play.no(driver(1), Command::Arrive {}));
        assert_eq!(refused.code, protocol::Code::TooFar);
        refused.retry_after_ms
    };
    assert_eq!(retry_after_ms(150.0, 0), None, "it was there just now");
    assert_eq!(
        retry_after_ms(150.0, 2 * SECOND),
        Some(500),
        "what it said since may be on its way"
    );
    assert_eq!(retry_after_ms(2_000.0, 2 * SECOND), None, "nobody is that fast");
    assert_eq!(retry_after_ms(2_000.0, 50 * SECOND), Some(500));
    play.see(2_000.0);
    play.wait(2 * SECOND);
    assert!(matches!(play.no(driver(1), Command::Arrive {}), Refusal::TooFar { .. }));
    play.see(90.0);
    play.yes(driver(1), Command::Arrive {});
}

#[test]
fn a_ride_with_a_code_starts_only_with_it() {
    let mut placement = Placement { code: Some("4711".to_owned()), ..ride() };
    placement.policy.start_code = true;
    let mut play = Play::at(placement, OrderStatus::AtPickup);
    let start = |code: Option<&str>| Command::Start { code: code.map(str::to_owned) };
    assert_eq!(play.no(driver(1), start(None)), Refusal::WrongCode);
    assert_eq!(play.no(driver(1), start(Some("0815"))), Refusal::WrongCode);
    play.yes(driver(1), start(Some("4711")));
}

#[test]
fn only_the_rider_is_shown_the_code_and_drivers_are_not_shown_each_others_offers() {
    let mut play = Play::placed(Placement { code: Some("4711".to_owned()), ..ride() });
    play.offer_to(1);
    let shown = |by| play.order.order_view(play.id, 3, by).unwrap();
    assert_eq!(shown(RIDER).code.as_deref(), Some("4711"));
    assert_eq!(shown(DISPATCHER).code, None);
    assert_eq!(shown(driver(1)).code, None);
    assert_eq!(shown(DISPATCHER).offers.len(), 1);
    assert_eq!(shown(driver(1)).offers, []);
    assert!(play.order.concerns(driver(1)) && !play.order.concerns(driver(2)));
    assert!(!play.order.concerns(Principal::Rider(RiderId::nth(5))));
}

#[test]
fn where_riders_must_be_on_board_only_they_can_say_so() {
    let mut placement = ride();
    placement.policy.on_board_check = true;
    let mut play = Play::at(placement, OrderStatus::AtPickup);
    let start = Command::Start { code: None };
    assert!(matches!(play.no(driver(1), start.clone()), Refusal::ProofMissing(_)));
    assert!(matches!(play.no(driver(1), Command::OnBoard {}), Refusal::NotYours(_)));
    play.yes(RIDER, Command::OnBoard {});
    play.yes(driver(1), start);
}

#[test]
fn a_no_show_needs_contact_and_an_unbroken_wait_inside_the_fence() {
    let mut play = Play::at(ride(), OrderStatus::AtPickup);
    let wait = |play: &mut Play, minutes: u64| {
        for _ in 0..minutes {
            play.wait(MINUTE);
            play.see(20.0);
        }
    };
    assert!(matches!(play.no(driver(1), Command::NoShow {}), Refusal::ProofMissing(_)));
    play.yes(driver(1), Command::Contacted {});
    wait(&mut play, 14);
    let early = play.no(driver(1), Command::NoShow {});
    assert!(matches!(early, Refusal::TooEarly { remaining_ms: 60_000, .. }), "{early}");
    // Once round the block, and the clock starts anew.
    play.see(300.0);
    wait(&mut play, 2);
    assert!(matches!(play.no(driver(1), Command::NoShow {}), Refusal::TooEarly { .. }));
    // So does it after a silence.
    wait(&mut play, 10);
    play.wait(3 * MINUTE);
    wait(&mut play, 14);
    assert!(matches!(play.no(driver(1), Command::NoShow {}), Refusal::TooEarly { .. }));
    wait(&mut play, 2);
    play.yes(driver(1), Command::NoShow {});
    assert!(matches!(play.journal.last(), Some(Event::NoShow { fee: 1_000, .. })));
}

#[test]
fn who_waits_a_little_outside_of_the_fence_waits_outside() {
    let mut play = Play::at(ride(), OrderStatus::AtPickup);
    play.yes(driver(1), Command::Contacted {});
    let wait = |play: &mut Play, minutes: u64, east_m| {
        for _ in 0..minutes {
            play.wait(MINUTE);
            play.see(east_m);
        }
    };
    wait(&mut play, 14, 20.0);
    // For whoever follows it, it has not gone yet.
    wait(&mut play, 1, 120.0);
    wait(&mut play, 15, 20.0);
    let early = play.no(driver(1), Command::NoShow {});
    assert!(matches!(early, Refusal::TooEarly { remaining_ms: 60_000, .. }), "{early}");
    wait(&mut play, 1, 20.0);
    play.yes(driver(1), Command::NoShow {});
}

#[test]
fn whoever_is_seen_vaguely_waits_all_the_same() {
    let mut play = Play::at(ride(), OrderStatus::EnRoutePickup);
    crosses(&mut play, 20.0, 150.0);
    play.yes(driver(1), Command::Arrive {});
    play.yes(driver(1), Command::Contacted {});
    for _ in 0..15 {
        play.wait(MINUTE);
        crosses(&mut play, 20.0, 150.0);
    }
    play.yes(driver(1), Command::NoShow {});
}

#[test]
fn how_long_a_driver_has_waited_is_known_by_what_an_older_build_kept() {
    let mut play = Play::at(ride(), OrderStatus::AtPickup);
    play.yes(driver(1), Command::Contacted {});
    let since = play.now;
    play.wait(14 * MINUTE);
    let kept = serde_json::json!({
        "at": [PICKUP, play.now],
        "first": PICKUP,
        "in_fence_since": since,
        "step": null,
        "unmetered_m": 0.0,
        "moving": Duration::ZERO,
        "asked_at": null,
    });
    play.order.recall(serde_json::from_value(kept).unwrap());
    play.wait(MINUTE);
    play.see(20.0);
    play.yes(driver(1), Command::NoShow {});
}

#[test]
fn nobody_drives_themselves() {
    let mut play = Play::placed(ride());
    let me = DriverId(rider().0);
    let round = play.round();
    let candidates = vec![Candidate { driver: me, eta_s: 1, distance_m: 1, cost_ms: 0 }];
    play.yes(SYSTEM, Command::Search(Heard::Propose { round, candidates }));
    assert_eq!(play.order.offers(), []);
    let reason = "why not".to_owned();
    let assign = Command::Assign { driver: me, force: true, reason, against: Vec::new() };
    assert_eq!(play.no(DISPATCHER, assign), Refusal::Unfit(vec![WhyNot::SamePerson]));
    let mut feed = Play::at(delivery(), OrderStatus::JobFeed);
    let claim =
        Command::Search(Heard::Claim { driver: me, slots: vec![0], fleet: None, brings: None });
    assert!(matches!(feed.no(SYSTEM, claim), Refusal::NotEligible(_)));
}

#[test]
fn an_offer_is_never_accepted_after_its_time_even_if_no_timer_has_run() {
    let mut play = Play::placed(ride());
    let offer = play.offer_to(1);
    play.wait(15 * SECOND);
    let refusal = play.no(SYSTEM, accepted(offer, 1));
    assert_eq!(refusal, Refusal::OfferGone(OfferStatus::Expired));
}

#[test]
fn the_second_driver_is_told_that_it_is_gone() {
    let mut placement = ride();
    placement.policy.offer = OfferPolicy::BroadcastFirstWins;
    let mut play = Play::placed(placement);
    let round = play.round();
    play.yes(SYSTEM, propose(round, &[1, 2]));
    let offers: Vec<_> = play.order.offers().iter().map(|offer| offer.id).collect();
    play.yes(SYSTEM, accepted(offers[1], 2));
    let refusal = play.no(SYSTEM, accepted(offers[0], 1));
    assert_eq!(refusal, Refusal::OfferGone(OfferStatus::Withdrawn));
    assert_eq!(play.ask(SYSTEM, accepted(offers[1], 2)), Ok(vec![]), "the winner asks again");
}

#[test]
fn a_driver_whose_job_went_to_another_cannot_have_it_back_with_the_old_offer() {
    let mut play = Play::placed(ride());
    let offer = play.offer_to(1);
    play.yes(SYSTEM, accepted(offer, 1));
    play.yes(driver(1), cancel());
    play.assign(2);
    assert_eq!(play.no(SYSTEM, accepted(offer, 1)), Refusal::OfferGone(OfferStatus::Lost));
}

#[test]
fn cancelling_is_free_at_first_and_dearer_the_longer_the_driver_works() {
    let fee = |play: &mut Play| {
        play.yes(RIDER, cancel());
        match play.journal.last() {
            Some(Event::Cancelled { fee, .. }) => *fee,
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(fee(&mut Play::placed(ride())), 0);
    let mut early = Play::at(ride(), OrderStatus::Assigned);
    early.wait(119 * SECOND);
    assert_eq!(fee(&mut early), 0);
    let mut late = Play::at(ride(), OrderStatus::EnRoutePickup);
    late.wait(120 * SECOND);
    assert_eq!(fee(&mut late), 200);
    let mut there = Play::at(ride(), OrderStatus::AtPickup);
    there.wait(120 * SECOND);
    assert_eq!(fee(&mut there), 500);
    let mut changed = Play::at(ride(), OrderStatus::AtPickup);
    changed.yes(driver(1), cancel());
    changed.assign(2);
    changed.wait(10 * MINUTE);
    assert_eq!(fee(&mut changed), 0, "the driver changed, so it is free");
}

#[test]
fn a_basket_is_refunded_by_how_far_it_is() {
    let prepaid = || {
        let mut play = Play::placed(Placement { payment: PaymentTiming::Prepay, ..commerce() });
        play.yes(SYSTEM, Command::ConfirmPayment { amount: 2_000 });
        play
    };
    let refund = |play: &mut Play| {
        play.yes(RIDER, cancel());
        match play.journal.last() {
            Some(Event::Cancelled { fee, refund, .. }) => (*fee, *refund),
            other => panic!("{other:?}"),
        }
    };
    assert_eq!(refund(&mut prepaid()), (0, 2_000));
    let mut confirmed = prepaid();
    confirmed.yes(merchant(), Command::MerchantAccept { prep_min: 60 });
    assert_eq!(refund(&mut confirmed.clone()), (0, 2_000));
    confirmed.wait(6 * MINUTE);
    assert_eq!(refund(&mut confirmed.clone()), (200, 1_800));
    confirmed.wait(6 * MINUTE);
    assert_eq!(refund(&mut confirmed.clone()), (400, 1_600));
    confirmed.yes(merchant(), Command::StartPrep {});
    assert_eq!(refund(&mut confirmed.clone()), (1_000, 1_000));
    confirmed.yes(merchant(), Command::Ready {});
    assert_eq!(refund(&mut confirmed), (2_000, 0));
    let mut rejected = prepaid();
    rejected.yes(merchant(), Command::MerchantReject { reason: "closed".to_owned() });
    assert!(matches!(rejected.journal.last(), Some(Event::Cancelled { refund: 2_000, .. })));
}

#[test]
fn a_merchant_who_does_not_answer_rejects_or_accepts_by_policy() {
    let mut silent = Play::placed(commerce());
    assert_eq!(silent.tick_at_deadline(), ["merchant_rejected", "cancelled_by_merchant"]);
    let mut placement = commerce();
    placement.policy.merchant_auto_accept = true;
    let mut auto = Play::placed(placement);
    assert_eq!(auto.tick_at_deadline(), ["merchant_confirmed"]);
}

#[test]
fn an_order_without_any_item_left_is_none() {
    let mut play = Play::placed(commerce());
    play.yes(merchant(), Command::MerchantAccept { prep_min: 60 });
    for item in 0..3 {
        play.yes(merchant(), Command::ItemUnavailable { item });
    }
    play.yes(RIDER, Command::DecideItem { item: 0, replace: false });
    play.wait(3 * MINUTE);
    assert_eq!(play.tick(), ["item_settled", "item_settled", "cancelled_by_merchant"]);
}

#[test]
fn a_ride_is_reassigned_three_times_and_no_more() {
    let mut play = Play::placed(ride());
    for n in 1..=3 {
        play.assign(n);
        play.yes(SYSTEM, lost(n));
        assert_eq!(play.status(), OrderStatus::Searching);
    }
    play.assign(4);
    let unassign = Command::Unassign { reason: "late".to_owned() };
    assert!(matches!(play.no(DISPATCHER, unassign), Refusal::TooLate(_)));
    play.yes(driver(4), cancel());
    assert_eq!(play.status(), OrderStatus::CancelledByDriver);
}

#[test]
fn a_driver_lost_with_the_rider_on_board_is_a_dispatchers_affair_and_keeps_the_job() {
    let mut play = Play::at(ride(), OrderStatus::InProgress);
    play.effects.clear();
    play.yes(SYSTEM, lost(1));
    assert_eq!(play.status(), OrderStatus::InProgress);
    assert!(matches!(play.journal.last(), Some(Event::Alerted { what: Alert::DriverLost, .. })));
    assert_eq!(play.told(), ["driver: keep_job"]);
    assert!(matches!(play.no(SYSTEM, lost(1)), Refusal::TooLate(_)));
    assert_eq!(play.ask(SYSTEM, lost(2)), Ok(vec![]), "driver 2 has nothing to do with it");
}

#[test]
fn a_change_of_stops_needs_the_driver_within_half_a_minute() {
    let mut play = Play::at(ride(), OrderStatus::InProgress);
    let change = Command::ModifyStops { stops: vec![place_at(7_000.0)], fare: Some(fare(2_600)) };
    play.yes(RIDER, change.clone());
    assert_eq!(play.clone().tick_at_deadline(), ["change_declined"]);
    play.yes(driver(1), Command::DeclineChange {});
    play.yes(RIDER, change);
    play.yes(driver(1), Command::AcceptChange {});
    let view = play.order.order_view(play.id, 1, RIDER).unwrap();
    assert_eq!((view.stops.len(), view.fare.total().amount), (2, 2_600));
    assert_eq!(view.stops[1], place_at(7_000.0));
    play.see(5_000.0);
    let finish = Command::Finish { code: None, early_reason: None };
    assert!(matches!(play.no(driver(1), finish), Refusal::TooFar { .. }), "the end has moved");
}

#[test]
fn a_ride_ends_early_wherever_it_is_and_a_dispatcher_looks_if_it_does_not() {
    let mut play = Play::at(ride(), OrderStatus::InProgress);
    play.yes(RIDER, Command::EndEarly {});
    let mut forgotten = play.clone();
    forgotten.wait(10 * MINUTE);
    assert_eq!(forgotten.tick(), ["end_overdue"]);
    play.yes(driver(1), Command::Finish { code: None, early_reason: None });
    assert_eq!(play.status(), OrderStatus::Completed);
}

#[test]
fn a_started_ride_is_cancelled_by_admins_only() {
    let mut play = Play::at(ride(), OrderStatus::InProgress);
    for by in [RIDER, driver(1), DISPATCHER] {
        assert!(matches!(play.no(by, cancel()), Refusal::NotYours(_)));
    }
    play.yes(Principal::Admin, cancel());
}

#[test]
fn a_ride_that_stands_still_for_two_hours_is_reported_once() {
    let mut placement = ride();
    placement.policy.sla_ms = 0;
    let mut play = Play::at(placement, OrderStatus::InProgress);
    play.wait(2 * 60 * MINUTE - 1);
    assert_eq!(play.tick(), [""; 0]);
    play.wait(1);
    assert_eq!(play.tick(), ["stuck"]);
    assert_eq!(play.order.deadline(), None);
}

#[test]
fn the_service_level_is_at_risk_at_four_fifths_and_breached_at_the_end() {
    let mut play = Play::at(ride(), OrderStatus::InProgress);
    play.now = Timestamp(1_000_000_000 + 48 * MINUTE);
    assert_eq!(play.tick(), ["sla_at_risk"]);
    play.now = Timestamp(1_000_000_000 + 60 * MINUTE);
    assert_eq!(play.tick(), ["sla_breached"]);
    let mut both = Play::at(ride(), OrderStatus::InProgress);
    both.wait(61 * MINUTE);
    assert_eq!(both.tick(), ["sla_at_risk", "sla_breached"]);
}

#[test]
fn proofs_are_required_before_goods_change_hands() {
    let mut placement = Placement { code: Some("1234".to_owned()), ..delivery() };
    placement.pickup_proof = vec![ProofKind::Photo];
    placement.dropoff_proof = vec![ProofKind::Photo, ProofKind::Pin];
    placement.cash_on_delivery = Some(500);
    let mut play = Play::at(placement, OrderStatus::AtPickup);
    let bare = Command::PickUp { proofs: vec![] };
    assert_eq!(play.no(driver(1), bare), Refusal::ProofMissing("photo".to_owned()));
    play.drive_to(OrderStatus::PickedUp);
    play.drive_to(OrderStatus::InTransit);
    play.drive_to(OrderStatus::AtDropoff);
    let pin = |value: &str| Proof { kind: ProofKind::Pin, value: value.to_owned() };
    let deliver = |proofs, cash| Command::Deliver { proofs, cash };
    let missing = play.no(driver(1), deliver(vec![photo()], Some(500)));
    assert_eq!(missing, Refusal::ProofMissing("pin".to_owned()));
    let wrong = play.no(driver(1), deliver(vec![photo(), pin("9")], Some(500)));
    assert_eq!(wrong, Refusal::WrongCode);
    let unpaid = play.no(driver(1), deliver(vec![photo(), pin("1234")], Some(499)));
    assert!(matches!(unpaid, Refusal::ProofMissing(_)));
    play.yes(driver(1), deliver(vec![photo(), pin("1234")], Some(500)));
}

#[test]
fn the_third_failed_attempt_sends_the_goods_back() {
    let mut play = Play::at(delivery(), OrderStatus::FailedAttempt);
    play.yes(driver(1), Command::Retry {});
    play.yes(driver(1), Command::Fail { reason: "closed".to_owned() });
    play.yes(driver(1), Command::Retry {});
    play.yes(driver(1), Command::Fail { reason: "closed".to_owned() });
    assert_eq!(play.status(), OrderStatus::Returning);
}

#[test]
fn what_makes_no_sense_cannot_be_placed() {
    let wrong = [
        ("stops", Placement { stops: vec![place_at(0.0)], ..ride() }),
        ("stops", Placement { stops: vec![place_at(0.0); 21], ..ride() }),
        ("merchant", Placement { merchant: None, ..commerce() }),
        ("merchant", Placement { merchant: Some(MerchantId::nth(1)), ..ride() }),
        ("handoff", Placement { handoff: Handoff::Collect, ..delivery() }),
        ("n_items", Placement { n_items: 1, ..delivery() }),
        ("proofs", Placement { pickup_proof: vec![ProofKind::Photo], ..ride() }),
        ("cash_on_delivery", Placement { cash_on_delivery: Some(1), ..ride() }),
        ("cash_on_delivery", Placement { cash_on_delivery: Some(1_000_001), ..delivery() }),
        ("fare", Placement { fare: fare(-1), ..ride() }),
        (
            "driver",
            Placement {
                policy: JobPolicy { offer: OfferPolicy::Direct, ..JobPolicy::default() },
                ..ride()
            },
        ),
        (
            "driver",
            Placement {
                policy: JobPolicy { offer: OfferPolicy::Feed, ..JobPolicy::default() },
                driver: Some(nth(1)),
                ..ride()
            },
        ),
        (
            "code",
            Placement { policy: JobPolicy { start_code: true, ..JobPolicy::default() }, ..ride() },
        ),
    ];
    for (field, placement) in wrong {
        let refusal = Play::new().no(RIDER, Command::Place(Box::new(placement)));
        let is_field = matches!(&refusal, Refusal::Invalid { field: it, .. } if it == field);
        assert!(is_field, "{field}: {refusal}");
    }
    let me = Some(DriverId(rider().0));
    let own = Play::new().no(RIDER, Command::Place(Box::new(Placement { driver: me, ..ride() })));
    assert!(matches!(own, Refusal::NotEligible(_)));
    let other = Principal::Rider(RiderId::nth(2));
    let not_mine = Play::new().no(other, Command::Place(Box::new(ride())));
    assert!(matches!(not_mine, Refusal::NotYours(_)));
}

#[test]
fn payments_that_fail_or_fall_short_or_never_come() {
    let prepaid = || Play::at(ride(), OrderStatus::AwaitingPayment);
    let short = prepaid().no(SYSTEM, Command::ConfirmPayment { amount: 1_999 });
    assert_eq!(short.to_string(), "amount: 2000 are owed");
    let mut failed = prepaid();
    failed.yes(SYSTEM, Command::FailPayment {});
    assert_eq!(failed.status(), OrderStatus::CancelledBySystem);
    let mut late = prepaid();
    late.wait(30 * MINUTE);
    assert_eq!(late.tick(), ["cancelled_by_system"]);
}

fn assign(n: u64, force: bool, reason: &str, against: &[WhyNot]) -> Command {
    let (reason, against) = (reason.to_owned(), against.to_vec());
    Command::Assign { driver: nth(n), force, reason, against }
}

fn reassign(n: u64, force: bool, reason: &str, against: &[WhyNot]) -> Command {
    let (reason, against) = (reason.to_owned(), against.to_vec());
    Command::Reassign { driver: nth(n), force, reason, against }
}

/// What a dispatcher overruled last.
fn bypassed(play: &Play) -> Vec<WhyNot> {
    let chosen = play.journal.iter().rev().find_map(|event| {
        let Event::DriverChosen { by, bypassed, .. } = event else { return None };
        Some((*by, bypassed.clone()))
    });
    let (by, bypassed) = chosen.expect("a driver was chosen");
    assert_eq!(by, DISPATCHER);
    bypassed
}

#[test]
fn a_dispatcher_may_force_an_excluded_driver_but_must_say_why() {
    let mut play = Play::at(ride(), OrderStatus::Assigned);
    play.yes(driver(1), cancel());
    let refused = play.no(DISPATCHER, assign(1, false, "", &[]));
    assert_eq!(refused, Refusal::Unfit(vec![WhyNot::Excluded]));
    assert!(matches!(play.no(DISPATCHER, assign(1, true, " ", &[])), Refusal::Invalid { .. }));
    play.offer_to(2);
    play.yes(DISPATCHER, assign(1, true, "nobody else is near", &[WhyNot::NoRoom]));
    assert_eq!(bypassed(&play), [WhyNot::NoRoom, WhyNot::Excluded]);
    let offers = play.order.offers();
    assert_eq!(offers.len(), 1, "all other offers are taken back");
    play.yes(SYSTEM, accepted(offers[0].id, 1));
    assert_eq!(play.order.driver(), Some(nth(1)));
}

#[test]
fn what_nobody_may_overrule_stands_however_much_a_dispatcher_insists() {
    let mut play = Play::placed(ride());
    let all: Vec<WhyNot> = WhyNot::iter().collect();
    let standing = all.iter().copied().filter(|why| !why.may_be_overruled()).collect();
    let refused = play.no(DISPATCHER, assign(1, true, "please", &all));
    assert_eq!(refused, Refusal::Unfit(standing));
    assert_eq!(play.order.offers(), []);
    let may: Vec<WhyNot> = all.into_iter().filter(|why| why.may_be_overruled()).collect();
    play.yes(DISPATCHER, assign(1, true, "please", &may));
    assert_eq!(bypassed(&play), may);
}

#[test]
fn a_dispatcher_gives_it_to_another_driver_in_one_go() {
    for status in [OrderStatus::Assigned, OrderStatus::EnRoutePickup, OrderStatus::AtPickup] {
        let mut play = Play::at(ride(), status);
        assert!(matches!(play.no(driver(1), reassign(2, false, "", &[])), Refusal::NotYours(_)));
        play.yes(DISPATCHER, reassign(2, false, "nearer", &[]));
        assert_eq!((play.status(), play.order.driver()), (OrderStatus::Searching, None));
        let offers = play.order.offers();
        assert_eq!(offers.len(), 1);
        play.yes(SYSTEM, accepted(offers[0].id, 2));
        assert_eq!(play.order.driver(), Some(nth(2)));
        // Whoever lost it is not offered it again.
        play.yes(driver(2), cancel());
        let round = play.round();
        play.yes(SYSTEM, propose(round, &[1]));
        assert_eq!(play.order.offers(), []);
    }
}

#[test]
fn who_cannot_have_it_instead_changes_nothing() {
    let mut play = Play::at(ride(), OrderStatus::EnRoutePickup);
    let before = play.order.clone();
    let refused = play.no(DISPATCHER, reassign(2, false, "nearer", &[WhyNot::NoRoom]));
    assert_eq!(refused, Refusal::Unfit(vec![WhyNot::NoRoom]));
    let refused = play.no(DISPATCHER, reassign(1, true, "nearer", &[]));
    assert_eq!(refused, Refusal::Unfit(vec![WhyNot::HasIt]));
    assert_eq!(play.order, before);
    play.yes(DISPATCHER, reassign(2, true, "nearer", &[WhyNot::NoRoom]));
    assert_eq!(bypassed(&play), [WhyNot::NoRoom]);
}

#[test]
fn goods_go_to_no_driver_who_could_not_have_been_given_them() {
    let mut play = Play::at(delivery(), OrderStatus::InTransit);
    let before = play.order.clone();
    let refused = play.no(DISPATCHER, handover(2, false, "nearer", &[WhyNot::Capacity]));
    assert_eq!(refused, Refusal::Unfit(vec![WhyNot::Capacity]));
    let refused = play.no(DISPATCHER, handover(2, true, "nearer", &[WhyNot::ColdChain]));
    assert_eq!(refused, Refusal::Unfit(vec![WhyNot::ColdChain]), "nor by force");
    let refused = play.no(DISPATCHER, handover(1, true, "nearer", &[]));
    assert_eq!(refused, Refusal::Unfit(vec![WhyNot::HasIt]));
    let bar = Command::Search(Heard::Bar { drivers: vec![nth(3)] });
    let refused = play.no(DISPATCHER, handover(2, true, " ", &[WhyNot::Capacity]));
    assert!(matches!(refused, Refusal::Invalid { .. }), "{refused}");
    assert_eq!(play.order, before);
    play.yes(SYSTEM, bar);
    let refused = play.no(DISPATCHER, handover(3, true, "nearer", &[]));
    assert_eq!(refused, Refusal::Unfit(vec![WhyNot::PairBlocked]));
    play.yes(DISPATCHER, handover(2, true, "nobody else is near", &[WhyNot::Capacity]));
    assert_eq!(bypassed(&play), [WhyNot::Capacity]);
    // Said again, it is so already.
    let again = handover(2, true, "nobody else is near", &[WhyNot::Capacity]);
    assert_eq!(play.order.offers().len(), 1);
    play.yes(DISPATCHER, again);
    let chosen = play.journal.iter().filter(|it| matches!(it, Event::DriverChosen { .. }));
    assert_eq!(chosen.count(), 1);
}

#[test]
fn who_takes_goods_over_comes_to_where_they_are() {
    let mut play = Play::at(delivery(), OrderStatus::InTransit);
    play.see(2_000.0);
    let way = play.order.asks().unwrap().way;
    let here = PICKUP.offset_m(2_000.0, 0.0);
    assert!(way.pickup.distance_m(here) < 1.0, "{way:?}");
    assert_eq!(way.dropoff, Some(place_at(5_000.0).at));
    let back = Play::at(delivery(), OrderStatus::Returning).order.asks().unwrap().way;
    assert_eq!(back.dropoff, Some(place_at(0.0).at));
    let before = Play::at(delivery(), OrderStatus::EnRoutePickup).order.asks().unwrap().way;
    assert_eq!(before.pickup, place_at(0.0).at);
}

#[test]
fn an_order_that_has_lost_too_many_drivers_is_only_given_to_another_by_force() {
    let mut play = Play::at(ride(), OrderStatus::Assigned);
    for n in 2..=4 {
        play.yes(driver(n - 1), cancel());
        play.assign(n);
    }
    let refused = play.no(DISPATCHER, reassign(5, false, "nearer", &[]));
    assert_eq!(refused, Refusal::Unfit(vec![WhyNot::TooManyDrivers]));
    play.yes(DISPATCHER, reassign(5, true, "the last try", &[]));
    assert_eq!(bypassed(&play), [WhyNot::TooManyDrivers]);
}

#[test]
fn after_the_end_there_is_a_time_for_everything() {
    let done = || Play::at(ride(), OrderStatus::Completed);
    let adjust = |percent| Command::AdjustFareDown { percent };
    let mut play = done();
    play.yes(driver(1), adjust(25));
    assert_eq!(play.order.order_view(play.id, 1, RIDER).unwrap().fare.total().amount, 1_500);
    assert!(matches!(play.no(driver(1), adjust(30)), Refusal::TooLate(_)));
    let mut late = done();
    late.wait(10 * MINUTE);
    assert!(matches!(late.no(driver(1), adjust(25)), Refusal::TooLate(_)));
    assert!(matches!(late.no(driver(1), adjust(0)), Refusal::Invalid { .. }));
    late.wait(24 * 60 * MINUTE);
    assert!(matches!(late.no(RIDER, Command::Tip { amount: 5 }), Refusal::TooLate(_)));
    late.yes(RIDER, Command::Rate { stars: 1 });
    assert!(matches!(late.no(RIDER, Command::Rate { stars: 2 }), Refusal::TooLate(_)));
    late.wait(7 * 24 * 60 * MINUTE);
    assert!(matches!(late.no(driver(1), Command::Rate { stars: 2 }), Refusal::TooLate(_)));
}

#[test]
fn a_tip_goes_whole_from_the_rider_to_the_driver() {
    let play = Play::at(ride(), OrderStatus::Completed);
    let tipped = Event::Tipped { amount: 300, at: play.now };
    let postings = play.order.postings(play.id, &tipped);
    assert_eq!(postings.iter().map(|line| line.amount).sum::<i64>(), 0);
    assert!(postings[1].account.ends_with("/earnings") && postings[1].amount == -300);
    assert_eq!(play.order.postings(play.id, &Event::SlaAtRisk { at: play.now }), []);
}

#[test]
fn moving_towards_the_pickup_departs_and_entering_its_fence_arrives_if_the_rules_say_so() {
    let mut placement = ride();
    placement.policy.auto_arrive = true;
    let mut play = Play::at(placement.clone(), OrderStatus::Assigned);
    assert_eq!(play.see_coming(-1_000.0), [""; 0]);
    assert_eq!(play.see_coming(-1_200.0), [""; 0], "away is not towards");
    assert_eq!(play.see_coming(-940.0), ["depart"]);
    assert_eq!(play.see_coming(-500.0), [""; 0]);
    let vague = Position { accuracy_m: Some(150.0), ..play.position(-50.0) };
    assert_eq!(play.sees(1, vague, Some(VehicleKind::Moto), 0), [""; 0], "wherever that is");
    assert_eq!(play.see_coming(-50.0), ["arrive"]);
    placement.policy.auto_arrive = false;
    placement.policy.auto_depart = false;
    let mut manual = Play::at(placement, OrderStatus::Assigned);
    assert_eq!(manual.see_coming(-1_000.0), [""; 0]);
    assert_eq!(manual.see_coming(0.0), [""; 0]);
}

#[test]
fn who_has_another_job_passes_the_door_of_this_one_without_arriving() {
    let mut placement = delivery();
    placement.policy.auto_arrive = true;
    let mut play = Play::at(placement, OrderStatus::EnRoutePickup);
    // Its driver has two, and goes to the other one first.
    assert_eq!(play.see(10.0), [""; 0]);
    play.wait(10 * SECOND);
    assert_eq!(play.see(10.0), [""; 0], "also if it has to wait there");
    play.wait(10 * SECOND);
    assert_eq!(play.see_coming(10.0), ["arrive"], "the other one is done");
    play.drive_to(OrderStatus::PickedUp);
    play.drive_to(OrderStatus::InTransit);
    for _ in 0..3 {
        play.wait(10 * SECOND);
        assert!(!play.see(5_000.0).contains(&"arrive"), "it was given another one");
    }
}

#[test]
fn only_who_is_surely_within_the_fence_arrives_and_not_where_it_was_corrected_to_just_now() {
    let mut placement = ride();
    placement.policy.auto_arrive = true;
    let mut play = Play::at(placement, OrderStatus::EnRoutePickup);
    let alone = Some(VehicleKind::Moto);
    assert_eq!(play.sees(1, play.position(4_000.0), alone, 0), [""; 0]);
    assert_eq!(play.sees(1, play.position(20.0), alone, 1), [""; 0], "it may be corrected again");
    assert_eq!(play.sees(1, play.position(120.0), alone, 1), [""; 0], "the band is not within");
    assert_eq!(play.sees(1, play.position(90.0), alone, 1), ["arrive"]);
}

#[test]
fn goods_that_enter_the_fence_of_the_last_stop_arrive_if_the_rules_say_so() {
    let stops = vec![place_at(0.0), place_at(2_000.0), place_at(5_000.0)];
    let mut placement = Placement { stops, ..delivery() };
    placement.policy.auto_arrive = true;
    let mut play = Play::at(placement, OrderStatus::EnRoutePickup);
    assert_eq!(play.see_coming(0.0), ["arrive"]);
    play.drive_to(OrderStatus::PickedUp);
    play.drive_to(OrderStatus::InTransit);
    assert_eq!(play.see_coming(2_000.0), [""; 0], "there is one before the last");
    play.yes(driver(1), Command::ArriveStop {});
    play.yes(driver(1), Command::CompleteStop { proofs: vec![photo()] });
    assert_eq!(play.see_coming(4_700.0), [""; 0]);
    let mut measured = play.clone();
    assert_eq!(play.see_coming(4_900.0), [""; 0], "it may pass by");
    play.wait(SECOND);
    assert_eq!(play.see_coming(4_900.0), ["arrive"], "it has not");
    assert_eq!(play.status(), OrderStatus::AtDropoff);
    assert_eq!(play.see_coming(4_900.0), [""; 0], "once");
    assert!(play.ask(driver(1), Command::Arrive {}).is_err(), "it is there already");
    let mut passes_at = |speed_mps| {
        measured.wait(SECOND);
        let position = Position { speed_mps: Some(speed_mps), ..measured.position(4_900.0) };
        measured.sees(1, position, Some(VehicleKind::Moto), 0)
    };
    assert_eq!(passes_at(9.0), [""; 0]);
    assert_eq!(passes_at(3.5), [""; 0], "however often it is seen");
    assert_eq!(passes_at(1.0), ["arrive"]);
}

/// Driver 1 is seen that far east of the pickup, as accurately. What those who follow the order are told that it crossed.
fn crosses(play: &mut Play, east_m: f64, accuracy_m: f32) -> Option<(u8, StopKind, Crossing)> {
    let (driver, sampled_at) = (nth(1), play.now);
    let (at, accuracy_m) = (PICKUP.offset_m(east_m, 0.0), Some(accuracy_m));
    let position = Position { at, sampled_at, heading_deg: None, speed_mps: None, accuracy_m };
    let (vehicle, run, n_corrected) = (None, None, 0);
    let sighting = Sighting::DriverAt { driver, position, vehicle, run, n_corrected };
    let around = Context { id: play.id, by: SYSTEM, now: play.now, writes: Format::WRITES };
    let mut crossed = play.order.see(&sighting, &around).passed_on.into_iter().filter_map(|it| {
        let Sight::Order(to, Sighting::Crossed { driver: who, stop, what, crossing, at }) = it
        else {
            return None;
        };
        assert_eq!((to, who, at), (play.id, driver, play.now));
        Some((stop, what, crossing))
    });
    crossed.next()
}

#[test]
fn who_follows_it_is_told_when_its_driver_comes_and_goes_and_nothing_is_written_down() {
    let (up, down) = (StopKind::Pickup, StopKind::Dropoff);
    let mut play = Play::at(ride(), OrderStatus::EnRoutePickup);
    let before = play.journal.len();
    assert_eq!(crosses(&mut play, 900.0, 8.0), None);
    assert_eq!(crosses(&mut play, 50.0, 120.0), None, "who knows where that is");
    assert_eq!(crosses(&mut play, 50.0, 8.0), Some((0, up, Crossing::Entered)));
    assert_eq!(crosses(&mut play, 120.0, 8.0), None);
    play.wait(2 * MINUTE);
    assert_eq!(crosses(&mut play, 50.0, 8.0), Some((0, up, Crossing::Dwelt)));
    assert_eq!(crosses(&mut play, 400.0, 8.0), Some((0, up, Crossing::Exited)));
    assert_eq!(crosses(&mut play, 50.0, 8.0), Some((0, up, Crossing::Entered)));
    assert_eq!(play.journal.len(), before);
    assert_eq!(play.status(), OrderStatus::EnRoutePickup, "nobody has said that it is there");

    play.yes(driver(1), Command::Arrive {});
    play.yes(driver(1), Command::Start { code: None });
    assert_eq!(crosses(&mut play, 400.0, 8.0), None, "it goes where it should");
    assert_eq!(crosses(&mut play, 5_000.0, 8.0), Some((1, down, Crossing::Entered)));
    let sighting = Sighting::Crossed {
        driver: nth(1),
        stop: 1,
        what: down,
        crossing: Crossing::Entered,
        at: play.now,
    };
    let around = Context { id: play.id, by: SYSTEM, now: play.now, writes: Format::WRITES };
    let seen = play.order.see(&sighting, &around);
    assert!(seen.asks.is_empty() && seen.passed_on.is_empty(), "it does nothing about it");
}

#[test]
fn a_way_that_nobody_has_gone_is_not_measured() {
    let mut play = Play::at(ride(), OrderStatus::InProgress);
    play.see(20.0);
    let mut see = |east_m: f64, n_corrected| {
        play.wait(10 * SECOND);
        let (driver, at, sampled_at) = (nth(1), PICKUP.offset_m(east_m, 0.0), play.now);
        let (heading_deg, speed_mps, accuracy_m) = (None, None, None);
        let position = Position { at, sampled_at, heading_deg, speed_mps, accuracy_m };
        let (vehicle, run) = (None, None);
        let sighting = Sighting::DriverAt { driver, position, vehicle, run, n_corrected };
        let around = Context { id: play.id, by: SYSTEM, now: play.now, writes: Format::WRITES };
        play.order.see(&sighting, &around);
    };
    see(120.0, 0);
    // It turned out to be 4.5 km away all along, and the sighting that said so first was lost.
    see(4_600.0, 1);
    see(4_700.0, 1);
    // Its actor fell, and counts anew.
    see(4_800.0, 0);
    see(9_000.0, 1);
    see(9_100.0, 1);
    let early = Some("rider_asked".to_owned());
    play.yes(driver(1), Command::Finish { code: None, early_reason: early });
    assert!((419..=421).contains(&play.life().metered_m), "{}", play.life().metered_m);
}

#[test]
fn goods_depart_when_they_move_and_other_drivers_positions_mean_nothing() {
    let mut play = Play::at(delivery(), OrderStatus::PickedUp);
    assert_eq!(play.see_driver(2, 500.0), [""; 0]);
    assert_eq!(play.see(20.0), [""; 0]);
    assert_eq!(play.see(80.0), ["depart"]);
}

#[test]
fn the_meter_counts_movement_once_and_ignores_trembling() {
    let mut play = Play::at(ride(), OrderStatus::InProgress);
    for second in 0..600_u32 {
        play.wait(SECOND);
        play.see(f64::from(second % 2) * 6.0);
    }
    assert_eq!(play.life().metered_m, 0);
    let mut n_checkpoints = 0;
    for second in 1..=100_u32 {
        play.wait(2 * SECOND);
        n_checkpoints += play.see(f64::from(second) * 20.0).len();
        play.see(f64::from(second) * 20.0);
    }
    assert!((3..=4).contains(&n_checkpoints), "{n_checkpoints}: one for each minute of moving");
    play.yes(
        driver(1),
        Command::Finish { code: None, early_reason: Some("rider_asked".to_owned()) },
    );
    assert!((1_990..=2_010).contains(&play.life().metered_m), "{}", play.life().metered_m);
}

#[test]
fn a_typical_order_is_small() {
    let play = Play::at(ride(), OrderStatus::InProgress);
    let bytes = size_of::<Life>();
    assert!(bytes <= 1_280, "{bytes} bytes without its lists");
    let written = rmp_serde::to_vec_named(&play.order).unwrap().len();
    assert!(written <= 3_100, "{written} bytes in a snapshot");
}

fn fare_lines(play: &Play) -> Vec<(String, i64)> {
    let fare = play.order.order_view(play.id, 1, RIDER).unwrap().fare;
    fare.lines.into_iter().map(|line| (line.code, line.amount)).collect()
}

#[test]
fn waiting_longer_than_is_free_is_a_line_of_its_own_wherever_the_driver_waits() {
    let stops = vec![place_at(0.0), place_at(2_000.0), place_at(5_000.0)];
    let placement = Placement { waiting_per_min: 60, stops, ..ride() };
    let mut play = Play::at(placement.clone(), OrderStatus::AtPickup);
    let mut prompt = play.clone();
    prompt.wait(5 * MINUTE);
    prompt.see(0.0);
    prompt.yes(driver(1), Command::Start { code: None });
    assert_eq!(fare_lines(&prompt).len(), 2, "five minutes are free");
    play.wait(8 * MINUTE);
    play.see(0.0);
    play.yes(driver(1), Command::Start { code: None });
    assert_eq!(fare_lines(&play)[2], ("waiting".to_owned(), 180));
    play.see(2_000.0);
    play.yes(driver(1), Command::ArriveStop {});
    play.wait(6 * MINUTE);
    play.yes(driver(1), Command::CompleteStop { proofs: vec![] });
    assert_eq!(fare_lines(&play)[2], ("waiting".to_owned(), 240));
    let change = Command::ModifyStops { stops: vec![place_at(7_000.0)], fare: Some(fare(2_600)) };
    play.yes(RIDER, change);
    play.yes(driver(1), Command::AcceptChange {});
    let total: i64 = fare_lines(&play).iter().map(|(_, amount)| amount).sum();
    assert_eq!(total, 2_840, "a new price for the way does not forget the waiting");
}

#[test]
fn a_delivery_waits_at_both_ends_but_nobody_pays_for_a_slow_merchant() {
    let wait_and = |play: &mut Play, east_m: f64, step: OrderStatus| {
        play.wait(7 * MINUTE);
        play.see(east_m);
        play.drive_to(step);
    };
    for (placement, wanted) in [(delivery(), 240), (commerce(), 120)] {
        let placement = Placement { waiting_per_min: 60, ..placement };
        let mut play = Play::at(placement, OrderStatus::AtPickup);
        wait_and(&mut play, 0.0, OrderStatus::PickedUp);
        play.drive_to(OrderStatus::InTransit);
        play.drive_to(OrderStatus::AtDropoff);
        wait_and(&mut play, 5_000.0, OrderStatus::Delivered);
        assert_eq!(fare_lines(&play)[2], ("waiting".to_owned(), wanted));
    }
}

#[test]
fn what_calling_off_costs_is_policy() {
    let mut placement = ride();
    placement.policy.at_pickup_fee_percent = 80;
    placement.policy.no_show_fee_percent = 100;
    let mut play = Play::at(placement.clone(), OrderStatus::AtPickup);
    play.wait(3 * MINUTE);
    play.yes(RIDER, cancel());
    assert!(matches!(play.journal.last(), Some(Event::Cancelled { fee: 1_600, .. })));
    let absent = Play::at(placement, OrderStatus::NoShow);
    assert!(matches!(absent.journal.last(), Some(Event::NoShow { fee: 2_000, .. })));
}

#[test]
fn a_code_cannot_be_found_out_by_trying() {
    let mut placement = Placement { code: Some("4711".to_owned()), ..ride() };
    placement.policy.start_code = true;
    let mut play = Play::at(placement, OrderStatus::AtPickup);
    let start = |code: &str| Command::Start { code: Some(code.to_owned()) };
    for n in 0..5 {
        assert_eq!(play.no(driver(1), start(&format!("000{n}"))), Refusal::WrongCode);
    }
    assert!(matches!(play.no(driver(1), start("4711")), Refusal::NotEligible(_)));
    assert!(play.story().ends_with("code_wrong\ncode_locked"));
    let mut other = play.clone();
    other.yes(driver(1), cancel());
    other.assign(2);
    other.see_driver(2, 0.0);
    other.yes(driver(2), Command::Arrive {});
    other.yes(driver(2), start("4711"));
    play.yes(DISPATCHER, Command::Start { code: None });
}

#[test]
fn a_ride_ends_away_from_its_last_stop_only_for_a_reason_that_is_known() {
    let mut play = Play::at(ride(), OrderStatus::InProgress);
    let finish =
        |reason: &str| Command::Finish { code: None, early_reason: Some(reason.to_owned()) };
    let refusal = play.no(driver(1), finish("felt like it"));
    assert_eq!(
        refusal.to_string(),
        "early_reason: one of rider_asked, road_blocked, wrong_address, breakdown, unsafe, staff_decision"
    );
    play.yes(driver(1), finish("road_blocked"));
}

#[test]
fn a_payment_of_much_more_than_is_owed_is_for_something_else() {
    let mut play = Play::at(ride(), OrderStatus::AwaitingPayment);
    let confirm = |amount| Command::ConfirmPayment { amount };
    assert!(matches!(play.no(SYSTEM, confirm(4_001)), Refusal::Invalid { .. }));
    play.yes(SYSTEM, confirm(4_000));
}

#[test]
fn a_held_order_waits_for_its_dispatcher_and_may_be_called_off() {
    let hold = || Command::Hold { reason: "the address is wrong".to_owned() };
    let resume = || Command::Resume { reason: String::new() };
    let mut play = Play::placed(ride());
    play.offer_to(1);
    assert!(matches!(play.no(RIDER, hold()), Refusal::NotYours(_)));
    play.yes(DISPATCHER, hold());
    assert_eq!((play.order.offers(), play.order.listing(play.id)), (vec![], None));
    let view = play.order.order_view(play.id, 1, RIDER).unwrap();
    assert!(view.held && view.status == OrderStatus::Searching);
    play.wait(20 * MINUTE);
    assert_eq!(play.tick(), Vec::<&str>::new());
    let mut called_off = play.clone();
    called_off.yes(RIDER, cancel());
    play.yes(DISPATCHER, assign(2, false, "", &[]));
    play.yes(DISPATCHER, resume());
    assert!(!play.order.order_view(play.id, 1, RIDER).unwrap().held);
    assert!(play.order.listing(play.id).is_some());
}

#[test]
fn an_order_in_a_paused_zone_stands_still_shows_it_and_may_be_called_off() {
    let pause = |until| Command::Search(Heard::Pause { pause: flood(until) });
    let mut play = Play::placed(ride());
    play.offer_to(1);
    play.yes(SYSTEM, pause(None));
    assert_eq!(play.order.offers(), []);
    let view = play.order.order_view(play.id, 1, RIDER).unwrap();
    assert_eq!(view.paused, Some(flood(None)));
    assert!(!view.held && view.status == OrderStatus::Searching);
    let Some(crate::Card::Search(card)) = play.order.listing(play.id).map(|it| it.card) else {
        panic!("its region must be able to let it go on")
    };
    assert!(card.n_wanted == 0 && card.paused.is_some());
    let mut called_off = play.clone();
    called_off.yes(RIDER, cancel());
    called_off.yes(SYSTEM, pause(None));
    let resumed = play.no(DISPATCHER, Command::Resume { reason: String::new() });
    assert!(matches!(resumed, Refusal::ZonePaused(_)), "{resumed:?}");
    play.yes(SYSTEM, Command::Search(Heard::Unpause {}));
    assert_eq!(play.order.order_view(play.id, 1, RIDER).unwrap().paused, None);
    play.assign(1);
    let n_before = play.journal.len();
    play.yes(SYSTEM, pause(None));
    assert_eq!(play.journal.len(), n_before, "what has begun goes on");
}

#[test]
fn an_order_that_goes_on_as_another_is_kept_to_the_same_fleet() {
    let fleet = Some(PartnerId::nth(1));
    let keep = |reason: &str| Command::SetFleet { fleet, reason: reason.to_owned() };
    let mut play = Play::placed(ride());
    assert!(matches!(play.no(RIDER, keep("why")), Refusal::NotYours(_)));
    assert!(matches!(play.no(DISPATCHER, keep(" ")), Refusal::Invalid { .. }));
    play.yes(DISPATCHER, keep("their contract"));
    assert_eq!(play.order.asks().unwrap().fleet, fleet);
    play.exhaust();
    play.yes(RIDER, Command::Retry {});
    let Some(Event::Continued { placement, .. }) = play.journal.last() else {
        panic!("tried again")
    };
    assert_eq!(placement.fleet.as_deref().copied(), fleet);
    let next = Play::placed((**placement).clone());
    assert_eq!(next.order.asks().unwrap().fleet, fleet);
    let formats = next.journal.iter().map(Order::event_format);
    assert_eq!(formats.max(), Some(FLEETS));
}

/// A ride that is the first fleet's first.
fn of_fleet_first() -> Placement {
    Placement { fleet: Some(Box::new(PartnerId::nth(1))), fleet_first: true, ..ride() }
}

fn kept_to(play: &Play) -> (Option<PartnerId>, bool) {
    let view = play.order.order_view(play.id, 1, RIDER).unwrap();
    (view.fleet, view.fleet_first)
}

#[test]
fn an_order_that_is_its_own_fleets_first_is_everybodys_later() {
    let fleet = Some(PartnerId::nth(1));
    let mut play = Play::placed(of_fleet_first());
    assert_eq!(kept_to(&play), (fleet, true));
    let asks = play.order.asks().unwrap();
    assert_eq!((asks.fleet, asks.fleet_first), (fleet, true));
    assert_eq!(play.tick_at_deadline(), ["tier_opened", "fleet_set"]);
    assert_eq!(kept_to(&play), (None, false));
    let formats = play.journal.iter().map(Order::event_format);
    assert_eq!(formats.max(), Some(search::FLEETS_FIRST));

    let kept = Placement { fleet_first: false, ..of_fleet_first() };
    let mut kept = Play::placed(kept);
    assert_eq!(kept.tick_at_deadline(), ["tier_opened"]);
    assert_eq!(kept_to(&kept), (fleet, false));
    let formats = kept.journal.iter().map(Order::event_format);
    assert_eq!(formats.max(), Some(FLEETS));

    let nobodys = Placement { fleet: None, ..of_fleet_first() };
    let refused = Play::new().no(RIDER, Command::Place(Box::new(nobodys)));
    assert!(matches!(refused, Refusal::Invalid { .. }), "{refused}");
}

#[test]
fn an_order_that_loses_a_driver_of_its_own_fleet_is_that_fleets_first_again() {
    let mut play = Play::placed(of_fleet_first());
    play.assign(1);
    play.yes(driver(1), cancel());
    assert_eq!(kept_to(&play), (Some(PartnerId::nth(1)), true));
    // Once everybody has been asked, nobody has to wait for a fleet any more.
    play.tick_at_deadline();
    play.assign(2);
    play.yes(driver(2), cancel());
    assert_eq!(kept_to(&play), (None, false));
}

#[test]
fn where_no_fleet_comes_first_or_not_every_node_knows_it_everybody_is_asked_at_once() {
    let policy = JobPolicy { fleet_tiers: 0, ..JobPolicy::default() };
    let play = Play::placed(Placement { policy, ..of_fleet_first() });
    assert_eq!(kept_to(&play), (None, false));

    let command = Command::Place(Box::new(of_fleet_first()));
    let (id, now) = (play.id, play.now);
    let before = crate::run::KNOWN;
    let around = Context { id, by: RIDER, now, writes: before };
    let events = Order::default().decide(&command, &around).unwrap();
    assert!(events.iter().all(|event| Order::event_format(event) <= before), "{events:?}");
    assert!(events.iter().all(|event| event.name() != "fleet_set"), "{events:?}");
}

#[test]
fn what_matters_more_is_listed_as_such() {
    let set = |priority| Command::SetPriority { priority, reason: "a doctor".to_owned() };
    let mut play = Play::placed(ride());
    assert!(matches!(play.no(RIDER, set(Priority::Urgent)), Refusal::NotYours(_)));
    play.yes(DISPATCHER, set(Priority::Urgent));
    assert_eq!(play.order.order_view(play.id, 1, RIDER).unwrap().priority, Priority::Urgent);
    let Some(crate::Card::Search(card)) = play.order.listing(play.id).map(|it| it.card) else {
        panic!("it is listed")
    };
    assert_eq!(card.priority, Priority::Urgent);
    let n_before = play.journal.len();
    play.yes(DISPATCHER, set(Priority::Urgent));
    assert_eq!(play.journal.len(), n_before, "already so");
    play.assign(1);
    assert!(matches!(play.no(DISPATCHER, set(Priority::Low)), Refusal::IllegalTransition { .. }));
}
