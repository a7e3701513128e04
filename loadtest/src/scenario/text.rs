//! A scenario as it is written: every key, and what it is if nobody says it.

use crate::{curve::Pacing, trips::TimeOfDay};
use serde::Deserialize;
use std::{path::PathBuf, time::Duration};

/// A whole file.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Text {
    pub(super) about: String,
    #[serde(default)]
    pub(super) beside: Option<String>,
    #[serde(default = "seed")]
    pub(super) seed: u64,
    #[serde(default = "speed")]
    pub(super) speed: f64,
    #[serde(default = "minute", with = "humantime_serde")]
    pub(super) lasts: Duration,
    #[serde(default, with = "humantime_serde")]
    pub(super) warm_up: Duration,
    #[serde(default = "minute", with = "humantime_serde")]
    pub(super) drain: Duration,
    #[serde(default)]
    pub(super) thresholds: Vec<String>,
    #[serde(default)]
    pub(super) city: CityText,
    pub(super) fleet: Option<Fleet>,
    pub(super) arrivals: Option<Arrivals>,
    #[serde(default)]
    pub(super) mix: MixText,
    #[serde(default)]
    pub(super) behaviour: Behaviour,
    pub(super) network: Option<NetworkText>,
    #[serde(default)]
    pub(super) cuts: Vec<CutText>,
    pub(super) sessions: Option<SessionsText>,
}

fn seed() -> u64 {
    1
}

fn speed() -> f64 {
    1.0
}

fn minute() -> Duration {
    Duration::from_secs(60)
}

/// Where it is.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct CityText {
    pub(super) streets: StreetsText,
    pub(super) roads: Option<PathBuf>,
    pub(super) starts_at: TimeOfDay,
}

impl Default for CityText {
    fn default() -> Self {
        Self { streets: StreetsText::Invented, roads: None, starts_at: TimeOfDay(8 * 3_600) }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum StreetsText {
    Invented,
    None,
}

/// Who drives.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Fleet {
    pub(super) drivers: usize,
    pub(super) per_s: f64,
    pub(super) riders_max: usize,
    pub(super) sources: u8,
    pub(super) shifts: Vec<ShiftText>,
}

impl Default for Fleet {
    fn default() -> Self {
        Self { drivers: 200, per_s: 100.0, riders_max: 8_000, sources: 1, shifts: Vec::new() }
    }
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct ShiftText {
    pub(super) from: TimeOfDay,
    pub(super) until: TimeOfDay,
    pub(super) share: f64,
}

/// Who asks, and when.
#[derive(Debug, Clone, Deserialize)]
#[serde(tag = "curve", rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum Arrivals {
    Constant {
        per_hour: f64,
        #[serde(default)]
        pacing: Pacing,
    },
    Day {
        per_hour: f64,
        hours: Option<Vec<f64>>,
        #[serde(default)]
        pacing: Pacing,
    },
    Spike {
        per_hour: f64,
        times: f64,
        #[serde(with = "humantime_serde")]
        at: Duration,
        #[serde(with = "humantime_serde")]
        rise: Duration,
        #[serde(with = "humantime_serde")]
        hold: Duration,
        #[serde(with = "humantime_serde")]
        fall: Duration,
        #[serde(default)]
        pacing: Pacing,
    },
    Stages {
        #[serde(default)]
        from_per_hour: f64,
        stages: Vec<Stage>,
        #[serde(default)]
        pacing: Pacing,
    },
    Replay {
        trips: PathBuf,
        from: Option<TimeOfDay>,
        until: Option<TimeOfDay>,
        #[serde(default = "whole")]
        sample: f64,
    },
}

impl Default for Arrivals {
    fn default() -> Self {
        Self::Constant { per_hour: 500.0, pacing: Pacing::default() }
    }
}

fn whole() -> f64 {
    1.0
}

#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Stage {
    #[serde(with = "humantime_serde")]
    pub(super) lasts: Duration,
    pub(super) per_hour: f64,
}

/// What they ask for; the rest are rides.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct MixText {
    pub(super) deliveries: f64,
    pub(super) rescues: f64,
    pub(super) merchants: f64,
    pub(super) shops: usize,
}

impl Default for MixText {
    fn default() -> Self {
        Self { deliveries: 0.2, rescues: 0.05, merchants: 0.0, shops: 10 }
    }
}

/// What people and phones tend to do.
#[derive(Debug, Clone, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Behaviour {
    pub(super) accept: f64,
    pub(super) decline: f64,
    #[serde(with = "humantime_serde")]
    pub(super) think_max: Duration,
    pub(super) cancel: f64,
    #[serde(with = "humantime_serde")]
    pub(super) patience: Duration,
    pub(super) rate: f64,
    #[serde(with = "humantime_serde")]
    pub(super) duty: Duration,
    #[serde(with = "humantime_serde")]
    pub(super) rest: Duration,
    #[serde(with = "humantime_serde")]
    pub(super) position_every: Duration,
    pub(super) gps_noise_m: f64,
    #[serde(with = "humantime_serde")]
    pub(super) tunnel_every: Duration,
    #[serde(with = "humantime_serde")]
    pub(super) tunnel: Duration,
    pub(super) battery: Option<BatteryText>,
}

impl Default for Behaviour {
    fn default() -> Self {
        Self {
            accept: 0.88,
            decline: 0.09,
            think_max: Duration::from_secs(8),
            cancel: 0.05,
            patience: Duration::from_secs(15 * 60),
            rate: 0.6,
            duty: Duration::from_secs(4 * 3_600),
            rest: Duration::from_secs(15 * 60),
            position_every: Duration::from_secs(2),
            gps_noise_m: 0.0,
            tunnel_every: Duration::from_secs(3 * 3_600),
            tunnel: Duration::ZERO,
            battery: None,
        }
    }
}

#[derive(Debug, Clone, Copy, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct BatteryText {
    #[serde(with = "humantime_serde")]
    pub(super) lasts: Duration,
    #[serde(with = "humantime_serde")]
    pub(super) recharge: Duration,
}

/// What is wrong with some phones' networks.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct NetworkText {
    pub(super) share: f64,
    #[serde(default, with = "humantime_serde")]
    pub(super) delay: Duration,
    #[serde(default, with = "humantime_serde")]
    pub(super) jitter: Duration,
    #[serde(default, with = "humantime_serde")]
    pub(super) stall_every: Duration,
    #[serde(default, with = "humantime_serde")]
    pub(super) stall: Duration,
}

/// When phones are cut off, all at once.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct CutText {
    #[serde(with = "humantime_serde")]
    pub(super) at: Duration,
    #[serde(default = "whole")]
    pub(super) share: f64,
    #[serde(default, with = "humantime_serde")]
    pub(super) dark: Duration,
}

/// Sessions that are only there.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct SessionsText {
    pub(super) n: u64,
    pub(super) per_s: f64,
    #[serde(with = "humantime_serde")]
    pub(super) hold: Duration,
    #[serde(with = "humantime_serde")]
    pub(super) lasts: Duration,
    #[serde(default = "tenth")]
    pub(super) drivers_percent: u8,
    #[serde(default)]
    pub(super) on_duty: bool,
    #[serde(default)]
    pub(super) storm: bool,
}

fn tenth() -> u8 {
    10
}
