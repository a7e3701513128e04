//! Nodes of one process, and everything that can be wrong between them: links that are cut, slow, or
//! lose and repeat what they carry. By tokio's clock, which a test may pause.
//!
//! ```text
//!  HubTransport ──send──▶ link (weather: cut? lost? twice? how long?) ──▶ seat of the receiver
//!        ▲                                                                    │ nobody there
//!        └───────────────────────── Unheard ──────────────────────────────────┘
//! ```

use super::{
    Incarnation,
    transport::{Full, Incoming, Transport},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, MutexGuard, OnceLock, Weak},
    time::Duration,
};
use tokio::{
    sync::{mpsc, watch},
    time::{Instant, sleep_until},
};
use xxhash_rust::xxh3::xxh3_64_with_seed;

/// Most messages on their way over one link.
pub const WAITING_MAX: usize = 4096;

/// What connects the nodes. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Hub {
    wires: Arc<Mutex<Wires>>,
}

/// How one link is, in one direction. By default it is perfect.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Weather {
    /// Does nothing arrive? What is on its way is lost, too, and nobody is told.
    pub is_cut: bool,
    /// How long a message takes. Messages never overtake each other.
    pub delay: Duration,
    /// How many are lost: from 0, none, to 1, all.
    pub lost: f64,
    /// How many arrive twice.
    pub doubled: f64,
}

/// One node's end. When it is dropped, nobody listens there any more.
#[derive(Debug)]
pub struct HubTransport {
    wires: Arc<Mutex<Wires>>,
    me: OnceLock<Incarnation>,
    plugged: watch::Sender<bool>,
}

#[derive(Debug)]
struct Wires {
    seed: u64,
    seats: BTreeMap<Incarnation, Seat>,
    links: BTreeMap<(Incarnation, Incarnation), Link>,
}

#[derive(Debug)]
struct Seat {
    to: mpsc::Sender<Incoming>,
    plugged: watch::Receiver<bool>,
}

#[derive(Debug, Default)]
struct Link {
    weather: Weather,
    n_sent: u64,
    /// What is on its way, and when it arrives.
    queue: Option<mpsc::Sender<(Instant, Vec<u8>)>>,
}

impl Hub {
    /// Connects nobody yet. The same seed loses and repeats the same messages.
    pub fn new(seed: u64) -> Self {
        let (seats, links) = (BTreeMap::new(), BTreeMap::new());
        Self { wires: Arc::new(Mutex::new(Wires { seed, seats, links })) }
    }

    /// An end for a node, which then listens under its incarnation. Must be used within a tokio runtime.
    pub fn join(&self) -> HubTransport {
        let plugged = watch::Sender::new(true);
        HubTransport { wires: Arc::clone(&self.wires), me: OnceLock::new(), plugged }
    }

    /// From now on the link from one node to another is like that; the way back is another link.
    pub fn set(&self, from: Incarnation, to: Incarnation, weather: Weather) {
        lock(&self.wires).links.entry((from, to)).or_default().weather = weather;
    }

    /// Cuts both ways between two nodes.
    pub fn part(&self, one: Incarnation, other: Incarnation) {
        let weather = Weather { is_cut: true, ..Weather::default() };
        self.set(one, other, weather);
        self.set(other, one, weather);
    }

    /// How many messages one node has sent to another.
    pub fn n_sent(&self, from: Incarnation, to: Incarnation) -> u64 {
        lock(&self.wires).links.get(&(from, to)).map_or(0, |link| link.n_sent)
    }

    /// All links are perfect again.
    pub fn heal(&self) {
        for link in lock(&self.wires).links.values_mut() {
            link.weather = Weather::default();
        }
    }
}

impl HubTransport {
    /// Loses its connection: it knows, what it sends is lost, and whoever writes to it hears that nobody
    /// listens.
    pub fn unplug(&self) {
        self.plugged.send_replace(false);
    }

    /// Is connected again.
    pub fn plug(&self) {
        self.plugged.send_replace(true);
    }
}

impl Transport for HubTransport {
    fn send(&self, to: Incarnation, message: Vec<u8>) -> Result<(), Full> {
        // Without a name of its own yet, it could not be answered anyway.
        let Some(me) = self.me.get().filter(|_| *self.plugged.borrow()) else { return Ok(()) };
        let mut wires = lock(&self.wires);
        let seed = wires.seed;
        let link = wires.links.entry((*me, to)).or_default();
        link.n_sent += 1;
        let luck = |what: u64| {
            let bytes = [me.0, to.0, link.n_sent, what].map(u64::to_le_bytes).concat();
            xxh3_64_with_seed(&bytes, seed) as f64 / u64::MAX as f64
        };
        let Weather { is_cut, delay, lost, doubled } = link.weather;
        if is_cut || luck(0) < lost {
            return Ok(());
        }
        let n_copies = if luck(1) < doubled { 2 } else { 1 };
        let queue = link.queue.get_or_insert_with(|| {
            let (queue, on_the_way) = mpsc::channel(WAITING_MAX);
            drop(tokio::spawn(carry(Arc::downgrade(&self.wires), *me, to, on_the_way)));
            queue
        });
        let due = Instant::now() + delay;
        for _ in 0..n_copies {
            queue.try_send((due, message.clone())).map_err(|_| Full)?;
        }
        Ok(())
    }

    fn listen(&self, me: Incarnation, to: mpsc::Sender<Incoming>) {
        let me = *self.me.get_or_init(|| me);
        let seat = Seat { to, plugged: self.plugged.subscribe() };
        lock(&self.wires).seats.insert(me, seat);
    }

    fn is_connected(&self) -> watch::Receiver<bool> {
        self.plugged.subscribe()
    }
}

impl Drop for HubTransport {
    fn drop(&mut self) {
        if let Some(me) = self.me.get() {
            lock(&self.wires).seats.remove(me);
        }
    }
}

impl Wires {
    fn arrive(&self, from: Incarnation, to: Incarnation, message: Vec<u8>) {
        if self.links.get(&(from, to)).is_some_and(|link| link.weather.is_cut) {
            return;
        }
        // What a receiver has no room for is lost.
        if let Some(seat) = self.seats.get(&to).filter(|seat| *seat.plugged.borrow()) {
            seat.to.try_send(Incoming::Message(message)).ok();
        } else if let Some(seat) = self.seats.get(&from).filter(|seat| *seat.plugged.borrow()) {
            seat.to.try_send(Incoming::Unheard(to)).ok();
        }
    }
}

/// Brings what is sent over one link, each message in its time and none before its turn.
async fn carry(
    wires: Weak<Mutex<Wires>>,
    from: Incarnation,
    to: Incarnation,
    mut on_the_way: mpsc::Receiver<(Instant, Vec<u8>)>,
) {
    while let Some((due, message)) = on_the_way.recv().await {
        sleep_until(due).await;
        let Some(wires) = wires.upgrade() else { return };
        lock(&wires).arrive(from, to, message);
    }
}

fn lock(wires: &Mutex<Wires>) -> MutexGuard<'_, Wires> {
    wires.lock().expect("nothing panics while it holds the wires")
}

#[cfg(test)]
mod tests;
