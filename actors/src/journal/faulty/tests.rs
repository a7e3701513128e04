//! What each fault leaves behind.

use super::*;
use crate::{commit::EncodedEvent, journal::memory::MemoryJournal};
use protocol::OrderId;

fn faulty(odds: Odds) -> FaultyJournal {
    FaultyJournal::new(Arc::new(MemoryJournal::new()), odds)
}

fn next(n: u64, expected: u64) -> Commit {
    let events = vec![EncodedEvent { name: "placed".into(), bytes: vec![1] }];
    Commit { events, ..Commit::new(OrderId::nth(n).into(), Version(expected), Timestamp(expected)) }
}

async fn version(journal: &FaultyJournal, n: u64) -> u64 {
    journal.load(OrderId::nth(n).into()).await.unwrap().version().0
}

#[tokio::test]
async fn each_ordered_fault_happens_once_in_order_and_is_counted() {
    let journal = faulty(Odds::default());
    let slow = Fault::Slow(Duration::from_millis(1));
    for fault in [Fault::Fenced, Fault::BelowFloor, Fault::Unavailable, Fault::LostBefore] {
        journal.fail_next_commit(fault);
    }
    for fault in [Fault::Stale, Fault::LostAfter, slow] {
        journal.fail_next_commit(fault);
    }
    let unknown = || Err(CommitError::Unknown("injected".into()));
    let unavailable = Err(CommitError::Unavailable("injected".into()));
    let shard = OrderId::nth(1).shard();
    assert_eq!(journal.commit(next(1, 0)).await, Err(CommitError::Fenced { shard }));
    let broke = Err(CommitError::BelowFloor { account: "injected".into(), balance: 0 });
    assert_eq!(journal.commit(next(1, 0)).await, broke);
    assert_eq!(journal.commit(next(1, 0)).await, unavailable);
    assert_eq!(journal.commit(next(1, 0)).await, unknown());
    assert_eq!(journal.commit(next(1, 0)).await, Err(CommitError::Stale { actual: Version(1) }));
    assert_eq!(version(&journal, 1).await, 0);
    assert_eq!(journal.commit(next(1, 0)).await, unknown());
    assert_eq!(version(&journal, 1).await, 1);
    assert_eq!(journal.commit(next(1, 1)).await, Ok(()));
    assert_eq!(journal.commit(next(1, 2)).await, Ok(()));
    let injected = Injected {
        unavailable: 1,
        lost_before: 1,
        lost_after: 1,
        stale: 1,
        fenced: 1,
        below_floor: 1,
        slow: 1,
        loads: 0,
    };
    assert_eq!(journal.injected(), injected);
}

#[tokio::test]
async fn loads_fail_as_often_as_ordered() {
    let journal = faulty(Odds::default());
    journal.fail_next_loads(2);
    let entity = OrderId::nth(1).into();
    assert!(journal.load(entity).await.is_err());
    assert!(journal.load(entity).await.is_err());
    assert!(journal.load(entity).await.is_ok());
    assert_eq!(journal.injected().loads, 2);
}

#[tokio::test]
async fn the_same_seed_draws_the_same_faults_in_any_order() {
    let odds = Odds { seed: 7, unavailable: 0.3, lost_before: 0.3, ..Odds::default() };
    let mut runs = Vec::new();
    for order in [[1, 2, 3], [3, 1, 2]] {
        let journal = faulty(odds);
        let mut outcomes = HashMap::new();
        for n in order {
            for attempt in 0..100 {
                outcomes.insert((n, attempt), journal.commit(next(n, 9)).await);
            }
        }
        runs.push((outcomes, journal.injected()));
    }
    assert_eq!(runs[0], runs[1]);
    let Injected { unavailable, lost_before, .. } = runs[0].1;
    assert!(unavailable > 50 && lost_before > 50, "{unavailable} {lost_before}");
}
