//! What regions know of drivers and of jobs that look for one.

use protocol::{
    DriverId, JobId, Point, RiderId, Timestamp,
    view::WorkKind,
    work::{Needs, OfferPolicy, Vehicle},
};
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};

/// One region: an H3 cell of resolution 5 (about 250 km²).
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct RegionId(pub h3o::CellIndex);

impl RegionId {
    /// The region a point is in.
    pub fn at(point: Point) -> Self {
        let point = h3o::LatLng::new(point.lat, point.lon).expect("a Point is finite");
        Self(point.to_cell(h3o::Resolution::Five))
    }

    /// The region of this name, as it is displayed.
    pub fn parse(name: &str) -> Option<Self> {
        let cell: h3o::CellIndex = name.strip_prefix("region-")?.parse().ok()?;
        (cell.resolution() == h3o::Resolution::Five).then_some(Self(cell))
    }

    /// It and so many rings around it.
    pub fn disk(self, rings: u8) -> impl Iterator<Item = Self> {
        let cells: Vec<h3o::CellIndex> = self.0.grid_disk(rings.into());
        cells.into_iter().map(Self)
    }

    /// Where its jobs live: hashed from the cell, so that a region and its jobs share a node.
    pub fn shard(self) -> protocol::ShardId {
        protocol::ShardId::of(&u64::from(self.0).to_be_bytes())
    }
}

impl fmt::Display for RegionId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "region-{}", self.0)
    }
}

/// What one region should know about one entity.
#[derive(Debug, Clone, PartialEq)]
pub struct Listing {
    /// Where.
    pub region: RegionId,
    /// What.
    pub card: Card,
}

/// An entity as regions see it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Card {
    /// A driver who can be offered work.
    Driver(DriverCard),
    /// A job that looks for a driver.
    Search(Box<SearchCard>),
}

/// A driver who can be offered work. One who cannot is not listed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DriverCard {
    /// Who.
    pub id: DriverId,
    /// Where; moves only with the cell, or every two seconds.
    pub at: Point,
    /// When it was there.
    pub seen_at: Timestamp,
    /// With what.
    pub vehicle: Arc<Vehicle>,
    /// Is it free of all work? Only then can it take a ride or a rescue.
    pub is_free: bool,
    /// Does it have room for a delivery?
    pub has_delivery_slot: bool,
    /// Is it about to end a ride? Then it can take one more job after it.
    pub is_nearly_free: bool,
    /// It wants only jobs that lead there.
    pub destination: Option<Point>,
    /// Since when it has had nothing to do.
    pub idle_since: Timestamp,
    /// Mean rating in hundredths of a star; 500 if unrated.
    pub rating: u16,
}

/// A job that looks for a driver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SearchCard {
    /// Which.
    pub job: JobId,
    /// What taking it does to a driver's slots.
    pub work: WorkKind,
    /// Who waits; never offered to the same person as a driver.
    pub rider: RiderId,
    /// Where they wait.
    pub pickup: Point,
    /// Where they want to go, if that is known.
    pub dropoff: Option<Point>,
    /// What the driver must bring.
    pub needs: Needs,
    /// How to choose.
    pub policy: OfferPolicy,
    /// When the first round opened: its age drives the hold.
    pub opened_at: Timestamp,
    /// The round that proposals answer; grows when the search changes.
    pub round: u32,
    /// No driver further away than this, in metres.
    pub radius_m: u32,
    /// How many more drivers may be offered it at once.
    pub n_wanted: u8,
    /// Drivers not to propose: they declined, cancelled, or hold an offer.
    pub excluded: Vec<DriverId>,
    /// The only driver to propose, for `direct`.
    pub only: Option<DriverId>,
}
