//! What several nodes promise, under a simulator: one thread, simulated time, and a seed that decides
//! what goes wrong, and when. Whatever a seed shows, it shows again:
//!
//! ```text
//! OUTRIDER_SIM_SEED=1234 cargo test -p actors --test simulation -- one_seed --nocapture
//! OUTRIDER_SIM_SEEDS=10000 cargo nextest run -p actors --test simulation
//! ```

mod database;
mod faults;
mod load;
mod node;
mod run;
mod story;
mod wire;
mod world;

use run::{Options, run};

#[test]
fn one_seed() {
    let seed = std::env::var("OUTRIDER_SIM_SEED").ok();
    let seed = seed.map_or(0, |seed| seed.parse().expect("a seed is a number"));
    let began = std::time::Instant::now();
    let outcome = run(seed, Options { is_told: true, ..Options::default() });
    println!("{outcome:#?} in {:?}", began.elapsed());
    assert!(outcome.problems.is_empty());
}

#[test]
fn many() {
    let from: u64 = std::env::var("FROM").map_or(0, |n| n.parse().expect("n"));
    let n: u64 = std::env::var("N").map_or(10, |n| n.parse().expect("n"));
    let began = std::time::Instant::now();
    let mut simulated = std::time::Duration::ZERO;
    for seed in from..from + n {
        let one = std::time::Instant::now();
        let outcome = run(seed, Options::default());
        simulated += outcome.took;
        let what: String =
            outcome.problems.iter().map(|it| it.chars().take(300).collect::<String>()).collect();
        println!(
            "{seed} {:?} sim {:?} acks {} epochs {} {what}",
            one.elapsed(),
            outcome.took,
            outcome.n_acks,
            outcome.n_epochs
        );
    }
    println!("{:?} for {simulated:?}", began.elapsed());
}
