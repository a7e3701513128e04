//! How long it takes to find out under which of as many rules as there may be each search of a tick is matched: what a region does
//! before each round.
//!
//! ```text
//! cargo bench -p actors --bench rules
//! ```
//!
//! What rounds take that are held under so many is in `matching/benches/matching.rs`.
#![expect(clippy::print_stdout, reason = "a program that measures")]

use actors::{
    rule::{RULES_MAX, RuleSet, SET, Said, Standing, ZONES_MAX},
    zone::neighbourhood,
};
use matching::cost;
use protocol::{
    Point, Principal, RuleId, Timestamp, ZoneId,
    rule::{RuleChanges, RuleTerms},
    view::WorkKind,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{
    collections::BTreeSet,
    hint::black_box,
    time::{Duration, Instant},
};

/// As the programs have it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const KIGALI: Point = Point { lat: -1.9441, lon: 30.0619 };
const NOW: Timestamp = Timestamp(1_800_000_000_000);
/// Half the side of the city, in metres.
const HALF_M: f64 = 10_000.0;
/// Ticks of which the median is told.
const N_TICKS: usize = 1_000;

fn place(random: &mut StdRng) -> Point {
    KIGALI.offset_m(random.random_range(-HALF_M..HALF_M), random.random_range(-HALF_M..HALF_M))
}

/// One that is set, and is for these zones.
fn standing(n: u64, zones: BTreeSet<ZoneId>) -> Standing {
    let changes = RuleChanges { hold_ms: Some(n as u32), ..RuleChanges::default() };
    let zones = zones.into_iter().collect();
    let name = format!("rule {n}");
    let terms =
        RuleTerms { name, preset: "bench".to_owned(), zones, changes, ..RuleTerms::default() };
    let (made_at, by, reason) = (NOW, Principal::Admin, "to be measured".to_owned());
    let said = Said { terms, made_at, by, reason };
    Standing { nth: 1, status: SET.to_owned(), changed_at: NOW, said }
}

/// As many as there may be. None is for all the city, so that each must be looked at for what is in none of their zones.
fn rules(random: &mut StdRng, n_zones: usize) -> RuleSet {
    let mut all = Vec::with_capacity(RULES_MAX);
    for n in 0..RULES_MAX as u64 {
        let zones = (0..n_zones).map(|_| neighbourhood(place(random))).collect();
        all.push((RuleId::nth(n), standing(n, zones)));
    }
    let known = all.iter().map(|(id, standing)| (*id, standing));
    RuleSet::of("bench", known, &cost::Settings::default())
}

fn main() {
    for (n_zones, n_searches) in [(1, 30), (1, 5_000), (ZONES_MAX, 30), (ZONES_MAX, 5_000)] {
        let mut random = StdRng::seed_from_u64(1);
        let rules = rules(&mut random, n_zones);
        let pickups: Vec<Point> = (0..n_searches).map(|_| place(&mut random)).collect();
        let mut n_ruled = 0;
        let mut took: Vec<Duration> = (0..N_TICKS)
            .map(|_| {
                let began = Instant::now();
                let in_force = rules.then(NOW);
                let ruled = pickups.iter().filter(|at| in_force.of(**at, WorkKind::Ride).is_some());
                n_ruled = black_box(ruled.count());
                began.elapsed()
            })
            .collect();
        took.sort_unstable();
        let (median, p99) = (took[N_TICKS / 2], took[N_TICKS * 99 / 100]);
        println!(
            "{} rules of {n_zones} zones, {n_searches} searches, {n_ruled} of them ruled: median {median:.1?}, p99 {p99:.1?}",
            rules.len(),
        );
    }
}
