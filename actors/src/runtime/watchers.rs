//! Who follows which entity. Kept by the shard, so that a watched entity may sleep or fall.

use crate::{Decider, Version};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError},
};
use tokio::sync::mpsc;

/// An entity being followed. When `updates` ends, the follower was too slow: watch again.
#[derive(Debug)]
pub struct Watching<D: Decider> {
    /// How many events made the state so.
    pub version: Version,
    /// The state when following began.
    pub state: Arc<D>,
    /// What came after.
    pub updates: mpsc::Receiver<Update<D>>,
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

/// Somebody who follows an entity.
#[derive(Debug)]
pub(super) struct Follower<D: Decider> {
    /// Where its updates go.
    pub(super) updates: mpsc::Sender<Update<D>>,
    pub(super) wants: Wants,
}

/// What a follower is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wants {
    /// Changes, and what is seen.
    Everything,
    /// Changes only: most of what happens to a driver is that it is seen, and its own session knows that.
    Changes,
}

/// The followers of one shard's entities.
#[derive(Debug)]
pub(super) struct Watchers<D: Decider> {
    by_id: Mutex<HashMap<D::Id, Vec<Follower<D>>>>,
}

impl<D: Decider> Default for Watchers<D> {
    fn default() -> Self {
        Self { by_id: Mutex::default() }
    }
}

impl<D: Decider> Watchers<D> {
    pub(super) fn add(&self, id: D::Id, follower: Follower<D>) {
        let mut by_id = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        by_id.entry(id).or_default().push(follower);
    }

    /// Builds the update only if somebody follows. Whoever is gone is forgotten; whoever is full is
    /// cut off, unless the update is a sighting, which the next one supersedes.
    pub(super) fn tell(&self, id: D::Id, make: impl FnOnce() -> Update<D>) {
        let mut by_id = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        let Some(followers) = by_id.get_mut(&id) else { return };
        let update = make();
        let is_sighting = matches!(update, Update::Seen(_));
        followers.retain(|Follower { updates, wants }| {
            if is_sighting && *wants == Wants::Changes {
                return true;
            }
            match updates.try_send(update.clone()) {
                Ok(()) => true,
                Err(mpsc::error::TrySendError::Full(_)) => is_sighting,
                Err(mpsc::error::TrySendError::Closed(_)) => false,
            }
        });
        if followers.is_empty() {
            by_id.remove(&id);
        }
    }

    /// Lets all followers know that nothing more comes from here.
    pub(super) fn clear(&self) {
        self.by_id.lock().unwrap_or_else(PoisonError::into_inner).clear();
    }

    /// Forgets followers that are gone.
    pub(super) fn sweep(&self) {
        let mut by_id = self.by_id.lock().unwrap_or_else(PoisonError::into_inner);
        by_id.retain(|_, followers| {
            followers.retain(|follower| !follower.updates.is_closed());
            !followers.is_empty()
        });
    }
}
