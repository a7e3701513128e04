use super::*;
use proptest::prelude::*;

const MOTO: Tariff = Tariff {
    base: 400,
    per_km: 220,
    per_min: 15,
    waiting_per_min: 30,
    minimum: 1_000,
    night_percent: 20,
    tax_bp: 1_800,
    round_to: 50,
};
const NOON: u16 = 12 * 60;
const MIDNIGHT: u16 = 0;

fn lines(fare: &Fare) -> String {
    let lines: Vec<_> =
        fare.lines.iter().map(|line| format!("{} {}", line.code, line.amount)).collect();
    format!("{} = {}", lines.join(" + "), fare.total())
}

#[test]
fn a_ride_by_day_is_base_distance_time_and_tax() {
    let fare = quote(&MOTO, Currency::RWF, 7_300, 1_260, NOON);
    insta::assert_snapshot!(lines(&fare), @"base 400 + distance 1606 + time 315 + tax 417 + rounding 12 = 2750 RWF");
}

#[test]
fn the_same_ride_costs_more_at_night() {
    let fare = quote(&MOTO, Currency::RWF, 7_300, 1_260, MIDNIGHT);
    insta::assert_snapshot!(lines(&fare), @"base 400 + distance 1606 + time 315 + night 464 + tax 501 + rounding 14 = 3300 RWF");
}

#[test]
fn a_short_hop_is_lifted_to_the_minimum_before_tax() {
    let fare = quote(&MOTO, Currency::RWF, 300, 60, NOON);
    insta::assert_snapshot!(lines(&fare), @"base 400 + distance 66 + time 15 + minimum 519 + tax 180 + rounding 20 = 1200 RWF");
}

#[test]
fn a_tariff_without_prices_is_free() {
    let free = Tariff { base: 0, per_km: 0, per_min: 0, minimum: 0, ..MOTO };
    assert_eq!(quote(&free, Currency::USD, 5_000, 600, NOON).total().amount, 0);
}

#[test]
fn night_is_from_ten_to_five_by_the_local_clock() {
    let costs_night_extra = |minute| {
        let fare = quote(&MOTO, Currency::RWF, 5_000, 600, minute);
        fare.lines.iter().any(|line| line.code == "night")
    };
    assert!(!costs_night_extra(22 * 60 - 1));
    assert!(costs_night_extra(22 * 60));
    assert!(costs_night_extra(5 * 60 - 1));
    assert!(!costs_night_extra(5 * 60));
}

#[test]
fn kigali_is_two_hours_ahead_of_utc() {
    let half_past_ten_pm_utc = Timestamp((22 * 60 + 30) * 60_000);
    assert_eq!(local_minute_of_day(half_past_ten_pm_utc, 120), 30);
    assert_eq!(local_minute_of_day(Timestamp(0), -60), 23 * 60);
}

#[test]
fn waiting_costs_nothing_while_it_is_free_and_is_counted_by_the_second_after_that() {
    let minutes = Duration::from_mins;
    let cost = |waited| waiting(MOTO.waiting_per_min, waited, minutes(5));
    assert_eq!(cost(minutes(5)), 0);
    assert_eq!(cost(minutes(5) + Duration::from_secs(90)), 45);
    assert_eq!(waiting(-3, minutes(60), minutes(0)), 0);
    assert_eq!(waiting(i64::MAX, Duration::MAX, minutes(0)), 1 << 53);
}

fn any_tariff() -> impl Strategy<Value = Tariff> {
    let amount = || prop_oneof![0..100_000_i64, any::<i64>()];
    (amount(), amount(), amount(), amount(), any::<u32>(), any::<u32>(), amount()).prop_map(
        |(base, per_km, per_min, minimum, night_percent, tax_bp, round_to)| Tariff {
            base,
            per_km,
            per_min,
            waiting_per_min: 0,
            minimum,
            night_percent,
            tax_bp,
            round_to,
        },
    )
}

fn sane_tariff() -> impl Strategy<Value = Tariff> {
    (0..5_000_i64, 0..1_000_i64, 0..200_i64, 0..5_000_i64, 0..100_u32, 0..3_000_u32, 1..500_i64)
        .prop_map(|(base, per_km, per_min, minimum, night_percent, tax_bp, round_to)| Tariff {
            base,
            per_km,
            per_min,
            waiting_per_min: 0,
            minimum,
            night_percent,
            tax_bp,
            round_to,
        })
}

proptest! {
    /// I-13, and nothing a tariff file could hold breaks it.
    #[test]
    fn lines_are_positive_and_sum_to_a_total_that_fits(
        tariff in any_tariff(), distance in any::<u32>(), seconds in any::<u32>(), minute in any::<u16>(),
    ) {
        let fare = quote(&tariff, Currency::USD, distance, seconds, minute);
        prop_assert!(fare.lines.iter().all(|line| line.amount > 0));
        let sum: i128 = fare.lines.iter().map(|line| i128::from(line.amount)).sum();
        prop_assert_eq!(sum, i128::from(fare.total().amount));
        prop_assert!(sum <= TOTAL_MAX);
    }

    #[test]
    fn further_or_slower_never_costs_less(
        tariff in prop_oneof![sane_tariff(), any_tariff()],
        (near, far) in (any::<u32>(), any::<u32>()).prop_map(|(a, b)| (a.min(b), a.max(b))),
        (fast, slow) in (any::<u32>(), any::<u32>()).prop_map(|(a, b)| (a.min(b), a.max(b))),
        minute in 0..MINUTES_PER_DAY,
    ) {
        let less = quote(&tariff, Currency::USD, near, fast, minute).total().amount;
        let more = quote(&tariff, Currency::USD, far, slow, minute).total().amount;
        prop_assert!(less <= more);
    }

    #[test]
    fn totals_are_round_and_at_least_the_minimum(
        tariff in sane_tariff(), distance in 0..200_000_u32, seconds in 0..20_000_u32,
        minute in 0..MINUTES_PER_DAY,
    ) {
        let total = quote(&tariff, Currency::USD, distance, seconds, minute).total().amount;
        prop_assert_eq!(total % tariff.round_to, 0);
        prop_assert!(total >= tariff.minimum);
    }
}
