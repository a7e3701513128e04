//! What one vehicle does: orders, the tasks they are made of, when each of them happens and what it costs.
//!
//! Time is a number in whatever unit the caller counts (minutes, seconds), and a place is an index into whatever the
//! caller knows of places; [`Travel`] says how long it takes from one to another.

pub mod insertion;
pub mod sequence;

/// How long it takes from one place to another.
pub trait Travel {
    /// From `from` to `to`, in the caller's unit of time; never negative.
    fn time(&self, from: u32, to: u32) -> f64;
}

impl<F: Fn(u32, u32) -> f64> Travel for F {
    fn time(&self, from: u32, to: u32) -> f64 {
        self(from, to)
    }
}

/// What is to be fetched at one place and brought to another.
#[derive(Debug, Clone, PartialEq)]
pub struct Order {
    /// Where it is fetched.
    pub pickup: u32,
    /// Where it is brought to.
    pub dropoff: u32,
    /// Since when somebody waits for it.
    pub asked: f64,
    /// From when on it can be fetched.
    pub ready: f64,
    /// Until when it must have been fetched; infinite if nobody minds.
    pub pickup_until: f64,
    /// Until when it was promised to be there; infinite if nothing was.
    pub promise: f64,
    /// What it takes of a vehicle's capacity.
    pub load: u32,
}

/// One half of an order: to fetch it, or to hand it over. The order is an index into the caller's orders.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Task(u32);

impl Task {
    /// To fetch `order`.
    #[must_use]
    pub const fn pickup(order: u32) -> Self {
        Self(order << 1)
    }

    /// To hand `order` over.
    #[must_use]
    pub const fn dropoff(order: u32) -> Self {
        Self((order << 1) | 1)
    }

    /// Which order.
    #[must_use]
    pub const fn order(self) -> u32 {
        self.0 >> 1
    }

    /// Is it fetched, rather than handed over?
    #[must_use]
    pub const fn is_pickup(self) -> bool {
        self.0 & 1 == 0
    }

    /// Where.
    #[must_use]
    pub fn place(self, orders: &[Order]) -> u32 {
        let order = &orders[self.order() as usize];
        if self.is_pickup() { order.pickup } else { order.dropoff }
    }
}

/// Who drives, from where and when, and what is on board already.
#[derive(Debug, Clone, PartialEq)]
pub struct Vehicle {
    /// Where it is, or will be when it is free for the next task.
    pub place: u32,
    /// From when on it is.
    pub free: f64,
    /// Nothing is fetched after this; what is on board is still brought.
    pub until: f64,
    /// How much load at once.
    pub capacity: u32,
    /// Orders it has fetched and not yet handed over.
    pub aboard: Vec<u32>,
}

/// A vehicle and what it does, in order.
#[derive(Debug, Clone, PartialEq)]
pub struct Run {
    /// Who.
    pub vehicle: Vehicle,
    /// What is still to be done; what is on board is handed over somewhere among it.
    pub tasks: Vec<Task>,
    /// So many of the first tasks stay as they are: their driver is on the way to them.
    pub fixed: usize,
}

impl Run {
    /// Orders that are not fetched yet, in the order they will be.
    pub fn waiting(&self) -> impl Iterator<Item = u32> {
        self.tasks.iter().filter(|it| it.is_pickup()).map(|it| it.order())
    }

    /// Orders that are not fetched yet and whose driver is not on the way to them.
    pub fn movable(&self) -> impl Iterator<Item = u32> {
        let free = self.tasks.get(self.fixed..).unwrap_or_default();
        free.iter().filter(|it| it.is_pickup()).map(|it| it.order())
    }

    /// Takes an order out.
    pub fn remove(&mut self, order: u32) {
        let is_it = |it: &Task| it.order() == order;
        let n_fixed = self.tasks.iter().take(self.fixed).filter(|it| is_it(it)).count();
        self.fixed -= n_fixed;
        self.tasks.retain(|it| !is_it(it));
    }
}

/// How long a visit takes, before and after what is asked for happens: parking and walking there, walking back.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Service {
    /// From arrival until it can happen.
    pub before: f64,
    /// From then until the vehicle can leave.
    pub after: f64,
}

/// May a courier fetch from somewhere else while there is something on board?
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mixing {
    /// Any order of tasks.
    Free,
    /// Everything on board comes from one visit to one place: no detour with a meal that gets cold.
    OneOrigin,
}

/// What holds for every route, and what is better.
#[derive(Debug, Clone, PartialEq)]
pub struct Rules {
    /// A visit where something is fetched. All that is fetched at one place in a row is one visit.
    pub pickup: Service,
    /// A visit where something is handed over. Each is one of its own.
    pub dropoff: Service,
    /// Where orders may come from.
    pub mixing: Mixing,
    /// Most orders on board at once.
    pub aboard_max: usize,
    /// What counts.
    pub weights: Weights,
}

/// What a unit of time costs, depending on who spends it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Weights {
    /// Somebody waits, from asking until it is there.
    pub door: f64,
    /// Something is ready and waits to be fetched.
    pub shelf: f64,
    /// A vehicle drives.
    pub driving: f64,
}

/// Why a route cannot be driven.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// An order is handed over that is not on board, or fetched that is.
    Precedence {
        /// Which.
        order: u32,
    },
    /// An order that is fetched, or was on board, is never handed over.
    Kept {
        /// Which.
        order: u32,
    },
    /// More on board than the vehicle holds, or than rules allow.
    Capacity {
        /// What was loaded last.
        order: u32,
    },
    /// Fetched while something from elsewhere was on board.
    Mixed {
        /// What was loaded last.
        order: u32,
    },
    /// Fetched after the vehicle's end, or after it was to be fetched.
    TooLate {
        /// Which.
        order: u32,
    },
    /// Handed over after it was promised.
    Promise {
        /// Which.
        order: u32,
    },
}

/// When each task of a route happens.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Schedule {
    /// One moment per task, in the route's order.
    pub moments: Vec<f64>,
    /// When the vehicle leaves for the first visit if it is not to wait there.
    pub leave: f64,
    /// When the vehicle is free again.
    pub end: f64,
    /// How long it drives.
    pub driving: f64,
}

/// What every judgement needs: the orders, what holds for them, and how long ways take.
#[derive(Debug, Clone, Copy)]
pub struct Terms<'a, T> {
    /// By index.
    pub orders: &'a [Order],
    /// What holds.
    pub rules: &'a Rules,
    /// How long ways take.
    pub travel: &'a T,
}

impl<T: Travel> Terms<'_, T> {
    /// Says when each task happens, or the first rule they break.
    ///
    /// # Errors
    /// The first [`Fault`] in the order of driving.
    pub fn schedule(&self, vehicle: &Vehicle, tasks: &[Task]) -> Result<Schedule, Fault> {
        let Self { orders, rules, travel } = self;
        let mut aboard = vehicle.aboard.clone();
        let mut load = load_of(&aboard, orders);
        let mut done: Vec<u32> = Vec::new();
        let mut schedule =
            Schedule { leave: vehicle.free, end: vehicle.free, ..Schedule::default() };
        let mut place = vehicle.place;
        let mut at = 0;
        while at < tasks.len() {
            let visit_end = visit(tasks, at, orders);
            let visit = &tasks[at..visit_end];
            let here = tasks[at].place(orders);
            let drive = travel.time(place, here);
            let service = if tasks[at].is_pickup() { rules.pickup } else { rules.dropoff };
            let mut moment = schedule.end + drive + service.before;
            for task in visit {
                let which = task.order();
                let order = &orders[which as usize];
                let held = aboard.iter().position(|it| *it == which);
                if !task.is_pickup() {
                    let held = held.ok_or(Fault::Precedence { order: which })?;
                    aboard.swap_remove(held);
                    done.push(which);
                    load = load.saturating_sub(order.load);
                    continue;
                }
                if held.is_some() || done.contains(&which) {
                    return Err(Fault::Precedence { order: which });
                }
                let is_mixed = aboard.iter().any(|it| !visit.contains(&Task::pickup(*it)));
                if rules.mixing == Mixing::OneOrigin && is_mixed {
                    return Err(Fault::Mixed { order: which });
                }
                aboard.push(which);
                load = load.saturating_add(order.load);
                if load > vehicle.capacity || aboard.len() > rules.aboard_max {
                    return Err(Fault::Capacity { order: which });
                }
                moment = moment.max(order.ready);
            }
            for task in visit {
                let order = &orders[task.order() as usize];
                if task.is_pickup() && moment > order.pickup_until.min(vehicle.until) {
                    return Err(Fault::TooLate { order: task.order() });
                }
                if !task.is_pickup() && moment > order.promise {
                    return Err(Fault::Promise { order: task.order() });
                }
                schedule.moments.push(moment);
            }
            if at == 0 {
                schedule.leave = (moment - service.before - drive).max(vehicle.free);
            }
            schedule.driving += drive;
            schedule.end = moment + service.after;
            place = here;
            at = visit_end;
        }
        match aboard.first() {
            Some(order) => Err(Fault::Kept { order: *order }),
            None => Ok(schedule),
        }
    }

    /// What tasks cost under the rules' weights, and infinity if they cannot be done or cost more than `bound`.
    ///
    /// It trusts that every order is fetched before it is handed over, which whoever builds routes sees to; all else
    /// is judged as in [`Terms::schedule`]. What more tasks follow can only make it dearer.
    #[must_use]
    pub fn cost(&self, vehicle: &Vehicle, tasks: &[Task], bound: f64) -> f64 {
        let Self { orders, rules, travel } = self;
        let weights = rules.weights;
        let mut aboard = vehicle.aboard.len();
        let mut load = load_of(&vehicle.aboard, orders);
        let (mut now, mut place, mut sum) = (vehicle.free, vehicle.place, 0.0);
        let mut at = 0;
        while at < tasks.len() {
            let first = tasks[at];
            let order = &orders[first.order() as usize];
            if first.is_pickup() {
                if aboard > 0 && rules.mixing == Mixing::OneOrigin {
                    return f64::INFINITY;
                }
                let end = visit(tasks, at, orders);
                let drive = travel.time(place, order.pickup);
                let mut moment = now + drive + rules.pickup.before;
                for task in &tasks[at..end] {
                    let order = &orders[task.order() as usize];
                    moment = moment.max(order.ready);
                    load = load.saturating_add(order.load);
                }
                aboard += end - at;
                if load > vehicle.capacity || aboard > rules.aboard_max || moment > vehicle.until {
                    return f64::INFINITY;
                }
                for task in &tasks[at..end] {
                    let order = &orders[task.order() as usize];
                    if moment > order.pickup_until {
                        return f64::INFINITY;
                    }
                    sum += weights.shelf * (moment - order.ready);
                }
                sum += weights.driving * drive;
                now = moment + rules.pickup.after;
                place = order.pickup;
                at = end;
            } else {
                let drive = travel.time(place, order.dropoff);
                let moment = now + drive + rules.dropoff.before;
                if moment > order.promise {
                    return f64::INFINITY;
                }
                sum += weights.door * (moment - order.asked) + weights.driving * drive;
                aboard -= 1;
                load = load.saturating_sub(order.load);
                now = moment + rules.dropoff.after;
                place = order.dropoff;
                at += 1;
            }
            if sum > bound {
                return f64::INFINITY;
            }
        }
        sum
    }

    /// By how much the run may be late before a promise is broken; infinite if nothing was promised.
    ///
    /// # Errors
    /// What [`Terms::schedule`] finds.
    pub fn slack(&self, run: &Run) -> Result<f64, Fault> {
        let schedule = self.schedule(&run.vehicle, &run.tasks)?;
        let drops = run.tasks.iter().zip(&schedule.moments).filter(|(task, _)| !task.is_pickup());
        Ok(drops
            .map(|(task, moment)| self.orders[task.order() as usize].promise - moment)
            .fold(f64::INFINITY, f64::min))
    }
}

/// How much all of these are together. What is more than can be counted is more than any vehicle holds.
fn load_of(all: &[u32], orders: &[Order]) -> u32 {
    all.iter().fold(0, |sum, it| sum.saturating_add(orders[*it as usize].load))
}

/// Where the visit that begins at `at` ends: what is fetched at one place in a row is one visit.
fn visit(tasks: &[Task], at: usize, orders: &[Order]) -> usize {
    let first = tasks[at];
    let mut end = at + 1;
    if first.is_pickup() {
        let place = first.place(orders);
        while end < tasks.len() && tasks[end].is_pickup() && tasks[end].place(orders) == place {
            end += 1;
        }
    }
    end
}

#[cfg(test)]
mod tests;
