//! What a stranded vehicle needs, judged by rules alone.

use super::Request;
use protocol::work::{IncidentKind, Issue, Needs, OfferPolicy, Severity, VehicleKind};

/// A caller who may be this far off, in metres, must be spoken to first.
const ACCURACY_MAX_M: u32 = 1_000;
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

/// What the driver must bring: tools where it can be repaired on the spot, else a truck.
pub(super) fn needs(request: &Request) -> Needs {
    let skill = match request.issue {
        Issue::FlatTyre => "tyre",
        Issue::BatteryDead => "jump_start",
        Issue::OutOfFuel => "fuel",
        Issue::LockedOut => "locksmith",
        Issue::Mechanical => "repair",
        Issue::Accident => return transport(request, &[]),
        Issue::Stuck => return transport(request, &["winch"]),
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

/// Something that can carry the vehicle away.
fn transport(request: &Request, skills: &[&str]) -> Needs {
    let weight_g = match (request.weight_g, request.vehicle) {
        (0, Some(vehicle)) => usual_weight_g(vehicle),
        (0, None) => usual_weight_g(VehicleKind::Moto),
        (known, _) => known,
    };
    let vehicles = if weight_g <= VAN_LOAD_MAX_G {
        vec![VehicleKind::Van, VehicleKind::TowTruck]
    } else {
        vec![VehicleKind::TowTruck]
    };
    Needs { vehicles, weight_g, skills: skills.iter().map(|&skill| skill.to_owned()).collect() }
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
