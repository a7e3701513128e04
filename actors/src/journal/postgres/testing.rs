//! An empty database for one test.

use super::private::{PrivateError, PrivatePostgres};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, postgres::PgConnectOptions};
use std::{env, fs, path::PathBuf, process};
use uuid::Uuid;

/// Names a server whose databases tests may make, so that not every test starts its own.
const SERVER: &str = "OUTRIDER_TEST_POSTGRES";

/// A database, and the server if it is the test's own. Goes when it is dropped.
#[derive(Debug)]
pub struct TestDatabase {
    options: PgConnectOptions,
    own: Option<(PrivatePostgres, Directory)>,
}

#[derive(Debug)]
struct Directory(PathBuf);

impl Drop for Directory {
    fn drop(&mut self) {
        fs::remove_dir_all(&self.0).ok();
    }
}

impl TestDatabase {
    /// An empty one, on the server that `OUTRIDER_TEST_POSTGRES` names, or else on one of its own.
    ///
    /// # Panics
    /// When there is no Postgres: a test that cannot run has failed.
    pub async fn start() -> Self {
        let Ok(url) = env::var(SERVER) else { return Self::start_own().await };
        let server: PgConnectOptions = url.parse().expect("the variable holds a URL");
        let name = unique_name().replace('-', "_");
        let mut connection = server.connect().await.expect("the tests' Postgres answers");
        let create = AssertSqlSafe(format!("CREATE DATABASE {name}"));
        sqlx::raw_sql(create).execute(&mut connection).await.expect("a database can be made");
        connection.close().await.ok();
        Self { options: server.database(&name), own: None }
    }

    /// One on a server of its own, which the test may stop.
    ///
    /// # Panics
    /// When there is no Postgres.
    pub async fn start_own() -> Self {
        let directory = Directory(env::temp_dir().join(unique_name()));
        let started = PrivatePostgres::start_with(&directory.0, &["shared_buffers=64MB"]).await;
        let server = started.unwrap_or_else(|error: PrivateError| panic!("{error}"));
        Self { options: server.options(), own: Some((server, directory)) }
    }

    /// How to reach it.
    pub fn options(&self) -> PgConnectOptions {
        self.options.clone()
    }

    /// The same as a URL, for programs that a test starts.
    pub fn url(&self) -> String {
        self.options.to_url_lossy().into()
    }

    /// The server, if it is the test's own.
    pub fn server(&self) -> Option<&PrivatePostgres> {
        self.own.as_ref().map(|(server, _)| server)
    }
}

fn unique_name() -> String {
    format!("outrider-test-{}-{}", process::id(), Uuid::now_v7().simple())
}
