//! Where one more order fits best into a run, and whether it fits at all.

use super::{Mixing, Order, Rules, Run, Task, Terms, Travel};

/// A place for an order in a run.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Insertion {
    /// The order is fetched before what is at this position now.
    pub pickup: usize,
    /// It is handed over before what is at this position now; at least `pickup`.
    pub dropoff: usize,
    /// What the whole run costs then.
    pub cost: f64,
}

/// Takes `order` along where that costs least, keeping every window and promise; `None` if that cannot be done.
pub fn insert<T: Travel>(terms: &Terms<'_, T>, run: &Run, order: u32) -> Option<Run> {
    let found = cheapest(terms, run, order, f64::INFINITY, &mut Vec::new())?;
    let mut run = run.clone();
    apply(&mut run, order, found);
    Some(run)
}

/// The cheapest way to take `order` along that costs less than `bound`. `room` is memory to work in.
pub fn cheapest<T: Travel>(
    terms: &Terms<'_, T>,
    run: &Run,
    order: u32,
    bound: f64,
    room: &mut Vec<Task>,
) -> Option<Insertion> {
    let Terms { orders, rules, .. } = terms;
    let here = orders[order as usize].pickup;
    let tasks = &run.tasks;
    let mut best: Option<Insertion> = None;
    let mut bound = bound;
    for pickup in run.fixed.min(tasks.len())..=tasks.len() {
        if !may_fetch(tasks, pickup, order, orders, rules) {
            continue;
        }
        for dropoff in pickup..=tasks.len() {
            // Whatever comes from elsewhere is only fetched with an empty vehicle.
            let is_elsewhere = dropoff > pickup
                && tasks[dropoff - 1].is_pickup()
                && tasks[dropoff - 1].place(orders) != here;
            if rules.mixing == Mixing::OneOrigin && is_elsewhere {
                break;
            }
            room.clear();
            room.extend_from_slice(&tasks[..pickup]);
            room.push(Task::pickup(order));
            room.extend_from_slice(&tasks[pickup..dropoff]);
            room.push(Task::dropoff(order));
            room.extend_from_slice(&tasks[dropoff..]);
            let cost = terms.cost(&run.vehicle, room, bound);
            if cost < bound {
                bound = cost;
                best = Some(Insertion { pickup, dropoff, cost });
            }
        }
    }
    best
}

/// Puts `order` where `found` says.
pub fn apply(run: &mut Run, order: u32, found: Insertion) {
    run.tasks.insert(found.dropoff, Task::dropoff(order));
    run.tasks.insert(found.pickup, Task::pickup(order));
}

/// A cheap look before costs are counted: among what is fetched at one place one position is as good as another, and
/// where nothing may be mixed, others are fetched only with an empty vehicle.
fn may_fetch(tasks: &[Task], at: usize, order: u32, orders: &[Order], rules: &Rules) -> bool {
    let here = orders[order as usize].pickup;
    let is_here = |it: &Task| it.is_pickup() && it.place(orders) == here;
    let before = at.checked_sub(1).and_then(|it| tasks.get(it));
    let (is_joined, is_next) = (before.is_some_and(is_here), tasks.get(at).is_some_and(is_here));
    if is_joined && is_next {
        return false;
    }
    if rules.mixing == Mixing::Free || is_joined || is_next {
        return true;
    }
    // Between a pickup and its drop-offs something is on board.
    before.is_none_or(|it| !it.is_pickup()) && tasks.get(at).is_none_or(|it| it.is_pickup())
}
