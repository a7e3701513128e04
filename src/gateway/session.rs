//! One connected client: one task that hears its wishes and tells it what becomes of its world.
//!
//! ```text
//!            ┌── hear ── frames ──► wishes ──► actors (answers come back in the order they are ready)
//!  socket ◄──┤
//!            └── say ◄── views, pushes, sightings ◄── what it follows: itself, its jobs, its topics
//! ```
//!
//! Nothing in here waits for anything else in here: a slow answer does not keep the client from
//! speaking, and a slow client is told goodbye.

mod pushes;

use super::{
    Gate,
    follow::{self, Change, Follow, Watched},
    limits::{Rate, rate_limited},
    live::Feed,
    socket::{Full, Heard, Socket},
    translate::{self, not_found},
};
use crate::auth::{Identity, unauthenticated};
use actors::{
    EntityKey, Kind, Refusal, Sight,
    driver::{Driver, Sighting},
};
use futures_util::{FutureExt, StreamExt, future::BoxFuture, stream::FuturesUnordered};
use protocol::{
    Code, CommandId, DriverId, JobId, OfferId, OfferStatus, OrderId, Principal, Refused, RescueId,
    SessionId,
    frame::{ClientFrame, FRAME_BYTES_MAX, Outcome, Push, ServerFrame, Topic},
    view::{DriverView, Position},
    work::{DriverAction, Wish},
};
use pushes::Pushes;
use std::{future::pending, pin::Pin, sync::Arc, time::Duration};
use tokio::{
    sync::broadcast::{self, error::RecvError},
    time::{Instant, Sleep, sleep_until},
};
use tracing::debug;
use uuid::Uuid;

/// How long a finished job is followed on, so that its last word is heard.
const LAST_WORD: Duration = Duration::from_secs(1);
/// How long answers that are under way may take when the node leaves.
const LAST_ANSWERS: Duration = Duration::from_millis(1_500);
/// A driver is told what is wrong with a position at most this often.
const POSITION_TOLD_EVERY: Duration = Duration::from_secs(1);
/// Most positions of which it is asked at once what is wrong with them.
const POSITIONS_MAX: usize = 4;
/// How long a client with too much under way should wait.
const BUSY_MS: u64 = 100;

/// Close codes of our own; the others are RFC 6455's.
mod close {
    pub(super) const POLICY: u16 = 1008;
    pub(super) const TOO_LARGE: u16 = 1009;
    pub(super) const RESTART: u16 = 1012;
    pub(super) const TRY_LATER: u16 = 1013;
    pub(super) const UNAUTHENTICATED: u16 = 4401;
    pub(super) const SILENT: u16 = 4408;
}

/// How a session ends.
#[derive(Debug)]
struct End {
    /// What the client is told last; nothing if it is gone.
    goodbye: Option<Refused>,
    code: u16,
}

type Flow = Result<(), End>;

impl End {
    fn because(code: u16, refused: Refused) -> Self {
        Self { goodbye: Some(refused), code }
    }
}

impl From<Full> for End {
    fn from(Full: Full) -> Self {
        let refused = Refused::new(Code::Busy, "you read too slowly").retry_after_ms(1_000);
        Self::because(close::TRY_LATER, refused)
    }
}

/// Something that was started and has come to an end.
#[derive(Debug)]
enum Deed {
    Answered { id: CommandId, outcome: Outcome, created: Option<EntityKey> },
    Opened(EntityKey, Result<Box<dyn Watched>, Refusal>),
    Fed(Option<Feed>),
    Placed(Result<(), Refusal>),
    Seen,
}

/// What happens next.
#[derive(Debug)]
enum Turn {
    Heard(Heard<ClientFrame>),
    Did(Deed),
    Changed(EntityKey, Change),
    Board(Result<Arc<protocol::frame::Board>, RecvError>),
    Time,
    Drain,
}

#[derive(Debug)]
struct Session {
    gate: Arc<Gate>,
    socket: Socket,
    identity: Option<Identity>,
    began: Instant,
    heard_at: Instant,
    said_at: Instant,
    expires: Option<Instant>,
    frames: Rate,
    commands: Rate,
    strikes: Rate,
    doing: FuturesUnordered<BoxFuture<'static, Deed>>,
    n_commands: usize,
    follows: Vec<Follow>,
    pushes: Pushes,
    /// Offers the driver was told of, and of what.
    offers: Vec<(OfferId, JobId)>,
    /// Offers it said yes to, whose jobs have not decided.
    accepting: Vec<(OfferId, JobId)>,
    /// Jobs it was told are its own.
    jobs: Vec<JobId>,
    diffs: Option<broadcast::Receiver<Arc<protocol::frame::Board>>>,
    /// Positions whose driver has not said what it thinks of them.
    n_positions: usize,
    /// When the client may next be told what is wrong with one.
    tell_position_at: Instant,
}

/// Serves one client until it leaves or must.
///
/// Not an `async fn`: what is built before the block is kept once, not once more as an argument.
pub(crate) fn run(
    gate: Arc<Gate>,
    socket: Socket,
    identity: Option<Identity>,
) -> impl Future<Output = ()> + Send {
    let mut session = Session::new(gate, socket);
    async move {
        let Err(end) = session.serve(identity).await else { return };
        if let Some(refused) = &end.goodbye {
            debug!(code = end.code, reason = %refused, "session ended");
            metrics::counter!("outrider_goodbyes_total", "code" => refused.code.to_string())
                .increment(1);
        }
        let goodbye = end.goodbye.map(|refused| ServerFrame::Goodbye { refused });
        session.socket.close(goodbye.as_ref(), end.code).await;
    }
}

impl Session {
    fn new(gate: Arc<Gate>, socket: Socket) -> Self {
        let (now, limits) = (Instant::now(), &gate.session);
        Self {
            socket,
            identity: None,
            began: now,
            heard_at: now,
            said_at: now,
            expires: None,
            frames: Rate::new(limits.frames_per_s, limits.frames_burst),
            commands: Rate::new(limits.commands_per_s, limits.commands_burst),
            strikes: Rate::new(1, limits.strikes_max),
            doing: FuturesUnordered::new(),
            n_commands: 0,
            follows: Vec::new(),
            pushes: Pushes::default(),
            offers: Vec::new(),
            accepting: Vec::new(),
            jobs: Vec::new(),
            diffs: None,
            n_positions: 0,
            tell_position_at: now,
            gate,
        }
    }

    async fn serve(&mut self, identity: Option<Identity>) -> Flow {
        self.hello()?;
        if let Some(identity) = identity {
            self.welcome(identity)?;
        }
        let mut drain = Box::pin(self.gate.drain.clone().cancelled_owned());
        let mut timer = Box::pin(sleep_until(self.due()));
        loop {
            // An alarm that rings too early costs less than setting it anew for every frame.
            let due = self.due();
            if due < timer.deadline() || timer.is_elapsed() {
                timer.as_mut().reset(due);
            }
            match self.turn(&mut timer, &mut drain).await {
                Turn::Heard(heard) => self.heard(heard)?,
                Turn::Did(deed) => self.did(deed)?,
                Turn::Changed(key, change) => self.changed(key, change)?,
                Turn::Board(diff) => self.board(diff)?,
                Turn::Time => {}
                Turn::Drain => return self.finish().await,
            }
            self.timely()?;
        }
    }

    async fn turn(
        &mut self,
        timer: &mut Pin<Box<Sleep>>,
        drain: &mut Pin<Box<impl Future<Output = ()>>>,
    ) -> Turn {
        let by = self.identity.map(|identity| identity.principal);
        let Self { socket, doing, follows, diffs, gate, .. } = self;
        let changed = async {
            match by {
                Some(by) => follow::next_change(follows, by, &gate.translator.prices).await,
                None => pending().await,
            }
        };
        // A dispatcher who reads slowly lags behind here, and then starts again from a full board.
        let may_show_board = socket.is_idle();
        let board = async {
            match diffs {
                Some(diffs) if may_show_board => diffs.recv().await,
                Some(_) | None => pending().await,
            }
        };
        tokio::select! {
            heard = socket.hear() => Turn::Heard(heard),
            Some(deed) = doing.next(), if !doing.is_empty() => Turn::Did(deed),
            (key, change) = changed => Turn::Changed(key, change),
            diff = board => Turn::Board(diff),
            () = timer.as_mut() => Turn::Time,
            () = drain.as_mut() => Turn::Drain,
        }
    }

    // -- Time ------------------------------------------------------------------------------------

    /// When something must be done although nothing happens.
    fn due(&self) -> Instant {
        let limits = &self.gate.session;
        let mut due = self.said_at + limits.heartbeat;
        let mut sooner = |at: Instant| due = due.min(at);
        sooner(self.silent_at());
        if self.identity.is_none() {
            sooner(self.began + limits.identify_within);
        }
        self.expires.into_iter().for_each(&mut sooner);
        self.pushes.due().into_iter().for_each(&mut sooner);
        if let Some(since) = self.socket.stalled_since() {
            sooner(since + limits.stall_max);
        }
        for follow in &self.follows {
            follow.leave_at.into_iter().for_each(&mut sooner);
            if follow.sighted.is_some()
                && self.socket.is_idle()
                && let Some(at) = follow.sighted_at
            {
                sooner(at + limits.sighted_every);
            }
        }
        due
    }

    fn silent_at(&self) -> Instant {
        self.heard_at + self.gate.session.heartbeat * 5 / 2
    }

    /// Does what time asks for.
    fn timely(&mut self) -> Flow {
        let now = Instant::now();
        let gate = Arc::clone(&self.gate);
        let limits = &gate.session;
        if self.identity.is_none() && now >= self.began + limits.identify_within {
            return Err(End::because(close::UNAUTHENTICATED, unauthenticated()));
        }
        if self.expires.is_some_and(|expires| now >= expires) {
            let refused = Refused::new(Code::Unauthenticated, "the token has expired");
            return Err(End::because(close::UNAUTHENTICATED, refused));
        }
        if now >= self.silent_at() {
            let refused = Refused::new(Code::Unavailable, "nothing heard for too long");
            return Err(End::because(close::SILENT, refused));
        }
        if self.socket.stalled_since().is_some_and(|since| now >= since + limits.stall_max) {
            return Err(Full.into());
        }
        if self.pushes.due().is_some_and(|due| now >= due) {
            for push in self.pushes.again(now, limits.push_again, gate.system.now()) {
                self.say(&push)?;
            }
        }
        self.follows.retain(|follow| follow.leave_at.is_none_or(|at| now < at));
        self.pass_on_sightings(now)?;
        if now >= self.said_at + limits.heartbeat {
            self.heartbeat()?;
        }
        Ok(())
    }

    fn pass_on_sightings(&mut self, now: Instant) -> Flow {
        let every = self.gate.session.sighted_every;
        for follow in &mut self.follows {
            let is_time = follow.sighted_at.is_none_or(|at| now >= at + every);
            if is_time
                && self.socket.is_idle()
                && let Some(frame) = follow.sighted.take()
            {
                follow.sighted_at = Some(now);
                self.said_at = now;
                self.socket.say(&frame)?;
            }
        }
        Ok(())
    }

    // -- Saying ----------------------------------------------------------------------------------

    fn say(&mut self, frame: &ServerFrame) -> Flow {
        self.said_at = Instant::now();
        Ok(self.socket.say(frame)?)
    }

    fn hello(&mut self) -> Flow {
        let limits = &self.gate.session;
        let hello = ServerFrame::Hello {
            session: SessionId(Uuid::now_v7()),
            server_time: self.gate.system.now(),
            heartbeat_ms: u64::try_from(limits.heartbeat.as_millis()).unwrap_or(u64::MAX),
            frame_bytes_max: FRAME_BYTES_MAX as u32,
            frames_per_s: limits.frames_per_s,
        };
        self.say(&hello)
    }

    fn heartbeat(&mut self) -> Flow {
        let server_time = self.gate.system.now();
        self.say(&ServerFrame::Heartbeat { server_time })
    }

    fn refuse(&mut self, refused: Refused) -> Flow {
        self.say(&ServerFrame::Refused(refused))
    }

    fn answer(&mut self, id: CommandId, outcome: Outcome) -> Flow {
        self.say(&ServerFrame::Result { id, outcome })
    }

    fn push(&mut self, push: Push) -> Flow {
        let again_at = Instant::now() + self.gate.session.push_again;
        let frame = self.pushes.add(push, again_at).ok_or(Full)?;
        self.say(&frame)
    }

    // -- Hearing ---------------------------------------------------------------------------------

    fn heard(&mut self, heard: Heard<ClientFrame>) -> Flow {
        let frame = match heard {
            Heard::Written => return Ok(()),
            Heard::Gone => return Err(End { goodbye: None, code: close::POLICY }),
            Heard::TooLarge => {
                let refused = Refused::new(Code::TooLarge, "frame too large");
                self.refuse(refused.clone())?;
                return Err(End::because(close::TOO_LARGE, refused));
            }
            Heard::Sign => {
                self.heard_at = Instant::now();
                return match self.may_speak() {
                    Ok(()) => Ok(()),
                    Err(_) => self.strike(),
                };
            }
            Heard::Rubbish(why) => {
                self.heard_at = Instant::now();
                count_frame("rubbish");
                self.strike()?;
                return self.refuse(Refused::new(Code::Malformed, why));
            }
            Heard::Frame(frame) => frame,
        };
        self.heard_at = Instant::now();
        if let Err(wait) = self.may_speak() {
            count_frame("too_fast");
            self.strike()?;
            return match frame {
                // Every command has a result, this one too.
                ClientFrame::Command { id, .. } => {
                    self.answer(id, Outcome::Refused(rate_limited(wait)))
                }
                ClientFrame::Identify { .. }
                | ClientFrame::Heartbeat {}
                | ClientFrame::Position(_)
                | ClientFrame::Ack { .. }
                | ClientFrame::Subscribe(_)
                | ClientFrame::Unsubscribe(_) => self.refuse(rate_limited(wait)),
            };
        }
        match (self.identity, frame) {
            (None, ClientFrame::Identify { token }) => {
                count_frame("identify");
                match self.gate.keys.verify(&token) {
                    Ok(identity) => self.welcome(identity),
                    Err(refused) => Err(End::because(close::UNAUTHENTICATED, refused)),
                }
            }
            (None, ClientFrame::Command { id, .. }) => {
                self.strike()?;
                self.answer(id, Outcome::Refused(unauthenticated()))
            }
            (
                None,
                ClientFrame::Heartbeat {}
                | ClientFrame::Position(_)
                | ClientFrame::Ack { .. }
                | ClientFrame::Subscribe(_)
                | ClientFrame::Unsubscribe(_),
            ) => {
                self.strike()?;
                self.refuse(unauthenticated())
            }
            (Some(identity), frame) => self.heard_from(identity.principal, frame),
        }
    }

    fn heard_from(&mut self, by: Principal, frame: ClientFrame) -> Flow {
        match frame {
            ClientFrame::Identify { .. } => {
                self.strike()?;
                self.refuse(Refused::new(Code::Invalid, "already identified"))
            }
            ClientFrame::Heartbeat {} => {
                count_frame("heartbeat");
                self.sign_of_life(by);
                self.heartbeat()
            }
            ClientFrame::Command { id, wish } => {
                count_frame("command");
                self.command(by, id, wish)
            }
            ClientFrame::Position(position) => {
                count_frame("position");
                self.position(by, position)
            }
            ClientFrame::Ack { n } => {
                count_frame("ack");
                if let Some(offer) = self.pushes.acknowledge(n) {
                    self.see_offer(by, offer);
                }
                Ok(())
            }
            ClientFrame::Subscribe(topic) => {
                count_frame("subscribe");
                self.subscribe(by, topic)
            }
            ClientFrame::Unsubscribe(topic) => {
                count_frame("unsubscribe");
                self.unsubscribe(&topic);
                Ok(())
            }
        }
    }

    /// One more frame; or how long to wait. A client has one budget for all its sockets; staff have
    /// one for each, for a dispatcher's token does not say which dispatcher.
    fn may_speak(&self) -> Result<(), Duration> {
        match self.one_person() {
            Some(by) => self.gate.limits.frames.check(&by),
            None => self.frames.check(),
        }
    }

    /// The same for a command.
    fn may_wish(&self) -> Result<(), Duration> {
        match self.one_person() {
            Some(by) => self.gate.limits.commands.check(&by),
            None => self.commands.check(),
        }
    }

    /// Who speaks, if that names one client and not a role that many have.
    fn one_person(&self) -> Option<Principal> {
        self.identity.map(|identity| identity.principal).filter(|by| !by.is_staff())
    }

    /// Counts a frame that had to be refused. Now and then is an accident.
    fn strike(&mut self) -> Flow {
        self.strikes.check().map_err(|wait| {
            let refused =
                Refused { message: "too many refused frames".into(), ..rate_limited(wait) };
            End::because(close::POLICY, refused)
        })
    }

    fn welcome(&mut self, identity: Identity) -> Flow {
        let Identity { principal, expires_at } = identity;
        let left = expires_at.since(self.gate.system.now());
        self.identity = Some(identity);
        self.expires = Instant::now().checked_add(left);
        self.say(&ServerFrame::Welcome { principal })?;
        match principal {
            Principal::Rider(id) => self.follow_own(id.into()),
            Principal::Driver(id) => {
                self.sign_of_life(principal);
                self.follow_own(id.into());
            }
            Principal::Merchant(_)
            | Principal::Dispatcher
            | Principal::Admin
            | Principal::System => {}
        }
        Ok(())
    }

    fn sign_of_life(&self, by: Principal) {
        if let Principal::Driver(id) = by {
            self.gate.system.see(Sight::Driver(id, Sighting::Heartbeat));
        }
    }

    fn position(&mut self, by: Principal, position: Position) -> Flow {
        let Principal::Driver(id) = by else {
            self.strike()?;
            return self.refuse(translate::forbidden("only drivers say where they are"));
        };
        match translate::check_position(&position, self.gate.system.now()) {
            Ok(()) => {
                self.pass_on(id, position);
                Ok(())
            }
            Err(refused) => {
                self.strike()?;
                self.refuse(refused)
            }
        }
    }

    fn pass_on(&mut self, id: DriverId, position: Position) {
        let sighting = Sighting::At(position);
        let is_told = Instant::now() < self.tell_position_at;
        if is_told || self.n_positions >= POSITIONS_MAX {
            return self.gate.system.see(Sight::Driver(id, sighting));
        }
        self.n_positions += 1;
        let seen = self.gate.system.see_and_tell::<Driver>(id, sighting).map(Deed::Placed);
        self.doing.push(seen.boxed());
    }

    // -- Wishes ----------------------------------------------------------------------------------

    fn command(&mut self, by: Principal, id: CommandId, wish: Wish) -> Flow {
        if let Err(wait) = self.may_wish() {
            self.strike()?;
            return self.answer(id, Outcome::Refused(rate_limited(wait)));
        }
        if self.n_commands >= self.gate.session.inflight_max {
            let busy = Refused::new(Code::Busy, "too many commands under way");
            return self.answer(id, Outcome::Refused(busy.retry_after_ms(BUSY_MS)));
        }
        self.n_commands += 1;
        let gate = Arc::clone(&self.gate);
        let creates = matches!(wish, Wish::PlaceOrder(_) | Wish::RequestRescue(_));
        let perform = async move {
            match gate.perform(wish, by, id).await {
                Ok((to, version)) => Deed::Answered {
                    id,
                    outcome: Outcome::Ok(translate::done(to, version)),
                    created: creates.then_some(to),
                },
                Err(refused) => {
                    Deed::Answered { id, outcome: Outcome::Refused(refused), created: None }
                }
            }
        };
        self.doing.push(perform.boxed());
        Ok(())
    }

    fn see_offer(&self, by: Principal, offer: OfferId) {
        let gate = Arc::clone(&self.gate);
        let wish = Wish::Driver { id: None, action: DriverAction::SeeOffer { offer } };
        let perform = async move {
            // An offer that ended meanwhile needs no seeing.
            if let Err(refused) = gate.perform(wish, by, CommandId::mint()).await {
                debug!(%refused, "offer not seen");
            }
            Deed::Seen
        };
        self.doing.push(perform.boxed());
    }

    fn did(&mut self, deed: Deed) -> Flow {
        match deed {
            Deed::Answered { id, outcome, created } => {
                self.n_commands -= 1;
                self.answer(id, outcome)?;
                let by = self.identity.map(|identity| identity.principal);
                let is_ones_own = matches!(by, Some(Principal::Rider(_) | Principal::Driver(_)));
                if let Some(key) = created.filter(|_| is_ones_own) {
                    self.follow_own(key);
                }
                Ok(())
            }
            Deed::Opened(key, Ok(watch)) => self.opened(key, watch),
            Deed::Opened(key, Err(refusal)) => {
                debug!(%key, %refusal, "cannot be followed now");
                self.reopen(key);
                Ok(())
            }
            Deed::Fed(feed) => self.fed(feed),
            Deed::Placed(thought) => {
                self.n_positions -= 1;
                let now = Instant::now();
                match thought {
                    Err(refusal) if now >= self.tell_position_at => {
                        self.tell_position_at = now + POSITION_TOLD_EVERY;
                        self.refuse(refusal.into())
                    }
                    Ok(()) | Err(_) => Ok(()),
                }
            }
            Deed::Seen => Ok(()),
        }
    }

    // -- Following -------------------------------------------------------------------------------

    /// The follow of `key`, begun if there is none.
    fn follow(&mut self, key: EntityKey) -> &mut Follow {
        let index = match self.follows.iter().position(|follow| follow.key == key) {
            Some(index) => index,
            None => {
                // Most sessions follow one thing or two; a Vec would make room for four.
                self.follows.reserve_exact(1);
                self.follows.push(Follow::new(key));
                self.open(key, Duration::ZERO);
                self.follows.len() - 1
            }
        };
        &mut self.follows[index]
    }

    fn open(&self, key: EntityKey, after: Duration) {
        let opening = follow::open(self.gate.system.clone(), key, after);
        self.doing.push(opening.map(move |watch| Deed::Opened(key, watch)).boxed());
    }

    fn reopen(&mut self, key: EntityKey) {
        let follow = self.follows.iter_mut().find(|follow| follow.key == key);
        if let Some(after) = follow.map(Follow::lost) {
            self.open(key, after);
        }
    }

    fn follow_own(&mut self, key: EntityKey) {
        let follow = self.follow(key);
        follow.wants.own = true;
        follow.leave_at = None;
    }

    fn unfollow_own(&mut self, key: EntityKey) {
        if let Some(follow) = self.follows.iter_mut().find(|follow| follow.key == key) {
            if follow.wants.topic || follow.wants.actor {
                follow.wants.own = false;
            } else {
                follow.leave_at = Some(Instant::now() + LAST_WORD);
            }
        }
    }

    fn subscribe(&mut self, by: Principal, topic: Topic) -> Flow {
        let needs_staff = matches!(topic, Topic::Board | Topic::Actor(_));
        if needs_staff && !by.is_staff() {
            let refused = translate::forbidden("staff only");
            return self.say(&ServerFrame::Unsubscribed { topic, refused });
        }
        let key = match translate::topic_key(&topic) {
            Ok(key) => key,
            Err(refused) => return self.say(&ServerFrame::Unsubscribed { topic, refused }),
        };
        let is_new = self.follows.iter().all(|follow| Some(follow.key) != key);
        if is_new && self.doing.len() >= self.doing_max() {
            let refused = Refused::new(Code::Busy, "too much under way").retry_after_ms(BUSY_MS);
            return self.say(&ServerFrame::Unsubscribed { topic, refused });
        }
        let Some(key) = key else {
            self.feed();
            return Ok(());
        };
        if is_new && self.follows.len() >= self.gate.session.topics_max {
            let refused = Refused::new(Code::Busy, "too many topics");
            return self.say(&ServerFrame::Unsubscribed { topic, refused });
        }
        let follow = self.follow(key);
        follow.leave_at = None;
        match topic {
            Topic::Actor(_) => follow.wants.actor = true,
            Topic::Order(_) | Topic::Rescue(_) | Topic::Driver(_) | Topic::Board => {
                follow.wants.topic = true;
            }
        }
        if follow.watch.is_some() {
            follow.shown = None;
            return self.show(key, Vec::new());
        }
        Ok(())
    }

    /// Most deeds under way before nothing more is followed: a topic that is left while it is being
    /// opened is still being opened.
    fn doing_max(&self) -> usize {
        let limits = &self.gate.session;
        limits.inflight_max + POSITIONS_MAX + limits.topics_max
    }

    fn unsubscribe(&mut self, topic: &Topic) {
        let Ok(Some(key)) = translate::topic_key(topic) else {
            self.diffs = None;
            return;
        };
        for follow in self.follows.iter_mut().filter(|follow| follow.key == key) {
            match topic {
                Topic::Actor(_) => follow.wants.actor = false,
                Topic::Order(_) | Topic::Rescue(_) | Topic::Driver(_) | Topic::Board => {
                    follow.wants.topic = false;
                }
            }
        }
        self.follows.retain(|follow| follow.wants.is_any());
    }

    fn opened(&mut self, key: EntityKey, watch: Box<dyn Watched>) -> Flow {
        let Some(follow) = self.follows.iter_mut().find(|follow| follow.key == key) else {
            return Ok(());
        };
        if follow.watch.is_some() {
            return Ok(());
        }
        follow.opened(watch);
        if !follow.exists() && !follow.wants.own {
            return self.drop_topics(key);
        }
        self.show(key, Vec::new())?;
        self.became(key, &[])
    }

    fn changed(&mut self, key: EntityKey, change: Change) -> Flow {
        match change {
            Change::State { events, released } => {
                if let Some(follow) = self.follows.iter_mut().find(|follow| follow.key == key) {
                    follow.is_well();
                }
                self.show(key, events)?;
                self.became(key, &released)
            }
            Change::Sighted(frame) => {
                let follow = self.follows.iter_mut().find(|follow| follow.key == key);
                if let (Some(follow), Some(frame)) = (follow, frame) {
                    follow.sighted = Some(Box::new(frame));
                }
                Ok(())
            }
            Change::Lost => {
                self.reopen(key);
                Ok(())
            }
        }
    }

    /// Shows what is followed as it is now.
    fn show(&mut self, key: EntityKey, events: Vec<String>) -> Flow {
        let Some(by) = self.identity.map(|identity| identity.principal) else { return Ok(()) };
        let Some(follow) = self.follows.iter_mut().find(|follow| follow.key == key) else {
            return Ok(());
        };
        let Some(watch) = &follow.watch else { return Ok(()) };
        let version = watch.version();
        let view = follow.wants.views().then(|| watch.frame(by)).flatten();
        let whole = follow.wants.actor.then(|| watch.whole(events));
        let is_news = follow.shown != Some(version);
        let is_hidden = follow.wants.topic && view.is_none();
        if view.is_some() {
            follow.shown = Some(version);
        }
        if let Some(view) = view.filter(|_| is_news) {
            self.say(&view)?;
        }
        if let Some(whole) = whole {
            self.say(&ServerFrame::Actor(Box::new(whole)))?;
        }
        if is_hidden { self.drop_topics(key) } else { Ok(()) }
    }

    /// What was subscribed to is not there, or not for this client.
    fn drop_topics(&mut self, key: EntityKey) -> Flow {
        let Some(follow) = self.follows.iter_mut().find(|follow| follow.key == key) else {
            return Ok(());
        };
        let was = std::mem::take(&mut follow.wants);
        follow.wants.own = was.own;
        if was.actor && follow.exists() {
            follow.wants.actor = true;
        }
        let lost_actor = was.actor && !follow.wants.actor;
        self.follows.retain(|follow| follow.wants.is_any());
        let topic = if was.topic { topic_of(key) } else { None };
        let actor = lost_actor.then(|| Topic::Actor(key.to_string()));
        for topic in topic.into_iter().chain(actor) {
            let refused = not_found(&key.to_string());
            self.say(&ServerFrame::Unsubscribed { topic, refused })?;
        }
        Ok(())
    }

    // -- Oneself ---------------------------------------------------------------------------------

    /// Follows one's own jobs and pushes what a driver must know.
    fn became(&mut self, key: EntityKey, released: &[(JobId, String)]) -> Flow {
        let Some(by) = self.identity.map(|identity| identity.principal) else { return Ok(()) };
        let is_self = match by {
            Principal::Rider(id) => key == id.into(),
            Principal::Driver(id) => key == id.into(),
            Principal::Merchant(_)
            | Principal::Dispatcher
            | Principal::Admin
            | Principal::System => false,
        };
        let follow = self.follows.iter().find(|follow| follow.key == key);
        let Some(watch) = follow.filter(|_| is_self).and_then(|follow| follow.watch.as_ref())
        else {
            return Ok(());
        };
        match watch.frame(by) {
            Some(ServerFrame::Rider(view)) => {
                self.follow_jobs(&view.jobs);
                self.jobs = view.jobs;
                Ok(())
            }
            Some(ServerFrame::Driver(view)) => {
                let ended = self
                    .offers
                    .iter()
                    .map(|(offer, _)| (*offer, watch.ended_offer(*offer)))
                    .collect();
                self.drove(&view, ended, released)
            }
            Some(_) | None => Ok(()),
        }
    }

    fn follow_jobs(&mut self, jobs: &[JobId]) {
        for job in jobs {
            self.follow_own((*job).into());
        }
        for job in std::mem::take(&mut self.jobs) {
            if !jobs.contains(&job) {
                self.unfollow_own(job.into());
            }
        }
    }

    fn drove(
        &mut self,
        view: &DriverView,
        ended: Vec<(OfferId, Option<OfferStatus>)>,
        released: &[(JobId, String)],
    ) -> Flow {
        let told = std::mem::take(&mut self.offers);
        let is_open = |id: OfferId| view.offers.iter().any(|offer| offer.id == id);
        for (offer, job) in told.iter().copied().filter(|(offer, _)| !is_open(*offer)) {
            self.pushes.void(offer);
            let status = ended.iter().find(|(id, _)| *id == offer).and_then(|(_, status)| *status);
            match status {
                Some(status) => self.push(Push::OfferEnded { offer, status })?,
                None => self.accepting.push((offer, job)),
            }
        }
        self.offers = view.offers.iter().map(|offer| (offer.id, offer.job)).collect();
        for offer in &view.offers {
            if !told.iter().any(|(id, _)| *id == offer.id) {
                self.push(Push::Offer(offer.clone()))?;
            }
        }

        let had = self.jobs.clone();
        self.follow_jobs(&view.jobs);
        self.jobs.clone_from(&view.jobs);
        for job in view.jobs.iter().copied().filter(|job| !had.contains(job)) {
            self.accepting.retain(|(_, accepted)| *accepted != job);
            self.push(Push::Assigned { job })?;
        }
        for job in had.iter().copied().filter(|job| !view.jobs.contains(job)) {
            let why = released.iter().find(|(id, _)| *id == job);
            let reason = why.map_or_else(String::new, |(_, reason)| reason.clone());
            self.push(Push::Released { job, reason })?;
        }
        let was_offered = |job: JobId| self.accepting.iter().any(|(_, accepted)| *accepted == job);
        let claimed = released.iter().filter(|(job, _)| !had.contains(job) && !was_offered(*job));
        for (job, reason) in claimed.cloned().collect::<Vec<_>>() {
            self.push(Push::ClaimLost { job, reason })?;
        }
        let lost: Vec<OfferId> = self
            .accepting
            .extract_if(.., |(_, job)| released.iter().any(|(id, _)| id == job))
            .map(|(offer, _)| offer)
            .collect();
        for offer in lost {
            self.push(Push::OfferEnded { offer, status: OfferStatus::Lost })?;
        }
        Ok(())
    }

    // -- The board -------------------------------------------------------------------------------

    fn feed(&self) {
        let live = self.gate.live.clone();
        self.doing.push(async move { Deed::Fed(live.feed().await) }.boxed());
    }

    fn fed(&mut self, feed: Option<Feed>) -> Flow {
        let Some(Feed { full, diffs }) = feed else {
            let refused = Refused::new(Code::Busy, "too many viewers").retry_after_ms(1_000);
            return self.say(&ServerFrame::Unsubscribed { topic: Topic::Board, refused });
        };
        self.diffs = Some(diffs);
        for board in full {
            self.say(&ServerFrame::Board(Box::new(board)))?;
        }
        Ok(())
    }

    fn board(&mut self, diff: Result<Arc<protocol::frame::Board>, RecvError>) -> Flow {
        match diff {
            Ok(board) => self.say(&ServerFrame::Board(Box::new(Arc::unwrap_or_clone(board)))),
            Err(RecvError::Lagged(_) | RecvError::Closed) => {
                self.diffs = None;
                self.feed();
                Ok(())
            }
        }
    }

    // -- Leaving ---------------------------------------------------------------------------------

    /// The node leaves: answers that are nearly there are still given.
    async fn finish(&mut self) -> Flow {
        let answers = async {
            while self.n_commands > 0
                && let Some(deed) = self.doing.next().await
            {
                if let Deed::Answered { id, outcome, .. } = deed {
                    self.n_commands -= 1;
                    self.answer(id, outcome)?;
                }
            }
            Ok::<_, End>(())
        };
        if let Ok(answered) = tokio::time::timeout(LAST_ANSWERS, answers).await {
            answered?;
        }
        let refused = Refused::new(Code::Draining, "this node is leaving").retry_after_ms(250);
        Err(End::because(close::RESTART, refused))
    }
}

/// The topic under which an entity's views are followed.
fn topic_of(key: EntityKey) -> Option<Topic> {
    match key.kind {
        Kind::Order => Some(Topic::Order(OrderId(key.id))),
        Kind::Rescue => Some(Topic::Rescue(RescueId(key.id))),
        Kind::Driver => Some(Topic::Driver(DriverId(key.id))),
        Kind::Rider => None,
    }
}

fn count_frame(kind: &'static str) {
    metrics::counter!("outrider_frames_total", "kind" => kind).increment(1);
}

#[cfg(test)]
mod tests;
