//! Brings a database to the schema this build writes, and refuses one from the future.

use super::OpenError;
use sqlx::{Connection, SqliteConnection};

/// Each takes a database from the version before to its own; the first makes version 1. Add,
/// never change.
const MIGRATIONS: [&str; 1] = [include_str!("schema_1.sql")];

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
        sqlx::raw_sql(migration).execute(&mut *step).await?;
        sqlx::query("INSERT INTO schema_version (version) VALUES (?)")
            .bind(version)
            .execute(&mut *step)
            .await?;
        step.commit().await?;
    }
    Ok(())
}
