//! What a driver holds: leases on offers, jobs, and the room they take.

use super::{Driver, ms, sight::PICKUP_M};
use crate::search;
use matching::card::Ending;
use protocol::{
    JobId, OfferId, OfferStatus, OrderId, Point, RunId, Timestamp,
    view::{Offer, RunStop, WorkKind},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How fast a driver gets nearer to where it goes, as the crow flies, in metres per second.
const CROW_MPS: f64 = 5.0;
/// How long a job may take to decide before it is asked again; twice as long each time.
const DECISION_MS: u32 = 3_000;
/// How often that time doubles.
const DOUBLINGS_MAX: u8 = 5;

/// Neighbouring slots of a vehicle. A ride or a rescue fills them all, a delivery takes one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slots {
    /// The lowest.
    pub first: u8,
    /// How many.
    pub n: u8,
}

impl Slots {
    /// The place of a job that begins when the one under way ends. It collides with no slot.
    pub const NEXT: Self = Self { first: search::NEXT_SLOT, n: 1 };

    /// Each of them.
    pub fn iter(self) -> impl Iterator<Item = u8> {
        (self.first..=u8::MAX).take(self.n.into())
    }
}

/// An offer and what has become of it so far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lease {
    /// The terms.
    pub offer: Offer,
    /// Must the driver say yes?
    pub consent: bool,
    /// May it displace other work?
    pub force: bool,
    /// Has the device shown it, as far as older builds wrote that down?
    pub is_seen: bool,
    /// Will it be taken as soon as there is room?
    pub is_promised: bool,
    /// How heavy each of its jobs is, in grams, in the order in which the offer names them; what is missing weighs nothing.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub weights_g: Vec<u32>,
}

impl Lease {
    pub(super) fn new(offer: Offer, consent: bool, force: bool) -> Self {
        let weights_g = Vec::new();
        Self { offer, consent, force, is_seen: false, is_promised: false, weights_g }
    }

    /// The orders of the run it is an offer of; none, if it is of one job.
    pub(super) fn orders(&self) -> Vec<OrderId> {
        self.offer.run.iter().flat_map(|run| run.orders.iter().map(|it| it.order)).collect()
    }

    /// What becomes of a yes to a run: a job for each of its orders.
    pub(super) fn into_jobs(self, slots: &[(OrderId, u8)], at: Timestamp) -> Vec<Job> {
        let Some(run) = self.offer.run.as_deref() else { return Vec::new() };
        let place = |it: &RunStop| it.at.at;
        let job = |(order, slot): &(OrderId, u8)| {
            let mut stops = run.stops.iter().filter(|it| it.order == *order);
            let (from, to) = (stops.next().map(place), stops.next().map(place));
            let nth = run.orders.iter().position(|it| it.order == *order);
            let weight_g = nth.and_then(|nth| self.weights_g.get(nth)).copied().unwrap_or(0);
            Job {
                id: (*order).into(),
                work: WorkKind::Delivery,
                slots: Slots { first: *slot, n: 1 },
                offer: Some(self.offer.id),
                way: from.zip(to).map(|(from, to)| Way { from, to }),
                phase: Phase::Committing {
                    since: at.max(self.offer.expires_at),
                    n_asked: 0,
                    is_rejectable: false,
                },
                run: Some(run.run),
                weight_g,
            }
        };
        slots.iter().map(job).collect()
    }

    pub(super) fn into_job(self, slots: Slots, at: Timestamp) -> Job {
        Job {
            run: None,
            id: self.offer.job,
            work: self.offer.work,
            slots,
            offer: Some(self.offer.id),
            way: self
                .offer
                .dropoff
                .as_ref()
                .map(|to| Way { from: self.offer.pickup.at, to: to.at }),
            phase: Phase::Committing {
                since: at.max(self.offer.expires_at),
                n_asked: 0,
                // Whoever was forced was asked by a person, and answers to that person.
                is_rejectable: !self.consent && !self.force,
            },
            weight_g: self.weights_g.first().copied().unwrap_or(0),
        }
    }
}

/// A job and how far it is the driver's.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Which.
    pub id: JobId,
    /// What it is.
    pub work: WorkKind,
    /// The room it takes.
    pub slots: Slots,
    /// The offer it came from; none for a job claimed from the feed.
    pub offer: Option<OfferId>,
    /// From where to where, if that is known.
    #[serde(default)]
    pub way: Option<Way>,
    /// How far.
    pub phase: Phase,
    /// The run it came with, if it came with others. Needs format 5.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// How heavy it is, in grams.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub weight_g: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

/// From where to where a job goes.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Way {
    /// Its first stop.
    pub from: Point,
    /// Its last.
    pub to: Point,
}

/// How far a job is a driver's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// The driver said yes and the job is deciding.
    Committing {
        /** Since when that takes too long, less the patience. */
        since: Timestamp,
        /** How often it was asked again. */
        n_asked: u8,
        /** May the driver give it back, not having been asked? */
        is_rejectable: bool,
    },
    /// It is the driver's.
    OnJob {
        /** Until when it can be given back. */
        rejects_until: Option<Timestamp>,
    },
    /// It was asked to find someone else.
    Leaving,
}

impl Job {
    pub(super) fn claimed(id: JobId, work: WorkKind, slots: Slots, at: Timestamp) -> Self {
        let phase = Phase::Committing { since: at, n_asked: 0, is_rejectable: false };
        Self { id, work, slots, offer: None, way: None, phase, run: None, weight_g: 0 }
    }

    /// Is the driver on it?
    pub fn is_current(&self) -> bool {
        match self.phase {
            Phase::OnJob { .. } | Phase::Leaving => true,
            Phase::Committing { .. } => false,
        }
    }

    /// Does it begin when another one ends?
    pub fn is_next(&self) -> bool {
        self.slots == Slots::NEXT
    }

    /// When it must be asked again whether it is the driver's.
    pub(super) fn asks_at(&self) -> Option<Timestamp> {
        match self.phase {
            Phase::Committing { since, n_asked, .. } => {
                Some(since + ms(DECISION_MS << n_asked.min(DOUBLINGS_MAX)))
            }
            Phase::OnJob { .. } | Phase::Leaving => None,
        }
    }

    pub(super) fn ask_again(&mut self, at: Timestamp) {
        if let Phase::Committing { since, n_asked, .. } = &mut self.phase {
            *since = at;
            *n_asked = n_asked.saturating_add(1);
        }
    }

    /// Makes it the driver's and returns the offer it came from.
    pub(super) fn commit(&mut self, at: Timestamp, reject_ms: u32) -> Option<OfferId> {
        let is_rejectable = matches!(self.phase, Phase::Committing { is_rejectable: true, .. });
        let rejects_until = is_rejectable.then(|| at + ms(reject_ms));
        self.phase = Phase::OnJob { rejects_until };
        self.offer
    }
}

impl Driver {
    /// The slots that one more job would get, if there is room for it.
    pub(super) fn room_for(&self, work: WorkKind) -> Option<Slots> {
        self.room_beside(None, work)
    }

    /// The same, as if it did not have the job `but`.
    pub(super) fn room_beside(&self, but: Option<JobId>, work: WorkKind) -> Option<Slots> {
        let n_slots = self.policy.deliveries_max.max(1);
        let mut jobs = self.jobs.iter().filter(|job| Some(job.id) != but);
        match work {
            WorkKind::Ride | WorkKind::Rescue => {
                jobs.next().is_none().then_some(Slots { first: 0, n: n_slots })
            }
            WorkKind::Delivery => {
                let is_shared = jobs.clone().all(|job| job.work == WorkKind::Delivery);
                let is_taken = |slot: u8| jobs.clone().any(|job| job.slots.first == slot);
                let lowest = (0..n_slots).find(|slot| !is_taken(*slot))?;
                is_shared.then_some(Slots { first: lowest, n: 1 })
            }
        }
    }

    /// The slots that so many more deliveries would get, each one; fewer, if there is no room for all of them.
    pub(super) fn rooms_for(&self, n: usize) -> Vec<u8> {
        let is_shared = self.jobs.iter().all(|job| job.work == WorkKind::Delivery);
        let is_free = |slot: &u8| is_shared && self.jobs.iter().all(|job| job.slots.first != *slot);
        (0..self.policy.deliveries_max.max(1)).filter(is_free).take(n).collect()
    }

    /// How heavy its deliveries are, but for the job `but`, in grams. Other work is alone in its vehicle, and what comes
    /// after it begins with an empty one.
    pub(super) fn load_g(&self, but: Option<JobId>) -> u32 {
        let is_load = |job: &&Job| job.work == WorkKind::Delivery && Some(job.id) != but;
        let loads = self.jobs.iter().filter(is_load).map(|job| job.weight_g);
        loads.fold(0, u32::saturating_add)
    }

    /// The same of all that is not of that run; of all, if there is none.
    pub(super) fn load_beside_g(&self, run: Option<RunId>) -> u32 {
        let is_load =
            |job: &&Job| job.work == WorkKind::Delivery && (run.is_none() || job.run != run);
        let loads = self.jobs.iter().filter(is_load).map(|job| job.weight_g);
        loads.fold(0, u32::saturating_add)
    }

    /// Can it carry that, beside all that it has and that is not of the run it goes with?
    pub(super) fn can_load(&self, work: WorkKind, weight_g: u32, run: Option<RunId>) -> bool {
        work != WorkKind::Delivery || weight_g <= self.room_beside_g(run)
    }

    /// The run it is on, or said yes to.
    pub(super) fn run(&self) -> Option<RunId> {
        self.jobs.iter().find_map(|job| job.run)
    }

    /// The slots that one more job would get: at once, or after a ride that is nearly over.
    pub(super) fn room_soon(&self, work: WorkKind) -> Option<Slots> {
        let may_wait = work != WorkKind::Rescue && self.is_nearly_free();
        self.room_for(work).or(may_wait.then_some(Slots::NEXT))
    }

    /// Is its only job a ride whose rider is on board and nearly there?
    pub(super) fn is_nearly_free(&self) -> bool {
        let [job] = self.jobs.as_slice() else { return false };
        let (Some(way), Some(position)) = (job.way, self.soft.position()) else { return false };
        let is_under_way = job.work == WorkKind::Ride
            && matches!(job.phase, Phase::OnJob { .. })
            && self.soft.was_at_pickup_of(job.id);
        let left_m = position.at.distance_m(way.to);
        let forward_m = self.policy.forward_m;
        is_under_way && forward_m > 0 && left_m <= f64::from(forward_m)
    }

    /// Does it bring deliveries, with nothing left to fetch? As far as is known of the one that it took on last: it has
    /// been where that begins, and has left.
    pub(super) fn is_bringing(&self, at: Point) -> bool {
        let Some(job) = self.jobs.last().filter(|job| job.work == WorkKind::Delivery) else {
            return false;
        };
        let has_left = job.way.is_some_and(|way| at.distance_m(way.from) > PICKUP_M);
        has_left && self.soft.was_at_pickup_of(job.id)
    }

    /// Where and when all that it does will have ended: a ride that is nearly over, or deliveries, one after the other as it
    /// took them on. None if that is not to be foreseen, or nobody knows where one of them leads; and none for who is on a
    /// run, which plans that itself.
    pub(super) fn ending(&self, at: Point, seen_at: Timestamp) -> Option<Ending> {
        let last = self.jobs.last()?;
        let is_shared = self.jobs.iter().all(|job| job.work == WorkKind::Delivery);
        if self.run().is_some() || !(is_shared || self.is_nearly_free()) {
            return None;
        }
        let (mut here, mut left_m) = (at, 0.0);
        for job in &self.jobs {
            let way = job.way?;
            // Where it was is remembered of one pickup only: those before the last count as over.
            if job.id == last.id && !self.soft.was_at_pickup_of(job.id) {
                left_m += here.distance_m(way.from);
                here = way.from;
            }
            left_m += here.distance_m(way.to);
            here = way.to;
        }
        Some(Ending { at: here, due: seen_at + Duration::from_secs_f64(left_m / CROW_MPS) })
    }

    pub(super) fn job(&self, id: JobId) -> Option<&Job> {
        self.jobs.iter().find(|job| job.id == id)
    }

    pub(super) fn lease(&self, offer: OfferId) -> Option<&Lease> {
        self.leases.iter().find(|lease| lease.offer.id == offer)
    }

    pub(super) fn job_mut(&mut self, id: JobId) -> &mut Job {
        self.jobs.iter_mut().find(|job| job.id == id).expect("events name jobs the driver has")
    }

    pub(super) fn lease_mut(&mut self, offer: OfferId) -> &mut Lease {
        self.leases
            .iter_mut()
            .find(|lease| lease.offer.id == offer)
            .expect("events name leases the driver has")
    }

    pub(super) fn end_lease(&mut self, offer: OfferId, status: OfferStatus) -> Lease {
        let index = self
            .leases
            .iter()
            .position(|lease| lease.offer.id == offer)
            .expect("events name leases the driver has");
        self.say_ended(Some(offer), status);
        let lease = self.leases.remove(index);
        self.leases.shrink_to_fit();
        lease
    }

    /// Removes a job and returns the offer it came from.
    pub(super) fn end_job(&mut self, id: JobId, at: Timestamp) -> Option<OfferId> {
        let index =
            self.jobs.iter().position(|job| job.id == id).expect("events name jobs the driver has");
        let did = self.doing();
        let job = self.jobs.remove(index);
        self.changed_at = at;
        if self.jobs.is_empty() {
            self.soft.is_idle_from(at);
            self.idle_since = at;
        }
        // On a break a rest begins when the last job ends.
        self.follow_hours(did, at);
        job.offer
    }
}
