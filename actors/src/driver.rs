//! STUB
use crate::policy::DriverPolicy;
use protocol::{
    JobId, OfferId, OfferStatus,
    view::{Offer, Position, WorkKind},
    work::{DutyWish, Vehicle},
};
use serde::{Deserialize, Serialize};
/// What can be asked of a driver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Command {
    /// Start, stop or pause work.
    SetDuty {
        /** Which. */
        duty: DutyWish,
        /** With what, when starting. */
        vehicle: Option<Vehicle>,
        /** The rules from now on. */
        policy: DriverPolicy,
    },
    /// A job asks the driver to consider it, or, without consent, to take it.
    ReserveOffer {
        /** The terms. */
        offer: Offer,
        /** Must the driver say yes? */
        consent: bool,
        /** Even if the driver is full or resting (dispatcher). */
        force: bool,
    },
    /// The offer is taken back.
    WithdrawOffer {
        /** Which. */
        offer: OfferId,
        /** How it ended. */
        status: OfferStatus,
    },
    /// The driver's device shows the offer.
    SeeOffer {
        /** Which. */
        offer: OfferId,
    },
    /// The driver says yes.
    AcceptOffer {
        /** Which. */
        offer: OfferId,
    },
    /// The driver says no.
    DeclineOffer {
        /** Which. */
        offer: OfferId,
    },
    /// The driver wants a job from the feed.
    ClaimJob {
        /** Which. */
        job: JobId,
        /** What it does to the slots. */
        work: WorkKind,
    },
    /// The driver gives back a job that was assigned without asking.
    RejectJob {
        /** Which. */
        job: JobId,
    },
    /// The job is the driver's.
    CommitJob {
        /** Which. */
        job: JobId,
    },
    /// The job is not the driver's after all.
    AbortJob {
        /** Which. */
        job: JobId,
        /** Why. */
        reason: String,
    },
    /// The job is over, or someone else's.
    EndJob {
        /** Which. */
        job: JobId,
        /** Why. */
        reason: String,
    },
    /// The job cannot be taken from the driver: the answer to a refused `DriverLost`.
    KeepJob {
        /** Which. */
        job: JobId,
    },
    /// What the rider thought of a job.
    RecordRating {
        /** Of which. */
        job: JobId,
        /** 1 to 5. */
        stars: u8,
    },
    /// May not work.
    Suspend {
        /** Why. */
        reason: String,
        /** Also from the jobs it has? */
        reassign: bool,
    },
    /// May work again.
    Reinstate {},
    /// The deadline has come.
    Tick {},
}
/// What is seen of a driver.
#[derive(Debug, Clone, PartialEq)]
pub enum Sighting {
    /// Its device is here. (Also a heartbeat.)
    At(Position),
    /// Its device is there, wherever that is.
    Heartbeat,
}
