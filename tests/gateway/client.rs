//! A client that says exactly what it is told to, and hears everything.

use crate::{node::Node, stream::Events};
use futures_util::{SinkExt, StreamExt};
use protocol::{
    CommandId, Principal, SessionId, Timestamp,
    changes::Shown,
    codec::Codec,
    frame::{ClientFrame, Outcome, Push, Resume, ServerFrame, Topic},
    work::Wish,
};
use std::{collections::VecDeque, time::Duration};
use tokio::{io::AsyncWriteExt, net::TcpStream};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{
        self, Message,
        client::IntoClientRequest,
        handshake::client::Request,
        protocol::{CloseFrame, frame::coding::CloseCode},
    },
};

/// Longer than anything here should take.
pub(crate) const PATIENCE: Duration = Duration::from_secs(8);

type Web = WebSocketStream<MaybeTlsStream<TcpStream>>;

enum Line {
    Web(Box<Web>),
    Events(Box<Events>),
}

pub(crate) struct Client {
    line: Line,
    codec: Codec,
    /// What came while it waited for an answer, and has not been heard yet.
    backlog: VecDeque<ServerFrame>,
    /// Which session it is, and how many of its frames arrived.
    pub(crate) at: Resume,
    /// What it was shown: it hears changes as whole views.
    shown: Shown,
    /// It goes on where another one was, and has forgotten what that one was shown.
    is_forgetful: bool,
    pub(crate) counted: Counted,
}

/// What it heard: how many bytes in how many changes, and how many if every view had been said whole.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Counted {
    pub(crate) n_changes: usize,
    pub(crate) bytes: usize,
    pub(crate) bytes_if_whole: usize,
    pub(crate) view_bytes: usize,
    pub(crate) view_bytes_if_whole: usize,
}

/// The last a client hears.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Closed {
    pub(crate) code: u16,
}

/// A request to open a socket that speaks `codec`.
pub(crate) fn request(node: &Node, codec: Option<Codec>) -> Request {
    let mut request = format!("ws://{}/v1/ws", node.address).into_client_request().unwrap();
    if let Some(codec) = codec {
        let subprotocol = codec.subprotocol().parse().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", subprotocol);
    }
    request
}

/// The status with which the node refuses to open a socket.
pub(crate) async fn refused(request: Request) -> (u16, String) {
    match connect_async(request).await {
        Err(tungstenite::Error::Http(response)) => {
            let body = response.body().clone().unwrap_or_default();
            (response.status().as_u16(), String::from_utf8(body).unwrap())
        }
        other => panic!("not refused: {other:?}"),
    }
}

pub(crate) fn is_welcome(frame: &ServerFrame, who: Principal) -> bool {
    matches!(frame, ServerFrame::Welcome { principal, .. } if *principal == who)
}

impl Client {
    /// Connected, and not known yet.
    pub(crate) async fn stranger(node: &Node, codec: Codec) -> Self {
        let (socket, _) = connect_async(request(node, Some(codec))).await.unwrap();
        Self::greeted(socket, codec).await
    }

    /// Connected by a request of one's own.
    pub(crate) async fn by(request: Request, codec: Codec) -> Self {
        let (socket, _) = connect_async(request).await.unwrap();
        Self::greeted(socket, codec).await
    }

    async fn greeted(socket: Web, codec: Codec) -> Self {
        Self::on(Line::Web(Box::new(socket)), codec).await
    }

    /// Connected by server-sent events and posts.
    pub(crate) async fn streaming(events: Events) -> Self {
        Self::on(Line::Events(Box::new(events)), Codec::Json).await
    }

    fn web(&mut self) -> &mut Web {
        match &mut self.line {
            Line::Web(web) => web,
            Line::Events(_) => panic!("no WebSocket"),
        }
    }

    /// What it posts by, if it does.
    pub(crate) fn events(&mut self) -> &mut Events {
        match &mut self.line {
            Line::Events(events) => events,
            Line::Web(_) => panic!("a WebSocket"),
        }
    }

    async fn on(line: Line, codec: Codec) -> Self {
        let at = Resume { session: SessionId::nth(0), heard: 0 };
        let shown = Shown::default();
        let backlog = VecDeque::new();
        let counted = Counted::default();
        let is_forgetful = false;
        let mut client = Self { line, codec, backlog, at, shown, is_forgetful, counted };
        let hello = client.hear().await;
        let ServerFrame::Hello { session, .. } = hello else { panic!("{hello:?}") };
        client.at.session = session;
        client
    }

    /// Connected as `principal`, to go on where another connection was. Says whether it does.
    pub(crate) async fn resume(node: &Node, principal: Principal, at: Resume) -> (Self, bool) {
        let mut client = Self::stranger(node, Codec::MsgPack).await;
        let token = node.token(principal);
        client.say(&ClientFrame::Identify { token, resume: Some(at) }).await;
        let is_resumed = client.is_resumed().await;
        (client, is_resumed)
    }

    /// Hears whether it goes on where another one was.
    pub(crate) async fn is_resumed(&mut self) -> bool {
        let ServerFrame::Welcome { resumed, .. } = self.hear().await else { panic!("not let in") };
        self.is_forgetful = resumed.unwrap();
        self.is_forgetful
    }

    /// The same, but cut off before it hears its welcome.
    pub(crate) async fn resume_in_vain(node: &Node, principal: Principal, at: Resume) {
        let mut client = Self::stranger(node, Codec::MsgPack).await;
        let token = node.token(principal);
        client.say(&ClientFrame::Identify { token, resume: Some(at) }).await;
        // It is on its way; the client is gone before it comes.
        client.hear().await;
    }

    /// Says goodbye, and hears that it was heard.
    pub(crate) async fn leave(mut self) {
        let web = self.web();
        web.close(None).await.unwrap();
        while web.next().await.is_some() {}
    }

    /// Says goodbye with a code, and hears which one comes back.
    pub(crate) async fn goodbye(mut self, code: u16) -> Closed {
        let close = CloseFrame { code: code.into(), reason: "".into() };
        self.say_message(Message::Close(Some(close))).await;
        self.hear_out().await.1
    }

    /// The connection breaks, without a word.
    pub(crate) fn cut(self) -> Resume {
        self.at
    }

    /// Connected as `principal`.
    pub(crate) async fn connect(node: &Node, principal: Principal) -> Self {
        let mut client = Self::stranger(node, Codec::MsgPack).await;
        client.identify(&node.token(principal)).await;
        let welcome = client.hear().await;
        assert!(is_welcome(&welcome, principal), "{welcome:?}");
        client
    }

    pub(crate) async fn identify(&mut self, token: &str) {
        self.say(&ClientFrame::Identify { token: token.to_owned(), resume: None }).await;
    }

    pub(crate) async fn say(&mut self, frame: &ClientFrame) {
        let bytes = self.codec.encode(frame).unwrap();
        match &mut self.line {
            Line::Web(_) => self.say_bytes(bytes).await,
            Line::Events(events) => assert_eq!(events.post(bytes).await, 202),
        }
    }

    /// Says anything at all.
    pub(crate) async fn say_bytes(&mut self, bytes: Vec<u8>) {
        let message = match self.codec {
            Codec::MsgPack => Message::binary(bytes),
            Codec::Json => Message::text(String::from_utf8(bytes).unwrap()),
        };
        self.say_message(message).await;
    }

    pub(crate) async fn say_message(&mut self, message: Message) {
        // The node may have closed already; what it said last is still to be heard.
        drop(self.web().send(message).await);
    }

    /// Puts bytes on the line, whatever they are; false when nobody is there any more.
    pub(crate) async fn say_raw(&mut self, bytes: &[u8]) -> bool {
        let line = self.web().get_mut();
        line.write_all(bytes).await.is_ok() && line.flush().await.is_ok()
    }

    /// Says something without ever listening; false when the node does not take it any more.
    pub(crate) async fn try_say(&mut self, frame: &ClientFrame) -> bool {
        let message = Message::binary(self.codec.encode(frame).unwrap());
        let said = tokio::time::timeout(PATIENCE, self.web().send(message)).await;
        matches!(said, Ok(Ok(())))
    }

    async fn next(&mut self) -> Result<ServerFrame, Closed> {
        match self.backlog.pop_front() {
            Some(frame) => Ok(frame),
            None => self.receive().await,
        }
    }

    async fn receive(&mut self) -> Result<ServerFrame, Closed> {
        let bytes = self.read().await?;
        Ok(self.frame(&bytes))
    }

    async fn read(&mut self) -> Result<Vec<u8>, Closed> {
        loop {
            let next = async {
                match &mut self.line {
                    Line::Web(web) => web.next().await,
                    Line::Events(events) => events.next().await.map(Ok),
                }
            };
            let message = tokio::time::timeout(PATIENCE, next).await;
            return match message.expect("the node said nothing") {
                Some(Ok(Message::Binary(bytes))) => Ok(bytes.to_vec()),
                Some(Ok(Message::Text(text))) => Ok(text.as_bytes().to_vec()),
                Some(Ok(Message::Close(Some(close)))) => Err(Closed { code: close.code.into() }),
                Some(Ok(Message::Ping(_) | Message::Pong(_) | Message::Frame(_))) => continue,
                Some(Ok(Message::Close(None)) | Err(_)) | None => {
                    Err(Closed { code: CloseCode::Abnormal.into() })
                }
            };
        }
    }

    fn frame(&mut self, bytes: &[u8]) -> ServerFrame {
        self.at.heard += 1;
        let frame: ServerFrame = self.codec.decode_unbounded(bytes).unwrap();
        let is_change = matches!(frame, ServerFrame::Changed(_));
        let frame = match self.shown.whole(frame.clone()) {
            Ok(frame) => frame,
            Err(_) if self.is_forgetful => frame,
            Err(missing) => panic!("{missing:?} {frame:?}"),
        };
        self.count(&frame, is_change, bytes.len());
        frame
    }

    fn count(&mut self, frame: &ServerFrame, is_change: bool, bytes: usize) {
        let whole = if is_change { self.codec.encode(frame).unwrap().len() } else { bytes };
        let counted = &mut self.counted;
        counted.n_changes += usize::from(is_change);
        counted.bytes += bytes;
        counted.bytes_if_whole += whole;
        if let ServerFrame::Order(_)
        | ServerFrame::Rescue(_)
        | ServerFrame::Driver(_)
        | ServerFrame::Rider(_) = frame
        {
            counted.view_bytes += bytes;
            counted.view_bytes_if_whole += whole;
        }
    }

    /// The next frame.
    pub(crate) async fn hear(&mut self) -> ServerFrame {
        self.next().await.expect("the node closed the socket")
    }

    /// The next frame that `pick` wants; others are skipped.
    pub(crate) async fn hear_any<T>(
        &mut self,
        mut pick: impl FnMut(ServerFrame) -> Option<T>,
    ) -> T {
        loop {
            let frame = self.hear().await;
            if let Some(picked) = pick(frame) {
                return picked;
            }
        }
    }

    /// Everything until the node closes, and how it does.
    pub(crate) async fn hear_out(&mut self) -> (Vec<ServerFrame>, Closed) {
        let mut heard: Vec<_> = self.backlog.drain(..).collect();
        // Read first and understood later: a node gives its goodbye little time.
        let mut all = Vec::new();
        let closed = loop {
            match self.read().await {
                Ok(bytes) => all.push(bytes),
                Err(closed) => break closed,
            }
        };
        heard.extend(all.iter().map(|bytes| self.frame(bytes)));
        (heard, closed)
    }

    /// Wishes something, and waits for what comes of it. What comes before that is heard later.
    pub(crate) async fn wish(&mut self, wish: Wish) -> Outcome {
        self.wish_as(CommandId::mint(), wish).await
    }

    pub(crate) async fn wish_as(&mut self, wanted: CommandId, wish: Wish) -> Outcome {
        self.say(&ClientFrame::Command { id: wanted, wish }).await;
        loop {
            match self.receive().await.expect("the node closed the socket") {
                ServerFrame::Result { id, outcome } if id == wanted => return outcome,
                frame => self.backlog.push_back(frame),
            }
        }
    }

    pub(crate) async fn subscribe(&mut self, topic: Topic) {
        self.say(&ClientFrame::Subscribe(topic)).await;
    }

    /// The next push that `pick` wants, acknowledged; others are acknowledged and skipped.
    pub(crate) async fn hear_push<T>(&mut self, pick: impl Fn(Push) -> Option<T>) -> T {
        loop {
            let (n, push) = self
                .hear_any(|frame| match frame {
                    ServerFrame::Push { n, push } => Some((n, push)),
                    _ => None,
                })
                .await;
            self.say(&ClientFrame::Ack { n }).await;
            if let Some(picked) = pick(push) {
                return picked;
            }
        }
    }
}

/// Now, as a device's clock has it.
#[expect(clippy::disallowed_methods, reason = "a device has a clock of its own")]
pub(crate) fn now() -> Timestamp {
    let since = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap();
    Timestamp(0) + since
}
