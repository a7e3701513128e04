//! A WebSocket that takes no room while nobody says anything.
//!
//! ```text
//!             ┌── something comes, or is to be said ──► awake: buffers, and where in which message it is
//!   resting ◄─┤
//!             └── all that came was heard, and all that was said is out
//! ```
//!
//! Between two messages there is nothing to be remembered of a WebSocket, so whoever says something every few minutes
//! need keep nothing but its connection meanwhile. To begin anew costs less than a microsecond.

use axum::{
    Error,
    body::{Body, Bytes},
    extract::{
        Request,
        ws::{CloseFrame, Message, Utf8Bytes},
    },
    http::{HeaderValue, header},
    response::Response,
};
use futures_util::{FutureExt, Sink, Stream};
use hyper::upgrade::OnUpgrade;
use hyper_util::rt::TokioIo;
use protocol::frame::FRAME_BYTES_MAX;
use std::{
    io::{self, Cursor},
    mem,
    pin::Pin,
    str::Utf8Error,
    task::{Context, Poll, ready},
};
use tokio::{
    io::{AsyncRead, AsyncWrite, ReadBuf},
    net::TcpStream,
};
use tokio_tungstenite::{
    WebSocketStream,
    tungstenite::{
        self,
        handshake::server::create_response_with_body,
        protocol::{
            Role, WebSocketConfig,
            frame::{FrameHeader, coding::OpCode},
        },
    },
};

/// What is read at a time. The default of 128 KiB would be most of a session's memory.
const READ_BUFFER_BYTES: usize = 256;
/// So much goes out in one write, and a frame more. A WebSocket never gives back what it has once written from, so
/// this is memory of everyone that is awake: enough for the frames that are ready together.
const WRITE_BUFFER_BYTES: usize = 512;
/// Most bytes that wait inside for a slow client, on top of the queue of frames.
const WRITE_BUFFER_BYTES_MAX: usize = 256 * 1_024;
/// Longest head of a frame (RFC 6455): two bytes, eight of a length, four of a mask.
const HEAD_BYTES_MAX: usize = 14;

/// A request for a WebSocket, and what is answered.
#[derive(Debug)]
pub(crate) struct Handshake {
    response: Response,
    upgrade: OnUpgrade,
}

/// A request that opens no WebSocket, and why not.
#[derive(Debug, thiserror::Error)]
#[error("no request for a WebSocket: {0}")]
pub(crate) struct NoHandshake(String);

/// A client's WebSocket, after its handshake.
#[derive(Debug)]
pub(crate) struct Line(State);

type Web = WebSocketStream<Tracked>;

#[derive(Debug)]
enum State {
    /// Nothing of any message is here.
    Resting(TcpStream),
    Awake(Box<Web>),
    /// It is neither, while it becomes the other.
    Between,
}

/// A connection, and where in what its client says it has been read to.
#[derive(Debug)]
struct Tracked {
    stream: TcpStream,
    place: Place,
}

/// A place in what a client says.
#[derive(Debug, Default)]
struct Place {
    /// The begin of a frame's head.
    head: Vec<u8>,
    /// So many bytes of a frame are still to come.
    left: u64,
    /// So are frames of a message that was begun.
    is_in_message: bool,
}

impl Handshake {
    /// What a request asks for.
    ///
    /// # Errors
    /// It lacks what opens a WebSocket.
    pub(crate) fn of(request: &mut Request) -> Result<Self, NoHandshake> {
        let response = create_response_with_body(request, Body::empty)
            .map_err(|error| NoHandshake(error.to_string()))?;
        Ok(Self { response, upgrade: hyper::upgrade::on(request) })
    }

    /// The answer, and the WebSocket once that was given: none, if its client is gone by then. They speak as
    /// `subprotocol` says.
    pub(crate) fn answer(
        self,
        subprotocol: Option<&'static str>,
    ) -> (Response, impl Future<Output = Option<Line>> + Send + use<>) {
        let Self { mut response, upgrade } = self;
        if let Some(name) = subprotocol {
            let name = HeaderValue::from_static(name);
            response.headers_mut().insert(header::SEC_WEBSOCKET_PROTOCOL, name);
        }
        let opening = async move {
            let upgraded = upgrade.await.ok()?;
            let parts = upgraded.downcast::<TokioIo<TcpStream>>().ok()?;
            Some(Line::new(parts.io.into_inner(), &parts.read_buf))
        };
        (response, opening)
    }
}

impl Line {
    /// `heard` came with the handshake.
    fn new(stream: TcpStream, heard: &[u8]) -> Self {
        let mut line = Self(State::Resting(stream));
        if !heard.is_empty() {
            line.wake(heard);
        }
        line
    }

    /// Takes what it needs to hear and to say something, if it rests. So much was heard already.
    fn wake(&mut self, heard: &[u8]) {
        self.0 = match mem::replace(&mut self.0, State::Between) {
            State::Resting(stream) => State::Awake(Box::new(awake(stream, heard))),
            state @ (State::Awake(_) | State::Between) => state,
        };
    }

    /// Gives all of that back, if nothing is on its way. It has just been polled, and nothing came. Then it has to be
    /// polled anew: what comes now is told to whoever rests.
    pub(crate) fn rests_now(&mut self, cx: &mut Context<'_>) -> bool {
        let State::Awake(web) = &mut self.0 else { return false };
        // The answer to a ping may still be here.
        let is_out = matches!(Pin::new(&mut **web).poll_flush(cx), Poll::Ready(Ok(())));
        if !is_out || !web.get_ref().place.is_between() {
            return false;
        }
        self.0 = match mem::replace(&mut self.0, State::Between) {
            State::Awake(web) => State::Resting((*web).into_inner().stream),
            state @ (State::Resting(_) | State::Between) => state,
        };
        true
    }

    /// What comes next; none, if nothing can come any more.
    pub(crate) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Message, Error>>> {
        if let State::Resting(stream) = &mut self.0 {
            let mut bytes = [0; READ_BUFFER_BYTES];
            let mut read = ReadBuf::new(&mut bytes);
            match ready!(Pin::new(stream).poll_read(cx, &mut read)) {
                Ok(()) if read.filled().is_empty() => return Poll::Ready(None),
                Ok(()) => self.wake(read.filled()),
                Err(error) => return Poll::Ready(Some(Err(Error::new(error)))),
            }
        }
        let State::Awake(web) = &mut self.0 else { return Poll::Ready(None) };
        loop {
            return match ready!(Pin::new(&mut **web).poll_next(cx)) {
                Some(Ok(message)) => match heard(message) {
                    Ok(Some(message)) => Poll::Ready(Some(Ok(message))),
                    Ok(None) => continue,
                    Err(error) => Poll::Ready(Some(Err(Error::new(error)))),
                },
                Some(Err(error)) => Poll::Ready(Some(Err(Error::new(error)))),
                None => Poll::Ready(None),
            };
        }
    }

    /// Is there room to say something?
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match &mut self.0 {
            State::Awake(web) => Pin::new(&mut **web).poll_ready(cx).map_err(Error::new),
            State::Resting(_) | State::Between => Poll::Ready(Ok(())),
        }
    }

    /// Says something, where there is room.
    pub(crate) fn start_send(&mut self, message: Message) -> Result<(), Error> {
        let message = said(message).map_err(Error::new)?;
        self.wake(&[]);
        match &mut self.0 {
            State::Awake(web) => Pin::new(&mut **web).start_send(message).map_err(Error::new),
            State::Resting(_) | State::Between => Ok(()),
        }
    }

    /// Lets all that was said go out.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match &mut self.0 {
            State::Awake(web) => Pin::new(&mut **web).poll_flush(cx).map_err(Error::new),
            State::Resting(_) | State::Between => Poll::Ready(Ok(())),
        }
    }
}

/// A WebSocket on a connection, of whose messages so much was heard.
fn awake(stream: TcpStream, heard: &[u8]) -> Web {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER_BYTES)
        .write_buffer_size(WRITE_BUFFER_BYTES)
        .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX)
        .max_message_size(Some(FRAME_BYTES_MAX))
        .max_frame_size(Some(FRAME_BYTES_MAX));
    let mut place = Place::default();
    place.pass(heard);
    let tracked = Tracked { stream, place };
    WebSocketStream::from_partially_read(tracked, heard.to_vec(), Role::Server, Some(config))
        .now_or_never()
        .expect("nobody is waited for: hands were shaken before")
}

/// A message as sessions have it; none, for what is no message.
fn heard(message: tungstenite::Message) -> Result<Option<Message>, Utf8Error> {
    let text = |text: tungstenite::Utf8Bytes| Utf8Bytes::try_from(Bytes::from(text));
    Ok(Some(match message {
        tungstenite::Message::Text(it) => Message::Text(text(it)?),
        tungstenite::Message::Binary(bytes) => Message::Binary(bytes),
        tungstenite::Message::Ping(bytes) => Message::Ping(bytes),
        tungstenite::Message::Pong(bytes) => Message::Pong(bytes),
        tungstenite::Message::Close(None) => Message::Close(None),
        tungstenite::Message::Close(Some(close)) => {
            let reason = text(close.reason)?;
            Message::Close(Some(CloseFrame { code: close.code.into(), reason }))
        }
        tungstenite::Message::Frame(_) => return Ok(None),
    }))
}

/// The same on its way out.
fn said(message: Message) -> Result<tungstenite::Message, Utf8Error> {
    let text = |text: Utf8Bytes| tungstenite::Utf8Bytes::try_from(Bytes::from(text));
    Ok(match message {
        Message::Text(it) => tungstenite::Message::Text(text(it)?),
        Message::Binary(bytes) => tungstenite::Message::Binary(bytes),
        Message::Ping(bytes) => tungstenite::Message::Ping(bytes),
        Message::Pong(bytes) => tungstenite::Message::Pong(bytes),
        Message::Close(None) => tungstenite::Message::Close(None),
        Message::Close(Some(CloseFrame { code, reason })) => {
            let (code, reason) = (code.into(), text(reason)?);
            tungstenite::Message::Close(Some(tungstenite::protocol::CloseFrame { code, reason }))
        }
    })
}

impl Place {
    /// Is nothing of a message still to come?
    fn is_between(&self) -> bool {
        self.head.is_empty() && self.left == 0 && !self.is_in_message
    }

    /// So much more has been read.
    fn pass(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            if self.left > 0 {
                let n = usize::try_from(self.left).unwrap_or(usize::MAX).min(bytes.len());
                self.left -= n as u64;
                bytes = &bytes[n..];
                continue;
            }
            let n_known = self.head.len();
            let n_more = (HEAD_BYTES_MAX - n_known).min(bytes.len());
            self.head.extend_from_slice(&bytes[..n_more]);
            let mut cursor = Cursor::new(&self.head);
            let parsed = FrameHeader::parse(&mut cursor);
            let n_head = cursor.position() as usize;
            match parsed {
                Ok(Some((header, length))) => {
                    bytes = &bytes[n_head - n_known..];
                    self.head.clear();
                    self.left = length;
                    // Control frames may come in the middle of a message.
                    if let OpCode::Data(_) = header.opcode {
                        self.is_in_message = !header.is_final;
                    }
                }
                Ok(None) => return,
                // Nothing can be read after that, as whoever reads it finds out, too.
                Err(_) => {
                    self.left = u64::MAX;
                    return;
                }
            }
        }
    }
}

impl AsyncRead for Tracked {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let n_before = buffer.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        self.place.pass(&buffer.filled()[n_before..]);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Tracked {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::{SinkExt, StreamExt};
    use std::future::poll_fn;
    use tokio::{io::AsyncWriteExt, net::TcpListener};

    /// A line that rests, and its client's end.
    async fn line() -> (Line, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let at = listener.local_addr().unwrap();
        let (accepted, client) = tokio::join!(listener.accept(), TcpStream::connect(at));
        (Line::new(accepted.unwrap().0, &[]), client.unwrap())
    }

    fn is_resting(line: &Line) -> bool {
        matches!(line.0, State::Resting(_))
    }

    /// Hears until nothing comes, and rests then, if it may.
    async fn hear_all(line: &mut Line, n: usize) -> Vec<Message> {
        let mut all = Vec::new();
        while all.len() < n {
            all.push(poll_fn(|cx| line.poll_next(cx)).await.unwrap().unwrap());
        }
        poll_fn(|cx| {
            assert!(line.poll_next(cx).is_pending());
            if line.rests_now(cx) {
                assert!(line.poll_next(cx).is_pending());
            }
            Poll::Ready(())
        })
        .await;
        all
    }

    #[tokio::test]
    async fn it_rests_between_messages_and_hears_and_says_all_of_them() {
        let (mut line, client) = line().await;
        let mut client = WebSocketStream::from_raw_socket(client, Role::Client, None).await;
        for n in 0..3_u8 {
            assert!(is_resting(&line));
            let long = vec![n; 5_000];
            for bytes in [vec![n], long.clone()] {
                client.send(tungstenite::Message::binary(bytes)).await.unwrap();
            }
            let heard = hear_all(&mut line, 2).await;
            assert_eq!(heard, [Message::binary(vec![n]), Message::binary(long)]);
            assert!(is_resting(&line));
            line.start_send(Message::text("well")).unwrap();
            poll_fn(|cx| line.poll_flush(cx)).await.unwrap();
            assert_eq!(client.next().await.unwrap().unwrap(), tungstenite::Message::text("well"));
            hear_all(&mut line, 0).await;
        }
        drop(client);
        let last = poll_fn(|cx| line.poll_next(cx)).await;
        assert!(last.is_none_or(|it| it.is_err()));
    }

    #[tokio::test]
    async fn it_does_not_rest_in_the_middle_of_a_message() {
        let (mut line, mut client) = line().await;
        // A masked text in two frames, with a ping between them.
        let [first, ping, last] = [
            &[0x01, 0x82, 0, 0, 0, 0, b'h', b'i'][..],
            &[0x89, 0x80, 0, 0, 0, 0],
            &[0x80, 0x81, 0, 0, 0, 0, b'!'],
        ];
        for part in [&first[..3], &first[3..7], &first[7..]] {
            client.write_all(part).await.unwrap();
            // It arrives some time.
            poll_fn(|cx| {
                let State::Resting(stream) = &line.0 else { return Poll::Ready(()) };
                stream.poll_read_ready(cx).map(|_| ())
            })
            .await;
            let silence = tokio::time::timeout(
                std::time::Duration::from_millis(50),
                poll_fn(|cx| line.poll_next(cx)),
            );
            assert!(silence.await.is_err());
            assert!(!poll_fn(|cx| Poll::Ready(line.rests_now(cx))).await);
        }
        client.write_all(ping).await.unwrap();
        assert!(matches!(hear_all(&mut line, 1).await[..], [Message::Ping(_)]));
        assert!(!is_resting(&line));
        client.write_all(last).await.unwrap();
        assert_eq!(hear_all(&mut line, 1).await, [Message::text("hi!")]);
        assert!(is_resting(&line));
    }

    #[test]
    fn a_place_is_known_wherever_bytes_are_parted() {
        let frame = |first: u8, length: usize| {
            let mut bytes = vec![first, 0xfe];
            bytes.extend((length as u16).to_be_bytes());
            bytes.extend([7; 4]);
            bytes.resize(8 + length, 1);
            bytes
        };
        let all = [frame(0x82, 300), frame(0x02, 200), frame(0x89, 100), frame(0x80, 150)];
        let bytes = all.concat();
        let ends: Vec<_> = [1, 4].iter().map(|n| all[..*n].concat().len()).collect();
        for step in [1, 2, 3, 7, 64, 1_000] {
            let (mut place, mut n) = (Place::default(), 0);
            assert!(place.is_between());
            for part in bytes.chunks(step) {
                place.pass(part);
                n += part.len();
                assert_eq!(place.is_between(), ends.contains(&n), "{n} by {step}");
            }
        }
    }
}
