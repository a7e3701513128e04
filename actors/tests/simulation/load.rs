//! Clients: each wants one thing after the other, asks any node, and asks again until it hears an
//! answer. What they heard is held against the journal in the end.

use super::world::{CLIENTS, Datagram, Host, Search, Wish, World, lock, now};
use actors::{EntityKey, Refusal, Version, journal::check::Ack, runtime::Answer};
use protocol::{CommandId, OrderId, RiderId, ShardId, work::OfferPolicy};
use rand::{Rng, SeedableRng, seq::IndexedRandom};
use rand_chacha::ChaCha8Rng;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, atomic::Ordering},
    time::Duration,
};
use tokio::{sync::oneshot, time::timeout};

/// How long a client waits for a node.
const PATIENCE: Duration = Duration::from_secs(2);

/// The ways of looking for a driver. One who is named cannot be among them, for there are none.
const WAYS: [OfferPolicy; 6] = [
    OfferPolicy::Sequential,
    OfferPolicy::BroadcastFirstWins,
    OfferPolicy::TwoSided,
    OfferPolicy::BatchOptimal,
    OfferPolicy::AutoAssign,
    OfferPolicy::Feed,
];

/// Who wants what.
#[derive(Debug)]
pub(crate) struct Load {
    /// Asked for jobs by two clients each.
    pub(crate) riders: Vec<RiderId>,
    /// Told of orders.
    pub(crate) customers: Vec<RiderId>,
    /// The names of the nodes.
    pub(crate) nodes: Vec<String>,
    /// What was heard.
    pub(crate) heard: Mutex<Heard>,
    /// Reads show what was written before, for every node knows when its lease is over.
    pub(crate) are_reads_fresh: bool,
}

/// What clients were told.
#[derive(Debug, Default)]
pub(crate) struct Heard {
    pub(crate) acks: Vec<Ack>,
    pub(crate) orders: Vec<(OrderId, RiderId)>,
    pub(crate) n_done: usize,
}

impl Load {
    pub(crate) fn n_clients(&self) -> usize {
        2 * self.riders.len() + self.customers.len()
    }
}

/// Clients, and the answers they wait for.
struct Desk {
    host: Host,
    load: Arc<Load>,
    waiting: Mutex<BTreeMap<u64, oneshot::Sender<Answer>>>,
}

/// Lets all clients ask until they are told to finish.
pub(crate) async fn run(world: Arc<World>, load: Arc<Load>, seed: u64) {
    let host = Host::open(&world, CLIENTS).await;
    let desk = Arc::new(Desk { host, load: Arc::clone(&load), waiting: Mutex::default() });
    for n in 0..load.n_clients() {
        let rng = ChaCha8Rng::seed_from_u64(seed ^ (n as u64 + 1) << 32);
        let client = Client { desk: Arc::clone(&desk), n: n as u64, n_wishes: 0, rng };
        drop(tokio::spawn(async move {
            let desk = Arc::clone(&client.desk);
            match n.checked_sub(2 * desk.load.riders.len()) {
                None => client.open_jobs(desk.load.riders[n / 2]).await,
                Some(n) => client.place_orders(desk.load.customers[n]).await,
            }
            lock(&desk.load.heard).n_done += 1;
        }));
    }
    loop {
        if let (Datagram::Granted { n, answer }, _) = desk.host.receive().await
            && let Some(waiting) = lock(&desk.waiting).remove(&n)
        {
            waiting.send(answer).ok();
        }
    }
}

struct Client {
    desk: Arc<Desk>,
    n: u64,
    n_wishes: u64,
    rng: ChaCha8Rng,
}

impl Client {
    async fn open_jobs(mut self, rider: RiderId) {
        let mut at_least = Version::default();
        while !self.is_over() {
            let command = self.mint();
            let wish = Wish::Open { rider, job: self.n << 32 | self.n_wishes, id: command };
            let version = self.until_granted(&wish).await;
            if version <= at_least {
                self.problem(format!("{rider} said {version:?} after {at_least:?}"));
            }
            at_least = version;
            self.acknowledged(rider.into(), version, command);
            if self.rng.random_bool(0.3) {
                let read = self.ask(&Wish::Read { rider }).await;
                let is_stale = matches!(read, Some(Ok(read)) if read < at_least);
                if is_stale && self.desk.load.are_reads_fresh {
                    self.problem(format!("{rider} was at {at_least:?} and is read at {read:?}"));
                }
            }
            self.think().await;
        }
    }

    async fn place_orders(mut self, customer: RiderId) {
        while !self.is_over() {
            let command = self.mint();
            let shards: Vec<ShardId> = self.desk.host.world.in_play.iter().collect();
            let shard = *shards.choose(&mut self.rng).expect("some are in play");
            let order = OrderId::created_by(customer.0, command, shard);
            let offer = *WAYS.choose(&mut self.rng).expect("there are some");
            let search_ms = self.rng.random_range(200..3_000);
            let feed_ms = if self.rng.random_bool(0.5) { search_ms } else { 0 };
            let search = Search { offer, search_ms, feed_ms };
            let wish = Wish::Place { order, rider: customer, search, id: command };
            let version = self.until_granted(&wish).await;
            self.acknowledged(order.into(), version, command);
            lock(&self.desk.load.heard).orders.push((order, customer));
            self.think().await;
        }
    }

    /// Wishes until there is an answer: the same wish, of any node.
    async fn until_granted(&mut self, wish: &Wish) -> Version {
        loop {
            match self.ask(wish).await {
                Some(Ok(version)) => return version,
                Some(Err(Refusal::Busy { .. } | Refusal::Unavailable | Refusal::Draining))
                | None => {
                    let ms = self.rng.random_range(20..200);
                    tokio::time::sleep(Duration::from_millis(ms)).await;
                }
                Some(Err(refusal)) => {
                    self.problem(format!("client {} heard {refusal} to {wish:?}", self.n));
                    std::future::pending::<()>().await;
                }
            }
        }
    }

    /// Asks one node, once.
    async fn ask(&mut self, wish: &Wish) -> Option<Answer> {
        let desk = &self.desk;
        let n = desk.host.world.number();
        let (granted, answer) = oneshot::channel();
        lock(&desk.waiting).insert(n, granted);
        let node = desk.load.nodes.choose(&mut self.rng).expect("there are nodes");
        desk.host.send(node, &Datagram::Wish { n, wish: wish.clone() });
        let answer = timeout(PATIENCE, answer).await.ok().and_then(Result::ok);
        lock(&desk.waiting).remove(&n);
        answer
    }

    fn acknowledged(&self, entity: EntityKey, version: Version, command: CommandId) {
        lock(&self.desk.load.heard).acks.push(Ack { entity, version, command });
    }

    /// Derived and not drawn: a run is repeated with the same ones.
    fn mint(&mut self) -> CommandId {
        self.n_wishes += 1;
        CommandId::of_effect(b"client", self.n, self.n_wishes as u32, now(0))
    }

    async fn think(&mut self) {
        let ms = self.rng.random_range(50..400);
        tokio::time::sleep(Duration::from_millis(ms)).await;
    }

    fn is_over(&self) -> bool {
        self.desk.host.world.is_over.load(Ordering::Acquire)
    }

    fn problem(&self, problem: String) {
        self.desk.host.world.problem(problem);
    }
}
