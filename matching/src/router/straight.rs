//! The straight line, made longer by what streets make it: for where nothing better is known.

use super::{Eta, Leg, Router, Spot};
use protocol::{Point, work::VehicleKind};
use serde::{Deserialize, Serialize};

/// One way in ten takes less than this part of what was expected, in percent. A guess: no trip's duration was
/// measured against it.
const LOW_PERCENT: u64 = 65;
/// One in ten takes more than this.
const HIGH_PERCENT: u64 = 155;

/// The straight line times a factor, at the mean speed of the vehicle.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Straight {
    /// How much longer the road is than the straight line.
    pub detour: f32,
    /// How fast vehicles get through.
    pub speeds: Speeds,
}

impl Default for Straight {
    fn default() -> Self {
        Self { detour: 1.35, speeds: Speeds::default() }
    }
}

impl Straight {
    /// How long a vehicle needs for a straight distance, in milliseconds.
    pub fn ms(&self, vehicle: VehicleKind, distance_m: f32) -> u32 {
        (distance_m * self.detour / self.speeds.of(vehicle) * 1_000.0) as u32
    }
}

impl Router for Straight {
    fn spot(&self, _at: Point) -> Spot {
        Spot::default()
    }

    fn eta(&self, leg: &Leg) -> Eta {
        let ms = self.ms(leg.vehicle, leg.distance_m);
        let part = |percent| u32::try_from(u64::from(ms) * percent / 100).unwrap_or(u32::MAX);
        Eta { ms, low_ms: part(LOW_PERCENT), high_ms: part(HIGH_PERCENT) }
    }

    fn n_sifted(&self, n: usize) -> usize {
        n
    }
}

/// Mean speeds on the road through a city, in metres per second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Speeds {
    pub foot: f32,
    pub bicycle: f32,
    pub moto: f32,
    pub car: f32,
    pub van: f32,
    pub tow_truck: f32,
}

impl Default for Speeds {
    fn default() -> Self {
        Self { foot: 1.4, bicycle: 4.2, moto: 7.5, car: 7.0, van: 6.5, tow_truck: 6.0 }
    }
}

impl Speeds {
    /// All of them `factor` times as fast.
    #[must_use]
    pub fn times(self, factor: f32) -> Self {
        Self {
            foot: self.foot * factor,
            bicycle: self.bicycle * factor,
            moto: self.moto * factor,
            car: self.car * factor,
            van: self.van * factor,
            tow_truck: self.tow_truck * factor,
        }
    }

    pub(crate) fn of(&self, vehicle: VehicleKind) -> f32 {
        match vehicle {
            VehicleKind::Foot => self.foot,
            VehicleKind::Bicycle => self.bicycle,
            VehicleKind::Moto => self.moto,
            VehicleKind::Car => self.car,
            VehicleKind::Van => self.van,
            VehicleKind::TowTruck => self.tow_truck,
        }
    }
}
