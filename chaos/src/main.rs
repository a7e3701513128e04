//! Breaks a cluster on purpose, under load, and proves that nothing was lost.
//!
//! ```text
//!  fleet: Postgres, NATS, nodes ◄── scenario: breaks one of them, waits until all is well
//!    ▲ real sockets                    │
//!  load: riders, drivers, desks        ▼
//!    └──► record: acks, waits ──► verdict: check journal, repeats, orders; and a report
//! ```
//!
//! Everything runs on this machine, and ends with us.

mod database;
mod fleet;
mod hold;
mod load;
mod measure;
mod record;
mod scenario;
mod verdict;

use clap::{Args, Parser, Subcommand, ValueEnum};
use fleet::{Programs, network::Network};
use hold::Hold;
use load::Size;
use loadtest::connect;
use measure::Wanted;
use scenario::{How, Scenario};
use std::{
    error::Error,
    io::{self, Write},
    path::PathBuf,
    process::ExitCode,
    time::Duration,
};
use tokio::signal::unix::{SignalKind, signal};

/// What can go wrong here is told to people, who read sentences.
type Outcome<T = ()> = Result<T, Box<dyn Error + Send + Sync>>;

/// Breaks a cluster on purpose, under load, and proves that nothing was lost.
#[derive(Debug, Parser)]
#[command(version, about)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Says which scenarios there are, and why some are not played.
    List,
    /// Plays scenarios, one after the other.
    Run(RunArgs),
    /// Measures how long clients wait when nodes die, freeze and leave, and what commands cost.
    Measure(MeasureArgs),
    /// Holds as many sessions as asked for: a million take 24 GiB. Or cuts all of them off at once.
    Hold(HoldArgs),
    /// One of the processes that hold them.
    #[command(hide = true)]
    Generate,
}

#[derive(Debug, Args)]
struct ProgramArgs {
    /// The program that nodes run.
    #[arg(long, env = "OUTRIDER_BIN", default_value = "target/release/outrider")]
    bin: PathBuf,
    /// The broker's program.
    #[arg(long, env = "OUTRIDER_TEST_NATS_SERVER", default_value = "nats-server")]
    nats: PathBuf,
}

impl ProgramArgs {
    fn programs(&self) -> Outcome<Programs> {
        let outrider = self.bin.canonicalize();
        let outrider = outrider.map_err(|error| format!("{}: {error}", self.bin.display()))?;
        // A bare name is looked for on the path.
        let nats = self.nats.canonicalize().unwrap_or_else(|_| self.nats.clone());
        Ok(Programs { outrider, nats })
    }
}

#[derive(Debug, Args)]
struct RunArgs {
    /// Which, by number; without any, those of the selection.
    scenarios: Vec<String>,
    /// Which, if none is named.
    #[arg(long, value_enum, default_value_t = Selection::All)]
    selection: Selection,
    #[command(flatten)]
    programs: ProgramArgs,
    /// Whose turn it is to die is drawn from this.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// How long people think between two commands.
    #[arg(long, default_value = "120ms", value_parser = humantime::parse_duration)]
    think: Duration,
}

#[derive(Debug, Args)]
struct MeasureArgs {
    #[command(flatten)]
    programs: ProgramArgs,
    #[command(flatten)]
    wanted: Wanted,
}

#[derive(Debug, Args)]
struct HoldArgs {
    #[command(flatten)]
    programs: ProgramArgs,
    #[command(flatten)]
    hold: Hold,
}

/// Several scenarios.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Selection {
    /// About five minutes, for every change. What is late, and nothing worse, is played once more.
    Quick,
    /// All of them.
    All,
}

fn main() -> ExitCode {
    let cli = Cli::parse();
    if let Command::Generate = cli.command {
        return match connect::generate() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => {
                drop(writeln!(io::stderr(), "chaos: generator: {error}"));
                ExitCode::FAILURE
            }
        };
    }
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let outcome = runtime.map_err(Into::into).and_then(|runtime| runtime.block_on(begin(cli)));
    match outcome {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            drop(writeln!(io::stderr(), "chaos: {error}"));
            ExitCode::FAILURE
        }
    }
}

/// Does what was asked; what was started for it ends in any case, also when we are told to.
async fn begin(cli: Cli) -> Outcome<bool> {
    let (mut terminate, mut interrupt) =
        (signal(SignalKind::terminate())?, signal(SignalKind::interrupt())?);
    tokio::select! {
        outcome = Box::pin(obey(cli)) => outcome,
        _ = terminate.recv() => Err("told to terminate".into()),
        _ = interrupt.recv() => Err("interrupted".into()),
    }
}

async fn obey(cli: Cli) -> Outcome<bool> {
    match cli.command {
        Command::List => list(),
        Command::Run(args) => run(args).await,
        Command::Measure(MeasureArgs { programs, wanted }) => {
            measure::run(&programs.programs()?, &wanted).await?;
            Ok(true)
        }
        Command::Hold(HoldArgs { programs, hold }) => hold::run(&programs.programs()?, hold).await,
        Command::Generate => Ok(true),
    }
}

fn list() -> Outcome<bool> {
    for Scenario { number, fault, expected, how, is_quick } in scenario::all() {
        let mark = if is_quick { "*" } else { " " };
        say(&format!("{number:>5}{mark} {fault}\n       => {expected}"))?;
        if let How::Argued(reason) = how {
            say(&format!("       not played: {reason}"))?;
        }
    }
    say("\n    * is in the quick selection")?;
    Ok(true)
}

async fn run(args: RunArgs) -> Outcome<bool> {
    let programs = args.programs.programs()?;
    let all = scenario::all();
    if let Some(unknown) = args.scenarios.iter().find(|it| !all.iter().any(|s| s.number == **it)) {
        return Err(format!("there is no scenario {unknown}: see `chaos list`").into());
    }
    let is_wanted = |it: &&Scenario| match args.scenarios.is_empty() {
        true => args.selection == Selection::All || it.is_quick,
        false => args.scenarios.iter().any(|number| it.number == *number),
    };
    let size = Size { think: args.think, ..Size::USUAL };
    let (mut n_passed, mut failed, mut n_impossible) = (0, Vec::new(), 0);
    // Who names a scenario wants to see it fail.
    let no_network = match args.scenarios.is_empty() {
        true => Network::make(1).await.map(drop).err(),
        false => None,
    };
    for scenario in all.iter().filter(is_wanted) {
        if let (How::Run(needs, ..), Some(problem)) = (scenario.how, &no_network)
            && needs.has_network
        {
            n_impossible += 1;
            let Scenario { number, fault, .. } = scenario;
            say(&format!("{number:>5} {fault}: NOT PLAYED, no network can be made: {problem}"))?;
            continue;
        }
        let mut left = if args.selection == Selection::Quick { 2 } else { 1 };
        while let Some(report) = scenario::run(scenario, &programs, size, args.seed).await {
            left -= 1;
            say(report.to_string().trim_end())?;
            say(&serde_json::to_string(&report)?)?;
            if report.is_sound {
                n_passed += 1;
            } else if report.is_kept && left > 0 {
                say("      late, but nothing is lost: once more, for machines stutter")?;
                continue;
            } else {
                failed.push(report);
            }
            break;
        }
    }
    // Again and last, for whoever sees only the end of it.
    for report in &failed {
        say(report.to_string().trim_end())?;
    }
    let n_failed = failed.len();
    say(&format!("{n_passed} passed, {n_failed} failed, {n_impossible} not possible here"))?;
    Ok(failed.is_empty())
}

fn say(text: &str) -> Outcome {
    Ok(writeln!(io::stdout().lock(), "{text}")?)
}
