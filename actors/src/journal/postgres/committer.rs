//! One of the few who write: gathers commits of many entities, writes them in one statement, answers.
//!
//! ```text
//!  entities ──▶ the shard's queue ──≤ 512, ≤ 2 ms──▶ one statement ──▶ answers
//!                                                       │ connection lost, timeout
//!                                                       ▼
//!                            ambiguous: nobody reads or writes these shards as their owner
//!                            new connection, epoch + 1 ──▶ the journal tells what was written
//! ```
//!
//! Most statements leave the heads of their shards alone (`heads.rs`): what the committer knows of them it brings into
//! their rows once a second, with what was told, and before it closes.
//!
//! A shard has one committer, so an entity's commits come one after the other without any lock; while
//! one committer waits for the disk, another's statement runs.

use super::{
    Role,
    batch::{self, Basis, Outcome, Terms, Touched, Way, Write, Written, entity},
    heads::Heads,
    horizon::Horizon,
    ownership::Ownership,
    shares::Shares,
    told::{self, Found, Laggard, Mark, Told},
    versions::Versions,
};
use crate::{
    Version,
    journal::{CommitError, EffectKey},
    runtime::Clock,
};
use protocol::{SHARDS, ShardId, Timestamp};
use sqlx::{ConnectOptions, Connection, PgConnection, postgres::PgConnectOptions};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
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
use tracing::{error, info, warn};
use uuid::Uuid;

/// Bytes that share a statement at most, so that one large state does not delay many small ones.
const N_BYTES_MAX: usize = 4 << 20;
/// Writes the marks of shards that no commit takes along, and how far their logs go.
const TELL: &str = include_str!("tell.sql");
/// How long what was told may wait for a commit to take its mark along, when there are no others.
const TELL_PATIENCE: Duration = Duration::from_millis(50);
/// How long when there are, and how long rows of heads may be behind the logs.
const TELL_EVERY: Duration = Duration::from_secs(1);
/// Rows of the outbox that are forgotten at once at most.
const N_FORGOTTEN_MAX: usize = 4096;
/// Laggards that are put in the outbox at once at most.
const N_LAGGARDS_MAX: usize = 256;
/// How often a statement that lost a race is run again before its commits are tried one by one.
const RACES_MAX: u32 = 5;
/// For how many statements nobody is trusted to be accepted, after somebody was not.
const N_WARY: u32 = 8;
/// How a statement that leaves the heads alone says that its fence has moved: a division by zero (`commit.sql`).
const FENCE_MOVED: &str = "22012";
/// A key is there already.
const THERE_ALREADY: &str = "23505";
/// How long to breathe between attempts to reach the database.
const BREATHER: Duration = Duration::from_millis(100);

/// What a committer is asked to do.
#[derive(Debug)]
pub(super) enum Request {
    Commit(Write),
    Close(oneshot::Sender<()>),
}

/// What all committers share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) options: PgConnectOptions,
    pub(super) ownership: Ownership,
    pub(super) role: Role,
    /// What has been told of what was committed.
    pub(super) told: Told,
    /// How far the logs of all shards go, for who follows them.
    pub(super) horizon: Horizon,
    /// Effects that were told and may be in the outbox: to be forgotten there.
    pub(super) forgotten: Mutex<BTreeSet<EffectKey>>,
    /// Which committer writes to which shards.
    pub(super) shares: Shares,
    /// By committer: something was told.
    pub(super) has_told: Box<[Notify]>,
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

    pub(super) fn forgotten(&self) -> MutexGuard<'_, BTreeSet<EffectKey>> {
        self.forgotten.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Which committer writes to a shard, if there are any.
    pub(super) fn committer(&self, shard: ShardId) -> Option<usize> {
        self.shares.committer(shard)
    }

    /// These have been told; nobody waits for that to be written.
    pub(super) fn tell(&self, effects: Vec<EffectKey>) {
        let mut touched = BTreeSet::new();
        for effect in effects {
            let shard = effect.source.shard();
            if !self.told.tell(effect, self.ownership.epoch(shard)) {
                self.forgotten().insert(effect);
            }
            touched.extend(self.committer(shard));
        }
        touched.into_iter().for_each(|committer| self.has_told[committer].notify_one());
    }

    /// Has it, as far as this process knows? If it stands with an event, that is number `seq`.
    pub(super) fn is_told(&self, effect: EffectKey, seq: Option<u64>) -> bool {
        match seq {
            Some(seq) => self.told.is_told(effect, seq),
            None => self.forgotten().contains(&effect),
        }
    }

    fn believed(&self, shard: ShardId) -> u64 {
        self.ownership.epoch(shard).unwrap_or(Terms::NOBODYS)
    }

    fn terms(&self, shard: ShardId, seq: u64) -> Terms {
        let epoch = self.believed(shard);
        Terms { epoch, told: self.told.mark(shard, epoch), seq }
    }

    /// All shards that a committer writes to, whoever has them.
    fn shards_of(&self, committer: usize) -> impl Iterator<Item = ShardId> + '_ {
        (0..SHARDS).map(ShardId).filter(move |it| self.committer(*it) == Some(committer))
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
    /// What this connection has left entities with.
    versions: Versions,
    /// What it knows of the heads of its shards.
    heads: Heads,
    /// A statement has left heads behind since they were last written.
    is_ahead: bool,
    /// How many commits the last statement wrote.
    n_last: usize,
    stripe: i16,
    /// For how many more statements nobody is trusted to be accepted.
    n_wary: u32,
    /// When the marks of all its shards were last looked at.
    told: Instant,
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
        let (_, incarnation) = shared.ownership.owner();
        Self {
            shared,
            requests,
            connection: Some(connection),
            deferred: VecDeque::new(),
            versions: Versions::default(),
            heads: Heads::new(incarnation, stripe),
            is_ahead: false,
            n_last: 0,
            stripe,
            n_wary: 0,
            told: Instant::now(),
            closing: Vec::new(),
        }
    }

    /// Works until it is asked to close, or nobody is left who could ask.
    pub(super) async fn run(mut self) {
        while let Some(writes) = self.gather().await {
            let is_idle = writes.is_empty();
            self.write(writes).await;
            if is_idle || self.told.elapsed() > TELL_EVERY {
                self.tell().await;
            }
        }
        // What is not marked now is told again, and recognised.
        self.tell().await;
        if let Some(connection) = self.connection.take() {
            connection.close().await.ok();
        }
        for closed in self.closing.drain(..) {
            closed.send(()).ok();
        }
    }

    /// The commits of the next statement, in the order they came; empty when only marks wait.
    async fn gather(&mut self) -> Option<Vec<Write>> {
        let batch_max = self.shared.settings.batch_max;
        let mut writes: Vec<Write> = self.deferred.drain(..).collect();
        if writes.is_empty() {
            let (shared, number) = (Arc::clone(&self.shared), self.number());
            // Something may have been open for too long; or rows of heads are behind, and some have nothing else.
            let ahead = self.is_ahead.then(|| TELL_EVERY.saturating_sub(self.told.elapsed()));
            let rest = ahead.unwrap_or(told::PATIENCE);
            tokio::select! {
                request = self.requests.recv() => self.take(request?, &mut writes),
                () = shared.has_told[number].notified() => {
                    match timeout(TELL_PATIENCE, self.requests.recv()).await {
                        Ok(request) => self.take(request?, &mut writes),
                        Err(_) => return Some(writes),
                    }
                }
                () = sleep(rest) => return Some(writes),
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
        // Part by part, as they lie on disk; those of a shard stay in the order they came.
        chosen.sort_by_cached_key(|write| self.shared.shares.place(write.commit.entity.shard()));
        Some(chosen)
    }

    /// Which of the committers it is.
    fn number(&self) -> usize {
        usize::from(self.stripe.cast_unsigned()) - 1
    }

    fn take(&mut self, request: Request, writes: &mut Vec<Write>) {
        match request {
            Request::Commit(write) => writes.push(write),
            Request::Close(closed) => {
                self.requests.close();
                self.closing.push(closed);
            }
        }
    }

    /// Writes and answers.
    async fn write(&mut self, writes: Vec<Write>) {
        if writes.is_empty() {
            return;
        }
        metrics::histogram!("outrider_journal_batch_size").record(writes.len() as f64);
        self.n_last = writes.len();
        let mut n_races = 0;
        let mut swift = self.n_wary == 0;
        self.n_wary = self.n_wary.saturating_sub(1);
        loop {
            let epochs = self.epochs(&writes);
            match self.execute(&writes, swift).await {
                Ok(outcomes) => return self.answer(writes, &epochs, outcomes),
                // Nothing was written, and somebody must be refused: now it must be said who.
                Err(Failure::Race(_) | Failure::Refused(_)) if swift => {
                    swift = false;
                    self.n_wary = N_WARY;
                }
                Err(Failure::Race(error)) if n_races < RACES_MAX => {
                    metrics::counter!("outrider_journal_races_total").increment(1);
                    info!(%error, "a batch lost a race and is written again");
                    n_races += 1;
                }
                // A row that breaks a rule would take the whole batch with it, again and again.
                Err(Failure::Race(error) | Failure::Refused(error)) => {
                    warn!(%error, n_commits = writes.len(), "a commit broke its batch");
                    return self.write_one_by_one(writes).await;
                }
                Err(Failure::Unable(error)) => {
                    warn!(%error, n_commits = writes.len(), "the database cannot write");
                    metrics::counter!("outrider_journal_failures_total").increment(1);
                    let outcome = Err(CommitError::Unavailable(error.to_string()));
                    writes.into_iter().for_each(|write| write.answer(outcome.clone()));
                    return;
                }
                Err(Failure::Lost(error)) => return self.recover(writes, error).await,
            }
        }
    }

    async fn write_one_by_one(&mut self, writes: Vec<Write>) {
        let mut writes = VecDeque::from(writes);
        while let Some(write) = writes.pop_front() {
            let epochs = self.epochs(std::slice::from_ref(&write));
            match self.execute(std::slice::from_ref(&write), false).await {
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

    fn answer(&mut self, writes: Vec<Write>, epochs: &[Option<u64>], outcomes: Vec<Outcome>) {
        let mut answers = Vec::with_capacity(writes.len());
        for ((write, epoch), outcome) in writes.into_iter().zip(epochs).zip(outcomes) {
            match &outcome {
                // Before anybody can tell them.
                Ok(seq) => {
                    self.shared.told.wrote(&write.commit, *seq);
                    self.versions.wrote(&write.commit, epoch.unwrap_or(Terms::NOBODYS));
                }
                Err(CommitError::Fenced { shard }) => {
                    metrics::counter!("outrider_journal_fenced_total").increment(1);
                    if !self.shared.ownership.lose(*shard, *epoch) {
                        // Its epoch has changed under it, and it is ours: nothing was written yet.
                        self.deferred.push_back(write);
                        continue;
                    }
                }
                Err(_) => {}
            }
            answers.push((write, outcome.map(drop)));
        }
        // Whoever follows the feed asks next how far the logs go.
        self.shared.committed.send_modify(|n| *n += 1);
        answers.into_iter().for_each(|(write, outcome)| write.answer(outcome));
    }

    /// Runs one statement, or two: one that leaves the heads alone, if it may, and one that does not, if something has been
    /// taken from us. If it is not that, somebody must be refused, and that is for who asks to have said.
    async fn execute(&mut self, writes: &[Write], swift: bool) -> Result<Vec<Outcome>, Failure> {
        let number = self.number();
        let Some(connection) = &mut self.connection else {
            return Err(Failure::Lost(sqlx::Error::WorkerCrashed));
        };
        let shards = batch::shards(writes);
        let (shared, versions, stripe) = (&self.shared, &self.versions, self.stripe);
        let (heads, is_ahead) = (&mut self.heads, &mut self.is_ahead);
        let is_fenced = heads.may_be_fenced() && swift && !batch::move_money(writes);
        let patience = self.shared.settings.patience;
        within(patience, learn(connection, shared, &shards)).await.map_err(sort)?;
        // Once, so that what is known is known under what is written under.
        let mut all: Vec<_> =
            shards.into_iter().map(|shard| (shard, shared.terms(shard, 0))).collect();
        let mine = || shared.shards_of(number).map(|it| (it, shared.believed(it))).collect();
        let unseen = heads.to_look_at(&all, is_fenced, mine);
        if !unseen.is_empty() {
            let seen = within(patience, heads.look(connection, &unseen)).await.map_err(sort)?;
            heads.saw(&unseen, &seen);
        }
        all.iter_mut().for_each(|(shard, terms)| terms.seq = heads.seq(*shard));
        // They are in order.
        let terms = |shard: ShardId| all[all.partition_point(|(it, _)| *it < shard)].1;
        let knows = |commit: &_, epoch| versions.knows(commit, epoch);
        let basis = Basis { terms: &terms, knows: &knows };
        if let Some(fence) = heads.fence(&all).filter(|_| is_fenced) {
            let way = Way::Fenced(fence);
            let statement = batch::execute(connection, basis, writes, stripe, way);
            match within(patience, statement).await {
                Ok(Written { outcomes, heads: after }) => {
                    count("left");
                    heads.wrote(&after);
                    *is_ahead = true;
                    return Ok(outcomes);
                }
                // Nothing was written.
                Err(error) if says(&error, FENCE_MOVED) => heads.forget(),
                Err(error) => {
                    if is_place_taken(&error) {
                        heads.doubt();
                    }
                    return Err(sort(error));
                }
            }
        }
        let way = if swift { Way::Swift } else { Way::Sure };
        let statement = batch::execute(connection, basis, writes, stripe, way);
        match within(patience, statement).await {
            Ok(Written { outcomes, heads: after }) => {
                count("moved");
                heads.wrote(&after);
                Ok(outcomes)
            }
            Err(error) => {
                if is_place_taken(&error) {
                    heads.doubt();
                }
                Err(sort(error))
            }
        }
    }

    /// Marks what has been told of the shards whose marks no commit took along, and how far the logs go whose
    /// heads commits left alone; puts in the outbox what has been open for too long.
    async fn tell(&mut self) {
        self.told = Instant::now();
        let number = self.number();
        let Some(connection) = &mut self.connection else { return };
        let shared = Arc::clone(&self.shared);
        let (mut marks, mut laggards) = (Vec::new(), Vec::new());
        for shard in shared.shards_of(number) {
            if let Some(epoch) = shared.ownership.epoch(shard) {
                let takes_laggards = laggards.len() < N_LAGGARDS_MAX;
                let (mark, late) = shared.told.due(shard, epoch, takes_laggards);
                marks.extend(mark);
                laggards.extend(late);
            }
        }
        let forgotten: BTreeSet<_> =
            shared.forgotten().iter().take(N_FORGOTTEN_MAX).copied().collect();
        if marks.is_empty() && forgotten.is_empty() {
            self.is_ahead = false;
            return;
        }
        laggards.iter().for_each(|laggard| shared.told.doubt(laggard));
        let statement = write_marks(connection, &marks, &laggards, &forgotten);
        match timeout(shared.settings.patience, statement).await {
            Ok(Ok(written)) => {
                self.is_ahead = false;
                shared.forgotten().retain(|effect| !forgotten.contains(effect));
                laggards.retain(|laggard| written.contains_key(&laggard.shard));
                written.into_values().for_each(|mark| shared.told.written(mark));
                for laggard in &laggards {
                    shared.forgotten().extend(shared.told.put_off(laggard));
                }
            }
            // Whether it was written does not matter: it will be, and twice is once. But nothing else
            // may be sent after a statement that may still run.
            Ok(Err(error)) => match sort(error) {
                Failure::Lost(error) => self.recover(Vec::new(), error).await,
                Failure::Race(error) | Failure::Refused(error) | Failure::Unable(error) => {
                    warn!(%error, "no marks written");
                }
            },
            Err(_) => self.recover(Vec::new(), sqlx::Error::PoolTimedOut).await,
        }
    }

    /// Makes sure that the statement is over, one way or the other, before anybody who waited for it
    /// looks: a new epoch waits for it, or keeps it out.
    async fn recover(&mut self, writes: Vec<Write>, error: sqlx::Error) {
        warn!(%error, n_commits = writes.len(), "connection lost: did these commits get through?");
        metrics::counter!("outrider_journal_ambiguous_total").increment(writes.len() as u64);
        let shards = batch::shards(&writes);
        self.shared.ownership.suspect(&shards);
        self.shared.away();
        self.connection = None;
        self.versions.forget();
        self.heads.lose();
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

/// Counts a statement that was committed, by what became of its heads.
fn count(heads: &'static str) {
    metrics::counter!("outrider_journal_batches_total", "heads" => heads).increment(1);
}

/// Finds out what is open of those shards of which that is not known yet.
async fn learn(
    database: &mut PgConnection,
    shared: &Shared,
    shards: &[ShardId],
) -> sqlx::Result<()> {
    type Row =
        (i32, i64, i64, i64, Option<i64>, Option<i16>, Option<Uuid>, Option<i64>, Option<Vec<u8>>);
    // The epoch first: what is read then is all that was written under those before.
    let epochs: BTreeMap<ShardId, u64> = shards
        .iter()
        .filter_map(|shard| Some((*shard, shared.ownership.epoch(*shard)?)))
        .filter(|(shard, epoch)| !shared.told.knows(*shard, *epoch))
        .collect();
    if epochs.is_empty() {
        return Ok(());
    }
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT h.shard, h.told, h.seq, greatest(h.seq, l.seq), e.seq, e.kind, e.id, e.version, e.effects
         FROM heads h LEFT JOIN LATERAL (
             SELECT e.seq FROM events e WHERE e.shard = h.shard ORDER BY e.seq DESC LIMIT 1
         ) l ON true LEFT JOIN LATERAL (
             SELECT * FROM events e WHERE e.shard = h.shard AND e.seq > h.told AND e.effects IS NOT NULL
         ) e ON true
         WHERE h.shard = ANY ($1)",
    )
    .bind(epochs.keys().map(|shard| i32::from(shard.0)).collect::<Vec<_>>())
    .fetch_all(database)
    .await?;
    let mut found: BTreeMap<ShardId, Found> = BTreeMap::new();
    for (shard, told, kept, head, seq, kind, id, version, effects) in rows {
        let [told, kept, head] = [told, kept, head].map(i64::cast_unsigned);
        let found = found.entry(ShardId(shard as u16));
        let found = found.or_insert_with(|| Found { told, kept, head, commits: BTreeMap::new() });
        let (Some(seq), Some(kind), Some(id)) = (seq, kind, id) else { continue };
        let (Some(version), Some(effects)) = (version, effects) else { continue };
        let source = entity(kind, id)?;
        let n = match told::decode(source, &effects) {
            Ok(effects) => effects.len() as u32,
            Err(error) => {
                error!(%error, "effects that nobody can be told");
                0
            }
        };
        let commit = (source, Version(version.cast_unsigned()), n);
        found.commits.insert(seq.cast_unsigned(), commit);
    }
    for (shard, found) in found {
        shared.told.learn(shard, epochs[&shard], found);
    }
    Ok(())
}

/// Writes marks, and into the outbox what would hold them back; forgets what is there no more. Returns
/// what now stands in the heads of those shards that are still ours: a mark goes no further than the log.
pub(super) async fn write_marks(
    database: &mut PgConnection,
    marks: &[Mark],
    laggards: &[Laggard],
    forgotten: &BTreeSet<EffectKey>,
) -> sqlx::Result<BTreeMap<ShardId, Mark>> {
    type Row = (i32, i64, i16, Uuid, i64, i64, Vec<u8>);
    let mut rows: Vec<Row> = Vec::new();
    if !laggards.is_empty() {
        rows = sqlx::query_as(
            "SELECT e.shard, e.seq, e.kind, e.id, e.version, e.at, e.effects
             FROM unnest($1::int4[], $2::int8[]) AS l (shard, seq)
             CROSS JOIN LATERAL (SELECT * FROM events e WHERE e.shard = l.shard AND e.seq = l.seq) e
             WHERE e.effects IS NOT NULL",
        )
        .bind(laggards.iter().map(|it| i32::from(it.shard.0)).collect::<Vec<_>>())
        .bind(laggards.iter().map(|it| it.seq.cast_signed()).collect::<Vec<_>>())
        .fetch_all(&mut *database)
        .await?;
    }
    let mut late = Vec::new();
    for row in &rows {
        let place = (ShardId(row.0 as u16), row.1.cast_unsigned());
        let laggard = laggards.iter().find(|it| (it.shard, it.seq) == place);
        let left = laggard.map(|laggard| &laggard.left).into_iter().flatten();
        let effects = told::decode(entity(row.2, row.3)?, &row.6).unwrap_or_default();
        for index in left {
            let bytes = effects.get(*index as usize).cloned().unwrap_or_default();
            late.push((row, *index as i32, bytes));
        }
    }
    let written: Vec<(i32, i64, i64, i64)> = sqlx::query_as(TELL)
        .bind(marks.iter().map(|it| i32::from(it.shard.0)).collect::<Vec<_>>())
        .bind(marks.iter().map(|it| it.epoch.cast_signed()).collect::<Vec<_>>())
        .bind(marks.iter().map(|it| it.told.cast_signed()).collect::<Vec<_>>())
        .bind(late.iter().map(|(row, ..)| row.0).collect::<Vec<_>>())
        .bind(late.iter().map(|(row, ..)| row.2).collect::<Vec<_>>())
        .bind(late.iter().map(|(row, ..)| row.3).collect::<Vec<_>>())
        .bind(late.iter().map(|(row, ..)| row.4).collect::<Vec<_>>())
        .bind(late.iter().map(|(_, place, _)| *place).collect::<Vec<_>>())
        .bind(late.iter().map(|(row, ..)| row.5).collect::<Vec<_>>())
        .bind(late.iter().map(|(.., bytes)| bytes.as_slice()).collect::<Vec<_>>())
        .bind(forgotten.iter().map(|it| it.source.kind as i16).collect::<Vec<_>>())
        .bind(forgotten.iter().map(|it| it.source.id).collect::<Vec<_>>())
        .bind(forgotten.iter().map(|it| it.version.0.cast_signed()).collect::<Vec<_>>())
        .bind(forgotten.iter().map(|it| it.index.cast_signed()).collect::<Vec<_>>())
        .bind(marks.iter().map(|it| it.seq.cast_signed()).collect::<Vec<_>>())
        .fetch_all(database)
        .await?;
    let mark = |(shard, epoch, told, seq): (i32, i64, i64, i64)| {
        let [epoch, told, seq] = [epoch, told, seq].map(i64::cast_unsigned);
        let shard = ShardId(shard as u16);
        (shard, Mark { shard, epoch, told, seq })
    };
    Ok(written.into_iter().map(mark).collect())
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

/// A statement that is not answered in time is lost. Each has as long as the server gives it.
async fn within<T>(
    patience: Duration,
    statement: impl Future<Output = sqlx::Result<T>>,
) -> sqlx::Result<T> {
    timeout(patience, statement).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

/// Did the server say this?
pub(super) fn says(error: &sqlx::Error, code: &str) -> bool {
    error.as_database_error().and_then(|said| said.code()).is_some_and(|said| said == code)
}

/// Did the server say that there is an event already where one was to stand? Other keys that are there already say nothing of
/// how far a log goes: somebody else has begun, or answered, or claimed the same.
pub(super) fn is_place_taken(error: &sqlx::Error) -> bool {
    let said = error.as_database_error().filter(|_| says(error, THERE_ALREADY));
    // Each part has a key of its own: `events_0_pkey`.
    let key = said.and_then(|said| said.constraint()).and_then(|key| key.strip_prefix("events_"));
    key.and_then(|key| key.strip_suffix("_pkey")).is_some_and(|part| part.parse::<u8>().is_ok())
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
        (_, THERE_ALREADY | "40001" | "40P01" | "55P03") => Failure::Race(error),
        ("22" | "23", _) | (_, "P0001") => Failure::Refused(error),
        ("53", _) | (_, "25006") => Failure::Unable(error),
        // Among them those of a server that is told to stop: it may say so after it has committed.
        _ => Failure::Lost(error),
    }
}
