//! How long commits take lately: read off what is counted for Prometheus, and only while somebody looks, so that it
//! costs nothing where commits are made.

use serde::{Deserialize, Serialize};
use std::{
    collections::VecDeque,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// What is counted for Prometheus.
const BUCKET: &str = "outrider_journal_commit_seconds_bucket{le=\"";
/// What was counted is read this often, however many look.
const LOOK_EVERY: Duration = Duration::from_secs(2);
/// What is longer ago is not lately.
const WINDOW: Duration = Duration::from_secs(30);

/// How long commits took, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(super) struct Took {
    /// Half of them took at most so long…
    pub(super) p50_ms: f64,
    /// … and all but one in a hundred.
    pub(super) p99_ms: f64,
}

/// What was counted when somebody looked, oldest first.
#[derive(Debug, Default)]
pub(super) struct Commits(Mutex<VecDeque<(Instant, Buckets)>>);

/// How many commits took at most so many seconds, ascending; the last bound is infinite.
type Buckets = Vec<(f64, u64)>;

impl Commits {
    /// How long commits took since the oldest look of the last half minute; if there is none, since the node started.
    /// None, if there were no commits. `count` tells what is counted for Prometheus.
    pub(super) fn took(&self, now: Instant, count: impl FnOnce() -> String) -> Option<Took> {
        // Nothing panics while it is held, so poison means nothing here.
        let mut looks = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if looks.back().is_none_or(|(at, _)| now.duration_since(*at) >= LOOK_EVERY) {
            looks.retain(|(at, _)| now.duration_since(*at) <= WINDOW);
            looks.push_back((now, buckets(&count())));
        }
        let before: &[(f64, u64)] = match looks.front() {
            Some((_, before)) if looks.len() > 1 => before,
            Some(_) | None => &[],
        };
        let took = since(before, &looks.back()?.1);
        Some(Took { p50_ms: quantile_ms(&took, 0.5)?, p99_ms: quantile_ms(&took, 0.99)? })
    }
}

fn buckets(text: &str) -> Buckets {
    let bucket = |line: &str| {
        let (bound, n) = line.strip_prefix(BUCKET)?.split_once("\"} ")?;
        Some((bound.parse::<f64>().ok()?, n.parse::<u64>().ok()?))
    };
    text.lines().filter_map(bucket).collect()
}

/// What came after an earlier look.
fn since(before: &[(f64, u64)], now: &[(f64, u64)]) -> Buckets {
    let earlier = |bound: f64| before.iter().find(|(it, _)| *it == bound).map_or(0, |(_, n)| *n);
    now.iter().map(|(bound, n)| (*bound, n.saturating_sub(earlier(*bound)))).collect()
}

/// Within its bucket a quantile is where Prometheus would put it; none, if nothing was counted.
fn quantile_ms(buckets: &[(f64, u64)], q: f64) -> Option<f64> {
    let (_, all) = *buckets.last()?;
    if all == 0 {
        return None;
    }
    let rank = all as f64 * q;
    let at = buckets.iter().position(|(_, n)| *n as f64 >= rank)?;
    let (low, n_below) = at.checked_sub(1).map_or((0.0, 0), |before| buckets[before]);
    let (high, n) = buckets[at];
    if high.is_infinite() {
        return Some(low * 1_000.0);
    }
    let n_within = n.saturating_sub(n_below).max(1) as f64;
    Some((low + (high - low) * ((rank - n_below as f64) / n_within)) * 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// So many that took at most 1 ms, 10 ms, and longer.
    fn counted([short, long, longer]: [u64; 3]) -> String {
        let (n_long, all) = (short + long, short + long + longer);
        format!(
            "# TYPE outrider_journal_commit_seconds histogram\n\
             outrider_journal_commit_seconds_bucket{{le=\"0.001\"}} {short}\n\
             outrider_journal_commit_seconds_bucket{{le=\"0.01\"}} {n_long}\n\
             outrider_journal_commit_seconds_bucket{{le=\"+Inf\"}} {all}\n\
             outrider_journal_commit_seconds_sum 1\n\
             outrider_journal_commit_seconds_count {all}\n"
        )
    }

    #[test]
    fn it_is_told_how_long_commits_took_since_somebody_looks() {
        let (commits, start) = (Commits::default(), Instant::now());
        let after = |s| start + Duration::from_secs(s);
        assert_eq!(commits.took(start, String::new), None, "nothing is counted yet");
        let at_first = Commits::default().took(start, || counted([100, 0, 0])).unwrap();
        assert!(at_first.p50_ms > 0.49 && at_first.p50_ms < 0.51, "{at_first:?}");
        assert!(at_first.p99_ms > 0.98 && at_first.p99_ms < 1.0, "{at_first:?}");

        // Between two looks nothing is read.
        assert_eq!(commits.took(after(1), || panic!("too soon")), None);
        commits.took(after(2), || counted([100, 0, 0])).unwrap();
        let slower = commits.took(after(4), || counted([100, 100, 0])).unwrap();
        assert!(slower.p99_ms > 9.0 && slower.p99_ms < 10.0, "{slower:?}");

        // The first hundred are long ago, then all. Of the last bucket only the beginning is known.
        let later = commits.took(after(31), || counted([100, 100, 0])).unwrap();
        assert!(later.p50_ms > 5.0 && later.p50_ms < 6.0, "{later:?}");
        assert_eq!(commits.took(after(60), || counted([100, 100, 0])), None);
        let slow = commits.took(after(62), || counted([100, 100, 50])).unwrap();
        assert_eq!(slow, Took { p50_ms: 10.0, p99_ms: 10.0 });
    }
}
