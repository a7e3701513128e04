//! Everything that can be set, read once: the built-in defaults, then a file, then the environment.

mod cluster;
mod map;

use actors::{journal::postgres, policy::Preset, region, revocation, runtime};
use clap::ValueEnum;
pub(crate) use cluster::ClusterSettings;
use figment::{
    Figment,
    providers::{Env, Format, Toml},
    value::Dict,
};
pub(crate) use map::MapSettings;
use protocol::{
    Point,
    work::{Alternative, OfferPolicy},
};
use serde::{Deserialize, Serialize};
use std::{
    fmt,
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};
use thiserror::Error;

/// The file of defaults; it names and explains every key.
const DEFAULT: &str = include_str!("../config/default.toml");

/// Nobody has more processors to spare for planning routes than this.
const PLANS_MAX: usize = 64;
/// Between what the bounds of multipliers lie.
const SURGE_BOUNDS: &str =
    "percent_min is at least 100, percent_max at least that and at most 1000";
/// How long drivers have to come to a shift.
const GRACE: &str = "60 at least where shifts are demanded, or nearly everybody misses theirs";
/// How much time on duty is too much.
const HOURS: &str = "duty_told_ms is less than duty_max_ms, which is more than 0, and duty_within_ms \
                     is 0, or no less than that and rest_ms";
/// How far away drivers may be, tier by tier.
const TIERS: &str =
    "each tier is more than 0 m and no less than the one before, and none more than 100,000";
/// So many of those who may help instead are told.
const ALTERNATIVES_MAX: usize = 3;
/// The presets that come with the binary, by name.
const PRESETS: [(&str, &str); 5] = [
    ("riderguy", include_str!("../config/presets/riderguy.toml")),
    ("reskflow", include_str!("../config/presets/reskflow.toml")),
    ("supportcarr", include_str!("../config/presets/supportcarr.toml")),
    ("safeboda", include_str!("../config/presets/safeboda.toml")),
    ("nebengjek", include_str!("../config/presets/nebengjek.toml")),
];

/// All settings of one process. Each component is given its own part and sees no other.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Settings {
    pub(crate) profile: Profile,
    pub(crate) journal: JournalSettings,
    pub(crate) cluster: ClusterSettings,
    pub(crate) telemetry: TelemetrySettings,
    pub(crate) auth: AuthSettings,
    pub(crate) gateway: GatewaySettings,
    pub(crate) board: BoardSettings,
    pub(crate) map: MapSettings,
    pub(crate) preset: PresetSettings,
    pub(crate) estimate: EstimateSettings,
    pub(crate) area: Area,
    pub(crate) roads: RoadSettings,
    pub(crate) drain: DrainSettings,
    pub(crate) runtime: runtime::Settings,
    pub(crate) regions: region::Settings,
    pub(crate) simulation: SimulationSettings,
}

/// How a simulated city differs from a real one.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SimulationSettings {
    /// How much quicker than life vehicles are.
    pub(crate) speed: f32,
    /// How drivers are found, whatever the preset says.
    pub(crate) policy: Option<OfferPolicy>,
}

/// Who is at risk when something is open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Profile {
    Development,
    Production,
}

/// Where the journal is.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct JournalSettings {
    pub(crate) kind: JournalKind,
    pub(crate) dir: PathBuf,
    pub(crate) url: String,
    pub(crate) node: String,
    pub(crate) postgres: postgres::Settings,
}

/// A URL may have a password in it.
impl fmt::Debug for JournalSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JournalSettings")
            .field("kind", &self.kind)
            .field("dir", &self.dir)
            .field("url", if self.url.is_empty() { &"" } else { &"***" })
            .field("node", &self.node)
            .field("postgres", &self.postgres)
            .finish()
    }
}

/// What the journal is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ValueEnum)]
#[serde(rename_all = "snake_case")]
pub(crate) enum JournalKind {
    /// A file in the directory of the journal.
    Sqlite,
    /// The database of the journal's URL.
    Postgres,
    /// A Postgres of its own, started and stopped with the node; its data stays in the directory of the journal.
    PrivatePostgres,
    /// Nowhere: gone with the process.
    Memory,
}

/// What is told to operators.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct TelemetrySettings {
    pub(crate) format: LogFormat,
    pub(crate) filter: String,
}

/// Who reads the log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum LogFormat {
    Text,
    Json,
}

/// Whose tokens are believed.
#[derive(Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct AuthSettings {
    pub(crate) issuer: String,
    pub(crate) audience: String,
    pub(crate) key_file: PathBuf,
    #[serde(with = "humantime_serde")]
    pub(crate) leeway: Duration,
    #[serde(with = "humantime_serde")]
    pub(crate) quote_ttl: Duration,
    #[serde(with = "humantime_serde")]
    pub(crate) token_ttl_max: Duration,
    pub(crate) revocations_max: usize,
}

/// Where a secret is kept is nobody's business either.
impl fmt::Debug for AuthSettings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let has_key_file = !self.key_file.as_os_str().is_empty();
        f.debug_struct("AuthSettings")
            .field("issuer", &self.issuer)
            .field("audience", &self.audience)
            .field("key_file", if has_key_file { &"***" } else { &"" })
            .field("leeway", &self.leeway)
            .field("quote_ttl", &self.quote_ttl)
            .field("token_ttl_max", &self.token_ttl_max)
            .field("revocations_max", &self.revocations_max)
            .finish()
    }
}

/// What the gateway allows.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct GatewaySettings {
    pub(crate) listen: SocketAddr,
    pub(crate) origins: Vec<String>,
    pub(crate) sessions_max: usize,
    pub(crate) connections_max: usize,
    #[serde(with = "humantime_serde")]
    pub(crate) head_within: Duration,
    pub(crate) handshakes_per_s: u32,
    pub(crate) handshakes_burst: u32,
    pub(crate) requests_per_s: u32,
    pub(crate) requests_burst: u32,
    #[serde(with = "humantime_serde")]
    pub(crate) request_timeout: Duration,
    #[serde(with = "humantime_serde")]
    pub(crate) patience: Duration,
    pub(crate) plans_max: usize,
    #[serde(with = "humantime_serde")]
    pub(crate) resume_within: Duration,
    pub(crate) suspended_max: usize,
    pub(crate) suspended_bytes_max: usize,
    pub(crate) session: SessionSettings,
}

/// What one socket may do, and what one client may on all of its.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct SessionSettings {
    #[serde(with = "humantime_serde")]
    pub(crate) heartbeat: Duration,
    #[serde(with = "humantime_serde")]
    pub(crate) heartbeat_at_rest: Duration,
    #[serde(with = "humantime_serde")]
    pub(crate) heartbeat_at_rest_max: Duration,
    #[serde(with = "humantime_serde")]
    pub(crate) identify_within: Duration,
    pub(crate) frames_per_s: u32,
    pub(crate) frames_burst: u32,
    pub(crate) commands_per_s: u32,
    pub(crate) commands_burst: u32,
    pub(crate) urgent_per_s: u32,
    pub(crate) urgent_burst: u32,
    pub(crate) inflight_max: u16,
    pub(crate) queue_max: usize,
    #[serde(with = "humantime_serde")]
    pub(crate) stall_max: Duration,
    #[serde(with = "humantime_serde")]
    pub(crate) push_again: Duration,
    #[serde(with = "humantime_serde")]
    pub(crate) sighted_every: Duration,
    pub(crate) topics_max: usize,
    pub(crate) replay_max: usize,
    pub(crate) replay_bytes_max: usize,
    pub(crate) strikes_max: u32,
}

/// How often dispatchers' maps change.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct BoardSettings {
    #[serde(with = "humantime_serde")]
    pub(crate) every: Duration,
}

/// Which brand's choices.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct PresetSettings {
    pub(crate) name: String,
    pub(crate) file: PathBuf,
}

/// How long a way probably is.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct EstimateSettings {
    pub(crate) detour: f64,
    pub(crate) speed_kmh: f64,
    pub(crate) distance_km_max: f64,
}

/// Where jobs may start.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Area {
    pub(crate) circles: Vec<Circle>,
    pub(crate) boxes: Vec<Bounds>,
    /// Who may help outside of it.
    pub(crate) partners: Vec<Partner>,
}

/// The streets of a city, for regions that know them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct RoadSettings {
    /// A folder of road tables; none if empty.
    pub(crate) folder: PathBuf,
    /// At the traffic of which hour of a weekday they are read.
    pub(crate) hour: u8,
}

/// Somebody who helps stranded people where we do not.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Partner {
    pub(crate) name: String,
    pub(crate) phone: String,
    pub(crate) lat: f64,
    pub(crate) lon: f64,
    pub(crate) radius_km: f64,
}

/// Around a point.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Circle {
    pub(crate) lat: f64,
    pub(crate) lon: f64,
    pub(crate) radius_km: f64,
}

/// Between two parallels and two meridians, in degrees.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct Bounds {
    pub(crate) south: f64,
    pub(crate) west: f64,
    pub(crate) north: f64,
    pub(crate) east: f64,
}

/// How long leaving may take.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(crate) struct DrainSettings {
    #[serde(with = "humantime_serde")]
    pub(crate) sessions: Duration,
    #[serde(with = "humantime_serde")]
    pub(crate) actors: Duration,
    #[serde(with = "humantime_serde")]
    pub(crate) spread: Duration,
}

/// Settings that cannot be used.
#[derive(Debug, Error)]
pub(crate) enum SettingsError {
    /// A key is unknown, or a value is of the wrong kind.
    #[error("settings: {0}")]
    Unreadable(#[from] Box<figment::Error>),
    /// A variable that is not read, and was probably meant to be.
    #[error(
        "settings: {name} is not read: levels are joined by two underscores, as in OUTRIDER_GATEWAY__LISTEN"
    )]
    Variable { name: String },
    /// A value makes no sense.
    #[error("settings: {key}: {problem}")]
    Senseless { key: &'static str, problem: String },
    /// There is no such preset.
    #[error("settings: no preset is called {0}; there are {names}", names = preset_names())]
    NoPreset(String),
    /// A preset's file has a key that nothing reads.
    #[error("preset {preset}: unknown key {key}")]
    UnknownPresetKey { preset: String, key: String },
    /// A value of a preset makes no sense.
    #[error("preset {preset}: {key}: {problem}")]
    SenselessPreset { preset: String, key: String, problem: &'static str },
}

impl From<figment::Error> for SettingsError {
    fn from(error: figment::Error) -> Self {
        Self::Unreadable(Box::new(error))
    }
}

/// A variable that begins like one of ours, and goes on as none of them.
fn mistaken(mut names: impl Iterator<Item = String>) -> Option<String> {
    let sections: Dict = Figment::from(Toml::string(DEFAULT)).extract().unwrap_or_default();
    names.find(|name| {
        let rest = name.strip_prefix("OUTRIDER_").filter(|rest| !rest.contains("__"));
        let section = rest.and_then(|rest| rest.split_once('_')).map(|(section, _)| section);
        section.is_some_and(|section| sections.contains_key(&section.to_ascii_lowercase()))
    })
}

impl Settings {
    /// Reads the defaults, `file` if there is one, and the environment; what keeps the journal may have
    /// been said by hand, whatever those say.
    pub(crate) fn read(
        file: Option<&Path>,
        journal: Option<JournalKind>,
    ) -> Result<Self, SettingsError> {
        let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
        if let Some(name) = mistaken(names) {
            return Err(SettingsError::Variable { name });
        }
        let mut figment = Figment::from(Toml::string(DEFAULT));
        if let Some(file) = file {
            figment = figment.merge(Toml::file_exact(file));
        }
        // The only one without our name: what a style is given by to whatever draws maps.
        let style = Env::raw().only(&["MAP_STYLE_URL"]).map(|_| "map.style_url".into());
        // A variable with one level (OUTRIDER_BIN) belongs to someone else.
        let environment = Env::prefixed("OUTRIDER_")
            .filter(|key| key == "profile" || key.as_str().contains("__"))
            .split("__");
        let figment = figment.merge(style).merge(environment);
        Self::from_figment(&match journal {
            Some(kind) => figment.merge(("journal.kind", kind)),
            None => figment,
        })
    }

    fn from_figment(figment: &Figment) -> Result<Self, SettingsError> {
        let settings: Self = figment.extract()?;
        settings.check()?;
        Ok(settings)
    }

    /// The brand's choices.
    pub(crate) fn preset(&self) -> Result<Preset, SettingsError> {
        let mut preset = self.preset.read()?;
        let SimulationSettings { speed, policy } = self.simulation;
        preset.driver.speed_max_mps *= speed;
        if let Some(policy) = policy {
            for terms in [&mut preset.ride, &mut preset.delivery, &mut preset.rescue] {
                terms.policy.offer = policy;
            }
            for place in &mut preset.places {
                place.offer = Some(policy);
            }
        }
        Ok(preset)
    }

    /// How regions match; what counts beside the way, and between what multipliers lie, is the brand's choice.
    pub(crate) fn regions(&self) -> Result<region::Settings, SettingsError> {
        let mut regions = self.regions.clone();
        regions.matching.speeds = regions.matching.speeds.times(self.simulation.speed);
        let preset = self.preset.read()?;
        regions.matching.weights = preset.weights;
        regions.preset.clone_from(&preset.name);
        regions.surge = preset.surge.over(regions.surge);
        if !regions.surge.is_bounded() {
            let (key, problem) = ("surge".to_owned(), SURGE_BOUNDS);
            return Err(SettingsError::SenselessPreset { preset: preset.name, key, problem });
        }
        Ok(regions)
    }

    fn check(&self) -> Result<(), SettingsError> {
        let session = &self.gateway.session;
        let has_url = !self.journal.url.is_empty();
        if self.journal.kind == JournalKind::Postgres && !has_url {
            let problem = "a journal in Postgres needs the URL of its database".to_owned();
            return Err(SettingsError::Senseless { key: "journal.url", problem });
        }
        let senseless =
            |key, problem: &str| Err(SettingsError::Senseless { key, problem: problem.to_owned() });
        self.cluster.check(self.journal.kind)?;
        self.map.check()?;
        if !self.regions.surge.is_bounded() {
            return senseless("regions.surge", SURGE_BOUNDS);
        }
        if self.roads.hour > 23 {
            return senseless("roads.hour", "0 to 23");
        }
        if session.heartbeat < Duration::from_millis(100) {
            return senseless("gateway.session.heartbeat", "at least 100ms");
        }
        if self.gateway.connections_max == 0 || self.gateway.head_within.is_zero() {
            return senseless("gateway", "without connections, or time for them, nobody comes in");
        }
        if session.queue_max < 8 || session.inflight_max == 0 || session.topics_max == 0 {
            return senseless("gateway.session", "queue_max is at least 8, the others at least 1");
        }
        let rates = [
            self.gateway.handshakes_per_s,
            self.gateway.handshakes_burst,
            self.gateway.requests_per_s,
            self.gateway.requests_burst,
            session.frames_per_s,
            session.frames_burst,
            session.commands_per_s,
            session.commands_burst,
            session.urgent_per_s,
            session.urgent_burst,
        ];
        if rates.contains(&0) {
            return senseless("gateway", "a rate of 0 would let nobody in");
        }
        if !(1..=PLANS_MAX).contains(&self.gateway.plans_max) {
            return senseless(
                "gateway.plans_max",
                "1 to 64: each takes a processor while it lasts",
            );
        }
        if !(0.1..=100.0).contains(&self.simulation.speed) {
            return senseless("simulation.speed", "from 0.1 to 100");
        }
        if !(self.estimate.detour >= 1.0 && self.estimate.speed_kmh > 0.0) {
            return senseless("estimate", "detour is at least 1, speed more than 0");
        }
        if self.auth.token_ttl_max.is_zero() || self.auth.token_ttl_max > revocation::LASTS_MAX {
            return senseless("auth.token_ttl_max", "more than nothing, and a year at most");
        }
        if self.auth.revocations_max == 0 {
            return senseless("auth.revocations_max", "with none nobody could be locked out");
        }
        if !self.cluster.is_alone() && self.auth.key_file.as_os_str().is_empty() {
            return senseless("auth.key_file", "the nodes of a cluster share a signing key");
        }
        if self.profile == Profile::Production && self.auth.key_file.as_os_str().is_empty() {
            return senseless("auth.key_file", "production needs a signing key of its own");
        }
        Ok(())
    }
}

impl PresetSettings {
    /// The choices this names.
    pub(crate) fn read(&self) -> Result<Preset, SettingsError> {
        if !self.file.as_os_str().is_empty() {
            return read_preset(&self.name, Figment::from(Toml::file_exact(&self.file)));
        }
        let (name, text) = PRESETS
            .into_iter()
            .find(|(name, _)| *name == self.name)
            .ok_or_else(|| SettingsError::NoPreset(self.name.clone()))?;
        read_preset(name, Figment::from(Toml::string(text)))
    }
}

/// Policies are also read from old journals and must ignore what they do not know; a preset must not.
fn read_preset(name: &str, figment: Figment) -> Result<Preset, SettingsError> {
    let preset: Preset = figment.extract()?;
    let (written, mut unknown): (serde_json::Value, _) = (figment.extract()?, None);
    let read: Result<Preset, _> = serde_ignored::deserialize(written, |key| {
        unknown.get_or_insert_with(|| key.to_string());
    });
    debug_assert!(read.is_ok(), "the same was read a moment ago");
    if let Some(key) = unknown {
        return Err(SettingsError::UnknownPresetKey { preset: name.to_owned(), key });
    }
    let tiers = preset.senseless_tiers().map(|key| (key, TIERS));
    let has_grace = preset.driver.gives_time_to_come();
    let grace = (!has_grace).then(|| ("driver.shift_grace_s".to_owned(), GRACE));
    let hours = preset.driver.senseless_hours().map(|key| (format!("driver.{key}"), HOURS));
    match tiers.or(grace).or(hours) {
        Some((key, problem)) => {
            let preset = name.to_owned();
            Err(SettingsError::SenselessPreset { preset, key, problem })
        }
        None => Ok(preset),
    }
}

fn preset_names() -> String {
    PRESETS.map(|(name, _)| name).join(", ")
}

impl Area {
    /// May a job start here?
    pub(crate) fn serves(&self, at: Point) -> bool {
        let is_everywhere = self.circles.is_empty() && self.boxes.is_empty();
        is_everywhere
            || self.circles.iter().any(|circle| circle.holds(at))
            || self.boxes.iter().any(|bounds| bounds.holds(at))
    }

    /// Who helps there instead, the nearest first.
    pub(crate) fn elsewhere(&self, at: Point) -> Vec<Alternative> {
        let away_m = |it: &Partner| Point { lat: it.lat, lon: it.lon }.distance_m(at);
        let mut near: Vec<&Partner> =
            self.partners.iter().filter(|it| away_m(it) <= it.radius_km * 1_000.0).collect();
        near.sort_by(|a, b| away_m(a).total_cmp(&away_m(b)));
        let told = near.into_iter().take(ALTERNATIVES_MAX);
        told.map(|it| Alternative { name: it.name.clone(), phone: it.phone.clone() }).collect()
    }
}

impl Circle {
    fn holds(self, at: Point) -> bool {
        let center = Point { lat: self.lat, lon: self.lon };
        center.distance_m(at) <= self.radius_km * 1_000.0
    }
}

impl Bounds {
    fn holds(self, at: Point) -> bool {
        (self.south..=self.north).contains(&at.lat) && (self.west..=self.east).contains(&at.lon)
    }
}

#[cfg(test)]
mod tests;
