//! How the platform says no.

use crate::{trace::WhyNot, view::ZonePause};
use serde::{Deserialize, Serialize};
use thiserror::Error;

/// Why, in one stable word that a program may branch on. Codes are added, never changed or reused.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, strum::Display, strum::EnumIter,
)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Code {
    /// The frame or body could not be read.
    Malformed,
    /// It was read, and a value in it makes no sense.
    Invalid,
    /// The frame or body is larger than the limit.
    TooLarge,
    /// No valid token.
    Unauthenticated,
    /// The token's role may not do this at all.
    Forbidden,
    /// There is no such thing, or it is not yours to see.
    NotFound,
    /// Not in this state. `allowed` lists what is.
    IllegalTransition,
    /// Someone else holds it: the order has a driver, the rider has a ride, the slot is full.
    Taken,
    /// The account holds too little.
    InsufficientFunds,
    /// The offer has ended: expired, withdrawn, declined or lost.
    OfferGone,
    /// The caller's device is too far from where this must happen.
    TooFar,
    /// Not yet: a waiting time has not passed.
    TooEarly,
    /// The moment for it has passed.
    TooLate,
    /// The pickup or handover code is wrong.
    WrongCode,
    /// A required proof is missing.
    ProofMissing,
    /// The driver may not work, or not on this; `why` says why, where a dispatcher chose it, it is in no shift, or must rest.
    NotEligible,
    /// Nobody serves this place.
    OutOfArea,
    /// Staff let nothing begin there for a while; `zone` says why, and until when.
    ZonePaused,
    /// The price promise is no longer valid, or was for something else.
    QuoteInvalid,
    /// The command id is older than the 24 h in which repeats are recognised, or from the future.
    CommandExpired,
    /// The command id was used before for something else.
    CommandIdReused,
    /// Too many at once. Try again after `retry_after_ms`.
    Busy,
    /// You sent too much. Try again after `retry_after_ms`.
    RateLimited,
    /// This one actor keeps failing and was set aside for a person to look at.
    Quarantined,
    /// The outcome is not known in time. Ask again with the same command id.
    Unavailable,
    /// The node is leaving. Connect to another, or again in a moment.
    Draining,
    /// A fault of ours.
    Internal,
}

/// A refusal on the wire.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Error)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[error("{code}: {message}")]
pub struct Refused {
    /// For programs.
    pub code: Code,
    /// For people; may change.
    pub message: String,
    /// For `illegal_transition`: the commands that would not have been refused for that reason.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub allowed: Vec<String>,
    /// For `busy`, `rate_limited`, `unavailable`, `zone_paused` where the end is known, and `not_eligible` for who must rest:
    /// how long to wait, in milliseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub retry_after_ms: Option<u64>,
    /// For `not_eligible`, where a dispatcher chose a driver: everything that speaks against it and was not,
    /// or cannot be, overruled. Where a driver wants to work while it is in no shift: `outside_shift`;
    /// while it must rest: `hours`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub why: Vec<WhyNot>,
    /// For `zone_paused`: the zone, why, and until when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub zone: Option<Box<ZonePause>>,
}

impl Refused {
    /// A refusal without particulars.
    pub fn new(code: Code, message: impl Into<String>) -> Self {
        let message = message.into();
        let (allowed, why) = (Vec::new(), Vec::new());
        Self { code, message, allowed, retry_after_ms: None, why, zone: None }
    }

    /// The same, for now.
    #[must_use]
    pub fn retry_after_ms(self, ms: u64) -> Self {
        Self { retry_after_ms: Some(ms), ..self }
    }
}
