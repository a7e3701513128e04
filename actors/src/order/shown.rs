//! What others are told of an order: regions, lists, maps, its people and the ledger.

use super::{Event, Leg, Life, Order, work};
use crate::{
    Card, Listing, Posting, SearchCard, ViewRow, driver::Asks, listing::RegionId, search::Terms,
};
use matching::fit::Way;
use protocol::{
    DriverId, JobId, Money, OrderId, OrderStatus, PartnerId, Principal, RiderId, Timestamp,
    trace::WhyAlone,
    view::{Eta, Etas, Mark, OfferView, OrderView},
};

impl Order {
    /// The order as `reader` may see it; `None` before it is placed. Whether the reader may see it
    /// at all is asked with [`Order::concerns`].
    pub fn order_view(&self, id: OrderId, version: u64, reader: Principal) -> Option<OrderView> {
        let life = self.0.as_ref()?;
        let placement = &life.placement;
        let is_rider = reader == Principal::Rider(placement.rider);
        let tip = life.aftermath.tip;
        Some(OrderView {
            id,
            version,
            kind: placement.kind,
            status: life.status(),
            fulfilment: life.fulfilment_status(),
            rider: placement.rider,
            driver: life.driver(),
            stops: placement.stops.clone(),
            stops_done: life.stops_done,
            fare: placement.fare.clone(),
            tip: tip.map(|amount| Money { amount, currency: placement.fare.currency }),
            policy: placement.policy.offer,
            held: life.search.is_held(),
            paused: life.search.pause_of_zone().cloned(),
            priority: life.priority,
            fleet: life.search.fleet(),
            fleet_first: life.search.is_kept_at_first(),
            offers: match is_rider || reader.is_staff() {
                true => life.search.offers().collect(),
                false => Vec::new(),
            },
            reason: life.reason.clone(),
            placed_at: life.placed_at,
            changed_at: life.changed_at,
            start_at: placement.start_at,
            price_asked: life.price_asked.as_ref().map(|asked| asked.fare.clone()),
            follows: placement.follows,
            followed_by: life.followed_by,
            run: life.in_run(),
            // Drivers know best where they are.
            eta: life.etas().filter(|_| !matches!(reader, Principal::Driver(_))),
            queue: life.queued().filter(|_| is_rider || reader.is_staff()),
            code: placement.code.clone().filter(|_| is_rider),
            hub: life.hub_stay(reader),
        })
    }

    /// May `reader` see this order: staff, its rider, its merchant, its driver, or a driver to whom
    /// it is offered, by itself or in the feed?
    pub fn concerns(&self, reader: Principal) -> bool {
        let Some(life) = &self.0 else { return false };
        let is_asked = match reader {
            Principal::Driver(driver) => {
                life.search.is_offered_to(driver) || life.search.is_open_to(driver)
            }
            Principal::Rider(_)
            | Principal::Merchant(_)
            | Principal::Dispatcher
            | Principal::Admin
            | Principal::System => false,
        };
        is_asked || life.relation(reader) != 0
    }

    /// What a region would know of it, if staff want it brought with others: also of what a dispatcher holds, and whatever its
    /// brand says, if they insist.
    ///
    /// # Errors
    /// What keeps it alone, whatever else waits.
    pub fn to_bring(&self, id: OrderId, is_forced: bool) -> Result<SearchCard, WhyAlone> {
        self.0.as_ref().ok_or(WhyAlone::NotLooking)?.to_bring(id, is_forced)
    }

    /// Its version as of when anything last happened to it but that drivers further away are considered, too: whoever looked at it
    /// since then has seen it as it is.
    pub fn version_as_seen(&self, version: u64) -> u64 {
        let n_widened = self.0.as_ref().map_or(0, |life| life.search.n_widened());
        version.saturating_sub(n_widened.into())
    }

    /// What it asks of its driver; `None` before it is placed.
    pub fn asks(&self) -> Option<Asks<'_>> {
        let life = self.0.as_ref()?;
        let (needs, fleet) = (&life.placement.needs, life.search.fleet());
        let fleet_first = life.search.is_kept_at_first();
        let (work, way) = (work(life.placement.kind), life.way_left());
        Some(Asks { work, needs, fleet, fleet_first, way })
    }

    /// What a driver who drives for that fleet is told of it who may claim it from the feed, and until when; `None` if it may not.
    /// Whether it brings what is needed is for the driver to say.
    pub fn in_feed(
        &self,
        id: OrderId,
        driver: DriverId,
        fleet: Option<PartnerId>,
        now: Timestamp,
    ) -> Option<(Terms<'_>, Timestamp)> {
        let life = self.0.as_ref()?;
        let until = life.search.claimable(driver, fleet, life.placement.rider, now).ok()?;
        Some((life.terms(JobId::Order(id)), until))
    }

    /// Where it is in its life; `None` before it is placed.
    pub fn status(&self) -> Option<OrderStatus> {
        self.0.as_ref().map(|life| life.status())
    }

    /// Whose it is; `None` before it is placed.
    pub fn rider(&self) -> Option<RiderId> {
        self.0.as_ref().map(|life| life.placement.rider)
    }

    /// Who performs it, or did when it ended.
    pub fn driver(&self) -> Option<DriverId> {
        self.0.as_ref()?.driver()
    }

    /// Its people; nobody before it is placed.
    pub fn parties(&self) -> Vec<Principal> {
        self.0.as_ref().map(|life| life.parties()).unwrap_or_default()
    }

    /// When its vehicle is expected, as was last counted.
    pub fn etas(&self) -> Option<Etas> {
        self.0.as_ref()?.etas()
    }

    /// Of when its vehicle is expected, when it is at the next place it must be; none, if it is not under way.
    pub fn next_of(&self, etas: &Etas) -> Option<Eta> {
        self.0.as_ref()?.next_of(etas)
    }

    /// The offers that are open.
    pub fn offers(&self) -> Vec<OfferView> {
        self.0.as_ref().map(|life| life.search.offers().collect()).unwrap_or_default()
    }
}

impl Life {
    /// From where to where it is to be brought. Goods on board are taken over where their driver was last seen.
    fn way_left(&self) -> Way {
        let (pickup, dropoff) = (self.pickup().at, self.dropoff().at);
        let here = self.track.last_seen().unwrap_or(pickup);
        match self.leg() {
            Some(
                Leg::PickedUp
                | Leg::InTransit
                | Leg::AtStop
                | Leg::AtDropoff { .. }
                | Leg::FailedAttempt,
            ) => Way { pickup: here, dropoff: Some(dropoff) },
            Some(Leg::Returning) => Way { pickup: here, dropoff: Some(pickup) },
            Some(
                Leg::Assigned | Leg::EnRoutePickup | Leg::AtPickup { .. } | Leg::InProgress { .. },
            )
            | None => Way { pickup, dropoff: Some(dropoff) },
        }
    }

    pub(super) fn listing(&self, id: OrderId) -> Option<Listing> {
        let placement = &self.placement;
        let at = self.pickup().at;
        let mut card = self.search.card(
            JobId::Order(id),
            work(placement.kind),
            placement.rider,
            at,
            &placement.needs,
            &placement.policy,
        )?;
        card.dropoff = Some(self.dropoff().at);
        card.priority = self.priority;
        card.batch = self.batch();
        Some(Listing { region: RegionId::at(at), card: Card::Search(Box::new(card)) })
    }

    pub(super) fn row(&self, id: OrderId) -> ViewRow {
        let placement = &self.placement;
        let fare = placement.fare.total();
        let mut body = serde_json::json!({
            "id": id.to_string(),
            "kind": placement.kind,
            "status": self.status(),
            "fulfilment": self.fulfilment_status(),
            "rider": placement.rider,
            "driver": self.driver(),
            "pickup": self.pickup(),
            "dropoff": placement.stops.last(),
            "fare": fare,
            "reason": self.reason,
            "placed_at": self.placed_at,
            "changed_at": self.changed_at,
        });
        // It is in sight of those where it came from, too.
        if self.is_past_hub() {
            body["from"] = serde_json::json!(placement.stops.first());
        }
        // How far away it was looked for a driver, the rule may not say any more by which it was.
        if self.search.is_in_feed() {
            let reach_m = placement.policy.tiers_m.into_iter().max();
            body["reach_m"] = serde_json::json!(reach_m);
        }
        ViewRow {
            status: self.status().to_string(),
            rider: Some(placement.rider),
            driver: self.driver(),
            at: self.placed_at,
            body,
        }
    }

    /// The map shows the end as well, for a while.
    pub(super) fn mark(&self, id: OrderId) -> Option<Mark> {
        Some(Mark::Order {
            id,
            kind: self.placement.kind,
            status: self.status(),
            pickup: self.pickup().at,
            dropoff: self.dropoff().at,
            driver: self.driver(),
            priority: self.priority,
            held: self.search.is_held(),
            since: Some(self.awaited_from()),
            due: self.promised(),
        })
    }

    /// Tips go from the rider to the driver, whole.
    pub(super) fn postings(&self, id: OrderId, event: &Event) -> Vec<Posting> {
        let (Event::Tipped { amount, .. }, Some(driver)) = (event, self.driver()) else {
            return Vec::new();
        };
        let line = |account: String, amount: i64| Posting {
            key: format!("tip/{id}"),
            account,
            amount,
            currency: self.placement.fare.currency,
            floor: None,
        };
        let (rider, driver) = (self.placement.rider.0.simple(), driver.0.simple());
        vec![
            line(format!("rider/{rider}/owed"), *amount),
            line(format!("driver/{driver}/earnings"), -*amount),
        ]
    }
}
