//! Who decides which node is alive and owns which shard: one database, asked in single statements.

use super::Incarnation;
use futures_util::future::BoxFuture;
use protocol::{ShardId, ShardSet};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, fmt::Debug, time::Duration};
use thiserror::Error;
use tokio::sync::watch;

/// What a node says about itself when it starts.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NodeCard {
    /// Its name: the same after a restart, and of no other node at that time.
    pub node: String,
    /// Where its gateway is reached, for people.
    pub address: String,
    /// Where it stands; empty if nobody said.
    pub zone: String,
    /// How much it takes on, compared with others; usually 100.
    pub weight: u32,
    /// Which build it is, for people.
    pub version: String,
    /// The newest envelopes, events and snapshots it writes.
    pub writes: u32,
    /// The newest it can read.
    pub reads: u32,
    /// What all nodes must have in common and nobody may see, such as the key of tokens: its fingerprint.
    /// Empty if nobody said.
    #[serde(default)]
    pub secret: String,
}

/// How a node stands.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::VariantNames,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Standing {
    /// It takes part.
    Up,
    /// It is leaving, and gives its shards away.
    Draining,
    /// It is gone, or must go: nothing it says counts any more.
    Dead,
}

/// A node as the arbiter knows it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Member {
    /// Which start of it.
    pub incarnation: Incarnation,
    /// What it says about itself.
    pub card: NodeCard,
    /// How it stands.
    pub standing: Standing,
    /// Is it connected to the others?
    pub hears: bool,
    /// How often it has renewed itself: one that stands still is not well.
    pub renewals: u64,
    /// How long ago it joined, by the arbiter's clock.
    pub age: Duration,
    /// Does the arbiter still hold a connection of it open?
    pub has_session: bool,
}

/// Who has a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Head {
    /// Which.
    pub shard: ShardId,
    /// The start of the node that has it; nobody's, if absent.
    pub owner: Option<Incarnation>,
    /// Which ownership: grows with each.
    pub epoch: u64,
}

/// A shard that somebody wants on a certain node.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pin {
    /// Which.
    pub shard: ShardId,
    /// The node's name.
    pub node: String,
}

/// Everything about the cluster at one moment.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Picture {
    /// Everyone who is not dead, and the dead who are still named as an owner.
    pub members: BTreeMap<Incarnation, Member>,
    /// All shards, in the order of their numbers.
    pub heads: Vec<Head>,
    /// What is wanted where.
    pub pins: Vec<Pin>,
    /// The newest format that may be written: everyone alive can read it.
    pub writes: u32,
}

/// What became of a renewal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Renewal {
    /// The node is alive for another while.
    Alive,
    /// Others have declared it dead: it must stop, and start as a new incarnation.
    Dead,
}

/// What became of a shard that was to be handed over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum HandedOver {
    /// It has a new owner, under this epoch.
    To(u64),
    /// It was not ours to give.
    NotOurs,
}

/// The arbiter did not answer, or said no. Whether it did what was asked is unknown.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum ArbiterError {
    /// It cannot be reached, or not in time.
    #[error("the arbiter is out of reach: {0}")]
    Away(String),
    /// It will never do that.
    #[error("the arbiter refuses: {0}")]
    Refused(String),
}

/// Decides. Every method is one statement that commits by itself, and each says no to a node that
/// was declared dead. Those that change who owns what also change what this process may commit to,
/// before they return.
pub trait Arbiter: Debug + Send + Sync + 'static {
    /// Announces a start. Whoever had the same name before is declared dead: it has been replaced.
    fn register(&self, card: NodeCard) -> BoxFuture<'_, Result<Incarnation, ArbiterError>>;

    /// Says that a node is alive; on a connection that nothing else uses.
    fn renew(
        &self,
        me: Incarnation,
        standing: Standing,
        hears: bool,
    ) -> BoxFuture<'_, Result<Renewal, ArbiterError>>;

    /// How everything stands.
    fn look(&self) -> BoxFuture<'_, Result<Picture, ArbiterError>>;

    /// Declares a node dead, unless it has renewed itself since `renewals`, and ends its connections. Not if no other
    /// node that is up may be given shards (its weight is 0): two judges may each have counted on the one whom the other
    /// accuses. Returns whether it is dead now.
    fn declare_dead(
        &self,
        who: Incarnation,
        renewals: u64,
    ) -> BoxFuture<'_, Result<bool, ArbiterError>>;

    /// Takes those of `shards` that are nobody's, or a dead node's. Returns those taken.
    fn steal(
        &self,
        me: Incarnation,
        shards: ShardSet,
    ) -> BoxFuture<'_, Result<Vec<Head>, ArbiterError>>;

    /// Gives a shard of ours to another node that is up. Whatever this process still commits to it
    /// is fenced. After an error the shard may be either's: see [`Arbiter::reclaim`].
    fn hand_over(
        &self,
        me: Incarnation,
        shard: ShardId,
        to: Incarnation,
    ) -> BoxFuture<'_, Result<HandedOver, ArbiterError>>;

    /// Takes a new epoch of a shard that is still ours, so that a hand-over whose fate is unknown can
    /// no longer happen. None: it did happen, or somebody else has it.
    fn reclaim(
        &self,
        me: Incarnation,
        shard: ShardId,
    ) -> BoxFuture<'_, Result<Option<Head>, ArbiterError>>;

    /// Gives shards of ours to nobody.
    fn release(&self, me: Incarnation, shards: ShardSet)
    -> BoxFuture<'_, Result<(), ArbiterError>>;

    /// Is dead from now on, by its own word.
    fn leave(&self, me: Incarnation) -> BoxFuture<'_, Result<(), ArbiterError>>;

    /// Wants a shard on a node; on none in particular, if absent.
    fn pin(&self, shard: ShardId, node: Option<String>) -> BoxFuture<'_, Result<(), ArbiterError>>;

    /// This process may commit to a shard under an epoch it was given: by another node.
    fn own(&self, shard: ShardId, epoch: u64);

    /// This process may not commit to a shard any more.
    fn disown(&self, shard: ShardId);

    /// The epoch this process commits to a shard under, if it may. It can grow by itself, when the
    /// fate of a commit was unknown.
    fn epoch(&self, shard: ShardId) -> Option<u64>;

    /// Changes soon after who owns what has changed, whoever changed it. A hint: look.
    fn changes(&self) -> watch::Receiver<u64>;
}
