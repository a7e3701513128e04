//! Orders for later: reminders, prices that move, and times that do.

use super::*;

fn scheduled(change: impl FnOnce(&mut JobPolicy)) -> Play {
    let mut placement =
        Placement { start_at: Some(Timestamp(1_000_000_000 + 120 * MINUTE)), ..ride() };
    change(&mut placement.policy);
    Play::placed(placement)
}

fn requote(amount: i64) -> Command {
    Command::Requote { fare: fare(amount) }
}

fn total(play: &Play) -> i64 {
    play.order.order_view(play.id, 1, RIDER).unwrap().fare.total().amount
}

#[test]
fn the_rider_is_reminded_once_and_then_the_work_begins() {
    let mut play = scheduled(|_| {});
    assert_eq!(play.tick_at_deadline(), ["reminded"]);
    assert_eq!(play.now, Timestamp(1_000_000_000 + 60 * MINUTE));
    assert_eq!(play.tick_at_deadline(), ["search_opened"]);
    let mut unasked = scheduled(|policy| policy.remind_ms = 0);
    assert_eq!(unasked.tick_at_deadline(), ["search_opened"]);
}

#[test]
fn a_lower_price_is_passed_on_and_a_little_more_is_not() {
    let mut play = scheduled(|_| {});
    play.yes(SYSTEM, requote(2_200));
    assert_eq!(total(&play), 2_000);
    play.yes(DISPATCHER, requote(1_500));
    assert_eq!(total(&play), 1_500);
    assert!(matches!(play.no(RIDER, Command::AcceptPrice {}), Refusal::TooLate(_)));
    assert!(matches!(play.no(RIDER, requote(1)), Refusal::NotYours(_)));
    let dollars = Fare { currency: Currency::USD, ..fare(900) };
    let other = play.no(SYSTEM, Command::Requote { fare: dollars });
    assert!(matches!(other, Refusal::Invalid { .. }));
}

#[test]
fn nobody_is_looked_for_before_the_rider_agrees_to_a_much_higher_price() {
    let mut play = scheduled(|policy| policy.requote_ms = 200 * 60_000);
    play.yes(SYSTEM, requote(2_201));
    let asked = play.order.order_view(play.id, 1, RIDER).unwrap().price_asked;
    assert_eq!((asked, total(&play)), (Some(fare(2_201)), 2_000));
    assert_eq!(play.tick_at_deadline(), ["reminded"]);
    play.wait(60 * MINUTE);
    assert_eq!(play.tick(), [""; 0], "it is time, but not at that price");
    play.yes(RIDER, Command::AcceptPrice {});
    assert_eq!(total(&play), 2_201);
    assert_eq!(play.tick(), ["search_opened"]);
}

#[test]
fn a_rider_who_does_not_want_to_pay_more_owes_nothing_and_a_silent_one_says_what_the_policy_says() {
    let mut play = scheduled(|_| {});
    play.yes(SYSTEM, requote(3_000));
    let mut silent = play.clone();
    play.yes(RIDER, Command::DeclinePrice {});
    let Some(Event::Cancelled { status, fee, .. }) = play.journal.last() else { panic!() };
    assert_eq!((*status, *fee), (OrderStatus::CancelledByRider, 0));
    assert_eq!(silent.tick_at_deadline(), ["cancelled_by_system"]);
    let mut willing = scheduled(|policy| policy.requote_silent_accepts = true);
    willing.yes(SYSTEM, requote(3_000));
    assert_eq!(willing.tick_at_deadline(), ["price_settled"]);
    assert_eq!(total(&willing), 3_000);
}

#[test]
fn a_price_that_falls_back_takes_the_question_back() {
    let mut play = scheduled(|_| {});
    play.yes(SYSTEM, requote(3_000));
    play.yes(SYSTEM, requote(2_100));
    assert_eq!((total(&play), play.life().price_asked.is_none()), (2_000, true));
    let mut fixed = scheduled(|policy| policy.requote_percent = 0);
    fixed.yes(SYSTEM, requote(9_000));
    assert!(fixed.life().price_asked.is_none(), "a promise is a promise there");
}

#[test]
fn another_time_has_another_price_and_another_reminder() {
    let mut play = scheduled(|_| {});
    play.yes(SYSTEM, requote(3_000));
    let start_at = Timestamp(1_000_000_000 + 300 * MINUTE);
    play.yes(RIDER, Command::Reschedule { start_at, fare: Some(fare(2_700)) });
    assert_eq!((total(&play), play.life().price_asked.is_none()), (2_700, true));
    assert_eq!(play.tick_at_deadline(), ["reminded"]);
    assert_eq!(play.now, Timestamp(1_000_000_000 + 240 * MINUTE));
}
