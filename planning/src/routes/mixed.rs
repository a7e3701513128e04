//! Routes for vehicles that differ: each begins and ends where and when it likes, holds what it holds, and can do what it
//! can. What fits into none of them is left out, and it is said why.
//!
//! ```text
//! jobs, vehicles, ways ──┬► search (strings out and back, under annealing) ─┬► Plan ──► schedule: what is done when
//!                        └► few (everything, where jobs are few) ───────────┘
//! ```
//!
//! As many jobs are served as can be, then at as little cost as can be: all that is driven, and something for each vehicle
//! that is used at all. What [`Problem::schedule`] and [`Problem::check`] say shares nothing with how routes are found.

mod few;
mod route;
mod search;

use super::TOLERANCE;
use std::{error::Error, fmt};

/// Where something is done, and when.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Stop {
    /// Which place of the table of ways.
    pub place: u32,
    /// It begins no sooner than this; who comes sooner waits. May be minus infinity.
    pub opens: f64,
    /// And no later than this. May be infinite.
    pub closes: f64,
    /// How long it takes.
    pub service: f64,
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Task {
    /// Something at one place; nothing is moved.
    Visit(Stop),
    /// Something is fetched, and stays on board to the end.
    Fetch(Stop),
    /// Something is on board from the start, and brought there.
    Bring(Stop),
    /// Something is fetched at one place and brought to another, by the same vehicle.
    Carry {
        /// Where it is fetched.
        from: Stop,
        /// Where it is brought to.
        to: Stop,
    },
}

/// One job.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Job {
    /// What is to be done.
    pub task: Task,
    /// How much of a vehicle it takes while it is on board.
    pub size: u32,
    /// What a vehicle must be able to do, a bit each.
    pub skills: u64,
}

/// One vehicle.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Vehicle {
    /// Where it begins.
    pub start: u32,
    /// Where it must end; none: wherever its last job is.
    pub end: Option<u32>,
    /// How much it holds.
    pub capacity: u32,
    /// It leaves no sooner than this.
    pub from: f64,
    /// And has ended by this; never infinite.
    pub until: f64,
    /// What it can do, a bit each.
    pub skills: u64,
    /// Which of the tables says how long its ways take.
    pub ways: usize,
}

/// How long it takes from each place to each other one.
#[derive(Debug, Clone, PartialEq)]
pub struct Ways {
    n_places: usize,
    /// By where they begin, then by where they end.
    times: Vec<f32>,
}

impl Ways {
    /// What `time` says of each pair of so many places; never negative, in the caller's unit, and infinite where no way leads.
    #[must_use]
    pub fn new(n_places: u32, time: impl Fn(u32, u32) -> f64) -> Self {
        let from = |from: u32| (0..n_places).map(move |to| (from, to));
        let times = (0..n_places).flat_map(from).map(|(from, to)| time(from, to) as f32).collect();
        Self { n_places: n_places as usize, times }
    }

    /// From one place to another.
    #[must_use]
    pub fn time(&self, from: u32, to: u32) -> f64 {
        f64::from(self.times[from as usize * self.n_places + to as usize])
    }
}

/// Who is to do what.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// What is to be done.
    pub jobs: Vec<Job>,
    /// By whom.
    pub vehicles: Vec<Vehicle>,
    /// Tables of ways over the same places, such as one for each kind of vehicle.
    pub ways: Vec<Ways>,
    /// What a vehicle that is used costs, in time that is driven.
    pub vehicle_cost: f64,
}

/// One stop of a job.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Errand {
    /// Which job.
    pub job: usize,
    /// Is it where something is brought that was fetched on the way, rather than the first or only stop?
    pub is_second: bool,
}

/// Why a job is left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// No vehicle can do what it asks.
    Skills,
    /// It is larger than each vehicle that can.
    Size,
    /// Each of those is too late for it, or has no time, even with nothing else to do.
    Times,
    /// It could be served alone; beside the others no place was found.
    Room,
    /// Nobody looked for a place: the time to search was over before it was its turn.
    Search,
}

/// Who does what.
#[derive(Debug, Clone, PartialEq)]
pub struct Plan {
    /// Per vehicle, what it does, in order; nothing, if it is not used.
    pub routes: Vec<Vec<Errand>>,
    /// What nobody does, in the order of the jobs.
    pub left_out: Vec<(usize, Why)>,
    /// What it costs, in time that is driven.
    pub cost: f64,
    /// How many times something was taken out and put back.
    pub rounds: u64,
}

/// When one errand is done.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Moment {
    /// How long it is driven there from the errand before, or from the start.
    pub driven: f64,
    /// When the vehicle is there.
    pub arrives: f64,
    /// When it begins: not before it opens.
    pub begins: f64,
    /// When the vehicle goes on.
    pub leaves: f64,
    /// What is on board then.
    pub load: u64,
}

/// When one vehicle does what.
#[derive(Debug, Clone, PartialEq)]
pub struct Schedule {
    /// When it leaves: not so soon that it would wait at its first errand.
    pub leaves: f64,
    /// What is on board when it does.
    pub load: u64,
    /// Each errand, in order.
    pub moments: Vec<Moment>,
    /// How long it is driven from the last errand to where the vehicle ends.
    pub home: f64,
    /// When it has ended.
    pub ends: f64,
    /// How long it drives in all.
    pub driven: f64,
}

/// What is wrong with a route.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// There is no such vehicle.
    NoVehicle {
        /// Which.
        vehicle: usize,
    },
    /// There is no such job, or it has no such stop.
    NoStop {
        /// Which.
        job: usize,
    },
    /// The same errand is done twice, or a job by two vehicles.
    Twice {
        /// Which job.
        job: usize,
    },
    /// It is brought before it is fetched, or never.
    Precedence {
        /// Which job.
        job: usize,
    },
    /// The vehicle cannot do it.
    Skills {
        /// Which job.
        job: usize,
    },
    /// Too much is on board.
    Capacity {
        /// From which job on.
        job: usize,
    },
    /// It is reached after it closes.
    Late {
        /// Which job.
        job: usize,
    },
    /// The vehicle has not ended when it should.
    Overtime {
        /// Which.
        vehicle: usize,
    },
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoVehicle { vehicle } => write!(f, "there is no vehicle {vehicle}"),
            Self::NoStop { job } => write!(f, "job {job} has no such stop"),
            Self::Twice { job } => write!(f, "job {job} is done twice"),
            Self::Precedence { job } => write!(f, "job {job} is not fetched and then brought"),
            Self::Skills { job } => write!(f, "the vehicle cannot do job {job}"),
            Self::Capacity { job } => write!(f, "too much is on board with job {job}"),
            Self::Late { job } => write!(f, "job {job} is reached after it closes"),
            Self::Overtime { vehicle } => write!(f, "vehicle {vehicle} has not ended in time"),
        }
    }
}

impl Error for Fault {}

impl Problem {
    /// When a vehicle does these errands, in this order, if it can.
    ///
    /// # Errors
    /// The first [`Fault`] found.
    pub fn schedule(&self, vehicle: usize, errands: &[Errand]) -> Result<Schedule, Fault> {
        let it = self.vehicles.get(vehicle).ok_or(Fault::NoVehicle { vehicle })?;
        let ways = &self.ways[it.ways];
        let mut load = 0;
        for Errand { job, .. } in errands {
            let asked = self.jobs.get(*job).ok_or(Fault::NoStop { job: *job })?;
            if let Task::Bring(_) = asked.task {
                load += i64::from(asked.size);
                if load > i64::from(it.capacity) {
                    return Err(Fault::Capacity { job: *job });
                }
            }
        }
        let load_at_first = load;
        let mut aboard: Vec<usize> = Vec::new();
        let (mut place, mut time, mut driven) = (it.start, it.from, 0.0);
        let mut moments: Vec<Moment> = Vec::with_capacity(errands.len());
        for (position, errand) in errands.iter().enumerate() {
            let job = errand.job;
            if errands[..position].contains(errand) {
                return Err(Fault::Twice { job });
            }
            let Job { task, size, skills } = self.jobs[job];
            if skills & !it.skills != 0 {
                return Err(Fault::Skills { job });
            }
            let size = i64::from(size);
            let (stop, more) = match (task, errand.is_second) {
                (Task::Visit(stop), false) => (stop, 0),
                (Task::Fetch(stop), false) => (stop, size),
                (Task::Bring(stop), false) => (stop, -size),
                (Task::Carry { from, .. }, false) => {
                    aboard.push(job);
                    (from, size)
                }
                (Task::Carry { to, .. }, true) => {
                    let at = aboard.iter().position(|it| *it == job);
                    aboard.swap_remove(at.ok_or(Fault::Precedence { job })?);
                    (to, -size)
                }
                (Task::Visit(_) | Task::Fetch(_) | Task::Bring(_), true) => {
                    return Err(Fault::NoStop { job });
                }
            };
            let way = ways.time(place, stop.place);
            let arrives = time + way;
            let begins = arrives.max(stop.opens);
            if begins > stop.closes + TOLERANCE {
                return Err(Fault::Late { job });
            }
            load += more;
            if load > i64::from(it.capacity) {
                return Err(Fault::Capacity { job });
            }
            // Whoever would wait at the first stop leaves later instead.
            let arrives = if position == 0 { begins } else { arrives };
            (place, time, driven) = (stop.place, begins + stop.service, driven + way);
            let load = load.unsigned_abs();
            moments.push(Moment { driven: way, arrives, begins, leaves: time, load });
        }
        if let Some(job) = aboard.first() {
            return Err(Fault::Precedence { job: *job });
        }
        let home = match (it.end, moments.is_empty()) {
            (Some(end), false) => ways.time(place, end),
            (Some(_) | None, _) => 0.0,
        };
        let ends = time + home;
        if !moments.is_empty() && ends > it.until + TOLERANCE {
            return Err(Fault::Overtime { vehicle });
        }
        let leaves = moments.first().map_or(it.from, |first| first.arrives - first.driven);
        let load = load_at_first.unsigned_abs();
        Ok(Schedule { leaves, load, moments, home, ends, driven: driven + home })
    }

    /// What routes cost, in time that is driven, if they keep every rule.
    ///
    /// # Errors
    /// The first [`Fault`] found.
    pub fn check(&self, routes: &[Vec<Errand>]) -> Result<f64, Fault> {
        let mut with: Vec<Option<usize>> = vec![None; self.jobs.len()];
        let mut cost = 0.0;
        for (vehicle, errands) in routes.iter().enumerate() {
            cost += self.schedule(vehicle, errands)?.driven;
            cost += if errands.is_empty() { 0.0 } else { self.vehicle_cost };
            for Errand { job, .. } in errands {
                match with[*job].replace(vehicle) {
                    Some(other) if other != vehicle => return Err(Fault::Twice { job: *job }),
                    Some(_) | None => {}
                }
            }
        }
        Ok(cost)
    }
}

/// Who does what: as many jobs as can be, at as little cost as can be found.
///
/// Ends after `rounds_max` rounds, or sooner once `is_over` has said so, which is asked in each, and before each job that is
/// looked at before them. If it never does, the same `seed` finds the same plan.
pub fn plan(problem: &Problem, seed: u64, rounds_max: u64, is_over: impl FnMut() -> bool) -> Plan {
    search::search(problem, seed, rounds_max, is_over)
}

#[cfg(test)]
mod tests;
