//! One message on the socket.
//!
//! ```text
//! client                                   server
//!   | GET /v1/ws  (token in header, or …)    |
//!   |◄──────────────────────────── hello ────|  what the server expects and allows
//!   |── identify {token} ───────────────────►|  … in the first frame
//!   |◄────────────────────────── welcome ────|  who you are
//!   |── command {id, wish} ─────────────────►|
//!   |◄────────────────── result {id, …} ─────|  exactly one, also for a repeat
//!   |◄───────────────── push {n, offer} ─────|  re-sent until …
//!   |── ack {n} ────────────────────────────►|
//!   |── position {…} ───────────────────────►|  no answer; the latest counts
//!   |◄──────────────── order | driver | … ───|  what you subscribe to: a view, …
//!   |◄──────────────────────── changed ──────|  … then each change of it
//!   |── heartbeat {heard} ──────────────────►|
//!   |◄────────────────────── heartbeat ──────|
//!   |── identify {a newer token} ───────────►|
//!   |◄────────────────────────── welcome ────|  until when it is good now
//!   ╳                                        ╳  a tunnel
//!   |── identify {token, resume} ───────────►|
//!   |◄───────────── welcome {resumed} ───────|  and what was missed
//! ```
//!
//! Enums are externally tagged and structs are maps with field names in both codecs, so that a new
//! optional field breaks nobody. Frames a client sends refuse unknown fields; frames a server sends
//! must be read by ignoring them.

use crate::{
    CommandId, DriverId, IncidentId, OrderId, Point, Principal, Refused, RescueId, RunId,
    SessionId, Timestamp,
    changes::Changed,
    view::{
        Counters, Crossing, DriverView, Happening, IncidentView, Mark, Message, Offer, OrderView,
        Position, RescueView, RiderView, RunView, StopKind,
    },
    work::Wish,
};
use serde::{Deserialize, Serialize};

/// Largest frame either side sends, in bytes.
pub const FRAME_BYTES_MAX: usize = 64 * 1024;
/// Deepest nesting of a frame.
pub const FRAME_DEPTH_MAX: usize = 32;
/// The WebSocket subprotocol that speaks MessagePack.
pub const SUBPROTOCOL_MSGPACK: &str = "outrider.v1.msgpack";
/// The WebSocket subprotocol that speaks JSON.
pub const SUBPROTOCOL_JSON: &str = "outrider.v1.json";

/// What a client says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum ClientFrame {
    /// Who I am, if the request that opened the socket did not say; later, that I still am: a newer token
    /// of the same principal. Answered by [`ServerFrame::Welcome`].
    Identify {
        /** A signed bearer token. */
        token: String,
        /** The session that was cut off, to go on where it was. Only the first time. */
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resume: Option<Resume>,
    },
    /// I am still here.
    Heartbeat {
        /** How many frames of this session I have, of all kinds: they need not be kept for me. */
        #[serde(default, skip_serializing_if = "Option::is_none")]
        heard: Option<u64>,
    },
    /// I want this. Answered by exactly one [`ServerFrame::Result`].
    Command {
        /** Minted by the client, and the same when it repeats itself. */
        id: CommandId,
        /** What. */
        wish: Wish,
    },
    /// I am here. Drivers only; never answered unless refused.
    Position(Fix),
    /// I have push number `n`.
    Ack {
        /** Which. */
        n: u64,
    },
    /// Tell me about this: a view now, and each change.
    Subscribe(Topic),
    /// Tell me no more.
    Unsubscribe(Topic),
}

/// Where a device says that it is: a position, and what the device thinks of it.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Fix {
    /// Where.
    pub at: Point,
    /// When, by the device's clock.
    pub sampled_at: Timestamp,
    /// Degrees clockwise from north.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heading_deg: Option<f32>,
    /// Metres per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed_mps: Option<f32>,
    /// Radius of the 68 % circle, in metres.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy_m: Option<f32>,
    /// An app has made it up, as the device knows (a mock location): it is counted, and not believed.
    #[serde(default, skip_serializing_if = "is_false")]
    pub mock: bool,
}

impl Fix {
    /// Where it says that it is, whatever that is worth.
    pub fn position(&self) -> Position {
        let Self { at, sampled_at, heading_deg, speed_mps, accuracy_m, mock: _ } = *self;
        Position { at, sampled_at, heading_deg, speed_mps, accuracy_m }
    }
}

impl From<Position> for Fix {
    fn from(position: Position) -> Self {
        let Position { at, sampled_at, heading_deg, speed_mps, accuracy_m } = position;
        Self { at, sampled_at, heading_deg, speed_mps, accuracy_m, mock: false }
    }
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_false(it: &bool) -> bool {
    !*it
}

/// Where a session was when it was cut off.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Resume {
    /// Which, as its hello said.
    pub session: SessionId,
    /// How many of its frames arrived, of all kinds.
    pub heard: u64,
}

/// What can be followed.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Topic {
    /// An order: its rider, its driver, staff.
    Order(OrderId),
    /// A rescue: its rider, its driver, staff.
    Rescue(RescueId),
    /// A driver: itself, staff.
    Driver(DriverId),
    /// An incident: whoever raised it, staff.
    Incident(IncidentId),
    /// A run: its driver, staff. A driver is told of its own without asking.
    Run(RunId),
    /// Oneself, if one is a rider or a driver. Told without asking, too; asked for, once more.
    Me,
    /// All marks of the map, counters and happenings. Staff only.
    Board,
    /// The marks of one region, by its id in display form: `region-` and an H3 cell of resolution 5. Staff only.
    Region(String),
    /// As `board`, with drivers of one part of the map only; another one takes its place. Staff only.
    Viewport(Viewport),
    /// One actor's whole state as it changes, by its id in display form. Staff only.
    Actor(String),
}

/// A part of the map, in millionths of a degree: whole numbers, so that it can be named again.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(deny_unknown_fields)]
pub struct Viewport {
    /// From this latitude…
    pub south: i32,
    /// … and this longitude, …
    pub west: i32,
    /// … to this latitude…
    pub north: i32,
    /// … and this longitude. Less than `west`, if the 180th meridian is in it.
    pub east: i32,
}

impl Viewport {
    /// Is a place in it?
    pub fn contains(&self, at: Point) -> bool {
        let Self { south, west, north, east } = *self;
        let [lat, lon] = [at.lat, at.lon].map(|degrees| (degrees * 1e6).round() as i32);
        let is_between = match west <= east {
            true => (west..=east).contains(&lon),
            false => lon >= west || lon <= east,
        };
        (south..=north).contains(&lat) && is_between
    }
}

/// What a server says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum ServerFrame {
    /// First, before anything else.
    Hello {
        /** This connection. */
        session: SessionId,
        /** The server's clock, for offers' expiry. */
        server_time: Timestamp,
        /** Say something at least this often, in milliseconds. */
        heartbeat_ms: u64,
        /** Largest frame accepted, in bytes. */
        frame_bytes_max: u32,
        /** Most frames a second, over time. */
        frames_per_s: u32,
        /** Most commands among them. */
        #[serde(default)]
        commands_per_s: u32,
        /** Most commands under way at once. */
        #[serde(default)]
        commands_max: u32,
        /** Most topics followed at once, one's own jobs among them. */
        #[serde(default)]
        topics_max: u32,
        /** How long the session waits for its client after a drop, in milliseconds. */
        #[serde(default)]
        resume_ms: u64,
    },
    /// You are who you say.
    Welcome {
        /** Who. */
        principal: Principal,
        /** The session ends then, unless a newer token comes first. */
        expires_at: Timestamp,
        /** Does it go on where the other one was? Then what was missed follows, and what was subscribed
        to still is. If not, everything is told anew to whoever asks. Absent where it has gone on all along:
        in the answer to a newer token. */
        #[serde(default, skip_serializing_if = "Option::is_none")]
        resumed: Option<bool>,
        /** Of which regions a dispatcher is told, and in which it acts, as its token says: cells of the H3 grid.
        None: everywhere. */
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        regions: Vec<crate::ZoneId>,
    },
    /// I am still here too.
    Heartbeat {
        /** The server's clock. */
        server_time: Timestamp,
        /** From now on this is the heartbeat interval, and no longer what `hello` or another said; in milliseconds. */
        #[serde(default, skip_serializing_if = "Option::is_none")]
        heartbeat_ms: Option<u64>,
    },
    /// The answer to a command.
    Result {
        /** Which. */
        id: CommandId,
        /** What came of it. */
        outcome: Outcome,
    },
    /// Something that must arrive; re-sent until acknowledged or void.
    Push {
        /** Acknowledge this. */
        n: u64,
        /** What. */
        push: Push,
    },
    /// A position or an unreadable frame was refused; commands are refused in their result.
    Refused(Refused),
    /// An order, whole: when it is shown for the first time, and after changes that cannot be said otherwise.
    Order(Box<OrderView>),
    /// A rescue, likewise.
    Rescue(Box<RescueView>),
    /// A driver, likewise.
    Driver(Box<DriverView>),
    /// A rider, likewise.
    Rider(RiderView),
    /// An incident, always whole.
    Incident(Box<IncidentView>),
    /// A run, likewise as an order.
    Run(Box<RunView>),
    /// Something that was shown changed: the fields that are others now.
    Changed(Changed),
    /// Where the driver of a job is. Lossy: the latest counts.
    Sighted {
        /** Of which job. */
        job: crate::JobId,
        /** Where. */
        at: Point,
        /** Until the next place it must be, in seconds: as its view expects it, counted from now. */
        eta_s: Option<u32>,
        /** One time in ten it takes less than this… */
        #[serde(default, skip_serializing_if = "Option::is_none")]
        eta_low_s: Option<u32>,
        /** … and one in ten more than this. */
        #[serde(default, skip_serializing_if = "Option::is_none")]
        eta_high_s: Option<u32>,
    },
    /// Whether the other side of a job can be reached: somebody who has part in it, and is not the client. When it
    /// is known, and when it changes.
    Presence {
        /** Of which job. */
        job: crate::JobId,
        /** Who. */
        who: Principal,
        /** Was a device of theirs heard of in the last one and a half heartbeats? */
        reachable: bool,
    },
    /// The driver of a job has come to a place where it has something to do, has stayed there, or has gone again without
    /// doing it. From what is seen of it: no event says so. Lossy: what its view says counts.
    Near {
        /** Of which job. */
        job: crate::JobId,
        /** Which of its stops, from 0; of a rescue, 0 is where help is needed and 1 where the vehicle is brought. */
        stop: u8,
        /** What is to be done there. */
        what: StopKind,
        /** Which of them. */
        crossing: Crossing,
        /** When it was seen. */
        at: Timestamp,
    },
    /// What changed on the map since the last one.
    Board(Box<Board>),
    /// What changed in a region since the last one.
    Region(Box<RegionBoard>),
    /// One actor, whole.
    Actor(Box<ActorView>),
    /// A topic ended: gone, or no longer yours to follow.
    Unsubscribed {
        /** Which. */
        topic: Topic,
        /** Why. */
        refused: Refused,
    },
    /// Last; the close code follows.
    Goodbye {
        /** Why, and whether to come back. */
        refused: Refused,
    },
}

impl From<OrderView> for ServerFrame {
    fn from(view: OrderView) -> Self {
        Self::Order(Box::new(view))
    }
}

impl From<RescueView> for ServerFrame {
    fn from(view: RescueView) -> Self {
        Self::Rescue(Box::new(view))
    }
}

impl From<DriverView> for ServerFrame {
    fn from(view: DriverView) -> Self {
        Self::Driver(Box::new(view))
    }
}

impl From<IncidentView> for ServerFrame {
    fn from(view: IncidentView) -> Self {
        Self::Incident(Box::new(view))
    }
}

impl From<RunView> for ServerFrame {
    fn from(view: RunView) -> Self {
        Self::Run(Box::new(view))
    }
}

impl From<RiderView> for ServerFrame {
    fn from(view: RiderView) -> Self {
        Self::Rider(view)
    }
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is done and durable.
    Ok(Done),
    /// It is not, and changed nothing.
    Refused(Refused),
}

/// What a command did.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Done {
    /// To whom, in display form; for a new order or rescue, its id.
    pub actor: String,
    /// The version that actor then had.
    pub version: u64,
}

/// What must arrive.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
#[serde(rename_all = "snake_case")]
pub enum Push {
    /// A job is offered to you.
    Offer(Offer),
    /// It no longer is.
    OfferEnded {
        /** Which. */
        offer: crate::OfferId,
        /** How. */
        status: crate::OfferStatus,
    },
    /// A job is yours.
    Assigned {
        /** Which. */
        job: crate::JobId,
    },
    /// A job is no longer yours.
    Released {
        /** Which. */
        job: crate::JobId,
        /** Why. */
        reason: String,
    },
    /// A job you claimed did not become yours.
    ClaimLost {
        /** Which. */
        job: crate::JobId,
        /** Why. */
        reason: String,
    },
    /// Staff: somebody needs help, and nobody has taken it on yet. Again with each escalation.
    Incident(Box<IncidentView>),
    /// Staff: somebody has, or it is over.
    IncidentHeeded {
        /** Which. */
        incident: IncidentId,
    },
    /// Staff, or the platform, have something to say to you.
    Message(Message),
}

/// The map and what moved on it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Board {
    /// Grows by one with each; a gap means: subscribe again. A full board too large for one frame
    /// goes on in frames that are not `full` and have the same `seq`.
    pub seq: u64,
    /// Is this everything, and not only what changed?
    pub full: bool,
    /// The server's clock.
    pub server_time: Timestamp,
    /// New or changed.
    pub marks: Vec<Mark>,
    /// Gone, in display form.
    pub gone: Vec<String>,
    /// How many of what.
    pub counters: Counters,
    /// What happened since the last one, newest last; at most 20.
    pub happenings: Vec<Happening>,
    /// Of a viewport: who of staff has which job open, all of it, if it is not as it was said last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub attending: Option<Vec<Attending>>,
    /// Of a viewport: how many marks are not told, for there are too many.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub left_out: u32,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde passes a reference")]
fn is_zero(it: &u32) -> bool {
    *it == 0
}

/// A job that somebody of staff has open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct Attending {
    /// Which.
    pub job: crate::JobId,
    /// On which connection, for tokens of staff name only their role.
    pub session: SessionId,
    /// In which role.
    pub by: Principal,
}

/// What is in a region, and what moved in it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct RegionBoard {
    /// Which, in display form.
    pub region: String,
    /// Grows by one with each. What is too large for one frame goes on in frames that are not `full` and
    /// have the same `seq`.
    pub seq: u64,
    /// Is this everything, and not only what changed?
    pub full: bool,
    /// The server's clock.
    pub server_time: Timestamp,
    /// New or changed: drivers who are in it, orders that are picked up in it, rescues in it.
    pub marks: Vec<Mark>,
    /// Gone from it, in display form.
    pub gone: Vec<String>,
}

/// One actor, whole.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "openapi", derive(utoipa::ToSchema))]
pub struct ActorView {
    /// Its id in display form.
    pub actor: String,
    /// How many events made it so.
    pub version: u64,
    /// Where it lives.
    pub shard: crate::ShardId,
    /// Everything it remembers.
    #[cfg_attr(feature = "openapi", schema(value_type = Object))]
    pub state: serde_json::Value,
    /// The names of the events since the last view.
    pub events: Vec<String>,
    /// When it next acts by itself.
    pub deadline: Option<Timestamp>,
}
