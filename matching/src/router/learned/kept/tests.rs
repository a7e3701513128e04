use super::*;
use crate::router::{Eta, Gone, Learned, Spot, Straight};
use std::time::Duration;

const KIGALI: Point = Point { lat: -1.9441, lon: 30.0619 };
const START: Timestamp = Timestamp(1_800_000_000_000);

fn leg(ways: &Ways, router: &dyn Router, to: Point) -> Leg {
    let learned = Learned { router, ways };
    Leg {
        from: learned.spot(KIGALI),
        to: learned.spot(to),
        distance_m: KIGALI.distance_m(to) as f32,
        vehicle: VehicleKind::Moto,
        leaving: START,
    }
}

/// What `n` ways to places all around teach, each of which takes so many times as long as expected.
fn learned(n: u32, times: f64) -> Ways {
    let (router, mut ways) = (Straight::default(), Ways::new(KIGALI));
    for n in 0..n {
        let to = KIGALI.offset_m(f64::from(n % 7 + 1) * 1_100.0, f64::from(n % 5) * 1_300.0);
        let leg = leg(&ways, &router, to);
        let took_ms = (f64::from(router.eta(&leg).ms) * times) as u32;
        ways.learn(&Gone { leg, took_ms }, &router);
    }
    ways
}

fn eta(ways: &Ways) -> Eta {
    let router = Straight::default();
    let to = KIGALI.offset_m(2_200.0, 1_300.0);
    Learned { router: &router, ways }.eta(&leg(ways, &router, to))
}

#[test]
fn what_is_kept_is_gone_on_from() {
    let (router, ways) = (Straight::default(), learned(300, 1.7));
    let kept = ways.kept(KIGALI, &router);
    let resumed = Ways::resume(&kept, KIGALI, &router).unwrap();
    assert_eq!(resumed.kept(KIGALI, &router), kept);
    assert_eq!(eta(&resumed), eta(&ways));
    assert_ne!(eta(&resumed), eta(&Ways::new(KIGALI)));
}

#[test]
fn what_was_learned_before_and_since_counts_as_much_as_it_has_seen() {
    let (before, mut since) = (learned(200, 2.0), learned(20, 1.0));
    since.add(&before);
    let (both, alone) = (eta(&since), eta(&before));
    assert!(both.ms < alone.ms && alone.ms - both.ms < alone.ms / 5, "{both:?} {alone:?}");
    let mut nothing_since = Ways::new(KIGALI);
    nothing_since.add(&before);
    assert_eq!(eta(&nothing_since), alone);
    assert_eq!(nothing_since.n_places(), before.n_places());
}

#[test]
fn of_another_place_or_another_router_nothing_is_known() {
    let (router, kept) = (Straight::default(), learned(50, 2.0).kept(KIGALI, &Straight::default()));
    assert!(Ways::resume(&kept, KIGALI.offset_m(500.0, 0.0), &router).is_none());
    let streets = Straight { detour: 2.0, ..router };
    assert!(Ways::resume(&kept, KIGALI, &streets).is_none());
    let newer_map = Straight { detour: router.detour * 1.1, ..router };
    assert!(Ways::resume(&kept, KIGALI, &newer_map).is_some());
}

#[test]
fn what_makes_no_sense_is_not_believed() {
    let router = Straight::default();
    let kept = learned(50, 2.0).kept(KIGALI, &router);
    let resumes = |change: fn(&mut KeptWays)| {
        let mut kept = kept.clone();
        change(&mut kept);
        Ways::resume(&kept, KIGALI, &router).is_some()
    };
    assert!(resumes(|_| ()));
    assert!(!resumes(|it| it.all.1 = f32::NAN));
    assert!(!resumes(|it| it.pairs[0].2 = f32::INFINITY));
    assert!(!resumes(|it| it.scatter.1 = -0.5));
    assert!(!resumes(|it| it.bands.truncate(3)));
    assert!(!resumes(|it| it.hours.push((0, 0.0))));
    assert!(!resumes(|it| it.probes.clear()));
    assert!(!resumes(|it| it.from = vec![(0, 0, 0.0); PLACES_MAX + 1]));
}

/// Whatever it is asked, it says so much.
#[derive(Debug)]
struct Stubborn(u32);

impl Router for Stubborn {
    fn spot(&self, _at: Point) -> Spot {
        Spot::default()
    }

    fn eta(&self, _leg: &Leg) -> Eta {
        Eta { ms: self.0, low_ms: self.0, high_ms: self.0 }
    }
}

#[test]
fn there_is_an_end_to_how_much_is_kept() {
    let (router, mut ways) = (Stubborn(600_000), Ways::new(KIGALI));
    for n in 0..40_000_u64 {
        let (east, north) = ((n % 200) as f64 * 1_000.0, (n / 200) as f64 * 1_000.0);
        let to = KIGALI.offset_m(east - 100_000.0, north - 100_000.0);
        let leg = Leg { leaving: START + Duration::from_secs(n), ..leg(&ways, &router, to) };
        ways.learn(&Gone { leg, took_ms: 700_000 }, &router);
    }
    let kept = ways.kept(KIGALI, &router);
    let n_places = kept.from.len() + kept.to.len() + kept.pairs.len();
    assert_eq!(n_places, ways.n_places());
    assert!((1_000..=PLACES_MAX).contains(&n_places), "{n_places}");
}
