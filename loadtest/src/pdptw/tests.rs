use super::*;
use std::{io::Write, path::PathBuf};

const SMALL: &str = "2\t10\t1
0\t0\t0\t0\t0\t100\t0\t0\t0
1\t10\t0\t4\t0\t50\t1\t0\t2
2\t20\t0\t-4\t0\t60\t1\t1\t0
";

#[test]
fn an_instance_is_read() {
    let it = parse(SMALL).unwrap();
    assert_eq!((it.vehicles, it.capacity, it.sites.len()), (2, 10, 3));
    assert_eq!(it.pairs, [(1, 2)]);
    let site = Site { x: 10.0, y: 0.0, demand: 4, opens: 0.0, closes: 50.0, service: 1.0 };
    assert_eq!(it.sites[1], site);
}

#[test]
fn what_is_no_instance_is_refused_with_its_line() {
    for (text, wrong) in [
        ("", (1, "vehicles, capacity and speed")),
        ("2 10", (1, "vehicles, capacity and speed")),
        ("2 10 fast", (1, "numbers")),
        ("2 10 1", (2, "a depot")),
        ("2 10 1\n0 0 0 0 0 100 0 0", (2, "nine numbers")),
        ("2 10 1\n1 0 0 0 0 100 0 0 0", (2, "sites numbered from 0")),
        (&SMALL.replace("\t0\t2\n", "\t0\t7\n"), (3, "a pickup and its delivery")),
        (&SMALL.replace("\t-4\t", "\t-3\t"), (3, "a pickup and its delivery")),
        (&SMALL.replace("\t1\t0\n", "\t0\t0\n"), (3, "a pickup and its delivery")),
        (&SMALL.replace("\t0\t2\n", "\t0\t0\n"), (3, "a pickup or a delivery")),
    ] {
        assert_eq!(parse(text), Err(wrong), "{text}");
    }
}

#[test]
fn routes_are_compared_with_the_best_known() {
    let problem = parse(SMALL).unwrap();
    let best = BestKnown { instance: "small".to_owned(), tasks: 2, vehicles: 1, distance: 40.0 };
    let it = route(&problem, &best, 0.01, 1);
    assert_eq!((it.vehicles, it.distance, it.broken.as_deref()), (1, 40.0, None));
    let longer = Routed { distance: 41.0, ..it.clone() };
    let more = Routed { vehicles: 2, ..it.clone() };
    let broken = Routed { broken: Some("site 1 is not visited".to_owned()), ..it.clone() };
    let report = Report::of(vec![it, longer, more, broken]);
    assert_eq!((report.feasible, report.vehicles_best_known, report.all_best_known), (3, 2, 1));
    assert_eq!(report.exit_code(), 3);
}

#[test]
fn published_best_solutions_are_as_good_as_they_say() {
    // Our checker, on what others found: it must neither refuse it nor count differently.
    let beside = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data"));
    let data = std::env::var_os("OUTRIDER_TEST_DATA").map_or(beside, PathBuf::from);
    let folder = data.join("pdptw_lilim");
    if !folder.is_dir() {
        let skipped =
            "SKIPPED: there are no Li and Lim instances; say where with OUTRIDER_TEST_DATA";
        writeln!(std::io::stderr(), "{skipped} ({} is missing)", folder.display()).unwrap();
        return;
    }
    let mut n = 0;
    for best in BestKnown::read(&folder.join("best_known.csv")).unwrap() {
        let BestKnown { instance, vehicles, distance, .. } = &best;
        let file =
            folder.join("best_solutions").join(format!("{instance}.{vehicles}_{distance:.4}.txt"));
        let Ok(text) = fs::read_to_string(file) else { continue };
        let problem = read(&folder.join("instances").join(format!("{instance}.txt"))).unwrap();
        let routes: Vec<Vec<usize>> = text
            .lines()
            .filter_map(|it| it.trim().strip_prefix("Route"))
            .filter_map(|it| it.split_once(':'))
            .map(|it| it.1.split_whitespace().map(|it| it.parse().unwrap()).collect())
            .collect();
        if routes.is_empty() {
            continue;
        }
        let length = problem.check(&routes).unwrap_or_else(|fault| panic!("{instance}: {fault}"));
        assert_eq!(routes.len(), *vehicles, "{instance}");
        assert!((length - distance).abs() < 0.01, "{instance}: {length} is not {distance}");
        n += 1;
    }
    assert!(n > 100, "only {n} solutions were found");
}
