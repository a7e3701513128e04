//! What two runs do with each other's orders: one gives some away, takes all, or hands over what is on board.

use super::{Order, Run, Task, Terms, Travel, insertion, sequence::resequence};

/// Up to so many orders every way to divide them is tried.
const DIVIDED_MAX: usize = 6;

/// Both in one, as cheap as it gets: everything that `from` has not begun goes to `into`. `None` if that breaks a
/// window, a promise or a capacity, or if `from` has something on board or is on the way to it.
pub fn merge<T: Travel>(terms: &Terms<'_, T>, into: &Run, from: &Run) -> Option<Run> {
    if !from.vehicle.aboard.is_empty() || from.fixed > 0 {
        return None;
    }
    take_all(terms, into, from.waiting())
}

/// Two out of one: some of `run`'s orders go to `other`, so that both together cost least. At least one goes and,
/// unless something stays that cannot go, at least one stays. `None` if no order can go.
pub fn split<T: Travel>(terms: &Terms<'_, T>, run: &Run, other: &Run) -> Option<(Run, Run)> {
    let mut movable: Vec<u32> = run.movable().collect();
    let stays_anyway = run.tasks.iter().any(|it| !movable.contains(&it.order()));
    // More are divided by hand, from the back: what is fetched last has the least to do with what is on the way.
    if movable.len() > DIVIDED_MAX {
        movable.drain(..movable.len() - DIVIDED_MAX);
    }
    let n_all = run.movable().count();
    let mut best: Option<(f64, Run, Run)> = None;
    for chosen in 1u32..1 << movable.len() {
        let is_chosen = |at: usize| chosen & (1 << at) != 0;
        let goes: Vec<u32> =
            movable.iter().enumerate().filter(|(at, _)| is_chosen(*at)).map(|it| *it.1).collect();
        if goes.len() == n_all && !stays_anyway && n_all > 1 {
            continue;
        }
        let mut stays = run.clone();
        for order in &goes {
            stays.remove(*order);
        }
        let Some(stays) = resequence(terms, &stays) else { continue };
        let Some(gone) = take_all(terms, other, goes.into_iter()) else { continue };
        let cost = cost(terms, &stays) + cost(terms, &gone);
        if best.as_ref().is_none_or(|it| cost < it.0) {
            best = Some((cost, stays, gone));
        }
    }
    best.map(|(_, stays, gone)| (stays, gone))
}

/// What becomes of a run whose driver cannot go on.
#[derive(Debug, Clone, PartialEq)]
pub struct Handover {
    /// Orders that were on board: now to be fetched where the two meet. By index.
    pub met: Vec<(u32, Order)>,
    /// What the other vehicle does then.
    pub run: Run,
    /// Orders that were not fetched yet, and look for somebody new.
    pub back: Vec<u32>,
}

/// `from` hands over what is on board to `to` at `meeting`, where `from` is at `when`; what was not fetched yet goes
/// back. `None` if `to` cannot take it without breaking a promise.
pub fn hand_over<T: Travel>(
    terms: &Terms<'_, T>,
    from: &Run,
    to: &Run,
    meeting: u32,
    when: f64,
) -> Option<Handover> {
    let mut orders = terms.orders.to_vec();
    for order in &from.vehicle.aboard {
        let it = orders.get_mut(*order as usize)?;
        it.pickup = meeting;
        it.ready = it.ready.max(when);
        it.pickup_until = f64::INFINITY;
    }
    let after = Terms { orders: &orders, ..*terms };
    let run = take_all(&after, to, from.vehicle.aboard.iter().copied())?;
    let met = from.vehicle.aboard.iter().map(|it| (*it, orders[*it as usize].clone())).collect();
    Some(Handover { met, run, back: from.waiting().collect() })
}

/// By which share it is cheaper, in driving, to do `together` than each of `apart` on its own; below 0 if it is not.
///
/// # Errors
/// What [`Terms::schedule`] finds in any of them.
pub fn saving<T: Travel>(
    terms: &Terms<'_, T>,
    together: &Run,
    apart: &[Run],
) -> Result<f64, super::Fault> {
    let driving = |it: &Run| terms.schedule(&it.vehicle, &it.tasks).map(|it| it.driving);
    let mut sum = 0.0;
    for run in apart {
        sum += driving(run)?;
    }
    Ok(if sum > 0.0 { 1.0 - driving(together)? / sum } else { 0.0 })
}

fn take_all<T: Travel>(
    terms: &Terms<'_, T>,
    run: &Run,
    orders: impl Iterator<Item = u32>,
) -> Option<Run> {
    let mut together = run.clone();
    for order in orders {
        match insertion::insert(terms, &together, order) {
            Some(it) => together = it,
            // In this order it does not fit; the search for the best one may know another.
            None => together.tasks.extend([Task::pickup(order), Task::dropoff(order)]),
        }
    }
    resequence(terms, &together)
}

fn cost<T: Travel>(terms: &Terms<'_, T>, run: &Run) -> f64 {
    terms.cost(&run.vehicle, &run.tasks, f64::INFINITY)
}
