//! A road graph with every answer worked out: the quickest way between any two crossings.
//!
//! For a district or a small city the whole table fits in memory (4,091 crossings of Manhattan: 33 MB),
//! and no cleverer structure answers faster than looking something up. Times are kept by destination, so
//! that all drivers near one pickup are found in one row.
//!
//! Places between crossings are as far off as they are from the nearest, in a straight line. What is far from all of them is not
//! in this table: ways from and to there are straight lines as a whole.

use super::{Eta, Leg, Router, Speeds, Spot, Straight};
use crate::grid::Grid;
use protocol::{Point, Timestamp};
use std::{cmp::Reverse, collections::BinaryHeap, fmt, sync::Arc};

/// Times are kept in units of this, in milliseconds.
const UNIT_MS: u32 = 100;
/// No way, or one of more than an hour and three quarters.
const NO_WAY: u16 = u16::MAX;
/// Most crossings: the table of so many takes 800 MB.
const NODES_MAX: usize = 20_000;
/// The side of the squares in which crossings are looked up, in metres.
const CELL_M: f64 = 50.0;
/// Most squares, so that crossings far apart cannot take all memory.
const CELLS_MAX: f64 = 4_000_000.0;
/// Whatever is further than this from every crossing is off these roads, in metres: more than half of the longest blocks, and
/// less than what lies across a river.
const OFF_M_MAX: u16 = 300;
/// What traffic leaves of a way at best, one time in ten, in percent.
const LOW_PERCENT: u32 = 85;
/// What it makes of it at worst, one time in ten.
const HIGH_PERCENT: u32 = 120;

/// One direction of a street between two crossings.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Road {
    /// The number of the crossing where it begins.
    pub from: u32,
    /// The number of the crossing where it ends.
    pub to: u32,
    /// How long it takes, in milliseconds.
    pub ms: u32,
}

/// Roads of which no table can be made.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NoRoads {
    /// No crossings at all.
    Empty,
    /// More crossings than a table is made for.
    TooMany(usize),
    /// A road begins or ends at a crossing that does not exist.
    NoNode(u32),
}

impl fmt::Display for NoRoads {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Empty => f.write_str("there are no crossings"),
            Self::TooMany(n) => write!(f, "{n} crossings are more than {NODES_MAX}"),
            Self::NoNode(n) => write!(f, "a road leads to crossing {n}, which does not exist"),
        }
    }
}

impl std::error::Error for NoRoads {}

/// How long every way takes, at one time of day.
#[derive(Clone)]
pub struct Times {
    n_nodes: usize,
    /// Where each crossing's roads start in `roads`; one more than there are crossings.
    first: Vec<u32>,
    roads: Vec<Road>,
    /// By destination, then by origin.
    units: Vec<u16>,
}

impl fmt::Debug for Times {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Times").field("n_nodes", &self.n_nodes).finish_non_exhaustive()
    }
}

impl Times {
    /// Works out every way over these roads. Takes a second for some thousands of crossings.
    pub fn new(n_nodes: usize, mut roads: Vec<Road>) -> Result<Self, NoRoads> {
        if n_nodes == 0 {
            return Err(NoRoads::Empty);
        }
        if n_nodes > NODES_MAX {
            return Err(NoRoads::TooMany(n_nodes));
        }
        let is_missing = |node: u32| node as usize >= n_nodes;
        for road in &roads {
            if let Some(node) = [road.from, road.to].into_iter().find(|it| is_missing(*it)) {
                return Err(NoRoads::NoNode(node));
            }
        }
        // Towards one destination: along the roads backwards.
        roads.sort_by_key(|road| (road.to, road.from, road.ms));
        let into = starts(n_nodes, roads.iter().map(|road| road.to));
        let mut units = vec![NO_WAY; n_nodes * n_nodes];
        let (mut ms, mut open) = (vec![u32::MAX; n_nodes], BinaryHeap::new());
        for (to, row) in units.chunks_exact_mut(n_nodes).enumerate() {
            ms.fill(u32::MAX);
            ms[to] = 0;
            open.push(Reverse((0, to as u32)));
            while let Some(Reverse((so_far, node))) = open.pop() {
                if so_far > ms[node as usize] {
                    continue;
                }
                let range = into[node as usize] as usize..into[node as usize + 1] as usize;
                for road in &roads[range] {
                    let then = so_far.saturating_add(road.ms);
                    let known = &mut ms[road.from as usize];
                    if then < *known {
                        *known = then;
                        open.push(Reverse((then, road.from)));
                    }
                }
            }
            for (unit, &ms) in row.iter_mut().zip(&ms) {
                *unit = u16::try_from(ms.div_ceil(UNIT_MS)).unwrap_or(NO_WAY);
            }
        }
        roads.sort_by_key(|road| (road.from, road.to, road.ms));
        let first = starts(n_nodes, roads.iter().map(|road| road.from));
        Ok(Self { n_nodes, first, roads, units })
    }

    /// How long the quickest way between two crossings takes, in milliseconds; none if there is no way.
    pub fn ms(&self, from: Spot, to: Spot) -> Option<u32> {
        let units = self.units[to.n as usize * self.n_nodes + from.n as usize];
        (units != NO_WAY).then(|| u32::from(units) * UNIT_MS)
    }

    /// The first road of the quickest way to another crossing; none if one is there, or cannot get there.
    pub fn next(&self, from: Spot, to: Spot) -> Option<Road> {
        if from.n == to.n {
            return None;
        }
        let range = self.first[from.n as usize] as usize..self.first[from.n as usize + 1] as usize;
        let ways = self.roads[range].iter().filter_map(|road| {
            let rest = self.ms(Spot::at(road.to), to)?;
            Some((road.ms.saturating_add(rest), *road))
        });
        ways.min_by_key(|(ms, road)| (*ms, road.to)).map(|(_, road)| road)
    }
}

/// Where each number's entries start, in a list in their order; one more than there are numbers.
fn starts(n: usize, sorted: impl Iterator<Item = u32>) -> Vec<u32> {
    let mut starts = vec![0_u32; n + 1];
    for number in sorted {
        starts[number as usize + 1] += 1;
    }
    for number in 0..n {
        starts[number + 1] += starts[number];
    }
    starts
}

/// Crossings, and how long ways between them take from when on.
#[derive(Debug, Clone)]
pub struct Roads {
    nodes: Vec<Point>,
    lookup: Lookup,
    /// By when they begin to count.
    periods: Vec<(Timestamp, Arc<Times>)>,
    /// How fast vehicles get through, here and off these roads: tables are of cars at their usual speed.
    straight: Straight,
}

impl Roads {
    /// Ways between these crossings; `first` counts from the beginning.
    pub fn new(nodes: Vec<Point>, first: Arc<Times>) -> Result<Self, NoRoads> {
        if nodes.is_empty() {
            return Err(NoRoads::Empty);
        }
        if nodes.len() != first.n_nodes {
            return Err(NoRoads::NoNode(nodes.len().min(first.n_nodes) as u32));
        }
        let lookup = Lookup::new(&nodes);
        let (periods, straight) = (vec![(Timestamp(0), first)], Straight::default());
        Ok(Self { nodes, lookup, periods, straight })
    }

    /// The same, for vehicles that are as fast as this says where a car usually is as [`Speeds::default`] says; off these
    /// roads, ways take what it says of them.
    #[must_use]
    pub fn with_straight(self, straight: Straight) -> Self {
        Self { straight, ..self }
    }

    /// Other times count from then on, until still later ones do.
    pub fn add(&mut self, from: Timestamp, times: Arc<Times>) -> Result<(), NoRoads> {
        if times.n_nodes != self.nodes.len() {
            return Err(NoRoads::NoNode(times.n_nodes.min(self.nodes.len()) as u32));
        }
        let place = self.periods.partition_point(|(begin, _)| *begin <= from);
        self.periods.insert(place, (from, times));
        Ok(())
    }

    /// The times that count at some moment.
    pub fn times(&self, at: Timestamp) -> &Times {
        let next = self.periods.partition_point(|(begin, _)| *begin <= at);
        &self.periods[next.max(1) - 1].1
    }

    /// Where a crossing is.
    pub fn point(&self, spot: Spot) -> Point {
        self.nodes[spot.n as usize]
    }
}

impl Router for Roads {
    /// The nearest crossing; if none is near, one of them, and further away than counts.
    fn spot(&self, at: Point) -> Spot {
        self.lookup.nearest(at)
    }

    fn eta(&self, leg: &Leg) -> Eta {
        // That no street is known to lead there says more of the map than of the city.
        self.way(leg).unwrap_or_else(|| self.straight.eta(leg))
    }

    fn way(&self, leg: &Leg) -> Option<Eta> {
        let Leg { from, to, vehicle, distance_m, leaving } = *leg;
        if from.off_m.max(to.off_m) > OFF_M_MAX {
            return Some(self.straight.eta(leg));
        }
        let ms = self.times(leaving).ms(from, to)?;
        let times = Speeds::default().car / self.straight.speeds.of(vehicle);
        // Most are cars, and need no arithmetic.
        let ms = if times == 1.0 { ms } else { (ms as f32 * times) as u32 };
        // Two places near one crossing are no further from it than from each other.
        let off_m = f32::from(from.off_m + to.off_m).min(distance_m);
        let ms = ms.saturating_add(self.straight.ms(vehicle, off_m));
        Some(Eta { ms, low_ms: ms / 100 * LOW_PERCENT, high_ms: ms / 100 * HIGH_PERCENT })
    }

    /// From crossing to crossing: streets are taken to be straight between two of them.
    fn driven_m(&self, leg: &Leg) -> Option<f32> {
        let Leg { from, to, distance_m, leaving, .. } = *leg;
        if from.off_m.max(to.off_m) > OFF_M_MAX {
            return None;
        }
        let times = self.times(leaving);
        let off_m = f32::from(from.off_m + to.off_m).min(distance_m);
        let (mut here, mut far_m) = (from, off_m * self.straight.detour);
        // Every road leaves less to go but one that takes no time, on which one might go to and fro for ever.
        for _ in 0..self.nodes.len() {
            let Some(road) = times.next(here, to) else { break };
            let next = Spot::at(road.to);
            far_m += self.point(here).distance_m(self.point(next)) as f32;
            here = next;
        }
        (here.n == to.n).then_some(far_m)
    }
}

/// Which crossings may be the nearest, square by square: every driver is looked up every tick.
#[derive(Debug, Clone)]
struct Lookup {
    south_west: Point,
    metres: Metres,
    cell_m: f64,
    n_columns: usize,
    n_rows: usize,
    /// Where each square's crossings start in `near`; one more than there are squares.
    first: Vec<u32>,
    near: Vec<(f32, f32, u32)>,
}

/// Metres per degree, around one place.
#[derive(Debug, Clone, Copy)]
struct Metres {
    lat: f64,
    lon: f64,
}

impl Lookup {
    fn new(nodes: &[Point]) -> Self {
        let start = nodes.first().copied().unwrap_or_default();
        let (low, high) = nodes.iter().fold((start, start), |(low, high), at| {
            let low = Point { lat: low.lat.min(at.lat), lon: low.lon.min(at.lon) };
            (low, Point { lat: high.lat.max(at.lat), lon: high.lon.max(at.lon) })
        });
        let lat = 111_194.93;
        let middle_lat = (low.lat + high.lat) / 2.0;
        let metres = Metres { lat, lon: lat * middle_lat.to_radians().cos().max(1e-3) };
        // What lies beyond this is off the roads, whichever crossing is found for it.
        let margin_m = f64::from(OFF_M_MAX + 1);
        let (lat, lon) = (margin_m / metres.lat, margin_m / metres.lon);
        let low = Point { lat: low.lat - lat, lon: low.lon - lon };
        let high = Point { lat: high.lat + lat, lon: high.lon + lon };
        let (width_m, height_m) =
            ((high.lon - low.lon) * metres.lon, (high.lat - low.lat) * metres.lat);
        let cell_m = CELL_M.max((width_m * height_m / CELLS_MAX).sqrt());
        let n_columns = (width_m / cell_m) as usize + 1;
        let n_rows = (height_m / cell_m) as usize + 1;
        let reach_m = (width_m.max(height_m) / 2.0 + cell_m) as f32;
        let middle = low.towards(high, 0.5);
        let mut grid = Grid::new(middle, reach_m, cell_m as f32);
        (0..).zip(nodes).for_each(|(n, node)| grid.upsert(n, *node));
        let (mut first, mut near, mut found) = (vec![0], Vec::new(), Vec::new());
        for (row, column) in (0..n_rows).flat_map(|row| (0..n_columns).map(move |it| (row, it))) {
            let (x, y) = ((column as f64 + 0.5) * cell_m, (row as f64 + 0.5) * cell_m);
            let at = Point { lat: low.lat + y / metres.lat, lon: low.lon + x / metres.lon };
            grid.nearest(at, 1, f32::MAX, |_| true, &mut found);
            // Nobody nearer to some point of the square is further from its middle than this.
            let reach_m = found.first().map_or(0.0, |it| it.distance_m) + cell_m as f32 * 1.42;
            grid.nearest(at, nodes.len(), reach_m, |_| true, &mut found);
            near.extend(found.iter().map(|it| {
                let node = nodes[it.n as usize];
                let (x, y) = ((node.lon - low.lon) * metres.lon, (node.lat - low.lat) * metres.lat);
                (x as f32, y as f32, it.n)
            }));
            first.push(near.len() as u32);
        }
        Self { south_west: low, metres, cell_m, n_columns, n_rows, first, near }
    }

    fn nearest(&self, at: Point) -> Spot {
        let x = (at.lon - self.south_west.lon) * self.metres.lon;
        let y = (at.lat - self.south_west.lat) * self.metres.lat;
        // A cast saturates: who is outside is looked up at the border, and is too far from it to matter which it is.
        let column = ((x / self.cell_m) as usize).min(self.n_columns - 1);
        let row = ((y / self.cell_m) as usize).min(self.n_rows - 1);
        let cell = row * self.n_columns + column;
        let near = &self.near[self.first[cell] as usize..self.first[cell + 1] as usize];
        let squares = near.iter().map(|(nx, ny, n)| {
            let (dx, dy) = (nx - x as f32, ny - y as f32);
            (dx * dx + dy * dy, *n)
        });
        let nearest = squares.min_by(|a, b| a.0.total_cmp(&b.0));
        let (square, n) = nearest.unwrap_or((f32::INFINITY, 0));
        Spot { n, off_m: square.sqrt().round() as u16 }
    }
}

#[cfg(test)]
mod tests;
