//! What several nodes promise together, with a database in memory and links that can be cut. Every
//! actor is real, time too, and there are many threads.

use actors::{
    Claim, EntityKey, Refusal, Sight, Version,
    cluster::{
        self, Incarnation,
        arbiter::{Arbiter, NodeCard, Standing},
        hub::{Hub, HubTransport, Weather},
        placement,
    },
    driver::{self, Driver},
    journal::{
        SharedJournal,
        check::{Ack, check},
        faulty::{FaultyJournal, Odds},
        memory::{
            MemoryJournal,
            arbiter::{MemoryArbiter, MemoryDatabase},
        },
    },
    listing::RegionId,
    order::{self, Order, Placement},
    policy::{DriverPolicy, JobPolicy},
    region,
    rider::{self, Rider},
    runtime::{
        Answer, Ask, Clock, Hosted, JoinError, Joining, Settings, StartError, System, Update,
    },
};
use futures_util::future::join_all;
use protocol::{
    CommandId, DriverId, DriverStatus, JobId, OfferId, OfferStatus, OrderId, OrderStatus, Point,
    Principal, RiderId, SHARDS, ShardId, Timestamp,
    view::{Position, WorkKind},
    work::{DutyWish, OfferPolicy, OrderKind, Vehicle, VehicleKind},
};
use std::{
    collections::BTreeMap,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};

const PATIENCE: Duration = Duration::from_secs(20);
const PICKUP: Point = Point { lat: -1.9441, lon: 30.0619 };

/// A database, links, and the nodes between them.
struct Fleet {
    database: MemoryDatabase,
    hub: Hub,
    settings: cluster::Settings,
}

/// One node.
struct Node {
    system: System,
    arbiter: MemoryArbiter,
    transport: Arc<HubTransport>,
}

impl Fleet {
    fn new() -> Self {
        let settings = cluster::Settings {
            ttl: Duration::from_millis(600),
            renew: Duration::from_millis(100),
            settle: Duration::from_millis(100),
            ..cluster::Settings::default()
        };
        Self { database: MemoryDatabase::new(), hub: Hub::new(1), settings }
    }

    /// Several nodes, which have found their places.
    async fn of(n: usize) -> (Self, Vec<Node>) {
        let fleet = Self::new();
        let mut nodes = Vec::new();
        for n in 0..n {
            nodes.push(fleet.join(&format!("node-{n}")).await);
        }
        fleet.until_settled(&nodes.iter().collect::<Vec<_>>()).await;
        (fleet, nodes)
    }

    async fn join(&self, name: &str) -> Node {
        self.try_join(name, 1).await.expect("joins")
    }

    /// A build that reads and writes this format.
    async fn try_join(&self, name: &str, format: u32) -> Result<Node, StartError> {
        self.join_as(card(name, format)).await
    }

    async fn join_as(&self, card: NodeCard) -> Result<Node, StartError> {
        self.join_with(card, |journal| Arc::new(journal)).await
    }

    /// One that sees its journal through something.
    async fn join_with(
        &self,
        card: NodeCard,
        through: impl FnOnce(MemoryJournal) -> SharedJournal,
    ) -> Result<Node, StartError> {
        let (journal, arbiter) = self.database.open();
        let transport = Arc::new(self.hub.join());
        let joining = Joining {
            arbiter: Arc::new(arbiter.clone()),
            transport: transport.clone(),
            card,
            settings: self.settings.clone(),
        };
        let regions =
            region::Settings { tick_ms: 50, warm_up_ms: 0, ..region::Settings::default() };
        let (clock, settings) = (Clock::Machine, Settings::default());
        let system = System::join(through(journal), clock, settings, regions, joining).await?;
        Ok(Node { system, arbiter, transport })
    }

    /// Every shard is held, by those alive, each of whom has about the same number.
    async fn until_settled(&self, nodes: &[&Node]) {
        let fair = usize::from(SHARDS) / nodes.len();
        until("the shards are where they belong", || {
            let held: Vec<usize> = nodes.iter().map(|it| it.held()).collect();
            let is_fair = held.iter().all(|n| n.abs_diff(fair) < fair / 2 + 1);
            let is_quiet = nodes.iter().all(|it| it.is_content(&self.settings));
            held.iter().sum::<usize>() == usize::from(SHARDS) && is_fair && is_quiet
        })
        .await;
    }

    /// Has a shard handed over to a node, if that has it not; the others go on asking meanwhile.
    async fn give(&self, shard: ShardId, to: &Node) {
        self.begin_to_give(shard, to).await;
        until("the shard has moved", || to.has_shard(shard)).await;
    }

    /// The same, without waiting until it is there.
    async fn begin_to_give(&self, shard: ShardId, to: &Node) {
        let view = to.view();
        let name = view.picture.members[&view.me].card.node.clone();
        to.arbiter.pin(shard, Some(name)).await.expect("pinned");
    }

    /// The journal is sound and has everything that anyone was told. What is written while it is read looks unsound once;
    /// what is unsound stays so.
    async fn is_sound(&self, acks: impl IntoIterator<Item = Ack> + Clone) {
        let (journal, _) = self.database.open();
        let mut report = check(&journal, acks.clone(), Timestamp(0)).await.expect("read");
        for _ in 0..5 {
            if report.is_sound() {
                break;
            }
            report = check(&journal, acks.clone(), Timestamp(0)).await.expect("read");
        }
        assert!(report.is_sound(), "{report:#?}");
    }
}

fn card(name: &str, format: u32) -> NodeCard {
    NodeCard {
        node: name.to_owned(),
        address: format!("http://{name}"),
        zone: String::new(),
        weight: 100,
        version: "1".to_owned(),
        writes: format,
        reads: format,
        secret: String::new(),
    }
}

impl Node {
    fn view(&self) -> actors::runtime::ClusterView {
        self.system.cluster().expect("one of several")
    }

    fn me(&self) -> Incarnation {
        self.view().me
    }

    fn held(&self) -> usize {
        self.view().n_held
    }

    fn has(&self, entity: EntityKey) -> bool {
        self.has_shard(entity.shard())
    }

    fn has_shard(&self, shard: ShardId) -> bool {
        self.arbiter.epoch(shard).is_some()
    }

    /// Is the shard this node's, as far as it has heard? It may not serve it yet.
    fn is_given(&self, shard: ShardId) -> bool {
        let view = self.view();
        view.picture.heads.iter().any(|it| it.shard == shard && it.owner == Some(view.me))
    }

    /// How often something happened to an entity.
    async fn n_times(&self, entity: impl Into<EntityKey>, event: &str) -> usize {
        let history = self.system.journal().history(entity.into(), Version(0), 200).await;
        history.expect("read").iter().filter(|it| it.event.name == event).count()
    }

    /// Is everything where it belongs, as far as it knows?
    fn is_content(&self, settings: &cluster::Settings) -> bool {
        let view = self.view();
        let plan = placement::plan(view.me, &view.picture, settings);
        view.moves.is_empty() && plan.steal.is_empty() && plan.hand_over.is_empty()
    }

    async fn ask<D: Hosted>(&self, to: D::Id, command: D::Command) -> Answer {
        self.repeat::<D>(to, command, CommandId::mint()).await
    }

    async fn repeat<D: Hosted>(&self, to: D::Id, command: D::Command, id: CommandId) -> Answer {
        self.ask_as::<D>(Principal::System, to, command, id).await
    }

    async fn ask_as<D: Hosted>(
        &self,
        by: Principal,
        to: D::Id,
        command: D::Command,
        id: CommandId,
    ) -> Answer {
        self.system.ask::<D>(to, Ask { command, by, id }, PATIENCE).await
    }

    async fn read<D: Hosted>(&self, id: D::Id) -> Arc<D> {
        self.system.read::<D>(id).await.expect("read").1
    }

    async fn until<D: Hosted>(&self, id: D::Id, wanted: impl Fn(&D) -> bool) {
        let mut watching = self.system.watch::<D>(id).await.expect("watched");
        let mut is_found = wanted(&watching.state);
        while !is_found {
            let update = tokio::time::timeout(PATIENCE, watching.updates.recv()).await;
            match update.expect("in time") {
                Some(Update::Changed { state, .. }) => is_found = wanted(&state),
                Some(Update::Seen(_)) => {}
                // It has moved: look again where it is now.
                None => {
                    watching = self.system.watch::<D>(id).await.expect("watched");
                    is_found = wanted(&watching.state);
                }
            }
        }
    }

    /// As if its process were killed.
    async fn kill(self) {
        self.arbiter.kill();
        self.transport.unplug();
        self.system.crash().await;
    }
}

async fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let found = async {
        while !is_so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    assert!(tokio::time::timeout(PATIENCE, found).await.is_ok(), "in time: {what}");
}

fn open(n: u64) -> rider::Command {
    rider::Command::OpenJob { job: JobId::Order(OrderId::nth(n)), work: WorkKind::Delivery }
}

/// Riders who are each asked one thing after the other, by way of changing nodes, until told to stop.
struct Load {
    is_over: Arc<AtomicBool>,
    n: Arc<AtomicU64>,
    acks: Arc<Mutex<Vec<Ack>>>,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Load {
    fn begin(ways: &[System], n_riders: u64) -> Self {
        let is_over = Arc::new(AtomicBool::new(false));
        let (n, acks) = (Arc::<AtomicU64>::default(), Arc::<Mutex<Vec<Ack>>>::default());
        let tasks = (0..n_riders)
            .map(|who| {
                let (is_over, n, acks) = (is_over.clone(), n.clone(), acks.clone());
                let ways = ways.to_vec();
                tokio::spawn(async move {
                    let rider = RiderId::nth(10_000 + who);
                    let mut expected = 0;
                    while !is_over.load(Ordering::Acquire) {
                        expected += 1;
                        let command = CommandId::mint();
                        // As a client does: the same wish again, until there is an answer.
                        for attempt in 0.. {
                            let way = &ways[(who + expected + attempt) as usize % ways.len()];
                            let ask =
                                Ask { command: open(expected), by: Principal::System, id: command };
                            match way.ask::<Rider>(rider, ask, Duration::from_secs(5)).await {
                                Ok(version) => {
                                    assert_eq!(version, Version(expected), "{rider}: once each");
                                    let ack = Ack { entity: rider.into(), version, command };
                                    acks.lock().expect("no panic").push(ack);
                                    break;
                                }
                                Err(
                                    Refusal::Busy { .. } | Refusal::Unavailable | Refusal::Draining,
                                ) => {
                                    tokio::time::sleep(Duration::from_millis(10)).await;
                                }
                                Err(refusal) => panic!("{rider}: {refusal}"),
                            }
                        }
                        n.fetch_add(1, Ordering::AcqRel);
                    }
                })
            })
            .collect();
        Self { is_over, n, acks, tasks }
    }

    /// So many more have been answered.
    async fn goes_on(&self, more: u64) {
        let wanted = self.n.load(Ordering::Acquire) + more;
        until("the load goes on", || self.n.load(Ordering::Acquire) >= wanted).await;
    }

    async fn end(self) -> Vec<Ack> {
        self.is_over.store(true, Ordering::Release);
        for task in self.tasks {
            task.await.expect("every answer was right");
        }
        Arc::into_inner(self.acks).expect("all have ended").into_inner().expect("no panic")
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nodes_share_the_shards_and_everyone_reaches_everything() {
    let (fleet, nodes) = Fleet::of(3).await;
    let mut where_they_live = BTreeMap::new();
    for n in 0..60 {
        let rider = RiderId::nth(n);
        for (asked, node) in nodes.iter().enumerate() {
            let answer = node.ask::<Rider>(rider, open(asked as u64)).await;
            assert_eq!(answer, Ok(Version(asked as u64 + 1)));
        }
        let owners: Vec<usize> = (0..3).filter(|at| nodes[*at].has(rider.into())).collect();
        assert_eq!(owners.len(), 1, "exactly one has it");
        *where_they_live.entry(owners[0]).or_insert(0) += 1;
        for node in &nodes {
            assert_eq!(node.system.read::<Rider>(rider).await.expect("read").0, Version(3));
        }
    }
    assert_eq!(where_they_live.len(), 3, "{where_they_live:?}");
    fleet.is_sound([]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_repeat_by_way_of_another_node_hears_the_first_answer() {
    let (_fleet, nodes) = Fleet::of(2).await;
    for n in 0..20 {
        let (rider, id) = (RiderId::nth(n), CommandId::mint());
        assert_eq!(nodes[0].repeat::<Rider>(rider, open(1), id).await, Ok(Version(1)));
        assert_eq!(nodes[1].ask::<Rider>(rider, open(2)).await, Ok(Version(2)));
        assert_eq!(nodes[1].repeat::<Rider>(rider, open(1), id).await, Ok(Version(1)));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_becomes_of_an_entity_is_followed_from_every_node() {
    let (_fleet, nodes) = Fleet::of(2).await;
    for n in 0..10 {
        let rider = RiderId::nth(n);
        let mut followed = Vec::new();
        for node in &nodes {
            followed.push(node.system.watch::<Rider>(rider).await.expect("watched"));
        }
        nodes[0].ask::<Rider>(rider, open(1)).await.expect("opens");
        nodes[1].ask::<Rider>(rider, open(2)).await.expect("opens");
        for watching in &mut followed {
            for expected in 1..=2 {
                match tokio::time::timeout(PATIENCE, watching.updates.recv()).await {
                    Ok(Some(Update::Changed { version, events, .. })) => {
                        assert_eq!((version, events.len()), (Version(expected), 1));
                    }
                    other => panic!("{other:?}"),
                }
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_newcomer_takes_its_share_while_everything_goes_on() {
    let (fleet, nodes) = Fleet::of(2).await;
    let ways: Vec<System> = nodes.iter().map(|it| it.system.clone()).collect();
    let load = Load::begin(&ways, 40);
    load.goes_on(200).await;
    let third = fleet.join("node-2").await;
    fleet.until_settled(&[&nodes[0], &nodes[1], &third]).await;
    load.goes_on(200).await;
    fleet.is_sound(load.end().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_that_leaves_gives_everything_away_while_everything_goes_on() {
    let (fleet, mut nodes) = Fleet::of(3).await;
    let ways: Vec<System> = nodes[..2].iter().map(|it| it.system.clone()).collect();
    let load = Load::begin(&ways, 40);
    load.goes_on(200).await;
    let third = nodes.pop().expect("three");
    let me = third.me();
    assert!(third.system.drain(PATIENCE).await, "in time");
    assert_eq!(third.held(), 0);
    fleet.until_settled(&nodes.iter().collect::<Vec<_>>()).await;
    let picture = nodes[0].arbiter.look().await.expect("seen");
    assert!(picture.members.get(&me).is_none_or(|it| it.standing == Standing::Dead));
    load.goes_on(200).await;
    fleet.is_sound(load.end().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn when_a_node_is_killed_the_others_take_over_and_nothing_is_lost() {
    let (fleet, mut nodes) = Fleet::of(3).await;
    let ways: Vec<System> = nodes[..2].iter().map(|it| it.system.clone()).collect();
    let load = Load::begin(&ways, 40);
    load.goes_on(200).await;
    nodes.pop().expect("three").kill().await;
    fleet.until_settled(&nodes.iter().collect::<Vec<_>>()).await;
    load.goes_on(200).await;
    fleet.is_sound(load.end().await).await;
}

/// Nobody declares it dead, for nobody could take over; and nobody asks it again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_follows_what_nobody_is_left_to_have_waits_for_its_next_owner() {
    let mut fleet = Fleet::new();
    fleet.settings.ttl = Duration::from_secs(1);
    let owner = fleet.join("owner").await;
    let gateway = NodeCard { weight: 0, ..card("gateway", 1) };
    let gateway = fleet.join_as(gateway).await.expect("joins");
    until("the owner has everything", || owner.held() == usize::from(SHARDS)).await;
    let rider = RiderId::nth(0);
    let mut followed = gateway.system.watch::<Rider>(rider).await.expect("followed");
    let gone = owner.me();
    owner.kill().await;

    // Whoever waits for an answer hears in time that there is none.
    let ask = || Ask { command: open(1), by: Principal::System, id: CommandId::mint() };
    let answer = gateway.system.ask::<Rider>(rider, ask(), Duration::from_millis(300)).await;
    assert!(matches!(answer, Err(Refusal::Unavailable)), "{answer:?}");
    assert_ne!(gateway.view().picture.members[&gone].standing, Standing::Dead);

    let before = fleet.hub.n_sent(gateway.me(), gone);
    let crowd = join_all((0..300).map(|n| gateway.system.watch::<Rider>(RiderId::nth(n))));
    let hour = Duration::from_secs(3_600);
    let trying = gateway.system.worth_another_try(rider.into(), hour);
    let all = async { tokio::join!(crowd, trying, fleet.join("newcomer")) };
    let (crowd, (), newcomer) = tokio::time::timeout(PATIENCE, all).await.expect("in time");
    for watching in crowd {
        watching.expect("followed at its new owner");
    }
    let n_sent = fleet.hub.n_sent(gateway.me(), gone) - before;
    assert!(n_sent < 50, "{n_sent} messages to whoever does not answer");
    let update = tokio::time::timeout(PATIENCE, followed.updates.recv()).await.expect("in time");
    assert!(update.is_none(), "what was followed has moved");
    gateway.ask::<Rider>(rider, open(1)).await.expect("there");
    until("the newcomer has everything", || newcomer.held() == usize::from(SHARDS)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_was_not_heard_is_followed_again_once_it_is() {
    let (_fleet, nodes) = Fleet::of(2).await;
    let of = |node: &Node| (0..).map(RiderId::nth).find(|it| node.has((*it).into())).expect("some");
    let (here, there) = (of(&nodes[0]), of(&nodes[1]));
    nodes[1].transport.unplug();
    let ask = Ask { command: open(1), by: Principal::System, id: CommandId::mint() };
    let answer = nodes[0].system.ask::<Rider>(there, ask, Duration::from_millis(300)).await;
    assert!(matches!(answer, Err(Refusal::Unavailable)), "{answer:?}");
    nodes[1].transport.plug();
    nodes[1].ask::<Rider>(here, open(1)).await.expect("heard");
    let watching = nodes[0].system.watch::<Rider>(there).await.expect("followed");
    assert!(watching.version <= Version(1), "asked once, if at all");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_without_the_database_stops_at_its_lease_and_learns_that_it_is_dead() {
    let (fleet, mut nodes) = Fleet::of(3).await;
    let ways: Vec<System> = nodes[..2].iter().map(|it| it.system.clone()).collect();
    let load = Load::begin(&ways, 40);
    load.goes_on(200).await;
    let cut = nodes.pop().expect("three");
    let theirs = (0..).map(RiderId::nth).find(|it| cut.has((*it).into())).expect("some");
    cut.arbiter.cut();
    until("the lease is over", || cut.view().lease_left_ms == 0).await;
    // It does not say what may not be so any more.
    let read = cut.system.read::<Rider>(theirs).await;
    assert!(matches!(read, Err(Refusal::Busy { .. })), "{read:?}");
    fleet.until_settled(&nodes.iter().collect::<Vec<_>>()).await;
    load.goes_on(200).await;
    cut.arbiter.heal();
    tokio::time::timeout(PATIENCE, cut.system.expelled()).await.expect("it is told");
    assert_eq!(cut.held(), 0);
    fleet.is_sound(load.end().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nodes_that_do_not_hear_each_other_keep_what_they_have() {
    let (fleet, nodes) = Fleet::of(2).await;
    let before: Vec<usize> = nodes.iter().map(Node::held).collect();
    let local: Vec<RiderId> =
        (0..200).map(RiderId::nth).filter(|it| nodes[0].has((*it).into())).collect();
    let remote = (0..).map(RiderId::nth).find(|it| nodes[1].has((*it).into())).expect("some");
    fleet.hub.part(nodes[0].me(), nodes[1].me());
    let renewals = |node: &Node| node.view().picture.members[&node.me()].renewals;
    let begun = renewals(&nodes[0]);
    // For several leases.
    until("time passes", || renewals(&nodes[0]) > begun + 20).await;
    for rider in local {
        nodes[0].ask::<Rider>(rider, open(1)).await.expect("here");
    }
    assert_eq!(nodes.iter().map(Node::held).collect::<Vec<_>>(), before);
    fleet.hub.heal();
    nodes[0].ask::<Rider>(remote, open(1)).await.expect("there");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn lossy_links_lose_and_double_nothing() {
    let (fleet, nodes) = Fleet::of(3).await;
    let weather = Weather {
        lost: 0.05,
        doubled: 0.05,
        delay: Duration::from_millis(2),
        ..Weather::default()
    };
    for one in &nodes {
        for other in &nodes {
            fleet.hub.set(one.me(), other.me(), weather);
        }
    }
    let ways: Vec<System> = nodes.iter().map(|it| it.system.clone()).collect();
    let load = Load::begin(&ways, 60);
    load.goes_on(600).await;
    let fourth = fleet.join("node-3").await;
    until("the newcomer has some", || fourth.held() > 100).await;
    load.goes_on(600).await;
    fleet.is_sound(load.end().await).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_driver_is_found_wherever_driver_order_and_region_live_and_moves_with_all_it_knows() {
    let (fleet, nodes) = Fleet::of(3).await;
    for n in 0..12 {
        let (node, other) = (&nodes[n % 3], &nodes[(n + 1) % 3]);
        let driver = DriverId::nth(1_000_000 + n as u64);
        on_duty(node, driver).await;
        let order = OrderId::nth(n as u64);
        let rider = RiderId::nth(n as u64);
        other
            .ask::<Order>(order, order::Command::Place(Box::new(placement(rider))))
            .await
            .expect("placed");
        let offer = offered(other, driver).await;
        let (accept, id) = (driver::Command::AcceptOffer { offer }, CommandId::mint());
        let accepted = other.ask_as::<Driver>(Principal::Driver(driver), driver, accept, id).await;
        accepted.expect("accepts");
        node.until::<Order>(order, |it| it.status() == Some(OrderStatus::Assigned)).await;
    }
    // One more is at its place, and its shard moves: nobody sees it again before it is found.
    let driver = DriverId::nth(2_000_000);
    on_duty(&nodes[0], driver).await;
    has_been_seen(&nodes[0], driver).await;
    let fourth = fleet.join("node-3").await;
    fleet.until_settled(&[&nodes[0], &nodes[1], &nodes[2], &fourth]).await;
    fourth.until::<Driver>(driver, |it| it.status() == DriverStatus::Available).await;
    let order = OrderId::nth(2_000_000);
    let place = order::Command::Place(Box::new(placement(RiderId::nth(2_000_000))));
    nodes[0].ask::<Order>(order, place).await.expect("placed");
    offered(&nodes[1], driver).await;
    fleet.is_sound([]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn sightings_cross_to_those_who_have_a_use_for_them_and_to_nobody_else() {
    let (_fleet, nodes) = Fleet::of(2).await;
    let driver = DriverId::nth(3);
    on_duty(&nodes[0], driver).await;
    has_been_seen(&nodes[0], driver).await;
    // It lives on one of them, and one of each is told by the other.
    let (mut all, mut changes) = (Vec::new(), Vec::new());
    for node in &nodes {
        all.push(node.system.watch::<Driver>(driver).await.expect("watched"));
        changes.push(node.system.watch_changes::<Driver>(driver).await.expect("watched"));
    }
    tokio::time::sleep(Duration::from_millis(5)).await;
    let sampled_at = nodes[0].system.now();
    let here = driver::Sighting::At(Position {
        at: PICKUP,
        sampled_at,
        heading_deg: None,
        speed_mps: None,
        accuracy_m: None,
    });
    assert_eq!(nodes[0].system.see_and_tell::<Driver>(driver, here.clone()).await, Ok(()));
    let (duty, policy) = (DutyWish::Break, DriverPolicy::default());
    let command = driver::Command::SetDuty { duty, vehicle: None, policy };
    nodes[0].ask::<Driver>(driver, command).await.expect("a break");
    for watching in &mut all {
        let first = watching.updates.recv().await;
        assert!(matches!(&first, Some(Update::Seen(seen)) if *seen == here), "{first:?}");
    }
    for watching in &mut changes {
        let first = watching.updates.recv().await;
        assert!(matches!(first, Some(Update::Changed { .. })), "{first:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_position_crosses_though_another_sort_of_sighting_follows_at_once() {
    let (_fleet, nodes) = Fleet::of(2).await;
    let driver = DriverId::nth(3);
    on_duty(&nodes[0], driver).await;
    has_been_seen(&nodes[0], driver).await;
    // It lives on one of them; from the other both cross.
    for (n, node) in nodes.iter().enumerate() {
        let mut all = node.system.watch::<Driver>(driver).await.expect("watched");
        let here = driver::Sighting::At(Position {
            at: PICKUP.offset_m(n as f64, 0.0),
            // After what came before, however soon it comes.
            sampled_at: node.system.now() + Duration::from_millis(500 * (1 + n as u64)),
            heading_deg: None,
            speed_mps: None,
            accuracy_m: None,
        });
        node.system.see(Sight::Driver(driver, here.clone()));
        node.system.see(Sight::Driver(driver, driver::Sighting::Heartbeat));
        loop {
            let next = tokio::time::timeout(PATIENCE, all.updates.recv()).await.expect("in time");
            if matches!(next.expect("followed"), Update::Seen(seen) if seen == here) {
                break;
            }
        }
    }
}

async fn has_been_seen(node: &Node, driver: DriverId) {
    while node.read::<Driver>(driver).await.driver_view(driver, 1).position.is_none() {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_region_that_moves_leaves_what_it_has_learned_to_whoever_gets_its_shard() {
    let (fleet, nodes) = Fleet::of(2).await;
    on_duty(&nodes[0], DriverId::nth(7)).await;
    let (home, journal) = (RegionId::at(PICKUP), nodes[0].system.journal());
    let shelf = region::Kept::Lore.shelf(home);
    let ticks = |node: &Node| {
        let stats = node.system.regions().stats();
        stats.iter().find(|(region, _)| *region == home).map_or(0, |(_, it)| it.n_ticks)
    };
    // It keeps nothing before it knows what was kept, which it is told between two ticks.
    for node in nodes.iter().cycle() {
        fleet.give(home.shard(), node).await;
        if journal.kept(shelf.clone()).await.expect("read").is_some() {
            break;
        }
        let before = ticks(node);
        until("the region is matched there", || ticks(node) >= before + 5).await;
    }
    fleet.is_sound([]).await;
}

async fn on_duty(node: &Node, driver: DriverId) {
    on_duty_at(node, driver, 100.0).await;
}

/// At work, and so many metres east of the pickup.
async fn on_duty_at(node: &Node, driver: DriverId, east_m: f64) {
    let vehicle = Vehicle { kind: VehicleKind::Moto, capacity_g: 50_000, skills: Vec::new() };
    let (duty, policy) = (DutyWish::On, DriverPolicy::default());
    let command = driver::Command::SetDuty { duty, vehicle: Some(vehicle), policy };
    node.ask::<Driver>(driver, command).await.expect("on duty");
    let position = Position {
        at: PICKUP.offset_m(east_m, 0.0),
        sampled_at: node.system.now(),
        heading_deg: None,
        speed_mps: None,
        accuracy_m: None,
    };
    node.system.see(Sight::Driver(driver, driver::Sighting::At(position)));
}

async fn offered(node: &Node, driver: DriverId) -> OfferId {
    let found = Mutex::new(None);
    node.until::<Driver>(driver, |it| {
        let offer = it.open_offers().next().map(|offer| offer.id);
        *found.lock().expect("no panic") = offer;
        offer.is_some()
    })
    .await;
    found.into_inner().expect("no panic").expect("found")
}

fn placement(rider: RiderId) -> Placement {
    let policy = JobPolicy { offer: OfferPolicy::Sequential, ..JobPolicy::default() };
    Placement { policy, ..Placement::ride(rider, PICKUP, PICKUP.offset_m(180.0, 0.0)) }
}

/// A ride of the first rider whose id puts it in a shard, placed by way of a node.
async fn placed_in(node: &Node, shard: ShardId, policy: JobPolicy) -> OrderId {
    placed_as(OrderKind::Ride, node, shard, policy).await
}

async fn placed_as(kind: OrderKind, node: &Node, shard: ShardId, policy: JobPolicy) -> OrderId {
    let (rider, id) = (RiderId::nth(1), CommandId::mint());
    let order = OrderId::created_by(rider.0, id, shard);
    let place = order::Command::Place(Box::new(Placement { kind, policy, ..placement(rider) }));
    node.repeat::<Order>(order, place, id).await.expect("placed");
    order
}

/// Drivers whose shards are none of these.
fn drivers_elsewhere(shards: Vec<ShardId>) -> impl Iterator<Item = DriverId> {
    let is_elsewhere = move |it: &DriverId| !shards.contains(&EntityKey::from(*it).shard());
    (1_000_000..).map(DriverId::nth).filter(is_elsewhere)
}

/// A policy under which an offer stands for longer than a test takes.
fn patient() -> JobPolicy {
    JobPolicy { offer: OfferPolicy::Sequential, offer_ttl_ms: 120_000, ..JobPolicy::default() }
}

async fn accept(node: &Node, driver: DriverId, offer: OfferId) -> Answer {
    let (accept, id) = (driver::Command::AcceptOffer { offer }, CommandId::mint());
    node.ask_as::<Driver>(Principal::Driver(driver), driver, accept, id).await
}

/// The driver has the order, nobody else has, and that was so from the first time on.
async fn is_assigned_once(node: &Node, order: OrderId, driver: DriverId) {
    node.until::<Order>(order, |it| it.status() == Some(OrderStatus::Assigned)).await;
    let job = JobId::Order(order);
    node.until::<Driver>(driver, |it| it.current_jobs() == [job]).await;
    assert_eq!(node.read::<Order>(order).await.driver(), Some(driver));
    assert_eq!(node.n_times(order, "assigned").await, 1);
    assert_eq!(node.n_times(driver, "job_committed").await, 1);
    let holder = node.system.journal().holder(Claim::slot(driver, 0)).await.expect("read");
    assert_eq!(holder, Some(order.into()));
}

/// Where the region of the pickup is. Outside of tests, the orders that are picked up there live in the same shard.
fn region_shard() -> ShardId {
    RegionId::at(PICKUP).shard()
}

/// Another one, so that an order and its region can move each by itself.
fn other_shard() -> ShardId {
    ShardId((region_shard().0 + 1) % SHARDS)
}

/// Places an order in the shard `home`, and moves a shard while it is offered to a driver who stays where it is.
async fn an_open_offer_survives_the_move_of(moving: ShardId, home: ShardId) {
    let (fleet, nodes) = Fleet::of(2).await;
    let shards = vec![region_shard(), other_shard()];
    let driver = drivers_elsewhere(shards.clone()).next().expect("some");
    for shard in shards.into_iter().chain([EntityKey::from(driver).shard()]) {
        fleet.give(shard, &nodes[0]).await;
    }
    on_duty(&nodes[0], driver).await;
    let order = placed_in(&nodes[1], home, patient()).await;
    let offer = offered(&nodes[0], driver).await;
    fleet.give(moving, &nodes[1]).await;
    accept(&nodes[1], driver, offer).await.expect("it is still open");
    is_assigned_once(&nodes[1], order, driver).await;
    assert_eq!(nodes[1].n_times(order, "offer_made").await, 1, "nobody was asked anew");
    fleet.is_sound([]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_open_offer_survives_the_move_of_its_order() {
    an_open_offer_survives_the_move_of(other_shard(), other_shard()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_open_offer_survives_the_move_of_its_region() {
    an_open_offer_survives_the_move_of(region_shard(), other_shard()).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_open_offer_survives_the_move_of_its_order_with_its_region() {
    an_open_offer_survives_the_move_of(region_shard(), region_shard()).await;
}

/// Places an order in the shard `home`, and moves a shard while it is offered to two drivers at once who stay where they are, of
/// whom the second gets it.
async fn open_offers_survive_the_move_of(moving: ShardId, home: ShardId, how: OfferPolicy) {
    let (fleet, nodes) = Fleet::of(2).await;
    let shards = vec![region_shard(), other_shard()];
    let mut elsewhere = drivers_elsewhere(shards.clone());
    let drivers = [elsewhere.next().expect("some"), elsewhere.next().expect("more")];
    let theirs = drivers.map(|it| EntityKey::from(it).shard());
    for shard in shards.into_iter().chain(theirs) {
        fleet.give(shard, &nodes[0]).await;
    }
    for driver in drivers {
        on_duty(&nodes[0], driver).await;
    }
    let order = placed_in(&nodes[1], home, JobPolicy { offer: how, ..patient() }).await;
    let lost = offered(&nodes[0], drivers[0]).await;
    let won = offered(&nodes[0], drivers[1]).await;
    fleet.give(moving, &nodes[1]).await;
    if how == OfferPolicy::TwoSided {
        // A yes of one side alone is not enough.
        accept(&nodes[0], drivers[0], lost).await.expect("it is still open");
        let (confirm, id) = (order::Command::ConfirmOffer { offer: won }, CommandId::mint());
        let rider = Principal::Rider(RiderId::nth(1));
        nodes[0].ask_as::<Order>(rider, order, confirm, id).await.expect("it is still open");
        assert_eq!(nodes[1].n_times(order, "assigned").await, 0);
    }
    accept(&nodes[1], drivers[1], won).await.expect("it is still open");
    is_assigned_once(&nodes[1], order, drivers[1]).await;
    let is_let_go =
        |it: &Driver| it.open_offers().next().is_none() && it.status() == DriverStatus::Available;
    nodes[0].until::<Driver>(drivers[0], is_let_go).await;
    let late = accept(&nodes[0], drivers[0], lost).await;
    assert!(matches!(late, Err(Refusal::OfferGone(_))), "{late:?}");
    assert_eq!(nodes[1].n_times(order, "offer_made").await, 2, "nobody was asked anew");
    fleet.is_sound([]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_offered_to_several_survives_the_move_of_its_order() {
    let how = OfferPolicy::BroadcastFirstWins;
    open_offers_survive_the_move_of(other_shard(), other_shard(), how).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_offered_to_several_survives_the_move_of_its_region() {
    let how = OfferPolicy::BroadcastFirstWins;
    open_offers_survive_the_move_of(region_shard(), other_shard(), how).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_both_sides_must_want_survives_the_move_of_its_order() {
    open_offers_survive_the_move_of(other_shard(), other_shard(), OfferPolicy::TwoSided).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_both_sides_must_want_survives_the_move_of_its_order_with_its_region() {
    open_offers_survive_the_move_of(region_shard(), region_shard(), OfferPolicy::TwoSided).await;
}

/// Two nodes, of which the second can be kept from taking over what it is given.
async fn with_one_that_can_be_held_up() -> (Fleet, Node, Node, FaultyJournal) {
    let fleet = Fleet::new();
    let first = fleet.join("first").await;
    let mut faulty = None;
    let second = fleet.join_with(card("second", 1), |journal| {
        let journal = FaultyJournal::new(Arc::new(journal), Odds::default());
        faulty = Some(journal.clone());
        Arc::new(journal)
    });
    let second = second.await.expect("joins");
    fleet.until_settled(&[&first, &second]).await;
    (fleet, first, second, faulty.expect("opened"))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_offer_that_is_accepted_while_its_order_moves_is_assigned_once() {
    let (fleet, first, second, faulty) = with_one_that_can_be_held_up().await;
    let home = region_shard();
    let driver = drivers_elsewhere(vec![home]).next().expect("some");
    for shard in [home, EntityKey::from(driver).shard()] {
        fleet.give(shard, &first).await;
    }
    on_duty(&first, driver).await;
    let order = placed_in(&first, home, patient()).await;
    let offer = offered(&first, driver).await;
    faulty.fail_next_scans(u64::MAX);
    fleet.begin_to_give(home, &second).await;
    until("the order is under way", || !first.has_shard(home) && second.is_given(home)).await;
    accept(&first, driver, offer).await.expect("the driver's own actor is where it was");
    assert_eq!(first.n_times(order, "assigned").await, 0, "nobody can judge it yet");
    faulty.heal();
    is_assigned_once(&second, order, driver).await;
    fleet.is_sound([]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_offer_whose_time_is_over_while_its_order_moves_ends_and_the_next_driver_is_asked() {
    let (fleet, first, second, faulty) = with_one_that_can_be_held_up().await;
    let home = region_shard();
    let mut drivers = drivers_elsewhere(vec![home]);
    let (silent, next) = (drivers.next().expect("some"), drivers.next().expect("more"));
    for shard in [home, EntityKey::from(silent).shard(), EntityKey::from(next).shard()] {
        fleet.give(shard, &first).await;
    }
    on_duty_at(&first, silent, 100.0).await;
    // Long enough for the move to begin before it is over.
    let policy = JobPolicy { offer_ttl_ms: 4_000, ..patient() };
    let order = placed_in(&first, home, policy).await;
    let missed = offered(&first, silent).await;
    on_duty_at(&first, next, 400.0).await;
    faulty.fail_next_scans(u64::MAX);
    fleet.begin_to_give(home, &second).await;
    until("the order is under way", || !first.has_shard(home) && second.is_given(home)).await;
    let is_over = |it: &Driver| it.ended_offer(missed) == Some(OfferStatus::Expired);
    first.until::<Driver>(silent, is_over).await;
    assert_eq!(first.n_times(order, "offer_closed").await, 0, "nobody can end it yet");
    faulty.heal();
    let offer = offered(&second, next).await;
    assert_ne!(offer, missed);
    let late = accept(&second, silent, missed).await;
    assert!(matches!(late, Err(Refusal::OfferGone(OfferStatus::Expired))), "{late:?}");
    accept(&second, next, offer).await.expect("in time");
    is_assigned_once(&second, order, next).await;
    assert_eq!(second.n_times(order, "offer_closed").await, 2, "one ran out, one was accepted");
    fleet.is_sound([]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_two_who_claim_from_the_feed_while_its_order_moves_one_has_it() {
    let (fleet, first, second, faulty) = with_one_that_can_be_held_up().await;
    let home = region_shard();
    let mut elsewhere = drivers_elsewhere(vec![home]);
    let drivers = [elsewhere.next().expect("some"), elsewhere.next().expect("more")];
    for shard in [home].into_iter().chain(drivers.map(|it| EntityKey::from(it).shard())) {
        fleet.give(shard, &first).await;
    }
    for driver in drivers {
        on_duty(&first, driver).await;
    }
    let policy = JobPolicy { offer: OfferPolicy::Feed, ..patient() };
    let order = placed_as(OrderKind::Delivery, &first, home, policy).await;
    first.until::<Order>(order, |it| it.status() == Some(OrderStatus::JobFeed)).await;
    faulty.fail_next_scans(u64::MAX);
    fleet.begin_to_give(home, &second).await;
    until("the order is under way", || !first.has_shard(home) && second.is_given(home)).await;
    let (job, work) = (JobId::Order(order), WorkKind::Delivery);
    for driver in drivers {
        let (claim, id) = (driver::Command::ClaimJob { job, work, weight_g: 0 }, CommandId::mint());
        let claimed = first.ask_as::<Driver>(Principal::Driver(driver), driver, claim, id).await;
        claimed.expect("the driver's own actor is where it was");
    }
    assert_eq!(first.n_times(order, "assigned").await, 0, "nobody can judge it yet");
    faulty.heal();
    second.until::<Order>(order, |it| it.status() == Some(OrderStatus::Assigned)).await;
    let has = second.read::<Order>(order).await.driver().expect("somebody has it");
    is_assigned_once(&second, order, has).await;
    let other = drivers.into_iter().find(|it| *it != has).expect("there are two");
    second.until::<Driver>(other, |it| it.status() == DriverStatus::Available).await;
    assert_eq!(second.n_times(other, "job_aborted").await, 1);
    fleet.is_sound([]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_build_that_cannot_read_what_is_written_does_not_join() {
    let fleet = Fleet::new();
    let new = fleet.try_join("new", 2).await.expect("joins");
    let refused = fleet.try_join("old", 1).await.map(|it| it.me()).expect_err("is too old");
    let (written, reads) = (2, 1);
    let StartError::Join(JoinError::TooOld { .. }) = refused else { panic!("{refused}") };
    assert_eq!(refused.to_string(), JoinError::TooOld { written, reads }.to_string());
    until("it has left", || new.view().picture.members.len() == 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_build_that_cannot_read_what_is_written_does_not_end_the_node_whose_name_it_takes() {
    let fleet = Fleet::new();
    let node = fleet.try_join("node", 2).await.expect("joins");
    fleet.try_join("node", 1).await.map(|it| it.me()).expect_err("is too old");
    let picture = node.system.arbiter().expect("a member").look().await.expect("seen");
    let members: Vec<_> =
        picture.members.values().map(|it| (it.incarnation, it.standing)).collect();
    assert_eq!(members, [(node.me(), Standing::Up)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_with_another_key_does_not_join() {
    let fleet = Fleet::new();
    let first = fleet.join_as(NodeCard { secret: "a".to_owned(), ..card("first", 1) }).await;
    first.expect("joins");
    let other = fleet.join_as(NodeCard { secret: "b".to_owned(), ..card("second", 1) }).await;
    let refused = other.map(|it| it.me()).expect_err("has another key");
    assert!(matches!(refused, StartError::Join(JoinError::OtherSecret { .. })), "{refused}");
    let same = fleet.join_as(NodeCard { secret: "a".to_owned(), ..card("second", 1) }).await;
    same.expect("has the same");
}

/// Whoever is given a shard waits for what its former owner left, however long that cannot be read.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_shard_that_takes_long_to_adopt_is_adopted_in_the_end() {
    // Longer than a former owner waits for the word that it is adopted.
    const TOO_LONG: Duration = Duration::from_secs(11);
    let fleet = Fleet::new();
    let first = fleet.join("first").await;
    fleet.until_settled(&[&first]).await;
    let mut faulty = None;
    let second = fleet.join_with(card("second", 1), |journal| {
        let journal = FaultyJournal::new(Arc::new(journal), Odds::default());
        journal.fail_next_scans(u64::MAX);
        faulty = Some(journal.clone());
        Arc::new(journal)
    });
    let second = second.await.expect("joins");
    let given = || second.view().picture.heads.iter().any(|it| it.owner == Some(second.me()));
    until("something was given to it", given).await;
    tokio::time::sleep(TOO_LONG).await;
    assert_eq!(second.held(), 0);
    faulty.expect("opened").heal();
    fleet.until_settled(&[&first, &second]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_board_shows_what_is_on_every_node() {
    let (_fleet, nodes) = Fleet::of(3).await;
    let (mut board, _) = nodes[0].system.board(true);
    nodes[0].system.widen_new_board();
    let drivers: Vec<DriverId> = (0..12).map(|n| DriverId::nth(1_000_000 + n)).collect();
    join_all(drivers.iter().map(|it| on_duty(&nodes[1], *it))).await;
    for _ in 0..2 {
        let mut missing: Vec<EntityKey> = drivers.iter().copied().map(Into::into).collect();
        while !missing.is_empty() {
            let published = tokio::time::timeout(PATIENCE, board.recv()).await.expect("in time");
            let published = published.expect("shown");
            missing.retain(|it| *it != published.entity || published.mark.is_none());
        }
        // One that begins while others still tell the last one is told everything, too.
        (board, _) = nodes[0].system.board(true);
        nodes[0].system.widen_new_board();
    }
}
