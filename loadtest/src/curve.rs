//! How many people ask, over the hours of a run: rates as a curve of straight pieces, and the moments that follow from it.
//!
//! The moments are fixed before anybody asks (an open model), so that a node which answers slowly is not asked less.

use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};

/// How busy each hour of a day is, beside the mean hour: a city that goes to work, eats, and goes home.
pub const DAY: [f64; 24] = [
    0.45, 0.30, 0.22, 0.18, 0.22, 0.45, 0.90, 1.45, 1.65, 1.25, 1.00, 1.00, //
    1.20, 1.10, 0.95, 1.00, 1.20, 1.60, 1.85, 1.65, 1.30, 1.10, 0.95, 0.68,
];

/// Seconds of an hour.
const HOUR_S: f64 = 3_600.0;

/// So many a second at this moment.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Knot {
    at_s: f64,
    per_s: f64,
    /// How many have asked by then.
    asked: f64,
}

/// A rate over time: straight between its knots, level before the first and after the last.
#[derive(Debug, Clone, PartialEq)]
pub struct Curve {
    knots: Vec<Knot>,
}

/// How people come at a given rate.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Pacing {
    /// As strangers do: each for themselves, so that sometimes many come at once.
    #[default]
    Poisson,
    /// Evenly, one after the other.
    Even,
}

impl Curve {
    /// A curve through `(second, how many a second)`. Seconds that go back count as the latest so far, and rates below
    /// zero as none; two knots at one second are a jump.
    pub fn through(points: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let mut knots: Vec<Knot> = Vec::new();
        for (at_s, per_s) in points {
            let per_s = if per_s.is_finite() { per_s.max(0.0) } else { 0.0 };
            let at_s = if at_s.is_finite() { at_s.max(0.0) } else { 0.0 };
            let knot = match knots.last() {
                None => Knot { at_s, per_s, asked: per_s * at_s },
                Some(before) => {
                    let at_s = at_s.max(before.at_s);
                    let lasting_s = at_s - before.at_s;
                    let asked = before.asked + (before.per_s + per_s) / 2.0 * lasting_s;
                    Knot { at_s, per_s, asked }
                }
            };
            knots.push(knot);
        }
        Self { knots }
    }

    /// The same rate all the time.
    pub fn constant(per_hour: f64) -> Self {
        Self::through([(0.0, per_hour / HOUR_S)])
    }

    /// Days of 24 hours, from this second of the first on, with so many an hour in the mean; `hours` says how busy each
    /// is beside it.
    pub fn days(per_hour: f64, hours: &[f64; 24], from_s: f64, lasting_s: f64) -> Self {
        let mean = hours.iter().sum::<f64>() / 24.0;
        let per_s = per_hour / HOUR_S / if mean > 0.0 { mean } else { 1.0 };
        // An hour's rate is the one in its middle.
        let rate_at = |second: f64| {
            let hour = second / HOUR_S - 0.5;
            let (whole, part) = (hour.floor(), hour - hour.floor());
            let of = |hour: f64| hours[hour.rem_euclid(24.0) as usize % 24];
            per_s * (of(whole) * (1.0 - part) + of(whole + 1.0) * part)
        };
        let first = ((from_s / HOUR_S - 0.5).floor() + 1.0) * HOUR_S + HOUR_S / 2.0;
        let n = (lasting_s / HOUR_S).ceil().max(0.0) as usize + 1;
        let middles = (0..n).map(|n| first + n as f64 * HOUR_S);
        let seconds = std::iter::once(from_s).chain(middles);
        Self::through(seconds.map(|second| (second - from_s, rate_at(second))))
    }

    /// So many an hour, and around `at_s` for a while `times` as many: it rises, holds and falls for so many seconds.
    pub fn spike(per_hour: f64, times: f64, at_s: f64, [rise_s, hold_s, fall_s]: [f64; 3]) -> Self {
        let (base, peak) = (per_hour / HOUR_S, per_hour * times / HOUR_S);
        Self::through([
            (0.0, base),
            (at_s, base),
            (at_s + rise_s, peak),
            (at_s + rise_s + hold_s, peak),
            (at_s + rise_s + hold_s + fall_s, base),
        ])
    }

    /// One stage after the other: in so many seconds the rate goes straight to so many an hour. It begins at `from`.
    pub fn stages(from_per_hour: f64, stages: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let mut at_s = 0.0;
        let ends = stages.into_iter().map(|(lasting_s, per_hour)| {
            at_s += f64::max(lasting_s, 0.0);
            (at_s, per_hour / HOUR_S)
        });
        Self::through(std::iter::once((0.0, from_per_hour / HOUR_S)).chain(ends))
    }

    /// The same in less time: as many a second, for a shorter while.
    #[must_use]
    pub fn compressed(mut self, by: f64) -> Self {
        for knot in &mut self.knots {
            knot.at_s /= by;
            knot.asked /= by;
        }
        self
    }

    /// How many a second at this second.
    pub fn per_s(&self, at_s: f64) -> f64 {
        let next = self.knots.partition_point(|knot| knot.at_s <= at_s);
        match (next.checked_sub(1).map(|n| self.knots[n]), self.knots.get(next)) {
            (None, None) => 0.0,
            (None, Some(first)) => first.per_s,
            (Some(last), None) => last.per_s,
            (Some(before), Some(after)) => {
                let part = (at_s - before.at_s) / (after.at_s - before.at_s);
                before.per_s + (after.per_s - before.per_s) * part
            }
        }
    }

    /// How many have asked by this second, in the mean.
    pub fn asked_by(&self, at_s: f64) -> f64 {
        let at_s = at_s.max(0.0);
        let next = self.knots.partition_point(|knot| knot.at_s <= at_s);
        match next.checked_sub(1).map(|n| self.knots[n]) {
            None => self.per_s(at_s) * at_s,
            Some(before) => {
                before.asked + (before.per_s + self.per_s(at_s)) / 2.0 * (at_s - before.at_s)
            }
        }
    }

    /// The second by which so many have asked; none, if that never comes.
    pub fn when(&self, asked: f64) -> Option<f64> {
        let next = self.knots.partition_point(|knot| knot.asked < asked);
        let before = next.checked_sub(1).map(|n| self.knots[n]);
        let start = before.unwrap_or(Knot { at_s: 0.0, per_s: self.per_s(0.0), asked: 0.0 });
        let missing = asked - start.asked;
        let slope = match self.knots.get(next) {
            Some(after) if before.is_some() => {
                (after.per_s - start.per_s) / (after.at_s - start.at_s)
            }
            Some(_) | None => 0.0,
        };
        if missing <= 0.0 {
            return Some(start.at_s);
        }
        // The root of slope/2 x² + rate x = missing, in the form that does not cancel for small slopes.
        let root = (start.per_s * start.per_s + 2.0 * slope * missing).max(0.0).sqrt();
        let sum = start.per_s + root;
        (sum > 0.0).then(|| start.at_s + 2.0 * missing / sum)
    }
}

/// The seconds at which people ask, ascending, all before `lasting_s`. The same seed: the same seconds.
pub fn arrivals(curve: &Curve, lasting_s: f64, pacing: Pacing, seed: u64) -> Vec<f64> {
    let total = curve.asked_by(lasting_s);
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0xa441_7a15);
    let mut asked = 0.0;
    let next = || {
        asked += match pacing {
            Pacing::Even if asked == 0.0 => 0.5,
            Pacing::Even => 1.0,
            Pacing::Poisson => -(1.0 - rng.random::<f64>()).ln(),
        };
        (asked < total).then_some(asked)
    };
    std::iter::from_fn(next)
        .filter_map(|asked| curve.when(asked))
        .take_while(|at_s| *at_s < lasting_s)
        .collect()
}

#[cfg(test)]
mod tests;
