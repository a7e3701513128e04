//! Why an entity said no. A refusal is an answer, not a failure.

use crate::{Claim, EntityKey};
use protocol::{Code, OfferStatus, Refused, trace::WhyNot, view::ZonePause};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use thiserror::Error;

/// No vehicle is faster than this, in metres per second.
const SPEED_MPS_MAX: f64 = 40.0;
/// What a driver's device said has reached its job after so long.
const SEEN_WITHIN_MS: u64 = 500;

/// Why an entity said no. Stored with the command it answers, so old ones must stay readable.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, Error)]
#[serde(rename_all = "snake_case")]
pub enum Refusal {
    /// Nothing with this id has ever been created, or the asker may not know of it.
    #[error("no such {0}")]
    Unknown(String),
    /// Not in this state.
    #[error("not possible while {state}")]
    IllegalTransition {
        /// The state it is in.
        state: String,
        /// The commands its state allows.
        allowed: Vec<String>,
    },
    /// The asker has no relation to it that permits this.
    #[error("{0}")]
    NotYours(String),
    /// A unique key is held by someone else.
    #[error("{claim} is held by {holder}")]
    Taken {
        /// The key.
        claim: Claim,
        /// Who holds it.
        holder: EntityKey,
    },
    /// An account would hold less than it may.
    #[error("{account} holds too little")]
    InsufficientFunds {
        /// Which.
        account: String,
    },
    /// The offer has ended.
    #[error("offer is {0}")]
    OfferGone(OfferStatus),
    /// The device is too far away.
    #[error("{distance_m} m away, at most {limit_m} m are allowed")]
    TooFar {
        /// How far it is.
        distance_m: u32,
        /// How far it may be.
        limit_m: u32,
        /// It may be near by now, and that not be known yet: how long to wait.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        retry_after_ms: Option<u64>,
    },
    /// A waiting time has not passed.
    #[error("too early{}: {what}", by(*remaining_ms))]
    TooEarly {
        /// What must be waited for.
        what: String,
        /// How long still; 0: until somebody does something.
        remaining_ms: u64,
    },
    /// The moment for it has passed.
    #[error("too late: {0}")]
    TooLate(String),
    /// The code is wrong.
    #[error("the code is wrong")]
    WrongCode,
    /// Proofs are missing.
    #[error("missing proof: {0}")]
    ProofMissing(String),
    /// The driver may not work, or not on this.
    #[error("not eligible: {0}")]
    NotEligible(String),
    /// The driver a dispatcher chose cannot be given the job, because of all of this.
    #[error("not eligible: {}", listed(.0))]
    Unfit(Vec<WhyNot>),
    /// The driver has worked as long as it may. Needs format 11.
    #[error("not eligible: must rest for {} s more", remaining_ms.div_ceil(1_000))]
    MustRest {
        /// How long still.
        remaining_ms: u64,
    },
    /// A value makes no sense here.
    #[error("{field}: {problem}")]
    Invalid {
        /// Which.
        field: String,
        /// Why not.
        problem: String,
    },
    /// Nobody serves this place.
    #[error("nobody serves this place")]
    OutOfArea,
    /// Staff let nothing begin there for a while.
    #[error("{}", paused(.0))]
    ZonePaused(Box<ZonePause>),
    /// The command id is outside the window in which repeats are recognised.
    #[error("command id is older than the repeat window, or from the future")]
    CommandExpired,
    /// The command id was used before, by someone else or for something else.
    #[error("command id was used before for something else")]
    CommandIdReused,
    /// Too many commands wait for this entity, its shard or its node.
    #[error("too many commands at once")]
    Busy {
        /// How long to wait.
        retry_after_ms: u64,
    },
    /// This entity keeps failing and was set aside.
    #[error("set aside after repeated failures")]
    Quarantined,
    /// The outcome is unknown.
    #[error("no answer in time; ask again with the same command id")]
    Unavailable,
    /// The node is leaving.
    #[error("this node is leaving")]
    Draining,
}

impl Refusal {
    /// A value that makes no sense.
    pub fn invalid(field: &str, problem: impl Into<String>) -> Self {
        Self::Invalid { field: field.to_owned(), problem: problem.into() }
    }

    /// The device was so far away when it was last seen, which is so long ago. A position comes by way of its driver and a command
    /// comes straight, so that one that was said first may be known last.
    pub(crate) fn too_far(distance_m: u32, limit_m: u32, seen_ago: Duration) -> Self {
        let missing_m = f64::from(distance_m.saturating_sub(limit_m));
        let may_be_near = missing_m <= seen_ago.as_secs_f64() * SPEED_MPS_MAX;
        let retry_after_ms = may_be_near.then_some(SEEN_WITHIN_MS);
        Self::TooFar { distance_m, limit_m, retry_after_ms }
    }

    /// Its stable word.
    pub fn code(&self) -> Code {
        match self {
            Self::Unknown(_) => Code::NotFound,
            Self::IllegalTransition { .. } => Code::IllegalTransition,
            Self::NotYours(_) => Code::Forbidden,
            Self::Taken { .. } => Code::Taken,
            Self::InsufficientFunds { .. } => Code::InsufficientFunds,
            Self::OfferGone(_) => Code::OfferGone,
            Self::TooFar { .. } => Code::TooFar,
            Self::TooEarly { .. } => Code::TooEarly,
            Self::TooLate(_) => Code::TooLate,
            Self::WrongCode => Code::WrongCode,
            Self::ProofMissing(_) => Code::ProofMissing,
            Self::NotEligible(_) | Self::Unfit(_) | Self::MustRest { .. } => Code::NotEligible,
            Self::Invalid { .. } => Code::Invalid,
            Self::OutOfArea => Code::OutOfArea,
            Self::ZonePaused(_) => Code::ZonePaused,
            Self::CommandExpired => Code::CommandExpired,
            Self::CommandIdReused => Code::CommandIdReused,
            Self::Busy { .. } => Code::Busy,
            Self::Quarantined => Code::Quarantined,
            Self::Unavailable => Code::Unavailable,
            Self::Draining => Code::Draining,
        }
    }
}

impl From<Refusal> for Refused {
    fn from(refusal: Refusal) -> Self {
        let mut refused = Self::new(refusal.code(), refusal.to_string());
        match refusal {
            Refusal::IllegalTransition { allowed, .. } => refused.allowed = allowed,
            Refusal::Unfit(why) => refused.why = why,
            Refusal::MustRest { remaining_ms } => {
                refused.why = vec![WhyNot::Hours];
                refused.retry_after_ms = Some(remaining_ms);
            }
            Refusal::ZonePaused(pause) => refused.zone = Some(pause),
            Refusal::Busy { retry_after_ms } => refused.retry_after_ms = Some(retry_after_ms),
            Refusal::TooEarly { remaining_ms, .. } => {
                refused.retry_after_ms = Some(remaining_ms).filter(|ms| *ms > 0);
            }
            Refusal::TooFar { retry_after_ms, .. } => refused.retry_after_ms = retry_after_ms,
            Refusal::Unavailable | Refusal::Draining => refused.retry_after_ms = Some(250),
            Refusal::Unknown(_)
            | Refusal::NotYours(_)
            | Refusal::Taken { .. }
            | Refusal::InsufficientFunds { .. }
            | Refusal::OfferGone(_)
            | Refusal::TooLate(_)
            | Refusal::WrongCode
            | Refusal::ProofMissing(_)
            | Refusal::NotEligible(_)
            | Refusal::Invalid { .. }
            | Refusal::OutOfArea
            | Refusal::CommandExpired
            | Refusal::CommandIdReused
            | Refusal::Quarantined => {}
        }
        refused
    }
}

fn paused(pause: &ZonePause) -> String {
    format!("this zone is paused: {}", pause.reason)
}

fn listed(why: &[WhyNot]) -> String {
    why.iter().map(WhyNot::to_string).collect::<Vec<_>>().join(", ")
}

/// By how much something is too early, if that is known.
fn by(remaining_ms: u64) -> String {
    match remaining_ms {
        0 => String::new(),
        ms => format!(" by {} s", ms.div_ceil(1_000)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_waits_for_somebody_says_no_time_to_wait() {
        let of = |remaining_ms| {
            let refusal = Refusal::TooEarly { what: "the wait".to_owned(), remaining_ms };
            let refused = Refused::from(refusal);
            (refused.message, refused.retry_after_ms)
        };
        assert_eq!(of(0), ("too early: the wait".to_owned(), None));
        assert_eq!(of(1_200), ("too early by 2 s: the wait".to_owned(), Some(1_200)));
    }

    #[test]
    fn whoever_must_rest_is_told_why_it_may_not_work_and_for_how_long() {
        let refused = Refused::from(Refusal::MustRest { remaining_ms: 1_200 });
        assert_eq!((refused.code, refused.why), (Code::NotEligible, vec![WhyNot::Hours]));
        assert_eq!(refused.message, "not eligible: must rest for 2 s more");
        assert_eq!(refused.retry_after_ms, Some(1_200));
    }
}
