//! What a run leaves behind: one JSON object that says all of it, can be added to another generator's, shown as a page,
//! and compared with another run's.
//!
//! Its shape is [`FORMAT`]. What is added to it later has a default, so that old records are read; what is changed or
//! taken away counts the number up.

mod holding;

pub use holding::Holding;

use crate::{
    checker::{Broken, DETAILS_MAX, Violation},
    connect,
    crowd::Audit,
    measure::{Commands, Generator, Machine, Op, Timeline, Took},
    nodes::NodeSide,
    report::Outcomes,
    scenario::{Measured, Scenario, Threshold, Verdict},
};
use protocol::Timestamp;
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, BTreeSet},
    fmt, fs, io,
    path::{Path, PathBuf},
};
use thiserror::Error;

/// Which shape a record has.
pub const FORMAT: u32 = 1;

/// Everything about a run.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct Record {
    /// Which shape this has: [`FORMAT`].
    pub format: u32,
    /// What was played.
    pub scenario: String,
    /// What that is for.
    pub about: String,
    /// What was set otherwise than it says: `fleet.drivers=500`.
    pub set: Vec<String>,
    /// What somebody else was to do meanwhile.
    pub beside: Option<String>,
    /// Which build of the load tester.
    pub version: String,
    /// When it began.
    pub began_at: Timestamp,
    /// Repeats it.
    pub seed: u64,
    /// How much quicker than life it was.
    pub speed: f64,
    /// How many generators there were.
    pub generators: u32,
    /// Where they were.
    pub machine: Machine,
    /// How long it took, in seconds.
    pub lasted_s: f64,
    /// Did somebody end it before it was over? Then this is what was until then.
    pub is_interrupted: bool,
    /// What was due from then on counted, in seconds after the beginning …
    pub counted_from_s: f64,
    /// … up to then.
    pub counted_until_s: f64,
    /// Whether what was planned was done.
    pub schedule: Schedule,
    /// What was said, and what was heard of it, while it counted.
    pub commands: Commands,
    /// How long people waited for what, while it counted, by the generator's clock.
    pub took: BTreeMap<Op, Took>,
    /// What became of jobs, the whole time.
    pub jobs: Jobs,
    /// What went over the wire, the whole time.
    pub traffic: Traffic,
    /// Sessions that were only to be there; none in a crowd.
    pub sessions: Option<Held>,
    /// What was read anew; nothing, where sessions were only to be there: of these nothing is asked that could be.
    pub audit: Audit,
    /// Broken promises.
    pub violations: u64,
    /// The first of them.
    pub violation_details: Vec<Violation>,
    /// How the generator itself was.
    pub generator: Generator,
    /// What nodes measured of themselves, by their own clocks.
    pub nodes: Vec<NodeSide>,
    /// What watched processes (`--pid`) took; none, if none was named.
    pub watched: Option<Watched>,
    /// The whole of it, slot by slot.
    pub timeline: Timeline,
    /// What happened when.
    pub events: Vec<Seen>,
    /// What was to hold, and whether it did.
    pub verdicts: Vec<Verdict>,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            format: FORMAT,
            scenario: String::new(),
            about: String::new(),
            set: Vec::new(),
            beside: None,
            version: env!("CARGO_PKG_VERSION").to_owned(),
            began_at: Timestamp(0),
            seed: 0,
            speed: 1.0,
            generators: 1,
            machine: Machine::default(),
            lasted_s: 0.0,
            is_interrupted: false,
            counted_from_s: 0.0,
            counted_until_s: 0.0,
            schedule: Schedule::default(),
            commands: Commands::default(),
            took: BTreeMap::new(),
            jobs: Jobs::default(),
            traffic: Traffic::default(),
            sessions: None,
            audit: Audit::default(),
            violations: 0,
            violation_details: Vec::new(),
            generator: Generator::default(),
            nodes: Vec::new(),
            watched: None,
            timeline: Timeline::default(),
            events: Vec::new(),
            verdicts: Vec::new(),
        }
    }
}

/// Whether what was planned was done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Schedule {
    /// Riders there were to be.
    pub planned: u64,
    /// Riders there were.
    pub started: u64,
    /// Riders who had no place when they were due.
    pub turned_away: u64,
}

/// What became of jobs.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jobs {
    /// Rides.
    pub rides: Outcomes,
    /// Deliveries, and baskets of shops.
    pub deliveries: Outcomes,
    /// Rescues.
    pub rescues: Outcomes,
}

impl Jobs {
    /// All of them.
    pub fn all(&self) -> Outcomes {
        self.rides.plus(self.deliveries).plus(self.rescues)
    }
}

/// What went over the wire.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Traffic {
    /// Drivers there were.
    pub drivers: u64,
    /// Positions said.
    pub positions: u64,
    /// Frames heard.
    pub frames: u64,
    /// Frames that could not be read or were not wanted.
    pub frames_refused: u64,
    /// Connections that were lost.
    pub lost: u64,
    /// Of these, because we wanted it: tunnels, flat batteries, cuts.
    pub cut: u64,
    /// Connections that went on where they were.
    pub resumed: u64,
}

/// Sessions that were only to be there.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Held {
    /// How many were wanted.
    pub wanted: u64,
    /// How many were there in the end.
    pub held: u64,
    /// How many ended although nobody wanted that.
    pub died: u64,
    /// How many were opened a second.
    pub opened_per_s: f64,
    /// Bytes each took on the nodes; 0 if they were not weighed.
    pub node_bytes: u64,
}

/// What some processes took while it counted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watched {
    /// How many there were.
    pub n: u64,
    /// How many processors they kept busy, in the mean.
    pub cores: f64,
    /// What they held when it began to count, in bytes of their own.
    pub bytes_before: u64,
    /// What they held when it counted no more.
    pub bytes_after: u64,
    /// The most they held at once.
    pub bytes_max: u64,
}

impl Watched {
    /// Together with those on another machine.
    #[must_use]
    fn plus(self, other: Self) -> Self {
        Self {
            n: self.n + other.n,
            cores: self.cores + other.cores,
            bytes_before: self.bytes_before + other.bytes_before,
            bytes_after: self.bytes_after + other.bytes_after,
            bytes_max: self.bytes_max + other.bytes_max,
        }
    }
}

impl fmt::Display for Watched {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mb = |bytes: u64| bytes as f64 / 1e6;
        write!(
            f,
            "{} watched: {:.2} processors in the mean; {:.0} MB of memory, in the end {:.0} MB, {:.0} MB at most",
            self.n,
            self.cores,
            mb(self.bytes_before),
            mb(self.bytes_after),
            mb(self.bytes_max)
        )
    }
}

/// Something that happened.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Seen {
    /// When, in seconds after the beginning.
    pub after_s: f64,
    /// To whom: a node, or the crowd.
    pub who: String,
    /// What.
    pub what: String,
}

/// A record that cannot be read.
#[derive(Debug, Error)]
pub enum NoRecord {
    /// The file could not be read.
    #[error("{path}: {error}")]
    Io {
        /// Which.
        path: PathBuf,
        /// Why.
        error: io::Error,
    },
    /// It holds something else.
    #[error("{path} is no record of a run: {error}")]
    Json {
        /// Which.
        path: PathBuf,
        /// Why.
        error: serde_json::Error,
    },
    /// Its shape is newer than this build.
    #[error("{path} has format {format}; this build reads up to {FORMAT}")]
    Newer {
        /// Which.
        path: PathBuf,
        /// What it says.
        format: u32,
    },
}

impl Record {
    /// Reads one from a file: the whole of it, or its last line.
    pub fn open(path: &Path) -> Result<Self, NoRecord> {
        let failed = |error| NoRecord::Io { path: path.to_owned(), error };
        let text = fs::read_to_string(path).map_err(failed)?;
        let last = text.trim_end().lines().next_back().unwrap_or_default();
        let read = serde_json::from_str(&text).or_else(|error| {
            // What `--json` printed, below what else was printed.
            serde_json::from_str::<Self>(last).map_err(|_| error)
        });
        let record: Self = read.map_err(|error| NoRecord::Json { path: path.to_owned(), error })?;
        match record.format {
            0..=FORMAT => Ok(record),
            format => Err(NoRecord::Newer { path: path.to_owned(), format }),
        }
    }

    /// As the record of this scenario: what it was for, and what holds of what it wanted.
    #[must_use]
    pub fn of(self, scenario: &Scenario) -> Self {
        let record = Self {
            scenario: scenario.name.clone(),
            about: scenario.about.clone(),
            set: scenario.set.clone(),
            beside: scenario.beside.clone(),
            machine: Machine::here(),
            ..self
        };
        let verdicts = record.judge(&scenario.thresholds);
        Self { verdicts, ..record }
    }

    /// Judges what was measured.
    pub fn judge(&self, thresholds: &[Threshold]) -> Vec<Verdict> {
        thresholds.iter().map(|it| it.judge(self.measured(it.what))).collect()
    }

    /// What was measured, in the unit thresholds have; none, if nothing was.
    pub fn measured(&self, what: Measured) -> Option<f64> {
        match what {
            Measured::Time { op, is_service, of } => {
                let took = self.took.get(&op)?;
                of.of(if is_service { &took.service } else { &took.corrected })
            }
            Measured::Inside { what, of } => {
                let sides = self.nodes.iter().filter_map(|node| node.inside.get(what));
                let all: Vec<Option<f64>> = sides.map(|it| of.inside(it)).collect();
                // If one of them cannot tell, nobody knows which is the slowest.
                all.into_iter().collect::<Option<Vec<f64>>>()?.into_iter().reduce(f64::max)
            }
            Measured::Errors => Some(self.commands.errors()),
            Measured::Completed => Some(self.jobs.all().satisfied()),
            Measured::Lost => match &self.sessions {
                Some(sessions) => Some(sessions.died as f64),
                None => Some(self.traffic.lost.saturating_sub(self.traffic.cut) as f64),
            },
            Measured::DonePerS => Some(self.done_per_s()),
            Measured::Violations => Some(self.violations as f64),
            Measured::Held => self.sessions.map(|it| it.held as f64 / it.wanted.max(1) as f64),
        }
    }

    /// How long what counted lasted, in seconds.
    pub fn counted_s(&self) -> f64 {
        (self.counted_until_s - self.counted_from_s).max(0.0)
    }

    /// Commands answered with a yes, a second, while it counted.
    pub fn done_per_s(&self) -> f64 {
        if self.counted_s() > 0.0 { self.commands.done as f64 / self.counted_s() } else { 0.0 }
    }

    /// Takes in what another generator has measured at the same time. What was to hold is to be judged anew.
    pub fn merge(&mut self, other: Self) {
        let n = f64::from(self.generators + other.generators);
        let mean = |ours: f64, theirs: f64| {
            (ours * f64::from(self.generators) + theirs * f64::from(other.generators)) / n
        };
        let (cpu, machine) = (
            mean(self.generator.cpu_share, other.generator.cpu_share),
            mean(self.generator.machine_share, other.generator.machine_share),
        );
        (self.generator.cpu_share, self.generator.machine_share) = (cpu, machine);
        self.generator.lag.merge(&other.generator.lag);
        self.generator.schedule_lag.merge(&other.generator.schedule_lag);
        let which = self.generators + 1;
        let theirs = other.generator.saturated.into_iter();
        self.generator.saturated.extend(theirs.map(|why| format!("generator {which}: {why}")));
        self.generators += other.generators;
        self.is_interrupted |= other.is_interrupted;
        self.watched = match (self.watched, other.watched) {
            (Some(ours), Some(theirs)) => Some(ours.plus(theirs)),
            (ours, theirs) => ours.or(theirs),
        };
        self.lasted_s = self.lasted_s.max(other.lasted_s);
        self.counted_from_s = self.counted_from_s.max(other.counted_from_s);
        self.counted_until_s = self.counted_until_s.max(other.counted_until_s);
        let schedule = other.schedule;
        self.schedule.planned += schedule.planned;
        self.schedule.started += schedule.started;
        self.schedule.turned_away += schedule.turned_away;
        self.commands.merge(&other.commands);
        for (op, took) in &other.took {
            self.took.entry(*op).or_default().merge(took);
        }
        self.jobs = Jobs {
            rides: self.jobs.rides.plus(other.jobs.rides),
            deliveries: self.jobs.deliveries.plus(other.jobs.deliveries),
            rescues: self.jobs.rescues.plus(other.jobs.rescues),
        };
        let traffic = other.traffic;
        self.traffic.drivers += traffic.drivers;
        self.traffic.positions += traffic.positions;
        self.traffic.frames += traffic.frames;
        self.traffic.frames_refused += traffic.frames_refused;
        self.traffic.lost += traffic.lost;
        self.traffic.cut += traffic.cut;
        self.traffic.resumed += traffic.resumed;
        self.audit.merge(&other.audit);
        self.violations += other.violations;
        self.violation_details.extend(other.violation_details);
        self.violation_details.truncate(DETAILS_MAX);
        // Everybody looks at the same nodes; who looked first is believed.
        let known: BTreeSet<String> = self.nodes.iter().map(|node| node.name.clone()).collect();
        self.nodes.extend(other.nodes.into_iter().filter(|node| !known.contains(&node.name)));
        self.timeline.merge(other.timeline);
        for seen in other.events {
            let is_known = self.events.iter().any(|it| {
                (&it.who, &it.what) == (&seen.who, &seen.what)
                    && (it.after_s - seen.after_s).abs() < 3.0
            });
            if !is_known {
                self.events.push(seen);
            }
        }
        self.events.sort_by(|a, b| a.after_s.total_cmp(&b.after_s));
    }

    /// The record of sessions that were only to be there: what came of them, and how it went.
    fn of_sessions(report: &connect::Report, timeline: Timeline, began_at: Timestamp) -> Self {
        let lasted_s = timeline.n_s as f64;
        let took = |times: &crate::measure::Times| Took {
            corrected: times.clone(),
            service: times.clone(),
        };
        let mut all = BTreeMap::from([
            (Op::Welcome, took(&report.times.welcome)),
            (Op::Beat, took(&report.times.beat)),
            (Op::Back, took(&report.times.back)),
            (Op::Other, took(&report.times.command)),
        ]);
        all.retain(|_, took| took.service.n() > 0);
        let missed = report.storm.as_ref().map_or(&[][..], |storm| &storm.pushes.missed);
        Self {
            began_at,
            lasted_s,
            counted_until_s: lasted_s,
            commands: Commands {
                wanted: report.counts.commands,
                done: report.counts.done,
                refused: BTreeMap::from([("refused".to_owned(), report.counts.commands_refused)]),
                ..Commands::default()
            },
            took: all,
            is_interrupted: report.is_interrupted,
            violations: missed.len() as u64,
            violation_details: missed.iter().take(DETAILS_MAX).map(|it| missed_push(it)).collect(),
            sessions: Some(Held {
                wanted: report.wanted,
                held: report.held,
                died: report.counts.died,
                opened_per_s: report.ramp_per_s,
                node_bytes: report.nodes.bytes_per_session,
            }),
            traffic: Traffic {
                lost: report.counts.died,
                resumed: report.counts.resumed,
                ..Traffic::default()
            },
            timeline,
            ..Self::default()
        }
    }

    /// What the process should exit with: 0 all is well, 2 something that was to hold does not, 3 a promise was broken,
    /// 4 nobody can tell, for the generator was saturated or the audit could not read everything, 130 somebody
    /// interrupted it.
    pub fn exit_code(&self) -> u8 {
        let is_kept = self.verdicts.iter().all(|verdict| verdict.is_kept);
        if self.violations > 0 || self.audit.missing > 0 {
            3
        } else if self.is_interrupted {
            130
        } else if !self.generator.saturated.is_empty() {
            4
        } else if !is_kept {
            2
        } else if self.audit.unread > 0 {
            4
        } else {
            0
        }
    }
}

/// A push that must arrive and did not.
fn missed_push(missed: &str) -> Violation {
    Violation { broken: Broken::PushMissed, detail: missed.to_owned() }
}

impl fmt::Display for Record {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}: {}", self.scenario, self.about)?;
        if !self.set.is_empty() {
            writeln!(f, "with {}", self.set.join(", "))?;
        }
        if let Some(beside) = &self.beside {
            writeln!(f, "beside it: {beside}")?;
        }
        if self.is_interrupted {
            writeln!(f, "INTERRUPTED after {:.0} s: what was until then", self.lasted_s)?;
        }
        if let Some(it) = &self.sessions {
            writeln!(
                f,
                "{} of {} sessions held, {} died; opened {:.0} a second",
                it.held, it.wanted, it.died, it.opened_per_s
            )?;
        } else {
            let kinds = [
                ("rides", self.jobs.rides),
                ("deliveries", self.jobs.deliveries),
                ("rescues", self.jobs.rescues),
            ];
            writeln!(
                f,
                "\n{:<11} {:>8} {:>9} {:>10} {:>10} {:>10} {:>7} {:>6}",
                "", "created", "assigned", "completed", "cancelled", "no driver", "failed", "open"
            )?;
            for (name, n) in kinds {
                writeln!(
                    f,
                    "{name:<11} {:>8} {:>9} {:>10} {:>10} {:>10} {:>7} {:>6}",
                    n.created, n.assigned, n.completed, n.cancelled, n.no_driver, n.failed, n.open
                )?;
            }
        }
        writeln!(
            f,
            "\n{:<33} {:>8} {:>9} {:>9} {:>9} {:>9} {:>9}   in ms, counted from when it was due (from when it was said)",
            "client side", "n", "p50", "p95", "p99", "p99.9", "max"
        )?;
        for (op, took) in &self.took {
            let (it, service) = (took.corrected.spread(), took.service.spread());
            writeln!(
                f,
                "{:<33} {:>8} {:>9.1} {:>9.1} {:>9.1} {:>9.1} {:>9.1}   (p50 {:.1}, p99 {:.1})",
                op.says(),
                it.n,
                it.p50,
                it.p95,
                it.p99,
                it.p999,
                it.max,
                service.p50,
                service.p99
            )?;
        }
        for node in &self.nodes {
            writeln!(
                f,
                "\nnode {} ({}), by its own clock, to its buckets",
                node.name, node.version
            )?;
            for (what, it) in &node.inside {
                let max = it.max.map_or_else(|| "more".to_owned(), |max| format!("{max:.1}"));
                writeln!(
                    f,
                    "  {what:<31} {:>8} {:>9.1} {:>9.1} {:>9.1} {:>9} {max:>9}   mean {:.2}",
                    it.n, it.p50, it.p95, it.p99, "", it.mean
                )?;
            }
        }
        let commands = &self.commands;
        let refused: u64 = commands.refused.values().sum();
        writeln!(
            f,
            "\n{} commands due in {:.0} s, {} done ({:.1} a second), {refused} refused, {} failed, {} never answered: {:.3} % errors",
            commands.wanted,
            self.counted_s(),
            commands.done,
            self.done_per_s(),
            commands.failed,
            commands.unanswered(),
            commands.errors() * 100.0
        )?;
        if commands.under_way > 0 {
            writeln!(f, "{} were under way when it was interrupted", commands.under_way)?;
        }
        if commands.withdrawn > 0 {
            let n = commands.withdrawn;
            writeln!(f, "{n} withdrawn: whoever wanted them had no network in the end")?;
        }
        writeln!(
            f,
            "{} put off, {} said again; {} positions; {} connections lost, {} of them by us, {} resumed",
            commands.put_off,
            commands.resent,
            self.traffic.positions,
            self.traffic.lost,
            self.traffic.cut,
            self.traffic.resumed
        )?;
        if self.sessions.is_some() {
            writeln!(f, "no audit in this kind of run; {} violations", self.violations)?;
        } else {
            let Audit { acked, jobs, confirmed, reread, missing, unread } = self.audit;
            writeln!(
                f,
                "audit: {acked} acknowledged commands, {jobs} jobs, {confirmed} read in full ({reread} of them anew), {missing} missing, {unread} unread; {} violations",
                self.violations
            )?;
        }
        for violation in self.violation_details.iter().take(20) {
            writeln!(f, "  {}: {}", violation.broken, violation.detail)?;
        }
        let generator = &self.generator;
        if self.sessions.is_some() {
            let percent = generator.machine_share * 100.0;
            writeln!(f, "the machine, generators and all, was {percent:.0} % busy")?;
        } else {
            writeln!(
                f,
                "generator: tasks {:.1} ms late (p99), schedule kept to {:.1} ms (p99), {:.0} % of its processors, the machine {:.0} % busy",
                generator.lag.spread().p99,
                generator.schedule_lag.spread().p99,
                generator.cpu_share * 100.0,
                generator.machine_share * 100.0
            )?;
        }
        if let Some(watched) = &self.watched {
            writeln!(f, "{watched}")?;
        }
        for why in &generator.saturated {
            writeln!(
                f,
                "  SATURATED: {why}: these figures say more about the generator than about a node"
            )?;
        }
        for verdict in &self.verdicts {
            let mark = if verdict.is_kept { "kept  " } else { "MISSED" };
            let measured = verdict.measured.as_deref().unwrap_or("not measured");
            writeln!(f, "{mark} {} ({measured})", verdict.threshold)?;
        }
        Ok(())
    }
}

#[cfg(test)]
pub(crate) mod tests;
