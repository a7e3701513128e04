use super::*;
use crate::batch::{Mixing, Service, Weights};
use proptest::prelude::*;

fn streets(from: u32, to: u32) -> f64 {
    let at = |it: u32| (f64::from(it / 11), f64::from(it % 11));
    let (a, b) = (at(from), at(to));
    (a.0 - b.0).abs() + (a.1 - b.1).abs()
}

fn rules(mixing: Mixing) -> Rules {
    let service = Service { before: 1.0, after: 1.0 };
    let weights = Weights { door: 1.0, shelf: 0.5, driving: 0.0 };
    Rules { pickup: service, dropoff: service, mixing, aboard_max: 3, weights }
}

fn order(pickup: u32, dropoff: u32, ready: f64) -> Order {
    Order {
        pickup,
        dropoff,
        asked: 0.0,
        ready,
        pickup_until: f64::INFINITY,
        promise: f64::INFINITY,
        load: 1,
    }
}

fn vehicle(place: u32) -> Vehicle {
    Vehicle { place, free: 0.0, until: 200.0, capacity: 4, aboard: Vec::new() }
}

/// What happens to a fleet.
#[derive(Debug, Clone)]
enum Happens {
    Join(u32),
    Leave(usize),
    Order {
        from: u32,
        to: u32,
        ready: u32,
        promise: u32,
    },
    Cancel(usize),
    /// The first visit of somebody is done.
    Done(usize),
    /// Somebody is later than they thought.
    Late(usize, u32),
}

fn happens() -> impl Strategy<Value = Happens> {
    prop_oneof![
        1 => (0..121u32).prop_map(Happens::Join),
        1 => (0..9usize).prop_map(Happens::Leave),
        6 => (0..5u32, 0..121u32, 0..60u32, 20..90u32)
            .prop_map(|(from, to, ready, promise)| Happens::Order { from: from * 24, to, ready, promise }),
        1 => (0..30usize).prop_map(Happens::Cancel),
        3 => (0..9usize).prop_map(Happens::Done),
        1 => (0..9usize, 1..40u32).prop_map(|(it, late)| Happens::Late(it, late)),
    ]
}

/// The fleet after all of it, and what each vehicle did.
fn play(all: &[Happens], mixing: Mixing, seed: u64) -> (Fleet, Vec<(usize, Vec<Task>)>) {
    let mut fleet = Fleet::new(rules(mixing), seed);
    let mut did = Vec::new();
    let (mut vehicles, mut gone, mut cancelled) = (0, Vec::new(), Vec::new());
    for it in all {
        match *it {
            Happens::Join(place) => {
                fleet.join(vehicle(place));
                vehicles += 1;
            }
            Happens::Leave(which) if which < vehicles => {
                fleet.leave(which, &streets);
                gone.push(which);
            }
            Happens::Order { from, to, ready, promise } => {
                let promise = f64::from(ready + promise);
                fleet.add(Order { promise, ..order(from, to, f64::from(ready)) }, &streets);
            }
            Happens::Cancel(which) if which < fleet.orders().len() => {
                fleet.cancel(which as u32, &streets);
                cancelled.push(which as u32);
            }
            Happens::Done(which) if which < vehicles && !fleet.run(which).tasks.is_empty() => {
                let schedule = fleet.schedule(which, &streets).unwrap();
                let first = fleet.run(which).tasks[0];
                let place = first.place(fleet.orders());
                let done = fleet.done(which, 1, place, schedule.moments[0] + 1.0, &streets);
                did.push((which, done));
            }
            Happens::Late(which, late) if which < vehicles => {
                let it = &fleet.run(which).vehicle;
                let (place, free) = (it.place, it.free + f64::from(late));
                fleet.moved(which, place, free, &streets);
            }
            // Nobody to whom it could happen.
            Happens::Leave(_) | Happens::Cancel(_) | Happens::Done(_) | Happens::Late(..) => {}
        }
        let before = fleet.cost();
        fleet.improve(5, &streets);
        assert!(fleet.cost() <= before + 1e-6, "improving costs nothing");
        holds(&fleet, vehicles, &gone, &cancelled);
    }
    (fleet, did)
}

/// Every run can be driven, and every order is with one vehicle, left out, brought or cancelled.
fn holds(fleet: &Fleet, vehicles: usize, gone: &[usize], cancelled: &[u32]) {
    let mut seen = vec![0; fleet.orders().len()];
    let mut cost = 0.0;
    for which in 0..vehicles {
        let run = fleet.run(which);
        fleet.schedule(which, &streets).expect("a run that can be driven");
        if gone.contains(&which) {
            assert_eq!(run.waiting().count(), 0, "who left fetches nothing");
        } else {
            cost += fleet.terms(&streets).cost(&run.vehicle, &run.tasks, f64::INFINITY);
        }
        for order in run.waiting() {
            seen[order as usize] += 1;
        }
    }
    for order in fleet.left_out() {
        seen[*order as usize] += 1;
        cost += LEFT_OUT;
    }
    for (order, n) in seen.iter().enumerate() {
        let is_open = fleet.open.contains(&(order as u32));
        assert_eq!(*n, i32::from(is_open), "order {order}");
        assert!(!(is_open && cancelled.contains(&(order as u32))));
    }
    assert!((cost - fleet.cost()).abs() < 1e-6, "{cost} is not {}", fleet.cost());
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 40, ..ProptestConfig::default() })]

    #[test]
    fn whatever_happens_every_plan_can_be_driven_and_a_seed_says_which(
        all in prop::collection::vec(happens(), 1..40),
        one_origin in any::<bool>(),
        seed in any::<u64>(),
    ) {
        let mixing = if one_origin { Mixing::OneOrigin } else { Mixing::Free };
        let all: Vec<Happens> = [Happens::Join(60), Happens::Join(0)].into_iter().chain(all).collect();
        let (first, did) = play(&all, mixing, seed);
        let (second, did_again) = play(&all, mixing, seed);
        prop_assert_eq!(did, did_again);
        prop_assert_eq!(first.cost(), second.cost());
    }
}

/// The least that orders can cost two vehicles: every way to put tasks into two rows.
fn least(fleet: &Fleet, rows: &mut [Vec<Task>; 2], n_orders: u32) -> f64 {
    let n: usize = rows.iter().map(Vec::len).sum();
    if n == 2 * n_orders as usize {
        let terms = fleet.terms(&streets);
        let cost = |it: usize| terms.cost(&fleet.run(it).vehicle, &rows[it], f64::INFINITY);
        return cost(0) + cost(1);
    }
    let mut best = f64::INFINITY;
    for row in 0..2 {
        for order in 0..n_orders {
            let (pickup, dropoff) = (Task::pickup(order), Task::dropoff(order));
            let has = |task: &Task| rows.iter().any(|it| it.contains(task));
            let next = match (has(&pickup), rows[row].contains(&pickup), has(&dropoff)) {
                (false, _, _) => pickup,
                (true, true, false) => dropoff,
                _ => continue,
            };
            rows[row].push(next);
            best = best.min(least(fleet, rows, n_orders));
            rows[row].pop();
        }
    }
    best
}

#[test]
fn a_few_orders_are_planned_as_well_as_can_be() {
    let mut chance = Chance::new(7);
    for round in 0..40 {
        let mut fleet = Fleet::new(rules(Mixing::OneOrigin), round);
        fleet.join(vehicle(chance.below(121) as u32));
        fleet.join(vehicle(chance.below(121) as u32));
        for _ in 0..3 {
            let (from, to) = (24 * chance.below(3) as u32, chance.below(121) as u32);
            fleet.add(order(from, to, chance.below(20) as f64), &streets);
        }
        fleet.improve(60, &streets);
        let least = least(&fleet, &mut [Vec::new(), Vec::new()], 3);
        assert!(fleet.cost() >= least - 1e-6, "nothing is cheaper than the least");
        assert!(
            fleet.cost() <= least + 1e-6,
            "round {round}: {} is more than {least}",
            fleet.cost()
        );
    }
}

#[test]
fn an_order_joins_a_vehicle_that_is_on_its_way() {
    let mut fleet = Fleet::new(rules(Mixing::Free), 1);
    fleet.join(vehicle(0));
    fleet.add(order(1, 5, 0.0), &streets);
    fleet.done(0, 1, 1, 3.0, &streets);
    assert_eq!(fleet.run(0).vehicle.aboard, [0]);
    fleet.add(order(3, 4, 0.0), &streets);
    let tasks = &fleet.run(0).tasks;
    assert_eq!(
        tasks[..],
        [Task::pickup(1), Task::dropoff(1), Task::dropoff(0)],
        "it is on the way"
    );
    let promised = Order { promise: 8.0, ..order(1, 5, 0.0) };
    let mut fleet = Fleet::new(rules(Mixing::Free), 1);
    fleet.join(vehicle(0));
    fleet.add(promised, &streets);
    fleet.done(0, 1, 1, 3.0, &streets);
    fleet.add(order(3, 4, 0.0), &streets);
    assert_eq!(fleet.run(0).tasks[0], Task::dropoff(0), "a promise is kept");
}

#[test]
fn a_promise_that_is_broken_already_keeps_nobody_else_waiting() {
    let mut fleet = Fleet::new(rules(Mixing::Free), 1);
    fleet.join(vehicle(0));
    fleet.add(Order { promise: 12.0, ..order(1, 5, 0.0) }, &streets);
    fleet.done(0, 1, 1, 3.0, &streets);
    fleet.moved(0, 1, 50.0, &streets);
    fleet.add(order(6, 7, 0.0), &streets);
    assert_eq!(fleet.left_out(), [0u32; 0]);
    assert_eq!(fleet.run(0).tasks.len(), 3);
}

#[test]
fn what_nobody_can_take_is_left_out_until_somebody_can() {
    let mut fleet = Fleet::new(rules(Mixing::Free), 1);
    fleet.add(order(1, 5, 0.0), &streets);
    assert_eq!(fleet.left_out(), [0]);
    fleet.join(Vehicle { until: 1.0, ..vehicle(0) });
    fleet.improve(1, &streets);
    assert_eq!(fleet.left_out(), [0], "its shift is over before it could be there");
    fleet.join(vehicle(0));
    fleet.improve(1, &streets);
    assert_eq!(fleet.left_out(), [0u32; 0]);
    fleet.leave(1, &streets);
    assert_eq!(fleet.left_out(), [0]);
}
