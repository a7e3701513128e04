//! The fence, in the four interleavings of a write and a steal, beside fences that look as good.
//!
//! A statement that has run but not committed stands for one that the server was interrupted in.

use super::{
    PostgresJournal, Settings, address,
    arbiter::PostgresArbiter,
    batch::{self, Basis, Needs, Terms, Way, Write},
    committer, heads,
    horizon::Horizon,
    ownership::{Ownership, TAKE},
    private::Stop,
    read::{self, Pass},
    schema,
    shares::Shares,
    testing::TestDatabase,
    told::{Laggard, Mark},
};
use crate::{
    Claim, Commit, EntityKey, Format, Kind, Posting, Version, ViewRow,
    cluster::{
        Incarnation,
        arbiter::{Arbiter, ArbiterError, HandedOver, NodeCard},
    },
    commit::{CommandResult, EncodedEvent},
    journal::{
        CommitError, EffectKey, FeedCursor, Forgotten, Journal, JournalError, OutboxRow, Part,
        Record, ViewQuery,
        check::{Invariant, check},
        feed,
        memory::MemoryJournal,
        record::WITH_EVENTS,
    },
};
use futures_util::future::join_all;
use protocol::{CommandId, Currency, OrderId, RiderId, SHARDS, ShardId, ShardSet, Timestamp};
use sqlx::{AssertSqlSafe, ConnectOptions, PgConnection, PgPool, Row, postgres::PgPoolOptions};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::Arc,
    time::Duration,
};
use tokio::{sync::oneshot, task::JoinHandle, time::timeout};
use uuid::Uuid;

/// How a write makes sure that its shard is still its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fence {
    /// Ours: locks the head, looks again at what it locked, and moves it.
    Head,
    /// Ours, when nobody is expected to be refused: locks the head by moving it.
    Swift,
    /// Ours, when the heads are left alone: locks the committer's row, and looks again at what it locked.
    Committer,
    /// Looks, and locks nothing.
    Look,
    /// Takes a lock, then looks: at what was there when the statement began, before it waited.
    LockThenLook,
    /// The same two, of the committer's row.
    LookAtCommitter,
    LockThenLookAtCommitter,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Interleaving {
    /// The write runs, the steal comes, the new owner loads, the write commits.
    S1,
    /// The steal runs, the write comes, the steal commits, the new owner loads, the write goes on.
    S2,
    /// The steal commits, the new owner loads, the write comes.
    S3,
    /// A write runs, the steal comes, a second write comes; then each goes on in turn.
    S4,
}

impl Fence {
    fn needs(self) -> Needs {
        let fenced =
            matches!(self, Self::Committer | Self::LookAtCommitter | Self::LockThenLookAtCommitter);
        let swift = fenced || self == Self::Swift;
        Needs { swift, fenced, strangers: false, claims: false, postings: false, answers: false }
    }

    fn commit(self) -> &'static str {
        let unlocked = || {
            self.needs()
                .statement()
                .replace("ORDER BY h.shard FOR UPDATE OF h", "")
                .replace("AND n.total > 0", "AND false")
                .replace("FOR NO KEY UPDATE", "")
                // Unique numbers, so that nothing but the fence keeps the write out.
                .replace("a.seq + e.place", "nextval('outbox_positions')")
                .replace("e.by, e.seq,", "e.by, nextval('outbox_positions'),")
        };
        match self {
            Self::Head | Self::Swift | Self::Committer => self.needs().statement(),
            Self::Look | Self::LookAtCommitter => unlocked().leak(),
            Self::LockThenLook => unlocked()
                .replace(
                    "JOIN unnest($1::int4[], $2::int8[], $3::int8[], $69::int8[]) AS a (shard, epoch, told, seq)",
                    "JOIN LATERAL (SELECT shard, epoch, told, seq, pg_advisory_xact_lock_shared(shard)
                         FROM unnest($1::int4[], $2::int8[], $3::int8[], $69::int8[]) AS s (shard, epoch, told, seq)
                         OFFSET 0) a",
                )
                .leak(),
            Self::LockThenLookAtCommitter => unlocked()
                .replace(
                    "), fence AS MATERIALIZED (",
                    "), x AS MATERIALIZED (SELECT pg_advisory_xact_lock_shared(s) FROM unnest($1::int4[]) s
                     ), fence AS MATERIALIZED (",
                )
                .replace("f WHERE f.incarnation", "f WHERE (SELECT count(*) FROM x) > 0 AND f.incarnation")
                .leak(),
        }
    }

    fn steal(self) -> &'static str {
        match self {
            Self::Head | Self::Swift | Self::Committer | Self::Look | Self::LookAtCommitter => TAKE,
            Self::LockThenLook | Self::LockThenLookAtCommitter => TAKE
                .replace("WITH l AS", "WITH x AS MATERIALIZED (SELECT pg_advisory_xact_lock(s) FROM unnest($1) s), l AS")
                .replace("WHERE shard = ANY", "WHERE (SELECT count(*) FROM x) > 0 AND shard = ANY")
                .leak(),
        }
    }

    /// As a committer that has seen its fence at this generation.
    fn way(self, generation: i64) -> Way {
        match self.needs() {
            Needs { fenced: true, .. } => Way::Fenced(heads::Fence { incarnation: 1, generation }),
            Needs { swift: true, .. } => Way::Swift,
            Needs { .. } => Way::Sure,
        }
    }
}

/// All shards, divided among `n` committers as if the log were not.
fn shares(n: usize) -> Shares {
    Shares::divide(&[0; SHARDS as usize], n)
}

/// All of one shard.
fn entity(n: u64) -> EntityKey {
    OrderId::created_by(Uuid::nil(), CommandId::nth(n), ShardId(7)).into()
}

/// A connection that writes as the old owner, or steals as the new one.
struct Session {
    connection: PgConnection,
    pid: i32,
    fence: Fence,
    epoch: u64,
    generation: i64,
    /// How far the log goes, as it knows.
    seq: u64,
}

impl Session {
    /// What there is to know is known.
    async fn open(database: &TestDatabase, fence: Fence, epoch: u64) -> Self {
        let mut connection = database.options().connect().await.unwrap();
        let known = "SELECT pg_backend_pid(), f.generation, h.seq FROM heads h, fences f
            WHERE h.shard = 7 AND f.incarnation = 1";
        let known = sqlx::query_as(known).fetch_one(&mut connection).await;
        let (pid, generation, seq): (i32, i64, i64) = known.unwrap();
        Self { connection, pid, fence, epoch, generation, seq: seq.cast_unsigned() }
    }

    async fn run(&mut self, sql: &'static str) {
        sqlx::raw_sql(sql).execute(&mut self.connection).await.unwrap();
    }

    /// Writes the first event of an entity as its shard's owner; says whether it was accepted.
    async fn write(&mut self, n: u64) -> bool {
        let events = vec![EncodedEvent { name: "moved".into(), bytes: vec![] }];
        let commit = Commit { events, ..Commit::new(entity(n), Version(0), Timestamp(1)) };
        let (ack, _) = oneshot::channel();
        let writes = [Write::new(commit, ack)];
        let statement = self.fence.commit();
        let (epoch, seq) = (self.epoch, self.seq);
        let terms = |_| Terms { epoch, told: 0, seq };
        let basis = Basis { terms: &terms, knows: &|_, _| false };
        let (database, needs) = (&mut self.connection, self.fence.needs());
        let way = self.fence.way(self.generation);
        let written = batch::execute_as(statement, needs, database, basis, &writes, 1, way).await;
        match written {
            Err(error) if needs.swift => {
                assert!(error.as_database_error().is_some(), "refused, not lost: {error}");
                false
            }
            written => written.unwrap().outcomes[0].is_ok(),
        }
    }

    async fn steal(&mut self) {
        let all: Vec<_> = (0..i32::from(SHARDS)).collect();
        sqlx::query(self.fence.steal())
            .bind(all)
            .bind("thief")
            .bind(2_i64)
            .bind(false)
            .bind(2_i64)
            .execute(&mut self.connection)
            .await
            .unwrap();
    }
}

/// Who looks on: sees what a new owner would load, and who waits for whom.
struct Observer(PgPool);

impl Observer {
    async fn has(&self, n: u64) -> bool {
        let stored = read::load(&self.0, &[entity(n)]).await.unwrap();
        stored[0].version() > Version(0)
    }

    /// Returns once `task`, which runs in the session of `pid`, has ended or waits for a lock.
    async fn settled<T>(&self, task: &JoinHandle<T>, pid: i32) -> bool {
        loop {
            let waits: bool = sqlx::query_scalar(
                "SELECT coalesce((SELECT wait_event_type = 'Lock' FROM pg_stat_activity WHERE pid = $1), false)",
            )
            .bind(pid)
            .fetch_one(&self.0)
            .await
            .unwrap();
            if task.is_finished() || waits {
                return task.is_finished();
            }
        }
    }
}

/// Was a write accepted that the new owner, who loaded after its steal, has not seen?
async fn is_one_lost(database: &TestDatabase, fence: Fence, interleaving: Interleaving) -> bool {
    let mut first = database.options().connect().await.unwrap();
    let owner = Ownership::new("owner".into(), 1);
    owner.take_all(&mut first, Timestamp(0)).await.unwrap();
    let epoch = owner.epoch(ShardId(7)).unwrap();
    let mut old = Session::open(database, fence, epoch).await;
    let mut second = Session::open(database, fence, epoch).await;
    second.seq += 1;
    let mut new = Session::open(database, fence, epoch).await;
    let pool = PgPoolOptions::new().max_connections(2).connect_lazy_with(database.options());
    let observer = Observer(pool);
    // Entities that no other interleaving has written to.
    let (one, two) = (2 * epoch, 2 * epoch + 1);

    match interleaving {
        Interleaving::S1 => {
            old.run("BEGIN").await;
            let accepted = old.write(one).await;
            let pid = new.pid;
            let steal = tokio::spawn(async move { new.steal().await });
            let mut loaded = None;
            if observer.settled(&steal, pid).await {
                loaded = Some(observer.has(one).await);
            }
            old.run("COMMIT").await;
            steal.await.unwrap();
            let loaded = match loaded {
                Some(loaded) => loaded,
                None => observer.has(one).await,
            };
            accepted && !loaded
        }
        Interleaving::S2 => {
            new.run("BEGIN").await;
            new.steal().await;
            old.run("BEGIN").await;
            let pid = old.pid;
            let write = tokio::spawn(async move {
                let accepted = old.write(one).await;
                (old, accepted)
            });
            // One that did not wait has its answer before the new owner exists.
            if observer.settled(&write, pid).await {
                let (mut old, accepted) = write.await.unwrap();
                old.run("COMMIT").await;
                new.run("COMMIT").await;
                return accepted && !observer.has(one).await;
            }
            new.run("COMMIT").await;
            let loaded = observer.has(one).await;
            let (mut old, accepted) = write.await.unwrap();
            old.run("COMMIT").await;
            accepted && !loaded
        }
        Interleaving::S3 => {
            new.steal().await;
            let loaded = observer.has(one).await;
            old.write(one).await && !loaded
        }
        Interleaving::S4 => {
            old.run("BEGIN").await;
            let first = old.write(one).await;
            let pid = new.pid;
            let steal = tokio::spawn(async move { new.steal().await });
            let mut loaded = None;
            if observer.settled(&steal, pid).await {
                loaded = Some([observer.has(one).await, observer.has(two).await]);
            }
            second.run("BEGIN").await;
            let pid = second.pid;
            // Of the same shard, of another entity: nothing but the fence is in its way.
            let write = tokio::spawn(async move {
                let accepted = second.write(two).await;
                (second, accepted)
            });
            observer.settled(&write, pid).await;
            old.run("COMMIT").await;
            steal.await.unwrap();
            let loaded = match loaded {
                Some(loaded) => loaded,
                None => [observer.has(one).await, observer.has(two).await],
            };
            let (mut second, accepted) = write.await.unwrap();
            second.run("COMMIT").await;
            (first && !loaded[0]) || (accepted && !loaded[1])
        }
    }
}

async fn losses(fence: Fence) -> Vec<Interleaving> {
    let database = TestDatabase::start().await;
    let mut first = database.options().connect().await.unwrap();
    schema::migrate(&mut first).await.unwrap();
    heads::make_fences(&mut first, 1, &shares(1)).await.unwrap();
    let mut losses = Vec::new();
    for it in [Interleaving::S1, Interleaving::S2, Interleaving::S3, Interleaving::S4] {
        if is_one_lost(&database, fence, it).await {
            losses.push(it);
        }
    }
    losses
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_interleaving_of_write_and_steal_loses_an_accepted_write() {
    assert_eq!(losses(Fence::Head).await, []);
    assert_eq!(losses(Fence::Swift).await, []);
    assert_eq!(losses(Fence::Committer).await, []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn looking_without_a_lock_loses_writes() {
    assert_eq!(losses(Fence::Look).await, [Interleaving::S1, Interleaving::S4]);
    assert_eq!(losses(Fence::LookAtCommitter).await, [Interleaving::S1, Interleaving::S4]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn looking_at_what_was_there_before_the_lock_loses_writes() {
    assert_eq!(losses(Fence::LockThenLook).await, [Interleaving::S2, Interleaving::S4]);
    let lost = [Interleaving::S2, Interleaving::S4];
    assert_eq!(losses(Fence::LockThenLookAtCommitter).await, lost);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn batches_and_steals_never_wait_for_each_other_in_a_circle() {
    let database = TestDatabase::start().await;
    let mut thief = database.options().connect().await.unwrap();
    schema::migrate(&mut thief).await.unwrap();
    heads::make_fences(&mut thief, 1, &shares(1)).await.unwrap();
    let owner = Ownership::new("owner".into(), 1);
    owner.take_all(&mut thief, Timestamp(0)).await.unwrap();
    let fence = heads::Fence { incarnation: 1, generation: 0 };
    let mut writer = database.options().connect().await.unwrap();
    let writing = tokio::spawn(async move {
        for round in 0..100_u64 {
            // The greatest shard first, as no lock is taken.
            let mut orders: Vec<_> = (0..32)
                .map(|n| {
                    OrderId::created_by(
                        Uuid::from_u128(n),
                        CommandId::nth(round),
                        ShardId(n as u16),
                    )
                })
                .collect();
            orders.reverse();
            let writes: Vec<_> = orders
                .into_iter()
                .map(|order| {
                    let events = vec![EncodedEvent { name: "moved".into(), bytes: vec![] }];
                    let commit =
                        Commit { events, ..Commit::new(order.into(), Version(0), Timestamp(1)) };
                    Write::new(commit, oneshot::channel().0)
                })
                .collect();
            let terms = |shard| Terms { epoch: owner.epoch(shard).unwrap(), told: 0, seq: round };
            let way = [Way::Fenced(fence), Way::Swift, Way::Sure][round as usize % 3];
            let basis = Basis { terms: &terms, knows: &|_, _| false };
            if let Err(error) = batch::execute(&mut writer, basis, &writes, 1, way).await {
                let code = error.as_database_error().and_then(|it| it.code());
                let is_refused =
                    code.is_some_and(|code| code.starts_with("22") || code.starts_with("23"));
                assert!(way != Way::Sure && is_refused, "{error}");
            }
        }
    });
    let other = Ownership::new("other".into(), 2);
    while !writing.is_finished() {
        other.take_all(&mut thief, Timestamp(0)).await.unwrap();
    }
    writing.await.unwrap();
}

/// Whoever waits for a head, or for a fence, holds nothing that somebody who has it may want.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_and_balances_are_locked_after_heads_and_fences() {
    const HOLD: &str = "BEGIN; SELECT FROM heads WHERE shard = 7 FOR UPDATE;
        SELECT FROM fences FOR UPDATE";
    const LOCK: &str =
        "SELECT FROM claims FOR UPDATE NOWAIT; SELECT FROM balances FOR UPDATE NOWAIT;
        ROLLBACK";
    let database = TestDatabase::start().await;
    let mut holding = database.options().connect().await.unwrap();
    schema::migrate(&mut holding).await.unwrap();
    heads::make_fences(&mut holding, 1, &shares(1)).await.unwrap();
    let owner = Ownership::new("owner".into(), 1);
    owner.take_all(&mut holding, Timestamp(0)).await.unwrap();
    let epoch = owner.epoch(ShardId(7)).unwrap();
    let there = "INSERT INTO claims (claim, kind, id) VALUES ('plate', 1, gen_random_uuid());
        INSERT INTO balances (account, currency, stripe, amount) VALUES ('purse', 'EUR', 0, 100)";
    sqlx::raw_sql(there).execute(&mut holding).await.unwrap();
    let mut watching = database.options().connect().await.unwrap();

    let fence = heads::Fence { incarnation: 1, generation: 0 };
    let claims = Commit { claims_taken: vec![Claim("plate".into())], ..moved(entity(1)) };
    let posting = Posting {
        key: "fare".into(),
        account: "purse".into(),
        amount: -1,
        currency: Currency::EUR,
        floor: Some(0),
    };
    let pays = Commit { postings: vec![posting], ..claims.clone() };
    let ways = [
        (claims.clone(), Way::Fenced(fence)),
        (claims.clone(), Way::Swift),
        (claims, Way::Sure),
        (pays, Way::Sure),
    ];
    for (commit, way) in ways {
        sqlx::raw_sql(HOLD).execute(&mut holding).await.unwrap();
        let mut writer = database.options().connect().await.unwrap();
        let writing = tokio::spawn(async move {
            let terms = |_| Terms { epoch, told: 0, seq: 0 };
            let basis = Basis { terms: &terms, knows: &|_, _| false };
            let writes = [Write::new(commit, oneshot::channel().0)];
            batch::execute(&mut writer, basis, &writes, 1, way)
                .await
                .is_ok_and(|it| it.outcomes[0].is_ok())
        });
        until_somebody_waits(&mut watching).await;
        sqlx::raw_sql(LOCK)
            .execute(&mut holding)
            .await
            .unwrap_or_else(|error| panic!("{way:?}: {error}"));
        assert!(!writing.await.unwrap(), "somebody else has the plate");
    }
}

/// From two owners each, of whom each meets the other first.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn steals_never_wait_for_each_other_in_a_circle() {
    let database = TestDatabase::start().await;
    let mut first = database.options().connect().await.unwrap();
    schema::migrate(&mut first).await.unwrap();
    for incarnation in 1..=4 {
        heads::make_fences(&mut first, incarnation, &shares(2)).await.unwrap();
    }
    let take = |shards: Vec<i32>, incarnation: i64| {
        let take = sqlx::query(TAKE).bind(shards).bind(incarnation.to_string()).bind(incarnation);
        take.bind(false).bind(0_i64)
    };
    let pool = PgPoolOptions::new().max_connections(2).connect_lazy_with(database.options());
    for _ in 0..100 {
        take(vec![1, 4, 6], 1).execute(&pool).await.unwrap();
        take(vec![2, 3, 5], 2).execute(&pool).await.unwrap();
        let (one, other) = futures_util::join!(
            take(vec![1, 2, 5, 6], 3).execute(&pool),
            take(vec![3, 4, 5, 6], 4).execute(&pool)
        );
        one.unwrap();
        other.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_from_the_future_is_refused() {
    let database = TestDatabase::start().await;
    let mut connection = database.options().connect().await.unwrap();
    assert_eq!(schema::migrate(&mut connection).await.unwrap(), (0, schema::VERSION));
    assert_eq!(schema::migrate(&mut connection).await.unwrap(), (schema::VERSION, schema::VERSION));
    let newer =
        AssertSqlSafe(format!("INSERT INTO schema_version VALUES ({})", schema::VERSION + 1));
    sqlx::raw_sql(newer).execute(&mut connection).await.unwrap();
    let error = schema::migrate(&mut connection).await.unwrap_err();
    assert!(error.to_string().contains("use a newer build"), "{error}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_that_came_before_their_day_had_room_move_in() {
    let database = TestDatabase::start().await;
    let mut connection = database.options().connect().await.unwrap();
    schema::migrate(&mut connection).await.unwrap();
    let day = 86_400_000;
    schema::make_days(&mut connection, Timestamp(10 * day)).await.unwrap();
    // From a clock that was ahead, or by a node that slept over the days between.
    let early = "INSERT INTO results (id, kind, command, at, bytes)
        VALUES (gen_random_uuid(), 1, gen_random_uuid(), 15::int8 * 86400000 + 7, 'a'),
               (gen_random_uuid(), 1, gen_random_uuid(), 30::int8 * 86400000, 'b')";
    sqlx::raw_sql(early).execute(&mut connection).await.unwrap();
    schema::make_days(&mut connection, Timestamp(14 * day)).await.unwrap();
    let kept: Vec<(String, i64)> =
        sqlx::query_as("SELECT tableoid::regclass::text, position FROM results ORDER BY position")
            .fetch_all(&mut connection)
            .await
            .unwrap();
    assert_eq!(kept, [("results_15".into(), 1), ("results_else".into(), 65_537)]);
    let forgotten = schema::forget_results(&mut connection, Timestamp(16 * day)).await;
    forgotten.unwrap();
    let left: i64 = sqlx::query_scalar("SELECT count(*) FROM results")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(left, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forgetting_gives_way_to_who_reads_for_long() {
    let database = TestDatabase::start().await;
    let mut connection = database.options().connect().await.unwrap();
    schema::migrate(&mut connection).await.unwrap();
    schema::make_days(&mut connection, Timestamp(0)).await.unwrap();
    let mut export = database.options().connect().await.unwrap();
    let read = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT FROM results";
    sqlx::raw_sql(read).execute(&mut export).await.unwrap();
    let later = Timestamp(10 * 86_400_000);
    let error = schema::forget_results(&mut connection, later).await.unwrap_err();
    let code = error.as_database_error().and_then(|it| it.code()).unwrap_or_default();
    assert_eq!(code, "55P03", "{error}");
    sqlx::raw_sql("COMMIT").execute(&mut export).await.unwrap();
    schema::forget_results(&mut connection, later).await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn closing_does_not_wait_for_a_database_that_is_away() {
    let database = TestDatabase::start_own().await;
    let settings = Settings { committers: 1, ..Settings::default() };
    let journal = PostgresJournal::open(database.options(), "node", settings).await.unwrap();
    database.server().unwrap().stop(Stop::Immediate).await.unwrap();
    // Two that nobody can write down: one finds out that the database is away, one is left for the end.
    for version in 1..=2 {
        let key = EffectKey { source: entity(1), version: Version(version), index: 0 };
        journal.shared.tell(vec![key]);
    }
    let closed = timeout(Duration::from_secs(30), journal.close()).await;
    closed.expect("it closes").unwrap();
}

/// A member that has all shards.
async fn member(
    database: &TestDatabase,
    name: &str,
) -> (Arc<PostgresJournal>, PostgresArbiter, Incarnation) {
    let (journal, arbiter, me) = member_without_shards(database, name).await;
    Arbiter::steal(&arbiter, me, ShardSet::ALL).await.unwrap();
    (journal, arbiter, me)
}

async fn member_without_shards(
    database: &TestDatabase,
    name: &str,
) -> (Arc<PostgresJournal>, PostgresArbiter, Incarnation) {
    member_with(database, name, 1).await
}

async fn member_with(
    database: &TestDatabase,
    name: &str,
    committers: usize,
) -> (Arc<PostgresJournal>, PostgresArbiter, Incarnation) {
    let settings = Settings { committers, ..Settings::default() };
    let opened = PostgresJournal::open_member(database.options(), name, settings).await;
    let (journal, arbiter) = opened.unwrap();
    let card = NodeCard {
        node: name.into(),
        address: String::new(),
        zone: String::new(),
        weight: 100,
        version: String::new(),
        writes: 1,
        reads: 1,
        secret: String::new(),
    };
    let me = Arbiter::register(&arbiter, card).await.unwrap();
    (Arc::new(journal), arbiter, me)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_writes_nothing_reads_lists_on_one_connection_and_misses_none_when_it_is_lost() {
    let database = TestDatabase::start().await;
    let settings = Settings { committers: 0, readers: 1, ..Settings::default() };
    let opened = PostgresJournal::open_member(database.options(), "gateway", settings).await;
    let (journal, _arbiter) = opened.unwrap();
    let mut other = database.options().connect().await.unwrap();
    // Whoever last asked for a list.
    let readers = "SELECT pid FROM pg_stat_activity WHERE datname = current_database()
        AND application_name LIKE 'outrider gateway %' AND query LIKE '%FROM views s%'";
    let mut before = None;
    for _ in 0..3 {
        let rows = journal.views(ViewQuery::newest(Kind::Order, 10)).await.unwrap();
        assert_eq!(rows, []);
        let readers: Vec<i32> = sqlx::query_scalar(readers).fetch_all(&mut other).await.unwrap();
        let [reader] = readers[..] else { panic!("not one: {readers:?}") };
        assert_ne!(Some(reader), before, "that one was ended");
        let end = "SELECT pg_terminate_backend($1)";
        let is_there = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)";
        sqlx::query(end).bind(reader).execute(&mut other).await.unwrap();
        while sqlx::query_scalar(is_there).bind(reader).fetch_one(&mut other).await.unwrap() {
            tokio::task::yield_now().await;
        }
        before = Some(reader);
    }
    journal.close().await.unwrap();
    let closed = journal.views(ViewQuery::newest(Kind::Order, 10)).await;
    assert!(matches!(closed, Err(JournalError::Unavailable(_))), "{closed:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_lists_are_read_by_one_statement() {
    let database = TestDatabase::start().await;
    let settings = Settings { committers: 0, readers: 1, ..Settings::default() };
    let opened = PostgresJournal::open_member(database.options(), "gateway", settings).await;
    let (journal, _arbiter) = opened.unwrap();
    let kinds = [Kind::Zone, Kind::Rule, Kind::Revocation];
    let queries = kinds.map(|kind| ViewQuery::newest(kind, 10)).to_vec();
    let lists = journal.lists(queries).await.unwrap();
    assert!(lists.len() == 3 && lists.iter().all(Vec::is_empty), "{lists:?}");
    let mut other = database.options().connect().await.unwrap();
    let said = "SELECT query FROM pg_stat_activity WHERE datname = current_database()
        AND application_name LIKE 'outrider gateway %' AND query LIKE '%FROM views s%'";
    let said: Vec<String> = sqlx::query_scalar(said).fetch_all(&mut other).await.unwrap();
    assert!(said.len() == 1 && said[0].contains("SELECT 2 AS list"), "{said:?}");
    journal.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lists_that_nobody_waits_for_any_more_hold_no_more_connections() {
    let database = TestDatabase::start().await;
    let settings = Settings { committers: 0, readers: 1, ..Settings::default() };
    let opened = PostgresJournal::open_member(database.options(), "gateway", settings).await;
    let (journal, _arbiter) = opened.unwrap();
    let mut other = database.options().connect().await.unwrap();
    let held_up = "BEGIN; LOCK TABLE views IN ACCESS EXCLUSIVE MODE";
    sqlx::raw_sql(held_up).execute(&mut other).await.unwrap();
    for _ in 0..20 {
        let reading = journal.views(ViewQuery::newest(Kind::Order, 10));
        timeout(Duration::from_millis(50), reading).await.expect_err("held up");
    }
    let reading = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()
        AND application_name LIKE 'outrider gateway %' AND query LIKE '%FROM views s%'";
    let n: i64 = sqlx::query_scalar(reading).fetch_one(&mut other).await.unwrap();
    assert!(n <= 2, "{n}: one of its own, and one of the pool");
    sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    journal.views(ViewQuery::newest(Kind::Order, 10)).await.expect("read");
    journal.close().await.unwrap();
}

fn moved(entity: EntityKey) -> Commit {
    let events = vec![EncodedEvent { name: "moved".into(), bytes: vec![] }];
    Commit { events, ..Commit::new(entity, Version(0), Timestamp(1)) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_waits_while_its_shard_is_taken_anew_is_written_under_the_new_epoch() {
    let database = TestDatabase::start().await;
    let (journal, arbiter, me) = member(&database, "one").await;
    let shard = entity(1).shard();
    let mut other = database.options().connect().await.unwrap();
    // What a reclaim does, stopped half-way: the commit waits for it, and then finds another epoch.
    let half = format!(
        "BEGIN; UPDATE heads SET epoch = epoch + 1 WHERE shard = {} AND incarnation = {}",
        shard.0, me.0
    );
    sqlx::raw_sql(AssertSqlSafe(half)).execute(&mut other).await.unwrap();
    let committing = tokio::spawn({
        let journal = Arc::clone(&journal);
        async move { journal.commit(moved(entity(1))).await }
    });
    let waiting =
        "SELECT count(*) FROM pg_locks WHERE NOT granted AND locktype IN ('transactionid', 'tuple')
        AND pid IN (SELECT pid FROM pg_stat_activity WHERE datname = current_database())";
    while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut other).await.unwrap() == 0 {
        tokio::task::yield_now().await;
    }
    let epoch = arbiter.epoch(shard).unwrap();
    arbiter.own(shard, epoch + 1);
    sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    committing.await.unwrap().expect("it is ours, under another epoch");
    assert_eq!(arbiter.epoch(shard), Some(epoch + 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hand_over_under_way_does_not_happen_once_its_shard_is_reclaimed() {
    let database = TestDatabase::start().await;
    let (_journal, arbiter, me) = member(&database, "one").await;
    let (_other, _, heir) = member(&database, "two").await;
    let shard = ShardId(7);
    let mut other = database.options().connect().await.unwrap();
    let reclaim = "BEGIN; UPDATE heads SET epoch = epoch + 1 WHERE shard = 7";
    sqlx::raw_sql(reclaim).execute(&mut other).await.unwrap();
    let arbiter = Arc::new(arbiter);
    let handing = tokio::spawn({
        let arbiter = Arc::clone(&arbiter);
        async move { Arbiter::hand_over(&*arbiter, me, shard, heir).await }
    });
    let waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted
        AND pid IN (SELECT pid FROM pg_stat_activity WHERE datname = current_database())";
    while sqlx::query_scalar::<_, i64>(waiting).fetch_one(&mut other).await.unwrap() == 0 {
        tokio::task::yield_now().await;
    }
    sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    let outcome = handing.await.unwrap();
    assert!(matches!(outcome, Err(ArbiterError::Away(_))), "{outcome:?}");
    let head = Arbiter::look(&*arbiter).await.unwrap().heads[7];
    assert_eq!(head.owner, Some(me));
}

/// The generations of a start's fences, in the order of committers.
async fn generations(of: Incarnation, connection: &mut PgConnection) -> Vec<i64> {
    let sql = "SELECT generation FROM fences WHERE incarnation = $1 ORDER BY committer";
    sqlx::query_scalar(sql).bind(of.0.cast_signed()).fetch_all(connection).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hand_over_waits_for_nobody_but_the_committer_whose_shard_it_is() {
    let database = TestDatabase::start().await;
    let (journal, arbiter, me) = member_with(&database, "one", 2).await;
    Arbiter::steal(&arbiter, me, ShardSet::ALL).await.unwrap();
    let (_other, judge, heir) = member_without_shards(&database, "two").await;
    let mut other = database.options().connect().await.unwrap();
    let nth = journal.shared.committer(ShardId(7)).unwrap();
    assert_eq!(generations(me, &mut other).await, [0, 0]);
    let held = format!(
        "BEGIN; SELECT FROM fences WHERE incarnation = {} AND committer <> {} FOR UPDATE",
        me.0,
        nth + 1
    );
    sqlx::raw_sql(AssertSqlSafe(held)).execute(&mut other).await.unwrap();
    let handed = Arbiter::hand_over(&arbiter, me, ShardId(7), heir).await;
    assert!(matches!(handed, Ok(HandedOver::To(_))), "{handed:?}");
    sqlx::raw_sql("ROLLBACK").execute(&mut other).await.unwrap();
    assert_eq!(generations(me, &mut other).await, if nth == 0 { [1, 0] } else { [0, 1] });
    // Everything else at once, by its own word and by another's.
    let some: ShardSet = (8..100).map(ShardId).collect();
    Arbiter::release(&arbiter, me, some).await.unwrap();
    let before = generations(me, &mut other).await;
    assert!(before[1 - nth] > 0 && before[nth] > 1, "{before:?}");
    let renewals = Arbiter::look(&judge).await.unwrap().members[&me].renewals;
    assert!(Arbiter::declare_dead(&judge, me, renewals).await.unwrap());
    let taken = Arbiter::steal(&judge, heir, ShardSet::ALL).await.unwrap();
    assert_eq!(taken.len(), usize::from(SHARDS) - 1);
    let after = generations(me, &mut other).await;
    assert!(after.iter().zip(&before).all(|(after, before)| after > before), "{after:?}");
}

/// Whoever takes many holds the locks of few at a time.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn many_shards_are_taken_a_few_at_a_time() {
    const AT_ONCE: &str = "SELECT max(n), sum(n)::int8 FROM (SELECT count(*) AS n FROM heads
        WHERE incarnation = $1 GROUP BY xmin::text) each";
    let database = TestDatabase::start().await;
    let (_journal, _arbiter, me) = member(&database, "one").await;
    let mut connection = database.options().connect().await.unwrap();
    let n: (i64, i64) =
        sqlx::query_as(AT_ONCE).bind(me.0.cast_signed()).fetch_one(&mut connection).await.unwrap();
    assert_eq!(n, (256, i64::from(SHARDS)));
    let alone = Ownership::new("alone".into(), 999);
    alone.take_all(&mut connection, Timestamp(0)).await.unwrap();
    let n: (i64, i64) =
        sqlx::query_as(AT_ONCE).bind(999_i64).fetch_one(&mut connection).await.unwrap();
    assert_eq!(n, (256, i64::from(SHARDS)));
    assert!((0..SHARDS).all(|shard| alone.epoch(ShardId(shard)) == Some(2)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_shard_that_is_stolen_while_the_fate_of_a_commit_is_open_is_lost() {
    let database = TestDatabase::start().await;
    let (journal, arbiter, _) = member(&database, "one").await;
    let shard = entity(1).shard();
    let other_shard = ShardId(shard.0 + 1);
    let neighbour = OrderId::created_by(Uuid::nil(), CommandId::nth(2), other_shard).into();
    let mut other = database.options().connect().await.unwrap();
    let hold = format!(
        "BEGIN; SELECT FROM heads WHERE shard = {} FOR UPDATE; SELECT FROM fences FOR UPDATE",
        shard.0
    );
    sqlx::raw_sql(AssertSqlSafe(hold)).execute(&mut other).await.unwrap();
    let committing = tokio::spawn({
        let journal = Arc::clone(&journal);
        async move { journal.commit(moved(entity(1))).await }
    });
    // Its connection is torn away while it waits; before it is back, somebody else has the shard.
    let tear = "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE NOT granted
        AND locktype IN ('transactionid', 'tuple')
        AND pid IN (SELECT pid FROM pg_stat_activity WHERE datname = current_database())";
    while sqlx::query_scalar::<_, i64>(tear).fetch_one(&mut other).await.unwrap() == 0 {
        tokio::task::yield_now().await;
    }
    let outcome = committing.await.unwrap();
    assert!(matches!(outcome, Err(CommitError::Unknown(_))), "{outcome:?}");
    let stolen = format!(
        "UPDATE heads SET incarnation = 999, owner = 'thief', epoch = epoch + 1 WHERE shard = {}; COMMIT",
        shard.0
    );
    sqlx::raw_sql(AssertSqlSafe(stolen)).execute(&mut other).await.unwrap();
    let settled = async {
        while let Err(error) = journal.commit(moved(neighbour)).await {
            assert!(matches!(error, CommitError::Unavailable(_)), "{error}");
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(30), settled).await.expect("it writes again");
    assert_eq!(arbiter.epoch(shard), None, "what was stolen is not taken back");
    assert!(arbiter.epoch(other_shard).is_some());
    let fenced = Err(CommitError::Fenced { shard });
    assert_eq!(journal.commit(moved(entity(1))).await, fenced);
}

/// The next commit of entity `n`, which has one event for each version.
fn next(n: u64, version: u64) -> Commit {
    Commit { expected: Version(version), ..moved(entity(n)) }
}

/// Which transaction has locked the only fence last: another one after each statement that leaves the heads alone.
async fn last_fenced(journal: &PostgresJournal) -> String {
    let sql = "SELECT xmax::text FROM fences WHERE incarnation = $1";
    let me = journal.shared.ownership.owner().1;
    sqlx::query_scalar(sql).bind(me).fetch_one(&journal.readers).await.unwrap()
}

/// Commits, and says whether that left the heads alone.
async fn is_fenced(journal: &PostgresJournal, commit: Commit) -> bool {
    let before = last_fenced(journal).await;
    journal.commit(commit).await.unwrap();
    last_fenced(journal).await != before
}

/// The number of the last event of shard 7, as its log says.
async fn end_of_7(connection: &mut PgConnection) -> i64 {
    let sql = "SELECT coalesce(max(seq), 0) FROM events WHERE shard = 7";
    sqlx::query_scalar(sql).fetch_one(connection).await.unwrap()
}

/// Shards whose heads say something else than their logs.
async fn n_behind(connection: &mut PgConnection) -> i64 {
    let sql = "SELECT count(*) FROM heads h
        WHERE seq <> coalesce((SELECT max(e.seq) FROM events e WHERE e.shard = h.shard), 0)";
    sqlx::query_scalar(sql).fetch_one(connection).await.unwrap()
}

/// By an older build, or by hand: whoever does it waits for those who leave the heads alone, keeps them out, and finds
/// how far the log goes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_takes_a_shard_in_whatever_way_fences_whoever_leaves_its_head_alone() {
    const TAKEN: &str = "UPDATE heads SET owner = 'thief', incarnation = 999, epoch = epoch + 1
        WHERE shard = 7 RETURNING seq";
    let database = TestDatabase::start().await;
    let (journal, arbiter, _) = member(&database, "one").await;
    let neighbour = OrderId::created_by(Uuid::nil(), CommandId::nth(1), ShardId(8)).into();
    for version in 0..5 {
        assert!(is_fenced(&journal, next(1, version)).await, "{version}");
    }
    journal.commit(moved(neighbour)).await.unwrap();
    let mut other = database.options().connect().await.unwrap();
    let found: i64 = sqlx::query_scalar(TAKEN).fetch_one(&mut other).await.unwrap();
    assert_eq!(found, 5, "not what the row said");

    let (lost, kept) = futures_util::join!(
        journal.commit(next(1, 5)),
        journal.commit(Commit { expected: Version(1), ..moved(neighbour) })
    );
    assert_eq!((lost, kept), (Err(CommitError::Fenced { shard: ShardId(7) }), Ok(())));
    assert_eq!((arbiter.epoch(ShardId(7)), end_of_7(&mut other).await), (None, 5));
    // It looks again, and goes on as before with what is left to it.
    let mut version = 2;
    while !is_fenced(&journal, Commit { expected: Version(version), ..moved(neighbour) }).await {
        version += 1;
        assert!(version < 100, "it is never trusted again");
    }
    journal.close().await.unwrap();
    assert_eq!(n_behind(&mut other).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_writes_past_the_head_of_a_shard_that_was_given_back() {
    let database = TestDatabase::start().await;
    let (journal, _arbiter, _) = member(&database, "one").await;
    assert!(is_fenced(&journal, next(1, 0)).await);
    let mut other = database.options().connect().await.unwrap();
    // We go on believing that it is ours, and its epoch is the same.
    let given = "UPDATE heads SET owner = NULL, incarnation = NULL WHERE shard = 7";
    sqlx::raw_sql(given).execute(&mut other).await.unwrap();
    for version in 1..30 {
        assert!(!is_fenced(&journal, next(1, version)).await, "{version}");
    }
    let taken = "UPDATE heads SET owner = 'thief', incarnation = 999, epoch = epoch + 1
        WHERE shard = 7 RETURNING seq";
    let found: i64 = sqlx::query_scalar(taken).fetch_one(&mut other).await.unwrap();
    assert_eq!(found, 30);
    let fenced = Err(CommitError::Fenced { shard: ShardId(7) });
    assert_eq!(journal.commit(next(1, 30)).await, fenced);
    assert_eq!(end_of_7(&mut other).await, 30);
    journal.close().await.unwrap();
}

/// What the server says of a first commit to a shard whose head it leaves alone; None if it accepts it.
async fn refused(
    commit: Commit,
    generation: i64,
    epoch: u64,
    connection: &mut PgConnection,
) -> Option<String> {
    let terms = |_| Terms { epoch, told: 0, seq: 0 };
    let basis = Basis { terms: &terms, knows: &|_, _| false };
    let writes = [Write::new(commit, oneshot::channel().0)];
    let way = Way::Fenced(heads::Fence { incarnation: 1, generation });
    let error = batch::execute(connection, basis, &writes, 1, way).await.err()?;
    Some(error.as_database_error()?.code()?.into_owned())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_fence_that_has_moved_is_told_from_somebody_who_must_be_refused() {
    const MOVED: Option<&str> = Some("22012");
    const REFUSED: Option<&str> = Some("22P02");
    let database = TestDatabase::start().await;
    let mut connection = database.options().connect().await.unwrap();
    schema::migrate(&mut connection).await.unwrap();
    heads::make_fences(&mut connection, 1, &shares(1)).await.unwrap();
    let owner = Ownership::new("owner".into(), 1);
    owner.take_all(&mut connection, Timestamp(0)).await.unwrap();
    let epoch = owner.epoch(ShardId(7)).unwrap();
    let taken =
        format!("INSERT INTO claims (claim, kind, id) VALUES ('plate', 1, '{}')", entity(9).id);
    sqlx::raw_sql(AssertSqlSafe(taken)).execute(&mut connection).await.unwrap();

    let claims = Commit { claims_taken: vec![Claim("plate".into())], ..moved(entity(1)) };
    let stale = Commit { expected: Version(5), ..moved(entity(1)) };
    let both = Commit { expected: Version(5), ..claims.clone() };
    for commit in [&claims, &stale, &both] {
        for (generation, said) in [(0, REFUSED), (9, MOVED)] {
            let found = refused(commit.clone(), generation, epoch, &mut connection).await;
            assert_eq!(found.as_deref(), said, "{generation}, {commit:?}");
        }
    }
    assert_eq!(refused(moved(entity(1)), 9, epoch, &mut connection).await.as_deref(), MOVED);
    assert_eq!(refused(moved(entity(1)), 0, epoch, &mut connection).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_known_of_heads_stays_known_when_somebody_is_refused() {
    let database = TestDatabase::start().await;
    let (journal, _arbiter, _) = member(&database, "one").await;
    for version in 0..2 {
        assert!(is_fenced(&journal, next(1, version)).await, "{version}");
    }
    let stale = Err(CommitError::Stale { actual: Version(2) });
    assert_eq!(journal.commit(next(1, 9)).await, stale);
    // For as many statements everybody is looked at.
    for version in 2..10 {
        assert!(!is_fenced(&journal, next(1, version)).await, "{version}");
    }
    // Whoever looked at this head again would go on from there.
    let mut other = database.options().connect().await.unwrap();
    let ahead = "UPDATE heads SET seq = seq + 100 WHERE shard = 7";
    sqlx::raw_sql(ahead).execute(&mut other).await.unwrap();
    assert!(is_fenced(&journal, next(1, 10)).await);
    assert_eq!(end_of_7(&mut other).await, 11);
    journal.close().await.unwrap();
}

/// Somebody has written to our log, by whatever mistake: that is found out once, and not again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_finds_an_event_where_its_own_was_to_stand_looks_how_far_the_log_goes() {
    let database = TestDatabase::start().await;
    let (journal, ..) = member(&database, "one").await;
    assert!(is_fenced(&journal, next(1, 0)).await);
    let mut other = database.options().connect().await.unwrap();
    let astray = "INSERT INTO events (shard, seq, kind, id, version, epoch, at, name, bytes)
        SELECT shard, seq + 1, kind, gen_random_uuid(), 1, epoch, at, name, bytes FROM events";
    sqlx::raw_sql(astray).execute(&mut other).await.unwrap();
    journal.commit(next(1, 1)).await.unwrap();
    assert_eq!(end_of_7(&mut other).await, 3);
    let mut version = 2;
    while !is_fenced(&journal, next(1, version)).await {
        version += 1;
        assert!(version < 100, "it is never trusted again");
    }
    journal.close().await.unwrap();
    assert_eq!(n_behind(&mut other).await, 0);
}

/// Its connection is torn away while it waits for its fence.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_in_doubt_that_left_the_heads_alone_is_there_once_or_not_at_all() {
    let database = TestDatabase::start().await;
    let (journal, arbiter, _) = member(&database, "one").await;
    assert!(is_fenced(&journal, next(1, 0)).await);
    assert!(is_fenced(&journal, next(2, 0)).await);
    let epoch = arbiter.epoch(ShardId(7)).unwrap();
    let mut other = database.options().connect().await.unwrap();
    sqlx::raw_sql("BEGIN; SELECT FROM fences FOR UPDATE").execute(&mut other).await.unwrap();
    let committing = tokio::spawn({
        let journal = Arc::clone(&journal);
        async move { journal.commit(next(1, 1)).await }
    });
    let tear = "SELECT count(pg_terminate_backend(pid)) FROM pg_locks WHERE NOT granted
        AND locktype IN ('transactionid', 'tuple')
        AND pid IN (SELECT pid FROM pg_stat_activity WHERE datname = current_database())";
    while sqlx::query_scalar::<_, i64>(tear).fetch_one(&mut other).await.unwrap() == 0 {
        tokio::task::yield_now().await;
    }
    let outcome = committing.await.unwrap();
    assert!(matches!(outcome, Err(CommitError::Unknown(_))), "{outcome:?}");
    sqlx::raw_sql("COMMIT").execute(&mut other).await.unwrap();
    let settled = async {
        while let Err(error) = journal.commit(next(2, 1)).await {
            assert!(matches!(error, CommitError::Unavailable(_)), "{error}");
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(30), settled).await.expect("it writes again");
    assert!(arbiter.epoch(ShardId(7)).unwrap() > epoch);
    journal.commit(next(1, 1)).await.expect("it was not written");
    assert_eq!(end_of_7(&mut other).await, 4);
    let report = check(&*journal, [], Timestamp(0)).await.unwrap();
    assert_eq!(report.violations, []);
    journal.close().await.unwrap();
    assert_eq!(n_behind(&mut other).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_come_after_and_agree_with_the_logs_when_all_is_closed() {
    let database = TestDatabase::start().await;
    let journal = PostgresJournal::open(database.options(), "node", Settings::default());
    let journal = journal.await.unwrap();
    let orders: Vec<EntityKey> = (0..64_u16)
        .map(|n| OrderId::created_by(Uuid::nil(), CommandId::nth(1), ShardId(n * 16)).into())
        .collect();
    let at = |order, version| Commit { expected: Version(version), ..moved(order) };
    for version in 0..5 {
        let commits = orders.iter().map(|order| journal.commit(at(*order, version)));
        for outcome in join_all(commits).await {
            outcome.unwrap();
        }
    }
    let mut connection = database.options().connect().await.unwrap();
    // Nobody says anything any more.
    let after = async {
        while n_behind(&mut connection).await > 0 {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(30), after).await.expect("they are brought along");
    for order in &orders {
        journal.commit(at(*order, 5)).await.unwrap();
    }
    journal.close().await.unwrap();
    assert_eq!(n_behind(&mut connection).await, 0);
    let looking = PostgresJournal::look(database.options(), "check").await.unwrap();
    let report = check(&looking, [], Timestamp(0)).await.unwrap();
    assert_eq!((report.violations, report.counts[&Part::Events]), (vec![], 6 * 64));
    looking.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn heads_are_not_brought_further_than_the_logs_go() {
    let database = TestDatabase::start().await;
    let (journal, ..) = member(&database, "one").await;
    assert!(is_fenced(&journal, next(1, 0)).await);
    let neighbour = OrderId::created_by(Uuid::nil(), CommandId::nth(1), ShardId(8)).into();
    journal.commit(moved(neighbour)).await.unwrap();
    // It believes what never came to be.
    journal.shared.told.wrote(&next(1, 1), 9);
    journal.close().await.unwrap();
    let mut connection = database.options().connect().await.unwrap();
    let seqs = "SELECT seq, told FROM heads WHERE shard IN (7, 8) ORDER BY shard";
    let seqs: Vec<(i64, i64)> = sqlx::query_as(seqs).fetch_all(&mut connection).await.unwrap();
    assert!(seqs[0].0 <= 1 && seqs[0].1 <= 1 && seqs[1] == (1, 1), "{seqs:?}");
}

/// Who writes marks hears what became of them, and not what they were to be.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn marks_come_back_as_they_were_written() {
    let database = TestDatabase::start().await;
    let mut connection = database.options().connect().await.unwrap();
    schema::migrate(&mut connection).await.unwrap();
    let owner = Ownership::new("owner".into(), 1);
    owner.take_all(&mut connection, Timestamp(0)).await.unwrap();
    let one = "INSERT INTO events (shard, seq, kind, id, version, epoch, at, name, bytes)
        VALUES (7, 1, 1, gen_random_uuid(), 1, 1, 1, 'moved', '')";
    sqlx::raw_sql(one).execute(&mut connection).await.unwrap();
    let shard = ShardId(7);
    let epoch = owner.epoch(shard).unwrap();
    let theirs = Mark { shard: ShardId(8), epoch: epoch + 1, told: 0, seq: 0 };
    // There are no events up to 9; up to 1 there are; and what has been marked stays.
    for (asked, told) in [(9, 0), (1, 1), (0, 1)] {
        let marks = [Mark { shard, epoch, told: asked, seq: asked }, theirs];
        let written = committer::write_marks(&mut connection, &marks, &[], &BTreeSet::new()).await;
        let mark = Mark { shard, epoch, told, seq: told };
        assert_eq!(written.unwrap(), BTreeMap::from([(shard, mark)]), "{asked}");
    }
}

/// As of a server that has gone back: what comes to stand there is still to be told.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commits_do_not_mark_as_told_what_is_not_there() {
    let database = TestDatabase::start().await;
    let mut connection = database.options().connect().await.unwrap();
    schema::migrate(&mut connection).await.unwrap();
    let owner = Ownership::new("owner".into(), 1);
    owner.take_all(&mut connection, Timestamp(0)).await.unwrap();
    let epoch = owner.epoch(ShardId(7)).unwrap();
    for (n_before, way) in [(0, Way::Swift), (1, Way::Sure), (2, Way::Swift)] {
        let terms = |_| Terms { epoch, told: 9, seq: n_before };
        let basis = Basis { terms: &terms, knows: &|_, _| true };
        let writes = [Write::new(next(1, n_before), oneshot::channel().0)];
        let written = batch::execute(&mut connection, basis, &writes, 1, way).await.unwrap();
        assert_eq!(written.outcomes, [Ok(n_before + 1)], "{way:?}");
        let told = "SELECT told FROM heads WHERE shard = 7";
        let told: i64 = sqlx::query_scalar(told).fetch_one(&mut connection).await.unwrap();
        assert_eq!(told.cast_unsigned(), n_before, "{way:?}");
    }
}

/// Whoever asks in vain may ask again at once; and only of the logs that were asked it is known how far they go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn logs_are_asked_again_at_once_if_they_did_not_answer() {
    let database = TestDatabase::start().await;
    let mut connection = database.options().connect().await.unwrap();
    let pool = PgPoolOptions::new().max_connections(2).connect_lazy_with(database.options());
    let horizon = Horizon::default();
    horizon.refresh(&pool, 0..=SHARDS - 1).await.expect_err("there are no logs");
    schema::migrate(&mut connection).await.unwrap();
    let written = "INSERT INTO events (shard, seq, kind, id, version, epoch, at, name, bytes)
        SELECT shard, 5, 1, gen_random_uuid(), 1, 1, 1, 'moved', '' FROM heads";
    sqlx::raw_sql(written).execute(&mut connection).await.unwrap();
    horizon.refresh(&pool, 3..=7).await.unwrap();
    assert_eq!([2, 3, 7, 8].map(|shard| horizon.seq(ShardId(shard))), [0, 5, 5, 0]);
    horizon.refresh(&pool, 8..=SHARDS - 1).await.unwrap();
    assert_eq!([2, 8, SHARDS - 1].map(|shard| horizon.seq(ShardId(shard))), [0, 5, 5]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_follows_sees_at_once_what_the_rows_of_heads_do_not_say_yet() {
    let database = TestDatabase::start().await;
    let (journal, _arbiter, _) = member(&database, "one").await;
    let (beside, ..) = member_without_shards(&database, "two").await;
    let (mut cursor, mut far) = (FeedCursor::start(), FeedCursor::start());
    for version in 0..5 {
        assert!(is_fenced(&journal, next(1, version)).await);
        let events = journal.feed(cursor.clone(), 10).await.unwrap();
        assert_eq!(events.iter().map(|event| event.seq).collect::<Vec<_>>(), [version + 1]);
        events.iter().for_each(|event| cursor.pass(event));
        // Another node is not told of it: it asks.
        let events = feed::page(&*beside, &far, 10, Duration::from_secs(30)).await.unwrap();
        assert_eq!(events.iter().map(|event| event.seq).collect::<Vec<_>>(), [version + 1]);
        events.iter().for_each(|event| far.pass(event));
    }
    journal.close().await.unwrap();
    beside.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_looks_while_heads_are_left_behind_sees_a_sound_journal() {
    let database = TestDatabase::start().await;
    let (journal, _arbiter, _) = member(&database, "one").await;
    let mut first = database.options().connect().await.unwrap();
    let writing = tokio::spawn({
        let journal = Arc::clone(&journal);
        async move {
            for version in 0..300 {
                let commits = (1..=8).map(|n| journal.commit(next(n, version)));
                for outcome in join_all(commits).await {
                    outcome.unwrap();
                }
            }
        }
    });
    let mut n_before = 0;
    while !writing.is_finished() {
        let looking = PostgresJournal::look(database.options(), "check").await.unwrap();
        let report = check(&looking, [], Timestamp(0)).await.unwrap();
        assert_eq!(report.violations, []);
        let n_events = report.counts.get(&Part::Events).copied().unwrap_or_default();
        assert!(n_events >= n_before, "{n_events} after {n_before}");
        n_before = n_events;
        looking.close().await.unwrap();
    }
    writing.await.unwrap();
    assert_eq!(end_of_7(&mut first).await, 2_400);
    journal.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shards_do_not_change_hands_where_what_was_waited_for_is_not_seen() {
    let database = TestDatabase::start().await;
    let mut connection = database.options().connect().await.unwrap();
    schema::migrate(&mut connection).await.unwrap();
    let taken = "BEGIN ISOLATION LEVEL REPEATABLE READ; UPDATE heads SET epoch = epoch + 1";
    let error = sqlx::raw_sql(taken).execute(&mut connection).await.unwrap_err();
    assert!(error.to_string().contains("read committed"), "{error}");
}

/// The schema is one role's, the nodes are another's, and who helps by hand is a third, who has tables of his own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn shards_change_hands_whoever_owns_the_tables() {
    const RIGHTS: &str = "CREATE ROLE node LOGIN; CREATE ROLE clerk LOGIN;
        GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA public TO node;
        GRANT USAGE ON ALL SEQUENCES IN SCHEMA public TO node;
        GRANT SELECT, UPDATE ON heads TO clerk";
    const BY_HAND: &str = "CREATE TEMP TABLE fences (incarnation int8, committer int2);
        CREATE TEMP TABLE events (shard int4, seq int8);
        UPDATE heads SET epoch = epoch + 1 WHERE shard = 7";
    // A role is known to all databases of a server.
    let database = TestDatabase::start_own().await;
    let mut owner = schema_5(&database).await;
    sqlx::raw_sql(RIGHTS).execute(&mut owner).await.unwrap();
    assert_eq!(schema::migrate(&mut owner).await.unwrap(), (5, schema::VERSION));
    let mut clerk = database.options().username("clerk").connect().await.unwrap();
    let settings = Settings { committers: 1, migrate: false, ..Settings::default() };
    let open = || PostgresJournal::open(database.options().username("node"), "node", settings);

    let journal = open().await.unwrap();
    for version in 0..3 {
        assert!(is_fenced(&journal, next(1, version)).await, "{version}");
    }
    let me = journal.shared.ownership.owner().1;
    sqlx::raw_sql(BY_HAND).execute(&mut clerk).await.unwrap();
    let found: (i64, i64) = sqlx::query_as(
        "SELECT h.seq, f.generation FROM heads h, fences f WHERE h.shard = 7 AND f.incarnation = $1",
    )
    .bind(me)
    .fetch_one(&mut owner)
    .await
    .unwrap();
    assert_eq!(found, (3, 1));
    let fenced = Err(CommitError::Fenced { shard: ShardId(7) });
    assert_eq!(journal.commit(next(1, 3)).await, fenced);
    journal.close().await.unwrap();

    let journal = open().await.expect("it takes what an earlier start of it had");
    assert!(is_fenced(&journal, next(1, 3)).await);
    journal.close().await.unwrap();
    assert_eq!(n_behind(&mut owner).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fences_move_also_in_a_session_that_leaves_triggers_out() {
    let database = TestDatabase::start().await;
    let mut connection = database.options().connect().await.unwrap();
    schema::migrate(&mut connection).await.unwrap();
    heads::make_fences(&mut connection, 1, &shares(1)).await.unwrap();
    let owner = Ownership::new("owner".into(), 1);
    owner.take_all(&mut connection, Timestamp(0)).await.unwrap();
    let ahead = "INSERT INTO events (shard, seq, kind, id, version, epoch, at, name, bytes)
        VALUES (7, 1, 1, gen_random_uuid(), 1, 1, 1, 'moved', '');
        SET session_replication_role = replica";
    sqlx::raw_sql(ahead).execute(&mut connection).await.unwrap();
    let taken = "UPDATE heads SET epoch = epoch + 1 WHERE shard = 7 RETURNING seq";
    let found: i64 = sqlx::query_scalar(taken).fetch_one(&mut connection).await.unwrap();
    assert_eq!((found, generations(Incarnation(1), &mut connection).await), (1, vec![1]));
}

/// Whoever is remembered is not looked up; whoever is not, is, also where nobody is expected to be refused.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_skips_versions_is_refused_by_who_remembers_and_by_who_does_not() {
    let database = TestDatabase::start().await;
    let open = || PostgresJournal::open(database.options(), "node", Settings::default());
    let at = |version, n| Commit { expected: Version(version), ..moved(entity(n)) };
    let journal = open().await.unwrap();
    journal.commit(at(0, 1)).await.unwrap();
    let stale = |version| Err(CommitError::Stale { actual: Version(version) });
    assert_eq!(journal.commit(at(5, 1)).await, stale(1));
    journal.close().await.unwrap();

    let journal = open().await.unwrap();
    assert_eq!(journal.commit(at(5, 1)).await, stale(1));
    let only_answers = |version, n| Commit { events: vec![], ..at(version, n) };
    journal.close().await.unwrap();
    let journal = open().await.unwrap();
    assert_eq!(journal.commit(only_answers(0, 1)).await, stale(1));
    journal.close().await.unwrap();
    let journal = open().await.unwrap();
    journal.commit(at(1, 1)).await.unwrap();
    assert_eq!(journal.load(entity(1)).await.unwrap().version(), Version(2));
    journal.close().await.unwrap();
}

/// A deadline without an event makes a row; the first event finds it there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_waited_before_it_began_goes_on_waiting_unless_it_says_otherwise() {
    let database = TestDatabase::start().await;
    let journal = PostgresJournal::open(database.options(), "node", Settings::default());
    let journal = journal.await.unwrap();
    let deadline = |at| Some(Some(Timestamp(at)));
    for n in [1, 2] {
        let waits = Commit { events: vec![], deadline: deadline(500), ..moved(entity(n)) };
        journal.commit(waits).await.unwrap();
    }
    journal.commit(moved(entity(1))).await.unwrap();
    journal.commit(Commit { deadline: deadline(600), ..moved(entity(2)) }).await.unwrap();
    let waiting = journal.deadlines(&ShardSet::ALL, Timestamp(1_000), None, 9).await.unwrap();
    assert_eq!(waiting, [(Timestamp(500), entity(1)), (Timestamp(600), entity(2))]);
    let report = check(&journal, [], Timestamp(0)).await.unwrap();
    assert_eq!(report.violations, []);
    journal.close().await.unwrap();
}

/// A database of version 1 with something in every table that changes.
const OLD: &str = "
    UPDATE heads SET epoch = 3, seq = 2 WHERE shard = 7;
    INSERT INTO epochs (shard, epoch, first_seq, owner, incarnation, at) VALUES (7, 3, 1, 'old', 1, 0);
    INSERT INTO events (shard, seq, kind, id, version, epoch, at, name, bytes)
        VALUES (7, 1, 1, $one, 1, 3, 10, 'a', 'x'), (7, 2, 1, $one, 2, 3, 11, 'b', 'y');
    INSERT INTO entities (kind, id, version, deadline) VALUES (1, $one, 2, 500), (4, $rider, 0, 400);
    INSERT INTO results (kind, id, command, at, bytes) VALUES (1, $one, $rider, 11, 'yes');
    INSERT INTO outbox (kind, id, version, place, at, bytes)
        VALUES (1, $one, 1, 0, 10, 'first'), (1, $one, 2, 1, 11, 'second');
    INSERT INTO views (kind, id, status, rider, at, body) VALUES (1, $one, 'searching', $rider, 10, '{ \"fare\": 7 }')";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_of_the_first_version_goes_on_where_it_was() {
    let database = TestDatabase::start().await;
    let mut connection = database.options().connect().await.unwrap();
    let (one, rider) = (entity(1), EntityKey::from(RiderId::nth(9)));
    let old =
        OLD.replace("$one", &format!("'{}'", one.id)).replace("$rider", &format!("'{}'", rider.id));
    let sql = [
        schema::MIGRATIONS[0],
        "CREATE TABLE schema_version (version int8 PRIMARY KEY); INSERT INTO schema_version VALUES (1)",
        &old,
    ];
    sqlx::raw_sql(AssertSqlSafe(sql.join(";"))).execute(&mut connection).await.unwrap();

    let journal =
        PostgresJournal::open(database.options(), "new", Settings::default()).await.unwrap();
    let of = |shards: &[EntityKey]| shards.iter().map(|it| it.shard()).collect::<ShardSet>();
    let deadlines =
        |shards: &[EntityKey]| journal.deadlines(&of(shards), Timestamp(1_000), None, 9);
    let both = deadlines(&[one, rider]).await.unwrap();
    assert_eq!(both, [(Timestamp(400), rider), (Timestamp(500), one)]);
    assert_eq!(deadlines(&[one]).await.unwrap(), both[1..]);
    let effects = journal.undelivered(&of(&[one]), None, 9).await.unwrap();
    let bytes: Vec<_> = effects.iter().map(|row| row.bytes.as_slice()).collect();
    assert_eq!(bytes, [&b"first"[..], b"second"]);
    assert_eq!(journal.undelivered(&of(&[rider]), None, 9).await.unwrap(), []);
    let searching =
        ViewQuery { statuses: vec!["searching".into()], ..ViewQuery::newest(Kind::Order, 9) };
    let views = journal.views(searching.clone()).await.unwrap();
    assert_eq!(views[0].1.body, serde_json::json!({ "fare": 7 }));
    let stored = journal.load(one).await.unwrap();
    assert_eq!((stored.version(), stored.results.len()), (Version(2), 1));

    // And what comes after stands beside what was there.
    let row = ViewRow { status: "done".into(), ..views[0].1.clone() };
    let events = vec![EncodedEvent { name: "c".into(), bytes: vec![] }];
    let commit = Commit {
        events,
        effects: vec![b"third".to_vec()],
        deadline: Some(None),
        view: Some(row),
        ..Commit::new(one, Version(2), Timestamp(12))
    };
    journal.commit(commit).await.unwrap();
    journal.delivered(vec![effects[0].key]).await.unwrap();
    journal.close().await.unwrap();
    let journal =
        PostgresJournal::open(database.options(), "new", Settings::default()).await.unwrap();
    let effects = journal.undelivered(&ShardSet::ALL, None, 9).await.unwrap();
    let bytes: Vec<_> = effects.iter().map(|row| row.bytes.as_slice()).collect();
    assert_eq!(bytes, [&b"second"[..], b"third"]);
    let deadlines = journal.deadlines(&ShardSet::ALL, Timestamp(1_000), None, 9).await;
    assert_eq!(deadlines.unwrap(), both[..1]);
    assert_eq!(journal.views(searching).await.unwrap(), []);
    let report = check(&journal, [], Timestamp(0)).await.unwrap();
    assert_eq!(report.violations, []);
    journal.close().await.unwrap();
}

/// An effect that nobody can be told must not hold back those after it: they are marked as told,
/// and it waits in the outbox.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_cannot_be_reached_holds_nobody_back() {
    const N: u64 = 300;
    let database = TestDatabase::start().await;
    let open = || PostgresJournal::open(database.options(), "node", Settings::default());
    let journal = open().await.unwrap();
    for version in 0..N {
        let commit = Commit {
            events: vec![EncodedEvent { name: "moved".into(), bytes: vec![] }],
            effects: vec![vec![1], vec![2]],
            ..Commit::new(entity(1), Version(version), Timestamp(1))
        };
        journal.commit(commit).await.unwrap();
        let told = [0, 1].map(|index| EffectKey {
            source: entity(1),
            version: Version(version + 1),
            index,
        });
        // Of the first commit, only the first effect.
        journal.delivered(told[..if version == 0 { 1 } else { 2 }].to_vec()).await.unwrap();
    }
    let waiting = EffectKey { source: entity(1), version: Version(1), index: 1 };
    let keys = |rows: Vec<OutboxRow>| rows.into_iter().map(|row| row.key).collect::<Vec<_>>();
    assert_eq!(keys(journal.undelivered(&ShardSet::ALL, None, 9).await.unwrap()), [waiting]);
    // As after a crash: nothing but what is in the tables.
    let (told, n_outbox): (i64, i64) = loop {
        let sql = "SELECT (SELECT told FROM heads WHERE shard = 7), (SELECT count(*) FROM outbox)";
        let row: (i64, i64) = sqlx::query_as(sql).fetch_one(&journal.readers).await.unwrap();
        if row.1 > 0 {
            break row;
        }
        tokio::task::yield_now().await;
    };
    assert!(told > 1 && n_outbox == 1, "{told}, {n_outbox}");
    journal.close().await.unwrap();

    let journal = open().await.unwrap();
    assert_eq!(keys(journal.undelivered(&ShardSet::ALL, None, 9).await.unwrap()), [waiting]);
    journal.delivered(vec![waiting]).await.unwrap();
    assert_eq!(journal.undelivered(&ShardSet::ALL, None, 9).await.unwrap(), []);
    journal.close().await.unwrap();
    let journal = open().await.unwrap();
    assert_eq!(journal.undelivered(&ShardSet::ALL, None, 9).await.unwrap(), []);
    journal.close().await.unwrap();
}

/// Puts the effect of two events of shard 7 in the outbox and the mark past them, as its committer does with what
/// has waited for long. The second of them is event `seq`.
async fn put_off(seq: u64, epoch: u64, connection: &mut PgConnection) {
    let shard = ShardId(7);
    let laggards = [seq - 1, seq].map(|seq| Laggard {
        shard,
        seq,
        commit: (entity(1), Version(seq)),
        left: BTreeSet::from([0]),
    });
    let mark = Mark { shard, epoch, told: seq, seq };
    let written = committer::write_marks(connection, &[mark], &laggards, &BTreeSet::new()).await;
    assert!(written.unwrap().contains_key(&shard), "it is still ours");
}

/// However many statements it takes to read all, and whatever is moved between them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_put_in_the_outbox_while_it_is_read_is_found_once_and_in_order() {
    const N_COMMITS: u64 = 4;
    let database = TestDatabase::start().await;
    let (journal, arbiter, _) = member(&database, "one").await;
    let telling = |commit| Commit { effects: vec![vec![1]], ..commit };
    for version in 0..N_COMMITS {
        journal.commit(telling(next(1, version))).await.unwrap();
    }
    let neighbour: EntityKey =
        OrderId::created_by(Uuid::nil(), CommandId::nth(1), ShardId(8)).into();
    journal.commit(telling(moved(neighbour))).await.unwrap();

    let epoch = arbiter.epoch(ShardId(7)).unwrap();
    let mut other = database.options().connect().await.unwrap();
    let mut pass = Pass::new(ShardSet::ALL, None, 100, 1);
    let mut n_moved = 0;
    while !pass.is_over() {
        pass.go_on(&journal.readers, &journal.shared).await.unwrap();
        // The one that was just read, and the one that would have been read next.
        if n_moved < N_COMMITS {
            n_moved += 2;
            put_off(n_moved, epoch, &mut other).await;
        }
    }
    let found: Vec<_> =
        pass.rows().into_iter().map(|row| (row.key.source, row.key.version.0)).collect();
    let of_one = (1..=N_COMMITS).map(|version| (entity(1), version));
    assert_eq!(found, of_one.chain([(neighbour, 1)]).collect::<Vec<_>>());
    journal.close().await.unwrap();
}

/// What another shard has put in the outbox meanwhile stands further back there, and is seen earlier.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_put_in_the_outbox_late_does_not_come_after_what_its_source_wants_told_later() {
    let moves = |shard: u16, seq: u64| {
        format!(
            "INSERT INTO outbox (shard, kind, id, version, place, at, bytes)
                 SELECT shard, kind, id, version, 0, at, '' FROM events WHERE shard = {shard} AND seq = {seq};
             UPDATE heads SET told = {seq} WHERE shard = {shard}"
        )
    };
    let database = TestDatabase::start().await;
    let (journal, ..) = member(&database, "one").await;
    let telling = |commit| Commit { effects: vec![vec![1]], ..commit };
    for version in 0..2 {
        journal.commit(telling(next(1, version))).await.unwrap();
    }
    let neighbour: EntityKey =
        OrderId::created_by(Uuid::nil(), CommandId::nth(1), ShardId(8)).into();
    journal.commit(telling(moved(neighbour))).await.unwrap();

    let mut slow = database.options().connect().await.unwrap();
    let mut other = database.options().connect().await.unwrap();
    let begun = format!("BEGIN; {}", moves(7, 1));
    sqlx::raw_sql(AssertSqlSafe(begun)).execute(&mut slow).await.unwrap();
    sqlx::raw_sql(AssertSqlSafe(moves(8, 1))).execute(&mut other).await.unwrap();
    let mut pass = Pass::new(ShardSet::ALL, None, 100, 1);
    let mut n_steps = 0;
    while !pass.is_over() {
        pass.go_on(&journal.readers, &journal.shared).await.unwrap();
        n_steps += 1;
        // Two events, that there are no others, and the outbox, as far as one looks at once.
        if n_steps == 4 {
            sqlx::raw_sql("COMMIT").execute(&mut slow).await.unwrap();
            sqlx::raw_sql(AssertSqlSafe(moves(7, 2))).execute(&mut other).await.unwrap();
        }
    }
    assert!(n_steps >= 4, "{n_steps} steps");
    let found: Vec<_> =
        pass.rows().into_iter().map(|row| (row.key.source, row.key.version.0)).collect();
    assert_eq!(found, [(neighbour, 1), (entity(1), 1), (entity(1), 2)]);
    journal.close().await.unwrap();
}

/// However many of those that come first are told already, and not yet taken out.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_told_does_not_hide_what_waits_behind_it_in_the_outbox() {
    let database = TestDatabase::start().await;
    let (journal, arbiter, _) = member(&database, "one").await;
    for version in 0..4 {
        let commit = next(1, version);
        journal.commit(Commit { effects: vec![vec![1]], ..commit }).await.unwrap();
    }
    let epoch = arbiter.epoch(ShardId(7)).unwrap();
    let mut other = database.options().connect().await.unwrap();
    for seq in [2, 4] {
        put_off(seq, epoch, &mut other).await;
    }
    // As they are between being told and being taken out by the next statement.
    let told = [1, 2, 3].map(|version| EffectKey {
        source: entity(1),
        version: Version(version),
        index: 0,
    });
    journal.shared.forgotten().extend(told);
    let left = journal.undelivered(&ShardSet::ALL, None, 1).await.unwrap();
    assert_eq!(left.iter().map(|row| row.key.version.0).collect::<Vec<_>>(), [4]);
    journal.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_looks_at_a_snapshot_reads_no_events_while_the_outbox_fills_its_pages() {
    let database = TestDatabase::start().await;
    let (journal, arbiter, _) = member(&database, "one").await;
    let telling = |commit| Commit { effects: vec![vec![1]], ..commit };
    for version in 0..2 {
        journal.commit(telling(next(1, version))).await.unwrap();
    }
    let neighbour: EntityKey =
        OrderId::created_by(Uuid::nil(), CommandId::nth(1), ShardId(8)).into();
    journal.commit(telling(moved(neighbour))).await.unwrap();
    let mut other = database.options().connect().await.unwrap();
    put_off(2, arbiter.epoch(ShardId(7)).unwrap(), &mut other).await;

    let looking = PostgresJournal::look(database.options(), "check").await.unwrap();
    let mut pass = Pass::new(ShardSet::ALL, None, 2, 1).of_snapshot();
    pass.go_on(&looking.readers, &looking.shared).await.unwrap();
    assert!(pass.is_over(), "one statement, for it found as many as were asked for");
    let (mut found, mut after) = (Vec::new(), None);
    loop {
        let page = looking.dump(Part::Effects, after, 1).await.unwrap();
        let Some(record) = page.into_iter().next() else { break };
        let Record::Effect { source, version, .. } = &record else { panic!("{record:?}") };
        found.push((*source, version.0));
        after = Some(record);
    }
    assert_eq!(found, [(entity(1), 1), (entity(1), 2), (neighbour, 1)]);
    looking.close().await.unwrap();
    journal.close().await.unwrap();
}

/// The next commit of the first entity: it answers a command with its number.
fn answering(version: u64, n_events: usize, n: u64) -> Commit {
    let event = EncodedEvent { name: "moved".into(), bytes: vec![] };
    let result = CommandResult { command: CommandId::nth(n), bytes: vec![n as u8] };
    let at = Timestamp(1_000 + n);
    Commit {
        events: vec![event; n_events],
        result: Some(result),
        ..Commit::new(entity(1), Version(version), at)
    }
}

/// How many answers have a row of their own, and how many stand with an event.
async fn places(journal: &PostgresJournal) -> (i64, i64) {
    let sql = "SELECT (SELECT count(*) FROM results), (SELECT count(*) FROM events WHERE answer IS NOT NULL)";
    sqlx::query_as(sql).fetch_one(&journal.readers).await.unwrap()
}

/// The answers of the first entity that are loaded with it, as their commands' numbers.
async fn answered(journal: &dyn Journal) -> Vec<u8> {
    let stored = journal.load(entity(1)).await.unwrap();
    stored.results.into_iter().map(|result| result.bytes[0]).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_stand_with_their_events_once_everybody_looks_there() {
    let database = TestDatabase::start().await;
    let open = || PostgresJournal::open(database.options(), "node", Settings::default());
    let journal = open().await.unwrap();
    let older = Format(Format::ANSWERS.0 - 1);
    journal.commit(Commit { writes: older, ..answering(0, 2, 1) }).await.unwrap();
    assert_eq!(places(&journal).await, (1, 0));
    journal.commit(answering(2, 0, 2)).await.unwrap();
    journal.commit(answering(2, 3, 3)).await.unwrap();
    journal.commit(answering(5, 0, 4)).await.unwrap();
    journal.commit(answering(5, 1, 5)).await.unwrap();
    assert_eq!(places(&journal).await, (3, 2), "refusals have rows, and what was early");
    let last: Vec<i64> =
        sqlx::query_scalar("SELECT version FROM events WHERE answer IS NOT NULL ORDER BY version")
            .fetch_all(&journal.readers)
            .await
            .unwrap();
    assert_eq!(last, [5, 6], "the last event of each commit");
    assert_eq!(answered(&journal).await, [1, 2, 3, 4, 5]);
    journal.close().await.unwrap();

    // As well by who remembers nobody, one by one and in a batch.
    let journal = open().await.unwrap();
    let other = |n| Commit { entity: entity(n), ..answering(0, 1, n) };
    let waits = Commit { events: vec![], deadline: Some(Some(Timestamp(9_000))), ..other(8) };
    let (one, two, three) = futures_util::join!(
        journal.commit(answering(6, 1, 6)),
        journal.commit(other(7)),
        journal.commit(waits)
    );
    assert_eq!((one, two, three), (Ok(()), Ok(()), Ok(())));
    assert_eq!(places(&journal).await, (4, 4));
    assert_eq!(answered(&journal).await, [1, 2, 3, 4, 5, 6]);
    let report = check(&journal, [], Timestamp(0)).await.unwrap();
    assert_eq!(report.violations, []);
    journal.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_forgotten_of_events_is_neither_loaded_nor_found_nor_exported() {
    let database = TestDatabase::start().await;
    let journal = PostgresJournal::open(database.options(), "node", Settings::default());
    let journal = journal.await.unwrap();
    for n in 1..=6 {
        // The second and the fifth are refusals.
        let n_events = usize::from(n % 3 != 2);
        let version = [0, 1, 1, 2, 3, 3][n as usize - 1];
        journal.commit(answering(version, n_events, n)).await.unwrap();
    }
    assert_eq!(answered(&journal).await, [1, 2, 3, 4, 5, 6]);
    let forgotten = journal.forget_results(Timestamp(1_004)).await.unwrap();
    let with_events_before = Some(Timestamp(1_004));
    assert_eq!(forgotten, Forgotten { n_rows: 1, with_events_before }, "a refusal has a row");
    assert_eq!(answered(&journal).await, [4, 5, 6]);
    assert_eq!(places(&journal).await, (1, 4), "events stay as they are");
    for n in 1..=6 {
        let found = journal.result(entity(1), CommandId::nth(n)).await.unwrap();
        assert_eq!(found, (n >= 4).then(|| vec![n as u8]));
    }
    let exported = journal.dump(Part::Results, None, 9).await.unwrap();
    assert_eq!(exported.len(), 3, "{exported:?}");
    journal.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_of_both_places_are_exported_and_imported() {
    let database = TestDatabase::start().await;
    let journal = PostgresJournal::open(database.options(), "node", Settings::default());
    let journal = journal.await.unwrap();
    // Refused first, then done, so that both have the same order.
    for n in 1..=5 {
        journal.commit(answering(0, 0, n)).await.unwrap();
    }
    for n in 6..=12 {
        journal.commit(answering(n - 6, 1, n)).await.unwrap();
    }
    assert_eq!(places(&journal).await, (5, 7));
    let exported = |journal: PostgresJournal, limit| async move {
        let mut records: Vec<Record> = Vec::new();
        for part in Part::ALL {
            let mut after = None;
            loop {
                let page = journal.dump(*part, after, limit).await.unwrap();
                after = page.last().cloned();
                records.extend(page);
                if after.is_none() {
                    break;
                }
            }
        }
        records
    };
    let records = exported(journal.clone(), 1_000).await;
    assert_eq!(exported(journal.clone(), 2).await, records);
    let positions = |records: &[Record]| -> Vec<u64> {
        let positions = records.iter().filter_map(|record| {
            let Record::Result { position, .. } = record else { return None };
            Some(*position)
        });
        positions.collect()
    };
    let before = positions(&records);
    assert!(before.is_sorted_by(|a, b| a < b) && before.len() == 12, "{before:?}");
    assert_eq!(before.iter().filter(|position| **position >= WITH_EVENTS).count(), 7);

    let other_database = TestDatabase::start().await;
    let imported = PostgresJournal::open(other_database.options(), "node", Settings::default());
    let imported = imported.await.unwrap();
    let in_memory = MemoryJournal::new();
    for page in records.chunks(5) {
        imported.restore(page.to_vec()).await.unwrap();
        in_memory.restore(page.to_vec()).await.unwrap();
    }
    assert_eq!(places(&imported).await, (12, 0));
    assert_eq!(answered(&imported).await, answered(&journal).await);
    assert_eq!(answered(&in_memory).await, answered(&journal).await);
    let after = positions(&exported(imported.clone(), 5).await);
    assert!(after.is_sorted_by(|a, b| a < b) && after.len() == 12, "{after:?}");
    assert!(after.iter().all(|position| *position < WITH_EVENTS), "{after:?}");
    for (version, n_events, n) in [(7, 0, 13), (7, 1, 14)] {
        imported.commit(answering(version, n_events, n)).await.unwrap();
    }
    assert_eq!(answered(&imported).await, (1..=14).collect::<Vec<_>>());
    let report = check(&imported, [], Timestamp(0)).await.unwrap();
    assert_eq!(report.violations, []);
    journal.close().await.unwrap();
    imported.close().await.unwrap();
}

/// Wherever it was kept: in the row of its event, or in one of its own.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_gone_or_there_twice_is_found() {
    let database = TestDatabase::start().await;
    let journal = PostgresJournal::open(database.options(), "node", Settings::default());
    let journal = journal.await.unwrap();
    let older = Format(Format::ANSWERS.0 - 1);
    journal.commit(answering(0, 2, 1)).await.unwrap();
    journal.commit(Commit { writes: older, ..answering(2, 2, 2) }).await.unwrap();
    journal.commit(answering(4, 0, 3)).await.unwrap();
    assert_eq!(places(&journal).await, (2, 1));
    let found = |since| {
        let journal = &journal;
        async move {
            let report = check(journal, [], Timestamp(since)).await.unwrap();
            let invariants: Vec<_> = report.violations.iter().map(|it| it.invariant).collect();
            (report.n_applied, invariants)
        }
    };
    assert_eq!(found(0).await, (2, vec![]), "a refusal applies nothing");

    let mut connection = database.options().connect().await.unwrap();
    let steps = [
        (
            "INSERT INTO results (id, kind, command, at, bytes, version)
             SELECT id, kind, command, at, 'other', version FROM events WHERE answer IS NOT NULL",
            vec![Invariant::Once],
        ),
        ("DELETE FROM results WHERE bytes = 'other'", vec![]),
        ("DELETE FROM results WHERE at = 1002", vec![Invariant::Once]),
        (
            "DROP TRIGGER events_stay ON events; UPDATE events SET answer = NULL",
            vec![Invariant::Once; 2],
        ),
    ];
    for (sql, wanted) in steps {
        sqlx::raw_sql(sql).execute(&mut connection).await.unwrap();
        assert_eq!(found(0).await, (2, wanted), "{sql}");
    }
    assert_eq!(found(1_002).await, (1, vec![Invariant::Once]), "the first may be forgotten");
    journal.close().await.unwrap();
}

/// As a build that knows no such places may have imported it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_apart_that_stands_where_those_of_events_do_is_not_passed_over() {
    let database = TestDatabase::start().await;
    let journal = PostgresJournal::open(database.options(), "node", Settings::default());
    let journal = journal.await.unwrap();
    for n in 1..=3 {
        journal.commit(answering(0, 0, n)).await.unwrap();
    }
    let mut connection = database.options().connect().await.unwrap();
    let astray = format!("UPDATE results SET position = {WITH_EVENTS} WHERE at = 1002");
    sqlx::raw_sql(AssertSqlSafe(astray)).execute(&mut connection).await.unwrap();
    for limit in [1, 9] {
        let mut after = None;
        let error = loop {
            match journal.dump(Part::Results, after, limit).await {
                Ok(page) => after = Some(page.last().cloned().expect("not the end of all")),
                Err(error) => break error,
            }
        };
        let is_said =
            matches!(&error, JournalError::Unreadable { entity: of, .. } if *of == entity(1));
        assert!(is_said, "{error}");
    }
    journal.close().await.unwrap();
}

/// What schema 5 had of an entity that answered twice.
const ANSWERED: &str = "
    UPDATE heads SET epoch = 3, seq = 1, told = 1 WHERE shard = 7;
    INSERT INTO epochs (shard, epoch, first_seq, owner, incarnation, at) VALUES (7, 3, 1, 'old', 1, 0);
    INSERT INTO events (shard, seq, kind, id, version, epoch, at, command, name, bytes)
        VALUES (7, 1, 1, $one, 1, 3, 1001, $first, 'a', 'x');
    INSERT INTO entities (kind, id, shard) VALUES (1, $one, 7);
    INSERT INTO results (kind, id, command, at, bytes) VALUES (1, $one, $first, 1001, '\\x01'),
        (1, $one, $second, 1002, '\\x02')";

/// What a build that knows schema 5 goes on to do beside one that knows more.
const BESIDE: &str = "
    INSERT INTO events (shard, seq, kind, id, version, epoch, at, command, name, bytes, effects)
        VALUES (7, 2, 1, $one, 2, 3, 1003, $third, 'b', 'y', NULL);
    UPDATE heads SET seq = 2, told = 2 WHERE shard = 7;
    INSERT INTO results (id, kind, command, at, position, bytes)
        VALUES ($one, 1, $third, 1003, nextval('result_positions'), '\\x03')";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_of_schema_5_and_of_builds_that_know_no_other_are_found() {
    let database = TestDatabase::start().await;
    let mut connection = schema_5(&database).await;
    let said = |sql: &str| {
        let names = [("$one", entity(1).id), ("$first", CommandId::nth(1).0)];
        let more = [("$second", CommandId::nth(2).0), ("$third", CommandId::nth(3).0)];
        let names = names.into_iter().chain(more);
        names.fold(sql.to_owned(), |sql, (name, id)| sql.replace(name, &format!("'{id}'")))
    };
    sqlx::raw_sql(AssertSqlSafe(said(ANSWERED))).execute(&mut connection).await.unwrap();
    assert_eq!(schema::migrate(&mut connection).await.unwrap(), (5, schema::VERSION));
    sqlx::raw_sql(AssertSqlSafe(said(BESIDE))).execute(&mut connection).await.unwrap();

    let journal = PostgresJournal::open(database.options(), "new", Settings::default());
    let journal = journal.await.unwrap();
    assert_eq!(answered(&journal).await, [1, 2, 3]);
    journal.commit(answering(2, 1, 4)).await.unwrap();
    journal.commit(answering(3, 0, 5)).await.unwrap();
    assert_eq!(places(&journal).await, (4, 1));
    assert_eq!(answered(&journal).await, [1, 2, 3, 4, 5]);
    for n in 1..=5 {
        let found = journal.result(entity(1), CommandId::nth(n)).await.unwrap();
        assert_eq!(found, Some(vec![n as u8]));
    }
    let report = check(&journal, [], Timestamp(0)).await.unwrap();
    assert_eq!(report.violations, []);
    journal.close().await.unwrap();
    assert_eq!(n_behind(&mut connection).await, 0);
}

/// Keeps something of shard 7, as its owner under that epoch does.
async fn keep_under(epoch: i64, connection: &mut PgConnection) -> Option<i32> {
    let keep = sqlx::query_scalar(include_str!("keep.sql")).bind(7_i32).bind(epoch).bind("a");
    keep.bind(vec![epoch as u8]).fetch_optional(connection).await.unwrap()
}

async fn kept_of_7(connection: &mut PgConnection) -> Vec<u8> {
    let kept = "SELECT bytes FROM shelves WHERE shard = 7 AND name = 'a'";
    sqlx::query_scalar(kept).fetch_one(connection).await.unwrap()
}

/// A shard that is taken while something is being kept under the old ownership: whoever takes it waits, and reads what was kept;
/// or has been faster, and nothing is kept.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_kept_is_there_before_somebody_else_has_the_shard_or_never() {
    const TAKEN: &str = "UPDATE heads SET epoch = epoch + 1 WHERE shard = 7";
    let database = TestDatabase::start().await;
    let mut watching = database.options().connect().await.unwrap();
    schema::migrate(&mut watching).await.unwrap();
    let mut old = database.options().connect().await.unwrap();
    let mut thief = database.options().connect().await.unwrap();
    // It is being kept, and the thief waits for that.
    sqlx::raw_sql("BEGIN").execute(&mut old).await.unwrap();
    assert_eq!(keep_under(0, &mut old).await, Some(1));
    let stealing = tokio::spawn(async move {
        sqlx::raw_sql(TAKEN).execute(&mut thief).await.unwrap();
        thief
    });
    until_somebody_waits(&mut watching).await;
    sqlx::raw_sql("COMMIT").execute(&mut old).await.unwrap();
    let mut thief = stealing.await.unwrap();
    assert_eq!(kept_of_7(&mut thief).await, [0]);
    // The thief is at it, and whoever keeps under the old ownership waits in vain.
    sqlx::raw_sql("BEGIN").execute(&mut thief).await.unwrap();
    sqlx::raw_sql(TAKEN).execute(&mut thief).await.unwrap();
    let keeping = tokio::spawn(async move { keep_under(1, &mut old).await });
    until_somebody_waits(&mut watching).await;
    sqlx::raw_sql("COMMIT").execute(&mut thief).await.unwrap();
    assert_eq!(keeping.await.unwrap(), None);
    assert_eq!(kept_of_7(&mut thief).await, [0]);
    // Its successor may, and then the row itself refuses what is older, whatever the head says.
    assert_eq!(keep_under(2, &mut thief).await, Some(1));
    let back = "UPDATE heads SET epoch = 1 WHERE shard = 7";
    sqlx::raw_sql(back).execute(&mut thief).await.unwrap();
    assert_eq!(keep_under(1, &mut thief).await, None);
    assert_eq!(kept_of_7(&mut thief).await, [2]);
}

/// Returns once somebody waits for another one's transaction.
async fn until_somebody_waits(connection: &mut PgConnection) {
    let sql = "SELECT EXISTS (SELECT FROM pg_stat_activity
               WHERE datname = current_database() AND wait_event_type = 'Lock')";
    while !sqlx::query_scalar::<_, bool>(sql).fetch_one(&mut *connection).await.unwrap() {
        tokio::task::yield_now().await;
    }
}

/// A database of schema 5.
async fn schema_5(database: &TestDatabase) -> PgConnection {
    let mut connection = database.options().connect().await.unwrap();
    let sql = [
        schema::MIGRATIONS[0],
        "CREATE TEMP TABLE shards_of (kind int2, id uuid, shard int4)",
        schema::MIGRATIONS[1],
        "DROP TABLE shards_of",
        schema::MIGRATIONS[2],
        schema::MIGRATIONS[3],
        schema::MIGRATIONS[4],
        "CREATE TABLE schema_version (version int8 PRIMARY KEY); INSERT INTO schema_version VALUES (5)",
    ];
    sqlx::raw_sql(AssertSqlSafe(sql.join(";"))).execute(&mut connection).await.unwrap();
    connection
}

/// Returns once somebody waits for a lock on `table`.
async fn until_somebody_waits_for(table: &str, connection: &mut PgConnection) {
    let sql = "SELECT EXISTS (SELECT FROM pg_locks l JOIN pg_class c ON c.oid = l.relation
               WHERE NOT l.granted AND c.relname = $1 AND l.database =
                   (SELECT oid FROM pg_database WHERE datname = current_database()))";
    while !sqlx::query_scalar::<_, bool>(sql).bind(table).fetch_one(&mut *connection).await.unwrap()
    {
        tokio::task::yield_now().await;
    }
}

/// A commit that looks at events before it writes some has nothing that the migration waits for while
/// it waits for the migration.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_is_under_way_and_a_migration_do_not_wait_for_each_other() {
    let database = TestDatabase::start().await;
    let mut watching = schema_5(&database).await;
    let mut committing = database.options().connect().await.unwrap();
    let looks = "BEGIN; SELECT FROM heads WHERE shard = 7 FOR UPDATE; SELECT FROM events";
    sqlx::raw_sql(looks).execute(&mut committing).await.unwrap();
    let mut migrating = database.options().connect().await.unwrap();
    let migrating = tokio::spawn(async move { schema::migrate(&mut migrating).await });
    until_somebody_waits_for("heads", &mut watching).await;
    let writes = "INSERT INTO events (shard, seq, kind, id, version, epoch, at, name, bytes)
        VALUES (7, 1, 1, gen_random_uuid(), 1, 1, 1, 'moved', ''); COMMIT";
    sqlx::raw_sql(writes).execute(&mut committing).await.unwrap();
    assert_eq!(migrating.await.unwrap().unwrap(), (5, schema::VERSION));
}

/// Somebody who reads for hours would have everybody else wait behind the migration.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_migration_gives_way_to_who_reads_for_long() {
    let database = TestDatabase::start().await;
    let mut migrating = schema_5(&database).await;
    let mut export = database.options().connect().await.unwrap();
    let read = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY; SELECT FROM events";
    sqlx::raw_sql(read).execute(&mut export).await.unwrap();
    let error = schema::migrate(&mut migrating).await.unwrap_err().to_string();
    assert!(error.contains("lock timeout"), "{error}");
    sqlx::raw_sql("COMMIT").execute(&mut export).await.unwrap();
    assert_eq!(schema::migrate(&mut migrating).await.unwrap(), (5, schema::VERSION));
}

/// In a new database, and in one that was just migrated.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_forgotten_before_the_first_sweep() {
    for is_new in [true, false] {
        let database = TestDatabase::start().await;
        if !is_new {
            drop(schema_5(&database).await);
        }
        let journal = PostgresJournal::open(database.options(), "node", Settings::default());
        let journal = journal.await.unwrap();
        journal.commit(Commit { at: Timestamp(0), ..answering(0, 1, 1) }).await.unwrap();
        assert_eq!(places(&journal).await, (0, 1));
        assert_eq!(answered(&journal).await, [1]);
        assert_eq!(journal.dump(Part::Results, None, 9).await.unwrap().len(), 1);
        for (before, left) in [(0, vec![1]), (1, vec![])] {
            let forgotten = journal.forget_results(Timestamp(before)).await.unwrap();
            let with_events_before = Some(Timestamp(before));
            assert_eq!(forgotten, Forgotten { n_rows: 0, with_events_before });
            assert_eq!(answered(&journal).await, left);
        }
        journal.close().await.unwrap();
    }
}

/// A clock that is ahead forgets nothing that is young.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_sweep_by_a_clock_that_is_ahead_forgets_nothing_that_is_young() {
    let database = TestDatabase::start().await;
    let journal = PostgresJournal::open(database.options(), "node", Settings::default());
    let journal = journal.await.unwrap();
    let at = super::now();
    let old = Timestamp(at.0 - 86_400_000);
    journal.commit(Commit { at: old, ..answering(0, 1, 1) }).await.unwrap();
    journal.commit(Commit { at, ..answering(1, 1, 2) }).await.unwrap();
    let forgotten = journal.forget_results(Timestamp(at.0 + 86_400_000)).await.unwrap();
    let said = forgotten.with_events_before.unwrap();
    assert!(old < said && said < at, "{said:?} is what was done, not what was asked");
    assert_eq!(answered(&journal).await, [2]);
    journal.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_entity_is_found_by_the_key_that_keeps_it_from_forking() {
    let database = TestDatabase::start().await;
    let journal = PostgresJournal::open(database.options(), "node", Settings::default());
    let journal = journal.await.unwrap();
    journal.commit(answering(0, 1, 1)).await.unwrap();
    let mut connection = database.options().connect().await.unwrap();
    let twice = "INSERT INTO events (shard, seq, kind, id, version, epoch, at, name, bytes)
        SELECT shard, seq + 1, kind, id, version, epoch, at, name, bytes FROM events";
    let error = sqlx::raw_sql(twice).execute(&mut connection).await.unwrap_err();
    let code = error.as_database_error().and_then(|it| it.code()).unwrap_or_default();
    assert_eq!(code, "23505", "{error}");
    assert!(!committer::is_place_taken(&error), "it says nothing of how far the log goes: {error}");
    let over_it = "INSERT INTO events (shard, seq, kind, id, version, epoch, at, name, bytes)
        SELECT shard, seq, kind, gen_random_uuid(), version, epoch, at, name, bytes FROM events";
    let error = sqlx::raw_sql(over_it).execute(&mut connection).await.unwrap_err();
    assert!(committer::is_place_taken(&error), "{error}");

    let newest = format!(
        "SET enable_seqscan = off; SET enable_bitmapscan = off;
         EXPLAIN SELECT version FROM events WHERE shard = 7 AND id = '{}' AND kind = 1
         ORDER BY version DESC LIMIT 1",
        entity(1).id
    );
    let plan = sqlx::raw_sql(AssertSqlSafe(newest)).fetch_all(&mut connection).await.unwrap();
    let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
    let plan = plan.join("\n");
    assert!(plan.contains("_by_entity") && !plan.contains("Sort"), "{plan}");
    journal.close().await.unwrap();
}

/// A page of what stands with events costs what it has, and not what all shards have.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_stands_with_events_is_read_shard_by_shard_as_far_as_it_is_asked_for() {
    let database = TestDatabase::start().await;
    let mut connection = database.options().connect().await.unwrap();
    schema::migrate(&mut connection).await.unwrap();
    let shards: Vec<_> = (0..SHARDS).map(|shard| shard.to_string()).collect();
    // Whatever it takes these tables for: a sort remains only where there is no way without.
    let sql = format!(
        "SET enable_seqscan = off; SET enable_bitmapscan = off; SET enable_sort = off;
         PREPARE page (int4[], int4, int8, int8) AS {};
         EXPLAIN (COSTS OFF) EXECUTE page ('{{{}}}', 0, 0, 1000)",
        read::WITH_EVENTS,
        shards.join(","),
    );
    let plan = sqlx::raw_sql(AssertSqlSafe(sql)).fetch_all(&mut connection).await.unwrap();
    let plan: Vec<String> = plan.iter().map(|row| row.get(0)).collect();
    let is_sort = |line: &String| line.trim_start_matches([' ', '-', '>']).trim_end() == "Sort";
    let plan_shown = plan.join("\n");
    assert!(!plan.iter().any(is_sort), "{plan_shown}");
    assert!(plan_shown.contains("heads_pkey"), "{plan_shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shards_of_a_part_stand_side_by_side() {
    let database = TestDatabase::start().await;
    let mut connection = database.options().connect().await.unwrap();
    schema::migrate(&mut connection).await.unwrap();
    let shares = Shares::read(&mut connection, 1).await.unwrap();
    let one_each = "INSERT INTO events (shard, seq, kind, id, version, epoch, at, name, bytes)
        SELECT shard, 1, 1, md5(shard::text)::uuid, 1, 1, 1, '', '' FROM heads";
    sqlx::raw_sql(one_each).execute(&mut connection).await.unwrap();
    let lie: Vec<(i64, i32)> = sqlx::query_as("SELECT tableoid::int8, shard FROM events")
        .fetch_all(&mut connection)
        .await
        .unwrap();
    let mut parts: BTreeMap<i64, BTreeSet<u16>> = BTreeMap::new();
    for (part, shard) in lie {
        parts.entry(part).or_default().insert(shares.place(ShardId(shard as u16)));
    }
    assert_eq!(parts.len(), 16);
    for places in parts.values() {
        let (first, last) = (places.first().unwrap(), places.last().unwrap());
        assert_eq!(usize::from(last - first) + 1, places.len(), "{places:?}");
    }
    assert_eq!(parts.values().map(BTreeSet::len).sum::<usize>(), usize::from(SHARDS));
}

/// Also where the start before has divided the shards otherwise. A statement is a transaction, which its rows name.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_statement_writes_to_parts_that_no_other_committer_writes_to() {
    const WRITTEN: &str = "SELECT e.xmin::text, e.tableoid::int8, f.committer
        FROM events e JOIN heads h ON h.shard = e.shard AND h.epoch = e.epoch
        JOIN fences f ON f.incarnation = h.incarnation AND get_bit(f.shards, e.shard) = 1";
    let database = TestDatabase::start().await;
    for (round, committers) in [(1, 2), (2, 4), (3, 2)] {
        let settings = Settings { committers, ..Settings::default() };
        let journal = PostgresJournal::open(database.options(), "node", settings).await.unwrap();
        let one_each = (0..SHARDS).map(|shard| {
            let author = Uuid::from_u128(shard.into());
            let order = OrderId::created_by(author, CommandId::nth(round), ShardId(shard));
            journal.commit(moved(order.into()))
        });
        for outcome in join_all(one_each).await {
            outcome.unwrap();
        }
        let written: Vec<(String, i64, i16)> =
            sqlx::query_as(WRITTEN).fetch_all(&journal.readers).await.unwrap();
        assert_eq!(written.len(), usize::from(SHARDS), "a shard has one committer");
        let mut statements: BTreeMap<String, (BTreeSet<i16>, BTreeSet<i64>)> = BTreeMap::new();
        let mut parts: BTreeMap<i64, BTreeSet<i16>> = BTreeMap::new();
        for (statement, part, committer) in written {
            let (whose, into) = statements.entry(statement).or_default();
            whose.insert(committer);
            into.insert(part);
            parts.entry(part).or_default().insert(committer);
        }
        for (whose, into) in statements.values() {
            assert_eq!(whose.len(), 1, "a statement writes what the fences say its committer may");
            assert!(into.len() <= 16 / committers, "{} parts of {committers}", into.len());
        }
        assert_eq!(parts.len(), 16);
        assert!(parts.values().all(|whose| whose.len() == 1), "{parts:?}");
        journal.close().await.unwrap();
    }
}

#[test]
fn the_url_of_another_database_is_refused() {
    for url in ["mysql://node@db/outrider", "db:5432/outrider", ""] {
        assert!(address(url).is_err(), "{url}");
    }
    for url in ["postgres://node@db/outrider", "postgresql:///outrider?host=/run/postgresql"] {
        address(url).expect(url);
    }
}
