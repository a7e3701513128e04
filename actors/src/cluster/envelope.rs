//! What nodes write to each other.
//!
//! A message is a bundle of envelopes, each encoded by itself, so that one that a node cannot read (it
//! is older than its sender) costs that one and not its neighbours: a request is answered
//! `needs_newer`, a notice is skipped. MessagePack with named fields. A bundle says which format its
//! envelopes may need, which is what may be written: nobody alive is sent more than it can read, and
//! whoever is refuses all of it.

use super::Incarnation;
use crate::{
    EntityKey, Format, Refusal, Tell, Version,
    runtime::{Answer, Wished},
};
use protocol::{CommandId, Principal, ShardId, Timestamp, view::Mark};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use serde_bytes::ByteBuf;

/// Envelopes from one node to another.
#[derive(Debug, Serialize, Deserialize)]
pub struct Bundle {
    /// What its reader must know.
    #[serde(rename = "f")]
    pub format: Format,
    /// Who wrote it.
    #[serde(rename = "n")]
    pub from: Incarnation,
    /// In the order they were written.
    #[serde(rename = "e")]
    pub envelopes: Vec<Envelope>,
}

/// One word from one node to another.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub enum Envelope {
    /// Something that is answered once.
    #[serde(rename = "q")]
    Request {
        /** Which of the sender's calls. */
        #[serde(rename = "c")]
        call: u64,
        /** Whose owner is asked. */
        #[serde(rename = "s")]
        shard: ShardId,
        /** The epoch the sender believes in: a receiver that knows less looks before it answers. */
        #[serde(rename = "p")]
        epoch: u64,
        /** How much longer the sender waits, in milliseconds. */
        #[serde(rename = "w")]
        patience_ms: u64,
        /** A [`Request`]. */
        #[serde(rename = "b")]
        body: ByteBuf,
    },
    /// The answer.
    #[serde(rename = "a")]
    Reply {
        /** To which call. */
        #[serde(rename = "c")]
        call: u64,
        /** A [`Reply`]. */
        #[serde(rename = "b")]
        body: ByteBuf,
    },
    /// Something that is not answered.
    #[serde(rename = "t")]
    Notice {
        /** A [`Notice`]. */
        #[serde(rename = "b")]
        body: ByteBuf,
    },
}

/// What an owner is asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Request {
    /// A command.
    Ask {
        /** What, and of whom. */
        tell: Box<Tell>,
        /** Who wants it. */
        by: Principal,
        /** Which wish. */
        id: CommandId,
        /** What was wished, if the command does not say. */
        wish: Option<Wished>,
    },
    /// An entity's state.
    Read(EntityKey),
    /// An entity's state now, and what becomes of it under this number.
    Watch {
        /** Of whom. */
        entity: EntityKey,
        /** The sender's number for what follows. */
        stream: u64,
        /** It has no use for sightings. */
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        changes_only: bool,
        /** It bears some silence between two words that it is followed still. Builds that do not say so bear a few seconds. */
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        is_patient: bool,
    },
    /// Things seen; of each entity the latest.
    See(Vec<SightBytes>),
    /// Will you take this shard from me?
    Prepare,
    /// It is yours.
    Adopt {
        /** Under this epoch. */
        epoch: u64,
        /** So many entities were sent before. */
        n_warm: u32,
    },
    /// An entity that was set aside gets another chance.
    Release(EntityKey),
    /// What one gateway asks of another, in their words.
    Front(ByteBuf),
}

/// How a request ended.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Reply {
    /// The command was decided.
    Answered(Answer),
    /// The state, or why it is not to be had.
    State(Result<StateBytes, Refusal>),
    /// Which sightings were rubbish, by their places.
    Seen(Vec<(u32, Refusal)>),
    /// Ready, or done.
    Fine,
    /// What a gateway says; nothing, if it knows nothing.
    Front(Option<ByteBuf>),
    /// Not here: ask there.
    Moved {
        /** Who has it, if the answerer knows. */
        owner: Option<Incarnation>,
        /** Since which epoch. */
        epoch: u64,
    },
    /// Not now. Nothing has happened.
    Later,
    /// The answerer is older than the request.
    NeedsNewer,
}

/// An entity's state on its way.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct StateBytes {
    /// How many events made it so.
    #[serde(rename = "v")]
    pub version: Version,
    /// What is written down of it.
    #[serde(rename = "d")]
    pub durable: ByteBuf,
    /// What is not.
    #[serde(rename = "s")]
    pub soft: ByteBuf,
}

/// A sighting on its way, and who should see it.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct SightBytes {
    /// Whom it is for.
    #[serde(rename = "e")]
    pub entity: EntityKey,
    /// What was seen.
    #[serde(rename = "b")]
    pub bytes: ByteBuf,
}

/// What nodes tell each other without being asked.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Notice {
    /// What became of a watched entity.
    Update {
        /** The watcher's number. */
        stream: u64,
        /** Counts from 1: a gap ends the watching. */
        n: u64,
        /** What. */
        update: UpdateBytes,
    },
    /// Nobody watches that any more, or nothing more will come.
    End {
        /** The watcher's number. */
        stream: u64,
        /** Did the watcher say so? Numbers are the watcher's. */
        by_watcher: bool,
    },
    /// These are followed still, by the watcher's numbers, and so much was said of each: what
    /// does not come then ends the watching. Said for a while after something was told, and now and then of all,
    /// for silence ends it, too.
    Followed(Vec<(u64, u64)>),
    /// What regions should know: of each entity the latest.
    Listed(Vec<ListedBytes>),
    /// A region has forgotten everybody: whoever is listed there lists itself again.
    RegionUp(u64),
    /// What boards should show.
    Published(Vec<PublishedBytes>),
    /// Somebody looks at a board: publish for another while.
    BoardWanted,
    /// And it is a new one, which knows nothing of what an earlier one was told: publish everything once more.
    /// [`Notice::BoardWanted`] follows, for whoever does not know this yet.
    BoardBegun,
    /// An entity of a shard that is being handed over.
    Warm(Box<Warm>),
    /// Is anybody there? If not, the transport says so; else an empty [`Notice::Followed`] does.
    Knock,
}

/// An update on its way.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum UpdateBytes {
    /// Events, and the state they led to.
    Changed {
        /** The state. */
        state: StateBytes,
        /** What happened. */
        events: ByteBuf,
    },
    /// Something was seen.
    Seen(ByteBuf),
    /// Nothing new.
    Still,
}

/// What one region should know of one entity.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct ListedBytes {
    /// The cell.
    #[serde(rename = "r")]
    pub region: u64,
    /// Who.
    #[serde(rename = "e")]
    pub entity: EntityKey,
    /// The epoch of the entity's shard: what an earlier owner said does not count any more.
    #[serde(rename = "p")]
    pub epoch: u64,
    /// What; gone, if absent.
    #[serde(rename = "c")]
    pub card: Option<crate::Card>,
}

/// What boards are told of one entity.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct PublishedBytes {
    /// Whom it is about.
    #[serde(rename = "e")]
    pub entity: EntityKey,
    /// When it was so.
    #[serde(rename = "t")]
    pub at: Timestamp,
    /// What the map shows.
    #[serde(rename = "m")]
    pub mark: Option<Mark>,
    /// What happened.
    #[serde(rename = "n", default, skip_serializing_if = "Vec::is_empty")]
    pub events: Vec<String>,
}

/// An entity as it left its last host: its successor need not read the journal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Warm {
    /// Who.
    pub entity: EntityKey,
    /// The epoch it was written under: only the owner of the very next one may believe it.
    pub epoch: u64,
    /// How many events it has.
    pub version: Version,
    /// How many of them are not in its snapshot.
    pub n_unsnapshot: u32,
    /// What a snapshot of it needs.
    #[serde(default)]
    pub format: Format,
    /// The deadline the journal has.
    pub stored_deadline: Option<Timestamp>,
    /// What is written down.
    pub durable: ByteBuf,
    /// What is not.
    pub soft: ByteBuf,
    /// Its latest answers.
    pub recent: ByteBuf,
}

/// Writes something down for another node.
pub fn encode(value: &(impl Serialize + ?Sized)) -> ByteBuf {
    ByteBuf::from(rmp_serde::to_vec_named(value).expect("plain data"))
}

/// Reads what another node wrote; `None` if this build cannot.
pub fn decode<T: DeserializeOwned>(bytes: &[u8]) -> Option<T> {
    rmp_serde::from_slice(bytes).ok()
}
