use super::*;
use crate::{Standing, cost::Settings};
use protocol::{
    OrderId, RiderId,
    work::{Needs, OfferPolicy, Priority, Vehicle},
};

const KIGALI: Point = Point { lat: -1.9441, lon: 30.0619 };
const NOW: Timestamp = Timestamp(1_800_000_000_000);

fn region() -> Region {
    Region::new(KIGALI, 12_000.0, Duration::from_secs(2), NOW)
}

fn driver(n: u64, east_m: f64) -> DriverCard {
    DriverCard {
        id: DriverId::nth(n),
        at: KIGALI.offset_m(east_m, 0.0),
        seen_at: NOW,
        vehicle: Arc::new(Vehicle { kind: VehicleKind::Moto, capacity_g: 20_000, skills: vec![] }),
        is_free: true,
        has_delivery_slot: true,
        is_nearly_free: false,
        destination: None,
        idle_since: NOW,
        rating: 500,
        ending: None,
        fleet: None,
        takes_hints: false,
        n_slots: 0,
        standing: Standing::default(),
        came: None,
    }
}

fn ride(n: u64, east_m: f64) -> SearchCard {
    SearchCard {
        job: JobId::Order(OrderId::nth(n)),
        work: WorkKind::Ride,
        rider: RiderId::nth(n),
        pickup: KIGALI.offset_m(east_m, 0.0),
        dropoff: None,
        needs: Needs::default(),
        policy: OfferPolicy::Sequential,
        opened_at: NOW,
        round: 1,
        radius_m: 30_000,
        n_wanted: 1,
        excluded: vec![],
        only: None,
        priority: Priority::Normal,
        fleet: None,
        paused: None,
        batch: None,
    }
}

/// A driver who came a kilometre in twice the usual time.
fn came(n: u64, left_at: Timestamp) -> DriverCard {
    let (from, to) = (KIGALI, KIGALI.offset_m(1_000.0, 0.0));
    let took_ms = 2 * Settings::default().straight().ms(VehicleKind::Moto, 1_000.0);
    let came = Came { from, to, left_at, took_ms };
    DriverCard { came: Some(Arc::new(came)), ..driver(n, 1_000.0) }
}

/// How long a driver a kilometre away is expected to take, in seconds.
fn eta_s(region: &mut Region, now: Timestamp) -> u32 {
    let settings = Settings::default();
    region.put_driver(Arc::new(driver(99, 0.0)));
    let only = Some(DriverId::nth(99));
    let wanted = SearchCard { only, policy: OfferPolicy::Direct, ..ride(99, 1_000.0) };
    let due = Arc::new(vec![Arc::new(wanted)]);
    let matching = region.prepare(due, [], [], now, Pairing::Joint);
    let (_, outcome) = matching.run(&settings.straight(), &settings);
    outcome.proposals[0].candidates[0].eta_s
}

#[test]
fn a_region_learns_from_each_way_once_and_its_rounds_expect_what_it_has_seen() {
    let mut region = region();
    let router = Settings::default().straight();
    let before_s = eta_s(&mut region, NOW);
    assert_eq!(before_s, 180);
    let at = |n: u64| NOW - Duration::from_secs(600 + n);
    for n in 0..30 {
        region.put_driver(Arc::new(came(n, at(n))));
        region.learn_ways(&router, NOW);
    }
    let after_s = eta_s(&mut region, NOW);
    assert!((300..=360).contains(&after_s), "{after_s}");

    // It is listed anew whenever it is offered something, and tells of the same way each time.
    for _ in 0..100 {
        region.forget_driver(DriverId::nth(1));
        region.put_driver(Arc::new(came(1, at(1))));
        region.learn_ways(&router, NOW);
    }
    assert_eq!(eta_s(&mut region, NOW), after_s);
}

#[test]
fn what_happened_long_ago_teaches_nothing() {
    let mut region = region();
    let router = Settings::default().straight();
    region.put_driver(Arc::new(came(1, NOW - CAME_WITHIN)));
    region.learn_ways(&router, NOW);
    assert!(region.ways().is_empty());
    region.put_driver(Arc::new(came(1, NOW - CAME_WITHIN + Duration::from_secs(1))));
    region.learn_ways(&router, NOW);
    assert!(!region.ways().is_empty());
}

#[test]
fn of_two_parts_that_come_to_one_driver_the_first_has_it_and_the_other_goes_on() {
    let mut region = region();
    let settings = Settings::default();
    region.put_driver(Arc::new(driver(1, 0.0)));
    for (n, east_m) in [(1, -300.0), (2, 500.0)] {
        region.put_search(Arc::new(ride(n, east_m)));
    }
    let due = region.wanting(NOW);
    let part_of = |at: Point| at.lon >= KIGALI.lon;
    // The eastern part knows nothing of the west, where somebody is nearer to its driver.
    let parts = region.divide(&due, [], [], NOW, Pairing::Joint, (part_of, |_| vec![true]));
    assert_eq!(parts.len(), 2);
    let done: Vec<_> =
        parts.into_iter().map(|it| it.run(&settings.straight(), &settings)).collect();
    assert!(done.iter().all(|(_, outcome)| outcome.proposals.len() == 1));
    let outcome = region.learn(done, NOW);
    assert_eq!(outcome.proposals.len(), 1);
    let left = region.wanting(NOW);
    assert_eq!(left.len(), 1, "its search waits for the next tick");
    assert_ne!(left[0].job, outcome.proposals[0].job);
}
