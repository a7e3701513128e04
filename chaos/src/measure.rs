//! How long clients wait when a cluster changes, and what it costs to be one.
//!
//! Each figure is of many runs on one machine: read them as ratios and orders of magnitude.

mod cost;

use crate::{
    Outcome,
    fleet::{Fleet, Needs, Programs, node::Node},
    load::{Load, Size},
    say,
};
use hdrhistogram::Histogram;
use serde::Serialize;
use std::time::{Duration, Instant};
use tokio::time::sleep;

/// How long anything may take to be well again.
const WELL: Duration = Duration::from_secs(90);
/// How long people are served between two runs.
const CALM: Duration = Duration::from_secs(1);
/// How long a frozen node stays so.
const FROZEN: Duration = Duration::from_secs(4);
/// How long a node may take to leave.
const LEAVING: Duration = Duration::from_secs(40);

/// Milliseconds of several runs.
#[derive(Debug, Clone, Serialize)]
struct Spread {
    n: u64,
    median: f64,
    p99: f64,
    max: f64,
}

impl Spread {
    fn of(values: impl IntoIterator<Item = f64>) -> Self {
        let mut times = Histogram::<u64>::new(3).expect("three digits are possible");
        for ms in values {
            times.record(((ms * 1_000.0) as u64).max(1)).expect("it grows");
        }
        let at = |us: u64| us as f64 / 1_000.0;
        Self {
            n: times.len(),
            median: at(times.value_at_quantile(0.5)),
            p99: at(times.value_at_quantile(0.99)),
            max: at(times.max()),
        }
    }
}

/// What clients felt in several runs of one fault, in milliseconds.
#[derive(Debug, Serialize)]
struct Felt {
    /// The longest time any command took.
    longest_command: Spread,
    /// The longest any client wanted something and heard nothing.
    longest_silence: Spread,
    /// Until all shards were served by others.
    all_served: Spread,
    /// Answers that should not have been given.
    n_failed: usize,
    n_commands: u64,
}

/// What was measured.
#[derive(Debug, Serialize)]
struct Figures {
    n_cores: usize,
    /// kill -9 of one of three nodes.
    killed: Option<Felt>,
    /// SIGSTOP of one of three nodes.
    frozen: Option<Felt>,
    /// SIGTERM of each of three nodes in turn, and its return.
    rolled: Option<Felt>,
    /// How long each shard was served by nobody when it was handed over, as nodes say.
    handover_per_shard: Option<Spread>,
    /// How long a node took to hand everything over and leave.
    drain: Option<Spread>,
    throughput: Vec<cost::Throughput>,
    asks: Option<cost::Asks>,
}

/// Which figures are wanted, and how many runs of each.
#[derive(Debug, Clone, clap::Args)]
pub(crate) struct Wanted {
    /// killed, frozen, rolled, throughput, asks; all of them if none is named.
    figures: Vec<String>,
    /// How many runs of each fault.
    #[arg(long, default_value_t = 20)]
    runs: usize,
}

/// Measures, and prints one JSON object.
pub(crate) async fn run(programs: &Programs, wanted: &Wanted) -> Outcome {
    let is_wanted =
        |name: &str| wanted.figures.is_empty() || wanted.figures.iter().any(|it| it == name);
    let mut figures = Figures {
        n_cores: std::thread::available_parallelism().map_or(1, Into::into),
        killed: None,
        frozen: None,
        rolled: None,
        handover_per_shard: None,
        drain: None,
        throughput: Vec::new(),
        asks: None,
    };
    if ["killed", "frozen", "rolled"].into_iter().any(is_wanted) {
        let mut fleet = Fleet::start(programs, Needs::USUAL).await?;
        let mut load = Load::start(&fleet, Size::USUAL).await?;
        if is_wanted("killed") {
            figures.killed = Some(felt(&mut fleet, &load, wanted.runs, Fault::Kill).await?);
        }
        if is_wanted("frozen") {
            figures.frozen = Some(felt(&mut fleet, &load, wanted.runs, Fault::Freeze).await?);
        }
        if is_wanted("rolled") {
            let runs = wanted.runs.next_multiple_of(fleet.nodes.len());
            let rolled = felt(&mut fleet, &load, runs, Fault::Leave).await?;
            figures.drain = Some(rolled.all_served.clone());
            figures.rolled = Some(rolled);
        }
        let said = fleet.nodes.iter().flat_map(Node::said);
        let handovers = said.filter_map(|line| {
            let is_it = line["cause"] == "handover";
            line["ms"].as_f64().filter(|_| is_it)
        });
        figures.handover_per_shard = Some(Spread::of(handovers));
        load.stop().await?;
    }
    if is_wanted("throughput") {
        for n_nodes in 1..=3 {
            figures.throughput.push(cost::throughput(programs, n_nodes).await?);
        }
    }
    if is_wanted("asks") {
        figures.asks = Some(cost::asks(programs).await?);
    }
    say(&serde_json::to_string_pretty(&figures)?)
}

/// What is done to one node.
#[derive(Debug, Clone, Copy)]
enum Fault {
    Kill,
    Freeze,
    Leave,
}

async fn felt(fleet: &mut Fleet, load: &Load, runs: usize, fault: Fault) -> Outcome<Felt> {
    let (mut commands, mut silences, mut served) = (Vec::new(), Vec::new(), Vec::new());
    let (mut n_commands, n_failed) = (0, load.world.record.all_unexpected().len());
    for run in 0..runs {
        let n = run % fleet.nodes.len();
        sleep(CALM).await;
        let began = Instant::now();
        let took = match fault {
            Fault::Kill => {
                fleet.nodes[n].kill().await?;
                fleet.well(WELL).await?
            }
            Fault::Freeze => {
                fleet.nodes[n].signal("STOP").await?;
                sleep(FROZEN).await;
                fleet.nodes[n].kill().await?;
                fleet.well(WELL).await? + began.elapsed().min(FROZEN)
            }
            Fault::Leave => {
                fleet.nodes[n].signal("TERM").await?;
                fleet.nodes[n].ended(LEAVING).await?;
                let took = began.elapsed();
                fleet.nodes[n].start()?;
                // Its return is part of it.
                fleet.well(WELL).await?;
                took
            }
        };
        load.everybody_answered(Duration::from_secs(30)).await?;
        let stalls = load.world.record.stalls(began, Instant::now());
        commands.push(stalls.max_ms);
        silences.push(stalls.gap_ms);
        served.push(took.as_secs_f64() * 1_000.0);
        n_commands += stalls.n_commands;
        say(&format!("{fault:?} {run}: {} ms, {stalls}", took.as_millis()))?;
        if !fleet.nodes[n].is_running() {
            fleet.nodes[n].start()?;
        }
        fleet.well(WELL).await?;
    }
    Ok(Felt {
        longest_command: Spread::of(commands),
        longest_silence: Spread::of(silences),
        all_served: Spread::of(served),
        n_failed: load.world.record.all_unexpected().len() - n_failed,
        n_commands,
    })
}
