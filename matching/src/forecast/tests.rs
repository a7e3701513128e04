use super::*;
use proptest::prelude::*;
use rand::{Rng, SeedableRng, rngs::StdRng};

const WEEK: u64 = HOURS as u64;

fn hour(n: u64) -> Timestamp {
    Timestamp(n * HOUR_MS)
}

/// A busy evening every day, on top of a quiet day.
fn usual(n: u64) -> f64 {
    if n % 24 == 18 { 300.0 } else { 60.0 + (n % 24) as f64 }
}

fn learned(weeks: u64, asked: impl Fn(u64) -> u32) -> Profile {
    let mut profile = Profile::new(hour(0));
    for n in 0..weeks * WEEK {
        (0..asked(n)).for_each(|_| profile.record(hour(n)));
    }
    profile.roll(hour(weeks * WEEK));
    profile
}

#[test]
fn before_a_week_is_over_it_goes_on_as_it_is() {
    let profile = learned(0, |_| 9);
    assert!((profile.forecast(70.0, hour(5), Duration::from_secs(3_600)) - 70.0).abs() < 1e-9);
}

#[test]
fn a_busy_hour_is_seen_to_come() {
    let profile = learned(2, |n| usual(n) as u32);
    let noon = Timestamp(hour(2 * WEEK + 12).0 + HOUR_MS / 2);
    let evening = Duration::from_millis(6 * HOUR_MS);
    let factor = profile.factor(noon, noon + evening);
    assert!((3.5..=FACTOR_MAX).contains(&factor), "{factor}");
    assert!((profile.factor(noon, noon) - 1.0).abs() < 1e-9);
}

#[test]
fn who_asked_in_an_hour_that_is_over_is_not_counted_in_the_next_one() {
    let mut profile = Profile::new(hour(0));
    profile.record(hour(5));
    profile.record(Timestamp(hour(5).0 - 1));
    profile.record(hour(2));
    profile.roll(hour(6));
    assert_eq!((profile.hours[2], profile.hours[5]), (Some(0.0), Some(1.0)));
}

#[test]
fn a_clock_that_jumps_keeps_nobody_waiting() {
    let mut profile = learned(1, |_| 5);
    profile.record(hour(1_000_000_000));
    assert!((profile.factor(hour(5), hour(6)) - 1.0).abs() < 1e-9);
}

/// Weeks are alike, and some days busier than others: neither last week nor the last hour alone tells the next one.
#[test]
fn it_errs_less_than_the_last_week_and_than_the_last_hour() {
    let mut random = StdRng::seed_from_u64(7);
    let days: Vec<f64> = (0..28).map(|_| random.random_range(0.5..1.6)).collect();
    let asked: Vec<u32> = (0..4 * WEEK)
        .map(|n| {
            let mean = usual(n) * days[(n / 24) as usize];
            (mean * random.random_range(0.9..1.1)) as u32
        })
        .collect();
    let mut profile = Profile::new(hour(0));
    let (mut by_both, mut by_week, mut by_hour, mut total) = (0.0, 0.0, 0.0, 0.0);
    for n in 0..4 * WEEK - 1 {
        let now = asked[n as usize];
        (0..now).for_each(|_| profile.record(hour(n)));
        if n < 2 * WEEK {
            continue;
        }
        let next = f64::from(asked[n as usize + 1]);
        // From the middle of this hour to the middle of the next one.
        let at = Timestamp(hour(n).0 + HOUR_MS / 2);
        let told = profile.forecast(f64::from(now), at, Duration::from_millis(HOUR_MS));
        by_both += (told - next).abs();
        by_week += (f64::from(asked[(n + 1 - WEEK) as usize]) - next).abs();
        by_hour += (f64::from(now) - next).abs();
        total += next;
    }
    let [by_both, by_week, by_hour] = [by_both, by_week, by_hour].map(|it| it / total);
    assert!(by_both < by_week && by_both < by_hour, "{by_both} {by_week} {by_hour}");
}

proptest! {
    #[test]
    fn it_is_never_less_than_nothing_nor_beyond_reason(
        seed in any::<u64>(), rate in -5.0..500.0_f64, from in 0..400_u64, ahead_min in 0..3_000_u64,
    ) {
        let mut random = StdRng::seed_from_u64(seed);
        let mut profile = Profile::new(hour(0));
        let mut n = 0;
        for _ in 0..500 {
            n += random.random_range(0..3);
            profile.record(hour(n));
        }
        let ahead = Duration::from_secs(60 * ahead_min);
        let told = profile.forecast(rate, hour(from), ahead);
        let rate = rate.max(0.0);
        prop_assert!((rate / FACTOR_MAX..=rate * FACTOR_MAX).contains(&told));
    }
}
