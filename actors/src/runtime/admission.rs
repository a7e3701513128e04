//! How much may wait. Mailboxes are unbounded, so the bound is here, in front of them.

use super::Settings;
use crate::Refusal;
use protocol::{SHARDS, ShardId};
use std::sync::{
    Arc,
    atomic::{AtomicU32, AtomicU64, Ordering},
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
    shards: Box<[OfShard]>,
    emptied: Notify,
}

/// What is counted of one shard, side by side: whoever counts the one has the other at hand.
#[derive(Debug, Default)]
struct OfShard {
    n_waiting: AtomicU32,
    /// Commands that its entities were asked since the node started.
    n_commands: AtomicU64,
}

/// Permission for one message to wait; given back when dropped.
#[derive(Debug)]
pub(super) struct Permit {
    counts: Arc<Counts>,
    shard: ShardId,
}

impl Admission {
    pub(super) fn new(settings: Settings) -> Self {
        let shards = (0..SHARDS).map(|_| OfShard::default()).collect();
        let counts = Counts { node: AtomicU32::new(0), shards, emptied: Notify::new() };
        Self {
            counts: Arc::new(counts),
            node_max: settings.node_inflight_max,
            shard_max: settings.shard_inflight_max,
        }
    }

    /// Lets one more message wait, or says [`Refusal::Busy`]. For urgent ones there is as much room again.
    pub(super) fn admit(&self, shard: ShardId, is_urgent: bool) -> Result<Permit, Refusal> {
        let room = if is_urgent { 2 } else { 1 };
        let node_max = self.node_max.saturating_mul(room);
        let shard_max = self.shard_max.saturating_mul(room);
        let in_node = self.counts.node.fetch_add(1, Ordering::AcqRel);
        let in_shard = self.counts.of(shard).n_waiting.fetch_add(1, Ordering::AcqRel);
        // From here on the counts are right whichever way this returns.
        let permit = Permit { counts: self.counts.clone(), shard };
        if in_node >= node_max || in_shard >= shard_max {
            metrics::counter!("outrider_busy_total", "bound" => if in_node >= node_max { "node" } else { "shard" })
                .increment(1);
            return Err(Refusal::Busy { retry_after_ms: RETRY_AFTER_MS });
        }
        Ok(permit)
    }

    /// Takes note of a command for a shard.
    pub(super) fn count_command(&self, shard: ShardId) {
        self.counts.of(shard).n_commands.fetch_add(1, Ordering::Relaxed);
    }

    /// How many commands were counted for a shard.
    pub(super) fn n_commands(&self, shard: ShardId) -> u64 {
        self.counts.of(shard).n_commands.load(Ordering::Relaxed)
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

impl Counts {
    fn of(&self, shard: ShardId) -> &OfShard {
        &self.shards[usize::from(shard.0)]
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        self.counts.of(self.shard).n_waiting.fetch_sub(1, Ordering::AcqRel);
        if self.counts.node.fetch_sub(1, Ordering::AcqRel) == 1 {
            self.counts.emptied.notify_waiters();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_is_in_danger_is_let_in_where_others_are_not_and_there_is_a_bound_all_the_same() {
        let bounds = [
            Settings { shard_inflight_max: 1, ..Settings::default() },
            Settings { node_inflight_max: 1, ..Settings::default() },
        ];
        for settings in bounds {
            let admission = Admission::new(settings);
            let is_busy = |is_urgent| admission.admit(ShardId(1), is_urgent).is_err();
            let _usual = admission.admit(ShardId(1), false).unwrap();
            assert!(is_busy(false));
            let _urgent = admission.admit(ShardId(1), true).unwrap();
            assert!(is_busy(true) && is_busy(false));
        }
    }
}
