//! The feed, and the journal as records: read page by page, and written back.

use super::{
    batch::{Values, currency, put},
    millis,
    read::{self, count, key, uuid},
};
use crate::{
    Claim, EntityKey, Version,
    commit::EncodedEvent,
    journal::{
        FeedCursor, FeedEvent, JournalError, Part, Record, Recorded, RestoreError,
        feed::share,
        record::{self, Key},
    },
};
use protocol::{CommandId, ShardId, ShardSet, Timestamp};
use sqlx::{Connection, FromRow, SqliteConnection, SqlitePool, error::ErrorKind};
use std::{borrow::Cow, collections::HashMap};

type Answer<T> = Result<T, JournalError>;

/// Ranges of the logs, given as JSON `[[shard, first, last], …]`.
pub(super) const FEED: &str = "
    SELECT shard, seq, epoch, entity, version, at, name, events.bytes, command
    FROM json_each(?) AS turn CROSS JOIN events
        ON shard = turn.value ->> 0 AND seq BETWEEN turn.value ->> 1 AND turn.value ->> 2
    ORDER BY turn.key, seq";

/// A row of the events table.
#[derive(Debug, FromRow)]
struct EventRow {
    shard: i64,
    seq: i64,
    epoch: i64,
    entity: Vec<u8>,
    version: i64,
    at: i64,
    name: String,
    bytes: Vec<u8>,
    command: Option<Vec<u8>>,
}

impl TryFrom<EventRow> for FeedEvent {
    type Error = JournalError;

    fn try_from(row: EventRow) -> Answer<Self> {
        let entity = key(&row.entity)?;
        let command = row.command.map(|id| uuid(entity, &id).map(CommandId)).transpose()?;
        let recorded = Recorded {
            version: Version(row.version.cast_unsigned()),
            at: Timestamp(row.at.cast_unsigned()),
            event: EncodedEvent { name: row.name, bytes: row.bytes },
        };
        let (seq, epoch) = (row.seq.cast_unsigned(), row.epoch.cast_unsigned());
        Ok(Self { shard: ShardId(row.shard as u16), seq, epoch, entity, command, recorded })
    }
}

pub(super) async fn feed(
    readers: &SqlitePool,
    after: FeedCursor,
    limit: usize,
) -> Answer<Vec<FeedEvent>> {
    let heads: Vec<(i64, i64)> =
        sqlx::query_as("SELECT shard, seq FROM heads").fetch_all(readers).await?;
    let heads: HashMap<_, _> = heads.into_iter().collect();
    let waiting = after.turns().filter_map(|(shard, seen)| {
        let head = heads.get(&i64::from(shard.0))?;
        Some((shard, seen, head.cast_unsigned()))
    });
    let page = share(waiting, limit);
    if page.is_empty() {
        return Ok(Vec::new());
    }
    let page = serde_json::to_string(&page).expect("numbers are JSON");
    let rows: Vec<EventRow> = sqlx::query_as(FEED).bind(page).fetch_all(readers).await?;
    rows.into_iter().map(FeedEvent::try_from).collect()
}

/// Where a page begins: after these columns of the record before.
struct After {
    numbers: (i64, i64),
    entity: Vec<u8>,
    text: (String, i64),
}

impl After {
    /// Before everything, unless there is a record.
    fn of(record: Option<&Record>) -> Self {
        let mut after = Self { numbers: (-1, -1), entity: vec![], text: (String::new(), -1) };
        match record.map(Record::key) {
            None => {}
            Some(Key::Numbers(first, second)) => {
                after.numbers = (first.cast_signed(), second.cast_signed());
            }
            Some(Key::Entity(entity)) => after.entity = entity.to_bytes().to_vec(),
            Some(Key::Text(text, line)) => after.text = (text.to_owned(), line.into()),
        }
        after
    }
}

pub(super) async fn dump(
    readers: &SqlitePool,
    part: Part,
    after: Option<Record>,
    limit: usize,
) -> Answer<Vec<Record>> {
    let limit = count(limit);
    let After { numbers, entity, text } = After::of(after.as_ref());
    match part {
        Part::Epochs => {
            let rows: Vec<(i64, i64, i64, i64, String)> = sqlx::query_as(
                "SELECT shard, epoch, first_seq, at, owner FROM epochs
                 WHERE (shard, epoch) > (?, ?) ORDER BY shard, epoch LIMIT ?",
            )
            .bind(numbers.0)
            .bind(numbers.1)
            .bind(limit)
            .fetch_all(readers)
            .await?;
            let record = |(shard, epoch, first_seq, at, owner)| Record::Epoch {
                shard: ShardId(shard as u16),
                epoch: i64::cast_unsigned(epoch),
                first_seq: i64::cast_unsigned(first_seq),
                at: Timestamp(i64::cast_unsigned(at)),
                owner,
            };
            Ok(rows.into_iter().map(record).collect())
        }
        Part::Heads => {
            let rows: Vec<(i64, i64, i64)> = sqlx::query_as(
                "SELECT shard, epoch, seq FROM heads WHERE shard > ? ORDER BY shard LIMIT ?",
            )
            .bind(numbers.0)
            .bind(limit)
            .fetch_all(readers)
            .await?;
            let record = |(shard, epoch, seq)| Record::Head {
                shard: ShardId(shard as u16),
                epoch: i64::cast_unsigned(epoch),
                seq: i64::cast_unsigned(seq),
            };
            Ok(rows.into_iter().map(record).collect())
        }
        Part::Events => {
            let rows: Vec<EventRow> = sqlx::query_as(
                "SELECT shard, seq, epoch, entity, version, at, name, bytes, command FROM events
                 WHERE (shard, seq) > (?, ?) ORDER BY shard, seq LIMIT ?",
            )
            .bind(numbers.0)
            .bind(numbers.1)
            .bind(limit)
            .fetch_all(readers)
            .await?;
            rows.into_iter().map(|row| Ok(FeedEvent::try_from(row)?.into())).collect()
        }
        Part::Entities => {
            let rows: Vec<(Vec<u8>, i64, Option<i64>)> = sqlx::query_as(
                "SELECT entity, version, deadline FROM entities WHERE entity > ?
                 ORDER BY entity LIMIT ?",
            )
            .bind(entity)
            .bind(limit)
            .fetch_all(readers)
            .await?;
            let record = |(entity, version, deadline): (Vec<u8>, i64, Option<i64>)| {
                Ok(Record::Entity {
                    entity: key(&entity)?,
                    version: Version(version.cast_unsigned()),
                    deadline: deadline.map(|at| Timestamp(at.cast_unsigned())),
                })
            };
            rows.into_iter().map(record).collect()
        }
        Part::Snapshots => {
            let rows: Vec<(Vec<u8>, i64, Vec<u8>)> = sqlx::query_as(
                "SELECT entity, version, bytes FROM snapshots WHERE entity > ?
                 ORDER BY entity LIMIT ?",
            )
            .bind(entity)
            .bind(limit)
            .fetch_all(readers)
            .await?;
            let record = |(entity, version, bytes): (Vec<u8>, i64, Vec<u8>)| {
                let version = Version(version.cast_unsigned());
                Ok(Record::Snapshot { entity: key(&entity)?, version, bytes })
            };
            rows.into_iter().map(record).collect()
        }
        Part::Results => {
            type Row = (i64, Vec<u8>, Vec<u8>, i64, Vec<u8>);
            let rows: Vec<Row> = sqlx::query_as(
                "SELECT position, entity, command, at, bytes FROM results WHERE position > ?
                 ORDER BY position LIMIT ?",
            )
            .bind(numbers.0)
            .bind(limit)
            .fetch_all(readers)
            .await?;
            let record = |(position, entity, command, at, bytes): Row| {
                let entity = key(&entity)?;
                Ok(Record::Result {
                    position: position.cast_unsigned(),
                    entity,
                    command: CommandId(uuid(entity, &command)?),
                    at: Timestamp(i64::cast_unsigned(at)),
                    bytes,
                })
            };
            rows.into_iter().map(record).collect()
        }
        Part::Effects => {
            let after = (numbers.0 >= 0).then_some(numbers.0.cast_unsigned());
            let after = after.map(crate::journal::OutboxPosition);
            let rows = read::undelivered(readers, ShardSet::ALL, after, limit as usize).await?;
            Ok(rows.into_iter().map(Record::from).collect())
        }
        Part::Claims => {
            // No claim is empty, so the empty text is before all of them.
            let rows: Vec<(String, Vec<u8>)> = sqlx::query_as(
                "SELECT claim, holder FROM claims WHERE claim > ? ORDER BY claim LIMIT ?",
            )
            .bind(text.0)
            .bind(limit)
            .fetch_all(readers)
            .await?;
            let record = |(claim, holder): (String, Vec<u8>)| {
                Ok(Record::Claim { claim: Claim(claim), holder: key(&holder)? })
            };
            rows.into_iter().map(record).collect()
        }
        Part::Postings => {
            let rows: Vec<PostingRow> = sqlx::query_as(
                "SELECT key, line, entity, version, at, account, currency, amount, floor
                 FROM postings WHERE (key, line) > (?, ?) ORDER BY key, line LIMIT ?",
            )
            .bind(text.0)
            .bind(text.1)
            .bind(limit)
            .fetch_all(readers)
            .await?;
            rows.into_iter().map(Record::try_from).collect()
        }
        Part::Views => {
            let rows: Vec<read::ViewColumns> = sqlx::query_as(
                "SELECT entity, status, rider, driver, at, body FROM views WHERE entity > ?
                 ORDER BY entity LIMIT ?",
            )
            .bind(entity)
            .bind(limit)
            .fetch_all(readers)
            .await?;
            let record = |columns| {
                let (entity, row) = read::view(columns)?;
                Ok(Record::View { entity, row })
            };
            rows.into_iter().map(record).collect()
        }
    }
}

/// A row of the postings table.
#[derive(Debug, FromRow)]
struct PostingRow {
    key: String,
    line: i64,
    entity: Vec<u8>,
    version: i64,
    at: i64,
    account: String,
    currency: String,
    amount: i64,
    floor: Option<i64>,
}

impl TryFrom<PostingRow> for Record {
    type Error = JournalError;

    fn try_from(row: PostingRow) -> Answer<Self> {
        Ok(Self::Posting {
            entity: key(&row.entity)?,
            currency: currency(&row.currency)?,
            key: row.key,
            line: row.line as u32,
            version: Version(row.version.cast_unsigned()),
            at: Timestamp(row.at.cast_unsigned()),
            account: row.account,
            amount: row.amount,
            floor: row.floor,
        })
    }
}

/// Writes all of `records` in one transaction, or none. After a failure the connection is of no use.
pub(super) async fn restore(
    database: &mut SqliteConnection,
    records: &[Record],
    is_restoring: bool,
) -> Result<(), RestoreError> {
    // The lines of one fact may come in two calls, and do not sum to zero in between.
    sqlx::query("PRAGMA foreign_keys = OFF").execute(&mut *database).await.map_err(failed)?;
    let mut transaction = database.begin_with("BEGIN IMMEDIATE").await.map_err(failed)?;
    if !is_restoring && !is_empty(&mut transaction).await.map_err(failed)? {
        return Err(RestoreError::NotEmpty);
    }
    record::in_range(records)?;
    let mut records = Cow::Borrowed(records);
    if records.iter().any(Record::is_with_event) {
        let last: i64 = sqlx::query_scalar("SELECT coalesce(max(position), 0) FROM results")
            .fetch_one(&mut *transaction)
            .await
            .map_err(failed)?;
        record::line_up(records.to_mut(), last.cast_unsigned());
    }
    for records in records.chunk_by(|a, b| a.part() == b.part()) {
        let insert = insertion(records[0].part());
        put(&mut transaction, insert, records, bind, "").await.map_err(failed)?;
    }
    transaction.commit().await.map_err(failed)?;
    sqlx::query("PRAGMA foreign_keys = ON").execute(database).await.map_err(failed)?;
    Ok(())
}

fn failed(error: sqlx::Error) -> RestoreError {
    let kind = error.as_database_error().map(|error| error.kind());
    match kind {
        Some(ErrorKind::UniqueViolation) => RestoreError::Clash(error.to_string()),
        _ => RestoreError::Journal(error.into()),
    }
}

async fn is_empty(database: &mut SqliteConnection) -> sqlx::Result<bool> {
    sqlx::query_scalar(
        "SELECT NOT (
             EXISTS (SELECT 1 FROM entities) OR EXISTS (SELECT 1 FROM events)
             OR EXISTS (SELECT 1 FROM heads) OR EXISTS (SELECT 1 FROM epochs)
             OR EXISTS (SELECT 1 FROM snapshots) OR EXISTS (SELECT 1 FROM results)
             OR EXISTS (SELECT 1 FROM outbox) OR EXISTS (SELECT 1 FROM claims)
             OR EXISTS (SELECT 1 FROM postings) OR EXISTS (SELECT 1 FROM views)
         )",
    )
    .fetch_one(database)
    .await
}

fn insertion(part: Part) -> &'static str {
    match part {
        Part::Epochs => "INSERT INTO epochs (shard, epoch, first_seq, at, owner) ",
        Part::Heads => "INSERT INTO heads (shard, epoch, seq) ",
        Part::Events => {
            "INSERT INTO events (shard, seq, epoch, entity, version, at, name, bytes, command) "
        }
        Part::Entities => "INSERT INTO entities (entity, version, deadline) ",
        Part::Snapshots => "INSERT INTO snapshots (entity, version, bytes) ",
        Part::Results => "INSERT INTO results (position, entity, command, at, bytes) ",
        Part::Effects => "INSERT INTO outbox (position, source, version, place, at, bytes) ",
        Part::Claims => "INSERT INTO claims (claim, holder) ",
        Part::Postings => {
            "INSERT INTO postings \
             (key, line, entity, version, at, account, currency, amount, floor) "
        }
        Part::Views => "INSERT INTO views (entity, kind, status, rider, driver, at, body) ",
    }
}

/// The values of a row, in the order of the columns of [`insertion`].
fn bind(mut values: Values<'_>, record: &Record) {
    let key = |entity: &EntityKey| entity.to_bytes().to_vec();
    match record {
        Record::Epoch { shard, epoch, first_seq, at, owner } => {
            values.push_bind(i64::from(shard.0));
            values.push_bind(epoch.cast_signed());
            values.push_bind(first_seq.cast_signed());
            values.push_bind(millis(*at));
            values.push_bind(owner.clone());
        }
        Record::Head { shard, epoch, seq } => {
            values.push_bind(i64::from(shard.0));
            values.push_bind(epoch.cast_signed());
            values.push_bind(seq.cast_signed());
        }
        Record::Event { shard, seq, epoch, entity, version, at, name, bytes, command } => {
            values.push_bind(i64::from(shard.0));
            values.push_bind(seq.cast_signed());
            values.push_bind(epoch.cast_signed());
            values.push_bind(key(entity));
            values.push_bind(version.0.cast_signed());
            values.push_bind(millis(*at));
            values.push_bind(name.clone());
            values.push_bind(bytes.clone());
            values.push_bind(command.map(|id| id.0.as_bytes().to_vec()));
        }
        Record::Entity { entity, version, deadline } => {
            values.push_bind(key(entity));
            values.push_bind(version.0.cast_signed());
            values.push_bind(deadline.map(millis));
        }
        Record::Snapshot { entity, version, bytes } => {
            values.push_bind(key(entity));
            values.push_bind(version.0.cast_signed());
            values.push_bind(bytes.clone());
        }
        Record::Result { position, entity, command, at, bytes } => {
            values.push_bind(position.cast_signed());
            values.push_bind(key(entity));
            values.push_bind(command.0.as_bytes().to_vec());
            values.push_bind(millis(*at));
            values.push_bind(bytes.clone());
        }
        Record::Effect { position, source, version, index, at, bytes } => {
            values.push_bind(position.cast_signed());
            values.push_bind(key(source));
            values.push_bind(version.0.cast_signed());
            values.push_bind(i64::from(*index));
            values.push_bind(millis(*at));
            values.push_bind(bytes.clone());
        }
        Record::Claim { claim, holder } => {
            values.push_bind(claim.0.clone());
            values.push_bind(key(holder));
        }
        Record::Posting {
            key: fact,
            line,
            entity,
            version,
            at,
            account,
            currency,
            amount,
            floor,
        } => {
            values.push_bind(fact.clone());
            values.push_bind(i64::from(*line));
            values.push_bind(key(entity));
            values.push_bind(version.0.cast_signed());
            values.push_bind(millis(*at));
            values.push_bind(account.clone());
            values.push_bind(currency.to_string());
            values.push_bind(*amount);
            values.push_bind(*floor);
        }
        Record::View { entity, row } => {
            values.push_bind(key(entity));
            values.push_bind(entity.kind as i64);
            values.push_bind(row.status.clone());
            values.push_bind(row.rider.map(|rider| rider.0.as_bytes().to_vec()));
            values.push_bind(row.driver.map(|driver| driver.0.as_bytes().to_vec()));
            values.push_bind(millis(row.at));
            values.push_bind(row.body.to_string());
        }
    }
}
