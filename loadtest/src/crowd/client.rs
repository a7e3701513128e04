//! A phone: the link that apps hold, and what its crowd counts and checks on the way.

use super::{Cut, world::World};
use crate::{
    checker::{self, ClientTrace},
    clock,
    measure::Op,
};
use futures_util::FutureExt;
use outrider_client::{Address, Event, Habits, Link, State};
use protocol::{
    CommandId, JobId, Point, Principal, Refused,
    frame::{ClientFrame, Outcome, Push, ServerFrame},
    view::Position,
    work::{DriverAction, OrderAction, RescueAction, Wish},
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    future::Future,
    io,
    pin::Pin,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use thiserror::Error;
use tokio::{
    net::{TcpSocket, TcpStream},
    sync::watch,
    time::sleep_until,
};
use tokio_util::sync::CancellationToken;

/// A command that only meets "later" for this long is given up.
const GIVE_UP: Duration = Duration::from_secs(120);
/// The longest pause between two attempts to connect.
const BACK_OFF_MAX: Duration = Duration::from_secs(5);
/// A client asks for its answer again after this long: whoever had none by then was let down by a node, and not by a dark
/// that began later.
const PATIENCE: Duration = Duration::from_secs(8);
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
    /// When it should have taken out its phone, if that was on a schedule.
    fn due(&self) -> Option<Instant> {
        None
    }
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
#[derive(Debug)]
pub(super) struct Out {
    frames: Vec<ClientFrame>,
    position: Option<Position>,
    commands: Vec<(Said, Wish)>,
    /// How long the phone is away.
    dark: Option<Duration>,
    /// When what is said now should have been.
    due: Instant,
}

/// A command, from when it is due until it is answered.
#[derive(Debug, Clone, Copy)]
struct Said {
    id: CommandId,
    op: Op,
    due: Instant,
    /// When it went out first.
    at: Option<Instant>,
    /// How long its phone had no network meanwhile: nobody's fault.
    dark: Duration,
    /// How long it had been said, and its phone had a network, when that was last lost.
    lit: Duration,
    /// Was it counted as wanted before there was anybody to say it?
    is_counted: bool,
}

impl Said {
    fn new(wish: &Wish, due: Instant, is_counted: bool) -> Self {
        let (dark, lit) = (Duration::ZERO, Duration::ZERO);
        Self { id: CommandId::mint(), op: op_of(wish), due, at: None, dark, lit, is_counted }
    }

    /// Its phone, which had a network since `lit_since`, has none from now on: for so long, beyond what it was to have none
    /// already.
    fn go_dark(&mut self, lasting: Duration, lit_since: Instant, now: Instant) {
        let since = self.at.map_or(now, |at| at.max(lit_since));
        self.lit += now.saturating_duration_since(since);
        self.dark += lasting;
    }

    /// Was there time enough for an answer before its phone had no network?
    fn is_overdue(&self) -> bool {
        self.lit >= PATIENCE
    }
}

impl Out {
    fn new(due: Instant) -> Self {
        Self { frames: Vec::new(), position: None, commands: Vec::new(), dark: None, due }
    }

    /// Sends a command until it is answered.
    pub(super) fn command(&mut self, wish: Wish) -> CommandId {
        let said = Said::new(&wish, self.due, false);
        self.commands.push((said, wish));
        said.id
    }

    /// Sends the command that somebody came for, who was due then and counted.
    pub(super) fn errand(&mut self, wish: Wish, due: Instant) -> CommandId {
        let said = Said::new(&wish, due, true);
        self.commands.push((said, wish));
        said.id
    }

    /// Sends a frame, if connected.
    pub(super) fn frame(&mut self, frame: ClientFrame) {
        self.frames.push(frame);
    }

    /// Says where the phone is.
    pub(super) fn position(&mut self, position: Position) {
        self.position = Some(position);
    }

    /// Drives into a tunnel, or has a flat battery: cannot be reached for so long.
    pub(super) fn go_dark(&mut self, lasting: Duration) {
        self.dark = Some(lasting);
    }
}

/// What somebody waits for who has said this.
fn op_of(wish: &Wish) -> Op {
    use {DriverAction as D, OrderAction as O, RescueAction as R};
    let is_choice =
        matches!(wish, Wish::Driver { action: D::AcceptOffer { .. } | D::DeclineOffer { .. }, .. });
    let is_step = matches!(
        wish,
        Wish::Order {
            action: O::Depart {}
                | O::Arrive {}
                | O::Start { .. }
                | O::PickUp { .. }
                | O::ArriveStop {}
                | O::CompleteStop { .. }
                | O::Deliver { .. }
                | O::Finish { .. },
            ..
        } | Wish::Rescue {
            action: R::Depart {}
                | R::Arrive {}
                | R::BeginAssist {}
                | R::Fixed {}
                | R::Load { .. }
                | R::Unload { .. },
            ..
        }
    );
    match wish {
        Wish::PlaceOrder(_) | Wish::RequestRescue(_) => Op::Place,
        Wish::Driver { .. } if is_choice => Op::Accept,
        Wish::Order { .. } | Wish::Rescue { .. } if is_step => Op::Step,
        Wish::Driver { .. }
        | Wish::Order { .. }
        | Wish::Rescue { .. }
        | Wish::Rider { .. }
        | Wish::Sos(_)
        | Wish::Incident { .. }
        | Wish::Zone { .. }
        | Wish::Run { .. } => Op::Other,
    }
}

/// A mind and its phone.
pub(super) struct Client<M> {
    world: Arc<World>,
    mind: M,
    link: Link,
    trace: ClientTrace,
    out: Out,
    /// What was not answered yet.
    said: Vec<Said>,
    /// While it is connected.
    present: Option<Present>,
    cuts: watch::Receiver<Option<Cut>>,
    dice: ChaCha8Rng,
    /// Has it said what it came for?
    is_errand_said: bool,
    /// Until when it has no network.
    dark: Dark,
    /// When it drives out of a tunnel, or is charged: its platform says so.
    light_at: Option<Instant>,
    /// When it last heard anything on its connection.
    heard_at: Instant,
    /// Since when it wants to be connected, and why it is not.
    wants: (Instant, Op),
    /// When it last tried.
    tried_at: Instant,
    /// Was its connection lost because we wanted it?
    is_cut: bool,
    /// When its bad network loses its connection, if it does.
    drops_at: Option<Instant>,
    is_bad: bool,
    /// What its mind would have done next when the connection was lost, and nobody wanted that: due all the while.
    owes: Option<Instant>,
    /// Since when it is not connected.
    lost_at: Instant,
    /// It has been taken out to be used since: whoever was cut off at rest rests no longer.
    is_roused: bool,
}

/// Until when a phone has no network: shared with whoever dials for it, in microseconds after some moment.
#[derive(Debug, Clone)]
struct Dark {
    began: Instant,
    until_us: Arc<AtomicU64>,
}

impl Dark {
    fn new(began: Instant) -> Self {
        Self { began, until_us: Arc::default() }
    }

    fn extend(&self, until: Instant) {
        let us = until.saturating_duration_since(self.began).as_micros();
        self.until_us.fetch_max(us as u64, Relaxed);
    }

    fn until(&self) -> Instant {
        self.began + Duration::from_micros(self.until_us.load(Relaxed))
    }
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
        let now = Instant::now();
        let (dark, mut dice) = (Dark::new(now), ChaCha8Rng::seed_from_u64(habits.seed ^ 0xda4c));
        let is_bad = world.options.network.is_some_and(|it| dice.random_bool(it.share));
        let link = Link::new(target(&world, mind.principal(), n, is_bad, dark.clone()), habits);
        let cuts = world.cuts();
        let wants = (mind.due().unwrap_or(now), Op::Welcome);
        Self {
            world,
            mind,
            link,
            trace: ClientTrace::default(),
            out: Out::new(now),
            said: Vec::new(),
            present: None,
            cuts,
            dice,
            is_errand_said: false,
            dark,
            light_at: None,
            heard_at: now,
            wants,
            tried_at: now,
            is_cut: false,
            drops_at: None,
            is_bad,
            owes: None,
            lost_at: now,
            is_roused: false,
        }
    }

    /// Lives until its mind is done or everybody goes home.
    pub(super) async fn live(mut self, home: CancellationToken) {
        loop {
            let now = Instant::now();
            if self.present.is_some() {
                let due = self.mind.wake_at();
                // Whoever is back and has nothing to do owes nothing: what it does later is due then.
                let owed = self.owes.take();
                if due <= now {
                    let due = owed.map_or(due, |owed| owed.min(due));
                    // That we sleep a little longer than we must is nobody's fault, nor is a tunnel.
                    self.out.due = (due + LATE).max(self.dark.until()).min(now);
                    self.mind.wake(now, &mut self.out);
                }
                self.flush(now);
            }
            // Whoever puts the phone away hears first what came of what it said.
            if self.mind.is_done() && self.said.is_empty() {
                break;
            }
            let wake_at = self.mind.wake_at() + LATE;
            tokio::select! {
                event = self.link.next() => match event {
                    Some(event) => {
                        let now = Instant::now();
                        self.out.due = now;
                        self.hear(event, now);
                    }
                    None => {
                        tracing::warn!("a phone is closed for good");
                        break;
                    }
                },
                () = sleep_until(wake_at.into()), if self.present.is_some() || !self.is_roused => {
                    if self.present.is_none() {
                        self.is_roused = true;
                        self.link.rouse();
                    }
                }
                () = until(self.light_at) => {
                    self.light_at = None;
                    self.link.retry_now();
                }
                () = until(self.drops_at) => {
                    self.drops_at = None;
                    self.go_dark(Instant::now(), Op::Welcome);
                }
                Ok(()) = self.cuts.changed() => self.cut(Instant::now()),
                () = home.cancelled() => break,
            }
        }
        self.withdraw(Instant::now());
        let Self { link, present, .. } = self;
        drop(present);
        link.leave().await;
    }

    /// Whoever has no network when everybody goes home could not say what it wanted, or not hear what came of it: no node
    /// is to blame, but for what was said long before that.
    fn withdraw(&self, now: Instant) {
        if now >= self.dark.until() {
            return;
        }
        let errand = self.mind.due().filter(|_| !self.is_errand_said);
        let said = self.said.iter().filter(|said| !said.is_overdue()).map(|said| said.due);
        let mut meter = self.world.meter();
        said.chain(errand).for_each(|due| meter.withdrawn(due));
    }

    /// Is cut off with others, or not.
    fn cut(&mut self, now: Instant) {
        let Some(Cut { share, dark, .. }) = *self.cuts.borrow_and_update() else { return };
        if self.present.is_some() && self.dice.random_bool(share) {
            self.go_dark(now + dark, Op::Back);
        }
    }

    /// A bad network loses connections from time to time.
    fn plan_drop(&mut self, now: Instant) {
        let network = self.world.options.network.filter(|_| self.is_bad);
        let after = network.and_then(|it| it.drops_after(self.dice.random()));
        self.drops_at = after.map(|after| now + after);
    }

    /// Has no network from now until then.
    fn go_dark(&mut self, until: Instant, why: Op) {
        let (now, lit_since) = (Instant::now(), self.dark.until());
        // It may have none already.
        let lasting = until.saturating_duration_since(now.max(lit_since));
        self.said.iter_mut().for_each(|said| said.go_dark(lasting, lit_since, now));
        self.dark.extend(until);
        self.is_cut = true;
        self.wants = (self.dark.until(), why);
        self.link.break_off();
    }

    /// Says what there is to say.
    fn flush(&mut self, now: Instant) {
        // Positions before commands: "I am there" must not overtake where one is.
        for frame in self.out.frames.drain(..) {
            self.link.say(frame);
        }
        if let Some(position) = self.out.position.take() {
            self.world.counts.positions.fetch_add(1, Relaxed);
            self.link.position(position);
        }
        for (said, wish) in self.out.commands.drain(..) {
            if !said.is_counted {
                self.world.meter().wanted(said.due);
            }
            let id = said.id;
            self.is_errand_said |= said.is_counted;
            self.said.push(said);
            if let Err(error) = self.link.command(id, wish) {
                tracing::error!(%error, %id, "a command cannot be said");
                // It was wanted, and nobody waits for its answer.
                self.said.retain(|said| said.id != id);
            }
        }
        if let Some(lasting) = self.out.dark.take() {
            self.go_dark(now + lasting, Op::Welcome);
            self.light_at = (!lasting.is_zero()).then(|| now + lasting);
        }
    }

    fn hear(&mut self, event: Event, now: Instant) {
        let heard_at = self.heard_at;
        if !matches!(event, Event::State(_) | Event::Asked { .. }) {
            self.heard_at = now;
        }
        match event {
            Event::State(State::Waiting { .. }) => {
                self.drops_at = None;
                if self.present.take().is_some() {
                    (self.lost_at, self.is_roused) = (now, false);
                    self.world.counts.reconnects.fetch_add(1, Relaxed);
                    if self.is_cut {
                        self.world.counts.cut.fetch_add(1, Relaxed);
                    } else {
                        self.wants = (now, Op::Welcome);
                        self.owes = Some(self.mind.wake_at().max(now));
                    }
                    // A connection that fell silent was lost when it did; one that we cut, when we did.
                    self.trace.lost(if self.is_cut { now } else { heard_at }, now);
                    self.mind.lost(now);
                }
            }
            Event::State(State::Connecting) => self.tried_at = now,
            Event::State(State::Open | State::Closed(_)) => {}
            Event::Welcome { principal, resumed } => {
                if resumed {
                    self.world.counts.resumes.fetch_add(1, Relaxed);
                    self.trace.resumed(now);
                } else {
                    self.trace.reconnected();
                }
                let away_ms = now.duration_since(self.lost_at).as_millis();
                tracing::debug!(%principal, resumed, away_ms, self.is_cut, "in");
                let (due, op) = self.wants;
                self.world.welcomed(op, due, self.tried_at, now);
                (self.is_cut, self.light_at) = (false, None);
                self.plan_drop(now);
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
                if let Some(said) = self.said.iter_mut().find(|said| said.id == id) {
                    // What was said only after the dark has not waited for it since.
                    said.at.get_or_insert(now.checked_sub(said.dark).unwrap_or(now));
                }
                if n > 1 {
                    self.world.counts.resends.fetch_add(1, Relaxed);
                    self.world.meter().resent();
                }
            }
            // "Ask again" is no answer yet, so it cannot contradict one.
            Event::Later { .. } => {
                self.count_frame();
                self.world.meter().put_off();
            }
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
                self.measure(id, since, &outcome, now);
                let answer = Answer { id, wish, sent_at: since, outcome };
                self.mind.answered(answer, now, &mut self.out);
            }
        }
    }

    /// Measures how long a command took, counted in both ways.
    fn measure(&mut self, id: CommandId, since: Instant, outcome: &Outcome, now: Instant) {
        let Some(n) = self.said.iter().position(|said| said.id == id) else { return };
        let Said { op, due, at, dark, .. } = self.said.swap_remove(n);
        let said = at.unwrap_or(since);
        let refused = match outcome {
            Outcome::Ok(_) => None,
            Outcome::Refused(refused) => Some(refused.code),
        };
        self.world.answered(op, [due, said, now.checked_sub(dark).unwrap_or(now)], refused);
        // Said before the dark and after it, perhaps: nobody knows which of them its rider was shown.
        if let (Op::Step, Outcome::Ok(done)) = (op, outcome)
            && dark.is_zero()
            && let Some(job) = checker::job_of(&done.actor)
        {
            self.world.stepped(job, done.version, [due, said]);
        }
    }

    fn count_frame(&self) {
        self.world.counts.frames.fetch_add(1, Relaxed);
    }

    fn saw(&mut self, frame: &ServerFrame, now: Instant) {
        let (world, as_of) = (&self.world, self.trace.as_of(now));
        match frame {
            ServerFrame::Order(view) => {
                world.report_broken(self.trace.saw(JobId::Order(view.id), view.version));
                world.checker().order_seen(view, as_of);
            }
            ServerFrame::Rescue(view) => {
                world.report_broken(self.trace.saw(JobId::Rescue(view.id), view.version));
                world.checker().rescue_seen(view, as_of);
            }
            ServerFrame::Driver(view) => world.checker().driver_seen(view, as_of),
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
            | ServerFrame::Run(_)
            | ServerFrame::Changed(_)
            | ServerFrame::Sighted { .. }
            | ServerFrame::Presence { .. }
            | ServerFrame::Near { .. }
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
            | Push::IncidentHeeded { .. }
            | Push::Message(_) => {}
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

/// Then, if ever.
async fn until(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at.into()).await,
        None => std::future::pending().await,
    }
}

/// Where the `n`th phone connects to, and from where; without a network, nowhere.
fn target(
    world: &Arc<World>,
    principal: Principal,
    n: usize,
    is_bad: bool,
    dark: Dark,
) -> outrider_client::Target {
    let tokens = Arc::clone(&world.target.tokens);
    let tokens = move || {
        let tokens = Arc::clone(&tokens);
        async move {
            let token = tokens.token(principal).await;
            token.map_err(|NoToken(why)| outrider_client::NoToken(why))
        }
    };
    let urls: Vec<Address> = world.target.nodes.iter().map(|node| node.url.clone()).collect();
    let mut target = outrider_client::Target::new(urls, tokens);
    let from = world.target.source(n, world.options.sources);
    let world = Arc::clone(world);
    target.dial = Arc::new(move |url: &Address| {
        let node = world.target.nodes.iter().position(|node| node.url == *url);
        let to = node.and_then(|node| world.way_to(node, is_bad));
        let is_dark = Instant::now() < dark.until();
        let dialling = async move {
            let nowhere = || io::Error::from(io::ErrorKind::NetworkUnreachable);
            let to = to.filter(|_| !is_dark).ok_or_else(nowhere)?;
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

    fn count(&self) -> &AtomicU64 {
        let counts = &self.world.counts;
        if self.is_driver { &counts.drivers } else { &counts.riders }
    }
}

impl Drop for Present {
    fn drop(&mut self) {
        self.count().fetch_sub(1, Relaxed);
    }
}

/// A position as a phone reports it, which is wrong by so many metres to the east and to the north. The speed is the
/// city's: no speedometer shows more, however quick life is.
pub(super) fn position(fix: crate::city::Fix, wrong_m: [f64; 2]) -> Position {
    let at: Point = fix.at.offset_m(wrong_m[0], wrong_m[1]);
    Position {
        at,
        sampled_at: clock::now(),
        heading_deg: Some(fix.heading_deg),
        speed_mps: Some(fix.speed_mps),
        accuracy_m: Some(8.0_f64.max(wrong_m[0].hypot(wrong_m[1])) as f32),
    }
}

#[cfg(test)]
mod tests;
