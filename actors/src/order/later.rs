//! An order for later: its time, its reminder, its price until then, and how it wakes.

use super::{Answer, Around, Event, Life, PriceAsked, Stage, ms};
use crate::Refusal;
use protocol::{Fare, OrderStatus, Principal, Timestamp};

impl Life {
    /// It waits until its time is near.
    pub(super) fn schedule(
        &self,
        start_at: Timestamp,
        fare: Option<&Fare>,
        at: Timestamp,
    ) -> Event {
        let remind_ms = self.placement.policy.remind_ms;
        let remind_at = Some(start_at - ms(remind_ms)).filter(|it| remind_ms > 0 && *it > at);
        // A time so near that work must begin is settled by the timer, at once.
        let wake_at = self.wake_at(start_at).max(at);
        Event::Scheduled { start_at, wake_at, remind_at, fare: fare.cloned(), at }
    }

    /// Another time may have another price.
    pub(super) fn reschedule(
        &self,
        start_at: Timestamp,
        fare: Option<&Fare>,
        around: &Around,
    ) -> Answer {
        if self.placement.start_at == Some(start_at) {
            return Ok(Vec::new());
        }
        if start_at <= around.now {
            return Err(Refusal::invalid("start_at", "that moment has passed"));
        }
        fare.map_or(Ok(()), |fare| self.is_a_price(fare))?;
        Ok(vec![self.schedule(start_at, fare, around.now)])
    }

    /// When a job that should start then begins to look for a driver.
    pub(super) fn wake_at(&self, start_at: Timestamp) -> Timestamp {
        start_at - ms(self.placement.policy.lead_ms)
    }

    /// Its rider rides elsewhere. A ride that lasts longer than anyone wants to wait ends this one.
    pub(super) fn postpone(&self, around: &Around) -> Vec<Event> {
        let (policy, at) = (&self.placement.policy, around.now);
        match self.stage {
            Stage::Scheduled { wake_at } if wake_at <= at => {
                let start_at = self.placement.start_at.unwrap_or(wake_at);
                if start_at + ms(policy.late_max_ms) <= at {
                    let why = "the rider was still on another ride";
                    return self.call_off(OrderStatus::CancelledBySystem, why, around);
                }
                vec![Event::Postponed { wake_at: at + ms(policy.wake_again_ms.max(1)), at }]
            }
            Stage::Prepaying { .. }
            | Stage::Scheduled { .. }
            | Stage::Waiting { .. }
            | Stage::Looking
            | Stage::Driven { .. }
            | Stage::Ended { .. } => Vec::new(),
        }
    }

    /// What it would cost now. Less is passed on, a little more is not, and much more is asked.
    pub(super) fn requote(&self, fare: &Fare, around: &Around) -> Answer {
        self.is_a_price(fare)?;
        let (at, policy) = (around.now, &self.placement.policy);
        let (old, new) = (self.placement.fare.total().amount, fare.total().amount);
        let rise = i128::from(new) - i128::from(old);
        let rise_max = i128::from(old) * i128::from(policy.requote_percent) / 100;
        let is_kept = rise <= rise_max || policy.requote_percent == 0;
        let settled = |fare: &Fare| Event::PriceSettled { fare: fare.clone(), by: around.by, at };
        Ok(match &self.price_asked {
            _ if rise < 0 => vec![settled(fare)],
            Some(_) if is_kept => vec![settled(&self.placement.fare)],
            None if is_kept => Vec::new(),
            Some(asked) if asked.fare == *fare => Vec::new(),
            Some(_) | None => {
                let until = at + ms(policy.requote_ms);
                vec![Event::PriceAsked { fare: fare.clone(), until, at }]
            }
        })
    }

    pub(super) fn accept_price(&self, around: &Around) -> Answer {
        let asked = self.open_price(around)?;
        Ok(vec![Event::PriceSettled { fare: asked.fare.clone(), by: around.by, at: around.now }])
    }

    /// Nobody owes anything for not wanting to pay more than was promised.
    pub(super) fn decline_price(&self, around: &Around) -> Answer {
        self.open_price(around)?;
        let status = match around.by {
            Principal::Dispatcher | Principal::Admin => OrderStatus::CancelledByAdmin,
            Principal::Rider(_)
            | Principal::Driver(_)
            | Principal::Merchant(_)
            | Principal::System => OrderStatus::CancelledByRider,
        };
        Ok(self.call_off(status, "the new price was declined", around))
    }

    pub(super) fn tick_reminder(&self, around: &Around) -> Vec<Event> {
        let is_due = self.reminder_due().is_some_and(|due| due <= around.now);
        is_due.then_some(Event::Reminded { at: around.now }).into_iter().collect()
    }

    /// Silence is the answer that the policy says it is.
    pub(super) fn tick_price(&self, around: &Around) -> Vec<Event> {
        let Some(asked) = self.price_asked.as_ref().filter(|asked| asked.until <= around.now)
        else {
            return Vec::new();
        };
        if self.placement.policy.requote_silent_accepts {
            let (fare, by, at) = (asked.fare.clone(), around.by, around.now);
            return vec![Event::PriceSettled { fare, by, at }];
        }
        let why = "the new price was not accepted in time";
        self.call_off(OrderStatus::CancelledBySystem, why, around)
    }

    pub(super) fn reminder_due(&self) -> Option<Timestamp> {
        matches!(self.stage, Stage::Scheduled { .. }).then_some(self.remind_at).flatten()
    }

    fn open_price(&self, around: &Around) -> Result<&PriceAsked, Refusal> {
        let asked = self.price_asked.as_deref().filter(|asked| around.now < asked.until);
        asked.ok_or_else(|| Refusal::TooLate("no new price is waiting for an answer".to_owned()))
    }

    fn is_a_price(&self, fare: &Fare) -> Result<(), Refusal> {
        if fare.currency != self.placement.fare.currency {
            return Err(Refusal::invalid("fare", "in another currency"));
        }
        if fare.total().amount < 0 {
            return Err(Refusal::invalid("fare", "cannot be negative"));
        }
        Ok(())
    }
}
