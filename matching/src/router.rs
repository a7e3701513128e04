//! How long a way takes: what every router answers, and the ways there are to know.
//!
//! A router numbers places once ([`Router::spot`]), because one round asks about the same few
//! thousand places again and again; after that an answer is a look into a table or a product.

mod learned;
mod roads;
mod straight;

pub use learned::{Gone, KeptWays, Learned, Ways};
pub use roads::{NoRoads, Road, Roads, Times};
pub use straight::{Speeds, Straight};

use protocol::{Point, Timestamp, trace::ModelName, work::VehicleKind};
use std::{fmt, time::Duration};

/// A place, as one router numbers it. Means nothing to another one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spot {
    /// Its number.
    pub n: u32,
    /// How far it is from what has this number, in metres; 0 for routers that do not care.
    pub off_m: u16,
}

impl Spot {
    /// Right at what has this number.
    pub const fn at(n: u32) -> Self {
        Self { n, off_m: 0 }
    }
}

/// A way somebody may have to go.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Leg {
    /// Where from.
    pub from: Spot,
    /// Where to.
    pub to: Spot,
    /// How far that is as the crow flies, in metres.
    pub distance_m: f32,
    /// With what.
    pub vehicle: VehicleKind,
    /// When they would leave.
    pub leaving: Timestamp,
}

/// How long a way takes, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Eta {
    /// As likely more as less.
    pub ms: u32,
    /// One in ten takes less.
    pub low_ms: u32,
    /// One in ten takes more.
    pub high_ms: u32,
}

impl Eta {
    /// One way after the other. What makes the one slow mostly makes the next slow, too: so the ends are added as well.
    #[must_use]
    pub fn then(self, next: Self) -> Self {
        Self {
            ms: self.ms.saturating_add(next.ms),
            low_ms: self.low_ms.saturating_add(next.low_ms),
            high_ms: self.high_ms.saturating_add(next.high_ms),
        }
    }
}

impl From<Eta> for protocol::view::Eta {
    fn from(Eta { ms, low_ms, high_ms }: Eta) -> Self {
        Self { s: ms.div_ceil(1_000), low_s: low_ms / 1_000, high_s: high_ms.div_ceil(1_000) }
    }
}

/// By what a router knows better.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Learning {
    /// What it is called.
    pub name: ModelName,
    /// Which version of it.
    pub version: u32,
    /// How many ways it has learned of, as far as it counts.
    pub n_learned: u32,
}

/// How long it takes from the first of these places to each of the others, one after the other.
pub fn along(
    router: &dyn Router,
    places: &[Point],
    vehicle: VehicleKind,
    leaving: Timestamp,
) -> Vec<Eta> {
    let mut so_far = Eta::default();
    let legs = places.windows(2).map(|ends| {
        let leg = Leg {
            from: router.spot(ends[0]),
            to: router.spot(ends[1]),
            distance_m: ends[0].distance_m(ends[1]) as f32,
            vehicle,
            leaving: leaving + Duration::from_millis(so_far.ms.into()),
        };
        so_far = so_far.then(router.eta(&leg));
        so_far
    });
    legs.collect()
}

/// Knows how long ways take. Answers at once: whatever it knows, it has in memory.
pub trait Router: fmt::Debug + Send + Sync {
    /// The number of a place.
    fn spot(&self, at: Point) -> Spot;
    /// How long a way takes; as likely as can be said, where none is known.
    fn eta(&self, leg: &Leg) -> Eta;
    /// The same without what was learned of ways, for a router that learns.
    fn untaught(&self, leg: &Leg) -> Eta {
        self.eta(leg)
    }
    /// Both of each of several ways, in their order, the second in milliseconds. Rounds ask for all whom a search weighs: a router
    /// that learns works the second out on its way to the first, and what the ways have in common once.
    fn etas_and_untaught_ms(&self, legs: &[Leg], etas: &mut Vec<(Eta, u32)>) {
        etas.clear();
        etas.extend(legs.iter().map(|leg| {
            let eta = self.eta(leg);
            (eta, eta.ms)
        }));
    }
    /// What it knows better by, and how much that has learned; none, if it has learned nothing, or does not learn.
    fn model(&self) -> Option<Learning> {
        None
    }
    /// The same, if a way is known: for what is promised by it.
    fn way(&self, leg: &Leg) -> Option<Eta> {
        Some(self.eta(leg))
    }
    /// How far a way goes along streets, in metres, if it is known which.
    fn driven_m(&self, _leg: &Leg) -> Option<f32> {
        None
    }
    /// How many of the nearest are asked for their way where `n` are weighed: no more, where a way is always longer the
    /// further away its end is; more where some that are near are far to go.
    fn n_sifted(&self, n: usize) -> usize {
        3 * n
    }
}
