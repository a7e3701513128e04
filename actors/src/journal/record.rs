//! A journal as a list of plain records: what is exported, imported and checked.

use crate::{
    Claim, EntityKey, Version, ViewRow,
    commit::{CommandResult, EncodedEvent},
    journal::{EffectKey, FeedEvent, OutboxPosition, OutboxRow, Recorded, RestoreError},
};
use protocol::{CommandId, Currency, ShardId, Timestamp};
use serde::{Deserialize, Serialize};

/// Positions from here on are of what stands with its event, and in no queue of its own.
pub(super) const WITH_EVENTS: u64 = 1 << 62;
/// All other numbers are smaller, and leave as many to whatever comes after them.
const NUMBERS_END: u64 = WITH_EVENTS / 2;

/// One row of a journal. As JSON, one line; bytes are in base64.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "record", rename_all = "snake_case")]
pub enum Record {
    /// An ownership of a shard.
    Epoch {
        /// Of which.
        shard: ShardId,
        /// Its number, which only grows.
        epoch: u64,
        /// The number of the first event that it may have written.
        first_seq: u64,
        /// Since when.
        at: Timestamp,
        /// Whose, for people.
        owner: String,
    },
    /// How far the log of a shard has come.
    Head {
        /// Of which.
        shard: ShardId,
        /// The newest ownership.
        epoch: u64,
        /// The number of its last event.
        seq: u64,
    },
    /// Something that happened to an entity.
    Event {
        /// In whose log it stands.
        shard: ShardId,
        /// Its number there.
        seq: u64,
        /// The ownership that wrote it.
        epoch: u64,
        /// To whom it happened.
        entity: EntityKey,
        /// The version it led to.
        version: Version,
        /// When.
        at: Timestamp,
        /// Its name.
        name: String,
        /// Its content.
        #[serde(with = "base64_bytes")]
        bytes: Vec<u8>,
        /// The command it answered.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        command: Option<CommandId>,
    },
    /// An entity.
    Entity {
        /// Which.
        entity: EntityKey,
        /// How many events it has.
        version: Version,
        /// When it wants to be woken.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        deadline: Option<Timestamp>,
    },
    /// An entity's state.
    Snapshot {
        /// Whose.
        entity: EntityKey,
        /// After that many events.
        version: Version,
        /// The state.
        #[serde(with = "base64_bytes")]
        bytes: Vec<u8>,
    },
    /// The answer to a command.
    Result {
        /// Where it stands among all answers: of one entity, the newer, the greater, but that those that stand
        /// with events come behind all others.
        position: u64,
        /// Who answered.
        entity: EntityKey,
        /// What.
        command: CommandId,
        /// When.
        at: Timestamp,
        /// The answer.
        #[serde(with = "base64_bytes")]
        bytes: Vec<u8>,
    },
    /// An effect that waits to be delivered.
    Effect {
        /// Where it stands in the outbox.
        position: u64,
        /// Whose commit it was part of.
        source: EntityKey,
        /// The version that commit led to.
        version: Version,
        /// Its place among the commit's effects.
        index: u32,
        /// When it was committed.
        at: Timestamp,
        /// The encoded [`crate::Effect`].
        #[serde(with = "base64_bytes")]
        bytes: Vec<u8>,
    },
    /// A key that is held.
    Claim {
        /// Which.
        claim: Claim,
        /// By whom.
        holder: EntityKey,
    },
    /// A line of bookkeeping.
    Posting {
        /// The fact it records.
        key: String,
        /// Its place among the lines of that fact.
        line: u32,
        /// Who posted it.
        entity: EntityKey,
        /// With the commit that led to this version.
        version: Version,
        /// When.
        at: Timestamp,
        /// Whose money.
        account: String,
        /// Of what.
        currency: Currency,
        /// In minor units.
        amount: i64,
        /// What it had to leave on the account, in minor units.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        floor: Option<i64>,
    },
    /// An entity's row in lists.
    View {
        /// Whose.
        entity: EntityKey,
        /// The row.
        row: ViewRow,
    },
}

/// The sections of a journal, each of one kind of [`Record`], in the order they are dumped,
/// restored and checked.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::VariantArray,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Part {
    /// [`Record::Epoch`] by shard and epoch.
    Epochs,
    /// [`Record::Head`] by shard.
    Heads,
    /// [`Record::Event`] by shard and number.
    Events,
    /// [`Record::Entity`] by entity.
    Entities,
    /// [`Record::Snapshot`] by entity.
    Snapshots,
    /// [`Record::Result`] by position.
    Results,
    /// [`Record::Effect`] by position.
    Effects,
    /// [`Record::Claim`] by claim.
    Claims,
    /// [`Record::Posting`] by key and line.
    Postings,
    /// [`Record::View`] by entity.
    Views,
}

/// What tells a record from the others of its section. Texts are sorted by their bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Key<'a> {
    /// Shard and epoch, shard and number, or position.
    Numbers(u64, u64),
    /// The entity.
    Entity(EntityKey),
    /// A claim, or a fact and its line.
    Text(&'a str, u32),
}

impl Part {
    /// Each of them, in order.
    pub const ALL: &[Self] = <Self as strum::VariantArray>::VARIANTS;
}

impl Record {
    /// The section it belongs to.
    pub fn part(&self) -> Part {
        match self {
            Self::Epoch { .. } => Part::Epochs,
            Self::Head { .. } => Part::Heads,
            Self::Event { .. } => Part::Events,
            Self::Entity { .. } => Part::Entities,
            Self::Snapshot { .. } => Part::Snapshots,
            Self::Result { .. } => Part::Results,
            Self::Effect { .. } => Part::Effects,
            Self::Claim { .. } => Part::Claims,
            Self::Posting { .. } => Part::Postings,
            Self::View { .. } => Part::Views,
        }
    }

    /// What the records of its section are sorted by, and no other of them has.
    pub fn key(&self) -> Key<'_> {
        match self {
            Self::Epoch { shard, epoch, .. } => Key::Numbers(shard.0.into(), *epoch),
            Self::Head { shard, .. } => Key::Numbers(shard.0.into(), 0),
            Self::Event { shard, seq, .. } => Key::Numbers(shard.0.into(), *seq),
            Self::Result { position, .. } | Self::Effect { position, .. } => {
                Key::Numbers(*position, 0)
            }
            Self::Entity { entity, .. }
            | Self::Snapshot { entity, .. }
            | Self::View { entity, .. } => Key::Entity(*entity),
            Self::Claim { claim, .. } => Key::Text(&claim.0, 0),
            Self::Posting { key, line, .. } => Key::Text(key, *line),
        }
    }

    /// Is it an answer that stands with its event?
    pub(super) fn is_with_event(&self) -> bool {
        matches!(self, Self::Result { position, .. } if *position >= WITH_EVENTS)
    }

    /// Where it stands, if that may be with an event, and its other numbers.
    fn numbers(&self) -> (Option<u64>, [u64; 3]) {
        match self {
            Self::Epoch { epoch, first_seq, .. } => (None, [*epoch, *first_seq, 0]),
            Self::Head { epoch, seq, .. } => (None, [*epoch, *seq, 0]),
            Self::Event { seq, epoch, version, .. } => (None, [*seq, *epoch, version.0]),
            Self::Entity { version, .. }
            | Self::Snapshot { version, .. }
            | Self::Posting { version, .. } => (None, [version.0, 0, 0]),
            Self::Result { position, .. } => (Some(*position), [0; 3]),
            Self::Effect { position, version, .. } => (Some(*position), [version.0, 0, 0]),
            Self::Claim { .. } | Self::View { .. } => (None, [0; 3]),
        }
    }

    /// The record of an answer.
    pub fn result(position: u64, entity: EntityKey, at: Timestamp, result: CommandResult) -> Self {
        Self::Result { position, entity, command: result.command, at, bytes: result.bytes }
    }
}

/// Refuses numbers that no journal gives. Databases count to 2^63, what stands with events is told by its position
/// alone, and something must be left for what comes later.
pub(super) fn in_range(records: &[Record]) -> Result<(), RestoreError> {
    const WITH_EVENTS_END: u64 = 2 * WITH_EVENTS;
    for record in records {
        let (position, counts) = record.numbers();
        let stray = position
            .filter(|it| !matches!(*it, 0..NUMBERS_END | WITH_EVENTS..WITH_EVENTS_END))
            .or_else(|| counts.into_iter().find(|it| *it >= NUMBERS_END));
        if let Some(number) = stray {
            return Err(RestoreError::OutOfRange { part: record.part(), number });
        }
    }
    Ok(())
}

/// Gives answers that stood with their events in another journal places behind all others, in the order
/// they come in. `last` is the greatest place that is taken.
pub(super) fn line_up(records: &mut [Record], mut last: u64) {
    let mut homeless = Vec::new();
    for record in records {
        let Record::Result { position, .. } = record else { continue };
        if *position >= WITH_EVENTS {
            homeless.push(position);
        } else {
            last = last.max(*position);
        }
    }
    for position in homeless {
        last += 1;
        *position = last;
    }
}

impl From<FeedEvent> for Record {
    fn from(event: FeedEvent) -> Self {
        let FeedEvent { shard, seq, epoch, entity, command, recorded } = event;
        let Recorded { version, at, event: EncodedEvent { name, bytes } } = recorded;
        Self::Event { shard, seq, epoch, entity, version, at, name, bytes, command }
    }
}

impl From<OutboxRow> for Record {
    fn from(row: OutboxRow) -> Self {
        let OutboxRow { position: OutboxPosition(position), key, at, bytes } = row;
        let EffectKey { source, version, index } = key;
        Self::Effect { position, source, version, index, at, bytes }
    }
}

mod base64_bytes {
    use base64::{Engine, engine::general_purpose::STANDARD};
    use serde::{Deserialize, Deserializer, Serializer, de::Error};

    pub(super) fn serialize<S: Serializer>(bytes: &[u8], to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&STANDARD.encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        STANDARD.decode(String::deserialize(from)?).map_err(D::Error::custom)
    }
}
