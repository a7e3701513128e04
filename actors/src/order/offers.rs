//! How an order gets its driver, and how it loses one.

use super::{Alert, Answer, Around, Event, Leg, Life, Stage};
use crate::{
    Refusal, reason,
    search::{self, Chosen, Decision, Given, Outcome},
};
use protocol::{
    DriverId, OfferStatus, OrderStatus, PartnerId, Role,
    trace::WhyNot,
    work::{OfferPolicy, Priority},
};

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
        if let search::Command::JoinRun { .. } = command {
            return self.join_run(command, around);
        }
        if let search::Command::LeaveRun { run, .. } = command {
            return self.leave_run(*run, command, around);
        }
        let is_no_news = matches!(
            command,
            search::Command::Bar { .. }
                | search::Command::Pause { .. }
                | search::Command::Unpause {}
        );
        if is_no_news && self.status().is_final() {
            return Ok(Vec::new());
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
        let is_last = self.search.is_in_feed() || policy.feed_ms == 0;
        if self.is_past_hub() && is_last {
            return self.stay_at_hub(around);
        }
        if self.search.is_in_feed() {
            return vec![
                Event::Search(search::Event::Closed { seen: None }),
                Event::NoDriverFound { at },
            ];
        }
        let failed = Event::DispatchFailed { at };
        if policy.feed_ms > 0 {
            return vec![failed, Event::Search(search::feed(policy, at))];
        }
        vec![
            failed,
            Event::Search(search::Event::Closed { seen: None }),
            Event::NoDriverFound { at },
        ]
    }

    pub(super) fn assign(&self, chosen: &Chosen, around: &Around) -> Answer {
        let Given { events, bypassed } = self.search.assign(chosen, &self.asked(around))?;
        if events.is_empty() {
            return Ok(Vec::new());
        }
        let (driver, reason) = (chosen.driver, chosen.reason.to_owned());
        let (by, at) = (around.by, around.now);
        let first = Event::DriverChosen { driver, by, reason, at, bypassed };
        Ok([first].into_iter().chain(events.into_iter().map(Event::Search)).collect())
    }

    /// Takes it from its driver and gives it to another one, or does neither.
    pub(super) fn reassign(&self, chosen: &Chosen, around: &Around) -> Answer {
        let Some(by) = self.assignment() else { return Err(self.illegal()) };
        let limits = [
            (by.driver == chosen.driver, WhyNot::HasIt),
            (self.was_for_one_only(), WhyNot::NotTheOne),
            (self.has_lost_too_many(), WhyNot::TooManyDrivers),
        ];
        let limits = limits.into_iter().filter(|(is_so, _)| *is_so).map(|(_, why)| why);
        let against: Vec<WhyNot> = limits.chain(chosen.against.iter().copied()).collect();
        let mut events = self.let_go(by.driver, chosen.reason, around);
        let mut after = self.clone();
        for event in &events {
            after.evolve(event);
        }
        events.extend(after.assign(&Chosen { against: &against, ..*chosen }, around)?);
        Ok(events)
    }

    pub(super) fn hold(&self, reason: &str, around: &Around) -> Vec<Event> {
        let held = self.search.hold(around.by, reason, around.now);
        held.into_iter().map(Event::Search).collect()
    }

    pub(super) fn resume(&self, reason: &str, around: &Around) -> Answer {
        Ok(self.searched(self.search.resume(around.by, reason, &self.asked(around))?, around))
    }

    pub(super) fn set_priority(
        &self,
        priority: Priority,
        reason: &str,
        around: &Around,
    ) -> Vec<Event> {
        let (by, reason, at) = (around.by, reason.to_owned(), around.now);
        let set = Event::PrioritySet { priority, by, reason, at };
        if priority == self.priority {
            return Vec::new();
        }
        // What is urgent is brought alone.
        let is_urgent = priority == Priority::Urgent;
        let left = self.search.left_run(OfferStatus::Withdrawn, false, around.now);
        left.filter(|_| is_urgent).map(Event::Search).into_iter().chain([set]).collect()
    }

    pub(super) fn set_fleet(
        &self,
        fleet: Option<PartnerId>,
        reason: &str,
        around: &Around,
    ) -> Answer {
        reason::check(reason)?;
        let decision = self.search.keep_to(fleet, around.by, reason, &self.asked(around));
        Ok(self.searched(decision, around))
    }

    pub(super) fn unassign(&self, reason: &str, around: &Around) -> Answer {
        if !self.may_reassign() {
            return Err(Refusal::TooLate("it has lost too many drivers; call it off".to_owned()));
        }
        Ok(self.lose_driver(reason, around))
    }

    pub(super) fn extend_search(&self, around: &Around) -> Answer {
        let is_at_hub = matches!(self.stage, Stage::Waiting { .. });
        if self.placement.policy.offer == OfferPolicy::Feed && !is_at_hub {
            return Err(Refusal::NotEligible("drivers are never asked here".to_owned()));
        }
        Ok(self
            .search
            .close(around.now)
            .into_iter()
            .map(Event::Search)
            .chain(self.begin_search(around.now))
            .collect())
    }

    /// The merchant keeps it until its rider comes.
    pub(super) fn collect_instead(&self, around: &Around) -> Vec<Event> {
        let chosen = Event::CollectionChosen { by: around.by, at: around.now };
        let closed = self.search.close(around.now).into_iter().map(Event::Search);
        closed.chain([chosen]).collect()
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
        self.let_go(by.driver, reason, around)
    }

    /// The driver is gone, and another one is looked for.
    pub(super) fn let_go(&self, driver: DriverId, reason: &str, around: &Around) -> Vec<Event> {
        let reason = reason.to_owned();
        let gone = Event::DriverGone { driver, by: around.by, reason, at: around.now };
        let excluded = Event::Search(search::Event::Excluded { driver });
        let mut after = self.clone();
        after.evolve(&gone);
        after.evolve(&excluded);
        [gone, excluded].into_iter().chain(after.begin_search(around.now)).collect()
    }

    /// Not too often, and not if it was for this driver and no other.
    pub(super) fn may_reassign(&self) -> bool {
        !self.has_lost_too_many() && !self.was_for_one_only()
    }

    /// From a hub goods must be brought on, however often somebody gives that up.
    fn has_lost_too_many(&self) -> bool {
        !self.is_past_hub() && self.n_reassigns >= self.placement.policy.reassigns_max
    }

    fn was_for_one_only(&self) -> bool {
        self.placement.driver.is_some() && self.placement.driver == self.driver()
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
            | search::Event::Barred { .. }
            | search::Event::Held { .. }
            | search::Event::Resumed { .. }
            | search::Event::FleetSet { .. }
            | search::Event::Paused { .. }
            | search::Event::Unpaused { .. }
            | search::Event::JoinedRun { .. }
            | search::Event::LeftRun { .. }
            | search::Event::Closed { .. } => {}
        }
    }
}
