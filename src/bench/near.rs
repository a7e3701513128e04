//! What the grid inside a region costs: a driver moves, and the ten nearest are found.
//!
//! `loadtest peers` measures Redis at the same, with the same city and the same steps.

use super::Fault;
use actors::region::grid::Grid;
use protocol::Point;
use rand::{Rng, SeedableRng, rngs::StdRng};
use serde::Serialize;
use std::{
    fs,
    hint::black_box,
    time::{Duration, Instant},
};

const CENTRE: Point = Point { lat: -1.9441, lon: 30.0619 };
/// How far the city goes in each direction, in metres, and how wide a cell is.
const HALF_M: f64 = 10_000.0;
const CELL_M: f32 = 50.0;
/// Metres east and north.
const STEPS: [(f64, f64); 4] = [(20.0, 0.0), (-20.0, 0.0), (0.0, 20.0), (0.0, -20.0)];
const N_NEAREST: usize = 10;
/// How many are done before it is looked at the clock.
const BATCH: usize = 10_000;
/// How long one figure takes.
const LASTS: Duration = Duration::from_secs(1);
/// Drawn beforehand, for drawing them costs more than doing them.
const N_MOVES: usize = 1_000_000;
const N_PLACES: usize = 200_000;

/// In microseconds of processor time.
#[derive(Debug, Serialize)]
pub(super) struct Near {
    pub(super) n_drivers: u32,
    /// One driver moves 20 metres.
    pub(super) move_us: f64,
    /// The ten nearest to one place are found.
    pub(super) ten_nearest_us: f64,
}

/// Among so many drivers.
pub(super) fn among(n_drivers: u32) -> Result<Near, Fault> {
    let n_drivers = n_drivers.max(1);
    let mut random = StdRng::seed_from_u64(n_drivers.into());
    let mut grid = Grid::new(CENTRE, HALF_M as f32, CELL_M);
    let mut at: Vec<Point> = (0..n_drivers).map(|_| place(&mut random)).collect();
    (0..).zip(&at).for_each(|(n, &at)| grid.upsert(n, at));
    let moves: Vec<_> = (0..N_MOVES).map(|_| step(&mut random, &mut at)).collect();
    let move_us = cost(&moves, |&(n, at)| grid.upsert(n, at))?;
    let places: Vec<Point> = (0..N_PLACES).map(|_| place(&mut random)).collect();
    let mut found = Vec::new();
    let ten_nearest_us = cost(&places, |&at| {
        grid.nearest(at, N_NEAREST, f32::MAX, |_| true, &mut found);
        black_box(&found);
    })?;
    Ok(Near { n_drivers, move_us, ten_nearest_us })
}

/// Does all of it, again and again. Returns what one costs.
fn cost<T>(all: &[T], mut one: impl FnMut(&T)) -> Result<f64, Fault> {
    // The clock of a thread that runs is some milliseconds late, so it is looked at only twice.
    let (began, before, mut n) = (Instant::now(), on_processor()?, 0);
    while began.elapsed() < LASTS {
        for some in all.chunks(BATCH) {
            black_box(some).iter().for_each(&mut one);
            n += some.len();
            if began.elapsed() >= LASTS {
                break;
            }
        }
    }
    Ok(on_processor()?.saturating_sub(before).as_secs_f64() * 1e6 / n as f64)
}

fn step(random: &mut StdRng, at: &mut [Point]) -> (u32, Point) {
    let n = random.random_range(0..at.len());
    let (east, north) = STEPS[random.random_range(0..STEPS.len())];
    at[n] = at[n].offset_m(east, north);
    (n as u32, at[n])
}

fn place(random: &mut StdRng) -> Point {
    let mut along = || random.random_range(-HALF_M..HALF_M);
    CENTRE.offset_m(along(), along())
}

/// How long this thread has been on a processor.
fn on_processor() -> Result<Duration, Fault> {
    let text = fs::read_to_string("/proc/thread-self/schedstat")?;
    let ns = text.split_whitespace().next().ok_or("no time on a processor is counted here")?;
    Ok(Duration::from_nanos(ns.parse()?))
}
