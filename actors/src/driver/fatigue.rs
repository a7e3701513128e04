//! How long a driver has worked, when it is told so, and when it must rest (LO-13 of the catalogue, MODEL section 5.4).
//!
//! ```text
//!  ├─ spell ─┤    ├─ spell ─┤       ├─ works ──►
//!       ├──────────── duty_within_ms ──────────┤ now     what lies in it counts
//!
//!  works ── duty_told_ms ──► told, once ── duty_max_ms ──► owes a rest ── rest_ms without work ──► begins anew
//! ```
//!
//! All of it follows from when it began and ended to work, which its journal says: on duty, or with a job on board, whatever it
//! calls that. What is owed is a whole rest: that some of what counted lies further back by then makes it no shorter, or it
//! would work a minute at a time.

use super::{Driver, Duty, ms};
use crate::policy::DriverPolicy;
use protocol::{Timestamp, view::Rest};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Of so many spells it is known when they were. Of more the two oldest count as one, that ended when the later of them did:
/// so nothing is forgotten too soon. Who works more often than that without a proper rest may count as having worked for longer
/// than it has of late, by what of the older ones is further back: never for less.
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
    /// It is on duty, or ends what it has: as it leaves, or on a break.
    Work,
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
    /// It works from now on, and has not until now. Says whether it has rested properly before.
    pub(super) fn begin(&mut self, at: Timestamp, policy: &DriverPolicy) -> bool {
        let is_rested = at.since(self.since) >= ms(policy.rest_ms);
        if is_rested {
            *self = Self::default();
        }
        if policy.duty_within_ms > 0 {
            self.spells = self.all_spells(ms(policy.duty_within_ms)).collect();
        }
        // The clock may have been set back: it was as long, and as much earlier.
        let ahead = self.spells.last().map_or(Duration::ZERO, |last| last.until.since(at));
        if !ahead.is_zero() {
            self.spells = self.spells.iter().map(|spell| spell.earlier(ahead)).collect();
        }
        self.is_told &= self.counted(at, Doing::Rest, policy) >= ms(policy.duty_told_ms);
        self.since = at;
        is_rested
    }

    /// It works no more.
    pub(super) fn end(&mut self, at: Timestamp, policy: &DriverPolicy) {
        // The clock may have been set back: by how much must not count as rest later.
        let until = self.since.max(at);
        self.owes_rest |= self.counted(until, Doing::Work, policy) >= ms(policy.duty_max_ms);
        self.spells = match policy.duty_within_ms {
            0 => Box::default(),
            within_ms => self.spells_with(Spell { from: self.since, until }, ms(within_ms)),
        };
        self.worked_ms = self.worked_ms(until, Doing::Work);
        self.since = until;
    }

    /// It has worked as long as it may.
    pub(super) fn owe_rest(&mut self) {
        self.owes_rest = true;
    }

    /// It was told that it has worked for long.
    pub(super) fn tell(&mut self) {
        self.is_told = true;
    }

    /// Since when it works, or has not; zero if it never did.
    pub(super) fn since(&self) -> Timestamp {
        self.since
    }

    /// How long it has worked by `now` since it last rested properly, in milliseconds.
    pub(super) fn worked_ms(&self, now: Timestamp, does: Doing) -> u32 {
        let going_on = match does {
            Doing::Work => u32::try_from(now.ms_since(self.since)).unwrap_or(u32::MAX),
            Doing::Rest => 0,
        };
        self.worked_ms.saturating_add(going_on)
    }

    /// The same, as far as it counts.
    pub(super) fn counted(&self, now: Timestamp, does: Doing, policy: &DriverPolicy) -> Duration {
        if policy.duty_within_ms == 0 {
            return ms(self.worked_ms(now, does));
        }
        let within = ms(policy.duty_within_ms);
        let then = now - within;
        let going_on = (does == Doing::Work).then_some(Spell { from: self.since, until: now });
        self.all_spells(within).chain(going_on).map(|spell| spell.lasted_after(then)).sum()
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
        let within = ms(policy.duty_within_ms);
        let mut before: Duration = self.all_spells(within).map(Spell::lasted).sum();
        for spell in self.all_spells(within) {
            let due = self.since + wanted.saturating_sub(before);
            if due - within <= spell.from {
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
            Doing::Work => Duration::ZERO,
        };
        let left = ms(policy.rest_ms).saturating_sub(rested);
        (must && !left.is_zero()).then_some(left)
    }

    /// When it worked, without what goes on. Where nobody asked when that was, as no build before format 11 did, nor any where all
    /// counts, it was all at once, as late as it can have been, and no more of it than can count.
    fn all_spells(&self, within: Duration) -> impl Iterator<Item = Spell> {
        let is_unknown = self.spells.is_empty() && self.worked_ms > 0;
        let from = self.since - ms(self.worked_ms).min(within);
        let until = self.since;
        self.spells.iter().copied().chain(is_unknown.then_some(Spell { from, until }))
    }

    /// Those that still count, with one more.
    fn spells_with(&self, next: Spell, within: Duration) -> Box<[Spell]> {
        let then = next.until - within;
        let mut spells: Vec<Spell> =
            self.all_spells(within).filter(|spell| spell.until > then).collect();
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
        let is_at_work = match self.duty {
            Duty::On | Duty::Draining(_) => true,
            // Whoever has jobs ends them, and that is work.
            Duty::Off | Duty::Break(_) => !self.jobs.is_empty(),
        };
        if is_at_work { Doing::Work } else { Doing::Rest }
    }

    /// Its duty, or what it has, is another than when it `did` that: it may begin to work by it, or work no more.
    pub(super) fn follow_hours(&mut self, did: Doing, at: Timestamp) {
        match (did, self.doing()) {
            (Doing::Rest, Doing::Work) => {
                let is_rested = self.hours.begin(at, &self.policy);
                if is_rested {
                    self.soft.is_rested();
                }
            }
            (Doing::Work, Doing::Rest) => self.hours.end(at, &self.policy),
            // To a build before format 11 what it ends on a break is no work, and `since` is when the break began.
            (Doing::Work, Doing::Work) if matches!(self.duty, Duty::Break(_)) => {
                self.hours.end(at, &self.policy);
            }
            (Doing::Rest, Doing::Rest) | (Doing::Work, Doing::Work) => {}
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

    /// When it is told that it has worked for long. Who must rest knows by then.
    pub(super) fn long_due(&self) -> Option<Timestamp> {
        let Self { policy, hours, .. } = self;
        let is_known = hours.is_told || hours.owes_rest;
        let is_to_be_told = self.doing() == Doing::Work && policy.duty_told_ms > 0 && !is_known;
        is_to_be_told.then(|| hours.due(policy.duty_told_ms, policy))
    }

    /// When it will have worked as long as it may, if it works on; none while it does not work.
    pub(super) fn hours_due(&self) -> Option<Timestamp> {
        let Self { policy, hours, .. } = self;
        (self.doing() == Doing::Work).then(|| hours.due(policy.duty_max_ms, policy))
    }

    /// When it is sent to rest. Who leaves goes by itself once it has ended what it has.
    pub(super) fn fatigue_due(&self) -> Option<Timestamp> {
        let Hours { owes_rest, since, .. } = self.hours;
        match self.duty {
            // It should not have come: or nothing could be offered to it, and nothing would ever end that.
            Duty::On if owes_rest => Some(since),
            Duty::On => self.hours_due(),
            // It ends what it has, and is told once.
            Duty::Break(_) => self.hours_due().filter(|_| !owes_rest),
            Duty::Off | Duty::Draining(_) => None,
        }
    }

    /// How much longer it must rest before it may work under this policy, if it must.
    pub(super) fn rest_left(&self, policy: &DriverPolicy, now: Timestamp) -> Option<Duration> {
        self.hours.rest_left(now, self.doing(), policy)
    }

    /// Has it worked for long, as far as it was told, or too long?
    pub(super) fn is_tired(&self) -> bool {
        self.hours.is_told || self.hours.owes_rest
    }

    /// Had it rested properly by when it was last heard of?
    pub(super) fn has_rested(&self) -> bool {
        let rested = self.known_at().since(self.hours.since);
        self.doing() == Doing::Rest && rested >= ms(self.policy.rest_ms)
    }

    /// When it must rest, and until when, once it has worked for long. Says nothing that is another by and by.
    pub(super) fn rest(&self) -> Option<Rest> {
        let must = self.hours.owes_rest;
        let is_resting = must && self.doing() == Doing::Rest;
        self.is_tired().then(|| Rest {
            must,
            at: self.hours_due().filter(|_| !must),
            until: is_resting.then(|| self.hours.since + ms(self.policy.rest_ms)),
        })
    }
}

#[cfg(test)]
mod tests;
