//! What rounds saw of jobs, for those who ask afterwards why it came out as it did.
//!
//! In memory, of this node, and bounded: of each job the last few rounds that came to something else, and of
//! jobs those that were looked at last. A round takes a kilobyte at most, so that all of it is never more than 128 MB,
//! and usually a tenth of that: most jobs come to something in a round or two. What was decided, offers and their
//! ends, is in the journals of jobs, and with it the little that is journaled of rounds (`search::Account`): jobs look here while
//! they write, so that nobody may keep them waiting.

use crate::listing::RegionId;
use matching::{
    cost::Weights,
    replay::Past,
    ruling::Ruling,
    trace::{Tally, Trace, Traces},
};
use protocol::{
    DriverId, JobId, Point, Timestamp,
    rule::{LeftOut, RuleMark},
    trace::{Chance, Fate, Model, Seen, Unfit, Verdict, Weighed, WhyNot},
    view::{Eta, WorkKind},
};
use std::{
    cmp::Reverse,
    collections::{HashMap, VecDeque},
    hash::{BuildHasher, RandomState},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};
use strum::IntoEnumIterator;

/// How many rounds of a job are kept.
const ROUNDS_MAX: usize = 8;
/// Of how many jobs, at least; of twice as many, at most.
const JOBS_MIN: usize = 8_192;
/// In how many parts they are kept, so that who looks through all of them keeps nobody waiting for all of that.
const PARTS: usize = 16;

/// How many rounds are replayed at most, the latest: about as many kilobytes, for as long as that takes.
const REPLAYED_MAX: usize = 10_000;

/// A driver is told of jobs that were so many times as far away as drivers were looked for.
const AROUND: u32 = 2;

/// What rounds of this node saw.
#[derive(Debug)]
pub(super) struct Rounds {
    /// Of how many jobs each part knows, at least.
    jobs_min: usize,
    parts: Box<[Mutex<Jobs>]>,
    by_job: RandomState,
}

/// The jobs that were looked at last, and those before them: when there are many of the first, they become
/// the second, and those are forgotten. So nobody has to keep all of them in an order.
#[derive(Debug, Default)]
struct Jobs {
    late: HashMap<JobId, Job>,
    early: HashMap<JobId, Job>,
    /// When the second were the first for the last time…
    turned_at: Timestamp,
    /// … and when those were that are forgotten: what was seen since then is known.
    known_since: Timestamp,
}

#[derive(Debug, Default)]
struct Job {
    pickup: Option<Point>,
    work: Option<WorkKind>,
    rounds: VecDeque<Round>,
    /// How many rounds are forgotten, and when the last of them was.
    n_gone: u64,
    gone_at: Timestamp,
}

/// What one round saw of a job; or the last of several in a row that came to the same.
#[derive(Debug, Clone)]
struct Round {
    from: Timestamp,
    at: Timestamp,
    n: u32,
    round: u32,
    radius_m: u32,
    verdict: Verdict,
    n_weighed: u32,
    tally: Tally,
    weighed: Vec<Weighed>,
    unfit: Vec<Unfit>,
    ruling: Option<Arc<Ruling>>,
    model: Option<Model>,
}

impl Default for Rounds {
    fn default() -> Self {
        Self::new(JOBS_MIN / PARTS, PARTS)
    }
}

impl Rounds {
    /// In so many parts, each of which knows at least so many jobs.
    fn new(jobs_min: usize, n_parts: usize) -> Self {
        let parts = (0..n_parts).map(|_| Mutex::default()).collect();
        Self { jobs_min, parts, by_job: RandomState::new() }
    }

    /// Takes note of what a round saw.
    pub(super) fn record(&self, traces: &Traces, now: Timestamp) {
        self.record_of(traces, now, |_| true);
    }

    /// The same, of some jobs only.
    pub(super) fn record_of(
        &self,
        traces: &Traces,
        now: Timestamp,
        is_wanted: impl Fn(JobId) -> bool,
    ) {
        for (trace, weighed, unfit) in traces.iter().filter(|(it, ..)| is_wanted(it.job)) {
            // One by one: whoever writes about another job gets in between.
            let mut jobs = self.part(trace.job);
            jobs.job(trace.job, self.jobs_min, now).note(trace, weighed, unfit, now);
        }
    }

    /// What rounds saw of a job, oldest first.
    pub(super) fn of_job(&self, job: JobId) -> Vec<Seen> {
        self.of_job_after(job, 0)
    }

    /// The same, of those after a round of its search.
    pub(super) fn of_job_after(&self, job: JobId, after: u32) -> Vec<Seen> {
        let jobs = self.part(job);
        let known = jobs.late.get(&job).or_else(|| jobs.early.get(&job));
        let rounds = known.into_iter().flat_map(|it| &it.rounds);
        rounds.filter(|it| it.round > after || after == 0).map(Round::seen).collect()
    }

    /// Since when nothing has been forgotten that was seen; from the beginning, if nothing was.
    pub(super) fn known_since(&self) -> Timestamp {
        let since = self.parts.iter().map(|part| lock(part).known_since);
        since.max().unwrap_or_default()
    }

    /// When the driver would be there who would come for a job if one had to be chosen now, as the last round saw it; none
    /// of any, if rounds tell nothing (`n_told = 0`).
    pub(super) fn eta_of(&self, job: JobId) -> Option<Eta> {
        let jobs = self.part(job);
        let known = jobs.late.get(&job).or_else(|| jobs.early.get(&job))?;
        Weighed::best(&known.rounds.back()?.weighed)
    }

    /// What rounds since then made of a driver, for each job that looked for one in reach of where it is,
    /// newest first.
    pub(super) fn of_driver(
        &self,
        driver: DriverId,
        at: Option<Point>,
        since: Timestamp,
    ) -> Vec<(JobId, Chance)> {
        let mut chances: Vec<_> =
            self.parts.iter().flat_map(|part| lock(part).of_driver(driver, at, since)).collect();
        chances.sort_unstable_by_key(|(job, chance)| (Reverse(chance.at), *job));
        chances
    }

    /// What rounds since then saw, by region, and what is left out of that; some are meant. Those under no rule weighed as is `usual`.
    pub(super) fn past(
        &self,
        since: Timestamp,
        usual: Weights,
        is_meant: impl Fn(Point, WorkKind) -> bool,
    ) -> (Vec<(RegionId, Past)>, LeftOut) {
        let (mut all, mut left_out) = (Vec::new(), LeftOut::default());
        for part in &self.parts {
            {
                // One part after the other: nobody who writes waits for all of that.
                let jobs = lock(part);
                let known = jobs.late.iter().chain(&jobs.early);
                for (job, (pickup, work, seen)) in
                    known.filter_map(|(id, it)| Some((*id, (it.pickup?, it.work?, it))))
                {
                    let is_meant = is_meant(pickup, work);
                    if is_meant && seen.gone_at >= since {
                        left_out.n_over_limit += seen.n_gone;
                    }
                    for round in seen.rounds.iter().filter(|it| it.at >= since) {
                        left_out.n_alike += u64::from(is_meant) * u64::from(round.n - 1);
                        all.push((RegionId::at(pickup), round.past(job, usual, is_meant)));
                    }
                }
            }
            let n_over = keep_latest(&mut all, 2 * REPLAYED_MAX);
            left_out.n_over_limit += n_over;
        }
        left_out.n_over_limit += keep_latest(&mut all, REPLAYED_MAX);
        (all, left_out)
    }

    fn part(&self, job: JobId) -> MutexGuard<'_, Jobs> {
        let n = self.by_job.hash_one(job) as usize % self.parts.len();
        lock(&self.parts[n])
    }
}

/// Never held across a panic or an await, so poison means nothing.
fn lock(part: &Mutex<Jobs>) -> MutexGuard<'_, Jobs> {
    part.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Keeps so many of them, the latest, and none of whose moment not all are kept. How many that were meant are gone?
fn keep_latest(all: &mut Vec<(RegionId, Past)>, n_max: usize) -> u64 {
    if all.len() <= n_max {
        return 0;
    }
    all.sort_by_key(|(_, past)| Reverse(past.at));
    let cut_at = all[n_max].1.at;
    let is_meant = |(_, past): &&(RegionId, Past)| past.is_meant;
    let n_before = all.iter().filter(is_meant).count();
    all.retain(|(_, past)| past.at > cut_at);
    (n_before - all.iter().filter(is_meant).count()) as u64
}

impl Jobs {
    fn of_driver(
        &self,
        driver: DriverId,
        at: Option<Point>,
        since: Timestamp,
    ) -> Vec<(JobId, Chance)> {
        let all = self.late.iter().chain(&self.early);
        let chances = all.filter_map(|(job, known)| {
            let rounds = known.rounds.iter().rev().take_while(|it| it.at >= since);
            let distance_m = at.zip(known.pickup).map(|(at, pickup)| at.distance_m(pickup) as u32);
            let told = rounds.filter_map(|it| it.chance(driver, distance_m));
            // Whatever came of it in the end: that it was proposed is not undone by its answer.
            let chance = told.reduce(|last, earlier| match earlier.why {
                None => earlier,
                Some(_) => last,
            })?;
            Some((*job, chance))
        });
        chances.collect()
    }

    fn job(&mut self, id: JobId, jobs_min: usize, now: Timestamp) -> &mut Job {
        let known = self.early.remove(&id);
        if self.late.len() >= jobs_min && !self.late.contains_key(&id) {
            if !self.early.is_empty() {
                self.known_since = self.turned_at;
            }
            self.turned_at = now;
            self.early = std::mem::take(&mut self.late);
        }
        self.late.entry(id).or_insert_with(|| known.unwrap_or_default())
    }
}

impl Job {
    fn note(&mut self, trace: &Trace, weighed: &[Weighed], unfit: &[Unfit], now: Timestamp) {
        (self.pickup, self.work) = (Some(trace.pickup), Some(trace.work));
        let mark = trace.ruling.as_ref().map(|it| it.mark);
        let is_same = |it: &&mut Round| {
            (it.round, it.radius_m, it.verdict, it.mark())
                == (trace.round, trace.radius_m, trace.verdict, mark)
        };
        if let Some(last) = self.rounds.back_mut().filter(is_same) {
            last.at = now;
            last.n = last.n.saturating_add(1);
            last.n_weighed = trace.n_weighed;
            last.tally = trace.tally;
            last.weighed.clear();
            last.weighed.extend_from_slice(weighed);
            last.unfit.clear();
            last.unfit.extend_from_slice(unfit);
            last.model = trace.model;
            return;
        }
        if self.rounds.len() == ROUNDS_MAX
            && let Some(first) = self.rounds.pop_front()
        {
            self.n_gone += u64::from(first.n);
            self.gone_at = first.at;
        }
        self.rounds.push_back(Round {
            from: now,
            at: now,
            n: 1,
            round: trace.round,
            radius_m: trace.radius_m,
            verdict: trace.verdict,
            n_weighed: trace.n_weighed,
            tally: trace.tally,
            weighed: weighed.to_vec(),
            unfit: unfit.to_vec(),
            ruling: trace.ruling.clone(),
            model: trace.model,
        });
    }
}

impl Round {
    fn seen(&self) -> Seen {
        let counted = WhyNot::iter().zip(self.tally).filter(|(_, n)| *n > 0);
        Seen {
            from: self.from,
            at: self.at,
            n: self.n,
            round: self.round,
            radius_m: self.radius_m,
            verdict: self.verdict,
            n_weighed: self.n_weighed,
            weighed: self.weighed.clone(),
            n_unfit: counted.map(|(why, n)| (why, u32::from(n))).collect(),
            unfit: self.unfit.clone(),
            rule: self.mark(),
            model: self.model,
        }
    }

    /// Under which rule it was, if one was in force.
    fn mark(&self) -> Option<RuleMark> {
        self.ruling.as_ref().map(|it| it.mark)
    }

    /// The same, to be held again.
    fn past(&self, job: JobId, usual: Weights, is_meant: bool) -> Past {
        Past {
            job,
            at: self.at,
            verdict: self.verdict,
            weighed: self.weighed.clone(),
            weights: self.ruling.as_ref().map_or(usual, |it| it.weights),
            is_meant,
        }
    }

    /// What it made of a driver who is that far from the pickup now; nothing, if it cannot have seen it.
    fn chance(&self, driver: DriverId, distance_m: Option<u32>) -> Option<Chance> {
        let best = self.weighed.iter().find(|it| match it.fate {
            Fate::Proposed | Fate::Held => true,
            Fate::Taken | Fate::Spare => false,
        });
        let chance = Chance {
            job: None,
            at: self.at,
            why: None,
            distance_m,
            cost_ms: None,
            best_cost_ms: best.map(|it| it.cost_ms),
        };
        if let Some(weighed) = self.weighed.iter().find(|it| it.driver == driver) {
            let why = match weighed.fate {
                Fate::Proposed => None,
                Fate::Held => Some(WhyNot::Held),
                Fate::Taken => Some(WhyNot::Taken),
                Fate::Spare => Some(WhyNot::Outranked),
            };
            let (distance_m, cost_ms) = (Some(weighed.distance_m), Some(weighed.cost_ms));
            return Some(Chance { why, distance_m, cost_ms, ..chance });
        }
        if let Some(unfit) = self.unfit.iter().find(|it| it.driver == driver) {
            return Some(Chance { why: Some(unfit.why), ..chance });
        }
        let distance_m = distance_m?;
        if self.verdict == Verdict::ZonePaused && distance_m <= self.radius_m {
            return Some(Chance { why: Some(WhyNot::ZonePaused), ..chance });
        }
        if distance_m > self.radius_m.saturating_mul(AROUND) {
            return None;
        }
        if distance_m > self.radius_m {
            return Some(Chance { why: Some(WhyNot::TooFar), ..chance });
        }
        // It may have been there or not; who was weighed was nearer.
        let furthest_m = self.weighed.iter().map(|it| it.distance_m).max()?;
        (distance_m > furthest_m).then_some(Chance { why: Some(WhyNot::Outranked), ..chance })
    }
}

#[cfg(test)]
mod tests;
