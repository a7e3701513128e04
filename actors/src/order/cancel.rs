//! How an order is called off, and what that costs.

use super::{Answer, Around, Event, Leg, Life};
use crate::{Refusal, incident, policy::JobPolicy};
use protocol::{
    OrderStatus, Role, Timestamp,
    work::{CancelDecision, OrderKind},
};
use std::time::Duration;

/// Part of a basket's price that comes back this long after the merchant accepted, in percent.
pub(super) fn confirmed_refund(policy: &JobPolicy, since: Duration) -> u8 {
    let [first, then, last] = policy.confirmed_refund_percent;
    let [then_ms, last_ms] = policy.confirmed_refund_ms;
    match since {
        _ if since < super::ms(then_ms) => first,
        _ if since < super::ms(last_ms) => then,
        _ => last,
    }
}

/// That many percent, but never more than all of it, in whole minor units, rounded down.
pub(super) fn percent_of(percent: u8, amount: i64) -> i64 {
    let share = i128::from(amount) * i128::from(percent.min(100)) / 100;
    i64::try_from(share).expect("a part is no larger than the whole")
}

impl Life {
    pub(super) fn cancel(&self, reason: &str, around: &Around) -> Answer {
        let status = match around.by.role() {
            Role::Driver => return Ok(self.lose_driver(reason, around)),
            Role::Rider => OrderStatus::CancelledByRider,
            Role::Merchant => OrderStatus::CancelledByMerchant,
            Role::Dispatcher | Role::Admin => OrderStatus::CancelledByAdmin,
            Role::System => OrderStatus::CancelledBySystem,
        };
        let fee = match around.by.role() {
            Role::Rider => self.cancel_fee(around.now),
            Role::Driver | Role::Merchant | Role::Dispatcher | Role::Admin | Role::System => 0,
        };
        let (by, reason, at) = (around.by, reason.to_owned(), around.now);
        let refund = (self.paid() - fee).max(0);
        Ok(self.end_with(Event::Cancelled { status, by, reason, fee, refund, at }))
    }

    /// Nobody owes anything, whoever asks and wherever the order is; and somebody is told.
    pub(super) fn cancel_safety(&self, reason: &str, around: &Around) -> Vec<Event> {
        let incident = Event::IncidentOpened { by: around.by, at: around.now };
        // Not before every node can read it; that is no reason to wait.
        let incident = (around.writes >= incident::KNOWN).then_some(incident);
        let end = self.call_off(OrderStatus::CancelledSafety, reason, around);
        incident.into_iter().chain(end).collect()
    }

    pub(super) fn request_cancel(&self, reason: &str, around: &Around) -> Vec<Event> {
        if self.cancel_request.is_some() {
            return Vec::new();
        }
        let until = around.now + super::ms(self.placement.policy.cancel_request_ms);
        let (by, reason, at) = (around.by, reason.to_owned(), around.now);
        vec![Event::CancelAsked { by, reason, until, at }]
    }

    pub(super) fn decide_cancel(&self, decision: CancelDecision, around: &Around) -> Answer {
        let Some(request) = self.cancel_request else {
            return Err(Refusal::TooLate("nobody asks to call it off".to_owned()));
        };
        let role = around.by.role();
        if role == request.by {
            return Err(Refusal::NotYours("the other side decides".to_owned()));
        }
        if request.until.is_none() && role != Role::Admin {
            return Err(Refusal::NotYours("it was not answered in time; an admin decides".into()));
        }
        if decision == CancelDecision::Complete && role == Role::Driver {
            return Err(Refusal::NotYours("a driver cannot declare it delivered".to_owned()));
        }
        let (by, at) = (around.by, around.now);
        Ok(match decision {
            CancelDecision::Return => {
                vec![Event::ReturnStarted { reason: "called off on the way".to_owned(), at }]
            }
            CancelDecision::Complete => {
                self.end_with(Event::Delivered { proofs: Vec::new(), cash: None, by, at })
            }
            CancelDecision::Deny => vec![Event::CancelDenied { by, at }],
        })
    }

    /// What was paid in advance, in minor units.
    pub(super) fn paid(&self) -> i64 {
        self.paid
    }

    fn cancel_fee(&self, now: Timestamp) -> i64 {
        let total = self.placement.fare.total().amount;
        if self.placement.kind == OrderKind::Commerce {
            return total - percent_of(self.basket_refund_percent(now), total);
        }
        if self.is_past_hub() {
            // That part of the way is gone; where it lies it can be fetched. Nor need anybody pay to wait for nobody.
            return if self.search.is_held() { 0 } else { self.share_to_hub(total) };
        }
        let Some(by) = self.assignment() else { return 0 };
        let policy = &self.placement.policy;
        let is_free = self.n_reassigns > 0 || now.since(by.at) < super::ms(policy.cancel_free_ms);
        match self.leg() {
            _ if is_free => 0,
            Some(Leg::AtPickup { .. }) => percent_of(policy.at_pickup_fee_percent, total),
            _ => percent_of(policy.on_the_way_fee_percent, total),
        }
    }
}
