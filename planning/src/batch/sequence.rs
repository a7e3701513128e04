//! A better order for what a run does: the best there is for a few orders, a better one for more.

use super::{Run, Task, Terms, Travel, insertion};

/// Up to so many tasks that are not fixed are put in the best order there is: five orders.
pub const TASKS_EXACT: usize = 10;

/// The run in an order that costs no more than the one it is in, or the only one if that cannot be driven;
/// `None` if none can.
///
/// With at most [`TASKS_EXACT`] tasks to arrange it is the cheapest of all (depth first, branches that cost too much
/// already are cut), with more what moving single orders comes to.
pub fn resequence<T: Travel>(terms: &Terms<'_, T>, run: &Run) -> Option<Run> {
    let fixed = run.fixed.min(run.tasks.len());
    if run.tasks.len() - fixed > TASKS_EXACT {
        return Some(settle(terms, run)).filter(|it| is_drivable(terms, it));
    }
    let mut search = Search {
        terms,
        run,
        prefix: run.tasks[..fixed].to_vec(),
        left: run.tasks[fixed..].to_vec(),
        best: run.tasks.clone(),
        cost: terms.cost(&run.vehicle, &run.tasks, f64::INFINITY),
    };
    search.descend();
    let is_found = search.cost.is_finite();
    is_found.then(|| Run { tasks: search.best, ..run.clone() })
}

fn is_drivable<T: Travel>(terms: &Terms<'_, T>, run: &Run) -> bool {
    terms.cost(&run.vehicle, &run.tasks, f64::INFINITY).is_finite()
}

struct Search<'a, 't, T> {
    terms: &'a Terms<'t, T>,
    run: &'a Run,
    prefix: Vec<Task>,
    left: Vec<Task>,
    best: Vec<Task>,
    cost: f64,
}

impl<T: Travel> Search<'_, '_, T> {
    fn descend(&mut self) {
        // A beginning costs no more than the whole, so one that costs too much needs no end.
        let cost = self.terms.cost(&self.run.vehicle, &self.prefix, self.cost);
        if cost.is_infinite() || cost >= self.cost {
            return;
        }
        if self.left.is_empty() {
            self.cost = cost;
            self.best.clone_from(&self.prefix);
            return;
        }
        for at in 0..self.left.len() {
            let task = self.left[at];
            if !self.may_follow(task) {
                continue;
            }
            self.left.remove(at);
            self.prefix.push(task);
            self.descend();
            self.prefix.pop();
            self.left.insert(at, task);
        }
    }

    fn may_follow(&self, task: Task) -> bool {
        let orders = self.terms.orders;
        if !task.is_pickup() {
            return !self.left.contains(&Task::pickup(task.order()));
        }
        // Within one visit every order is the same, so only one of them is tried.
        self.prefix.last().is_none_or(|last| {
            !last.is_pickup() || last.place(orders) != task.place(orders) || last < &task
        })
    }
}

/// Takes single orders out and puts them where they cost least, until nothing gets better.
fn settle<T: Travel>(terms: &Terms<'_, T>, run: &Run) -> Run {
    let mut run = run.clone();
    let mut cost = terms.cost(&run.vehicle, &run.tasks, f64::INFINITY);
    loop {
        let mut is_better = false;
        for order in run.movable().collect::<Vec<_>>() {
            let mut without = run.clone();
            without.remove(order);
            let Some(found) = insertion::cheapest(terms, &without, order, cost, &mut Vec::new())
            else {
                continue;
            };
            // Less than noise is no gain, and would go on for ever.
            if found.cost < cost - 1e-9 || cost.is_infinite() {
                insertion::apply(&mut without, order, found);
                (run, cost, is_better) = (without, found.cost, true);
            }
        }
        if !is_better {
            return run;
        }
    }
}
