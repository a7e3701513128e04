//! What an order does by itself when time passes. The deadline is derived from the state, so no rule
//! can forget to arm or to cancel one.

use super::{Alert, Around, Event, Leg, Life, Sla, Stage, ms};
use protocol::{OrderStatus, Timestamp};
use std::time::Duration;

/// How many things can be due at once: each timer fires at most once, a basket's items one by one.
/// Should there be more, the next tick does them.
const DUE_MAX: usize = 32;

impl Life {
    /// The soonest of everything that is armed.
    pub(super) fn deadline(&self) -> Option<Timestamp> {
        let of_stage = match &self.stage {
            Stage::Ended { .. } => return None,
            Stage::Prepaying { until } => Some(*until),
            // Nobody is looked for at a price that nobody has agreed to.
            Stage::Scheduled { wake_at } => self.price_asked.is_none().then_some(*wake_at),
            Stage::Waiting { search_at } => *search_at,
            Stage::Looking | Stage::Driven { .. } => None,
        };
        [
            of_stage,
            self.search.deadline(),
            self.kept_until(),
            self.sla_deadline(),
            self.fulfilment_deadline(),
            self.cancel_request.and_then(|request| request.until),
            self.change().map(|change| change.until),
            self.reminder_due(),
            self.price_asked.as_ref().map(|asked| asked.until),
            self.ending().and_then(|ending| ending.alert_at),
            self.stuck_at(),
        ]
        .into_iter()
        .flatten()
        .min()
    }

    /// Does everything that is due, one thing after another.
    pub(super) fn tick(&self, around: &Around) -> Vec<Event> {
        let mut after = self.clone();
        let mut events = Vec::new();
        for _ in 0..DUE_MAX {
            for event in after.due(around) {
                after.evolve(&event);
                events.push(event);
            }
        }
        events
    }

    /// The first thing that is due, besides the service level.
    fn due(&self, around: &Around) -> Vec<Event> {
        if self.deadline().is_none_or(|deadline| around.now < deadline) {
            return Vec::new();
        }
        let rules: [fn(&Self, &Around) -> Vec<Event>; 10] = [
            Self::tick_reminder,
            Self::tick_price,
            Self::tick_stage,
            Self::tick_search,
            Self::tick_kept,
            Self::tick_fulfilment,
            Self::tick_cancel_request,
            Self::tick_change,
            Self::tick_ending,
            Self::tick_stuck,
        ];
        let mut events = self.tick_sla(around);
        let first = rules.iter().map(|rule| rule(self, around)).find(|due| !due.is_empty());
        events.extend(first.unwrap_or_default());
        events
    }

    fn tick_stage(&self, around: &Around) -> Vec<Event> {
        let now = around.now;
        match &self.stage {
            Stage::Prepaying { until } if *until <= now => {
                self.call_off(OrderStatus::CancelledBySystem, "it was not paid in time", around)
            }
            Stage::Scheduled { wake_at } if *wake_at <= now && self.price_asked.is_none() => {
                self.begin_work(now)
            }
            Stage::Waiting { search_at: Some(at) } if *at <= now => self.begin_search(now),
            Stage::Prepaying { .. }
            | Stage::Scheduled { .. }
            | Stage::Waiting { .. }
            | Stage::Looking
            | Stage::Driven { .. }
            | Stage::Ended { .. } => Vec::new(),
        }
    }

    fn tick_search(&self, around: &Around) -> Vec<Event> {
        let decision = self.search.tick(&self.asked(around));
        self.searched(decision, around)
    }

    /// Nobody has brought it with others: from now on drivers are asked about it alone.
    fn tick_kept(&self, around: &Around) -> Vec<Event> {
        if self.kept_until().is_none_or(|until| around.now < until) {
            return Vec::new();
        }
        let resumed = self.resume("nobody brings it with others", around);
        // Its zone could refuse, but what is kept stands still for no zone.
        resumed.unwrap_or_default()
    }

    /// Until when it waits to be brought with others, while it does.
    fn kept_until(&self) -> Option<Timestamp> {
        self.placement.kept_until.filter(|_| self.search.is_kept() && !self.is_past_hub())
    }

    fn tick_cancel_request(&self, around: &Around) -> Vec<Event> {
        let until = self.cancel_request.and_then(|request| request.until);
        once(until, around.now, Event::CancelEscalated { at: around.now })
    }

    fn tick_change(&self, around: &Around) -> Vec<Event> {
        let until = self.change().map(|change| change.until);
        once(until, around.now, Event::ChangeDeclined { by: around.by, at: around.now })
    }

    fn tick_ending(&self, around: &Around) -> Vec<Event> {
        let alert_at = self.ending().and_then(|ending| ending.alert_at);
        let overdue = Event::Alerted { what: Alert::EndOverdue, at: around.now };
        once(alert_at, around.now, overdue)
    }

    fn tick_stuck(&self, around: &Around) -> Vec<Event> {
        let stuck = Event::Alerted { what: Alert::Stuck, at: around.now };
        once(self.stuck_at(), around.now, stuck)
    }

    fn tick_sla(&self, around: &Around) -> Vec<Event> {
        let (Some(risk_at), Some(breach_at)) = (self.sla_at(80), self.sla_at(100)) else {
            return Vec::new();
        };
        let at = around.now;
        let is_at_risk = self.sla == Sla::Kept && risk_at <= at;
        let is_breached = self.sla != Sla::Breached && breach_at <= at;
        let events = [
            is_at_risk.then_some(Event::SlaAtRisk { at }),
            is_breached.then_some(Event::SlaBreached { at }),
        ];
        events.into_iter().flatten().collect()
    }

    fn sla_deadline(&self) -> Option<Timestamp> {
        match self.sla {
            Sla::Kept => self.sla_at(80),
            Sla::AtRisk => self.sla_at(100),
            Sla::Breached => None,
        }
    }

    /// When that many percent of the promised time are over.
    fn sla_at(&self, percent: u64) -> Option<Timestamp> {
        let promised_ms = u64::from(self.placement.policy.sla_ms);
        let from = self.awaited_from();
        (promised_ms > 0).then(|| from + Duration::from_millis(promised_ms * percent / 100))
    }

    /// Since when somebody waits for it: when it was placed, when it is to start, or until when it stays at its hub, whichever is
    /// latest.
    pub(super) fn awaited_from(&self) -> Timestamp {
        let at_hub = self.placement.hub.as_deref().and_then(|hub| hub.until);
        [self.placement.start_at, at_hub].into_iter().flatten().fold(self.placed_at, Timestamp::max)
    }

    /// Until when it was promised to be done, if it was.
    pub(super) fn promised(&self) -> Option<Timestamp> {
        self.sla_at(100)
    }

    fn stuck_at(&self) -> Option<Timestamp> {
        Some(self.moved_at? + ms(self.placement.policy.stuck_ms))
    }

    /// A dispatcher is told once.
    pub(super) fn apply_alert(&mut self, what: Alert) {
        match what {
            Alert::Stuck => self.moved_at = None,
            Alert::EndOverdue => {
                if let Some(Leg::InProgress { ending: Some(ending), .. }) = self.leg_mut() {
                    ending.alert_at = None;
                }
            }
            Alert::ReadyOverdue => self.forget_ready_by(),
            Alert::DriverLost => self.is_driver_lost = true,
            Alert::CodeLocked => {}
        }
    }
}

fn once(due: Option<Timestamp>, now: Timestamp, event: Event) -> Vec<Event> {
    if due.is_some_and(|due| due <= now) { vec![event] } else { Vec::new() }
}
