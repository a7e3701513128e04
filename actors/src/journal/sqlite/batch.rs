//! Commits that share a transaction: checks each against the database and those before it, then
//! writes all of them table by table.

use super::{millis, writer::Write};
use crate::{
    Claim, Commit, EntityKey, Posting, Version, ViewRow,
    journal::{
        CommitError, EffectKey,
        rules::{self, Known},
    },
};
use protocol::{Currency, ShardId, Timestamp};
use sqlx::{QueryBuilder, Sqlite, SqliteConnection, query_builder::Separated};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};

/// Rows per statement at most: 256 rows of 10 columns stay well below the 32,766 variables that
/// SQLite allows.
const N_ROWS_MAX: usize = 256;
/// Eighteen statements over a list, each in the nine sizes it is prepared in, and some others.
pub(super) const N_STATEMENTS_MAX: usize = 192;
/// Whose the shards are, for people who read the journal.
const OWNER: &str = "sqlite";

pub(super) type Values<'a> = Separated<'a, Sqlite, &'static str>;

/// What the database holds that the commits could clash with, as the commits admitted so far
/// change it.
#[derive(Debug, Default)]
pub(super) struct Batch<'a> {
    entities: HashMap<EntityKey, Row>,
    holders: HashMap<&'a Claim, EntityKey>,
    posted: HashSet<String>,
    balances: HashMap<(String, Currency), i64>,
    heads: BTreeMap<ShardId, Head>,
    /// The ownership that writes now.
    epoch: u64,
    admitted: Vec<&'a Write>,
}

/// How far a shard's log has come, and the ownership that brought it there.
#[derive(Debug, Clone, Copy, Default)]
struct Head {
    epoch: u64,
    seq: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Row {
    version: Version,
    deadline: Option<Timestamp>,
}

impl Known for Batch<'_> {
    fn version(&self, entity: EntityKey) -> Version {
        self.entities.get(&entity).map_or(Version(0), |row| row.version)
    }

    fn holder(&self, claim: &Claim) -> Option<EntityKey> {
        self.holders.get(claim).copied()
    }

    fn is_posted(&self, key: &str) -> bool {
        self.posted.contains(key)
    }

    fn balance(&self, account: &str, currency: Currency) -> i64 {
        self.balances.get(&(account.to_owned(), currency)).copied().unwrap_or_default()
    }
}

impl<'a> Batch<'a> {
    /// Reads what `writes` could clash with.
    pub(super) async fn read(
        database: &mut SqliteConnection,
        writes: &'a [Write],
        epoch: u64,
    ) -> sqlx::Result<Self> {
        let mut batch = Self { epoch, ..Self::default() };
        let commits = || writes.iter().map(|write| &write.commit);

        let keys: BTreeSet<_> = commits().map(|commit| commit.entity).collect();
        let keys: Vec<_> = keys.into_iter().collect();
        for keys in parts(&keys) {
            let sql = "SELECT entity, version, deadline FROM entities WHERE entity IN (";
            let mut query = among(sql, keys, |key| key.to_bytes().to_vec());
            let rows: Vec<(Vec<u8>, i64, Option<i64>)> =
                query.build_query_as().fetch_all(&mut *database).await?;
            for (key, version, deadline) in rows {
                let version = Version(version as u64);
                let deadline = deadline.map(|ms| Timestamp(ms as u64));
                batch.entities.insert(entity(&key)?, Row { version, deadline });
            }
        }

        let mentioned =
            |commit: &'a Commit| commit.claims_taken.iter().chain(&commit.claims_released);
        let claims: BTreeSet<_> = commits().flat_map(mentioned).collect();
        let claims: Vec<_> = claims.into_iter().collect();
        for claims in parts(&claims) {
            let sql = "SELECT claim, holder FROM claims WHERE claim IN (";
            let mut query = among(sql, claims, |claim| claim.0.clone());
            let rows: Vec<(String, Vec<u8>)> =
                query.build_query_as().fetch_all(&mut *database).await?;
            for (claim, holder) in rows {
                let at = claims.binary_search_by(|known| known.0.cmp(&claim));
                let known = claims[at.expect("SQLite returns what was asked for")];
                batch.holders.insert(known, entity(&holder)?);
            }
        }

        let keys: BTreeSet<_> = commits().flat_map(|c| &c.postings).map(|p| &p.key).collect();
        let keys: Vec<_> = keys.into_iter().collect();
        for keys in parts(&keys) {
            let sql = "SELECT key FROM postings WHERE line = 0 AND key IN (";
            let mut query = among(sql, keys, |key| (*key).clone());
            let rows: Vec<String> = query.build_query_scalar().fetch_all(&mut *database).await?;
            batch.posted.extend(rows);
        }

        let postings = commits().flat_map(|commit| &commit.postings);
        let accounts: HashSet<_> =
            postings.map(|posting| (posting.account.as_str(), posting.currency)).collect();
        let accounts: Vec<_> = accounts.into_iter().collect();
        for accounts in parts(&accounts) {
            let mut query = QueryBuilder::new(
                "SELECT account, currency, balance FROM balances WHERE (account, currency) IN (",
            );
            query.push_values(accounts, |mut values, (account, currency)| {
                values.push_bind((*account).to_owned());
                values.push_bind(currency.to_string());
            });
            query.push(")");
            let rows: Vec<(String, String, i64)> =
                query.build_query_as().fetch_all(&mut *database).await?;
            for (account, name, balance) in rows {
                batch.balances.insert((account, currency(&name)?), balance);
            }
        }

        let writing = commits().filter(|commit| !commit.events.is_empty());
        let shards: BTreeSet<_> = writing.map(|commit| commit.entity.shard()).collect();
        let shards: Vec<_> = shards.into_iter().collect();
        for shards in parts(&shards) {
            let sql = "SELECT shard, epoch, seq FROM heads WHERE shard IN (";
            let mut query = among(sql, shards, |shard| i64::from(shard.0));
            let rows: Vec<(i64, i64, i64)> =
                query.build_query_as().fetch_all(&mut *database).await?;
            batch.heads.extend(rows.into_iter().map(|(shard, epoch, seq)| {
                let head = Head { epoch: epoch.cast_unsigned(), seq: seq.cast_unsigned() };
                (ShardId(shard as u16), head)
            }));
        }
        Ok(batch)
    }

    /// Takes `write` in, unless it clashes.
    pub(super) fn admit(&mut self, write: &'a Write) -> Result<(), CommitError> {
        let commit = &write.commit;
        rules::admit(commit, self)?;
        let row = self.entities.entry(commit.entity).or_default();
        row.version = commit.version();
        if let Some(deadline) = commit.deadline {
            row.deadline = deadline;
        }
        for claim in &commit.claims_released {
            if self.holders.get(claim) == Some(&commit.entity) {
                self.holders.remove(claim);
            }
        }
        self.holders.extend(commit.claims_taken.iter().map(|claim| (claim, commit.entity)));
        for posting in &commit.postings {
            self.posted.insert(posting.key.clone());
            let account = (posting.account.clone(), posting.currency);
            // Wraps on the way to a sum that was found to fit.
            let balance = self.balances.entry(account).or_default();
            *balance = balance.wrapping_add(posting.amount);
        }
        self.admitted.push(write);
        Ok(())
    }

    /// Writes all that was admitted. Where one row is written twice, only its end is.
    pub(super) async fn write(mut self, database: &mut SqliteConnection) -> sqlx::Result<()> {
        let commits = || self.admitted.iter().map(|write| &write.commit);

        let entities: BTreeSet<_> = commits().map(|commit| commit.entity).collect();
        let rows: Vec<_> = entities.into_iter().map(|key| (key, self.entities[&key])).collect();
        put(
            database,
            "INSERT INTO entities (entity, version, deadline) ",
            &rows,
            |mut values, (key, row)| {
                values.push_bind(key.to_bytes().to_vec());
                values.push_bind(row.version.0 as i64);
                values.push_bind(row.deadline.map(millis));
            },
            " ON CONFLICT (entity) DO UPDATE SET \
             version = excluded.version, deadline = excluded.deadline",
        )
        .await?;

        self.write_events(database).await?;
        let commits = || self.admitted.iter().map(|write| &write.commit);

        let last: BTreeMap<_, _> = commits()
            .filter_map(|commit| {
                let state = commit.snapshot.as_ref()?;
                Some((commit.entity, (commit.version(), state)))
            })
            .collect();
        let rows: Vec<_> = last.into_iter().collect();
        put(
            database,
            "INSERT INTO snapshots (entity, version, bytes) ",
            &rows,
            |mut values, (key, (version, state))| {
                values.push_bind(key.to_bytes().to_vec());
                values.push_bind(version.0 as i64);
                values.push_bind((*state).clone());
            },
            " ON CONFLICT (entity) DO UPDATE SET version = excluded.version, bytes = excluded.bytes",
        )
        .await?;

        let rows: Vec<_> =
            commits().filter_map(|commit| Some((commit, commit.result.as_ref()?))).collect();
        put(
            database,
            "INSERT INTO results (entity, command, at, bytes) ",
            &rows,
            |mut values, (commit, result)| {
                values.push_bind(commit.entity.to_bytes().to_vec());
                values.push_bind(result.command.0.as_bytes().to_vec());
                values.push_bind(millis(commit.at));
                values.push_bind(result.bytes.clone());
            },
            " ON CONFLICT (entity, command) DO NOTHING",
        )
        .await?;

        let rows: Vec<_> = commits()
            .flat_map(|commit| {
                commit.effects.iter().zip(0_i64..).map(move |(bytes, place)| (commit, bytes, place))
            })
            .collect();
        put(
            database,
            "INSERT INTO outbox (source, version, place, at, bytes) ",
            &rows,
            |mut values, (commit, bytes, place)| {
                values.push_bind(commit.entity.to_bytes().to_vec());
                values.push_bind(commit.version().0 as i64);
                values.push_bind(*place);
                values.push_bind(millis(commit.at));
                values.push_bind((*bytes).clone());
            },
            "",
        )
        .await?;

        self.write_claims(database).await?;

        let rows: Vec<_> = commits().flat_map(lines).collect();
        put(
            database,
            "INSERT INTO postings \
             (key, line, entity, version, at, account, currency, amount, floor) ",
            &rows,
            |mut values, (commit, line, posting)| {
                values.push_bind(posting.key.clone());
                values.push_bind(*line);
                values.push_bind(commit.entity.to_bytes().to_vec());
                values.push_bind(commit.version().0 as i64);
                values.push_bind(millis(commit.at));
                values.push_bind(posting.account.clone());
                values.push_bind(posting.currency.to_string());
                values.push_bind(posting.amount);
                values.push_bind(posting.floor);
            },
            "",
        )
        .await?;

        let last: BTreeMap<EntityKey, (&ViewRow, &String)> = self
            .admitted
            .iter()
            .filter_map(|write| {
                Some((write.commit.entity, (write.commit.view.as_ref()?, write.body.as_ref()?)))
            })
            .collect();
        let rows: Vec<_> = last.into_iter().collect();
        put(
            database,
            "INSERT INTO views (entity, kind, status, rider, driver, at, body) ",
            &rows,
            |mut values, (key, (row, body))| {
                values.push_bind(key.to_bytes().to_vec());
                values.push_bind(key.kind as i64);
                values.push_bind(row.status.clone());
                values.push_bind(row.rider.map(|rider| rider.0.as_bytes().to_vec()));
                values.push_bind(row.driver.map(|driver| driver.0.as_bytes().to_vec()));
                values.push_bind(millis(row.at));
                values.push_bind((*body).clone());
            },
            " ON CONFLICT (entity) DO UPDATE SET status = excluded.status, \
             rider = excluded.rider, driver = excluded.driver, at = excluded.at, \
             body = excluded.body",
        )
        .await
    }

    /// Writes the events, each at the end of its shard's log.
    async fn write_events(&mut self, database: &mut SqliteConnection) -> sqlx::Result<()> {
        let (mut rows, mut begun, mut grown) = (Vec::new(), Vec::new(), BTreeSet::new());
        for write in &self.admitted {
            let commit = &write.commit;
            if commit.events.is_empty() {
                continue;
            }
            let shard = commit.entity.shard();
            let head = self.heads.entry(shard).or_default();
            if head.epoch != self.epoch {
                head.epoch = self.epoch;
                begun.push((shard, head.seq + 1, commit.at));
            }
            for (event, version) in commit.events.iter().zip(commit.expected.0 + 1..) {
                head.seq += 1;
                rows.push((commit, event, version, head.seq));
            }
            grown.insert(shard);
        }
        put(
            database,
            "INSERT INTO events \
             (entity, version, at, name, bytes, shard, seq, epoch, command) ",
            &rows,
            |mut values, (commit, event, version, seq)| {
                values.push_bind(commit.entity.to_bytes().to_vec());
                values.push_bind(*version as i64);
                values.push_bind(millis(commit.at));
                values.push_bind(event.name.clone());
                values.push_bind(event.bytes.clone());
                values.push_bind(i64::from(commit.entity.shard().0));
                values.push_bind(seq.cast_signed());
                values.push_bind(self.epoch.cast_signed());
                let command = commit.result.as_ref().map(|result| result.command);
                values.push_bind(command.map(|id| id.0.as_bytes().to_vec()));
            },
            "",
        )
        .await?;
        put(
            database,
            "INSERT INTO epochs (shard, epoch, first_seq, at, owner) ",
            &begun,
            |mut values, (shard, first_seq, at)| {
                values.push_bind(i64::from(shard.0));
                values.push_bind(self.epoch.cast_signed());
                values.push_bind(first_seq.cast_signed());
                values.push_bind(millis(*at));
                values.push_bind(OWNER);
            },
            "",
        )
        .await?;
        let grown: Vec<_> = grown.into_iter().collect();
        put(
            database,
            "INSERT INTO heads (shard, epoch, seq) ",
            &grown,
            |mut values, shard| {
                let head = self.heads[shard];
                values.push_bind(i64::from(shard.0));
                values.push_bind(head.epoch.cast_signed());
                values.push_bind(head.seq.cast_signed());
            },
            " ON CONFLICT (shard) DO UPDATE SET epoch = excluded.epoch, seq = excluded.seq",
        )
        .await
    }

    async fn write_claims(&self, database: &mut SqliteConnection) -> sqlx::Result<()> {
        let mentioned: BTreeSet<_> = self
            .admitted
            .iter()
            .flat_map(|write| write.commit.claims_taken.iter().chain(&write.commit.claims_released))
            .collect();
        let (held, free): (Vec<_>, Vec<_>) =
            mentioned.into_iter().partition(|claim| self.holders.contains_key(claim));
        for claims in parts(&free) {
            let mut query =
                among("DELETE FROM claims WHERE claim IN (", claims, |claim| claim.0.clone());
            query.build().execute(&mut *database).await?;
        }
        put(
            database,
            "INSERT INTO claims (claim, holder) ",
            &held,
            |mut values, claim| {
                values.push_bind(claim.0.clone());
                values.push_bind(self.holders[claim].to_bytes().to_vec());
            },
            " ON CONFLICT (claim) DO UPDATE SET holder = excluded.holder",
        )
        .await
    }
}

/// Deletes effects from the outbox.
pub(super) async fn delete_effects(
    database: &mut SqliteConnection,
    effects: &[EffectKey],
) -> sqlx::Result<()> {
    for effects in parts(effects) {
        deletion(effects).build().execute(&mut *database).await?;
    }
    Ok(())
}

pub(super) fn deletion(effects: &[EffectKey]) -> QueryBuilder<Sqlite> {
    let mut query = QueryBuilder::new("DELETE FROM outbox WHERE (source, version, place) IN (");
    query.push_values(effects, |mut values, effect| {
        values.push_bind(effect.source.to_bytes().to_vec());
        values.push_bind(effect.version.0 as i64);
        values.push_bind(i64::from(effect.index));
    });
    query.push(")");
    query
}

/// The postings of a commit, each with its place among those of its key.
fn lines(commit: &Commit) -> impl Iterator<Item = (&Commit, i64, &Posting)> {
    let mut n_lines: HashMap<&str, i64> = HashMap::new();
    commit.postings.iter().map(move |posting| {
        let n = n_lines.entry(&posting.key).or_default();
        *n += 1;
        (commit, *n - 1, posting)
    })
}

/// Inserts `rows`, however many there are.
pub(super) async fn put<R>(
    database: &mut SqliteConnection,
    insert: &'static str,
    rows: &[R],
    bind: impl Fn(Values<'_>, &R),
    on_conflict: &'static str,
) -> sqlx::Result<()> {
    for rows in parts(rows) {
        let mut query = QueryBuilder::new(insert);
        query.push_values(rows, &bind).push(on_conflict);
        query.build().execute(&mut *database).await?;
    }
    Ok(())
}

/// A query whose text ends in `IN (` and goes on with `keys`.
fn among<K, V>(sql: &'static str, keys: &[K], bytes: impl Fn(&K) -> V) -> QueryBuilder<Sqlite>
where
    V: for<'q> sqlx::Encode<'q, Sqlite> + sqlx::Type<Sqlite>,
{
    let mut query = QueryBuilder::new(sql);
    let mut list = query.separated(", ");
    for key in keys {
        list.push_bind(bytes(key));
    }
    list.push_unseparated(")");
    query
}

/// Cuts rows into parts whose sizes are powers of two, so that a handful of prepared statements
/// serves every number of rows.
fn parts<R>(mut rows: &[R]) -> impl Iterator<Item = &[R]> {
    std::iter::from_fn(move || {
        let size = N_ROWS_MAX.min(1 << rows.len().checked_ilog2()?);
        let (part, rest) = rows.split_at(size);
        rows = rest;
        Some(part)
    })
}

fn entity(bytes: &[u8]) -> sqlx::Result<EntityKey> {
    EntityKey::from_bytes(bytes)
        .ok_or_else(|| sqlx::Error::Decode(format!("{bytes:02x?} is no entity").into()))
}

pub(super) fn currency(name: &str) -> sqlx::Result<Currency> {
    name.parse().map_err(|_| sqlx::Error::Decode(format!("{name} is no currency").into()))
}
