//! What was learned of ways, as it is kept: plain, small, and looked at before it is believed.
//!
//! A place or a pair of them is 14 bytes at most in MessagePack, and all of it a quarter of a megabyte.

use super::{BANDS, HOURS, Mean, N_MAX, ONE_IN_TEN, PLACES_MAX, Ways};
use crate::router::{Leg, Router};
use protocol::{Point, Timestamp, work::VehicleKind};
use serde::{Deserialize, Serialize};

/// No mean is further from what was expected, either way: the logarithm of so many times.
const MEAN_MAX: f32 = 8.0;
/// What is around a place less than this further on, in metres, is around the same place.
const SAME_PLACE_M: f64 = 1.0;
/// A router that says less than one in so many else than another is the same, or another map of the same streets.
const SAME_ROUTER: u64 = 5;
/// How far the ways go that tell one router from another, in metres.
const PROBES_M: [f64; 2] = [1_500.0, 6_000.0];

/// How many ways, and their mean.
type Kept = (u16, f32);

/// [`Ways`], to be kept and gone on from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptWays {
    /// Around where.
    middle: Point,
    /// How long the router said that some ways take, in milliseconds: what was learned is true of no other.
    probes: Vec<u32>,
    n: u16,
    all: Kept,
    bands: Vec<Kept>,
    hours: Vec<Kept>,
    /// By where ways begin: the number of the square.
    from: Vec<(u16, u16, f32)>,
    /// By where they end.
    to: Vec<(u16, u16, f32)>,
    /// By both.
    pairs: Vec<(u32, u16, f32)>,
    scatter: Kept,
}

impl Ways {
    /// What there is to keep. `middle` is what they were made around, and `router` what they better.
    pub fn kept(&self, middle: Point, router: &dyn Router) -> KeptWays {
        let mut places: Vec<_> =
            self.places.iter().map(|(key, mean)| (*key, pack(*mean))).collect();
        places.sort_unstable_by_key(|(key, _)| *key);
        let of = |kind: u64| {
            let those = places.iter().filter(move |(key, _)| key >> 32 == kind);
            those.map(|(key, (n, mean))| (*key as u32, *n, *mean))
        };
        let ends = |kind| of(kind).map(|(square, n, mean)| (square as u16, n, mean)).collect();
        KeptWays {
            middle,
            probes: probes(middle, router),
            n: self.n as u16,
            all: pack(self.all),
            bands: self.bands.iter().copied().map(pack).collect(),
            hours: self.hours.iter().copied().map(pack).collect(),
            from: ends(1),
            to: ends(2),
            pairs: of(3).collect(),
            scatter: pack(self.scatter),
        }
    }

    /// Goes on from what was kept; none, if that makes no sense, or was learned around another place or of another router.
    pub fn resume(kept: &KeptWays, middle: Point, router: &dyn Router) -> Option<Self> {
        let n_places = kept.from.len() + kept.to.len() + kept.pairs.len();
        let is_of_these = kept.is_around(middle) && kept.is_of(&probes(middle, router));
        if !is_of_these || n_places > PLACES_MAX {
            return None;
        }
        let mut ways = Self::new(middle);
        ways.n = f32::from(kept.n).min(N_MAX);
        ways.all = unpack(kept.all)?;
        ways.scatter = unpack(kept.scatter).filter(|it| it.mean >= 0.0)?;
        ways.scatter_times = (ways.scatter.mean * ONE_IN_TEN).exp();
        if (kept.bands.len(), kept.hours.len()) != (BANDS, HOURS) {
            return None;
        }
        let means = ways.bands.iter_mut().chain(ways.hours.iter_mut());
        for (mean, kept) in means.zip(kept.bands.iter().chain(&kept.hours)) {
            *mean = unpack(*kept)?;
        }
        let from =
            kept.from.iter().map(|(square, n, mean)| (1 << 32 | u64::from(*square), (*n, *mean)));
        let to =
            kept.to.iter().map(|(square, n, mean)| (2 << 32 | u64::from(*square), (*n, *mean)));
        let pairs =
            kept.pairs.iter().map(|(pair, n, mean)| (3 << 32 | u64::from(*pair), (*n, *mean)));
        for (key, kept) in from.chain(to).chain(pairs) {
            ways.places.insert(key, unpack(kept)?);
        }
        Some(ways)
    }

    /// Has it seen as many ways as are in what was kept?
    pub fn has_seen_as_much_as(&self, kept: &KeptWays) -> bool {
        self.n >= f32::from(kept.n).min(N_MAX)
    }
}

impl KeptWays {
    /// Was it learned around this place, but of another router? Whoever has that one can go on from it.
    pub fn is_of_another_router(&self, middle: Point, router: &dyn Router) -> bool {
        self.is_around(middle) && !self.is_of(&probes(middle, router))
    }

    fn is_around(&self, middle: Point) -> bool {
        self.middle.distance_m(middle) < SAME_PLACE_M
    }

    fn is_of(&self, probes: &[u32]) -> bool {
        are_alike(&self.probes, probes)
    }
}

fn pack(Mean { n, mean }: Mean) -> Kept {
    // No more than `N_MAX`, and whole.
    (n as u16, mean)
}

/// None, if it can be no mean of ways.
fn unpack((n, mean): Kept) -> Option<Mean> {
    let is_mean = mean.is_finite() && mean.abs() <= MEAN_MAX;
    is_mean.then_some(Mean { n: f32::from(n).min(N_MAX), mean })
}

/// How long some ways from a place take, to all four sides, by two kinds of vehicle.
fn probes(middle: Point, router: &dyn Router) -> Vec<u32> {
    let sides = [(1.0, 0.0), (0.0, 1.0), (-1.0, 0.0), (0.0, -1.0)];
    let mut probes = Vec::new();
    for vehicle in [VehicleKind::Moto, VehicleKind::Car] {
        for (east, north) in sides {
            for far_m in PROBES_M {
                let to = middle.offset_m(east * far_m, north * far_m);
                let leg = Leg {
                    from: router.spot(middle),
                    to: router.spot(to),
                    distance_m: middle.distance_m(to) as f32,
                    vehicle,
                    leaving: Timestamp(0),
                };
                probes.push(router.eta(&leg).ms);
            }
        }
    }
    probes
}

fn are_alike(some: &[u32], others: &[u32]) -> bool {
    let is_alike = |(one, other): (&u32, &u32)| {
        u64::from(one.abs_diff(*other)) * SAME_ROUTER <= u64::from(*one.max(other))
    };
    some.len() == others.len() && some.iter().zip(others).all(is_alike)
}

#[cfg(test)]
mod tests;
