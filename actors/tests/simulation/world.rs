//! What all hosts of one run share: chance, the story so far, and how a datagram gets from one to the
//! next.

use super::story::Story;
use actors::{Refusal, Version, cluster::Incarnation, journal::memory::arbiter::MemoryDatabase};
use protocol::{CommandId, OrderId, RiderId, ShardId, ShardSet, Timestamp, work::OfferPolicy};
use rand::Rng;
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::{
    collections::BTreeMap,
    fmt,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::oneshot;
use turmoil::net::UdpSocket;

/// Everyone listens here.
const PORT: u16 = 4_000;
/// No datagram is larger.
const DATAGRAM_BYTES_MAX: usize = 1 << 20;

/// The name of the database's host.
pub(crate) const DATABASE: &str = "database";
/// The name of the clients' host.
pub(crate) const CLIENTS: &str = "clients";

/// A statement that waits for the database to run it; what it returns is kept for whoever asked.
type Statement = Box<dyn FnOnce() + Send>;

/// What all hosts share. They are threads of one story, not of one machine: nothing here contends.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) database: MemoryDatabase,
    /// Shards that exist; the others are never mentioned, so that each run is about a few.
    pub(crate) in_play: ShardSet,
    pub(crate) story: Story,
    /// What datagrams may suffer besides what the links do to them.
    pub(crate) weather: Weather,
    /// How long a node waits for the database.
    pub(crate) patience: Duration,
    /// Who listens, and on which host.
    pub(crate) directory: Mutex<BTreeMap<Incarnation, String>>,
    /// Clients may finish.
    pub(crate) is_over: AtomicBool,
    desk: Mutex<Desk>,
    chance: Mutex<ChaCha8Rng>,
    n: AtomicU64,
    problems: Mutex<Vec<String>>,
}

#[derive(Default)]
struct Desk(BTreeMap<u64, Statement>);

impl fmt::Debug for Desk {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.0.keys()).finish()
    }
}

/// What becomes of datagrams by chance, in shares of all.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Weather {
    pub(crate) lost: f64,
    pub(crate) doubled: f64,
}

/// What hosts send each other.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Datagram {
    /// To the database: run this.
    Statement(u64),
    /// From the database: it has been run.
    Done(u64),
    /// From the database: somebody's standing or shards have changed.
    Changed,
    /// From node to node, the `n`th on its way.
    Letter { from: Incarnation, to: Incarnation, n: u64, is_copy: bool, bytes: ByteBuf },
    /// From a client, its `n`th try.
    Wish { n: u64, wish: Wish },
    /// To a client.
    Granted { n: u64, answer: Result<Version, Refusal> },
}

/// What a client wants.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(crate) enum Wish {
    /// A job more for a rider.
    Open { rider: RiderId, job: u64, id: CommandId },
    /// An order that nobody will take, and that therefore ends by itself.
    Place { order: OrderId, rider: RiderId, search: Search, id: CommandId },
    /// How many events a rider has.
    Read { rider: RiderId },
}

/// How nobody is found for an order.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Search {
    pub(crate) offer: OfferPolicy,
    pub(crate) search_ms: u32,
    /// For how long it may then be claimed, which nobody does; 0: not at all.
    pub(crate) feed_ms: u32,
}

impl World {
    pub(crate) fn new(
        in_play: ShardSet,
        weather: Weather,
        patience: Duration,
        chance: ChaCha8Rng,
        story: Story,
    ) -> Self {
        Self {
            database: MemoryDatabase::new(),
            in_play,
            story,
            weather,
            patience,
            directory: Mutex::default(),
            is_over: AtomicBool::new(false),
            desk: Mutex::default(),
            chance: Mutex::new(chance),
            n: AtomicU64::new(0),
            problems: Mutex::default(),
        }
    }

    /// A number nobody else has in this run.
    pub(crate) fn number(&self) -> u64 {
        self.n.fetch_add(1, Ordering::Relaxed)
    }

    /// Lays a statement down until its datagram arrives.
    pub(crate) fn lay_down(&self, statement: Statement) -> u64 {
        let n = self.number();
        lock(&self.desk).0.insert(n, statement);
        n
    }

    /// Takes it up; nobody does so twice.
    pub(crate) fn take_up(&self, n: u64) -> Option<Statement> {
        lock(&self.desk).0.remove(&n)
    }

    pub(crate) fn chance<T>(&self, draw: impl FnOnce(&mut ChaCha8Rng) -> T) -> T {
        draw(&mut lock(&self.chance))
    }

    /// Something is wrong with what the run is about.
    pub(crate) fn problem(&self, problem: String) {
        self.story.tell(&[], || format!("PROBLEM {problem}"));
        lock(&self.problems).push(problem);
    }

    pub(crate) fn problems(&self) -> Vec<String> {
        lock(&self.problems).clone()
    }

    pub(crate) fn listens(&self, who: Incarnation) -> Option<String> {
        lock(&self.directory).get(&who).cloned()
    }
}

/// One host while it is up.
pub(crate) struct Host {
    pub(crate) world: Arc<World>,
    pub(crate) name: String,
    socket: UdpSocket,
    /// Room for what is being received.
    room: tokio::sync::Mutex<Vec<u8>>,
    /// Those who wait for the database.
    waiting: Mutex<BTreeMap<u64, oneshot::Sender<()>>>,
}

impl fmt::Debug for Host {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Host").field(&self.name).finish()
    }
}

impl Host {
    pub(crate) async fn open(world: &Arc<World>, name: &str) -> Self {
        let socket = UdpSocket::bind(("0.0.0.0", PORT)).await.expect("nobody else is on this host");
        let (world, name) = (Arc::clone(world), name.to_owned());
        let room = tokio::sync::Mutex::new(vec![0; DATAGRAM_BYTES_MAX]);
        Self { world, name, socket, room, waiting: Mutex::default() }
    }

    /// Sends, perhaps twice, perhaps not at all.
    pub(crate) fn send(&self, to: &str, datagram: &Datagram) {
        let Weather { lost, doubled } = self.world.weather;
        let (is_lost, is_doubled) =
            self.world.chance(|rng| (rng.random_bool(lost), rng.random_bool(doubled)));
        let bytes = rmp_serde::to_vec(datagram).expect("plain data");
        let fate = u64::from(is_lost) << 1 | u64::from(is_doubled);
        self.world.story.tell(&[bytes.len() as u64, fate], || {
            format!(
                "{} -> {to}: {}{}",
                self.name,
                datagram.brief(),
                if is_lost { " (lost)" } else { "" }
            )
        });
        if is_lost {
            return;
        }
        self.socket.try_send_to(&bytes, (to, PORT)).expect("never full");
        if is_doubled {
            let mut again = datagram.clone();
            if let Datagram::Letter { is_copy, .. } = &mut again {
                *is_copy = true;
            }
            let bytes = rmp_serde::to_vec(&again).expect("plain data");
            self.socket.try_send_to(&bytes, (to, PORT)).expect("never full");
        }
    }

    /// What comes next, and from which host.
    pub(crate) async fn receive(&self) -> (Datagram, String) {
        let mut bytes = self.room.lock().await;
        let (n, from) = self.socket.recv_from(&mut bytes).await.expect("the socket is there");
        let datagram = rmp_serde::from_slice(&bytes[..n]).expect("sent by another host");
        (datagram, turmoil::reverse_lookup(from.ip()).expect("every host has a name"))
    }

    /// To be told when the database has run a statement.
    pub(crate) fn expect(&self, statement: u64) -> oneshot::Receiver<()> {
        let (done, is_done) = oneshot::channel();
        lock(&self.waiting).insert(statement, done);
        is_done
    }

    /// The database has run it, or nobody waits any more.
    pub(crate) fn done(&self, statement: u64) {
        if let Some(done) = lock(&self.waiting).remove(&statement) {
            done.send(()).ok();
        }
    }
}

impl Datagram {
    /// In a few words.
    pub(crate) fn brief(&self) -> String {
        match self {
            Self::Letter { from, to, n, bytes, .. } => {
                format!("letter {n} of {from} to {to}, {} bytes", bytes.len())
            }
            Self::Statement(_)
            | Self::Done(_)
            | Self::Changed
            | Self::Wish { .. }
            | Self::Granted { .. } => {
                format!("{self:?}")
            }
        }
    }
}

/// The time of day on the host that runs, as its own clock has it.
pub(crate) fn now(skew_ms: u64) -> Timestamp {
    let since = turmoil::since_epoch().unwrap_or_default();
    Timestamp(since.as_millis() as u64 + skew_ms)
}

/// The first `n` ids that live in one of `shards`.
pub(crate) fn riders_in(shards: &ShardSet, n: usize) -> Vec<RiderId> {
    let lives_there = |it: &RiderId| shards.contains(ShardId::of(it.0.as_bytes()));
    (0..).map(RiderId::nth).filter(lives_there).take(n).collect()
}

pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
