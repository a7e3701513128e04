//! A client as one object that its owner drives: no task of its own, no queue but the socket's.
//!
//! [`Client`](crate::Client) is this in a task, with handles. Whoever has thousands of clients, or wants
//! to hear every frame, takes this.

use crate::{
    core::{Act, Core, Event, Habits, NotOpened, NotTaken, PushId},
    socket::{Address, Dial, Heard, Socket, dial_plainly},
    token::{Asking, Tokens},
};
use futures_util::{FutureExt, future::BoxFuture};
use protocol::{
    CommandId, Timestamp,
    codec::Codec,
    frame::{ClientFrame, Fix, Resume, ServerFrame, Topic},
    work::Wish,
};
use std::{
    fmt,
    future::poll_fn,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};

/// Longer than this no write takes.
const WRITE_MAX: Duration = Duration::from_secs(15);
/// Not to the microsecond: it is cheaper to wake a little late than twice.
const LATE: Duration = Duration::from_millis(5);

/// Where a client goes, and as whom.
#[derive(Clone)]
pub struct Target {
    /// The nodes it knows, one at least; after a failure it tries the next one.
    pub addresses: Vec<Address>,
    /// Where its tokens come from.
    pub tokens: Arc<dyn Tokens>,
    /// How it gets there.
    pub dial: Dial,
}

impl fmt::Debug for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Target").field("addresses", &self.addresses).finish_non_exhaustive()
    }
}

impl Target {
    /// These nodes, by the way the system takes.
    pub fn new(addresses: Vec<Address>, tokens: impl Tokens) -> Self {
        Self { addresses, tokens: Arc::new(tokens), dial: dial_plainly() }
    }
}

enum Way {
    None,
    Opening(BoxFuture<'static, Result<Box<Socket>, NotOpened>>),
    Open(Box<Socket>),
}

/// What happened.
enum Turn {
    Token(Option<String>),
    Opened(Result<Box<Socket>, NotOpened>),
    Heard(Heard),
}

/// A client and its socket.
pub struct Link {
    core: Core,
    codec: Codec,
    target: Target,
    asking: Option<Asking>,
    way: Way,
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Link").field("core", &self.core).finish_non_exhaustive()
    }
}

impl Link {
    /// One that connects as soon as [`Link::next`] is awaited.
    pub fn new(target: Target, habits: Habits) -> Self {
        let habits = Habits { n_addresses: target.addresses.len(), ..habits };
        let codec = habits.codec;
        let core = Core::new(habits, Instant::now());
        Self { core, codec, target, asking: None, way: Way::None }
    }

    /// What happens next; none, once it is closed for good. Safe to drop at any point.
    pub async fn next(&mut self) -> Option<Event> {
        loop {
            if let Some(event) = self.act() {
                return Some(event);
            }
            let wake_at = self.wake_at()?;
            let turn = tokio::time::timeout_at(wake_at.into(), poll_fn(|cx| self.poll_turn(cx)));
            let turn = turn.await.ok();
            let now = Instant::now();
            match turn {
                Some(Turn::Token(token)) => self.core.token(token, now),
                Some(Turn::Opened(Ok(socket))) => {
                    self.way = Way::Open(socket);
                    self.core.opened(now);
                }
                Some(Turn::Opened(Err(why))) => {
                    tracing::debug!(%why, "could not connect");
                    self.core.not_opened(&why, now);
                }
                Some(Turn::Heard(heard)) => self.heard(heard, now),
                None => self.look_for_stall(now),
            }
        }
    }

    /// Wants something until it is answered.
    pub fn command(&mut self, id: CommandId, wish: Wish) -> Result<(), NotTaken> {
        self.core.command(id, wish, Instant::now())
    }

    /// Takes back what was never said.
    pub fn withdraw(&mut self, id: CommandId) {
        self.core.withdraw(id);
    }

    /// Where a driver is; the latest counts.
    pub fn position(&mut self, position: impl Into<Fix>) {
        self.core.position(position);
    }

    /// Follows something, now and after every drop.
    pub fn follow(&mut self, topic: Topic) {
        self.core.follow(topic);
    }

    /// Follows it no more.
    pub fn unfollow(&mut self, topic: &Topic) {
        self.core.unfollow(topic);
    }

    /// Says a frame as it is, if there is somebody to hear it; for whoever follows by itself.
    pub fn say(&mut self, frame: ClientFrame) {
        self.core.say(frame);
    }

    /// The app has this push.
    pub fn taken(&mut self, id: PushId) {
        self.core.taken(id);
    }

    /// Ends the wait for the next attempt, whoever asked for it: the network is back.
    pub fn retry_now(&mut self) {
        self.core.retry_now(Instant::now());
    }

    /// Somebody looks at the app, or is about to want something: whoever was cut off at rest comes back as soon as others do.
    pub fn rouse(&mut self) {
        self.core.rouse();
    }

    /// Drives into a tunnel, without a word, and comes back after a pause.
    pub fn break_off(&mut self) {
        if matches!(self.way, Way::Open(_)) {
            self.way = Way::None;
            self.core.break_off(Instant::now());
        }
    }

    /// Asks for a newer token, and shows it.
    pub fn renew(&mut self) {
        self.core.renew();
    }

    /// The node's clock, once it has said what it is.
    pub fn server_now(&self) -> Option<Timestamp> {
        self.core.server_now(Instant::now())
    }

    /// Where its session stands.
    pub fn at(&self) -> Option<Resume> {
        self.core.at()
    }

    /// Says what waits and goodbye. What was not answered stays unknown.
    pub async fn leave(mut self) {
        while self.act().is_some() {}
        self.core.leave();
        if let Way::Open(socket) = self.way {
            socket.leave().await;
        }
    }

    /// Does what is to be done, up to something the app must hear.
    fn act(&mut self) -> Option<Event> {
        let is_full = |way: &Way| matches!(way, Way::Open(socket) if socket.is_full());
        while !is_full(&self.way) {
            match self.core.next(Instant::now())? {
                Act::Tell(event) => return Some(event),
                Act::AskToken => self.asking = Some(self.target.tokens.token()),
                Act::Open { address } => {
                    let Some(address) = self.target.addresses.get(address).cloned() else {
                        let why = NotOpened::Failed("no node is known".to_owned());
                        self.core.not_opened(&why, Instant::now());
                        continue;
                    };
                    let dial = Arc::clone(&self.target.dial);
                    self.way = Way::Opening(Socket::open(address, self.codec, dial).boxed());
                }
                Act::Say(frame) => {
                    if let Way::Open(socket) = &mut self.way {
                        socket.say(&frame);
                    }
                }
                Act::Close { code } => {
                    self.asking = None;
                    if let Way::Open(socket) = std::mem::replace(&mut self.way, Way::None) {
                        socket.drop_with(code);
                    }
                }
            }
        }
        None
    }

    /// When it looks again by itself.
    fn wake_at(&self) -> Option<Instant> {
        let Way::Open(socket) = &self.way else { return self.core.wake_at().map(|at| at + LATE) };
        match socket.stalled_since {
            Some(since) if socket.is_full() => Some(since + WRITE_MAX),
            Some(since) => self.core.wake_at().map(|at| (at + LATE).min(since + WRITE_MAX)),
            None if socket.is_full() => Some(Instant::now() + WRITE_MAX),
            None => self.core.wake_at().map(|at| at + LATE),
        }
    }

    fn look_for_stall(&mut self, now: Instant) {
        let Way::Open(socket) = &self.way else { return };
        if socket.stalled_since.is_some_and(|since| now >= since + WRITE_MAX) {
            self.core.break_off(now);
            // There is no room for what the core has to say: its socket goes first.
            self.way = Way::None;
        }
    }

    fn heard(&mut self, heard: Heard, now: Instant) {
        match heard {
            Heard::Message(bytes) => match self.codec.decode_unbounded::<ServerFrame>(&bytes) {
                Ok(frame) => self.core.heard(frame, now),
                Err(error) => self.core.unreadable(error.to_string(), now),
            },
            Heard::Written => {}
            Heard::Closed(code) => {
                self.way = Way::None;
                self.core.closed(code, now);
            }
        }
    }

    fn poll_turn(&mut self, cx: &mut Context<'_>) -> Poll<Turn> {
        if let Some(asking) = &mut self.asking
            && let Poll::Ready(token) = asking.poll_unpin(cx)
        {
            self.asking = None;
            if let Err(error) = &token {
                tracing::debug!(%error, "could not be let in");
            }
            return Poll::Ready(Turn::Token(token.ok()));
        }
        match &mut self.way {
            Way::None => Poll::Pending,
            Way::Opening(opening) => {
                let opened = std::task::ready!(opening.poll_unpin(cx));
                self.way = Way::None;
                Poll::Ready(Turn::Opened(opened))
            }
            Way::Open(socket) => socket.poll_hear(Instant::now(), cx).map(Turn::Heard),
        }
    }
}
