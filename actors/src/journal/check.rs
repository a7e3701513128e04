//! Proves that a journal is sound, as far as a journal can tell: the invariants I1 to I8 of the
//! cluster's design, and that claims, postings and lists belong to somebody.
//!
//! [`Checker`] is fed records in the order of [`Part::ALL`], each part in the order of its keys. It
//! keeps a few words for each entity, account, remembered answer and acknowledgement, for each command
//! whose answer must be among them, and for the commands of one shard at a time; of events it keeps
//! nothing.

use super::{Journal, JournalError, Part, Record};
use crate::{EntityKey, Version};
use protocol::{CommandId, Currency, ShardId, Timestamp};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use xxhash_rust::xxh3::xxh3_128;

/// Violations that are told in words; of the others there is a number.
const N_TOLD_MAX: usize = 1_000;
/// Records read at once.
const N_PAGE: usize = 5_000;

/// What a sound journal keeps.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, strum::Display,
)]
#[serde(rename_all = "snake_case")]
pub enum Invariant {
    /// I1: what was acknowledged is there.
    #[strum(to_string = "I1 acknowledged is durable")]
    Durable,
    /// I2: versions of an entity count from 1 without a gap, each once, and its rows agree.
    #[strum(to_string = "I2 no fork")]
    NoFork,
    /// I3: the log of a shard counts from 1 to its head without a gap.
    #[strum(to_string = "I3 logs are gapless")]
    Gapless,
    /// I4: a command is applied by one commit and has one answer, which is there for as long as the
    /// command may be repeated.
    #[strum(to_string = "I4 commands are applied once")]
    Once,
    /// I5: the versions of an entity come in the order of its shard's log.
    #[strum(to_string = "I5 histories are in order")]
    InOrder,
    /// I6: epochs only grow along the log of a shard.
    #[strum(to_string = "I6 epochs grow")]
    EpochsGrow,
    /// I7: no epoch writes before its first number, or once another has begun.
    #[strum(to_string = "I7 one epoch at a time")]
    OneEpoch,
    /// I8: what waits to be delivered is part of a commit, once.
    #[strum(to_string = "I8 effects are of events")]
    Effects,
    /// Whoever holds a claim or stands in a list exists.
    #[strum(to_string = "everything belongs to somebody")]
    Owned,
    /// The lines of a fact sum to zero, and balances are sums of lines.
    #[strum(to_string = "books balance")]
    Books,
    /// Records come in order, each once, each where it belongs.
    #[strum(to_string = "records are in order")]
    Records,
}

/// Something that cannot be in a sound journal.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Violation {
    /// What it breaks.
    pub invariant: Invariant,
    /// Where, and how.
    pub what: String,
}

/// What a journal was found to be.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// How many records there are of each part.
    pub counts: BTreeMap<Part, u64>,
    /// How many acknowledgements were looked for.
    pub n_acks: u64,
    /// How many commands were applied so late that their answers must be there.
    pub n_applied: u64,
    /// How many violations there are.
    pub n_violations: u64,
    /// The first thousand of them.
    pub violations: Vec<Violation>,
}

impl Report {
    /// Is nothing wrong?
    pub fn is_sound(&self) -> bool {
        self.n_violations == 0
    }
}

/// A yes that somebody was told: after `command`, `entity` had this version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ack {
    /// Who said yes.
    pub entity: EntityKey,
    /// The version its last event led to.
    pub version: Version,
    /// To what.
    pub command: CommandId,
}

/// Looks at one record after the other.
#[derive(Debug, Default)]
pub struct Checker {
    report: Report,
    acks: BTreeSet<Ack>,
    answers_since: Timestamp,
    last: Option<Record>,
    epochs: HashMap<ShardId, Vec<Epoch>>,
    heads: BTreeMap<ShardId, Head>,
    log: Option<Log>,
    entities: HashMap<EntityKey, Known>,
    /// Versions that were skipped, until they come late or not at all.
    missing: BTreeMap<EntityKey, Vec<(u64, u64)>>,
    answered: HashSet<u128>,
    /// Commands that were applied, until their answers come or do not.
    unanswered: HashSet<(EntityKey, CommandId)>,
    waiting: HashSet<u128>,
    fact: Option<Fact>,
    accounts: BTreeMap<(String, String), i128>,
}

#[derive(Debug, Clone, Copy)]
struct Epoch {
    number: u64,
    first_seq: u64,
}

#[derive(Debug, Clone, Copy)]
struct Head {
    epoch: u64,
    seq: u64,
    is_reached: bool,
}

/// The log that is being read.
#[derive(Debug)]
struct Log {
    shard: ShardId,
    seq: u64,
    epoch: u64,
    /// Whose commit the newest event was part of.
    commit: Option<(EntityKey, CommandId, Timestamp, u64)>,
    applied: HashSet<u128>,
}

#[derive(Debug, Clone, Copy, Default)]
struct Known {
    version: u64,
    has_row: bool,
}

/// The fact whose lines are being read.
#[derive(Debug)]
struct Fact {
    key: String,
    n_lines: u32,
    commit: (EntityKey, Version),
    sums: BTreeMap<String, i128>,
}

/// Reads a whole journal, to which nobody must commit meanwhile. Answers from before `answers_since` may
/// have been forgotten ([`Journal::forget_results`]); no later one.
pub async fn check(
    journal: &dyn Journal,
    acks: impl IntoIterator<Item = Ack>,
    answers_since: Timestamp,
) -> Result<Report, JournalError> {
    let mut checker = Checker::new(acks, answers_since);
    for part in Part::ALL {
        let mut after = None;
        loop {
            let page = journal.dump(*part, after, N_PAGE).await?;
            let is_last = page.len() < N_PAGE;
            after = page.last().cloned();
            for record in page {
                checker.look(record);
            }
            if is_last {
                break;
            }
        }
    }
    for ((account, name), sum) in checker.balances() {
        let Ok(currency) = name.parse::<Currency>() else { continue };
        let balance = journal.balance(account.clone(), currency).await?;
        if i128::from(balance) != sum {
            let what = format!("{account} holds {balance} {name}, its lines sum to {sum}");
            checker.violation(Invariant::Books, what);
        }
    }
    Ok(checker.finish())
}

impl Checker {
    /// One that has seen nothing yet, and is to find `acks`, and an answer to whatever was applied at
    /// `answers_since` or later.
    pub fn new(acks: impl IntoIterator<Item = Ack>, answers_since: Timestamp) -> Self {
        let acks: BTreeSet<_> = acks.into_iter().collect();
        let report = Report { n_acks: acks.len() as u64, ..Report::default() };
        Self { report, acks, answers_since, ..Self::default() }
    }

    /// The sum of each account's lines so far, by account and currency.
    pub fn balances(&self) -> Vec<((String, String), i128)> {
        self.accounts.iter().map(|(account, sum)| (account.clone(), *sum)).collect()
    }

    /// Looks at the next record.
    pub fn look(&mut self, record: Record) {
        *self.report.counts.entry(record.part()).or_default() += 1;
        self.look_at_place(&record);
        self.last = Some(match record {
            Record::Event { .. } => self.event(record),
            Record::Epoch { shard, epoch, first_seq, .. } => {
                self.epoch(shard, epoch, first_seq);
                record
            }
            Record::Head { shard, epoch, seq } => {
                self.heads.insert(shard, Head { epoch, seq, is_reached: seq == 0 });
                let newest = self.epochs.get(&shard).and_then(|epochs| epochs.last()).copied();
                if newest.is_some_and(|newest| newest.number > epoch) {
                    let what = format!("{shard} is at epoch {epoch}, older than {newest:?}");
                    self.violation(Invariant::EpochsGrow, what);
                }
                record
            }
            Record::Entity { entity, version, .. } => {
                let known = self.entities.entry(entity).or_default();
                known.has_row = true;
                let n_events = known.version;
                if n_events != version.0 {
                    let what =
                        format!("{entity} is at {}, its last event at {n_events}", version.0);
                    self.violation(Invariant::NoFork, what);
                }
                record
            }
            Record::Snapshot { entity, version, .. } => {
                if self.version(entity) < Some(version.0) {
                    let what = format!("{entity} has a snapshot of {}, too far", version.0);
                    self.violation(Invariant::NoFork, what);
                }
                record
            }
            Record::Result { entity, command, .. } => {
                self.exists(entity, "answered");
                self.unanswered.remove(&(entity, command));
                if !self.answered.insert(digest(entity, command.0.as_bytes())) {
                    let what = format!("{entity} has two answers to {command}");
                    self.violation(Invariant::Once, what);
                }
                record
            }
            Record::Effect { source, version, index, .. } => {
                self.effect(source, version, index);
                record
            }
            Record::Claim { ref claim, holder } => {
                self.exists(holder, &format!("holds {claim}"));
                record
            }
            Record::Posting { .. } => self.posting(record),
            Record::View { entity, .. } => {
                self.exists(entity, "stands in lists");
                record
            }
        });
    }

    /// Says what was found, once everything was looked at.
    pub fn finish(mut self) -> Report {
        self.end_part(None);
        for ack in std::mem::take(&mut self.acks) {
            let Ack { entity, version, command } = ack;
            let what = format!("{entity} said yes to {command} at {}, and has not", version.0);
            self.violation(Invariant::Durable, what);
        }
        self.report
    }

    fn violation(&mut self, invariant: Invariant, what: String) {
        self.report.n_violations += 1;
        if self.report.violations.len() < N_TOLD_MAX {
            self.report.violations.push(Violation { invariant, what });
        }
    }

    /// Does the record come after the one before?
    fn look_at_place(&mut self, record: &Record) {
        let part = record.part();
        let Some(last) = &self.last else { return };
        let (last, is_late) = (last.part(), last.key() >= record.key());
        if last != part {
            if last > part {
                self.violation(Invariant::Records, format!("{part} after {last}"));
            }
            self.end_part(Some(part));
        } else if is_late && part != Part::Events {
            // Numbers of events have a check of their own.
            self.violation(Invariant::Records, format!("{part}: {:?}", record.key()));
        }
    }

    /// Looks at what only the end of a part tells; `next` follows it.
    fn end_part(&mut self, next: Option<Part>) {
        self.end_log();
        self.end_fact();
        let passes = |part| next.is_none_or(|next| next > part);
        if passes(Part::Events) {
            for (entity, ranges) in std::mem::take(&mut self.missing) {
                for (first, last) in ranges {
                    let what = format!("{entity} has no events {first} to {last}");
                    self.violation(Invariant::NoFork, what);
                }
            }
            let heads = std::mem::take(&mut self.heads);
            for (shard, head) in heads.iter().filter(|(_, head)| !head.is_reached) {
                let what = format!("{shard} has no events, its head is {}", head.seq);
                self.violation(Invariant::Gapless, what);
            }
        }
        if passes(Part::Entities) {
            let mut without: Vec<_> = self
                .entities
                .iter_mut()
                .filter(|(_, known)| !known.has_row)
                .map(|(entity, known)| {
                    known.has_row = true;
                    (*entity, known.version)
                })
                .collect();
            without.sort_unstable();
            for (entity, version) in without {
                let what = format!("{entity} has {version} events and no row");
                self.violation(Invariant::NoFork, what);
            }
        }
        if passes(Part::Results) {
            let mut unanswered: Vec<_> = std::mem::take(&mut self.unanswered).into_iter().collect();
            unanswered.sort_unstable();
            for (entity, command) in unanswered {
                let what = format!("{entity} applied {command} and has no answer to it");
                self.violation(Invariant::Once, what);
            }
        }
    }

    fn epoch(&mut self, shard: ShardId, number: u64, first_seq: u64) {
        let epochs = self.epochs.entry(shard).or_default();
        let last = epochs.last().copied();
        epochs.push(Epoch { number, first_seq });
        if last.is_some_and(|last| first_seq < last.first_seq) {
            let what = format!("epoch {number} of {shard} begins at {first_seq}, before {last:?}");
            self.violation(Invariant::EpochsGrow, what);
        }
    }

    fn event(&mut self, record: Record) -> Record {
        let Record::Event { shard, seq, epoch, entity, version, at, command, .. } = record else {
            return record;
        };
        if entity.shard() != shard {
            let what = format!("an event of {entity} stands in {shard}");
            self.violation(Invariant::Records, what);
        }
        if self.log.as_ref().is_some_and(|log| log.shard != shard) {
            self.end_log();
        }
        let new = || Log { shard, seq: 0, epoch: 0, commit: None, applied: HashSet::new() };
        let mut log = self.log.take().unwrap_or_else(new);
        if seq != log.seq + 1 {
            let what = format!("{shard} has {seq} after {}", log.seq);
            self.violation(Invariant::Gapless, what);
        }
        if epoch < log.epoch {
            let what = format!("{shard} {seq} is of epoch {epoch}, after {}", log.epoch);
            self.violation(Invariant::EpochsGrow, what);
        }
        self.look_at_epoch(shard, seq, epoch);
        self.look_at_version(entity, version.0);
        if let Some(command) = command {
            self.acks.remove(&Ack { entity, version, command });
            if at >= self.answers_since && self.unanswered.insert((entity, command)) {
                self.report.n_applied += 1;
            }
            let commit = (entity, command, at, epoch);
            let is_same_commit = log.commit == Some(commit);
            if !is_same_commit && !log.applied.insert(digest(entity, command.0.as_bytes())) {
                let what = format!("{entity} applied {command} again at {}", version.0);
                self.violation(Invariant::Once, what);
            }
        }
        log.commit = command.map(|command| (entity, command, at, epoch));
        (log.seq, log.epoch) = (seq, epoch);
        self.log = Some(log);
        record
    }

    /// Had the epoch begun, and the next one not?
    fn look_at_epoch(&mut self, shard: ShardId, seq: u64, epoch: u64) {
        let epochs = self.epochs.get(&shard).map_or(&[][..], Vec::as_slice);
        let place = epochs.partition_point(|it| it.number < epoch);
        let problem = match epochs.get(place).filter(|it| it.number == epoch) {
            None => Some("which never began".to_owned()),
            Some(own) if own.first_seq > seq => Some(format!("which began at {}", own.first_seq)),
            Some(_) => epochs
                .get(place + 1)
                .filter(|next| next.first_seq <= seq)
                .map(|next| format!("which ended at {}", next.first_seq)),
        };
        if let Some(problem) = problem {
            let what = format!("{shard} {seq} is of epoch {epoch}, {problem}");
            self.violation(Invariant::OneEpoch, what);
        }
    }

    fn look_at_version(&mut self, entity: EntityKey, version: u64) {
        let known = self.entities.entry(entity).or_default();
        let last = known.version;
        if version > last {
            known.version = version;
            if version > last + 1 {
                self.missing.entry(entity).or_default().push((last + 1, version - 1));
            }
            return;
        }
        let ranges = self.missing.get_mut(&entity);
        let is_late = ranges.is_some_and(|ranges| fill(ranges, version));
        if is_late {
            let what = format!("{entity} has {version} after {last} in its shard's log");
            self.violation(Invariant::InOrder, what);
        } else {
            self.violation(Invariant::NoFork, format!("{entity} has {version} twice"));
        }
    }

    fn end_log(&mut self) {
        let Some(Log { shard, seq, epoch, .. }) = self.log.take() else { return };
        match self.heads.get_mut(&shard) {
            Some(head) => {
                head.is_reached = true;
                let head = *head;
                if head.seq != seq {
                    let what = format!("{shard} ends at {seq}, its head is {}", head.seq);
                    self.violation(Invariant::Gapless, what);
                }
                if head.epoch < epoch {
                    let what = format!("{shard} is at epoch {}, after {epoch}", head.epoch);
                    self.violation(Invariant::EpochsGrow, what);
                }
            }
            None => self.violation(Invariant::Gapless, format!("{shard} has no head")),
        }
    }

    fn effect(&mut self, source: EntityKey, version: Version, index: u32) {
        let name = format!("effect {index} of {source} at {}", version.0);
        if version.0 == 0 || self.version(source) < Some(version.0) {
            self.violation(Invariant::Effects, format!("{name} is of no event"));
        }
        let id = [version.0.to_be_bytes().as_slice(), &index.to_be_bytes()].concat();
        if !self.waiting.insert(digest(source, &id)) {
            self.violation(Invariant::Effects, format!("{name} waits twice"));
        }
    }

    fn posting(&mut self, record: Record) -> Record {
        let Record::Posting {
            ref key, line, entity, version, ref account, currency, amount, ..
        } = record
        else {
            return record;
        };
        if self.fact.as_ref().is_some_and(|fact| fact.key != *key) {
            self.end_fact();
        }
        if self.version(entity) < Some(version.0) {
            let what = format!("{key} was posted by {entity} at {}, too far", version.0);
            self.violation(Invariant::Books, what);
        }
        let commit = (entity, version);
        let new = || Fact { key: key.clone(), n_lines: 0, commit, sums: BTreeMap::new() };
        let mut fact = self.fact.take().unwrap_or_else(new);
        if fact.n_lines != line || fact.commit != commit {
            let what = format!("line {line} of {key} does not go with those before");
            self.violation(Invariant::Books, what);
        }
        fact.n_lines = line + 1;
        *fact.sums.entry(currency.to_string()).or_default() += i128::from(amount);
        let account = (account.clone(), currency.to_string());
        *self.accounts.entry(account).or_default() += i128::from(amount);
        self.fact = Some(fact);
        record
    }

    fn end_fact(&mut self) {
        let Some(Fact { key, sums, .. }) = self.fact.take() else { return };
        for (currency, sum) in sums.into_iter().filter(|(_, sum)| *sum != 0) {
            let what = format!("the lines of {key} sum to {sum} {currency}");
            self.violation(Invariant::Books, what);
        }
    }

    fn version(&self, entity: EntityKey) -> Option<u64> {
        self.entities.get(&entity).map(|known| known.version)
    }

    fn exists(&mut self, entity: EntityKey, role: &str) {
        if !self.entities.contains_key(&entity) {
            self.violation(Invariant::Owned, format!("{entity} {role} and does not exist"));
        }
    }
}

/// Takes a number out of ranges; was it in one?
fn fill(ranges: &mut Vec<(u64, u64)>, number: u64) -> bool {
    let Some(place) = ranges.iter().position(|(first, last)| (*first..=*last).contains(&number))
    else {
        return false;
    };
    let (first, last) = ranges.swap_remove(place);
    ranges.extend([(first, number - 1), (number + 1, last)].into_iter().filter(|(a, b)| a <= b));
    true
}

/// 16 bytes in place of many; two that are equal by chance are not to be expected.
fn digest(entity: EntityKey, name: &[u8]) -> u128 {
    xxh3_128(&[entity.to_bytes().as_slice(), name].concat())
}

#[cfg(test)]
mod tests;
