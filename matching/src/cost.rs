//! What it costs to give a search a driver, and how much of that a search may be spared by waiting.

use crate::{
    DriverCard, SearchCard,
    router::{Speeds, Straight},
};
use protocol::{Timestamp, work::Priority};
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
    /// A driver who is about to end a ride is weighed like others, and held until it ends in less than
    /// this, in milliseconds.
    pub bind_ahead_ms: u32,
    /// A position older than this is no position, in milliseconds (invariant I-11).
    pub stale_ms: u32,
    /// How much less, at most, a driver costs for having been idle, in milliseconds of travel.
    pub idle_bonus_max_ms: u32,
    /// Idle for this long, a driver has the whole of that bonus, in milliseconds.
    pub idle_full_ms: u32,
    /// How much more a driver costs for each star that is missing, in milliseconds of travel.
    pub missing_star_ms: u32,
    /// How many of the drivers it weighed, and how many that did not fit, a round tells of each search
    /// for those who ask afterwards; 0: it tells nothing.
    pub n_told: u8,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            n_candidates: 10,
            detour: 1.35,
            speeds: Speeds::default(),
            hold_ms: 60_000,
            hold_per_age: 10,
            bind_ahead_ms: 15_000,
            stale_ms: 60_000,
            idle_bonus_max_ms: 5_000,
            idle_full_ms: 20 * 60_000,
            missing_star_ms: 1_000,
            n_told: 5,
        }
    }
}

impl Settings {
    /// The router that knows no more than these settings.
    pub fn straight(&self) -> Straight {
        Straight { detour: self.detour, speeds: self.speeds }
    }

    /// What it costs to give a search this driver, in milliseconds of travel. Ties between drivers
    /// about as near go to who has waited longest, then to who is liked best.
    pub(crate) fn cost_ms(&self, driver: &DriverCard, eta_ms: u32, now: Timestamp) -> u32 {
        let cost = u64::from(eta_ms) + self.idle_ms(driver, now) + self.rating_ms(driver);
        u32::try_from(cost).unwrap_or(u32::MAX)
    }

    /// How much more a driver costs for not having been idle for long.
    pub(crate) fn idle_ms(&self, driver: &DriverCard, now: Timestamp) -> u64 {
        let idle_ms = now.ms_since(driver.idle_since).min(u64::from(self.idle_full_ms));
        let bonus =
            idle_ms * u64::from(self.idle_bonus_max_ms) / u64::from(self.idle_full_ms.max(1));
        u64::from(self.idle_bonus_max_ms) - bonus
    }

    /// How much more a driver costs for the stars it misses.
    pub(crate) fn rating_ms(&self, driver: &DriverCard) -> u64 {
        let missing = u64::from(500_u16.saturating_sub(driver.rating));
        missing * u64::from(self.missing_star_ms) / 100
    }

    /// Is the driver near enough for how long the request has waited?
    pub(crate) fn is_good_enough(&self, search: &SearchCard, eta_ms: u32, now: Timestamp) -> bool {
        let patience_ms = now.ms_since(search.opened_at).saturating_mul(self.hold_per_age.into());
        search.priority == Priority::Urgent
            || u64::from(eta_ms) <= patience_ms.saturating_add(self.hold_ms.into())
    }
}
