//! One region, alive: reads its inbox once a tick, matches, proposes, forgets.

use super::{
    World,
    area::{Area, Entry, Roster, Wanting},
    matching::{self, Field, Outcome, Pairing},
};
use crate::{DriverCard, EntityKey, Kind, SearchCard};
use metrics::{counter, histogram};
use protocol::{DriverId, JobId, OrderId, Point, RescueId, Timestamp};
use ractor::{Actor, ActorProcessingErr, ActorRef, RpcReplyPort};
use std::{
    collections::{BTreeMap, HashMap},
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::JoinError;

/// No point of a region is further from its middle, in metres.
const REGION_RADIUS_M: f64 = 12_000.0;
/// So many drivers and searches together are matched in about a millisecond. More of them are matched
/// on a thread of their own: sessions and entities must not wait for a region.
const N_QUICK: usize = 2_000;

/// Match now.
#[derive(Debug)]
pub(super) struct Tick {
    /// Whom to tell when it is done; nobody for the region's own clock.
    pub(super) done: Option<RpcReplyPort<()>>,
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
    drivers: BTreeMap<DriverId, Arc<DriverCard>>,
    searches: BTreeMap<JobId, Open>,
    /// Drivers proposed a moment ago, whose listing does not show it yet.
    proposed: HashMap<DriverId, Timestamp>,
    /// The middle of the region.
    middle: Point,
    /// None before the first round, and while one uses it.
    field: Option<Field>,
    started_at: Timestamp,
    empty_since: Option<Timestamp>,
}

/// An open search.
struct Open {
    card: Arc<SearchCard>,
    /// When drivers were last proposed for it, as it is listed now.
    proposed_at: Option<Timestamp>,
}

impl Actor for Region {
    type Msg = Tick;
    type State = Memory;
    type Arguments = ();

    async fn pre_start(
        &self,
        _myself: ActorRef<Tick>,
        (): (),
    ) -> Result<Memory, ActorProcessingErr> {
        let middle = h3o::LatLng::from(self.area.region.0);
        let middle = Point { lat: middle.lat(), lon: middle.lng() };
        Ok(Memory {
            drivers: BTreeMap::new(),
            searches: BTreeMap::new(),
            proposed: HashMap::new(),
            middle,
            field: None,
            started_at: self.world.surroundings.now(),
            empty_since: None,
        })
    }

    async fn post_start(
        &self,
        myself: ActorRef<Tick>,
        _memory: &mut Memory,
    ) -> Result<(), ActorProcessingErr> {
        // What a predecessor left may name drivers and searches that are gone by now.
        self.area.roster.store(Arc::default());
        self.area.wanting.store(Arc::default());
        self.world.surroundings.region_up(self.area.region);
        self.schedule(&myself, self.period() + self.rest);
        Ok(())
    }

    async fn handle(
        &self,
        myself: ActorRef<Tick>,
        Tick { done }: Tick,
        memory: &mut Memory,
    ) -> Result<(), ActorProcessingErr> {
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

    fn schedule(&self, myself: &ActorRef<Tick>, after: Duration) {
        if !self.period().is_zero() {
            // Detached: it ends by itself, and finds nobody if the region is gone.
            drop(myself.send_after(after, || Tick { done: None }));
        }
    }

    /// Has the region been empty for so long that it was closed?
    async fn tick(&self, memory: &mut Memory) -> Result<bool, JoinError> {
        let now = self.world.surroundings.now();
        if memory.read(self.area.take()) {
            self.area.roster.store(Arc::new(memory.roster()));
        }
        let repeat = Duration::from_millis(self.world.settings.repeat_ms.into());
        memory.proposed.retain(|_, at| now.since(*at) < repeat);
        let n_held = self.propose(memory, now).await?;
        self.area.record(|stats| {
            stats.n_ticks += 1;
            stats.n_held = n_held;
            stats.n_drivers = memory.drivers.len();
            stats.n_searches = memory.searches.len();
        });
        if !memory.drivers.is_empty() || !memory.searches.is_empty() {
            memory.empty_since = None;
            return Ok(false);
        }
        let empty_since = *memory.empty_since.get_or_insert(now);
        let linger = Duration::from_millis(self.world.settings.linger_ms.into());
        Ok(now.since(empty_since) >= linger && self.world.close(&self.area))
    }

    /// Matches and proposes. Returns how many pairs were held, or how matching fell.
    async fn propose(&self, memory: &mut Memory, now: Timestamp) -> Result<usize, JoinError> {
        let settings = &self.world.settings;
        let repeat = Duration::from_millis(settings.repeat_ms.into());
        let is_due = |open: &&Open| open.proposed_at.is_none_or(|at| now.since(at) >= repeat);
        let due: Wanting =
            memory.searches.values().filter(is_due).map(|open| open.card.clone()).collect();
        if due.is_empty() {
            if !self.area.wanting.load().is_empty() {
                self.area.wanting.store(Arc::default());
            }
            return Ok(0);
        }
        let due = Arc::new(due);
        self.area.wanting.store(due.clone());
        if !self.world.surroundings.is_ours(self.area.region) {
            return Ok(0);
        }
        let ring = self.world.ring(self.area.region);
        let rosters: Vec<Arc<Roster>> = ring.iter().map(|area| area.roster.load_full()).collect();
        let around = rosters.iter().flat_map(|roster| roster.iter());
        let everyone = memory.drivers.values().chain(around);
        let free = everyone.filter(|card| !memory.proposed.contains_key(&card.id));
        let free: Vec<Arc<DriverCard>> = free.cloned().collect();
        let warm_up = Duration::from_millis(settings.warm_up_ms.into());
        let is_warm = now.since(memory.started_at) >= warm_up;
        let pairing = if is_warm { Pairing::Joint } else { Pairing::Greedy };
        let rivals: Vec<Arc<Wanting>> = ring.iter().map(|area| area.wanting.load_full()).collect();
        let rivals = rivals.iter().flat_map(|wanting| wanting.iter());
        let rivals = rivals.filter(|card| {
            memory.middle.distance_m(card.pickup) <= REGION_RADIUS_M + f64::from(card.radius_m)
        });
        let rivals: Wanting = rivals.cloned().collect();
        let field = memory.field.take().unwrap_or_else(|| Field::new(memory.middle));
        let world = self.world.clone();
        let matching = Matching { world, field, free, due, rivals, now, pairing };
        let is_quick = matching.free.len() + matching.due.len() + matching.rivals.len() < N_QUICK;
        // Whichever thread it is on, the region reads nothing else before it is done.
        let (field, outcome) = if is_quick {
            matching.run()
        } else {
            tokio::task::spawn_blocking(|| matching.run()).await?
        };
        memory.field = Some(field);
        let n_proposals = outcome.proposals.len() as u64;
        self.area.record(|stats| stats.n_proposed += n_proposals);
        counter!("outrider_region_proposals_total").increment(n_proposals);
        for proposal in outcome.proposals {
            if let Some(open) = memory.searches.get_mut(&proposal.job) {
                open.proposed_at = Some(now);
            }
            memory.proposed.extend(proposal.candidates.iter().map(|it| (it.driver, now)));
            self.world.surroundings.propose(proposal.job, proposal.round, proposal.candidates);
        }
        Ok(outcome.n_held)
    }
}

/// Everything one round of matching needs, so that it can be done anywhere.
struct Matching {
    world: Arc<World>,
    field: Field,
    free: Vec<Arc<DriverCard>>,
    due: Arc<Wanting>,
    rivals: Wanting,
    now: Timestamp,
    pairing: Pairing,
}

impl Matching {
    /// Gives the field back, for it is large and used again.
    fn run(mut self) -> (Field, Outcome) {
        self.field.fill(self.free);
        let outcome = matching::round(
            self.due.iter().map(|card| &**card),
            self.rivals.iter().map(|card| &**card),
            &self.field,
            self.now,
            &self.world.settings.matching,
            self.pairing,
        );
        (self.field, outcome)
    }
}

impl Memory {
    /// Takes in what was listed. Did any driver change?
    fn read(&mut self, inbox: super::area::Inbox) -> bool {
        let mut has_new_roster = false;
        if !inbox.forgotten.is_empty() {
            let n_before = self.drivers.len();
            let is_kept = |entity: EntityKey| !inbox.forgotten.contains(entity.shard());
            self.drivers.retain(|driver, _| is_kept((*driver).into()));
            self.searches.retain(|job, _| is_kept((*job).into()));
            has_new_roster = self.drivers.len() != n_before;
        }
        for (entity, entry) in inbox.entries {
            match entry {
                Some(Entry::Driver(card)) => {
                    has_new_roster = true;
                    self.drivers.insert(card.id, card);
                }
                Some(Entry::Search(card)) => {
                    self.searches.insert(card.job, Open { card, proposed_at: None });
                }
                None => has_new_roster |= self.forget(entity),
            }
        }
        has_new_roster
    }

    /// Was it a driver?
    fn forget(&mut self, entity: EntityKey) -> bool {
        match entity.kind {
            Kind::Order => drop(self.searches.remove(&JobId::Order(OrderId(entity.id)))),
            Kind::Rescue => drop(self.searches.remove(&JobId::Rescue(RescueId(entity.id)))),
            Kind::Driver => {
                let driver = DriverId(entity.id);
                self.proposed.remove(&driver);
                return self.drivers.remove(&driver).is_some();
            }
            Kind::Rider => {}
        }
        false
    }

    fn roster(&self) -> Roster {
        self.drivers.values().cloned().collect()
    }
}
