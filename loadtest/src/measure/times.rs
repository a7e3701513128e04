//! How long things took: a histogram of three digits that is written down, read again and added up without loss.

use hdrhistogram::Histogram;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::time::Duration;

/// How long things took, in microseconds, to three digits.
#[derive(Debug, Clone, PartialEq)]
pub struct Times(Histogram<u64>);

impl Default for Times {
    fn default() -> Self {
        Self(Histogram::new(3).expect("three digits are allowed"))
    }
}

impl Times {
    /// Something took so long.
    pub fn record(&mut self, took: Duration) {
        self.add(&[(u64::try_from(took.as_micros()).unwrap_or(u64::MAX), 1)]);
    }

    /// How many were recorded.
    pub fn n(&self) -> u64 {
        self.0.len()
    }

    /// What was recorded: microseconds, and how often.
    pub fn counts(&self) -> Vec<(u64, u64)> {
        self.0.iter_recorded().map(|it| (it.value_iterated_to(), it.count_at_value())).collect()
    }

    /// The same, and nothing is left.
    pub(crate) fn take(&mut self) -> Vec<(u64, u64)> {
        let taken = self.counts();
        self.0.reset();
        taken
    }

    /// Takes in what another has counted.
    pub fn add(&mut self, counts: &[(u64, u64)]) {
        for (us, count) in counts {
            // It grows with what it is given; only a limit of its own could refuse.
            self.0.record_n(*us, *count).ok();
        }
    }

    /// Takes in another.
    pub fn merge(&mut self, other: &Self) {
        self.add(&other.counts());
    }

    /// How many milliseconds this share of them took at most; 0 of none.
    pub fn at(&self, quantile: f64) -> f64 {
        if self.0.is_empty() { 0.0 } else { self.0.value_at_quantile(quantile) as f64 / 1e3 }
    }

    /// Its quantiles.
    pub fn spread(&self) -> Spread {
        Spread {
            n: self.0.len(),
            mean: if self.0.is_empty() { 0.0 } else { self.0.mean() / 1e3 },
            p50: self.at(0.5),
            p90: self.at(0.9),
            p95: self.at(0.95),
            p99: self.at(0.99),
            p999: self.at(0.999),
            max: if self.0.is_empty() { 0.0 } else { self.0.max() as f64 / 1e3 },
        }
    }
}

/// How long something took, in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
pub struct Spread {
    /// How often.
    pub n: u64,
    /// On average.
    pub mean: f64,
    /// Half of them were no longer.
    pub p50: f64,
    /// Nine of ten.
    pub p90: f64,
    /// 19 of 20.
    pub p95: f64,
    /// 99 of a hundred.
    pub p99: f64,
    /// 999 of a thousand.
    pub p999: f64,
    /// None was longer.
    pub max: f64,
}

impl Spread {
    pub(crate) fn p99_us(&self) -> u64 {
        (self.p99 * 1e3) as u64
    }
}

/// As it is written down: quantiles for whoever reads, counts for whoever adds up. Only the counts are read again.
#[derive(Serialize, Deserialize)]
struct Written {
    #[serde(default, skip_deserializing)]
    ms: Spread,
    counts_us: Vec<(u64, u64)>,
}

impl Serialize for Times {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        Written { ms: self.spread(), counts_us: self.counts() }.serialize(serializer)
    }
}

impl<'de> Deserialize<'de> for Times {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let written = Written::deserialize(deserializer)?;
        let mut times = Self::default();
        times.add(&written.counts_us);
        Ok(times)
    }
}
