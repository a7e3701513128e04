//! One node: everything in it is real but its network, its database and its clock.

use super::{
    database::Connection,
    wire::{Shared, Wire},
    world::{Datagram, Host, Search, Wish, World, lock, now},
};
use actors::{
    Version,
    cluster::{self, arbiter::NodeCard},
    journal::memory::arbiter::MemoryArbiter,
    order::{self, Order, Placement},
    policy::JobPolicy,
    region,
    rider::{self, Rider},
    runtime::{Answer, Ask, Clock, Joining, Settings, System},
};
use protocol::{JobId, OrderId, Point, Principal, RiderId, view::WorkKind, work::OrderKind};
use std::{
    sync::{Arc, Mutex},
    time::Duration,
};
use tokio::sync::Notify;

/// How long a node tries to answer a client.
const PATIENCE: Duration = Duration::from_millis(1_500);
/// How long a node that leaves may take to give everything away.
const LEAVE_PATIENCE: Duration = Duration::from_secs(5);
const PICKUP: Point = Point { lat: -1.9441, lon: 30.0619 };

/// What is different about a node.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Temper {
    /// It believes in its lease whatever happens, as one does that was stopped and goes on: only the
    /// fence keeps what it says from counting.
    pub(crate) is_stubborn: bool,
    /// How long one step of a hand-over may take.
    pub(crate) step_max: Duration,
    /// How far its clock is ahead.
    pub(crate) skew_ms: u64,
}

/// A node as the run sees it, over all its starts.
#[derive(Debug)]
pub(crate) struct Slot {
    pub(crate) name: String,
    pub(crate) temper: Temper,
    /// To be told to leave.
    pub(crate) leave: Notify,
    /// What is up at the moment.
    pub(crate) live: Mutex<Option<Live>>,
}

/// One start of a node.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    pub(crate) session: MemoryArbiter,
    pub(crate) wire: Arc<Wire>,
    /// None before it has joined.
    pub(crate) system: Option<System>,
}

impl Slot {
    pub(crate) fn live(&self) -> Option<Live> {
        lock(&self.live).clone()
    }
}

/// How nodes take part: quicker than the default, so that a run has more of everything.
pub(crate) fn settings(temper: Temper) -> cluster::Settings {
    let ttl = if temper.is_stubborn { Duration::from_secs(3_600) } else { Duration::from_secs(1) };
    cluster::Settings {
        ttl,
        renew: Duration::from_millis(200),
        settle: Duration::from_millis(300),
        handovers_max: 4,
        step_max: temper.step_max,
        ..cluster::Settings::default()
    }
}

/// Joins, answers clients, and ends when it is told to leave or is declared dead.
pub(crate) async fn run(world: Arc<World>, slot: Arc<Slot>) {
    let host = Arc::new(Host::open(&world, &slot.name).await);
    let connection = Connection::open(Arc::clone(&host));
    let wire = Arc::new(Wire::new(Arc::clone(&host)));
    let live = Live { session: connection.session(), wire: wire.clone(), system: None };
    *lock(&slot.live) = Some(live);
    let (reading, heard, gate) = (Arc::clone(&host), connection.clone(), Arc::clone(&slot));
    drop(tokio::spawn(async move { read(&reading, &heard, &wire, &gate).await }));
    let live = slot.live().expect("set above");
    let Temper { skew_ms, .. } = slot.temper;
    let joining = Joining {
        arbiter: Arc::new(connection.clone()),
        transport: Arc::new(Shared(live.wire.clone())),
        card: NodeCard {
            node: slot.name.clone(),
            address: format!("http://{}", slot.name),
            zone: String::new(),
            weight: 100,
            version: "1".to_owned(),
            writes: 1,
            reads: 1,
            secret: String::new(),
        },
        settings: settings(slot.temper),
    };
    let regions = region::Settings { tick_ms: 0, ..region::Settings::default() };
    let clock = Clock::simulated(move || now(skew_ms));
    let few = Settings { snapshot_every: 4, ..Settings::default() };
    let journal = Arc::new(connection);
    let system = match System::join(journal, clock, few, regions, joining).await {
        Ok(system) => system,
        Err(error) => {
            world.story.tell(&[], || format!("{} does not join: {error}", slot.name));
            return;
        }
    };
    *lock(&slot.live) = Some(Live { system: Some(system.clone()), ..live });
    world.story.tell(&[], || format!("{} joins", slot.name));
    tokio::select! {
        biased;
        () = system.expelled() => world.story.tell(&[], || format!("{} is expelled", slot.name)),
        () = slot.leave.notified() => {
            let is_clean = system.drain(LEAVE_PATIENCE).await;
            world.story.tell(&[is_clean.into()], || format!("{} left, clean: {is_clean}", slot.name));
        }
    }
}

/// Takes what arrives, for ever.
async fn read(host: &Arc<Host>, connection: &Connection, wire: &Wire, slot: &Arc<Slot>) {
    loop {
        let (datagram, from) = host.receive().await;
        match datagram {
            Datagram::Done(n) => host.done(n),
            Datagram::Changed => connection.changed(),
            Datagram::Letter { from, to, n, is_copy, bytes } => {
                wire.arrive(from, to, n, is_copy, bytes);
            }
            Datagram::Wish { n, wish } => {
                let Some(system) = slot.live().and_then(|live| live.system) else { continue };
                let host = Arc::clone(host);
                drop(tokio::spawn(async move {
                    let answer = grant(&system, wish).await;
                    host.send(&from, &Datagram::Granted { n, answer });
                }));
            }
            Datagram::Statement(_) | Datagram::Granted { .. } => {}
        }
    }
}

/// Does for a client what a gateway does.
async fn grant(system: &System, wish: Wish) -> Answer {
    let by = Principal::System;
    match wish {
        Wish::Open { rider, job, id } => {
            let job = JobId::Order(OrderId::nth(job));
            let command = rider::Command::OpenJob { job, work: WorkKind::Delivery };
            system.ask::<Rider>(rider, Ask { command, by, id }, PATIENCE).await
        }
        Wish::Place { order, rider, search, id } => {
            let command = order::Command::Place(Box::new(placement(rider, search)));
            system.ask::<Order>(order, Ask { command, by, id }, PATIENCE).await
        }
        Wish::Read { rider } => {
            system.read::<Rider>(rider).await.map(|(version, _)| Version(version.0))
        }
    }
}

fn placement(rider: RiderId, search: Search) -> Placement {
    let Search { offer, search_ms, feed_ms } = search;
    let policy = JobPolicy { offer, search_ms, feed_ms, ..JobPolicy::default() };
    let ride = Placement::ride(rider, PICKUP, PICKUP.offset_m(180.0, 0.0));
    Placement { kind: OrderKind::Delivery, policy, ..ride }
}
