//! Why what waits is not brought with others: for whoever asks, after a look has said what is.

use super::{
    Errand, Parcel, Proposal, Settings, Trip,
    propose::{DRIVERS_MAX, Look, OTHERS_MAX, Waiting, driven_alone_s},
    roads::Asked,
};
use crate::{DriverCard, Router, SearchCard, cost, fit::fits};
use protocol::{DriverId, JobId, OrderId, Timestamp, trace::WhyAlone};
use serde::{Deserialize, Serialize};
use std::{
    collections::{HashMap, HashSet},
    sync::Arc,
};

/// Of so many it is found out at most why they are alone: it takes a look at all others for each.
pub const REASONS_MAX: usize = 500;

/// What keeps an order from being brought with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Against {
    /// Which.
    pub order: OrderId,
    /// Why.
    pub why: WhyAlone,
    /// The one it does not go with, if it is one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub with: Option<OrderId>,
}

impl Against {
    /// Of a card; none, if it is of no order.
    pub fn of(card: &SearchCard, why: WhyAlone, with: Option<OrderId>) -> Option<Self> {
        match card.job {
            JobId::Order(order) => Some(Self { order, why, with }),
            JobId::Rescue(_) => None,
        }
    }
}

/// Why those of `waiting` are alone that `proposals` leave alone, which came of a look at the same, in the order of the cards: of
/// the first [`REASONS_MAX`]. What goes wrong between two is said of the one that comes closest.
pub fn alone(
    waiting: &[Arc<SearchCard>],
    drivers: &[Arc<DriverCard>],
    proposals: &[Proposal],
    now: Timestamp,
    settings: &Settings,
    costs: &cost::Settings,
    router: &dyn Router,
) -> Vec<Against> {
    let look = Look { drivers, now, settings, costs, asked: Asked::new(router, now) };
    let all: Vec<Waiting<'_>> =
        waiting.iter().filter_map(|card| Waiting::of(card, now, settings).ok()).collect();
    let (mut sizes, mut busy) = (HashMap::new(), HashSet::new());
    for proposal in proposals {
        match proposal {
            Proposal::Run(together) => {
                let n = together.orders.len();
                sizes.extend(together.orders.iter().map(|(order, _)| (*order, n)));
                busy.insert(together.driver);
            }
            Proposal::Insert { order: (order, _), .. } => {
                sizes.insert(*order, 1);
            }
        }
    }
    let known = Known { all, sizes, busy };
    let against = |card: &Arc<SearchCard>| match Waiting::of(card, now, settings) {
        Err(why) => Against::of(card, why, None),
        Ok(it) if known.sizes.contains_key(&it.order) => None,
        Ok(it) => {
            let (why, with) = look.why_alone(&it, &known);
            Some(Against { order: it.order, why, with })
        }
    };
    waiting.iter().filter_map(against).take(REASONS_MAX).collect()
}

/// What keeps a delivery alone, whatever else waits; nothing, if nothing does.
pub fn why_not_now(card: &SearchCard, now: Timestamp, settings: &Settings) -> Option<WhyAlone> {
    Waiting::of(card, now, settings).err()
}

/// What is known once the look is over.
struct Known<'a> {
    /// All that could be brought with others.
    all: Vec<Waiting<'a>>,
    /// With how many those are together that are.
    sizes: HashMap<OrderId, usize>,
    /// Who brings them.
    busy: HashSet<DriverId>,
}

impl Look<'_> {
    fn why_alone(&self, it: &Waiting<'_>, known: &Known<'_>) -> (WhyAlone, Option<OrderId>) {
        let Self { drivers, now, settings, costs, .. } = *self;
        let mut fit: Vec<(f64, &Waiting<'_>)> = Vec::new();
        let mut closest: Option<(WhyAlone, f64, OrderId)> = None;
        for other in known.all.iter().filter(|other| other.order != it.order) {
            let far_m = it.parcel.from.distance_m(other.parcel.from);
            let Some(why) = it.apart(other, settings) else {
                fit.push((far_m, other));
                continue;
            };
            // Of these reasons the later one comes closer, and of equals what is nearer.
            let is_closer = closest.is_none_or(|(best, best_m, with)| {
                let is_nearer = far_m.total_cmp(&best_m).then(other.order.cmp(&with)).is_lt();
                why > best || (why == best && is_nearer)
            });
            if is_closer {
                closest = Some((why, far_m, other.order));
            }
        }
        fit.sort_by(|(a_m, a), (b_m, b)| a_m.total_cmp(b_m).then(a.order.cmp(&b.order)));
        let others: Vec<&Waiting<'_>> =
            fit.into_iter().take(OTHERS_MAX).map(|(_, other)| other).collect();
        let Some(nearest) = others.first() else {
            let (why, with) = closest.map(|(why, _, with)| (why, with)).unzip();
            return (why.unwrap_or(WhyAlone::NobodyElse), with);
        };
        let n_max = usize::from(settings.orders_max);
        let is_full =
            |other: &&&Waiting<'_>| known.sizes.get(&other.order).is_some_and(|n| *n >= n_max);
        let full = others.iter().find(is_full).map(|other| other.order);
        if let Some(full) = full.filter(|_| others.iter().all(|other| is_full(&other))) {
            return (WhyAlone::Full, Some(full));
        }
        let may = |driver: &&Arc<DriverCard>| {
            driver.is_free
                && driver.n_slots >= 2
                && !known.busy.contains(&driver.id)
                && fits(it.card, driver, now, costs)
                && driver.at.distance_m(it.parcel.from) <= f64::from(it.card.radius_m)
        };
        let mut near: Vec<&Arc<DriverCard>> = drivers.iter().filter(may).collect();
        let to_it = |driver: &DriverCard| driver.at.distance_m(it.parcel.from);
        near.sort_by(|a, b| to_it(a).total_cmp(&to_it(b)).then(a.id.cmp(&b.id)));
        if near.is_empty() {
            return (WhyAlone::NoDriver, None);
        }
        let in_time = near.into_iter().take(DRIVERS_MAX).find_map(|driver| {
            others.iter().find(|other| {
                fits(other.card, driver, now, costs)
                    && self.are_in_time([it.parcel, other.parcel], driver)
            })
        });
        match in_time {
            Some(with) => (WhyAlone::NoSaving, Some(with.order)),
            None => (WhyAlone::Late, Some(nearest.order)),
        }
    }

    /// Are two there in time if this driver brings them together?
    fn are_in_time(&self, two: [Parcel; 2], driver: &DriverCard) -> bool {
        let cart = self.cart_of(driver);
        let ways = self.asked.by(driver.vehicle.kind);
        let is_alone = driven_alone_s(cart, two[0], &ways).is_some();
        is_alone && Trip::new(cart, &two, &ways).with(&Errand::both(0), 0, 1).is_some()
    }
}
