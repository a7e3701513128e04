//! One WebSocket: reads and writes at the same time in one task, with a bound on what waits.

use axum::{
    Error,
    extract::ws::{CloseFrame, Message, WebSocket, WebSocketUpgrade},
};
use futures_util::{Sink, Stream};
use protocol::{
    codec::Codec,
    frame::{FRAME_BYTES_MAX, ServerFrame},
};
use serde::de::DeserializeOwned;
use std::{
    collections::VecDeque,
    future::poll_fn,
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};
use tokio::time::Instant;
use tokio_tungstenite::tungstenite;

/// How long a goodbye may take.
const GOODBYE_MAX: Duration = Duration::from_secs(1);
/// What a socket reads at a time. The default of 128 KiB would be most of a session's memory.
const READ_BUFFER_BYTES: usize = 256;
/// Most bytes that wait inside a socket for a slow client, on top of the queue of frames.
const WRITE_BUFFER_BYTES_MAX: usize = 256 * 1_024;

/// Close codes of RFC 6455 for what cannot be read on.
mod close {
    pub(super) const BROKEN_RULE: u16 = 1002;
    pub(super) const NOT_UTF8: u16 = 1007;
}

/// A socket and what waits to be sent on it.
#[derive(Debug)]
pub(crate) struct Socket {
    web: WebSocket,
    codec: Codec,
    queue: VecDeque<Message>,
    queue_max: usize,
    is_flushed: bool,
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

/// The same upgrade, to a socket with bounds.
pub(crate) fn bounded(web: WebSocketUpgrade) -> WebSocketUpgrade {
    web.read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(0)
        .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX)
        .max_message_size(FRAME_BYTES_MAX)
        .max_frame_size(FRAME_BYTES_MAX)
}

impl Socket {
    pub(crate) fn new(web: WebSocket, codec: Codec, queue_max: usize) -> Self {
        let queue = VecDeque::new();
        Self { web, codec, queue, queue_max, is_flushed: true, stalled_since: None }
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
        if self.queue.len() >= self.queue_max {
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
            match self.poll_write(cx) {
                Poll::Ready(Err(_broken)) => return Poll::Ready(Some(None)),
                Poll::Ready(Ok(())) if !was_idle => return Poll::Ready(None),
                Poll::Ready(Ok(())) | Poll::Pending => {}
            }
            Pin::new(&mut self.web).poll_next(cx).map(Some)
        });
        match message.await {
            None => Heard::Written,
            Some(Some(Ok(Message::Ping(_) | Message::Pong(_)))) => Heard::Sign,
            Some(Some(Ok(Message::Close(close)))) => {
                let is_goodbye = close.as_ref().is_none_or(|close| is_goodbye(close.code));
                if is_goodbye { Heard::Left } else { Heard::Gone }
            }
            Some(Some(Ok(message))) => decode(self.codec, message),
            Some(Some(Err(error))) => why_unreadable(&error),
            Some(None) => Heard::Gone,
        }
    }

    /// Sends what waits, and then `last` and the close code, as far as there is time for it.
    pub(crate) async fn close(&mut self, last: Option<&ServerFrame>, code: u16) {
        // However much waits: nothing that was counted may be left out before something that is said.
        let last = last.and_then(|frame| encode(self.codec, frame));
        let close = Message::Close(Some(CloseFrame { code, reason: "".into() }));
        self.queue.extend(last.into_iter().chain([close]));
        let farewell = async {
            // Nothing more may be said to who said goodbye first; reading on is what answers it.
            drop(poll_fn(|cx| self.poll_write(cx)).await);
            // Wait for the other side to say the same, or it may never read what was sent.
            while let Some(Ok(_)) = poll_fn(|cx| Pin::new(&mut self.web).poll_next(cx)).await {}
        };
        // Whoever does not listen any more misses the goodbye.
        drop(tokio::time::timeout(GOODBYE_MAX, farewell).await);
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        while !self.queue.is_empty() {
            match Pin::new(&mut self.web).poll_ready(cx)? {
                Poll::Ready(()) => {
                    if let Some(message) = self.queue.pop_front() {
                        Pin::new(&mut self.web).start_send(message)?;
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
            match Pin::new(&mut self.web).poll_flush(cx)? {
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
