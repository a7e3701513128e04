//! Every journal keeps the same contract, and SQLite's also survives the process.
#![expect(clippy::unwrap_used, reason = "helpers of tests are not seen as tests")]

use actors::{
    Claim, Commit, EntityKey, Kind, Posting, Version, ViewRow,
    commit::{CommandResult, EncodedEvent},
    journal::{
        CommitError, FeedCursor, Journal, JournalError, Part, Record, SharedJournal, ViewQuery,
        memory::MemoryJournal,
        sqlite::{OpenError, SqliteJournal},
    },
};
use protocol::{CommandId, Currency, DriverId, OrderId, RiderId, ShardSet, Timestamp};
use sqlx::{Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use std::{collections::HashMap, path::Path, sync::Arc};
use tempfile::TempDir;

#[path = "journals/model.rs"]
mod model;

async fn in_memory() -> (SharedJournal, ()) {
    (Arc::new(MemoryJournal::new()), ())
}

async fn in_sqlite() -> (SharedJournal, TempDir) {
    let directory = TempDir::new().unwrap();
    let journal = SqliteJournal::open(directory.path()).await.unwrap();
    (Arc::new(journal), directory)
}

mod memory {
    actors::journal_contract!(super::in_memory);
}

mod sqlite {
    actors::journal_contract!(super::in_sqlite);
}

/// A connection past the journal.
async fn raw(directory: &Path) -> SqliteConnection {
    let options = SqliteConnectOptions::new().filename(directory.join("journal.sqlite"));
    SqliteConnection::connect_with(&options).await.unwrap()
}

fn next(n: u64, expected: u64) -> Commit {
    let events = vec![EncodedEvent { name: "moved".into(), bytes: vec![expected as u8] }];
    Commit { events, ..Commit::new(OrderId::nth(n).into(), Version(expected), Timestamp(expected)) }
}

fn fare(amount: i64) -> Vec<Posting> {
    [("rider", -amount), ("driver", amount)]
        .map(|(account, amount)| Posting {
            key: "fare/1".into(),
            account: account.into(),
            amount,
            currency: Currency::GHS,
            floor: None,
        })
        .into()
}

#[tokio::test(flavor = "multi_thread")]
async fn all_is_there_when_sqlite_is_opened_again() {
    let directory = TempDir::new().unwrap();
    let slot = Claim("driver/7/slot/0".into());
    let result = CommandResult { command: CommandId::nth(1), bytes: vec![1] };
    let body = serde_json::json!({ "price": 700 });
    let row =
        ViewRow { status: "searching".into(), rider: None, driver: None, at: Timestamp(3), body };
    let commit = Commit {
        snapshot: Some(vec![5; 10_000]),
        result: Some(result.clone()),
        effects: vec![vec![1], vec![2], vec![3]],
        deadline: Some(Some(Timestamp(99))),
        claims_taken: vec![slot.clone()],
        postings: fare(700),
        view: Some(row.clone()),
        ..next(1, 0)
    };
    let journal = SqliteJournal::open(directory.path()).await.unwrap();
    journal.commit(commit).await.unwrap();
    journal.commit(next(1, 1)).await.unwrap();
    let delivered = journal.undelivered(&ShardSet::ALL, None, 1).await.unwrap();
    journal.delivered(vec![delivered[0].key]).await.unwrap();
    let before = journal.load(OrderId::nth(1).into()).await.unwrap();
    journal.close().await.unwrap();
    assert!(!directory.path().join("journal.sqlite-wal").exists(), "closing leaves one file");

    let journal = SqliteJournal::open(directory.path()).await.unwrap();
    let entity = OrderId::nth(1).into();
    let stored = journal.load(entity).await.unwrap();
    assert_eq!(stored, before);
    assert_eq!(stored.snapshot, Some((Version(1), vec![5; 10_000])));
    assert_eq!(stored.tail, next(1, 1).events);
    assert_eq!(stored.results, [result]);
    let waiting = journal.undelivered(&ShardSet::ALL, None, 10).await.unwrap();
    let waiting: Vec<_> = waiting.into_iter().map(|row| row.bytes).collect();
    assert_eq!(waiting, [vec![2], vec![3]], "what was delivered is gone, the rest waits");
    let deadlines = journal.deadlines(&ShardSet::ALL, Timestamp(100), None, 10).await.unwrap();
    assert_eq!(deadlines, [(Timestamp(99), entity)]);
    assert_eq!(journal.holder(slot).await.unwrap(), Some(entity));
    assert_eq!(journal.balance("driver".into(), Currency::GHS).await.unwrap(), 700);
    let query = ViewQuery::newest(Kind::Order, 10);
    assert_eq!(journal.views(query).await.unwrap(), [(entity, row)]);
    journal.commit(next(1, 2)).await.unwrap();
    let twice = Commit { postings: fare(700), ..next(1, 3) };
    assert!(matches!(journal.commit(twice).await, Err(CommitError::Postings(_))));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_waits_is_written_before_sqlite_closes() {
    let directory = TempDir::new().unwrap();
    let journal = SqliteJournal::open(directory.path()).await.unwrap();
    let commits = (0..300).map(|n| {
        let journal = journal.clone();
        tokio::spawn(async move { (n, journal.commit(next(n, 0)).await) })
    });
    let commits: Vec<_> = commits.collect();
    journal.close().await.unwrap();
    let journal = SqliteJournal::open(directory.path()).await.unwrap();
    for commit in commits {
        let (n, outcome) = commit.await.unwrap();
        let version = journal.load(OrderId::nth(n).into()).await.unwrap().version();
        match outcome {
            Ok(()) => assert_eq!(version, Version(1), "acknowledged, so there"),
            Err(CommitError::Unavailable(_)) => assert_eq!(version, Version(0), "refused, so not"),
            Err(other) => panic!("{other}"),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_second_node_in_the_same_directory_is_refused_by_name() {
    let directory = TempDir::new().unwrap();
    let journal = SqliteJournal::open(directory.path()).await.unwrap();
    let refused = SqliteJournal::open(directory.path()).await.unwrap_err();
    assert!(matches!(refused, OpenError::InUse(_)), "{refused:?}");
    assert!(refused.to_string().contains(&directory.path().display().to_string()), "{refused}");
    journal.close().await.unwrap();
    SqliteJournal::open(directory.path()).await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_from_the_future_is_refused() {
    let directory = TempDir::new().unwrap();
    SqliteJournal::open(directory.path()).await.unwrap().close().await.unwrap();
    let sql = "INSERT INTO schema_version (version) VALUES (99)";
    sqlx::query(sql).execute(&mut raw(directory.path()).await).await.unwrap();
    let refused = SqliteJournal::open(directory.path()).await.unwrap_err();
    assert!(matches!(refused, OpenError::Newer { found: 99, known: 3 }), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_directory_that_cannot_be_made_is_named() {
    let directory = TempDir::new().unwrap();
    let file = directory.path().join("file");
    std::fs::write(&file, "in the way").unwrap();
    let refused = SqliteJournal::open(file.join("journal")).await.unwrap_err();
    assert!(matches!(refused, OpenError::Directory { .. }), "{refused:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn postings_cannot_be_changed_even_past_the_journal() {
    let directory = TempDir::new().unwrap();
    let journal = SqliteJournal::open(directory.path()).await.unwrap();
    journal.commit(Commit { postings: fare(700), ..next(1, 0) }).await.unwrap();
    let mut raw = raw(directory.path()).await;
    for sql in ["UPDATE postings SET amount = 0", "DELETE FROM postings"] {
        let error = sqlx::query(sql).execute(&mut raw).await.unwrap_err();
        assert!(error.to_string().contains("never"), "{error}");
    }
    assert_eq!(journal.balance("driver".into(), Currency::GHS).await.unwrap(), 700);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_commit_that_breaks_the_database_does_not_take_its_batch_with_it() {
    let directory = TempDir::new().unwrap();
    let journal = SqliteJournal::open(directory.path()).await.unwrap();
    let mut raw = raw(directory.path()).await;
    // An event without its entity: the journal does not expect it.
    let sql = "INSERT INTO events (entity, version, at, name, bytes) VALUES (?, 1, 0, '', x'')";
    let broken = EntityKey::from(OrderId::nth(50));
    sqlx::query(sql).bind(broken.to_bytes().to_vec()).execute(&mut raw).await.unwrap();
    let commits = (0..100).map(|n| journal.commit(next(n, 0)));
    let outcomes = futures_util::future::join_all(commits).await;
    for (n, outcome) in outcomes.into_iter().enumerate() {
        match n {
            50 => assert!(matches!(outcome, Err(CommitError::Unavailable(_))), "{outcome:?}"),
            _ => assert_eq!(outcome, Ok(())),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn sqlite_works_again_after_transactions_that_failed() {
    let directory = TempDir::new().unwrap();
    let journal = SqliteJournal::open(directory.path()).await.unwrap();
    let effects = vec![vec![1]];
    journal.commit(Commit { effects, ..next(1, 0) }).await.unwrap();
    let mut raw = raw(directory.path()).await;
    let sql = "CREATE TRIGGER broken BEFORE INSERT ON events BEGIN SELECT RAISE(ABORT, 'no'); END";
    sqlx::query(sql).execute(&mut raw).await.unwrap();
    let row = journal.undelivered(&ShardSet::ALL, None, 1).await.unwrap().remove(0);
    journal.delivered(vec![row.key]).await.unwrap();
    for _ in 0..3 {
        let outcome = journal.commit(next(1, 1)).await;
        assert!(matches!(outcome, Err(CommitError::Unavailable(_))), "{outcome:?}");
    }
    sqlx::query("DROP TRIGGER broken").execute(&mut raw).await.unwrap();
    journal.commit(next(1, 1)).await.unwrap();
    assert_eq!(journal.load(OrderId::nth(1).into()).await.unwrap().version(), Version(2));
    let waiting = journal.undelivered(&ShardSet::ALL, None, 1).await.unwrap();
    assert_eq!(waiting, [], "deliveries outlive a failed transaction");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_row_of_no_known_kind_is_an_error_not_a_guess() {
    let directory = TempDir::new().unwrap();
    let journal = SqliteJournal::open(directory.path()).await.unwrap();
    let mut raw = raw(directory.path()).await;
    let sql = "INSERT INTO claims (claim, holder) VALUES ('slot', x'630102')";
    sqlx::query(sql).execute(&mut raw).await.unwrap();
    let outcome = journal.holder(Claim("slot".into())).await;
    assert!(matches!(outcome, Err(JournalError::Unavailable(_))), "{outcome:?}");
}

/// A database as version 1 left it: 30 events of orders, drivers and riders, and a tip.
async fn version_1(directory: &Path) -> Vec<EntityKey> {
    std::fs::create_dir_all(directory).unwrap();
    let options = SqliteConnectOptions::new()
        .filename(directory.join("journal.sqlite"))
        .create_if_missing(true);
    let mut database = SqliteConnection::connect_with(&options).await.unwrap();
    sqlx::raw_sql(include_str!("../src/journal/sqlite/schema_1.sql"))
        .execute(&mut database)
        .await
        .unwrap();
    sqlx::raw_sql(
        "CREATE TABLE schema_version (version INTEGER NOT NULL) STRICT;
         INSERT INTO schema_version VALUES (1);",
    )
    .execute(&mut database)
    .await
    .unwrap();
    let entities: Vec<EntityKey> = (0..10)
        .map(|n| match n % 3 {
            0 => OrderId::nth(n).into(),
            1 => DriverId::nth(n).into(),
            _ => RiderId::nth(n).into(),
        })
        .collect();
    for n in 0..30_u64 {
        let entity = entities[n as usize % 10].to_bytes().to_vec();
        let version = (n / 10 + 1) as i64;
        sqlx::query(
            "INSERT INTO entities (entity, version) VALUES (?, ?)
             ON CONFLICT (entity) DO UPDATE SET version = excluded.version",
        )
        .bind(&entity)
        .bind(version)
        .execute(&mut database)
        .await
        .unwrap();
        sqlx::query(
            "INSERT INTO events (entity, version, at, name, bytes) VALUES (?, ?, ?, 'moved', x'07')",
        )
        .bind(&entity)
        .bind(version)
        .bind(1_000 + n as i64)
        .execute(&mut database)
        .await
        .unwrap();
    }
    for (line, account, amount) in [(0, "rider", -50), (1, "driver", 50)] {
        sqlx::query(
            "INSERT INTO postings (key, line, entity, version, at, account, currency, amount)
             VALUES ('tip', ?, ?, 3, 1020, ?, 'RWF', ?)",
        )
        .bind(line)
        .bind(entities[0].to_bytes().to_vec())
        .bind(account)
        .bind(amount)
        .execute(&mut database)
        .await
        .unwrap();
    }
    database.close().await.unwrap();
    entities
}

#[tokio::test(flavor = "multi_thread")]
async fn a_journal_of_version_1_is_upgraded() {
    let directory = TempDir::new().unwrap();
    let entities = version_1(directory.path()).await;
    let journal = SqliteJournal::open(directory.path()).await.unwrap();
    for entity in &entities {
        assert_eq!(journal.load(*entity).await.unwrap().version(), Version(3));
        let next = Commit { entity: *entity, ..next(1, 3) };
        journal.commit(next).await.unwrap();
    }
    let mut heads = HashMap::new();
    for event in journal.feed(FeedCursor::start(), 1000).await.unwrap() {
        assert_eq!(event.shard, event.entity.shard());
        let (head, epoch) = heads.entry(event.shard).or_insert((0, 1));
        *head += 1;
        let is_old = event.recorded.version <= Version(3);
        assert_eq!((event.seq, event.epoch == 1), (*head, is_old), "{event:?}");
        assert!(event.epoch >= *epoch);
        *epoch = event.epoch;
    }
    assert_eq!(heads.values().map(|(head, _)| head).sum::<u64>(), 40);
    assert_eq!(journal.balance("driver".into(), Currency::RWF).await.unwrap(), 50);
    let broke = Posting { floor: Some(-50), ..fare(1)[0].clone() };
    let broke = vec![
        Posting { currency: Currency::RWF, ..broke },
        Posting { currency: Currency::RWF, ..fare(1)[1].clone() },
    ];
    let outcome = journal.commit(Commit { postings: broke, ..next(77, 0) }).await;
    assert_eq!(outcome, Err(CommitError::BelowFloor { account: "rider".into(), balance: -50 }));
}

#[tokio::test(flavor = "multi_thread")]
async fn events_cannot_be_changed_even_past_the_journal() {
    let directory = TempDir::new().unwrap();
    let journal = SqliteJournal::open(directory.path()).await.unwrap();
    journal.commit(next(1, 0)).await.unwrap();
    let mut database = raw(directory.path()).await;
    for (sql, problem) in [
        ("UPDATE events SET name = 'forged'", "events never change"),
        ("DELETE FROM events", "events never go"),
    ] {
        let error = sqlx::query(sql).execute(&mut database).await.unwrap_err();
        assert!(error.to_string().contains(problem), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn money_cannot_be_made_even_past_the_journal() {
    let directory = TempDir::new().unwrap();
    let journal = SqliteJournal::open(directory.path()).await.unwrap();
    journal.commit(Commit { postings: fare(700), ..next(1, 0) }).await.unwrap();
    let mut database = raw(directory.path()).await;
    let one_line =
        "INSERT INTO postings (key, line, entity, version, at, account, currency, amount)
         VALUES ('forged', 0, x'01', 1, 1, 'thief', 'RWF', 1000)";
    let error = sqlx::query(one_line).execute(&mut database).await.unwrap_err();
    assert!(error.to_string().contains("FOREIGN KEY"), "{error}");
    assert_eq!(journal.balance("thief".into(), Currency::RWF).await.unwrap(), 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_opening_writes_in_an_epoch_of_its_own() {
    let directory = TempDir::new().unwrap();
    for n in 0..4 {
        let journal = SqliteJournal::open(directory.path()).await.unwrap();
        journal.commit(next(1, 2 * n)).await.unwrap();
        journal.commit(next(1, 2 * n + 1)).await.unwrap();
        journal.close().await.unwrap();
        // One that writes nothing.
        SqliteJournal::open(directory.path()).await.unwrap().close().await.unwrap();
    }
    let journal = SqliteJournal::open(directory.path()).await.unwrap();
    let events = journal.feed(FeedCursor::start(), 100).await.unwrap();
    let epochs: Vec<_> = events.iter().map(|event| event.epoch).collect();
    assert_eq!(epochs, [1, 1, 3, 3, 5, 5, 7, 7]);
    let mut firsts = Vec::new();
    for record in journal.dump(Part::Epochs, None, 100).await.unwrap() {
        let Record::Epoch { epoch, first_seq, .. } = record else { panic!("{record:?}") };
        firsts.push((epoch, first_seq));
    }
    assert_eq!(firsts, [(1, 1), (3, 3), (5, 5), (7, 7)]);
}
