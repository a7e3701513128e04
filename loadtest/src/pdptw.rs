//! Routes known in advance, planned against the clock: instances of the pickup and delivery problem with time windows in
//! the format of Li and Lim (2001), compared with the best solutions anybody has published.
//!
//! The clock is the processor time of the one thread that plans, so that a figure says the same on a busy machine.

use crate::{
    cpu::CpuTime,
    table::{Table, TableError, number},
};
use planning::routes::{Problem, RouteFault, Routes, Site, plan};
use serde::Serialize;
use std::{fmt, fs, path::Path};
use thiserror::Error;

/// An instance that cannot be read.
#[derive(Debug, Error)]
pub enum NoInstance {
    /// The file could not be read.
    #[error("{path}: {error}")]
    Io {
        /// Which.
        path: String,
        /// Why.
        error: std::io::Error,
    },
    /// A line is not what the format says.
    #[error("{path}, line {line}: expected {wanted}")]
    Line {
        /// Which file.
        path: String,
        /// Which, from 1.
        line: usize,
        /// What should stand there.
        wanted: &'static str,
    },
}

/// The best that was published for an instance: fewer vehicles first, then less distance.
#[derive(Debug, Clone, PartialEq)]
pub struct BestKnown {
    /// Which instance.
    pub instance: String,
    /// How many tasks it has, by its name.
    pub tasks: usize,
    /// With how many vehicles.
    pub vehicles: usize,
    /// How far they drive.
    pub distance: f64,
}

impl BestKnown {
    /// Reads a table of them: `instance,clients,vehicles,distance`.
    ///
    /// # Errors
    /// If there is none, or it holds something else.
    pub fn read(path: &Path) -> Result<Vec<Self>, TableError> {
        let rows = Table::open(path)?.rows(["instance", "clients", "vehicles", "distance"])?;
        rows.map(|row| {
            let [instance, tasks, vehicles, distance] = row?;
            let (tasks, vehicles) = (number(&tasks)? as usize, number(&vehicles)? as usize);
            Ok(Self { instance, tasks, vehicles, distance: number(&distance)? })
        })
        .collect()
    }
}

/// Reads an instance: vehicles, capacity and speed, then a line per site, the depot first: number, x, y, demand, opens,
/// closes, service, and the numbers of where what is brought here is fetched and where what is fetched here is brought.
///
/// # Errors
/// If the file cannot be read, or is not of that format.
pub fn read(path: &Path) -> Result<Problem, NoInstance> {
    let name = path.display().to_string();
    let text = fs::read_to_string(path);
    let text = text.map_err(|error| NoInstance::Io { path: name.clone(), error })?;
    parse(&text).map_err(|(line, wanted)| NoInstance::Line { path: name, line, wanted })
}

/// As [`read`], from text; the number of the line that is wrong, and what it should be.
fn parse(text: &str) -> Result<Problem, (usize, &'static str)> {
    let mut lines = text.lines().enumerate().filter(|(_, it)| !it.trim().is_empty());
    let wrong = |at: usize, wanted| move || (at + 1, wanted);
    let numbers = |at: usize, line: &str| -> Result<Vec<f64>, (usize, &'static str)> {
        let parsed =
            line.split_whitespace().map(|it| it.parse().ok().filter(|it: &f64| it.is_finite()));
        parsed.collect::<Option<_>>().ok_or_else(wrong(at, "numbers"))
    };
    let (at, head) = lines.next().ok_or((1, "vehicles, capacity and speed"))?;
    let head = numbers(at, head)?;
    let [vehicles, capacity, _speed] = head[..] else {
        return Err(wrong(at, "vehicles, capacity and speed")());
    };
    let (mut sites, mut goes_to, mut comes_from) = (Vec::new(), Vec::new(), Vec::new());
    for (at, line) in lines {
        let row = numbers(at, line)?;
        let [id, x, y, demand, opens, closes, service, from, to] = row[..] else {
            return Err(wrong(at, "nine numbers")());
        };
        if id as usize != sites.len() {
            return Err(wrong(at, "sites numbered from 0")());
        }
        sites.push(Site { x, y, demand: demand as i64, opens, closes, service });
        goes_to.push((at, to as usize));
        comes_from.push(from as usize);
    }
    if sites.is_empty() {
        return Err((2, "a depot"));
    }
    let mut pairs = Vec::new();
    for (from, (at, to)) in goes_to.into_iter().enumerate().skip(1) {
        if to != 0 {
            let answers = comes_from.get(to) == Some(&from);
            if !answers || sites[from].demand + sites[to].demand != 0 {
                return Err(wrong(at, "a pickup and its delivery")());
            }
            pairs.push((from, to));
        } else if comes_from[from] == 0 {
            return Err(wrong(at, "a pickup or a delivery")());
        }
    }
    Ok(Problem { sites, pairs, capacity: capacity as i64, vehicles: vehicles as usize })
}

/// What was found for an instance.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Routed {
    /// Which.
    pub instance: String,
    /// With how many vehicles.
    pub vehicles: usize,
    /// With how many at best, as far as is known.
    pub vehicles_best_known: usize,
    /// How far they drive.
    pub distance: f64,
    /// How far at best, as far as is known.
    pub distance_best_known: f64,
    /// Processor time, in seconds.
    pub cpu_s: f64,
    /// The first rule the routes break.
    pub broken: Option<String>,
}

impl Routed {
    fn is_best_vehicles(&self) -> bool {
        self.broken.is_none() && self.vehicles <= self.vehicles_best_known
    }

    /// As good as the best known, within a thousandth of the distance.
    fn is_best(&self) -> bool {
        self.is_best_vehicles()
            && (self.vehicles < self.vehicles_best_known
                || self.distance <= self.distance_best_known * 1.001)
    }
}

impl fmt::Display for Routed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "{:<8} {:>3} of {:>3} vehicles {} {:>10.2} of {:>10.2} ({:+.2} %) {:>5.1}s",
            self.instance,
            self.vehicles,
            self.vehicles_best_known,
            if self.is_best_vehicles() { ' ' } else { '!' },
            self.distance,
            self.distance_best_known,
            100.0 * (self.distance / self.distance_best_known - 1.0),
            self.cpu_s
        )?;
        match &self.broken {
            Some(fault) => write!(f, "  INFEASIBLE: {fault}"),
            None => Ok(()),
        }
    }
}

/// All of them.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Report {
    /// One by one.
    pub instances: Vec<Routed>,
    /// How many keep all rules.
    pub feasible: usize,
    /// How many need no more vehicles than the best known.
    pub vehicles_best_known: usize,
    /// How many are as good as the best known, within a thousandth of the distance.
    pub all_best_known: usize,
    /// Distance compared with the best known, over those with as many vehicles, in per cent.
    pub gap_mean_percent: f64,
}

impl Report {
    /// Sums up.
    #[must_use]
    pub fn of(instances: Vec<Routed>) -> Self {
        let count = |is: fn(&Routed) -> bool| instances.iter().filter(|it| is(it)).count();
        let gaps: Vec<f64> = instances
            .iter()
            .filter(|it| it.vehicles == it.vehicles_best_known)
            .map(|it| 100.0 * (it.distance / it.distance_best_known - 1.0))
            .collect();
        Self {
            feasible: count(|it| it.broken.is_none()),
            vehicles_best_known: count(Routed::is_best_vehicles),
            all_best_known: count(Routed::is_best),
            gap_mean_percent: gaps.iter().sum::<f64>() / gaps.len().max(1) as f64,
            instances,
        }
    }

    /// What the process should exit with: 3 if routes break a rule.
    #[must_use]
    pub fn exit_code(&self) -> u8 {
        if self.feasible == self.instances.len() { 0 } else { 3 }
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for it in &self.instances {
            writeln!(f, "{it}")?;
        }
        let n = self.instances.len();
        write!(
            f,
            "{} of {n} feasible; best-known vehicles on {}, and within 0.1 % of best-known distance on {}; \
             distance {:+.2} % where vehicles are equal",
            self.feasible, self.vehicles_best_known, self.all_best_known, self.gap_mean_percent
        )
    }
}

/// Plans for `seconds` of processor time, and checks what comes out.
#[must_use]
pub fn route(problem: &Problem, best: &BestKnown, seconds: f64, seed: u64) -> Routed {
    let started = CpuTime::now();
    let routes = plan(problem, seed, || started.elapsed_s() / seconds.max(1e-3));
    let cpu_s = started.elapsed_s();
    let routes: Routes = routes.unwrap_or_default();
    let checked: Result<f64, RouteFault> = problem.check(&routes);
    Routed {
        instance: best.instance.clone(),
        vehicles: routes.len(),
        vehicles_best_known: best.vehicles,
        distance: checked.unwrap_or_default(),
        distance_best_known: best.distance,
        cpu_s,
        broken: checked.err().map(|it| it.to_string()),
    }
}

#[cfg(test)]
mod tests;
