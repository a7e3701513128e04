//! Takes strings of neighbouring errands out of routes and puts them back, with what nobody does yet, again and again
//! (as `routes::strings` does); now and then all that a vehicle with little to do does, so that it may stay where it is.

use super::{
    Errand, Plan, Problem, Stop, Task, Why, few,
    route::{Gap, Route},
};
use crate::chance::Chance;
use std::{cmp::Reverse, ops::Range};

/// How many errands are taken out of one route at most.
const STRING_MAX: f64 = 10.0;
/// How many are taken out on average.
const OUT_MEAN: f64 = 10.0;
/// How often a position is overlooked.
const BLINK: f64 = 0.01;
/// One round in so many takes all out that one vehicle does, …
const WHOLE_EVERY: usize = 8;
/// … if that is no more than so many errands.
const WHOLE_MAX: usize = 30;
/// Annealing, relative to the mean cost of a job.
const WARM: f64 = 0.3;
const COLD: f64 = 0.001;
/// After so many rounds it is as much colder as it should be by then.
const COOL_EVERY: u64 = 64;
/// Of what nobody does, so much is tried again in one round.
const ABSENT_TRIED: usize = 10;
/// Nobody does it.
const NOBODY: usize = usize::MAX;

/// One stop of a job.
#[derive(Debug)]
pub(super) struct Site {
    pub(super) job: usize,
    pub(super) stop: Stop,
    pub(super) is_second: bool,
    /// How much more is on board afterwards.
    pub(super) more: i64,
    /// How much of it is on board from the start.
    pub(super) at_first: i64,
}

/// What every step reads.
#[derive(Debug)]
pub(super) struct Ground<'a> {
    pub(super) problem: &'a Problem,
    pub(super) sites: Vec<Site>,
    /// Per job, its first site; its second follows.
    first: Vec<usize>,
    /// Per site, whatever else there is, the nearest first.
    near: Vec<Vec<usize>>,
    /// By job, then by vehicle: could it be served by that one alone?
    may: Vec<bool>,
    /// Per vehicle, the first that is just like it.
    pub(super) like: Vec<usize>,
}

impl<'a> Ground<'a> {
    /// With why each job cannot be served that cannot. Once it is over, no round may follow.
    fn new(problem: &'a Problem, is_over: &mut impl FnMut() -> bool) -> (Self, Vec<Option<Why>>) {
        let (mut sites, mut first) = (Vec::new(), Vec::new());
        for (job, it) in problem.jobs.iter().enumerate() {
            first.push(sites.len());
            let size = i64::from(it.size);
            let site = |stop, more, at_first| Site { job, stop, is_second: false, more, at_first };
            match it.task {
                Task::Visit(stop) => sites.push(site(stop, 0, 0)),
                Task::Fetch(stop) => sites.push(site(stop, size, 0)),
                Task::Bring(stop) => sites.push(site(stop, -size, size)),
                Task::Carry { from, to } => {
                    sites.push(site(from, size, 0));
                    sites.push(Site { is_second: true, ..site(to, -size, 0) });
                }
            }
        }
        let like = problem.vehicles.iter().enumerate().map(|(vehicle, it)| {
            let alike = problem.vehicles.iter().position(|other| other == it);
            alike.unwrap_or(vehicle)
        });
        let like = like.collect();
        let (near, may) = (Vec::new(), Vec::new());
        let mut ground = Self { problem, sites, first, near, may, like };
        let why = ground.judge(is_over);
        if !is_over() {
            ground.near = ground.neighbours();
        }
        (ground, why)
    }

    /// Per site, all the others, the nearest first. Who is near is near for every vehicle.
    fn neighbours(&self) -> Vec<Vec<usize>> {
        let Some(ways) = self.problem.ways.first() else { return Vec::new() };
        let far = |from: usize, to: usize| {
            ways.time(self.sites[from].stop.place, self.sites[to].stop.place)
        };
        let near = |from: usize| {
            let mut list: Vec<usize> = (0..self.sites.len()).collect();
            list.sort_by(|a, b| far(from, *a).total_cmp(&far(from, *b)).then(a.cmp(b)));
            list
        };
        (0..self.sites.len()).map(near).collect()
    }

    /// Finds out who could serve what with nothing else to do, and why nobody could.
    fn judge(&mut self, is_over: &mut impl FnMut() -> bool) -> Vec<Option<Why>> {
        let mut why = Vec::new();
        for (job, it) in self.problem.jobs.iter().enumerate() {
            if is_over() {
                self.may.resize(self.may.len() + self.problem.vehicles.len(), false);
                why.push(Some(Why::Search));
                continue;
            }
            let (mut can, mut holds, mut is_in_time) = (false, false, false);
            for (vehicle, by) in self.problem.vehicles.iter().enumerate() {
                let has_skills = it.skills & !by.skills == 0;
                let has_room = has_skills && it.size <= by.capacity;
                let mut is_served = false;
                if has_room {
                    Route::new(self, vehicle).gaps(self, job, |_| is_served = true);
                }
                can |= has_skills;
                holds |= has_room;
                is_in_time |= is_served;
                self.may.push(is_served);
            }
            why.push(match (can, holds, is_in_time) {
                (_, _, true) => None,
                (_, true, false) => Some(Why::Times),
                (true, false, false) => Some(Why::Size),
                (false, false, false) => Some(Why::Skills),
            });
        }
        why
    }

    /// How long a vehicle drives from one site to another; from its start and to its end, where none is named.
    pub(super) fn leg(&self, vehicle: usize, from: Option<usize>, to: Option<usize>) -> f64 {
        let it = &self.problem.vehicles[vehicle];
        let place = |site: usize| self.sites[site].stop.place;
        let from_place = from.map_or(it.start, place);
        let to_place = match (from, to) {
            (_, Some(to)) => place(to),
            // One with nothing to do stays where it is.
            (None, None) => return 0.0,
            (Some(_), None) => match it.end {
                Some(end) => end,
                None => return 0.0,
            },
        };
        self.problem.ways[it.ways].time(from_place, to_place)
    }

    /// Could a vehicle serve a job that has nothing else to do?
    pub(super) fn may(&self, job: usize, vehicle: usize) -> bool {
        self.may[job * self.problem.vehicles.len() + vehicle]
    }

    /// The one or two sites of a job.
    pub(super) fn sites_of(&self, job: usize) -> (usize, Option<usize>) {
        let first = self.first[job];
        let second = self.sites.get(first + 1).filter(|it| it.is_second).map(|_| first + 1);
        (first, second)
    }
}

/// Routes as they are now.
#[derive(Debug, Clone)]
struct Now {
    /// Per vehicle.
    routes: Vec<Route>,
    /// Per job, its vehicle.
    with: Vec<usize>,
    /// Jobs that could be served, and are not.
    absent: Vec<usize>,
}

impl Now {
    /// What it is if each vehicle visits these sites.
    fn of(ground: &Ground<'_>, visits: Vec<Vec<usize>>, possible: &[usize]) -> Self {
        let mut with = vec![NOBODY; ground.problem.jobs.len()];
        let mut routes = Vec::with_capacity(visits.len());
        for (vehicle, sites) in visits.into_iter().enumerate() {
            for site in &sites {
                with[ground.sites[*site].job] = vehicle;
            }
            let mut route = Route::new(ground, vehicle);
            route.sites = sites;
            route.count(ground);
            routes.push(route);
        }
        let absent = possible.iter().copied().filter(|job| with[*job] == NOBODY).collect();
        Self { routes, with, absent }
    }

    fn cost(&self, ground: &Ground<'_>) -> f64 {
        self.routes.iter().map(|it| it.cost(ground)).sum()
    }

    /// Where a job costs least, some positions being overlooked on purpose: with which vehicle, and where.
    fn cheapest(
        &self,
        ground: &Ground<'_>,
        job: usize,
        chance: &mut Chance,
    ) -> Option<(usize, Gap)> {
        let n_vehicles = self.routes.len();
        let may = &ground.may[job * n_vehicles..(job + 1) * n_vehicles];
        let mut best: Option<(usize, Gap)> = None;
        let mut least = f64::INFINITY;
        // Of those that are alike and have nothing to do, one will do.
        let mut unused: Vec<usize> = Vec::new();
        for (vehicle, route) in self.routes.iter().enumerate().filter(|(it, _)| may[*it]) {
            let mut more = 0.0;
            if route.sites.is_empty() {
                if unused.contains(&ground.like[vehicle]) {
                    continue;
                }
                unused.push(ground.like[vehicle]);
                more = ground.problem.vehicle_cost;
            }
            route.gaps(ground, job, |gap| {
                if more + gap.more < least && chance.unit() >= BLINK {
                    least = more + gap.more;
                    best = Some((vehicle, gap));
                }
            });
        }
        best
    }

    fn put(&mut self, ground: &Ground<'_>, job: usize, (vehicle, gap): (usize, Gap)) {
        self.routes[vehicle].put(ground, job, gap);
        self.with[job] = vehicle;
    }
}

/// The best of all so far.
#[derive(Debug)]
struct Best {
    now: Now,
    cost: f64,
}

impl Best {
    /// Takes others instead, if they are better.
    fn improve(&mut self, now: &Now, cost: f64) {
        let (n, n_best) = (now.absent.len(), self.now.absent.len());
        if n < n_best || n == n_best && cost < self.cost - 1e-9 {
            self.cost = cost;
            self.now.clone_from(now);
        }
    }
}

/// Memory to work in.
#[derive(Debug, Default)]
struct Room {
    /// What was taken out.
    out: Vec<usize>,
    /// Routes as they were before this round.
    kept: Vec<(usize, Route)>,
    absent: Vec<usize>,
    /// Per job, how often nobody could take it.
    hard: Vec<u32>,
}

impl Room {
    fn keep(&mut self, vehicle: usize, route: &Route) {
        if !self.kept.iter().any(|it| it.0 == vehicle) {
            self.kept.push((vehicle, route.clone()));
        }
    }
}

pub(super) fn search(
    problem: &Problem,
    seed: u64,
    rounds_max: u64,
    mut is_over: impl FnMut() -> bool,
) -> Plan {
    let mut has_ended = false;
    let mut is_over = || {
        has_ended = has_ended || is_over();
        has_ended
    };
    let (ground, mut why) = Ground::new(problem, &mut is_over);
    let mut chance = Chance::new(seed);
    let possible: Vec<usize> = (0..problem.jobs.len()).filter(|it| why[*it].is_none()).collect();
    let routes = (0..problem.vehicles.len()).map(|it| Route::new(&ground, it)).collect();
    let mut now = Now { routes, with: vec![NOBODY; problem.jobs.len()], absent: Vec::new() };
    let mut first = possible.clone();
    first.sort_by(|a, b| patience(&ground, *a).total_cmp(&patience(&ground, *b)));
    for job in first {
        if is_over() {
            why[job] = Some(Why::Search);
            continue;
        }
        match now.cheapest(&ground, job, &mut chance) {
            Some(found) => now.put(&ground, job, found),
            None => now.absent.push(job),
        }
    }
    let certain = few::best(&ground, &possible, &mut is_over);
    let mut now_cost = now.cost(&ground);
    let mut best = Best { now: now.clone(), cost: now_cost };
    let mut room = Room { hard: vec![0; problem.jobs.len()], ..Room::default() };
    let (mut round, mut heat) = (0_u64, 0.0);
    while round < rounds_max && !possible.is_empty() && !is_over() {
        if round.is_multiple_of(COOL_EVERY) {
            let n_served = possible.len() - best.now.absent.len();
            let scale = best.cost / n_served.max(1) as f64;
            heat = scale * WARM * (COLD / WARM).powf(round as f64 / rounds_max as f64);
        }
        round += 1;
        room.kept.clear();
        room.absent.clone_from(&now.absent);
        let n_absent = now.absent.len();
        ruin(&ground, &mut now, &possible, &mut room, &mut chance);
        recreate(&ground, &mut now, &mut room, &mut chance);
        let cost = now.cost(&ground);
        let n = now.absent.len();
        let is_gain = n < n_absent || n == n_absent && cost < now_cost - heat * chance.unit().ln();
        let is_in_time = room.kept.iter().all(|(vehicle, _)| now.routes[*vehicle].is_in_time());
        if !is_gain || !is_in_time {
            undo(&ground, &mut now, &mut room);
            continue;
        }
        now_cost = cost;
        best.improve(&now, cost);
    }
    // Rounds may have missed what trying everything did not.
    if let Some(visits) = certain {
        let certain = Now::of(&ground, visits, &possible);
        best.improve(&certain, certain.cost(&ground));
    }
    let errands = |route: &Route| -> Vec<Errand> {
        let errand = |it: &usize| {
            let Site { job, is_second, .. } = ground.sites[*it];
            Errand { job, is_second }
        };
        route.sites.iter().map(errand).collect()
    };
    let left_out = (0..problem.jobs.len()).filter_map(|job| match why[job] {
        Some(why) => Some((job, why)),
        None => best.now.absent.contains(&job).then_some((job, Why::Room)),
    });
    Plan {
        routes: best.now.routes.iter().map(errands).collect(),
        left_out: left_out.collect(),
        cost: best.cost,
        rounds: round,
    }
}

/// How much time a job leaves whoever does it.
fn patience(ground: &Ground<'_>, job: usize) -> f64 {
    let (first, second) = ground.sites_of(job);
    let wide = |site: usize| ground.sites[site].stop.closes - ground.sites[site].stop.opens;
    second.map_or(f64::INFINITY, wide).min(wide(first))
}

/// Takes strings of errands near each other out of some routes, or all of one.
fn ruin(
    ground: &Ground<'_>,
    now: &mut Now,
    possible: &[usize],
    room: &mut Room,
    chance: &mut Chance,
) {
    room.out.clear();
    let used: Vec<usize> =
        (0..now.routes.len()).filter(|it| !now.routes[*it].sites.is_empty()).collect();
    if used.is_empty() {
        return;
    }
    if used.len() > 1 && chance.below(WHOLE_EVERY) == 0 {
        // The shorter of two is the likelier to dissolve.
        let (a, b) = (used[chance.below(used.len())], used[chance.below(used.len())]);
        let length = |it: usize| now.routes[it].sites.len();
        let which = if length(a) < length(b) { a } else { b };
        if length(which) <= WHOLE_MAX {
            let all = 0..length(which);
            take_out(ground, now, room, which, all);
            return;
        }
    }
    let n_sites: usize = now.routes.iter().map(|it| it.sites.len()).sum();
    let string_max = STRING_MAX.min(n_sites as f64 / used.len() as f64).max(1.0);
    let strings_max = 4.0 * OUT_MEAN / (1.0 + string_max) - 1.0;
    let n_strings = (chance.unit() * strings_max + 1.0) as usize;
    let (middle, _) = ground.sites_of(possible[chance.below(possible.len())]);
    for site in &ground.near[middle] {
        if room.kept.len() >= n_strings {
            break;
        }
        let vehicle = now.with[ground.sites[*site].job];
        if vehicle == NOBODY || room.kept.iter().any(|it| it.0 == vehicle) {
            continue;
        }
        let sites = &now.routes[vehicle].sites;
        let Some(at) = sites.iter().position(|it| it == site) else { continue };
        let most = string_max.min(sites.len() as f64);
        let long = ((chance.unit() * most + 1.0) as usize).min(sites.len());
        let first = (at + 1).saturating_sub(long);
        let last = at.min(sites.len() - long);
        let start = first + chance.below(last - first + 1);
        take_out(ground, now, room, vehicle, start..start + long);
    }
}

/// Takes every job out that has a site at these positions of a vehicle's route.
fn take_out(
    ground: &Ground<'_>,
    now: &mut Now,
    room: &mut Room,
    vehicle: usize,
    positions: Range<usize>,
) {
    let route = &mut now.routes[vehicle];
    room.keep(vehicle, route);
    let mut gone: Vec<usize> =
        route.sites[positions].iter().map(|it| ground.sites[*it].job).collect();
    gone.sort_unstable();
    gone.dedup();
    route.take(ground, &gone);
    for job in gone {
        now.with[job] = NOBODY;
        room.out.push(job);
    }
}

/// Puts back what was taken out, and some of what nobody does, where it costs least; what fits nowhere is absent.
fn recreate(ground: &Ground<'_>, now: &mut Now, room: &mut Room, chance: &mut Chance) {
    let mut out = std::mem::take(&mut room.out);
    chance.shuffle(&mut now.absent);
    out.extend(now.absent.drain(now.absent.len().saturating_sub(ABSENT_TRIED)..));
    chance.shuffle(&mut out);
    let stop = |job: usize| &ground.sites[ground.sites_of(job).0].stop;
    match chance.below(8) {
        0 => out.sort_by_key(|it| Reverse(ground.problem.jobs[*it].size)),
        1 => out.sort_by(|a, b| patience(ground, *a).total_cmp(&patience(ground, *b))),
        2 => out.sort_by(|a, b| stop(*a).opens.total_cmp(&stop(*b).opens)),
        3 => out.sort_by(|a, b| stop(*b).closes.total_cmp(&stop(*a).closes)),
        4 | 5 => out.sort_by_key(|it| Reverse(room.hard[*it])),
        _ => {}
    }
    for job in out.iter().copied() {
        match now.cheapest(ground, job, chance) {
            Some(found) => {
                room.keep(found.0, &now.routes[found.0]);
                now.put(ground, job, found);
            }
            None => {
                room.hard[job] = room.hard[job].saturating_add(1);
                now.absent.push(job);
            }
        }
    }
    room.out = out;
}

/// Everything is as it was before this round.
fn undo(ground: &Ground<'_>, now: &mut Now, room: &mut Room) {
    now.absent.clone_from(&room.absent);
    for job in room.out.iter().chain(&room.absent) {
        now.with[*job] = NOBODY;
    }
    for (vehicle, route) in room.kept.drain(..) {
        for site in &route.sites {
            now.with[ground.sites[*site].job] = vehicle;
        }
        now.routes[vehicle] = route;
    }
}
