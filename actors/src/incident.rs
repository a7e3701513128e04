//! A safety case: somebody called for help, or a job was called off because someone is not safe.
//!
//! ```text
//!        ack             add responder             resolve            by itself, or when all is answered
//! Open ───────► Acked ────────────────► Responding ───────► Resolved ──────────────────────────────────► Closed
//!  │ 30 s, 60 s   │                          │        └───► False ─────────────────────────────────────────▲
//!  └─ escalates ──┴─ escalate: calls again ──┘
//! ```
//!
//! It *calls* from when it is raised, and again from each escalation, until somebody acks it; as long as it calls, every
//! dispatcher is told until they have heard it (see the gateway). There is one for each call of one party of one
//! job: while it is open, calling again is already so.

use crate::{Claim, Context, Decider, Effect, Format, Kind, Listing, Refusal, Seen, ViewRow};
use protocol::{
    CommandId, IncidentId, IncidentStatus, JobId, Principal, Timestamp,
    view::{CheckView, IncidentView, Mark, Position},
    work::{CheckItem, IncidentKind, Resolution},
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, time::Duration};
use strum::IntoEnumIterator;
use uuid::Uuid;
use xxhash_rust::xxh3::xxh3_128;

#[cfg(test)]
mod tests;

/// What it takes to know this kind of entity.
pub(crate) const KNOWN: Format = Format(3);
/// How long it may call before it is escalated: the first time, and again.
const HEEDED_WITHIN: [Duration; 2] = [Duration::from_secs(30), Duration::from_secs(60)];
/// Two escalations by hand within this are one.
const ESCALATED_ONCE_IN: Duration = Duration::from_secs(5);
/// A newer position is written down at most this often.
const LOCATED_EVERY: Duration = Duration::from_secs(10);
/// How long after its end questions may be left open.
const CLOSES_AFTER: Duration = Duration::from_secs(24 * 3600);
/// Most responders, and most characters of the name of one.
const RESPONDERS_MAX: usize = 16;
const NAME_CHARS_MAX: usize = 200;
/// How long one stays in memory that nobody speaks to.
const IDLE_MAX: Duration = Duration::from_secs(60);
/// Why it is escalated when nobody says why.
const UNHEEDED: &str = "nobody has taken it on";

/// Everything that is known when it is raised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Opening {
    /// What it is.
    pub kind: IncidentKind,
    /// Who raises it.
    pub raised_by: Principal,
    /// What they are busy with.
    pub job: Option<JobId>,
    /// The how many-th call of that party for that job, from 0.
    pub nth: u32,
    /// Who has part in the job; none if it could not be asked, which stops nobody.
    pub parties: Option<Vec<Principal>>,
    /// Where they are.
    pub position: Option<Position>,
    /// It is a drill.
    pub mock: bool,
    /// The command that raises it, by which a repeat is known when it is over.
    pub command: Option<CommandId>,
}

/// What a rescue says of itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// What it is.
    pub kind: IncidentKind,
    /// Who said so, or asked for it.
    pub by: Principal,
}

impl Opening {
    /// What a job says of itself.
    pub fn of_job(kind: IncidentKind, raised_by: Principal, job: JobId) -> Self {
        Self {
            kind,
            raised_by,
            job: Some(job),
            nth: 0,
            parties: None,
            position: None,
            mock: false,
            command: None,
        }
    }

    /// Under which id that is raised. Derived, so that there is only one.
    pub fn id(&self) -> IncidentId {
        let Self { kind, raised_by, job, nth, .. } = self;
        let job = job.map_or_else(|| "no job".to_owned(), |job| job.to_string());
        let name = format!("{kind} {nth} of {raised_by} in {job}");
        IncidentId(Uuid::from_u128(xxh3_128(name.as_bytes())))
    }

    /// May they raise it? Staff may for others.
    fn concerns_them(&self) -> bool {
        let is_party = |parties: &Vec<Principal>| parties.contains(&self.raised_by);
        self.job.is_none()
            || self.raised_by.is_staff()
            || self.parties.as_ref().is_none_or(is_party)
    }
}

/// What can be asked of an incident.
#[derive(
    Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr, strum::VariantNames,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Command {
    /// Somebody needs help: whoever it is says so, or the platform for them.
    Open(Box<Opening>),
    /// Staff: I see to it.
    Ack {},
    /// Staff: somebody is on the way.
    AddResponder {
        /** Who, in words. */
        name: String,
    },
    /// Staff: call everybody again.
    Escalate {
        /** Why. */
        reason: String,
    },
    /// Staff: a question is answered.
    Check {
        /** Which. */
        item: CheckItem,
        /** Yes or no. */
        answer: bool,
    },
    /// Staff: it is over.
    Resolve {
        /** How. */
        resolution: Resolution,
        /** What is to be known of it later. */
        note: String,
    },
    /// The deadline has come. The platform asks.
    Tick {},
}

/// What has happened to an incident. All of them need format 3.
#[derive(
    Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr, strum::VariantNames,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Event {
    /// Somebody needs help.
    Opened {
        /** When. */
        at: Timestamp,
        /** Everything that was known. */
        opening: Box<Opening>,
    },
    /// Whoever raised it called again, from elsewhere.
    Located {
        /** When. */
        at: Timestamp,
        /** Where they are. */
        position: Position,
    },
    /// Somebody sees to it.
    Acked {
        /** When. */
        at: Timestamp,
        /** Who. */
        by: Principal,
    },
    /// Somebody is on the way.
    ResponderAdded {
        /** When. */
        at: Timestamp,
        /** Who says so. */
        by: Principal,
        /** Who, in words. */
        name: String,
    },
    /// Everybody is called again.
    Escalated {
        /** When. */
        at: Timestamp,
        /** Who does; the platform, if nobody has heeded it. */
        by: Principal,
        /** Why. */
        reason: String,
    },
    /// A question was answered.
    Checked {
        /** When. */
        at: Timestamp,
        /** Who says so. */
        by: Principal,
        /** Which. */
        item: CheckItem,
        /** Yes or no. */
        answer: bool,
    },
    /// It is over.
    Resolved {
        /** When. */
        at: Timestamp,
        /** Who says so. */
        by: Principal,
        /** How. */
        resolution: Resolution,
        /** What is to be known of it later. */
        note: String,
    },
    /// Nothing is left to be done or answered. Final.
    Closed {
        /** When. */
        at: Timestamp,
    },
}

/// An incident. `Default` was never raised.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Incident(Option<Box<Case>>);

/// Everything about one that was raised.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Case {
    opening: Opening,
    status: IncidentStatus,
    /// How many events made it so.
    version: u64,
    opened_at: Timestamp,
    changed_at: Timestamp,
    position: Option<Position>,
    located_at: Timestamp,
    call: Option<Call>,
    n_escalations: u8,
    escalated_at: Option<Timestamp>,
    acked_at: Option<Timestamp>,
    responders: Vec<String>,
    checks: BTreeMap<CheckItem, bool>,
    note: Option<String>,
    /// When it was over.
    ended_at: Option<Timestamp>,
}

/// It waits for somebody to take it on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
struct Call {
    since: Timestamp,
    /// How often it was escalated for want of an answer.
    n_unheeded: u8,
}

impl Call {
    fn since(at: Timestamp) -> Self {
        Self { since: at, n_unheeded: 0 }
    }

    /// When it is next escalated by itself.
    fn due(self) -> Option<Timestamp> {
        HEEDED_WITHIN.get(usize::from(self.n_unheeded)).map(|within| self.since + *within)
    }
}

/// The commands of staff that a status allows.
fn allowed(status: IncidentStatus) -> &'static [&'static str] {
    match status {
        IncidentStatus::Open => &["ack", "escalate"],
        IncidentStatus::Acked | IncidentStatus::Responding => {
            &["ack", "add_responder", "escalate", "check", "resolve"]
        }
        IncidentStatus::Resolved | IncidentStatus::False => &["check"],
        IncidentStatus::Closed => &[],
    }
}

impl Incident {
    /// Where it is; none if it was never raised.
    pub fn status(&self) -> Option<IncidentStatus> {
        self.0.as_ref().map(|case| case.status)
    }

    /// Was it seen to, or none? Who calls then calls anew.
    pub fn is_over(&self) -> bool {
        self.status().is_some_and(IncidentStatus::is_over)
    }

    /// Was it raised by this command?
    pub fn is_raised_by(&self, command: CommandId) -> bool {
        self.0.as_ref().is_some_and(|case| case.opening.command == Some(command))
    }

    /// What `reader` is shown of it: whoever raised it, and staff more; nobody else knows of it.
    pub fn incident_view(&self, id: IncidentId, reader: Principal) -> Option<IncidentView> {
        let case = self.0.as_ref()?;
        let is_staff = reader.is_staff();
        if !is_staff && reader != case.opening.raised_by {
            return None;
        }
        Some(IncidentView {
            id,
            version: case.version,
            kind: case.opening.kind,
            mock: case.opening.mock,
            status: case.status,
            raised_by: case.opening.raised_by,
            job: case.opening.job,
            position: case.position,
            opened_at: case.opened_at,
            changed_at: case.changed_at,
            calling: case.call.is_some(),
            escalations: case.n_escalations,
            acked_at: case.acked_at,
            responders: case.responders.clone(),
            others: if is_staff { case.others() } else { Vec::new() },
            checklist: if is_staff { case.checklist() } else { Vec::new() },
            note: case.note.clone().filter(|_| is_staff),
        })
    }
}

impl Case {
    fn new(opening: &Opening, at: Timestamp) -> Self {
        Self {
            opening: opening.clone(),
            status: IncidentStatus::Open,
            version: 1,
            opened_at: at,
            changed_at: at,
            position: opening.position,
            located_at: at,
            call: Some(Call::since(at)),
            n_escalations: 0,
            escalated_at: None,
            acked_at: None,
            responders: Vec::new(),
            checks: BTreeMap::new(),
            note: None,
            ended_at: None,
        }
    }

    /// It was raised before, and is raised again.
    fn open_again(&self, opening: &Opening, at: Timestamp) -> Result<Vec<Event>, Refusal> {
        let is_repeat = self.opening.command == opening.command;
        if self.status.is_over() {
            // Who calls after it was over calls anew, under another id.
            return if is_repeat { Ok(Vec::new()) } else { Err(self.illegal()) };
        }
        let is_newer = |it: &Position| {
            self.position.is_none_or(|known| it.sampled_at > known.sampled_at)
                && (self.position.is_none() || at.since(self.located_at) >= LOCATED_EVERY)
        };
        let position = opening.position.filter(is_newer).filter(|_| !is_repeat);
        Ok(position.map(|position| Event::Located { at, position }).into_iter().collect())
    }

    fn decide(
        &self,
        command: &Command,
        context: &Context<IncidentId>,
    ) -> Result<Vec<Event>, Refusal> {
        let (at, by) = (context.now, context.by);
        if let Command::Open(opening) = command {
            return self.open_again(opening, at);
        }
        if matches!(command, Command::Tick {}) {
            return Ok(self.tick(at));
        }
        if !allowed(self.status).contains(&Incident::command_name(command)) {
            let is_so = matches!(
                command,
                Command::Resolve { resolution, .. } if self.ended_as() == Some(*resolution)
            );
            return if is_so { Ok(Vec::new()) } else { Err(self.illegal()) };
        }
        Ok(match command {
            Command::Open(_) | Command::Tick {} => Vec::new(),
            Command::Ack {} if self.call.is_none() => Vec::new(),
            Command::Ack {} => vec![Event::Acked { at, by }],
            Command::AddResponder { name } if self.responders.contains(name) => Vec::new(),
            Command::AddResponder { name } => {
                check_name(name)?;
                if self.responders.len() >= RESPONDERS_MAX {
                    let problem = format!("{RESPONDERS_MAX} responders at most");
                    return Err(Refusal::invalid("name", problem));
                }
                vec![Event::ResponderAdded { at, by, name: name.clone() }]
            }
            Command::Escalate { .. }
                if self.escalated_at.is_some_and(|then| at.since(then) < ESCALATED_ONCE_IN) =>
            {
                Vec::new()
            }
            Command::Escalate { reason } => {
                vec![Event::Escalated { at, by, reason: reason.clone() }]
            }
            Command::Check { item, answer } if self.checks.get(item) == Some(answer) => Vec::new(),
            Command::Check { item, answer } => {
                vec![Event::Checked { at, by, item: *item, answer: *answer }]
            }
            Command::Resolve { resolution, note } => {
                let (resolution, note) = (*resolution, note.clone());
                vec![Event::Resolved { at, by, resolution, note }]
            }
        })
    }

    /// What is due by now.
    fn tick(&self, at: Timestamp) -> Vec<Event> {
        if self.closes_at().is_some_and(|due| at >= due) {
            return vec![Event::Closed { at }];
        }
        let Some(call) = self.call else { return Vec::new() };
        let unheeded = HEEDED_WITHIN.iter().skip(usize::from(call.n_unheeded));
        let due = unheeded.take_while(|within| at >= call.since + **within);
        let escalated = Event::Escalated { at, by: Principal::System, reason: UNHEEDED.to_owned() };
        due.map(|_| escalated.clone()).collect()
    }

    fn evolve(&mut self, event: &Event) {
        match event {
            // It begins once.
            Event::Opened { .. } => {}
            Event::Located { at, position } => {
                (self.position, self.located_at) = (Some(*position), *at);
            }
            Event::Acked { at, .. } => {
                (self.call, self.acked_at) = (None, Some(*at));
                if self.status == IncidentStatus::Open {
                    self.status = IncidentStatus::Acked;
                }
            }
            Event::ResponderAdded { name, .. } => {
                self.responders.push(name.clone());
                self.status = IncidentStatus::Responding;
            }
            Event::Escalated { at, by, reason } => {
                self.n_escalations = self.n_escalations.saturating_add(1);
                self.escalated_at = Some(*at);
                match (&mut self.call, by) {
                    (Some(call), Principal::System) => {
                        call.n_unheeded = call.n_unheeded.saturating_add(1);
                    }
                    (call, _) => {
                        *call = Some(Call::since(*at));
                        self.note = Some(reason.clone());
                    }
                }
            }
            Event::Checked { item, answer, .. } => {
                self.checks.insert(*item, *answer);
            }
            Event::Resolved { at, resolution, note, .. } => {
                (self.call, self.ended_at, self.note) = (None, Some(*at), Some(note.clone()));
                self.status = match resolution {
                    Resolution::Helped => IncidentStatus::Resolved,
                    Resolution::False => IncidentStatus::False,
                };
            }
            Event::Closed { .. } => self.status = IncidentStatus::Closed,
        }
        self.version += 1;
        self.changed_at = at_of(event);
    }

    fn deadline(&self) -> Option<Timestamp> {
        self.closes_at().or_else(|| self.call.and_then(Call::due))
    }

    /// When it closes by itself; never, while questions are open that must be answered.
    fn closes_at(&self) -> Option<Timestamp> {
        let is_waiting = matches!(self.status, IncidentStatus::Resolved | IncidentStatus::False);
        let must_ask =
            self.opening.kind == IncidentKind::Accident && self.status == IncidentStatus::Resolved;
        let is_answered =
            !must_ask || CheckItem::iter().all(|item| self.checks.contains_key(&item));
        let ended_at = self.ended_at.filter(|_| is_waiting && is_answered)?;
        Some(ended_at + CLOSES_AFTER)
    }

    fn ended_as(&self) -> Option<Resolution> {
        match self.status {
            IncidentStatus::Resolved => Some(Resolution::Helped),
            IncidentStatus::False => Some(Resolution::False),
            IncidentStatus::Open
            | IncidentStatus::Acked
            | IncidentStatus::Responding
            | IncidentStatus::Closed => None,
        }
    }

    fn others(&self) -> Vec<Principal> {
        let parties = self.opening.parties.iter().flatten().copied();
        parties.filter(|it| *it != self.opening.raised_by).collect()
    }

    fn checklist(&self) -> Vec<CheckView> {
        self.checks
            .iter()
            .map(|(item, answer)| CheckView { item: *item, answer: *answer })
            .collect()
    }

    fn illegal(&self) -> Refusal {
        Refusal::IllegalTransition {
            state: self.status.to_string(),
            allowed: allowed(self.status).iter().map(|&name| name.to_owned()).collect(),
        }
    }
}

fn at_of(event: &Event) -> Timestamp {
    match event {
        Event::Opened { at, .. }
        | Event::Located { at, .. }
        | Event::Acked { at, .. }
        | Event::ResponderAdded { at, .. }
        | Event::Escalated { at, .. }
        | Event::Checked { at, .. }
        | Event::Resolved { at, .. }
        | Event::Closed { at } => *at,
    }
}

fn check_name(name: &str) -> Result<(), Refusal> {
    let is_said = !name.trim().is_empty() && name.chars().count() <= NAME_CHARS_MAX;
    if !is_said || name.chars().any(char::is_control) {
        let problem = format!("1 to {NAME_CHARS_MAX} characters on one line");
        return Err(Refusal::invalid("name", problem));
    }
    Ok(())
}

/// May somebody with that relation ask it?
fn authorise(command: &Command, context: &Context<IncidentId>) -> Result<(), Refusal> {
    let by = context.by;
    match command {
        Command::Open(opening) => {
            let is_own = by == opening.raised_by || by == Principal::System;
            if !is_own || !opening.concerns_them() {
                return Err(Refusal::NotYours("they have no part in that job".to_owned()));
            }
            if opening.id() != context.id {
                return Err(Refusal::invalid("id", "it is raised under another id"));
            }
        }
        Command::Tick {} if by == Principal::System => {}
        Command::Tick {} => return Err(Refusal::NotYours("its time comes by itself".to_owned())),
        Command::Ack {}
        | Command::AddResponder { .. }
        | Command::Escalate { .. }
        | Command::Check { .. }
        | Command::Resolve { .. } => {
            if !by.is_staff() {
                let name = Incident::command_name(command);
                return Err(Refusal::NotYours(format!("not for a {} to {name}", by.role())));
            }
        }
    }
    Ok(())
}

impl Decider for Incident {
    const KIND: Kind = Kind::Incident;
    type Id = IncidentId;
    type Command = Command;
    type Event = Event;
    type Sighting = ();
    type Soft = ();

    fn decide(
        &self,
        command: &Command,
        context: &Context<IncidentId>,
    ) -> Result<Vec<Event>, Refusal> {
        if !matches!(command, Command::Open(_)) && self.0.is_none() {
            return Err(Refusal::Unknown("incident".to_owned()));
        }
        authorise(command, context)?;
        match (&self.0, command) {
            (Some(case), command) => case.decide(command, context),
            (None, Command::Open(opening)) => {
                Ok(vec![Event::Opened { at: context.now, opening: opening.clone() }])
            }
            (None, _) => Ok(Vec::new()),
        }
    }

    fn evolve(&mut self, event: &Event) {
        match (&mut self.0, event) {
            (Some(case), event) => case.evolve(event),
            (None, Event::Opened { at, opening }) => {
                self.0 = Some(Box::new(Case::new(opening, *at)));
            }
            // A journal begins with `Opened`; anything else before it says nothing.
            (None, _) => {}
        }
    }

    fn effects(&self, _id: IncidentId, _event: &Event) -> Vec<Effect> {
        Vec::new()
    }

    fn deadline(&self) -> Option<(Timestamp, Command)> {
        Some((self.0.as_ref()?.deadline()?, Command::Tick {}))
    }

    fn claims(&self, _id: IncidentId) -> Vec<Claim> {
        Vec::new()
    }

    fn listing(&self, _id: IncidentId) -> Option<Listing> {
        None
    }

    fn view(&self, id: IncidentId) -> Option<ViewRow> {
        let view = self.incident_view(id, Principal::System)?;
        // Of the other side's list it is no part.
        let (rider, driver) = match view.raised_by {
            Principal::Rider(id) => (Some(id), None),
            Principal::Driver(id) => (None, Some(id)),
            Principal::Merchant(_)
            | Principal::Dispatcher
            | Principal::Admin
            | Principal::System => (None, None),
        };
        Some(ViewRow {
            status: view.status.to_string(),
            rider,
            driver,
            at: view.opened_at,
            body: serde_json::to_value(&view).unwrap_or_default(),
        })
    }

    fn mark(&self, _id: IncidentId) -> Option<Mark> {
        None
    }

    fn see(&mut self, _sighting: &(), _context: &Context<IncidentId>) -> Seen<Command> {
        Seen::default()
    }

    fn soft(&self) {}

    fn recall(&mut self, (): ()) {}

    fn idle_max(&self) -> Option<Duration> {
        Some(IDLE_MAX)
    }

    fn command_name(command: &Command) -> &'static str {
        command.into()
    }

    fn event_name(event: &Event) -> &'static str {
        event.into()
    }

    fn event_format(_event: &Event) -> Format {
        KNOWN
    }

    fn command_format(_command: &Command) -> Format {
        KNOWN
    }

    fn is_urgent(_command: &Command) -> bool {
        true
    }
}
