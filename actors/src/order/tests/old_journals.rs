//! Journals written by earlier versions must replay for ever.

use super::*;

/// Lines of JSON: the events of three orders, each starting with `placed`.
const V1: &str = include_str!("../../../tests/journals/order-v1.jsonl");

fn lives() -> Vec<Vec<Event>> {
    let mut lives: Vec<Vec<Event>> = Vec::new();
    for line in V1.lines() {
        let event: Event = serde_json::from_str(line).expect(line);
        if matches!(event, Event::Placed { .. }) {
            lives.push(Vec::new());
        }
        lives.last_mut().expect("a journal starts with `placed`").push(event);
    }
    lives
}

#[test]
fn the_first_versions_journals_replay() {
    let ends: Vec<_> = lives()
        .iter()
        .map(|journal| {
            let mut order = Order::default();
            journal.iter().for_each(|event| order.evolve(event));
            (order.status().unwrap(), order.driver())
        })
        .collect();
    assert_eq!(
        ends,
        [
            (OrderStatus::Completed, Some(nth(2))),
            (OrderStatus::Delivered, Some(nth(1))),
            (OrderStatus::CancelledByRider, None),
        ]
    );
}

/// What the second version added: orders for later, waiting, codes, and orders that go on.
const V2: &str = include_str!("../../../tests/journals/order-v2.jsonl");

#[test]
fn the_second_versions_journals_replay() {
    let mut lives: Vec<Order> = Vec::new();
    for line in V2.lines() {
        let event: Event = serde_json::from_str(line).expect(line);
        if matches!(event, Event::Placed { .. }) {
            lives.push(Order::default());
        }
        lives.last_mut().expect("a journal starts with `placed`").evolve(&event);
    }
    let ends: Vec<_> = lives
        .iter()
        .map(|order| {
            let view = order.order_view(OrderId::nth(1), 1, RIDER).unwrap();
            let total = view.fare.total().amount;
            (view.status, total, view.followed_by.is_some())
        })
        .collect();
    assert_eq!(
        ends,
        [
            (OrderStatus::Completed, 1_570, true),
            (OrderStatus::Completed, 2_000, false),
            (OrderStatus::CancelledBySystem, 2_000, false),
            (OrderStatus::Assigned, 2_000, false),
            (OrderStatus::NoDriverFound, 2_000, false),
        ]
    );
}

/// What the third version added: the incident that an order raises.
const V3: &str = include_str!("../../../tests/journals/order-v3.jsonl");

#[test]
fn the_third_versions_journals_replay() {
    let events: Vec<Event> = V3.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut order = Order::default();
    let mut told = 0;
    for event in &events {
        let effects = order.effects(OrderId::nth(1), event);
        told += effects.iter().filter(|it| matches!(it.tell, Tell::Incident { .. })).count();
        order.evolve(event);
    }
    assert_eq!((order.status(), told), (Some(OrderStatus::CancelledSafety), 1));
}

/// What the fourth version added: zones that are paused, and fleets.
const V4: &str = include_str!("../../../tests/journals/order-v4.jsonl");

#[test]
fn the_fourth_versions_journals_replay() {
    let events: Vec<Event> = V4.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let mut order = Order::default();
    let mut stood_still = Vec::new();
    for event in &events {
        order.evolve(event);
        let view = order.order_view(OrderId::nth(1), 1, RIDER).unwrap();
        stood_still.extend(view.paused.map(|it| it.reason));
    }
    assert_eq!(stood_still, ["a flood"]);
    let fleet = order.order_view(OrderId::nth(1), 1, RIDER).unwrap().fleet;
    assert_eq!(fleet, "partner-0192f3c8aaaa7000800000000000eeee".parse().ok());
    // A minute later than it would have been.
    let due = order.deadline().map(|(at, _)| at);
    assert_eq!(due, Some(Timestamp(1_000_000_000 + 80_000)));
}

/// What the fifth version added: orders that are brought with others.
const V5: &str = include_str!("../../../tests/journals/order-v5.jsonl");

#[test]
fn the_fifth_versions_journals_replay() {
    let mut order = Order::default();
    let mut runs = Vec::new();
    for event in V5.lines().map(|line| serde_json::from_str(line).unwrap()) {
        order.evolve(&event);
        let view = order.order_view(OrderId::nth(1), 1, RIDER).unwrap();
        if runs.last() != Some(&view.run) {
            runs.push(view.run);
        }
    }
    let run = |n: u8| format!("run-0192f3c8aaaa70008000000000000{n:03x}").parse().ok();
    assert_eq!(runs, [None, run(1), None, run(2)]);
    assert_eq!(order.status(), Some(OrderStatus::Assigned));
}

/// What the sixth version added: fleets that come first.
const V6: &str = include_str!("../../../tests/journals/order-v6.jsonl");

#[test]
fn the_sixth_versions_journals_replay() {
    let mut order = Order::default();
    let mut kept_to = Vec::new();
    for event in V6.lines().map(|line| serde_json::from_str(line).unwrap()) {
        order.evolve(&event);
        let view = order.order_view(OrderId::nth(1), 1, RIDER).unwrap();
        if kept_to.last() != Some(&(view.fleet, view.fleet_first)) {
            kept_to.push((view.fleet, view.fleet_first));
        }
    }
    let fleet = "partner-0192f3c8aaaa7000800000000000eeee".parse().ok();
    assert_eq!(kept_to, [(None, false), (fleet, true), (None, false)]);
}

/// Prints the second version's fixture, as below.
#[test]
#[ignore = "for writing a new fixture, when events have been added"]
#[expect(clippy::print_stdout, reason = "that is what it is for")]
fn the_second_versions_fixture() {
    let start_at = Some(Timestamp(1_000_000_000 + 120 * MINUTE));
    let code = Some("4711".to_owned());
    let mut ridden = Play::placed(Placement { start_at, code, waiting_per_min: 60, ..ride() });
    ridden.yes(SYSTEM, Command::Requote { fare: fare(2_400) });
    ridden.yes(RIDER, Command::AcceptPrice {});
    ridden.tick_at_deadline();
    ridden.now = ridden.order.deadline().unwrap().0;
    ridden.yes(SYSTEM, Command::Postpone {});
    ridden.tick_at_deadline();
    ridden.assign(1);
    ridden.drive_to(OrderStatus::EnRoutePickup);
    ridden.drive_to(OrderStatus::AtPickup);
    ridden.wait(7 * MINUTE);
    ridden.see(0.0);
    ridden.drive_to(OrderStatus::InProgress);
    ridden.see(2_500.0);
    let wrong = Command::Finish { code: Some("0".to_owned()), early_reason: None };
    ridden.yes(driver(1), Command::CannotContinue { reason: "engine".to_owned() });
    ridden.no(driver(1), wrong);
    ridden.yes(driver(1), Command::Finish { code: None, early_reason: None });
    let mut collected = Play::at(commerce(), OrderStatus::JobFeed);
    collected.yes(RIDER, Command::CollectInstead {});
    collected.yes(RIDER, Command::Collected { code: Some("1234".to_owned()) });
    let mut silent = Play::placed(Placement { start_at, ..ride() });
    silent.yes(SYSTEM, Command::Requote { fare: fare(3_000) });
    silent.tick_at_deadline();
    let mut behind = Play::placed(delivery());
    let offer = behind.offer_to(1);
    let slots = vec![search::NEXT_SLOT];
    behind.yes(SYSTEM, Command::Search(Heard::OfferAccepted { offer, driver: nth(1), slots }));
    behind.yes(SYSTEM, Command::Search(Heard::Settle { driver: nth(1), slots: vec![0] }));
    let mut lonely = Play::at(ride(), OrderStatus::NoDriverFound);
    lonely.yes(RIDER, Command::Retry {});
    lonely.yes(SYSTEM, Command::Unfollow {});
    let plays = [ridden, collected, silent, behind, lonely];
    for event in plays.iter().flat_map(|play| &play.journal) {
        println!("{}", serde_json::to_string(event).unwrap());
    }
}

/// Prints the fixture of a new version: `cargo test -p actors this_versions -- --ignored --nocapture`.
#[test]
#[ignore = "for writing a new fixture, when events have been added"]
#[expect(clippy::print_stdout, reason = "that is what it is for")]
fn this_versions_journals() {
    let mut changed = Play::at(ride(), OrderStatus::AtPickup);
    changed.yes(driver(1), cancel());
    changed.assign(2);
    changed.see_driver(2, 0.0);
    changed.yes(driver(2), Command::Arrive {});
    changed.yes(driver(2), Command::Start { code: None });
    changed.yes(SYSTEM, Command::Metered { total_m: 900 });
    let early_reason = Some("rider_asked".to_owned());
    changed.yes(driver(2), Command::Finish { code: None, early_reason });
    changed.yes(RIDER, Command::Tip { amount: 300 });
    let mut failed = Play::at(delivery(), OrderStatus::FailedAttempt);
    failed.yes(driver(1), Command::Retry {});
    failed.drive_to(OrderStatus::AtDropoff);
    failed.drive_to(OrderStatus::Delivered);
    let mut cooked = Play::placed(commerce());
    cooked.yes(merchant(), Command::MerchantAccept { prep_min: 30 });
    cooked.yes(merchant(), Command::ItemUnavailable { item: 0 });
    cooked.yes(RIDER, Command::DecideItem { item: 0, replace: false });
    cooked.yes(RIDER, cancel());
    for event in [changed, failed, cooked].iter().flat_map(|play| &play.journal) {
        println!("{}", serde_json::to_string(event).unwrap());
    }
}
