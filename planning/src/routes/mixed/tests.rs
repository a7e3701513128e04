use super::*;
use crate::chance::Chance;
use proptest::prelude::*;
use std::sync::LazyLock;

/// Places `p` are at (p / 40, p % 40), a unit of time apart.
fn straight(from: u32, to: u32) -> f64 {
    let at = |it: u32| (f64::from(it / 40), f64::from(it % 40));
    let (a, b) = (at(from), at(to));
    (a.0 - b.0).hypot(a.1 - b.1)
}

const PLACES: u32 = 1_600;

/// Made once, for they are large.
fn ways() -> Vec<Ways> {
    static WAYS: LazyLock<Vec<Ways>> = LazyLock::new(|| {
        vec![Ways::new(PLACES, straight), Ways::new(PLACES, |from, to| 2.0 * straight(from, to))]
    });
    WAYS.clone()
}

fn stop(place: u32) -> Stop {
    Stop { place, opens: f64::NEG_INFINITY, closes: f64::INFINITY, service: 1.0 }
}

fn job(task: Task) -> Job {
    Job { task, size: 1, skills: 0 }
}

fn carry(from: u32, to: u32) -> Job {
    job(Task::Carry { from: stop(from), to: stop(to) })
}

fn vehicle(start: u32) -> Vehicle {
    Vehicle { start, end: None, capacity: 4, from: 0.0, until: 500.0, skills: 0, ways: 0 }
}

fn problem(jobs: Vec<Job>, vehicles: Vec<Vehicle>) -> Problem {
    Problem { jobs, vehicles, ways: ways(), vehicle_cost: 30.0 }
}

/// Jobs and vehicles of every kind.
fn any_problem(seed: u64, n_jobs: usize, n_vehicles: usize) -> Problem {
    let mut chance = Chance::new(seed);
    let stop = |chance: &mut Chance| {
        let opens = chance.below(200) as f64;
        let closes = opens + 20.0 + chance.below(200) as f64;
        let service = chance.below(4) as f64;
        Stop { place: chance.below(PLACES as usize) as u32, opens, closes, service }
    };
    let jobs = (0..n_jobs).map(|_| {
        let task = match chance.below(6) {
            0 => Task::Visit(stop(&mut chance)),
            1 => Task::Fetch(stop(&mut chance)),
            2 => Task::Bring(stop(&mut chance)),
            _ => {
                let from = stop(&mut chance);
                let closes = from.closes + 150.0;
                let to = Stop { opens: from.opens, closes, ..stop(&mut chance) };
                Task::Carry { from, to }
            }
        };
        let skills = if chance.below(4) == 0 { 1 << chance.below(2) } else { 0 };
        Job { task, size: 1 + chance.below(3) as u32, skills }
    });
    let jobs = jobs.collect();
    let vehicles = (0..n_vehicles).map(|_| {
        let start = chance.below(PLACES as usize) as u32;
        let from = chance.below(50) as f64;
        Vehicle {
            start,
            end: (chance.below(2) == 0).then_some(start),
            capacity: 2 + chance.below(4) as u32,
            from,
            until: from + 150.0 + chance.below(300) as f64,
            skills: chance.below(4) as u64,
            ways: chance.below(2),
        }
    });
    let vehicles = vehicles.collect();
    problem(jobs, vehicles)
}

fn all_of(job: usize, it: &Job) -> Vec<Errand> {
    let errand = |is_second| Errand { job, is_second };
    match it.task {
        Task::Visit(_) | Task::Fetch(_) | Task::Bring(_) => vec![errand(false)],
        Task::Carry { .. } => vec![errand(false), errand(true)],
    }
}

/// The least over everything that can be driven: how many jobs are left out, and what the rest costs.
fn least(problem: &Problem, rows: &mut Vec<Vec<Errand>>, best: &mut (usize, f64)) {
    if let Ok(cost) = problem.check(rows) {
        let n_served = (0..problem.jobs.len())
            .filter(|job| rows.iter().flatten().any(|it| it.job == *job))
            .count();
        let found = (problem.jobs.len() - n_served, cost);
        if found < *best {
            *best = found;
        }
    }
    for row in 0..rows.len() {
        for (job, it) in problem.jobs.iter().enumerate() {
            for errand in all_of(job, it) {
                let is_done = rows.iter().flatten().any(|it| *it == errand);
                let first = Errand { job, is_second: false };
                if is_done || errand.is_second && !rows[row].contains(&first) {
                    continue;
                }
                rows[row].push(errand);
                least(problem, rows, best);
                rows[row].pop();
            }
        }
    }
}

#[test]
fn a_few_jobs_are_planned_as_well_as_can_be() {
    for seed in 0..25 {
        let mut problem = any_problem(seed, 3, 2);
        if seed % 5 == 0 {
            problem.vehicles[1] = problem.vehicles[0];
        }
        let mut best = (usize::MAX, f64::INFINITY);
        least(&problem, &mut vec![Vec::new(); 2], &mut best);
        for rounds in [0, 200] {
            let plan = plan(&problem, 1, rounds, || false);
            let cost = problem.check(&plan.routes).expect("routes that can be driven");
            assert_eq!(plan.left_out.len(), best.0, "seed {seed}");
            assert!((cost - best.1).abs() < 1e-3, "seed {seed}: {cost} for {}", best.1);
        }
    }
}

#[test]
fn of_eight_stops_the_search_finds_what_costs_little_more_than_the_best() {
    for seed in 0..12 {
        let mut chance = Chance::new(seed);
        let mut stop = || {
            let opens = chance.below(40) as f64;
            let closes = opens + 120.0 + chance.below(200) as f64;
            Stop { place: chance.below(PLACES as usize) as u32, opens, closes, service: 1.0 }
        };
        let mut jobs = Vec::new();
        for _ in 0..4 {
            let from = stop();
            let to = Stop { closes: from.closes + 150.0, ..stop() };
            jobs.push(Job { size: 1 + (jobs.len() % 2) as u32, ..job(Task::Carry { from, to }) });
        }
        let one = problem(jobs, vec![vehicle(20 * 40 + 20)]);
        let mut best = (usize::MAX, f64::INFINITY);
        least(&one, &mut vec![Vec::new()], &mut best);
        // Beside so many vehicles that differ and hold nothing, not everything is tried.
        let useless = |n: u32| Vehicle { capacity: 0, until: f64::from(n), ..one.vehicles[0] };
        let vehicles = one.vehicles.iter().copied().chain((0..60).map(useless)).collect();
        let many = Problem { vehicles, ..one.clone() };
        for (problem, slack) in [(&one, 1.0), (&many, 1.05)] {
            let plan = plan(problem, 1, 400, || false);
            let cost = problem.check(&plan.routes).expect("routes that can be driven");
            assert_eq!(plan.left_out.len(), best.0, "seed {seed}");
            assert!(cost <= best.1 * slack + 1e-3, "seed {seed}: {cost} for {}", best.1);
            assert!(cost >= best.1 - 1e-3, "seed {seed}: {cost} for {}", best.1);
        }
    }
}

#[test]
fn fifty_stops_are_all_planned_and_can_be_driven() {
    let mut chance = Chance::new(1);
    let mut place = || chance.below(PLACES as usize) as u32;
    let jobs: Vec<Job> = (0..25).map(|_| carry(place(), place())).collect();
    let vehicles = (0..5).map(|_| vehicle(place())).collect();
    let problem = problem(jobs, vehicles);
    let it = plan(&problem, 1, 200, || false);
    assert_eq!(it.left_out, []);
    assert_eq!(it.routes.iter().flatten().count(), 50);
    assert!(problem.check(&it.routes).is_ok_and(|cost| (cost - it.cost).abs() < 1e-3));
}

#[test]
fn of_a_few_jobs_too_what_was_found_is_answered_when_time_is_over() {
    let problem = any_problem(1, 3, 2);
    let n_left_out = [0, 6, 9, 1_000].map(|n_asked_max| {
        let mut n_asked = 0;
        let it = plan(&problem, 1, 50, || {
            n_asked += 1;
            n_asked > n_asked_max
        });
        let cost = problem.check(&it.routes).expect("routes that can be driven");
        assert!((cost - it.cost).abs() < 1e-3, "{cost} {}", it.cost);
        it.left_out.len()
    });
    assert!(n_left_out.is_sorted_by(|a, b| a >= b) && n_left_out[0] == 3, "{n_left_out:?}");
}

#[test]
fn each_job_is_served_once_or_left_out_and_a_seed_says_how() {
    for seed in 0..8 {
        let problem = any_problem(seed, 30, 6);
        let it = plan(&problem, seed, 400, || false);
        let cost = problem.check(&it.routes).expect("routes that can be driven");
        assert!((cost - it.cost).abs() < 1e-3, "{cost} {}", it.cost);
        for (job, of) in problem.jobs.iter().enumerate() {
            let served = it.routes.iter().flatten().filter(|errand| errand.job == job).count();
            let is_left_out = it.left_out.iter().any(|left| left.0 == job);
            assert_eq!(served, if is_left_out { 0 } else { all_of(job, of).len() });
        }
        assert_eq!(plan(&problem, seed, 400, || false), it);
        assert_eq!(it.rounds, 400);
    }
}

#[test]
fn searching_on_leaves_no_more_out_and_costs_no_more() {
    let mut n_better = 0;
    for seed in 0..6 {
        let problem = any_problem(seed, 30, 6);
        let [first, last] = [0, 600].map(|rounds| plan(&problem, 1, rounds, || false));
        let [a, b] = [&first, &last].map(|it| (it.left_out.len(), it.cost));
        assert!(b <= a, "seed {seed}: {b:?} after {a:?}");
        n_better += usize::from(b < a);
    }
    assert!(n_better >= 4, "only {n_better} of 6 became better");
}

#[test]
fn who_is_told_that_time_is_over_stops_and_answers_what_it_has() {
    let problem = any_problem(3, 30, 6);
    let mut n_asked = 0;
    let it = plan(&problem, 1, u64::MAX, || {
        n_asked += 1;
        n_asked > 100
    });
    assert!(it.rounds < 100 && problem.check(&it.routes).is_ok());
    let none = plan(&problem, 1, u64::MAX, || true);
    assert!(none.routes.iter().all(Vec::is_empty) && none.rounds == 0);
    assert_eq!(none.left_out, (0..30).map(|job| (job, Why::Search)).collect::<Vec<_>>());
}

#[test]
fn what_was_not_tried_is_not_said_to_have_no_room() {
    // All of them find room, if they are tried.
    let jobs: Vec<Job> = (0..12).map(|n| carry(3 * n + 1, 3 * n + 2)).collect();
    let problem = problem(jobs, vec![vehicle(0), vehicle(3)]);
    assert!(plan(&problem, 1, 0, || false).left_out.is_empty());
    let mut n_served = Vec::new();
    for n_asked_max in 0..40 {
        let mut n_asked = 0;
        // Whoever says so once has said so.
        let it = plan(&problem, 1, 1_000, || {
            n_asked += 1;
            n_asked == n_asked_max + 1
        });
        assert!(it.left_out.iter().all(|left| left.1 == Why::Search), "{it:?}");
        assert!(problem.check(&it.routes).is_ok());
        n_served.push(12 - it.left_out.len());
    }
    // Each is judged, and then each is given a place.
    assert_eq!((n_served[11], n_served[18], n_served[39]), (0, 5, 12));
}

#[test]
fn why_nobody_serves_a_job_is_said() {
    let jobs = vec![
        Job { skills: 0b10, ..carry(1, 2) },
        Job { size: 5, ..carry(1, 2) },
        job(Task::Visit(Stop { closes: 3.0, ..stop(39) })),
        // Each alone is possible, and both at once are not.
        job(Task::Visit(Stop { opens: 50.0, closes: 50.0, ..stop(10) })),
        job(Task::Visit(Stop { opens: 50.0, closes: 50.0, ..stop(20) })),
    ];
    let it = plan(&problem(jobs, vec![vehicle(0)]), 1, 200, || false);
    let why: Vec<Why> = it.left_out.iter().map(|left| left.1).collect();
    assert_eq!(why, [Why::Skills, Why::Size, Why::Times, Why::Room]);
    // Who could hold it lacks the skill, and who has the skill is too small: it is the size that is in the way.
    let able = Vehicle { skills: 0b1, capacity: 1, ..vehicle(0) };
    let large = Job { size: 3, skills: 0b1, ..carry(1, 2) };
    let it = plan(&problem(vec![large], vec![vehicle(0), able]), 1, 10, || false);
    assert_eq!(it.left_out, [(0, Why::Size)]);
    let nobody = plan(&problem(vec![carry(1, 2)], Vec::new()), 1, 10, || false);
    assert_eq!(nobody.left_out, [(0, Why::Skills)]);
    let nothing = plan(&problem(Vec::new(), vec![vehicle(0)]), 1, 10, || false);
    assert_eq!((nothing.routes, nothing.cost, nothing.rounds), (vec![Vec::new()], 0.0, 0));
}

#[test]
fn where_no_way_leads_nobody_goes() {
    // From an island there is no way back, and to another there is none at all.
    let island = |from: u32, to: u32| match (from, to) {
        (20, _) | (_, 30) if from != to => f64::INFINITY,
        _ => straight(from, to),
    };
    let jobs = vec![carry(1, 2), carry(3, 30), job(Task::Visit(stop(20))), carry(20, 5)];
    let home = Vehicle { end: Some(0), ..vehicle(0) };
    let ways = vec![Ways::new(PLACES, island)];
    let problem = Problem { ways, ..problem(jobs, vec![home]) };
    let it = plan(&problem, 1, 200, || false);
    assert_eq!(it.left_out, [1, 2, 3].map(|job| (job, Why::Times)));
    assert_eq!(problem.check(&it.routes), Ok(4.0 + 30.0));
}

#[test]
fn what_is_in_time_by_way_of_a_place_is_not_driven_without_it() {
    for seed in 0..6 {
        // Some ways are longer than those by way of others, and some are none.
        let odd = |from: u32, to: u32| match (from * 31 + to * 17) % 7 {
            0 if from != to => f64::INFINITY,
            1 => 5.0 * straight(from, to),
            _ => straight(from, to),
        };
        let ways = vec![Ways::new(PLACES, odd), Ways::new(PLACES, odd)];
        let problem = Problem { ways, ..any_problem(seed, 24, 5) };
        let it = plan(&problem, seed, 600, || false);
        let cost = problem.check(&it.routes).expect("routes that can be driven");
        assert!((cost - it.cost).abs() < 1e-3, "seed {seed}: {cost} {}", it.cost);
    }
}

#[test]
fn as_few_vehicles_as_are_worth_their_cost_are_used() {
    let jobs = vec![carry(1, 2), carry(3, 4), carry(601, 602)];
    let far_apart = |vehicle_cost| {
        let vehicles = vec![vehicle(0), vehicle(600)];
        let problem = Problem { vehicle_cost, ..problem(jobs.clone(), vehicles) };
        let it = plan(&problem, 1, 300, || false);
        assert!(it.left_out.is_empty());
        it.routes.iter().filter(|it| !it.is_empty()).count()
    };
    assert_eq!(far_apart(1_000.0), 1);
    assert_eq!(far_apart(1.0), 2);
}

#[test]
fn a_schedule_says_when_what_is_done_and_leaves_no_sooner_than_it_must() {
    let jobs = vec![
        job(Task::Bring(Stop { opens: 20.0, ..stop(5) })),
        job(Task::Fetch(Stop { opens: 30.0, ..stop(8) })),
        carry(9, 12),
    ];
    let problem = problem(jobs, vec![Vehicle { end: Some(0), ..vehicle(0) }]);
    let errand = |job, is_second| Errand { job, is_second };
    let route = [errand(0, false), errand(1, false), errand(2, false), errand(2, true)];
    let it = problem.schedule(0, &route).unwrap();
    assert_eq!((it.leaves, it.load, it.home, it.ends), (15.0, 1, 12.0, 49.0));
    let moments: Vec<_> =
        it.moments.iter().map(|it| (it.arrives, it.begins, it.leaves, it.load)).collect();
    // There when it opens, then three on, a wait, one on, three on.
    let wanted = [
        (20.0, 20.0, 21.0, 0),
        (24.0, 30.0, 31.0, 1),
        (32.0, 32.0, 33.0, 2),
        (36.0, 36.0, 37.0, 1),
    ];
    assert_eq!(moments, wanted);
    assert_eq!(it.driven, 5.0 + 3.0 + 1.0 + 3.0 + 12.0);
    assert_eq!(problem.check(&[route.to_vec()]), Ok(24.0 + 30.0));
    let unused = problem.schedule(0, &[]).unwrap();
    assert_eq!((unused.leaves, unused.ends, unused.driven), (0.0, 0.0, 0.0));
}

#[test]
fn each_rule_that_is_broken_is_named() {
    let late = job(Task::Visit(Stop { closes: 1.0, ..stop(39) }));
    let jobs = vec![
        carry(1, 2),
        Job { size: 4, ..carry(3, 4) },
        Job { skills: 1, ..carry(1, 2) },
        late,
        job(Task::Bring(stop(1))),
        Job { size: 4, ..job(Task::Bring(stop(2))) },
    ];
    let home = Vehicle { until: 11.0, end: Some(0), ..vehicle(0) };
    let problem = problem(jobs, vec![vehicle(0), home]);
    let (first, second) =
        (|job| Errand { job, is_second: false }, |job| Errand { job, is_second: true });
    let fault = |errands: &[Errand]| problem.schedule(0, errands).unwrap_err();
    assert_eq!(fault(&[first(9)]), Fault::NoStop { job: 9 });
    assert_eq!(fault(&[second(4)]), Fault::NoStop { job: 4 });
    assert_eq!(fault(&[first(0), first(0)]), Fault::Twice { job: 0 });
    assert_eq!(fault(&[second(0), first(0)]), Fault::Precedence { job: 0 });
    assert_eq!(fault(&[first(0)]), Fault::Precedence { job: 0 });
    assert_eq!(fault(&[first(2), second(2)]), Fault::Skills { job: 2 });
    assert_eq!(fault(&[first(0), first(1), second(0), second(1)]), Fault::Capacity { job: 1 });
    assert_eq!(fault(&[first(4), first(5)]), Fault::Capacity { job: 5 });
    // What is on board from the start takes room until it is brought.
    assert_eq!(fault(&[first(1), second(1), first(4)]), Fault::Capacity { job: 1 });
    assert_eq!(fault(&[first(3)]), Fault::Late { job: 3 });
    let there_and_back = [first(0), second(0)];
    assert!(problem.schedule(1, &there_and_back).is_ok());
    let both = [first(0), second(0), first(1), second(1)];
    assert_eq!(problem.schedule(1, &both), Err(Fault::Overtime { vehicle: 1 }));
    assert_eq!(problem.schedule(2, &[]), Err(Fault::NoVehicle { vehicle: 2 }));
    let twice = [there_and_back.to_vec(), there_and_back.to_vec()];
    assert_eq!(problem.check(&twice), Err(Fault::Twice { job: 0 }));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    #[test]
    fn whatever_is_planned_can_be_driven(
        seed in any::<u64>(), n_jobs in 0..14_usize, n_vehicles in 0..5_usize, rounds in 0..60_u64,
    ) {
        let problem = any_problem(seed, n_jobs, n_vehicles);
        let it = plan(&problem, seed, rounds, || false);
        let cost = problem.check(&it.routes);
        prop_assert!(cost.is_ok_and(|cost| (cost - it.cost).abs() < 1e-3));
    }
}
