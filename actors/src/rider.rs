//! Someone who asks for jobs: which of them are running, and whom it is kept apart from.

use crate::{
    Claim, Context, Decider, Effect, Format, Kind, Listing, Refusal, Seen, Tell, ViewRow, reason,
    run,
    search::{self, CONTROLLED},
};
use protocol::{
    DriverId, JobId, Principal, RiderId, Timestamp,
    view::{Mark, RiderView, WorkKind},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

#[cfg(test)]
mod tests;

/// How long a rider without jobs stays in memory. Nothing but its jobs is ever said to it, so it is woken for
/// little else than to be looked at, which one read of the journal answers.
const IDLE_MAX: Duration = Duration::from_secs(30);
/// How many drivers a rider can be kept apart from.
const BLOCKED_MAX: usize = 64;
/// What it takes to know that jobs are counted.
#[cfg(feature = "next")]
const COUNTED: Format = Format(12);

/// What can be asked of a rider. Jobs say when they begin and end; whom it is kept apart from is for staff.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Command {
    /// A job was opened for them.
    OpenJob {
        /** Which. */
        job: JobId,
        /** What. */
        work: WorkKind,
    },
    /// It is over.
    CloseJob {
        /** Which. */
        job: JobId,
    },
    /// None of its jobs is to be this driver's. Needs format 2.
    Block {
        /** Whose. */
        driver: DriverId,
        /** Why. */
        reason: String,
    },
    /// They may meet again. Needs format 2.
    Unblock {
        /** Whom. */
        driver: DriverId,
        /** Why. */
        reason: String,
    },
    /// Staff have something to tell it. Needs format 4.
    Message {
        /** About which job. */
        job: Option<JobId>,
        /** What. */
        text: String,
    },
}

/// What has happened to a rider.
#[derive(
    Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr, strum::VariantNames,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Event {
    /// A job runs for them.
    JobOpened {
        /** When. */
        at: Timestamp,
        /** Which. */
        job: JobId,
        /** What. */
        work: WorkKind,
        /** How many they have had, with this one. Needs format 10. */
        #[cfg(feature = "next")]
        #[serde(default, skip_serializing_if = "Option::is_none")]
        nth: Option<u32>,
    },
    /// It is over.
    JobClosed {
        /** When. */
        at: Timestamp,
        /** Which. */
        job: JobId,
    },
    /// None of its jobs is to be this driver's. Needs format 2.
    DriverBlocked {
        /** When. */
        at: Timestamp,
        /** Whose. */
        driver: DriverId,
        /** Who said so. */
        by: Principal,
        /** Why. */
        reason: String,
    },
    /// They may meet again. Needs format 2.
    DriverUnblocked {
        /** When. */
        at: Timestamp,
        /** Whom. */
        driver: DriverId,
        /** Who said so. */
        by: Principal,
        /** Why. */
        reason: String,
    },
    /// Staff had something to tell it. Needs format 4.
    Messaged {
        /** When. */
        at: Timestamp,
        /** About which job. */
        #[serde(default, skip_serializing_if = "Option::is_none")]
        job: Option<JobId>,
        /** Who wrote it. */
        by: Principal,
        /** What. */
        text: String,
    },
    /// Their first job is over, and they are no newcomer any more. Needs format 10.
    #[cfg(feature = "next")]
    Settled {
        /** When. */
        at: Timestamp,
    },
}

/// A rider, as far as its rules care. That nobody has two rides at once is not judged here but by
/// [`Claim::ride`], which the orders hold: a claim cannot be late.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Rider {
    /// When something last happened to it; zero for a rider nobody has heard of.
    changed_at: Timestamp,
    jobs: Vec<(JobId, WorkKind)>,
    /// Whom it is kept apart from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    blocked: Vec<DriverId>,
    /// How many they have had since they are counted.
    #[cfg(feature = "next")]
    #[serde(default, skip_serializing_if = "is_none_yet")]
    n_jobs: u32,
}

/// What an older build would not have written is not written while it is nothing.
#[cfg(feature = "next")]
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks by reference")]
fn is_none_yet(n: &u32) -> bool {
    *n == 0
}

impl Rider {
    /// What the rider itself and dispatchers are shown.
    pub fn rider_view(&self, id: RiderId, version: u64) -> RiderView {
        RiderView { id, version, jobs: self.jobs().collect() }
    }

    /// What is being done for them, oldest first.
    pub fn jobs(&self) -> impl Iterator<Item = JobId> {
        self.jobs.iter().map(|(job, _)| *job)
    }

    /// Whom it is kept apart from.
    pub fn blocked(&self) -> &[DriverId] {
        &self.blocked
    }

    /// Tells its jobs whom it is kept apart from.
    fn bar(&self, drivers: &[DriverId]) -> Vec<Effect> {
        let told = |job| Tell::job(job, search::Command::Bar { drivers: drivers.to_vec() });
        self.jobs().map(|job| told(job).into()).collect()
    }

    fn has(&self, job: JobId) -> bool {
        self.jobs().any(|it| it == job)
    }
}

impl Decider for Rider {
    const KIND: Kind = Kind::Rider;
    type Id = RiderId;
    type Command = Command;
    type Event = Event;
    type Sighting = ();
    type Soft = ();

    fn decide(&self, command: &Command, context: &Context<RiderId>) -> Result<Vec<Event>, Refusal> {
        let is_permitted = match command {
            Command::OpenJob { .. } | Command::CloseJob { .. } => context.by == Principal::System,
            Command::Block { .. } | Command::Unblock { .. } | Command::Message { .. } => {
                context.by.is_staff()
            }
        };
        if !is_permitted {
            let (name, asker): (&'static str, _) = (command.into(), context.by.role());
            return Err(Refusal::NotYours(format!("{asker} may not {name} here")));
        }
        let at = context.now;
        Ok(match *command {
            Command::OpenJob { job, .. } if self.has(job) => Vec::new(),
            #[cfg(not(feature = "next"))]
            Command::OpenJob { job, work } => vec![Event::JobOpened { at, job, work }],
            #[cfg(feature = "next")]
            Command::OpenJob { job, work } => {
                let nth = (context.writes >= COUNTED).then(|| self.n_jobs.saturating_add(1));
                vec![Event::JobOpened { at, job, work, nth }]
            }
            #[cfg(feature = "next")]
            Command::CloseJob { job } if self.has(job) && self.n_jobs == 1 => {
                let mut events = vec![Event::JobClosed { at, job }];
                events.extend((context.writes >= COUNTED).then_some(Event::Settled { at }));
                events
            }
            Command::CloseJob { job } if self.has(job) => vec![Event::JobClosed { at, job }],
            Command::CloseJob { .. } => Vec::new(),
            Command::Block { driver, .. } if self.blocked.contains(&driver) => Vec::new(),
            Command::Block { .. } if self.blocked.len() >= BLOCKED_MAX => {
                let problem = format!("{BLOCKED_MAX} drivers are blocked already");
                return Err(Refusal::invalid("driver", problem));
            }
            Command::Block { driver, ref reason } => {
                let (by, reason) = (context.by, reason.clone());
                vec![Event::DriverBlocked { at, driver, by, reason }]
            }
            Command::Unblock { driver, ref reason } if self.blocked.contains(&driver) => {
                let (by, reason) = (context.by, reason.clone());
                vec![Event::DriverUnblocked { at, driver, by, reason }]
            }
            Command::Unblock { .. } => Vec::new(),
            Command::Message { .. } if self.changed_at == Timestamp::default() => {
                return Err(Refusal::Unknown("rider".to_owned()));
            }
            Command::Message { job, ref text } => {
                reason::check_line("text", text)?;
                vec![Event::Messaged { at, job, by: context.by, text: text.clone() }]
            }
        })
    }

    fn evolve(&mut self, event: &Event) {
        match *event {
            Event::JobOpened {
                at,
                job,
                work,
                #[cfg(feature = "next")]
                nth,
            } => {
                self.jobs.push((job, work));
                self.changed_at = at;
                #[cfg(feature = "next")]
                {
                    self.n_jobs = nth.unwrap_or(self.n_jobs);
                }
            }
            #[cfg(feature = "next")]
            Event::Settled { at } => self.changed_at = at,
            Event::JobClosed { at, job } => {
                self.jobs.retain(|(it, _)| *it != job);
                self.changed_at = at;
            }
            Event::DriverBlocked { at, driver, .. } => {
                self.blocked.push(driver);
                self.changed_at = at;
            }
            Event::DriverUnblocked { at, driver, .. } => {
                self.blocked.retain(|it| *it != driver);
                self.changed_at = at;
            }
            Event::Messaged { at, .. } => self.changed_at = at,
        }
    }

    /// A job that was placed just before somebody was blocked hears of it from here; one that is placed
    /// later knows.
    fn effects(&self, _id: RiderId, event: &Event) -> Vec<Effect> {
        match *event {
            Event::DriverBlocked { .. } | Event::DriverUnblocked { .. } => {
                let mut after = self.clone();
                after.evolve(event);
                self.bar(&after.blocked)
            }
            Event::JobOpened { job, .. } if !self.blocked.is_empty() => {
                let drivers = self.blocked.clone();
                vec![Tell::job(job, search::Command::Bar { drivers }).into()]
            }
            Event::JobOpened { .. } | Event::JobClosed { .. } | Event::Messaged { .. } => {
                Vec::new()
            }
            #[cfg(feature = "next")]
            Event::Settled { .. } => Vec::new(),
        }
    }

    fn deadline(&self) -> Option<(Timestamp, Command)> {
        None
    }

    fn claims(&self, _id: RiderId) -> Vec<Claim> {
        Vec::new()
    }

    fn listing(&self, _id: RiderId) -> Option<Listing> {
        None
    }

    /// Riders are not listed: what one of them has open, their orders say.
    fn view(&self, _id: RiderId) -> Option<ViewRow> {
        None
    }

    fn mark(&self, _id: RiderId) -> Option<Mark> {
        None
    }

    fn see(&mut self, _sighting: &(), _context: &Context<RiderId>) -> Seen<Command> {
        Seen::default()
    }

    fn soft(&self) {}

    fn recall(&mut self, (): ()) {}

    fn idle_max(&self) -> Option<Duration> {
        self.jobs.is_empty().then_some(IDLE_MAX)
    }

    fn command_name(command: &Command) -> &'static str {
        command.into()
    }

    fn event_name(event: &Event) -> &'static str {
        event.into()
    }

    fn event_format(event: &Event) -> Format {
        match event {
            Event::DriverBlocked { .. } | Event::DriverUnblocked { .. } => CONTROLLED,
            Event::Messaged { .. } => run::KNOWN,
            #[cfg(feature = "next")]
            Event::JobOpened { nth: Some(_), .. } | Event::Settled { .. } => COUNTED,
            Event::JobOpened { .. } | Event::JobClosed { .. } => Format::FIRST,
        }
    }

    fn command_format(command: &Command) -> Format {
        match command {
            Command::Block { .. } | Command::Unblock { .. } => CONTROLLED,
            Command::Message { .. } => run::KNOWN,
            Command::OpenJob { .. } | Command::CloseJob { .. } => Format::FIRST,
        }
    }
}
