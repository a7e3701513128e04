use super::*;
use crate::{Came, DriverCard, SearchCard, rank::Rank, router::Straight};
use protocol::{
    DriverId, Point,
    work::{OfferPolicy, Vehicle, VehicleKind},
};

const KIGALI: Point = Point { lat: -1.9441, lon: 30.0619 };
const HOUR: Duration = Duration::from_secs(3_600);
const MINUTE: Duration = Duration::from_secs(60);
/// The start of an hour.
const START: Timestamp = Timestamp(500_000 * 3_600_000);

fn region(now: Timestamp) -> Region {
    let Point { lat, lon } = KIGALI;
    let rank = Rank { name: "station".to_owned(), lat, lon, radius_m: 400, grace_ms: 120_000 };
    Region::new(KIGALI, 12_000.0, Duration::from_secs(2), now).with_ranks([rank])
}

fn driver(n: u64, idle_since: Timestamp) -> DriverCard {
    let vehicle = Vehicle { kind: VehicleKind::Moto, capacity_g: 0, skills: vec![] };
    DriverCard::nth(n, Arc::new(vehicle), KIGALI, idle_since)
}

fn search(n: u64, opened_at: Timestamp) -> Arc<SearchCard> {
    Arc::new(SearchCard {
        policy: OfferPolicy::Feed,
        radius_m: 3_000,
        ..SearchCard::nth(n, KIGALI, opened_at)
    })
}

/// So many rides are asked for and over at that moment.
fn ask(region: &mut Region, n: u64, at: Timestamp) {
    for n in 0..n {
        let card = search(at.0 + n, at);
        let job = card.job;
        region.put_search(card);
        region.forget_search(job);
    }
}

/// What is usually asked in the hour that begins then.
fn usual(region: &Region, at: Timestamp) -> Option<f32> {
    region.profile.kept().hours[(at.0 / 3_600_000 % 168) as usize]
}

#[test]
fn a_successor_knows_how_ways_go_and_what_is_usual() {
    let (router, mut before) = (Straight::default(), region(START));
    ask(&mut before, 9, START + HOUR);
    ask(&mut before, 30, START + 2 * HOUR);
    let to = KIGALI.offset_m(3_000.0, 0.0);
    for n in 0..40 {
        let left_at = START + 2 * HOUR + Duration::from_millis(n);
        let came = Came { from: KIGALI, to, left_at, took_ms: 1_200_000 };
        let card = DriverCard { came: Some(Arc::new(came)), ..driver(n, START) };
        before.put_driver(Arc::new(card));
    }
    let now = START + 3 * HOUR;
    before.learn_ways(&router, now);
    let lore = before.lore(&router, now, false);

    let mut after = region(now + MINUTE);
    assert!(after.resume(&lore, &router, now + MINUTE, now + MINUTE));
    assert_eq!(usual(&after, START + HOUR), Some(9.0));
    assert_eq!(usual(&after, START + 2 * HOUR), Some(30.0));
    assert_eq!(after.ways().n_places(), before.ways().n_places());
    assert!(!after.ways().is_empty());
    after.forget_lore(now + MINUTE);
    assert!(after.ways().is_empty() && usual(&after, START + HOUR).is_none());
}

#[test]
fn whoever_asked_while_nobody_counted_spoils_the_hour_and_no_other() {
    let (router, mut before) = (Straight::default(), region(START));
    ask(&mut before, 10, START + HOUR);
    ask(&mut before, 20, START + 2 * HOUR + 10 * MINUTE);
    let at = START + 2 * HOUR + 20 * MINUTE;
    let lore = before.lore(&router, at, false);
    let resumed = |after: Duration| {
        let mut region = region(at + after);
        region.resume(&lore, &router, at + after, at + after);
        // It was counted before; this one was not.
        region.put_search(search(1, at - MINUTE));
        region.put_search(search(2, at + after));
        region.lore(&router, START + 4 * HOUR, false);
        region
    };
    let soon = resumed(5 * MINUTE);
    assert_eq!(usual(&soon, START + HOUR), Some(10.0));
    assert_eq!(usual(&soon, START + 2 * HOUR), Some(21.0));
    let late = resumed(30 * MINUTE);
    assert_eq!(usual(&late, START + HOUR), Some(10.0));
    assert_eq!(usual(&late, START + 2 * HOUR), None, "nobody knows how many asked");
    assert_eq!(usual(&late, START + 3 * HOUR), Some(0.0));
}

#[test]
fn while_a_region_is_closed_and_its_node_lives_nobody_asks_in_it() {
    let (router, mut before) = (Straight::default(), region(START));
    ask(&mut before, 10, START + HOUR);
    let at = START + HOUR + 20 * MINUTE;
    let lore = before.lore(&router, at, true);
    let resumed = |here_since| {
        let now = START + 4 * HOUR;
        let mut region = region(now);
        region.resume(&lore, &router, now, here_since);
        region
    };
    let stayed = resumed(START);
    assert_eq!(usual(&stayed, START + HOUR), Some(10.0));
    assert_eq!(usual(&stayed, START + 3 * HOUR), Some(0.0));
    let moved = resumed(START + 2 * HOUR);
    assert_eq!(usual(&moved, START + HOUR), None);
}

#[test]
fn what_was_learned_around_another_place_is_not_believed_and_the_rest_is() {
    let router = Straight::default();
    let mut elsewhere = Region::new(KIGALI.offset_m(9_000.0, 0.0), 12_000.0, MINUTE, START);
    ask(&mut elsewhere, 10, START + HOUR);
    let lore = elsewhere.lore(&router, START + 2 * HOUR, false);
    let mut here = region(START + 2 * HOUR);
    assert!(!here.resume(&lore, &router, START + 2 * HOUR, START));
    assert!(here.ways().is_empty());
    assert_eq!(usual(&here, START + HOUR), Some(10.0));
}

#[test]
fn what_was_learned_of_another_router_is_kept_until_as_much_was_learned_of_this_one() {
    let (straight, streets) =
        (Straight::default(), Straight { detour: 2.0, ..Straight::default() });
    let now = START + HOUR;
    let learn = |region: &mut Region, drivers: std::ops::Range<u64>, router: &Straight| {
        for n in drivers {
            let left_at = START + Duration::from_millis(n);
            let to = KIGALI.offset_m(3_000.0, 0.0);
            let came = Came { from: KIGALI, to, left_at, took_ms: 1_200_000 };
            let card = DriverCard { came: Some(Arc::new(came)), ..driver(n, START) };
            region.put_driver(Arc::new(card));
        }
        region.learn_ways(router, now);
    };
    let goes_on = |lore: &Lore, router: &Straight| {
        let mut region = region(now);
        let is_whole = region.resume(lore, router, now, now);
        (region, is_whole)
    };
    let mut before = region(now);
    learn(&mut before, 0..40, &straight);
    let first = before.lore(&straight, now, false);

    let (mut other, is_whole) = goes_on(&first, &streets);
    assert!(!is_whole && other.ways().is_empty());
    learn(&mut other, 0..10, &streets);
    let both = other.lore(&streets, now, false);
    let (back, is_whole) = goes_on(&both, &straight);
    assert!(is_whole);
    assert_eq!(back.ways().kept(KIGALI, &straight), before.ways().kept(KIGALI, &straight));

    let (mut stays, is_whole) = goes_on(&both, &streets);
    assert!(is_whole && !stays.ways().is_empty());
    learn(&mut stays, 10..40, &streets);
    let latest = stays.lore(&streets, now, false);
    assert_eq!(latest.other_ways, None);
    assert!(!goes_on(&latest, &straight).1);
}

/// Who is there comes into view, and whom the region then sees in line.
fn line(region: &mut Region, there: &[(u64, Timestamp)], now: Timestamp) -> Vec<DriverId> {
    for (n, idle_since) in there {
        region.put_driver(Arc::new(driver(*n, *idle_since)));
    }
    region.line_up(Vec::new(), now, &crate::cost::Settings::default());
    region.lines().flat_map(|(_, line)| line).collect()
}

fn nth(ids: &[u64]) -> Vec<DriverId> {
    ids.iter().map(|n| DriverId::nth(*n)).collect()
}

#[test]
fn a_line_is_the_same_after_a_fall_and_whoever_came_since_stands_behind_it() {
    let mut before = region(START);
    line(&mut before, &[(3, START)], START);
    line(&mut before, &[(1, START + MINUTE)], START + MINUTE);
    line(&mut before, &[(2, START)], START + 2 * MINUTE);
    let lines = before.kept_lines(START + 2 * MINUTE);

    let now = START + 3 * MINUTE;
    let mut after = region(now);
    // Before it hears what was kept it can only guess.
    line(&mut after, &[(1, START), (4, START - MINUTE)], now);
    after.resume_lines(&lines, now);
    assert_eq!(line(&mut after, &[(2, START)], now), nth(&[1, 2, 4]));
    let late = now + Duration::from_secs(60);
    assert_eq!(line(&mut after, &[(3, START), (5, START)], late), nth(&[3, 1, 2, 4, 5]));
}

#[test]
fn whoever_does_not_come_back_in_time_has_lost_its_place() {
    let mut before = region(START);
    line(&mut before, &[(2, START)], START);
    line(&mut before, &[(1, START + MINUTE)], START + MINUTE);
    let lines = before.kept_lines(START + MINUTE);
    let now = START + 5 * MINUTE;
    let mut after = region(now);
    after.resume_lines(&lines, now);
    assert_eq!(line(&mut after, &[(1, START)], now), nth(&[1]));
    assert_eq!(line(&mut after, &[(2, START)], now + 3 * MINUTE), nth(&[1, 2]));
    let mut much_later = region(START + 3 * HOUR);
    much_later.resume_lines(&lines, START + 3 * HOUR);
    let there = [(1, START), (2, START + HOUR)];
    assert_eq!(line(&mut much_later, &there, START + 3 * HOUR), nth(&[1, 2]), "only guessed");
}

#[test]
fn of_a_rank_that_is_no_more_nothing_is_left() {
    let mut before = region(START);
    line(&mut before, &[(1, START)], START);
    let mut lines = before.kept_lines(START);
    lines.ranks[0].0 = "another".to_owned();
    let mut after = region(START);
    after.resume_lines(&lines, START);
    assert_eq!(line(&mut after, &[], START), []);
    assert_eq!(after.kept_lines(START).ranks, []);
}
