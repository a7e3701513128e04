//! One run: hosts, links and what goes wrong with them, until everything is well again; then what was
//! promised is held against what is there.

use super::{
    faults::{self, Action, CHAOS, N_NODES, Plan},
    load::{self, Load},
    node::{self, Slot},
    story::Story,
    world::{CLIENTS, DATABASE, World, lock, riders_in},
};
use actors::{
    EntityKey, Version,
    cluster::arbiter::{Arbiter, Standing},
    journal::{Journal, check::check, memory::arbiter::MemoryArbiter},
    rider,
};
use futures_util::future::FutureExt;
use protocol::{ShardSet, Timestamp};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::{
    cell::Cell,
    collections::BTreeMap,
    panic,
    sync::{Arc, Mutex, Once, atomic::Ordering},
    time::{Duration, SystemTime},
};
use tokio::sync::Notify;
use turmoil::Sim;

/// How far time goes at once. Datagrams travel between two of these.
const TICK: Duration = Duration::from_millis(10);
/// Once nothing is wrong any more, everything is well within this.
const HEALING: Duration = Duration::from_secs(40);
/// How often it is looked whether it is.
const LOOK_EVERY: Duration = Duration::from_millis(100);
/// Since when simulated time counts.
const EPOCH: Duration = Duration::from_secs(1_750_000_000);
const N_RIDERS: usize = 4;
const N_CUSTOMERS: usize = 4;

/// How a run is told and what is wrong with its world from the beginning.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Options {
    /// Every line of the story is printed.
    pub(crate) is_told: bool,
    /// The database takes commits of whoever sends them.
    pub(crate) is_unfenced: bool,
}

/// How a run ended.
#[derive(Debug)]
pub(crate) struct Outcome {
    /// What was broken; nothing, if all is well.
    pub(crate) problems: Vec<String>,
    /// The same for runs that went the same way.
    pub(crate) digest: u64,
    /// How many wishes were granted.
    pub(crate) n_acks: usize,
    /// How often a shard got a new owner.
    pub(crate) n_epochs: usize,
    /// How long it took, in simulated time.
    pub(crate) took: Duration,
}

thread_local! {
    /// Panics on this thread, for a task that panics is silently gone.
    static N_PANICS: Cell<u64> = const { Cell::new(0) };
}

/// Counts panics from now on.
fn count_panics() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let usual = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            N_PANICS.with(|n| n.set(n.get() + 1));
            usual(info);
        }));
    });
}

/// Runs a seed.
pub(crate) fn run(seed: u64, options: Options) -> Outcome {
    count_panics();
    let n_panics = N_PANICS.get();
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let plan = faults::plan(&mut rng);
    let in_play: ShardSet = plan.in_play.iter().copied().collect();
    let story = Story::new(options.is_told);
    let world = Arc::new(World::new(in_play, plan.weather, plan.patience, rng, story));
    if options.is_unfenced {
        world.database.remove_fence();
    }
    let mut riders = riders_in(&in_play, N_RIDERS + N_CUSTOMERS);
    let customers = riders.split_off(N_RIDERS);
    let load = Arc::new(Load {
        riders,
        customers,
        nodes: (0..N_NODES).map(faults::name).collect(),
        heard: Mutex::default(),
        are_reads_fresh: plan.tempers.iter().all(|temper| !temper.is_stubborn),
    });
    let mut fleet = Fleet::new(seed, &world, &load, &plan);
    let took = fleet.live(&load, plan.actions);
    drop(fleet);
    if N_PANICS.get() > n_panics {
        world.problem("something panicked".to_owned());
    }
    if world.problems().is_empty() {
        judge(&world, &load);
    }
    let heard = lock(&load.heard);
    let (journal, _) = world.database.open();
    let heads = journal_heads(&journal);
    Outcome {
        problems: world.problems(),
        digest: world.story.digest(),
        n_acks: heard.acks.len(),
        n_epochs: heads,
        took,
    }
}

fn journal_heads(journal: &dyn Journal) -> usize {
    let epochs = journal.dump(actors::journal::Part::Epochs, None, usize::MAX);
    epochs.now_or_never().expect("at once").expect("readable").len()
}

/// The hosts, as the run's own hands see them.
struct Fleet<'a> {
    sim: Sim<'a>,
    world: Arc<World>,
    slots: Vec<Arc<Slot>>,
    /// Should it be running?
    is_wanted: Vec<bool>,
    /// When the database notices that somebody is gone.
    noticing: Vec<(Duration, MemoryArbiter)>,
    latency_max: Duration,
}

impl Fleet<'_> {
    fn new(seed: u64, world: &Arc<World>, load: &Arc<Load>, plan: &Plan) -> Self {
        let mut sim = turmoil::Builder::new()
            .rng_seed(seed)
            .epoch(SystemTime::UNIX_EPOCH + EPOCH)
            .tick_duration(TICK)
            .simulation_duration(Duration::from_secs(3_600))
            .min_message_latency(Duration::ZERO)
            .max_message_latency(plan.latency_max)
            .udp_capacity(10_000)
            .build();
        let database = Arc::clone(world);
        sim.host(DATABASE, move || {
            let world = Arc::clone(&database);
            async move {
                super::database::serve(world).await;
                Ok(())
            }
        });
        let slots: Vec<Arc<Slot>> = plan
            .tempers
            .iter()
            .enumerate()
            .map(|(n, temper)| {
                let name = faults::name(n);
                let (leave, live) = (Notify::new(), Mutex::default());
                Arc::new(Slot { name, temper: *temper, leave, live })
            })
            .collect();
        for slot in &slots {
            let (world, slot) = (Arc::clone(world), Arc::clone(slot));
            sim.host(slot.name.clone(), move || {
                let (world, slot) = (Arc::clone(&world), Arc::clone(&slot));
                async move {
                    node::run(world, slot).await;
                    Ok(())
                }
            });
        }
        let (everyone, load) = (Arc::clone(world), Arc::clone(load));
        sim.host(CLIENTS, move || {
            let (world, load) = (Arc::clone(&everyone), Arc::clone(&load));
            async move {
                load::run(world, load, seed).await;
                Ok(())
            }
        });
        let is_wanted = vec![true; slots.len()];
        let (world, noticing, latency_max) = (Arc::clone(world), Vec::new(), plan.latency_max);
        let mut fleet = Self { sim, world, slots, is_wanted, noticing, latency_max };
        fleet.crash(N_NODES - 1, false);
        fleet
    }

    /// Lives through what goes wrong, and until all is well again. Returns how long that took.
    fn live(&mut self, load: &Load, actions: Vec<(Duration, Action)>) -> Duration {
        let mut actions = actions.into_iter().peekable();
        while self.sim.elapsed() < CHAOS && self.is_sound() {
            while let Some((_, action)) = actions.next_if(|(at, _)| *at <= self.sim.elapsed()) {
                self.act(action);
            }
            self.step();
        }
        self.heal();
        self.world.is_over.store(true, Ordering::Release);
        let (until, mut look_at) = (self.sim.elapsed() + HEALING, self.sim.elapsed());
        while self.is_sound() {
            self.step();
            if self.sim.elapsed() >= look_at {
                look_at = self.sim.elapsed() + LOOK_EVERY;
                let Err(missing) = self.is_well(load) else { break };
                if self.sim.elapsed() >= until {
                    self.world.problem(format!("not well again: {missing}"));
                }
            }
        }
        self.sim.elapsed()
    }

    fn is_sound(&self) -> bool {
        self.world.problems().is_empty()
    }

    fn step(&mut self) {
        let now = self.sim.elapsed();
        for (_, session) in self.noticing.extract_if(.., |(at, _)| *at <= now) {
            session.hang_up();
        }
        for n in 0..self.slots.len() {
            let name = self.slots[n].name.clone();
            // One that was expelled, or could not join, is started again, as it would be anywhere.
            if self.is_wanted[n] && !self.sim.is_host_running(&*name) {
                self.is_wanted[n] = false;
                self.gone(n, true);
                self.start(n);
            }
        }
        if let Err(error) = self.sim.step() {
            self.world.problem(format!("a host fell: {error}"));
        }
    }

    fn act(&mut self, action: Action) {
        let (at, sim) = (self.sim.elapsed(), &mut self.sim);
        self.world
            .story
            .tell(&[at.as_millis() as u64], || format!("{:>9.3} {action:?}", at.as_secs_f64()));
        match action {
            Action::Crash { node, is_noticed } => self.crash(node, is_noticed),
            Action::Start { node } => self.start(node),
            Action::Leave { node } => {
                if self.is_wanted[node] {
                    self.is_wanted[node] = false;
                    self.slots[node].leave.notify_one();
                }
            }
            Action::Part(one, other) => sim.partition(one, other),
            Action::PartOneWay(from, to) => sim.partition_oneway(from, to),
            Action::Hold(one, other) => sim.hold(one, other),
            Action::Heal(one, other) => {
                sim.release(&*one, &*other);
                sim.set_link_max_message_latency(one, other, self.latency_max);
            }
            Action::Slow(one, other, max) => sim.set_link_max_message_latency(one, other, max),
            Action::Plug { node, is_plugged } => {
                if let Some(live) = self.slots[node].live() {
                    live.wire.plug(is_plugged);
                }
            }
            Action::Pin(shard, node) => {
                let (_, arbiter) = self.world.database.open();
                let pinned = arbiter.pin(shard, Some(faults::name(node))).now_or_never();
                pinned.expect("at once").expect("anybody may");
            }
        }
    }

    fn crash(&mut self, n: usize, is_noticed: bool) {
        self.is_wanted[n] = false;
        self.gone(n, is_noticed);
        self.sim.crash(&*self.slots[n].name);
    }

    /// Whatever was up is not any more.
    fn gone(&mut self, n: usize, is_noticed: bool) {
        let name = &self.slots[n].name;
        lock(&self.world.directory).retain(|_, host| host != name);
        if let Some(live) = lock(&self.slots[n].live).take()
            && is_noticed
        {
            self.noticing.push((self.sim.elapsed() + 4 * TICK, live.session));
        }
    }

    fn start(&mut self, n: usize) {
        if !self.is_wanted[n] {
            self.gone(n, true);
            self.is_wanted[n] = true;
            self.sim.bounce(&*self.slots[n].name);
        }
    }

    fn heal(&mut self) {
        let mut hosts: Vec<String> = self.slots.iter().map(|slot| slot.name.clone()).collect();
        hosts.extend([DATABASE.to_owned(), CLIENTS.to_owned()]);
        for (n, one) in hosts.iter().enumerate() {
            for other in &hosts[n + 1..] {
                self.sim.release(&**one, &**other);
                self.sim.set_link_max_message_latency(&**one, &**other, self.latency_max);
            }
        }
        for n in 0..self.slots.len() {
            self.start(n);
            if let Some(live) = self.slots[n].live() {
                live.wire.plug(true);
            }
        }
    }

    /// Has everyone been answered, everything been told, and every shard its one place?
    fn is_well(&self, load: &Load) -> Result<(), String> {
        let n_done = lock(&load.heard).n_done;
        if n_done < load.n_clients() {
            return Err(format!("{n_done} of {} clients are done", load.n_clients()));
        }
        let (journal, arbiter) = self.world.database.open();
        let picture = arbiter.look().now_or_never().expect("at once").expect("reachable");
        for head in picture.heads.iter().filter(|it| self.world.in_play.contains(it.shard)) {
            let owner = head.owner.and_then(|owner| picture.members.get(&owner));
            if owner.is_none_or(|owner| owner.standing != Standing::Up) {
                return Err(format!("nobody has {}", head.shard));
            }
        }
        let mut n_held = 0;
        for slot in &self.slots {
            let Some(system) = slot.live().and_then(|live| live.system) else {
                return Err(format!("{} has not joined", slot.name));
            };
            let view = system.cluster().expect("one of several");
            if !view.moves.is_empty() {
                return Err(format!("{} hands over {:?}", slot.name, view.moves));
            }
            n_held += view.n_held;
        }
        if n_held != self.world.in_play.len() {
            return Err(format!("{n_held} of {} shards are held", self.world.in_play.len()));
        }
        let all = ShardSet::ALL;
        let untold = journal.undelivered(&all, None, 5).now_or_never().expect("at once");
        let untold = untold.expect("readable");
        if !untold.is_empty() {
            return Err(format!("not told: {untold:?}"));
        }
        let ever = Timestamp(i64::MAX as u64);
        let due = journal.deadlines(&all, ever, None, 5).now_or_never().expect("at once");
        let due = due.expect("readable");
        if !due.is_empty() {
            return Err(format!("not done when it was due: {due:?}"));
        }
        Ok(())
    }
}

/// Holds what was heard against what is there.
fn judge(world: &World, load: &Load) {
    let (journal, _) = world.database.open();
    let heard = lock(&load.heard);
    // No run lasts as long as an answer is kept.
    let report = check(&journal, heard.acks.iter().copied(), Timestamp(0));
    let report = report.now_or_never().expect("at once");
    let report = report.expect("readable");
    if !report.is_sound() {
        world.problem(format!("{:#?}", report.violations));
    }
    let names = |entity: EntityKey| -> Vec<String> {
        let history = journal.history(entity, Version::default(), usize::MAX);
        let history = history.now_or_never().expect("at once").expect("readable");
        history.into_iter().map(|recorded| recorded.event.name).collect()
    };
    let mut wanted: BTreeMap<EntityKey, usize> = BTreeMap::new();
    for (order, customer) in &heard.orders {
        *wanted.entry((*customer).into()).or_default() += 1;
        let names = names((*order).into());
        let n_ends = names.iter().filter(|name| *name == "no_driver_found").count();
        if n_ends != 1 {
            world.problem(format!("{order} ended {n_ends} times: {names:?}"));
        }
    }
    for (customer, n) in wanted {
        let names = names(customer);
        let n_of = |name: &str| names.iter().filter(|it| *it == name).count();
        let told = (n_of("job_opened"), n_of("job_closed"));
        if told != (n, n) {
            let history = journal.history(customer, Version::default(), usize::MAX);
            let history = history.now_or_never().expect("at once").expect("readable");
            let jobs: Vec<rider::Event> = history
                .iter()
                .map(|it| rmp_serde::from_slice(&it.event.bytes).expect("readable"))
                .collect();
            world.problem(format!("{customer} was told {told:?} of {n} orders: {jobs:#?}"));
        }
    }
}
