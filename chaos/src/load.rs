//! People who depend on the cluster while it is broken: they keep asking until they are answered.

pub(crate) mod desk;
pub(crate) mod phone;

use crate::{Outcome, fleet::Fleet, record::Record};
use phone::{Phone, World};
use protocol::{
    Code, DriverId, OrderId, Point, Principal, RiderId, Timestamp,
    frame::{ClientFrame, Fix},
    work::{
        DriverAction, DutyWish, Handoff, Needs, NewOrder, OrderAction, OrderKind, PaymentTiming,
        Vehicle, VehicleKind, Wish,
    },
};
use rand::Rng;
use std::{
    sync::Arc,
    time::{Duration, Instant, SystemTime, UNIX_EPOCH},
};
use tokio::task::JoinSet;
use tokio_util::sync::CancellationToken;

/// Around here everything happens.
pub(crate) const MIDDLE: Point = Point { lat: -1.9441, lon: 30.0619 };
/// How far from it people are, at most, in metres: hundreds of regions, on all shards.
const FAR_M: f64 = 200_000.0;
/// Near enough to drivers to be offered to them, in metres.
const NEAR_M: f64 = 800.0;
/// How long everybody has for a last answer.
const LAST_ANSWER: Duration = Duration::from_secs(95);

/// How many people there are, and how busy they are.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Size {
    pub(crate) n_riders: usize,
    pub(crate) n_drivers: usize,
    pub(crate) n_desks: usize,
    /// How long they think between two commands, on average.
    pub(crate) think: Duration,
}

impl Size {
    /// A few hundred commands a second.
    pub(crate) const USUAL: Self =
        Self { n_riders: 40, n_drivers: 8, n_desks: 4, think: Duration::from_millis(120) };

    fn n_clients(self) -> usize {
        self.n_riders + self.n_drivers + self.n_desks
    }
}

/// People at work; they go home when it is dropped.
#[derive(Debug)]
pub(crate) struct Load {
    pub(crate) world: Arc<World>,
    pub(crate) size: Size,
    tasks: JoinSet<()>,
    home: CancellationToken,
}

impl Load {
    /// Everybody starts, and has had an answer.
    pub(crate) async fn start(fleet: &Fleet, size: Size) -> Outcome<Self> {
        let acks = fleet.directory.path().join("acks.jsonl");
        // Guests come later, and are counted with the others.
        let record = Record::new(acks, size.n_clients() + 100)?;
        let world = Arc::new(World { record, doors: fleet.doors(), key: fleet.key() });
        let home = CancellationToken::new();
        let mut tasks = JoinSet::new();
        for n in 0..size.n_clients() {
            let (world, home) = (Arc::clone(&world), home.clone());
            if n < size.n_riders {
                tasks.spawn(ride(world, n, spot(n), size.think, home));
            } else if n < size.n_riders + size.n_drivers {
                tasks.spawn(drive(world, n, home));
            } else {
                tasks.spawn(desk::dispatch(world, n, size.think, home));
            }
        }
        let load = Self { world, size, tasks, home };
        load.everybody_answered(Duration::from_secs(30)).await?;
        Ok(load)
    }

    /// Waits until everybody has had an answer to something wished after this moment.
    pub(crate) async fn everybody_answered(&self, within: Duration) -> Outcome<Duration> {
        let (began, before) = (Instant::now(), self.world.record.by_client());
        loop {
            let now = self.world.record.by_client();
            // One answer may be to an older wish; drivers wish rarely.
            let late = |n: &usize| now[*n] < before[*n] + 2 && *n < self.size.n_riders;
            let Some(n) = (0..self.size.n_clients()).find(late) else {
                return Ok(began.elapsed());
            };
            if began.elapsed() > within {
                return Err(format!("client {n} had no answer for {within:?}").into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// More riders, all in one place, without a pause between their commands.
    pub(crate) fn crowd(&mut self, n_guests: usize) -> std::ops::Range<usize> {
        let first = self.size.n_clients();
        for n in first..first + n_guests.min(100) {
            let (world, home) = (Arc::clone(&self.world), self.home.clone());
            self.tasks.spawn(ride(world, n, Place::Crowded, Duration::ZERO, home));
        }
        first..first + n_guests.min(100)
    }

    /// Everybody hears the answer they wait for, and goes home.
    pub(crate) async fn stop(&mut self) -> Outcome {
        self.home.cancel();
        let everybody = async { while self.tasks.join_next().await.is_some() {} };
        match tokio::time::timeout(LAST_ANSWER, everybody).await {
            Ok(()) => Ok(()),
            Err(_) => Err(format!("somebody had no answer for {LAST_ANSWER:?}").into()),
        }
    }
}

/// Where somebody orders.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// Each time elsewhere.
    Anywhere,
    /// Where drivers wait.
    Town,
    /// All at the same spot.
    Crowded,
}

fn spot(n: usize) -> Place {
    if n.is_multiple_of(4) { Place::Town } else { Place::Anywhere }
}

/// A rider: orders, waits, calls it off, and again.
async fn ride(world: Arc<World>, n: usize, place: Place, think: Duration, home: CancellationToken) {
    let mut phone = Phone::new(&world, n, Principal::Rider(RiderId::nth(n as u64)));
    while !home.is_cancelled() {
        let from = somewhere(&mut phone, place);
        let placed = phone.insist(Wish::PlaceOrder(Box::new(order(from))), |_| false).await;
        let Some(id) = placed.and_then(|done| done.actor.parse::<OrderId>().ok()) else {
            pause(&mut phone, think, &home).await;
            continue;
        };
        // In town one waits, so that there are offers, too.
        let wait = if matches!(place, Place::Town) { think * 20 } else { think };
        pause(&mut phone, wait, &home).await;
        let action = OrderAction::Cancel { reason: "changed my mind".to_owned() };
        // Nobody may have been found by then.
        phone.insist(Wish::Order { id, action }, is_over).await;
        pause(&mut phone, think, &home).await;
    }
}

/// A driver: on duty, here and there, takes every offer, goes off duty, and again.
async fn drive(world: Arc<World>, n: usize, home: CancellationToken) {
    let mut phone = Phone::new(&world, n, Principal::Driver(DriverId::nth(n as u64)));
    while !home.is_cancelled() {
        let vehicle = Vehicle { kind: VehicleKind::Moto, capacity_g: 50_000, skills: Vec::new() };
        let duty = DriverAction::SetDuty { duty: DutyWish::On, vehicle: Some(vehicle) };
        phone.insist(Wish::Driver { id: None, action: duty }, is_over).await;
        for _ in 0..12 {
            if home.is_cancelled() {
                break;
            }
            if !phone.is_connected() {
                phone.connect().await;
            }
            let at = somewhere(&mut phone, Place::Town);
            phone.say(&position(at)).await;
            pause(&mut phone, Duration::from_millis(400), &home).await;
            for offer in std::mem::take(&mut phone.offers) {
                let action = DriverAction::AcceptOffer { offer: offer.id };
                phone.insist(Wish::Driver { id: None, action }, is_over).await;
            }
        }
        let duty = DriverAction::SetDuty { duty: DutyWish::Off, vehicle: None };
        phone.insist(Wish::Driver { id: None, action: duty }, is_over).await;
    }
}

/// Does this code mean that something is over, or has become impossible meanwhile?
fn is_over(code: Code) -> bool {
    matches!(
        code,
        Code::IllegalTransition
            | Code::Taken
            | Code::OfferGone
            | Code::TooLate
            | Code::NotEligible
            | Code::NotFound
    )
}

async fn pause(phone: &mut Phone, think: Duration, home: &CancellationToken) {
    let long = think.mul_f64(phone.dice.random_range(0.5..1.5));
    tokio::select! {
        () = phone.rest(long) => {}
        () = home.cancelled() => {}
    }
}

fn somewhere(phone: &mut Phone, place: Place) -> Point {
    let far = match place {
        Place::Anywhere => FAR_M,
        Place::Town => NEAR_M,
        Place::Crowded => 10.0,
    };
    let mut metres = || phone.dice.random_range(-far..=far);
    rounded(MIDDLE.offset_m(metres(), metres()))
}

/// As precisely as a phone says it: what has more digits is not the same after it was read as JSON.
fn rounded(at: Point) -> Point {
    let round = |degrees: f64| (degrees * 1e5).round() / 1e5;
    Point { lat: round(at.lat), lon: round(at.lon) }
}

/// A delivery from there: one may have any number of them.
pub(crate) fn order(from: Point) -> NewOrder {
    NewOrder {
        kind: OrderKind::Delivery,
        stops: vec![rounded(from).into(), rounded(from.offset_m(1_500.0, 0.0)).into()],
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
    }
}

fn position(at: Point) -> ClientFrame {
    ClientFrame::Position(Fix {
        at,
        sampled_at: now(),
        heading_deg: None,
        speed_mps: None,
        accuracy_m: Some(5.0),
        mock: false,
    })
}

#[expect(clippy::disallowed_methods, reason = "a device has a clock of its own")]
fn now() -> Timestamp {
    Timestamp(0) + SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default()
}
