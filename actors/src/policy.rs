//! The numbers and choices that presets make. Each job and each shift pins the ones it began with.

use matching::{cost::Weights, surge};
use protocol::{
    Currency, Point,
    view::WorkKind,
    work::{OfferPolicy, OrderKind},
};
use serde::{Deserialize, Serialize};

/// Furthest that a driver may be looked for, in metres.
pub const TIER_M_MAX: u32 = 100_000;

/// Does each tier reach further than nowhere, as far as the one before, and [`TIER_M_MAX`] at most?
pub(crate) fn makes_sense(tiers_m: [u32; 3]) -> bool {
    tiers_m[0] > 0 && tiers_m.is_sorted() && tiers_m[2] <= TIER_M_MAX
}

/// How one job is offered, waited for and ended. All times in milliseconds, all distances in metres.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct JobPolicy {
    /// How a driver is found.
    pub offer: OfferPolicy,
    /// How far away a driver may be, tier by tier.
    pub tiers_m: [u32; 3],
    /// After how long the next tier opens.
    pub tier_ms: u32,
    /// Most offers made before giving up.
    pub attempts_max: u32,
    /// Most offers open at once (`broadcast_first_wins`, `two_sided`).
    pub parallel_max: u8,
    /// How long an offer stands.
    pub offer_ttl_ms: u32,
    /// How long a search lasts.
    pub search_ms: u32,
    /// How long the job may wait in the feed after a search without a driver; 0 for never.
    pub feed_ms: u32,
    /// How often a job may lose its driver and look for another.
    pub reassigns_max: u8,
    /// How close to the pickup a driver must be to arrive, start or pick up.
    pub pickup_fence_m: u32,
    /// How close to the last stop a driver must be to finish or deliver.
    pub dropoff_fence_m: u32,
    /// Does entering the fence of the pickup, or with goods that of the last stop, mean arriving?
    pub auto_arrive: bool,
    /// Does moving towards the pickup mean departing?
    pub auto_depart: bool,
    /// How long a driver waits for free.
    pub wait_free_ms: u32,
    /// How long a driver must have waited before a no-show.
    pub no_show_ms: u32,
    /// Must the rider tell the driver a code to start?
    pub start_code: bool,
    /// Must the rider be confirmed on board before the start?
    pub on_board_check: bool,
    /// How long before `start_at` a scheduled job starts to search.
    pub lead_ms: u32,
    /// How long before `start_at` the rider of a scheduled job is reminded; 0 for never.
    pub remind_ms: u32,
    /// A scheduled job whose price has risen by more than this many percent is not begun before
    /// its rider has agreed; a smaller rise is not passed on, and 0 passes on none.
    pub requote_percent: u8,
    /// How long the rider may think about a new price.
    pub requote_ms: u32,
    /// Does a rider who does not answer agree to it? Otherwise the job is called off.
    pub requote_silent_accepts: bool,
    /// After how long a scheduled ride tries again whose rider still rides elsewhere.
    pub wake_again_ms: u32,
    /// How long after `start_at` it stops trying.
    pub late_max_ms: u32,
    /// How long a prepayment may take.
    pub prepay_ms: u32,
    /// How long a change of stops waits for the driver.
    pub change_ms: u32,
    /// How long after an early end the driver may take to finish.
    pub early_end_ms: u32,
    /// How long a ride may stand still before a dispatcher looks at it.
    pub stuck_ms: u32,
    /// How long a merchant may take to answer.
    pub merchant_ms: u32,
    /// Does a merchant who does not answer accept?
    pub merchant_auto_accept: bool,
    /// How long the rider has to choose about an unavailable item.
    pub item_ms: u32,
    /// How long a request to cancel after pickup waits for an answer.
    pub cancel_request_ms: u32,
    /// How often a failed handover is tried again.
    pub retries_max: u8,
    /// How long the whole job should take (its service level).
    pub sla_ms: u32,
    /// How long a silent rider means "yes, it is fixed".
    pub fixed_silent_ms: u32,
    /// How long after acceptance cancelling is free.
    pub cancel_free_ms: u32,
    /// Part of the fare a rider owes who calls it off while the driver is on the way, in percent.
    pub on_the_way_fee_percent: u8,
    /// Part of the fare a rider owes who calls it off while the driver waits, in percent.
    pub at_pickup_fee_percent: u8,
    /// Part of the fare a rider owes who does not come, in percent.
    pub no_show_fee_percent: u8,
    /// Part of a basket's price that comes back at first, then, and last, once the merchant has
    /// accepted, in percent.
    pub confirmed_refund_percent: [u8; 3],
    /// When "then" and "last" begin.
    pub confirmed_refund_ms: [u32; 2],
    /// Part of a basket's price that comes back while it is being made, in percent.
    pub preparing_refund_percent: u8,
    /// How long after nobody was found it may be tried again.
    pub retry_ms: u32,
    /// How many wrong codes may be tried before only staff can go on.
    pub code_tries_max: u8,
    /// How long after the end a fare may be lowered.
    pub adjust_ms: u32,
    /// How long after the end it can be rated, and tipped for a seventh of that.
    pub rate_ms: u32,
    /// Most cash collected on delivery, in minor units.
    pub cod_max: i64,
    /// Is a job that loses its driver after pickup impossible to reassign without a handover?
    pub handover: bool,
    /// In how many tiers only drivers of the order's own fleet are asked, if it has one and is not kept to it: at most
    /// in all but the last; 0 if no fleet comes first. Where a search is over before they are, everybody is asked in
    /// another one, as long.
    #[serde(skip_serializing_if = "is_one")]
    pub fleet_tiers: u8,
    /// May a delivery be brought with others? Needs format 5.
    #[serde(skip_serializing_if = "is_false")]
    pub batch: bool,
    /// Of what something stranded must whoever carries it away bring what it takes to load it? Jobs that do not say, as builds before
    /// format 9 wrote them, never ask for that.
    #[serde(skip_serializing_if = "Loading::is_never")]
    pub loading: Loading,
    /// How soon after it was asked for a driver should have accepted; 0 where nothing is promised.
    #[serde(skip_serializing_if = "is_zero")]
    pub driver_within_ms: u32,
    /// How soon after that it should be known when the driver comes; 0 where nothing is promised.
    #[serde(skip_serializing_if = "is_zero")]
    pub eta_within_ms: u32,
}

/// When what it takes to load something that is carried away is asked for.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Loading {
    /// Never: any van that is large enough will do.
    #[default]
    Never,
    /// Where somebody said what it is, or how heavy.
    Known,
    /// Also where nobody did: then it is taken for a usual motorcycle.
    Always,
}

impl Loading {
    #[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
    fn is_never(&self) -> bool {
        *self == Self::Never
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(it: &bool) -> bool {
    !*it
}

/// As it is by default, and then not worth a place in every journal.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_one(n: &u8) -> bool {
    *n == 1
}

impl Default for JobPolicy {
    /// A ride's, as MODEL section 5.1 states it.
    fn default() -> Self {
        Self {
            offer: OfferPolicy::BatchOptimal,
            tiers_m: [3_000, 5_000, 10_000],
            tier_ms: 20_000,
            attempts_max: 10,
            parallel_max: 5,
            offer_ttl_ms: 15_000,
            search_ms: 180_000,
            feed_ms: 0,
            reassigns_max: 3,
            pickup_fence_m: 100,
            dropoff_fence_m: 200,
            auto_arrive: false,
            auto_depart: true,
            wait_free_ms: 5 * 60_000,
            no_show_ms: 15 * 60_000,
            start_code: false,
            on_board_check: false,
            lead_ms: 15 * 60_000,
            remind_ms: 60 * 60_000,
            requote_percent: 10,
            requote_ms: 10 * 60_000,
            requote_silent_accepts: false,
            wake_again_ms: 3 * 60_000,
            late_max_ms: 15 * 60_000,
            prepay_ms: 30 * 60_000,
            change_ms: 30_000,
            early_end_ms: 10 * 60_000,
            stuck_ms: 2 * 3_600_000,
            merchant_ms: 5 * 60_000,
            merchant_auto_accept: false,
            item_ms: 3 * 60_000,
            cancel_request_ms: 30 * 60_000,
            retries_max: 2,
            sla_ms: 60 * 60_000,
            fixed_silent_ms: 2 * 60_000,
            cancel_free_ms: 2 * 60_000,
            on_the_way_fee_percent: 10,
            at_pickup_fee_percent: 25,
            no_show_fee_percent: 50,
            confirmed_refund_percent: [100, 90, 80],
            confirmed_refund_ms: [5 * 60_000, 10 * 60_000],
            preparing_refund_percent: 50,
            retry_ms: 30 * 60_000,
            code_tries_max: 5,
            adjust_ms: 10 * 60_000,
            rate_ms: 7 * 24 * 3_600_000,
            cod_max: 1_000_000,
            handover: true,
            fleet_tiers: 1,
            batch: false,
            loading: Loading::Never,
            driver_within_ms: 0,
            eta_within_ms: 0,
        }
    }
}

impl JobPolicy {
    /// A delivery's, as MODEL section 5.2 states it.
    pub fn delivery() -> Self {
        Self {
            tiers_m: [5_000, 8_000, 12_000],
            offer_ttl_ms: 30_000,
            feed_ms: 5 * 60_000,
            pickup_fence_m: 200,
            ..Self::default()
        }
    }

    /// A rescue's, as MODEL section 5.3 states it (15 miles).
    pub fn rescue() -> Self {
        Self {
            offer: OfferPolicy::Sequential,
            tiers_m: [8_000, 16_000, 24_140],
            offer_ttl_ms: 20_000,
            search_ms: 10 * 60_000,
            no_show_ms: 10 * 60_000,
            driver_within_ms: 2 * 60_000,
            eta_within_ms: 60_000,
            ..Self::default()
        }
    }
}

/// How one driver's shift is run. All times in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct DriverPolicy {
    /// Silent this long: quiet.
    pub fresh_ms: u32,
    /// Silent this long: stale, and off the map.
    pub stale_ms: u32,
    /// Silent this long: lost, and forced offline.
    pub lost_ms: u32,
    /// Most deliveries at once.
    pub deliveries_max: u8,
    /// Most offers at once.
    pub parallel_offers: u8,
    /// How many unanswered offers in a row end in a break.
    pub silent_expiries_max: u8,
    /// Most time on duty before a forced rest.
    pub duty_max_ms: u32,
    /// How long that rest is: without a gap, and then what was before is forgotten.
    pub rest_ms: u32,
    /// Faster than this between two positions is a jump, in metres per second; 0 for any speed.
    pub speed_max_mps: f32,
    /// Positions less accurate than this are ignored, in metres.
    pub accuracy_max_m: f32,
    /// How often a position near the one before is passed on.
    pub relist_ms: u32,
    /// How long a job that was assigned without asking can be given back.
    pub reject_ms: u32,
    /// How near to the end of a ride a driver may be given one more job, in metres; 0 for never.
    pub forward_m: u32,
    /// How often, at most, a driver with nothing to do is told of a better place to wait; 0 for never. Needs format 4.
    #[serde(skip_serializing_if = "is_zero")]
    pub hints_every_ms: u32,
    /// Do skills that staff vouch for also count if only the driver says that it has them? No, if a brand does not say;
    /// a shift that does not say is older than grants, and there they do. Needs format 8.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub self_declared: Option<bool>,
    /// After how many offers in a row that it declined or did not answer a driver is told so, and that it may rest; 0 for never.
    #[serde(skip_serializing_if = "is_usual")]
    pub unwanted_told: u8,
    /// Must it be in a shift that staff gave it to be on duty? Needs format 10.
    #[serde(skip_serializing_if = "are_off")]
    pub shifts: Shifts,
    /// How long after the start of a shift a driver may come who does not miss it, in seconds. What holds is said with each shift.
    #[serde(skip_serializing_if = "is_usual_grace")]
    pub shift_grace_s: u16,
    /// After how much time on duty a driver is told that it has worked for long; 0 for never. Needs format 11.
    #[serde(skip_serializing_if = "is_zero")]
    pub duty_told_ms: u32,
    /// Within how long until now time on duty counts; 0: all since its last rest. Needs format 11.
    #[serde(skip_serializing_if = "is_zero")]
    pub duty_within_ms: u32,
}

/// Who may be on duty, as far as [shifts](protocol::view::Shift) go.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Shifts {
    /// Anybody at any time.
    #[default]
    Off,
    /// Who is in a shift, or whom staff let work outside of them.
    Demanded,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn are_off(shifts: &Shifts) -> bool {
    *shifts == Shifts::Off
}

/// How long after the start of a shift a driver may come, in seconds…
const SHIFT_GRACE_S: u16 = 900;
/// … and the least that is, where shifts are demanded: who comes with the minute comes in time.
const SHIFT_GRACE_MIN_S: u16 = 60;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_usual_grace(s: &u16) -> bool {
    *s == SHIFT_GRACE_S
}

/// After how many offers in a row that it did not take a driver is told so.
const UNWANTED_TOLD: u8 = 5;

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_usual(n: &u8) -> bool {
    *n == UNWANTED_TOLD
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(n: &u32) -> bool {
    *n == 0
}

impl DriverPolicy {
    /// Can a driver come to a shift in time that it may not begin before? Where none is demanded nobody has to wait for it.
    pub fn gives_time_to_come(&self) -> bool {
        self.shifts == Shifts::Off || self.shift_grace_s >= SHIFT_GRACE_MIN_S
    }

    /// Which of its limits of time on duty makes no sense beside the others, if one does not.
    pub fn senseless_hours(&self) -> Option<&'static str> {
        let within_ms = self.duty_within_ms;
        if self.duty_max_ms == 0 {
            return Some("duty_max_ms");
        }
        if self.duty_told_ms >= self.duty_max_ms {
            return Some("duty_told_ms");
        }
        let is_too_short = within_ms < self.duty_max_ms || within_ms < self.rest_ms;
        (within_ms > 0 && is_too_short).then_some("duty_within_ms")
    }

    /// Does time on duty under that policy differ from time under this one in what is said as it begins: whose skills count,
    /// who must be in a shift, which hours count, and how many are too many?
    pub fn begins_otherwise(&self, other: &Self) -> bool {
        let hours = |it: &Self| (it.duty_told_ms, it.duty_max_ms, it.rest_ms, it.duty_within_ms);
        let said = |it: &Self| (it.self_declared, it.shifts, hours(it));
        said(self) != said(other)
    }
}

impl Default for DriverPolicy {
    /// As MODEL section 5.4 states it.
    fn default() -> Self {
        Self {
            fresh_ms: 30_000,
            stale_ms: 120_000,
            lost_ms: 300_000,
            deliveries_max: 5,
            parallel_offers: 1,
            silent_expiries_max: 3,
            duty_max_ms: 12 * 3_600_000,
            rest_ms: 6 * 3_600_000,
            speed_max_mps: 70.0,
            accuracy_max_m: 200.0,
            relist_ms: 2_000,
            reject_ms: 10_000,
            forward_m: 0,
            hints_every_ms: 0,
            self_declared: None,
            unwanted_told: UNWANTED_TOLD,
            shifts: Shifts::Off,
            shift_grace_s: SHIFT_GRACE_S,
            duty_told_ms: 0,
            duty_within_ms: 0,
        }
    }
}

/// What a kind of job costs, in minor units.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Tariff {
    /// To get in.
    pub base: i64,
    /// Per kilometre.
    pub per_km: i64,
    /// Per minute.
    pub per_min: i64,
    /// Per minute that a driver waits longer than is free.
    #[serde(default)]
    pub waiting_per_min: i64,
    /// Never less than this before tax.
    pub minimum: i64,
    /// Added at night, in percent of the lines above.
    #[serde(default)]
    pub night_percent: u32,
    /// Tax on the whole, in hundredths of a percent: 1800 for 18 %.
    #[serde(default)]
    pub tax_bp: u32,
    /// The total is rounded up to a multiple of this.
    #[serde(default = "one")]
    pub round_to: i64,
}

fn one() -> i64 {
    1
}

/// One brand's choices: what `config/presets/*.toml` hold.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Preset {
    /// Its name.
    pub name: String,
    /// What it charges in.
    pub currency: Currency,
    /// Minutes east of UTC, for night tariffs.
    #[serde(default)]
    pub utc_offset_min: i32,
    /// How rides are run and what they cost.
    pub ride: JobTerms,
    /// How deliveries are run and what they cost.
    pub delivery: JobTerms,
    /// How rescues are run and what they cost.
    pub rescue: JobTerms,
    /// How shifts are run.
    #[serde(default)]
    pub driver: DriverPolicy,
    /// What counts beside the way, where several drivers would do.
    #[serde(default)]
    pub weights: Weights,
    /// Between what multipliers lie where drivers are scarce.
    #[serde(default)]
    pub surge: SurgeBounds,
    /// Where drivers are found in another way; of several that reach a pickup, the first counts.
    #[serde(default)]
    pub places: Vec<Locally>,
}

/// Between what a brand's multipliers lie, in percent: 100 to 1,000. As the node has it, where it is not said.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct SurgeBounds {
    /// The least there is but the usual one.
    pub percent_min: Option<u32>,
    /// The greatest.
    pub percent_max: Option<u32>,
}

impl SurgeBounds {
    /// The settings of a node, with what the brand says instead.
    pub fn over(self, node: surge::Settings) -> surge::Settings {
        let percent_min = self.percent_min.unwrap_or(node.percent_min);
        let percent_max = self.percent_max.unwrap_or(node.percent_max);
        surge::Settings { percent_min, percent_max, ..node }
    }
}

/// Another way to find drivers for jobs that are picked up around a place. What it does not say is as everywhere.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Locally {
    /// What the place is called.
    pub name: String,
    /// Its middle.
    pub lat: f64,
    /// Its middle.
    pub lon: f64,
    /// How far it reaches, in metres.
    pub radius_m: u32,
    /// For which kinds of work; all, if empty.
    #[serde(default)]
    pub kinds: Vec<WorkKind>,
    /// How a driver is found.
    #[serde(default)]
    pub offer: Option<OfferPolicy>,
    /// How far away a driver may be, tier by tier.
    #[serde(default)]
    pub tiers_m: Option<[u32; 3]>,
    /// After how long the next tier opens.
    #[serde(default)]
    pub tier_ms: Option<u32>,
    /// Most offers made before giving up.
    #[serde(default)]
    pub attempts_max: Option<u32>,
    /// Most offers open at once.
    #[serde(default)]
    pub parallel_max: Option<u8>,
    /// How long an offer stands.
    #[serde(default)]
    pub offer_ttl_ms: Option<u32>,
    /// How long a search lasts.
    #[serde(default)]
    pub search_ms: Option<u32>,
    /// How long the job may wait in the feed after a search without a driver.
    #[serde(default)]
    pub feed_ms: Option<u32>,
}

impl Locally {
    fn holds(&self, work: WorkKind, at: Point) -> bool {
        let middle = Point { lat: self.lat, lon: self.lon };
        (self.kinds.is_empty() || self.kinds.contains(&work))
            && middle.distance_m(at) <= f64::from(self.radius_m)
    }

    fn changes(&self, policy: &mut JobPolicy) {
        policy.offer = self.offer.unwrap_or(policy.offer);
        policy.tiers_m = self.tiers_m.unwrap_or(policy.tiers_m);
        policy.tier_ms = self.tier_ms.unwrap_or(policy.tier_ms);
        policy.attempts_max = self.attempts_max.unwrap_or(policy.attempts_max);
        policy.parallel_max = self.parallel_max.unwrap_or(policy.parallel_max);
        policy.offer_ttl_ms = self.offer_ttl_ms.unwrap_or(policy.offer_ttl_ms);
        policy.search_ms = self.search_ms.unwrap_or(policy.search_ms);
        policy.feed_ms = self.feed_ms.unwrap_or(policy.feed_ms);
    }
}

/// How one kind of job is run and what it costs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct JobTerms {
    /// What it costs.
    pub tariff: Tariff,
    /// How it is run.
    pub policy: JobPolicy,
}

impl Preset {
    /// Under which key it says how far away a driver may be so that it makes no sense, if it does: each tier reaches further than
    /// nowhere, as far as the one before, and [`TIER_M_MAX`] at most.
    pub fn senseless_tiers(&self) -> Option<String> {
        let terms = [("ride", &self.ride), ("delivery", &self.delivery), ("rescue", &self.rescue)];
        let everywhere = terms
            .into_iter()
            .map(|(name, terms)| (format!("{name}.policy.tiers_m"), Some(terms.policy.tiers_m)));
        let places = self.places.iter();
        let places = places.map(|it| (format!("places.{}.tiers_m", it.name), it.tiers_m));
        let senseless = |(key, tiers_m): (String, Option<[u32; 3]>)| {
            tiers_m.is_some_and(|it| !makes_sense(it)).then_some(key)
        };
        everywhere.chain(places).find_map(senseless)
    }

    /// The terms of an order.
    pub fn order(&self, kind: OrderKind) -> JobTerms {
        match kind {
            OrderKind::Ride => self.ride,
            OrderKind::Delivery | OrderKind::Commerce => self.delivery,
        }
    }

    /// How a job of this kind is run that is picked up there.
    pub fn policy_at(&self, work: WorkKind, at: Point) -> JobPolicy {
        let mut policy = match work {
            WorkKind::Ride => self.ride.policy,
            WorkKind::Delivery => self.delivery.policy,
            WorkKind::Rescue => self.rescue.policy,
        };
        if let Some(place) = self.places.iter().find(|place| place.holds(work, at)) {
            place.changes(&mut policy);
        }
        policy
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn around_a_place_drivers_are_found_in_another_way_and_the_rest_is_as_everywhere() {
        let terms = |policy| {
            let round_to = 1;
            let (base, per_km, per_min, minimum) = (100, 10, 1, 100);
            let (waiting_per_min, night_percent, tax_bp) = (0, 0, 0);
            let tariff = Tariff {
                base,
                per_km,
                per_min,
                waiting_per_min,
                minimum,
                night_percent,
                tax_bp,
                round_to,
            };
            JobTerms { tariff, policy }
        };
        let airport = Point { lat: -1.9686, lon: 30.1395 };
        let place = Locally {
            name: "airport".to_owned(),
            lat: airport.lat,
            lon: airport.lon,
            radius_m: 1_000,
            kinds: vec![WorkKind::Ride],
            offer: Some(OfferPolicy::Sequential),
            tiers_m: Some([1_000, 2_000, 3_000]),
            tier_ms: None,
            attempts_max: None,
            parallel_max: None,
            offer_ttl_ms: Some(60_000),
            search_ms: None,
            feed_ms: None,
        };
        let preset = Preset {
            name: "here".to_owned(),
            currency: Currency::RWF,
            utc_offset_min: 0,
            ride: terms(JobPolicy::default()),
            delivery: terms(JobPolicy::delivery()),
            rescue: terms(JobPolicy::rescue()),
            driver: DriverPolicy::default(),
            weights: Weights::default(),
            surge: SurgeBounds::default(),
            places: vec![place],
        };
        let near = airport.offset_m(900.0, 0.0);
        let there = preset.policy_at(WorkKind::Ride, near);
        let everywhere = JobPolicy::default();
        let wanted = JobPolicy {
            offer: OfferPolicy::Sequential,
            tiers_m: [1_000, 2_000, 3_000],
            offer_ttl_ms: 60_000,
            ..everywhere
        };
        assert_eq!(there, wanted);
        let away = airport.offset_m(1_100.0, 0.0);
        assert_eq!(preset.policy_at(WorkKind::Ride, away), everywhere);
        assert_eq!(preset.policy_at(WorkKind::Delivery, near), JobPolicy::delivery());
    }
}
