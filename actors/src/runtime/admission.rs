//! How much may wait. Mailboxes are unbounded, so the bound is here, in front of them.

use super::Settings;
use crate::Refusal;
use protocol::{SHARDS, ShardId};
use std::sync::{
    Arc,
    atomic::{AtomicU32, Ordering},
};
use tokio::sync::Notify;

/// How long a caller who was turned away should wait.
pub(super) const RETRY_AFTER_MS: u64 = 100;

/// Counts the messages that wait, in the node and in each of its shards.
#[derive(Debug)]
pub(super) struct Admission {
    counts: Arc<Counts>,
    node_max: u32,
    shard_max: u32,
}

#[derive(Debug)]
struct Counts {
    node: AtomicU32,
    shards: Box<[AtomicU32]>,
    emptied: Notify,
}

/// Permission for one message to wait; given back when dropped.
#[derive(Debug)]
pub(super) struct Permit {
    counts: Arc<Counts>,
    shard: ShardId,
}

impl Admission {
    pub(super) fn new(settings: Settings) -> Self {
        let shards = (0..SHARDS).map(|_| AtomicU32::new(0)).collect();
        let counts = Counts { node: AtomicU32::new(0), shards, emptied: Notify::new() };
        Self {
            counts: Arc::new(counts),
            node_max: settings.node_inflight_max,
            shard_max: settings.shard_inflight_max,
        }
    }

    /// Lets one more message wait, or says [`Refusal::Busy`].
    pub(super) fn admit(&self, shard: ShardId) -> Result<Permit, Refusal> {
        let in_node = self.counts.node.fetch_add(1, Ordering::AcqRel);
        let in_shard = self.counts.shards[usize::from(shard.0)].fetch_add(1, Ordering::AcqRel);
        // From here on the counts are right whichever way this returns.
        let permit = Permit { counts: self.counts.clone(), shard };
        if in_node >= self.node_max || in_shard >= self.shard_max {
            metrics::counter!("outrider_busy_total", "bound" => if in_node >= self.node_max { "node" } else { "shard" })
                .increment(1);
            return Err(Refusal::Busy { retry_after_ms: RETRY_AFTER_MS });
        }
        Ok(permit)
    }

    /// Returns once nothing waits.
    pub(super) async fn idle(&self) {
        loop {
            let emptied = self.counts.emptied.notified();
            if self.counts.node.load(Ordering::Acquire) == 0 {
                return;
            }
            emptied.await;
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.counts.shards[usize::from(self.shard.0)].fetch_sub(1, Ordering::AcqRel);
        if self.counts.node.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.counts.emptied.notify_waiters();
        }
    }
}
