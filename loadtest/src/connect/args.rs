//! Which sessions are to be there, as one says it on a command line.

use super::{Plan, Storm};
use clap::Args;
use std::{net::SocketAddr, path::PathBuf, time::Duration};

/// How many sessions, and for how long.
#[derive(Debug, Clone, Args)]
pub struct Sessions {
    /// How many sessions.
    #[arg(long, default_value_t = 10_000)]
    pub sessions: u64,
    /// How many are opened a second.
    #[arg(long, default_value_t = 1_000.0)]
    pub per_s: f64,
    /// How long everybody is left alone before what they cost is measured: a minute, for those who are at rest.
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    pub settle: Duration,
    /// How long all of them are held after that.
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration)]
    pub hold: Duration,
    /// Let phones begin and say something at multiples of this only: a process that is woken for one then does what many want. Where
    /// many share few cores, waking them takes most of what there is; but what nodes then spend is less than on phones that keep no
    /// step.
    #[arg(long, value_parser = humantime::parse_duration)]
    pub in_step: Option<Duration>,
    /// The longest that opening, holding and the storm may take.
    #[arg(long = "for", default_value = "40m", value_parser = humantime::parse_duration)]
    pub lasting: Duration,
    /// How many of a hundred are drivers; the others are riders.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u8).range(0..=100))]
    pub drivers_percent: u8,
    /// Let drivers start to work, so that their actors stay awake.
    #[arg(long)]
    pub on_duty: bool,
    /// Repeats a crowd: the same people.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Then cut all off at once, and wait until they are back.
    #[arg(long)]
    pub storm: bool,
    /// Drivers among them who are told what they do not acknowledge.
    #[arg(long, default_value_t = 200)]
    pub holders: u32,
    /// Drivers who are not cut off.
    #[arg(long, default_value_t = 100)]
    pub askers: u32,
    /// How many commands those say a second, together.
    #[arg(long, default_value_t = 50)]
    pub asks_per_s: u32,
    /// How long coming back may take.
    #[arg(long, default_value = "30s", value_parser = humantime::parse_duration)]
    pub within: Duration,
    /// How long 99 of 100 commands of those who are not cut off may take at most from the cut until all are back, for it to be
    /// sound; however long, if nobody says. On a machine that does other things, too, this says little of nodes.
    #[arg(long, value_parser = humantime::parse_duration)]
    pub others_p99: Option<Duration>,
}

impl Default for Sessions {
    fn default() -> Self {
        Self {
            sessions: 10_000,
            per_s: 1_000.0,
            settle: Duration::from_secs(5),
            hold: Duration::from_secs(60),
            in_step: None,
            lasting: Duration::from_secs(40 * 60),
            drivers_percent: 10,
            on_duty: false,
            seed: 1,
            storm: false,
            holders: 200,
            askers: 100,
            asks_per_s: 50,
            within: Duration::from_secs(30),
            others_p99: None,
        }
    }
}

impl Sessions {
    /// What is to be done at these nodes, whose key this is. No processes are weighed, unless they are added.
    pub fn plan(self, at: Vec<SocketAddr>, key: PathBuf) -> Plan {
        let Self { holders, askers, asks_per_s, within, others_p99, .. } = self;
        let storm = Storm { holders, askers, asks_per_s, within, others_p99 };
        Plan {
            sessions: self.sessions,
            at,
            key,
            seed: self.seed,
            drivers_percent: self.drivers_percent,
            on_duty: self.on_duty,
            per_s: self.per_s,
            settle: self.settle,
            hold: self.hold,
            in_step: self.in_step.unwrap_or_default(),
            lasting: self.lasting,
            storm: self.storm.then_some(storm),
            pids: Vec::new(),
            owners: Vec::new(),
        }
    }
}
