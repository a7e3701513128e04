//! What several nodes promise, under a simulator: one thread, simulated time, and a seed that decides
//! what goes wrong, and when. Whatever a seed shows, it shows again:
//!
//! ```text
//! OUTRIDER_SIM_SEED=1234 cargo test -p actors --test simulation -- one_seed --nocapture
//! OUTRIDER_SIM_SEEDS=10000 cargo nextest run -p actors --test simulation
//! ```
//!
//! Read in this order: `faults.rs` (what goes wrong), `load.rs` (what clients want), `run.rs` (one run, and
//! what is expected of it), `node.rs`; then what a node is given instead of the world: `database.rs`,
//! `wire.rs` and `world.rs`.

#![expect(clippy::print_stdout, reason = "whoever runs a seed wants to read what became of it")]

mod database;
mod faults;
mod load;
mod node;
mod run;
mod story;
mod wire;
mod world;

use run::{Options, Outcome, run};
use std::time::Instant;

/// How many seeds are run if nobody says.
const SEEDS: u64 = 1_000;
/// So many tests share them, each of which has a process of its own.
const PARTS: u64 = 8;
/// A fence that is missing is missed within so many.
const PLANTED_MAX: u64 = 100;

/// What the environment says, if it does.
fn said(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|said| said.parse().expect("a number"))
}

/// Runs every eighth seed.
fn part(n: u64) {
    let began = Instant::now();
    let (mut failed, mut n_acks, mut n_epochs, mut n_runs) = (Vec::new(), 0, 0, 0);
    for seed in (n..said("OUTRIDER_SIM_SEEDS").unwrap_or(SEEDS)).step_by(PARTS as usize) {
        let outcome = run(seed, Options::default());
        n_acks += outcome.n_acks;
        n_epochs += outcome.n_epochs;
        n_runs += 1;
        if !outcome.problems.is_empty() {
            println!("seed {seed}: {:#?}\n{}", outcome.problems, again(seed));
            failed.push(seed);
        }
    }
    println!("{n_runs} runs, {n_acks} answers, {n_epochs} ownerships in {:?}", began.elapsed());
    let commands: Vec<String> = failed.into_iter().map(again).collect();
    assert!(commands.is_empty(), "these show it again:\n{}", commands.join("\n"));
}

fn again(seed: u64) -> String {
    format!(
        "OUTRIDER_SIM_SEED={seed} cargo test -p actors --test simulation -- one_seed --nocapture"
    )
}

macro_rules! parts {
    ($($name:ident $n:literal),+) => {$(
        #[test]
        fn $name() {
            part($n);
        }
    )+};
}

/// Whatever goes wrong: what was acknowledged is there, happened once and in order, everyone is told,
/// and once nothing goes wrong any more, everything is well again.
mod a_thousand_seeds {
    use super::part;

    parts! {
        part_1 0, part_2 1, part_3 2, part_4 3, part_5 4, part_6 5, part_7 6, part_8 7
    }
}

#[test]
fn one_seed() {
    let seed = said("OUTRIDER_SIM_SEED").unwrap_or_default();
    let outcome = run(seed, Options { is_told: true, ..Options::default() });
    println!("{outcome:#?}");
    assert!(outcome.problems.is_empty(), "{:#?}", outcome.problems);
}

#[test]
fn the_same_seed_tells_the_same_story() {
    let tell = |seed| {
        let Outcome { digest, n_acks, n_epochs, took, .. } = run(seed, Options::default());
        (digest, n_acks, n_epochs, took)
    };
    for seed in 0..10 {
        assert_eq!(tell(seed), tell(seed), "seed {seed}");
    }
}

#[test]
fn a_fence_that_is_missing_is_missed() {
    let unfenced = Options { is_unfenced: true, ..Options::default() };
    let found = (0..PLANTED_MAX).find_map(|seed| {
        let problems = run(seed, unfenced).problems;
        (!problems.is_empty()).then_some((seed, problems))
    });
    let (seed, problems) = found.expect("some seed finds it");
    println!("seed {seed} finds it: {problems:#?}");
}
