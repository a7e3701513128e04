//! One of the few who write: gathers commits of many entities, writes them in one statement, answers.
//!
//! ```text
//!  entities ──▶ queue of shard % n ──≤ 256, ≤ 2 ms──▶ one statement ──▶ answers
//!                                                        │ connection lost, timeout
//!                                                        ▼
//!                            ambiguous: nobody reads or writes these shards as their owner
//!                            new connection, epoch + 1 ──▶ the journal tells what was written
//! ```
//!
//! A shard has one committer, so an entity's commits come one after the other without any lock; while
//! one committer waits for the disk, another's statement runs.

use super::{
    Role,
    batch::{self, Touched, Write},
    ownership::Ownership,
};
use crate::{
    journal::{CommitError, EffectKey},
    runtime::Clock,
};
use protocol::{ShardId, Timestamp};
use sqlx::{ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};
use std::{
    collections::{BTreeSet, VecDeque},
    pin::pin,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Notify, mpsc, oneshot, watch},
    time::{Instant, sleep, timeout, timeout_at},
};
use tracing::{info, warn};

/// Bytes that share a statement at most, so that one large state does not delay many small ones.
const N_BYTES_MAX: usize = 4 << 20;
/// How long a delivery may wait for a commit to share its statement with.
const DELIVERY_PATIENCE: Duration = Duration::from_millis(50);
/// Deliveries that share a statement at most.
const N_DELIVERIES_MAX: usize = 4096;
/// How often a statement that lost a race is run again before its commits are tried one by one.
const RACES_MAX: u32 = 5;
/// How long to breathe between attempts to reach the database.
const BREATHER: Duration = Duration::from_millis(100);

/// What a committer is asked to do.
#[derive(Debug)]
pub(super) enum Request {
    Commit(Box<Write>),
    Close(oneshot::Sender<()>),
}

/// What all committers share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: PgConnectOptions,
    pub(super) ownership: Ownership,
    pub(super) role: Role,
    /// Effects that can be forgotten: whoever writes next takes them along.
    pub(super) delivered: Mutex<Vec<EffectKey>>,
    pub(super) has_delivered: Notify,
    /// Counts the statements that were committed, for those who follow the feed.
    pub(super) committed: watch::Sender<u64>,
    /// How many committers are without a connection.
    pub(super) n_away: AtomicUsize,
    /// Whether none is.
    pub(super) reachable: watch::Sender<bool>,
    pub(super) settings: super::Settings,
}

impl Shared {
    /// Is the database out of reach, as far as anybody has noticed?
    pub(super) fn is_away(&self) -> bool {
        !*self.reachable.borrow()
    }

    /// Counted while the word is changed, so that one who is back cannot speak for one who has just left.
    fn away(&self) {
        self.reachable.send_modify(|is_reachable| {
            self.n_away.fetch_add(1, Ordering::AcqRel);
            *is_reachable = false;
        });
    }

    fn back(&self) {
        self.reachable.send_modify(|is_reachable| {
            *is_reachable = self.n_away.fetch_sub(1, Ordering::AcqRel) == 1;
        });
    }

    fn delivered(&self) -> MutexGuard<'_, Vec<EffectKey>> {
        self.delivered.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn take_delivered(&self) -> Vec<EffectKey> {
        let mut all = self.delivered();
        let rest = all.len().saturating_sub(N_DELIVERIES_MAX);
        all.split_off(rest)
    }

    /// To be forgotten; nobody waits for that.
    pub(super) fn deliver(&self, effects: Vec<EffectKey>) {
        self.delivered().extend(effects);
        self.has_delivered.notify_one();
    }
}

/// Owns one connection that writes.
#[derive(Debug)]
pub(super) struct Committer {
    shared: Arc<Shared>,
    requests: mpsc::Receiver<Request>,
    /// None after a failure that leaves its state in doubt.
    connection: Option<PgConnection>,
    /// Commits that could not share the statement before, oldest first.
    deferred: VecDeque<Write>,
    /// How many commits the last statement wrote.
    n_last: usize,
    stripe: i16,
    closing: Vec<oneshot::Sender<()>>,
}

/// How a statement went wrong.
enum Failure {
    /// Someone else was first, somewhere. Nothing was written; the same again may do.
    Race(sqlx::Error),
    /// Nothing was written, and the same again would not be either.
    Refused(sqlx::Error),
    /// Nothing was written: the database cannot write now (disk full, read only).
    Unable(sqlx::Error),
    /// Written or not?
    Lost(sqlx::Error),
}

impl Committer {
    pub(super) fn new(
        shared: Arc<Shared>,
        requests: mpsc::Receiver<Request>,
        connection: PgConnection,
        stripe: i16,
    ) -> Self {
        Self {
            shared,
            requests,
            connection: Some(connection),
            deferred: VecDeque::new(),
            n_last: 0,
            stripe,
            closing: Vec::new(),
        }
    }

    /// Works until it is asked to close, or nobody is left who could ask.
    pub(super) async fn run(mut self) {
        while let Some(writes) = self.gather().await {
            self.write(writes).await;
        }
        // What is left to forget is forgotten, or delivered again and recognised.
        self.write(Vec::new()).await;
        if let Some(connection) = self.connection.take() {
            connection.close().await.ok();
        }
        for closed in self.closing.drain(..) {
            closed.send(()).ok();
        }
    }

    /// The commits of the next statement, in the order they came; empty when only deliveries wait.
    async fn gather(&mut self) -> Option<Vec<Write>> {
        let batch_max = self.shared.settings.batch_max;
        let mut writes: Vec<Write> = self.deferred.drain(..).collect();
        if writes.is_empty() {
            let shared = Arc::clone(&self.shared);
            tokio::select! {
                request = self.requests.recv() => self.take(request?, &mut writes),
                () = shared.has_delivered.notified() => {
                    match timeout(DELIVERY_PATIENCE, self.requests.recv()).await {
                        Ok(request) => self.take(request?, &mut writes),
                        Err(_) => return Some(writes),
                    }
                }
            }
        }
        while writes.len() < batch_max
            && let Ok(request) = self.requests.try_recv()
        {
            self.take(request, &mut writes);
        }
        // Many who were just answered come back together, a moment later: worth waiting for, unless
        // there never were many.
        if writes.len() < self.n_last.min(batch_max) / 2 {
            let until = Instant::now() + self.shared.settings.linger;
            while writes.len() < self.n_last.min(batch_max)
                && let Ok(Some(request)) = timeout_at(until, self.requests.recv()).await
            {
                self.take(request, &mut writes);
            }
        }
        let (mut chosen, mut touched, mut n_bytes) = (Vec::new(), Touched::default(), 0);
        for write in writes {
            n_bytes += write.bytes();
            let is_too_much = !chosen.is_empty() && n_bytes > N_BYTES_MAX;
            // What is deferred counts as touched, so that nothing overtakes it.
            if touched.add(&write.commit) || is_too_much {
                self.deferred.push_back(write);
            } else {
                chosen.push(write);
            }
        }
        Some(chosen)
    }

    fn take(&mut self, request: Request, writes: &mut Vec<Write>) {
        match request {
            Request::Commit(write) => writes.push(*write),
            Request::Close(closed) => {
                self.requests.close();
                self.closing.push(closed);
            }
        }
    }

    /// Writes and answers.
    async fn write(&mut self, writes: Vec<Write>) {
        let delivered = self.shared.take_delivered();
        if writes.is_empty() && delivered.is_empty() {
            return;
        }
        metrics::histogram!("outrider_journal_batch_size").record(writes.len() as f64);
        self.n_last = writes.len();
        let mut n_races = 0;
        loop {
            let epochs = self.epochs(&writes);
            match self.execute(&writes, &delivered).await {
                Ok(outcomes) => return self.answer(writes, &epochs, outcomes),
                Err(Failure::Race(error)) if n_races < RACES_MAX => {
                    metrics::counter!("outrider_journal_races_total").increment(1);
                    info!(%error, "a batch lost a race and is written again");
                    n_races += 1;
                }
                // A row that breaks a rule would take the whole batch with it, again and again.
                Err(Failure::Race(error) | Failure::Refused(error)) => {
                    warn!(%error, n_commits = writes.len(), "a commit broke its batch");
                    self.shared.deliver(delivered);
                    return self.write_one_by_one(writes).await;
                }
                Err(Failure::Unable(error)) => {
                    warn!(%error, n_commits = writes.len(), "the database cannot write");
                    metrics::counter!("outrider_journal_failures_total").increment(1);
                    self.shared.deliver(delivered);
                    let outcome = Err(CommitError::Unavailable(error.to_string()));
                    writes.into_iter().for_each(|write| write.answer(outcome.clone()));
                    return;
                }
                Err(Failure::Lost(error)) => {
                    self.shared.deliver(delivered);
                    return self.recover(writes, error).await;
                }
            }
        }
    }

    async fn write_one_by_one(&mut self, writes: Vec<Write>) {
        let mut writes = VecDeque::from(writes);
        while let Some(write) = writes.pop_front() {
            let epochs = self.epochs(std::slice::from_ref(&write));
            match self.execute(std::slice::from_ref(&write), &[]).await {
                Ok(outcomes) => self.answer(vec![write], &epochs, outcomes),
                // Somebody keeps being first: whoever asked reads again what there is.
                Err(Failure::Race(error)) => {
                    write.answer(Err(CommitError::Unknown(error.to_string())));
                }
                Err(Failure::Refused(error)) => {
                    write.answer(Err(CommitError::Unsound(error.to_string())));
                }
                Err(Failure::Unable(error)) => {
                    write.answer(Err(CommitError::Unavailable(error.to_string())));
                }
                Err(Failure::Lost(error)) => {
                    writes.push_front(write);
                    return self.recover(writes.into(), error).await;
                }
            }
        }
    }

    /// What each is written under.
    fn epochs(&self, writes: &[Write]) -> Vec<Option<u64>> {
        let shards = writes.iter().map(|write| write.commit.entity.shard());
        shards.map(|shard| self.shared.ownership.epoch(shard)).collect()
    }

    fn answer(
        &mut self,
        writes: Vec<Write>,
        epochs: &[Option<u64>],
        outcomes: Vec<Result<(), CommitError>>,
    ) {
        self.shared.committed.send_modify(|n| *n += 1);
        for ((write, epoch), outcome) in writes.into_iter().zip(epochs).zip(outcomes) {
            if let Err(CommitError::Fenced { shard }) = outcome {
                metrics::counter!("outrider_journal_fenced_total").increment(1);
                if !self.shared.ownership.lose(shard, *epoch) {
                    // Its epoch has changed under it, and it is ours: nothing was written yet.
                    self.deferred.push_back(write);
                    continue;
                }
            }
            write.answer(outcome);
        }
    }

    async fn execute(
        &mut self,
        writes: &[Write],
        delivered: &[EffectKey],
    ) -> Result<Vec<Result<(), CommitError>>, Failure> {
        let Some(connection) = &mut self.connection else {
            return Err(Failure::Lost(sqlx::Error::WorkerCrashed));
        };
        let ownership = &self.shared.ownership;
        let statement = batch::execute(connection, ownership, writes, delivered, self.stripe);
        match timeout(self.shared.settings.patience, statement).await {
            Ok(outcome) => outcome.map_err(sort),
            Err(_) => Err(Failure::Lost(sqlx::Error::PoolTimedOut)),
        }
    }

    /// Makes sure that the statement is over, one way or the other, before anybody who waited for it
    /// looks: a new epoch waits for it, or keeps it out.
    async fn recover(&mut self, writes: Vec<Write>, error: sqlx::Error) {
        warn!(%error, n_commits = writes.len(), "connection lost: did these commits get through?");
        metrics::counter!("outrider_journal_ambiguous_total").increment(writes.len() as u64);
        let shards: BTreeSet<_> = writes.iter().map(|write| write.commit.entity.shard()).collect();
        let shards: Vec<_> = shards.into_iter().collect();
        self.shared.ownership.suspect(&shards);
        self.shared.away();
        self.connection = None;
        for write in writes {
            write.answer(Err(CommitError::Unknown(error.to_string())));
        }
        let shared = Arc::clone(&self.shared);
        let mut reached = pin!(reach(&shared, &shards));
        let began = Instant::now();
        loop {
            // Those who come meanwhile are not kept waiting for a database that is away.
            while let Some(write) = self.deferred.pop_front() {
                write.answer(Err(CommitError::Unavailable("the database is away".into())));
            }
            // Who closes does not wait for it either.
            if !self.closing.is_empty() {
                return;
            }
            tokio::select! {
                connection = &mut reached => {
                    self.shared.back();
                    self.connection = Some(connection);
                    break;
                }
                Some(request) = self.requests.recv() => {
                    let mut writes = Vec::new();
                    self.take(request, &mut writes);
                    self.deferred.extend(writes);
                }
            }
        }
        info!(after = ?began.elapsed(), n_shards = shards.len(), "writing again, under a new epoch");
    }
}

/// A connection, once the shards have a new epoch.
async fn reach(shared: &Shared, shards: &[ShardId]) -> PgConnection {
    loop {
        let attempt = async {
            let mut connection = shared.options.connect().await?;
            shared.ownership.bump(&mut connection, shards, now()).await?;
            Ok::<_, sqlx::Error>(connection)
        };
        match timeout(shared.settings.patience, attempt).await {
            Ok(Ok(connection)) => return connection,
            Ok(Err(error)) => info!(%error, "the database is still away"),
            Err(_) => info!("the database does not answer"),
        }
        sleep(BREATHER).await;
    }
}

/// The machine's clock, for the column that says when an epoch began.
pub(super) fn now() -> Timestamp {
    Clock::Machine.now()
}

/// What a failed statement means for its commits, by the SQLSTATE's class.
fn sort(error: sqlx::Error) -> Failure {
    // What cannot be encoded was not sent; whatever else is not the server's word, went wrong on the way.
    let code = match error.as_database_error() {
        Some(database) => database.code().unwrap_or_default().into_owned(),
        None if matches!(error, sqlx::Error::Encode(_)) => return Failure::Refused(error),
        None => return Failure::Lost(error),
    };
    match (code.get(..2).unwrap_or_default(), code.as_str()) {
        (_, "23505" | "40001" | "40P01" | "55P03") => Failure::Race(error),
        ("22" | "23", _) | (_, "P0001") => Failure::Refused(error),
        ("53", _) | (_, "25006") => Failure::Unable(error),
        // Among them those of a server that is told to stop: it may say so after it has committed.
        _ => Failure::Lost(error),
    }
}
