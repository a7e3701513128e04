//! What a platform must never do, checked from the outside as it goes.
//!
//! The crowd sees only frames: acknowledgements, views and pushes of many clients. From these alone
//! it can tell that a promise was broken:
//!
//! - an acknowledged command is not visible later ([`Broken::AckedNotVisible`]),
//! - one version of an order or rescue shows two different states ([`Broken::TwoTruths`]),
//! - something final went on ([`Broken::FinalChanged`]),
//! - two drivers hold one job ([`Broken::TwoDrivers`]),
//! - one driver holds two jobs of which one fills the vehicle ([`Broken::TwoRides`]),
//! - a version goes back on one connection ([`Broken::VersionWentBack`]),
//! - a command is answered more often than it was sent, or differently
//!   ([`Broken::ManyAnswers`], [`Broken::OtherAnswer`]),
//! - an offer comes back after its end was acknowledged ([`Broken::OfferRevived`]).

use protocol::{
    CommandId, DriverId, JobId, OfferId, OrderStatus, RescueStatus,
    frame::Done,
    view::{DriverView, OrderView, RescueView},
    work::OrderKind,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{HashMap, VecDeque},
    time::{Duration, Instant},
};

/// A frame may be this old when it is read: what it shows may predate an acknowledgement. Whoever lost its connection
/// and goes on where it was is told first what it missed, and that is older by as long as it was away: see
/// [`ClientTrace::as_of`].
pub const IN_FLIGHT_MAX: Duration = Duration::from_secs(10);
/// So long two drivers may believe they hold one job: the first has yet to hear.
pub const HANDOVER_MAX: Duration = Duration::from_secs(15);
/// Most violations kept in detail; all are counted.
pub const DETAILS_MAX: usize = 200;
/// How many versions of one job are compared.
const VERSIONS_KEPT: usize = 8;

/// Which promise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, strum::Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Broken {
    /// An acknowledged command is not visible later.
    AckedNotVisible,
    /// One version shows two different states.
    TwoTruths,
    /// Something final went on.
    FinalChanged,
    /// Two drivers hold one job.
    TwoDrivers,
    /// One driver holds two jobs of which one fills the vehicle.
    TwoRides,
    /// A version goes back on one connection.
    VersionWentBack,
    /// A command was answered more often than it was sent.
    ManyAnswers,
    /// A repeated command was answered differently.
    OtherAnswer,
    /// An offer came back after its end was acknowledged.
    OfferRevived,
    /// What must arrive did not, although whoever it is for came back.
    PushMissed,
}

/// A broken promise.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Violation {
    /// Which.
    pub broken: Broken,
    /// What was seen.
    pub detail: String,
}

/// What is known of one job from all clients together.
#[derive(Debug, Default)]
struct JobTrace {
    /// The highest acknowledged version, and when it was.
    acked: Option<(u64, Instant)>,
    /// The last few versions seen: what they showed.
    shown: VecDeque<(u64, Shown)>,
    ended: Option<(u64, &'static str)>,
    /// Fills the vehicle?
    is_exclusive: Option<bool>,
    /// Who was told it is theirs and not yet that it is not.
    holders: Vec<DriverId>,
    /// Whose commands to it were acknowledged, at which versions.
    performed: Vec<(u64, DriverId)>,
}

/// What one version of a job shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Shown {
    status: &'static str,
    driver: Option<DriverId>,
}

/// Two drivers who believe they hold one job.
#[derive(Debug)]
struct Suspicion {
    job: JobId,
    first: DriverId,
    second: DriverId,
    since: Instant,
}

/// Follows what all clients see, and remembers what does not fit.
#[derive(Debug, Default)]
pub struct Checker {
    jobs: HashMap<JobId, JobTrace>,
    /// The highest acknowledged version of each driver, and when it was.
    drivers: HashMap<DriverId, (u64, Instant)>,
    suspicions: Vec<Suspicion>,
    violations: Vec<Violation>,
    n_violations: u64,
}

impl Checker {
    /// A broken promise that the caller saw by itself.
    pub fn report(&mut self, broken: Broken, detail: String) {
        tracing::warn!(%broken, %detail, "a promise was broken");
        self.n_violations += 1;
        if self.violations.len() < DETAILS_MAX {
            self.violations.push(Violation { broken, detail });
        }
    }

    /// How many promises were broken.
    pub fn n_violations(&self) -> u64 {
        self.n_violations
    }

    /// The first [`DETAILS_MAX`] of them.
    pub fn violations(&self) -> &[Violation] {
        &self.violations
    }

    /// A command was acknowledged.
    pub fn acked(&mut self, done: &Done, now: Instant) {
        let raise = |slot: Option<(u64, Instant)>| match slot {
            Some((version, at)) if version >= done.version => Some((version, at)),
            Some(_) | None => Some((done.version, now)),
        };
        if let Some(job) = job_of(&done.actor) {
            let trace = self.jobs.entry(job).or_default();
            trace.acked = raise(trace.acked);
        } else if let Ok(driver) = done.actor.parse::<DriverId>() {
            let raised = raise(self.drivers.get(&driver).copied());
            self.drivers.extend(raised.map(|acked| (driver, acked)));
        }
    }

    /// The highest version of a job that was acknowledged to anyone.
    pub fn acked_version(&self, job: JobId) -> u64 {
        self.jobs.get(&job).and_then(|trace| trace.acked).map_or(0, |(version, _)| version)
    }

    /// A driver's command to a job was acknowledged: it was its driver at that version.
    pub fn performed(&mut self, job: JobId, driver: DriverId, version: u64) {
        let trace = self.jobs.entry(job).or_default();
        let place = trace.performed.partition_point(|(other, _)| *other < version);
        trace.performed.insert(place, (version, driver));
        let own = |(_, who): &(u64, DriverId)| *who == driver;
        let first = trace.performed.iter().position(own);
        let last = trace.performed.iter().rposition(own);
        let (Some(first), Some(last)) = (first, last) else { return };
        let between = trace.performed[first..=last].iter().find(|entry| !own(entry)).copied();
        if let Some((at, other)) = between {
            self.report(
                Broken::TwoDrivers,
                format!("{job}: {driver} acted before and after {other} did at version {at}"),
            );
        }
    }

    /// Somebody was shown an order, as it was then or later.
    pub fn order_seen(&mut self, view: &OrderView, as_of: Instant) {
        let job = JobId::Order(view.id);
        let is_exclusive = match view.kind {
            OrderKind::Ride => true,
            OrderKind::Delivery | OrderKind::Commerce => false,
        };
        self.jobs.entry(job).or_default().is_exclusive = Some(is_exclusive);
        let shown = Shown { status: view.status.into(), driver: view.driver };
        let is_over = OrderStatus::is_final(view.status);
        self.job_seen(job, view.version, shown, is_over, as_of);
    }

    /// Somebody was shown a rescue, as it was then or later.
    pub fn rescue_seen(&mut self, view: &RescueView, as_of: Instant) {
        let job = JobId::Rescue(view.id);
        self.jobs.entry(job).or_default().is_exclusive = Some(true);
        let shown = Shown { status: view.status.into(), driver: view.driver };
        let is_over = RescueStatus::is_final(view.status);
        self.job_seen(job, view.version, shown, is_over, as_of);
    }

    fn job_seen(&mut self, job: JobId, version: u64, shown: Shown, is_over: bool, as_of: Instant) {
        let trace = self.jobs.entry(job).or_default();
        let mut broken = Vec::new();
        if let Some((acked, at)) = trace.acked
            && version < acked
            && as_of.saturating_duration_since(at) > IN_FLIGHT_MAX
        {
            broken.push((
                Broken::AckedNotVisible,
                format!("{job}: version {version} shown after {acked} was acknowledged"),
            ));
        }
        match trace.shown.iter().find(|(other, _)| *other == version) {
            Some((_, before)) if *before != shown => broken.push((
                Broken::TwoTruths,
                format!("{job} version {version}: {before:?} and {shown:?}"),
            )),
            Some(_) => {}
            None => {
                if trace.shown.len() == VERSIONS_KEPT {
                    trace.shown.pop_front();
                }
                trace.shown.push_back((version, shown));
            }
        }
        if let Some((ended_at, ending)) = trace.ended
            && version > ended_at
            && shown.status != ending
        {
            broken.push((
                Broken::FinalChanged,
                format!("{job}: {ending} at version {ended_at}, {} at {version}", shown.status),
            ));
        }
        if is_over && trace.ended.is_none_or(|(ended_at, _)| version > ended_at) {
            trace.ended = Some((version, shown.status));
            trace.holders.clear();
        }
        for (broken, detail) in broken {
            self.report(broken, detail);
        }
    }

    /// A driver was shown itself, as it was then or later.
    pub fn driver_seen(&mut self, view: &DriverView, as_of: Instant) {
        if let Some((acked, at)) = self.drivers.get(&view.id)
            && view.version < *acked
            && as_of.saturating_duration_since(*at) > IN_FLIGHT_MAX
        {
            let detail = format!(
                "{}: version {} shown after {acked} was acknowledged",
                view.id, view.version
            );
            self.report(Broken::AckedNotVisible, detail);
        }
        let fills = |job: &JobId| match job {
            JobId::Rescue(_) => true,
            JobId::Order(_) => {
                self.jobs.get(job).and_then(|trace| trace.is_exclusive).unwrap_or(false)
            }
        };
        if view.jobs.len() > 1 && view.jobs.iter().any(fills) {
            let jobs: Vec<String> = view.jobs.iter().map(ToString::to_string).collect();
            self.report(Broken::TwoRides, format!("{} holds {}", view.id, jobs.join(" and ")));
        }
    }

    /// A driver was told that a job is its.
    pub fn assigned(&mut self, job: JobId, driver: DriverId, now: Instant) {
        let trace = self.jobs.entry(job).or_default();
        if trace.holders.contains(&driver) || trace.ended.is_some() {
            return;
        }
        let others = trace.holders.iter();
        self.suspicions.extend(others.map(|&first| Suspicion {
            job,
            first,
            second: driver,
            since: now,
        }));
        trace.holders.push(driver);
    }

    /// A driver was told, or could see, that a job is no longer its.
    pub fn released(&mut self, job: JobId, driver: DriverId) {
        if let Some(trace) = self.jobs.get_mut(&job) {
            trace.holders.retain(|holder| *holder != driver);
        }
    }

    /// A driver cannot be told anything for now.
    pub fn unreachable(&mut self, driver: DriverId) {
        for suspicion in std::mem::take(&mut self.suspicions) {
            if suspicion.first == driver || suspicion.second == driver {
                self.released(suspicion.job, driver);
            } else {
                self.suspicions.push(suspicion);
            }
        }
    }

    /// Looks at what has been suspicious for too long.
    pub fn sweep(&mut self, now: Instant) {
        for suspicion in std::mem::take(&mut self.suspicions) {
            let Suspicion { job, first, second, since } = suspicion;
            let is_held_twice = self.jobs.get(&job).is_some_and(|trace| {
                trace.holders.contains(&first) && trace.holders.contains(&second)
            });
            if !is_held_twice {
                continue;
            }
            if now.duration_since(since) > HANDOVER_MAX {
                self.report(Broken::TwoDrivers, format!("{job} was given to {first} and {second}"));
                self.released(job, first);
            } else {
                self.suspicions.push(suspicion);
            }
        }
    }
}

/// The job with this display form.
pub(crate) fn job_of(actor: &str) -> Option<JobId> {
    let order = || actor.parse().ok().map(JobId::Order);
    order().or_else(|| actor.parse().ok().map(JobId::Rescue))
}

/// What one client has sent, heard and acknowledged on its way.
#[derive(Debug, Default)]
pub struct ClientTrace {
    /// Recent commands: how often sent and answered, and with what.
    commands: VecDeque<CommandTrace>,
    /// The highest version seen of each job on this connection.
    versions: HashMap<JobId, u64>,
    /// Offers whose end was acknowledged, the latest last.
    voided: VecDeque<OfferId>,
    /// What it missed, if it lost its connection and has not heard of it all yet.
    behind: Option<Behind>,
}

/// A phone that was away: what was under way to it when it lost its connection is said again when it is back.
#[derive(Debug, Clone, Copy)]
struct Behind {
    /// Up to then everything that was said has arrived.
    since: Instant,
    /// When it was let in again, and went on where it was; none: it is away.
    back_at: Option<Instant>,
}

#[derive(Debug)]
struct CommandTrace {
    id: CommandId,
    n_sent: u32,
    n_answered: u32,
    done: Option<Done>,
}

impl ClientTrace {
    const COMMANDS_KEPT: usize = 8;
    const OFFERS_KEPT: usize = 16;

    /// A command goes out, for the first time or again.
    pub fn sent(&mut self, id: CommandId) {
        if let Some(trace) = self.commands.iter_mut().find(|trace| trace.id == id) {
            trace.n_sent += 1;
            return;
        }
        if self.commands.len() == Self::COMMANDS_KEPT {
            self.commands.pop_front();
        }
        self.commands.push_back(CommandTrace { id, n_sent: 1, n_answered: 0, done: None });
    }

    /// A command was answered; `done` if it was acknowledged.
    pub fn answered(&mut self, id: CommandId, done: Option<&Done>) -> Option<(Broken, String)> {
        let trace = self.commands.iter_mut().find(|trace| trace.id == id)?;
        trace.n_answered += 1;
        if trace.n_answered > trace.n_sent {
            let detail = format!("{id} sent {}x, answered {}x", trace.n_sent, trace.n_answered);
            return Some((Broken::ManyAnswers, detail));
        }
        match (&trace.done, done) {
            (Some(before), Some(again)) if before != again => {
                Some((Broken::OtherAnswer, format!("{id}: {before:?}, then {again:?}")))
            }
            (Some(before), None) => {
                Some((Broken::OtherAnswer, format!("{id}: {before:?}, then refused")))
            }
            (None, Some(done)) => {
                trace.done = Some(done.clone());
                None
            }
            (Some(_), Some(_)) | (None, None) => None,
        }
    }

    /// A view of a job arrived.
    pub fn saw(&mut self, job: JobId, version: u64) -> Option<(Broken, String)> {
        let highest = self.versions.entry(job).or_default();
        if version < *highest {
            return Some((Broken::VersionWentBack, format!("{job}: {version} after {highest}")));
        }
        *highest = version;
        None
    }

    /// The end of an offer is acknowledged.
    pub fn voided(&mut self, offer: OfferId) {
        if self.voided.len() == Self::OFFERS_KEPT {
            self.voided.pop_front();
        }
        self.voided.push_back(offer);
    }

    /// An offer arrived.
    pub fn offered(&mut self, offer: OfferId) -> Option<(Broken, String)> {
        let is_void = self.voided.contains(&offer);
        is_void.then(|| (Broken::OfferRevived, format!("{offer} was offered after its end")))
    }

    /// The connection is gone; everything that was said until then has arrived.
    pub fn lost(&mut self, heard_at: Instant, now: Instant) {
        // Cut off again before it had heard of all it missed: it misses that still.
        let since = self.behind(now).map_or(heard_at, |behind| behind.since);
        self.behind = Some(Behind { since, back_at: None });
    }

    /// A new connection that goes on where the last one was: what did not arrive is said again, and versions go on.
    pub fn resumed(&mut self, now: Instant) {
        if let Some(behind) = &mut self.behind {
            behind.back_at = Some(now);
        }
    }

    /// A new connection on which everything is told anew: versions start over, promises do not.
    pub fn reconnected(&mut self) {
        self.versions.clear();
        self.behind = None;
    }

    /// As of when a view that arrives now must be, but for [`IN_FLIGHT_MAX`]. Whoever is just back is told first what was
    /// said before it lost its connection, "again, in its order".
    pub fn as_of(&self, now: Instant) -> Instant {
        self.behind(now).map_or(now, |behind| behind.since)
    }

    fn behind(&self, now: Instant) -> Option<Behind> {
        let is_under_way = |at: Instant| now.saturating_duration_since(at) <= IN_FLIGHT_MAX;
        self.behind.filter(|behind| behind.back_at.is_none_or(is_under_way))
    }
}

#[cfg(test)]
mod tests;
