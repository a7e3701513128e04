//! The database that nodes share, and what can be done to it. Whoever breaks a database speaks SQL.

use crate::Outcome;
use actors::journal::postgres::private::{PrivatePostgres, Stop};
use sqlx::{AssertSqlSafe, ConnectOptions, Connection, PgConnection, Row};
use std::{
    fs,
    path::{Path, PathBuf},
};

/// Room for the connections of five nodes, and of those who disturb them.
const CONNECTIONS: &str = "max_connections=300";

/// A Postgres of one's own, gone when it is dropped.
#[derive(Debug)]
pub(crate) struct Database {
    server: PrivatePostgres,
    directory: PathBuf,
}

impl Database {
    /// Starts one in `directory`, with more settings (`listen_addresses=10.0.0.1`).
    pub(crate) async fn start(directory: &Path, more: &[String]) -> Outcome<Self> {
        let settings: Vec<&str> =
            [CONNECTIONS].into_iter().chain(more.iter().map(String::as_str)).collect();
        let server = PrivatePostgres::start_with(directory, &settings).await?;
        Ok(Self { server, directory: directory.to_path_buf() })
    }

    /// How processes of this machine reach it, by its socket.
    pub(crate) fn url(&self) -> String {
        self.server.url()
    }

    /// How it is reached from elsewhere, at `host`.
    pub(crate) fn url_at(host: &str, port: u16) -> String {
        format!("postgresql://outrider@{host}:{port}/outrider")
    }

    /// Where its socket is.
    pub(crate) fn directory(&self) -> &Path {
        &self.directory
    }

    /// Which process it is.
    pub(crate) fn pid(&self) -> Option<u32> {
        let file = fs::read_to_string(self.directory.join("data/postmaster.pid")).ok()?;
        file.lines().next()?.trim().parse().ok()
    }

    /// Believes everybody in `network`.
    pub(crate) async fn admit(&self, network: &str) -> Outcome {
        let file = self.directory.join("data/pg_hba.conf");
        let rules = fs::read_to_string(&file)?;
        fs::write(&file, format!("{rules}\nhost all all {network} trust\n"))?;
        self.execute("SELECT pg_reload_conf()").await
    }

    /// Stops as if the power had failed.
    pub(crate) async fn crash(&self) -> Outcome {
        Ok(self.server.stop(Stop::Immediate).await?)
    }

    /// Starts it again.
    pub(crate) async fn start_again(&self) -> Outcome {
        Ok(self.server.start_again().await?)
    }

    /// A session called `name`.
    pub(crate) async fn session(&self, name: &str) -> Outcome<PgConnection> {
        let options = self.server.options().application_name(name).disable_statement_logging();
        Ok(options.connect().await?)
    }

    /// A session in the database that nobody else uses.
    pub(crate) async fn elsewhere(&self) -> Outcome<PgConnection> {
        Ok(self.server.options().database("postgres").connect().await?)
    }

    /// Does what `sql` says, in a session of its own.
    pub(crate) async fn execute(&self, sql: &str) -> Outcome {
        let mut session = self.session("chaos").await?;
        execute(&mut session, sql).await?;
        Ok(session.close().await?)
    }

    /// The number that `sql` asks for.
    pub(crate) async fn number(&self, sql: &str) -> Outcome<i64> {
        let mut session = self.session("chaos").await?;
        let row = sqlx::query(AssertSqlSafe(sql.to_owned())).fetch_one(&mut session).await?;
        let number = row.try_get(0)?;
        session.close().await?;
        Ok(number)
    }

    /// How often a shard has gone from one incarnation to another.
    pub(crate) async fn n_moves(&self) -> Outcome<i64> {
        self.number(
            "SELECT count(*) FROM (
                SELECT incarnation, lag(incarnation) OVER (PARTITION BY shard ORDER BY epoch) AS before
                FROM epochs
             ) steps WHERE incarnation <> before",
        )
        .await
    }

    /// How often anybody was declared dead, or left.
    pub(crate) async fn n_dead(&self) -> Outcome<i64> {
        self.number("SELECT count(*) FROM members WHERE standing = 'dead' AND node LIKE 'node-%'")
            .await
    }
}

/// Does what `sql` says in an open session.
pub(crate) async fn execute(session: &mut PgConnection, sql: &str) -> Outcome {
    sqlx::raw_sql(AssertSqlSafe(sql.to_owned())).execute(session).await?;
    Ok(())
}
