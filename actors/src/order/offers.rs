//! How an order gets its driver, and how it loses one.

use super::{Alert, Answer, Around, Event, Leg, Life, Stage};
use crate::{
    Refusal,
    search::{self, Decision, Outcome},
};
use protocol::{DriverId, OrderStatus, Role, work::OfferPolicy};

impl Life {
    /// What a region or a driver says about the search.
    pub(super) fn hear_of_search(&self, command: &search::Command, around: &Around) -> Answer {
        if let search::Command::DriverLost { driver, reason } = command
            && self.assignment().is_some_and(|by| by.driver == *driver)
        {
            return self.driver_lost(reason, around);
        }
        if let search::Command::Settle { driver, slots } = command {
            return Ok(self.settle(*driver, slots, around));
        }
        let decision = self.search.decide(command, &self.asked(around))?;
        Ok(self.searched(decision, around))
    }

    /// Exchanges the place behind another job for slots of its own.
    fn settle(&self, driver: DriverId, slots: &[u8], around: &Around) -> Vec<Event> {
        let waits = |by: &&search::Assignment| by.driver == driver && by.is_next();
        let settled = Event::Settled { slots: slots.to_vec(), at: around.now };
        self.assignment().filter(waits).map(|_| settled).into_iter().collect()
    }

    /// Nobody sets off to a job before the one they are on has ended.
    pub(super) fn must_have_begun(&self) -> Result<(), Refusal> {
        if self.assignment().is_some_and(search::Assignment::is_next) {
            let what = "the driver finishes another job first".to_owned();
            return Err(Refusal::TooEarly { what, remaining_ms: 10_000 });
        }
        Ok(())
    }

    /// What the search's answer means for the order.
    pub(super) fn searched(&self, decision: Decision, around: &Around) -> Vec<Event> {
        let mut events: Vec<_> = decision.events.into_iter().map(Event::Search).collect();
        match decision.outcome {
            None => {}
            Some(Outcome::Won(by)) => events.push(match self.stage {
                Stage::Driven { .. } => Event::CustodyPassed(by),
                Stage::Prepaying { .. }
                | Stage::Scheduled { .. }
                | Stage::Waiting { .. }
                | Stage::Looking
                | Stage::Ended { .. } => Event::Assigned(by),
            }),
            Some(Outcome::Exhausted) => events.extend(self.exhausted(around)),
        }
        events
    }

    /// Nobody could be asked; then nobody wanted it.
    fn exhausted(&self, around: &Around) -> Vec<Event> {
        let at = around.now;
        let policy = &self.placement.policy;
        if self.search.is_in_feed() {
            return vec![Event::Search(search::Event::Closed {}), Event::NoDriverFound { at }];
        }
        let failed = Event::DispatchFailed { at };
        if policy.feed_ms > 0 {
            return vec![failed, Event::Search(search::feed(policy, at))];
        }
        vec![failed, Event::Search(search::Event::Closed {}), Event::NoDriverFound { at }]
    }

    pub(super) fn assign(
        &self,
        driver: DriverId,
        force: bool,
        reason: &str,
        around: &Around,
    ) -> Answer {
        if force && reason.trim().is_empty() {
            return Err(Refusal::invalid("reason", "forcing needs one"));
        }
        let decision = self.search.assign(driver, force, &self.asked(around))?;
        if decision.events.is_empty() {
            return Ok(Vec::new());
        }
        let (by, reason, at) = (around.by, reason.to_owned(), around.now);
        let chosen = Event::DriverChosen { driver, by, reason, at };
        Ok([chosen].into_iter().chain(self.searched(decision, around)).collect())
    }

    pub(super) fn unassign(&self, reason: &str, around: &Around) -> Answer {
        if !self.may_reassign() {
            return Err(Refusal::TooLate("it has lost too many drivers; call it off".to_owned()));
        }
        Ok(self.lose_driver(reason, around))
    }

    pub(super) fn extend_search(&self, around: &Around) -> Answer {
        if self.placement.policy.offer == OfferPolicy::Feed {
            return Err(Refusal::NotEligible("drivers are never asked here".to_owned()));
        }
        Ok(self
            .search
            .close()
            .into_iter()
            .map(Event::Search)
            .chain(self.begin_search(around.now))
            .collect())
    }

    /// The merchant keeps it until its rider comes.
    pub(super) fn collect_instead(&self, around: &Around) -> Vec<Event> {
        let chosen = Event::CollectionChosen { by: around.by, at: around.now };
        self.search.close().into_iter().map(Event::Search).chain([chosen]).collect()
    }

    /// Before the pickup another driver is looked for; after it only a person can help, and the
    /// driver keeps the job until then.
    fn driver_lost(&self, reason: &str, around: &Around) -> Answer {
        match self.leg() {
            Some(Leg::Assigned | Leg::EnRoutePickup | Leg::AtPickup { .. }) => {
                Ok(self.lose_driver(reason, around))
            }
            Some(
                Leg::InProgress { .. }
                | Leg::PickedUp
                | Leg::InTransit
                | Leg::AtStop
                | Leg::AtDropoff { .. }
                | Leg::FailedAttempt
                | Leg::Returning,
            )
            | None => {
                if self.is_driver_lost {
                    return Err(Refusal::TooLate("rider or goods are on board".to_owned()));
                }
                Ok(self.report_driver_lost(around))
            }
        }
    }

    pub(super) fn report_driver_lost(&self, around: &Around) -> Vec<Event> {
        if self.is_driver_lost {
            return Vec::new();
        }
        vec![Event::Alerted { what: Alert::DriverLost, at: around.now }]
    }

    pub(super) fn lose_driver(&self, reason: &str, around: &Around) -> Vec<Event> {
        let Some(by) = self.assignment() else { return Vec::new() };
        if !self.may_reassign() {
            let status = match around.by.role() {
                Role::Driver => OrderStatus::CancelledByDriver,
                Role::Rider | Role::Merchant | Role::Dispatcher | Role::Admin | Role::System => {
                    OrderStatus::CancelledBySystem
                }
            };
            return self.call_off(status, reason, around);
        }
        let (driver, reason) = (by.driver, reason.to_owned());
        let gone = Event::DriverGone { driver, by: around.by, reason, at: around.now };
        let excluded = Event::Search(search::Event::Excluded { driver });
        [gone, excluded].into_iter().chain(self.begin_search(around.now)).collect()
    }

    /// Not too often, and not if it was for this driver and no other.
    fn may_reassign(&self) -> bool {
        let was_the_only =
            self.placement.driver.is_some() && self.placement.driver == self.driver();
        self.n_reassigns < self.placement.policy.reassigns_max && !was_the_only
    }

    pub(super) fn apply_search(&mut self, event: &search::Event) {
        self.search.evolve(event);
        match event {
            search::Event::Opened { .. } | search::Event::FeedOpened { .. } => {
                self.stage = Stage::Looking;
            }
            search::Event::TierOpened { .. }
            | search::Event::OfferMade { .. }
            | search::Event::OfferRefused { .. }
            | search::Event::OfferSeen { .. }
            | search::Event::OfferConfirmed { .. }
            | search::Event::OfferClosed { .. }
            | search::Event::Excluded { .. }
            | search::Event::Closed {} => {}
        }
    }
}
