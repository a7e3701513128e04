//! One route, and what must be known of it to judge an insertion without driving it all.

use super::Ground;

#[derive(Debug, Clone, Default)]
pub(super) struct Route {
    pub(super) sites: Vec<usize>,
    /// When each visit begins at the soonest.
    soonest: Vec<f64>,
    /// When each visit may begin at the latest for all that follow to be in time; the last is the depot's.
    latest: Vec<f64>,
    /// What is on board after each visit.
    load: Vec<i64>,
    pub(super) length: f64,
}

/// Where the two ends of a pair go: before what is at these positions now.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Gap {
    pub(super) from: usize,
    pub(super) to: usize,
    /// How much longer the route is then.
    pub(super) more: f64,
}

/// Time is compared to within this, since what is counted from both ends differs in its last digits.
const NOISE: f64 = 1e-9;

impl Route {
    pub(super) fn new(ground: &Ground, sites: Vec<usize>) -> Self {
        let mut route = Self { sites, ..Self::default() };
        route.count(ground);
        route
    }

    /// Counts anew what is known of it.
    pub(super) fn count(&mut self, ground: &Ground) {
        let places = &ground.problem.sites;
        let n = self.sites.len();
        self.soonest.clear();
        self.load.clear();
        self.latest.clear();
        self.latest.resize(n + 1, 0.0);
        let (mut at, mut time, mut load, mut length) = (0, places[0].opens, 0, 0.0);
        for site in self.sites.iter().copied() {
            let way = ground.distance(at, site);
            length += way;
            time = (time + places[at].service + way).max(places[site].opens);
            load += places[site].demand;
            self.soonest.push(time);
            self.load.push(load);
            at = site;
        }
        self.length = length + ground.distance(at, 0);
        let (mut next, mut latest) = (0, places[0].closes);
        self.latest[n] = latest;
        for at in (0..n).rev() {
            let site = self.sites[at];
            latest = (latest - ground.distance(site, next) - places[site].service)
                .min(places[site].closes);
            self.latest[at] = latest;
            next = site;
        }
    }

    pub(super) fn is_feasible(&self, ground: &Ground) -> bool {
        let in_time =
            self.soonest.iter().zip(&self.latest).all(|(soon, late)| *soon <= late + NOISE);
        in_time && self.load.iter().all(|it| (0..=ground.problem.capacity).contains(it))
    }

    /// Calls `found` with every way to put `pair` in.
    pub(super) fn gaps(&self, ground: &Ground, pair: usize, mut found: impl FnMut(Gap)) {
        let places = &ground.problem.sites;
        let (from, to) = ground.problem.pairs[pair];
        let (pick, drop) = (&places[from], &places[to]);
        let n = self.sites.len();
        for i in 0..=n {
            let (before, time, load) = match i.checked_sub(1) {
                None => (0, places[0].opens, 0),
                Some(it) => (self.sites[it], self.soonest[it], self.load[it]),
            };
            let mut time =
                (time + places[before].service + ground.distance(before, from)).max(pick.opens);
            if time > pick.closes + NOISE {
                break;
            }
            if load + pick.demand > ground.problem.capacity {
                continue;
            }
            let mut last = from;
            // What the pickup adds once it has a successor of its own.
            let mut more = 0.0;
            for j in i..=n {
                let next = if j == n { 0 } else { self.sites[j] };
                let there =
                    (time + places[last].service + ground.distance(last, to)).max(drop.opens);
                if there > drop.closes + NOISE {
                    break;
                }
                let then = there + drop.service + ground.distance(to, next);
                if then <= self.latest[j] + NOISE {
                    let around = if j == i {
                        ground.distance(before, from)
                            + ground.distance(from, to)
                            + ground.distance(to, next)
                            - ground.distance(before, next)
                    } else {
                        more + ground.distance(last, to) + ground.distance(to, next)
                            - ground.distance(last, next)
                    };
                    found(Gap { from: i, to: j, more: around });
                }
                if j == n {
                    break;
                }
                time = (time + places[last].service + ground.distance(last, next))
                    .max(places[next].opens);
                if time > self.latest[j] + NOISE
                    || self.load[j] + pick.demand > ground.problem.capacity
                {
                    break;
                }
                if j == i {
                    more = ground.distance(before, from) + ground.distance(from, next)
                        - ground.distance(before, next);
                }
                last = next;
            }
        }
    }

    pub(super) fn put(&mut self, ground: &Ground, pair: usize, gap: Gap) {
        let (from, to) = ground.problem.pairs[pair];
        self.sites.insert(gap.to, to);
        self.sites.insert(gap.from, from);
        self.count(ground);
    }

    pub(super) fn take(&mut self, ground: &Ground, pair: usize) {
        let (from, to) = ground.problem.pairs[pair];
        self.sites.retain(|it| *it != from && *it != to);
        self.count(ground);
    }

    /// The pairs it serves.
    pub(super) fn pairs<'a>(&'a self, ground: &'a Ground) -> impl Iterator<Item = usize> + 'a {
        self.sites
            .iter()
            .map(|it| ground.pair_of[*it])
            .zip(&self.sites)
            .filter(|(pair, site)| ground.problem.pairs[*pair].0 == **site)
            .map(|it| it.0)
    }
}
