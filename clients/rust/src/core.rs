//! What a client does about what it hears: no sockets, no clock, no waiting.
//!
//! ```text
//!   Waiting ─► Asking (a token) ─► Opening ─► Greeting ─► Open
//!      ▲          │                   │           │         │
//!      └──────────┴───────────────────┴───────────┴─────────┘     any of them ─► Closed
//! ```
//!
//! Whoever drives it tells it what happened, with the moment, and does what [`Core::next`] says until
//! that has nothing more to say before [`Core::wake_at`]. Positions, commands and heartbeats are drawn
//! only when there is room to say them, so nothing waits twice and nothing waits without bound.

mod pushes;

pub(crate) use pushes::PUSHES_MAX;
pub use pushes::PushId;

use protocol::{
    Code, CommandId, Principal, Refused, Timestamp,
    changes::{NotShown, Shown},
    codec::Codec,
    frame::{Board, ClientFrame, FRAME_BYTES_MAX, Fix, Outcome, Push, Resume, ServerFrame, Topic},
    work::Wish,
};
use pushes::{Pushes, Verdict};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{
    collections::VecDeque,
    time::{Duration, Instant},
};
use thiserror::Error;

/// How long a token, or a socket and its welcome, may take.
const WELCOME_MAX: Duration = Duration::from_secs(15);
/// Nothing at all for this long after something that is answered was said: the way leads nowhere, however long
/// a node may be silent of its own accord.
const UNHEARD_MAX: Duration = Duration::from_secs(20);
/// So many heartbeats after a command was done, the node has noticed what became of its client: if it says nothing of how
/// often to be heard, that is as before.
const N_BEATS_NOTICED: u8 = 2;
/// Without an answer for this long, a command is asked for again.
const ANSWER_MAX: Duration = Duration::from_secs(8);
/// Most commands that are under way at once; a node refuses more than 16.
const IN_FLIGHT_MAX: usize = 8;
/// Commands take at most this part of the frames a node allows: positions and heartbeats need the rest.
const COMMANDS_SHARE: f64 = 0.4;
/// So many commands may be said at once after a silence.
const COMMANDS_BURST: u32 = 16;
/// Most topics that were left and are left once more after a drop: a node allows so many frames at once.
const LEFT_MAX: usize = 16;
/// How long a close code may come after its goodbye.
const CLOSE_MAX: Duration = Duration::from_secs(1);
/// What a node says is so only for this long is wished once more by whoever may; beyond it, its app should know.
const NOT_YET_MAX: Duration = Duration::from_secs(2);
/// A new token is asked for so long before the old one ends, or when nine tenths of it are over.
const RENEW_BEFORE: Duration = Duration::from_secs(60);
/// A token that could not be had while there is still a good one is asked for again after this.
const RENEW_AGAIN: Duration = Duration::from_secs(5);

/// Close codes of the protocol.
mod close {
    pub(super) const NORMAL: u16 = 1000;
    pub(super) const BROKEN_RULE: u16 = 1002;
    /// What stands for a close code where there was none.
    pub(super) const WITHOUT_A_WORD: u16 = 1006;
    pub(super) const NOT_UTF8: u16 = 1007;
    pub(super) const POLICY: u16 = 1008;
    pub(super) const TOO_LARGE: u16 = 1009;
    pub(super) const RESTART: u16 = 1012;
    pub(super) const COME_BACK: u16 = 4000;
    pub(super) const UNAUTHENTICATED: u16 = 4401;
    pub(super) const ELSEWHERE: u16 = 4409;
}

/// What a client is like.
#[derive(Debug, Clone)]
pub struct Habits {
    /// How frames are written.
    pub codec: Codec,
    /// How many nodes it knows.
    pub n_addresses: usize,
    /// Most commands without an answer.
    pub commands_max: usize,
    /// A command that is only told "later" for this long is given up; none: never.
    pub give_up_after: Option<Duration>,
    /// A command that is refused for what will have passed in a moment (`too_early`, `too_far` with a time to wait) is wished
    /// so often again, each time as another command. Whoever keeps account of every id wants none.
    pub once_more_max: u32,
    /// So many tokens in a row are shown that are not believed.
    pub disbelieved_max: u32,
    /// The first pause after a failure is at most this long, each further one twice as long …
    pub pause_first: Duration,
    /// … and none longer than this.
    pub pause_max: Duration,
    /// The same seed: the same dice.
    pub seed: u64,
}

impl Default for Habits {
    fn default() -> Self {
        Self {
            codec: Codec::MsgPack,
            n_addresses: 1,
            commands_max: 256,
            give_up_after: None,
            once_more_max: 0,
            // One may have expired on its way; the next one is another.
            disbelieved_max: 2,
            pause_first: Duration::from_millis(500),
            pause_max: Duration::from_secs(20),
            seed: 0,
        }
    }
}

impl Habits {
    /// How long to pause after so many failures in a row. Everybody who was cut off at once must not come back
    /// at once: anywhere from nothing to a ceiling that doubles.
    pub fn pause(&self, n_failed: u32, rng: &mut impl Rng) -> Duration {
        let ceiling = self.pause_first.saturating_mul(2_u32.saturating_pow(n_failed));
        ceiling.min(self.pause_max).mul_f64(rng.random_range(0.0..=1.0))
    }

    /// How long somebody pauses who was cut off while at rest. Nobody waits for them, and they are most of those who
    /// were cut off at once: whoever has a job comes first.
    pub fn pause_at_rest(&self, rng: &mut impl Rng) -> Duration {
        self.pause_max.mul_f64(rng.random_range(0.0..=1.0))
    }
}

/// Where a client stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// It is on its way to a node.
    Connecting,
    /// It is let in.
    Open,
    /// It tries again then.
    Waiting {
        /** When. */
        until: Instant,
    },
    /// It does not come back.
    Closed(Why),
}

/// Why a client does not come back.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum Why {
    /// It was told to leave.
    #[error("it left")]
    Left,
    /// Two tokens in a row were not believed, or as many as its habits allow.
    #[error("its tokens are not believed: {0}")]
    Disbelieved(Refused),
    /// Its session goes on at another socket: somebody else has its place.
    #[error("its session goes on elsewhere")]
    Elsewhere,
}

/// Why a socket could not be opened.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
pub enum NotOpened {
    /// The node answered, and said no.
    #[error("the node answered {status}")]
    Refused {
        /** The HTTP status. */
        status: u16,
        /** How long to wait, if it said so. */
        retry_after: Option<Duration>,
    },
    /// It could not be asked.
    #[error("{0}")]
    Failed(String),
}

/// Why a command was not taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Error)]
pub enum NotTaken {
    /// As many as may wait for their answers do.
    #[error("too many commands wait for their answers")]
    Full,
    /// It does not fit into a frame.
    #[error("larger than a frame")]
    TooLarge,
    /// This id is under way already.
    #[error("already under way")]
    UnderWay,
}

/// What is to be done.
#[derive(Debug, Clone, PartialEq)]
pub enum Act {
    /// Ask for a token, and tell [`Core::token`].
    AskToken,
    /// Open a socket to this node, and tell [`Core::opened`] or [`Core::not_opened`].
    Open {
        /** Which of the known ones. */
        address: usize,
    },
    /// Say this on the open socket.
    Say(ClientFrame),
    /// Drop the socket, or what would become one.
    Close {
        /** With this code, if there is anybody to hear it. */
        code: u16,
    },
    /// Tell the app.
    Tell(Event),
}

/// What an app hears.
#[derive(Debug, Clone, PartialEq)]
pub enum Event {
    /// It stands elsewhere than before.
    State(State),
    /// It is let in.
    Welcome {
        /** As whom. */
        principal: Principal,
        /** Nothing was missed that is not said now. If not, everything is told anew. */
        resumed: bool,
    },
    /// Anything else a node says: heartbeats, views (always whole), sightings, boards, refused positions, ended topics.
    Frame(ServerFrame),
    /// A frame of a kind that this client does not know yet, and why it could not be read.
    Unreadable(String),
    /// Something that must arrive; say [`Core::taken`] once it has.
    Push {
        /** Which. */
        id: PushId,
        /** What. */
        push: Push,
    },
    /// A push that was delivered before was said again.
    PushedAgain(Push),
    /// A command is said.
    Asked {
        /** Which. */
        id: CommandId,
        /** The how-manyeth time, from 1. */
        n: u32,
    },
    /// A command was refused for now, and is asked for again, if only for a moment as another one.
    Later {
        /** Which. */
        id: CommandId,
        /** Why. */
        refused: Refused,
    },
    /// The one answer to a command.
    Answered(Box<Answer>),
    /// The answer to a repeat of a command that was answered already.
    AnsweredAgain {
        /** Which. */
        id: CommandId,
        /** How. */
        outcome: Outcome,
    },
}

/// What came of a command.
#[derive(Debug, Clone, PartialEq)]
pub struct Answer {
    /// Which.
    pub id: CommandId,
    /// What was wished.
    pub wish: Wish,
    /// Since when.
    pub since: Instant,
    /// What came of it.
    pub outcome: Outcome,
}

#[derive(Debug)]
struct Pending {
    id: CommandId,
    /// As which it is asked for: another one once it was refused for a moment.
    said_as: CommandId,
    n_once_more: u32,
    wish: Wish,
    since: Instant,
    n_asked: u32,
    /// When it may be asked for again; none: at once.
    due: Option<Instant>,
    is_under_way: bool,
}

#[derive(Debug)]
struct Followed {
    topic: Topic,
    is_said: bool,
    /// A heartbeat came since this was said.
    is_answered: bool,
    /// Something was told of it: the node has heard that it is followed.
    is_sure: bool,
}

/// A socket that is open.
#[derive(Debug)]
struct Line {
    here: Option<Resume>,
    opened_at: Instant,
    heartbeat: Duration,
    /// What `hello` said it is.
    heartbeat_usual: Duration,
    heard_at: Instant,
    /// When something that is answered was said last.
    said_at: Instant,
    /// When something was said that is answered, if nothing was heard since.
    asked_at: Option<Instant>,
    /// By when something that is answered is to be said, for what was said at rest is not.
    beat_by: Option<Instant>,
    /// A command was done, and the node has not told since how often to be heard: somebody may wait now, until so many
    /// heartbeats have come.
    n_beats_unsure: u8,
    /// What was said last, and until when the close code may come.
    goodbye: Option<(Refused, Instant)>,
}

#[derive(Debug)]
enum Stage {
    /// `if_wanted`: until when it would wait if its app wanted something.
    Waiting {
        until: Instant,
        if_wanted: Instant,
    },
    Asking {
        since: Instant,
    },
    Opening {
        since: Instant,
    },
    Greeting(Line),
    Open(Line),
    Closed,
}

#[derive(Debug)]
struct Token {
    text: String,
    renew_at: Option<Instant>,
}

/// One client, as long as an app lives.
#[derive(Debug)]
pub struct Core {
    habits: Habits,
    rng: StdRng,
    stage: Stage,
    acts: VecDeque<Act>,
    address: usize,
    n_failed: u32,
    n_disbelieved: u32,
    token: Option<Token>,
    is_renewing: bool,
    /// The last session that said welcome, and how many of its frames arrived.
    at: Option<Resume>,
    /// The node's clock at some moment of ours.
    clock: Option<(Instant, Timestamp)>,
    /// Between two commands, over time.
    command_every: Duration,
    /// When the commands said so far would all have been said at that pace.
    commands_said_by: Option<Instant>,
    topics: Vec<Followed>,
    /// Topics that were left; a session that goes on may not know.
    left: VecDeque<Topic>,
    board_seq: Option<u64>,
    /// Views as they were told last: what changes of them is told whole.
    shown: Shown,
    position: Option<Fix>,
    pending: VecDeque<Pending>,
    pushes: Pushes,
}

impl Core {
    /// One that begins to connect at once.
    pub fn new(habits: Habits, now: Instant) -> Self {
        let mut rng = StdRng::seed_from_u64(habits.seed);
        // Whoever is given the same list must not all go to the same node.
        let address = rng.random_range(0..habits.n_addresses.max(1));
        Self {
            habits,
            rng,
            stage: Stage::Waiting { until: now, if_wanted: now },
            acts: VecDeque::new(),
            address,
            n_failed: 0,
            n_disbelieved: 0,
            token: None,
            is_renewing: false,
            at: None,
            clock: None,
            command_every: Duration::ZERO,
            commands_said_by: None,
            topics: Vec::new(),
            left: VecDeque::new(),
            board_seq: None,
            shown: Shown::default(),
            position: None,
            pending: VecDeque::new(),
            pushes: Pushes::default(),
        }
    }

    /// Wants something until it is answered. Ids are kept across restarts by whoever wants that.
    pub fn command(&mut self, id: CommandId, wish: Wish, now: Instant) -> Result<(), NotTaken> {
        if self.pending.iter().any(|pending| pending.id == id) {
            return Err(NotTaken::UnderWay);
        }
        if self.pending.len() >= self.habits.commands_max {
            return Err(NotTaken::Full);
        }
        let frame = ClientFrame::Command { id, wish };
        let fits = |bytes: Vec<u8>| bytes.len() <= FRAME_BYTES_MAX;
        if !self.habits.codec.encode(&frame).is_ok_and(fits) {
            return Err(NotTaken::TooLarge);
        }
        let ClientFrame::Command { id, wish } = frame else { return Err(NotTaken::TooLarge) };
        self.pending.push_back(Pending {
            id,
            said_as: id,
            n_once_more: 0,
            wish,
            since: now,
            n_asked: 0,
            due: None,
            is_under_way: false,
        });
        self.rouse();
        Ok(())
    }

    /// Takes back what was never said.
    pub fn withdraw(&mut self, id: CommandId) {
        self.pending.retain(|pending| pending.id != id || pending.n_asked > 0);
    }

    /// Where a driver is. The latest counts; it is said as soon as there is somebody to hear it.
    pub fn position(&mut self, position: impl Into<Fix>) {
        self.position = Some(position.into());
        self.rouse();
    }

    /// Follows something, now and after every drop. What is followed already is told once more.
    pub fn follow(&mut self, topic: Topic) {
        self.left.retain(|it| *it != topic);
        match self.topics.iter_mut().find(|it| it.topic == topic) {
            Some(it) => (it.is_said, it.is_sure) = (false, false),
            None => self.topics.push(Followed {
                topic,
                is_said: false,
                is_answered: false,
                is_sure: false,
            }),
        }
        self.rouse();
    }

    /// Follows it no more.
    pub fn unfollow(&mut self, topic: &Topic) {
        let n_before = self.topics.len();
        self.topics.retain(|it| it.topic != *topic);
        if self.topics.len() == n_before {
            return;
        }
        if matches!(self.stage, Stage::Open(_)) {
            self.acts.push_back(Act::Say(ClientFrame::Unsubscribe(topic.clone())));
        }
        if self.left.len() == LEFT_MAX {
            self.left.pop_front();
        }
        self.left.push_back(topic.clone());
    }

    /// Says a frame as it is, if there is somebody to hear it; for whoever follows by itself.
    pub fn say(&mut self, frame: ClientFrame) {
        if matches!(self.stage, Stage::Open(_)) {
            self.acts.push_back(Act::Say(frame));
        }
    }

    /// The app has this push.
    pub fn taken(&mut self, id: PushId) {
        let n = self.pushes.taken(id);
        if let (Some(n), Stage::Open(_)) = (n, &self.stage) {
            self.acts.push_back(Act::Say(ClientFrame::Ack { n }));
        }
    }

    /// Ends the wait for the next attempt, whoever asked for it: the network is back, says the platform.
    pub fn retry_now(&mut self, now: Instant) {
        if let Stage::Waiting { until, .. } = &mut self.stage {
            *until = now;
        }
    }

    /// Somebody looks at the app, or is about to want something: it is at rest no longer. How long a node asked it to wait, it
    /// does. Commands, positions and topics say so by themselves.
    pub fn rouse(&mut self) {
        if let Stage::Waiting { until, if_wanted } = &mut self.stage {
            let is_sooner = *if_wanted < *until;
            *until = (*until).min(*if_wanted);
            let until = *until;
            if is_sooner {
                self.tell_state(State::Waiting { until });
            }
        }
    }

    /// Breaks the connection and comes back after a pause, as after a tunnel.
    pub fn break_off(&mut self, now: Instant) {
        if matches!(self.stage, Stage::Greeting(_) | Stage::Open(_)) {
            self.come_back(now);
        }
    }

    /// Asks for a newer token, and shows it.
    pub fn renew(&mut self) {
        if matches!(self.stage, Stage::Open(_)) && !self.is_renewing {
            self.is_renewing = true;
            self.acts.push_back(Act::AskToken);
        }
    }

    /// Says goodbye. What was not answered stays unknown.
    pub fn leave(&mut self) {
        self.close_for_good(Why::Left);
    }

    /// How many commands wait for their answers.
    pub fn n_pending(&self) -> usize {
        self.pending.len()
    }

    /// Where its session stands: which it is, and how much of it arrived.
    pub fn at(&self) -> Option<Resume> {
        match &self.stage {
            Stage::Open(line) => line.here,
            Stage::Waiting { .. }
            | Stage::Asking { .. }
            | Stage::Opening { .. }
            | Stage::Greeting(_)
            | Stage::Closed => self.at,
        }
    }

    /// The node's clock, once it has said what it is.
    pub fn server_now(&self, now: Instant) -> Option<Timestamp> {
        self.clock.map(|(at, time)| time + now.saturating_duration_since(at))
    }

    /// A token, or none to be had.
    pub fn token(&mut self, token: Option<String>, now: Instant) {
        let was_renewing = std::mem::take(&mut self.is_renewing);
        match (&mut self.stage, token) {
            (Stage::Asking { .. }, Some(text)) => {
                self.token = Some(Token { text, renew_at: None });
                self.open(now);
            }
            (Stage::Asking { .. }, None) => self.come_back(now),
            (Stage::Open(_), Some(text)) if was_renewing => {
                self.acts.push_back(Act::Say(ClientFrame::Identify {
                    token: text.clone(),
                    resume: None,
                }));
                self.token = Some(Token { text, renew_at: None });
            }
            (Stage::Open(_), None) if was_renewing => {
                if let Some(token) = &mut self.token {
                    token.renew_at = Some(now + RENEW_AGAIN);
                }
            }
            // It was asked for on another socket.
            (_, _) => {}
        }
    }

    /// The socket is open.
    pub fn opened(&mut self, now: Instant) {
        let (Stage::Opening { .. }, Some(token)) = (&self.stage, &self.token) else { return };
        let identify = ClientFrame::Identify { token: token.text.clone(), resume: self.at };
        self.acts.push_back(Act::Say(identify));
        self.stage = Stage::Greeting(Line {
            here: None,
            opened_at: now,
            heartbeat: WELCOME_MAX,
            heartbeat_usual: WELCOME_MAX,
            heard_at: now,
            said_at: now,
            asked_at: None,
            beat_by: None,
            n_beats_unsure: 0,
            goodbye: None,
        });
    }

    /// The socket could not be opened.
    pub fn not_opened(&mut self, why: &NotOpened, now: Instant) {
        if !matches!(self.stage, Stage::Opening { .. }) {
            return;
        }
        match why {
            NotOpened::Refused { status: 401, .. } => {
                self.disbelieved(Refused::new(Code::Unauthenticated, why.to_string()), now);
            }
            NotOpened::Refused { retry_after, .. } => {
                self.come_back_after(None, *retry_after, now);
            }
            NotOpened::Failed(_) => self.come_back(now),
        }
    }

    /// The socket ended: with a close code, or without a word.
    pub fn closed(&mut self, code: Option<u16>, now: Instant) {
        let (Stage::Greeting(line) | Stage::Open(line)) = &self.stage else { return };
        let goodbye = line.goodbye.as_ref().map(|(refused, _)| refused.clone());
        let wait = goodbye.as_ref().and_then(|it| it.retry_after_ms).map(Duration::from_millis);
        match code {
            Some(close::UNAUTHENTICATED) => {
                let expired = || Refused::new(Code::Unauthenticated, "the token is not believed");
                self.disbelieved(goodbye.unwrap_or_else(expired), now);
            }
            Some(close::ELSEWHERE) => self.close_for_good(Why::Elsewhere),
            Some(close::RESTART) => {
                // Others are there, and wait for this one.
                self.n_failed = 0;
                if matches!(self.stage, Stage::Open(_)) {
                    self.next_address();
                }
                self.come_back_after(code, wait, now);
            }
            // The same words would end the same way.
            Some(close::BROKEN_RULE | close::NOT_UTF8 | close::POLICY | close::TOO_LARGE) => {
                let wait = wait.unwrap_or_default().max(self.habits.pause_max);
                self.come_back_after(code, Some(wait), now);
            }
            Some(_) | None => self.come_back_after(code, wait, now),
        }
    }

    /// A whole message came that is no frame this client knows.
    pub fn unreadable(&mut self, why: String, now: Instant) {
        self.count_heard(now);
        self.acts.push_back(Act::Tell(Event::Unreadable(why)));
    }

    /// A frame came.
    pub fn heard(&mut self, frame: ServerFrame, now: Instant) {
        self.count_heard(now);
        match self.shown.whole(frame) {
            Ok(frame) => self.heard_whole(frame, now),
            Err(NotShown { topic }) => self.ask_anew(topic),
        }
    }

    /// The app would see something that is not so. Not of a node that keeps its word.
    fn ask_anew(&mut self, topic: Topic) {
        match self.topics.iter_mut().find(|it| it.topic == topic) {
            Some(it) => (it.is_said, it.is_sure) = (false, false),
            None => self.say(ClientFrame::Subscribe(topic)),
        }
    }

    fn heard_whole(&mut self, frame: ServerFrame, now: Instant) {
        let (Stage::Greeting(line) | Stage::Open(line)) = &mut self.stage else { return };
        match frame {
            ServerFrame::Hello { session, server_time, heartbeat_ms, frames_per_s, .. } => {
                line.here = Some(Resume { session, heard: 1 });
                line.heartbeat = heartbeat(heartbeat_ms);
                line.heartbeat_usual = line.heartbeat;
                self.clock = Some((now, server_time));
                let per_s = f64::from(frames_per_s.max(1)) * COMMANDS_SHARE;
                self.command_every = Duration::from_secs_f64(1.0 / per_s);
            }
            ServerFrame::Heartbeat { server_time, heartbeat_ms } => {
                line.n_beats_unsure = line.n_beats_unsure.saturating_sub(1);
                if let Some(ms) = heartbeat_ms {
                    (line.heartbeat, line.n_beats_unsure) = (heartbeat(ms), 0);
                }
                self.topics.iter_mut().for_each(|it| it.is_answered |= it.is_said);
                self.clock = Some((now, server_time));
                self.tell(frame);
            }
            ServerFrame::Welcome { principal, expires_at, resumed, regions: _ } => {
                self.welcomed(principal, expires_at, resumed, now);
            }
            ServerFrame::Result { id, outcome } => self.answered(id, outcome, now),
            ServerFrame::Push { n, push } => self.pushed(n, push),
            ServerFrame::Goodbye { refused } => line.goodbye = Some((refused, now + CLOSE_MAX)),
            ServerFrame::Refused(refused) => {
                let is_greeting = matches!(self.stage, Stage::Greeting(_));
                self.tell(ServerFrame::Refused(refused));
                if is_greeting {
                    // An older node does not know how to go on where another one was: begin anew.
                    self.at = None;
                    self.come_back(now);
                }
            }
            ServerFrame::Board(board) => self.board(board),
            ServerFrame::Unsubscribed { topic, refused } => {
                self.topics.retain(|it| it.topic != topic);
                self.tell(ServerFrame::Unsubscribed { topic, refused });
            }
            ServerFrame::Order(_)
            | ServerFrame::Rescue(_)
            | ServerFrame::Driver(_)
            | ServerFrame::Rider(_)
            | ServerFrame::Incident(_)
            | ServerFrame::Run(_)
            | ServerFrame::Region(_)
            | ServerFrame::Actor(_) => {
                // One view may be what several follow: one's own driver is also "me".
                for it in self.topics.iter_mut().filter(|it| is_about(&frame, &it.topic)) {
                    it.is_sure = true;
                }
                self.tell(frame);
            }
            ServerFrame::Sighted { .. }
            | ServerFrame::Presence { .. }
            | ServerFrame::Near { .. } => self.tell(frame),
            // It was made whole.
            ServerFrame::Changed(_) => {}
        }
    }

    /// What is to be done now; none: nothing before [`Core::wake_at`].
    pub fn next(&mut self, now: Instant) -> Option<Act> {
        loop {
            if let Some(act) = self.acts.pop_front() {
                if let (Act::Say(frame), Stage::Greeting(line) | Stage::Open(line)) =
                    (&act, &mut self.stage)
                {
                    line.says(frame, now);
                }
                return Some(act);
            }
            if self.wake_at().is_none_or(|at| at > now) {
                return None;
            }
            self.wake(now);
        }
    }

    /// When there is something to be done by itself; none: never.
    pub fn wake_at(&self) -> Option<Instant> {
        match &self.stage {
            Stage::Waiting { until, .. } => Some(*until),
            Stage::Asking { since } | Stage::Opening { since } => Some(*since + WELCOME_MAX),
            Stage::Greeting(line) => Some(line.ends_at().min(line.opened_at + WELCOME_MAX)),
            Stage::Open(line) => {
                // Whatever can be said at once was due when the socket was opened.
                let is_due = self.position.is_some() || self.topics.iter().any(|it| !it.is_said);
                let due = is_due.then_some(line.opened_at);
                let renew = self.token.as_ref().and_then(|token| token.renew_at);
                let renew = renew.filter(|_| !self.is_renewing);
                let command = self.next_command().map(|(_, at)| at.unwrap_or(line.opened_at));
                let by_itself = [Some(line.ends_at()), Some(line.beat_at())];
                by_itself.into_iter().chain([due, renew, command]).flatten().min()
            }
            Stage::Closed => None,
        }
    }

    /// Its time has come.
    fn wake(&mut self, now: Instant) {
        match &self.stage {
            Stage::Waiting { .. } => self.begin(now),
            Stage::Asking { .. } | Stage::Opening { .. } => self.come_back(now),
            Stage::Greeting(line) => match &line.goodbye {
                Some((refused, _)) => self.closed(code_of(refused.code), now),
                None => self.come_back(now),
            },
            Stage::Open(line) if line.ends_at() <= now => match &line.goodbye {
                Some((refused, _)) => self.closed(code_of(refused.code), now),
                None => self.come_back(now),
            },
            Stage::Open(line) => {
                let (here, beats) = (line.here, line.beat_at() <= now);
                self.speak(here, beats, now);
            }
            Stage::Closed => {}
        }
    }

    /// Says one thing that is due.
    fn speak(&mut self, here: Option<Resume>, beats: bool, now: Instant) {
        let is_old = |token: &Token| token.renew_at.is_some_and(|at| at <= now);
        if !self.is_renewing && self.token.as_ref().is_some_and(is_old) {
            return self.renew();
        }
        if let Some(it) = self.topics.iter_mut().find(|it| !it.is_said) {
            (it.is_said, it.is_answered) = (true, false);
            let topic = it.topic.clone();
            return self.acts.push_back(Act::Say(ClientFrame::Subscribe(topic)));
        }
        // Before commands: "I am there" must not overtake where one is.
        if let Some(position) = self.position.take() {
            return self.acts.push_back(Act::Say(ClientFrame::Position(position)));
        }
        let due = self.next_command().filter(|(_, at)| at.is_none_or(|at| at <= now));
        let due = due.and_then(|(which, _)| self.pending.get_mut(which));
        if let Some(pending) = due {
            pending.is_under_way = true;
            pending.due = Some(now + ANSWER_MAX);
            pending.n_asked += 1;
            let (id, said_as, n) = (pending.id, pending.said_as, pending.n_asked);
            let wish = pending.wish.clone();
            let said_by = self.commands_said_by.unwrap_or(now).max(now);
            self.commands_said_by = Some(said_by + self.command_every);
            self.acts.push_back(Act::Tell(Event::Asked { id, n }));
            return self.acts.push_back(Act::Say(ClientFrame::Command { id: said_as, wish }));
        }
        if beats {
            let heard = here.map(|here| here.heard);
            self.acts.push_back(Act::Say(ClientFrame::Heartbeat { heard }));
        }
    }

    /// The command that is said next, in the order in which they were wished, and when; at once, if
    /// there is no when.
    fn next_command(&self) -> Option<(usize, Option<Instant>)> {
        let n_under_way = self.pending.iter().filter(|it| it.is_under_way).count();
        let may_begin = n_under_way < IN_FLIGHT_MAX;
        let candidates = self.pending.iter().enumerate();
        let (which, due) = candidates
            .filter(|(_, it)| it.is_under_way || may_begin)
            .map(|(which, it)| (which, it.due))
            .min_by_key(|(which, due)| (*due, *which))?;
        let pace = self
            .commands_said_by
            .and_then(|by| by.checked_sub(self.command_every * COMMANDS_BURST));
        Some((which, due.max(pace)))
    }

    fn begin(&mut self, now: Instant) {
        self.tell_state(State::Connecting);
        let is_good = |token: &Token| token.renew_at.is_none_or(|at| now < at);
        if self.token.as_ref().is_some_and(is_good) {
            self.open(now);
        } else {
            self.stage = Stage::Asking { since: now };
            self.acts.push_back(Act::AskToken);
        }
    }

    fn open(&mut self, now: Instant) {
        self.stage = Stage::Opening { since: now };
        self.acts.push_back(Act::Open { address: self.address });
    }

    fn welcomed(
        &mut self,
        principal: Principal,
        expires_at: Timestamp,
        resumed: Option<bool>,
        now: Instant,
    ) {
        if let (Some(token), Some((at, time))) = (&mut self.token, self.clock) {
            let left = expires_at.since(time + now.saturating_duration_since(at));
            let before = RENEW_BEFORE.min(left / 10);
            token.renew_at = now.checked_add(left.saturating_sub(before));
        }
        if !matches!(self.stage, Stage::Greeting(_)) {
            // The answer to a newer token: nothing begins.
            return;
        }
        let Stage::Greeting(line) = std::mem::replace(&mut self.stage, Stage::Closed) else {
            return;
        };
        self.at = line.here;
        self.stage = Stage::Open(line);
        self.n_failed = 0;
        self.n_disbelieved = 0;
        let resumed = resumed == Some(true);
        if !resumed {
            self.pushes.begin_anew();
            self.board_seq = None;
            self.shown.forget();
        }
        if !resumed {
            self.left.clear();
        }
        for topic in &self.left {
            self.acts.push_back(Act::Say(ClientFrame::Unsubscribe(topic.clone())));
        }
        for it in &mut self.topics {
            // What was said on the broken socket may never have arrived.
            it.is_said = resumed && it.is_sure;
            it.is_sure = it.is_said;
        }
        // What was under way may or may not have happened: asked again, it is answered, and happens once.
        for pending in &mut self.pending {
            pending.is_under_way = false;
            pending.due = None;
        }
        self.tell_state(State::Open);
        self.acts.push_back(Act::Tell(Event::Welcome { principal, resumed }));
    }

    fn answered(&mut self, id: CommandId, outcome: Outcome, now: Instant) {
        let Some(which) = self.pending.iter().position(|pending| pending.said_as == id) else {
            return self.acts.push_back(Act::Tell(Event::AnsweredAgain { id, outcome }));
        };
        if let (Outcome::Refused(refused), Some(pending)) = (&outcome, self.pending.get_mut(which))
        {
            let waited = now.saturating_duration_since(pending.since);
            let is_too_long = self.habits.give_up_after.is_some_and(|after| waited >= after);
            if is_passing(refused.code) && !is_too_long {
                let pause = refused.retry_after_ms.unwrap_or(500).clamp(50, 10_000);
                let pause = Duration::from_millis(pause).mul_f64(self.rng.random_range(1.0..2.0));
                pending.is_under_way = false;
                pending.due = Some(now + pause);
                if refused.code == Code::RateLimited {
                    // Not only this one: each further frame would be held against it.
                    let until = now + pause + self.command_every * COMMANDS_BURST;
                    self.commands_said_by = self.commands_said_by.max(Some(until));
                }
                let (id, refused) = (pending.id, refused.clone());
                return self.acts.push_back(Act::Tell(Event::Later { id, refused }));
            }
            if pending.n_once_more < self.habits.once_more_max
                && let Some(pause) = not_yet(refused)
            {
                pending.n_once_more += 1;
                // The answer to this one is kept: the same again would be answered the same.
                pending.said_as = pending.said_as.once_more();
                pending.is_under_way = false;
                pending.due = Some(now + pause);
                let (id, refused) = (pending.id, refused.clone());
                return self.acts.push_back(Act::Tell(Event::Later { id, refused }));
            }
        }
        if let (Outcome::Ok(_), Stage::Open(line)) = (&outcome, &mut self.stage) {
            // It may have a job now, and the node notices a little later.
            line.n_beats_unsure = N_BEATS_NOTICED;
        }
        if let Some(Pending { id, wish, since, .. }) = self.pending.remove(which) {
            let answer = Box::new(Answer { id, wish, since, outcome });
            self.acts.push_back(Act::Tell(Event::Answered(answer)));
        }
    }

    fn pushed(&mut self, n: u64, push: Push) {
        match self.pushes.heard(n, &push) {
            Verdict::Deliver(id) => self.acts.push_back(Act::Tell(Event::Push { id, push })),
            Verdict::Acknowledge => {
                self.acts.push_back(Act::Say(ClientFrame::Ack { n }));
                self.acts.push_back(Act::Tell(Event::PushedAgain(push)));
            }
            Verdict::Leave => self.acts.push_back(Act::Tell(Event::PushedAgain(push))),
        }
    }

    fn board(&mut self, board: Box<Board>) {
        let goes_on = self.board_seq.is_some_and(|seq| board.seq == seq || board.seq == seq + 1);
        if board.full || goes_on {
            self.board_seq = Some(board.seq);
            for it in self.topics.iter_mut().filter(|it| shows_board(&it.topic)) {
                it.is_sure = true;
            }
            return self.tell(ServerFrame::Board(board));
        }
        // A gap: the map is only whole again when all of it was told. Once, until that has come.
        if self.board_seq.take().is_some() {
            for it in self.topics.iter_mut().filter(|it| shows_board(&it.topic)) {
                it.is_said = false;
            }
        }
    }

    fn disbelieved(&mut self, refused: Refused, now: Instant) {
        self.token = None;
        self.n_disbelieved += 1;
        if self.n_disbelieved >= self.habits.disbelieved_max {
            self.close_for_good(Why::Disbelieved(refused));
        } else {
            self.come_back_after(Some(close::UNAUTHENTICATED), None, now);
        }
    }

    /// Nobody waits for it, and its app for nothing: all that it wants was said, and heard.
    fn is_at_rest(&self) -> bool {
        let Stage::Open(line) = &self.stage else { return false };
        // Of oneself nothing is told as long as there is nothing: that a heartbeat came since must do, also where the next one
        // was not answered.
        let is_sure = |it: &Followed| it.is_sure || it.topic == Topic::Me && it.is_answered;
        let is_heard = |it: &Followed| it.is_said && is_sure(it);
        line.is_at_rest()
            && self.pending.is_empty()
            && self.position.is_none()
            && self.topics.iter().all(is_heard)
    }

    /// The connection is over without a word, or never was: the next attempt.
    fn come_back(&mut self, now: Instant) {
        self.come_back_after(None, None, now);
    }

    /// The connection is over, or never was: the next attempt, after `wait` at the least. Who is told to go, by a close
    /// code or a goodbye, goes then; who was cut off without a word may be one of very many.
    fn come_back_after(&mut self, code: Option<u16>, wait: Option<Duration>, now: Instant) {
        let soonest = now + wait.unwrap_or_default();
        let if_wanted = soonest + self.habits.pause(self.n_failed, &mut self.rng);
        self.n_failed = self.n_failed.saturating_add(1);
        let is_cut_off = code.is_none_or(|code| code == close::WITHOUT_A_WORD);
        let until = if is_cut_off && self.is_at_rest() {
            if_wanted.max(soonest + self.habits.pause_at_rest(&mut self.rng))
        } else {
            if_wanted
        };
        match std::mem::replace(&mut self.stage, Stage::Waiting { until, if_wanted }) {
            Stage::Open(line) => self.at = line.here,
            // It may be this node that is the trouble.
            Stage::Opening { .. } | Stage::Greeting(_) => self.next_address(),
            Stage::Waiting { .. } | Stage::Asking { .. } | Stage::Closed => {}
        }
        self.is_renewing = false;
        self.silence();
        self.acts.push_back(Act::Close { code: close::COME_BACK });
        self.tell_state(State::Waiting { until });
    }

    fn close_for_good(&mut self, why: Why) {
        if matches!(self.stage, Stage::Closed) {
            return;
        }
        self.stage = Stage::Closed;
        self.silence();
        self.acts.push_back(Act::Close { code: close::NORMAL });
        self.tell_state(State::Closed(why));
    }

    /// What was to be said on the socket that is gone is not to be said on the next one.
    fn silence(&mut self) {
        self.acts.retain(|act| matches!(act, Act::Tell(_)));
    }

    fn next_address(&mut self) {
        self.address = (self.address + 1) % self.habits.n_addresses.max(1);
    }

    fn count_heard(&mut self, now: Instant) {
        if let Stage::Greeting(line) | Stage::Open(line) = &mut self.stage {
            (line.heard_at, line.asked_at) = (now, None);
            if let Some(here) = &mut line.here {
                here.heard += 1;
            }
        }
    }

    fn tell(&mut self, frame: ServerFrame) {
        self.acts.push_back(Act::Tell(Event::Frame(frame)));
    }

    fn tell_state(&mut self, state: State) {
        self.acts.push_back(Act::Tell(Event::State(state)));
    }
}

impl Line {
    /// A node says something at least once in a heartbeat; after its goodbye, nothing but the close code.
    fn ends_at(&self) -> Instant {
        let silent = self.heard_at + self.heartbeat.mul_f64(2.5);
        let silent = self.asked_at.map_or(silent, |at| silent.min(at + UNHEARD_MAX));
        self.goodbye.as_ref().map_or(silent, |(_, until)| silent.min(*until))
    }

    fn beat_at(&self) -> Instant {
        let beat_at = self.said_at + self.heartbeat / 2;
        self.beat_by.map_or(beat_at, |by| by.min(beat_at))
    }

    /// This is said. What is not answered puts off no heartbeat: only an answer shows that the way still leads somewhere. At
    /// rest the next one may be minutes away, and whoever says something does not want to know that late whether it arrived.
    fn says(&mut self, frame: &ClientFrame, now: Instant) {
        let by = match frame {
            ClientFrame::Heartbeat { .. } | ClientFrame::Command { .. } => {
                (self.said_at, self.beat_by) = (now, None);
                self.asked_at.get_or_insert(now);
                return;
            }
            ClientFrame::Subscribe(_) => now,
            // However many there are: as often as usual is enough.
            ClientFrame::Position(_) => now.max(self.said_at + self.heartbeat_usual / 2),
            ClientFrame::Identify { .. }
            | ClientFrame::Ack { .. }
            | ClientFrame::Unsubscribe(_) => return,
        };
        if self.is_seldom_heard() {
            self.beat_by = Some(self.beat_by.map_or(by, |sooner| sooner.min(by)));
        }
    }

    /// The node lets it be silent for longer than usual.
    fn is_seldom_heard(&self) -> bool {
        self.heartbeat > self.heartbeat_usual
    }

    /// Nobody waits for it.
    fn is_at_rest(&self) -> bool {
        self.is_seldom_heard() && self.n_beats_unsure == 0 && self.goodbye.is_none()
    }
}

/// What a node asks for, within reason.
fn heartbeat(ms: u64) -> Duration {
    Duration::from_millis(ms.max(100))
}

/// The close code that would have followed this goodbye.
fn code_of(code: Code) -> Option<u16> {
    match code {
        Code::Unauthenticated => Some(close::UNAUTHENTICATED),
        Code::Draining => Some(close::RESTART),
        Code::TooLarge => Some(close::TOO_LARGE),
        Code::Malformed
        | Code::Invalid
        | Code::Forbidden
        | Code::NotFound
        | Code::IllegalTransition
        | Code::Taken
        | Code::InsufficientFunds
        | Code::OfferGone
        | Code::TooFar
        | Code::TooEarly
        | Code::TooLate
        | Code::WrongCode
        | Code::ProofMissing
        | Code::NotEligible
        | Code::OutOfArea
        | Code::ZonePaused
        | Code::QuoteInvalid
        | Code::CommandExpired
        | Code::CommandIdReused
        | Code::Busy
        | Code::RateLimited
        | Code::Quarantined
        | Code::Unavailable
        | Code::Internal => None,
    }
}

/// Does this code mean "the same again, later"? What is quarantined waits for a person, which may be long.
pub fn is_passing(code: Code) -> bool {
    match code {
        Code::Busy | Code::RateLimited | Code::Unavailable | Code::Draining => true,
        Code::Malformed
        | Code::Invalid
        | Code::TooLarge
        | Code::Unauthenticated
        | Code::Forbidden
        | Code::NotFound
        | Code::IllegalTransition
        | Code::Taken
        | Code::InsufficientFunds
        | Code::OfferGone
        | Code::TooFar
        | Code::TooEarly
        | Code::TooLate
        | Code::WrongCode
        | Code::ProofMissing
        | Code::NotEligible
        | Code::OutOfArea
        | Code::ZonePaused
        | Code::QuoteInvalid
        | Code::CommandExpired
        | Code::CommandIdReused
        | Code::Quarantined
        | Code::Internal => false,
    }
}

/// How long to wait with what was refused only because of what will have passed, or be known, in a moment. What is over in no
/// time at all waits for somebody, not for a moment to pass.
fn not_yet(refused: &Refused) -> Option<Duration> {
    let is_not_yet = matches!(refused.code, Code::TooEarly | Code::TooFar);
    let pause = refused.retry_after_ms.filter(|_| is_not_yet).map(Duration::from_millis);
    pause.filter(|pause| !pause.is_zero() && *pause <= NOT_YET_MAX)
}

/// Is it told in frames of the board?
fn shows_board(topic: &Topic) -> bool {
    matches!(topic, Topic::Board | Topic::Viewport(_))
}

/// Is this what whoever follows the topic wants to hear?
pub(crate) fn is_about(frame: &ServerFrame, topic: &Topic) -> bool {
    use protocol::JobId;
    match (topic, frame) {
        (Topic::Order(id), ServerFrame::Order(view)) => view.id == *id,
        (Topic::Rescue(id), ServerFrame::Rescue(view)) => view.id == *id,
        (Topic::Driver(id), ServerFrame::Driver(view)) => view.id == *id,
        (Topic::Incident(id), ServerFrame::Incident(view)) => view.id == *id,
        (Topic::Run(id), ServerFrame::Run(view)) => view.id == *id,
        (Topic::Actor(id), ServerFrame::Actor(view)) => view.actor == *id,
        (Topic::Board | Topic::Viewport(_), ServerFrame::Board(_)) => true,
        (Topic::Region(id), ServerFrame::Region(board)) => board.region == *id,
        // Nobody but staff is told of others, and staff have no such topic.
        (Topic::Me, ServerFrame::Driver(_) | ServerFrame::Rider(_)) => true,
        (
            Topic::Order(id),
            ServerFrame::Sighted { job, .. }
            | ServerFrame::Presence { job, .. }
            | ServerFrame::Near { job, .. },
        ) => *job == JobId::Order(*id),
        (
            Topic::Rescue(id),
            ServerFrame::Sighted { job, .. }
            | ServerFrame::Presence { job, .. }
            | ServerFrame::Near { job, .. },
        ) => *job == JobId::Rescue(*id),
        (it, ServerFrame::Unsubscribed { topic, .. }) => it == topic,
        (
            Topic::Order(_)
            | Topic::Rescue(_)
            | Topic::Driver(_)
            | Topic::Incident(_)
            | Topic::Run(_)
            | Topic::Me
            | Topic::Actor(_)
            | Topic::Board
            | Topic::Region(_)
            | Topic::Viewport(_),
            _,
        ) => false,
    }
}

#[cfg(test)]
mod tests;
