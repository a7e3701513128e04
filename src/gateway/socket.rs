//! One WebSocket: reads and writes at the same time in one task, with a bound on what waits.

use axum::{
    Error,
    extract::ws::{CloseFrame, Message, WebSocket},
};
use futures_util::{Sink, Stream};
use protocol::{codec::Codec, frame::ServerFrame};
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
    /// The other side said goodbye.
    Left,
    /// The connection broke.
    Gone,
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
            Some(Some(Ok(message))) => self.read(&message),
            Some(Some(Err(error))) if is_too_large(&error) => Heard::TooLarge,
            Some(Some(Err(_)) | None) => Heard::Gone,
        }
    }

    fn read<T: DeserializeOwned>(&self, message: &Message) -> Heard<T> {
        let bytes = match (message, self.codec) {
            (Message::Text(text), Codec::Json) => text.as_bytes(),
            (Message::Binary(bytes), Codec::MsgPack) => bytes,
            (Message::Text(_), Codec::MsgPack) => {
                return Heard::Rubbish("this subprotocol speaks in binary messages".to_owned());
            }
            (Message::Binary(_), Codec::Json) => {
                return Heard::Rubbish("this subprotocol speaks in text messages".to_owned());
            }
            (Message::Ping(_) | Message::Pong(_), _) => return Heard::Sign,
            (Message::Close(close), _) => {
                let is_goodbye = close.as_ref().is_none_or(|close| is_goodbye(close.code));
                return if is_goodbye { Heard::Left } else { Heard::Gone };
            }
        };
        match self.codec.decode(bytes) {
            Ok(frame) => Heard::Frame(frame),
            Err(error) => Heard::Rubbish(error.to_string().chars().take(200).collect()),
        }
    }

    /// Sends what waits, and then `last` and the close code, as far as there is time for it.
    pub(crate) async fn close(&mut self, last: Option<&ServerFrame>, code: u16) {
        // However much waits: nothing that was counted may be left out before something that is said.
        let last = last.and_then(|frame| encode(self.codec, frame));
        let close = Message::Close(Some(CloseFrame { code, reason: "".into() }));
        self.queue.extend(last.into_iter().chain([close]));
        let farewell = async {
            poll_fn(|cx| self.poll_write(cx)).await?;
            // Wait for the other side to say the same, or it may never read what was sent.
            while let Some(Ok(_)) = poll_fn(|cx| Pin::new(&mut self.web).poll_next(cx)).await {}
            Ok::<_, Error>(())
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
                    // A burst should not be paid for until the end of the session.
                    self.queue.shrink_to(8);
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

fn is_too_large(error: &Error) -> bool {
    let source = std::error::Error::source(error);
    source
        .and_then(|source| source.downcast_ref::<tungstenite::Error>())
        .is_some_and(|error| matches!(error, tungstenite::Error::Capacity(_)))
}
