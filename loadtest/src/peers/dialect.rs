//! How each peer is spoken to: the same drivers, riders and orders in the words of each.

use super::{Fault, Program};
use futures_util::{SinkExt, StreamExt};
use loadtest::{TokenSource, token::DevelopmentKey};
use protocol::{
    CommandId, DriverId, Place, Point, Principal, RiderId, Timestamp,
    changes::Changed,
    codec::Codec,
    frame::{ClientFrame, Fix, Outcome, Push, SUBPROTOCOL_MSGPACK, ServerFrame},
    work::{
        DriverAction, DutyWish, Handoff, Needs, NewOrder, OrderAction, OrderKind, PaymentTiming,
        Vehicle, VehicleKind, Wish,
    },
};
use serde::Deserialize;
use serde_json::json;
use std::{net::SocketAddr, sync::Arc, time::Duration};
use tokio::{net::TcpStream, time::timeout};
use tokio_tungstenite::{
    WebSocketStream, client_async_with_config,
    tungstenite::{
        Message, client::IntoClientRequest, http::HeaderValue, protocol::WebSocketConfig,
    },
};

/// How long a peer may take to let somebody in.
const LETS_IN_WITHIN: Duration = Duration::from_secs(20);

/// A socket to a peer.
pub(super) type Socket = WebSocketStream<TcpStream>;

/// Somebody's words.
#[derive(Debug, Clone)]
pub(super) enum Dialect {
    /// Outrider's positions, to somebody who understands nothing.
    Bare,
    /// Outrider's session protocol.
    Outrider(Outrider),
    /// Socket.IO's, and the events of `dispatch.mjs`.
    SocketIo,
}

/// What it takes to be believed by a node.
#[derive(Debug, Clone)]
pub(super) struct Outrider(Arc<DevelopmentKey>);

/// Who has a socket.
#[derive(Debug, Clone, Copy)]
pub(super) enum Who {
    /// A driver, on duty.
    Driver(u32),
    /// Somebody who orders.
    Rider(u32),
}

/// What was heard, as far as anybody here cares.
#[derive(Debug, PartialEq)]
pub(super) enum Heard {
    /// A driver is offered an order, and would say this to take it.
    Offer { order: String, yes: Vec<Message> },
    /// A rider's order is known by this name.
    Placed { order: String },
    /// A rider's order has a driver.
    Assigned { order: String },
    /// What was asked for is not to be had.
    Refused(String),
    /// Something that wants an answer, and nothing more.
    Sign(Message),
    /// Anything else.
    Other,
}

impl Outrider {
    /// Somebody a node believes that keeps its key where we can read it.
    pub(super) fn of(node: &Program) -> Result<Self, Fault> {
        let key = DevelopmentKey::read(&node.dir().join("data/development-key.pem"))?;
        Ok(Self(Arc::new(key)))
    }
}

impl Who {
    fn principal(self) -> Principal {
        match self {
            Self::Driver(n) => Principal::Driver(DriverId::nth(n.into())),
            Self::Rider(n) => Principal::Rider(RiderId::nth(n.into())),
        }
    }
}

impl Dialect {
    /// Lets somebody in; a driver is on duty then.
    pub(super) async fn open(&self, address: SocketAddr, who: Who) -> Result<Socket, Fault> {
        timeout(LETS_IN_WITHIN, self.let_in(address, who))
            .await
            .map_err(|_| format!("{who:?} was not let in within {LETS_IN_WITHIN:?}"))?
    }

    async fn let_in(&self, address: SocketAddr, who: Who) -> Result<Socket, Fault> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let path = match self {
            Self::Bare => "",
            Self::Outrider(_) => "v1/ws",
            Self::SocketIo => "socket.io/?EIO=4&transport=websocket",
        };
        let mut request = format!("ws://{address}/{path}").into_client_request()?;
        if let Self::Outrider(_) = self {
            let subprotocol = HeaderValue::from_static(SUBPROTOCOL_MSGPACK);
            request.headers_mut().insert("sec-websocket-protocol", subprotocol);
        }
        // The default of 128 KiB is much for thousands of sockets.
        let config = WebSocketConfig::default().read_buffer_size(4_096);
        let (mut socket, _) = client_async_with_config(request, stream, Some(config)).await?;
        match self {
            Self::Bare => {}
            Self::Outrider(Outrider(key)) => {
                let token = key.token(who.principal()).await?;
                socket.send(frame(&ClientFrame::Identify { token, resume: None })).await?;
                if let Who::Driver(_) = who {
                    socket.send(on_duty()).await?;
                }
                until(&mut socket, |said| match frame_of(said) {
                    Some(ServerFrame::Welcome { .. }) => Some(Ok(matches!(who, Who::Rider(_)))),
                    Some(heard) => match heard_frame(heard) {
                        Heard::Placed { .. } => Some(Ok(true)),
                        Heard::Refused(why) => Some(Err(why)),
                        Heard::Offer { .. }
                        | Heard::Assigned { .. }
                        | Heard::Sign(_)
                        | Heard::Other => None,
                    },
                    None => None,
                })
                .await?;
            }
            Self::SocketIo => {
                until(&mut socket, |said| is_text(said, "0").then_some(Ok(true))).await?;
                let auth = match who {
                    Who::Driver(n) => json!({ "driver": format!("driver-{n}") }),
                    Who::Rider(n) => json!({ "rider": format!("rider-{n}") }),
                };
                socket.send(Message::text(format!("40{auth}"))).await?;
                until(&mut socket, |said| is_text(said, "40").then_some(Ok(true))).await?;
            }
        }
        Ok(socket)
    }

    /// Says where a driver is.
    pub(super) fn position(&self, at: Point, sampled_at: Timestamp) -> Message {
        match self {
            Self::Bare | Self::Outrider(_) => frame(&ClientFrame::Position(Fix {
                at,
                sampled_at,
                heading_deg: None,
                speed_mps: None,
                accuracy_m: Some(5.0),
                mock: false,
            })),
            Self::SocketIo => event(
                "position",
                &json!({ "lat": at.lat, "lon": at.lon, "sampled_at": sampled_at, "accuracy_m": 5 }),
            ),
        }
    }

    /// Places an order. `name`: what it is called where orders have no names of their own.
    pub(super) fn order(&self, name: &str, from: Point, to: Point) -> Message {
        match self {
            Self::Bare => Message::binary(Vec::new()),
            Self::Outrider(_) => command(Wish::PlaceOrder(Box::new(NewOrder {
                kind: OrderKind::Ride,
                stops: vec![Place::from(from), Place::from(to)],
                rider: None,
                start_at: None,
                payment: PaymentTiming::Cash,
                needs: Needs::default(),
                quote: None,
                merchant: None,
                handoff: Handoff::Driver,
                driver: None,
                policy: None,
                pickup_proof: Vec::new(),
                dropoff_proof: Vec::new(),
                cash_on_delivery: None,
                n_items: None,
                fleet: None,
                exclusive: false,
                via: None,
            }))),
            Self::SocketIo => {
                event("order", &json!({ "order": name, "lat": from.lat, "lon": from.lon }))
            }
        }
    }

    /// Ends an order, so that its driver is free again.
    pub(super) fn end(&self, order: &str) -> Result<Message, Fault> {
        match self {
            Self::Bare => Ok(Message::binary(Vec::new())),
            Self::Outrider(_) => {
                let id = order.parse().map_err(|_| format!("{order} is no order"))?;
                let action = OrderAction::Cancel { reason: String::new() };
                Ok(command(Wish::Order { id, action }))
            }
            Self::SocketIo => Ok(event("done", &json!({ "order": order }))),
        }
    }

    /// Understands what somebody was told.
    pub(super) fn hear(&self, said: &Message) -> Heard {
        match self {
            Self::Bare => Heard::Other,
            Self::Outrider(_) => frame_of(said).map_or(Heard::Other, heard_frame),
            Self::SocketIo => {
                let Message::Text(text) = said else { return Heard::Other };
                if text.as_str() == "2" {
                    return Heard::Sign(Message::text("3"));
                }
                let event = text.strip_prefix("42").and_then(|it| serde_json::from_str(it).ok());
                event.map_or(Heard::Other, heard_event)
            }
        }
    }
}

#[expect(clippy::wildcard_enum_match_arm, reason = "of what a node says, little matters here")]
fn heard_frame(heard: ServerFrame) -> Heard {
    match heard {
        ServerFrame::Push { n, push: Push::Offer(offer) } => {
            let accept = DriverAction::AcceptOffer { offer: offer.id };
            let yes = vec![
                frame(&ClientFrame::Ack { n }),
                command(Wish::Driver { id: None, action: accept }),
            ];
            Heard::Offer { order: offer.job.to_string(), yes }
        }
        ServerFrame::Push { n, .. } => Heard::Sign(frame(&ClientFrame::Ack { n })),
        ServerFrame::Order(view) if view.driver.is_some() => {
            Heard::Assigned { order: view.id.to_string() }
        }
        ServerFrame::Changed(Changed::Order(changes)) if changes.driver.flatten().is_some() => {
            Heard::Assigned { order: changes.id.to_string() }
        }
        ServerFrame::Result { outcome: Outcome::Ok(done), .. } => {
            Heard::Placed { order: done.actor }
        }
        ServerFrame::Result { outcome: Outcome::Refused(refused), .. }
        | ServerFrame::Refused(refused)
        | ServerFrame::Goodbye { refused } => Heard::Refused(refused.to_string()),
        _ => Heard::Other,
    }
}

/// What `dispatch.mjs` says.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "snake_case")]
enum Word {
    Offer,
    Assigned,
    Nobody,
}

#[derive(Debug, Deserialize)]
struct About {
    order: String,
}

fn heard_event((word, About { order }): (Word, About)) -> Heard {
    match word {
        Word::Offer => {
            let yes = vec![event("accept", &json!({ "order": order }))];
            Heard::Offer { order, yes }
        }
        Word::Assigned => Heard::Assigned { order },
        Word::Nobody => Heard::Refused("nobody is near".to_owned()),
    }
}

fn on_duty() -> Message {
    let vehicle = Vehicle { kind: VehicleKind::Moto, capacity_g: 20_000, skills: Vec::new() };
    let action = DriverAction::SetDuty { duty: DutyWish::On, vehicle: Some(vehicle) };
    command(Wish::Driver { id: None, action })
}

fn command(wish: Wish) -> Message {
    frame(&ClientFrame::Command { id: CommandId::mint(), wish })
}

fn frame(frame: &ClientFrame) -> Message {
    Message::binary(Codec::MsgPack.encode(frame).expect("frames have text for keys"))
}

fn frame_of(said: &Message) -> Option<ServerFrame> {
    let Message::Binary(bytes) = said else { return None };
    Codec::MsgPack.decode_unbounded(bytes).ok()
}

fn event(name: &str, about: &serde_json::Value) -> Message {
    Message::text(format!("42{}", json!([name, about])))
}

fn is_text(said: &Message, begin: &str) -> bool {
    matches!(said, Message::Text(text) if text.starts_with(begin))
}

/// Listens until the last word: `Ok(false)` is one before it, `Err` a no.
async fn until(
    socket: &mut Socket,
    mut judge: impl FnMut(&Message) -> Option<Result<bool, String>>,
) -> Result<(), Fault> {
    while let Some(message) = socket.next().await {
        match judge(&message?) {
            Some(Ok(true)) => return Ok(()),
            Some(Err(why)) => return Err(why.into()),
            Some(Ok(false)) | None => {}
        }
    }
    Err("the peer closed the socket".into())
}
