//! Commits that share a statement: which may, how they become its columns, and what it says of them.

use super::{heads::Fence, millis, told};
use crate::{
    Claim, Commit, EntityKey, Format, Kind, Version, ViewRow,
    commit::{CommandResult, EncodedEvent},
    journal::CommitError,
};
use foldhash::{HashMap, HashMapExt as _, HashSet};
use protocol::{Currency, ShardId};
use sqlx::{PgConnection, Row, postgres::PgRow};
use std::{
    collections::{BTreeMap, BTreeSet},
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
    /// And the heads are left alone.
    pub(super) fenced: bool,
    /// Somebody's version has to be looked up all the same.
    pub(super) strangers: bool,
    /// Keys are taken or given back.
    pub(super) claims: bool,
    /// Money moves.
    pub(super) postings: bool,
    /// An answer does not stand with an event.
    pub(super) answers: bool,
}

impl Needs {
    fn of(writes: &[Write], basis: Basis<'_>, way: Way) -> Self {
        let is_claim = |it: &Commit| !it.claims_taken.is_empty() || !it.claims_released.is_empty();
        let claims = writes.iter().any(|write| is_claim(&write.commit));
        let postings = move_money(writes);
        let answers = writes.iter().any(|write| answer_apart(&write.commit).is_some());
        // Who moves money is refused often enough to look first.
        let swift = way != Way::Sure && !postings;
        let fenced = swift && matches!(way, Way::Fenced(_));
        let strangers = swift && writes.iter().any(|write| basis.is_stranger(&write.commit));
        Self { swift, fenced, strangers, claims, postings, answers }
    }

    /// The statement without what is not needed.
    pub(super) fn statement(self) -> &'static str {
        static ALL: LazyLock<[String; 64]> = LazyLock::new(|| {
            std::array::from_fn(|n| {
                let [swift, fenced, strangers, claims, postings, answers] =
                    [1, 2, 4, 8, 16, 32].map(|bit| n & bit != 0);
                Needs { swift, fenced, strangers, claims, postings, answers }.cut(COMMIT)
            })
        });
        let Self { swift, fenced, strangers, claims, postings, answers } = self;
        let needed = [swift, fenced, strangers, claims, postings, answers];
        let bits = [1, 2, 4, 8, 16, 32].into_iter().zip(needed);
        &ALL[bits.filter(|(_, is_needed)| *is_needed).map(|(bit, _)| bit).sum::<usize>()]
    }

    /// The lines of `source` that are needed: see there.
    fn cut(self, source: &str) -> String {
        let (mut kept, mut asked) = (String::new(), Vec::new());
        for line in source.lines() {
            match line.strip_prefix("--") {
                Some("if swift") => asked.push(self.swift),
                Some("if fenced") => asked.push(self.fenced),
                Some("if strangers") => asked.push(self.strangers),
                Some("if claims") => asked.push(self.claims),
                Some("if postings") => asked.push(self.postings),
                Some("if answers") => asked.push(self.answers),
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

/// How much a statement takes for granted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// Nothing: it looks at everything, and says who is refused and why.
    Sure,
    /// That nobody is refused.
    Swift,
    /// That, and that all heads are ours and as we know them, which this fence says.
    Fenced(Fence),
}

/// Does any of them?
pub(super) fn move_money(writes: &[Write]) -> bool {
    writes.iter().any(|write| !write.commit.postings.is_empty())
}

/// What a shard is written under.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Terms {
    /// [`Terms::NOBODYS`] if it is not ours.
    pub(super) epoch: u64,
    /// All its effects up to this event have been told.
    pub(super) told: u64,
    /// Its log goes so far at least, and exactly so if its head is left alone.
    pub(super) seq: u64,
}

impl Terms {
    /// No shard ever has this epoch (-1 to the database), so it fences; one that nobody has had yet has 0.
    pub(super) const NOBODYS: u64 = u64::MAX;
}

/// What is known before a statement is sent.
#[derive(Clone, Copy)]
pub(super) struct Basis<'a> {
    /// What each shard is written under.
    pub(super) terms: &'a (dyn Fn(ShardId) -> Terms + Sync),
    /// Is it known that the commit's entity has the version it expects, under this epoch?
    pub(super) knows: &'a (dyn Fn(&Commit, u64) -> bool + Sync),
}

impl Basis<'_> {
    /// Must its version be looked up? Who begins need not: the key of the first event refuses a second.
    fn is_stranger(self, commit: &Commit) -> bool {
        let begins = commit.expected == Version(0) && !commit.events.is_empty();
        !begins && !(self.knows)(commit, (self.terms)(commit.entity.shard()).epoch)
    }
}

/// What a statement did.
#[derive(Debug)]
pub(super) struct Written {
    /// What became of every commit, in order.
    pub(super) outcomes: Vec<Outcome>,
    /// How far the logs of its shards go now; of those that are ours.
    pub(super) heads: Vec<(ShardId, u64)>,
}

/// What became of a commit: the number of its last event in its shard's log, or why there is none.
pub(super) type Outcome = Result<u64, CommitError>;

/// A commit, and who waits for it.
#[derive(Debug)]
pub(super) struct Write {
    /// Apart, for a write changes hands more than once on its way.
    pub(super) commit: Box<Commit>,
    /// The body of the view as text, made by the caller so that the committer need not.
    pub(super) body: Option<String>,
    pub(super) ack: oneshot::Sender<Result<(), CommitError>>,
}

impl Write {
    pub(super) fn new(commit: Commit, ack: oneshot::Sender<Result<(), CommitError>>) -> Self {
        // Not by `Display`, which sends every snippet through a formatter, to a string that grows from nothing.
        let json =
            |row: &ViewRow| serde_json::to_string(&row.body).expect("a value of JSON is JSON");
        let body = commit.view.as_ref().map(json);
        Self { commit: Box::new(commit), body, ack }
    }

    /// Who asked may have stopped waiting; what was written stays written.
    pub(super) fn answer(self, outcome: Result<(), CommitError>) {
        self.ack.send(outcome).ok();
    }

    /// About how much it adds to a statement.
    pub(super) fn bytes(&self) -> usize {
        let Commit { events, effects, snapshot, .. } = &*self.commit;
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

/// Runs the statement over `writes`. Every write is answered for, in order; unless it is sure, all of them are
/// written or the statement fails.
pub(super) async fn execute(
    database: &mut PgConnection,
    basis: Basis<'_>,
    writes: &[Write],
    stripe: i16,
    way: Way,
) -> sqlx::Result<Written> {
    let needs = Needs::of(writes, basis, way);
    execute_as(needs.statement(), needs, database, basis, writes, stripe, way).await
}

/// The same with any statement that takes the same columns.
pub(super) async fn execute_as(
    statement: &'static str,
    needs: Needs,
    database: &mut PgConnection,
    basis: Basis<'_>,
    writes: &[Write],
    stripe: i16,
    way: Way,
) -> sqlx::Result<Written> {
    let places = Places::of(writes);
    let query = bind(sqlx::query(statement), &places, needs, basis, writes, stripe);
    let fence = match way {
        Way::Fenced(fence) => Some(fence),
        Way::Sure | Way::Swift => None,
    };
    let query =
        query.bind(fence.map(|fence| fence.incarnation)).bind(fence.map(|fence| fence.generation));
    if needs.swift {
        let seqs: Vec<i64> = query.fetch_one(database).await?.try_get("seqs")?;
        return places.written(&seqs);
    }
    let rows = query.fetch_all(database).await?;
    if rows.len() != writes.len() {
        return Err(sqlx::Error::Protocol("a row per commit was promised".into()));
    }
    let (mut outcomes, mut heads) = (Vec::new(), BTreeMap::new());
    for (row, write) in rows.iter().zip(writes) {
        let last: Option<i64> = row.try_get("seq")?;
        if let Some(seq) = last.or(row.try_get("head")?) {
            let head = heads.entry(write.commit.entity.shard()).or_default();
            *head = seq.cast_unsigned().max(*head);
        }
        outcomes.push(outcome(row, needs, &write.commit)?);
    }
    Ok(Written { outcomes, heads: heads.into_iter().collect() })
}

/// The shards of a batch, in order, each once.
pub(super) fn shards(writes: &[Write]) -> Vec<ShardId> {
    let mut shards: Vec<_> = writes.iter().map(|write| write.commit.entity.shard()).collect();
    shards.sort_unstable();
    shards.dedup();
    shards
}

/// Where the events of a batch come to stand in the logs of their shards, if all are written.
///
/// Nearly every commit of a batch has a shard of its own, so what is done once per shard is done about once per commit. A
/// shard is looked for once, and then goes by its number among those of the batch: no map is made, or asked, for each question.
struct Places {
    /// In order, each once.
    shards: Vec<ShardId>,
    /// How many events each of them gets.
    totals: Vec<i32>,
    /// Of each write.
    each: Vec<Place>,
}

/// Where the events of one write come to stand.
#[derive(Debug, Clone, Copy)]
struct Place {
    /// Which of the batch's shards is its own.
    nth: usize,
    /// How many of the shard's events come before its own.
    n_before: i32,
    /// How many it has.
    n: i32,
}

impl Place {
    /// Which events of the statement its own are: of all that the shard gets, if nobody is refused, or else of
    /// those of the commit.
    fn numbers(self, swift: bool) -> impl Iterator<Item = i32> {
        let n_before = if swift { self.n_before } else { 0 };
        (1..=self.n).map(move |n| n_before + n)
    }
}

impl Places {
    fn of(writes: &[Write]) -> Self {
        let shards = shards(writes);
        let mut totals = vec![0; shards.len()];
        let each = writes.iter().map(|write| {
            let shard = write.commit.entity.shard();
            let nth = shards.partition_point(|it| *it < shard);
            let (n_before, n) = (totals[nth], write.commit.events.len() as i32);
            totals[nth] += n;
            Place { nth, n_before, n }
        });
        let each = each.collect();
        Self { shards, totals, each }
    }

    /// The number of each write's last event, and how far logs go then, if they went so far before.
    fn written(&self, before: &[i64]) -> sqlx::Result<Written> {
        if before.len() != self.shards.len() {
            return Err(sqlx::Error::Protocol("a number per shard was promised".into()));
        }
        let after = self.totals.iter().zip(before);
        let after = after.map(|(total, before)| (before + i64::from(*total)).cast_unsigned());
        let last = |place: &Place| {
            Ok((before[place.nth] + i64::from(place.n_before + place.n)).cast_unsigned())
        };
        let outcomes = self.each.iter().map(last).collect();
        Ok(Written { outcomes, heads: self.shards.iter().copied().zip(after).collect() })
    }
}

type Query<'q> = sqlx::query::Query<'q, sqlx::Postgres, sqlx::postgres::PgArguments>;

/// Something to be written: by whom it is accepted, whose it is, and itself.
struct Entry<'w, T> {
    by: i32,
    commit: &'w Commit,
    it: T,
}

impl<T> Entry<'_, T> {
    fn kind(&self) -> i16 {
        self.commit.entity.kind as i16
    }

    fn id(&self) -> Uuid {
        self.commit.entity.id
    }
}

impl Entry<'_, (i32, &EncodedEvent)> {
    /// Is it the last event of its commit, which keeps what there is one of in a commit?
    fn is_last(&self) -> bool {
        self.it.0 as usize == self.commit.events.len()
    }
}

/// Does the answer stand with the last event? Not before everybody alive looks for it there.
fn answers_with_event(commit: &Commit) -> bool {
    !commit.events.is_empty() && commit.writes >= Format::ANSWERS
}

/// The answer that gets a row of its own.
fn answer_apart(commit: &Commit) -> Option<&CommandResult> {
    commit.result.as_ref().filter(|_| !answers_with_event(commit))
}

/// All of one sort that the writes have. `by`: by whom each write is accepted.
fn entries<'w, T, I: IntoIterator<Item = T>>(
    by: &[i32],
    writes: &'w [Write],
    of: impl Fn(&'w Write) -> I,
) -> Vec<Entry<'w, T>> {
    let each = |(by, write): (&i32, &'w Write)| {
        let (by, commit) = (*by, &write.commit);
        of(write).into_iter().map(move |it| Entry { by, commit, it })
    };
    by.iter().zip(writes).flat_map(each).collect()
}

/// One column of them.
fn column<'r, 'w, T, C>(rows: &'r [Entry<'w, T>], of: impl Fn(&'r Entry<'w, T>) -> C) -> Vec<C> {
    rows.iter().map(of).collect()
}

/// The columns of all rows, in the order of the statement's parameters; the fence comes after them.
fn bind<'q>(
    query: Query<'q>,
    places: &Places,
    needs: Needs,
    basis: Basis<'_>,
    writes: &'q [Write],
    stripe: i16,
) -> Query<'q> {
    let swift = needs.swift;
    let shards: Vec<i32> = places.shards.iter().map(|shard| i32::from(shard.0)).collect();
    let terms: Vec<Terms> = places.shards.iter().map(|shard| (basis.terms)(*shard)).collect();
    let by: Vec<i32> = if swift {
        places.each.iter().map(|place| shards[place.nth]).collect()
    } else {
        (1..).take(writes.len()).collect()
    };
    let query = query
        .bind(shards)
        .bind(terms.iter().map(|it| it.epoch.cast_signed()).collect::<Vec<_>>())
        .bind(terms.iter().map(|it| it.told.cast_signed()).collect::<Vec<_>>())
        .bind(places.totals.as_slice());

    let is_asked = |it: &Commit| !swift || (needs.strangers && basis.is_stranger(it));
    let asked = entries(&by, writes, |write| is_asked(&write.commit).then_some(()));
    let query = query
        .bind(column(&asked, |row| i32::from(row.commit.entity.shard().0)))
        .bind(column(&asked, Entry::kind))
        .bind(column(&asked, Entry::id))
        .bind(column(&asked, |row| row.commit.expected.0.cast_signed()))
        .bind(column(&asked, |row| row.commit.events.len() as i32));

    // Events count from 1, for the first leads to version 1.
    let events = entries(&by, writes, |write| (1_i32..).zip(&write.commit.events));
    let place: Vec<i32> = places.each.iter().flat_map(|it| it.numbers(swift)).collect();
    let stand = |place: &Place| {
        let Terms { epoch, seq, .. } = terms[place.nth];
        let seq = move |number: i32| seq.cast_signed() + i64::from(number);
        place.numbers(swift).map(move |number| (seq(number), epoch.cast_signed()))
    };
    let stand = places.each.iter().filter(|_| needs.fenced).flat_map(stand);
    let (event_seqs, event_epochs): (Vec<i64>, Vec<i64>) = stand.unzip();
    let effects = |row: &Entry<'_, (i32, &EncodedEvent)>| {
        row.is_last().then(|| told::encode(&row.commit.effects)).flatten()
    };
    let answers = events.iter().map(|row| {
        let is_kept = row.is_last() && answers_with_event(row.commit);
        row.commit.result.as_ref().filter(|_| is_kept).map(|it| it.bytes.as_slice())
    });
    let query = query
        .bind(column(&events, |row| row.by))
        .bind(place)
        .bind(column(&events, Entry::kind))
        .bind(column(&events, Entry::id))
        .bind(column(&events, |row| row.commit.expected.0.cast_signed() + i64::from(row.it.0)))
        .bind(column(&events, |row| millis(row.commit.at)))
        .bind(column(&events, |row| row.commit.result.as_ref().map(|it| it.command.0)))
        .bind(column(&events, |row| row.it.1.name.as_str()))
        .bind(column(&events, |row| row.it.1.bytes.as_slice()))
        .bind(column(&events, effects))
        .bind(answers.collect::<Vec<_>>());

    let begins = |it: &Commit| it.expected == Version(0);
    // If one that begins has a row already, the statement is not swift.
    let deadlines = entries(&by, writes, |write| {
        write.commit.deadline.filter(|_| !(swift && begins(&write.commit)))
    });
    let new = entries(&by, writes, |write| {
        let Commit { events, deadline, .. } = &*write.commit;
        let is_new = begins(&write.commit) && (!events.is_empty() || deadline.is_some());
        is_new.then_some(deadline.flatten())
    });
    let query = query
        .bind(column(&deadlines, |row| row.by))
        .bind(column(&deadlines, Entry::kind))
        .bind(column(&deadlines, Entry::id))
        .bind(column(&deadlines, |row| row.it.map(millis)))
        .bind(column(&new, |row| row.by))
        .bind(column(&new, Entry::kind))
        .bind(column(&new, Entry::id))
        .bind(column(&new, |row| row.it.map(millis)));

    let snapshots = entries(&by, writes, |write| write.commit.snapshot.as_deref());
    let results = entries(&by, writes, |write| answer_apart(&write.commit));
    let query = query
        .bind(column(&snapshots, |row| row.by))
        .bind(column(&snapshots, Entry::kind))
        .bind(column(&snapshots, Entry::id))
        .bind(column(&snapshots, |row| row.commit.version().0.cast_signed()))
        .bind(column(&snapshots, |row| row.it))
        .bind(column(&results, |row| row.by))
        .bind(column(&results, Entry::kind))
        .bind(column(&results, Entry::id))
        .bind(column(&results, |row| row.it.command.0))
        .bind(column(&results, |row| millis(row.commit.at)))
        .bind(column(&results, |row| row.it.bytes.as_slice()))
        .bind(column(&results, |row| row.commit.version().0.cast_signed()));

    let views =
        entries(&by, writes, |write| Some((write.commit.view.as_ref()?, write.body.as_deref()?)));
    let query = query
        .bind(column(&views, |row| row.by))
        .bind(column(&views, Entry::kind))
        .bind(column(&views, Entry::id))
        .bind(column(&views, |row| row.it.0.status.as_str()))
        .bind(column(&views, |row| row.it.0.rider.map(|id| id.0)))
        .bind(column(&views, |row| row.it.0.driver.map(|id| id.0)))
        .bind(column(&views, |row| millis(row.it.0.at)))
        .bind(column(&views, |row| row.it.1));

    let taken = entries(&by, writes, |write| &write.commit.claims_taken);
    let released = entries(&by, writes, |write| &write.commit.claims_released);
    let query = query
        .bind(column(&taken, |row| row.by))
        .bind(column(&taken, Entry::kind))
        .bind(column(&taken, Entry::id))
        .bind(column(&taken, |row| row.it.0.as_str()))
        .bind(column(&released, |row| row.by))
        .bind(column(&released, Entry::kind))
        .bind(column(&released, Entry::id))
        .bind(column(&released, |row| row.it.0.as_str()));

    let postings = entries(&by, writes, |write| &write.commit.postings);
    query
        .bind(column(&postings, |row| row.by))
        .bind(column(&postings, Entry::kind))
        .bind(column(&postings, Entry::id))
        .bind(column(&postings, |row| row.commit.version().0.cast_signed()))
        .bind(column(&postings, |row| millis(row.commit.at)))
        .bind(lines(writes))
        .bind(column(&postings, |row| row.it.key.as_str()))
        .bind(column(&postings, |row| row.it.account.as_str()))
        .bind(column(&postings, |row| row.it.currency.to_string()))
        .bind(column(&postings, |row| row.it.amount))
        .bind(column(&postings, |row| row.it.floor))
        .bind(stripe)
        .bind(terms.iter().map(|it| it.seq.cast_signed()).collect::<Vec<_>>())
        .bind(event_seqs)
        .bind(event_epochs)
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

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{CommandId, OrderId, Timestamp};

    /// The first commit of an order in this shard.
    fn write(n: u64, shard: u16, n_events: usize) -> Write {
        let order = OrderId::created_by(Uuid::nil(), CommandId::nth(n), ShardId(shard));
        let events = vec![EncodedEvent { name: "moved".into(), bytes: vec![] }; n_events];
        let commit = Commit { events, ..Commit::new(order.into(), Version(0), Timestamp(1)) };
        Write::new(commit, oneshot::channel().0)
    }

    #[test]
    fn events_of_a_shard_stand_one_behind_the_other_in_the_order_of_commits() {
        let writes =
            [write(1, 9, 2), write(2, 3, 1), write(3, 9, 1), write(4, 5, 0), write(5, 3, 2)];
        let places = Places::of(&writes);
        assert_eq!(places.shards, [ShardId(3), ShardId(5), ShardId(9)]);
        assert_eq!(places.totals, [3, 0, 3]);
        let numbers = |swift| {
            let numbers = places.each.iter().map(|place| place.numbers(swift).collect());
            numbers.collect::<Vec<Vec<i32>>>()
        };
        assert_eq!(numbers(true), [vec![1, 2], vec![1], vec![3], vec![], vec![2, 3]]);
        assert_eq!(numbers(false), [vec![1, 2], vec![1], vec![1], vec![], vec![1, 2]]);
        let Written { outcomes, heads } = places.written(&[10, 20, 30]).unwrap();
        assert_eq!(outcomes, [Ok(32), Ok(11), Ok(33), Ok(20), Ok(13)]);
        assert_eq!(heads, [(ShardId(3), 13), (ShardId(5), 20), (ShardId(9), 33)]);
        assert!(places.written(&[10, 20]).is_err(), "of three");
    }
}
