//! What other weights would have made of rounds that have been held, as far as that can be told from what rounds told.
//!
//! ```text
//!  rounds ── who was held at the same moment ──► groups ── who weighed the same drivers ──► parts
//!                 paired once more as it was: does it come out again? ── no ──► left out
//!                                             └─ yes ──► paired by the other weights ──► what differs
//! ```
//!
//! What a driver costs beside the way is in proportion to its weight, so what it would have cost by another is known, unless the weight
//! was nothing. What would have come of the other pairs, nobody knows: each round is looked at by itself.

use crate::{
    assignment::{Edges, assign},
    cost::Weights,
};
use protocol::{
    DriverId, JobId, Timestamp,
    rule::{Differs, LeftOut},
    trace::{Fate, Parts, Verdict, Weighed},
};
use serde::{Deserialize, Serialize};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet, HashMap},
};

/// How many that differ are told.
const DIFFER_MAX: usize = 50;

/// What a round saw of a search.
#[derive(Debug, Clone, PartialEq)]
pub struct Past {
    /// Of which job.
    pub job: JobId,
    /// When.
    pub at: Timestamp,
    /// What came of it.
    pub verdict: Verdict,
    /// Who was weighed for it.
    pub weighed: Vec<Weighed>,
    /// By which weights.
    pub weights: Weights,
    /// Would it have been weighed by the others?
    pub is_meant: bool,
}

/// What other weights would have made of rounds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replayed {
    /// How many assignments were made anew.
    pub n_assignments: u64,
    /// How many would have been of another driver, or of none.
    pub n_differ: u64,
    /// How many would have been of any.
    pub n_after: u64,
    /// How long those who were chosen took to their pickups together, in milliseconds.
    pub eta_before_ms: u64,
    /// The same of those who would have been.
    pub eta_after_ms: u64,
    /// The latest that differ, newest first.
    pub differ: Vec<Differs>,
    /// What was not looked at.
    pub left_out: LeftOut,
}

impl Replayed {
    /// Together with what another node has replayed.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.differ.extend(other.differ);
        Self {
            n_assignments: self.n_assignments + other.n_assignments,
            n_differ: self.n_differ + other.n_differ,
            n_after: self.n_after + other.n_after,
            eta_before_ms: self.eta_before_ms + other.eta_before_ms,
            eta_after_ms: self.eta_after_ms + other.eta_after_ms,
            differ: latest(self.differ),
            left_out: self.left_out.and(other.left_out),
        }
    }
}

/// Holds rounds again by other `weights`. Those of one region, which is what `G` tells apart, that were at the same moment were one.
pub fn replay<G: Ord>(rounds: impl IntoIterator<Item = (G, Past)>, weights: &Weights) -> Replayed {
    let mut groups: BTreeMap<(G, Timestamp), Vec<Past>> = BTreeMap::new();
    for (group, past) in rounds {
        groups.entry((group, past.at)).or_default().push(past);
    }
    let mut replayed = Replayed::default();
    for mut group in groups.into_values() {
        group.sort_by_key(|past| past.job);
        for part in apart(group) {
            if part.iter().any(|past| past.is_meant) {
                replayed.take_in(&part, weights);
            }
        }
    }
    replayed.differ = latest(replayed.differ);
    replayed
}

fn latest(mut differ: Vec<Differs>) -> Vec<Differs> {
    differ.sort_by_key(|it| (Reverse(it.at), it.job));
    differ.truncate(DIFFER_MAX);
    differ
}

/// Parts that share no driver: what one comes to is nothing to the others.
fn apart(group: Vec<Past>) -> Vec<Vec<Past>> {
    let mut leads_to: Vec<usize> = (0..group.len()).collect();
    let mut first: HashMap<DriverId, usize> = HashMap::new();
    for (n, past) in group.iter().enumerate() {
        for weighed in &past.weighed {
            let before = *first.entry(weighed.driver).or_insert(n);
            let (one, other) = (end_of(&mut leads_to, before), end_of(&mut leads_to, n));
            leads_to[one.max(other)] = one.min(other);
        }
    }
    let mut parts: BTreeMap<usize, Vec<Past>> = BTreeMap::new();
    for (n, past) in group.into_iter().enumerate() {
        parts.entry(end_of(&mut leads_to, n)).or_default().push(past);
    }
    parts.into_values().collect()
}

/// Where a chain ends, which is shortened on the way.
fn end_of(leads_to: &mut [usize], mut n: usize) -> usize {
    while leads_to[n] != n {
        leads_to[n] = leads_to[leads_to[n]];
        n = leads_to[n];
    }
    n
}

impl Replayed {
    fn take_in(&mut self, part: &[Past], weights: &Weights) {
        let n_meant = part.iter().filter(|past| past.is_meant).count() as u64;
        let n_vain = part.iter().filter(|past| past.is_meant && !past.has_choice()).count() as u64;
        self.left_out.n_without_choice += n_vain;
        if n_vain == n_meant {
            return;
        }
        let drivers: BTreeSet<DriverId> =
            part.iter().flat_map(|past| &past.weighed).map(|it| it.driver).collect();
        let drivers: Vec<DriverId> = drivers.into_iter().collect();
        let as_it_was =
            |past: &Past| Some(past.weighed.iter().map(|it| it.cost_ms).collect::<Vec<u32>>());
        let before = pair(part, &drivers, as_it_was).unwrap_or_default();
        let is_reproduced =
            part.iter().zip(&before).all(|(past, pick)| past.came_to(pick.map(|it| it.driver)));
        if !is_reproduced {
            self.left_out.n_not_reproduced += n_meant - n_vain;
            return;
        }
        let Some(after) = pair(part, &drivers, |past| past.costs_by(weights)) else {
            self.left_out.n_unweighable += n_meant - n_vain;
            return;
        };
        for ((past, before), after) in part.iter().zip(before).zip(after) {
            if let (Verdict::Proposed, Some(before)) = (past.verdict, before) {
                self.compare(past, before, after);
            }
        }
    }

    fn compare(&mut self, past: &Past, before: &Weighed, after: Option<&Weighed>) {
        let eta_ms = |it: &Weighed| it.travel_ms.saturating_add(it.busy_ms);
        self.n_assignments += 1;
        self.eta_before_ms += u64::from(eta_ms(before));
        self.n_after += u64::from(after.is_some());
        self.eta_after_ms += after.map_or(0, |it| u64::from(eta_ms(it)));
        if after.is_some_and(|it| it.driver == before.driver) {
            return;
        }
        self.n_differ += 1;
        self.differ.push(Differs {
            job: past.job,
            at: past.at,
            before: before.driver,
            eta_before_ms: eta_ms(before),
            after: after.map(|it| it.driver),
            eta_after_ms: after.map(eta_ms),
        });
    }
}

impl Past {
    /// Was this driver chosen for it? Of several who were proposed at once any was.
    fn has_chosen(&self, driver: DriverId) -> bool {
        self.weighed.iter().any(|it| it.driver == driver && is_choice(it.fate))
    }

    fn has_choice(&self) -> bool {
        self.weighed.iter().any(|it| is_choice(it.fate))
    }

    /// Did it come to this?
    fn came_to(&self, driver: Option<DriverId>) -> bool {
        driver.map_or(!self.has_choice(), |driver| self.has_chosen(driver))
    }

    /// What those who were weighed would have cost; none, if that is not known of somebody.
    fn costs_by(&self, weights: &Weights) -> Option<Vec<u32>> {
        let all = self.weighed.iter();
        if !self.is_meant {
            return Some(all.map(|it| it.cost_ms).collect());
        }
        all.map(|it| {
            let way_ms = it.cost_ms.saturating_sub(it.parts.sum_ms());
            let parts = reweighed(it.parts, &self.weights, weights)?;
            Some(way_ms.saturating_add(parts.sum_ms()))
        })
        .collect()
    }
}

fn is_choice(fate: Fate) -> bool {
    match fate {
        Fate::Proposed | Fate::Held => true,
        Fate::Taken | Fate::Spare => false,
    }
}

/// Gives each search the driver that is best for all of them together; nothing, if what somebody costs is not known.
fn pair<'a>(
    part: &'a [Past],
    drivers: &[DriverId],
    costs_of: impl Fn(&Past) -> Option<Vec<u32>>,
) -> Option<Vec<Option<&'a Weighed>>> {
    let column = |driver: DriverId| drivers.binary_search(&driver).map_or(0, |n| n as u32);
    let mut edges = Edges::new(drivers.len());
    for past in part {
        let columns = past.weighed.iter().map(|it| column(it.driver));
        edges.push_row(columns.zip(costs_of(past)?));
    }
    let picks = part.iter().zip(assign(&edges)).map(|(past, column)| {
        let driver = drivers[column? as usize];
        past.weighed.iter().find(|it| it.driver == driver)
    });
    Some(picks.collect())
}

/// What a driver costs beside the way by other weights; none, if that cannot be told from what it costs by these.
fn reweighed(parts: Parts, from: &Weights, to: &Weights) -> Option<Parts> {
    let part = |ms: u32, from_ms: u32, to_ms: u32| {
        if from_ms == to_ms {
            return Some(ms);
        }
        if to_ms == 0 {
            return Some(0);
        }
        let ms = (u64::from(ms) * u64::from(to_ms)).checked_div(from_ms.into())?;
        Some(u32::try_from(ms).unwrap_or(u32::MAX))
    };
    // Who has been idle for how long is not told, but which part of it that is.
    if to.idle_ms > 0 && from.idle_full_ms != to.idle_full_ms {
        return None;
    }
    Some(Parts {
        idle_ms: part(parts.idle_ms, from.idle_ms, to.idle_ms)?,
        rating_ms: part(parts.rating_ms, from.star_ms, to.star_ms)?,
        level_ms: part(parts.level_ms, from.level_ms, to.level_ms)?,
        refusal_ms: part(parts.refusal_ms, from.refusal_ms, to.refusal_ms)?,
        excess_ms: part(parts.excess_ms, from.excess_ms, to.excess_ms)?,
        fairness_ms: part(parts.fairness_ms, from.fairness_ms, to.fairness_ms)?,
        turn_ms: part(parts.turn_ms, from.turn_ms, to.turn_ms)?,
    })
}

#[cfg(test)]
mod tests;
