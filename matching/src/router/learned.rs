//! What ways really took, against what a router expected: it learns as ways are gone, and forgets as slowly.
//!
//! ```text
//!  log(took / expected)  ≈  all ways + how long it is + hour of the week + where from + where to + from there to there
//! ```
//!
//! Each part is a mean of what the parts before it leave, and counts the less the fewer ways it has seen. Places are
//! squares of a kilometre. All of it is bounded in memory, and may be kept and gone on from ([`KeptWays`]).

mod kept;

pub use kept::KeptWays;

use super::{Eta, Learning, Leg, Router, Spot};
use foldhash::fast::FixedState;
use protocol::{Point, Timestamp, trace::ModelName};
use std::collections::{HashMap, hash_map::Entry};

/// The side of the squares places are told apart by, in metres.
const SIDE_M: f64 = 1_000.0;
/// Metres per degree of latitude.
const LAT_DEGREE_M: f64 = 111_194.93;
/// So many ways count before older ones begin to fade.
const MEMORY: f32 = 200.0;
/// More than so many are not counted.
const N_MAX: f32 = 10_000.0;
/// So many ways that went as the parts before it say are thought beside those that were seen: for what is true of every
/// way, of which one alone says little, and for places.
const PRIOR: f32 = 20.0;
const PRIOR_OF_PLACES: f32 = 4.0;
/// Most places and pairs of them that are kept.
const PLACES_MAX: usize = 16_384;
/// Fewer ways than this say too little of how far they scatter.
const SCATTER_MIN: f32 = 20.0;
/// From the mean deviation to where one in ten lies beyond.
const ONE_IN_TEN: f32 = 1.6;
/// Ways that took so many times more, or less, are not believed.
const TIMES_MAX: f32 = 8.0;
/// The most that is learned: the logarithm of two and a half times as long, or as short.
const LIMIT: f32 = 0.916;
/// Shorter ways are not learned from, in milliseconds.
const MS_MIN: u32 = 10_000;
/// Bands of how long a way is expected to take: each is half as long again as the one before.
const BANDS: usize = 16;
/// Where each band but the first begins, in milliseconds.
const BANDS_FROM_MS: [u32; BANDS - 1] = {
    let (mut from_ms, mut ms, mut n) = ([0; BANDS - 1], 20_000.0, 0);
    while n < from_ms.len() {
        ms *= 1.5;
        from_ms[n] = ms as u32;
        n += 1;
    }
    from_ms
};
const HOURS: usize = 168;
const HOUR_MS: u64 = 3_600_000;

/// Which way of learning it is: another number for one that would make something else of the same ways.
const VERSION: u32 = 1;

/// A mean that fades.
#[derive(Debug, Clone, Copy, Default)]
struct Mean {
    n: f32,
    mean: f32,
}

impl Mean {
    fn record(&mut self, it: f32) {
        self.n = (self.n + 1.0).min(N_MAX);
        self.mean += (it - self.mean) / self.n.min(MEMORY);
    }

    /// Takes in what was seen before that: each counts as far as it is remembered.
    fn add(&mut self, before: Self) {
        let (now, then) = (self.n.min(MEMORY), before.n.min(MEMORY));
        if now == 0.0 {
            *self = before;
        } else if then > 0.0 {
            self.mean = (self.mean * now + before.mean * then) / (now + then);
            self.n = (self.n + before.n).min(N_MAX);
        }
    }

    /// As far as so few can be believed.
    fn believed(self, prior: f32) -> f32 {
        self.mean * self.n / (self.n + prior)
    }
}

/// What was learned of ways, around one place.
#[derive(Debug, Clone)]
pub struct Ways {
    origin: (f64, f64),
    lon_degree_m: f64,
    n: f32,
    all: Mean,
    bands: [Mean; BANDS],
    hours: Box<[Mean; HOURS]>,
    places: HashMap<u64, Mean, FixedState>,
    /// How far ways are off that was expected of them then, whichever way.
    scatter: Mean,
    /// By how many times one in ten is longer, or shorter, for that; never less than one.
    scatter_times: f32,
}

/// A way that has been gone.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Gone {
    /// As it was expected.
    pub leg: Leg,
    /// How long it took, in milliseconds.
    pub took_ms: u32,
}

impl Ways {
    /// Nothing is known yet. Places further than 128 km from `middle` are all the same to it.
    pub fn new(middle: Point) -> Self {
        let lon_degree_m = LAT_DEGREE_M * middle.lat.to_radians().cos().max(1e-3);
        let origin = (
            middle.lat * LAT_DEGREE_M / SIDE_M - 128.0,
            middle.lon * lon_degree_m / SIDE_M - 128.0,
        );
        Self {
            origin,
            lon_degree_m,
            n: 0.0,
            all: Mean::default(),
            bands: [Mean::default(); BANDS],
            hours: Box::new([Mean::default(); HOURS]),
            places: HashMap::default(),
            scatter: Mean::default(),
            scatter_times: 1.0,
        }
    }

    /// Does it know nothing yet?
    pub fn is_empty(&self) -> bool {
        self.n == 0.0
    }

    /// How many places and pairs of them it keeps.
    pub fn n_places(&self) -> usize {
        self.places.len()
    }

    /// Takes note of how long a way took. `router` is what is to be bettered, and numbered the places with
    /// [`Learned::spot`].
    pub fn learn(&mut self, gone: &Gone, router: &dyn Router) {
        let expected = router.eta(&under(&gone.leg));
        if expected.ms < MS_MIN || gone.took_ms < MS_MIN {
            return;
        }
        let times = gone.took_ms as f32 / expected.ms as f32;
        if !(1.0 / TIMES_MAX..=TIMES_MAX).contains(&times) {
            return;
        }
        let whole = times.ln().clamp(-LIMIT, LIMIT);
        if !self.is_empty() {
            let to = self.of_end(&gone.leg);
            let off = whole - self.log_times(&gone.leg, expected.ms, to);
            self.scatter.record(off.abs());
            self.scatter_times = (self.scatter.mean * ONE_IN_TEN).exp();
        }
        self.n = (self.n + 1.0).min(N_MAX);
        self.all.record(whole);
        // What a part has seen but is not believed yet is not left to those after it: together they would say it twice.
        let mut rest = whole - self.all.mean;
        let mut part = |mean: &mut Mean| {
            mean.record(rest);
            rest -= mean.mean;
        };
        part(&mut self.bands[band(expected.ms)]);
        part(&mut self.hours[hour(gone.leg.leaving)]);
        self.make_room();
        for key in keys(&gone.leg) {
            match self.places.entry(key) {
                Entry::Occupied(known) => part(known.into_mut()),
                Entry::Vacant(free) => part(free.insert(Mean::default())),
            }
        }
    }

    /// Takes in what was learned before that, around the same place and of the same router.
    pub fn add(&mut self, before: &Self) {
        self.n = (self.n + before.n).min(N_MAX);
        self.all.add(before.all);
        let bands = self.bands.iter_mut().zip(&before.bands);
        let hours = self.hours.iter_mut().zip(before.hours.iter());
        bands.chain(hours).for_each(|(mean, before)| mean.add(*before));
        for (key, before) in &before.places {
            self.places.entry(*key).or_default().add(*before);
        }
        self.make_room();
        self.scatter.add(before.scatter);
        self.scatter_times = (self.scatter.mean * ONE_IN_TEN).exp();
    }

    /// The logarithm of how many times as long as expected a way takes; `to` is what was learned of where it ends.
    fn log_times(&self, leg: &Leg, expected_ms: u32, to: f32) -> f32 {
        let [from_key, _, pair_key] = keys(leg);
        let sum = self.all.believed(PRIOR)
            + self.bands[band(expected_ms)].believed(PRIOR)
            + self.hours[hour(leg.leaving)].believed(PRIOR)
            + (self.of_place(from_key) + to + self.of_place(pair_key));
        sum.clamp(-LIMIT, LIMIT)
    }

    /// What was learned of ways that end where this one does.
    fn of_end(&self, leg: &Leg) -> f32 {
        let [_, to_key, _] = keys(leg);
        self.of_place(to_key)
    }

    fn of_place(&self, key: u64) -> f32 {
        self.places.get(&key).map_or(0.0, |it| it.believed(PRIOR_OF_PLACES))
    }

    /// Forgets half of them, those that were seen least, once there are too many.
    fn make_room(&mut self) {
        if self.places.len() + 3 <= PLACES_MAX {
            return;
        }
        let mut n_least = 1.0;
        while self.places.len() > PLACES_MAX / 2 {
            self.places.retain(|_, it| it.n > n_least);
            n_least *= 2.0;
        }
    }

    /// The number of the square a point is in: sixteen bits.
    fn square(&self, at: Point) -> u32 {
        let part = |it: f64| it.floor().clamp(0.0, 255.0) as u32;
        let row = part(at.lat * LAT_DEGREE_M / SIDE_M - self.origin.0);
        let column = part(at.lon * self.lon_degree_m / SIDE_M - self.origin.1);
        row << 8 | column
    }
}

/// A router, and what was learned about it. Its numbers of places hold both: a square, and below it what the router
/// beneath calls the place, which has no more than 65,536 of them.
#[derive(Debug, Clone, Copy)]
pub struct Learned<'a> {
    /// Expects.
    pub router: &'a dyn Router,
    /// Knows better.
    pub ways: &'a Ways,
}

impl Router for Learned<'_> {
    fn spot(&self, at: Point) -> Spot {
        let below = self.router.spot(at);
        Spot { n: self.ways.square(at) << 16 | below.n & 0xffff, ..below }
    }

    fn eta(&self, leg: &Leg) -> Eta {
        self.bettered(leg, self.router.eta(&under(leg)), self.ways.of_end(leg))
    }

    fn etas_and_untaught_ms(&self, legs: &[Leg], etas: &mut Vec<(Eta, u32)>) {
        etas.clear();
        let Some(first) = legs.first() else { return };
        // Mostly all of them end at one place.
        let (mut end, mut to) = (first.to, self.ways.of_end(first));
        for leg in legs {
            if leg.to != end {
                (end, to) = (leg.to, self.ways.of_end(leg));
            }
            let expected = self.router.eta(&under(leg));
            etas.push((self.bettered(leg, expected, to), expected.ms));
        }
    }

    fn untaught(&self, leg: &Leg) -> Eta {
        self.router.untaught(&under(leg))
    }

    fn model(&self) -> Option<Learning> {
        let learning = Learning {
            name: ModelName::LearnedWays,
            version: VERSION,
            n_learned: self.ways.n as u32,
        };
        (!self.ways.is_empty()).then_some(learning)
    }

    fn way(&self, leg: &Leg) -> Option<Eta> {
        let expected = self.router.way(&under(leg))?;
        Some(self.bettered(leg, expected, self.ways.of_end(leg)))
    }

    fn driven_m(&self, leg: &Leg) -> Option<f32> {
        self.router.driven_m(&under(leg))
    }

    fn n_sifted(&self, n: usize) -> usize {
        let below = self.router.n_sifted(n);
        // What is learned is not much beside what distance says. Where squares made ways 0.55 to 1.95 times as long, a
        // fifth more and three times as many came to the same total cost but for two parts in a million, with 1,000 drivers and 30, 300 and
        // 800 searches.
        if self.ways.is_empty() { below } else { below.max(n + n.div_ceil(5)) }
    }
}

impl Learned<'_> {
    /// What is expected of a way, as those that were gone say; `to` is what they say of where it ends.
    fn bettered(&self, leg: &Leg, expected: Eta, to: f32) -> Eta {
        if self.ways.is_empty() {
            return expected;
        }
        let times = self.ways.log_times(leg, expected.ms, to).exp();
        let ms = expected.ms as f32 * times;
        let (low_ms, high_ms) = if self.ways.scatter.n < SCATTER_MIN {
            ((expected.low_ms as f32 * times) as u32, (expected.high_ms as f32 * times) as u32)
        } else {
            ((ms / self.ways.scatter_times) as u32, (ms * self.ways.scatter_times) as u32)
        };
        Eta { ms: ms as u32, low_ms, high_ms }
    }
}

/// The way as the router beneath sees it.
fn under(leg: &Leg) -> Leg {
    let below = |spot: Spot| Spot { n: spot.n & 0xffff, ..spot };
    Leg { from: below(leg.from), to: below(leg.to), ..*leg }
}

/// Under which numbers a way's places are kept: where from, where to, and both.
fn keys(leg: &Leg) -> [u64; 3] {
    let (from, to) = (u64::from(leg.from.n >> 16), u64::from(leg.to.n >> 16));
    [1 << 32 | from, 2 << 32 | to, 3 << 32 | from << 16 | to]
}

fn band(ms: u32) -> usize {
    BANDS_FROM_MS.iter().filter(|from_ms| ms >= **from_ms).count()
}

fn hour(at: Timestamp) -> usize {
    (at.0 / HOUR_MS % HOURS as u64) as usize
}

#[cfg(test)]
mod tests;
