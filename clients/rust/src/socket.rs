//! One WebSocket: opened, read and written at the same time, dropped without waiting.

use crate::core::NotOpened;
use futures_util::{FutureExt, Sink, SinkExt, Stream, future::BoxFuture};
use protocol::{codec::Codec, frame::ClientFrame};
use std::{
    collections::VecDeque,
    fmt, io,
    pin::Pin,
    str::FromStr,
    sync::Arc,
    task::{Context, Poll},
    time::{Duration, Instant},
};
use thiserror::Error;
use tokio::net::TcpStream;
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream,
    tungstenite::{
        self, Message, Utf8Bytes,
        client::IntoClientRequest,
        handshake::client::Request,
        http::{HeaderValue, Uri, header::RETRY_AFTER},
        protocol::{CloseFrame, WebSocketConfig},
    },
};

/// So many frames wait to be written at most; what else there is to say waits where it is, and the latest
/// position replaces the one before.
pub(crate) const WAITING_MAX: usize = 32;
/// Larger than any frame of a node.
const MESSAGE_BYTES_MAX: usize = 1024 * 1024;
/// How long a goodbye may take.
const GOODBYE_MAX: Duration = Duration::from_millis(500);

/// Where a node is: `ws://host:port/v1/ws`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Address {
    uri: Uri,
    host: String,
    port: u16,
}

/// Text that is no address of a node.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("{0:?} is not an address such as ws://127.0.0.1:7070/v1/ws")]
pub struct NoAddress(pub String);

impl Address {
    /// The name or number of its machine.
    pub fn host(&self) -> &str {
        &self.host
    }

    /// Its port.
    pub fn port(&self) -> u16 {
        self.port
    }
}

impl FromStr for Address {
    type Err = NoAddress;

    fn from_str(text: &str) -> Result<Self, NoAddress> {
        let wrong = || NoAddress(text.to_owned());
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let port = match uri.scheme_str() {
            Some("ws") => 80,
            Some("wss") => 443,
            Some(_) | None => return Err(wrong()),
        };
        let host = uri.host().ok_or_else(wrong)?;
        let host = host.trim_start_matches('[').trim_end_matches(']').to_owned();
        Ok(Self { port: uri.port_u16().unwrap_or(port), host, uri })
    }
}

/// How a node is reached; for whoever needs more than the way the system takes.
pub type Dial = Arc<dyn Fn(&Address) -> BoxFuture<'static, io::Result<TcpStream>> + Send + Sync>;

/// The way the system takes.
pub(crate) fn dial_plainly() -> Dial {
    Arc::new(|address| {
        let to = (address.host.clone(), address.port);
        async move { TcpStream::connect(to).await }.boxed()
    })
}

/// What came in, or went out.
#[derive(Debug)]
pub(crate) enum Heard {
    /// A whole message.
    Message(Vec<u8>),
    /// Nothing came in, but some of what waited went out.
    Written,
    /// It is over: with a close code, or without a word.
    Closed(Option<u16>),
}

/// A socket and what waits to be said on it.
pub(crate) struct Socket {
    web: WebSocketStream<MaybeTlsStream<TcpStream>>,
    codec: Codec,
    waiting: VecDeque<Message>,
    is_flushed: bool,
    /// Since when something has been waiting without any of it going out.
    pub(crate) stalled_since: Option<Instant>,
}

impl fmt::Debug for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Socket").field("waiting", &self.waiting.len()).finish_non_exhaustive()
    }
}

impl Socket {
    /// Opens one.
    pub(crate) async fn open(
        address: Address,
        codec: Codec,
        dial: Dial,
    ) -> Result<Box<Self>, NotOpened> {
        let failed = |error: &dyn fmt::Display| NotOpened::Failed(error.to_string());
        let stream = dial(&address).await.map_err(|error| failed(&error))?;
        stream.set_nodelay(true).map_err(|error| failed(&error))?;
        let mut request = address.uri.into_client_request().map_err(|error| failed(&error))?;
        let subprotocol = HeaderValue::from_static(codec.subprotocol());
        request.headers_mut().insert("sec-websocket-protocol", subprotocol);
        // The default buffers would be 128 KiB for each of thousands of phones in one process.
        let config = WebSocketConfig::default()
            .read_buffer_size(2 * 1024)
            .write_buffer_size(0)
            .max_write_buffer_size(256 * 1024)
            .max_message_size(Some(MESSAGE_BYTES_MAX))
            .max_frame_size(Some(MESSAGE_BYTES_MAX));
        let opened = upgrade(request, stream, config).await;
        let web = opened.map_err(|error| not_opened(&error))?;
        let waiting = VecDeque::new();
        Ok(Box::new(Self { web, codec, waiting, is_flushed: true, stalled_since: None }))
    }

    /// Is there no room to say more?
    pub(crate) fn is_full(&self) -> bool {
        self.waiting.len() >= WAITING_MAX
    }

    /// Lets a frame wait for its turn.
    pub(crate) fn say(&mut self, frame: &ClientFrame) {
        let Ok(bytes) = self.codec.encode(frame) else {
            tracing::error!("a frame cannot be written");
            return;
        };
        match self.codec {
            Codec::MsgPack => self.waiting.push_back(Message::Binary(bytes.into())),
            Codec::Json => {
                self.waiting.extend(Utf8Bytes::try_from(bytes).ok().map(Message::Text));
            }
        }
    }

    /// Writes what waits until something comes in.
    pub(crate) fn poll_hear(&mut self, now: Instant, cx: &mut Context<'_>) -> Poll<Heard> {
        let was_idle = self.waiting.is_empty() && self.is_flushed;
        let n_before = self.waiting.len();
        match self.poll_write(now, cx) {
            Poll::Ready(Err(_)) => return Poll::Ready(Heard::Closed(None)),
            Poll::Ready(Ok(())) if !was_idle => return Poll::Ready(Heard::Written),
            Poll::Ready(Ok(())) => {}
            Poll::Pending if self.waiting.len() < n_before => return Poll::Ready(Heard::Written),
            Poll::Pending => {}
        }
        loop {
            return Poll::Ready(match std::task::ready!(Pin::new(&mut self.web).poll_next(cx)) {
                Some(Ok(Message::Binary(bytes))) => Heard::Message(bytes.to_vec()),
                Some(Ok(Message::Text(text))) => Heard::Message(text.as_bytes().to_vec()),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                Some(Ok(Message::Close(close))) => {
                    Heard::Closed(close.map(|close| close.code.into()))
                }
                Some(Err(_)) | None => Heard::Closed(None),
            });
        }
    }

    /// Drops it, and says why as far as that takes no time.
    pub(crate) fn drop_with(mut self, code: u16) {
        let close = CloseFrame { code: code.into(), reason: Utf8Bytes::default() };
        self.waiting.push_back(Message::Close(Some(close)));
        let mut cx = Context::from_waker(std::task::Waker::noop());
        // Whoever cannot be told at once finds out.
        let _is_said = self.poll_write(Instant::now(), &mut cx).is_ready();
    }

    /// Says all that waits and goodbye, as far as there is time for it.
    pub(crate) async fn leave(mut self) {
        let farewell = async {
            while let Some(message) = self.waiting.pop_front() {
                self.web.feed(message).await?;
            }
            self.web.close(None).await
        };
        if !matches!(tokio::time::timeout(GOODBYE_MAX, farewell).await, Ok(Ok(()))) {
            tracing::debug!("left without a goodbye");
        }
    }

    fn poll_write(
        &mut self,
        now: Instant,
        cx: &mut Context<'_>,
    ) -> Poll<Result<(), tungstenite::Error>> {
        while !self.waiting.is_empty() {
            if Pin::new(&mut self.web).poll_ready(cx)?.is_pending() {
                self.stalled_since.get_or_insert(now);
                return Poll::Pending;
            }
            if let Some(message) = self.waiting.pop_front() {
                Pin::new(&mut self.web).start_send(message)?;
                self.is_flushed = false;
                self.stalled_since = None;
            }
        }
        if !self.is_flushed {
            if Pin::new(&mut self.web).poll_flush(cx)?.is_pending() {
                self.stalled_since.get_or_insert(now);
                return Poll::Pending;
            }
            self.is_flushed = true;
            self.stalled_since = None;
        }
        Poll::Ready(Ok(()))
    }
}

type Upgraded = Result<WebSocketStream<MaybeTlsStream<TcpStream>>, tungstenite::Error>;

#[cfg(feature = "tls")]
async fn upgrade(request: Request, stream: TcpStream, config: WebSocketConfig) -> Upgraded {
    let upgrading =
        tokio_tungstenite::client_async_tls_with_config(request, stream, Some(config), None);
    Ok(upgrading.await?.0)
}

#[cfg(not(feature = "tls"))]
async fn upgrade(request: Request, stream: TcpStream, config: WebSocketConfig) -> Upgraded {
    if request.uri().scheme_str() == Some("wss") {
        return Err(tungstenite::error::UrlError::TlsFeatureNotEnabled.into());
    }
    let stream = MaybeTlsStream::Plain(stream);
    let upgrading = tokio_tungstenite::client_async_with_config(request, stream, Some(config));
    Ok(upgrading.await?.0)
}

fn not_opened(error: &tungstenite::Error) -> NotOpened {
    let tungstenite::Error::Http(response) = error else {
        return NotOpened::Failed(error.to_string());
    };
    let seconds = response.headers().get(RETRY_AFTER).and_then(|it| it.to_str().ok()?.parse().ok());
    NotOpened::Refused {
        status: response.status().as_u16(),
        retry_after: seconds.map(Duration::from_secs),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_says_where_a_node_is() {
        let read = |text: &str| text.parse::<Address>().map(|it| (it.host, it.port));
        assert_eq!(read("ws://127.0.0.1:7070/v1/ws"), Ok(("127.0.0.1".to_owned(), 7070)));
        assert_eq!(read("wss://[::1]/v1/ws"), Ok(("::1".to_owned(), 443)));
        for wrong in ["http://here/", "here:7070", ""] {
            assert_eq!(read(wrong), Err(NoAddress(wrong.to_owned())));
        }
    }
}
