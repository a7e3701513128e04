//! The Postgres journal keeps every journal's contract, and what only a database with many clients must keep.
#![expect(clippy::unwrap_used, reason = "helpers of tests are not seen as tests")]

use actors::journal::{
    SharedJournal,
    postgres::{PostgresJournal, Settings, testing::TestDatabase},
};
use std::sync::Arc;

async fn in_postgres() -> (SharedJournal, TestDatabase) {
    let database = TestDatabase::start().await;
    let journal = open(&database).await;
    (Arc::new(journal), database)
}

async fn open(database: &TestDatabase) -> PostgresJournal {
    PostgresJournal::open(database.options(), "test", Settings::default()).await.unwrap()
}

mod contract {
    actors::journal_contract!(super::in_postgres);
}
