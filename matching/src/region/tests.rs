use super::*;
use crate::cost::Settings;
use protocol::work::{OfferPolicy, Vehicle};

const KIGALI: Point = Point { lat: -1.9441, lon: 30.0619 };
const NOW: Timestamp = Timestamp(1_800_000_000_000);

fn region() -> Region {
    Region::new(KIGALI, 12_000.0, Duration::from_secs(2), NOW)
}

fn driver(n: u64, east_m: f64) -> DriverCard {
    let vehicle = Vehicle { kind: VehicleKind::Moto, capacity_g: 20_000, skills: vec![] };
    DriverCard::nth(n, Arc::new(vehicle), KIGALI.offset_m(east_m, 0.0), NOW)
}

fn ride(n: u64, east_m: f64) -> SearchCard {
    SearchCard { radius_m: 30_000, ..SearchCard::nth(n, KIGALI.offset_m(east_m, 0.0), NOW) }
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
    // Thirty ways are not believed wholly.
    assert!((240..=360).contains(&after_s), "{after_s}");

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
fn where_a_way_ended_elsewhere_its_own_region_learns_from_it() {
    let mut region = region();
    let far = KIGALI.offset_m(30_000.0, 0.0);
    let way = Came { from: KIGALI, to: far, left_at: NOW, took_ms: 3_600_000 };
    region.put_driver(Arc::new(DriverCard { came: Some(Arc::new(way)), ..driver(1, 0.0) }));
    region.learn_ways(&Settings::default().straight(), NOW);
    assert!(region.ways().is_empty());
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
    assert_eq!(outcome.empty.len(), 1, "it is looked for in the whole");
    let left = region.wanting(NOW);
    assert_eq!(left.len(), 1, "its search waits for the next tick");
    assert_ne!(left[0].job, outcome.proposals[0].job);
}

/// How much it believes is asked, in requests an hour.
fn per_hour(region: &mut Region, now: Timestamp) -> f64 {
    region.rates(now).values().sum()
}

#[test]
fn a_request_counts_once_however_often_it_is_listed() {
    let mut region = region();
    let now = NOW + Duration::from_secs(60);
    let asked = |n| Arc::new(SearchCard { opened_at: NOW, ..ride(n, 0.0) });
    region.put_search(asked(1));
    let once = per_hour(&mut region, now);
    // It is held and goes on, gets a driver and loses it, and its shard moves to another node.
    region.forget_search(asked(1).job);
    region.put_search(asked(1));
    region.retain(|_| true, |_| false, |_| true);
    region.put_search(asked(1));
    assert_eq!(per_hour(&mut region, now), once);
    region.put_search(asked(2));
    assert!((per_hour(&mut region, now) - 2.0 * once).abs() < 1e-9);
}

#[test]
fn which_requests_were_counted_is_remembered_for_an_hour_and_of_so_many_only() {
    let mut counted = Counted::default();
    let job = |n| ride(n, 0.0).job;
    assert!(counted.is_new(job(1), NOW) && !counted.is_new(job(1), NOW));
    // Who asked sooner may be listed later.
    assert!(counted.is_new(job(2), NOW - Duration::from_secs(60)));
    assert!(counted.is_new(job(3), NOW + COUNTED_FOR));
    assert_eq!(counted.jobs.len(), 2, "of the second it is not known any more …");
    assert!(!counted.is_new(job(2), NOW - Duration::from_secs(60)), "… nor counted again");
    for n in 0..2 * N_COUNTED as u64 {
        counted.is_new(job(n), NOW + COUNTED_FOR + Duration::from_millis(n));
    }
    assert_eq!(counted.jobs.len(), N_COUNTED);
}

/// Ten who have waited here for long enough, of whom some had better wait where most is asked.
fn idle_region() -> (Region, Spreading, Timestamp) {
    let mut region = region();
    for n in 1..=10 {
        region.put_driver(Arc::new(DriverCard { takes_hints: true, ..driver(n, 0.0) }));
    }
    (0..50).for_each(|n| region.put_search(Arc::new(ride(n, 1_500.0))));
    (region, Spreading::default(), NOW + Duration::from_secs(60))
}

/// Finds out who had better wait elsewhere, beside idle drivers of the ring. Was it a part of them only?
fn look(region: &mut Region, around: &[Idle], now: Timestamp) -> bool {
    let spreading = Spreading::default();
    let hinting = region.prepare_hints([around], [], now, &spreading);
    region.learn_hints(hinting.run(&spreading));
    hinting.is_part()
}

#[test]
fn drivers_are_sent_elsewhere_a_few_at_a_time_and_nobody_twice() {
    let (mut all_at_once, spreading, now) = idle_region();
    look(&mut all_at_once, &[], now);
    let mut all = all_at_once.next_hints(now, &spreading);
    assert_eq!(all.len(), 10);
    let (mut region, ..) = idle_region();
    look(&mut region, &[], now);
    let mut sent = Vec::new();
    for (second, n) in [(0, 4), (1, 4), (2, 2), (3, 0)] {
        let some = region.next_hints_of(4, now + Duration::from_secs(second), &spreading);
        assert_eq!(some.len(), n);
        sent.extend(some);
    }
    let by_driver = |(driver, _): &(DriverId, Point)| *driver;
    all.sort_unstable_by_key(by_driver);
    sent.sort_unstable_by_key(by_driver);
    assert_eq!(sent, all);
    let later = now + Duration::from_secs(60);
    let hinting = region.prepare_hints([], [], later, &spreading);
    assert!(hinting.is_vain() && hinting.run(&spreading).is_empty());
}

#[test]
fn what_is_no_longer_true_of_a_driver_it_is_not_told() {
    let (mut region, spreading, now) = idle_region();
    let hints = region.prepare_hints([], [], now, &spreading).run(&spreading);
    region.learn_hints(hints);
    let takes_hints = true;
    // It is gone; it has got something to do; it had, and is free again; it wants to go somewhere; it is elsewhere.
    region.forget_driver(DriverId::nth(1));
    let busy = DriverCard { is_free: false, takes_hints, ..driver(2, 0.0) };
    let again = DriverCard { idle_since: now, takes_hints, ..driver(3, 0.0) };
    let homeward = DriverCard { destination: Some(KIGALI), takes_hints, ..driver(4, 0.0) };
    let elsewhere = DriverCard { takes_hints, ..driver(5, -2_000.0) };
    for card in [busy, again, homeward, elsewhere] {
        region.put_driver(Arc::new(card));
    }
    // It is about to be asked.
    region.asked.here.insert(DriverId::nth(6), now);
    let mut sent: Vec<_> =
        region.next_hints(now, &spreading).into_iter().map(|(driver, _)| driver).collect();
    sent.sort_unstable();
    assert_eq!(sent, (7..=10).map(DriverId::nth).collect::<Vec<_>>());

    // What is found out anew takes the place of what was found out before.
    let (mut region, ..) = idle_region();
    let hints = region.prepare_hints([], [], now, &spreading).run(&spreading);
    region.learn_hints(hints);
    region.learn_hints(Vec::new());
    assert!(region.next_hints(now, &spreading).is_empty());
}

#[test]
fn in_a_crowd_too_drivers_are_told_where_to_wait_part_by_part() {
    let spreading = Spreading::default();
    let now = NOW + Duration::from_secs(60);
    for n in [2_000, 2_001, 5_000] {
        let mut region = region();
        let spot = |n: u64| KIGALI.offset_m((n % 16) as f64 * 100.0, (n / 16 % 16) as f64 * 100.0);
        // As much is asked everywhere; every fourth driver waits in a corner.
        for it in 1..=n {
            let at = if it % 4 == 0 { KIGALI } else { spot(it / 4 * 3 + it % 4) };
            region.put_driver(Arc::new(DriverCard { takes_hints: true, at, ..driver(it, 0.0) }));
        }
        for it in 0..512 {
            region.put_search(Arc::new(SearchCard { pickup: spot(it), ..ride(it, 0.0) }));
        }
        assert_eq!(look(&mut region, &[], now), n > 2_000, "{n}");
        // No minute's worth at once, …
        let mut sent = region.next_hints(now, &spreading);
        assert_eq!(sent.len(), 20, "{n}");
        // … and in the end everywhere: each look sees whom those before have sent.
        for _ in 0..3 {
            sent.extend(region.next_hints_of(usize::MAX, now, &spreading));
            look(&mut region, &[], now);
        }
        let drivers: HashSet<_> = sent.iter().map(|(driver, _)| *driver).collect();
        assert_eq!(drivers.len(), sent.len(), "nobody twice");
        let squares: HashSet<_> = sent.iter().map(|(_, to)| Square::at(*to)).collect();
        assert!(sent.len() as u64 > n / 5 && squares.len() > 8, "{n}: {} {squares:?}", sent.len());
    }
}

#[test]
fn one_look_at_a_crowd_fills_a_thousand_places_at_most_and_where_its_own_drivers_can_get() {
    let mut region = region();
    let now = NOW + Duration::from_secs(60);
    for it in 1..=1_500 {
        region.put_driver(Arc::new(DriverCard { takes_hints: true, ..driver(it, 0.0) }));
    }
    (0..50).for_each(|n| region.put_search(Arc::new(ride(n, 1_500.0))));
    // Beyond the border as much is asked, and as many are idle there.
    let far = KIGALI.offset_m(-8_000.0, 0.0);
    let idle = |n| Idle { driver: DriverId::nth(n), at: far, is_movable: true };
    let around: Vec<Idle> = (1_501..=3_000).map(idle).collect();
    let there = Rates::from([(Square::at(far.offset_m(-1_500.0, 0.0)), 200.0)]);
    let spreading = Spreading::default();
    let hinting = region.prepare_hints([&*around], [&there], now, &spreading);
    let hints = hinting.run(&spreading);
    assert_eq!(hints.len(), 1_000);
    assert!(hints.iter().all(|hint| hint.driver <= DriverId::nth(1_500)));
}

/// Whom a round of this region proposes, beside the drivers of a neighbour.
fn proposed(region: &mut Region, ring: &Roster, now: Timestamp) -> Vec<DriverId> {
    let settings = Settings::default();
    let due = Arc::new(region.wanting(now));
    let done = region.prepare(due, [ring], [], now, Pairing::Joint);
    let done = done.run(&settings.straight(), &settings);
    let proposals = region.learn([done], now).proposals;
    proposals.iter().map(|it| it.candidates[0].driver).collect()
}

#[test]
fn who_was_just_proposed_by_a_neighbour_is_left_alone_until_that_can_show() {
    let (mut here, mut there) = (region(), region());
    here.put_driver(Arc::new(driver(1, 0.0)));
    here.put_search(Arc::new(ride(1, 100.0)));
    there.put_search(Arc::new(ride(2, 0.0)));
    let nth = DriverId::nth;
    assert_eq!(proposed(&mut here, &Roster::new(), NOW), [nth(1)]);
    assert_eq!(here.proposed(NOW), [(nth(1), NOW)]);
    let roster = here.roster();
    there.see_proposed([&here.proposed(NOW)], NOW);
    assert_eq!(proposed(&mut there, &roster, NOW), []);
    // Nothing came of it.
    let later = NOW + there.repeat;
    there.see_proposed([&here.proposed(NOW)], later);
    assert_eq!(proposed(&mut there, &roster, later), [nth(1)]);
    assert_eq!(here.proposed(later), []);
}

#[test]
fn who_is_gone_was_not_just_proposed() {
    let mut region = region();
    region.put_driver(Arc::new(driver(1, 0.0)));
    region.put_search(Arc::new(ride(1, 100.0)));
    proposed(&mut region, &Roster::new(), NOW);
    region.forget_driver(DriverId::nth(1));
    assert_eq!(region.proposed(NOW), []);
}

#[test]
fn a_roster_is_made_anew_only_when_somebody_has_changed() {
    let mut region = region();
    let mut before = region.shared_roster();
    let mut is_made_anew = |region: &mut Region| {
        let now = region.shared_roster();
        assert_eq!(*now, region.roster());
        !Arc::ptr_eq(&std::mem::replace(&mut before, now.clone()), &now)
    };
    region.put_driver(Arc::new(driver(1, 0.0)));
    assert!(is_made_anew(&mut region));
    region.put_search(Arc::new(ride(1, 0.0)));
    region.forget_driver(DriverId::nth(9));
    assert!(!is_made_anew(&mut region));
    region.put_driver(Arc::new(driver(1, 50.0)));
    assert!(is_made_anew(&mut region));
    region.put_driver(Arc::new(driver(2, 0.0)));
    region.forget_driver(DriverId::nth(1));
    assert!(is_made_anew(&mut region));
    assert!(region.retain(|_| false, |_| true, |_| true));
    assert!(is_made_anew(&mut region));
}

#[test]
fn a_round_over_shared_rosters_sees_whom_one_over_copies_sees() {
    let settings = Settings::default();
    let proposed = |is_shared: bool| {
        let mut region = region();
        (1..=5).for_each(|n| region.put_driver(Arc::new(driver(n, n as f64 * 100.0))));
        (1..=8).for_each(|n| region.put_search(Arc::new(ride(n, n as f64 * 90.0))));
        // The fifth has just crossed the border, and is still listed where it was; the first was asked a moment ago.
        let seen_at = NOW + Duration::from_secs(1);
        let crossed = DriverCard { seen_at, ..driver(5, -50.0) };
        let ring: Roster = [crossed, driver(6, 700.0), driver(7, 900.0)].map(Arc::new).into();
        region.asked.here.insert(DriverId::nth(1), NOW);
        let due = Arc::new(region.wanting(NOW));
        let matching = if is_shared {
            region.prepare_shared(due, [Arc::new(ring)], [], NOW, Pairing::Joint)
        } else {
            region.prepare(due, [&ring], [], NOW, Pairing::Joint)
        };
        matching.run(&settings.straight(), &settings).1
    };
    let outcome = proposed(true);
    assert_eq!(outcome, proposed(false));
    let mut drivers: Vec<_> = outcome.proposals.iter().map(|it| it.candidates[0].driver).collect();
    drivers.sort_unstable();
    assert_eq!(drivers, (2..=7).map(DriverId::nth).collect::<Vec<_>>());
}
