//! What this machine makes of Outrider: `outrider bench`, for people and, with `--json`, programs.
//!
//! Machines are noisy, so every figure is the median of several rounds, and every durable figure
//! stands beside a probe of the disk taken in the same round: compare the ratio, not the number.
//! Matching is measured by `cargo bench -p actors`.

mod canned;

use crate::resident;
use actors::{
    Context, Decider, Version,
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
use protocol::{
    CommandId, DriverId, JobId, OrderId, Point, Principal, RiderId, Timestamp,
    view::{Position, WorkKind},
    work::{DutyWish, Vehicle, VehicleKind},
};
use serde::Serialize;
use std::{
    error::Error,
    fs,
    hint::black_box,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

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
    /// Positions taken in by drivers on duty and passed on to their region.
    positions_per_s: f64,
}

/// Measures, and prints.
pub(crate) async fn run(args: BenchArgs) -> Result<(), Box<dyn Error>> {
    let (idle_entity_bytes, idle_entities) = idle_memory(args.entities).await?;
    let (mut one, mut many, mut fsync) = (Vec::new(), Vec::new(), Vec::new());
    for _ in 0..args.rounds {
        fsync.push(probe_disk(&fresh(&args.dir)?, 50)?.p50.as_secs_f64());
        one.push(durable(&args.dir, 1).await?);
        many.push(durable(&args.dir, 256).await?);
    }
    fs::remove_dir_all(&args.dir)?;
    let (fsync, one, many) = (median(fsync), median(one), median(many));
    let figures = Figures {
        idle_entity_bytes,
        idle_entities,
        commits_per_s_1: one,
        commits_per_s_256: many,
        fsync_us: fsync * 1e6,
        commits_per_fsync_1: one * fsync,
        commits_per_fsync_256: many * fsync,
        decide_evolve_ns: median((0..args.rounds).map(|_| decide_evolve()).collect()),
        asks_per_s: rounds(args.rounds, || asks(64)).await?,
        asks_per_s_1: rounds(args.rounds, || asks(1)).await?,
        positions_per_s: rounds(args.rounds, positions).await?,
    };
    print(&figures, args.json)
}

#[expect(clippy::print_stdout, reason = "the report is this command's output")]
fn print(figures: &Figures, is_json: bool) -> Result<(), Box<dyn Error>> {
    if is_json {
        println!("{}", serde_json::to_string(figures)?);
        return Ok(());
    }
    let serde_json::Value::Object(rows) = serde_json::to_value(figures)? else { return Ok(()) };
    for (name, value) in rows {
        println!("{name:<24} {value:>16.1}", value = value.as_f64().unwrap_or_default());
    }
    Ok(())
}

async fn rounds<F>(n: usize, mut measure: impl FnMut() -> F) -> Result<f64, Box<dyn Error>>
where
    F: Future<Output = Result<f64, Box<dyn Error>>>,
{
    let mut figures = Vec::with_capacity(n);
    for _ in 0..n {
        figures.push(measure().await?);
    }
    Ok(median(figures))
}

fn median(mut figures: Vec<f64>) -> f64 {
    figures.sort_by(f64::total_cmp);
    figures.get(figures.len() / 2).copied().unwrap_or_default()
}

fn fresh(dir: &PathBuf) -> Result<PathBuf, Box<dyn Error>> {
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    fs::create_dir_all(dir)?;
    Ok(dir.clone())
}

async fn system(journal: SharedJournal) -> Result<System, Box<dyn Error>> {
    let settings = region::Settings::default();
    Ok(System::start(journal, Clock::Machine, Settings::default(), settings).await?)
}

/// Wakes `n` drivers on duty, whose past a canned journal holds once, and weighs the process.
async fn idle_memory(n: u64) -> Result<(u64, u64), Box<dyn Error>> {
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

fn on_duty(id: DriverId, now: Timestamp) -> Result<Driver, Box<dyn Error>> {
    let mut driver = Driver::default();
    let context = Context { id, by: Principal::Driver(id), now };
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
async fn durable(dir: &PathBuf, n: u64) -> Result<f64, Box<dyn Error>> {
    let journal = SqliteJournal::open(&fresh(dir)?).await?;
    let rate = closed_loop(Arc::new(journal.clone()), n, Duration::from_secs(2)).await?;
    journal.close().await?;
    Ok(rate)
}

/// Commands per second of `n` callers on a journal in memory.
async fn asks(n: u64) -> Result<f64, Box<dyn Error>> {
    closed_loop(Arc::new(MemoryJournal::default()), n, Duration::from_secs(1)).await
}

async fn closed_loop(
    journal: SharedJournal,
    n: u64,
    lasts: Duration,
) -> Result<f64, Box<dyn Error>> {
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
        let context = Context { id, by: Principal::Driver(id), now: Timestamp(u64::from(n) + 1) };
        for event in driver.decide(black_box(&duty(wish)), &context).unwrap_or_default() {
            driver.evolve(&event);
        }
    }
    black_box(&driver);
    started.elapsed().as_nanos() as f64 / f64::from(N)
}

/// Positions per second that 1,000 drivers on duty take in and pass on.
async fn positions() -> Result<f64, Box<dyn Error>> {
    const N: u64 = 1_000;
    const EACH: u64 = 200;
    let system = system(Arc::new(MemoryJournal::default())).await?;
    let start = system.now();
    for n in 0..N {
        let id = DriverId::nth(n);
        let ask =
            Ask { command: duty(DutyWish::On), by: Principal::Driver(id), id: CommandId::mint() };
        system.ask::<Driver>(id, ask, Duration::from_secs(10)).await?;
    }
    let centre = Point { lat: -1.9441, lon: 30.0619 };
    let started = Instant::now();
    for step in 0..EACH {
        let sent = (0..N).map(|n| {
            let at = centre.offset_m(n as f64 * 5.0, step as f64 * 20.0);
            let position = Position {
                at,
                sampled_at: start + Duration::from_secs(step + 1),
                heading_deg: None,
                speed_mps: None,
                accuracy_m: Some(5.0),
            };
            system.see_and_tell::<Driver>(DriverId::nth(n), driver::Sighting::At(position))
        });
        futures_util::future::join_all(sent).await;
    }
    let rate = (N * EACH) as f64 / started.elapsed().as_secs_f64();
    system.drain(Duration::from_secs(30)).await;
    Ok(rate)
}
