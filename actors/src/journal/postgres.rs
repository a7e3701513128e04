//! A journal in Postgres: what a cluster keeps its commits in, and a single node may.
//!
//! ```text
//!  entities ──commit──▶ a queue per committer ──▶ one statement: fence, events, everything ──▶ WAL
//!      ▲                                              │ rows of who was accepted
//!      └───────────────── ack ────────────────────────┘           readers ◀──── load
//! ```
//!
//! Safety comes from the statement alone (`commit.sql`): it locks the heads of the shards it writes
//! and compares their epochs, so that of two nodes who believe to own a shard, one writes. Most lock one row
//! instead, which whoever takes any of those shards has to move (`heads`). What this process believes
//! (`ownership`) only spares it the asking.
//!
//! So the row of a head says under which epoch its shard is written to, always, and how far its log goes as it
//! was a second ago at most: the truth is the number of the last event.

pub mod arbiter;
mod batch;
mod committer;
mod heads;
mod horizon;
mod loader;
mod ownership;
pub mod private;
mod read;
mod records;
mod schema;
mod shares;
mod shelves;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
mod told;
mod versions;

use super::{
    CommitError, EffectKey, FeedCursor, FeedEvent, Forgotten, Journal, JournalError, List,
    OutboxPosition, OutboxRow, Part, Record, Recorded, RestoreError, Shelf, Stored, ViewQuery,
    rules,
};
use crate::{Claim, Commit, EntityKey, Format, Version};
use arbiter::{Line, PostgresArbiter};
use batch::Write;
use committer::{Committer, Request, Shared, now};
use futures_util::future::{BoxFuture, FutureExt, join_all, ready};
use horizon::Horizon;
use loader::Load;
use ownership::Ownership;
use protocol::{CommandId, Currency, ShardSet, Timestamp};
use read::Pass;
use serde::{Deserialize, Serialize};
use shares::Shares;
use sqlx::{
    ConnectOptions as _, Connection, PgConnection, PgPool,
    postgres::{PgConnectOptions, PgPoolOptions},
};
use std::{
    sync::{Arc, Weak, atomic::AtomicUsize},
    time::{Duration, Instant},
};
use thiserror::Error;
use tokio::{
    sync::{
        Notify,
        mpsc::{
            self,
            error::{SendTimeoutError, TrySendError},
        },
        oneshot, watch,
    },
    time::timeout,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use told::Told;
use tracing::{info, warn};

/// How to reach a database: see [`address`].
pub use sqlx::postgres::PgConnectOptions as ConnectOptions;

/// How many commits may wait for one committer.
const N_QUEUED_MAX: usize = 4096;
/// Connections that read whole entities: while one waits for the server, the other's answers are taken in.
const N_LOADERS: usize = 2;
/// How often the node looks whether it is still the only one.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// How long it waits for what it sees.
const LOOK_PATIENCE: Duration = Duration::from_secs(5);
/// How much longer than the server's own limit a read is waited for.
const GRACE: Duration = Duration::from_secs(1);
/// How often room is made for the next day's answers.
const DAYS_EVERY: Duration = Duration::from_secs(3600);
/// The session lock that says a node uses the database: alone, or with others of its cluster.
const NODE_LOCK: i64 = 0x6f75_7472_6964;
/// Most bytes of a member's name. Sessions are named after it, and Postgres cuts long names off.
const NODE_BYTES_MAX: usize = 43;

/// How the journal uses its database.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// How many write at once. Two keep a disk busy; more help where each write waits longer: four, eight or
    /// sixteen, for each has whole parts of the log, of which there are sixteen. A member of a cluster that is
    /// never given a shard has nothing to write, and needs none.
    pub committers: usize,
    /// How many connections only read.
    pub readers: u32,
    /// Commits that share a statement at most.
    pub batch_max: usize,
    /// How long a statement waits for more commits, when there were many a moment ago.
    #[serde(with = "humantime_serde")]
    pub linger: Duration,
    /// How long a statement may take before it counts as lost.
    #[serde(with = "humantime_serde")]
    pub patience: Duration,
    /// Whether opening brings the schema up to date; if not, an old one is refused.
    pub migrate: bool,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            committers: 2,
            readers: 8,
            batch_max: 512,
            linger: Duration::from_millis(2),
            patience: Duration::from_secs(5),
            migrate: true,
        }
    }
}

/// A few connections that write, some that read. Cloning shares them.
#[derive(Debug, Clone)]
pub struct PostgresJournal {
    committers: Arc<[mpsc::Sender<Request>]>,
    /// Who reads whole entities; nobody, if it only looks.
    loaders: Arc<[mpsc::Sender<Load>]>,
    shared: Arc<Shared>,
    readers: PgPool,
    /// Where one that writes nothing reads lists, every second the same ones; whoever asks for one meanwhile, and others, read them
    /// as all else.
    lists: Option<Arc<Line>>,
    closed: CancellationToken,
    tasks: TaskTracker,
    /// It only looks, at one snapshot, and has all the time there is.
    is_patient: bool,
}

/// Why a journal could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// Another node writes here.
    #[error("another node uses this database: stop it, or give this one a database of its own")]
    InUse,
    /// A node that is no member of a cluster writes here.
    #[error("a node that is alone uses this database: stop it, or make it a member of the cluster")]
    InUseAlone,
    /// Sessions cannot be named after the node.
    #[error(
        "{0:?} cannot be a member's name: 1 to {NODE_BYTES_MAX} of a-z, A-Z, 0-9, '-', '_' and '.'"
    )]
    NodeName(String),
    /// A pooler that forgets the session between statements.
    #[error(
        "sessions do not last on this address (a pooler in transaction mode?): connect to Postgres itself"
    )]
    NoSession,
    /// A newer build wrote here.
    #[error("the journal has schema {found}, this build knows {known}: use a newer build")]
    Newer {
        /// The version of the database.
        found: i64,
        /// The newest this build can read.
        known: i64,
    },
    /// An older build wrote here, and opening must not change that.
    #[error("the journal has schema {found}, this build needs {needed}: run `outrider migrate`")]
    Older {
        /// The version of the database.
        found: i64,
        /// What this build writes.
        needed: i64,
    },
    /// A newer build wrote events here that this one cannot read.
    #[error(
        "what is written here needs format {written}, this build reads up to {reads}: use a newer build"
    )]
    NewerFormat {
        /// What may be written already.
        written: i64,
        /// What this build reads.
        reads: i64,
    },
    /// Postgres itself is too old.
    #[error("the server is Postgres {major}, 15 or newer is needed", major = .found / 10_000)]
    OldServer {
        /// Its version, as it counts them.
        found: u32,
    },
    /// The URL of something else.
    #[error("not the URL of a Postgres database: it does not begin with postgresql://")]
    Scheme,
    /// Not the URL of a database.
    #[error("not the URL of a Postgres database: {0}")]
    Url(sqlx::Error),
    /// Postgres refused, or cannot be reached.
    #[error("cannot open the journal: {0}")]
    Database(#[from] sqlx::Error),
}

/// Reads `postgresql://user:password@host:5432/database?sslmode=verify-full`.
pub fn address(url: &str) -> Result<PgConnectOptions, OpenError> {
    if !["postgres://", "postgresql://"].iter().any(|it| url.starts_with(it)) {
        return Err(OpenError::Scheme);
    }
    url.parse().map_err(OpenError::Url)
}

/// Can a member of a cluster be called that? Its sessions are named after it.
pub fn is_member_name(name: &str) -> bool {
    let is_plain = |it: u8| it.is_ascii_alphanumeric() || b"-_.".contains(&it);
    (1..=NODE_BYTES_MAX).contains(&name.len()) && name.bytes().all(is_plain)
}

/// Brings the schema of a database up to date; returns the versions before and after.
pub async fn migrate(options: &PgConnectOptions) -> Result<(i64, i64), OpenError> {
    let mut connection = options.connect().await?;
    let versions = schema::migrate(&mut connection).await?;
    connection.close().await?;
    Ok(versions)
}

impl PostgresJournal {
    /// Opens the journal in a database, and takes all shards. `node` names this process in the
    /// database's own tables. Must be called within a tokio runtime.
    pub async fn open(
        options: PgConnectOptions,
        node: &str,
        settings: Settings,
    ) -> Result<Self, OpenError> {
        let (journal, _) =
            Self::open_as(Role::Alone, options, node, settings).await.map_err(unless_shared)?;
        Ok(journal)
    }

    /// Opens the journal for a member of a cluster, beside others. It owns no shard before its arbiter
    /// gives it some. `node` is the name it registers under. Must be called within a tokio runtime.
    pub async fn open_member(
        options: PgConnectOptions,
        node: &str,
        settings: Settings,
    ) -> Result<(Self, PostgresArbiter), OpenError> {
        if !is_member_name(node) {
            return Err(OpenError::NodeName(node.to_owned()));
        }
        let (journal, session) = Self::open_as(Role::Member, options.clone(), node, settings)
            .await
            .map_err(unless_shared)?;
        let options = reading(&options, &session, settings);
        let arbiter = PostgresArbiter::new(Arc::clone(&journal.shared), options);
        Ok((journal, arbiter))
    }

    /// Returns what its sessions are called, too.
    async fn open_as(
        role: Role,
        options: PgConnectOptions,
        node: &str,
        settings: Settings,
    ) -> Result<(Self, String), OpenError> {
        let mut first = reading(&options, node, settings).connect().await?;
        let found = schema::version(&mut first).await?;
        if settings.migrate {
            schema::migrate(&mut first).await?;
        } else if found < schema::VERSION {
            return Err(OpenError::Older { found, needed: schema::VERSION });
        }
        reserve(&mut first, role).await?;
        prove_session(&mut first, &options).await?;
        if let Err(error) = schema::make_days(&mut first, now()).await {
            // Answers are kept all the same, only not by day yet.
            warn!(%error, "no room made for today's answers");
        }
        let incarnation: i64 =
            sqlx::query_scalar("SELECT nextval('incarnations')").fetch_one(&mut first).await?;
        let session = match role {
            Role::Alone => node.to_owned(),
            Role::Member => arbiter::session(node, incarnation),
        };
        sqlx::query("SELECT set_config('application_name', $1, false)")
            .bind(&session)
            .execute(&mut first)
            .await?;
        let n_committers = match role {
            Role::Alone => settings.committers.clamp(1, 64),
            Role::Member => settings.committers.min(64),
        };
        let shares = Shares::read(&mut first, n_committers).await?;
        heads::make_fences(&mut first, incarnation, &shares).await?;
        let ownership = Ownership::new(node.to_owned(), incarnation);
        if role == Role::Alone {
            ownership.take_all(&mut first, now()).await?;
        }

        let shared = Arc::new(Shared {
            options: writing(&options, &session, settings),
            ownership,
            role,
            told: Told::default(),
            horizon: Horizon::default(),
            forgotten: Default::default(),
            shares,
            has_told: (0..n_committers).map(|_| Notify::new()).collect(),
            committed: watch::Sender::new(0),
            n_away: AtomicUsize::new(0),
            reachable: watch::Sender::new(true),
            settings,
        });
        let readers = answering(PgPoolOptions::new(), settings.patience + GRACE)
            .max_connections(settings.readers.max(1))
            .acquire_timeout(Duration::from_secs(1))
            .connect_lazy_with(reading(&options, &session, settings));
        let lists = (n_committers == 0)
            .then(|| Arc::new(Line::new(reading(&options, &session, settings), None)));
        let (mut committers, tasks) = (Vec::new(), TaskTracker::new());
        let closed = CancellationToken::new();
        // Planned as what commits is: the tables of a first start are empty.
        let patience = settings.patience + GRACE;
        let connections = answering(PgPoolOptions::new(), patience)
            .max_connections(N_LOADERS as u32)
            .acquire_timeout(Duration::from_secs(1))
            .connect_lazy_with(writing(&options, &session, settings));
        let loaders = (0..N_LOADERS).map(|_| {
            let (asks, loads) = mpsc::channel(N_QUEUED_MAX);
            let closed = closed.clone();
            drop(tasks.spawn(loader::run(connections.clone(), loads, patience, closed)));
            asks
        });
        let loaders = loaders.collect();
        for stripe in 1..=n_committers as i16 {
            let (requests, queue) = mpsc::channel(N_QUEUED_MAX);
            let connection = shared.options.connect().await?;
            let committer = Committer::new(Arc::clone(&shared), queue, connection, stripe);
            drop(tasks.spawn(committer.run()));
            committers.push(requests);
        }
        if role == Role::Alone {
            say_format(&mut first).await?;
        }
        let journal = Self {
            committers: committers.into(),
            loaders,
            shared,
            readers,
            lists,
            closed,
            tasks,
            is_patient: false,
        };
        drop(journal.tasks.spawn(keep_watch(
            first,
            role,
            reading(&options, &session, settings),
            journal.closed.clone(),
            Arc::downgrade(&journal.committers),
        )));
        Ok((journal, session))
    }

    /// Sees the journal as it is at this moment, whatever is committed meanwhile, and writes nothing:
    /// for checks and exports beside a running node. Commits are fenced.
    pub async fn look(options: PgConnectOptions, node: &str) -> Result<Self, OpenError> {
        let settings = Settings { committers: 0, readers: 1, ..Settings::default() };
        let options = options.clone().application_name(node).disable_statement_logging();
        let mut first = options.connect().await?;
        let found = schema::version(&mut first).await?;
        if found < schema::VERSION {
            return Err(OpenError::Older { found, needed: schema::VERSION });
        }
        first.close().await?;
        // One connection, and one transaction for as long as it lasts: one view of everything.
        let readers = PgPoolOptions::new()
            .max_connections(1)
            .idle_timeout(None)
            .max_lifetime(None)
            .after_connect(|connection, _| {
                Box::pin(async move {
                    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
                    sqlx::raw_sql(begin).execute(connection).await.map(drop)
                })
            })
            .connect_with(options.clone())
            .await?;
        let shared = Arc::new(Shared {
            options,
            ownership: Ownership::new(node.to_owned(), 0),
            role: Role::Alone,
            told: Told::default(),
            horizon: Horizon::default(),
            forgotten: Default::default(),
            shares: Shares::none(),
            has_told: Box::default(),
            committed: watch::Sender::new(0),
            n_away: AtomicUsize::new(0),
            reachable: watch::Sender::new(true),
            settings,
        });
        let tasks = TaskTracker::new();
        let closed = CancellationToken::new();
        let (lists, is_patient) = (None, true);
        let (committers, loaders) = (Arc::default(), Arc::default());
        Ok(Self { committers, loaders, shared, readers, lists, closed, tasks, is_patient })
    }

    /// Refuses reads that could miss a commit of ours whose fate is open.
    fn readable(&self, entity: Option<EntityKey>) -> Result<(), JournalError> {
        if self.closed.is_cancelled() {
            return Err(JournalError::Unavailable("closed".into()));
        }
        if self.shared.is_away() {
            return Err(JournalError::Unavailable("the database is away".into()));
        }
        match entity.filter(|entity| self.shared.ownership.is_ambiguous(entity.shard())) {
            Some(entity) => {
                let said = format!("what was written to {} is not known yet", entity.shard());
                Err(JournalError::Unavailable(said))
            }
            None => Ok(()),
        }
    }

    /// The same for what entities of these shards have left in the outbox.
    fn told(&self, shards: &ShardSet) -> Result<(), JournalError> {
        match shards.iter().find(|shard| self.shared.ownership.is_ambiguous(*shard)) {
            Some(shard) => {
                let said = format!("what was written to {shard} is not known yet");
                Err(JournalError::Unavailable(said))
            }
            None => Ok(()),
        }
    }

    /// Waits for a read as long as it may wait for a connection and then for the server, which gives up by
    /// itself; a connection whose other end is gone never would. Who only looks has all the time there is.
    fn bounded<'a, T: Send + 'a>(
        &'a self,
        read: impl Future<Output = Result<T, JournalError>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, JournalError>> {
        if self.is_patient {
            return read.boxed();
        }
        let late = |_| Err(JournalError::Unavailable("no answer in time".into()));
        timeout(2 * self.shared.settings.patience + GRACE, read)
            .map(move |read| read.unwrap_or_else(late))
            .boxed()
    }

    async fn ask_loader(&self, entity: EntityKey) -> Result<Stored, JournalError> {
        let lost = || JournalError::Unavailable("closed".into());
        let Some(nth) = usize::from(entity.shard().0).checked_rem(self.loaders.len()) else {
            return read::load(&self.readers, &[entity]).await?.pop().ok_or_else(lost);
        };
        let (reply, answer) = oneshot::channel();
        let asked = self.loaders[nth].send(Load { entity, reply }).await;
        asked.map_err(|_| lost())?;
        answer.await.map_err(|_| lost())?
    }

    async fn enqueue(
        &self,
        write: Write,
        answer: oneshot::Receiver<Result<(), CommitError>>,
    ) -> Result<(), CommitError> {
        rules::sound(&write.commit)?;
        if self.closed.is_cancelled() {
            return Err(CommitError::Unavailable("closed".into()));
        }
        if self.shared.ownership.is_restoring() {
            // Apart, for it is large and hardly ever happens: a future is moved with all it may become.
            Box::pin(records::end_restoring(&self.readers, &self.shared.ownership))
                .await
                .map_err(|error| CommitError::Unavailable(error.to_string()))?;
        }
        let shard = write.commit.entity.shard();
        if self.shared.ownership.is_ambiguous(shard) {
            return Err(CommitError::Unavailable("the database is away".into()));
        }
        let Some(committer) = self.shared.committer(shard) else {
            return Err(CommitError::Fenced { shard });
        };
        let began = Instant::now();
        let committer = &self.committers[committer];
        if let Err(full) = committer.try_send(Request::Commit(write)) {
            Box::pin(wait_in_line(committer, full, self.shared.settings.patience)).await?;
        }
        let outcome = answer
            .await
            .unwrap_or_else(|_| Err(CommitError::Unknown("the committer is gone".into())));
        metrics::histogram!("outrider_journal_commit_seconds").record(began.elapsed());
        outcome
    }
}

/// Waits for room in a committer's queue, for a while.
async fn wait_in_line(
    committer: &mpsc::Sender<Request>,
    full: TrySendError<Request>,
    patience: Duration,
) -> Result<(), CommitError> {
    let TrySendError::Full(request) = full else {
        return Err(CommitError::Unavailable("closed".into()));
    };
    committer.send_timeout(request, patience).await.map_err(|error| match error {
        SendTimeoutError::Timeout(_) => {
            CommitError::Unavailable(format!("{N_QUEUED_MAX} commits are waiting"))
        }
        SendTimeoutError::Closed(_) => CommitError::Unavailable("closed".into()),
    })
}

/// What holds for every connection. One that is lost must not hold a lock for long.
fn reading(options: &PgConnectOptions, node: &str, settings: Settings) -> PgConnectOptions {
    let patience = settings.patience.as_millis().to_string();
    options
        .clone()
        .application_name(node)
        .options([
            // The fence stands on a lock that is taken and then looked at again: no snapshot isolation.
            ("default_transaction_isolation", "read committed"),
            ("statement_timeout", patience.as_str()),
            ("idle_in_transaction_session_timeout", patience.as_str()),
            ("jit", "off"),
        ])
        .disable_statement_logging()
}

/// A pool in which a connection that does not answer any more makes room for another. `within` is longer
/// than what the server may still be doing for whoever had it.
fn answering(options: PgPoolOptions, within: Duration) -> PgPoolOptions {
    options.after_release(move |connection, _| {
        Box::pin(async move {
            let late = |_| Err(sqlx::Error::PoolTimedOut);
            timeout(within, connection.ping()).await.unwrap_or_else(late).map(|()| true)
        })
    })
}

/// The one statement is planned once, for tables as they will be and not for the empty ones of a
/// first start: by index, always.
fn writing(options: &PgConnectOptions, node: &str, settings: Settings) -> PgConnectOptions {
    reading(options, node, settings).options([
        ("plan_cache_mode", "force_generic_plan"),
        ("enable_seqscan", "off"),
        ("enable_mergejoin", "off"),
    ])
}

/// How a node uses the database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Role {
    /// With nobody else.
    Alone,
    /// With the other members of its cluster.
    Member,
}

/// Says that a node uses the database, and makes sure that saying so lasts.
async fn reserve(connection: &mut PgConnection, role: Role) -> Result<(), OpenError> {
    let (lock, in_use) = match role {
        Role::Alone => ("SELECT pg_try_advisory_lock($1)", OpenError::InUse),
        // Members do not keep each other out, only one that is alone.
        Role::Member => ("SELECT pg_try_advisory_lock_shared($1)", OpenError::InUseAlone),
    };
    let is_ours: bool =
        sqlx::query_scalar(lock).bind(NODE_LOCK).fetch_one(&mut *connection).await?;
    if !is_ours {
        return Err(in_use);
    }
    let lasts: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM pg_locks WHERE locktype = 'advisory' AND pid = pg_backend_pid())",
    )
    .fetch_one(&mut *connection)
    .await?;
    if lasts { Ok(()) } else { Err(OpenError::NoSession) }
}

/// Says which format a node that is alone writes from now on, for whoever comes after it. A member leaves
/// that to its cluster.
async fn say_format(connection: &mut PgConnection) -> Result<(), OpenError> {
    const RAISE: &str = "UPDATE cluster_facts SET value = greatest(value, $1) \
                         WHERE name = 'writes' RETURNING value";
    let writes = i64::from(Format::WRITES.0);
    let written: i64 = sqlx::query_scalar(RAISE).bind(writes).fetch_one(connection).await?;
    let reads = i64::from(Format::READS.0);
    if written <= reads { Ok(()) } else { Err(OpenError::NewerFormat { written, reads }) }
}

/// Makes sure that what is said on one connection after the other is heard by one server process. A
/// pooler that is asked by one client at a time looks as if it were so: a second holds a process for
/// as long as the first is asked again.
async fn prove_session(
    connection: &mut PgConnection,
    options: &PgConnectOptions,
) -> Result<(), OpenError> {
    const WHO: &str = "SELECT pg_backend_pid()";
    let before: i32 = sqlx::query_scalar(WHO).fetch_one(&mut *connection).await?;
    let mut second = options.clone().disable_statement_logging().connect().await?;
    let mut held = second.begin().await?;
    let other: i32 = sqlx::query_scalar(WHO).fetch_one(&mut *held).await?;
    if other == before {
        return Err(OpenError::NoSession);
    }
    let after: i32 = sqlx::query_scalar(WHO).fetch_one(&mut *connection).await?;
    held.rollback().await?;
    second.close().await?;
    if after == before { Ok(()) } else { Err(OpenError::NoSession) }
}

/// Statements are prepared in sessions. One that is there before it was prepared, or is not there
/// after it was, says that a pooler lets several of us share one: trying again would not help.
fn unless_shared(error: OpenError) -> OpenError {
    const ALREADY_THERE: &str = "42P05";
    const NOT_THERE: &str = "26000";
    let OpenError::Database(sqlx::Error::Database(said)) = &error else { return error };
    match said.code().as_deref() {
        Some(ALREADY_THERE | NOT_THERE) => OpenError::NoSession,
        Some(_) | None => error,
    }
}

/// Holds the reservation, anew after the connection was lost, and makes room for days to come.
async fn keep_watch(
    connection: PgConnection,
    role: Role,
    options: PgConnectOptions,
    closed: CancellationToken,
    journal: Weak<[mpsc::Sender<Request>]>,
) {
    let mut connection = Some(connection);
    let mut days_made = Instant::now();
    let mut every = tokio::time::interval(LOOK_EVERY);
    while journal.strong_count() > 0 {
        tokio::select! {
            _ = every.tick() => {}
            () = closed.cancelled() => break,
        }
        let outcome = match &mut connection {
            Some(connection) => in_time(connection.ping()).await,
            None => match in_time(options.connect()).await {
                Ok(mut again) => {
                    if let Err(error) = reserve(&mut again, role).await {
                        warn!(%error, "the database is not reserved for this node");
                    } else {
                        info!("the database is back");
                        connection = Some(again);
                    }
                    Ok(())
                }
                Err(error) => Err(error),
            },
        };
        if let Err(error) = outcome {
            warn!(%error, "the database is away");
            connection = None;
        }
        if let Some(connection) = connection.as_mut().filter(|_| days_made.elapsed() > DAYS_EVERY) {
            match schema::make_days(connection, now()).await {
                Ok(()) => days_made = Instant::now(),
                Err(error) => warn!(%error, "no room made for tomorrow's answers"),
            }
        }
    }
    if let Some(mut connection) = connection {
        // The server would notice that we are gone a moment too late for whoever opens next.
        let unlock = "SELECT pg_advisory_unlock_all()";
        in_time(sqlx::raw_sql(unlock).execute(&mut connection)).await.ok();
        in_time(connection.close()).await.ok();
    }
}

/// One that does not answer must not keep us from leaving.
async fn in_time<T>(asked: impl Future<Output = sqlx::Result<T>>) -> sqlx::Result<T> {
    timeout(LOOK_PATIENCE, asked).await.unwrap_or(Err(sqlx::Error::PoolTimedOut))
}

impl Journal for PostgresJournal {
    fn load(&self, entity: EntityKey) -> BoxFuture<'_, Result<Stored, JournalError>> {
        self.bounded(async move {
            self.readable(Some(entity))?;
            let stored = self.ask_loader(entity).await?;
            // It may have become so while we were reading.
            self.readable(Some(entity))?;
            Ok(stored)
        })
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<(), CommitError>> {
        let (ack, answer) = oneshot::channel();
        self.enqueue(Write::new(commit, ack), answer).boxed()
    }

    fn result(
        &self,
        entity: EntityKey,
        command: CommandId,
    ) -> BoxFuture<'_, Result<Option<Vec<u8>>, JournalError>> {
        self.bounded(async move {
            self.readable(Some(entity))?;
            read::result(&self.readers, entity, command).await
        })
    }

    fn undelivered(
        &self,
        shards: &ShardSet,
        after: Option<OutboxPosition>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<OutboxRow>, JournalError>> {
        let shards = *shards;
        let mut pass = Pass::new(shards, after, limit, read::N_UNDELIVERED_MAX);
        async move {
            self.told(&shards)?;
            while !pass.is_over() {
                self.bounded(pass.go_on(&self.readers, &self.shared)).await?;
            }
            self.told(&shards)?;
            Ok(pass.rows())
        }
        .boxed()
    }

    fn delivered(&self, effects: Vec<EffectKey>) -> BoxFuture<'_, Result<(), JournalError>> {
        async move {
            self.readable(None)?;
            self.shared.tell(effects);
            Ok(())
        }
        .boxed()
    }

    fn deadlines(
        &self,
        shards: &ShardSet,
        until: Timestamp,
        after: Option<(Timestamp, EntityKey)>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Timestamp, EntityKey)>, JournalError>> {
        self.bounded(read::deadlines(&self.readers, *shards, until, after, limit))
    }

    fn keep(&self, shelf: Shelf, bytes: Vec<u8>) -> BoxFuture<'_, Result<(), CommitError>> {
        async move {
            self.readable(None).map_err(|error| CommitError::Unavailable(error.to_string()))?;
            let keeping = shelves::keep(&self.readers, &self.shared, shelf, bytes);
            let late = |_| Err(CommitError::Unknown("no answer in time".into()));
            timeout(2 * self.shared.settings.patience + GRACE, keeping).await.unwrap_or_else(late)
        }
        .boxed()
    }

    fn kept(&self, shelf: Shelf) -> BoxFuture<'_, Result<Option<Vec<u8>>, JournalError>> {
        self.bounded(async move {
            self.readable(None)?;
            shelves::kept(&self.readers, shelf).await
        })
    }

    fn holder(&self, claim: Claim) -> BoxFuture<'_, Result<Option<EntityKey>, JournalError>> {
        self.bounded(read::holder(&self.readers, claim))
    }

    fn history(
        &self,
        entity: EntityKey,
        after: Version,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Recorded>, JournalError>> {
        self.bounded(read::history(&self.readers, entity, after, limit))
    }

    fn views(&self, query: ViewQuery) -> BoxFuture<'_, Result<List, JournalError>> {
        let only = |mut lists: Vec<List>| lists.pop().unwrap_or_default();
        self.lists(vec![query]).map(move |lists| lists.map(only)).boxed()
    }

    fn lists(&self, queries: Vec<ViewQuery>) -> BoxFuture<'_, Result<Vec<List>, JournalError>> {
        if queries.is_empty() {
            return ready(Ok(Vec::new())).boxed();
        }
        self.bounded(async move {
            let Some(line) = &self.lists else {
                return read::lists(&self.readers, &queries).await;
            };
            self.readable(None)?;
            let (line, asked) = (Arc::clone(line), queries.clone());
            let within = 2 * self.shared.settings.patience + GRACE;
            // To its end, whoever waits for it: the server goes on with what is given up, and the next list would be read on yet
            // another connection.
            let reading =
                tokio::spawn(async move { timeout(within, read::lists_on(&line, &asked)).await });
            match reading.await {
                Ok(Ok(Some(lists))) => lists,
                Ok(Ok(None)) => read::lists(&self.readers, &queries).await,
                Ok(Err(_)) | Err(_) => Err(JournalError::Unavailable("no answer in time".into())),
            }
        })
    }

    fn balance(
        &self,
        account: String,
        currency: Currency,
    ) -> BoxFuture<'_, Result<i64, JournalError>> {
        self.bounded(read::balance(&self.readers, account, currency))
    }

    fn feed(
        &self,
        after: FeedCursor,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<FeedEvent>, JournalError>> {
        self.bounded(read::feed(&self.readers, &self.shared, after, limit))
    }

    fn watch(&self) -> watch::Receiver<u64> {
        self.shared.committed.subscribe()
    }

    fn reachable(&self) -> Option<watch::Receiver<bool>> {
        Some(self.shared.reachable.subscribe())
    }

    fn dump(
        &self,
        part: Part,
        after: Option<Record>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Record>, JournalError>> {
        let is_snapshot = self.is_patient;
        self.bounded(records::dump(&self.readers, &self.shared, is_snapshot, part, after, limit))
    }

    fn restore(&self, records: Vec<Record>) -> BoxFuture<'_, Result<(), RestoreError>> {
        if self.shared.role == Role::Member {
            let refused = "records are not restored into a cluster that runs".to_owned();
            return ready(Err(JournalError::Unavailable(refused).into())).boxed();
        }
        records::restore(&self.readers, &self.shared.ownership, records).boxed()
    }

    fn forget_results(&self, before: Timestamp) -> BoxFuture<'_, Result<Forgotten, JournalError>> {
        async move {
            let mut connection = self.readers.acquire().await?;
            Ok(schema::forget_results(&mut connection, before).await?)
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), JournalError>> {
        async move {
            self.closed.cancel();
            let closing = self.committers.iter().map(|committer| async move {
                let (closed, is_closed) = oneshot::channel();
                // Whoever closed it before sent the same.
                if committer.send(Request::Close(closed)).await.is_ok() {
                    is_closed.await.ok();
                }
            });
            join_all(closing).await;
            self.tasks.close();
            self.tasks.wait().await;
            // A read that is never answered is not waited for.
            timeout(self.shared.settings.patience, self.readers.close()).await.ok();
            Ok(())
        }
        .boxed()
    }
}

/// Milliseconds as Postgres counts them. The last moment it knows is 292 million years away.
fn millis(at: Timestamp) -> i64 {
    i64::try_from(at.0).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
