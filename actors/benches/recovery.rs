//! How long a cold node takes until it writes again, with a city's worth of life in its journal.
//!
//! ```text
//! cargo bench -p actors --bench recovery
//! ```
//!
//! A private Postgres gets live orders, whose searches end within half an hour, and other entities with
//! a deadline some day; it is stopped and started, and a node opens it. Prints one JSON object. Target:
//! the first write within 10 s with 100,000 orders and 1,000,000 deadlines.
#![expect(clippy::print_stdout, clippy::unwrap_used, reason = "a program that measures")]

use actors::{
    Context, Decider, EntityKey, Format,
    journal::{
        Journal, SharedJournal,
        postgres::{
            PostgresJournal, Settings,
            private::{PrivatePostgres, Stop},
        },
        pressure::probe_disk,
    },
    order::{self, Order, Placement},
    region,
    rider::{self, Rider},
    runtime::{self, Ask, Clock, System},
};
use clap::Parser;
use protocol::{CommandId, JobId, OrderId, Point, Principal, RiderId, ShardId, view::WorkKind};
use serde_json::json;
use sqlx::PgPool;
use std::{
    env, fs,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};
use uuid::Uuid;

#[derive(Debug, Parser)]
struct Args {
    /// Live orders.
    #[arg(long, default_value_t = 100_000)]
    orders: u64,
    /// Deadlines in all.
    #[arg(long, default_value_t = 1_000_000)]
    deadlines: u64,
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

const PICKUP: Point = Point { lat: -1.9441, lon: 30.0619 };

#[tokio::main]
async fn main() {
    let args = Args::parse();
    let name = format!("outrider-recovery-{}", std::process::id());
    let directory = Directory(env::temp_dir().join(name));
    let server = PrivatePostgres::start(&directory.0).await.unwrap();
    fill(&server, &args).await;
    server.stop(Stop::Fast).await.unwrap();
    server.start_again().await.unwrap();
    let fsync_us = probe_disk(&directory.0, 50).unwrap().p50.as_secs_f64() * 1e6;

    let began = Instant::now();
    let settings = Settings::default();
    let journal = PostgresJournal::open(server.options(), "bench", settings).await.unwrap();
    let journal: SharedJournal = Arc::new(journal);
    let opened = began.elapsed();
    let system = System::start(
        Arc::clone(&journal),
        Clock::Machine,
        runtime::Settings::default(),
        region::Settings::default(),
    )
    .await
    .unwrap();
    let started = began.elapsed();
    let command =
        rider::Command::OpenJob { job: JobId::Order(OrderId::nth(1)), work: WorkKind::Ride };
    let ask = Ask { command, by: Principal::System, id: CommandId::mint() };
    system.ask::<Rider>(RiderId::nth(1), ask, Duration::from_secs(60)).await.unwrap();
    let first_write = began.elapsed();
    let ms = |elapsed: Duration| elapsed.as_secs_f64() * 1e3;
    println!(
        "{}",
        json!({
            "orders": args.orders, "deadlines": args.deadlines, "fsync_us": fsync_us.round(),
            "opened_ms": ms(opened), "started_ms": ms(started), "first_write_ms": ms(first_write),
            "awake_then": system.n_awake(),
        })
    );
    system.drain(Duration::from_secs(60)).await;
    journal.close().await.unwrap();
}

/// Orders that search, and entities that wait.
async fn fill(server: &PrivatePostgres, args: &Args) {
    let journal =
        PostgresJournal::open(server.options(), "bench", Settings::default()).await.unwrap();
    journal.close().await.unwrap();
    let now = Clock::Machine.now();
    let pool = PgPool::connect_with(server.options()).await.unwrap();
    for from in (0..args.orders).step_by(5_000) {
        let (mut ids, mut shards, mut seqs) = (Vec::new(), Vec::new(), Vec::new());
        let (mut due, mut states) = (Vec::new(), Vec::new());
        for n in from..(from + 5_000).min(args.orders) {
            let rider = RiderId::nth(n);
            let shard = ShardId((n % 1024) as u16);
            let id = OrderId::created_by(Uuid::from_u128(n.into()), CommandId::nth(n), shard);
            let mut state = Order::default();
            // Spread over the next half hour, the longest anybody waits.
            let at = now + Duration::from_millis(n * 1_800_000 / args.orders.max(1));
            let context =
                Context { id, by: Principal::Rider(rider), now: at, writes: Format::WRITES };
            let place = order::Command::Place(Box::new(placement(rider)));
            for event in state.decide(&place, &context).unwrap() {
                state.evolve(&event);
            }
            ids.push(EntityKey::from(id).id);
            shards.push(i32::from(shard.0));
            seqs.push((n / 1024 + 1).cast_signed());
            due.push(state.deadline().map(|(due, _)| due.0.cast_signed()));
            states.push(rmp_serde::to_vec_named(&state).unwrap());
        }
        sqlx::query(
            "WITH n AS (
                 SELECT * FROM unnest($1::uuid[], $2::int4[], $3::int8[], $4::int8[], $5::bytea[])
                     AS t (id, shard, seq, due, state)
             ), l AS (
                 INSERT INTO events (shard, seq, kind, id, version, epoch, at, name, bytes)
                 SELECT shard, seq, 1, id, 1, 0, 0, 'placed', '' FROM n
             ), h AS (
                 UPDATE heads h SET seq = m.seq, told = m.seq
                 FROM (SELECT shard, max(seq) AS seq FROM n GROUP BY shard) m WHERE h.shard = m.shard
             ), e AS (
                 INSERT INTO entities (kind, id, shard, deadline, waits)
                 SELECT 1, id, shard, due, due IS NOT NULL FROM n
             )
             INSERT INTO snapshots (kind, id, version, bytes) SELECT 1, id, 1, state FROM n",
        )
        .bind(ids)
        .bind(shards)
        .bind(seqs)
        .bind(due)
        .bind(states)
        .execute(&pool)
        .await
        .unwrap();
    }
    sqlx::query(
        // In any shard: nobody wakes them while this lasts.
        "INSERT INTO entities (kind, id, shard, deadline, waits)
         SELECT 4, gen_random_uuid(), n % 1024, $1 + n, true FROM generate_series(1, $2::int8) n",
    )
    .bind((now + Duration::from_secs(86_400)).0.cast_signed())
    .bind(args.deadlines.saturating_sub(args.orders).cast_signed())
    .execute(&pool)
    .await
    .unwrap();
    sqlx::raw_sql("ANALYZE; CHECKPOINT").execute(&pool).await.unwrap();
    pool.close().await;
}

fn placement(rider: RiderId) -> Placement {
    Placement::ride(rider, PICKUP, PICKUP.offset_m(1_800.0, 0.0))
}
