//! A phone that wants its answer: one socket at a time, to any node that takes it.
//!
//! A command keeps its id however often it is sent, so a repeat of it hears the first answer.

use crate::record::{Record, Sample, Told};
use futures_util::{SinkExt, StreamExt};
use loadtest::{TokenSource, token::DevelopmentKey};
use protocol::{
    Code, CommandId, OfferId, Principal, Refused,
    codec::Codec,
    frame::{ClientFrame, Done, Outcome, Push, SUBPROTOCOL_MSGPACK, ServerFrame},
    view::Offer,
    work::Wish,
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{
    collections::HashSet,
    net::SocketAddr,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest, http::HeaderValue},
};

/// Without an answer for this long, a command is sent again, through another node.
const ANSWER_MAX: Duration = Duration::from_millis(1_200);
/// Longer than this no handshake takes.
const CONNECT_MAX: Duration = Duration::from_secs(1);
/// After this long of nothing but "later", another node is asked.
const LATER_MAX: Duration = Duration::from_secs(2);
/// The longest a client waits because it was told to.
const WAIT_MAX: Duration = Duration::from_millis(500);
/// How long to breathe when no node takes anybody.
const BREATHER: Duration = Duration::from_millis(50);
/// A command without an answer for this long has failed.
pub(crate) const GIVE_UP: Duration = Duration::from_secs(90);

type Socket = WebSocketStream<TcpStream>;

/// What all phones share.
#[derive(Debug)]
pub(crate) struct World {
    pub(crate) record: Record,
    pub(crate) doors: Vec<SocketAddr>,
    pub(crate) key: Arc<DevelopmentKey>,
}

/// A client and its connection.
#[derive(Debug)]
pub(crate) struct Phone {
    pub(crate) world: Arc<World>,
    pub(crate) n: usize,
    pub(crate) dice: StdRng,
    me: Principal,
    door: usize,
    socket: Option<Socket>,
    /// Offers that were pushed and not looked at yet.
    pub(crate) offers: Vec<Offer>,
    /// All that ever were: a push is sent again when it may not have arrived.
    offered: HashSet<OfferId>,
}

/// Why there is no answer on this socket.
#[derive(Debug)]
struct Lost;

impl Phone {
    /// The `n`th client, not connected yet.
    pub(crate) fn new(world: &Arc<World>, n: usize, me: Principal) -> Self {
        let dice = StdRng::seed_from_u64(n as u64);
        let (door, world) = (n % world.doors.len(), Arc::clone(world));
        Self { world, n, dice, me, door, socket: None, offers: Vec::new(), offered: HashSet::new() }
    }

    /// Wishes something until there is an answer, and notes it; `is_no` says which refusals may be.
    pub(crate) async fn insist(
        &mut self,
        wish: Wish,
        is_no: impl Fn(Code) -> bool,
    ) -> Option<Done> {
        let id = CommandId::mint();
        let (outcome, began, n_tries) = self.ask(id, &wish).await;
        let told = match &outcome {
            Some(Outcome::Ok(_)) => Told::Yes,
            Some(Outcome::Refused(refused)) if is_no(refused.code) => Told::No,
            Some(Outcome::Refused(_)) | None => Told::Wrong,
        };
        // The file first: who waits until everyone was answered finds everything in it.
        if let Some(Outcome::Ok(done)) = &outcome {
            let sample = Sample { by: self.me, id, wish: wish.clone(), done: done.clone() };
            self.world.record.acked(sample, n_tries);
        }
        self.world.record.answered(self.n, began, n_tries, told);
        if told == Told::Wrong {
            let heard = match &outcome {
                Some(Outcome::Refused(refused)) => refused.to_string(),
                Some(Outcome::Ok(_)) | None => format!("nothing for {GIVE_UP:?}"),
            };
            let me = self.me;
            self.world.record.unexpected(format!("{me} heard {heard} to {id}, {wish:?}"));
        }
        match outcome {
            Some(Outcome::Ok(done)) => Some(done),
            Some(Outcome::Refused(_)) | None => None,
        }
    }

    /// Asks until there is a yes or a no; with when it was first asked, and how often.
    pub(crate) async fn ask(
        &mut self,
        id: CommandId,
        wish: &Wish,
    ) -> (Option<Outcome>, Instant, u32) {
        self.try_ask(id, wish, GIVE_UP).await
    }

    /// The same, for so long at most.
    pub(crate) async fn try_ask(
        &mut self,
        id: CommandId,
        wish: &Wish,
        give_up: Duration,
    ) -> (Option<Outcome>, Instant, u32) {
        let began = Instant::now();
        let mut heard_at = began;
        let mut later_since = None;
        let mut n_tries = 0;
        while began.elapsed() < give_up {
            n_tries += 1;
            let heard = match self.once(id, wish).await {
                Ok(heard) => heard,
                Err(Lost) => {
                    self.hop();
                    continue;
                }
            };
            self.world.record.gap(heard_at.elapsed());
            heard_at = Instant::now();
            let Outcome::Refused(Refused { code, retry_after_ms, .. }) = &heard else {
                return (Some(heard), began, n_tries);
            };
            if !is_passing(*code) {
                return (Some(heard), began, n_tries);
            }
            let since = *later_since.get_or_insert(heard_at);
            if since.elapsed() > LATER_MAX {
                later_since = None;
                self.hop();
            }
            let wait = Duration::from_millis(retry_after_ms.unwrap_or(100)).min(WAIT_MAX);
            tokio::time::sleep(wait.mul_f64(self.dice.random_range(0.5..1.0))).await;
        }
        (None, began, n_tries)
    }

    /// Leaves this node for the next one.
    pub(crate) fn hop(&mut self) {
        self.socket = None;
        self.door = (self.door + 1) % self.world.doors.len();
    }

    /// Is there a connection?
    pub(crate) fn is_connected(&self) -> bool {
        self.socket.is_some()
    }

    /// Connects, if there is no connection; tries every node once.
    pub(crate) async fn connect(&mut self) -> bool {
        for _ in 0..self.world.doors.len() {
            if self.socket.is_some() {
                return true;
            }
            let door = self.world.doors[self.door];
            match timeout(CONNECT_MAX, enter(door, &self.world.key, self.me)).await {
                Ok(Some(socket)) => self.socket = Some(socket),
                Ok(None) | Err(_) => self.hop(),
            }
        }
        self.socket.is_some()
    }

    /// Says something that is not answered, if there is a connection.
    pub(crate) async fn say(&mut self, frame: &ClientFrame) {
        if let Some(socket) = &mut self.socket
            && !matches!(timeout(ANSWER_MAX, send(socket, frame)).await, Ok(Some(())))
        {
            self.hop();
        }
    }

    /// Listens for so long, and does what a phone does by itself.
    pub(crate) async fn rest(&mut self, long: Duration) {
        let until = Instant::now() + long;
        loop {
            let left = until.saturating_duration_since(Instant::now());
            if self.socket.is_none() {
                return tokio::time::sleep(left).await;
            }
            match timeout(left, self.hear()).await {
                Err(_) => return,
                Ok(Ok(_)) => {}
                Ok(Err(Lost)) => self.hop(),
            }
        }
    }

    /// Sends a command once and waits for its answer.
    async fn once(&mut self, id: CommandId, wish: &Wish) -> Result<Outcome, Lost> {
        if !self.connect().await {
            tokio::time::sleep(BREATHER).await;
            return Err(Lost);
        }
        let frame = ClientFrame::Command { id, wish: wish.clone() };
        let answer = async {
            let socket = self.socket.as_mut().ok_or(Lost)?;
            send(socket, &frame).await.ok_or(Lost)?;
            loop {
                if let ServerFrame::Result { id: of, outcome } = self.hear().await?
                    && of == id
                {
                    return Ok(outcome);
                }
            }
        };
        timeout(ANSWER_MAX, answer).await.unwrap_or(Err(Lost))
    }

    /// The next frame; pushes are acknowledged on the way.
    async fn hear(&mut self) -> Result<ServerFrame, Lost> {
        let socket = self.socket.as_mut().ok_or(Lost)?;
        let frame = next(socket).await.ok_or(Lost)?;
        match &frame {
            ServerFrame::Push { n, push } => {
                send(socket, &ClientFrame::Ack { n: *n }).await.ok_or(Lost)?;
                if let Push::Offer(offer) = push
                    && self.offered.insert(offer.id)
                {
                    self.offers.push(offer.clone());
                }
            }
            ServerFrame::Goodbye { .. } => return Err(Lost),
            ServerFrame::Hello { .. }
            | ServerFrame::Welcome { .. }
            | ServerFrame::Heartbeat { .. }
            | ServerFrame::Result { .. }
            | ServerFrame::Refused(_)
            | ServerFrame::Order(_)
            | ServerFrame::Rescue(_)
            | ServerFrame::Driver(_)
            | ServerFrame::Rider(_)
            | ServerFrame::Incident(_)
            | ServerFrame::Run(_)
            | ServerFrame::Changed(_)
            | ServerFrame::Sighted { .. }
            | ServerFrame::Presence { .. }
            | ServerFrame::Near { .. }
            | ServerFrame::Board(_)
            | ServerFrame::Region(_)
            | ServerFrame::Actor(_)
            | ServerFrame::Unsubscribed { .. } => {}
        }
        Ok(frame)
    }
}

/// Does this code mean "the same again, later"?
pub(crate) fn is_passing(code: Code) -> bool {
    matches!(code, Code::Busy | Code::RateLimited | Code::Unavailable | Code::Draining)
}

/// Connects and says who one is.
async fn enter(door: SocketAddr, key: &DevelopmentKey, me: Principal) -> Option<Socket> {
    let stream = TcpStream::connect(door).await.ok()?;
    stream.set_nodelay(true).ok()?;
    let mut request = format!("ws://{door}/v1/ws").into_client_request().ok()?;
    let subprotocol = HeaderValue::from_static(SUBPROTOCOL_MSGPACK);
    request.headers_mut().insert("sec-websocket-protocol", subprotocol);
    let (mut socket, _) = client_async(request, stream).await.ok()?;
    let token = key.token(me).await.ok()?;
    send(&mut socket, &ClientFrame::Identify { token, resume: None }).await?;
    loop {
        let heard = next(&mut socket).await?;
        if matches!(heard, ServerFrame::Welcome { .. }) {
            return Some(socket);
        }
        if !matches!(heard, ServerFrame::Hello { .. }) {
            return None;
        }
    }
}

async fn send(socket: &mut Socket, frame: &ClientFrame) -> Option<()> {
    let bytes = Codec::MsgPack.encode(frame).ok()?;
    socket.send(Message::Binary(bytes.into())).await.ok()
}

async fn next(socket: &mut Socket) -> Option<ServerFrame> {
    loop {
        match socket.next().await?.ok()? {
            Message::Binary(bytes) => return Codec::MsgPack.decode_unbounded(&bytes).ok(),
            Message::Close(_) => return None,
            Message::Text(_) | Message::Ping(_) | Message::Pong(_) | Message::Frame(_) => {}
        }
    }
}
