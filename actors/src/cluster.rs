//! Several nodes, one platform: who owns which shard, and how a word reaches its owner.
//!
//! ```text
//!            liveness rows, shard heads                        letters
//!  Arbiter ◄───────────────────────────► Member ──► Custody ──► System ◄──────► Transport
//!  (Postgres)   register, renew, look,     │          (what is ours)    ask, read,   (NATS)
//!               steal, hand over           └──► Routes (who has what)   watch, see,
//!                                                                       list, publish
//! ```
//!
//! Safety comes from the fence in the journal's commit and from nowhere else: leases, locks, tables
//! and placement are hints, may be wrong, and only decide how long somebody waits. There is no
//! coordinator: placement is a pure function of who is alive, and who disagrees loses a compare-and-set.

pub mod arbiter;
#[cfg(any(test, feature = "testing"))]
pub mod contract;
pub mod envelope;
#[cfg(any(test, feature = "testing"))]
pub mod hub;
pub mod nats;
pub mod observer;
pub mod placement;
pub mod routes;
pub mod transport;

use serde::{Deserialize, Serialize};
use std::{fmt, time::Duration};

/// One start of a node. A greater one is a later one, of whichever node.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Incarnation(pub u64);

impl fmt::Display for Incarnation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "incarnation-{}", self.0)
    }
}

/// How a node takes part in a cluster.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// How long a node that says nothing counts as alive.
    #[serde(with = "humantime_serde")]
    pub ttl: Duration,
    /// How often it says that it is.
    #[serde(with = "humantime_serde")]
    pub renew: Duration,
    /// How long a newcomer stays before shards are moved to it.
    #[serde(with = "humantime_serde")]
    pub settle: Duration,
    /// Most shards a node hands over at once.
    pub handovers_max: usize,
    /// Most callers that wait for one shard while it moves; more hear `busy`.
    pub waiting_max: u32,
    /// How long one step of a hand-over may take before it is given up.
    #[serde(with = "humantime_serde")]
    pub step_max: Duration,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            ttl: Duration::from_secs(2),
            renew: Duration::from_millis(400),
            settle: Duration::from_secs(5),
            handovers_max: 8,
            waiting_max: 1_000,
            step_max: Duration::from_secs(2),
        }
    }
}

impl Settings {
    /// How long before its time a lease counts as over: what a renewal and two clocks may differ by.
    pub fn margin(&self) -> Duration {
        self.ttl / 5
    }
}
