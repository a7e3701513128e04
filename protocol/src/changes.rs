//! What changed of a view, so that only that is said; and what a client has been shown, so that it still sees it whole.
//!
//! ```text
//!  order v3 ──► changed {order: {id, from: 3, version: 4, status}} ──► changed {order: {id, from: 4, …}}
//!  whole                 whole at v4                                            whole at v5
//! ```
//!
//! A field that changed is said whole, also if it is a list or has fields of its own.

use crate::{
    DriverId, DriverStatus, Fare, FulfilmentStatus, JobId, Money, OrderId, OrderStatus, PartnerId,
    Place, RescueId, RescueStatus, RiderId, RunId, RunStatus, Timestamp,
    frame::{ServerFrame, Topic},
    view::{
        DriverView, Etas, Grant, Hint, HubStay, Offer, OfferView, OrderView, Position, Queued,
        Rates, RescueView, Rest, RiderView, RunOrder, RunStop, RunView, Shift, ZonePause,
    },
    work::{Alternative, Issue, Needs, OfferPolicy, OrderKind, Priority, Vehicle},
};
use serde::{Deserialize, Deserializer, Serialize};
use std::collections::VecDeque;
use thiserror::Error;

/// Most views a client keeps to apply changes to: more than a node lets one session follow.
const SHOWN_MAX: usize = 128;

/// What changed of something that was shown before.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Changed {
    /// An order.
    Order(Box<OrderChanges>),
    /// A rescue.
    Rescue(Box<RescueChanges>),
    /// A driver.
    Driver(Box<DriverChanges>),
    /// A rider.
    Rider(RiderChanges),
    /// A run: another sequence of stops, for one.
    Run(Box<RunChanges>),
}

/// Changes of another version than the one they were applied to, or of something else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
#[error("changes of another version")]
pub struct OtherVersion;

/// A field that is there was said, also if it says that there is nothing.
fn said<'de, D: Deserializer<'de>, T: Deserialize<'de>>(from: D) -> Result<Option<T>, D::Error> {
    T::deserialize(from).map(Some)
}

/// Changes of one kind of view: each of its fields, if it is another now.
macro_rules! changes {
    ($(#[$about:meta])* $changes:ident of $view:ident, $id:ty {
        $($field:ident: [$($of:tt)+],)+
    }) => {
        $(#[$about])*
        #[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
        #[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
        pub struct $changes {
            /// Of which.
            pub id: $id,
            /// Of which version: nothing else can be made of them.
            pub from: u64,
            /// What its version is then.
            pub version: u64,
            $(
                /// As in the view, if it is another now; null: it has none any more.
                #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "said")]
                #[cfg_attr(feature = "openapi", schema(value_type = $($of)+, required = false))]
                pub $field: Option<$($of)+>,
            )+
        }

        impl $view {
            /// What must be changed of an earlier view of the same to get this one; none if it is of something
            /// else.
            pub fn changes_since(&self, was: &Self) -> Option<$changes> {
                // All of them, or it does not compile.
                let Self { id, version, $($field),+ } = self;
                (*id == was.id).then(|| $changes {
                    id: *id,
                    from: was.version,
                    version: *version,
                    $($field: (*$field != was.$field).then(|| $field.clone()),)+
                })
            }

            /// Makes it what it was changed to.
            pub fn apply(&mut self, changes: $changes) -> Result<(), OtherVersion> {
                let $changes { id, from, version, $($field),+ } = changes;
                if (id, from) != (self.id, self.version) {
                    return Err(OtherVersion);
                }
                self.version = version;
                $(
                    if let Some(now) = $field {
                        self.$field = now;
                    }
                )+
                Ok(())
            }
        }
    };
}

changes! {
    /// What changed of an order. One of which only something else is expected keeps its version.
    OrderChanges of OrderView, OrderId {
        kind: [OrderKind],
        status: [OrderStatus],
        fulfilment: [FulfilmentStatus],
        rider: [RiderId],
        driver: [Option<DriverId>],
        stops: [Vec<Place>],
        stops_done: [u8],
        fare: [Fare],
        tip: [Option<Money>],
        policy: [OfferPolicy],
        held: [bool],
        paused: [Option<ZonePause>],
        priority: [Priority],
        fleet: [Option<PartnerId>],
        fleet_first: [bool],
        offers: [Vec<OfferView>],
        reason: [Option<String>],
        placed_at: [Timestamp],
        changed_at: [Timestamp],
        start_at: [Option<Timestamp>],
        price_asked: [Option<Fare>],
        follows: [Option<OrderId>],
        followed_by: [Option<OrderId>],
        run: [Option<RunId>],
        eta: [Option<Etas>],
        queue: [Option<Queued>],
        code: [Option<String>],
        hub: [Option<HubStay>],
    }
}

changes! {
    /// What changed of a rescue. One of which only something else is expected keeps its version.
    RescueChanges of RescueView, RescueId {
        issue: [Issue],
        status: [RescueStatus],
        rider: [RiderId],
        driver: [Option<DriverId>],
        attached: [Option<DriverId>],
        at: [Place],
        dropoff: [Option<Place>],
        fare: [Fare],
        needs: [Needs],
        held: [bool],
        priority: [Priority],
        fleet: [Option<PartnerId>],
        offers: [Vec<OfferView>],
        outcome: [Option<String>],
        alternatives: [Vec<Alternative>],
        requested_at: [Timestamp],
        changed_at: [Timestamp],
        eta: [Option<Etas>],
        queue: [Option<Queued>],
    }
}

changes! {
    /// What changed of a driver. One that is only seen somewhere else keeps its version.
    DriverChanges of DriverView, DriverId {
        status: [DriverStatus],
        blocked: [Option<String>],
        vehicle: [Option<Vehicle>],
        jobs: [Vec<JobId>],
        offers: [Vec<Offer>],
        position: [Option<Position>],
        fleet: [Option<PartnerId>],
        hint: [Option<Hint>],
        run: [Option<RunId>],
        grants: [Vec<Grant>],
        ungranted: [Vec<String>],
        rates: [Rates],
        shift: [Option<Shift>],
        n_shift_no_shows: [u32],
        doubted: [bool],
        rest: [Option<Rest>],
    }
}

changes! {
    /// What changed of a run.
    RunChanges of RunView, RunId {
        status: [RunStatus],
        driver: [DriverId],
        orders: [Vec<RunOrder>],
        stops: [Vec<RunStop>],
        fare: [Option<Money>],
        saving_percent: [u8],
        reason: [Option<String>],
        planned_at: [Timestamp],
        changed_at: [Timestamp],
    }
}

changes! {
    /// What changed of a rider.
    RiderChanges of RiderView, RiderId {
        jobs: [Vec<JobId>],
    }
}

impl Changed {
    /// What must be changed of one view to get another; none if they are not of the same, or no views.
    pub fn between(was: &ServerFrame, now: &ServerFrame) -> Option<Self> {
        match (was, now) {
            (ServerFrame::Order(was), ServerFrame::Order(now)) => {
                now.changes_since(was).map(|it| Self::Order(Box::new(it)))
            }
            (ServerFrame::Rescue(was), ServerFrame::Rescue(now)) => {
                now.changes_since(was).map(|it| Self::Rescue(Box::new(it)))
            }
            (ServerFrame::Driver(was), ServerFrame::Driver(now)) => {
                now.changes_since(was).map(|it| Self::Driver(Box::new(it)))
            }
            (ServerFrame::Rider(was), ServerFrame::Rider(now)) => {
                now.changes_since(was).map(Self::Rider)
            }
            (ServerFrame::Run(was), ServerFrame::Run(now)) => {
                now.changes_since(was).map(|it| Self::Run(Box::new(it)))
            }
            (_, _) => None,
        }
    }

    /// Makes a view what it was changed to.
    pub fn apply(self, view: &mut ServerFrame) -> Result<(), OtherVersion> {
        match (self, view) {
            (Self::Order(changes), ServerFrame::Order(view)) => view.apply(*changes),
            (Self::Rescue(changes), ServerFrame::Rescue(view)) => view.apply(*changes),
            (Self::Driver(changes), ServerFrame::Driver(view)) => view.apply(*changes),
            (Self::Rider(changes), ServerFrame::Rider(view)) => view.apply(changes),
            (Self::Run(changes), ServerFrame::Run(view)) => view.apply(*changes),
            (_, _) => Err(OtherVersion),
        }
    }

    /// By which topic the whole of it is to be had.
    pub fn topic(&self) -> Topic {
        match self {
            Self::Order(changes) => Topic::Order(changes.id),
            Self::Rescue(changes) => Topic::Rescue(changes.id),
            Self::Driver(changes) => Topic::Driver(changes.id),
            Self::Rider(_) => Topic::Me,
            Self::Run(changes) => Topic::Run(changes.id),
        }
    }

    fn is_of(&self, view: &ServerFrame) -> bool {
        match (self, view) {
            (Self::Order(changes), ServerFrame::Order(view)) => changes.id == view.id,
            (Self::Rescue(changes), ServerFrame::Rescue(view)) => changes.id == view.id,
            (Self::Driver(changes), ServerFrame::Driver(view)) => changes.id == view.id,
            (Self::Rider(changes), ServerFrame::Rider(view)) => changes.id == view.id,
            (Self::Run(changes), ServerFrame::Run(view)) => changes.id == view.id,
            (_, _) => false,
        }
    }
}

/// Changes of something that was not shown, or not in that version: it is to be asked for anew.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("changes of what was not shown")]
pub struct NotShown {
    /// By this topic.
    pub topic: Topic,
}

/// What a client has been shown, as it was last.
#[derive(Debug, Clone, Default)]
pub struct Shown {
    /// The latest last.
    views: VecDeque<ServerFrame>,
}

impl Shown {
    /// What a frame says, with changes made whole. Other frames are what they are.
    pub fn whole(&mut self, frame: ServerFrame) -> Result<ServerFrame, NotShown> {
        match frame {
            ServerFrame::Changed(changed) => {
                let topic = changed.topic();
                let which = self.views.iter().position(|view| changed.is_of(view));
                let mut view = which
                    .and_then(|it| self.views.remove(it))
                    .ok_or(NotShown { topic: topic.clone() })?;
                changed.apply(&mut view).map_err(|OtherVersion| NotShown { topic })?;
                self.views.push_back(view.clone());
                Ok(view)
            }
            ServerFrame::Order(_)
            | ServerFrame::Rescue(_)
            | ServerFrame::Driver(_)
            | ServerFrame::Rider(_)
            | ServerFrame::Run(_) => {
                self.views.retain(|view| !is_same(view, &frame));
                if self.views.len() >= SHOWN_MAX {
                    self.views.pop_front();
                }
                self.views.push_back(frame.clone());
                Ok(frame)
            }
            ServerFrame::Hello { .. }
            | ServerFrame::Welcome { .. }
            | ServerFrame::Heartbeat { .. }
            | ServerFrame::Result { .. }
            | ServerFrame::Push { .. }
            | ServerFrame::Refused(_)
            // Never said by what changed of it.
            | ServerFrame::Incident(_)
            | ServerFrame::Sighted { .. }
            | ServerFrame::Presence { .. }
            | ServerFrame::Near { .. }
            | ServerFrame::Board(_)
            | ServerFrame::Region(_)
            | ServerFrame::Actor(_)
            | ServerFrame::Unsubscribed { .. }
            | ServerFrame::Goodbye { .. } => Ok(frame),
        }
    }

    /// Everything is told anew.
    pub fn forget(&mut self) {
        self.views.clear();
    }
}

/// Are they views of the same?
fn is_same(one: &ServerFrame, other: &ServerFrame) -> bool {
    match (one, other) {
        (ServerFrame::Order(one), ServerFrame::Order(other)) => one.id == other.id,
        (ServerFrame::Rescue(one), ServerFrame::Rescue(other)) => one.id == other.id,
        (ServerFrame::Driver(one), ServerFrame::Driver(other)) => one.id == other.id,
        (ServerFrame::Rider(one), ServerFrame::Rider(other)) => one.id == other.id,
        (ServerFrame::Run(one), ServerFrame::Run(other)) => one.id == other.id,
        (_, _) => false,
    }
}
