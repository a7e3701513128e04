//! A journal that lives as long as the process: for tests, and for trying things out.

pub mod arbiter;

use super::{
    CommitError, EffectKey, FeedCursor, FeedEvent, Forgotten, Journal, JournalError,
    OutboxPosition, OutboxRow, Part, RECENT_RESULTS, Record, Recorded, RestoreError, Shelf, Sort,
    Stored, ViewQuery,
    feed::share,
    record,
    rules::{self, Known},
};
use crate::{
    Claim, Commit, EntityKey, Posting, Version, ViewRow,
    cluster::Incarnation,
    commit::{CommandResult, EncodedEvent},
};
use arbiter::{Access, Cluster};
use futures_util::future::{BoxFuture, FutureExt};
use protocol::{CommandId, Currency, ShardId, ShardSet, Timestamp};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    sync::{
        Arc, Mutex, MutexGuard,
        atomic::{AtomicBool, Ordering},
    },
};
use tokio::sync::watch;

/// Who owns every shard.
const OWNER: &str = "memory";

/// Maps in memory. Cloning shares them.
#[derive(Debug, Clone, Default)]
pub struct MemoryJournal {
    kept: Arc<Mutex<Kept>>,
    is_closed: Arc<AtomicBool>,
    n_commits: watch::Sender<u64>,
    /// What it may do, if it shares the maps with other nodes; alone it may do everything.
    access: Option<Arc<Access>>,
}

#[derive(Debug, Default)]
struct Kept {
    entities: BTreeMap<EntityKey, Entity>,
    shards: BTreeMap<ShardId, Shard>,
    deadlines: BTreeSet<(Timestamp, EntityKey)>,
    results: BTreeMap<u64, (EntityKey, Timestamp, CommandResult)>,
    /// Where the answer to a command stands.
    answered: HashMap<(EntityKey, CommandId), u64>,
    n_results: u64,
    claims: BTreeMap<Claim, EntityKey>,
    views: BTreeMap<EntityKey, ViewRow>,
    outbox: BTreeMap<OutboxPosition, OutboxRow>,
    positions: HashMap<EffectKey, OutboxPosition>,
    n_effects: u64,
    postings: BTreeMap<(String, u32), Line>,
    balances: HashMap<(String, Currency), i64>,
    shelves: BTreeMap<Shelf, Vec<u8>>,
    /// No commit of its own yet: more records may be restored.
    is_restoring: bool,
    /// Who shares the maps.
    cluster: Cluster,
}

#[derive(Debug, Default)]
struct Entity {
    events: Vec<Arc<FeedEvent>>,
    snapshot: Option<(Version, Vec<u8>)>,
    /// The positions of its answers, oldest first.
    results: Vec<u64>,
    deadline: Option<Timestamp>,
}

#[derive(Debug, Default)]
struct Shard {
    /// By epoch: the first number, since when, whose.
    epochs: BTreeMap<u64, (u64, Timestamp, String)>,
    /// The newest ownership.
    epoch: u64,
    /// Which member of a cluster has it.
    owner: Option<Incarnation>,
    /// Did this process begin that ownership, rather than restore it?
    is_ours: bool,
    head: u64,
    /// Number 1 first.
    log: Vec<Arc<FeedEvent>>,
}

/// A posting and the commit it was part of.
#[derive(Debug)]
struct Line {
    entity: EntityKey,
    version: Version,
    at: Timestamp,
    account: String,
    currency: Currency,
    amount: i64,
    floor: Option<i64>,
}

impl MemoryJournal {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    fn maps(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().expect("nothing panics while it holds the maps")
    }

    /// Is it open, and within reach?
    fn reach(&self) -> Result<(), String> {
        if self.is_closed.load(Ordering::Acquire) {
            return Err("closed".into());
        }
        self.access.as_ref().map_or(Ok(()), |access| access.reach())
    }

    /// Commits as a statement does that was sent under `epoch`, and arrives late: what this node
    /// believes by now does not count.
    #[cfg(any(test, feature = "testing"))]
    pub fn commit_under(&self, epoch: u64, commit: Commit) -> Result<(), CommitError> {
        self.reach().map_err(CommitError::Unavailable)?;
        let mut kept = self.maps();
        let shard = commit.entity.shard();
        let actual = kept.shards.get(&shard).map_or(0, |it| it.epoch);
        if epoch != actual && !kept.cluster.is_unfenced {
            return Err(CommitError::Fenced { shard });
        }
        rules::admit(&commit, &*kept)?;
        kept.write(commit, Some(epoch));
        Ok(())
    }

    /// The same of something that is kept on a shelf.
    #[cfg(any(test, feature = "testing"))]
    pub fn keep_under(&self, epoch: u64, shelf: Shelf, bytes: Vec<u8>) -> Result<(), CommitError> {
        self.reach().map_err(CommitError::Unavailable)?;
        let mut kept = self.maps();
        if epoch != kept.shards.get(&shelf.shard).map_or(0, |it| it.epoch) {
            return Err(CommitError::Fenced { shard: shelf.shard });
        }
        kept.shelves.insert(shelf, bytes);
        Ok(())
    }

    /// Answers `read` of what is kept, unless the journal is closed.
    fn read<T: Send + 'static>(
        &self,
        read: impl FnOnce(&mut Kept) -> T + Send + 'static,
    ) -> BoxFuture<'_, Result<T, JournalError>> {
        async move {
            self.reach().map_err(JournalError::Unavailable)?;
            Ok(read(&mut self.maps()))
        }
        .boxed()
    }
}

impl Journal for MemoryJournal {
    fn load(&self, entity: EntityKey) -> BoxFuture<'_, Result<Stored, JournalError>> {
        self.read(move |kept| kept.stored(entity))
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<(), CommitError>> {
        async move {
            self.reach().map_err(CommitError::Unavailable)?;
            let mut kept = self.maps();
            if let Some(access) = &self.access {
                let shard = commit.entity.shard();
                access.fence(shard, kept.shards.get(&shard).map_or(0, |it| it.epoch))?;
            }
            rules::admit(&commit, &*kept)?;
            let has_events = !commit.events.is_empty();
            kept.write(commit, None);
            drop(kept);
            if has_events {
                self.n_commits.send_modify(|n| *n += 1);
            }
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
            let (.., result) = kept.results.get(kept.answered.get(&(entity, command))?)?;
            Some(result.bytes.clone())
        })
    }

    fn undelivered(
        &self,
        shards: &ShardSet,
        after: Option<OutboxPosition>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<OutboxRow>, JournalError>> {
        let (shards, first) = (*shards, OutboxPosition(after.map_or(0, |it| it.0 + 1)));
        self.read(move |kept| {
            kept.outbox
                .range(first..)
                .filter(|(_, row)| shards.contains(row.key.source.shard()))
                .take(limit)
                .map(|(_, row)| row.clone())
                .collect()
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
        shards: &ShardSet,
        until: Timestamp,
        after: Option<(Timestamp, EntityKey)>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Timestamp, EntityKey)>, JournalError>> {
        let shards = *shards;
        self.read(move |kept| {
            kept.deadlines
                .iter()
                .filter(|row| after.is_none_or(|after| **row > after))
                .take_while(|(at, _)| *at < until)
                .filter(|(_, entity)| shards.contains(entity.shard()))
                .take(limit)
                .copied()
                .collect()
        })
    }

    fn keep(&self, shelf: Shelf, bytes: Vec<u8>) -> BoxFuture<'_, Result<(), CommitError>> {
        async move {
            self.reach().map_err(CommitError::Unavailable)?;
            let mut kept = self.maps();
            if let Some(access) = &self.access {
                let actual = kept.shards.get(&shelf.shard).map_or(0, |it| it.epoch);
                access.fence(shelf.shard, actual)?;
            }
            kept.shelves.insert(shelf, bytes);
            Ok(())
        }
        .boxed()
    }

    fn kept(&self, shelf: Shelf) -> BoxFuture<'_, Result<Option<Vec<u8>>, JournalError>> {
        self.read(move |kept| kept.shelves.get(&shelf).cloned())
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
            let events = events.iter().map(|event| &event.recorded);
            events.filter(|event| event.version > after).take(limit).cloned().collect()
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
            rows.sort_by_key(|(entity, row)| (row.at, entity.id));
            if query.sort == Sort::Newest {
                rows.reverse();
            }
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

    fn feed(
        &self,
        after: FeedCursor,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<FeedEvent>, JournalError>> {
        self.read(move |kept| {
            let log = |shard| kept.shards.get(&shard).map_or(&[][..], |shard| &shard.log);
            let waiting = after.turns().map(|(shard, seen)| (shard, seen, log(shard).len() as u64));
            share(waiting, limit)
                .into_iter()
                .flat_map(|(shard, first, last)| &log(shard)[first as usize - 1..last as usize])
                .map(|event| FeedEvent::clone(event))
                .collect()
        })
    }

    fn watch(&self) -> watch::Receiver<u64> {
        self.n_commits.subscribe()
    }

    fn reachable(&self) -> Option<watch::Receiver<bool>> {
        Some(self.access.as_ref()?.reachable())
    }

    fn dump(
        &self,
        part: Part,
        after: Option<Record>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Record>, JournalError>> {
        self.read(move |kept| {
            let after = after.as_ref().map(Record::key);
            kept.records(part)
                .filter(|record| after.is_none_or(|after| record.key() > after))
                .take(limit)
                .collect()
        })
    }

    fn restore(&self, records: Vec<Record>) -> BoxFuture<'_, Result<(), RestoreError>> {
        async move {
            if self.access.is_some() {
                let refused = "records are not restored into a cluster that runs".to_owned();
                return Err(JournalError::Unavailable(refused).into());
            }
            self.read(move |kept| kept.restore(records)).await?
        }
        .boxed()
    }

    fn forget_results(&self, before: Timestamp) -> BoxFuture<'_, Result<Forgotten, JournalError>> {
        self.read(move |kept| {
            let old: Vec<_> = kept
                .results
                .iter()
                .filter(|(_, (_, at, _))| *at < before)
                .map(|(position, (entity, ..))| (*position, *entity))
                .collect();
            for (position, entity) in &old {
                if let Some((key, _, result)) = kept.results.remove(position) {
                    kept.answered.remove(&(key, result.command));
                }
                if let Some(entity) = kept.entities.get_mut(entity) {
                    entity.results.retain(|kept| kept != position);
                }
            }
            Forgotten { n_rows: old.len() as u64, ..Forgotten::default() }
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
        self.postings.contains_key(&(key.to_owned(), 0))
    }

    fn balance(&self, account: &str, currency: Currency) -> i64 {
        self.balances.get(&(account.to_owned(), currency)).copied().unwrap_or_default()
    }
}

impl Kept {
    /// Writes a commit that was admitted, under the epoch it says or else the newest.
    fn write(&mut self, commit: Commit, epoch: Option<u64>) {
        self.is_restoring = false;
        let (key, at, version) = (commit.entity, commit.at, commit.version());
        let command = commit.result.as_ref().map(|result| result.command);
        let shard = self.shards.entry(key.shard()).or_default();
        let entity = self.entities.entry(key).or_default();
        for (event, version) in commit.events.into_iter().zip(commit.expected.0 + 1..) {
            let recorded = Recorded { version: Version(version), at, event };
            entity.events.push(shard.append(key, command, recorded, epoch));
        }
        if let Some(state) = commit.snapshot {
            entity.snapshot = Some((version, state));
        }
        if let Some(deadline) = commit.deadline {
            if let Some(old) = entity.deadline {
                self.deadlines.remove(&(old, key));
            }
            self.deadlines.extend(deadline.map(|at| (at, key)));
            entity.deadline = deadline;
        }
        if let Some(result) = commit.result
            && !self.answered.contains_key(&(key, result.command))
        {
            self.add_result(self.n_results + 1, key, at, result);
        }
        for (bytes, index) in commit.effects.into_iter().zip(0..) {
            let effect = EffectKey { source: key, version, index };
            let position = OutboxPosition(self.n_effects + 1);
            self.add_effect(OutboxRow { position, key: effect, at, bytes });
        }
        for claim in commit.claims_released {
            if self.claims.get(&claim) == Some(&key) {
                self.claims.remove(&claim);
            }
        }
        self.claims.extend(commit.claims_taken.into_iter().map(|claim| (claim, key)));
        let mut n_lines = HashMap::new();
        for Posting { key: fact, account, amount, currency, floor } in commit.postings {
            let n: &mut u32 = n_lines.entry(fact.clone()).or_default();
            let line = Line { entity: key, version, at, account, currency, amount, floor };
            self.add_line((fact, *n), line);
            *n += 1;
        }
        self.views.extend(commit.view.map(|row| (key, row)));
    }

    fn add_result(&mut self, position: u64, key: EntityKey, at: Timestamp, result: CommandResult) {
        self.n_results = position;
        self.entities.entry(key).or_default().results.push(position);
        self.answered.insert((key, result.command), position);
        self.results.insert(position, (key, at, result));
    }

    fn add_effect(&mut self, row: OutboxRow) {
        self.n_effects = row.position.0;
        self.positions.insert(row.key, row.position);
        self.outbox.insert(row.position, row);
    }

    fn add_line(&mut self, key: (String, u32), line: Line) {
        *self.balances.entry((line.account.clone(), line.currency)).or_default() += line.amount;
        self.postings.insert(key, line);
    }

    /// An entity's answers, oldest first.
    fn answers(&self, entity: EntityKey) -> impl DoubleEndedIterator<Item = &CommandResult> {
        let positions = self.entities.get(&entity).map_or(&[][..], |entity| &entity.results);
        positions.iter().map(|position| &self.results[position].2)
    }

    fn stored(&self, key: EntityKey) -> Stored {
        let Some(entity) = self.entities.get(&key) else { return Stored::default() };
        let n_seen = entity.snapshot.as_ref().map_or(0, |(version, _)| version.0 as usize);
        let tail = entity.events[n_seen..].iter();
        let n_older = entity.results.len().saturating_sub(RECENT_RESULTS);
        Stored {
            snapshot: entity.snapshot.clone(),
            tail: tail.map(|event| event.recorded.event.clone()).collect(),
            results: self.answers(key).skip(n_older).cloned().collect(),
            older_results_max: self.answers(key).take(n_older).map(|result| result.command).max(),
        }
    }

    /// The records of one part, in the order of their keys.
    fn records(&self, part: Part) -> Box<dyn Iterator<Item = Record> + '_> {
        // Of a shard without events there is nothing to tell.
        let shards = || {
            let shards = self.shards.iter().map(|(shard, kept)| (*shard, kept));
            shards.filter(|(_, kept)| kept.head > 0)
        };
        let entities = || self.entities.iter().map(|(entity, kept)| (*entity, kept));
        match part {
            Part::Epochs => Box::new(shards().flat_map(|(shard, kept)| {
                kept.epochs.iter().map(move |(epoch, (first_seq, at, owner))| {
                    let (epoch, first_seq, at, owner) = (*epoch, *first_seq, *at, owner.clone());
                    Record::Epoch { shard, epoch, first_seq, at, owner }
                })
            })),
            Part::Heads => Box::new(shards().map(|(shard, kept)| Record::Head {
                shard,
                epoch: kept.epoch,
                seq: kept.head,
            })),
            Part::Events => Box::new(
                shards()
                    .flat_map(|(_, kept)| kept.log.iter().map(|event| (**event).clone().into())),
            ),
            Part::Entities => Box::new(entities().map(|(entity, kept)| Record::Entity {
                entity,
                version: self.version(entity),
                deadline: kept.deadline,
            })),
            Part::Snapshots => Box::new(entities().filter_map(|(entity, kept)| {
                let (version, bytes) = kept.snapshot.clone()?;
                Some(Record::Snapshot { entity, version, bytes })
            })),
            Part::Results => {
                Box::new(self.results.iter().map(|(position, (entity, at, result))| {
                    Record::result(*position, *entity, *at, result.clone())
                }))
            }
            Part::Effects => Box::new(self.outbox.values().map(|row| row.clone().into())),
            Part::Claims => Box::new(
                self.claims
                    .iter()
                    .map(|(claim, holder)| Record::Claim { claim: claim.clone(), holder: *holder }),
            ),
            Part::Postings => {
                Box::new(self.postings.iter().map(|((key, line), kept)| Record::Posting {
                    key: key.clone(),
                    line: *line,
                    entity: kept.entity,
                    version: kept.version,
                    at: kept.at,
                    account: kept.account.clone(),
                    currency: kept.currency,
                    amount: kept.amount,
                    floor: kept.floor,
                }))
            }
            Part::Views => Box::new(
                self.views
                    .iter()
                    .map(|(entity, row)| Record::View { entity: *entity, row: row.clone() }),
            ),
        }
    }

    fn is_empty(&self) -> bool {
        Part::ALL.iter().all(|part| self.records(*part).next().is_none())
    }

    /// Nothing is written unless all of it can be.
    fn restore(&mut self, mut records: Vec<Record>) -> Result<(), RestoreError> {
        if !self.is_restoring && !self.is_empty() {
            return Err(RestoreError::NotEmpty);
        }
        record::in_range(&records)?;
        self.is_restoring = true;
        let mut next = HashMap::new();
        let mut versions = HashMap::new();
        for record in &records {
            if let Record::Event { shard, seq, entity, version, .. } = record {
                let log = self.shards.get(shard).map_or(0, |kept| kept.log.len() as u64);
                let wanted = next.entry(*shard).or_insert(log);
                let known = versions.entry(*entity).or_insert_with(|| self.version(*entity));
                (*wanted, known.0) = (*wanted + 1, known.0 + 1);
                if (*wanted, *known) != (*seq, *version) {
                    let clash = format!("{shard} has {seq} where {wanted} comes next");
                    return Err(RestoreError::Clash(clash));
                }
            }
        }
        record::line_up(&mut records, self.n_results);
        for record in records {
            self.restore_one(record);
        }
        Ok(())
    }

    fn restore_one(&mut self, record: Record) {
        match record {
            Record::Epoch { shard, epoch, first_seq, at, owner } => {
                let kept = self.shards.entry(shard).or_default();
                kept.epochs.insert(epoch, (first_seq, at, owner));
            }
            Record::Head { shard, epoch, seq } => {
                let kept = self.shards.entry(shard).or_default();
                (kept.epoch, kept.head) = (epoch, seq);
            }
            Record::Event { shard, seq, epoch, entity, version, at, name, bytes, command } => {
                let recorded = Recorded { version, at, event: EncodedEvent { name, bytes } };
                let event = FeedEvent { shard, seq, epoch, entity, command, recorded };
                let event = Arc::new(event);
                self.shards.entry(shard).or_default().log.push(Arc::clone(&event));
                self.entities.entry(entity).or_default().events.push(event);
            }
            Record::Entity { entity, version: _, deadline } => {
                self.entities.entry(entity).or_default().deadline = deadline;
                self.deadlines.extend(deadline.map(|at| (at, entity)));
            }
            Record::Snapshot { entity, version, bytes } => {
                self.entities.entry(entity).or_default().snapshot = Some((version, bytes));
            }
            Record::Result { position, entity, command, at, bytes } => {
                self.add_result(position, entity, at, CommandResult { command, bytes });
            }
            Record::Effect { position, source, version, index, at, bytes } => {
                let key = EffectKey { source, version, index };
                self.add_effect(OutboxRow { position: OutboxPosition(position), key, at, bytes });
            }
            Record::Claim { claim, holder } => drop(self.claims.insert(claim, holder)),
            Record::Posting {
                key,
                line,
                entity,
                version,
                at,
                account,
                currency,
                amount,
                floor,
            } => {
                let kept = Line { entity, version, at, account, currency, amount, floor };
                self.add_line((key, line), kept);
            }
            Record::View { entity, row } => drop(self.views.insert(entity, row)),
        }
    }
}

impl Shard {
    /// From now on it is somebody else's, or the same one's anew.
    fn begin_epoch(&mut self, at: Timestamp, owner: String) {
        self.is_ours = true;
        self.epoch += 1;
        self.epochs.insert(self.epoch, (self.head + 1, at, owner));
    }

    /// Writes an event at the end of the log.
    fn append(
        &mut self,
        entity: EntityKey,
        command: Option<CommandId>,
        recorded: Recorded,
        epoch: Option<u64>,
    ) -> Arc<FeedEvent> {
        if !self.is_ours {
            self.begin_epoch(recorded.at, OWNER.to_owned());
        }
        self.head += 1;
        let (shard, seq, epoch) = (entity.shard(), self.head, epoch.unwrap_or(self.epoch));
        let event = Arc::new(FeedEvent { shard, seq, epoch, entity, command, recorded });
        self.log.push(Arc::clone(&event));
        event
    }
}

impl ViewQuery {
    fn matches(&self, entity: EntityKey, row: &ViewRow) -> bool {
        entity.kind == self.kind
            && (self.statuses.is_empty() || self.statuses.contains(&row.status))
            && self.rider.is_none_or(|rider| row.rider == Some(rider))
            && self.driver.is_none_or(|driver| row.driver == Some(driver))
            && self.since.is_none_or(|since| row.at >= since)
            && self.until.is_none_or(|until| row.at < until)
            && self.after.is_none_or(|after| match self.sort {
                Sort::Newest => (row.at, entity.id) < after,
                Sort::Oldest => (row.at, entity.id) > after,
            })
    }
}
