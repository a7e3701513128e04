use super::*;
use crate::router::Straight;
use proptest::prelude::*;
use protocol::work::VehicleKind;
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::time::Duration;

const KIGALI: Point = Point { lat: -1.9441, lon: 30.0619 };
const MONDAY: Timestamp = Timestamp(4 * 24 * HOUR_MS);

/// A way as `learned` numbers it.
fn leg(learned: &Learned, from: Point, to: Point, leaving: Timestamp) -> Leg {
    Leg {
        from: learned.spot(from),
        to: learned.spot(to),
        distance_m: from.distance_m(to) as f32,
        vehicle: VehicleKind::Moto,
        leaving,
    }
}

fn somewhere(random: &mut StdRng) -> Point {
    let mut part = || random.random_range(-4_000.0..4_000.0);
    KIGALI.offset_m(part(), part())
}

/// Ways of a town in which the east is slow, evenings are slower, and every start takes 40 s.
fn truth(random: &mut StdRng, straight: &Straight, leg: &Leg, from: Point, to: Point) -> u32 {
    let is_east = |at: Point| at.lon > KIGALI.lon;
    let of_places = match (is_east(from), is_east(to)) {
        (true, true) => 1.8,
        (true, false) | (false, true) => 1.3,
        (false, false) => 0.8,
    };
    let of_hour = if hour(leg.leaving) % 24 == 18 { 1.4 } else { 1.0 };
    let chance = random.random_range(0.85..1.18);
    40_000 + (straight.eta(leg).ms as f64 * of_places * of_hour * chance) as u32
}

#[test]
fn whoever_has_seen_nothing_says_what_the_router_says() {
    let (ways, straight) = (Ways::new(KIGALI), Straight::default());
    let learned = Learned { router: &straight, ways: &ways };
    let way = leg(&learned, KIGALI, KIGALI.offset_m(900.0, 0.0), MONDAY);
    assert_eq!(learned.eta(&way), straight.eta(&way));
    assert_eq!(learned.n_sifted(10), 10);
}

#[test]
fn what_the_router_says_alone_can_still_be_asked_and_who_knows_better_says_its_name() {
    let straight = Straight::default();
    let mut ways = Ways::new(KIGALI);
    let to = KIGALI.offset_m(2_000.0, 0.0);
    assert_eq!(Learned { router: &straight, ways: &ways }.model(), None);
    for _ in 0..30 {
        let way = leg(&Learned { router: &straight, ways: &ways }, KIGALI, to, MONDAY);
        let took_ms = 2 * straight.eta(&way).ms;
        ways.learn(&Gone { leg: way, took_ms }, &straight);
    }
    let learned = Learned { router: &straight, ways: &ways };
    let way = leg(&learned, KIGALI, to, MONDAY);
    assert_eq!(learned.untaught(&way), straight.eta(&way));
    assert!(learned.eta(&way).ms > straight.eta(&way).ms * 4 / 3, "{:?}", learned.eta(&way));
    let (name, version) = (ModelName::LearnedWays, VERSION);
    assert_eq!(learned.model(), Some(Learning { name, version, n_learned: 30 }));
}

#[test]
fn several_ways_that_are_asked_for_at_once_take_what_each_takes_alone() {
    let straight = Straight::default();
    let mut random = StdRng::seed_from_u64(13);
    let mut ways = Ways::new(KIGALI);
    for _ in 0..500 {
        let (from, to) = (somewhere(&mut random), somewhere(&mut random));
        let way = leg(&Learned { router: &straight, ways: &ways }, from, to, MONDAY);
        let took_ms = truth(&mut random, &straight, &way, from, to);
        ways.learn(&Gone { leg: way, took_ms }, &straight);
    }
    let learned = Learned { router: &straight, ways: &ways };
    // Some after the other to one place, and then some to another.
    let ends = [somewhere(&mut random), somewhere(&mut random)];
    let to = (0..40).map(|n| ends[n / 10 % 2]);
    let legs: Vec<Leg> = to.map(|to| leg(&learned, somewhere(&mut random), to, MONDAY)).collect();
    let mut both = Vec::new();
    learned.etas_and_untaught_ms(&legs, &mut both);
    let alone = legs.iter().map(|it| (learned.eta(it), learned.untaught(it).ms));
    assert_eq!(both, alone.collect::<Vec<_>>());
    learned.etas_and_untaught_ms(&[], &mut both);
    assert_eq!(both, []);
}

#[test]
fn what_was_seen_halves_the_error_and_the_interval_holds_eight_of_ten() {
    let straight = Straight::default();
    let mut random = StdRng::seed_from_u64(11);
    let mut ways = Ways::new(KIGALI);
    let (mut off, mut off_before, mut n_within) = (0.0, 0.0, 0);
    let n_tried = 2_000;
    for n in 0..20_000 + n_tried {
        let (from, to) = (somewhere(&mut random), somewhere(&mut random));
        let at = MONDAY + Duration::from_secs(random.random_range(0..7 * 24 * 3_600));
        let learned = Learned { router: &straight, ways: &ways };
        let way = leg(&learned, from, to, at);
        let took_ms = truth(&mut random, &straight, &way, from, to);
        if n >= 20_000 {
            let eta = learned.eta(&way);
            assert!(eta.low_ms <= eta.ms && eta.ms <= eta.high_ms);
            n_within += usize::from((eta.low_ms..=eta.high_ms).contains(&took_ms));
            off += f64::from(eta.ms.abs_diff(took_ms));
            off_before += f64::from(straight.eta(&way).ms.abs_diff(took_ms));
        }
        ways.learn(&Gone { leg: way, took_ms }, &straight);
    }
    assert!(off < off_before / 2.0, "{off} {off_before}");
    let within = n_within as f64 / f64::from(n_tried);
    assert!((0.72..0.92).contains(&within), "{within}");
}

#[test]
fn a_town_that_has_become_slower_is_learned_anew() {
    let straight = Straight::default();
    let mut ways = Ways::new(KIGALI);
    let to = KIGALI.offset_m(2_500.0, 0.0);
    let mut eta_ms = 0;
    for times in [1, 2] {
        for _ in 0..1_000 {
            let learned = Learned { router: &straight, ways: &ways };
            let way = leg(&learned, KIGALI, to, MONDAY);
            let took_ms = straight.eta(&way).ms * times;
            ways.learn(&Gone { leg: way, took_ms }, &straight);
        }
        let learned = Learned { router: &straight, ways: &ways };
        let way = leg(&learned, KIGALI, to, MONDAY);
        let off = learned.eta(&way).ms.abs_diff(straight.eta(&way).ms * times);
        assert!(off < straight.eta(&way).ms / 20, "{off}");
        assert!(learned.eta(&way).ms > eta_ms);
        eta_ms = learned.eta(&way).ms;
    }
}

#[test]
fn one_odd_way_changes_little() {
    let straight = Straight::default();
    let mut ways = Ways::new(KIGALI);
    let to = KIGALI.offset_m(1_000.0, 0.0);
    let way = leg(&Learned { router: &straight, ways: &ways }, KIGALI, to, MONDAY);
    let took_ms = straight.eta(&way).ms * 7;
    ways.learn(&Gone { leg: way, took_ms }, &straight);
    let learned = Learned { router: &straight, ways: &ways };
    let (east, north) = (KIGALI.offset_m(5_000.0, 0.0), KIGALI.offset_m(5_000.0, 1_000.0));
    let elsewhere = leg(&learned, east, north, MONDAY);
    let times = learned.eta(&elsewhere).ms as f32 / straight.eta(&elsewhere).ms as f32;
    assert!((1.0..1.2).contains(&times), "{times}");
    let there = learned.eta(&way).ms as f32 / straight.eta(&way).ms as f32;
    assert!((1.0..1.2).contains(&there), "{there}");
}

#[test]
fn it_stays_small_however_many_places_there_are() {
    let straight = Straight::default();
    let mut random = StdRng::seed_from_u64(12);
    let mut ways = Ways::new(KIGALI);
    for _ in 0..8_000 {
        let mut part = || random.random_range(-100_000.0..100_000.0);
        let (from, to) = (KIGALI.offset_m(part(), part()), KIGALI.offset_m(part(), part()));
        let learned = Learned { router: &straight, ways: &ways };
        let way = leg(&learned, from, to, MONDAY);
        ways.learn(&Gone { leg: way, took_ms: straight.eta(&way).ms }, &straight);
    }
    assert!(ways.n_places() <= PLACES_MAX);
}

proptest! {
    #[test]
    fn nothing_that_is_told_breaks_it(
        ways_gone in prop::collection::vec(
            (-200_000.0..200_000.0, -200_000.0..200_000.0, any::<u32>(), any::<u64>()), 0..60,
        ),
    ) {
        let straight = Straight::default();
        let mut ways = Ways::new(KIGALI);
        for (east_m, north_m, took_ms, at) in ways_gone {
            let to = KIGALI.offset_m(east_m, north_m);
            let learned = Learned { router: &straight, ways: &ways };
            let way = leg(&learned, KIGALI, to, Timestamp(at));
            let eta = learned.eta(&way);
            prop_assert!(eta.low_ms <= eta.ms && eta.ms <= eta.high_ms);
            let expected_ms = u64::from(straight.eta(&way).ms);
            prop_assert!(u64::from(eta.ms) <= 3 * (expected_ms + 1));
            ways.learn(&Gone { leg: way, took_ms }, &straight);
        }
    }
}
