//! What regions know of drivers and of jobs that look for one.

pub use matching::{DriverCard, SearchCard, batch::RunCard};

use protocol::Point;
use serde::{Deserialize, Serialize};
use std::fmt;

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
    /// A run that may take more along. Needs format 5, as the run does.
    Run(Box<RunCard>),
}
