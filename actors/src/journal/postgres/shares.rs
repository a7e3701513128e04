//! Which committer writes to which shards.
//!
//! Each has whole parts of the log, but for those at the edges of its share: a statement opens fewer
//! parts and their indexes, and two committers seldom write to one page.

use protocol::{SHARDS, ShardId};
use sqlx::PgConnection;

/// Into how many parts the log is divided: see `schema_1.sql`.
const N_PARTS: i32 = 16;

/// All shards in the order of parts. Postgres hashes them itself: how it does is its own affair.
const BY_PART: &str = "
    SELECT s FROM generate_series(0, $1::int4 - 1) s CROSS JOIN generate_series(0, $2::int4 - 1) p
    WHERE satisfies_hash_partition('events'::regclass, $2, p, s) ORDER BY p, s";

/// The place of each shard in the order of parts.
#[derive(Debug)]
pub(super) struct Shares(Box<[u16]>);

impl Shares {
    /// As the parts of this database are.
    pub(super) async fn read(database: &mut PgConnection) -> sqlx::Result<Self> {
        let shards: Vec<i32> = sqlx::query_scalar(BY_PART)
            .bind(i32::from(SHARDS))
            .bind(N_PARTS)
            .fetch_all(database)
            .await?;
        let mut places = vec![None; usize::from(SHARDS)];
        for (shard, place) in shards.into_iter().zip(0..) {
            if let Some(known) = usize::try_from(shard).ok().and_then(|it| places.get_mut(it)) {
                *known = Some(place);
            }
        }
        let places = places.into_iter().collect::<Option<_>>();
        let unknown = || sqlx::Error::Protocol("every shard was to have a part of the log".into());
        places.map(Self).ok_or_else(unknown)
    }

    /// For who writes nothing.
    pub(super) fn none() -> Self {
        Self((0..SHARDS).collect())
    }

    /// Where in the order of parts a shard stands: no two stand in one place.
    pub(super) fn place(&self, shard: ShardId) -> u16 {
        self.0[usize::from(shard.0 % SHARDS)]
    }

    /// Which of `n` committers writes to a shard; None if there are none. Each has as many shards, or one
    /// more.
    pub(super) fn committer(&self, shard: ShardId, n: usize) -> Option<usize> {
        (n > 0).then(|| usize::from(self.place(shard)) * n / usize::from(SHARDS))
    }

    /// Which shards one of `n` committers writes to, as Postgres writes bits: the first is that of shard 0.
    pub(super) fn bits(&self, committer: usize, n: usize) -> String {
        let is_its = |shard| self.committer(shard, n) == Some(committer);
        (0..SHARDS).map(ShardId).map(|shard| if is_its(shard) { '1' } else { '0' }).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_committer_has_its_share() {
        let shares = Shares::none();
        for n in [1, 2, 3, 16, 64] {
            let mut n_shards = vec![0; n];
            for shard in (0..SHARDS).map(ShardId) {
                n_shards[shares.committer(shard, n).unwrap()] += 1;
            }
            let (least, most) = (n_shards.iter().min().unwrap(), n_shards.iter().max().unwrap());
            assert!(most - least <= 1, "{n} committers: {n_shards:?}");
            for (committer, n_shards) in n_shards.into_iter().enumerate() {
                let bits = shares.bits(committer, n);
                assert_eq!(bits.matches('1').count(), n_shards);
                let first = bits.find('1').map(|it| ShardId(it as u16)).unwrap();
                assert_eq!(shares.committer(first, n), Some(committer));
            }
        }
        assert_eq!(shares.committer(ShardId(7), 0), None);
    }
}
