//! Regions bring open searches and free drivers together; they propose, and never decide.
//!
//! ```text
//!  an entity's listing changes          every tick                     (soft; a job may refuse)
//!  Regions::list ──► Area.inbox ──► Region actor ──► matching::Region ──► Surroundings::propose
//!                    (latest wins)      │    ▲
//!                                       ▼    │ rosters of the ring of neighbours
//!                                  Area.roster, and whom each has just proposed
//! ```
//!
//! A region is soft state. It is created by the first listing, forgets itself when it has been empty for
//! a while, and when it falls its successor starts empty and asks for everyone to be listed again. What takes
//! long to learn is kept in the journal now and then, and gone on from (`kept.rs`). What
//! outlives the actor is its `Area`: an inbox that keeps one entry per entity, so that a slow region
//! never has more to read than there are entities, and the roster its neighbours read. Regions see the
//! drivers of the ring around theirs and leave those alone whom a neighbour has just proposed. Two that match at the same
//! moment, or on different nodes, may still propose the same one: the driver refuses the second offer.

mod area;
mod groups;
mod keeper;
mod kept;
mod line;
mod live;
mod rounds;

pub use groups::Choice;
pub use kept::Kept;

use self::{
    area::{Area, Entry},
    keeper::{Keeper, Order},
    rounds::Rounds,
};
use crate::{
    Card, EntityKey, Listing,
    journal::{CommitError, JournalError},
    listing::RegionId,
    rule::{Rules, Scope},
    search::{Account, Candidate},
    tell::Journey,
    zone::Zones,
};
use futures_util::{
    future::BoxFuture,
    stream::{self, StreamExt},
};
use matching::{
    Field, Router,
    batch::{self, Legs},
    cost,
    demand::Spreading,
    rank::Rank,
    region::{Batching, Matching},
    replay::{Replayed, replay},
    round::Outcome,
    router::{Learned, Ways, along},
    surge,
};
use protocol::{
    DriverId, JobId, Point, ShardId, ShardSet, Timestamp, ZoneId,
    rule::RuleChanges,
    trace::{Chance, Seen},
    view::{Eta, Etas, Queued, StopKind, ZonePause},
    work::VehicleKind,
};
use ractor::{ActorRef, ActorRuntime, ActorStatus, SpawnErr};
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};
use tracing::warn;

/// Most regions that keep all they know at the same time: each writes up to some hundred kilobytes, and commits go before.
const KEEPING_MAX: usize = 4;

/// What regions ask of the rest of their node. None of it blocks.
pub trait Surroundings: std::fmt::Debug + Send + Sync + 'static {
    /// Proposes drivers, best first, for a round of a job's search. The job decides.
    fn propose(&self, job: JobId, round: u32, candidates: Vec<Candidate>);
    /// The zone of a job's pickup is paused, or (none) not any more. The job decides what that means.
    fn pause(&self, job: JobId, pause: Option<ZonePause>);
    /// A driver with nothing to do had better wait there. The driver decides whether that is news.
    fn hint(&self, driver: DriverId, to: Point);
    /// The multiplier of a zone is another one than was written down. The zone decides whether that is to be.
    fn surge(&self, zone: ZoneId, cell: &surge::Cell, cause: surge::Cause);
    /// Some deliveries had better be brought together. They, the run and its driver decide.
    fn batch(&self, region: RegionId, proposal: batch::Proposal, settings: &batch::Settings);
    /// A region has started with an empty memory: whoever is listed there should list itself again.
    fn region_up(&self, region: RegionId);
    /// A job that waits for a driver is somewhere else in the queue now. Lossy: the latest counts.
    fn queued(&self, job: JobId, queued: Queued);
    /// Keeps something of a region for whoever matches in it next, in the place of what was kept before; fenced, if that is
    /// somebody else already.
    fn keep(
        &self,
        region: RegionId,
        what: Kept,
        bytes: Vec<u8>,
    ) -> BoxFuture<'static, Result<(), CommitError>>;
    /// What was last kept of a region, by whoever matched in it.
    fn kept(
        &self,
        region: RegionId,
        what: Kept,
    ) -> BoxFuture<'static, Result<Option<Vec<u8>>, JournalError>>;
    /// Does this node match in it? If not, it only keeps its roster, for neighbours that it does match in.
    fn is_ours(&self, region: RegionId) -> bool;
    /// The node's clock.
    fn now(&self) -> Timestamp;
}

/// How regions live.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How often a region matches, in milliseconds; 0: only when [`Regions::tick`] says so.
    pub tick_ms: u32,
    /// How long a new region, which may not know everyone yet, lets searches choose in turn, in
    /// milliseconds.
    pub warm_up_ms: u32,
    /// How long a proposal is given to show in listings before it is repeated, in milliseconds.
    pub repeat_ms: u32,
    /// How long an empty region stays, in milliseconds.
    pub linger_ms: u32,
    /// How often what a region has learned is kept for whoever matches there next, in milliseconds, and what moves of its lines
    /// every thirty seconds, if that is more often; 0: never, and nothing is gone on from.
    pub keep_every_ms: u32,
    /// With so many drivers and searches a region is matched in parts, its H3 children, whenever many searches are due for
    /// its drivers, and always at once again with half as many; 0: never in parts.
    pub split_at: u32,
    /// How many rings of neighbours a region sees; 0 only to measure what the ring is worth.
    pub rings: u8,
    /// How pairs are valued.
    pub matching: cost::Settings,
    /// How scarcity becomes a multiplier.
    pub surge: surge::Settings,
    /// How drivers with nothing to do are spread, whose presets let them be told.
    pub spreading: Spreading,
    /// What is brought together, of those deliveries whose presets allow it.
    pub batches: batch::Settings,
    /// Where drivers line up. Each belongs to the region its middle is in.
    pub ranks: Vec<Rank>,
    /// What knows how long ways take.
    #[serde(skip)]
    pub atlas: Atlas,
    /// By which rules searches are matched: the name of the node's preset. It has them, so it is not among the settings of a node.
    #[serde(skip)]
    pub preset: String,
}

/// What knows how long ways take; none: the straight line, and what is learned of it.
#[derive(Debug, Clone, Default)]
pub struct Atlas(pub Option<Arc<dyn Router>>);

impl PartialEq for Atlas {
    /// Is it the very same?
    fn eq(&self, other: &Self) -> bool {
        match (&self.0, &other.0) {
            (Some(one), Some(other)) => Arc::ptr_eq(one, other),
            (None, None) => true,
            (Some(_), None) | (None, Some(_)) => false,
        }
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            tick_ms: 1_000,
            warm_up_ms: 3_000,
            repeat_ms: 2_000,
            linger_ms: 60_000,
            keep_every_ms: 300_000,
            split_at: 10_000,
            rings: 1,
            matching: cost::Settings::default(),
            surge: surge::Settings::default(),
            spreading: Spreading::default(),
            batches: batch::Settings::default(),
            ranks: Vec::new(),
            atlas: Atlas::default(),
            preset: String::new(),
        }
    }
}

/// What one region last did.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
pub struct Stats {
    /// How many drivers are listed in it (not in the ring).
    pub n_drivers: usize,
    /// How many searches are open in it.
    pub n_searches: usize,
    /// How many changes of listings, positions among them, have reached it since it was created.
    pub n_listed: u64,
    /// How many pairs its last tick held back.
    pub n_held: usize,
    /// In how many parts its last tick matched.
    pub n_parts: usize,
    /// How many searches it has proposed drivers for since it was created.
    pub n_proposed: u64,
    /// How often it has matched since it was created.
    pub n_ticks: u64,
    /// How often it has fallen since it was created.
    pub n_falls: u64,
    /// How long its last tick took, in microseconds.
    pub tick_us: u64,
}

/// All regions of one node. Cloning shares them. They end with [`Regions::stop`].
#[derive(Debug, Clone)]
pub struct Regions {
    world: Arc<World>,
    keeper: ActorRef<Order>,
}

/// What regions share.
#[derive(Debug)]
struct World {
    settings: Settings,
    router: Arc<dyn Router>,
    surroundings: Arc<dyn Surroundings>,
    areas: RwLock<HashMap<RegionId, Arc<Area>>>,
    /// Of all of them, so that what one saw outlives it.
    rounds: Rounds,
    /// Since when they are here.
    started_at: Timestamp,
    /// When each shard last changed hands, of those that did.
    moved_at: Mutex<HashMap<ShardId, Timestamp>>,
    /// Where nothing begins.
    zones: Zones,
    /// How searches are matched otherwise.
    rules: Rules,
    /// When it was said that what was kept of them cannot be read.
    unread: kept::Rarely,
}

impl Regions {
    /// Starts with no region at all. Must be called within a Tokio runtime.
    pub fn start(
        settings: Settings,
        surroundings: Arc<dyn Surroundings>,
    ) -> Result<Self, SpawnErr> {
        let areas = RwLock::default();
        let straight = || Arc::new(settings.matching.straight()) as Arc<dyn Router>;
        let router = settings.atlas.0.clone().unwrap_or_else(straight);
        let rounds = Rounds::default();
        let zones = Zones::default();
        let rules = Rules::new(settings.preset.clone(), settings.matching.clone());
        let (started_at, moved_at) = (surroundings.now(), Mutex::default());
        let world = World {
            settings,
            router,
            surroundings,
            areas,
            rounds,
            started_at,
            moved_at,
            zones,
            rules,
            unread: kept::Rarely::default(),
        };
        let world = Arc::new(world);
        let (keeper, _started) = ActorRuntime::spawn_instant(None, Keeper, world.clone())?;
        Ok(Self { world, keeper })
    }

    /// Takes note that what regions should know of `entity` changed from `old` to `new`. Never waits
    /// for a region; of several changes between two ticks the last one counts. Changes of one entity
    /// must come in their order.
    pub fn list(&self, entity: EntityKey, old: Option<&Listing>, new: Option<&Listing>) {
        // In this order, so that a driver who crosses a border is never nowhere.
        if let Some(new) = new {
            self.put(new.region, entity, Some(Entry::of(&new.card)));
        }
        if let Some(old) = old
            && new.is_none_or(|new| new.region != old.region)
        {
            self.put(old.region, entity, None);
        }
    }

    /// The same for one region only, as another node tells it.
    pub(crate) fn list_in(&self, region: RegionId, entity: EntityKey, card: Option<&Card>) {
        self.put(region, entity, card.map(Entry::of));
    }

    /// Others speak for the entities of `shards` from now on: who is listed is listed again. Regions
    /// nobody here looks at any more forget everybody.
    pub(crate) fn forget(&self, shards: &ShardSet, is_seen_here: impl Fn(RegionId) -> bool) {
        let now = self.world.surroundings.now();
        let mut moved = self.world.moved_at.lock().unwrap_or_else(PoisonError::into_inner);
        moved.extend(shards.iter().map(|shard| (shard, now)));
        drop(moved);
        let areas = self.world.areas.read().unwrap_or_else(PoisonError::into_inner);
        for area in areas.values() {
            area.forget(if is_seen_here(area.region) { shards } else { &ShardSet::ALL });
        }
    }

    /// How pairs are valued, and what may be offered to whom.
    pub fn costs(&self) -> &cost::Settings {
        &self.world.settings.matching
    }

    /// How scarcity becomes a multiplier, and between what that lies.
    pub fn surge(&self) -> &surge::Settings {
        &self.world.settings.surge
    }

    /// What is brought together, and when it is looked for.
    pub fn batches(&self) -> &batch::Settings {
        &self.world.settings.batches
    }

    /// What knows how long ways take. What is learned of it, each region keeps to itself.
    pub fn router(&self) -> Arc<dyn Router> {
        Arc::clone(&self.world.router)
    }

    /// Does that know streets, or only straight lines?
    pub fn knows_streets(&self) -> bool {
        self.world.settings.atlas.0.is_some()
    }

    /// How many rings of neighbours a region sees.
    pub(crate) fn rings(&self) -> u8 {
        self.world.settings.rings
    }

    fn put(&self, region: RegionId, entity: EntityKey, entry: Option<Entry>) {
        {
            // An area is closed under the write lock, so none is closed while this writes to it.
            let areas = self.world.areas.read().unwrap_or_else(PoisonError::into_inner);
            if let Some(area) = areas.get(&region) {
                area.put(entity, entry);
                return;
            }
        }
        if entry.is_none() || self.keeper.get_status() >= ActorStatus::Stopping {
            return;
        }
        let mut areas = self.world.areas.write().unwrap_or_else(PoisonError::into_inner);
        let area = areas.entry(region).or_insert_with(|| {
            let area = Arc::new(Area::new(region));
            // Refused only if regions are being stopped at this moment, which empties the map anyway.
            self.keeper.cast(Order::Wake(area.clone())).ok();
            area
        });
        area.put(entity, entry);
    }

    /// Lets every region do one tick now, one after the other, and waits for them. For tests and
    /// simulations, which have a clock of their own.
    pub async fn tick(&self) {
        for (_, region) in self.awake().await {
            // A region that falls drops the reply. Its successor takes part in the next tick.
            region.call(|done| live::Call::Tick(Some(done)), None).await.ok();
        }
    }

    /// Lets the regions of these shards that are matched here keep what they know, and waits for that: they are about to be
    /// matched by somebody else, or by this node when it is back.
    pub async fn keep(&self, shards: &ShardSet) {
        if !self.world.keeps() {
            return;
        }
        let mut those = self.awake().await;
        those.retain(|(region, _)| shards.contains(region.shard()));
        // A region that falls drops the reply, and keeps nothing.
        let keep = |(_, it): (RegionId, ActorRef<live::Call>)| async move {
            drop(it.call(live::Call::Keep, None).await);
        };
        stream::iter(those).for_each_concurrent(KEEPING_MAX, keep).await;
    }

    /// Regions that live, in the order of their cells.
    async fn awake(&self) -> Vec<(RegionId, ActorRef<live::Call>)> {
        let Ok(awake) = self.keeper.call(Order::Roll, None).await else { return Vec::new() };
        awake.unwrap_or(Vec::new())
    }

    /// What each region last did, in the order of their cells.
    pub fn stats(&self) -> Vec<(RegionId, Stats)> {
        let areas = self.world.areas.read().unwrap_or_else(PoisonError::into_inner);
        let mut stats: Vec<_> = areas.values().map(|area| (area.region, area.stats())).collect();
        stats.sort_by_key(|(region, _)| *region);
        stats
    }

    /// What is counted of each zone by the regions that are matched here, and the multiplier that follows from it.
    pub fn demand(&self) -> Vec<(ZoneId, surge::Cell)> {
        let areas = self.world.areas.read().unwrap_or_else(PoisonError::into_inner);
        let ours = areas.values().filter(|area| self.world.surroundings.is_ours(area.region));
        ours.flat_map(|area| area.demand.load().iter().cloned().collect::<Vec<_>>()).collect()
    }

    /// Which in the queue of its region a job is, from 1, and how many there are; none if it does not look for a driver
    /// here.
    pub fn place_of(&self, job: JobId, pickup: Point) -> Option<(usize, usize)> {
        let region = RegionId::at(pickup);
        let areas = self.world.areas.read().unwrap_or_else(PoisonError::into_inner);
        let area = areas.get(&region).filter(|_| self.world.surroundings.is_ours(region))?;
        let queue = area.queue.load();
        Some((queue.iter().position(|it| *it == job)? + 1, queue.len()))
    }

    /// How long a journey takes for each job on it, as the region that it is asked of knows ways; if that is not here, as its
    /// router does.
    pub fn etas(&self, journey: &Journey, now: Timestamp) -> Vec<(JobId, Etas)> {
        let Journey { region, vehicle, from, halts, .. } = journey;
        let places: Vec<Point> =
            std::iter::once(*from).chain(halts.iter().map(|halt| halt.at)).collect();
        let (router, ways) = (&*self.world.router, self.ways_of(*region));
        let ends = match &ways {
            Some(ways) => along(&Learned { router, ways }, &places, *vehicle, now),
            None => along(router, &places, *vehicle, now),
        };
        let mut told: Vec<(JobId, Etas)> = Vec::new();
        for (halt, end) in halts.iter().zip(ends) {
            let end = Some(Eta::from(end));
            let known = told.iter_mut().find(|(job, _)| *job == halt.job);
            if let Some((_, etas)) = known {
                // What was its last stop until now is the next one.
                if etas.pickup.is_none() && etas.next.is_none() {
                    etas.next = etas.arrival;
                }
                etas.arrival = end;
            } else {
                let pickup = end.filter(|_| halt.what == StopKind::Pickup);
                told.push((halt.job, Etas { at: now, pickup, next: None, arrival: end }));
            }
        }
        told
    }

    /// How long it takes between places of a region, for a run; known as of a journey.
    pub fn legs(
        &self,
        region: RegionId,
        places: impl IntoIterator<Item = Point>,
        vehicle: VehicleKind,
        now: Timestamp,
    ) -> Legs {
        let (router, ways) = (&*self.world.router, self.ways_of(region));
        match &ways {
            Some(ways) => Legs::by(&Learned { router, ways }, places, vehicle, now),
            None => Legs::by(router, places, vehicle, now),
        }
    }

    /// How ways in a region really go, as was learned here.
    fn ways_of(&self, region: RegionId) -> Option<Arc<Ways>> {
        let areas = self.world.areas.read().unwrap_or_else(PoisonError::into_inner);
        areas.get(&region).and_then(|area| area.ways.load_full())
    }

    /// At which rank a driver stands in line here, as which, from 1, and of how many; none if it does not.
    pub fn turn_of(&self, driver: DriverId) -> Option<(String, usize, usize)> {
        let areas = self.world.areas.read().unwrap_or_else(PoisonError::into_inner);
        areas.values().filter(|area| self.world.surroundings.is_ours(area.region)).find_map(
            |area| {
                let lines = area.lines.load();
                let at = |line: &[DriverId]| line.iter().position(|it| *it == driver);
                lines
                    .iter()
                    .find_map(|(rank, line)| Some((rank.clone(), at(line)? + 1, line.len())))
            },
        )
    }

    /// Where nothing begins, as this node knows it: whoever hears of a pause takes it in here.
    pub fn zones(&self) -> &Zones {
        &self.world.zones
    }

    /// How drivers are found otherwise, as this node knows it: whoever hears of a rule takes it in here.
    pub fn rules(&self) -> &Rules {
        &self.world.rules
    }

    /// What rounds that were held here since then would have come to, if a rule had been in force that says this: what it says of
    /// weights. Takes as long as some thousands of small assignments do, so that nobody should wait for it on a thread of others. Also
    /// told is since when all that rounds saw here is known.
    pub fn replay(
        &self,
        scope: &Scope,
        changes: &RuleChanges,
        since: Timestamp,
    ) -> (Replayed, Timestamp) {
        let usual = self.world.rules.costs().weights;
        let weights = changes.weights.map_or(usual, |it| usual.with(&it));
        let (past, left_out) =
            self.world.rounds.past(since, usual, |at, work| scope.holds(at, work));
        let replayed = replay(past, &weights);
        let left_out = replayed.left_out.and(left_out);
        let known_since = self.world.started_at.max(self.world.rounds.known_since());
        (Replayed { left_out, ..replayed }, known_since)
    }

    /// What the last rounds here saw of a job, oldest first.
    pub fn rounds_of(&self, job: JobId) -> Vec<Seen> {
        self.world.rounds.of_job(job)
    }

    /// What rounds here saw of a job after one of its search, for its journal; none, if they saw nothing.
    pub(crate) fn account_of(&self, job: JobId, after: u32) -> Option<Account> {
        Account::of(&self.world.rounds.of_job_after(job, after))
    }

    /// Since when all that rounds saw in the regions around a place is known here, of those that are matched here; none, if
    /// none is.
    pub fn known_since(&self, at: Point) -> Option<Timestamp> {
        let ours = RegionId::at(at)
            .disk(self.world.settings.rings)
            .filter(|it| self.world.surroundings.is_ours(*it));
        let moved = self.world.moved_at.lock().unwrap_or_else(PoisonError::into_inner);
        let since = |it: RegionId| moved.get(&it.shard()).copied().unwrap_or_default();
        let since = ours.map(since).max()?;
        Some(since.max(self.world.started_at).max(self.world.rounds.known_since()))
    }

    /// What rounds here made of a driver since then, for each job that looked for one around where it
    /// is, newest first.
    pub fn chances_of(
        &self,
        driver: DriverId,
        at: Option<Point>,
        since: Timestamp,
    ) -> Vec<(JobId, Chance)> {
        self.world.rounds.of_driver(driver, at, since)
    }

    /// Ends all regions. What is listed afterwards is ignored.
    pub async fn stop(&self) {
        if let Err(error) = self.keeper.stop_and_wait(None, None).await {
            warn!(%error, "regions had stopped already");
        }
        self.world.areas.write().unwrap_or_else(PoisonError::into_inner).clear();
    }
}

impl World {
    /// Is anything kept of regions?
    fn keeps(&self) -> bool {
        self.settings.keep_every_ms > 0
    }

    /// How often what they have learned is.
    fn keep_every(&self) -> Duration {
        Duration::from_millis(self.settings.keep_every_ms.into())
    }

    /// Since when nothing can have happened in a region that this node has not heard of.
    fn here_since(&self, region: RegionId) -> Timestamp {
        let moved = self.moved_at.lock().unwrap_or_else(PoisonError::into_inner);
        let moved_at = moved.get(&region.shard()).copied().unwrap_or_default();
        moved_at.max(self.started_at)
    }

    /// Does a round with what all regions share.
    fn run(&self, matching: Matching) -> (Field, Outcome) {
        matching.run(&*self.router, &self.settings.matching)
    }

    /// Looks at what had better be brought together, with what all regions share.
    fn batch(&self, batching: &Batching) -> Vec<batch::Proposal> {
        let Settings { batches, matching, .. } = &self.settings;
        batching.run(batches, matching, &*self.router)
    }

    /// The areas around `region` that exist, in the order of their cells.
    fn ring(&self, region: RegionId) -> Vec<Arc<Area>> {
        if self.settings.rings == 0 {
            return Vec::new();
        }
        let mut cells: Vec<h3o::CellIndex> = region.0.grid_disk(self.settings.rings.into());
        cells.sort_unstable();
        let areas = self.areas.read().unwrap_or_else(PoisonError::into_inner);
        let around = cells.into_iter().map(RegionId).filter(|it| *it != region);
        around.filter_map(|it| areas.get(&it).cloned()).collect()
    }

    /// Forgets an area, unless something was listed in it meanwhile. Is it forgotten?
    fn close(&self, area: &Arc<Area>) -> bool {
        let mut areas = self.areas.write().unwrap_or_else(PoisonError::into_inner);
        let is_idle = area.has_empty_inbox();
        if is_idle {
            areas.remove(&area.region);
        }
        is_idle
    }
}
