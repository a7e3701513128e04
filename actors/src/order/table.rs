//! Which command is allowed in which state, and who may give it: MODEL sections 5.1 and 5.2 as data.
//!
//! The table is asked before any guard, so a pair that is not listed here is refused whatever else
//! is true.

use protocol::{
    FulfilmentStatus::{self, AwaitingMerchant, Confirmed, Preparing, Ready},
    OrderStatus::{
        self, Assigned, AtDropoff, AtPickup, AtStop, AwaitingPayment, Completed, Delivered,
        EnRoutePickup, FailedAttempt, InProgress, InTransit, JobFeed, NoDriverFound, PickedUp,
        Returning, Scheduled, Searching, Waiting,
    },
    work::OrderKind,
};
use strum::IntoEnumIterator;

/// Relations to an order that permit a command: a sum of the bits below.
pub type Who = u8;
/// Whose order it is.
pub const RIDER: Who = 1;
/// Who performs it (or did, once it has ended).
pub const DRIVER: Who = 2;
/// Who prepares it.
pub const MERCHANT: Who = 4;
/// Who watches over the city; admins are dispatchers too.
pub const DISPATCHER: Who = 8;
/// Who may do more than that.
pub const ADMIN: Who = 16;
/// The platform itself.
pub const SYSTEM: Who = 32;

/// One line of the table.
#[derive(Debug, Clone, Copy)]
pub struct Row {
    /// The name of the command.
    pub command: &'static str,
    /// For what it is allowed.
    pub kinds: &'static [OrderKind],
    /// From which states; empty means from every one.
    pub from: &'static [OrderStatus],
    /// In which states of the merchant's side; empty means in every one.
    pub fulfilment: &'static [FulfilmentStatus],
    /// For whom.
    pub who: Who,
}

const ANY: &[OrderKind] = &[OrderKind::Ride, OrderKind::Delivery, OrderKind::Commerce];
const RIDES: &[OrderKind] = &[OrderKind::Ride];
const GOODS: &[OrderKind] = &[OrderKind::Delivery, OrderKind::Commerce];
/// Nobody has made anything for these yet.
const UNPREPARED: &[OrderKind] = &[OrderKind::Ride, OrderKind::Delivery];
const COMMERCE: &[OrderKind] = &[OrderKind::Commerce];

const BEFORE_DRIVER: &[OrderStatus] = &[AwaitingPayment, Scheduled, Waiting, Searching, JobFeed];
const TO_PICKUP: &[OrderStatus] = &[Assigned, EnRoutePickup, AtPickup];
const BEFORE_PICKUP: &[OrderStatus] =
    &[Waiting, Searching, JobFeed, Assigned, EnRoutePickup, AtPickup];
const WITH_GOODS: &[OrderStatus] =
    &[PickedUp, InTransit, AtStop, AtDropoff, FailedAttempt, Returning];
const GOODS_OUT: &[OrderStatus] = &[PickedUp, InTransit, AtStop, AtDropoff, FailedAttempt];
const ACTIVE: &[OrderStatus] = &[
    AwaitingPayment,
    Scheduled,
    Waiting,
    Searching,
    JobFeed,
    Assigned,
    EnRoutePickup,
    AtPickup,
    InProgress,
    PickedUp,
    InTransit,
    AtStop,
    AtDropoff,
    FailedAttempt,
    Returning,
];
const ENDED_WELL: &[OrderStatus] = &[Completed, Delivered];

const fn row(
    command: &'static str,
    kinds: &'static [OrderKind],
    from: &'static [OrderStatus],
    who: Who,
) -> Row {
    Row { command, kinds, from, fulfilment: &[], who }
}

const fn kitchen(
    command: &'static str,
    from: &'static [OrderStatus],
    fulfilment: &'static [FulfilmentStatus],
    who: Who,
) -> Row {
    Row { command, kinds: COMMERCE, from, fulfilment, who }
}

/// Everything that is allowed.
pub const TABLE: &[Row] = &[
    // Money and time.
    row("confirm_payment", ANY, &[AwaitingPayment], SYSTEM | DISPATCHER),
    row("fail_payment", ANY, &[AwaitingPayment], SYSTEM | DISPATCHER),
    row("reschedule", ANY, &[Scheduled], RIDER | DISPATCHER),
    row("requote", ANY, &[Scheduled], DISPATCHER | SYSTEM),
    row("accept_price", ANY, &[Scheduled], RIDER | DISPATCHER),
    row("decline_price", ANY, &[Scheduled], RIDER | DISPATCHER),
    row("postpone", ANY, &[Scheduled], SYSTEM),
    row("modify_stops", ANY, &[Scheduled], RIDER | DISPATCHER),
    row("modify_stops", RIDES, &[InProgress], RIDER | DISPATCHER),
    row("accept_change", RIDES, &[InProgress], DRIVER),
    row("decline_change", RIDES, &[InProgress], DRIVER),
    // Finding a driver.
    row("confirm_offer", ANY, &[Searching], RIDER | DISPATCHER),
    row("reject_offer", ANY, &[Searching], RIDER | DISPATCHER),
    row("assign", ANY, &[Searching, JobFeed], DISPATCHER),
    row("hold", ANY, &[Searching, JobFeed], DISPATCHER),
    row("resume", ANY, &[Searching], DISPATCHER),
    row("set_priority", ANY, BEFORE_DRIVER, DISPATCHER),
    row("set_fleet", ANY, BEFORE_DRIVER, DISPATCHER),
    row("unassign", ANY, TO_PICKUP, DISPATCHER),
    row("reassign", ANY, TO_PICKUP, DISPATCHER),
    row("extend_search", ANY, &[JobFeed], RIDER | MERCHANT | DISPATCHER),
    // A delivery waits only at its hub.
    row("extend_search", &[OrderKind::Delivery], &[Waiting], DISPATCHER),
    // It is the rider who would have to go there.
    row("collect_instead", COMMERCE, &[JobFeed], RIDER | DISPATCHER),
    row("retry", UNPREPARED, &[NoDriverFound], RIDER | DISPATCHER),
    // To the pickup.
    row("depart", ANY, &[Assigned], DRIVER | SYSTEM),
    row("depart", GOODS, &[PickedUp], DRIVER | SYSTEM),
    row("arrive", ANY, &[Assigned, EnRoutePickup], DRIVER | RIDER | DISPATCHER | SYSTEM),
    row("arrive", GOODS, &[InTransit], DRIVER | RIDER | DISPATCHER | SYSTEM),
    row("contacted", ANY, &[AtPickup], DRIVER),
    row("contacted", GOODS, &[AtDropoff], DRIVER),
    row("no_show", RIDES, &[AtPickup], DRIVER),
    // The ride.
    row("on_board", RIDES, &[AtPickup], RIDER | DISPATCHER),
    row("start", RIDES, &[AtPickup], DRIVER | DISPATCHER),
    row("arrive_stop", RIDES, &[InProgress], DRIVER),
    row("complete_stop", RIDES, &[InProgress], DRIVER),
    row("skip_stop", RIDES, &[InProgress], DRIVER | DISPATCHER),
    row("metered", RIDES, &[InProgress], SYSTEM),
    row("end_early", RIDES, &[InProgress], RIDER | DISPATCHER),
    row("cannot_continue", RIDES, &[InProgress], DRIVER),
    row("finish", RIDES, &[InProgress], DRIVER | DISPATCHER),
    row("fail", RIDES, &[InProgress], DISPATCHER),
    // The goods.
    row("pick_up", GOODS, &[AtPickup], DRIVER),
    row("arrive_stop", GOODS, &[InTransit], DRIVER),
    row("complete_stop", GOODS, &[AtStop], DRIVER),
    row("skip_stop", GOODS, &[AtStop], DRIVER | DISPATCHER),
    row("metered", GOODS, &[InTransit, Returning], SYSTEM),
    row("deliver", GOODS, &[AtDropoff], DRIVER),
    row("fail", GOODS, &[InTransit, AtDropoff], DRIVER | DISPATCHER | SYSTEM),
    row("retry", GOODS, &[FailedAttempt], DRIVER | RIDER | DISPATCHER),
    row("start_return", GOODS, &[FailedAttempt], DISPATCHER | SYSTEM),
    row("returned", GOODS, &[Returning], DRIVER | DISPATCHER),
    row("handover", GOODS, WITH_GOODS, DISPATCHER | SYSTEM),
    row("cannot_continue", GOODS, WITH_GOODS, DRIVER),
    row("request_cancel", GOODS, GOODS_OUT, DRIVER | RIDER),
    row("decide_cancel", GOODS, GOODS_OUT, DRIVER | RIDER | DISPATCHER),
    row("report_loss", GOODS, TO_PICKUP, DRIVER | DISPATCHER),
    row("report_loss", GOODS, WITH_GOODS, DRIVER | DISPATCHER),
    // The merchant.
    kitchen("merchant_accept", &[Waiting], &[AwaitingMerchant], MERCHANT | DISPATCHER),
    kitchen("merchant_reject", &[Waiting], &[AwaitingMerchant], MERCHANT | DISPATCHER),
    kitchen("start_prep", BEFORE_PICKUP, &[Confirmed], MERCHANT),
    kitchen("ready", BEFORE_PICKUP, &[Confirmed, Preparing], MERCHANT | DISPATCHER),
    kitchen("item_unavailable", BEFORE_PICKUP, &[Confirmed, Preparing], MERCHANT),
    kitchen("decide_item", BEFORE_PICKUP, &[Confirmed, Preparing, Ready], RIDER | DISPATCHER),
    kitchen("hand_over", &[AtPickup], &[Ready], MERCHANT),
    kitchen("collected", &[Waiting], &[Ready], RIDER | MERCHANT | DISPATCHER),
    // Calling it off.
    row("cancel", ANY, BEFORE_DRIVER, RIDER | DISPATCHER | SYSTEM),
    row("cancel", ANY, TO_PICKUP, RIDER | DRIVER | DISPATCHER | SYSTEM),
    row("cancel", COMMERCE, BEFORE_DRIVER, MERCHANT),
    row("cancel", COMMERCE, TO_PICKUP, MERCHANT),
    row("cancel", RIDES, &[InProgress], ADMIN | SYSTEM),
    row("cancel_safety", ANY, ACTIVE, RIDER | DRIVER | DISPATCHER | SYSTEM),
    // Afterwards.
    row("adjust_fare_down", RIDES, &[Completed], DRIVER),
    row("tip", ANY, ENDED_WELL, RIDER),
    row("rate", ANY, ENDED_WELL, RIDER | DRIVER),
    // What the platform says. The search itself tells a late answer how its offer ended.
    row("tick", ANY, &[], SYSTEM),
    row("propose", ANY, &[], SYSTEM),
    row("offer_refused", ANY, &[], SYSTEM),
    row("offer_seen", ANY, &[], SYSTEM),
    row("offer_accepted", ANY, &[], SYSTEM),
    row("offer_declined", ANY, &[], SYSTEM),
    row("claim", ANY, &[], SYSTEM),
    row("unfollow", ANY, &[Completed, NoDriverFound], SYSTEM),
    row("settle", ANY, &[], SYSTEM),
    row("driver_lost", ANY, &[], SYSTEM),
    row("bar", ANY, &[], SYSTEM),
    row("pause", ANY, &[], SYSTEM),
    row("unpause", ANY, &[], SYSTEM),
    row("join_run", ANY, &[], SYSTEM),
    row("leave_run", ANY, &[], SYSTEM),
    row("take_by_run", ANY, &[], SYSTEM),
];

impl Row {
    /// Is it about an order of this kind in this state?
    pub fn covers(
        &self,
        kind: OrderKind,
        status: OrderStatus,
        fulfilment: FulfilmentStatus,
    ) -> bool {
        self.kinds.contains(&kind)
            && (self.from.is_empty() || self.from.contains(&status))
            && (self.fulfilment.is_empty() || self.fulfilment.contains(&fulfilment))
    }
}

/// Who may give `command` in this state; nobody, if it is not allowed at all.
pub fn who(
    command: &str,
    kind: OrderKind,
    status: OrderStatus,
    fulfilment: FulfilmentStatus,
) -> Who {
    TABLE
        .iter()
        .filter(|row| row.command == command && row.covers(kind, status, fulfilment))
        .fold(0, |who, row| who | row.who)
}

/// The commands that people may give in this state, in the order of the table.
pub fn allowed(
    kind: OrderKind,
    status: OrderStatus,
    fulfilment: FulfilmentStatus,
) -> Vec<&'static str> {
    let mut names: Vec<_> = TABLE
        .iter()
        .filter(|row| row.who != SYSTEM && row.covers(kind, status, fulfilment))
        .map(|row| row.command)
        .collect();
    names.dedup();
    names
}

/// Every state an order can be in.
pub fn statuses() -> impl Iterator<Item = OrderStatus> {
    OrderStatus::iter()
}
