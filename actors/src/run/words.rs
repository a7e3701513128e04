//! What can be asked of a run, and what can happen to it. All of it needs format 5, and a run that staff want format 9.

use crate::{Format, driver::Wants, refusal::Refusal};
use matching::batch::{Batch, Cart, Legs, Parcel};
use protocol::{
    DriverId, Money, OfferId, OfferStatus, OrderId, Place, Point, Principal, RunId, Timestamp,
    view::StopKind, work::VehicleKind,
};
use serde::{Deserialize, Serialize};

/// What it takes to know of runs.
pub const KNOWN: Format = Format(5);
/// What it takes to know that staff may want one.
pub const WANTED: Format = Format(9);

/// An order that is asked to join.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// Which.
    pub order: OrderId,
    /// The round of its search that this answers; whichever, if a dispatcher says so.
    pub round: Option<u32>,
    /// The run it is in now, and would leave.
    pub from: Option<RunId>,
}

/// What is brought together, by whom and how.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Plan {
    /// Who brings it.
    pub driver: DriverId,
    /// What.
    pub orders: Vec<Wanted>,
    /// From where, and with how much room.
    pub cart: Cart,
    /// How long ways take, as its region's router said; what it did not say is gone as the crow flies.
    #[serde(default, skip_serializing_if = "Legs::is_empty")]
    pub legs: Legs,
    /// Most orders at once, later ones among them.
    pub orders_max: u8,
    /// With fewer there is no run.
    pub n_min: u8,
    /// Must the driver say yes?
    pub consent: bool,
    /// How much less is driven than if each were brought alone, in percent.
    pub saving_percent: u8,
    /// How long its orders may take to say whether they join, in milliseconds.
    pub join_ms: u32,
    /// How long it is offered, in milliseconds.
    pub offer_ms: u32,
    /// Why, if a person wanted it.
    pub reason: Option<String>,
    /// Who wanted it, if a person did. Needs [`WANTED`], as all below.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<Principal>,
    /// In which order, and when, everything would be done, as that person was told.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub told: Vec<Stop>,
}

impl Plan {
    /// What it takes to know all of it.
    pub(super) fn format(&self) -> Format {
        if self.by.is_some() || !self.told.is_empty() { WANTED } else { KNOWN }
    }
}

/// What an order is, as far as a run cares.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// Where it is fetched.
    pub pickup: Place,
    /// Where it is brought to.
    pub dropoff: Place,
    /// What its rider pays.
    pub fare: Money,
    /// How heavy it is, in grams.
    pub weight_g: u32,
    /// When.
    pub times: Batch,
    /// What it asks of its driver, if it does. A build that does not know of it forgets it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wants: Option<Box<Wants>>,
}

impl Part {
    pub(super) fn place(&self, what: StopKind) -> &Place {
        match what {
            StopKind::Pickup => &self.pickup,
            StopKind::Dropoff => &self.dropoff,
        }
    }

    pub(super) fn parcel(&self) -> Parcel {
        let (from, to) = (self.pickup.at, self.dropoff.at);
        Parcel { from, to, times: self.times, weight_g: self.weight_g }
    }
}

/// Something a run has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Errand {
    /// For which order.
    pub order: OrderId,
    /// What.
    pub what: StopKind,
}

/// The same, and when it is planned.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stop {
    /// For which order.
    pub order: OrderId,
    /// What.
    pub what: StopKind,
    /// When.
    pub due: Timestamp,
}

impl Stop {
    pub(super) fn errand(&self) -> Errand {
        Errand { order: self.order, what: self.what }
    }
}

/// What a run sees of its driver: where it is, and with what.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Sighting {
    /// Who.
    pub driver: DriverId,
    /// Where.
    pub at: Point,
    /// With what.
    pub vehicle: VehicleKind,
}

/// What can be asked of a run.
#[derive(
    Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr, strum::VariantNames,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Command {
    /// Comes into being. A region, or another run, asks; or staff, who say who they are.
    Plan(Box<Plan>),
    /// Takes more along. A region, another run, or staff.
    Insert {
        /** What. */
        orders: Vec<Wanted>,
        /** Where the driver is; where it had something to do last, if absent. */
        place: Option<Point>,
        /** How long ways take, as its region's router says. */
        #[serde(default, skip_serializing_if = "Legs::is_empty")]
        legs: Legs,
        /** Why, if a person wants it. */
        reason: Option<String>,
    },
    /// An order joins, and waits.
    Join {
        /** Which. */
        order: OrderId,
        /** What it is. */
        part: Box<Part>,
    },
    /// An order does not, or not any more.
    Leave {
        /** Which. */
        order: OrderId,
        /** Why, in words. */
        why: String,
    },
    /// An order that was to leave does not.
    Stay {
        /** Which. */
        orders: Vec<OrderId>,
    },
    /// The driver could not be reserved.
    RefuseOffer {
        /** Which. */
        offer: OfferId,
        /** Why not, in words. */
        why: String,
    },
    /// The driver said yes, and keeps these slots for it.
    AcceptOffer {
        /** Which. */
        offer: OfferId,
        /** Who. */
        driver: DriverId,
        /** A slot for each order. */
        slots: Vec<(OrderId, u8)>,
    },
    /// The driver said no.
    DeclineOffer {
        /** Which. */
        offer: OfferId,
    },
    /// An order has the driver.
    NoteAssigned {
        /** Which. */
        order: OrderId,
    },
    /// Something was fetched, or handed over.
    StopDone {
        /** For which order. */
        order: OrderId,
        /** What. */
        what: StopKind,
    },
    /// An order says that the driver cannot go on.
    LoseDriver {
        /** Why. */
        why: String,
    },
    /// Staff: orders that are not fetched look on for themselves.
    Remove {
        /** Which. */
        orders: Vec<OrderId>,
        /** Why. */
        reason: String,
    },
    /// Staff: what is left is done in this order.
    Reorder {
        /** All of it. */
        stops: Vec<Errand>,
        /** Why. */
        reason: String,
    },
    /// Staff: orders that are not fetched become another driver's run.
    Split {
        /** Which; all that are not fetched, if none is named. */
        orders: Vec<OrderId>,
        /** Whose. */
        driver: DriverId,
        /** Which run. */
        into: RunId,
        /** Where that driver is. */
        place: Option<Point>,
        /** How much its vehicle carries, in grams. */
        capacity_g: u32,
        /** What is on board changes hands as well. */
        with_goods: bool,
        /** Why. */
        reason: String,
    },
    /// Staff: all that is not fetched joins another run.
    Merge {
        /** Which. */
        into: RunId,
        /** Why. */
        reason: String,
    },
    /// Staff: the driver cannot go on.
    Abandon {
        /** Why. */
        reason: String,
    },
    /// The deadline has come.
    Tick {},
}

impl Command {
    /// The same, said because of that refusal, where it matters which one it was.
    pub(crate) fn because(&mut self, refusal: &Refusal) {
        if let Self::Leave { why, .. } | Self::RefuseOffer { why, .. } = self {
            *why = refusal.to_string();
        }
    }
}

/// What has happened to a run.
#[derive(
    Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr, strum::VariantNames,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Event {
    /// Orders that had better be brought together are asked whether they join.
    #[strum(serialize = "run_planned")]
    Planned {
        /** What. */
        plan: Box<Plan>,
        /** How long they may take to say so. */
        until: Timestamp,
        /** How long those that join wait. */
        frozen_until: Timestamp,
        /** When. */
        at: Timestamp,
    },
    /// More orders are asked, for one that is under way.
    InsertAsked {
        /** Which. */
        orders: Vec<Wanted>,
        /** Where the driver is, if that was said. */
        place: Option<Point>,
        /** How long ways take, if a router said so. */
        #[serde(default, skip_serializing_if = "Legs::is_empty")]
        legs: Legs,
        /** How long they may take to say so. */
        until: Timestamp,
        /** How long those that join wait. */
        frozen_until: Timestamp,
        /** Who wants it. */
        by: Principal,
        /** Why, if a person does. */
        reason: Option<String>,
        /** When. */
        at: Timestamp,
    },
    /// An order has joined, and waits.
    OrderJoined {
        /** Which. */
        order: OrderId,
        /** What it is. */
        part: Box<Part>,
        /** When. */
        at: Timestamp,
    },
    /// The driver is asked, or told, about all that has joined, as one.
    #[strum(serialize = "run_offered")]
    Offered {
        /** Which offer. */
        offer: OfferId,
        /** Everything that would then be to be done. */
        stops: Vec<Stop>,
        /** When it ends by itself. */
        expires_at: Timestamp,
        /** When. */
        at: Timestamp,
    },
    /// The offer came to nothing.
    OfferClosed {
        /** Which. */
        offer: OfferId,
        /** How; always final. */
        status: OfferStatus,
        /** Does the driver know already? */
        driver_knows: bool,
        /** Why, if the driver could not be reserved. */
        reason: Option<String>,
        /** When. */
        at: Timestamp,
    },
    /// The driver said yes: its orders are being assigned.
    #[strum(serialize = "run_accepted")]
    Accepted {
        /** Which offer. */
        offer: OfferId,
        /** A slot for each order. */
        slots: Vec<(OrderId, u8)>,
        /** When. */
        at: Timestamp,
    },
    /// An order has the driver.
    OrderAssigned {
        /** Which. */
        order: OrderId,
        /** When. */
        at: Timestamp,
    },
    /// Something was fetched, or handed over.
    #[strum(serialize = "stop_done")]
    StopDone {
        /** For which order. */
        order: OrderId,
        /** What. */
        what: StopKind,
        /** When. */
        at: Timestamp,
    },
    /// An order is in it no more.
    OrderLeft {
        /** Which. */
        order: OrderId,
        /** How what the driver was offered of it ended. */
        status: OfferStatus,
        /** Does the order know already? */
        order_knows: bool,
        /** Why, in words. */
        reason: String,
        /** When. */
        at: Timestamp,
    },
    /// What is left is done in this order.
    #[strum(serialize = "run_resequenced")]
    Resequenced {
        /** All of it. */
        stops: Vec<Stop>,
        /** Who wants it. */
        by: Principal,
        /** Why, if a person does. */
        reason: Option<String>,
        /** When. */
        at: Timestamp,
    },
    /// Orders that are not fetched are asked to look on for themselves.
    RemovalAsked {
        /** Which. */
        orders: Vec<OrderId>,
        /** Who wants it. */
        by: Principal,
        /** Why. */
        reason: String,
        /** When. */
        at: Timestamp,
    },
    /// Another driver's run is made of some of it.
    SplitAsked {
        /** Which. */
        orders: Vec<OrderId>,
        /** Which run. */
        into: RunId,
        /** What it is. */
        plan: Box<Plan>,
        /** Who wants it. */
        by: Principal,
        /** Why. */
        reason: String,
        /** When. */
        at: Timestamp,
    },
    /// What is on board is to change hands, each by a handover of its own.
    HandoverAsked {
        /** Which. */
        orders: Vec<OrderId>,
        /** To whom. */
        driver: DriverId,
        /** Who wants it. */
        by: Principal,
        /** Why. */
        reason: String,
        /** When. */
        at: Timestamp,
    },
    /// Another run is asked to take what is not fetched.
    MergeAsked {
        /** Which. */
        orders: Vec<OrderId>,
        /** Which run. */
        into: RunId,
        /** Who wants it. */
        by: Principal,
        /** Why. */
        reason: String,
        /** When. */
        at: Timestamp,
    },
    /// They were to leave, and do not.
    OrdersStayed {
        /** Which. */
        orders: Vec<OrderId>,
        /** When. */
        at: Timestamp,
    },
    /// Everything is where it should be. Final.
    #[strum(serialize = "run_completed")]
    Completed {
        /** When. */
        at: Timestamp,
    },
    /// It came to nothing: each of its orders looks on for itself. Final.
    #[strum(serialize = "run_dissolved")]
    Dissolved {
        /** How what the driver was offered ended. */
        status: OfferStatus,
        /** Why, in words. */
        reason: String,
        /** When. */
        at: Timestamp,
    },
    /// Its driver cannot go on. Final.
    #[strum(serialize = "run_abandoned")]
    Abandoned {
        /** Who says so. */
        by: Principal,
        /** Why. */
        reason: String,
        /** When. */
        at: Timestamp,
    },
}

impl Event {
    /// When it happened.
    pub fn at(&self) -> Timestamp {
        match self {
            Self::Planned { at, .. }
            | Self::InsertAsked { at, .. }
            | Self::OrderJoined { at, .. }
            | Self::Offered { at, .. }
            | Self::OfferClosed { at, .. }
            | Self::Accepted { at, .. }
            | Self::OrderAssigned { at, .. }
            | Self::StopDone { at, .. }
            | Self::OrderLeft { at, .. }
            | Self::Resequenced { at, .. }
            | Self::RemovalAsked { at, .. }
            | Self::SplitAsked { at, .. }
            | Self::HandoverAsked { at, .. }
            | Self::MergeAsked { at, .. }
            | Self::OrdersStayed { at, .. }
            | Self::Completed { at }
            | Self::Dissolved { at, .. }
            | Self::Abandoned { at, .. } => *at,
        }
    }
}
