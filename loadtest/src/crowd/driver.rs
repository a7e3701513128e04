//! Someone who performs: waits where people ask, decides on offers, drives, arrives, finishes.
//!
//! A driver knows its jobs from what it is shown and nothing else, so after a lost connection, or a
//! node that came back from its journal, it goes on from wherever its jobs are.

use super::{
    client::{Answer, Mind, Out, position},
    rider::topic,
    shift,
    world::World,
};
use crate::city::{Fix, Route};
use protocol::{
    Code, CommandId, DriverId, DriverStatus, FulfilmentStatus, JobId, OfferId, OrderStatus, Point,
    Principal, RescueStatus,
    frame::{ClientFrame, Outcome, Push, ServerFrame},
    view::{DriverView, Offer, OrderView, RescueView},
    work::{
        DriverAction, DutyWish, Issue, OrderAction, OrderKind, Proof, ProofKind, RescueAction,
        Vehicle, VehicleKind, Wish, feature,
    },
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Nearer than this, one is there, in metres.
const THERE_M: f64 = 15.0;
/// A parked driver says where it is this often.
const PARKED_EVERY: Duration = Duration::from_secs(12);
/// How long to wait for the view of a job before asking for it.
const VIEW_MAX: Duration = Duration::from_secs(3);
/// A position takes the longer way to a job: it is sent this long before a command that needs it.
const SETTLE: Duration = Duration::from_millis(if cfg!(test) { 30 } else { 300 });
/// How long after "too far" to try again.
const NUDGE: Duration = Duration::from_millis(700);
/// With less than this share of its charge, a phone saves what is left.
const SAVES_BELOW: f64 = 0.2;
/// A step refused this often is given up with its job.
const REFUSALS_MAX: u32 = 12;

/// What a driver does next for a job.
#[derive(Debug, Clone, PartialEq)]
enum Step {
    /// Nothing: somebody else's move.
    Wait,
    /// Go there first, then say this, after having stayed for so many city seconds.
    At { place: Point, stay_s: f64, wish: Wish },
    /// Say this, wherever one is.
    Say(Wish),
}

/// What a driver knows of one of its jobs.
#[derive(Debug)]
struct Task {
    job: JobId,
    known: Known,
    /// Nothing is done before the view has this version: the last command made it so.
    needs_version: u64,
    /// The command on its way.
    said: Option<CommandId>,
    /// When the driver came to where the next step is.
    there_since: Option<Instant>,
    /// Not before this.
    not_before: Instant,
    /// When its view was last seen or asked for.
    looked_at: Instant,
    n_refused: u32,
    has_departed: bool,
    /// Whether the driver's own view listed it.
    is_listed: bool,
    since: Instant,
}

#[derive(Debug)]
enum Known {
    Nothing,
    Order(Box<OrderView>),
    Rescue(Box<RescueView>),
}

impl Task {
    fn new(job: JobId, now: Instant) -> Self {
        Self {
            job,
            known: Known::Nothing,
            needs_version: 0,
            said: None,
            there_since: None,
            not_before: now,
            looked_at: now,
            n_refused: 0,
            has_departed: false,
            is_listed: false,
            since: now,
        }
    }

    fn version(&self) -> u64 {
        match &self.known {
            Known::Nothing => 0,
            Known::Order(view) => view.version,
            Known::Rescue(view) => view.version,
        }
    }

    fn has_view(&self) -> bool {
        !matches!(self.known, Known::Nothing) && self.version() >= self.needs_version
    }

    /// The next step, as the views say.
    fn step(&self, code: Option<String>, proofs: Vec<Proof>) -> Step {
        match &self.known {
            Known::Nothing => Step::Wait,
            Known::Order(view) => order_step(view, self.has_departed, code, proofs),
            Known::Rescue(view) => rescue_step(view, self.has_departed, proofs),
        }
    }
}

fn order_step(
    view: &OrderView,
    has_departed: bool,
    code: Option<String>,
    proofs: Vec<Proof>,
) -> Step {
    let id = view.id;
    let wish = |action| Wish::Order { id, action };
    let (Some(first), Some(last)) = (view.stops.first(), view.stops.last()) else {
        return Step::Wait;
    };
    let (pickup, dropoff) = (first.at, last.at);
    let done = usize::from(view.stops_done).max(1);
    // The next stop that is not the last.
    let via = view.stops[..view.stops.len() - 1].get(done).map(|stop| stop.at);
    let at = |place, stay_s, action| Step::At { place, stay_s, wish: wish(action) };
    match view.status {
        OrderStatus::Assigned if !has_departed => Step::Say(wish(OrderAction::Depart {})),
        OrderStatus::Assigned | OrderStatus::EnRoutePickup => {
            at(pickup, 0.0, OrderAction::Arrive {})
        }
        OrderStatus::AtPickup => match view.kind {
            OrderKind::Ride => at(pickup, 25.0, OrderAction::Start { code }),
            OrderKind::Commerce if !is_ready(view) => Step::Wait,
            OrderKind::Delivery | OrderKind::Commerce => {
                at(pickup, 40.0, OrderAction::PickUp { proofs })
            }
        },
        OrderStatus::PickedUp => Step::Say(wish(OrderAction::Depart {})),
        OrderStatus::InProgress | OrderStatus::InTransit => match (via, view.kind) {
            (Some(place), _) => at(place, 0.0, OrderAction::ArriveStop {}),
            (None, OrderKind::Ride) => {
                at(dropoff, 15.0, OrderAction::Finish { code, early_reason: None })
            }
            (None, OrderKind::Delivery | OrderKind::Commerce) => {
                at(dropoff, 0.0, OrderAction::Arrive {})
            }
        },
        OrderStatus::AtStop => {
            at(via.unwrap_or(dropoff), 30.0, OrderAction::CompleteStop { proofs })
        }
        OrderStatus::AtDropoff => at(dropoff, 30.0, OrderAction::Deliver { proofs, cash: None }),
        OrderStatus::FailedAttempt => Step::Say(wish(OrderAction::Retry {})),
        OrderStatus::Returning => at(pickup, 30.0, OrderAction::Returned { proofs }),
        OrderStatus::AwaitingPayment
        | OrderStatus::Scheduled
        | OrderStatus::Waiting
        | OrderStatus::Searching
        | OrderStatus::JobFeed
        | OrderStatus::Completed
        | OrderStatus::Delivered
        | OrderStatus::Returned
        | OrderStatus::NoDriverFound
        | OrderStatus::NoShow
        | OrderStatus::CancelledByRider
        | OrderStatus::CancelledByDriver
        | OrderStatus::CancelledByMerchant
        | OrderStatus::CancelledBySystem
        | OrderStatus::CancelledByAdmin
        | OrderStatus::CancelledSafety
        | OrderStatus::Failed => Step::Wait,
    }
}

/// Has the shop packed it?
fn is_ready(view: &OrderView) -> bool {
    match view.fulfilment {
        FulfilmentStatus::Ready | FulfilmentStatus::HandedOver => true,
        FulfilmentStatus::None
        | FulfilmentStatus::AwaitingMerchant
        | FulfilmentStatus::Confirmed
        | FulfilmentStatus::Preparing
        | FulfilmentStatus::Rejected => false,
    }
}

fn rescue_step(view: &RescueView, has_departed: bool, proofs: Vec<Proof>) -> Step {
    let id = view.id;
    let wish = |action| Wish::Rescue { id, action };
    let scene = view.at.at;
    let dropoff = view.dropoff.as_ref().map_or(scene, |place| place.at);
    let at = |place, stay_s, action| Step::At { place, stay_s, wish: wish(action) };
    match view.status {
        RescueStatus::Accepted if !has_departed => Step::Say(wish(RescueAction::Depart {})),
        RescueStatus::Accepted | RescueStatus::EnRoute => at(scene, 0.0, RescueAction::Arrive {}),
        RescueStatus::OnScene => match is_towed(view.issue) {
            true => at(scene, 90.0, RescueAction::Load { dropoff: view.dropoff.clone(), proofs }),
            false => at(scene, 60.0, RescueAction::BeginAssist {}),
        },
        RescueStatus::Assisting => at(scene, 150.0, RescueAction::Fixed {}),
        RescueStatus::Loading => at(scene, 120.0, RescueAction::Depart {}),
        RescueStatus::InTransit => at(dropoff, 0.0, RescueAction::Arrive {}),
        RescueStatus::AtDropoff => at(dropoff, 60.0, RescueAction::Unload { proofs }),
        RescueStatus::Requested
        | RescueStatus::Searching
        | RescueStatus::Escalated
        | RescueStatus::Completed
        | RescueStatus::RejectedOutOfArea
        | RescueStatus::NoDriver
        | RescueStatus::CancelledByRider
        | RescueStatus::CancelledByAdmin
        | RescueStatus::NoShow
        | RescueStatus::CancelledSafety
        | RescueStatus::Failed => Step::Wait,
    }
}

/// Is this beyond repair by the road?
fn is_towed(issue: Issue) -> bool {
    match issue {
        Issue::Mechanical | Issue::Accident | Issue::Stuck => true,
        Issue::FlatTyre | Issue::BatteryDead | Issue::OutOfFuel | Issue::LockedOut => false,
    }
}

/// An offer being looked at, and what will be said.
#[derive(Debug)]
struct Considered {
    offer: OfferId,
    at: Instant,
    is_yes: bool,
}

/// A route being driven.
#[derive(Debug)]
struct Motion {
    route: Route,
    began: Instant,
    /// For a job, or just so.
    goal: Option<Point>,
}

/// A driver.
pub(super) struct Driver {
    world: Arc<World>,
    id: DriverId,
    vehicle: Vehicle,
    rng: ChaCha8Rng,
    wants_work: bool,
    /// When it will next want the opposite.
    duty_change_at: Instant,
    status: Option<DriverStatus>,
    duty_said: Option<(CommandId, Instant)>,
    duty_say_at: Instant,
    has_begun: bool,
    here: Fix,
    motion: Option<Motion>,
    /// A parked driver starts to wander then.
    wander_at: Instant,
    tasks: Vec<Task>,
    considered: Vec<Considered>,
    position_at: Instant,
    told_at: Option<Instant>,
    drop_at: Option<Instant>,
    /// When the phone's battery is flat, if ever.
    flat_at: Option<Instant>,
    /// When the shift ends, if it does not drive all day.
    leaves_at: Option<Instant>,
    has_left: bool,
    wake_at: Instant,
}

impl Driver {
    pub(super) fn new(world: Arc<World>, n: usize) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(world.options.seed ^ 0xd01 ^ (n as u64) << 16);
        let now = Instant::now();
        let near = world.hot_spot(&mut rng);
        let at = world
            .city
            .nearest(near)
            .filter(|(_, far_m)| *far_m < 500.0)
            .and_then(|(node, _)| world.city.node(node as usize))
            .unwrap_or(near);
        let vehicle = vehicle(&mut rng, world.options.mix.rescues);
        let habits = world.options.habits;
        let duty_s = exponential(&mut rng, habits.duty_s);
        let charge = rng.random_range(0.3..1.0);
        let flat_at = habits.battery.map(|it| now + world.real(it.lasts_s * charge));
        let second = world.second_of_day(now);
        let leaves_at = shift::of(&world.options.shifts, n)
            .map(|shift| now + world.real_of_day(shift.left_s(second)));
        let mut driver = Self {
            id: DriverId::nth(world.options.seed << 32 | n as u64),
            vehicle,
            wants_work: true,
            duty_change_at: now + world.real(duty_s),
            status: None,
            duty_said: None,
            duty_say_at: now,
            has_begun: false,
            here: Fix { at, heading_deg: 0.0, speed_mps: 0.0 },
            motion: None,
            wander_at: now + world.real(rng.random_range(0.0..120.0)),
            tasks: Vec::new(),
            considered: Vec::new(),
            position_at: now,
            told_at: None,
            drop_at: None,
            flat_at,
            leaves_at,
            has_left: false,
            wake_at: now,
            world,
            rng,
        };
        driver.plan_drop(now);
        driver
    }

    fn plan_drop(&mut self, now: Instant) {
        let mean_s = self.world.options.habits.drop_s;
        self.drop_at =
            (mean_s > 0.0).then(|| now + self.world.real(exponential(&mut self.rng, mean_s)));
    }

    fn task(&mut self, job: JobId) -> Option<&mut Task> {
        self.tasks.iter_mut().find(|task| task.job == job)
    }

    fn take_on(&mut self, job: JobId, now: Instant) -> &mut Task {
        let place = match self.tasks.iter().position(|task| task.job == job) {
            Some(place) => place,
            None => {
                self.tasks.push(Task::new(job, now));
                self.tasks.len() - 1
            }
        };
        &mut self.tasks[place]
    }

    fn let_go(&mut self, job: JobId) {
        let n_before = self.tasks.len();
        self.tasks.retain(|task| task.job != job);
        self.world.checker().released(job, self.id);
        if self.tasks.len() < n_before {
            self.motion = None;
        }
    }

    fn saw_self(&mut self, view: &DriverView, now: Instant) {
        if view.id != self.id {
            return;
        }
        self.status = Some(view.status);
        for job in &view.jobs {
            self.take_on(*job, now).is_listed = true;
        }
        // A job that was just taken on may not be in a view that was on its way.
        let gone: Vec<JobId> = self
            .tasks
            .iter()
            .filter(|task| !view.jobs.contains(&task.job))
            .filter(|task| task.is_listed || now.duration_since(task.since) > VIEW_MAX * 2)
            .map(|task| task.job)
            .collect();
        for job in gone {
            self.let_go(job);
        }
    }

    fn saw_job(
        &mut self,
        job: JobId,
        driver: Option<DriverId>,
        is_over: bool,
        known: Known,
        now: Instant,
    ) {
        if is_over || driver != Some(self.id) {
            // Before one's own assignment is in the view, nobody else is.
            let is_lost = is_over || driver.is_some();
            if is_lost {
                self.let_go(job);
            }
            return;
        }
        let Some(task) = self.task(job) else { return };
        let is_newer = match &known {
            Known::Nothing => false,
            Known::Order(view) => view.version >= task.version(),
            Known::Rescue(view) => view.version >= task.version(),
        };
        if is_newer {
            let is_new_stage = match (&task.known, &known) {
                (Known::Order(old), Known::Order(new)) => old.status != new.status,
                (Known::Rescue(old), Known::Rescue(new)) => old.status != new.status,
                (Known::Nothing | Known::Order(_) | Known::Rescue(_), _) => true,
            };
            if is_new_stage {
                task.there_since = None;
                task.n_refused = 0;
            }
            task.known = known;
            task.looked_at = now;
        }
    }

    fn offered(&mut self, offer: &Offer, now: Instant) {
        self.world.offered(offer.job, now);
        if self.considered.iter().any(|considered| considered.offer == offer.id) {
            return;
        }
        let habits = self.world.options.habits;
        let dice = self.rng.random::<f64>();
        if !self.wants_work || dice >= habits.accept + habits.decline {
            return;
        }
        let think_s = self.rng.random_range(1.0..habits.think_s_max.max(1.1));
        // However quick life is, a thumb takes a moment, and an offer does not wait for ever.
        let think =
            self.world.real(think_s).clamp(Duration::from_millis(120), Duration::from_secs(10));
        let is_yes = dice < habits.accept;
        self.considered.push(Considered { offer: offer.id, at: now + think, is_yes });
    }

    fn drive(&mut self, now: Instant) {
        let Some(motion) = &self.motion else { return };
        let after_s = self.world.city_s(motion.began, now);
        if let Some(fix) = motion.route.fix(after_s) {
            self.here = fix;
        }
        if after_s >= motion.route.seconds() {
            self.motion = None;
            let rest_s = self.rng.random_range(40.0..300.0);
            self.wander_at = now + self.world.real(rest_s);
        }
    }

    fn set_off(&mut self, to: Point, now: Instant) {
        if self.motion.as_ref().is_some_and(|motion| motion.goal == Some(to)) {
            return;
        }
        let route = self.world.city.route(self.here.at, to);
        self.motion = Some(Motion { route, began: now, goal: Some(to) });
    }

    /// Works on the first job that can be worked on.
    fn work(&mut self, now: Instant, out: &mut Out) -> Instant {
        let later = now + Duration::from_secs(5);
        let mut wake_at = later;
        for n in 0..self.tasks.len() {
            let task = &mut self.tasks[n];
            if task.said.is_some() {
                return later;
            }
            if !task.has_view() {
                if now.duration_since(task.looked_at) > VIEW_MAX {
                    task.looked_at = now;
                    out.frame(ClientFrame::Subscribe(topic(task.job)));
                }
                wake_at = wake_at.min(task.looked_at + VIEW_MAX + Duration::from_millis(1));
                continue;
            }
            if now < task.not_before {
                return task.not_before;
            }
            let job = task.job;
            let words = self.world.heard(job);
            let code = words.code.clone();
            let proofs = proofs(self.tasks[n].n_refused, code.clone());
            match self.tasks[n].step(code, proofs) {
                Step::Wait => {
                    // It may be over, and nobody said so.
                    let task = &mut self.tasks[n];
                    if now.duration_since(task.looked_at) > VIEW_MAX * 5 {
                        task.looked_at = now;
                        out.frame(ClientFrame::Subscribe(topic(job)));
                    }
                    wake_at = wake_at.min(task.looked_at + VIEW_MAX * 5 + Duration::from_millis(1));
                }
                Step::Say(wish) => {
                    self.tasks[n].said = Some(self.tell(wish, now, out));
                    return later;
                }
                Step::At { place, stay_s, wish } => {
                    let is_there =
                        self.motion.is_none() && self.here.at.distance_m(place) < THERE_M;
                    if !is_there {
                        self.set_off(place, now);
                        return later;
                    }
                    if self.tasks[n].there_since.is_none() {
                        self.report_position(now, out);
                    }
                    let since = *self.tasks[n].there_since.get_or_insert(now);
                    let ready_at = since + self.world.real(stay_s).max(SETTLE);
                    if now < ready_at {
                        return ready_at;
                    }
                    self.tasks[n].said = Some(self.tell(wish, now, out));
                    return later;
                }
            }
        }
        wake_at
    }

    /// Says where one is, then the command: the fence is checked against the position.
    fn tell(&mut self, wish: Wish, now: Instant, out: &mut Out) -> CommandId {
        self.report_position(now, out);
        out.command(wish)
    }

    fn report_position(&mut self, now: Instant, out: &mut Out) {
        // A phone's clock counts milliseconds, and of two positions in one the second is none.
        let is_told = self.told_at.is_some_and(|at| now < at + Duration::from_millis(2));
        if is_told {
            return;
        }
        self.told_at = Some(now);
        let noise_m = self.world.options.habits.gps_noise_m;
        // The sum of three dice is near enough to a bell, and as wide as one of these.
        let mut bell = || (0..3).map(|_| self.rng.random_range(-1.0..1.0)).sum::<f64>() * noise_m;
        let wrong_m = if noise_m > 0.0 { [bell(), bell()] } else { [0.0; 2] };
        out.position(position(self.here, wrong_m));
        let is_moving = self.motion.is_some();
        let every = if is_moving { self.moving_every(now) } else { PARKED_EVERY };
        self.position_at = now + every.mul_f64(self.rng.random_range(0.8..1.2));
    }

    /// How often it says where it is on its way: half as often, when its battery is nearly flat.
    fn moving_every(&self, now: Instant) -> Duration {
        let every = self.world.options.position_every;
        let is_low = |lasts_s: f64, flat_at: Instant| {
            flat_at.saturating_duration_since(now) < self.world.real(lasts_s * SAVES_BELOW)
        };
        match (self.world.options.habits.battery, self.flat_at) {
            (Some(battery), Some(flat_at)) if is_low(battery.lasts_s, flat_at) => every * 2,
            (_, Some(_) | None) => every,
        }
    }

    /// Wanders, parks, or goes where people ask.
    fn idle(&mut self, now: Instant) -> Instant {
        if self.motion.is_some() || !self.wants_work {
            return now + Duration::from_secs(5);
        }
        if now < self.wander_at {
            return self.wander_at;
        }
        let spot = self.world.hot_spot(&mut self.rng);
        let is_near = self.here.at.distance_m(spot) < 2_500.0;
        let route = if is_near && self.rng.random_bool(0.4) {
            self.world.city.route(self.here.at, spot)
        } else {
            let for_s = self.rng.random_range(60.0..240.0);
            self.world.city.wander(self.here.at, for_s, &mut self.rng)
        };
        self.motion = Some(Motion { route, began: now, goal: None });
        now
    }

    /// Goes on or off duty as it wants and as the node does not know yet.
    fn mind_duty(&mut self, now: Instant, out: &mut Out) -> Instant {
        let is_free = self.tasks.is_empty() && self.considered.is_empty();
        if is_free && self.leaves_at.is_some_and(|at| now >= at) {
            if self.wants_work {
                (self.wants_work, self.duty_say_at) = (false, now);
            }
            self.has_left = matches!(self.status, Some(DriverStatus::Offline));
        } else if now >= self.duty_change_at && is_free {
            self.wants_work = !self.wants_work;
            self.duty_say_at = now;
            let habits = self.world.options.habits;
            let mean_s = if self.wants_work { habits.duty_s } else { habits.rest_s };
            self.duty_change_at =
                now + self.world.real(exponential(&mut self.rng, mean_s).max(60.0));
        }
        let is_working = match self.status {
            None | Some(DriverStatus::Offline | DriverStatus::OnBreak) => false,
            Some(
                DriverStatus::Blocked
                | DriverStatus::Unreachable
                | DriverStatus::Offered
                | DriverStatus::Busy
                | DriverStatus::PartlyBusy
                | DriverStatus::Available,
            ) => true,
        };
        let is_known = self.status.is_some() || self.wants_work;
        if is_working == self.wants_work || !is_known || self.duty_said.is_some() {
            return self.duty_change_at.max(now + Duration::from_secs(1));
        }
        if now < self.duty_say_at {
            return self.duty_say_at;
        }
        let action = match self.wants_work {
            true => {
                DriverAction::SetDuty { duty: DutyWish::On, vehicle: Some(self.vehicle.clone()) }
            }
            false => DriverAction::SetDuty { duty: DutyWish::Off, vehicle: None },
        };
        let id = self.tell(Wish::Driver { id: None, action }, now, out);
        self.duty_said = Some((id, now));
        self.duty_say_at = now + Duration::from_secs(10);
        self.duty_say_at
    }

    fn decide_offers(&mut self, now: Instant, out: &mut Out) -> Instant {
        let mut next = now + Duration::from_secs(60);
        self.considered.retain(|considered| {
            if considered.at > now {
                next = next.min(considered.at);
                return true;
            }
            let offer = considered.offer;
            let action = match considered.is_yes {
                true => DriverAction::AcceptOffer { offer },
                false => DriverAction::DeclineOffer { offer },
            };
            out.command(Wish::Driver { id: None, action });
            false
        });
        next
    }

    fn refused(&mut self, n: usize, code: Code, now: Instant, out: &mut Out) {
        let task = &mut self.tasks[n];
        task.n_refused += 1;
        let job = task.job;
        let wait = |task: &mut Task, pause| task.not_before = now + pause;
        match code {
            Code::TooFar => {
                wait(task, NUDGE);
                self.report_position(now, out);
            }
            Code::TooEarly => wait(task, Duration::from_secs(2)),
            Code::ProofMissing | Code::WrongCode => wait(task, NUDGE),
            Code::NotFound | Code::Forbidden | Code::Unauthenticated => {
                self.let_go(job);
                return;
            }
            // What it knows is old, then; the version it needs is one it does not have.
            Code::IllegalTransition | Code::Taken | Code::TooLate | Code::OfferGone => {
                wait(task, NUDGE);
                task.looked_at = now;
                out.frame(ClientFrame::Subscribe(topic(job)));
            }
            Code::Malformed
            | Code::Invalid
            | Code::TooLarge
            | Code::NotEligible
            | Code::InsufficientFunds
            | Code::OutOfArea
            | Code::ZonePaused
            | Code::QuoteInvalid
            | Code::CommandExpired
            | Code::CommandIdReused
            | Code::Busy
            | Code::RateLimited
            | Code::Quarantined
            | Code::Unavailable
            | Code::Draining
            | Code::Internal => wait(task, Duration::from_secs(2)),
        }
        if self.tasks[n].n_refused > REFUSALS_MAX {
            self.tasks[n].n_refused = 0;
            self.tasks[n].not_before = now + Duration::from_secs(10);
            let reason = format!("cannot go on: {code}");
            let wish = match job {
                JobId::Order(id) => Wish::Order { id, action: OrderAction::Cancel { reason } },
                JobId::Rescue(id) => Wish::Rescue { id, action: RescueAction::Cancel { reason } },
            };
            out.command(wish);
        }
    }
}

/// What a driver can show: a photo, and after a refusal everything else as well.
fn proofs(n_refused: u32, code: Option<String>) -> Vec<Proof> {
    let proof = |kind, value: &str| Proof { kind, value: value.to_owned() };
    let mut proofs = vec![proof(ProofKind::Photo, "photo-of-it")];
    if n_refused > 0 {
        let code = code.unwrap_or_else(|| "0000".to_owned());
        proofs.extend([
            proof(ProofKind::Signature, "signed"),
            proof(ProofKind::Pin, &code),
            proof(ProofKind::Qr, &code),
            proof(ProofKind::Barcode, &code),
            proof(ProofKind::IdDocument, "seen"),
            proof(ProofKind::Quantity, "1"),
        ]);
    }
    proofs
}

/// Mostly motorcycles and cars; enough tow trucks for the share of rescues.
fn vehicle(rng: &mut impl Rng, rescues: f64) -> Vehicle {
    let n_trucks = if rescues > 0.0 { (rescues * 2.5).clamp(0.06, 0.5) } else { 0.0 };
    let dice = rng.random::<f64>();
    let (kind, capacity_g) = if dice < n_trucks {
        (VehicleKind::TowTruck, 3_500_000)
    } else {
        match (dice - n_trucks) / (1.0 - n_trucks) {
            moto if moto < 0.55 => (VehicleKind::Moto, 25_000),
            car if car < 0.94 => (VehicleKind::Car, 300_000),
            _ => (VehicleKind::Van, 1_000_000),
        }
    };
    let skills: &[&str] = match kind {
        VehicleKind::TowTruck => &RESCUE_SKILLS,
        VehicleKind::Van => &VAN_FEATURES,
        VehicleKind::Foot | VehicleKind::Bicycle | VehicleKind::Moto | VehicleKind::Car => &[],
    };
    Vehicle { kind, capacity_g, skills: skills.iter().map(|&skill| skill.to_owned()).collect() }
}

/// Whatever a rescue may need, a tow truck can: what it takes to load something is a part of it.
const RESCUE_SKILLS: [&str; 6] = ["tyre", "jump_start", "fuel", "locksmith", "repair", "winch"];
/// So that a van may carry a motorcycle away.
const VAN_FEATURES: [&str; 2] = [feature::RAMP, feature::TIE_DOWNS];

/// A time with this mean, as things that happen at random have it.
fn exponential(rng: &mut impl Rng, mean_s: f64) -> f64 {
    -(1.0 - rng.random::<f64>()).ln() * mean_s
}

impl Mind for Driver {
    fn principal(&self) -> Principal {
        Principal::Driver(self.id)
    }

    fn welcomed(&mut self, resumed: bool, now: Instant, out: &mut Out) {
        self.drive(now);
        self.report_position(now, out);
        if !resumed {
            // What was known may be old: the node shows the driver itself, and its jobs and offers, again.
            self.status = None;
            self.considered.clear();
        }
        self.duty_say_at = now + Duration::from_secs(2);
        if !std::mem::replace(&mut self.has_begun, true) {
            self.duty_say_at = now;
        }
        for task in &mut self.tasks {
            task.looked_at = now;
        }
        self.wake_at = now;
    }

    fn lost(&mut self, now: Instant) {
        self.world.checker().unreachable(self.id);
        self.plan_drop(now);
    }

    fn pushed(&mut self, push: Push, now: Instant) {
        match push {
            Push::Offer(offer) => self.offered(&offer, now),
            Push::OfferEnded { offer, .. } => {
                self.considered.retain(|considered| considered.offer != offer);
            }
            Push::Assigned { job } => {
                self.world.checker().assigned(job, self.id, now);
                self.take_on(job, now);
            }
            Push::Released { job, .. } => self.let_go(job),
            // Nobody in a crowd claims jobs.
            Push::ClaimLost { .. } => {}
            // Dispatchers hear of them.
            Push::Incident(_) | Push::IncidentHeeded { .. } | Push::Message(_) => {}
        }
        self.wake_at = now;
    }

    fn hear(&mut self, frame: ServerFrame, now: Instant, _out: &mut Out) {
        match frame {
            ServerFrame::Driver(view) => self.saw_self(&view, now),
            ServerFrame::Order(view) => {
                let is_over = OrderStatus::is_final(view.status);
                self.saw_job(JobId::Order(view.id), view.driver, is_over, Known::Order(view), now);
            }
            ServerFrame::Rescue(view) => {
                let is_over = RescueStatus::is_final(view.status);
                self.saw_job(
                    JobId::Rescue(view.id),
                    view.driver,
                    is_over,
                    Known::Rescue(view),
                    now,
                );
            }
            ServerFrame::Hello { .. }
            | ServerFrame::Welcome { .. }
            | ServerFrame::Heartbeat { .. }
            | ServerFrame::Result { .. }
            | ServerFrame::Push { .. }
            | ServerFrame::Refused(_)
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
        self.wake_at = now;
    }

    fn answered(&mut self, answer: Answer, now: Instant, out: &mut Out) {
        self.wake_at = now;
        if self.duty_said.is_some_and(|(id, _)| id == answer.id) {
            self.duty_said = None;
            if matches!(answer.outcome, Outcome::Ok(_)) && self.status.is_none() {
                let wanted = self.wants_work;
                self.status =
                    Some(if wanted { DriverStatus::Available } else { DriverStatus::Offline });
            }
            return;
        }
        let Some(n) = self.tasks.iter().position(|task| task.said == Some(answer.id)) else {
            return;
        };
        self.tasks[n].said = None;
        match &answer.outcome {
            Outcome::Ok(done) => {
                let job = self.tasks[n].job;
                self.world.checker().performed(job, self.id, done.version);
                let task = &mut self.tasks[n];
                task.needs_version = task.needs_version.max(done.version);
                task.n_refused = 0;
                task.looked_at = now;
                match &answer.wish {
                    Wish::Order { action: OrderAction::Depart {}, .. }
                    | Wish::Rescue { action: RescueAction::Depart {}, .. } => {
                        task.has_departed = true;
                    }
                    Wish::Rescue { action: RescueAction::Fixed {}, .. } => {
                        self.world.say(job, |words| words.is_fixed = true);
                        // Now it is the rider's word, or its silence.
                        task.not_before = now + Duration::from_secs(150);
                    }
                    Wish::PlaceOrder(_)
                    | Wish::Order { .. }
                    | Wish::RequestRescue(_)
                    | Wish::Rescue { .. }
                    | Wish::Rider { .. }
                    | Wish::Driver { .. }
                    | Wish::Sos(_)
                    | Wish::Incident { .. }
                    | Wish::Zone { .. }
                    | Wish::Run { .. } => {}
                }
            }
            Outcome::Refused(refused) => {
                // Whoever is refused to depart is on the way already, or need not say so.
                let is_departure = matches!(
                    &answer.wish,
                    Wish::Order { action: OrderAction::Depart {}, .. }
                        | Wish::Rescue { action: RescueAction::Depart {}, .. }
                );
                self.tasks[n].has_departed |= is_departure;
                self.refused(n, refused.code, now, out);
            }
        }
    }

    fn wake(&mut self, now: Instant, out: &mut Out) {
        if self.flat_at.is_some_and(|at| now >= at)
            && let Some(battery) = self.world.options.habits.battery
        {
            let away = self.world.real(battery.recharge_s);
            self.flat_at = Some(now + away + self.world.real(battery.lasts_s));
            out.go_dark(away);
            return;
        }
        if self.drop_at.is_some_and(|at| now >= at) {
            self.plan_drop(now);
            out.go_dark(self.world.real(self.world.options.habits.tunnel_s));
            return;
        }
        self.drive(now);
        let offers_at = self.decide_offers(now, out);
        let duty_at = self.mind_duty(now, out);
        let work_at = match self.tasks.is_empty() {
            true => self.idle(now),
            false => self.work(now, out),
        };
        if now >= self.position_at {
            self.report_position(now, out);
        }
        let mut wake_at = offers_at.min(duty_at).min(work_at).min(self.position_at);
        if let Some(leaves_at) = self.leaves_at.filter(|at| *at > now) {
            wake_at = wake_at.min(leaves_at);
        }
        if let Some(motion) = &self.motion {
            let is_for_job = motion.goal.is_some();
            let arrival = motion.began + self.world.real(motion.route.seconds());
            if is_for_job {
                wake_at = wake_at.min(arrival);
            }
            // A parked driver's interval is too long for one that has just set off.
            let soon = now + self.moving_every(now);
            self.position_at = self.position_at.min(soon);
            wake_at = wake_at.min(self.position_at);
        }
        self.wake_at = wake_at.max(now + Duration::from_millis(20));
    }

    fn wake_at(&self) -> Instant {
        let others = [self.drop_at, self.flat_at];
        others.into_iter().flatten().fold(self.wake_at, Instant::min)
    }

    /// Its shift is over, and the node knows.
    fn is_done(&self) -> bool {
        self.has_left
    }
}
