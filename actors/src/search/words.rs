//! What is said to a search, and what happens to it. Old events must stay readable for ever.

pub use matching::Candidate;

use super::Account;
use crate::{Format, Topic, run::KNOWN as RUNS};
use protocol::{
    DriverId, Identifier as _, OfferId, OfferStatus, PartnerId, Principal, RunId, Timestamp,
    view::{Crossing, Etas, Position, Queued, StopKind, ZonePause},
    work::{Vehicle, VehicleKind},
};
use serde::{Deserialize, Serialize};
use uuid::Uuid;

/// What it takes to know what dispatchers do.
pub const CONTROLLED: Format = Format(2);

/// What it takes to know of zones.
pub const ZONED: Format = Format(4);
/// What it takes to know of fleets.
pub const FLEETS: Format = Format(4);
/// What it takes to know that a fleet may come first, and everybody later.
pub const FLEETS_FIRST: Format = Format(6);
/// What it takes to know what it takes to load a vehicle: that a ramp, a lift gate or tie-downs are missing, and which kind of bike
/// is stranded.
pub const FEATURES: Format = Format(9);

/// What regions and drivers tell a job about its search. The asker is always the platform.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Command {
    /// A region's choice for a round, best first.
    Propose {
        /** The round it answers. */
        round: u32,
        /** Whom. */
        candidates: Vec<Candidate>,
    },
    /// The driver could not be reserved.
    OfferRefused {
        /** Which. */
        offer: OfferId,
        /** Why not, in words. */
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// The device has, or shows, the offer.
    OfferSeen {
        /** Which. */
        offer: OfferId,
    },
    /// The driver said yes and keeps these slots for it.
    OfferAccepted {
        /** Which. */
        offer: OfferId,
        /** Who. */
        driver: DriverId,
        /** Slots of the vehicle. */
        slots: Vec<u8>,
    },
    /// The driver said no.
    OfferDeclined {
        /** Which. */
        offer: OfferId,
    },
    /// A driver claims it from the feed.
    Claim {
        /** Who. */
        driver: DriverId,
        /** Slots of the vehicle. */
        slots: Vec<u8>,
        /** Whose fleet it drives for. Needs format 4, as the driver's being in it does. */
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fleet: Option<PartnerId>,
        /** What it brings. A build that does not know of it leaves it out, and judges none of that. */
        #[serde(default, skip_serializing_if = "Option::is_none")]
        brings: Option<Box<Brings>>,
    },
    /// The job its driver was on has ended, and this one begins in these slots.
    Settle {
        /** Who. */
        driver: DriverId,
        /** Slots of the vehicle. */
        slots: Vec<u8>,
    },
    /// These are all the drivers that its rider is kept apart from. Needs format 2.
    Bar {
        /** Who. */
        drivers: Vec<DriverId>,
    },
    /// The zone of its pickup is paused: nobody is to be asked. Needs format 4.
    Pause {
        /** Why, and until when. */
        pause: ZonePause,
    },
    /// The zone of its pickup is not paused any more. Needs format 4.
    Unpause {},
    /// A run that it would be brought with asks whether it joins, and waits. Needs format 5.
    JoinRun {
        /** Which. */
        run: RunId,
        /** Who would bring it. */
        driver: DriverId,
        /** The round it answers, since when nothing but tiers may have opened; whichever, if a dispatcher says so. */
        round: Option<u32>,
        /** The run it is in now, and would leave. */
        from: Option<RunId>,
        /** How long it would wait. */
        until: Timestamp,
    },
    /// It is in that run no more. Needs format 5.
    LeaveRun {
        /** Which. */
        run: RunId,
        /** How what its driver was offered ended. */
        status: OfferStatus,
    },
    /// The driver said yes to the run it waits for, and keeps these slots for it. Needs format 5.
    TakeByRun {
        /** Which. */
        run: RunId,
        /** By which offer. */
        offer: OfferId,
        /** Who. */
        driver: DriverId,
        /** Slots of the vehicle. */
        slots: Vec<u8>,
    },
    /// The driver is gone: forced offline, suspended, or gave it back.
    DriverLost {
        /** Who. */
        driver: DriverId,
        /** Why. */
        reason: String,
    },
}

/// What a driver brings who claims a job, as it was when it did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Brings {
    /// Its vehicle, with the skills that count.
    pub vehicle: Vehicle,
    /// How heavy is what it has to carry already, in grams.
    #[serde(default)]
    pub load_g: u32,
}

/// What a job sees of its people.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sighting {
    /// Its driver is here.
    DriverAt {
        /** Who. */
        driver: DriverId,
        /** Where. */
        position: Position,
        /** With what, if it has nothing else to do first. */
        #[serde(default, skip_serializing_if = "Option::is_none")]
        vehicle: Option<VehicleKind>,
        /** The run that says in which order it does what it has to do, if all of that is of one. */
        #[serde(default, skip_serializing_if = "Option::is_none")]
        run: Option<RunId>,
        /** How often where it was said to be was wrong. Is that more than before, it has not come from where it was. */
        #[serde(default, skip_serializing_if = "super::is_nothing")]
        n_corrected: u16,
    },
    /// When its vehicle is expected, as its region knows ways.
    Expected {
        /** Whose. */
        driver: DriverId,
        /** When; none: nobody knows any more. */
        #[serde(default, skip_serializing_if = "Option::is_none")]
        etas: Option<Etas>,
    },
    /// It is there in its region's queue.
    Queued {
        /** Where. */
        queued: Queued,
    },
    /// A device of somebody who has part in it is connected. For those who follow the job: it does nothing about it.
    Connected {
        /** Whose. */
        who: Principal,
    },
    /// Its driver has come to a stop, has stayed there, or has gone again. For those who follow the job, likewise.
    Crossed {
        /** Who. */
        driver: DriverId,
        /** Which stop, from 0. */
        stop: u8,
        /** What is to be done there. */
        what: StopKind,
        /** Which of them. */
        crossing: Crossing,
        /** When it was seen. */
        at: Timestamp,
    },
}

impl Sighting {
    /// Has a driver who was corrected that often, as was seen `before`, been corrected since, so that it has not come from where it
    /// was? Counted on, that is: whose actor fell begins again at 0.
    pub(crate) fn is_corrected(before: Option<u16>, n_corrected: u16) -> bool {
        let n_since = before.map_or(0, |before| n_corrected.wrapping_sub(before));
        (1..=u16::MAX / 2).contains(&n_since)
    }

    /// What it is about.
    pub fn topic(&self) -> Topic {
        match self {
            Self::DriverAt { driver, .. } => Topic(0, driver.uuid()),
            Self::Expected { driver, .. } => Topic(1, driver.uuid()),
            Self::Queued { .. } => Topic(2, Uuid::nil()),
            Self::Connected { who } => Topic(
                3,
                match who {
                    Principal::Rider(id) => id.uuid(),
                    Principal::Driver(id) => id.uuid(),
                    Principal::Merchant(id) => id.uuid(),
                    Principal::Dispatcher | Principal::Admin | Principal::System => Uuid::nil(),
                },
            ),
            Self::Crossed { driver, .. } => Topic(4, driver.uuid()),
        }
    }
}

/// What has happened to a search. A job journals these among its own events.
#[derive(
    Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr, strum::VariantNames,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Event {
    /// It began, or began anew.
    #[strum(serialize = "search_opened")]
    Opened {
        /** When. */
        at: Timestamp,
        /** When it gives up. */
        until: Timestamp,
        /** When drivers further away are considered as well. */
        next_tier_at: Option<Timestamp>,
        /** The only driver to consider. */
        only: Option<DriverId>,
    },
    /// Drivers further away are considered as well; in the last tier, those who rested are considered once more.
    TierOpened {
        /** Which, from 0. */
        tier: u8,
        /** When the next one opens. */
        next_tier_at: Option<Timestamp>,
        /** What rounds saw before it, as far as no event says so. */
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seen: Option<Account>,
    },
    /// Nobody is asked any more; drivers may claim the job.
    FeedOpened {
        /** When. */
        at: Timestamp,
        /** Until when. */
        until: Timestamp,
        /** What rounds saw before it, as far as no event says so. */
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seen: Option<Account>,
    },
    /// A driver is being asked, or told.
    OfferMade {
        /** Which. */
        offer: OfferId,
        /** Who. */
        driver: DriverId,
        /** To the pickup, in seconds. */
        eta_s: u32,
        /** When it ends by itself. */
        expires_at: Timestamp,
        /** Must the driver say yes? */
        consent: bool,
        /** Even if the driver is full or resting (dispatcher). */
        force: bool,
        /** To the pickup, in metres; absent where a person chose the driver. */
        #[serde(default, skip_serializing_if = "Option::is_none")]
        distance_m: Option<u32>,
        /** What the pair costs, in milliseconds of travel; absent where a person chose the driver. */
        #[serde(default, skip_serializing_if = "Option::is_none")]
        cost_ms: Option<u32>,
        /** What rounds saw before it, this one among them, as far as no event says so. Builds that do not know of it leave it out. */
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seen: Option<Account>,
    },
    /// The driver could not be reserved; the offer never reached a person.
    OfferRefused {
        /** Which. */
        offer: OfferId,
        /** Why not, in words. */
        #[serde(default, skip_serializing_if = "Option::is_none")]
        why: Option<String>,
    },
    /// The driver's device shows it.
    OfferSeen {
        /** Which. */
        offer: OfferId,
    },
    /// Two-sided: one side said yes.
    OfferConfirmed {
        /** Which. */
        offer: OfferId,
        /** Who. */
        by: Side,
        /** Slots the driver keeps for it; empty when the rider said yes. */
        slots: Vec<u8>,
        /** How long the other side has. */
        expires_at: Timestamp,
    },
    /// It ended.
    OfferClosed {
        /** Which. */
        offer: OfferId,
        /** How; always final. */
        status: OfferStatus,
        /** Does the driver know already? */
        driver_knows: bool,
    },
    /// This driver is not to be offered the job again.
    #[strum(serialize = "driver_excluded")]
    Excluded {
        /** Who. */
        driver: DriverId,
    },
    /// These are all the drivers that its rider is kept apart from, now. Needs format 2.
    #[strum(serialize = "drivers_barred")]
    Barred {
        /** Who. */
        drivers: Vec<DriverId>,
    },
    /// A dispatcher lets nobody be asked for a while, and the time stands still. Needs format 2.
    #[strum(serialize = "search_held")]
    Held {
        /** When. */
        at: Timestamp,
        /** Who. */
        by: Principal,
        /** Why. */
        reason: String,
    },
    /// It goes on. Needs format 2.
    #[strum(serialize = "search_resumed")]
    Resumed {
        /** When. */
        at: Timestamp,
        /** Who. */
        by: Principal,
        /** Why. */
        reason: String,
    },
    /// It is kept to the drivers of one fleet, or for everybody again. Needs format 4.
    #[strum(serialize = "fleet_set")]
    FleetSet {
        /** When. */
        at: Timestamp,
        /** Whose; anybody's, if absent. */
        fleet: Option<PartnerId>,
        /** Who said it. */
        by: Principal,
        /** Why. */
        reason: String,
        /** Is it kept to them only at first? Needs format 6. */
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        first: bool,
    },
    /// The zone of its pickup is paused: nobody is asked, and the time stands still. Needs format 4.
    #[strum(serialize = "search_paused")]
    Paused {
        /** When. */
        at: Timestamp,
        /** Why, and until when. */
        pause: ZonePause,
        /** It goes on by itself then, unless it is told again that it may not. */
        until: Timestamp,
    },
    /// The zone of its pickup is not paused any more. Needs format 4.
    #[strum(serialize = "search_unpaused")]
    Unpaused {
        /** When. */
        at: Timestamp,
    },
    /// It waits to be brought with others, and nobody is asked about it alone meanwhile. Needs format 5.
    #[strum(serialize = "run_joined")]
    JoinedRun {
        /** When. */
        at: Timestamp,
        /** Which run. */
        run: RunId,
        /** Who would bring it. */
        driver: DriverId,
        /** How long it waits. */
        until: Timestamp,
    },
    /// It waits for the run no more: its driver has it (`accepted`), or somebody is looked for as before. Needs format 5.
    #[strum(serialize = "run_left")]
    LeftRun {
        /** When. */
        at: Timestamp,
        /** Which run. */
        run: RunId,
        /** How what its driver was offered ended. */
        status: OfferStatus,
        /** Does the run know already? */
        run_knows: bool,
    },
    /// Nobody is looked for any more.
    #[strum(serialize = "search_closed")]
    Closed {
        /** What rounds saw before it, as far as no event says so. */
        #[serde(default, skip_serializing_if = "Option::is_none")]
        seen: Option<Account>,
    },
}

impl Command {
    /// What a build must know to be asked it.
    pub fn format(&self) -> Format {
        match self {
            Self::Pause { .. } | Self::Unpause {} => ZONED,
            Self::Claim { fleet: Some(_), .. } => FLEETS,
            Self::Bar { .. } => CONTROLLED,
            Self::JoinRun { .. } | Self::LeaveRun { .. } | Self::TakeByRun { .. } => RUNS,
            Self::Propose { .. }
            | Self::OfferRefused { .. }
            | Self::OfferSeen { .. }
            | Self::OfferAccepted { .. }
            | Self::OfferDeclined { .. }
            | Self::Claim { fleet: None, .. }
            | Self::Settle { .. }
            | Self::DriverLost { .. } => Format::FIRST,
        }
    }
}

impl Event {
    /// Its name in lists and metrics.
    pub fn name(&self) -> &'static str {
        self.into()
    }

    /// What rounds saw before it, if it tells that.
    pub fn account(&self) -> Option<&Account> {
        if let Self::TierOpened { seen, .. }
        | Self::FeedOpened { seen, .. }
        | Self::OfferMade { seen, .. }
        | Self::Closed { seen } = self
        {
            seen.as_ref()
        } else {
            None
        }
    }

    /// Where it would tell that; none, if what rounds saw is not told with it.
    pub fn account_mut(&mut self) -> Option<&mut Option<Account>> {
        if let Self::TierOpened { seen, .. }
        | Self::FeedOpened { seen, .. }
        | Self::OfferMade { seen, .. }
        | Self::Closed { seen } = self
        {
            Some(seen)
        } else {
            None
        }
    }

    /// May it tell that?
    pub fn may_tell_account(&self) -> bool {
        matches!(
            self,
            Self::TierOpened { .. }
                | Self::FeedOpened { .. }
                | Self::OfferMade { .. }
                | Self::Closed { .. }
        )
    }

    /// What a build must know to read it.
    pub fn format(&self) -> Format {
        match self {
            Self::Held { .. } | Self::Resumed { .. } | Self::Barred { .. } => CONTROLLED,
            Self::Paused { .. } | Self::Unpaused { .. } => ZONED,
            Self::FleetSet { first: true, .. } => FLEETS_FIRST,
            Self::FleetSet { first: false, .. } => FLEETS,
            Self::JoinedRun { .. } | Self::LeftRun { .. } => RUNS,
            Self::Opened { .. }
            | Self::TierOpened { .. }
            | Self::FeedOpened { .. }
            | Self::OfferMade { .. }
            | Self::OfferRefused { .. }
            | Self::OfferSeen { .. }
            | Self::OfferConfirmed { .. }
            | Self::OfferClosed { .. }
            | Self::Excluded { .. }
            | Self::Closed { .. } => Format::FIRST,
        }
    }
}

/// Who of the two must still say yes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Side {
    /// Who performs the job.
    Driver,
    /// Who asked for it.
    Rider,
}
