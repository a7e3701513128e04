//! The journal as plain records: read in pages by key, written back as they were.

use super::{
    batch::entity as key,
    committer::{Shared, now},
    millis,
    ownership::Ownership,
    read::{EVENT, EventRow, N_UNDELIVERED_MAX, Pass, count, feed_event, moment},
    told,
};
use crate::{
    Claim, EntityKey, Version, ViewRow,
    commit::CommandResult,
    journal::{
        JournalError, OutboxPosition, Part, Record, RestoreError,
        record::{self, Key, WITH_EVENTS},
    },
};
use protocol::{CommandId, Currency, DriverId, RiderId, ShardId, ShardSet};
use sqlx::{AssertSqlSafe, Connection, PgConnection, PgPool};
use std::collections::{BTreeMap, HashMap};
use uuid::Uuid;

type Answer<T> = Result<T, JournalError>;

/// Before every key.
const NOTHING: (i64, i64) = (-1, -1);

/// A page of records. `is_snapshot`: all statements see the same.
pub(super) async fn dump(
    readers: &PgPool,
    shared: &Shared,
    is_snapshot: bool,
    part: Part,
    after: Option<Record>,
    limit: usize,
) -> Answer<Vec<Record>> {
    let after = after.as_ref().map(Record::key);
    let numbers = match after {
        Some(Key::Numbers(a, b)) => (a.cast_signed(), b.cast_signed()),
        Some(Key::Entity(_) | Key::Text(..)) | None => NOTHING,
    };
    let (kind, id) = match after {
        Some(Key::Entity(entity)) => (entity.kind as i16, entity.id),
        Some(Key::Numbers(..) | Key::Text(..)) | None => (-1, Uuid::nil()),
    };
    let (text, line) = match after {
        Some(Key::Text(text, line)) => (text, line.cast_signed()),
        Some(Key::Numbers(..) | Key::Entity(_)) | None => ("", -1),
    };
    let limit = count(limit);
    let records: sqlx::Result<Vec<Record>> = match part {
        Part::Epochs => {
            // Of shards that nobody has written to there is nothing to tell.
            let rows: Vec<(i32, i64, i64, i64, String)> = sqlx::query_as(
                "SELECT e.shard, e.epoch, e.first_seq, e.at, e.owner FROM epochs e
                 JOIN heads h ON h.shard = e.shard
                     AND (h.seq > 0 OR (SELECT v.seq FROM events v WHERE v.shard = h.shard LIMIT 1) > 0)
                 WHERE (e.shard, e.epoch) > ($1, $2) ORDER BY e.shard, e.epoch LIMIT $3",
            )
            .bind(numbers.0 as i32)
            .bind(numbers.1)
            .bind(limit)
            .fetch_all(readers)
            .await?;
            let record = |(shard, epoch, first_seq, at, owner): (i32, i64, i64, i64, String)| {
                Ok(Record::Epoch {
                    shard: ShardId(shard as u16),
                    epoch: epoch.cast_unsigned(),
                    first_seq: first_seq.cast_unsigned(),
                    at: moment(at),
                    owner,
                })
            };
            rows.into_iter().map(record).collect()
        }
        Part::Heads => {
            // The log says how far it goes, not the row.
            let rows: Vec<(i32, i64, i64)> = sqlx::query_as(
                "SELECT h.shard, h.epoch, l.seq FROM heads h CROSS JOIN LATERAL (
                     SELECT greatest(h.seq, (
                         SELECT e.seq FROM events e WHERE e.shard = h.shard ORDER BY e.seq DESC LIMIT 1
                     )) AS seq
                 ) l
                 WHERE l.seq > 0 AND h.shard > $1 ORDER BY h.shard LIMIT $2",
            )
            .bind(numbers.0 as i32)
            .bind(limit)
            .fetch_all(readers)
            .await?;
            let record = |(shard, epoch, seq): (i32, i64, i64)| {
                let (epoch, seq) = (epoch.cast_unsigned(), seq.cast_unsigned());
                Ok(Record::Head { shard: ShardId(shard as u16), epoch, seq })
            };
            rows.into_iter().map(record).collect()
        }
        Part::Events => {
            let sql = format!(
                "SELECT {EVENT} FROM events e WHERE (e.shard, e.seq) > ($1, $2)
                 ORDER BY e.shard, e.seq LIMIT $3"
            );
            let rows: Vec<EventRow> = sqlx::query_as(AssertSqlSafe(sql))
                .bind(numbers.0 as i32)
                .bind(numbers.1)
                .bind(limit)
                .fetch_all(readers)
                .await?;
            rows.into_iter().map(|row| Ok(feed_event(row)?.into())).collect()
        }
        Part::Entities => {
            let rows: Vec<(i16, Uuid, i64, Option<i64>)> = sqlx::query_as(
                "SELECT n.kind, n.id, coalesce(e.version, 0), n.deadline
                 FROM (
                     SELECT * FROM entities WHERE (kind, id) > ($1, $2) ORDER BY kind, id LIMIT $3
                 ) n
                 LEFT JOIN LATERAL (
                     SELECT e.version FROM events e WHERE e.shard = n.shard AND e.id = n.id AND e.kind = n.kind
                     ORDER BY e.version DESC LIMIT 1
                 ) e ON true
                 ORDER BY n.kind, n.id",
            )
            .bind(kind)
            .bind(id)
            .bind(limit)
            .fetch_all(readers)
            .await?;
            let record = |(kind, id, version, deadline): (i16, Uuid, i64, Option<i64>)| {
                let deadline = deadline.map(moment);
                Ok(Record::Entity { entity: key(kind, id)?, version: counted(version), deadline })
            };
            rows.into_iter().map(record).collect()
        }
        Part::Snapshots => {
            let rows: Vec<(i16, Uuid, i64, Vec<u8>)> = sqlx::query_as(
                "SELECT kind, id, version, bytes FROM snapshots WHERE (kind, id) > ($1, $2)
                 ORDER BY kind, id LIMIT $3",
            )
            .bind(kind)
            .bind(id)
            .bind(limit)
            .fetch_all(readers)
            .await?;
            let record = |(kind, id, version, bytes): (i16, Uuid, i64, Vec<u8>)| {
                Ok(Record::Snapshot { entity: key(kind, id)?, version: counted(version), bytes })
            };
            rows.into_iter().map(record).collect()
        }
        Part::Results => {
            let last = match after {
                Some(Key::Numbers(position, _)) => told::place(OutboxPosition(position)),
                Some(Key::Entity(_) | Key::Text(..)) | None => None,
            };
            let mut page = Vec::new();
            if last.is_none() {
                page = answers_apart(readers, numbers.0, limit).await?;
            }
            let left = limit - count(page.len());
            if left > 0 {
                page.extend(answers_with_events(readers, last, left).await?);
            }
            Ok(page)
        }
        Part::Effects => {
            let after = OutboxPosition(numbers.0.max(0).cast_unsigned());
            let limit = limit as usize;
            let mut pass = Pass::new(ShardSet::ALL, Some(after), limit, N_UNDELIVERED_MAX);
            if is_snapshot {
                pass = pass.of_snapshot();
            }
            while !pass.is_over() {
                pass.go_on(readers, shared).await?;
            }
            let rows = pass.rows();
            Ok(rows.into_iter().map(Record::from).collect())
        }
        Part::Claims => {
            let rows: Vec<(String, i16, Uuid)> = sqlx::query_as(
                "SELECT claim, kind, id FROM claims WHERE claim > $1 OR $2 ORDER BY claim LIMIT $3",
            )
            .bind(text)
            .bind(after.is_none())
            .bind(limit)
            .fetch_all(readers)
            .await?;
            let record = |(claim, kind, id): (String, i16, Uuid)| {
                Ok(Record::Claim { claim: Claim(claim), holder: key(kind, id)? })
            };
            rows.into_iter().map(record).collect()
        }
        Part::Postings => {
            type Row = (String, i32, i16, Uuid, i64, i64, String, String, i64, Option<i64>);
            let rows: Vec<Row> = sqlx::query_as(
                "SELECT key, line, kind, id, version, at, account, currency, amount, floor FROM postings
                 WHERE (key, line) > ($1, $2) ORDER BY key, line LIMIT $3",
            )
            .bind(text)
            .bind(line)
            .bind(limit)
            .fetch_all(readers)
            .await?;
            let record =
                |(fact, line, kind, id, version, at, account, currency, amount, floor): Row| {
                    Ok(Record::Posting {
                        key: fact,
                        line: line.cast_unsigned(),
                        entity: key(kind, id)?,
                        version: counted(version),
                        at: moment(at),
                        account,
                        currency: currency
                            .parse::<Currency>()
                            .map_err(|error| sqlx::Error::Decode(error.to_string().into()))?,
                        amount,
                        floor,
                    })
                };
            rows.into_iter().map(record).collect()
        }
        Part::Views => {
            type Row = (i16, Uuid, String, Option<Uuid>, Option<Uuid>, i64, String);
            let rows: Vec<Row> = sqlx::query_as(
                "SELECT kind, id, status, rider, driver, at, body FROM views
                 WHERE (kind, id) > ($1, $2) ORDER BY kind, id LIMIT $3",
            )
            .bind(kind)
            .bind(id)
            .bind(limit)
            .fetch_all(readers)
            .await?;
            let record = |(kind, id, status, rider, driver, at, body): Row| {
                let body = serde_json::from_str(&body)
                    .map_err(|error| sqlx::Error::Decode(error.into()))?;
                let (rider, driver) = (rider.map(RiderId), driver.map(DriverId));
                let row = ViewRow { status, rider, driver, at: moment(at), body };
                Ok(Record::View { entity: key(kind, id)?, row })
            };
            rows.into_iter().map(record).collect()
        }
    };
    Ok(records?)
}

/// Answers that have rows of their own, in the order they were kept. One that stands where those of events do,
/// as an older build may have imported it, is refused: a page that ended with it would go on behind the others.
async fn answers_apart(readers: &PgPool, after: i64, limit: i64) -> Answer<Vec<Record>> {
    let rows: Vec<(i64, i16, Uuid, Uuid, i64, Vec<u8>)> = sqlx::query_as(
        "SELECT position, kind, id, command, at, bytes FROM results WHERE position > $1
         ORDER BY position LIMIT $2",
    )
    .bind(after)
    .bind(limit)
    .fetch_all(readers)
    .await?;
    let record = |(position, kind, id, command, at, bytes): (i64, i16, Uuid, Uuid, i64, _)| {
        let (entity, position) = (key(kind, id)?, position.cast_unsigned());
        if position >= WITH_EVENTS {
            let problem = format!("an answer at {position}, where those of events stand");
            return Err(JournalError::Unreadable { entity, problem });
        }
        let result = CommandResult { command: CommandId(command), bytes };
        Ok(Record::result(position, entity, moment(at), result))
    };
    rows.into_iter().map(record).collect()
}

/// Answers that stand with their events, shard by shard: behind all others.
async fn answers_with_events(
    readers: &PgPool,
    after: Option<(ShardId, u64)>,
    limit: i64,
) -> sqlx::Result<Vec<Record>> {
    type Row = (i32, i64, i16, Uuid, Uuid, i64, Vec<u8>);
    let (shard, seq) = after.map_or((0, 0), |(shard, seq)| (shard.0, seq.cast_signed()));
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT e.shard, e.seq, e.kind, e.id, e.command, e.at, e.answer FROM events e
         WHERE (e.shard, e.seq) > ($1, $2) AND e.answer IS NOT NULL
             AND e.at >= (SELECT value FROM cluster_facts WHERE name = 'answers_since')
         ORDER BY e.shard, e.seq LIMIT $3",
    )
    .bind(i32::from(shard))
    .bind(seq)
    .bind(limit)
    .fetch_all(readers)
    .await?;
    let record = |(shard, seq, kind, id, command, at, bytes): Row| {
        let position = told::position(ShardId(shard as u16), seq.cast_unsigned(), 0);
        let result = CommandResult { command: CommandId(command), bytes };
        Ok(Record::result(position.0, key(kind, id)?, moment(at), result))
    };
    rows.into_iter().map(record).collect()
}

/// Writes a page, and forgets that we own anything: what is restored has a past of its own, which
/// the next commit must take over first.
pub(super) async fn restore(
    readers: &PgPool,
    ownership: &Ownership,
    records: Vec<Record>,
) -> Result<(), RestoreError> {
    let mut connection = readers.acquire().await.map_err(JournalError::from)?;
    let written = write(&mut connection, ownership, records).await;
    // The setting must not outlive the transaction that made it; a broken one is not reused.
    written.map_err(|failure| match failure {
        Failure::Database(sqlx::Error::Database(error)) if error.is_unique_violation() => {
            RestoreError::Clash(error.message().to_owned())
        }
        Failure::Database(error) => RestoreError::Journal(error.into()),
        Failure::Restore(error) => error,
    })
}

enum Failure {
    Database(sqlx::Error),
    Restore(RestoreError),
}

impl From<sqlx::Error> for Failure {
    fn from(error: sqlx::Error) -> Self {
        Self::Database(error)
    }
}

async fn write(
    connection: &mut PgConnection,
    ownership: &Ownership,
    mut records: Vec<Record>,
) -> Result<(), Failure> {
    let mut page = connection.begin().await?;
    if !ownership.is_restoring() {
        let is_used: bool = sqlx::query_scalar(
            "SELECT EXISTS (SELECT FROM entities) OR EXISTS (SELECT FROM events) OR EXISTS (SELECT FROM results)
                 OR EXISTS (SELECT FROM heads WHERE seq > 0)",
        )
        .fetch_one(&mut *page)
        .await?;
        if is_used {
            return Err(Failure::Restore(RestoreError::NotEmpty));
        }
        sqlx::raw_sql("TRUNCATE epochs, shelves").execute(&mut *page).await?;
    }
    sqlx::raw_sql("SET LOCAL outrider.restoring = 'on'").execute(&mut *page).await?;
    record::in_range(&records).map_err(Failure::Restore)?;
    check(&mut page, &records).await?;
    if records.iter().any(Record::is_with_event) {
        let last: i64 = sqlx::query_scalar("SELECT coalesce(max(position), 0) FROM results")
            .fetch_one(&mut *page)
            .await?;
        record::line_up(&mut records, last.cast_unsigned());
    }
    for record in records {
        write_one(&mut page, record).await?;
    }
    sqlx::raw_sql(
        "SELECT setval('result_positions', greatest((SELECT max(position) FROM results), 1));
         SELECT setval('outbox_positions', greatest((SELECT max(position) FROM outbox), 1))",
    )
    .execute(&mut *page)
    .await?;
    page.commit().await?;
    ownership.begin_restoring();
    Ok(())
}

/// Nothing is skipped: neither a number of a shard's log nor a version.
async fn check(page: &mut PgConnection, records: &[Record]) -> Result<(), Failure> {
    let mut next: BTreeMap<ShardId, u64> = BTreeMap::new();
    let mut versions: HashMap<EntityKey, u64> = HashMap::new();
    for record in records {
        let Record::Event { shard, seq, entity, version, .. } = record else { continue };
        if !next.contains_key(shard) {
            let last: i64 =
                sqlx::query_scalar("SELECT coalesce(max(seq), 0) FROM events WHERE shard = $1")
                    .bind(i32::from(shard.0))
                    .fetch_one(&mut *page)
                    .await?;
            next.insert(*shard, last.cast_unsigned());
        }
        if !versions.contains_key(entity) {
            let last: i64 = sqlx::query_scalar(
                "SELECT coalesce(max(version), 0) FROM events WHERE shard = $1 AND id = $2 AND kind = $3",
            )
            .bind(i32::from(shard.0))
            .bind(entity.id)
            .bind(entity.kind as i16)
            .fetch_one(&mut *page)
            .await?;
            versions.insert(*entity, last.cast_unsigned());
        }
        for (known, said, what) in [
            (next.entry(*shard).or_default(), *seq, shard.to_string()),
            (versions.entry(*entity).or_default(), version.0, entity.to_string()),
        ] {
            *known += 1;
            if *known != said {
                let clash = format!("{what} has {said} where {known} comes next");
                return Err(Failure::Restore(RestoreError::Clash(clash)));
            }
        }
    }
    Ok(())
}

async fn write_one(page: &mut PgConnection, record: Record) -> sqlx::Result<()> {
    let query = match &record {
        Record::Epoch { shard, epoch, first_seq, at, owner } => sqlx::query(
            "INSERT INTO epochs (shard, epoch, first_seq, at, owner, incarnation) VALUES ($1, $2, $3, $4, $5, 0)",
        )
        .bind(i32::from(shard.0))
        .bind(epoch.cast_signed())
        .bind(first_seq.cast_signed())
        .bind(millis(*at))
        .bind(owner),
        Record::Head { shard, epoch, seq } => sqlx::query(
            "UPDATE heads SET epoch = $2, seq = $3, told = $3, owner = NULL, incarnation = NULL WHERE shard = $1",
        )
        .bind(i32::from(shard.0))
        .bind(epoch.cast_signed())
        .bind(seq.cast_signed()),
        Record::Event { shard, seq, epoch, entity, version, at, name, bytes, command } => {
            sqlx::query(
                "INSERT INTO events (shard, seq, epoch, kind, id, version, at, name, bytes, command)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)",
            )
            .bind(i32::from(shard.0))
            .bind(seq.cast_signed())
            .bind(epoch.cast_signed())
            .bind(entity.kind as i16)
            .bind(entity.id)
            .bind(version.0.cast_signed())
            .bind(millis(*at))
            .bind(name)
            .bind(bytes)
            .bind(command.map(|command| command.0))
        }
        Record::Entity { entity, deadline, .. } => sqlx::query(
            "INSERT INTO entities (kind, id, deadline, waits, shard)
             VALUES ($1, $2, $3, $3 IS NOT NULL, $4)",
        )
        .bind(entity.kind as i16)
        .bind(entity.id)
        .bind(deadline.map(millis))
        .bind(i32::from(entity.shard().0)),
        Record::Snapshot { entity, version, bytes } => sqlx::query(
            "INSERT INTO snapshots (kind, id, version, bytes) VALUES ($1, $2, $3, $4)",
        )
        .bind(entity.kind as i16)
        .bind(entity.id)
        .bind(version.0.cast_signed())
        .bind(bytes),
        Record::Result { position, entity, command, at, bytes } => sqlx::query(
            "INSERT INTO results (position, kind, id, command, at, bytes) VALUES ($1, $2, $3, $4, $5, $6)",
        )
        .bind(position.cast_signed())
        .bind(entity.kind as i16)
        .bind(entity.id)
        .bind(command.0)
        .bind(millis(*at))
        .bind(bytes),
        Record::Effect { position, source, version, index, at, bytes } => sqlx::query(
            "INSERT INTO outbox (position, kind, id, version, place, at, bytes, shard)
             VALUES (coalesce($1, (SELECT coalesce(max(position), 0) + 1 FROM outbox)), $2, $3, $4, $5, $6, $7, $8)",
        )
        // One that stood with its event in another database of this kind comes behind the others.
        .bind(told::place(OutboxPosition(*position)).is_none().then_some(position.cast_signed()))
        .bind(source.kind as i16)
        .bind(source.id)
        .bind(version.0.cast_signed())
        .bind(index.cast_signed())
        .bind(millis(*at))
        .bind(bytes)
        .bind(i32::from(source.shard().0)),
        Record::Claim { claim, holder } => {
            sqlx::query("INSERT INTO claims (claim, kind, id) VALUES ($1, $2, $3)")
                .bind(&claim.0)
                .bind(holder.kind as i16)
                .bind(holder.id)
        }
        Record::Posting {
            key,
            line,
            entity,
            version,
            at,
            account,
            currency,
            amount,
            floor,
        } => sqlx::query(
            "WITH p AS (
                 INSERT INTO postings (key, line, kind, id, version, at, account, currency, amount, floor)
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10)
             )
             INSERT INTO balances (account, currency, stripe, amount) VALUES ($7, $8, 1, $9)
             ON CONFLICT (account, currency, stripe) DO UPDATE SET amount = balances.amount + excluded.amount",
        )
        .bind(key)
        .bind(line.cast_signed())
        .bind(entity.kind as i16)
        .bind(entity.id)
        .bind(version.0.cast_signed())
        .bind(millis(*at))
        .bind(account)
        .bind(currency.to_string())
        .bind(amount)
        .bind(floor),
        Record::View { entity, row } => sqlx::query(
            "WITH s AS (INSERT INTO statuses (kind, id, status, at) VALUES ($1, $2, $3, $6))
             INSERT INTO views (kind, id, status, rider, driver, at, body) VALUES ($1, $2, $3, $4, $5, $6, $7)",
        )
        .bind(entity.kind as i16)
        .bind(entity.id)
        .bind(&row.status)
        .bind(row.rider.map(|rider| rider.0))
        .bind(row.driver.map(|driver| driver.0))
        .bind(millis(row.at))
        .bind(row.body.to_string()),
    };
    query.execute(page).await?;
    Ok(())
}

fn counted(version: i64) -> Version {
    Version(version.cast_unsigned())
}

/// Takes over what was restored, before anything else is written.
pub(super) async fn end_restoring(
    readers: &PgPool,
    ownership: &Ownership,
) -> Result<(), JournalError> {
    let mut connection = readers.acquire().await?;
    Ok(ownership.take_all(&mut connection, now()).await?)
}
