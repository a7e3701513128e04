//! No statement walks a whole table, or sorts one: SQLite is asked for its plans.

use super::*;
use crate::{Kind, journal::Sort};
use protocol::{DriverId, OrderId, RiderId};
use sqlx::{AssertSqlSafe, SqliteConnection};

async fn database() -> SqliteConnection {
    let mut database = SqliteConnectOptions::new().in_memory(true).connect().await.unwrap();
    schema::migrate(&mut database).await.unwrap();
    database
}

async fn plan(database: &mut SqliteConnection, sql: &str) -> String {
    let sql = AssertSqlSafe(format!("EXPLAIN QUERY PLAN {sql}"));
    let steps: Vec<(i64, i64, i64, String)> =
        sqlx::query_as(sql).fetch_all(database).await.unwrap();
    steps.into_iter().map(|(.., step)| step + "\n").collect()
}

#[tokio::test]
async fn lists_walk_an_index_from_either_end() {
    let mut database = database().await;
    let (rider, driver) = (Some(RiderId::nth(1)), Some(DriverId::nth(1)));
    for statuses in [&[][..], &["a".to_owned()], &["a".to_owned(), "b".to_owned()]] {
        for (rider, driver) in [(None, None), (rider, None), (None, driver)] {
            for after in [None, Some((Timestamp(1), OrderId::nth(1).0))] {
                let statuses = statuses.to_vec();
                let all = ViewQuery::newest(Kind::Order, 10);
                let newest = ViewQuery { statuses, rider, driver, after, ..all };
                let oldest = ViewQuery { sort: Sort::Oldest, ..newest.clone() };
                let (since, until) = (Some(Timestamp(1)), Some(Timestamp(2)));
                let bound = ViewQuery { since, until, ..newest.clone() };
                for query in [newest, oldest, bound] {
                    let plan = plan(&mut database, read::views_query(&query).sql().as_str()).await;
                    assert!(plan.contains("USING INDEX views_by_"), "{query:?}\n{plan}");
                    assert!(!plan.contains("TEMP B-TREE"), "{query:?}\n{plan}");
                }
            }
        }
    }
}

#[tokio::test]
async fn everything_else_is_found_by_its_key() {
    let mut database = database().await;
    let source = OrderId::nth(1).into();
    let effect = EffectKey { source, version: Version(1), index: 0 };
    let deletion = batch::deletion(&[effect, effect]).sql();
    for (sql, index) in [
        (read::LOAD, "USING INDEX events_by_entity (entity=? AND version>?)"),
        (read::LOAD, "USING INDEX results_by_command (entity=?)"),
        (read::DEADLINES, "USING COVERING INDEX entities_by_deadline"),
        (records::FEED, "SEARCH events USING INDEX events_by_shard (shard=? AND seq>? AND seq<?)"),
        (read::KEPT, "SEARCH shelves USING INDEX sqlite_autoindex_shelves_1 (shard=? AND name=?)"),
        (deletion.as_str(), "INDEX outbox_by_effect (source=? AND version=? AND place=?)"),
    ] {
        let plan = plan(&mut database, sql).await;
        assert!(plan.contains(index), "{sql}\n{plan}");
        assert!(!plan.contains("SCAN events") && !plan.contains("SCAN results"), "{sql}\n{plan}");
    }
}
