//! Someone who asks: one wish, a wait, perhaps a change of mind, a rating, and a last look.

use super::{
    client::{Answer, Mind, Out},
    world::World,
};
use crate::{
    checker::Broken,
    report::Ending,
    trips::{Trip, Want},
};
use protocol::{
    CommandId, JobId, OfferStatus, OrderStatus, Place, Principal, RescueStatus, RiderId,
    frame::{ClientFrame, Outcome, Push, ServerFrame, Topic},
    view::{OfferView, OrderView, RescueView},
    work::{
        Handoff, Needs, NewOrder, NewRescue, OrderAction, OrderKind, PaymentTiming, RescueAction,
        VehicleKind, Wish,
    },
};
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::{
    sync::Arc,
    time::{Duration, Instant},
};

/// Not having heard of its job for this long, a rider asks.
const SILENCE_MAX: Duration = Duration::from_secs(20);
/// So long an acknowledged change may take to be readable.
const VISIBLE_MAX: Duration = Duration::from_secs(if cfg!(test) { 2 } else { 10 });

/// Where a rider is in its one errand.
#[derive(Debug)]
enum Errand {
    /// Has not asked yet.
    New,
    /// Asked.
    Asked(CommandId),
    /// Is being served.
    Served(JobId),
    /// It is over; the rating is on its way.
    Rating(JobId, CommandId),
    /// Looks once more whether everything acknowledged is there.
    Looking { job: JobId, wanted: u64, until: Instant },
    /// Put the phone away.
    Done,
}

/// A rider.
pub(super) struct Rider {
    world: Arc<World>,
    id: RiderId,
    /// Its number in the crowd.
    n: usize,
    trip: Trip,
    /// When the schedule has it ask.
    due: Instant,
    rng: ChaCha8Rng,
    errand: Errand,
    /// When it changes its mind, if it will.
    cancel_at: Option<Instant>,
    gives_up_at: Instant,
    has_driver: bool,
    /// A cancellation is on its way, or was refused for good.
    has_cancelled: bool,
    confirmed: Option<CommandId>,
    is_assisting: bool,
    /// When it next looks at what the driver repairs.
    glance_at: Instant,
    heard_at: Instant,
    is_connected: bool,
}

impl Rider {
    pub(super) fn new(world: Arc<World>, n: usize, trip: Trip, due: Instant, seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let now = Instant::now();
        let habits = world.options.habits;
        let cancel_at = rng
            .random_bool(habits.cancel.clamp(0.0, 1.0))
            .then(|| now + world.real(rng.random_range(10.0..300.0)));
        let gives_up_at = now + world.real(habits.patience_s * rng.random_range(0.7..1.4));
        // Other seeds are other people.
        let id = RiderId::nth(world.options.seed << 32 | n as u64);
        Self {
            world,
            id,
            n,
            trip,
            due,
            rng,
            errand: Errand::New,
            cancel_at,
            gives_up_at,
            has_driver: false,
            has_cancelled: false,
            confirmed: None,
            is_assisting: false,
            glance_at: now,
            heard_at: now,
            is_connected: false,
        }
    }

    fn wish(&mut self) -> Wish {
        let (from, to) = (Place::from(self.trip.from), Place::from(self.trip.to));
        match self.trip.want {
            Want::Order(kind) => {
                let is_basket = kind == OrderKind::Commerce;
                let shop = is_basket.then(|| self.world.shop(self.world.shop_for(self.n)));
                Wish::PlaceOrder(Box::new(NewOrder {
                    kind,
                    stops: vec![from, to],
                    rider: None,
                    start_at: None,
                    payment: PaymentTiming::Cash,
                    needs: self.needs(kind),
                    quote: None,
                    merchant: shop,
                    handoff: Handoff::Driver,
                    driver: None,
                    policy: None,
                    pickup_proof: Vec::new(),
                    dropoff_proof: Vec::new(),
                    cash_on_delivery: None,
                    n_items: is_basket.then_some(3),
                    fleet: None,
                    exclusive: false,
                    via: None,
                }))
            }
            Want::Rescue(issue) => Wish::RequestRescue(Box::new(NewRescue {
                issue,
                at: from,
                accuracy_m: None,
                severity: None,
                dropoff: Some(to),
                rider: None,
                vehicle: Some(VehicleKind::Moto),
                bike: None,
                weight_g: 120_000,
                policy: None,
            })),
        }
    }

    fn needs(&mut self, kind: OrderKind) -> Needs {
        use VehicleKind::{Bicycle, Car, Moto, Van};
        match kind {
            OrderKind::Ride => Needs { vehicles: vec![Moto, Car], weight_g: 0, skills: Vec::new() },
            OrderKind::Delivery | OrderKind::Commerce => Needs {
                vehicles: vec![Bicycle, Moto, Car, Van],
                weight_g: self.rng.random_range(200..8_000),
                skills: Vec::new(),
            },
        }
    }

    fn job(&self) -> Option<JobId> {
        match self.errand {
            Errand::Served(job) | Errand::Rating(job, _) | Errand::Looking { job, .. } => Some(job),
            Errand::New | Errand::Asked(_) | Errand::Done => None,
        }
    }

    fn saw_order(&mut self, view: &OrderView, now: Instant, out: &mut Out) {
        let job = JobId::Order(view.id);
        if self.job() != Some(job) {
            return;
        }
        if let Some(code) = &view.code {
            self.world.say(job, |words| words.code = Some(code.clone()));
        }
        let has_driver = view.driver.is_some() && OrderStatus::has_driver(view.status);
        let ending = Ending::of_order(view.status);
        self.saw_job(job, view.version, has_driver, &view.offers, ending, now, out);
    }

    fn saw_rescue(&mut self, view: &RescueView, now: Instant, out: &mut Out) {
        let job = JobId::Rescue(view.id);
        if self.job() != Some(job) {
            return;
        }
        self.is_assisting = view.status == RescueStatus::Assisting;
        let has_driver = view.driver.is_some() && RescueStatus::has_driver(view.status);
        let ending = Ending::of_rescue(view.status);
        self.saw_job(job, view.version, has_driver, &view.offers, ending, now, out);
    }

    #[expect(clippy::too_many_arguments, reason = "what orders and rescues have in common")]
    fn saw_job(
        &mut self,
        job: JobId,
        version: u64,
        has_driver: bool,
        offers: &[OfferView],
        ending: Option<Ending>,
        now: Instant,
        out: &mut Out,
    ) {
        self.has_driver = has_driver;
        self.world.shown(job, version, now);
        if has_driver {
            self.world.assigned(job, now);
        }
        let willing = offers.iter().find(|offer| offer.status == OfferStatus::DriverConfirmed);
        if let Some(offer) = willing.map(|offer| offer.id)
            && self.confirmed.is_none()
        {
            self.confirmed = Some(out.command(match job {
                JobId::Order(id) => Wish::Order { id, action: OrderAction::ConfirmOffer { offer } },
                JobId::Rescue(id) => {
                    Wish::Rescue { id, action: RescueAction::ConfirmOffer { offer } }
                }
            }));
        }
        match (&self.errand, ending) {
            (Errand::Served(_), Some(ending)) => {
                self.world.ended(job, ending);
                self.world.forget_words(job);
                let rates = ending == Ending::Completed
                    && self.rng.random_bool(self.world.options.habits.rate.clamp(0.0, 1.0));
                if rates {
                    let stars = [5, 5, 5, 4, 4, 3, 1][self.rng.random_range(0..7)];
                    let id = out.command(match job {
                        JobId::Order(id) => Wish::Order { id, action: OrderAction::Rate { stars } },
                        JobId::Rescue(id) => {
                            Wish::Rescue { id, action: RescueAction::Rate { stars } }
                        }
                    });
                    self.errand = Errand::Rating(job, id);
                } else {
                    self.look(job, now, out);
                }
            }
            (Errand::Looking { wanted, .. }, _) if version >= *wanted => {
                self.world.looked(job, version);
                self.errand = Errand::Done;
            }
            (
                Errand::New
                | Errand::Asked(_)
                | Errand::Served(_)
                | Errand::Rating(..)
                | Errand::Looking { .. }
                | Errand::Done,
                _,
            ) => {}
        }
    }

    /// Asks for its job once more, and wants to see at least what anyone was told is done.
    fn look(&mut self, job: JobId, now: Instant, out: &mut Out) {
        let wanted = self.world.checker().acked_version(job);
        self.errand = Errand::Looking { job, wanted, until: now + VISIBLE_MAX };
        out.frame(ClientFrame::Unsubscribe(topic(job)));
        out.frame(ClientFrame::Subscribe(topic(job)));
    }

    fn cancel(&mut self, job: JobId, reason: &str, out: &mut Out) {
        self.has_cancelled = true;
        let reason = reason.to_owned();
        out.command(match job {
            JobId::Order(id) => Wish::Order { id, action: OrderAction::Cancel { reason } },
            JobId::Rescue(id) => Wish::Rescue { id, action: RescueAction::Cancel { reason } },
        });
    }
}

pub(super) fn topic(job: JobId) -> Topic {
    match job {
        JobId::Order(id) => Topic::Order(id),
        JobId::Rescue(id) => Topic::Rescue(id),
    }
}

impl Mind for Rider {
    fn principal(&self) -> Principal {
        Principal::Rider(self.id)
    }

    fn welcomed(&mut self, _resumed: bool, now: Instant, out: &mut Out) {
        self.heard_at = now;
        self.is_connected = true;
        match self.errand {
            Errand::New => {
                let wish = self.wish();
                self.errand = Errand::Asked(out.errand(wish, self.due));
            }
            Errand::Looking { job, .. } => self.look(job, now, out),
            // It may have ended meanwhile, and what has ended is not followed by itself.
            Errand::Served(job) | Errand::Rating(job, _) => {
                out.frame(ClientFrame::Subscribe(topic(job)));
            }
            Errand::Asked(_) | Errand::Done => {}
        }
    }

    fn lost(&mut self, _now: Instant) {
        self.is_connected = false;
    }

    /// Riders are pushed nothing.
    fn pushed(&mut self, _push: Push, _now: Instant) {}

    fn hear(&mut self, frame: ServerFrame, now: Instant, out: &mut Out) {
        match frame {
            ServerFrame::Order(view) => {
                self.heard_at = now;
                self.saw_order(&view, now, out);
            }
            ServerFrame::Rescue(view) => {
                self.heard_at = now;
                self.saw_rescue(&view, now, out);
            }
            ServerFrame::Hello { .. }
            | ServerFrame::Welcome { .. }
            | ServerFrame::Heartbeat { .. }
            | ServerFrame::Result { .. }
            | ServerFrame::Push { .. }
            | ServerFrame::Refused(_)
            | ServerFrame::Driver(_)
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

    fn answered(&mut self, answer: Answer, now: Instant, out: &mut Out) {
        match self.errand {
            Errand::Asked(id) if id == answer.id => {
                let Outcome::Ok(done) = &answer.outcome else {
                    self.errand = Errand::Done;
                    return;
                };
                let job = match self.trip.want {
                    Want::Order(_) => done.actor.parse().ok().map(JobId::Order),
                    Want::Rescue(_) => done.actor.parse().ok().map(JobId::Rescue),
                };
                let Some(job) = job else {
                    tracing::warn!(actor = done.actor, "the answer names no job");
                    self.errand = Errand::Done;
                    return;
                };
                let moments = [self.due, answer.sent_at, now];
                self.world.created(job, self.id, self.trip.want, moments);
                if let (Want::Order(OrderKind::Commerce), JobId::Order(id)) = (self.trip.want, job)
                {
                    self.world.ask_of_shop(self.world.shop_for(self.n), id);
                }
                self.errand = Errand::Served(job);
                self.heard_at = now;
                // Frames that came before this answer were not known to be ours.
                out.frame(ClientFrame::Subscribe(topic(job)));
            }
            Errand::Rating(job, id) if id == answer.id => self.look(job, now, out),
            Errand::New
            | Errand::Asked(_)
            | Errand::Served(_)
            | Errand::Rating(..)
            | Errand::Looking { .. }
            | Errand::Done => {
                if self.confirmed == Some(answer.id) {
                    self.confirmed = None;
                }
            }
        }
    }

    fn wake(&mut self, now: Instant, out: &mut Out) {
        match self.errand {
            Errand::Served(job) => {
                let is_fed_up = !self.has_driver && now >= self.gives_up_at;
                let has_changed_mind = self.cancel_at.is_some_and(|at| now >= at);
                if !self.has_cancelled && (is_fed_up || has_changed_mind) {
                    let reason = if is_fed_up { "waited too long" } else { "changed my mind" };
                    self.cancel(job, reason, out);
                }
                self.glance_at = now + Duration::from_millis(700);
                if let JobId::Rescue(id) = job
                    && self.is_assisting
                    && self.world.heard(job).is_fixed
                {
                    self.world.say(job, |words| words.is_fixed = false);
                    out.command(Wish::Rescue {
                        id,
                        action: RescueAction::ConfirmFixed { fixed: true },
                    });
                }
                if now.duration_since(self.heard_at) > SILENCE_MAX {
                    self.heard_at = now;
                    out.frame(ClientFrame::Subscribe(topic(job)));
                }
            }
            Errand::Looking { job, wanted, until } if now >= until => {
                let detail = format!(
                    "{job}: version {wanted} was acknowledged, and a reader did not get it"
                );
                self.world.report_broken(Some((Broken::AckedNotVisible, detail)));
                self.errand = Errand::Done;
            }
            Errand::New
            | Errand::Asked(_)
            | Errand::Rating(..)
            | Errand::Looking { .. }
            | Errand::Done => {}
        }
    }

    fn wake_at(&self) -> Instant {
        match self.errand {
            Errand::Served(_) => {
                let silence = self.heard_at + SILENCE_MAX + Duration::from_millis(1);
                let mut at = silence;
                if !self.has_cancelled {
                    at = at.min(self.cancel_at.unwrap_or(at));
                    if !self.has_driver {
                        at = at.min(self.gives_up_at);
                    }
                }
                if self.is_assisting {
                    at = at.min(self.glance_at);
                }
                at
            }
            Errand::Looking { until, .. } if self.is_connected => until,
            Errand::New
            | Errand::Asked(_)
            | Errand::Rating(..)
            | Errand::Looking { .. }
            | Errand::Done => Instant::now() + Duration::from_secs(60),
        }
    }

    fn due(&self) -> Option<Instant> {
        Some(self.due)
    }

    fn is_done(&self) -> bool {
        matches!(self.errand, Errand::Done)
    }
}
