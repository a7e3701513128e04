//! One type per kind of id, so a driver can never be passed where a rider is expected.
//!
//! Every id is a UUIDv7: sortable by the moment it was minted. Orders, rescues and runs also carry their
//! shard, in the ten high bits of `rand_a`, so that whoever holds the id knows where it lives:
//!
//! ```text
//!  unix_ts_ms (48) | ver (4) | shard (10) . (2) | var (2) | hash or random (62)
//! ```
//!
//! On JSON an id is its display form (`order-0192…`, 32 hexadecimal digits); on MessagePack it is 16
//! bytes.

use serde::{Deserialize, Deserializer, Serialize, Serializer, de};
use std::{fmt, hash::Hash, ops::RangeInclusive, str::FromStr};
use thiserror::Error;
use uuid::Uuid;
use xxhash_rust::xxh3::{xxh3_64, xxh3_128};

/// How many shards there are. Fixed for ever: it is part of every order's id.
pub const SHARDS: u16 = 1024;

/// One of [`SHARDS`] parts of the world, each owned by one node at a time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(transparent)]
pub struct ShardId(pub u16);

impl ShardId {
    /// The shard that `bytes` hash to.
    pub fn of(bytes: &[u8]) -> Self {
        Self((xxh3_64(bytes) % u64::from(SHARDS)) as u16)
    }
}

impl fmt::Display for ShardId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "shard-{}", self.0)
    }
}

/// Some of the [`SHARDS`]. Iterates in the order of their numbers.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct ShardSet([u64; SHARDS as usize / 64]);

impl ShardSet {
    /// None of them.
    pub const NONE: Self = Self([0; SHARDS as usize / 64]);
    /// All of them.
    pub const ALL: Self = Self([u64::MAX; SHARDS as usize / 64]);

    /// Is it one of these?
    pub fn contains(&self, shard: ShardId) -> bool {
        self.0[usize::from(shard.0 % SHARDS) / 64] & Self::bit(shard) != 0
    }

    /// Adds one; was it missing?
    pub fn insert(&mut self, shard: ShardId) -> bool {
        let is_new = !self.contains(shard);
        self.0[usize::from(shard.0 % SHARDS) / 64] |= Self::bit(shard);
        is_new
    }

    /// Takes one out; was it there?
    pub fn remove(&mut self, shard: ShardId) -> bool {
        let was_there = self.contains(shard);
        self.0[usize::from(shard.0 % SHARDS) / 64] &= !Self::bit(shard);
        was_there
    }

    /// How many.
    pub fn len(&self) -> usize {
        self.0.iter().map(|word| word.count_ones() as usize).sum()
    }

    /// None at all?
    pub fn is_empty(&self) -> bool {
        *self == Self::NONE
    }

    /// Each of them, in the order of their numbers.
    pub fn iter(&self) -> impl Iterator<Item = ShardId> + '_ {
        (0..SHARDS).map(ShardId).filter(|shard| self.contains(*shard))
    }

    fn bit(shard: ShardId) -> u64 {
        1 << (shard.0 % 64)
    }
}

impl Default for ShardSet {
    fn default() -> Self {
        Self::NONE
    }
}

impl FromIterator<ShardId> for ShardSet {
    fn from_iter<T: IntoIterator<Item = ShardId>>(shards: T) -> Self {
        let mut set = Self::NONE;
        for shard in shards {
            set.insert(shard);
        }
        set
    }
}

impl fmt::Debug for ShardSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // In ranges: a node's share would be a long line.
        let mut ranges: Vec<RangeInclusive<u16>> = Vec::new();
        for ShardId(shard) in self.iter() {
            match ranges.last_mut() {
                Some(range) if *range.end() + 1 == shard => *range = *range.start()..=shard,
                Some(_) | None => ranges.push(shard..=shard),
            }
        }
        let shown = ranges.iter().map(|range| match range.start() == range.end() {
            true => range.start().to_string(),
            false => format!("{}-{}", range.start(), range.end()),
        });
        write!(f, "{{{}}}", shown.collect::<Vec<_>>().join(", "))
    }
}

/// What every kind of id can do.
pub trait Identifier:
    Copy + Eq + Ord + Hash + fmt::Debug + fmt::Display + FromStr + Send + Sync + 'static
{
    /// What ids of this kind start with: `order` in `order-0192…`.
    const PREFIX: &'static str;
    /// The id without its kind.
    fn uuid(self) -> Uuid;
    /// An id of this kind.
    fn from_uuid(uuid: Uuid) -> Self;
}

/// Text that is not an id of the wanted kind.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("not a valid {wanted} id")]
pub struct ParseIdError {
    /// The kind of id that was wanted.
    pub wanted: &'static str,
}

macro_rules! ids {
    ($($(#[$doc:meta])* $name:ident => $prefix:literal),+ $(,)?) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(pub Uuid);

        impl Identifier for $name {
            const PREFIX: &'static str = $prefix;

            fn uuid(self) -> Uuid {
                self.0
            }

            fn from_uuid(uuid: Uuid) -> Self {
                Self(uuid)
            }
        }

        impl $name {
            /// The `n`th id of a test or a seeded simulation; the same `n` always gives the same id.
            pub fn nth(n: u64) -> Self {
                let seed = xxh3_128(&[$prefix.as_bytes(), &n.to_be_bytes()].concat());
                Self(uuid_v7(n, seed))
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!($prefix, "-{}"), self.0.simple())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                text.strip_prefix($prefix)
                    .and_then(|rest| rest.strip_prefix('-'))
                    .and_then(|hex| Uuid::try_parse(hex).ok())
                    .map(Self)
                    .ok_or(ParseIdError { wanted: $prefix })
            }
        }

        impl Serialize for $name {
            fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                if serializer.is_human_readable() {
                    serializer.collect_str(self)
                } else {
                    serializer.serialize_bytes(self.0.as_bytes())
                }
            }
        }

        impl<'de> Deserialize<'de> for $name {
            fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                struct Visitor;

                impl de::Visitor<'_> for Visitor {
                    type Value = $name;

                    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                        f.write_str(concat!("an id of kind ", $prefix))
                    }

                    fn visit_str<E: de::Error>(self, text: &str) -> Result<$name, E> {
                        text.parse().map_err(E::custom)
                    }

                    fn visit_bytes<E: de::Error>(self, bytes: &[u8]) -> Result<$name, E> {
                        Uuid::from_slice(bytes).map($name).map_err(E::custom)
                    }
                }

                if deserializer.is_human_readable() {
                    deserializer.deserialize_str(Visitor)
                } else {
                    deserializer.deserialize_bytes(Visitor)
                }
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::PartialSchema for $name {
            fn schema() -> utoipa::openapi::RefOr<utoipa::openapi::schema::Schema> {
                utoipa::openapi::schema::ObjectBuilder::new()
                    .schema_type(utoipa::openapi::schema::Type::String)
                    .pattern(Some(concat!("^", $prefix, "-[0-9a-f]{32}$")))
                    .examples([$name::nth(1).to_string()])
                    .into()
            }
        }

        #[cfg(feature = "openapi")]
        impl utoipa::ToSchema for $name {}
    )+};
}

ids! {
    /// Someone who asks to be moved, to have something moved, or to be rescued.
    RiderId => "rider",
    /// Someone who performs jobs with a vehicle or on foot.
    DriverId => "driver",
    /// Someone who sells what a commerce order carries.
    MerchantId => "merchant",
    /// One job to move people or things.
    OrderId => "order",
    /// Help to a stranded vehicle or person.
    RescueId => "rescue",
    /// A time-limited proposal of a job to one driver.
    OfferId => "offer",
    /// One wish of one client; a repeat of it carries the same id and has one effect.
    CommandId => "command",
    /// One connected client.
    SessionId => "session",
    /// One bearer token: what its `jti` says.
    TokenId => "token",
    /// The word that a token, or a principal's tokens so far, are good no longer.
    RevocationId => "revocation",
    /// A safety case: somebody called for help, or a job was called off because someone is not safe.
    IncidentId => "incident",
    /// A part of the world that can be paused: the H3 index of its cell, with zeros before it.
    ZoneId => "zone",
    /// An organisation with drivers of its own: its fleet.
    PartnerId => "partner",
    /// Several deliveries that one driver brings together.
    RunId => "run",
    /// What admins say of how drivers are found, for a while and for some jobs.
    RuleId => "rule",
    /// What staff want brought together again and again, on some days.
    TemplateId => "template",
}

/// A UUIDv7 made of a moment and 74 bits of `entropy`.
fn uuid_v7(unix_ts_ms: u64, entropy: u128) -> Uuid {
    let time = u128::from(unix_ts_ms & 0xffff_ffff_ffff) << 80;
    let rand_a = (entropy >> 64 & 0x0fff) << 64;
    let rand_b = entropy & 0x3fff_ffff_ffff_ffff;
    Uuid::from_u128(time | 0x7 << 76 | rand_a | 0b10 << 62 | rand_b)
}

/// The moment a UUIDv7 says it was minted, in milliseconds since the Unix epoch.
fn minted_ms(uuid: Uuid) -> u64 {
    (uuid.as_u128() >> 80) as u64
}

/// Which bits of a session's id say where it is, and how far up they are.
const START_MASK: u128 = 0xff_ffff;
const START_SHIFT: u32 = 38;

impl SessionId {
    /// A new session of the node that was the `start`th to be started: its last 24 bits are in the id, so
    /// that any node finds the one that has it.
    pub fn mint(start: u64) -> Self {
        let entropy = Uuid::now_v7().as_u128() & !(START_MASK << START_SHIFT);
        Self(Uuid::from_u128(entropy | (u128::from(start) & START_MASK) << START_SHIFT))
    }

    /// When its client connected.
    pub fn minted_at(self) -> crate::Timestamp {
        crate::Timestamp(minted_ms(self.0))
    }

    /// Could it be a session of the `start`th node?
    pub fn is_of(self, start: u64) -> bool {
        self.0.as_u128() >> START_SHIFT & START_MASK == u128::from(start) & START_MASK
    }
}

impl CommandId {
    /// A new wish.
    pub fn mint() -> Self {
        Self(Uuid::now_v7())
    }

    /// When its client says it was minted.
    pub fn minted_at(self) -> crate::Timestamp {
        crate::Timestamp(minted_ms(self.0))
    }

    /// By which the same is wished once more after this one was refused, for its answer is kept: of the same age, and the same
    /// whoever asks and however often, so that it is done once.
    #[must_use]
    pub fn once_more(self) -> Self {
        const LOW: u128 = (1 << 48) - 1;
        let bits = self.0.as_u128();
        Self(Uuid::from_u128(bits & !LOW | (bits & LOW).wrapping_add(1) & LOW))
    }

    /// The command that delivers effect number `index` of version `version` of `source`: the same
    /// effect always has the same id, so a second delivery of it is recognised as a repeat.
    pub fn of_effect(source: &[u8], version: u64, index: u32, at: crate::Timestamp) -> Self {
        let name = [source, &version.to_be_bytes(), &index.to_be_bytes()].concat();
        Self(uuid_v7(at.0, xxh3_128(&name)))
    }
}

impl OfferId {
    /// The `n`th offer made for `job`.
    pub fn of(job: JobId, n: u32) -> Self {
        Self::made_by(job.uuid(), n)
    }

    /// The `n`th offer made of `run`.
    pub fn of_run(run: RunId, n: u32) -> Self {
        Self::made_by(run.0, n)
    }

    fn made_by(uuid: Uuid, n: u32) -> Self {
        let name = [uuid.as_bytes().as_slice(), &n.to_be_bytes()].concat();
        Self(uuid_v7(minted_ms(uuid), xxh3_128(&name)))
    }
}

macro_rules! placed {
    ($($name:ident),+) => {$(
        impl $name {
            /// The id of what `command`, given by `author`, creates in `shard`. Derived, not drawn,
            /// so that a repeat of the command finds what the first one created.
            pub fn created_by(author: Uuid, command: CommandId, shard: ShardId) -> Self {
                let name = [author.as_bytes().as_slice(), command.0.as_bytes()].concat();
                let entropy = xxh3_128(&name) & !(0x0ffc << 64) | u128::from(shard.0) << 66;
                Self(uuid_v7(minted_ms(command.0), entropy))
            }

            /// The id of what goes on where this one ended, in `shard`. Derived, so that there is
            /// only one.
            pub fn following(self, shard: ShardId) -> Self {
                Self::created_by(self.0, CommandId(self.0), shard)
            }

            /// Where it lives.
            pub fn shard(self) -> ShardId {
                ShardId((self.0.as_u128() >> 66 & 0x3ff) as u16)
            }
        }
    )+};
}

placed!(OrderId, RescueId, RunId);

impl ZoneId {
    /// The zone of the cell with this H3 index.
    pub fn of_cell(index: u64) -> Self {
        Self(Uuid::from_u64_pair(0, index))
    }

    /// The H3 index of its cell, if that may be one.
    pub fn cell(self) -> Option<u64> {
        match self.0.as_u64_pair() {
            (0, index) => Some(index),
            (_, _) => None,
        }
    }
}

/// What a driver can be busy with.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum JobId {
    /// A ride, a delivery or a shop order.
    Order(OrderId),
    /// A rescue.
    Rescue(RescueId),
}

impl JobId {
    /// The id without its kind.
    pub fn uuid(self) -> Uuid {
        match self {
            Self::Order(id) => id.0,
            Self::Rescue(id) => id.0,
        }
    }
}

impl From<OrderId> for JobId {
    fn from(id: OrderId) -> Self {
        Self::Order(id)
    }
}

impl fmt::Display for JobId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Order(id) => id.fmt(f),
            Self::Rescue(id) => id.fmt(f),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_session_says_of_which_start_it_is() {
        for start in [0, 1, 17, 0xff_ffff, 0x1_0000_0001] {
            let id = SessionId::mint(start);
            assert!(id.is_of(start) && !id.is_of(start + 1), "{id}");
            assert_eq!(id.0.get_version_num(), 7);
            assert_ne!(SessionId::mint(start), id);
        }
    }

    #[test]
    fn a_set_of_shards_holds_what_was_put_in_and_nothing_else() {
        let mut set: ShardSet =
            [ShardId(0), ShardId(63), ShardId(64), ShardId(1023)].into_iter().collect();
        assert_eq!(set.len(), 4);
        assert!(!set.insert(ShardId(64)) && set.insert(ShardId(65)));
        assert!(set.remove(ShardId(0)) && !set.remove(ShardId(0)));
        assert_eq!(set.iter().map(|it| it.0).collect::<Vec<_>>(), [63, 64, 65, 1023]);
        assert_eq!(ShardSet::ALL.len(), usize::from(SHARDS));
        assert!(ShardSet::NONE.is_empty());
    }
    use crate::Timestamp;
    use proptest::prelude::*;

    #[test]
    fn an_id_reads_back_from_its_display_form_and_only_as_its_own_kind() {
        let order = OrderId::nth(7);
        assert_eq!(order.to_string().parse(), Ok(order));
        assert_eq!(order.to_string().parse::<RiderId>(), Err(ParseIdError { wanted: "rider" }));
        assert!("order-".parse::<OrderId>().is_err());
        assert!("order-xyz".parse::<OrderId>().is_err());
    }

    #[test]
    fn the_same_command_always_creates_the_same_order() {
        let (rider, command) = (RiderId::nth(1), CommandId::mint());
        let id = OrderId::created_by(rider.0, command, ShardId(3));
        assert_eq!(id, OrderId::created_by(rider.0, command, ShardId(3)));
        assert_ne!(id, OrderId::created_by(RiderId::nth(2).0, command, ShardId(3)));
    }

    #[test]
    fn what_is_wished_once_more_is_another_command_of_the_same_age() {
        let last: CommandId = "command-0192f3c8aaaa70008000ffffffffffff".parse().unwrap();
        assert_eq!(last.once_more().to_string(), "command-0192f3c8aaaa70008000000000000000");
        let id = CommandId::mint();
        assert_ne!(id.once_more(), id);
        assert_eq!(id.once_more().minted_at(), id.minted_at());
    }

    proptest! {
        #[test]
        fn an_order_id_carries_its_shard_and_is_a_uuid_v7(shard in 0..SHARDS, n in any::<u64>()) {
            let id = OrderId::created_by(RiderId::nth(n).0, CommandId::nth(n), ShardId(shard));
            prop_assert_eq!(id.shard(), ShardId(shard));
            prop_assert_eq!(id.0.get_version_num(), 7);
            prop_assert_eq!(id.0.get_variant(), uuid::Variant::RFC4122);
        }

        #[test]
        fn an_effect_id_says_when_it_was_committed(ms in 0..1u64 << 48) {
            let id = CommandId::of_effect(b"order", 1, 0, Timestamp(ms));
            prop_assert_eq!(id.minted_at(), Timestamp(ms));
        }
    }
}
