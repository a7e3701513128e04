//! What a stranded vehicle needs, judged by rules alone.

use super::Request;
use protocol::work::{Issue, Needs, VehicleKind};

/// A caller who may be this far off, in metres, must be spoken to first.
const ACCURACY_MAX_M: u32 = 1_000;
/// Small vehicles fit into a van.
const VAN_LOAD_MAX_G: u32 = 300_000;

/// Must a person look at it before anyone is sent?
pub(super) fn needs_a_person(request: &Request) -> bool {
    request.accuracy_m.is_some_and(|accuracy_m| accuracy_m > ACCURACY_MAX_M)
}

/// Does somebody have to be told that people may be hurt?
pub(super) fn is_incident(request: &Request) -> bool {
    request.issue == Issue::Accident
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
