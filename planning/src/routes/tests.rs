use super::*;

/// Pairs at random places, with windows around when a vehicle of their own would be there.
fn problem(seed: u64, n_pairs: usize) -> Problem {
    let mut chance = Chance::new(seed);
    let depot = Site { x: 50.0, y: 50.0, demand: 0, opens: 0.0, closes: 1000.0, service: 0.0 };
    let mut problem =
        Problem { sites: vec![depot], pairs: Vec::new(), capacity: 20, vehicles: n_pairs };
    for _ in 0..n_pairs {
        let demand = 1 + chance.below(10) as i64;
        let opens = chance.below(400) as f64;
        let mut site = |demand, opens: f64, chance: &mut Chance| {
            let (x, y) = (chance.below(100) as f64, chance.below(100) as f64);
            problem.sites.push(Site { x, y, demand, opens, closes: opens + 150.0, service: 5.0 });
            problem.sites.len() - 1
        };
        let from = site(demand, opens, &mut chance);
        let to = site(-demand, opens + 100.0, &mut chance);
        problem.pairs.push((from, to));
    }
    problem
}

/// Over after so many questions.
fn questions(n: u32) -> impl FnMut() -> f64 {
    let mut asked = 0;
    move || {
        asked += 1;
        f64::from(asked) / f64::from(n)
    }
}

#[test]
fn routes_keep_every_rule_and_a_seed_says_which() {
    for seed in 0..6 {
        let problem = problem(seed, 15);
        let routes = plan(&problem, seed, questions(60)).expect("each pair can be served");
        let length = problem.check(&routes).expect("routes that can be driven");
        let alone: f64 = problem
            .pairs
            .iter()
            .map(|(a, b)| {
                problem.distance(0, *a) + problem.distance(*a, *b) + problem.distance(*b, 0)
            })
            .sum();
        assert!(length < alone && routes.len() < 15, "{length} of {alone} with {}", routes.len());
        assert_eq!(plan(&problem, seed, questions(60)).expect("the same"), routes);
    }
}

/// The least over every way to serve pairs: each next task goes to some vehicle's end.
fn least(problem: &Problem, rows: &mut Vec<Vec<usize>>, best: &mut (usize, f64)) {
    let is_done = |site: usize, rows: &[Vec<usize>]| rows.iter().any(|it| it.contains(&site));
    let n: usize = rows.iter().map(Vec::len).sum();
    if n == problem.sites.len() - 1 {
        if let Ok(length) = problem.check(rows) {
            let used = rows.iter().filter(|it| !it.is_empty()).count();
            if (used, length) < *best {
                *best = (used, length);
            }
        }
        return;
    }
    for row in 0..rows.len() {
        if row > 0 && rows[row].is_empty() && rows[row - 1].is_empty() {
            break;
        }
        for (from, to) in problem.pairs.clone() {
            let next = match (is_done(from, rows), rows[row].contains(&from), is_done(to, rows)) {
                (false, _, _) => from,
                (true, true, false) => to,
                _ => continue,
            };
            rows[row].push(next);
            least(problem, rows, best);
            rows[row].pop();
        }
    }
}

#[test]
fn a_few_pairs_are_routed_as_well_as_can_be() {
    for seed in 10..30 {
        let problem = problem(seed, 3);
        let mut best = (usize::MAX, f64::INFINITY);
        least(&problem, &mut vec![Vec::new(); 3], &mut best);
        let routes = plan(&problem, 1, questions(40)).expect("each pair can be served");
        let length = problem.check(&routes).expect("routes that can be driven");
        assert_eq!(routes.len(), best.0, "seed {seed}");
        assert!((length - best.1).abs() < 1e-6, "seed {seed}: {length} is not {}", best.1);
    }
}

#[test]
fn what_no_vehicle_can_serve_is_said() {
    let mut it = problem(1, 3);
    it.sites[1].closes = 0.0;
    it.sites[1].opens = 0.0;
    assert_eq!(plan(&it, 1, questions(10)), None);
    let nothing = Problem { sites: it.sites[..1].to_vec(), pairs: Vec::new(), ..it };
    assert_eq!(plan(&nothing, 1, questions(10)), Some(Vec::new()));
}

#[test]
fn each_rule_that_is_broken_is_named() {
    let depot = Site { x: 0.0, y: 0.0, demand: 0, opens: 0.0, closes: 100.0, service: 0.0 };
    let site = |x: f64, demand, closes| Site { x, demand, closes, service: 1.0, ..depot };
    let sites = vec![
        depot,
        site(10.0, 2, 40.0),
        site(20.0, -2, 50.0),
        site(30.0, 2, 60.0),
        site(10.0, -2, 90.0),
    ];
    let problem = Problem { sites, pairs: vec![(1, 2), (3, 4)], capacity: 3, vehicles: 2 };
    let fault = |routes: &[Vec<usize>]| problem.check(routes).unwrap_err();
    assert_eq!(problem.check(&[vec![1, 2, 3, 4]]), Ok(60.0));
    assert_eq!(problem.check(&[vec![1, 2], vec![3, 4]]), Ok(100.0));
    assert_eq!(fault(&[vec![1, 2, 3]]), RouteFault::Missed { site: 4 });
    assert_eq!(fault(&[vec![1, 2, 3, 4, 1]]), RouteFault::Twice { site: 1 });
    assert_eq!(fault(&[vec![1, 2, 3, 4, 9]]), RouteFault::Twice { site: 9 });
    assert_eq!(fault(&[vec![2, 1, 3, 4]]), RouteFault::Capacity { site: 2 });
    assert_eq!(fault(&[vec![1, 3, 2, 4]]), RouteFault::Capacity { site: 3 });
    assert_eq!(fault(&[vec![3, 4, 1, 2]]), RouteFault::Late { site: 1 });
    assert_eq!(fault(&[vec![1, 4], vec![3, 2]]), RouteFault::Precedence { pair: 0 });
    assert_eq!(fault(&[vec![1, 2], vec![3], vec![4]]), RouteFault::Vehicles);
    let long = Problem {
        sites: problem.sites.iter().map(|it| Site { closes: it.closes.min(62.0), ..*it }).collect(),
        ..problem.clone()
    };
    assert_eq!(long.check(&[vec![1, 2, 3, 4]]), Err(RouteFault::Late { site: 0 }));
    // A load that balances only across vehicles is no load at all.
    assert_eq!(fault(&[vec![1, 2, 3], vec![4]]), RouteFault::Capacity { site: 4 });
}
