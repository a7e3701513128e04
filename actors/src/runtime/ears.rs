//! The mailboxes of those who are awake, for whoever only shows them something.
//!
//! ```text
//!  commands, reads ──▶ shard ──▶ entity
//!  sightings ───────────────────────▲        a position costs one hop less, and wakes one task less
//! ```
//!
//! A shard decides nothing about a sighting, so it need not see it. Only the shard puts somebody in or takes
//! somebody out, and it takes out before it lets somebody sleep: whoever shows something holds the lock until it
//! is in the mailbox and counted, so nothing is shown to somebody who is already asleep.

use super::entity::{Message, Waiting};
use crate::Decider;
use foldhash::{HashMap, HashMapExt as _};
use protocol::{SHARDS, ShardId};
use ractor::{ActorRef, ActorStatus};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, atomic::Ordering};

/// Who of one kind is awake, by shard.
#[derive(Debug)]
pub(super) struct Ears<D: Decider>(Box<[RwLock<ByName<D>>]>);

type ByName<D> = HashMap<<D as Decider>::Id, Ear<D>>;

#[derive(Debug)]
struct Ear<D: Decider> {
    actor: ActorRef<Box<Message<D>>>,
    waiting: Arc<Waiting>,
}

impl<D: Decider> Default for Ears<D> {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| RwLock::new(HashMap::new())).collect())
    }
}

impl<D: Decider> Ears<D> {
    /// Shows somebody who is awake something, or drops it if `waiting_max` messages wait there; gives it back if
    /// nobody of that name is awake.
    pub(super) fn show(
        &self,
        shard: ShardId,
        to: D::Id,
        message: Message<D>,
        waiting_max: u32,
    ) -> Result<(), Message<D>> {
        let ears = self.of(shard);
        let Some(ear) = ears.get(&to).filter(|it| it.actor.get_status() < ActorStatus::Stopping)
        else {
            return Err(message);
        };
        if ear.waiting.n.load(Ordering::Acquire) >= waiting_max {
            metrics::counter!("outrider_busy_total", "bound" => "entity").increment(1);
            return Ok(());
        }
        ear.waiting.n.fetch_add(1, Ordering::AcqRel);
        ear.waiting.n_shown.fetch_add(1, Ordering::AcqRel);
        ear.waiting.live.notify_one();
        // It may fall before it sees this; the next sighting supersedes it.
        ear.actor.send_message(Box::new(message)).ok();
        Ok(())
    }

    pub(super) fn add(
        &self,
        shard: ShardId,
        id: D::Id,
        actor: ActorRef<Box<Message<D>>>,
        waiting: Arc<Waiting>,
    ) {
        self.change(shard).insert(id, Ear { actor, waiting });
    }

    /// Once this returns, nobody is on the way to showing it something past its shard.
    pub(super) fn remove(&self, shard: ShardId, id: &D::Id) {
        self.change(shard).remove(id);
    }

    /// The same of everyone.
    pub(super) fn clear(&self, shard: ShardId) {
        *self.change(shard) = HashMap::new();
    }

    fn of(&self, shard: ShardId) -> RwLockReadGuard<'_, ByName<D>> {
        self.0[usize::from(shard.0)].read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self, shard: ShardId) -> RwLockWriteGuard<'_, ByName<D>> {
        self.0[usize::from(shard.0)].write().unwrap_or_else(PoisonError::into_inner)
    }
}
