//! Finding a driver: rounds, offers and who may win, shared by orders and rescues. STUB.

use protocol::{DriverId, OfferId, view::Position};
use serde::{Deserialize, Serialize};

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
    },
    /// The driver is gone: forced offline, suspended, or gave it back.
    DriverLost {
        /** Who. */
        driver: DriverId,
        /** Why. */
        reason: String,
    },
}

/// A driver proposed for a job.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Candidate {
    /// Who.
    pub driver: DriverId,
    /// To the pickup, in seconds.
    pub eta_s: u32,
    /// To the pickup, in metres.
    pub distance_m: u32,
}

/// What a job sees of its driver.
#[derive(Debug, Clone, PartialEq)]
pub enum Sighting {
    /// Its driver is here.
    DriverAt {
        /** Who. */
        driver: DriverId,
        /** Where. */
        position: Position,
    },
}
