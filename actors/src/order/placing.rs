//! How an order comes into being, waits for its money and its time, and begins to look for a driver.

use super::{Answer, Around, Event, Life, Placement, Stage, fulfilment, hub, ms};
use crate::{Refusal, rule, run, search, template};
use protocol::{
    OrderStatus, Place, Principal, Timestamp,
    work::{Handoff, OfferPolicy, OrderKind, PaymentTiming, STOPS_MAX},
};

/// Who pays more than this many times what is owed has paid for something else.
const OVERPAID_MAX: i64 = 2;

/// The first decision of every order.
pub(super) fn place(placement: &Placement, around: &Around) -> Answer {
    may_place(placement, around.by)?;
    makes_sense(placement)?;
    let mut placement = placement.clone();
    // One that not every node can read is brought alone.
    placement.policy.batch &= around.writes >= run::KNOWN;
    if placement.hub.is_some() && around.writes < hub::KNOWN {
        // It cannot be brought otherwise.
        return Err(Refusal::Unavailable);
    }
    let may_be_first = around.writes >= search::FLEETS_FIRST && placement.policy.fleet_tiers > 0;
    if placement.fleet_first && !may_be_first {
        // And one that its fleet cannot be asked about first, everybody is asked about.
        (placement.fleet, placement.fleet_first) = (None, false);
    }
    if around.writes < rule::RULED {
        placement.rule = None;
    }
    if around.writes < template::KNOWN {
        placement.kept_until = None;
    }
    let placement = &placement;
    let mut events = vec![Event::Placed { placement: Box::new(placement.clone()), at: around.now }];
    let excluded = placement.excluded.iter();
    events
        .extend(excluded.map(|driver| Event::Search(search::Event::Excluded { driver: *driver })));
    if !placement.barred.is_empty() {
        events.push(Event::Search(search::Event::Barred { drivers: placement.barred.to_vec() }));
    }
    if let Some(fleet) = placement.fleet.as_deref() {
        let (at, fleet, by) = (around.now, Some(*fleet), around.by);
        let reason = match placement.follows {
            Some(_) => "as the order it goes on for",
            None => "as it was asked for",
        };
        let (reason, first) = (reason.to_owned(), placement.fleet_first);
        events.push(Event::Search(search::Event::FleetSet { at, fleet, by, reason, first }));
    }
    if placement.payment == PaymentTiming::Prepay {
        let until = around.now + ms(placement.policy.prepay_ms);
        events.push(Event::PaymentAwaited { until });
    } else {
        events.extend(Life::new(placement.clone(), around.now).begin(around.now));
    }
    Ok(events)
}

fn may_place(placement: &Placement, by: Principal) -> Result<(), Refusal> {
    let may = match by {
        Principal::Rider(rider) => rider == placement.rider,
        Principal::Merchant(merchant) => Some(merchant) == placement.merchant,
        Principal::Dispatcher | Principal::Admin | Principal::System => true,
        Principal::Driver(_) => false,
    };
    if may { Ok(()) } else { Err(Refusal::NotYours("not for someone else".to_owned())) }
}

fn makes_sense(placement: &Placement) -> Result<(), Refusal> {
    let require = |is_so: bool, field: &str, problem: &str| {
        if is_so { Ok(()) } else { Err(Refusal::invalid(field, problem)) }
    };
    let is_ride = placement.kind == OrderKind::Ride;
    let is_commerce = placement.kind == OrderKind::Commerce;
    let n_stops = placement.stops.len();
    require((2..=STOPS_MAX).contains(&n_stops), "stops", "2 to 20 are needed")?;
    let goes_by_hub = placement.hub.is_none()
        || (placement.kind == OrderKind::Delivery && n_stops == 3 && placement.driver.is_none());
    require(goes_by_hub, "via", "deliveries with two stops, for no driver in particular")?;
    require(placement.fare.total().amount >= 0, "fare", "cannot be negative")?;
    require(
        is_commerce == placement.merchant.is_some(),
        "merchant",
        "commerce orders have one, others do not",
    )?;
    require(is_commerce || placement.handoff == Handoff::Driver, "handoff", "commerce only")?;
    require(is_commerce || placement.n_items == 0, "n_items", "commerce only")?;
    let has_proofs = !placement.pickup_proof.is_empty() || !placement.dropoff_proof.is_empty();
    require(!is_ride || !has_proofs, "proofs", "people are not proved")?;
    require(
        !(placement.policy.start_code && placement.code.is_none()),
        "code",
        "the rules ask for one",
    )?;
    require(
        placement.policy.offer != OfferPolicy::Direct || placement.driver.is_some(),
        "driver",
        "`direct` needs one",
    )?;
    require(
        placement.policy.offer != OfferPolicy::Feed || placement.driver.is_none(),
        "driver",
        "nobody is asked here, drivers choose for themselves (`feed`)",
    )?;
    require(
        placement.driver.is_none_or(|it| !placement.barred.contains(&it)),
        "driver",
        "cannot be asked for",
    )?;
    require(!placement.fleet_first || placement.fleet.is_some(), "fleet", "whose comes first?")?;
    if let Some(cash) = placement.cash_on_delivery {
        require(!is_ride, "cash_on_delivery", "goods only")?;
        let limit = 1..=placement.policy.cod_max;
        require(limit.contains(&cash), "cash_on_delivery", "out of range")?;
    }
    placement.driver.map_or(Ok(()), |driver| search::is_someone_else(driver, placement.rider))
}

impl Life {
    /// What happens once the money is no reason to wait any longer.
    pub(super) fn begin(&self, now: Timestamp) -> Vec<Event> {
        match self.placement.start_at {
            Some(start_at) if self.wake_at(start_at) > now => {
                vec![self.schedule(start_at, None, now)]
            }
            Some(_) | None => self.begin_work(now),
        }
    }

    /// What happens once time is no reason to wait any longer either.
    pub(super) fn begin_work(&self, now: Timestamp) -> Vec<Event> {
        if self.fulfilment.is_some() {
            let until = now + ms(self.placement.policy.merchant_ms);
            return vec![Event::Fulfilment(fulfilment::Event::MerchantAsked { until, at: now })];
        }
        self.begin_search(now)
    }

    pub(super) fn begin_search(&self, now: Timestamp) -> Vec<Event> {
        let Placement { driver, policy, .. } = &self.placement;
        // Whoever had it and gave it up is not the one to wait for.
        let only = driver.filter(|it| !self.search.is_out_of_question(*it));
        let opened = self.search.open(only, policy, now).into_iter();
        opened.chain(self.keep(now)).map(Event::Search).collect()
    }

    /// It is first seen whether it can be brought with others: nobody is asked about it alone meanwhile.
    fn keep(&self, now: Timestamp) -> Option<search::Event> {
        let is_kept = self.placement.kept_until.is_some_and(|until| now < until)
            && self.is_found_a_driver()
            && !self.is_past_hub()
            && !self.search.has_begun();
        let reason = "it is to be brought with others".to_owned();
        is_kept.then_some(search::Event::Held { at: now, by: Principal::System, reason })
    }

    pub(super) fn confirm_payment(&self, amount: i64, around: &Around) -> Answer {
        let owed = self.placement.fare.total().amount;
        if amount < owed {
            return Err(Refusal::invalid("amount", format!("{owed} are owed")));
        }
        if amount > owed.saturating_mul(OVERPAID_MAX) {
            return Err(Refusal::invalid("amount", format!("much more than the {owed} owed")));
        }
        let at = around.now;
        let confirmed = Event::PaymentConfirmed { amount, at };
        let begun = match self.placement.start_at {
            // However near: the timer begins the work, for it can wait until the rider is free.
            Some(start_at) => vec![self.schedule(start_at, None, at)],
            None => self.begin(at),
        };
        Ok([confirmed].into_iter().chain(begun).collect())
    }

    /// The stops still to come are replaced. A scheduled order has no driver who must agree.
    pub(super) fn modify_stops(
        &self,
        to_come: &[Place],
        fare: Option<&protocol::Fare>,
        around: &Around,
    ) -> Answer {
        if self.placement.hub.is_some() {
            return Err(Refusal::invalid("stops", "those of an order that goes by a hub stay"));
        }
        let done = self.placement.stops.iter().take(self.stops_done.into());
        let stops: Vec<Place> = done.chain(to_come).cloned().collect();
        if to_come.is_empty() || !(2..=STOPS_MAX).contains(&stops.len()) {
            return Err(Refusal::invalid("stops", "2 to 20 are needed, one of them still to come"));
        }
        if stops == self.placement.stops {
            return Ok(Vec::new());
        }
        match &self.stage {
            Stage::Scheduled { .. } => {
                Ok(vec![Event::StopsChanged { stops, fare: fare.cloned(), at: around.now }])
            }
            Stage::Driven { .. } => self.ask_for_change(stops, fare, around),
            Stage::Prepaying { .. }
            | Stage::Waiting { .. }
            | Stage::Looking
            | Stage::Ended { .. } => Err(self.illegal()),
        }
    }

    /// Ended by whatever is not the asker's choice: a timer, a payment.
    pub(super) fn call_off(
        &self,
        status: OrderStatus,
        reason: &str,
        around: &Around,
    ) -> Vec<Event> {
        let (by, reason, at) = (around.by, reason.to_owned(), around.now);
        let refund = self.paid();
        self.end_with(Event::Cancelled { status, by, reason, fee: 0, refund, at })
    }
}
