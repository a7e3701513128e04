//! The best plan there is, where jobs are so few that everything can be tried: for each vehicle the best order of each set
//! of jobs, and then who takes which set.

use super::{TOLERANCE, search::Ground};

/// So many orders are tried at most, over all vehicles that differ: those of four jobs and fifty vehicles, which takes
/// some milliseconds.
const ORDERS_MAX: usize = 150_000;

/// How one vehicle does some jobs.
#[derive(Debug)]
struct Tour {
    sites: Vec<usize>,
    /// What is driven, and what the vehicle costs.
    cost: f64,
}

/// Per vehicle what it visits, so that as many of these jobs are served as can be, at as little cost as can be. None, if
/// they are too many, or it is over before everything was tried.
pub(super) fn best(
    ground: &Ground<'_>,
    jobs: &[usize],
    is_over: &mut impl FnMut() -> bool,
) -> Option<Vec<Vec<usize>>> {
    let n_vehicles = ground.like.len();
    let n_kinds = (0..n_vehicles).filter(|it| ground.like[*it] == *it).count();
    if n_orders(ground, jobs).saturating_mul(n_kinds.max(1)) > ORDERS_MAX {
        return None;
    }
    // A set is a number, with a bit for each of the jobs.
    let n_sets = 1_usize << jobs.len();
    let mut tours = Vec::with_capacity(n_vehicles);
    for (vehicle, like) in ground.like.iter().enumerate() {
        let mut of_sets = Vec::new();
        // What is like one before it has the tours of that one.
        if *like == vehicle {
            for set in 0..n_sets {
                if is_over() {
                    return None;
                }
                let is_in = |n: &usize| set & (1 << *n) != 0;
                let of_set: Vec<usize> = (0..jobs.len()).filter(is_in).map(|n| jobs[n]).collect();
                of_sets.push(tour(ground, vehicle, &of_set));
            }
        }
        tours.push(of_sets);
    }
    Some(divide(ground, &tours, n_sets))
}

/// In how many orders one vehicle could do these jobs.
fn n_orders(ground: &Ground<'_>, jobs: &[usize]) -> usize {
    let (mut n_sites, mut n_orders) = (0_usize, 1_usize);
    for job in jobs {
        // One goes between any two before it; of two, the second goes anywhere behind the first.
        let (more, n_places) = match ground.sites_of(*job) {
            (_, None) => (1, n_sites + 1),
            (_, Some(_)) => (2, (n_sites + 1) * (n_sites + 2) / 2),
        };
        n_sites += more;
        n_orders = n_orders.saturating_mul(n_places);
    }
    n_orders
}

/// Who takes which set: what each vehicle then visits.
fn divide(ground: &Ground<'_>, tours: &[Vec<Option<Tour>>], n_sets: usize) -> Vec<Vec<usize>> {
    // Per set, what it costs if the vehicles so far serve it; per vehicle and set, what it takes of it then.
    let mut costs = vec![f64::INFINITY; n_sets];
    costs[0] = 0.0;
    let mut takes: Vec<Vec<usize>> = Vec::with_capacity(tours.len());
    for like in &ground.like {
        let before = costs.clone();
        let mut parts = vec![0; n_sets];
        for (set, least) in costs.iter_mut().enumerate() {
            for part in (1..=set).filter(|part| part & !set == 0) {
                let Some(tour) = &tours[*like][part] else { continue };
                let cost = before[set ^ part] + tour.cost;
                if cost < *least {
                    (*least, parts[set]) = (cost, part);
                }
            }
        }
        takes.push(parts);
    }
    let can_be = (0..n_sets).filter(|set| costs[*set].is_finite());
    let best = can_be.min_by(|a, b| {
        let more = b.count_ones().cmp(&a.count_ones());
        more.then(costs[*a].total_cmp(&costs[*b]))
    });
    let mut left = best.expect("nothing at all can be served by nobody");
    let mut visits = vec![Vec::new(); tours.len()];
    for (vehicle, parts) in takes.iter().enumerate().rev() {
        let part = parts[left];
        if let Some(tour) = &tours[ground.like[vehicle]][part] {
            visits[vehicle].clone_from(&tour.sites);
        }
        left ^= part;
    }
    visits
}

/// How a vehicle does all of these jobs with the least driving, if it can.
fn tour(ground: &Ground<'_>, vehicle: usize, jobs: &[usize]) -> Option<Tour> {
    let it = &ground.problem.vehicles[vehicle];
    let capacity = i64::from(it.capacity);
    let sites_of = |job: &usize| {
        let (first, second) = ground.sites_of(*job);
        [Some(first), second].into_iter().flatten()
    };
    let sites: Vec<usize> = jobs.iter().flat_map(sites_of).collect();
    let load: i64 = sites.iter().map(|site| ground.sites[*site].at_first).sum();
    let is_able = load <= capacity && jobs.iter().all(|job| ground.may(*job, vehicle));
    if !is_able {
        return None;
    }
    let visited = Vec::with_capacity(sites.len());
    let mut orders = Orders { ground, vehicle, capacity, sites, visited, best: None };
    orders.go_on(it.from, load, 0.0);
    orders.best
}

/// The orders of some sites, one after the other.
#[derive(Debug)]
struct Orders<'a> {
    ground: &'a Ground<'a>,
    vehicle: usize,
    capacity: i64,
    /// All of them.
    sites: Vec<usize>,
    /// The first ones of the order that is tried now.
    visited: Vec<usize>,
    best: Option<Tour>,
}

impl Orders<'_> {
    /// Tries all that can come next, at this time, with so much on board, and after so much driving.
    fn go_on(&mut self, time: f64, load: i64, driven: f64) {
        let ground = self.ground;
        let last = self.visited.last().copied();
        if self.visited.len() == self.sites.len() {
            let home = ground.leg(self.vehicle, last, None);
            let cost = driven + home + ground.problem.vehicle_cost;
            let is_in_time = time + home <= ground.problem.vehicles[self.vehicle].until + TOLERANCE;
            if is_in_time && self.is_less(cost) {
                self.best = Some(Tour { sites: self.visited.clone(), cost });
            }
            return;
        }
        for n in 0..self.sites.len() {
            let site = self.sites[n];
            let it = &ground.sites[site];
            // What is brought was fetched before, at the site before it.
            let is_too_soon = it.is_second && !self.visited.contains(&(site - 1));
            if is_too_soon || self.visited.contains(&site) {
                continue;
            }
            let way = ground.leg(self.vehicle, last, Some(site));
            let (driven, load) = (driven + way, load + it.more);
            let begins = (time + way).max(it.stop.opens);
            let is_in_time = begins <= it.stop.closes + TOLERANCE;
            // Whatever follows is driven on top.
            if is_in_time && load <= self.capacity && self.is_less(driven) {
                self.visited.push(site);
                self.go_on(begins + it.stop.service, load, driven);
                self.visited.pop();
            }
        }
    }

    fn is_less(&self, cost: f64) -> bool {
        self.best.as_ref().is_none_or(|best| cost < best.cost)
    }
}
