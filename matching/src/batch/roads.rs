//! How long ways take, as batches ask: of all places of a trip at once.
//!
//! ```text
//!  region: Asked (a router; each way once in a look) ──► Legs, in whole seconds ──► run: Known (what was said, else the crow's way)
//! ```

use super::Pace;
use crate::{
    Router,
    router::{Leg, Spot},
};
use foldhash::fast::FixedState;
use protocol::{Point, Timestamp, work::VehicleKind};
use serde::{Deserialize, Serialize};
use std::{cell::RefCell, collections::HashMap};

/// Knows how long it takes between places.
pub trait Between {
    /// From each of these places to each of them, row by row, in seconds.
    fn table(&self, places: &[Point]) -> Vec<f64>;
}

/// From each of these places to each of them, row by row.
fn each_to_each(places: &[Point], seconds: impl Fn(Point, Point) -> f64) -> Vec<f64> {
    let seconds = &seconds;
    places.iter().flat_map(|from| places.iter().map(move |to| seconds(*from, *to))).collect()
}

/// As the crow flies: for where nobody was asked.
impl Between for Pace {
    fn table(&self, places: &[Point]) -> Vec<f64> {
        each_to_each(places, |from, to| self.crow_s(from, to))
    }
}

impl Pace {
    fn crow_s(&self, from: Point, to: Point) -> f64 {
        if from == to { 0.0 } else { from.distance_m(to) / f64::from(self.crow_mps).max(0.1) }
    }
}

/// How long it takes between some places, as a router said.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Legs {
    /// Which places.
    pub places: Vec<Point>,
    /// From each to each, row by row, in seconds.
    pub seconds: Vec<u32>,
}

impl Legs {
    /// What is said of these places, each named once.
    pub fn of(places: impl IntoIterator<Item = Point>, between: &impl Between) -> Self {
        let mut distinct: Vec<Point> = Vec::new();
        for at in places {
            if !distinct.contains(&at) {
                distinct.push(at);
            }
        }
        let seconds = between.table(&distinct).into_iter().map(|s| s.round() as u32).collect();
        Self { places: distinct, seconds }
    }

    /// The same, as a router says it of one kind of vehicle that leaves then.
    pub fn by(
        router: &dyn Router,
        places: impl IntoIterator<Item = Point>,
        vehicle: VehicleKind,
        leaving: Timestamp,
    ) -> Self {
        Self::of(places, &Asked::new(router, leaving).by(vehicle))
    }

    /// Does it say nothing?
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The number of a place.
    fn number(&self, at: Point) -> Option<usize> {
        self.places.iter().position(|it| *it == at)
    }
}

/// What was said of ways, the latest first; whatever was not is gone as the crow flies.
#[derive(Debug)]
pub struct Known<'a> {
    /// What was said.
    pub legs: [&'a Legs; 2],
    /// How the crow gets along.
    pub pace: Pace,
}

impl Between for Known<'_> {
    fn table(&self, places: &[Point]) -> Vec<f64> {
        let numbers = self
            .legs
            .map(|legs| places.iter().map(|at| legs.number(*at)).collect::<Vec<Option<usize>>>());
        let said = |from: usize, to: usize| {
            self.legs.iter().zip(&numbers).find_map(|(legs, numbers)| {
                let cell = numbers[from]? * legs.places.len() + numbers[to]?;
                legs.seconds.get(cell).map(|s| f64::from(*s))
            })
        };
        let cells = (0..places.len()).flat_map(|from| (0..places.len()).map(move |to| (from, to)));
        cells
            .map(|(from, to)| {
                said(from, to).unwrap_or_else(|| self.pace.crow_s(places[from], places[to]))
            })
            .collect()
    }
}

/// A router, and what it has said in one look: each way is asked for once, however many trips it is part of.
#[derive(Debug)]
pub(super) struct Asked<'a> {
    router: &'a dyn Router,
    leaving: Timestamp,
    said: RefCell<Said>,
}

/// What a router has said.
#[derive(Debug, Default)]
struct Said {
    /// By the bits of its latitude and longitude.
    numbers: HashMap<[u64; 2], u32, FixedState>,
    places: Vec<(Point, Spot)>,
    seconds: HashMap<(u32, u32, VehicleKind), f64, FixedState>,
}

impl<'a> Asked<'a> {
    /// Nothing was asked yet. Everybody leaves then.
    pub(super) fn new(router: &'a dyn Router, leaving: Timestamp) -> Self {
        Self { router, leaving, said: RefCell::default() }
    }

    /// Asks for one kind of vehicle.
    pub(super) fn by(&self, vehicle: VehicleKind) -> By<'_> {
        By { asked: self, vehicle }
    }
}

/// The same, for one kind of vehicle.
#[derive(Debug, Clone, Copy)]
pub(super) struct By<'a> {
    asked: &'a Asked<'a>,
    vehicle: VehicleKind,
}

impl Between for By<'_> {
    fn table(&self, places: &[Point]) -> Vec<f64> {
        let Asked { router, leaving, said } = self.asked;
        let mut said = said.borrow_mut();
        let numbers: Vec<u32> = places.iter().map(|at| said.number(*at, *router)).collect();
        let mut table = Vec::with_capacity(places.len() * places.len());
        for from in &numbers {
            for to in &numbers {
                table.push(said.seconds(*from, *to, self.vehicle, *leaving, *router));
            }
        }
        table
    }
}

impl Said {
    fn number(&mut self, at: Point, router: &dyn Router) -> u32 {
        let Self { numbers, places, .. } = self;
        *numbers.entry([at.lat.to_bits(), at.lon.to_bits()]).or_insert_with(|| {
            places.push((at, router.spot(at)));
            places.len() as u32 - 1
        })
    }

    fn seconds(
        &mut self,
        from: u32,
        to: u32,
        vehicle: VehicleKind,
        leaving: Timestamp,
        router: &dyn Router,
    ) -> f64 {
        if from == to {
            return 0.0;
        }
        let Self { places, seconds, .. } = self;
        *seconds.entry((from, to, vehicle)).or_insert_with(|| {
            let [(from, from_spot), (to, to_spot)] = [from, to].map(|it| places[it as usize]);
            let leg = Leg {
                from: from_spot,
                to: to_spot,
                distance_m: from.distance_m(to) as f32,
                vehicle,
                leaving,
            };
            f64::from(router.eta(&leg).ms) / 1_000.0
        })
    }
}
