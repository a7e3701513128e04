//! Who may be offered what at all.

use crate::{DriverCard, SearchCard, cost::Settings};
use protocol::{
    PartnerId, Point, Timestamp,
    trace::WhyNot,
    view::WorkKind,
    work::{Needs, Vehicle},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How much longer a driver's way to its destination may become through a job.
const DETOUR_HOME_MAX: f64 = 1.5;

/// A place where nobody drives without a permit: a driver has it who says the skill `permit.NAME`.
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

impl Permit {
    /// Does the job begin or end there?
    fn is_asked_by(&self, search: &SearchCard) -> bool {
        let middle = Point { lat: self.lat, lon: self.lon };
        let is_there = |at: Point| middle.distance_m(at) <= f64::from(self.radius_m);
        is_there(search.pickup) || search.dropoff.is_some_and(is_there)
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
    if !has_room {
        Some(WhyNot::NoRoom)
    } else if is_same_person {
        Some(WhyNot::SamePerson)
    } else if is_stale {
        Some(WhyNot::NoPosition)
    } else if search.only.is_some_and(|only| only != driver.id) {
        Some(WhyNot::NotTheOne)
    } else if is_of_other_fleet(search.fleet, driver.fleet) {
        Some(WhyNot::OtherFleet)
    } else if let Some(missing) = missing(&search.needs, &driver.vehicle) {
        Some(missing)
    } else if search.excluded.contains(&driver.id) {
        Some(WhyNot::Excluded)
    } else if driver.destination.is_some_and(|to| !leads_there(search, driver.at, to)) {
        Some(WhyNot::Destination)
    } else if driver
        .standing
        .until
        .is_some_and(|until| !ends_by(search, driver, until, now, settings))
    {
        Some(WhyNot::Hours)
    } else if settings
        .permits
        .iter()
        .any(|it| it.is_asked_by(search) && !it.is_held_by(&driver.vehicle))
    {
        Some(WhyNot::Permit)
    } else {
        None
    }
}

/// Is a job that is kept to one fleet not for who drives for that one?
pub fn is_of_other_fleet(kept_to: Option<PartnerId>, fleet: Option<PartnerId>) -> bool {
    kept_to.is_some_and(|wanted| fleet != Some(wanted))
}

/// What of `needs` this vehicle does not bring; nothing, if it brings all.
pub fn missing(needs: &Needs, vehicle: &Vehicle) -> Option<WhyNot> {
    if !needs.vehicles.is_empty() && !needs.vehicles.contains(&vehicle.kind) {
        Some(WhyNot::Vehicle)
    } else if needs.weight_g > vehicle.capacity_g {
        Some(WhyNot::Capacity)
    } else {
        needs.skills.iter().find(|skill| !vehicle.skills.contains(skill)).map(|it| lacking(it))
    }
}

/// What it means not to have this skill: what stands in front of a dot says of what kind it is.
fn lacking(skill: &str) -> WhyNot {
    match skill.split_once('.').map_or(skill, |(kind, _)| kind) {
        "cold_chain" => WhyNot::ColdChain,
        "certificate" => WhyNot::Certificate,
        "gender" => WhyNot::Gender,
        "permit" => WhyNot::Permit,
        _ => WhyNot::Skill,
    }
}

/// Would the driver have done the job by then, as far as one can tell from straight lines? Of a job that says not where
/// it ends only the way to its pickup is known.
fn ends_by(
    search: &SearchCard,
    driver: &DriverCard,
    until: Timestamp,
    now: Timestamp,
    settings: &Settings,
) -> bool {
    let (from, free_at) = driver.start();
    let there_m = from.distance_m(search.pickup);
    let on_m = search.dropoff.map_or(0.0, |to| search.pickup.distance_m(to));
    let takes_ms = settings.straight().ms(driver.vehicle.kind, (there_m + on_m) as f32);
    free_at.max(now) + Duration::from_millis(takes_ms.into()) <= until
}

/// Does the job lead to where the driver wants to go, without too much of a detour?
fn leads_there(search: &SearchCard, from: Point, to: Point) -> bool {
    let Some(dropoff) = search.dropoff else { return false };
    let direct_m = from.distance_m(to);
    let left_m = dropoff.distance_m(to);
    let whole_m = from.distance_m(search.pickup) + search.pickup.distance_m(dropoff) + left_m;
    left_m < direct_m && whole_m <= direct_m * DETOUR_HOME_MAX
}
