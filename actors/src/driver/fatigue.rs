//! How long a driver has worked, when it is told so, and when it must rest (LO-13 of the catalogue, MODEL section 5.4).
//!
//! ```text
//!  ├─ spell ─┤    ├─ spell ─┤       ├─ works ──►
//!       ├──────────── duty_within_ms ──────────┤ now     what lies in it counts
//!
//!  works ── duty_told_ms ──► told, once ── duty_max_ms ──► owes a rest ── rest_ms without work ──► begins anew
//! ```
//!
//! All of it follows from when it began and ended to work, which its journal says. What is owed is a whole rest: that some of what
//! counted lies further back by then makes it no shorter, or it would work a minute at a time.

use super::{Driver, Duty, ms};
use crate::policy::DriverPolicy;
use protocol::{Timestamp, view::Rest};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Of so many spells it is known when they were. Of more the two oldest count as one, that ended when the later of them did:
/// so nothing is forgotten too soon.
const SPELLS_MAX: usize = 32;

/// When it worked, without a gap.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Spell {
    from: Timestamp,
    until: Timestamp,
}

impl Spell {
    fn lasted(self) -> Duration {
        self.until.since(self.from)
    }

    /// How much of it was after that.
    fn lasted_after(self, then: Timestamp) -> Duration {
        self.until.since(self.from.max(then))
    }

    /// The same, so much earlier.
    fn earlier(self, by: Duration) -> Self {
        Self { from: self.from - by, until: self.until - by }
    }
}

/// What a driver does, as far as its hours care.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Doing {
    /// It is on duty, or ends what it has and leaves.
    Work,
    /// It is on a break, and has jobs that it ends: no work, and no rest.
    Neither,
    /// Nothing.
    Rest,
}

/// How long a driver has worked since it last rested properly, and when.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Hours {
    /// Since it last rested properly, up to `since`, in milliseconds.
    worked_ms: u32,
    /// It has worked, or rested, since then.
    since: Timestamp,
    /// When it worked, where only what was lately counts: in order, none overlaps another, and without what goes on.
    #[serde(default, skip_serializing_if = "<[Spell]>::is_empty")]
    spells: Box<[Spell]>,
    /// Was it told that it has worked for long?
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    is_told: bool,
    /// Has it worked as long as it may, and not rested properly since?
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    owes_rest: bool,
}

impl Hours {
    /// It works from now on. Says whether it has rested properly before.
    pub(super) fn begin(&mut self, at: Timestamp, did: Doing, policy: &DriverPolicy) -> bool {
        let is_rested = did == Doing::Rest && at.since(self.since) >= ms(policy.rest_ms);
        if is_rested {
            *self = Self::default();
        }
        let is_by_day = policy.duty_within_ms > 0;
        if is_by_day && self.spells.is_empty() && self.worked_ms > 0 {
            // Until now nobody asked when that was: as late as it can have been.
            let from = self.since - ms(self.worked_ms);
            self.spells = [Spell { from, until: self.since }].into();
        }
        // The clock may have been set back: it was as long, and as much earlier.
        let ahead = self.spells.last().map_or(Duration::ZERO, |last| last.until.since(at));
        if !ahead.is_zero() {
            self.spells = self.spells.iter().map(|spell| spell.earlier(ahead)).collect();
        }
        self.is_told &= self.counted(at, did, policy) >= ms(policy.duty_told_ms);
        self.since = at;
        is_rested
    }

    /// It works no more.
    pub(super) fn end(&mut self, at: Timestamp, policy: &DriverPolicy) {
        self.owes_rest |= self.counted(at, Doing::Work, policy) >= ms(policy.duty_max_ms);
        self.spells = match policy.duty_within_ms {
            0 => Box::default(),
            within_ms => self.spells_with(Spell { from: self.since, until: at }, ms(within_ms)),
        };
        self.worked_ms = self.worked_ms(at, Doing::Work);
        self.since = at;
    }

    /// Its rest begins only now: it ended its last job.
    pub(super) fn rests_from(&mut self, at: Timestamp) {
        self.since = at;
    }

    /// It has worked as long as it may.
    pub(super) fn owe_rest(&mut self) {
        self.owes_rest = true;
    }

    /// It was told that it has worked for long.
    pub(super) fn tell(&mut self) {
        self.is_told = true;
    }

    /// How long it has worked by `now` since it last rested properly, in milliseconds.
    pub(super) fn worked_ms(&self, now: Timestamp, does: Doing) -> u32 {
        let going_on = match does {
            Doing::Work => u32::try_from(now.ms_since(self.since)).unwrap_or(u32::MAX),
            Doing::Neither | Doing::Rest => 0,
        };
        self.worked_ms.saturating_add(going_on)
    }

    /// The same, as far as it counts.
    pub(super) fn counted(&self, now: Timestamp, does: Doing, policy: &DriverPolicy) -> Duration {
        if policy.duty_within_ms == 0 {
            return ms(self.worked_ms(now, does));
        }
        let then = now - ms(policy.duty_within_ms);
        let going_on = (does == Doing::Work).then_some(Spell { from: self.since, until: now });
        self.spells.iter().copied().chain(going_on).map(|spell| spell.lasted_after(then)).sum()
    }

    /// When so much counts, if it goes on working, as it does now.
    pub(super) fn due(&self, worked_ms: u32, policy: &DriverPolicy) -> Timestamp {
        let wanted = ms(worked_ms);
        if policy.duty_within_ms == 0 {
            return self.since + wanted.saturating_sub(ms(self.worked_ms));
        }
        if self.counted(self.since, Doing::Work, policy) >= wanted {
            return self.since;
        }
        // What counts never gets less while it works. It is as much as is wanted, for the first time, when that is what it works
        // now, together with all spells but some of the oldest, and these are those that count as a whole.
        let mut before: Duration = self.spells.iter().map(|spell| spell.lasted()).sum();
        for spell in &self.spells {
            let due = self.since + wanted.saturating_sub(before);
            if due - ms(policy.duty_within_ms) <= spell.from {
                return due;
            }
            before = before.saturating_sub(spell.lasted());
        }
        self.since + wanted
    }

    /// How much longer it must rest before it may work, if it must.
    pub(super) fn rest_left(
        &self,
        now: Timestamp,
        does: Doing,
        policy: &DriverPolicy,
    ) -> Option<Duration> {
        let must = self.owes_rest || self.counted(now, does, policy) >= ms(policy.duty_max_ms);
        let rested = match does {
            Doing::Rest => now.since(self.since),
            Doing::Work | Doing::Neither => Duration::ZERO,
        };
        let left = ms(policy.rest_ms).saturating_sub(rested);
        (must && !left.is_zero()).then_some(left)
    }

    /// Those that still count, with one more.
    fn spells_with(&self, next: Spell, within: Duration) -> Box<[Spell]> {
        let then = next.until - within;
        let mut spells: Vec<Spell> =
            self.spells.iter().copied().filter(|spell| spell.until > then).collect();
        if let Some(last) = spells.last_mut().filter(|last| last.until >= next.from) {
            last.until = last.until.max(next.until);
        } else if !next.lasted().is_zero() {
            spells.push(next);
        }
        if spells.len() > SPELLS_MAX {
            let oldest = spells.remove(0);
            spells[0].from = spells[0].from - oldest.lasted();
        }
        spells.into()
    }
}

impl Driver {
    pub(super) fn doing(&self) -> Doing {
        match self.duty {
            Duty::On | Duty::Draining(_) => Doing::Work,
            Duty::Off | Duty::Break(_) if self.jobs.is_empty() => Doing::Rest,
            Duty::Off | Duty::Break(_) => Doing::Neither,
        }
    }

    /// How long it has worked by `now` since its last proper rest, in milliseconds.
    pub(super) fn worked_ms(&self, now: Timestamp) -> u32 {
        self.hours.worked_ms(now, self.doing())
    }

    /// How long it has worked by `now`, as far as that counts.
    pub(super) fn counted(&self, now: Timestamp) -> Duration {
        self.hours.counted(now, self.doing(), &self.policy)
    }

    /// When it is told that it has worked for long.
    pub(super) fn long_due(&self) -> Option<Timestamp> {
        let Self { duty, policy, hours, .. } = self;
        let is_to_be_told = *duty == Duty::On && policy.duty_told_ms > 0 && !hours.is_told;
        is_to_be_told.then(|| hours.due(policy.duty_told_ms, policy))
    }

    /// When it must rest.
    pub(super) fn fatigue_due(&self) -> Option<Timestamp> {
        let Self { duty, policy, hours, .. } = self;
        (*duty == Duty::On).then(|| hours.due(policy.duty_max_ms, policy))
    }

    /// How much longer it must rest before it may work under this policy, if it must.
    pub(super) fn rest_left(&self, policy: &DriverPolicy, now: Timestamp) -> Option<Duration> {
        self.hours.rest_left(now, self.doing(), policy)
    }

    /// Has it worked for long, as far as it was told, or too long?
    pub(super) fn is_tired(&self) -> bool {
        self.hours.is_told || self.hours.owes_rest
    }

    /// When it must rest, and until when, once it has worked for long. Says nothing that is another by and by.
    pub(super) fn rest(&self) -> Option<Rest> {
        let must = self.hours.owes_rest;
        let is_resting = must && self.doing() == Doing::Rest;
        self.is_tired().then(|| Rest {
            must,
            at: self.fatigue_due().filter(|_| !must),
            until: is_resting.then(|| self.hours.since + ms(self.policy.rest_ms)),
        })
    }
}

#[cfg(test)]
mod tests;
