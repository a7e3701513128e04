//! A phone: the link that apps hold, and what its crowd counts and checks on the way.

use super::world::World;
use crate::{checker::ClientTrace, clock};
use futures_util::FutureExt;
use outrider_client::{Event, Habits, Link, State};
use protocol::{
    CommandId, JobId, Principal, Refused,
    frame::{ClientFrame, Outcome, Push, ServerFrame},
    view::Position,
    work::Wish,
};
use std::{
    future::Future,
    pin::Pin,
    sync::{Arc, atomic::Ordering::Relaxed},
    time::{Duration, Instant},
};
use thiserror::Error;
use tokio::{
    net::{TcpSocket, TcpStream},
    time::sleep_until,
};
use tokio_util::sync::CancellationToken;

/// A command that only meets "later" for this long is given up.
const GIVE_UP: Duration = Duration::from_secs(120);
/// The longest pause between two attempts to connect.
const BACK_OFF_MAX: Duration = Duration::from_secs(5);
/// Not to the microsecond: it is cheaper to wake a little late than twice.
const LATE: Duration = Duration::from_millis(5);

/// A token could not be had.
#[derive(Debug, Clone, PartialEq, Eq, Error)]
#[error("no token: {0}")]
pub struct NoToken(pub String);

/// Where clients get their tokens.
pub trait TokenSource: Send + Sync + 'static {
    /// A bearer token for this principal.
    fn token(
        &self,
        principal: Principal,
    ) -> Pin<Box<dyn Future<Output = Result<String, NoToken>> + Send + '_>>;
}

impl<F> TokenSource for F
where
    F: Fn(Principal) -> String + Send + Sync + 'static,
{
    fn token(
        &self,
        principal: Principal,
    ) -> Pin<Box<dyn Future<Output = Result<String, NoToken>> + Send + '_>> {
        let token = self(principal);
        Box::pin(async move { Ok(token) })
    }
}

/// Someone with a phone: hears frames, says others. Knows nothing of sockets.
pub(super) trait Mind: Send + 'static {
    /// Who.
    fn principal(&self) -> Principal;
    /// The phone is connected, for the first time or again. `resumed`: it goes on where it was, and what
    /// it missed follows; if not, it is told everything anew.
    fn welcomed(&mut self, resumed: bool, now: Instant, out: &mut Out);
    /// The phone is not connected any more.
    fn lost(&mut self, now: Instant);
    /// Something that must arrive did, for the first time or again.
    fn pushed(&mut self, push: Push, now: Instant);
    /// A frame arrived. Answers come by [`Mind::answered`] instead, and pushes by [`Mind::pushed`].
    fn hear(&mut self, frame: ServerFrame, now: Instant, out: &mut Out);
    /// A command was answered, or given up (`unavailable`).
    fn answered(&mut self, answer: Answer, now: Instant, out: &mut Out);
    /// Its time has come, or something happened.
    fn wake(&mut self, now: Instant, out: &mut Out);
    /// When it wants to be woken.
    fn wake_at(&self) -> Instant;
    /// Does it put its phone away for good?
    fn is_done(&self) -> bool;
}

/// What came of a command.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) id: CommandId,
    pub(super) wish: Wish,
    /// When it was first sent.
    pub(super) sent_at: Instant,
    pub(super) outcome: Outcome,
}

/// What a mind wants to say.
#[derive(Debug, Default)]
pub(super) struct Out {
    frames: Vec<ClientFrame>,
    position: Option<Position>,
    commands: Vec<(CommandId, Wish)>,
    wants_drop: bool,
}

impl Out {
    /// Sends a command until it is answered.
    pub(super) fn command(&mut self, wish: Wish) -> CommandId {
        let id = CommandId::mint();
        self.commands.push((id, wish));
        id
    }

    /// Sends a frame, if connected.
    pub(super) fn frame(&mut self, frame: ClientFrame) {
        self.frames.push(frame);
    }

    /// Says where the phone is.
    pub(super) fn position(&mut self, position: Position) {
        self.position = Some(position);
    }

    /// Drives into a tunnel.
    pub(super) fn drop_connection(&mut self) {
        self.wants_drop = true;
    }
}

/// A mind and its phone.
pub(super) struct Client<M> {
    world: Arc<World>,
    mind: M,
    link: Link,
    trace: ClientTrace,
    out: Out,
    /// While it is connected.
    present: Option<Present>,
}

impl<M: Mind> Client<M> {
    pub(super) fn new(world: Arc<World>, mind: M, n: usize) -> Self {
        let role = match mind.principal() {
            Principal::Driver(_) => 1,
            Principal::Rider(_)
            | Principal::Merchant(_)
            | Principal::Dispatcher
            | Principal::Admin
            | Principal::System => 2,
        };
        let habits = Habits {
            give_up_after: Some(GIVE_UP),
            pause_max: BACK_OFF_MAX,
            // A node that believes nobody for a while is a node under test.
            disbelieved_max: u32::MAX,
            seed: world.options.seed ^ (n as u64) << 8 ^ role << 60,
            ..Habits::default()
        };
        let link = Link::new(target(&world, mind.principal(), n), habits);
        let (trace, out) = (ClientTrace::default(), Out::default());
        Self { world, mind, link, trace, out, present: None }
    }

    /// Lives until its mind is done or everybody goes home.
    pub(super) async fn live(mut self, home: CancellationToken) {
        loop {
            let now = Instant::now();
            if self.present.is_some() {
                if self.mind.wake_at() <= now {
                    self.mind.wake(now, &mut self.out);
                }
                self.flush();
            }
            if self.mind.is_done() {
                break;
            }
            let wake_at = self.mind.wake_at() + LATE;
            tokio::select! {
                event = self.link.next() => match event {
                    Some(event) => self.hear(event, Instant::now()),
                    None => {
                        tracing::warn!("a phone is closed for good");
                        break;
                    }
                },
                () = sleep_until(wake_at.into()), if self.present.is_some() => {}
                () = home.cancelled() => break,
            }
        }
        let Self { link, present, .. } = self;
        drop(present);
        link.leave().await;
    }

    /// Says what there is to say.
    fn flush(&mut self) {
        // Positions before commands: "I am there" must not overtake where one is.
        for frame in self.out.frames.drain(..) {
            self.link.say(frame);
        }
        if let Some(position) = self.out.position.take() {
            self.world.counts.positions.fetch_add(1, Relaxed);
            self.link.position(position);
        }
        for (id, wish) in self.out.commands.drain(..) {
            if let Err(error) = self.link.command(id, wish) {
                tracing::error!(%error, %id, "a command cannot be said");
            }
        }
        if std::mem::take(&mut self.out.wants_drop) {
            self.link.break_off();
        }
    }

    fn hear(&mut self, event: Event, now: Instant) {
        match event {
            Event::State(State::Waiting { .. }) => {
                if self.present.take().is_some() {
                    self.world.counts.reconnects.fetch_add(1, Relaxed);
                    self.mind.lost(now);
                }
            }
            Event::State(State::Connecting | State::Open | State::Closed(_)) => {}
            Event::Welcome { principal, resumed } => {
                if resumed {
                    self.world.counts.resumes.fetch_add(1, Relaxed);
                } else {
                    self.trace.reconnected();
                }
                self.present = Some(Present::new(&self.world, principal));
                self.mind.welcomed(resumed, now, &mut self.out);
            }
            Event::Frame(frame) => {
                self.count_frame();
                self.saw(&frame, now);
                self.mind.hear(frame, now, &mut self.out);
            }
            Event::Unreadable(error) => {
                tracing::warn!(error, "a frame that cannot be read");
                self.count_frame();
                self.world.counts.frames_refused.fetch_add(1, Relaxed);
            }
            Event::Push { id, push } => {
                self.link.taken(id);
                self.pushed(push, now);
            }
            // Where everything is told anew, the mind has forgotten it.
            Event::PushedAgain(push) => self.pushed(push, now),
            Event::Asked { id, n } => {
                self.trace.sent(id);
                if n > 1 {
                    self.world.counts.resends.fetch_add(1, Relaxed);
                }
            }
            // "Ask again" is no answer yet, so it cannot contradict one.
            Event::Later { .. } => self.count_frame(),
            Event::AnsweredAgain { id, outcome } => self.check(id, &outcome),
            Event::Answered(answer) => {
                let outrider_client::Answer { id, wish, since, outcome } = *answer;
                self.check(id, &outcome);
                let refused = match &outcome {
                    Outcome::Ok(done) => {
                        self.world.counts.acked.fetch_add(1, Relaxed);
                        self.world.checker().acked(done, now);
                        None
                    }
                    Outcome::Refused(refused) => Some(refused.code),
                };
                self.world.book().answered(now.duration_since(since), refused);
                let answer = Answer { id, wish, sent_at: since, outcome };
                self.mind.answered(answer, now, &mut self.out);
            }
        }
    }

    fn count_frame(&self) {
        self.world.counts.frames.fetch_add(1, Relaxed);
    }

    fn saw(&mut self, frame: &ServerFrame, now: Instant) {
        let world = &self.world;
        match frame {
            ServerFrame::Order(view) => {
                world.report_broken(self.trace.saw(JobId::Order(view.id), view.version));
                world.checker().order_seen(view, now);
            }
            ServerFrame::Rescue(view) => {
                world.report_broken(self.trace.saw(JobId::Rescue(view.id), view.version));
                world.checker().rescue_seen(view, now);
            }
            ServerFrame::Driver(view) => world.checker().driver_seen(view, now),
            ServerFrame::Refused(refused) => {
                tracing::debug!(%refused, "a frame was refused");
                world.counts.frames_refused.fetch_add(1, Relaxed);
            }
            ServerFrame::Hello { .. }
            | ServerFrame::Welcome { .. }
            | ServerFrame::Heartbeat { .. }
            | ServerFrame::Result { .. }
            | ServerFrame::Push { .. }
            | ServerFrame::Rider(_)
            | ServerFrame::Incident(_)
            | ServerFrame::Changed(_)
            | ServerFrame::Sighted { .. }
            | ServerFrame::Presence { .. }
            | ServerFrame::Board(_)
            | ServerFrame::Region(_)
            | ServerFrame::Actor(_)
            | ServerFrame::Unsubscribed { .. }
            | ServerFrame::Goodbye { .. } => {}
        }
    }

    fn pushed(&mut self, push: Push, now: Instant) {
        self.count_frame();
        match &push {
            Push::Offer(offer) => self.world.report_broken(self.trace.offered(offer.id)),
            Push::OfferEnded { offer, .. } => self.trace.voided(*offer),
            Push::Assigned { .. }
            | Push::Released { .. }
            | Push::ClaimLost { .. }
            | Push::Incident(_)
            | Push::IncidentHeeded { .. } => {}
        }
        self.mind.pushed(push, now);
    }

    /// Holds an answer against those before it.
    fn check(&mut self, id: CommandId, outcome: &Outcome) {
        self.count_frame();
        let done = match outcome {
            Outcome::Ok(done) => Some(done),
            Outcome::Refused(Refused { code, .. }) if outrider_client::is_passing(*code) => return,
            Outcome::Refused(_) => None,
        };
        self.world.report_broken(self.trace.answered(id, done));
    }
}

/// Where the `n`th phone connects to, and from where.
fn target(world: &Arc<World>, principal: Principal, n: usize) -> outrider_client::Target {
    let tokens = Arc::clone(&world.target.tokens);
    let tokens = move || {
        let tokens = Arc::clone(&tokens);
        async move {
            let token = tokens.token(principal).await;
            token.map_err(|NoToken(why)| outrider_client::NoToken(why))
        }
    };
    let address = world.target.url.parse().expect("an address that was looked up");
    let mut target = outrider_client::Target::new(vec![address], tokens);
    let (to, from) = (world.target.address, world.target.source(n, world.options.sources));
    target.dial = Arc::new(move |_| {
        let dialling = async move {
            let Some(from) = from else { return TcpStream::connect(to).await };
            let socket = TcpSocket::new_v4()?;
            socket.bind(from)?;
            socket.connect(to).await
        };
        dialling.boxed()
    });
    target
}

/// Counts a client while it is connected.
struct Present {
    world: Arc<World>,
    is_driver: bool,
}

impl Present {
    fn new(world: &Arc<World>, principal: Principal) -> Self {
        let is_driver = matches!(principal, Principal::Driver(_));
        let present = Self { world: Arc::clone(world), is_driver };
        present.count().fetch_add(1, Relaxed);
        present
    }

    fn count(&self) -> &std::sync::atomic::AtomicU64 {
        let counts = &self.world.counts;
        if self.is_driver { &counts.drivers } else { &counts.riders }
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.count().fetch_sub(1, Relaxed);
    }
}

/// A position as a phone reports it. The speed is the city's: no speedometer shows more, however
/// quick life is.
pub(super) fn position(fix: crate::city::Fix) -> Position {
    Position {
        at: fix.at,
        sampled_at: clock::now(),
        heading_deg: Some(fix.heading_deg),
        speed_mps: Some(fix.speed_mps),
        accuracy_m: Some(8.0),
    }
}
