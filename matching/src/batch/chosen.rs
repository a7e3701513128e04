//! What staff chose to be brought together: judged as what a region finds, and all of it or nothing.

use super::{
    Against, Errand, Parcel, Settings, Together, Trip,
    propose::{DRIVERS_MAX, Look, Waiting, driven_alone_s, legs_of},
    roads::Asked,
};
use crate::{DriverCard, Router, SearchCard, cost, fit::fits};
use protocol::{OrderId, Timestamp, trace::WhyAlone};
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What was chosen and may be brought so, and how it would be.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Chosen {
    /// By whom, and what is saved. Its orders are in the order in which they are fetched.
    pub together: Together,
    /// Everything that is to be done, in order.
    pub stops: Vec<Due>,
}

/// Something that is to be done, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Due {
    /// For which order.
    pub order: OrderId,
    /// Is it fetched, rather than handed over?
    pub is_pickup: bool,
    /// When.
    pub at: Timestamp,
}

/// What of the rules staff overrule.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Leeway {
    /// They named the driver, who may be further away than drivers are looked for.
    pub is_named: bool,
    /// However little is saved.
    pub is_forced: bool,
    /// However far apart, in place and time, what is brought together is fetched and brought.
    pub is_apart: bool,
}

/// All of these together, by one of these drivers: the nearest who can.
///
/// # Errors
/// What keeps which of them from it. Where it is the driver, it is said of the nearest.
pub fn chosen(
    cards: &[Arc<SearchCard>],
    drivers: &[Arc<DriverCard>],
    leeway: Leeway,
    now: Timestamp,
    settings: &Settings,
    costs: &cost::Settings,
    router: &dyn Router,
) -> Result<Chosen, Vec<Against>> {
    let look = Look { drivers, now, settings, costs, asked: Asked::new(router, now) };
    let (mut all, mut against) = (Vec::new(), Vec::new());
    for card in cards {
        match Waiting::of(card, now, settings) {
            Ok(waiting) => all.push(waiting),
            Err(why) => against.extend(Against::of(card, why, None)),
        }
    }
    for (n, it) in all.iter().enumerate() {
        let apart = |other: &Waiting<'_>| Some((it.apart(other, settings)?, other.order));
        let apart = all[..n].iter().find_map(apart).filter(|_| !leeway.is_apart);
        if let Some((why, with)) = apart {
            against.push(Against { order: it.order, why, with: Some(with) });
        }
    }
    if !against.is_empty() {
        return Err(against);
    }
    let every = |why: WhyAlone| all.iter().map(|it| it.against(why)).collect::<Vec<_>>();
    if all.len() > usize::from(settings.orders_max) {
        return Err(every(WhyAlone::Full));
    }
    let Some(seed) = all.first() else { return Err(Vec::new()) };
    let to_seed = |it: &DriverCard| it.at.distance_m(seed.parcel.from);
    let has_room = |it: &DriverCard| it.is_free && usize::from(it.n_slots) >= all.len();
    let radius_m = f64::from(seed.card.radius_m);
    let is_near = |it: &DriverCard| leeway.is_named || to_seed(it) <= radius_m;
    let free: Vec<&Arc<DriverCard>> =
        drivers.iter().filter(|it| has_room(it) && is_near(it)).collect();
    let fits_one = |one: &Waiting<'_>, it: &DriverCard| fits(one.card, it, now, costs);
    let mut near: Vec<&Arc<DriverCard>> = Vec::new();
    near.extend(free.iter().filter(|it| all.iter().all(|one| fits_one(one, it))));
    near.sort_by(|a, b| to_seed(a).total_cmp(&to_seed(b)).then(a.id.cmp(&b.id)));
    let mut refused = None;
    for driver in near.into_iter().take(DRIVERS_MAX) {
        match look.all_of(&all, driver, leeway.is_forced) {
            Ok(chosen) => return Ok(chosen),
            Err(against) => {
                refused.get_or_insert(against);
            }
        }
    }
    Err(refused.unwrap_or_else(|| {
        // Those whom no driver suits, if some alone are the reason.
        let suits_nobody = |it: &&Waiting<'_>| !free.iter().any(|driver| fits_one(it, driver));
        let those = all.iter().filter(suits_nobody).map(|it| it.against(WhyAlone::NoDriver));
        let those: Vec<Against> = those.collect();
        if those.is_empty() { every(WhyAlone::NoDriver) } else { those }
    }))
}

impl Waiting<'_> {
    pub(super) fn against(&self, why: WhyAlone) -> Against {
        Against { order: self.order, why, with: None }
    }
}

impl Look<'_> {
    /// All of them, by this driver, in the best order there is.
    fn all_of(
        &self,
        all: &[Waiting<'_>],
        driver: &DriverCard,
        is_forced: bool,
    ) -> Result<Chosen, Vec<Against>> {
        let cart = self.cart_of(driver);
        let ways = self.asked.by(driver.vehicle.kind);
        let parcels: Vec<Parcel> = all.iter().map(|it| it.parcel).collect();
        let trip = Trip::new(cart, &parcels, &ways);
        let errands: Vec<Errand> = (0..all.len() as u32).flat_map(Errand::both).collect();
        let best = trip.best(&errands, 0);
        let chosen = best.and_then(|errands| self.told(all, driver, &trip, &errands));
        let Some(chosen) = chosen else { return Err(late(all, &trip)) };
        let is_worth_it = chosen.together.saving_percent >= self.settings.saving_percent;
        if all.len() > 1 && !is_forced && !is_worth_it {
            return Err(all.iter().map(|it| it.against(WhyAlone::NoSaving)).collect());
        }
        Ok(chosen)
    }

    /// What a driver does who does these errands, of a trip with all of those; none if they cannot be done in time.
    pub(super) fn told(
        &self,
        all: &[Waiting<'_>],
        driver: &DriverCard,
        trip: &Trip,
        errands: &[Errand],
    ) -> Option<Chosen> {
        let (moments, driven_s) = (trip.moments(errands)?, trip.driving_s(errands)?);
        let cart = self.cart_of(driver);
        let ways = self.asked.by(driver.vehicle.kind);
        let fetched = errands.iter().filter(|it| it.is_pickup).map(|it| &all[it.parcel as usize]);
        let fetched: Vec<&Waiting<'_>> = fetched.collect();
        let alone_s = fetched.iter().map(|it| driven_alone_s(cart, it.parcel, &ways));
        let alone_s = alone_s.sum::<Option<f64>>().unwrap_or_default();
        let saving = 1.0 - driven_s / alone_s.max(1.0);
        let due = |(errand, at): (&Errand, &Timestamp)| Due {
            order: all[errand.parcel as usize].order,
            is_pickup: errand.is_pickup,
            at: *at,
        };
        let stops = errands.iter().zip(&moments).map(due).collect();
        let together = Together {
            driver: driver.id,
            orders: fetched.iter().map(|it| (it.order, it.card.round)).collect(),
            cart,
            legs: legs_of(cart, fetched.iter().map(|it| &it.parcel), &ways),
            saving_percent: (saving * 100.0).clamp(0.0, 100.0) as u8,
        };
        Some(Chosen { together, stops })
    }
}

/// Those for whom no place is found beside the ones before them.
fn late(all: &[Waiting<'_>], trip: &Trip) -> Vec<Against> {
    let (mut errands, mut against) = (Vec::new(), Vec::new());
    for (n, it) in all.iter().enumerate() {
        match trip.with(&errands, 0, n as u32) {
            Some(with) => errands = with,
            None => against.push(it.against(WhyAlone::Late)),
        }
    }
    against
}
