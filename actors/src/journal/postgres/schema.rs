//! Brings a database to the schema this build writes, and refuses one from the future.

use super::{OpenError, batch, read};
use crate::journal::Forgotten;
use protocol::Timestamp;
use sqlx::{AssertSqlSafe, Connection, PgConnection};
use uuid::Uuid;

/// Each takes a database from the version before to its own; the first makes version 1. Add,
/// never change.
pub(super) const MIGRATIONS: [&str; 8] = [
    include_str!("schema_1.sql"),
    include_str!("schema_2.sql"),
    include_str!("schema_3.sql"),
    include_str!("schema_4.sql"),
    include_str!("schema_5.sql"),
    include_str!("schema_6.sql"),
    include_str!("schema_7.sql"),
    include_str!("schema_8.sql"),
];
/// The migration that wants to know the shard of every entity.
const NAMES_SHARDS: i64 = 2;

/// The version this build writes.
pub(super) const VERSION: i64 = MIGRATIONS.len() as i64;

/// The first Postgres that has all we use.
const SERVER_VERSION_MIN: u32 = 150_000;

/// The lock under which schemas change: two nodes that start together migrate one after the other.
const LOCK: i64 = 0x6f75_7472_6d69;

const DAY_MS: u64 = 86_400_000;
/// Answers that stand with events are kept for so long, whoever asks for less: an hour less than a day, for clocks
/// differ a little.
const KEPT_MS: i64 = 23 * 3_600_000;

/// The version of the database, 0 if there is none. Refuses what this build cannot use.
pub(super) async fn version(database: &mut PgConnection) -> Result<i64, OpenError> {
    if let Some(found) = database.server_version_num().filter(|it| *it < SERVER_VERSION_MIN) {
        return Err(OpenError::OldServer { found });
    }
    // Read as rows are: what a name stands for is remembered by a connection, also that it stood for nothing before it
    // waited for another node to migrate.
    let is_there: bool = sqlx::query_scalar(
        "SELECT EXISTS (SELECT FROM pg_class
                        WHERE relname = 'schema_version' AND pg_table_is_visible(oid))",
    )
    .fetch_one(&mut *database)
    .await?;
    if !is_there {
        return Ok(0);
    }
    let found: i64 = sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM schema_version")
        .fetch_one(&mut *database)
        .await?;
    if found > VERSION {
        return Err(OpenError::Newer { found, known: VERSION });
    }
    Ok(found)
}

/// Applies what is missing, all of it or nothing; returns the versions before and after.
pub(super) async fn migrate(database: &mut PgConnection) -> Result<(i64, i64), OpenError> {
    version(database).await?;
    let mut step = database.begin().await?;
    // What holds for commits and reads does not hold here: an index of all events takes its time, and whoever
    // waits for another node to make it waits as long. But nobody goes on for a client that is gone.
    sqlx::raw_sql(
        "SET LOCAL statement_timeout = 0; SET LOCAL client_connection_check_interval = '1s'",
    )
    .execute(&mut *step)
    .await?;
    sqlx::query("SELECT pg_advisory_xact_lock($1)").bind(LOCK).execute(&mut *step).await?;
    let found = version(&mut step).await?;
    sqlx::raw_sql("CREATE TABLE IF NOT EXISTS schema_version (version int8 PRIMARY KEY)")
        .execute(&mut *step)
        .await?;
    for (migration, version) in MIGRATIONS.into_iter().zip(1_i64..).skip(found as usize) {
        if version == NAMES_SHARDS {
            name_shards(&mut step).await?;
        }
        sqlx::raw_sql(migration).execute(&mut *step).await?;
        sqlx::query("INSERT INTO schema_version (version) VALUES ($1)")
            .bind(version)
            .execute(&mut *step)
            .await?;
    }
    step.commit().await?;
    Ok((found, VERSION))
}

/// Makes a temporary table of every entity's shard, which lasts as long as the transaction.
async fn name_shards(database: &mut PgConnection) -> Result<(), OpenError> {
    const N_ENTITIES: i64 = 10_000;
    sqlx::raw_sql(
        "CREATE TEMP TABLE shards_of (kind int2, id uuid, shard int4 NOT NULL, PRIMARY KEY (kind, id))
         ON COMMIT DROP",
    )
    .execute(&mut *database)
    .await?;
    let mut last = (-1, Uuid::nil());
    loop {
        let entities: Vec<(i16, Uuid)> = sqlx::query_as(
            "SELECT kind, id FROM entities WHERE (kind, id) > ($1, $2) ORDER BY kind, id LIMIT $3",
        )
        .bind(last.0)
        .bind(last.1)
        .bind(N_ENTITIES)
        .fetch_all(&mut *database)
        .await?;
        let Some(newest) = entities.last().copied() else { return Ok(()) };
        last = newest;
        let shard = |(kind, id)| Ok(i32::from(batch::entity(kind, id)?.shard().0));
        let shards: Vec<i32> = entities.iter().copied().map(shard).collect::<sqlx::Result<_>>()?;
        let (kinds, ids): (Vec<_>, Vec<_>) = entities.into_iter().unzip();
        sqlx::query(
            "INSERT INTO shards_of SELECT * FROM unnest($1::int2[], $2::uuid[], $3::int4[])",
        )
        .bind(kinds)
        .bind(ids)
        .bind(shards)
        .execute(&mut *database)
        .await?;
    }
}

/// Makes room for the answers of today, tomorrow and the day after.
pub(super) async fn make_days(database: &mut PgConnection, now: Timestamp) -> sqlx::Result<()> {
    let today = now.0 / DAY_MS;
    for day in today..today + 3 {
        let is_there: bool = sqlx::query_scalar("SELECT to_regclass($1) IS NOT NULL")
            .bind(format!("results_{day}"))
            .fetch_one(&mut *database)
            .await?;
        if !is_there {
            match make_day(database, day).await {
                // Another node was faster, and its room is as good.
                Err(sqlx::Error::Database(error)) if error.code().as_deref() == Some("42P07") => {}
                made => made?,
            }
        }
    }
    Ok(())
}

/// Answers of that day may have come before it had room, from a clock that was ahead or while nobody
/// made any: they move in, for a part cannot begin where the rest already has something.
async fn make_day(database: &mut PgConnection, day: u64) -> sqlx::Result<()> {
    let (first, end) = (day * DAY_MS, (day + 1) * DAY_MS);
    let sql = format!(
        "LOCK TABLE results_else;
         CREATE TABLE results_{day} (LIKE results INCLUDING DEFAULTS);
         CREATE UNIQUE INDEX results_{day}_by_command ON results_{day} (id, kind, command);
         WITH early AS (DELETE FROM results_else WHERE at >= {first} AND at < {end} RETURNING *)
             INSERT INTO results_{day} (id, kind, command, at, position, bytes, version)
             SELECT id, kind, command, at, position, bytes, version FROM early;
         ALTER TABLE results ATTACH PARTITION results_{day} FOR VALUES FROM ({first}) TO ({end})"
    );
    impatiently(database, sql).await
}

/// Changes tables, unless somebody (an export) uses them for longer: whoever comes after us would wait
/// behind us for as long as we do.
async fn impatiently(database: &mut PgConnection, sql: String) -> sqlx::Result<()> {
    let mut step = database.begin().await?;
    sqlx::raw_sql("SET LOCAL lock_timeout = '250ms'").execute(&mut *step).await?;
    sqlx::raw_sql(AssertSqlSafe(sql)).execute(&mut *step).await?;
    step.commit().await
}

/// Forgets answers from before a moment: those that have rows of their own, whole days at once, of the others
/// row by row; those that stand with events by saying so. Of those, none is forgotten that the database's own
/// clock calls young, however wrong the clock of whoever asks.
///
/// Until this is done first, when a node starts, `answers_since` is 0: nothing was forgotten yet, neither in a
/// new database nor in one whose answers have all been rows so far. A moment of the clock of whoever migrates
/// could hide answers from a node whose clock is behind; 0 only lets a read walk all events of its entity.
pub(super) async fn forget_results(
    database: &mut PgConnection,
    before: Timestamp,
) -> sqlx::Result<Forgotten> {
    let since: i64 = sqlx::query_scalar(
        "UPDATE cluster_facts
         SET value = greatest(value, least($1, (extract(epoch FROM clock_timestamp()) * 1000)::int8 - $2))
         WHERE name = 'answers_since' RETURNING value",
    )
    .bind(super::millis(before))
    .bind(KEPT_MS)
    .fetch_one(&mut *database)
    .await?;
    let days: Vec<(String, f32)> = sqlx::query_as(
        "SELECT c.relname::text, c.reltuples FROM pg_inherits i JOIN pg_class c ON c.oid = i.inhrelid
         WHERE i.inhparent = 'results'::regclass",
    )
    .fetch_all(&mut *database)
    .await?;
    let mut n_dropped = 0;
    for (name, n_rows) in days {
        let day = name.strip_prefix("results_").and_then(|day| day.parse::<u64>().ok());
        if day.is_some_and(|day| (day + 1) * DAY_MS <= before.0) {
            impatiently(database, format!("DROP TABLE {name}")).await?;
            n_dropped += n_rows.max(0.0) as u64;
        }
    }
    // What is left is less than a day old, but for clocks that went wrong.
    let rest = sqlx::query("DELETE FROM results_else WHERE at < $1")
        .bind(super::millis(before))
        .execute(&mut *database)
        .await?;
    let n_rows = n_dropped + rest.rows_affected();
    Ok(Forgotten { n_rows, with_events_before: Some(read::moment(since)) })
}
