//! Whether a device can be where it says it is, and which ones say too often that they are where they cannot be.
//!
//! ```text
//!  the next, within reach of the last? ── yes ──────────────────────────────────────────────────► believed
//!        └── no ──► within reach of where it first said so? ── no ────► a jump: refused, counted, and suspected itself
//!                         └── yes ──► five times over 4 s, or for 20 s? ── no ──► refused
//!                                              └── yes ────────────────► believed: the last was wrong
//! ```
//!
//! So one wild position is not believed, nor are a few, and those that go on agreeing are: nobody is stuck where they never were.
//! Whoever moves about by saying each place long enough is believed in the end, and counted each time.
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
/// So many positions that agree, …
const AGREED: u8 = 5;
/// … the last so long after the first, for what was stored is said all at once, …
const AGREED_OVER: Duration = Duration::from_secs(4);
/// … or fewer for so long, and what was believed until then was wrong.
const AGREED_FOR: Duration = Duration::from_secs(20);
/// Whose clock says so much less than before has set it back; what is older by less comes late.
const SET_BACK: Duration = Duration::from_mins(1);

/// What is made of a position.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Judged {
    /// It can be so.
    Plausible,
    /// It can be so if the one before was wrong, and enough say so.
    Corrects,
    /// It cannot.
    Jump {
        /** How far from the one before. */
        distance_m: f64,
        /** How long after it. */
        elapsed_s: f64,
        /** What is suspected now. */
        suspect: Suspect,
    },
}

/// Where a device says that it is, and is not believed to be yet.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Suspect {
    /// The first position that said so.
    first: Position,
    /// When that was heard.
    since: Timestamp,
    /// When the last one that agrees was sampled.
    sampled_at: Timestamp,
    /// How many do, the first among them.
    n: u8,
}

impl Suspect {
    fn new(first: &Position, now: Timestamp) -> Self {
        Self { first: *first, since: now, sampled_at: first.sampled_at, n: 1 }
    }

    /// The same, if the device can be there as well; or else only where it says now that it is. A position that is said twice
    /// counts once.
    fn or_else(self, next: &Position, speed_max_mps: f32, now: Timestamp) -> Self {
        let (before, after) = (self.sampled_at, next.sampled_at);
        if jump((&self.first, self.since), (next, now), speed_max_mps).is_some() {
            Self::new(next, now)
        } else if after > before || is_set_back(before, after) {
            Self { sampled_at: after, n: self.n.saturating_add(1), ..self }
        } else {
            self
        }
    }

    /// Has it been said often enough, or for long enough, by our clock, for the device's is its own?
    fn is_settled(&self, now: Timestamp) -> bool {
        let agreed_for = now.since(self.since);
        self.n >= AGREED && agreed_for >= AGREED_OVER || self.n > 1 && agreed_for >= AGREED_FOR
    }
}

/// Judges where a device says it is by where it was last believed to be, which was heard at `heard_at`, and by what it said since
/// and was not believed. Nobody is faster than `speed_max_mps`; 0: anybody may be.
pub(super) fn judge(
    last: &Position,
    heard_at: Timestamp,
    suspect: Option<Suspect>,
    next: &Position,
    speed_max_mps: f32,
    now: Timestamp,
) -> Judged {
    let Some((distance_m, elapsed_s)) = jump((last, heard_at), (next, now), speed_max_mps) else {
        return Judged::Plausible;
    };
    let suspect = match suspect {
        Some(suspect) => suspect.or_else(next, speed_max_mps, now),
        None => Suspect::new(next, now),
    };
    if suspect.is_settled(now) {
        return Judged::Corrects;
    }
    Judged::Jump { distance_m, elapsed_s, suspect }
}

/// Was the clock that said the one set back until it said the other?
pub(super) fn is_set_back(before: Timestamp, after: Timestamp) -> bool {
    before.since(after) > SET_BACK
}

/// How far and in what time, if that is further than anybody comes, as vague as both ends are. With each is when it was heard.
fn jump(
    (from, heard_at): (&Position, Timestamp),
    (to, now): (&Position, Timestamp),
    speed_max_mps: f32,
) -> Option<(f64, f64)> {
    let distance_m = from.at.distance_m(to.at);
    if distance_m <= JUMP_MIN_M || speed_max_mps <= 0.0 {
        return None;
    }
    // The device's clock may have been set back meanwhile, and ours does not know how long either was on its way.
    let elapsed = to.sampled_at.since(from.sampled_at).max(now.since(heard_at));
    let elapsed_s = elapsed.as_secs_f64();
    let vague_m = f64::from(from.accuracy_m.unwrap_or(0.0) + to.accuracy_m.unwrap_or(0.0));
    let reach_m = f64::from(speed_max_mps) * elapsed_s + vague_m;
    (distance_m > reach_m).then_some((distance_m, elapsed_s))
}

/// What speaks against a device. Most have none.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub(super) struct Doubts {
    /// Where it says that it is, if that is not believed yet.
    #[serde(default)]
    suspect: Option<Suspect>,
    /// When it was not believed, oldest first: the last [`REPEATED`] times.
    at: Vec<Timestamp>,
    is_marked: bool,
}

impl Doubts {
    pub(super) fn suspect(&self) -> Option<Suspect> {
        self.suspect
    }

    /// Was it not believed too often of late, as far as anybody was told?
    pub(super) fn is_marked(&self) -> bool {
        self.is_marked
    }

    /// The same, as it is now: whoever is silent says nothing that would be a reason to tell it.
    pub(super) fn is_doubted(&self, now: Timestamp) -> bool {
        self.is_marked && !self.is_forgiven(now)
    }

    /// Does nothing of that count any more?
    pub(super) fn is_forgiven(&self, now: Timestamp) -> bool {
        self.at.last().is_none_or(|last| now.since(*last) >= FORGIVEN)
    }

    /// It jumped, or says again that it did. That counts once.
    pub(super) fn jumps(&mut self, suspect: Suspect, now: Timestamp) {
        let is_same = self.suspect.is_some_and(|it| it.first == suspect.first);
        self.suspect = Some(suspect);
        if !is_same {
            self.rise(now);
        }
    }

    /// It said something that is not believed.
    pub(super) fn rise(&mut self, now: Timestamp) {
        if self.is_forgiven(now) {
            self.at.clear();
            self.is_marked = false;
        }
        if self.at.len() >= REPEATED {
            self.at.remove(0);
        }
        self.at.push(now);
        let is_often = self.at.len() == REPEATED;
        let is_lately = self.at.first().is_some_and(|first| now.since(*first) <= WITHIN);
        self.is_marked |= is_often && is_lately;
    }

    /// It was believed: what it said since, and was not, is over.
    pub(super) fn is_believed(&mut self) {
        self.suspect = None;
    }
}

#[cfg(test)]
mod tests;
