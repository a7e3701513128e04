//! Tests of a Postgres of one's own.

use super::*;
use crate::journal::postgres::testing::TestDatabase;

async fn is_up(options: PgConnectOptions) -> bool {
    options.connect().await.is_ok()
}

#[tokio::test]
async fn a_server_in_use_is_left_alone_by_who_comes_second() {
    let database = TestDatabase::start_own().await;
    let first = database.server().expect("its own");
    let second = PrivatePostgres::start(&first.directory).await;
    assert!(matches!(second, Err(PrivateError::InUse(_))), "{second:?}");
    assert!(is_up(first.options()).await);
    assert!(is_up(PrivatePostgres::options_in(&first.directory)).await);
}

#[tokio::test]
async fn a_server_whose_owner_was_killed_is_waited_for() {
    let database = TestDatabase::start_own().await;
    let first = database.server().expect("its own");
    // As it is for as long as the server of a dead process takes to stop: nobody locks, it runs.
    first.lock.unlock().expect("locked by us");
    let pid = first.pid().expect("it runs");
    let second = PrivatePostgres::start(&first.directory);
    let stop = async {
        // By now the second has the directory to itself: it locks it before it waits for anything.
        assert!(first.lock.try_lock().is_err());
        // Not by pg_ctl, which waits for whatever server is there, also for the second.
        Command::new("kill").args(["-INT", &pid.to_string()]).status().expect("kill runs");
    };
    let (second, ()) = tokio::join!(second, stop);
    let second = second.expect("the directory is free");
    assert_ne!(second.pid(), Some(pid));
    assert!(is_up(second.options()).await);
}

#[tokio::test]
async fn an_interrupt_at_the_terminal_does_not_reach_the_server() {
    let database = TestDatabase::start_own().await;
    let server = database.server().expect("its own");
    let stat = |pid: &str| fs::read_to_string(format!("/proc/{pid}/stat")).expect("it runs");
    // What comes after the name in parentheses: state, parent, process group.
    let group = |pid: &str| {
        let stat = stat(pid);
        let (_, fields) = stat.rsplit_once(')').expect("a name");
        fields.split_whitespace().nth(2).expect("a group").to_owned()
    };
    let pid = server.pid().expect("it runs").to_string();
    assert_ne!(group(&pid), group("self"));
}
