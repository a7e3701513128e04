//! The crowd on the command line.

mod peers;

use clap::{Args, Parser, Subcommand};
use indicatif::{ProgressBar, ProgressStyle};
use loadtest::{
    CancellationToken, City, Demand, Habits, NoTarget, NoToken, Options, PrepareError, Progress,
    Streets, Target, run, token,
    trips::{Mix, TimeOfDay, Window},
};
use peers::PeersArgs;
use std::{
    io::{self, IsTerminal, Write},
    path::PathBuf,
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
    Io(#[from] io::Error),
    #[error(transparent)]
    Json(#[from] serde_json::Error),
    #[error("peers: {0}")]
    Peers(peers::Fault),
}

#[tokio::main]
async fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_env_filter(
            tracing_subscriber::EnvFilter::try_from_default_env()
                .unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn")),
        )
        .with_writer(io::stderr)
        .init();
    let done = match Cli::parse().command {
        Command::Run(args) => go(*args).await,
        Command::City { seed } => say(&City::generate(seed).to_json().to_string()).map(|()| 0),
        Command::Peers(args) => compare(args).await,
        Command::Bare { echo } => {
            peers::bare::serve(echo).await.map(|()| 0).map_err(CliError::Peers)
        }
    };
    match done {
        Ok(code) => ExitCode::from(code),
        Err(error) => {
            tracing::error!(%error, "the crowd stays at home");
            ExitCode::FAILURE
        }
    }
}

/// Compares; what was started ends with this, also when it is interrupted.
async fn compare(args: PeersArgs) -> Result<u8, CliError> {
    tokio::select! {
        report = peers::run(args) => say(&report.map_err(CliError::Peers)?).map(|()| 0),
        interrupted = tokio::signal::ctrl_c() => interrupted.map(|()| 130).map_err(CliError::Io),
    }
}

async fn go(args: RunArgs) -> Result<u8, CliError> {
    let target = match &args.tokens_from {
        Some(url) => Target::new(&args.url, token::Endpoint::new(url.clone()))?,
        None => Target::new(&args.url, token::DevelopmentKey::read(&args.dev_key)?)?,
    };
    let is_json = args.json;
    let stop = CancellationToken::new();
    let interrupted = stop.clone();
    tokio::spawn(async move {
        if tokio::signal::ctrl_c().await.is_ok() {
            interrupted.cancel();
        }
    });
    let show = Show::new();
    let report = run(options(args), target, stop, |progress| show.progress(progress)).await?;
    show.end();
    if is_json {
        writeln!(io::stderr(), "{report}")?;
        say(&serde_json::to_string(&report)?)?;
    } else {
        say(&report.to_string())?;
    }
    Ok(report.exit_code())
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

    fn progress(&self, progress: &Progress) {
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
