//! The merchant's side of a commerce order, beside its transport: the food cooks while a driver is
//! found.

use super::{Alert, Answer, Around, Life, Stage, cancel, ms};
use crate::Refusal;
use protocol::{
    FulfilmentStatus, OrderStatus, Principal, Timestamp,
    work::{Handoff, OrderKind},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long before the food is ready a driver is looked for.
const PICKUP_LEAD: Duration = Duration::from_mins(10);
/// How late a merchant may be before a dispatcher is told.
const OVERDUE: Duration = Duration::from_mins(10);
/// How long preparing is thought to take when nobody has said.
const PREP_MIN: u16 = 15;

/// What has happened on the merchant's side.
#[derive(
    Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr, strum::VariantNames,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Event {
    /// The merchant has been shown the order.
    MerchantAsked {
        /** How long the merchant has. */
        until: Timestamp,
        /** When. */
        at: Timestamp,
    },
    /// The merchant, or the rules in its place, will make it.
    MerchantConfirmed {
        /** Who says so. */
        by: Principal,
        /** When it should be ready. */
        ready_by: Timestamp,
        /** When a driver is looked for; never, if the rider collects it. */
        search_at: Option<Timestamp>,
        /** When. */
        at: Timestamp,
    },
    /// The merchant, or the rules in its place, will not.
    MerchantRejected {
        /** When. */
        at: Timestamp,
    },
    /// It is being made.
    PrepStarted {
        /** When. */
        at: Timestamp,
    },
    /// It may be picked up.
    GoodsReady {
        /** When. */
        at: Timestamp,
    },
    /// One item cannot be had.
    ItemMissed {
        /** Which, from 0. */
        item: u16,
        /** How long the rider may choose. */
        until: Timestamp,
        /** When. */
        at: Timestamp,
    },
    /// What becomes of it is settled.
    ItemSettled {
        /** Which, from 0. */
        item: u16,
        /** Something like it (true), or the money (false). */
        replace: bool,
        /** Who says so; the platform, when the time is over. */
        by: Principal,
        /** When. */
        at: Timestamp,
    },
    /// It has left the merchant.
    HandedOver {
        /** When. */
        at: Timestamp,
    },
}

impl Event {
    /// When it happened.
    pub fn at(&self) -> Timestamp {
        match self {
            Self::MerchantAsked { at, .. }
            | Self::MerchantConfirmed { at, .. }
            | Self::MerchantRejected { at }
            | Self::PrepStarted { at }
            | Self::GoodsReady { at }
            | Self::ItemMissed { at, .. }
            | Self::ItemSettled { at, .. }
            | Self::HandedOver { at } => *at,
        }
    }
}

/// Where the merchant is.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct Fulfilment {
    status: FulfilmentStatus,
    /// When the merchant accepted; what cancelling costs depends on it.
    confirmed_at: Option<Timestamp>,
    /// When an answer, or the goods, are due; unset once a dispatcher was told.
    due: Option<Timestamp>,
    missing: Vec<Missing>,
}

#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Missing {
    item: u16,
    /// How long the rider may choose.
    until: Timestamp,
    /// What was chosen: something like it (true), or the money (false).
    replace: Option<bool>,
}

impl Fulfilment {
    pub(super) fn new(merchant_ms: u32, at: Timestamp) -> Self {
        Self {
            status: FulfilmentStatus::AwaitingMerchant,
            confirmed_at: None,
            due: Some(at + ms(merchant_ms)),
            missing: Vec::new(),
        }
    }

    pub(super) fn status(&self) -> FulfilmentStatus {
        self.status
    }

    /// When it should be ready, while it is being made and not late.
    pub(super) fn ready_at(&self) -> Option<Timestamp> {
        match self.status {
            FulfilmentStatus::Confirmed | FulfilmentStatus::Preparing => {
                self.due.map(|due| due - OVERDUE)
            }
            FulfilmentStatus::None
            | FulfilmentStatus::AwaitingMerchant
            | FulfilmentStatus::Ready
            | FulfilmentStatus::HandedOver
            | FulfilmentStatus::Rejected => None,
        }
    }

    pub(super) fn confirmed_at(&self) -> Option<Timestamp> {
        self.confirmed_at
    }

    pub(super) fn deadline(&self) -> Option<Timestamp> {
        self.undecided().map(|missing| missing.until).chain(self.due).min()
    }

    fn undecided(&self) -> impl Iterator<Item = &Missing> {
        self.missing.iter().filter(|missing| missing.replace.is_none())
    }

    fn evolve(&mut self, event: &Event) {
        match event {
            Event::MerchantAsked { until, .. } => self.due = Some(*until),
            Event::MerchantConfirmed { ready_by, at, .. } => {
                self.status = FulfilmentStatus::Confirmed;
                self.confirmed_at = Some(*at);
                self.due = Some(*ready_by + OVERDUE);
            }
            Event::MerchantRejected { .. } => {
                self.status = FulfilmentStatus::Rejected;
                self.due = None;
            }
            Event::PrepStarted { .. } => self.status = FulfilmentStatus::Preparing,
            Event::GoodsReady { .. } => {
                self.status = FulfilmentStatus::Ready;
                self.due = None;
            }
            Event::ItemMissed { item, until, .. } => {
                self.missing.push(Missing { item: *item, until: *until, replace: None });
            }
            Event::ItemSettled { item, replace, .. } => {
                if let Some(missing) = self.missing.iter_mut().find(|it| it.item == *item) {
                    missing.replace = Some(*replace);
                }
            }
            Event::HandedOver { .. } => {
                self.status = FulfilmentStatus::HandedOver;
                self.due = None;
            }
        }
    }
}

impl Life {
    pub(super) fn merchant_accepts(&self, prep_min: u16, around: &Around) -> Vec<super::Event> {
        let ready_by = around.now + Duration::from_mins(prep_min.into());
        let is_brought = self.placement.handoff == Handoff::Driver;
        let search_at = is_brought.then(|| (ready_by - PICKUP_LEAD).max(around.now));
        let (by, at) = (around.by, around.now);
        let confirmed = Event::MerchantConfirmed { by, ready_by, search_at, at };
        let mut events = vec![super::Event::Fulfilment(confirmed)];
        if search_at == Some(around.now) {
            events.extend(self.begin_search(around.now));
        }
        events
    }

    pub(super) fn merchant_rejects(&self, reason: &str, around: &Around) -> Vec<super::Event> {
        let rejected = super::Event::Fulfilment(Event::MerchantRejected { at: around.now });
        let cancelled = self.call_off(OrderStatus::CancelledByMerchant, reason, around);
        [rejected].into_iter().chain(cancelled).collect()
    }

    /// Nobody looks for a driver later than this.
    pub(super) fn ready(&self, around: &Around) -> Vec<super::Event> {
        let mut events = vec![super::Event::Fulfilment(Event::GoodsReady { at: around.now })];
        let is_waiting = matches!(self.stage, Stage::Waiting { .. });
        if is_waiting && self.placement.handoff == Handoff::Driver {
            events.extend(self.begin_search(around.now));
        }
        events
    }

    pub(super) fn item_unavailable(&self, item: u16, around: &Around) -> Answer {
        let Some(fulfilment) = &self.fulfilment else { return Err(self.illegal()) };
        if item >= self.placement.n_items {
            return Err(Refusal::invalid("item", "the basket has fewer"));
        }
        match fulfilment.missing.iter().find(|missing| missing.item == item) {
            Some(Missing { replace: None, .. }) => Ok(Vec::new()),
            Some(Missing { replace: Some(_), .. }) => {
                Err(Refusal::TooLate("that item is settled".to_owned()))
            }
            None => {
                let until = around.now + ms(self.placement.policy.item_ms);
                let missed = Event::ItemMissed { item, until, at: around.now };
                Ok(vec![super::Event::Fulfilment(missed)])
            }
        }
    }

    pub(super) fn decide_item(&self, item: u16, replace: bool, around: &Around) -> Answer {
        let missing = self.fulfilment.iter().flat_map(|it| &it.missing).find(|it| it.item == item);
        match missing {
            Some(Missing { replace: Some(settled), .. }) if *settled == replace => Ok(Vec::new()),
            Some(Missing { replace: Some(_), .. }) => {
                Err(Refusal::TooLate("that item is settled".to_owned()))
            }
            Some(Missing { replace: None, .. }) => Ok(self.settle_item(item, replace, around)),
            None => Err(Refusal::invalid("item", "it is not missing")),
        }
    }

    pub(super) fn collected(&self, code: Option<&str>, around: &Around) -> Answer {
        if self.placement.handoff != Handoff::Collect {
            return Err(Refusal::NotEligible("a driver brings it".to_owned()));
        }
        self.may_try_code(around)?;
        let must_show_code = !around.by.is_staff() && self.placement.code.is_some();
        if must_show_code && code != self.placement.code.as_deref() {
            return Err(Refusal::WrongCode);
        }
        let end = super::Event::Completed { distance_m: 0, early_reason: None, at: around.now };
        Ok([self.handed_over(around.now)].into_iter().chain(self.end_with(end)).collect())
    }

    /// What the merchant's side does by itself at `now`.
    pub(super) fn tick_fulfilment(&self, around: &Around) -> Vec<super::Event> {
        let Some(fulfilment) = &self.fulfilment else { return Vec::new() };
        let overdue_item = fulfilment.undecided().find(|missing| missing.until <= around.now);
        if let Some(Missing { item, .. }) = overdue_item {
            return self.settle_item(*item, false, around);
        }
        if fulfilment.due.is_none_or(|due| around.now < due) {
            return Vec::new();
        }
        match fulfilment.status {
            FulfilmentStatus::AwaitingMerchant if self.placement.policy.merchant_auto_accept => {
                self.merchant_accepts(PREP_MIN, around)
            }
            FulfilmentStatus::AwaitingMerchant => {
                self.merchant_rejects("the merchant did not answer", around)
            }
            FulfilmentStatus::Confirmed | FulfilmentStatus::Preparing => {
                vec![super::Event::Alerted { what: Alert::ReadyOverdue, at: around.now }]
            }
            FulfilmentStatus::None
            | FulfilmentStatus::Ready
            | FulfilmentStatus::HandedOver
            | FulfilmentStatus::Rejected => Vec::new(),
        }
    }

    /// The merchant's clock runs only once the merchant has been asked.
    pub(super) fn fulfilment_deadline(&self) -> Option<Timestamp> {
        match self.stage {
            Stage::Waiting { .. } | Stage::Looking | Stage::Driven { .. } => {
                self.fulfilment.as_ref()?.deadline()
            }
            Stage::Prepaying { .. } | Stage::Scheduled { .. } | Stage::Ended { .. } => None,
        }
    }

    pub(super) fn apply_fulfilment(&mut self, event: &Event) {
        debug_assert!(self.placement.kind == OrderKind::Commerce, "only commerce has a merchant");
        if let Some(fulfilment) = &mut self.fulfilment {
            fulfilment.evolve(event);
        }
        match event {
            Event::MerchantAsked { .. } => self.stage = Stage::Waiting { search_at: None },
            Event::MerchantConfirmed { search_at, .. } => {
                self.stage = Stage::Waiting { search_at: *search_at };
            }
            Event::MerchantRejected { .. }
            | Event::PrepStarted { .. }
            | Event::GoodsReady { .. }
            | Event::ItemMissed { .. }
            | Event::ItemSettled { .. }
            | Event::HandedOver { .. } => {}
        }
    }

    pub(super) fn forget_ready_by(&mut self) {
        if let Some(fulfilment) = &mut self.fulfilment {
            fulfilment.due = None;
        }
    }

    /// An order without any item left is none.
    fn settle_item(&self, item: u16, replace: bool, around: &Around) -> Vec<super::Event> {
        let settled = Event::ItemSettled { item, replace, by: around.by, at: around.now };
        let mut events = vec![super::Event::Fulfilment(settled)];
        let gone = |missing: &&Missing| missing.replace == Some(false);
        let n_gone = self.fulfilment.iter().flat_map(|it| &it.missing).filter(gone).count();
        let has_left = self.fulfilment_status() == FulfilmentStatus::HandedOver;
        let is_last = !replace && !has_left && n_gone + 1 >= usize::from(self.placement.n_items);
        if is_last {
            let status = OrderStatus::CancelledByMerchant;
            events.extend(self.call_off(status, "nothing of it can be had", around));
        }
        events
    }

    /// What part of the price of a basket comes back when the rider calls it off, in percent.
    pub(super) fn basket_refund_percent(&self, now: Timestamp) -> u8 {
        let policy = &self.placement.policy;
        let confirmed_at = self.fulfilment.as_deref().and_then(Fulfilment::confirmed_at);
        match (self.fulfilment_status(), confirmed_at) {
            (FulfilmentStatus::Confirmed, Some(at)) => {
                cancel::confirmed_refund(policy, now.since(at))
            }
            (FulfilmentStatus::Preparing, _) => policy.preparing_refund_percent,
            (FulfilmentStatus::Ready | FulfilmentStatus::HandedOver, _) => 0,
            (
                FulfilmentStatus::None
                | FulfilmentStatus::AwaitingMerchant
                | FulfilmentStatus::Confirmed
                | FulfilmentStatus::Rejected,
                _,
            ) => 100,
        }
    }
}
