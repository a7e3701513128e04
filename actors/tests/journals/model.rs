//! Random commits against a model so plain that it can be checked by reading.

use actors::{
    Claim, Commit, EntityKey, Format, Kind, Posting, Version, ViewRow,
    commit::{CommandResult, EncodedEvent},
    journal::{CommitError, EffectKey, Forgotten, SharedJournal, ViewQuery},
};
use proptest::{collection::vec, option, prelude::*, test_runner::TestCaseError};
use protocol::{CommandId, Currency, DriverId, OrderId, RescueId, RiderId, ShardSet, Timestamp};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, BTreeSet},
};
use strum::IntoEnumIterator;

const CURRENCIES: [Currency; 2] = [Currency::RWF, Currency::USD];
const STATUSES: [&str; 3] = ["searching", "assigned", "completed"];

/// One thing done to a journal.
#[derive(Debug, Clone)]
enum Step {
    /// Several commits in flight together, of different entities.
    Commits(Vec<Wish>),
    /// The nth of those that wait is delivered.
    Deliver(usize),
    /// Results before this moment are forgotten.
    Forget(u64),
}

/// A commit, but for what depends on the past.
#[derive(Debug, Clone)]
struct Wish {
    entity: usize,
    /// Expects an old or a future version instead of the right one.
    is_stale: bool,
    n_events: usize,
    n_effects: usize,
    snapshot: bool,
    command: Option<u64>,
    deadline: Option<Option<u64>>,
    taken: Vec<u8>,
    released: Vec<u8>,
    fact: Option<(u8, i64, usize, bool)>,
    view: Option<(usize, bool, bool, u64)>,
}

fn wishes() -> impl Strategy<Value = Wish> {
    let sizes = (0..6_usize, prop::bool::weighted(0.1), 0..4_usize, 0..3_usize);
    let notes = (any::<bool>(), option::of(0..40_u64), option::of(option::of(0..50_u64)));
    let keys = (vec(0..5_u8, 0..3), vec(0..5_u8, 0..3));
    let money = option::of((0..20_u8, 1..100_i64, 0..2_usize, prop::bool::weighted(0.1)));
    let view = option::of((0..3_usize, any::<bool>(), any::<bool>(), 0..20_u64));
    (sizes, notes, keys, money, view).prop_map(|(sizes, notes, keys, fact, view)| {
        let (entity, is_stale, n_events, n_effects) = sizes;
        let (snapshot, command, deadline) = notes;
        let (taken, released) = keys;
        Wish {
            entity,
            is_stale,
            n_events,
            n_effects,
            snapshot,
            command,
            deadline,
            taken,
            released,
            fact,
            view,
        }
    })
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let commits = vec(wishes(), 1..5).prop_map(|mut wishes| {
        let mut seen = BTreeSet::new();
        wishes.retain(|wish| seen.insert(wish.entity));
        Step::Commits(wishes)
    });
    vec(
        prop_oneof![
            8 => commits,
            2 => (0..20_usize).prop_map(Step::Deliver),
            1 => (0..60_u64).prop_map(Step::Forget),
        ],
        1..40,
    )
}

fn entity(n: usize) -> EntityKey {
    match n {
        0..3 => OrderId::nth(n as u64).into(),
        3 => RescueId::nth(0).into(),
        4 => DriverId::nth(0).into(),
        _ => RiderId::nth(0).into(),
    }
}

fn claim(n: u8) -> Claim {
    Claim(format!("claim/{n}"))
}

/// All that should be known, in the plainest form.
#[derive(Debug, Default)]
struct Model {
    now: u64,
    /// Each with the commit's moment.
    events: BTreeMap<EntityKey, Vec<(u64, EncodedEvent)>>,
    snapshots: BTreeMap<EntityKey, (Version, Vec<u8>)>,
    results: Vec<(EntityKey, u64, CommandResult)>,
    outbox: Vec<(EffectKey, Vec<u8>)>,
    deadlines: BTreeMap<EntityKey, Timestamp>,
    claims: BTreeMap<Claim, EntityKey>,
    postings: Vec<Posting>,
    views: BTreeMap<EntityKey, ViewRow>,
}

/// What a commit should come to.
#[derive(Debug, PartialEq)]
enum Fate {
    Written,
    Stale,
    Taken,
    Unposted,
    Unsound,
}

fn fate(outcome: &Result<(), CommitError>) -> Result<Fate, TestCaseError> {
    match outcome {
        Ok(()) => Ok(Fate::Written),
        Err(CommitError::Stale { .. }) => Ok(Fate::Stale),
        Err(CommitError::ClaimTaken { .. }) => Ok(Fate::Taken),
        Err(CommitError::Postings(_)) => Ok(Fate::Unposted),
        Err(CommitError::Unsound(_)) => Ok(Fate::Unsound),
        Err(
            CommitError::BelowFloor { .. }
            | CommitError::Fenced { .. }
            | CommitError::Unavailable(_)
            | CommitError::Unknown(_),
        ) => Err(TestCaseError::fail(format!("{outcome:?}"))),
    }
}

impl Model {
    fn version(&self, entity: EntityKey) -> u64 {
        self.events.get(&entity).map_or(0, |events| events.len() as u64)
    }

    fn commit(&self, wish: &Wish) -> Commit {
        let entity = entity(wish.entity);
        let version = self.version(entity);
        let expected = Version(if wish.is_stale { version ^ 1 } else { version });
        let event =
            |n| EncodedEvent { name: format!("e{n}"), bytes: vec![n as u8, self.now as u8] };
        let postings = wish.fact.map(|(key, amount, currency, is_unequal)| {
            let line = |account: &str, amount| Posting {
                key: format!("fact/{key}"),
                account: account.into(),
                amount,
                currency: CURRENCIES[currency],
                floor: None,
            };
            vec![line("rider", -amount), line("driver", amount + i64::from(is_unequal))]
        });
        let view = wish.view.map(|(status, rider, driver, at)| ViewRow {
            status: STATUSES[status].into(),
            rider: rider.then(|| RiderId::nth(1)),
            driver: driver.then(|| DriverId::nth(1)),
            at: Timestamp(at),
            body: serde_json::json!({ "now": self.now }),
        });
        Commit {
            entity,
            expected,
            at: Timestamp(self.now),
            events: (0..wish.n_events).map(event).collect(),
            snapshot: wish.snapshot.then(|| vec![self.now as u8]),
            result: wish
                .command
                .map(|n| CommandResult { command: CommandId::nth(n), bytes: vec![self.now as u8] }),
            effects: (0..wish.n_effects).map(|n| vec![n as u8, self.now as u8]).collect(),
            deadline: wish.deadline.map(|at| at.map(Timestamp)),
            claims_taken: wish.taken.iter().copied().map(claim).collect(),
            claims_released: wish.released.iter().copied().map(claim).collect(),
            postings: postings.unwrap_or_default(),
            view,
            writes: Format::WRITES,
            // Which says nothing of what becomes of it.
            comes_first: self.now.is_multiple_of(3),
        }
    }

    fn judge(&self, commit: &Commit) -> Fate {
        let held_by_other =
            |claim| self.claims.get(claim).is_some_and(|holder| *holder != commit.entity);
        let is_posted = |key: &String| self.postings.iter().any(|posting| posting.key == *key);
        if commit.events.is_empty() && !commit.effects.is_empty() {
            Fate::Unsound
        } else if commit.postings.iter().map(|posting| posting.amount).sum::<i64>() != 0 {
            Fate::Unposted
        } else if commit.expected.0 != self.version(commit.entity) {
            Fate::Stale
        } else if commit.claims_taken.iter().any(held_by_other) {
            Fate::Taken
        } else if commit.postings.iter().any(|posting| is_posted(&posting.key)) {
            Fate::Unposted
        } else {
            Fate::Written
        }
    }

    fn write(&mut self, commit: Commit) {
        let (key, now, version) = (commit.entity, self.now, commit.version());
        let events = commit.events.into_iter().map(|event| (now, event));
        self.events.entry(key).or_default().extend(events);
        self.snapshots.extend(commit.snapshot.map(|state| (key, (version, state))));
        if let Some(result) = commit.result {
            let is_same = |(of, _, kept): &(_, _, CommandResult)| {
                *of == key && kept.command == result.command
            };
            if !self.results.iter().any(is_same) {
                self.results.push((key, now, result));
            }
        }
        for (bytes, index) in commit.effects.into_iter().zip(0..) {
            self.outbox.push((EffectKey { source: key, version, index }, bytes));
        }
        match commit.deadline {
            None => {}
            Some(None) => drop(self.deadlines.remove(&key)),
            Some(Some(at)) => drop(self.deadlines.insert(key, at)),
        }
        for claim in commit.claims_released {
            if self.claims.get(&claim) == Some(&key) {
                self.claims.remove(&claim);
            }
        }
        self.claims.extend(commit.claims_taken.into_iter().map(|claim| (claim, key)));
        self.postings.extend(commit.postings);
        self.views.extend(commit.view.map(|row| (key, row)));
    }
}

/// Does each step to both, then compares all that can be read.
async fn check(journal: SharedJournal, steps: Vec<Step>) -> Result<(), TestCaseError> {
    let mut model = Model::default();
    for step in steps {
        model.now += 1;
        match step {
            Step::Commits(wishes) => {
                // In flight together, but polled in order, and so queued in order.
                let commits: Vec<_> = wishes.iter().map(|wish| model.commit(wish)).collect();
                let written = commits.iter().cloned().map(|commit| journal.commit(commit));
                let outcomes = futures_util::future::join_all(written).await;
                for (commit, outcome) in commits.into_iter().zip(outcomes) {
                    let wanted = model.judge(&commit);
                    prop_assert_eq!(&fate(&outcome)?, &wanted, "{:?}", commit);
                    if wanted == Fate::Written {
                        model.write(commit);
                    }
                }
            }
            Step::Deliver(n) if n < model.outbox.len() => {
                let (key, _) = model.outbox.remove(n);
                journal.delivered(vec![key]).await.unwrap();
            }
            Step::Deliver(_) => {}
            Step::Forget(before) => {
                let n_before = model.results.len();
                model.results.retain(|(_, at, _)| *at >= before);
                let forgotten = journal.forget_results(Timestamp(before)).await.unwrap();
                let n_rows = (n_before - model.results.len()) as u64;
                let wanted = Forgotten { n_rows, with_events_before: None };
                prop_assert_eq!(forgotten, wanted);
            }
        }
    }
    // Deliveries may be lazy, but not later than a commit.
    let flush = Commit::new(OrderId::nth(999).into(), Version(0), Timestamp(0));
    journal.commit(flush).await.unwrap();
    compare(&journal, &model).await
}

async fn compare(journal: &SharedJournal, model: &Model) -> Result<(), TestCaseError> {
    for key in (0..6).map(entity) {
        let stored = journal.load(key).await.unwrap();
        let events = model.events.get(&key).map_or(&[][..], Vec::as_slice);
        let snapshot = model.snapshots.get(&key);
        let n_seen = snapshot.map_or(0, |(version, _)| version.0 as usize);
        prop_assert_eq!(stored.version().0, events.len() as u64);
        prop_assert_eq!(stored.snapshot.as_ref(), snapshot);
        let tail: Vec<_> = events[n_seen..].iter().map(|(_, event)| event.clone()).collect();
        prop_assert_eq!(stored.tail, tail);

        let results: Vec<_> =
            model.results.iter().filter(|(of, ..)| *of == key).map(|(.., r)| r.clone()).collect();
        let (older, recent) = results.split_at(results.len().saturating_sub(16));
        prop_assert_eq!(stored.results, recent);
        prop_assert_eq!(stored.older_results_max, older.iter().map(|r| r.command).max());
        for command in (0..40).map(CommandId::nth) {
            let kept = results.iter().find(|r| r.command == command).map(|r| r.bytes.clone());
            prop_assert_eq!(journal.result(key, command).await.unwrap(), kept);
        }

        let history = journal.history(key, Version(1), 100).await.unwrap();
        let history: Vec<_> = history.into_iter().map(|r| (r.version.0, r.at.0, r.event)).collect();
        let wanted = events.iter().zip(1..).skip(1).map(|((at, e), n)| (n, *at, e.clone()));
        prop_assert_eq!(history, wanted.take(100).collect::<Vec<_>>());
    }

    let waiting = journal.undelivered(&ShardSet::ALL, None, 10_000).await.unwrap();
    let waiting: Vec<_> = waiting.into_iter().map(|row| (row.key, row.bytes)).collect();
    prop_assert_eq!(&waiting, &model.outbox);

    let mut deadlines: Vec<_> = model.deadlines.iter().map(|(key, at)| (*at, *key)).collect();
    deadlines.sort();
    deadlines.retain(|(at, _)| at.0 < 40);
    prop_assert_eq!(
        journal.deadlines(&ShardSet::ALL, Timestamp(40), None, 100).await.unwrap(),
        deadlines
    );

    for claim in (0..5).map(claim) {
        let holder = model.claims.get(&claim).copied();
        prop_assert_eq!(journal.holder(claim).await.unwrap(), holder);
    }
    for (account, currency) in
        ["rider", "driver"].into_iter().flat_map(|a| CURRENCIES.map(|c| (a, c)))
    {
        let lines =
            model.postings.iter().filter(|p| p.account == account && p.currency == currency);
        let balance: i64 = lines.map(|posting| posting.amount).sum();
        prop_assert_eq!(journal.balance(account.into(), currency).await.unwrap(), balance);
    }
    compare_views(journal, model).await
}

async fn compare_views(journal: &SharedJournal, model: &Model) -> Result<(), TestCaseError> {
    for kind in Kind::iter() {
        for statuses in [vec![], vec![STATUSES[0]], vec![STATUSES[0], STATUSES[2]]] {
            for (rider, driver) in [(false, false), (true, false), (false, true), (true, true)] {
                let mut rows: Vec<_> = model
                    .views
                    .iter()
                    .filter(|(key, row)| {
                        key.kind == kind
                            && (statuses.is_empty() || statuses.contains(&row.status.as_str()))
                            && (!rider || row.rider.is_some())
                            && (!driver || row.driver.is_some())
                    })
                    .map(|(key, row)| (*key, row.clone()))
                    .collect();
                rows.sort_by_key(|(key, row)| Reverse((row.at, key.id)));
                let query = ViewQuery {
                    statuses: statuses.iter().copied().map(str::to_owned).collect(),
                    rider: rider.then(|| RiderId::nth(1)),
                    driver: driver.then(|| DriverId::nth(1)),
                    ..ViewQuery::newest(kind, 2)
                };
                let first = journal.views(query.clone()).await.unwrap();
                prop_assert_eq!(&first[..], &rows[..rows.len().min(2)]);
                if let Some((key, row)) = first.last() {
                    let query = ViewQuery { after: Some((row.at, key.id)), ..query };
                    let second = journal.views(query).await.unwrap();
                    prop_assert_eq!(&second[..], &rows[first.len()..rows.len().min(4)]);
                }
            }
        }
    }
    Ok(())
}

fn on_threads<F: Future>(test: F) -> F::Output {
    let runtime =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    runtime.block_on(test)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn memory_agrees_with_the_model(steps in steps()) {
        on_threads(async {
            let (journal, ()) = super::in_memory().await;
            check(journal, steps).await
        })?;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(24))]

    #[test]
    fn sqlite_agrees_with_the_model(steps in steps()) {
        on_threads(async {
            let (journal, _directory) = super::in_sqlite().await;
            check(journal, steps).await
        })?;
    }
}
