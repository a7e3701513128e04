//! What the Postgres journal makes of a disk, beside three ways of doing less or doing it worse.
//!
//! ```text
//! cargo bench -p actors --bench journal -- --seconds 60 --preload 10000000 --json
//! ```
//!
//! In one run, on one private server with `synchronous_commit = on`:
//!
//! - `ours`: whole commits through the journal (event, result, effect that is delivered and forgotten,
//!   every third a deadline and a row in lists with another status, one of 24 a snapshot), at 1, 64 and 1,024
//!   entities: deliveries that begin, get a driver and are delivered after 24 commits, when the next one begins;
//! - `transactions`: what they say, a row for each thing, one transaction per commit, as most programs write it;
//! - `pgbench`: about the same rows by Postgres' own load tool with prepared statements, each of another entity,
//!   and nothing in lists;
//! - `bare`: the ceiling: nothing but event rows, by one `INSERT … SELECT FROM unnest` per batch; in turns with
//!   whole commits (`ours_1024_again`).
//!
//! Beside each stands what an fsync took just before, and the CPU that a commit cost the server and this
//! program. Compare ratios within a run, never two runs; only the CPU is about the same on a busy machine.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a program that measures")]

use actors::{
    Commit, Version, ViewRow,
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
use protocol::{CommandId, OrderId, ShardId, Timestamp};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, ConnectOptions, PgPool, postgres::PgPoolOptions};
use std::{
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

/// What a delivery is, from when it is placed.
const STATUSES: [&str; 8] = [
    "searching",
    "assigned",
    "en_route_pickup",
    "at_pickup",
    "picked_up",
    "in_transit",
    "at_dropoff",
    "delivered",
];
/// How many commits it is each of them.
const COMMITS_EACH: u64 = 3;
/// How many commits it has.
const COMMITS: u64 = STATUSES.len() as u64 * COMMITS_EACH;
/// After so many commits a node writes the state down.
const SNAPSHOT_EVERY: u64 = 20;

/// Deliveries in one shard, one after the other.
struct Lives {
    shard: ShardId,
    order: OrderId,
    placed: Timestamp,
    version: u64,
    /// How many commits the one under way has.
    n_commits: u64,
}

impl Lives {
    /// The first is cut short, each by as much else, so that not all begin at once ever after.
    fn of(author: u64) -> Self {
        let shard = ShardId((author % 1024) as u16);
        Self { n_commits: 1 + author % COMMITS, ..Self::begin(shard) }
    }

    fn begin(shard: ShardId) -> Self {
        let command = CommandId::mint();
        let (seconds, nanos) = command.0.get_timestamp().unwrap().to_unix();
        let placed = Timestamp(seconds * 1_000 + u64::from(nanos / 1_000_000));
        let order = OrderId::created_by(Uuid::nil(), command, shard);
        Self { shard, order, placed, version: 0, n_commits: COMMITS }
    }

    fn next_commit(&mut self) -> Commit {
        if self.version == self.n_commits {
            *self = Self::begin(self.shard);
        }
        let commit = commit(self.order, self.placed, self.version);
        self.version += 1;
        commit
    }
}

/// The commit after `version`, with all that commits carry.
fn commit(order: OrderId, placed: Timestamp, version: u64) -> Commit {
    let at = Timestamp(placed.0 + version);
    let nth = version / COMMITS_EACH;
    let moves = version.is_multiple_of(COMMITS_EACH);
    let row = || ViewRow {
        status: STATUSES[nth as usize].to_owned(),
        rider: Some(protocol::RiderId(order.0)),
        driver: (nth > 0).then_some(protocol::DriverId(order.0)),
        at: placed,
        body: json!({ "pickup": "KG 7 Ave", "dropoff": "KN 3 Rd", "fare": 1_500, "note": "x".repeat(120) }),
    };
    let is_over = nth + 1 == STATUSES.len() as u64;
    Commit {
        events: vec![EncodedEvent { name: "position_changed".into(), bytes: vec![5; 120] }],
        result: Some(CommandResult { command: CommandId::mint(), bytes: vec![1; 24] }),
        effects: vec![vec![2; 100]],
        deadline: moves.then_some((!is_over).then_some(at)),
        view: moves.then(row),
        snapshot: (version + 1).is_multiple_of(SNAPSHOT_EVERY).then(|| vec![3; 1_200]),
        ..Commit::new(order.into(), Version(version), at)
    }
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
            "ours_to_transactions": again.per_s() / transactions.per_s(),
            "ours_to_bare": again.per_s() / bare.per_s(),
            "ours_to_bare_by_turn": ratios,
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

    /// `n` entities, each committing as soon as it is answered, or all together `rate` times a second.
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
                    let effect =
                        EffectKey { source: commit.entity, version: commit.version(), index: 0 };
                    journal.commit(commit).await.unwrap();
                    latency.push(began.elapsed().as_micros() as u32);
                    journal.delivered(vec![effect]).await.unwrap();
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
                let mut lives = Lives::of(author);
                while started.elapsed() < lasts {
                    let began = Instant::now();
                    one_transaction(&pool, &lives.next_commit()).await.unwrap();
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
    DROP TABLE IF EXISTS t_events, t_entities, t_results, t_outbox, t_snapshots, t_views;
    CREATE TABLE t_events (id uuid, version int8, at int8, name text, bytes bytea, PRIMARY KEY (id, version));
    CREATE TABLE t_entities (id uuid PRIMARY KEY, version int8, deadline int8);
    CREATE TABLE t_results (id uuid, command uuid, bytes bytea, PRIMARY KEY (id, command));
    CREATE TABLE t_outbox (id uuid, version int8, bytes bytea, PRIMARY KEY (id, version));
    CREATE TABLE t_snapshots (id uuid PRIMARY KEY, version int8, bytes bytea);
    CREATE TABLE t_views (id uuid PRIMARY KEY, status text, rider uuid, driver uuid, at int8, body json);
    CREATE INDEX ON t_views (status, at, id);
    CREATE INDEX ON t_views (rider, at, id);
    CREATE INDEX ON t_views (driver, at, id)";

async fn one_transaction(pool: &PgPool, commit: &Commit) -> sqlx::Result<()> {
    let mut step = pool.begin().await?;
    let (id, version) = (commit.entity.id, commit.expected.0 as i64);
    sqlx::query("SELECT version FROM t_entities WHERE id = $1 FOR UPDATE")
        .bind(id)
        .fetch_optional(&mut *step)
        .await?;
    sqlx::query("INSERT INTO t_events VALUES ($1, $2, $3, $4, $5)")
        .bind(id)
        .bind(version + 1)
        .bind(1_i64)
        .bind(&commit.events[0].name)
        .bind(&commit.events[0].bytes)
        .execute(&mut *step)
        .await?;
    sqlx::query(
        "INSERT INTO t_entities VALUES ($1, $2, $3) ON CONFLICT (id) DO UPDATE SET version = excluded.version,
             deadline = CASE WHEN $4 THEN excluded.deadline ELSE t_entities.deadline END",
    )
    .bind(id)
    .bind(version + 1)
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
    sqlx::query("INSERT INTO t_outbox VALUES ($1, $2, $3)")
        .bind(id)
        .bind(version + 1)
        .bind(&commit.effects[0])
        .execute(&mut *step)
        .await?;
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
        .bind(version + 1)
        .bind(state)
        .execute(&mut *step)
        .await?;
    }
    // As if what the commit before wanted told had been meanwhile; of the last one of a life nobody says so.
    sqlx::query("DELETE FROM t_outbox WHERE id = $1 AND version = $2")
        .bind(id)
        .bind(version)
        .execute(&mut *step)
        .await?;
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
INSERT INTO t_outbox VALUES (md5(:n::text)::uuid, :client_id * 1000000000::int8 + :n, decode(repeat('02', 100), 'hex')) ON CONFLICT DO NOTHING;
DELETE FROM t_outbox WHERE id = md5(:n::text)::uuid AND version = 0;
END;
";
