//! One node: what stands behind the address, in the order it is brought up, and down again.

use crate::{
    auth::{KeyError, Keys},
    gateway::{Gateway, GatewayError},
    settings::{JournalKind, Settings},
};
use actors::{
    journal::{JournalError, SharedJournal, memory::MemoryJournal, sqlite::SqliteJournal},
    region,
    runtime::{Clock, System},
};
use axum::Router;
use metrics_exporter_prometheus::PrometheusHandle;
use protocol::Timestamp;
use std::{net::SocketAddr, sync::Arc};
use thiserror::Error;
use tracing::{info, warn};

/// A node that runs.
#[derive(Debug)]
pub(crate) struct Node {
    journal: SharedJournal,
    /// Closed last, after everyone who writes to it.
    sqlite: Option<SqliteJournal>,
    system: System,
    gateway: Gateway,
    settings: Settings,
}

/// A node that cannot be brought up.
#[derive(Debug, Error)]
pub(crate) enum NodeError {
    /// Its journal cannot be opened or read.
    #[error(transparent)]
    Journal(#[from] JournalError),
    /// It has no key to believe tokens with.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Nobody can reach it.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
}

impl Node {
    /// Journal, actors, gateway; `extra` routes are served beside the gateway's own.
    pub(crate) async fn start(
        settings: Settings,
        metrics: PrometheusHandle,
        extra: Router,
    ) -> Result<Self, NodeError> {
        let keys = Keys::open(&settings.auth, settings.profile, &settings.journal.dir)?;
        let (journal, sqlite): (SharedJournal, _) = match settings.journal.kind {
            JournalKind::Memory => (Arc::new(MemoryJournal::default()), None),
            JournalKind::Sqlite => {
                let sqlite = SqliteJournal::open(&settings.journal.dir).await?;
                (Arc::new(sqlite.clone()), Some(sqlite))
            }
        };
        let regions = region::Settings::default();
        let system =
            System::start(Arc::clone(&journal), Clock::System, settings.runtime, regions).await?;
        let gateway = Gateway::open(system.clone(), keys, &settings, metrics, extra).await?;
        Ok(Self { journal, sqlite, system, gateway, settings })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.gateway.address()
    }

    /// Its actors.
    pub(crate) fn system(&self) -> &System {
        &self.system
    }

    /// Leaves: nobody new, everybody answered and told, everything written.
    pub(crate) async fn drain(self) {
        let Self { journal, sqlite, system, gateway, settings } = self;
        info!("leaving");
        gateway.drain(settings.drain.sessions).await;
        if !system.drain(settings.drain.actors).await {
            warn!("some actors did not finish in time; their journal has all that was acknowledged");
        }
        drop((system, journal));
        if let Some(sqlite) = sqlite {
            sqlite.close().await;
        }
        info!("left");
    }
}

/// The wall clock.
pub(crate) fn now() -> Timestamp {
    Clock::System.now()
}
