//! What a generator has seen, and how the figures of many are one.

use crate::measure::{Slot, Times};
use serde::{Deserialize, Serialize};
use std::ops::AddAssign;

/// How many of what, since the start.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Counts {
    /// Let in at this moment.
    pub alive: u64,
    /// Cut off by us, and not back yet.
    pub cut: u64,
    /// Sessions that ended although nobody wanted that, however often.
    pub died: u64,
    /// Handshakes refused because there were too many (429).
    pub too_fast: u64,
    /// Handshakes refused for now (503).
    pub busy: u64,
    /// Handshakes refused otherwise.
    pub refused: u64,
    /// Connections that could not be made, or ended before a welcome.
    pub failed: u64,
    /// Sessions that came back, after a cut or a death.
    pub reconnects: u64,
    /// Of those, the ones that went on where they were …
    pub resumed: u64,
    /// … and the others.
    pub anew: u64,
    /// Heartbeats said.
    pub beats: u64,
    /// Heartbeats heard.
    pub beats_heard: u64,
    /// Commands said.
    pub commands: u64,
    /// Commands done.
    pub done: u64,
    /// Commands refused.
    pub commands_refused: u64,
}

impl Counts {
    /// What happened since an earlier look, as a second of a run. Whoever is let in has been asked for.
    pub fn slot_since(&self, before: &Self) -> Slot {
        Slot {
            asked: self.alive.saturating_sub(before.alive),
            wanted: (self.commands + self.beats).saturating_sub(before.commands + before.beats),
            done: (self.done + self.beats_heard).saturating_sub(before.done + before.beats_heard),
            refused: self.commands_refused.saturating_sub(before.commands_refused),
            put_off: (self.too_fast + self.busy).saturating_sub(before.too_fast + before.busy),
            failed: self.failed.saturating_sub(before.failed),
            lost: (self.died + self.cut).saturating_sub(before.died + before.cut),
            cut: self.cut.saturating_sub(before.cut),
            riders: self.alive,
            ..Slot::default()
        }
    }
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        let Self {
            alive,
            cut,
            died,
            too_fast,
            busy,
            refused,
            failed,
            reconnects,
            resumed,
            anew,
            beats,
            beats_heard,
            commands,
            done,
            commands_refused,
        } = other;
        self.alive += alive;
        self.cut += cut;
        self.died += died;
        self.too_fast += too_fast;
        self.busy += busy;
        self.refused += refused;
        self.failed += failed;
        self.reconnects += reconnects;
        self.resumed += resumed;
        self.anew += anew;
        self.beats += beats;
        self.beats_heard += beats_heard;
        self.commands += commands;
        self.done += done;
        self.commands_refused += commands_refused;
    }
}

/// All the times of a generator since it was last asked, as they cross.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Taken {
    /// From the first byte to the welcome.
    pub(super) welcome: Vec<(u64, u64)>,
    /// From the cut to the welcome.
    pub(super) back: Vec<(u64, u64)>,
    /// From a heartbeat to the next.
    pub(super) beat: Vec<(u64, u64)>,
    /// From a command to its result.
    pub(super) command: Vec<(u64, u64)>,
}

/// The same, added up.
#[derive(Debug, Clone, Default)]
pub struct AllTimes {
    /// From the first byte to the welcome.
    pub welcome: Times,
    /// From the cut to the welcome.
    pub back: Times,
    /// From a heartbeat to the next.
    pub beat: Times,
    /// From a command to its result.
    pub command: Times,
}

impl AllTimes {
    pub(super) fn take(&mut self) -> Taken {
        Taken {
            welcome: self.welcome.take(),
            back: self.back.take(),
            beat: self.beat.take(),
            command: self.command.take(),
        }
    }

    pub(super) fn add(&mut self, taken: &Taken) {
        self.welcome.add(&taken.welcome);
        self.back.add(&taken.back);
        self.beat.add(&taken.beat);
        self.command.add(&taken.command);
    }
}
