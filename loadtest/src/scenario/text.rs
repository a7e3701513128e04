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
    #[serde(default = "whole")]
    pub(super) speed: f64,
    #[serde(default = "whole")]
    pub(super) compress: f64,
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

impl Text {
    /// The same in less time: whatever is on a schedule comes `compress` times as quickly. How quick vehicles, thumbs and
    /// networks are does not change, nor how many ask in a second.
    ///
    /// Times of day (`starts_at`, shifts, the hours of a curve) stay as they are: the day is what passes more quickly.
    pub(super) fn compressed(mut self) -> Self {
        let short = |it: &mut Duration, by: f64| *it = it.div_f64(by);
        let by = self.compress;
        let behaviour = &mut self.behaviour;
        let all = [
            &mut self.lasts,
            &mut self.warm_up,
            &mut behaviour.duty,
            &mut behaviour.rest,
            &mut behaviour.tunnel_every,
        ];
        all.into_iter().for_each(|it| short(it, by));
        if let Some(battery) = &mut behaviour.battery {
            short(&mut battery.lasts, by);
            short(&mut battery.recharge, by);
        }
        self.cuts.iter_mut().for_each(|cut| short(&mut cut.at, by));
        if let Some(arrivals) = &mut self.arrivals {
            let Arrivals { at, rise, hold, fall, stages, .. } = arrivals;
            [at, rise, hold, fall].into_iter().flatten().for_each(|it| short(it, by));
            stages.iter_mut().flatten().for_each(|stage| short(&mut stage.lasts, by));
        }
        self
    }
}

fn minute() -> Duration {
    Duration::from_secs(60)
}

/// Where it is.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct CityText {
    pub(super) streets: Option<StreetsText>,
    pub(super) roads: Option<PathBuf>,
    pub(super) starts_at: Option<TimeOfDay>,
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

/// Who asks, and when. One table for all curves, so that a mistake is told by its own line; which key is whose is
/// checked afterwards.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Arrivals {
    pub(super) curve: CurveText,
    pub(super) pacing: Option<Pacing>,
    pub(super) per_hour: Option<f64>,
    pub(super) hours: Option<Vec<f64>>,
    pub(super) times: Option<f64>,
    #[serde(default, with = "humantime_serde")]
    pub(super) at: Option<Duration>,
    #[serde(default, with = "humantime_serde")]
    pub(super) rise: Option<Duration>,
    #[serde(default, with = "humantime_serde")]
    pub(super) hold: Option<Duration>,
    #[serde(default, with = "humantime_serde")]
    pub(super) fall: Option<Duration>,
    pub(super) from_per_hour: Option<f64>,
    pub(super) stages: Option<Vec<Stage>>,
    pub(super) trips: Option<PathBuf>,
    pub(super) from: Option<TimeOfDay>,
    pub(super) until: Option<TimeOfDay>,
    pub(super) sample: Option<f64>,
}

impl Arrivals {
    /// A steady rate.
    pub(super) fn constant(per_hour: f64) -> Self {
        Self {
            curve: CurveText::Constant,
            per_hour: Some(per_hour),
            pacing: None,
            hours: None,
            times: None,
            at: None,
            rise: None,
            hold: None,
            fall: None,
            from_per_hour: None,
            stages: None,
            trips: None,
            from: None,
            until: None,
            sample: None,
        }
    }

    /// The keys it says, whatever its curve makes of them.
    pub(super) fn said(&self) -> impl Iterator<Item = &'static str> {
        let Self { curve: _, pacing, per_hour, hours, times, at, rise, hold, fall, .. } = self;
        let Self { from_per_hour, stages, trips, from, until, sample, .. } = self;
        let keys = [
            ("pacing", pacing.is_some()),
            ("per_hour", per_hour.is_some()),
            ("hours", hours.is_some()),
            ("times", times.is_some()),
            ("at", at.is_some()),
            ("rise", rise.is_some()),
            ("hold", hold.is_some()),
            ("fall", fall.is_some()),
            ("from_per_hour", from_per_hour.is_some()),
            ("stages", stages.is_some()),
            ("trips", trips.is_some()),
            ("from", from.is_some()),
            ("until", until.is_some()),
            ("sample", sample.is_some()),
        ];
        keys.into_iter().filter(|(_, is_said)| *is_said).map(|(key, _)| key)
    }
}

/// The shape of arrivals.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, strum::Display)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub(super) enum CurveText {
    Constant,
    Day,
    Spike,
    Stages,
    Replay,
}

impl CurveText {
    /// The keys it needs, and those it may have besides.
    pub(super) fn keys(self) -> [&'static [&'static str]; 2] {
        match self {
            Self::Constant => [&["per_hour"], &["pacing"]],
            Self::Day => [&["per_hour"], &["hours", "pacing"]],
            Self::Spike => [&["per_hour", "times", "at", "rise", "hold", "fall"], &["pacing"]],
            Self::Stages => [&["stages"], &["from_per_hour", "pacing"]],
            Self::Replay => [&["trips"], &["from", "until", "sample"]],
        }
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
    #[serde(default, with = "humantime_serde")]
    pub(super) drop_every: Duration,
    #[serde(default)]
    pub(super) bytes_per_s: u64,
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
