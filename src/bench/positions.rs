//! How many positions reach a region: through driver actors alone, and through real sockets.
//!
//! The drivers' policy passes on every position, so that each one that is believed reaches the region
//! and can be counted there. In life a driver who stays in its cell is passed on every two seconds.

use super::{Fault, duty, system};
use crate::{
    auth::Keys,
    gateway::{Extra, Gateway},
    node::now,
    settings::Settings,
};
use actors::{
    driver::{Command, Driver, Sighting},
    journal::memory::MemoryJournal,
    policy::DriverPolicy,
    runtime::{Ask, System},
};
use futures_util::{SinkExt, StreamExt, future::try_join_all};
use metrics_exporter_prometheus::PrometheusHandle;
use protocol::{
    CommandId, DriverId, Point, Principal, Timestamp,
    codec::Codec,
    frame::{ClientFrame, SUBPROTOCOL_MSGPACK, ServerFrame},
    view::Position,
    work::DutyWish,
};
use std::{
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue},
};

const CENTRE: Point = Point { lat: -1.9441, lon: 30.0619 };
/// How long a client drives on.
const LASTS: Duration = Duration::from_secs(2);
/// How many positions a client sends before it makes sure that the session has read them.
const WINDOW: usize = 32;
const TOKEN_TTL: Duration = Duration::from_secs(600);

/// What became of the positions.
#[derive(Debug, Clone, Copy)]
pub(super) struct Ingest {
    /// How many reached the region in a second.
    pub(super) per_s: f64,
    /// Which share of those that were sent did.
    pub(super) share: f64,
}

/// 1,000 driver actors, shown positions by as many callers in this process.
pub(super) async fn in_process() -> Result<Ingest, Fault> {
    const N: u64 = 1_000;
    const EACH: u64 = 200;
    let system = drivers(N).await?;
    let mut courses: Vec<Course> = (0..N).map(Course::new).collect();
    let (began, before) = (Instant::now(), n_listed(&system));
    for _ in 0..EACH {
        let seen = (0..).zip(&mut courses).map(|(n, course)| {
            system.see_and_tell::<Driver>(DriverId::nth(n), Sighting::At(course.next()))
        });
        try_join_all(seen).await?;
    }
    let ingest = Ingest::of(n_listed(&system) - before, N * EACH, began);
    system.drain(Duration::from_secs(30)).await;
    Ok(ingest)
}

/// `n` drivers with a socket each to a gateway on the loopback, all in this process: the clients' half
/// of the work is done on the same cores.
pub(super) async fn over_sockets(
    settings: &Settings,
    metrics: &PrometheusHandle,
    n: u64,
) -> Result<Ingest, Fault> {
    let system = drivers(n).await?;
    let keys = || Keys::open(&settings.auth, settings.profile, &settings.journal.dir);
    let minting = keys()?;
    let gateway =
        Gateway::open(system.clone(), keys()?, settings, metrics.clone(), Extra::default()).await?;
    let address = gateway.address();
    let phones = (0..n).map(|n| {
        let token = minting.mint(Principal::Driver(DriverId::nth(n)), TOKEN_TTL, now());
        async move { Ok::<_, Fault>((Phone::connect(address, token?).await?, Course::new(n))) }
    });
    let phones = try_join_all(phones).await?;
    let (began, before) = (Instant::now(), n_listed(&system));
    let driving: Vec<_> = phones
        .into_iter()
        .map(|(phone, course)| tokio::spawn(phone.drive(course, began + LASTS)))
        .collect();
    let mut n_sent = 0;
    for driven in try_join_all(driving).await? {
        n_sent += driven?;
    }
    // Asked behind the last position: when it answers, that has been seen.
    for n in 0..n {
        system.read::<Driver>(DriverId::nth(n)).await?;
    }
    let ingest = Ingest::of(n_listed(&system) - before, n_sent, began);
    gateway.leave(Duration::from_secs(5)).await;
    gateway.close(Duration::from_secs(5)).await;
    system.drain(Duration::from_secs(30)).await;
    Ok(ingest)
}

/// A system with `n` drivers on duty, none of whose positions is held back.
async fn drivers(n: u64) -> Result<System, Fault> {
    let system = system(Arc::new(MemoryJournal::default())).await?;
    let Command::SetDuty { duty, vehicle, .. } = duty(DutyWish::On) else { return Ok(system) };
    let policy = DriverPolicy { relist_ms: 0, ..DriverPolicy::default() };
    for n in 0..n {
        let id = DriverId::nth(n);
        let command = Command::SetDuty { duty, vehicle: vehicle.clone(), policy };
        let ask = Ask { command, by: Principal::Driver(id), id: CommandId::mint() };
        system.ask::<Driver>(id, ask, Duration::from_secs(10)).await?;
    }
    Ok(system)
}

fn n_listed(system: &System) -> u64 {
    system.regions().stats().iter().map(|(_, stats)| stats.n_listed).sum()
}

impl Ingest {
    fn of(n_arrived: u64, n_sent: u64, began: Instant) -> Self {
        Self {
            per_s: n_arrived as f64 / began.elapsed().as_secs_f64(),
            share: n_arrived as f64 / n_sent.max(1) as f64,
        }
    }
}

/// A way through the city, a metre at a time.
struct Course {
    at: Point,
    sampled_at: Timestamp,
}

impl Course {
    fn new(n: u64) -> Self {
        Self { at: CENTRE.offset_m((n % 100) as f64 * 5.0, 0.0), sampled_at: now() }
    }

    /// Each sample is later than the one before, however quick they come.
    fn next(&mut self) -> Position {
        self.at = self.at.offset_m(0.0, 1.0);
        self.sampled_at = now().max(self.sampled_at + Duration::from_millis(1));
        Position {
            at: self.at,
            sampled_at: self.sampled_at,
            heading_deg: None,
            speed_mps: None,
            accuracy_m: Some(5.0),
        }
    }
}

/// A driver's end of a socket.
struct Phone(WebSocketStream<MaybeTlsStream<TcpStream>>);

impl Phone {
    async fn connect(address: SocketAddr, token: String) -> Result<Self, Fault> {
        let mut request = format!("ws://{address}/v1/ws").into_client_request()?;
        let subprotocol = HeaderValue::from_static(SUBPROTOCOL_MSGPACK);
        request.headers_mut().insert("sec-websocket-protocol", subprotocol);
        let (socket, _) = connect_async(request).await?;
        let mut phone = Self(socket);
        phone.feed(&ClientFrame::Identify { token, resume: None }).await?;
        phone.hear(|frame| matches!(frame, ServerFrame::Welcome { .. })).await?;
        Ok(phone)
    }

    /// Sends positions until then, as fast as the session reads them. Returns how many.
    async fn drive(mut self, mut course: Course, until: Instant) -> Result<u64, Fault> {
        let mut n_sent = 0;
        while Instant::now() < until {
            for _ in 0..WINDOW {
                self.feed(&ClientFrame::Position(course.next().into())).await?;
            }
            n_sent += WINDOW as u64;
            self.feed(&ClientFrame::Heartbeat { heard: None }).await?;
            self.hear(|frame| matches!(frame, ServerFrame::Heartbeat { .. })).await?;
        }
        Ok(n_sent)
    }

    async fn feed(&mut self, frame: &ClientFrame) -> Result<(), Fault> {
        let bytes = Codec::MsgPack.encode(frame)?;
        Ok(self.0.feed(Message::binary(bytes)).await?)
    }

    /// Sends what was fed, and listens until a frame comes that is wanted.
    async fn hear(&mut self, is_wanted: impl Fn(&ServerFrame) -> bool) -> Result<(), Fault> {
        self.0.flush().await?;
        while let Some(message) = self.0.next().await {
            let Message::Binary(bytes) = message? else { continue };
            let frame: ServerFrame = Codec::MsgPack.decode_unbounded(&bytes)?;
            if let ServerFrame::Refused(refused) | ServerFrame::Goodbye { refused } = &frame {
                return Err(refused.to_string().into());
            }
            if is_wanted(&frame) {
                return Ok(());
            }
        }
        Err("the gateway closed the socket".into())
    }
}
