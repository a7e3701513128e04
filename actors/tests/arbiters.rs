//! Every arbiter keeps the arbiters' contract, and journals of members keep the journals'.
#![expect(clippy::unwrap_used, reason = "helpers of tests are not seen as tests")]

use actors::{
    cluster::{
        arbiter::{Arbiter, ArbiterError, NodeCard, Renewal, Standing},
        contract::{Database, Node},
    },
    journal::{Journal, JournalError, SharedJournal, memory::arbiter::MemoryDatabase},
};
use futures_util::future::FutureExt;
use protocol::{OrderId, ShardSet};
use std::{sync::Arc, time::Duration};

fn card(node: &str) -> NodeCard {
    NodeCard {
        node: node.into(),
        address: String::new(),
        zone: String::new(),
        weight: 100,
        version: String::new(),
        writes: 1,
        reads: 1,
    }
}

mod memory {
    use super::*;

    async fn in_memory() -> (Database, ()) {
        let database = MemoryDatabase::new();
        let open = move |_| {
            let (journal, arbiter) = database.open();
            let node = Node { journal: Arc::new(journal), arbiter: Arc::new(arbiter) };
            async move { node }.boxed()
        };
        (Box::new(open), ())
    }

    mod contract {
        actors::arbiter_contract!(super::in_memory);
    }

    /// The journal of the only member, which has all shards.
    async fn as_member() -> (SharedJournal, MemoryDatabase) {
        let database = MemoryDatabase::new();
        let (journal, arbiter) = database.open();
        let me = arbiter.register(card("one")).await.unwrap();
        arbiter.steal(me, ShardSet::ALL).await.unwrap();
        (Arc::new(journal), database)
    }

    mod journal {
        // A cluster that runs restores nothing; all else holds.
        actors::journal_contract! { super::as_member:
            an_entity_nobody_has_heard_of_is_empty
            what_is_committed_is_loaded
            a_stale_commit_writes_nothing
            a_claim_has_one_holder_until_it_is_given_back
            of_100_who_want_one_claim_one_gets_it
            effects_wait_in_order_until_they_are_delivered
            events_are_numbered_in_the_log_of_their_shard
            epochs_say_who_wrote
            the_feed_is_gapless_while_64_write
            commits_wake_whoever_watches
            a_closed_journal_refuses
        }
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_cut_off_hears_nothing_and_is_still_there_when_it_is_healed() {
        let database = MemoryDatabase::new();
        let (journal, arbiter) = database.open();
        let (_, other) = database.open();
        let me = arbiter.register(card("one")).await.unwrap();
        other.register(card("two")).await.unwrap();
        let (mut changes, reachable) = (arbiter.changes(), journal.reachable().unwrap());
        changes.mark_unchanged();

        arbiter.cut();
        tokio::time::advance(Duration::from_secs(60)).await;
        let away = arbiter.renew(me, Standing::Up, true).await;
        assert!(matches!(away, Err(ArbiterError::Away(_))), "{away:?}");
        let away = journal.load(OrderId::nth(1).into()).await;
        assert!(matches!(away, Err(JournalError::Unavailable(_))), "{away:?}");
        assert!(!*reachable.borrow());
        other.pin(protocol::ShardId(1), Some("two".into())).await.unwrap();
        assert!(!changes.has_changed().unwrap());
        let seen = &other.look().await.unwrap().members[&me];
        assert_eq!((seen.has_session, seen.age), (true, Duration::from_secs(60)));

        arbiter.heal();
        assert!(changes.has_changed().unwrap());
        assert_eq!(arbiter.renew(me, Standing::Up, true).await, Ok(Renewal::Alive));
    }

    #[tokio::test]
    async fn of_whoever_is_killed_the_session_is_gone() {
        let database = MemoryDatabase::new();
        let (_, arbiter) = database.open();
        let (_, other) = database.open();
        let me = arbiter.register(card("one")).await.unwrap();
        other.register(card("two")).await.unwrap();
        arbiter.kill();
        assert!(!other.look().await.unwrap().members[&me].has_session);
    }
}
