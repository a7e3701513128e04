//! A WebSocket that takes no room while nobody says anything.
//!
//! ```text
//!             ┌── something comes, or is to be said ──► awake: buffers, and where in which message it is
//!   resting ◄─┤
//!             └── all that came was heard, and all that was said is out
//! ```
//!
//! Between two messages there is nothing to be remembered of a WebSocket, so whoever says something every few minutes
//! need keep nothing but its connection meanwhile. To begin anew costs less than a microsecond. And a short message that
//! comes whole, as most do, is taken from where it was read: buffers and states are for all others.

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
            frame::{
                FrameHeader,
                coding::{Data, OpCode},
            },
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
    Awake(Box<Awake>),
    /// It is neither, while it becomes the other.
    Between,
}

/// A WebSocket with buffers, and what it holds.
#[derive(Debug)]
struct Awake {
    web: Web,
    /// It has handed out all that it was given.
    is_drained: bool,
    /// It was pinged, and the answer may not be out.
    owes: bool,
    /// Somebody has said goodbye: what it makes of what comes now depends on what was said.
    is_closing: bool,
}

/// A connection, and where in what its client says it has been read to.
#[derive(Debug)]
struct Tracked {
    stream: TcpStream,
    place: Place,
    /// What was read from it already.
    ahead: Vec<u8>,
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
            State::Resting(stream) => State::Awake(Box::new(Awake::new(stream, heard))),
            State::Awake(mut awake) => {
                awake.is_drained &= heard.is_empty();
                awake.web.get_mut().ahead.extend_from_slice(heard);
                State::Awake(awake)
            }
            State::Between => State::Between,
        };
    }

    /// Gives all of that back, if nothing is on its way. It has just been polled, and nothing came. Then it has to be
    /// polled anew: what comes now is told to whoever rests.
    pub(crate) fn rests_now(&mut self, cx: &mut Context<'_>) -> bool {
        let State::Awake(awake) = &mut self.0 else { return false };
        // The answer to a ping may still be here.
        let is_out = matches!(Pin::new(&mut awake.web).poll_flush(cx), Poll::Ready(Ok(())));
        if !is_out || !awake.is_between() {
            return false;
        }
        self.0 = match mem::replace(&mut self.0, State::Between) {
            State::Awake(awake) => State::Resting(awake.web.into_inner().stream),
            state @ (State::Resting(_) | State::Between) => state,
        };
        true
    }

    /// What comes next; none, if nothing can come any more.
    pub(crate) fn poll_next(
        &mut self,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Message, Error>>> {
        let stream = match &mut self.0 {
            State::Resting(stream) => Some(stream),
            State::Awake(awake) => awake.poll_stream(cx),
            State::Between => return Poll::Ready(None),
        };
        if let Some(stream) = stream {
            let mut bytes = [0; READ_BUFFER_BYTES];
            let mut read = ReadBuf::new(&mut bytes);
            match ready!(Pin::new(stream).poll_read(cx, &mut read)) {
                Ok(()) if read.filled().is_empty() => return Poll::Ready(None),
                Ok(()) => {}
                Err(error) => return Poll::Ready(Some(Err(Error::new(error)))),
            }
            if let Some(message) = whole(read.filled_mut()) {
                return Poll::Ready(Some(Ok(message)));
            }
            self.wake(read.filled());
        }
        let State::Awake(awake) = &mut self.0 else { return Poll::Ready(None) };
        awake.poll_next(cx)
    }

    /// Is there room to say something?
    pub(crate) fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match &mut self.0 {
            State::Awake(awake) => Pin::new(&mut awake.web).poll_ready(cx).map_err(Error::new),
            State::Resting(_) | State::Between => Poll::Ready(Ok(())),
        }
    }

    /// Says something, where there is room.
    pub(crate) fn start_send(&mut self, message: Message) -> Result<(), Error> {
        let message = said(message).map_err(Error::new)?;
        self.wake(&[]);
        match &mut self.0 {
            State::Awake(awake) => {
                awake.is_closing |= message.is_close();
                Pin::new(&mut awake.web).start_send(message).map_err(Error::new)
            }
            State::Resting(_) | State::Between => Ok(()),
        }
    }

    /// Lets all that was said go out.
    pub(crate) fn poll_flush(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        match &mut self.0 {
            State::Awake(awake) => Pin::new(&mut awake.web).poll_flush(cx).map_err(Error::new),
            State::Resting(_) | State::Between => Poll::Ready(Ok(())),
        }
    }
}

impl Awake {
    /// A WebSocket on a connection, of whose messages so much was heard.
    fn new(stream: TcpStream, heard: &[u8]) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER_BYTES)
            .write_buffer_size(WRITE_BUFFER_BYTES)
            .max_write_buffer_size(WRITE_BUFFER_BYTES_MAX)
            .max_message_size(Some(FRAME_BYTES_MAX))
            .max_frame_size(Some(FRAME_BYTES_MAX));
        let tracked = Tracked { stream, place: Place::default(), ahead: heard.to_vec() };
        let web = WebSocketStream::from_raw_socket(tracked, Role::Server, Some(config))
            .now_or_never()
            .expect("nobody is waited for: hands were shaken before");
        Self { web, is_drained: heard.is_empty(), owes: false, is_closing: false }
    }

    /// Is nothing of any message here?
    fn is_between(&self) -> bool {
        self.is_drained && self.web.get_ref().place.is_between()
    }

    /// Where the next message can be read from past the WebSocket, if it can.
    fn poll_stream(&mut self, cx: &mut Context<'_>) -> Option<&mut TcpStream> {
        if self.owes {
            self.owes = !matches!(Pin::new(&mut self.web).poll_flush(cx), Poll::Ready(Ok(())));
        }
        let may_pass = self.is_between() && !self.owes && !self.is_closing;
        may_pass.then(|| &mut self.web.get_mut().stream)
    }

    fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Message, Error>>> {
        loop {
            let Poll::Ready(next) = Pin::new(&mut self.web).poll_next(cx) else {
                self.is_drained = true;
                return Poll::Pending;
            };
            self.is_drained = false;
            return match next {
                Some(Ok(message)) => {
                    self.owes |= message.is_ping();
                    self.is_closing |= message.is_close();
                    match heard(message) {
                        Ok(Some(message)) => Poll::Ready(Some(Ok(message))),
                        Ok(None) => continue,
                        Err(error) => Poll::Ready(Some(Err(Error::new(error)))),
                    }
                }
                Some(Err(error)) => Poll::Ready(Some(Err(Error::new(error)))),
                None => Poll::Ready(None),
            };
        }
    }
}

/// The message, if these bytes are one, all of it and nothing else, in one frame as a client must send it. Whatever is
/// otherwise, right or wrong, is left to a WebSocket.
fn whole(bytes: &mut [u8]) -> Option<Message> {
    let mut cursor = Cursor::new(&*bytes);
    let (header, length) = FrameHeader::parse(&mut cursor).ok()??;
    let n_head = cursor.position() as usize;
    let has_extension = header.rsv1 || header.rsv2 || header.rsv3;
    let mask = header.mask.filter(|_| header.is_final && !has_extension)?;
    let payload = bytes.get_mut(n_head..).filter(|it| it.len() as u64 == length)?;
    let is_text = match header.opcode {
        OpCode::Data(Data::Text) => true,
        OpCode::Data(Data::Binary) => false,
        OpCode::Data(_) | OpCode::Control(_) => return None,
    };
    let unmask = |payload: &mut [u8]| {
        payload.iter_mut().zip(mask.iter().cycle()).for_each(|(byte, mask)| *byte ^= mask);
    };
    unmask(payload);
    if !is_text {
        return Some(Message::Binary(Bytes::copy_from_slice(payload)));
    }
    let Ok(text) = std::str::from_utf8(payload) else {
        // As it came.
        unmask(payload);
        return None;
    };
    Some(Message::Text(text.into()))
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
        if self.ahead.is_empty() {
            ready!(Pin::new(&mut self.stream).poll_read(cx, buffer))?;
        } else {
            let n = buffer.remaining().min(self.ahead.len());
            buffer.put_slice(&self.ahead[..n]);
            self.ahead.drain(..n);
            if self.ahead.is_empty() {
                self.ahead = Vec::new();
            }
        }
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
    use tokio::{
        io::{AsyncReadExt, AsyncWriteExt},
        net::TcpListener,
    };

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

    /// A masked frame of a client, as it comes.
    fn frame(first: u8, payload: &[u8]) -> Vec<u8> {
        let mask = [7, 11, 13, 17];
        let masked = payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask);
        [first, 0x80 | payload.len() as u8].into_iter().chain(mask).chain(masked).collect()
    }

    #[test]
    fn only_a_whole_message_that_is_as_it_must_be_is_taken_from_where_it_was_read() {
        let whole = |bytes: &[u8]| whole(&mut bytes.to_vec());
        assert_eq!(whole(&frame(0x82, &[1, 2, 3])), Some(Message::binary(vec![1, 2, 3])));
        assert_eq!(whole(&frame(0x81, b"hi")), Some(Message::text("hi")));
        assert_eq!(whole(&frame(0x82, &[])), Some(Message::binary(vec![])));
        let good = frame(0x82, &[1, 2, 3]);
        for n in 0..good.len() {
            assert_eq!(whole(&good[..n]), None, "{n} bytes of it");
        }
        assert_eq!(whole(&[&good[..], &[0x82]].concat()), None, "there is more");
        assert_eq!(whole(&[0x82, 3, 1, 2, 3]), None, "it is not masked");
        // A part of a message, its rest, extensions, control frames, and what there is not.
        for first in [0x02, 0x01, 0x80, 0xc2, 0xa2, 0x92, 0x88, 0x89, 0x8a, 0x83, 0x8b] {
            assert_eq!(whole(&frame(first, b"hi")), None, "{first:x}");
        }
        let mut not_utf8 = frame(0x81, &[0xff, 0xfe]);
        let as_it_came = not_utf8.clone();
        assert_eq!(super::whole(&mut not_utf8), None);
        assert_eq!(not_utf8, as_it_came, "a WebSocket reads it again");
    }

    #[tokio::test]
    async fn whole_messages_and_others_are_heard_in_their_order_by_whoever_is_awake() {
        let (mut line, mut client) = line().await;
        line.start_send(Message::text("well")).unwrap();
        poll_fn(|cx| line.poll_flush(cx)).await.unwrap();
        let parts = [
            (frame(0x82, &[1]), vec![Message::binary(vec![1])]),
            // Two at once, and what is neither whole nor alone.
            (
                [frame(0x82, &[2]), frame(0x81, b"3")].concat(),
                vec![Message::binary(vec![2]), Message::text("3")],
            ),
            (frame(0x82, &[4]), vec![Message::binary(vec![4])]),
            (frame(0x01, b"5"), vec![]),
            (frame(0x89, b"?"), vec![Message::Ping("?".into())]),
            (frame(0x80, b"6"), vec![Message::text("56")]),
            (frame(0x82, &[7]), vec![Message::binary(vec![7])]),
        ];
        for (bytes, wanted) in parts {
            client.write_all(&bytes).await.unwrap();
            let mut heard = Vec::new();
            while heard.len() < wanted.len() {
                heard.push(poll_fn(|cx| line.poll_next(cx)).await.unwrap().unwrap());
            }
            assert_eq!(heard, wanted);
            assert!(!is_resting(&line));
        }
        assert!(poll_fn(|cx| line.poll_next(cx)).now_or_never().is_none());
        // What was said, and the answer to the ping.
        let mut said = [0; 6 + 3];
        client.read_exact(&mut said).await.unwrap();
        assert_eq!(said[..6], *b"\x81\x04well");
        assert_eq!(said[6..], *b"\x8a\x01?");
        // Not without a mask.
        client.write_all(&[0x82, 1, 1]).await.unwrap();
        assert!(poll_fn(|cx| line.poll_next(cx)).await.unwrap().is_err());
    }

    #[tokio::test]
    async fn whoever_said_goodbye_is_not_heard_any_more() {
        let (mut line, mut client) = line().await;
        line.start_send(Message::text("well")).unwrap();
        client.write_all(&frame(0x88, &[3, 232])).await.unwrap();
        assert!(matches!(
            poll_fn(|cx| line.poll_next(cx)).await.unwrap().unwrap(),
            Message::Close(Some(CloseFrame { code: 1000, .. }))
        ));
        client.write_all(&frame(0x82, &[1])).await.unwrap();
        assert!(poll_fn(|cx| line.poll_next(cx)).await.is_none_or(|it| it.is_err()));
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
