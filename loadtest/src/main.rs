//! The crowd, and what is measured without a node, on the command line.

mod dashboard;
mod peers;
mod play;

use clap::{Args, Parser, Subcommand, ValueEnum};
use indicatif::{ProgressBar, ProgressStyle};
use loadtest::{
    CancellationToken, City, NoEntry, NoTarget, NoToken, PrepareError, TableError,
    connect::{self, ConnectError, Plan, Sessions},
    forecast::{self, ForecastError, Grain},
    match_sim::{self, NoChart, Policy, Shard, SimError},
    mdrp, pdptw,
    record::NoRecord,
    scenario::NoScenario,
    several::NotTogether,
    trips::{TimeOfDay, Window},
};
use peers::PeersArgs;
use play::{CompareArgs, JoinArgs, PageArgs, RunArgs, ScenariosArgs};
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
use tokio::signal::unix::{SignalKind, signal};

/// The node's, so that nothing is compared with it that has another.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

/// A crowd of riders and drivers for Outrider, and what is measured without a node.
#[derive(Debug, Parser)]
#[command(version, about, after_help = EXAMPLES)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

/// What one would want to do, and how.
const EXAMPLES: &str = "\
Does a node on this machine work at all? (`outrider serve` runs in this folder)
  loadtest run

What is there to play, and how is one's own written?
  loadtest scenarios
  loadtest scenarios smoke > mine.toml      # every key: config/scenarios/README.md
  loadtest run --scenario mine.toml

A busier day, with a report to send on
  loadtest run --scenario city-day --set fleet.drivers=1000 --set arrivals.per_hour=2500 --html report.html
  loadtest run --scenario city-day --compress 4      # all of it in six minutes, with as many who ask a second

Did the last change make it slower?
  loadtest run --json > before.json;  loadtest run --json > after.json;  loadtest compare before.json after.json

Did it become slower over night?
  loadtest run --scenario soak --json > soak.json;  loadtest compare soak.json soak.json --between 2h..3h --between 7h..8h

In CI: 0 all is well, 2 a threshold was missed, 3 a promise was broken, 4 nobody can tell (the generator was saturated, or the
audit could not read everything), 130 it was interrupted and reported what was until then, 1 it could not be played
  loadtest run --scenario mine.toml --plain --json > record.json

What do the nodes take meanwhile, and is memory given back? (processes on this machine; charts of both are in the report)
  loadtest run --scenario soak --compress 100 --pid $(pgrep -x outrider) --html report.html

What happens when a node of three leaves? (and `outrider cluster drain node-2` meanwhile)
  loadtest run --scenario rolling-restart --url ws://127.0.0.1:7071/v1/ws,ws://127.0.0.1:7072/v1/ws,ws://127.0.0.1:7073/v1/ws

More than one machine can ask for (on each generator the second line, with a key that the nodes believe)
  loadtest run --scenario city-day --lead nats://10.0.0.5:4222 --generators 3 --anywhere --url ws://10.0.0.7:7070/v1/ws
  loadtest join nats://10.0.0.5:4222 --anywhere --url ws://10.0.0.7:7070/v1/ws";

#[derive(Debug, Subcommand)]
enum Command {
    /// Plays a scenario: sends a crowd to a node, and reports, also when it is interrupted. Exits with 2 if something does
    /// not hold that was to, 3 if the node broke a promise, 4 if nobody can tell, 130 if it was interrupted.
    Run(Box<RunArgs>),
    /// Plays its share of a scenario that somebody else leads (`run --lead`).
    Join(JoinArgs),
    /// Lists the scenarios that are ready, or prints one.
    Scenarios(ScenariosArgs),
    /// Compares two runs. Exits with 2 if something got worse, beyond noise.
    Compare(CompareArgs),
    /// Draws the page of a run again, from its record.
    Page(PageArgs),
    /// Replays mornings of real trips through the regions' matching, and compares policies.
    MatchSim(Box<MatchSimArgs>),
    /// Asks of mornings of real trips how well regions learn how long ways take.
    Ways(WaysArgs),
    /// Asks of days of real trips how well regions forecast how much will be asked, against what was asked a week before, and just now.
    Forecast(ForecastArgs),
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
struct ConnectArgs {
    #[command(flatten)]
    sessions: Sessions,
    /// Where a node is; several, one after the other.
    #[arg(long = "at", default_value = "127.0.0.1:7070", value_delimiter = ',')]
    at: Vec<SocketAddr>,
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
struct WaysArgs {
    /// Tables of trips, a morning each, in the order in which they are learned from.
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    trips: Vec<PathBuf>,
    /// A folder of road tables.
    #[arg(long, value_name = "DIR")]
    roads: PathBuf,
    /// Print the report as one JSON object on the last line.
    #[arg(long)]
    json: bool,
}

#[derive(Debug, Args)]
struct ForecastArgs {
    /// Tables of trips, a day each. Of one weekday there must be two: the first is only learned from.
    #[arg(long, value_name = "FILE", num_args = 1.., required = true)]
    trips: Vec<PathBuf>,
    /// For how long at a time it is forecast.
    #[arg(long, default_value = "15m", value_parser = humantime::parse_duration)]
    every: Duration,
    /// How long before that begins.
    #[arg(long, default_value = "0s", value_parser = humantime::parse_duration)]
    ahead: Duration,
    /// Counted by what.
    #[arg(long, value_enum, default_value_t = Grain::Zone)]
    by: Grain,
    /// Print the report as one JSON object on the last line.
    #[arg(long)]
    json: bool,
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
    Entry(#[from] NoEntry),
    #[error(transparent)]
    Prepare(#[from] PrepareError),
    #[error(transparent)]
    Sim(#[from] SimError),
    #[error(transparent)]
    Forecast(#[from] ForecastError),
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
    Scenario(#[from] NoScenario),
    #[error(transparent)]
    Record(#[from] NoRecord),
    #[error(transparent)]
    Part(#[from] loadtest::compare::NoPart),
    #[error("--between is said once for both runs, or once for each")]
    Betweens,
    #[error(transparent)]
    Together(#[from] NotTogether),
    #[error(transparent)]
    Io(#[from] io::Error),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error("peers: {0}")]
    Peers(peers::Fault),
}

fn main() -> ExitCode {
    let command = match Cli::try_parse() {
        Ok(cli) => cli.command,
        Err(error) => {
            // Nobody reads help that cannot be written. 2 is what a missed threshold says, and this is none.
            drop(error.print());
            return if error.use_stderr() { ExitCode::FAILURE } else { ExitCode::SUCCESS };
        }
    };
    // On a dashboard there is no room for lines.
    let has_dashboard = matches!(&command, Command::Run(args) if args.has_dashboard());
    let usual = if has_dashboard { "off" } else { "warn" };
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new(usual)),
        )
        .with_writer(io::stderr)
        .init();
    let done = match command {
        Command::Run(args) => on_runtime(play::run(*args)),
        Command::Join(args) => on_runtime(play::join(args)),
        Command::Scenarios(args) => play::scenarios(&args),
        Command::Compare(args) => play::compared(&args),
        Command::Page(args) => play::drawn(&args),
        Command::Connect(args) => on_runtime(hold(*args)),
        Command::Generate => connect::generate().map(|()| 0).map_err(Into::into),
        Command::MatchSim(args) => compare(&args).map(|()| 0),
        Command::Ways(args) => learn(&args).map(|()| 0),
        Command::Forecast(args) => foresee(args).map(|()| 0),
        Command::Mdrp(args) => deliver(&args),
        Command::Pdptw(args) => route(&args),
        Command::City { seed } => say(&City::generate(seed).to_json().to_string()).map(|()| 0),
        Command::Peers(args) => on_runtime(beside_peers(args)),
        Command::Bare { echo } => on_runtime(bare(echo)),
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            // A log line may be filtered; why there was no run may not.
            drop(writeln!(io::stderr(), "loadtest: {error}"));
            let is_interrupted = matches!(error, CliError::Together(NotTogether::Interrupted));
            if is_interrupted { ExitCode::from(INTERRUPTED) } else { ExitCode::FAILURE }
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
        interrupted = tokio::signal::ctrl_c() => interrupted.map(|()| INTERRUPTED).map_err(CliError::Io),
    }
}

async fn bare(is_echo: bool) -> Result<u8, CliError> {
    peers::bare::serve(is_echo).await.map(|()| 0).map_err(CliError::Peers)
}

/// What a process exits with that was interrupted.
const INTERRUPTED: u8 = 130;

/// Cancelled when somebody interrupts, or wants us to end. Whoever does so twice does not wait for a report.
fn interruption() -> CancellationToken {
    let stop = CancellationToken::new();
    let interrupted = stop.clone();
    tokio::spawn(async move {
        if end_wanted().await.is_ok() {
            interrupted.cancel();
            if end_wanted().await.is_ok() {
                std::process::exit(INTERRUPTED.into());
            }
        }
    });
    stop
}

async fn end_wanted() -> io::Result<()> {
    let mut terminated = signal(SignalKind::terminate())?;
    tokio::select! {
        interrupted = tokio::signal::ctrl_c() => interrupted,
        _ = terminated.recv() => Ok(()),
    }
}

async fn hold(args: ConnectArgs) -> Result<u8, CliError> {
    let plan = Plan { pids: args.pids, ..args.sessions.plan(args.at, args.key) };
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
    Ok(match (report.is_interrupted, report.is_sound()) {
        (true, _) => INTERRUPTED,
        (false, true) => 0,
        (false, false) => 3,
    })
}

/// For people, or as JSON on the last line.
fn print(report: &(impl Display + Serialize), is_json: bool) -> Result<(), CliError> {
    if is_json {
        writeln!(io::stderr(), "{report}")?;
        return say(&serde_json::to_string(report)?);
    }
    say(report.to_string().trim_end())
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

fn learn(args: &WaysArgs) -> Result<(), CliError> {
    let report = match_sim::ways::learn(&args.trips, &args.roads, Window::default())?;
    tell(&report, &serde_json::to_string(&report)?, args.json)
}

fn foresee(args: ForecastArgs) -> Result<(), CliError> {
    let ForecastArgs { trips, every, ahead, by, json } = args;
    let report = forecast::replay(&forecast::Options { trips, every, ahead, by })?;
    tell(&report, &serde_json::to_string(&report)?, json)
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
