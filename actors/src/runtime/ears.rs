//! Those who are awake, for whoever only shows them something.
//!
//! ```text
//!  commands, reads ──▶ shard ──▶ mailbox ──▶ entity
//!  sightings ─┬─────────────────────▲          ▲
//!             └── if nothing waits: at once ───┘     a position costs no hop, and wakes no task
//! ```
//!
//! A shard decides nothing about a sighting, so it need not see it; nor need an actor be woken for what takes a moment:
//! whoever shows it does that, while its actor has nothing to do ([`Home`]). Only the shard puts somebody in or takes
//! somebody out, and it takes out before it lets somebody sleep: whoever shows something holds the lock until that is
//! counted, and in the mailbox or in its own hands, so nothing is shown to somebody who is already asleep. And while
//! anything is on its way to the shard or waits in the mailbox, sightings go that way, too: what one sender says is heard
//! in the order in which it was said.

use super::{
    admission::Permit,
    entity::{Message, Sighted},
    home::{Home, NotAtHome, Visit},
};
use crate::Decider;
use foldhash::{HashMap, HashMapExt as _};
use ractor::{ActorRef, ActorStatus};
use std::sync::{
    Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard, Weak,
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
    /// Its actor's: who is at home there knows the system that these ears are part of.
    home: Weak<Home<D>>,
}

impl<D: Decider> Default for Ears<D> {
    fn default() -> Self {
        Self { awake: RwLock::new(HashMap::new()), n_queued: AtomicUsize::new(0) }
    }
}

impl<D: Decider> Ears<D> {
    /// Shows somebody who is awake something, or drops it if `waiting_max` messages wait there. If none does, the caller lets
    /// it take that in, once it holds no lock. `admit`: what has to wait is dropped, too, if there is no room for it. Gives it
    /// back if nobody of that name is awake, or if something is on its way to the shard: what was said before it must be heard
    /// before it.
    pub(super) fn show(
        &self,
        to: D::Id,
        sighted: Sighted<D>,
        waiting_max: u32,
        admit: impl FnOnce() -> Option<Permit>,
    ) -> Result<Option<Visit<D>>, Sighted<D>> {
        if self.n_queued.load(Ordering::Acquire) > 0 {
            return Err(sighted);
        }
        let awake = self.awake();
        let Some(Ear { actor, home }) = awake.get(&to) else { return Err(sighted) };
        let Some(home) = home.upgrade() else { return Err(sighted) };
        let NotAtHome { home, sighted } = match Visit::to(home, sighted) {
            Ok(visit) => return Ok(Some(visit)),
            Err(not_at_home) => not_at_home,
        };
        if actor.get_status() >= ActorStatus::Stopping {
            return Err(sighted);
        }
        if home.n_waiting.load(Ordering::Acquire) >= waiting_max {
            metrics::counter!("outrider_busy_total", "bound" => "entity").increment(1);
            return Ok(None);
        }
        let Some(permit) = admit() else { return Ok(None) };
        let sighted = Sighted { permit: Some(permit), ..sighted };
        home.sent();
        home.live.notify_one();
        // It may fall before it sees this; the next sighting supersedes it.
        actor.send_message(Box::new(Message::See(sighted))).ok();
        Ok(None)
    }

    /// Something is sent to the shard that it will pass on.
    pub(super) fn queued(&self) {
        self.n_queued.fetch_add(1, Ordering::AcqRel);
    }

    /// The shard has passed it on.
    pub(super) fn passed_on(&self) {
        self.n_queued.fetch_sub(1, Ordering::AcqRel);
    }

    pub(super) fn add(&self, id: D::Id, actor: ActorRef<Box<Message<D>>>, home: &Arc<Home<D>>) {
        self.change().insert(id, Ear { actor, home: Arc::downgrade(home) });
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
