//! What a generator has seen, and how the figures of many are one.

use hdrhistogram::Histogram;
use serde::{Deserialize, Serialize};
use std::{ops::AddAssign, time::Duration};

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

/// How long things took, in microseconds.
#[derive(Debug, Clone)]
pub(super) struct Times(Histogram<u64>);

impl Default for Times {
    fn default() -> Self {
        Self(Histogram::new(3).expect("three digits are allowed"))
    }
}

impl Times {
    pub(super) fn record(&mut self, took: Duration) {
        self.add(&[(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), 1)]);
    }

    /// As it goes to whoever adds them up, and nothing is left.
    pub(super) fn take(&mut self) -> Vec<(u64, u64)> {
        let taken = self.0.iter_recorded();
        let taken = taken.map(|it| (it.value_iterated_to(), it.count_at_value())).collect();
        self.0.reset();
        taken
    }

    /// Takes in what another has taken.
    pub(super) fn add(&mut self, taken: &[(u64, u64)]) {
        for (value, count) in taken {
            // It grows with what it is given; only a limit of its own could refuse.
            self.0.record_n(*value, *count).ok();
        }
    }

    /// Its quantiles.
    pub(super) fn spread(&self) -> Spread {
        let ms = |q: f64| self.0.value_at_quantile(q) as f64 / 1e3;
        Spread {
            n: self.0.len(),
            p50: ms(0.5),
            p99: ms(0.99),
            p999: ms(0.999),
            max: if self.0.is_empty() { 0.0 } else { self.0.max() as f64 / 1e3 },
        }
    }
}

/// How long something took, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Spread {
    /// How often.
    pub n: u64,
    /// Half of them were no longer.
    pub p50: f64,
    /// 99 of a hundred.
    pub p99: f64,
    /// 999 of a thousand.
    pub p999: f64,
    /// None was longer.
    pub max: f64,
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
pub(super) struct AllTimes {
    pub(super) welcome: Times,
    pub(super) back: Times,
    pub(super) beat: Times,
    pub(super) command: Times,
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_of_two_are_the_times_of_all() {
        let (mut one, mut other, mut all) = (Times::default(), Times::default(), Times::default());
        for ms in 1..=50 {
            // Longer than a histogram has room for at first.
            one.record(Duration::from_millis(ms));
            other.record(Duration::from_millis(ms + 50));
        }
        all.add(&one.take());
        all.add(&other.take());
        assert_eq!(one.spread().n, 0, "what was taken is not there any more");
        let Spread { n, p50, max, .. } = all.spread();
        assert!(n == 100 && (49.5..51.0).contains(&p50) && (99.5..101.0).contains(&max));
    }
}
