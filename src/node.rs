//! One node: what stands behind the address, in the order it is brought up, and down again.

use crate::{
    auth::{KeyError, Keys},
    gateway::{Gateway, GatewayError},
    journal::{OpenError, Opened},
    settings::Settings,
};
use actors::runtime::{Clock, StartError, System};
use axum::Router;
use metrics_exporter_prometheus::PrometheusHandle;
use protocol::Timestamp;
use std::{net::SocketAddr, sync::Arc};
use thiserror::Error;
use tracing::{info, warn};

/// A node that runs.
#[derive(Debug)]
pub(crate) struct Node {
    journal: Opened,
    system: System,
    gateway: Gateway,
    settings: Settings,
}

/// A node that cannot be brought up.
#[derive(Debug, Error)]
pub(crate) enum NodeError {
    /// Its journal cannot be opened.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// Its actors cannot be brought to life.
    #[error(transparent)]
    Start(#[from] StartError),
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
        let opened = Opened::open(&settings.journal).await?;
        let journal = Arc::clone(&opened.journal);
        let (runtime, regions) = (settings.runtime, settings.regions());
        let system = System::start(journal, Clock::Machine, runtime, regions).await?;
        let gateway = Gateway::open(system.clone(), keys, &settings, metrics, extra).await?;
        Ok(Self { journal: opened, system, gateway, settings })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.gateway.address()
    }

    /// Leaves: nobody new, everybody answered and told, everything written.
    pub(crate) async fn drain(self) {
        let Self { journal, system, gateway, settings } = self;
        info!("leaving");
        gateway.drain(settings.drain.sessions).await;
        if !system.drain(settings.drain.actors).await {
            warn!(
                "some actors did not finish in time; their journal has all that was acknowledged"
            );
        }
        match journal.close().await {
            Ok(()) => info!("left"),
            Err(error) => warn!(%error, "left without closing the journal"),
        }
    }
}

/// The wall clock.
pub(crate) fn now() -> Timestamp {
    Clock::Machine.now()
}
