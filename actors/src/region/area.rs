//! What outlives a region's actor: its inbox, the roster its neighbours read, and its figures.

use super::Stats;
use crate::{
    Card, DriverCard, EntityKey, SearchCard,
    listing::{RegionId, RunCard},
};
use arc_swap::{ArcSwap, ArcSwapOption};
use foldhash::HashMap;
use matching::{
    demand::{Idle, Rates},
    region::{Proposed, Roster, Wanting},
    router::Ways,
    surge,
};
use metrics::gauge;
use protocol::{DriverId, JobId, ShardSet, ZoneId};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
};

/// What was listed since the last tick.
#[derive(Debug, Default)]
pub(super) struct Inbox {
    /// Whoever belongs to these is forgotten first: other nodes speak for them now.
    pub(super) forgotten: ShardSet,
    /// Per entity the latest, or that it is gone.
    pub(super) entries: HashMap<EntityKey, Option<Entry>>,
}

/// A card, cheap to share.
#[derive(Debug, Clone)]
pub(super) enum Entry {
    Driver(Arc<DriverCard>),
    Search(Arc<SearchCard>),
    Run(Arc<RunCard>),
}

impl Entry {
    pub(super) fn of(card: &Card) -> Self {
        match card {
            Card::Driver(card) => Self::Driver(Arc::new(card.clone())),
            Card::Search(card) => Self::Search(Arc::new((**card).clone())),
            Card::Run(card) => Self::Run(Arc::new((**card).clone())),
        }
    }
}

#[derive(Debug)]
pub(super) struct Area {
    pub(super) region: RegionId,
    inbox: Mutex<Inbox>,
    n_listed: AtomicU64,
    /// What neighbours may claim.
    pub(super) roster: ArcSwap<Roster>,
    /// Whom neighbours must leave something for.
    pub(super) wanting: ArcSwap<Wanting>,
    /// Whom it has just proposed: neighbours leave them alone.
    pub(super) proposed: ArcSwap<Proposed>,
    /// Who waits, in the order in which they are served.
    pub(super) queue: ArcSwap<Vec<JobId>>,
    /// Who stands in line at its ranks, first come first.
    pub(super) lines: ArcSwap<Vec<(String, Vec<DriverId>)>>,
    /// Its drivers with nothing to do, and what is asked in it, when that was last counted.
    pub(super) idle: ArcSwap<(Vec<Idle>, Rates)>,
    /// What was counted in it last, zone by zone: of those astride it, what it has of them. None before it first was.
    pub(super) census: ArcSwapOption<BTreeMap<ZoneId, surge::Count>>,
    /// What is known of the zones that it tells of.
    pub(super) demand: ArcSwap<Vec<(ZoneId, surge::Cell)>>,
    /// How ways in it really go, as was known a moment ago; none before anything was learned.
    pub(super) ways: ArcSwapOption<Ways>,
    stats: Mutex<Stats>,
}

impl Area {
    pub(super) fn new(region: RegionId) -> Self {
        let stats = Stats {
            n_drivers: 0,
            n_searches: 0,
            n_listed: 0,
            n_held: 0,
            n_parts: 1,
            n_proposed: 0,
            n_ticks: 0,
            n_falls: 0,
            tick_us: 0,
        };
        Self {
            region,
            inbox: Mutex::default(),
            n_listed: AtomicU64::new(0),
            roster: ArcSwap::default(),
            wanting: ArcSwap::default(),
            proposed: ArcSwap::default(),
            queue: ArcSwap::default(),
            lines: ArcSwap::default(),
            idle: ArcSwap::default(),
            census: ArcSwapOption::empty(),
            demand: ArcSwap::default(),
            ways: ArcSwapOption::empty(),
            stats: Mutex::new(stats),
        }
    }

    pub(super) fn put(&self, entity: EntityKey, entry: Option<Entry>) {
        // Who leaves for the neighbour is counted there.
        self.n_listed.fetch_add(u64::from(entry.is_some()), Ordering::Relaxed);
        self.inbox().entries.insert(entity, entry);
    }

    /// Forgets whoever belongs to `shards`, until they are listed again.
    pub(super) fn forget(&self, shards: &ShardSet) {
        let mut inbox = self.inbox();
        inbox.entries.retain(|entity, _| !shards.contains(entity.shard()));
        for shard in shards.iter() {
            inbox.forgotten.insert(shard);
        }
    }

    /// Empties the inbox.
    pub(super) fn take(&self) -> Inbox {
        std::mem::take(&mut *self.inbox())
    }

    pub(super) fn has_empty_inbox(&self) -> bool {
        self.inbox().entries.is_empty()
    }

    pub(super) fn stats(&self) -> Stats {
        let stats = *self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        Stats { n_listed: self.n_listed.load(Ordering::Relaxed), ..stats }
    }

    /// Changes the figures. Gauges count all regions together, so each adds only its difference: a
    /// label per region would be a series per region, for ever.
    pub(super) fn record(&self, change: impl FnOnce(&mut Stats)) {
        let mut stats = self.stats.lock().unwrap_or_else(PoisonError::into_inner);
        let before = *stats;
        change(&mut stats);
        let moved = |name, from: usize, to: usize| {
            if from != to {
                gauge!(name).increment(to as f64 - from as f64);
            }
        };
        moved("outrider_region_drivers", before.n_drivers, stats.n_drivers);
        moved("outrider_region_searches", before.n_searches, stats.n_searches);
        moved("outrider_region_pairs_held", before.n_held, stats.n_held);
    }

    fn inbox(&self) -> MutexGuard<'_, Inbox> {
        self.inbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
