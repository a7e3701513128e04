//! Which of what waits in a region is brought together, and what is brought along by who is under way.

use super::{
    Batch, Between, Cart, Errand, Legs, Pace, Parcel, RunCard, Settings, Trip, roads::Asked,
};
use crate::{DriverCard, Router, SearchCard, cost, fit::fits};
use protocol::{DriverId, JobId, OrderId, Point, RunId, Timestamp, trace::WhyAlone};
use serde::{Deserialize, Serialize};
use std::{collections::HashSet, sync::Arc, time::Duration};

/// How many drivers, nearest first, are weighed for one run.
pub(super) const DRIVERS_MAX: usize = 3;
/// How many others, nearest first, are weighed for one run.
pub(super) const OTHERS_MAX: usize = 12;

/// What a region proposes. The orders, the run and the driver decide.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum Proposal {
    /// These, together.
    Run(Together),
    /// One more, for a run that is under way.
    Insert {
        /** Which run. */
        run: RunId,
        /** Which order, and the round of its search that this answers. */
        order: (OrderId, u32),
        /** Where the run's driver is. */
        at: Point,
        /** How long it takes between there and all that is then still to be done. */
        legs: Legs,
    },
}

impl Proposal {
    /// Which orders it is about.
    pub fn orders(&self) -> Vec<OrderId> {
        match self {
            Self::Run(together) => together.orders.iter().map(|(order, _)| *order).collect(),
            Self::Insert { order: (order, _), .. } => vec![*order],
        }
    }
}

/// Orders that one driver brings together.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Together {
    /// Who.
    pub driver: DriverId,
    /// Which, each with the round of its search that this answers.
    pub orders: Vec<(OrderId, u32)>,
    /// From where, and how.
    pub cart: Cart,
    /// How long it takes between there and all that is to be done.
    pub legs: Legs,
    /// How much less is driven than if each were brought alone, in percent.
    pub saving_percent: u8,
}

/// A delivery that waits and may be brought with others.
pub(super) struct Waiting<'a> {
    pub(super) card: &'a SearchCard,
    pub(super) order: OrderId,
    pub(super) parcel: Parcel,
    times: Batch,
}

impl<'a> Waiting<'a> {
    /// Refused with what keeps it alone, whatever else waits.
    pub(super) fn of(
        card: &'a SearchCard,
        now: Timestamp,
        settings: &Settings,
    ) -> Result<Self, WhyAlone> {
        let (JobId::Order(order), Some(to)) = (card.job, card.dropoff) else {
            return Err(WhyAlone::OtherKind);
        };
        if card.paused.is_some() {
            return Err(WhyAlone::ZonePaused);
        }
        if card.n_wanted == 0 {
            return Err(WhyAlone::Offered);
        }
        let times = card.batch.ok_or(WhyAlone::NotBatched)?;
        if card.only.is_some() {
            return Err(WhyAlone::NotTheOne);
        }
        if now + settings.waits() > times.until {
            return Err(WhyAlone::NoTime);
        }
        // What must be there in time is planned to be there sooner.
        let slack = Duration::from_millis(settings.slack_ms.into());
        let promise = times.promise.map(|it| it - slack);
        let parcel = Parcel {
            from: card.pickup,
            to,
            times: Batch { promise, ..times },
            weight_g: card.needs.weight_g,
        };
        Ok(Self { card, order, parcel, times })
    }

    pub(super) fn goes_with(&self, other: &Self, settings: &Settings) -> bool {
        self.apart(other, settings).is_none()
    }

    /// What keeps two of them from being brought together, whoever brings them; nothing, if they may be.
    pub(super) fn apart(&self, other: &Self, settings: &Settings) -> Option<WhyAlone> {
        let apart_ms = self.times.ready.0.abs_diff(other.times.ready.0);
        if self.parcel.from.distance_m(other.parcel.from) > f64::from(settings.pickups_m) {
            Some(WhyAlone::PickupsApart)
        } else if self.parcel.to.distance_m(other.parcel.to) > f64::from(settings.dropoffs_m) {
            Some(WhyAlone::DropoffsApart)
        } else if apart_ms > u64::from(settings.window_ms) {
            Some(WhyAlone::TimesApart)
        } else {
            None
        }
    }
}

/// Under what terms one look is held.
pub(super) struct Look<'a> {
    pub(super) drivers: &'a [Arc<DriverCard>],
    pub(super) now: Timestamp,
    pub(super) settings: &'a Settings,
    pub(super) costs: &'a cost::Settings,
    /// Knows how long ways take.
    pub(super) asked: Asked<'a>,
}

/// What had better be brought together, of what waits, by these drivers, or along by these runs, over ways as the router
/// knows them. Who waits longest is looked at first. The same input gives the same answer.
pub fn plan(
    waiting: &[Arc<SearchCard>],
    drivers: &[Arc<DriverCard>],
    runs: &[Arc<RunCard>],
    now: Timestamp,
    settings: &Settings,
    costs: &cost::Settings,
    router: &dyn Router,
) -> Vec<Proposal> {
    let look = Look { drivers, now, settings, costs, asked: Asked::new(router, now) };
    let mut all: Vec<Waiting<'_>> =
        waiting.iter().filter_map(|card| Waiting::of(card, now, settings).ok()).collect();
    all.sort_by_key(|it| (it.card.opened_at, it.order));
    let mut left: Vec<usize> = (0..all.len()).collect();
    let mut busy: HashSet<DriverId> = HashSet::new();
    let mut proposals = Vec::new();
    for run in runs {
        if let Some((which, at, legs)) = look.along(&all, &left, run) {
            left.retain(|it| *it != which);
            busy.insert(run.driver);
            let order = (all[which].order, all[which].card.round);
            proposals.push(Proposal::Insert { run: run.run, order, at, legs });
        }
    }
    while let Some(first) = left.first().copied() {
        left.remove(0);
        if let Some((chosen, together)) = look.around(&all, first, &left, &busy) {
            left.retain(|it| !chosen.contains(it));
            busy.insert(together.driver);
            proposals.push(Proposal::Run(together));
        }
    }
    proposals
}

impl Look<'_> {
    /// The order that a run under way brings along at least cost, where its driver is, and the ways of it all; none if none
    /// saves enough.
    fn along(
        &self,
        all: &[Waiting<'_>],
        left: &[usize],
        run: &RunCard,
    ) -> Option<(usize, Point, Legs)> {
        let Self { now, settings, costs, .. } = *self;
        let driver = self.drivers.iter().find(|it| it.id == run.driver && it.n_slots > 0)?;
        if run.n_more == 0 {
            return None;
        }
        // What it brings with the run is weighed stop by stop; what it has besides is there all the while.
        let in_run_g = run.parcels.iter().fold(0_u32, |sum, it| sum.saturating_add(it.weight_g));
        let load_g = driver.load_g.saturating_sub(in_run_g);
        let driver = &DriverCard { load_g, ..DriverCard::clone(driver) };
        let n = run.parcels.len();
        let cart = Cart {
            at: driver.at,
            free: now,
            capacity_g: run.capacity_g.saturating_sub(load_g),
            n_max: settings.orders_max,
            pace: run.pace,
            // It judges by what it was planned with, and nobody is asked in vain.
            until: [driver.standing.until, run.until].into_iter().flatten().min(),
        };
        let ways = self.asked.by(driver.vehicle.kind);
        let before = Trip::new(cart, &run.parcels, &ways).driving_s(&run.errands)?;
        let mut best: Option<(f64, usize)> = None;
        for which in left.iter().copied() {
            let it = &all[which];
            let is_near = run.parcels.iter().any(|other| {
                other.from.distance_m(it.parcel.from) <= f64::from(settings.pickups_m)
                    || other.to.distance_m(it.parcel.from) <= f64::from(settings.pickups_m)
            });
            if !is_near || !fits(it.card, driver, now, costs) {
                continue;
            }
            let parcels: Vec<Parcel> = run.parcels.iter().copied().chain([it.parcel]).collect();
            let trip = Trip::new(cart, &parcels, &ways);
            let Some(errands) = trip.with(&run.errands, 1, n as u32) else { continue };
            let (Some(with), Some(alone)) =
                (trip.driving_s(&errands), trip.driving_s(&Errand::both(n as u32)))
            else {
                continue;
            };
            let more = with - before;
            let saves =
                alone > 0.0 && 1.0 - more / alone >= f64::from(settings.saving_percent) / 100.0;
            if saves && best.is_none_or(|(least, _)| more < least) {
                best = Some((more, which));
            }
        }
        let (_, which) = best?;
        let parcels = run.parcels.iter().chain([&all[which].parcel]);
        Some((which, driver.at, legs_of(cart, parcels, &ways)))
    }

    /// The run that begins with one order, and which others are in it; none if nothing goes with it.
    fn around(
        &self,
        all: &[Waiting<'_>],
        first: usize,
        left: &[usize],
        busy: &HashSet<DriverId>,
    ) -> Option<(Vec<usize>, Together)> {
        let Self { drivers, now, settings, costs, .. } = *self;
        let seed = &all[first];
        let far = |it: &usize| seed.parcel.from.distance_m(all[*it].parcel.from);
        let mut others: Vec<usize> =
            left.iter().copied().filter(|it| seed.goes_with(&all[*it], settings)).collect();
        others.sort_by(|a, b| far(a).total_cmp(&far(b)).then(a.cmp(b)));
        others.truncate(OTHERS_MAX);
        if others.is_empty() {
            return None;
        }
        let may = |it: &&Arc<DriverCard>| {
            it.is_free
                && it.n_slots >= 2
                && !busy.contains(&it.id)
                && fits(seed.card, it, now, costs)
                && it.at.distance_m(seed.parcel.from) <= f64::from(seed.card.radius_m)
        };
        let mut near: Vec<&Arc<DriverCard>> = drivers.iter().filter(may).collect();
        let to_seed = |it: &DriverCard| it.at.distance_m(seed.parcel.from);
        near.sort_by(|a, b| to_seed(a).total_cmp(&to_seed(b)).then(a.id.cmp(&b.id)));
        let found = near
            .into_iter()
            .take(DRIVERS_MAX)
            .filter_map(|driver| self.gather(all, first, &others, driver));
        // More together first; of equals the nearest driver's.
        found.fold(None, |best: Option<(Vec<usize>, Together)>, it| match best {
            Some(best) if best.0.len() >= it.0.len() => Some(best),
            Some(_) | None => Some(it),
        })
    }

    /// As who has nothing else to do sets out.
    pub(super) fn cart_of(&self, driver: &DriverCard) -> Cart {
        let Self { now, settings, costs, .. } = *self;
        let crow_mps = costs.speeds.of(driver.vehicle.kind) / costs.detour.max(0.1);
        let pace = Pace { crow_mps, stop_s: settings.stop_s };
        let n_max = settings.orders_max.min(driver.n_slots);
        let capacity_g = driver.vehicle.capacity_g;
        let until = driver.standing.until;
        Cart { at: driver.at, free: now, capacity_g, n_max, pace, until }
    }

    fn gather(
        &self,
        all: &[Waiting<'_>],
        first: usize,
        others: &[usize],
        driver: &DriverCard,
    ) -> Option<(Vec<usize>, Together)> {
        let Self { now, settings, costs, .. } = *self;
        let cart = self.cart_of(driver);
        let n_max = cart.n_max;
        let ways = self.asked.by(driver.vehicle.kind);
        let (mut chosen, mut parcels) = (vec![first], vec![all[first].parcel]);
        let mut errands = Errand::both(0).to_vec();
        let (mut alone_s, mut saving) = (driven_alone_s(cart, parcels[0], &ways)?, 0.0);
        for other in others.iter().copied() {
            if chosen.len() >= usize::from(n_max) {
                break;
            }
            let goes = chosen.iter().all(|it| all[*it].goes_with(&all[other], settings));
            if !goes || !fits(all[other].card, driver, now, costs) {
                continue;
            }
            let Some(more_s) = driven_alone_s(cart, all[other].parcel, &ways) else { continue };
            parcels.push(all[other].parcel);
            // The run itself looks for the best order: here it is enough to know that there is one.
            let trip = Trip::new(cart, &parcels, &ways);
            let with = trip.with(&errands, 0, chosen.len() as u32);
            let saves = with.as_ref().and_then(|it| trip.driving_s(it));
            let saves = saves.map(|together_s| 1.0 - together_s / (alone_s + more_s).max(1.0));
            match (with, saves) {
                (Some(with), Some(saves))
                    if saves * 100.0 >= f64::from(settings.saving_percent) =>
                {
                    (errands, saving) = (with, saves);
                    alone_s += more_s;
                    chosen.push(other);
                }
                (_, _) => {
                    parcels.pop();
                }
            }
        }
        if chosen.len() < 2 {
            return None;
        }
        let orders = chosen.iter().map(|it| (all[*it].order, all[*it].card.round)).collect();
        let saving_percent = (saving * 100.0).clamp(0.0, 100.0) as u8;
        let legs = legs_of(cart, &parcels, &ways);
        let together = Together { driver: driver.id, orders, cart, legs, saving_percent };
        Some((chosen, together))
    }
}

/// How long is driven, in seconds, to bring it alone from where the cart is; none if it cannot be there in time.
pub(super) fn driven_alone_s(cart: Cart, parcel: Parcel, ways: &impl Between) -> Option<f64> {
    Trip::new(cart, &[parcel], ways).driving_s(&Errand::both(0))
}

/// How long it takes between where the cart is and all that it fetches and brings.
pub(super) fn legs_of<'a>(
    cart: Cart,
    parcels: impl IntoIterator<Item = &'a Parcel>,
    ways: &impl Between,
) -> Legs {
    let places = parcels.into_iter().flat_map(|it| [it.from, it.to]);
    Legs::of(std::iter::once(cart.at).chain(places), ways)
}
