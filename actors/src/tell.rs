//! Messages between entities, by receiver. Adding a kind of entity adds a line to each enum.

use crate::{
    Decider, EntityKey, Format, Refusal,
    driver::{self, Driver},
    incident::{self, Incident},
    listing::RegionId,
    order::{self, Order},
    rescue::{self, Rescue},
    revocation::{self, Revocation},
    rider::{self, Rider},
    rule::{self, Rule},
    run::{self, Run},
    search,
    template::{self, Template},
    zone::{self, Zone},
};
use protocol::{
    DriverId, IncidentId, JobId, OrderId, Point, RescueId, RevocationId, RiderId, RuleId, RunId,
    TemplateId, ZoneId,
    view::{Etas, StopKind},
    work::VehicleKind,
};
use serde::{Deserialize, Serialize};

/// A command and whom it is for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Tell {
    /// For an order.
    Order {
        /** Which. */
        to: OrderId,
        /** What. */
        command: order::Command,
    },
    /// For a rescue.
    Rescue {
        /** Which. */
        to: RescueId,
        /** What. */
        command: rescue::Command,
    },
    /// For a driver.
    Driver {
        /** Which. */
        to: DriverId,
        /** What. */
        command: driver::Command,
    },
    /// For a rider.
    Rider {
        /** Which. */
        to: RiderId,
        /** What. */
        command: rider::Command,
    },
    /// For a revocation.
    Revocation {
        /** Which. */
        to: RevocationId,
        /** What. */
        command: revocation::Command,
    },
    /// For an incident.
    Incident {
        /** Which. */
        to: IncidentId,
        /** What. */
        command: incident::Command,
    },
    /// For a zone.
    Zone {
        /** Which. */
        to: ZoneId,
        /** What. */
        command: zone::Command,
    },
    /// For a run.
    Run {
        /** Which. */
        to: RunId,
        /** What. */
        command: run::Command,
    },
    /// For a rule.
    Rule {
        /** Which. */
        to: RuleId,
        /** What. */
        command: rule::Command,
    },
    /// For a template.
    Template {
        /** Which. */
        to: TemplateId,
        /** What. */
        command: template::Command,
    },
}

impl Tell {
    /// About the search of a job, whichever kind it is.
    pub fn job(job: JobId, command: search::Command) -> Self {
        match job {
            JobId::Order(to) => Self::Order { to, command: order::Command::Search(command) },
            JobId::Rescue(to) => Self::Rescue { to, command: rescue::Command::Search(command) },
        }
    }

    /// The same, said because of that refusal, where it matters which one it was.
    #[must_use]
    pub fn because(mut self, refusal: &Refusal) -> Self {
        if let Self::Order {
            command: order::Command::Search(search::Command::OfferRefused { why, .. }),
            ..
        }
        | Self::Rescue {
            command: rescue::Command::Search(search::Command::OfferRefused { why, .. }),
            ..
        } = &mut self
        {
            *why = Some(refusal.to_string());
        }
        if let Self::Run { command, .. } = &mut self {
            command.because(refusal);
        }
        self
    }

    /// That somebody needs help.
    pub fn incident(opening: incident::Opening) -> Self {
        Self::Incident { to: opening.id(), command: incident::Command::Open(Box::new(opening)) }
    }

    /// What a build must know to deliver it.
    pub fn format(&self) -> Format {
        match self {
            Self::Order { command, .. } => Order::command_format(command),
            Self::Rescue { command, .. } => Rescue::command_format(command),
            Self::Driver { command, .. } => Driver::command_format(command),
            Self::Rider { command, .. } => Rider::command_format(command),
            Self::Revocation { command, .. } => Revocation::command_format(command),
            Self::Incident { command, .. } => Incident::command_format(command),
            Self::Zone { command, .. } => Zone::command_format(command),
            Self::Run { command, .. } => Run::command_format(command),
            Self::Rule { command, .. } => Rule::command_format(command),
            Self::Template { command, .. } => Template::command_format(command),
        }
    }

    /// Whom it is for.
    pub fn to(&self) -> EntityKey {
        match self {
            Self::Order { to, .. } => (*to).into(),
            Self::Rescue { to, .. } => (*to).into(),
            Self::Driver { to, .. } => (*to).into(),
            Self::Rider { to, .. } => (*to).into(),
            Self::Revocation { to, .. } => (*to).into(),
            Self::Incident { to, .. } => (*to).into(),
            Self::Zone { to, .. } => (*to).into(),
            Self::Run { to, .. } => (*to).into(),
            Self::Rule { to, .. } => (*to).into(),
            Self::Template { to, .. } => (*to).into(),
        }
    }
}

/// A sighting and who should see it. Never written down; the latest counts.
#[derive(Debug, Clone)]
pub enum Sight {
    /// An order.
    Order(OrderId, order::Sighting),
    /// A rescue.
    Rescue(RescueId, rescue::Sighting),
    /// A driver.
    Driver(DriverId, driver::Sighting),
    /// A run.
    Run(RunId, run::Sighting),
    /// Whoever knows how long ways take: the jobs on it are told.
    Way(Journey),
}

/// A way that is before a driver, and of which its jobs want to know how long it takes.
#[derive(Debug, Clone, PartialEq)]
pub struct Journey {
    /// Who goes it.
    pub driver: DriverId,
    /// With what.
    pub vehicle: VehicleKind,
    /// As which region knows ways.
    pub region: RegionId,
    /// Where the driver is.
    pub from: Point,
    /// Where it must go, in order.
    pub halts: Vec<Halt>,
}

/// Where a driver must go.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Halt {
    /// For which job.
    pub job: JobId,
    /// To begin it, or to go on with it.
    pub what: StopKind,
    /// Where.
    pub at: Point,
}

impl Sight {
    /// That the vehicle of a job is expected then.
    pub(crate) fn expected(job: JobId, driver: DriverId, etas: Etas) -> Self {
        Self::job(job, search::Sighting::Expected { driver, etas: Some(etas) })
    }

    /// For a job, whichever kind it is.
    pub fn job(job: JobId, sighting: search::Sighting) -> Self {
        match job {
            JobId::Order(id) => Self::Order(id, sighting),
            JobId::Rescue(id) => Self::Rescue(id, sighting),
        }
    }
}
