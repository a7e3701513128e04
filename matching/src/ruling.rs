//! Under what a search is matched where a rule of its brand says something else than the settings.

use crate::cost::{Settings, Weights};
use protocol::rule::{RuleChanges, RuleMark, WeightChanges};

/// What a rule makes of how one search is matched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ruling {
    /// Which rule.
    pub mark: RuleMark,
    /// What counts beside the way.
    pub weights: Weights,
    /// A pair is held while it takes longer than this to get to the pickup, in milliseconds …
    pub hold_ms: u32,
    /// … plus this many times the age of the request.
    pub hold_per_age: u32,
    /// Does what was learned of ways count?
    pub learned_ways: bool,
}

impl Ruling {
    /// What a rule makes of these settings.
    pub fn of(mark: RuleMark, changes: &RuleChanges, settings: &Settings) -> Self {
        Self {
            mark,
            weights: changes.weights.map_or(settings.weights, |it| settings.weights.with(&it)),
            hold_ms: changes.hold_ms.unwrap_or(settings.hold_ms),
            hold_per_age: changes.hold_per_age.unwrap_or(settings.hold_per_age),
            learned_ways: changes.learned_ways.unwrap_or(true),
        }
    }
}

impl Weights {
    /// The same, but for what is said otherwise.
    #[must_use]
    pub fn with(&self, changes: &WeightChanges) -> Self {
        let WeightChanges {
            idle_ms,
            idle_full_ms,
            star_ms,
            level_ms,
            refusal_ms,
            excess_ms,
            fairness_ms,
            turn_ms,
        } = *changes;
        Self {
            idle_ms: idle_ms.unwrap_or(self.idle_ms),
            idle_full_ms: idle_full_ms.unwrap_or(self.idle_full_ms),
            star_ms: star_ms.unwrap_or(self.star_ms),
            level_ms: level_ms.unwrap_or(self.level_ms),
            refusal_ms: refusal_ms.unwrap_or(self.refusal_ms),
            excess_ms: excess_ms.unwrap_or(self.excess_ms),
            fairness_ms: fairness_ms.unwrap_or(self.fairness_ms),
            turn_ms: turn_ms.unwrap_or(self.turn_ms),
        }
    }
}
