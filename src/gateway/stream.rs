//! A session for networks that break WebSockets: it speaks in server-sent events, and hears what is posted.
//!
//! ```text
//! GET    /v1/sse             ──► events: hello, welcome, …, goodbye   each with an id, for Last-Event-ID
//! POST   /v1/sse/{session}   ──► frames, one a line                   to any node: it passes them on
//! DELETE /v1/sse/{session}   ──► goodbye
//! ```
//!
//! The session is the same as on a WebSocket, with the same frames, limits and codes, and may go on there.

use super::{
    Gate, Opening, Seat,
    front::Question,
    limits::rate_limited,
    rest::{Answered, Named},
    session,
    socket::{self, Socket},
    translate::not_found,
    unavailable,
};
use crate::auth::{
    scope::{Asker, Scope},
    unauthenticated,
};
use actors::cluster::Incarnation;
use axum::{
    Error,
    body::{Body, Bytes},
    extract::{
        ConnectInfo, FromRequestParts, Query, State,
        rejection::{BytesRejection, QueryRejection},
        ws::Message,
    },
    http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use futures_util::{FutureExt, Sink, Stream, stream};
use protocol::{
    Code, PartnerId, Principal, Refused, SessionId,
    codec::Codec,
    frame::{ClientFrame, Resume},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    convert::Infallible,
    fmt::{self, Write},
    net::SocketAddr,
    ops::Range,
    pin::Pin,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    task::{Context, Poll, ready},
    time::Duration,
};
use tokio::sync::{
    mpsc::{self, error::TrySendError},
    oneshot,
};
use tokio_util::sync::PollSender;
use tower_http::cors::{AllowOrigin, CorsLayer};

/// What came last before the connection broke, as browsers say it.
const LAST_EVENT_ID: HeaderName = HeaderName::from_static("last-event-id");
/// Some proxies keep what they are sent until there is more of it, unless they are told not to.
const ACCEL_BUFFERING: HeaderName = HeaderName::from_static("x-accel-buffering");
/// Most frames that were posted and not heard.
const POSTED_MAX: usize = 64;
/// How long another node has to pass on what was posted here.
const PASS_ON_WITHIN: Duration = Duration::from_secs(4);
/// So much is written at once, and an event more.
const WRITE_BYTES: usize = 16 * 1_024;
/// How long a browser need not ask again what a page of another origin may do.
const PREFLIGHT_GOOD_FOR: Duration = Duration::from_secs(600);
/// How long a browser waits before it comes back by itself: between these, so that not all come at once.
const COME_BACK_MS: Range<u16> = 500..3_000;

/// What a session says as events, and hears as posts.
#[derive(Debug)]
struct EventStream {
    session: Option<SessionId>,
    n_said: u64,
    /// Events that wait to be written.
    events: String,
    /// It has said its close code, or its reader is gone.
    is_closed: bool,
    out: PollSender<Bytes>,
    /// Ends with the response's body: its reader is gone.
    reader: oneshot::Receiver<Infallible>,
    posts: mpsc::Sender<Message>,
    posted: mpsc::Receiver<Message>,
    /// Where it is found by those who post to it, and whose it is.
    streams: Streams,
    by: Asker,
}

/// The streams of this node, for those who post to them.
#[derive(Debug, Clone, Default)]
pub(super) struct Streams(Arc<Mutex<HashMap<SessionId, Open>>>);

#[derive(Debug)]
struct Open {
    by: Asker,
    posts: mpsc::Sender<Message>,
}

/// Something for a stream, wherever it is.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Post {
    session: SessionId,
    by: Principal,
    /// Of which part of the map its author is told: of another one than the stream, it is somebody else.
    #[serde(default)]
    scope: Scope,
    /// Whose drivers its author may have asked before others, which makes it nobody else: what counts is the session's own
    /// token, the one that was issued last. Said for nodes of builds before this one, which compare it.
    #[serde(default)]
    fleet: Option<Box<PartnerId>>,
    posted: Posted,
}

/// What a client posted.
#[derive(Debug, Serialize, Deserialize)]
enum Posted {
    /// Frames as JSON.
    Frames(Vec<String>),
    /// It does not come back.
    Goodbye,
}

impl Streams {
    /// Lets a stream of this node hear what was posted: all of it, or nothing.
    pub(super) fn hear(
        &self,
        Post { session, by, scope, fleet: _, posted }: Post,
    ) -> Result<(), Refused> {
        let open = self.open();
        // A token that takes the place of another may name another fleet, and is the same client's.
        let is_its_own = |open: &&Open| open.by.who == by && open.by.scope == scope;
        let posts = open.get(&session).filter(is_its_own).map(|open| &open.posts);
        let none = || not_found(&session.to_string());
        let messages = match posted {
            Posted::Frames(frames) => {
                frames.into_iter().map(|frame| Message::Text(frame.into())).collect()
            }
            Posted::Goodbye => vec![Message::Close(None)],
        };
        match posts.ok_or_else(none)?.try_reserve_many(messages.len()) {
            Ok(places) => {
                places.zip(messages).for_each(|(place, message)| place.send(message));
                Ok(())
            }
            Err(TrySendError::Full(())) => {
                let busy = Refused::new(Code::Busy, "what was said before was not heard yet");
                Err(busy.retry_after_ms(250))
            }
            Err(TrySendError::Closed(())) => Err(none()),
        }
    }

    fn open(&self) -> MutexGuard<'_, HashMap<SessionId, Open>> {
        // Never held across an await or a panic, so poison means nothing here.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl EventStream {
    /// One of `by`'s, and the body of the response it writes.
    fn new(by: Asker, streams: Streams) -> (Self, Body) {
        // One chunk on its way; what follows waits in the session's queue, which has a bound and a time limit.
        let (out, mut written) = mpsc::channel::<Bytes>(1);
        let (reading, reader) = oneshot::channel::<Infallible>();
        let (posts, posted) = mpsc::channel(POSTED_MAX);
        let chunks = stream::poll_fn(move |cx| {
            let _reads_as_long_as_this_lives = &reading;
            written.poll_recv(cx).map(|chunk| chunk.map(Ok::<_, Infallible>))
        });
        let events = Self {
            session: None,
            n_said: 0,
            events: format!("retry: {}\n\n", rand::random_range(COME_BACK_MS)),
            is_closed: false,
            out: PollSender::new(out),
            reader,
            posts,
            posted,
            streams,
            by,
        };
        (events, Body::from_stream(chunks))
    }

    fn poll_out(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if !self.events.is_empty() {
            ready!(self.out.poll_reserve(cx)).map_err(Error::new)?;
            let events = Bytes::from(std::mem::take(&mut self.events));
            self.out.send_item(events).map_err(Error::new)?;
        }
        Poll::Ready(Ok(()))
    }

    /// A frame has no line breaks: the codec writes none, and JSON has none inside of text.
    fn event(&mut self, frame: &str) {
        self.n_said += 1;
        // The first one is `hello`. Until there is a `welcome`, it is the session before that goes on.
        if let (Some(session), 2..) = (self.session, self.n_said) {
            write_to(&mut self.events, format_args!("id: {session}:{}\n", self.n_said));
        }
        write_to(&mut self.events, format_args!("data: {frame}\n\n"));
    }
}

fn write_to(text: &mut String, more: fmt::Arguments<'_>) {
    text.write_fmt(more).expect("text takes any text");
}

impl socket::Wire for EventStream {
    fn begins(&mut self, session: SessionId) {
        self.session = Some(session);
        let open = Open { by: self.by.clone(), posts: self.posts.clone() };
        self.streams.open().insert(session, open);
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        if let Some(session) = self.session {
            self.streams.open().remove(&session);
        }
    }
}

impl Sink<Message> for EventStream {
    type Error = Error;

    fn poll_ready(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        if self.events.len() < WRITE_BYTES { Poll::Ready(Ok(())) } else { self.poll_out(cx) }
    }

    fn start_send(mut self: Pin<&mut Self>, message: Message) -> Result<(), Error> {
        match message {
            Message::Text(frame) => self.event(&frame),
            Message::Close(close) => {
                let code = close.map_or(0, |close| close.code);
                let last = format_args!("event: goodbye\ndata: {{\"code\":{code}}}\n\n");
                write_to(&mut self.events, last);
                self.is_closed = true;
            }
            // A stream speaks JSON, and has no signs of life but heartbeats.
            Message::Binary(_) | Message::Ping(_) | Message::Pong(_) => {}
        }
        Ok(())
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_out(cx)
    }

    fn poll_close(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Result<(), Error>> {
        self.poll_flush(cx)
    }
}

impl Stream for EventStream {
    type Item = Result<Message, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.is_closed = self.is_closed || self.reader.poll_unpin(cx).is_ready();
        if self.is_closed {
            return Poll::Ready(None);
        }
        self.posted.poll_recv(cx).map(|message| message.map(Ok))
    }
}

/// Pages of the origins that may open a WebSocket may open a stream.
pub(super) fn cross_origin(origins: Vec<String>) -> CorsLayer {
    let is_listed = move |origin: &HeaderValue, _: &Parts| {
        origin.to_str().is_ok_and(|origin| origins.iter().any(|listed| listed == origin))
    };
    CorsLayer::new()
        .allow_origin(AllowOrigin::predicate(is_listed))
        .allow_methods([Method::GET, Method::POST, Method::DELETE])
        .allow_headers([header::AUTHORIZATION, header::CONTENT_TYPE, LAST_EVENT_ID])
        .max_age(PREFLIGHT_GOOD_FOR)
}

/// Where a browser says it was cut off.
fn last_event(headers: &HeaderMap) -> Result<Option<Resume>, Refused> {
    let Some(id) = headers.get(LAST_EVENT_ID) else { return Ok(None) };
    let at = id.to_str().ok().and_then(|id| id.rsplit_once(':')).and_then(|(session, heard)| {
        Some(Resume { session: session.parse().ok()?, heard: heard.parse().ok()? })
    });
    let refused = || Refused::new(Code::Invalid, "last-event-id: none of ours");
    at.map(Some).ok_or_else(refused)
}

/// Opens a session that speaks in server-sent events: the frames of the WebSocket as JSON, one an event.
///
/// Each event after `hello` has an id. Who comes back with the last one in `Last-Event-ID` goes on there. The last
/// event is of type `goodbye`, with the close code: `{"code": 1012}`.
#[utoipa::path(
    get, path = "/v1/sse", tag = "sessions", security(("bearer" = []), ()),
    params(
        Opening,
        ("last-event-id" = Option<String>, Header, description = "The id of the last event that arrived: goes on there.")
    ),
    responses(
        (status = 200, body = String, content_type = "text/event-stream"),
        (status = 401, body = Refused), (status = 403, body = Refused), (status = 422, body = Refused),
        (status = 429, body = Refused), (status = 503, body = Refused)
    )
)]
pub(super) async fn open(
    State(gate): State<Arc<Gate>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    headers: HeaderMap,
    query: Result<Query<Opening>, QueryRejection>,
) -> Result<Response, Answered> {
    let entering = gate.let_in(peer, &headers, query)?;
    let (identity, resume) = entering.ok_or_else(unauthenticated)?;
    let resume = last_event(&headers)?.or(resume);
    let seat = Seat::take(&gate).ok_or_else(super::full)?;
    let (events, body) = EventStream::new(identity.asker(), gate.streams.clone());
    let socket = Socket::over(Box::new(events), Codec::Json, gate.session.queue_max);
    let session = session::run(Arc::clone(&gate), socket, Some((identity, resume)));
    drop(gate.sessions.spawn(session.map(move |()| drop(seat))));
    let headers = [
        (header::CONTENT_TYPE, "text/event-stream"),
        (header::CACHE_CONTROL, "no-store"),
        (ACCEL_BUFFERING, "no"),
    ];
    Ok((headers.map(|(name, value)| (name, HeaderValue::from_static(value))), body).into_response())
}

/// Says frames on a session that was opened with `GET /v1/sse`: JSON, one a line, in their order.
///
/// They are as on the WebSocket: what comes of them, and what is wrong with them, is said on the stream. All of them
/// were passed on, or none. Any node takes them.
#[utoipa::path(
    post, path = "/v1/sse/{session}", tag = "sessions", security(("bearer" = []), ()),
    params(("session" = String, Path, description = "As `hello` said it."), Opening),
    request_body(content = String, content_type = "application/x-ndjson"),
    responses(
        (status = 202, description = "They are on their way to the session."),
        (status = 400, body = Refused), (status = 401, body = Refused),
        (status = 404, body = Refused, description = "No such stream, or not the caller's: open another."),
        (status = 413, body = Refused), (status = 422, body = Refused),
        (status = 429, body = Refused, description = "So many were not heard yet; none of these was passed on."),
        (status = 503, body = Refused, description = "Whether they were passed on is not known.")
    )
)]
pub(super) async fn post(
    State(gate): State<Arc<Gate>>,
    Speaker { by, in_time }: Speaker,
    Named(session): Named,
    body: Result<Bytes, BytesRejection>,
) -> Result<StatusCode, Answered> {
    let body = body.map_err(|rejection| match rejection.status() {
        StatusCode::PAYLOAD_TOO_LARGE => Refused::new(Code::TooLarge, "body too large"),
        _ => Refused::new(Code::Malformed, rejection.body_text()),
    });
    let frames = body.and_then(|body| frames(&body));
    if let Err(refused) = in_time {
        let is_urgent = frames.as_ref().is_ok_and(|it| it.iter().any(|frame| is_urgent(frame)));
        if !is_urgent || !gate.limits.lets_past(by.who) {
            return Err(refused.into());
        }
    }
    say(&gate, &session, by, Posted::Frames(frames?)).await
}

/// Says goodbye: the session does not wait for its client any more.
#[utoipa::path(
    delete, path = "/v1/sse/{session}", tag = "sessions", security(("bearer" = []), ()),
    params(("session" = String, Path, description = "As `hello` said it."), Opening),
    responses(
        (status = 202, description = "It ends."), (status = 401, body = Refused),
        (status = 404, body = Refused), (status = 422, body = Refused), (status = 429, body = Refused),
        (status = 503, body = Refused)
    )
)]
pub(super) async fn leave(
    State(gate): State<Arc<Gate>>,
    Speaker { by, in_time }: Speaker,
    Named(session): Named,
) -> Result<StatusCode, Answered> {
    in_time?;
    say(&gate, &session, by, Posted::Goodbye).await
}

/// Who says something on a stream: by its token, in a header or in the query.
#[derive(Debug, Clone)]
pub(super) struct Speaker {
    by: Asker,
    /// Has it not said too much of late? If it has, only what is urgent is heard.
    in_time: Result<(), Refused>,
}

impl FromRequestParts<Arc<Gate>> for Speaker {
    type Rejection = Answered;

    async fn from_request_parts(
        parts: &mut Parts,
        gate: &Arc<Gate>,
    ) -> Result<Self, Self::Rejection> {
        let query = Query::try_from_uri(&parts.uri);
        let entering = gate.entering(&parts.headers, &super::opening(query)?)?;
        let (identity, _) = entering.ok_or_else(unauthenticated)?;
        let in_time = gate.limits.requests.check(&identity.principal).map_err(rate_limited);
        Ok(Self { by: identity.asker(), in_time })
    }
}

/// Says something on a stream, of whatever node.
async fn say(
    gate: &Gate,
    session: &str,
    Asker { who: by, scope, fleet }: Asker,
    posted: Posted,
) -> Result<StatusCode, Answered> {
    let session: SessionId = session.parse().map_err(|_| not_found(session))?;
    let is_home = |Incarnation(start): Incarnation| session.is_of(start);
    let post = Post { session, by, scope, fleet, posted };
    if is_home(gate.system.incarnation()) {
        gate.streams.hear(post)?;
        return Ok(StatusCode::ACCEPTED);
    }
    let home = gate.system.member(is_home).ok_or_else(|| not_found(&session.to_string()))?;
    let question = rmp_serde::to_vec_named(&Question::Post(post)).map_err(|_| unavailable())?;
    let answer = gate.system.ask_front(home, question, PASS_ON_WITHIN).await;
    let answer =
        answer.and_then(|answer| rmp_serde::from_slice::<Result<(), Refused>>(&answer).ok());
    answer.unwrap_or_else(|| Err(unavailable()))?;
    Ok(StatusCode::ACCEPTED)
}

/// Is it a wish of somebody in danger?
fn is_urgent(frame: &str) -> bool {
    let frame = Codec::Json.decode::<ClientFrame>(frame.as_bytes());
    matches!(frame, Ok(ClientFrame::Command { wish, .. }) if wish.is_urgent())
}

/// Frames as they were posted: one a line. What they say is for the session to judge.
fn frames(body: &[u8]) -> Result<Vec<String>, Refused> {
    let text = std::str::from_utf8(body)
        .map_err(|error| Refused::new(Code::Malformed, format!("no text: {error}")))?;
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let frames: Vec<_> = lines.map(str::to_owned).collect();
    match frames.len() {
        0 => Err(Refused::new(Code::Malformed, "no frame: one a line")),
        1..=POSTED_MAX => Ok(frames),
        _ => Err(Refused::new(Code::TooLarge, format!("more than {POSTED_MAX} frames"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{
        CommandId,
        work::{Sos, Wish},
    };

    #[test]
    fn frames_are_posted_one_a_line() {
        let two = frames(b"{\"ack\":{\"n\":1}}\r\n\n {\"ack\":{\"n\":2}} ").unwrap();
        assert_eq!(two, [r#"{"ack":{"n":1}}"#, r#"{"ack":{"n":2}}"#]);
        let code = |body: &[u8]| frames(body).unwrap_err().code;
        assert_eq!(code(b""), Code::Malformed);
        assert_eq!(code(b"\n \n"), Code::Malformed);
        assert_eq!(code(b"\xff"), Code::Malformed);
        let many = |n| "{}\n".repeat(n);
        assert_eq!(frames(many(POSTED_MAX).as_bytes()).unwrap().len(), POSTED_MAX);
        assert_eq!(code(many(POSTED_MAX + 1).as_bytes()), Code::TooLarge);
    }

    #[test]
    fn a_call_for_help_is_known_among_what_was_posted() {
        let wish = Wish::Sos(Sos::default());
        let call = ClientFrame::Command { id: CommandId::nth(1), wish };
        let call = Codec::Json.encode(&call).unwrap();
        assert!(is_urgent(std::str::from_utf8(&call).unwrap()));
        for frame in ["", "{}", "rubbish", r#"{"heartbeat":{}}"#, r#"{"ack":{"n":1}}"#] {
            assert!(!is_urgent(frame), "{frame}");
        }
    }

    #[test]
    fn the_last_event_says_where_it_was() {
        let of = |id: &'static str| {
            let mut headers = HeaderMap::new();
            headers.insert(LAST_EVENT_ID, HeaderValue::from_static(id));
            last_event(&headers)
        };
        let at = Resume { session: SessionId::nth(1), heard: 17 };
        let id = format!("{}:{}", at.session, at.heard);
        let mut headers = HeaderMap::new();
        assert_eq!(last_event(&headers), Ok(None));
        headers.insert(LAST_EVENT_ID, id.parse().unwrap());
        assert_eq!(last_event(&headers), Ok(Some(at)));
        for id in ["", "17", "session-1:17", "order-1:1", ":"] {
            assert_eq!(of(id).unwrap_err().code, Code::Invalid, "{id}");
        }
    }

    #[tokio::test]
    async fn what_is_ready_together_goes_out_in_one_chunk_and_hello_has_no_id() {
        use futures_util::{SinkExt, StreamExt};
        let by = Asker::everywhere(Principal::Dispatcher);
        let (mut events, body) = EventStream::new(by, Streams::default());
        socket::Wire::begins(&mut events, SessionId::nth(1));
        for frame in ["1", "2", "3"] {
            events.feed(Message::Text(frame.into())).await.unwrap();
        }
        events.flush().await.unwrap();
        let close = axum::extract::ws::CloseFrame { code: 1012, reason: "".into() };
        let mut chunks = body.into_data_stream();
        let chunk = chunks.next().await.unwrap().unwrap();
        let session = SessionId::nth(1);
        let text = String::from_utf8(chunk.to_vec()).unwrap();
        let (retry, rest) = text.split_once("\n\n").unwrap();
        let retry: u16 = retry.strip_prefix("retry: ").unwrap().parse().unwrap();
        assert!(COME_BACK_MS.contains(&retry));
        let said = format!("data: 1\n\nid: {session}:2\ndata: 2\n\nid: {session}:3\ndata: 3\n\n");
        assert_eq!(rest, said);
        events.send(Message::Close(Some(close))).await.unwrap();
        let last = chunks.next().await.unwrap().unwrap();
        assert_eq!(&last[..], b"event: goodbye\ndata: {\"code\":1012}\n\n");
        assert!(events.next().await.is_none(), "nothing is heard after that");
    }

    #[tokio::test]
    async fn a_stream_hears_its_client_whatever_fleet_the_clients_token_names() {
        use futures_util::StreamExt;
        use protocol::RiderId;
        let (who, session) = (Principal::Rider(RiderId::nth(1)), SessionId::nth(1));
        let fleet = |n| Some(Box::new(PartnerId::nth(n)));
        let by = Asker { fleet: fleet(1), ..Asker::everywhere(who) };
        let (mut events, _body) = EventStream::new(by, Streams::default());
        socket::Wire::begins(&mut events, session);
        let streams = events.streams.clone();
        let hear = |by, fleet| {
            let posted = Posted::Frames(vec!["{}".to_owned()]);
            streams.hear(Post { session, by, scope: Scope::default(), fleet, posted })
        };
        for fleet in [fleet(1), fleet(2), None] {
            assert_eq!(hear(who, fleet), Ok(()));
            assert!(matches!(events.next().await, Some(Ok(Message::Text(_)))));
        }
        let other = Principal::Rider(RiderId::nth(2));
        assert_eq!(hear(other, fleet(1)).unwrap_err().code, Code::NotFound);
    }

    #[tokio::test]
    async fn whoever_reads_no_more_is_gone() {
        use futures_util::StreamExt;
        let by = Asker::everywhere(Principal::Dispatcher);
        let (mut events, body) = EventStream::new(by, Streams::default());
        let (session, streams) = (SessionId::nth(1), events.streams.clone());
        let frames = || Posted::Frames(vec!["{}".to_owned()]);
        let scope = Scope::default;
        let post = |by| Post { session, by, scope: scope(), fleet: None, posted: frames() };
        let hear = |by| streams.hear(post(by)).map_err(|refused| refused.code);
        assert_eq!(hear(Principal::Dispatcher), Err(Code::NotFound));
        socket::Wire::begins(&mut events, session);
        assert_eq!(hear(Principal::Admin), Err(Code::NotFound));
        let at = protocol::Point { lat: -1.9441, lon: 30.0619 };
        let scope = Scope::of(&[actors::zone::neighbourhood(at).to_string()]).unwrap();
        let other = Post { scope, ..post(Principal::Dispatcher) };
        let refused = streams.hear(other).unwrap_err();
        assert_eq!(refused.code, Code::NotFound, "it is a dispatcher's of other regions");
        assert_eq!(hear(Principal::Dispatcher), Ok(()));
        assert!(matches!(events.next().await, Some(Ok(Message::Text(_)))));
        for _ in 0..POSTED_MAX {
            assert_eq!(hear(Principal::Dispatcher), Ok(()));
        }
        assert_eq!(hear(Principal::Dispatcher), Err(Code::Busy));
        drop(body);
        assert!(events.next().await.is_none());
        drop(events);
        assert_eq!(hear(Principal::Dispatcher), Err(Code::NotFound));
    }
}
