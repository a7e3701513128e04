//! What each second of a run was like, in a bounded number of slots: when there are too many, neighbours become one.

use super::Op;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// Most slots: ten minutes of seconds, an hour of eight seconds each, a day of four minutes each.
pub(crate) const SLOTS_MAX: usize = 600;
/// Times in slots are kept to five bits, which is three per cent.
const BITS: u32 = 5;

/// Microseconds to [`BITS`] bits, and how often.
type Counts = Vec<(u64, u64)>;

/// One slot: flows are sums over it, levels are those at its end.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Slot {
    /// People who began to ask.
    pub asked: u64,
    /// Commands that became due.
    pub wanted: u64,
    /// Commands answered with a yes.
    pub done: u64,
    /// Commands answered with a no.
    pub refused: u64,
    /// Of these, by the node's fault.
    pub failed: u64,
    /// Answers that were "later".
    pub put_off: u64,
    /// Commands said again.
    pub resent: u64,
    /// Positions sent.
    pub positions: u64,
    /// Frames received.
    pub frames: u64,
    /// Jobs that came into being.
    pub created: u64,
    /// Jobs that ended well.
    pub completed: u64,
    /// Connections that were lost.
    pub lost: u64,
    /// Of these, because we wanted it (tunnels, flat batteries, cuts).
    pub cut: u64,
    /// Connected drivers, at the end of it.
    pub drivers: u64,
    /// Connected riders and merchants, at the end of it.
    pub riders: u64,
    /// How late the generator's tasks ran: the p99 of its worst second, in microseconds.
    pub lag_us: u64,
    /// How busy the generator kept its processors in its worst second, 0 to 1.
    pub cpu_share: f64,
    /// What watched processes held at the end of it, in bytes.
    pub watched_bytes: u64,
    /// How many processors they kept busy in its worst second.
    pub watched_cores: f64,
    /// How long what ended in it had taken, counted from when it was due.
    pub took: BTreeMap<Op, Counts>,
    /// What nodes said of themselves, by name.
    pub nodes: BTreeMap<String, NodeSlot>,
}

/// What a node said of itself at the end of a slot.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct NodeSlot {
    /// Does it answer?
    pub is_up: bool,
    /// Does it want work?
    pub is_ready: bool,
    /// Connected clients.
    pub sessions: u64,
    /// Shards it owns; none are known of a node that is alone.
    pub shards: u64,
    /// Actors that are awake.
    pub awake: u64,
}

impl Slot {
    /// What came after it, as one slot.
    fn then(&mut self, later: Self) {
        let Self { drivers, riders, watched_bytes, watched_cores, ref nodes, .. } = later;
        let (nodes, worst_cores) = (nodes.clone(), self.watched_cores.max(watched_cores));
        self.beside(later);
        (self.drivers, self.riders) = (drivers, riders);
        (self.watched_bytes, self.watched_cores) = (watched_bytes, worst_cores);
        if !nodes.is_empty() {
            self.nodes = nodes;
        }
    }

    /// The same time elsewhere, as one slot. Nodes are seen by everybody alike.
    pub(crate) fn beside(&mut self, other: Self) {
        let Self {
            asked,
            wanted,
            done,
            refused,
            failed,
            put_off,
            resent,
            positions,
            frames,
            created,
            completed,
            lost,
            cut,
            drivers,
            riders,
            lag_us,
            cpu_share,
            watched_bytes,
            watched_cores,
            took,
            nodes,
        } = other;
        self.asked += asked;
        self.wanted += wanted;
        self.done += done;
        self.refused += refused;
        self.failed += failed;
        self.put_off += put_off;
        self.resent += resent;
        self.positions += positions;
        self.frames += frames;
        self.created += created;
        self.completed += completed;
        self.lost += lost;
        self.cut += cut;
        self.drivers += drivers;
        self.riders += riders;
        self.lag_us = self.lag_us.max(lag_us);
        self.cpu_share = self.cpu_share.max(cpu_share);
        self.watched_bytes += watched_bytes;
        self.watched_cores += watched_cores;
        for (op, counts) in took {
            let all = self.took.entry(op).or_default();
            all.extend(counts);
            *all = coarsen(std::mem::take(all));
        }
        for (name, node) in nodes {
            self.nodes.entry(name).or_insert(node);
        }
    }
}

/// Counts by rounded time, ascending.
pub(crate) fn coarsen(counts: Counts) -> Counts {
    let mut all = BTreeMap::<u64, u64>::new();
    for (us, n) in counts {
        *all.entry(rounded(us)).or_default() += n;
    }
    all.into_iter().collect()
}

/// A time to so many bits; what is rounded stays so.
fn rounded(us: u64) -> u64 {
    let surplus = (u64::BITS - us.leading_zeros()).saturating_sub(BITS);
    us >> surplus << surplus
}

/// A run, slot by slot.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Timeline {
    /// How many seconds a slot is: a power of two.
    pub width_s: u64,
    /// How many seconds there are; the last slot may have fewer than the others.
    pub n_s: u64,
    /// One after the other.
    pub slots: Vec<Slot>,
}

impl Default for Timeline {
    fn default() -> Self {
        Self { width_s: 1, n_s: 0, slots: Vec::new() }
    }
}

impl Timeline {
    /// Another second is over.
    pub fn second(&mut self, slot: Slot) {
        match self.slots.last_mut() {
            Some(last) if !self.n_s.is_multiple_of(self.width_s) => last.then(slot),
            Some(_) | None => self.slots.push(slot),
        }
        self.n_s += 1;
        if self.slots.len() > SLOTS_MAX {
            self.widen();
        }
    }

    /// Two slots become one.
    fn widen(&mut self) {
        let mut slots = Vec::with_capacity(self.slots.len().div_ceil(2));
        let mut old = std::mem::take(&mut self.slots).into_iter();
        while let Some(mut slot) = old.next() {
            if let Some(later) = old.next() {
                slot.then(later);
            }
            slots.push(slot);
        }
        self.slots = slots;
        self.width_s *= 2;
    }

    /// The same with at most so many slots.
    #[must_use]
    pub fn with_at_most(mut self, n_slots: usize) -> Self {
        while self.slots.len() > n_slots.max(1) {
            self.widen();
        }
        self
    }

    /// Takes in what happened at the same time elsewhere.
    pub fn merge(&mut self, mut other: Self) {
        while self.width_s < other.width_s {
            self.widen();
        }
        while other.width_s < self.width_s {
            other.widen();
        }
        self.n_s = self.n_s.max(other.n_s);
        for (n, slot) in other.slots.into_iter().enumerate() {
            match self.slots.get_mut(n) {
                Some(here) => here.beside(slot),
                None => self.slots.push(slot),
            }
        }
    }

    /// How many seconds the `n`th slot has.
    pub fn lasting_s(&self, n: usize) -> u64 {
        (self.n_s - (n as u64 * self.width_s).min(self.n_s)).min(self.width_s).max(1)
    }
}
