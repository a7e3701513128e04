//! What one yes writes, all of it or nothing.

use crate::{
    Format, Tell, driver, format, incident, order, rescue, revocation, rider, rule, run, template,
    zone,
};
use protocol::{
    CommandId, Currency, DriverId, Identifier, IncidentId, OrderId, RescueId, RevocationId,
    RiderId, RuleId, RunId, ShardId, TemplateId, Timestamp, ZoneId,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::fmt;
use thiserror::Error;
use uuid::Uuid;

/// The kinds of entity there are. The number is part of the journal: add, never change.
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
    strum::EnumIter,
    strum::FromRepr,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[repr(u8)]
pub enum Kind {
    /// [`crate::order::Order`].
    Order = 1,
    /// [`crate::rescue::Rescue`].
    Rescue = 2,
    /// [`crate::driver::Driver`].
    Driver = 3,
    /// [`crate::rider::Rider`].
    Rider = 4,
    /// [`crate::revocation::Revocation`]. Needs format 2.
    Revocation = 5,
    /// [`crate::incident::Incident`]. Needs format 3.
    Incident = 6,
    /// [`crate::zone::Zone`]. Needs format 4.
    Zone = 7,
    /// [`crate::run::Run`]. Needs format 5.
    Run = 8,
    /// [`crate::rule::Rule`]. Needs format 9.
    Rule = 9,
    /// [`crate::template::Template`]. Needs format 10.
    Template = 10,
}

/// Which entity, among all kinds.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct EntityKey {
    /// Its kind.
    pub kind: Kind,
    /// Its id.
    pub id: Uuid,
}

impl EntityKey {
    /// 17 bytes that no other entity has.
    pub fn to_bytes(self) -> [u8; 17] {
        let mut bytes = [self.kind as u8; 17];
        bytes[1..].copy_from_slice(self.id.as_bytes());
        bytes
    }

    /// The entity whose [`EntityKey::to_bytes`] these are.
    pub fn from_bytes(bytes: &[u8]) -> Option<Self> {
        let (kind, id) = bytes.split_first()?;
        Some(Self { kind: Kind::from_repr(*kind)?, id: Uuid::from_slice(id).ok()? })
    }

    /// Where it lives: embedded in the id of an order, a rescue or a run, hashed for the others.
    pub fn shard(self) -> ShardId {
        match self.kind {
            Kind::Order => OrderId(self.id).shard(),
            Kind::Rescue => RescueId(self.id).shard(),
            Kind::Run => RunId(self.id).shard(),
            Kind::Driver
            | Kind::Rider
            | Kind::Revocation
            | Kind::Incident
            | Kind::Zone
            | Kind::Rule
            | Kind::Template => ShardId::of(self.id.as_bytes()),
        }
    }

    /// The entity that an id in display form names.
    pub fn parse(text: &str) -> Option<Self> {
        None.or_else(|| text.parse::<OrderId>().ok().map(Self::from))
            .or_else(|| text.parse::<RescueId>().ok().map(Self::from))
            .or_else(|| text.parse::<DriverId>().ok().map(Self::from))
            .or_else(|| text.parse::<RiderId>().ok().map(Self::from))
            .or_else(|| text.parse::<RevocationId>().ok().map(Self::from))
            .or_else(|| text.parse::<IncidentId>().ok().map(Self::from))
            .or_else(|| text.parse::<ZoneId>().ok().map(Self::from))
            .or_else(|| text.parse::<RunId>().ok().map(Self::from))
            .or_else(|| text.parse::<RuleId>().ok().map(Self::from))
            .or_else(|| text.parse::<TemplateId>().ok().map(Self::from))
    }
}

macro_rules! keys {
    ($($id:ident => $kind:ident),+) => {$(
        impl From<$id> for EntityKey {
            fn from(id: $id) -> Self {
                Self { kind: Kind::$kind, id: id.uuid() }
            }
        }
    )+};
}

keys!(
    OrderId => Order, RescueId => Rescue, DriverId => Driver, RiderId => Rider,
    RevocationId => Revocation, IncidentId => Incident, ZoneId => Zone, RunId => Run, RuleId => Rule,
    TemplateId => Template
);

impl From<protocol::JobId> for EntityKey {
    fn from(job: protocol::JobId) -> Self {
        match job {
            protocol::JobId::Order(id) => id.into(),
            protocol::JobId::Rescue(id) => id.into(),
        }
    }
}

impl fmt::Display for EntityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-{}", self.kind, self.id.simple())
    }
}

impl fmt::Debug for EntityKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// How many events an entity has.
#[derive(
    Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize,
)]
#[serde(transparent)]
pub struct Version(pub u64);

/// A key that at most one entity holds at a time: `driver/7/slot/0`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Claim(pub String);

impl Claim {
    /// Room for one job of a driver. A job that fills the vehicle claims all of its slots.
    pub fn slot(driver: DriverId, slot: u8) -> Self {
        Self(format!("driver/{}/slot/{slot}", driver.0.simple()))
    }

    /// The only run that a driver brings.
    pub fn run(driver: DriverId) -> Self {
        Self(format!("driver/{}/run", driver.0.simple()))
    }

    /// A rider's only active ride.
    pub fn ride(rider: RiderId) -> Self {
        Self(format!("rider/{}/ride", rider.0.simple()))
    }

    /// A rider's only active rescue.
    pub fn rescue(rider: RiderId) -> Self {
        Self(format!("rider/{}/rescue", rider.0.simple()))
    }
}

impl fmt::Display for Claim {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// What another entity must be told once an event is durable.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Effect {
    /// Whom, and what. It is told as [`protocol::Principal::System`].
    pub tell: Tell,
    /// What the source must be told if that is refused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub if_refused: Option<Tell>,
}

impl From<Tell> for Effect {
    fn from(tell: Tell) -> Self {
        Self { tell, if_refused: None }
    }
}

impl Effect {
    /// What a build must know to deliver it.
    pub fn format(&self) -> Format {
        let if_refused = self.if_refused.as_ref().map_or(Format::FIRST, Tell::format);
        self.tell.format().max(if_refused)
    }

    /// The same, with an answer to a refusal.
    #[must_use]
    pub fn if_refused(self, tell: Tell) -> Self {
        Self { if_refused: Some(tell), ..self }
    }
}

/// One line of double-entry bookkeeping. The lines of one commit sum to zero per currency.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Posting {
    /// Unique for the fact it records: `tip/order-9`. All lines of one fact share it.
    pub key: String,
    /// Whose money: `driver/7/earnings`.
    pub account: String,
    /// In minor units; positive is debit.
    pub amount: i64,
    /// Of what.
    pub currency: Currency,
    /// The balance that must be left on the account at least, in minor units, once the whole
    /// commit is posted; none if it may go anywhere.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub floor: Option<i64>,
}

/// An entity's row in lists and searches.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ViewRow {
    /// Its public status.
    pub status: String,
    /// Whose it is.
    pub rider: Option<RiderId>,
    /// Who performs it.
    pub driver: Option<DriverId>,
    /// The moment lists are sorted by.
    pub at: Timestamp,
    /// What lists show, as JSON.
    pub body: serde_json::Value,
}

/// Everything one accepted command writes.
#[derive(Debug, Clone, PartialEq)]
pub struct Commit {
    /// Who.
    pub entity: EntityKey,
    /// The version it must still have.
    pub expected: Version,
    /// When.
    pub at: Timestamp,
    /// What happened; may be empty when only the result of a refused command is kept.
    pub events: Vec<EncodedEvent>,
    /// The state after the events, when it is time for a snapshot.
    pub snapshot: Option<Vec<u8>>,
    /// What to answer when the command is repeated.
    pub result: Option<CommandResult>,
    /// Encoded [`Effect`]s, in order; the index is part of their identity, and so is the version
    /// the events lead to: without an event there can be no effect.
    pub effects: Vec<Vec<u8>>,
    /// The new deadline, if it changed: `Some(None)` for none.
    pub deadline: Option<Option<Timestamp>>,
    /// Keys it takes.
    pub claims_taken: Vec<Claim>,
    /// Keys it gives back.
    pub claims_released: Vec<Claim>,
    /// Money that moves.
    pub postings: Vec<Posting>,
    /// Its new row, if it changed.
    pub view: Option<ViewRow>,
    /// The newest format that everybody alive can read: an answer is kept with its event only from
    /// [`Format::ANSWERS`] on, for older builds look for it elsewhere.
    pub writes: Format,
    /// Somebody looks for a driver and waits for it: a journal that has much to write may let it come
    /// before others, but never before an earlier one of the same entity.
    pub comes_first: bool,
}

impl Commit {
    /// One that writes nothing yet.
    pub fn new(entity: EntityKey, expected: Version, at: Timestamp) -> Self {
        Self {
            entity,
            expected,
            at,
            events: Vec::new(),
            snapshot: None,
            result: None,
            effects: Vec::new(),
            deadline: None,
            claims_taken: Vec::new(),
            claims_released: Vec::new(),
            postings: Vec::new(),
            view: None,
            writes: Format::WRITES,
            comes_first: false,
        }
    }

    /// The version it leads to.
    pub fn version(&self) -> Version {
        Version(self.expected.0 + self.events.len() as u64)
    }
}

/// An event as the journal keeps it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EncodedEvent {
    /// Its name, for people and lists.
    pub name: String,
    /// As [`format::encode`] wrote it.
    pub bytes: Vec<u8>,
}

/// An event that this build cannot read.
#[derive(Debug, Error)]
pub enum UnreadableEvent {
    /// Its bytes are of no event that is known here.
    #[error("an event that cannot be read: {0}")]
    Bytes(#[from] format::Unreadable),
    /// It cannot be said in JSON.
    #[error("not JSON: {0}")]
    Json(#[from] serde_json::Error),
}

impl EncodedEvent {
    /// The event of an entity of this kind, for people and programs that know no MessagePack.
    pub fn to_json(&self, kind: Kind) -> Result<serde_json::Value, UnreadableEvent> {
        fn shown<E: DeserializeOwned + Serialize>(
            bytes: &[u8],
        ) -> Result<serde_json::Value, UnreadableEvent> {
            Ok(serde_json::to_value(format::decode::<E>(bytes)?.0)?)
        }
        match kind {
            Kind::Order => shown::<order::Event>(&self.bytes),
            Kind::Rescue => shown::<rescue::Event>(&self.bytes),
            Kind::Driver => shown::<driver::Event>(&self.bytes),
            Kind::Rider => shown::<rider::Event>(&self.bytes),
            Kind::Revocation => shown::<revocation::Event>(&self.bytes),
            Kind::Incident => shown::<incident::Event>(&self.bytes),
            Kind::Zone => shown::<zone::Event>(&self.bytes),
            Kind::Run => shown::<run::Event>(&self.bytes),
            Kind::Rule => shown::<rule::Event>(&self.bytes),
            Kind::Template => shown::<template::Event>(&self.bytes),
        }
    }
}

/// The first answer to a command, kept for repeats.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CommandResult {
    /// Which command.
    pub command: CommandId,
    /// The encoded answer.
    pub bytes: Vec<u8>,
}
