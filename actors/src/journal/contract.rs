//! What every journal keeps, said as tests. Each case wants an empty journal of its own.
//!
//! [`journal_contract!`](crate::journal_contract) runs all of them, so that a case added here
//! holds for every journal there is.

use super::{
    CommitError, EffectKey, FeedCursor, FeedEvent, Forgotten, List, Part, Record, RestoreError,
    SharedJournal, Shelf, Sort, ViewQuery, memory::MemoryJournal,
};
use crate::{
    Claim, Commit, EntityKey, Kind, Posting, Version, ViewRow,
    commit::{CommandResult, EncodedEvent},
};
use futures_util::future::join_all;
use protocol::{
    CommandId, Currency, DriverId, OrderId, RescueId, RiderId, SHARDS, ShardId, ShardSet, Timestamp,
};
use serde_json::json;
use std::{
    collections::{BTreeSet, HashMap, HashSet},
    sync::Arc,
};

/// Makes one multi-threaded test of each case. `$make` is an async function that returns an empty
/// [`SharedJournal`] and whatever must live as long as it.
#[macro_export]
macro_rules! journal_contract {
    ($make:path) => {
        $crate::journal_contract! { $make:
            an_entity_nobody_has_heard_of_is_empty
            what_is_committed_is_loaded
            a_stale_commit_writes_nothing
            a_commit_without_events_keeps_the_version
            effects_of_no_event_are_unsound
            a_snapshot_replaces_the_events_before_it
            the_newest_results_are_loaded_and_all_can_be_found
            answers_have_one_order_with_events_and_without
            the_first_answer_to_a_command_stays
            results_are_forgotten_by_age
            a_claim_has_one_holder_until_it_is_given_back
            of_100_who_want_one_claim_one_gets_it
            a_refused_claim_writes_nothing
            effects_wait_in_order_until_they_are_delivered
            positions_of_effects_only_grow
            deadlines_come_soonest_first_and_page_by_page
            of_some_shards_only_theirs_are_read
            views_are_filtered_and_paged_newest_first
            views_of_many_statuses_are_merged
            several_lists_are_read_as_each_alone_would_be
            history_is_paged
            postings_sum_to_zero_per_currency
            a_fact_is_posted_once
            floors_hold_for_what_the_whole_commit_leaves
            of_1000_withdrawals_the_affordable_ones_succeed
            accounts_never_overflow
            views_are_listed_oldest_first_and_within_bounds
            events_are_numbered_in_the_log_of_their_shard
            epochs_say_who_wrote
            the_feed_is_gapless_while_64_write
            the_feed_resumes_where_its_cursor_stands
            the_feed_of_some_shards_has_no_others
            commits_wake_whoever_watches
            what_is_dumped_is_restored
            a_restored_journal_goes_on_with_newer_epochs
            answers_that_stood_with_events_are_restored_behind_the_others
            effects_that_stood_with_events_are_restored_behind_the_others
            numbers_that_no_journal_gives_are_refused
            records_are_restored_into_an_empty_journal_only
            records_that_clash_restore_nothing
            concurrent_entities_keep_gapless_versions
            large_commits_fit
            what_is_kept_takes_the_place_of_what_was_kept_before
            what_is_kept_is_no_record
            a_closed_journal_refuses
        }
    };
    ($make:path: $($case:ident)+) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $case() {
            let (journal, _kept) = $make().await;
            $crate::journal::contract::$case(journal).await;
        }
    )+};
}

const READABLE: &str = "the journal is readable";
const WRITABLE: &str = "the journal takes it";

fn order(n: u64) -> EntityKey {
    OrderId::nth(n).into()
}

fn event(name: &str) -> EncodedEvent {
    EncodedEvent { name: name.to_owned(), bytes: name.as_bytes().to_vec() }
}

/// The commit of one event.
fn next(entity: EntityKey, expected: u64) -> Commit {
    let at = Timestamp(1_000 + expected);
    let events = vec![event(&format!("event-{}", expected + 1))];
    Commit { events, ..Commit::new(entity, Version(expected), at) }
}

fn answer(command: CommandId) -> CommandResult {
    CommandResult { command, bytes: command.0.as_bytes().to_vec() }
}

fn view(status: &str, at: u64) -> ViewRow {
    let body = json!({ "at": at, "note": "“quoted” and 🛵" });
    ViewRow { status: status.to_owned(), rider: None, driver: None, at: Timestamp(at), body }
}

fn posting(key: &str, account: &str, amount: i64, currency: Currency) -> Posting {
    Posting { key: key.to_owned(), account: account.to_owned(), amount, currency, floor: None }
}

fn all_views(kind: Kind) -> ViewQuery {
    ViewQuery::newest(kind, 1000)
}

/// A commit that writes to everything a journal has.
fn everything(n: u64) -> Commit {
    let key = format!("fare/{n}");
    Commit {
        snapshot: Some(vec![1, 2, 3]),
        result: Some(answer(CommandId::nth(n))),
        effects: vec![vec![1], vec![2]],
        deadline: Some(Some(Timestamp(5_000))),
        claims_taken: vec![Claim(format!("claim/{n}"))],
        postings: vec![
            posting(&key, "rider", -700, Currency::RWF),
            posting(&key, "driver", 700, Currency::RWF),
        ],
        view: Some(view("searching", 1_000)),
        ..next(order(n), 0)
    }
}

/// Nothing of [`everything`] is there.
async fn assert_untouched(journal: &SharedJournal, n: u64) {
    let entity = order(n);
    let stored = journal.load(entity).await.expect(READABLE);
    assert_eq!(stored.version(), Version(0), "events or a snapshot of {entity}");
    assert_eq!(stored.results, [], "results of {entity}");
    let effects = journal.undelivered(&ShardSet::ALL, None, 1000).await.expect(READABLE);
    assert!(effects.iter().all(|row| row.key.source != entity), "effects of {entity}");
    let deadlines =
        journal.deadlines(&ShardSet::ALL, Timestamp(u64::MAX), None, 1000).await.expect(READABLE);
    assert!(deadlines.iter().all(|(_, key)| *key != entity), "deadline of {entity}");
    let claim = Claim(format!("claim/{n}"));
    assert_eq!(journal.holder(claim).await.expect(READABLE), None, "claim of {entity}");
    let views = journal.views(all_views(Kind::Order)).await.expect(READABLE);
    assert!(views.iter().all(|(key, _)| *key != entity), "view of {entity}");
}

/// Of an entity without a past, nothing is known.
pub async fn an_entity_nobody_has_heard_of_is_empty(journal: SharedJournal) {
    assert_eq!(journal.load(order(1)).await.expect(READABLE), super::Stored::default());
    assert_eq!(journal.result(order(1), CommandId::nth(1)).await.expect(READABLE), None);
    assert_eq!(journal.history(order(1), Version(0), 9).await.expect(READABLE), []);
    assert_untouched(&journal, 1).await;
    let balance = journal.balance("nobody".into(), Currency::EUR).await.expect(READABLE);
    assert_eq!(balance, 0);
}

/// Events come back as they were, in order, and those of one kind and id only.
pub async fn what_is_committed_is_loaded(journal: SharedJournal) {
    let twin = RescueId(OrderId::nth(1).0);
    let mut first = next(order(1), 0);
    first.events = vec![event("placed"), EncodedEvent { name: String::new(), bytes: vec![] }];
    journal.commit(first.clone()).await.expect(WRITABLE);
    journal.commit(next(order(1), 2)).await.expect(WRITABLE);
    journal.commit(next(twin.into(), 0)).await.expect(WRITABLE);

    let stored = journal.load(order(1)).await.expect(READABLE);
    assert_eq!(stored.version(), Version(3));
    assert_eq!(stored.snapshot, None);
    assert_eq!(stored.tail, [first.events, vec![event("event-3")]].concat());
    let twin = journal.load(twin.into()).await.expect(READABLE);
    assert_eq!(twin.tail, [event("event-1")], "the same id of another kind is someone else");
}

/// Who expects another version is told the real one, and leaves no trace.
pub async fn a_stale_commit_writes_nothing(journal: SharedJournal) {
    for expected in [1, 7] {
        let stale = Commit { expected: Version(expected), ..everything(1) };
        let refused = Err(CommitError::Stale { actual: Version(0) });
        assert_eq!(journal.commit(stale).await, refused);
    }
    assert_untouched(&journal, 1).await;
    journal.commit(everything(1)).await.expect("a refused fact can still be posted");
    let refused = Err(CommitError::Stale { actual: Version(1) });
    assert_eq!(journal.commit(next(order(1), 0)).await, refused);
    assert_eq!(journal.load(order(1)).await.expect(READABLE).version(), Version(1));
}

/// The answer to a refused command, a snapshot before sleep: neither is an event.
pub async fn a_commit_without_events_keeps_the_version(journal: SharedJournal) {
    let at = Timestamp(1);
    let refused =
        Commit { result: Some(answer(CommandId::nth(1))), ..Commit::new(order(1), Version(0), at) };
    journal.commit(refused).await.expect(WRITABLE);
    journal.commit(next(order(1), 0)).await.expect("the version is still 0");
    let asleep = Commit { snapshot: Some(vec![9]), ..Commit::new(order(1), Version(1), at) };
    journal.commit(asleep).await.expect(WRITABLE);
    let stored = journal.load(order(1)).await.expect(READABLE);
    assert_eq!(stored.snapshot, Some((Version(1), vec![9])));
    assert_eq!(stored.tail, []);
    assert_eq!(stored.results, [answer(CommandId::nth(1))]);
}

/// An effect is named after the version its events led to, so there must be one.
pub async fn effects_of_no_event_are_unsound(journal: SharedJournal) {
    let unsound = Commit { events: vec![], ..everything(1) };
    let outcome = journal.commit(unsound).await;
    assert!(matches!(outcome, Err(CommitError::Unsound(_))), "{outcome:?}");
    assert_untouched(&journal, 1).await;
}

/// The newest snapshot is loaded with the events after it; the older events stay in history.
pub async fn a_snapshot_replaces_the_events_before_it(journal: SharedJournal) {
    for n in 0..6 {
        let snapshot = (n % 2 == 0).then(|| vec![n as u8]);
        journal.commit(Commit { snapshot, ..next(order(1), n) }).await.expect(WRITABLE);
    }
    let stored = journal.load(order(1)).await.expect(READABLE);
    assert_eq!(stored.snapshot, Some((Version(5), vec![4])));
    assert_eq!(stored.tail, [event("event-6")]);
    assert_eq!(stored.version(), Version(6));
    assert_eq!(journal.history(order(1), Version(0), 100).await.expect(READABLE).len(), 6);
}

/// The newest [`super::RECENT_RESULTS`] by age, not by id: clients mint ids.
pub async fn the_newest_results_are_loaded_and_all_can_be_found(journal: SharedJournal) {
    // The greatest id comes first, so it is the oldest answer.
    let ids: Vec<_> = [900].into_iter().chain(1..=20).map(CommandId::nth).collect();
    for (n, id) in (0..).zip(&ids) {
        let stored = journal.load(order(1)).await.expect(READABLE);
        let older = (n > super::RECENT_RESULTS as u64).then(|| CommandId::nth(900));
        assert_eq!(stored.older_results_max, older, "after {n} answers");
        let commit = Commit { result: Some(answer(*id)), ..next(order(1), n) };
        journal.commit(commit).await.expect(WRITABLE);
    }
    let stored = journal.load(order(1)).await.expect(READABLE);
    let newest: Vec<_> = (5..=20).map(|n| answer(CommandId::nth(n))).collect();
    assert_eq!(stored.results, newest);
    for id in ids {
        let found = journal.result(order(1), id).await.expect(READABLE);
        assert_eq!(found, Some(answer(id).bytes));
        assert_eq!(journal.result(order(2), id).await.expect(READABLE), None);
    }
    assert_eq!(journal.result(order(1), CommandId::nth(21)).await.expect(READABLE), None);
}

/// A commit of some events that answers a command.
fn answering(entity: EntityKey, expected: u64, n_events: u64, result: CommandResult) -> Commit {
    let events = (0..n_events).map(|n| event(&format!("event-{}", expected + n + 1))).collect();
    Commit { events, result: Some(result), ..next(entity, expected) }
}

/// Refusals between what was done, in the order they were given.
pub async fn answers_have_one_order_with_events_and_without(journal: SharedJournal) {
    let mut version = 0;
    for (n, n_events) in (1..).zip([0, 2, 0, 0, 1, 1, 0, 3]) {
        let commit = answering(order(1), version, n_events, answer(CommandId::nth(n)));
        journal.commit(commit).await.expect(WRITABLE);
        version += n_events;
    }
    let commands = (1..=8).map(CommandId::nth);
    let stored = journal.load(order(1)).await.expect(READABLE);
    assert_eq!(stored.results, commands.clone().map(answer).collect::<Vec<_>>());
    assert_eq!(stored.version(), Version(version));
    for command in commands {
        let found = journal.result(order(1), command).await.expect(READABLE);
        assert_eq!(found, Some(answer(command).bytes));
    }
    for n in 0..super::RECENT_RESULTS as u64 {
        let result = answer(CommandId::nth(100 + n));
        let n_events = n % 2;
        journal.commit(answering(order(1), version, n_events, result)).await.expect(WRITABLE);
        version += n_events;
    }
    let stored = journal.load(order(1)).await.expect(READABLE);
    assert_eq!(stored.older_results_max, Some(CommandId::nth(8)));
    assert_eq!(stored.results.len(), super::RECENT_RESULTS);
    assert_eq!(stored.results[0], answer(CommandId::nth(100)));
}

/// A second answer to the same command is not kept, though the rest of its commit is.
pub async fn the_first_answer_to_a_command_stays(journal: SharedJournal) {
    let command = CommandId::nth(1);
    for (entity, n_events) in (1..).map(order).zip([[1, 1], [0, 1], [1, 0], [0, 0]]) {
        let mut version = 0;
        for (n, n_events) in (0..).zip(n_events) {
            let result = CommandResult { command, bytes: vec![n] };
            let commit = answering(entity, version, n_events, result);
            journal.commit(commit).await.expect(WRITABLE);
            version += n_events;
        }
        let stored = journal.load(entity).await.expect(READABLE);
        let first = CommandResult { command, bytes: vec![0] };
        assert_eq!(stored.results, [first], "{n_events:?}");
        assert_eq!(stored.version(), Version(version));
        let found = journal.result(entity, command).await.expect(READABLE);
        assert_eq!(found, Some(vec![0]), "{n_events:?}");
    }
}

/// Those kept before a moment go, at that moment or later they stay.
pub async fn results_are_forgotten_by_age(journal: SharedJournal) {
    for n in 0..30 {
        let result = Some(answer(CommandId::nth(n)));
        journal.commit(Commit { result, ..next(order(1), n) }).await.expect(WRITABLE);
    }
    let forget = |at| journal.forget_results(Timestamp(at));
    assert_eq!(forget(1_000).await.expect(WRITABLE).n_rows, 0);
    let Forgotten { n_rows, with_events_before } = forget(1_020).await.expect(WRITABLE);
    // All stand with events, in a journal that keeps any there.
    let n_wanted = if with_events_before.is_some() { 0 } else { 20 };
    assert_eq!(n_rows, n_wanted);
    assert!(with_events_before.is_none_or(|before| before == Timestamp(1_020)));
    let nothing = Forgotten { n_rows: 0, with_events_before };
    assert_eq!(forget(1_020).await.expect(WRITABLE), nothing);
    assert_eq!(forget(1_000).await.expect(WRITABLE), nothing, "what is forgotten stays so");
    let stored = journal.load(order(1)).await.expect(READABLE);
    assert_eq!(stored.results.len(), 10);
    assert_eq!(stored.older_results_max, None);
    assert_eq!(stored.version(), Version(30), "events stay for ever");
    assert_eq!(journal.result(order(1), CommandId::nth(19)).await.expect(READABLE), None);
    assert!(journal.result(order(1), CommandId::nth(20)).await.expect(READABLE).is_some());
}

/// Taken, refused to others, taken again by its holder, given back, taken by the next.
pub async fn a_claim_has_one_holder_until_it_is_given_back(journal: SharedJournal) {
    let slot = Claim::slot(DriverId::nth(7), 0);
    let take = |n, at| Commit { claims_taken: vec![slot.clone()], ..next(order(n), at) };
    let release = |n, at| Commit { claims_released: vec![slot.clone()], ..next(order(n), at) };
    let holder = || journal.holder(slot.clone());
    let taken = Err(CommitError::ClaimTaken { claim: slot.clone(), holder: order(1) });

    journal.commit(take(1, 0)).await.expect(WRITABLE);
    assert_eq!(holder().await.expect(READABLE), Some(order(1)));
    assert_eq!(journal.commit(take(2, 0)).await, taken);
    journal.commit(take(1, 1)).await.expect("its own claim may be taken again");
    journal.commit(release(2, 0)).await.expect("giving back what one does not hold is nothing");
    assert_eq!(holder().await.expect(READABLE), Some(order(1)));
    journal.commit(release(1, 2)).await.expect(WRITABLE);
    assert_eq!(holder().await.expect(READABLE), None);
    journal.commit(take(2, 1)).await.expect("it is free");
    let swap = Commit { claims_taken: vec![slot.clone()], ..release(2, 2) };
    journal.commit(swap).await.expect("given back first, then taken");
    assert_eq!(holder().await.expect(READABLE), Some(order(2)));
}

/// However many want it at once, in one batch or in many.
pub async fn of_100_who_want_one_claim_one_gets_it(journal: SharedJournal) {
    let slot = Claim::slot(DriverId::nth(7), 0);
    for round in 0..5 {
        let contenders = (0..100).map(|n| {
            let (journal, slot) = (Arc::clone(&journal), slot.clone());
            tokio::spawn(async move {
                let entity = order(round * 100 + n);
                let commit = Commit { claims_taken: vec![slot], ..next(entity, 0) };
                (entity, journal.commit(commit).await)
            })
        });
        let outcomes: Vec<_> = join_all(contenders)
            .await
            .into_iter()
            .map(|outcome| outcome.expect("no contender panics"))
            .collect();
        let winners: Vec<_> =
            outcomes.iter().filter(|(_, outcome)| outcome.is_ok()).map(|(who, _)| *who).collect();
        let [winner] = winners[..] else { panic!("{winners:?} all got it") };
        assert_eq!(journal.holder(slot.clone()).await.expect(READABLE), Some(winner));
        for (loser, outcome) in outcomes.into_iter().filter(|(who, _)| *who != winner) {
            let taken = CommitError::ClaimTaken { claim: slot.clone(), holder: winner };
            assert_eq!(outcome, Err(taken));
            let stored = journal.load(loser).await.expect(READABLE);
            assert_eq!(stored.version(), Version(0));
        }
        let release = Commit { claims_released: vec![slot.clone()], ..next(winner, 1) };
        journal.commit(release).await.expect(WRITABLE);
    }
}

/// One of its claims is taken, so the other is not taken either, and nothing else is written.
pub async fn a_refused_claim_writes_nothing(journal: SharedJournal) {
    let contested = Claim("contested".into());
    let holder = Commit { claims_taken: vec![contested.clone()], ..next(order(2), 0) };
    journal.commit(holder).await.expect(WRITABLE);
    let mut refused = everything(1);
    refused.claims_taken.push(contested.clone());
    let taken = CommitError::ClaimTaken { claim: contested, holder: order(2) };
    assert_eq!(journal.commit(refused).await, Err(taken));
    assert_untouched(&journal, 1).await;
    journal.commit(everything(1)).await.expect("a refused fact can still be posted");
}

/// What a source wants told is told in order, and what is delivered is gone, however often it is said.
pub async fn effects_wait_in_order_until_they_are_delivered(journal: SharedJournal) {
    for n in 0..10 {
        let effects = vec![vec![n as u8, 0], vec![n as u8, 1]];
        journal.commit(Commit { effects, ..next(order(n % 3), n / 3) }).await.expect(WRITABLE);
    }
    let rows = journal.undelivered(&ShardSet::ALL, None, 1000).await.expect(READABLE);
    assert!(rows.is_sorted_by(|a, b| a.position < b.position));
    for source in 0..3 {
        let of_source = rows.iter().filter(|row| row.key.source == order(source));
        let bytes: Vec<_> = of_source.map(|row| row.bytes.clone()).collect();
        let commits = (0..10).filter(|n| u64::from(*n) % 3 == source);
        let wanted: Vec<_> = commits.flat_map(|n: u8| [vec![n, 0], vec![n, 1]]).collect();
        assert_eq!(bytes, wanted);
    }
    let key = EffectKey { source: order(0), version: Version(4), index: 1 };
    let last = rows.iter().find(|row| row.key == key).expect("it waits");
    assert_eq!((last.at, last.bytes.as_slice()), (Timestamp(1_003), &[9, 1][..]));

    let page =
        journal.undelivered(&ShardSet::ALL, Some(rows[4].position), 3).await.expect(READABLE);
    assert_eq!(page, rows[5..8]);

    let unknown = EffectKey { source: order(99), version: Version(1), index: 0 };
    let delivered = vec![rows[0].key, rows[7].key, unknown];
    for _ in 0..2 {
        journal.delivered(delivered.clone()).await.expect(WRITABLE);
    }
    // What was delivered may be written lazily, but before this.
    journal.commit(next(order(50), 0)).await.expect(WRITABLE);
    let left = journal.undelivered(&ShardSet::ALL, None, 1000).await.expect(READABLE);
    assert_eq!(left, [&rows[1..7], &rows[8..]].concat());
}

/// A relay that remembers how far it got misses nothing, though rows before it are deleted.
pub async fn positions_of_effects_only_grow(journal: SharedJournal) {
    let mut last = None;
    for n in 0..5 {
        let commit = Commit { effects: vec![vec![1]], ..next(order(1), n) };
        journal.commit(commit).await.expect(WRITABLE);
        let rows = journal.undelivered(&ShardSet::ALL, last, 10).await.expect(READABLE);
        assert_eq!(rows.len(), 1, "the effect of commit {n} comes after those delivered");
        last = Some(rows[0].position);
        journal.delivered(vec![rows[0].key]).await.expect(WRITABLE);
        journal.commit(next(order(2), n)).await.expect(WRITABLE);
        assert_eq!(journal.undelivered(&ShardSet::ALL, None, 10).await.expect(READABLE), []);
    }
}

/// Set, moved, cleared, left alone; then read in pages, strictly before a moment.
pub async fn deadlines_come_soonest_first_and_page_by_page(journal: SharedJournal) {
    let set = |n, expected, deadline| Commit { deadline, ..next(order(n), expected) };
    for n in 0..10 {
        journal.commit(set(n, 0, Some(Some(Timestamp(100 - n / 2))))).await.expect(WRITABLE);
    }
    journal.commit(set(0, 1, Some(None))).await.expect(WRITABLE);
    journal.commit(set(9, 1, Some(Some(Timestamp(500))))).await.expect(WRITABLE);
    journal.commit(set(8, 1, None)).await.expect("None leaves it as it is");
    journal.commit(set(10, 0, None)).await.expect(WRITABLE);
    journal.commit(set(10, 1, Some(Some(Timestamp(97))))).await.expect("it had none before");

    let mut wanted: Vec<_> = (1..9).map(|n| (Timestamp(100 - n / 2), order(n))).collect();
    wanted.push((Timestamp(97), order(10)));
    wanted.sort();
    let before =
        |until, after, limit| journal.deadlines(&ShardSet::ALL, Timestamp(until), after, limit);
    assert_eq!(before(101, None, 100).await.expect(READABLE), wanted);
    assert_eq!(before(100, None, 100).await.expect(READABLE), wanted[..8]);
    assert_eq!(before(96, None, 100).await.expect(READABLE), []);
    let all = before(u64::MAX, None, 100).await.expect(READABLE);
    assert_eq!(all.last(), Some(&(Timestamp(500), order(9))));

    let mut paged = Vec::new();
    loop {
        let page = before(101, paged.last().copied(), 3).await.expect(READABLE);
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    assert_eq!(paged, wanted);
}

/// What waits is read by whoever owns its shard: of some shards, all of theirs in order, page by
/// page, and nothing else.
pub async fn of_some_shards_only_theirs_are_read(journal: SharedJournal) {
    let entities: Vec<EntityKey> =
        (0..60).map(|n| [order(n), RiderId::nth(n).into()][n as usize % 2]).collect();
    for (n, entity) in (0..).zip(&entities) {
        let (effects, deadline) = (vec![vec![n as u8]], Some(Some(Timestamp(200 - n / 3))));
        journal.commit(Commit { effects, deadline, ..next(*entity, 0) }).await.expect(WRITABLE);
    }
    let shards: BTreeSet<_> = entities.iter().map(|entity| entity.shard()).collect();
    let some: ShardSet = shards.iter().copied().step_by(2).collect();
    let others: ShardSet = shards.into_iter().filter(|it| !some.contains(*it)).collect();
    for (shards, n_per_page) in [(some, 4), (others, 100)] {
        let is_theirs = |entity: &&EntityKey| shards.contains(entity.shard());
        let wanted: Vec<_> = entities.iter().filter(is_theirs).copied().collect();
        assert!((10..50).contains(&wanted.len()), "a part of them");

        let (mut effects, mut after) = (Vec::new(), None);
        loop {
            let page = journal.undelivered(&shards, after, n_per_page).await.expect(READABLE);
            after = page.last().map(|row| row.position);
            effects.extend(page.iter().map(|row| row.key.source));
            if page.len() < n_per_page {
                break;
            }
        }
        effects.sort();
        assert!(effects.iter().eq(&BTreeSet::from_iter(wanted.clone())), "each of them once");

        let mut deadlines: Vec<(Timestamp, EntityKey)> = Vec::new();
        loop {
            let last = deadlines.last().copied();
            let page = journal.deadlines(&shards, Timestamp(195), last, n_per_page).await;
            let page = page.expect(READABLE);
            deadlines.extend(&page);
            if page.len() < n_per_page {
                break;
            }
        }
        let of = |entity: &EntityKey| entities.iter().position(|it| it == entity);
        let due = |entity: &EntityKey| Timestamp(200 - of(entity).expect("ours") as u64 / 3);
        let mut wanted: Vec<_> = wanted.iter().map(|entity| (due(entity), *entity)).collect();
        wanted.retain(|(due, _)| *due < Timestamp(195));
        wanted.sort();
        assert_eq!(deadlines, wanted);
    }
    let none = journal.undelivered(&ShardSet::NONE, None, 100).await.expect(READABLE);
    assert_eq!(none, []);
    let none = journal.deadlines(&ShardSet::NONE, Timestamp(u64::MAX), None, 100).await;
    assert_eq!(none.expect(READABLE), []);
}

/// By kind, status, rider and driver; newest first; a page begins where the last one ended.
pub async fn views_are_filtered_and_paged_newest_first(journal: SharedJournal) {
    let (rider, driver) = (RiderId::nth(1), DriverId::nth(1));
    let mut kept = Vec::new();
    for n in 0..20 {
        // Two share each moment, so that pages must break ties.
        let mut row = view(if n % 3 == 0 { "searching" } else { "done" }, 500 + n / 2);
        row.rider = (n % 2 == 0).then_some(rider);
        row.driver = (n % 5 == 0).then_some(driver);
        let commit = Commit { view: Some(row.clone()), ..next(order(n), 0) };
        journal.commit(commit).await.expect(WRITABLE);
        kept.push((order(n), row));
    }
    let rescue = RescueId::nth(1).into();
    let commit = Commit { view: Some(view("searching", 700)), ..next(rescue, 0) };
    journal.commit(commit).await.expect(WRITABLE);
    // A later commit replaces the row; one without a view leaves it.
    kept[3].1.status = "gone".into();
    let replace = Commit { view: Some(kept[3].1.clone()), ..next(order(3), 1) };
    journal.commit(replace).await.expect(WRITABLE);
    journal.commit(next(order(3), 2)).await.expect(WRITABLE);

    kept.sort_by_key(|(entity, row)| std::cmp::Reverse((row.at, entity.id)));
    let all = all_views(Kind::Order);
    let expect = |wanted: &dyn Fn(&ViewRow) -> bool| -> Vec<_> {
        kept.iter().filter(|(_, row)| wanted(row)).cloned().collect()
    };
    assert_eq!(journal.views(all.clone()).await.expect(READABLE), kept);
    let of_rescues = journal.views(all_views(Kind::Rescue)).await.expect(READABLE);
    assert_eq!(of_rescues, [(rescue, view("searching", 700))]);
    let searching = ViewQuery { statuses: vec!["searching".into()], ..all.clone() };
    let wanted = expect(&|row| row.status == "searching");
    assert_eq!(journal.views(searching).await.expect(READABLE), wanted);
    let of_rider = ViewQuery { rider: Some(rider), ..all.clone() };
    let wanted = expect(&|row| row.rider.is_some());
    assert_eq!(journal.views(of_rider).await.expect(READABLE), wanted);
    let of_both = ViewQuery {
        rider: Some(rider),
        driver: Some(driver),
        statuses: vec!["done".into()],
        ..all.clone()
    };
    let wanted = expect(&|row| row.rider.is_some() && row.driver.is_some() && row.status == "done");
    assert_eq!(journal.views(of_both).await.expect(READABLE), wanted);
    let of_nobody = ViewQuery { rider: Some(RiderId::nth(9)), ..all.clone() };
    assert_eq!(journal.views(of_nobody).await.expect(READABLE), []);

    let mut paged: Vec<(EntityKey, ViewRow)> = Vec::new();
    loop {
        let after = paged.last().map(|(entity, row)| (row.at, entity.id));
        let query = ViewQuery { after, limit: 3, ..all.clone() };
        let page = journal.views(query).await.expect(READABLE);
        if page.is_empty() {
            break;
        }
        paged.extend(page);
    }
    assert_eq!(paged, kept);
}

/// Rows of several statuses come in one order, each once, also when a status is named twice; whether an order comes to rest in them,
/// only passes through, or never comes to them.
pub async fn views_of_many_statuses_are_merged(journal: SharedJournal) {
    let names = ["completed", "searching", "scheduled", "assigned"];
    for n in 0..40 {
        let status = names[n as usize % 4];
        let commit = Commit { view: Some(view(status, 500 + n)), ..next(order(n), 0) };
        journal.commit(commit).await.expect(WRITABLE);
    }
    let of = |statuses: &[&str]| ViewQuery {
        statuses: statuses.iter().map(|it| (*it).to_owned()).collect(),
        ..all_views(Kind::Order)
    };
    let moments = |rows: &List| rows.iter().map(|(_, row)| row.at.0 - 500).collect::<Vec<_>>();
    for (asked, nths) in [
        (&["scheduled", "completed", "scheduled", "unheard-of"][..], [0, 2]),
        (&["assigned", "searching"], [1, 3]),
        (&["completed", "searching"], [0, 1]),
    ] {
        let rows = journal.views(of(asked)).await.expect(READABLE);
        let wanted: Vec<_> = (0..40).rev().filter(|n| nths.contains(&(n % 4))).collect();
        assert_eq!(moments(&rows), wanted, "{asked:?}");
        let after = Some((rows[4].1.at, rows[4].0.id));
        let page = ViewQuery { after, limit: 5, ..of(asked) };
        assert_eq!(journal.views(page).await.expect(READABLE), rows[5..10]);
    }
    // What comes to rest, and what goes on after all, is in one list and no longer in the other.
    for (n, status) in [(1, "completed"), (0, "searching"), (3, "searching")] {
        let commit = Commit { view: Some(view(status, 500 + n)), ..next(order(n), 1) };
        journal.commit(commit).await.expect(WRITABLE);
    }
    let eldest = |status: &'static str| {
        let query = ViewQuery { sort: Sort::Oldest, limit: 3, ..of(&[status]) };
        let journal = &journal;
        async move { journal.views(query).await.expect(READABLE) }
    };
    assert_eq!(moments(&eldest("completed").await), [1, 4, 8]);
    assert_eq!(moments(&eldest("searching").await), [0, 3, 5]);
    assert_eq!(moments(&eldest("assigned").await), [7, 11, 15]);
}

/// Each in its own order and of its own kind, also when it is empty, or asked for twice.
pub async fn several_lists_are_read_as_each_alone_would_be(journal: SharedJournal) {
    for n in 0..12 {
        let status = format!("status-{}", n % 3);
        let commit = Commit { view: Some(view(&status, 500 + n / 2)), ..next(order(n), 0) };
        journal.commit(commit).await.expect(WRITABLE);
        let rescue = RescueId::nth(n).into();
        let commit = Commit { view: Some(view(&status, 600 - n)), ..next(rescue, 0) };
        journal.commit(commit).await.expect(WRITABLE);
    }
    let orders = ViewQuery {
        statuses: vec!["status-2".into(), "status-0".into()],
        since: Some(Timestamp(501)),
        sort: Sort::Oldest,
        ..all_views(Kind::Order)
    };
    let rescues = ViewQuery { limit: 5, ..all_views(Kind::Rescue) };
    let nobody = ViewQuery { statuses: vec!["unheard-of".into()], ..all_views(Kind::Rider) };
    let queries = vec![orders.clone(), nobody, rescues, orders];
    let lists = journal.lists(queries.clone()).await.expect(READABLE);
    assert_eq!(lists.iter().map(Vec::len).collect::<Vec<_>>(), [7, 0, 5, 7]);
    for (query, list) in queries.into_iter().zip(lists) {
        assert_eq!(journal.views(query).await.expect(READABLE), list);
    }
    assert_eq!(journal.lists(Vec::new()).await.expect(READABLE), Vec::<List>::new());
}

/// Every event with its version and moment, whatever snapshots there are.
pub async fn history_is_paged(journal: SharedJournal) {
    for n in 0..7 {
        let commit = Commit { snapshot: Some(vec![n as u8]), ..next(order(1), n) };
        journal.commit(commit).await.expect(WRITABLE);
    }
    let page = journal.history(order(1), Version(2), 3).await.expect(READABLE);
    let seen: Vec<_> = page
        .into_iter()
        .map(|recorded| (recorded.version.0, recorded.at.0, recorded.event.name))
        .collect();
    let wanted = [3, 4, 5].map(|n| (n, 999 + n, format!("event-{n}")));
    assert_eq!(seen, wanted);
    assert_eq!(journal.history(order(1), Version(7), 3).await.expect(READABLE), []);
    assert_eq!(journal.history(order(1), Version(0), 0).await.expect(READABLE), []);
}

/// Money neither appears nor vanishes, in any currency.
pub async fn postings_sum_to_zero_per_currency(journal: SharedJournal) {
    let post = |n, postings| Commit { postings, ..everything(n) };
    let unequal = vec![
        posting("fare/1", "rider", -700, Currency::RWF),
        posting("fare/1", "driver", 600, Currency::RWF),
    ];
    let crossed = vec![
        posting("fare/1", "rider", -700, Currency::RWF),
        posting("fare/1", "driver", 700, Currency::UGX),
    ];
    let huge = vec![
        posting("fare/1", "rider", i64::MAX, Currency::RWF),
        posting("fare/1", "driver", 1, Currency::RWF),
    ];
    for postings in [unequal, crossed, huge] {
        let outcome = journal.commit(post(1, postings)).await;
        assert!(matches!(outcome, Err(CommitError::Postings(_))), "{outcome:?}");
        assert_untouched(&journal, 1).await;
    }
    let fair = vec![
        posting("fare/1", "rider", -700, Currency::RWF),
        posting("fare/1", "driver", 600, Currency::RWF),
        posting("fare/1", "platform", 100, Currency::RWF),
        posting("tip/1", "rider", -5, Currency::USD),
        posting("tip/1", "driver", 5, Currency::USD),
    ];
    journal.commit(post(1, fair)).await.expect(WRITABLE);
    journal.commit(everything(2)).await.expect(WRITABLE);
    for (account, currency, amount) in [
        ("rider", Currency::RWF, -1400),
        ("driver", Currency::RWF, 1300),
        ("platform", Currency::RWF, 100),
        ("driver", Currency::USD, 5),
        ("driver", Currency::EUR, 0),
    ] {
        let balance = journal.balance(account.into(), currency).await.expect(READABLE);
        assert_eq!(balance, amount, "{account} {currency}");
    }
}

/// The key of a fact is used once, whoever posts it, also among many at once.
pub async fn a_fact_is_posted_once(journal: SharedJournal) {
    let tip = |n| {
        let postings = vec![
            posting("tip/order-9", "rider", -50, Currency::RWF),
            posting("tip/order-9", "driver", 50, Currency::RWF),
        ];
        Commit { postings, ..everything(n) }
    };
    let outcomes = join_all((0..100).map(|n| journal.commit(tip(n)))).await;
    assert_eq!(outcomes.iter().filter(|outcome| outcome.is_ok()).count(), 1);
    for (n, outcome) in (0..).zip(outcomes).filter(|(_, outcome)| outcome.is_err()) {
        assert!(matches!(outcome, Err(CommitError::Postings(_))), "{outcome:?}");
        let stored = journal.load(order(n)).await.expect(READABLE);
        assert_eq!(stored.version(), Version(0));
    }
    let balance = journal.balance("driver".into(), Currency::RWF).await.expect(READABLE);
    assert_eq!(balance, 50);
}

/// 64 at once, each committing as fast as it is answered.
pub async fn concurrent_entities_keep_gapless_versions(journal: SharedJournal) {
    const N_ENTITIES: u64 = 64;
    const N_COMMITS: u64 = 40;
    let committing = (0..N_ENTITIES).map(|n| {
        let journal = Arc::clone(&journal);
        tokio::spawn(async move {
            for expected in 0..N_COMMITS {
                let commit = Commit { effects: vec![vec![1]], ..next(order(n), expected) };
                journal.commit(commit).await.expect(WRITABLE);
                let stale = journal.commit(next(order(n), expected)).await;
                assert_eq!(stale, Err(CommitError::Stale { actual: Version(expected + 1) }));
            }
        })
    });
    for done in join_all(committing).await {
        done.expect("no committer panics");
    }
    for n in 0..N_ENTITIES {
        let history = journal.history(order(n), Version(0), 1000).await.expect(READABLE);
        let versions: Vec<_> = history.iter().map(|recorded| recorded.version.0).collect();
        let wanted: Vec<_> = (1..=N_COMMITS).collect();
        assert_eq!(versions, wanted, "{}", order(n));
    }
    let rows = journal.undelivered(&ShardSet::ALL, None, usize::MAX).await.expect(READABLE);
    assert!(rows.is_sorted_by(|a, b| a.position < b.position), "positions grow");
    let keys: HashSet<_> = rows.iter().map(|row| row.key).collect();
    assert_eq!(keys.len() as u64, N_ENTITIES * N_COMMITS);
    for n in 0..N_ENTITIES {
        let versions = rows.iter().filter(|row| row.key.source == order(n));
        assert!(versions.is_sorted_by_key(|row| row.key.version), "effects in order of commits");
    }
}

/// Everything one commit posts to an account counts before its floor is looked at, and a refused
/// commit leaves no trace.
pub async fn floors_hold_for_what_the_whole_commit_leaves(journal: SharedJournal) {
    let line = |key: &str, account: &str, amount, floor| Posting {
        floor,
        ..posting(key, account, amount, Currency::RWF)
    };
    let post = |n, postings| Commit { postings, ..everything(n) };
    let fund = vec![line("in", "wallet", 700, Some(0)), line("in", "bank", -700, None)];
    journal.commit(post(1, fund)).await.expect("a bank may go anywhere");

    let too_much = vec![line("out/1", "wallet", -701, Some(0)), line("out/1", "shop", 701, None)];
    let refused = Err(CommitError::BelowFloor { account: "wallet".into(), balance: 700 });
    assert_eq!(journal.commit(post(2, too_much.clone())).await, refused);
    assert_untouched(&journal, 2).await;
    let split = vec![
        line("out/2", "wallet", -900, Some(0)),
        line("out/2", "wallet", 250, None),
        line("out/2", "shop", 650, None),
    ];
    journal.commit(post(2, split)).await.expect("50 are left in the end");
    let below = vec![line("out/3", "wallet", -1, Some(50)), line("out/3", "shop", 1, None)];
    let refused = Err(CommitError::BelowFloor { account: "wallet".into(), balance: 50 });
    assert_eq!(journal.commit(post(3, below)).await, refused);
    let unbound = vec![line("out/1", "wallet", -80, None), line("out/1", "shop", 80, None)];
    journal.commit(post(3, unbound)).await.expect("a refused fact can still be posted");
    let deeper = vec![line("out/4", "wallet", -1, Some(-31)), line("out/4", "shop", 1, None)];
    journal.commit(post(4, deeper)).await.expect("a floor may be below zero");
    let balance = journal.balance("wallet".into(), Currency::RWF).await.expect(READABLE);
    assert_eq!(balance, -31);
    let other = journal.balance("wallet".into(), Currency::UGX).await.expect(READABLE);
    assert_eq!(other, 0);
}

/// However they are batched: no more is withdrawn than there is, and no less.
pub async fn of_1000_withdrawals_the_affordable_ones_succeed(journal: SharedJournal) {
    const AFFORDABLE: usize = 314;
    const FLOOR: i64 = 20;
    let fund = vec![
        posting("in", "wallet", FLOOR + 7 * AFFORDABLE as i64 + 6, Currency::GHS),
        posting("in", "bank", -FLOOR - 7 * AFFORDABLE as i64 - 6, Currency::GHS),
    ];
    journal.commit(Commit { postings: fund, ..next(order(0), 0) }).await.expect(WRITABLE);
    let withdrawals = (1..=1000).map(|n| {
        let journal = Arc::clone(&journal);
        tokio::spawn(async move {
            let key = format!("out/{n}");
            let from = posting(&key, "wallet", -7, Currency::GHS);
            let from = Posting { floor: Some(FLOOR), ..from };
            let postings = vec![from, posting(&key, "shop", 7, Currency::GHS)];
            journal.commit(Commit { postings, ..next(order(n), 0) }).await
        })
    });
    let mut n_paid = 0;
    for (outcome, n) in join_all(withdrawals).await.into_iter().zip(1..) {
        let outcome = outcome.expect("nobody panics");
        let is_paid = outcome.is_ok();
        n_paid += usize::from(is_paid);
        if let Err(error) = outcome {
            let too_little = matches!(&error, CommitError::BelowFloor { account, balance }
                if account == "wallet" && (FLOOR..FLOOR + 7).contains(balance));
            assert!(too_little, "{error:?}");
        }
        let version = journal.load(order(n)).await.expect(READABLE).version();
        assert_eq!(version, Version(u64::from(is_paid)), "{}", order(n));
    }
    assert_eq!(n_paid, AFFORDABLE);
    for (account, amount) in [("wallet", FLOOR + 6), ("shop", 7 * AFFORDABLE as i64)] {
        let balance = journal.balance(account.into(), Currency::GHS).await.expect(READABLE);
        assert_eq!(balance, amount, "{account}");
    }
}

/// What does not fit an account is refused, whatever its floor.
pub async fn accounts_never_overflow(journal: SharedJournal) {
    let pay = |n: u64, amount| {
        let key = format!("pay/{n}");
        let postings = vec![
            posting(&key, "rich", amount, Currency::USD),
            posting(&key, "poor", -amount, Currency::USD),
        ];
        Commit { postings, ..everything(n) }
    };
    journal.commit(pay(1, i64::MAX)).await.expect(WRITABLE);
    let outcome = journal.commit(pay(2, 1)).await;
    assert!(matches!(outcome, Err(CommitError::Postings(_))), "{outcome:?}");
    assert_untouched(&journal, 2).await;
    journal.commit(pay(3, -i64::MAX)).await.expect(WRITABLE);
    journal.commit(pay(2, 1)).await.expect(WRITABLE);
    let balance = journal.balance("rich".into(), Currency::USD).await.expect(READABLE);
    assert_eq!(balance, 1);
}

/// Either end may come first, pages go both ways, and bounds in time cut both ends.
pub async fn views_are_listed_oldest_first_and_within_bounds(journal: SharedJournal) {
    let mut kept = Vec::new();
    for n in 0..20 {
        // Two share each moment, so that pages must break ties.
        let row = view(if n % 3 == 0 { "searching" } else { "done" }, 500 + n / 2);
        let commit = Commit { view: Some(row.clone()), ..next(order(n), 0) };
        journal.commit(commit).await.expect(WRITABLE);
        kept.push((order(n), row));
    }
    kept.sort_by_key(|(entity, row)| (row.at, entity.id));
    let all = ViewQuery { sort: Sort::Oldest, ..all_views(Kind::Order) };
    assert_eq!(journal.views(all.clone()).await.expect(READABLE), kept);
    let within = ViewQuery {
        since: Some(Timestamp(502)),
        until: Some(Timestamp(506)),
        limit: 3,
        ..all.clone()
    };
    let of = |statuses: &[&str]| -> Vec<_> {
        let is_wanted = |row: &ViewRow| {
            (502..506).contains(&row.at.0)
                && (statuses.is_empty() || statuses.contains(&row.status.as_str()))
        };
        kept.iter().filter(|(_, row)| is_wanted(row)).cloned().collect()
    };
    for statuses in [&[][..], &["done"], &["done", "searching"], &["gone"]] {
        for sort in [Sort::Oldest, Sort::Newest] {
            let names = statuses.iter().map(|status| (*status).to_owned()).collect();
            let query = ViewQuery { statuses: names, sort, ..within.clone() };
            let mut wanted = of(statuses);
            if sort == Sort::Newest {
                wanted.reverse();
            }
            let mut paged: Vec<(EntityKey, ViewRow)> = Vec::new();
            loop {
                let after = paged.last().map(|(entity, row)| (row.at, entity.id));
                let page = ViewQuery { after, ..query.clone() };
                let page = journal.views(page).await.expect(READABLE);
                if page.is_empty() {
                    break;
                }
                paged.extend(page);
            }
            assert_eq!(paged, wanted, "{sort:?} {statuses:?}");
        }
    }
}

/// All events of all shards, read in pages of `limit`, from the beginning.
async fn whole_feed(journal: &SharedJournal, limit: usize) -> Vec<FeedEvent> {
    let mut cursor = FeedCursor::start();
    let mut events = Vec::new();
    loop {
        let page = journal.feed(cursor.clone(), limit).await.expect(READABLE);
        assert!(page.len() <= limit);
        if page.is_empty() {
            return events;
        }
        page.iter().for_each(|event| cursor.pass(event));
        events.extend(page);
    }
}

/// Each event is the next of its shard.
fn assert_gapless(events: &[FeedEvent]) {
    let mut heads = HashMap::new();
    for event in events {
        assert_eq!(event.shard, event.entity.shard());
        let head = heads.entry(event.shard).or_insert(0);
        *head += 1;
        assert_eq!(event.seq, *head, "{}", event.shard);
    }
}

/// From 1, without a gap, in the order of commits; with the command that was answered.
pub async fn events_are_numbered_in_the_log_of_their_shard(journal: SharedJournal) {
    assert_eq!(journal.feed(FeedCursor::start(), 10).await.expect(READABLE), []);
    let (driver, rider) = (DriverId::nth(5).into(), RiderId::nth(6).into());
    let entities = [order(1), order(2), driver, rider, RescueId::nth(1).into()];
    let mut wanted: Vec<(EntityKey, u64, Option<CommandId>)> = Vec::new();
    for n in 0..6 {
        for (entity, i) in entities.into_iter().zip(0..) {
            let result = (n % 2 == 0).then(|| answer(CommandId::nth(n * 10 + i)));
            let command = result.as_ref().map(|result| result.command);
            let events = vec![event("a"), event("b")];
            let commit = Commit { events, result, ..next(entity, n * 2) };
            journal.commit(commit).await.expect(WRITABLE);
            wanted.extend([1, 2].map(|version| (entity, n * 2 + version, command)));
        }
        let refused =
            Commit { result: Some(answer(CommandId::nth(900 + n))), ..next(order(1), n * 2 + 2) };
        journal.commit(Commit { events: vec![], ..refused }).await.expect(WRITABLE);
        journal.commit(everything(1)).await.expect_err("stale");
    }
    for limit in [1, 7, 1000] {
        let events = whole_feed(&journal, limit).await;
        assert_gapless(&events);
        assert_eq!(events.len(), wanted.len());
        for entity in entities {
            let shard = entity.shard();
            let seen: Vec<_> = events
                .iter()
                .filter(|event| event.shard == shard)
                .map(|event| (event.entity, event.recorded.version.0, event.command))
                .collect();
            let wanted: Vec<_> =
                wanted.iter().filter(|(entity, ..)| entity.shard() == shard).copied().collect();
            assert_eq!(seen, wanted, "commit by commit");
        }
    }
    let history = journal.history(driver, Version(0), 100).await.expect(READABLE);
    let events = whole_feed(&journal, 100).await;
    let of_driver = events.into_iter().filter(|event| event.entity == driver);
    assert!(of_driver.map(|event| event.recorded).eq(history), "what history has, the feed has");
}

/// Whoever owns a shard is written down before its first event, and named by each.
pub async fn epochs_say_who_wrote(journal: SharedJournal) {
    for n in 0..10 {
        journal.commit(next(order(n), 0)).await.expect(WRITABLE);
    }
    let events = whole_feed(&journal, 100).await;
    let epochs = dumped(&journal, Part::Epochs, 100).await;
    let heads = dumped(&journal, Part::Heads, 100).await;
    for event in &events {
        let is_writer = |record: &&Record| {
            matches!(record, Record::Epoch { shard, epoch, .. }
            if (*shard, *epoch) == (event.shard, event.epoch))
        };
        let writer = epochs.iter().find(is_writer);
        let Some(Record::Epoch { first_seq, owner, .. }) = writer else {
            panic!("{event:?} was written by nobody: {epochs:?}")
        };
        assert!(*first_seq <= event.seq && !owner.is_empty(), "{writer:?}");
    }
    for head in heads {
        let Record::Head { shard, epoch, seq } = head else { panic!("{head:?}") };
        let of_shard = || events.iter().filter(|event| event.shard == shard);
        assert_eq!(of_shard().count() as u64, seq, "{shard}");
        assert!(of_shard().all(|event| event.epoch <= epoch), "{shard}");
    }
}

/// Whoever reads while others write never sees a gap, a step back or the same again.
pub async fn the_feed_is_gapless_while_64_write(journal: SharedJournal) {
    const N_WRITERS: u64 = 64;
    const N_COMMITS: u64 = 30;
    let writing = (0..N_WRITERS).map(|n| {
        let journal = Arc::clone(&journal);
        tokio::spawn(async move {
            for expected in 0..N_COMMITS {
                // Half of them share one shard.
                let entity = if n % 2 == 0 { order(n) } else { crowded(n) };
                journal.commit(next(entity, expected)).await.expect(WRITABLE);
            }
        })
    });
    let writing = join_all(writing.collect::<Vec<_>>());
    let reading = async {
        let mut cursor = FeedCursor::start();
        let mut events: Vec<FeedEvent> = Vec::new();
        while (events.len() as u64) < N_WRITERS * N_COMMITS {
            let page = journal.feed(cursor.clone(), 50).await.expect(READABLE);
            page.iter().for_each(|event| cursor.pass(event));
            events.extend(page);
            tokio::task::yield_now().await;
        }
        events
    };
    let (written, events) = futures_util::join!(writing, reading);
    written.into_iter().for_each(|done| done.expect("no writer panics"));
    assert_gapless(&events);
    assert_eq!(whole_feed(&journal, 1000).await.len(), events.len(), "and nothing comes later");
}

/// Orders that all live in one shard.
fn crowded(n: u64) -> EntityKey {
    OrderId::created_by(RiderId::nth(1).0, CommandId::nth(n), ShardId(7)).into()
}

/// A cursor that was text meanwhile goes on with the next event, and the end is not an end.
pub async fn the_feed_resumes_where_its_cursor_stands(journal: SharedJournal) {
    for n in 0..25 {
        journal.commit(next(order(n % 5), n / 5)).await.expect(WRITABLE);
    }
    let mut events: Vec<FeedEvent> = Vec::new();
    let mut text = FeedCursor::start().to_string();
    for n in 0..40 {
        let mut cursor: FeedCursor = text.parse().expect("it was a cursor");
        let page = journal.feed(cursor.clone(), 2).await.expect(READABLE);
        let again = journal.feed(cursor.clone(), 2).await.expect(READABLE);
        assert_eq!(page, again, "who forgets to pass sees the same again");
        page.iter().for_each(|event| cursor.pass(event));
        events.extend(page);
        text = cursor.to_string();
        if n == 20 {
            assert_eq!(events.len(), 25);
            for n in 0..10 {
                journal.commit(next(order(n % 5), 5 + n / 5)).await.expect(WRITABLE);
            }
        }
    }
    assert_eq!(events.len(), 35);
    assert_gapless(&events);
}

/// Two consumers can share the shards between them.
pub async fn the_feed_of_some_shards_has_no_others(journal: SharedJournal) {
    for n in 0..50 {
        journal.commit(next(DriverId::nth(n).into(), 0)).await.expect(WRITABLE);
    }
    let mut entities = HashSet::new();
    for shards in [0..=499, 500..=SHARDS - 1] {
        let cursor = FeedCursor::of(shards.clone()).expect("there are such shards");
        for event in journal.feed(cursor, 1000).await.expect(READABLE) {
            assert!(shards.contains(&event.shard.0), "{} is none of {shards:?}", event.shard);
            entities.insert(event.entity);
        }
    }
    assert_eq!(entities.len(), 50);
}

/// A journal that tells whoever watches does so only once the events can be read.
pub async fn commits_wake_whoever_watches(journal: SharedJournal) {
    let mut watch = journal.watch();
    if watch.has_changed().is_err() {
        return; // It tells nobody, so they ask now and then.
    }
    for n in 0..20 {
        watch.mark_unchanged();
        let (woken, written) =
            futures_util::join!(watch.changed(), journal.commit(next(order(1), n)));
        written.expect(WRITABLE);
        woken.expect("the journal lives");
        assert_eq!(whole_feed(&journal, 100).await.len() as u64, n + 1);
    }
}

/// All records of one part, read in pages of `limit`.
async fn dumped(journal: &SharedJournal, part: Part, limit: usize) -> Vec<Record> {
    let mut records: Vec<Record> = Vec::new();
    loop {
        let after = records.last().cloned();
        let page = journal.dump(part, after, limit).await.expect(READABLE);
        assert!(page.len() <= limit && page.iter().all(|record| record.part() == part));
        if page.is_empty() {
            assert!(records.is_sorted_by(|a, b| a.key() < b.key()), "{part} is in order");
            return records;
        }
        records.extend(page);
    }
}

async fn all_records(journal: &SharedJournal, limit: usize) -> Vec<Record> {
    let mut records = Vec::new();
    for part in Part::ALL {
        records.extend(dumped(journal, *part, limit).await);
    }
    records
}

/// A journal with something in every part, some of it gone again.
async fn fill(journal: &SharedJournal) {
    for n in 0..12 {
        journal.commit(everything(n)).await.expect(WRITABLE);
        let result = Some(answer(CommandId::nth(100 + n)));
        let deadline = (n % 3 == 0).then_some(None);
        let claims_released = Vec::from_iter((n % 4 == 0).then(|| Claim(format!("claim/{n}"))));
        let more = Commit { result, deadline, claims_released, ..next(order(n), 1) };
        journal.commit(more).await.expect(WRITABLE);
    }
    let floored = Posting { floor: Some(-9_000), ..posting("tip", "rider", -3, Currency::RWF) };
    let postings = vec![floored, posting("tip", "driver", 3, Currency::RWF)];
    journal.commit(Commit { postings, ..next(order(0), 2) }).await.expect(WRITABLE);
    let only_answers = Commit { events: vec![], ..next(DriverId::nth(1).into(), 0) };
    let result = Some(answer(CommandId::nth(500)));
    journal.commit(Commit { result, ..only_answers }).await.expect(WRITABLE);
    let rows = journal.undelivered(&ShardSet::ALL, None, 5).await.expect(READABLE);
    journal.delivered(rows.into_iter().map(|row| row.key).collect()).await.expect(WRITABLE);
    journal.commit(next(order(1), 2)).await.expect(WRITABLE);
    journal.forget_results(Timestamp(1_001)).await.expect(WRITABLE);
}

/// What [`fill`] leaves, as records, from a journal in memory.
async fn records() -> Vec<Record> {
    let full: SharedJournal = Arc::new(MemoryJournal::new());
    fill(&full).await;
    all_records(&full, 1000).await
}

/// In pages of any size, from memory and back: every question gets the same answer.
pub async fn what_is_dumped_is_restored(journal: SharedJournal) {
    let full: SharedJournal = Arc::new(MemoryJournal::new());
    fill(&full).await;
    let wanted = all_records(&full, 1000).await;
    for part in Part::ALL {
        assert!(wanted.iter().any(|record| record.part() == *part), "{part} has something");
    }
    // Also as text, as files have it, and so that pages end within facts.
    for page in wanted.chunks(7) {
        let lines = page.iter().map(|it| serde_json::to_string(it).expect("records are JSON"));
        let page = lines.map(|line| serde_json::from_str(&line).expect("JSON is records"));
        journal.restore(page.collect()).await.expect("an empty journal takes records");
    }
    assert_eq!(all_records(&journal, 1000).await, wanted);
    assert_eq!(all_records(&journal, 3).await, wanted);

    for n in 0..12 {
        let (now, before) = futures_util::join!(journal.load(order(n)), full.load(order(n)));
        assert_eq!(now.expect(READABLE), before.expect(READABLE));
    }
    let (now, before) = futures_util::join!(
        journal.undelivered(&ShardSet::ALL, None, 1000),
        full.undelivered(&ShardSet::ALL, None, 1000)
    );
    assert_eq!(now.expect(READABLE), before.expect(READABLE));
    let late = Timestamp(u64::MAX);
    let (now, before) = futures_util::join!(
        journal.deadlines(&ShardSet::ALL, late, None, 99),
        full.deadlines(&ShardSet::ALL, late, None, 99)
    );
    assert_eq!(now.expect(READABLE), before.expect(READABLE));
    assert_eq!(whole_feed(&journal, 9).await, whole_feed(&full, 9).await);
    let balance = journal.balance("rider".into(), Currency::RWF).await.expect(READABLE);
    assert_eq!(balance, 12 * -700 - 3);
}

/// Versions, numbers, claims and facts are what they were; what follows is a later ownership.
pub async fn a_restored_journal_goes_on_with_newer_epochs(journal: SharedJournal) {
    let mut records = records().await;
    let newest = 7;
    for record in &mut records {
        if let Record::Epoch { epoch, .. }
        | Record::Head { epoch, .. }
        | Record::Event { epoch, .. } = record
        {
            *epoch = newest;
        }
    }
    journal.restore(records).await.expect("an empty journal takes records");
    let n_before = whole_feed(&journal, 100).await.len();
    let stale = Err(CommitError::Stale { actual: Version(3) });
    assert_eq!(journal.commit(next(order(1), 2)).await, stale);
    let postings = everything(2).postings;
    let outcome = journal.commit(Commit { postings, ..next(order(1), 3) }).await;
    assert!(matches!(outcome, Err(CommitError::Postings(_))), "{outcome:?}");
    let claims_taken = vec![Claim("claim/2".into())];
    let outcome = journal.commit(Commit { claims_taken, ..next(order(1), 3) }).await;
    assert!(matches!(outcome, Err(CommitError::ClaimTaken { .. })), "{outcome:?}");

    let effects = vec![vec![9]];
    journal.commit(Commit { effects, ..next(order(1), 3) }).await.expect(WRITABLE);
    let events = whole_feed(&journal, 100).await;
    assert_gapless(&events);
    assert_eq!(events.len(), n_before + 1);
    let is_new = |event: &&FeedEvent| event.entity == order(1) && event.recorded.version.0 == 4;
    let new = events.iter().find(is_new).expect("it was committed");
    assert!(new.epoch > newest, "{new:?}");
    let rows = journal.undelivered(&ShardSet::ALL, None, 1000).await.expect(READABLE);
    assert_eq!(rows.last().map(|row| row.bytes.clone()), Some(vec![9]), "it is the newest");
}

/// Wherever they stood, they come in the order they are given in, and new ones after them.
pub async fn answers_that_stood_with_events_are_restored_behind_the_others(journal: SharedJournal) {
    let mut records = records().await;
    let is_answer = |record: &&Record| record.part() == Part::Results;
    let commands = |records: &[Record]| -> Vec<_> {
        let answers = records.iter().filter_map(|record| {
            let Record::Result { position, command, .. } = record else { return None };
            Some((*position, *command))
        });
        answers.collect()
    };
    let n_answers = records.iter().filter(is_answer).count();
    let wanted = commands(&records);
    let mut n_seen = 0;
    for record in &mut records {
        let Record::Result { position, .. } = record else { continue };
        n_seen += 1;
        if n_seen > n_answers / 3 {
            *position += super::record::WITH_EVENTS;
        }
    }
    for page in records.chunks(7) {
        journal.restore(page.to_vec()).await.expect("an empty journal takes records");
    }
    let found = commands(&dumped(&journal, Part::Results, 3).await);
    let only_commands = |answers: &[(u64, CommandId)]| -> Vec<_> {
        answers.iter().map(|(_, command)| *command).collect()
    };
    assert_eq!(only_commands(&found), only_commands(&wanted));
    let is_own = |(position, _): &(u64, CommandId)| *position < super::record::WITH_EVENTS;
    assert!(found.iter().all(is_own), "{found:?}");

    let before = journal.load(order(2)).await.expect(READABLE);
    let (version, newest) = (before.version().0, answer(CommandId::nth(700)));
    for n_events in [0, 1] {
        let result = answer(CommandId::nth(700 + n_events));
        let commit = answering(order(2), version, n_events, result);
        journal.commit(commit).await.expect(WRITABLE);
    }
    let results = journal.load(order(2)).await.expect(READABLE).results;
    let wanted = [before.results, vec![newest, answer(CommandId::nth(701))]].concat();
    assert_eq!(results, wanted);
}

/// The same of effects. Each journal may give them places of its own.
pub async fn effects_that_stood_with_events_are_restored_behind_the_others(journal: SharedJournal) {
    let mut records = records().await;
    let effects = records.iter().filter_map(|record| {
        let Record::Effect { source, version, index, .. } = record else { return None };
        Some(EffectKey { source: *source, version: *version, index: *index })
    });
    let mut wanted: Vec<_> = effects.collect();
    let effects = records.iter_mut().filter(|it| it.part() == Part::Effects);
    for record in effects.skip(wanted.len() / 3) {
        if let Record::Effect { position, .. } = record {
            *position += super::record::WITH_EVENTS;
        }
    }
    for page in records.chunks(7) {
        journal.restore(page.to_vec()).await.expect("an empty journal takes records");
    }
    let effects = vec![vec![9]];
    journal.commit(Commit { effects, ..next(order(1), 3) }).await.expect(WRITABLE);
    wanted.push(EffectKey { source: order(1), version: Version(4), index: 0 });
    let rows = journal.undelivered(&ShardSet::ALL, None, 1000).await.expect(READABLE);
    assert!(rows.is_sorted_by(|a, b| a.position < b.position), "{rows:?}");
    assert_eq!(rows.into_iter().map(|row| row.key).collect::<Vec<_>>(), wanted);
}

/// They would be taken for others, or for less than nothing.
pub async fn numbers_that_no_journal_gives_are_refused(journal: SharedJournal) {
    let records = records().await;
    let numbered = |part: Part, number: u64| {
        let mut record = records.iter().find(|it| it.part() == part).cloned()?;
        match &mut record {
            Record::Epoch { epoch: it, .. }
            | Record::Head { seq: it, .. }
            | Record::Event { seq: it, .. }
            | Record::Entity { version: Version(it), .. }
            | Record::Snapshot { version: Version(it), .. }
            | Record::Result { position: it, .. }
            | Record::Effect { position: it, .. }
            | Record::Posting { version: Version(it), .. } => *it = number,
            Record::Claim { .. } | Record::View { .. } => return None,
        }
        Some(record)
    };
    for part in Part::ALL {
        for number in [1 << 61, (1 << 62) - 1, 1 << 62, 1 << 63, u64::MAX] {
            let may_be_with_events = matches!(part, Part::Results | Part::Effects);
            let Some(record) = numbered(*part, number) else { continue };
            if may_be_with_events && number == 1 << 62 {
                continue;
            }
            let outcome = journal.restore(vec![record]).await;
            let Err(RestoreError::OutOfRange { part: of, number: found }) = outcome else {
                panic!("{part} {number}: {outcome:?}")
            };
            assert_eq!((of, found), (*part, number));
        }
    }
    assert_eq!(all_records(&journal, 100).await, []);
    journal.restore(records).await.expect("it is still empty");
}

/// Records never mix with what was committed.
pub async fn records_are_restored_into_an_empty_journal_only(journal: SharedJournal) {
    let records = records().await;
    let (first, rest) = records.split_at(10);
    journal.restore(first.to_vec()).await.expect("an empty journal takes records");
    journal.restore(rest.to_vec()).await.expect("and more of them");
    journal.commit(next(order(99), 0)).await.expect(WRITABLE);
    let before = all_records(&journal, 100).await;
    let more = vec![Record::Claim { claim: Claim("more".into()), holder: order(1) }];
    let outcome = journal.restore(more).await;
    assert!(matches!(outcome, Err(RestoreError::NotEmpty)), "{outcome:?}");
    assert_eq!(all_records(&journal, 100).await, before);
}

/// The same number twice: none of the call's records are written.
pub async fn records_that_clash_restore_nothing(journal: SharedJournal) {
    let records = records().await;
    let is_event = |record: &&Record| record.part() == Part::Events;
    let event = records.iter().find(is_event).cloned().expect("there are events");
    let twice = vec![event.clone(), event];
    let outcome = journal.restore(twice).await;
    assert!(matches!(outcome, Err(RestoreError::Clash(_))), "{outcome:?}");
    assert_eq!(all_records(&journal, 100).await, []);
    journal.restore(records).await.expect("it is still empty");
}

/// A thousand of each, and a megabyte of state.
pub async fn large_commits_fit(journal: SharedJournal) {
    const N: u64 = 1000;
    let posting = |n: u64, amount| posting("bulk", &format!("account/{n}"), amount, Currency::EUR);
    let commit = Commit {
        events: (0..N).map(|n| event(&format!("event-{n}"))).collect(),
        effects: (0..N).map(|n| n.to_be_bytes().to_vec()).collect(),
        claims_taken: (0..N).map(|n| Claim(format!("claim/{n}"))).collect(),
        postings: (0..N).map(|n| posting(n, if n % 2 == 0 { 1 } else { -1 })).collect(),
        snapshot: Some(vec![7; 1 << 20]),
        ..next(order(1), 0)
    };
    journal.commit(commit.clone()).await.expect(WRITABLE);
    let history = journal.history(order(1), Version(0), usize::MAX).await.expect(READABLE);
    assert!(history.into_iter().map(|recorded| recorded.event).eq(commit.events));
    let rows = journal.undelivered(&ShardSet::ALL, None, usize::MAX).await.expect(READABLE);
    assert!(rows.into_iter().map(|row| row.bytes).eq(commit.effects));
    let stored = journal.load(order(1)).await.expect(READABLE);
    assert_eq!(stored.snapshot, Some((Version(N), vec![7; 1 << 20])));
    let claims = commit.claims_taken.clone();
    let release = Commit { claims_released: commit.claims_taken, ..next(order(1), N) };
    journal.commit(release).await.expect(WRITABLE);
    for claim in [&claims[0], &claims[999]] {
        assert_eq!(journal.holder(claim.clone()).await.expect(READABLE), None);
    }
    let balance = journal.balance("account/999".into(), Currency::EUR).await.expect(READABLE);
    assert_eq!(balance, -1);
}

fn shelf(shard: u16, name: &str) -> Shelf {
    Shelf { shard: ShardId(shard), name: name.to_owned() }
}

/// Of each shelf the last thing stays, however large.
pub async fn what_is_kept_takes_the_place_of_what_was_kept_before(journal: SharedJournal) {
    let kept = async |shard, name| journal.kept(shelf(shard, name)).await.expect(READABLE);
    let keep = async |shard, name, bytes: &[u8]| {
        journal.keep(shelf(shard, name), bytes.to_vec()).await.expect(WRITABLE);
    };
    assert_eq!(kept(7, "a").await, None);
    keep(7, "a", b"first").await;
    keep(7, "a", b"second").await;
    keep(7, "b", b"").await;
    keep(1_023, "a", b"elsewhere").await;
    assert_eq!(kept(7, "a").await.as_deref(), Some(&b"second"[..]));
    assert_eq!(kept(7, "b").await.as_deref(), Some(&b""[..]));
    assert_eq!(kept(1_023, "a").await.as_deref(), Some(&b"elsewhere"[..]));
    assert_eq!(kept(8, "a").await, None);
    let large: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
    keep(7, "a", &large).await;
    assert_eq!(kept(7, "a").await, Some(large));
}

/// It could be learned again: nobody exports it, and no commit or check knows of it.
pub async fn what_is_kept_is_no_record(journal: SharedJournal) {
    let shelf = shelf(order(1).shard().0, "a");
    journal.keep(shelf.clone(), vec![1]).await.expect(WRITABLE);
    for part in Part::ALL {
        assert_eq!(journal.dump(*part, None, 10).await.expect(READABLE), [], "{part}");
    }
    journal.commit(next(order(1), 0)).await.expect(WRITABLE);
    journal.keep(shelf.clone(), vec![2]).await.expect(WRITABLE);
    let report = super::check::check(&*journal, [], Timestamp(0)).await.expect(READABLE);
    assert_eq!(report.violations, []);
    assert_eq!(journal.kept(shelf).await.expect(READABLE), Some(vec![2]));
}

/// After it is closed, it says that it is unavailable rather than pretend.
pub async fn a_closed_journal_refuses(journal: SharedJournal) {
    journal.commit(next(order(1), 0)).await.expect(WRITABLE);
    journal.close().await.expect("it closes");
    journal.close().await.expect("closing again changes nothing");
    let outcome = journal.commit(next(order(1), 1)).await;
    assert!(matches!(outcome, Err(CommitError::Unavailable(_))), "{outcome:?}");
    assert!(journal.keep(shelf(7, "a"), vec![1]).await.is_err());
    assert!(journal.load(order(1)).await.is_err());
}
