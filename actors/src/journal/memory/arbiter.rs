//! Several nodes on one database in memory: each with a journal that commits what its node owns and
//! nothing else, and an arbiter beside it. For tests of clusters, which can cut a node off.

use super::{Kept, MemoryJournal, Shard};
use crate::{
    cluster::{
        Incarnation,
        arbiter::{
            Arbiter, ArbiterError, HandedOver, Head, Member, NodeCard, Picture, Pin, Renewal,
            Standing,
        },
    },
    journal::CommitError,
    runtime::Clock,
};
use futures_util::future::{BoxFuture, FutureExt};
use protocol::{SHARDS, ShardId, ShardSet};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, Weak,
        atomic::{AtomicU64, Ordering},
    },
};
use tokio::{sync::watch, time::Instant};

/// A database in memory that nodes share. Cloning shares it, too.
#[derive(Debug, Clone, Default)]
pub struct MemoryDatabase {
    kept: Arc<Mutex<Kept>>,
}

/// One node's arbiter. Cloning shares it. Ages are told by tokio's clock, which a test may pause.
#[derive(Debug, Clone)]
pub struct MemoryArbiter {
    kept: Arc<Mutex<Kept>>,
    access: Arc<Access>,
}

/// What one node may do, and whether it can.
#[derive(Debug)]
pub(super) struct Access {
    incarnation: Incarnation,
    /// By shard; 0: not ours.
    epochs: Box<[AtomicU64]>,
    reachable: watch::Sender<bool>,
    changes: watch::Sender<u64>,
}

/// What the arbiters keep beside the heads of the shards.
#[derive(Debug, Default)]
pub(super) struct Cluster {
    n_incarnations: u64,
    members: BTreeMap<Incarnation, Joined>,
    pins: BTreeMap<ShardId, String>,
    writes: u32,
    /// Commits are not held against their epochs.
    #[cfg(any(test, feature = "testing"))]
    pub(super) is_unfenced: bool,
    /// Who is told of changes.
    nodes: Vec<Weak<Access>>,
}

#[derive(Debug)]
struct Joined {
    card: NodeCard,
    standing: Standing,
    hears: bool,
    renewals: u64,
    since: Instant,
    has_session: bool,
}

impl MemoryDatabase {
    /// An empty one.
    pub fn new() -> Self {
        Self::default()
    }

    /// From now on it takes every commit of [`MemoryJournal::commit_under`], whoever owns the shard: to
    /// see that somebody finds out.
    #[cfg(any(test, feature = "testing"))]
    pub fn remove_fence(&self) {
        lock(&self.kept).cluster.is_unfenced = true;
    }

    /// Opens it for one start of a node, which owns nothing yet and is no member before it registers.
    pub fn open(&self) -> (MemoryJournal, MemoryArbiter) {
        let mut kept = lock(&self.kept);
        kept.cluster.n_incarnations += 1;
        let access = Arc::new(Access {
            incarnation: Incarnation(kept.cluster.n_incarnations),
            epochs: (0..SHARDS).map(|_| AtomicU64::new(0)).collect(),
            reachable: watch::Sender::new(true),
            changes: watch::Sender::new(0),
        });
        kept.cluster.nodes.push(Arc::downgrade(&access));
        let journal = MemoryJournal {
            kept: Arc::clone(&self.kept),
            access: Some(Arc::clone(&access)),
            ..MemoryJournal::default()
        };
        (journal, MemoryArbiter { kept: Arc::clone(&self.kept), access })
    }
}

impl MemoryArbiter {
    /// From now on the database is out of this node's reach, for its journal, too. The database does
    /// not notice: as far as it knows, the session is there.
    pub fn cut(&self) {
        self.access.reachable.send_replace(false);
    }

    /// The database is within reach again. What has changed meanwhile is told as one change.
    pub fn heal(&self) {
        self.access.reachable.send_replace(true);
        self.access.changes.send_modify(|n| *n += 1);
    }

    /// As if the node's process were gone: out of reach, and the database knows that it is.
    pub fn kill(&self) {
        self.cut();
        self.hang_up();
    }

    /// The database notices that the node's connection is gone. What was sent on it may still come.
    pub fn hang_up(&self) {
        if let Some(joined) = lock(&self.kept).cluster.members.get_mut(&self.access.incarnation) {
            joined.has_session = false;
        }
    }

    /// Asks the database, as one statement would.
    fn ask<T: Send + 'static>(
        &self,
        ask: impl FnOnce(&mut Kept, &Access) -> Result<T, ArbiterError> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, ArbiterError>> {
        async move {
            let mut kept = lock(&self.kept);
            self.access.reach().map_err(ArbiterError::Away)?;
            ask(&mut kept, &self.access)
        }
        .boxed()
    }
}

impl Arbiter for MemoryArbiter {
    fn register(&self, card: NodeCard) -> BoxFuture<'_, Result<Incarnation, ArbiterError>> {
        self.ask(move |kept, access| {
            let (me, cluster) = (access.incarnation, &mut kept.cluster);
            if cluster.members.contains_key(&me) {
                return cluster.alive(me).map(|_| me);
            }
            for joined in cluster.members.values_mut().filter(|it| it.card.node == card.node) {
                joined.bury();
            }
            let (standing, since) = (Standing::Up, Instant::now());
            let joined =
                Joined { card, standing, hears: false, renewals: 0, since, has_session: true };
            cluster.members.insert(me, joined);
            cluster.raise_writes();
            cluster.tell();
            Ok(me)
        })
    }

    fn renew(
        &self,
        me: Incarnation,
        standing: Standing,
        hears: bool,
    ) -> BoxFuture<'_, Result<Renewal, ArbiterError>> {
        self.ask(move |kept, _| {
            let Ok(joined) = kept.cluster.alive(me) else { return Ok(Renewal::Dead) };
            let has_changed = (joined.standing, joined.hears) != (standing, hears);
            (joined.standing, joined.hears) = (standing, hears);
            joined.renewals += 1;
            joined.has_session = true;
            if has_changed {
                kept.cluster.tell();
            }
            Ok(Renewal::Alive)
        })
    }

    fn look(&self) -> BoxFuture<'_, Result<Picture, ArbiterError>> {
        self.ask(|kept, _| Ok(kept.picture()))
    }

    fn declare_dead(
        &self,
        who: Incarnation,
        renewals: u64,
    ) -> BoxFuture<'_, Result<bool, ArbiterError>> {
        self.ask(move |kept, access| {
            kept.cluster.alive(access.incarnation)?;
            let has_heir = kept.cluster.has_heir(who);
            let Some(joined) = kept.cluster.members.get_mut(&who) else { return Ok(true) };
            let was_dead = joined.standing == Standing::Dead;
            if !was_dead && joined.renewals == renewals && has_heir {
                joined.bury();
                kept.cluster.raise_writes();
                kept.cluster.tell();
                return Ok(true);
            }
            Ok(was_dead)
        })
    }

    fn steal(
        &self,
        me: Incarnation,
        shards: ShardSet,
    ) -> BoxFuture<'_, Result<Vec<Head>, ArbiterError>> {
        self.ask(move |kept, access| {
            kept.cluster.alive(me)?;
            let free = shards.iter().filter(|shard| {
                let owner = kept.shards.get(shard).and_then(|it| it.owner);
                owner.is_none_or(|owner| kept.cluster.alive(owner).is_err())
            });
            let free: Vec<_> = free.collect();
            let heads: Vec<_> = free.into_iter().map(|it| kept.take(it, me)).collect();
            heads.iter().for_each(|head| access.own(head.shard, head.epoch));
            if !heads.is_empty() {
                kept.cluster.tell();
            }
            Ok(heads)
        })
    }

    fn hand_over(
        &self,
        me: Incarnation,
        shard: ShardId,
        to: Incarnation,
    ) -> BoxFuture<'_, Result<HandedOver, ArbiterError>> {
        self.ask(move |kept, access| {
            kept.cluster.alive(me)?;
            if to == me || kept.cluster.alive(to)?.standing != Standing::Up {
                return Err(ArbiterError::Refused(format!("{to} takes no shards")));
            }
            if kept.shards.get(&shard).and_then(|it| it.owner) != Some(me) {
                return Ok(HandedOver::NotOurs);
            }
            let head = kept.take(shard, to);
            access.disown(shard);
            kept.cluster.tell();
            Ok(HandedOver::To(head.epoch))
        })
    }

    fn reclaim(
        &self,
        me: Incarnation,
        shard: ShardId,
    ) -> BoxFuture<'_, Result<Option<Head>, ArbiterError>> {
        self.ask(move |kept, access| {
            kept.cluster.alive(me)?;
            if kept.shards.get(&shard).and_then(|it| it.owner) != Some(me) {
                access.disown(shard);
                return Ok(None);
            }
            let head = kept.take(shard, me);
            access.own(shard, head.epoch);
            Ok(Some(head))
        })
    }

    fn release(
        &self,
        me: Incarnation,
        shards: ShardSet,
    ) -> BoxFuture<'_, Result<(), ArbiterError>> {
        self.ask(move |kept, access| {
            kept.cluster.alive(me)?;
            for shard in shards.iter() {
                let Some(ours) = kept.shards.get_mut(&shard).filter(|it| it.owner == Some(me))
                else {
                    continue;
                };
                // Whoever takes it begins a new epoch.
                ours.owner = None;
                access.disown(shard);
            }
            kept.cluster.tell();
            Ok(())
        })
    }

    fn leave(&self, me: Incarnation) -> BoxFuture<'_, Result<(), ArbiterError>> {
        self.ask(move |kept, _| {
            if let Ok(joined) = kept.cluster.alive(me) {
                joined.bury();
                kept.cluster.raise_writes();
                kept.cluster.tell();
            }
            Ok(())
        })
    }

    fn pin(&self, shard: ShardId, node: Option<String>) -> BoxFuture<'_, Result<(), ArbiterError>> {
        self.ask(move |kept, access| {
            if kept.cluster.members.contains_key(&access.incarnation) {
                kept.cluster.alive(access.incarnation)?;
            }
            match node {
                Some(node) => drop(kept.cluster.pins.insert(shard, node)),
                None => drop(kept.cluster.pins.remove(&shard)),
            }
            kept.cluster.tell();
            Ok(())
        })
    }

    fn own(&self, shard: ShardId, epoch: u64) {
        self.access.own(shard, epoch);
    }

    fn disown(&self, shard: ShardId) {
        self.access.disown(shard);
    }

    fn epoch(&self, shard: ShardId) -> Option<u64> {
        self.access.epoch(shard)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.access.changes.subscribe()
    }
}

impl Access {
    /// Can the database be reached?
    pub(super) fn reach(&self) -> Result<(), String> {
        let is_reachable = *self.reachable.borrow();
        is_reachable.then_some(()).ok_or_else(|| "the database is away".to_owned())
    }

    pub(super) fn reachable(&self) -> watch::Receiver<bool> {
        self.reachable.subscribe()
    }

    /// Is what the node believes of a shard what the database says?
    pub(super) fn fence(&self, shard: ShardId, actual: u64) -> Result<(), CommitError> {
        match self.epoch(shard) {
            Some(epoch) if epoch == actual => Ok(()),
            Some(_) | None => {
                self.disown(shard);
                Err(CommitError::Fenced { shard })
            }
        }
    }

    fn epoch(&self, shard: ShardId) -> Option<u64> {
        let epoch = self.at(shard).load(Ordering::Acquire);
        (epoch > 0).then_some(epoch)
    }

    /// Old news does not undo newer.
    fn own(&self, shard: ShardId, epoch: u64) {
        self.at(shard).fetch_max(epoch, Ordering::AcqRel);
    }

    fn disown(&self, shard: ShardId) {
        self.at(shard).store(0, Ordering::Release);
    }

    fn at(&self, shard: ShardId) -> &AtomicU64 {
        &self.epochs[usize::from(shard.0 % SHARDS)]
    }
}

impl Cluster {
    /// A member that is not dead.
    fn alive(&mut self, who: Incarnation) -> Result<&mut Joined, ArbiterError> {
        self.members
            .get_mut(&who)
            .filter(|it| it.standing != Standing::Dead)
            .ok_or_else(|| ArbiterError::Refused(format!("{who} is dead")))
    }

    /// May anybody else who is up be given shards?
    fn has_heir(&self, of: Incarnation) -> bool {
        let is_able = |it: &Joined| it.standing == Standing::Up && it.card.weight > 0;
        self.members.iter().any(|(who, it)| *who != of && is_able(it))
    }

    /// What everybody alive can read, and somebody writes, may be written from now on.
    fn raise_writes(&mut self) {
        let alive = || self.members.values().filter(|it| it.standing != Standing::Dead);
        let read_by_all = alive().map(|it| it.card.reads).min().unwrap_or_default();
        let written = alive().map(|it| it.card.writes).max().unwrap_or_default();
        self.writes = self.writes.max(read_by_all.min(written));
    }

    /// Tells every node that can hear it that something has changed.
    fn tell(&mut self) {
        self.nodes.retain(|node| {
            let Some(node) = node.upgrade() else { return false };
            if node.reach().is_ok() {
                node.changes.send_modify(|n| *n += 1);
            }
            true
        });
    }
}

impl Joined {
    fn bury(&mut self) {
        self.standing = Standing::Dead;
        self.has_session = false;
    }
}

impl Kept {
    /// Gives a shard to `owner`, under a new epoch.
    fn take(&mut self, shard: ShardId, owner: Incarnation) -> Head {
        let name = self.cluster.members.get(&owner).map(|it| it.card.node.clone());
        let kept = self.shards.entry(shard).or_default();
        kept.begin_epoch(Clock::Machine.now(), name.unwrap_or_default());
        kept.owner = Some(owner);
        Head { shard, owner: Some(owner), epoch: kept.epoch }
    }

    fn picture(&self) -> Picture {
        let nobodys = Shard::default();
        let heads: Vec<_> = (0..SHARDS)
            .map(ShardId)
            .map(|shard| {
                let kept = self.shards.get(&shard).unwrap_or(&nobodys);
                Head { shard, owner: kept.owner, epoch: kept.epoch }
            })
            .collect();
        let owners: BTreeSet<_> = heads.iter().filter_map(|head| head.owner).collect();
        let members = self.cluster.members.iter();
        let members = members
            .filter(|(who, it)| it.standing != Standing::Dead || owners.contains(who))
            .map(|(who, it)| {
                let member = Member {
                    incarnation: *who,
                    card: it.card.clone(),
                    standing: it.standing,
                    hears: it.hears,
                    renewals: it.renewals,
                    age: it.since.elapsed(),
                    has_session: it.has_session,
                };
                (*who, member)
            })
            .collect();
        let pins = self.cluster.pins.iter();
        let pins = pins.map(|(shard, node)| Pin { shard: *shard, node: node.clone() }).collect();
        Picture { members, heads, pins, writes: self.cluster.writes }
    }
}

fn lock(kept: &Mutex<Kept>) -> MutexGuard<'_, Kept> {
    kept.lock().expect("nothing panics while it holds the maps")
}
