//! What can happen to an order. Old journals must stay readable: add variants and optional fields,
//! never change or remove one.

use super::{command::Placement, fulfilment};
use crate::search::{self, Assignment};
use protocol::{
    DriverId, Fare, OrderId, OrderStatus, Place, Principal, Role, Timestamp,
    trace::WhyNot,
    work::{Priority, Proof},
};
use serde::{Deserialize, Serialize};

/// What has happened to an order.
#[derive(
    Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr, strum::VariantNames,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Event {
    /// It came into being.
    Placed {
        /** With everything it was decided on. */
        placement: Box<Placement>,
        /** When. */
        at: Timestamp,
    },
    /// It waits for its payment.
    PaymentAwaited {
        /** Until when. */
        until: Timestamp,
    },
    /// The payment is good.
    PaymentConfirmed {
        /** For how much, in minor units. */
        amount: i64,
        /** When. */
        at: Timestamp,
    },
    /// It waits for its time.
    Scheduled {
        /** When the rider wants to be picked up. */
        start_at: Timestamp,
        /** When the work begins. */
        wake_at: Timestamp,
        /** When the rider is reminded. */
        #[serde(default)]
        remind_at: Option<Timestamp>,
        /** What it costs now, if that changed. */
        #[serde(default)]
        fare: Option<Fare>,
        /** When this was settled. */
        at: Timestamp,
    },
    /// It starts soon, and its rider should know.
    Reminded {
        /** When. */
        at: Timestamp,
    },
    /// It would cost much more now; its rider has not answered.
    PriceAsked {
        /** What it would cost. */
        fare: Fare,
        /** How long the rider has. */
        until: Timestamp,
        /** When. */
        at: Timestamp,
    },
    /// What it costs is settled.
    PriceSettled {
        /** What. */
        fare: Fare,
        /** Who says so; the platform, where nobody had to be asked or nobody answered. */
        by: Principal,
        /** When. */
        at: Timestamp,
    },
    /// It was time, and the rider still rode elsewhere.
    Postponed {
        /** When it is tried again. */
        wake_at: Timestamp,
        /** When. */
        at: Timestamp,
    },
    /// It goes elsewhere.
    StopsChanged {
        /** All stops, those already done included. */
        stops: Vec<Place>,
        /** What it costs now, if that changed. */
        fare: Option<Fare>,
        /** When. */
        at: Timestamp,
    },
    /// The rider wants to go elsewhere; the driver has not answered.
    ChangeAsked {
        /** All stops, those already done included. */
        stops: Vec<Place>,
        /** What it would cost, if that changes. */
        fare: Option<Fare>,
        /** How long the driver has. */
        until: Timestamp,
        /** When. */
        at: Timestamp,
    },
    /// The driver did not agree, or not in time (then the platform says so).
    ChangeDeclined {
        /** Who says so. */
        by: Principal,
        /** When. */
        at: Timestamp,
    },
    /// Something about its search.
    Search(search::Event),
    /// Nobody was found by asking.
    DispatchFailed {
        /** When. */
        at: Timestamp,
    },
    /// A dispatcher chose a driver for it.
    DriverChosen {
        /** Whom. */
        driver: DriverId,
        /** Who. */
        by: Principal,
        /** Why. */
        reason: String,
        /** When. */
        at: Timestamp,
        /** What spoke against it, and was overruled. */
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        bypassed: Vec<WhyNot>,
    },
    /// A dispatcher lets it come before others, or after them. Needs format 2.
    PrioritySet {
        /** Which. */
        priority: Priority,
        /** Who. */
        by: Principal,
        /** Why. */
        reason: String,
        /** When. */
        at: Timestamp,
    },
    /// It has a driver.
    Assigned(Assignment),
    /// The driver has ended the job before it and turns to this one.
    Settled {
        /** Which slots of the vehicle it fills from now on. */
        slots: Vec<u8>,
        /** When. */
        at: Timestamp,
    },
    /// It lost its driver before the pickup.
    DriverGone {
        /** Whom. */
        driver: DriverId,
        /** Who ended it; for faults and statistics. */
        by: Principal,
        /** Why. */
        reason: String,
        /** When. */
        at: Timestamp,
    },
    /// The driver set off.
    Departed {
        /** When. */
        at: Timestamp,
    },
    /// The driver is there.
    Arrived {
        /** Who says so. */
        by: Principal,
        /** When. */
        at: Timestamp,
    },
    /// The driver tried to reach the rider.
    Contacted {
        /** When. */
        at: Timestamp,
    },
    /// Someone gave a wrong code.
    CodeWrong {
        /** Who. */
        by: Principal,
        /** When. */
        at: Timestamp,
    },
    /// The driver waited longer than is free.
    WaitingCharged {
        /** How long, in milliseconds, the free time included. */
        waited_ms: u64,
        /** What it costs, in minor units. */
        amount: i64,
        /** When. */
        at: Timestamp,
    },
    /// The rider is on board.
    Boarded {
        /** When. */
        at: Timestamp,
    },
    /// The ride started.
    Started {
        /** How long the driver had waited, in milliseconds. */
        waited_ms: u64,
        /** When. */
        at: Timestamp,
    },
    /// The driver moved on.
    Metered {
        /** How far since the pickup, in metres. */
        total_m: u32,
        /** When. */
        at: Timestamp,
    },
    /// The driver is at a stop on the way.
    StopArrived {
        /** When. */
        at: Timestamp,
    },
    /// Done there.
    StopCompleted {
        /** What shows it. */
        proofs: Vec<Proof>,
        /** When. */
        at: Timestamp,
    },
    /// Not done there.
    StopSkipped {
        /** Why. */
        reason: String,
        /** When. */
        at: Timestamp,
    },
    /// The rider wants out, or the driver cannot go on.
    EndAsked {
        /** Who. */
        by: Principal,
        /** Why. */
        reason: String,
        /** When a dispatcher looks at it. */
        until: Timestamp,
        /** When. */
        at: Timestamp,
    },
    /// The goods are in the driver's hands.
    PickedUp {
        /** What shows it. */
        proofs: Vec<Proof>,
        /** When. */
        at: Timestamp,
    },
    /// The goods are in the hands of another driver.
    CustodyPassed(Assignment),
    /// The goods lie at their hub, and their driver has nothing to do with them any more. Needs format 10.
    LeftAtHub {
        /** Who left them there. */
        by: DriverId,
        /** What shows it. */
        proofs: Vec<Proof>,
        /** When. */
        at: Timestamp,
    },
    /// The goods could not be handed over.
    AttemptFailed {
        /** Why. */
        reason: String,
        /** When. */
        at: Timestamp,
    },
    /// The driver tries again.
    Retried {
        /** When. */
        at: Timestamp,
    },
    /// The goods are going back.
    ReturnStarted {
        /** Why. */
        reason: String,
        /** When. */
        at: Timestamp,
    },
    /// Someone wants to call it off after the pickup.
    CancelAsked {
        /** Who. */
        by: Principal,
        /** Why. */
        reason: String,
        /** When it becomes an admin's affair. */
        until: Timestamp,
        /** When. */
        at: Timestamp,
    },
    /// It goes on.
    CancelDenied {
        /** Who says so. */
        by: Principal,
        /** When. */
        at: Timestamp,
    },
    /// Nobody answered; an admin must.
    CancelEscalated {
        /** When. */
        at: Timestamp,
    },
    /// Nobody was found to bring it; the rider collects it.
    CollectionChosen {
        /** Who says so. */
        by: Principal,
        /** When. */
        at: Timestamp,
    },
    /// It goes on as another order.
    Continued {
        /** Which. */
        order: OrderId,
        /** With everything that one was decided on. */
        placement: Box<Placement>,
        /** What this one costs now, if that changed. */
        fare: Option<Fare>,
        /** When. */
        at: Timestamp,
    },
    /// The order that was to go on for it could not be placed.
    Unfollowed {
        /** When. */
        at: Timestamp,
    },
    /// The ride ended well, or the goods were collected. Final.
    Completed {
        /** How far it went, in metres. */
        distance_m: u32,
        /** Why it ended away from the last stop. */
        early_reason: Option<String>,
        /** When. */
        at: Timestamp,
    },
    /// The goods were handed over. Final.
    Delivered {
        /** What shows it; nothing, if authority stands for it. */
        proofs: Vec<Proof>,
        /** Cash collected, in minor units. */
        cash: Option<i64>,
        /** Who says so. */
        by: Principal,
        /** When. */
        at: Timestamp,
    },
    /// The goods are back. Final.
    Returned {
        /** What shows it. */
        proofs: Vec<Proof>,
        /** When. */
        at: Timestamp,
    },
    /// Nobody could take it. Final.
    NoDriverFound {
        /** When. */
        at: Timestamp,
    },
    /// The rider did not come. Final.
    NoShow {
        /** What the rider owes, in minor units. */
        fee: i64,
        /** When. */
        at: Timestamp,
    },
    /// Somebody is not safe: the incident is raised that says so. Needs format 3.
    IncidentOpened {
        /** Who calls the order off for it. */
        by: Principal,
        /** When. */
        at: Timestamp,
    },
    /// It was called off. Final.
    Cancelled {
        /** Which kind of end that is. */
        status: OrderStatus,
        /** Who. */
        by: Principal,
        /** Why. */
        reason: String,
        /** What the rider owes for it, in minor units. */
        fee: i64,
        /** What the rider gets back of what was paid, in minor units. */
        refund: i64,
        /** When. */
        at: Timestamp,
    },
    /// It went wrong beyond repair. Final.
    Failed {
        /** Who says so. */
        by: Principal,
        /** Why. */
        reason: String,
        /** When. */
        at: Timestamp,
    },
    /// The driver took something off the fare.
    FareLowered {
        /** How much. */
        percent: u8,
        /** What it costs now. */
        fare: Fare,
        /** When. */
        at: Timestamp,
    },
    /// The rider gave something extra.
    Tipped {
        /** Minor units. */
        amount: i64,
        /** When. */
        at: Timestamp,
    },
    /// One side rated the other.
    Rated {
        /** Which side did. */
        by: Role,
        /** 1 to 5. */
        stars: u8,
        /** When. */
        at: Timestamp,
    },
    /// Four fifths of the promised time are over.
    SlaAtRisk {
        /** When. */
        at: Timestamp,
    },
    /// The promised time is over.
    SlaBreached {
        /** When. */
        at: Timestamp,
    },
    /// A dispatcher should look at it.
    Alerted {
        /** Because of what. */
        what: Alert,
        /** When. */
        at: Timestamp,
    },
    /// Something on the merchant's side.
    Fulfilment(fulfilment::Event),
}

/// Why a dispatcher should look at an order.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::Display,
    strum::IntoStaticStr,
    strum::VariantNames,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Alert {
    /// It has not moved for long.
    Stuck,
    /// It should have ended by now.
    EndOverdue,
    /// The merchant should be ready by now.
    ReadyOverdue,
    /// Its driver cannot go on, or was lost, with the rider or the goods on board.
    DriverLost,
    /// The code was wrong too often; only staff can go on.
    CodeLocked,
}

impl Event {
    /// Its name in lists and metrics. That of a final event is the status it leads to.
    pub fn name(&self) -> &'static str {
        if let Self::Search(event) = self {
            event.name()
        } else if let Self::Fulfilment(event) = self {
            event.into()
        } else if let Self::Alerted { what, .. } = self {
            what.into()
        } else {
            self.ends_with().map_or_else(|| self.into(), Into::into)
        }
    }

    /// The status it ends the order with, if it does.
    pub fn ends_with(&self) -> Option<OrderStatus> {
        match self {
            Self::Completed { .. } => Some(OrderStatus::Completed),
            Self::Delivered { .. } => Some(OrderStatus::Delivered),
            Self::Returned { .. } => Some(OrderStatus::Returned),
            Self::NoDriverFound { .. } => Some(OrderStatus::NoDriverFound),
            Self::NoShow { .. } => Some(OrderStatus::NoShow),
            Self::Cancelled { status, .. } => Some(*status),
            Self::Failed { .. } => Some(OrderStatus::Failed),
            Self::Placed { .. }
            | Self::PaymentAwaited { .. }
            | Self::PaymentConfirmed { .. }
            | Self::Scheduled { .. }
            | Self::Postponed { .. }
            | Self::Reminded { .. }
            | Self::PriceAsked { .. }
            | Self::PriceSettled { .. }
            | Self::CodeWrong { .. }
            | Self::WaitingCharged { .. }
            | Self::CollectionChosen { .. }
            | Self::Continued { .. }
            | Self::Unfollowed { .. }
            | Self::StopsChanged { .. }
            | Self::ChangeAsked { .. }
            | Self::ChangeDeclined { .. }
            | Self::Search(_)
            | Self::DispatchFailed { .. }
            | Self::DriverChosen { .. }
            | Self::PrioritySet { .. }
            | Self::Assigned(_)
            | Self::Settled { .. }
            | Self::DriverGone { .. }
            | Self::Departed { .. }
            | Self::Arrived { .. }
            | Self::Contacted { .. }
            | Self::Boarded { .. }
            | Self::Started { .. }
            | Self::Metered { .. }
            | Self::StopArrived { .. }
            | Self::StopCompleted { .. }
            | Self::StopSkipped { .. }
            | Self::EndAsked { .. }
            | Self::PickedUp { .. }
            | Self::CustodyPassed(_)
            | Self::LeftAtHub { .. }
            | Self::AttemptFailed { .. }
            | Self::Retried { .. }
            | Self::ReturnStarted { .. }
            | Self::CancelAsked { .. }
            | Self::CancelDenied { .. }
            | Self::CancelEscalated { .. }
            | Self::IncidentOpened { .. }
            | Self::FareLowered { .. }
            | Self::Tipped { .. }
            | Self::Rated { .. }
            | Self::SlaAtRisk { .. }
            | Self::SlaBreached { .. }
            | Self::Alerted { .. }
            | Self::Fulfilment(_) => None,
        }
    }

    /// When it happened, where it says so.
    pub fn at(&self) -> Option<Timestamp> {
        match self {
            Self::Placed { at, .. }
            | Self::PaymentConfirmed { at, .. }
            | Self::Scheduled { at, .. }
            | Self::Postponed { at, .. }
            | Self::Reminded { at }
            | Self::PriceAsked { at, .. }
            | Self::PriceSettled { at, .. }
            | Self::CodeWrong { at, .. }
            | Self::WaitingCharged { at, .. }
            | Self::CollectionChosen { at, .. }
            | Self::Continued { at, .. }
            | Self::Unfollowed { at }
            | Self::StopsChanged { at, .. }
            | Self::ChangeAsked { at, .. }
            | Self::ChangeDeclined { at, .. }
            | Self::DispatchFailed { at }
            | Self::DriverChosen { at, .. }
            | Self::PrioritySet { at, .. }
            | Self::Settled { at, .. }
            | Self::DriverGone { at, .. }
            | Self::Departed { at }
            | Self::Arrived { at, .. }
            | Self::Contacted { at }
            | Self::Boarded { at }
            | Self::Started { at, .. }
            | Self::Metered { at, .. }
            | Self::StopArrived { at }
            | Self::StopCompleted { at, .. }
            | Self::StopSkipped { at, .. }
            | Self::EndAsked { at, .. }
            | Self::PickedUp { at, .. }
            | Self::LeftAtHub { at, .. }
            | Self::AttemptFailed { at, .. }
            | Self::Retried { at }
            | Self::ReturnStarted { at, .. }
            | Self::CancelAsked { at, .. }
            | Self::CancelDenied { at, .. }
            | Self::CancelEscalated { at }
            | Self::IncidentOpened { at, .. }
            | Self::Completed { at, .. }
            | Self::Delivered { at, .. }
            | Self::Returned { at, .. }
            | Self::NoDriverFound { at }
            | Self::NoShow { at, .. }
            | Self::Cancelled { at, .. }
            | Self::Failed { at, .. }
            | Self::FareLowered { at, .. }
            | Self::Tipped { at, .. }
            | Self::Rated { at, .. }
            | Self::SlaAtRisk { at }
            | Self::SlaBreached { at }
            | Self::Alerted { at, .. }
            | Self::Search(
                search::Event::Opened { at, .. }
                | search::Event::FeedOpened { at, .. }
                | search::Event::Held { at, .. }
                | search::Event::Resumed { at, .. }
                | search::Event::FleetSet { at, .. }
                | search::Event::Paused { at, .. }
                | search::Event::Unpaused { at }
                | search::Event::JoinedRun { at, .. }
                | search::Event::LeftRun { at, .. },
            ) => Some(*at),
            Self::Assigned(assignment) | Self::CustodyPassed(assignment) => Some(assignment.at),
            Self::Fulfilment(event) => Some(event.at()),
            Self::PaymentAwaited { .. } | Self::Search(_) => None,
        }
    }
}
