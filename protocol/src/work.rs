//! What clients ask for: new jobs, and what may be done to them.

use crate::{
    DriverId, IncidentId, JobId, MerchantId, OfferId, OrderId, PartnerId, Place, Point, RescueId,
    RiderId, RunId, Timestamp, ZoneId,
    view::{Position, StopKind},
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// Most stops of one order, first and last included.
pub const STOPS_MAX: usize = 20;
/// Most characters of any free text: labels, reasons, notes.
pub const TEXT_CHARS_MAX: usize = 200;
/// How heavy something may be, stranded or brought, and how much a vehicle may hold, in grams: 40 t, as much as a lorry may weigh.
pub const STRANDED_G_MAX: u32 = 40_000_000;

/// What is moved.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::EnumIter,
)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum OrderKind {
    /// A person.
    Ride,
    /// A thing somebody hands over.
    Delivery,
    /// A basket a merchant prepares.
    Commerce,
}

/// What a driver drives.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::EnumIter,
)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum VehicleKind {
    Foot,
    Bicycle,
    Moto,
    Car,
    Van,
    TowTruck,
}

/// What kind of bike is stranded.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::EnumIter,
)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Bike {
    /// Pedals alone.
    Bicycle,
    /// Pedals and a motor.
    EBike,
    /// A bicycle that carries a load.
    CargoBike,
    /// One to stand on.
    KickScooter,
    /// A motor, and no more than 50 cm³.
    Moped,
    /// Anything larger.
    Motorcycle,
}

impl Bike {
    /// What it is among vehicles.
    pub fn vehicle(self) -> VehicleKind {
        match self {
            Self::Bicycle | Self::EBike | Self::CargoBike | Self::KickScooter => {
                VehicleKind::Bicycle
            }
            Self::Moped | Self::Motorcycle => VehicleKind::Moto,
        }
    }
}

/// How a driver is found.
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
    strum::EnumString,
    strum::EnumIter,
)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum OfferPolicy {
    /// One driver at a time, the best first.
    Sequential,
    /// Several at once; the first yes wins.
    BroadcastFirstWins,
    /// Several at once; a driver and the rider must both say yes.
    TwoSided,
    /// One each, chosen together with all other open searches at the least total cost.
    BatchOptimal,
    /// As `batch_optimal`, without asking; the driver may still reject it for a few seconds.
    AutoAssign,
    /// The one driver that was asked for.
    Direct,
    /// Nobody is asked; drivers claim it.
    Feed,
}

/// What comes before what, where there are too few drivers.
#[derive(
    Debug,
    Clone,
    Copy,
    Default,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumString,
    strum::EnumIter,
)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Priority {
    /// After everything else.
    Low,
    /// As usual.
    #[default]
    Normal,
    /// Before everything that is not.
    High,
    /// Before everything else, and nobody who fits is waited out for somebody better.
    Urgent,
}

impl Priority {
    /// Is it nothing to speak of?
    pub fn is_normal(&self) -> bool {
        *self == Self::Normal
    }
}

/// What a driver must bring.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields, default)]
pub struct Needs {
    /// Any of these vehicles; empty means any at all.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub vehicles: Vec<VehicleKind>,
    /// Room for this much, in grams.
    #[serde(skip_serializing_if = "is_zero")]
    pub weight_g: u32,
    /// All of these, such as `cold_chain`, `jump_start` or `tie_downs`.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub skills: Vec<String>,
}

/// What a vehicle has, or its driver, to get something aboard and to keep it there. Said like any other skill.
pub mod feature {
    /// Something to push it up.
    pub const RAMP: &str = "ramp";
    /// Something that lifts it. It does for a ramp.
    pub const LIFT_GATE: &str = "lift_gate";
    /// Something to tie it down with.
    pub const TIE_DOWNS: &str = "tie_downs";
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(it: &bool) -> bool {
    !*it
}

/// What a driver brings.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Vehicle {
    /// What it is.
    pub kind: VehicleKind,
    /// How much it carries, in grams.
    #[serde(default)]
    pub capacity_g: u32,
    /// What else it, or its driver, can do, as the driver says. Some of it counts only if staff vouch for it.
    #[serde(default)]
    pub skills: Vec<String>,
}

impl Needs {
    /// Does `vehicle` bring all of this?
    pub fn are_met_by(&self, vehicle: &Vehicle) -> bool {
        (self.vehicles.is_empty() || self.vehicles.contains(&vehicle.kind))
            && self.weight_g <= vehicle.capacity_g
            && self.skills.iter().all(|skill| vehicle.has(skill))
    }

    /// Is nothing asked for?
    pub fn is_empty(&self) -> bool {
        self.vehicles.is_empty() && self.weight_g == 0 && self.skills.is_empty()
    }
}

/// In one line: `van or tow_truck, 150 kg, ramp, tie_downs`.
impl fmt::Display for Needs {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.is_empty() {
            return f.write_str("nothing");
        }
        let kinds: Vec<String> = self.vehicles.iter().map(ToString::to_string).collect();
        let kinds = (!kinds.is_empty()).then(|| kinds.join(" or "));
        let weight = (self.weight_g > 0).then(|| format!("{} kg", self.weight_g.div_ceil(1_000)));
        let all = kinds.into_iter().chain(weight).chain(self.skills.iter().cloned());
        f.write_str(&all.collect::<Vec<_>>().join(", "))
    }
}

impl Vehicle {
    /// Has it that skill? A lift gate does what a ramp does, and a tow truck comes with what it takes to get aboard whatever
    /// it may carry, and to keep it there: without that it would be none.
    pub fn has(&self, skill: &str) -> bool {
        let is_said = |wanted: &str| self.skills.iter().any(|said| said == wanted);
        is_said(skill)
            || (skill == feature::RAMP && is_said(feature::LIFT_GATE))
            || (self.kind == VehicleKind::TowTruck
                && [feature::RAMP, feature::LIFT_GATE, feature::TIE_DOWNS].contains(&skill))
    }
}

/// What shows that goods changed hands.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, strum::Display,
)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum ProofKind {
    Photo,
    Signature,
    Pin,
    Qr,
    Barcode,
    IdDocument,
    Quantity,
}

/// One proof: what it is and where it is kept, or the code itself for a PIN.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Proof {
    /// What it is.
    pub kind: ProofKind,
    /// A reference to the stored artefact, its hash, or the PIN. At most 200 characters.
    pub value: String,
}

/// How and when an order is paid for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum PaymentTiming {
    /// In cash, to the driver.
    #[default]
    Cash,
    /// Before a driver is looked for.
    Prepay,
    /// At the end, from a method on file.
    OnCompletion,
}

/// How a commerce order reaches its rider.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Handoff {
    /// A driver brings it.
    #[default]
    Driver,
    /// The rider collects it, or eats it there; no driver is needed.
    Collect,
}

/// An order as it is asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewOrder {
    /// What is moved.
    pub kind: OrderKind,
    /// Pickup first, last dropoff last; 2 to 20.
    pub stops: Vec<Place>,
    /// For whom; only staff may order for someone else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rider: Option<RiderId>,
    /// When the rider wants to be picked up; now, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start_at: Option<Timestamp>,
    /// How it is paid for.
    #[serde(default)]
    pub payment: PaymentTiming,
    /// What the driver must bring.
    #[serde(default)]
    pub needs: Needs,
    /// The price promise this order was decided on, from `POST /v1/quotes`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub quote: Option<String>,
    /// Who prepares it; commerce only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merchant: Option<MerchantId>,
    /// How it leaves the merchant; commerce only.
    #[serde(default)]
    pub handoff: Handoff,
    /// This driver and no other (a favourite, or a scanned QR code).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub driver: Option<DriverId>,
    /// Another way of finding a driver than the preset's; only staff may choose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<OfferPolicy>,
    /// Proofs needed at pickup; deliveries only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub pickup_proof: Vec<ProofKind>,
    /// Proofs needed at dropoff; deliveries only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub dropoff_proof: Vec<ProofKind>,
    /// Cash the driver collects at the dropoff, in minor units; deliveries only.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cash_on_delivery: Option<i64>,
    /// How many items a commerce basket has; each can become unavailable.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub n_items: Option<u16>,
    /// Whose drivers are asked first. Staff may name any, others the one their token names.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<PartnerId>,
    /// Are nobody else's drivers asked afterwards? Only with `fleet`.
    #[serde(default, skip_serializing_if = "is_false")]
    pub exclusive: bool,
    /// The hub by which it goes: one driver brings it there, and another one on from there; deliveries with two stops only. A quote is of
    /// all three.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub via: Option<Via>,
}

/// Where goods change vehicles on their way.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Via {
    /// Where, and what people call it.
    pub hub: Place,
    /// Until when it stays there; somebody who brings it on is looked for as soon as it is there, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// What is wrong with a stranded vehicle.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, strum::Display, strum::EnumIter,
)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
#[expect(missing_docs, reason = "the names say it")]
pub enum Issue {
    FlatTyre,
    BatteryDead,
    OutOfFuel,
    Mechanical,
    Accident,
    LockedOut,
    Stuck,
}

/// How bad it is to be stranded there.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, strum::Display, strum::EnumIter,
)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Severity {
    /// It can wait.
    Minor,
    /// As usual.
    Normal,
    /// Someone is in danger: several drivers are asked at once, and a dispatcher looks at it.
    Urgent,
}

/// Who may help where the platform does not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Alternative {
    /// Who.
    pub name: String,
    /// How to reach them.
    pub phone: String,
}

/// A rescue as it is asked for.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct NewRescue {
    /// What is wrong.
    pub issue: Issue,
    /// Where the vehicle is.
    pub at: Place,
    /// How well that is known, in metres. One too vague waits until someone has said where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy_m: Option<u32>,
    /// How bad it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub severity: Option<Severity>,
    /// Where it should be taken, if known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dropoff: Option<Place>,
    /// For whom; only staff may ask for someone else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rider: Option<RiderId>,
    /// What is stranded.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vehicle: Option<VehicleKind>,
    /// What kind of bike, if it is one: says what it usually weighs, and what `vehicle` it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub bike: Option<Bike>,
    /// How heavy it is, in grams, 40 t at most; as heavy as its kind usually is, if 0.
    #[serde(default)]
    pub weight_g: u32,
    /// Another way of finding a driver than the preset's; only staff may choose.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub policy: Option<OfferPolicy>,
}

/// What may be done to an order. Who may do which, and when, the order decides.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[strum(serialize_all = "snake_case")]
pub enum OrderAction {
    /// The payment is good for this amount (minor units).
    ConfirmPayment {
        /** Minor units. */
        amount: i64,
    },
    /// The payment failed for good.
    FailPayment {},
    /// Change the time of a scheduled order.
    Reschedule {
        /** The new time. */
        start_at: Timestamp,
    },
    /// Staff: look at the price of a scheduled order again.
    Requote {},
    /// The rider agrees to the new price.
    AcceptPrice {},
    /// The rider does not, and the order is called off.
    DeclinePrice {},
    /// Change the stops of a running one; the driver must agree.
    ModifyStops {
        /** The stops still to come. */
        stops: Vec<Place>,
    },
    /// The driver agrees to the new stops.
    AcceptChange {},
    /// The driver does not.
    DeclineChange {},
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
        /** Even if something speaks against it that may be overruled: excluded, full, resting, unsuitable. */
        #[serde(default)]
        force: bool,
        /** Why. */
        #[serde(default)]
        reason: String,
    },
    /// A dispatcher takes it from its driver.
    Unassign {
        /** Why. */
        reason: String,
    },
    /// A dispatcher takes it from its driver and gives it to this one.
    Reassign {
        /** To whom. */
        driver: DriverId,
        /** Even if something speaks against it. */
        #[serde(default)]
        force: bool,
        /** Why. */
        reason: String,
    },
    /// A dispatcher lets nobody be asked for a while: open offers are taken back, and the time to find somebody
    /// stands still.
    Hold {
        /** Why. */
        reason: String,
    },
    /// A dispatcher lets drivers be asked again.
    Resume {
        /** Why. */
        #[serde(default)]
        reason: String,
    },
    /// A dispatcher lets it come before others, or after them.
    SetPriority {
        /** Which. */
        priority: Priority,
        /** Why. */
        reason: String,
    },
    /// A dispatcher keeps it to the drivers of one fleet, or frees it again.
    SetFleet {
        /** Whose; anybody's, if absent. */
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fleet: Option<PartnerId>,
        /** Why. */
        reason: String,
    },
    /// Nobody was found: look again for a while, from the feed.
    ExtendSearch {},
    /// Nobody was found: the rider collects it from the merchant.
    CollectInstead {},
    /// The driver sets off.
    Depart {},
    /// The driver is there. The rider or staff may say so where GPS does not.
    Arrive {},
    /// The rider is on board (two-sided presets ask).
    OnBoard {},
    /// The ride starts.
    Start {
        /** What the rider told the driver. */
        #[serde(default)]
        code: Option<String>,
    },
    /// The goods are in the driver's hands.
    PickUp {
        /** What shows it. */
        #[serde(default)]
        proofs: Vec<Proof>,
    },
    /// At a stop on the way.
    ArriveStop {},
    /// Done there.
    CompleteStop {
        /** What shows it. */
        #[serde(default)]
        proofs: Vec<Proof>,
    },
    /// Not done there.
    SkipStop {
        /** Why. */
        reason: String,
    },
    /// The ride ends.
    Finish {
        /** The last code, where one is used. */
        #[serde(default)]
        code: Option<String>,
        /** Why it ends away from the last stop: `rider_asked`, `road_blocked`, `wrong_address`,
        `breakdown`, `unsafe` or `staff_decision`. */
        #[serde(default)]
        early_reason: Option<String>,
    },
    /// The goods are handed over.
    Deliver {
        /** What shows it. */
        #[serde(default)]
        proofs: Vec<Proof>,
        /** Cash collected, in minor units. */
        #[serde(default)]
        cash: Option<i64>,
    },
    /// The goods could not be handed over.
    Fail {
        /** Why. */
        reason: String,
    },
    /// Try again to hand the goods over; after nobody was found, as a new order.
    Retry {},
    /// Take the goods back.
    StartReturn {},
    /// The goods are back.
    Returned {
        /** What shows it. */
        #[serde(default)]
        proofs: Vec<Proof>,
    },
    /// A dispatcher lets another driver take over the goods, who is told, not asked.
    Handover {
        /** To whom. */
        driver: DriverId,
        /** Even if something speaks against it that may be overruled. */
        #[serde(default)]
        force: bool,
        /** Why. */
        #[serde(default)]
        reason: String,
    },
    /// The driver tried to reach the rider.
    Contacted {},
    /// The rider did not come.
    NoShow {},
    /// Call it off.
    Cancel {
        /** Why. */
        #[serde(default)]
        reason: String,
    },
    /// Ask to call it off after pickup.
    RequestCancel {
        /** Why. */
        reason: String,
    },
    /// Answer that.
    DecideCancel {
        /** How. */
        decision: CancelDecision,
    },
    /// Call it off because someone is not safe. Never refused while the order lives.
    CancelSafety {
        /** Why. */
        #[serde(default)]
        reason: String,
    },
    /// The rider wants out before the last stop.
    EndEarly {},
    /// The driver cannot go on.
    CannotContinue {
        /** Why. */
        reason: String,
    },
    /// The goods are lost or damaged.
    ReportLoss {
        /** How. */
        reason: String,
    },
    /// The driver takes this many percent off the fare.
    AdjustFareDown {
        /** 1 to 100. */
        percent: u8,
    },
    /// The rider gives something extra, in minor units.
    Tip {
        /** Minor units. */
        amount: i64,
    },
    /// One to five stars.
    Rate {
        /** 1 to 5. */
        stars: u8,
    },
    /// The merchant will make it.
    MerchantAccept {
        /** Minutes until ready. */
        prep_min: u16,
    },
    /// The merchant will not.
    MerchantReject {
        /** Why. */
        reason: String,
    },
    /// The merchant starts.
    StartPrep {},
    /// It is ready.
    Ready {},
    /// One item cannot be had.
    ItemUnavailable {
        /** Which, from 0. */
        item: u16,
    },
    /// The rider's answer to that.
    DecideItem {
        /** Which, from 0. */
        item: u16,
        /** Something like it (true), or the money (false). */
        replace: bool,
    },
    /// The merchant gave it to the driver.
    HandOver {},
    /// The rider collected it.
    Collected {
        /** The collection code. */
        #[serde(default)]
        code: Option<String>,
    },
}

/// Why a ride ends away from its last stop: the values of `early_reason`.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    strum::Display,
    strum::EnumString,
    strum::EnumIter,
    strum::IntoStaticStr,
)]
#[strum(serialize_all = "snake_case")]
pub enum EarlyReason {
    /// The rider wants to get off here.
    RiderAsked,
    /// Nobody can drive on from here.
    RoadBlocked,
    /// The last stop is not where it was said to be.
    WrongAddress,
    /// The vehicle or the driver cannot go on; another driver takes the rider on from here.
    Breakdown,
    /// It is not safe to go on.
    Unsafe,
    /// Staff decided so.
    StaffDecision,
}

/// What becomes of goods whose order is called off after pickup.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum CancelDecision {
    /// They go back.
    Return,
    /// They count as delivered.
    Complete,
    /// The order goes on.
    Deny,
}

/// What may be done to a rescue.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[strum(serialize_all = "snake_case")]
pub enum RescueAction {
    /// The rider, or a dispatcher, says where it is: better than before.
    Locate {
        /** Where. */
        at: Place,
        /** How well that is known, in metres. */
        #[serde(default)]
        accuracy_m: Option<u32>,
    },
    /// A dispatcher says what is needed.
    Triage {
        /** What the driver must bring. */
        needs: Needs,
    },
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
        /** Even if something speaks against it that may be overruled: excluded, full, resting, unsuitable. */
        #[serde(default)]
        force: bool,
        /** Why. */
        #[serde(default)]
        reason: String,
    },
    /// A dispatcher takes it from its driver.
    Unassign {
        /** Why. */
        reason: String,
    },
    /// A dispatcher takes it from its driver and gives it to this one.
    Reassign {
        /** To whom. */
        driver: DriverId,
        /** Even if something speaks against it. */
        #[serde(default)]
        force: bool,
        /** Why. */
        reason: String,
    },
    /// A dispatcher lets nobody be asked for a while: open offers are taken back, and the time to find somebody
    /// stands still.
    Hold {
        /** Why. */
        reason: String,
    },
    /// A dispatcher lets drivers be asked again.
    Resume {
        /** Why. */
        #[serde(default)]
        reason: String,
    },
    /// A dispatcher lets it come before others, or after them.
    SetPriority {
        /** Which. */
        priority: Priority,
        /** Why. */
        reason: String,
    },
    /// A dispatcher keeps it to the drivers of one fleet, or frees it again.
    SetFleet {
        /** Whose; anybody's, if absent. */
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fleet: Option<PartnerId>,
        /** Why. */
        reason: String,
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
        #[serde(default)]
        dropoff: Option<Place>,
        /** What shows how it was. */
        #[serde(default)]
        proofs: Vec<Proof>,
    },
    /// The driver there needs another one.
    Escalate {
        /** What that one must bring. Where it names only vehicles that carry something away, room for what is stranded and
        what it takes to load that are added. */
        needs: Needs,
        /** Does the first driver stay? */
        #[serde(default)]
        stay: bool,
    },
    /// The vehicle is off the truck.
    Unload {
        /** What shows how it is. */
        #[serde(default)]
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
    /// Call it off.
    Cancel {
        /** Why. */
        #[serde(default)]
        reason: String,
    },
    /// Call it off because someone is not safe. Never refused while the rescue lives.
    CancelSafety {
        /** Why. */
        #[serde(default)]
        reason: String,
    },
    /// It went wrong beyond repair.
    Fail {
        /** Why. */
        reason: String,
    },
    /// One to five stars.
    Rate {
        /** 1 to 5. */
        stars: u8,
    },
}

/// Whether a driver works.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum DutyWish {
    /// Wants work.
    On,
    /// Wants none; finishes what it has first.
    Off,
    /// Rests.
    Break,
}

/// What may be done to a driver.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[strum(serialize_all = "snake_case")]
pub enum DriverAction {
    /// Start, stop or pause work.
    SetDuty {
        /** Which. */
        duty: DutyWish,
        /** With what, when starting. */
        #[serde(default)]
        vehicle: Option<Vehicle>,
    },
    /// Yes to an offer.
    AcceptOffer {
        /** Which. */
        offer: OfferId,
    },
    /// No to an offer.
    DeclineOffer {
        /** Which. */
        offer: OfferId,
    },
    /// The device shows the offer.
    SeeOffer {
        /** Which. */
        offer: OfferId,
    },
    /// Take a job from the feed.
    ClaimJob {
        /** Which. */
        job: JobId,
    },
    /// Give back a job that was assigned without asking.
    RejectJob {
        /** Which. */
        job: JobId,
    },
    /// Only jobs that lead there, until the shift ends or it is taken back.
    SetDestination {
        /** Where; any job again, if absent. */
        #[serde(default)]
        to: Option<Point>,
    },
    /// Staff: drives for this partner, or for none.
    SetFleet {
        /** Whose fleet; none, if absent. */
        #[serde(default, skip_serializing_if = "Option::is_none")]
        fleet: Option<PartnerId>,
        /** Why. */
        reason: String,
    },
    /// Staff: vouches for a skill, one of those that count only then (`certificate.hazmat`). Said again, this is what holds.
    GrantSkill {
        /** Which, in at most 64 characters. */
        skill: String,
        /** Why. */
        reason: String,
        /** Until when; until it is revoked, if absent. */
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
    },
    /// Staff: vouches for it no more.
    RevokeSkill {
        /** Which. */
        skill: String,
        /** Why. */
        reason: String,
    },
    /// Staff: may work outside its shifts until then, a day from now at most. Said again, this is what holds.
    AllowOffShift {
        /** Until when. */
        until: Timestamp,
        /** Why. */
        reason: String,
    },
    /// Staff: may do so no more.
    RevokeOffShift {
        /** Why. */
        reason: String,
    },
    /// Staff: has something to tell it. Pushed to its device, and kept in its history.
    Message {
        /** About which job, if about one. */
        #[serde(default, skip_serializing_if = "Option::is_none")]
        job: Option<JobId>,
        /** What, on one line of at most 200 characters. */
        text: String,
    },
    /// Staff: may not work.
    Suspend {
        /** Why. */
        reason: String,
        /** Also from the jobs it has? */
        #[serde(default)]
        reassign: bool,
    },
    /// Staff: may work again.
    Reinstate {},
}

/// What may be done to a rider.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[strum(serialize_all = "snake_case")]
pub enum RiderAction {
    /// Staff: none of its jobs is offered to this driver any more, or given to it.
    Block {
        /** From whom it is kept apart. */
        driver: DriverId,
        /** Why. */
        reason: String,
    },
    /// Staff: they may meet again.
    Unblock {
        /** From whom it was kept apart. */
        driver: DriverId,
        /** Why. */
        #[serde(default)]
        reason: String,
    },
    /// Staff: has something to tell it. Pushed to its device, and kept in its history.
    Message {
        /** About which job, if about one. */
        #[serde(default, skip_serializing_if = "Option::is_none")]
        job: Option<JobId>,
        /** What, on one line of at most 200 characters. */
        text: String,
    },
}

/// A call for help. It is not refused for being too fast, too much or too many, unless it comes as a flood.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Sos {
    /// What the caller is busy with; nothing, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub job: Option<JobId>,
    /// Where the caller is. Of a driver the last position is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<Position>,
    /// It is a drill.
    #[serde(default)]
    pub mock: bool,
}

/// What an incident is.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, strum::Display, strum::EnumIter,
)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum IncidentKind {
    /// Somebody called for help.
    Sos,
    /// A job was called off because someone is not safe.
    CancelledSafety,
    /// A rescue was asked for after an accident.
    Accident,
    /// A rescue was asked for by someone in danger.
    Danger,
}

/// What is asked about an incident, and must be answered of an accident before it is closed.
#[derive(
    Debug,
    Clone,
    Copy,
    PartialEq,
    Eq,
    PartialOrd,
    Ord,
    Hash,
    Serialize,
    Deserialize,
    strum::Display,
    strum::EnumIter,
)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum CheckItem {
    /// Is whoever raised it safe?
    CallerSafe,
    /// Was anybody hurt?
    AnybodyHurt,
    /// Were the authorities called?
    AuthoritiesCalled,
    /// Is the vehicle secured?
    VehicleSecured,
}

/// How an incident ended.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, strum::Display, strum::EnumIter,
)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Resolution {
    /// Whoever needed help has had it.
    Helped,
    /// Nobody needed help.
    False,
}

/// What staff may do to an incident.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[strum(serialize_all = "snake_case")]
pub enum IncidentAction {
    /// I see to it.
    Ack {},
    /// Somebody is on the way.
    AddResponder {
        /** Who, in words. */
        name: String,
    },
    /// More is needed: call everybody again.
    Escalate {
        /** Why. */
        #[serde(default)]
        reason: String,
    },
    /// A question is answered.
    Check {
        /** Which. */
        item: CheckItem,
        /** Yes or no. */
        answer: bool,
    },
    /// It is over.
    Resolve {
        /** How. */
        resolution: Resolution,
        /** What is to be known of it later. */
        #[serde(default)]
        note: String,
    },
}

/// What staff may do to a zone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[strum(serialize_all = "snake_case")]
pub enum ZoneAction {
    /// Nothing begins there for a while: rides and deliveries that would be picked up there are refused, and nobody
    /// is looked for who would. Rescues are never kept waiting. Said again, this is what holds.
    Pause {
        /** Why, on one line, in words that riders are shown. */
        reason: String,
        /** Until when; until it is resumed, if absent. */
        #[serde(default, skip_serializing_if = "Option::is_none")]
        until: Option<Timestamp>,
    },
    /// It goes on.
    Resume {
        /** Why, on one line. */
        reason: String,
    },
    /// Its multiplier is this one for a while, whatever is counted. Said again, this is what holds.
    SetSurge {
        /** In percent: 100, or what the brand allows. */
        percent: u32,
        /** Why, on one line. */
        reason: String,
        /** Until when: a day away at most. */
        until: Timestamp,
    },
    /// Its multiplier follows what is counted again.
    LiftSurge {
        /** Why, on one line. */
        reason: String,
    },
}

/// What staff may do to a run. What is fetched already stays with its driver, whatever is said; it changes hands by
/// [`OrderAction::Handover`] alone.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
#[strum(serialize_all = "snake_case")]
pub enum RunAction {
    /// One order that looks for a driver is brought along, if no promise is broken by it. The driver is asked.
    Insert {
        /** Which. */
        order: OrderId,
        /** Why, on one line. */
        reason: String,
    },
    /// One order that is not fetched yet looks for a driver on its own.
    Remove {
        /** Which. */
        order: OrderId,
        /** Why, on one line. */
        reason: String,
    },
    /// What is still to be done is done in this order.
    Reorder {
        /** All of it. */
        stops: Vec<RunErrand>,
        /** Why, on one line. */
        reason: String,
    },
    /// Some orders that are not fetched yet become a run of another driver, who is not asked.
    Split {
        /** Which. */
        orders: Vec<OrderId>,
        /** To whom. */
        driver: DriverId,
        /** Why, on one line. */
        reason: String,
    },
    /// Everything that is not fetched yet joins another run, as far as that breaks no promise there. Its driver is asked.
    Merge {
        /** Which. */
        into: RunId,
        /** Why, on one line. */
        reason: String,
    },
    /// Everything goes to another driver, who is not asked: what is not fetched yet as a run, what is on board by a handover of each.
    HandOver {
        /** To whom. */
        driver: DriverId,
        /** Why, on one line. */
        reason: String,
    },
    /// Its driver cannot go on: what is not fetched looks for another one, what is on board needs a dispatcher.
    Abandon {
        /** Why, on one line. */
        reason: String,
    },
}

/// One thing that a run has to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct RunErrand {
    /// For which order.
    pub order: OrderId,
    /// What.
    pub what: StopKind,
}

/// Anything a client can ask for, over any transport.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Wish {
    /// A new order.
    PlaceOrder(Box<NewOrder>),
    /// Something done to an order.
    Order {
        /** Which. */
        id: OrderId,
        /** What. */
        action: OrderAction,
    },
    /// A new rescue.
    RequestRescue(Box<NewRescue>),
    /// Something done to a rescue.
    Rescue {
        /** Which. */
        id: RescueId,
        /** What. */
        action: RescueAction,
    },
    /// Something done to a rider.
    Rider {
        /** Which. */
        id: RiderId,
        /** What. */
        action: RiderAction,
    },
    /// Something done to a driver; oneself, if absent.
    Driver {
        /** Which. */
        #[serde(default, skip_serializing_if = "Option::is_none")]
        id: Option<DriverId>,
        /** What. */
        action: DriverAction,
    },
    /// Help.
    Sos(Sos),
    /// Something done to an incident.
    Incident {
        /** Which. */
        id: IncidentId,
        /** What. */
        action: IncidentAction,
    },
    /// Something done to a zone.
    Zone {
        /** Which: `zone-` and the H3 index of its cell, with zeros before it. */
        id: ZoneId,
        /** What. */
        action: ZoneAction,
    },
    /// Something done to a run. Staff only.
    Run {
        /** Which. */
        id: RunId,
        /** What. */
        action: RunAction,
    },
}

impl Wish {
    /// Is somebody in danger? Such a wish waits for nobody, and is not refused for being too fast or too much before there are
    /// more of them than anybody in danger sends.
    pub fn is_urgent(&self) -> bool {
        match self {
            Self::Sos(_) => true,
            Self::Order { action, .. } => matches!(action, OrderAction::CancelSafety { .. }),
            Self::Rescue { action, .. } => matches!(action, RescueAction::CancelSafety { .. }),
            Self::PlaceOrder(_)
            | Self::RequestRescue(_)
            | Self::Driver { .. }
            | Self::Incident { .. }
            | Self::Zone { .. }
            | Self::Run { .. }
            | Self::Rider { .. } => false,
        }
    }
}
