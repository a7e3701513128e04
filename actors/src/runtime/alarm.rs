//! One timer for all deadlines of a node: an entity that sleeps needs no task to be woken.

use super::{Clock, System};
use crate::EntityKey;
use protocol::Timestamp;
use std::{
    collections::{BTreeSet, HashMap},
    sync::{Mutex, MutexGuard, PoisonError},
};
use tokio::sync::Notify;

/// When each entity next acts by itself.
#[derive(Debug)]
pub(super) struct Alarm {
    clock: Clock,
    armed: Mutex<Armed>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Armed {
    by_entity: HashMap<EntityKey, Timestamp>,
    by_due: BTreeSet<(Timestamp, EntityKey)>,
}

impl Alarm {
    pub(super) fn new(clock: Clock) -> Self {
        Self { clock, armed: Mutex::default(), changed: Notify::new() }
    }

    /// Arms, moves or disarms an entity's only alarm.
    pub(super) fn set(&self, entity: EntityKey, due: Option<Timestamp>) {
        let is_next = {
            let mut armed = self.lock();
            if let Some(old) = armed.by_entity.remove(&entity) {
                armed.by_due.remove(&(old, entity));
            }
            if let Some(due) = due {
                armed.by_entity.insert(entity, due);
                armed.by_due.insert((due, entity));
            }
            due.is_some() && armed.by_due.first().is_some_and(|(_, first)| *first == entity)
        };
        if is_next {
            self.changed.notify_one();
        }
    }

    /// Arms an entity's alarm, unless it rings sooner anyway.
    pub(super) fn set_by_then(&self, entity: EntityKey, due: Timestamp) {
        let rings_sooner = self.lock().by_entity.get(&entity).is_some_and(|old| *old <= due);
        if !rings_sooner {
            self.set(entity, Some(due));
        }
    }

    pub(super) fn len(&self) -> usize {
        self.lock().by_entity.len()
    }

    /// Takes out the first alarm if it is due, or says when it will be.
    fn pop(&self, now: Timestamp) -> Result<EntityKey, Option<Timestamp>> {
        let mut armed = self.lock();
        match armed.by_due.first().copied() {
            Some((due, entity)) if due <= now => {
                armed.by_due.pop_first();
                armed.by_entity.remove(&entity);
                Ok(entity)
            }
            Some((due, _)) => Err(Some(due)),
            None => Err(None),
        }
    }

    /// Never held across an await or a panic, so poison means nothing here.
    fn lock(&self) -> MutexGuard<'_, Armed> {
        self.armed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Tells entities that their deadline has come, for ever.
pub(super) async fn run(system: System) {
    let alarm = &system.0.alarm;
    loop {
        match alarm.pop(alarm.clock.now()) {
            Ok(entity) => system.tick(entity),
            Err(Some(due)) => {
                tokio::select! {
                    // Both lead to the same, so neither can starve the other.
                    biased;
                    () = alarm.clock.reaches(due) => {}
                    () = alarm.changed.notified() => {}
                }
            }
            Err(None) => alarm.changed.notified().await,
        }
    }
}
