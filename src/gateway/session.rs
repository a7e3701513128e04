//! One connected client: one task that hears its wishes and tells it what becomes of its world.
//!
//! ```text
//!            ┌── hear ── frames ──► wishes ──► lanes ──► actors (one actor answers in the order it was asked)
//!  socket ◄──┤
//!            └── say ◄── views, pushes, sightings ◄── what it follows: itself, its jobs, its topics
//! ```
//!
//! Nothing in here waits for anything else in here: a slow answer does not keep the client from
//! speaking, and a slow client is told goodbye.

mod alarms;
mod bell;
mod doing;
mod following;
mod inbound;
mod inspected;
mod lanes;
mod outbound;
mod outlook;
mod overview;
mod pace;
mod presence;
mod pushes;
mod regional;
mod replay;
mod scoped;
mod suspended;

pub(crate) use scoped::Untold;
pub(crate) use suspended::Suspended;

use crate::{
    auth::{Identity, scope::Scope, unauthenticated},
    gateway::{
        Gate,
        follow::{self, Change, Follow},
        incidents::Hearing,
        limits::Rate,
        live::Feed,
        sessions::{Begun, Call, HandIn},
        socket::{Full, Heard, Socket},
        tap::Tap,
    },
};
use actors::{EntityKey, Refusal, runtime::Objections};
use alarms::Alarms;
use bell::Bell;
use doing::Doing;
use futures_util::FutureExt;
use inbound::WishRates;
use lanes::{Lanes, Said};
use outlook::Diffs;
use overview::Overview;
use pace::Pace;
use protocol::{
    Code, CommandId, JobId, OfferId, Principal, Refused, SessionId,
    frame::{ClientFrame, Outcome, Resume, ServerFrame},
};
use pushes::Pushes;
use regional::Regional;
use replay::Replay;
use std::{
    future::{pending, poll_fn},
    pin::{Pin, pin},
    sync::Arc,
    task::Poll,
    time::Duration,
};
use tokio::{
    sync::{broadcast::error::RecvError, oneshot},
    time::{Instant, Sleep, sleep_until},
};
use tokio_util::sync::WaitForCancellationFutureOwned;
use tracing::debug;

/// How long answers that are under way may take when the node leaves.
const LAST_ANSWERS: Duration = Duration::from_millis(1_500);
/// Most commands of somebody in danger that are under way beside others.
const URGENT_MAX: u16 = 16;
/// How long a client with too much under way should wait.
const BUSY_MS: u64 = 100;

/// Close codes of our own; the others are RFC 6455's.
mod close {
    pub(super) const POLICY: u16 = 1008;
    pub(super) const TOO_LARGE: u16 = 1009;
    pub(super) const RESTART: u16 = 1012;
    pub(super) const TRY_LATER: u16 = 1013;
    pub(super) const NORMAL: u16 = 1000;
    pub(super) const UNAUTHENTICATED: u16 = 4401;
    pub(super) const SILENT: u16 = 4408;
    pub(super) const ELSEWHERE: u16 = 4409;
}

/// How a session ends.
#[derive(Debug)]
struct End {
    /// What the client is told last; nothing if it is gone.
    goodbye: Option<Refused>,
    code: u16,
    /// May its client go on where it was?
    may_resume: bool,
}

type Flow = Result<(), End>;

impl End {
    fn because(code: u16, refused: Refused) -> Self {
        let may_resume = matches!(code, close::RESTART | close::TRY_LATER | close::SILENT);
        Self { goodbye: Some(refused), code, may_resume }
    }

    /// The client said goodbye.
    fn left() -> Self {
        Self { goodbye: None, code: close::NORMAL, may_resume: false }
    }

    /// The connection broke.
    fn cut() -> Self {
        Self { goodbye: None, code: close::POLICY, may_resume: true }
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
    Answered {
        id: CommandId,
        outcome: Outcome,
        created: Option<EntityKey>,
        lane: Option<EntityKey>,
    },
    Opened(EntityKey, Result<follow::Opened, Refusal>),
    /// Is it within its regions?
    Judged {
        key: EntityKey,
        scope: Scope,
        judged: Result<bool, Refused>,
    },
    Fed(Option<Feed>),
    Alarmed(Option<Hearing>),
    Seen,
}

/// What happens next.
#[derive(Debug)]
enum Turn {
    Heard(Heard<ClientFrame>),
    Did(Deed),
    Changed(EntityKey, Change),
    Objected(Refusal),
    Board(Result<Arc<protocol::frame::Board>, RecvError>),
    Time,
    Drain,
    Called(Call),
}

/// A client that has shown who it is, and is being let in.
#[derive(Debug)]
struct Entering {
    identity: Identity,
    resume: Option<Resume>,
}

#[derive(Debug)]
struct Session {
    gate: Arc<Gate>,
    socket: Socket,
    id: SessionId,
    entering: Option<Box<Entering>>,
    /// Somebody on this node wants something of it.
    called: Option<oneshot::Receiver<Call>>,
    begun: Option<Begun>,
    /// It was to go on where another was, and could not.
    is_anew: bool,
    /// Its client has said something since its welcome.
    is_welcomed: bool,
    replay: Replay,
    identity: Option<Identity>,
    heard_at: Instant,
    said_at: Instant,
    pace: Pace,
    /// When its client must have shown a token, or a newer one.
    expires: Option<Instant>,
    /// The node leaves, and then it is this session's turn.
    leaves_at: Option<Instant>,
    /// How fast it may speak, once it has said something: of its own, if it is staff's or nobody's yet.
    frames: Option<Arc<Rate>>,
    /// Of its own, if it is staff's and has wished for something.
    wishes: Option<Box<WishRates>>,
    /// None, for most sessions: nothing was refused yet.
    strikes: Option<Box<Rate>>,
    doing: Doing,
    n_commands: u16,
    lanes: Lanes,
    follows: Vec<Follow>,
    pushes: Pushes,
    /// Offers the driver was told of, and of what.
    offers: Vec<(OfferId, JobId)>,
    /// Offers it said yes to, whose jobs have not decided.
    accepting: Vec<(OfferId, JobId)>,
    /// Jobs it was told are its own.
    jobs: Vec<JobId>,
    /// It follows the board; whether there is one to be had is another matter.
    wants_board: bool,
    /// Regions whose part of it is followed.
    regions: Vec<Regional>,
    /// What a dispatcher's map and queue show of it; in a box, for few sessions have one.
    overview: Option<Box<Overview>>,
    /// All of it is on its way, for whatever is followed by then.
    is_feeding: bool,
    /// In a box: few sessions look at a board.
    diffs: Option<Box<Diffs>>,
    /// Which incidents it was told of, if it is staff's.
    alarms: Option<Box<Alarms>>,
    /// When those who follow its jobs were last told that its client is there.
    present_at: Option<Instant>,
    /// What its driver thinks is wrong with a position; made for the first of them.
    objections: Option<Objections>,
    /// How many frames it has heard, rubbish among them.
    n_heard: u32,
    /// When the client may next be told what is wrong with one.
    tell_position_at: Instant,
    /// An operator who hears what it hears and says.
    tap: Option<Box<Tap>>,
    /// Rings when somebody else than its client has something for it.
    bell: Bell,
}

/// Serves one client until it leaves or must.
///
/// Not an `async fn`: what is built before the block is kept once, not once more as an argument.
pub(crate) fn run(
    gate: Arc<Gate>,
    socket: Socket,
    entering: Option<(Identity, Option<Resume>)>,
) -> impl Future<Output = ()> + Send {
    let mut session = Session::new(gate, socket);
    async move {
        let entering = entering.map(|(identity, resume)| Entering { identity, resume });
        let Err(end) = session.serve(entering).await else { return };
        if let Some(refused) = &end.goodbye {
            debug!(code = end.code, reason = %refused, "session ended");
            metrics::counter!("outrider_goodbyes_total", "code" => refused.code.to_string())
                .increment(1);
        }
        let is_cut = end.may_resume && end.goodbye.is_none();
        if is_cut || end.code == close::SILENT {
            session.way_breaks();
        }
        // Of somebody nobody knows there is nothing to put away, and strangers keep no seats.
        let call = match is_cut && session.identity.is_some() {
            true => Box::pin(session.turn_to_retire()).await,
            false => None,
        };
        Box::pin(session.retire(end.may_resume, end.goodbye.is_some(), call)).await;
        let goodbye = end.goodbye.map(|refused| ServerFrame::Goodbye { refused });
        Box::pin(session.socket.close(goodbye.as_ref(), end.code)).await;
    }
}

impl Session {
    fn new(gate: Arc<Gate>, mut socket: Socket) -> Self {
        let (now, limits) = (Instant::now(), &gate.session);
        let id = SessionId::mint(gate.system.incarnation().0);
        socket.begins(id);
        Self {
            id,
            entering: None,
            called: None,
            begun: None,
            is_anew: false,
            is_welcomed: false,
            replay: Replay::default(),
            socket,
            identity: None,
            heard_at: now,
            said_at: now,
            pace: Pace::new(now),
            expires: Some(now + limits.identify_within),
            leaves_at: None,
            frames: None,
            wishes: None,
            strikes: None,
            doing: Doing::default(),
            n_commands: 0,
            lanes: Lanes::default(),
            follows: Vec::new(),
            pushes: Pushes::default(),
            offers: Vec::new(),
            accepting: Vec::new(),
            jobs: Vec::new(),
            wants_board: false,
            regions: Vec::new(),
            overview: None,
            is_feeding: false,
            diffs: None,
            alarms: None,
            present_at: None,
            objections: None,
            n_heard: 0,
            tell_position_at: now,
            tap: None,
            bell: Bell::default(),
            gate,
        }
    }

    async fn serve(&mut self, entering: Option<Entering>) -> Flow {
        self.hello()?;
        self.entering = entering.map(Box::new);
        let mut timer = Box::pin(sleep_until(self.due()));
        let mut drain = pin!(self.gate.drain.clone().cancelled_owned());
        loop {
            if let Some(entering) = self.entering.take() {
                Box::pin(self.enter(*entering)).await?;
            }
            // An alarm that rings too early costs less than setting it anew for every frame.
            let due = self.due();
            if due < timer.deadline() || timer.is_elapsed() {
                timer.as_mut().reset(due);
            }
            self.bell.ring();
            // What a driver says all day changes nothing here: nobody has to be asked because of it, and no alarm is set.
            let mut is_as_before = true;
            while is_as_before {
                let turn = self.turn(&mut timer, drain.as_mut()).await;
                let is_position =
                    matches!(turn, Turn::Heard(Heard::Frame(ClientFrame::Position(_))));
                self.take(turn)?;
                is_as_before = is_position && !self.has_something_to_say();
            }
            if self.leaves_at.is_some_and(|at| Instant::now() >= at) {
                return Box::pin(self.finish()).await;
            }
            self.timely()?;
        }
    }

    fn take(&mut self, turn: Turn) -> Flow {
        match turn {
            Turn::Heard(heard) => self.heard(heard),
            Turn::Did(deed) => self.did(deed),
            Turn::Changed(key, change) => self.changed(key, change),
            Turn::Objected(refusal) => self.objected(refusal),
            Turn::Board(diff) => self.board(diff),
            Turn::Time => Ok(()),
            Turn::Drain => {
                self.leaves_at = Some(self.gate.turn_to_leave());
                Ok(())
            }
            Turn::Called(call) => self.called(call),
        }
    }

    /// Does something wait for its client, or for those who follow its jobs, now that it was heard?
    fn has_something_to_say(&self) -> bool {
        !self.socket.is_idle() || self.is_presence_due(self.heard_at)
    }

    /// Who speaks, once that is known.
    fn who(&self) -> Option<Principal> {
        self.identity.as_ref().map(|identity| identity.principal)
    }

    /// Of which part of the map it is told.
    fn scope(&self) -> Scope {
        self.identity.as_ref().map(|identity| identity.scope.clone()).unwrap_or_default()
    }

    async fn turn(
        &mut self,
        timer: &mut Pin<Box<Sleep>>,
        mut drain: Pin<&mut WaitForCancellationFutureOwned>,
    ) -> Turn {
        self.socket.relieve().await;
        let by = self.who();
        let is_leaving = self.leaves_at.is_some();
        let Self { socket, doing, follows, diffs, gate, called, objections, bell, .. } = self;
        // A dispatcher who reads slowly lags behind here, and then starts again from a full board.
        let may_show_board = socket.is_idle();
        let mut board = pin!(async {
            match diffs {
                Some(diffs) if may_show_board => diffs.changes.recv().await,
                Some(_) | None => pending().await,
            }
        });
        let mut heard = pin!(socket.hear());
        // What is ready is done first, and what is said of all of it goes out in one write. Nothing here is ready for ever:
        // it was asked for by what was heard.
        poll_fn(|cx| {
            let from_others = bell.poll(cx, |cx| {
                if let Poll::Ready(Some(deed)) = doing.poll_next(cx) {
                    return Poll::Ready(Turn::Did(deed));
                }
                if let Some(by) = by
                    && let Poll::Ready((key, change)) =
                        follow::poll_change(follows, cx, by, &gate.system)
                {
                    return Poll::Ready(Turn::Changed(key, change));
                }
                if let Some(objections) = objections
                    && let Poll::Ready(refusal) = objections.poll_next(cx)
                {
                    return Poll::Ready(Turn::Objected(refusal));
                }
                if timer.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Turn::Time);
                }
                if !is_leaving && drain.as_mut().poll(cx).is_ready() {
                    return Poll::Ready(Turn::Drain);
                }
                match called.as_mut().map(|called| called.poll_unpin(cx)) {
                    Some(Poll::Ready(Ok(call))) => return Poll::Ready(Turn::Called(call)),
                    // Nobody knows of it any more.
                    Some(Poll::Ready(Err(_))) => *called = None,
                    Some(Poll::Pending) | None => {}
                }
                Poll::Pending
            });
            if from_others.is_ready() {
                return from_others;
            }
            if let Poll::Ready(diff) = board.as_mut().poll(cx) {
                return Poll::Ready(Turn::Board(diff));
            }
            heard.as_mut().poll(cx).map(Turn::Heard)
        })
        .await
    }

    /// When something must be done although nothing happens.
    fn due(&self) -> Instant {
        let (now, limits) = (Instant::now(), &self.gate.session);
        let (grace, every) = (self.grace(), limits.sighted_every);
        let mut due = self.said_at + self.heartbeat_every();
        let mut sooner = |at: Instant| due = due.min(at);
        sooner(self.silent_at());
        self.expires.into_iter().for_each(&mut sooner);
        self.leaves_at.into_iter().for_each(&mut sooner);
        self.pushes.due().into_iter().for_each(&mut sooner);
        if let Some(since) = self.socket.stalled_since() {
            sooner(since + limits.stall_max);
        }
        for follow in &self.follows {
            follow.done_at(now).into_iter().for_each(&mut sooner);
            follow.others.silent_at(grace).into_iter().for_each(&mut sooner);
            if follow.sighted.is_some()
                && self.socket.is_idle()
                && let Some(at) = follow.sighted_at
            {
                sooner(at + every);
            }
            if self.socket.is_idle()
                && let Some(at) = follow.near.as_ref().and_then(|it| it.due_at(now, every))
            {
                sooner(at);
            }
            if self.socket.is_idle()
                && let Some(at) = follow.prospect.as_ref().and_then(|it| it.due_at(now))
            {
                sooner(at);
            }
        }
        due
    }

    /// Does what time asks for.
    fn timely(&mut self) -> Flow {
        let now = Instant::now();
        let gate = Arc::clone(&self.gate);
        let limits = &gate.session;
        if self.expires.is_some_and(|expires| now >= expires) {
            let refused = match self.identity {
                Some(_) => Refused::new(Code::Unauthenticated, "the token has expired"),
                None => unauthenticated(),
            };
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
        if let Some(principal) = self.who() {
            self.follows.retain(|follow| !follow.is_done(principal, now));
        }
        self.pass_on_sightings(now)?;
        self.presence(now)?;
        self.hurry()?;
        if now >= self.said_at + self.heartbeat_every() {
            self.heartbeat()?;
        }
        Ok(())
    }

    fn pass_on_sightings(&mut self, now: Instant) -> Flow {
        let every = self.gate.session.sighted_every;
        let mut due = Vec::new();
        for follow in &mut self.follows {
            let is_time = follow.sighted_at.is_none_or(|at| now >= at + every);
            if is_time
                && self.socket.is_idle()
                && let Some(frame) = follow.sighted.take()
            {
                follow.sighted_at = Some(now);
                due.push(frame);
            }
            if self.socket.is_idle()
                && let Some(frame) = follow.near.as_mut().and_then(|it| it.next(now, every))
            {
                due.push(Box::new(frame));
            }
            if self.socket.is_idle()
                && let Some(frame) = follow.prospect.as_mut().and_then(|it| it.next(now))
            {
                due.push(Box::new(frame));
            }
        }
        for frame in due {
            self.say(&frame)?;
        }
        Ok(())
    }

    /// Its client goes on elsewhere, with what is left of this.
    fn hand_in(&mut self, to: HandIn) -> Flow {
        // It noticed before we did.
        self.way_breaks();
        if let Some(identity) = self.identity.clone()
            && let Err(unwanted) = to.send(self.suspend(&identity))
        {
            // Whoever asked has stopped waiting, and may ask again.
            self.gate.known.suspend(self.id, unwanted);
        }
        let refused = Refused::new(Code::Taken, "this session goes on elsewhere");
        Err(End::because(close::ELSEWHERE, refused))
    }

    /// Waits for its turn to be put away; whom somebody calls meanwhile, or whose node leaves, has it at once.
    async fn turn_to_retire(&mut self) -> Option<Call> {
        // Nobody hears any more how it ends; and what is not polled may hold what others need.
        self.doing = Doing::default();
        let turn = self.gate.retiring.next();
        if turn <= Instant::now() {
            return None;
        }
        let Self { gate, called, .. } = self;
        let call = async {
            match called {
                Some(called) => called.await.ok(),
                None => pending().await,
            }
        };
        tokio::select! {
            biased;
            call = call => call,
            () = gate.drain.cancelled() => None,
            () = sleep_until(turn) => None,
        }
    }

    /// It is over, or waits for its client to come back, who may have heard its goodbye or not. `call` is what somebody
    /// here wants of it, if that was heard already.
    async fn retire(&mut self, may_resume: bool, says_goodbye: bool, call: Option<Call>) {
        let Some(identity) = self.identity.clone().filter(|_| may_resume) else { return };
        let gate = Arc::clone(&self.gate);
        if says_goodbye {
            self.replay.said(None, self.room());
        }
        let heard = || self.called.as_mut().and_then(|called| called.try_recv().ok());
        let mut call = call.or_else(heard);
        while let Some(Call::Look(mut look)) = call {
            // Nobody looks at what is over.
            call = look.next.try_recv().ok();
        }
        let suspended = self.suspend(&identity);
        let left = match call {
            Some(Call::LetGo(to)) => to.send(suspended).err(),
            Some(Call::Revoked) => None,
            Some(Call::Look(_)) | None => Some(suspended),
        };
        match left {
            Some(left) if gate.drain.is_cancelled() => {
                gate.known.entrust(&gate.system, self.id, left).await;
            }
            Some(left) => gate.known.suspend(self.id, left),
            None => {}
        }
    }

    /// The node leaves: answers that are nearly there are still given.
    async fn finish(&mut self) -> Flow {
        for Said { id, .. } in self.lanes.clear() {
            self.n_commands -= 1;
            let refused = Refused::new(Code::Draining, "this node is leaving").retry_after_ms(250);
            self.answer(id, Outcome::Refused(refused))?;
        }
        let answers = async {
            while self.n_commands > 0
                && let Some(deed) = self.doing.next().await
            {
                if let Deed::Answered { id, outcome, lane, .. } = deed {
                    self.answered(lane);
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

#[cfg(test)]
mod tests;
