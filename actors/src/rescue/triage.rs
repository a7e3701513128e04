//! What a stranded vehicle needs, judged by rules alone.
//!
//! ```text
//!  issue                                                 what is done    whoever comes brings
//!  flat_tyre  battery_dead  out_of_fuel  mechanical      on the spot     the tool, in whatever it drives
//!  locked_out
//!  accident   stuck                                      carried away    room for its weight, and as below; for `stuck` a winch
//!
//!  carried away, by weight      in                  got aboard by             kept there by
//!  25 kg and less               van or tow truck    two hands                 tie-downs
//!  more, up to 150 kg           van or tow truck    a ramp, or a lift gate    tie-downs
//!  more, up to 300 kg           van or tow truck    a lift gate               tie-downs
//!  more                         tow truck           that truck                tie-downs
//! ```
//!
//! A bicycle is lifted by hand, a cargo bike or a moped is pushed up, a motorcycle is lifted by a machine. One person lifts 25 kg: the
//! other one may be hurt. A ramp rises about one in four, so whoever pushes 150 kg up holds less than 40 kg; what is heavier does harm
//! when it rolls back. A lift gate does for a ramp, and a tow truck comes with all of it (`Vehicle::has`). So what is heavier never
//! needs less: whatever may carry it may carry what is lighter. That also holds where whoever is there would do with a van for more
//! than 300 kg: it is asked for all that what just fits into one takes.
//!
//! What has wheels rolls about: it is tied down, however light it is. What it takes to load it is asked for where the brand wants that
//! (`loading` in its preset), for where few vans say what they have, many would wait in vain: `never`, where it is `known` what is
//! stranded, or `always`. Where nobody said what it is, it is taken for a usual motorcycle.

use super::Request;
use crate::policy::Loading;
use protocol::work::{
    Bike, IncidentKind, Issue, Needs, OfferPolicy, Severity, VehicleKind, feature,
};

/// A caller who may be this far off, in metres, must be spoken to first.
const ACCURACY_MAX_M: u32 = 1_000;
/// What one person lifts.
const LIFTED_MAX_G: u32 = 25_000;
/// What is pushed up a ramp.
const RAMP_MAX_G: u32 = 150_000;
/// Small vehicles fit into a van.
const VAN_LOAD_MAX_G: u32 = 300_000;

/// Must a person look at it before anyone is sent?
pub(super) fn needs_a_person(request: &Request) -> bool {
    request.accuracy_m.is_some_and(|accuracy_m| accuracy_m > ACCURACY_MAX_M)
}

/// How far from the place that was named a driver may be and still have arrived: as far as nobody
/// knows better.
pub(super) fn scene_fence_m(request: &Request) -> u32 {
    let vague_m = request.accuracy_m.unwrap_or(0).min(ACCURACY_MAX_M);
    request.policy.pickup_fence_m.max(vague_m)
}

/// Does somebody have to be told that people may be hurt, and of what kind of incident?
pub(super) fn incident(request: &Request) -> Option<IncidentKind> {
    match request.issue {
        Issue::Accident => Some(IncidentKind::Accident),
        Issue::FlatTyre
        | Issue::BatteryDead
        | Issue::OutOfFuel
        | Issue::Mechanical
        | Issue::LockedOut
        | Issue::Stuck => {
            (request.severity == Some(Severity::Urgent)).then_some(IncidentKind::Danger)
        }
    }
}

/// Does it come before everything that is not as urgent, whatever waited longer? Somebody may be hurt, or is in danger.
pub(super) fn comes_first(request: &Request) -> bool {
    request.severity == Some(Severity::Urgent) || request.issue == Issue::Accident
}

/// The request as it is run: who is in danger is not left to wait for one driver after the other.
pub(super) fn hurried(request: &Request) -> Request {
    let mut request = request.clone();
    let policy = &mut request.policy;
    if request.severity == Some(Severity::Urgent) {
        if matches!(policy.offer, OfferPolicy::Sequential | OfferPolicy::BatchOptimal) {
            policy.offer = OfferPolicy::BroadcastFirstWins;
        }
        policy.sla_ms /= 2;
        policy.tier_ms /= 2;
    }
    request
}

/// What the driver must bring: tools where it can be repaired on the spot, else what carries it away, with what it takes to load it
/// if `loading` is asked for.
pub(super) fn needs(request: &Request, loading: bool) -> Needs {
    let skill = match request.issue {
        Issue::FlatTyre => "tyre",
        Issue::BatteryDead => "jump_start",
        Issue::OutOfFuel => "fuel",
        Issue::LockedOut => "locksmith",
        Issue::Mechanical => "repair",
        Issue::Accident => return carrying(request, loading, None),
        Issue::Stuck => return carrying(request, loading, Some("winch")),
    };
    Needs {
        vehicles: vec![
            VehicleKind::Moto,
            VehicleKind::Car,
            VehicleKind::Van,
            VehicleKind::TowTruck,
        ],
        weight_g: 0,
        skills: vec![skill.to_owned()],
    }
}

/// What a second driver must bring: as the one who is there says. If only such will do as carry something away, then also room for
/// what is stranded, and what it takes to load it into them.
pub(super) fn escalated(mut needs: Needs, request: &Request) -> Needs {
    let carries = |kind: &VehicleKind| matches!(kind, VehicleKind::Van | VehicleKind::TowTruck);
    let is_to_carry = !needs.vehicles.is_empty() && needs.vehicles.iter().all(carries);
    if !is_to_carry || !is_judged(request) {
        return needs;
    }
    // One who is there and would do with a van knows that it fits in, however heavy it is: of vans no more is asked than what usually
    // fits into them, and no less than for that.
    let in_van = needs.vehicles.contains(&VehicleKind::Van);
    let heavy_g = needs.weight_g.max(weight_g(request));
    let room_g = if in_van { heavy_g.min(VAN_LOAD_MAX_G) } else { heavy_g };
    needs.weight_g = needs.weight_g.max(room_g);
    for it in loading_of(request, heavy_g, in_van) {
        if !needs.skills.iter().any(|skill| skill == it) {
            needs.skills.push(it.to_owned());
        }
    }
    needs
}

/// Something that can carry the vehicle away.
fn carrying(request: &Request, loading: bool, tool: Option<&str>) -> Needs {
    let weight_g = weight_g(request);
    let fits_van = weight_g <= VAN_LOAD_MAX_G;
    let vehicles = if fits_van {
        vec![VehicleKind::Van, VehicleKind::TowTruck]
    } else {
        vec![VehicleKind::TowTruck]
    };
    let loading = if loading && is_judged(request) {
        loading_of(request, weight_g, fits_van)
    } else {
        Vec::new()
    };
    let skills = tool.into_iter().chain(loading).map(str::to_owned).collect();
    Needs { vehicles, weight_g, skills }
}

/// Is it known well enough what it is, for this brand, to say what it takes to load it?
fn is_judged(request: &Request) -> bool {
    match request.policy.loading {
        Loading::Never => false,
        Loading::Known => {
            request.weight_g > 0 || request.vehicle.is_some() || request.bike.is_some()
        }
        Loading::Always => true,
    }
}

/// What it takes to load so much: to get it aboard, where that may be a van, and to keep it there.
fn loading_of(request: &Request, weight_g: u32, in_van: bool) -> Vec<&'static str> {
    let aboard = if !in_van || weight_g <= LIFTED_MAX_G {
        None
    } else if weight_g <= RAMP_MAX_G {
        Some(feature::RAMP)
    } else {
        Some(feature::LIFT_GATE)
    };
    let has_wheels = request.bike.is_some() || request.vehicle != Some(VehicleKind::Foot);
    aboard.into_iter().chain(has_wheels.then_some(feature::TIE_DOWNS)).collect()
}

/// How heavy it is, in grams: as was said, else as its kind usually is.
fn weight_g(request: &Request) -> u32 {
    let usual = || match (request.bike, request.vehicle) {
        (Some(bike), _) => usual_bike_g(bike),
        (None, Some(vehicle)) => usual_weight_g(vehicle),
        (None, None) => usual_weight_g(VehicleKind::Moto),
    };
    if request.weight_g > 0 { request.weight_g } else { usual() }
}

fn usual_bike_g(bike: Bike) -> u32 {
    match bike {
        Bike::Bicycle => 20_000,
        Bike::EBike => 25_000,
        Bike::CargoBike => 60_000,
        Bike::KickScooter => 20_000,
        Bike::Moped => 100_000,
        Bike::Motorcycle => 200_000,
    }
}

fn usual_weight_g(vehicle: VehicleKind) -> u32 {
    match vehicle {
        VehicleKind::Foot => 0,
        VehicleKind::Bicycle => 20_000,
        VehicleKind::Moto => 150_000,
        VehicleKind::Car => 1_500_000,
        VehicleKind::Van => 3_000_000,
        VehicleKind::TowTruck => 8_000_000,
    }
}
