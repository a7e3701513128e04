//! How much will be asked in a while: what is asked now, times how much more is usually asked then.
//!
//! What is usual is learned hour by hour of the week; the weeks before count less and less. Where an hour was never
//! seen, nothing is known better than that it goes on as it is. That takes more than a week, so it is kept ([`KeptProfile`]).

use protocol::Timestamp;
use serde::{Deserialize, Serialize};
use std::time::Duration;

const HOUR_MS: u64 = 3_600_000;
/// Hours of a week.
const HOURS: usize = 168;
/// How much the latest week counts against all before.
const LATEST: f64 = 0.5;
/// Requests that every hour is taken to have beside those that were seen: few of them say little.
const PRIOR: f64 = 3.0;
/// How much more, or less, may be expected than now.
const FACTOR_MAX: f64 = 4.0;
/// An hour of which nobody watched more than this counts as seen.
const BLINK: Duration = Duration::from_secs(10 * 60);
/// More requests in an hour are not believed.
const N_MAX: f32 = 1e9;

/// How much is usually asked in each hour of the week.
#[derive(Debug, Clone)]
pub struct Profile {
    /// Requests of each hour, from Thursday 00:00 UTC, when time began; none where it was never seen whole.
    hours: [Option<f64>; HOURS],
    /// The hour under way, counted since time began, and what was asked in it.
    hour: u64,
    n: u32,
    /// Was it seen from its start?
    is_whole: bool,
    /// Whoever asked before that has been counted; none, if that is not known.
    counted_until: Option<Timestamp>,
}

/// A [`Profile`], to be kept and gone on from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct KeptProfile {
    pub(crate) hours: Vec<Option<f32>>,
    hour: u64,
    n: u32,
    is_whole: bool,
}

impl Profile {
    /// Nothing is known yet.
    pub fn new(now: Timestamp) -> Self {
        Self {
            hours: [None; HOURS],
            hour: now.0 / HOUR_MS,
            n: 0,
            is_whole: false,
            counted_until: None,
        }
    }

    /// What there is to keep.
    pub fn kept(&self) -> KeptProfile {
        let Self { hour, n, is_whole, .. } = *self;
        let hours = self.hours.iter().map(|it| it.map(|n| n as f32)).collect();
        KeptProfile { hours, hour, n, is_whole }
    }

    /// Goes on from what was kept at that moment; none, if it makes no sense. `has_missed`: somebody may have asked since
    /// without having been counted. Then the hours since are not learned from, unless they are few minutes.
    pub fn resume(
        kept: &KeptProfile,
        at: Timestamp,
        now: Timestamp,
        has_missed: bool,
    ) -> Option<Self> {
        let mut hours = [None; HOURS];
        if kept.hours.len() != HOURS {
            return None;
        }
        for (hour, kept) in hours.iter_mut().zip(&kept.hours) {
            if !kept.is_none_or(|n| (0.0..=N_MAX).contains(&n)) {
                return None;
            }
            *hour = kept.map(f64::from);
        }
        let KeptProfile { hour, n, is_whole, .. } = *kept;
        let mut profile = Self { hours, hour, n, is_whole, counted_until: Some(at) };
        let this_hour = now.0 / HOUR_MS;
        // A clock that went back says nothing of this hour either.
        if hour > this_hour || (has_missed && now.since(at) > BLINK) {
            (profile.hour, profile.n, profile.is_whole) = (this_hour, 0, false);
        }
        profile.roll(now);
        Some(profile)
    }

    /// Somebody asks, or has asked for a while. Who asked in an hour that is over, and has lost a driver since, is none of
    /// those who ask in this one.
    pub fn record(&mut self, at: Timestamp) {
        let is_over = at.0 / HOUR_MS < self.hour;
        if is_over || self.counted_until.is_some_and(|until| at <= until) {
            return;
        }
        self.roll(at);
        self.n = self.n.saturating_add(1);
    }

    /// Time has gone on: hours that are over are learned.
    pub fn roll(&mut self, now: Timestamp) {
        let hour = now.0 / HOUR_MS;
        // Nobody waits while a clock jumps: of more than two weeks nothing is known.
        if hour > self.hour + 2 * HOURS as u64 {
            *self = Self::new(now);
        }
        while self.hour < hour {
            if self.is_whole {
                let known = &mut self.hours[(self.hour % HOURS as u64) as usize];
                let n = f64::from(self.n);
                *known = Some(known.map_or(n, |before| before + (n - before) * LATEST));
            }
            (self.hour, self.n, self.is_whole) = (self.hour + 1, 0, true);
        }
    }

    /// How much more is usually asked at `then` than at `now`; 1 if that is not known.
    pub fn factor(&self, now: Timestamp, then: Timestamp) -> f64 {
        match (self.usual(now), self.usual(then)) {
            (Some(now), Some(then)) => {
                ((then + PRIOR) / (now + PRIOR)).clamp(1.0 / FACTOR_MAX, FACTOR_MAX)
            }
            (_, _) => 1.0,
        }
    }

    /// How much will be asked after so long where so much is asked now.
    pub fn forecast(&self, rate: f64, now: Timestamp, ahead: Duration) -> f64 {
        rate.max(0.0) * self.factor(now, now + ahead)
    }

    /// What is usually asked in the hour around that moment: between the middles of two hours, some of both.
    fn usual(&self, at: Timestamp) -> Option<f64> {
        let shifted = at.0 + HOUR_MS / 2;
        let part = (shifted % HOUR_MS) as f64 / HOUR_MS as f64;
        let later = shifted / HOUR_MS;
        let of = |hour: u64| self.hours[(hour % HOURS as u64) as usize];
        let (before, after) = (of(later + HOURS as u64 - 1)?, of(later)?);
        Some(before + (after - before) * part)
    }
}

#[cfg(test)]
mod tests;
