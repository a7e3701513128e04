//! One vehicle's route, and what must be known of it to judge an insertion without driving it all.

use super::{TOLERANCE, search::Ground};

/// What one vehicle does.
#[derive(Debug, Clone, Default)]
pub(super) struct Route {
    vehicle: usize,
    pub(super) sites: Vec<usize>,
    /// When each site begins at the soonest.
    soonest: Vec<f64>,
    /// When each may begin at the latest for all that follow to be in time; the last is the end's.
    latest: Vec<f64>,
    /// What is on board on the way to each site; the last is to the end.
    load: Vec<i64>,
    driven: f64,
}

/// Where a job goes: before what is at these positions now. The same twice, if it has one stop.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Gap {
    from: usize,
    to: usize,
    /// How much longer is driven then.
    pub(super) more: f64,
}

/// Time is compared to within this, since what is counted from both ends differs in its last digits.
const NOISE: f64 = 1e-9;

impl Route {
    /// A vehicle with nothing to do.
    pub(super) fn new(ground: &Ground<'_>, vehicle: usize) -> Self {
        let mut route = Self { vehicle, ..Self::default() };
        route.count(ground);
        route
    }

    /// What it costs, in time that is driven.
    pub(super) fn cost(&self, ground: &Ground<'_>) -> f64 {
        if self.sites.is_empty() { 0.0 } else { self.driven + ground.problem.vehicle_cost }
    }

    /// Can it be driven in time? What is put in is seen to; but a way may be longer than the two by a place between them,
    /// or none at all, so that what was in time with that place is not without it.
    pub(super) fn is_in_time(&self) -> bool {
        self.soonest.first().is_none_or(|soonest| *soonest <= self.latest[0] + TOLERANCE)
    }

    /// Counts anew what is known of it.
    pub(super) fn count(&mut self, ground: &Ground<'_>) {
        let (vehicle, n) = (&ground.problem.vehicles[self.vehicle], self.sites.len());
        self.soonest.clear();
        self.load.clear();
        self.latest.clear();
        self.latest.resize(n + 1, vehicle.until);
        let mut load: i64 = self.sites.iter().map(|it| ground.sites[*it].at_first).sum();
        self.load.push(load);
        let (mut before, mut time, mut driven) = (None, vehicle.from, 0.0);
        for site in self.sites.iter().copied() {
            let it = &ground.sites[site];
            let way = ground.leg(self.vehicle, before, Some(site));
            driven += way;
            let begins = (time + way).max(it.stop.opens);
            self.soonest.push(begins);
            time = begins + it.stop.service;
            load += it.more;
            self.load.push(load);
            before = Some(site);
        }
        self.driven = driven + ground.leg(self.vehicle, before, None);
        let (mut next, mut latest) = (None, vehicle.until);
        for at in (0..n).rev() {
            let site = self.sites[at];
            let it = &ground.sites[site].stop;
            let way = ground.leg(self.vehicle, Some(site), next);
            latest = (latest - way - it.service).min(it.closes);
            self.latest[at] = latest;
            next = Some(site);
        }
    }

    /// Calls `found` with every way to put `job` in.
    pub(super) fn gaps(&self, ground: &Ground<'_>, job: usize, found: impl FnMut(Gap)) {
        match ground.sites_of(job) {
            (only, None) => self.gaps_of_one(ground, only, found),
            (from, Some(to)) => self.gaps_of_two(ground, from, to, found),
        }
    }

    fn gaps_of_one(&self, ground: &Ground<'_>, site: usize, mut found: impl FnMut(Gap)) {
        let it = &ground.sites[site];
        let leg = |from, to| ground.leg(self.vehicle, from, to);
        for at in 0..=self.sites.len() {
            let (before, left) = self.before(ground, at);
            if left > it.stop.closes + NOISE {
                break;
            }
            let begins = (left + leg(before, Some(site))).max(it.stop.opens);
            let next = self.sites.get(at).copied();
            let then = begins + it.stop.service + leg(Some(site), next);
            let is_in_time = begins <= it.stop.closes + NOISE && then <= self.latest[at] + NOISE;
            if !is_in_time || !self.has_room(ground, site, at) {
                continue;
            }
            let more = leg(before, Some(site)) + leg(Some(site), next) - leg(before, next);
            found(Gap { from: at, to: at, more });
        }
    }

    /// Does what is fetched there fit in until the end, or what is brought there from the start?
    fn has_room(&self, ground: &Ground<'_>, site: usize, at: usize) -> bool {
        let it = &ground.sites[site];
        let capacity = i64::from(ground.problem.vehicles[self.vehicle].capacity);
        let fits = |legs: &[i64], size: i64| legs.iter().all(|load| load + size <= capacity);
        if it.at_first > 0 {
            fits(&self.load[..=at], it.at_first)
        } else {
            it.more == 0 || fits(&self.load[at..], it.more)
        }
    }

    fn gaps_of_two(&self, ground: &Ground<'_>, from: usize, to: usize, mut found: impl FnMut(Gap)) {
        let (pick, drop) = (&ground.sites[from], &ground.sites[to]);
        let leg = |from, to| ground.leg(self.vehicle, from, to);
        let capacity = i64::from(ground.problem.vehicles[self.vehicle].capacity);
        let n = self.sites.len();
        for i in 0..=n {
            let (before, left) = self.before(ground, i);
            if left > pick.stop.closes + NOISE {
                break;
            }
            let begins = (left + leg(before, Some(from))).max(pick.stop.opens);
            if begins > pick.stop.closes + NOISE || self.load[i] + pick.more > capacity {
                continue;
            }
            // When it goes on from `last`, and what the pickup adds once it has a successor of its own.
            let (mut last, mut left, mut more) = (from, begins + pick.stop.service, 0.0);
            for j in i..=n {
                if left > drop.stop.closes + NOISE {
                    break;
                }
                let next = self.sites.get(j).copied();
                let there = (left + leg(Some(last), Some(to))).max(drop.stop.opens);
                let then = there + drop.stop.service + leg(Some(to), next);
                if there <= drop.stop.closes + NOISE && then <= self.latest[j] + NOISE {
                    let around = leg(Some(last), Some(to)) + leg(Some(to), next);
                    let more = if j == i {
                        leg(before, Some(from)) + around - leg(before, next)
                    } else {
                        more + around - leg(Some(last), next)
                    };
                    found(Gap { from: i, to: j, more });
                }
                let Some(next) = next else { break };
                let it = &ground.sites[next].stop;
                let begins = (left + leg(Some(last), Some(next))).max(it.opens);
                if begins > self.latest[j] + NOISE || self.load[j + 1] + pick.more > capacity {
                    break;
                }
                if j == i {
                    more = leg(before, Some(from)) + leg(Some(from), Some(next))
                        - leg(before, Some(next));
                }
                (last, left) = (next, begins + it.service);
            }
        }
    }

    /// What is done before a position (nothing: it starts), and when the vehicle goes on from there.
    fn before(&self, ground: &Ground<'_>, at: usize) -> (Option<usize>, f64) {
        match at.checked_sub(1) {
            None => (None, ground.problem.vehicles[self.vehicle].from),
            Some(it) => {
                let site = self.sites[it];
                (Some(site), self.soonest[it] + ground.sites[site].stop.service)
            }
        }
    }

    pub(super) fn put(&mut self, ground: &Ground<'_>, job: usize, gap: Gap) {
        let (first, second) = ground.sites_of(job);
        if let Some(second) = second {
            self.sites.insert(gap.to, second);
        }
        self.sites.insert(gap.from, first);
        self.count(ground);
    }

    /// Takes these jobs out.
    pub(super) fn take(&mut self, ground: &Ground<'_>, jobs: &[usize]) {
        self.sites.retain(|it| !jobs.contains(&ground.sites[*it].job));
        self.count(ground);
    }
}
