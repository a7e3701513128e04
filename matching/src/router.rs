//! How long a way takes: what every router answers, and the ways there are to know.
//!
//! A router numbers places once ([`Router::spot`]), because one round asks about the same few
//! thousand places again and again; after that an answer is a look into a table or a product.

mod learned;
mod roads;
mod straight;

pub use learned::{Gone, Learned, Ways};
pub use roads::{NoRoads, Road, Roads, Times};
pub use straight::{Speeds, Straight};

use protocol::{Point, Timestamp, work::VehicleKind};
use std::fmt;

/// A place, as one router numbers it. Means nothing to another one.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spot(pub u32);

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

/// Knows how long ways take. Answers at once: whatever it knows, it has in memory.
pub trait Router: fmt::Debug + Send + Sync {
    /// The number of a place.
    fn spot(&self, at: Point) -> Spot;
    /// How long a way takes.
    fn eta(&self, leg: &Leg) -> Eta;
    /// Is a way always longer, the further away its end is? Then the nearest need not be compared.
    fn follows_distance(&self) -> bool {
        false
    }
}
