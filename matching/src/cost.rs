//! What it costs to give a search a driver, and how much of that a search may be spared by waiting.

use crate::{
    DriverCard, SearchCard, Standing,
    fit::Permit,
    router::{Speeds, Straight},
};
use protocol::{
    Point, Timestamp,
    trace::Parts,
    work::{Priority, VehicleKind},
};
use serde::{Deserialize, Serialize};

/// How pairs are valued.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How many drivers are weighed for each search.
    pub n_candidates: u16,
    /// How much longer the road is than the straight line.
    pub detour: f32,
    /// How fast vehicles get through.
    pub speeds: Speeds,
    /// A pair is held while it takes longer than this to get to the pickup, in milliseconds …
    pub hold_ms: u32,
    /// … plus this many times the age of the request.
    pub hold_per_age: u32,
    /// A request older than this is paired before those that are not, in milliseconds; 0: never. Where drivers are too
    /// few, the least total cost would leave the same few alone again and again.
    pub overdue_ms: u32,
    /// A driver who is about to end a ride is weighed like others, and held until it ends in less than
    /// this, in milliseconds.
    pub bind_ahead_ms: u32,
    /// A position older than this is no position, in milliseconds (invariant I-11).
    pub stale_ms: u32,
    /// How many of the drivers it weighed, and how many that did not fit, a round tells of each search
    /// for those who ask afterwards; 0: it tells nothing, and nobody who waits is told how long the next driver takes. With
    /// as many as are weighed, everybody who was is named.
    pub n_told: u8,
    /// Where nobody drives without a permit.
    pub permits: Vec<Permit>,
    /// What counts beside the way. The preset's choice, so it is not among the settings of a node.
    #[serde(skip)]
    pub weights: Weights,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            n_candidates: 10,
            detour: 1.35,
            speeds: Speeds::default(),
            hold_ms: 60_000,
            hold_per_age: 10,
            overdue_ms: 240_000,
            bind_ahead_ms: 15_000,
            stale_ms: 60_000,
            n_told: 10,
            permits: Vec::new(),
            weights: Weights::default(),
        }
    }
}

/// What counts beside the way to the pickup, each in milliseconds of travel: how much longer a way the better driver
/// may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Weights {
    /// How much more a driver costs who has only just become idle, or is not …
    pub idle_ms: u32,
    /// … and how long, in milliseconds, it must have been to be spared all of that.
    pub idle_full_ms: u32,
    /// How much more it costs for each star that is missing of five.
    pub star_ms: u32,
    /// How much more for each level of experience that is missing.
    pub level_ms: u32,
    /// How much more if it declined everything; less, the more it takes.
    pub refusal_ms: u32,
    /// How much more for each kind of vehicle that would do and is smaller.
    pub excess_ms: u32,
    /// How much more if it has had something to do all its time on duty.
    pub fairness_ms: u32,
    /// How much more if it heads the opposite way.
    pub turn_ms: u32,
}

impl Default for Weights {
    /// Ties between drivers about as near go to who has waited longest, then to who is liked best.
    fn default() -> Self {
        Self {
            idle_ms: 5_000,
            idle_full_ms: 20 * 60_000,
            star_ms: 1_000,
            level_ms: 0,
            refusal_ms: 0,
            excess_ms: 2_000,
            fairness_ms: 0,
            turn_ms: 5_000,
        }
    }
}

impl Weights {
    /// The way alone counts.
    pub const NONE: Self = Self {
        idle_ms: 0,
        idle_full_ms: 0,
        star_ms: 0,
        level_ms: 0,
        refusal_ms: 0,
        excess_ms: 0,
        fairness_ms: 0,
        turn_ms: 0,
    };

    /// What a driver costs beside the way, part by part.
    pub fn parts(&self, search: &SearchCard, driver: &DriverCard, now: Timestamp) -> Parts {
        let (excess_ms, turn_ms) = self.of_pair(search, driver);
        Parts { excess_ms, turn_ms, ..self.of_driver(driver, now) }
    }

    /// The parts that are the same whoever is to be picked up.
    pub(crate) fn of_driver(&self, driver: &DriverCard, now: Timestamp) -> Parts {
        let Standing { acceptance, level, busy_percent, .. } = driver.standing;
        let of_hundred = |weight_ms: u32, n: u32| scaled(weight_ms, n.min(100), 100);
        let n_missing = u32::from(Standing::LEVEL_MAX.saturating_sub(level));
        Parts {
            idle_ms: self.idle_ms - self.spared_ms(driver, now),
            rating_ms: scaled(self.star_ms, 500_u32.saturating_sub(driver.rating.into()), 100),
            level_ms: self.level_ms.saturating_mul(n_missing),
            refusal_ms: of_hundred(self.refusal_ms, 100_u32.saturating_sub(acceptance.into())),
            fairness_ms: of_hundred(self.fairness_ms, busy_percent.into()),
            excess_ms: 0,
            turn_ms: 0,
        }
    }

    /// The parts that are not: a vehicle that is larger than must be, and having to turn.
    pub(crate) fn of_pair(&self, search: &SearchCard, driver: &DriverCard) -> (u32, u32) {
        let excess_ms = self.excess_ms.saturating_mul(excess(search, driver.vehicle.kind));
        (excess_ms, self.turn_ms(driver, search.pickup))
    }

    /// How much less a driver costs for having been idle so long; who has something to do is spared nothing, however long
    /// ago it last had nothing.
    fn spared_ms(&self, driver: &DriverCard, now: Timestamp) -> u32 {
        if !driver.is_free {
            return 0;
        }
        let idle_ms = now.ms_since(driver.idle_since).min(u64::from(self.idle_full_ms));
        scaled(self.idle_ms, idle_ms as u32, self.idle_full_ms.max(1))
    }

    /// How much more one costs who must turn, by how far it must. One that still drives somebody heads for where it
    /// will be then.
    fn turn_ms(&self, driver: &DriverCard, pickup: Point) -> u32 {
        let Some(heading_deg) = driver.standing.heading_deg.filter(|_| self.turn_ms > 0) else {
            return 0;
        };
        if !driver.is_free {
            return 0;
        }
        let north = pickup.lat - driver.at.lat;
        let east = (pickup.lon - driver.at.lon) * driver.at.lat.to_radians().cos();
        let way = north.hypot(east);
        if way <= 0.0 {
            return 0;
        }
        let (sin, cos) = f64::from(heading_deg).to_radians().sin_cos();
        let ahead = (north * cos + east * sin) / way;
        (f64::from(self.turn_ms) * (1.0 - ahead) / 2.0) as u32
    }
}

fn scaled(weight_ms: u32, n: u32, of: u32) -> u32 {
    u32::try_from(u64::from(weight_ms) * u64::from(n) / u64::from(of)).unwrap_or(u32::MAX)
}

/// How many of the kinds of vehicles that would do are smaller than this one.
fn excess(search: &SearchCard, kind: VehicleKind) -> u32 {
    search.needs.vehicles.iter().filter(|it| **it < kind).count() as u32
}

impl Settings {
    /// The router that knows no more than these settings.
    pub fn straight(&self) -> Straight {
        Straight { detour: self.detour, speeds: self.speeds }
    }

    /// Is the driver near enough for how long the request has waited?
    pub(crate) fn is_good_enough(&self, search: &SearchCard, eta_ms: u32, now: Timestamp) -> bool {
        let (hold_ms, hold_per_age) = match &search.ruling {
            Some(ruling) => (ruling.hold_ms, ruling.hold_per_age),
            None => (self.hold_ms, self.hold_per_age),
        };
        let patience_ms = now.ms_since(search.opened_at).saturating_mul(hold_per_age.into());
        search.priority == Priority::Urgent
            || u64::from(eta_ms) <= patience_ms.saturating_add(hold_ms.into())
    }

    /// Has it waited for so long that it comes before others of its priority?
    pub(crate) fn is_overdue(&self, search: &SearchCard, now: Timestamp) -> bool {
        self.overdue_ms > 0 && now.ms_since(search.opened_at) >= u64::from(self.overdue_ms)
    }
}
