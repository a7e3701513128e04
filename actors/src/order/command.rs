//! What can be asked of an order.

use crate::{Format, policy::JobPolicy, rule, run, search, template};
use protocol::{
    DriverId, Fare, MerchantId, OfferId, OrderId, PartnerId, Place, RiderId, Timestamp,
    rule::RuleMark,
    trace::WhyNot,
    work::{CancelDecision, Handoff, Needs, OrderKind, PaymentTiming, Priority, Proof, ProofKind},
};
use serde::{Deserialize, Serialize};

/// An order as the platform accepts it: everything looked up, priced and pinned.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Placement {
    /// What is moved.
    pub kind: OrderKind,
    /// For whom.
    pub rider: RiderId,
    /// Pickup first, last dropoff last; 2 to 20.
    pub stops: Vec<Place>,
    /// What it costs.
    pub fare: Fare,
    /// How it is run, for its whole life.
    pub policy: JobPolicy,
    /// When the rider wants to be picked up; now, if absent.
    pub start_at: Option<Timestamp>,
    /// How it is paid for.
    pub payment: PaymentTiming,
    /// What the driver must bring.
    pub needs: Needs,
    /// Who prepares it; commerce only.
    pub merchant: Option<MerchantId>,
    /// How it leaves the merchant; commerce only.
    pub handoff: Handoff,
    /// How many items the basket has; commerce only.
    pub n_items: u16,
    /// This driver and no other. Under `auto_assign` (a scanned QR code) it is not asked.
    pub driver: Option<DriverId>,
    /// What the rider tells the driver, or the merchant at collection, where a code is used.
    pub code: Option<String>,
    /// Proofs needed at pickup; goods only.
    pub pickup_proof: Vec<ProofKind>,
    /// Proofs needed at every dropoff; goods only.
    pub dropoff_proof: Vec<ProofKind>,
    /// Cash the driver collects at the last stop, in minor units; goods only.
    pub cash_on_delivery: Option<i64>,
    /// Per minute that a driver waits longer than is free, in minor units.
    #[serde(default)]
    pub waiting_per_min: i64,
    /// The order it goes on for.
    #[serde(default)]
    pub follows: Option<OrderId>,
    /// Drivers it is not offered to.
    #[serde(default)]
    pub excluded: Vec<DriverId>,
    /// Drivers that its rider is kept apart from.
    #[serde(default, skip_serializing_if = "<[DriverId]>::is_empty")]
    pub barred: Box<[DriverId]>,
    /// Whose drivers it is kept to, if it is. Needs format 4.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub fleet: Option<Box<PartnerId>>,
    /// Is it kept to them only at first? Needs format 6.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub fleet_first: bool,
    /// The rule whose word is in its policy, if there was one. Needs format 9.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub rule: Option<Box<RuleMark>>,
    /// Until when nobody is asked about it alone, for it is to be brought with others, if it is. Needs format 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kept_until: Option<Timestamp>,
    /// It changes vehicles at its second stop, if it does. Needs format 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hub: Option<Box<Hub>>,
}

/// A stop at which goods change vehicles.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hub {
    /// Until when they stay there; no longer than it takes to find somebody, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

impl Placement {
    /// A ride as tests want one: now, and for a thousand francs in cash.
    #[cfg(any(test, feature = "testing"))]
    pub fn ride(rider: RiderId, from: impl Into<Place>, to: impl Into<Place>) -> Self {
        use protocol::{Currency, FareLine};

        let base = FareLine { code: "base".to_owned(), amount: 1_000 };
        Self {
            kind: OrderKind::Ride,
            rider,
            stops: vec![from.into(), to.into()],
            fare: Fare { currency: Currency::RWF, lines: vec![base] },
            policy: JobPolicy::default(),
            start_at: None,
            payment: PaymentTiming::Cash,
            needs: Needs::default(),
            merchant: None,
            handoff: Handoff::Driver,
            n_items: 0,
            driver: None,
            code: None,
            pickup_proof: Vec::new(),
            dropoff_proof: Vec::new(),
            cash_on_delivery: None,
            waiting_per_min: 0,
            follows: None,
            excluded: Vec::new(),
            barred: Box::default(),
            fleet: None,
            fleet_first: false,
            rule: None,
            kept_until: None,
            hub: None,
        }
    }

    /// What a build must know to read it whole.
    pub(super) fn format(&self) -> Format {
        if self.kept_until.is_some() || self.hub.is_some() {
            template::KNOWN
        } else if self.rule.is_some() {
            rule::RULED
        } else if self.fleet_first {
            search::FLEETS_FIRST
        } else if self.policy.batch {
            run::KNOWN
        } else if self.fleet.is_some() {
            search::FLEETS
        } else {
            Format::FIRST
        }
    }
}

/// What can be asked of an order. Who asks is [`crate::Context::by`]; the names are those of
/// [`protocol::work::OrderAction`], so that both read the same in a refusal.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, strum::IntoStaticStr)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Command {
    /// Comes into being. By the rider, staff, or the merchant of a commerce order.
    Place(Box<Placement>),
    /// The payment is good for this amount.
    ConfirmPayment {
        /** Minor units. */
        amount: i64,
    },
    /// The payment failed for good.
    FailPayment {},
    /// The rider wants to be picked up at another time.
    Reschedule {
        /** The new time. */
        start_at: Timestamp,
        /** What it costs then; the same, if absent. */
        #[serde(default)]
        fare: Option<Fare>,
    },
    /// What the scheduled order would cost now.
    Requote {
        /** All of it. */
        fare: Fare,
    },
    /// The rider agrees to the new price.
    AcceptPrice {},
    /// The rider does not.
    DeclinePrice {},
    /// The rider wants to go elsewhere; the driver must agree.
    ModifyStops {
        /** The stops still to come. */
        stops: Vec<Place>,
        /** What the whole order would then cost; unchanged, if absent. */
        fare: Option<Fare>,
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
    /// Nobody was found by asking: ask again.
    ExtendSearch {},
    /// Nobody was found by asking: the rider collects it.
    CollectInstead {},
    /// The driver sets off.
    Depart {},
    /// The driver is there.
    Arrive {},
    /// The rider is on board.
    OnBoard {},
    /// The ride starts.
    Start {
        /** What the rider told the driver. */
        code: Option<String>,
    },
    /// The goods are in the driver's hands.
    PickUp {
        /** What shows it. */
        proofs: Vec<Proof>,
    },
    /// At a stop on the way.
    ArriveStop {},
    /// Done there.
    CompleteStop {
        /** What shows it. */
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
        code: Option<String>,
        /** Why it ends away from the last stop: one of [`protocol::work::EarlyReason`]. */
        early_reason: Option<String>,
    },
    /// The goods are handed over.
    Deliver {
        /** What shows it. */
        proofs: Vec<Proof>,
        /** Cash collected, in minor units. */
        cash: Option<i64>,
    },
    /// The goods could not be handed over; a ride went wrong beyond repair (staff).
    Fail {
        /** Why. */
        reason: String,
    },
    /// Try again: to hand the goods over, or, as a new order, to find a driver.
    Retry {},
    /// Take the goods back.
    StartReturn {},
    /// The goods are back.
    Returned {
        /** What shows it. */
        proofs: Vec<Proof>,
    },
    /// A dispatcher lets another driver take over the goods.
    Handover {
        /** To whom. */
        driver: DriverId,
        /** Even if something speaks against it. */
        #[serde(default)]
        force: bool,
        /** Why. */
        #[serde(default)]
        reason: String,
        /** What speaks against it, as far as the driver's own state says. */
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        against: Vec<WhyNot>,
    },
    /// The driver tried to reach the rider.
    Contacted {},
    /// The rider did not come.
    NoShow {},
    /// Call it off.
    Cancel {
        /** Why. */
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
    /// The rider gives something extra.
    Tip {
        /** Minor units. */
        amount: i64,
    },
    /// One to five stars, from the rider for the driver or the other way round.
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
        code: Option<String>,
    },
    /// The platform saw the driver move this far since the pickup.
    Metered {
        /** Metres. */
        total_m: u32,
    },
    /// The order that was to go on for it could not be placed.
    Unfollow {},
    /// It is time, and the rider still rides elsewhere: try again later, or give up.
    Postpone {},
    /// A timer has come due. Early ones change nothing.
    Tick {},
    /// About its search.
    Search(search::Command),
}

impl Command {
    /// Its name in refusals and metrics; a command about the search goes by what it says.
    pub fn name(&self) -> &'static str {
        if let Self::Search(command) = self { command.into() } else { self.into() }
    }
}
