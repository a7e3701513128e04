//! Who may be offered what at all.

use crate::{DriverCard, SearchCard, cost::Settings, router::Straight};
use protocol::{
    PartnerId, Point, Timestamp,
    trace::WhyNot,
    view::WorkKind,
    work::{Needs, Vehicle, VehicleKind, feature},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How much longer a driver's way to its destination may become through a job.
const DETOUR_HOME_MAX: f64 = 1.5;

/// A place where nobody drives without a permit: a driver has it who has the skill `permit.NAME`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Permit {
    /// Its name.
    pub name: String,
    /// Its middle.
    pub lat: f64,
    /// Its middle.
    pub lon: f64,
    /// How far it reaches, in metres.
    pub radius_m: u32,
}

/// Where a job begins, and where it ends, if that is known.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Way {
    /// Where it begins.
    pub pickup: Point,
    /// Where it ends.
    pub dropoff: Option<Point>,
}

impl Way {
    fn of(search: &SearchCard) -> Self {
        Self { pickup: search.pickup, dropoff: search.dropoff }
    }
}

impl Permit {
    /// Does the job begin or end there?
    fn is_asked_by(&self, way: &Way) -> bool {
        let middle = Point { lat: self.lat, lon: self.lon };
        let is_there = |at: Point| middle.distance_m(at) <= f64::from(self.radius_m);
        is_there(way.pickup) || way.dropoff.is_some_and(is_there)
    }

    fn is_held_by(&self, vehicle: &Vehicle) -> bool {
        let held = vehicle.skills.iter().filter_map(|skill| skill.strip_prefix("permit."));
        held.into_iter().any(|name| name == self.name)
    }
}

/// May this driver be offered this job?
pub fn fits(search: &SearchCard, driver: &DriverCard, now: Timestamp, settings: &Settings) -> bool {
    misfit(search, driver, now, settings).is_none()
}

/// Why this driver may not be offered this job; nothing, if it may.
pub fn misfit(
    search: &SearchCard,
    driver: &DriverCard,
    now: Timestamp,
    settings: &Settings,
) -> Option<WhyNot> {
    let has_room = match search.work {
        WorkKind::Ride => driver.is_free || driver.is_nearly_free,
        WorkKind::Delivery => driver.has_delivery_slot || driver.is_nearly_free,
        WorkKind::Rescue => driver.is_free,
    };
    // One person may ride and drive: same number, different kinds of id (invariant I-6).
    let is_same_person = search.rider.0 == driver.id.0;
    let is_stale = now.ms_since(driver.seen_at) > u64::from(settings.stale_ms);
    let straight = settings.straight();
    let is_done_by = |search: &SearchCard, driver: &DriverCard, until: Timestamp| {
        let (from, free_at) = driver.start();
        let start = (from, free_at.max(now));
        // Whatever it does first, what it has must be over by then, and so must the job. Both together may take longer, unless
        // they go the same way: nobody says whether they do.
        let has_time = driver.ending.is_none_or(|it| it.due <= until);
        has_time && ends_by(&Way::of(search), start, driver.vehicle.kind, until, &straight)
    };
    if !has_room {
        Some(WhyNot::NoRoom)
    } else if is_same_person {
        Some(WhyNot::SamePerson)
    } else if is_stale {
        Some(WhyNot::NoPosition)
    } else if driver.standing.asked_until.is_some_and(|until| until <= now) {
        Some(WhyNot::OutsideShift)
    } else if search.only.is_some_and(|only| only != driver.id) {
        Some(WhyNot::NotTheOne)
    } else if let Some(other) = of_other_fleet(search.fleet, search.fleet_first, driver.fleet) {
        Some(other)
    } else if let Some(missing) = missing(&search.needs, &driver.vehicle, driver.load_g) {
        Some(missing)
    } else if search.excluded.contains(&driver.id) {
        Some(WhyNot::Excluded)
    } else if driver.destination.is_some_and(|to| !leads_there(search, driver.at, to)) {
        Some(WhyNot::Destination)
    } else if driver.standing.until.is_some_and(|until| !is_done_by(search, driver, until)) {
        Some(WhyNot::Hours)
    } else if lacks_permit(&settings.permits, &Way::of(search), &driver.vehicle) {
        Some(WhyNot::Permit)
    } else {
        None
    }
}

/// Is a job that is kept to one fleet not for who drives for that one?
pub fn is_of_other_fleet(kept_to: Option<PartnerId>, fleet: Option<PartnerId>) -> bool {
    kept_to.is_some_and(|wanted| fleet != Some(wanted))
}

/// Why a job that is kept to one fleet, or only at first, is not for who drives for that one; nothing, if it is.
pub fn of_other_fleet(
    kept_to: Option<PartnerId>,
    is_at_first: bool,
    fleet: Option<PartnerId>,
) -> Option<WhyNot> {
    let why = if is_at_first { WhyNot::OtherFleetFirst } else { WhyNot::OtherFleet };
    is_of_other_fleet(kept_to, fleet).then_some(why)
}

/// What of `needs` this vehicle does not bring, which has so many grams to carry already; nothing, if it brings all.
pub fn missing(needs: &Needs, vehicle: &Vehicle, load_g: u32) -> Option<WhyNot> {
    if is_of_other_kind(needs, vehicle) {
        Some(WhyNot::Vehicle)
    } else if is_too_heavy(needs, vehicle, load_g) {
        Some(WhyNot::Capacity)
    } else {
        needs.skills.iter().find(|skill| !vehicle.has(skill)).map(|it| lacking(it))
    }
}

/// The same, all of it, each reason once.
pub fn all_missing(needs: &Needs, vehicle: &Vehicle, load_g: u32) -> Vec<WhyNot> {
    let kind = is_of_other_kind(needs, vehicle).then_some(WhyNot::Vehicle);
    let weight = is_too_heavy(needs, vehicle, load_g).then_some(WhyNot::Capacity);
    let skills = needs.skills.iter().filter(|skill| !vehicle.has(skill));
    let mut all: Vec<WhyNot> =
        kind.into_iter().chain(weight).chain(skills.map(|it| lacking(it))).collect();
    all.sort_unstable();
    all.dedup();
    all
}

fn is_of_other_kind(needs: &Needs, vehicle: &Vehicle) -> bool {
    !needs.vehicles.is_empty() && !needs.vehicles.contains(&vehicle.kind)
}

fn is_too_heavy(needs: &Needs, vehicle: &Vehicle, load_g: u32) -> bool {
    needs.weight_g > vehicle.capacity_g.saturating_sub(load_g)
}

/// Does this skill count only if somebody vouches for it? However it is written: what is asked for in capitals or with
/// blanks is not for everybody who writes it like that.
pub fn must_be_granted(skill: &str) -> bool {
    matches!(
        lacking(&skill.trim().to_lowercase().replace('-', "_")),
        WhyNot::ColdChain | WhyNot::Certificate | WhyNot::Gender | WhyNot::Permit
    )
}

/// Of those: is it one of the vehicle, and not of whoever drives it, so that it must be said each time as well?
pub fn is_of_vehicle(skill: &str) -> bool {
    lacking(skill) == WhyNot::ColdChain
}

/// What it means not to have this skill: what stands in front of a dot says of what kind it is, but for what loads something.
fn lacking(skill: &str) -> WhyNot {
    match skill {
        feature::RAMP => return WhyNot::Ramp,
        feature::LIFT_GATE => return WhyNot::LiftGate,
        feature::TIE_DOWNS => return WhyNot::TieDowns,
        _ => {}
    }
    match skill.split_once('.').map_or(skill, |(kind, _)| kind) {
        "cold_chain" => WhyNot::ColdChain,
        "certificate" => WhyNot::Certificate,
        "gender" => WhyNot::Gender,
        "permit" => WhyNot::Permit,
        _ => WhyNot::Skill,
    }
}

/// Does the job begin or end where one with this vehicle has no permit to drive?
pub fn lacks_permit(permits: &[Permit], way: &Way, vehicle: &Vehicle) -> bool {
    permits.iter().any(|it| it.is_asked_by(way) && !it.is_held_by(vehicle))
}

/// Would one who starts there and then have done the job by `until`, as far as one can tell from straight lines? Of a job
/// that says not where it ends only the way to its pickup is known.
pub fn ends_by(
    way: &Way,
    (from, at): (Point, Timestamp),
    vehicle: VehicleKind,
    until: Timestamp,
    straight: &Straight,
) -> bool {
    let there_m = from.distance_m(way.pickup);
    let on_m = way.dropoff.map_or(0.0, |to| way.pickup.distance_m(to));
    let takes_ms = straight.ms(vehicle, (there_m + on_m) as f32);
    at + Duration::from_millis(takes_ms.into()) <= until
}

/// Does the job lead to where the driver wants to go, without too much of a detour?
fn leads_there(search: &SearchCard, from: Point, to: Point) -> bool {
    let Some(dropoff) = search.dropoff else { return false };
    let direct_m = from.distance_m(to);
    let left_m = dropoff.distance_m(to);
    let whole_m = from.distance_m(search.pickup) + search.pickup.distance_m(dropoff) + left_m;
    left_m < direct_m && whole_m <= direct_m * DETOUR_HOME_MAX
}
