//! Many measurements in few numbers.

use serde::Serialize;

/// The middle of what was measured, and how far it went.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub(super) struct Spread {
    pub(super) median: f64,
    pub(super) least: f64,
    pub(super) most: f64,
}

impl Spread {
    /// All zero, if nothing was measured.
    pub(super) fn of(all: &[f64]) -> Self {
        Self {
            median: median(all.to_vec()),
            least: quantile(all.to_vec(), 0.0),
            most: quantile(all.to_vec(), 1.0),
        }
    }
}

/// The middle one; of an even number, the upper of the two. Zero of none.
pub(super) fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or_default()
}

/// The smallest that at least this share of all is not above. Zero of none.
pub(super) fn quantile(mut all: Vec<f64>, share: f64) -> f64 {
    all.sort_by(f64::total_cmp);
    let rank = (share * all.len() as f64).ceil() as usize;
    all.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}
