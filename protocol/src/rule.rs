//! Rules of assignment as data: what admins say of how drivers are found, for which jobs and for how long.
//!
//! ```text
//!  RuleTerms { where, for what, when, how strong } ── in force for a job ──► RuleChanges
//!                                                       as it is placed:   policy, tiers, times     (the job keeps them)
//!                                                       in every round:    weights, hold, model     (as they are then)
//! ```
//!
//! Of several that are in force for a job the strongest counts, alone: what it does not say is as the preset says.

use crate::{DriverId, JobId, RuleId, Timestamp, ZoneId, view::WorkKind, work::OfferPolicy};
use serde::{Deserialize, Serialize};

/// What a rule says.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RuleTerms {
    /// What people call it: 1 to 200 characters on one line.
    pub name: String,
    /// For which brand: the name of its preset; that of the node that is asked, if absent.
    #[serde(default)]
    pub preset: String,
    /// Where jobs are picked up that it is for: cells of the H3 grid of resolution 4 to 9, 64 at most; everywhere, if none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub zones: Vec<ZoneId>,
    /// For which kinds of work; all, if none is named.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub kinds: Vec<WorkKind>,
    /// From when on; at once, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Timestamp>,
    /// Until when, exclusive; until it is removed, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
    /// How strong it is, 0 to 1,000. Of several that are in force for a job the greatest counts; of equals the one whose largest zone is
    /// the smallest, then one that names kinds of work, then the one that was made last.
    #[serde(default)]
    pub priority: u16,
    /// What is different then.
    pub changes: RuleChanges,
}

/// What is different while a rule is in force. What it does not say is as in the preset; distances are in metres, times in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct RuleChanges {
    /// How a driver is found. This and what follows up to `feed_ms` holds for jobs that are placed from now on, for as long as they last.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offer: Option<OfferPolicy>,
    /// How far away a driver may be, tier by tier: 1 to 100,000, each as far as the one before or further.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tiers_m: Option<[u32; 3]>,
    /// After how long the next tier opens: 1,000 to 3,600,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tier_ms: Option<u32>,
    /// Most offers made before giving up: 1 to 100.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub attempts_max: Option<u32>,
    /// Most offers open at once: 1 to 20.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub parallel_max: Option<u8>,
    /// How long an offer stands: 1,000 to 600,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub offer_ttl_ms: Option<u32>,
    /// How long a search lasts: 1,000 to 86,400,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub search_ms: Option<u32>,
    /// How long a job may wait in the feed after a search without a driver; 0 for never, 86,400,000 at most. No rescue ever does, so no rule
    /// for rescues alone says it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub feed_ms: Option<u32>,
    /// A pair is held while it takes longer than this to get to the pickup: 0 to 3,600,000. This and what follows holds for every round,
    /// also of searches that have begun.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_ms: Option<u32>,
    /// … plus this many times the age of the request: 1 to 1,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub hold_per_age: Option<u32>,
    /// What counts beside the way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub weights: Option<WeightChanges>,
    /// Does what regions have learned of ways count, or what the router says alone? It counts, if nobody says otherwise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub learned_ways: Option<bool>,
}

/// What counts beside the way to the pickup, in milliseconds of travel, as `[weights]` in a preset has it: 0 to 3,600,000 each.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(default, deny_unknown_fields)]
pub struct WeightChanges {
    /// How much more a driver costs who has only just become idle, or is not …
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_ms: Option<u32>,
    /// … and how long, in milliseconds, it must have been to be spared all of that: 1 to 86,400,000.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub idle_full_ms: Option<u32>,
    /// How much more for each star that is missing of five.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub star_ms: Option<u32>,
    /// How much more for each level of experience that is missing.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub level_ms: Option<u32>,
    /// How much more if it declined everything.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub refusal_ms: Option<u32>,
    /// How much more for each kind of vehicle that would do and is smaller.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub excess_ms: Option<u32>,
    /// How much more if it has had something to do all its time on duty.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub fairness_ms: Option<u32>,
    /// How much more if it heads the opposite way.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub turn_ms: Option<u32>,
}

/// A rule as it was when it was in force.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RuleMark {
    /// Which.
    pub id: RuleId,
    /// As of which of its versions.
    pub version: u32,
}

/// What a rule would have made of what rounds saw of late.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct DryRun {
    /// Rounds since then were looked at, and until now.
    pub since: Timestamp,
    /// Until when.
    pub until: Timestamp,
    /// Since when all that rounds saw is known: later than `since` where a node has started, or forgotten some, meanwhile.
    pub known_since: Timestamp,
    /// How many assignments were made anew: proposals of rounds in which the rule would have been in force for somebody.
    pub n_assignments: u64,
    /// How many of them would have been of another driver, or of none.
    pub n_differ: u64,
    /// How long the drivers who were chosen took to their pickups, on average, in seconds; absent if there were none.
    pub eta_before_s: Option<f64>,
    /// The same of those who would have been.
    pub eta_after_s: Option<f64>,
    /// The latest that would have come out otherwise, newest first; 50 at most.
    pub differ: Vec<Differs>,
    /// What was not looked at, and is in none of these numbers.
    pub left_out: LeftOut,
    /// What the rule changes and rounds cannot tell, by its key: it is as it was in all of these numbers.
    pub cannot_know: Vec<String>,
    /// Nodes that did not answer in time: what they held is missing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub silent: Vec<String>,
}

/// An assignment that a rule would have made otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Differs {
    /// Of which job.
    pub job: JobId,
    /// When.
    pub at: Timestamp,
    /// Who was chosen…
    pub before: DriverId,
    /// … how long it took to the pickup, in milliseconds, …
    pub eta_before_ms: u32,
    /// … who would have been; nobody, if absent, …
    pub after: Option<DriverId>,
    /// … and how long that one would have taken.
    pub eta_after_ms: Option<u32>,
}

/// What a dry run did not look at, in rounds of single searches.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct LeftOut {
    /// In which nobody was chosen.
    pub n_without_choice: u64,
    /// That came to the same as a later one, of which alone it is known who was weighed.
    pub n_alike: u64,
    /// That do not come out again as they did, from what is known of them: others had their part in them.
    pub n_not_reproduced: u64,
    /// Whose cost under the rule is not known: a weight counted for nothing then, or an idle time is asked for in another measure.
    pub n_unweighable: u64,
    /// For which there was no room: the latest are looked at first, and of each search the last eight are known.
    pub n_over_limit: u64,
}

impl LeftOut {
    /// Together with what another node left out.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            n_without_choice: self.n_without_choice + other.n_without_choice,
            n_alike: self.n_alike + other.n_alike,
            n_not_reproduced: self.n_not_reproduced + other.n_not_reproduced,
            n_unweighable: self.n_unweighable + other.n_unweighable,
            n_over_limit: self.n_over_limit + other.n_over_limit,
        }
    }
}
