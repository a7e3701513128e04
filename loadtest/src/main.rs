//! The crowd, and what is measured without a node, on the command line.

mod peers;

use clap::{Args, Parser, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use loadtest::{
    CancellationToken, City, Demand, Habits, NoTarget, NoToken, Options, PrepareError, Streets,
    TableError, Target,
    connect::{self, ConnectError},
    match_sim::{self, NoChart, Policy, Shard, SimError},
    mdrp, pdptw, run, token,
    trips::{Mix, TimeOfDay, Window},
};
use peers::PeersArgs;
use serde::Serialize;
use std::{
    fmt::Display,
    fs,
    io::{self, IsTerminal, Write},
    net::SocketAddr,
    path::{Path, PathBuf},
    process::ExitCode,
    sync::Arc,
    time::Duration,
};
use thiserror::Error;

/// A crowd of riders and drivers for one Outrider node on this machine.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Sends a crowd to a node. Exits with 3 if the node broke a promise.
    Run(Box<RunArgs>),
    /// Replays mornings of real trips through the regions' matching, and compares policies.
    MatchSim(Box<MatchSimArgs>),
    /// Plays days of the Meal Delivery Routing Problem, without a node. Exits with 3 if one broke a rule.
    Mdrp(MdrpArgs),
    /// Plans routes for instances of the pickup and delivery problem with time windows, without a node. Exits with 3 if
    /// routes broke a rule.
    Pdptw(PdptwArgs),
    /// Opens many sessions and holds them. Exits with 3 if one of them died, or did not come back.
    Connect(Box<ConnectArgs>),
    /// One of the processes that hold them.
    #[command(hide = true)]
    Generate,
    /// Prints the invented city of a seed as JSON.
    City {
        /// Which.
        #[arg(long, default_value_t = 1)]
        seed: u64,
    },
    /// Measures a node beside what else one could take: a bare socket, and Socket.IO with Redis. Starts all of
    /// them (node, npm and redis-server must be installed), and stops them again.
    Peers(PeersArgs),
    /// A socket that does nothing with what it reads; a part of `peers`.
    #[command(hide = true)]
    Bare {
        /// Send it back.
        #[arg(long)]
        echo: bool,
    },
}

#[derive(Debug, Args)]
struct RunArgs {
    /// The node's WebSocket.
    #[arg(long, default_value = "ws://127.0.0.1:7070/v1/ws")]
    url: String,
    /// How many drivers.
    #[arg(long, default_value_t = 200)]
    drivers: usize,
    /// A table of trips (`pickup_time,…,pickup_lat,pickup_lon,dropoff_lat,dropoff_lon`), packed or
    /// not; without one, trips are invented.
    #[arg(long, value_name = "FILE")]
    trips: Option<PathBuf>,
    /// Only trips from this time of day; the crowd's clock starts here.
    #[arg(long, value_name = "HH:MM", requires = "trips")]
    from: Option<TimeOfDay>,
    /// Only trips before this time of day.
    #[arg(long, value_name = "HH:MM", requires = "trips")]
    until: Option<TimeOfDay>,
    /// Only this share of the trips, 0 to 1.
    #[arg(long, default_value_t = 1.0, requires = "trips")]
    sample: f64,
    /// A folder of road tables; without one, a city is invented, or with --trips there are none.
    #[arg(long, value_name = "DIR")]
    roads: Option<PathBuf>,
    /// How much quicker than life: 10x.
    #[arg(long, default_value = "1x", value_parser = speed)]
    speed: f64,
    /// How long riders ask, in real time.
    #[arg(long = "for", default_value = "60s", value_parser = humantime::parse_duration)]
    lasting: Duration,
    /// How long running trips may then take to end, in real time.
    #[arg(long, default_value = "90s", value_parser = humantime::parse_duration)]
    drain: Duration,
    /// Repeats a crowd.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Invented trips per driver and city hour.
    #[arg(long, default_value_t = 2.5)]
    per_driver_hour: f64,
    /// Share of deliveries, 0 to 1.
    #[arg(long, default_value_t = Mix::default().deliveries)]
    deliveries: f64,
    /// Share of rescues, 0 to 1.
    #[arg(long, default_value_t = Mix::default().rescues)]
    rescues: f64,
    /// Odds that a driver takes an offer.
    #[arg(long, default_value_t = Habits::default().accept)]
    accept: f64,
    /// Odds that a rider changes its mind.
    #[arg(long, default_value_t = Habits::default().cancel)]
    cancel: f64,
    /// How many drivers connect per second.
    #[arg(long, default_value_t = 400)]
    gather_per_s: u32,
    /// Most riders at once.
    #[arg(long, default_value_t = 8_000)]
    riders_max: usize,
    /// How many loopback addresses to come from.
    #[arg(long, default_value_t = 1)]
    sources: u8,
    /// Processes whose memory is watched.
    #[arg(long = "pid")]
    pids: Vec<u32>,
    /// The node's development key, to sign tokens with.
    #[arg(long, value_name = "FILE", default_value = "data/development-key.pem")]
    dev_key: PathBuf,
    /// An endpoint that issues tokens, instead of the key.
    #[arg(long, value_name = "URL")]
    tokens_from: Option<String>,
    /// Print the report as one JSON object on the last line.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct ConnectArgs {
    /// How many.
    #[arg(long, default_value_t = 10_000)]
    sessions: u64,
    /// Where a node is; several, one after the other.
    #[arg(long = "at", default_value = "127.0.0.1:7070", value_delimiter = ',')]
    at: Vec<SocketAddr>,
    /// How many are opened a second.
    #[arg(long, default_value_t = 1_000.0)]
    per_s: f64,
    /// How long all of them are held.
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration)]
    hold: Duration,
    /// The longest all of it may take.
    #[arg(long = "for", default_value = "15m", value_parser = humantime::parse_duration)]
    lasting: Duration,
    /// How many of a hundred are drivers; the others are riders.
    #[arg(long, default_value_t = 10, value_parser = clap::value_parser!(u8).range(0..=100))]
    drivers_percent: u8,
    /// Let drivers start to work, so that their actors stay awake.
    #[arg(long)]
    on_duty: bool,
    /// Repeats a crowd: the same people.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Then cut all off at once, and wait until they are back.
    #[arg(long)]
    storm: bool,
    /// Drivers among them who are told what they do not acknowledge.
    #[arg(long, default_value_t = 200, requires = "storm")]
    holders: u32,
    /// Drivers who are not cut off.
    #[arg(long, default_value_t = 100, requires = "storm")]
    askers: u32,
    /// How many commands those say a second, together.
    #[arg(long, default_value_t = 50, requires = "storm")]
    asks_per_s: u32,
    /// How long coming back may take.
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration, requires = "storm")]
    within: Duration,
    /// Processes of nodes, to be weighed.
    #[arg(long = "pid", value_delimiter = ',')]
    pids: Vec<u32>,
    /// The nodes' key, to sign tokens with.
    #[arg(long, value_name = "FILE", default_value = "data/development-key.pem")]
    key: PathBuf,
    /// Print the report as one JSON object on the last line.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct MatchSimArgs {
    /// Tables of trips, a morning each.
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    trips: Vec<PathBuf>,
    /// A folder of road tables.
    #[arg(long, value_name = "DIR")]
    roads: PathBuf,
    /// How many drivers there are.
    #[arg(long, num_args = 1.., default_values_t = [5_600])]
    drivers: Vec<usize>,
    /// How requests and drivers are brought together; without any, all ways are compared.
    #[arg(long, value_enum, num_args = 1..)]
    policy: Vec<Policy>,
    /// How the city is divided among regions.
    #[arg(long, value_enum, num_args = 1.., default_values_t = [Shard::Res7])]
    shard: Vec<Shard>,
    /// How many rings of neighbours a region sees; 0: its own cell only.
    #[arg(long, default_value_t = 1)]
    rings: u32,
    /// Only trips from this time of day.
    #[arg(long, value_name = "HH:MM", default_value = "08:00")]
    from: TimeOfDay,
    /// Only trips before this time of day.
    #[arg(long, value_name = "HH:MM", default_value = "12:00", alias = "until")]
    to: TimeOfDay,
    /// How many requests a second: the morning's clock is squeezed until so many come. 0: as many as
    /// there were.
    #[arg(long, default_value_t = 5.0)]
    rate: f64,
    /// Where drivers begin.
    #[arg(long, num_args = 1.., default_values_t = [1])]
    seed: Vec<u64>,
    /// Who has no driver after this long goes away.
    #[arg(long, default_value = "10m", value_parser = humantime::parse_duration)]
    patience: Duration,
    /// Requests of the first minutes are served, and not counted: the fleet has only begun.
    #[arg(long, default_value = "20m", value_parser = humantime::parse_duration)]
    warm_up: Duration,
    /// The share of drivers who go where they are told to wait, 0 to 1.
    #[arg(long, default_value_t = 0.75)]
    follow: f64,
    /// How many simulations go on at once; more of them make each other's ticks slower.
    #[arg(long, default_value_t = 1)]
    threads: usize,
    /// Print the figures as one JSON object on the last line.
    #[arg(long)]
    json: bool,
    /// Draw how long riders waited.
    #[arg(long, value_name = "FILE.svg")]
    chart: Option<PathBuf>,
}

#[derive(Debug, Args)]
struct MdrpArgs {
    /// A folder with a folder for each instance.
    #[arg(long, value_name = "DIR")]
    instances: PathBuf,
    /// Only these of them.
    #[arg(long = "instance", value_name = "NAME")]
    names: Vec<String>,
    /// Repeats a day.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print the report as one JSON object on the last line.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct PdptwArgs {
    /// A folder with `best_known.csv` and the folder `instances`, in the format of Li and Lim.
    #[arg(long, value_name = "DIR")]
    instances: PathBuf,
    /// Only these of them.
    #[arg(long = "instance", value_name = "NAME")]
    names: Vec<String>,
    /// Only instances with so many tasks, as `best_known.csv` counts them.
    #[arg(long, default_value_t = 100)]
    tasks: usize,
    /// Processor time for each, of the one thread that plans.
    #[arg(long, default_value_t = 15.0)]
    seconds: f64,
    /// Where chance begins.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print the report as one JSON object on the last line.
    #[arg(long)]
    json: bool,
}

fn speed(text: &str) -> Result<f64, String> {
    let number = text.strip_suffix('x').unwrap_or(text);
    match number.parse::<f64>() {
        Ok(speed) if (0.1..=10_000.0).contains(&speed) => Ok(speed),
        Ok(_) | Err(_) => Err("a speed is 0.1x to 10000x".to_owned()),
    }
}

#[derive(Debug, Error)]
enum CliError {
    #[error(transparent)]
    Target(#[from] NoTarget),
    #[error(transparent)]
    Token(#[from] NoToken),
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    #[error(transparent)]
    Sim(#[from] SimError),
    #[error(transparent)]
    Chart(#[from] NoChart),
    #[error(transparent)]
    Table(#[from] TableError),
    #[error("{0}: no instance of that name")]
    NoInstance(PathBuf),
    #[error(transparent)]
    Pdptw(#[from] pdptw::NoInstance),
    #[error(transparent)]
    Connect(#[from] ConnectError),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error("peers: {0}")]
    Peers(peers::Fault),
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn")),
        )
        .with_writer(io::stderr)
        .init();
    let done = match Cli::parse().command {
        Command::Run(args) => on_runtime(go(*args)),
        Command::Connect(args) => on_runtime(hold(*args)),
        Command::Generate => connect::generate().map(|()| 0).map_err(Into::into),
        Command::MatchSim(args) => compare(&args).map(|()| 0),
        Command::Mdrp(args) => deliver(&args),
        Command::Pdptw(args) => route(&args),
        Command::City { seed } => say(&City::generate(seed).to_json().to_string()).map(|()| 0),
        Command::Peers(args) => on_runtime(beside_peers(args)),
        Command::Bare { echo } => on_runtime(bare(echo)),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            tracing::error!(%error, "the crowd stays at home");
            ExitCode::FAILURE
        }
    }
}

fn on_runtime(doing: impl Future<Output = Result<u8, CliError>>) -> Result<u8, CliError> {
    tokio::runtime::Builder::new_multi_thread().enable_all().build()?.block_on(doing)
}

/// Compares a node with its peers; what was started ends with this, also when it is interrupted.
async fn beside_peers(args: PeersArgs) -> Result<u8, CliError> {
    tokio::select! {
        report = peers::run(args) => say(&report.map_err(CliError::Peers)?).map(|()| 0),
        interrupted = tokio::signal::ctrl_c() => interrupted.map(|()| 130).map_err(CliError::Io),
    }
}

async fn bare(is_echo: bool) -> Result<u8, CliError> {
    peers::bare::serve(is_echo).await.map(|()| 0).map_err(CliError::Peers)
}

/// Cancelled when somebody interrupts.
fn interruption() -> CancellationToken {
    let stop = CancellationToken::new();
    let interrupted = stop.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            interrupted.cancel();
        }
    });
    stop
}

async fn hold(args: ConnectArgs) -> Result<u8, CliError> {
    let ConnectArgs { holders, askers, asks_per_s, within, .. } = args;
    let storm = connect::Storm { holders, askers, asks_per_s, within };
    let plan = connect::Plan {
        sessions: args.sessions,
        at: args.at,
        key: args.key,
        seed: args.seed,
        drivers_percent: args.drivers_percent,
        on_duty: args.on_duty,
        per_s: args.per_s,
        hold: args.hold,
        lasting: args.lasting,
        storm: args.storm.then_some(storm),
        pids: args.pids,
        owners: Vec::new(),
    };
    let program = std::env::current_exe()?;
    let generator = || {
        let mut command = std::process::Command::new(&program);
        command.arg("generate");
        command
    };
    let show = Show::new();
    let report =
        connect::run(plan, generator, interruption(), |progress| show.progress(progress)).await?;
    show.end();
    print(&report, args.json)?;
    Ok(if report.is_sound() { 0 } else { 3 })
}

/// For people, or as JSON on the last line.
fn print(report: &(impl Display + Serialize), is_json: bool) -> Result<(), CliError> {
    if is_json {
        writeln!(io::stderr(), "{report}")?;
        return say(&serde_json::to_string(report)?);
    }
    say(&report.to_string())
}

async fn go(args: RunArgs) -> Result<u8, CliError> {
    let target = match &args.tokens_from {
        Some(url) => Target::new(&args.url, token::Endpoint::new(url.clone()))?,
        None => Target::new(&args.url, token::DevelopmentKey::read(&args.dev_key)?)?,
    };
    let is_json = args.json;
    let show = Show::new();
    let report =
        run(options(args), target, interruption(), |progress| show.progress(progress)).await?;
    show.end();
    print(&report, is_json)?;
    Ok(report.exit_code())
}

fn compare(args: &MatchSimArgs) -> Result<(), CliError> {
    let options = match_sim::Options {
        trips: args.trips.clone(),
        roads: args.roads.clone(),
        window: Window { from: Some(args.from), until: Some(args.to), sample: 1.0 },
        rate: (args.rate > 0.0).then_some(args.rate),
        drivers: args.drivers.clone(),
        policies: if args.policy.is_empty() {
            Policy::value_variants().to_vec()
        } else {
            args.policy.clone()
        },
        shards: args.shard.clone(),
        rings: args.rings,
        seeds: args.seed.clone(),
        patience: args.patience,
        warm_up: args.warm_up,
        follow: args.follow.clamp(0.0, 1.0),
        n_threads: args.threads,
    };
    let comparison = match_sim::compare(&options, |n_done, n| {
        // Nobody reads a progress line that cannot be written.
        drop(writeln!(io::stderr(), "{n_done} of {n} mornings"));
    })?;
    if let Some(path) = &args.chart {
        fs::write(path, match_sim::draw(&comparison)?)?;
    }
    if args.json {
        writeln!(io::stderr(), "{comparison}")?;
        say(&serde_json::to_string(&comparison)?)
    } else {
        say(&comparison.to_string())
    }
}

fn deliver(args: &MdrpArgs) -> Result<u8, CliError> {
    let mut folders = Vec::new();
    for entry in fs::read_dir(&args.instances)? {
        let path = entry?.path();
        if path.join("orders.txt").is_file() && is_wanted(&path, &args.names) {
            folders.push(path);
        }
    }
    folders.sort();
    if folders.is_empty() || folders.len() < args.names.len() {
        return Err(CliError::NoInstance(args.instances.clone()));
    }
    let mut played = Vec::new();
    for folder in &folders {
        played.push(mdrp::play_folder(folder, args.seed)?);
    }
    let report = mdrp::Report::of(played);
    tell(&report, &serde_json::to_string(&report)?, args.json)?;
    Ok(report.exit_code())
}

fn route(args: &PdptwArgs) -> Result<u8, CliError> {
    let known = pdptw::BestKnown::read(&args.instances.join("best_known.csv"))?;
    let wanted: Vec<&pdptw::BestKnown> = known
        .iter()
        .filter(|it| it.tasks == args.tasks && is_wanted(Path::new(&it.instance), &args.names))
        .collect();
    if wanted.is_empty() || wanted.len() < args.names.len() {
        return Err(CliError::NoInstance(args.instances.clone()));
    }
    let mut routed = Vec::new();
    for best in wanted {
        let file = args.instances.join("instances").join(format!("{}.txt", best.instance));
        let problem = pdptw::read(&file)?;
        let it = pdptw::route(&problem, best, args.seconds, args.seed);
        writeln!(io::stderr(), "{it}")?;
        routed.push(it);
    }
    let report = pdptw::Report::of(routed);
    tell(&report, &serde_json::to_string(&report)?, args.json)?;
    Ok(report.exit_code())
}

fn is_wanted(path: &Path, names: &[String]) -> bool {
    names.is_empty()
        || names.iter().any(|it| path.file_name().is_some_and(|name| name == it.as_str()))
}

/// The table for whoever looks, and one line of JSON for what reads.
fn tell(report: &impl Display, json: &str, is_json: bool) -> Result<(), CliError> {
    if is_json {
        writeln!(io::stderr(), "{report}")?;
        return say(json);
    }
    say(&report.to_string())
}

fn options(args: RunArgs) -> Options {
    let streets = match (args.roads, &args.trips) {
        (Some(folder), _) => Streets::Folder(folder),
        (None, Some(_)) => Streets::None,
        (None, None) => Streets::Invented,
    };
    let demand = match args.trips {
        Some(path) => Demand::File {
            path,
            window: Window { from: args.from, until: args.until, sample: args.sample },
        },
        None => Demand::Invented { per_driver_hour: args.per_driver_hour },
    };
    Options {
        seed: args.seed,
        drivers: args.drivers,
        speed: args.speed,
        lasting: args.lasting,
        drain: args.drain,
        streets,
        demand,
        mix: Mix { deliveries: args.deliveries, rescues: args.rescues },
        habits: Habits { accept: args.accept, cancel: args.cancel, ..Habits::default() },
        riders_max: args.riders_max,
        gather_per_s: args.gather_per_s,
        sources: args.sources,
        pids: args.pids,
        ..Options::default()
    }
}

/// The progress line: one that moves on a terminal, one a second elsewhere.
struct Show {
    bar: Option<Arc<ProgressBar>>,
}

impl Show {
    fn new() -> Self {
        let bar = io::stderr().is_terminal().then(|| {
            let bar = ProgressBar::new_spinner();
            if let Ok(style) = ProgressStyle::with_template("{spinner} {wide_msg}") {
                bar.set_style(style);
            }
            Arc::new(bar)
        });
        Self { bar }
    }

    fn progress(&self, progress: &impl Display) {
        match &self.bar {
            Some(bar) => {
                bar.set_message(progress.to_string());
                bar.tick();
            }
            // Nobody reads a progress line that cannot be written.
            None => drop(writeln!(io::stderr(), "{progress}")),
        }
    }

    fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}

fn say(line: &str) -> Result<(), CliError> {
    Ok(writeln!(io::stdout().lock(), "{line}")?)
}
