//! One node: what stands behind the address, in the order it is brought up, and down again.

use crate::{
    auth::{KeyError, Keys},
    gateway::{Extra, Gateway, GatewayError},
    journal::{OpenError, Opened},
    settings::{DrainSettings, RoadSettings, Settings, SettingsError},
    telemetry,
};
use actors::{
    Format,
    cluster::{
        arbiter::NodeCard,
        nats::{ConnectError, NatsTransport},
    },
    region::{self, Atlas},
    runtime::{Clock, Joining, StartError, System},
};
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
    /// Other nodes can never be reached with these settings.
    #[error(transparent)]
    Connect(#[from] ConnectError),
    /// It does not know its brand.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// It cannot read the streets it is to know.
    #[error("roads: {0}")]
    Roads(#[from] loadtest::city::LoadError),
    /// It has no key to believe tokens with.
    #[error(transparent)]
    Key(#[from] KeyError),
    /// Nobody can reach it.
    #[error(transparent)]
    Gateway(#[from] GatewayError),
}

impl Node {
    /// Journal, actors, gateway; what is `extra` is served beside the gateway's own.
    pub(crate) async fn start(
        settings: Settings,
        metrics: PrometheusHandle,
        extra: Extra,
    ) -> Result<Self, NodeError> {
        let keys = Keys::open(&settings.auth, settings.profile, &settings.journal.dir)?;
        let (opened, system) = match settings.cluster.is_alone() {
            true => begin(&settings).await?,
            false => join(&settings, &keys).await?,
        };
        let gateway = Gateway::open(system.clone(), keys, &settings, metrics, extra).await?;
        // A load test asks, or it would drive more quickly than it is believed.
        metrics::gauge!("outrider_simulation_speed").set(settings.simulation.speed);
        Ok(Self { journal: opened, system, gateway, settings })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.gateway.address()
    }

    /// Returns when the node should end, with the reason: somebody wants it to leave, or others have
    /// taken what it had.
    pub(crate) async fn over(&self) -> Over {
        tokio::select! {
            () = self.gateway.dismissed() => Over::Dismissed,
            () = self.system.expelled() => Over::Expelled,
        }
    }

    /// Leaves: nobody new, everybody answered and told, everything handed over or written.
    pub(crate) async fn drain(self) {
        let Self { journal, system, gateway, settings } = self;
        let DrainSettings { sessions, actors, .. } = settings.drain;
        info!("leaving");
        // Those who have not left yet are served from here, wherever their actors are by then.
        tokio::join!(gateway.leave(sessions), system.leave(actors));
        gateway.close(sessions).await;
        if !system.drain(actors).await {
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

/// Actors of a node that is alone.
async fn begin(settings: &Settings) -> Result<(Opened, System), NodeError> {
    let opened = Opened::open(&settings.journal).await?;
    let journal = Arc::clone(&opened.journal);
    let (runtime, regions) = (settings.runtime, regions(settings)?);
    let system = System::start(journal, Clock::Machine, runtime, regions).await?;
    Ok((opened, system))
}

/// How regions match, and by which streets, if those are known.
fn regions(settings: &Settings) -> Result<region::Settings, NodeError> {
    let mut regions = settings.regions()?;
    let RoadSettings { folder, hour } = &settings.roads;
    if !folder.as_os_str().is_empty() {
        let roads = loadtest::city::router(folder, *hour, regions.matching.straight())?;
        regions.atlas = Atlas(Some(roads));
    }
    Ok(regions)
}

/// Actors of a node among others.
async fn join(settings: &Settings, keys: &Keys) -> Result<(Opened, System), NodeError> {
    let cluster = &settings.cluster;
    let node = match cluster.node.as_str() {
        "" => settings.journal.node_name(),
        name => name.to_owned(),
    };
    let mut journal = settings.journal.clone();
    if cluster.weight == 0 {
        // It hosts nobody: there is nothing to write, and little to read.
        (journal.postgres.committers, journal.postgres.readers) = (0, 1);
    }
    let opened = Opened::join(&journal, &node).await?;
    let arbiter = opened.arbiter.clone().expect("a journal that was joined has one");
    let transport = Arc::new(NatsTransport::connect(&cluster.nats(), &cluster.name, &node).await?);
    let card = NodeCard {
        node,
        address: match cluster.address.as_str() {
            "" => format!("http://{}", settings.gateway.listen),
            address => address.to_owned(),
        },
        zone: cluster.zone.clone(),
        weight: cluster.weight,
        version: telemetry::build(),
        writes: Format::WRITES.0.into(),
        reads: Format::READS.0.into(),
        secret: keys.fingerprint().to_owned(),
    };
    let joining = Joining { arbiter, transport, card, settings: cluster.member() };
    let journal = Arc::clone(&opened.journal);
    let (runtime, regions) = (settings.runtime, regions(settings)?);
    let system = System::join(journal, Clock::Machine, runtime, regions, joining).await?;
    Ok((opened, system))
}

/// Why a node ends without having been told to by the operating system.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Over {
    /// Somebody asked for it through the gateway.
    Dismissed,
    /// The others have declared it dead: it must start anew.
    Expelled,
}

/// The wall clock.
pub(crate) fn now() -> Timestamp {
    Clock::Machine.now()
}
