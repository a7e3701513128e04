//! Commits that share a statement: which may, how they become its columns, and what it says of them.

use super::{millis, told};
use crate::{Claim, Commit, EntityKey, Kind, Version, journal::CommitError};
use protocol::{Currency, ShardId};
use sqlx::{PgConnection, Row, postgres::PgRow};
use std::{
    collections::{BTreeMap, BTreeSet, HashMap, HashSet},
    sync::LazyLock,
};
use tokio::sync::oneshot;
use uuid::Uuid;

/// The one statement that writes commits, with all it can do.
const COMMIT: &str = include_str!("commit.sql");

/// What a batch needs of the statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Needs {
    /// Nobody is expected to be refused.
    pub(super) swift: bool,
    /// Keys are taken or given back.
    pub(super) claims: bool,
    /// Money moves.
    pub(super) postings: bool,
}

impl Needs {
    fn of(writes: &[Write], swift: bool) -> Self {
        let is_claim = |it: &Commit| !it.claims_taken.is_empty() || !it.claims_released.is_empty();
        let claims = writes.iter().any(|write| is_claim(&write.commit));
        let postings = writes.iter().any(|write| !write.commit.postings.is_empty());
        // Who moves money is refused often enough to look first.
        Self { swift: swift && !postings, claims, postings }
    }

    /// The statement without what is not needed.
    pub(super) fn statement(self) -> &'static str {
        static ALL: LazyLock<[String; 8]> = LazyLock::new(|| {
            std::array::from_fn(|n| {
                let [swift, claims, postings] = [1, 2, 4].map(|bit| n & bit != 0);
                Needs { swift, claims, postings }.cut(COMMIT)
            })
        });
        let bits = [(self.swift, 1), (self.claims, 2), (self.postings, 4)];
        &ALL[bits
            .into_iter()
            .filter(|(is_needed, _)| *is_needed)
            .map(|(_, bit)| bit)
            .sum::<usize>()]
    }

    /// The lines of `source` that are needed: see there.
    fn cut(self, source: &str) -> String {
        let (mut kept, mut asked) = (String::new(), Vec::new());
        for line in source.lines() {
            match line.strip_prefix("--") {
                Some("if swift") => asked.push(self.swift),
                Some("if claims") => asked.push(self.claims),
                Some("if postings") => asked.push(self.postings),
                Some("else") => asked.last_mut().into_iter().for_each(|it| *it = !*it),
                Some("end") => asked.truncate(asked.len().saturating_sub(1)),
                Some(_) | None if asked.iter().all(|is_needed| *is_needed) => {
                    kept.push_str(line);
                    kept.push('\n');
                }
                Some(_) | None => {}
            }
        }
        kept
    }
}

/// What a shard is written under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms {
    /// [`Terms::NOBODYS`] if it is not ours.
    pub(super) epoch: u64,
    /// All its effects up to this event have been told.
    pub(super) told: u64,
}

impl Terms {
    /// No shard ever has this epoch (-1 to the database), so it fences; one that nobody has had yet has 0.
    pub(super) const NOBODYS: u64 = u64::MAX;
}

/// What became of a commit: the number of its last event in its shard's log, or why there is none.
pub(super) type Outcome = Result<u64, CommitError>;

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

/// Runs the statement over `writes`, under the terms of each shard. Every write is answered for, in
/// order; if `swift`, all of them are written or the statement fails.
pub(super) async fn execute(
    database: &mut PgConnection,
    terms: &(dyn Fn(ShardId) -> Terms + Sync),
    writes: &[Write],
    stripe: i16,
    swift: bool,
) -> sqlx::Result<Vec<Outcome>> {
    let needs = Needs::of(writes, swift);
    execute_as(needs.statement(), needs, database, terms, writes, stripe).await
}

/// The same with any statement that takes the same columns.
pub(super) async fn execute_as(
    statement: &'static str,
    needs: Needs,
    database: &mut PgConnection,
    terms: &(dyn Fn(ShardId) -> Terms + Sync),
    writes: &[Write],
    stripe: i16,
) -> sqlx::Result<Vec<Outcome>> {
    let rows = bind(sqlx::query(statement), terms, writes, stripe).fetch_all(database).await?;
    if rows.len() != writes.len() {
        return Err(sqlx::Error::Protocol("a row per commit was promised".into()));
    }
    if needs.swift {
        return rows.iter().map(|row| Ok(Ok(row.try_get::<i64, _>(0)?.cast_unsigned()))).collect();
    }
    rows.iter().zip(writes).map(|(row, write)| outcome(row, needs, &write.commit)).collect()
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

/// The columns of all rows, in the order of the statement's parameters.
fn bind<'q>(
    query: Query<'q>,
    terms: &dyn Fn(ShardId) -> Terms,
    writes: &'q [Write],
    stripe: i16,
) -> Query<'q> {
    let commits = || writes.iter().map(|write| &write.commit);
    // How many events each shard gets, and how many of them come before each commit's own.
    let mut totals: BTreeMap<ShardId, i32> = BTreeMap::new();
    let n_before: Vec<i32> = commits()
        .map(|commit| {
            let total = totals.entry(commit.entity.shard()).or_default();
            let n_before = *total;
            *total += commit.events.len() as i32;
            n_before
        })
        .collect();
    let terms: Vec<Terms> = totals.keys().map(|shard| terms(*shard)).collect();
    let query = query
        .bind(totals.keys().map(|shard| i32::from(shard.0)).collect::<Vec<_>>())
        .bind(terms.iter().map(|it| it.epoch.cast_signed()).collect::<Vec<_>>())
        .bind(terms.iter().map(|it| it.told.cast_signed()).collect::<Vec<_>>())
        .bind(totals.into_values().collect::<Vec<_>>());

    let each = |of: fn(&Commit) -> i64| commits().map(of).collect::<Vec<i64>>();
    let query = query
        .bind(commits().map(|it| i32::from(it.entity.shard().0)).collect::<Vec<_>>())
        .bind(commits().map(|it| it.entity.kind as i16).collect::<Vec<_>>())
        .bind(commits().map(|it| it.entity.id).collect::<Vec<_>>())
        .bind(each(|it| it.expected.0.cast_signed()))
        .bind(commits().map(|it| it.events.len() as i32).collect::<Vec<_>>())
        .bind(n_before)
        .bind(each(|it| millis(it.at)))
        .bind(commits().map(|it| it.deadline.is_some()).collect::<Vec<_>>())
        .bind(commits().map(|it| it.deadline.flatten().map(millis)).collect::<Vec<_>>());

    let events: Vec<_> = numbered(writes, |commit| &commit.events);
    let commit_of = |ord: &i64| &writes[*ord as usize - 1].commit;
    let command = |(ord, ..): &(i64, i32, _)| commit_of(ord).result.as_ref().map(|it| it.command.0);
    let effects = |(ord, place, _): &(i64, i32, _)| {
        let Commit { events, effects, .. } = commit_of(ord);
        if *place + 1 == events.len() as i32 { told::encode(effects) } else { None }
    };
    let query = query
        .bind(events.iter().map(|(ord, ..)| *ord).collect::<Vec<_>>())
        // Events count from 1, for the first leads to version 1.
        .bind(events.iter().map(|(_, place, _)| place + 1).collect::<Vec<_>>())
        .bind(events.iter().map(|(.., event)| event.name.as_str()).collect::<Vec<_>>())
        .bind(events.iter().map(|(.., event)| event.bytes.as_slice()).collect::<Vec<_>>())
        .bind(events.iter().map(command).collect::<Vec<Option<Uuid>>>())
        .bind(events.iter().map(effects).collect::<Vec<Option<Vec<u8>>>>());

    let results: Vec<_> = some(writes, |it| it.commit.result.as_ref());
    let snapshots: Vec<_> = some(writes, |it| it.commit.snapshot.as_deref());
    let query = query
        .bind(results.iter().map(|(ord, _)| *ord).collect::<Vec<_>>())
        .bind(results.iter().map(|(_, result)| result.command.0).collect::<Vec<_>>())
        .bind(results.iter().map(|(_, result)| result.bytes.as_slice()).collect::<Vec<_>>())
        .bind(snapshots.iter().map(|(ord, _)| *ord).collect::<Vec<_>>())
        .bind(snapshots.iter().map(|(_, bytes)| *bytes).collect::<Vec<_>>());

    let views: Vec<_> = some(writes, |it| Some((it.commit.view.as_ref()?, it.body.as_deref()?)));
    let query = query
        .bind(views.iter().map(|(ord, _)| *ord).collect::<Vec<_>>())
        .bind(views.iter().map(|(_, (row, _))| row.status.as_str()).collect::<Vec<_>>())
        .bind(views.iter().map(|(_, (row, _))| row.rider.map(|id| id.0)).collect::<Vec<_>>())
        .bind(views.iter().map(|(_, (row, _))| row.driver.map(|id| id.0)).collect::<Vec<_>>())
        .bind(views.iter().map(|(_, (row, _))| millis(row.at)).collect::<Vec<_>>())
        .bind(views.iter().map(|(_, (_, body))| *body).collect::<Vec<_>>());

    let taken: Vec<_> = numbered(writes, |commit| &commit.claims_taken);
    let released: Vec<_> = numbered(writes, |commit| &commit.claims_released);
    let query = query
        .bind(taken.iter().map(|(ord, ..)| *ord).collect::<Vec<_>>())
        .bind(taken.iter().map(|(.., claim)| claim.0.as_str()).collect::<Vec<_>>())
        .bind(released.iter().map(|(ord, ..)| *ord).collect::<Vec<_>>())
        .bind(released.iter().map(|(.., claim)| claim.0.as_str()).collect::<Vec<_>>());

    let postings: Vec<_> = numbered(writes, |commit| &commit.postings);
    query
        .bind(postings.iter().map(|(ord, ..)| *ord).collect::<Vec<_>>())
        .bind(lines(writes))
        .bind(postings.iter().map(|(.., it)| it.key.as_str()).collect::<Vec<_>>())
        .bind(postings.iter().map(|(.., it)| it.account.as_str()).collect::<Vec<_>>())
        .bind(postings.iter().map(|(.., it)| it.currency.to_string()).collect::<Vec<_>>())
        .bind(postings.iter().map(|(.., it)| it.amount).collect::<Vec<_>>())
        .bind(postings.iter().map(|(.., it)| it.floor).collect::<Vec<_>>())
        .bind(stripe)
}

/// What some of the writes have, with their numbers from 1.
fn some<'w, T>(writes: &'w [Write], of: impl Fn(&'w Write) -> Option<T>) -> Vec<(i64, T)> {
    (1_i64..).zip(writes).filter_map(|(ord, write)| Some((ord, of(write)?))).collect()
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

/// What a statement that is not swift says of one commit.
fn outcome(row: &PgRow, needs: Needs, commit: &Commit) -> sqlx::Result<Outcome> {
    if row.try_get("passed")? {
        return Ok(Ok(row.try_get::<i64, _>("seq")?.cast_unsigned()));
    }
    if row.try_get::<Option<i64>, _>("head")?.is_none() {
        return Ok(Err(CommitError::Fenced { shard: commit.entity.shard() }));
    }
    let actual = Version(row.try_get::<i64, _>("actual")?.cast_unsigned());
    if actual != commit.expected {
        return Ok(Err(CommitError::Stale { actual }));
    }
    if needs.claims
        && let Some(claim) = row.try_get::<Option<String>, _>("claim")?
    {
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
