//! Whole lives of orders, told by their events.

use super::*;

#[test]
fn a_ride_from_the_first_tap_to_the_last_star() {
    let mut play = Play::placed(ride());
    play.assign(1);
    play.see(-900.0);
    play.wait(60 * SECOND);
    play.see(-400.0);
    play.wait(60 * SECOND);
    play.see(0.0);
    play.yes(driver(1), Command::Arrive {});
    play.yes(driver(1), Command::Start { code: None });
    for km in 1..=5 {
        play.wait(70 * SECOND);
        play.see(f64::from(km) * 1_000.0);
    }
    play.yes(driver(1), Command::Finish { code: None, early_reason: None });
    play.yes(RIDER, Command::Tip { amount: 300 });
    play.yes(RIDER, Command::Rate { stars: 5 });
    play.yes(driver(1), Command::Rate { stars: 4 });
    insta::assert_snapshot!(play.story(), @r"
    placed
    search_opened
    offer_made
    offer_closed
    search_closed
    assigned
    departed
    arrived
    started
    metered
    metered
    metered
    metered
    metered
    completed
    tipped
    rated
    rated
    ");
    insta::assert_snapshot!(play.told().join("\n"), @r"
    rider: open_job
    driver: reserve_offer
    driver: commit_job
    driver: end_job
    rider: close_job
    driver: record_rating
    ");
    assert_eq!(play.life().metered_m, 5_000);
}

#[test]
fn a_delivery_with_a_stop_on_the_way_a_failed_attempt_and_a_second_one() {
    let stops = vec![place_at(0.0), place_at(2_000.0), place_at(5_000.0)];
    let mut play = Play::at(Placement { stops, ..delivery() }, OrderStatus::AtStop);
    play.yes(driver(1), Command::CompleteStop { proofs: vec![photo()] });
    play.drive_to(OrderStatus::AtDropoff);
    play.yes(driver(1), Command::Fail { reason: "nobody home".to_owned() });
    play.yes(RIDER, Command::Retry {});
    play.drive_to(OrderStatus::AtDropoff);
    play.drive_to(OrderStatus::Delivered);
    insta::assert_snapshot!(play.story(), @r"
    placed
    search_opened
    offer_made
    offer_closed
    search_closed
    assigned
    departed
    arrived
    picked_up
    departed
    stop_arrived
    stop_completed
    arrived
    attempt_failed
    retried
    arrived
    delivered
    ");
}

#[test]
fn a_shop_order_whose_driver_is_found_while_it_cooks() {
    let mut play = Play::placed(commerce());
    assert_eq!(play.status(), OrderStatus::Waiting);
    play.yes(merchant(), Command::MerchantAccept { prep_min: 25 });
    play.yes(merchant(), Command::StartPrep {});
    play.yes(merchant(), Command::ItemUnavailable { item: 2 });
    play.yes(RIDER, Command::DecideItem { item: 2, replace: true });
    assert_eq!(play.status(), OrderStatus::Waiting);
    assert_eq!(play.tick_at_deadline(), ["search_opened"]);
    play.assign(1);
    play.drive_to(OrderStatus::EnRoutePickup);
    play.drive_to(OrderStatus::AtPickup);
    let refusal = play.no(driver(1), Command::PickUp { proofs: vec![] });
    assert_eq!(refusal.to_string(), "too early by 60 s: the merchant is not ready");
    play.yes(merchant(), Command::Ready {});
    play.yes(merchant(), Command::HandOver {});
    play.drive_to(OrderStatus::PickedUp);
    play.drive_to(OrderStatus::InTransit);
    play.drive_to(OrderStatus::AtDropoff);
    play.drive_to(OrderStatus::Delivered);
    insta::assert_snapshot!(play.story(), @r"
    placed
    merchant_asked
    merchant_confirmed
    prep_started
    item_missed
    item_settled
    search_opened
    offer_made
    offer_closed
    search_closed
    assigned
    departed
    arrived
    goods_ready
    handed_over
    picked_up
    departed
    arrived
    delivered
    ");
}

#[test]
fn a_shop_order_that_is_collected_needs_no_driver() {
    let mut play = Play::placed(Placement { handoff: Handoff::Collect, ..commerce() });
    play.cook();
    let wrong = Command::Collected { code: Some("0000".to_owned()) };
    assert_eq!(play.no(RIDER, wrong), Refusal::WrongCode);
    play.yes(RIDER, Command::Collected { code: Some("1234".to_owned()) });
    assert_eq!(play.status(), OrderStatus::Completed);
    insta::assert_snapshot!(play.story(), @r"
    placed
    merchant_asked
    merchant_confirmed
    goods_ready
    code_wrong
    handed_over
    completed
    ");
}

#[test]
fn a_prepaid_and_scheduled_ride_waits_for_its_money_and_then_for_its_time() {
    let start_at = Some(Timestamp(1_000_000_000 + 2 * 3_600_000));
    let payment = PaymentTiming::Prepay;
    let mut play = Play::placed(Placement { start_at, payment, ..ride() });
    play.yes(SYSTEM, Command::ConfirmPayment { amount: 2_000 });
    assert_eq!(play.status(), OrderStatus::Scheduled);
    assert_eq!(play.tick(), [""; 0], "it is not time yet");
    assert_eq!(play.tick_at_deadline(), ["reminded"]);
    assert_eq!(play.tick_at_deadline(), ["search_opened"]);
    assert_eq!(play.now, Timestamp(1_000_000_000 + 2 * 3_600_000 - 15 * MINUTE));
    insta::assert_snapshot!(play.story(), @r"
    placed
    payment_awaited
    payment_confirmed
    scheduled
    reminded
    search_opened
    ");
}

#[test]
fn a_scheduled_ride_waits_for_a_rider_who_still_rides_but_not_for_ever() {
    let mut play = Play::at(ride(), OrderStatus::Scheduled);
    assert_eq!(play.order.claims(play.id), [], "the rider may ride until then");
    let taken = Claim::ride(rider());
    assert_eq!(play.ask(SYSTEM, Command::Postpone {}), Ok(vec![]), "it is not time yet");
    while play.status() == OrderStatus::Scheduled {
        play.now = play.order.deadline().unwrap().0.max(play.now);
        let instead = play.order.when_taken(&taken).expect("it knows what to do");
        play.yes(SYSTEM, instead);
    }
    assert_eq!(play.status(), OrderStatus::CancelledBySystem);
    assert_eq!(play.now, Timestamp(1_000_000_000 + 3_600_000 + 15 * MINUTE));
    assert_eq!(play.life().reason.as_deref(), Some("the rider was still on another ride"));
    let mut free = Play::at(ride(), OrderStatus::Scheduled);
    free.now = free.order.deadline().unwrap().0;
    free.yes(SYSTEM, Command::Postpone {});
    assert_eq!(free.tick_at_deadline(), ["search_opened"]);
    assert_eq!(free.order.when_taken(&taken), None);
}

#[test]
fn a_driver_who_cancels_is_excluded_and_another_one_is_found() {
    let mut play = Play::at(ride(), OrderStatus::AtPickup);
    play.yes(driver(1), cancel());
    assert_eq!(play.status(), OrderStatus::Searching);
    let round = play.round();
    play.yes(SYSTEM, propose(round, &[1]));
    assert_eq!(play.order.offers(), [], "driver 1 gave it up");
    play.assign(2);
    assert_eq!(play.order.driver(), Some(nth(2)));
    insta::assert_snapshot!(play.story(), @r"
    placed
    search_opened
    offer_made
    offer_closed
    search_closed
    assigned
    departed
    arrived
    driver_gone
    driver_excluded
    search_opened
    offer_made
    offer_closed
    search_closed
    assigned
    ");
}

#[test]
fn who_loses_a_driver_has_waited_since_the_first_search_and_has_a_whole_new_one() {
    let mut play = Play::placed(ride());
    let first = play.now;
    let search_ms = u64::from(play.placement().policy.search_ms);
    for n in 1..=2 {
        play.assign(n);
        play.wait(4 * MINUTE);
        play.yes(driver(n), cancel());
        assert_eq!(play.card().opened_at, first, "of driver {n}");
        assert_eq!(play.life().search.until(), Some(Timestamp(play.now.0 + search_ms)));
    }
    let mut play = Play::at(delivery(), OrderStatus::JobFeed);
    play.wait(MINUTE);
    play.yes(DISPATCHER, Command::ExtendSearch {});
    assert_eq!(play.card().opened_at, first, "nor does a dispatcher make it start anew");
}

#[test]
fn whoever_is_offered_it_is_told_how_heavy_it_is() {
    let weights_of = |weight_g| {
        let needs = protocol::work::Needs { weight_g, ..Default::default() };
        let mut play = Play::placed(Placement { needs, ..delivery() });
        play.offer_to(1);
        let told = play.effects.iter().filter_map(|effect| {
            if let Tell::Driver { command, .. } = &effect.tell
                && let driver::Command::ReserveOffer { weights_g, .. } = command
            {
                Some(weights_g.clone())
            } else {
                None
            }
        });
        told.collect::<Vec<_>>()
    };
    assert_eq!(weights_of(5_000), [[5_000]]);
    assert_eq!(weights_of(0), [[0; 0]]);
}

#[test]
fn goods_pass_from_one_driver_to_another() {
    let mut play = Play::at(delivery(), OrderStatus::InTransit);
    play.yes(driver(1), Command::CannotContinue { reason: "flat tyre".to_owned() });
    play.yes(DISPATCHER, handover(2, false, "a flat tyre", &[]));
    assert_eq!(play.order.driver(), Some(nth(1)), "until the other one has confirmed");
    let offer = play.order.offers()[0].id;
    play.effects.clear();
    play.yes(SYSTEM, accepted(offer, 2));
    assert_eq!((play.status(), play.order.driver()), (OrderStatus::PickedUp, Some(nth(2))));
    assert_eq!(play.told(), ["driver: end_job", "driver: commit_job"]);
    let refusal = play.no(driver(1), Command::Depart {});
    assert_eq!(refusal, Refusal::NotYours("not for drivers of this order".to_owned()));
    play.yes(driver(2), Command::Depart {});
}

#[test]
fn a_delivery_nobody_was_found_for_goes_to_the_feed_and_is_claimed() {
    let mut play = Play::at(delivery(), OrderStatus::JobFeed);
    let claim = |n| {
        Command::Search(Heard::Claim { driver: nth(n), slots: vec![3], fleet: None, brings: None })
    };
    play.yes(SYSTEM, claim(2));
    let late = play.no(SYSTEM, claim(3));
    assert_eq!(late, Refusal::TooLate("it is not in the feed".to_owned()));
    assert_eq!(play.order.claims(play.id), [Claim::slot(nth(2), 3)]);
    insta::assert_snapshot!(play.story(), @r"
    placed
    search_opened
    tier_opened
    tier_opened
    dispatch_failed
    feed_opened
    search_closed
    assigned
    ");
}

#[test]
fn a_delivery_asked_of_one_driver_is_open_to_all_only_once_its_rider_looks_further() {
    let claim = |n| {
        Command::Search(Heard::Claim { driver: nth(n), slots: vec![3], fleet: None, brings: None })
    };
    let for_one = || Placement { driver: Some(nth(1)), ..delivery() };
    let mut play = Play::placed(for_one());
    let offer = play.offer_to(1);
    play.yes(SYSTEM, Command::Search(Heard::OfferDeclined { offer }));
    assert_eq!(play.status(), OrderStatus::JobFeed, "its rider says how it goes on");
    for n in [1, 2] {
        assert!(matches!(play.no(SYSTEM, claim(n)), Refusal::NotEligible(_)));
        assert!(play.order.in_feed(play.id, nth(n), None, play.now).is_none());
    }
    assert!(!play.order.concerns(driver(2)), "nor is it shown");

    play.yes(RIDER, Command::ExtendSearch {});
    play.exhaust();
    assert!(play.order.concerns(driver(2)));
    let (terms, until) = play.order.in_feed(play.id, nth(2), None, play.now).unwrap();
    assert_eq!((terms.job, until > play.now), (JobId::Order(play.id), true));
    play.yes(SYSTEM, claim(2));
    assert_eq!(play.order.driver(), Some(nth(2)));
    assert!(play.order.in_feed(play.id, nth(3), None, play.now).is_none());

    let mut silent = Play::at(for_one(), OrderStatus::JobFeed);
    assert!(matches!(silent.no(SYSTEM, claim(2)), Refusal::NotEligible(_)));
    silent.yes(SYSTEM, claim(1));
}

#[test]
fn what_is_in_the_feed_is_not_shown_to_who_gave_it_up_or_is_kept_apart_from_its_rider() {
    let mut play = Play::placed(delivery());
    play.assign(1);
    play.yes(driver(1), cancel());
    play.exhaust();
    assert_eq!(play.status(), OrderStatus::JobFeed);
    play.yes(SYSTEM, Command::Search(Heard::Bar { drivers: vec![nth(2)] }));
    let is_shown = |n| play.order.concerns(driver(n));
    assert_eq!([1, 2, 3].map(is_shown), [false, false, true]);
}

#[test]
fn how_far_away_a_driver_was_looked_for_is_in_the_list_while_it_is_in_the_feed() {
    let far = JobPolicy { tiers_m: [1_000, 30_000, 30_000], ..JobPolicy::delivery() };
    let play = Play::at(Placement { policy: far, ..delivery() }, OrderStatus::JobFeed);
    let reach_m =
        |play: &Play| play.order.view(play.id).expect("it is placed").body["reach_m"].as_u64();
    assert_eq!(reach_m(&play), Some(30_000));
    assert_eq!(reach_m(&Play::placed(delivery())), None);
}

#[test]
fn goods_called_off_on_the_way_go_back_if_the_other_side_agrees() {
    let mut play = Play::at(delivery(), OrderStatus::InTransit);
    play.yes(RIDER, Command::RequestCancel { reason: "wrong address".to_owned() });
    let own = Command::DecideCancel { decision: CancelDecision::Return };
    assert!(matches!(play.no(RIDER, own.clone()), Refusal::NotYours(_)));
    play.yes(driver(1), own);
    assert_eq!(play.status(), OrderStatus::Returning);
    play.drive_to(OrderStatus::Returned);
}

#[test]
fn a_request_nobody_answers_becomes_an_admins_affair() {
    let mut play = Play::at(delivery(), OrderStatus::InTransit);
    play.yes(driver(1), Command::RequestCancel { reason: "unsafe".to_owned() });
    play.wait(30 * MINUTE);
    assert!(play.tick().contains(&"cancel_escalated"));
    let deny = Command::DecideCancel { decision: CancelDecision::Deny };
    assert!(matches!(play.no(RIDER, deny.clone()), Refusal::NotYours(_)));
    assert!(matches!(play.no(DISPATCHER, deny.clone()), Refusal::NotYours(_)));
    play.yes(Principal::Admin, deny);
    assert_eq!(play.status(), OrderStatus::InTransit);
}

#[test]
fn two_sided_the_first_pair_wins_and_the_others_are_let_go() {
    let mut placement = ride();
    placement.policy.offer = OfferPolicy::TwoSided;
    let mut play = Play::placed(placement);
    let round = play.round();
    play.yes(SYSTEM, propose(round, &[1, 2, 3]));
    let offers: Vec<_> = play.order.offers().iter().map(|offer| offer.id).collect();
    play.yes(SYSTEM, accepted(offers[0], 1));
    play.yes(SYSTEM, accepted(offers[1], 2));
    assert_eq!(play.status(), OrderStatus::Searching, "the rider has not chosen");
    play.effects.clear();
    play.yes(RIDER, Command::ConfirmOffer { offer: offers[1] });
    assert_eq!(play.order.driver(), Some(nth(2)));
    // Driver 1 had said yes and holds slots; driver 3 only holds the offer.
    assert_eq!(play.told(), ["driver: abort_job", "driver: withdraw_offer", "driver: commit_job"]);
}

#[test]
fn a_ride_whose_driver_ends_another_one_first_begins_after_that_one() {
    let mut play = Play::placed(ride());
    let offer = play.offer_to(1);
    let slots = vec![search::NEXT_SLOT];
    play.yes(SYSTEM, Command::Search(Heard::OfferAccepted { offer, driver: nth(1), slots }));
    let behind = |play: &Play| play.order.claims(play.id)[1].clone();
    assert_eq!(behind(&play), Claim::slot(nth(1), 255), "beside the slots of the ride under way");
    for (by, command) in [(driver(1), Command::Depart {}), (RIDER, Command::Arrive {})] {
        assert!(matches!(play.no(by, command), Refusal::TooEarly { .. }));
    }
    let settle = |n| Command::Search(Heard::Settle { driver: nth(n), slots: vec![0] });
    assert_eq!(play.ask(SYSTEM, settle(2)), Ok(vec![]), "driver 2 has nothing to do with it");
    play.yes(SYSTEM, settle(1));
    assert_eq!(behind(&play), Claim::slot(nth(1), 0));
    play.drive_to(OrderStatus::EnRoutePickup);
}
