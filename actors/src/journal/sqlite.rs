//! A journal in one SQLite database: what a single node keeps its commits in.
//!
//! ```text
//!  entities ──commit──▶ bounded queue ──up to 512──▶ writer ──one transaction, one sync──▶ file
//!      ▲                                                │                                    │
//!      └──────────────────── ack ───────────────────────┘        4 readers ◀──── load ───────┘
//! ```
//!
//! Group commit is worth a factor of 20 to 60: a sync costs the same for one commit as for 512. What somebody
//! waits for who looks for a driver comes first, and then no more than 128 share one: see `writer.rs`.

mod batch;
mod read;
mod records;
mod schema;
mod writer;

use super::{
    CommitError, EffectKey, FeedCursor, FeedEvent, Forgotten, Journal, JournalError,
    OutboxPosition, OutboxRow, Part, Record, Recorded, RestoreError, Shelf, Stored, ViewQuery,
};
use crate::{Claim, Commit, EntityKey, Version, ViewRow};
use futures_util::future::{BoxFuture, FutureExt};
use protocol::{CommandId, Currency, ShardSet, Timestamp};
use sqlx::{
    ConnectOptions, SqlitePool,
    sqlite::{SqliteConnectOptions, SqliteJournalMode, SqlitePoolOptions, SqliteSynchronous},
};
use std::{
    fs::{self, File, TryLockError},
    io,
    path::{Path, PathBuf},
    time::{Duration, Instant},
};
use thiserror::Error;
use tokio::sync::{
    mpsc::{self, error::SendTimeoutError},
    oneshot, watch,
};
use writer::{Birth, Request, Write};

/// How many requests may wait for the writer.
const N_QUEUED_MAX: usize = 4096;
/// How long a request waits for a place in the queue before it is refused.
const QUEUE_PATIENCE: Duration = Duration::from_secs(5);
/// How long SQLite waits for a lock that another program (a backup, a shell) holds.
const BUSY_TIMEOUT: Duration = Duration::from_secs(5);
/// Connections that only read.
const N_READERS: u32 = 4;
/// The file whose lock says that a node uses the directory.
const LOCK: &str = "journal.lock";
/// The database.
const DATABASE: &str = "journal.sqlite";

/// One database file, one writer, four readers. Cloning shares them.
#[derive(Debug, Clone)]
pub struct SqliteJournal {
    requests: mpsc::Sender<Request>,
    readers: SqlitePool,
    n_grown: watch::Receiver<u64>,
}

/// Why a journal could not be opened.
#[derive(Debug, Error)]
pub enum OpenError {
    /// The directory cannot be made, or the lock file in it.
    #[error("cannot use {} for the journal", .directory.display())]
    Directory {
        /// Which.
        directory: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// Another node writes here.
    #[error("{} is in use by another node: stop it, or give this one a directory of its own", .0.display())]
    InUse(PathBuf),
    /// A newer build wrote here.
    #[error("the journal has schema {found}, this build knows {known}: use a newer build")]
    Newer {
        /// The version of the database.
        found: i64,
        /// The newest this build can read.
        known: i64,
    },
    /// The system gives it no thread.
    #[error("cannot start the thread that writes the journal")]
    Thread(#[source] io::Error),
    /// SQLite refused.
    #[error("cannot open the journal")]
    Database(#[from] sqlx::Error),
}

impl SqliteJournal {
    /// Opens the journal in `directory`, which is made if it does not exist. Must be called within
    /// a tokio runtime. The writer has a thread of its own until the last clone is gone.
    pub async fn open(directory: impl AsRef<Path>) -> Result<Self, OpenError> {
        let directory = directory.as_ref();
        let lock = lock(directory)?;
        // Foreign keys keep postings at zero; nothing else refers to another table's row.
        let options = SqliteConnectOptions::new()
            .filename(directory.join(DATABASE))
            .create_if_missing(true)
            .journal_mode(SqliteJournalMode::Wal)
            .synchronous(SqliteSynchronous::Full)
            .foreign_keys(true)
            .busy_timeout(BUSY_TIMEOUT)
            // A hundred commits of as many entities touch a thousand pages here and there, most of them again in the next
            // transaction. A checkpoint writes each once, so one of 128 MiB writes a fraction of what eight of 16 MiB do.
            .pragma("wal_autocheckpoint", "32768")
            .pragma("temp_store", "MEMORY")
            .statement_cache_capacity(batch::N_STATEMENTS_MAX)
            .disable_statement_logging();
        let mut connection = options.clone().pragma("cache_size", "-65536").connect().await?;
        schema::migrate(&mut connection).await?;
        let epoch = schema::begin_epoch(&mut connection).await?;
        let readers = SqlitePoolOptions::new()
            .max_connections(N_READERS)
            .acquire_timeout(BUSY_TIMEOUT)
            .test_before_acquire(false)
            .connect_lazy_with(options.clone().pragma("query_only", "ON"));
        let (requests, queue) = mpsc::channel(N_QUEUED_MAX);
        let (n_grown, grown) = watch::channel(0);
        let birth = Birth {
            options,
            connection,
            readers: readers.clone(),
            requests: queue,
            epoch,
            n_grown,
            lock,
        };
        writer::start(birth).map_err(OpenError::Thread)?;
        Ok(Self { requests, readers, n_grown: grown })
    }

    async fn send(&self, request: Request) -> Result<(), String> {
        self.requests.send_timeout(request, QUEUE_PATIENCE).await.map_err(|error| match error {
            SendTimeoutError::Timeout(_) => format!("{N_QUEUED_MAX} writes are waiting"),
            SendTimeoutError::Closed(_) => "closed".into(),
        })
    }
}

impl Journal for SqliteJournal {
    fn load(&self, entity: EntityKey) -> BoxFuture<'_, Result<Stored, JournalError>> {
        read::load(&self.readers, entity).boxed()
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<(), CommitError>> {
        async move {
            let began = Instant::now();
            let (ack, answer) = oneshot::channel();
            self.send(Request::Commit(Box::new(Write::new(commit, ack))))
                .await
                .map_err(CommitError::Unavailable)?;
            let outcome = answer
                .await
                .unwrap_or_else(|_| Err(CommitError::Unknown("the writer is gone".into())));
            metrics::histogram!("outrider_journal_commit_seconds").record(began.elapsed());
            outcome
        }
        .boxed()
    }

    fn result(
        &self,
        entity: EntityKey,
        command: CommandId,
    ) -> BoxFuture<'_, Result<Option<Vec<u8>>, JournalError>> {
        read::result(&self.readers, entity, command).boxed()
    }

    fn undelivered(
        &self,
        shards: &ShardSet,
        after: Option<OutboxPosition>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<OutboxRow>, JournalError>> {
        read::undelivered(&self.readers, *shards, after, limit).boxed()
    }

    fn delivered(&self, effects: Vec<EffectKey>) -> BoxFuture<'_, Result<(), JournalError>> {
        async move {
            self.send(Request::Delivered(effects)).await.map_err(JournalError::Unavailable)
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
        read::deadlines(&self.readers, *shards, until, after, limit).boxed()
    }

    fn keep(&self, shelf: Shelf, bytes: Vec<u8>) -> BoxFuture<'_, Result<(), CommitError>> {
        async move {
            let (ack, answer) = oneshot::channel();
            self.send(Request::Keep(shelf, bytes, ack)).await.map_err(CommitError::Unavailable)?;
            answer.await.unwrap_or_else(|_| Err(CommitError::Unknown("the writer is gone".into())))
        }
        .boxed()
    }

    fn kept(&self, shelf: Shelf) -> BoxFuture<'_, Result<Option<Vec<u8>>, JournalError>> {
        read::kept(&self.readers, shelf).boxed()
    }

    fn holder(&self, claim: Claim) -> BoxFuture<'_, Result<Option<EntityKey>, JournalError>> {
        read::holder(&self.readers, claim).boxed()
    }

    fn history(
        &self,
        entity: EntityKey,
        after: Version,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Recorded>, JournalError>> {
        read::history(&self.readers, entity, after, limit).boxed()
    }

    fn views(
        &self,
        query: ViewQuery,
    ) -> BoxFuture<'_, Result<Vec<(EntityKey, ViewRow)>, JournalError>> {
        read::views(&self.readers, query).boxed()
    }

    fn balance(
        &self,
        account: String,
        currency: Currency,
    ) -> BoxFuture<'_, Result<i64, JournalError>> {
        read::balance(&self.readers, account, currency).boxed()
    }

    fn feed(
        &self,
        after: FeedCursor,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<FeedEvent>, JournalError>> {
        records::feed(&self.readers, after, limit).boxed()
    }

    fn watch(&self) -> watch::Receiver<u64> {
        self.n_grown.clone()
    }

    fn dump(
        &self,
        part: Part,
        after: Option<Record>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Record>, JournalError>> {
        records::dump(&self.readers, part, after, limit).boxed()
    }

    fn restore(&self, records: Vec<Record>) -> BoxFuture<'_, Result<(), RestoreError>> {
        async move {
            let (ack, answer) = oneshot::channel();
            self.send(Request::Restore(records, ack)).await.map_err(JournalError::Unavailable)?;
            let gone = |_| Err(JournalError::Unavailable("the writer is gone".into()).into());
            answer.await.unwrap_or_else(gone)
        }
        .boxed()
    }

    fn forget_results(&self, before: Timestamp) -> BoxFuture<'_, Result<Forgotten, JournalError>> {
        async move {
            let (ack, answer) = oneshot::channel();
            self.send(Request::ForgetResults(before, ack))
                .await
                .map_err(JournalError::Unavailable)?;
            let gone = |_| Err(JournalError::Unavailable("the writer is gone".into()));
            let n_rows = answer.await.unwrap_or_else(gone)?;
            Ok(Forgotten { n_rows, ..Forgotten::default() })
        }
        .boxed()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), JournalError>> {
        async move {
            let (ack, answer) = oneshot::channel();
            if self.send(Request::Close(ack)).await.is_err() {
                // Someone else closed it; wait until that is done.
                self.requests.closed().await;
                return Ok(());
            }
            answer
                .await
                .unwrap_or_else(|_| Err(JournalError::Unavailable("the writer is gone".into())))
        }
        .boxed()
    }
}

/// Makes the directory ours until the file is dropped.
fn lock(directory: &Path) -> Result<File, OpenError> {
    let failed = |source| OpenError::Directory { directory: directory.into(), source };
    fs::create_dir_all(directory).map_err(failed)?;
    let file = File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(directory.join(LOCK))
        .map_err(failed)?;
    match file.try_lock() {
        Ok(()) => Ok(file),
        Err(TryLockError::WouldBlock) => Err(OpenError::InUse(directory.into())),
        Err(TryLockError::Error(source)) => Err(failed(source)),
    }
}

impl From<sqlx::Error> for JournalError {
    fn from(error: sqlx::Error) -> Self {
        Self::Unavailable(error.to_string())
    }
}

/// Milliseconds as SQLite counts them. The last moment it knows is 292 million years away.
fn millis(at: Timestamp) -> i64 {
    i64::try_from(at.0).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests;
