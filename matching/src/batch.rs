//! Batches: what one driver brings, in which order and when. What is known of places and moments, in the words of
//! `planning`.
//!
//! ```text
//!  Parcel (from, to, until when) ─┐
//!  Cart (where, what is on board) ┼─► Trip ──► best order · one more · is it in time
//!  Between (how long ways take)  ─┘
//! ```
//!
//! [`plan`] looks at what waits in a region and proposes which of it is brought together; the run that comes of it
//! (an actor) judges with the same functions, and so is judged what staff choose ([`chosen`]) or have given to drivers
//! ([`assign`]). Why the others stay alone is only asked for ([`alone`]).

mod alone;
mod assign;
mod chosen;
mod propose;
mod roads;

pub use alone::{Against, REASONS_MAX, alone, why_not_now};
pub use assign::{Assigned, Engine, assign};
pub use chosen::{Chosen, Due, Leeway, chosen};
pub use propose::{Proposal, Together, plan};
pub use roads::{Between, Known, Legs};

use planning::batch::{
    Mixing, Order, Rules, Run, Service, Task, Terms, Travel, Vehicle, Weights, insertion, sequence,
};
use protocol::{DriverId, Point, RunId, Timestamp};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// What counts: that somebody waits, that something is ready and waits to be fetched, that a vehicle drives.
const WEIGHTS: Weights = Weights { door: 1.0, shelf: 0.5, driving: 0.5 };

/// What is brought together, and when it is looked for.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Settings {
    /// How often a region plans, in milliseconds; 0: never.
    pub every_ms: u32,
    /// How long a delivery that may be batched is kept for company before its own search begins, in milliseconds.
    pub hold_ms: u32,
    /// How far apart what is brought together is fetched, at most, in metres.
    pub pickups_m: u32,
    /// How far apart it is brought to, at most, in metres.
    pub dropoffs_m: u32,
    /// How far apart in time it is ready, at most, in milliseconds.
    pub window_ms: u32,
    /// How much less must be driven than if each were brought alone, in percent.
    pub saving_percent: u8,
    /// Most orders of one run.
    pub orders_max: u8,
    /// How long a driver needs where something is fetched or handed over, in seconds.
    pub stop_s: u16,
    /// How much earlier than promised everything must be planned to be there, in milliseconds.
    pub slack_ms: u32,
    /// How long the orders of a run may take to say whether they join, in milliseconds.
    pub join_ms: u32,
    /// How long a run is offered to its driver, in milliseconds.
    pub offer_ms: u32,
}

/// How long an order waits on when the driver's time to answer is over: what was said in time may come late.
pub const GRACE: Duration = Duration::from_secs(5);

impl Settings {
    /// How long an order waits for a run, at most.
    pub fn waits(&self) -> Duration {
        Duration::from_millis(u64::from(self.join_ms) + u64::from(self.offer_ms)) + GRACE
    }
}

impl Default for Settings {
    fn default() -> Self {
        Self {
            every_ms: 5_000,
            hold_ms: 10_000,
            pickups_m: 2_000,
            dropoffs_m: 3_000,
            window_ms: 60 * 60_000,
            saving_percent: 15,
            orders_max: 5,
            stop_s: 60,
            slack_ms: 120_000,
            join_ms: 3_000,
            offer_ms: 30_000,
        }
    }
}

/// What a delivery says to those who may bring it with others.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Batch {
    /// Since when somebody waits for it.
    pub asked: Timestamp,
    /// From when on it can be fetched.
    pub ready: Timestamp,
    /// Until when it was promised to be there.
    pub promise: Option<Timestamp>,
    /// When it gives up looking for a driver: for no run it waits longer.
    #[serde(default)]
    pub until: Timestamp,
}

/// What is fetched at one place and brought to another.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Parcel {
    /// Where it is fetched.
    pub from: Point,
    /// Where it is brought to.
    pub to: Point,
    /// When.
    pub times: Batch,
    /// How heavy it is, in grams.
    pub weight_g: u32,
}

/// How fast somebody gets along.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Pace {
    /// As the crow flies, in metres per second: where nobody said how long a way takes.
    pub crow_mps: f32,
    /// At each stop, in seconds.
    pub stop_s: u16,
}

/// Who brings, from where and when.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Cart {
    /// Where it is, or was last.
    pub at: Point,
    /// From when on it drives on.
    pub free: Timestamp,
    /// How much it carries, in grams.
    pub capacity_g: u32,
    /// How many parcels at once.
    pub n_max: u8,
    /// How it gets along.
    pub pace: Pace,
    /// When everything must have been handed over, for who drives has then worked for as long as it may.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// A run under way, as regions see it: can something more be brought along?
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunCard {
    /// Which.
    pub run: RunId,
    /// Whose.
    pub driver: DriverId,
    /// What it brings.
    pub parcels: Vec<Parcel>,
    /// What is still to be done: which parcel, and is it fetched (or handed over)?
    pub errands: Vec<Errand>,
    /// How many more it may take.
    pub n_more: u8,
    /// How much the vehicle carries, in grams.
    pub capacity_g: u32,
    /// How it gets along.
    pub pace: Pace,
    /// Until when its driver was to work when it was planned.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub until: Option<Timestamp>,
}

/// To fetch a parcel, or to hand it over.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Errand {
    /// Which, by its index among the parcels.
    pub parcel: u32,
    /// Is it fetched, rather than handed over?
    pub is_pickup: bool,
}

impl Errand {
    /// To fetch it and to hand it over.
    pub fn both(parcel: u32) -> [Self; 2] {
        [Self { parcel, is_pickup: true }, Self { parcel, is_pickup: false }]
    }

    fn task(self) -> Task {
        if self.is_pickup { Task::pickup(self.parcel) } else { Task::dropoff(self.parcel) }
    }
}

impl From<Task> for Errand {
    fn from(task: Task) -> Self {
        Self { parcel: task.order(), is_pickup: task.is_pickup() }
    }
}

/// One driver's deliveries. Places are numbered: where the cart is, then where each parcel comes from and goes to.
#[derive(Debug, Clone)]
pub struct Trip {
    ways: Table,
    orders: Vec<Order>,
    rules: Rules,
    cart: Cart,
}

/// How long it takes between the places of a trip: found out once, for the search of an order asks thousands of times.
#[derive(Debug, Clone)]
struct Table {
    n_places: usize,
    /// From each to each, row by row.
    seconds: Vec<f64>,
}

impl Travel for Table {
    fn time(&self, from: u32, to: u32) -> f64 {
        self.seconds[from as usize * self.n_places + to as usize]
    }
}

/// Moments are counted in seconds from when the cart is free.
fn seconds(at: Timestamp, from: Timestamp) -> f64 {
    (at.0 as f64 - from.0 as f64) / 1_000.0
}

impl Trip {
    /// What `cart` brings, over ways as `between` knows them.
    pub fn new(cart: Cart, parcels: &[Parcel], between: &impl Between) -> Self {
        let mut places = vec![cart.at];
        let mut orders = Vec::with_capacity(parcels.len());
        let at = |it: Timestamp| seconds(it, cart.free);
        // What its driver may not bring any more is late, whatever was promised.
        let limit = cart.until.map_or(f64::INFINITY, at);
        for parcel in parcels {
            // What is fetched at one place in a row is one visit, so the same place has one number.
            let mut place_of = |at: Point| match places.iter().position(|it| *it == at) {
                Some(known) => known as u32,
                None => {
                    places.push(at);
                    places.len() as u32 - 1
                }
            };
            let (pickup, dropoff) = (place_of(parcel.from), place_of(parcel.to));
            orders.push(Order {
                pickup,
                dropoff,
                asked: at(parcel.times.asked),
                ready: at(parcel.times.ready),
                pickup_until: f64::INFINITY,
                promise: parcel.times.promise.map_or(limit, |it| at(it).min(limit)),
                load: parcel.weight_g,
            });
        }
        let stop = Service {
            before: f64::from(cart.pace.stop_s) / 2.0,
            after: f64::from(cart.pace.stop_s) / 2.0,
        };
        let rules = Rules {
            pickup: stop,
            dropoff: stop,
            mixing: Mixing::Free,
            aboard_max: cart.n_max.into(),
            weights: WEIGHTS,
        };
        let ways = Table { n_places: places.len(), seconds: between.table(&places) };
        Self { ways, orders, rules, cart }
    }

    /// These errands in the best order there is, the first `n_fixed` of them as they are; none if a promise would be
    /// broken in any, or the cart's driver work too long.
    pub fn best(&self, errands: &[Errand], n_fixed: usize) -> Option<Vec<Errand>> {
        let run = sequence::resequence(&self.terms(), &self.run(errands, n_fixed))?;
        Some(run.tasks.into_iter().map(Errand::from).collect())
    }

    /// The same with one parcel more, where that costs least.
    pub fn with(&self, errands: &[Errand], n_fixed: usize, parcel: u32) -> Option<Vec<Errand>> {
        let run = insertion::insert(&self.terms(), &self.run(errands, n_fixed), parcel)?;
        Some(run.tasks.into_iter().map(Errand::from).collect())
    }

    /// When each of them happens; none if they cannot be done in this order, or not in time.
    pub fn moments(&self, errands: &[Errand]) -> Option<Vec<Timestamp>> {
        let run = self.run(errands, 0);
        let schedule = self.terms().schedule(&run.vehicle, &run.tasks).ok()?;
        let at = |s: &f64| Timestamp(self.cart.free.0.saturating_add_signed((s * 1_000.0) as i64));
        Some(schedule.moments.iter().map(at).collect())
    }

    /// The same, whatever was promised, and however long the driver has worked then.
    pub fn moments_late(&self, errands: &[Errand]) -> Option<Vec<Timestamp>> {
        let mut late = self.clone();
        late.orders.iter_mut().for_each(|it| it.promise = f64::INFINITY);
        late.moments(errands)
    }

    /// What these errands cost, by what counts; none, if they cannot be done in time.
    pub fn cost(&self, errands: &[Errand]) -> Option<f64> {
        let run = self.run(errands, 0);
        let cost = self.terms().cost(&run.vehicle, &run.tasks, f64::INFINITY);
        cost.is_finite().then_some(cost)
    }

    /// How long is driven, in seconds; none as above.
    pub fn driving_s(&self, errands: &[Errand]) -> Option<f64> {
        let run = self.run(errands, 0);
        Some(self.terms().schedule(&run.vehicle, &run.tasks).ok()?.driving)
    }

    fn terms(&self) -> Terms<'_, Table> {
        Terms { orders: &self.orders, rules: &self.rules, travel: &self.ways }
    }

    /// What is only handed over is on board.
    fn run(&self, errands: &[Errand], n_fixed: usize) -> Run {
        let is_fetched = |it: &&Errand| {
            !it.is_pickup && !errands.contains(&Errand { parcel: it.parcel, is_pickup: true })
        };
        let aboard = errands.iter().filter(is_fetched).map(|it| it.parcel).collect();
        let vehicle = Vehicle {
            place: 0,
            free: 0.0,
            // Each order says until when it is to be there: with the last of them the driver's work ends, too.
            until: f64::INFINITY,
            capacity: self.cart.capacity_g,
            aboard,
        };
        let tasks: Vec<Task> = errands.iter().map(|it| it.task()).collect();
        Run { vehicle, fixed: n_fixed.min(tasks.len()), tasks }
    }
}

#[cfg(test)]
mod tests;
