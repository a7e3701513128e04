//! Letters from node to node, over the simulated network: late, twice, or not at all, but in order.

use super::world::{Datagram, Host, lock};
use actors::cluster::{
    Incarnation,
    transport::{Full, Incoming, Transport},
};
use rand::Rng;
use serde_bytes::ByteBuf;
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};
use tokio::sync::{mpsc, watch};

/// A node's end of all links. What overtakes another letter of its sender leaves that one lost.
#[derive(Debug)]
pub(crate) struct Wire {
    host: Arc<Host>,
    me: OnceLock<Incarnation>,
    to_node: OnceLock<mpsc::Sender<Incoming>>,
    n_sent: Mutex<BTreeMap<Incarnation, u64>>,
    n_heard: Mutex<BTreeMap<Incarnation, u64>>,
    plugged: watch::Sender<bool>,
}

impl Wire {
    pub(crate) fn new(host: Arc<Host>) -> Self {
        Self {
            host,
            me: OnceLock::new(),
            to_node: OnceLock::new(),
            n_sent: Mutex::default(),
            n_heard: Mutex::default(),
            plugged: watch::Sender::new(true),
        }
    }

    /// Loses its connection to all others, and knows that it has; or has it back.
    pub(crate) fn plug(&self, is_plugged: bool) {
        self.plugged.send_replace(is_plugged);
    }

    /// A letter has arrived.
    pub(crate) fn arrive(
        &self,
        from: Incarnation,
        to: Incarnation,
        n: u64,
        is_copy: bool,
        bytes: ByteBuf,
    ) {
        if self.me.get() != Some(&to) || !*self.plugged.borrow() {
            return;
        }
        let mut heard = lock(&self.n_heard);
        let last = heard.entry(from).or_default();
        let is_next = n > *last || (n == *last && is_copy);
        *last = n.max(*last);
        if is_next {
            self.bring(Incoming::Message(bytes.into_vec()));
        }
    }

    fn bring(&self, incoming: Incoming) {
        if let Some(to_node) = self.to_node.get() {
            // What a receiver has no room for is lost.
            to_node.try_send(incoming).ok();
        }
    }
}

/// Sent by reference, so that a letter nobody could hear finds its way back to its sender.
#[derive(Debug, Clone)]
pub(crate) struct Shared(pub(crate) Arc<Wire>);

impl Transport for Shared {
    fn send(&self, to: Incarnation, message: Vec<u8>) -> Result<(), Full> {
        let wire = &self.0;
        // Without a name of its own yet, it could not be answered anyway.
        let Some(me) = wire.me.get().filter(|_| *wire.plugged.borrow()) else { return Ok(()) };
        let Some(name) = wire.host.world.listens(to) else {
            let after =
                Duration::from_millis(wire.host.world.chance(|rng| rng.random_range(1..20)));
            let wire = Arc::downgrade(wire);
            drop(tokio::spawn(async move {
                tokio::time::sleep(after).await;
                if let Some(wire) = wire.upgrade() {
                    wire.bring(Incoming::Unheard(to));
                }
            }));
            return Ok(());
        };
        let n = {
            let mut sent = lock(&wire.n_sent);
            let n = sent.entry(to).or_default();
            *n += 1;
            *n
        };
        let bytes = ByteBuf::from(message);
        wire.host.send(&name, &Datagram::Letter { from: *me, to, n, is_copy: false, bytes });
        Ok(())
    }

    fn listen(&self, me: Incarnation, to: mpsc::Sender<Incoming>) {
        let wire = &self.0;
        wire.me.set(me).expect("a start has one name");
        wire.to_node.set(to).expect("a start listens once");
        lock(&wire.host.world.directory).insert(me, wire.host.name.clone());
    }

    fn is_connected(&self) -> watch::Receiver<bool> {
        self.0.plugged.subscribe()
    }
}
