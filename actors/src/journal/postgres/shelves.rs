//! What could be learned again, and is kept all the same: by the owner of its shard, in a statement of its own.
//!
//! Apart from commits, for a row may be as large as a thousand of them and nobody waits for it. It holds its shard's head for as
//! long as it takes to write that row.

use super::committer::Shared;
use crate::journal::{CommitError, JournalError, Shelf};
use sqlx::PgPool;

const KEEP: &str = include_str!("keep.sql");
const KEPT: &str = "SELECT bytes FROM shelves WHERE shard = $1 AND name = $2";

/// Puts something on a shelf, if its shard is ours, and is so in the database.
pub(super) async fn keep(
    pool: &PgPool,
    shared: &Shared,
    shelf: Shelf,
    bytes: Vec<u8>,
) -> Result<(), CommitError> {
    let Shelf { shard, name } = shelf;
    let Some(epoch) = shared.ownership.epoch(shard) else {
        return Err(CommitError::Fenced { shard });
    };
    let written: Option<i32> = sqlx::query_scalar(KEEP)
        .bind(i32::from(shard.0))
        .bind(epoch.cast_signed())
        .bind(name)
        .bind(bytes)
        .fetch_optional(pool)
        .await
        .map_err(|error| CommitError::Unknown(error.to_string()))?;
    // Whether it is another's by now, or ours anew, a commit will find out.
    written.map(drop).ok_or(CommitError::Fenced { shard })
}

/// What stands on a shelf.
pub(super) async fn kept(pool: &PgPool, shelf: Shelf) -> Result<Option<Vec<u8>>, JournalError> {
    Ok(sqlx::query_scalar(KEPT)
        .bind(i32::from(shelf.shard.0))
        .bind(shelf.name)
        .fetch_optional(pool)
        .await?)
}
