//! How far what commits want told has been told, as one number per shard.
//!
//! ```text
//!  a shard's log   … 41  42  43  44  45  46          43 and 45 still want something told
//!                         ▲   open    open
//!                        mark: all up to here is told, or waits in the outbox
//! ```
//!
//! Effects stand in the row of their commit's last event. Nothing is written when one is told: the
//! next commit that moves the shard's head takes the new mark along; most leave heads alone, and then all marks
//! are written together, once a second, with how far the logs go. So that one receiver who cannot be reached
//! does not hold back the mark of many who can, what stays open for long is put in the outbox.

use crate::{
    Commit, EntityKey, Version,
    journal::{EffectKey, JournalError, OutboxPosition, record::WITH_EVENTS},
};
use foldhash::{HashMap, HashSet};
use protocol::{SHARDS, ShardId};
use serde_bytes::{ByteBuf, Bytes};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How long an effect may hold back its shard's mark.
pub(super) const PATIENCE: Duration = Duration::from_secs(60);
/// How many events of the shard it may hold back.
const N_BEHIND_MAX: u64 = 256;

const SHARD_BITS: u32 = 52;
const SEQ_BITS: u32 = 16;

/// Where an effect stands that is still with its event: no two share it, and later ones of a shard
/// have greater ones.
pub(super) fn position(shard: ShardId, seq: u64, index: u32) -> OutboxPosition {
    let number = (u64::from(shard.0) << SHARD_BITS) | (seq << SEQ_BITS) | u64::from(index);
    OutboxPosition(WITH_EVENTS | number)
}

/// The shard and number of the event that has the effect; None if it waits in the outbox.
pub(super) fn place(position: OutboxPosition) -> Option<(ShardId, u64)> {
    let number = position.0.checked_sub(WITH_EVENTS)?;
    let seq = (number % (1 << SHARD_BITS)) >> SEQ_BITS;
    Some((ShardId((number >> SHARD_BITS) as u16), seq))
}

/// The effects of one commit as its last event keeps them; None if there are none.
pub(super) fn encode(effects: &[Vec<u8>]) -> Option<Vec<u8>> {
    let effects: Vec<_> = effects.iter().map(|bytes| Bytes::new(bytes)).collect();
    (!effects.is_empty()).then(|| rmp_serde::to_vec(&effects).expect("bytes are plain data"))
}

/// What [`encode`] made them.
pub(super) fn decode(source: EntityKey, bytes: &[u8]) -> Result<Vec<Vec<u8>>, JournalError> {
    let effects: Vec<ByteBuf> = rmp_serde::from_slice(bytes).map_err(|error| {
        JournalError::Unreadable { entity: source, problem: format!("effects: {error}") }
    })?;
    Ok(effects.into_iter().map(ByteBuf::into_vec).collect())
}

/// What is known of every shard.
#[derive(Debug)]
pub(super) struct Told(Box<[Mutex<Shard>]>);

#[derive(Debug, Default)]
struct Shard {
    /// The ownership under which the rest is complete; 0: under none yet.
    epoch: u64,
    /// The newest event known of.
    seen: u64,
    /// The mark as it was last written.
    written: u64,
    /// How far the log goes, as it was last written in the shard's head.
    kept: u64,
    /// Commits of which something is not told yet, by the number of their last event.
    open: BTreeMap<u64, Open>,
    /// Where they are in `open`.
    numbers: HashMap<(EntityKey, Version), u64>,
    /// Told before it was known what is open.
    early: HashSet<EffectKey>,
}

/// A commit of which something is not told yet.
#[derive(Debug)]
struct Open {
    commit: (EntityKey, Version),
    left: BTreeSet<u32>,
    since: Instant,
    /// It may be in the outbox as well: nobody answered who was to put it there.
    is_doubtful: bool,
}

/// What a shard's head and log say, and the commits after its mark that want something told.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) told: u64,
    /// How far the log goes, as the head says: it may be behind.
    pub(super) kept: u64,
    /// The number of its last event, as the log says.
    pub(super) head: u64,
    /// By the number of their last event: who, and how many effects.
    pub(super) commits: BTreeMap<u64, (EntityKey, Version, u32)>,
}

/// A mark to be written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) shard: ShardId,
    pub(super) epoch: u64,
    pub(super) told: u64,
    /// How far the log goes.
    pub(super) seq: u64,
}

/// What has been open for too long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Laggard {
    pub(super) shard: ShardId,
    pub(super) seq: u64,
    pub(super) commit: (EntityKey, Version),
    pub(super) left: BTreeSet<u32>,
}

impl Default for Told {
    fn default() -> Self {
        Self((0..SHARDS).map(|_| Mutex::default()).collect())
    }
}

impl Told {
    fn shard(&self, shard: ShardId) -> MutexGuard<'_, Shard> {
        // Never held across an await or a panic, so poison means nothing here.
        self.0[usize::from(shard.0 % SHARDS)].lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Is it known what of this shard is open, under this ownership?
    pub(super) fn knows(&self, shard: ShardId, epoch: u64) -> bool {
        self.shard(shard).epoch == epoch
    }

    /// All up to this event is told, or waits in the outbox; 0 while nothing is known.
    pub(super) fn mark(&self, shard: ShardId, epoch: u64) -> u64 {
        let shard = self.shard(shard);
        if shard.epoch == epoch { shard.mark() } else { 0 }
    }

    /// The newest event of a shard that this process knows of: it is there, and all before it.
    pub(super) fn seen(&self, shard: ShardId) -> u64 {
        self.shard(shard).seen
    }

    /// Notes what an ownership began with. What this process knows better stays: events it has seen
    /// itself, and which of their effects it has told. Unless the log ends before events that it has seen: since it was asked
    /// after they were written, the server has gone back and lost them, and others may stand where they stood.
    pub(super) fn learn(&self, shard: ShardId, epoch: u64, found: Found) {
        let mut shard = self.shard(shard);
        if found.head < shard.seen {
            shard.open.clear();
            shard.numbers.clear();
            shard.early.clear();
            shard.seen = found.told;
        }
        let gone: Vec<_> = shard.open.range(..=found.told).map(|(seq, _)| *seq).collect();
        for seq in gone {
            shard.close(seq);
        }
        for (seq, (source, version, n)) in found.commits {
            if seq > shard.seen {
                shard.open(seq, source, version, n);
            }
        }
        shard.early.clear();
        shard.seen = shard.seen.max(found.head);
        shard.written = found.told;
        shard.kept = found.kept;
        shard.epoch = epoch;
    }

    /// Notes a commit that was written; its last event is number `seq` of its shard.
    pub(super) fn wrote(&self, commit: &Commit, seq: u64) {
        let mut shard = self.shard(commit.entity.shard());
        shard.seen = shard.seen.max(seq);
        if !commit.effects.is_empty() {
            shard.open(seq, commit.entity, commit.version(), commit.effects.len() as u32);
        }
    }

    /// Notes an effect that has been told; says whether it was open, and
    /// nowhere else. If not, it may be in the outbox.
    pub(super) fn tell(&self, effect: EffectKey, epoch: Option<u64>) -> bool {
        let mut shard = self.shard(effect.source.shard());
        let Some(seq) = shard.numbers.get(&(effect.source, effect.version)).copied() else {
            if epoch != Some(shard.epoch) {
                shard.early.insert(effect);
            }
            return false;
        };
        let open = shard.open.get_mut(&seq).expect("what has a number is open");
        let was_open = open.left.remove(&effect.index) && !open.is_doubtful;
        if open.left.is_empty() {
            shard.close(seq);
        }
        was_open
    }

    /// Has this effect of event `seq` been told, as far as this process knows?
    pub(super) fn is_told(&self, effect: EffectKey, seq: u64) -> bool {
        let shard = self.shard(effect.source.shard());
        let is_open = shard.open.get(&seq).is_some_and(|open| open.left.contains(&effect.index));
        (shard.epoch > 0 && seq <= shard.seen && !is_open) || shard.early.contains(&effect)
    }

    /// Notes that a mark was written.
    pub(super) fn written(&self, mark: Mark) {
        let mut shard = self.shard(mark.shard);
        if shard.epoch == mark.epoch {
            shard.written = shard.written.max(mark.told);
            shard.kept = shard.kept.max(mark.seq);
        }
    }

    /// Of a shard: what has held its mark back for too long, and the mark once that is in the outbox,
    /// if the journal has an older one, or an older end of the log.
    pub(super) fn due(
        &self,
        number: ShardId,
        epoch: u64,
        takes_laggards: bool,
    ) -> (Option<Mark>, Vec<Laggard>) {
        let shard = self.shard(number);
        if shard.epoch != epoch {
            return (None, Vec::new());
        }
        let is_late = |(seq, open): &(&u64, &Open)| {
            takes_laggards && (shard.seen - **seq > N_BEHIND_MAX || open.since.elapsed() > PATIENCE)
        };
        let laggards: Vec<_> = shard
            .open
            .iter()
            .take_while(is_late)
            .map(|(seq, Open { commit, left, .. })| Laggard {
                shard: number,
                seq: *seq,
                commit: *commit,
                left: left.clone(),
            })
            .collect();
        let first = shard.open.keys().nth(laggards.len());
        let told = first.map_or(shard.seen, |seq| seq - 1);
        let is_due = told > shard.written || shard.seen > shard.kept;
        (is_due.then_some(Mark { shard: number, epoch, told, seq: shard.seen }), laggards)
    }

    /// Notes that a laggard may be in the outbox now.
    pub(super) fn doubt(&self, laggard: &Laggard) {
        if let Some(open) = self.shard(laggard.shard).open.get_mut(&laggard.seq) {
            open.is_doubtful = true;
        }
    }

    /// Notes that a laggard is in the outbox now; returns what of it has been told meanwhile.
    pub(super) fn put_off(&self, laggard: &Laggard) -> Vec<EffectKey> {
        let mut shard = self.shard(laggard.shard);
        let (source, version) = laggard.commit;
        let is_open = |index: &&u32| {
            shard.open.get(&laggard.seq).is_some_and(|open| open.left.contains(index))
        };
        let told = laggard.left.iter().filter(|index| !is_open(index));
        let told = told.map(|index| EffectKey { source, version, index: *index }).collect();
        shard.close(laggard.seq);
        told
    }
}

impl Shard {
    fn mark(&self) -> u64 {
        self.open.first_key_value().map_or(self.seen, |(seq, _)| seq - 1)
    }

    fn open(&mut self, seq: u64, source: EntityKey, version: Version, n: u32) {
        let is_early =
            |index: &u32| self.early.contains(&EffectKey { source, version, index: *index });
        let left: BTreeSet<_> = (0..n).filter(|index| !is_early(index)).collect();
        if !left.is_empty() {
            self.numbers.insert((source, version), seq);
            let open =
                Open { commit: (source, version), left, since: Instant::now(), is_doubtful: false };
            self.open.insert(seq, open);
        }
    }

    fn close(&mut self, seq: u64) {
        if let Some(open) = self.open.remove(&seq) {
            self.numbers.remove(&open.commit);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::commit::EncodedEvent;
    use protocol::{CommandId, OrderId, Timestamp};
    use uuid::Uuid;

    const SHARD: ShardId = ShardId(7);

    fn commit(version: u64) -> Commit {
        let source = OrderId::created_by(Uuid::nil(), CommandId::nth(1), SHARD);
        let events = vec![EncodedEvent { name: "moved".into(), bytes: vec![] }];
        let commit = Commit::new(source.into(), Version(version - 1), Timestamp(0));
        Commit { events, effects: vec![vec![1]], ..commit }
    }

    fn effect(version: u64) -> EffectKey {
        let commit = commit(version);
        EffectKey { source: commit.entity, version: commit.version(), index: 0 }
    }

    /// The log ends with this event, and those of these numbers want something told.
    fn found(told: u64, head: u64, seqs: &[u64]) -> Found {
        let commits = seqs.iter().map(|seq| (*seq, (commit(*seq).entity, Version(*seq), 1)));
        Found { told, kept: head, head, commits: commits.collect() }
    }

    /// Nine commits were written under epoch 1, and all but the last was told.
    fn nearly_all_told() -> Told {
        let told = Told::default();
        told.learn(SHARD, 1, found(0, 0, &[]));
        for seq in 1..=9 {
            told.wrote(&commit(seq), seq);
            if seq < 9 {
                assert!(told.tell(effect(seq), Some(1)));
            }
        }
        assert_eq!(told.mark(SHARD, 1), 8);
        told
    }

    #[test]
    fn what_was_told_before_an_ownership_began_anew_is_not_told_again() {
        let told = nearly_all_told();
        told.learn(SHARD, 2, found(0, 9, &[1, 2, 3, 4, 5, 6, 7, 8, 9]));
        assert_eq!((told.mark(SHARD, 2), told.seen(SHARD)), (8, 9));
        assert!(told.is_told(effect(2), 2) && !told.is_told(effect(9), 9));
        // Nor after others have written more.
        told.learn(SHARD, 3, found(0, 11, &[1, 2, 9, 11]));
        assert_eq!((told.mark(SHARD, 3), told.seen(SHARD)), (8, 11));
        assert!(told.tell(effect(9), Some(3)));
        assert_eq!(told.mark(SHARD, 3), 10);
    }

    #[test]
    fn what_a_server_that_has_gone_back_has_lost_is_forgotten_and_what_it_has_is_told() {
        let told = nearly_all_told();
        told.learn(SHARD, 2, found(0, 3, &[2]));
        assert_eq!((told.mark(SHARD, 2), told.seen(SHARD)), (1, 3));
        assert!(!told.is_told(effect(2), 2));
        let (mark, _) = told.due(SHARD, 2, false);
        assert_eq!(mark, Some(Mark { shard: SHARD, epoch: 2, told: 1, seq: 3 }));
        assert!(told.tell(effect(2), Some(2)));
        assert_eq!(told.mark(SHARD, 2), 3);
        // What comes to stand where something was lost is told as well.
        told.wrote(&commit(4), 4);
        assert_eq!(told.mark(SHARD, 2), 3);
    }
}
