//! A live city on one command: a node, a city, and the crowd that drives through it.

use crate::{
    auth::Keys,
    cli::CliError,
    gateway::{ASKS, Extra, Sent, served},
    node::{Node, now},
    resident,
    settings::Settings,
    telemetry,
};
use axum::{Json, Router, http::header, routing::get};
use clap::Args;
use loadtest::{
    CancellationToken, City, Demand, Options, Progress, Report, Streets, Target,
    city::Day,
    trips::{Mix, TimeOfDay, Window},
};
use protocol::{Principal, work::OfferPolicy};
use serde_json::json;
use std::{
    fs,
    io::{self, IsTerminal, Write},
    path::PathBuf,
    sync::Arc,
    time::Duration,
};
use tokio::signal::unix::{SignalKind, signal};

/// How long the crowd's tokens are good for.
const TOKEN_TTL: Duration = Duration::from_secs(12 * 3_600);
/// How long a demo without `--for` runs, for its trips are invented in advance.
const LASTING_MAX: Duration = Duration::from_secs(12 * 3_600);

/// What the city should be like.
#[derive(Debug, Args)]
pub(crate) struct DemoArgs {
    /// How many drivers.
    #[arg(long, default_value_t = 300)]
    drivers: usize,
    /// How much quicker than life: 10x makes an hour six minutes.
    #[arg(long, default_value = "4x", value_parser = speed)]
    speed: f64,
    /// How long riders ask, such as 60s; until interrupted, if absent (at most 12 h).
    #[arg(long = "for", value_parser = humantime::parse_duration)]
    lasting: Option<Duration>,
    /// How long running trips may then take to end.
    #[arg(long, default_value = "60s", value_parser = humantime::parse_duration)]
    drain: Duration,
    /// A table of real trips to replay (see ../shared/data), instead of invented ones.
    #[arg(long, value_name = "FILE")]
    trips: Option<PathBuf>,
    /// Trips of that table from this time of day on.
    #[arg(long, requires = "trips", value_name = "HH:MM")]
    from: Option<TimeOfDay>,
    /// This share of them, 0 to 1.
    #[arg(long, requires = "trips", default_value_t = 1.0)]
    sample: f64,
    /// A folder of road tables to drive on, instead of the invented city.
    #[arg(long, value_name = "DIR")]
    roads: Option<PathBuf>,
    /// Invented trips per driver and city hour.
    #[arg(long, default_value_t = 2.5)]
    trips_per_driver: f64,
    /// Share of trips that are deliveries.
    #[arg(long, default_value_t = 0.25)]
    deliveries: f64,
    /// Share of trips that are rescues.
    #[arg(long, default_value_t = 0.05)]
    rescues: f64,
    /// Find drivers this way, whatever the preset says.
    #[arg(long)]
    policy: Option<OfferPolicy>,
    /// The same seed: the same city, trips and dice.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Print one JSON object as the last line.
    #[arg(long)]
    json: bool,
}

/// Text such as `10x`.
fn speed(text: &str) -> Result<f64, String> {
    text.trim_end_matches('x')
        .parse()
        .ok()
        .filter(|speed| (0.1..=100.0).contains(speed))
        .ok_or_else(|| "a number from 0.1 to 100, such as 10x".to_owned())
}

/// Node up, crowd out, crowd home, node down. Returns what the crowd found.
pub(crate) async fn run(mut settings: Settings, args: DemoArgs) -> Result<Report, CliError> {
    if !settings.gateway.listen.ip().is_loopback() {
        return Err(CliError::DemoInPublic(settings.gateway.listen));
    }
    settings.simulation.speed = args.speed as f32;
    settings.simulation.policy = args.policy;
    settings.journal.dir.push("demo");
    // A demo begins with an empty city; the directory is its own.
    if settings.journal.dir.exists() {
        fs::remove_dir_all(&settings.journal.dir)?;
    }
    let metrics = telemetry::start(&settings.telemetry)?;
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);

    let city = Arc::new(match &args.roads {
        Some(folder) => {
            let hour = args.from.map_or(9, |from| (from.0 / 3_600) as u8);
            City::load(folder, Day::Weekday, hour).map_err(loadtest::PrepareError::from)?
        }
        None => City::generate(args.seed),
    });
    let keys = Arc::new(Keys::open(&settings.auth, settings.profile, &settings.journal.dir)?);
    let node = Node::start(settings, metrics, extra(&city, &keys)).await?;
    let address = node.address();
    say(&format!("\n  Outrider is at http://{address}/\n"))?;

    let stop = CancellationToken::new();
    let leaving = stop.clone();
    let listening = tokio::spawn(async move {
        tokio::select! {
            _ = terminate.recv() => {}
            _ = interrupt.recv() => {}
        }
        leaving.cancel();
    });
    let minting = Arc::clone(&keys);
    let token = move |principal: Principal| {
        // A refused token shows at once, as a violation of the very first client.
        minting.mint(principal, TOKEN_TTL, now()).unwrap_or_default()
    };
    let target = Target::new(&format!("ws://{address}/v1/ws"), token)?;
    let report = loadtest::run(options(&args, &city), target, stop, show).await;
    listening.abort();
    let rss_bytes = resident::bytes();
    say("")?;
    node.drain().await;

    let report = Report {
        rss_bytes: report.as_ref().map_or(0, |it| it.rss_bytes).max(rss_bytes),
        ..report?
    };
    say(&report.to_string())?;
    if args.json {
        say(&serde_json::to_string(&report)?)?;
    }
    Ok(report)
}

fn options(args: &DemoArgs, city: &Arc<City>) -> Options {
    let demand = match &args.trips {
        Some(path) => Demand::File {
            path: path.clone(),
            window: Window { from: args.from, until: None, sample: args.sample },
        },
        None => Demand::Invented { per_driver_hour: args.trips_per_driver },
    };
    Options {
        seed: args.seed,
        drivers: args.drivers,
        speed: args.speed,
        lasting: args.lasting.unwrap_or(LASTING_MAX),
        drain: args.drain,
        streets: Streets::Given(Arc::clone(city)),
        demand,
        mix: Mix { deliveries: args.deliveries, rescues: args.rescues, ..Mix::default() },
        riders_max: riders_max(args.drivers),
        pids: vec![std::process::id()],
        ..Options::default()
    }
}

/// How many riders can be connected beside the drivers: each end of a socket is an open file, both
/// ends are in this process, and the journal and the console need some too.
fn riders_max(drivers: usize) -> usize {
    const OTHERS: usize = 500;
    (open_files_max().saturating_sub(OTHERS) / 2).saturating_sub(drivers)
}

/// How many files this process may open, as Linux says.
fn open_files_max() -> usize {
    const USUAL: usize = 20_000;
    let limits = fs::read_to_string("/proc/self/limits").unwrap_or_default();
    limits
        .lines()
        .find_map(|line| {
            line.strip_prefix("Max open files")?.split_whitespace().next()?.parse().ok()
        })
        .unwrap_or(USUAL)
}

/// What the console needs of a demo: the city to draw, and a token to look at it with.
fn extra(city: &City, keys: &Arc<Keys>) -> Extra {
    let drawn = Sent {
        kind: "application/json",
        content: city.to_json().to_string().into(),
        keeping: ASKS,
        next: None,
    };
    let keys = Arc::clone(keys);
    let token = get(move || async move {
        let token = keys.mint(Principal::Dispatcher, TOKEN_TTL, now());
        let given = Json(json!({ "token": token.unwrap_or_default() }));
        ([(header::CACHE_CONTROL, "no-store")], given)
    });
    let routes = Router::new().route("/city.json", served(drawn)).route("/demo/token", token);
    Extra { routes, early: &["/city.json", "/demo/token"] }
}

/// One line that renews itself on a terminal, one every ten seconds elsewhere.
fn show(progress: &Progress) {
    let mut out = io::stdout().lock();
    // Whoever closed the output does not want to know.
    drop(if out.is_terminal() {
        write!(out, "\r\x1b[2K{progress}").and_then(|()| out.flush())
    } else if (progress.after_s as u64).is_multiple_of(10) {
        writeln!(out, "{progress}")
    } else {
        Ok(())
    });
}

fn say(line: &str) -> io::Result<()> {
    writeln!(io::stdout().lock(), "{line}")
}
