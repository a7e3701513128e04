//! How an order is brought with others: what runs ask of it, and what it tells them.

use super::{Alert, Answer, Around, Command, Event, Leg, Life, Placement, work};
use crate::{
    Effect, Refusal, SearchCard, Tell,
    driver::Wants,
    run::{self, Part},
    search,
};
use matching::batch::Batch;
use protocol::{
    JobId, Money, OfferStatus, OrderId, OrderStatus, RunId, Timestamp,
    trace::WhyAlone,
    view::{StopKind, WorkKind},
    work::{OfferPolicy, Priority},
};

impl Life {
    /// The run it is brought with, or waits for.
    pub(super) fn in_run(&self) -> Option<RunId> {
        self.search.run().or(self.run)
    }

    /// What regions need to know to bring it with others; none, if it is to be brought alone.
    pub(super) fn batch(&self) -> Option<Batch> {
        let may = self.placement.policy.batch
            && self.is_found_a_driver()
            && self.is_plain()
            && self.priority != Priority::Urgent
            && self.search.may_join();
        may.then(|| self.times())
    }

    /// Is it fetched at one place and brought to one other?
    fn is_plain(&self) -> bool {
        work(self.placement.kind) == WorkKind::Delivery && self.placement.stops.len() == 2
    }

    /// Is its driver found for it, rather than chosen by its rider, or it by the driver?
    pub(super) fn is_found_a_driver(&self) -> bool {
        let is_found = match self.placement.policy.offer {
            OfferPolicy::Sequential
            | OfferPolicy::BroadcastFirstWins
            | OfferPolicy::BatchOptimal
            | OfferPolicy::AutoAssign => true,
            OfferPolicy::TwoSided | OfferPolicy::Direct | OfferPolicy::Feed => false,
        };
        is_found && self.placement.driver.is_none()
    }

    /// What a region would know of it, if staff want it brought with others: also of what a dispatcher holds, and whatever its
    /// brand says, if they insist.
    pub(super) fn to_bring(&self, id: OrderId, is_forced: bool) -> Result<SearchCard, WhyAlone> {
        if !self.is_plain() {
            return Err(WhyAlone::OtherKind);
        }
        if self.assignment().is_some() || self.status().is_final() {
            return Err(WhyAlone::Taken);
        }
        if self.in_run().is_some() {
            return Err(WhyAlone::InRun);
        }
        if self.search.pause_of_zone().is_some() {
            return Err(WhyAlone::ZonePaused);
        }
        if self.search.is_asking() {
            return Err(WhyAlone::Offered);
        }
        let Placement { kind, rider, needs, policy, .. } = &self.placement;
        let (job, at) = (JobId::Order(id), self.pickup().at);
        let card = self.search.card_if_resumed(job, work(*kind), *rider, at, needs, policy);
        let mut card = card.ok_or(WhyAlone::NotLooking)?;
        let is_batched = self.batch().is_some() || is_forced;
        if !self.is_found_a_driver() || !is_batched {
            return Err(WhyAlone::NotBatched);
        }
        // What is held loses no time.
        let until = if self.search.is_held() { Timestamp(u64::MAX) } else { self.times().until };
        card.dropoff = Some(self.dropoff().at);
        card.priority = self.priority;
        card.batch = Some(Batch { until, ..self.times() });
        Ok(card)
    }

    fn times(&self) -> Batch {
        let asked = self.placement.start_at.unwrap_or(self.placed_at).max(self.placed_at);
        let ready = self.fulfilment.as_deref().and_then(super::Fulfilment::ready_at);
        let until = self.search.until().unwrap_or_default();
        Batch { asked, ready: ready.unwrap_or(asked), promise: self.promised(), until }
    }

    /// What it is, as far as a run cares.
    fn part(&self) -> Part {
        let (needs, fleet) = (&self.placement.needs, self.search.fleet());
        Part {
            pickup: self.pickup().clone(),
            dropoff: self.dropoff().clone(),
            fare: self.fare_total(),
            weight_g: needs.weight_g,
            times: self.times(),
            wants: Wants::of(needs, fleet, self.search.is_kept_at_first()).map(Box::new),
        }
    }

    fn fare_total(&self) -> Money {
        self.placement.fare.total()
    }

    /// A run asks whether it joins. One that is in another, and not fetched yet, leaves that for it.
    pub(super) fn join_run(&self, command: &search::Command, around: &Around) -> Answer {
        if !self.is_plain() {
            return Err(Refusal::NotEligible("it is brought alone".to_owned()));
        }
        let search::Command::JoinRun { run, from: Some(from), .. } = command else {
            return self.hear_of_run(command, around);
        };
        if self.run != Some(*from) || self.search.run() == Some(*run) {
            return self.hear_of_run(command, around);
        }
        let Some(by) = self.assignment() else { return self.hear_of_run(command, around) };
        if !self.is_on_the_way_to_pickup() || !self.may_reassign() {
            return Err(Refusal::TooLate("it is fetched, or has lost too many drivers".to_owned()));
        }
        let mut events = self.let_go(by.driver, "goes with another run", around);
        // It was no fault of that driver's.
        let is_blame = |it: &Event| matches!(it, Event::Search(search::Event::Excluded { .. }));
        events.retain(|it| !is_blame(it));
        let mut after = self.clone();
        events.iter().for_each(|event| after.evolve(event));
        events.extend(after.hear_of_run(command, around)?);
        Ok(events)
    }

    /// A run says that it is in it no more. One that its driver was on the way to looks for another.
    pub(super) fn leave_run(
        &self,
        run: RunId,
        command: &search::Command,
        around: &Around,
    ) -> Answer {
        let Some(by) = self.assignment().filter(|_| self.run == Some(run)) else {
            return self.hear_of_run(command, around);
        };
        if !self.is_on_the_way_to_pickup() {
            return Err(Refusal::TooLate("it is fetched already".to_owned()));
        }
        if !self.may_reassign() {
            return Err(Refusal::TooLate("it has lost too many drivers".to_owned()));
        }
        Ok(self.let_go(by.driver, "taken out of its run", around))
    }

    fn hear_of_run(&self, command: &search::Command, around: &Around) -> Answer {
        Ok(self.searched(self.search.decide(command, &self.asked(around))?, around))
    }

    fn is_on_the_way_to_pickup(&self) -> bool {
        matches!(self.leg(), Some(Leg::Assigned | Leg::EnRoutePickup | Leg::AtPickup { .. }))
    }

    /// What a run must be told of `event`. `self` is the order before it.
    pub(super) fn effects_on_run(&self, id: OrderId, event: &Event) -> Option<Effect> {
        let tell = |to: RunId, command: run::Command| Effect::from(Tell::Run { to, command });
        if let Event::Search(search::Event::JoinedRun { run, .. }) = event {
            let join = run::Command::Join { order: id, part: Box::new(self.part()) };
            let status = OfferStatus::Withdrawn;
            let leave = Command::Search(search::Command::LeaveRun { run: *run, status });
            return Some(tell(*run, join).if_refused(Tell::Order { to: id, command: leave }));
        }
        if let Event::Search(search::Event::LeftRun { run, status, run_knows, .. }) = event {
            if *status == OfferStatus::Accepted {
                return Some(tell(*run, run::Command::NoteAssigned { order: id }));
            }
            let why = "it is offered alone, or nobody looks for a driver".to_owned();
            let leave = run::Command::Leave { order: id, why };
            return (!run_knows).then(|| tell(*run, leave));
        }
        let run = self.run?;
        if let Some(status) = event.ends_with() {
            let what = StopKind::Dropoff;
            let done = run::Command::StopDone { order: id, what };
            let left = run::Command::Leave { order: id, why: status.to_string() };
            return Some(tell(run, if status == OrderStatus::Delivered { done } else { left }));
        }
        if let Event::PickedUp { .. } = event {
            let what = StopKind::Pickup;
            Some(tell(run, run::Command::StopDone { order: id, what }))
        } else if let Event::DriverGone { reason, .. } = event {
            Some(tell(run, run::Command::Leave { order: id, why: reason.clone() }))
        } else if let Event::CustodyPassed(_) = event {
            Some(tell(run, run::Command::Leave { order: id, why: "handed over".to_owned() }))
        } else if let Event::Alerted { what: Alert::DriverLost, .. } = event {
            let why = "its driver cannot go on".to_owned();
            Some(tell(run, run::Command::LoseDriver { why }))
        } else if is_not_taken_over(event) {
            Some(tell(run, run::Command::Stay { orders: vec![id] }))
        } else {
            None
        }
    }

    /// Remembers which run brings it, for as long as that run's driver has it and can go on: without one its run is over.
    pub(super) fn apply_run(&mut self, event: &Event) {
        if let Event::Search(search::Event::LeftRun {
            run, status: OfferStatus::Accepted, ..
        }) = event
        {
            self.run = Some(*run);
        }
        if matches!(
            event,
            Event::DriverGone { .. }
                | Event::CustodyPassed(_)
                | Event::Alerted { what: Alert::DriverLost, .. }
        ) {
            self.run = None;
        }
    }
}

/// Does whoever was to take its goods over not do so? What is brought with a run is offered to nobody else but to be
/// handed over.
fn is_not_taken_over(event: &Event) -> bool {
    if let Event::Search(search::Event::OfferClosed { status, .. }) = event {
        return *status != OfferStatus::Accepted;
    }
    matches!(event, Event::Search(search::Event::OfferRefused { .. }))
}
