//! What is asked of the database. Each is one statement, hence one consistent view of it.

use super::{arbiter::Line, batch::entity as key, committer::Shared, millis, told};
use crate::{
    Claim, EntityKey, Version, ViewRow,
    commit::{CommandResult, EncodedEvent},
    journal::{
        EffectKey, FeedCursor, FeedEvent, JournalError, List, OutboxPosition, OutboxRow,
        RECENT_RESULTS, Recorded, Sort, Stored, ViewQuery, feed,
    },
};
use futures_util::future::FutureExt;
use protocol::{CommandId, Currency, DriverId, RiderId, ShardId, ShardSet, Timestamp};
use sqlx::{AssertSqlSafe, PgExecutor, PgPool, Postgres, QueryBuilder};
use std::collections::{BTreeSet, HashMap, HashSet};
use uuid::Uuid;

type Answer<T> = Result<T, JournalError>;

/// The answers of an entity in both places where they are kept, in the order of `version, place, position`: one
/// that stands with the event that led to a version comes before those that were given at that version. Of the
/// events, only those are walked that are young enough, from the newest on and back again: until a day before
/// what is forgotten, for the clocks of nodes that wrote one after the other may differ.
macro_rules! answers {
    ($shard:literal, $id:literal, $kind:literal) => {
        concat!(
            "SELECT command, coalesce(version, -1) AS version, 1 AS place, position, bytes
             FROM results WHERE id = ",
            $id,
            " AND kind = ",
            $kind,
            "
             UNION ALL
             SELECT e.command, e.version, 0, 0, e.answer FROM events e
             WHERE e.answer IS NOT NULL
                 AND e.at >= (SELECT value FROM cluster_facts WHERE name = 'answers_since') AND e.shard = ",
            $shard,
            " AND e.id = ",
            $id,
            " AND e.kind = ",
            $kind,
            " AND e.version > coalesce((
                 SELECT o.version FROM events o
                 WHERE o.at < (SELECT value - 86400000 FROM cluster_facts WHERE name = 'answers_since')
                     AND o.shard = ",
            $shard,
            " AND o.id = ",
            $id,
            " AND o.kind = ",
            $kind,
            " ORDER BY o.version DESC LIMIT 1
             ), 0)"
        )
    };
}

/// All parts of [`Stored`] of each entity, told apart by the first two columns.
const LOAD: &str = concat!(
    "
    SELECT w.n, p.* FROM unnest($1::uuid[], $2::int2[], $3::int4[]) WITH ORDINALITY AS w (id, kind, shard, n),
    LATERAL (
        WITH answered AS (
            -- Of two answers to one command the first counts.
            SELECT f.command, f.bytes, row_number() OVER (ORDER BY f.version DESC, f.place DESC, f.position DESC) AS age
            FROM (
                SELECT DISTINCT ON (command) * FROM (",
    answers!("w.shard", "w.id", "w.kind"),
    ") a ORDER BY command, version, place, position
            ) f
        )
        SELECT 1::int4 AS part, version AS number, ''::text, bytes, NULL::uuid
        FROM snapshots WHERE id = w.id AND kind = w.kind
        UNION ALL
        SELECT 2, version, name, bytes, NULL FROM events WHERE shard = w.shard AND id = w.id AND kind = w.kind
            AND version > coalesce((SELECT version FROM snapshots WHERE id = w.id AND kind = w.kind), 0)
        UNION ALL
        SELECT 3, -age, '', bytes, command FROM answered WHERE age <= $4
        UNION ALL
        SELECT * FROM (
            SELECT 4, 0::int8, '', ''::bytea, command FROM answered WHERE age > $4
            ORDER BY command DESC LIMIT 1
        ) m
    ) p
    ORDER BY w.n, p.part, p.number"
);

/// The answer to one command: the first, if it was answered twice.
const RESULT: &str = concat!(
    "SELECT bytes FROM (",
    answers!("$1", "$2", "$3"),
    ") a WHERE command = $4 ORDER BY version, place, position LIMIT 1"
);

/// What there is of each, in the same order.
pub(super) async fn load(readers: &PgPool, entities: &[EntityKey]) -> Answer<Vec<Stored>> {
    type Row = (i64, i32, i64, String, Vec<u8>, Option<Uuid>);
    let rows: Vec<Row> = sqlx::query_as(LOAD)
        .bind(entities.iter().map(|it| it.id).collect::<Vec<_>>())
        .bind(entities.iter().map(|it| it.kind as i16).collect::<Vec<_>>())
        .bind(entities.iter().map(|it| i32::from(it.shard().0)).collect::<Vec<_>>())
        .bind(RECENT_RESULTS as i64)
        .fetch_all(readers)
        .await?;
    let mut found: Vec<_> = entities.iter().map(|_| Stored::default()).collect();
    for (nth, part, number, name, bytes, id) in rows {
        let nth = usize::try_from(nth - 1).ok();
        let Some(stored) = nth.and_then(|nth| found.get_mut(nth)) else {
            return Err(JournalError::Unavailable("an answer to nothing that was asked".into()));
        };
        let command = id.map(CommandId);
        match part {
            1 => stored.snapshot = Some((Version(number.cast_unsigned()), bytes)),
            2 => stored.tail.push(EncodedEvent { name, bytes }),
            3 => stored.results.extend(command.map(|command| CommandResult { command, bytes })),
            _ => stored.older_results_max = command,
        }
    }
    Ok(found)
}

pub(super) async fn result(
    readers: &PgPool,
    entity: EntityKey,
    command: CommandId,
) -> Answer<Option<Vec<u8>>> {
    Ok(sqlx::query_scalar(RESULT)
        .bind(i32::from(entity.shard().0))
        .bind(entity.id)
        .bind(entity.kind as i16)
        .bind(command.0)
        .fetch_optional(readers)
        .await?)
}

/// How many rows one statement reads at most of what is undelivered.
pub(super) const N_UNDELIVERED_MAX: usize = 1_000;

/// Of the shards `$1` from `$2` on, the effects of at most `$4` events, in `$2` from event `$3` on. In the order in which heads
/// are found: so it stops where there are enough, and neither reads nor sorts the rest.
pub(super) const WITH_EVENTS: &str = "
    SELECT e.* FROM heads h CROSS JOIN LATERAL (
        SELECT shard, seq, kind, id, version, at, effects FROM events e
        WHERE e.shard = h.shard AND e.effects IS NOT NULL
            AND e.seq > greatest(h.told, CASE WHEN h.shard = $2 THEN $3 - 1 ELSE 0 END)
        ORDER BY e.seq LIMIT $4
    ) e
    WHERE h.shard = ANY ($1) AND h.shard >= $2
    ORDER BY h.shard, e.seq LIMIT $4";

/// What is undelivered of some shards, read statement by statement.
///
/// An effect stands with its event until it is told, or until one statement puts it in the outbox and the mark past its
/// event (`tell.sql`); it never comes back from there. So the outbox is read after the events, at once: what was moved
/// before its event was looked at is there by then, and whoever finds one there finds all that the same source has put there
/// earlier. What was seen in both places counts where it is now.
///
/// Who looks at one snapshot finds the same whichever comes first. There the outbox does: as long as it fills pages, the
/// events need not be read.
#[derive(Debug)]
pub(super) struct Pass {
    shards: ShardSet,
    after: Option<OutboxPosition>,
    limit: usize,
    n_per_page: usize,
    is_snapshot: bool,
    step: Step,
    with_events: Vec<OutboxRow>,
    in_outbox: Vec<OutboxRow>,
}

/// What a pass reads next.
#[derive(Debug, Clone, Copy)]
enum Step {
    /// What stands with events, from this one of this shard on.
    Events(Option<(ShardId, u64)>),
    /// What waits in the outbox, at most so many rows.
    Outbox(usize),
    Over,
}

impl Pass {
    /// Of effects after a position, at most `limit`, of at most `n_per_page` events for each statement.
    pub(super) fn new(
        shards: ShardSet,
        after: Option<OutboxPosition>,
        limit: usize,
        n_per_page: usize,
    ) -> Self {
        Self {
            shards,
            after,
            limit,
            n_per_page: n_per_page.min(limit),
            is_snapshot: false,
            step: Step::Events(after.and_then(told::place)),
            with_events: Vec::new(),
            in_outbox: Vec::new(),
        }
    }

    /// The same, where all statements see one snapshot.
    pub(super) fn of_snapshot(self) -> Self {
        let step = if self.is_behind_outbox() { self.step } else { Step::Outbox(self.limit) };
        Self { is_snapshot: true, step, ..self }
    }

    /// Is there nothing left to read?
    pub(super) fn is_over(&self) -> bool {
        matches!(self.step, Step::Over)
    }

    /// Has whoever asks come as far as events? They were told of the outbox before.
    fn is_behind_outbox(&self) -> bool {
        self.after.and_then(told::place).is_some()
    }

    fn is_enough(&self) -> bool {
        self.in_outbox.len() + self.with_events.len() >= self.limit
    }

    /// Runs the next statement.
    pub(super) async fn go_on(&mut self, readers: &PgPool, shared: &Shared) -> Answer<()> {
        let after = self.after;
        self.step = match self.step {
            Step::Events(from) => {
                let (rows, last) = with_events(readers, self.shards, from, self.n_per_page).await?;
                let is_new = |row: &OutboxRow| {
                    let seq = told::place(row.position).map(|(_, seq)| seq);
                    after.is_none_or(|after| row.position > after) && !shared.is_told(row.key, seq)
                };
                self.with_events.extend(rows.into_iter().filter(is_new));
                match last.filter(|_| !self.is_enough()) {
                    Some((shard, seq)) => Step::Events(Some((shard, seq + 1))),
                    None if self.is_snapshot || self.is_behind_outbox() => Step::Over,
                    None => Step::Outbox(self.limit),
                }
            }
            Step::Outbox(n) => {
                let rows = in_outbox(readers, self.shards, after, n).await?;
                let is_all = rows.len() < n;
                let is_new = |row: &OutboxRow| !shared.is_told(row.key, None);
                self.in_outbox = rows.into_iter().filter(is_new).collect();
                let is_short = self.in_outbox.len() < self.limit;
                if is_short && !is_all {
                    // What was told has taken the place of what was not. Again from the start, for one statement has to see all.
                    Step::Outbox(n.saturating_mul(2))
                } else if is_short && self.is_snapshot {
                    Step::Events(None)
                } else {
                    Step::Over
                }
            }
            Step::Over => Step::Over,
        };
        Ok(())
    }

    /// First what waits in the outbox, then what still stands with its event, shard by shard: so what a source has
    /// committed earlier comes earlier.
    pub(super) fn rows(self) -> Vec<OutboxRow> {
        let mut rows = self.in_outbox;
        let there: HashSet<_> = rows.iter().map(|row| row.key).collect();
        rows.extend(self.with_events.into_iter().filter(|row| !there.contains(&row.key)));
        rows.truncate(self.limit);
        rows
    }
}

async fn in_outbox(
    readers: &PgPool,
    shards: ShardSet,
    after: Option<OutboxPosition>,
    limit: usize,
) -> Answer<Vec<OutboxRow>> {
    type Row = (i64, i16, Uuid, i64, i32, i64, Vec<u8>);
    let rows: Vec<Row> = sqlx::query_as(
        "SELECT position, kind, id, version, place, at, bytes FROM outbox
         WHERE shard = ANY ($1) AND position > $2 ORDER BY position LIMIT $3",
    )
    .bind(numbers(shards))
    .bind(after.map_or(0, |position| position.0.cast_signed()))
    .bind(count(limit))
    .fetch_all(readers)
    .await?;
    rows.into_iter()
        .map(|(position, kind, id, version, place, at, bytes)| {
            let version = Version(version.cast_unsigned());
            Ok(OutboxRow {
                position: OutboxPosition(position.cast_unsigned()),
                key: EffectKey { source: key(kind, id)?, version, index: place.cast_unsigned() },
                at: moment(at),
                bytes,
            })
        })
        .collect()
}

/// The effects of at most `limit` events from the given one on, and the last of those events if there
/// may be more.
async fn with_events(
    readers: &PgPool,
    shards: ShardSet,
    from: Option<(ShardId, u64)>,
    limit: usize,
) -> Answer<(Vec<OutboxRow>, Option<(ShardId, u64)>)> {
    type Row = (i32, i64, i16, Uuid, i64, i64, Vec<u8>);
    let (shard, seq) = from.map_or((0, 0), |(shard, seq)| (i32::from(shard.0), seq.cast_signed()));
    let rows: Vec<Row> = sqlx::query_as(WITH_EVENTS)
        .bind(numbers(shards))
        .bind(shard)
        .bind(seq)
        .bind(count(limit))
        .fetch_all(readers)
        .await?;
    let last = rows.last().filter(|_| rows.len() >= limit);
    let last = last.map(|row| (ShardId(row.0 as u16), row.1.cast_unsigned()));
    let mut effects = Vec::new();
    for (shard, seq, kind, id, version, at, bytes) in rows {
        let (source, version) = (key(kind, id)?, Version(version.cast_unsigned()));
        let (shard, seq) = (ShardId(shard as u16), seq.cast_unsigned());
        for (index, bytes) in (0..).zip(told::decode(source, &bytes)?) {
            effects.push(OutboxRow {
                position: told::position(shard, seq, index),
                key: EffectKey { source, version, index },
                at: moment(at),
                bytes,
            });
        }
    }
    Ok((effects, last))
}

/// Sorts all that wait in these shards: whoever asks wants all of them, and seldom.
pub(super) async fn deadlines(
    readers: &PgPool,
    shards: ShardSet,
    until: Timestamp,
    after: Option<(Timestamp, EntityKey)>,
    limit: usize,
) -> Answer<Vec<(Timestamp, EntityKey)>> {
    // Before every row: no time is negative.
    let (at, kind, id) =
        after.map_or((-1, 0, Uuid::nil()), |(at, it)| (millis(at), it.kind as i16, it.id));
    let rows: Vec<(i64, i16, Uuid)> = sqlx::query_as(
        "SELECT deadline, kind, id FROM entities
         WHERE waits AND shard = ANY ($1) AND deadline < $2 AND (deadline, kind, id) > ($3, $4, $5)
         ORDER BY deadline, kind, id LIMIT $6",
    )
    .bind(numbers(shards))
    .bind(millis(until))
    .bind(at)
    .bind(kind)
    .bind(id)
    .bind(count(limit))
    .fetch_all(readers)
    .await?;
    rows.into_iter().map(|(at, kind, id)| Ok((moment(at), key(kind, id)?))).collect()
}

pub(super) async fn holder(readers: &PgPool, claim: Claim) -> Answer<Option<EntityKey>> {
    let holder: Option<(i16, Uuid)> =
        sqlx::query_as("SELECT kind, id FROM claims WHERE claim = $1")
            .bind(claim.0)
            .fetch_optional(readers)
            .await?;
    Ok(holder.map(|(kind, id)| key(kind, id)).transpose()?)
}

pub(super) async fn history(
    readers: &PgPool,
    entity: EntityKey,
    after: Version,
    limit: usize,
) -> Answer<Vec<Recorded>> {
    let rows: Vec<(i64, i64, String, Vec<u8>)> = sqlx::query_as(
        "SELECT version, at, name, bytes FROM events
         WHERE shard = $1 AND id = $2 AND kind = $3 AND version > $4 ORDER BY version LIMIT $5",
    )
    .bind(i32::from(entity.shard().0))
    .bind(entity.id)
    .bind(entity.kind as i16)
    .bind(i64::try_from(after.0).unwrap_or(i64::MAX))
    .bind(count(limit))
    .fetch_all(readers)
    .await?;
    let recorded = |(version, at, name, bytes): (i64, i64, String, Vec<u8>)| Recorded {
        version: Version(version.cast_unsigned()),
        at: moment(at),
        event: EncodedEvent { name, bytes },
    };
    Ok(rows.into_iter().map(recorded).collect())
}

/// A row of [`lists_query`].
type ListRow = (i32, Uuid, String, Option<Uuid>, Option<Uuid>, i64, String);

pub(super) async fn lists(readers: &PgPool, queries: &[ViewQuery]) -> Answer<Vec<List>> {
    listed(queries, lists_query(queries).build_query_as().fetch_all(readers).await?)
}

/// The same on a connection of its own, and once more on another if that was lost; none, if somebody else uses it.
pub(super) async fn lists_on(line: &Line, queries: &[ViewQuery]) -> Option<Answer<Vec<List>>> {
    let rows = line.ask_if_free(|connection| {
        let mut sql = lists_query(queries);
        async move { sql.build_query_as().fetch_all(connection).await }.boxed()
    });
    Some(rows.await?.map_err(JournalError::from).and_then(|rows| listed(queries, rows)))
}

fn listed(queries: &[ViewQuery], rows: Vec<ListRow>) -> Answer<Vec<List>> {
    let mut lists: Vec<List> = queries.iter().map(|_| List::new()).collect();
    for (nth, id, status, rider, driver, at, body) in rows {
        let nth = usize::try_from(nth).unwrap_or(usize::MAX);
        let (Some(query), Some(list)) = (queries.get(nth), lists.get_mut(nth)) else {
            return Err(JournalError::Unavailable("an answer to nothing that was asked".into()));
        };
        let entity = EntityKey { kind: query.kind, id };
        let body = serde_json::from_str(&body).map_err(|error| JournalError::Unreadable {
            entity,
            problem: format!("view: {error}"),
        })?;
        let (rider, driver) = (rider.map(RiderId), driver.map(DriverId));
        list.push((entity, ViewRow { status, rider, driver, at: moment(at), body }));
    }
    // Each is in order already, most likely: only of what was sorted last is that promised.
    for (query, list) in queries.iter().zip(&mut lists) {
        list.sort_by(|(one, a), (other, b)| {
            let oldest_first = (a.at, one.id).cmp(&(b.at, other.id));
            match query.sort {
                Sort::Newest => oldest_first.reverse(),
                Sort::Oldest => oldest_first,
            }
        });
    }
    Ok(lists)
}

/// All lists in one statement, each row with the number of its list.
fn lists_query(queries: &[ViewQuery]) -> QueryBuilder<Postgres> {
    let mut sql = QueryBuilder::new("");
    for (query, nth) in queries.iter().zip(0_i32..) {
        sql.push(if nth == 0 { "SELECT " } else { " UNION ALL SELECT " });
        sql.push(nth).push(" AS list, l.* FROM (");
        push_list(&mut sql, query);
        sql.push(") l");
    }
    sql
}

/// One arm per status: each walks its own part of an index from the newest row and stops, and what
/// little is left is sorted. With `status IN (…)` every row that ever had one of them would be.
/// Whoever asks for a person's rows has few to choose from: their index leads.
fn push_list(sql: &mut QueryBuilder<Postgres>, query: &ViewQuery) {
    let statuses: BTreeSet<_> = query.statuses.iter().map(Some).collect();
    let arms = if statuses.is_empty() { BTreeSet::from([None]) } else { statuses };
    let (way, beyond) = match query.sort {
        Sort::Newest => (" DESC", " AND (s.at, s.id) < ("),
        Sort::Oldest => (" ASC", " AND (s.at, s.id) > ("),
    };
    sql.push("SELECT * FROM (");
    for (status, n) in arms.into_iter().zip(0..) {
        sql.push(if n == 0 { "(" } else { " UNION ALL (" });
        let is_listed = status.is_some() && query.rider.is_none() && query.driver.is_none();
        sql.push(if is_listed {
            "SELECT s.id, s.status, v.rider, v.driver, s.at, v.body
             FROM statuses s JOIN views v ON v.kind = s.kind AND v.id = s.id WHERE s.kind = "
        } else {
            "SELECT s.id, s.status, s.rider, s.driver, s.at, s.body FROM views s WHERE s.kind = "
        });
        sql.push_bind(query.kind as i16);
        if let Some(status) = status {
            sql.push(" AND s.status = ").push_bind(status.clone());
        }
        if let Some(rider) = query.rider {
            sql.push(" AND s.rider = ").push_bind(rider.0);
        }
        if let Some(driver) = query.driver {
            sql.push(" AND s.driver = ").push_bind(driver.0);
        }
        if let Some(since) = query.since {
            sql.push(" AND s.at >= ").push_bind(millis(since));
        }
        if let Some(until) = query.until {
            sql.push(" AND s.at < ").push_bind(millis(until));
        }
        if let Some((at, id)) = query.after {
            sql.push(beyond).push_bind(millis(at)).push(", ").push_bind(id).push(")");
        }
        sql.push(" ORDER BY s.at").push(way).push(", s.id").push(way);
        sql.push(" LIMIT ").push_bind(count(query.limit)).push(")");
    }
    sql.push(") v ORDER BY at").push(way).push(", id").push(way);
    sql.push(" LIMIT ").push_bind(count(query.limit));
}

pub(super) async fn balance(readers: &PgPool, account: String, currency: Currency) -> Answer<i64> {
    let sql =
        "SELECT coalesce(sum(amount), 0)::int8 FROM balances WHERE account = $1 AND currency = $2";
    Ok(sqlx::query_scalar(sql).bind(account).bind(currency.to_string()).fetch_one(readers).await?)
}

/// The columns of [`FeedEvent`], of events named `e`.
pub(super) const EVENT: &str =
    "e.shard, e.seq, e.epoch, e.kind, e.id, e.command, e.version, e.at, e.name, e.bytes";

/// A row of [`EVENT`].
pub(super) type EventRow = (i32, i64, i64, i16, Uuid, Option<Uuid>, i64, i64, String, Vec<u8>);

pub(super) fn feed_event(row: EventRow) -> sqlx::Result<FeedEvent> {
    let (shard, seq, epoch, kind, id, command, version, at, name, bytes) = row;
    Ok(FeedEvent {
        shard: ShardId(shard as u16),
        seq: seq.cast_unsigned(),
        epoch: epoch.cast_unsigned(),
        entity: key(kind, id)?,
        command: command.map(CommandId),
        recorded: Recorded {
            version: Version(version.cast_unsigned()),
            at: moment(at),
            event: EncodedEvent { name, bytes },
        },
    })
}

/// How far the logs of shards `$1` go: each to its last event, for the row of its head may be behind (`commit.sql`). One
/// look into an index for each shard.
pub(super) const ENDS: &str = "
    SELECT h.shard, greatest(h.seq, (
        SELECT e.seq FROM events e WHERE e.shard = h.shard ORDER BY e.seq DESC LIMIT 1
    )) FROM heads h WHERE h.shard = ANY ($1)";

/// Reads the ends of logs for nothing but that they are in memory after it: whoever takes shards reads them while it holds
/// locks (`schema_8.sql`), and of a log that has been left alone for long they are on disk.
pub(super) async fn warm(database: impl PgExecutor<'_>, shards: &[i32]) -> sqlx::Result<()> {
    sqlx::query(ENDS).bind(shards).execute(database).await.map(drop)
}

/// Up to the last event that anybody has seen, a shard's log is complete and will not change: who adds to it does so
/// in statements that come one after the other, and each becomes visible as a whole.
pub(super) async fn feed(
    readers: &PgPool,
    shared: &Shared,
    after: FeedCursor,
    limit: usize,
) -> Answer<Vec<FeedEvent>> {
    let (first, last) = after.shards().into_inner();
    shared.horizon.refresh(readers, first..=last).await?;
    let heads: Vec<(i32, i64)> =
        sqlx::query_as("SELECT shard, seq FROM heads WHERE shard BETWEEN $1 AND $2")
            .bind(i32::from(first))
            .bind(i32::from(last))
            .fetch_all(readers)
            .await?;
    let end = |(shard, seq): (i32, i64)| {
        let (shard, seq) = (ShardId(shard as u16), seq.cast_unsigned());
        (shard, seq.max(shared.horizon.seq(shard)).max(shared.told.seen(shard)))
    };
    let heads: HashMap<_, _> = heads.into_iter().map(end).filter(|(_, seq)| *seq > 0).collect();
    let waiting =
        after.turns().filter_map(|(shard, seen)| Some((shard, seen, *heads.get(&shard)?)));
    let ranges = feed::share(waiting, limit);
    if ranges.is_empty() {
        return Ok(Vec::new());
    }
    let sql = format!(
        "SELECT {EVENT} FROM unnest($1::int4[], $2::int8[], $3::int8[]) WITH ORDINALITY AS r (shard, lo, hi, turn)
         CROSS JOIN LATERAL (SELECT * FROM events e WHERE e.shard = r.shard AND e.seq BETWEEN r.lo AND r.hi) e
         ORDER BY r.turn, e.seq"
    );
    let rows: Vec<EventRow> = sqlx::query_as(AssertSqlSafe(sql))
        .bind(ranges.iter().map(|(shard, ..)| i32::from(shard.0)).collect::<Vec<_>>())
        .bind(ranges.iter().map(|(_, first, _)| first.cast_signed()).collect::<Vec<_>>())
        .bind(ranges.iter().map(|(.., last)| last.cast_signed()).collect::<Vec<_>>())
        .fetch_all(readers)
        .await?;
    Ok(rows.into_iter().map(feed_event).collect::<sqlx::Result<_>>()?)
}

fn numbers(shards: ShardSet) -> Vec<i32> {
    shards.iter().map(|shard| i32::from(shard.0)).collect()
}

/// A limit as Postgres counts.
pub(super) fn count(limit: usize) -> i64 {
    i64::try_from(limit).unwrap_or(i64::MAX)
}

pub(super) fn moment(at: i64) -> Timestamp {
    Timestamp(at.cast_unsigned())
}
