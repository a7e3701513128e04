//! What the grid inside a region costs: a driver moves, and the ten nearest are found.

use super::near::{N_NEAREST, place, step};
use matching::grid::Grid;
use protocol::Point;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rustix::time::{ClockId, clock_gettime};
use std::{hint::black_box, time::Duration};

/// How many drivers a cell has: a region chooses its cells by how many there are.
const PER_CELL: f64 = 2.0;
/// How many are drawn beforehand, for drawing them costs more than doing them.
const BATCH: usize = 50_000;

/// In microseconds of processor time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ours {
    /// One driver moves 20 metres.
    pub(super) move_us: f64,
    /// The ten nearest to one place are found.
    pub(super) ten_nearest_us: f64,
}

/// A city, and who is where.
#[derive(Debug)]
pub(super) struct Town {
    grid: Grid,
    drivers: Vec<Point>,
    random: ChaCha8Rng,
}

impl Town {
    /// One of so many drivers.
    pub(super) fn fill(centre: Point, half_m: f64, size: u32, seed: u64) -> Self {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let cell_m = 2.0 * half_m / (f64::from(size) / PER_CELL).sqrt();
        let mut grid = Grid::new(centre, half_m as f32, cell_m as f32);
        let drivers: Vec<Point> = (0..size).map(|_| place(&mut random)).collect();
        (0..).zip(&drivers).for_each(|(n, &at)| grid.upsert(n, at));
        Self { grid, drivers, random }
    }

    /// Moves and searches for as long as `lasting` each, on this thread.
    pub(super) fn measure(&mut self, lasting: Duration) -> Ours {
        let Self { grid, drivers, random } = self;
        let mut draw = || (0..BATCH).map(|_| step(random, drivers)).collect::<Vec<_>>();
        let move_us = cost(lasting, &mut draw, |moves| grid.upsert_all(moves));
        let mut found = Vec::new();
        let mut draw = || (0..BATCH).map(|_| place(random)).collect::<Vec<_>>();
        let ten_nearest_us = cost(lasting, &mut draw, |places| {
            for &at in places {
                grid.nearest(at, N_NEAREST, f32::MAX, |_| true, &mut found);
                black_box(&found);
            }
        });
        Ours { move_us, ten_nearest_us }
    }
}

/// Does what is drawn, batch for batch. Returns what one costs, the drawing left out.
fn cost<T>(lasting: Duration, draw: &mut impl FnMut() -> Vec<T>, mut all: impl FnMut(&[T])) -> f64 {
    let (mut spent, mut n) = (Duration::ZERO, 0);
    while spent < lasting {
        let batch = draw();
        let before = on_processor();
        all(black_box(&batch));
        spent += on_processor().saturating_sub(before);
        n += batch.len();
    }
    spent.as_secs_f64() * 1e6 / n as f64
}

/// How long this thread has been on a processor.
fn on_processor() -> Duration {
    let it = clock_gettime(ClockId::ThreadCPUTime);
    Duration::new(it.tv_sec as u64, it.tv_nsec as u32)
}
