//! Of which part of the map a dispatcher is told, and in which it acts: some cells of the H3 grid, or everywhere.
//!
//! Only dispatchers have one: admins see everything, and riders and drivers their own, wherever they are.

use h3o::{CellIndex, LatLng, Resolution};
use protocol::{PartnerId, Point, Principal, ZoneId};
use serde::{Deserialize, Serialize};
use std::{fmt, sync::Arc};
use thiserror::Error;

/// Most regions that a token names.
pub(crate) const REGIONS_MAX: usize = 64;
/// How many of them are named to whoever wants something elsewhere.
const NAMED_MAX: usize = 8;
/// Longest that is said of a name that names no cell, in characters.
const NAME_CHARS_MAX: usize = 64;

/// Everywhere, unless regions are named.
#[derive(Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "Vec<ZoneId>", into = "Vec<ZoneId>")]
pub(crate) struct Scope(Option<Arc<Regions>>);

#[derive(Debug, PartialEq, Eq)]
struct Regions {
    /// Sorted, and none twice.
    cells: Vec<CellIndex>,
    /// Which sizes they have.
    resolutions: Vec<Resolution>,
}

/// Regions that cannot be meant.
#[derive(Debug, Error, PartialEq, Eq)]
pub(crate) enum NoScope {
    /// There is not one.
    #[error("regions: name at least one, or leave them out")]
    Nowhere,
    /// They are no list of names.
    #[error("regions: a list of cells such as zone-0000000000000000…, and nothing else")]
    NoList,
    /// There are too many.
    #[error("regions: {} at most", REGIONS_MAX)]
    TooMany,
    /// A name is none of a cell.
    #[error(
        "regions: {0:?} is no cell of the H3 grid of resolution 0 to 9, such as zone-0000000000000000…"
    )]
    NoCell(String),
}

/// Who asks for something, and where that may be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Asker {
    pub(crate) who: Principal,
    pub(crate) scope: Scope,
    /// Whose drivers it may have asked before others; staff may have anybody's.
    pub(crate) fleet: Option<Box<PartnerId>>,
}

impl Scope {
    /// The regions with these names.
    pub(crate) fn of<T: AsRef<str>>(names: &[T]) -> Result<Self, NoScope> {
        if names.is_empty() {
            return Err(NoScope::Nowhere);
        }
        if names.len() > REGIONS_MAX {
            return Err(NoScope::TooMany);
        }
        let cell = |name: &T| {
            let name = name.as_ref();
            let no_cell = || NoScope::NoCell(name.chars().take(NAME_CHARS_MAX).collect());
            name.parse().ok().and_then(cell_of).ok_or_else(no_cell)
        };
        let mut cells = names.iter().map(cell).collect::<Result<Vec<_>, _>>()?;
        cells.sort_unstable();
        cells.dedup();
        let mut resolutions: Vec<_> = cells.iter().map(|it| it.resolution()).collect();
        resolutions.sort_unstable();
        resolutions.dedup();
        Ok(Self(Some(Arc::new(Regions { cells, resolutions }))))
    }

    /// The regions that a token claims.
    pub(super) fn claimed(claim: &serde_json::Value) -> Result<Self, NoScope> {
        let names = claim.as_array().ok_or(NoScope::NoList)?;
        // Whoever names thousands is not heard out.
        let names: Option<Vec<&str>> =
            names.iter().take(REGIONS_MAX + 1).map(|name| name.as_str()).collect();
        Self::of(&names.ok_or(NoScope::NoList)?)
    }

    /// Is there nothing outside of it?
    pub(crate) fn is_everywhere(&self) -> bool {
        self.0.is_none()
    }

    /// Is a place in it?
    pub(crate) fn contains(&self, at: Point) -> bool {
        let Some(regions) = &self.0 else { return true };
        let at = LatLng::new(at.lat, at.lon).expect("a Point is finite");
        // Cells lie in each other only about, so that each size is asked.
        regions.resolutions.iter().any(|it| regions.cells.binary_search(&at.to_cell(*it)).is_ok())
    }

    /// Is all of a zone in it?
    pub(crate) fn covers(&self, zone: ZoneId) -> bool {
        let Some(regions) = &self.0 else { return true };
        let Some(zone) = cell_of(zone) else { return false };
        regions.cells.iter().any(|it| zone.parent(it.resolution()) == Some(*it))
    }

    /// Is any of a zone in it?
    pub(crate) fn meets(&self, zone: ZoneId) -> bool {
        let Some(regions) = &self.0 else { return true };
        let Some(zone) = cell_of(zone) else { return false };
        regions.cells.iter().any(|it| overlap(*it, zone))
    }

    /// Which regions it is; none, if it is everywhere.
    pub(crate) fn regions(&self) -> Vec<ZoneId> {
        let cells = self.0.iter().flat_map(|regions| &regions.cells);
        cells.map(|cell| ZoneId::of_cell((*cell).into())).collect()
    }
}

/// Do two cells share ground? The smaller one has its middle or a corner in the larger one, or is one of those it is made of: cells
/// lie in each other only about.
fn overlap(one: CellIndex, other: CellIndex) -> bool {
    let (small, large) =
        if one.resolution() < other.resolution() { (other, one) } else { (one, other) };
    let is_in = |at: LatLng| at.to_cell(large.resolution()) == large;
    small.parent(large.resolution()) == Some(large)
        || is_in(small.into())
        || small.boundary().iter().any(|corner| is_in(*corner))
}

impl fmt::Debug for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Scope({self})")
    }
}

/// In words, for whoever wants something elsewhere.
impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let regions = self.regions();
        if regions.is_empty() {
            return f.write_str("everywhere");
        }
        for (n, region) in regions.iter().take(NAMED_MAX).enumerate() {
            write!(f, "{}{region}", if n > 0 { ", " } else { "" })?;
        }
        match regions.len().checked_sub(NAMED_MAX) {
            Some(n_more @ 1..) => write!(f, " and {n_more} more"),
            Some(0) | None => Ok(()),
        }
    }
}

/// As it crosses nodes: no regions are everywhere.
impl From<Scope> for Vec<ZoneId> {
    fn from(scope: Scope) -> Self {
        scope.regions()
    }
}

impl TryFrom<Vec<ZoneId>> for Scope {
    type Error = NoScope;

    fn try_from(regions: Vec<ZoneId>) -> Result<Self, NoScope> {
        if regions.is_empty() {
            return Ok(Self::default());
        }
        let names: Vec<String> = regions.iter().map(ZoneId::to_string).collect();
        Self::of(&names)
    }
}

impl Asker {
    /// Somebody who may be told wherever it is.
    pub(crate) fn everywhere(who: Principal) -> Self {
        Self { who, scope: Scope::default(), fleet: None }
    }
}

/// The cell of a region: one of the sizes that zones have, or larger.
fn cell_of(region: ZoneId) -> Option<CellIndex> {
    let cell = CellIndex::try_from(region.cell()?).ok()?;
    (u8::from(cell.resolution()) <= *actors::zone::RESOLUTIONS.end()).then_some(cell)
}

#[cfg(test)]
mod tests;
