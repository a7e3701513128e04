//! Cursors as text, and whose turn it is.

use super::*;
use crate::{Commit, Version, commit::EncodedEvent, journal::memory::MemoryJournal};
use futures_util::StreamExt;
use proptest::prelude::*;
use protocol::{OrderId, Timestamp};
use std::{collections::HashMap, pin::pin, sync::Arc};

fn event(shard: u16, seq: u64) -> FeedEvent {
    let event = EncodedEvent { name: "placed".into(), bytes: vec![] };
    let entity = OrderId::nth(1).into();
    let recorded = Recorded { version: Version(1), at: Timestamp(0), event };
    FeedEvent { shard: ShardId(shard), seq, epoch: 1, entity, command: None, recorded }
}

fn cursors() -> impl Strategy<Value = FeedCursor> {
    let number = prop_oneof![3 => Just(0), 3 => 1..1_000_u64, 1 => any::<u64>()];
    (0..SHARDS, 0..SHARDS)
        .prop_flat_map(move |(a, b)| {
            let (first, n) = (a.min(b), a.abs_diff(b) + 1);
            (Just(first), prop::collection::vec(number.clone(), usize::from(n)), 0..n)
        })
        .prop_map(|(first, seen, turn)| FeedCursor { first, seen, turn })
}

proptest! {
    #[test]
    fn a_cursor_survives_being_text(cursor in cursors()) {
        let text = cursor.to_string();
        prop_assert!(text.len() <= FeedCursor::TEXT_MAX);
        prop_assert_eq!(text.parse(), Ok(cursor));
    }

    #[test]
    fn rubbish_is_no_cursor(text in "[A-Za-z0-9_-]{0,40}") {
        let cursor: Result<FeedCursor, _> = text.parse();
        prop_assert!(cursor.is_err() || cursor.unwrap().to_string() == text);
    }

    #[test]
    fn a_page_is_full_and_skips_nothing(
        waiting in prop::collection::vec((0..50_u64, 0..50_u64), 0..20),
        limit in 0..200_usize,
    ) {
        let shards: Vec<_> = (0..)
            .zip(&waiting)
            .map(|(shard, (seen, new))| (ShardId(shard), *seen, seen + new))
            .collect();
        let page = share(shards.clone(), limit);
        let n: u64 = page.iter().map(|(_, first, last)| last + 1 - first).sum();
        let n_waiting: u64 = waiting.iter().map(|(_, new)| new).sum();
        prop_assert_eq!(n, n_waiting.min(limit as u64));
        for (shard, first, last) in page {
            let (_, seen, head) = shards[usize::from(shard.0)];
            prop_assert!(first == seen + 1 && first <= last && last <= head);
        }
    }
}

#[test]
fn the_longest_text_is_not_too_long() {
    let cursor = FeedCursor { first: 0, seen: vec![u64::MAX; 1024], turn: 1023 };
    assert_eq!(cursor.to_string().len(), FeedCursor::TEXT_MAX);
    assert_eq!(cursor.to_string().parse(), Ok(cursor));
    assert!(FeedCursor::start().to_string().len() < 20, "and the first one is short");
}

#[test]
fn a_range_of_shards_must_exist() {
    assert_eq!(FeedCursor::of(0..=SHARDS - 1), Some(FeedCursor::start()));
    assert_eq!(FeedCursor::of(7..=7).unwrap().shards(), 7..=7);
    assert_eq!(FeedCursor::of(0..=SHARDS), None);
    #[expect(clippy::reversed_empty_ranges, reason = "that is what is refused")]
    let reversed = FeedCursor::of(8..=7);
    assert_eq!(reversed, None);
}

#[test]
fn a_cursor_passes_events_of_its_shards_and_never_goes_back() {
    let mut cursor = FeedCursor::of(10..=12).unwrap();
    for (shard, seq) in [(9, 5), (13, 5), (11, 2), (11, 1)] {
        cursor.pass(&event(shard, seq));
    }
    let seen = |shard| cursor.seen(ShardId(shard));
    assert_eq!([9, 10, 11, 12, 13].map(seen), [None, Some(0), Some(2), Some(0), None]);
}

#[test]
fn no_shard_starves_however_small_the_page() {
    let heads = |shard: ShardId| if shard.0 == 2 { 1 } else { 1_000 };
    let mut cursor = FeedCursor::of(0..=3).unwrap();
    let mut pages = Vec::new();
    for _ in 0..4 {
        let waiting = cursor.turns().map(|(shard, seen)| (shard, seen, heads(shard)));
        let page = share(waiting, 1);
        let [(shard, first, _)] = page[..] else { panic!("{page:?}") };
        cursor.pass(&event(shard.0, first));
        pages.push(shard.0);
    }
    assert_eq!(pages, [0, 1, 2, 3]);
}

async fn write(journal: &SharedJournal, n_orders: u64, expected: u64) {
    for n in 0..n_orders {
        let events = vec![EncodedEvent { name: "moved".into(), bytes: vec![] }];
        let entity = OrderId::nth(n).into();
        let commit = Commit { events, ..Commit::new(entity, Version(expected), Timestamp(1)) };
        journal.commit(commit).await.unwrap();
    }
}

/// A consumer that keeps its cursor as text, dies after every few events, sometimes before it
/// noted the last one, and comes back while others write.
#[tokio::test]
async fn a_consumer_that_dies_misses_nothing() {
    const N_ORDERS: u64 = 20;
    const N_ROUNDS: u64 = 10;
    let journal: SharedJournal = Arc::new(MemoryJournal::new());
    let writing = async {
        for round in 0..N_ROUNDS {
            write(&journal, N_ORDERS, round).await;
            tokio::task::yield_now().await;
        }
    };
    let consuming = async {
        let mut kept = FeedCursor::start().to_string();
        let mut seen: Vec<(ShardId, u64)> = Vec::new();
        let mut n_lives = 0;
        while seen.len() < (N_ORDERS * N_ROUNDS) as usize {
            n_lives += 1;
            let mut cursor: FeedCursor = kept.parse().unwrap();
            let mut events = pin!(follow(Arc::clone(&journal), cursor.clone()));
            for n in 0..7 {
                if seen.len() == (N_ORDERS * N_ROUNDS) as usize {
                    break;
                }
                let event = events.next().await.unwrap();
                let is_repeat = seen.contains(&(event.shard, event.seq));
                assert!(!is_repeat || n == 0, "only what was not noted comes again");
                if !is_repeat {
                    seen.push((event.shard, event.seq));
                }
                if n < 6 || n_lives % 2 == 0 {
                    cursor.pass(&event);
                    kept = cursor.to_string();
                }
            }
        }
        seen
    };
    let ((), seen) = futures_util::join!(writing, consuming);
    let mut heads = HashMap::new();
    for (shard, seq) in seen {
        let head = heads.entry(shard).or_insert(0);
        *head += 1;
        assert_eq!(seq, *head, "{shard} in order");
    }
}

#[tokio::test]
async fn a_commit_wakes_whoever_follows() {
    let journal: SharedJournal = Arc::new(MemoryJournal::new());
    let mut events = pin!(follow(Arc::clone(&journal), FeedCursor::start()));
    for n in 0..50 {
        let (event, ()) = futures_util::join!(events.next(), write(&journal, 1, n));
        assert_eq!(event.unwrap().seq, n + 1);
    }
}

#[tokio::test]
async fn a_page_without_patience_may_be_empty() {
    let journal = MemoryJournal::new();
    let events = page(&journal, &FeedCursor::start(), 9, Duration::ZERO).await.unwrap();
    assert_eq!(events, []);
}
