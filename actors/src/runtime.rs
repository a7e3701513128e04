//! STUB: the shape of the runtime, for those who build on it.
#![expect(unused_variables, clippy::unimplemented, missing_docs, reason = "stub")]

use crate::{Decider, EntityKey, Refusal, Sight, Tell, Version, journal::SharedJournal};
use protocol::{CommandId, Principal, Timestamp, view::Mark};
use std::{sync::Arc, time::Duration};
use tokio::sync::mpsc;

/// One node's actors. Cloning shares it.
#[derive(Debug, Clone)]
pub struct System {}

/// What an entity answered: the version its journal then had, or why not.
pub type Answer = Result<Version, Refusal>;

/// A command on its way.
#[derive(Debug, Clone)]
pub struct Ask<C> {
    pub command: C,
    pub by: Principal,
    pub id: CommandId,
}

/// An entity being followed. When `updates` ends, the follower fell behind or the entity fell: watch again.
#[derive(Debug)]
pub struct Watching<D: Decider> {
    pub version: Version,
    pub state: Arc<D>,
    pub updates: mpsc::Receiver<Update<D>>,
}

/// What a follower is told.
#[derive(Debug, Clone)]
pub enum Update<D: Decider> {
    /// Events were committed and led to this state.
    Changed { version: Version, state: Arc<D>, events: Arc<[D::Event]> },
    /// Something was seen (a position) that is not written down.
    Seen { sighting: D::Sighting },
}

/// What the board is told of every entity, best effort.
#[derive(Debug, Clone)]
pub struct Published {
    pub entity: EntityKey,
    pub at: Timestamp,
    pub mark: Option<Mark>,
    /// Names of the events committed since the last one; empty for a mere position.
    pub events: Vec<&'static str>,
}

/// A decider the system hosts.
pub trait Hosted: Decider {}
impl Hosted for crate::order::Order {}
impl Hosted for crate::rescue::Rescue {}
impl Hosted for crate::driver::Driver {}
impl Hosted for crate::rider::Rider {}

#[derive(Debug, Clone, Copy, serde::Serialize, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    pub entity_inflight_max: u32,
    pub shard_inflight_max: u32,
    pub node_inflight_max: u32,
    pub snapshot_every: u32,
    pub falls_max: u32,
    pub falls_window_ms: u64,
    pub watch_queue_max: usize,
}
impl Default for Settings {
    fn default() -> Self {
        unimplemented!()
    }
}
#[derive(Debug, Clone)]
pub enum Clock {
    System,
}
impl Clock {
    pub fn now(&self) -> Timestamp {
        unimplemented!()
    }
}

impl System {
    /// Asks and waits for the answer; repeats itself (same command id) while the entity falls, up to `patience`.
    pub async fn ask<D: Hosted>(
        &self,
        to: D::Id,
        ask: Ask<D::Command>,
        patience: Duration,
    ) -> Answer {
        unimplemented!()
    }
    /// The same for a command whose receiver is only known at run time.
    pub async fn tell(
        &self,
        tell: Tell,
        by: Principal,
        id: CommandId,
        patience: Duration,
    ) -> Answer {
        unimplemented!()
    }
    /// Lets an entity see something. Never waits; the latest counts.
    pub fn see(&self, sight: Sight) {
        unimplemented!()
    }
    /// Follows an entity: its state now, then each change. At most 256 updates wait for a slow follower.
    pub async fn watch<D: Hosted>(&self, id: D::Id) -> Result<Watching<D>, Refusal> {
        unimplemented!()
    }
    /// An entity's state now. One that was never created is `D::default()` at version 0.
    pub async fn read<D: Hosted>(&self, id: D::Id) -> Result<(Version, Arc<D>), Refusal> {
        unimplemented!()
    }
    /// All marks there are, and everything published from now on (bounded; closed when too slow).
    pub fn board(&self) -> mpsc::Receiver<Published> {
        unimplemented!()
    }
    pub fn journal(&self) -> &SharedJournal {
        unimplemented!()
    }
    /// The node's clock.
    pub fn now(&self) -> Timestamp {
        unimplemented!()
    }
    /// Refuses new commands, finishes those under way, snapshots what is awake.
    pub async fn drain(&self, patience: Duration) -> bool {
        unimplemented!()
    }
    pub async fn start(
        journal: SharedJournal,
        clock: Clock,
        settings: Settings,
        regions: crate::region::Settings,
    ) -> Result<Self, crate::journal::JournalError> {
        unimplemented!()
    }
}
