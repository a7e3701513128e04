//! The only one who writes: takes what waits, writes it in one transaction, then answers.

use super::{
    batch::{self, Batch},
    records, schema,
};
use crate::{
    Commit,
    journal::{CommitError, EffectKey, JournalError, Record, RestoreError, Shelf},
};
use futures_util::FutureExt;
use protocol::Timestamp;
use sqlx::{
    ConnectOptions, Connection, SqliteConnection, SqlitePool, error::ErrorKind,
    sqlite::SqliteConnectOptions,
};
use std::{collections::VecDeque, fs::File, io, thread, time::Duration};
use tokio::{
    runtime,
    sync::{mpsc, oneshot, watch},
    time::{Instant, timeout_at},
};
use tracing::warn;

/// Commits that share a transaction at most…
const N_BATCH_MAX: usize = 512;
/// …and while some come that are to come first: whoever comes next waits for all of them. A sync costs as much
/// as a few commits, so that it is still shared by enough.
const N_BATCH_SWIFT_MAX: usize = 128;
/// For how long after one that came first another one is expected.
const SWIFT_FOR: Duration = Duration::from_secs(1);
/// One in so many of a transaction is left to those that do not come first, so that they come at all.
const OTHERS_SHARE: usize = 4;
/// Commits that wait here at most. The rest waits in the queue, where nobody comes before others.
const N_WAITING_MAX: usize = 4096;
/// How long a delivery may wait for a commit to share its transaction with.
const DELIVERY_PATIENCE: Duration = Duration::from_millis(50);
/// How many deliveries may wait.
const N_DELIVERIES_MAX: usize = 4096;
/// How long deliveries wait after a transaction that failed.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Results forgotten per transaction: a day's worth at once would stall every commit.
const N_FORGOTTEN_MAX: i64 = 2000;

/// Puts something on a shelf, in the place of what was there.
const KEEP: &str = "INSERT INTO shelves (shard, name, epoch, bytes) VALUES (?, ?, ?, ?)
    ON CONFLICT (shard, name) DO UPDATE SET epoch = excluded.epoch, bytes = excluded.bytes";

/// What the writer is asked to do.
#[derive(Debug)]
pub(super) enum Request {
    Commit(Box<Write>),
    /// Nobody waits for this.
    Delivered(Vec<EffectKey>),
    Keep(Shelf, Vec<u8>, oneshot::Sender<Result<(), CommitError>>),
    ForgetResults(Timestamp, oneshot::Sender<Result<u64, JournalError>>),
    Restore(Vec<Record>, oneshot::Sender<Result<(), RestoreError>>),
    Close(oneshot::Sender<Result<(), JournalError>>),
}

/// A commit, and who waits for it.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) commit: Commit,
    /// The body of the view as text, made by the caller so that the writer need not.
    pub(super) body: Option<String>,
    ack: oneshot::Sender<Result<(), CommitError>>,
}

impl Write {
    pub(super) fn new(commit: Commit, ack: oneshot::Sender<Result<(), CommitError>>) -> Self {
        let body = commit.view.as_ref().map(|row| row.body.to_string());
        Self { commit, body, ack }
    }
}

/// Commits that wait for a transaction.
#[derive(Debug, Default)]
struct Waiting {
    first: VecDeque<Write>,
    others: VecDeque<Write>,
    /// When there last was one that comes first.
    first_at: Option<Instant>,
}

impl Waiting {
    fn len(&self) -> usize {
        self.first.len() + self.others.len()
    }

    fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn push(&mut self, write: Write, now: Instant) {
        let Commit { comes_first, entity, .. } = write.commit;
        if comes_first {
            self.first_at = Some(now);
        }
        // Whoever fell while it waited for a commit has a successor, which must not come before that: all that waits of
        // one entity waits in one queue.
        let has_some = |queue: &VecDeque<Write>| queue.iter().any(|it| it.commit.entity == entity);
        if has_some(&self.first) || (comes_first && !has_some(&self.others)) {
            self.first.push_back(write);
        } else {
            self.others.push_back(write);
        }
    }

    /// Those of the next transaction.
    fn take(&mut self, now: Instant) -> Vec<Write> {
        let is_swift = self.first_at.is_some_and(|at| now < at + SWIFT_FOR);
        let n_max = if is_swift { N_BATCH_SWIFT_MAX } else { N_BATCH_MAX };
        let n_left = self.others.len().min(n_max / OTHERS_SHARE);
        let n_first = self.first.len().min(n_max - n_left);
        let n_others = self.others.len().min(n_max - n_first);
        self.first.drain(..n_first).chain(self.others.drain(..n_others)).collect()
    }
}

/// Owns the only connection that writes.
#[derive(Debug)]
pub(super) struct Writer {
    options: SqliteConnectOptions,
    /// None after a failure that leaves its state in doubt.
    connection: Option<SqliteConnection>,
    readers: SqlitePool,
    requests: mpsc::Receiver<Request>,
    /// The ownership of every shard that this writer is.
    epoch: u64,
    /// Nothing but records was written since the journal was empty: more may be restored.
    is_restoring: bool,
    /// Counts transactions that wrote events.
    n_grown: watch::Sender<u64>,
    waiting: Waiting,
    deliveries: Vec<EffectKey>,
    deliveries_due: Option<Instant>,
    forgetting: VecDeque<Forgetting>,
    /// Others may use the directory when this is dropped.
    lock: File,
}

/// Results that are being forgotten, a few at a time.
#[derive(Debug)]
struct Forgetting {
    before: Timestamp,
    n_forgotten: u64,
    ack: oneshot::Sender<Result<u64, JournalError>>,
}

/// How a transaction went wrong.
enum Failure {
    /// Surely nothing was written.
    Before(sqlx::Error),
    /// The commit itself failed: perhaps it is on the disk, perhaps not.
    AtCommit(sqlx::Error),
}

/// What became of each commit of a transaction.
type Outcome = Result<Vec<Result<(), CommitError>>, Failure>;

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Before(error)
    }
}

/// What a writer is born with.
#[derive(Debug)]
pub(super) struct Birth {
    pub(super) options: SqliteConnectOptions,
    pub(super) connection: SqliteConnection,
    pub(super) readers: SqlitePool,
    pub(super) requests: mpsc::Receiver<Request>,
    pub(super) epoch: u64,
    pub(super) n_grown: watch::Sender<u64>,
    pub(super) lock: File,
}

/// Lets a writer work on a thread of its own until it is asked to close, or nobody is left who could ask.
///
/// A transaction is some sixty statements, and each is a word to the thread that SQLite has, and back. Among the tasks of a busy
/// node every one of these words would wait for its turn: commits would take a second while the disk does nothing.
pub(super) fn start(birth: Birth) -> io::Result<()> {
    let runtime = runtime::Builder::new_current_thread().enable_all().build()?;
    let work = move || runtime.block_on(Writer::new(birth).run());
    thread::Builder::new().name("journal".to_owned()).spawn(work)?;
    Ok(())
}

impl Writer {
    fn new(birth: Birth) -> Self {
        let Birth { options, connection, readers, requests, epoch, n_grown, lock } = birth;
        Self {
            options,
            connection: Some(connection),
            readers,
            requests,
            epoch,
            is_restoring: false,
            n_grown,
            waiting: Waiting::default(),
            deliveries: Vec::new(),
            deliveries_due: None,
            forgetting: VecDeque::new(),
            lock,
        }
    }

    /// Works until it is asked to close, or nobody is left who could ask.
    async fn run(mut self) {
        let mut requests = Vec::with_capacity(N_BATCH_MAX);
        let (mut keeping, mut restoring, mut closing) = (Vec::new(), Vec::new(), Vec::new());
        loop {
            let has_work = !self.forgetting.is_empty() || !self.waiting.is_empty();
            let due = self.deliveries_due;
            // All that is there, for one that comes first may be behind all others.
            let n_max = N_WAITING_MAX.saturating_sub(self.waiting.len());
            let n_received = {
                let receiving = self.requests.recv_many(&mut requests, n_max);
                match due {
                    // To receive nothing would look like the end.
                    _ if n_max == 0 => None,
                    // A timer would sleep for a millisecond first.
                    _ if has_work => receiving.now_or_never(),
                    None => Some(receiving.await),
                    Some(due) => timeout_at(due, receiving).await.ok(),
                }
            };
            let is_closed = n_received == Some(0);
            let now = Instant::now();
            for request in requests.drain(..) {
                match request {
                    Request::Commit(write) => self.waiting.push(*write, now),
                    Request::Delivered(effects) => {
                        self.deliveries.extend(effects);
                        self.deliveries_due
                            .get_or_insert_with(|| Instant::now() + DELIVERY_PATIENCE);
                    }
                    Request::Keep(shelf, bytes, ack) => keeping.push((shelf, bytes, ack)),
                    Request::ForgetResults(before, ack) => {
                        self.forgetting.push_back(Forgetting { before, n_forgotten: 0, ack });
                    }
                    Request::Restore(records, ack) => restoring.push((records, ack)),
                    Request::Close(ack) => {
                        self.requests.close();
                        closing.push(ack);
                    }
                }
            }
            let writes = self.waiting.take(now);
            let is_last = is_closed && self.waiting.is_empty();
            let is_delivery_due = is_last
                || self.deliveries.len() >= N_DELIVERIES_MAX
                || self.deliveries_due.is_some_and(|due| due <= Instant::now());
            if !writes.is_empty() || (is_delivery_due && !self.deliveries.is_empty()) {
                self.write(writes).await;
            }
            // Nobody waits for these, and commits do not wait for more than a few.
            for (shelf, bytes, ack) in keeping.drain(..) {
                answer_one(ack, self.keep(&shelf, bytes).await);
            }
            // What was to be written before is.
            if self.waiting.is_empty() {
                for (records, ack) in restoring.drain(..) {
                    answer_one(ack, self.restore(&records).await);
                }
            }
            self.forget_some().await;
            if is_last {
                break;
            }
        }
        let closed = self.close().await;
        for ack in closing {
            answer_one(ack, closed.clone());
        }
    }

    /// Writes and answers.
    async fn write(&mut self, writes: Vec<Write>) {
        metrics::histogram!("outrider_journal_batch_size").record(writes.len() as f64);
        match self.transact(&writes).await {
            // A row that breaks a constraint would take the whole batch with it, again and again.
            Err(Failure::Before(error)) if writes.len() > 1 && is_about_a_row(&error) => {
                warn!(%error, n_commits = writes.len(), "a commit broke its batch");
                for write in writes {
                    let outcome = self.transact(std::slice::from_ref(&write)).await;
                    self.answer(vec![write], outcome);
                }
            }
            outcome => self.answer(writes, outcome),
        }
    }

    /// Tells each who waits how it went.
    fn answer(&mut self, writes: Vec<Write>, outcome: Outcome) {
        let answers = outcome.unwrap_or_else(|failure| {
            let error = match failure {
                Failure::Before(error) => CommitError::Unavailable(error.to_string()),
                Failure::AtCommit(error) => CommitError::Unknown(error.to_string()),
            };
            metrics::counter!("outrider_journal_failures_total").increment(1);
            warn!(%error, n_commits = writes.len(), "a journal transaction failed");
            // What is too much is delivered again, which its receivers recognise.
            self.deliveries.truncate(N_DELIVERIES_MAX - 1);
            self.deliveries_due =
                (!self.deliveries.is_empty()).then(|| Instant::now() + RETRY_AFTER);
            vec![Err(error); writes.len()]
        });
        for (write, answer) in writes.into_iter().zip(answers) {
            answer_one(write.ack, answer);
        }
    }

    /// One transaction. Each of `writes` that clashes is refused alone.
    async fn transact(&mut self, writes: &[Write]) -> Outcome {
        let mut connection = self.connect().await?;
        let mut transaction = connection.begin_with("BEGIN IMMEDIATE").await?;
        if self.is_restoring && !writes.is_empty() {
            self.is_restoring = false;
            self.epoch = schema::begin_epoch(&mut transaction).await?;
        }
        let mut batch = Batch::read(&mut transaction, writes, self.epoch).await?;
        let answers: Vec<_> = writes.iter().map(|write| batch.admit(write)).collect();
        batch.write(&mut transaction).await?;
        batch::delete_effects(&mut transaction, &self.deliveries).await?;
        transaction.commit().await.map_err(Failure::AtCommit)?;
        self.connection = Some(connection);
        self.deliveries.clear();
        self.deliveries_due = None;
        let mut outcomes = writes.iter().zip(&answers);
        if outcomes.any(|(write, answer)| answer.is_ok() && !write.commit.events.is_empty()) {
            self.n_grown.send_modify(|n| *n += 1);
        }
        Ok(answers)
    }

    /// One transaction of records.
    async fn restore(&mut self, records: &[Record]) -> Result<(), RestoreError> {
        let unavailable = |error| RestoreError::Journal(JournalError::from(error));
        let mut connection = self.connect().await.map_err(unavailable)?;
        let outcome = records::restore(&mut connection, records, self.is_restoring).await;
        if outcome.is_ok() {
            self.is_restoring = true;
            self.n_grown.send_modify(|n| *n += 1);
            self.connection = Some(connection);
        }
        outcome
    }

    /// Puts something on a shelf, in a transaction of its own.
    async fn keep(&mut self, shelf: &Shelf, bytes: Vec<u8>) -> Result<(), CommitError> {
        // It was not written, or it may have been: whoever asked keeps it again soon.
        let unknown = |error: sqlx::Error| CommitError::Unknown(error.to_string());
        let mut connection = self.connect().await.map_err(unknown)?;
        sqlx::query(KEEP)
            .bind(i64::from(shelf.shard.0))
            .bind(&shelf.name)
            .bind(self.epoch.cast_signed())
            .bind(bytes)
            .execute(&mut connection)
            .await
            .map_err(unknown)?;
        self.connection = Some(connection);
        Ok(())
    }

    /// Forgets a few of the results to forget.
    async fn forget_some(&mut self) {
        let Some(mut task) = self.forgetting.pop_front() else { return };
        match self.forget_results(task.before).await {
            Ok(0) => answer_one(task.ack, Ok(task.n_forgotten)),
            Ok(n) => {
                task.n_forgotten += n;
                self.forgetting.push_front(task);
            }
            Err(error) => answer_one(task.ack, Err(error.into())),
        }
    }

    async fn forget_results(&mut self, before: Timestamp) -> sqlx::Result<u64> {
        let mut connection = self.connect().await?;
        let done = sqlx::query(
            "DELETE FROM results WHERE position IN
             (SELECT position FROM results WHERE at < ? LIMIT ?)",
        )
        .bind(super::millis(before))
        .bind(N_FORGOTTEN_MAX)
        .execute(&mut connection)
        .await?;
        self.connection = Some(connection);
        Ok(done.rows_affected())
    }

    /// The connection, to be put back by who succeeds: one that failed is dropped, and with it
    /// whatever transaction it was in.
    async fn connect(&mut self) -> sqlx::Result<SqliteConnection> {
        match self.connection.take() {
            Some(connection) => Ok(connection),
            None => self.options.connect().await,
        }
    }

    /// Leaves one plain file behind.
    async fn close(mut self) -> Result<(), JournalError> {
        self.readers.close().await;
        let mut connection = self.connect().await?;
        sqlx::query("PRAGMA wal_checkpoint(TRUNCATE)").execute(&mut connection).await?;
        connection.close().await?;
        drop(self.lock);
        Ok(())
    }
}

/// Who no longer waits need not be answered.
fn answer_one<T>(ack: oneshot::Sender<T>, answer: T) {
    drop(ack.send(answer));
}

/// Would it go well without one of the rows?
fn is_about_a_row(error: &sqlx::Error) -> bool {
    /// What SQLite says when a row is too big.
    const TOO_BIG: &str = "18";
    error.as_database_error().is_some_and(|error| {
        error.kind() != ErrorKind::Other || error.code().is_some_and(|code| code == TOO_BIG)
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Version;
    use protocol::OrderId;

    /// A commit of the `n`th order, which had so many events.
    fn write(n: u64, expected: u64, comes_first: bool) -> Write {
        let commit = Commit::new(OrderId::nth(n).into(), Version(expected), Timestamp(1));
        Write::new(Commit { comes_first, ..commit }, oneshot::channel().0)
    }

    fn orders(writes: &[Write]) -> Vec<(u64, u64)> {
        let order =
            |write: &Write| (0..2_000).find(|n| write.commit.entity == OrderId::nth(*n).into());
        writes.iter().map(|it| (order(it).expect("one of these"), it.commit.expected.0)).collect()
    }

    #[test]
    fn what_comes_first_is_written_first_and_some_of_the_others_beside_it() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        for n in 0..300 {
            waiting.push(write(n, 0, false), now);
        }
        for n in 1_000..1_200 {
            waiting.push(write(n, 0, true), now);
        }
        let n_others = N_BATCH_SWIFT_MAX / OTHERS_SHARE;
        let n_first = N_BATCH_SWIFT_MAX - n_others;
        let taken = orders(&waiting.take(now));
        assert_eq!((taken.len(), taken[0]), (N_BATCH_SWIFT_MAX, (1_000, 0)));
        assert_eq!((taken[n_first - 1].0, taken[n_first].0), (999 + n_first as u64, 0));
        let then = orders(&waiting.take(now));
        assert_eq!(then[0].0, 1_000 + n_first as u64);
        assert_eq!(waiting.len(), 500 - 2 * N_BATCH_SWIFT_MAX);
    }

    #[test]
    fn a_transaction_is_short_only_while_some_come_first() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        for n in 0..1_500 {
            waiting.push(write(n, 0, false), now);
        }
        assert_eq!(waiting.take(now).len(), N_BATCH_MAX);
        waiting.push(write(1_999, 0, true), now);
        assert_eq!(waiting.take(now).len(), N_BATCH_SWIFT_MAX);
        assert_eq!(waiting.take(now + SWIFT_FOR).len(), N_BATCH_MAX);
    }

    #[test]
    fn nothing_comes_before_an_earlier_commit_of_the_same_entity() {
        let (mut waiting, now) = (Waiting::default(), Instant::now());
        waiting.push(write(1, 0, false), now);
        waiting.push(write(1, 1, true), now);
        waiting.push(write(2, 0, true), now);
        waiting.push(write(2, 1, false), now);
        assert_eq!(orders(&waiting.take(now)), [(2, 0), (2, 1), (1, 0), (1, 1)]);
        assert!(waiting.is_empty());
        // Also where more come first than a transaction has room for.
        for n in 0..300 {
            waiting.push(write(n, 0, true), now);
        }
        waiting.push(write(299, 1, false), now);
        let n_taken = waiting.take(now).len();
        assert!(n_taken > 0 && !waiting.is_empty());
        let mut rest = Vec::new();
        while !waiting.is_empty() {
            rest.extend(orders(&waiting.take(now)));
        }
        assert_eq!(rest[rest.len() - 2..], [(299, 0), (299, 1)]);
    }
}
