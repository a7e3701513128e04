//! The drivers a round may propose, by where they are.

use crate::{
    DriverCard, Router,
    grid::Grid,
    router::{Speeds, Spot},
};
use protocol::{DriverId, Point, work::VehicleKind};
use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
    sync::Arc,
};

/// The side of a field's cells where drivers are dense; doubled up to four times where they are not.
const CELL_MIN_M: f32 = 50.0;
/// How far a region's grid reaches: over its own cell and the ring around it.
const REACH_M: f32 = 30_000.0;
/// Most cells of a region's grid, for each driver in it.
const CELLS_PER_DRIVER_MAX: f32 = 2_048.0;
/// So many drivers do not fit into the processor's nearest memory: it pays to put them in order.
const N_CROWD: usize = 2_000;

/// The drivers a round may propose, by where they are.
#[derive(Debug)]
pub struct Field {
    centre: Point,
    pub(crate) grid: Grid,
    cell_m: f32,
    drivers: Vec<Arc<DriverCard>>,
    /// Where each of them starts, as the router numbers it.
    spots: Vec<Spot>,
    numbers: HashMap<DriverId, u32, BuildHasherDefault<LastBits>>,
    /// What kinds of vehicles there are.
    kinds: Vec<VehicleKind>,
}

impl Field {
    /// An empty field around a place.
    pub fn new(centre: Point) -> Self {
        Self {
            centre,
            grid: Grid::new(centre, REACH_M, CELL_MIN_M * 16.0),
            cell_m: CELL_MIN_M * 16.0,
            drivers: Vec::new(),
            spots: Vec::new(),
            numbers: HashMap::default(),
            kinds: Vec::new(),
        }
    }

    /// Replaces everyone. A driver who comes twice (between two regions) counts where it was seen last.
    pub fn fill(
        &mut self,
        drivers: impl IntoIterator<Item = Arc<DriverCard>>,
        router: &dyn Router,
    ) {
        self.drivers.clear();
        self.numbers.clear();
        for card in drivers {
            let n = *self.numbers.entry(card.id).or_insert(self.drivers.len() as u32);
            match self.drivers.get_mut(n as usize) {
                Some(known) if known.seen_at < card.seen_at => *known = card,
                Some(_) => {}
                None => self.drivers.push(card),
            }
        }
        let cell_m = self.fitting_cell_m();
        if cell_m == self.cell_m {
            self.grid.clear();
        } else {
            self.cell_m = cell_m;
            self.grid = Grid::new(self.centre, REACH_M, cell_m);
        }
        if self.drivers.len() >= N_CROWD {
            // Neighbours in the city become neighbours in memory.
            self.drivers.sort_by_cached_key(|card| (self.grid.place(card.start().0), card.id));
        }
        self.spots.clear();
        self.kinds.clear();
        for (n, card) in (0..).zip(&self.drivers) {
            let kind = card.vehicle.kind;
            if !self.kinds.contains(&kind) {
                self.kinds.push(kind);
            }
            let (at, _) = card.start();
            self.grid.upsert(n, at);
            self.spots.push(router.spot(at));
        }
    }

    /// Cells with one driver to four each: fewer means walking over empty ones, more means comparing
    /// with drivers who are not near. Few drivers get a coarse grid, however near to each other they are:
    /// a fine one is megabytes, and a node has thousands of regions.
    fn fitting_cell_m(&self) -> f32 {
        let (mut low, mut high) =
            (Point { lat: 90.0, lon: 180.0 }, Point { lat: -90.0, lon: -180.0 });
        for (at, _) in self.drivers.iter().map(|card| card.start()) {
            (low.lat, low.lon) = (low.lat.min(at.lat), low.lon.min(at.lon));
            (high.lat, high.lon) = (high.lat.max(at.lat), high.lon.max(at.lon));
        }
        let width_m = low.distance_m(Point { lon: high.lon, ..low });
        let height_m = low.distance_m(Point { lat: high.lat, ..low });
        let n_drivers = self.drivers.len().max(1) as f64;
        let room_m = (width_m * height_m / n_drivers).sqrt() as f32;
        let whole_m = 2.0 * REACH_M;
        let least_m = whole_m / (n_drivers as f32 * CELLS_PER_DRIVER_MAX).sqrt();
        (0..4)
            .map(|n| CELL_MIN_M * f32::from(1_u8 << n))
            .find(|it| *it >= room_m && *it >= least_m)
            .unwrap_or(CELL_MIN_M * 16.0)
    }

    /// How many drivers there are.
    pub fn len(&self) -> usize {
        self.drivers.len()
    }

    /// Is nobody there?
    pub fn is_empty(&self) -> bool {
        self.drivers.is_empty()
    }

    /// A grid of those who are not taken: of many drivers, few may be left.
    pub(crate) fn without(&self, is_taken: &[bool]) -> Grid {
        let mut grid = Grid::new(self.centre, REACH_M, CELL_MIN_M * 16.0);
        for ((n, card), _) in (0..).zip(&self.drivers).zip(is_taken).filter(|(_, taken)| !**taken) {
            grid.upsert(n, card.start().0);
        }
        grid
    }

    /// The fastest kind of vehicle there is, of these kinds, or of all where none is named.
    pub(crate) fn fastest(&self, kinds: &[VehicleKind], speeds: &Speeds) -> Option<VehicleKind> {
        let those = self.kinds.iter().filter(|it| kinds.is_empty() || kinds.contains(it));
        those.copied().max_by(|a, b| speeds.of(*a).total_cmp(&speeds.of(*b)))
    }

    /// The driver with this number.
    pub(crate) fn card(&self, n: u32) -> &DriverCard {
        &self.drivers[n as usize]
    }

    /// Where the router sees it.
    pub(crate) fn spot(&self, n: u32) -> Spot {
        self.spots[n as usize]
    }
}

/// Ids are random already, at their end: hashing them again would be most of the work of a round.
#[derive(Debug, Default)]
struct LastBits(u64);

impl Hasher for LastBits {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        let mut last = [0; 8];
        for (to, from) in last.iter_mut().rev().zip(bytes.iter().rev()) {
            *to ^= *from;
        }
        // The table takes the highest bits, where an id says of which kind it is.
        self.0 = (self.0 ^ u64::from_be_bytes(last)).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }

    fn write_usize(&mut self, _length: usize) {}
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::Settings;
    use protocol::{Timestamp, work::Vehicle};

    const KIGALI: Point = Point { lat: -1.9441, lon: 30.0619 };

    #[test]
    fn few_drivers_have_a_coarse_field_however_near_to_each_other_they_are() {
        let vehicle =
            Arc::new(Vehicle { kind: VehicleKind::Moto, capacity_g: 20_000, skills: vec![] });
        let cell_m = |n_drivers| {
            let mut field = Field::new(KIGALI);
            let together = (0..n_drivers)
                .map(|n| Arc::new(DriverCard::nth(n, vehicle.clone(), KIGALI, Timestamp(0))));
            field.fill(together, &Settings::default().straight());
            field.cell_m
        };
        // A fine one takes megabytes, and a node has a region for every town.
        assert_eq!(cell_m(0), CELL_MIN_M * 16.0);
        assert_eq!(cell_m(1), CELL_MIN_M * 16.0);
        assert_eq!(cell_m(2_000), CELL_MIN_M);
    }
}
