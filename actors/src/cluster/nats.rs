//! Messages between nodes through NATS: core subjects, nothing stored.
//!
//! ```text
//!  send ──▶ queue ──▶ <name>.node.<to> ──▶ whoever listens
//!                          │ nobody does
//!                          ▼
//!  Unheard ◀── <name>.unheard.<me>.<to> (the server's own word: no responders)
//! ```
//!
//! Every message names a place for an answer that no node ever gives: should nobody listen, the server
//! says so there. That is how the others learn that a process is gone before its lease is over.

#[cfg(any(test, feature = "testing"))]
pub mod testing;

use super::{
    Incarnation,
    transport::{Full, Incoming, Transport},
};
use async_nats::{Client, ConnectOptions, Event, ServerAddr, StatusCode, Subscriber};
use futures_util::StreamExt;
use percent_encoding::percent_decode_str;
use serde::{Deserialize, Serialize};
use std::{
    fmt, io,
    path::PathBuf,
    sync::{Arc, OnceLock},
    time::Duration,
};
use thiserror::Error;
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, mpsc, watch},
    time::Instant,
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{info, warn};

/// Most messages that wait to be sent.
const WAITING_MAX: usize = 8192;
/// Most bytes of them.
const WAITING_BYTES_MAX: usize = 64 << 20;
/// Messages the client holds itself, on their way to the socket.
const CLIENT_MAX: usize = 256;
/// What has waited for longer is not sent any more: whoever wrote it has given up.
const STALE_AFTER: Duration = Duration::from_secs(2);
/// How often the server is asked whether it is still there; after three times without an answer, the
/// connection counts as lost.
const PING_EVERY: Duration = Duration::from_secs(1);
/// How long one attempt to connect may take.
const CONNECT_PATIENCE: Duration = Duration::from_secs(2);
/// Between attempts, at most.
const BREATHER_MAX: Duration = Duration::from_secs(1);

/// How to reach the broker.
#[derive(Clone, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// `nats://user:password@host:4222`, or `tls://…`; several, separated by commas, are one cluster.
    pub url: String,
    /// A file of credentials (a JWT and its key), if the broker wants one.
    pub creds_file: PathBuf,
    /// A file of certificates to believe in, beside those of the machine.
    pub ca_file: PathBuf,
}

/// A URL may have a password in it.
impl fmt::Debug for Settings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Settings")
            .field("url", if self.url.is_empty() { &"" } else { &"***" })
            .field("creds_file", &self.creds_file)
            .field("ca_file", &self.ca_file)
            .finish()
    }
}

/// Why there will never be a connection. That the broker is away is no reason.
#[derive(Debug, Error)]
pub enum ConnectError {
    /// Not an address. Says nothing of what it is: it may have a password in it.
    #[error("not the URL of a NATS server: {0}")]
    Url(io::Error),
    /// It cannot be part of a subject.
    #[error("{0:?} cannot be a cluster's name: letters, digits, '-' and '_', at least one")]
    Name(String),
    /// The credentials cannot be read.
    #[error("no credentials in {}: {source}", .file.display())]
    Credentials {
        /// Where they should be.
        file: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// The client refuses its settings.
    #[error("cannot use the settings of NATS: {0}")]
    Client(async_nats::ConnectError),
}

/// One connection to the broker, kept for as long as this lives.
#[derive(Debug)]
pub struct NatsTransport {
    client: Client,
    name: Arc<str>,
    me: Arc<OnceLock<Incarnation>>,
    outgoing: mpsc::Sender<Outgoing>,
    room: Arc<Semaphore>,
    connected: watch::Receiver<bool>,
    over: CancellationToken,
    _ends: DropGuard,
}

#[derive(Debug)]
struct Outgoing {
    to: Incarnation,
    message: Vec<u8>,
    since: Instant,
    _room: OwnedSemaphorePermit,
}

/// What a URL says: where, and who we are there.
struct Address {
    servers: Vec<ServerAddr>,
    user: Option<(String, String)>,
}

impl Settings {
    /// Can `url` be used?
    pub fn check(&self) -> Result<(), ConnectError> {
        self.address().map(drop)
    }

    /// The client neither uses what URLs say of users, nor hides it: it is given the rest.
    fn address(&self) -> Result<Address, ConnectError> {
        let (mut servers, mut user) = (Vec::new(), None);
        for url in self.url.split(',') {
            let server: ServerAddr = url.trim().parse().map_err(ConnectError::Url)?;
            let decoded = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
            if let Some(name) = server.username() {
                user = Some((decoded(name), decoded(server.password().unwrap_or_default())));
            }
            let (scheme, host, port) = (server.scheme(), server.host(), server.port());
            let host = if host.contains(':') { format!("[{host}]") } else { host.to_owned() };
            let plain = format!("{scheme}://{host}:{port}");
            servers.push(plain.parse().map_err(ConnectError::Url)?);
        }
        Ok(Address { servers, user })
    }
}

/// Can a cluster be called that?
pub fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|it| it.is_ascii_alphanumeric() || b"-_".contains(&it))
}

impl NatsTransport {
    /// Connects as `node` of the cluster `name`, now or whenever the broker can be reached; clusters of
    /// different names do not hear each other. Must be called within a tokio runtime.
    pub async fn connect(
        settings: &Settings,
        name: &str,
        node: &str,
    ) -> Result<Self, ConnectError> {
        if !is_name(name) {
            return Err(ConnectError::Name(name.to_owned()));
        }
        let Address { servers, user } = settings.address()?;
        let (told, connected) = watch::channel(false);
        let mut options = ConnectOptions::new()
            .name(format!("outrider {node}"))
            .retry_on_initial_connect()
            .max_reconnects(None)
            .reconnect_delay_callback(breather)
            .connection_timeout(CONNECT_PATIENCE)
            .ping_interval(PING_EVERY)
            .client_capacity(CLIENT_MAX)
            .event_callback(move |event| {
                note(&event, &told);
                async {}
            });
        if let Some((user, password)) = user {
            options = options.user_and_password(user, password);
        }
        if !settings.creds_file.as_os_str().is_empty() {
            let file = &settings.creds_file;
            options = options
                .credentials_file(file)
                .await
                .map_err(|source| ConnectError::Credentials { file: file.clone(), source })?;
        }
        if !settings.ca_file.as_os_str().is_empty() {
            options = options.add_root_certificates(settings.ca_file.clone());
        }
        let client = options.connect(servers).await.map_err(ConnectError::Client)?;
        let (name, me) = (Arc::<str>::from(name), Arc::<OnceLock<_>>::default());
        let over = CancellationToken::new();
        let (outgoing, queue) = mpsc::channel(WAITING_MAX);
        let publishing =
            publish(client.clone(), Arc::clone(&name), Arc::clone(&me), queue, connected.clone());
        let until = over.clone();
        drop(tokio::spawn(async move { until.run_until_cancelled(publishing).await }));
        let room = Arc::new(Semaphore::new(WAITING_BYTES_MAX));
        let _ends = over.clone().drop_guard();
        Ok(Self { client, name, me, outgoing, room, connected, over, _ends })
    }
}

impl Transport for NatsTransport {
    fn send(&self, to: Incarnation, message: Vec<u8>) -> Result<(), Full> {
        let n_bytes = u32::try_from(message.len()).map_err(|_| Full)?;
        let room = Arc::clone(&self.room).try_acquire_many_owned(n_bytes).map_err(|_| Full)?;
        let waiting = Outgoing { to, message, since: Instant::now(), _room: room };
        self.outgoing.try_send(waiting).map_err(|_| Full)
    }

    fn listen(&self, me: Incarnation, to: mpsc::Sender<Incoming>) {
        self.me.set(me).ok();
        let hearing = hear(self.client.clone(), Arc::clone(&self.name), me, to);
        let until = self.over.clone();
        drop(tokio::spawn(async move { until.run_until_cancelled(hearing).await }));
    }

    fn is_connected(&self) -> watch::Receiver<bool> {
        self.connected.clone()
    }
}

/// Sends what waits, in its order, while there is a connection.
async fn publish(
    client: Client,
    name: Arc<str>,
    me: Arc<OnceLock<Incarnation>>,
    mut queue: mpsc::Receiver<Outgoing>,
    mut connected: watch::Receiver<bool>,
) {
    while let Some(Outgoing { to, message, since, _room }) = queue.recv().await {
        // The client would keep what it is given now until it is connected, however old it is by then.
        if connected.wait_for(|is_connected| *is_connected).await.is_err() {
            return;
        }
        if since.elapsed() > STALE_AFTER {
            metrics::counter!("outrider_cluster_messages_lost_total", "cause" => "stale")
                .increment(1);
            continue;
        }
        let subject = format!("{name}.node.{}", to.0);
        let sent = match me.get() {
            Some(me) => {
                let unheard = format!("{name}.unheard.{}.{}", me.0, to.0);
                client.publish_with_reply(subject, unheard, message.into()).await
            }
            None => client.publish(subject, message.into()).await,
        };
        if let Err(error) = sent {
            warn!(%to, %error, "a message to another node is lost");
        }
    }
}

/// Passes on what arrives for `me`, and what the server says about those who do not listen.
async fn hear(client: Client, name: Arc<str>, me: Incarnation, to: mpsc::Sender<Incoming>) {
    let subscribed = async {
        let unheard = client.subscribe(format!("{name}.unheard.{}.*", me.0)).await?;
        let messages = client.subscribe(format!("{name}.node.{}", me.0)).await?;
        Ok::<(Subscriber, Subscriber), async_nats::SubscribeError>((messages, unheard))
    };
    let (mut messages, mut unheard) = match subscribed.await {
        Ok(subscribers) => subscribers,
        Err(error) => return warn!(%me, %error, "messages to this node are not heard"),
    };
    loop {
        let incoming = tokio::select! {
            Some(message) = messages.next() => Incoming::Message(message.payload.into()),
            Some(message) = unheard.next() => {
                let is_servers_word = message.status == Some(StatusCode::NO_RESPONDERS);
                let who = message.subject.rsplit('.').next().and_then(|it| it.parse().ok());
                match who.filter(|_| is_servers_word) {
                    Some(who) => Incoming::Unheard(Incarnation(who)),
                    None => continue,
                }
            }
            else => return,
        };
        if to.try_send(incoming).is_err() {
            metrics::counter!("outrider_cluster_messages_lost_total", "cause" => "full")
                .increment(1);
        }
    }
}

/// Says whether there is a connection.
fn note(event: &Event, connected: &watch::Sender<bool>) {
    match event {
        Event::Connected => {
            info!("connected to the other nodes");
            connected.send_replace(true);
        }
        Event::Disconnected | Event::Closed => {
            warn!("not connected to the other nodes");
            connected.send_replace(false);
        }
        Event::SlowConsumer(_) => {
            metrics::counter!("outrider_cluster_messages_lost_total", "cause" => "full")
                .increment(1);
        }
        Event::ServerError(error) => warn!(%error, "the broker refuses"),
        Event::ClientError(error) => warn!(%error, "the broker is not reached"),
        Event::LameDuckMode | Event::Draining => info!(%event, "the broker is leaving"),
    }
}

/// Longer each time, up to a point: a broker that comes back is not stormed.
fn breather(n_attempts: usize) -> Duration {
    if n_attempts <= 1 {
        return Duration::ZERO;
    }
    let doubled = 10_u64 << n_attempts.min(10);
    Duration::from_millis(doubled).min(BREATHER_MAX)
}
