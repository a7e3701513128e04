//! What a run may do, and what follows.

use super::{Command, Errand, Event, Life, Member, Plan, Run, Wanted};
use crate::{Context, Decider, Refusal, reason};
use matching::batch::{GRACE, Legs};
use protocol::{
    DriverId, MemberStatus, OfferId, OfferStatus, OrderId, Point, Principal, RunId, RunStatus,
    Timestamp, view::StopKind,
};
use std::time::Duration;

/// An offer that nobody would have time to read is not made.
const OFFER_MIN: Duration = Duration::from_secs(3);
/// How long to wait while the driver has an offer of the run.
const ASKED_MS: u64 = 5_000;

type Answer = Result<Vec<Event>, Refusal>;
type Around = Context<RunId>;

pub(super) fn decide(life: Option<&Life>, command: &Command, around: &Around) -> Answer {
    authorise(command, around.by)?;
    match (life, command) {
        (None, Command::Plan(plan)) => planned(plan, around),
        (None, _) => Err(Refusal::Unknown("run".to_owned())),
        (Some(life), Command::Plan(plan)) if life.plan == **plan => Ok(Vec::new()),
        (Some(life), Command::Plan(_)) => Err(illegal(life)),
        (Some(life), command) => {
            let run = Run(Some(Box::new(life.clone())));
            let mut draft = Draft { run, events: Vec::new(), around };
            draft.hear(command)?;
            Ok(draft.events)
        }
    }
}

/// Staff say what only people say, and the platform all the rest. Who brings it acts on its orders, not on it.
pub(super) fn authorise(command: &Command, by: Principal) -> Result<(), Refusal> {
    let may = match command {
        Command::Insert { .. } => by.is_staff(),
        // Nobody speaks for somebody else.
        Command::Plan(plan) => match plan.by {
            None => by == Principal::System,
            Some(wants) => wants == by && matches!(by, Principal::Dispatcher | Principal::Admin),
        },
        Command::Remove { .. }
        | Command::Reorder { .. }
        | Command::Split { .. }
        | Command::Merge { .. }
        | Command::Abandon { .. } => matches!(by, Principal::Dispatcher | Principal::Admin),
        Command::Join { .. }
        | Command::Leave { .. }
        | Command::Stay { .. }
        | Command::RefuseOffer { .. }
        | Command::AcceptOffer { .. }
        | Command::DeclineOffer { .. }
        | Command::NoteAssigned { .. }
        | Command::StopDone { .. }
        | Command::LoseDriver { .. }
        | Command::Tick {} => by == Principal::System,
    };
    let name: &'static str = command.into();
    match may {
        true => Ok(()),
        false => Err(Refusal::NotYours(format!("{} may not {name} here", by.role()))),
    }
}

/// What staff may ask of one in this state.
pub(super) fn allowed(status: RunStatus) -> &'static [&'static str] {
    match status {
        RunStatus::Planned | RunStatus::Offered => &["abandon"],
        RunStatus::Accepted => &["remove", "abandon"],
        RunStatus::Active => &["insert", "remove", "reorder", "split", "merge", "abandon"],
        RunStatus::Completed | RunStatus::Dissolved | RunStatus::Abandoned => &[],
    }
}

fn illegal(life: &Life) -> Refusal {
    let allowed = allowed(life.status).iter().map(|it| (*it).to_owned()).collect();
    Refusal::IllegalTransition { state: life.status.to_string(), allowed }
}

fn not_eligible(why: &str) -> Refusal {
    Refusal::NotEligible(why.to_owned())
}

fn ms(n: u32) -> Duration {
    Duration::from_millis(n.into())
}

/// Until when orders may say whether they join, and how long those that do wait.
fn windows(plan: &Plan, now: Timestamp) -> (Timestamp, Timestamp) {
    let until = now + ms(plan.join_ms);
    (until, until + ms(plan.offer_ms) + GRACE)
}

fn planned(plan: &Plan, around: &Around) -> Answer {
    if plan.by.is_some() {
        reason::check(plan.reason.as_deref().unwrap_or_default())?;
    }
    if plan.format() > around.writes {
        return Err(not_eligible("not every node knows yet that staff may want a run"));
    }
    let mut orders: Vec<OrderId> = plan.orders.iter().map(|it| it.order).collect();
    orders.sort_unstable();
    orders.dedup();
    if orders.len() != plan.orders.len() {
        return Err(Refusal::invalid("orders", "each once"));
    }
    if !(usize::from(plan.n_min.max(1))..=usize::from(plan.orders_max)).contains(&orders.len()) {
        return Err(Refusal::invalid("orders", "too few or too many"));
    }
    let (until, frozen_until) = windows(plan, around.now);
    Ok(vec![Event::Planned { plan: Box::new(plan.clone()), until, frozen_until, at: around.now }])
}

/// A decision being made: each rule sees the run as the events so far have left it.
struct Draft<'a> {
    run: Run,
    events: Vec<Event>,
    around: &'a Around,
}

impl Draft<'_> {
    fn life(&self) -> &Life {
        self.run.0.as_ref().expect("a draft is of a run that was planned")
    }

    fn now(&self) -> Timestamp {
        self.around.now
    }

    fn add(&mut self, event: Event) {
        self.run.evolve(&event);
        self.events.push(event);
    }

    fn hear(&mut self, command: &Command) -> Result<(), Refusal> {
        match command {
            // Judged before.
            Command::Plan(_) => Ok(()),
            Command::Insert { orders, place, legs, reason } => {
                self.insert(orders, *place, legs, reason.as_deref())
            }
            Command::Join { order, part } => self.join(*order, part),
            Command::Leave { order, why } => {
                self.leave(*order, why);
                Ok(())
            }
            Command::Stay { orders } => {
                self.stay(orders);
                Ok(())
            }
            Command::RefuseOffer { offer, why } => {
                self.closed(*offer, OfferStatus::Withdrawn, Some(why));
                Ok(())
            }
            Command::DeclineOffer { offer } => {
                self.closed(*offer, OfferStatus::Declined, None);
                Ok(())
            }
            Command::AcceptOffer { offer, driver, slots } => self.accept(*offer, *driver, slots),
            Command::NoteAssigned { order } => {
                self.note_assigned(*order);
                Ok(())
            }
            Command::StopDone { order, what } => {
                self.stop_done(*order, *what);
                Ok(())
            }
            Command::LoseDriver { why } => {
                if self.life().is_driven() {
                    self.abandon(why);
                }
                Ok(())
            }
            Command::Remove { orders, reason } => self.remove(orders, reason),
            Command::Reorder { stops, reason } => self.reorder(stops, reason),
            Command::Split { orders, driver, into, place, capacity_g, with_goods, reason } => {
                let to =
                    Taker { driver: *driver, into: *into, place: *place, capacity_g: *capacity_g };
                self.split(orders, &to, *with_goods, reason)
            }
            Command::Merge { into, reason } => self.merge(*into, reason),
            Command::Abandon { reason } => {
                reason::check(reason)?;
                match self.life().status {
                    RunStatus::Abandoned => Ok(()),
                    RunStatus::Completed | RunStatus::Dissolved => Err(illegal(self.life())),
                    RunStatus::Planned | RunStatus::Offered => {
                        self.dissolve(OfferStatus::Withdrawn, reason);
                        Ok(())
                    }
                    RunStatus::Accepted | RunStatus::Active => {
                        self.abandon(reason);
                        Ok(())
                    }
                }
            }
            Command::Tick {} => {
                self.tick();
                Ok(())
            }
        }
    }

    fn insert(
        &mut self,
        orders: &[Wanted],
        place: Option<Point>,
        legs: &Legs,
        why: Option<&str>,
    ) -> Result<(), Refusal> {
        if self.around.by != Principal::System {
            reason::check(why.unwrap_or_default())?;
        }
        let life = self.life();
        let mut new: Vec<Wanted> = Vec::new();
        for wanted in orders {
            let is_known = life.member(wanted.order).is_some()
                || new.iter().any(|it| it.order == wanted.order);
            if !is_known {
                new.push(*wanted);
            }
        }
        if new.is_empty() {
            return Ok(());
        }
        if life.status != RunStatus::Active {
            return Err(illegal(life));
        }
        if life.asking_until.is_some() || life.offer.is_some() {
            let what = "its driver is being asked about another order".to_owned();
            return Err(Refusal::TooEarly { what, remaining_ms: ASKED_MS });
        }
        let n = life.members.iter().filter(|it| it.status != MemberStatus::Done).count();
        if n + new.len() > usize::from(life.plan.orders_max) {
            return Err(not_eligible("it has as many orders as it may"));
        }
        let (until, frozen_until) = windows(&life.plan, self.now());
        let (by, at) = (self.around.by, self.now());
        let (legs, reason) = (legs.clone(), why.map(str::to_owned));
        self.add(Event::InsertAsked {
            orders: new,
            place,
            legs,
            until,
            frozen_until,
            by,
            reason,
            at,
        });
        Ok(())
    }

    /// An order that joins too late is told, so that it looks on.
    fn join(&mut self, order: OrderId, part: &super::Part) -> Result<(), Refusal> {
        let too_late = || Refusal::TooLate("the run goes on without it".to_owned());
        let life = self.life();
        if life.status.is_final() {
            return Err(too_late());
        }
        match life.member(order).map(|it| it.status) {
            None => Err(too_late()),
            Some(MemberStatus::Asked) => {
                let part = Box::new(part.clone());
                self.add(Event::OrderJoined { order, part, at: self.now() });
                self.close_round();
                Ok(())
            }
            Some(_) => Ok(()),
        }
    }

    /// An order is out, by its own word; or it could not be assigned, and does not know that it is out.
    fn leave(&mut self, order: OrderId, why: &str) {
        let life = self.life();
        if life.status.is_final() {
            return;
        }
        let status = life.member(order).map(|it| it.status);
        let order_knows = status != Some(MemberStatus::Assigning);
        self.out(order, OfferStatus::Withdrawn, order_knows, why);
    }

    /// Takes an order out, and sees to what that changes.
    fn out(&mut self, order: OrderId, status: OfferStatus, order_knows: bool, why: &str) {
        let Some(member) = self.life().member(order) else { return };
        let was = member.status;
        if was == MemberStatus::Done {
            return;
        }
        let (reason, at) = (why.to_owned(), self.now());
        self.add(Event::OrderLeft { order, status, order_knows, reason, at });
        match was {
            MemberStatus::Asked => self.close_round(),
            MemberStatus::Joined => {
                // What the driver was offered is not so any more; what is left is offered anew.
                if let Some(open) = self.life().offer.as_ref().map(|open| open.id) {
                    let (status, at) = (OfferStatus::Withdrawn, self.now());
                    let closed = Event::OfferClosed {
                        offer: open,
                        status,
                        driver_knows: false,
                        reason: None,
                        at,
                    };
                    self.add(closed);
                    self.close_round();
                }
            }
            MemberStatus::Assigning | MemberStatus::Waiting | MemberStatus::Aboard => {
                self.resequence(Principal::System);
            }
            MemberStatus::Done => {}
        }
        self.end_if_done(why);
    }

    fn stay(&mut self, orders: &[OrderId]) {
        let is_leaving = |it: &&OrderId| {
            let member = self.life().member(**it);
            member.is_some_and(|member| member.is_leaving || member.handed_to.is_some())
        };
        let orders: Vec<OrderId> = orders.iter().filter(is_leaving).copied().collect();
        if !orders.is_empty() && !self.life().status.is_final() {
            self.add(Event::OrdersStayed { orders, at: self.now() });
        }
    }

    /// Offers what has joined, once everybody asked has answered.
    fn close_round(&mut self) {
        let life = self.life();
        let is_open = !life.status.is_final()
            && life.offer.is_none()
            && life.members.iter().all(|it| it.status != MemberStatus::Asked);
        if !is_open {
            return;
        }
        let is_first = !life.is_driven();
        let n_min = if is_first { usize::from(life.plan.n_min.max(1)) } else { 1 };
        let (stops, unfit) = life.with_joined(self.now());
        for order in unfit {
            let (status, at) = (OfferStatus::Withdrawn, self.now());
            let reason =
                "a promise would be broken, its driver work for too long, or it is too heavy";
            let reason = reason.to_owned();
            self.add(Event::OrderLeft { order, status, order_knows: false, reason, at });
        }
        let life = self.life();
        let n_joined = life.in_status(MemberStatus::Joined).len();
        let expires_at = (self.now() + ms(life.plan.offer_ms)).min(life.frozen_until - GRACE);
        let is_offered = n_joined >= n_min && expires_at >= self.now() + OFFER_MIN;
        if is_offered {
            let offer = OfferId::of_run(self.around.id, life.n_offers);
            self.add(Event::Offered { offer, stops, expires_at, at: self.now() });
        } else if is_first {
            self.dissolve(OfferStatus::Withdrawn, "too few of its orders joined");
        } else {
            self.release_joined(OfferStatus::Withdrawn, "there is no time left to ask");
        }
    }

    /// Those that wait for the driver's answer wait no more.
    fn release_joined(&mut self, status: OfferStatus, why: &str) {
        for order in self.life().in_status(MemberStatus::Joined) {
            let (reason, at) = (why.to_owned(), self.now());
            self.add(Event::OrderLeft { order, status, order_knows: false, reason, at });
        }
        self.end_if_done(why);
    }

    fn dissolve(&mut self, status: OfferStatus, why: &str) {
        if let Some(offer) = self.life().offer.as_ref().map(|open| open.id) {
            let at = self.now();
            self.add(Event::OfferClosed { offer, status, driver_knows: false, reason: None, at });
        }
        self.add(Event::Dissolved { status, reason: why.to_owned(), at: self.now() });
    }

    fn abandon(&mut self, why: &str) {
        let (by, reason, at) = (self.around.by, why.to_owned(), self.now());
        self.add(Event::Abandoned { by, reason, at });
    }

    /// An offer came to nothing. One that is over already is no news.
    fn closed(&mut self, offer: OfferId, status: OfferStatus, why: Option<&str>) {
        if self.life().offer.as_ref().is_none_or(|open| open.id != offer) {
            return;
        }
        let (reason, at) = (why.map(str::to_owned), self.now());
        self.add(Event::OfferClosed { offer, status, driver_knows: true, reason, at });
        let words = format!("the offer is {status}");
        match self.life().is_driven() {
            true => self.release_joined(status, &words),
            false => self.dissolve(status, &words),
        }
    }

    fn accept(
        &mut self,
        offer: OfferId,
        driver: DriverId,
        slots: &[(OrderId, u8)],
    ) -> Result<(), Refusal> {
        let life = self.life();
        if life.plan.driver != driver {
            return Err(Refusal::NotYours("the offer was made to another driver".to_owned()));
        }
        match life.offer.as_ref().filter(|open| open.id == offer) {
            Some(open) if open.expires_at <= self.now() => {
                Err(Refusal::OfferGone(OfferStatus::Expired))
            }
            Some(_) => {
                let joined = life.in_status(MemberStatus::Joined);
                let has_slot = |it: &OrderId| slots.iter().any(|(order, _)| order == it);
                if slots.len() != joined.len() || !joined.iter().all(has_slot) {
                    return Err(Refusal::OfferGone(OfferStatus::Withdrawn));
                }
                self.add(Event::Accepted { offer, slots: slots.to_vec(), at: self.now() });
                Ok(())
            }
            None => {
                // Said once more, by a driver whose orders have not decided.
                let has =
                    |order: &OrderId| life.member(*order).is_some_and(|it| it.offer == Some(offer));
                let is_so = life.is_driven() && slots.iter().all(|(order, _)| has(order));
                if is_so { Ok(()) } else { Err(Refusal::OfferGone(OfferStatus::Lost)) }
            }
        }
    }

    fn note_assigned(&mut self, order: OrderId) {
        let status = self.life().member(order).map(|it| it.status);
        if self.life().is_driven() && status == Some(MemberStatus::Assigning) {
            self.add(Event::OrderAssigned { order, at: self.now() });
        }
    }

    fn stop_done(&mut self, order: OrderId, what: StopKind) {
        let life = self.life();
        let status = life.member(order).map(|it| it.status);
        let is_news = match (status, what) {
            (Some(MemberStatus::Assigning | MemberStatus::Waiting), _) => true,
            (Some(MemberStatus::Aboard), StopKind::Dropoff) => true,
            (Some(MemberStatus::Aboard), StopKind::Pickup) => false,
            (Some(MemberStatus::Asked | MemberStatus::Joined | MemberStatus::Done) | None, _) => {
                false
            }
        };
        if life.is_driven() && is_news {
            self.add(Event::StopDone { order, what, at: self.now() });
            self.end_if_done("nothing is left of it");
        }
    }

    /// With nothing left to bring it is over.
    fn end_if_done(&mut self, why: &str) {
        let life = self.life();
        let is_over = |it: &Member| it.status == MemberStatus::Done;
        if !life.is_driven() || !life.members.iter().all(is_over) {
            return;
        }
        if life.members.is_empty() {
            self.abandon(why);
        } else {
            self.add(Event::Completed { at: self.now() });
        }
    }

    /// What is left in a better order, or at least in time for what it now is.
    fn resequence(&mut self, by: Principal) {
        let life = self.life();
        if life.is_driven() && !life.stops.is_empty() {
            let stops = life.best_order(self.now());
            self.add(Event::Resequenced { stops, by, reason: None, at: self.now() });
        }
    }

    /// Those of `orders` that can be taken out of it: not fetched, and not asked to leave already.
    fn movable(&self, orders: &[OrderId]) -> Result<Vec<OrderId>, Refusal> {
        let life = self.life();
        let mut movable = Vec::new();
        for order in orders {
            let member = life.member(*order).ok_or_else(|| Refusal::Unknown("order".to_owned()))?;
            match member.status {
                MemberStatus::Aboard | MemberStatus::Done => {
                    return Err(Refusal::TooLate("it is fetched already; hand it over".to_owned()));
                }
                MemberStatus::Asked | MemberStatus::Joined | MemberStatus::Assigning => {
                    let what = "it is being assigned".to_owned();
                    return Err(Refusal::TooEarly { what, remaining_ms: ASKED_MS });
                }
                MemberStatus::Waiting if member.is_leaving || movable.contains(order) => {}
                MemberStatus::Waiting => movable.push(*order),
            }
        }
        Ok(movable)
    }

    fn must_be_active(&self) -> Result<(), Refusal> {
        match self.life().status == RunStatus::Active {
            true => Ok(()),
            false => Err(illegal(self.life())),
        }
    }

    fn remove(&mut self, orders: &[OrderId], why: &str) -> Result<(), Refusal> {
        reason::check(why)?;
        if !self.life().is_driven() {
            return Err(illegal(self.life()));
        }
        let orders = self.movable(orders)?;
        if !orders.is_empty() {
            let (by, reason, at) = (self.around.by, why.to_owned(), self.now());
            self.add(Event::RemovalAsked { orders, by, reason, at });
        }
        Ok(())
    }

    fn reorder(&mut self, errands: &[Errand], why: &str) -> Result<(), Refusal> {
        reason::check(why)?;
        self.must_be_active()?;
        let life = self.life();
        let has_all = errands.len() == life.stops.len()
            && life.stops.iter().all(|stop| errands.contains(&stop.errand()));
        if !has_all {
            return Err(Refusal::invalid("stops", "all that is left, each once"));
        }
        if life.stops.iter().map(super::Stop::errand).eq(errands.iter().copied()) {
            return Ok(());
        }
        if life.offer.is_some() {
            let what = "its driver is being asked about another order".to_owned();
            return Err(Refusal::TooEarly { what, remaining_ms: ASKED_MS });
        }
        let stops = life.in_order(errands, self.now())?;
        let (by, reason, at) = (self.around.by, Some(why.to_owned()), self.now());
        self.add(Event::Resequenced { stops, by, reason, at });
        Ok(())
    }

    fn split(
        &mut self,
        orders: &[OrderId],
        to: &Taker,
        with_goods: bool,
        why: &str,
    ) -> Result<(), Refusal> {
        reason::check(why)?;
        self.must_be_active()?;
        let life = self.life();
        if life.plan.driver == to.driver {
            return Err(Refusal::invalid("driver", "has it already"));
        }
        let all = life.in_status(MemberStatus::Waiting);
        let orders = self.movable(if orders.is_empty() { &all } else { orders })?;
        let mut goods = if with_goods { life.in_status(MemberStatus::Aboard) } else { Vec::new() };
        // Said again, it is on its way to that driver already.
        goods.retain(|it| {
            life.member(*it).is_some_and(|member| member.handed_to != Some(to.driver))
        });
        let (by, at) = (self.around.by, self.now());
        if orders.is_empty() && goods.is_empty() {
            return Ok(());
        }
        if !orders.is_empty() {
            let plan = Box::new(to.plan(life, &orders, self.around.id, self.now(), why));
            let (into, reason, orders) = (to.into, why.to_owned(), orders);
            self.add(Event::SplitAsked { orders, into, plan, by, reason, at });
        }
        if !goods.is_empty() {
            let (orders, driver, reason) = (goods, to.driver, why.to_owned());
            self.add(Event::HandoverAsked { orders, driver, by, reason, at });
        }
        Ok(())
    }

    fn merge(&mut self, into: RunId, why: &str) -> Result<(), Refusal> {
        reason::check(why)?;
        self.must_be_active()?;
        if into == self.around.id {
            return Err(Refusal::invalid("into", "is this one"));
        }
        let orders = self.movable(&self.life().in_status(MemberStatus::Waiting))?;
        if !orders.is_empty() {
            let (by, reason, at) = (self.around.by, why.to_owned(), self.now());
            self.add(Event::MergeAsked { orders, into, by, reason, at });
        }
        Ok(())
    }

    /// Does whatever is due by now.
    fn tick(&mut self) {
        let life = self.life();
        if life.status.is_final() {
            return;
        }
        if life.asking_until.is_some_and(|until| until <= self.now()) {
            for order in life.in_status(MemberStatus::Asked) {
                self.out(order, OfferStatus::Withdrawn, false, "it did not answer in time");
            }
        }
        let is_over = |open: &&super::Open| open.expires_at <= self.now();
        if let Some(offer) = self.life().offer.as_ref().filter(is_over).map(|open| open.id) {
            self.closed(offer, OfferStatus::Expired, None);
        }
    }
}

/// Who takes over what another run gives away.
struct Taker {
    driver: DriverId,
    into: RunId,
    place: Option<Point>,
    capacity_g: u32,
}

impl Taker {
    fn plan(
        &self,
        life: &Life,
        orders: &[OrderId],
        from: RunId,
        now: Timestamp,
        why: &str,
    ) -> Plan {
        let first = orders.iter().find_map(|it| life.member(*it)?.part.as_deref());
        let at = self.place.or(first.map(|part| part.pickup.at)).unwrap_or(life.at);
        let wanted = |order: &OrderId| Wanted { order: *order, round: None, from: Some(from) };
        Plan {
            driver: self.driver,
            orders: orders.iter().map(wanted).collect(),
            cart: matching::batch::Cart {
                at,
                free: now,
                capacity_g: self.capacity_g,
                // How long they may work was looked at when they were chosen.
                until: None,
                ..life.plan.cart
            },
            n_min: 1,
            consent: false,
            saving_percent: 0,
            reason: Some(why.to_owned()),
            // The run it comes from says who wanted this one, and what was said of that one is not said of this.
            by: None,
            told: Vec::new(),
            ..life.plan.clone()
        }
    }
}
