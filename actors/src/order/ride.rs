//! What a driver and a rider do on a ride, and after it.

use super::{Answer, Around, Change, Ending, Event, Leg, Life, Stage, cancel, ms};
use crate::Refusal;
use protocol::{
    Fare, FareLine, OrderStatus, Place, Point, Principal, Role,
    work::{EarlyReason, OrderKind},
};
use strum::IntoEnumIterator;

/// Largest tip, in minor units: beyond it somebody's finger slipped, or somebody tries the ledger.
const TIP_MAX: i64 = 100_000_000;

impl Life {
    /// At the pickup, or with goods at the last stop.
    pub(super) fn arrive(&self, around: &Around) -> Answer {
        self.must_have_begun()?;
        let policy = &self.placement.policy;
        let is_on_the_way = matches!(self.leg(), Some(Leg::InTransit));
        if is_on_the_way && !self.is_at_last_stop() {
            return Err(Refusal::invalid("stop", "there are stops before the last one"));
        }
        if is_on_the_way {
            self.within(self.dropoff().at, policy.dropoff_fence_m, around)?;
        } else {
            self.within(self.pickup().at, policy.pickup_fence_m, around)?;
        }
        Ok(vec![Event::Arrived { by: around.by, at: around.now }])
    }

    pub(super) fn contacted(&self, around: &Around) -> Vec<Event> {
        match self.leg() {
            Some(
                Leg::AtPickup { is_contacted: true, .. } | Leg::AtDropoff { is_contacted: true },
            ) => Vec::new(),
            _ => vec![Event::Contacted { at: around.now }],
        }
    }

    pub(super) fn on_board(&self, around: &Around) -> Answer {
        match self.leg() {
            Some(Leg::AtPickup { is_on_board: true, .. }) => Ok(Vec::new()),
            _ => Ok(vec![Event::Boarded { at: around.now }]),
        }
    }

    pub(super) fn start(&self, code: Option<&str>, around: &Around) -> Answer {
        let Some(Leg::AtPickup { since, is_on_board, .. }) = self.leg() else {
            return Err(self.illegal());
        };
        let policy = &self.placement.policy;
        let is_driver = around.by.role() == Role::Driver;
        self.within(self.pickup().at, policy.pickup_fence_m, around)?;
        self.may_try_code(around)?;
        if is_driver && policy.start_code && code != self.placement.code.as_deref() {
            return Err(Refusal::WrongCode);
        }
        if is_driver && policy.on_board_check && !is_on_board {
            return Err(Refusal::ProofMissing("the rider has not said to be on board".to_owned()));
        }
        let waited_ms = around.now.since(*since).as_millis() as u64;
        let started = Event::Started { waited_ms, at: around.now };
        Ok(self.charge_pickup(around).into_iter().chain([started]).collect())
    }

    /// The driver waited long enough, without a break and inside the fence, and tried to call.
    pub(super) fn no_show(&self, around: &Around) -> Answer {
        let Some(Leg::AtPickup { since, is_contacted, .. }) = self.leg() else {
            return Err(self.illegal());
        };
        let policy = &self.placement.policy;
        self.within(self.pickup().at, policy.pickup_fence_m, around)?;
        if !is_contacted {
            return Err(Refusal::ProofMissing("the rider was not contacted".to_owned()));
        }
        let in_fence_since = self.track.in_fence_since().unwrap_or(around.now).max(*since);
        let may_leave_at = in_fence_since + ms(policy.no_show_ms);
        if around.now < may_leave_at {
            let remaining_ms = may_leave_at.since(around.now).as_millis() as u64;
            return Err(Refusal::TooEarly { what: "waiting at the pickup".into(), remaining_ms });
        }
        let total = self.placement.fare.total().amount;
        let fee = cancel::percent_of(policy.no_show_fee_percent, total);
        Ok(self.end_with(Event::NoShow { fee, at: around.now }))
    }

    pub(super) fn ask_for_change(
        &self,
        stops: Vec<Place>,
        fare: Option<&Fare>,
        around: &Around,
    ) -> Answer {
        let Some(Leg::InProgress { change, .. }) = self.leg() else { return Err(self.illegal()) };
        match change.as_deref() {
            Some(pending) if pending.stops == stops => Ok(Vec::new()),
            Some(pending) => {
                let remaining_ms = pending.until.since(around.now).as_millis() as u64;
                let what = "the driver has not answered the last change".to_owned();
                Err(Refusal::TooEarly { what, remaining_ms })
            }
            None => {
                let until = around.now + ms(self.placement.policy.change_ms);
                let (fare, at) = (fare.cloned(), around.now);
                Ok(vec![Event::ChangeAsked { stops, fare, until, at }])
            }
        }
    }

    pub(super) fn accept_change(&self, around: &Around) -> Answer {
        match self.change() {
            Some(change) if around.now < change.until => Ok(vec![Event::StopsChanged {
                stops: change.stops.clone(),
                fare: change.fare.clone(),
                at: around.now,
            }]),
            Some(_) | None => Err(Refusal::TooLate("no change is waiting for an answer".into())),
        }
    }

    /// "No" to a change that is gone is already so.
    pub(super) fn decline_change(&self, around: &Around) -> Vec<Event> {
        let declined = Event::ChangeDeclined { by: around.by, at: around.now };
        self.change().map(|_| declined).into_iter().collect()
    }

    pub(super) fn finish(
        &self,
        code: Option<&str>,
        early_reason: Option<&str>,
        around: &Around,
    ) -> Answer {
        if early_reason.is_some_and(|reason| reason.parse::<EarlyReason>().is_err()) {
            let known: Vec<_> = EarlyReason::iter().map(|reason| reason.to_string()).collect();
            return Err(Refusal::invalid("early_reason", format!("one of {}", known.join(", "))));
        }
        let is_early = self.ending().is_some() || early_reason.is_some();
        if !is_early {
            if around.by.role() != Role::Driver {
                return Err(Refusal::invalid("early_reason", "staff must say why"));
            }
            if !self.is_at_last_stop() {
                return Err(Refusal::invalid("stop", "there are stops before the last one"));
            }
            self.within(self.dropoff().at, self.placement.policy.dropoff_fence_m, around)?;
        }
        self.may_try_code(around)?;
        if code.is_some() && code != self.placement.code.as_deref() {
            return Err(Refusal::WrongCode);
        }
        let ended = self.end_with(Event::Completed {
            distance_m: self.metered_m.saturating_add(self.track.unmetered_m()),
            early_reason: early_reason.map(str::to_owned),
            at: around.now,
        });
        Ok(self.go_on_from_here(early_reason, around).into_iter().chain(ended).collect())
    }

    /// A started ride is never cancelled; it ends early, at a chargeable distance.
    pub(super) fn end_early(&self, reason: &str, around: &Around) -> Vec<Event> {
        if self.ending().is_some() {
            return Vec::new();
        }
        let until = around.now + ms(self.placement.policy.early_end_ms);
        let (by, reason, at) = (around.by, reason.to_owned(), around.now);
        vec![Event::EndAsked { by, reason, until, at }]
    }

    pub(super) fn adjust_fare_down(&self, percent: u8, around: &Around) -> Answer {
        if !(1..=100).contains(&percent) {
            return Err(Refusal::invalid("percent", "1 to 100"));
        }
        match self.aftermath.lowered_percent {
            Some(lowered) if lowered == percent => return Ok(Vec::new()),
            Some(_) => return Err(Refusal::TooLate("it was lowered before".into())),
            None => {}
        }
        self.within_time(self.placement.policy.adjust_ms, "lowering the fare", around)?;
        let mut fare = self.placement.fare.clone();
        let off = cancel::percent_of(percent, fare.total().amount);
        fare.lines.push(FareLine { code: "lowered_by_driver".to_owned(), amount: -off });
        Ok(vec![Event::FareLowered { percent, fare, at: around.now }])
    }

    pub(super) fn tip(&self, amount: i64, around: &Around) -> Answer {
        if amount <= 0 {
            return Err(Refusal::invalid("amount", "must be more than nothing"));
        }
        if amount > TIP_MAX {
            return Err(Refusal::invalid("amount", "more than anyone tips"));
        }
        if self.driver().is_none() {
            return Err(Refusal::NotEligible("nobody drove".into()));
        }
        match self.aftermath.tip {
            Some(tip) if tip == amount => return Ok(Vec::new()),
            Some(_) => return Err(Refusal::TooLate("a tip was given before".into())),
            None => {}
        }
        self.within_time(self.placement.policy.rate_ms / 7, "tipping", around)?;
        Ok(vec![Event::Tipped { amount, at: around.now }])
    }

    pub(super) fn rate(&self, stars: u8, around: &Around) -> Answer {
        if !(1..=5).contains(&stars) {
            return Err(Refusal::invalid("stars", "1 to 5"));
        }
        let is_rider = around.by.role() == Role::Rider;
        let given = match is_rider {
            true => self.aftermath.stars_by_rider,
            false => self.aftermath.stars_by_driver,
        };
        match given {
            Some(given) if given == stars => return Ok(Vec::new()),
            Some(_) => return Err(Refusal::TooLate("it was rated before".into())),
            None => {}
        }
        self.within_time(self.placement.policy.rate_ms, "rating", around)?;
        Ok(vec![Event::Rated { by: around.by.role(), stars, at: around.now }])
    }

    pub(super) fn change(&self) -> Option<&Change> {
        match self.leg() {
            Some(Leg::InProgress { change, .. }) => change.as_deref(),
            _ => None,
        }
    }

    pub(super) fn ending(&self) -> Option<Ending> {
        match self.leg() {
            Some(Leg::InProgress { ending, .. }) => *ending,
            _ => None,
        }
    }

    /// A driver's word about where they are is checked; the word of others counts as it is.
    pub(super) fn within(
        &self,
        place: Point,
        limit_m: u32,
        around: &Around,
    ) -> Result<(), Refusal> {
        match around.by {
            Principal::Driver(_) => {}
            Principal::Rider(_)
            | Principal::Merchant(_)
            | Principal::Dispatcher
            | Principal::Admin
            | Principal::System => return Ok(()),
        }
        let Some((at, seen_at)) = self.track.seen(around.now) else {
            let what = "no recent position of the driver".to_owned();
            return Err(Refusal::TooEarly { what, remaining_ms: 1_000 });
        };
        let distance_m = at.distance_m(place).round() as u32;
        if distance_m > limit_m {
            return Err(Refusal::too_far(distance_m, limit_m, around.now.since(seen_at)));
        }
        Ok(())
    }

    pub(super) fn within_time(
        &self,
        window_ms: u32,
        what: &str,
        around: &Around,
    ) -> Result<(), Refusal> {
        let Stage::Ended { at, .. } = self.stage else { return Err(self.illegal()) };
        if around.now >= at + ms(window_ms) {
            return Err(Refusal::TooLate(what.to_owned()));
        }
        Ok(())
    }

    pub(super) fn is_ride(&self) -> bool {
        self.placement.kind == OrderKind::Ride
    }

    /// The last events of an order: no offer outlives it.
    pub(super) fn end_with(&self, end: Event) -> Vec<Event> {
        debug_assert!(end.ends_with().is_some_and(OrderStatus::is_final), "{end:?} ends nothing");
        let at = end.at().unwrap_or(self.changed_at);
        self.search.close(at).into_iter().map(Event::Search).chain([end]).collect()
    }
}
