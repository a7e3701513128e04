//! Who follows which entity. Kept by the shard, so that a watched entity may sleep or fall.

use super::{System, remote};
use crate::{Decider, Version, cluster::Incarnation};
use foldhash::HashMap;
use futures_channel::mpsc;
use futures_util::StreamExt;
use std::{
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    task::{Context, Poll},
};

/// An entity being followed. When `updates` ends, the follower was too slow: watch again.
#[derive(Debug)]
pub struct Watching<D: Decider> {
    /// How many events made the state so.
    pub version: Version,
    /// The state when following began.
    pub state: Arc<D>,
    /// What came after.
    pub updates: Updates<D>,
}

/// What becomes of an entity, in order.
#[derive(Debug)]
pub struct Updates<D: Decider>(mpsc::Receiver<Update<D>>);

impl<D: Decider> Updates<D> {
    /// A way to a follower for whom at most so many may wait.
    pub(super) fn channel(max: usize) -> (Sender<D>, Self) {
        let (to, updates) = mpsc::channel(max);
        (to, Self(updates))
    }

    /// The next one; none, if no more will come.
    pub async fn recv(&mut self) -> Option<Update<D>> {
        self.0.next().await
    }

    /// The same, for whoever polls.
    pub fn poll_recv(&mut self, cx: &mut Context<'_>) -> Poll<Option<Update<D>>> {
        self.0.poll_next_unpin(cx)
    }
}

/// What a follower is told.
#[derive(Debug)]
pub enum Update<D: Decider> {
    /// Events were committed and led to this state. `events` is empty when the entity was read back
    /// from the journal: some may have been missed, the state has not.
    Changed {
        /** How many events made it so. */
        version: Version,
        /** What it is now. */
        state: Arc<D>,
        /** What happened. */
        events: Arc<[D::Event]>,
    },
    /// Something was seen that is not written down.
    Seen(D::Sighting),
}

impl<D: Decider> Clone for Update<D> {
    fn clone(&self) -> Self {
        match self {
            Self::Changed { version, state, events } => {
                Self::Changed { version: *version, state: state.clone(), events: events.clone() }
            }
            Self::Seen(sighting) => Self::Seen(sighting.clone()),
        }
    }
}

/// The way to a follower on this node. It takes no room while nothing is on it.
pub(super) type Sender<D> = mpsc::Sender<Update<D>>;

/// Where a follower's updates go.
#[derive(Debug)]
pub(super) enum Follower<D: Decider> {
    /// To somebody on this node.
    Here { to: Sender<D>, wants: Wants },
    /// To another node, under the number it gave.
    There { to: Incarnation, stream: u64, wants: Wants },
}

/// What a follower is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wants {
    /// Changes, and what is seen.
    Everything,
    /// Changes only: most of what happens to a driver is that it is seen, and its own session knows that.
    Changes,
}

impl<D: Decider> Follower<D> {
    /// Does it want to know what is seen, too?
    fn is_curious(&self) -> bool {
        let (Self::Here { wants, .. } | Self::There { wants, .. }) = self;
        *wants == Wants::Everything
    }

    /// Has it a use for this?
    fn wants(&self, update: &Update<D>) -> bool {
        self.is_curious() || !matches!(update, Update::Seen(_))
    }

    /// Tells it; does it want to hear more? Whoever is full does not, unless it is of a sighting, which the
    /// next one supersedes.
    fn tell(&mut self, system: &System, update: &Update<D>) -> bool {
        match self {
            Self::Here { to, .. } => match to.try_send(update.clone()) {
                Ok(()) => true,
                Err(error) => error.is_full() && matches!(update, Update::Seen(_)),
            },
            Self::There { to, stream, .. } => {
                system.forward(*to, *stream, || remote::update_bytes(update))
            }
        }
    }

    fn is_gone(&self, system: &System) -> bool {
        match self {
            Self::Here { to, .. } => to.is_closed(),
            Self::There { to, stream, .. } => !system.is_forwarded(*to, *stream),
        }
    }

    fn is(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::There { to, stream, .. }, Self::There { to: them, stream: theirs, .. }) => {
                to == them && stream == theirs
            }
            (Self::Here { .. }, _) | (_, Self::Here { .. }) => false,
        }
    }
}

/// The followers of one shard's entities.
#[derive(Debug)]
pub(super) struct Watchers<D: Decider> {
    by_id: Mutex<HashMap<D::Id, Vec<Follower<D>>>>,
    /// How many want to know what is seen, too. Of most shards nobody does, and then nobody has to be looked for.
    n_curious: AtomicUsize,
}

impl<D: Decider> Default for Watchers<D> {
    fn default() -> Self {
        Self { by_id: Mutex::default(), n_curious: AtomicUsize::new(0) }
    }
}

impl<D: Decider> Watchers<D> {
    pub(super) fn add(&self, id: D::Id, follower: Follower<D>) {
        let mut by_id = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        let followers = by_id.entry(id).or_default();
        // Whoever asks once more, because an entity fell before it answered, is told everything once.
        if !followers.iter().any(|it| it.is(&follower)) {
            // Most are followed by one.
            followers.reserve_exact(1);
            self.n_curious.fetch_add(usize::from(follower.is_curious()), Ordering::AcqRel);
            followers.push(follower);
        }
    }

    /// Builds the update only if somebody follows. Whoever is gone is forgotten; whoever is full is
    /// cut off, unless the update is a sighting, which the next one supersedes.
    pub(super) fn tell(&self, system: &System, id: D::Id, make: impl FnOnce() -> Update<D>) {
        let mut by_id = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(followers) = by_id.get_mut(&id) else { return };
        let update = make();
        followers.retain_mut(|follower| {
            let stays = !follower.wants(&update) || follower.tell(system, &update);
            self.count_out(follower, stays);
            stays
        });
        if followers.is_empty() {
            by_id.remove(&id);
        }
    }

    /// The same of what is only seen.
    pub(super) fn tell_seen(&self, system: &System, id: D::Id, make: impl FnOnce() -> D::Sighting) {
        if self.n_curious.load(Ordering::Acquire) > 0 {
            self.tell(system, id, || Update::Seen(make()));
        }
    }

    /// One that does not stay is not counted any more.
    fn count_out(&self, follower: &Follower<D>, stays: bool) {
        if !stays && follower.is_curious() {
            self.n_curious.fetch_sub(1, Ordering::AcqRel);
        }
    }

    /// Lets all followers know that nothing more comes from here.
    pub(super) fn clear(&self, system: &System) {
        let mut by_id = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        let all = std::mem::take(&mut *by_id);
        self.n_curious.store(0, Ordering::Release);
        drop(by_id);
        for follower in all.into_values().flatten() {
            if let Follower::There { to, stream, .. } = follower {
                system.end_forwarding(to, stream);
            }
        }
    }

    /// Forgets followers that are gone.
    pub(super) fn sweep(&self, system: &System) {
        let mut by_id = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        by_id.retain(|_, followers| {
            followers.retain(|follower| {
                let stays = !follower.is_gone(system);
                self.count_out(follower, stays);
                stays
            });
            !followers.is_empty()
        });
    }
}
