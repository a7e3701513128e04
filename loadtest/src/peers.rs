//! Outrider beside its peers, in one run: what a position costs, how long an offer takes, what a search costs.
//!
//! ```text
//!  this process                      other processes, weighed by /proc
//!  ────────────                      ─────────────────────────────────
//!  fleet ── the same positions ──┬─► a bare socket that reads, and one that answers      the ceiling
//!  riders ─ the same orders ─────┼─► outrider serve
//!                                └─► Socket.IO on Node ──► Redis                         the usual stack
//!  city ─── the same places ─────┬─► the grid of `matching`, in this process
//!                                └─► Redis
//! ```
//!
//! Machines are noisy, so everything is done in rounds, each of which asks everybody in turn, and every figure is
//! the median of the rounds. Processor time comes first: it suffers least from whoever else is on the machine.

pub(crate) mod bare;
mod dialect;
mod figures;
mod fleet;
mod grid;
mod near;
mod offers;
mod program;
mod redis;
mod report;
mod spent;

use clap::{Args, ValueEnum};
use dialect::{Dialect, Outrider};
use figures::{Spread, median};
use fleet::Fleet;
use offers::Orders;
use program::Program;
use report::{Costs, Machine, Near, Report, Trips};
use std::{collections::BTreeMap, path::PathBuf, time::Duration};

/// What keeps a comparison from being made.
pub(crate) type Fault = Box<dyn std::error::Error + Send + Sync>;

/// What to compare.
#[derive(Debug, Args)]
pub(crate) struct PeersArgs {
    /// Only these parts.
    #[arg(long, value_enum, value_delimiter = ',', default_values_t = [Part::Positions, Part::Offers, Part::Near])]
    parts: Vec<Part>,
    /// The node's program; without one, `outrider` beside this program.
    #[arg(long, value_name = "FILE")]
    outrider: Option<PathBuf>,
    /// Where the peers' programs are.
    #[arg(long, value_name = "DIR", default_value = "loadtest/peers")]
    peers: PathBuf,
    /// How many rounds each figure is the median of.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How many drivers have a socket to each peer.
    #[arg(long, default_value_t = 1_000)]
    drivers: u32,
    /// How many positions a second all of them say.
    #[arg(long, default_value_t = 4_000)]
    per_s: u32,
    /// How many a driver says in one breath in the second half of the positions: what a socket that never
    /// rests would do. They come so many times as often.
    #[arg(long, default_value_t = 16)]
    burst: u32,
    /// How long each measurement of a round lasts.
    #[arg(long = "for", default_value = "4s", value_parser = humantime::parse_duration)]
    lasting: Duration,
    /// How many orders are placed with each peer in a round.
    #[arg(long, default_value_t = 100)]
    orders: u32,
    /// How many orders a second.
    #[arg(long, default_value_t = 10)]
    orders_per_s: u32,
    /// How often the node's regions match, in milliseconds, beside the default.
    #[arg(long, default_value_t = 100)]
    tick_ms: u32,
    /// Among how many drivers the nearest are looked for.
    #[arg(long, value_delimiter = ',', default_values_t = [1_000, 10_000, 100_000, 1_000_000])]
    sizes: Vec<u32>,
    /// How far away a driver may be, in metres.
    #[arg(long, default_value_t = 5_000)]
    radius_m: u32,
    /// Print one JSON object and nothing else.
    #[arg(long)]
    json: bool,
}

/// A part of the comparison.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Part {
    /// What a position costs.
    Positions,
    /// How long it takes from an order to its driver.
    Offers,
    /// What it costs to move a driver and to find the ten nearest.
    Near,
}

/// Compares. Everything that was started is stopped when this returns.
pub(crate) async fn run(args: PeersArgs) -> Result<String, Fault> {
    let machine = Machine::look();
    let mut report = Report::new(machine);
    let wants = |part| args.parts.contains(&part);
    if wants(Part::Positions) || wants(Part::Offers) {
        let outrider = program::outrider(args.outrider.as_deref())?;
        let version = program::said(&outrider.to_string_lossy(), &["--version"], None).await?;
        let version = version.trim_start_matches("outrider ").to_owned();
        report.versions.insert("outrider".to_owned(), version);
        let usual = Usual::start(&args).await?;
        report.versions.extend(usual.versions.clone());
        if wants(Part::Positions) {
            positions(&args, &outrider, &usual, &mut report).await?;
        }
        if wants(Part::Offers) {
            offer_times(&args, &outrider, &usual, &mut report).await?;
        }
    }
    if wants(Part::Near) {
        report.near = Some(near::run(&args.sizes, args.radius_m, args.rounds).await?);
        report.versions.insert("redis".to_owned(), redis::version().await?);
    }
    report.settle();
    Ok(if args.json { serde_json::to_string(&report)? } else { report.to_string() })
}

/// Socket.IO and its Redis.
struct Usual {
    redis: Program,
    node: Program,
    versions: BTreeMap<String, String>,
}

impl Usual {
    async fn start(args: &PeersArgs) -> Result<Self, Fault> {
        let versions = program::install(&args.peers).await?;
        let redis = Program::redis().await?;
        let node = Program::socket_io(&args.peers, &redis, args.radius_m).await?;
        Ok(Self { redis, node, versions })
    }
}

/// Somebody who is sent positions, and the processes that do it.
struct Contender<'a> {
    name: &'static str,
    fleet: Fleet,
    programs: Vec<&'a Program>,
}

async fn positions(
    args: &PeersArgs,
    outrider: &std::path::Path,
    usual: &Usual,
    report: &mut Report,
) -> Result<(), Fault> {
    let reader = Program::bare(false).await?;
    let echo = Program::bare(true).await?;
    let node = Program::outrider(outrider, None).await?;
    let ours = Dialect::Outrider(Outrider::of(&node)?);
    let n = args.drivers;
    let mut contenders = vec![
        Contender {
            name: "bare reader",
            fleet: Fleet::gather(Dialect::Bare, reader.address(), n).await?,
            programs: vec![&reader],
        },
        Contender {
            name: "bare echo",
            fleet: Fleet::gather(Dialect::Bare, echo.address(), n).await?,
            programs: vec![&echo],
        },
        Contender {
            name: "outrider",
            fleet: Fleet::gather(ours, node.address(), n).await?,
            programs: vec![&node],
        },
        Contender {
            name: "socket.io + redis",
            fleet: Fleet::gather(Dialect::SocketIo, usual.node.address(), n).await?,
            programs: vec![&usual.node, &usual.redis],
        },
    ];
    for burst in [1, args.burst.max(1)] {
        let mut costs: BTreeMap<&str, Vec<f64>> = BTreeMap::new();
        for _ in 0..args.rounds {
            for contender in &mut contenders {
                let us =
                    cost(contender, args.per_s.saturating_mul(burst), burst, args.lasting).await?;
                costs.entry(contender.name).or_default().push(us);
            }
        }
        let us: BTreeMap<String, Spread> =
            costs.iter().map(|(name, all)| ((*name).to_owned(), Spread::of(all))).collect();
        // Within one round everybody met the same neighbours.
        let ratio = |of: &str, to: &str| {
            let pairs = costs[of].iter().zip(&costs[to]);
            median(pairs.map(|(of, to)| of / to).collect())
        };
        report.positions.push(Costs {
            per_s: args.per_s.saturating_mul(burst),
            burst,
            drivers: n,
            to_bare_reader: ratio("outrider", "bare reader"),
            to_bare_echo: ratio("outrider", "bare echo"),
            usual_to_ours: ratio("socket.io + redis", "outrider"),
            us,
        });
        if args.burst <= 1 {
            break;
        }
    }
    for contender in contenders {
        contender.fleet.go_home().await;
    }
    Ok(())
}

/// What one position costs the processes of a contender, in microseconds of processor time.
async fn cost(
    contender: &mut Contender<'_>,
    per_s: u32,
    burst: u32,
    lasting: Duration,
) -> Result<f64, Fault> {
    const WARM_UP: Duration = Duration::from_millis(500);
    contender.fleet.drive(per_s, burst, WARM_UP).await?;
    let before = settled(&contender.programs).await?;
    let n_sent = contender.fleet.drive(per_s, burst, lasting).await?;
    let after = settled(&contender.programs).await?;
    Ok((after.saturating_sub(before)).as_secs_f64() * 1e6 / n_sent.max(1) as f64)
}

/// What programs have spent once they have done all that they were sent: who could not keep up is not counted as cheaper for
/// what it still has to do.
async fn settled(programs: &[&Program]) -> Result<Duration, Fault> {
    const LOOK_EVERY: Duration = Duration::from_millis(200);
    /// Who spends less between two looks rests, or has nothing to do but what it always does; twice, for it may have had to wait.
    const AT_REST: Duration = Duration::from_millis(20);
    const LOOKS_MAX: u32 = 300;
    let spent = || programs.iter().map(|it| it.spent()).sum::<Result<Duration, _>>();
    let (mut before, mut n_quiet) = (spent()?, 0);
    for _ in 0..LOOKS_MAX {
        tokio::time::sleep(LOOK_EVERY).await;
        let now = spent()?;
        // A thread that has ended takes along what it spent.
        let is_quiet = now.checked_sub(before).is_some_and(|it| it < AT_REST);
        (before, n_quiet) = (now, if is_quiet { n_quiet + 1 } else { 0 });
        if n_quiet == 2 {
            return Ok(now);
        }
    }
    tracing::warn!("a program that is weighed does not come to rest, and costs more than is said");
    Ok(before)
}

async fn offer_times(
    args: &PeersArgs,
    outrider: &std::path::Path,
    usual: &Usual,
    report: &mut Report,
) -> Result<(), Fault> {
    let by_default = Program::outrider(outrider, None).await?;
    let often = Program::outrider(outrider, Some(args.tick_ms)).await?;
    let orders = Orders { n: args.orders, per_s: args.orders_per_s, positions_per_s: args.per_s };
    let dialects = [
        (
            "outrider".to_owned(),
            Dialect::Outrider(Outrider::of(&by_default)?),
            by_default.address(),
        ),
        (
            format!("outrider, tick {} ms", args.tick_ms),
            Dialect::Outrider(Outrider::of(&often)?),
            often.address(),
        ),
        ("socket.io + redis".to_owned(), Dialect::SocketIo, usual.node.address()),
    ];
    let mut contenders = Vec::new();
    for (name, dialect, address) in dialects {
        let fleet = Fleet::gather(dialect.clone(), address, args.drivers).await?;
        let riders = offers::Riders::gather(dialect, address).await?;
        contenders.push((name, fleet, riders, offers::Taken::default()));
    }
    for _ in 0..args.rounds {
        for (_, fleet, riders, taken) in &mut contenders {
            offers::run(orders, fleet, riders, taken).await?;
        }
    }
    for (name, fleet, riders, taken) in contenders {
        report.offers.insert(name, Trips::of(&taken));
        fleet.go_home().await;
        riders.go_home().await;
    }
    Ok(())
}

#[cfg(test)]
mod tests;
