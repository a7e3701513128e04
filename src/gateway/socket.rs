//! One client's line, a WebSocket or what stands in for it: reads and writes at the same time in one task, with a
//! bound on what waits.

use super::line::Line;
use axum::{
    Error,
    extract::ws::{CloseFrame, Message},
};
use futures_util::{Sink, Stream};
use protocol::{SessionId, codec::Codec, frame::ServerFrame};
use serde::de::DeserializeOwned;
use std::{
    collections::VecDeque,
    fmt,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite;

/// How long a goodbye may take.
const GOODBYE_MAX: Duration = Duration::from_secs(2);
/// So many messages are read before what waits is written, as long as they are there.
const READ_AT_ONCE_MAX: u8 = 16;

/// Close codes of RFC 6455 for what cannot be read on.
mod close {
    pub(super) const BROKEN_RULE: u16 = 1002;
    pub(super) const NOT_UTF8: u16 = 1007;
}

/// Messages both ways, by another way than a WebSocket.
pub(crate) trait Wire:
    Stream<Item = Result<Message, Error>> + Sink<Message, Error = Error> + fmt::Debug + Send + Unpin
{
    /// It is this session's.
    fn begins(&mut self, session: SessionId);
}

#[derive(Debug)]
enum Way {
    Web(Line),
    Other(Box<dyn Wire>),
}

/// A socket and what waits to be sent on it.
#[derive(Debug)]
pub(crate) struct Socket {
    way: Way,
    codec: Codec,
    queue: VecDeque<Message>,
    queue_max: u32,
    is_flushed: bool,
    /// Its client is seldom heard of: between two messages it keeps nothing of a WebSocket.
    may_rest: bool,
    /// The connection is no more.
    is_gone: bool,
    /// How many messages were read while something waited.
    n_read_first: u8,
    /// Since when something has been waiting without any of it going out.
    stalled_since: Option<Instant>,
}

/// More waits than may.
#[derive(Debug)]
pub(crate) struct Full;

/// What came in.
#[derive(Debug)]
pub(crate) enum Heard<T> {
    /// A frame.
    Frame(T),
    /// Bytes that are no frame, and why not.
    Rubbish(String),
    /// A sign of life and nothing more.
    Sign,
    /// Nothing came in, but all that waited went out.
    Written,
    /// More bytes than any frame has. Nothing can be read after that.
    TooLarge,
    /// What no WebSocket may say, and the close code for it. Nothing can be read after that.
    Broken(u16),
    /// The other side said goodbye.
    Left,
    /// The connection broke.
    Gone,
}

impl Socket {
    pub(crate) fn new(web: Line, codec: Codec, queue_max: usize) -> Self {
        Self::by(Way::Web(web), codec, queue_max)
    }

    /// One that is no WebSocket.
    pub(crate) fn over(wire: Box<dyn Wire>, codec: Codec, queue_max: usize) -> Self {
        Self::by(Way::Other(wire), codec, queue_max)
    }

    fn by(way: Way, codec: Codec, queue_max: usize) -> Self {
        Self {
            way,
            codec,
            queue: VecDeque::new(),
            queue_max: u32::try_from(queue_max).unwrap_or(u32::MAX),
            is_flushed: true,
            may_rest: false,
            is_gone: false,
            n_read_first: 0,
            stalled_since: None,
        }
    }

    /// It is this session's.
    pub(crate) fn begins(&mut self, session: SessionId) {
        if let Way::Other(wire) = &mut self.way {
            wire.begins(session);
        }
    }

    /// Is it no stand-in?
    pub(crate) fn is_websocket(&self) -> bool {
        matches!(self.way, Way::Web(_))
    }

    /// Will its client be silent for long? Then what it takes between two messages is given back.
    pub(crate) fn may_rest(&mut self, may_rest: bool) {
        self.may_rest = may_rest;
    }

    /// What it speaks.
    pub(crate) fn codec(&self) -> Codec {
        self.codec
    }

    /// A frame as it is sent; none, if it cannot be written down.
    pub(crate) fn encode(&self, frame: &ServerFrame) -> Option<Message> {
        encode(self.codec, frame)
    }

    /// Lets a frame wait for its turn.
    pub(crate) fn say(&mut self, message: Message) -> Result<(), Full> {
        if self.queue.len() >= self.queue_max as usize {
            return Err(Full);
        }
        self.queue.push_back(message);
        Ok(())
    }

    /// The same for what was said before, and is bounded there.
    pub(crate) fn repeat(&mut self, message: Message) {
        self.queue.push_back(message);
    }

    /// Forgets what waits: its client may not read it any more.
    pub(crate) fn forget(&mut self) {
        self.queue.clear();
    }

    /// How many frames wait.
    pub(crate) fn n_waiting(&self) -> usize {
        self.queue.len()
    }

    /// Does nothing wait?
    pub(crate) fn is_idle(&self) -> bool {
        self.queue.is_empty() && self.is_flushed
    }

    /// Does much wait, so that it had better be written than kept for one write?
    fn is_crowded(&self) -> bool {
        self.queue.len() > self.queue_max as usize / 4
    }

    /// Writes what can be written at once, if much waits.
    pub(crate) async fn relieve(&mut self) {
        if self.is_crowded() {
            // What is broken is found out by whoever reads on.
            poll_fn(|cx| {
                drop(self.poll_write(cx));
                Poll::Ready(())
            })
            .await;
        }
    }

    /// Since when nothing has gone out although something waits.
    pub(crate) fn stalled_since(&self) -> Option<Instant> {
        self.stalled_since
    }

    /// Writes what waits until something comes in. Safe to drop at any point.
    pub(crate) async fn hear<T: DeserializeOwned>(&mut self) -> Heard<T> {
        self.hear_as(decode).await
    }

    /// The same, with the way from a text or binary message to a frame.
    pub(crate) async fn hear_as<T>(
        &mut self,
        decode: impl FnOnce(Codec, Message) -> Heard<T>,
    ) -> Heard<T> {
        let message = poll_fn(|cx| {
            let was_idle = self.is_idle();
            // What is said to what is there already goes out with what waits: a write costs more than what is in it.
            let may_wait = self.n_read_first < READ_AT_ONCE_MAX && !self.is_crowded();
            let reads_first = was_idle || may_wait;
            if reads_first && let Poll::Ready(message) = self.way.poll_next(cx) {
                self.n_read_first = if was_idle { 0 } else { self.n_read_first + 1 };
                return Poll::Ready(Some(message));
            }
            self.n_read_first = 0;
            match self.poll_write(cx) {
                Poll::Ready(Err(_broken)) => return Poll::Ready(Some(None)),
                Poll::Ready(Ok(())) if !was_idle => return Poll::Ready(None),
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
            let lies_down = was_idle && self.may_rest && self.way.rests_now(cx);
            if reads_first && !lies_down {
                return Poll::Pending;
            }
            self.way.poll_next(cx).map(Some)
        });
        match message.await {
            None => Heard::Written,
            Some(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => Heard::Sign,
            Some(Some(Ok(Message::Close(close)))) => {
                let is_goodbye = close.as_ref().is_none_or(|close| is_goodbye(close.code));
                if is_goodbye { Heard::Left } else { Heard::Gone }
            }
            Some(Some(Ok(message))) => decode(self.codec, message),
            Some(Some(Err(error))) => {
                let heard = why_unreadable(&error);
                self.is_gone = matches!(heard, Heard::Gone);
                heard
            }
            Some(None) => {
                self.is_gone = true;
                Heard::Gone
            }
        }
    }

    /// Sends what waits, and then `last` and the close code, as far as there is time for it.
    pub(crate) async fn close(&mut self, last: Option<&ServerFrame>, code: u16) {
        if self.is_gone {
            return;
        }
        // However much waits: nothing that was counted may be left out before something that is said.
        let last = last.and_then(|frame| encode(self.codec, frame));
        let close = Message::Close(Some(CloseFrame { code, reason: "".into() }));
        self.queue.extend(last.into_iter().chain([close]));
        let farewell = async {
            // Nothing more may be said to who said goodbye first; reading on is what answers it.
            drop(poll_fn(|cx| self.poll_write(cx)).await);
            // Wait for the other side to say the same, or it may never read what was sent.
            while let Some(Ok(_)) = poll_fn(|cx| self.way.poll_next(cx)).await {}
        };
        // Whoever does not listen any more misses the goodbye.
        drop(tokio::time::timeout(GOODBYE_MAX, farewell).await);
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while !self.queue.is_empty() {
            match self.way.poll_ready(cx)? {
                Poll::Ready(()) => {
                    if let Some(message) = self.queue.pop_front() {
                        self.way.start_send(message)?;
                        self.is_flushed = false;
                        self.stalled_since = None;
                    }
                }
                Poll::Pending => {
                    self.stalled_since.get_or_insert_with(Instant::now);
                    return Poll::Pending;
                }
            }
        }
        if !self.is_flushed {
            match self.way.poll_flush(cx)? {
                Poll::Ready(()) => {
                    self.is_flushed = true;
                    self.stalled_since = None;
                    // Most sessions are idle most of the time.
                    self.queue = VecDeque::new();
                }
                Poll::Pending => {
                    self.stalled_since.get_or_insert_with(Instant::now);
                    return Poll::Pending;
                }
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl Way {
    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        match self {
            Self::Web(web) => web.poll_next(cx),
            Self::Other(wire) => Pin::new(wire).poll_next(cx),
        }
    }

    /// Does it give back what it took, so that it has to be polled anew?
    fn rests_now(&mut self, cx: &mut Context<'_>) -> bool {
        match self {
            Self::Web(web) => web.rests_now(cx),
            Self::Other(_) => false,
        }
    }

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match self {
            Self::Web(web) => web.poll_ready(cx),
            Self::Other(wire) => Pin::new(wire).poll_ready(cx),
        }
    }

    fn start_send(&mut self, message: Message) -> Result<(), Error> {
        match self {
            Self::Web(web) => web.start_send(message),
            Self::Other(wire) => Pin::new(wire).start_send(message),
        }
    }

    fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match self {
            Self::Web(web) => web.poll_flush(cx),
            Self::Other(wire) => Pin::new(wire).poll_flush(cx),
        }
    }
}

/// Does whoever closes with that not want to come back to where it was?
fn is_goodbye(code: u16) -> bool {
    const NORMAL: u16 = 1000;
    const GOING_AWAY: u16 = 1001;
    matches!(code, NORMAL | GOING_AWAY)
}

fn encode(codec: Codec, frame: &ServerFrame) -> Option<Message> {
    let bytes = match codec.encode(frame) {
        Ok(bytes) => bytes,
        Err(error) => {
            tracing::error!(%error, "frame left out");
            return None;
        }
    };
    match codec {
        Codec::MsgPack => Some(Message::Binary(bytes.into())),
        Codec::Json => String::from_utf8(bytes).ok().map(|text| Message::Text(text.into())),
    }
}

fn decode<T: DeserializeOwned>(codec: Codec, message: Message) -> Heard<T> {
    let bytes = match (&message, codec) {
        (Message::Text(text), Codec::Json) => text.as_bytes(),
        (Message::Binary(bytes), Codec::MsgPack) => bytes,
        (Message::Text(_), Codec::MsgPack) => {
            return Heard::Rubbish("this subprotocol speaks in binary messages".to_owned());
        }
        (Message::Binary(_), Codec::Json) => {
            return Heard::Rubbish("this subprotocol speaks in text messages".to_owned());
        }
        (Message::Ping(_) | Message::Pong(_) | Message::Close(_), _) => return Heard::Sign,
    };
    match codec.decode(bytes) {
        Ok(frame) => Heard::Frame(frame),
        Err(error) => Heard::Rubbish(error.to_string().chars().take(200).collect()),
    }
}

fn why_unreadable<T>(error: &Error) -> Heard<T> {
    use tungstenite::{Error, error::ProtocolError};
    let source = std::error::Error::source(error);
    match source.and_then(|source| source.downcast_ref::<Error>()) {
        Some(Error::Capacity(_)) => Heard::TooLarge,
        Some(Error::Utf8(_)) => Heard::Broken(close::NOT_UTF8),
        // Not a word that was wrong, but one that is missing.
        Some(Error::Protocol(ProtocolError::ResetWithoutClosingHandshake)) => Heard::Gone,
        Some(Error::Protocol(_)) => Heard::Broken(close::BROKEN_RULE),
        Some(_) | None => Heard::Gone,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::{Arc, Mutex};

    /// What was said, and when it was written.
    type Log = Arc<Mutex<Vec<&'static str>>>;

    /// Has so many messages to be read, and notes what is written.
    #[derive(Debug)]
    struct Noted {
        n_to_read: usize,
        log: Log,
    }

    impl Wire for Noted {
        fn begins(&mut self, _session: SessionId) {}
    }

    impl Stream for Noted {
        type Item = Result<Message, Error>;

        fn poll_next(mut self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
            if self.n_to_read == 0 {
                return Poll::Pending;
            }
            self.n_to_read -= 1;
            Poll::Ready(Some(Ok(Message::Text("{}".into()))))
        }
    }

    impl Sink<Message> for Noted {
        type Error = Error;

        fn poll_ready(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
            Poll::Ready(Ok(()))
        }

        fn start_send(self: Pin<&mut Self>, _message: Message) -> Result<(), Error> {
            self.log.lock().unwrap().push("said");
            Ok(())
        }

        fn poll_flush(self: Pin<&mut Self>, _cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
            self.log.lock().unwrap().push("written");
            Poll::Ready(Ok(()))
        }

        fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
            self.poll_flush(cx)
        }
    }

    /// How many answers go out in each write, if each of so many messages is answered.
    async fn writes(n_to_read: usize, queue_max: usize) -> Vec<usize> {
        let log = Log::default();
        let wire = Noted { n_to_read, log: Arc::clone(&log) };
        let mut socket = Socket::over(Box::new(wire), Codec::Json, queue_max);
        for _ in 0..n_to_read {
            loop {
                match socket.hear_as(|_codec, message| Heard::Frame(message)).await {
                    Heard::Frame(message) => break socket.say(message).expect("there is room"),
                    Heard::Written => {}
                    other @ (Heard::Rubbish(_)
                    | Heard::Sign
                    | Heard::TooLarge
                    | Heard::Broken(_)
                    | Heard::Left
                    | Heard::Gone) => panic!("{other:?}"),
                }
            }
        }
        let last = socket.hear_as(|_codec, message| Heard::Frame(message)).await;
        assert!(matches!(last, Heard::Written), "{last:?}");
        assert!(socket.is_idle());
        let log = log.lock().unwrap();
        log.split(|it| *it == "written").map(<[_]>::len).filter(|n| *n > 0).collect()
    }

    #[tokio::test]
    async fn answers_to_what_is_there_go_out_in_one_write() {
        assert_eq!(writes(1, 64).await, [1]);
        assert_eq!(writes(10, 64).await, [10]);
    }

    #[tokio::test]
    async fn nothing_waits_for_what_never_ends_and_no_queue_is_filled_for_it() {
        let most = usize::from(READ_AT_ONCE_MAX) + 1;
        assert!(writes(200, 1_000).await.iter().all(|n| *n <= most));
        assert!(writes(200, 8).await.iter().all(|n| *n <= 3));
    }

    #[tokio::test]
    async fn what_is_crowded_is_relieved() {
        let log = Log::default();
        let wire = Noted { n_to_read: 0, log: Arc::clone(&log) };
        let mut socket = Socket::over(Box::new(wire), Codec::Json, 8);
        for n in 1..=3 {
            socket.say(Message::Text("{}".into())).unwrap();
            socket.relieve().await;
            assert_eq!(socket.is_idle(), n == 3);
        }
        assert_eq!(*log.lock().unwrap(), ["said", "said", "said", "written"]);
    }
}
