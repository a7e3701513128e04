//! What this machine makes of Outrider: `outrider bench`, for people and, with `--json`, programs.
//!
//! Machines are noisy, so every figure is the median of several rounds, and every durable figure
//! stands beside a probe of the disk taken in the same round: compare the ratio, not the number.
//! Matching is measured by `cargo bench -p matching`.

mod canned;
mod positions;

use crate::{
    resident,
    settings::{Profile, Settings as NodeSettings},
    telemetry,
};
use actors::{
    Context, Decider, Format, Version,
    driver::{self, Driver},
    journal::{
        Journal, SharedJournal, Stored, memory::MemoryJournal, pressure::probe_disk,
        sqlite::SqliteJournal,
    },
    policy::DriverPolicy,
    region,
    rider::{self, Rider},
    runtime::{Ask, Clock, Settings, System},
};
use canned::CannedJournal;
use clap::Args;
use positions::Ingest;
use protocol::{
    CommandId, DriverId, JobId, OrderId, Principal, RiderId, Timestamp,
    view::WorkKind,
    work::{DutyWish, Vehicle, VehicleKind},
};
use serde::Serialize;
use std::{
    error::Error,
    fs,
    hint::black_box,
    net::SocketAddr,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

/// How many drivers share the cores with the gateway they send their positions to.
const N_SOCKETS: u64 = 256;

/// What to measure.
#[derive(Debug, Args)]
pub(crate) struct BenchArgs {
    /// Print one JSON object and nothing else.
    #[arg(long)]
    json: bool,
    /// How many entities to wake for the memory figure.
    #[arg(long, default_value_t = 100_000)]
    entities: u64,
    /// How many rounds each figure is the median of.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// Where to put the journal that is measured; a directory that is emptied afterwards.
    #[arg(long, default_value = "data/bench")]
    dir: PathBuf,
}

/// What was measured. Rates are per second, all figures medians.
#[derive(Debug, Serialize)]
struct Figures {
    /// Resident bytes per awake driver on duty, its state and its actor included. Target: 8,192.
    idle_entity_bytes: u64,
    /// How many entities that was measured on.
    idle_entities: u64,
    /// One entity asking as fast as it is answered.
    commits_per_s_1: f64,
    /// 256 entities doing so at once.
    commits_per_s_256: f64,
    /// What one small append and fdatasync took in the same rounds, in microseconds.
    fsync_us: f64,
    /// `commits_per_s_1` times the fsync time: 1 is one commit per fsync.
    commits_per_fsync_1: f64,
    /// The same for 256.
    commits_per_fsync_256: f64,
    /// Deciding and evolving one duty change of a driver, in nanoseconds.
    decide_evolve_ns: f64,
    /// Answered commands on a journal in memory, 64 callers on 64 entities.
    asks_per_s: f64,
    /// One caller, one entity.
    asks_per_s_1: f64,
    /// Positions that reached a region through driver actors.
    positions_per_s: f64,
    /// Positions that reached a region from clients' sockets through sessions and driver actors.
    /// The clients are on the same cores.
    positions_per_s_socket: f64,
    /// Which share of the positions that clients sent did: the rest came faster than their driver
    /// could take them in.
    positions_share_socket: f64,
}

/// What keeps a figure from being taken. May cross threads.
type Fault = Box<dyn Error + Send + Sync>;

/// Measures, and prints.
pub(crate) async fn run(settings: NodeSettings, args: BenchArgs) -> Result<(), Fault> {
    let (idle_entity_bytes, idle_entities) = idle_memory(args.entities).await?;
    let (mut one, mut many, mut fsync) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..args.rounds {
        fsync.push(probe_disk(&fresh(&args.dir)?, 50)?.p50.as_secs_f64());
        one.push(durable(&args.dir, 1).await?);
        many.push(durable(&args.dir, 256).await?);
    }
    let (fsync, one, many) = (median(fsync), median(one), median(many));
    let decide_evolve_ns = median((0..args.rounds).map(|_| decide_evolve()).collect());
    let asks_per_s = rounds(args.rounds, || asks(64)).await?;
    let asks_per_s_1 = rounds(args.rounds, || asks(1)).await?;
    let (positions_per_s, _) = ingests(args.rounds, positions::in_process).await?;
    // From here on everything is counted, as it is in a node.
    let settings = open_wide(settings, fresh(&args.dir)?);
    let metrics = telemetry::start(&settings.telemetry)?;
    let (positions_per_s_socket, positions_share_socket) =
        ingests(args.rounds, || positions::over_sockets(&settings, &metrics, N_SOCKETS)).await?;
    fs::remove_dir_all(&args.dir)?;
    let figures = Figures {
        idle_entity_bytes,
        idle_entities,
        commits_per_s_1: one,
        commits_per_s_256: many,
        fsync_us: fsync * 1e6,
        commits_per_fsync_1: one * fsync,
        commits_per_fsync_256: many * fsync,
        decide_evolve_ns,
        asks_per_s,
        asks_per_s_1,
        positions_per_s,
        positions_per_s_socket,
        positions_share_socket,
    };
    print(&figures, args.json)
}

#[expect(clippy::print_stdout, reason = "the report is this command's output")]
fn print(figures: &Figures, is_json: bool) -> Result<(), Fault> {
    if is_json {
        println!("{}", serde_json::to_string(figures)?);
        return Ok(());
    }
    let serde_json::Value::Object(rows) = serde_json::to_value(figures)? else { return Ok(()) };
    for (name, value) in rows {
        println!("{name:<24} {value:>16.2}", value = value.as_f64().unwrap_or_default());
    }
    Ok(())
}

async fn rounds<F>(n: usize, mut measure: impl FnMut() -> F) -> Result<f64, Fault>
where
    F: Future<Output = Result<f64, Fault>>,
{
    let mut figures = Vec::with_capacity(n);
    for _ in 0..n {
        figures.push(measure().await?);
    }
    Ok(median(figures))
}

/// Medians of the rate and of the share that arrived.
async fn ingests<F>(n: usize, mut measure: impl FnMut() -> F) -> Result<(f64, f64), Fault>
where
    F: Future<Output = Result<Ingest, Fault>>,
{
    let (mut rates, mut shares) = (Vec::with_capacity(n), Vec::with_capacity(n));
    for _ in 0..n {
        let Ingest { per_s, share } = measure().await?;
        rates.push(per_s);
        shares.push(share);
    }
    Ok((median(rates), median(shares)))
}

/// A gateway for the loopback that lets clients talk as fast as they can.
fn open_wide(mut settings: NodeSettings, dir: PathBuf) -> NodeSettings {
    const PER_S: u32 = 1_000_000;
    settings.profile = Profile::Development;
    settings.auth.key_file = PathBuf::new();
    settings.journal.dir = dir;
    "warn".clone_into(&mut settings.telemetry.filter);
    settings.gateway.listen = SocketAddr::from(([127, 0, 0, 1], 0));
    let session = &mut settings.gateway.session;
    (session.frames_per_s, session.frames_burst) = (PER_S, PER_S);
    settings
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}

fn fresh(dir: &PathBuf) -> Result<PathBuf, Fault> {
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    fs::create_dir_all(dir)?;
    Ok(dir.clone())
}

async fn system(journal: SharedJournal) -> Result<System, Fault> {
    let settings = region::Settings::default();
    Ok(System::start(journal, Clock::Machine, Settings::default(), settings).await?)
}

/// Wakes `n` drivers on duty, whose past a canned journal holds once, and weighs the process.
async fn idle_memory(n: u64) -> Result<(u64, u64), Fault> {
    let driver = on_duty(DriverId::nth(0), Timestamp(1))?;
    let snapshot = Some((Version(1), rmp_serde::to_vec_named(&driver)?));
    let journal = CannedJournal(Stored { snapshot, ..Stored::default() });
    let system = system(Arc::new(journal)).await?;
    let before = resident::bytes();
    for k in 0..n {
        system.read::<Driver>(DriverId::nth(k)).await?;
    }
    let bytes = resident::bytes().saturating_sub(before) / n.max(1);
    system.drain(Duration::from_secs(60)).await;
    Ok((bytes, n))
}

fn on_duty(id: DriverId, now: Timestamp) -> Result<Driver, Fault> {
    let mut driver = Driver::default();
    let context = Context { id, by: Principal::Driver(id), now, writes: Format::WRITES };
    for event in driver.decide(&duty(DutyWish::On), &context)? {
        driver.evolve(&event);
    }
    Ok(driver)
}

fn duty(duty: DutyWish) -> driver::Command {
    let vehicle = Vehicle { kind: VehicleKind::Moto, capacity_g: 50_000, skills: Vec::new() };
    driver::Command::SetDuty { duty, vehicle: Some(vehicle), policy: DriverPolicy::default() }
}

/// Durable commands per second of `n` riders, each asking as fast as it is answered.
async fn durable(dir: &PathBuf, n: u64) -> Result<f64, Fault> {
    let journal = SqliteJournal::open(&fresh(dir)?).await?;
    let rate = closed_loop(Arc::new(journal.clone()), n, Duration::from_secs(2)).await?;
    journal.close().await?;
    Ok(rate)
}

/// Commands per second of `n` callers on a journal in memory.
async fn asks(n: u64) -> Result<f64, Fault> {
    closed_loop(Arc::new(MemoryJournal::default()), n, Duration::from_secs(1)).await
}

async fn closed_loop(journal: SharedJournal, n: u64, lasts: Duration) -> Result<f64, Fault> {
    let system = system(journal).await?;
    let started = Instant::now();
    let callers = (0..n).map(|caller| {
        let system = system.clone();
        tokio::spawn(async move {
            let rider = RiderId::nth(caller);
            let mut n_answered = 0_u64;
            while started.elapsed() < lasts {
                let job = JobId::Order(OrderId::nth(n_answered / 2));
                let command = if n_answered.is_multiple_of(2) {
                    rider::Command::OpenJob { job, work: WorkKind::Delivery }
                } else {
                    rider::Command::CloseJob { job }
                };
                let ask = Ask { command, by: Principal::System, id: CommandId::mint() };
                system.ask::<Rider>(rider, ask, Duration::from_secs(10)).await?;
                n_answered += 1;
            }
            Ok::<u64, actors::Refusal>(n_answered)
        })
    });
    let mut total = 0;
    for answered in futures_util::future::join_all(callers).await {
        total += answered??;
    }
    let rate = total as f64 / started.elapsed().as_secs_f64();
    system.drain(Duration::from_secs(30)).await;
    Ok(rate)
}

/// Nanoseconds to decide and evolve one change.
fn decide_evolve() -> f64 {
    const N: u32 = 200_000;
    let id = DriverId::nth(1);
    let mut driver = Driver::default();
    let started = Instant::now();
    for n in 0..N {
        let wish = if n.is_multiple_of(2) { DutyWish::On } else { DutyWish::Off };
        let (by, now) = (Principal::Driver(id), Timestamp(u64::from(n) + 1));
        let context = Context { id, by, now, writes: Format::WRITES };
        for event in driver.decide(black_box(&duty(wish)), &context).unwrap_or_default() {
            driver.evolve(&event);
        }
    }
    black_box(&driver);
    started.elapsed().as_nanos() as f64 / f64::from(N)
}
