//! A journal that goes wrong on purpose, so that tests see what a bad disk or network does.
//!
//! Faults come from two places: those ordered by a test, each for the next call, and those drawn
//! from a seed. What is drawn for an entity's nth commit depends on the seed, the entity and n
//! alone, so a failing run repeats however its tasks interleave.

use super::{
    CommitError, EffectKey, FeedCursor, FeedEvent, Forgotten, Journal, JournalError,
    OutboxPosition, OutboxRow, Part, Record, Recorded, RestoreError, SharedJournal, Shelf, Stored,
    ViewQuery,
};
use crate::{Claim, Commit, EntityKey, Version, ViewRow};
use futures_util::future::{BoxFuture, FutureExt};
use protocol::{CommandId, Currency, ShardSet, Timestamp};
use std::{
    collections::{HashMap, VecDeque},
    future::ready,
    sync::{Arc, Mutex, MutexGuard},
    time::Duration,
};
use tokio::{sync::watch, time::sleep};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Any journal, and what goes wrong with it. Cloning shares both.
#[derive(Debug, Clone)]
pub struct FaultyJournal {
    inner: SharedJournal,
    plan: Arc<Mutex<Plan>>,
}

/// What can happen to a commit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// Refused before anything was written: [`CommitError::Unavailable`].
    Unavailable,
    /// Nothing was written, but the caller cannot know: [`CommitError::Unknown`].
    LostBefore,
    /// Written, but the caller cannot know: [`CommitError::Unknown`].
    LostAfter,
    /// Nothing was written, as if someone else had been first: [`CommitError::Stale`].
    Stale,
    /// Nothing was written, as if another node owned the shard: [`CommitError::Fenced`]. Never drawn.
    Fenced,
    /// Nothing was written, as if an account held too little: [`CommitError::BelowFloor`]. Never
    /// drawn.
    BelowFloor,
    /// Written, and acknowledged late.
    Slow(Duration),
}

/// How often each fault is drawn, each from 0 (never) to 1; for commits they sum to at most 1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Odds {
    /// Other seeds draw other faults.
    pub seed: u64,
    /// Of [`Fault::Unavailable`].
    pub unavailable: f64,
    /// Of [`Fault::LostBefore`].
    pub lost_before: f64,
    /// Of [`Fault::LostAfter`].
    pub lost_after: f64,
    /// Of [`Fault::Stale`].
    pub stale: f64,
    /// Of [`Fault::Slow`].
    pub slow: f64,
    /// How slow.
    pub delay: Duration,
    /// That a load fails.
    pub load: f64,
}

/// How many faults there were.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Injected {
    /// [`Fault::Unavailable`].
    pub unavailable: u64,
    /// [`Fault::LostBefore`].
    pub lost_before: u64,
    /// [`Fault::LostAfter`].
    pub lost_after: u64,
    /// [`Fault::Stale`].
    pub stale: u64,
    /// [`Fault::Fenced`].
    pub fenced: u64,
    /// [`Fault::BelowFloor`].
    pub below_floor: u64,
    /// [`Fault::Slow`].
    pub slow: u64,
    /// Loads that failed.
    pub loads: u64,
}

#[derive(Debug, Default)]
struct Plan {
    odds: Odds,
    commits: VecDeque<Fault>,
    n_loads: u64,
    n_scans: u64,
    n_forgets: u64,
    n_calls: HashMap<EntityKey, u64>,
    injected: Injected,
}

impl FaultyJournal {
    /// One in which faults are drawn by `odds`; the default odds draw none.
    pub fn new(inner: SharedJournal, odds: Odds) -> Self {
        Self { inner, plan: Arc::new(Mutex::new(Plan { odds, ..Plan::default() })) }
    }

    /// Draws by other odds from now on.
    pub fn set_odds(&self, odds: Odds) {
        self.plan().odds = odds;
    }

    /// Lets the next commit that has no fault ordered for it suffer `fault`, whosever it is.
    pub fn fail_next_commit(&self, fault: Fault) {
        self.plan().commits.push_back(fault);
    }

    /// Lets the next `n` reads of deadlines and of the outbox fail.
    pub fn fail_next_scans(&self, n: u64) {
        self.plan().n_scans += n;
    }

    /// Lets the next `n` attempts to take effects out of the outbox fail.
    pub fn fail_next_forgets(&self, n: u64) {
        self.plan().n_forgets += n;
    }

    /// Lets the next `n` loads fail, whosever they are.
    pub fn fail_next_loads(&self, n: u64) {
        self.plan().n_loads += n;
    }

    /// Whatever was ordered and has not come does not come any more.
    pub fn heal(&self) {
        let mut plan = self.plan();
        plan.commits.clear();
        (plan.n_loads, plan.n_scans, plan.n_forgets) = (0, 0, 0);
    }

    /// How many faults there were so far.
    pub fn injected(&self) -> Injected {
        self.plan().injected
    }

    fn plan(&self) -> MutexGuard<'_, Plan> {
        self.plan.lock().expect("nothing panics while it holds the plan")
    }
}

impl Plan {
    /// A number from 0 to 1 for the next call about `entity`.
    fn draw(&mut self, entity: EntityKey) -> f64 {
        let n = self.n_calls.entry(entity).or_default();
        *n += 1;
        let name = [entity.to_bytes().as_slice(), &n.to_be_bytes()].concat();
        xxh3_64_with_seed(&name, self.odds.seed) as f64 / u64::MAX as f64
    }

    fn commit_fault(&mut self, entity: EntityKey) -> Option<Fault> {
        let fault = self.commits.pop_front().or_else(|| self.drawn_fault(entity))?;
        let n = match fault {
            Fault::Unavailable => &mut self.injected.unavailable,
            Fault::LostBefore => &mut self.injected.lost_before,
            Fault::LostAfter => &mut self.injected.lost_after,
            Fault::Stale => &mut self.injected.stale,
            Fault::Fenced => &mut self.injected.fenced,
            Fault::BelowFloor => &mut self.injected.below_floor,
            Fault::Slow(_) => &mut self.injected.slow,
        };
        *n += 1;
        Some(fault)
    }

    fn drawn_fault(&mut self, entity: EntityKey) -> Option<Fault> {
        let mut drawn = self.draw(entity);
        let odds = self.odds;
        let faults = [
            (odds.unavailable, Fault::Unavailable),
            (odds.lost_before, Fault::LostBefore),
            (odds.lost_after, Fault::LostAfter),
            (odds.stale, Fault::Stale),
            (odds.slow, Fault::Slow(odds.delay)),
        ];
        faults.into_iter().find_map(|(odds, fault)| {
            drawn -= odds;
            (drawn < 0.0).then_some(fault)
        })
    }

    fn does_scan_fail(&mut self) -> bool {
        let fails = self.n_scans > 0;
        self.n_scans = self.n_scans.saturating_sub(1);
        fails
    }

    fn does_load_fail(&mut self, entity: EntityKey) -> bool {
        let is_ordered = self.n_loads > 0;
        self.n_loads = self.n_loads.saturating_sub(1);
        let fails = is_ordered || (self.odds.load > 0.0 && self.draw(entity) < self.odds.load);
        self.injected.loads += u64::from(fails);
        fails
    }
}

impl Journal for FaultyJournal {
    fn load(&self, entity: EntityKey) -> BoxFuture<'_, Result<Stored, JournalError>> {
        async move {
            if self.plan().does_load_fail(entity) {
                return Err(JournalError::Unavailable("injected".into()));
            }
            self.inner.load(entity).await
        }
        .boxed()
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<(), CommitError>> {
        async move {
            let fault = self.plan().commit_fault(commit.entity);
            match fault {
                None => self.inner.commit(commit).await,
                Some(Fault::Unavailable) => Err(CommitError::Unavailable("injected".into())),
                Some(Fault::LostBefore) => Err(CommitError::Unknown("injected".into())),
                Some(Fault::LostAfter) => {
                    self.inner.commit(commit).await?;
                    Err(CommitError::Unknown("injected".into()))
                }
                Some(Fault::Stale) => {
                    Err(CommitError::Stale { actual: Version(commit.expected.0 + 1) })
                }
                Some(Fault::Fenced) => Err(CommitError::Fenced { shard: commit.entity.shard() }),
                Some(Fault::BelowFloor) => {
                    Err(CommitError::BelowFloor { account: "injected".into(), balance: 0 })
                }
                Some(Fault::Slow(delay)) => {
                    let outcome = self.inner.commit(commit).await;
                    sleep(delay).await;
                    outcome
                }
            }
        }
        .boxed()
    }

    fn result(
        &self,
        entity: EntityKey,
        command: CommandId,
    ) -> BoxFuture<'_, Result<Option<Vec<u8>>, JournalError>> {
        self.inner.result(entity, command)
    }

    fn undelivered(
        &self,
        shards: &ShardSet,
        after: Option<OutboxPosition>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<OutboxRow>, JournalError>> {
        if self.plan().does_scan_fail() {
            return ready(Err(JournalError::Unavailable("injected".into()))).boxed();
        }
        self.inner.undelivered(shards, after, limit)
    }

    fn delivered(&self, effects: Vec<EffectKey>) -> BoxFuture<'_, Result<(), JournalError>> {
        let mut plan = self.plan();
        if plan.n_forgets > 0 {
            plan.n_forgets -= 1;
            return ready(Err(JournalError::Unavailable("injected".into()))).boxed();
        }
        drop(plan);
        self.inner.delivered(effects)
    }

    fn deadlines(
        &self,
        shards: &ShardSet,
        until: Timestamp,
        after: Option<(Timestamp, EntityKey)>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Timestamp, EntityKey)>, JournalError>> {
        if self.plan().does_scan_fail() {
            return ready(Err(JournalError::Unavailable("injected".into()))).boxed();
        }
        self.inner.deadlines(shards, until, after, limit)
    }

    fn keep(&self, shelf: Shelf, bytes: Vec<u8>) -> BoxFuture<'_, Result<(), CommitError>> {
        self.inner.keep(shelf, bytes)
    }

    fn kept(&self, shelf: Shelf) -> BoxFuture<'_, Result<Option<Vec<u8>>, JournalError>> {
        self.inner.kept(shelf)
    }

    fn holder(&self, claim: Claim) -> BoxFuture<'_, Result<Option<EntityKey>, JournalError>> {
        self.inner.holder(claim)
    }

    fn history(
        &self,
        entity: EntityKey,
        after: Version,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Recorded>, JournalError>> {
        self.inner.history(entity, after, limit)
    }

    fn views(
        &self,
        query: ViewQuery,
    ) -> BoxFuture<'_, Result<Vec<(EntityKey, ViewRow)>, JournalError>> {
        self.inner.views(query)
    }

    fn balance(
        &self,
        account: String,
        currency: Currency,
    ) -> BoxFuture<'_, Result<i64, JournalError>> {
        self.inner.balance(account, currency)
    }

    fn feed(
        &self,
        after: FeedCursor,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<FeedEvent>, JournalError>> {
        self.inner.feed(after, limit)
    }

    fn reachable(&self) -> Option<watch::Receiver<bool>> {
        self.inner.reachable()
    }

    fn watch(&self) -> watch::Receiver<u64> {
        self.inner.watch()
    }

    fn dump(
        &self,
        part: Part,
        after: Option<Record>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Record>, JournalError>> {
        self.inner.dump(part, after, limit)
    }

    fn restore(&self, records: Vec<Record>) -> BoxFuture<'_, Result<(), RestoreError>> {
        self.inner.restore(records)
    }

    fn forget_results(&self, before: Timestamp) -> BoxFuture<'_, Result<Forgotten, JournalError>> {
        self.inner.forget_results(before)
    }

    fn close(&self) -> BoxFuture<'_, Result<(), JournalError>> {
        self.inner.close()
    }
}

#[cfg(test)]
mod tests;
