//! Whether a device can be where it says it is, and which ones say too often that they are where they cannot be.
//!
//! ```text
//!  the next, within reach of the last? ── yes ──────────────────────────────────────► believed
//!        └── no ──► within reach of one that was suspected just before? ── yes ────► believed: the last was wrong
//!                         └── no ──► a jump: refused, counted, and suspected itself
//! ```
//!
//! So one wild position is not believed, and two that agree are: nobody is stuck where they never were. Whoever moves about by
//! saying each place twice is believed each second time, and counted each first.
//!
//! Rules of a driver, without a clock. What they know is soft: it goes along when the driver moves to another node, and is gone
//! after a restart.

use protocol::{Timestamp, view::Position};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Shorter jumps are the noise of a standing receiver, in metres.
const JUMP_MIN_M: f64 = 200.0;
/// So many positions that were not believed…
const REPEATED: usize = 5;
/// … within this are no accident, …
const WITHIN: Duration = Duration::from_mins(10);
/// … and are forgiven after as long without another one.
const FORGIVEN: Duration = Duration::from_mins(10);

/// What is made of a position.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Judged {
    /// It can be so.
    Plausible,
    /// It can be so if the one before was wrong, and it is the second that says so.
    Corrects,
    /// It cannot.
    Jump {
        /** How far from the one before. */
        distance_m: f64,
        /** How long after it. */
        elapsed_s: f64,
    },
}

/// Judges where a device says it is by where it was last believed to be, and by what it said since and was not believed. Nobody is
/// faster than `speed_max_mps`; 0: anybody may be.
pub(super) fn judge(
    last: &Position,
    suspected: Option<&Position>,
    next: &Position,
    speed_max_mps: f32,
) -> Judged {
    let Some((distance_m, elapsed_s)) = jump(last, next, speed_max_mps) else {
        return Judged::Plausible;
    };
    let is_second = |it: &Position| {
        it.sampled_at < next.sampled_at && jump(it, next, speed_max_mps).is_none()
    };
    if suspected.is_some_and(is_second) {
        return Judged::Corrects;
    }
    Judged::Jump { distance_m, elapsed_s }
}

/// How far and in what time, if that is further than anybody comes, as vague as both ends are.
fn jump(from: &Position, to: &Position, speed_max_mps: f32) -> Option<(f64, f64)> {
    let distance_m = from.at.distance_m(to.at);
    if distance_m <= JUMP_MIN_M || speed_max_mps <= 0.0 {
        return None;
    }
    let elapsed_s = to.sampled_at.since(from.sampled_at).as_secs_f64();
    let vague_m = f64::from(from.accuracy_m.unwrap_or(0.0) + to.accuracy_m.unwrap_or(0.0));
    let reach_m = f64::from(speed_max_mps) * elapsed_s + vague_m;
    (distance_m > reach_m).then_some((distance_m, elapsed_s))
}

/// What speaks against a device. Most have none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Doubts {
    /// What it said last, if that was not believed, and the next may agree with it.
    suspected: Option<Position>,
    /// When it was not believed, oldest first: the last [`REPEATED`] times.
    at: Vec<Timestamp>,
    is_marked: bool,
}

impl Doubts {
    pub(super) fn suspected(&self) -> Option<&Position> {
        self.suspected.as_ref()
    }

    /// Was it not believed too often of late?
    pub(super) fn is_marked(&self) -> bool {
        self.is_marked
    }

    /// It jumped there.
    pub(super) fn jumps(&mut self, to: Position, now: Timestamp) {
        self.suspected = Some(to);
        self.rise(now);
    }

    /// It said something that is not believed.
    pub(super) fn rise(&mut self, now: Timestamp) {
        if self.at.len() >= REPEATED {
            self.at.remove(0);
        }
        self.at.push(now);
        let is_often = self.at.len() == REPEATED;
        let is_lately = self.at.first().is_some_and(|first| now.since(*first) <= WITHIN);
        self.is_marked |= is_often && is_lately;
    }

    /// It was believed. Does nothing speak against it any more?
    pub(super) fn fall(&mut self, now: Timestamp) -> bool {
        self.suspected = None;
        self.at.last().is_none_or(|last| now.since(*last) >= FORGIVEN)
    }
}

#[cfg(test)]
mod tests;
