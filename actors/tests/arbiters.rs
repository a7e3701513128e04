//! Every arbiter keeps the arbiters' contract, and journals of members keep the journals'.
#![expect(clippy::unwrap_used, reason = "helpers of tests are not seen as tests")]

use actors::{
    cluster::{
        arbiter::{Arbiter, ArbiterError, NodeCard, Renewal, Standing},
        contract::{Database, Node},
    },
    journal::{
        Journal, JournalError, SharedJournal,
        memory::arbiter::MemoryDatabase,
        postgres::{
            OpenError, PostgresJournal, Settings, arbiter::PostgresArbiter, testing::TestDatabase,
        },
    },
};
use futures_util::future::FutureExt;
use protocol::{OrderId, ShardId, ShardSet};
use sqlx::{ConnectOptions, PgConnection};
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
        secret: String::new(),
    }
}

/// In much less than this, unless it never comes.
async fn soon<T>(what: impl Future<Output = T>) -> Result<T, tokio::time::error::Elapsed> {
    tokio::time::timeout(Duration::from_secs(10), what).await
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
            what_is_kept_takes_the_place_of_what_was_kept_before
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
        other.pin(ShardId(1), Some("two".into())).await.unwrap();
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

mod postgres {
    use super::*;

    async fn in_postgres() -> (Database, TestDatabase) {
        let database = TestDatabase::start().await;
        let options = database.options();
        let open = move |name| {
            let options = options.clone();
            async move {
                let settings = Settings { committers: 1, readers: 1, ..Settings::default() };
                let opened = PostgresJournal::open_member(options, name, settings).await;
                let (journal, arbiter) = opened.unwrap();
                Node { journal: Arc::new(journal), arbiter: Arc::new(arbiter) }
            }
            .boxed()
        };
        (Box::new(open), database)
    }

    mod contract {
        actors::arbiter_contract!(super::in_postgres);
    }

    async fn open(database: &TestDatabase, name: &str) -> (PostgresJournal, PostgresArbiter) {
        let options = database.options();
        PostgresJournal::open_member(options, name, Settings::default()).await.unwrap()
    }

    async fn connect(database: &TestDatabase) -> PgConnection {
        database.options().connect().await.unwrap()
    }

    /// What the sessions that are open on the database are called.
    async fn sessions(connection: &mut PgConnection) -> Vec<String> {
        sqlx::query_scalar(
            "SELECT application_name FROM pg_stat_activity
             WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'",
        )
        .fetch_all(connection)
        .await
        .unwrap()
    }

    /// The journal of the only member, which has all shards.
    async fn as_member() -> (SharedJournal, (TestDatabase, PostgresArbiter)) {
        let database = TestDatabase::start().await;
        let (journal, arbiter) = open(&database, "one").await;
        let me = arbiter.register(card("one")).await.unwrap();
        arbiter.steal(me, ShardSet::ALL).await.unwrap();
        (Arc::new(journal), (database, arbiter))
    }

    mod journal {
        // A cluster that runs restores nothing; all else holds.
        actors::journal_contract! { super::as_member:
            what_is_committed_is_loaded
            of_100_who_want_one_claim_one_gets_it
            epochs_say_who_wrote
            the_feed_is_gapless_while_64_write
            what_is_kept_takes_the_place_of_what_was_kept_before
            a_closed_journal_refuses
        }
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn every_session_says_whose_it_is_and_the_deads_are_ended() {
        let database = TestDatabase::start().await;
        let (journal, arbiter) = open(&database, "one").await;
        let (_other, judge) = open(&database, "two").await;
        let me = arbiter.register(card("one")).await.unwrap();
        judge.register(card("two")).await.unwrap();
        arbiter.renew(me, Standing::Up, true).await.unwrap();
        arbiter.look().await.unwrap();
        journal.load(OrderId::nth(1).into()).await.unwrap();
        let mut connection = connect(&database).await;
        let ours = format!("outrider one {}", me.0);
        let all = sessions(&mut connection).await;
        let n_ours = all.iter().filter(|name| **name == ours).count();
        assert!(n_ours >= 6, "two that write, one that reads, keeps watch, lives, looks: {all:?}");
        assert!(all.iter().all(|name| name.starts_with("outrider ")), "{all:?}");

        // It is cut off: nothing of it comes back to take the places of what is ended.
        drop((journal, arbiter));
        let gone = async {
            while sessions(&mut connection).await.contains(&ours) {
                tokio::task::yield_now().await;
            }
        };
        let mut blocked = connect(&database).await;
        let rename =
            format!("SET application_name = '{ours}'; BEGIN; SELECT FROM heads FOR UPDATE");
        sqlx::raw_sql(sqlx::AssertSqlSafe(rename)).execute(&mut blocked).await.unwrap();
        assert!(judge.declare_dead(me, 1).await.unwrap());
        soon(gone).await.expect("its sessions are ended");
        sqlx::raw_sql("SELECT 1").execute(&mut blocked).await.expect_err("a zombie has no session");
        let judge_is = judge.look().await.unwrap();
        let (two, _) = judge_is.members.first_key_value().unwrap();
        judge.steal(*two, ShardSet::ALL).await.expect("nobody holds their locks");
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn the_next_renewal_opens_a_lost_session_again() {
        let database = TestDatabase::start().await;
        let (_journal, arbiter) = open(&database, "one").await;
        let (_other, judge) = open(&database, "two").await;
        let me = arbiter.register(card("one")).await.unwrap();
        judge.register(card("two")).await.unwrap();
        let has_session = async || judge.look().await.unwrap().members[&me].has_session;
        assert!(has_session().await);
        let mut connection = connect(&database).await;
        let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_locks
            WHERE locktype = 'advisory' AND objsubid = 2 AND objid::int8 = $1
                AND database = (SELECT oid FROM pg_database WHERE datname = current_database())";
        let ended: i64 =
            sqlx::query_scalar(end).bind(me.0 as i64).fetch_one(&mut connection).await.unwrap();
        assert_eq!(ended, 1);
        while has_session().await {
            tokio::task::yield_now().await;
        }
        assert_eq!(arbiter.renew(me, Standing::Up, true).await, Ok(Renewal::Alive));
        assert!(has_session().await);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn whoever_listens_hears_again_after_its_connection_was_lost() {
        let database = TestDatabase::start().await;
        let (_journal, arbiter) = open(&database, "one").await;
        let mut changes = arbiter.changes();
        soon(changes.changed()).await.expect("it listens").unwrap();
        let mut connection = connect(&database).await;
        let end = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity
            WHERE datname = current_database() AND query ILIKE 'listen%'";
        let ended: i64 = sqlx::query_scalar(end).fetch_one(&mut connection).await.unwrap();
        assert_eq!(ended, 1);
        soon(changes.changed()).await.expect("something may have been missed").unwrap();
        let heard = *changes.borrow_and_update();
        arbiter.pin(ShardId(1), Some("one".into())).await.unwrap();
        soon(changes.changed()).await.expect("it listens again").unwrap();
        assert!(*changes.borrow() > heard);
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn a_member_and_a_node_that_is_alone_keep_each_other_out() {
        let database = TestDatabase::start().await;
        let settings = Settings::default();
        let alone = PostgresJournal::open(database.options(), "alone", settings).await.unwrap();
        let refused = PostgresJournal::open_member(database.options(), "one", settings).await;
        assert!(matches!(refused, Err(OpenError::InUseAlone)), "{refused:?}");
        alone.close().await.unwrap();

        let (one, _arbiter) = open(&database, "one").await;
        let (two, _arbiter) = open(&database, "two").await;
        let refused = PostgresJournal::open(database.options(), "alone", settings).await;
        assert!(matches!(refused, Err(OpenError::InUse)), "{refused:?}");
        one.close().await.unwrap();
        let refused = PostgresJournal::open(database.options(), "alone", settings).await;
        assert!(matches!(refused, Err(OpenError::InUse)), "{refused:?}");
        two.close().await.unwrap();
        PostgresJournal::open(database.options(), "alone", settings).await.unwrap();
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn what_a_node_that_was_alone_had_can_be_taken() {
        let database = TestDatabase::start().await;
        let settings = Settings::default();
        let alone = PostgresJournal::open(database.options(), "alone", settings).await.unwrap();
        alone.close().await.unwrap();
        let (_journal, arbiter) = open(&database, "one").await;
        let me = arbiter.register(card("one")).await.unwrap();
        let heads = arbiter.look().await.unwrap().heads;
        assert!(heads.iter().all(|head| head.owner.is_some_and(|owner| owner < me)));
        let taken = arbiter.steal(me, ShardSet::ALL).await.unwrap();
        assert_eq!(taken.len(), heads.len());
        assert!(taken.iter().zip(heads).all(|(taken, before)| taken.epoch > before.epoch));
    }

    #[tokio::test]
    async fn a_name_that_cannot_name_sessions_is_refused() {
        let database = TestDatabase::start().await;
        for name in ["", "two words", "o'clock", &"x".repeat(44)] {
            let settings = Settings::default();
            let refused = PostgresJournal::open_member(database.options(), name, settings).await;
            assert!(matches!(refused, Err(OpenError::NodeName(_))), "{refused:?}");
        }
    }
}
