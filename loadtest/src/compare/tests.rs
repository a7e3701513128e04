use super::*;
use crate::{
    measure::{Timeline, coarsen},
    record::{Held, tests::a_run},
};

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
fn what_was_not_done_any_more_is_told_to_be_unknown() {
    let mut nothing = run(2, 1.0);
    nothing.took.clear();
    let comparison = compare(&run(1, 1.0), &nothing);
    let gone = comparison.figures.iter().find(|it| it.name == "place.p99").unwrap();
    assert_eq!((gone.verdict, gone.change), (Change::Unknown, None), "{comparison}");
    assert_eq!(comparison.exit_code(), 0);
}

fn names(comparison: &Comparison) -> Vec<&str> {
    comparison.figures.iter().map(|it| it.name.as_str()).collect()
}

#[test]
fn the_hours_of_one_run_are_compared() {
    // Two minutes as they should be, then two that are half as slow again and hold more memory.
    let with = |mut it: Record, bytes| {
        it.timeline.slots.iter_mut().for_each(|slot| slot.watched_bytes = bytes);
        it
    };
    let (mut both, slow) = (with(run(1, 1.0), 100_000_000), with(run(2, 1.5), 150_000_000));
    slow.timeline.slots.into_iter().for_each(|slot| both.timeline.second(slot));
    both.counted_until_s = 240.0;
    both.watched = Some(Watched { n: 1, ..Watched::default() });
    let of = |before: &str, after: &str| {
        let between = |it: &str| it.parse::<Between>().unwrap();
        compare_parts((&both, between(before)), (&both, between(after)))
    };
    let comparison = of("0s..2m", "2m..4m").unwrap();
    for name in ["place.p50", "watched: memory at last, MB"] {
        assert_eq!(verdict(&comparison, name), Change::Worse, "{comparison}");
    }
    assert_eq!(comparison.unlike, Vec::<String>::new());
    assert!(!names(&comparison).contains(&"promises broken"), "nobody knows when: {comparison}");
    assert!(comparison.after.ends_with("2m..4m"), "{comparison}");
    let same = of("10s..1m", "1m..2m").unwrap();
    for name in ["errors, of what was answered", "watched: memory at last, MB"] {
        assert_eq!(verdict(&same, name), Change::Same, "{same}");
    }
    assert!(!names(&same).contains(&"errors"), "what was never answered is in no slot: {same}");
    let beyond = of("0s..2m", "1h..2h").unwrap_err().to_string();
    assert!(beyond.ends_with("in 1h..2h: what did was from second 10 to second 240"), "{beyond}");
}

#[test]
fn a_part_of_a_run_goes_from_then_to_later() {
    for wrong in ["1h", "1h..", "2h..1h", "1h..1h", "1..2", "then..now"] {
        assert_eq!(wrong.parse::<Between>(), Err(NoBetween(wrong.to_owned())));
    }
    let between = "5m..1h 5m".parse::<Between>().unwrap();
    assert_eq!(between.until, Duration::from_secs(65 * 60));
    assert_eq!(between.to_string().parse(), Ok(between));
}

#[test]
fn sessions_that_died_and_what_they_take_is_compared() {
    let with = |held, died, node_bytes| {
        let held = Held { wanted: 10_000, held, died, node_bytes, ..Held::default() };
        Record { sessions: Some(held), ..run(1, 1.0) }
    };
    let comparison = compare(&with(10_000, 0, 14_000), &with(9_800, 200, 16_000));
    for name in ["sessions not held", "sessions that died", "bytes of a session"] {
        assert_eq!(verdict(&comparison, name), Change::Worse, "{comparison}");
    }
    let comparison = compare(&with(10_000, 0, 0), &with(10_000, 0, 16_000));
    assert!(!names(&comparison).contains(&"bytes of a session"), "one was not weighed");
    assert!(!names(&compare(&run(1, 1.0), &run(1, 1.0))).contains(&"sessions that died"));
}

#[test]
fn watched_processes_are_compared_if_both_were() {
    let with = |cores: f64, bytes| {
        let mut it = run(1, 1.0);
        let mut moods = ChaCha8Rng::seed_from_u64(5);
        let slots = it.timeline.slots.iter_mut();
        slots.for_each(|slot| slot.watched_cores = cores * moods.random_range(0.9..1.1));
        let (bytes_max, bytes_after) = (bytes, bytes);
        it.watched = Some(Watched { n: 1, cores, bytes_max, bytes_after, ..Watched::default() });
        it
    };
    let comparison = compare(&with(0.5, 100_000_000), &with(0.7, 105_000_000));
    assert_eq!(verdict(&comparison, "watched: processors"), Change::Worse, "{comparison}");
    assert_eq!(verdict(&comparison, "watched: most memory, MB"), Change::Same, "{comparison}");
    let one = compare(&run(1, 1.0), &with(0.7, 105_000_000));
    assert!(!names(&one).contains(&"watched: processors"));
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
