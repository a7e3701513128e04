//! What a crowd lived through: counts, waiting times, broken promises.

use crate::{
    checker::Violation,
    measure::{Op, Sample, Slot},
    record::Seen,
    trips::Want,
};
use hdrhistogram::Histogram;
use protocol::{Code, JobId, OrderStatus, RescueStatus, RiderId, work::OrderKind};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap},
    fmt,
    time::{Duration, Instant},
};

/// How jobs of one kind went.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Outcomes {
    /// Acknowledged.
    pub created: u64,
    /// Of these, had a driver at least once.
    pub assigned: u64,
    /// Ended well.
    pub completed: u64,
    /// Were called off, by whomever.
    pub cancelled: u64,
    /// Of these, by whoever asked.
    pub cancelled_by_rider: u64,
    /// Nobody could take them.
    pub no_driver: u64,
    /// Ended otherwise: no-show, failed, out of area.
    pub failed: u64,
    /// Had not ended when the crowd went home.
    pub open: u64,
}

impl Outcomes {
    /// The share that was completed or cancelled by whoever asked; 1 if there were none.
    pub fn satisfied(&self) -> f64 {
        match self.created {
            0 => 1.0,
            created => (self.completed + self.cancelled_by_rider) as f64 / created as f64,
        }
    }

    /// Together with another's.
    #[must_use]
    pub fn plus(self, other: Self) -> Self {
        Self {
            created: self.created + other.created,
            assigned: self.assigned + other.assigned,
            completed: self.completed + other.completed,
            cancelled: self.cancelled + other.cancelled,
            cancelled_by_rider: self.cancelled_by_rider + other.cancelled_by_rider,
            no_driver: self.no_driver + other.no_driver,
            failed: self.failed + other.failed,
            open: self.open + other.open,
        }
    }
}

/// A distribution of times in milliseconds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Quantiles {
    /// How many were measured.
    pub n: u64,
    /// Half were quicker.
    pub p50: f64,
    /// Nine of ten were quicker.
    pub p90: f64,
    /// 99 of a hundred were quicker.
    pub p99: f64,
    /// None was slower.
    pub max: f64,
}

/// The whole.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Report {
    /// Rides.
    pub orders: Outcomes,
    /// Rescues.
    pub rescues: Outcomes,
    /// Deliveries.
    pub deliveries: Outcomes,
    /// Share of all jobs that were completed or cancelled by whoever asked.
    pub satisfied: f64,
    /// Commands that were answered with a yes.
    pub commands_acked: u64,
    /// Commands that were answered with a no, by code.
    pub refused: BTreeMap<String, u64>,
    /// Broken promises.
    pub violations: u64,
    /// The first of them.
    pub violation_details: Vec<Violation>,
    /// From an order's acknowledgement to its first offer on a driver's phone.
    pub offer_ms: Quantiles,
    /// From an order's acknowledgement to its rider seeing a driver.
    pub assign_ms: Quantiles,
    /// From an order's first sending to its rider seeing a driver: what the rider really waited, even
    /// if the acknowledgement was late.
    pub wait_ms: Quantiles,
    /// From a command's first sending to its answer.
    pub command_ms: Quantiles,
    /// Drivers in the crowd.
    pub drivers: u64,
    /// Trips that did not start because too many riders were there already.
    pub riders_turned_away: u64,
    /// Positions sent.
    pub positions: u64,
    /// Frames received.
    pub frames: u64,
    /// Connections made again after a loss.
    pub reconnects: u64,
    /// How many of them went on where they were.
    pub resumes: u64,
    /// Commands sent again for want of an answer.
    pub resends: u64,
    /// Frames that the server could not read or did not want.
    pub frames_refused: u64,
    /// How long orders were made, in seconds.
    pub lasted_s: f64,
    /// How much quicker than life it was.
    pub speed: f64,
    /// The seed it can be repeated with.
    pub seed: u64,
    /// The most memory the watched processes held at once.
    pub rss_bytes: u64,
}

impl Report {
    /// What the process should exit with: 3 for broken promises.
    pub fn exit_code(&self) -> u8 {
        if self.violations == 0 { 0 } else { 3 }
    }

    /// Rides, rescues and deliveries together.
    pub fn all(&self) -> Outcomes {
        self.orders.plus(self.rescues).plus(self.deliveries)
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            f,
            "{:<11} {:>8} {:>9} {:>10} {:>10} {:>10} {:>7} {:>6}",
            "", "created", "assigned", "completed", "cancelled", "no driver", "failed", "open"
        )?;
        let kinds =
            [("rides", self.orders), ("deliveries", self.deliveries), ("rescues", self.rescues)];
        for (name, n) in kinds {
            writeln!(
                f,
                "{name:<11} {:>8} {:>9} {:>10} {:>10} {:>10} {:>7} {:>6}",
                n.created, n.assigned, n.completed, n.cancelled, n.no_driver, n.failed, n.open
            )?;
        }
        writeln!(f)?;
        let times = [
            ("first offer", self.offer_ms),
            ("driver found", self.assign_ms),
            ("since asking", self.wait_ms),
            ("command answered", self.command_ms),
        ];
        for (name, q) in times {
            writeln!(
                f,
                "{name:<17} p50 {:>7.0} ms   p90 {:>7.0} ms   p99 {:>7.0} ms   max {:>7.0} ms   (n = {})",
                q.p50, q.p90, q.p99, q.max, q.n
            )?;
        }
        let refused: u64 = self.refused.values().sum();
        writeln!(
            f,
            "\n{} commands acknowledged, {refused} refused, {} sent again; {} positions, {} reconnects, {} of them resumed",
            self.commands_acked, self.resends, self.positions, self.reconnects, self.resumes
        )?;
        for (code, n) in &self.refused {
            writeln!(f, "  refused {code}: {n}")?;
        }
        write!(
            f,
            "{:.1} % completed or cancelled by their rider; {} violations",
            self.satisfied * 100.0,
            self.violations
        )?;
        for violation in self.violation_details.iter().take(20) {
            write!(f, "\n  {}: {}", violation.broken, violation.detail)?;
        }
        Ok(())
    }
}

/// How things stand while the crowd is out.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Progress {
    /// Since the first driver connected, in seconds.
    pub after_s: f64,
    /// What the crowd is doing.
    pub phase: Phase,
    /// Connected drivers.
    pub drivers: u64,
    /// Connected riders.
    pub riders: u64,
    /// Rides, deliveries and rescues together.
    pub jobs: Outcomes,
    /// Commands answered with a yes.
    pub commands_acked: u64,
    /// Positions sent.
    pub positions: u64,
    /// Broken promises.
    pub violations: u64,
    /// The median time to a driver so far, in milliseconds.
    pub assign_p50_ms: f64,
}

/// What the crowd is doing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, strum::Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Phase {
    /// Drivers connect.
    #[default]
    Gathering,
    /// Riders ask.
    Out,
    /// Nobody asks any more; what runs may end.
    Draining,
    /// What was acknowledged is read anew.
    Auditing,
}

/// How things stand, and what the last second was like.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Glance {
    /// How things stand.
    pub progress: Progress,
    /// Riders there are to be.
    pub planned: u64,
    /// Riders who have begun to ask.
    pub started: u64,
    /// Riders who had no place.
    pub turned_away: u64,
    /// For how long what is due has counted, in seconds.
    pub counted_s: f64,
    /// For how long riders ask, in seconds.
    pub lasting_s: f64,
    /// For how long they have, in seconds.
    pub asking_s: f64,
    /// The last second.
    pub slot: Slot,
    /// What was noticed, the latest last.
    pub events: Vec<Seen>,
}

impl Glance {
    /// Takes in how things stand at another generator.
    pub fn merge(&mut self, other: Self) {
        let Self { progress, planned, started, turned_away, slot, events, .. } = other;
        let ours = &mut self.progress;
        ours.after_s = ours.after_s.max(progress.after_s);
        ours.drivers += progress.drivers;
        ours.riders += progress.riders;
        ours.jobs = ours.jobs.plus(progress.jobs);
        ours.commands_acked += progress.commands_acked;
        ours.positions += progress.positions;
        ours.violations += progress.violations;
        ours.assign_p50_ms = ours.assign_p50_ms.max(progress.assign_p50_ms);
        self.planned += planned;
        self.started += started;
        self.turned_away += turned_away;
        self.slot.beside(slot);
        self.events.extend(events);
    }
}

impl fmt::Display for Progress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:>5.0} s  {:<9}  {:>5} drivers {:>5} riders | created {:>6} assigned {:>6} completed {:>6} cancelled {:>5} no driver {:>4} open {:>5} | acked {:>7} driver found p50 {:>5.0} ms violations {}",
            self.after_s,
            self.phase.to_string(),
            self.drivers,
            self.riders,
            self.jobs.created,
            self.jobs.assigned,
            self.jobs.completed,
            self.jobs.cancelled,
            self.jobs.no_driver,
            self.jobs.open,
            self.commands_acked,
            self.assign_p50_ms,
            self.violations,
        )
    }
}

/// How a job ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    Completed,
    CancelledByRider,
    CancelledByOthers,
    NoDriver,
    Failed,
}

impl Ending {
    pub(crate) fn of_order(status: OrderStatus) -> Option<Self> {
        match status {
            OrderStatus::Completed | OrderStatus::Delivered => Some(Self::Completed),
            OrderStatus::NoDriverFound => Some(Self::NoDriver),
            OrderStatus::CancelledByRider => Some(Self::CancelledByRider),
            OrderStatus::CancelledByDriver
            | OrderStatus::CancelledByMerchant
            | OrderStatus::CancelledBySystem
            | OrderStatus::CancelledByAdmin
            | OrderStatus::CancelledSafety => Some(Self::CancelledByOthers),
            OrderStatus::Returned | OrderStatus::NoShow | OrderStatus::Failed => Some(Self::Failed),
            OrderStatus::AwaitingPayment
            | OrderStatus::Scheduled
            | OrderStatus::Waiting
            | OrderStatus::Searching
            | OrderStatus::JobFeed
            | OrderStatus::Assigned
            | OrderStatus::EnRoutePickup
            | OrderStatus::AtPickup
            | OrderStatus::InProgress
            | OrderStatus::PickedUp
            | OrderStatus::InTransit
            | OrderStatus::AtStop
            | OrderStatus::AtDropoff
            | OrderStatus::FailedAttempt
            | OrderStatus::Returning => None,
        }
    }

    pub(crate) fn of_rescue(status: RescueStatus) -> Option<Self> {
        match status {
            RescueStatus::Completed => Some(Self::Completed),
            RescueStatus::NoDriver => Some(Self::NoDriver),
            RescueStatus::CancelledByRider => Some(Self::CancelledByRider),
            RescueStatus::CancelledByAdmin | RescueStatus::CancelledSafety => {
                Some(Self::CancelledByOthers)
            }
            RescueStatus::RejectedOutOfArea | RescueStatus::NoShow | RescueStatus::Failed => {
                Some(Self::Failed)
            }
            RescueStatus::Requested
            | RescueStatus::Searching
            | RescueStatus::Accepted
            | RescueStatus::EnRoute
            | RescueStatus::OnScene
            | RescueStatus::Assisting
            | RescueStatus::Loading
            | RescueStatus::InTransit
            | RescueStatus::AtDropoff
            | RescueStatus::Escalated => None,
        }
    }
}

/// What is written down about each job while the crowd is out.
#[derive(Debug)]
pub(crate) struct Book {
    jobs: HashMap<JobId, Entry>,
    offer_ms: Histogram<u64>,
    assign_ms: Histogram<u64>,
    wait_ms: Histogram<u64>,
    command_ms: Histogram<u64>,
    refused: BTreeMap<String, u64>,
}

#[derive(Debug, Default)]
struct Entry {
    want: Option<Want>,
    rider: Option<RiderId>,
    /// When its rider should have asked for it.
    due: Option<Instant>,
    sent_at: Option<Instant>,
    acked_at: Option<Instant>,
    offered_at: Option<Instant>,
    assigned_at: Option<Instant>,
    ending: Option<Ending>,
    /// A driver's step that its rider has not been shown yet: the version it made, when it was due, and said.
    stepped: Option<(u64, [Instant; 2])>,
    /// What its rider was shown last, and when that was first.
    shown: Option<(u64, Instant)>,
    /// Up to this version, everything was read once more after it was acknowledged.
    looked: u64,
}

impl Entry {
    /// What its rider has waited for since it was due, and since it was first asked for: before the node had accepted it, so
    /// that no late answer makes the wait look shorter.
    fn waited(&self, op: Op, at: Instant) -> Option<Sample> {
        let due = self.due?;
        Some(Sample { op, due, said: self.sent_at.unwrap_or(due).min(at), at })
    }

    /// How long after its answer it was offered to somebody: a sample of 0, if the offer was quicker. A node that answers late
    /// does not look worse by this; see how long placing took.
    fn offered(&self) -> Option<Sample> {
        let (acked_at, offered_at) = (self.acked_at?, self.offered_at?);
        Some(Sample {
            op: Op::Offered,
            due: acked_at,
            said: acked_at,
            at: offered_at.max(acked_at),
        })
    }
}

impl Book {
    pub(crate) fn new() -> Self {
        let histogram = || Histogram::new(3).expect("three digits are allowed");
        Self {
            jobs: HashMap::new(),
            offer_ms: histogram(),
            assign_ms: histogram(),
            wait_ms: histogram(),
            command_ms: histogram(),
            refused: BTreeMap::new(),
        }
    }

    pub(crate) fn created(
        &mut self,
        job: JobId,
        by: RiderId,
        want: Want,
        [due, sent_at, now]: [Instant; 3],
    ) -> Vec<Sample> {
        let entry = self.jobs.entry(job).or_default();
        entry.want = Some(want);
        entry.rider = Some(by);
        entry.due = Some(due);
        entry.sent_at = Some(sent_at);
        let mut samples = Vec::new();
        if entry.acked_at.is_none() {
            entry.acked_at = Some(now);
            // The offer may have been quicker than the acknowledgement.
            if let Some(at) = entry.offered_at {
                self.offer_ms.saturating_record(1);
                samples.extend(entry.waited(Op::FirstOffer, at));
                samples.extend(entry.offered());
            }
            if let Some(at) = entry.assigned_at {
                self.assign_ms.saturating_record(1);
                record(&mut self.wait_ms, entry.sent_at, now);
                samples.extend(entry.waited(Op::DriverFound, at));
            }
        }
        samples
    }

    pub(crate) fn offered(&mut self, job: JobId, now: Instant) -> Vec<Sample> {
        let entry = self.jobs.entry(job).or_default();
        if entry.offered_at.is_some() {
            return Vec::new();
        }
        entry.offered_at = Some(now);
        record(&mut self.offer_ms, entry.acked_at, now);
        entry.waited(Op::FirstOffer, now).into_iter().chain(entry.offered()).collect()
    }

    pub(crate) fn assigned(&mut self, job: JobId, now: Instant) -> Option<Sample> {
        let entry = self.jobs.entry(job).or_default();
        if entry.assigned_at.is_some() {
            return None;
        }
        entry.assigned_at = Some(now);
        record(&mut self.assign_ms, entry.acked_at, now);
        record(&mut self.wait_ms, entry.sent_at, now);
        entry.waited(Op::DriverFound, now)
    }

    pub(crate) fn stepped(
        &mut self,
        job: JobId,
        version: u64,
        [due, said]: [Instant; 2],
    ) -> Option<Sample> {
        let entry = self.jobs.entry(job).or_default();
        match entry.shown {
            // The rider was quicker than the acknowledgement.
            Some((shown, at)) if shown == version => {
                Some(Sample { op: Op::Heard, due, said, at: at.max(said) })
            }
            Some((shown, _)) if shown > version => None,
            Some(_) | None => {
                entry.stepped = Some((version, [due, said]));
                None
            }
        }
    }

    pub(crate) fn shown(&mut self, job: JobId, version: u64, now: Instant) -> Option<Sample> {
        let entry = self.jobs.entry(job).or_default();
        if entry.shown.is_none_or(|(shown, _)| version > shown) {
            entry.shown = Some((version, now));
        }
        let (_, [due, said]) = entry.stepped.take_if(|(stepped, _)| *stepped <= version)?;
        Some(Sample { op: Op::Heard, due, said, at: now })
    }

    pub(crate) fn looked(&mut self, job: JobId, version: u64) {
        let entry = self.jobs.entry(job).or_default();
        entry.looked = entry.looked.max(version);
    }

    /// All jobs of this crowd, whose they are, and up to which version they were read once more.
    pub(crate) fn looked_at(&self) -> Vec<(JobId, RiderId, u64)> {
        let jobs = self.jobs.iter();
        jobs.filter_map(|(job, entry)| Some((*job, entry.rider?, entry.looked))).collect()
    }

    pub(crate) fn ended(&mut self, job: JobId, ending: Ending) {
        self.jobs.entry(job).or_default().ending = Some(ending);
    }

    pub(crate) fn answered(&mut self, after: Duration, refused: Option<Code>) {
        let after_ms = u64::try_from(after.as_millis()).unwrap_or(u64::MAX);
        self.command_ms.saturating_record(after_ms.max(1));
        if let Some(code) = refused {
            *self.refused.entry(code.to_string()).or_default() += 1;
        }
    }

    /// Rides, rescues and deliveries.
    pub(crate) fn outcomes(&self) -> [Outcomes; 3] {
        let mut all = [Outcomes::default(); 3];
        for entry in self.jobs.values() {
            let n = match entry.want {
                Some(Want::Order(OrderKind::Ride)) => &mut all[0],
                Some(Want::Rescue(_)) => &mut all[1],
                Some(Want::Order(OrderKind::Delivery | OrderKind::Commerce)) => &mut all[2],
                // Left from an earlier crowd.
                None => continue,
            };
            n.created += 1;
            n.assigned += u64::from(entry.assigned_at.is_some());
            match entry.ending {
                None => n.open += 1,
                Some(Ending::Completed) => n.completed += 1,
                Some(Ending::CancelledByRider) => {
                    n.cancelled += 1;
                    n.cancelled_by_rider += 1;
                }
                Some(Ending::CancelledByOthers) => n.cancelled += 1,
                Some(Ending::NoDriver) => n.no_driver += 1,
                Some(Ending::Failed) => n.failed += 1,
            }
        }
        all
    }

    pub(crate) fn assign_p50_ms(&self) -> f64 {
        quantiles(&self.assign_ms).p50
    }

    /// Everything in the book, as far as a report holds it.
    pub(crate) fn report(&self) -> Report {
        let [orders, rescues, deliveries] = self.outcomes();
        let report = Report {
            orders,
            rescues,
            deliveries,
            refused: self.refused.clone(),
            offer_ms: quantiles(&self.offer_ms),
            assign_ms: quantiles(&self.assign_ms),
            wait_ms: quantiles(&self.wait_ms),
            command_ms: quantiles(&self.command_ms),
            ..Report::default()
        };
        Report { satisfied: report.all().satisfied(), ..report }
    }
}

fn record(histogram: &mut Histogram<u64>, from: Option<Instant>, to: Instant) {
    if let Some(from) = from {
        let ms = to.saturating_duration_since(from).as_millis();
        histogram.saturating_record(u64::try_from(ms).unwrap_or(u64::MAX).max(1));
    }
}

fn quantiles(histogram: &Histogram<u64>) -> Quantiles {
    let at = |quantile| histogram.value_at_quantile(quantile) as f64;
    Quantiles {
        n: histogram.len(),
        p50: at(0.5),
        p90: at(0.9),
        p99: at(0.99),
        max: histogram.max() as f64,
    }
}

#[cfg(test)]
mod tests;
