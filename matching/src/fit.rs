//! Who may be offered what at all.

use crate::{DriverCard, SearchCard, cost::Settings};
use protocol::{
    PartnerId, Point, Timestamp,
    trace::WhyNot,
    view::WorkKind,
    work::{Needs, Vehicle},
};

/// How much longer a driver's way to its destination may become through a job.
const DETOUR_HOME_MAX: f64 = 1.5;

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
    } else if !needs.skills.iter().all(|skill| vehicle.skills.contains(skill)) {
        Some(WhyNot::Skill)
    } else {
        None
    }
}

/// Does the job lead to where the driver wants to go, without too much of a detour?
fn leads_there(search: &SearchCard, from: Point, to: Point) -> bool {
    let Some(dropoff) = search.dropoff else { return false };
    let direct_m = from.distance_m(to);
    let left_m = dropoff.distance_m(to);
    let whole_m = from.distance_m(search.pickup) + search.pickup.distance_m(dropoff) + left_m;
    left_m < direct_m && whole_m <= direct_m * DETOUR_HOME_MAX
}
