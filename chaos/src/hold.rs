//! As many sessions as the machine holds: owners of shards, gateways without any, and a crowd that is only there.
//!
//! A process may open 20,000 files here, so a million sockets take 55 gateways, and as many processes at their
//! other ends. Nothing is broken, but for the sockets themselves if a storm is asked for.

use crate::{
    Outcome,
    fleet::{Fleet, Needs, Programs, node::Node},
    say,
};
use clap::Args;
use loadtest::{
    CancellationToken,
    connect::{self, Plan, Sessions},
};
use std::{
    io::{self, Write},
    time::Duration,
};

/// Most sessions of one gateway, of the 20,000 files a process may open.
const PER_GATEWAY: u64 = 19_000;
/// Connections to the database: five of each gateway, some twenty of each owner.
const POSTGRES: [&str; 1] = ["max_connections=800"];
/// With more gateways than this, cores are shared by many.
const MACHINES: usize = 3;
/// How much less than owners, the database and the broker its gateways are worth then, and its generators. All wait for
/// those few, who would have a machine each, and among sixty alike they would have a sixtieth of this one.
const POLITE_GATEWAY: u8 = 7;
const POLITE_CROWD: &str = "10";
/// A crowd from few addresses is no attack here, and all of it may be cut off. Sixty processes share few cores, so
/// nobody is declared dead for having been late.
const SETTINGS: [(&str, &str); 5] = [
    ("CLUSTER__TTL", "20s"),
    ("CLUSTER__RENEW", "4s"),
    ("GATEWAY__HANDSHAKES_PER_S", "100000"),
    ("GATEWAY__HANDSHAKES_BURST", "100000"),
    ("TELEMETRY__FILTER", "warn,ractor=error,sqlx=error,async_nats=error"),
];

/// How many, and where.
#[derive(Debug, Args)]
pub(crate) struct Hold {
    #[command(flatten)]
    sessions: Sessions,
    /// How many nodes hold the shards.
    #[arg(long, default_value_t = 1)]
    owners: usize,
    /// How many nodes only talk to clients; as many as the sessions take, if nobody says.
    #[arg(long)]
    gateways: Option<usize>,
    /// How seldom phones at rest are heard of, if not as seldom as nodes want by themselves.
    #[arg(long, value_parser = humantime::parse_duration)]
    at_rest: Option<Duration>,
    /// Print the report as one JSON object on the last line.
    #[arg(long)]
    json: bool,
}

/// Starts a fleet and a crowd, and says what came of it. Everything ends with us.
pub(crate) async fn run(programs: &Programs, hold: Hold) -> Outcome<bool> {
    let n_gateways = hold
        .gateways
        .unwrap_or_else(|| hold.sessions.sessions.div_ceil(PER_GATEWAY).max(1) as usize);
    let is_crowded = n_gateways > MACHINES;
    let needs = Needs {
        n_nodes: hold.owners.max(1),
        n_gateways,
        settings: &SETTINGS,
        at_rest: hold.at_rest,
        // Each of many has a thread and not a machine.
        n_threads: is_crowded.then_some(1),
        gateway_nice: if is_crowded { POLITE_GATEWAY } else { 0 },
        postgres: &POSTGRES,
        ..Needs::USUAL
    };
    let mut fleet = Fleet::start(programs, needs).await?;
    // Without gateways, owners talk to clients themselves.
    let n_owners = if n_gateways > 0 { needs.n_nodes } else { 0 };
    let (owners, gateways) = fleet.nodes.split_at(n_owners);
    let at = gateways.iter().map(|node| node.address).collect();
    let pids = |nodes: &[Node]| nodes.iter().filter_map(Node::pid).collect();
    let plan = Plan {
        pids: pids(gateways),
        owners: pids(owners),
        ..hold.sessions.plan(at, fleet.key_file())
    };
    let program = std::env::current_exe()?;
    let generator = || {
        // The crowd stands for other machines. With sixty processes on a few cores, whoever serves comes before whoever asks.
        let mut command = match is_crowded {
            true => {
                let mut command = std::process::Command::new("nice");
                command.args(["-n", POLITE_CROWD]).arg(&program);
                command
            }
            false => std::process::Command::new(&program),
        };
        command.arg("generate");
        command
    };
    let show = |progress: &connect::Progress| {
        // Nobody reads a progress line that cannot be written.
        drop(writeln!(io::stderr(), "{progress}"));
    };
    let report = connect::run(plan, generator, CancellationToken::new(), show).await?;
    match hold.json {
        true => {
            writeln!(io::stderr(), "{report}")?;
            say(&serde_json::to_string(&report)?)?;
        }
        false => say(report.to_string().trim_end())?,
    }
    let panics = fleet.panics();
    for panic in &panics {
        say(panic)?;
    }
    let is_sound = report.is_sound() && panics.is_empty();
    if !is_sound {
        say(&format!("logs are in {}", fleet.keep().display()))?;
    }
    Ok(is_sound)
}
