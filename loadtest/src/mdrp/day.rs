//! Plays a day minute by minute: orders come in, the plan gets better, couriers who have to go go.

use super::instance::Instance;
use planning::{
    batch::{Mixing, Order, Rules, Service, Task, Vehicle, Weights},
    fleet::Fleet,
};

/// A courier drives.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Move {
    /// When it leaves.
    pub leaves: f64,
    /// From this place.
    pub from: usize,
    /// To this one.
    pub to: usize,
}

/// What a courier was told to pick up.
#[derive(Debug, Clone, PartialEq)]
pub struct Assignment {
    /// When it was told.
    pub told: f64,
    /// Who.
    pub courier: usize,
    /// When it had everything.
    pub picked_up: f64,
    /// Indices of meals, in the order in which they are brought.
    pub meals: Vec<usize>,
}

/// All that happened.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Day {
    /// In the order in which they were made.
    pub assignments: Vec<Assignment>,
    /// Per courier, in the order in which it drove.
    pub moves: Vec<Vec<Move>>,
    /// Per meal, when it was handed over.
    pub dropoffs: Vec<Option<f64>>,
}

/// Couriers are planned with so long before their shift begins, in minutes: shifts are known.
const SHIFT_KNOWN_MIN: f64 = 30.0;

/// How often the plan is improved each minute.
const ROUNDS: usize = 30;

/// A meal on the shelf gets cold: half as bad as a minute more for the diner.
const WEIGHTS: Weights = Weights { door: 1.0, shelf: 0.5, driving: 0.0 };

/// Nobody carries more meals than this at once.
const BUNDLE_MAX: usize = 5;

/// Plays the whole day. The same seed plays the same day.
#[must_use]
pub fn play(instance: &Instance, seed: u64) -> Day {
    let mut dispatch = Dispatch::new(instance, seed);
    let ends = instance.couriers.iter().map(|it| it.off).fold(0.0, f64::max);
    let begins = instance.couriers.iter().map(|it| it.on).fold(ends, f64::min);
    let begins = instance.meals.iter().map(|it| it.placed).fold(begins, f64::min);
    let mut now = begins;
    while now <= ends {
        dispatch.minute(now);
        now += 1.0;
    }
    dispatch.day
}

struct Dispatch<'a> {
    instance: &'a Instance,
    fleet: Fleet,
    day: Day,
    /// Meals that are still to be placed, the next one last.
    to_come: Vec<usize>,
    /// Couriers whose shift is still to begin, the next one last.
    off_duty: Vec<usize>,
    /// On duty: the fleet's index and ours.
    on_duty: Vec<(usize, usize)>,
    /// Per order of the fleet, the meal.
    meal_of: Vec<usize>,
}

impl<'a> Dispatch<'a> {
    fn new(instance: &'a Instance, seed: u64) -> Self {
        let half = |minutes: f64| Service { before: minutes / 2.0, after: minutes / 2.0 };
        let rules = Rules {
            pickup: half(instance.pickup_service_min),
            dropoff: half(instance.dropoff_service_min),
            mixing: Mixing::OneOrigin,
            aboard_max: BUNDLE_MAX,
            weights: WEIGHTS,
        };
        let mut to_come: Vec<usize> = (0..instance.meals.len()).collect();
        to_come.sort_by(|a, b| instance.meals[*b].placed.total_cmp(&instance.meals[*a].placed));
        let mut off_duty: Vec<usize> = (0..instance.couriers.len()).collect();
        off_duty.sort_by(|a, b| instance.couriers[*b].on.total_cmp(&instance.couriers[*a].on));
        Self {
            instance,
            fleet: Fleet::new(rules, seed),
            day: Day {
                assignments: Vec::new(),
                moves: vec![Vec::new(); instance.couriers.len()],
                dropoffs: vec![None; instance.meals.len()],
            },
            to_come,
            off_duty,
            on_duty: Vec::new(),
            meal_of: Vec::new(),
        }
    }

    fn minute(&mut self, now: f64) {
        let instance = self.instance;
        let travel = |from: u32, to: u32| instance.travel_min(from as usize, to as usize);
        self.change_shifts(now, &travel);
        while let Some(meal) = self.to_come.pop_if(|it| instance.meals[*it].placed <= now) {
            let it = &instance.meals[meal];
            self.meal_of.push(meal);
            let order = Order {
                pickup: it.restaurant as u32,
                dropoff: it.diner as u32,
                asked: it.placed,
                ready: it.ready,
                pickup_until: f64::INFINITY,
                promise: f64::INFINITY,
                load: 1,
            };
            self.fleet.add(order, &travel);
        }
        self.fleet.improve(ROUNDS, &travel);
        for at in 0..self.on_duty.len() {
            let (vehicle, courier) = self.on_duty[at];
            self.instruct(vehicle, courier, now, &travel);
        }
    }

    fn change_shifts(&mut self, now: f64, travel: &impl Fn(u32, u32) -> f64) {
        let couriers = &self.instance.couriers;
        let is_near = |it: &mut usize| couriers[*it].on <= now + SHIFT_KNOWN_MIN;
        while let Some(courier) = self.off_duty.pop_if(is_near) {
            let it = &couriers[courier];
            let vehicle = self.fleet.join(Vehicle {
                place: it.begins_at as u32,
                free: it.on.max(now),
                until: it.off,
                capacity: u32::MAX,
                aboard: Vec::new(),
            });
            self.on_duty.push((vehicle, courier));
        }
        let fleet = &mut self.fleet;
        let before = self.instance.pickup_service_min / 2.0;
        self.on_duty.retain(|(vehicle, _)| {
            let it = &fleet.run(*vehicle).vehicle;
            let (place, free, until) = (it.place, it.free, it.until);
            if free.max(now) + before > until {
                fleet.leave(*vehicle, travel);
                return false;
            }
            if free < now {
                fleet.moved(*vehicle, place, now, travel);
            }
            true
        });
    }

    /// Tells a courier who waits to go, or what to pick up, if it cannot wait any longer.
    fn instruct(
        &mut self,
        vehicle: usize,
        courier: usize,
        now: f64,
        travel: &impl Fn(u32, u32) -> f64,
    ) {
        loop {
            let run = self.fleet.run(vehicle);
            let (place, free) = (run.vehicle.place, run.vehicle.free);
            let Some(first) = run.tasks.first() else { return };
            let Some(schedule) = self.fleet.schedule(vehicle, travel) else { return };
            if free > now || schedule.leave > now {
                return;
            }
            let restaurant = first.place(self.fleet.orders());
            if restaurant == place {
                self.assign(vehicle, courier, now, &schedule.moments, travel);
                return;
            }
            let moved = Move { leaves: now, from: place as usize, to: restaurant as usize };
            self.day.moves[courier].push(moved);
            self.fleet.moved(vehicle, restaurant, now + travel(place, restaurant), travel);
        }
    }

    fn assign(
        &mut self,
        vehicle: usize,
        courier: usize,
        now: f64,
        moments: &[f64],
        travel: &impl Fn(u32, u32) -> f64,
    ) {
        let run = self.fleet.run(vehicle);
        let after = self.instance.dropoff_service_min / 2.0;
        let is_drop = |it: &Task| !it.is_pickup();
        let n_picked = run.tasks.iter().take_while(|it| it.is_pickup()).count();
        let n_dropped = run.tasks[n_picked..].iter().take_while(|it| is_drop(it)).count();
        let mut meals = Vec::new();
        let (mut place, mut free) = (run.vehicle.place, run.vehicle.free);
        let mut leaves = moments[0] + self.instance.pickup_service_min / 2.0;
        let drops = run.tasks.iter().zip(moments).skip(n_picked).take(n_dropped);
        for (task, moment) in drops {
            let meal = self.meal_of[task.order() as usize];
            let diner = self.instance.meals[meal].diner;
            self.day.moves[courier].push(Move { leaves, from: place as usize, to: diner });
            self.day.dropoffs[meal] = Some(*moment);
            meals.push(meal);
            free = moment + after;
            place = diner as u32;
            leaves = free;
        }
        let picked_up = moments[0];
        self.day.assignments.push(Assignment { told: now, courier, picked_up, meals });
        self.fleet.done(vehicle, n_picked + n_dropped, place, free, travel);
    }
}
