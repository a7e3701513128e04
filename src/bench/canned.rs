//! A journal in which every entity has the same past, so that a bench measures entities and not
//! what keeps them.

use actors::{
    Claim, Commit, EntityKey, Version, ViewRow,
    journal::{
        CommitError, EffectKey, FeedCursor, FeedEvent, Forgotten, Journal, JournalError,
        OutboxPosition, OutboxRow, Part, Record, Recorded, RestoreError, Shelf, Stored, ViewQuery,
    },
};
use futures_util::{FutureExt, future::BoxFuture, future::ready};
use protocol::{CommandId, Currency, ShardSet, Timestamp};

/// Says yes to every commit and keeps nothing.
#[derive(Debug)]
pub(super) struct CannedJournal(pub(super) Stored);

impl Journal for CannedJournal {
    fn load(&self, _entity: EntityKey) -> BoxFuture<'_, Result<Stored, JournalError>> {
        ready(Ok(self.0.clone())).boxed()
    }

    fn commit(&self, _commit: Commit) -> BoxFuture<'_, Result<(), CommitError>> {
        ready(Ok(())).boxed()
    }

    fn result(
        &self,
        _entity: EntityKey,
        _command: CommandId,
    ) -> BoxFuture<'_, Result<Option<Vec<u8>>, JournalError>> {
        ready(Ok(None)).boxed()
    }

    fn undelivered(
        &self,
        _shards: &ShardSet,
        _after: Option<OutboxPosition>,
        _limit: usize,
    ) -> BoxFuture<'_, Result<Vec<OutboxRow>, JournalError>> {
        ready(Ok(Vec::new())).boxed()
    }

    fn delivered(&self, _effects: Vec<EffectKey>) -> BoxFuture<'_, Result<(), JournalError>> {
        ready(Ok(())).boxed()
    }

    fn deadlines(
        &self,
        _shards: &ShardSet,
        _until: Timestamp,
        _after: Option<(Timestamp, EntityKey)>,
        _limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Timestamp, EntityKey)>, JournalError>> {
        ready(Ok(Vec::new())).boxed()
    }

    fn keep(&self, _shelf: Shelf, _bytes: Vec<u8>) -> BoxFuture<'_, Result<(), CommitError>> {
        ready(Ok(())).boxed()
    }

    fn kept(&self, _shelf: Shelf) -> BoxFuture<'_, Result<Option<Vec<u8>>, JournalError>> {
        ready(Ok(None)).boxed()
    }

    fn holder(&self, _claim: Claim) -> BoxFuture<'_, Result<Option<EntityKey>, JournalError>> {
        ready(Ok(None)).boxed()
    }

    fn history(
        &self,
        _entity: EntityKey,
        _after: Version,
        _limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Recorded>, JournalError>> {
        ready(Ok(Vec::new())).boxed()
    }

    fn views(
        &self,
        _query: ViewQuery,
    ) -> BoxFuture<'_, Result<Vec<(EntityKey, ViewRow)>, JournalError>> {
        ready(Ok(Vec::new())).boxed()
    }

    fn balance(
        &self,
        _account: String,
        _currency: Currency,
    ) -> BoxFuture<'_, Result<i64, JournalError>> {
        ready(Ok(0)).boxed()
    }

    fn feed(
        &self,
        _after: FeedCursor,
        _limit: usize,
    ) -> BoxFuture<'_, Result<Vec<FeedEvent>, JournalError>> {
        ready(Ok(Vec::new())).boxed()
    }

    fn dump(
        &self,
        _part: Part,
        _after: Option<Record>,
        _limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Record>, JournalError>> {
        ready(Ok(Vec::new())).boxed()
    }

    fn restore(&self, _records: Vec<Record>) -> BoxFuture<'_, Result<(), RestoreError>> {
        ready(Err(RestoreError::NotEmpty)).boxed()
    }

    fn forget_results(&self, _before: Timestamp) -> BoxFuture<'_, Result<Forgotten, JournalError>> {
        ready(Ok(Forgotten::default())).boxed()
    }

    fn close(&self) -> BoxFuture<'_, Result<(), JournalError>> {
        ready(Ok(())).boxed()
    }
}
