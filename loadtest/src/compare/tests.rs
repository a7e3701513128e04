use super::*;
use crate::{
    measure::{Timeline, Took, coarsen},
    record::tests::a_run,
};
use std::time::Duration;

/// Two minutes in which everything takes some 10 ms, scattered by dice, and `slower` times as long.
fn run(seed: u64, slower: f64) -> Record {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let (mut timeline, mut took) = (Timeline::default(), Took::default());
    for _ in 0..120 {
        // Each second has its own mood.
        let mood = rng.random_range(0.8..1.2);
        let us: Vec<u64> = (0..30)
            .map(|_| {
                (10_000.0 * slower * mood * (1.0 - (1.0 - rng.random::<f64>()).ln() * 0.2)) as u64
            })
            .collect();
        us.iter().for_each(|us| took.corrected.record(Duration::from_micros(*us)));
        let counts = coarsen(us.into_iter().map(|us| (us, 1)).collect());
        timeline.second(Slot { done: 30, took: [(Op::Place, counts)].into(), ..Slot::default() });
    }
    Record { took: [(Op::Place, took)].into(), timeline, ..a_run() }
}

fn verdict(comparison: &Comparison, name: &str) -> Change {
    comparison.figures.iter().find(|it| it.name == name).unwrap().verdict
}

#[test]
fn two_runs_of_one_build_are_the_same() {
    let n_wrong = (0..4_u64)
        .filter(|seed| compare(&run(*seed, 1.0), &run(seed + 100, 1.0)).exit_code() != 0)
        .count();
    assert!(n_wrong == 0, "{n_wrong} of 4 pairs were told apart");
}

#[test]
fn a_build_that_is_a_fifth_slower_is_found_out() {
    let comparison = compare(&run(1, 1.0), &run(2, 1.2));
    for name in ["place.p50", "place.p95"] {
        assert_eq!(verdict(&comparison, name), Change::Worse, "{comparison}");
    }
    assert_eq!(comparison.exit_code(), 2);
    let back = compare(&run(2, 1.2), &run(1, 1.0));
    assert_eq!((verdict(&back, "place.p50"), back.exit_code()), (Change::Better, 0), "{back}");
}

#[test]
fn a_difference_nobody_cares_about_is_none() {
    assert_eq!(verdict(&compare(&run(1, 1.0), &run(1, 1.03)), "place.p50"), Change::Same);
}

#[test]
fn one_broken_promise_is_no_noise() {
    let broken = Record { violations: 1, ..run(1, 1.0) };
    let comparison = compare(&run(1, 1.0), &broken);
    assert_eq!(verdict(&comparison, "promises broken"), Change::Worse);
}

#[test]
fn errors_are_judged_by_how_many_there_were() {
    let with = |failed| {
        let mut it = run(1, 1.0);
        it.commands.failed = failed;
        it
    };
    assert_eq!(verdict(&compare(&with(0), &with(2)), "errors"), Change::Same);
    assert_eq!(verdict(&compare(&with(0), &with(60)), "errors"), Change::Worse);
    assert_eq!(verdict(&compare(&with(60), &with(0)), "errors"), Change::Better);
}

#[test]
fn what_there_is_too_little_of_is_not_judged() {
    let few = |seed| {
        let mut it = run(seed, 1.0);
        let mut took = Took::default();
        (0..20).for_each(|n| took.corrected.record(Duration::from_millis(n)));
        it.took.insert(Op::Back, took);
        it
    };
    assert_eq!(verdict(&compare(&few(1), &few(2)), "back.p99"), Change::Unknown);
}

#[test]
fn runs_that_are_not_alike_are_told_to_be_so() {
    let mut other = run(1, 1.0);
    other.seed = 9;
    other.generator.saturated.push("it ran late".to_owned());
    let comparison = compare(&run(1, 1.0), &other);
    assert_eq!(
        comparison.unlike,
        ["seed: 0, then 9", "the second run's generator was saturated: it ran late"]
    );
}
