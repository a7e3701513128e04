//! A sound journal is found sound; every fault planted into one, past the journal, is found.

use super::*;
use crate::{
    Claim, Commit, Posting, ViewRow,
    commit::{CommandResult, EncodedEvent},
    journal::sqlite::SqliteJournal,
};
use protocol::{DriverId, OrderId};
use sqlx::{AssertSqlSafe, Connection, SqliteConnection, sqlite::SqliteConnectOptions};
use tempfile::TempDir;

/// Nothing may have been forgotten.
const ALL_ANSWERS: Timestamp = Timestamp(0);

fn order(n: u64) -> EntityKey {
    OrderId::nth(n).into()
}

/// Two events, and one of everything else.
fn commit(entity: EntityKey, expected: u64, n: u64) -> Commit {
    let event = |name: &str| EncodedEvent { name: name.into(), bytes: vec![1] };
    let line = |account: &str, amount| Posting {
        key: format!("fare/{n}"),
        account: account.into(),
        amount,
        currency: Currency::RWF,
        floor: None,
    };
    let (at, body) = (Timestamp(1_000 + n), serde_json::json!({}));
    Commit {
        events: vec![event("a"), event("b")],
        snapshot: Some(vec![1]),
        result: Some(CommandResult { command: CommandId::nth(n), bytes: vec![] }),
        effects: vec![vec![1], vec![2]],
        claims_taken: vec![Claim(format!("claim/{n}"))],
        postings: vec![line("rider", -5), line("driver", 5)],
        view: Some(ViewRow { status: "s".into(), rider: None, driver: None, at, body }),
        ..Commit::new(entity, Version(expected), at)
    }
}

/// A driver and an order with six events each, the last two of each written in epoch 2.
async fn fill(directory: &TempDir) -> [EntityKey; 2] {
    let entities = [DriverId::nth(1).into(), order(1)];
    for (opening, n_commits) in [(0, 2), (2, 1)] {
        let journal = SqliteJournal::open(directory.path()).await.unwrap();
        for n in opening..opening + n_commits {
            for (entity, i) in entities.into_iter().zip(0..) {
                journal.commit(commit(entity, 2 * n, 2 * n + i)).await.unwrap();
            }
        }
        journal.close().await.unwrap();
    }
    entities
}

/// What is found in a copy of `full` after `sql` was run past the journal, with all that guards it
/// taken down.
async fn found_after(full: &TempDir, sql: &str) -> Report {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("journal.sqlite");
    std::fs::copy(full.path().join("journal.sqlite"), &path).unwrap();
    let (driver, order) = (DriverId::nth(1).into(), order(1));
    let options = SqliteConnectOptions::new().filename(path).foreign_keys(false);
    let mut database = SqliteConnection::connect_with(&options).await.unwrap();
    let hex = |entity: EntityKey| {
        let digits: String = entity.to_bytes().iter().map(|byte| format!("{byte:02x}")).collect();
        format!("x'{digits}'")
    };
    let sql = sql
        .replace("$driver", &hex(driver))
        .replace("$order", &hex(order))
        .replace("$nobody", &hex(OrderId::nth(404).into()))
        .replace("$shard", &order.shard().0.to_string());
    let unguarded = "DROP TRIGGER events_never_change; DROP TRIGGER events_never_go;
        DROP TRIGGER postings_never_change; DROP TRIGGER postings_never_go;
        DROP TRIGGER postings_are_added;
        DROP INDEX events_by_shard; DROP INDEX events_by_entity;
        DROP INDEX results_by_command; DROP INDEX outbox_by_effect;";
    for sql in [unguarded, &sql] {
        sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(&mut database).await.unwrap();
    }
    database.close().await.unwrap();
    let journal = SqliteJournal::open(directory.path()).await.unwrap();
    check(&journal, [], ALL_ANSWERS).await.unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_sound_journal_is_found_sound() {
    let full = TempDir::new().unwrap();
    fill(&full).await;
    let report = found_after(&full, "").await;
    assert_eq!(report.violations, []);
    assert!(report.is_sound());
    assert_eq!(report.n_applied, 6, "two events of each commit, one command");
    let counts: Vec<_> = report.counts.into_iter().collect();
    let wanted = [
        (Part::Epochs, 4),
        (Part::Heads, 2),
        (Part::Events, 12),
        (Part::Entities, 2),
        (Part::Snapshots, 2),
        (Part::Results, 6),
        (Part::Effects, 12),
        (Part::Claims, 6),
        (Part::Postings, 12),
        (Part::Views, 2),
    ];
    assert_eq!(counts, wanted);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_planted_fault_is_found() {
    use Invariant::*;
    const FORGED: &str = "INSERT INTO events (shard, seq, epoch, entity, version, at, name, bytes)";
    let forged = |values: &str| format!("{FORGED} SELECT {values} FROM events WHERE seq = 6");
    let faults: Vec<(&str, String, Invariant)> = vec![
        (
            "two events of one version",
            forged("shard, 7, epoch, entity, 6, at, name, bytes")
                + " AND shard = $shard; UPDATE heads SET seq = 7 WHERE shard = $shard",
            NoFork,
        ),
        (
            "a version is skipped",
            forged("shard, 7, epoch, entity, 8, at, name, bytes")
                + " AND shard = $shard; UPDATE heads SET seq = 7 WHERE shard = $shard;
                UPDATE entities SET version = 8 WHERE entity = $order",
            NoFork,
        ),
        (
            "a row lags behind",
            "UPDATE entities SET version = 5 WHERE entity = $order".into(),
            NoFork,
        ),
        ("a row is gone", "DELETE FROM entities WHERE entity = $order".into(), NoFork),
        (
            "a snapshot of what never was",
            "UPDATE snapshots SET version = 9 WHERE entity = $order".into(),
            NoFork,
        ),
        (
            "an event is lost in the middle",
            "DELETE FROM events WHERE seq = 3 AND shard = $shard".into(),
            Gapless,
        ),
        (
            "the last event is lost",
            "DELETE FROM events WHERE seq = 6 AND shard = $shard".into(),
            Gapless,
        ),
        ("a whole log is lost", "DELETE FROM events WHERE shard = $shard".into(), Gapless),
        ("a head is lost", "DELETE FROM heads WHERE shard = $shard".into(), Gapless),
        (
            "a number twice",
            "UPDATE events SET seq = 4 WHERE seq = 5 AND shard = $shard".into(),
            Gapless,
        ),
        (
            "two answers to one command",
            "INSERT INTO results (entity, command, at, bytes)
             SELECT entity, command, at, bytes FROM results WHERE position = 1"
                .into(),
            Once,
        ),
        (
            "another answer to one command",
            "INSERT INTO results (entity, command, at, bytes)
             SELECT entity, command, at, x'07' FROM results WHERE position = 1"
                .into(),
            Once,
        ),
        ("an answer is lost", "DELETE FROM results WHERE position = 1".into(), Once),
        (
            "an answer to another command",
            "UPDATE results SET command = x'00000000000070008000000000000063' WHERE position = 1"
                .into(),
            Once,
        ),
        (
            "an answer of another",
            "UPDATE results SET entity = $order WHERE entity = $driver AND position = 1".into(),
            Once,
        ),
        (
            "a command applied by two commits",
            "UPDATE events SET command = (SELECT command FROM events AS first
                 WHERE first.seq = 1 AND first.shard = $shard)
             WHERE seq = 5 AND shard = $shard"
                .into(),
            Once,
        ),
        (
            "a command applied at two moments",
            "UPDATE events SET at = at + 1 WHERE seq = 2 AND shard = $shard".into(),
            Once,
        ),
        (
            "versions against the order of the log",
            "UPDATE events SET version = 7 - version WHERE version IN (3, 4) AND shard = $shard"
                .into(),
            InOrder,
        ),
        (
            "an old epoch writes after a new one",
            "UPDATE events SET epoch = 1 WHERE seq = 6 AND shard = $shard".into(),
            EpochsGrow,
        ),
        (
            "epochs begin in the wrong order",
            "UPDATE epochs SET first_seq = 7 WHERE epoch = 1 AND shard = $shard".into(),
            EpochsGrow,
        ),
        (
            "a head is older than its epochs",
            "UPDATE heads SET epoch = 1 WHERE shard = $shard".into(),
            EpochsGrow,
        ),
        (
            "an epoch writes after its end",
            "UPDATE epochs SET first_seq = 4 WHERE epoch = 2 AND shard = $shard".into(),
            OneEpoch,
        ),
        (
            "an epoch writes before its beginning",
            "UPDATE epochs SET first_seq = 6 WHERE epoch = 2 AND shard = $shard".into(),
            OneEpoch,
        ),
        (
            "an epoch that never began",
            "DELETE FROM epochs WHERE epoch = 2 AND shard = $shard".into(),
            OneEpoch,
        ),
        (
            "an effect of a version that is not there",
            "UPDATE outbox SET version = 7 WHERE source = $order AND version = 6".into(),
            Effects,
        ),
        (
            "an effect of nobody",
            "UPDATE outbox SET source = $nobody WHERE position = 1".into(),
            Effects,
        ),
        (
            "an effect twice",
            "INSERT INTO outbox (source, version, place, at, bytes)
             SELECT source, version, place, at, bytes FROM outbox WHERE position = 1"
                .into(),
            Effects,
        ),
        (
            "a claim of nobody",
            "UPDATE claims SET holder = $nobody WHERE claim = 'claim/1'".into(),
            Owned,
        ),
        (
            "a list of nobody",
            "UPDATE views SET entity = $nobody WHERE entity = $order".into(),
            Owned,
        ),
        (
            "an answer of nobody",
            "UPDATE results SET entity = $nobody WHERE position = 1".into(),
            Owned,
        ),
        ("money from nowhere", "UPDATE postings SET amount = 6 WHERE position = 2".into(), Books),
        ("a line is lost", "DELETE FROM postings WHERE key = 'fare/1' AND line = 0".into(), Books),
        ("a whole fact is lost", "DELETE FROM postings WHERE key = 'fare/1'".into(), Books),
        (
            "a forged balance",
            "UPDATE balances SET balance = 16 WHERE account = 'driver'".into(),
            Books,
        ),
        (
            "a posting of what never was",
            "UPDATE postings SET version = 9 WHERE entity = $order AND version = 6".into(),
            Books,
        ),
        (
            "an event in another's log",
            "UPDATE events SET entity = $driver WHERE seq = 6 AND shard = $shard".into(),
            Records,
        ),
    ];
    let full = TempDir::new().unwrap();
    fill(&full).await;
    for (fault, sql, invariant) in faults {
        let report = found_after(&full, &sql).await;
        let found: BTreeSet<_> = report.violations.iter().map(|it| it.invariant).collect();
        assert!(found.contains(&invariant), "{fault}: {:?}", report.violations);
        assert_eq!(report.n_violations, report.violations.len() as u64);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn acknowledged_and_lost_is_found() {
    let directory = TempDir::new().unwrap();
    let [driver, order] = fill(&directory).await;
    let ack = |entity, version, command| Ack {
        entity,
        version: Version(version),
        command: CommandId::nth(command),
    };
    let told = [ack(driver, 2, 0), ack(order, 2, 1), ack(driver, 6, 4), ack(order, 6, 5)];
    let journal = SqliteJournal::open(directory.path()).await.unwrap();
    let report = check(&journal, told, ALL_ANSWERS).await.unwrap();
    assert_eq!((report.n_acks, report.violations), (4, vec![]));
    for lost in
        [ack(order, 8, 6), ack(order, 6, 4), ack(order, 4, 5), ack(OrderId::nth(9).into(), 1, 1)]
    {
        let told = told.into_iter().chain([lost]);
        let report = check(&journal, told, ALL_ANSWERS).await.unwrap();
        let [Violation { invariant: Invariant::Durable, what }] = &report.violations[..] else {
            panic!("{report:?}")
        };
        assert!(what.contains(&lost.entity.to_string()), "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_may_be_forgotten_is_not_missed_and_nothing_else_may() {
    let directory = TempDir::new().unwrap();
    let [driver, order] = fill(&directory).await;
    let journal = SqliteJournal::open(directory.path()).await.unwrap();
    // Of six commits, each a millisecond after the one before, the first three.
    journal.forget_results(Timestamp(1_003)).await.unwrap();
    let report = check(&journal, [], Timestamp(1_003)).await.unwrap();
    assert_eq!((report.n_applied, report.violations), (3, vec![]));
    let report = check(&journal, [], Timestamp(1_001)).await.unwrap();
    let missed = |entity, n| Violation {
        invariant: Invariant::Once,
        what: format!("{entity} applied {} and has no answer to it", CommandId::nth(n)),
    };
    let mut wanted = [missed(order, 1), missed(driver, 2)];
    wanted.sort_unstable_by(|a, b| a.what.cmp(&b.what));
    let mut found = report.violations;
    found.sort_unstable_by(|a, b| a.what.cmp(&b.what));
    assert_eq!((report.n_applied, &found[..]), (5, &wanted[..]));
}

#[test]
fn parts_and_records_must_come_in_order() {
    let claim = |name: &str| Record::Claim { claim: Claim(name.into()), holder: order(1) };
    let entity = Record::Entity { entity: order(1), version: Version(0), deadline: None };
    let found = |records: Vec<Record>| {
        let mut checker = Checker::new([], ALL_ANSWERS);
        records.into_iter().for_each(|record| checker.look(record));
        checker.finish().violations.into_iter().map(|it| it.invariant).collect::<Vec<_>>()
    };
    assert_eq!(found(vec![entity.clone(), claim("a"), claim("b")]), []);
    let records = vec![entity.clone(), claim("b"), claim("a")];
    assert_eq!(found(records), [Invariant::Records]);
    assert_eq!(found(vec![entity.clone(), claim("a"), claim("a")]), [Invariant::Records]);
    assert_eq!(found(vec![claim("a"), entity]), [Invariant::Owned, Invariant::Records]);
}

#[test]
fn what_is_told_is_bounded_and_what_is_counted_is_not() {
    let mut checker = Checker::new([], ALL_ANSWERS);
    for n in 0..5_000 {
        let claim = Claim(format!("{n:06}"));
        checker.look(Record::Claim { claim, holder: order(1) });
    }
    let report = checker.finish();
    assert_eq!((report.violations.len(), report.n_violations), (1_000, 5_000));
}
