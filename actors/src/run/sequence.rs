//! In which order a run is driven, and when what happens: `matching::batch` over what its orders said of themselves.

use super::{Errand, Life, Member, Stop};
use crate::Refusal;
use matching::batch::{self, Batch, Cart, Known, Parcel, Trip};
use protocol::{MemberStatus, OrderId, RunStatus, Timestamp, view::StopKind};
use std::time::Duration;

impl Life {
    /// Everything that is left to be done, with all that has joined, in the best order; and what of that cannot be
    /// brought without breaking a promise, or in the hours that are left to the driver. Where that is on the way to now
    /// stays what it is.
    pub(super) fn with_joined(&self, now: Timestamp) -> (Vec<Stop>, Vec<OrderId>) {
        let known = self.known();
        let trip = self.trip(&known, now);
        let index = |order: OrderId| known.iter().position(|it| it.order == order);
        let joined = known.iter().filter(|it| it.status == MemberStatus::Joined);
        let joined: Vec<OrderId> = joined.map(|it| it.order).collect();
        let before = self.errands(&known);
        let n_fixed = self.n_fixed();
        let both = |order: &OrderId| index(*order).map(|it| batch::Errand::both(it as u32));
        let all = before.iter().copied().chain(joined.iter().filter_map(both).flatten());
        if let Some(best) = trip.best(&all.collect::<Vec<_>>(), n_fixed) {
            return (self.stops_of(&known, &trip, &best), Vec::new());
        }
        let (mut errands, mut unfit) = (before, Vec::new());
        for order in joined {
            let with = index(order).and_then(|it| trip.with(&errands, n_fixed, it as u32));
            match with {
                Some(with) => errands = with,
                None => unfit.push(order),
            }
        }
        (self.stops_of(&known, &trip, &errands), unfit)
    }

    /// What is left in the best order there is; in the one it is in, if promises are broken in any.
    pub(super) fn best_order(&self, now: Timestamp) -> Vec<Stop> {
        let known = self.known();
        let trip = self.trip(&known, now);
        let errands = self.errands(&known);
        let best = trip.best(&errands, self.n_fixed()).unwrap_or(errands);
        self.stops_of(&known, &trip, &best)
    }

    /// What is left in this order, refused if it cannot be driven so or a promise would be broken by it that is kept now, or
    /// its driver would then work for too long.
    pub(super) fn in_order(
        &self,
        errands: &[Errand],
        now: Timestamp,
    ) -> Result<Vec<Stop>, Refusal> {
        let known = self.known();
        let trip = Trip::new(self.cart(now), &self.promised(&known), &self.ways());
        let index = |it: &Errand| batch::Errand {
            parcel: known.iter().position(|member| member.order == it.order).unwrap_or(0) as u32,
            is_pickup: it.what == StopKind::Pickup,
        };
        let wanted: Vec<batch::Errand> = errands.iter().map(index).collect();
        let is_kept_now = trip.moments(&self.errands(&known)).is_some();
        match (trip.moments(&wanted), trip.moments_late(&wanted)) {
            // The plan does not say which of them it was.
            (None, Some(_)) if is_kept_now => Err(Refusal::NotEligible(
                "a promise would be broken, or its driver would work for too long".to_owned(),
            )),
            (None, None) => Err(Refusal::invalid(
                "stops",
                "cannot be driven: fetched first, and no more than fits",
            )),
            (Some(_), _) | (None, Some(_)) => Ok(self.stops_of(&known, &trip, &wanted)),
        }
    }

    /// What is known of its orders as regions see it, and what is left to be done of that.
    pub(super) fn parcels(&self) -> (Vec<Parcel>, Vec<batch::Errand>) {
        let known = self.known();
        let parcels = known.iter().filter_map(|it| it.part.as_deref().map(super::Part::parcel));
        (parcels.collect(), self.errands(&known))
    }

    /// Those it has something to do for, or would have.
    fn known(&self) -> Vec<&Member> {
        let is_left = |it: &&Member| it.part.is_some() && it.status != MemberStatus::Done;
        self.members.iter().filter(is_left).collect()
    }

    /// What is late already keeps nobody else from being in time: it is to be no later than it will be anyway.
    fn trip(&self, known: &[&Member], now: Timestamp) -> Trip {
        let mut parcels = self.promised(known);
        let mut cart = self.cart(now);
        let trip = Trip::new(cart, &parcels, &self.ways());
        let errands = self.errands(known);
        let late = match trip.moments(&errands) {
            Some(_) => return trip,
            None => trip.moments_late(&errands).unwrap_or_default(),
        };
        for (errand, moment) in errands.iter().zip(late).filter(|(errand, _)| !errand.is_pickup) {
            // A moment is told to the millisecond, and no later than it is.
            let by_then = moment + Duration::from_millis(1);
            cart.until = cart.until.map(|until| until.max(by_then));
            if let Some(parcel) = parcels.get_mut(errand.parcel as usize) {
                parcel.times.promise = parcel.times.promise.map(|promise| promise.max(by_then));
            }
        }
        Trip::new(cart, &parcels, &self.ways())
    }

    /// How long ways take, as its region's router said when it was planned, and when something was brought along.
    fn ways(&self) -> Known<'_> {
        Known { legs: [&self.legs, &self.plan.legs], pace: self.plan.cart.pace }
    }

    /// From where it goes on.
    fn cart(&self, now: Timestamp) -> Cart {
        Cart { at: self.at, free: now, n_max: self.plan.orders_max, ..self.plan.cart }
    }

    fn promised(&self, known: &[&Member]) -> Vec<Parcel> {
        let parcels = known.iter().filter_map(|it| {
            let parcel = it.part.as_deref()?.parcel();
            // Whoever decides for a driver decides that it is late, too.
            let promise = parcel.times.promise.filter(|_| self.plan.consent);
            Some(Parcel { times: Batch { promise, ..parcel.times }, ..parcel })
        });
        parcels.collect()
    }

    fn errands(&self, known: &[&Member]) -> Vec<batch::Errand> {
        let errand = |stop: &Stop| {
            let parcel = known.iter().position(|it| it.order == stop.order)?;
            Some(batch::Errand { parcel: parcel as u32, is_pickup: stop.what == StopKind::Pickup })
        };
        self.stops.iter().filter_map(errand).collect()
    }

    /// Its driver is on the way to the first of what is left.
    fn n_fixed(&self) -> usize {
        usize::from(self.status == RunStatus::Active)
    }

    fn stops_of(&self, known: &[&Member], trip: &Trip, errands: &[batch::Errand]) -> Vec<Stop> {
        let moments = trip.moments(errands).or_else(|| trip.moments_late(errands));
        let moments = moments.unwrap_or_default();
        let stop = |(n, errand): (usize, &batch::Errand)| {
            let order = known.get(errand.parcel as usize)?.order;
            let what = if errand.is_pickup { StopKind::Pickup } else { StopKind::Dropoff };
            let due = moments.get(n).copied().unwrap_or(self.changed_at);
            Some(Stop { order, what, due })
        };
        errands.iter().enumerate().filter_map(stop).collect()
    }
}
