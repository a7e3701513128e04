//! A journal that lives as long as the process: for tests, and for trying things out.

use super::{
    CommitError, EffectKey, Journal, JournalError, OutboxPosition, OutboxRow, RECENT_RESULTS,
    Recorded, Stored, ViewQuery,
    rules::{self, Known},
};
use crate::{
    Claim, Commit, EntityKey, Version, ViewRow,
    commit::{CommandResult, EncodedEvent},
};
use futures_util::future::{BoxFuture, FutureExt};
use protocol::{CommandId, Currency, Timestamp};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
};

/// Maps in memory. Cloning shares them.
#[derive(Debug, Clone, Default)]
pub struct MemoryJournal {
    kept: Arc<Mutex<Kept>>,
    is_closed: Arc<AtomicBool>,
}

#[derive(Debug, Default)]
struct Kept {
    entities: HashMap<EntityKey, Entity>,
    deadlines: BTreeSet<(Timestamp, EntityKey)>,
    claims: HashMap<Claim, EntityKey>,
    views: HashMap<EntityKey, ViewRow>,
    outbox: BTreeMap<OutboxPosition, OutboxRow>,
    positions: HashMap<EffectKey, OutboxPosition>,
    n_effects: u64,
    posted: HashSet<String>,
    balances: HashMap<(String, Currency), i64>,
}

#[derive(Debug, Default)]
struct Entity {
    events: Vec<Recorded>,
    snapshot: Option<(Version, Vec<u8>)>,
    results: Vec<(Timestamp, CommandResult)>,
    deadline: Option<Timestamp>,
}

impl MemoryJournal {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("nothing panics while it holds the maps")
    }

    /// Answers `read` of what is kept, unless the journal is closed.
    fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut Kept) -> T + Send + 'static,
    ) -> BoxFuture<'_, Result<T, JournalError>> {
        async move {
            if self.is_closed.load(Ordering::Acquire) {
                return Err(JournalError::Unavailable("closed".into()));
            }
            Ok(read(&mut self.kept()))
        }
        .boxed()
    }
}

impl Journal for MemoryJournal {
    fn load(&self, entity: EntityKey) -> BoxFuture<'_, Result<Stored, JournalError>> {
        self.read(move |kept| kept.entities.get(&entity).map(Entity::stored).unwrap_or_default())
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<(), CommitError>> {
        async move {
            if self.is_closed.load(Ordering::Acquire) {
                return Err(CommitError::Unavailable("closed".into()));
            }
            let mut kept = self.kept();
            rules::admit(&commit, &*kept)?;
            kept.write(commit);
            Ok(())
        }
        .boxed()
    }

    fn result(
        &self,
        entity: EntityKey,
        command: CommandId,
    ) -> BoxFuture<'_, Result<Option<Vec<u8>>, JournalError>> {
        self.read(move |kept| {
            let (_, result) = kept
                .entities
                .get(&entity)?
                .results
                .iter()
                .find(|(_, result)| result.command == command)?;
            Some(result.bytes.clone())
        })
    }

    fn undelivered(
        &self,
        after: Option<OutboxPosition>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<OutboxRow>, JournalError>> {
        let first = OutboxPosition(after.map_or(0, |position| position.0 + 1));
        self.read(move |kept| {
            kept.outbox.range(first..).take(limit).map(|(_, row)| row.clone()).collect()
        })
    }

    fn delivered(&self, effects: Vec<EffectKey>) -> BoxFuture<'_, Result<(), JournalError>> {
        self.read(move |kept| {
            for key in effects {
                if let Some(position) = kept.positions.remove(&key) {
                    kept.outbox.remove(&position);
                }
            }
        })
    }

    fn deadlines(
        &self,
        until: Timestamp,
        after: Option<(Timestamp, EntityKey)>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Timestamp, EntityKey)>, JournalError>> {
        self.read(move |kept| {
            kept.deadlines
                .iter()
                .filter(|row| after.is_none_or(|after| **row > after))
                .take_while(|(at, _)| *at < until)
                .take(limit)
                .copied()
                .collect()
        })
    }

    fn holder(&self, claim: Claim) -> BoxFuture<'_, Result<Option<EntityKey>, JournalError>> {
        self.read(move |kept| kept.claims.get(&claim).copied())
    }

    fn history(
        &self,
        entity: EntityKey,
        after: Version,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Recorded>, JournalError>> {
        self.read(move |kept| {
            let events = kept.entities.get(&entity).map_or(&[][..], |entity| &entity.events);
            events.iter().filter(|event| event.version > after).take(limit).cloned().collect()
        })
    }

    fn views(
        &self,
        query: ViewQuery,
    ) -> BoxFuture<'_, Result<Vec<(EntityKey, ViewRow)>, JournalError>> {
        self.read(move |kept| {
            let mut rows: Vec<_> = kept
                .views
                .iter()
                .filter(|(entity, row)| query.matches(**entity, row))
                .map(|(entity, row)| (*entity, row.clone()))
                .collect();
            rows.sort_by_key(|(entity, row)| Reverse((row.at, entity.id)));
            rows.truncate(query.limit);
            rows
        })
    }

    fn balance(
        &self,
        account: String,
        currency: Currency,
    ) -> BoxFuture<'_, Result<i64, JournalError>> {
        self.read(move |kept| kept.balances.get(&(account, currency)).copied().unwrap_or_default())
    }

    fn forget_results(&self, before: Timestamp) -> BoxFuture<'_, Result<u64, JournalError>> {
        self.read(move |kept| {
            let mut n_forgotten = 0;
            for entity in kept.entities.values_mut() {
                let n_before = entity.results.len();
                entity.results.retain(|(at, _)| *at >= before);
                n_forgotten += (n_before - entity.results.len()) as u64;
            }
            n_forgotten
        })
    }

    fn close(&self) -> BoxFuture<'_, Result<(), JournalError>> {
        async move {
            self.is_closed.store(true, Ordering::Release);
            Ok(())
        }
        .boxed()
    }
}

impl Known for Kept {
    fn version(&self, entity: EntityKey) -> Version {
        Version(self.entities.get(&entity).map_or(0, |entity| entity.events.len() as u64))
    }

    fn holder(&self, claim: &Claim) -> Option<EntityKey> {
        self.claims.get(claim).copied()
    }

    fn is_posted(&self, key: &str) -> bool {
        self.posted.contains(key)
    }
}

impl Kept {
    /// Writes a commit that was admitted.
    fn write(&mut self, commit: Commit) {
        let (key, at, version) = (commit.entity, commit.at, commit.version());
        let entity = self.entities.entry(key).or_default();
        for (event, version) in commit.events.into_iter().zip(commit.expected.0 + 1..) {
            entity.events.push(Recorded { version: Version(version), at, event });
        }
        if let Some(state) = commit.snapshot {
            entity.snapshot = Some((version, state));
        }
        if let Some(result) = commit.result
            && entity.results.iter().all(|(_, kept)| kept.command != result.command)
        {
            entity.results.push((at, result));
        }
        if let Some(deadline) = commit.deadline {
            if let Some(old) = entity.deadline {
                self.deadlines.remove(&(old, key));
            }
            self.deadlines.extend(deadline.map(|at| (at, key)));
            entity.deadline = deadline;
        }
        for (bytes, index) in commit.effects.into_iter().zip(0..) {
            let effect = EffectKey { source: key, version, index };
            self.n_effects += 1;
            let position = OutboxPosition(self.n_effects);
            self.positions.insert(effect, position);
            self.outbox.insert(position, OutboxRow { position, key: effect, at, bytes });
        }
        for claim in commit.claims_released {
            if self.claims.get(&claim) == Some(&key) {
                self.claims.remove(&claim);
            }
        }
        self.claims.extend(commit.claims_taken.into_iter().map(|claim| (claim, key)));
        for posting in commit.postings {
            *self.balances.entry((posting.account, posting.currency)).or_default() +=
                posting.amount;
            self.posted.insert(posting.key);
        }
        self.views.extend(commit.view.map(|row| (key, row)));
    }
}

impl Entity {
    fn stored(&self) -> Stored {
        let n_seen = self.snapshot.as_ref().map_or(0, |(version, _)| version.0 as usize);
        let (older, recent) =
            self.results.split_at(self.results.len().saturating_sub(RECENT_RESULTS));
        let tail: Vec<EncodedEvent> =
            self.events[n_seen..].iter().map(|recorded| recorded.event.clone()).collect();
        Stored {
            snapshot: self.snapshot.clone(),
            tail,
            results: recent.iter().map(|(_, result)| result.clone()).collect(),
            older_results_max: older.iter().map(|(_, result)| result.command).max(),
        }
    }
}

impl ViewQuery {
    fn matches(&self, entity: EntityKey, row: &ViewRow) -> bool {
        entity.kind == self.kind
            && (self.statuses.is_empty() || self.statuses.contains(&row.status))
            && self.rider.is_none_or(|rider| row.rider == Some(rider))
            && self.driver.is_none_or(|driver| row.driver == Some(driver))
            && self.before.is_none_or(|before| (row.at, entity.id) < before)
    }
}
