//! Help to a stranded vehicle, from the call to the moment it runs again or is where it should be.
//!
//! ```text
//! Requested ──► Searching ──► Accepted ──► EnRoute ──► OnScene ──► Assisting ──► Completed
//!                   ▲  released  │            │           │            │
//!                   └────────────┴────────────┘           ▼            ▼
//!                                              Loading ──► InTransit ──► AtDropoff ──► Completed
//!
//! OnScene, Assisting, Loading ──► Escalated ──► Accepted by a second driver, or OnScene again
//! ```
//!
//! Every way to end it otherwise is in [`table`]. The first driver of an escalated rescue can stay
//! `attached`: never more than one drives, and never more than one waits.

mod rules;
mod sight;
pub mod table;
mod triage;
mod words;

#[cfg(test)]
mod tests;

pub use crate::search::Sighting;
pub use words::{Command, Event, Request};

use crate::{
    Card, Claim, Context, Decider, Effect, Format, Kind, Listing, Refusal, Seen, Tell, Topic,
    ViewRow, Waited,
    driver::{self, Asks},
    incident::{self, Opening, Report},
    listing::RegionId,
    rider,
    search::{self, Account, Assignment, CONTROLLED, FLEETS, Search, Terms},
};
use matching::fit::Way;
use protocol::{
    DriverId, JobId, Principal, RescueId, RescueStatus, Timestamp,
    view::{Eta, Etas, Mark, Position, RescueView, WorkKind},
    work::{Needs, Priority},
};
use serde::{Deserialize, Serialize};
use sight::Soft;
use std::time::Duration;

/// How long a dispatcher has to look at a call before the rules alone decide what it needs.
const TRIAGE_MAX: Duration = Duration::from_secs(60);
/// How long a rescue that is over stays in memory.
const IDLE_MAX: Duration = Duration::from_secs(10 * 60);

/// A rescue. `Default` was never requested.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Rescue {
    /// Nothing, if it was never requested.
    case: Option<Box<Case>>,
    #[serde(skip)]
    soft: Soft,
}

/// Everything about a rescue that was requested.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Case {
    request: Request,
    /// The driver who needs help, if the rider was at work as one.
    #[serde(default)]
    stranded: Option<DriverId>,
    status: RescueStatus,
    requested_at: Timestamp,
    changed_at: Timestamp,
    needs: Needs,
    search: Search,
    /// Who performs it; who performed it, once it is over.
    driver: Option<Assignment>,
    /// Who was there first and stayed.
    attached: Option<Assignment>,
    n_releases: u8,
    /// When the driver reached the scene.
    arrived_at: Option<Timestamp>,
    /// When the driver last tried to reach the rider.
    contacted_at: Option<Timestamp>,
    /// When the driver said that it runs again.
    fixed_at: Option<Timestamp>,
    sla: Sla,
    outcome: Option<String>,
    fee: i64,
    stars: Option<u8>,
    #[serde(default, skip_serializing_if = "Priority::is_normal")]
    priority: Priority,
}

/// How a rescue does against the time it may take.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Sla {
    #[default]
    Kept,
    AtRisk,
    Breached,
}

impl Decider for Rescue {
    const KIND: Kind = Kind::Rescue;
    type Id = RescueId;
    type Command = Command;
    type Event = Event;
    type Sighting = Sighting;
    type Soft = Soft;

    fn decide(
        &self,
        command: &Command,
        context: &Context<RescueId>,
    ) -> Result<Vec<Event>, Refusal> {
        rules::decide(self, command, context)
    }

    fn evolve(&mut self, event: &Event) {
        if let Event::Requested { at, request, stranded } = event {
            self.case = Some(Box::new(Case::new(request, *stranded, *at)));
            return;
        }
        let case = self.case.as_mut().expect("the first event is the request");
        let before = case.status;
        case.evolve(event);
        if matches!(event, Event::Located { .. }) {
            self.soft.forget_way();
        }
        if before != case.status {
            self.soft.enter(case.status, case.changed_at);
        }
    }

    fn effects(&self, id: RescueId, event: &Event) -> Vec<Effect> {
        let job = JobId::Rescue(id);
        if let Event::Requested { request, stranded, .. } = event {
            let command = rider::Command::OpenJob { job, work: WorkKind::Rescue };
            let open = Tell::Rider { to: request.rider, command }.into();
            let strand = stranded
                .map(|to| Tell::Driver { to, command: driver::Command::Strand { rescue: id } });
            return std::iter::once(open).chain(strand.map(Effect::from)).collect();
        }
        self.case.as_ref().map(|case| case.effects(id, event)).unwrap_or_default()
    }

    fn deadline(&self) -> Option<(Timestamp, Command)> {
        let due = self.case.as_ref()?.deadline()?;
        Some((due, Command::Tick {}))
    }

    fn claims(&self, _id: RescueId) -> Vec<Claim> {
        let Some(case) = self.case.as_ref().filter(|case| !case.status.is_final()) else {
            return Vec::new();
        };
        let assigned = case.driver.iter().chain(&case.attached);
        let slots = assigned.flat_map(Assignment::claims);
        std::iter::once(Claim::rescue(case.request.rider)).chain(slots).collect()
    }

    fn listing(&self, id: RescueId) -> Option<Listing> {
        let Case { request, search, needs, priority, .. } = self.case.as_deref()?;
        let at = request.at.at;
        let job = JobId::Rescue(id);
        let mut card =
            search.card(job, WorkKind::Rescue, request.rider, at, needs, &request.policy)?;
        card.dropoff = request.dropoff.as_ref().map(|it| it.at);
        card.priority = *priority;
        Some(Listing { region: RegionId::at(at), card: Card::Search(Box::new(card)) })
    }

    fn view(&self, id: RescueId) -> Option<ViewRow> {
        let view = self.rescue_view(id, 0, Principal::System)?;
        Some(ViewRow {
            status: view.status.to_string(),
            rider: Some(view.rider),
            driver: view.driver,
            at: view.requested_at,
            body: serde_json::json!({
                "issue": view.issue,
                "status": view.status,
                "at": view.at,
                "dropoff": view.dropoff,
                "total": view.fare.total(),
                "outcome": view.outcome,
                "changed_at": view.changed_at,
            }),
        })
    }

    fn mark(&self, id: RescueId) -> Option<Mark> {
        let case = self.case.as_ref()?;
        Some(Mark::Rescue {
            id,
            issue: case.request.issue,
            status: case.status,
            at: case.request.at.at,
            driver: case.driver.as_ref().map(|it| it.driver),
            priority: case.priority,
            held: case.search.is_held(),
            since: Some(case.requested_at),
            due: Some(case.promised()),
        })
    }

    fn see(&mut self, sighting: &Sighting, context: &Context<RescueId>) -> Seen<Command> {
        sight::see(self, sighting, context)
    }

    fn expects(driver: DriverId, etas: Etas) -> Option<Sighting> {
        Some(Sighting::Expected { driver, etas: Some(etas) })
    }

    fn wake(&mut self, _now: Timestamp) {
        self.soft = Soft::default();
    }

    fn topic(sighting: &Sighting) -> Topic {
        sighting.topic()
    }

    fn soft(&self) -> Soft {
        self.soft.clone()
    }

    fn recall(&mut self, soft: Soft) {
        self.soft = soft;
    }

    fn idle_max(&self) -> Option<Duration> {
        let is_over = self.case.as_ref().is_none_or(|case| case.status.is_final());
        is_over.then_some(IDLE_MAX)
    }

    fn event_format(event: &Event) -> Format {
        if let Event::Search(event) = event {
            event.format()
        } else if let Event::Requested { request, .. } = event {
            request.format()
        } else if let Event::DriverChosen { bypassed, .. } = event {
            search::format_of(bypassed).max(CONTROLLED)
        } else if let Event::PrioritySet { .. } = event {
            CONTROLLED
        } else if let Event::IncidentOpened { report: Some(_), .. } = event {
            incident::KNOWN
        } else {
            Format::FIRST
        }
    }

    fn may_tell(&self, id: RescueId, events: &[Event]) -> Option<(JobId, u32)> {
        let told = self.case.as_ref()?.search.told();
        let may_tell = |it: &Event| matches!(it, Event::Search(event) if event.may_tell_account());
        events.iter().any(may_tell).then_some((JobId::Rescue(id), told))
    }

    fn tell_rounds(events: &mut [Event], account: Account) {
        let seen = events
            .iter_mut()
            .find_map(|it| if let Event::Search(event) = it { event.account_mut() } else { None });
        if let Some(seen) = seen {
            *seen = Some(account);
        }
    }

    fn waited(&self, event: &Event) -> Option<Waited> {
        let case = self.case.as_deref()?;
        case.waited_for_driver(event).or_else(|| self.soft.waited_unseen(case, event))
    }

    fn command_format(command: &Command) -> Format {
        if let Command::Search(command) = command {
            return command.format();
        }
        if let Command::Request(request) = command {
            return request.format();
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

    fn command_name(command: &Command) -> &'static str {
        command.into()
    }

    fn comes_first(event: &Event) -> bool {
        matches!(event, Event::Search(search::Event::OfferMade { .. }))
    }

    fn event_name(event: &Event) -> &'static str {
        match event {
            Event::Ended { status, .. } => status.into(),
            Event::Search(event) => event.into(),
            Event::Requested { .. }
            | Event::Located { .. }
            | Event::Triaged { .. }
            | Event::IncidentOpened { .. }
            | Event::DriverChosen { .. }
            | Event::PrioritySet { .. }
            | Event::Accepted { .. }
            | Event::DriverReleased { .. }
            | Event::Detached { .. }
            | Event::Departed { .. }
            | Event::Arrived { .. }
            | Event::AssistStarted { .. }
            | Event::LoadStarted { .. }
            | Event::Escalated { .. }
            | Event::EscalationFailed { .. }
            | Event::FixReported { .. }
            | Event::FixDenied { .. }
            | Event::Contacted { .. }
            | Event::Unloaded { .. }
            | Event::SlaAtRisk { .. }
            | Event::SlaBreached { .. }
            | Event::Rated { .. } => event.into(),
        }
    }

    fn is_urgent(command: &Command) -> bool {
        matches!(command, Command::CancelSafety { .. })
    }
}

impl Rescue {
    /// Where it is; `None` if it was never requested.
    pub fn status(&self) -> Option<RescueStatus> {
        self.case.as_ref().map(|case| case.status)
    }

    /// The rescue as `reader`, who may see it, does: its rider, its driver, or a dispatcher; `None` if it was never requested.
    pub fn rescue_view(&self, id: RescueId, version: u64, reader: Principal) -> Option<RescueView> {
        let case = self.case.as_ref()?;
        let is_own = self.is_of(reader);
        Some(RescueView {
            id,
            version,
            issue: case.request.issue,
            status: case.status,
            rider: case.request.rider,
            driver: case.driver.as_ref().map(|it| it.driver),
            attached: case.attached.as_ref().map(|it| it.driver),
            at: case.request.at.clone(),
            dropoff: case.request.dropoff.clone(),
            fare: case.request.fare.clone(),
            needs: if is_own || reader.is_staff() { case.needs.clone() } else { Needs::default() },
            held: case.search.is_held(),
            priority: case.priority,
            fleet: case.search.fleet(),
            offers: case.search.offers().collect(),
            outcome: case.outcome.clone(),
            alternatives: if case.status == RescueStatus::RejectedOutOfArea {
                case.request.elsewhere.clone()
            } else {
                Vec::new()
            },
            requested_at: case.requested_at,
            changed_at: case.changed_at,
            // Whoever helps knows best where they are.
            eta: self.etas().filter(|_| is_own || !matches!(reader, Principal::Driver(_))),
            queue: self.soft.queued(case).filter(|_| is_own || reader.is_staff()),
        })
    }

    /// Does it help `reader`: its rider, or the same person at work as a driver?
    pub fn is_of(&self, reader: Principal) -> bool {
        let rider = self.case.as_ref().map(|case| case.request.rider);
        match reader {
            Principal::Rider(id) => rider == Some(id),
            Principal::Driver(id) => rider.is_some_and(|rider| rider.0 == id.0),
            Principal::Merchant(_)
            | Principal::Dispatcher
            | Principal::Admin
            | Principal::System => false,
        }
    }

    /// Who helps; who helped, once it is over.
    pub fn driver(&self) -> Option<DriverId> {
        Some(self.case.as_ref()?.driver.as_ref()?.driver)
    }

    /// When whoever helps is expected, as was last counted.
    pub fn etas(&self) -> Option<Etas> {
        self.soft.etas(self.case.as_deref()?)
    }

    /// Of when whoever helps is expected, when they are at the next place they must be; none, if they are not under way.
    pub fn next_of(&self, etas: &Etas) -> Option<Eta> {
        self.case.as_ref()?.next_of(etas)
    }

    /// What it asks of its driver; `None` if it was never requested.
    pub fn asks(&self) -> Option<Asks<'_>> {
        let case = self.case.as_ref()?;
        let (needs, fleet) = (&case.needs, case.search.fleet());
        let fleet_first = case.search.is_kept_at_first();
        let Request { at, dropoff, .. } = &case.request;
        let way = Way { pickup: at.at, dropoff: dropoff.as_ref().map(|it| it.at) };
        Some(Asks { work: WorkKind::Rescue, needs, fleet, fleet_first, way })
    }

    /// Its people: whose it is, and who performs it; nobody if it was never requested.
    pub fn parties(&self) -> Vec<Principal> {
        self.case.as_ref().map(|case| case.parties()).unwrap_or_default()
    }

    /// Does `driver` work on it, or hold an offer of it?
    pub fn concerns(&self, driver: DriverId) -> bool {
        self.case.as_ref().is_some_and(|case| {
            case.search.is_offered_to(driver)
                || case.driver.iter().chain(&case.attached).any(|it| it.driver == driver)
        })
    }
}

impl Case {
    fn new(request: &Request, stranded: Option<DriverId>, at: Timestamp) -> Self {
        Self {
            request: triage::hurried(request),
            stranded,
            status: RescueStatus::Requested,
            requested_at: at,
            changed_at: at,
            needs: Needs::default(),
            search: Search::default(),
            driver: None,
            attached: None,
            n_releases: 0,
            arrived_at: None,
            contacted_at: None,
            fixed_at: None,
            sla: Sla::Kept,
            outcome: None,
            fee: 0,
            stars: None,
            priority: Priority::Normal,
        }
    }

    fn evolve(&mut self, event: &Event) {
        match event {
            Event::Requested { .. } | Event::IncidentOpened { .. } | Event::DriverChosen { .. } => {
            }
            Event::PrioritySet { at, priority, .. } => {
                self.priority = *priority;
                self.changed_at = *at;
            }
            Event::Located { place, accuracy_m, .. } => {
                self.request.at = place.clone();
                self.request.accuracy_m = *accuracy_m;
            }
            Event::Triaged { at, needs } => {
                self.needs = needs.clone();
                self.enter(RescueStatus::Searching, *at);
            }
            Event::Search(event) => self.search.evolve(event),
            Event::Accepted { at, assignment } => {
                self.driver = Some(assignment.clone());
                self.enter(RescueStatus::Accepted, *at);
            }
            Event::DriverReleased { at, .. } => {
                self.driver = None;
                self.n_releases = self.n_releases.saturating_add(1);
                let is_waited_with = self.attached.is_some();
                self.enter(
                    if is_waited_with { RescueStatus::Escalated } else { RescueStatus::Searching },
                    *at,
                );
            }
            Event::Detached { at, .. } => {
                self.attached = None;
                self.changed_at = *at;
            }
            Event::Departed { at } => {
                let is_loaded = self.status == RescueStatus::Loading;
                let status =
                    if is_loaded { RescueStatus::InTransit } else { RescueStatus::EnRoute };
                self.enter(status, *at);
            }
            Event::Arrived { at } => {
                if self.status == RescueStatus::InTransit {
                    self.enter(RescueStatus::AtDropoff, *at);
                } else {
                    self.arrived_at = Some(*at);
                    self.contacted_at = None;
                    self.enter(RescueStatus::OnScene, *at);
                }
            }
            Event::AssistStarted { at } => self.enter(RescueStatus::Assisting, *at),
            Event::LoadStarted { at, dropoff, .. } => {
                self.request.dropoff = Some(dropoff.clone());
                self.fixed_at = None;
                self.enter(RescueStatus::Loading, *at);
            }
            Event::Escalated { at, needs, stay } => {
                self.needs = needs.clone();
                self.fixed_at = None;
                let first = self.driver.take();
                if *stay {
                    self.attached = first;
                }
                self.enter(RescueStatus::Escalated, *at);
            }
            Event::EscalationFailed { at } => {
                self.driver = self.attached.take();
                self.enter(RescueStatus::OnScene, *at);
            }
            Event::FixReported { at } => {
                self.fixed_at = Some(*at);
                self.changed_at = *at;
            }
            Event::FixDenied { at } => {
                self.fixed_at = None;
                self.changed_at = *at;
            }
            Event::Contacted { at } => {
                self.contacted_at = Some(*at);
                self.changed_at = *at;
            }
            Event::Unloaded { at, .. } => self.changed_at = *at,
            Event::SlaAtRisk { .. } => self.sla = Sla::AtRisk,
            Event::SlaBreached { .. } => self.sla = Sla::Breached,
            Event::Ended { at, status, outcome, fee } => {
                self.outcome = Some(outcome.clone());
                self.fee = *fee;
                self.attached = None;
                self.fixed_at = None;
                self.enter(*status, *at);
            }
            Event::Rated { stars, .. } => self.stars = Some(*stars),
        }
    }

    fn enter(&mut self, status: RescueStatus, at: Timestamp) {
        self.status = status;
        self.changed_at = at;
    }

    fn effects(&self, id: RescueId, event: &Event) -> Vec<Effect> {
        let job = JobId::Rescue(id);
        match event {
            Event::Search(event) => {
                let terms = Terms {
                    job,
                    work: WorkKind::Rescue,
                    pickup: &self.request.at,
                    dropoff: self.request.dropoff.as_ref(),
                    fare: self.request.fare.total(),
                    needs: &self.needs,
                };
                self.search.effects(&terms, event).into_iter().collect()
            }
            Event::IncidentOpened { at, report: Some(Report { kind, by }) } => {
                let position = Position {
                    at: self.request.at.at,
                    sampled_at: *at,
                    heading_deg: None,
                    speed_mps: None,
                    accuracy_m: self.request.accuracy_m.map(|it| it as f32),
                };
                let opening = Opening {
                    parties: Some(self.parties()),
                    position: Some(position),
                    ..Opening::of_job(*kind, *by, job)
                };
                vec![Tell::incident(opening).into()]
            }
            Event::Accepted { assignment, .. } => vec![assignment.commit(job)],
            Event::DriverReleased { reason, .. } => end(job, &self.driver, reason),
            Event::Detached { reason, .. } => end(job, &self.attached, reason),
            Event::Escalated { stay: false, .. } => end(job, &self.driver, "another driver comes"),
            Event::Ended { status, .. } => {
                let reason = status.to_string();
                let mut effects = end(job, &self.driver, &reason);
                effects.extend(end(job, &self.attached, &reason));
                let close = rider::Command::CloseJob { job };
                effects.push(Tell::Rider { to: self.request.rider, command: close }.into());
                let unstrand = driver::Command::Unstrand { rescue: id };
                let stranded = self.stranded.map(|to| Tell::Driver { to, command: unstrand });
                effects.extend(stranded.map(Effect::from));
                effects
            }
            Event::Rated { stars, .. } => {
                let command = driver::Command::RecordRating { job, stars: *stars };
                let driver = self.driver.iter();
                driver
                    .map(|it| Tell::Driver { to: it.driver, command: command.clone() }.into())
                    .collect()
            }
            Event::Requested { .. }
            | Event::Located { .. }
            | Event::Triaged { .. }
            | Event::IncidentOpened { report: None, .. }
            | Event::DriverChosen { .. }
            | Event::PrioritySet { .. }
            | Event::Departed { .. }
            | Event::Arrived { .. }
            | Event::AssistStarted { .. }
            | Event::LoadStarted { .. }
            | Event::Escalated { stay: true, .. }
            | Event::EscalationFailed { .. }
            | Event::FixReported { .. }
            | Event::FixDenied { .. }
            | Event::Contacted { .. }
            | Event::Unloaded { .. }
            | Event::SlaAtRisk { .. }
            | Event::SlaBreached { .. } => Vec::new(),
        }
    }

    fn parties(&self) -> Vec<Principal> {
        let rider = Principal::Rider(self.request.rider);
        let assigned = self.driver.iter().chain(&self.attached);
        let drivers = assigned.map(|it| it.driver).chain(self.stranded);
        std::iter::once(rider).chain(drivers.map(Principal::Driver)).collect()
    }

    fn deadline(&self) -> Option<Timestamp> {
        if self.status.is_final() {
            return None;
        }
        let triage = (self.status == RescueStatus::Requested).then(|| self.triage_due());
        let due = [triage, self.search.deadline(), self.silence_due(), self.sla_due()];
        due.into_iter().flatten().min()
    }

    fn triage_due(&self) -> Timestamp {
        self.requested_at + TRIAGE_MAX
    }

    /// When the rider's silence means that it runs again.
    fn silence_due(&self) -> Option<Timestamp> {
        self.fixed_at.map(|at| at + ms(self.request.policy.fixed_silent_ms))
    }

    /// When it is next too slow: nearly, then truly.
    fn sla_due(&self) -> Option<Timestamp> {
        match self.sla {
            Sla::Kept => Some(self.requested_at + ms(self.request.policy.sla_ms) * 4 / 5),
            Sla::AtRisk => Some(self.promised()),
            Sla::Breached => None,
        }
    }

    /// Until when it was promised to be over.
    fn promised(&self) -> Timestamp {
        self.requested_at + ms(self.request.policy.sla_ms)
    }

    /// How long its rider waited until the first driver accepted; or, too long already, until it was over without any.
    fn waited_for_driver(&self, event: &Event) -> Option<Waited> {
        let (Event::Accepted { at, .. } | Event::Ended { at, .. }) = event else { return None };
        let took = at.since(self.requested_at);
        let at_most = ms(self.request.policy.driver_within_ms);
        let waited = Waited { what: "driver", took, at_most };
        let is_found = matches!(event, Event::Accepted { .. });
        (!self.had_driver() && (is_found || waited.is_missed())).then_some(waited)
    }

    /// Has any driver ever accepted it? Those who go before they are there are counted, and it does not forget that one was there.
    fn had_driver(&self) -> bool {
        self.driver.is_some() || self.n_releases > 0 || self.arrived_at.is_some()
    }

    /// What ending it late costs its rider: the base of the fare.
    fn late_fee(&self) -> i64 {
        let base = self.request.fare.lines.iter().find(|line| line.code == "base");
        base.map_or(0, |line| line.amount)
    }
}

/// Tells a driver, if there is one, that the job is over for them.
fn end(job: JobId, assignment: &Option<Assignment>, reason: &str) -> Vec<Effect> {
    assignment.iter().map(|it| it.end(job, reason)).collect()
}

/// A span of milliseconds.
fn ms(n: u32) -> Duration {
    Duration::from_millis(u64::from(n))
}
