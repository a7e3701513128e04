use super::*;
use proptest::prelude::*;

fn curves() -> impl Strategy<Value = Curve> {
    prop::collection::vec((0.0..500.0_f64, 0.0..20.0_f64), 1..8).prop_map(|pieces| {
        let mut at_s = 0.0;
        Curve::through(pieces.into_iter().map(move |(after_s, per_s)| {
            at_s += after_s;
            (at_s, per_s)
        }))
    })
}

proptest! {
    #[test]
    fn the_moment_by_which_so_many_have_asked_is_the_inverse(curve in curves(), at_s in 0.0..3_000.0_f64) {
        let asked = curve.asked_by(at_s);
        if let Some(when) = curve.when(asked) {
            // Where nobody asks, many moments have the same count.
            prop_assert!((curve.asked_by(when) - asked).abs() < 1e-6 * (1.0 + asked), "{when} {asked}");
            prop_assert!(when <= at_s + 1e-3, "{when} is after {at_s}");
        }
    }

    #[test]
    fn who_has_asked_stays_counted(curve in curves(), one in 0.0..3_000.0_f64, other in 0.0..3_000.0_f64) {
        let (early, late) = (one.min(other), one.max(other));
        prop_assert!(curve.asked_by(early) <= curve.asked_by(late) + 1e-9);
    }

    #[test]
    fn arrivals_ascend_within_the_run_and_are_as_many_as_the_curve_says(curve in curves(), seed in any::<u64>()) {
        let lasting_s = 600.0;
        for pacing in [Pacing::Even, Pacing::Poisson] {
            let at = arrivals(&curve, lasting_s, pacing, seed);
            prop_assert!(at.is_sorted());
            prop_assert!(at.iter().all(|it| (0.0..lasting_s).contains(it)));
            let expected = curve.asked_by(lasting_s);
            // Six standard deviations of a Poisson count.
            let spread = if pacing == Pacing::Even { 1.0 } else { 6.0 * expected.sqrt() + 6.0 };
            prop_assert!((at.len() as f64 - expected).abs() <= spread, "{} of {expected}", at.len());
        }
        let again = arrivals(&curve, lasting_s, Pacing::Poisson, seed);
        prop_assert_eq!(arrivals(&curve, lasting_s, Pacing::Poisson, seed), again);
    }
}

#[test]
fn a_constant_rate_is_one_an_interval() {
    let at = arrivals(&Curve::constant(3_600.0), 5.0, Pacing::Even, 1);
    assert_eq!(at, [0.5, 1.5, 2.5, 3.5, 4.5]);
}

#[test]
fn a_spike_rises_holds_and_falls() {
    let curve = Curve::spike(3_600.0, 10.0, 60.0, [10.0, 20.0, 10.0]);
    let rates = [0.0, 59.0, 65.0, 75.0, 95.0, 101.0].map(|at_s| curve.per_s(at_s).round());
    assert_eq!(rates, [1.0, 1.0, 6.0, 10.0, 6.0, 1.0]);
    assert!((curve.asked_by(200.0) - (200.0 + 9.0 * 30.0)).abs() < 1e-9);
}

#[test]
fn stages_ramp_from_one_to_the_next() {
    let curve = Curve::stages(0.0, [(10.0, 3_600.0), (20.0, 3_600.0), (10.0, 0.0)]);
    assert!((curve.asked_by(40.0) - 30.0).abs() < 1e-9);
    assert_eq!(curve.per_s(1_000.0), 0.0);
    assert_eq!(curve.when(30.5), None, "nobody comes after the last stage");
}

#[test]
fn a_day_has_as_many_as_its_mean_says_whenever_it_begins() {
    for from_h in [0.0, 6.25, 18.0] {
        let curve = Curve::days(100.0, &DAY, from_h * HOUR_S, 24.0 * HOUR_S);
        let asked = curve.asked_by(24.0 * HOUR_S);
        assert!((asked - 2_400.0).abs() < 1.0, "{asked} from {from_h}");
    }
    let curve = Curve::days(100.0, &DAY, 0.0, 24.0 * HOUR_S);
    assert!(curve.per_s(18.5 * HOUR_S) > 5.0 * curve.per_s(3.5 * HOUR_S));
}

#[test]
fn without_a_rate_nobody_comes() {
    assert_eq!(arrivals(&Curve::constant(0.0), 100.0, Pacing::Poisson, 1), Vec::<f64>::new());
    assert_eq!(Curve::through([]).per_s(5.0), 0.0);
}

#[test]
fn a_compressed_curve_has_the_same_rates_for_a_shorter_while() {
    let curve = Curve::days(100.0, &DAY, 0.0, 24.0 * HOUR_S);
    let short = curve.clone().compressed(4.0);
    for hour in [0.5, 3.5, 8.5, 18.5] {
        let (long_s, short_s) = (hour * HOUR_S, hour * HOUR_S / 4.0);
        assert!((curve.per_s(long_s) - short.per_s(short_s)).abs() < 1e-9, "{hour}");
    }
    assert!((short.asked_by(6.0 * HOUR_S) - 600.0).abs() < 1.0);
}
