//! How a node takes part in a cluster, if it does.

use super::{JournalKind, SettingsError};
use actors::{
    cluster::{self, nats},
    journal::postgres,
};
use serde::{Deserialize, Serialize};
use std::{fmt, path::PathBuf, time::Duration};

/// Which cluster, as whom, and on what terms.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClusterSettings {
    pub(crate) nats: String,
    pub(crate) nats_creds_file: PathBuf,
    pub(crate) nats_ca_file: PathBuf,
    pub(crate) name: String,
    pub(crate) node: String,
    pub(crate) address: String,
    pub(crate) zone: String,
    pub(crate) weight: u32,
    #[serde(with = "humantime_serde")]
    pub(crate) ttl: Duration,
    #[serde(with = "humantime_serde")]
    pub(crate) renew: Duration,
    #[serde(with = "humantime_serde")]
    pub(crate) settle: Duration,
    pub(crate) handovers_max: usize,
    pub(crate) waiting_max: u32,
    #[serde(with = "humantime_serde")]
    pub(crate) step_max: Duration,
}

/// A URL may have a password in it.
impl fmt::Debug for ClusterSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ClusterSettings")
            .field("nats", &self.nats())
            .field("name", &self.name)
            .field("node", &self.node)
            .field("address", &self.address)
            .field("zone", &self.zone)
            .field("weight", &self.weight)
            .field("member", &self.member())
            .finish()
    }
}

impl ClusterSettings {
    /// Is the node in no cluster?
    pub(crate) fn is_alone(&self) -> bool {
        self.nats.is_empty()
    }

    /// How nodes reach each other.
    pub(crate) fn nats(&self) -> nats::Settings {
        nats::Settings {
            url: self.nats.clone(),
            creds_file: self.nats_creds_file.clone(),
            ca_file: self.nats_ca_file.clone(),
        }
    }

    /// The terms of its membership.
    pub(crate) fn member(&self) -> cluster::Settings {
        cluster::Settings {
            ttl: self.ttl,
            renew: self.renew,
            settle: self.settle,
            handovers_max: self.handovers_max,
            waiting_max: self.waiting_max,
            step_max: self.step_max,
        }
    }

    /// Do they make sense, beside that journal?
    pub(super) fn check(&self, journal: JournalKind) -> Result<(), SettingsError> {
        let senseless =
            |key, problem: &str| Err(SettingsError::Senseless { key, problem: problem.to_owned() });
        if self.renew < Duration::from_millis(10) || self.ttl < self.renew * 3 {
            return senseless("cluster.ttl", "at least three times renew, which is at least 10ms");
        }
        if self.step_max.is_zero() || self.handovers_max == 0 || self.waiting_max == 0 {
            return senseless("cluster", "step_max, handovers_max and waiting_max are more than 0");
        }
        if self.is_alone() {
            return Ok(());
        }
        if journal != JournalKind::Postgres {
            return senseless("journal.kind", "a cluster shares a database: \"postgres\"");
        }
        if let Err(error) = self.nats().check() {
            return senseless("cluster.nats", &error.to_string());
        }
        if !nats::is_name(&self.name) {
            return senseless("cluster.name", "letters, digits, '-' and '_', at least one");
        }
        if !self.node.is_empty() && !postgres::is_member_name(&self.node) {
            return senseless("cluster.node", "at most 43 letters, digits, '-', '_' and '.'");
        }
        Ok(())
    }
}
