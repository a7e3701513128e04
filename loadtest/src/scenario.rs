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

mod text;
mod threshold;

pub use threshold::{Measured, NoThreshold, Part, Threshold, Verdict};

use crate::{
    Demand, Options, Streets,
    connect::Sessions,
    crowd::{Battery, Cut, Hand, Network, Shift},
    curve::{Curve, DAY},
    trips::{Mix, Window},
};
use std::{
    fs, io,
    path::{Path, PathBuf},
    time::Duration,
};
use text::{Arrivals, StreetsText, Text};
use thiserror::Error;
use toml::{Table, Value};

/// Those that are ready: their names, and what they say.
pub const READY: [(&str, &str); 7] = [
    ("smoke", include_str!("../../config/scenarios/smoke.toml")),
    ("city-day", include_str!("../../config/scenarios/city-day.toml")),
    ("new-year-spike", include_str!("../../config/scenarios/new-year-spike.toml")),
    ("reconnect-storm", include_str!("../../config/scenarios/reconnect-storm.toml")),
    ("rolling-restart", include_str!("../../config/scenarios/rolling-restart.toml")),
    ("soak", include_str!("../../config/scenarios/soak.toml")),
    ("million-sessions", include_str!("../../config/scenarios/million-sessions.toml")),
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
    #[error("{name}: {error}")]
    Text {
        /// Which.
        name: String,
        /// What is wrong, and where.
        error: String,
    },
    /// A value that cannot be.
    #[error("{name}: {key} is {value}; {wanted}")]
    Value {
        /// Which scenario.
        name: String,
        /// Which key.
        key: String,
        /// What it says.
        value: String,
        /// What it may be.
        wanted: &'static str,
    },
    /// Something was to be set that cannot be.
    #[error("--set {0:?}: say it like fleet.drivers=500 or behaviour.tunnel=\"20s\"")]
    Set(String),
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
        let stem = Path::new(name).file_stem().and_then(|it| it.to_str()).unwrap_or(name);
        Self::read(stem, &text, set)
    }

    /// Reads one, and sets what is to be otherwise.
    pub fn read(name: &str, text: &str, set: &[String]) -> Result<Self, NoScenario> {
        let wrong = |error: String| NoScenario::Text { name: name.to_owned(), error };
        let text = match set {
            // As it stands, so that an error shows its line.
            [] => text.to_owned(),
            set => {
                let mut tree: Table =
                    text.parse().map_err(|it: toml::de::Error| wrong(it.to_string()))?;
                set.iter().try_for_each(|it| put(&mut tree, it))?;
                toml::to_string(&tree).map_err(|it| wrong(it.to_string()))?
            }
        };
        let read: Text =
            toml::from_str(&text).map_err(|it| wrong(it.to_string().trim_end().to_owned()))?;
        let check = Check { name };
        check.all(read, text)
    }
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
    name: &'a str,
}

impl Check<'_> {
    fn wrong(&self, key: &str, value: impl ToString, wanted: &'static str) -> NoScenario {
        let (name, key, value) = (self.name.to_owned(), key.to_owned(), value.to_string());
        NoScenario::Value { name, key, value, wanted }
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
            Some(sessions) => {
                let is_crowd = text.fleet.is_some() || text.arrivals.is_some();
                if is_crowd {
                    return Err(self.wrong(
                        "sessions",
                        "there",
                        "a crowd (fleet, arrivals) is another scenario",
                    ));
                }
                Play::Sessions(self.sessions(sessions, text.seed)?)
            }
            None => Play::Crowd(Box::new(self.crowd(text)?)),
        };
        Ok(Scenario { name: self.name.to_owned(), about, beside, thresholds, play, text: said })
    }

    fn sessions(&self, it: &text::SessionsText, seed: u64) -> Result<Sessions, NoScenario> {
        self.within("sessions.n", it.n as f64, [1.0, 1e8], "1 to 100,000,000")?;
        self.within("sessions.per_s", it.per_s, [1.0, 1e6], "1 to 1,000,000 a second")?;
        self.within(
            "sessions.drivers_percent",
            it.drivers_percent.into(),
            [0.0, 100.0],
            "0 to 100",
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
        let Text { city, mix, behaviour, network, .. } = &text;
        let fleet = text.fleet.clone().unwrap_or_default();
        let arrivals = text.arrivals.clone().unwrap_or_default();
        self.within("speed", text.speed, [0.1, 10_000.0], "a speed is 0.1 to 10000")?;
        self.within("fleet.per_s", fleet.per_s, [0.1, 1e5], "0.1 to 100,000 drivers a second")?;
        if text.warm_up >= text.lasts {
            let warm_up = humantime::format_duration(text.warm_up);
            return Err(self.wrong("warm_up", warm_up, "it is shorter than `lasts`"));
        }
        let starts_at_s = f64::from(city.starts_at.0);
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
        let mut habits = usual.habits;
        habits.accept = self.odds("behaviour.accept", behaviour.accept)?;
        habits.decline = self.odds("behaviour.decline", behaviour.decline)?;
        if habits.accept + habits.decline > 1.0 + 1e-9 {
            let both = habits.accept + habits.decline;
            return Err(self.wrong(
                "behaviour.accept + decline",
                both,
                "together they are at most 1",
            ));
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
        habits.battery = behaviour.battery.map(|it| Battery {
            lasts_s: it.lasts.as_secs_f64().max(60.0),
            recharge_s: it.recharge.as_secs_f64(),
        });
        let network = network.as_ref().map(|it| {
            self.odds("network.share", it.share).map(|share| Network {
                share,
                delay: it.delay,
                jitter: it.jitter,
                stall_every: it.stall_every,
                stall: it.stall,
            })
        });
        let mut cuts = Vec::new();
        for (n, it) in text.cuts.iter().enumerate() {
            let share = self.odds(&format!("cuts[{n}].share"), it.share)?;
            cuts.push(Cut { after: it.at, share, dark: it.dark });
        }
        cuts.sort_by_key(|cut| cut.after);
        let mut shifts = Vec::new();
        for (n, it) in fleet.shifts.iter().enumerate() {
            let share = self.odds(&format!("fleet.shifts[{n}].share"), it.share)?;
            shifts.push(Shift {
                from_s: f64::from(it.from.0),
                until_s: f64::from(it.until.0),
                share,
            });
        }
        if shifts.iter().map(|it| it.share).sum::<f64>() > 1.0 + 1e-9 {
            return Err(self.wrong(
                "fleet.shifts",
                "more than all drivers",
                "all shares together are at most 1",
            ));
        }
        let position_every = behaviour.position_every;
        if position_every < Duration::from_millis(100) {
            let every = humantime::format_duration(position_every);
            return Err(self.wrong("behaviour.position_every", every, "at least 100ms"));
        }
        Ok(Options {
            seed: text.seed,
            drivers: fleet.drivers,
            speed: text.speed,
            lasting: text.lasts,
            warm_up: text.warm_up,
            drain: text.drain,
            streets: match (&city.roads, city.streets, &arrivals) {
                (Some(folder), _, _) => Streets::Folder(folder.clone()),
                (None, StreetsText::None, _) | (None, _, Arrivals::Replay { .. }) => Streets::None,
                (None, StreetsText::Invented, _) => Streets::Invented,
            },
            demand: self.demand(&arrivals, starts_at_s, city_s)?,
            mix: Mix { deliveries: mix.deliveries, rescues: mix.rescues, merchants: mix.merchants },
            shops: mix.shops,
            habits,
            riders_max: fleet.riders_max,
            gather_per_s: fleet.per_s,
            position_every,
            sources: fleet.sources.max(1),
            starts_at_s,
            shifts,
            network: network.transpose()?,
            cuts,
            audits: true,
            ..usual
        })
    }

    fn demand(
        &self,
        arrivals: &Arrivals,
        starts_at_s: f64,
        city_s: f64,
    ) -> Result<Demand, NoScenario> {
        let rate = |per_hour: f64| self.rate("arrivals.per_hour", per_hour);
        Ok(match arrivals {
            Arrivals::Constant { per_hour, pacing } => {
                Demand::Curve { curve: Curve::constant(rate(*per_hour)?), pacing: *pacing }
            }
            Arrivals::Day { per_hour, hours, pacing } => {
                let hours: [f64; 24] = match hours {
                    None => DAY,
                    Some(hours) => hours.as_slice().try_into().map_err(|_| {
                        self.wrong(
                            "arrivals.hours",
                            format!("{} numbers", hours.len()),
                            "a day has 24",
                        )
                    })?,
                };
                for (n, hour) in hours.iter().enumerate() {
                    self.rate(&format!("arrivals.hours[{n}]"), *hour)?;
                }
                let curve = Curve::days(rate(*per_hour)?, &hours, starts_at_s, city_s);
                Demand::Curve { curve, pacing: *pacing }
            }
            Arrivals::Spike { per_hour, times, at, rise, hold, fall, pacing } => {
                self.within("arrivals.times", *times, [0.0, 1_000.0], "0 to 1000 times")?;
                let lasting = [rise, hold, fall].map(Duration::as_secs_f64);
                let curve = Curve::spike(rate(*per_hour)?, *times, at.as_secs_f64(), lasting);
                Demand::Curve { curve, pacing: *pacing }
            }
            Arrivals::Stages { from_per_hour, stages, pacing } => {
                self.rate("arrivals.from_per_hour", *from_per_hour)?;
                for (n, stage) in stages.iter().enumerate() {
                    self.rate(&format!("arrivals.stages[{n}].per_hour"), stage.per_hour)?;
                }
                let stages = stages.iter().map(|it| (it.lasts.as_secs_f64(), it.per_hour));
                Demand::Curve { curve: Curve::stages(*from_per_hour, stages), pacing: *pacing }
            }
            Arrivals::Replay { trips, from, until, sample } => {
                let window = Window {
                    from: *from,
                    until: *until,
                    sample: self.odds("arrivals.sample", *sample)?,
                };
                Demand::File { path: trips.clone(), window }
            }
        })
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
            Play::Sessions(_) => Err(NoScenario::Value {
                name: self.name,
                key: "sessions".to_owned(),
                value: "there".to_owned(),
                wanted: "generators on several machines play crowds only",
            }),
        }
    }
}

#[cfg(test)]
mod tests;
