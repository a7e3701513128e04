//! Which shards are ours, and under which epoch we write to each.
//!
//! A hint: the truth is in `heads`, and every commit is held against it there.

use super::read;
use protocol::{SHARDS, ShardId, Timestamp};
use sqlx::PgConnection;
use std::{
    collections::HashMap,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
};

/// How many shards a statement takes at most: it holds the locks of all of them until it is done.
pub(super) const N_TAKEN_MAX: usize = 256;

/// Takes shards: adds one to their epochs, so that whoever wrote under the old ones is fenced.
/// `$4`: only those that are already ours.
///
/// All heads are locked before the fences of those who had them are, and these in their order, before the first
/// head is changed: its trigger would lock them head by head, and two who take from the same two owners would wait
/// for each other.
pub(super) const TAKE: &str = "
    WITH l AS MATERIALIZED (
        SELECT shard, incarnation FROM heads
        WHERE shard = ANY ($1) AND (NOT $4 OR (owner = $2 AND incarnation = $3))
        ORDER BY shard FOR UPDATE
    ), f AS MATERIALIZED (
        SELECT FROM fences WHERE incarnation = ANY (ARRAY (SELECT incarnation FROM l))
        ORDER BY incarnation, committer FOR NO KEY UPDATE
    ), t AS (
        UPDATE heads h SET owner = $2, incarnation = $3, epoch = h.epoch + 1
        FROM l WHERE h.shard = l.shard AND (SELECT count(*) FROM f) >= 0
        RETURNING h.shard, h.epoch, h.seq
    ), e AS (
        INSERT INTO epochs (shard, epoch, first_seq, owner, incarnation, at)
        SELECT shard, epoch, seq + 1, $2, $3, $5 FROM t
    )
    SELECT shard, epoch FROM t";

/// The shards of one node.
#[derive(Debug)]
pub(super) struct Ownership {
    node: String,
    incarnation: i64,
    shards: Box<[Shard]>,
    /// Records are being restored, which have owners of their own.
    is_restoring: AtomicBool,
}

#[derive(Debug, Default)]
struct Shard {
    /// 0: not ours.
    epoch: AtomicU64,
    /// A commit to it may or may not have been written, and may still be.
    is_ambiguous: AtomicBool,
}

impl Ownership {
    /// Of no shard yet.
    pub(super) fn new(node: String, incarnation: i64) -> Self {
        let shards = (0..SHARDS).map(|_| Shard::default()).collect();
        Self { node, incarnation, shards, is_restoring: AtomicBool::new(false) }
    }

    /// Whose shards these are, by name and by start.
    pub(super) fn owner(&self) -> (&str, i64) {
        (&self.node, self.incarnation)
    }

    /// What to write under; None when the shard is not ours.
    pub(super) fn epoch(&self, shard: ShardId) -> Option<u64> {
        let epoch = self.shard(shard).epoch.load(Ordering::Acquire);
        (epoch > 0).then_some(epoch)
    }

    /// May what the rows of its entities say still change by a commit of ours that is out of reach?
    pub(super) fn is_ambiguous(&self, shard: ShardId) -> bool {
        self.shard(shard).is_ambiguous.load(Ordering::Acquire)
    }

    /// Nobody may read these as their owner until [`Ownership::bump`] succeeded.
    pub(super) fn suspect(&self, shards: &[ShardId]) {
        for shard in shards {
            self.shard(*shard).is_ambiguous.store(true, Ordering::Release);
        }
    }

    /// What was written under `epoch` was fenced: someone else has the shard now. Returns false if it
    /// has become ours again meanwhile, under another epoch.
    pub(super) fn lose(&self, shard: ShardId, epoch: Option<u64>) -> bool {
        let (epoch, known) = (epoch.unwrap_or_default(), &self.shard(shard).epoch);
        known.compare_exchange(epoch, 0, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// A shard was given to us. Old news does not undo newer.
    pub(super) fn own(&self, shard: ShardId, epoch: u64) {
        self.shard(shard).epoch.fetch_max(epoch, Ordering::AcqRel);
    }

    /// A shard is not ours any more.
    pub(super) fn disown(&self, shard: ShardId) {
        self.shard(shard).epoch.store(0, Ordering::Release);
    }

    /// Takes every shard from whoever has it.
    pub(super) async fn take_all(
        &self,
        database: &mut PgConnection,
        now: Timestamp,
    ) -> sqlx::Result<()> {
        let all: Vec<_> = (0..SHARDS).map(ShardId).collect();
        self.take(database, &all, false, now).await?;
        self.is_restoring.store(false, Ordering::Release);
        Ok(())
    }

    /// Until all shards are taken again.
    pub(super) fn begin_restoring(&self) {
        self.is_restoring.store(true, Ordering::Release);
        self.shards.iter().for_each(|shard| shard.epoch.store(0, Ordering::Release));
    }

    pub(super) fn is_restoring(&self) -> bool {
        self.is_restoring.load(Ordering::Acquire)
    }

    /// Starts a new epoch of our own shards. Waits for statements under the old one that still
    /// run, and fences those that have not begun: afterwards the tables say what became of them.
    pub(super) async fn bump(
        &self,
        database: &mut PgConnection,
        shards: &[ShardId],
        now: Timestamp,
    ) -> sqlx::Result<()> {
        self.take(database, shards, true, now).await?;
        for shard in shards {
            self.shard(*shard).is_ambiguous.store(false, Ordering::Release);
        }
        Ok(())
    }

    async fn take(
        &self,
        database: &mut PgConnection,
        shards: &[ShardId],
        is_ours: bool,
        now: Timestamp,
    ) -> sqlx::Result<()> {
        for shards in shards.chunks(N_TAKEN_MAX) {
            self.take_some(database, shards, is_ours, now).await?;
        }
        Ok(())
    }

    async fn take_some(
        &self,
        database: &mut PgConnection,
        shards: &[ShardId],
        is_ours: bool,
        now: Timestamp,
    ) -> sqlx::Result<()> {
        let numbers: Vec<_> = shards.iter().map(|shard| i32::from(shard.0)).collect();
        read::warm(&mut *database, &numbers).await?;
        let before: Vec<_> = shards.iter().map(|shard| self.epoch(*shard)).collect();
        let taken: Vec<(i32, i64)> = sqlx::query_as(TAKE)
            .bind(numbers)
            .bind(&self.node)
            .bind(self.incarnation)
            .bind(is_ours)
            .bind(super::millis(now))
            .fetch_all(database)
            .await?;
        let taken: HashMap<_, _> = taken.into_iter().collect();
        for (shard, before) in shards.iter().zip(before) {
            match taken.get(&i32::from(shard.0)) {
                Some(epoch) => self.own(*shard, epoch.cast_unsigned()),
                // Stolen, unless it was given back while we asked.
                None => drop(self.lose(*shard, before)),
            }
        }
        Ok(())
    }

    fn shard(&self, shard: ShardId) -> &Shard {
        &self.shards[usize::from(shard.0 % SHARDS)]
    }
}
