//! Which of some drivers brings which of some orders, as staff want it: a manifest for each. Neither how far apart things are
//! nor what is saved counts, but what fits whom, what a vehicle holds and what was promised does.
//!
//! ```text
//!  greedy      who waits longest first, each where it costs least
//!  capacity    the heaviest first, each where it leaves the least room: few vehicles, and full ones
//!  sequencing  the cheapest first, then each again where it costs least now, until nothing gets better
//! ```
//!
//! What something costs is what a run counts: that somebody waits, that something waits to be fetched, that a vehicle drives.

use super::{
    Against, Chosen, Errand, Parcel, Settings, Trip,
    propose::{Look, Waiting},
    roads::Asked,
};
use crate::{DriverCard, Router, SearchCard, cost, fit::fits};
use protocol::{Timestamp, trace::WhyAlone};
use serde::{Deserialize, Serialize};
use std::{cmp::Ordering, sync::Arc};

/// How often everything is looked at again at most, for a better place.
const ROUNDS_MAX: usize = 50;
/// What is less is no gain, and would go on for ever.
const NOISE: f64 = 1e-6;

/// How orders are given to drivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Engine {
    /// Who waits longest first, each where it costs least.
    Greedy,
    /// The heaviest first, each where it leaves the least room: what a driver has is on board at once.
    Capacity,
    /// The cheapest first, and then all again as long as it gets better.
    Sequencing,
}

/// Who brings what.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Assigned {
    /// Of each driver who has something, in the order in which they were named.
    pub manifests: Vec<Chosen>,
    /// What nobody brings, and why.
    pub unassigned: Vec<Against>,
}

/// Gives orders to drivers. The same input gives the same answer.
pub fn assign(
    cards: &[Arc<SearchCard>],
    drivers: &[Arc<DriverCard>],
    engine: Engine,
    now: Timestamp,
    settings: &Settings,
    costs: &cost::Settings,
    router: &dyn Router,
) -> Assigned {
    let look = Look { drivers, now, settings, costs, asked: Asked::new(router, now) };
    let (mut all, mut unassigned) = (Vec::new(), Vec::new());
    for card in cards {
        match Waiting::of(card, now, settings) {
            Ok(waiting) => all.push(waiting),
            Err(why) => unassigned.extend(Against::of(card, why, None)),
        }
    }
    all.sort_by_key(|it| (it.card.opened_at, it.order));
    let parcels: Vec<Parcel> = all.iter().map(|it| it.parcel).collect();
    let vehicle = |driver: &Arc<DriverCard>| {
        let cart = look.cart_of(driver);
        let n_max = if driver.is_free { usize::from(cart.n_max) } else { 0 };
        let trip = Trip::new(cart, &parcels, &look.asked.by(driver.vehicle.kind));
        let may = all.iter().map(|it| fits(it.card, driver, now, costs)).collect();
        let (capacity_g, errands) = (cart.capacity_g, Vec::new());
        Vehicle { trip, n_max, capacity_g, may, errands, cost: 0.0 }
    };
    let mut fleet = Fleet { parcels: &parcels, vehicles: drivers.iter().map(vehicle).collect() };
    let left = match engine {
        Engine::Greedy => fleet.in_turn((0..all.len()).collect(), |_, _, more| Some([0.0, more])),
        Engine::Capacity => {
            let mut heaviest: Vec<usize> = (0..all.len()).collect();
            heaviest.sort_by_key(|it| std::cmp::Reverse(parcels[*it].weight_g));
            fleet.in_turn(heaviest, |vehicle, room_g, more| {
                let is_new = f64::from(u8::from(vehicle.errands.is_empty()));
                // A vehicle that has nothing yet comes after all that have something.
                room_g.map(|room_g| [is_new * f64::from(u32::MAX) * 2.0 + f64::from(room_g), more])
            })
        }
        Engine::Sequencing => {
            let left = fleet.cheapest_first();
            fleet.settle();
            fleet.in_turn(left, |_, _, more| Some([0.0, more]))
        }
    };
    unassigned.extend(left.into_iter().map(|it| all[it].against(fleet.why_left(it))));
    let manifest = |(vehicle, driver): (Vehicle, &Arc<DriverCard>)| {
        let Vehicle { trip, errands, .. } = vehicle;
        let best = trip.best(&errands, 0).unwrap_or(errands);
        if best.is_empty() { None } else { look.told(&all, driver, &trip, &best) }
    };
    let manifests = fleet.vehicles.into_iter().zip(drivers).filter_map(manifest).collect();
    Assigned { manifests, unassigned }
}

/// Everybody, and what they have so far.
struct Fleet<'a> {
    parcels: &'a [Parcel],
    vehicles: Vec<Vehicle>,
}

/// A driver's vehicle, and what it does.
struct Vehicle {
    /// Of all parcels.
    trip: Trip,
    /// Most of them.
    n_max: usize,
    capacity_g: u32,
    /// Which of them fit.
    may: Vec<bool>,
    errands: Vec<Errand>,
    cost: f64,
}

/// Where one more goes.
struct Place {
    vehicle: usize,
    /// With it.
    errands: Vec<Errand>,
    /// How much more that costs.
    more: f64,
}

impl Vehicle {
    fn n_parcels(&self) -> usize {
        self.errands.iter().filter(|it| it.is_pickup).count()
    }

    /// How heavy all of it is, in grams.
    fn weight_g(&self, parcels: &[Parcel]) -> u32 {
        let fetched = self.errands.iter().filter(|it| it.is_pickup);
        fetched.fold(0, |sum, it| sum.saturating_add(parcels[it.parcel as usize].weight_g))
    }

    /// What it does with one more, where that costs least, and how much more that is; none if it cannot.
    fn with(&self, parcel: usize) -> Option<(Vec<Errand>, f64)> {
        if !self.may[parcel] || self.n_parcels() >= self.n_max {
            return None;
        }
        let errands = self.trip.with(&self.errands, 0, parcel as u32)?;
        let more = self.trip.cost(&errands)? - self.cost;
        Some((errands, more))
    }
}

impl Fleet<'_> {
    /// Wherever one more could go.
    fn places(&self, parcel: usize) -> impl Iterator<Item = Place> {
        let place = move |(vehicle, it): (usize, &Vehicle)| {
            let (errands, more) = it.with(parcel)?;
            Some(Place { vehicle, errands, more })
        };
        self.vehicles.iter().enumerate().filter_map(place)
    }

    fn put(&mut self, place: Place) {
        let Place { vehicle, errands, more } = place;
        let vehicle = &mut self.vehicles[vehicle];
        vehicle.errands = errands;
        vehicle.cost += more;
    }

    /// One after the other, each where `rank` is least: of a vehicle, how much room it leaves if all is on board at once (none,
    /// if that is too much), and how much more it costs. What was left.
    fn in_turn(
        &mut self,
        turns: Vec<usize>,
        rank: impl Fn(&Vehicle, Option<u32>, f64) -> Option<[f64; 2]>,
    ) -> Vec<usize> {
        let mut left = Vec::new();
        for parcel in turns {
            let ranked = self.places(parcel).filter_map(|place| {
                let vehicle = &self.vehicles[place.vehicle];
                let weight_g = vehicle.weight_g(self.parcels);
                let weight_g = weight_g.saturating_add(self.parcels[parcel].weight_g);
                let room_g = vehicle.capacity_g.checked_sub(weight_g);
                Some((rank(vehicle, room_g, place.more)?, place))
            });
            match ranked.min_by(|(a, _), (b, _)| least(a, b)) {
                Some((_, place)) => self.put(place),
                None => left.push(parcel),
            }
        }
        left
    }

    /// Whichever costs least more, then whichever does next. What was left.
    fn cheapest_first(&mut self) -> Vec<usize> {
        let mut left: Vec<usize> = (0..self.parcels.len()).collect();
        // What each would cost with each vehicle, as that is now.
        let costs = |vehicle: &Vehicle, parcel: usize| vehicle.with(parcel).map(|it| it.1);
        let mut known: Vec<Vec<Option<f64>>> = self
            .vehicles
            .iter()
            .map(|vehicle| left.iter().map(|it| costs(vehicle, *it)).collect())
            .collect();
        loop {
            let pairs =
                (0..self.vehicles.len()).flat_map(|it| left.iter().map(move |of| (it, *of)));
            let priced = pairs.filter_map(|(it, parcel)| Some((known[it][parcel]?, it, parcel)));
            let Some((_, vehicle, parcel)) = priced.min_by(|a, b| a.0.total_cmp(&b.0)) else {
                return left;
            };
            let Some((errands, more)) = self.vehicles[vehicle].with(parcel) else {
                known[vehicle][parcel] = None;
                continue;
            };
            self.put(Place { vehicle, errands, more });
            left.retain(|it| *it != parcel);
            for other in &left {
                known[vehicle][*other] = costs(&self.vehicles[vehicle], *other);
            }
        }
    }

    /// Takes each out and puts it where it costs least, until nothing gets better.
    fn settle(&mut self) {
        for _ in 0..ROUNDS_MAX {
            let mut is_better = false;
            for parcel in 0..self.parcels.len() {
                is_better |= self.move_one(parcel);
            }
            if !is_better {
                return;
            }
        }
    }

    /// Is it anywhere else now, for less?
    fn move_one(&mut self, parcel: usize) -> bool {
        let is_it = |it: &Errand| it.parcel as usize == parcel;
        let Some(from) = self.vehicles.iter().position(|it| it.errands.iter().any(is_it)) else {
            return false;
        };
        let vehicle = &mut self.vehicles[from];
        let without: Vec<Errand> =
            vehicle.errands.iter().filter(|it| !is_it(it)).copied().collect();
        let Some(cost) = vehicle.trip.cost(&without) else { return false };
        let saved = vehicle.cost - cost;
        let before = std::mem::replace(&mut vehicle.errands, without);
        vehicle.cost = cost;
        let best = self.places(parcel).min_by(|a, b| a.more.total_cmp(&b.more));
        match best {
            Some(place) if place.more < saved - NOISE => {
                self.put(place);
                true
            }
            Some(_) | None => {
                let vehicle = &mut self.vehicles[from];
                vehicle.errands = before;
                vehicle.cost = cost + saved;
                false
            }
        }
    }

    /// Why nobody brings it.
    fn why_left(&self, parcel: usize) -> WhyAlone {
        let fits = |it: &&Vehicle| it.may[parcel] && it.n_max > 0;
        let fitting: Vec<&Vehicle> = self.vehicles.iter().filter(fits).collect();
        if fitting.is_empty() {
            WhyAlone::NoDriver
        } else if fitting.iter().all(|it| it.n_parcels() >= it.n_max) {
            WhyAlone::Full
        } else {
            WhyAlone::Late
        }
    }
}

fn least(a: &[f64; 2], b: &[f64; 2]) -> Ordering {
    a[0].total_cmp(&b[0]).then(a[1].total_cmp(&b[1]))
}
