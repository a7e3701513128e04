use super::*;
use proptest::prelude::*;
use rand::{Rng, SeedableRng, rngs::StdRng};

const KIGALI: Point = Point { lat: -1.9441, lon: 30.0619 };
const MINUTE: Duration = Duration::from_secs(60);

fn idle(n: u64, at: Point) -> Idle {
    Idle { driver: DriverId::nth(n), at, is_movable: true }
}

#[test]
fn a_square_holds_its_middle_and_is_half_a_kilometre_wide() {
    let mut random = StdRng::seed_from_u64(1);
    for _ in 0..1_000 {
        let (lat, lon) = (random.random_range(-70.0..70.0), random.random_range(-180.0..180.0));
        let at = Point { lat, lon };
        let square = Square::at(at);
        assert_eq!(Square::at(square.middle()), square, "{at}");
        assert!(at.distance_m(square.middle()) < Square::SIDE_M, "{at}");
    }
}

#[test]
fn what_was_asked_before_makes_nothing_older_that_was_asked_since() {
    let now = Timestamp(0) + 120 * MINUTE;
    let rate_of = |asked: &[Timestamp]| {
        let mut demand = Demand::new(15 * MINUTE, Timestamp(0));
        asked.iter().for_each(|at| demand.record(KIGALI, *at));
        demand.rates(now).values().sum::<f64>()
    };
    let (fresh, old) = (now, Timestamp(0) + 100 * MINUTE);
    let (in_turn, late) = (rate_of(&[old, fresh, fresh]), rate_of(&[fresh, fresh, old]));
    assert!((in_turn - late).abs() < 1e-9, "{in_turn} and {late}");
    assert!(late > rate_of(&[fresh, fresh]));
}

#[test]
fn what_was_asked_long_ago_counts_for_little() {
    let mut demand = Demand::new(15 * MINUTE, Timestamp(0));
    let now = Timestamp(0) + 120 * MINUTE;
    (0..100).for_each(|_| demand.record(KIGALI, now));
    let rate = |demand: &Demand, later| demand.rates(now + later).values().sum::<f64>();
    // A hundred in what is remembered of a quarter of an hour is four hundred an hour.
    assert!((rate(&demand, Duration::ZERO) - 400.0).abs() < 1.0);
    assert!((rate(&demand, 15 * MINUTE) - 400.0 / std::f64::consts::E).abs() < 1.0);
    demand.prune(now + 24 * 60 * MINUTE);
    assert!(demand.rates(now).is_empty());
}

#[test]
fn drivers_go_from_where_nobody_asks_to_where_somebody_does() {
    let busy = Square::at(KIGALI);
    let quiet = KIGALI.offset_m(1_500.0, 0.0);
    let rates = Rates::from([(busy, 60.0)]);
    let drivers = [idle(1, quiet), idle(2, quiet), idle(3, KIGALI)];
    let hints = spread(&drivers, &rates, &Spreading::default());
    let mut sent: Vec<_> = hints.iter().map(|hint| (hint.driver, hint.to)).collect();
    sent.sort();
    assert_eq!(sent, [(DriverId::nth(1), busy), (DriverId::nth(2), busy)]);
}

#[test]
fn who_must_rest_or_is_too_far_away_stays() {
    let rates = Rates::from([(Square::at(KIGALI), 60.0)]);
    let resting = Idle { is_movable: false, ..idle(1, KIGALI.offset_m(1_500.0, 0.0)) };
    let far = idle(2, KIGALI.offset_m(9_000.0, 0.0));
    assert_eq!(spread(&[resting, far], &rates, &Spreading::default()), []);
    assert_eq!(spread(&[far], &Rates::new(), &Spreading::default()), []);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn nobody_is_sent_twice_nor_from_where_too_few_are(seed in any::<u64>(), n in 1..80_u64) {
        let mut random = StdRng::seed_from_u64(seed);
        let mut place = || {
            KIGALI.offset_m(random.random_range(-3e3..3e3), random.random_range(-3e3..3e3))
        };
        let rates: Rates = (1..30).map(|n| (Square::at(place()), f64::from(n))).collect();
        let drivers: Vec<Idle> = (0..n).map(|n| idle(n, place())).collect();
        let spreading = Spreading::default();
        let hints = spread(&drivers, &rates, &spreading);
        prop_assert_eq!(&hints, &spread(&drivers, &rates, &spreading));
        let sent: BTreeSet<_> = hints.iter().map(|hint| hint.driver).collect();
        prop_assert_eq!(sent.len(), hints.len());
        for hint in &hints {
            let driver = drivers.iter().find(|it| it.driver == hint.driver).unwrap();
            prop_assert!(driver.at.distance_m(hint.to.middle()) <= f64::from(spreading.reach_m));
            prop_assert!(rates.contains_key(&hint.to));
            prop_assert_ne!(Square::at(driver.at), hint.to);
        }
    }
}
