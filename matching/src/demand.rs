//! Where people have lately asked from, square by square, and where idle drivers had better wait.
//!
//! A square's level is a count that fades: what was asked long ago counts less than what was asked just
//! now. Levels of several regions are added, because a region sees the ring around it.

use crate::assignment::{Edges, assign};
use protocol::{DriverId, Point, Timestamp};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet, HashSet},
    time::Duration,
};

/// Metres per degree of latitude.
const LAT_DEGREE_M: f64 = 111_194.93;

/// A square of about half a kilometre; a few percent wider or narrower from one degree of latitude to the
/// next.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Square {
    /// Rows from the equator to the north.
    pub row: i32,
    /// Columns from Greenwich to the east.
    pub column: i32,
}

impl Square {
    /// Its side, in metres.
    pub const SIDE_M: f64 = 500.0;

    /// The square a point is in.
    pub fn at(point: Point) -> Self {
        let row = (point.lat * LAT_DEGREE_M / Self::SIDE_M).floor();
        let column = (point.lon * lon_degree_m(row) / Self::SIDE_M).floor();
        Self { row: row as i32, column: column as i32 }
    }

    /// Its middle.
    pub fn middle(self) -> Point {
        let lat = (f64::from(self.row) + 0.5) * Self::SIDE_M / LAT_DEGREE_M;
        let lon_degree_m = lon_degree_m(f64::from(self.row));
        let lon = (f64::from(self.column) + 0.5) * Self::SIDE_M / lon_degree_m;
        Point { lat: lat.clamp(-90.0, 90.0), lon: lon.clamp(-180.0, 180.0) }
    }
}

/// Metres per degree of longitude in the degree of latitude that a row of squares is in.
fn lon_degree_m(row: f64) -> f64 {
    let lat = (row * Square::SIDE_M / LAT_DEGREE_M).floor() + 0.5;
    LAT_DEGREE_M * lat.to_radians().cos().max(1e-3)
}

/// How much is asked, square by square, in requests an hour.
pub type Rates = BTreeMap<Square, f64>;

/// What has lately been asked where.
#[derive(Debug, Clone)]
pub struct Demand {
    /// After this long, what was asked counts for 1/e.
    memory: Duration,
    began_at: Timestamp,
    levels: BTreeMap<Square, Level>,
}

/// A count that fades.
#[derive(Debug, Clone, Copy)]
struct Level {
    count: f64,
    at: Timestamp,
}

impl Level {
    fn faded(&self, now: Timestamp, memory: Duration) -> f64 {
        self.count * (-now.since(self.at).as_secs_f64() / memory.as_secs_f64()).exp()
    }
}

impl Demand {
    /// Nothing known yet.
    pub fn new(memory: Duration, now: Timestamp) -> Self {
        Self { memory, began_at: now, levels: BTreeMap::new() }
    }

    /// Somebody asks from here. One who lost a driver asked some time ago, and what others asked since is no older for it.
    pub fn record(&mut self, at: Point, asked: Timestamp) {
        let level = self.levels.entry(Square::at(at)).or_insert(Level { count: 0.0, at: asked });
        let latest = level.at.max(asked);
        let one = Level { count: 1.0, at: asked }.faded(latest, self.memory);
        *level = Level { count: level.faded(latest, self.memory) + one, at: latest };
    }

    /// How much is asked at present.
    pub fn rates(&self, now: Timestamp) -> Rates {
        // One who has watched for less than the memory lasts has seen only part of it.
        let seen =
            1.0 - (-now.since(self.began_at).as_secs_f64() / self.memory.as_secs_f64()).exp();
        let hours = self.memory.as_secs_f64() * seen.max(0.05) / 3_600.0;
        let rate = |level: &Level| level.faded(now, self.memory) / hours;
        self.levels.iter().map(|(square, level)| (*square, rate(level))).collect()
    }

    /// Forgets squares of which next to nothing is left.
    pub fn prune(&mut self, now: Timestamp) {
        let memory = self.memory;
        self.levels.retain(|_, level| level.faded(now, memory) > 0.01);
    }
}

/// How idle drivers are spread.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Spreading {
    /// How far anybody is sent, in metres.
    pub reach_m: u32,
    /// How long a driver must have been idle before it is sent anywhere, in milliseconds.
    pub rest_ms: u32,
    /// How strongly drivers gather where most is asked, in percent: 100 spreads them like requests, 0
    /// evenly. Two thirds makes the mean way to a random request shortest.
    pub gather_percent: u8,
}

impl Default for Spreading {
    fn default() -> Self {
        Self { reach_m: 2_500, rest_ms: 30_000, gather_percent: 67 }
    }
}

/// An idle driver: where it is, or will be soon.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Idle {
    /// Who.
    pub driver: DriverId,
    /// Where, or where it was sent.
    pub at: Point,
    /// May it be sent elsewhere?
    pub is_movable: bool,
}

/// A better place to wait.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Hint {
    /// Who.
    pub driver: DriverId,
    /// Where to.
    pub to: Square,
}

/// Who had better wait elsewhere: takes as few as possible, as short a way as possible, from squares that
/// have more than their share to those that have less. Every square's share of the idle drivers grows with what
/// is asked there. The same input gives the same answer.
pub fn spread(idle: &[Idle], rates: &Rates, spreading: &Spreading) -> Vec<Hint> {
    Uneven::of(idle, rates, spreading).even_out(spreading)
}

/// The same of a part of it, where to find out all of it would take long: so many places are filled at most, out of so
/// many drivers at most. Only places that one of the first `n_ours` drivers may be sent to are, and each `turn` others, so
/// that all of them get theirs.
pub fn spread_part(
    idle: &[Idle],
    n_ours: usize,
    rates: &Rates,
    spreading: &Spreading,
    n_max: usize,
    turn: usize,
) -> Vec<Hint> {
    let mut uneven = Uneven::of(idle, rates, spreading);
    let ours: HashSet<DriverId> = idle.iter().take(n_ours).map(|it| it.driver).collect();
    uneven.keep_part(&ours, spreading, n_max, turn);
    uneven.even_out(spreading)
}

/// Where drivers are missing, and who is where too many are.
#[derive(Debug)]
struct Uneven<'a> {
    /// A square for each driver that is missing, in order.
    wanted: Vec<Square>,
    /// Those who may be sent elsewhere, square by square.
    spare: Vec<&'a Idle>,
}

impl<'a> Uneven<'a> {
    fn of(idle: &'a [Idle], rates: &Rates, spreading: &Spreading) -> Self {
        let power = f64::from(spreading.gather_percent) / 100.0;
        let weights: BTreeMap<Square, f64> = rates
            .iter()
            .filter(|(_, rate)| **rate > 0.5)
            .map(|(at, rate)| (*at, rate.powf(power)))
            .collect();
        let (mut wanted, mut spare) = (Vec::new(), Vec::new());
        let whole: f64 = weights.values().sum();
        if whole <= 0.0 || idle.is_empty() {
            return Self { wanted, spare };
        }
        let share = |at: &Square| weights.get(at).map_or(0.0, |it| it / whole * idle.len() as f64);
        let mut present: BTreeMap<Square, Vec<&Idle>> = BTreeMap::new();
        for it in idle {
            present.entry(Square::at(it.at)).or_default().push(it);
        }
        // Whole drivers: a square has too many above its share rounded up, and too few below it rounded down.
        for at in weights.keys() {
            let n_missing =
                (share(at).floor() as usize).saturating_sub(present.get(at).map_or(0, Vec::len));
            wanted.extend(std::iter::repeat_n(*at, n_missing));
        }
        for (at, mut there) in present {
            let n_spare = there.len().saturating_sub(share(&at).ceil() as usize);
            there.retain(|it| it.is_movable);
            there.sort_by_key(|it| it.driver);
            spare.extend(there.into_iter().take(n_spare));
        }
        Self { wanted, spare }
    }

    fn keep_part(
        &mut self,
        ours: &HashSet<DriverId>,
        spreading: &Spreading,
        n_max: usize,
        turn: usize,
    ) {
        let of_ours = self.spare.iter().filter(|it| ours.contains(&it.driver));
        let from: BTreeSet<Square> = of_ours.map(|it| Square::at(it.at)).collect();
        let near: HashSet<Square> =
            self.wanted.iter().copied().filter(|it| is_near(*it, &from, spreading)).collect();
        self.wanted.retain(|it| near.contains(it));
        // One behind the other, they are beside each other.
        keep_turn(&mut self.wanted, n_max, turn);
        let to: BTreeSet<Square> = self.wanted.iter().copied().collect();
        let mut n_of: BTreeMap<Square, usize> = BTreeMap::new();
        let mut spare: Vec<(usize, &Idle)> = Vec::new();
        for it in &self.spare {
            let n = n_of.entry(Square::at(it.at)).or_default();
            spare.push((*n, *it));
            *n += 1;
        }
        n_of.retain(|square, _| is_near(*square, &to, spreading));
        spare.retain(|(_, it)| n_of.contains_key(&Square::at(it.at)));
        // Some of each square rather than all of some.
        spare.sort_by_key(|(n, _)| *n);
        self.spare = spare.into_iter().map(|(_, it)| it).collect();
        keep_turn(&mut self.spare, n_max, turn);
    }

    fn even_out(self, spreading: &Spreading) -> Vec<Hint> {
        let Self { wanted, spare } = self;
        let reach_m = f64::from(spreading.reach_m);
        let mut edges = Edges::new(spare.len());
        for at in &wanted {
            let middle = at.middle();
            let ways = (0..).zip(&spare).map(|(n, it)| (n, it.at.distance_m(middle)));
            edges.push_row(ways.filter(|(_, m)| *m <= reach_m).map(|(n, m)| (n, m as u32)));
        }
        let sent = wanted.iter().zip(assign(&edges));
        sent.filter_map(|(to, n)| n.map(|n| Hint { driver: spare[n as usize].driver, to: *to }))
            .collect()
    }
}

/// Could anybody get from one of these squares to that one, or back?
fn is_near(square: Square, others: &BTreeSet<Square>, spreading: &Spreading) -> bool {
    let reach_m = f64::from(spreading.reach_m) + Square::SIDE_M;
    let rows = (reach_m / Square::SIDE_M).ceil() as i32;
    let from = Square { row: square.row.saturating_sub(rows), column: i32::MIN };
    let to = Square { row: square.row.saturating_add(rows), column: i32::MAX };
    let middle = square.middle();
    others.range(from..=to).any(|it| it.middle().distance_m(middle) <= reach_m)
}

/// Keeps so many at most: those that follow those of the turn before.
fn keep_turn<T>(all: &mut Vec<T>, n_max: usize, turn: usize) {
    if all.len() > n_max {
        let n_before = turn.wrapping_mul(n_max) % all.len();
        all.rotate_left(n_before);
        all.truncate(n_max);
    }
}

#[cfg(test)]
mod tests;
