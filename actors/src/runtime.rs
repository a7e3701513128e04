//! How rules live: entities that wake on demand, remember before they answer, and fall alone.
//!
//! ```text
//!  ask ──► admission ──► shard ──► entity ──decide──► commit ──► evolve ──► answer
//!             │ full       │ none     │ fell                       │
//!             ▼            ▼          ▼                            ├──► relay ──► other entities
//!            Busy         wake     ask again                       ├──► alarm, region, board
//!                                                                  └──► watchers
//! ```

mod admission;
mod alarm;
pub mod clock;
mod custody;
mod ears;
mod entity;
mod forwarding;
mod front;
mod home;
mod listed;
mod load;
mod member;
mod membership;
mod moving;
mod post;
mod publisher;
mod reach;
mod recent;
mod relay;
mod remote;
mod serve;
mod shard;
mod verdict;
mod watchers;

pub use clock::Clock;
pub use entity::Answer;
pub use front::Front;
pub use load::Load;
pub use membership::{ClusterView, JoinError, Joining, Move, Phase};
pub use publisher::Published;
pub use shard::Residence;
pub use verdict::Objections;
pub use watchers::{Update, Updates, Watching};

use crate::{
    Decider, EntityKey, Format, Kind, Listing, Refusal, Sight, Tell, Version,
    driver::{self, Driver},
    incident::Incident,
    journal::{CommitError, Forgotten, JournalError, SharedJournal},
    listing::RegionId,
    order::Order,
    region::{self, Regions, Surroundings},
    rescue::Rescue,
    revocation::Revocation,
    rider::Rider,
    rule::Rule,
    run::{self, Run},
    search::{self, Candidate},
    template::Template,
    zone::{self, Zone},
};
use admission::{Admission, Permit};
use alarm::Alarm;
use entity::{Message, Sighted};
use futures_util::future::{BoxFuture, FutureExt};
use listed::Enrolled;
use matching::{
    batch::{self, Proposal},
    surge,
};
use membership::{Membership, Place};
use protocol::{
    CommandId, DriverId, JobId, Point, Principal, ShardSet, Timestamp, ZoneId,
    view::{Queued, ZonePause},
};
use publisher::{Interest, Publisher, Retell};
use remote::Seat;
use serde::{Deserialize, Serialize};
use shard::{Instruction, Shards};
use std::{
    collections::HashSet,
    future::pending,
    sync::{
        Arc, Mutex, OnceLock, PoisonError, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use strum::IntoEnumIterator;
use thiserror::Error;
use tokio::{
    sync::{Semaphore, mpsc, oneshot, watch},
    time::Instant,
};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tracing::{debug, info, warn};
use verdict::Curious;
use watchers::{Follower, Wants};
use xxhash_rust::xxh3::xxh3_64;

/// How long to wait before asking a fallen entity's successor.
const BREATHER: Duration = Duration::from_millis(5);
/// How long a start waits for its journal, and how long between two attempts.
const START_PATIENCE: Duration = Duration::from_secs(30);
const AGAIN_AFTER: Duration = Duration::from_millis(50);
/// How long the platform waits for an answer to what it asks of itself.
const OWN_PATIENCE: Duration = Duration::from_secs(10);
/// How long the journal may be out of reach before callers are told to come back.
const AWAY_AFTER: Duration = Duration::from_millis(500);
/// What they are told.
const AWAY: Refusal = Refusal::Busy { retry_after_ms: 1_000 };
/// Entities that act within this long after a start are woken at once, so that searches go on.
const EAGER: Duration = Duration::from_secs(600);
/// Most entities that are read at once because of what the platform does by itself.
const BACKGROUND_LOADS: usize = 64;
/// How often shards look for entities that may sleep.
const SWEEP_EVERY: Duration = Duration::from_secs(15);
/// How long the answer to a command is kept for repeats.
pub const REPEAT_WINDOW: Duration = Duration::from_secs(24 * 3600);
/// Most messages from other nodes that wait to be read.
const INCOMING_MAX: usize = 16_384;
/// How far ahead of ours a client's clock may be, and for how much longer than it may be repeated an answer is kept.
pub const CLOCK_SKEW_MAX: Duration = Duration::from_secs(300);

/// How much the runtime takes on.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// Most messages that wait for one entity.
    pub entity_inflight_max: u32,
    /// Most messages that wait in one shard.
    pub shard_inflight_max: u32,
    /// Most messages that wait in the node.
    pub node_inflight_max: u32,
    /// A snapshot is written after this many events.
    pub snapshot_every: u32,
    /// So many falls within the window set an entity aside.
    pub falls_max: u32,
    /// The window, in milliseconds.
    pub falls_window_ms: u64,
    /// Most updates that wait for one slow watcher.
    pub watch_queue_max: usize,
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            entity_inflight_max: 128,
            shard_inflight_max: 10_000,
            node_inflight_max: 100_000,
            snapshot_every: 20,
            falls_max: 3,
            falls_window_ms: 10_000,
            watch_queue_max: 256,
        }
    }
}

/// Why a node's actors did not come to life.
#[derive(Debug, Error)]
pub enum StartError {
    /// What they remember cannot be read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// The regions' keeper did not start.
    #[error("regions: {0}")]
    Regions(#[from] ractor::SpawnErr),
    /// The cluster does not take it.
    #[error(transparent)]
    Join(#[from] JoinError),
}

/// What was wished, in few bytes. The same wish may become different commands: a price depends on the
/// hour, and a code is drawn anew.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Wished(u64);

impl Wished {
    /// Absent and empty parts count for nothing, so that a wish reads the same to a build that knows
    /// more of them.
    pub fn new(wish: &impl Serialize) -> Self {
        let wish = serde_json::to_value(wish).map(without_nothing).unwrap_or_default();
        Self(xxh3_64(wish.to_string().as_bytes()))
    }
}

fn without_nothing(value: serde_json::Value) -> serde_json::Value {
    use serde_json::Value;
    match value {
        Value::Object(map) => {
            let parts = map.into_iter().map(|(name, value)| (name, without_nothing(value)));
            parts.filter(|(_, value)| !is_nothing(value)).collect()
        }
        Value::Array(list) => list.into_iter().map(without_nothing).collect(),
        Value::Null | Value::Bool(_) | Value::Number(_) | Value::String(_) => value,
    }
}

fn is_nothing(value: &serde_json::Value) -> bool {
    value.is_null() || value.as_array().is_some_and(Vec::is_empty)
}

/// A command on its way.
#[derive(Debug, Clone)]
pub struct Ask<C> {
    /// What is wanted.
    pub command: C,
    /// Who wants it.
    pub by: Principal,
    /// Which wish it is; a repeat has the same.
    pub id: CommandId,
}

/// How a command is recognised that is asked again.
#[derive(Debug, Clone, Copy)]
enum Repeats {
    /// By its id: its answer is kept. It is the same command if it says the same, or is of this wish.
    ById(Option<Wished>),
    /// Not at all, for nobody else has its id: no answer is kept, and should it have to be asked again,
    /// it is decided anew, which has no second effect ([`Decider::decide`]).
    Never,
}

/// One node's actors. Cloning shares it.
#[derive(Debug, Clone)]
pub struct System(Arc<Node>);

/// What entities, shards and background tasks share.
#[derive(Debug)]
struct Node {
    journal: SharedJournal,
    reachable: Option<watch::Receiver<bool>>,
    clock: Clock,
    settings: Settings,
    admission: Admission,
    alarm: Alarm,
    publisher: Publisher,
    relay: relay::Relay,
    background_loads: Arc<Semaphore>,
    regions: OnceLock<Regions>,
    regions_seen: Mutex<HashSet<RegionId>>,
    enrolled: Arc<Enrolled>,
    /// Its part in a cluster; none, if it is alone.
    membership: Option<Membership>,
    /// Who answers what gateways of other nodes ask.
    front: OnceLock<Arc<dyn Front>>,
    orders: Shards<Order>,
    rescues: Shards<Rescue>,
    drivers: Shards<Driver>,
    riders: Shards<Rider>,
    revocations: Shards<Revocation>,
    incidents: Shards<Incident>,
    zones: Shards<Zone>,
    runs: Shards<Run>,
    rules: Shards<Rule>,
    templates: Shards<Template>,
    is_draining: AtomicBool,
    stop: CancellationToken,
    tasks: TaskTracker,
}

/// A decider the system hosts.
pub trait Hosted: Decider {
    #[doc(hidden)]
    fn shards(system: &System) -> &Shards<Self>;
    /// A command and whom it is for, among those of all kinds.
    #[doc(hidden)]
    fn tell(to: Self::Id, command: Self::Command) -> Tell;
}

macro_rules! hosted {
    ($($decider:ident => $field:ident),+) => {$(
        impl Hosted for $decider {
            fn shards(system: &System) -> &Shards<Self> {
                &system.0.$field
            }

            fn tell(to: Self::Id, command: Self::Command) -> Tell {
                Tell::$decider { to, command }
            }
        }
    )+};
}

hosted!(
    Order => orders, Rescue => rescues, Driver => drivers, Rider => riders, Revocation => revocations,
    Incident => incidents, Zone => zones, Run => runs, Rule => rules,
    Template => templates
);

/// The same for the decider of a kind that is only known at run time.
macro_rules! by_kind {
    ($kind:expr, $decider:ident => $body:expr) => {
        match $kind {
            $crate::Kind::Order => {
                type $decider = $crate::order::Order;
                $body
            }
            $crate::Kind::Rescue => {
                type $decider = $crate::rescue::Rescue;
                $body
            }
            $crate::Kind::Driver => {
                type $decider = $crate::driver::Driver;
                $body
            }
            $crate::Kind::Rider => {
                type $decider = $crate::rider::Rider;
                $body
            }
            $crate::Kind::Revocation => {
                type $decider = $crate::revocation::Revocation;
                $body
            }
            $crate::Kind::Incident => {
                type $decider = $crate::incident::Incident;
                $body
            }
            $crate::Kind::Zone => {
                type $decider = $crate::zone::Zone;
                $body
            }
            $crate::Kind::Run => {
                type $decider = $crate::run::Run;
                $body
            }
            $crate::Kind::Rule => {
                type $decider = $crate::rule::Rule;
                $body
            }
            $crate::Kind::Template => {
                type $decider = $crate::template::Template;
                $body
            }
        }
    };
}
use by_kind;

impl System {
    /// Brings a node's actors to life: timers, outbox and open work continue where the journal
    /// says they stood.
    pub async fn start(
        journal: SharedJournal,
        clock: Clock,
        settings: Settings,
        regions: region::Settings,
    ) -> Result<Self, StartError> {
        let (system, deliveries) = Self::new(journal, clock, settings, regions, None)?;
        let everything = ShardSet::ALL;
        let undelivered = patiently(|| relay::read_outbox(&system, &everything)).await?;
        let deadlines = patiently(|| system.read_deadlines(&everything)).await?;
        let n_undelivered = undelivered.parcels.len();
        info!(n_undelivered, n_deadlines = deadlines.len(), "journal read");
        system.0.relay.take_over(undelivered);
        system.arm(deadlines);
        system.run(deliveries);
        Ok(system)
    }

    /// Brings a node to life among others: it has nothing at first, and takes its share.
    pub async fn join(
        journal: SharedJournal,
        clock: Clock,
        settings: Settings,
        regions: region::Settings,
        joining: Joining,
    ) -> Result<Self, StartError> {
        let (arriving, incoming) = mpsc::channel(INCOMING_MAX);
        let membership = Membership::announce(joining, arriving).await?;
        info!(me = %membership.me, node = membership.card.node, "joining the cluster");
        let (system, deliveries) = Self::new(journal, clock, settings, regions, Some(membership))?;
        system.run(deliveries);
        system.spawn(serve::run(system.clone(), incoming));
        system.spawn(serve::tend(system.clone()));
        system.spawn(member::renew(system.clone()));
        system.spawn(member::look(system.clone()));
        Ok(system)
    }

    fn new(
        journal: SharedJournal,
        clock: Clock,
        settings: Settings,
        regions: region::Settings,
        membership: Option<Membership>,
    ) -> Result<(Self, relay::Deliveries), StartError> {
        let (relay, deliveries) = relay::Relay::new();
        let system = Self(Arc::new(Node {
            alarm: Alarm::new(clock.clone()),
            admission: Admission::new(settings),
            reachable: journal.reachable(),
            journal,
            clock,
            settings,
            publisher: Publisher::default(),
            relay,
            background_loads: Arc::new(Semaphore::new(BACKGROUND_LOADS)),
            regions: OnceLock::new(),
            regions_seen: Mutex::default(),
            enrolled: Arc::default(),
            membership,
            front: OnceLock::new(),
            orders: Shards::default(),
            rescues: Shards::default(),
            drivers: Shards::default(),
            riders: Shards::default(),
            revocations: Shards::default(),
            incidents: Shards::default(),
            zones: Shards::default(),
            runs: Shards::default(),
            rules: Shards::default(),
            templates: Shards::default(),
            is_draining: AtomicBool::new(false),
            stop: CancellationToken::new(),
            tasks: TaskTracker::new(),
        }));
        let surroundings = Arc::new(NodeSurroundings(Arc::downgrade(&system.0)));
        let started = Regions::start(regions, surroundings)?;
        system.0.regions.set(started).expect("set only here");
        Ok((system, deliveries))
    }

    /// The newest format that may be written: everyone can read it.
    pub fn writes(&self) -> Format {
        self.membership().map_or(Format::WRITES, Membership::writes)
    }

    fn run(&self, deliveries: relay::Deliveries) {
        self.spawn(deliveries.run(self.clone()));
        self.spawn(alarm::run(self.clone()));
        self.spawn(sweep(self.clone()));
        self.spawn(forget_results(self.clone()));
    }

    /// Asks, and repeats itself while the entity falls, until there is an answer or `patience` is
    /// spent ([`Refusal::Unavailable`]: the outcome is unknown, ask again with the same id).
    pub async fn ask<D: Hosted>(
        &self,
        to: D::Id,
        ask: Ask<D::Command>,
        patience: Duration,
    ) -> Answer {
        self.ask_for::<D>(to, ask, Repeats::ById(None), patience).await
    }

    async fn ask_for<D: Hosted>(
        &self,
        to: D::Id,
        ask: Ask<D::Command>,
        repeats: Repeats,
        patience: Duration,
    ) -> Answer {
        let started = Instant::now();
        let outcome = self.ask_until::<D>(to, ask, repeats, started + patience).await;
        let word = match &outcome {
            Ok(_) => "ok".to_owned(),
            Err(refusal) => refusal.code().to_string(),
        };
        metrics::counter!("outrider_commands_total", "kind" => D::KIND.to_string(), "outcome" => word)
            .increment(1);
        metrics::histogram!("outrider_ask_seconds", "kind" => D::KIND.to_string())
            .record(started.elapsed().as_secs_f64());
        outcome
    }

    async fn ask_until<D: Hosted>(
        &self,
        to: D::Id,
        ask: Ask<D::Command>,
        repeats: Repeats,
        until: Instant,
    ) -> Answer {
        let is_own = ask.by == Principal::System;
        if self.0.is_draining.load(Ordering::Acquire) && !is_own {
            return Err(Refusal::Draining);
        }
        if !is_own {
            let now = self.now();
            let minted = ask.id.minted_at();
            if minted + REPEAT_WINDOW < now || minted > now + CLOCK_SKEW_MAX {
                return Err(Refusal::CommandExpired);
            }
        }
        if D::command_format(&ask.command) > self.writes() {
            // Wherever it is: not before everyone understands it.
            return Err(Refusal::Unavailable);
        }
        let shard = key::<D>(to).shard();
        let mut n_lost = 0;
        loop {
            let seat = self.seat(shard, until).await?;
            let answered = match seat {
                Seat::Here => self.ask_here::<D>(to, &ask, repeats, until).await?,
                Seat::There(at) => self.ask_there::<D>(at, to, &ask, repeats, until).await?,
            };
            match answered {
                Some(answer) => return answer,
                None => self.again(seat, &mut n_lost, until).await?,
            }
        }
    }

    /// Asks an entity that lives here, once. None: it fell or left while holding our message. Whether
    /// it had already happened is unknown; its successor reads the journal and recognises a repeat.
    async fn ask_here<D: Hosted>(
        &self,
        to: D::Id,
        ask: &Ask<D::Command>,
        repeats: Repeats,
        until: Instant,
    ) -> Result<Option<Answer>, Refusal> {
        if let Some(mut reachable) = self.0.reachable.clone() {
            // Before anything waits in a mailbox for what may take long.
            let back = reachable.wait_for(|it| *it);
            if tokio::time::timeout(AWAY_AFTER, back).await.is_err() {
                return Err(AWAY);
            }
        }
        self.0.admission.count_command(key::<D>(to).shard());
        let ask = ask.clone();
        let is_urgent = D::is_urgent(&ask.command);
        let message = |reply, permit| Message::Ask { ask, repeats, reply, permit };
        self.once::<D, _>(to, is_urgent, until, message).await
    }

    /// Sends an entity that lives here one message and waits for its reply, which is none if it fell
    /// or left with the message in its hands.
    async fn once<D: Hosted, T>(
        &self,
        to: D::Id,
        is_urgent: bool,
        until: Instant,
        message: impl FnOnce(oneshot::Sender<T>, Permit) -> Message<D>,
    ) -> Result<Option<T>, Refusal> {
        let permit = self.0.admission.admit(key::<D>(to).shard(), is_urgent)?;
        let (reply, answer) = oneshot::channel();
        D::shards(self).deliver(self, to, message(reply, permit));
        tokio::select! {
            // An answer that is there is worth more than the news that none can come.
            biased;
            answered = tokio::time::timeout_at(until, answer) => match answered {
                Ok(answer) => Ok(answer.ok()),
                Err(_elapsed) => Err(Refusal::Unavailable),
            },
            () = self.journal_away() => Err(AWAY),
        }
    }

    /// The same for a command whose receiver is only known at run time.
    pub async fn tell(
        &self,
        tell: Tell,
        by: Principal,
        id: CommandId,
        patience: Duration,
    ) -> Answer {
        self.tell_for(tell, by, id, Repeats::ById(None), patience).await
    }

    /// Tells what the platform thinks of by itself, and would think of anew. Not worth an answer that is
    /// kept: another node keeps one all the same, for it is asked as by anybody.
    async fn suggest(&self, tell: Tell) -> Answer {
        let id = CommandId::mint();
        self.tell_for(tell, Principal::System, id, Repeats::Never, OWN_PATIENCE).await
    }

    /// The same for what nobody waits for, nor misses.
    fn pass_on(&self, tell: Tell) {
        let system = self.clone();
        self.spawn(async move {
            let to = tell.to();
            if let Err(refusal) = system.suggest(tell).await {
                debug!(%to, %refusal, "not passed on");
            }
        });
    }

    /// Tells somebody a command that a wish became: a repeat is the same wish, whatever it becomes.
    pub async fn grant(
        &self,
        wish: Wished,
        tell: Tell,
        by: Principal,
        id: CommandId,
        patience: Duration,
    ) -> Answer {
        self.tell_for(tell, by, id, Repeats::ById(Some(wish)), patience).await
    }

    async fn tell_for(
        &self,
        tell: Tell,
        by: Principal,
        id: CommandId,
        repeats: Repeats,
        patience: Duration,
    ) -> Answer {
        match tell {
            Tell::Order { to, command } => {
                self.ask_for::<Order>(to, Ask { command, by, id }, repeats, patience).await
            }
            Tell::Rescue { to, command } => {
                self.ask_for::<Rescue>(to, Ask { command, by, id }, repeats, patience).await
            }
            Tell::Driver { to, command } => {
                self.ask_for::<Driver>(to, Ask { command, by, id }, repeats, patience).await
            }
            Tell::Rider { to, command } => {
                self.ask_for::<Rider>(to, Ask { command, by, id }, repeats, patience).await
            }
            Tell::Revocation { to, command } => {
                self.ask_for::<Revocation>(to, Ask { command, by, id }, repeats, patience).await
            }
            Tell::Incident { to, command } => {
                self.ask_for::<Incident>(to, Ask { command, by, id }, repeats, patience).await
            }
            Tell::Zone { to, command } => {
                self.ask_for::<Zone>(to, Ask { command, by, id }, repeats, patience).await
            }
            Tell::Run { to, command } => {
                self.ask_for::<Run>(to, Ask { command, by, id }, repeats, patience).await
            }
            Tell::Rule { to, command } => {
                self.ask_for::<Rule>(to, Ask { command, by, id }, repeats, patience).await
            }
            Tell::Template { to, command } => {
                self.ask_for::<Template>(to, Ask { command, by, id }, repeats, patience).await
            }
        }
    }

    /// Lets an entity see something. Never waits; dropped when the entity has too much to do, for
    /// the next sighting supersedes it.
    pub fn see(&self, sight: Sight) {
        match sight {
            Sight::Order(id, sighting) => self.show::<Order>(id, sighting, None),
            Sight::Rescue(id, sighting) => self.show::<Rescue>(id, sighting, None),
            Sight::Driver(id, sighting) => self.show::<Driver>(id, sighting, None),
            Sight::Run(id, sighting) => self.show::<Run>(id, sighting, None),
            Sight::Way(journey) => {
                for (job, etas) in self.regions().etas(&journey, self.now()) {
                    self.see(Sight::expected(job, journey.driver, etas));
                }
            }
        }
    }

    /// The same, and tells what the entity thinks of it: a refusal if it was rubbish. The entity sees
    /// it in its turn, whether or not the answer is awaited.
    pub fn see_and_tell<D: Hosted>(
        &self,
        id: D::Id,
        sighting: D::Sighting,
    ) -> impl Future<Output = Result<(), Refusal>> + Send + 'static {
        let (reply, answer) = oneshot::channel();
        self.show::<D>(id, sighting, Some(Curious::Once(reply)));
        async { answer.await.unwrap_or(Ok(())) }
    }

    /// The same for whoever shows much: only what the entity thinks is rubbish is heard of, the latest of it.
    pub fn see_or_object<D: Hosted>(
        &self,
        id: D::Id,
        sighting: D::Sighting,
        objections: &Objections,
    ) {
        self.show::<D>(id, sighting, Some(Curious::Objections(objections.clone())));
    }

    fn show<D: Hosted>(&self, id: D::Id, sighting: D::Sighting, curious: Option<Curious>) {
        let shard = key::<D>(id).shard();
        match self.place(shard) {
            Place::Here => {
                D::shards(self).show(self, id, Sighted { sighting, curious, permit: None });
            }
            Place::There(owner, _) => self.show_there::<D>(owner, id, &sighting, curious),
            Place::Soon => self.show_soon::<D>(id, sighting, curious),
            Place::Doubtful => {}
        }
    }

    /// Ends once the journal has been out of reach for more than a moment: nobody should wait longer.
    /// What was asked may have happened; a repeat will tell.
    async fn journal_away(&self) {
        let Some(mut reachable) = self.0.reachable.clone() else { return pending().await };
        loop {
            if reachable.wait_for(|it| !it).await.is_err() {
                return pending().await;
            }
            // Most connections that are lost are back before anybody has noticed.
            let back = reachable.wait_for(|it| *it);
            if tokio::time::timeout(AWAY_AFTER, back).await.is_err() {
                return;
            }
        }
    }

    /// Follows an entity: its state now, then each change.
    pub async fn watch<D: Hosted>(&self, id: D::Id) -> Result<Watching<D>, Refusal> {
        self.watch_for::<D>(id, Wants::Everything, false).await
    }

    /// The same for whoever has no use for sightings, and would only be woken by them.
    pub async fn watch_changes<D: Hosted>(&self, id: D::Id) -> Result<Watching<D>, Refusal> {
        self.watch_for::<D>(id, Wants::Changes, false).await
    }

    /// The same, with sightings or without, for whoever could not follow it before, or does not any more: there may be a crowd
    /// of them, behind which nobody else stands.
    pub async fn watch_again<D: Hosted>(
        &self,
        id: D::Id,
        with_sightings: bool,
    ) -> Result<Watching<D>, Refusal> {
        let wants = if with_sightings { Wants::Everything } else { Wants::Changes };
        self.watch_for::<D>(id, wants, true).await
    }

    async fn watch_for<D: Hosted>(
        &self,
        id: D::Id,
        wants: Wants,
        is_again: bool,
    ) -> Result<Watching<D>, Refusal> {
        let until = Instant::now() + OWN_PATIENCE;
        let mut n_lost = 0;
        loop {
            let seat = self.seat_to_follow(key::<D>(id).shard(), until).await?;
            let watching = match seat {
                Seat::Here => self.watch_here::<D>(id, wants, until).await?,
                Seat::There(at) => self.watch_there::<D>(at, id, wants, is_again, until).await?,
            };
            match watching {
                Some(watching) => return Ok(watching),
                None => self.again(seat, &mut n_lost, until).await?,
            }
        }
    }

    async fn watch_here<D: Hosted>(
        &self,
        id: D::Id,
        wants: Wants,
        until: Instant,
    ) -> Result<Option<Watching<D>>, Refusal> {
        let (to, updates) = Updates::channel(self.0.settings.watch_queue_max);
        let state = self.follow_here::<D>(id, Follower::Here { to, wants }, until).await?;
        let Some((version, state)) = state else { return Ok(None) };
        Ok(Some(Watching { version, state, updates }))
    }

    /// Lets somebody follow an entity that lives here, from this state on.
    async fn follow_here<D: Hosted>(
        &self,
        id: D::Id,
        follower: Follower<D>,
        until: Instant,
    ) -> Result<Option<(Version, Arc<D>)>, Refusal> {
        let message = |reply, permit| Message::Watch { follower, reply, permit };
        self.once::<D, _>(id, false, until, message).await?.transpose()
    }

    /// An entity's state now. One that was never created is `D::default()` at version 0.
    pub async fn read<D: Hosted>(&self, id: D::Id) -> Result<(Version, Arc<D>), Refusal> {
        let until = Instant::now() + OWN_PATIENCE;
        let mut n_lost = 0;
        loop {
            let seat = self.seat(key::<D>(id).shard(), until).await?;
            let read = match seat {
                Seat::Here => self.read_here::<D>(id, until).await?,
                Seat::There(at) => self.read_there::<D>(at, id, until).await?,
            };
            match read {
                Some(state) => return state,
                None => self.again(seat, &mut n_lost, until).await?,
            }
        }
    }

    async fn read_here<D: Hosted>(
        &self,
        id: D::Id,
        until: Instant,
    ) -> Result<Option<Result<(Version, Arc<D>), Refusal>>, Refusal> {
        // Who calls for help asks first whether it has.
        let is_urgent = D::KIND == Kind::Incident;
        self.once::<D, _>(id, is_urgent, until, |reply, permit| Message::Read { reply, permit })
            .await
    }

    /// What is published from now on, and soon the mark of every entity that is awake here: all that events lead to, and while
    /// somebody looks ([`System::look_at_boards`]) what is merely seen, which is most of it. Of other nodes, from
    /// [`System::widen_new_board`] on and as long as [`System::widen_boards`] says so. At most 65,536 wait; a reader who is
    /// slower is cut off and should start again. Also what is cancelled once all marks are there.
    pub fn board(&self, is_looked_at: bool) -> (mpsc::Receiver<Published>, CancellationToken) {
        let receiver = self.0.publisher.subscribe(Interest::Everything);
        self.0.publisher.look(is_looked_at);
        (receiver, self.retell())
    }

    /// Somebody looks at the boards that there are now. They are soon told the mark of every entity that is awake here, as it
    /// is by then; what comes back is cancelled once all of them are there.
    pub fn look_at_boards(&self) -> CancellationToken {
        self.0.publisher.look(true);
        self.retell()
    }

    /// Nobody does any more.
    pub fn look_away(&self) {
        self.0.publisher.look(false);
    }

    fn retell(&self) -> CancellationToken {
        let told = CancellationToken::new();
        let guard = Arc::new(told.clone().drop_guard());
        self.to_all_shards(&Instruction::Republish(Retell::Here(guard)));
        told
    }

    /// What entities of this node publish from now on of events with one of these names. Bounded like
    /// a board's.
    pub fn hear(&self, names: &'static [&'static str]) -> mpsc::Receiver<Published> {
        self.0.publisher.subscribe(Interest::Named(names))
    }

    /// The node's journal.
    pub fn journal(&self) -> &SharedJournal {
        &self.0.journal
    }

    /// What regions know.
    pub fn regions(&self) -> &Regions {
        self.0.regions.get().expect("set in start")
    }

    /// The node's clock.
    pub fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    /// How many entities are awake.
    pub fn n_awake(&self) -> usize {
        self.0.orders.n_awake()
            + self.0.rescues.n_awake()
            + self.0.drivers.n_awake()
            + self.0.riders.n_awake()
            + self.0.revocations.n_awake()
            + self.0.incidents.n_awake()
            + self.0.runs.n_awake()
            + self.0.zones.n_awake()
            + self.0.rules.n_awake()
            + self.0.templates.n_awake()
    }

    /// Gives a quarantined entity another chance, wherever it is.
    pub async fn release(&self, entity: EntityKey) -> Result<(), Refusal> {
        let until = Instant::now() + OWN_PATIENCE;
        let mut n_lost = 0;
        loop {
            match self.seat(entity.shard(), until).await? {
                Seat::Here => {
                    self.release_here(entity);
                    return Ok(());
                }
                Seat::There(at) if self.release_there(at, entity, until).await? => return Ok(()),
                seat @ Seat::There(_) => self.again(seat, &mut n_lost, until).await?,
            }
        }
    }

    /// How an entity is, if its shard is on this node. Wakes nobody.
    pub async fn residence(&self, entity: EntityKey) -> Option<Residence> {
        let until = Instant::now() + OWN_PATIENCE;
        match self.seat(entity.shard(), until).await {
            Ok(Seat::Here) => {}
            Ok(Seat::There(_)) | Err(_) => return None,
        }
        let (reply, mut found) = mpsc::channel(1);
        self.to_shard(entity, &Instruction::Look(entity.id, reply));
        // Where no shard runs, nobody is awake.
        Some(found.recv().await.unwrap_or_default())
    }

    fn release_here(&self, entity: EntityKey) {
        self.to_shard(entity, &Instruction::Release(entity.id));
    }

    /// Kills the actor of an entity where it stands, as a fault would.
    #[cfg(any(test, feature = "testing"))]
    pub fn kill(&self, entity: EntityKey) {
        self.to_shard(entity, &Instruction::Kill(entity.id));
    }

    /// Lets every entity that may sleep do so now, however short it has been idle.
    #[cfg(any(test, feature = "testing"))]
    pub fn sleep_all(&self) {
        self.to_all_shards(&Instruction::Sweep { is_forced: true });
    }

    /// Gives everything to other nodes, if there are any; then refuses new commands, finishes those
    /// under way, snapshots what is awake, and stops. Returns whether all of that was done within
    /// `patience`.
    pub async fn drain(&self, patience: Duration) -> bool {
        let until = Instant::now() + patience;
        self.leave(patience).await;
        self.0.is_draining.store(true, Ordering::Release);
        // While everybody is still there who stands in line.
        tokio::time::timeout_at(until, self.regions().keep(&ShardSet::ALL)).await.ok();
        let finished = tokio::time::timeout_at(until, async {
            self.0.admission.idle().await;
            self.0.relay.idle().await;
            self.to_all_shards(&Instruction::Drain);
            while self.n_awake() > 0 {
                tokio::time::sleep(BREATHER).await;
            }
        })
        .await;
        self.regions().stop().await;
        self.0.stop.cancel();
        self.0.tasks.close();
        let stopped = tokio::time::timeout_at(until, self.0.tasks.wait()).await;
        finished.is_ok() && stopped.is_ok()
    }

    /// Ends at once, as a fault would end the process: nothing is finished, written or given away.
    #[cfg(any(test, feature = "testing"))]
    pub async fn crash(&self) {
        self.0.stop.cancel();
        self.0.tasks.close();
        self.drop_everyone(&ShardSet::ALL);
        self.regions().stop().await;
        self.0.tasks.wait().await;
    }

    fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) {
        let stop = self.0.stop.clone();
        self.0.tasks.spawn(async move {
            stop.run_until_cancelled(task).await;
        });
    }

    fn to_shard(&self, entity: EntityKey, order: &Instruction) {
        by_kind!(entity.kind, D => D::shards(self).order(entity.shard(), order));
    }

    fn to_all_shards(&self, order: &Instruction) {
        Kind::iter().for_each(|kind| by_kind!(kind, D => D::shards(self).order_all(order)));
    }

    /// Forgets everyone of these shards who is awake here.
    fn drop_everyone(&self, shards: &ShardSet) {
        for (shard, kind) in shards.iter().flat_map(|shard| Kind::iter().map(move |it| (shard, it)))
        {
            by_kind!(kind, D => D::shards(self).abandon(shard));
        }
    }

    /// Tells an entity that its deadline has come.
    fn tick(&self, entity: EntityKey) {
        by_kind!(entity.kind, D => {
            let id = protocol::Identifier::from_uuid(entity.id);
            D::shards(self).deliver(self, id, Message::Tick);
        });
    }

    /// Every stored deadline of some shards.
    async fn read_deadlines(
        &self,
        shards: &ShardSet,
    ) -> Result<Vec<(Timestamp, EntityKey)>, JournalError> {
        const PAGE: usize = 10_000;
        let (mut deadlines, mut after) = (Vec::new(), None);
        loop {
            let until = Timestamp(i64::MAX as u64);
            let page = self.journal().deadlines(shards, until, after, PAGE).await?;
            let is_last = page.len() < PAGE;
            after = page.last().copied();
            deadlines.extend(page);
            if is_last {
                return Ok(deadlines);
            }
        }
    }

    /// Arms deadlines, and wakes those that are near: a search that is open must reach its region
    /// again.
    fn arm(&self, deadlines: Vec<(Timestamp, EntityKey)>) {
        let soon = self.now() + EAGER;
        for (due, entity) in deadlines {
            self.0.alarm.set(entity, Some(due));
            if due <= soon {
                self.tick(entity);
            }
        }
    }

    /// Tells the regions that should know what became of an entity.
    fn list(&self, entity: EntityKey, old: Option<&Listing>, new: Option<&Listing>) {
        match self.membership() {
            None => self.regions().list(entity, old, new),
            Some(membership) => self.list_there(membership, entity, old, new),
        }
    }
}

/// Under which name the journal knows an entity.
fn key<D: Decider>(id: D::Id) -> EntityKey {
    EntityKey { kind: D::KIND, id: protocol::Identifier::uuid(id) }
}

/// Waits a moment before asking again, unless there is no time left.
async fn breathe(until: Instant) -> Result<(), Refusal> {
    if Instant::now() + BREATHER >= until {
        return Err(Refusal::Unavailable);
    }
    tokio::time::sleep(BREATHER).await;
    Ok(())
}

/// Reads what a start needs, again while the journal cannot be reached: those who are awake already
/// read too, and may be in the way for a moment.
async fn patiently<T, F>(read: impl Fn() -> F) -> Result<T, JournalError>
where
    F: Future<Output = Result<T, JournalError>>,
{
    let until = Instant::now() + START_PATIENCE;
    loop {
        match read().await {
            Err(JournalError::Unavailable(problem)) if Instant::now() < until => {
                warn!(problem, "the journal is read again");
                tokio::time::sleep(AGAIN_AFTER).await;
            }
            outcome => return outcome,
        }
    }
}

/// Lets shards look for entities that may sleep.
async fn sweep(system: System) {
    let mut every = tokio::time::interval(SWEEP_EVERY);
    loop {
        every.tick().await;
        system.to_all_shards(&Instruction::Sweep { is_forced: false });
        metrics::gauge!("outrider_entities_awake").set(system.n_awake() as f64);
        metrics::gauge!("outrider_deadlines_armed").set(system.0.alarm.len() as f64);
    }
}

/// Answers older than the repeat window cannot be asked for again.
async fn forget_results(system: System) {
    let mut every = tokio::time::interval(Duration::from_secs(600));
    loop {
        every.tick().await;
        let before = system.now() - REPEAT_WINDOW - CLOCK_SKEW_MAX;
        match system.journal().forget_results(before).await {
            Ok(Forgotten { n_rows, with_events_before }) => {
                debug!(n_rows, ?with_events_before, "old command results forgotten");
                metrics::counter!("outrider_results_forgotten_total").increment(n_rows);
                if let Some(Timestamp(since)) = with_events_before {
                    metrics::gauge!("outrider_results_since_timestamp_seconds")
                        .set(since as f64 / 1_000.0);
                }
            }
            Err(error) => warn!(%error, "old command results kept"),
        }
    }
}

impl System {
    /// Takes in what has become of a zone. A node of several finds it in the list, too; one that is alone does not look.
    async fn learn_zone(&self, zone: ZoneId) {
        match self.read::<Zone>(zone).await {
            Ok((_, state)) => {
                self.regions().zones().take_in([(zone, state.standing(zone))]);
            }
            Err(error) => debug!(%zone, %error, "what became of a zone cannot be read"),
        }
    }
}

/// The node as its regions see it. Weak, for the node owns the regions.
#[derive(Debug)]
struct NodeSurroundings(Weak<Node>);

impl Surroundings for NodeSurroundings {
    fn propose(&self, job: JobId, round: u32, candidates: Vec<Candidate>) {
        let Some(system) = self.0.upgrade().map(System) else { return };
        let asking = system.clone();
        system.spawn(async move {
            let tell = Tell::job(job, search::Command::Propose { round, candidates });
            // Refused when the search moved on meanwhile; the next tick proposes anew.
            asking.suggest(tell).await.ok();
        });
    }

    fn pause(&self, job: JobId, pause: Option<ZonePause>) {
        let Some(system) = self.0.upgrade().map(System) else { return };
        let asking = system.clone();
        system.spawn(async move {
            let command = match pause {
                Some(pause) => search::Command::Pause { pause },
                None => search::Command::Unpause {},
            };
            // Refused when the search is over; otherwise it is told again.
            let tell = Tell::job(job, command);
            asking.suggest(tell).await.ok();
        });
    }

    fn hint(&self, driver: DriverId, to: Point) {
        let Some(system) = self.0.upgrade().map(System) else { return };
        let asking = system.clone();
        system.spawn(async move {
            let tell = Tell::Driver { to: driver, command: driver::Command::Hint { to } };
            // Nobody misses one that does not arrive.
            asking.suggest(tell).await.ok();
        });
    }

    fn surge(&self, zone: ZoneId, cell: &surge::Cell, cause: surge::Cause) {
        let Some(system) = self.0.upgrade().map(System) else { return };
        // A node that cannot read it would refuse the whole bundle that it is in.
        if system.writes() < zone::SURGED {
            return;
        }
        let (percent, count, ratio) = (cell.percent, cell.count, cell.ratio);
        let command = zone::Command::Surge { percent, count, ratio, cause };
        let asking = system.clone();
        system.spawn(async move {
            // One that is refused is said again.
            if asking.suggest(Tell::Zone { to: zone, command }).await.is_ok() {
                asking.learn_zone(zone).await;
            }
        });
    }

    fn batch(&self, region: RegionId, proposal: Proposal, settings: &batch::Settings) {
        let Some(system) = self.0.upgrade().map(System) else { return };
        let tell = run::proposed(region, proposal, settings, CommandId::mint());
        let asking = system.clone();
        system.spawn(async move {
            // Whatever is refused waits on, each search for itself; the next look proposes anew.
            asking.suggest(tell).await.ok();
        });
    }

    fn queued(&self, job: JobId, queued: Queued) {
        let Some(system) = self.0.upgrade().map(System) else { return };
        system.see(Sight::job(job, search::Sighting::Queued { queued }));
    }

    fn keep(
        &self,
        region: RegionId,
        what: region::Kept,
        bytes: Vec<u8>,
    ) -> BoxFuture<'static, Result<(), CommitError>> {
        let journal = self.0.upgrade().map(|node| Arc::clone(&node.journal));
        async move {
            let gone = || CommitError::Unavailable("the node is gone".into());
            journal.ok_or_else(gone)?.keep(what.shelf(region), bytes).await
        }
        .boxed()
    }

    fn kept(
        &self,
        region: RegionId,
        what: region::Kept,
    ) -> BoxFuture<'static, Result<Option<Vec<u8>>, JournalError>> {
        let journal = self.0.upgrade().map(|node| Arc::clone(&node.journal));
        async move {
            let gone = || JournalError::Unavailable("the node is gone".into());
            journal.ok_or_else(gone)?.kept(what.shelf(region)).await
        }
        .boxed()
    }

    fn region_up(&self, region: RegionId) {
        let Some(system) = self.0.upgrade().map(System) else { return };
        let is_first = {
            let mut seen = system.0.regions_seen.lock().unwrap_or_else(PoisonError::into_inner);
            seen.insert(region)
        };
        // Nobody can have listed itself before a region's first life.
        if !is_first {
            system.relist_region(region);
            system.tell_region_up(region);
        }
    }

    fn is_ours(&self, region: RegionId) -> bool {
        self.0.upgrade().is_some_and(|node| System(node).is_held(region.shard()))
    }

    fn now(&self) -> Timestamp {
        self.0.upgrade().map_or(Timestamp(0), |node| node.clock.now())
    }
}
