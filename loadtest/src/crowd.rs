//! Virtual drivers and riders, each with its own phone: one task, one WebSocket.
//!
//! ```text
//!   trips ──► scheduler ──► rider ─┐                        ┌─ driver ◄── city (routes)
//!                                  │ client (socket, ids,   │
//!                                  └─ repeats, acks) ───────┘
//!                                        │ frames
//!                                        ▼
//!                                      node          every view, push and answer ──► checker, book
//! ```
//!
//! A mind ([`driver`], [`rider`]) is plain code that hears frames and says others; a [`client`] is
//! its phone: the link that apps hold, too, which keeps it connected, repeats what was not answered and
//! acknowledges what must arrive. All city times are divided by the speed; the network's times are not.

mod client;
mod driver;
mod rider;
mod world;

pub use client::{NoToken, TokenSource};

use crate::{
    city::{City, Day, LoadError},
    report::{Phase, Progress, Report},
    table::TableError,
    trips::{self, Mix, Trip, Window},
};
use protocol::Point;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs},
    path::PathBuf,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};
use thiserror::Error;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_tungstenite::tungstenite::http::Uri;
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use world::World;

/// How the crowd behaves.
#[derive(Debug, Clone)]
pub struct Options {
    /// The same seed: the same city, trips, drivers and dice.
    pub seed: u64,
    /// How many drivers.
    pub drivers: usize,
    /// How much quicker than life: 10 makes an hour six minutes.
    pub speed: f64,
    /// How long riders ask, in real time.
    pub lasting: Duration,
    /// How long running trips may then take to end, in real time.
    pub drain: Duration,
    /// Where the streets come from.
    pub streets: Streets,
    /// Where the trips come from.
    pub demand: Demand,
    /// How many of them are deliveries and rescues.
    pub mix: Mix,
    /// What people tend to do.
    pub habits: Habits,
    /// Most riders at once; trips beyond are turned away and counted.
    pub riders_max: usize,
    /// How many drivers connect per second.
    pub gather_per_s: u32,
    /// How often a moving driver says where it is, in real time.
    pub position_every: Duration,
    /// How many loopback addresses clients come from; one serves about 25,000 of them.
    pub sources: u8,
    /// Processes whose memory is watched.
    pub pids: Vec<u32>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 1,
            drivers: 200,
            speed: 1.0,
            lasting: Duration::from_secs(60),
            drain: Duration::from_secs(60),
            streets: Streets::Invented,
            demand: Demand::default(),
            mix: Mix::default(),
            habits: Habits::default(),
            riders_max: 8_000,
            gather_per_s: 400,
            position_every: Duration::from_secs(2),
            sources: 1,
            pids: Vec::new(),
        }
    }
}

/// Where the streets come from.
#[derive(Debug, Clone)]
pub enum Streets {
    /// The city of the seed.
    Invented,
    /// Road tables in this folder.
    Folder(PathBuf),
    /// This city.
    Given(Arc<City>),
    /// None: everybody drives straight.
    None,
}

/// Where the trips come from.
#[derive(Debug, Clone)]
pub enum Demand {
    /// So many an hour for each driver.
    Invented {
        /** Trips per driver and city hour. */
        per_driver_hour: f64,
    },
    /// A table of real ones.
    File {
        /** Where it is. */
        path: PathBuf,
        /** Which of it. */
        window: Window,
    },
    /// These.
    Given(Vec<Trip>),
}

impl Default for Demand {
    fn default() -> Self {
        Self::Invented { per_driver_hour: 2.5 }
    }
}

/// What people tend to do; odds from 0 to 1, times in city seconds.
#[derive(Debug, Clone, Copy)]
pub struct Habits {
    /// A driver takes an offer.
    pub accept: f64,
    /// A driver says no; otherwise it does not answer.
    pub decline: f64,
    /// How long a driver looks at an offer, at most.
    pub think_s_max: f64,
    /// Mean time on duty before a rest.
    pub duty_s: f64,
    /// Mean length of a rest.
    pub rest_s: f64,
    /// Mean time between two losses of a driver's connection; 0 for never.
    pub drop_s: f64,
    /// A rider changes its mind at some moment before pickup.
    pub cancel: f64,
    /// How long a rider waits for a driver before it gives up.
    pub patience_s: f64,
    /// A rider rates.
    pub rate: f64,
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            accept: 0.88,
            decline: 0.09,
            think_s_max: 8.0,
            duty_s: 4.0 * 3_600.0,
            rest_s: 15.0 * 60.0,
            drop_s: 3.0 * 3_600.0,
            cancel: 0.05,
            patience_s: 15.0 * 60.0,
            rate: 0.6,
        }
    }
}

/// Where the crowd goes.
#[derive(Clone)]
pub struct Target {
    /// Where phones connect to.
    address: SocketAddr,
    /// The request's address, as given.
    url: String,
    tokens: Arc<dyn TokenSource>,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target").field("url", &self.url).finish_non_exhaustive()
    }
}

/// An address the crowd does not go to.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NoTarget {
    /// Not `ws://host:port/path`.
    #[error("{0:?} is not an address such as ws://127.0.0.1:7070/v1/ws")]
    Malformed(String),
    /// A crowd is a weapon elsewhere.
    #[error("{0:?} is not on this machine; a crowd stays on the loopback")]
    NotHere(String),
}

impl Target {
    /// A node on this machine, and who issues tokens for it.
    pub fn new(url: &str, tokens: impl TokenSource) -> Result<Self, NoTarget> {
        let malformed = || NoTarget::Malformed(url.to_owned());
        let uri: Uri = url.parse().map_err(|_| malformed())?;
        let (Some("ws"), Some(host)) = (uri.scheme_str(), uri.host()) else {
            return Err(malformed());
        };
        let host = host.trim_start_matches('[').trim_end_matches(']');
        let address = (host, uri.port_u16().unwrap_or(80))
            .to_socket_addrs()
            .map_err(|_| malformed())?
            .find(|address| address.ip().is_loopback())
            .ok_or_else(|| NoTarget::NotHere(url.to_owned()))?;
        Ok(Self { address, url: url.to_owned(), tokens: Arc::new(tokens) })
    }

    /// A loopback address for the `n`th client, if there is a choice.
    fn source(&self, n: usize, n_sources: u8) -> Option<SocketAddr> {
        let is_v4 = self.address.is_ipv4();
        (is_v4 && n_sources > 1).then(|| {
            let last = (n % usize::from(n_sources)) as u8;
            SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last.saturating_add(2))), 0)
        })
    }
}

/// A crowd that cannot go out.
#[derive(Debug, Error)]
pub enum PrepareError {
    /// No streets.
    #[error("streets: {0}")]
    Streets(#[from] LoadError),
    /// No trips.
    #[error("trips: {0}")]
    Trips(#[from] TableError),
}

/// Sends a crowd to a node and says how it went. Ends after `lasting` and at most `drain`, or soon
/// after `stop`.
pub async fn run(
    options: Options,
    target: Target,
    stop: CancellationToken,
    progress: impl Fn(&Progress) + Send,
) -> Result<Report, PrepareError> {
    let city = match &options.streets {
        Streets::Invented => Arc::new(City::generate(options.seed)),
        Streets::Folder(folder) => {
            Arc::new(City::load(folder, Day::Weekday, hour_of(&options.demand))?)
        }
        Streets::Given(city) => Arc::clone(city),
        Streets::None => Arc::new(City::open_ground(
            "open ground",
            Point { lat: -1.9441, lon: 30.0619 },
            6_000.0,
        )),
    };
    let lasting_s = options.lasting.as_secs_f64() * options.speed;
    let mut trips = match &options.demand {
        Demand::Invented { per_driver_hour } => {
            let per_hour = per_driver_hour * options.drivers as f64;
            trips::invent(&city, per_hour, lasting_s, options.mix, options.seed)
        }
        Demand::File { path, window } => trips::read(path, *window, options.mix, options.seed)?,
        Demand::Given(trips) => trips.clone(),
    };
    trips.retain(|trip| trip.at_s < lasting_s);
    let hot_spots = trips.iter().map(|trip| trip.from).collect();
    let world = Arc::new(World::new(options, target, city, hot_spots));
    Ok(Crowd { world, trips }.go(stop, progress).await)
}

fn hour_of(demand: &Demand) -> u8 {
    match demand {
        Demand::File { window, .. } => window.from.map_or(9, |from| (from.0 / 3_600) as u8),
        Demand::Invented { .. } | Demand::Given(_) => 9,
    }
}

struct Crowd {
    world: Arc<World>,
    trips: Vec<Trip>,
}

impl Crowd {
    async fn go(self, stop: CancellationToken, progress: impl Fn(&Progress) + Send) -> Report {
        let Self { world, trips } = self;
        let home = CancellationToken::new();
        let (drivers, riders) = (TaskTracker::new(), TaskTracker::new());
        let work = async {
            gather(&world, &drivers, &home).await;
            world.set_phase(Phase::Out);
            let began = Instant::now();
            ask(&world, trips, &riders, &home, began).await;
            world.set_phase(Phase::Draining);
            riders.close();
            let patience = sleep(world.options.drain);
            tokio::select! {
                () = riders.wait() => {}
                () = patience => {}
            }
        };
        let watch = async {
            let mut seconds = interval(Duration::from_secs(1));
            seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
            loop {
                seconds.tick().await;
                world.second();
                progress(&world.progress());
            }
        };
        tokio::select! {
            () = work => {}
            () = stop.cancelled() => {}
            () = watch => {}
        }
        home.cancel();
        drivers.close();
        riders.close();
        let leave = async {
            drivers.wait().await;
            riders.wait().await;
        };
        // Whoever is in the middle of a handshake need not finish it.
        if tokio::time::timeout(Duration::from_secs(3), leave).await.is_err() {
            tracing::info!("some of the crowd did not leave in time");
        }
        world.second();
        world.report()
    }
}

/// Connects all drivers, a few at a time.
async fn gather(world: &Arc<World>, drivers: &TaskTracker, home: &CancellationToken) {
    const BATCH_MS: u64 = 50;
    let per_batch = (u64::from(world.options.gather_per_s) * BATCH_MS / 1_000).max(1) as usize;
    let mut batches = interval(Duration::from_millis(BATCH_MS));
    batches.set_missed_tick_behavior(MissedTickBehavior::Delay);
    for n in 0..world.options.drivers {
        if n % per_batch == 0 {
            batches.tick().await;
        }
        let mind = driver::Driver::new(Arc::clone(world), n);
        let client = client::Client::new(Arc::clone(world), mind, n);
        drivers.spawn(client.live(home.clone()));
    }
    // Let the last of them be seen before the first rider asks.
    sleep(Duration::from_millis(500)).await;
}

/// Starts every trip at its moment.
async fn ask(
    world: &Arc<World>,
    trips: Vec<Trip>,
    riders: &TaskTracker,
    home: &CancellationToken,
    began: Instant,
) {
    let mut dice = ChaCha8Rng::seed_from_u64(world.options.seed ^ 0xa5c);
    for (n, trip) in trips.into_iter().enumerate() {
        let moment = began + world.real(trip.at_s);
        sleep(moment.saturating_duration_since(Instant::now())).await;
        if riders.len() >= world.options.riders_max {
            world.counts.turned_away.fetch_add(1, Relaxed);
            continue;
        }
        let mind = rider::Rider::new(Arc::clone(world), n, trip, dice.random());
        let client = client::Client::new(Arc::clone(world), mind, n);
        riders.spawn(client.live(home.clone()));
    }
    sleep(world.options.lasting.saturating_sub(began.elapsed())).await;
}

#[cfg(test)]
mod tests;
