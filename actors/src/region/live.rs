//! One region, alive: reads its inbox once a tick, matches, proposes, forgets.
//!
//! ```text
//!  tick ──► inbox ──► matches ──► proposals ──► all that nobody waits for: what is told of rounds, counted and planned
//! ```

use super::{
    World,
    area::{Area, Entry, Inbox},
    kept::Keeping,
    line::Line,
};
use crate::{
    EntityKey, Kind, SearchCard,
    listing::RegionId,
    zone::{Multiplier, middle_of, neighbourhood},
};
use matching::{
    Field, Region as Known,
    rank::Rank,
    region::{Batching, Matching, Roster, Wanting},
    round::{Outcome, Pairing},
    surge::{Cause, Change, Count, Counts, Surge, USUAL, together},
};
use metrics::{counter, histogram};
use protocol::{DriverId, JobId, OrderId, Point, RescueId, RunId, Timestamp, ZoneId};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinError;
use tracing::info;

/// No point of a region is further from its middle, in metres.
const REGION_RADIUS_M: f64 = 12_000.0;
/// So many drivers and searches together are matched in about a millisecond. More of them are matched
/// on a thread of their own: sessions and entities must not wait for a region.
const N_QUICK: usize = 2_000;
/// The same for deliveries that may be brought together and runs that may take one along.
const N_QUICK_BATCHES: usize = 20;

/// A hot region is matched in parts where at least one search for so many drivers is due. Parts overlap, so that each driver
/// is put into the fields of up to seven of them, which costs more than all the rest where few wait.
const N_DRIVERS_PER_SEARCH: usize = 4;

/// How often others are let know how ways go.
const WAYS_EVERY: Duration = Duration::from_secs(30);

/// How many multipliers of a region are written down at most each time they are counted.
const N_WRITTEN: usize = 8;

/// How long after its start a node waits to hear which rules there are, before it matches as if there were none.
const RULES_WITHIN: Duration = Duration::from_secs(5);

/// The cells that a hot region is matched in: children of its own, about 36 km² each.
const PART: h3o::Resolution = h3o::Resolution::Six;

/// What a region is told to do.
#[derive(Debug)]
pub(super) enum Call {
    /// Match now, and tell who waits for it; for the region's own clock, nobody does.
    Tick(Option<RpcReplyPort<()>>),
    /// Keep what you know: somebody else is about to match here.
    Keep(RpcReplyPort<()>),
    /// Say what a look at what may be brought together would be at.
    Look(RpcReplyPort<Batching>),
    /// Say how ways go here, for whoever brings along all that is looked at.
    Ways(RpcReplyPort<Batching>),
}

/// The actor of one region.
pub(super) struct Region {
    pub(super) world: Arc<World>,
    pub(super) area: Arc<Area>,
    /// How long to wait before the first tick, beyond the usual.
    pub(super) rest: Duration,
}

/// What a region knows. All of it can be learned again.
pub(super) struct Memory {
    known: Known,
    /// What is kept of that.
    keeping: Keeping,
    /// Empty where another node moves multipliers.
    surge: Surge<ZoneId>,
    /// What was written down of multipliers is in it.
    has_restored: bool,
    counted_at: Timestamp,
    batched_at: Timestamp,
    told_ways_at: Timestamp,
    /// Whom it told where in the queue they are.
    line: Line,
    started_at: Timestamp,
    /// The searches that were last matched under a rule: as they were listed, and as they were matched.
    ruled: HashMap<JobId, (Arc<SearchCard>, Arc<SearchCard>)>,
    empty_since: Option<Timestamp>,
    /// Is it matched in parts, where many wait at once?
    is_hot: bool,
}

impl Actor for Region {
    type Msg = Call;
    type State = Memory;
    type Arguments = ();

    async fn pre_start(
        &self,
        _myself: ActorRef<Call>,
        (): (),
    ) -> Result<Memory, ActorProcessingErr> {
        let middle = h3o::LatLng::from(self.area.region.0);
        let middle = Point { lat: middle.lat(), lon: middle.lng() };
        let repeat = Duration::from_millis(self.world.settings.repeat_ms.into());
        let now = self.world.surroundings.now();
        let ours =
            |it: &&Rank| RegionId::at(Point { lat: it.lat, lon: it.lon }) == self.area.region;
        let ranks = self.world.settings.ranks.iter().filter(ours);
        let batches = self.world.settings.batches;
        // Where nobody plans, nobody waits for it.
        let hold_ms = if batches.every_ms > 0 { batches.hold_ms } else { 0 };
        let hold = Duration::from_millis(hold_ms.into());
        Ok(Memory {
            known: Known::new(middle, REGION_RADIUS_M, repeat, now)
                .with_ranks(ranks.cloned())
                .with_hold(hold),
            keeping: Keeping::new(),
            surge: Surge::default(),
            has_restored: false,
            counted_at: now,
            batched_at: now,
            told_ways_at: now,
            line: Line::default(),
            started_at: now,
            ruled: HashMap::new(),
            empty_since: None,
            is_hot: false,
        })
    }

    async fn post_start(
        &self,
        myself: ActorRef<Call>,
        _memory: &mut Memory,
    ) -> Result<(), ActorProcessingErr> {
        // What a predecessor left may name drivers and searches that are gone by now.
        self.area.roster.store(Arc::default());
        self.area.wanting.store(Arc::default());
        self.area.proposed.store(Arc::default());
        self.area.queue.store(Arc::default());
        self.area.census.store(None);
        self.area.demand.store(Arc::default());
        self.area.idle.store(Arc::default());
        self.area.lines.store(Arc::default());
        self.area.ways.store(None);
        self.world.surroundings.region_up(self.area.region);
        self.schedule(&myself, self.period() + self.rest);
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<Call>,
        call: Call,
        memory: &mut Memory,
    ) -> Result<(), ActorProcessingErr> {
        let done = match call {
            Call::Tick(done) => done,
            Call::Keep(done) => {
                self.keep_at_last(memory, false).await;
                // Whoever asked may have gone away.
                drop(done.send(()));
                return Ok(());
            }
            Call::Look(told) => {
                drop(told.send(self.look(memory)));
                return Ok(());
            }
            Call::Ways(told) => {
                let now = self.world.surroundings.now();
                drop(told.send(memory.known.prepare_ways(now)));
                return Ok(());
            }
        };
        let began = Instant::now();
        let is_over = self.tick(memory).await?;
        let took = began.elapsed();
        histogram!("outrider_region_tick_seconds").record(took);
        self.area.record(|stats| stats.tick_us = took.as_micros() as u64);
        if is_over {
            myself.stop(None);
        }
        match done {
            // Whoever asked may have gone away.
            Some(done) => drop(done.send(())),
            // The next tick is only wanted after this one: a slow region never has two waiting.
            None => {
                self.schedule(&myself, self.period().saturating_sub(took).max(self.period() / 10));
            }
        }
        Ok(())
    }
}

impl Region {
    fn period(&self) -> Duration {
        Duration::from_millis(self.world.settings.tick_ms.into())
    }

    fn schedule(&self, myself: &ActorRef<Call>, after: Duration) {
        if !self.period().is_zero() {
            // Detached: it ends by itself, and finds nobody if the region is gone.
            drop(myself.send_after(after, || Call::Tick(None)));
        }
    }

    /// Has the region been empty for so long that it was closed?
    async fn tick(&self, memory: &mut Memory) -> Result<bool, JoinError> {
        let now = self.world.surroundings.now();
        if memory.read(self.area.take()) {
            self.area.roster.store(memory.known.shared_roster());
        }
        self.recall(memory, now);
        self.pause(memory, now);
        let n_held = self.propose(memory, now).await?;
        // Whoever looks for a driver has been served: what follows may take its time.
        self.note_paused(memory, now);
        memory.known.learn_ways(&*self.world.router, now);
        self.tell_ways(memory, now);
        self.count(memory, now).await?;
        self.tell_queue(memory, now);
        self.batch(memory, now).await?;
        self.tell_proposed(memory, now);
        self.hint(memory, now);
        memory.keeping.keep(&self.world, &self.area, &mut memory.known, now);
        self.area.record(|stats| {
            stats.n_ticks += 1;
            stats.n_held = n_held;
            stats.n_drivers = memory.known.n_drivers();
            stats.n_searches = memory.known.n_searches();
        });
        if !memory.known.is_empty() {
            memory.empty_since = None;
            return Ok(false);
        }
        let empty_since = *memory.empty_since.get_or_insert(now);
        let linger = Duration::from_millis(self.world.settings.linger_ms.into());
        if now.since(empty_since) < linger {
            return Ok(false);
        }
        self.keep_at_last(memory, true).await;
        // Should somebody have been listed meanwhile, it stays.
        Ok(self.world.close(&self.area))
    }

    /// Goes on from what was kept of it, where this node begins to match.
    fn recall(&self, memory: &mut Memory, now: Timestamp) {
        if memory.keeping.recall(&self.world, &self.area, &mut memory.known, now) {
            // Others hear of it with this tick.
            memory.told_ways_at = Timestamp::default();
        }
    }

    /// Keeps all it knows, and waits for that.
    async fn keep_at_last(&self, memory: &mut Memory, is_closed: bool) {
        let now = self.world.surroundings.now();
        let Memory { keeping, known, .. } = memory;
        keeping.keep_at_last(&self.world, &self.area, known, now, is_closed).await;
    }

    /// Tells jobs that their zone is paused, or not any more, and keeps those that wait out of rounds.
    fn pause(&self, memory: &mut Memory, now: Timestamp) {
        // A node that has just started does not let anybody go on for not having read yet what is paused.
        if !self.world.zones.is_known() {
            return;
        }
        let paused = self.world.zones.paused();
        let news = memory.known.pauses(now, |pickup| paused.at(pickup, now));
        if !self.world.surroundings.is_ours(self.area.region) {
            return;
        }
        for (job, pause) in news {
            self.world.surroundings.pause(job, pause.map(Arc::unwrap_or_clone));
        }
    }

    /// Takes note of who waits because of a zone, for those who ask why.
    fn note_paused(&self, memory: &Memory, now: Timestamp) {
        if self.world.zones.is_known() && self.world.surroundings.is_ours(self.area.region) {
            self.world.rounds.record(&memory.known.paused(), now);
        }
    }

    /// Lets others know how ways really go, for what is under way: not with every tick, for what is learned next then costs a
    /// copy of all of it.
    fn tell_ways(&self, memory: &mut Memory, now: Timestamp) {
        if now.since(memory.told_ways_at) < WAYS_EVERY || memory.known.ways().is_empty() {
            return;
        }
        memory.told_ways_at = now;
        let told = self.area.ways.load();
        if told.as_ref().is_none_or(|it| !std::ptr::eq(&**it, memory.known.ways())) {
            self.area.ways.store(Some(memory.known.shared_ways()));
        }
    }

    /// Tells jobs where they are in the queue, if that is news to their riders.
    fn tell_queue(&self, memory: &mut Memory, now: Timestamp) {
        if !self.world.surroundings.is_ours(self.area.region) {
            memory.line.clear();
            return;
        }
        let queue = self.area.queue.load();
        let eta_of = |job| self.world.rounds.eta_of(job);
        for (job, queued) in memory.line.news(&queue, now, eta_of) {
            self.world.surroundings.queued(job, queued);
        }
    }

    /// Lines up who waits, and counts, when it is time, what is asked and who is free.
    async fn count(&self, memory: &mut Memory, now: Timestamp) -> Result<(), JoinError> {
        let queue = memory.known.queue();
        if **self.area.queue.load() != queue {
            self.area.queue.store(Arc::new(queue));
        }
        let is_ours = self.world.surroundings.is_ours(self.area.region);
        if !is_ours {
            self.leave_multipliers(memory);
        }
        let every = Duration::from_millis(self.world.settings.surge.every_ms.into());
        if now.since(memory.counted_at) < every {
            return Ok(());
        }
        memory.counted_at = now;
        // For neighbours that are matched here, also where this one is not.
        let idle = memory.known.idle(now, &self.world.settings.spreading);
        self.area.idle.store(Arc::new((idle, memory.known.rates(now))));
        let ahead = Duration::from_millis(self.world.settings.surge.ahead_ms.into());
        // Before others can know that it counts: then they stop telling of its zones.
        let told = self.told_around();
        self.area.census.store(Some(Arc::new(memory.known.census(now, ahead, neighbourhood))));
        if is_ours {
            self.surge(memory, &told, now);
            self.spread(memory, now).await?;
        }
        Ok(())
    }

    /// The multipliers that regions around it tell of, in percent.
    fn told_around(&self) -> HashMap<ZoneId, u32> {
        let told = self.world.ring(self.area.region).into_iter().map(|it| it.demand.load_full());
        let mut percents = HashMap::new();
        for cells in told {
            percents.extend(cells.iter().map(|(zone, cell)| (*zone, cell.percent)));
        }
        percents
    }

    /// Moves the multiplier of each zone that it tells of to where it should be: by what is counted in all regions that the
    /// zone is astride. Regions around it `told` of theirs until now.
    fn surge(&self, memory: &mut Memory, told: &HashMap<ZoneId, u32>, now: Timestamp) {
        let settings = &self.world.settings.surge;
        let around = self.world.ring(self.area.region);
        let areas = around.iter().chain([&self.area]);
        let counts: Counts<_, _> =
            areas.filter_map(|area| Some((area.region, area.census.load_full()?))).collect();
        let region_of = |zone| middle_of(zone).map(RegionId::at);
        // Of which another one tells by now, this one knows nothing any more, should it have to tell of it again.
        let is_others = |it: RegionId| it != self.area.region && counts.contains_key(&it);
        memory.surge.keep(|zone| region_of(zone).is_none_or(|it| !is_others(it)));
        let is_about_to_count =
            |it: RegionId| around.iter().any(|area| area.region == it) && !counts.contains_key(&it);
        let mut counts = together(&counts, self.area.region, region_of);
        // Until a region that has just woken counts for the first time, what was told of its zones is told on; nothing is begun.
        counts.retain(|zone, _| {
            memory.surge.knows(*zone) || region_of(*zone).is_none_or(|it| !is_about_to_count(it))
        });
        let taken_up = self.take_up(memory, &counts, told, now);
        self.restore(memory, &taken_up, now);
        for (zone, change) in memory.surge.step(&counts, now, settings) {
            let Change { from_percent, to_percent, ratio, count, .. } = change;
            info!(%zone, from_percent, to_percent, ratio, ?count, "multiplier changed");
            counter!("outrider_surge_changes_total").increment(1);
        }
        self.write_down(memory, now);
        // Of what it remembers, another region may tell by now.
        let cells = memory.surge.cells();
        let told = cells.filter(|(zone, _)| counts.contains_key(*zone) || self.is_in(**zone));
        self.area.demand.store(Arc::new(told.map(|(zone, cell)| (*zone, cell.clone())).collect()));
    }

    /// Forgets multipliers: whoever matches here now moves them, and if that is this node again, it goes on from what was written
    /// down until then.
    fn leave_multipliers(&self, memory: &mut Memory) {
        memory.surge = Surge::default();
        memory.has_restored = false;
        if !self.area.demand.load().is_empty() {
            self.area.demand.store(Arc::default());
        }
    }

    /// Goes on from where the multipliers are that regions around it told of until now, or else from what was written down of them,
    /// where it begins to tell of them. Returns those of which a neighbour knew.
    fn take_up(
        &self,
        memory: &mut Memory,
        counts: &BTreeMap<ZoneId, Count>,
        told: &HashMap<ZoneId, u32>,
        now: Timestamp,
    ) -> HashSet<ZoneId> {
        let settings = &self.world.settings.surge;
        let begun: Vec<ZoneId> =
            counts.keys().copied().filter(|zone| !memory.surge.knows(*zone)).collect();
        let mut taken_up = HashSet::new();
        for zone in begun {
            if let Some(percent) = told.get(&zone) {
                memory.surge.restore(zone, *percent, Duration::ZERO, now, settings);
                taken_up.insert(zone);
            } else if let Some(written) = self.world.zones.counted(zone, now) {
                let age = now.since(written.at);
                memory.surge.restore(zone, written.percent, age, now, settings);
            }
        }
        taken_up
    }

    /// Goes on from what was written down of multipliers, where it begins to match: once this node has read that, and but for those
    /// that were taken up from a neighbour, who knew them later.
    fn restore(&self, memory: &mut Memory, taken_up: &HashSet<ZoneId>, now: Timestamp) {
        if memory.has_restored || !self.world.zones.is_known() {
            return;
        }
        memory.has_restored = true;
        let settings = &self.world.settings.surge;
        for (zone, Multiplier { percent, at }) in self.world.zones.all_counted(now) {
            if self.is_in(zone) && !taken_up.contains(&zone) {
                memory.surge.restore(zone, percent, now.since(at), now, settings);
            }
        }
    }

    /// Lets those zones know whose multipliers have moved by what matters, the furthest first, and the others next time; but
    /// not those for which staff say what it is.
    fn write_down(&self, memory: &Memory, now: Timestamp) {
        if !memory.has_restored {
            return;
        }
        let moved = memory.surge.cells().filter_map(|(zone, cell)| {
            if self.world.zones.by_staff(*zone, now).is_some() {
                return None;
            }
            let before = self.world.zones.counted(*zone, now);
            let from = before.map_or(USUAL, |it| it.percent);
            let is_due = Multiplier::is_material(before, cell.percent, now) && self.is_in(*zone);
            is_due.then(|| (cell.percent.abs_diff(from), zone, cell))
        });
        let mut moved: Vec<_> = moved.collect();
        moved.sort_by_key(|(by, zone, _)| (Reverse(*by), **zone));
        for (_, zone, cell) in moved.into_iter().take(N_WRITTEN) {
            // What has not been counted yet is what it was restored to.
            let cause = cell.changes.back().map_or(Cause::Restored, |it| it.cause);
            self.world.surroundings.surge(*zone, cell, cause);
        }
    }

    /// Is a zone's middle in this region? Of several regions that count in it, one writes it down.
    fn is_in(&self, zone: ZoneId) -> bool {
        middle_of(zone).is_some_and(|it| RegionId::at(it) == self.area.region)
    }

    /// Finds out which of its drivers with nothing to do had better wait elsewhere: of a part of them, where there are very
    /// many. On a thread of its own: sessions and entities must not wait for it.
    async fn spread(&self, memory: &mut Memory, now: Timestamp) -> Result<(), JoinError> {
        let areas = self.world.ring(self.area.region);
        let ring: Vec<_> = areas.iter().map(|area| area.idle.load_full()).collect();
        let spreading = self.world.settings.spreading.clone();
        let (idle, rates) = (ring.iter().map(|it| &*it.0), ring.iter().map(|it| &it.1));
        let hinting = memory.known.prepare_hints(idle, rates, now, &spreading);
        if hinting.is_vain() {
            memory.known.learn_hints(Vec::new());
            return Ok(());
        }
        counter!("outrider_hint_looks_cut_total").increment(hinting.is_part().into());
        let hints = tokio::task::spawn_blocking(move || hinting.run(&spreading)).await?;
        memory.known.learn_hints(hints);
        Ok(())
    }

    /// Sends some of those elsewhere who had better wait there, and the others in the next ticks.
    fn hint(&self, memory: &mut Memory, now: Timestamp) {
        if !self.world.surroundings.is_ours(self.area.region) {
            memory.known.learn_hints(Vec::new());
            return;
        }
        let hints = memory.known.next_hints(now, &self.world.settings.spreading);
        counter!("outrider_hints_total").increment(hints.len() as u64);
        for (driver, to) in hints {
            self.world.surroundings.hint(driver, to);
        }
    }

    /// Proposes, when it is time, what had better be brought together, and what may be brought along.
    async fn batch(&self, memory: &mut Memory, now: Timestamp) -> Result<(), JoinError> {
        let settings = self.world.settings.batches;
        let every = Duration::from_millis(settings.every_ms.into());
        let is_due = !every.is_zero() && now.since(memory.batched_at) >= every;
        if !is_due || !self.world.surroundings.is_ours(self.area.region) {
            return Ok(());
        }
        memory.batched_at = now;
        let ring = self.look_around(memory, now);
        let rosters: Vec<Arc<Roster>> = ring.iter().map(|area| area.roster.load_full()).collect();
        let batching = memory.known.prepare_batches(rosters.iter().map(|it| &**it), now);
        if batching.is_idle() {
            return Ok(());
        }
        let proposals = if batching.size() < N_QUICK_BATCHES {
            self.world.batch(&batching)
        } else {
            let world = self.world.clone();
            tokio::task::spawn_blocking(move || world.batch(&batching)).await?
        };
        memory.known.learn_batches(&proposals, now);
        counter!("outrider_region_batches_total").increment(proposals.len() as u64);
        for proposal in proposals {
            self.world.surroundings.batch(self.area.region, proposal, &settings);
        }
        Ok(())
    }

    /// What the next look at what may be brought together would be at, and what it leaves aside.
    fn look(&self, memory: &mut Memory) -> Batching {
        let now = self.world.surroundings.now();
        if memory.read(self.area.take()) {
            self.area.roster.store(memory.known.shared_roster());
        }
        let ring = self.look_around(memory, now);
        let rosters: Vec<Arc<Roster>> = ring.iter().map(|area| area.roster.load_full()).collect();
        memory.known.prepare_groups(rosters.iter().map(|it| &**it), now)
    }

    /// Is it so hot that it is matched in parts, and do so many wait now that it pays? Once it is hot, it stays so until
    /// it has cooled down to half of that.
    fn is_split(&self, memory: &mut Memory, n_due: usize) -> bool {
        let split_at = self.world.settings.split_at as usize;
        let size = memory.known.n_drivers() + memory.known.n_searches();
        let is_hot =
            split_at > 0 && (size >= split_at || (memory.is_hot && size >= split_at.div_ceil(2)));
        if is_hot != memory.is_hot {
            memory.is_hot = is_hot;
            let region = self.area.region;
            info!(%region, size, is_hot, "matched in parts where many wait, or always at once again");
        }
        let is_split = is_hot && n_due * N_DRIVERS_PER_SEARCH >= memory.known.n_drivers();
        if !is_split {
            self.area.record(|stats| stats.n_parts = 1);
        }
        is_split
    }

    /// Does parts of a round, each on a thread of its own if there are several, or if it is large. Whichever threads they
    /// are on, the region reads nothing else before they are done.
    async fn run(&self, parts: Vec<Matching>) -> Result<Vec<(Field, Outcome)>, JoinError> {
        let is_quick = parts.iter().map(Matching::size).sum::<usize>() < N_QUICK;
        if is_quick {
            return Ok(parts.into_iter().map(|it| self.world.run(it)).collect());
        }
        let parts = parts.into_iter().map(|part| {
            let world = self.world.clone();
            tokio::task::spawn_blocking(move || world.run(part))
        });
        let parts: Vec<_> = parts.collect();
        let mut done = Vec::with_capacity(parts.len());
        for part in parts {
            done.push(part.await?);
        }
        Ok(done)
    }

    /// Matches and proposes. Returns how many pairs were held, or how matching fell.
    async fn propose(&self, memory: &mut Memory, now: Timestamp) -> Result<usize, JoinError> {
        let due = memory.known.wanting(now);
        let ring = if due.is_empty() { Vec::new() } else { self.look_around(memory, now) };
        let due = memory.known.line_up(due, now, &self.world.settings.matching);
        let due = self.ruled(memory, due, now);
        let lines: Vec<_> =
            memory.known.lines().map(|(rank, line)| (rank.to_owned(), line)).collect();
        if **self.area.lines.load() != lines {
            self.area.lines.store(Arc::new(lines));
        }
        if due.is_empty() {
            if !self.area.wanting.load().is_empty() {
                self.area.wanting.store(Arc::default());
            }
            return Ok(0);
        }
        let due = Arc::new(due);
        self.area.wanting.store(due.clone());
        if !self.world.surroundings.is_ours(self.area.region) || !self.may_match(now) {
            return Ok(0);
        }
        let rosters: Vec<Arc<Roster>> = ring.iter().map(|area| area.roster.load_full()).collect();
        let rivals: Vec<Arc<Wanting>> = ring.iter().map(|area| area.wanting.load_full()).collect();
        let warm_up = Duration::from_millis(self.world.settings.warm_up_ms.into());
        let is_warm = now.since(memory.started_at) >= warm_up;
        let pairing = if is_warm { Pairing::Joint } else { Pairing::Greedy };
        let rivals = rivals.iter().map(|it| &**it);
        let is_split = self.is_split(memory, due.len());
        let mut outcome = if is_split {
            let parts = (part_of, around);
            let rosters = rosters.iter().cloned();
            let parts = memory.known.divide(&due, rosters, rivals.clone(), now, pairing, parts);
            let n_parts = parts.len();
            self.area.record(|stats| stats.n_parts = n_parts);
            let done = self.run(parts).await?;
            memory.known.learn(done, now)
        } else {
            Outcome::default()
        };
        let mut served = HashSet::new();
        self.send(&mut outcome, &mut served, now);
        // Not split at all, or only for those who found nobody in their part of it.
        let empty: HashSet<JobId> = outcome.empty.drain(..).collect();
        outcome.traces.forget(&empty);
        // Whose pair is held keeps its share of the drivers.
        let held: HashSet<JobId> = outcome.held.iter().copied().collect();
        let those = |of: &HashSet<JobId>| -> Wanting {
            due.iter().filter(|it| of.contains(&it.job)).cloned().collect()
        };
        let held = those(&held);
        let left = if is_split { Arc::new(those(&empty)) } else { due.clone() };
        if !left.is_empty() {
            let rivals = rivals.chain(std::iter::once(&held));
            let whole = memory.known.prepare_shared(left, rosters, rivals, now, pairing);
            let done = self.run(vec![whole]).await?;
            outcome.add(memory.known.learn(done, now));
            self.send(&mut outcome, &mut served, now);
        }
        if !served.is_empty() {
            // Neighbours who leave its drivers alone need leave nothing else for it.
            let unserved = due.iter().filter(|it| !served.contains(&it.job)).cloned();
            self.area.wanting.store(Arc::new(unserved.collect()));
            self.tell_proposed(memory, now);
        }
        // Nobody waits for what is only told to those who ask.
        self.world.rounds.record(&outcome.traces, now);
        Ok(outcome.n_held)
    }

    /// Is it known by which rules? A node that has just started does not match by none of them for not having read yet which there
    /// are; but nobody waits for long because they cannot be read.
    fn may_match(&self, now: Timestamp) -> bool {
        self.world.rules.is_known() || now.since(self.world.started_at) >= RULES_WITHIN
    }

    /// The same searches, each under the rule that is in force for it now, if one is.
    fn ruled(&self, memory: &mut Memory, due: Wanting, now: Timestamp) -> Wanting {
        let mut before = std::mem::take(&mut memory.ruled);
        let rules = self.world.rules.set();
        let in_force = rules.then(now);
        if in_force.is_empty() {
            return due;
        }
        let ruled = due.into_iter().map(|card| {
            let Some(rule) = in_force.of(card.pickup, card.work) else { return card };
            // A copy of its own is made once, and not with every round.
            let is_same = |(from, to): &(Arc<SearchCard>, Arc<SearchCard>)| {
                let ruling = to.ruling.as_ref();
                Arc::ptr_eq(from, &card) && ruling.is_some_and(|it| Arc::ptr_eq(it, &rule.ruling))
            };
            let known = before.remove(&card.job).filter(is_same);
            let (card, ruled) = known.unwrap_or_else(|| {
                let ruling = Some(Arc::clone(&rule.ruling));
                let ruled = Arc::new(SearchCard { ruling, ..(*card).clone() });
                (card, ruled)
            });
            memory.ruled.insert(card.job, (card, Arc::clone(&ruled)));
            ruled
        });
        ruled.collect()
    }

    /// The regions around it. Whom they proposed a moment ago is not proposed here.
    fn look_around(&self, memory: &mut Memory, now: Timestamp) -> Vec<Arc<Area>> {
        let ring = self.world.ring(self.area.region);
        let proposed: Vec<_> = ring.iter().map(|area| area.proposed.load_full()).collect();
        memory.known.see_proposed(proposed.iter().map(|it| &**it), now);
        ring
    }

    /// Tells neighbours whom it has just proposed. Always after what it still wants: whoever reads this first and that
    /// then never leaves something for one who has somebody.
    fn tell_proposed(&self, memory: &Memory, now: Timestamp) {
        let proposed = memory.known.proposed(now);
        if **self.area.proposed.load() != proposed {
            self.area.proposed.store(Arc::new(proposed));
        }
    }

    /// Sends what is proposed on its way, takes it out of what came of the round, and notes for which searches it was. What was
    /// seen of those is noted first, for their jobs write it down with the offers they make of it.
    fn send(&self, outcome: &mut Outcome, served: &mut HashSet<JobId>, now: Timestamp) {
        let proposals = std::mem::take(&mut outcome.proposals);
        let n_proposals = proposals.len() as u64;
        let proposed: HashSet<JobId> = proposals.iter().map(|it| it.job).collect();
        self.world.rounds.record_of(&outcome.traces, now, |job| proposed.contains(&job));
        outcome.traces.forget(&proposed);
        served.extend(proposed);
        for proposal in proposals {
            self.world.surroundings.propose(proposal.job, proposal.round, proposal.candidates);
        }
        self.area.record(|stats| stats.n_proposed += n_proposals);
        counter!("outrider_region_proposals_total").increment(n_proposals);
    }
}

/// The part of a hot region that a place is in: the child of its cell.
fn part_of(at: Point) -> h3o::CellIndex {
    h3o::LatLng::new(at.lat, at.lon).expect("a Point is finite").to_cell(PART)
}

/// A part and those beside it.
fn around(part: h3o::CellIndex) -> Vec<h3o::CellIndex> {
    part.grid_disk(1)
}

impl Memory {
    /// Takes in what was listed. Did any driver change?
    fn read(&mut self, inbox: Inbox) -> bool {
        let mut has_new_roster = false;
        if !inbox.forgotten.is_empty() {
            let is_kept = |entity: EntityKey| !inbox.forgotten.contains(entity.shard());
            has_new_roster = self.known.retain(
                |it| is_kept(it.into()),
                |it| is_kept(it.into()),
                |it| is_kept(it.into()),
            );
        }
        for (entity, entry) in inbox.entries {
            match entry {
                Some(Entry::Driver(card)) => {
                    has_new_roster = true;
                    self.known.put_driver(card);
                }
                Some(Entry::Search(card)) => self.known.put_search(card),
                Some(Entry::Run(card)) => self.known.put_run(card),
                None => has_new_roster |= self.forget(entity),
            }
        }
        has_new_roster
    }

    /// Was it a driver?
    fn forget(&mut self, entity: EntityKey) -> bool {
        match entity.kind {
            Kind::Order => self.known.forget_search(JobId::Order(OrderId(entity.id))),
            Kind::Rescue => self.known.forget_search(JobId::Rescue(RescueId(entity.id))),
            Kind::Driver => return self.known.forget_driver(DriverId(entity.id)),
            Kind::Run => self.known.forget_run(RunId(entity.id)),
            Kind::Rider
            | Kind::Revocation
            | Kind::Incident
            | Kind::Zone
            | Kind::Rule
            | Kind::Template => {}
        }
        false
    }
}
