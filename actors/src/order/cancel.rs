//! How an order is called off, and what that costs.

use super::{Answer, Around, Event, Leg, Life};
use crate::Refusal;
use protocol::{
    OrderStatus, Role, Timestamp,
    work::{CancelDecision, OrderKind},
};
use std::time::Duration;

/// Part of the fare a rider owes who calls it off while the driver is on the way.
const ON_THE_WAY_PERCENT: i64 = 10;
/// Part of the fare a rider owes who calls it off while the driver waits.
const AT_PICKUP_PERCENT: i64 = 25;
/// Part of the fare a rider owes who does not come.
pub(super) const NO_SHOW_PERCENT: i64 = 50;
/// Part of a basket's price that comes back while it is being made.
pub(super) const PREPARING_REFUND_PERCENT: i64 = 50;

/// Part of a basket's price that comes back this long after the merchant accepted.
pub(super) fn confirmed_refund(since: Duration) -> i64 {
    match since {
        _ if since < Duration::from_mins(5) => 100,
        _ if since < Duration::from_mins(10) => 90,
        _ => 80,
    }
}

/// That many percent, in whole minor units, rounded down.
pub(super) fn percent_of(percent: i64, amount: i64) -> i64 {
    (i128::from(amount) * i128::from(percent) / 100) as i64
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

    /// Nobody owes anything, whoever asks and wherever the order is.
    pub(super) fn cancel_safety(&self, reason: &str, around: &Around) -> Vec<Event> {
        self.call_off(OrderStatus::CancelledSafety, reason, around)
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
        let Some(by) = self.assignment() else { return 0 };
        let is_free = self.n_reassigns > 0
            || now.since(by.at) < super::ms(self.placement.policy.cancel_free_ms);
        match self.leg() {
            _ if is_free => 0,
            Some(Leg::AtPickup { .. }) => percent_of(AT_PICKUP_PERCENT, total),
            _ => percent_of(ON_THE_WAY_PERCENT, total),
        }
    }
}
