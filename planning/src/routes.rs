//! Planned routes: many pickups and deliveries with time windows, known in advance, for as few vehicles as possible
//! and then as short as possible.
//!
//! First vehicles, by guided ejection search (Nagata and Kobayashi, "Guided ejection search for the pickup and delivery
//! problem with time windows", 2010): one route is taken apart, and what it carried is pressed into the others, which
//! throw out what fits least. Then distance, by removing strings of neighbouring visits and putting them back greedily,
//! some positions being overlooked on purpose (Christiaens and Vanden Berghe, "Slack induction by string removals for
//! vehicle routing problems", 2020), under simulated annealing.
//!
//! That is for vehicles that are all alike and must serve everything, as published instances have them. [`mixed`] is for
//! those that a dispatcher has.

mod ejection;
pub mod mixed;
mod route;
mod strings;

use crate::chance::Chance;
use route::Route;
use std::{error::Error, fmt};

/// One visit. The first of a problem is the depot, where every route begins and ends.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Site {
    /// Coordinates; the way between two sites is as long as a straight line, and takes as long.
    pub x: f64,
    /// See `x`.
    pub y: f64,
    /// What is loaded here; negative if it is unloaded.
    pub demand: i64,
    /// The visit begins no sooner than this; who comes sooner waits.
    pub opens: f64,
    /// And no later than this.
    pub closes: f64,
    /// How long it takes.
    pub service: f64,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub struct Problem {
    /// The depot, then every visit.
    pub sites: Vec<Site>,
    /// Where something is fetched, and where it is brought, as indices into `sites`.
    pub pairs: Vec<(usize, usize)>,
    /// How much one vehicle holds.
    pub capacity: i64,
    /// How many vehicles there are.
    pub vehicles: usize,
}

/// The visits of each vehicle, without the depot.
pub type Routes = Vec<Vec<usize>>;

/// What is wrong with some routes.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RouteFault {
    /// A site is visited twice, or is none.
    Twice {
        /// Which.
        site: usize,
    },
    /// A site is not visited.
    Missed {
        /// Which.
        site: usize,
    },
    /// Fetched after it is brought, or by another vehicle.
    Precedence {
        /// The pair.
        pair: usize,
    },
    /// Too much on board, or less than nothing.
    Capacity {
        /// Where.
        site: usize,
    },
    /// Reached after it closes. The depot is 0.
    Late {
        /// Where.
        site: usize,
    },
    /// More routes than vehicles.
    Vehicles,
}

impl fmt::Display for RouteFault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Twice { site } => write!(f, "site {site} is visited twice, or is none"),
            Self::Missed { site } => write!(f, "site {site} is not visited"),
            Self::Precedence { pair } => {
                write!(f, "pair {pair} is not fetched and then brought by one vehicle")
            }
            Self::Capacity { site } => write!(f, "too much or too little on board at site {site}"),
            Self::Late { site } => write!(f, "site {site} is reached after it closes"),
            Self::Vehicles => f.write_str("more routes than vehicles"),
        }
    }
}

impl Error for RouteFault {}

/// Windows are held to within this, since sums of square roots differ in their last digits with the order of adding.
const TOLERANCE: f64 = 1e-6;

impl Problem {
    /// How far it is between two sites.
    #[must_use]
    pub fn distance(&self, from: usize, to: usize) -> f64 {
        let (a, b) = (&self.sites[from], &self.sites[to]);
        (a.x - b.x).hypot(a.y - b.y)
    }

    /// How long routes are, all together, if they keep every rule. It shares nothing with how they are found.
    ///
    /// # Errors
    /// The first [`RouteFault`] found.
    pub fn check(&self, routes: &[Vec<usize>]) -> Result<f64, RouteFault> {
        if routes.iter().filter(|it| !it.is_empty()).count() > self.vehicles {
            return Err(RouteFault::Vehicles);
        }
        let mut seen: Vec<Option<(usize, usize)>> = vec![None; self.sites.len()];
        let mut length = 0.0;
        for (index, route) in routes.iter().enumerate() {
            let (mut at, mut time, mut load) = (0, self.sites[0].opens, 0);
            for (position, site) in route.iter().copied().enumerate() {
                if site == 0 || site >= self.sites.len() || seen[site].is_some() {
                    return Err(RouteFault::Twice { site });
                }
                seen[site] = Some((index, position));
                let here = &self.sites[site];
                length += self.distance(at, site);
                time = (time + self.sites[at].service + self.distance(at, site)).max(here.opens);
                if time > here.closes + TOLERANCE {
                    return Err(RouteFault::Late { site });
                }
                load += here.demand;
                if load > self.capacity || load < 0 {
                    return Err(RouteFault::Capacity { site });
                }
                at = site;
            }
            length += self.distance(at, 0);
            time += self.sites[at].service + self.distance(at, 0);
            if time > self.sites[0].closes + TOLERANCE {
                return Err(RouteFault::Late { site: 0 });
            }
        }
        for (pair, (from, to)) in self.pairs.iter().enumerate() {
            let from = seen[*from].ok_or(RouteFault::Missed { site: *from })?;
            let to = seen[*to].ok_or(RouteFault::Missed { site: *to })?;
            if from.0 != to.0 || from.1 > to.1 {
                return Err(RouteFault::Precedence { pair });
            }
        }
        Ok(length)
    }
}

/// What every step reads: the problem, with distances looked up instead of counted.
#[derive(Debug)]
struct Ground<'a> {
    problem: &'a Problem,
    distances: Vec<f64>,
    /// Per site, its pair.
    pair_of: Vec<usize>,
}

impl<'a> Ground<'a> {
    fn new(problem: &'a Problem) -> Self {
        let n = problem.sites.len();
        let distances = (0..n * n).map(|it| problem.distance(it / n, it % n)).collect();
        let mut pair_of = vec![usize::MAX; n];
        for (pair, (from, to)) in problem.pairs.iter().enumerate() {
            pair_of[*from] = pair;
            pair_of[*to] = pair;
        }
        Self { problem, distances, pair_of }
    }

    fn distance(&self, from: usize, to: usize) -> f64 {
        self.distances[from * self.problem.sites.len() + to]
    }
}

/// Routes for `problem`: as few as can be found, then as short as can be found.
///
/// `spent` says which share of the time to be spent is over: the search ends when it says 1 or more. With one that
/// counts how often it was asked, the same `seed` finds the same routes. The routes that come back may be more than
/// there are vehicles, and are `None` if some pair cannot be served by a vehicle of its own.
pub fn plan(problem: &Problem, seed: u64, mut spent: impl FnMut() -> f64) -> Option<Routes> {
    let ground = Ground::new(problem);
    let mut chance = Chance::new(seed);
    let mut routes = Vec::new();
    for (from, to) in &problem.pairs {
        let route = Route::new(&ground, vec![*from, *to]);
        if !route.is_feasible(&ground) {
            return None;
        }
        routes.push(route);
    }
    ejection::fewer(&ground, &mut routes, &mut chance, &mut || spent() / ejection::SHARE);
    strings::shorter(&ground, &mut routes, &mut chance, &mut spent);
    Some(routes.into_iter().map(|it| it.sites).collect())
}

#[cfg(test)]
mod tests;
