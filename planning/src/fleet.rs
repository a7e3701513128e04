//! Who brings what: the plan of a whole fleet, made better bit by bit while orders come in.
//!
//! A plan is one run per vehicle. New orders go where they cost least ([`Fleet::add`]); then, again and again, a few
//! orders that have to do with each other are taken out and put back where they cost least now ([`Fleet::improve`]),
//! which is ruin and recreate (Schrimpf et al., "Record breaking optimization results using the ruin and recreate
//! principle", 2000). The plan outlives the look at it, so nothing is found twice. Whoever drives takes tasks off its
//! front ([`Fleet::done`]).

use crate::{
    batch::{Order, Rules, Run, Schedule, Task, Terms, Travel, Vehicle, insertion},
    chance::Chance,
};

/// What an order costs that no vehicle can take: more than any delay that is worth it.
const LEFT_OUT: f64 = 2_000.0;

/// How many orders are taken out with one at most.
const RELATED_MAX: usize = 6;

/// Nobody has it.
const NOBODY: u32 = u32::MAX;

/// The plan of a fleet.
#[derive(Debug, Clone)]
pub struct Fleet {
    rules: Rules,
    /// Every vehicle there ever was.
    runs: Vec<Planned>,
    /// Every order there ever was, so that indices last.
    orders: Vec<Order>,
    /// Who takes part.
    there: Vec<usize>,
    /// Per order, the vehicle that is to bring it.
    with: Vec<u32>,
    /// Orders that are not fetched yet.
    open: Vec<u32>,
    left_out: Vec<u32>,
    chance: Chance,
    /// Memory to work in.
    room: Vec<Task>,
    near: Vec<(f64, usize)>,
}

#[derive(Debug, Clone)]
struct Planned {
    run: Run,
    cost: f64,
}

/// What a round has changed, to undo it.
#[derive(Default)]
struct Undo {
    runs: Vec<(usize, Planned)>,
}

impl Undo {
    fn keep(&mut self, vehicle: usize, planned: &Planned) {
        if !self.runs.iter().any(|it| it.0 == vehicle) {
            self.runs.push((vehicle, planned.clone()));
        }
    }
}

impl Fleet {
    /// A fleet with nothing to do. The same `seed` and the same calls come to the same plan.
    #[must_use]
    pub fn new(rules: Rules, seed: u64) -> Self {
        Self {
            rules,
            runs: Vec::new(),
            orders: Vec::new(),
            there: Vec::new(),
            with: Vec::new(),
            open: Vec::new(),
            left_out: Vec::new(),
            chance: Chance::new(seed),
            room: Vec::new(),
            near: Vec::new(),
        }
    }

    /// One more vehicle with nothing to do; its index.
    pub fn join(&mut self, vehicle: Vehicle) -> usize {
        let run = Run { vehicle, tasks: Vec::new(), fixed: 0 };
        self.runs.push(Planned { run, cost: 0.0 });
        self.there.push(self.runs.len() - 1);
        self.runs.len() - 1
    }

    /// A vehicle takes part no more. What it has not fetched is left out until somebody else takes it; what is on
    /// board stays with it.
    pub fn leave(&mut self, vehicle: usize, travel: &impl Travel) {
        self.there.retain(|it| *it != vehicle);
        self.let_go(vehicle, travel);
    }

    /// A vehicle will be free elsewhere, or at another time. What it can then no longer do is left out until somebody
    /// takes it.
    pub fn moved(&mut self, vehicle: usize, place: u32, free: f64, travel: &impl Travel) {
        let it = &mut self.runs[vehicle].run.vehicle;
        it.place = place;
        it.free = free;
        self.recount(vehicle, travel);
    }

    /// One more order, put where it costs least; its index.
    ///
    /// # Panics
    /// With 2^31 orders.
    pub fn add(&mut self, order: Order, travel: &impl Travel) -> u32 {
        let index = u32::try_from(self.orders.len()).expect("fewer orders than 2^31");
        self.orders.push(order);
        self.with.push(NOBODY);
        self.open.push(index);
        self.place(index, travel, &mut Undo::default());
        index
    }

    /// Nobody wants an order any more. What is on board stays there.
    pub fn cancel(&mut self, order: u32, travel: &impl Travel) {
        if !self.open.contains(&order) {
            return;
        }
        self.open.retain(|it| *it != order);
        self.left_out.retain(|it| *it != order);
        self.remove(order, travel, &mut Undo::default());
    }

    /// A vehicle has done, or will do without being asked again, the first `n_tasks` of what it was to do, and is free
    /// at `place` from `free` on. Those tasks.
    pub fn done(
        &mut self,
        vehicle: usize,
        n_tasks: usize,
        place: u32,
        free: f64,
        travel: &impl Travel,
    ) -> Vec<Task> {
        let run = &mut self.runs[vehicle].run;
        let done: Vec<Task> = run.tasks.drain(..n_tasks).collect();
        run.fixed = run.fixed.saturating_sub(n_tasks);
        for task in &done {
            if task.is_pickup() {
                run.vehicle.aboard.push(task.order());
            } else {
                run.vehicle.aboard.retain(|it| *it != task.order());
                self.with[task.order() as usize] = NOBODY;
            }
        }
        self.open.retain(|it| !done.contains(&Task::pickup(*it)));
        self.moved(vehicle, place, free, travel);
        done
    }

    /// What a vehicle is to do.
    #[must_use]
    pub fn run(&self, vehicle: usize) -> &Run {
        &self.runs[vehicle].run
    }

    /// When a vehicle does what it is to do; `None` if it cannot keep a promise any more.
    #[must_use]
    pub fn schedule(&self, vehicle: usize, travel: &impl Travel) -> Option<Schedule> {
        let run = &self.runs[vehicle].run;
        self.terms(travel).schedule(&run.vehicle, &run.tasks).ok()
    }

    /// Every order, by index.
    #[must_use]
    pub fn orders(&self) -> &[Order] {
        &self.orders
    }

    /// Orders that no vehicle can take as things are.
    #[must_use]
    pub fn left_out(&self) -> &[u32] {
        &self.left_out
    }

    /// What the plan costs, with what is left out.
    #[must_use]
    pub fn cost(&self) -> f64 {
        let left_out = self.left_out.len() as f64 * LEFT_OUT;
        self.there.iter().map(|it| self.runs[*it].cost).sum::<f64>() + left_out
    }

    /// Takes some orders out and puts them back, `n_rounds` times, and keeps what costs no more.
    pub fn improve(&mut self, n_rounds: usize, travel: &impl Travel) {
        for _ in 0..n_rounds {
            if self.open.is_empty() {
                return;
            }
            let mut out = self.related(travel);
            let left_out_before = self.left_out.clone();
            let mut undo = Undo::default();
            for order in &out {
                self.remove(*order, travel, &mut undo);
                self.left_out.retain(|it| it != order);
            }
            match self.chance.below(3) {
                0 => self.chance.shuffle(&mut out),
                1 => out.sort_by(|a, b| {
                    let ready = |it: u32| self.orders[it as usize].ready;
                    ready(*a).total_cmp(&ready(*b))
                }),
                _ => {}
            }
            for order in &out {
                self.place(*order, travel, &mut undo);
            }
            let more: f64 = undo.runs.iter().map(|it| self.runs[it.0].cost - it.1.cost).sum();
            let n_more = self.left_out.len() as f64 - left_out_before.len() as f64;
            // What costs the same is kept, too: from there something better may be found.
            let more = more + n_more * LEFT_OUT;
            if more > 1e-9 || more.is_nan() {
                self.undo(undo, &out);
                self.left_out = left_out_before;
            }
        }
    }

    fn undo(&mut self, undo: Undo, out: &[u32]) {
        for order in out {
            self.with[*order as usize] = NOBODY;
        }
        for (vehicle, planned) in undo.runs {
            for order in planned.run.waiting() {
                self.with[order as usize] = vehicle as u32;
            }
            self.runs[vehicle] = planned;
        }
    }

    /// Some order and a few that are fetched nearby at about the same time, or by the same vehicle.
    fn related(&mut self, travel: &impl Travel) -> Vec<u32> {
        let n = 1 + self.chance.below(RELATED_MAX);
        let first = self.open[self.chance.below(self.open.len())];
        let Order { pickup, ready, .. } = self.orders[first as usize];
        let with = self.with[first as usize];
        let mut near: Vec<(f64, u32)> = Vec::with_capacity(self.open.len());
        for other in self.open.iter().copied().filter(|it| *it != first) {
            let it = &self.orders[other as usize];
            let far = travel.time(pickup, it.pickup) + 0.5 * (ready - it.ready).abs();
            let is_with = self.with[other as usize] == with;
            let noise = 10.0 * self.chance.unit();
            near.push((far + noise - if is_with { 4.0 } else { 0.0 }, other));
        }
        let by_far = |a: &(f64, u32), b: &(f64, u32)| a.0.total_cmp(&b.0).then(a.1.cmp(&b.1));
        let n = n.min(near.len());
        if n < near.len() {
            near.select_nth_unstable_by(n, by_far);
            near.truncate(n);
        }
        near.sort_unstable_by(by_far);
        let mut out = vec![first];
        out.extend(near.iter().map(|it| it.1));
        out
    }

    /// Puts an order where it costs least, or leaves it out.
    fn place(&mut self, order: u32, travel: &impl Travel, undo: &mut Undo) {
        let it = &self.orders[order as usize];
        let Rules { pickup, dropoff, weights, .. } = self.rules;
        let ride = travel.time(it.pickup, it.dropoff);
        let mut near = std::mem::take(&mut self.near);
        near.clear();
        // What it costs somebody with nothing else to do: with more, it is hardly ever cheaper.
        for index in self.there.iter().copied() {
            let vehicle = &self.runs[index].run.vehicle;
            let moment = (vehicle.free + travel.time(vehicle.place, it.pickup) + pickup.before)
                .max(it.ready);
            if moment <= vehicle.until.min(it.pickup_until) {
                let drop = moment + pickup.after + ride + dropoff.before;
                let least = weights.door * (drop - it.asked) + weights.shelf * (moment - it.ready);
                near.push((least, index));
            }
        }
        // Whoever could be there first gives a bound, and with it most of the others need no closer look.
        let first = (0..near.len()).min_by(|a, b| near[*a].0.total_cmp(&near[*b].0));
        if let Some(first) = first {
            near.swap(0, first);
        }
        let mut room = std::mem::take(&mut self.room);
        let mut best = None;
        let mut more = f64::INFINITY;
        let terms = self.terms(travel);
        for (least, index) in near.iter().copied() {
            if least >= more {
                continue;
            }
            let Planned { run, cost } = &self.runs[index];
            if let Some(found) = insertion::cheapest(&terms, run, order, cost + more, &mut room) {
                more = found.cost - cost;
                best = Some((index, found));
            }
        }
        self.near = near;
        self.room = room;
        let Some((index, found)) = best else {
            self.left_out.push(order);
            return;
        };
        let planned = &mut self.runs[index];
        undo.keep(index, planned);
        insertion::apply(&mut planned.run, order, found);
        planned.cost = found.cost;
        self.with[order as usize] = index as u32;
    }

    /// Takes an order out of whatever run it is in.
    fn remove(&mut self, order: u32, travel: &impl Travel, undo: &mut Undo) {
        let with = std::mem::replace(&mut self.with[order as usize], NOBODY);
        if with == NOBODY {
            return;
        }
        let vehicle = with as usize;
        undo.keep(vehicle, &self.runs[vehicle]);
        self.runs[vehicle].run.remove(order);
        let run = &self.runs[vehicle].run;
        self.runs[vehicle].cost = self.terms(travel).cost(&run.vehicle, &run.tasks, f64::INFINITY);
    }

    /// A run costs something else now, or cannot be driven as it was.
    fn recount(&mut self, vehicle: usize, travel: &impl Travel) {
        let Run { vehicle: it, tasks, .. } = &self.runs[vehicle].run;
        let cost = self.terms(travel).cost(it, tasks, f64::INFINITY);
        self.runs[vehicle].cost = cost;
        if cost.is_finite() {
            return;
        }
        self.let_go(vehicle, travel);
        if self.runs[vehicle].cost.is_infinite() {
            self.forgive(vehicle, travel);
        }
    }

    /// What a vehicle has not fetched is left out.
    fn let_go(&mut self, vehicle: usize, travel: &impl Travel) {
        for order in self.runs[vehicle].run.waiting().collect::<Vec<_>>() {
            self.remove(order, travel, &mut Undo::default());
            self.left_out.push(order);
        }
    }

    /// What is on board and too late already is promised for when it will be there, so that it keeps nobody else from
    /// being in time.
    fn forgive(&mut self, vehicle: usize, travel: &impl Travel) {
        let run = &self.runs[vehicle].run;
        let (mut now, mut place) = (run.vehicle.free, run.vehicle.place);
        for task in run.tasks.clone() {
            let here = task.place(&self.orders);
            let moment = now + travel.time(place, here) + self.rules.dropoff.before;
            let order = &mut self.orders[task.order() as usize];
            order.promise = order.promise.max(moment);
            (now, place) = (moment + self.rules.dropoff.after, here);
        }
        let run = &self.runs[vehicle].run;
        self.runs[vehicle].cost = self.terms(travel).cost(&run.vehicle, &run.tasks, f64::INFINITY);
    }

    fn terms<'a, T: Travel>(&'a self, travel: &'a T) -> Terms<'a, T> {
        Terms { orders: &self.orders, rules: &self.rules, travel }
    }
}

#[cfg(test)]
mod tests;
