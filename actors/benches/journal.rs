//! What the Postgres journal makes of a disk, beside three ways of doing less or doing it worse.
//!
//! ```text
//! cargo bench -p actors --bench journal -- --seconds 60 --preload 10000000 --json
//! ```
//!
//! In one run, on one private server with `synchronous_commit = on`:
//!
//! - `ours`: whole commits through the journal, at 1, 64 and 1,024 deliveries under way: what the demo writes of one, from
//!   the wish for it to what is thought of its driver. 23 commits of an order, its rider and five drivers, with 39
//!   events, answers, effects that are delivered and forgotten, deadlines, keys, rows of lists and snapshots ([`LIFE`]);
//! - `transactions`: what they say, a row for each thing, one transaction per commit, as most programs write it;
//! - `pgbench`: about the same rows by Postgres' own load tool with prepared statements, each of another entity,
//!   and nothing in lists;
//! - `bare`: the ceiling: nothing but event rows, by one `INSERT … SELECT FROM unnest` per batch; in turns with
//!   whole commits (`ours_1024_again`). `ours_to_bare` is commits to a bare row, `event_rows_to_bare` the rows of
//!   events that these commits have to a bare row.
//!
//! Beside each stands what an fsync took just before, and the CPU that a commit cost the server and this
//! program. Compare ratios within a run, never two runs; only the CPU is about the same on a busy machine.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a program that measures")]

use actors::{
    Claim, Commit, EntityKey, Version, ViewRow,
    commit::{CommandResult, EncodedEvent},
    journal::{
        EffectKey, Journal,
        postgres::{PostgresJournal, Settings, private::PrivatePostgres},
        pressure::probe_disk,
    },
};
use clap::Parser;
use futures_util::future::join_all;
use hdrhistogram::Histogram;
use protocol::{CommandId, DriverId, OrderId, RiderId, ShardId, Timestamp};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, ConnectOptions, PgPool, postgres::PgPoolOptions};
use std::{
    collections::HashSet,
    env, fs,
    path::{Path, PathBuf},
    process::Command,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::sync::{mpsc, oneshot};
use uuid::Uuid;

/// The node's.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

#[derive(Debug, Parser)]
struct Args {
    /// How long each figure is measured.
    #[arg(long, default_value_t = 10)]
    seconds: u64,
    /// How many events the journal has before the second half of the figures is taken; 0 for none.
    #[arg(long, default_value_t = 0)]
    preload: u64,
    /// More settings of the server, such as `shared_buffers=1GB`.
    #[arg(long = "set", value_name = "NAME=VALUE")]
    settings: Vec<String>,
    /// Measure whole commits only, nothing beside them.
    #[arg(long)]
    only_ours: bool,
    /// How many committers write.
    #[arg(long, default_value_t = 2)]
    committers: usize,
    /// Most commits in a statement.
    #[arg(long, default_value_t = Settings::default().batch_max)]
    batch_max: usize,
    /// In how many turns whole commits and bare rows alternate.
    #[arg(long, default_value_t = 6)]
    turns: u32,
    /// Print one JSON object and nothing else.
    #[arg(long)]
    json: bool,
    /// What cargo says to every bench.
    #[arg(long, hide = true)]
    bench: bool,
}

struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

#[tokio::main]
async fn main() {
    let args = Args::parse();
    let directory =
        Directory(env::temp_dir().join(format!("outrider-bench-{}", std::process::id())));
    let settings: Vec<&str> = args.settings.iter().map(String::as_str).collect();
    let server = PrivatePostgres::start_with(&directory.0, &settings).await.unwrap();
    let probe = directory.0.join("probe");
    fs::create_dir_all(&probe).unwrap();
    let Args { committers, batch_max, only_ours, turns, .. } = args;
    let settings = Settings { committers, batch_max, ..Settings::default() };
    let lasts = Duration::from_secs(args.seconds);
    let bench = Bench { server, probe, lasts, turns: turns.max(1), settings, only_ours };
    let mut figures = vec![("empty".to_owned(), bench.all().await)];
    if args.preload > 0 {
        bench.preload(args.preload).await;
        figures.push((format!("after {} events", args.preload), bench.all().await));
    }
    let report: Value = figures.iter().cloned().collect::<serde_json::Map<_, _>>().into();
    if args.json {
        println!("{report}");
    } else {
        println!("{report:#}");
    }
}

struct Bench {
    server: PrivatePostgres,
    probe: PathBuf,
    lasts: Duration,
    turns: u32,
    settings: Settings,
    only_ours: bool,
}

/// What one way of writing achieved.
struct Figure {
    n: u64,
    elapsed: Duration,
    latency_us: Histogram<u64>,
    fsync_us: f64,
    cpu: Cpu,
}

impl Figure {
    /// Of two turns, taken together.
    fn and(mut self, other: Self) -> Self {
        self.latency_us.add(&other.latency_us).unwrap();
        Self {
            n: self.n + other.n,
            elapsed: self.elapsed + other.elapsed,
            fsync_us: self.fsync_us.max(other.fsync_us),
            cpu: Cpu {
                postgres: self.cpu.postgres + other.cpu.postgres,
                client: self.cpu.client + other.cpu.client,
            },
            ..self
        }
    }

    fn per_s(&self) -> f64 {
        self.n as f64 / self.elapsed.as_secs_f64()
    }

    fn p(&self, quantile: f64) -> f64 {
        self.latency_us.value_at_quantile(quantile) as f64 / 1000.0
    }

    fn us_each(&self, cpu: Duration) -> f64 {
        (cpu.as_secs_f64() * 1e7 / self.n.max(1) as f64).round() / 10.0
    }

    fn json(&self) -> Value {
        json!({
            "per_s": self.per_s().round(), "p50_ms": self.p(0.5), "p99_ms": self.p(0.99),
            "fsync_us": self.fsync_us.round(),
            "cpu_us_per_commit": {
                "postgres": self.us_each(self.cpu.postgres), "client": self.us_each(self.cpu.client),
            },
        })
    }
}

/// CPU time used so far.
#[derive(Debug, Clone, Copy)]
struct Cpu {
    postgres: Duration,
    client: Duration,
}

impl Cpu {
    fn since(self, earlier: Self) -> Self {
        Self {
            postgres: self.postgres.saturating_sub(earlier.postgres),
            client: self.client.saturating_sub(earlier.client),
        }
    }

    /// Of the server in `directory`, with all its processes, and of this one.
    fn used(directory: &Path) -> Self {
        let pid = fs::read_to_string(directory.join("data/postmaster.pid")).unwrap();
        let server: u32 = pid.lines().next().unwrap().trim().parse().unwrap();
        let processes = fs::read_dir("/proc").unwrap().flatten();
        let processes = processes.filter_map(|it| it.file_name().to_str()?.parse::<u32>().ok());
        let stats = processes.filter_map(|pid| Some((pid, Stat::of(pid)?)));
        let mut ticks = 0;
        for (pid, stat) in stats {
            // Those that have ended count with the server itself.
            if pid == server {
                ticks += stat.own + stat.ended;
            } else if stat.parent == server {
                ticks += stat.own;
            }
        }
        let own = Stat::of(std::process::id()).unwrap().own;
        // A hundred a second, on every Linux there is.
        let time = |ticks: u64| Duration::from_millis(ticks * 10);
        Self { postgres: time(ticks), client: time(own) }
    }
}

/// What Linux says of a process: its parent, and the ticks it and its ended children have used.
struct Stat {
    parent: u32,
    own: u64,
    ended: u64,
}

impl Stat {
    fn of(pid: u32) -> Option<Self> {
        let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
        // The name may contain anything; what follows it does not.
        let fields: Vec<&str> = stat.rsplit_once(')')?.1.split_whitespace().collect();
        let ticks = |at: usize| fields.get(at)?.parse::<u64>().ok();
        let (own, ended) = (ticks(11)? + ticks(12)?, ticks(13)? + ticks(14)?);
        Some(Self { parent: fields.get(1)?.parse().ok()?, own, ended })
    }
}

/// Who of those that a delivery concerns a step of it is about.
#[derive(Debug, Clone, Copy)]
enum Who {
    Rider,
    Order,
    /// One of those who are asked at once; the first takes it.
    Driver(usize),
}

/// How many drivers are asked at once.
const N_ASKED: usize = 5;

/// What a commit does to its entity's deadline. A driver on duty always has one: by then it must be heard of.
#[derive(Debug, Clone, Copy)]
enum Due {
    Stays,
    Moves,
    Never,
}

/// What a commit does to the one key of its kind.
#[derive(Debug, Clone, Copy)]
enum Keys {
    None,
    /// That a rider has one ride.
    TakesRide,
    /// A driver's place for a job.
    TakesSlot,
    /// Gives both back.
    Returns,
}

/// A commit, by what it writes.
#[derive(Debug, Clone, Copy)]
struct Step {
    who: Who,
    /// How many bytes each of its events has, and each of its effects.
    events: &'static [usize],
    effects: &'static [usize],
    due: Due,
    /// Its row in lists is another; of an order this is its status.
    row: Option<&'static str>,
    keys: Keys,
}

const fn step(who: Who, events: &'static [usize]) -> Step {
    Step { who, events, effects: &[], due: Due::Stays, row: None, keys: Keys::None }
}

const fn reserved(nth: usize) -> Step {
    Step { due: Due::Moves, ..step(Who::Driver(nth), &[245]) }
}

const fn ended(nth: usize) -> Step {
    Step { due: Due::Moves, ..step(Who::Driver(nth), &[67]) }
}

/// A job from when it is placed, commit by commit, but for what is written when somebody goes to sleep (a snapshot, and no event):
/// as the demo's crowd made 438 of them (600 drivers, five of whom are asked at once, ten times as quick as life), whose journal
/// has as many events to a commit, as many bytes to an event, and as many deadlines and rows of lists.
const LIFE: [Step; 23] = {
    use Who::{Driver, Order, Rider};
    [
        step(Rider, &[61]),
        Step {
            effects: &[96],
            due: Due::Moves,
            row: Some("searching"),
            keys: Keys::TakesRide,
            ..step(Order, &[1_278, 72])
        },
        Step {
            effects: &[409; N_ASKED],
            due: Due::Moves,
            ..step(Order, &[513, 137, 138, 138, 138])
        },
        reserved(0),
        reserved(1),
        reserved(2),
        reserved(3),
        reserved(4),
        Step { effects: &[274], due: Due::Moves, ..step(Driver(0), &[80]) },
        Step {
            effects: &[101; N_ASKED],
            due: Due::Moves,
            row: Some("assigned"),
            keys: Keys::TakesSlot,
            ..step(Order, &[45, 45, 45, 45, 45, 77, 78, 78, 78, 78, 17, 80])
        },
        ended(1),
        ended(2),
        ended(3),
        ended(4),
        Step { due: Due::Moves, ..step(Driver(0), &[40]) },
        Step { row: Some("en_route_pickup"), ..step(Order, &[23]) },
        Step { due: Due::Moves, row: Some("at_pickup"), ..step(Order, &[51]) },
        Step { due: Due::Moves, row: Some("in_transit"), ..step(Order, &[35]) },
        Step {
            effects: &[95, 94],
            due: Due::Never,
            row: Some("delivered"),
            keys: Keys::Returns,
            ..step(Order, &[52])
        },
        step(Driver(0), &[60]),
        step(Rider, &[61]),
        Step { effects: &[99], row: Some("delivered"), ..step(Order, &[36]) },
        Step { row: Some("on_duty"), ..step(Driver(0), &[36]) },
    ]
};
/// After so many events a node writes the state down.
const SNAPSHOT_EVERY: u64 = 20;

/// One of those whom deliveries concern.
#[derive(Debug, Clone, Copy)]
struct Actor {
    key: EntityKey,
    version: u64,
    /// Events since its state was last written down.
    n_unsnapshot: u64,
    snapshot_bytes: usize,
}

impl Actor {
    fn new(key: EntityKey, snapshot_bytes: usize) -> Self {
        Self { key, version: 0, n_unsnapshot: 0, snapshot_bytes }
    }
}

/// Deliveries, one after the other: each a new order of the same rider, of which the same drivers are asked.
struct Lives {
    shard: ShardId,
    rider: Actor,
    order: Actor,
    drivers: [Actor; N_ASKED],
    placed: Timestamp,
    n_commits: usize,
}

impl Lives {
    /// The first is begun somewhere in its middle, each elsewhere: or all would begin at once ever after.
    fn of(author: u64) -> Self {
        let shard = ShardId((author % 1024) as u16);
        let driver = || Actor::new(DriverId(CommandId::mint().0).into(), 860);
        let mut lives = Self {
            shard,
            rider: Actor::new(RiderId(CommandId::mint().0).into(), 27),
            order: Actor::new(
                OrderId::created_by(Uuid::nil(), CommandId::mint(), shard).into(),
                1_939,
            ),
            drivers: std::array::from_fn(|_| driver()),
            placed: Timestamp(0),
            n_commits: author as usize % LIFE.len(),
        };
        lives.begin();
        lives
    }

    fn begin(&mut self) {
        let command = CommandId::mint();
        let (seconds, nanos) = command.0.get_timestamp().unwrap().to_unix();
        self.placed = Timestamp(seconds * 1_000 + u64::from(nanos / 1_000_000));
        let order = OrderId::created_by(Uuid::nil(), command, self.shard);
        self.order = Actor::new(order.into(), self.order.snapshot_bytes);
    }

    fn next_commit(&mut self) -> Commit {
        if self.n_commits == LIFE.len() {
            self.n_commits = 0;
            self.begin();
        }
        let step = LIFE[self.n_commits];
        self.n_commits += 1;
        let at = Timestamp(self.placed.0 + self.n_commits as u64);
        let ride = || Claim(format!("ride/{}", self.rider.key.id));
        let slot = || Claim(format!("driver/{}/slot/0", self.drivers[0].key.id));
        let (claims_taken, claims_released) = match step.keys {
            Keys::None => (Vec::new(), Vec::new()),
            Keys::TakesRide => (vec![ride()], Vec::new()),
            Keys::TakesSlot => (vec![slot()], Vec::new()),
            Keys::Returns => (Vec::new(), vec![ride(), slot()]),
        };
        let view = step.row.map(|status| self.row(step.who, status, at));
        let actor = match step.who {
            Who::Rider => &mut self.rider,
            Who::Order => &mut self.order,
            Who::Driver(nth) => &mut self.drivers[nth],
        };
        actor.n_unsnapshot += step.events.len() as u64;
        let snapshot = (actor.n_unsnapshot >= SNAPSHOT_EVERY).then(|| {
            actor.n_unsnapshot = 0;
            vec![3; actor.snapshot_bytes]
        });
        let event = |n: &usize| EncodedEvent { name: "offer_reserved".into(), bytes: vec![5; *n] };
        let commit = Commit {
            events: step.events.iter().map(event).collect(),
            result: Some(CommandResult { command: CommandId::mint(), bytes: vec![1; 40] }),
            effects: step.effects.iter().map(|n| vec![2; *n]).collect(),
            deadline: match step.due {
                Due::Stays => None,
                Due::Moves => Some(Some(at)),
                Due::Never => Some(None),
            },
            claims_taken,
            claims_released,
            view,
            snapshot,
            ..Commit::new(actor.key, Version(actor.version), at)
        };
        actor.version = commit.version().0;
        commit
    }

    fn row(&self, who: Who, status: &str, at: Timestamp) -> ViewRow {
        let (rider, driver) = (RiderId(self.rider.key.id), DriverId(self.drivers[0].key.id));
        let is_order = matches!(who, Who::Order);
        let place = |lat, lon| json!({ "at": { "lat": lat, "lon": lon }, "label": "KG 7 Ave", "note": "x".repeat(40) });
        let body = if is_order {
            json!({
                "id": self.order.key.to_string(), "kind": "delivery", "status": status, "rider": rider, "driver": driver,
                "pickup": place(-1.95, 30.06), "dropoff": place(-1.93, 30.1),
                "fare": { "amount": 1_500, "currency": "RWF" }, "placed_at": self.placed, "changed_at": at,
            })
        } else {
            json!({ "vehicle": "moto", "blocked": null, "fleet": null, "rating": at.0 % 500 })
        };
        ViewRow {
            status: status.to_owned(),
            rider: is_order.then_some(rider),
            driver: (status != "searching").then_some(driver),
            at: if is_order { self.placed } else { Timestamp(1) },
            body,
        }
    }
}

/// How many events a commit has, all in all.
fn events_per_commit() -> f64 {
    let n_events: usize = LIFE.iter().map(|step| step.events.len()).sum();
    n_events as f64 / LIFE.len() as f64
}

impl Bench {
    async fn all(&self) -> Value {
        let options = self.server.options();
        let journal = PostgresJournal::open(options, "bench", self.settings).await.unwrap();
        let journal: Arc<PostgresJournal> = Arc::new(journal);
        let mut ours = serde_json::Map::new();
        let mut most = 0.0;
        for n in [1, 64, 1_024] {
            let figure = self.ours(&journal, n, None, self.lasts).await;
            most = figure.per_s();
            ours.insert(n.to_string(), figure.json());
        }
        if self.only_ours {
            journal.close().await.unwrap();
            return json!({ "ours": ours });
        }
        let half = self.ours(&journal, 1_024, Some(most / 2.0), self.lasts).await;
        let transactions = self.transactions().await;
        let (again, bare, ratios) = self.in_turns(&journal).await;
        journal.close().await.unwrap();
        let pgbench = self.pgbench();
        json!({
            "ours": ours,
            "ours_1024_again": again.json(),
            "ours_at_half_rate": half.json(),
            "transactions": transactions.json(),
            "pgbench_per_s": pgbench,
            "bare": bare.json(),
            "deliveries_per_s": (again.per_s() / LIFE.len() as f64).round(),
            "ours_to_transactions": again.per_s() / transactions.per_s(),
            "ours_to_bare": again.per_s() / bare.per_s(),
            "ours_to_bare_by_turn": ratios,
            "event_rows_to_bare": again.per_s() * events_per_commit() / bare.per_s(),
        })
    }

    /// Whole commits and bare rows, one after the other, over and over: a machine that is slower for a while is so for both.
    async fn in_turns(&self, journal: &Arc<PostgresJournal>) -> (Figure, Figure, Vec<f64>) {
        let options = self.server.options().disable_statement_logging();
        let pool = PgPool::connect_with(options).await.unwrap();
        sqlx::raw_sql(BARE).execute(&pool).await.unwrap();
        let lasts = self.lasts / self.turns;
        let (mut both, mut ratios): (Option<(Figure, Figure)>, _) = (None, Vec::new());
        for turn in 0..u64::from(self.turns) {
            // Who comes second writes while the disk still has to do with the first.
            let (ours, bare) = if turn % 2 == 0 {
                let ours = self.ours(journal, 1_024, None, lasts).await;
                (ours, self.bare(&pool, turn, 1_024, lasts).await)
            } else {
                let bare = self.bare(&pool, turn, 1_024, lasts).await;
                (self.ours(journal, 1_024, None, lasts).await, bare)
            };
            ratios.push((ours.per_s() / bare.per_s() * 1000.0).round() / 1000.0);
            both = Some(match both.take() {
                Some((all, all_bare)) => (all.and(ours), all_bare.and(bare)),
                None => (ours, bare),
            });
        }
        pool.close().await;
        let (ours, bare) = both.unwrap();
        (ours, bare, ratios)
    }

    fn fsync_us(&self) -> f64 {
        probe_disk(&self.probe, 50).unwrap().p50.as_secs_f64() * 1e6
    }

    fn cpu(&self) -> Cpu {
        Cpu::used(self.probe.parent().unwrap())
    }

    /// `n` deliveries at a time, each committing as soon as it is answered, or all together `rate` times a second.
    async fn ours(
        &self,
        journal: &Arc<PostgresJournal>,
        n: u64,
        rate: Option<f64>,
        lasts: Duration,
    ) -> Figure {
        let fsync_us = self.fsync_us();
        let (cpu, started) = (self.cpu(), Instant::now());
        let pace = rate.map(|rate| Duration::from_secs_f64(n as f64 / rate));
        let writers = (0..n).map(|author| {
            let journal = Arc::clone(journal);
            tokio::spawn(async move {
                let mut lives = Lives::of(author);
                let mut latency = Vec::new();
                let first =
                    pace.map_or(Duration::ZERO, |pace| pace.mul_f64(author as f64 / n as f64));
                let mut due = tokio::time::Instant::now() + first;
                while started.elapsed() < lasts {
                    // At a given rate, time is counted from when it was due, not from when it was sent.
                    let began = match pace {
                        Some(pace) => {
                            tokio::time::sleep_until(due).await;
                            due += pace;
                            due - pace
                        }
                        None => tokio::time::Instant::now(),
                    };
                    let commit = lives.next_commit();
                    let (source, version) = (commit.entity, commit.version());
                    let told = (0..commit.effects.len() as u32).map(|index| EffectKey {
                        source,
                        version,
                        index,
                    });
                    let told: Vec<_> = told.collect();
                    journal.commit(commit).await.unwrap();
                    latency.push(began.elapsed().as_micros() as u32);
                    if !told.is_empty() {
                        journal.delivered(told).await.unwrap();
                    }
                }
                latency
            })
        });
        self.gather(join_all(writers).await, started, fsync_us, cpu)
    }

    fn gather(
        &self,
        latencies: Vec<Result<Vec<u32>, tokio::task::JoinError>>,
        started: Instant,
        fsync_us: f64,
        cpu: Cpu,
    ) -> Figure {
        let (elapsed, cpu) = (started.elapsed(), self.cpu().since(cpu));
        let mut latency_us = Histogram::<u64>::new(3).unwrap();
        // Written down one behind the other and counted only now: a thousand histograms would be most of
        // what this program has in its caches.
        for latency in latencies.into_iter().flat_map(Result::unwrap) {
            latency_us.record(latency.into()).unwrap();
        }
        Figure { n: latency_us.len(), elapsed, latency_us, fsync_us, cpu }
    }

    /// The same rows, a transaction each, from 16 connections.
    async fn transactions(&self) -> Figure {
        let fsync_us = self.fsync_us();
        let pool = PgPoolOptions::new()
            .max_connections(16)
            .connect_with(self.server.options().disable_statement_logging())
            .await
            .unwrap();
        sqlx::raw_sql(TABLES).execute(&pool).await.unwrap();
        let (cpu, started, lasts) = (self.cpu(), Instant::now(), self.lasts);
        let writers = (0..16).map(|author| {
            let pool = pool.clone();
            tokio::spawn(async move {
                let mut latency = Vec::new();
                let (mut lives, mut told) = (Lives::of(author), HashSet::new());
                while started.elapsed() < lasts {
                    let began = Instant::now();
                    let commit = lives.next_commit();
                    let has_told = told.remove(&commit.entity);
                    one_transaction(&pool, &commit, has_told).await.unwrap();
                    if !commit.effects.is_empty() {
                        told.insert(commit.entity);
                    }
                    latency.push(began.elapsed().as_micros() as u32);
                }
                latency
            })
        });
        let figure = self.gather(join_all(writers).await, started, fsync_us, cpu);
        pool.close().await;
        figure
    }

    /// Event rows and nothing else: `n` entities in a closed loop, as many writers as there are committers.
    async fn bare(&self, pool: &PgPool, turn: u64, n: u64, lasts: Duration) -> Figure {
        let fsync_us = self.fsync_us();
        type Row = (Uuid, i64, oneshot::Sender<()>);
        let mut queues = Vec::new();
        let Settings { committers, batch_max, .. } = self.settings;
        for _ in 0..committers {
            let (rows, mut queue) = mpsc::channel::<Row>(4_096);
            queues.push(rows);
            let mut connection = pool.acquire().await.unwrap();
            tokio::spawn(async move {
                let mut batch = Vec::new();
                while queue.recv_many(&mut batch, batch_max).await > 0 {
                    let payload = [5_u8; 120];
                    sqlx::query(
                        "INSERT INTO bare SELECT * FROM unnest($1::uuid[], $2::int8[], $3::int2[], $4::int8[], $5::bytea[])",
                    )
                    .bind(batch.iter().map(|(id, ..)| *id).collect::<Vec<_>>())
                    .bind(batch.iter().map(|(_, version, _)| *version).collect::<Vec<_>>())
                    .bind(vec![1_i16; batch.len()])
                    .bind(vec![1_i64; batch.len()])
                    .bind(vec![payload.as_slice(); batch.len()])
                    .execute(&mut *connection)
                    .await
                    .unwrap();
                    for (.., ack) in batch.drain(..) {
                        ack.send(()).ok();
                    }
                }
            });
        }
        let (cpu, started) = (self.cpu(), Instant::now());
        let writers = (0..n).map(|author| {
            let queue = queues[author as usize % committers].clone();
            tokio::spawn(async move {
                let id = Uuid::from_u128(u128::from(turn) << 64 | u128::from(author));
                let mut latency = Vec::new();
                let mut version = 0;
                while started.elapsed() < lasts {
                    let began = Instant::now();
                    let (ack, done) = oneshot::channel();
                    queue.send((id, version, ack)).await.unwrap();
                    done.await.unwrap();
                    version += 1;
                    latency.push(began.elapsed().as_micros() as u32);
                }
                latency
            })
        });
        self.gather(join_all(writers).await, started, fsync_us, cpu)
    }

    /// None when there is no pgbench.
    fn pgbench(&self) -> Option<f64> {
        let script = self.probe.join("commit.sql");
        fs::write(&script, PGBENCH).unwrap();
        let url = self.server.url();
        let output = Command::new("pgbench")
            .args(["-n", "-M", "prepared", "-c", "16", "-j", "2"])
            .args(["-T", &self.lasts.as_secs().to_string()])
            .arg("-f")
            .arg(Path::new(&script))
            .arg(&url)
            .output()
            .ok()?;
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        let tps = said.lines().find_map(|line| line.strip_prefix("tps = "))?;
        tps.split_whitespace().next()?.parse().ok()
    }

    /// Fills the log of every shard, as long lives would have.
    async fn preload(&self, n: u64) {
        let pool = PgPool::connect_with(self.server.options()).await.unwrap();
        let each = n / 1024;
        for part in 0..16 {
            let sql = format!(
                "WITH n AS (
                     SELECT shard, seq, md5(shard::text || '/' || (seq / 40)::text)::uuid AS id
                     FROM generate_series({}, {}) shard, generate_series(1, {each}) seq
                 ), e AS (
                     INSERT INTO events (shard, seq, kind, id, version, epoch, at, command, name, bytes)
                     SELECT n.shard, h.seq + n.seq, 1, n.id, n.seq % 40 + 1, h.epoch, 1700000000000, n.id,
                         'position_changed', decode(repeat('05', 120), 'hex')
                     FROM n JOIN heads h USING (shard)
                 ), i AS (
                     INSERT INTO entities (id, kind, shard) SELECT id, 1, min(shard) FROM n GROUP BY id
                 )
                 UPDATE heads SET seq = seq + {each}, told = seq + {each} WHERE shard BETWEEN {} AND {}",
                part * 64,
                part * 64 + 63,
                part * 64,
                part * 64 + 63,
            );
            sqlx::raw_sql(AssertSqlSafe(sql)).execute(&pool).await.unwrap();
        }
        sqlx::raw_sql("ANALYZE; CHECKPOINT").execute(&pool).await.unwrap();
        pool.close().await;
    }
}

/// The least a row can cost.
const BARE: &str = "
    DROP TABLE IF EXISTS bare;
    CREATE TABLE bare (id uuid, version int8, kind int2, at int8, bytes bytea, PRIMARY KEY (id, version))";

/// The rows of a commit as a program without group commit keeps them.
const TABLES: &str = "
    DROP TABLE IF EXISTS t_events, t_entities, t_results, t_outbox, t_snapshots, t_views, t_claims;
    CREATE TABLE t_events (id uuid, version int8, at int8, name text, bytes bytea, PRIMARY KEY (id, version));
    CREATE TABLE t_entities (id uuid PRIMARY KEY, version int8, deadline int8);
    CREATE TABLE t_results (id uuid, command uuid, bytes bytea, PRIMARY KEY (id, command));
    CREATE TABLE t_outbox (id uuid, version int8, place int4, bytes bytea, PRIMARY KEY (id, version, place));
    CREATE TABLE t_snapshots (id uuid PRIMARY KEY, version int8, bytes bytea);
    CREATE TABLE t_claims (claim text PRIMARY KEY, id uuid);
    CREATE TABLE t_views (id uuid PRIMARY KEY, status text, rider uuid, driver uuid, at int8, body json);
    CREATE INDEX ON t_views (status, at, id);
    CREATE INDEX ON t_views (rider, at, id);
    CREATE INDEX ON t_views (driver, at, id)";

/// `has_told`: its entity's commit before wanted something told.
async fn one_transaction(pool: &PgPool, commit: &Commit, has_told: bool) -> sqlx::Result<()> {
    let mut step = pool.begin().await?;
    let (id, expected) = (commit.entity.id, commit.expected.0 as i64);
    let version = commit.version().0 as i64;
    sqlx::query("SELECT version FROM t_entities WHERE id = $1 FOR UPDATE")
        .bind(id)
        .fetch_optional(&mut *step)
        .await?;
    for (event, nth) in commit.events.iter().zip(1..) {
        sqlx::query("INSERT INTO t_events VALUES ($1, $2, $3, $4, $5)")
            .bind(id)
            .bind(expected + nth)
            .bind(1_i64)
            .bind(&event.name)
            .bind(&event.bytes)
            .execute(&mut *step)
            .await?;
    }
    sqlx::query(
        "INSERT INTO t_entities VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE SET version = excluded.version,
             deadline = CASE WHEN $4 THEN excluded.deadline ELSE t_entities.deadline END",
    )
    .bind(id)
    .bind(version)
    .bind(commit.deadline.flatten().map(|at| at.0 as i64))
    .bind(commit.deadline.is_some())
    .execute(&mut *step)
    .await?;
    let result = commit.result.as_ref().unwrap();
    sqlx::query("INSERT INTO t_results VALUES ($1, $2, $3)")
        .bind(id)
        .bind(result.command.0)
        .bind(&result.bytes)
        .execute(&mut *step)
        .await?;
    for (effect, place) in commit.effects.iter().zip(0_i32..) {
        sqlx::query("INSERT INTO t_outbox VALUES ($1, $2, $3, $4)")
            .bind(id)
            .bind(version)
            .bind(place)
            .bind(effect)
            .execute(&mut *step)
            .await?;
    }
    for claim in &commit.claims_taken {
        sqlx::query("INSERT INTO t_claims VALUES ($1, $2)")
            .bind(&claim.0)
            .bind(id)
            .execute(&mut *step)
            .await?;
    }
    for claim in &commit.claims_released {
        sqlx::query("DELETE FROM t_claims WHERE claim = $1 AND id = $2")
            .bind(&claim.0)
            .bind(id)
            .execute(&mut *step)
            .await?;
    }
    if let Some(row) = &commit.view {
        sqlx::query(
            "INSERT INTO t_views VALUES ($1, $2, $3, $4, $5, $6::json) ON CONFLICT (id) DO UPDATE
                 SET status = excluded.status, driver = excluded.driver, body = excluded.body",
        )
        .bind(id)
        .bind(&row.status)
        .bind(row.rider.map(|it| it.0))
        .bind(row.driver.map(|it| it.0))
        .bind(row.at.0 as i64)
        .bind(row.body.to_string())
        .execute(&mut *step)
        .await?;
    }
    if let Some(state) = &commit.snapshot {
        sqlx::query(
            "INSERT INTO t_snapshots VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE SET version = $2, bytes = $3",
        )
        .bind(id)
        .bind(version)
        .bind(state)
        .execute(&mut *step)
        .await?;
    }
    // As if that had been told meanwhile; of the last one of a life nobody says so.
    if has_told {
        sqlx::query("DELETE FROM t_outbox WHERE id = $1 AND version = $2")
            .bind(id)
            .bind(expected)
            .execute(&mut *step)
            .await?;
    }
    step.commit().await
}

/// One commit of a random entity, in a transaction.
const PGBENCH: &str = "
\\set n random(1, 1000000000)
BEGIN;
SELECT version FROM t_entities WHERE id = md5(:n::text)::uuid FOR UPDATE;
INSERT INTO t_events VALUES (md5(:n::text)::uuid, :client_id * 1000000000::int8 + :n, 1, 'position_changed', decode(repeat('05', 120), 'hex')) ON CONFLICT DO NOTHING;
INSERT INTO t_entities VALUES (md5(:n::text)::uuid, 1, 1) ON CONFLICT (id) DO UPDATE SET version = excluded.version;
INSERT INTO t_results VALUES (md5(:n::text)::uuid, gen_random_uuid(), decode(repeat('01', 24), 'hex'));
INSERT INTO t_outbox VALUES (md5(:n::text)::uuid, :client_id * 1000000000::int8 + :n, 0, decode(repeat('02', 100), 'hex')) ON CONFLICT DO NOTHING;
DELETE FROM t_outbox WHERE id = md5(:n::text)::uuid AND version = 0;
END;
";
