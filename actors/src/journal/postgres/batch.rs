//! Commits that share a statement: which may, how they become its columns, and what it says of them.

use super::{millis, ownership::Ownership};
use crate::{
    Claim, Commit, EntityKey, Kind, Version,
    journal::{CommitError, EffectKey},
};
use protocol::{Currency, ShardId};
use sqlx::{PgConnection, Row, postgres::PgRow};
use std::collections::{BTreeSet, HashMap, HashSet};
use tokio::sync::oneshot;
use uuid::Uuid;

/// The one statement that writes commits.
pub(super) const COMMIT: &str = include_str!("commit.sql");

/// A commit, and who waits for it.
#[derive(Debug)]
pub(super) struct Write {
    pub(super) commit: Commit,
    /// The body of the view as text, made by the caller so that the committer need not.
    pub(super) body: Option<String>,
    pub(super) ack: oneshot::Sender<Result<(), CommitError>>,
}

impl Write {
    pub(super) fn new(commit: Commit, ack: oneshot::Sender<Result<(), CommitError>>) -> Self {
        let body = commit.view.as_ref().map(|row| row.body.to_string());
        Self { commit, body, ack }
    }

    /// Who asked may have stopped waiting; what was written stays written.
    pub(super) fn answer(self, outcome: Result<(), CommitError>) {
        self.ack.send(outcome).ok();
    }

    /// About how much it adds to a statement.
    pub(super) fn bytes(&self) -> usize {
        let Commit { events, effects, snapshot, .. } = &self.commit;
        events.iter().map(|event| event.bytes.len()).sum::<usize>()
            + effects.iter().map(Vec::len).sum::<usize>()
            + snapshot.as_ref().map_or(0, Vec::len)
            + self.body.as_ref().map_or(0, String::len)
    }
}

/// What a statement's commits touch that two of them must not both touch, for one statement does
/// not see its own writes.
#[derive(Debug, Default)]
pub(super) struct Touched {
    entities: HashSet<EntityKey>,
    claims: HashSet<Claim>,
    facts: HashSet<String>,
    limited: HashSet<(String, Currency)>,
    accounts: HashSet<(String, Currency)>,
}

impl Touched {
    /// Notes what `commit` touches; says whether any of it was touched before.
    pub(super) fn add(&mut self, commit: &Commit) -> bool {
        let mut clashes = !self.entities.insert(commit.entity);
        let claims: BTreeSet<_> =
            commit.claims_taken.iter().chain(&commit.claims_released).collect();
        for claim in claims {
            clashes |= !self.claims.insert(claim.clone());
        }
        let facts: BTreeSet<_> = commit.postings.iter().map(|posting| &posting.key).collect();
        for fact in facts {
            clashes |= !self.facts.insert(fact.clone());
        }
        let account = |at: usize| {
            let posting = &commit.postings[at];
            (posting.account.clone(), posting.currency)
        };
        let (limited, free): (BTreeSet<usize>, BTreeSet<usize>) =
            (0..commit.postings.len()).partition(|at| commit.postings[*at].floor.is_some());
        let limited: HashSet<_> = limited.into_iter().map(account).collect();
        let free: HashSet<_> = free.into_iter().map(account).collect();
        clashes |= limited.iter().any(|it| self.accounts.contains(it) || self.limited.contains(it));
        clashes |= free.iter().any(|it| self.limited.contains(it));
        self.accounts.extend(free);
        self.limited.extend(limited);
        clashes
    }
}

/// Runs the statement over `writes`, and deletes what was `delivered`. Every write is answered for, in order.
pub(super) async fn execute(
    database: &mut PgConnection,
    ownership: &Ownership,
    writes: &[Write],
    delivered: &[EffectKey],
    stripe: i16,
) -> sqlx::Result<Vec<Result<(), CommitError>>> {
    execute_as(COMMIT, database, &|shard| ownership.epoch(shard), writes, delivered, stripe).await
}

/// The same with any statement that takes the same columns.
pub(super) async fn execute_as(
    statement: &'static str,
    database: &mut PgConnection,
    epoch: &(dyn Fn(ShardId) -> Option<u64> + Sync),
    writes: &[Write],
    delivered: &[EffectKey],
    stripe: i16,
) -> sqlx::Result<Vec<Result<(), CommitError>>> {
    let query = bind(sqlx::query(statement), epoch, writes, delivered, stripe);
    let rows = query.fetch_all(database).await?;
    if rows.len() != writes.len() {
        return Err(sqlx::Error::Protocol("a row per commit was promised".into()));
    }
    rows.iter().zip(writes).map(|(row, write)| outcome(row, &write.commit)).collect()
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

/// The columns of all rows, in the order of the statement's parameters.
fn bind<'q>(
    query: Query<'q>,
    epoch: &dyn Fn(ShardId) -> Option<u64>,
    writes: &'q [Write],
    delivered: &[EffectKey],
    stripe: i16,
) -> Query<'q> {
    let commits = || writes.iter().map(|write| &write.commit);
    let each = |of: fn(&Commit) -> i64| commits().map(of).collect::<Vec<i64>>();
    let query = query
        .bind(commits().map(|it| i32::from(it.entity.shard().0)).collect::<Vec<_>>())
        // No shard ever has epoch -1, so that fences; those that nobody has had yet have 0.
        .bind(
            commits()
                .map(|it| epoch(it.entity.shard()).map_or(-1, u64::cast_signed))
                .collect::<Vec<_>>(),
        )
        .bind(commits().map(|it| it.entity.kind as i16).collect::<Vec<_>>())
        .bind(commits().map(|it| it.entity.id).collect::<Vec<_>>())
        .bind(each(|it| it.expected.0.cast_signed()))
        .bind(commits().map(|it| it.events.len() as i32).collect::<Vec<_>>())
        .bind(each(|it| millis(it.at)))
        .bind(commits().map(|it| it.deadline.is_some()).collect::<Vec<_>>())
        .bind(commits().map(|it| it.deadline.flatten().map(millis)).collect::<Vec<_>>())
        .bind(
            commits()
                .map(|it| it.result.as_ref().map(|result| result.command.0))
                .collect::<Vec<Option<Uuid>>>(),
        )
        .bind(
            commits()
                .map(|it| it.result.as_ref().map(|result| result.bytes.as_slice()))
                .collect::<Vec<_>>(),
        )
        .bind(commits().map(|it| it.snapshot.as_deref()).collect::<Vec<Option<&[u8]>>>());

    let events: Vec<_> = numbered(writes, |commit| &commit.events);
    let effects: Vec<_> = numbered(writes, |commit| &commit.effects);
    let query = query
        .bind(events.iter().map(|(ord, ..)| *ord).collect::<Vec<_>>())
        // Events count from 1, for the first leads to version 1.
        .bind(events.iter().map(|(_, place, _)| place + 1).collect::<Vec<_>>())
        .bind(events.iter().map(|(.., event)| event.name.as_str()).collect::<Vec<_>>())
        .bind(events.iter().map(|(.., event)| event.bytes.as_slice()).collect::<Vec<_>>())
        .bind(effects.iter().map(|(ord, ..)| *ord).collect::<Vec<_>>())
        .bind(effects.iter().map(|(_, place, _)| *place).collect::<Vec<_>>())
        .bind(effects.iter().map(|(.., bytes)| bytes.as_slice()).collect::<Vec<_>>());

    let taken: Vec<_> = numbered(writes, |commit| &commit.claims_taken);
    let released: Vec<_> = numbered(writes, |commit| &commit.claims_released);
    let query = query
        .bind(taken.iter().map(|(ord, ..)| *ord).collect::<Vec<_>>())
        .bind(taken.iter().map(|(.., claim)| claim.0.as_str()).collect::<Vec<_>>())
        .bind(released.iter().map(|(ord, ..)| *ord).collect::<Vec<_>>())
        .bind(released.iter().map(|(.., claim)| claim.0.as_str()).collect::<Vec<_>>());

    let postings: Vec<_> = numbered(writes, |commit| &commit.postings);
    let query = query
        .bind(postings.iter().map(|(ord, ..)| *ord).collect::<Vec<_>>())
        .bind(lines(writes))
        .bind(postings.iter().map(|(.., it)| it.key.as_str()).collect::<Vec<_>>())
        .bind(postings.iter().map(|(.., it)| it.account.as_str()).collect::<Vec<_>>())
        .bind(postings.iter().map(|(.., it)| it.currency.to_string()).collect::<Vec<_>>())
        .bind(postings.iter().map(|(.., it)| it.amount).collect::<Vec<_>>())
        .bind(postings.iter().map(|(.., it)| it.floor).collect::<Vec<_>>());

    let views: Vec<_> = (1_i64..)
        .zip(writes)
        .filter_map(|(ord, it)| Some((ord, it.commit.view.as_ref()?, it.body.as_deref()?)))
        .collect();
    query
        .bind(views.iter().map(|(ord, ..)| *ord).collect::<Vec<_>>())
        .bind(views.iter().map(|(_, row, _)| row.status.as_str()).collect::<Vec<_>>())
        .bind(views.iter().map(|(_, row, _)| row.rider.map(|id| id.0)).collect::<Vec<_>>())
        .bind(views.iter().map(|(_, row, _)| row.driver.map(|id| id.0)).collect::<Vec<_>>())
        .bind(views.iter().map(|(_, row, _)| millis(row.at)).collect::<Vec<_>>())
        .bind(views.iter().map(|(.., body)| *body).collect::<Vec<_>>())
        .bind(delivered.iter().map(|it| it.source.kind as i16).collect::<Vec<_>>())
        .bind(delivered.iter().map(|it| it.source.id).collect::<Vec<_>>())
        .bind(delivered.iter().map(|it| it.version.0.cast_signed()).collect::<Vec<_>>())
        .bind(delivered.iter().map(|it| it.index.cast_signed()).collect::<Vec<_>>())
        .bind(stripe)
}

/// Everything of one sort, with its commit's number from 1 and its own from 0.
fn numbered<'w, T>(writes: &'w [Write], of: fn(&Commit) -> &Vec<T>) -> Vec<(i64, i32, &'w T)> {
    let rows = |(ord, write): (i64, &'w Write)| {
        (0_i32..).zip(of(&write.commit)).map(move |(place, row)| (ord, place, row))
    };
    (1_i64..).zip(writes).flat_map(rows).collect()
}

/// The place of each posting among those of its key.
fn lines(writes: &[Write]) -> Vec<i32> {
    let mut lines = Vec::new();
    for write in writes {
        let mut n_lines: HashMap<&str, i32> = HashMap::new();
        for posting in &write.commit.postings {
            let n = n_lines.entry(&posting.key).or_default();
            lines.push(*n);
            *n += 1;
        }
    }
    lines
}

/// What the statement says of one commit.
fn outcome(row: &PgRow, commit: &Commit) -> sqlx::Result<Result<(), CommitError>> {
    if row.try_get::<Option<bool>, _>("passed")?.is_some() {
        return Ok(Ok(()));
    }
    if row.try_get::<Option<i64>, _>("head")?.is_none() {
        return Ok(Err(CommitError::Fenced { shard: commit.entity.shard() }));
    }
    let actual = Version(row.try_get::<i64, _>("actual")?.cast_unsigned());
    if actual != commit.expected {
        return Ok(Err(CommitError::Stale { actual }));
    }
    if let Some(claim) = row.try_get::<Option<String>, _>("claim")? {
        let holder = entity(row.try_get("holder_kind")?, row.try_get("holder_id")?)?;
        return Ok(Err(CommitError::ClaimTaken { claim: Claim(claim), holder }));
    }
    if let Some(key) = row.try_get::<Option<String>, _>("key")? {
        return Ok(Err(CommitError::Postings(format!("{key} was posted before"))));
    }
    if let Some(account) = row.try_get::<Option<String>, _>("vast")? {
        return Ok(Err(CommitError::Postings(format!("{account} cannot hold that much"))));
    }
    let account = row.try_get("account")?;
    Ok(Err(CommitError::BelowFloor { account, balance: row.try_get("balance")? }))
}

pub(super) fn entity(kind: i16, id: Uuid) -> sqlx::Result<EntityKey> {
    let kind = u8::try_from(kind).ok().and_then(Kind::from_repr);
    let kind = kind.ok_or_else(|| sqlx::Error::Decode("no such kind of entity".into()))?;
    Ok(EntityKey { kind, id })
}
