//! What counts of a driver's hours, when it is told, and when it has rested.

use super::*;
use proptest::prelude::*;
use std::collections::BTreeSet;

const MINUTE: u64 = 60_000;
/// Long enough after the beginning of time for a day to be before it.
const START: u64 = 1_000_000 * MINUTE;
const DAY_MIN: u64 = 24 * 60;
const REST_MIN: u64 = 6 * 60;

fn at(min: u64) -> Timestamp {
    Timestamp(START + min * MINUTE)
}

fn min(n: u64) -> Duration {
    Duration::from_millis(n * MINUTE)
}

/// Told after ten hours of a day, and rests six after twelve.
fn policy() -> DriverPolicy {
    let hour_ms = 3_600_000;
    DriverPolicy {
        duty_told_ms: 10 * hour_ms,
        duty_max_ms: 12 * hour_ms,
        duty_within_ms: 24 * hour_ms,
        rest_ms: 6 * hour_ms,
        ..DriverPolicy::default()
    }
}

/// The hours of who worked from these minutes until those, and rested between them.
fn worked(spells: &[(u64, u64)]) -> Hours {
    let mut hours = Hours::default();
    for (from, until) in spells {
        hours.begin(at(*from), &policy());
        hours.end(at(*until), &policy());
    }
    hours
}

/// The same, and works again from the last minute on.
fn works(spells: &[(u64, u64)], from: u64) -> Hours {
    let mut hours = worked(spells);
    hours.begin(at(from), &policy());
    hours
}

fn rest_left(hours: &Hours, now_min: u64) -> Option<Duration> {
    hours.rest_left(at(now_min), Doing::Rest, &policy())
}

#[test]
fn breaks_do_not_count_and_do_not_begin_anew() {
    let hours = works(&[(0, 300), (480, 780)], 960);
    assert_eq!(hours.counted(at(960), Doing::Work, &policy()), min(600));
    assert_eq!(hours.due(policy().duty_told_ms, &policy()), at(960), "at once");
    assert_eq!(hours.due(policy().duty_max_ms, &policy()), at(960 + 120));
}

#[test]
fn what_is_more_than_a_day_ago_does_not_count() {
    let hours = works(&[(0, 120), (470, 590), (940, 1_060)], 1_410);
    assert_eq!(hours.counted(at(1_410), Doing::Work, &policy()), min(360));
    // The first spell is forgotten meanwhile, and the second is not yet.
    assert_eq!(hours.due(policy().duty_max_ms, &policy()), at(1_410 + 480));
    let all = DriverPolicy { duty_within_ms: 0, ..policy() };
    assert_eq!(hours.due(policy().duty_max_ms, &all), at(1_410 + 360), "where all of it counts");
}

#[test]
fn a_rest_without_a_gap_forgets_all_before() {
    let hours = worked(&[(0, 720)]);
    assert_eq!(rest_left(&hours, 720), Some(min(360)));
    assert_eq!(rest_left(&hours, 1_079), Some(min(1)));
    assert_eq!(rest_left(&hours, 1_080), None);
    assert_eq!(rest_left(&worked(&[(0, 719)]), 719), None, "it need not yet");
    let mut early = hours.clone();
    assert!(!early.begin(at(1_079), &policy()));
    let mut rested = hours;
    assert!(rested.begin(at(1_080), &policy()));
    assert_eq!(rested, Hours { since: at(1_080), ..Hours::default() });
}

#[test]
fn nothing_is_a_rest_while_it_works() {
    let hours = works(&[(0, 360)], 400);
    let left = |now_min| hours.rest_left(at(now_min), Doing::Work, &policy());
    assert_eq!((left(759), left(760)), (None, Some(min(360))));
    assert_eq!(left(1_400), Some(min(360)));
}

#[test]
fn a_rest_that_is_owed_is_a_whole_one_although_less_counts_by_then() {
    let hours = worked(&[(0, 120), (470, 590), (940, 1_060), (1_410, 1_890)]);
    assert_eq!(hours.counted(at(2_249), Doing::Rest, &policy()), min(600));
    assert_eq!(rest_left(&hours, 2_249), Some(min(1)));
    assert_eq!(rest_left(&hours, 2_250), None);
}

#[test]
fn it_is_told_again_only_once_less_has_counted() {
    let told = |spells: &[(u64, u64)]| {
        let mut hours = worked(spells);
        hours.tell();
        hours
    };
    let mut hours = told(&[(0, 600)]);
    hours.begin(at(700), &policy());
    assert!(hours.is_told);
    let mut hours = told(&[(0, 300), (600, 900), (1_200, 1_205)]);
    hours.begin(at(1_500), &policy());
    assert!(!hours.is_told, "545 minutes");
}

#[test]
fn a_clock_that_is_set_back_takes_nothing_away() {
    let mut hours = works(&[(0, 100)], 40);
    assert_eq!(hours.counted(at(40), Doing::Work, &policy()), min(100), "so much earlier");
    hours.end(at(30), &policy());
    assert_eq!(hours.counted(at(40), Doing::Rest, &policy()), min(100));
    assert_eq!(hours.worked_ms(at(0), Doing::Work), 100 * MINUTE as u32);
}

#[test]
fn by_how_much_a_clock_is_set_back_is_no_rest() {
    let mut hours = works(&[(0, 720)], 720);
    hours.end(at(20), &policy());
    assert_eq!(rest_left(&hours, 720), Some(min(360)));
    assert_eq!(rest_left(&hours, 1_079), Some(min(1)));
    assert_eq!(hours.counted(at(720), Doing::Rest, &policy()), min(720));
}

#[test]
fn what_was_worked_before_anybody_asked_when_counts_as_late_as_it_can_have_been() {
    let kept = serde_json::json!({ "worked_ms": 300 * MINUTE, "since": at(600) });
    let mut hours: Hours = serde_json::from_value(kept).unwrap();
    assert_eq!(hours.counted(at(700), Doing::Rest, &policy()), min(300));
    assert_eq!(hours.counted(at(1_800), Doing::Rest, &policy()), min(240));
    assert_eq!(hours.due(policy().duty_max_ms, &policy()), at(600 + 420), "if it went on");
    let mut ended = hours.clone();
    ended.end(at(720), &policy());
    assert_eq!(*ended.spells, [Spell { from: at(300), until: at(720) }]);
    hours.begin(at(700), &policy());
    assert_eq!(*hours.spells, [Spell { from: at(300), until: at(600) }]);
    let all = DriverPolicy { duty_within_ms: 0, ..policy() };
    hours.end(at(760), &all);
    assert!(hours.spells.is_empty(), "nor does anybody any more");
    assert_eq!(hours.worked_ms(at(800), Doing::Rest), 360 * MINUTE as u32);

    let kept = serde_json::json!({ "worked_ms": 2_400 * MINUTE, "since": at(600) });
    let mut hours: Hours = serde_json::from_value(kept).unwrap();
    hours.begin(at(700), &policy());
    let day = Spell { from: at(600) - min(DAY_MIN), until: at(600) };
    assert_eq!(*hours.spells, [day], "and no more than a day of it");
}

/// It works for so many minutes, and then does not for so many, again and again.
fn any_days() -> impl Strategy<Value = Vec<(u64, u64)>> {
    let long = (1..120_u64, 1..400_u64);
    let short = (1..6_u64, 1..6_u64);
    let many = |it: BoxedStrategy<(u64, u64)>| prop::collection::vec(it, 1..90);
    prop_oneof![many(long.boxed()), many(short.boxed())]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, ..ProptestConfig::default() })]

    #[test]
    fn what_counts_is_what_was_worked_minute_by_minute(days in any_days()) {
        let policy = policy();
        let mut hours = Hours::default();
        let (mut minutes, mut is_exact, mut now) = (BTreeSet::<u64>::new(), true, 0);
        for (n_work, n_rest) in days {
            if hours.begin(at(now), &policy) {
                minutes.clear();
                is_exact = true;
            }
            let from = now;
            now += n_work;
            minutes.extend(from..now);
            for then in [from + n_work / 2, now] {
                let n = minutes.range(then.saturating_sub(DAY_MIN)..then).count() as u64;
                let counted = hours.counted(at(then), Doing::Work, &policy);
                prop_assert!(counted >= min(n), "{counted:?} of {n} min");
                prop_assert!(!is_exact || counted == min(n), "{counted:?} is not {n} min");
                prop_assert!(counted <= min(DAY_MIN));
            }
            for wanted_ms in [policy.duty_told_ms, policy.duty_max_ms] {
                let due = hours.due(wanted_ms, &policy);
                prop_assert!(hours.counted(due, Doing::Work, &policy) >= ms(wanted_ms));
                let before = hours.counted(due - ms(1), Doing::Work, &policy);
                prop_assert!(due == hours.since || before < ms(wanted_ms), "{due} is too late");
            }
            hours.end(at(now), &policy);
            prop_assert!(hours.spells.len() <= SPELLS_MAX);
            is_exact &= hours.spells.len() < SPELLS_MAX;
            let left = hours.rest_left(at(now + n_rest), Doing::Rest, &policy);
            prop_assert!(left.is_none() || n_rest < REST_MIN, "{left:?} after {n_rest} min");
            now += n_rest;
        }
    }

    #[test]
    fn whatever_clocks_say_there_is_no_time_before_it_began(
        moments in prop::collection::vec(0..20_000_u64, 0..120),
    ) {
        let policy = policy();
        let mut hours = Hours::default();
        for (nth, moment) in moments.into_iter().enumerate() {
            let now = at(moment);
            if nth % 2 == 0 {
                hours.begin(now, &policy);
            } else {
                hours.end(now, &policy);
            }
            prop_assert!(hours.spells.len() <= SPELLS_MAX);
            prop_assert!(hours.spells.iter().all(|it| it.from < it.until), "{hours:?}");
            let in_order = |pair: &[Spell]| pair[0].until <= pair[1].from;
            prop_assert!(hours.spells.windows(2).all(in_order), "{hours:?}");
            let left = hours.rest_left(now, Doing::Rest, &policy);
            prop_assert!(left.is_none_or(|left| left <= ms(policy.rest_ms)), "{left:?}");
            prop_assert!(hours.due(policy.duty_max_ms, &policy) >= hours.since);
        }
    }
}
