//! The Postgres journal keeps every journal's contract, and loses nothing when its connections or its
//! server are torn away.
#![expect(clippy::unwrap_used, reason = "helpers of tests are not seen as tests")]

use actors::{
    Commit, EntityKey, Format, Version,
    commit::{CommandResult, EncodedEvent},
    journal::{
        CommitError, FeedCursor, Journal, JournalError, SharedJournal,
        faulty::{FaultyJournal, Odds},
        postgres::{OpenError, PostgresJournal, Settings, private::Stop, testing::TestDatabase},
    },
};
use futures_util::future::join_all;
use protocol::{CommandId, OrderId, ShardId, ShardSet, Timestamp};
use sqlx::{ConnectOptions, Connection, postgres::PgConnectOptions};
use std::{
    collections::{HashMap, HashSet},
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::{Duration, Instant},
};
use tokio::{
    net::{TcpListener, UnixStream},
    sync::watch,
    task::JoinHandle,
};

/// How long anything may take that is waited for.
const SOON: Duration = Duration::from_secs(10);

async fn in_postgres() -> (SharedJournal, TestDatabase) {
    let database = TestDatabase::start().await;
    let journal = open(&database).await;
    (Arc::new(journal), database)
}

async fn open(database: &TestDatabase) -> PostgresJournal {
    PostgresJournal::open(database.options(), "test", Settings::default()).await.unwrap()
}

mod contract {
    actors::journal_contract!(super::in_postgres);
}

fn order(n: u64) -> EntityKey {
    OrderId::created_by(
        uuid::Uuid::from_u128(n.into()),
        CommandId::nth(n),
        ShardId((n % 1024) as u16),
    )
    .into()
}

/// What entities do, without their rules: each commits command after command, retries while nothing
/// was written, and looks when nobody knows.
struct Authors {
    tasks: Vec<JoinHandle<Vec<CommandId>>>,
    n_acknowledged: Arc<AtomicU64>,
    n_unknown: Arc<AtomicU64>,
    n_refused: Arc<AtomicU64>,
}

const N_AUTHORS: u64 = 128;

impl Authors {
    /// Lets them write until each has `n_commits`.
    fn start(journal: &SharedJournal, n_commits: u64) -> Self {
        let (n_acknowledged, n_unknown, n_refused) =
            (Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default(), Arc::<AtomicU64>::default());
        let tasks = (0..N_AUTHORS)
            .map(|author| {
                let journal = Arc::clone(journal);
                let counts = [&n_acknowledged, &n_unknown, &n_refused].map(Arc::clone);
                tokio::spawn(write_all(journal, author, n_commits, counts))
            })
            .collect();
        Self { tasks, n_acknowledged, n_unknown, n_refused }
    }

    fn n_acknowledged(&self) -> u64 {
        self.n_acknowledged.load(Ordering::Relaxed)
    }

    fn is_finished(&self) -> bool {
        self.tasks.iter().all(JoinHandle::is_finished)
    }

    /// All that were acknowledged, by author.
    async fn acknowledged(self) -> Vec<Vec<CommandId>> {
        join_all(self.tasks).await.into_iter().map(Result::unwrap).collect()
    }
}

async fn write_all(
    journal: SharedJournal,
    author: u64,
    n_commits: u64,
    [n_acknowledged, n_unknown, n_refused]: [Arc<AtomicU64>; 3],
) -> Vec<CommandId> {
    let entity = order(author);
    let mut version = Version(0);
    let mut acknowledged = Vec::new();
    for n in 0..n_commits {
        let command = CommandId::nth(author * 1_000_000 + n);
        loop {
            let events = vec![EncodedEvent { name: "moved".into(), bytes: vec![7; 40] }];
            let result = Some(CommandResult { command, bytes: n.to_be_bytes().into() });
            let effects = vec![vec![1]];
            let commit =
                Commit { events, result, effects, ..Commit::new(entity, version, Timestamp(n)) };
            match journal.commit(commit).await {
                Ok(()) => {
                    version.0 += 1;
                    break;
                }
                Err(CommitError::Unavailable(_)) => {
                    n_refused.fetch_add(1, Ordering::Relaxed);
                    tokio::time::sleep(Duration::from_millis(20)).await;
                }
                Err(CommitError::Unknown(_) | CommitError::Stale { .. }) => {
                    n_unknown.fetch_add(1, Ordering::Relaxed);
                    let stored = loop {
                        match journal.load(entity).await {
                            Ok(stored) => break stored,
                            Err(JournalError::Unavailable(_)) => {
                                tokio::time::sleep(Duration::from_millis(20)).await;
                            }
                            Err(error @ JournalError::Unreadable { .. }) => panic!("{error}"),
                        }
                    };
                    version = stored.version();
                    if stored.results.iter().any(|result| result.command == command) {
                        break;
                    }
                }
                Err(error) => panic!("{error}"),
            }
        }
        acknowledged.push(command);
        n_acknowledged.fetch_add(1, Ordering::Relaxed);
    }
    acknowledged
}

/// Every acknowledged command was written once, versions and logs have no gap, and epochs only grow.
async fn assert_sound(journal: &SharedJournal, acknowledged: &[Vec<CommandId>]) {
    let mut cursor = FeedCursor::start();
    let mut commands: HashMap<EntityKey, Vec<CommandId>> = HashMap::new();
    let mut logs: HashMap<ShardId, (u64, u64)> = HashMap::new();
    loop {
        let page = journal.feed(cursor.clone(), 10_000).await.unwrap();
        if page.is_empty() {
            break;
        }
        for event in &page {
            let (seq, epoch) = logs.entry(event.shard).or_insert((0, 0));
            assert_eq!(event.seq, *seq + 1, "no gap in the log of {}", event.shard);
            assert!(event.epoch >= *epoch, "epochs of {} only grow", event.shard);
            (*seq, *epoch) = (event.seq, event.epoch);
            let history = commands.entry(event.entity).or_default();
            history.push(event.command.unwrap());
            assert_eq!(event.recorded.version.0, history.len() as u64, "{}", event.entity);
            cursor.pass(event);
        }
    }
    for (author, acknowledged) in (0..).zip(acknowledged) {
        assert_eq!(commands[&order(author)], *acknowledged, "each once, in order");
    }
    let effects = journal.undelivered(&ShardSet::ALL, None, usize::MAX).await.unwrap();
    let keys: HashSet<_> = effects.iter().map(|row| row.key).collect();
    let n_acknowledged: usize = acknowledged.iter().map(Vec::len).sum();
    assert_eq!((effects.len(), keys.len()), (n_acknowledged, n_acknowledged));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_hundred_thousand_commits_of_which_one_in_a_hundred_is_in_doubt() {
    let (journal, _database) = in_postgres().await;
    let odds = Odds { seed: 3, lost_before: 0.005, lost_after: 0.005, ..Odds::default() };
    let faulty = FaultyJournal::new(Arc::clone(&journal), odds);
    let shared: SharedJournal = Arc::new(faulty.clone());
    let authors = Authors::start(&shared, 100_000 / N_AUTHORS + 1);
    let acknowledged = authors.acknowledged().await;
    let injected = faulty.injected();
    assert!(injected.lost_before > 300 && injected.lost_after > 300, "{injected:?}");
    assert_sound(&journal, &acknowledged).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_storm_of_terminated_connections_loses_and_doubles_nothing() {
    let (journal, database) = in_postgres().await;
    let authors = Authors::start(&journal, 200);
    let mut storm = database.options().connect().await.unwrap();
    let mut n_killed = 0;
    while !authors.is_finished() {
        let before = authors.n_acknowledged();
        // A storm in which nothing can be written proves nothing.
        while authors.n_acknowledged() < before + 200 && !authors.is_finished() {
            tokio::task::yield_now().await;
        }
        let n: i64 = sqlx::query_scalar(
            "SELECT count(*) FROM (
                 SELECT pg_terminate_backend(pid) FROM pg_stat_activity
                 WHERE application_name = 'test' AND datname = current_database() AND pid <> pg_backend_pid()
             ) t",
        )
        .fetch_one(&mut storm)
        .await
        .unwrap();
        n_killed += n;
    }
    let n_unknown = authors.n_unknown.load(Ordering::Relaxed);
    let acknowledged = authors.acknowledged().await;
    assert!(n_killed > 20 && n_unknown > 20, "{n_killed} killed, {n_unknown} in doubt");
    assert_sound(&journal, &acknowledged).await;
}

#[expect(clippy::print_stdout, reason = "the figures of this test are worth reading")]
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_server_that_crashes_and_comes_back_has_all_that_was_acknowledged() {
    let database = TestDatabase::start_own().await;
    let server = database.server().unwrap();
    let journal: SharedJournal = Arc::new(open(&database).await);
    let authors = Authors::start(&journal, 400);
    for n in 1..=3 {
        while authors.n_acknowledged() < n * 10_000 {
            tokio::task::yield_now().await;
        }
        server.stop(Stop::Immediate).await.unwrap();
        let before = authors.n_refused.load(Ordering::Relaxed);
        while authors.n_refused.load(Ordering::Relaxed) == before {
            tokio::task::yield_now().await;
        }
        server.start_again().await.unwrap();
        let (back, before) = (Instant::now(), authors.n_acknowledged());
        while authors.n_acknowledged() == before {
            tokio::task::yield_now().await;
        }
        println!("writing again {:?} after the server is back", back.elapsed());
    }
    let acknowledged = authors.acknowledged().await;
    assert_sound(&journal, &acknowledged).await;
    journal.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_database_is_away_callers_are_refused_at_once() {
    let database = TestDatabase::start_own().await;
    let journal: SharedJournal = Arc::new(open(&database).await);
    database.server().unwrap().stop(Stop::Immediate).await.unwrap();
    let commit = || Commit {
        events: vec![EncodedEvent { name: "moved".into(), bytes: vec![] }],
        ..Commit::new(order(1), Version(0), Timestamp(0))
    };
    let first = journal.commit(commit()).await;
    assert!(matches!(first, Err(CommitError::Unknown(_))), "{first:?}");
    let second = journal.commit(commit()).await;
    assert!(matches!(second, Err(CommitError::Unavailable(_))), "{second:?}");
    let load = journal.load(order(1)).await;
    assert!(matches!(load, Err(JournalError::Unavailable(_))), "{load:?}");
    journal.close().await.unwrap();
}

/// Somebody holds what every commit must lock, and does not let it go.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_commit_that_is_held_up_ends_by_its_own_limit_and_is_in_doubt_until_it_can_be_told() {
    const WHO_WAITS: &str = "SELECT pid FROM pg_locks WHERE NOT granted
        AND pid IN (SELECT pid FROM pg_stat_activity WHERE datname = current_database()) LIMIT 1";
    const IS_THERE: &str = "SELECT EXISTS (SELECT FROM pg_stat_activity WHERE pid = $1)";
    let database = TestDatabase::start().await;
    // Tables are made with all the time there is.
    open(&database).await.close().await.unwrap();
    let settings =
        Settings { patience: Duration::from_secs(1), committers: 1, ..Settings::default() };
    let journal = PostgresJournal::open(database.options(), "test", settings).await.unwrap();
    let commit = |n| Commit {
        events: vec![EncodedEvent { name: "moved".into(), bytes: vec![] }],
        ..Commit::new(order(n), Version(0), Timestamp(0))
    };
    journal.commit(commit(1)).await.unwrap();

    let mut other = database.options().connect().await.unwrap();
    let mut holder = database.options().connect().await.unwrap();
    let mut held = holder.begin().await.unwrap();
    sqlx::query("SELECT FROM fences FOR UPDATE").execute(&mut *held).await.unwrap();
    let held_up = async {
        loop {
            let waits = sqlx::query_scalar::<_, i32>(WHO_WAITS).fetch_optional(&mut other).await;
            if let Some(pid) = waits.unwrap() {
                break pid;
            }
        }
    };
    let both = async { tokio::join!(journal.commit(commit(2)), held_up) };
    let (outcome, pid) = tokio::time::timeout(SOON, both).await.expect("it waits, and is given up");
    assert!(matches!(outcome, Err(CommitError::Unknown(_))), "{outcome:?}");
    // Nobody is kept waiting for what nobody knows.
    let again = journal.commit(commit(2)).await;
    assert!(matches!(again, Err(CommitError::Unavailable(_))), "{again:?}");
    let load = journal.load(order(2)).await;
    assert!(matches!(load, Err(JournalError::Unavailable(_))), "{load:?}");
    // The server has given it up, too, though it has not got what it waits for.
    let given_up = async {
        while sqlx::query_scalar(IS_THERE).bind(pid).fetch_one(&mut other).await.unwrap() {}
    };
    tokio::time::timeout(SOON, given_up).await.expect("its time is over");

    held.rollback().await.unwrap();
    let written = async {
        while let Err(error) = journal.commit(commit(2)).await {
            assert!(matches!(error, CommitError::Unavailable(_)), "{error}");
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(SOON, written).await.expect("it writes again");
    assert_eq!(journal.history(order(2), Version(0), 10).await.unwrap().len(), 1);
    journal.close().await.unwrap();
}

/// A way to a server that may lead nowhere from one moment to the next, and says nothing.
struct Tunnel {
    way: PgConnectOptions,
    is_collapsed: watch::Sender<bool>,
}

impl Tunnel {
    async fn dig(options: &PgConnectOptions) -> Self {
        let socket = options.get_socket().unwrap().join(".s.PGSQL.5432");
        let entrance = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let way = PgConnectOptions::new()
            .host("127.0.0.1")
            .port(entrance.local_addr().unwrap().port())
            .username(options.get_username())
            .database(options.get_database().unwrap());
        let (is_collapsed, collapsed) = watch::channel(false);
        tokio::spawn(async move {
            while let Ok((mut near, _)) = entrance.accept().await {
                let (socket, mut collapsed) = (socket.clone(), collapsed.clone());
                tokio::spawn(async move {
                    collapsed.wait_for(|it| !it).await.unwrap();
                    let mut far = UnixStream::connect(socket).await.unwrap();
                    let collapse = async { collapsed.wait_for(|it| *it).await.is_ok() };
                    tokio::select! {
                        _ = tokio::io::copy_bidirectional(&mut near, &mut far) => {}
                        // Neither end is told, then or later.
                        _ = collapse => std::future::pending().await,
                    }
                });
            }
        });
        Self { way, is_collapsed }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_read_that_nobody_answers_ends_and_takes_no_connection_with_it() {
    let database = TestDatabase::start().await;
    // Tables are made with all the time there is.
    open(&database).await.close().await.unwrap();
    let tunnel = Tunnel::dig(&database.options()).await;
    let patience = Duration::from_millis(500);
    let settings = Settings { patience, readers: 1, ..Settings::default() };
    let journal = PostgresJournal::open(tunnel.way, "test", settings).await.unwrap();
    journal.load(order(1)).await.unwrap();

    // The server is asked, and the way collapses before it answers.
    let mut other = database.options().connect().await.unwrap();
    let mut holder = database.options().connect().await.unwrap();
    let mut held = holder.begin().await.unwrap();
    sqlx::query("LOCK TABLE events").execute(&mut *held).await.unwrap();
    let collapse = async {
        const IS_ASKED: &str =
            "SELECT EXISTS (SELECT FROM pg_locks WHERE NOT granted AND database =
            (SELECT oid FROM pg_database WHERE datname = current_database()))";
        while !sqlx::query_scalar::<_, bool>(IS_ASKED).fetch_one(&mut other).await.unwrap() {}
        tunnel.is_collapsed.send_replace(true);
    };
    let both = async { tokio::join!(journal.load(order(1)), collapse) };
    let (load, ()) = tokio::time::timeout(SOON, both).await.expect("it is asked, and given up");
    assert!(matches!(load, Err(JournalError::Unavailable(_))), "{load:?}");

    held.rollback().await.unwrap();
    tunnel.is_collapsed.send_replace(false);
    let read_again = async {
        while let Err(error) = journal.load(order(1)).await {
            assert!(matches!(error, JournalError::Unavailable(_)), "{error}");
        }
    };
    tokio::time::timeout(SOON, read_again).await.expect("it reads again");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_node_that_is_alone_says_what_it_writes_and_does_not_write_over_what_it_cannot_read() {
    let database = TestDatabase::start().await;
    open(&database).await.close().await.unwrap();
    let mut connection = database.options().connect().await.unwrap();
    let written: i64 = sqlx::query_scalar("SELECT value FROM cluster_facts WHERE name = 'writes'")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(written, i64::from(Format::WRITES.0));
    let newer = i64::from(Format::READS.0) + 1;
    sqlx::query("UPDATE cluster_facts SET value = $1 WHERE name = 'writes'")
        .bind(newer)
        .execute(&mut connection)
        .await
        .unwrap();
    let refused = PostgresJournal::open(database.options(), "test", Settings::default()).await;
    let Err(OpenError::NewerFormat { written, .. }) = refused else { panic!("{refused:?}") };
    assert_eq!(written, newer);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_node_is_told_who_is_in_its_way_and_may_come_after_the_first() {
    let database = TestDatabase::start().await;
    let first = open(&database).await;
    let second = PostgresJournal::open(database.options(), "test", Settings::default()).await;
    assert!(matches!(second, Err(OpenError::InUse)), "{second:?}");
    first.close().await.unwrap();
    open(&database).await.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_old_schema_is_refused_unless_opening_may_migrate() {
    let database = TestDatabase::start().await;
    let settings = Settings { migrate: false, ..Settings::default() };
    let refused = PostgresJournal::open(database.options(), "test", settings).await;
    assert!(matches!(refused, Err(OpenError::Older { found: 0, .. })), "{refused:?}");
    actors::journal::postgres::migrate(&database.options()).await.unwrap();
    let opened = PostgresJournal::open(database.options(), "test", settings).await.unwrap();
    opened.close().await.unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_database_itself_keeps_events_and_postings_as_they_are() {
    let (journal, database) = in_postgres().await;
    let commit = Commit {
        events: vec![EncodedEvent { name: "moved".into(), bytes: vec![] }],
        postings: [("rider", -7), ("driver", 7)]
            .map(|(account, amount)| actors::Posting {
                key: "fare/1".into(),
                account: account.into(),
                amount,
                currency: protocol::Currency::RWF,
                floor: None,
            })
            .into(),
        ..Commit::new(order(1), Version(0), Timestamp(0))
    };
    journal.commit(commit).await.unwrap();
    let mut connection = database.options().connect().await.unwrap();
    for sql in [
        "UPDATE postings SET amount = 8 WHERE amount = 7",
        "DELETE FROM postings",
        "TRUNCATE postings",
        "UPDATE events SET name = 'else'",
        "DELETE FROM events",
        "TRUNCATE events",
        "INSERT INTO postings (key, line, kind, id, version, at, account, currency, amount)
             SELECT 'fare/2', 0, kind, id, version, at, account, currency, amount FROM postings LIMIT 1",
    ] {
        let refused = sqlx::raw_sql(sql).execute(&mut connection).await.unwrap_err();
        let refused = refused.to_string();
        let is_plain = refused.contains("is written once") || refused.contains("sums to");
        assert!(is_plain, "{sql}: {refused}");
    }
    connection.close().await.unwrap();
}
