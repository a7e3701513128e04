//! Which committer writes to which shards.
//!
//! Each has whole parts of the log, as long as there are enough of them: a statement opens fewer parts
//! and their indexes, and no two committers of a node write to one page.
//!
//! One list says who writes to a shard, made once, when the journal is opened: by it commits are queued, and fences
//! are made (`heads.rs`). Another start may divide the shards otherwise. It has fences of its own.

use protocol::{SHARDS, ShardId};
use sqlx::PgConnection;
use std::{cmp::Reverse, collections::BTreeMap};

/// Into how many parts the log is divided: see `schema_1.sql`.
const N_PARTS: i32 = 16;

/// The part of each shard, in the order of shards. Postgres hashes them itself: how it does is its own affair.
const PARTS: &str = "
    SELECT p FROM generate_series(0, $1::int4 - 1) s CROSS JOIN generate_series(0, $2::int4 - 1) p
    WHERE satisfies_hash_partition('events'::regclass, $2, p, s) ORDER BY s";

/// All shards, divided.
#[derive(Debug)]
pub(super) struct Shares {
    /// Where each shard stands in the order of parts: no two stand in one place.
    places: Box<[u16]>,
    /// Who writes to each shard, if there is anybody.
    committers: Box<[usize]>,
    n_committers: usize,
}

impl Shares {
    /// Among `n` committers, as the parts of this database are.
    pub(super) async fn read(database: &mut PgConnection, n: usize) -> sqlx::Result<Self> {
        let parts: Vec<i32> = sqlx::query_scalar(PARTS)
            .bind(i32::from(SHARDS))
            .bind(N_PARTS)
            .fetch_all(database)
            .await?;
        if parts.len() != usize::from(SHARDS) {
            let problem = "every shard was to have one part of the log";
            return Err(sqlx::Error::Protocol(problem.into()));
        }
        Ok(Self::divide(&parts, n))
    }

    /// For who writes nothing.
    pub(super) fn none() -> Self {
        Self::divide(&[0; SHARDS as usize], 0)
    }

    /// Among `n` committers, whole parts if there are as many. If not, each has as many shards, or one more: those
    /// that stand side by side. `parts` says of each shard which part it is in.
    pub(super) fn divide(parts: &[i32], n: usize) -> Self {
        let mut shards: Vec<usize> = (0..parts.len()).collect();
        shards.sort_by_key(|shard| parts[*shard]);
        let mut places = vec![0_u16; parts.len()];
        for (place, shard) in (0..).zip(shards) {
            places[shard] = place;
        }
        let dealt = deal(parts, n);
        let committer = |(part, place): (&i32, &u16)| match &dealt {
            Some(dealt) => dealt[part],
            None => usize::from(*place) * n / parts.len(),
        };
        let committers = parts.iter().zip(&places).map(committer).collect();
        Self { places: places.into(), committers, n_committers: n }
    }

    /// How many committers there are.
    pub(super) fn n_committers(&self) -> usize {
        self.n_committers
    }

    /// Where in the order of parts a shard stands: no two stand in one place.
    pub(super) fn place(&self, shard: ShardId) -> u16 {
        self.places[usize::from(shard.0 % SHARDS)]
    }

    /// Which committer writes to a shard; None if there are none.
    pub(super) fn committer(&self, shard: ShardId) -> Option<usize> {
        (self.n_committers > 0).then(|| self.committers[usize::from(shard.0 % SHARDS)])
    }

    /// Which shards a committer writes to, as Postgres writes bits: the first is that of shard 0.
    pub(super) fn bits(&self, committer: usize) -> String {
        let is_its = |shard| self.committer(shard) == Some(committer);
        (0..SHARDS).map(ShardId).map(|shard| if is_its(shard) { '1' } else { '0' }).collect()
    }
}

/// Which of `n` committers has which part: the largest part first, each to who has the fewest parts, of those to who has the
/// fewest shards. So nobody has more than a part more than another, in parts and in shards. None if there are not enough.
fn deal(parts: &[i32], n: usize) -> Option<BTreeMap<i32, usize>> {
    let mut sizes: BTreeMap<i32, usize> = BTreeMap::new();
    for part in parts {
        *sizes.entry(*part).or_default() += 1;
    }
    if sizes.len() < n {
        return None;
    }
    let mut by_size: Vec<_> = sizes.into_iter().collect();
    by_size.sort_by_key(|(_, n_shards)| Reverse(*n_shards));
    let mut has = vec![(0_usize, 0_usize); n];
    let give = |(part, n_new): (i32, usize)| {
        let least = has.iter_mut().enumerate().min_by_key(|(_, it)| **it);
        let (committer, (n_parts, n_shards)) = least?;
        *n_parts += 1;
        *n_shards += n_new;
        Some((part, committer))
    };
    by_size.into_iter().map(give).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::{collection::vec, prelude::*};
    use std::collections::BTreeSet;

    /// A part of each shard: some are larger than others, some may be empty.
    fn any_parts() -> impl Strategy<Value = Vec<i32>> {
        let part = |n: i32| (0..n, 0..n).prop_map(|(one, other)| i32::min(one, other));
        (1..=N_PARTS).prop_flat_map(move |n| vec(part(n), usize::from(SHARDS)))
    }

    /// By how much the most is more than the least.
    fn spread(n: impl IntoIterator<Item = usize>) -> usize {
        let n: Vec<usize> = n.into_iter().collect();
        n.iter().max().unwrap() - n.iter().min().unwrap()
    }

    proptest! {
        #[test]
        fn every_committer_has_its_share(parts in any_parts(), n in 1..=64_usize) {
            let shares = Shares::divide(&parts, n);
            let mut n_shards = vec![0; n];
            let mut n_parts = vec![0; n];
            let mut whose: BTreeMap<i32, BTreeSet<usize>> = BTreeMap::new();
            let mut sizes: BTreeMap<i32, usize> = BTreeMap::new();
            for (shard, part) in (0..SHARDS).map(ShardId).zip(&parts) {
                let committer = shares.committer(shard).unwrap();
                n_shards[committer] += 1;
                *sizes.entry(*part).or_default() += 1;
                if whose.entry(*part).or_default().insert(committer) {
                    n_parts[committer] += 1;
                }
            }
            if n > whose.len() {
                prop_assert!(spread(n_shards.clone()) <= 1, "{n_shards:?}");
                return Ok(());
            }
            prop_assert!(whose.values().all(|whose| whose.len() == 1), "a part is cut: {whose:?}");
            prop_assert!(spread(n_parts.clone()) <= 1, "{n_parts:?}");
            let largest = sizes.values().copied().max().unwrap();
            prop_assert!(spread(n_shards.clone()) <= largest, "{n_shards:?} of {sizes:?}");
            if whose.len().is_multiple_of(n) {
                let differ = spread(sizes.values().copied());
                prop_assert!(spread(n_shards.clone()) <= differ, "{n_shards:?} of {sizes:?}");
            }
        }

        #[test]
        fn those_of_a_part_stand_side_by_side(parts in any_parts(), n in 0..=64_usize) {
            let shares = Shares::divide(&parts, n);
            let mut shards: Vec<_> = (0..SHARDS).map(ShardId).collect();
            shards.sort_by_key(|shard| shares.place(*shard));
            let places: Vec<_> = shards.iter().map(|shard| shares.place(*shard)).collect();
            prop_assert_eq!(places, (0..SHARDS).collect::<Vec<_>>());
            prop_assert!(shards.is_sorted_by_key(|shard| (parts[usize::from(shard.0)], *shard)));
        }
    }

    /// Not quite as many shards are in one part as in another, as where Postgres hashes them.
    #[test]
    fn two_and_four_have_as_many_parts_and_nearly_as_many_shards() {
        let sizes = [61, 58, 79, 67, 64, 58, 63, 67, 68, 69, 63, 45, 73, 56, 74, 59];
        let parts: Vec<i32> =
            (0..).zip(sizes).flat_map(|(part, n)| std::iter::repeat_n(part, n)).collect();
        let n_shards = |n| {
            let shares = Shares::divide(&parts, n);
            let n_shards = |committer| shares.bits(committer).matches('1').count();
            (0..n).map(n_shards).collect::<Vec<_>>()
        };
        assert_eq!(n_shards(2), [507, 517]);
        assert_eq!(n_shards(4), [260, 258, 248, 258]);
    }

    #[test]
    fn bits_say_whose_a_shard_is() {
        for n in [1, 2, 3, 16, 64] {
            let parts: Vec<i32> = (0..i32::from(SHARDS)).map(|shard| shard % N_PARTS).collect();
            let shares = Shares::divide(&parts, n);
            assert_eq!(shares.n_committers(), n);
            for committer in 0..n {
                let bits = shares.bits(committer);
                assert_eq!(bits.len(), usize::from(SHARDS));
                for (shard, bit) in (0..SHARDS).map(ShardId).zip(bits.chars()) {
                    assert_eq!(bit == '1', shares.committer(shard) == Some(committer), "{shard}");
                }
            }
        }
        assert_eq!(Shares::none().committer(ShardId(7)), None);
    }
}
