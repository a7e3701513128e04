//! What a driver may do, and what follows.

use super::{
    Break, Command, Driver, Duty, Event, GRANTS, HOURS, Job, Lease, Leave, Link, Phase, SHIFTS,
    Wants, grants, ms, rota,
};
use crate::{
    Context, Decider, Format, Refusal,
    policy::{DriverPolicy, Shifts},
    reason,
    search::FLEETS,
};
use protocol::{
    DriverId, JobId, OfferId, OfferStatus, OrderId, PartnerId, Point, Principal, RescueId,
    Timestamp,
    trace::WhyNot,
    view::{Offer, Shift, WorkKind},
    work::{DutyWish, Vehicle},
};
use std::time::Duration;

/// The commands that find out for themselves whether they still mean anything.
const ALWAYS: [&str; 24] = [
    "set_duty",
    "withdraw_offer",
    "see_offer",
    "accept_offer",
    "decline_offer",
    "reject_job",
    "commit_job",
    "abort_job",
    "abort_run",
    "end_job",
    "keep_job",
    "record_rating",
    "strand",
    "unstrand",
    "hint",
    "set_fleet",
    "grant_skill",
    "revoke_skill",
    "set_shifts",
    "allow_off_shift",
    "revoke_off_shift",
    "message",
    "suspend",
    "reinstate",
];

/// Why a driver is not given what its vehicle cannot carry beside all that it has.
const TOO_HEAVY: &str = "has no room for so much weight";

/// How long a place is a better one to wait at.
const HINT_LASTS: Duration = Duration::from_secs(600);

/// Those, and the ones that depend on the duty. (`tick` is nobody's business but the platform's.)
pub(super) fn allowed(duty: Duty) -> Vec<&'static str> {
    let more: &[&str] = match duty {
        Duty::Off => &[],
        Duty::On => &["reserve_offer", "claim_job", "set_destination"],
        // A dispatcher can force it.
        Duty::Break(_) | Duty::Draining(_) => &["reserve_offer"],
    };
    ALWAYS.iter().chain(more).copied().collect()
}

pub(super) fn decide(
    driver: &Driver,
    command: &Command,
    context: &Context<DriverId>,
) -> Result<Vec<Event>, Refusal> {
    authorise(command, context)?;
    // Not what is said of its shifts: where those are demanded nobody could begin who has never worked.
    let is_about_work = matches!(
        command,
        Command::Suspend { .. }
            | Command::Reinstate {}
            | Command::SetFleet { .. }
            | Command::GrantSkill { .. }
            | Command::RevokeSkill { .. }
            | Command::Message { .. }
    );
    if is_about_work && driver.changed_at == Timestamp::default() {
        return Err(Refusal::Unknown("driver".to_owned()));
    }
    let name: &'static str = command.into();
    if !matches!(command, Command::Tick {}) && !allowed(driver.duty).contains(&name) {
        return Err(illegal(driver.duty));
    }
    let Context { now, writes, .. } = *context;
    let mut draft = Draft { driver: driver.clone(), events: Vec::new(), now, writes };
    match command {
        Command::SetDuty { duty, vehicle, policy } => {
            // A shift that not every node can read begins without hints.
            let is_known = context.writes >= FLEETS;
            let hints_every_ms = if is_known { policy.hints_every_ms } else { 0 };
            // And while nobody can be vouched for, whatever a driver says of itself counts.
            let self_declared =
                (context.writes >= GRANTS).then(|| policy.self_declared.unwrap_or(false));
            // Nor does anybody need a shift whom nobody can give one.
            let shifts = if context.writes >= SHIFTS { policy.shifts } else { Shifts::Off };
            // Nor is anybody told of hours that nobody knows to count.
            let (duty_told_ms, duty_within_ms) = match context.writes >= HOURS {
                true => (policy.duty_told_ms, policy.duty_within_ms),
                false => (0, 0),
            };
            // Each shift has its own.
            let shift_grace_s = DriverPolicy::default().shift_grace_s;
            let policy = DriverPolicy {
                hints_every_ms,
                self_declared,
                shifts,
                shift_grace_s,
                duty_told_ms,
                duty_within_ms,
                ..*policy
            };
            draft.set_duty(*duty, vehicle.as_ref(), &policy, context.by)?;
        }
        Command::ReserveOffer { offer, consent, force, weights_g, wants } => {
            draft.reserve(offer, *consent, *force, weights_g, wants)?
        }
        Command::WithdrawOffer { offer, status } => draft.withdraw(*offer, *status),
        Command::SeeOffer { offer } => {
            // Its job is told, and keeps it.
            draft.answerable(*offer)?;
        }
        Command::AcceptOffer { offer } => draft.accept(*offer)?,
        Command::DeclineOffer { offer } => draft.decline(*offer)?,
        Command::ClaimJob { job, work, weight_g } => draft.claim(*job, *work, *weight_g)?,
        Command::RejectJob { job } => draft.reject(*job)?,
        Command::CommitJob { job } => draft.commit(*job)?,
        Command::AbortJob { job, offer, reason } => draft.abort(*job, *offer, reason),
        Command::AbortRun { offer, reason } => draft.abort_all(*offer, reason),
        Command::EndJob { job, reason } => draft.end(*job, reason),
        Command::KeepJob { job } => draft.keep(*job),
        Command::RecordRating { job, stars } => draft.rate(*job, *stars)?,
        Command::Strand { rescue } => draft.strand(*rescue),
        Command::Unstrand { rescue } => draft.unstrand(*rescue),
        Command::Suspend { reason, reassign } => draft.suspend(reason, *reassign),
        Command::Reinstate {} => draft.reinstate(),
        Command::Hint { to } => draft.hint(*to),
        Command::SetFleet { fleet, reason } => draft.set_fleet(*fleet, reason, context.by)?,
        Command::GrantSkill { skill, reason, until } => {
            draft.grant(skill, *until, reason, context.by)?
        }
        Command::RevokeSkill { skill, reason } => draft.revoke(skill, reason, context.by)?,
        Command::SetShifts { expects, shifts, grace_s, reason } => {
            draft.set_shifts(*expects, shifts, *grace_s, reason, context.by)?
        }
        Command::AllowOffShift { until, reason } => {
            draft.allow_off_shift(*until, reason, context.by)?
        }
        Command::RevokeOffShift { reason } => draft.revoke_off_shift(reason, context.by)?,
        Command::Message { job, text } => draft.message(*job, text, context.by)?,
        Command::SetDestination { to } => draft.set_destination(*to),
        Command::Tick {} => draft.tick(),
    }
    draft.start_next();
    if context.writes >= GRANTS {
        draft.tell_unwanted();
    }
    Ok(draft.events)
}

/// May this principal ask that of this driver?
fn authorise(command: &Command, context: &Context<DriverId>) -> Result<(), Refusal> {
    let is_driver = context.by == Principal::Driver(context.id);
    let is_permitted = match command {
        Command::SetDuty { .. } => is_driver || context.by.is_staff(),
        Command::SeeOffer { .. }
        | Command::AcceptOffer { .. }
        | Command::DeclineOffer { .. }
        | Command::ClaimJob { .. }
        | Command::SetDestination { .. }
        | Command::RejectJob { .. } => is_driver,
        Command::Suspend { .. }
        | Command::Reinstate {}
        | Command::SetFleet { .. }
        | Command::GrantSkill { .. }
        | Command::RevokeSkill { .. }
        | Command::SetShifts { .. }
        | Command::AllowOffShift { .. }
        | Command::RevokeOffShift { .. }
        | Command::Message { .. } => context.by.is_staff(),
        Command::ReserveOffer { .. }
        | Command::WithdrawOffer { .. }
        | Command::CommitJob { .. }
        | Command::AbortJob { .. }
        | Command::AbortRun { .. }
        | Command::EndJob { .. }
        | Command::KeepJob { .. }
        | Command::RecordRating { .. }
        | Command::Strand { .. }
        | Command::Unstrand { .. }
        | Command::Hint { .. }
        | Command::Tick {} => context.by == Principal::System,
    };
    if is_permitted {
        return Ok(());
    }
    let name: &'static str = command.into();
    Err(Refusal::NotYours(format!("{} may not {name} here", context.by.role())))
}

fn illegal(duty: Duty) -> Refusal {
    Refusal::IllegalTransition {
        state: duty.to_string(),
        allowed: allowed(duty).into_iter().map(str::to_owned).collect(),
    }
}

fn not_eligible(why: &str) -> Refusal {
    Refusal::NotEligible(why.to_owned())
}

/// A decision being made: each rule sees the driver as the events so far have left it.
struct Draft {
    driver: Driver,
    events: Vec<Event>,
    now: Timestamp,
    /// What every node can read.
    writes: Format,
}

impl Draft {
    fn add(&mut self, event: Event) {
        self.driver.evolve(&event);
        self.events.push(event);
    }

    fn set_duty(
        &mut self,
        wish: DutyWish,
        vehicle: Option<&Vehicle>,
        policy: &DriverPolicy,
        by: Principal,
    ) -> Result<(), Refusal> {
        match wish {
            DutyWish::On => return self.go_on(vehicle, policy),
            DutyWish::Off => self.leave(Leave::Wanted, by),
            DutyWish::Break => match self.driver.duty {
                Duty::On => {
                    self.answer_no(by, "on a break");
                    self.add(Event::BreakStarted { at: self.now, why: Break::Wanted });
                }
                Duty::Break(_) => {}
                Duty::Off | Duty::Draining(_) => return Err(illegal(self.driver.duty)),
            },
        }
        Ok(())
    }

    fn go_on(&mut self, vehicle: Option<&Vehicle>, policy: &DriverPolicy) -> Result<(), Refusal> {
        let driver = &self.driver;
        if let Some(why) = driver.blocked() {
            return Err(not_eligible(why));
        }
        let known = driver.vehicle.as_deref();
        let Some(wanted) = vehicle.or(known) else {
            return Err(Refusal::invalid("vehicle", "is needed to start"));
        };
        let is_other = known.is_some_and(|known| known != wanted);
        if is_other && !(driver.jobs.is_empty() && driver.leases.is_empty()) {
            return Err(not_eligible("has work in another vehicle"));
        }
        let vehicle = wanted.clone();
        match driver.duty {
            Duty::On if !is_other => {}
            // Whose skills count, who must be in a shift, and which hours count, is said as its time on duty begins.
            Duty::On | Duty::Break(_) | Duty::Draining(_)
                if driver.jobs.is_empty()
                    && driver.leases.is_empty()
                    && driver.policy.begins_otherwise(policy) =>
            {
                self.require_rest(policy)?;
                self.require_shift(policy)?;
                self.add(Event::WentOff { at: self.now, why: Leave::Wanted });
                self.add(Event::WentOn { at: self.now, vehicle, policy: *policy });
            }
            Duty::On => self.add(Event::Resumed { at: self.now, vehicle }),
            Duty::Off => {
                self.require_rest(policy)?;
                self.require_shift(policy)?;
                self.count_no_shows();
                self.add(Event::WentOn { at: self.now, vehicle, policy: *policy });
            }
            Duty::Break(_) | Duty::Draining(_) => {
                self.require_rest(&driver.policy)?;
                self.require_shift(&driver.policy)?;
                self.add(Event::Resumed { at: self.now, vehicle });
            }
        }
        Ok(())
    }

    /// Has the driver rested, if it must?
    fn require_rest(&self, policy: &DriverPolicy) -> Result<(), Refusal> {
        let Some(left) = self.driver.rest_left(policy, self.now) else { return Ok(()) };
        let remaining_ms = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
        Err(match self.writes >= HOURS {
            true => Refusal::MustRest { remaining_ms },
            false => Refusal::TooEarly { what: "rest".to_owned(), remaining_ms },
        })
    }

    /// Is the driver in a shift, or may it work without, if it must be?
    fn require_shift(&self, policy: &DriverPolicy) -> Result<(), Refusal> {
        match self.driver.is_outside_shift(policy, self.now) {
            true => Err(Refusal::Unfit(vec![WhyNot::OutsideShift])),
            false => Ok(()),
        }
    }

    /// Ends the shift: now, or when the work is done.
    fn leave(&mut self, why: Leave, by: Principal) {
        self.answer_no(by, "off duty");
        match self.driver.duty {
            Duty::Off => {}
            Duty::Draining(_) if !self.driver.jobs.is_empty() => {}
            Duty::On | Duty::Break(_) | Duty::Draining(_) => {
                let at = self.now;
                self.add(if self.driver.jobs.is_empty() {
                    Event::WentOff { at, why }
                } else {
                    Event::Draining { at, why }
                });
            }
        }
    }

    /// Says no to every offer: in the driver's name if it is its own doing.
    fn answer_no(&mut self, by: Principal, reason: &str) {
        let offers: Vec<OfferId> = self.driver.leases.iter().map(|lease| lease.offer.id).collect();
        for offer in offers {
            self.add(match by {
                Principal::Driver(_) => Event::OfferDeclined { at: self.now, offer },
                Principal::Rider(_)
                | Principal::Merchant(_)
                | Principal::Dispatcher
                | Principal::Admin
                | Principal::System => {
                    Event::OfferDropped { at: self.now, offer, reason: reason.to_owned() }
                }
            });
        }
    }

    fn reserve(
        &mut self,
        offer: &Offer,
        consent: bool,
        force: bool,
        weights_g: &[u32],
        wants: &[Wants],
    ) -> Result<(), Refusal> {
        let driver = &self.driver;
        if driver.lease(offer.id).is_some_and(|lease| lease.offer == *offer)
            || driver.jobs.iter().any(|job| job.offer == Some(offer.id))
        {
            return Ok(());
        }
        if let Some(status) = driver.ended_offer(offer.id) {
            return Err(Refusal::OfferGone(status));
        }
        if self.now >= offer.expires_at {
            return Err(Refusal::OfferGone(OfferStatus::Expired));
        }
        let is_asked =
            |job: JobId| driver.leases.iter().any(|it| it.offer.jobs().any(|of| of == job));
        if offer.jobs().any(|job| is_asked(job) || driver.job(job).is_some()) {
            return Err(not_eligible("already has this job"));
        }
        let run = offer.run.as_ref().map(|run| run.run);
        if run.is_some() && driver.run().is_some_and(|it| Some(it) != run) {
            return Err(not_eligible("is on another run"));
        }
        if let Some(why) = driver.blocked() {
            return Err(not_eligible(why));
        }
        if driver.link != Link::Live
            || self.now.since(driver.soft.heard_at()) >= ms(driver.policy.stale_ms)
        {
            return Err(not_eligible("cannot be reached"));
        }
        if driver.leases.iter().any(|lease| lease.is_promised) {
            return Err(not_eligible("is changing jobs"));
        }
        let is_outside = driver.is_outside_shift(&driver.policy, self.now);
        let outside = is_outside.then_some(WhyNot::OutsideShift);
        let tired = driver.rest_left(&driver.policy, self.now).map(|_| WhyNot::Hours);
        let unfit = driver.unfit_for_wants(offer, wants, self.now);
        let unfit = unfit.into_iter().chain(outside).chain(tired);
        // What may not be overruled, is not: it may have come since the dispatcher looked.
        let unfit: Vec<_> = unfit.filter(|why| !(force && why.may_be_overruled())).collect();
        if !unfit.is_empty() {
            return Err(Refusal::Unfit(unfit));
        }
        if force {
            if driver.jobs.iter().any(|job| !job.is_current()) {
                return Err(not_eligible("waits for a job to decide"));
            }
            self.answer_no(Principal::System, "a dispatcher has other work for the driver");
        } else {
            if driver.duty != Duty::On {
                return Err(illegal(driver.duty));
            }
            let n_orders = offer.run.as_ref().map_or(0, |run| run.orders.len());
            let has_room = match n_orders {
                0 => driver.room_soon(offer.work).is_some(),
                n => driver.rooms_for(n).len() == n,
            };
            if !has_room {
                return Err(not_eligible("has no room"));
            }
            // What of a run is on board at once, the run has judged, but not what its driver has besides by now.
            let heaviest_g = weights_g.iter().copied().max().unwrap_or(0);
            if !driver.can_load(offer.work, heaviest_g, run) {
                return Err(not_eligible(TOO_HEAVY));
            }
            if driver.leases.len() >= usize::from(driver.policy.parallel_offers) {
                return Err(not_eligible("has enough offers"));
            }
        }
        let (at, weights_g) = (self.now, weights_g.to_vec());
        self.add(Event::OfferReserved { at, offer: offer.clone(), consent, force, weights_g });
        if consent { Ok(()) } else { self.take(offer.id) }
    }

    /// Turns a lease into a job, or into the promise of one.
    fn take(&mut self, offer: OfferId) -> Result<(), Refusal> {
        let lease = self.driver.lease(offer).ok_or_else(|| not_eligible("has no such offer"))?;
        let orders = lease.orders();
        if !orders.is_empty() {
            return self.take_run(offer, &orders);
        }
        let (work, is_forced) = (lease.offer.work, lease.force);
        let room = match is_forced {
            true => self.driver.room_for(work),
            false => self.driver.room_soon(work),
        };
        let Some(slots) = room else {
            if !is_forced {
                return Err(not_eligible("has no room"));
            }
            self.add(Event::OfferPromised { at: self.now, offer });
            for job in self.driver.in_the_way_of(work) {
                self.leave_job(job, "displaced by a dispatcher");
            }
            return Ok(());
        };
        self.drop_others(offer);
        self.add(Event::OfferAccepted { at: self.now, offer, slots });
        Ok(())
    }

    /// Turns a lease on a run into a job for each of its orders: all of them, or none.
    fn take_run(&mut self, offer: OfferId, orders: &[OrderId]) -> Result<(), Refusal> {
        let rooms = self.driver.rooms_for(orders.len());
        if rooms.len() < orders.len() {
            return Err(not_eligible("has no room"));
        }
        self.drop_others(offer);
        let slots = orders.iter().copied().zip(rooms).collect();
        self.add(Event::RunAccepted { at: self.now, offer, slots });
        Ok(())
    }

    fn drop_others(&mut self, offer: OfferId) {
        let others = self.driver.leases.iter().map(|lease| lease.offer.id);
        for other in others.filter(|other| *other != offer).collect::<Vec<_>>() {
            let reason = "took another job".to_owned();
            self.add(Event::OfferDropped { at: self.now, offer: other, reason });
        }
    }

    fn withdraw(&mut self, offer: OfferId, status: OfferStatus) {
        if self.driver.lease(offer).is_some() {
            self.add(Event::OfferEnded { at: self.now, offer, status });
            self.rest_if_silent();
        }
        self.abort_all(offer, &format!("offer is {status}"));
    }

    /// What was wanted by this offer, and has not decided, is not the driver's.
    fn abort_all(&mut self, offer: OfferId, reason: &str) {
        let undecided =
            self.driver.jobs.iter().filter(|job| job.offer == Some(offer) && !job.is_current());
        for job in undecided.map(|job| job.id).collect::<Vec<_>>() {
            self.add(Event::JobAborted { at: self.now, job, reason: reason.to_owned() });
            self.after_release();
        }
    }

    fn accept(&mut self, offer: OfferId) -> Result<(), Refusal> {
        let is_taken = self.driver.jobs.iter().any(|job| job.offer == Some(offer));
        if is_taken || self.driver.lease(offer).is_some_and(|lease| lease.is_promised) {
            return Ok(());
        }
        let lease = self.answerable(offer)?;
        if self.now >= lease.offer.expires_at {
            return Err(Refusal::OfferGone(OfferStatus::Expired));
        }
        self.take(offer)
    }

    fn decline(&mut self, offer: OfferId) -> Result<(), Refusal> {
        if self.driver.ended_offer(offer) == Some(OfferStatus::Declined) {
            return Ok(());
        }
        self.answerable(offer)?;
        self.add(Event::OfferDeclined { at: self.now, offer });
        Ok(())
    }

    /// The lease, or how it ended.
    fn answerable(&self, offer: OfferId) -> Result<&Lease, Refusal> {
        match (self.driver.lease(offer), self.driver.ended_offer(offer)) {
            (Some(lease), _) => Ok(lease),
            (None, Some(status)) => Err(Refusal::OfferGone(status)),
            (None, None) => Err(Refusal::Unknown("offer".to_owned())),
        }
    }

    fn claim(&mut self, job: JobId, work: WorkKind, weight_g: u32) -> Result<(), Refusal> {
        if self.driver.job(job).is_some() {
            return Ok(());
        }
        if let Some(why) = self.driver.blocked() {
            return Err(not_eligible(why));
        }
        self.require_shift(&self.driver.policy)?;
        self.require_rest(&self.driver.policy)?;
        if self.driver.leases.iter().any(|lease| lease.is_promised) {
            return Err(not_eligible("is changing jobs"));
        }
        let slots = self.driver.room_for(work).ok_or_else(|| not_eligible("has no room"))?;
        if !self.driver.can_load(work, weight_g, None) {
            return Err(not_eligible(TOO_HEAVY));
        }
        self.answer_no(Principal::System, "took another job");
        self.add(Event::JobClaimed { at: self.now, job, work, slots, weight_g });
        Ok(())
    }

    fn reject(&mut self, job: JobId) -> Result<(), Refusal> {
        let held = self.driver.job(job).ok_or_else(|| Refusal::Unknown("job".to_owned()))?;
        match held.phase {
            Phase::Leaving => {}
            Phase::OnJob { rejects_until: Some(until) } if self.now <= until => {
                self.leave_job(job, "rejected by the driver");
            }
            Phase::OnJob { .. } => {
                return Err(Refusal::TooLate("the job can no longer be rejected".to_owned()));
            }
            Phase::Committing { .. } => {
                return Err(Refusal::TooEarly {
                    what: "the job is still being assigned".to_owned(),
                    remaining_ms: 250,
                });
            }
        }
        Ok(())
    }

    fn commit(&mut self, job: JobId) -> Result<(), Refusal> {
        let held = self.driver.job(job).ok_or_else(|| Refusal::Unknown("job".to_owned()))?;
        if held.is_current() {
            return Ok(());
        }
        self.add(Event::JobCommitted { at: self.now, job });
        if self.driver.link == Link::Lost {
            self.leave_job(job, "not heard of for too long");
        } else if let Some(ban) = self.driver.ban.clone().filter(|ban| ban.reassign) {
            self.leave_job(job, &ban.reason);
        } else if self.driver.stranded.is_some() {
            self.leave_job(job, "needs help itself");
        }
        Ok(())
    }

    /// A late one, about an offer that is over, must not take away the job that came again. Should
    /// an old one name no offer at all, asking again finds out.
    fn abort(&mut self, job: JobId, offer: Option<OfferId>, reason: &str) {
        if self.driver.job(job).is_some_and(|job| job.offer == offer && !job.is_current()) {
            self.add(Event::JobAborted { at: self.now, job, reason: reason.to_owned() });
            self.after_release();
        }
    }

    fn end(&mut self, job: JobId, reason: &str) {
        if self.driver.job(job).is_some() {
            self.add(Event::JobEnded { at: self.now, job, reason: reason.to_owned() });
            self.after_release();
        }
    }

    fn keep(&mut self, job: JobId) {
        if self.driver.job(job).is_none_or(|job| job.phase != Phase::Leaving) {
            return;
        }
        self.add(Event::JobKept { at: self.now, job });
        let promised = self.driver.leases.iter().find(|lease| lease.is_promised);
        if let Some(offer) = promised.map(|lease| lease.offer.id) {
            let reason = "the work in its way cannot be moved".to_owned();
            self.add(Event::OfferDropped { at: self.now, offer, reason });
        }
    }

    /// The job that waited for the last one to end begins, unless a dispatcher has other work.
    fn start_next(&mut self) {
        let driver = &self.driver;
        let is_ready = |job: &&Job| job.is_next() && matches!(job.phase, Phase::OnJob { .. });
        let Some(job) = driver.jobs.iter().find(is_ready) else { return };
        if driver.leases.iter().any(|lease| lease.is_promised) {
            return;
        }
        if let Some(slots) = driver.room_beside(Some(job.id), job.work) {
            self.add(Event::NextStarted { at: self.now, job: job.id, slots });
        }
    }

    fn set_destination(&mut self, to: Option<Point>) {
        if self.driver.destination != to {
            self.add(Event::DestinationSet { at: self.now, to });
        }
    }

    fn leave_job(&mut self, job: JobId, reason: &str) {
        self.add(Event::JobLeft { at: self.now, job, reason: reason.to_owned() });
    }

    /// Room has become free: for what was promised, or for going home.
    fn after_release(&mut self) {
        let promised = self.driver.leases.iter().find(|lease| lease.is_promised);
        if let Some((offer, work)) = promised.map(|lease| (lease.offer.id, lease.offer.work)) {
            if self.driver.room_for(work).is_some() {
                self.take(offer).expect("there is room");
            }
            return;
        }
        if !self.driver.jobs.is_empty() {
            return;
        }
        let why = match (self.driver.duty, self.driver.link) {
            (Duty::Draining(why), _) => why,
            (Duty::On | Duty::Break(_), Link::Lost) => Leave::Lost,
            (Duty::Off | Duty::On | Duty::Break(_), _) => return,
        };
        self.leave(why, Principal::System);
    }

    fn rate(&mut self, job: JobId, stars: u8) -> Result<(), Refusal> {
        if !(1..=5).contains(&stars) {
            return Err(Refusal::invalid("stars", "must be 1 to 5"));
        }
        if self.driver.record.last_rated != Some(job) {
            self.add(Event::Rated { at: self.now, job, stars });
        }
        Ok(())
    }

    /// Whoever needs help can help nobody: each job decides whether it waits.
    fn strand(&mut self, rescue: RescueId) {
        if self.driver.stranded.is_none() {
            self.add(Event::Stranded { at: self.now, rescue });
            self.answer_no(Principal::System, "needs help itself");
            self.leave_all_jobs("needs help itself");
        }
    }

    fn unstrand(&mut self, rescue: RescueId) {
        if self.driver.stranded == Some(rescue) {
            self.add(Event::Unstranded { at: self.now });
        }
    }

    fn suspend(&mut self, reason: &str, reassign: bool) {
        let is_known = self.driver.ban.as_ref().is_some_and(|ban| ban.reassign || !reassign);
        if is_known {
            return;
        }
        self.add(Event::Suspended { at: self.now, reason: reason.to_owned(), reassign });
        self.leave(Leave::Suspended, Principal::System);
        if reassign {
            self.leave_all_jobs(reason);
        }
    }

    fn leave_all_jobs(&mut self, reason: &str) {
        let on = |job: &&Job| matches!(job.phase, Phase::OnJob { .. });
        let jobs: Vec<JobId> = self.driver.jobs.iter().filter(on).map(|job| job.id).collect();
        for job in jobs {
            self.leave_job(job, reason);
        }
    }

    fn reinstate(&mut self) {
        if self.driver.ban.is_some() {
            self.add(Event::Reinstated { at: self.now });
        }
    }

    /// Only who waits is told where, and not too often.
    fn hint(&mut self, to: Point) {
        let driver = &self.driver;
        let waits = driver.duty == Duty::On
            && driver.link == Link::Live
            && driver.blocked().is_none()
            && driver.jobs.is_empty()
            && driver.leases.is_empty()
            && driver.destination.is_none();
        let every = ms(driver.policy.hints_every_ms);
        let is_due = driver.hint.as_ref().is_none_or(|hint| self.now.since(hint.at) >= every);
        if waits && is_due && !every.is_zero() {
            self.add(Event::Hinted { at: self.now, to, until: self.now + HINT_LASTS });
        }
    }

    /// What it has goes on, whomever it is kept to.
    fn set_fleet(
        &mut self,
        fleet: Option<PartnerId>,
        reason: &str,
        by: Principal,
    ) -> Result<(), Refusal> {
        reason::check(reason)?;
        if self.driver.fleet != fleet {
            self.add(Event::FleetSet { at: self.now, fleet, by, reason: reason.to_owned() });
        }
        Ok(())
    }

    /// What it has, and what it is being asked, goes on.
    fn grant(
        &mut self,
        skill: &str,
        until: Option<Timestamp>,
        reason: &str,
        by: Principal,
    ) -> Result<(), Refusal> {
        reason::check(reason)?;
        grants::check(skill)?;
        let (driver, at) = (&self.driver, self.now);
        if until.is_some_and(|until| until <= at) {
            return Err(Refusal::invalid("until", "is over"));
        }
        if driver.grants.iter().any(|it| it.skill == skill && it.until == until) {
            return Ok(());
        }
        if driver.grants_beside(skill, at).count() >= grants::GRANTS_MAX {
            let problem = format!("{} are granted already", grants::GRANTS_MAX);
            return Err(Refusal::invalid("skill", problem));
        }
        let (skill, reason) = (skill.to_owned(), reason.to_owned());
        self.add(Event::SkillGranted { at, skill, until, by, reason });
        Ok(())
    }

    fn revoke(&mut self, skill: &str, reason: &str, by: Principal) -> Result<(), Refusal> {
        reason::check(reason)?;
        if self.driver.grants.iter().any(|it| it.skill == skill) {
            let (at, skill, reason) = (self.now, skill.to_owned(), reason.to_owned());
            self.add(Event::SkillRevoked { at, skill, by, reason });
        }
        Ok(())
    }

    /// What it has goes on, also if it is in no shift any more.
    fn set_shifts(
        &mut self,
        expects: u32,
        shifts: &[Shift],
        grace_s: u16,
        reason: &str,
        by: Principal,
    ) -> Result<(), Refusal> {
        reason::check(reason)?;
        // What it has missed is counted before it is forgotten.
        self.count_no_shows();
        let (known, at) = (self.driver.rota.as_deref(), self.now);
        let shifts = rota::checked(shifts, known, at)?;
        let is_so = known.map_or(shifts.is_empty(), |it| it.is_of(&shifts, at));
        if is_so {
            return Ok(());
        }
        let version = known.map_or(0, |it| it.version());
        if version != expects {
            return Err(Refusal::TooLate(format!("they have version {version} by now")));
        }
        self.add(Event::ShiftsSet { at, shifts, grace_s, by, reason: reason.to_owned() });
        self.leave_after_shift();
        Ok(())
    }

    fn allow_off_shift(
        &mut self,
        until: Timestamp,
        reason: &str,
        by: Principal,
    ) -> Result<(), Refusal> {
        reason::check(reason)?;
        let at = self.now;
        if until <= at {
            return Err(Refusal::invalid("until", "is over"));
        }
        if until > at + rota::OFF_SHIFT_MAX {
            return Err(Refusal::invalid("until", "24 hours from now at most"));
        }
        let known = self.driver.rota.as_deref().and_then(|it| it.off_shift(at));
        let is_so = known.is_some_and(|it| it.until == until && it.reason == reason);
        if !is_so {
            self.add(Event::OffShiftAllowed { at, until, by, reason: reason.to_owned() });
        }
        Ok(())
    }

    fn revoke_off_shift(&mut self, reason: &str, by: Principal) -> Result<(), Refusal> {
        reason::check(reason)?;
        let at = self.now;
        let rota = self.driver.rota.as_deref();
        if rota.is_some_and(|it| it.off_shift(at).is_some()) {
            self.add(Event::OffShiftRevoked { at, by, reason: reason.to_owned() });
            self.leave_after_shift();
        }
        Ok(())
    }

    /// Once, until it takes one or begins anew. Who has just gone off, or rests, needs no telling.
    fn tell_unwanted(&mut self) {
        let Driver { duty, policy, n_unwanted: n, is_unwanted_told, .. } = self.driver;
        let is_due = policy.unwanted_told > 0 && n >= policy.unwanted_told;
        if duty == Duty::On && is_due && !is_unwanted_told {
            self.add(Event::UnwantedTold { at: self.now, n });
        }
    }

    /// Whatever it does: somebody wants it to know.
    fn message(&mut self, job: Option<JobId>, text: &str, by: Principal) -> Result<(), Refusal> {
        reason::check_line("text", text)?;
        self.add(Event::Messaged { at: self.now, job, by, text: text.to_owned() });
        Ok(())
    }

    /// Does whatever is due by now.
    fn tick(&mut self) {
        self.notice_silence();
        self.expire_leases();
        self.rest_if_tired();
        self.tell_hours();
        self.leave_after_shift();
        self.count_no_shows();
        self.ask_again();
    }

    fn notice_silence(&mut self) {
        if self.driver.duty == Duty::Off {
            return;
        }
        let silence = self.now.since(self.driver.soft.heard_at());
        let policy = self.driver.policy;
        if self.driver.link != Link::Live && silence < ms(policy.stale_ms) {
            self.add(Event::Recovered { at: self.now });
        }
        if self.driver.link == Link::Live && silence >= ms(policy.stale_ms) {
            self.add(Event::WentStale { at: self.now });
            self.answer_no(Principal::System, "cannot be reached");
        }
        if self.driver.link == Link::Stale && silence >= ms(policy.lost_ms) {
            if self.driver.jobs.is_empty() {
                self.leave(Leave::Lost, Principal::System);
            } else {
                self.add(Event::WentLost { at: self.now });
                self.leave_all_jobs("not heard of for too long");
            }
        }
    }

    fn expire_leases(&mut self) {
        let is_over = |lease: &&Lease| self.now >= lease.offer.expires_at;
        let over = self.driver.leases.iter().filter(is_over);
        for (offer, is_promised) in
            over.map(|lease| (lease.offer.id, lease.is_promised)).collect::<Vec<_>>()
        {
            self.add(if is_promised {
                let reason = "the work in its way did not end in time".to_owned();
                Event::OfferDropped { at: self.now, offer, reason }
            } else {
                Event::OfferEnded { at: self.now, offer, status: OfferStatus::Expired }
            });
        }
        self.rest_if_silent();
    }

    fn rest_if_silent(&mut self) {
        let n_max = self.driver.policy.silent_expiries_max.max(1);
        if self.driver.duty == Duty::On && self.driver.n_silent >= n_max {
            self.answer_no(Principal::System, "on a break");
            self.add(Event::BreakStarted { at: self.now, why: Break::Silent });
        }
    }

    fn rest_if_tired(&mut self) {
        if self.driver.fatigue_due().is_some_and(|due| self.now >= due) {
            self.answer_no(Principal::System, "must rest");
            self.add(Event::BreakStarted { at: self.now, why: Break::Fatigue });
        }
    }

    /// Once, until it has rested properly, or has worked less of late. Who has just begun to rest needs no telling.
    fn tell_hours(&mut self) {
        if self.driver.long_due().is_some_and(|due| self.now >= due) {
            let in_ms = |it: Duration| u32::try_from(it.as_millis()).unwrap_or(u32::MAX);
            let worked_ms = in_ms(self.driver.counted(self.now));
            let left_ms = self.driver.hours_due().map_or(0, |due| in_ms(due.since(self.now)));
            self.add(Event::HoursTold { at: self.now, worked_ms, left_ms });
        }
    }

    /// Its offers go to others, and what it has it ends.
    fn leave_after_shift(&mut self) {
        if self.driver.shift_over_due().is_some_and(|due| self.now >= due) {
            self.leave(Leave::ShiftOver, Principal::System);
        }
    }

    /// Once for each shift. Who works, or may not, misses none.
    fn count_no_shows(&mut self) {
        for Shift { start, end, .. } in self.driver.no_shows(self.now) {
            self.add(Event::ShiftMissed { at: self.now, start, end });
        }
    }

    fn ask_again(&mut self) {
        let is_due = |job: &&Job| job.asks_at().is_some_and(|due| self.now >= due);
        let due: Vec<JobId> = self.driver.jobs.iter().filter(is_due).map(|job| job.id).collect();
        for job in due {
            self.add(Event::JobAsked { at: self.now, job });
        }
    }
}

impl Driver {
    /// The jobs that must go before there is room for one more of this kind.
    fn in_the_way_of(&self, work: WorkKind) -> Vec<JobId> {
        let is_shared = self.jobs.iter().all(|job| job.work == WorkKind::Delivery);
        let n = if work == WorkKind::Delivery && is_shared { 1 } else { self.jobs.len() };
        let newest = self.jobs.iter().rev().take(n);
        newest.filter(|job| job.phase != Phase::Leaving).map(|job| job.id).collect()
    }
}
