//! Who may be offered what at all.

use crate::{DriverCard, SearchCard, cost::Settings};
use protocol::{Point, Timestamp, view::WorkKind};

/// How much longer a driver's way to its destination may become through a job.
const DETOUR_HOME_MAX: f64 = 1.5;

/// May this driver be offered this job?
pub fn fits(search: &SearchCard, driver: &DriverCard, now: Timestamp, settings: &Settings) -> bool {
    let has_room = match search.work {
        WorkKind::Ride => driver.is_free || driver.is_nearly_free,
        WorkKind::Delivery => driver.has_delivery_slot || driver.is_nearly_free,
        WorkKind::Rescue => driver.is_free,
    };
    // One person may ride and drive: same number, different kinds of id (invariant I-6).
    let is_same_person = search.rider.0 == driver.id.0;
    let is_stale = now.ms_since(driver.seen_at) > u64::from(settings.stale_ms);
    has_room
        && !is_same_person
        && !is_stale
        && search.only.is_none_or(|only| only == driver.id)
        && search.needs.are_met_by(&driver.vehicle)
        && !search.excluded.contains(&driver.id)
        && driver.destination.is_none_or(|to| leads_there(search, driver.at, to))
}

/// Does the job lead to where the driver wants to go, without too much of a detour?
fn leads_there(search: &SearchCard, from: Point, to: Point) -> bool {
    let Some(dropoff) = search.dropoff else { return false };
    let direct_m = from.distance_m(to);
    let left_m = dropoff.distance_m(to);
    let whole_m = from.distance_m(search.pickup) + search.pickup.distance_m(dropoff) + left_m;
    left_m < direct_m && whole_m <= direct_m * DETOUR_HOME_MAX
}
