//! A way to a node that breaks: cut, delayed, broken off at a chosen byte, or leading nowhere.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering::SeqCst},
    },
    time::Duration,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinHandle,
};

/// No byte is chosen.
const NONE: i64 = i64::MAX / 2;

#[derive(Debug)]
struct Faults {
    is_open: AtomicBool,
    delay_ms: AtomicU64,
    /// After so many more bytes to the node, and to the client, everything breaks.
    up: AtomicI64,
    down: AtomicI64,
    n_ways: AtomicU64,
}

/// The way of whoever connects to its address.
pub(crate) struct Proxy {
    pub(crate) url: String,
    faults: Arc<Faults>,
    /// Ways that began before this many cuts are over.
    cuts: watch::Sender<u64>,
    /// The same for ways that lead nowhere.
    hangs: watch::Sender<u64>,
    task: JoinHandle<()>,
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.task.abort();
        self.cut();
    }
}

impl Proxy {
    pub(crate) async fn start(node: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("ws://{}/v1/ws", listener.local_addr().unwrap());
        let faults = Arc::new(Faults {
            is_open: AtomicBool::new(true),
            delay_ms: AtomicU64::new(0),
            up: AtomicI64::new(NONE),
            down: AtomicI64::new(NONE),
            n_ways: AtomicU64::new(0),
        });
        let (cuts, cut) = watch::channel(0);
        let (hangs, hung) = watch::channel(0);
        let (node, shared, breaks) = (node.to_owned(), Arc::clone(&faults), cuts.clone());
        let task = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                if !shared.is_open.load(SeqCst) {
                    continue;
                }
                let Ok(far) = TcpStream::connect(&node).await else { continue };
                shared.n_ways.fetch_add(1, SeqCst);
                let ((near_in, near_out), (far_in, far_out)) =
                    (near.into_split(), far.into_split());
                let way = Way { faults: Arc::clone(&shared), cut: cut.clone(), hung: hung.clone() };
                for (from, to, is_up) in [(near_in, far_out, true), (far_in, near_out, false)] {
                    let breaks = breaks.clone();
                    let passing = way.clone().pass(from, to, is_up);
                    tokio::spawn(async move {
                        if passing.await {
                            breaks.send_modify(|n| *n += 1);
                        }
                    });
                }
            }
        });
        Self { url, faults, cuts, hangs, task }
    }

    /// All connections break.
    pub(crate) fn cut(&self) {
        self.cuts.send_modify(|n| *n += 1);
    }

    /// Nothing comes through any more, and nobody is told; new connections do.
    pub(crate) fn hang(&self) {
        self.hangs.send_modify(|n| *n += 1);
    }

    /// Nobody comes through, or somebody does again.
    pub(crate) fn open(&self, is_open: bool) {
        self.faults.is_open.store(is_open, SeqCst);
    }

    pub(crate) fn slow(&self, delay: Duration) {
        self.faults.delay_ms.store(delay.as_millis() as u64, SeqCst);
    }

    /// After so many more bytes to the node, everything breaks: mostly in the middle of a frame.
    pub(crate) fn break_up_after(&self, bytes: i64) {
        self.faults.up.store(bytes, SeqCst);
    }

    /// The same for bytes to the client.
    pub(crate) fn break_down_after(&self, bytes: i64) {
        self.faults.down.store(bytes, SeqCst);
    }

    /// How many connections there were.
    pub(crate) fn n_ways(&self) -> u64 {
        self.faults.n_ways.load(SeqCst)
    }
}

#[derive(Clone)]
struct Way {
    faults: Arc<Faults>,
    cut: watch::Receiver<u64>,
    hung: watch::Receiver<u64>,
}

impl Way {
    /// Passes bytes until it is over; true if that was at a chosen byte.
    async fn pass(mut self, mut from: OwnedReadHalf, mut to: OwnedWriteHalf, is_up: bool) -> bool {
        self.cut.mark_unchanged();
        self.hung.mark_unchanged();
        let budget = if is_up { &self.faults.up } else { &self.faults.down };
        let mut bytes = vec![0; 4096];
        loop {
            let n = tokio::select! {
                _ = self.cut.changed() => return false,
                _ = self.hung.changed() => break,
                n = from.read(&mut bytes) => n.unwrap_or(0),
            };
            if n == 0 {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(self.faults.delay_ms.load(SeqCst))).await;
            let left = budget.fetch_sub(n as i64, SeqCst);
            let n_passed = n.min(left.max(0) as usize);
            if to.write_all(&bytes[..n_passed]).await.is_err() {
                return false;
            }
            if n_passed < n {
                budget.store(NONE, SeqCst);
                return true;
            }
        }
        // It stays open, and nothing comes through.
        let _is_cut = self.cut.changed().await.is_ok();
        false
    }
}
