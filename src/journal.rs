//! Which journal the settings mean, opened; and the server below it, if it is our own.

use crate::settings::{JournalKind, JournalSettings};
use actors::{
    cluster::arbiter::Arbiter,
    journal::{
        JournalError, SharedJournal,
        memory::MemoryJournal,
        postgres::{
            self, ConnectOptions, PostgresJournal,
            private::{PrivateError, PrivatePostgres, Stop},
        },
        sqlite::{self, SqliteJournal},
    },
};
use std::{fs, path::Path, sync::Arc, time::Duration};
use thiserror::Error;
use tracing::{info, warn};

/// Where a Postgres of our own lives, below the directory of the journal.
const PRIVATE: &str = "postgres";

/// How long to wait before trying again to reach a database: at first, and at most.
const AGAIN_AFTER: Duration = Duration::from_millis(250);
const AGAIN_AFTER_MAX: Duration = Duration::from_secs(5);

/// A journal in use.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The journal.
    pub(crate) journal: SharedJournal,
    /// Who decides which node owns what in it, for a member of a cluster.
    pub(crate) arbiter: Option<Arc<dyn Arbiter>>,
    server: Option<PrivatePostgres>,
}

/// Why there is no journal.
#[derive(Debug, Error)]
pub(crate) enum OpenError {
    #[error(transparent)]
    Sqlite(#[from] sqlite::OpenError),
    #[error(transparent)]
    Postgres(#[from] postgres::OpenError),
    #[error(transparent)]
    Private(#[from] PrivateError),
    #[error("there is nothing to migrate: a {0:?} journal brings its own schema up to date")]
    NothingToMigrate(JournalKind),
}

impl Opened {
    /// Opens what the settings mean.
    pub(crate) async fn open(settings: &JournalSettings) -> Result<Self, OpenError> {
        let (journal, server): (SharedJournal, _) = match settings.kind {
            JournalKind::Memory => (Arc::new(MemoryJournal::default()), None),
            JournalKind::Sqlite => (Arc::new(SqliteJournal::open(&settings.dir).await?), None),
            JournalKind::Postgres => {
                let journal = open_postgres(postgres::address(&settings.url)?, settings).await?;
                (Arc::new(journal), None)
            }
            JournalKind::PrivatePostgres => {
                let server = PrivatePostgres::start(settings.dir.join(PRIVATE)).await?;
                info!(url = server.url(), "a Postgres of our own is up");
                let journal = open_postgres(server.options(), settings).await?;
                (Arc::new(journal), Some(server))
            }
        };
        Ok(Self { journal, arbiter: None, server })
    }

    /// Opens it as one of several nodes that share it, `name` among them; waits for a database that
    /// cannot be reached, and says so.
    pub(crate) async fn join(settings: &JournalSettings, name: &str) -> Result<Self, OpenError> {
        let address = postgres::address(&settings.url)?;
        let mut pause = AGAIN_AFTER;
        loop {
            match PostgresJournal::open_member(address.clone(), name, settings.postgres).await {
                Ok((journal, arbiter)) => {
                    let arbiter: Arc<dyn Arbiter> = Arc::new(arbiter);
                    return Ok(Self {
                        journal: Arc::new(journal),
                        arbiter: Some(arbiter),
                        server: None,
                    });
                }
                Err(postgres::OpenError::Database(error)) => {
                    warn!(%error, "the database cannot be used; trying again");
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(AGAIN_AFTER_MAX);
                }
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Opens it to be read: a Postgres is seen as it is at this moment, beside the node that uses it.
    pub(crate) async fn look(settings: &JournalSettings) -> Result<Self, OpenError> {
        match settings.kind {
            JournalKind::Memory | JournalKind::Sqlite => Self::open(settings).await,
            JournalKind::Postgres => {
                let address = postgres::address(&settings.url)?;
                let journal = PostgresJournal::look(address, &settings.node).await?;
                Ok(Self { journal: Arc::new(journal), arbiter: None, server: None })
            }
            JournalKind::PrivatePostgres => {
                let directory = settings.dir.join(PRIVATE);
                let (options, server) = match PrivatePostgres::start(&directory).await {
                    Ok(server) => (server.options(), Some(server)),
                    // A node runs it, and it can be looked at meanwhile.
                    Err(PrivateError::InUse(there)) => (PrivatePostgres::options_in(there), None),
                    Err(error) => return Err(error.into()),
                };
                let journal = PostgresJournal::look(options, &settings.node).await?;
                Ok(Self { journal: Arc::new(journal), arbiter: None, server })
            }
        }
    }

    /// Writes what waits; then stops the server that was started for it.
    pub(crate) async fn close(self) -> Result<(), JournalError> {
        let closed = self.journal.close().await;
        if let Some(server) = self.server
            && let Err(error) = server.stop(Stop::Fast).await
        {
            warn!(%error, "the Postgres of our own did not stop by itself");
        }
        closed
    }
}

/// Brings the schema of a Postgres journal up to date; returns the versions before and after.
pub(crate) async fn migrate(settings: &JournalSettings) -> Result<(i64, i64), OpenError> {
    match settings.kind {
        JournalKind::Postgres => Ok(postgres::migrate(&postgres::address(&settings.url)?).await?),
        JournalKind::PrivatePostgres => {
            let server = PrivatePostgres::start(settings.dir.join(PRIVATE)).await?;
            let versions = postgres::migrate(&server.options()).await?;
            server.stop(Stop::Fast).await?;
            Ok(versions)
        }
        JournalKind::Sqlite | JournalKind::Memory => {
            Err(OpenError::NothingToMigrate(settings.kind))
        }
    }
}

async fn open_postgres(
    options: ConnectOptions,
    settings: &JournalSettings,
) -> Result<PostgresJournal, postgres::OpenError> {
    PostgresJournal::open(options, &settings.node_name(), settings.postgres).await
}

impl JournalSettings {
    /// What the node is called in the database.
    pub(crate) fn node_name(&self) -> String {
        match self.node.as_str() {
            "" => machine(),
            name => name.to_owned(),
        }
    }
}

/// What the machine is called.
fn machine() -> String {
    let name = fs::read_to_string(Path::new("/proc/sys/kernel/hostname")).unwrap_or_default();
    match name.trim() {
        "" => "outrider".to_owned(),
        name => name.to_owned(),
    }
}
