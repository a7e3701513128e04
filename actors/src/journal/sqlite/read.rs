//! What is asked of the database. Each is one statement, hence one consistent view of it.

use super::millis;
use crate::{
    Claim, EntityKey, Version, ViewRow,
    commit::{CommandResult, EncodedEvent},
    journal::{
        EffectKey, JournalError, OutboxPosition, OutboxRow, RECENT_RESULTS, Recorded, Shelf, Sort,
        Stored, ViewQuery,
    },
};
use futures_util::TryStreamExt;
use protocol::{CommandId, Currency, DriverId, RiderId, ShardSet, Timestamp};
use sqlx::{QueryBuilder, Sqlite, SqlitePool};
use std::collections::BTreeSet;
use uuid::Uuid;

type Answer<T> = Result<T, JournalError>;

// Which shard an entity belongs to is not in every row: one process has them all, so those who ask
// for some are few.

/// What stands on a shelf.
pub(super) const KEPT: &str = "SELECT bytes FROM shelves WHERE shard = ? AND name = ?";

/// All parts of [`Stored`], told apart by the first column.
pub(super) const LOAD: &str = "
    SELECT 1, version, '', bytes, NULL FROM snapshots WHERE entity = ?1
    UNION ALL
    SELECT 2, version, name, bytes, NULL FROM events WHERE entity = ?1
        AND version > coalesce((SELECT version FROM snapshots WHERE entity = ?1), 0)
    UNION ALL
    SELECT * FROM (
        SELECT 3, position, '', bytes, command FROM results WHERE entity = ?1
        ORDER BY position DESC LIMIT ?2
    )
    UNION ALL
    SELECT 4, 0, '', x'', max(command) FROM (
        SELECT command FROM results WHERE entity = ?1
        ORDER BY position DESC LIMIT -1 OFFSET ?2
    )
    ORDER BY 1, 2";

pub(super) const DEADLINES: &str = "
    SELECT deadline, entity FROM entities WHERE deadline < ? AND (deadline, entity) > (?, ?)
    ORDER BY deadline, entity";

pub(super) async fn load(readers: &SqlitePool, entity: EntityKey) -> Answer<Stored> {
    type Row = (i64, i64, String, Vec<u8>, Option<Vec<u8>>);
    let rows: Vec<Row> = sqlx::query_as(LOAD)
        .bind(entity.to_bytes().to_vec())
        .bind(RECENT_RESULTS as i64)
        .fetch_all(readers)
        .await?;
    let command = |bytes: Option<Vec<u8>>| match bytes {
        Some(bytes) => uuid(entity, &bytes).map(|id| Some(CommandId(id))),
        None => Ok(None),
    };
    let mut stored = Stored::default();
    for (part, number, name, bytes, id) in rows {
        match part {
            1 => stored.snapshot = Some((Version(number as u64), bytes)),
            2 => stored.tail.push(EncodedEvent { name, bytes }),
            3 => {
                stored.results.extend(command(id)?.map(|command| CommandResult { command, bytes }))
            }
            _ => stored.older_results_max = command(id)?,
        }
    }
    Ok(stored)
}

pub(super) async fn result(
    readers: &SqlitePool,
    entity: EntityKey,
    command: CommandId,
) -> Answer<Option<Vec<u8>>> {
    Ok(sqlx::query_scalar("SELECT bytes FROM results WHERE entity = ? AND command = ?")
        .bind(entity.to_bytes().to_vec())
        .bind(command.0.as_bytes().to_vec())
        .fetch_optional(readers)
        .await?)
}

pub(super) async fn undelivered(
    readers: &SqlitePool,
    shards: ShardSet,
    after: Option<OutboxPosition>,
    limit: usize,
) -> Answer<Vec<OutboxRow>> {
    type Row = (i64, Vec<u8>, i64, i64, i64, Vec<u8>);
    let mut rows = sqlx::query_as::<_, Row>(
        "SELECT position, source, version, place, at, bytes FROM outbox WHERE position > ?
         ORDER BY position",
    )
    .bind(after.map_or(0, |position| position.0 as i64))
    .fetch(readers);
    let mut page = Vec::new();
    while page.len() < limit
        && let Some((position, source, version, place, at, bytes)) = rows.try_next().await?
    {
        let source = key(&source)?;
        if shards.contains(source.shard()) {
            let (version, index) = (Version(version as u64), place as u32);
            page.push(OutboxRow {
                position: OutboxPosition(position as u64),
                key: EffectKey { source, version, index },
                at: Timestamp(at as u64),
                bytes,
            });
        }
    }
    Ok(page)
}

pub(super) async fn deadlines(
    readers: &SqlitePool,
    shards: ShardSet,
    until: Timestamp,
    after: Option<(Timestamp, EntityKey)>,
    limit: usize,
) -> Answer<Vec<(Timestamp, EntityKey)>> {
    // Before every row: no time is negative.
    let after =
        after.map_or((-1, Vec::new()), |(at, entity)| (millis(at), entity.to_bytes().into()));
    let mut rows = sqlx::query_as::<_, (i64, Vec<u8>)>(DEADLINES)
        .bind(millis(until))
        .bind(after.0)
        .bind(after.1)
        .fetch(readers);
    let mut page = Vec::new();
    while page.len() < limit
        && let Some((at, entity)) = rows.try_next().await?
    {
        let entity = key(&entity)?;
        if shards.contains(entity.shard()) {
            page.push((Timestamp(at as u64), entity));
        }
    }
    Ok(page)
}

pub(super) async fn holder(readers: &SqlitePool, claim: Claim) -> Answer<Option<EntityKey>> {
    let holder: Option<Vec<u8>> = sqlx::query_scalar("SELECT holder FROM claims WHERE claim = ?")
        .bind(claim.0)
        .fetch_optional(readers)
        .await?;
    holder.map(|holder| key(&holder)).transpose()
}

pub(super) async fn kept(readers: &SqlitePool, shelf: Shelf) -> Answer<Option<Vec<u8>>> {
    Ok(sqlx::query_scalar(KEPT)
        .bind(i64::from(shelf.shard.0))
        .bind(shelf.name)
        .fetch_optional(readers)
        .await?)
}

pub(super) async fn history(
    readers: &SqlitePool,
    entity: EntityKey,
    after: Version,
    limit: usize,
) -> Answer<Vec<Recorded>> {
    let rows: Vec<(i64, i64, String, Vec<u8>)> = sqlx::query_as(
        "SELECT version, at, name, bytes FROM events WHERE entity = ? AND version > ?
         ORDER BY version LIMIT ?",
    )
    .bind(entity.to_bytes().to_vec())
    .bind(i64::try_from(after.0).unwrap_or(i64::MAX))
    .bind(count(limit))
    .fetch_all(readers)
    .await?;
    let recorded = |(version, at, name, bytes)| Recorded {
        version: Version(i64::cast_unsigned(version)),
        at: Timestamp(i64::cast_unsigned(at)),
        event: EncodedEvent { name, bytes },
    };
    Ok(rows.into_iter().map(recorded).collect())
}

/// The columns of [`ViewRow`], after the entity.
pub(super) type ViewColumns = (Vec<u8>, String, Option<Vec<u8>>, Option<Vec<u8>>, i64, String);

pub(super) async fn views(
    readers: &SqlitePool,
    query: ViewQuery,
) -> Answer<Vec<(EntityKey, ViewRow)>> {
    let rows: Vec<ViewColumns> = views_query(&query).build_query_as().fetch_all(readers).await?;
    rows.into_iter().map(view).collect()
}

pub(super) fn view(columns: ViewColumns) -> Answer<(EntityKey, ViewRow)> {
    let (entity, status, rider, driver, at, body) = columns;
    let entity = key(&entity)?;
    let person = |id: Option<Vec<u8>>| id.map(|id| uuid(entity, &id)).transpose();
    let body = serde_json::from_str(&body)
        .map_err(|error| JournalError::Unreadable { entity, problem: format!("view: {error}") })?;
    let rider = person(rider)?.map(RiderId);
    let driver = person(driver)?.map(DriverId);
    Ok((entity, ViewRow { status, rider, driver, at: Timestamp(at as u64), body }))
}

/// One arm per status: each walks its own index from the newest row, and SQLite merges them. With
/// `status IN (…)` it would sort every row that ever had one of them.
pub(super) fn views_query(query: &ViewQuery) -> QueryBuilder<Sqlite> {
    let statuses: BTreeSet<_> = query.statuses.iter().map(Some).collect();
    let arms = if statuses.is_empty() { BTreeSet::from([None]) } else { statuses };
    let mut sql = QueryBuilder::new("");
    for (status, n) in arms.into_iter().zip(0..) {
        sql.push(if n == 0 { "" } else { " UNION ALL " });
        sql.push("SELECT entity, status, rider, driver, at, body FROM views WHERE kind = ");
        sql.push_bind(query.kind as i64);
        if let Some(status) = status {
            sql.push(" AND status = ").push_bind(status.clone());
        }
        if let Some(rider) = query.rider {
            sql.push(" AND rider = ").push_bind(rider.0.as_bytes().to_vec());
        }
        if let Some(driver) = query.driver {
            sql.push(" AND driver = ").push_bind(driver.0.as_bytes().to_vec());
        }
        if let Some(since) = query.since {
            sql.push(" AND at >= ").push_bind(millis(since));
        }
        if let Some(until) = query.until {
            sql.push(" AND at < ").push_bind(millis(until));
        }
        if let Some((at, id)) = query.after {
            let entity = EntityKey { kind: query.kind, id };
            sql.push(match query.sort {
                Sort::Newest => " AND (at, entity) < (",
                Sort::Oldest => " AND (at, entity) > (",
            });
            sql.push_bind(millis(at));
            sql.push(", ").push_bind(entity.to_bytes().to_vec()).push(")");
        }
    }
    sql.push(match query.sort {
        Sort::Newest => " ORDER BY at DESC, entity DESC LIMIT ",
        Sort::Oldest => " ORDER BY at, entity LIMIT ",
    });
    sql.push_bind(count(query.limit));
    sql
}

pub(super) async fn balance(
    readers: &SqlitePool,
    account: String,
    currency: Currency,
) -> Answer<i64> {
    let sql = "SELECT balance FROM balances WHERE account = ? AND currency = ?";
    let query = sqlx::query_scalar(sql).bind(account).bind(currency.to_string());
    Ok(query.fetch_optional(readers).await?.unwrap_or_default())
}

/// A limit as SQLite counts.
pub(super) fn count(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

pub(super) fn key(bytes: &[u8]) -> Answer<EntityKey> {
    EntityKey::from_bytes(bytes)
        .ok_or_else(|| JournalError::Unavailable(format!("{bytes:02x?} is no entity")))
}

pub(super) fn uuid(entity: EntityKey, bytes: &[u8]) -> Answer<Uuid> {
    Uuid::from_slice(bytes)
        .map_err(|error| JournalError::Unreadable { entity, problem: error.to_string() })
}
