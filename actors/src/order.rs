//! One ride, delivery or shop order: the judge of who may do what to it, and when.
//!
//! Read in this order: `order/table.rs` (what is allowed), this file (what an order is), and then by
//! relation: `ride.rs`, `transport.rs`, `fulfilment.rs` (the work), `offers.rs` (its driver),
//! `run.rs` (what it is brought with), `hub.rs` (where it changes vehicles), `cancel.rs` (its bad ends), `later.rs` (orders for later), `waiting.rs` (what waiting costs),
//! `again.rs` (orders that go on as another one), `timers.rs` and `track.rs` (what it does by itself), `prospect.rs`
//! (what it is told to expect), `evolve.rs`
//! (what it remembers of all that), `shown.rs` (what others are told).

mod again;
mod cancel;
mod code;
mod command;
mod event;
mod evolve;
pub mod fulfilment;
mod hub;
mod later;
mod offers;
mod placing;
mod prospect;
mod ride;
mod run;
mod shown;
pub mod table;
mod timers;
mod track;
mod transport;
mod waiting;

pub use crate::search::Sighting;
pub use command::{Command, Hub, Placement};
pub use event::{Alert, Event};

use crate::{
    Claim, Context, Decider, Effect, Format, Kind, Listing, Posting, Refusal, Seen, Sight, Tell,
    Topic, ViewRow, driver, incident, rider,
    search::{self, Account, Asked, Assignment, CONTROLLED, Chosen, FLEETS, Search, Terms},
};
use fulfilment::Fulfilment;
use incident::Opening;
use protocol::{
    DriverId, Fare, FulfilmentStatus, JobId, OrderId, OrderStatus, Place, Principal, Role, RunId,
    Timestamp,
    view::{Etas, Mark, WorkKind},
    work::{IncidentKind, OrderKind, Priority},
};
use serde::{Deserialize, Serialize};
use std::{iter, time::Duration};
use track::Track;

/// What a rule answers.
type Answer = Result<Vec<Event>, Refusal>;
/// What surrounds a command to an order.
type Around = Context<OrderId>;

/// One order; `Default` has never been placed.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Order(Option<Box<Life>>);

/// An order since it was placed.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Life {
    placement: Placement,
    placed_at: Timestamp,
    /// When its status last changed.
    changed_at: Timestamp,
    stage: Stage,
    search: Search,
    /// In a box: rides have none.
    fulfilment: Option<Box<Fulfilment>>,
    /// How often it has lost a driver.
    n_reassigns: u8,
    /// Has a dispatcher been told that the driver cannot go on?
    is_driver_lost: bool,
    /// What was paid in advance, in minor units.
    paid: i64,
    /// How often the goods could not be handed over.
    n_failed: u8,
    /// How many stops are done, the pickup included.
    stops_done: u8,
    /// How far it went, in metres, as far as that is written down.
    metered_m: u32,
    /// When it last moved; unset while nobody expects it to, or once a dispatcher was told.
    moved_at: Option<Timestamp>,
    cancel_request: Option<CancelRequest>,
    sla: Sla,
    /// Why it ended, if it ended badly.
    reason: Option<String>,
    aftermath: Aftermath,
    /// When the rider of an order for later is reminded.
    #[serde(default)]
    remind_at: Option<Timestamp>,
    #[serde(default)]
    price_asked: Option<Box<PriceAsked>>,
    /// Since when the driver has been at the pickup or at the stop it last reached.
    #[serde(default)]
    at_stop_since: Option<Timestamp>,
    #[serde(default)]
    n_wrong_codes: u8,
    /// The order that goes on for it.
    #[serde(default)]
    followed_by: Option<OrderId>,
    #[serde(default, skip_serializing_if = "Priority::is_normal")]
    priority: Priority,
    /// The run whose driver has it, if it is brought with others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    run: Option<RunId>,
    /// That it was left at its hub, if it was.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    left: Option<Box<hub::Left>>,
    #[serde(skip)]
    track: Track,
}

/// Where the transport is. A driver exists exactly where the work needs one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Stage {
    Prepaying { until: Timestamp },
    Scheduled { wake_at: Timestamp },
    Waiting { search_at: Option<Timestamp> },
    Looking,
    Driven { by: Assignment, leg: Leg },
    Ended { status: OrderStatus, at: Timestamp, by: Option<DriverId> },
}

/// What the driver is doing.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Leg {
    Assigned,
    EnRoutePickup,
    AtPickup { since: Timestamp, is_contacted: bool, is_on_board: bool },
    InProgress { is_at_stop: bool, change: Option<Box<Change>>, ending: Option<Ending> },
    PickedUp,
    InTransit,
    AtStop,
    AtDropoff { is_contacted: bool },
    FailedAttempt,
    Returning,
}

/// Stops the rider wants and the driver has not agreed to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Change {
    stops: Vec<Place>,
    fare: Option<Fare>,
    until: Timestamp,
}

/// A price the rider has not agreed to.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct PriceAsked {
    fare: Fare,
    until: Timestamp,
}

/// A ride that ends before its last stop.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct Ending {
    by: Principal,
    /// When a dispatcher is told, unless that has happened.
    alert_at: Option<Timestamp>,
}

/// Someone wants goods back that are on the way.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
struct CancelRequest {
    by: Role,
    /// When it becomes an admin's affair, unless it is.
    until: Option<Timestamp>,
}

/// How the promised time is kept.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Sla {
    #[default]
    Kept,
    AtRisk,
    Breached,
}

/// What both sides do after the end.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
struct Aftermath {
    lowered_percent: Option<u8>,
    tip: Option<i64>,
    stars_by_rider: Option<u8>,
    stars_by_driver: Option<u8>,
}

impl Decider for Order {
    const KIND: Kind = Kind::Order;
    type Id = OrderId;
    type Command = Command;
    type Event = Event;
    type Sighting = Sighting;
    type Soft = Track;

    fn decide(&self, command: &Command, context: &Around) -> Answer {
        match (&self.0, command) {
            (Some(life), command) => life.decide(command, context),
            (None, Command::Place(placement)) => placing::place(placement, context),
            (None, _) => Err(Refusal::Unknown("order".to_owned())),
        }
    }

    fn evolve(&mut self, event: &Event) {
        match (&mut self.0, event) {
            (Some(life), event) => life.evolve(event),
            (None, Event::Placed { placement, at }) => {
                self.0 = Some(Box::new(Life::new((**placement).clone(), *at)));
            }
            // A journal begins with `Placed`; anything else before it says nothing.
            (None, _) => {}
        }
    }

    fn effects(&self, id: OrderId, event: &Event) -> Vec<Effect> {
        match (&self.0, event) {
            (Some(life), event) => life.effects(id, event),
            (None, Event::Placed { placement, .. }) => {
                let command =
                    rider::Command::OpenJob { job: JobId::Order(id), work: work(placement.kind) };
                vec![Tell::Rider { to: placement.rider, command }.into()]
            }
            (None, _) => Vec::new(),
        }
    }

    fn deadline(&self) -> Option<(Timestamp, Command)> {
        Some((self.0.as_ref()?.deadline()?, Command::Tick {}))
    }

    fn remarks(&self, _command: &Command, refusal: &Refusal, context: &Around) -> Vec<Event> {
        match (&self.0, refusal) {
            (Some(life), Refusal::WrongCode) => life.note_wrong_code(context),
            (_, _) => Vec::new(),
        }
    }

    fn when_taken(&self, _claim: &Claim) -> Option<Command> {
        let stage = self.0.as_ref().map(|life| &life.stage);
        matches!(stage, Some(Stage::Scheduled { .. })).then_some(Command::Postpone {})
    }

    fn claims(&self, _id: OrderId) -> Vec<Claim> {
        self.0.as_ref().map(|life| life.claims()).unwrap_or_default()
    }

    fn listing(&self, id: OrderId) -> Option<Listing> {
        self.0.as_ref()?.listing(id)
    }

    fn view(&self, id: OrderId) -> Option<ViewRow> {
        Some(self.0.as_ref()?.row(id))
    }

    fn mark(&self, id: OrderId) -> Option<Mark> {
        self.0.as_ref()?.mark(id)
    }

    fn may_tell(&self, id: OrderId, events: &[Event]) -> Option<(JobId, u32)> {
        let told = self.0.as_ref()?.search.told();
        let may_tell = |it: &Event| matches!(it, Event::Search(event) if event.may_tell_account());
        events.iter().any(may_tell).then_some((JobId::Order(id), told))
    }

    fn tell_rounds(events: &mut [Event], account: Account) {
        let seen = events
            .iter_mut()
            .find_map(|it| if let Event::Search(event) = it { event.account_mut() } else { None });
        if let Some(seen) = seen {
            *seen = Some(account);
        }
    }

    fn postings(&self, id: OrderId, event: &Event) -> Vec<Posting> {
        self.0.as_ref().map(|life| life.postings(id, event)).unwrap_or_default()
    }

    fn see(&mut self, sighting: &Sighting, context: &Around) -> Seen<Command> {
        let Some(life) = &mut self.0 else { return Seen::default() };
        life.is_told(sighting);
        let wonders = life.wonders(context.id, sighting, context.now);
        let (asks, crossed) = life.see(sighting, context.now);
        // It lets itself see what was crossed, for then whoever follows it does, too.
        let crossed = crossed.map(|it| Sight::Order(context.id, it));
        let passed_on = crossed.into_iter().chain(wonders).collect();
        Seen { asks, passed_on, ..Seen::default() }
    }

    fn topic(sighting: &Sighting) -> Topic {
        sighting.topic()
    }

    fn expects(driver: DriverId, etas: Etas) -> Option<Sighting> {
        Some(Sighting::Expected { driver, etas: Some(etas) })
    }

    fn soft(&self) -> Track {
        self.0.as_ref().map(|life| life.track.clone()).unwrap_or_default()
    }

    fn recall(&mut self, soft: Track) {
        if let Some(life) = &mut self.0 {
            life.track = soft;
        }
    }

    fn idle_max(&self) -> Option<Duration> {
        let minutes = match self.0.as_ref().map(|life| &life.stage) {
            // Its region must be able to ask it to list itself again.
            Some(Stage::Looking) => return None,
            Some(Stage::Driven { .. }) => 10,
            None
            | Some(
                Stage::Prepaying { .. }
                | Stage::Scheduled { .. }
                | Stage::Waiting { .. }
                | Stage::Ended { .. },
            ) => 1,
        };
        Some(Duration::from_mins(minutes))
    }

    fn command_format(command: &Command) -> Format {
        if let Command::Search(command) = command {
            return command.format();
        }
        if let Command::Place(placement) = command {
            return placement.format();
        }
        if let Command::SetFleet { .. } = command {
            return FLEETS;
        }
        let is_new = matches!(
            command,
            Command::Reassign { .. }
                | Command::Hold { .. }
                | Command::Resume { .. }
                | Command::SetPriority { .. }
        );
        if is_new { CONTROLLED } else { Format::FIRST }
    }

    fn event_format(event: &Event) -> Format {
        if let Event::Search(event) = event {
            event.format()
        } else if let Event::Placed { placement, .. } | Event::Continued { placement, .. } = event {
            placement.format()
        } else if let Event::DriverChosen { bypassed, .. } = event {
            search::format_of(bypassed)
        } else if let Event::PrioritySet { .. } = event {
            CONTROLLED
        } else if let Event::IncidentOpened { .. } = event {
            incident::KNOWN
        } else if let Event::LeftAtHub { .. } = event {
            hub::KNOWN
        } else {
            Format::FIRST
        }
    }

    fn command_name(command: &Command) -> &'static str {
        command.into()
    }

    fn comes_first(event: &Event) -> bool {
        matches!(event, Event::Search(search::Event::OfferMade { .. }) | Event::Assigned(_))
    }

    fn event_name(event: &Event) -> &'static str {
        event.name()
    }

    /// Five are shown an offer at about the same moment. That somebody has seen it decides nothing.
    fn may_wait(command: &Command) -> bool {
        matches!(command, Command::Search(search::Command::OfferSeen { .. }))
    }

    fn begins(command: &Command) -> bool {
        matches!(command, Command::Place(_))
    }

    fn is_urgent(command: &Command) -> bool {
        matches!(command, Command::CancelSafety { .. })
    }
}

impl Life {
    fn new(placement: Placement, at: Timestamp) -> Self {
        let fulfilment = (placement.kind == OrderKind::Commerce)
            .then(|| Fulfilment::new(placement.policy.merchant_ms, at))
            .map(Box::new);
        Self {
            placement,
            placed_at: at,
            changed_at: at,
            stage: Stage::Waiting { search_at: None },
            search: Search::default(),
            fulfilment,
            n_reassigns: 0,
            is_driver_lost: false,
            paid: 0,
            n_failed: 0,
            stops_done: 0,
            metered_m: 0,
            moved_at: None,
            cancel_request: None,
            sla: Sla::default(),
            reason: None,
            aftermath: Aftermath::default(),
            remind_at: None,
            price_asked: None,
            at_stop_since: None,
            n_wrong_codes: 0,
            followed_by: None,
            priority: Priority::Normal,
            run: None,
            left: None,
            track: Track::default(),
        }
    }

    fn decide(&self, command: &Command, around: &Around) -> Answer {
        self.permit(command, around.by)?;
        match command {
            // The table lists it nowhere: an order is placed once.
            Command::Place(_) => Err(self.illegal()),
            Command::ConfirmPayment { amount } => self.confirm_payment(*amount, around),
            Command::FailPayment {} => {
                Ok(self.call_off(OrderStatus::CancelledBySystem, "the payment failed", around))
            }
            Command::Reschedule { start_at, fare } => {
                self.reschedule(*start_at, fare.as_ref(), around)
            }
            Command::Requote { fare } => self.requote(fare, around),
            Command::AcceptPrice {} => self.accept_price(around),
            Command::DeclinePrice {} => self.decline_price(around),
            Command::ModifyStops { stops, fare } => self.modify_stops(stops, fare.as_ref(), around),
            Command::AcceptChange {} => self.accept_change(around),
            Command::DeclineChange {} => Ok(self.decline_change(around)),
            Command::ConfirmOffer { offer } => {
                let decision = self.search.confirm(*offer, &self.asked(around))?;
                Ok(self.searched(decision, around))
            }
            Command::RejectOffer { offer } => {
                let decision = self.search.reject(*offer, &self.asked(around))?;
                Ok(self.searched(decision, around))
            }
            Command::Assign { driver, force, reason, against } => {
                let (driver, force) = (*driver, *force);
                self.assign(&Chosen { driver, force, reason, against }, around)
            }
            Command::Reassign { driver, force, reason, against } => {
                let (driver, force) = (*driver, *force);
                self.reassign(&Chosen { driver, force, reason, against }, around)
            }
            Command::Unassign { reason } => self.unassign(reason, around),
            Command::Hold { reason } => Ok(self.hold(reason, around)),
            Command::Resume { reason } => self.resume(reason, around),
            Command::SetPriority { priority, reason } => {
                Ok(self.set_priority(*priority, reason, around))
            }
            Command::SetFleet { fleet, reason } => self.set_fleet(*fleet, reason, around),
            Command::ExtendSearch {} => self.extend_search(around),
            Command::CollectInstead {} => Ok(self.collect_instead(around)),
            Command::Depart {} => {
                self.must_have_begun()?;
                Ok(vec![Event::Departed { at: around.now }])
            }
            Command::Arrive {} => self.arrive(around),
            Command::OnBoard {} => self.on_board(around),
            Command::Start { code } => self.start(code.as_deref(), around),
            Command::PickUp { proofs } => self.pick_up(proofs, around),
            Command::ArriveStop {} => self.arrive_stop(around),
            Command::CompleteStop { proofs } => self.complete_stop(proofs, around),
            Command::SkipStop { reason } => self.skip_stop(reason, around),
            Command::Finish { code, early_reason } => {
                self.finish(code.as_deref(), early_reason.as_deref(), around)
            }
            Command::Deliver { proofs, cash } => self.deliver(proofs, *cash, around),
            Command::Fail { reason } => self.fail(reason, around),
            Command::Retry {} if self.status().is_final() => self.try_again(around),
            Command::Retry {} => Ok(vec![Event::Retried { at: around.now }]),
            Command::StartReturn {} => Ok(vec![Event::ReturnStarted {
                reason: "could not be handed over".to_owned(),
                at: around.now,
            }]),
            Command::Returned { proofs } => self.returned(proofs, around),
            Command::Handover { driver, force, reason, against } => {
                let (driver, force) = (*driver, *force);
                self.hand_to_another(&Chosen { driver, force, reason, against }, around)
            }
            Command::Contacted {} => Ok(self.contacted(around)),
            Command::NoShow {} => self.no_show(around),
            Command::Cancel { reason } => self.cancel(reason, around),
            Command::RequestCancel { reason } => Ok(self.request_cancel(reason, around)),
            Command::DecideCancel { decision } => self.decide_cancel(*decision, around),
            Command::CancelSafety { reason } => Ok(self.cancel_safety(reason, around)),
            Command::EndEarly {} => Ok(self.end_early("the rider wants out", around)),
            Command::CannotContinue { reason } => Ok(self.cannot_continue(reason, around)),
            Command::ReportLoss { reason } => Ok(self.break_down(reason, around)),
            Command::AdjustFareDown { percent } => self.adjust_fare_down(*percent, around),
            Command::Tip { amount } => self.tip(*amount, around),
            Command::Rate { stars } => self.rate(*stars, around),
            Command::MerchantAccept { prep_min } => Ok(self.merchant_accepts(*prep_min, around)),
            Command::MerchantReject { reason } => Ok(self.merchant_rejects(reason, around)),
            Command::StartPrep {} => {
                Ok(vec![Event::Fulfilment(fulfilment::Event::PrepStarted { at: around.now })])
            }
            Command::Ready {} => Ok(self.ready(around)),
            Command::ItemUnavailable { item } => self.item_unavailable(*item, around),
            Command::DecideItem { item, replace } => self.decide_item(*item, *replace, around),
            Command::HandOver {} => Ok(vec![self.handed_over(around.now)]),
            Command::Collected { code } => self.collected(code.as_deref(), around),
            Command::Metered { total_m } => {
                let metered = Event::Metered { total_m: *total_m, at: around.now };
                Ok((*total_m > self.metered_m).then_some(metered).into_iter().collect())
            }
            Command::Unfollow {} => Ok(self.unfollow(around)),
            Command::Postpone {} => Ok(self.postpone(around)),
            Command::Tick {} => Ok(self.tick(around)),
            Command::Search(command) => self.hear_of_search(command, around),
        }
    }

    /// Asks the table: first whether the state allows it, then whether the asker may.
    fn permit(&self, command: &Command, by: Principal) -> Result<(), Refusal> {
        let who = table::who(
            command.name(),
            self.placement.kind,
            self.status(),
            self.fulfilment_status(),
        );
        if who == 0 {
            return Err(self.illegal());
        }
        if who & self.relation(by) == 0 {
            return Err(Refusal::NotYours(format!("not for {}s of this order", by.role())));
        }
        Ok(())
    }

    /// What `by` is to this order.
    fn relation(&self, by: Principal) -> table::Who {
        let is_related = match by {
            Principal::Rider(id) => id == self.placement.rider,
            Principal::Driver(id) => Some(id) == self.driver(),
            Principal::Merchant(id) => Some(id) == self.placement.merchant,
            Principal::Dispatcher | Principal::Admin | Principal::System => true,
        };
        match by {
            _ if !is_related => 0,
            Principal::Rider(_) => table::RIDER,
            Principal::Driver(_) => table::DRIVER,
            Principal::Merchant(_) => table::MERCHANT,
            Principal::Dispatcher => table::DISPATCHER,
            Principal::Admin => table::DISPATCHER | table::ADMIN,
            Principal::System => table::SYSTEM,
        }
    }

    fn illegal(&self) -> Refusal {
        let (status, fulfilment) = (self.status(), self.fulfilment_status());
        let allowed = table::allowed(self.placement.kind, status, fulfilment);
        Refusal::IllegalTransition {
            state: match fulfilment {
                FulfilmentStatus::None => status.to_string(),
                FulfilmentStatus::AwaitingMerchant
                | FulfilmentStatus::Confirmed
                | FulfilmentStatus::Preparing
                | FulfilmentStatus::Ready
                | FulfilmentStatus::HandedOver
                | FulfilmentStatus::Rejected => format!("{status}, {fulfilment}"),
            },
            allowed: allowed.into_iter().map(str::to_owned).collect(),
        }
    }

    fn effects(&self, id: OrderId, event: &Event) -> Vec<Effect> {
        let mut effects = self.effects_on_people(id, event);
        effects.extend(self.effects_on_run(id, event));
        effects
    }

    fn effects_on_people(&self, id: OrderId, event: &Event) -> Vec<Effect> {
        let job = JobId::Order(id);
        if let Some(status) = event.ends_with() {
            let end = self.assignment().map(|by| by.end(job, status.into()));
            let to = self.placement.rider;
            let close = Tell::Rider { to, command: rider::Command::CloseJob { job } }.into();
            return end.into_iter().chain([close]).collect();
        }
        let before = self.assignment();
        if let Event::Search(event) = event {
            self.search.effects(&self.terms(job), event).into_iter().collect()
        } else if let Event::Continued { order, placement, .. } = event {
            // Its rider may be on another ride already.
            let unfollow = Tell::Order { to: id, command: Command::Unfollow {} };
            let place = Tell::Order { to: *order, command: Command::Place(placement.clone()) };
            vec![Effect::from(place).if_refused(unfollow)]
        } else if let Event::Assigned(by) = event {
            vec![by.commit(job)]
        } else if let Event::CustodyPassed(by) = event {
            before
                .map(|old| old.end(job, "handed over"))
                .into_iter()
                .chain([by.commit(job)])
                .collect()
        } else if let Event::IncidentOpened { by, at: _ } = event {
            let parties = Some(self.parties());
            let opening = Opening::of_job(IncidentKind::CancelledSafety, *by, job);
            vec![Tell::incident(Opening { parties, ..opening }).into()]
        } else if let Event::LeftAtHub { .. } = event {
            before.map(|by| by.end(job, "left at the hub")).into_iter().collect()
        } else if let Event::DriverGone { reason, .. } = event {
            before.map(|by| by.end(job, reason)).into_iter().collect()
        } else if let Event::Alerted { what: Alert::DriverLost, .. } = event {
            let keep = driver::Command::KeepJob { job };
            before.map(|by| tell_driver(by.driver, keep)).into_iter().collect()
        } else if let (Event::Rated { by: Role::Rider, stars, .. }, Some(driver)) =
            (event, self.driver())
        {
            vec![tell_driver(driver, driver::Command::RecordRating { job, stars: *stars })]
        } else {
            Vec::new()
        }
    }

    fn claims(&self) -> Vec<Claim> {
        let ride = self.is_active_ride().then(|| Claim::ride(self.placement.rider));
        let slots = self.assignment().into_iter().flat_map(Assignment::claims);
        ride.into_iter().chain(slots).collect()
    }

    /// Is it the one ride its rider may have? One for later is not, until its time has come.
    fn is_active_ride(&self) -> bool {
        let is_active = match self.stage {
            Stage::Prepaying { .. } => self.placement.start_at.is_none(),
            Stage::Scheduled { .. } | Stage::Ended { .. } => false,
            Stage::Waiting { .. } | Stage::Looking | Stage::Driven { .. } => true,
        };
        is_active && self.is_ride()
    }

    /// Where the transport is, as everyone is told.
    fn status(&self) -> OrderStatus {
        match &self.stage {
            Stage::Prepaying { .. } => OrderStatus::AwaitingPayment,
            Stage::Scheduled { .. } => OrderStatus::Scheduled,
            Stage::Waiting { .. } => OrderStatus::Waiting,
            Stage::Looking if self.search.is_in_feed() => OrderStatus::JobFeed,
            Stage::Looking => OrderStatus::Searching,
            Stage::Driven { leg, .. } => match leg {
                Leg::Assigned => OrderStatus::Assigned,
                Leg::EnRoutePickup => OrderStatus::EnRoutePickup,
                Leg::AtPickup { .. } => OrderStatus::AtPickup,
                Leg::InProgress { .. } => OrderStatus::InProgress,
                Leg::PickedUp => OrderStatus::PickedUp,
                Leg::InTransit => OrderStatus::InTransit,
                Leg::AtStop => OrderStatus::AtStop,
                Leg::AtDropoff { .. } => OrderStatus::AtDropoff,
                Leg::FailedAttempt => OrderStatus::FailedAttempt,
                Leg::Returning => OrderStatus::Returning,
            },
            Stage::Ended { status, .. } => *status,
        }
    }

    fn fulfilment_status(&self) -> FulfilmentStatus {
        self.fulfilment.as_deref().map_or(FulfilmentStatus::None, Fulfilment::status)
    }

    /// Who performs it, or did when it ended.
    fn driver(&self) -> Option<DriverId> {
        match &self.stage {
            Stage::Driven { by, .. } => Some(by.driver),
            Stage::Ended { by, .. } => *by,
            Stage::Prepaying { .. }
            | Stage::Scheduled { .. }
            | Stage::Waiting { .. }
            | Stage::Looking => None,
        }
    }

    /// Its people: whose it is, who performs it, who prepares it.
    fn parties(&self) -> Vec<Principal> {
        let rider = Principal::Rider(self.placement.rider);
        let driver = self.driver().map(Principal::Driver);
        let merchant = self.placement.merchant.map(Principal::Merchant);
        iter::once(rider).chain(driver).chain(merchant).collect()
    }

    fn assignment(&self) -> Option<&Assignment> {
        match &self.stage {
            Stage::Driven { by, .. } => Some(by),
            Stage::Prepaying { .. }
            | Stage::Scheduled { .. }
            | Stage::Waiting { .. }
            | Stage::Looking
            | Stage::Ended { .. } => None,
        }
    }

    fn leg(&self) -> Option<&Leg> {
        match &self.stage {
            Stage::Driven { leg, .. } => Some(leg),
            Stage::Prepaying { .. }
            | Stage::Scheduled { .. }
            | Stage::Waiting { .. }
            | Stage::Looking
            | Stage::Ended { .. } => None,
        }
    }

    fn terms(&self, job: JobId) -> Terms<'_> {
        Terms {
            job,
            work: work(self.placement.kind),
            pickup: self.pickup(),
            dropoff: Some(self.dropoff()),
            fare: self.placement.fare.total(),
            needs: &self.placement.needs,
        }
    }

    fn asked(&self, around: &Around) -> Asked<'_> {
        Asked {
            job: JobId::Order(around.id),
            rider: self.placement.rider,
            policy: &self.placement.policy,
            needs: &self.placement.needs,
            assignment: self.assignment(),
            now: around.now,
        }
    }

    /// Where whoever brings it now fetches it: at the hub, once it was left there.
    fn pickup(&self) -> &Place {
        self.placement
            .stops
            .get(self.first_stop())
            .expect("an order is placed with at least two stops")
    }

    /// Where whoever brings it now brings it to: to the hub, until it was left there.
    fn dropoff(&self) -> &Place {
        self.placement
            .stops
            .get(self.last_stop())
            .expect("an order is placed with at least two stops")
    }

    fn n_stops(&self) -> u8 {
        u8::try_from(self.placement.stops.len()).unwrap_or(u8::MAX)
    }

    /// Is the last stop the only one left?
    fn is_at_last_stop(&self) -> bool {
        self.stops_done.saturating_add(1) >= self.n_stops()
    }
}

/// What an order does to a driver's slots.
pub fn work(kind: OrderKind) -> WorkKind {
    match kind {
        OrderKind::Ride => WorkKind::Ride,
        OrderKind::Delivery | OrderKind::Commerce => WorkKind::Delivery,
    }
}

fn tell_driver(to: DriverId, command: driver::Command) -> Effect {
    Tell::Driver { to, command }.into()
}

fn ms(ms: u32) -> Duration {
    Duration::from_millis(ms.into())
}

#[cfg(test)]
mod tests;
