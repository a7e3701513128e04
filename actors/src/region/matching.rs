//! Who should be offered what: one round over all open searches of a region, as a pure function.
//!
//! Every search first gets one driver, chosen together with all other searches so that the total cost
//! is least; only then do those that want several get more. No driver is proposed twice in a round. A
//! pair of `batch_optimal` or `auto_assign` is *held* back until it is good enough for the age of the
//! request: on real trips waiting for a good pair saved a quarter of all waiting, and solving a short
//! batch exactly, without the hold, next to nothing.

use super::{
    assignment::{Edges, assign},
    grid::{Grid, Near},
};
use crate::{DriverCard, SearchCard, search::Candidate};
use protocol::{
    DriverId, JobId, Point, Timestamp,
    view::WorkKind,
    work::{OfferPolicy, VehicleKind},
};
use serde::{Deserialize, Serialize};
use std::{collections::HashMap, ops::Range, sync::Arc};

/// The side of a field's cells where drivers are dense; doubled up to four times where they are not.
const CELL_MIN_M: f32 = 50.0;
/// How far a region's grid reaches: over its own cell and the ring around it.
const REACH_M: f32 = 30_000.0;
/// Most cells of a region's grid, for each driver in it.
const CELLS_PER_DRIVER_MAX: f32 = 2_048.0;
/// How much longer a driver's way to its destination may become through a job.
const DETOUR_HOME_MAX: f64 = 1.5;
/// How often searches that came away empty look further in one round.
const N_HELPINGS: u32 = 3;

/// How pairs are valued.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How many drivers are weighed for each search.
    pub n_candidates: u16,
    /// How much longer the road is than the straight line.
    pub detour: f32,
    /// How fast vehicles get through.
    pub speeds: Speeds,
    /// A pair is held while it takes longer than this to get to the pickup, in milliseconds …
    pub hold_ms: u32,
    /// … plus this many times the age of the request.
    pub hold_per_age: u32,
    /// A position older than this is no position, in milliseconds (invariant I-11).
    pub stale_ms: u32,
    /// How much less, at most, a driver costs for having been idle, in milliseconds of travel.
    pub idle_bonus_max_ms: u32,
    /// Idle for this long, a driver has the whole of that bonus, in milliseconds.
    pub idle_full_ms: u32,
    /// How much more a driver costs for each star that is missing, in milliseconds of travel.
    pub missing_star_ms: u32,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            n_candidates: 10,
            detour: 1.35,
            speeds: Speeds::default(),
            hold_ms: 60_000,
            hold_per_age: 10,
            stale_ms: 60_000,
            idle_bonus_max_ms: 5_000,
            idle_full_ms: 20 * 60_000,
            missing_star_ms: 1_000,
        }
    }
}

/// Mean speeds on the road through a city, in metres per second.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[expect(missing_docs, reason = "the names say it")]
pub struct Speeds {
    pub foot: f32,
    pub bicycle: f32,
    pub moto: f32,
    pub car: f32,
    pub van: f32,
    pub tow_truck: f32,
}

impl Default for Speeds {
    fn default() -> Self {
        Self { foot: 1.4, bicycle: 4.2, moto: 7.5, car: 7.0, van: 6.5, tow_truck: 6.0 }
    }
}

impl Speeds {
    /// All of them `factor` times as fast.
    #[must_use]
    pub fn times(self, factor: f32) -> Self {
        Self {
            foot: self.foot * factor,
            bicycle: self.bicycle * factor,
            moto: self.moto * factor,
            car: self.car * factor,
            van: self.van * factor,
            tow_truck: self.tow_truck * factor,
        }
    }

    fn of(&self, vehicle: VehicleKind) -> f32 {
        match vehicle {
            VehicleKind::Foot => self.foot,
            VehicleKind::Bicycle => self.bicycle,
            VehicleKind::Moto => self.moto,
            VehicleKind::Car => self.car,
            VehicleKind::Van => self.van,
            VehicleKind::TowTruck => self.tow_truck,
        }
    }
}

impl Settings {
    /// How long a vehicle needs for a straight distance, in milliseconds.
    pub fn eta_ms(&self, vehicle: VehicleKind, distance_m: f32) -> u32 {
        (distance_m * self.detour / self.speeds.of(vehicle) * 1_000.0) as u32
    }

    /// What it costs to give a search this driver, in milliseconds of travel. Ties between drivers
    /// about as near go to who has waited longest, then to who is liked best.
    fn cost_ms(&self, driver: &DriverCard, eta_ms: u32, now: Timestamp) -> u32 {
        let idle_ms = now.since(driver.idle_since).as_millis().min(u128::from(self.idle_full_ms));
        let bonus = idle_ms as u64 * u64::from(self.idle_bonus_max_ms)
            / u64::from(self.idle_full_ms.max(1));
        let missing = u64::from(500_u16.saturating_sub(driver.rating));
        let malus = missing * u64::from(self.missing_star_ms) / 100;
        let cost = u64::from(eta_ms) + u64::from(self.idle_bonus_max_ms) - bonus + malus;
        u32::try_from(cost).unwrap_or(u32::MAX)
    }

    /// Is the driver near enough for how long the request has waited?
    fn is_good_enough(&self, search: &SearchCard, eta_ms: u32, now: Timestamp) -> bool {
        let age_ms = now.since(search.opened_at).as_millis();
        u128::from(eta_ms)
            <= u128::from(self.hold_ms) + age_ms.saturating_mul(u128::from(self.hold_per_age))
    }
}

/// The drivers a round may propose, by where they are.
#[derive(Debug)]
pub struct Field {
    centre: Point,
    grid: Grid,
    cell_m: f32,
    drivers: Vec<Arc<DriverCard>>,
    numbers: HashMap<DriverId, u32>,
}

impl Field {
    /// An empty field around a place.
    pub fn new(centre: Point) -> Self {
        Self {
            centre,
            grid: Grid::new(centre, REACH_M, CELL_MIN_M * 16.0),
            cell_m: CELL_MIN_M * 16.0,
            drivers: Vec::new(),
            numbers: HashMap::new(),
        }
    }

    /// Replaces everyone. A driver who comes twice (between two regions) counts where it was seen last.
    /// Between equals their place decides, and then their ids: never the order in which they come.
    pub fn fill(&mut self, drivers: impl IntoIterator<Item = Arc<DriverCard>>) {
        self.drivers.clear();
        self.numbers.clear();
        for card in drivers {
            let n = *self.numbers.entry(card.id).or_insert(self.drivers.len() as u32);
            match self.drivers.get_mut(n as usize) {
                Some(known) if known.seen_at < card.seen_at => *known = card,
                Some(_) => {}
                None => self.drivers.push(card),
            }
        }
        let cell_m = self.fitting_cell_m();
        if cell_m == self.cell_m {
            self.grid.clear();
        } else {
            self.cell_m = cell_m;
            self.grid = Grid::new(self.centre, REACH_M, cell_m);
        }
        // Neighbours in the city become neighbours in memory.
        self.drivers.sort_by_cached_key(|card| (self.grid.place(card.at), card.id));
        for (n, card) in (0..).zip(&self.drivers) {
            self.grid.upsert(n, card.at);
        }
    }

    /// Cells with about one driver each: fewer means walking over empty ones, more means comparing
    /// with drivers who are not near. Few drivers get a coarse grid, however near to each other they are:
    /// a fine one is megabytes, and a node has thousands of regions.
    fn fitting_cell_m(&self) -> f32 {
        let (mut low, mut high) =
            (Point { lat: 90.0, lon: 180.0 }, Point { lat: -90.0, lon: -180.0 });
        for card in &self.drivers {
            (low.lat, low.lon) = (low.lat.min(card.at.lat), low.lon.min(card.at.lon));
            (high.lat, high.lon) = (high.lat.max(card.at.lat), high.lon.max(card.at.lon));
        }
        let width_m = low.distance_m(Point { lon: high.lon, ..low });
        let height_m = low.distance_m(Point { lat: high.lat, ..low });
        let n_drivers = self.drivers.len().max(1) as f64;
        let room_m = (width_m * height_m / n_drivers).sqrt() as f32;
        let whole_m = 2.0 * REACH_M;
        let least_m = whole_m / (n_drivers as f32 * CELLS_PER_DRIVER_MAX).sqrt();
        (0..4)
            .map(|n| CELL_MIN_M * f32::from(1_u8 << n))
            .find(|it| *it * 1.4 >= room_m && *it >= least_m)
            .unwrap_or(CELL_MIN_M * 16.0)
    }

    /// How many drivers there are.
    pub fn len(&self) -> usize {
        self.drivers.len()
    }

    /// Is nobody there?
    pub fn is_empty(&self) -> bool {
        self.drivers.is_empty()
    }

    /// A grid of those who are not taken: of many drivers, few may be left.
    fn without(&self, is_taken: &[bool]) -> Grid {
        let mut grid = Grid::new(self.centre, REACH_M, CELL_MIN_M * 16.0);
        for ((n, card), _) in (0..).zip(&self.drivers).zip(is_taken).filter(|(_, taken)| !**taken) {
            grid.upsert(n, card.at);
        }
        grid
    }

    fn card(&self, n: u32) -> &DriverCard {
        &self.drivers[n as usize]
    }
}

/// How searches share drivers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pairing {
    /// The least total cost over all searches.
    Joint,
    /// The oldest search chooses first: for a region that does not know everyone yet.
    Greedy,
}

/// Drivers to be offered a job, best first.
#[derive(Debug, Clone, PartialEq)]
pub struct Proposal {
    /// Which job.
    pub job: JobId,
    /// The round of its search that this answers.
    pub round: u32,
    /// Whom.
    pub candidates: Vec<Candidate>,
}

/// What came out of a round.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Outcome {
    /// At most one per search, the oldest search first.
    pub proposals: Vec<Proposal>,
    /// How many pairs were found and held back as not good enough yet.
    pub n_held: usize,
}

/// A driver as one search sees it.
#[derive(Debug, Clone, Copy)]
struct Pick {
    driver: u32,
    cost_ms: u32,
    eta_ms: u32,
    distance_m: f32,
}

/// May this driver be offered this job?
pub fn fits(search: &SearchCard, driver: &DriverCard, now: Timestamp, settings: &Settings) -> bool {
    let has_room = match search.work {
        WorkKind::Ride => driver.is_free || driver.is_nearly_free,
        WorkKind::Delivery => driver.has_delivery_slot || driver.is_nearly_free,
        WorkKind::Rescue => driver.is_free,
    };
    // One person may ride and drive: same number, different kinds of id (invariant I-6).
    let is_same_person = search.rider.0 == driver.id.0;
    let is_stale = now.since(driver.seen_at).as_millis() > u128::from(settings.stale_ms);
    has_room
        && !is_same_person
        && !is_stale
        && search.only.is_none_or(|only| only == driver.id)
        && search.needs.are_met_by(&driver.vehicle)
        && !search.excluded.contains(&driver.id)
        && driver.destination.is_none_or(|to| leads_there(search, driver.at, to))
}

/// Does the job lead to where the driver wants to go, without too much of a detour?
fn leads_there(search: &SearchCard, from: Point, to: Point) -> bool {
    let Some(dropoff) = search.dropoff else { return false };
    let direct_m = from.distance_m(to);
    let left_m = dropoff.distance_m(to);
    let whole_m = from.distance_m(search.pickup) + search.pickup.distance_m(dropoff) + left_m;
    left_m < direct_m && whole_m <= direct_m * DETOUR_HOME_MAX
}

/// One round: whom to propose for each of these searches. `rivals` want drivers of the same field but
/// are served elsewhere: they get their share of the joint choice, so that two regions with one border
/// come to much the same answer, but nothing is proposed for them. The same input gives the same answer.
pub fn round<'a>(
    searches: impl IntoIterator<Item = &'a SearchCard>,
    rivals: impl IntoIterator<Item = &'a SearchCard>,
    field: &Field,
    now: Timestamp,
    settings: &Settings,
    pairing: Pairing,
) -> Outcome {
    let ours = searches.into_iter().map(|card| (card, true));
    let all = ours.chain(rivals.into_iter().map(|card| (card, false)));
    let mut all: Vec<(&SearchCard, bool)> = all.filter(|(card, _)| proposes(card)).collect();
    all.sort_by_key(|(card, _)| (card.opened_at, card.job));
    let (searches, is_ours): (Vec<&SearchCard>, Vec<bool>) = all.into_iter().unzip();
    let mut order: Vec<usize> = (0..searches.len()).collect();
    if pairing == Pairing::Joint {
        order.sort_by_cached_key(|&i| field.grid.place(searches[i].pickup));
    }
    let mut round = Round {
        field,
        now,
        settings,
        chosen: vec![None; searches.len()],
        is_taken: vec![false; field.len()],
        picks: Vec::with_capacity(searches.len() * usize::from(settings.n_candidates)),
        spans: vec![0..0; searches.len()],
        near: Vec::new(),
        searches,
        is_ours,
        order,
    };
    round.weigh_everyone();
    match pairing {
        Pairing::Joint => round.choose_jointly(),
        Pairing::Greedy => round.choose_in_turn(),
    }
    round.help_again(pairing);
    round.outcome()
}

/// Does this search take proposals at all?
fn proposes(search: &SearchCard) -> bool {
    search.n_wanted > 0
        && match search.policy {
            OfferPolicy::Feed => false,
            OfferPolicy::Direct => search.only.is_some(),
            OfferPolicy::Sequential
            | OfferPolicy::BroadcastFirstWins
            | OfferPolicy::TwoSided
            | OfferPolicy::BatchOptimal
            | OfferPolicy::AutoAssign => true,
        }
}

/// May one search be offered to several drivers at once?
fn is_shared(policy: OfferPolicy) -> bool {
    match policy {
        OfferPolicy::BroadcastFirstWins | OfferPolicy::TwoSided => true,
        OfferPolicy::Sequential
        | OfferPolicy::BatchOptimal
        | OfferPolicy::AutoAssign
        | OfferPolicy::Direct
        | OfferPolicy::Feed => false,
    }
}

/// Does a pair wait until it is good enough?
fn is_held(policy: OfferPolicy) -> bool {
    match policy {
        OfferPolicy::BatchOptimal | OfferPolicy::AutoAssign => true,
        OfferPolicy::Sequential
        | OfferPolicy::BroadcastFirstWins
        | OfferPolicy::TwoSided
        | OfferPolicy::Direct
        | OfferPolicy::Feed => false,
    }
}

/// How many drivers a search weighs.
fn n_candidates(search: &SearchCard, settings: &Settings) -> usize {
    usize::from(settings.n_candidates).max(usize::from(search.n_wanted)).max(1)
}

struct Round<'a> {
    searches: Vec<&'a SearchCard>,
    /// Per search: are proposals for it wanted?
    is_ours: Vec<bool>,
    /// In what order searches are looked at. Those that choose together go by place, so that what one
    /// looks at is still at hand for the next; those that choose in turn go by age.
    order: Vec<usize>,
    field: &'a Field,
    now: Timestamp,
    settings: &'a Settings,
    /// Everyone's picks, one search after the other, each cheapest first.
    picks: Vec<Pick>,
    /// Per search: its part of `picks`.
    spans: Vec<Range<usize>>,
    /// Per search: the driver it gets.
    chosen: Vec<Option<Pick>>,
    /// Per driver.
    is_taken: Vec<bool>,
    /// Scratch space.
    near: Vec<Near>,
}

impl Round<'_> {
    fn weigh_everyone(&mut self) {
        for n in 0..self.order.len() {
            let (search, start) = (self.order[n], self.picks.len());
            self.weigh(&self.field.grid, search);
            self.spans[search] = start..self.picks.len();
        }
    }

    /// Appends to `picks` the nearest drivers of `grid` for a search who are not taken.
    fn weigh(&mut self, grid: &Grid, search: usize) {
        let Self { field, now, settings, is_taken, near, picks, .. } = self;
        let search = self.searches[search];
        let k = n_candidates(search, settings);
        let fits = |n: u32| !is_taken[n as usize] && fits(search, field.card(n), *now, settings);
        grid.nearest(search.pickup, k, search.radius_m as f32, fits, near);
        let start = picks.len();
        picks.extend(near.iter().map(|&Near { n, distance_m }| {
            let driver = field.card(n);
            let eta_ms = settings.eta_ms(driver.vehicle.kind, distance_m);
            let cost_ms = settings.cost_ms(driver, eta_ms, *now);
            Pick { driver: n, cost_ms, eta_ms, distance_m }
        }));
        picks[start..].sort_by_key(|pick| (pick.cost_ms, pick.driver));
    }

    fn choose_jointly(&mut self) {
        let order = std::mem::take(&mut self.order);
        let spans: Vec<_> = order.iter().map(|&search| self.spans[search].clone()).collect();
        self.pair(&order, &spans);
        self.order = order;
    }

    /// Gives these searches a driver each out of these parts of `picks`, at the least total cost.
    fn pair(&mut self, searches: &[usize], spans: &[Range<usize>]) {
        let mut edges = Edges::new(self.field.len());
        for span in spans {
            let picks = self.picks[span.clone()].iter();
            edges.push_row(picks.map(|pick| (pick.driver, pick.cost_ms)));
        }
        for ((&search, span), column) in searches.iter().zip(spans).zip(assign(&edges)) {
            let Some(driver) = column else { continue };
            self.is_taken[driver as usize] = true;
            self.chosen[search] =
                self.picks[span.clone()].iter().find(|pick| pick.driver == driver).copied();
        }
    }

    fn choose_in_turn(&mut self) {
        for (chosen, span) in self.chosen.iter_mut().zip(&self.spans) {
            let mut picks = self.picks[span.clone()].iter();
            *chosen = picks.find(|pick| !self.is_taken[pick.driver as usize]).copied();
            if let Some(pick) = chosen {
                self.is_taken[pick.driver as usize] = true;
            }
        }
    }

    /// In a crowd many searches weigh the same few drivers, and most come away empty though others are
    /// not far. Those look again, among drivers that nobody has.
    fn help_again(&mut self, pairing: Pairing) {
        for _ in 0..N_HELPINGS {
            let is_starved = |&i: &usize| {
                self.chosen[i].is_none()
                    && self.spans[i].len() == n_candidates(self.searches[i], self.settings)
            };
            let hungry: Vec<usize> = self.order.iter().copied().filter(is_starved).collect();
            if hungry.is_empty() {
                return;
            }
            let rest = self.field.without(&self.is_taken);
            let mut spans = Vec::with_capacity(hungry.len());
            for &search in &hungry {
                let start = self.picks.len();
                self.weigh(&rest, search);
                spans.push(start..self.picks.len());
                if pairing == Pairing::Greedy
                    && let Some(&best) = self.picks.get(start)
                {
                    self.is_taken[best.driver as usize] = true;
                    self.chosen[search] = Some(best);
                }
            }
            if pairing == Pairing::Joint {
                self.pair(&hungry, &spans);
            }
            for (&search, span) in hungry.iter().zip(spans) {
                self.spans[search] = span;
            }
        }
    }

    fn outcome(mut self) -> Outcome {
        let mut outcome = Outcome::default();
        for (i, search) in self.searches.iter().enumerate() {
            let Some(best) = self.chosen[i] else { continue };
            if is_held(search.policy)
                && !self.settings.is_good_enough(search, best.eta_ms, self.now)
            {
                outcome.n_held += usize::from(self.is_ours[i]);
                continue;
            }
            let mut picks = vec![best];
            if is_shared(search.policy) {
                for &pick in &self.picks[self.spans[i].clone()] {
                    if picks.len() == usize::from(search.n_wanted) {
                        break;
                    }
                    if !std::mem::replace(&mut self.is_taken[pick.driver as usize], true) {
                        picks.push(pick);
                    }
                }
                picks.sort_by_key(|pick| (pick.cost_ms, pick.driver));
            }
            if !self.is_ours[i] {
                continue;
            }
            let candidates = picks.iter().map(|pick| Candidate {
                driver: self.field.card(pick.driver).id,
                eta_s: pick.eta_ms.div_ceil(1_000),
                distance_m: pick.distance_m.round() as u32,
            });
            outcome.proposals.push(Proposal {
                job: search.job,
                round: search.round,
                candidates: candidates.collect(),
            });
        }
        outcome
    }
}

#[cfg(test)]
mod tests;
