//! A phone: connects, stays connected, repeats what was not answered, acknowledges what must arrive.

use super::world::World;
use crate::{checker::ClientTrace, clock};
use futures_util::{SinkExt, StreamExt};
use protocol::{
    Code, CommandId, JobId, Principal, Refused,
    codec::Codec,
    frame::{ClientFrame, Outcome, Push, Resume, SUBPROTOCOL_MSGPACK, ServerFrame},
    view::Position,
    work::Wish,
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};
use thiserror::Error;
use tokio::{
    net::{TcpSocket, TcpStream},
    time::{sleep_until, timeout},
};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        Message, client::IntoClientRequest, http::HeaderValue, protocol::WebSocketConfig,
    },
};
use tokio_util::sync::CancellationToken;

/// Without an answer for this long, a command is sent again.
const ANSWER_MAX: Duration = Duration::from_secs(8);
/// A command that only meets "later" for this long is given up.
const GIVE_UP: Duration = Duration::from_secs(120);
/// Longer than this no handshake and no write takes.
const NETWORK_MAX: Duration = Duration::from_secs(15);
/// The longest pause between two attempts to connect.
const BACK_OFF_MAX: Duration = Duration::from_secs(5);

/// A token could not be had.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("no token: {0}")]
pub struct NoToken(pub String);

/// Where clients get their tokens.
pub trait TokenSource: Send + Sync + 'static {
    /// A bearer token for this principal.
    fn token(
        &self,
        principal: Principal,
    ) -> Pin<Box<dyn Future<Output = Result<String, NoToken>> + Send + '_>>;
}

impl<F> TokenSource for F
where
    F: Fn(Principal) -> String + Send + Sync + 'static,
{
    fn token(
        &self,
        principal: Principal,
    ) -> Pin<Box<dyn Future<Output = Result<String, NoToken>> + Send + '_>> {
        let token = self(principal);
        Box::pin(async move { Ok(token) })
    }
}

/// Someone with a phone: hears frames, says others. Knows nothing of sockets.
pub(super) trait Mind: Send + 'static {
    /// Who.
    fn principal(&self) -> Principal;
    /// The phone is connected, for the first time or again. `resumed`: it goes on where it was, and what
    /// it missed follows; if not, it is told everything anew.
    fn welcomed(&mut self, resumed: bool, now: Instant, out: &mut Out);
    /// The phone is not connected any more.
    fn lost(&mut self, now: Instant);
    /// A frame arrived. Answers come by [`Mind::answered`] instead.
    fn hear(&mut self, frame: ServerFrame, now: Instant, out: &mut Out);
    /// A command was answered, or given up (`unavailable`).
    fn answered(&mut self, answer: Answer, now: Instant, out: &mut Out);
    /// Its time has come, or something happened.
    fn wake(&mut self, now: Instant, out: &mut Out);
    /// When it wants to be woken.
    fn wake_at(&self) -> Instant;
    /// Does it put its phone away for good?
    fn is_done(&self) -> bool;
}

/// What came of a command.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) id: CommandId,
    pub(super) wish: Wish,
    /// When it was first sent.
    pub(super) sent_at: Instant,
    pub(super) outcome: Outcome,
}

/// What a mind wants to say.
#[derive(Debug, Default)]
pub(super) struct Out {
    frames: Vec<ClientFrame>,
    commands: Vec<(CommandId, Wish)>,
    wants_drop: bool,
}

impl Out {
    /// Sends a command until it is answered.
    pub(super) fn command(&mut self, wish: Wish) -> CommandId {
        let id = CommandId::mint();
        self.commands.push((id, wish));
        id
    }

    /// Sends a frame, if connected.
    pub(super) fn frame(&mut self, frame: ClientFrame) {
        self.frames.push(frame);
    }

    /// Says where the phone is.
    pub(super) fn position(&mut self, position: Position) {
        self.frames.push(ClientFrame::Position(position));
    }

    /// Drives into a tunnel.
    pub(super) fn drop_connection(&mut self) {
        self.wants_drop = true;
    }
}

/// A command on its way.
struct Pending {
    id: CommandId,
    wish: Wish,
    first_sent: Instant,
    send_at: Instant,
    n_sent: u32,
}

/// A mind and its phone.
pub(super) struct Client<M> {
    world: Arc<World>,
    mind: M,
    n: usize,
    rng: ChaCha8Rng,
    trace: ClientTrace,
    pending: Vec<Pending>,
    out: Out,
    token: Option<String>,
    /// The session it is in or was cut off from, and how many of its frames arrived.
    at: Option<Resume>,
}

/// A connection that has begun.
struct Entered {
    heartbeat: Duration,
    resumed: bool,
}

type Socket = WebSocketStream<TcpStream>;

/// How a connection ended.
enum Ended {
    Done,
    Lost,
}

impl<M: Mind> Client<M> {
    pub(super) fn new(world: Arc<World>, mind: M, n: usize) -> Self {
        let role = match mind.principal() {
            Principal::Driver(_) => 1,
            Principal::Rider(_)
            | Principal::Merchant(_)
            | Principal::Dispatcher
            | Principal::Admin
            | Principal::System => 2,
        };
        let seed = world.options.seed ^ (n as u64) << 8 ^ role << 60;
        Self {
            world,
            mind,
            n,
            rng: ChaCha8Rng::seed_from_u64(seed),
            trace: ClientTrace::default(),
            pending: Vec::new(),
            out: Out::default(),
            token: None,
            at: None,
        }
    }

    /// Lives until its mind is done or everybody goes home.
    pub(super) async fn live(mut self, home: CancellationToken) {
        let mut n_failed = 0_u32;
        while !self.mind.is_done() {
            let connected = tokio::select! {
                () = home.cancelled() => return,
                connected = self.connect() => connected,
            };
            match connected {
                Ok(socket) => {
                    n_failed = 0;
                    match Box::pin(self.talk(socket, &home)).await {
                        Ended::Done => return,
                        Ended::Lost => {
                            self.world.counts.reconnects.fetch_add(1, Relaxed);
                            self.mind.lost(Instant::now());
                        }
                    }
                }
                Err(reason) => {
                    tracing::debug!(%reason, "could not connect");
                    self.token = None;
                    n_failed += 1;
                }
            }
            // Everybody who was cut off at once must not come back at once.
            let step = Duration::from_millis(250) * 2_u32.pow(n_failed.min(5));
            let pause = step.min(BACK_OFF_MAX).mul_f64(self.rng.random_range(0.5..1.5));
            tokio::select! {
                () = home.cancelled() => return,
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    async fn connect(&mut self) -> Result<Socket, String> {
        let target = &self.world.target;
        if self.token.is_none() {
            let token = target.tokens.token(self.mind.principal()).await;
            self.token = Some(token.map_err(|error| error.to_string())?);
        }
        let attempt = async {
            let stream = match target.source(self.n, self.world.options.sources) {
                Some(source) => {
                    let socket = TcpSocket::new_v4().map_err(|error| error.to_string())?;
                    socket.bind(source).map_err(|error| error.to_string())?;
                    socket.connect(target.address).await
                }
                None => TcpStream::connect(target.address).await,
            };
            let stream = stream.map_err(|error| error.to_string())?;
            stream.set_nodelay(true).map_err(|error| error.to_string())?;
            let mut request =
                target.url.as_str().into_client_request().map_err(|error| error.to_string())?;
            request
                .headers_mut()
                .insert("sec-websocket-protocol", HeaderValue::from_static(SUBPROTOCOL_MSGPACK));
            // The default buffers would be 128 KiB for each of thousands of phones.
            let config = WebSocketConfig::default()
                .read_buffer_size(2 * 1024)
                .write_buffer_size(0)
                .max_write_buffer_size(256 * 1024)
                .max_message_size(Some(1024 * 1024))
                .max_frame_size(Some(1024 * 1024));
            let (socket, _) = client_async_with_config(request, stream, Some(config))
                .await
                .map_err(|error| error.to_string())?;
            Ok(socket)
        };
        timeout(NETWORK_MAX, attempt).await.map_err(|_| "timed out".to_owned())?
    }

    /// One connection, from hello to the end.
    async fn talk(&mut self, mut socket: Socket, home: &CancellationToken) -> Ended {
        let Some(Entered { heartbeat, resumed }) = self.enter(&mut socket).await else {
            return Ended::Lost;
        };
        if resumed {
            self.world.counts.resumes.fetch_add(1, Relaxed);
        } else {
            self.trace.reconnected();
        }
        let present = Present::new(&self.world, self.mind.principal());
        let mut said_at = Instant::now();
        let mut heard_at = Instant::now();
        let now = Instant::now();
        for pending in &mut self.pending {
            pending.send_at = now;
        }
        self.mind.welcomed(resumed, now, &mut self.out);
        let ended = loop {
            let now = Instant::now();
            if self.mind.wake_at() <= now {
                self.mind.wake(now, &mut self.out);
            }
            match timeout(NETWORK_MAX, self.flush(&mut socket, now)).await {
                Ok(Ok(true)) => said_at = now,
                Ok(Ok(false)) => {}
                Ok(Err(_)) | Err(_) => break Ended::Lost,
            }
            if std::mem::take(&mut self.out.wants_drop) {
                break Ended::Lost;
            }
            if self.mind.is_done() {
                break Ended::Done;
            }
            if now.duration_since(heard_at) > heartbeat * 4 {
                break Ended::Lost;
            }
            let beat_at = said_at + heartbeat.mul_f64(0.5);
            if beat_at <= now {
                self.out.frame(ClientFrame::Heartbeat { heard: self.at.map(|at| at.heard) });
                continue;
            }
            let send_at = self.pending.iter().map(|pending| pending.send_at).min();
            // Not to the microsecond: it is cheaper to wake a little late than twice.
            let wake_at = self.mind.wake_at().min(beat_at).min(send_at.unwrap_or(beat_at))
                + Duration::from_millis(5);
            tokio::select! {
                message = socket.next() => {
                    heard_at = Instant::now();
                    match message {
                        Some(Ok(Message::Binary(bytes))) => {
                            self.at = self.at.map(|at| Resume { heard: at.heard + 1, ..at });
                            if self.hear(&bytes).is_break() {
                                break Ended::Lost;
                            }
                        }
                        Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Text(_) | Message::Frame(_))) => {}
                        Some(Ok(Message::Close(_)) | Err(_)) | None => break Ended::Lost,
                    }
                }
                () = sleep_until(wake_at.into()) => {}
                () = home.cancelled() => break Ended::Done,
            }
        };
        drop(present);
        // A driver in a tunnel does not say goodbye.
        if matches!(ended, Ended::Done) {
            let goodbye = timeout(Duration::from_millis(500), socket.close(None));
            if goodbye.await.is_err() {
                tracing::debug!("left without a goodbye");
            }
        }
        ended
    }

    /// Hello, identify, welcome.
    async fn enter(&mut self, socket: &mut Socket) -> Option<Entered> {
        let token = self.token.clone()?;
        let entering = async {
            let resume = self.at;
            send(socket, &ClientFrame::Identify { token, resume }).await.ok()?;
            let mut heartbeat = Duration::from_secs(15);
            let mut here = None;
            let mut heard = 0;
            loop {
                let Message::Binary(bytes) = socket.next().await?.ok()? else { continue };
                heard += 1;
                match Codec::MsgPack.decode_unbounded::<ServerFrame>(&bytes).ok()? {
                    ServerFrame::Hello { heartbeat_ms, session, .. } => {
                        heartbeat = Duration::from_millis(heartbeat_ms.max(100));
                        here = Some(session);
                    }
                    ServerFrame::Welcome { resumed, .. } => {
                        self.at = here.map(|session| Resume { session, heard });
                        let resumed = resumed == Some(true);
                        return Some(Entered { heartbeat, resumed });
                    }
                    ServerFrame::Goodbye { refused } | ServerFrame::Refused(refused) => {
                        tracing::debug!(%refused, "not let in");
                        return None;
                    }
                    ServerFrame::Heartbeat { .. }
                    | ServerFrame::Result { .. }
                    | ServerFrame::Push { .. }
                    | ServerFrame::Order(_)
                    | ServerFrame::Rescue(_)
                    | ServerFrame::Driver(_)
                    | ServerFrame::Rider(_)
                    | ServerFrame::Sighted { .. }
                    | ServerFrame::Board(_)
                    | ServerFrame::Region(_)
                    | ServerFrame::Actor(_)
                    | ServerFrame::Unsubscribed { .. } => {}
                }
            }
        };
        let entered = timeout(NETWORK_MAX, entering).await.ok().flatten();
        if entered.is_none() {
            self.token = None;
        }
        entered
    }

    /// Writes what there is to say; true if there was anything.
    async fn flush(&mut self, socket: &mut Socket, now: Instant) -> Result<bool, ()> {
        for (id, wish) in self.out.commands.drain(..) {
            self.pending.push(Pending { id, wish, first_sent: now, send_at: now, n_sent: 0 });
        }
        let mut is_any = false;
        // Positions before commands: "I am there" must not overtake where one is.
        for frame in self.out.frames.drain(..) {
            if matches!(frame, ClientFrame::Position(_)) {
                self.world.counts.positions.fetch_add(1, Relaxed);
            }
            feed(socket, &frame).await?;
            is_any = true;
        }
        for pending in self.pending.iter_mut().filter(|pending| pending.send_at <= now) {
            if pending.n_sent > 0 {
                self.world.counts.resends.fetch_add(1, Relaxed);
            }
            pending.n_sent += 1;
            pending.send_at = now + ANSWER_MAX;
            self.trace.sent(pending.id);
            feed(socket, &ClientFrame::Command { id: pending.id, wish: pending.wish.clone() })
                .await?;
            is_any = true;
        }
        if is_any {
            socket.flush().await.map_err(|_| ())?;
        }
        Ok(is_any)
    }

    fn hear(&mut self, bytes: &[u8]) -> std::ops::ControlFlow<()> {
        use std::ops::ControlFlow::{Break, Continue};
        let now = Instant::now();
        let world = Arc::clone(&self.world);
        world.counts.frames.fetch_add(1, Relaxed);
        let frame = match Codec::MsgPack.decode_unbounded::<ServerFrame>(bytes) {
            Ok(frame) => frame,
            Err(error) => {
                tracing::warn!(%error, "a frame that cannot be read");
                world.counts.frames_refused.fetch_add(1, Relaxed);
                return Continue(());
            }
        };
        match &frame {
            ServerFrame::Result { id, outcome } => {
                self.result(*id, outcome.clone(), now);
                return Continue(());
            }
            ServerFrame::Push { n, push } => {
                self.out.frame(ClientFrame::Ack { n: *n });
                match push {
                    Push::Offer(offer) => world.report_broken(self.trace.offered(offer.id)),
                    Push::OfferEnded { offer, .. } => self.trace.voided(*offer),
                    Push::Assigned { .. } | Push::Released { .. } | Push::ClaimLost { .. } => {}
                }
            }
            ServerFrame::Order(view) => {
                world.report_broken(self.trace.saw(JobId::Order(view.id), view.version));
                world.checker().order_seen(view, now);
            }
            ServerFrame::Rescue(view) => {
                world.report_broken(self.trace.saw(JobId::Rescue(view.id), view.version));
                world.checker().rescue_seen(view, now);
            }
            ServerFrame::Driver(view) => world.checker().driver_seen(view, now),
            ServerFrame::Refused(refused) => {
                tracing::debug!(%refused, "a frame was refused");
                world.counts.frames_refused.fetch_add(1, Relaxed);
            }
            ServerFrame::Goodbye { refused } => {
                if refused.code == Code::Unauthenticated {
                    self.token = None;
                }
                return Break(());
            }
            ServerFrame::Hello { .. }
            | ServerFrame::Welcome { .. }
            | ServerFrame::Heartbeat { .. }
            | ServerFrame::Rider(_)
            | ServerFrame::Sighted { .. }
            | ServerFrame::Board(_)
            | ServerFrame::Region(_)
            | ServerFrame::Actor(_)
            | ServerFrame::Unsubscribed { .. } => {}
        }
        self.mind.hear(frame, now, &mut self.out);
        Continue(())
    }

    fn result(&mut self, id: CommandId, outcome: Outcome, now: Instant) {
        let done = match &outcome {
            Outcome::Ok(done) => Some(done),
            Outcome::Refused(_) => None,
        };
        let broken = match &outcome {
            // "Ask again" is no answer yet, so it cannot contradict one.
            Outcome::Refused(refused) if is_passing(refused.code) => None,
            Outcome::Ok(_) | Outcome::Refused(_) => self.trace.answered(id, done),
        };
        self.world.report_broken(broken);
        let Some(n) = self.pending.iter().position(|pending| pending.id == id) else {
            return;
        };
        if let Outcome::Refused(Refused { code, retry_after_ms, .. }) = &outcome
            && is_passing(*code)
            && now.duration_since(self.pending[n].first_sent) < GIVE_UP
        {
            let pause = Duration::from_millis(retry_after_ms.unwrap_or(500).clamp(50, 10_000));
            self.pending[n].send_at = now + pause.mul_f64(self.rng.random_range(1.0..1.5));
            return;
        }
        let Pending { wish, first_sent, .. } = self.pending.swap_remove(n);
        let refused = match &outcome {
            Outcome::Ok(done) => {
                self.world.counts.acked.fetch_add(1, Relaxed);
                self.world.checker().acked(done, now);
                None
            }
            Outcome::Refused(refused) => Some(refused.code),
        };
        self.world.book().answered(now.duration_since(first_sent), refused);
        self.mind.answered(Answer { id, wish, sent_at: first_sent, outcome }, now, &mut self.out);
    }
}

/// Does this code mean "the same again, later"?
fn is_passing(code: Code) -> bool {
    match code {
        Code::Busy | Code::RateLimited | Code::Unavailable | Code::Draining => true,
        Code::Malformed
        | Code::Invalid
        | Code::TooLarge
        | Code::Unauthenticated
        | Code::Forbidden
        | Code::NotFound
        | Code::IllegalTransition
        | Code::Taken
        | Code::InsufficientFunds
        | Code::OfferGone
        | Code::TooFar
        | Code::TooEarly
        | Code::TooLate
        | Code::WrongCode
        | Code::ProofMissing
        | Code::NotEligible
        | Code::OutOfArea
        | Code::QuoteInvalid
        | Code::CommandExpired
        | Code::CommandIdReused
        | Code::Quarantined
        | Code::Internal => false,
    }
}

async fn feed(socket: &mut Socket, frame: &ClientFrame) -> Result<(), ()> {
    let bytes = Codec::MsgPack.encode(frame).map_err(|_| ())?;
    socket.feed(Message::Binary(bytes.into())).await.map_err(|_| ())
}

async fn send(socket: &mut Socket, frame: &ClientFrame) -> Result<(), ()> {
    feed(socket, frame).await?;
    socket.flush().await.map_err(|_| ())
}

/// Counts a client while it is connected.
struct Present {
    world: Arc<World>,
    is_driver: bool,
}

impl Present {
    fn new(world: &Arc<World>, principal: Principal) -> Self {
        let is_driver = matches!(principal, Principal::Driver(_));
        let present = Self { world: Arc::clone(world), is_driver };
        present.count().fetch_add(1, Relaxed);
        present
    }

    fn count(&self) -> &std::sync::atomic::AtomicU64 {
        let counts = &self.world.counts;
        if self.is_driver { &counts.drivers } else { &counts.riders }
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.count().fetch_sub(1, Relaxed);
    }
}

/// A position as a phone reports it. The speed is the city's: no speedometer shows more, however
/// quick life is.
pub(super) fn position(fix: crate::city::Fix) -> Position {
    Position {
        at: fix.at,
        sampled_at: clock::now(),
        heading_deg: Some(fix.heading_deg),
        speed_mps: Some(fix.speed_mps),
        accuracy_m: Some(8.0),
    }
}
