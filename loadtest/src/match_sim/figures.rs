//! What a morning came to, in figures.

use hdrhistogram::Histogram;
use protocol::Timestamp;
use serde::Serialize;
use std::time::Duration;

/// Longer ticks than a minute count as one.
const TICK_US_MAX: u64 = 60_000_000;

/// What is counted while a morning passes.
#[derive(Debug, Clone)]
pub(super) struct Figures {
    n_requests: usize,
    /// From request to pickup, in seconds.
    waits_s: Vec<f64>,
    /// From the proposal to the pickup, in seconds.
    etas_s: Vec<f64>,
    ticks_us: Histogram<u64>,
    idle_s: Vec<f64>,
    earning_s: Vec<f64>,
    pub(super) n_gone: usize,
    pub(super) n_refused: usize,
    pub(super) n_sent: usize,
}

impl Figures {
    pub(super) fn new(n_requests: usize) -> Self {
        Self {
            n_requests,
            waits_s: Vec::with_capacity(n_requests),
            etas_s: Vec::with_capacity(n_requests),
            ticks_us: Histogram::new_with_max(TICK_US_MAX, 3).expect("three digits are allowed"),
            idle_s: Vec::new(),
            earning_s: Vec::new(),
            n_gone: 0,
            n_refused: 0,
            n_sent: 0,
        }
    }

    pub(super) fn picked_up(&mut self, asked: Timestamp, taken: Timestamp, now: Timestamp) {
        self.waits_s.push(now.since(asked).as_secs_f64());
        self.etas_s.push(now.since(taken).as_secs_f64());
    }

    pub(super) fn ticked(&mut self, took: Duration) {
        self.ticks_us.saturating_record(took.as_micros() as u64);
    }

    pub(super) fn worked(&mut self, idle_ms: u64, earning_ms: u64) {
        self.idle_s.push(idle_ms as f64 / 1_000.0);
        self.earning_s.push(earning_ms as f64 / 1_000.0);
    }

    /// Adds another morning's.
    pub(super) fn add(&mut self, other: Self) {
        self.n_requests += other.n_requests;
        self.waits_s.extend(other.waits_s);
        self.etas_s.extend(other.etas_s);
        // Both keep three digits up to the same limit.
        self.ticks_us.add(other.ticks_us).expect("the same kind of histogram");
        self.idle_s.extend(other.idle_s);
        self.earning_s.extend(other.earning_s);
        self.n_gone += other.n_gone;
        self.n_refused += other.n_refused;
        self.n_sent += other.n_sent;
    }

    pub(super) fn sum_up(mut self) -> Summary {
        self.waits_s.sort_by(f64::total_cmp);
        self.etas_s.sort_by(f64::total_cmp);
        let n_counted = self.waits_s.len() + self.n_gone;
        let ms = |us: u64| us as f64 / 1_000.0;
        Summary {
            n_requests: n_counted,
            served_percent: 100.0 * self.waits_s.len() as f64 / n_counted.max(1) as f64,
            wait_mean_s: mean(&self.waits_s),
            wait_p50_s: quantile(&self.waits_s, 0.5),
            wait_p95_s: quantile(&self.waits_s, 0.95),
            eta_mean_s: mean(&self.etas_s),
            eta_p95_s: quantile(&self.etas_s, 0.95),
            n_ticks: self.ticks_us.len(),
            tick_mean_ms: self.ticks_us.mean() / 1_000.0,
            tick_p99_ms: ms(self.ticks_us.value_at_quantile(0.99)),
            tick_max_ms: ms(self.ticks_us.max()),
            idle_gini: gini(&mut self.idle_s),
            earning_gini: gini(&mut self.earning_s),
            idle_percent: {
                let (idle, earning): (f64, f64) =
                    (self.idle_s.iter().sum(), self.earning_s.iter().sum());
                100.0 * idle / (idle + earning).max(1.0)
            },
            n_refused: self.n_refused,
            n_sent: self.n_sent,
            waits_s: (0..=100).map(|n| quantile(&self.waits_s, f64::from(n) / 100.0)).collect(),
        }
    }
}

/// How one policy did.
#[derive(Debug, Clone, Serialize)]
pub struct Summary {
    /// Requests that are counted.
    pub n_requests: usize,
    /// Of these, how many were picked up.
    pub served_percent: f64,
    /// From request to pickup.
    pub wait_mean_s: f64,
    /// Half waited less.
    pub wait_p50_s: f64,
    /// 95 of a hundred waited less.
    pub wait_p95_s: f64,
    /// From the proposal to the pickup.
    pub eta_mean_s: f64,
    /// 95 of a hundred took less.
    pub eta_p95_s: f64,
    /// How often a region matched that had somebody to match.
    pub n_ticks: u64,
    /// How long that took.
    pub tick_mean_ms: f64,
    /// 99 of a hundred took less.
    pub tick_p99_ms: f64,
    /// None took more.
    pub tick_max_ms: f64,
    /// How unequally idle time was shared among drivers, 0 to 1.
    pub idle_gini: f64,
    /// How unequally time with somebody on board was shared.
    pub earning_gini: f64,
    /// Idle time of idle and earning time together.
    pub idle_percent: f64,
    /// Proposals refused because another region's was quicker.
    pub n_refused: usize,
    /// How often a driver was told to wait elsewhere, and went.
    pub n_sent: usize,
    /// The wait that this many of a hundred did not exceed, 0 to 100.
    pub waits_s: Vec<f64>,
}

fn mean(of: &[f64]) -> f64 {
    of.iter().sum::<f64>() / of.len().max(1) as f64
}

fn quantile(sorted: &[f64], q: f64) -> f64 {
    let last = sorted.len().saturating_sub(1);
    sorted.get((last as f64 * q).round() as usize).copied().unwrap_or(0.0)
}

/// Half the mean difference between any two, relative to the mean: 0 if all have the same.
fn gini(of: &mut [f64]) -> f64 {
    of.sort_by(f64::total_cmp);
    let (n, whole) = (of.len() as f64, of.iter().sum::<f64>());
    if whole <= 0.0 {
        return 0.0;
    }
    let ranked: f64 = (1..).zip(of.iter()).map(|(rank, it)| f64::from(rank) * it).sum();
    (2.0 * ranked / (n * whole)) - (n + 1.0) / n
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gini_is_0_for_equals_and_near_1_if_one_has_all() {
        assert!(gini(&mut [3.0; 10]).abs() < 1e-9);
        let mut one = [0.0; 100];
        one[7] = 5.0;
        assert!((gini(&mut one) - 0.99).abs() < 1e-9);
        // Worked out by hand: differences 1, 2, 1 of a mean of 2.
        assert!((gini(&mut [2.0, 1.0, 3.0]) - 2.0 / 9.0).abs() < 1e-9);
    }
}
