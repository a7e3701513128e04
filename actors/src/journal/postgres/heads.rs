//! What one committer knows of the heads of its shards, so that its statements can leave them alone.
//!
//! ```text
//!   look      fence: generation 4      heads: ours, under these epochs; logs go so far
//!   write     fence still at 4?        events stand at what is known + 1, + 2 …; nobody touches a head
//!   somebody takes a shard             fence at 5: whatever was known is forgotten, and looked at again
//! ```
//!
//! One look reads the fence and the heads in one snapshot. Whoever changes a head that is ours moves the
//! fence in the same transaction (`schema_8.sql`). So as long as the fence has the generation that was
//! seen, all those heads are as they were seen; and since nobody else writes to these shards, their
//! logs go as far as we have written since.
//!
//! How far a log goes stays known when its owner does not: the row of the head may be behind, and a statement that
//! looks at the head must not start from there.

use super::{batch::Terms, shares::Shares};
use foldhash::{HashMap, HashMapExt as _};
use protocol::ShardId;
use sqlx::PgConnection;
use std::collections::BTreeMap;

/// For how many statements nobody is trusted, after a fence has moved: a move seldom comes alone.
const N_WARY: u32 = 8;

/// The fence of committer `$2` of the start `$1`, and of the shards `$3` the heads that are its, with the
/// numbers of the last events. One snapshot: see above.
const LOOK: &str = "
    SELECT f.generation, h.shard, h.epoch, greatest(h.seq, (
        SELECT e.seq FROM events e WHERE e.shard = h.shard ORDER BY e.seq DESC LIMIT 1
    ))
    FROM (SELECT) one
    LEFT JOIN fences f ON f.incarnation = $1 AND f.committer = $2
    LEFT JOIN heads h ON h.shard = ANY ($3) AND h.incarnation = $1";

/// Makes the fences of the committers of a start of a node, once, each with the shards it writes to, and takes out those of starts that are
/// over: of long ago, without a shard, and no member that is alive.
const MAKE: &str = "
    WITH past AS MATERIALIZED (
        SELECT f.incarnation, f.committer FROM fences f
        WHERE f.incarnation < $1 AND f.made_at < clock_timestamp() - interval '1 day'
            AND NOT EXISTS (SELECT FROM heads h WHERE h.incarnation = f.incarnation)
            AND NOT EXISTS (SELECT FROM members m WHERE m.incarnation = f.incarnation AND m.standing <> 'dead')
        FOR UPDATE OF f SKIP LOCKED
    ), taken_out AS (
        DELETE FROM fences f USING past p WHERE f.incarnation = p.incarnation AND f.committer = p.committer
    )
    INSERT INTO fences (incarnation, committer, shards)
    SELECT $1, c.committer, c.shards::bit(1024)
    FROM unnest($2::text[]) WITH ORDINALITY AS c (shards, committer)";

/// Which row says that nothing has been taken from a committer, and what it says as long as that is so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Fence {
    pub(super) incarnation: i64,
    pub(super) generation: i64,
}

/// What is known, and when to look again.
#[derive(Debug)]
pub(super) struct Heads {
    incarnation: i64,
    committer: i16,
    /// None: to be read before anything is written without a look at the heads.
    generation: Option<i64>,
    /// The row was taken out. It does not come back.
    is_gone: bool,
    /// Nothing may be written before all was looked at: it is not known how far logs go.
    is_blind: bool,
    /// For how many more statements heads are not left alone.
    n_wary: u32,
    shards: HashMap<ShardId, Known>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Known {
    /// The log goes so far, at least. Exactly so, if it is sure whose it is.
    seq: u64,
    /// The epoch under which it is surely ours, for as long as the fence does not move.
    sure: Option<u64>,
    /// Under which epoch we believed to own it when it was last looked at.
    looked: Option<u64>,
}

/// A look at some heads.
#[derive(Debug)]
pub(super) struct Seen {
    generation: Option<i64>,
    /// Those that are ours: epoch, and how far the log goes.
    heads: BTreeMap<ShardId, (u64, u64)>,
}

/// Makes the fences of a start of a node, before it has any shard.
pub(super) async fn make_fences(
    database: &mut PgConnection,
    incarnation: i64,
    shares: &Shares,
) -> sqlx::Result<()> {
    let shards: Vec<_> = (0..shares.n_committers()).map(|it| shares.bits(it)).collect();
    sqlx::query(MAKE).bind(incarnation).bind(shards).execute(database).await?;
    Ok(())
}

impl Heads {
    /// Of a committer that has written nothing yet.
    pub(super) fn new(incarnation: i64, committer: i16) -> Self {
        Self {
            incarnation,
            committer,
            generation: None,
            is_gone: false,
            is_blind: true,
            n_wary: 0,
            shards: HashMap::new(),
        }
    }

    /// Another statement comes: may it leave the heads alone, as far as that depends on what came before?
    pub(super) fn may_be_fenced(&mut self) -> bool {
        let may = self.n_wary == 0 && !self.is_gone;
        self.n_wary = self.n_wary.saturating_sub(1);
        may
    }

    /// Which shards must be looked at before those of a batch are written, and the epochs under which we believe
    /// to own them. `mine`: all that the committer may ever write to.
    pub(super) fn to_look_at(
        &self,
        batch: &[(ShardId, Terms)],
        is_fenced: bool,
        mine: impl Fn() -> Vec<(ShardId, u64)>,
    ) -> Vec<(ShardId, u64)> {
        if self.is_blind || (is_fenced && self.generation.is_none()) {
            return mine();
        }
        if !is_fenced {
            return Vec::new();
        }
        let is_new = |(shard, terms): &&(ShardId, Terms)| {
            self.shards.get(shard).and_then(|known| known.looked) != Some(terms.epoch)
        };
        batch.iter().filter(is_new).map(|(shard, terms)| (*shard, terms.epoch)).collect()
    }

    /// Looks at the fence, and at the heads of some shards.
    pub(super) async fn look(
        &self,
        database: &mut PgConnection,
        shards: &[(ShardId, u64)],
    ) -> sqlx::Result<Seen> {
        type Row = (Option<i64>, Option<i32>, Option<i64>, Option<i64>);
        let rows: Vec<Row> = sqlx::query_as(LOOK)
            .bind(self.incarnation)
            .bind(self.committer)
            .bind(shards.iter().map(|(shard, _)| i32::from(shard.0)).collect::<Vec<_>>())
            .fetch_all(database)
            .await?;
        let generation = rows.first().and_then(|(generation, ..)| *generation);
        let heads = rows.into_iter().filter_map(|(_, shard, epoch, seq)| {
            Some((ShardId(shard? as u16), (epoch?.cast_unsigned(), seq?.cast_unsigned())))
        });
        Ok(Seen { generation, heads: heads.collect() })
    }

    /// Notes what was seen of `shards`, of which this was believed before.
    pub(super) fn saw(&mut self, shards: &[(ShardId, u64)], seen: &Seen) {
        if self.generation.is_some() && self.generation != seen.generation {
            // What was known is over; what is new is looked at with all the others.
            self.forget();
            return;
        }
        self.generation = seen.generation;
        self.is_gone = seen.generation.is_none();
        self.is_blind = false;
        for (shard, believed) in shards {
            let known = self.shards.entry(*shard).or_default();
            known.looked = Some(*believed);
            known.sure = None;
            if let Some((epoch, seq)) = seen.heads.get(shard) {
                known.sure = Some(*epoch);
                known.seq = *seq;
            }
        }
    }

    /// How far a shard's log goes at least, as far as we know.
    pub(super) fn seq(&self, shard: ShardId) -> u64 {
        self.shards.get(&shard).map_or(0, |known| known.seq)
    }

    /// What to lock instead of the heads of a batch, if all of them are surely ours under these epochs.
    pub(super) fn fence(&self, batch: &[(ShardId, Terms)]) -> Option<Fence> {
        let is_sure = |(shard, terms): &(ShardId, Terms)| {
            self.shards.get(shard).is_some_and(|known| known.sure == Some(terms.epoch))
        };
        let generation = self.generation.filter(|_| batch.iter().all(is_sure))?;
        Some(Fence { incarnation: self.incarnation, generation })
    }

    /// Notes how far logs go after a statement.
    pub(super) fn wrote(&mut self, heads: &[(ShardId, u64)]) {
        for (shard, seq) in heads {
            let known = self.shards.entry(*shard).or_default();
            known.seq = known.seq.max(*seq);
        }
    }

    /// The fence has moved: something may have been taken from us.
    pub(super) fn forget(&mut self) {
        self.generation = None;
        self.n_wary = N_WARY;
        for known in self.shards.values_mut() {
            known.sure = None;
        }
    }

    /// An event stands where one of ours was to: the log goes further than we know. Nothing is written before that was looked
    /// at.
    pub(super) fn doubt(&mut self) {
        self.forget();
        self.is_blind = true;
    }

    /// The connection is lost, with it the answer to a statement; another one may lead to another server.
    pub(super) fn lose(&mut self) {
        *self = Self::new(self.incarnation, self.committer);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINE: [(ShardId, u64); 3] = [(ShardId(1), 5), (ShardId(2), 5), (ShardId(3), 5)];

    fn batch(shards: &[(u16, u64)]) -> Vec<(ShardId, Terms)> {
        let terms = |(shard, epoch): &(u16, u64)| {
            (ShardId(*shard), Terms { epoch: *epoch, told: 0, seq: 0 })
        };
        shards.iter().map(terms).collect()
    }

    fn seen(generation: Option<i64>, heads: &[(u16, u64, u64)]) -> Seen {
        let head = |(shard, epoch, seq): &(u16, u64, u64)| (ShardId(*shard), (*epoch, *seq));
        Seen { generation, heads: heads.iter().map(head).collect() }
    }

    /// Has looked at all three, of which two are ours.
    fn looked() -> Heads {
        let mut heads = Heads::new(7, 1);
        let all = heads.to_look_at(&batch(&[(1, 5)]), true, || MINE.to_vec());
        assert_eq!(all, MINE, "before the first statement, whatever it is");
        assert_eq!(heads.fence(&batch(&[(1, 5)])), None);
        heads.saw(&all, &seen(Some(4), &[(1, 5, 10), (2, 5, 20)]));
        heads
    }

    fn to_look_at(heads: &Heads, shards: &[(u16, u64)]) -> Vec<(ShardId, u64)> {
        heads.to_look_at(&batch(shards), true, || MINE.to_vec())
    }

    #[test]
    fn heads_are_left_alone_while_all_of_a_batch_are_ours_under_what_was_seen() {
        let mut heads = looked();
        let fence = Some(Fence { incarnation: 7, generation: 4 });
        assert_eq!(heads.fence(&batch(&[(1, 5), (2, 5)])), fence);
        assert_eq!(heads.fence(&batch(&[(1, 5), (3, 5)])), None, "one is not ours");
        assert_eq!(heads.fence(&batch(&[(1, 6)])), None, "taken anew");
        assert_eq!(to_look_at(&heads, &[(1, 5), (3, 5)]), [], "it was looked at, and is not");
        assert_eq!(to_look_at(&heads, &[(1, 5), (2, 6)]), [(ShardId(2), 6)]);
        heads.wrote(&[(ShardId(1), 12)]);
        assert_eq!((heads.seq(ShardId(1)), heads.seq(ShardId(3))), (12, 0));
    }

    #[test]
    fn nothing_is_sure_once_the_fence_has_moved_but_how_far_logs_go_stays_known() {
        let mut heads = looked();
        heads.saw(&[(ShardId(3), 6)], &seen(Some(5), &[(3, 6, 30)]));
        assert_eq!(heads.fence(&batch(&[(1, 5)])), None);
        assert_eq!(heads.fence(&batch(&[(3, 6)])), None, "it is looked at with the others");
        assert_eq!(heads.seq(ShardId(2)), 20);
        assert_eq!(heads.to_look_at(&batch(&[(1, 5)]), false, || MINE.to_vec()), []);
        for _ in 0..N_WARY {
            assert!(!heads.may_be_fenced());
        }
        assert!(heads.may_be_fenced());
        assert_eq!(to_look_at(&heads, &[(1, 5)]), MINE);
        heads.saw(&MINE, &seen(Some(5), &[(3, 6, 30)]));
        assert!(heads.fence(&batch(&[(3, 6)])).is_some());
        assert_eq!(heads.fence(&batch(&[(1, 5)])), None);
    }

    #[test]
    fn a_lost_connection_takes_all_that_was_known_with_it() {
        let mut heads = looked();
        heads.lose();
        assert_eq!(heads.seq(ShardId(1)), 0);
        let all = heads.to_look_at(&batch(&[(1, 5)]), false, || MINE.to_vec());
        assert_eq!(all, MINE, "also for a statement that looks at heads");
    }

    #[test]
    fn all_is_looked_at_again_before_anything_is_written_where_an_event_was_there_already() {
        let mut heads = looked();
        heads.doubt();
        let all = heads.to_look_at(&batch(&[(1, 5)]), false, || MINE.to_vec());
        assert_eq!(all, MINE, "also for a statement that looks at heads");
        heads.saw(&all, &seen(Some(4), &[(1, 5, 12), (2, 5, 20)]));
        assert_eq!(heads.seq(ShardId(1)), 12);
        assert_eq!(heads.to_look_at(&batch(&[(1, 5)]), false, || MINE.to_vec()), []);
    }

    #[test]
    fn a_fence_that_is_gone_does_not_come_back() {
        let mut heads = Heads::new(7, 1);
        heads.saw(&MINE, &seen(None, &[(1, 5, 10)]));
        assert_eq!(heads.fence(&batch(&[(1, 5)])), None);
        assert!(!heads.may_be_fenced());
        assert_eq!(heads.seq(ShardId(1)), 10);
    }
}
