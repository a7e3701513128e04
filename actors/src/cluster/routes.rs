//! Who has which shard, as far as this node knows. A hint: whoever is asked wrongly says where to go.

use super::{Incarnation, arbiter::Head};
use arc_swap::ArcSwap;
use protocol::{SHARDS, ShardId, ShardSet};
use std::sync::{Arc, Mutex, PoisonError};

/// Where a shard is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Route {
    /// Who has it; nobody, if absent.
    pub owner: Option<Incarnation>,
    /// Under which epoch.
    pub epoch: u64,
}

/// All routes of a node. Reading is one load.
#[derive(Debug)]
pub struct Routes {
    table: ArcSwap<Vec<Route>>,
    /// Writers take turns, so that no change is lost between their reading and their writing.
    turn: Mutex<()>,
}

impl Default for Routes {
    fn default() -> Self {
        let nowhere = vec![Route::default(); usize::from(SHARDS)];
        Self { table: ArcSwap::from_pointee(nowhere), turn: Mutex::default() }
    }
}

impl Routes {
    /// Where a shard is.
    pub fn get(&self, shard: ShardId) -> Route {
        self.table.load()[usize::from(shard.0 % SHARDS)]
    }

    /// All of them, by the numbers of their shards.
    pub fn all(&self) -> Arc<Vec<Route>> {
        self.table.load_full()
    }

    /// Learns what is newer than what is known. Returns the shards that have changed hands.
    pub fn learn(&self, heads: &[Head]) -> ShardSet {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        let mut table = Vec::clone(&self.table.load());
        let mut moved = ShardSet::NONE;
        let mut is_new = false;
        for head in heads {
            let route = &mut table[usize::from(head.shard.0 % SHARDS)];
            let newer = Route { owner: head.owner, epoch: head.epoch };
            // Nobody else gets an epoch; giving a shard to nobody keeps it.
            let is_newer = newer.epoch > route.epoch
                || (newer.epoch == route.epoch && route.owner.is_some() && newer.owner.is_none());
            if is_newer {
                if newer.owner != route.owner {
                    moved.insert(head.shard);
                }
                *route = newer;
                is_new = true;
            }
        }
        if is_new {
            self.table.store(Arc::new(table));
        }
        moved
    }
}
