//! A run: several deliveries that one driver brings together.
//!
//! ```text
//!            orders join          the driver says yes     orders are assigned        all is brought
//!  planned ───────────► offered ───────────────────► accepted ──────────────► active ───────────► completed
//!     └──── too few ───────┴─── no, or nobody ──► dissolved                     │  ▲ one more is asked, and offered
//!           (each order looks on for itself)                                    │  └──┘
//!                                                                               └─ the driver cannot go on ─► abandoned
//! ```
//!
//! It owns no order: each stays the judge of itself and holds its own claim on a slot of the driver. What a run wants of
//! an order or of its driver is an effect with an answer for both outcomes, so that nothing is committed in two places at
//! once; an order that changed meanwhile falls out, and the run goes on without it.
//!
//! Read in this order: `run/words.rs` (what is said), this file (what it is), `run/rules.rs` (what follows from what),
//! `run/sequence.rs` (in which order), `run/shown.rs` (what others are told).

mod rules;
mod sequence;
mod shown;
#[cfg(test)]
mod tests;
mod words;

pub use matching::batch::Legs;
pub use words::{Command, Errand, Event, KNOWN, Part, Plan, Sighting, Stop, WANTED, Wanted};

use crate::{
    Claim, Context, Decider, Effect, Format, Kind, Listing, Refusal, Seen, Sight, Tell, ViewRow,
    driver, listing::RegionId, order, search,
};
use matching::batch::{self, Chosen, Due, Proposal};
use protocol::{
    CommandId, DriverId, JobId, MemberStatus, Money, OfferId, OfferStatus, OrderId, Point,
    Principal, RunId, RunStatus, Timestamp,
    view::{Mark, Offer, RunOffer, RunPay, RunStop, StopKind, WorkKind},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How long one that is under way with nobody stays in memory.
const IDLE_MAX: Duration = Duration::from_secs(60);

/// One run; `Default` has never been planned.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Run(Option<Box<Life>>);

/// A run since it was planned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Life {
    plan: Plan,
    status: RunStatus,
    /// In the order in which they were asked. Whoever left is not among them.
    members: Vec<Member>,
    /// What is still to be done by a driver who has said yes, in order.
    stops: Vec<Stop>,
    /// Where its driver was, or had something to do, last.
    at: Point,
    /// How long ways take, as was said when something was last brought along.
    #[serde(default, skip_serializing_if = "Legs::is_empty")]
    legs: Legs,
    /// Until when orders may say whether they join; none, if nobody is asked.
    asking_until: Option<Timestamp>,
    /// Until when those that join wait.
    frozen_until: Timestamp,
    offer: Option<Open>,
    n_offers: u32,
    reason: Option<String>,
    planned_at: Timestamp,
    changed_at: Timestamp,
}

/// One order of a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Member {
    order: OrderId,
    status: MemberStatus,
    /// What it is; none before it has joined.
    part: Option<Box<Part>>,
    /// The run it comes from, if it was in another.
    from: Option<RunId>,
    /// By which offer the driver said yes to it.
    offer: Option<OfferId>,
    /// It was asked to leave, and has not answered.
    is_leaving: bool,
    /// Who was last to take it over from on board.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    handed_to: Option<DriverId>,
}

/// An offer that the driver has not answered.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Open {
    id: OfferId,
    /// Everything that would then be to be done.
    stops: Vec<Stop>,
    expires_at: Timestamp,
}

impl Decider for Run {
    const KIND: Kind = Kind::Run;
    type Id = RunId;
    type Command = Command;
    type Event = Event;
    type Sighting = Sighting;
    type Soft = ();

    fn decide(&self, command: &Command, context: &Context<RunId>) -> Result<Vec<Event>, Refusal> {
        rules::decide(self.0.as_deref(), command, context)
    }

    fn evolve(&mut self, event: &Event) {
        match (&mut self.0, event) {
            (Some(life), event) => life.evolve(event),
            (None, Event::Planned { plan, until, frozen_until, at }) => {
                let life = Life::new((**plan).clone(), *until, *frozen_until, *at);
                self.0 = Some(Box::new(life));
            }
            // A journal begins with `Planned`; anything else before it says nothing.
            (None, _) => {}
        }
    }

    fn effects(&self, id: RunId, event: &Event) -> Vec<Effect> {
        match (&self.0, event) {
            (Some(life), event) => life.effects(id, event),
            (None, Event::Planned { plan, frozen_until, .. }) => {
                asked(id, plan.driver, &plan.orders, *frozen_until)
            }
            (None, _) => Vec::new(),
        }
    }

    fn deadline(&self) -> Option<(Timestamp, Command)> {
        Some((self.0.as_ref()?.due()?, Command::Tick {}))
    }

    /// A driver brings one run at a time. The slots its orders take are claimed by these.
    fn claims(&self, _id: RunId) -> Vec<Claim> {
        let driven = self.0.as_ref().filter(|life| life.is_driven());
        driven.map(|life| Claim::run(life.plan.driver)).into_iter().collect()
    }

    fn listing(&self, id: RunId) -> Option<Listing> {
        self.0.as_ref()?.listing(id)
    }

    fn view(&self, id: RunId) -> Option<ViewRow> {
        Some(self.0.as_ref()?.row(id))
    }

    fn mark(&self, _id: RunId) -> Option<Mark> {
        None
    }

    /// Only lets its orders be told when its driver comes: it keeps nothing of it.
    fn see(&mut self, sighting: &Sighting, _context: &Context<RunId>) -> Seen<Command> {
        let way = self.0.as_ref().and_then(|life| life.way(sighting));
        Seen { passed_on: way.map(Sight::Way).into_iter().collect(), ..Seen::default() }
    }

    /// Its followers are told of its driver's positions by its orders.
    fn is_worth_seeing(_sighting: &Sighting) -> bool {
        false
    }

    fn soft(&self) {}

    fn recall(&mut self, (): ()) {}

    fn idle_max(&self) -> Option<Duration> {
        // Its region must be able to ask one under way to list itself again.
        let is_active = self.0.as_ref().is_some_and(|life| life.status == RunStatus::Active);
        (!is_active).then_some(IDLE_MAX)
    }

    fn command_name(command: &Command) -> &'static str {
        command.into()
    }

    fn event_name(event: &Event) -> &'static str {
        event.into()
    }

    fn event_format(event: &Event) -> Format {
        if let Event::Planned { plan, .. } = event { plan.format() } else { KNOWN }
    }

    fn command_format(command: &Command) -> Format {
        if let Command::Plan(plan) = command { plan.format() } else { KNOWN }
    }
}

impl Life {
    fn new(plan: Plan, until: Timestamp, frozen_until: Timestamp, at: Timestamp) -> Self {
        Self {
            status: RunStatus::Planned,
            members: plan.orders.iter().map(Member::asked).collect(),
            stops: Vec::new(),
            at: plan.cart.at,
            legs: Legs::default(),
            asking_until: Some(until),
            frozen_until,
            offer: None,
            n_offers: 0,
            reason: plan.reason.clone(),
            planned_at: at,
            changed_at: at,
            plan,
        }
    }

    /// Folds a fact in.
    fn evolve(&mut self, event: &Event) {
        self.changed_at = event.at();
        match event {
            Event::Planned { .. } => {}
            Event::InsertAsked { orders, until, frozen_until, place, legs, .. } => {
                self.members.extend(orders.iter().map(Member::asked));
                if !legs.is_empty() {
                    self.legs.clone_from(legs);
                }
                self.asking_until = Some(*until);
                self.frozen_until = *frozen_until;
                self.at = place.unwrap_or(self.at);
            }
            Event::OrderJoined { order, part, .. } => {
                if let Some(member) = self.member_mut(*order) {
                    member.part = Some(part.clone());
                    member.status = MemberStatus::Joined;
                }
            }
            Event::Offered { offer, stops, expires_at, .. } => {
                self.n_offers += 1;
                self.asking_until = None;
                let (id, stops, expires_at) = (*offer, stops.clone(), *expires_at);
                self.offer = Some(Open { id, stops, expires_at });
                if self.status == RunStatus::Planned {
                    self.status = RunStatus::Offered;
                }
            }
            Event::OfferClosed { .. } => self.offer = None,
            Event::Accepted { offer, slots, .. } => {
                for member in &mut self.members {
                    if slots.iter().any(|(order, _)| *order == member.order) {
                        member.status = MemberStatus::Assigning;
                        member.offer = Some(*offer);
                    }
                }
                if let Some(open) = self.offer.take() {
                    self.stops = open.stops;
                }
                if self.status != RunStatus::Active {
                    self.status = RunStatus::Accepted;
                }
            }
            Event::OrderAssigned { order, .. } => {
                if let Some(member) = self.member_mut(*order) {
                    member.status = MemberStatus::Waiting;
                }
                self.begin();
            }
            Event::StopDone { order, what, .. } => {
                if let Some(part) = self.member(*order).and_then(|it| it.part.as_deref()) {
                    self.at = part.place(*what).at;
                }
                // Whoever has handed it over has fetched it.
                self.drop_stops(|it| {
                    it.order == *order && (it.what == *what || *what == StopKind::Dropoff)
                });
                if let Some(member) = self.member_mut(*order) {
                    member.is_leaving = false;
                    member.status = match what {
                        StopKind::Pickup => MemberStatus::Aboard,
                        StopKind::Dropoff => MemberStatus::Done,
                    };
                }
                self.begin();
            }
            Event::OrderLeft { order, .. } => {
                self.members.retain(|it| it.order != *order);
                self.drop_stops(|it| it.order == *order);
                self.begin();
                if self.members.iter().all(|it| it.status != MemberStatus::Asked) {
                    self.asking_until = None;
                }
            }
            Event::Resequenced { stops, reason, .. } => {
                self.stops.clone_from(stops);
                self.reason = reason.clone().or(self.reason.take());
            }
            Event::RemovalAsked { orders, .. }
            | Event::SplitAsked { orders, .. }
            | Event::MergeAsked { orders, .. } => self.leaving(orders, true),
            Event::HandoverAsked { orders, driver, .. } => self.handing(orders, Some(*driver)),
            Event::OrdersStayed { orders, .. } => {
                self.leaving(orders, false);
                self.handing(orders, None);
            }
            Event::Completed { .. } => self.end(RunStatus::Completed, None),
            Event::Dissolved { reason, .. } => self.end(RunStatus::Dissolved, Some(reason)),
            Event::Abandoned { reason, .. } => self.end(RunStatus::Abandoned, Some(reason)),
        }
    }

    fn end(&mut self, status: RunStatus, reason: Option<&String>) {
        self.status = status;
        self.offer = None;
        self.asking_until = None;
        self.stops.clear();
        self.reason = reason.cloned().or(self.reason.take());
    }

    /// Nobody is being assigned any more: it is under way.
    fn begin(&mut self) {
        let has = |status: MemberStatus| self.members.iter().any(|it| it.status == status);
        if self.status == RunStatus::Accepted && !has(MemberStatus::Assigning) {
            self.status = RunStatus::Active;
        }
    }

    /// Some of it is not to be done any more, also not if the driver says yes to what it is asked.
    fn drop_stops(&mut self, is_over: impl Fn(&Stop) -> bool) {
        self.stops.retain(|it| !is_over(it));
        if let Some(open) = &mut self.offer {
            open.stops.retain(|it| !is_over(it));
        }
    }

    fn leaving(&mut self, orders: &[OrderId], is_leaving: bool) {
        for member in self.members.iter_mut().filter(|it| orders.contains(&it.order)) {
            member.is_leaving = is_leaving;
        }
    }

    fn handing(&mut self, orders: &[OrderId], to: Option<DriverId>) {
        for member in self.members.iter_mut().filter(|it| orders.contains(&it.order)) {
            member.handed_to = to;
        }
    }

    /// What others must be told of `event`. `self` is the run before it.
    fn effects(&self, id: RunId, event: &Event) -> Vec<Effect> {
        let driver = self.plan.driver;
        match event {
            Event::InsertAsked { orders, frozen_until, .. } => {
                asked(id, driver, orders, *frozen_until)
            }
            Event::Offered { offer, stops, expires_at, .. } => {
                self.reserve(id, *offer, stops, *expires_at).into_iter().collect()
            }
            Event::OfferClosed { offer, status, driver_knows: false, .. } => {
                let withdraw = driver::Command::WithdrawOffer { offer: *offer, status: *status };
                vec![tell_driver(driver, withdraw)]
            }
            Event::Accepted { offer, slots, .. } => {
                let take = |(order, slot): &(OrderId, u8)| {
                    let (run, offer, slots) = (id, *offer, vec![*slot]);
                    let take = search::Command::TakeByRun { run, offer, driver, slots };
                    let left = Command::Leave { order: *order, why: String::new() };
                    Effect::from(Tell::job((*order).into(), take))
                        .if_refused(Tell::Run { to: id, command: left })
                };
                slots.iter().map(take).collect()
            }
            Event::OrderLeft { order, status, order_knows, reason, .. } => {
                self.let_go(id, *order, *status, *order_knows, reason)
            }
            Event::RemovalAsked { orders, .. } => {
                let stay = |order: OrderId| Tell::Run {
                    to: id,
                    command: Command::Stay { orders: vec![order] },
                };
                let leave = |order: &OrderId| {
                    leave(id, *order, OfferStatus::Withdrawn).if_refused(stay(*order))
                };
                orders.iter().map(leave).collect()
            }
            Event::SplitAsked { orders, into, plan, .. } => {
                let stay = Command::Stay { orders: orders.clone() };
                let command = Command::Plan(plan.clone());
                vec![
                    Effect::from(Tell::Run { to: *into, command })
                        .if_refused(Tell::Run { to: id, command: stay }),
                ]
            }
            Event::MergeAsked { orders, into, reason, .. } => {
                let wanted =
                    |order: &OrderId| Wanted { order: *order, round: None, from: Some(id) };
                let insert = Command::Insert {
                    orders: orders.iter().map(wanted).collect(),
                    place: None,
                    legs: Legs::default(),
                    reason: Some(reason.clone()),
                };
                let stay = Command::Stay { orders: orders.clone() };
                vec![
                    Effect::from(Tell::Run { to: *into, command: insert })
                        .if_refused(Tell::Run { to: id, command: stay }),
                ]
            }
            Event::HandoverAsked { orders, driver, reason, .. } => {
                let pass = |order: &OrderId| {
                    // Whether the driver can have them was asked before this run was.
                    let (driver, reason) = (*driver, reason.clone());
                    let (force, against) = (false, Vec::new());
                    let command = order::Command::Handover { driver, force, reason, against };
                    let stay = Command::Stay { orders: vec![*order] };
                    Effect::from(Tell::Order { to: *order, command })
                        .if_refused(Tell::Run { to: id, command: stay })
                };
                orders.iter().map(pass).collect()
            }
            Event::Dissolved { status, reason, .. } => {
                let each = |it: &Member| self.let_go(id, it.order, *status, false, reason);
                self.members.iter().flat_map(each).collect()
            }
            Event::Abandoned { reason, .. } => self.abandon(id, reason),
            Event::Planned { .. }
            | Event::OrderJoined { .. }
            | Event::OfferClosed { driver_knows: true, .. }
            | Event::OrderAssigned { .. }
            | Event::StopDone { .. }
            | Event::Resequenced { .. }
            | Event::OrdersStayed { .. }
            | Event::Completed { .. } => Vec::new(),
        }
    }

    /// Lays all that has joined before the driver, as one.
    fn reserve(
        &self,
        id: RunId,
        offer: OfferId,
        stops: &[Stop],
        expires_at: Timestamp,
    ) -> Option<Effect> {
        let joined = self.members.iter().filter(|it| it.status == MemberStatus::Joined);
        let parts: Vec<(OrderId, &Part)> =
            joined.filter_map(|it| Some((it.order, it.part.as_deref()?))).collect();
        let (first, _) = *parts.first()?;
        let stops: Vec<RunStop> = stops.iter().filter_map(|it| self.shown_stop(it)).collect();
        let is_new = |it: &&RunStop| parts.iter().any(|(order, _)| *order == it.order);
        let begin = stops.iter().find(is_new)?;
        let end = stops.iter().rfind(is_new)?;
        let currency = parts[0].1.fare.currency;
        let amount = parts.iter().map(|(_, part)| part.fare.amount).sum();
        let orders = parts.iter().map(|(order, part)| RunPay { order: *order, fare: part.fare });
        let eta_ms = begin.due.ms_since(self.changed_at);
        let offered = Offer {
            id: offer,
            job: JobId::Order(first),
            work: WorkKind::Delivery,
            pickup: begin.at.clone(),
            dropoff: Some(end.at.clone()),
            fare: Money { amount, currency },
            eta_s: u32::try_from(eta_ms / 1_000).unwrap_or(u32::MAX),
            expires_at,
            run: Some(Box::new(RunOffer {
                run: id,
                orders: orders.collect(),
                stops: stops.clone(),
            })),
            next: false,
        };
        let consent = self.plan.consent;
        let refused = Command::RefuseOffer { offer, why: String::new() };
        let weights_g = parts.iter().map(|(_, part)| part.weight_g).collect();
        let wants = parts.iter().filter_map(|(_, part)| part.wants.as_deref().cloned()).collect();
        let (offer, force) = (offered, false);
        let reserve = driver::Command::ReserveOffer { offer, consent, force, weights_g, wants };
        Some(
            tell_driver(self.plan.driver, reserve)
                .if_refused(Tell::Run { to: id, command: refused }),
        )
    }

    /// Tells those who believe that an order is in it.
    fn let_go(
        &self,
        id: RunId,
        order: OrderId,
        status: OfferStatus,
        order_knows: bool,
        why: &str,
    ) -> Vec<Effect> {
        let Some(member) = self.member(order) else { return Vec::new() };
        let mut effects = Vec::new();
        if !order_knows {
            effects.push(leave(id, order, status));
        }
        if member.status == MemberStatus::Assigning {
            let (job, offer, reason) = (JobId::Order(order), member.offer, why.to_owned());
            let abort = driver::Command::AbortJob { job, offer, reason };
            effects.push(tell_driver(self.plan.driver, abort));
        }
        if let (Some(from), MemberStatus::Asked) = (member.from, member.status) {
            let command = Command::Stay { orders: vec![order] };
            effects.push(Tell::Run { to: from, command }.into());
        }
        effects
    }

    /// What was not fetched looks for somebody else; what is on board stays there, and its order calls for a dispatcher.
    fn abandon(&self, id: RunId, reason: &str) -> Vec<Effect> {
        let driver = self.plan.driver;
        let withdraw = self.offer.iter().map(|open| {
            let (offer, status) = (open.id, OfferStatus::Withdrawn);
            tell_driver(driver, driver::Command::WithdrawOffer { offer, status })
        });
        let lost = |order: OrderId| {
            let reason = reason.to_owned();
            let lost = search::Command::DriverLost { driver, reason };
            Effect::from(Tell::job(order.into(), lost))
        };
        let members = self.members.iter().flat_map(|it| match it.status {
            MemberStatus::Asked | MemberStatus::Joined => {
                self.let_go(id, it.order, OfferStatus::Withdrawn, false, reason)
            }
            // It may have its driver by now, and not be allowed to look for another one.
            MemberStatus::Assigning => {
                let mut told = self.let_go(id, it.order, OfferStatus::Withdrawn, false, reason);
                told.push(lost(it.order));
                told
            }
            MemberStatus::Waiting | MemberStatus::Aboard => vec![lost(it.order)],
            MemberStatus::Done => Vec::new(),
        });
        withdraw.chain(members).collect()
    }

    /// When something is due by itself.
    fn due(&self) -> Option<Timestamp> {
        self.asking_until.or(self.offer.as_ref().map(|open| open.expires_at))
    }

    /// Has its driver said yes, and is not done?
    fn is_driven(&self) -> bool {
        matches!(self.status, RunStatus::Accepted | RunStatus::Active)
    }

    fn member(&self, order: OrderId) -> Option<&Member> {
        self.members.iter().find(|it| it.order == order)
    }

    fn member_mut(&mut self, order: OrderId) -> Option<&mut Member> {
        self.members.iter_mut().find(|it| it.order == order)
    }

    /// The orders that are there now.
    fn in_status(&self, status: MemberStatus) -> Vec<OrderId> {
        let all = self.members.iter().filter(|it| it.status == status);
        all.map(|it| it.order).collect()
    }
}

impl Member {
    fn asked(wanted: &Wanted) -> Self {
        Self {
            order: wanted.order,
            status: MemberStatus::Asked,
            part: None,
            from: wanted.from,
            offer: None,
            is_leaving: false,
            handed_to: None,
        }
    }
}

/// What staff want to have brought together, said to a run that comes of it: to be brought as it was counted, by whoever was
/// found, or not at all. An order of which anything has changed since it was looked at does not join.
pub fn wanted(chosen: Chosen, consent: bool, settings: &batch::Settings, wish: Wish) -> Plan {
    let Chosen { together, stops } = chosen;
    let stop = |it: Due| {
        let what = if it.is_pickup { StopKind::Pickup } else { StopKind::Dropoff };
        Stop { order: it.order, what, due: it.at }
    };
    let wanted = |(order, round)| Wanted { order, round: Some(round), from: None };
    let orders: Vec<Wanted> = together.orders.into_iter().map(wanted).collect();
    Plan {
        driver: together.driver,
        n_min: u8::try_from(orders.len()).unwrap_or(u8::MAX),
        orders,
        cart: together.cart,
        legs: together.legs,
        orders_max: settings.orders_max,
        consent,
        saving_percent: together.saving_percent,
        join_ms: settings.join_ms,
        offer_ms: settings.offer_ms,
        reason: Some(wish.reason),
        by: Some(wish.by),
        told: stops.into_iter().map(stop).collect(),
    }
}

/// Who wants something, and why.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wish {
    /// Who.
    pub by: Principal,
    /// Why.
    pub reason: String,
}

/// What a region's proposal is, said to the run: a new one's id is made of `command`.
pub fn proposed(
    region: RegionId,
    proposal: Proposal,
    settings: &batch::Settings,
    command: CommandId,
) -> Tell {
    let wanted = |(order, round)| Wanted { order, round: Some(round), from: None };
    match proposal {
        Proposal::Run(together) => {
            let plan = Plan {
                driver: together.driver,
                orders: together.orders.into_iter().map(wanted).collect(),
                cart: together.cart,
                legs: together.legs,
                orders_max: settings.orders_max,
                n_min: 2,
                consent: true,
                saving_percent: together.saving_percent,
                join_ms: settings.join_ms,
                offer_ms: settings.offer_ms,
                reason: None,
                by: None,
                told: Vec::new(),
            };
            let to = RunId::created_by(plan.driver.0, command, region.shard());
            Tell::Run { to, command: Command::Plan(Box::new(plan)) }
        }
        Proposal::Insert { run: to, order, at, legs } => {
            let (orders, place, reason) = (vec![wanted(order)], Some(at), None);
            Tell::Run { to, command: Command::Insert { orders, place, legs, reason } }
        }
    }
}

/// Asks orders whether they join.
fn asked(id: RunId, driver: DriverId, orders: &[Wanted], until: Timestamp) -> Vec<Effect> {
    let ask = |wanted: &Wanted| {
        let Wanted { order, round, from } = *wanted;
        let join = search::Command::JoinRun { run: id, driver, round, from, until };
        let left = Command::Leave { order, why: String::new() };
        Effect::from(Tell::job(order.into(), join)).if_refused(Tell::Run { to: id, command: left })
    };
    orders.iter().map(ask).collect()
}

/// Tells an order that it is in the run no more.
fn leave(id: RunId, order: OrderId, status: OfferStatus) -> Effect {
    Tell::job(order.into(), search::Command::LeaveRun { run: id, status }).into()
}

fn tell_driver(to: DriverId, command: driver::Command) -> Effect {
    Tell::Driver { to, command }.into()
}
