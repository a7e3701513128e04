//! The mailboxes of those who are awake, for whoever only shows them something.
//!
//! ```text
//!  commands, reads ──▶ shard ──▶ entity
//!  sightings ───────────────────────▲        a position costs one hop less, and wakes one task less
//! ```
//!
//! A shard decides nothing about a sighting, so it need not see it. Only the shard puts somebody in or takes
//! somebody out, and it takes out before it lets somebody sleep: whoever shows something holds the lock until it
//! is in the mailbox and counted, so nothing is shown to somebody who is already asleep. And while anything is on its
//! way to the shard, sightings go that way, too: what one sender says is heard in the order in which it was said.

use super::entity::{Message, Waiting};
use crate::Decider;
use foldhash::{HashMap, HashMapExt as _};
use ractor::{ActorRef, ActorStatus};
use std::sync::{
    Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard,
    atomic::{AtomicUsize, Ordering},
};

/// Who of a shard is awake. A shard that starts anew has others: whoever was awake in the one before is nobody.
#[derive(Debug)]
pub(super) struct Ears<D: Decider> {
    awake: RwLock<ByName<D>>,
    /// How much is on its way to the shard that it will pass on.
    n_queued: AtomicUsize,
}

type ByName<D> = HashMap<<D as Decider>::Id, Ear<D>>;

#[derive(Debug)]
struct Ear<D: Decider> {
    actor: ActorRef<Box<Message<D>>>,
    waiting: Arc<Waiting>,
}

impl<D: Decider> Default for Ears<D> {
    fn default() -> Self {
        Self { awake: RwLock::new(HashMap::new()), n_queued: AtomicUsize::new(0) }
    }
}

impl<D: Decider> Ears<D> {
    /// Shows somebody who is awake something, or drops it if `waiting_max` messages wait there; gives it back if
    /// nobody of that name is awake, or if something is on its way to the shard: what was said before it must be
    /// heard before it.
    pub(super) fn show(
        &self,
        to: D::Id,
        message: Message<D>,
        waiting_max: u32,
    ) -> Result<(), Message<D>> {
        if self.n_queued.load(Ordering::Acquire) > 0 {
            return Err(message);
        }
        let awake = self.awake();
        let Some(ear) = awake.get(&to).filter(|it| it.actor.get_status() < ActorStatus::Stopping)
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

    /// Something is sent to the shard that it will pass on.
    pub(super) fn queued(&self) {
        self.n_queued.fetch_add(1, Ordering::AcqRel);
    }

    /// The shard has passed it on.
    pub(super) fn passed_on(&self) {
        self.n_queued.fetch_sub(1, Ordering::AcqRel);
    }

    pub(super) fn add(&self, id: D::Id, actor: ActorRef<Box<Message<D>>>, waiting: Arc<Waiting>) {
        self.change().insert(id, Ear { actor, waiting });
    }

    /// Once this returns, nobody is on the way to showing it something past its shard.
    pub(super) fn remove(&self, id: &D::Id) {
        self.change().remove(id);
    }

    /// The same of everyone.
    pub(super) fn clear(&self) {
        *self.change() = HashMap::new();
    }

    fn awake(&self) -> RwLockReadGuard<'_, ByName<D>> {
        self.awake.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn change(&self) -> RwLockWriteGuard<'_, ByName<D>> {
        self.awake.write().unwrap_or_else(PoisonError::into_inner)
    }
}
