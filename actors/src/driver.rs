//! Someone who performs jobs: whether they want work, whether they can be reached, and what they
//! hold.
//!
//! Three parts move independently, and nobody sets the public status directly:
//!
//! ```text
//! duty   Off ──► On ◄──► Break          On, Break ──► Draining ──► Off   (a suspension drains too)
//! link   Live ──► Stale ──► Lost        each ──► Live on the next sign of life
//! load   lease ──► Committing ──► OnJob ──► (ended)      OnJob ──► Leaving ──► (ended) or OnJob
//! ```
//!
//! The driver reserves, the job judges: an accepted offer is `Committing` until its job says whether
//! it came in time, and only then is the driver on it.

mod doubt;
mod fatigue;
mod grants;
mod load;
mod rota;
mod rules;
mod sight;
mod unfit;
mod words;

#[cfg(test)]
mod tests;

pub use load::{Job, Lease, Phase, Slots, Way};
pub use unfit::Asks;
pub use words::{Command, Event, Sighting, Wants};

use crate::{
    Card, Claim, Context, Decider, DriverCard, Effect, Format, Kind, Listing, Refusal, Seen, Sight,
    Tell, Topic, ViewRow,
    policy::{DriverPolicy, Shifts},
    run,
    search::{self, Brings, FLEETS},
};
use fatigue::Hours;
use matching::Standing;
use protocol::{
    DriverId, DriverStatus, DutyStatus, JobId, OfferId, OfferStatus, PartnerId, Point, RescueId,
    RunId, Timestamp,
    view::{DriverView, Grant, Hint, Mark, OffShift, Offer, Rates, WorkKind},
    work::Vehicle,
};
use rota::Rota;
use serde::{Deserialize, Serialize};
use sight::Soft;
use std::{sync::Arc, time::Duration};
use uuid::Uuid;

/// How many offers that have ended are remembered, to say how when the driver answers too late.
const ENDED_MAX: usize = 4;
/// What it takes to know that staff vouch for skills, and that a driver is told that it takes no offers.
pub const GRANTS: Format = Format(8);
/// What it takes to know that staff say when a driver is to work.
pub const SHIFTS: Format = Format(10);
/// What it takes to know that a driver is told that it has worked for long, and that only what was lately counts.
pub const HOURS: Format = Format(11);
/// How long an off-duty driver stays in memory.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// How many jobs make whoever took them more experienced, level by level.
const LEVELS: [u32; Standing::LEVEL_MAX as usize] = [10, 50, 200, 1_000, 5_000];

/// Why a driver rests.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Break {
    /// It wanted to.
    Wanted,
    /// It left too many offers unanswered.
    Silent,
    /// It has worked as long as it may.
    Fatigue,
}

/// Why a driver leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Leave {
    /// It wanted to.
    Wanted,
    /// It was not heard of for too long.
    Lost,
    /// It may not work.
    Suspended,
    /// Its shift is over. Needs format 10.
    ShiftOver,
}

/// Whether a driver wants work.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, strum::Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Duty {
    /// No.
    #[default]
    Off,
    /// Yes.
    On,
    /// Not now.
    Break(Break),
    /// Only what it has.
    Draining(Leave),
}

/// Whether a driver can be reached.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Link {
    /// As far as anyone knows.
    #[default]
    Live,
    /// Silent for `stale_ms`.
    Stale,
    /// Silent for `lost_ms` while it had jobs.
    Lost,
}

/// Why, and how strictly, a driver may not work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ban {
    /// Why.
    pub reason: String,
    /// Also from the jobs it has?
    pub reassign: bool,
}

/// What a driver has made of its offers and jobs so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Offers it was made.
    pub n_offered: u32,
    /// Of these, taken.
    pub n_accepted: u32,
    /// Of these, declined.
    pub n_declined: u32,
    /// Of these, not answered.
    pub n_ignored: u32,
    /// Jobs that were rated.
    pub n_rated: u32,
    /// All their stars.
    pub stars: u32,
    /// The last one rated.
    pub last_rated: Option<JobId>,
}

impl Record {
    /// Mean rating in hundredths of a star; 500 if unrated.
    pub fn rating(&self) -> u16 {
        match self.n_rated {
            0 => 500,
            n => (u64::from(self.stars) * 100 / u64::from(n)) as u16,
        }
    }

    /// How many of a hundred offers it takes. One of whom little is known counts as one who takes nine of ten.
    pub fn acceptance(&self) -> u8 {
        let n_answered = [self.n_accepted, self.n_declined, self.n_ignored].map(u64::from);
        ((u64::from(self.n_accepted) + 9) * 100 / (n_answered.iter().sum::<u64>() + 10)) as u8
    }

    /// How experienced it is: by how many jobs it took.
    pub fn level(&self) -> u8 {
        LEVELS.partition_point(|n| *n <= self.n_accepted) as u8
    }
}

/// A better place to wait, and when the driver was told of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Hinted {
    at: Timestamp,
    to: Point,
    until: Timestamp,
    /// It has had something else to do since.
    is_over: bool,
}

/// A driver, as far as its rules care.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Driver {
    /// When something last happened to it; zero for a driver nobody has heard of.
    changed_at: Timestamp,
    duty: Duty,
    link: Link,
    ban: Option<Box<Ban>>,
    /// The help it waits for.
    #[serde(default)]
    stranded: Option<RescueId>,
    #[serde(with = "shared")]
    vehicle: Option<Arc<Vehicle>>,
    policy: DriverPolicy,
    jobs: Vec<Job>,
    leases: Vec<Lease>,
    /// How the last offers ended, oldest first.
    ended: Vec<(OfferId, OfferStatus)>,
    hours: Hours,
    /// Since when it has had nothing to do.
    idle_since: Timestamp,
    /// Offers left unanswered in a row.
    n_silent: u8,
    /// Offers declined or left unanswered since it last took one, or began or went on with its shift.
    #[serde(default)]
    n_unwanted: u8,
    /// Was it told of them?
    #[serde(default)]
    is_unwanted_told: bool,
    record: Record,
    /// It wants only jobs that lead there.
    #[serde(default)]
    destination: Option<Point>,
    /// Whose fleet it drives for, if it does for any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    fleet: Option<PartnerId>,
    /// Where it had better wait, and when it was told so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    hint: Option<Box<Hinted>>,
    /// The skills that staff vouch for; what is over is forgotten with the next one.
    #[serde(default, skip_serializing_if = "<[Grant]>::is_empty")]
    grants: Box<[Grant]>,
    /// When it is to work, if anybody ever said so.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rota: Option<Box<Rota>>,
    #[serde(skip)]
    soft: Soft,
}

impl Decider for Driver {
    const KIND: Kind = Kind::Driver;
    type Id = DriverId;
    type Command = Command;
    type Event = Event;
    type Sighting = Sighting;
    type Soft = Soft;

    fn decide(
        &self,
        command: &Command,
        context: &Context<DriverId>,
    ) -> Result<Vec<Event>, Refusal> {
        rules::decide(self, command, context)
    }

    fn evolve(&mut self, event: &Event) {
        match event {
            Event::WentOn { at, vehicle, policy } => {
                self.policy = *policy;
                self.vehicle = Some(Arc::new(vehicle.clone()));
                self.change_duty(Duty::On, *at);
                self.link = Link::Live;
                self.n_silent = 0;
                self.wants_offers_again();
                self.idle_since = *at;
                self.comes_to_shift(*at);
                self.heard(*at);
            }
            Event::Resumed { at, vehicle } => {
                self.vehicle = Some(Arc::new(vehicle.clone()));
                self.change_duty(Duty::On, *at);
                self.n_silent = 0;
                self.wants_offers_again();
                self.comes_to_shift(*at);
                self.heard(*at);
            }
            Event::BreakStarted { at, why } => {
                self.change_duty(Duty::Break(*why), *at);
                if *why == Break::Fatigue {
                    self.hours.owe_rest();
                }
                self.changed_at = *at;
            }
            Event::Draining { at, why } => {
                self.change_duty(Duty::Draining(*why), *at);
                self.changed_at = *at;
            }
            Event::WentOff { at, .. } => {
                self.change_duty(Duty::Off, *at);
                self.link = Link::Live;
                self.soft.forget();
                self.destination = None;
                self.forget_hint();
                if let Some(rota) = &mut self.rota {
                    rota.goes(*at);
                }
                self.changed_at = *at;
            }
            Event::OfferReserved { at, offer, consent, force, weights_g } => {
                // Most drivers hold one at most, and there are many drivers.
                self.leases.reserve_exact(1);
                let lease = Lease::new(offer.clone(), *consent, *force);
                self.leases.push(Lease { weights_g: weights_g.clone(), ..lease });
                self.record.n_offered += 1;
                self.changed_at = *at;
            }
            Event::OfferSeen { at, offer } => {
                self.lease_mut(*offer).is_seen = true;
                self.heard(*at);
            }
            Event::OfferDeclined { at, offer } => {
                self.end_lease(*offer, OfferStatus::Declined);
                self.record.n_declined += 1;
                self.n_silent = 0;
                self.n_unwanted = self.n_unwanted.saturating_add(1);
                self.heard(*at);
            }
            Event::OfferDropped { at, offer, .. } => {
                self.end_lease(*offer, OfferStatus::Withdrawn);
                self.changed_at = *at;
            }
            Event::OfferEnded { at, offer, status } => {
                self.end_lease(*offer, *status);
                if *status == OfferStatus::Expired {
                    self.record.n_ignored += 1;
                    self.n_silent = self.n_silent.saturating_add(1);
                    self.n_unwanted = self.n_unwanted.saturating_add(1);
                }
                self.changed_at = *at;
            }
            Event::OfferPromised { at, offer } => {
                self.lease_mut(*offer).is_promised = true;
                self.changed_at = *at;
            }
            Event::OfferAccepted { at, offer, slots } => {
                let lease = self.end_lease(*offer, OfferStatus::Accepting);
                self.take_on([lease.into_job(*slots, *at)], *at);
                self.soft.is_busy_from(*at);
                self.forget_hint();
                self.record.n_accepted += 1;
                self.n_silent = 0;
                self.wants_offers_again();
                self.changed_at = *at;
            }
            Event::RunAccepted { at, offer, slots } => {
                let lease = self.end_lease(*offer, OfferStatus::Accepting);
                self.take_on(lease.into_jobs(slots, *at), *at);
                self.soft.is_busy_from(*at);
                self.forget_hint();
                self.record.n_accepted += 1;
                self.n_silent = 0;
                self.wants_offers_again();
                self.changed_at = *at;
            }
            Event::JobClaimed { at, job, work, slots, weight_g } => {
                let job = Job::claimed(*job, *work, *slots, *at);
                self.take_on([Job { weight_g: *weight_g, ..job }], *at);
                self.soft.is_busy_from(*at);
                self.forget_hint();
                self.n_silent = 0;
                self.wants_offers_again();
                self.heard(*at);
            }
            Event::JobAsked { at, job } => {
                self.job_mut(*job).ask_again(*at);
                self.changed_at = *at;
            }
            Event::JobCommitted { at, job } => {
                let reject_ms = self.policy.reject_ms;
                let offer = self.job_mut(*job).commit(*at, reject_ms);
                if self.jobs.len() == 1 {
                    self.soft.sets_out(*job, *at);
                }
                self.say_ended(offer, OfferStatus::Accepted);
                self.changed_at = *at;
            }
            Event::NextStarted { at, job, slots } => {
                self.job_mut(*job).slots = *slots;
                self.soft.sets_out(*job, *at);
                self.changed_at = *at;
            }
            Event::DestinationSet { at, to } => {
                self.destination = *to;
                self.heard(*at);
            }
            Event::JobAborted { at, job, .. } => {
                let offer = self.end_job(*job, *at);
                self.say_ended(offer, OfferStatus::Lost);
            }
            Event::JobLeft { at, job, .. } => {
                self.job_mut(*job).phase = Phase::Leaving;
                self.changed_at = *at;
            }
            Event::JobKept { at, job } => {
                self.job_mut(*job).phase = Phase::OnJob { rejects_until: None };
                self.changed_at = *at;
            }
            Event::JobEnded { at, job, .. } => {
                self.end_job(*job, *at);
            }
            Event::WentStale { at } => {
                self.link = Link::Stale;
                self.changed_at = *at;
            }
            Event::WentLost { at } => {
                self.link = Link::Lost;
                self.changed_at = *at;
            }
            Event::Recovered { at } => {
                self.link = Link::Live;
                self.heard(*at);
            }
            Event::Stranded { at, rescue } => {
                self.stranded = Some(*rescue);
                self.changed_at = *at;
            }
            Event::Unstranded { at } => {
                self.stranded = None;
                self.may_come_again(*at);
                self.changed_at = *at;
            }
            Event::Suspended { at, reason, reassign } => {
                self.ban = Some(Box::new(Ban { reason: reason.clone(), reassign: *reassign }));
                self.changed_at = *at;
            }
            Event::Reinstated { at } => {
                self.ban = None;
                self.may_come_again(*at);
                self.changed_at = *at;
            }
            Event::Hinted { at, to, until } => {
                let (at, to, until) = (*at, *to, *until);
                self.hint = Some(Box::new(Hinted { at, to, until, is_over: false }));
                self.changed_at = at;
            }
            Event::FleetSet { at, fleet, .. } => {
                self.fleet = *fleet;
                self.changed_at = *at;
            }
            Event::SkillGranted { at, skill, until, .. } => {
                let granted = Grant { skill: skill.clone(), until: *until };
                let others = self.grants_beside(skill, *at).cloned();
                self.grants = others.chain([granted]).collect();
                self.changed_at = *at;
            }
            Event::SkillRevoked { at, skill, .. } => {
                let others = self.grants.iter().filter(|it| it.skill != *skill);
                self.grants = others.cloned().collect();
                self.changed_at = *at;
            }
            Event::ShiftsSet { at, shifts, grace_s, .. } => {
                let grace = Duration::from_secs((*grace_s).into());
                self.rota.get_or_insert_default().set(*at, shifts, grace);
                self.changed_at = *at;
            }
            Event::ShiftMissed { at, start, .. } => {
                self.rota.get_or_insert_default().miss(*start);
                self.changed_at = *at;
            }
            Event::OffShiftAllowed { at, until, reason, .. } => {
                let off_shift = OffShift { until: *until, reason: reason.clone() };
                self.rota.get_or_insert_default().allow_off_shift(Some(off_shift));
                self.changed_at = *at;
            }
            Event::OffShiftRevoked { at, .. } => {
                self.rota.get_or_insert_default().allow_off_shift(None);
                self.changed_at = *at;
            }
            Event::UnwantedTold { at, .. } => {
                self.is_unwanted_told = true;
                self.changed_at = *at;
            }
            Event::HoursTold { at, .. } => {
                self.hours.tell();
                self.changed_at = *at;
            }
            Event::Messaged { at, .. } => self.changed_at = *at,
            Event::Rated { at, job, stars } => {
                self.record.n_rated += 1;
                self.record.stars += u32::from(*stars);
                self.record.last_rated = Some(*job);
                self.changed_at = *at;
            }
        }
    }

    fn effects(&self, id: DriverId, event: &Event) -> Vec<Effect> {
        use search::Command as ToJob;
        match event {
            // Builds that wrote it down told of it so. To a run it makes no difference.
            Event::OfferSeen { offer, .. } => {
                self.tell_about(*offer, ToJob::OfferSeen { offer: *offer }, None)
            }
            Event::OfferDeclined { offer, .. } => {
                let run = run::Command::DeclineOffer { offer: *offer };
                self.tell_about(*offer, ToJob::OfferDeclined { offer: *offer }, Some(run))
            }
            Event::OfferDropped { offer, reason, .. } => {
                let run = run::Command::RefuseOffer { offer: *offer, why: reason.clone() };
                let why = Some(reason.clone());
                self.tell_about(*offer, ToJob::OfferRefused { offer: *offer, why }, Some(run))
            }
            Event::RunAccepted { offer, slots, .. } => {
                let run = self.lease(*offer).and_then(|lease| lease.offer.run.as_ref());
                let told = run.map(|it| {
                    let (offer, slots) = (*offer, slots.clone());
                    let accept = run::Command::AcceptOffer { offer, driver: id, slots };
                    let reason = "the run goes on without the driver, or is over".to_owned();
                    let abort =
                        Tell::Driver { to: id, command: Command::AbortRun { offer, reason } };
                    Effect::from(Tell::Run { to: it.run, command: accept }).if_refused(abort)
                });
                told.into_iter().collect()
            }
            Event::OfferAccepted { offer, slots, .. } => self
                .lease(*offer)
                .map(|lease| {
                    let told = ToJob::OfferAccepted {
                        offer: *offer,
                        driver: id,
                        slots: slots.iter().collect(),
                    };
                    or_abort(id, lease.offer.job, Some(*offer), told)
                })
                .into_iter()
                .collect(),
            Event::JobClaimed { at, job, slots, .. } => {
                let claim = self.claim_of(id, *job, slots.iter().collect(), *at);
                vec![or_abort(id, *job, None, claim)]
            }
            Event::JobAsked { at, job } => self
                .job(*job)
                .map(|it| {
                    if let (Some(to), JobId::Order(order), Some(offer)) = (it.run, *job, it.offer) {
                        let slots = vec![(order, it.slots.first)];
                        let command = run::Command::AcceptOffer { offer, driver: id, slots };
                        return abort_if_refused(id, *job, it.offer, Tell::Run { to, command });
                    }
                    let slots = it.slots.iter().collect();
                    let told = match it.offer {
                        Some(offer) => ToJob::OfferAccepted { offer, driver: id, slots },
                        None => self.claim_of(id, *job, slots, *at),
                    };
                    or_abort(id, *job, it.offer, told)
                })
                .into_iter()
                .collect(),
            Event::JobLeft { job, reason, .. } => {
                let lost = ToJob::DriverLost { driver: id, reason: reason.clone() };
                let keep = Tell::Driver { to: id, command: Command::KeepJob { job: *job } };
                vec![Effect::from(Tell::job(*job, lost)).if_refused(keep)]
            }
            // A run that could not take the yes need not wait until its offer ends by itself.
            Event::JobAborted { job, reason, .. } => {
                let refused = self.job(*job).and_then(|it| {
                    let (to, offer, why) = (it.run?, it.offer?, reason.clone());
                    Some(Tell::Run { to, command: run::Command::RefuseOffer { offer, why } })
                });
                refused.into_iter().map(Effect::from).collect()
            }
            Event::NextStarted { job, slots, .. } => {
                let settle = ToJob::Settle { driver: id, slots: slots.iter().collect() };
                vec![Tell::job(*job, settle).into()]
            }
            Event::WentOn { .. }
            | Event::DestinationSet { .. }
            | Event::Resumed { .. }
            | Event::BreakStarted { .. }
            | Event::Draining { .. }
            | Event::WentOff { .. }
            | Event::OfferReserved { .. }
            | Event::OfferEnded { .. }
            | Event::OfferPromised { .. }
            | Event::JobCommitted { .. }
            | Event::JobKept { .. }
            | Event::JobEnded { .. }
            | Event::WentStale { .. }
            | Event::WentLost { .. }
            | Event::Recovered { .. }
            | Event::Stranded { .. }
            | Event::Unstranded { .. }
            | Event::Suspended { .. }
            | Event::Reinstated { .. }
            | Event::Hinted { .. }
            | Event::FleetSet { .. }
            | Event::SkillGranted { .. }
            | Event::SkillRevoked { .. }
            | Event::ShiftsSet { .. }
            | Event::ShiftMissed { .. }
            | Event::OffShiftAllowed { .. }
            | Event::OffShiftRevoked { .. }
            | Event::UnwantedTold { .. }
            | Event::HoursTold { .. }
            | Event::Messaged { .. }
            | Event::Rated { .. } => Vec::new(),
        }
    }

    fn deadline(&self) -> Option<(Timestamp, Command)> {
        let leases = self.leases.iter().map(|lease| lease.offer.expires_at);
        let asks = self.jobs.iter().filter_map(Job::asks_at);
        leases
            .chain(asks)
            .chain(self.silence_due())
            .chain(self.long_due())
            .chain(self.fatigue_due())
            .chain(self.shift_over_due())
            .chain(self.no_show_due())
            .min()
            .map(|due| (due, Command::Tick {}))
    }

    /// None: the jobs hold the claims on a driver's slots.
    fn claims(&self, _id: DriverId) -> Vec<Claim> {
        Vec::new()
    }

    fn listing(&self, id: DriverId) -> Option<Listing> {
        let is_open = self.duty == Duty::On
            && self.link == Link::Live
            && self.blocked().is_none()
            && self.leases.len() < usize::from(self.policy.parallel_offers)
            && !self.leases.iter().any(|lease| lease.is_promised);
        let has_delivery_slot = self.room_for(WorkKind::Delivery).is_some();
        let is_nearly_free = self.is_nearly_free();
        if !is_open || !(has_delivery_slot || is_nearly_free) {
            return None;
        }
        let shown = self.soft.shown()?;
        // What is granted until a moment goes on counting here until the next position is shown.
        let vehicle = self.brings(shown.seen_at)?;
        let ending = self.ending(shown.at, shown.seen_at);
        Some(Listing {
            region: shown.region,
            card: Card::Driver(DriverCard {
                id,
                at: shown.at,
                seen_at: shown.seen_at,
                vehicle,
                is_free: self.jobs.is_empty(),
                has_delivery_slot,
                is_nearly_free,
                is_bringing: ending.is_some() && self.is_bringing(shown.at),
                destination: self.destination,
                idle_since: self.idle_since,
                rating: self.record.rating(),
                ending,
                fleet: self.fleet,
                takes_hints: self.policy.hints_every_ms > 0,
                n_slots: u8::try_from(self.n_rooms()).unwrap_or(u8::MAX),
                load_g: self.load_g(None),
                standing: self.standing(shown.seen_at, shown.heading_deg),
                came: self.soft.came().cloned(),
            }),
        })
    }

    fn view(&self, id: DriverId) -> Option<ViewRow> {
        (self.changed_at > Timestamp::default()).then(|| ViewRow {
            status: self.duty_status().to_string(),
            rider: None,
            driver: Some(id),
            at: self.hours.since(),
            body: serde_json::json!({
                "vehicle": self.vehicle.as_ref().map(|vehicle| vehicle.kind),
                "blocked": self.blocked(),
                "fleet": self.fleet,
                "rating": self.record.rating(),
            }),
        })
    }

    fn mark(&self, id: DriverId) -> Option<Mark> {
        let position = self.soft.position()?;
        (self.duty != Duty::Off).then(|| Mark::Driver {
            id,
            at: position.at,
            status: self.status(),
            jobs: self.current_jobs(),
            vehicle: self.vehicle.as_ref().map(|vehicle| vehicle.kind),
            doubted: self.soft.is_doubted(self.known_at()),
            tired: self.is_tired() && !self.has_rested(),
        })
    }

    fn see(&mut self, sighting: &Sighting, context: &Context<DriverId>) -> Seen<Command> {
        sight::see(self, sighting, context)
    }

    /// Of whoever is not heard of nobody knows when it comes.
    fn shows(&self, id: DriverId, event: &Event) -> Vec<Sight> {
        let is_silent = matches!(event, Event::WentStale { .. });
        if is_silent { self.expected_no_more(id).collect() } else { Vec::new() }
    }

    /// A restarted node has heard of nobody: each driver gets the full time to report.
    fn wake(&mut self, now: Timestamp) {
        self.soft = Soft::default();
        self.soft.heard(now);
    }

    fn soft(&self) -> Soft {
        self.soft.clone()
    }

    fn recall(&mut self, soft: Soft) {
        self.soft = soft;
    }

    fn topic(sighting: &Sighting) -> Topic {
        match sighting {
            Sighting::At(_) => Topic(0, Uuid::nil()),
            Sighting::Heartbeat => Topic(1, Uuid::nil()),
            Sighting::MadeUp => Topic(2, Uuid::nil()),
            Sighting::Doubted { .. } => Topic(3, Uuid::nil()),
        }
    }

    fn is_worth_seeing(sighting: &Sighting) -> bool {
        match sighting {
            Sighting::At(_) | Sighting::Doubted { .. } => true,
            // What follows from silence is told by events.
            Sighting::Heartbeat | Sighting::MadeUp => false,
        }
    }

    fn idle_max(&self) -> Option<Duration> {
        (self.duty == Duty::Off).then_some(IDLE_MAX)
    }

    fn command_format(command: &Command) -> Format {
        if let Command::ReserveOffer { offer, .. } = command
            && offer.run.is_some()
        {
            return run::KNOWN;
        }
        if let Command::AbortRun { .. } | Command::Message { .. } = command {
            return run::KNOWN;
        }
        if let Command::GrantSkill { .. } | Command::RevokeSkill { .. } = command {
            return GRANTS;
        }
        if let Command::SetShifts { .. }
        | Command::AllowOffShift { .. }
        | Command::RevokeOffShift { .. } = command
        {
            return SHIFTS;
        }
        let is_new = matches!(command, Command::SetFleet { .. } | Command::Hint { .. });
        if is_new { FLEETS } else { Format::FIRST }
    }

    fn event_format(event: &Event) -> Format {
        let came_with_runs = if let Event::OfferReserved { offer, .. } = event {
            offer.run.is_some()
        } else {
            matches!(event, Event::RunAccepted { .. } | Event::Messaged { .. })
        };
        if came_with_runs {
            return run::KNOWN;
        }
        let came_with_hours = if let Event::WentOn { policy, .. } = event {
            policy.duty_told_ms > 0 || policy.duty_within_ms > 0
        } else {
            matches!(event, Event::HoursTold { .. })
        };
        if came_with_hours {
            return HOURS;
        }
        let came_with_shifts = if let Event::WentOn { policy, .. } = event {
            policy.shifts != Shifts::Off
        } else if let Event::Draining { why, .. } | Event::WentOff { why, .. } = event {
            *why == Leave::ShiftOver
        } else {
            matches!(
                event,
                Event::ShiftsSet { .. }
                    | Event::ShiftMissed { .. }
                    | Event::OffShiftAllowed { .. }
                    | Event::OffShiftRevoked { .. }
            )
        };
        if came_with_shifts {
            return SHIFTS;
        }
        let came_with_grants = if let Event::WentOn { policy, .. } = event {
            policy.self_declared.is_some()
        } else {
            matches!(
                event,
                Event::SkillGranted { .. }
                    | Event::SkillRevoked { .. }
                    | Event::UnwantedTold { .. }
            )
        };
        if came_with_grants {
            return GRANTS;
        }
        let is_new = if let Event::WentOn { policy, .. } = event {
            policy.hints_every_ms > 0
        } else {
            matches!(event, Event::FleetSet { .. } | Event::Hinted { .. })
        };
        if is_new { FLEETS } else { Format::FIRST }
    }

    fn command_name(command: &Command) -> &'static str {
        command.into()
    }

    /// When an offer was seen its job keeps: here that would cost a commit, and change nothing. To a run it makes no
    /// difference.
    fn passes_on(&self, command: &Command) -> Option<Tell> {
        let Command::SeeOffer { offer } = command else { return None };
        let seen = search::Command::OfferSeen { offer: *offer };
        self.tell_about(*offer, seen, None).pop().map(|effect| effect.tell)
    }

    fn comes_first(event: &Event) -> bool {
        matches!(
            event,
            Event::OfferReserved { .. } | Event::OfferAccepted { .. } | Event::RunAccepted { .. }
        )
    }

    fn event_name(event: &Event) -> &'static str {
        if let Event::WentOff { why: Leave::Lost, .. } = event {
            return "forced_offline";
        }
        event.into()
    }
}

/// Tells a job that the driver wants it, and the driver if it may not have it.
fn or_abort(id: DriverId, job: JobId, offer: Option<OfferId>, told: search::Command) -> Effect {
    abort_if_refused(id, job, offer, Tell::job(job, told))
}

fn abort_if_refused(id: DriverId, job: JobId, offer: Option<OfferId>, told: Tell) -> Effect {
    let reason = "the job went to someone else, or is over".to_owned();
    let abort = Tell::Driver { to: id, command: Command::AbortJob { job, offer, reason } };
    Effect::from(told).if_refused(abort)
}

impl Driver {
    /// Its claim of a job from the feed, with what it brings then: the job judges that.
    fn claim_of(&self, id: DriverId, job: JobId, slots: Vec<u8>, at: Timestamp) -> search::Command {
        let brings = self.brings(at).map(|vehicle| {
            let load_g = self.load_g(Some(job));
            Box::new(Brings { vehicle: Arc::unwrap_or_clone(vehicle), load_g })
        });
        search::Command::Claim { driver: id, slots, fleet: self.fleet, brings }
    }

    /// Whether it can be given work, as everyone is told.
    pub fn status(&self) -> DriverStatus {
        match self.duty_status() {
            DutyStatus::Blocked => DriverStatus::Blocked,
            DutyStatus::Offline => DriverStatus::Offline,
            DutyStatus::Unreachable => DriverStatus::Unreachable,
            DutyStatus::OnBreak => DriverStatus::OnBreak,
            DutyStatus::Leaving | DutyStatus::OnDuty if !self.leases.is_empty() => {
                DriverStatus::Offered
            }
            DutyStatus::Leaving => DriverStatus::Busy,
            DutyStatus::OnDuty => match self.room_for(WorkKind::Delivery) {
                None => DriverStatus::Busy,
                Some(_) if self.jobs.is_empty() => DriverStatus::Available,
                Some(_) => DriverStatus::PartlyBusy,
            },
        }
    }

    /// What it means to do.
    pub fn duty_status(&self) -> DutyStatus {
        if self.stranded.is_some() || self.ban.is_some() && self.jobs.is_empty() {
            return DutyStatus::Blocked;
        }
        match (self.duty, self.link) {
            (Duty::Off, _) => DutyStatus::Offline,
            (_, Link::Stale | Link::Lost) => DutyStatus::Unreachable,
            (Duty::Break(_), Link::Live) => DutyStatus::OnBreak,
            (Duty::Draining(_), Link::Live) => DutyStatus::Leaving,
            (Duty::On, Link::Live) => DutyStatus::OnDuty,
        }
    }

    /// What the driver itself and dispatchers are shown.
    pub fn driver_view(&self, id: DriverId, version: u64) -> DriverView {
        DriverView {
            id,
            version,
            status: self.status(),
            blocked: self.blocked().map(str::to_owned),
            vehicle: self.vehicle.as_deref().cloned(),
            jobs: self.current_jobs(),
            offers: self.open_offers().map(|offer| self.shown_offer(offer)).collect(),
            position: self.soft.position().copied(),
            fleet: self.fleet,
            hint: self.hint(),
            run: self.current_run(),
            grants: self.grants.to_vec(),
            ungranted: self.ungranted(self.known_at()),
            rates: self.rates(),
            shift: self.shift(self.known_at()),
            n_shift_no_shows: self.rota.as_ref().map_or(0, |it| it.n_no_shows()),
            doubted: self.soft.is_doubted(self.known_at()),
            rest: self.rest(),
        }
    }

    /// An offer as it stands now: what it would begin after may end before the driver answers.
    fn shown_offer(&self, offer: &Offer) -> Offer {
        let next = offer.run.is_none() && self.room_for(offer.work).is_none();
        Offer { next, ..offer.clone() }
    }

    /// What it has made of its offers; nothing, if it was never made one.
    fn rates(&self) -> Rates {
        let record = &self.record;
        if record.n_offered == 0 {
            return Rates::default();
        }
        Rates {
            made: record.n_offered,
            accepted: record.n_accepted,
            declined: record.n_declined,
            ignored: record.n_ignored,
            acceptance_percent: record.acceptance(),
            in_a_row: self.n_unwanted,
        }
    }

    /// For how many more deliveries it has room.
    pub fn n_rooms(&self) -> usize {
        self.rooms_for(usize::from(u8::MAX)).len()
    }

    /// How much more it can carry beside what it has, in grams.
    pub fn room_g(&self) -> u32 {
        self.room_beside_g(None)
    }

    /// The same, as if it had nothing of that run, in which what goes along is planned: it knows what is on board when.
    fn room_beside_g(&self, run: Option<RunId>) -> u32 {
        let capacity_g = self.vehicle.as_ref().map_or(0, |vehicle| vehicle.capacity_g);
        capacity_g.saturating_sub(self.load_beside_g(run))
    }

    fn change_duty(&mut self, duty: Duty, at: Timestamp) {
        let did = self.doing();
        self.duty = duty;
        self.follow_hours(did, at);
    }

    /// Most have one job; a `Vec` would make room for four. Whoever was on a break works from now on.
    fn take_on(
        &mut self,
        jobs: impl IntoIterator<Item = Job, IntoIter: ExactSizeIterator>,
        at: Timestamp,
    ) {
        let did = self.doing();
        let jobs = jobs.into_iter();
        self.jobs.reserve_exact(jobs.len());
        self.jobs.extend(jobs);
        self.follow_hours(did, at);
    }

    /// The run it is on; one that is still deciding is not told of.
    fn current_run(&self) -> Option<RunId> {
        self.jobs.iter().filter(|job| job.is_current()).find_map(|job| job.run)
    }

    /// Where it had better wait, as long as it has nothing else to do.
    fn hint(&self) -> Option<Hint> {
        let hint = self.hint.as_deref().filter(|hint| !hint.is_over)?;
        Some(Hint { to: hint.to, until: hint.until })
    }

    /// How many deliveries it may have at once.
    pub fn deliveries_max(&self) -> u8 {
        self.policy.deliveries_max
    }

    /// Where it last was, if it is on duty and that is known.
    pub fn position(&self) -> Option<Point> {
        self.soft.position().map(|position| position.at)
    }

    /// Why it may take no work, if it may not.
    pub fn blocked(&self) -> Option<&str> {
        let stranded = self.stranded.map(|_| "stranded");
        self.ban.as_ref().map(|ban| ban.reason.as_str()).or(stranded)
    }

    /// Offers that wait for the driver's answer.
    pub fn open_offers(&self) -> impl Iterator<Item = &Offer> {
        self.leases
            .iter()
            .filter(|lease| lease.consent && !lease.is_promised)
            .map(|lease| &lease.offer)
    }

    /// How an offer ended, if that was not long ago.
    pub fn ended_offer(&self, offer: OfferId) -> Option<OfferStatus> {
        self.ended.iter().rev().find(|(id, _)| *id == offer).map(|(_, status)| *status)
    }

    /// The jobs it is on; one that is still deciding is not among them.
    pub fn current_jobs(&self) -> Vec<JobId> {
        self.jobs.iter().filter(|job| job.is_current()).map(|job| job.id).collect()
    }

    /// What speaks for it or against it, where several would do.
    fn standing(&self, now: Timestamp, heading_deg: Option<u16>) -> Standing {
        let worked_ms = u64::from(self.worked_ms(now));
        let busy_percent = u64::from(self.soft.busy_ms(now)) * 100 / worked_ms.max(1);
        Standing {
            acceptance: self.record.acceptance(),
            level: self.record.level(),
            busy_percent: busy_percent.min(100) as u8,
            heading_deg,
            until: self.fatigue_due(),
            asked_until: self.shift_over_due(),
        }
    }

    /// When its silence next has consequences.
    fn silence_due(&self) -> Option<Timestamp> {
        let patience_ms = match (self.duty, self.link) {
            (Duty::Off, _) | (_, Link::Lost) => return None,
            (Duty::On | Duty::Break(_) | Duty::Draining(_), Link::Live) => self.policy.stale_ms,
            (Duty::On | Duty::Break(_) | Duty::Draining(_), Link::Stale) => self.policy.lost_ms,
        };
        Some(self.soft.heard_at() + ms(patience_ms))
    }

    /// It works: what of its shifts is under way is not missed.
    fn comes_to_shift(&mut self, at: Timestamp) {
        if let Some(rota) = &mut self.rota {
            rota.comes(at);
        }
    }

    /// Nothing is in its way any more: what it could not come to until now, it did not miss.
    fn may_come_again(&mut self, at: Timestamp) {
        if self.duty == Duty::Off
            && let Some(rota) = &mut self.rota
        {
            rota.excuse(at);
        }
    }

    /// It has taken something, or begins anew.
    fn wants_offers_again(&mut self) {
        (self.n_unwanted, self.is_unwanted_told) = (0, false);
    }

    /// It has something else to do than to wait; when it was told is remembered.
    fn forget_hint(&mut self) {
        if let Some(hint) = &mut self.hint {
            hint.is_over = true;
        }
    }

    /// Notes something the driver itself did.
    fn heard(&mut self, at: Timestamp) {
        self.soft.heard(at);
        self.changed_at = at;
    }

    fn say_ended(&mut self, offer: Option<OfferId>, status: OfferStatus) {
        let Some(offer) = offer else { return };
        self.ended.retain(|(id, _)| *id != offer);
        if self.ended.len() == ENDED_MAX {
            self.ended.remove(0);
        }
        self.ended.push((offer, status));
    }

    /// One about the offer to the job that made it, or another to the run that did.
    fn tell_about(
        &self,
        offer: OfferId,
        to_job: search::Command,
        to_run: Option<run::Command>,
    ) -> Vec<Effect> {
        let Some(lease) = self.lease(offer) else { return Vec::new() };
        let told = match &lease.offer.run {
            None => Some(Tell::job(lease.offer.job, to_job)),
            Some(run) => to_run.map(|command| Tell::Run { to: run.run, command }),
        };
        told.into_iter().map(Effect::from).collect()
    }
}

/// A span of milliseconds.
fn ms(n: u32) -> Duration {
    Duration::from_millis(u64::from(n))
}

/// The journal has the vehicle itself; memory shares it with the listings.
mod shared {
    use protocol::work::Vehicle;
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use std::sync::Arc;

    pub(super) fn serialize<S: Serializer>(
        vehicle: &Option<Arc<Vehicle>>,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        vehicle.as_deref().serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<Option<Arc<Vehicle>>, D::Error> {
        Ok(Option::<Vehicle>::deserialize(deserializer)?.map(Arc::new))
    }
}
