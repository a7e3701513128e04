//! Where a thing is in its life, as everyone is told.

use serde::{Deserialize, Serialize};

macro_rules! statuses {
    ($($(#[$doc:meta])* $name:ident { $($(#[$vdoc:meta])* $variant:ident),+ $(,)? })+) => {$(
        $(#[$doc])*
        #[derive(
            Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
            strum::Display, strum::EnumString, strum::EnumIter, strum::IntoStaticStr,
        )]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        #[serde(rename_all = "snake_case")]
        #[strum(serialize_all = "snake_case")]
        pub enum $name { $($(#[$vdoc])* $variant),+ }
    )+};
}

statuses! {
    /// Where an order's transport is. Rides use `in_progress` where deliveries use `picked_up` to
    /// `at_dropoff`; the rest is shared.
    OrderStatus {
        /// Its payment must be authorised first.
        AwaitingPayment,
        /// It starts later.
        Scheduled,
        /// The merchant is preparing it; no driver is needed yet.
        Waiting,
        /// Looking for a driver.
        Searching,
        /// No driver was found by asking; drivers may claim it from the feed.
        JobFeed,
        /// It has a driver.
        Assigned,
        /// The driver is on the way to the pickup.
        EnRoutePickup,
        /// The driver is at the pickup.
        AtPickup,
        /// The rider is on board.
        InProgress,
        /// The driver has the goods.
        PickedUp,
        /// The goods are on the way.
        InTransit,
        /// The driver is at a stop on the way.
        AtStop,
        /// The driver is at the last stop.
        AtDropoff,
        /// It could not be handed over.
        FailedAttempt,
        /// The goods are going back.
        Returning,
        /// The ride ended well, or the goods were collected. Final.
        Completed,
        /// The goods were handed over. Final.
        Delivered,
        /// The goods are back where they came from. Final.
        Returned,
        /// Nobody could take it. Final.
        NoDriverFound,
        /// The rider did not come. Final.
        NoShow,
        /// Final.
        CancelledByRider,
        /// Final.
        CancelledByDriver,
        /// Final.
        CancelledByMerchant,
        /// Final.
        CancelledBySystem,
        /// Final.
        CancelledByAdmin,
        /// Someone felt unsafe. Final.
        CancelledSafety,
        /// It went wrong beyond repair. Final.
        Failed,
    }

    /// Where the merchant's side of an order is.
    FulfilmentStatus {
        /// No merchant is involved.
        None,
        /// The merchant has not answered.
        AwaitingMerchant,
        /// The merchant will make it.
        Confirmed,
        /// It is being made.
        Preparing,
        /// It may be picked up.
        Ready,
        /// It has left the merchant.
        HandedOver,
        /// The merchant will not make it.
        Rejected,
    }

    /// Where a rescue is.
    RescueStatus {
        /// It was asked for and is being triaged.
        Requested,
        /// Looking for a driver.
        Searching,
        /// It has a driver.
        Accepted,
        /// The driver is on the way.
        EnRoute,
        /// The driver is there.
        OnScene,
        /// The driver is repairing.
        Assisting,
        /// The vehicle is being loaded.
        Loading,
        /// The vehicle is being moved.
        InTransit,
        /// The vehicle is where it should go.
        AtDropoff,
        /// The driver there needs another one; the search for that one is on.
        Escalated,
        /// Final.
        Completed,
        /// Nobody serves this place. Final.
        RejectedOutOfArea,
        /// Nobody could come. Final.
        NoDriver,
        /// Final.
        CancelledByRider,
        /// Final.
        CancelledByAdmin,
        /// The requester was not there. Final.
        NoShow,
        /// Someone felt unsafe. Final.
        CancelledSafety,
        /// It went wrong beyond repair. Final.
        Failed,
    }

    /// Where an incident is.
    IncidentStatus {
        /// Nobody has taken it on.
        Open,
        /// Somebody sees to it.
        Acked,
        /// Help is on its way.
        Responding,
        /// It was seen to; whoever raised it may call again.
        Resolved,
        /// It was none; likewise.
        False,
        /// Nothing is left to be done or answered. Final.
        Closed,
    }

    /// Whether a driver can be given work, as derived from duty, link and load.
    DriverStatus {
        /// May not work.
        Blocked,
        /// Off duty.
        Offline,
        /// On duty and not heard of for too long.
        Unreachable,
        /// On duty, resting.
        OnBreak,
        /// Looking at an offer.
        Offered,
        /// Has all the work it can hold.
        Busy,
        /// Has work and can hold more.
        PartlyBusy,
        /// Has no work and wants some.
        Available,
    }

    /// What a driver means to do, which it changes a few times a day: lists of drivers go by it, for its
    /// [`DriverStatus`] moves with every offer.
    DutyStatus {
        /// May not work.
        Blocked,
        /// Off duty.
        Offline,
        /// On duty and not heard of for too long.
        Unreachable,
        /// On duty, resting.
        OnBreak,
        /// Ends what it has, and then goes off duty.
        Leaving,
        /// On duty.
        OnDuty,
    }

    /// Where an offer is.
    OfferStatus {
        /// Made, and the driver is being reserved.
        Created,
        /// On its way to the device.
        Sent,
        /// The device has it.
        Delivered,
        /// The driver has seen it.
        Seen,
        /// The driver said yes and the order is deciding.
        Accepting,
        /// Two-sided: the driver said yes, the rider has not.
        DriverConfirmed,
        /// Two-sided: the rider said yes, the driver has not.
        RiderConfirmed,
        /// Won. Final.
        Accepted,
        /// Someone else won, or the order ended meanwhile. Final.
        Lost,
        /// One side said no. Final.
        Declined,
        /// Nobody answered in time. Final.
        Expired,
        /// The platform took it back. Final.
        Withdrawn,
    }
    /// Where a run is.
    RunStatus {
        /// Its orders are asked whether they join.
        Planned,
        /// It is offered to its driver, whole.
        Offered,
        /// The driver said yes, and its orders are being assigned.
        Accepted,
        /// The driver brings them.
        Active,
        /// Everything is where it should be. Final.
        Completed,
        /// It came to nothing, and its orders look for a driver each on their own. Final.
        Dissolved,
        /// Its driver could not go on: what was not fetched looks for another one. Final.
        Abandoned,
    }
    /// Where one order of a run is.
    MemberStatus {
        /// It has not said yet whether it joins.
        Asked,
        /// It waits for the driver's answer.
        Joined,
        /// The driver said yes, and the order is deciding.
        Assigning,
        /// It is to be fetched.
        Waiting,
        /// The driver has it.
        Aboard,
        /// It was brought.
        Done,
    }
}

impl OrderStatus {
    /// Can nothing more happen to it?
    pub fn is_final(self) -> bool {
        self >= Self::Completed
    }

    /// Does it have a driver working on it?
    pub fn has_driver(self) -> bool {
        (Self::Assigned..=Self::Returning).contains(&self)
    }
}

impl RescueStatus {
    /// Can nothing more happen to it?
    pub fn is_final(self) -> bool {
        self >= Self::Completed
    }

    /// Does it have a driver working on it?
    pub fn has_driver(self) -> bool {
        (Self::Accepted..=Self::Escalated).contains(&self)
    }
}

impl IncidentStatus {
    /// Does it need nobody any more?
    pub fn is_over(self) -> bool {
        self >= Self::Resolved
    }
}

impl RunStatus {
    /// Can nothing more happen to it?
    pub fn is_final(self) -> bool {
        self >= Self::Completed
    }
}

impl OfferStatus {
    /// Can nothing more happen to it?
    pub fn is_final(self) -> bool {
        self >= Self::Accepted
    }
}
