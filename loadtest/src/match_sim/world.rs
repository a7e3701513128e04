//! A morning as it goes on under one policy: virtual time, drivers who move, regions that match.
//!
//! ```text
//!  requests, arrivals ──► lists of regions ──tick──► matching::Region ──► a driver is on the way
//! ```
//!
//! What a real node does with messages happens here at once: a driver who is proposed takes the ride,
//! unless another region was quicker, in which case the search is listed again.

use super::{
    figures::Figures,
    morning::Morning,
    policy::{Hints, Rules},
};
use matching::{
    DriverCard, Region, SearchCard,
    card::Ending,
    demand::{Idle, Rates},
    region::{Roster, Wanting},
    router::{Router, Spot},
};
use protocol::{
    DriverId, JobId, OrderId, Point, Timestamp,
    work::{Vehicle, VehicleKind},
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BinaryHeap},
    sync::Arc,
    time::{Duration, Instant},
};
use uuid::Uuid;

/// No ride is shorter.
const RIDE_MIN: Duration = Duration::from_secs(60);
/// Drivers begin within so long: a fleet that is idle all at once matches nobody's morning.
const BEGIN_WITHIN: Duration = Duration::from_secs(10 * 60);
/// No driver further away is asked, in metres.
const RADIUS_M: u32 = 10_000;

/// How drivers and requests are divided among regions.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Division {
    /// Regions are H3 cells of this resolution; none: one region is the whole city.
    pub(super) resolution: Option<h3o::Resolution>,
    /// How many rings of neighbours each of them sees.
    pub(super) rings: u32,
}

/// What is the same for all policies.
#[derive(Debug, Clone, Copy)]
pub(super) struct Conditions {
    pub(super) n_drivers: usize,
    pub(super) division: Division,
    pub(super) seed: u64,
    /// Who has no driver after this long goes away.
    pub(super) patience: Duration,
    /// Requests before this are served, and not counted.
    pub(super) warm_up: Duration,
    /// The share of drivers who go where they are told to wait.
    pub(super) follow: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Doing {
    /// Not at work yet.
    Away,
    /// Nothing, or driving to where it was told to wait.
    Idle { target: Option<Spot> },
    /// On the way to a pickup.
    Coming { ride: usize },
    /// With somebody on board, and perhaps another ride after that.
    Riding { ride: usize, next: Option<usize> },
}

#[derive(Debug)]
struct Driver {
    /// Where it is, or the crossing it comes to next.
    spot: Spot,
    /// When it is, or was, there; for one who rides, when the ride ends.
    there_at: Timestamp,
    doing: Doing,
    idle_since: Timestamp,
    follows: bool,
    /// When it was last told where to wait.
    told_at: Option<Timestamp>,
    /// Makes events of what it no longer does void.
    turn: u32,
    /// In which region.
    listed: Option<usize>,
    idle_ms: u64,
    earning_ms: u64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Wish {
    Unasked,
    Open,
    Taken { at: Timestamp },
    Gone,
}

/// Who is due when; the driver's turn when that was planned.
type Due = Reverse<(Timestamp, usize, u32)>;

pub(super) struct World<'a> {
    morning: &'a Morning,
    rules: &'a Rules,
    conditions: Conditions,
    vehicle: Arc<Vehicle>,
    drivers: Vec<Driver>,
    wishes: Vec<Wish>,
    due: BinaryHeap<Due>,
    regions: Vec<Region>,
    rosters: Vec<Arc<Roster>>,
    is_changed: Vec<bool>,
    /// By crossing.
    region_of: Vec<usize>,
    /// Of each region, without itself.
    ring: Vec<Vec<usize>>,
    figures: Figures,
}

impl<'a> World<'a> {
    /// Everybody is somewhere and has nothing to do.
    pub(super) fn new(morning: &'a Morning, rules: &'a Rules, conditions: Conditions) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(conditions.seed ^ 0x3a7c_4000);
        let (region_of, regions, ring) = divide(&morning.nodes, conditions.division);
        let drivers = (0..conditions.n_drivers).map(|_| {
            // Where somebody was dropped at some time of the morning.
            let somewhere = rng.random_range(0..morning.requests.len());
            Driver {
                spot: morning.requests[somewhere].to,
                there_at: Timestamp(0),
                doing: Doing::Away,
                idle_since: Timestamp(0),
                follows: rng.random_bool(conditions.follow),
                told_at: None,
                turn: 0,
                listed: None,
                idle_ms: 0,
                earning_ms: 0,
            }
        });
        let drivers = drivers.collect();
        let vehicle = Vehicle { kind: VehicleKind::Car, capacity_g: 0, skills: Vec::new() };
        let mut world = Self {
            morning,
            rules,
            conditions,
            vehicle: Arc::new(vehicle),
            drivers,
            wishes: vec![Wish::Unasked; morning.requests.len()],
            due: BinaryHeap::new(),
            rosters: vec![Arc::default(); regions.len()],
            is_changed: vec![true; regions.len()],
            figures: Figures::new(morning.requests.len()),
            regions,
            region_of,
            ring,
        };
        for n in 0..world.drivers.len() {
            let begins_ms = rng.random_range(0..BEGIN_WITHIN.as_millis() as u64);
            world.plan(n, Timestamp(begins_ms));
        }
        world
    }

    /// Lets the morning pass.
    pub(super) fn run(mut self) -> Figures {
        let (mut now, mut n_asked, mut n_open) = (Timestamp(0), 0, 0_usize);
        let mut spread_at = Timestamp(0);
        let mut oldest = 0;
        while n_asked < self.morning.requests.len() || n_open > 0 {
            now = now + self.rules.tick;
            loop {
                let asks_at = self.morning.requests.get(n_asked).map(|it| it.at);
                let asks_at = asks_at.filter(|at| *at <= now);
                match self.due.peek() {
                    Some(Reverse((at, ..)))
                        if *at <= now && asks_at.is_none_or(|asks_at| *at <= asks_at) =>
                    {
                        if let Some(Reverse((at, driver, turn))) = self.due.pop()
                            && self.drivers[driver].turn == turn
                        {
                            self.arrive(driver, at);
                        }
                    }
                    Some(_) | None if asks_at.is_some() => {
                        self.ask(n_asked);
                        n_asked += 1;
                        n_open += 1;
                    }
                    Some(_) | None => break,
                }
            }
            // Requests come in the order of their age.
            while oldest < n_asked
                && now.since(self.morning.requests[oldest].at) >= self.conditions.patience
            {
                if self.wishes[oldest] == Wish::Open {
                    self.wishes[oldest] = Wish::Gone;
                    let home = self.home(oldest);
                    self.regions[home].forget_search(job(oldest));
                    n_open -= 1;
                }
                oldest += 1;
            }
            self.publish();
            n_open -= self.match_all(now);
            if let Some(hints) = &self.rules.hints {
                if now >= spread_at {
                    self.look(hints, now);
                    spread_at = now + hints.every;
                }
                self.hint(hints, now);
            }
        }
        self.settle(now)
    }

    fn counts(&self, ride: usize) -> bool {
        self.morning.requests[ride].at.since(Timestamp(0)) >= self.conditions.warm_up
    }

    fn home(&self, ride: usize) -> usize {
        self.region_of[self.morning.requests[ride].from.n as usize]
    }

    fn ask(&mut self, ride: usize) {
        self.wishes[ride] = Wish::Open;
        self.put_search(ride);
    }

    fn put_search(&mut self, ride: usize) {
        let request = &self.morning.requests[ride];
        let card = SearchCard {
            policy: self.rules.offer,
            radius_m: RADIUS_M,
            ..SearchCard::nth(ride as u64, request.pickup, request.at)
        };
        let home = self.home(ride);
        self.regions[home].put_search(Arc::new(card));
    }

    /// Says what regions should know of a driver now.
    fn list(&mut self, n: usize, now: Timestamp) {
        let driver = &self.drivers[n];
        let ending = match driver.doing {
            Doing::Idle { .. } => Some(None),
            Doing::Riding { ride, next: None }
                if now + self.rules.ahead >= driver.there_at && !self.rules.ahead.is_zero() =>
            {
                let spot = self.morning.requests[ride].to;
                Some(Some((spot, driver.there_at)))
            }
            Doing::Riding { .. } | Doing::Coming { .. } | Doing::Away => None,
        };
        let listed = ending.map(|ending| {
            let spot = ending.map_or(driver.spot, |(spot, _)| spot);
            let at = self.morning.roads.point(spot);
            let card = DriverCard {
                is_free: ending.is_none(),
                has_delivery_slot: ending.is_none(),
                is_nearly_free: ending.is_some(),
                idle_since: driver.idle_since,
                ending: ending.map(|(_, due)| Ending { at, due }),
                takes_hints: true,
                ..DriverCard::nth(n as u64, self.vehicle.clone(), at, now)
            };
            (self.region_of[spot.n as usize], card)
        });
        let (before, after) = (driver.listed, listed.as_ref().map(|(region, _)| *region));
        if let Some(before) = before
            && after != Some(before)
        {
            self.regions[before].forget_driver(DriverId::nth(n as u64));
            self.is_changed[before] = true;
        }
        if let Some((region, card)) = listed {
            self.regions[region].put_driver(Arc::new(card));
            self.is_changed[region] = true;
        }
        self.drivers[n].listed = after;
    }

    /// What a driver was on the way to has come.
    fn arrive(&mut self, n: usize, now: Timestamp) {
        match self.drivers[n].doing {
            Doing::Away => {
                self.drivers[n].doing = Doing::Idle { target: None };
                self.drivers[n].idle_since = now;
                self.list(n, now);
            }
            Doing::Idle { target } => self.drive_on(n, target, now),
            Doing::Coming { ride } => self.pick_up(n, ride, now),
            Doing::Riding { ride, next } if self.drivers[n].there_at <= now => {
                self.drivers[n].spot = self.morning.requests[ride].to;
                match next {
                    Some(next) => self.set_out(n, next, now),
                    None => {
                        self.drivers[n].doing = Doing::Idle { target: None };
                        self.drivers[n].idle_since = now;
                        self.list(n, now);
                    }
                }
            }
            // It will end soon.
            Doing::Riding { .. } => {
                self.list(n, now);
                self.plan(n, self.drivers[n].there_at);
            }
        }
    }

    fn plan(&mut self, n: usize, at: Timestamp) {
        self.due.push(Reverse((at, n, self.drivers[n].turn)));
    }

    /// Towards where it was told to wait, from crossing to crossing.
    fn drive_on(&mut self, n: usize, target: Option<Spot>, now: Timestamp) {
        let driver = &mut self.drivers[n];
        driver.turn += 1;
        let road = target.and_then(|to| self.morning.roads.times(now).next(driver.spot, to));
        match road {
            Some(road) => {
                driver.spot = Spot::at(road.to);
                driver.there_at = now + Duration::from_millis(road.ms.into());
                let there_at = driver.there_at;
                self.plan(n, there_at);
            }
            None => driver.doing = Doing::Idle { target: None },
        }
        self.list(n, now);
    }

    /// To a pickup, from where it is or comes to next.
    fn set_out(&mut self, n: usize, ride: usize, now: Timestamp) {
        let from_when = self.drivers[n].there_at.max(now);
        let to = self.morning.requests[ride].from;
        let times = self.morning.roads.times(from_when);
        let takes_ms = times.ms(self.drivers[n].spot, to).unwrap_or(u32::MAX / 2);
        let driver = &mut self.drivers[n];
        driver.turn += 1;
        driver.doing = Doing::Coming { ride };
        driver.spot = to;
        driver.there_at = from_when + Duration::from_millis(takes_ms.into());
        let there_at = driver.there_at;
        self.plan(n, there_at);
        self.list(n, now);
    }

    fn pick_up(&mut self, n: usize, ride: usize, now: Timestamp) {
        let request = self.morning.requests[ride];
        if self.counts(ride)
            && let Wish::Taken { at } = self.wishes[ride]
        {
            self.figures.picked_up(request.at, at, now);
        }
        let takes_ms = self.morning.roads.times(now).ms(request.from, request.to);
        let takes = Duration::from_millis(takes_ms.unwrap_or(0).into()).max(RIDE_MIN);
        let driver = &mut self.drivers[n];
        driver.turn += 1;
        driver.doing = Doing::Riding { ride, next: None };
        driver.there_at = now + takes;
        driver.earning_ms += takes.as_millis() as u64;
        let there_at = driver.there_at;
        let nearly_at = (there_at - self.rules.ahead).max(now);
        if nearly_at < there_at && nearly_at > now {
            self.plan(n, nearly_at);
        } else {
            self.list(n, now);
            self.plan(n, there_at);
        }
    }

    fn publish(&mut self) {
        for (n, region) in self.regions.iter().enumerate() {
            if std::mem::take(&mut self.is_changed[n]) {
                self.rosters[n] = Arc::new(region.roster());
            }
        }
    }

    /// One tick of every region; how many requests got a driver.
    fn match_all(&mut self, now: Timestamp) -> usize {
        let wanting: Vec<Arc<Wanting>> =
            self.regions.iter().map(|region| Arc::new(region.wanting(now))).collect();
        let mut proposals = Vec::new();
        for (n, due) in wanting.iter().enumerate() {
            if due.is_empty() {
                continue;
            }
            let began = Instant::now();
            let rosters = self.ring[n].iter().map(|it| &*self.rosters[*it]);
            let rivals = self.ring[n].iter().map(|it| &*wanting[*it]);
            let region = &mut self.regions[n];
            let matching = region.prepare(due.clone(), rosters, rivals, now, self.rules.pairing);
            let done = matching.run(&self.morning.roads, &self.rules.settings);
            let outcome = region.learn([done], now);
            self.figures.ticked(began.elapsed());
            proposals.extend(outcome.proposals);
        }
        let mut n_taken = 0;
        for proposal in proposals {
            let Some(candidate) = proposal.candidates.first() else { continue };
            let ride = number_of(proposal.job.uuid());
            if self.take(number_of(candidate.driver.0), ride, now) {
                n_taken += 1;
            } else {
                self.figures.n_refused += 1;
                self.put_search(ride);
            }
        }
        n_taken
    }

    /// Does the driver take the ride?
    fn take(&mut self, n: usize, ride: usize, now: Timestamp) -> bool {
        match self.drivers[n].doing {
            Doing::Idle { .. } => {
                let idle_since = self.drivers[n].idle_since;
                self.drivers[n].idle_ms += now.since(idle_since).as_millis() as u64;
                self.set_out(n, ride, now);
            }
            Doing::Riding { ride: before, next: None } if self.drivers[n].listed.is_some() => {
                self.drivers[n].doing = Doing::Riding { ride: before, next: Some(ride) };
                self.list(n, now);
            }
            Doing::Riding { .. } | Doing::Coming { .. } | Doing::Away => return false,
        }
        self.wishes[ride] = Wish::Taken { at: now };
        let home = self.home(ride);
        self.regions[home].forget_search(job(ride));
        true
    }

    /// Finds out which idle drivers had better wait elsewhere.
    fn look(&mut self, hints: &Hints, now: Timestamp) {
        let spreading = &hints.spreading;
        let idle: Vec<Vec<Idle>> =
            self.regions.iter().map(|region| region.idle(now, spreading)).collect();
        let rates: Vec<Rates> = self.regions.iter_mut().map(|region| region.rates(now)).collect();
        for n in 0..self.regions.len() {
            let around = self.ring[n].iter().map(|it| &*idle[*it]);
            let rates = self.ring[n].iter().map(|it| &rates[*it]);
            let hinting = self.regions[n].prepare_hints(around, rates, now, spreading);
            self.regions[n].learn_hints(hinting.run(spreading));
        }
    }

    /// Tells some of those where to wait, as many as nodes do in a tick.
    fn hint(&mut self, hints: &Hints, now: Timestamp) {
        let Hints { again, spreading, .. } = hints;
        for n in 0..self.regions.len() {
            for (driver, to) in self.regions[n].next_hints(now, spreading) {
                let n = number_of(driver.0);
                let to = self.morning.roads.spot(to);
                let driver = &mut self.drivers[n];
                let Doing::Idle { target } = driver.doing else { continue };
                let is_due = driver.told_at.is_none_or(|at| now.since(at) >= *again);
                if driver.follows && is_due {
                    driver.told_at = Some(now);
                    self.figures.n_sent += 1;
                    driver.doing = Doing::Idle { target: Some(to) };
                    if target.is_none() {
                        self.drive_on(n, Some(to), now);
                    }
                }
            }
        }
    }

    fn settle(mut self, now: Timestamp) -> Figures {
        // Who is on the way when the last request has a driver still gets there.
        while let Some(Reverse((at, n, turn))) = self.due.pop() {
            let is_wanted = match self.drivers[n].doing {
                Doing::Coming { .. } | Doing::Riding { next: Some(_), .. } => true,
                Doing::Riding { next: None, .. } | Doing::Idle { .. } | Doing::Away => false,
            };
            if self.drivers[n].turn == turn && is_wanted {
                self.arrive(n, at);
            }
        }
        for driver in &self.drivers {
            let idle_ms = match driver.doing {
                Doing::Idle { .. } => now.since(driver.idle_since).as_millis() as u64,
                Doing::Coming { .. } | Doing::Riding { .. } | Doing::Away => 0,
            };
            self.figures.worked(driver.idle_ms + idle_ms, driver.earning_ms);
        }
        let counted = (0..self.wishes.len()).filter(|ride| self.counts(*ride));
        let gone = counted.filter(|ride| self.wishes[*ride] == Wish::Gone);
        self.figures.n_gone = gone.count();
        self.figures
    }
}

fn job(ride: usize) -> JobId {
    JobId::Order(OrderId::nth(ride as u64))
}

/// Which `n` a made id was made of: it stands where a real one has its time.
fn number_of(id: Uuid) -> usize {
    (id.as_u128() >> 80) as usize
}

/// Which crossings are whose, the regions, and who is whose neighbour.
fn divide(nodes: &[Point], division: Division) -> (Vec<usize>, Vec<Region>, Vec<Vec<usize>>) {
    // A proposal shows at once here, so none is repeated.
    let region = |middle, radius_m| Region::new(middle, radius_m, Duration::ZERO, Timestamp(0));
    let Some(resolution) = division.resolution else {
        let middle = nodes.first().copied().unwrap_or_default();
        let radius_m = nodes.iter().map(|it| middle.distance_m(*it)).fold(0.0, f64::max);
        return (vec![0; nodes.len()], vec![region(middle, radius_m)], vec![Vec::new()]);
    };
    let mut numbers = BTreeMap::new();
    let mut middles = Vec::new();
    let mut region_of = Vec::with_capacity(nodes.len());
    for node in nodes {
        let at = h3o::LatLng::new(node.lat, node.lon).expect("a Point is finite");
        let cell = at.to_cell(resolution);
        region_of.push(*numbers.entry(cell).or_insert_with(|| {
            let middle = h3o::LatLng::from(cell);
            middles.push((cell, Point { lat: middle.lat(), lon: middle.lng() }));
            middles.len() - 1
        }));
    }
    let radius_m = resolution.edge_length_m() * 1.2;
    let ring = middles.iter().enumerate().map(|(n, (cell, _))| {
        let mut disk: Vec<h3o::CellIndex> = cell.grid_disk(division.rings);
        disk.sort_unstable();
        disk.iter().filter_map(|it| numbers.get(it).copied()).filter(|it| *it != n).collect()
    });
    let ring = ring.collect();
    let regions = middles.iter().map(|(_, middle)| region(*middle, radius_m)).collect();
    (region_of, regions, ring)
}
