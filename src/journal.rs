//! Which journal the settings mean, opened; and the server below it, if it is our own.

use crate::settings::{JournalKind, JournalSettings};
use actors::journal::{
    JournalError, SharedJournal,
    memory::MemoryJournal,
    postgres::{
        self, ConnectOptions, PostgresJournal,
        private::{PrivateError, PrivatePostgres, Stop},
    },
    sqlite::{self, SqliteJournal},
};
use std::{fs, path::Path, sync::Arc};
use thiserror::Error;
use tracing::{info, warn};

/// Where a Postgres of our own lives, below the directory of the journal.
const PRIVATE: &str = "postgres";

/// A journal in use.
#[derive(Debug)]
pub(crate) struct Opened {
    /// The journal.
    pub(crate) journal: SharedJournal,
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
        Ok(Self { journal, server })
    }

    /// Opens it to be read: a Postgres is seen as it is at this moment, beside the node that uses it.
    pub(crate) async fn look(settings: &JournalSettings) -> Result<Self, OpenError> {
        match settings.kind {
            JournalKind::Memory | JournalKind::Sqlite => Self::open(settings).await,
            JournalKind::Postgres => {
                let address = postgres::address(&settings.url)?;
                let journal = PostgresJournal::look(address, &settings.node).await?;
                Ok(Self { journal: Arc::new(journal), server: None })
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
                Ok(Self { journal: Arc::new(journal), server })
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
    let node = match settings.node.as_str() {
        "" => machine(),
        name => name.to_owned(),
    };
    PostgresJournal::open(options, &node, settings.postgres).await
}

/// What the machine is called.
fn machine() -> String {
    let name = fs::read_to_string(Path::new("/proc/sys/kernel/hostname")).unwrap_or_default();
    match name.trim() {
        "" => "outrider".to_owned(),
        name => name.to_owned(),
    }
}
