//! How much there is to do in each shard of a node: counted as it happens, and added up when somebody looks.

use super::{Hosted, System, by_kind};
use crate::Kind;
use protocol::ShardId;
use strum::IntoEnumIterator;

/// How much there is to do in a shard, on the node that has it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Load {
    /// Which.
    pub shard: ShardId,
    /// How many of its entities are awake.
    pub n_awake: u32,
    /// How many commands they were asked on this node since it started. Repeats count.
    pub n_commands: u64,
}

impl System {
    /// How much there is to do in each shard that this node has; one that is on its way is left out.
    pub fn loads(&self) -> Vec<Load> {
        let load = |shard: ShardId| Load {
            shard,
            n_awake: self.n_awake_in(shard),
            n_commands: self.0.admission.n_commands(shard),
        };
        self.held().iter().map(load).collect()
    }

    fn n_awake_in(&self, shard: ShardId) -> u32 {
        Kind::iter().map(|kind| by_kind!(kind, D => D::shards(self).n_awake_in(shard))).sum()
    }
}
