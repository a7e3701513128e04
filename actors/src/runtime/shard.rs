//! Wakes entities on demand and buries them when they fall.
//!
//! A shard is the only sender to its entities, but of sightings (`ears`), which is what makes "at most one
//! actor per id in this process" true, and what lets an entity go to sleep without losing a message. Across
//! processes the journal's version check makes a second host harmless.

use super::{
    System,
    admission::RETRY_AFTER_MS,
    ears::Ears,
    entity::{Birth, Entity, Fall, Message, Sighted, asleep},
    home::Home,
    publisher::Retell,
    watchers::Watchers,
};
use crate::{Decider, EntityKey, Kind, Refusal, Version, cluster::envelope::Warm};
use futures_util::FutureExt;
use protocol::{Identifier, SHARDS, ShardId, Timestamp};
use ractor::{
    Actor, ActorCell, ActorId, ActorProcessingErr, ActorRef, ActorRuntime, ActorStatus, SpawnErr,
    SupervisionEvent,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    panic::AssertUnwindSafe,
    sync::{
        Arc, PoisonError, RwLock, RwLockReadGuard,
        atomic::{AtomicU32, AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::sync::mpsc;
use tracing::{error, warn};
use uuid::Uuid;

/// Entities idle for less than this are not even asked whether they want to sleep.
const IDLE_MIN: Duration = Duration::from_secs(30);

/// How long after its fall an entity is woken at the latest: its deadline may have come in its last moment.
const REVIVED_AFTER: Duration = Duration::from_secs(1);

/// A shard, once it has been needed.
type Slot<D> = RwLock<Option<Running<D>>>;

/// A shard that was started, and who is awake in it.
#[derive(Debug)]
struct Running<D: Decider> {
    actor: ActorRef<ToShard<D>>,
    ears: Arc<Ears<D>>,
}

impl<D: Decider> Clone for Running<D> {
    fn clone(&self) -> Self {
        Self { actor: self.actor.clone(), ears: self.ears.clone() }
    }
}

impl<D: Decider> Running<D> {
    fn is_alive(&self) -> bool {
        self.actor.get_status() < ActorStatus::Stopping
    }
}

/// The shards of one kind, each started when it is first needed.
#[derive(Debug)]
#[doc(hidden)]
pub struct Shards<D: Decider> {
    shards: Box<[Slot<D>]>,
    awake: Arc<Awake>,
}

impl<D: Decider> Default for Shards<D> {
    fn default() -> Self {
        Self {
            shards: (0..SHARDS).map(|_| RwLock::new(None)).collect(),
            awake: Arc::new(Awake::default()),
        }
    }
}

/// How many entities of one kind are awake: in all, and in each shard.
#[derive(Debug)]
struct Awake {
    all: AtomicUsize,
    by_shard: Box<[AtomicU32]>,
}

impl Default for Awake {
    fn default() -> Self {
        let by_shard = (0..SHARDS).map(|_| AtomicU32::new(0)).collect();
        Self { all: AtomicUsize::new(0), by_shard }
    }
}

impl Awake {
    fn add(&self, shard: ShardId, n: usize) {
        self.by_shard[usize::from(shard.0)].fetch_add(n as u32, Ordering::Relaxed);
        self.all.fetch_add(n, Ordering::AcqRel);
    }

    fn remove(&self, shard: ShardId, n: usize) {
        self.by_shard[usize::from(shard.0)].fetch_sub(n as u32, Ordering::Relaxed);
        self.all.fetch_sub(n, Ordering::AcqRel);
    }
}

impl<D: Decider> Shards<D> {
    /// Never waits. What is not received is dropped, and with it the sender's reply.
    pub(super) fn deliver(&self, system: &System, to: D::Id, message: Message<D>) {
        let shard = EntityKey { kind: D::KIND, id: to.uuid() }.shard();
        if !system.is_held(shard) {
            // Its caller sees a dropped reply, and asks where the shard is.
            return;
        }
        let Some(shard) = self.running(shard).or_else(|| self.start(system, shard)) else {
            return message.refuse(Refusal::Unavailable);
        };
        shard.ears.queued();
        // If it falls first, the caller sees a dropped reply and asks again.
        shard.actor.send_message(ToShard::Deliver { to, message: Box::new(message) }).ok();
    }

    /// The same for what is only seen. Whoever is awake is shown it past the shard.
    pub(super) fn show(&self, system: &System, to: D::Id, sighted: Sighted<D>) {
        let shard = EntityKey { kind: D::KIND, id: to.uuid() }.shard();
        // Only what waits needs room.
        let admit = || system.0.admission.admit(shard, false).ok();
        let waiting_max = system.0.settings.entity_inflight_max;
        let shown = match self.slot(shard).as_ref().filter(|it| it.is_alive()) {
            Some(running) => running.ears.show(to, sighted, waiting_max, admit),
            None => Err(sighted),
        };
        match shown {
            Ok(Some(visit)) => visit.take_in(),
            Ok(None) => {}
            Err(sighted) => {
                if let Some(permit) = admit() {
                    let sighted = Sighted { permit: Some(permit), ..sighted };
                    self.deliver(system, to, Message::See(sighted));
                }
            }
        }
    }

    pub(super) fn n_awake(&self) -> usize {
        self.awake.all.load(Ordering::Acquire)
    }

    pub(super) fn n_awake_in(&self, shard: ShardId) -> u32 {
        self.awake.by_shard[usize::from(shard.0)].load(Ordering::Relaxed)
    }

    /// Instructs a shard, if it runs.
    pub(super) fn order(&self, shard: ShardId, instruction: &Instruction) {
        if let Some(shard) = self.running(shard) {
            shard.actor.send_message(ToShard::Instruct(instruction.clone())).ok();
        }
    }

    /// Lets everyone of a shard leave; none, if it does not run.
    pub(super) fn depart(&self, shard: ShardId, to: &mpsc::Sender<Warm>) {
        if let Some(shard) = self.running(shard) {
            shard.actor.send_message(ToShard::Depart(to.clone())).ok();
        }
    }

    /// Forgets a shard and everyone in it.
    pub(super) fn abandon(&self, shard: ShardId) {
        let slot = &self.shards[usize::from(shard.0)];
        let gone = slot.write().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(gone) = gone {
            gone.actor.send_message(ToShard::Abandon).ok();
        }
    }

    /// Takes in who moved here.
    pub(super) fn arrive(&self, system: &System, shard: ShardId, everyone: Vec<Warm>) {
        if let Some(shard) = self.running(shard).or_else(|| self.start(system, shard)) {
            shard.actor.send_message(ToShard::Arrive(everyone)).ok();
        }
    }

    /// Instructs every shard that runs.
    pub(super) fn order_all(&self, instruction: &Instruction) {
        (0..SHARDS).for_each(|n| self.order(ShardId(n), instruction));
    }

    fn running(&self, shard: ShardId) -> Option<Running<D>> {
        self.slot(shard).as_ref().filter(|it| it.is_alive()).cloned()
    }

    fn slot(&self, shard: ShardId) -> RwLockReadGuard<'_, Option<Running<D>>> {
        self.shards[usize::from(shard.0)].read().unwrap_or_else(PoisonError::into_inner)
    }

    fn start(&self, system: &System, shard: ShardId) -> Option<Running<D>> {
        let mut slot =
            self.shards[usize::from(shard.0)].write().unwrap_or_else(PoisonError::into_inner);
        if let Some(started) = slot.as_ref().filter(|it| it.is_alive()) {
            return Some(started.clone());
        }
        let (awake, ears) = (self.awake.clone(), Arc::<Ears<D>>::default());
        let host = Shard { system: system.clone(), shard, awake, ears: ears.clone() };
        match ActorRuntime::spawn_instant(None, host, ()) {
            Ok((actor, _join)) => slot.insert(Running { actor, ears }).clone().into(),
            Err(error) => {
                error!(kind = %D::KIND, %shard, %error, "shard did not start");
                None
            }
        }
    }
}

/// Supervises the entities of kind `D` whose ids belong here.
#[derive(Debug)]
struct Shard<D: Decider> {
    system: System,
    shard: ShardId,
    awake: Arc<Awake>,
    ears: Arc<Ears<D>>,
}

/// What a shard is sent.
#[derive(Debug)]
pub(super) enum ToShard<D: Decider> {
    /// A message and the entity it is for.
    Deliver { to: D::Id, message: Box<Message<D>> },
    /// An entity would like to sleep, having received so many messages.
    Drowsy { id: D::Id, n_received: u64 },
    /// How an entity was when it slept, for those who asked before the `n`th look.
    Looked { id: D::Id, n: u64, seen: Box<Result<(Version, D), Fall>> },
    /// Something for all.
    Instruct(Instruction),
    /// They moved here from another node.
    Arrive(Vec<Warm>),
    /// They all move to another node: each hands in what it is, and the shard is closed.
    Depart(mpsc::Sender<Warm>),
    /// The shard is another node's: whoever is awake here is nobody any more.
    Abandon,
}

/// How an entity is on the node that has its shard.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Residence {
    /// Does an actor host it? Others sleep in the journal.
    pub is_awake: bool,
    /// How many messages wait in its mailbox.
    pub n_waiting: u32,
    /// How often it fell lately.
    pub n_falls: usize,
    /// Was it set aside because it fell too often?
    pub is_quarantined: bool,
}

/// What the node instructs its shards to do.
#[derive(Debug, Clone)]
pub(super) enum Instruction {
    /// Let idle entities sleep; forced: however short they have been idle.
    Sweep { is_forced: bool },
    /// Regions have forgotten these.
    Relist(Arc<[Uuid]>),
    /// Boards want all marks.
    Republish(Retell),
    /// Give a quarantined entity another chance.
    Release(Uuid),
    /// Say how an entity is, without waking it.
    Look(Uuid, mpsc::Sender<Residence>),
    /// Put everyone to sleep.
    Drain,
    /// Kill an entity where it stands.
    #[cfg(any(test, feature = "testing"))]
    Kill(Uuid),
}

/// Who is awake, findable by either of their names.
#[derive(Debug)]
struct Roll<D: Decider> {
    /// In order, so that everyone is told of something in the same order each time.
    by_id: BTreeMap<D::Id, Resident<D>>,
    by_actor: HashMap<ActorId, D::Id>,
    falls: HashMap<D::Id, Vec<Timestamp>>,
    quarantined: HashSet<D::Id>,
    watchers: Arc<Watchers<D>>,
    /// Who is looked at in the journal, and by whom.
    looks: HashMap<D::Id, Look<D>>,
    n_looks: u64,
    /// No longer of this node: nobody is woken.
    is_closed: bool,
}

/// Those who would follow somebody who sleeps.
#[derive(Debug)]
struct Look<D: Decider> {
    n: u64,
    waiting: Vec<Message<D>>,
}

#[derive(Debug)]
struct Resident<D: Decider> {
    actor: ActorRef<Box<Message<D>>>,
    n_sent: u64,
    home: Arc<Home<D>>,
    active_at: Timestamp,
}

impl<D: Decider> Actor for Shard<D> {
    type Msg = ToShard<D>;
    type State = Roll<D>;
    type Arguments = ();

    async fn pre_start(
        &self,
        _myself: ActorRef<Self::Msg>,
        (): (),
    ) -> Result<Self::State, ActorProcessingErr> {
        Ok(Roll {
            by_id: BTreeMap::new(),
            by_actor: HashMap::new(),
            falls: HashMap::new(),
            quarantined: HashSet::new(),
            watchers: Arc::default(),
            looks: HashMap::new(),
            n_looks: 0,
            is_closed: false,
        })
    }

    /// Never awaits: one slow row must not stall a city.
    async fn handle(
        &self,
        myself: ActorRef<Self::Msg>,
        message: Self::Msg,
        roll: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match message {
            ToShard::Deliver { to, message } => {
                self.deliver(to, message, &myself, roll);
                self.ears.passed_on();
            }
            ToShard::Drowsy { id, n_received } => {
                // Only if nothing is on its way to it. What comes from now on wakes a successor.
                self.ears.remove(&id);
                let is_quiet = roll.by_id.get(&id).is_some_and(|it| it.n_all() == n_received);
                if is_quiet && let Some(resident) = self.forget(id, roll) {
                    resident.actor.send_message(Box::new(Message::Sleep)).ok();
                } else if let Some(Resident { actor, home, .. }) = roll.by_id.get(&id) {
                    self.ears.add(id, actor.clone(), home);
                }
            }
            ToShard::Looked { id, n, seen } => self.looked(id, n, *seen, &myself, roll),
            ToShard::Instruct(instruction) => self.instruct(&instruction, &myself, roll),
            ToShard::Arrive(everyone) => self.arrive(everyone, &myself, roll),
            ToShard::Depart(to) => {
                self.ears.clear();
                roll.close(&self.system);
                roll.by_id.values_mut().for_each(|it| it.send(Message::Depart(to.clone())));
            }
            ToShard::Abandon => {
                self.ears.clear();
                roll.close(&self.system);
                roll.by_id.values().for_each(|it| it.actor.kill());
                self.awake.remove(self.shard, roll.by_id.len());
                // Its successor, should the shard come back, starts with nobody.
                myself.stop(None);
            }
        }
        Ok(())
    }

    /// ractor's default stops the parent when any child stops; here a child stopping is routine.
    async fn handle_supervisor_evt(
        &self,
        _myself: ActorRef<Self::Msg>,
        event: SupervisionEvent,
        roll: &mut Self::State,
    ) -> Result<(), ActorProcessingErr> {
        match event {
            SupervisionEvent::ActorFailed(gone, error) => self.bury(&gone, &error, roll),
            SupervisionEvent::ActorTerminated(gone, ..) => {
                if let Some(id) = roll.by_actor.get(&gone.get_id()).copied() {
                    self.forget(id, roll);
                }
            }
            SupervisionEvent::ActorStarted(_) | SupervisionEvent::ProcessGroupChanged(_) => {}
        }
        Ok(())
    }
}

impl<D: Decider> Shard<D> {
    fn deliver(
        &self,
        to: D::Id,
        message: Box<Message<D>>,
        myself: &ActorRef<ToShard<D>>,
        roll: &mut Roll<D>,
    ) {
        if roll.is_closed {
            // Its caller sees a dropped reply, and asks where the shard is now.
            return;
        }
        if roll.quarantined.contains(&to) {
            return message.refuse(Refusal::Quarantined);
        }
        if is_looked_at(D::KIND) && message.is_watch() && !roll.by_id.contains_key(&to) {
            return self.look(to, *message, myself, roll);
        }
        self.hand_over(to, message, myself, roll);
    }

    /// Lets somebody follow an entity that sleeps and may sleep on: one read says how it is.
    fn look(
        &self,
        id: D::Id,
        message: Message<D>,
        myself: &ActorRef<ToShard<D>>,
        roll: &mut Roll<D>,
    ) {
        if let Some(look) = roll.looks.get_mut(&id) {
            look.waiting.push(message);
            return;
        }
        roll.n_looks += 1;
        let n = roll.n_looks;
        roll.looks.insert(id, Look { n, waiting: vec![message] });
        let (system, shard) = (self.system.clone(), myself.clone());
        self.system.spawn(async move {
            let read = AssertUnwindSafe(asleep::<D>(&system, id)).catch_unwind().await;
            // Rules that panic do so again in the entity, whose falls are counted.
            let seen = read.unwrap_or_else(|_| Err(Fall::Unreachable("rules panicked".to_owned())));
            // Fails only when the shard is gone, and everybody who waits with it.
            shard.send_message(ToShard::Looked { id, n, seen: Box::new(seen) }).ok();
        });
    }

    /// It has been read how somebody is who sleeps. Nobody else may have changed that meanwhile, for that takes an entity
    /// that is awake, and whoever wakes takes those who wait for this along.
    fn looked(
        &self,
        id: D::Id,
        n: u64,
        seen: Result<(Version, D), Fall>,
        myself: &ActorRef<ToShard<D>>,
        roll: &mut Roll<D>,
    ) {
        if roll.looks.get(&id).is_none_or(|look| look.n != n) {
            return;
        }
        let waiting = roll.looks.remove(&id).map(|look| look.waiting).unwrap_or_default();
        match seen {
            Ok((version, state)) if state.idle_max().is_some() => {
                let state = Arc::new(state);
                for message in waiting {
                    message.follow(&roll.watchers, id, version, &state);
                }
            }
            // Who may not sleep is awake from now on; who cannot be read falls as ever.
            Ok(_) | Err(_) => {
                for message in waiting {
                    self.hand_over(id, Box::new(message), myself, roll);
                }
            }
        }
    }

    /// Hands an entity a message, and wakes it for that.
    fn hand_over(
        &self,
        to: D::Id,
        message: Box<Message<D>>,
        myself: &ActorRef<ToShard<D>>,
        roll: &mut Roll<D>,
    ) {
        let is_alive =
            roll.by_id.get(&to).is_some_and(|it| it.actor.get_status() < ActorStatus::Stopping);
        if !is_alive {
            self.forget(to, roll);
            if let Err(error) = self.wake(to, None, message.begins(), myself, roll) {
                error!(entity = %to, %error, "entity did not start");
                return message.refuse(Refusal::Unavailable);
            }
        }
        self.send(to, message, roll);
    }

    /// Sends somebody who is awake a message, if there is room for it.
    fn send(&self, to: D::Id, message: Box<Message<D>>, roll: &mut Roll<D>) {
        let now = self.system.now();
        let Some(resident) = roll.by_id.get_mut(&to) else { return };
        if message.is_admitted() {
            resident.active_at = now;
            let room = if message.is_urgent() { 2 } else { 1 };
            let max = self.system.0.settings.entity_inflight_max.saturating_mul(room);
            if resident.home.n_waiting.load(Ordering::Acquire) >= max {
                metrics::counter!("outrider_busy_total", "bound" => "entity").increment(1);
                return message.refuse(Refusal::Busy { retry_after_ms: RETRY_AFTER_MS });
            }
            resident.home.n_waiting.fetch_add(1, Ordering::AcqRel);
        }
        if message.is_live() {
            resident.home.live.notify_one();
        }
        resident.n_sent += 1;
        // It may fall before it reads this. Its caller sees a dropped reply, and asks again.
        resident.actor.send_message(message).ok();
    }

    /// Returns before the journal is read, so one slow entity never delays its neighbours: messages
    /// wait in the newcomer's own mailbox. `is_new`: what it is sent first begins it.
    ///
    /// Entities are unnamed. ractor's registry is global and frees a name a moment after the actor
    /// starts to stop, so a quick restart could find its own name taken.
    fn wake(
        &self,
        id: D::Id,
        warm: Option<Box<Warm>>,
        is_new: bool,
        myself: &ActorRef<ToShard<D>>,
        roll: &mut Roll<D>,
    ) -> Result<(), SpawnErr> {
        let home = Arc::<Home<D>>::default();
        let birth = Birth {
            id,
            system: self.system.clone(),
            shard: myself.clone(),
            watchers: roll.watchers.clone(),
            warm,
            is_new,
        };
        let (actor, _started) = ActorRuntime::spawn_linked_instant(
            None,
            Entity::new(),
            (birth, home.clone()),
            myself.get_cell(),
        )?;
        self.awake.add(self.shard, 1);
        roll.by_actor.insert(actor.get_id(), id);
        let active_at = self.system.now();
        self.ears.add(id, actor.clone(), &home);
        roll.by_id.insert(id, Resident { actor, n_sent: 0, home, active_at });
        for message in roll.looks.remove(&id).map(|look| look.waiting).unwrap_or_default() {
            self.send(id, Box::new(message), roll);
        }
        Ok(())
    }

    /// Wakes those who were awake on their former node: drivers among them must be listed here.
    fn arrive(&self, everyone: Vec<Warm>, myself: &ActorRef<ToShard<D>>, roll: &mut Roll<D>) {
        for warm in everyone {
            let id = D::Id::from_uuid(warm.entity.id);
            if roll.is_closed || roll.by_id.contains_key(&id) {
                continue;
            }
            if let Err(error) = self.wake(id, Some(Box::new(warm)), false, myself, roll) {
                error!(entity = %id, %error, "entity did not start");
            }
        }
    }

    fn instruct(
        &self,
        instruction: &Instruction,
        myself: &ActorRef<ToShard<D>>,
        roll: &mut Roll<D>,
    ) {
        match instruction {
            Instruction::Sweep { is_forced } => {
                let now = self.system.now();
                for resident in roll.by_id.values_mut() {
                    if *is_forced || now.since(resident.active_at) >= IDLE_MIN {
                        resident.send(Message::MayIdle { is_forced: *is_forced });
                    }
                }
                roll.watchers.sweep(&self.system);
                let window = Duration::from_millis(self.system.0.settings.falls_window_ms);
                roll.falls
                    .retain(|_, falls| falls.last().is_some_and(|last| now.since(*last) < window));
            }
            Instruction::Relist(ids) => {
                for id in ids.iter() {
                    if let Some(resident) = roll.by_id.get_mut(&D::Id::from_uuid(*id)) {
                        resident.send(Message::Relist);
                    }
                }
            }
            Instruction::Republish(to) => {
                roll.by_id.values_mut().for_each(|it| it.send(Message::Republish(to.clone())));
            }
            Instruction::Release(id) => {
                let id = D::Id::from_uuid(*id);
                roll.falls.remove(&id);
                if roll.quarantined.remove(&id) {
                    // Its alarm may have rung meanwhile.
                    self.deliver(id, Box::new(Message::Tick), myself, roll);
                }
            }
            Instruction::Look(id, reply) => {
                let id = D::Id::from_uuid(*id);
                let resident = roll.by_id.get(&id);
                let found = Residence {
                    is_awake: resident.is_some(),
                    n_waiting: resident.map_or(0, |it| it.home.n_waiting.load(Ordering::Acquire)),
                    n_falls: roll.falls.get(&id).map_or(0, Vec::len),
                    is_quarantined: roll.quarantined.contains(&id),
                };
                // Whoever asked may have given up.
                reply.try_send(found).ok();
            }
            Instruction::Drain => {
                self.ears.clear();
                roll.by_id.values_mut().for_each(|it| it.send(Message::Sleep));
            }
            #[cfg(any(test, feature = "testing"))]
            Instruction::Kill(id) => {
                if let Some(resident) = roll.by_id.get(&D::Id::from_uuid(*id)) {
                    resident.actor.kill();
                }
            }
        }
    }

    /// Removes a fallen entity; one that keeps falling is set aside, alone.
    fn bury(&self, gone: &ActorCell, error: &ActorProcessingErr, roll: &mut Roll<D>) {
        // Does nothing for an actor that has already been replaced.
        let Some(id) = roll.by_actor.get(&gone.get_id()).copied() else { return };
        self.forget(id, roll);
        warn!(entity = %id, %error, "entity fell");
        metrics::counter!("outrider_entity_falls_total", "kind" => D::KIND.to_string())
            .increment(1);
        let now = self.system.now();
        let key = EntityKey { kind: D::KIND, id: id.uuid() };
        let revive = |after| self.system.0.alarm.set_by_then(key, now + after);
        if let Some(Fall::Unreachable(_)) = error.downcast_ref::<Fall>() {
            return revive(REVIVED_AFTER);
        }
        let settings = self.system.0.settings;
        let window = Duration::from_millis(settings.falls_window_ms);
        let falls = roll.falls.entry(id).or_default();
        falls.retain(|fall| now.since(*fall) < window);
        falls.push(now);
        if falls.len() < settings.falls_max as usize {
            // Whoever falls when it wakes does so often enough to be set aside, and not at once.
            let is_first = falls.len() == 1;
            revive(if is_first { REVIVED_AFTER } else { window / settings.falls_max });
        } else {
            error!(entity = %id, "entity set aside after repeated falls");
            metrics::counter!("outrider_quarantined_total", "kind" => D::KIND.to_string())
                .increment(1);
            roll.quarantined.insert(id);
        }
    }

    fn forget(&self, id: D::Id, roll: &mut Roll<D>) -> Option<Resident<D>> {
        let resident = roll.by_id.remove(&id)?;
        self.ears.remove(&id);
        roll.by_actor.remove(&resident.actor.get_id());
        self.awake.remove(self.shard, 1);
        Some(resident)
    }
}

/// Are entities of this kind followed for hours by somebody who asks nothing of them? So are riders and drivers by their own
/// phones. Whoever looks at a job soon asks something of it.
fn is_looked_at(kind: Kind) -> bool {
    matches!(kind, Kind::Rider | Kind::Driver)
}

impl<D: Decider> Roll<D> {
    /// Whoever follows one of its entities looks for it elsewhere.
    fn close(&mut self, system: &System) {
        self.is_closed = true;
        self.looks.clear();
        self.watchers.clear(system);
    }
}

impl<D: Decider> Resident<D> {
    /// How many messages it was ever sent, by its shard and past it.
    fn n_all(&self) -> u64 {
        self.n_sent + self.home.n_shown.load(Ordering::Acquire)
    }

    fn send(&mut self, message: Message<D>) {
        self.n_sent += 1;
        self.actor.send_message(Box::new(message)).ok();
    }
}
