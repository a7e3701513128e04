//! What can be asked of a rescue, and what can happen to it.

use crate::{
    Format,
    incident::Report,
    policy::JobPolicy,
    rule,
    search::{self, Assignment, FEATURES},
};
use protocol::{
    DriverId, Fare, OfferId, PartnerId, Place, Principal, RescueStatus, RiderId, Timestamp,
    rule::RuleMark,
    trace::WhyNot,
    work::{Alternative, Bike, Issue, Needs, Priority, Proof, Severity, VehicleKind},
};
use serde::{Deserialize, Serialize};

/// What can be asked of a rescue.
#[derive(
    Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr, strum::VariantNames,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Command {
    /// Somebody is stranded.
    Request(Box<Request>),
    /// The rider, or a dispatcher, says where it is, better than before.
    Locate {
        /** Where. */
        at: Place,
        /** How well that is known, in metres. */
        accuracy_m: Option<u32>,
        /** Is it inside the service area? */
        served: bool,
    },
    /// A dispatcher, or a rule, says what the driver must bring.
    Triage {
        /** What. */
        needs: Needs,
    },
    /// About its search. The asker is always the platform.
    Search(search::Command),
    /// Two-sided: the rider wants this driver.
    ConfirmOffer {
        /** Whose offer. */
        offer: OfferId,
    },
    /// Two-sided: the rider does not.
    RejectOffer {
        /** Whose offer. */
        offer: OfferId,
    },
    /// A dispatcher gives it to this driver.
    Assign {
        /** To whom. */
        driver: DriverId,
        /** Even if something speaks against it. */
        force: bool,
        /** Why. */
        reason: String,
        /** What speaks against it, as far as the driver's own state says. */
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        against: Vec<WhyNot>,
    },
    /// A dispatcher takes it from its driver.
    Unassign {
        /** Why. */
        reason: String,
    },
    /// A dispatcher lets nobody be asked for a while.
    Hold {
        /** Why. */
        reason: String,
    },
    /// A dispatcher lets drivers be asked again.
    Resume {
        /** Why. */
        reason: String,
    },
    /// A dispatcher lets it come before others, or after them.
    SetPriority {
        /** Which. */
        priority: Priority,
        /** Why. */
        reason: String,
    },
    /// A dispatcher keeps it to the drivers of one fleet, or frees it. Needs format 4.
    SetFleet {
        /** Whose; anybody's, if absent. */
        fleet: Option<PartnerId>,
        /** Why. */
        reason: String,
    },
    /// A dispatcher takes it from its driver and gives it to this one.
    Reassign {
        /** To whom. */
        driver: DriverId,
        /** Even if something speaks against it. */
        force: bool,
        /** Why. */
        reason: String,
        /** What speaks against it, as far as the driver's own state says. */
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        against: Vec<WhyNot>,
    },
    /// The driver sets off: to the scene, or from it once loaded.
    Depart {},
    /// The driver is there: at the scene, or at the dropoff.
    Arrive {},
    /// The driver starts to repair.
    BeginAssist {},
    /// The driver starts to load.
    Load {
        /** Where it goes, if not said before. */
        dropoff: Option<Place>,
        /** What shows how it was. */
        proofs: Vec<Proof>,
    },
    /// The driver there needs another one.
    Escalate {
        /** What that one must bring. */
        needs: Needs,
        /** Does the first driver stay? */
        stay: bool,
    },
    /// The vehicle is off the truck.
    Unload {
        /** What shows how it is. */
        proofs: Vec<Proof>,
    },
    /// It runs again.
    Fixed {},
    /// The rider says whether it does.
    ConfirmFixed {
        /** Does it? */
        fixed: bool,
    },
    /// The driver tried to reach the rider.
    Contacted {},
    /// The rider is not there.
    NoShow {},
    /// Call it off: before the driver is there for the rider; the driver only gives it back.
    Cancel {
        /** Why. */
        reason: String,
    },
    /// Call it off because someone is not safe. Never refused while the rescue lives.
    CancelSafety {
        /** Why. */
        reason: String,
    },
    /// It went wrong beyond repair.
    Fail {
        /** Why. */
        reason: String,
    },
    /// One to five stars, from the rider.
    Rate {
        /** 1 to 5. */
        stars: u8,
    },
    /// The deadline has come.
    Tick {},
}

/// A rescue as it is asked for, with everything the platform knows at that moment.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Request {
    /// Who is stranded.
    pub rider: RiderId,
    /// What is wrong.
    pub issue: Issue,
    /// Where the vehicle is.
    pub at: Place,
    /// How well that is known, in metres; `None` if nobody said.
    #[serde(default)]
    pub accuracy_m: Option<u32>,
    /// How bad it is.
    #[serde(default)]
    pub severity: Option<Severity>,
    /// Where it should be taken, if known.
    pub dropoff: Option<Place>,
    /// What is stranded.
    pub vehicle: Option<VehicleKind>,
    /// What kind of bike, if it is one and somebody said so. Needs format 9.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bike: Option<Bike>,
    /// How heavy it is, in grams; 0 if unknown.
    pub weight_g: u32,
    /// Is the place inside the service area?
    pub served: bool,
    /// What it costs.
    pub fare: Fare,
    /// The rules it is run by from now on.
    pub policy: JobPolicy,
    /// Drivers that its rider is kept apart from.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub barred: Vec<DriverId>,
    /// Who may help where nobody of ours does, nearest first; asked for only where that may be needed.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub elsewhere: Vec<Alternative>,
    /// The rule whose word is in its policy, if there was one. Needs format 9.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Box<RuleMark>>,
}

impl Request {
    /// What a build must know to read it whole.
    pub fn format(&self) -> Format {
        let of_bike = if self.bike.is_some() { FEATURES } else { Format::FIRST };
        let of_rule = if self.rule.is_some() { rule::RULED } else { Format::FIRST };
        of_bike.max(of_rule)
    }
}

/// What has happened to a rescue.
#[derive(
    Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr, strum::VariantNames,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Event {
    /// Somebody is stranded.
    Requested {
        /** When. */
        at: Timestamp,
        /** With what and where. */
        request: Box<Request>,
        /** The driver it is, if the rider was at work as one. */
        #[serde(default, skip_serializing_if = "Option::is_none")]
        stranded: Option<DriverId>,
    },
    /// It is known better where it is.
    Located {
        /** When. */
        at: Timestamp,
        /** Where. */
        place: Place,
        /** How well that is known, in metres. */
        accuracy_m: Option<u32>,
    },
    /// It is known what the driver must bring, and the search is on.
    Triaged {
        /** When. */
        at: Timestamp,
        /** What. */
        needs: Needs,
    },
    /// Somebody may be hurt, or is not safe: a person must look at it.
    IncidentOpened {
        /** When. */
        at: Timestamp,
        /** The incident that is raised. Needs format 3. */
        #[serde(default, skip_serializing_if = "Option::is_none")]
        report: Option<Report>,
    },
    /// About its search.
    Search(search::Event),
    /// It has a driver.
    Accepted {
        /** When. */
        at: Timestamp,
        /** Whom, and how. */
        assignment: Assignment,
    },
    /// A dispatcher chose a driver for it. Needs format 2.
    DriverChosen {
        /** When. */
        at: Timestamp,
        /** Whom. */
        driver: DriverId,
        /** Who did. */
        by: Principal,
        /** Why. */
        reason: String,
        /** What spoke against it, and was overruled. */
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        bypassed: Vec<WhyNot>,
    },
    /// It comes before others, or after them: by the rules, where somebody is in danger, or as a dispatcher says. Needs
    /// format 2.
    PrioritySet {
        /** When. */
        at: Timestamp,
        /** Which. */
        priority: Priority,
        /** Who. */
        by: Principal,
        /** Why. */
        reason: String,
    },
    /// Its driver was taken off it, and another one is looked for.
    DriverReleased {
        /** When. */
        at: Timestamp,
        /** Who. */
        driver: DriverId,
        /** Why. */
        reason: String,
        /** Whose doing it was. */
        #[serde(default, skip_serializing_if = "Option::is_none")]
        by: Option<Principal>,
    },
    /// The driver who had stayed with a second one has gone.
    Detached {
        /** When. */
        at: Timestamp,
        /** Who. */
        driver: DriverId,
        /** Why. */
        reason: String,
    },
    /// The driver set off: to the scene, or from it once loaded.
    Departed {
        /** When. */
        at: Timestamp,
    },
    /// The driver is there: at the scene, or at the dropoff.
    Arrived {
        /** When. */
        at: Timestamp,
    },
    /// The driver repairs.
    AssistStarted {
        /** When. */
        at: Timestamp,
    },
    /// The driver loads.
    LoadStarted {
        /** When. */
        at: Timestamp,
        /** Where it goes. */
        dropoff: Place,
        /** What shows how it was. */
        proofs: Vec<Proof>,
    },
    /// The driver there needs another one, and that one is looked for.
    Escalated {
        /** When. */
        at: Timestamp,
        /** What that one must bring. */
        needs: Needs,
        /** Does the first driver stay? */
        stay: bool,
    },
    /// Nobody else could come: the driver who stayed goes on alone.
    EscalationFailed {
        /** When. */
        at: Timestamp,
    },
    /// The driver says that it runs again.
    FixReported {
        /** When. */
        at: Timestamp,
    },
    /// The rider says that it does not.
    FixDenied {
        /** When. */
        at: Timestamp,
    },
    /// The driver tried to reach the rider.
    Contacted {
        /** When. */
        at: Timestamp,
    },
    /// The vehicle is off the truck.
    Unloaded {
        /** When. */
        at: Timestamp,
        /** What shows how it is. */
        proofs: Vec<Proof>,
    },
    /// It takes nearly as long as it may.
    SlaAtRisk {
        /** When. */
        at: Timestamp,
    },
    /// It takes longer than it may.
    SlaBreached {
        /** When. */
        at: Timestamp,
    },
    /// It is over.
    Ended {
        /** When. */
        at: Timestamp,
        /** How; always final. */
        status: RescueStatus,
        /** Why, or how it was solved. */
        outcome: String,
        /** What it costs the rider to end it so, in minor units, where that is not the fare. */
        fee: i64,
    },
    /// The rider rated it.
    Rated {
        /** When. */
        at: Timestamp,
        /** 1 to 5. */
        stars: u8,
    },
}
