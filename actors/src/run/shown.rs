//! What others are told of a run: its driver, dispatchers, lists and its region.

use super::{Life, Plan, Run, Sighting, Stop};
use crate::{
    Card, Listing, ViewRow,
    listing::RegionId,
    tell::{Halt, Journey},
};
use matching::batch::RunCard;
use protocol::{
    DriverId, MemberStatus, Money, Principal, RunId, RunStatus,
    view::{RunOrder, RunStop, RunView},
};

impl Run {
    /// The run as its driver and staff see it; `None` before it is planned, and for everybody else.
    pub fn run_view(&self, id: RunId, version: u64, reader: Principal) -> Option<RunView> {
        let life = self.0.as_ref()?;
        let is_driver = reader == Principal::Driver(life.plan.driver);
        // Who said no to it has nothing to do with it.
        let may_see = reader.is_staff() || is_driver && life.is_seen_by_driver();
        may_see.then(|| life.shown(id, version, reader))
    }

    /// Where it is in its life; `None` before it is planned.
    pub fn status(&self) -> Option<RunStatus> {
        self.0.as_ref().map(|life| life.status)
    }

    /// What it was planned as; `None` before that.
    pub fn plan(&self) -> Option<&Plan> {
        self.0.as_ref().map(|life| &life.plan)
    }

    /// Who brings it, or is asked to.
    pub fn driver(&self) -> Option<DriverId> {
        self.0.as_ref().map(|life| life.plan.driver)
    }
}

impl Life {
    fn is_seen_by_driver(&self) -> bool {
        match self.status {
            RunStatus::Offered
            | RunStatus::Accepted
            | RunStatus::Active
            | RunStatus::Completed
            | RunStatus::Abandoned => true,
            RunStatus::Planned | RunStatus::Dissolved => false,
        }
    }

    fn shown(&self, id: RunId, version: u64, reader: Principal) -> RunView {
        let orders = self.members.iter().map(|it| RunOrder {
            order: it.order,
            status: it.status,
            fare: it.part.as_ref().map(|part| part.fare),
        });
        let stops = if self.is_driven() {
            &self.stops
        } else {
            self.offer.as_ref().map_or(&self.stops, |open| &open.stops)
        };
        RunView {
            id,
            version,
            status: self.status,
            driver: self.plan.driver,
            orders: orders.collect(),
            stops: stops.iter().filter_map(|it| self.shown_stop(it)).collect(),
            fare: self.fare(),
            saving_percent: self.plan.saving_percent,
            // It may be what a dispatcher wrote about somebody else.
            reason: self.reason.clone().filter(|_| reader.is_staff()),
            planned_at: self.planned_at,
            changed_at: self.changed_at,
        }
    }

    /// What all of it pays; none before anything has joined.
    fn fare(&self) -> Option<Money> {
        let mut fares = self.members.iter().filter_map(|it| it.part.as_ref().map(|it| it.fare));
        let first = fares.next()?;
        let amount = first.amount + fares.map(|it| it.amount).sum::<i64>();
        Some(Money { amount, ..first })
    }

    pub(super) fn shown_stop(&self, stop: &Stop) -> Option<RunStop> {
        let part = self.member(stop.order)?.part.as_deref()?;
        let at = part.place(stop.what).clone();
        Some(RunStop { order: stop.order, what: stop.what, at, due: stop.due })
    }

    pub(super) fn row(&self, id: RunId) -> ViewRow {
        let orders: Vec<String> = self.members.iter().map(|it| it.order.to_string()).collect();
        ViewRow {
            status: self.status.to_string(),
            rider: None,
            driver: self.is_seen_by_driver().then_some(self.plan.driver),
            at: self.planned_at,
            body: serde_json::json!({
                "id": id.to_string(),
                "status": self.status,
                "driver": self.plan.driver,
                "orders": orders,
                "n_stops": self.stops.len(),
                "fare": self.fare(),
                "saving_percent": self.plan.saving_percent,
                "planned_at": self.planned_at,
            }),
        }
    }

    /// The way that is before its driver, and of which its orders want to know how long it takes; none, if that is not
    /// known.
    pub(super) fn way(&self, sighting: &Sighting) -> Option<Journey> {
        let Sighting { driver, at, vehicle } = *sighting;
        if !self.is_driven() || self.plan.driver != driver {
            return None;
        }
        let part = |order| self.member(order)?.part.as_deref();
        let halt = |stop: &Stop| {
            let at = part(stop.order)?.place(stop.what).at;
            Some(Halt { job: stop.order.into(), what: stop.what, at })
        };
        let halts = self.stops.iter().map(halt).collect::<Option<Vec<_>>>()?;
        let pickup = part(self.stops.first()?.order)?.pickup.at;
        Some(Journey { driver, vehicle, region: RegionId::at(pickup), from: at, halts })
    }

    /// One that is under way may take more along.
    pub(super) fn listing(&self, id: RunId) -> Option<Listing> {
        let is_asked = self.asking_until.is_some() || self.offer.is_some();
        let left = self.members.iter().filter(|it| it.status != MemberStatus::Done).count();
        let n_more = self.plan.orders_max.saturating_sub(u8::try_from(left).unwrap_or(u8::MAX));
        if self.status != RunStatus::Active || is_asked || n_more == 0 || !self.plan.consent {
            return None;
        }
        let (parcels, errands) = self.parcels();
        // Where it is fetched: what may be brought along waits there.
        let region = RegionId::at(parcels.first()?.from);
        let card = RunCard {
            run: id,
            driver: self.plan.driver,
            parcels,
            errands,
            n_more,
            capacity_g: self.plan.cart.capacity_g,
            pace: self.plan.cart.pace,
            until: self.plan.cart.until,
        };
        Some(Listing { region, card: Card::Run(Box::new(card)) })
    }
}
