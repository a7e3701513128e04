//! Brings a database to the schema this build writes, and refuses one from the future.

use super::OpenError;
use crate::EntityKey;
use sqlx::{Connection, SqliteConnection};

/// Each takes a database from the version before to its own; the first makes version 1. Add,
/// never change.
const MIGRATIONS: [&str; 3] =
    [include_str!("schema_1.sql"), include_str!("schema_2.sql"), include_str!("schema_3.sql")];
/// The migration that wants to know the shard of every entity.
const NUMBERS_EVENTS: i64 = 2;

/// The version this build writes.
pub(super) const VERSION: i64 = MIGRATIONS.len() as i64;

/// Applies what is missing, each step in a transaction of its own.
pub(super) async fn migrate(database: &mut SqliteConnection) -> Result<(), OpenError> {
    sqlx::raw_sql("CREATE TABLE IF NOT EXISTS schema_version (version INTEGER NOT NULL) STRICT")
        .execute(&mut *database)
        .await?;
    let found: i64 = sqlx::query_scalar("SELECT coalesce(max(version), 0) FROM schema_version")
        .fetch_one(&mut *database)
        .await?;
    if found > VERSION {
        return Err(OpenError::Newer { found, known: VERSION });
    }
    for (migration, version) in MIGRATIONS.into_iter().zip(1..).skip(found as usize) {
        let mut step = database.begin_with("BEGIN IMMEDIATE").await?;
        if version == NUMBERS_EVENTS {
            name_shards(&mut step).await?;
        }
        sqlx::raw_sql(migration).execute(&mut *step).await?;
        sqlx::query("INSERT INTO schema_version (version) VALUES (?)")
            .bind(version)
            .execute(&mut *step)
            .await?;
        step.commit().await?;
    }
    Ok(())
}

/// Makes a temporary table of every entity's shard.
async fn name_shards(database: &mut SqliteConnection) -> Result<(), OpenError> {
    const N_ENTITIES: i64 = 10_000;
    sqlx::raw_sql(
        "CREATE TEMP TABLE shards_of (entity BLOB PRIMARY KEY, shard INTEGER NOT NULL) WITHOUT ROWID",
    )
    .execute(&mut *database)
    .await?;
    let mut last = Vec::new();
    loop {
        let entities: Vec<Vec<u8>> =
            sqlx::query_scalar("SELECT entity FROM entities WHERE entity > ? ORDER BY 1 LIMIT ?")
                .bind(&last)
                .bind(N_ENTITIES)
                .fetch_all(&mut *database)
                .await?;
        let Some(newest) = entities.last().cloned() else { return Ok(()) };
        last = newest;
        for bytes in entities {
            let entity = EntityKey::from_bytes(&bytes)
                .ok_or_else(|| sqlx::Error::Decode(format!("{bytes:02x?} is no entity").into()))?;
            sqlx::query("INSERT INTO temp.shards_of (entity, shard) VALUES (?, ?)")
                .bind(bytes)
                .bind(i64::from(entity.shard().0))
                .execute(&mut *database)
                .await?;
        }
    }
}

/// Begins an ownership of every shard, later than all there were.
pub(super) async fn begin_epoch(database: &mut SqliteConnection) -> sqlx::Result<u64> {
    let epoch: i64 = sqlx::query_scalar(
        "INSERT INTO openings (epoch, at)
         SELECT
             1 + max(
                 coalesce((SELECT max(epoch) FROM openings), 0),
                 coalesce((SELECT max(epoch) FROM heads), 0),
                 coalesce((SELECT max(epoch) FROM epochs), 0)
             ),
             CAST(unixepoch('subsec') * 1000 AS INTEGER)
         RETURNING epoch",
    )
    .fetch_one(database)
    .await?;
    Ok(epoch.cast_unsigned())
}
