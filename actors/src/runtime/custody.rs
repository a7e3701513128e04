//! What this node may do with each shard, and for how long it may believe so.

use super::admission::RETRY_AFTER_MS;
use crate::Refusal;
use protocol::{SHARDS, ShardId, ShardSet};
use std::{
    sync::atomic::{AtomicU8, AtomicU32, AtomicU64, Ordering},
    time::Duration,
};
use tokio::{
    sync::{Notify, futures::Notified},
    time::Instant,
};

/// What a node does with a shard.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub(super) enum Hold {
    /// Another node has it, or none.
    Away = 0,
    /// It is ours, and not ready yet.
    Adopting = 1,
    /// Its entities live here.
    Held = 2,
    /// Its entities are leaving: whoever asks waits.
    Sealed = 3,
}

/// The holds of all shards, and the lease without which none of them counts.
#[derive(Debug)]
pub(super) struct Custody {
    holds: Box<[AtomicU8]>,
    waiting: Box<[AtomicU32]>,
    waiting_max: u32,
    /// Wakes those who wait in the order in which they came, which a simulation can repeat.
    changed: Notify,
    began: Instant,
    /// Milliseconds since `began`.
    live_until: AtomicU64,
}

impl Custody {
    /// Of nothing, and with a lease that is over.
    pub(super) fn new(waiting_max: u32) -> Self {
        let all = 0..SHARDS;
        Self {
            holds: all.clone().map(|_| AtomicU8::new(Hold::Away as u8)).collect(),
            waiting: all.map(|_| AtomicU32::new(0)).collect(),
            waiting_max,
            changed: Notify::new(),
            began: Instant::now(),
            live_until: AtomicU64::new(0),
        }
    }

    pub(super) fn hold(&self, shard: ShardId) -> Hold {
        match self.holds[index(shard)].load(Ordering::Acquire) {
            1 => Hold::Adopting,
            2 => Hold::Held,
            3 => Hold::Sealed,
            _ => Hold::Away,
        }
    }

    /// Which shards are held so.
    pub(super) fn all(&self, hold: Hold) -> ShardSet {
        (0..SHARDS).map(ShardId).filter(|shard| self.hold(*shard) == hold).collect()
    }

    /// Changes holds, all of them before anyone who waits looks again.
    pub(super) fn set(&self, shards: &ShardSet, hold: Hold) {
        for shard in shards.iter() {
            self.holds[index(shard)].store(hold as u8, Ordering::Release);
        }
        self.notice();
    }

    /// Changes one hold, if it still is what it was thought to be.
    pub(super) fn turn(&self, shard: ShardId, from: Hold, to: Hold) -> bool {
        let cell = &self.holds[index(shard)];
        let turned =
            cell.compare_exchange(from as u8, to as u8, Ordering::AcqRel, Ordering::Acquire);
        if turned.is_ok() {
            self.notice();
        }
        turned.is_ok()
    }

    /// Lets everyone who waits look again.
    pub(super) fn notice(&self) {
        self.changed.notify_waiters();
    }

    /// The node is alive until then, by everybody's count.
    pub(super) fn extend(&self, until: Instant) {
        let was_live = self.is_live();
        let ms = until.saturating_duration_since(self.began).as_millis() as u64;
        self.live_until.store(ms, Ordering::Release);
        if !was_live {
            self.notice();
        }
    }

    /// May the node believe that what it holds is still its own?
    pub(super) fn is_live(&self) -> bool {
        !self.lease_left().is_zero()
    }

    /// For how much longer.
    pub(super) fn lease_left(&self) -> Duration {
        let until = Duration::from_millis(self.live_until.load(Ordering::Acquire));
        until.saturating_sub(self.began.elapsed())
    }

    /// Waits until something has changed, at the latest until `until`; not if too many wait for the
    /// shard already.
    pub(super) async fn wait(
        &self,
        shard: ShardId,
        until: Instant,
        changed: Notified<'_>,
    ) -> Result<(), Refusal> {
        let _waiting = Waiting::begin(&self.waiting[index(shard)], self.waiting_max)?;
        tokio::time::timeout_at(until, changed).await.ok();
        Ok(())
    }

    /// Ends with the next change. To be taken before looking at a hold that may have to be waited for.
    pub(super) fn changes(&self) -> Notified<'_> {
        self.changed.notified()
    }

    /// How many wait.
    pub(super) fn n_waiting(&self) -> u32 {
        self.waiting.iter().map(|n| n.load(Ordering::Relaxed)).sum()
    }
}

/// One who waits; counted out when dropped.
struct Waiting<'a>(&'a AtomicU32);

impl<'a> Waiting<'a> {
    fn begin(n: &'a AtomicU32, max: u32) -> Result<Self, Refusal> {
        let waiting = Self(n);
        if n.fetch_add(1, Ordering::AcqRel) >= max {
            metrics::counter!("outrider_busy_total", "bound" => "moving").increment(1);
            return Err(Refusal::Busy { retry_after_ms: RETRY_AFTER_MS });
        }
        Ok(waiting)
    }
}

impl Drop for Waiting<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::AcqRel);
    }
}

fn index(shard: ShardId) -> usize {
    usize::from(shard.0 % SHARDS)
}
