//! Drivers with a socket each to one peer, who say where they are at a steady rate and take what they are offered.

use super::{
    Fault,
    dialect::{Dialect, Heard, Socket, Who},
};
use futures_util::{
    SinkExt, StreamExt, future,
    stream::{self, SplitSink, SplitStream, TryStreamExt},
};
use protocol::{Point, Timestamp};
use std::{
    collections::HashMap,
    net::SocketAddr,
    sync::{Arc, PoisonError},
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::{
    sync::Mutex,
    task::JoinSet,
    time::{MissedTickBehavior, interval},
};
use tokio_tungstenite::tungstenite::Message;

/// The middle of the city they drive in, and how far it goes in each direction, in metres.
pub(super) const CENTRE: Point = Point { lat: -1.9441, lon: 30.0619 };
pub(super) const HALF_M: f64 = 5_000.0;
/// How many are let in at once.
const AT_ONCE: usize = 32;
/// How far a driver gets between two positions, in metres: no jump, however soon the next one is.
const STEP_M: f64 = 20.0;
/// How often it is seen to that as many have been sent as should have been.
const PACE: Duration = Duration::from_millis(1);

/// When each order was first shown to a driver.
pub(super) type Offered = Arc<std::sync::Mutex<HashMap<String, Instant>>>;

/// Says things to one socket; two tasks do.
type Mouth = Arc<Mutex<SplitSink<Socket, Message>>>;

/// The drivers.
#[derive(Debug)]
pub(super) struct Fleet {
    dialect: Dialect,
    drivers: Vec<Driver>,
    /// Whose turn it is.
    next: usize,
    listening: JoinSet<()>,
    offered: Offered,
}

#[derive(Debug)]
struct Driver {
    mouth: Mouth,
    course: Course,
}

/// A way around a block.
#[derive(Debug)]
struct Course {
    corner: Point,
    n_steps: u32,
    sampled_at: Timestamp,
}

impl Fleet {
    /// Connects `n` of them.
    pub(super) async fn gather(
        dialect: Dialect,
        address: SocketAddr,
        n: u32,
    ) -> Result<Self, Fault> {
        let sockets: Vec<Socket> = stream::iter(0..n)
            .map(|n| dialect.open(address, Who::Driver(n)))
            .buffered(AT_ONCE)
            .try_collect()
            .await?;
        let (mut listening, offered) = (JoinSet::new(), Offered::default());
        let drivers = (0..).zip(sockets).map(|(n, socket)| {
            let (mouth, ear) = socket.split();
            let mouth = Arc::new(Mutex::new(mouth));
            listening.spawn(listen(dialect.clone(), ear, Arc::clone(&mouth), Arc::clone(&offered)));
            Driver { mouth, course: Course::new(n) }
        });
        let drivers = drivers.collect();
        Ok(Self { dialect, drivers, next: 0, listening, offered })
    }

    /// When each order was first shown to one of them.
    pub(super) fn offered(&self) -> &Offered {
        &self.offered
    }

    /// Says where they are, one after the other, `burst` positions of each in one breath, so that it makes
    /// `per_s` a second. Returns how many that were.
    pub(super) async fn drive(
        &mut self,
        per_s: u32,
        burst: u32,
        lasting: Duration,
    ) -> Result<u64, Fault> {
        let began = Instant::now();
        let mut pace = interval(PACE);
        pace.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut n_sent = 0;
        while began.elapsed() < lasting {
            pace.tick().await;
            let due = (began.elapsed().as_secs_f64() * f64::from(per_s)) as u64;
            while n_sent + u64::from(burst) <= due {
                self.say_next(burst).await?;
                n_sent += u64::from(burst);
            }
        }
        Ok(n_sent)
    }

    async fn say_next(&mut self, burst: u32) -> Result<(), Fault> {
        let n = self.drivers.len();
        let driver = &mut self.drivers[self.next % n];
        self.next = (self.next + 1) % n;
        let mut mouth = driver.mouth.lock().await;
        for _ in 0..burst {
            let (at, sampled_at) = driver.course.next();
            mouth.feed(self.dialect.position(at, sampled_at)).await?;
        }
        Ok(mouth.flush().await?)
    }

    /// Closes all sockets.
    pub(super) async fn go_home(mut self) {
        self.listening.shutdown().await;
        future::join_all(self.drivers.iter().map(|driver| async {
            // It may have been closed already.
            drop(driver.mouth.lock().await.close().await);
        }))
        .await;
    }
}

impl Course {
    fn new(n: u32) -> Self {
        Self { corner: spot(n), n_steps: 0, sampled_at: now() }
    }

    /// Each sample is later than the one before, however soon it comes.
    fn next(&mut self) -> (Point, Timestamp) {
        self.sampled_at = now().max(self.sampled_at + Duration::from_millis(1));
        self.n_steps += 1;
        let (east, north) =
            [(0.0, 0.0), (STEP_M, 0.0), (STEP_M, STEP_M), (0.0, STEP_M)][self.n_steps as usize % 4];
        (self.corner.offset_m(east, north), self.sampled_at)
    }
}

/// Takes everything it is offered, until the socket ends.
async fn listen(dialect: Dialect, mut ear: SplitStream<Socket>, mouth: Mouth, offered: Offered) {
    while let Some(Ok(said)) = ear.next().await {
        let answers = match dialect.hear(&said) {
            Heard::Offer { order, yes } => {
                let mut offered = offered.lock().unwrap_or_else(PoisonError::into_inner);
                offered.entry(order).or_insert_with(Instant::now);
                yes
            }
            Heard::Sign(answer) => vec![answer],
            Heard::Refused(why) => {
                tracing::warn!(why, "a driver was refused something");
                continue;
            }
            Heard::Placed { .. } | Heard::Assigned { .. } | Heard::Other => continue,
        };
        let mut mouth = mouth.lock().await;
        for answer in answers {
            if mouth.feed(answer).await.is_err() {
                return;
            }
        }
        if mouth.flush().await.is_err() {
            return;
        }
    }
}

/// The `n`th place of a city, evenly spread (a Halton sequence).
pub(super) fn spot(n: u32) -> Point {
    let along = |base| (halton(n + 1, base) * 2.0 - 1.0) * HALF_M;
    CENTRE.offset_m(along(2), along(3))
}

fn halton(mut n: u32, base: u32) -> f64 {
    let (mut share, mut sum) = (1.0, 0.0);
    while n > 0 {
        share /= f64::from(base);
        sum += share * f64::from(n % base);
        n /= base;
    }
    sum
}

fn now() -> Timestamp {
    #[expect(clippy::disallowed_methods, reason = "a position says when it was taken")]
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(since.as_millis() as u64)
}
