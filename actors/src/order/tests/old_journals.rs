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
