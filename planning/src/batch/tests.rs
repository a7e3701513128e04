use super::{insertion::*, sequence::*, *};
use proptest::prelude::*;

/// A square of streets, ten minutes wide: place `p` is at (p / 11, p % 11).
fn streets(from: u32, to: u32) -> f64 {
    let at = |it: u32| (f64::from(it / 11), f64::from(it % 11));
    let (a, b) = (at(from), at(to));
    (a.0 - b.0).abs() + (a.1 - b.1).abs()
}

const PLACES: u32 = 121;

fn rules(mixing: Mixing) -> Rules {
    Rules {
        pickup: Service { before: 2.0, after: 1.0 },
        dropoff: Service { before: 1.0, after: 1.0 },
        mixing,
        aboard_max: 3,
        weights: Weights { door: 1.0, shelf: 0.5, driving: 0.2 },
    }
}

fn order(pickup: u32, dropoff: u32) -> Order {
    Order {
        pickup,
        dropoff,
        asked: 0.0,
        ready: 0.0,
        pickup_until: f64::INFINITY,
        promise: f64::INFINITY,
        load: 1,
    }
}

fn idle(place: u32) -> Run {
    let vehicle =
        Vehicle { place, free: 0.0, until: f64::INFINITY, capacity: 4, aboard: Vec::new() };
    Run { vehicle, tasks: Vec::new(), fixed: 0 }
}

fn mixing() -> impl Strategy<Value = Mixing> {
    prop_oneof![Just(Mixing::Free), Just(Mixing::OneOrigin)]
}

fn an_order() -> impl Strategy<Value = Order> {
    // Few places where things are fetched, so that some are fetched together.
    (0..4u32, 0..PLACES, 0..30u32, 20..60u32, 30..90u32, 1..3u32).prop_map(
        |(from, to, ready, until, promise, load)| Order {
            ready: f64::from(ready),
            pickup_until: f64::from(ready + until),
            promise: f64::from(ready + promise),
            load,
            ..order(from * 30, to)
        },
    )
}

fn a_run() -> impl Strategy<Value = Run> {
    (0..PLACES, 0..20u32, 2..6u32).prop_map(|(place, free, capacity)| {
        let it = idle(place);
        let vehicle = Vehicle { free: f64::from(free), capacity, ..it.vehicle };
        Run { vehicle, ..it }
    })
}

/// Everything an order of tasks can be, those that cannot be driven included.
fn permutations(tasks: &[Task]) -> Vec<Vec<Task>> {
    if tasks.is_empty() {
        return vec![Vec::new()];
    }
    let mut all = Vec::new();
    for at in 0..tasks.len() {
        let mut rest = tasks.to_vec();
        let first = rest.remove(at);
        for mut it in permutations(&rest) {
            it.insert(0, first);
            all.push(it);
        }
    }
    all
}

/// What a schedule costs, counted from the moments it gives.
fn cost_of(terms: &Terms<'_, impl Travel>, run: &Run) -> f64 {
    let Ok(schedule) = terms.schedule(&run.vehicle, &run.tasks) else { return f64::INFINITY };
    let weights = terms.rules.weights;
    let each = run.tasks.iter().zip(&schedule.moments).map(|(task, moment)| {
        let order = &terms.orders[task.order() as usize];
        if task.is_pickup() {
            weights.shelf * (moment - order.ready)
        } else {
            weights.door * (moment - order.asked)
        }
    });
    each.sum::<f64>() + weights.driving * schedule.driving
}

fn close(a: f64, b: f64) -> bool {
    (a.is_infinite() && b.is_infinite()) || (a - b).abs() < 1e-6
}

fn all_tasks(n_orders: usize) -> Vec<Task> {
    (0..n_orders as u32).flat_map(|it| [Task::pickup(it), Task::dropoff(it)]).collect()
}

#[test]
fn what_is_more_than_can_be_counted_is_too_much() {
    let orders = [Order { load: u32::MAX, ..order(1, 3) }, order(1, 4)];
    let rules = rules(Mixing::OneOrigin);
    let terms = Terms { orders: &orders, rules: &rules, travel: &streets };
    let vehicle = Vehicle { capacity: u32::MAX - 1, ..idle(0).vehicle };
    let tasks = [Task::pickup(1), Task::pickup(0), Task::dropoff(0), Task::dropoff(1)];
    assert_eq!(terms.schedule(&vehicle, &tasks), Err(Fault::Capacity { order: 0 }));
    assert!(terms.cost(&vehicle, &tasks, f64::INFINITY).is_infinite());
    let full = Vehicle { aboard: vec![0, 1], ..vehicle };
    let tasks = [Task::dropoff(0), Task::dropoff(1)];
    assert!(terms.schedule(&full, &tasks).is_ok(), "it is handed over all the same");
    assert!(terms.cost(&full, &tasks, f64::INFINITY).is_finite());
}

#[test]
fn what_is_fetched_at_one_place_in_a_row_is_one_visit() {
    let orders = [Order { ready: 10.0, ..order(1, 3) }, order(1, 4)];
    let rules = rules(Mixing::OneOrigin);
    let terms = Terms { orders: &orders, rules: &rules, travel: &streets };
    let tasks = [Task::pickup(0), Task::pickup(1), Task::dropoff(0), Task::dropoff(1)];
    let schedule = terms.schedule(&idle(0).vehicle, &tasks).unwrap();
    // Ready at 10, one minute to leave, two to drive, one to the door, and so on.
    assert_eq!(schedule.moments, [10.0, 10.0, 14.0, 17.0]);
    assert_eq!((schedule.leave, schedule.end, schedule.driving), (7.0, 18.0, 4.0));
}

#[test]
fn each_rule_that_is_broken_is_named() {
    let orders = [
        order(1, 3),
        Order { pickup_until: 4.0, ..order(2, 5) },
        Order { promise: 9.0, ..order(1, 6) },
        Order { load: 9, ..order(1, 2) },
    ];
    let rules = rules(Mixing::OneOrigin);
    let terms = Terms { orders: &orders, rules: &rules, travel: &streets };
    let (p, d) = (Task::pickup, Task::dropoff);
    let fault = |tasks: &[Task]| terms.schedule(&idle(0).vehicle, tasks).unwrap_err();
    assert_eq!(fault(&[d(0), p(0)]), Fault::Precedence { order: 0 });
    assert_eq!(fault(&[p(0), p(0), d(0)]), Fault::Precedence { order: 0 });
    assert_eq!(fault(&[p(0), d(0), p(0)]), Fault::Precedence { order: 0 });
    assert_eq!(fault(&[p(0)]), Fault::Kept { order: 0 });
    assert_eq!(fault(&[p(0), p(1), d(0), d(1)]), Fault::Mixed { order: 1 });
    assert_eq!(fault(&[p(0), d(0), p(1), d(1)]), Fault::TooLate { order: 1 });
    assert_eq!(fault(&[p(2), d(2)]), Fault::Promise { order: 2 });
    assert_eq!(fault(&[p(3), d(3)]), Fault::Capacity { order: 3 });
    let gone = Vehicle { until: 2.5, ..idle(0).vehicle };
    assert_eq!(terms.schedule(&gone, &[p(0), d(0)]), Err(Fault::TooLate { order: 0 }));
    let full = Vehicle { aboard: vec![0], ..idle(0).vehicle };
    assert_eq!(terms.schedule(&full, &[p(2), d(2)]), Err(Fault::Mixed { order: 2 }));
    assert!(terms.schedule(&full, &[d(0), p(1), d(1)]).is_err());
    assert!(terms.schedule(&full, &[d(0)]).is_ok());
}

#[test]
fn slack_is_what_is_left_of_the_closest_promise() {
    let orders = [Order { promise: 20.0, ..order(1, 3) }, Order { promise: 10.0, ..order(1, 4) }];
    let rules = rules(Mixing::Free);
    let terms = Terms { orders: &orders, rules: &rules, travel: &streets };
    let run = resequence(&terms, &Run { tasks: all_tasks(2), ..idle(0) }).unwrap();
    let schedule = terms.schedule(&run.vehicle, &run.tasks).unwrap();
    assert!(schedule.moments.iter().all(|it| *it <= 10.0), "{schedule:?}");
    assert_eq!(terms.slack(&run), Ok(0.0));
    assert_eq!(terms.slack(&idle(0)), Ok(f64::INFINITY));
}

#[test]
fn what_the_driver_is_on_the_way_to_stays_first() {
    let orders = [order(100, 101), order(1, 2)];
    let rules = rules(Mixing::Free);
    let terms = Terms { orders: &orders, rules: &rules, travel: &streets };
    let away = Run { tasks: vec![Task::pickup(0), Task::dropoff(0)], fixed: 1, ..idle(0) };
    let both = insert(&terms, &away, 1).unwrap();
    assert_eq!(both.tasks[0], Task::pickup(0));
    assert_eq!(resequence(&terms, &both).unwrap().tasks[0], Task::pickup(0));
    let free = Run { fixed: 0, ..away };
    assert_eq!(insert(&terms, &free, 1).unwrap().tasks[0], Task::pickup(1), "near, so first");
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 200, ..ProptestConfig::default() })]

    #[test]
    fn cost_judges_as_the_schedule_does(
        run in a_run(), orders in prop::collection::vec(an_order(), 1..5), mixing in mixing(), seed in any::<u64>()
    ) {
        let rules = rules(mixing);
        let terms = Terms { orders: &orders, rules: &rules, travel: &streets };
        // Some order of tasks in which everything is fetched before it is brought.
        let mut tasks = all_tasks(orders.len());
        crate::chance::Chance::new(seed).shuffle(&mut tasks);
        for order in 0..orders.len() as u32 {
            let at = |task| tasks.iter().position(|it| *it == task).unwrap();
            let (p, d) = (at(Task::pickup(order)), at(Task::dropoff(order)));
            if p > d {
                tasks.swap(p, d);
            }
        }
        let run = Run { tasks, ..run };
        prop_assert!(close(terms.cost(&run.vehicle, &run.tasks, f64::INFINITY), cost_of(&terms, &run)));
        // A beginning is never dearer than the whole.
        let whole = terms.cost(&run.vehicle, &run.tasks, f64::INFINITY);
        for n in 0..run.tasks.len() {
            prop_assert!(terms.cost(&run.vehicle, &run.tasks[..n], f64::INFINITY) <= whole + 1e-9);
        }
    }

    #[test]
    fn an_insertion_keeps_every_rule_and_none_is_cheaper(
        run in a_run(), orders in prop::collection::vec(an_order(), 1..5), mixing in mixing()
    ) {
        let rules = rules(mixing);
        let terms = Terms { orders: &orders, rules: &rules, travel: &streets };
        let mut run = run;
        for order in 0..orders.len() as u32 {
            let mut cheapest = f64::INFINITY;
            for p in 0..=run.tasks.len() {
                for d in p..=run.tasks.len() {
                    let mut with = run.clone();
                    with.tasks.insert(d, Task::dropoff(order));
                    with.tasks.insert(p, Task::pickup(order));
                    cheapest = cheapest.min(cost_of(&terms, &with));
                }
            }
            match insert(&terms, &run, order) {
                None => prop_assert!(cheapest.is_infinite()),
                Some(with) => {
                    prop_assert!(close(cost_of(&terms, &with), cheapest));
                    // What was there stays in its order.
                    let rest: Vec<Task> = with.tasks.iter().copied().filter(|it| it.order() != order).collect();
                    prop_assert_eq!(&rest, &run.tasks);
                    run = with;
                }
            }
        }
    }

    #[test]
    fn more_than_the_exact_search_arranges_gets_no_dearer(
        run in a_run(), orders in prop::collection::vec(an_order(), 6..9), mixing in mixing()
    ) {
        let rules = rules(mixing);
        let terms = Terms { orders: &orders, rules: &rules, travel: &streets };
        let mut run = run;
        for order in 0..orders.len() as u32 {
            run = insert(&terms, &run, order).unwrap_or(run);
        }
        let better = resequence(&terms, &run).unwrap();
        prop_assert!(cost_of(&terms, &better) <= cost_of(&terms, &run) + 1e-6);
        let sorted = |run: &Run| { let mut it = run.tasks.clone(); it.sort(); it };
        prop_assert_eq!(sorted(&better), sorted(&run));
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 60, ..ProptestConfig::default() })]

    #[test]
    fn a_new_sequence_is_the_best_of_all(
        run in a_run(), orders in prop::collection::vec(an_order(), 1..4), mixing in mixing(), fixed in 0..2usize
    ) {
        let rules = rules(mixing);
        let terms = Terms { orders: &orders, rules: &rules, travel: &streets };
        let tasks = all_tasks(orders.len());
        let run = Run { tasks: tasks.clone(), fixed, ..run };
        let best = permutations(&tasks[fixed..]).into_iter().map(|rest| {
            let tasks = [&tasks[..fixed], &rest[..]].concat();
            cost_of(&terms, &Run { tasks, ..run.clone() })
        }).fold(f64::INFINITY, f64::min);
        match resequence(&terms, &run) {
            None => prop_assert!(best.is_infinite()),
            Some(it) => {
                prop_assert!(close(cost_of(&terms, &it), best));
                prop_assert_eq!(&it.tasks[..fixed], &tasks[..fixed]);
            }
        }
    }
}

#[test]
fn five_orders_are_arranged_as_well_as_by_hand() {
    // All 113,400 orders of ten tasks, once: the exact search at the most it is asked to do.
    let orders: Vec<Order> =
        [(0, 60), (30, 14), (0, 99), (60, 7), (30, 80)].map(|it| order(it.0, it.1)).to_vec();
    let rules = Rules { aboard_max: 5, ..rules(Mixing::Free) };
    let terms = Terms { orders: &orders, rules: &rules, travel: &streets };
    let mut run = Run { tasks: all_tasks(5), ..idle(50) };
    run.vehicle.capacity = 5;
    let mut best = f64::INFINITY;
    let mut tasks = Vec::new();
    every_sequence(&terms, &run, &mut tasks, &mut best);
    assert!(close(cost_of(&terms, &resequence(&terms, &run).unwrap()), best));
}

fn every_sequence(
    terms: &Terms<'_, impl Travel>,
    run: &Run,
    tasks: &mut Vec<Task>,
    best: &mut f64,
) {
    if tasks.len() == run.tasks.len() {
        *best = best.min(terms.cost(&run.vehicle, tasks, f64::INFINITY));
        return;
    }
    for task in &run.tasks {
        let is_due = task.is_pickup() || tasks.contains(&Task::pickup(task.order()));
        if is_due && !tasks.contains(task) {
            tasks.push(*task);
            every_sequence(terms, run, tasks, best);
            tasks.pop();
        }
    }
}
