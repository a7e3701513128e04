//! Replays mornings of real trips through the matching that regions run, and compares policies.
//!
//! ```text
//!  trips, roads ──► Morning ──┐
//!  policy ──► Rules ──────────┴─► World ──► Figures ──► table, JSON, chart
//! ```
//!
//! [`ways`] asks of the same mornings how well regions learn how long ways take.

mod chart;
mod figures;
mod morning;
mod policy;
pub mod ways;
mod world;

pub use chart::{NoChart, draw};
pub use figures::Summary;
pub use policy::Policy;

use self::{
    figures::Figures,
    morning::Morning,
    world::{Conditions, Division, World},
};
use crate::{city::LoadError, table::TableError, trips::Window};
use clap::ValueEnum;
use comfy_table::{CellAlignment, Table, presets};
use matching::router::NoRoads;
use serde::Serialize;
use std::{
    fmt,
    path::PathBuf,
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::Duration,
};
use thiserror::Error;

/// How the city is divided among regions.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Shard {
    /// Not at all: one region sees everybody.
    City,
    /// Into H3 cells of resolution 5, as a node does: all of Manhattan is in two of them.
    Res5,
    /// Into H3 cells of resolution 7 (about 5 km²).
    Res7,
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.to_possible_value() {
            Some(value) => f.pad(value.get_name()),
            None => Ok(()),
        }
    }
}

/// What is simulated.
#[derive(Debug, Clone)]
pub struct Options {
    /// A table of trips for each morning.
    pub trips: Vec<PathBuf>,
    /// A folder of road tables.
    pub roads: PathBuf,
    /// Which part of each morning.
    pub window: Window,
    /// How many requests a second; none: as many as there were.
    pub rate: Option<f64>,
    /// How many drivers there are.
    pub drivers: Vec<usize>,
    /// What is compared.
    pub policies: Vec<Policy>,
    /// How the city is divided.
    pub shards: Vec<Shard>,
    /// How many rings of neighbours a region sees.
    pub rings: u32,
    /// Where drivers begin.
    pub seeds: Vec<u64>,
    /// Who has no driver after this long goes away.
    pub patience: Duration,
    /// Requests before this are served, and not counted.
    pub warm_up: Duration,
    /// The share of drivers who go where they are told to wait, 0 to 1.
    pub follow: f64,
    /// How many simulations go on at once.
    pub n_threads: usize,
}

/// Why nothing could be simulated.
#[derive(Debug, Error)]
pub enum SimError {
    /// Trips could not be read.
    #[error(transparent)]
    Trips(#[from] TableError),
    /// Roads could not be read.
    #[error(transparent)]
    Streets(#[from] LoadError),
    /// Roads of which no table can be made.
    #[error(transparent)]
    Roads(#[from] NoRoads),
    /// Nothing to replay.
    #[error("no trips in {0}, or none in that part of the day")]
    NoTrips(String),
}

/// One simulation, or the sum of several.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// How requests and drivers were brought together.
    #[serde(serialize_with = "as_text")]
    pub policy: Policy,
    /// How the city was divided.
    #[serde(serialize_with = "as_text")]
    pub shard: Shard,
    /// How many rings of neighbours a region saw.
    pub rings: u32,
    /// How many drivers there were.
    pub n_drivers: usize,
    /// Which table of trips; none for all of them together.
    pub trips: Option<String>,
    /// Where drivers began; none for all seeds together.
    pub seed: Option<u64>,
    /// How it went.
    #[serde(flatten)]
    pub summary: Summary,
}

fn as_text<T: fmt::Display, S: serde::Serializer>(
    it: &T,
    serializer: S,
) -> Result<S::Ok, S::Error> {
    serializer.collect_str(it)
}

/// What came out.
#[derive(Debug, Clone, Serialize)]
pub struct Comparison {
    /// Policy by policy: each morning and seed, and then all of them together.
    pub rows: Vec<Row>,
}

/// Simulates every morning under every policy, with every seed.
pub fn compare(
    options: &Options,
    progress: impl Fn(usize, usize) + Sync,
) -> Result<Comparison, SimError> {
    let mornings = options.trips.iter().map(|trips| {
        let seed = options.seeds.first().copied().unwrap_or(1);
        Morning::read(trips, &options.roads, options.window, options.rate, seed)
    });
    let mornings: Vec<Morning> = mornings.collect::<Result<_, _>>()?;
    let mut groups = Vec::new();
    for &n_drivers in &options.drivers {
        for &shard in &options.shards {
            groups.extend(options.policies.iter().map(|policy| (n_drivers, shard, *policy)));
        }
    }
    let mut tasks = Vec::new();
    for group in 0..groups.len() {
        for morning in 0..mornings.len() {
            tasks.extend(options.seeds.iter().map(|seed| (group, morning, *seed)));
        }
    }
    let done: Vec<Mutex<Option<Figures>>> = tasks.iter().map(|_| Mutex::default()).collect();
    let (next, n_done) = (AtomicUsize::new(0), AtomicUsize::new(0));
    thread::scope(|scope| {
        for _ in 0..options.n_threads.clamp(1, tasks.len().max(1)) {
            scope.spawn(|| {
                while let Some(&(group, morning, seed)) =
                    tasks.get(next.fetch_add(1, Ordering::Relaxed))
                {
                    let (n_drivers, shard, policy) = groups[group];
                    let conditions = conditions(options, n_drivers, shard, seed);
                    let figures = World::new(&mornings[morning], &policy.rules(), conditions).run();
                    let place = tasks.iter().position(|it| *it == (group, morning, seed));
                    if let Some(place) = place {
                        *done[place].lock().unwrap_or_else(PoisonError::into_inner) = Some(figures);
                    }
                    progress(n_done.fetch_add(1, Ordering::Relaxed) + 1, tasks.len());
                }
            });
        }
    });
    let mut figures =
        done.into_iter().map(|it| it.into_inner().unwrap_or_else(PoisonError::into_inner));
    let mut rows = Vec::new();
    for (n_drivers, shard, policy) in groups {
        let rings = options.rings;
        let mut whole = Figures::new(0);
        for morning in &mornings {
            for seed in &options.seeds {
                let Some(Some(one)) = figures.next() else { continue };
                whole.add(one.clone());
                let (trips, seed) = (Some(morning.name.clone()), Some(*seed));
                let summary = one.sum_up();
                rows.push(Row { policy, shard, rings, n_drivers, trips, seed, summary });
            }
        }
        if mornings.len() * options.seeds.len() > 1 {
            let (trips, seed, summary) = (None, None, whole.sum_up());
            rows.push(Row { policy, shard, rings, n_drivers, trips, seed, summary });
        }
    }
    Ok(Comparison { rows })
}

fn conditions(options: &Options, n_drivers: usize, shard: Shard, seed: u64) -> Conditions {
    let resolution = match shard {
        Shard::City => None,
        Shard::Res5 => Some(h3o::Resolution::Five),
        Shard::Res7 => Some(h3o::Resolution::Seven),
    };
    Conditions {
        n_drivers,
        division: Division { resolution, rings: options.rings },
        seed,
        patience: options.patience,
        warm_up: options.warm_up,
        follow: options.follow,
    }
}

impl fmt::Display for Comparison {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut table = Table::new();
        table.load_style(presets::ASCII_MARKDOWN);
        table.set_header([
            "policy",
            "shard",
            "drivers",
            "trips",
            "seed",
            "served %",
            "wait s",
            "p95",
            "ETA s",
            "p95",
            "tick ms",
            "p99",
            "max",
            "Gini idle",
            "earning",
            "idle %",
            "sent",
            "refused",
        ]);
        for row in &self.rows {
            let it = &row.summary;
            let one = |x: f64| format!("{x:.1}");
            let two = |x: f64| format!("{x:.2}");
            let shard = match row.rings {
                1 => row.shard.to_string(),
                rings => format!("{}+{rings}", row.shard),
            };
            table.add_row([
                row.policy.to_string(),
                shard,
                row.n_drivers.to_string(),
                row.trips.clone().unwrap_or_else(|| "all".to_owned()),
                row.seed.map_or_else(|| "all".to_owned(), |it| it.to_string()),
                two(it.served_percent),
                one(it.wait_mean_s),
                one(it.wait_p95_s),
                one(it.eta_mean_s),
                one(it.eta_p95_s),
                two(it.tick_mean_ms),
                two(it.tick_p99_ms),
                two(it.tick_max_ms),
                two(it.idle_gini),
                two(it.earning_gini),
                one(it.idle_percent),
                it.n_sent.to_string(),
                it.n_refused.to_string(),
            ]);
        }
        for column in table.column_iter_mut().skip(4) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        write!(f, "{table}")
    }
}
