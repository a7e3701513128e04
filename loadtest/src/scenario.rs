//! What a run is to be like: a TOML file, read strictly, or one of those that are ready (`config/scenarios`).
//!
//! ```text
//!  file or name ──► text ──► tree ◄── --set fleet.drivers=500
//!                              │ every key known, every value possible, or an error that names it
//!                              ▼
//!                          Scenario ──► a crowd, or sessions
//! ```
//!
//! What happens in the city (curves, shifts, patience) is in city time, which a speed makes shorter; what is measured
//! and what networks do is in real time. Every key is explained in `config/scenarios/README.md`.

mod place;
mod text;
mod threshold;

pub use threshold::{Measured, NoThreshold, Part, Threshold, Verdict};

use crate::{
    Demand, Options, Streets,
    connect::Sessions,
    crowd::{Battery, Cut, Hand, Network, Shift},
    curve::{Curve, DAY},
    trips::{Mix, TimeOfDay, Window},
};
use place::Place;
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};
use text::{Arrivals, CurveText, StreetsText, Text};
use thiserror::Error;
use toml::{Table, Value};

/// Those that are ready: their names, and what they say.
pub const READY: [(&str, &str); 10] = [
    ("smoke", include_str!("../../config/scenarios/smoke.toml")),
    ("city-day", include_str!("../../config/scenarios/city-day.toml")),
    ("new-year-spike", include_str!("../../config/scenarios/new-year-spike.toml")),
    ("steps", include_str!("../../config/scenarios/steps.toml")),
    ("nyc-morning", include_str!("../../config/scenarios/nyc-morning.toml")),
    ("reconnect-storm", include_str!("../../config/scenarios/reconnect-storm.toml")),
    ("rolling-restart", include_str!("../../config/scenarios/rolling-restart.toml")),
    ("soak", include_str!("../../config/scenarios/soak.toml")),
    ("million-sessions", include_str!("../../config/scenarios/million-sessions.toml")),
    ("service-level", include_str!("../../config/scenarios/service-level.toml")),
];

/// What a run is to be like.
#[derive(Debug, Clone)]
pub struct Scenario {
    /// What it is called.
    pub name: String,
    /// What it is for, in a sentence.
    pub about: String,
    /// What somebody else must do meanwhile, for no crowd can.
    pub beside: Option<String>,
    /// What must hold.
    pub thresholds: Vec<Threshold>,
    /// What it does.
    pub play: Play,
    /// Everything it says, with what was set; what other generators are given.
    pub text: String,
    /// What was set: `fleet.drivers=500`.
    pub set: Vec<String>,
}

/// What a scenario does.
#[derive(Debug, Clone)]
pub enum Play {
    /// People who ask and drive.
    Crowd(Box<Options>),
    /// Sessions that are only there.
    Sessions(Sessions),
}

/// A scenario that cannot be had.
#[derive(Debug, Error)]
pub enum NoScenario {
    /// Neither a file nor a name.
    #[error("{0:?} is neither a file nor one of: {ready}", ready = names())]
    Unknown(String),
    /// The file could not be read.
    #[error("{path}: {error}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It is not TOML, or has a key or a value that nobody knows.
    #[error("{place}: {error}")]
    Text {
        /// Which file and line, or what was set.
        place: String,
        /// What is wrong, and what there may be.
        error: String,
    },
    /// A value that cannot be.
    #[error("{place}: {key} is {value}; {wanted}")]
    Value {
        /// Which file and line, or what was set.
        place: String,
        /// Which key.
        key: String,
        /// What it says.
        value: String,
        /// What it may be.
        wanted: String,
    },
    /// Something was to be set that cannot be.
    #[error("--set {0:?}: say it like fleet.drivers=500 or behaviour.tunnel=\"20s\"")]
    Set(String),
    /// Generators on several machines were to hold sessions that are only there.
    #[error(
        "{0}: sessions that are only there are held from one machine; several generators play crowds"
    )]
    NotShared(String),
}

fn names() -> String {
    READY.map(|(name, _)| name).join(", ")
}

impl Scenario {
    /// Finds it by its name or file, and sets what is to be otherwise (`fleet.drivers=500`).
    pub fn open(name: &str, set: &[String]) -> Result<Self, NoScenario> {
        let ready = READY.iter().find(|(ready, _)| *ready == name);
        let text = match ready {
            Some((_, text)) => (*text).to_owned(),
            None => {
                let path = Path::new(name);
                if !path.exists() {
                    return Err(NoScenario::Unknown(name.to_owned()));
                }
                let failed = |error| NoScenario::Io { path: path.to_owned(), error };
                fs::read_to_string(path).map_err(failed)?
            }
        };
        let scenario = Self::read(name, &text, set)?;
        let stem = Path::new(name).file_stem().and_then(|it| it.to_str()).unwrap_or(name);
        Ok(Self { name: stem.to_owned(), ..scenario })
    }

    /// What a scenario is for, also if something must be set before it can be played.
    pub fn about(name: &str, text: &str) -> Result<String, NoScenario> {
        let read: Result<Text, _> = toml::from_str(text);
        let place = Place { name, text, set: &[] };
        read.map(|it| it.about).map_err(|it| place.shape(&it))
    }

    /// Reads one, and sets what is to be otherwise. Mistakes are told by `name` and line.
    pub fn read(name: &str, text: &str, set: &[String]) -> Result<Self, NoScenario> {
        let place = Place { name, text, set };
        // As it stands, so that a mistake in it is told by its line.
        let as_it_stands: Text = toml::from_str(text).map_err(|it| place.shape(&it))?;
        let tree: Table = text.parse().map_err(|it| place.shape(&it))?;
        if set.is_empty() {
            return Check { place, tree: &tree }.all(as_it_stands, text.to_owned());
        }
        let (tree, read) = with(&tree, set)?.map_err(|error| {
            let others = |skip: usize| {
                let all = set.iter().enumerate().filter(|(n, _)| *n != skip);
                all.map(|(_, it)| it.clone()).collect::<Vec<_>>()
            };
            // Whichever it would be well without; keys that need each other may be set together.
            let is_to_blame = |n: &usize| matches!(with(&tree, &others(*n)), Ok(Ok(_)));
            let guilty = (0..set.len()).find(is_to_blame).map(|n| set[n].clone());
            let place = format!("--set {}", guilty.unwrap_or_else(|| set.join(" --set ")));
            NoScenario::Text { place, error: place::plain(error.message()) }
        })?;
        let said = toml::to_string(&tree)
            .map_err(|it| NoScenario::Text { place: name.to_owned(), error: it.to_string() })?;
        Check { place, tree: &tree }.all(read, said)
    }
}

/// A scenario in which something is set otherwise: all it says, and what that means, if it means anything.
fn with(
    tree: &Table,
    set: &[String],
) -> Result<Result<(Table, Text), toml::de::Error>, NoScenario> {
    let mut tree = tree.clone();
    set.iter().try_for_each(|it| put(&mut tree, it))?;
    Ok(Value::Table(tree.clone()).try_into().map(|text| (tree, text)))
}

/// Sets `a.b.c=value` in a tree; a value that is no TOML is taken as text.
fn put(tree: &mut Table, set: &str) -> Result<(), NoScenario> {
    let wrong = || NoScenario::Set(set.to_owned());
    let (path, value) = set.split_once('=').ok_or_else(wrong)?;
    let parsed = format!("it = {value}").parse::<Table>().ok().and_then(|mut it| it.remove("it"));
    let value = parsed.unwrap_or_else(|| Value::String(value.trim().to_owned()));
    let mut keys: Vec<&str> = path.trim().split('.').collect();
    let last = keys.pop().filter(|it| !it.is_empty()).ok_or_else(wrong)?;
    let mut at = tree;
    for key in keys {
        let next = at.entry(key).or_insert_with(|| Value::Table(Table::new()));
        at = next.as_table_mut().ok_or_else(wrong)?;
    }
    at.insert(last.to_owned(), value);
    Ok(())
}

/// Checks values, and says which is wrong.
struct Check<'a> {
    place: Place<'a>,
    /// Everything that is said.
    tree: &'a Table,
}

impl Check<'_> {
    fn wrong(&self, key: &str, value: impl ToString, wanted: impl Into<String>) -> NoScenario {
        let (place, value) = (self.place.of(key), value.to_string());
        NoScenario::Value { place, key: key.to_owned(), value, wanted: wanted.into() }
    }

    fn within(
        &self,
        key: &str,
        value: f64,
        [least, most]: [f64; 2],
        wanted: &'static str,
    ) -> Result<f64, NoScenario> {
        match (least..=most).contains(&value) {
            true => Ok(value),
            false => Err(self.wrong(key, value, wanted)),
        }
    }

    fn odds(&self, key: &str, value: f64) -> Result<f64, NoScenario> {
        self.within(key, value, [0.0, 1.0], "a share is 0 to 1")
    }

    fn rate(&self, key: &str, value: f64) -> Result<f64, NoScenario> {
        self.within(key, value, [0.0, 1e8], "a rate is 0 to 100,000,000 an hour")
    }

    fn lasting(
        &self,
        key: &str,
        value: Duration,
        least: Duration,
        wanted: &'static str,
    ) -> Result<Duration, NoScenario> {
        match value >= least {
            true => Ok(value),
            false => Err(self.wrong(key, humantime::format_duration(value), wanted)),
        }
    }

    fn all(&self, text: Text, said: String) -> Result<Scenario, NoScenario> {
        let mut thresholds = Vec::new();
        for (n, it) in text.thresholds.iter().enumerate() {
            let parsed = it.parse::<Threshold>().map_err(|NoThreshold(wanted)| {
                self.wrong(&format!("thresholds[{n}]"), format!("{it:?}"), wanted)
            })?;
            thresholds.push(parsed);
        }
        let (about, beside) = (text.about.clone(), text.beside.clone());
        let play = match &text.sessions {
            Some(sessions) => Play::Sessions(self.sessions(sessions, text.seed)?),
            None => Play::Crowd(Box::new(self.crowd(text)?)),
        };
        let (name, set) = (self.place.name.to_owned(), self.place.set.to_vec());
        Ok(Scenario { name, about, beside, thresholds, play, text: said, set })
    }

    fn sessions(&self, it: &text::SessionsText, seed: u64) -> Result<Sessions, NoScenario> {
        const ALSO: [&str; 5] = ["about", "beside", "seed", "thresholds", "sessions"];
        if let Some(key) = self.tree.keys().find(|key| !ALSO.contains(&key.as_str())) {
            let wanted = "sessions that are only there have no crowd; beside [sessions] there may be about, beside, seed and thresholds (for how long: sessions.hold)";
            return Err(self.wrong(key, "there", wanted));
        }
        self.within("sessions.n", it.n as f64, [1.0, 1e8], "1 to 100,000,000")?;
        self.within("sessions.per_s", it.per_s, [1.0, 1e6], "1 to 1,000,000 a second")?;
        self.within(
            "sessions.drivers_percent",
            it.drivers_percent.into(),
            [0.0, 100.0],
            "0 to 100",
        )?;
        let opening = Duration::from_secs_f64(it.n as f64 / it.per_s);
        self.lasting(
            "sessions.lasts",
            it.lasts,
            opening + it.hold,
            "to open all of them (n / per_s) and to hold them takes longer",
        )?;
        Ok(Sessions {
            sessions: it.n,
            per_s: it.per_s,
            hold: it.hold,
            lasting: it.lasts,
            drivers_percent: it.drivers_percent,
            on_duty: it.on_duty,
            seed,
            storm: it.storm,
            ..Sessions::default()
        })
    }

    fn crowd(&self, text: Text) -> Result<Options, NoScenario> {
        let usual = Options::default();
        self.within("speed", text.speed, [0.1, 10_000.0], "a speed is 0.1 to 10000")?;
        self.within(
            "compress",
            text.compress,
            [1.0, 1_000.0],
            "a run is compressed 1 to 1000 times",
        )?;
        let text = text.compressed();
        let Text { city, mix, behaviour, network, .. } = &text;
        let fleet = text.fleet.clone().unwrap_or_default();
        let arrivals = text.arrivals.clone().unwrap_or_else(|| Arrivals::constant(500.0));
        self.within("fleet.drivers", fleet.drivers as f64, [0.0, 1e6], "0 to 1,000,000 drivers")?;
        self.within("fleet.per_s", fleet.per_s, [0.1, 1e5], "0.1 to 100,000 drivers a second")?;
        self.within(
            "fleet.sources",
            fleet.sources.into(),
            [1.0, 250.0],
            "1 to 250 loopback addresses",
        )?;
        self.lasting("lasts", text.lasts, Duration::from_millis(1), "riders ask for a while")?;
        if text.warm_up >= text.lasts {
            let warm_up = humantime::format_duration(text.warm_up);
            return Err(self.wrong("warm_up", warm_up, "it is shorter than `lasts`"));
        }
        if let (Some(_), Some(streets)) = (&city.roads, city.streets) {
            let streets = format!("{streets:?}").to_lowercase();
            return Err(self.wrong("city.streets", streets, "`roads` says where the streets are"));
        }
        let starts_at = self.starts_at(city.starts_at, &arrivals)?;
        let starts_at_s = f64::from(starts_at.unwrap_or(TimeOfDay(8 * 3_600)).0);
        let city_s = text.lasts.as_secs_f64() * text.speed;
        let shares = [
            self.odds("mix.deliveries", mix.deliveries)?,
            self.odds("mix.rescues", mix.rescues)?,
            self.odds("mix.merchants", mix.merchants)?,
        ];
        if shares.iter().sum::<f64>() > 1.0 + 1e-9 {
            return Err(self.wrong(
                "mix",
                shares.iter().sum::<f64>(),
                "all shares together are at most 1",
            ));
        }
        if mix.merchants > 0.0 && mix.shops == 0 {
            return Err(self.wrong("mix.shops", 0, "merchants need a shop"));
        }
        self.within("mix.shops", mix.shops as f64, [0.0, 1e5], "0 to 100,000 shops")?;
        let cuts = self.cuts(&text)?;
        let shifts = self.shifts(&fleet.shifts)?;
        let position_every = self.lasting(
            "behaviour.position_every",
            behaviour.position_every,
            Duration::from_millis(100),
            "at least 100ms",
        )?;
        Ok(Options {
            seed: text.seed,
            drivers: fleet.drivers,
            speed: text.speed,
            compress: text.compress,
            lasting: text.lasts,
            warm_up: text.warm_up,
            drain: text.drain,
            streets: match (&city.roads, city.streets, arrivals.curve) {
                (Some(folder), _, _) => Streets::Folder(folder.clone()),
                (None, Some(StreetsText::None), _) | (None, _, CurveText::Replay) => Streets::None,
                (None, Some(StreetsText::Invented) | None, _) => Streets::Invented,
            },
            demand: self.demand(&arrivals, starts_at, starts_at_s, [city_s, text.compress])?,
            mix: Mix { deliveries: mix.deliveries, rescues: mix.rescues, merchants: mix.merchants },
            shops: mix.shops,
            habits: self.habits(behaviour)?,
            riders_max: fleet.riders_max,
            gather_per_s: fleet.per_s,
            position_every,
            sources: fleet.sources,
            starts_at_s,
            shifts,
            network: network.as_ref().map(|it| self.network(it)).transpose()?,
            cuts,
            audits: true,
            ..usual
        })
    }

    /// When riders begin to ask. What is replayed begins when it is replayed from.
    fn starts_at(
        &self,
        starts_at: Option<TimeOfDay>,
        arrivals: &Arrivals,
    ) -> Result<Option<TimeOfDay>, NoScenario> {
        match (starts_at, arrivals.from) {
            (Some(starts_at), Some(from)) if starts_at != from => Err(self.wrong(
                "arrivals.from",
                from,
                "it is the same moment as city.starts_at; say one of them",
            )),
            (starts_at, from) => Ok(from.or(starts_at)),
        }
    }

    fn habits(&self, behaviour: &text::Behaviour) -> Result<crate::Habits, NoScenario> {
        let mut habits = Options::default().habits;
        habits.accept = self.odds("behaviour.accept", behaviour.accept)?;
        habits.decline = self.odds("behaviour.decline", behaviour.decline)?;
        if habits.accept + habits.decline > 1.0 + 1e-9 {
            let said = format!("{} beside accept = {}", habits.decline, habits.accept);
            return Err(self.wrong("behaviour.decline", said, "together they are at most 1"));
        }
        habits.cancel = self.odds("behaviour.cancel", behaviour.cancel)?;
        habits.rate = self.odds("behaviour.rate", behaviour.rate)?;
        habits.think_s_max = behaviour.think_max.as_secs_f64();
        habits.patience_s = behaviour.patience.as_secs_f64();
        habits.duty_s = behaviour.duty.as_secs_f64();
        habits.rest_s = behaviour.rest.as_secs_f64();
        habits.drop_s = behaviour.tunnel_every.as_secs_f64();
        habits.tunnel_s = behaviour.tunnel.as_secs_f64();
        habits.gps_noise_m = self.within(
            "behaviour.gps_noise_m",
            behaviour.gps_noise_m,
            [0.0, 500.0],
            "noise is 0 to 500 metres",
        )?;
        if let Some(it) = behaviour.battery {
            let lasts = self.lasting(
                "behaviour.battery.lasts",
                it.lasts,
                Duration::from_secs(1),
                "a battery lasts a second at least",
            )?;
            habits.battery = Some(Battery {
                lasts_s: lasts.as_secs_f64(),
                recharge_s: it.recharge.as_secs_f64(),
            });
        }
        Ok(habits)
    }

    fn network(&self, it: &text::NetworkText) -> Result<Network, NoScenario> {
        let stalls = !it.stall_every.is_zero();
        if it.stall > it.stall_every || stalls && it.stall.is_zero() {
            let stall = humantime::format_duration(it.stall);
            return Err(self.wrong(
                "network.stall",
                stall,
                "nothing arrives for so long of each `stall_every`: longer than nothing, and at most all of it",
            ));
        }
        Ok(Network {
            share: self.odds("network.share", it.share)?,
            delay: it.delay,
            jitter: it.jitter,
            stall_every: it.stall_every,
            stall: it.stall,
            drop_every: it.drop_every,
            bytes_per_s: it.bytes_per_s,
        })
    }

    fn cuts(&self, text: &Text) -> Result<Vec<Cut>, NoScenario> {
        let mut cuts = Vec::new();
        for (n, it) in text.cuts.iter().enumerate() {
            let share = self.odds(&format!("cuts[{n}].share"), it.share)?;
            if it.at >= text.lasts {
                let at = humantime::format_duration(it.at);
                let wanted = "by then nobody asks any more: it is before `lasts`";
                return Err(self.wrong(&format!("cuts[{n}].at"), at, wanted));
            }
            cuts.push(Cut { after: it.at, share, dark: it.dark });
        }
        cuts.sort_by_key(|cut| cut.after);
        Ok(cuts)
    }

    fn shifts(&self, said: &[text::ShiftText]) -> Result<Vec<Shift>, NoScenario> {
        let mut shifts = Vec::new();
        for (n, it) in said.iter().enumerate() {
            let share = self.odds(&format!("fleet.shifts[{n}].share"), it.share)?;
            let (from_s, until_s) = (f64::from(it.from.0), f64::from(it.until.0));
            shifts.push(Shift { from_s, until_s, share });
        }
        if shifts.iter().map(|it| it.share).sum::<f64>() > 1.0 + 1e-9 {
            return Err(self.wrong(
                "fleet.shifts",
                "more than all drivers",
                "all shares together are at most 1",
            ));
        }
        Ok(shifts)
    }

    /// Does this curve have the keys it needs, and no other?
    fn shape(&self, arrivals: &Arrivals) -> Result<(), NoScenario> {
        let [needed, allowed] = arrivals.curve.keys();
        let keys = || needed.iter().chain(allowed).copied().collect::<Vec<_>>().join(", ");
        let curve = arrivals.curve;
        if let Some(key) = arrivals.said().find(|it| !needed.contains(it) && !allowed.contains(it))
        {
            let wanted = format!("curve = \"{curve}\" has {}", keys());
            return Err(self.wrong(&format!("arrivals.{key}"), "there", wanted));
        }
        let is_said = |key: &str| arrivals.said().any(|it| it == key);
        match needed.iter().find(|key| !is_said(key)) {
            Some(key) => {
                let wanted = format!(
                    "curve = \"{curve}\" has {}; say it, or set it: --set arrivals.{key}=…",
                    keys()
                );
                Err(self.wrong(&format!("arrivals.{key}"), "missing", wanted))
            }
            None => Ok(()),
        }
    }

    fn demand(
        &self,
        arrivals: &Arrivals,
        starts_at: Option<TimeOfDay>,
        starts_at_s: f64,
        [city_s, compress]: [f64; 2],
    ) -> Result<Demand, NoScenario> {
        self.shape(arrivals)?;
        let rate = |key: &str, per_hour: Option<f64>| {
            self.rate(&format!("arrivals.{key}"), per_hour.unwrap_or(0.0))
        };
        let per_hour = rate("per_hour", arrivals.per_hour)?;
        let curve = match arrivals.curve {
            CurveText::Constant => Curve::constant(per_hour),
            CurveText::Day => {
                let hours = self.hours(arrivals.hours.as_deref())?;
                Curve::days(per_hour, &hours, starts_at_s, city_s * compress).compressed(compress)
            }
            CurveText::Spike => {
                let times = arrivals.times.unwrap_or(1.0);
                self.within("arrivals.times", times, [0.0, 1_000.0], "0 to 1000 times")?;
                let [at_s, rise_s, hold_s, fall_s] =
                    [arrivals.at, arrivals.rise, arrivals.hold, arrivals.fall]
                        .map(|it| it.unwrap_or_default().as_secs_f64());
                if at_s >= city_s {
                    let at = humantime::format_duration(arrivals.at.unwrap_or_default());
                    let wanted = "by then nobody asks any more: it is before `lasts` times `speed`";
                    return Err(self.wrong("arrivals.at", at, wanted));
                }
                Curve::spike(per_hour, times, at_s, [rise_s, hold_s, fall_s])
            }
            CurveText::Stages => {
                let from = rate("from_per_hour", arrivals.from_per_hour)?;
                let stages = arrivals.stages.as_deref().unwrap_or_default();
                if stages.is_empty() {
                    return Err(self.wrong("arrivals.stages", "empty", "one stage at least"));
                }
                for (n, stage) in stages.iter().enumerate() {
                    self.rate(&format!("arrivals.stages[{n}].per_hour"), stage.per_hour)?;
                }
                Curve::stages(from, stages.iter().map(|it| (it.lasts.as_secs_f64(), it.per_hour)))
            }
            CurveText::Replay => {
                if compress > 1.0 {
                    let wanted = "what is replayed is made shorter by `until` and `lasts`";
                    return Err(self.wrong("compress", compress, wanted));
                }
                let sample = self.odds("arrivals.sample", arrivals.sample.unwrap_or(1.0))?;
                let window = Window { from: starts_at, until: arrivals.until, sample };
                return Ok(Demand::File {
                    path: arrivals.trips.clone().unwrap_or_default(),
                    window,
                });
            }
        };
        Ok(Demand::Curve { curve, pacing: arrivals.pacing.unwrap_or_default() })
    }

    fn hours(&self, said: Option<&[f64]>) -> Result<[f64; 24], NoScenario> {
        let Some(said) = said else { return Ok(DAY) };
        let hours: [f64; 24] = said.try_into().map_err(|_| {
            self.wrong("arrivals.hours", format!("{} numbers", said.len()), "a day has 24")
        })?;
        for (n, hour) in hours.iter().enumerate() {
            self.rate(&format!("arrivals.hours[{n}]"), *hour)?;
        }
        Ok(hours)
    }
}

impl Scenario {
    /// The part of a crowd that the `n`th of so many generators plays: its share of everybody, in a town of its own.
    ///
    /// # Errors
    /// If sessions are only to be there: `connect` shares those out among processes by itself.
    pub fn hand(mut self, hand: Hand) -> Result<Self, NoScenario> {
        match &mut self.play {
            Play::Crowd(options) => {
                options.hand = hand;
                Ok(self)
            }
            Play::Sessions(_) => Err(NoScenario::NotShared(self.name)),
        }
    }
}

#[cfg(test)]
mod tests;
