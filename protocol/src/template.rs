//! Templates of runs as data: what is brought together again and again, on which days, and what came of each of them.
//!
//! ```text
//!  TemplateTerms { what, on which days, when, by whom } ── some time before ──► its orders, and one run of them ──► TemplateDay
//! ```

use crate::{
    Date, DriverId, OrderId, Place, RiderId, RunId, TemplateId, TimeOfDay, Timestamp, Weekday,
    work::{Needs, PaymentTiming, ProofKind},
};
use serde::{Deserialize, Serialize};

/// What a template says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TemplateTerms {
    /// What people call it: 1 to 200 characters on one line.
    pub name: String,
    /// For which brand: the name of its preset; that of the node that is asked, if absent.
    #[serde(default)]
    pub preset: String,
    /// What is brought together: 2 to as many deliveries as a run may have, 20 at most.
    pub orders: Vec<TemplateOrder>,
    /// On which days of the week; one at least.
    pub weekdays: Vec<Weekday>,
    /// When it is to be fetched, by the clocks of the brand: what its preset says of them when the template is said.
    pub at: TimeOfDay,
    /// How long before that its orders are placed, in minutes: 1 to 720.
    #[serde(default = "usual_lead_min")]
    pub lead_min: u16,
    /// The first day it may be; the next one, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub from: Option<Date>,
    /// The last day it may be; for as long as it is there, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Date>,
    /// Days on which it is not: 64 at most.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub except: Vec<Date>,
    /// Who brings it, if that driver can; the nearest who can, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<DriverId>,
}

fn usual_lead_min() -> u16 {
    60
}

/// One of the deliveries of a template.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct TemplateOrder {
    /// For whom.
    pub rider: RiderId,
    /// Where it is fetched.
    pub from: Place,
    /// Where it is brought to.
    pub to: Place,
    /// How it is paid for; not in advance, for nobody could pay that every day in time.
    #[serde(default)]
    pub payment: PaymentTiming,
    /// What the driver must bring.
    #[serde(default)]
    pub needs: Needs,
    /// Proofs needed at pickup.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pickup_proof: Vec<ProofKind>,
    /// Proofs needed at dropoff.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropoff_proof: Vec<ProofKind>,
    /// Cash the driver collects at the dropoff, in minor units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cash_on_delivery: Option<i64>,
}

/// What became of one of its deliveries on one day.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Placing {
    /// It is this order.
    Placed(OrderId),
    /// It could not be placed, and why not.
    Refused(String),
}

/// What became of a template on one day.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::VariantNames,
)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum DayOutcome {
    /// A driver brings its orders, as one run.
    Run,
    /// Its orders were placed, and look for drivers each by itself: nobody brought them as a run.
    Alone,
    /// None of its orders could be placed.
    Failed,
    /// Nothing was done: nobody was there to do it in time.
    Missed,
}

/// One day of a template.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TemplateDay {
    /// Which.
    pub day: Date,
    /// When its orders were to be fetched.
    pub due: Timestamp,
    /// What became of it; absent while it is being made.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<DayOutcome>,
    /// What became of its deliveries, in the order of the template; absent what is not known yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub orders: Vec<Option<Placing>>,
    /// The run they are brought in, or that a driver is being asked about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub run: Option<RunId>,
    /// Why, in words, if it is not as it should be.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub why: Option<String>,
}

/// When the next day of a template is made.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct NextDay {
    /// Which day.
    pub day: Date,
    /// When its orders are placed.
    pub placed_at: Timestamp,
    /// When they are to be fetched.
    pub due: Timestamp,
}

/// How a template stands by the word of staff, whatever is being made of it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum TemplatePhase {
    /// Its days are begun.
    #[default]
    Set,
    /// None is begun for a while.
    Paused,
    /// None is begun any more.
    Removed,
}

/// A template, as staff are shown it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct TemplateView {
    /// Which.
    pub id: TemplateId,
    /// Its version: who changes it says so (`If-Match`). That a day is made does not change it.
    pub version: u32,
    /// `set`, `due` while a day of it is being made, `paused`, `over` once its last day is, or `removed`.
    pub status: String,
    /// The same without regard to its days: one that is not `removed` can be changed, also while a day of it is being made. Lists lack it
    /// for what an older build has written.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<TemplatePhase>,
    /// What it says.
    pub template: TemplateTerms,
    /// How many minutes the clocks it means are ahead of UTC.
    pub utc_offset_min: i32,
    /// Its next day; absent if it has none, or is paused.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<NextDay>,
    /// What became of it, the latest day first: 31 days at most. Lists leave it out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub days: Vec<TemplateDay>,
    /// When it was made.
    pub made_at: Timestamp,
    /// When staff last said something of it.
    pub changed_at: Timestamp,
    /// Who did.
    pub by: String,
    /// Why they did.
    pub reason: String,
}
