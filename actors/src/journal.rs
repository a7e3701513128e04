//! Where commits are kept. The only modules with SQL in them are below this one.
//!
//! A journal is type-blind: it keeps bytes, versions and keys. What they mean is the runtime's and
//! the deciders' affair, so both journals serve every kind of entity, and one contract suite
//! (`contract`) holds for all of them.

use crate::{
    Claim, Commit, EntityKey, Version, ViewRow,
    commit::{CommandResult, EncodedEvent, Kind},
};
use futures_util::future::{BoxFuture, FutureExt};
use protocol::{CommandId, Currency, DriverId, RiderId, ShardId, ShardSet, Timestamp};
use std::{fmt::Debug, sync::Arc};
use thiserror::Error;
use tokio::sync::watch;

pub mod check;
#[cfg(any(test, feature = "testing"))]
pub mod contract;
#[cfg(any(test, feature = "testing"))]
pub mod faulty;
pub mod feed;
pub mod memory;
pub mod postgres;
pub mod pressure;
pub mod record;
mod rules;
pub mod sqlite;

pub use feed::{FeedCursor, FeedEvent};
pub use record::{Part, Record};

/// How many command results [`Journal::load`] returns with an entity.
pub const RECENT_RESULTS: usize = 16;

/// A journal that many share.
pub type SharedJournal = Arc<dyn Journal>;

/// Every commit of every entity, for ever (command results: for a day).
///
/// Each event also stands in the log of its entity's shard ([`EntityKey::shard`]), under a number
/// that counts from 1 without a gap in the order of commits, beside the epoch that wrote it: which
/// ownership of the shard, a number that only grows.
pub trait Journal: Debug + Send + Sync + 'static {
    /// Reads what is needed to rebuild an entity. One nobody has heard of is empty.
    fn load(&self, entity: EntityKey) -> BoxFuture<'_, Result<Stored, JournalError>>;

    /// Writes all of `commit`, durably, or nothing. Commits of one entity must be awaited one by
    /// one; commits of different entities may be in flight together and share a disk write.
    ///
    /// Claims are given back before others are taken; taking one's own again changes nothing.
    /// Giving back what one does not hold changes nothing. A command that already has an answer
    /// keeps it. Floors are compared with what all postings of the commit leave together.
    /// Dropping the future does not stop the write.
    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<(), CommitError>>;

    /// The stored answer to a command, if the entity has one.
    fn result(
        &self,
        entity: EntityKey,
        command: CommandId,
    ) -> BoxFuture<'_, Result<Option<Vec<u8>>, JournalError>>;

    /// Effects that entities of these shards have committed and that are not yet marked delivered, in
    /// the order of their positions, after `after`: those of one source oldest first. One call misses nothing that waits all
    /// the while; what is asked for page by page may miss what others move meanwhile.
    fn undelivered(
        &self,
        shards: &ShardSet,
        after: Option<OutboxPosition>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<OutboxRow>, JournalError>>;

    /// Forgets effects that have been delivered. Unknown ones are ignored. May be written lazily,
    /// but not after a commit that follows it: an effect delivered twice is recognised by its
    /// receiver.
    fn delivered(&self, effects: Vec<EffectKey>) -> BoxFuture<'_, Result<(), JournalError>>;

    /// Entities of these shards whose deadline is before `until`, soonest first, after the given
    /// row.
    fn deadlines(
        &self,
        shards: &ShardSet,
        until: Timestamp,
        after: Option<(Timestamp, EntityKey)>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Timestamp, EntityKey)>, JournalError>>;

    /// Puts something that could be learned again in the place of what stood on a shelf. Only the owner of its shard may, as
    /// with commits. Of several under way at once it is open which stays; an answer that does not come says nothing. It is no
    /// record: nothing that is dumped, restored or checked.
    fn keep(&self, shelf: Shelf, bytes: Vec<u8>) -> BoxFuture<'_, Result<(), CommitError>>;

    /// What was last put on a shelf.
    fn kept(&self, shelf: Shelf) -> BoxFuture<'_, Result<Option<Vec<u8>>, JournalError>>;

    /// Who holds a key.
    fn holder(&self, claim: Claim) -> BoxFuture<'_, Result<Option<EntityKey>, JournalError>>;

    /// Events of one entity after a version, oldest first.
    fn history(
        &self,
        entity: EntityKey,
        after: Version,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Recorded>, JournalError>>;

    /// Rows of one kind, in the order the query asks for.
    fn views(&self, query: ViewQuery) -> BoxFuture<'_, Result<List, JournalError>>;

    /// Several lists, each as [`Journal::views`] gives it, in the order of the queries: for who looks at the same ones again and
    /// again, and would rather ask once.
    fn lists(&self, queries: Vec<ViewQuery>) -> BoxFuture<'_, Result<Vec<List>, JournalError>> {
        async move {
            let mut lists = Vec::with_capacity(queries.len());
            for query in queries {
                lists.push(self.views(query).await?);
            }
            Ok(lists)
        }
        .boxed()
    }

    /// The sum of all postings to an account, in minor units.
    fn balance(
        &self,
        account: String,
        currency: Currency,
    ) -> BoxFuture<'_, Result<i64, JournalError>>;

    /// Events after `after`, at most `limit`: of each shard in order, without a gap, and never one
    /// that another could still precede. Of many shards, each gets its turn ([`feed::share`]).
    fn feed(
        &self,
        after: FeedCursor,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<FeedEvent>, JournalError>>;

    /// Something that changes after this journal, through this handle, has committed events. One
    /// that never changes says nothing: others may commit to the same journal.
    fn watch(&self) -> watch::Receiver<u64> {
        watch::channel(0).1
    }

    /// Whether it can be reached, for one that knows: callers need not wait for one that cannot.
    fn reachable(&self) -> Option<watch::Receiver<bool>> {
        None
    }

    /// Records of one part in the order of their keys, after the given one (the last of the page
    /// before), at most `limit`. Pages agree with each other only while nobody commits.
    fn dump(
        &self,
        part: Part,
        after: Option<Record>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Record>, JournalError>>;

    /// Writes records as [`Journal::dump`] gave them, part by part in the order of
    /// [`Part::ALL`], with their numbers, epochs, versions and positions as they were; all of
    /// `records` or none. May be called again and again until something else is committed; the
    /// first call wants an empty journal. Epochs of later commits are greater than those restored.
    fn restore(&self, records: Vec<Record>) -> BoxFuture<'_, Result<(), RestoreError>>;

    /// Forgets command results kept since before `before`, and says what became of which.
    fn forget_results(&self, before: Timestamp) -> BoxFuture<'_, Result<Forgotten, JournalError>>;

    /// Writes what waits, then refuses everything. Returns when the journal can be opened again.
    fn close(&self) -> BoxFuture<'_, Result<(), JournalError>>;
}

/// What became of command results that are too old.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Forgotten {
    /// How many went that had rows of their own; about, where a day of them goes at once.
    pub n_rows: u64,
    /// Those that stand with events count as forgotten if they are from before this moment, whoever asked
    /// for that and when. Events stay, so nobody counts them: that would be to read all events. None if
    /// the journal keeps no results there.
    pub with_events_before: Option<Timestamp>,
}

/// Where a shard keeps something that is worth keeping, but could be learned again.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shelf {
    /// Whose owner may put something there.
    pub shard: ShardId,
    /// What it is called; of one shard, no other has that name.
    pub name: String,
}

/// What is needed to rebuild an entity.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Stored {
    /// The newest snapshot and the version it shows.
    pub snapshot: Option<(Version, Vec<u8>)>,
    /// The events after it, oldest first.
    pub tail: Vec<EncodedEvent>,
    /// The newest answers, at most [`RECENT_RESULTS`], oldest first.
    pub results: Vec<CommandResult>,
    /// The greatest command id among older answers, if there are any. A command whose id is
    /// greater and not in `results` was never answered.
    pub older_results_max: Option<CommandId>,
}

impl Stored {
    /// How many events the entity has.
    pub fn version(&self) -> Version {
        let base = self.snapshot.as_ref().map_or(0, |(version, _)| version.0);
        Version(base + self.tail.len() as u64)
    }
}

/// An event as it was recorded.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Recorded {
    /// The version it led to; the first event leads to 1.
    pub version: Version,
    /// When.
    pub at: Timestamp,
    /// What.
    pub event: EncodedEvent,
}

/// Where an effect stands in the outbox; only compares within one journal.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct OutboxPosition(pub u64);

/// Which effect.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EffectKey {
    /// Whose commit it was part of.
    pub source: EntityKey,
    /// The version that commit led to.
    pub version: Version,
    /// Its place among the commit's effects.
    pub index: u32,
}

/// One effect that waits to be delivered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OutboxRow {
    /// Where it stands.
    pub position: OutboxPosition,
    /// Which.
    pub key: EffectKey,
    /// When it was committed.
    pub at: Timestamp,
    /// The encoded [`crate::Effect`].
    pub bytes: Vec<u8>,
}

/// Rows of one kind, and whose they are.
pub type List = Vec<(EntityKey, ViewRow)>;

/// Which rows.
#[derive(Debug, Clone, PartialEq)]
pub struct ViewQuery {
    /// Of this kind.
    pub kind: Kind,
    /// In any of these statuses; empty for all.
    pub statuses: Vec<String>,
    /// Of this rider.
    pub rider: Option<RiderId>,
    /// Of this driver.
    pub driver: Option<DriverId>,
    /// Of this moment or later.
    pub since: Option<Timestamp>,
    /// Before this moment.
    pub until: Option<Timestamp>,
    /// Which come first.
    pub sort: Sort,
    /// Beyond this row, as they are sorted: the last one of the page before.
    pub after: Option<(Timestamp, uuid::Uuid)>,
    /// At most this many.
    pub limit: usize,
}

/// Which rows come first. Of the same moment, greater ids count as newer.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Sort {
    /// From the newest to the oldest.
    #[default]
    Newest,
    /// From the oldest to the newest.
    Oldest,
}

impl ViewQuery {
    /// The newest rows of a kind, at most `limit`.
    pub fn newest(kind: Kind, limit: usize) -> Self {
        Self {
            kind,
            statuses: Vec::new(),
            rider: None,
            driver: None,
            since: None,
            until: None,
            sort: Sort::Newest,
            after: None,
            limit,
        }
    }
}

/// The journal could not be read, or its content makes no sense.
#[derive(Debug, Clone, Error)]
pub enum JournalError {
    /// It cannot be reached, or said no. Nothing is known to be wrong with its content.
    #[error("journal unavailable: {0}")]
    Unavailable(String),
    /// It holds something this build cannot read.
    #[error("unreadable in the journal of {entity}: {problem}")]
    Unreadable {
        /// Whose.
        entity: EntityKey,
        /// What.
        problem: String,
    },
}

/// Why a commit was not acknowledged.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum CommitError {
    /// Someone else wrote first. Nothing was written.
    #[error("entity is at version {actual:?}")]
    Stale {
        /// Where it is.
        actual: Version,
    },
    /// A key is held by someone else. Nothing was written.
    #[error("{claim} is held by {holder}")]
    ClaimTaken {
        /// The key.
        claim: Claim,
        /// Who holds it.
        holder: EntityKey,
    },
    /// The postings do not sum to zero, or their key was used before. Nothing was written.
    #[error("postings refused: {0}")]
    Postings(String),
    /// An account would hold less than a posting to it allows. Nothing was written.
    #[error("{account} holds {balance}, which is too little")]
    BelowFloor {
        /// Which.
        account: String,
        /// What it holds without this commit, in minor units.
        balance: i64,
    },
    /// Another node owns the shard. Nothing was written.
    #[error("{shard} belongs to another node")]
    Fenced {
        /// Which.
        shard: ShardId,
    },
    /// No journal would ever write this: whoever made it has a bug. Nothing was written.
    #[error("unsound commit: {0}")]
    Unsound(String),
    /// Nothing was written; it may work later.
    #[error("journal unavailable: {0}")]
    Unavailable(String),
    /// Written or not? Only reading the journal tells.
    #[error("outcome unknown: {0}")]
    Unknown(String),
}

/// Why records were not restored. None of those given were.
#[derive(Debug, Clone, Error)]
pub enum RestoreError {
    /// It holds something already. Records are only restored into an empty journal.
    #[error("the journal is not empty")]
    NotEmpty,
    /// A record contradicts another: a number is skipped, or used twice.
    #[error("records contradict each other: {0}")]
    Clash(String),
    /// A record has a number that no journal gives. Kept, it would be taken for another.
    #[error("number_out_of_range: one of the {part} has {number}, which no journal gives")]
    OutOfRange {
        /// Of which section the record is.
        part: Part,
        /// The number.
        number: u64,
    },
    /// The journal failed.
    #[error(transparent)]
    Journal(#[from] JournalError),
}
