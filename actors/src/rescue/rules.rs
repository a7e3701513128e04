//! Who may do what to a rescue, and what follows.

use super::{Case, Command, Event, Request, Rescue, Sla, ms, table, triage};
use crate::{
    Context, Decider, Format, Refusal,
    incident::{self, Report},
    reason,
    rule::RULED,
    search::{self, Asked, Assignment, CONTROLLED, Chosen, Decision, FEATURES, Given, Outcome},
};
use protocol::{
    JobId, Place, Principal, RescueId, RescueStatus, Timestamp,
    trace::WhyNot,
    work::{IncidentKind, Needs, Priority, Proof, ProofKind},
};

pub(super) fn decide(
    rescue: &Rescue,
    command: &Command,
    context: &Context<RescueId>,
) -> Result<Vec<Event>, Refusal> {
    if let Command::Request(request) = command {
        return place(rescue, request, context);
    }
    let case = rescue.case.as_deref().ok_or_else(|| Refusal::Unknown("rescue".to_owned()))?;
    let asker = Asker::of(case, context.by);
    authorise(command, asker, context.by)?;
    let name: &'static str = command.into();
    let is_free_to_go = asker.is_attached && matches!(command, Command::Cancel { .. });
    let is_internal = matches!(command, Command::Search(_) | Command::Tick {});
    if !is_internal && !is_free_to_go && !table::allowed(case.status).contains(&name) {
        return Err(illegal(case.status));
    }
    let mut draft = Draft::new(rescue, context);
    match command {
        Command::Request(_) => {}
        Command::Locate { at, accuracy_m, served } => draft.locate(at, *accuracy_m, *served),
        Command::Triage { needs } => draft.triage(needs.clone()),
        Command::Search(command) => draft.search(command)?,
        Command::ConfirmOffer { offer } => {
            draft.follow(|case, asked| case.search.confirm(*offer, asked))?;
        }
        Command::RejectOffer { offer } => {
            draft.follow(|case, asked| case.search.reject(*offer, asked))?;
        }
        Command::Assign { driver, force, reason, against } => {
            let (driver, force) = (*driver, *force);
            draft.assign(&Chosen { driver, force, reason, against })?;
        }
        Command::Unassign { reason } => draft.release(reason),
        Command::Hold { reason } => {
            let events = case.search.hold(context.by, reason, context.now);
            draft.add_all(events);
        }
        Command::Resume { reason } => {
            draft.follow(|case, asked| case.search.resume(context.by, reason, asked))?;
        }
        Command::SetPriority { priority, reason } if *priority != case.priority => {
            let (at, by, reason) = (context.now, context.by, reason.clone());
            draft.add(Event::PrioritySet { at, priority: *priority, by, reason });
        }
        Command::SetPriority { .. } => {}
        Command::SetFleet { fleet, reason } => {
            reason::check(reason)?;
            draft
                .follow(|case, asked| Ok(case.search.keep_to(*fleet, context.by, reason, asked)))?;
        }
        Command::Reassign { driver, force, reason, against } => {
            let (driver, force) = (*driver, *force);
            draft.reassign(&Chosen { driver, force, reason, against })?;
        }
        Command::Depart {} => draft.add(Event::Departed { at: context.now }),
        Command::Arrive {} => draft.arrive(asker)?,
        Command::BeginAssist {} => draft.add(Event::AssistStarted { at: context.now }),
        Command::Load { dropoff, proofs } => draft.load(dropoff.as_ref(), proofs)?,
        Command::Escalate { needs, stay } => draft.escalate(needs, *stay)?,
        Command::Unload { proofs } => draft.unload(proofs)?,
        Command::Fixed {} => draft.fixed(),
        Command::ConfirmFixed { fixed } => draft.confirm_fixed(*fixed)?,
        Command::Contacted {} => draft.contacted(),
        Command::NoShow {} => draft.no_show()?,
        Command::Cancel { reason } => draft.cancel(asker, reason),
        Command::CancelSafety { reason } => {
            draft.report(IncidentKind::CancelledSafety);
            draft.end(RescueStatus::CancelledSafety, reason, 0);
        }
        Command::Fail { reason } => draft.end(RescueStatus::Failed, reason, 0),
        Command::Rate { stars } => draft.rate(*stars)?,
        Command::Tick {} => draft.tick()?,
    }
    Ok(draft.events)
}

/// What the asker is to the rescue.
#[derive(Debug, Clone, Copy)]
struct Asker {
    is_rider: bool,
    is_driver: bool,
    is_attached: bool,
    is_staff: bool,
}

impl Asker {
    fn of(case: &Case, by: Principal) -> Self {
        let is = |it: &Option<Assignment>| {
            it.as_ref().is_some_and(|it| by == Principal::Driver(it.driver))
        };
        Self {
            is_rider: by == Principal::Rider(case.request.rider),
            is_driver: is(&case.driver),
            is_attached: is(&case.attached),
            is_staff: by.is_staff(),
        }
    }
}

/// May somebody with that relation ask it?
fn authorise(command: &Command, asker: Asker, by: Principal) -> Result<(), Refusal> {
    let is_system = by == Principal::System;
    let is_permitted = match command {
        Command::Request(_)
        | Command::Triage { .. }
        | Command::Assign { .. }
        | Command::Unassign { .. }
        | Command::Reassign { .. }
        | Command::Hold { .. }
        | Command::Resume { .. }
        | Command::SetPriority { .. }
        | Command::SetFleet { .. }
        | Command::Fail { .. } => asker.is_staff,
        Command::Search(_) | Command::Tick {} => is_system,
        Command::Locate { .. }
        | Command::ConfirmOffer { .. }
        | Command::RejectOffer { .. }
        | Command::ConfirmFixed { .. } => asker.is_rider || asker.is_staff,
        Command::Depart {} => asker.is_driver || is_system,
        Command::Arrive {} => asker.is_driver || asker.is_rider || asker.is_staff,
        Command::BeginAssist {}
        | Command::Load { .. }
        | Command::Unload { .. }
        | Command::Fixed {}
        | Command::Contacted {}
        | Command::NoShow {} => asker.is_driver,
        Command::Escalate { .. } => asker.is_driver || asker.is_staff,
        Command::Cancel { .. } | Command::CancelSafety { .. } => {
            asker.is_rider || asker.is_driver || asker.is_attached || asker.is_staff
        }
        Command::Rate { .. } => asker.is_rider,
    };
    if is_permitted {
        return Ok(());
    }
    let name: &'static str = command.into();
    Err(Refusal::NotYours(format!("{} may not {name} here", by.role())))
}

fn illegal(status: RescueStatus) -> Refusal {
    Refusal::IllegalTransition {
        state: status.to_string(),
        allowed: table::allowed(status).iter().map(|&name| name.to_owned()).collect(),
    }
}

fn place(
    rescue: &Rescue,
    request: &Request,
    context: &Context<RescueId>,
) -> Result<Vec<Event>, Refusal> {
    // A stranded driver asks as the rider it is as well.
    let is_own = match context.by {
        Principal::Rider(by) => by == request.rider,
        Principal::Driver(by) => by.0 == request.rider.0,
        Principal::Merchant(_) => false,
        Principal::Dispatcher | Principal::Admin | Principal::System => true,
    };
    if !is_own {
        return Err(Refusal::NotYours("only for oneself".to_owned()));
    }
    if let Some(case) = rescue.case.as_deref() {
        // Who helps elsewhere, which rule is in force, and what every node can read, may have changed meanwhile.
        let (accuracy_m, elsewhere) = (case.request.accuracy_m, case.request.elsewhere.clone());
        let (policy, rule, bike) =
            (case.request.policy, case.request.rule.clone(), case.request.bike);
        let is_same = Request { at: request.at.clone(), ..case.request.clone() }
            == Request { accuracy_m, elsewhere, policy, rule, bike, ..triage::hurried(request) };
        return if is_same { Ok(Vec::new()) } else { Err(illegal(case.status)) };
    }
    let request = &as_written(request, context.writes);
    let mut draft = Draft::new(rescue, context);
    let at = context.now;
    let stranded = match context.by {
        Principal::Driver(by) => Some(by),
        Principal::Rider(_)
        | Principal::Merchant(_)
        | Principal::Dispatcher
        | Principal::Admin
        | Principal::System => None,
    };
    draft.add(Event::Requested { at, request: Box::new(request.clone()), stranded });
    if !request.barred.is_empty() {
        draft.add(Event::Search(search::Event::Barred { drivers: request.barred.clone() }));
    }
    if !request.served {
        draft.end(RescueStatus::RejectedOutOfArea, "nobody serves this place", 0);
        return Ok(draft.events);
    }
    if let Some(kind) = triage::incident(request) {
        draft.report(kind);
    }
    if triage::comes_first(request) {
        draft.put_first();
    }
    if !triage::needs_a_person(request) {
        draft.triage(draft.needs());
    }
    Ok(draft.events)
}

/// The request without what not every node can read yet.
fn as_written(request: &Request, writes: Format) -> Request {
    let bike = request.bike.filter(|_| writes >= FEATURES);
    let rule = request.rule.clone().filter(|_| writes >= RULED);
    Request { bike, rule, ..request.clone() }
}

/// A decision being made: each rule sees the rescue as the events so far have left it.
struct Draft {
    rescue: Rescue,
    events: Vec<Event>,
    id: RescueId,
    by: Principal,
    now: Timestamp,
    writes: Format,
}

impl Draft {
    fn new(rescue: &Rescue, context: &Context<RescueId>) -> Self {
        let Context { id, by, now, writes } = *context;
        Self { rescue: rescue.clone(), events: Vec::new(), id, by, now, writes }
    }

    fn add(&mut self, event: Event) {
        self.rescue.evolve(&event);
        self.events.push(event);
    }

    fn case(&self) -> &Case {
        self.rescue.case.as_deref().expect("it was requested")
    }

    fn asked<'a>(&self, case: &'a Case) -> Asked<'a> {
        Asked {
            job: JobId::Rescue(self.id),
            rider: case.request.rider,
            policy: &case.request.policy,
            needs: &case.needs,
            assignment: case.driver.as_ref(),
            now: self.now,
        }
    }

    /// Somebody may be hurt, or is not safe: an incident is raised, once every node can read one.
    fn report(&mut self, kind: IncidentKind) {
        let report = Report { kind, by: self.by };
        let report = (self.writes >= incident::KNOWN).then_some(report);
        self.add(Event::IncidentOpened { at: self.now, report });
    }

    /// Safety before everything: it is matched before whatever is not as urgent, once every node can read that. A
    /// dispatcher may still say otherwise.
    fn put_first(&mut self) {
        if self.writes >= CONTROLLED {
            let (at, by, reason) = (self.now, Principal::System, "safety".to_owned());
            self.add(Event::PrioritySet { at, priority: Priority::Urgent, by, reason });
        }
    }

    /// What the rules say that it needs. Nobody has anything yet to load it with, as far as nodes know that are older than that.
    fn needs(&self) -> Needs {
        triage::needs(&self.case().request, self.writes >= FEATURES)
    }

    fn triage(&mut self, needs: Needs) {
        self.add(Event::Triaged { at: self.now, needs });
        self.open_search();
    }

    /// A place that is known well enough now needs no person any more.
    fn locate(&mut self, place: &Place, accuracy_m: Option<u32>, served: bool) {
        let known = &self.case().request;
        if known.at == *place && known.accuracy_m == accuracy_m {
            return;
        }
        self.add(Event::Located { at: self.now, place: place.clone(), accuracy_m });
        if !served {
            self.end(RescueStatus::RejectedOutOfArea, "nobody serves this place", 0);
        } else if !triage::needs_a_person(&self.case().request) {
            self.triage(self.needs());
        }
    }

    fn open_search(&mut self) {
        let case = self.case();
        let events = case.search.open(None, &case.request.policy, self.now);
        self.add_all(events);
    }

    fn add_all(&mut self, events: Vec<search::Event>) {
        for event in events {
            self.add(Event::Search(event));
        }
    }

    /// Lets the search judge, and does what its answer means for the rescue.
    fn follow(
        &mut self,
        judge: impl FnOnce(&Case, &Asked) -> Result<Decision, Refusal>,
    ) -> Result<(), Refusal> {
        let case = self.case();
        let Decision { events, outcome } = judge(case, &self.asked(case))?;
        self.add_all(events);
        match outcome {
            Some(Outcome::Won(assignment)) => {
                self.add(Event::Accepted { at: self.now, assignment });
            }
            Some(Outcome::Exhausted) => {
                self.close_search();
                self.give_up("nobody could come");
            }
            None => {}
        }
        Ok(())
    }

    fn close_search(&mut self) {
        let events = self.case().search.close(self.now);
        self.add_all(events);
    }

    /// Nobody (else) comes: the driver who stayed goes on, or it is over.
    fn give_up(&mut self, why: &str) {
        if self.case().attached.is_some() {
            self.add(Event::EscalationFailed { at: self.now });
        } else {
            self.end(RescueStatus::NoDriver, why, 0);
        }
    }

    fn search(&mut self, command: &search::Command) -> Result<(), Refusal> {
        if matches!(command, search::Command::Bar { .. }) && self.case().status.is_final() {
            return Ok(());
        }
        // Safety before everything: nobody who is stranded waits because of a zone.
        if let search::Command::Pause { .. } = command {
            return Ok(());
        }
        if let search::Command::DriverLost { driver, reason } = command {
            let case = self.case();
            let is = |it: &Option<Assignment>| it.as_ref().is_some_and(|it| it.driver == *driver);
            if case.status.is_final() {
                return Ok(());
            }
            if is(&case.attached) {
                self.detach(reason);
                return Ok(());
            }
            if is(&case.driver) {
                // On the scene only a dispatcher can send someone else: the driver has the vehicle.
                if !matches!(case.status, RescueStatus::Accepted | RescueStatus::EnRoute) {
                    return Err(illegal(case.status));
                }
                self.release(reason);
                return Ok(());
            }
        }
        self.follow(|case, asked| case.search.decide(command, asked))
    }

    /// A dispatcher gives it to a driver; all offers are taken back.
    fn assign(&mut self, chosen: &Chosen) -> Result<(), Refusal> {
        let case = self.case();
        let is_there = case.attached.as_ref().is_some_and(|it| it.driver == chosen.driver);
        let stays = is_there.then_some(WhyNot::HasIt);
        let against: Vec<WhyNot> =
            stays.into_iter().chain(chosen.against.iter().copied()).collect();
        let chosen = Chosen { against: &against, ..*chosen };
        let Given { events, bypassed } = case.search.assign(&chosen, &self.asked(case))?;
        if !events.is_empty() && self.writes >= CONTROLLED {
            let (driver, reason) = (chosen.driver, chosen.reason.to_owned());
            let (at, by) = (self.now, self.by);
            self.add(Event::DriverChosen { at, driver, by, reason, bypassed });
        }
        self.add_all(events);
        Ok(())
    }

    /// Takes it from its driver and gives it to another one, or does neither.
    fn reassign(&mut self, chosen: &Chosen) -> Result<(), Refusal> {
        let case = self.case();
        let driver = case.driver.as_ref().expect("a rescue on its way has a driver").driver;
        let has_lost_too_many = case.n_releases >= case.request.policy.reassigns_max;
        let limits =
            [(driver == chosen.driver, WhyNot::HasIt), (has_lost_too_many, WhyNot::TooManyDrivers)];
        let limits = limits.into_iter().filter(|(is_so, _)| *is_so).map(|(_, why)| why);
        let against: Vec<WhyNot> = limits.chain(chosen.against.iter().copied()).collect();
        self.let_go(chosen.reason);
        self.open_search();
        self.assign(&Chosen { against: &against, ..*chosen })
    }

    /// Takes the driver off it and looks for another one.
    fn release(&mut self, reason: &str) {
        let case = self.case();
        let is_last = case.n_releases >= case.request.policy.reassigns_max;
        self.let_go(reason);
        if is_last {
            self.give_up("it lost too many drivers");
        } else {
            self.open_search();
        }
    }

    fn let_go(&mut self, reason: &str) {
        let case = self.case();
        let driver = case.driver.as_ref().expect("a rescue on its way has a driver").driver;
        let (at, reason, by) = (self.now, reason.to_owned(), Some(self.by));
        self.add(Event::DriverReleased { at, driver, reason, by });
        self.add(Event::Search(search::Event::Excluded { driver }));
    }

    fn detach(&mut self, reason: &str) {
        let driver = self.case().attached.as_ref().expect("someone stayed").driver;
        self.add(Event::Detached { at: self.now, driver, reason: reason.to_owned() });
    }

    fn arrive(&mut self, asker: Asker) -> Result<(), Refusal> {
        let case = self.case();
        let policy = &case.request.policy;
        let (point, limit_m) = match (case.status, &case.request.dropoff) {
            (RescueStatus::InTransit, Some(dropoff)) => (dropoff.at, policy.dropoff_fence_m),
            (_, _) => (case.request.at.at, triage::scene_fence_m(&case.request)),
        };
        if asker.is_driver {
            let driver = case.driver.as_ref().expect("the asker is the driver").driver;
            self.rescue.soft.require_near(driver, point, limit_m, self.now)?;
        }
        self.add(Event::Arrived { at: self.now });
        Ok(())
    }

    fn load(&mut self, dropoff: Option<&Place>, proofs: &[Proof]) -> Result<(), Refusal> {
        let Some(dropoff) = dropoff.or(self.case().request.dropoff.as_ref()).cloned() else {
            return Err(Refusal::invalid("dropoff", "is needed to load"));
        };
        require_photo(proofs)?;
        self.add(Event::LoadStarted { at: self.now, dropoff, proofs: proofs.to_vec() });
        Ok(())
    }

    fn escalate(&mut self, needs: &Needs, stay: bool) -> Result<(), Refusal> {
        let case = self.case();
        if stay && case.attached.is_some() {
            return Err(Refusal::NotEligible("another driver already stays".to_owned()));
        }
        let driver = case.driver.as_ref().expect("a rescue at the scene has a driver").driver;
        let needs = match self.writes >= FEATURES {
            true => triage::escalated(needs.clone(), &case.request),
            false => needs.clone(),
        };
        self.add(Event::Escalated { at: self.now, needs, stay });
        self.add(Event::Search(search::Event::Excluded { driver }));
        self.open_search();
        Ok(())
    }

    fn unload(&mut self, proofs: &[Proof]) -> Result<(), Refusal> {
        require_photo(proofs)?;
        self.add(Event::Unloaded { at: self.now, proofs: proofs.to_vec() });
        self.end(RescueStatus::Completed, "towed", 0);
        Ok(())
    }

    fn fixed(&mut self) {
        if self.case().fixed_at.is_none() {
            self.add(Event::FixReported { at: self.now });
        }
    }

    fn confirm_fixed(&mut self, fixed: bool) -> Result<(), Refusal> {
        match (self.case().fixed_at, fixed) {
            (Some(_), true) => self.end(RescueStatus::Completed, "fixed_on_scene", 0),
            (Some(_), false) => self.add(Event::FixDenied { at: self.now }),
            (None, false) => {}
            (None, true) => {
                let what = "the driver has not said so".to_owned();
                return Err(Refusal::TooEarly { what, remaining_ms: 0 });
            }
        }
        Ok(())
    }

    fn contacted(&mut self) {
        if self.case().contacted_at.is_none() {
            self.add(Event::Contacted { at: self.now });
        }
    }

    fn no_show(&mut self) -> Result<(), Refusal> {
        let case = self.case();
        let policy = &case.request.policy;
        if case.contacted_at.is_none() {
            return Err(Refusal::ProofMissing("an attempt to reach the rider".to_owned()));
        }
        let driver = case.driver.as_ref().expect("a rescue at the scene has a driver").driver;
        let scene = case.request.at.at;
        self.rescue.soft.require_near(driver, scene, policy.pickup_fence_m, self.now)?;
        let arrived_at = case.arrived_at.expect("a driver on the scene has arrived");
        let waited = self.now.since(self.rescue.soft.waits_since(arrived_at));
        let remaining = ms(policy.no_show_ms).saturating_sub(waited);
        if !remaining.is_zero() {
            let remaining_ms = remaining.as_millis() as u64;
            return Err(Refusal::TooEarly { what: "the wait".to_owned(), remaining_ms });
        }
        let fee = case.late_fee();
        self.end(RescueStatus::NoShow, "the requester was not there", fee);
        Ok(())
    }

    fn cancel(&mut self, asker: Asker, reason: &str) {
        if asker.is_attached {
            self.detach(reason);
        } else if asker.is_driver {
            self.release(reason);
        } else if asker.is_rider {
            let case = self.case();
            let free = ms(case.request.policy.cancel_free_ms);
            let is_late = case.driver.as_ref().is_some_and(|it| self.now.since(it.at) > free);
            let fee = if is_late { case.late_fee() } else { 0 };
            self.end(RescueStatus::CancelledByRider, reason, fee);
        } else {
            self.end(RescueStatus::CancelledByAdmin, reason, 0);
        }
    }

    /// Ends it for good; nothing stays open.
    fn end(&mut self, status: RescueStatus, outcome: &str, fee: i64) {
        self.close_search();
        self.add(Event::Ended { at: self.now, status, outcome: outcome.to_owned(), fee });
    }

    fn rate(&mut self, stars: u8) -> Result<(), Refusal> {
        if !(1..=5).contains(&stars) {
            return Err(Refusal::invalid("stars", "must be 1 to 5"));
        }
        let case = self.case();
        match case.stars {
            Some(given) if given == stars => return Ok(()),
            Some(_) => return Err(Refusal::TooLate("it has been rated".to_owned())),
            None => {}
        }
        if self.now.since(case.changed_at) > ms(case.request.policy.rate_ms) {
            return Err(Refusal::TooLate("it ended too long ago".to_owned()));
        }
        self.add(Event::Rated { at: self.now, stars });
        Ok(())
    }

    /// Does whatever is due by now.
    fn tick(&mut self) -> Result<(), Refusal> {
        if self.case().status.is_final() {
            return Ok(());
        }
        self.watch_the_clock();
        let case = self.case();
        if case.status == RescueStatus::Requested && self.now >= case.triage_due() {
            self.triage(self.needs());
        }
        self.follow(|case, asked| Ok(case.search.tick(asked)))?;
        if self.case().silence_due().is_some_and(|due| self.now >= due) {
            self.end(RescueStatus::Completed, "fixed_on_scene", 0);
        }
        Ok(())
    }

    fn watch_the_clock(&mut self) {
        while let Some(due) = self.case().sla_due()
            && self.now >= due
        {
            let at = self.now;
            self.add(match self.case().sla {
                Sla::Kept => Event::SlaAtRisk { at },
                Sla::AtRisk | Sla::Breached => Event::SlaBreached { at },
            });
        }
    }
}

fn require_photo(proofs: &[Proof]) -> Result<(), Refusal> {
    if proofs.iter().any(|proof| proof.kind == ProofKind::Photo) {
        return Ok(());
    }
    Err(Refusal::ProofMissing(ProofKind::Photo.to_string()))
}
