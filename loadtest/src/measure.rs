//! What is measured while a crowd is out, and how the figures of several crowds become one.
//!
//! ```text
//!                due          said         answered
//!  schedule ──────┼────────────┼──────────────┼────►
//!                 │            └── service ───┤   what a closed loop would have measured
//!                 └──────── corrected ────────┘   what somebody waited who had come at that moment
//! ```
//!
//! When something is *due* is known before: a rider's from the schedule, a driver's from when it had decided. Latencies
//! are counted from there, so a node that keeps everybody waiting cannot hide it by being asked less (coordinated
//! omission); the time from saying it to the answer is kept beside it. Both are the generator's own clock; what nodes
//! measure of themselves is in [`crate::nodes`], and no clock is ever compared with another.

mod host;
mod timeline;
mod times;

pub use host::Machine;
pub use timeline::{NodeSlot, Slot, Timeline};
pub use times::{Spread, Times};

pub(crate) use host::{Host, Share};
pub(crate) use timeline::coarsen;

use protocol::Code;
use serde::{Deserialize, Serialize};
use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

/// A generator whose tasks run later than this, one time in a hundred, measures itself.
pub const LAG_P99_MAX: Duration = Duration::from_millis(10);
/// A generator that keeps its processors busier than this measures itself.
pub const CPU_SHARE_MAX: f64 = 0.8;
/// How often it looks whether its tasks run in time.
pub(crate) const PULSE: Duration = Duration::from_millis(10);

/// What somebody waits for.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Op {
    /// A rider's wish → the durable answer.
    Place,
    /// A rider's wish → the first driver's phone shows the offer.
    FirstOffer,
    /// The durable answer to a rider's wish → the first driver's phone shows the offer.
    Offered,
    /// A rider's wish → the rider sees a driver.
    DriverFound,
    /// A driver's yes or no to an offer → the durable answer.
    Accept,
    /// What a driver does for a job (depart, arrive, start …) → the durable answer.
    Step,
    /// Anything else that is said (duty, ratings, cancellations, merchants) → the durable answer.
    Other,
    /// A driver's step → its rider is shown it.
    Heard,
    /// The wish to be connected → the welcome.
    Welcome,
    /// The moment all were cut off → the welcome.
    Back,
    /// A heartbeat → the next one heard.
    Beat,
}

impl Op {
    /// What it is, for people.
    pub fn says(self) -> &'static str {
        match self {
            Self::Place => "order placed, answered durably",
            Self::FirstOffer => "first offer on a driver's phone",
            Self::Offered => "the same, from the answer on",
            Self::DriverFound => "rider sees a driver",
            Self::Accept => "offer accepted or declined",
            Self::Step => "driver's step answered",
            Self::Other => "anything else answered",
            Self::Heard => "driver's step shown to the rider",
            Self::Welcome => "connected",
            Self::Back => "back after a cut",
            Self::Beat => "heartbeat heard",
        }
    }
}

/// How long one thing took, counted in both ways.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Took {
    /// From when it was due: what is believed.
    pub corrected: Times,
    /// From when it was said: what the node itself took, with the network.
    pub service: Times,
}

impl Took {
    /// Takes in another's.
    pub fn merge(&mut self, other: &Self) {
        self.corrected.merge(&other.corrected);
        self.service.merge(&other.service);
    }
}

/// Something that somebody waited for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Sample {
    pub(crate) op: Op,
    /// When it should have been said.
    pub(crate) due: Instant,
    /// When it was.
    pub(crate) said: Instant,
    /// When it was there.
    pub(crate) at: Instant,
}

/// What was said, and what was heard of it.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Commands {
    /// Should have been said while it counted.
    pub wanted: u64,
    /// Of these, answered with a yes.
    pub done: u64,
    /// Of these, answered with a no, by code. A rule's no (`taken`, `too_late`) is an answer like any other.
    pub refused: BTreeMap<String, u64>,
    /// Of those, the ones that are the node's fault, given up after two minutes of asking again.
    pub failed: u64,
    /// How often an answer was "later" (`busy`, `unavailable` …), and it was asked again.
    pub put_off: u64,
    /// How often something was said again for want of an answer.
    pub resent: u64,
    /// Under way when somebody interrupted it: nobody knows what would have come of them.
    #[serde(default)]
    pub under_way: u64,
    /// Neither answered nor refused when everybody went home, because whoever wanted it had no network then (a tunnel, a flat
    /// battery, a cut): no node is to blame.
    #[serde(default)]
    pub withdrawn: u64,
}

impl Commands {
    /// Neither answered, nor refused, when everybody went home.
    pub fn unanswered(&self) -> u64 {
        let refused: u64 = self.refused.values().sum();
        self.wanted.saturating_sub(self.done + refused + self.under_way + self.withdrawn)
    }

    /// The share that failed or was never answered; 0 of none.
    pub fn errors(&self) -> f64 {
        match self.wanted {
            0 => 0.0,
            wanted => (self.failed + self.unanswered()) as f64 / wanted as f64,
        }
    }

    /// Takes in another's.
    pub fn merge(&mut self, other: &Self) {
        let Self { wanted, done, refused, failed, put_off, resent, under_way, withdrawn } = other;
        self.wanted += wanted;
        self.done += done;
        self.failed += failed;
        self.put_off += put_off;
        self.resent += resent;
        self.under_way += under_way;
        self.withdrawn += withdrawn;
        for (code, n) in refused {
            *self.refused.entry(code.clone()).or_default() += n;
        }
    }
}

/// Is this no the node's fault?
pub(crate) fn is_fault(code: Code) -> bool {
    match code {
        Code::Busy
        | Code::RateLimited
        | Code::Quarantined
        | Code::Unavailable
        | Code::Draining
        | Code::Internal => true,
        Code::Malformed
        | Code::Invalid
        | Code::TooLarge
        | Code::Unauthenticated
        | Code::Forbidden
        | Code::NotFound
        | Code::IllegalTransition
        | Code::Taken
        | Code::InsufficientFunds
        | Code::OfferGone
        | Code::TooFar
        | Code::TooEarly
        | Code::TooLate
        | Code::WrongCode
        | Code::ProofMissing
        | Code::NotEligible
        | Code::OutOfArea
        | Code::ZonePaused
        | Code::QuoteInvalid
        | Code::CommandExpired
        | Code::CommandIdReused => false,
    }
}

/// The part of a run that counts: after the warm-up, and before nobody asks any more.
#[derive(Debug, Clone, Copy)]
struct Window {
    from: Option<Instant>,
    until: Option<Instant>,
}

impl Window {
    /// Does what is due then count?
    fn holds(&self, due: Instant) -> bool {
        self.from.is_some_and(|from| due >= from) && self.until.is_none_or(|until| due < until)
    }
}

/// Measures while a crowd is out.
#[derive(Debug)]
pub(crate) struct Meter {
    window: Window,
    pub(crate) took: BTreeMap<Op, Took>,
    pub(crate) commands: Commands,
    /// How late the generator's own tasks ran.
    pub(crate) lag: Times,
    /// How late it started what was due.
    pub(crate) schedule_lag: Times,
    /// This second, so far.
    now: Slot,
    now_took: BTreeMap<Op, Times>,
    now_lag: Times,
}

impl Meter {
    pub(crate) fn new() -> Self {
        Self {
            window: Window { from: None, until: None },
            took: BTreeMap::new(),
            commands: Commands::default(),
            lag: Times::default(),
            schedule_lag: Times::default(),
            now: Slot::default(),
            now_took: BTreeMap::new(),
            now_lag: Times::default(),
        }
    }

    /// What is due from then on counts.
    pub(crate) fn count_from(&mut self, from: Instant) {
        self.window.from = Some(from);
    }

    /// What is due from then on does not count any more.
    pub(crate) fn count_until(&mut self, until: Instant) {
        self.window.until = Some(until);
    }

    /// Nothing that is due from now on counts, if it would have.
    pub(crate) fn stop(&mut self, now: Instant) {
        self.window.until = Some(self.window.until.map_or(now, |until| until.min(now)));
    }

    /// The moments between which what is due counts.
    pub(crate) fn window(&self) -> (Option<Instant>, Option<Instant>) {
        (self.window.from, self.window.until)
    }

    /// How long what counts lasted, or has so far.
    pub(crate) fn counted(&self, now: Instant) -> Duration {
        let Window { from: Some(from), until } = self.window else { return Duration::ZERO };
        until.unwrap_or(now).min(now).saturating_duration_since(from)
    }

    /// Somebody no longer waits for it.
    pub(crate) fn took(&mut self, sample: Sample) {
        let Sample { op, due, said, at } = sample;
        let corrected = at.saturating_duration_since(due);
        self.now_took.entry(op).or_default().record(corrected);
        if self.window.holds(due) {
            let took = self.took.entry(op).or_default();
            took.corrected.record(corrected);
            took.service.record(at.saturating_duration_since(said));
        }
    }

    /// Something should be said now, or should have been.
    pub(crate) fn wanted(&mut self, due: Instant) {
        self.now.wanted += 1;
        if self.window.holds(due) {
            self.commands.wanted += 1;
        }
    }

    /// What was due then was answered: with a no, if there is a code.
    pub(crate) fn answered(&mut self, due: Instant, refused: Option<Code>) {
        let counts = self.window.holds(due);
        match refused {
            None => {
                self.now.done += 1;
                self.commands.done += u64::from(counts);
            }
            Some(code) => {
                let is_fault = is_fault(code);
                self.now.refused += 1;
                self.now.failed += u64::from(is_fault);
                if counts {
                    *self.commands.refused.entry(code.to_string()).or_default() += 1;
                    self.commands.failed += u64::from(is_fault);
                }
            }
        }
    }

    /// What was due then will not be answered, and no node is to blame.
    pub(crate) fn withdrawn(&mut self, due: Instant) {
        self.commands.withdrawn += u64::from(self.window.holds(due));
    }

    /// An answer was "later".
    pub(crate) fn put_off(&mut self) {
        self.now.put_off += 1;
        self.commands.put_off += 1;
    }

    /// Something was said again.
    pub(crate) fn resent(&mut self) {
        self.now.resent += 1;
        self.commands.resent += 1;
    }

    /// Somebody who was due then starts now.
    pub(crate) fn started(&mut self, due: Instant, now: Instant) {
        self.now.asked += 1;
        if self.window.holds(due) {
            self.schedule_lag.record(now.saturating_duration_since(due));
        }
    }

    /// A task of the generator's ran so late.
    pub(crate) fn lagged(&mut self, due: Instant, now: Instant) {
        let lag = now.saturating_duration_since(due);
        self.now_lag.record(lag);
        if self.window.holds(due) {
            self.lag.record(lag);
        }
    }

    /// A second is over: what it was like.
    pub(crate) fn second(&mut self) -> Slot {
        let mut slot = std::mem::take(&mut self.now);
        for (op, mut times) in std::mem::take(&mut self.now_took) {
            slot.took.insert(op, coarsen(times.take()));
        }
        slot.lag_us = self.now_lag.spread().p99_us();
        self.now_lag = Times::default();
        slot
    }
}

/// How the generator itself was.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Generator {
    /// How late its tasks ran: its own delay is in every latency.
    pub lag: Times,
    /// How late it started whoever was due.
    pub schedule_lag: Times,
    /// Share of the processors it may use, in the mean, 0 to 1.
    pub cpu_share: f64,
    /// Share of the machine's processors that were busy with anything, in the mean, 0 to 1.
    pub machine_share: f64,
    /// Why its figures say more about itself than about a node; none, if they do not.
    pub saturated: Vec<String>,
}

impl Generator {
    /// Judges whether it could do what it was asked to.
    pub(crate) fn judge(mut self, planned: u64, turned_away: u64) -> Self {
        let mut why = Vec::new();
        let max_ms = LAG_P99_MAX.as_secs_f64() * 1e3;
        for (what, times) in
            [("its tasks ran", &self.lag), ("it started who was due", &self.schedule_lag)]
        {
            let p99 = times.spread().p99;
            if p99 > max_ms {
                why.push(format!("{what} {p99:.0} ms late (p99; {max_ms:.0} ms may be)"));
            }
        }
        if self.cpu_share > CPU_SHARE_MAX {
            why.push(format!(
                "it kept {:.0} % of its processors busy ({:.0} % may be)",
                self.cpu_share * 100.0,
                CPU_SHARE_MAX * 100.0
            ));
        }
        if turned_away > 0 {
            why.push(format!("{turned_away} of {planned} who were due had no place (riders_max)"));
        }
        self.saturated = why;
        self
    }
}

#[cfg(test)]
mod tests;
