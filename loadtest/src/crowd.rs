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
//! A mind ([`driver`], [`rider`], [`merchant`]) is plain code that hears frames and says others; a [`client`] is
//! its phone: the link that apps hold, too, which keeps it connected, repeats what was not answered and
//! acknowledges what must arrive. All city times are divided by the speed; the network's times are not.
//!
//! Who asks when is fixed before the first of them does, and kept whatever the node does: see [`crate::measure`].

mod auditor;
mod client;
mod driver;
mod knock;
mod merchant;
mod network;
mod rider;
mod shift;
mod world;

pub use auditor::Audit;
pub use client::{NoToken, TokenSource};
pub use knock::NoEntry;
pub use network::Network;
pub use shift::Shift;

use crate::{
    city::{self, City, Day, LoadError},
    curve::{self, Curve, Pacing},
    measure::PULSE,
    nodes::Nodes,
    record::Record,
    report::{Glance, Phase, Progress, Report},
    table::TableError,
    trips::{self, Mix, Trip, Window},
};
use outrider_client::Address;
use protocol::Point;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde::{Deserialize, Serialize};
use std::{
    io,
    net::{IpAddr, Ipv4Addr, SocketAddr, ToSocketAddrs},
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use thiserror::Error;
use tokio::time::{MissedTickBehavior, interval, interval_at, sleep, sleep_until};
use tokio_util::{
    sync::{CancellationToken, DropGuard},
    task::TaskTracker,
};
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
    /// How much quicker than vehicles the day passes: 4 makes a day of 24 hours one of six, with as many who ask a second.
    pub compress: f64,
    /// How long riders ask, in real time.
    pub lasting: Duration,
    /// What is asked for in the first part of that is served, and not counted.
    pub warm_up: Duration,
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
    pub gather_per_s: f64,
    /// How often a moving driver says where it is, in real time.
    pub position_every: Duration,
    /// How many loopback addresses clients come from; one serves about 25,000 of them.
    pub sources: u8,
    /// Processes whose memory is watched.
    pub pids: Vec<u32>,
    /// How many shops prepare baskets, in each hand's town.
    pub shops: usize,
    /// The second of the day at which riders begin to ask.
    pub starts_at_s: f64,
    /// Who drives only at some hours; the rest of the drivers does all day.
    pub shifts: Vec<Shift>,
    /// What is wrong with some phones' networks.
    pub network: Option<Network>,
    /// When phones are cut off, all at once; in that order.
    pub cuts: Vec<Cut>,
    /// Which part of the crowd this is.
    pub hand: Hand,
    /// Does somebody read anew, in the end, what nobody has read since it was acknowledged?
    pub audits: bool,
}

/// Phones that are cut off at once.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Cut {
    /// When: so long after riders began to ask, in real time.
    pub after: Duration,
    /// Of all phones, how many, 0 to 1.
    pub share: f64,
    /// How long they cannot come back, in real time.
    pub dark: Duration,
}

/// One of several generators: who of the crowd is its part, and which town it plays in.
///
/// Everybody is dealt like cards: of one schedule, and one fleet. Riders and drivers of one job say things to each other
/// without a phone, so they must be in one process, and none of them may meet another's: each hand's town is as large as
/// the first's and lies further east.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hand {
    /// Which, from 0.
    pub n: u32,
    /// Of how many.
    pub of: u32,
}

impl Default for Hand {
    fn default() -> Self {
        Self { n: 0, of: 1 }
    }
}

/// How far apart the towns of two hands are: at Kigali's latitude, some 110 km.
const TOWNS_APART_DEG: f64 = 1.0;

impl Hand {
    /// Is the `n`th of everybody dealt to this hand?
    pub fn holds(self, n: usize) -> bool {
        n % self.of.max(1) as usize == self.n as usize
    }

    /// The number among everybody of this hand's `n`th.
    pub(crate) fn nth(self, n: usize) -> usize {
        n * self.of.max(1) as usize + self.n as usize
    }

    /// How far east its town is, in degrees.
    fn east_deg(self) -> f64 {
        f64::from(self.n) * TOWNS_APART_DEG
    }
}

impl Default for Options {
    fn default() -> Self {
        Self {
            seed: 1,
            drivers: 200,
            speed: 1.0,
            compress: 1.0,
            lasting: Duration::from_secs(60),
            drain: Duration::from_secs(60),
            streets: Streets::Invented,
            demand: Demand::default(),
            mix: Mix::default(),
            habits: Habits::default(),
            riders_max: 8_000,
            gather_per_s: 400.0,
            position_every: Duration::from_secs(2),
            sources: 1,
            pids: Vec::new(),
            warm_up: Duration::ZERO,
            shops: 0,
            starts_at_s: 8.0 * 3_600.0,
            shifts: Vec::new(),
            network: None,
            cuts: Vec::new(),
            hand: Hand::default(),
            audits: false,
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
    /// As many as a curve says, from place to place of the city.
    Curve {
        /** How many an hour, over time. */
        curve: Curve,
        /** How they come at that rate. */
        pacing: Pacing,
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
    /// How long it then cannot come back.
    pub tunnel_s: f64,
    /// By how much phones are wrong about where they are: the standard deviation in each direction, in metres.
    pub gps_noise_m: f64,
    /// How drivers' batteries are; none: never flat.
    pub battery: Option<Battery>,
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
            tunnel_s: 0.0,
            gps_noise_m: 0.0,
            battery: None,
            cancel: 0.05,
            patience_s: 15.0 * 60.0,
            rate: 0.6,
        }
    }
}

/// A phone's battery; times in city seconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Battery {
    /// How long it lasts, from full to flat. A phone that is nearly flat says half as often where it is.
    pub lasts_s: f64,
    /// How long a flat one is away.
    pub recharge_s: f64,
}

/// Where the crowd goes.
#[derive(Clone)]
pub struct Target {
    nodes: Vec<Node>,
    tokens: Arc<dyn TokenSource>,
}

/// One node phones connect to.
#[derive(Debug, Clone)]
struct Node {
    /// As apps are told.
    url: Address,
    /// Where that is.
    at: SocketAddr,
}

impl std::fmt::Debug for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Target").field("nodes", &self.nodes).finish_non_exhaustive()
    }
}

/// An address the crowd does not go to.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NoTarget {
    /// Not `ws://host:port/path`.
    #[error("{0:?} is not an address such as ws://127.0.0.1:7070/v1/ws")]
    Malformed(String),
    /// A crowd is a weapon elsewhere.
    #[error(
        "{0:?} is not on this machine; a crowd stays on the loopback, unless it is told that the nodes are yours"
    )]
    NotHere(String),
    /// Nobody is named.
    #[error("not one node is named")]
    Nowhere,
}

/// How far a crowd may go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reach {
    /// Nodes on this machine.
    Loopback,
    /// Nodes anywhere: whoever says this says that they are theirs.
    Anywhere,
}

impl Target {
    /// A node on this machine, and who issues tokens for it.
    pub fn new(url: &str, tokens: impl TokenSource) -> Result<Self, NoTarget> {
        Self::of(&[url.to_owned()], Reach::Loopback, tokens)
    }

    /// Nodes of one cluster, and who issues tokens for them. A phone begins at one of them, and tries the others when it
    /// is gone.
    pub fn of(urls: &[String], reach: Reach, tokens: impl TokenSource) -> Result<Self, NoTarget> {
        let nodes: Vec<Node> = urls.iter().map(|url| node(url, reach)).collect::<Result<_, _>>()?;
        if nodes.is_empty() {
            return Err(NoTarget::Nowhere);
        }
        Ok(Self { nodes, tokens: Arc::new(tokens) })
    }

    /// Where nodes answer HTTP: `host:port`.
    pub fn authorities(&self) -> Vec<String> {
        self.nodes.iter().map(|node| format!("{}:{}", node.url.host(), node.url.port())).collect()
    }

    /// Where they are.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.at).collect()
    }

    /// A loopback address for the `n`th client, if there is a choice.
    fn source(&self, n: usize, n_sources: u8) -> Option<SocketAddr> {
        let is_here = self.nodes.iter().all(|node| node.at.is_ipv4() && node.at.ip().is_loopback());
        (is_here && n_sources > 1).then(|| {
            let last = (n % usize::from(n_sources)) as u8;
            SocketAddr::new(IpAddr::V4(Ipv4Addr::new(127, 0, 0, last.saturating_add(2))), 0)
        })
    }
}

fn node(url: &str, reach: Reach) -> Result<Node, NoTarget> {
    let malformed = || NoTarget::Malformed(url.to_owned());
    let address: Address = url.parse().map_err(|_| malformed())?;
    if !url.starts_with("ws://") {
        return Err(malformed());
    }
    let host = address.host().trim_start_matches('[').trim_end_matches(']');
    let mut found = (host, address.port()).to_socket_addrs().map_err(|_| malformed())?;
    let at = match reach {
        Reach::Loopback => found.find(|at| at.ip().is_loopback()),
        Reach::Anywhere => found.next(),
    };
    let at = at.ok_or_else(|| NoTarget::NotHere(url.to_owned()))?;
    Ok(Node { url: address, at })
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
    /// There are trips, and none of them is wanted.
    #[error("trips: none of {0} is between `from` and `until`, or in the sample")]
    NoTrips(PathBuf),
    /// No way to reach the node badly.
    #[error("relays: {0}")]
    Relays(#[from] io::Error),
}

/// Sends a crowd to a node and says how it went. Ends after `lasting` and at most `drain`, or soon
/// after `stop`.
pub async fn run(
    options: Options,
    target: Target,
    stop: CancellationToken,
    progress: impl Fn(&Progress) + Send,
) -> Result<Report, PrepareError> {
    let crowd = Crowd::prepare(options, target, Nodes::default(), CancellationToken::new()).await?;
    let world = crowd.go(stop, move |glance| progress(&glance.progress)).await;
    Ok(world.report())
}

/// The same, and everything that was measured. `nodes` are looked at from outside meanwhile.
pub async fn play(
    options: Options,
    target: Target,
    nodes: Nodes,
    stop: CancellationToken,
    show: impl Fn(&Glance) + Send,
) -> Result<Record, PrepareError> {
    let crowd = Crowd::prepare(options, target, nodes, CancellationToken::new()).await?;
    Ok(crowd.go(stop, show).await.record())
}

fn hour_of(options: &Options) -> u8 {
    let from = match &options.demand {
        Demand::File { window, .. } => window.from.map(|from| f64::from(from.0)),
        Demand::Curve { .. } => Some(options.starts_at_s),
        Demand::Invented { .. } | Demand::Given(_) => None,
    };
    from.map_or(9, |from_s| (from_s / 3_600.0) as u8)
}

/// Who is in the crowd, ready to go.
struct Crowd {
    world: Arc<World>,
    trips: Vec<Trip>,
    home: CancellationToken,
    /// Bad ways are there until everybody is home, or who is on one would seem to have lost its connection.
    ways: DropGuard,
}

impl Crowd {
    async fn prepare(
        mut options: Options,
        target: Target,
        nodes: Nodes,
        home: CancellationToken,
    ) -> Result<Self, PrepareError> {
        let lasting_s = options.lasting.as_secs_f64() * options.speed;
        let city = match &options.streets {
            Streets::Invented => Arc::new(City::generate(options.seed)),
            Streets::Folder(folder) => {
                Arc::new(City::load(folder, Day::Weekday, hour_of(&options))?)
            }
            Streets::Given(city) => Arc::clone(city),
            Streets::None => Arc::new(City::open_ground(
                "open ground",
                Point { lat: -1.9441, lon: 30.0619 },
                6_000.0,
            )),
        };
        let mut trips = match &options.demand {
            Demand::Invented { per_driver_hour } => {
                let per_hour = per_driver_hour * options.drivers as f64;
                trips::invent(&city, per_hour, lasting_s, options.mix, options.seed)
            }
            Demand::Curve { curve, pacing } => {
                let seconds = curve::arrivals(curve, lasting_s, *pacing, options.seed);
                trips::invent_at(&city, &seconds, options.mix, options.seed)
            }
            Demand::File { path, window } => trips::read(path, *window, options.mix, options.seed)?,
            Demand::Given(trips) => trips.clone(),
        };
        if let Demand::File { path, window } = &options.demand {
            if trips.is_empty() {
                return Err(PrepareError::NoTrips(path.clone()));
            }
            if !options.shifts.is_empty() {
                // They begin by the clock of the table.
                options.starts_at_s = trips::start_of(path, *window)?;
            }
        }
        trips.retain(|trip| trip.at_s < lasting_s);
        let (city, trips) = dealt(options.hand, city, trips);
        let hot_spots = trips.iter().map(|trip| trip.from).collect();
        let ways = CancellationToken::new();
        let relays = match options.network {
            None => Vec::new(),
            Some(network) => {
                let nodes: Vec<SocketAddr> = target.nodes.iter().map(|node| node.at).collect();
                network::relays(network, &nodes, options.seed, &ways).await?
            }
        };
        let world =
            Arc::new(World::new(options, target, relays, city, hot_spots, nodes, trips.len()));
        Ok(Self { world, trips, home, ways: ways.drop_guard() })
    }

    async fn go(self, stop: CancellationToken, show: impl Fn(&Glance) + Send) -> Arc<World> {
        let Self { world, trips, home, ways } = self;
        let (drivers, riders) = (TaskTracker::new(), TaskTracker::new());
        let work = async {
            gather(&world, &drivers, &home).await;
            let began = world.go_out();
            let latecomers = shift::relieve(&world, &drivers, &home, began);
            let cutting = cut(&world, began);
            let asking = ask(&world, trips, &riders, &home, began);
            tokio::select! {
                () = asking => {}
                // They end when there is nothing more to do, and that is not the end.
                () = async { tokio::join!(latecomers, cutting); std::future::pending().await } => {}
            }
            world.set_phase(Phase::Draining);
            riders.close();
            let patience = sleep(world.options.drain);
            tokio::select! {
                () = riders.wait() => {}
                () = patience => {}
            }
            if world.options.audits {
                world.set_phase(Phase::Auditing);
                auditor::audit(&world, &home).await;
            }
        };
        let watch = async {
            // The first second is over when it is.
            let second = Duration::from_secs(1);
            let mut seconds = interval_at(tokio::time::Instant::now() + second, second);
            seconds.set_missed_tick_behavior(MissedTickBehavior::Skip);
            loop {
                seconds.tick().await;
                show(&world.second());
            }
        };
        tokio::select! {
            () = work => {}
            () = stop.cancelled() => world.interrupt(),
            () = watch => {}
            () = pulse(&world) => {}
        }
        world.stop_counting();
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
        drop(ways);
        world.second();
        world
    }
}

/// What of a city and its trips is this hand's.
fn dealt(hand: Hand, city: Arc<City>, trips: Vec<Trip>) -> (Arc<City>, Vec<Trip>) {
    let mine = trips.into_iter().enumerate().filter(|(n, _)| hand.holds(*n)).map(|(_, trip)| trip);
    if hand.n == 0 {
        return (city, mine.collect());
    }
    let east_deg = hand.east_deg();
    let there = mine.map(|trip| Trip {
        from: city::moved_east(trip.from, east_deg),
        to: city::moved_east(trip.to, east_deg),
        ..trip
    });
    let there = there.collect();
    (Arc::new(Arc::unwrap_or_clone(city).moved_east(east_deg)), there)
}

/// Connects all drivers that work at this hour and all shops, a few at a time.
async fn gather(world: &Arc<World>, drivers: &TaskTracker, home: &CancellationToken) {
    const BATCH_MS: u64 = 50;
    let options = &world.options;
    let share = 1.0 / f64::from(options.hand.of.max(1));
    let per_batch = options.gather_per_s * share * BATCH_MS as f64 / 1_000.0;
    let mut batches = interval(Duration::from_millis(BATCH_MS));
    batches.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut room = per_batch.max(1.0);
    for n in (0..options.shops).map(|n| options.hand.nth(n)) {
        let mind = merchant::Shop::new(Arc::clone(world), n);
        drivers.spawn(client::Client::new(Arc::clone(world), mind, n).live(home.clone()));
    }
    for n in (0..options.drivers).filter(|n| options.hand.holds(*n)) {
        let shift = shift::of(&options.shifts, n);
        if shift.is_some_and(|it| !it.is_at(options.starts_at_s)) {
            continue;
        }
        while room < 1.0 {
            batches.tick().await;
            room += per_batch;
        }
        room -= 1.0;
        send(world, drivers, home, n);
    }
    // Let the last of them be seen before the first rider asks.
    sleep(Duration::from_millis(500)).await;
}

/// Sends the `n`th driver to work.
fn send(world: &Arc<World>, drivers: &TaskTracker, home: &CancellationToken, n: usize) {
    let mind = driver::Driver::new(Arc::clone(world), n);
    drivers.spawn(client::Client::new(Arc::clone(world), mind, n).live(home.clone()));
}

/// Cuts phones off when their time has come.
async fn cut(world: &Arc<World>, began: Instant) {
    for cut in world.options.cuts.clone() {
        sleep_until((began + cut.after).into()).await;
        world.cut(cut);
    }
}

/// Notices when the generator itself is late: somebody else has the processor, or it does too much.
async fn pulse(world: &Arc<World>) {
    loop {
        let due = Instant::now() + PULSE;
        sleep_until(due.into()).await;
        world.meter().lagged(due, Instant::now());
    }
}

/// Starts every trip at its moment, whatever became of those before it.
async fn ask(
    world: &Arc<World>,
    trips: Vec<Trip>,
    riders: &TaskTracker,
    home: &CancellationToken,
    began: Instant,
) {
    let mut dice = ChaCha8Rng::seed_from_u64(world.options.seed ^ 0xa5c);
    let hand = world.options.hand;
    for (n, trip) in trips.into_iter().enumerate() {
        let due = began + world.real(trip.at_s);
        sleep(due.saturating_duration_since(Instant::now())).await;
        if riders.len() >= world.options.riders_max {
            world.turn_away();
            continue;
        }
        world.start(due);
        // Nobody is the same person as another hand's.
        let n = hand.nth(n);
        let mind = rider::Rider::new(Arc::clone(world), n, trip, due, dice.random());
        let client = client::Client::new(Arc::clone(world), mind, n);
        riders.spawn(client.live(home.clone()));
    }
    sleep(world.options.lasting.saturating_sub(began.elapsed())).await;
}

#[cfg(test)]
mod tests;
