//! `outrider check`: reads the journal from end to end and says whether it is sound, or asks the node
//! on this machine whether it is well.

use crate::{
    journal::Opened,
    node::now,
    settings::{GatewaySettings, Settings},
};
use actors::{
    EntityKey, Version,
    journal::check::{Ack, Report, check},
    runtime::{CLOCK_SKEW_MAX, REPEAT_WINDOW},
};
use clap::{Args, Subcommand};
use protocol::{CommandId, Timestamp};
use serde::Deserialize;
use std::{
    error::Error,
    fs::File,
    io::{self, BufRead, BufReader, Write},
    net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr},
    path::{Path, PathBuf},
};

/// What to check.
#[derive(Debug, Subcommand)]
pub(crate) enum Check {
    /// Proves that the journal keeps its invariants, as far as a journal can tell. A node with
    /// an embedded journal must not be running.
    Journal(CheckArgs),
    /// Asks the node that listens where the settings say whether it should be sent work: for containers
    /// without a shell.
    Node,
}

/// How.
#[derive(Debug, Args)]
pub(crate) struct CheckArgs {
    /// What callers were told, one `{"entity":"order-…","version":3,"command":"command-…"}` a line.
    #[arg(long, value_name = "FILE")]
    acks: Option<PathBuf>,
    /// Print one JSON object and nothing else.
    #[arg(long)]
    json: bool,
}

/// A line of the file of acknowledgements.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AckLine {
    entity: String,
    version: u64,
    command: CommandId,
}

/// Checks, prints what was found, and says whether it is sound.
pub(crate) async fn run(settings: &Settings, what: &Check) -> Result<bool, Box<dyn Error>> {
    match what {
        Check::Journal(args) => check_journal(settings, args).await,
        Check::Node => check_node(&settings.gateway).await,
    }
}

async fn check_node(settings: &GatewaySettings) -> Result<bool, Box<dyn Error>> {
    let address = within_reach(settings.listen);
    // The node gives its journal as long as its patience; its answer still has to come back.
    let client = reqwest::Client::builder().no_proxy().timeout(settings.patience * 2).build()?;
    let answer = client.get(format!("http://{address}/health/ready")).send().await?;
    let is_ready = answer.status().is_success();
    writeln!(io::stdout().lock(), "{}", answer.text().await?)?;
    Ok(is_ready)
}

/// Where a listener on all addresses can be reached from the same machine.
fn within_reach(listen: SocketAddr) -> SocketAddr {
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip @ (IpAddr::V4(_) | IpAddr::V6(_)) => ip,
    };
    SocketAddr::new(ip, listen.port())
}

async fn check_journal(
    settings: &Settings,
    CheckArgs { acks, json }: &CheckArgs,
) -> Result<bool, Box<dyn Error>> {
    let acks = acks.as_deref().map(read_acks).transpose()?.unwrap_or_default();
    let opened = Opened::look(&settings.journal).await?;
    let journal = &opened.journal;
    let report = check(&**journal, acks, answers_since()).await?;
    opened.close().await?;
    match json {
        true => writeln!(io::stdout().lock(), "{}", serde_json::to_string(&report)?)?,
        false => print(&report)?,
    }
    Ok(report.is_sound())
}

/// Since when answers must be there.
pub(crate) fn answers_since() -> Timestamp {
    answers_since_at(now())
}

/// The same, by a clock that says `now`. Nodes keep answers for longer than they may be repeated, and less is asked for
/// here: no journal is called broken because its nodes' clocks are up to ten minutes ahead of this one.
fn answers_since_at(now: Timestamp) -> Timestamp {
    now - REPEAT_WINDOW + CLOCK_SKEW_MAX
}

/// Tells people.
pub(crate) fn print(report: &Report) -> io::Result<()> {
    let mut out = io::stdout().lock();
    for (part, n) in &report.counts {
        writeln!(out, "{n:>12} {part}")?;
    }
    if report.n_acks > 0 {
        writeln!(out, "{:>12} acknowledgements", report.n_acks)?;
    }
    if report.n_applied > 0 {
        writeln!(out, "{:>12} commands that may be repeated", report.n_applied)?;
    }
    for violation in &report.violations {
        writeln!(out, "broken: {}: {}", violation.invariant, violation.what)?;
    }
    match report.n_violations {
        0 => writeln!(out, "the journal is sound"),
        n => writeln!(out, "the journal is NOT sound: {n} violations"),
    }
}

fn read_acks(path: &Path) -> Result<Vec<Ack>, Box<dyn Error>> {
    let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut acks = Vec::new();
    for (line, n) in BufReader::new(file).lines().zip(1..) {
        let wrong =
            |problem: &dyn std::fmt::Display| format!("{}: line {n}: {problem}", path.display());
        let line: AckLine = serde_json::from_str(&line?).map_err(|error| wrong(&error))?;
        let entity = EntityKey::parse(&line.entity).ok_or_else(|| wrong(&"no such kind of id"))?;
        acks.push(Ack { entity, version: Version(line.version), command: line.command });
    }
    Ok(acks)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_behind_misses_no_answer_that_nodes_have_forgotten() {
        let here = Timestamp(0) + 2 * REPEAT_WINDOW;
        let there = here + 2 * CLOCK_SKEW_MAX;
        // What a node leaves.
        let left_since = there - REPEAT_WINDOW - CLOCK_SKEW_MAX;
        assert!(answers_since_at(here) >= left_since);
        // Nearly all that may be repeated is looked for.
        assert_eq!(answers_since_at(here) - CLOCK_SKEW_MAX, here - REPEAT_WINDOW);
    }
}
