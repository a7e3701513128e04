//! `outrider cluster …`: asks a running node about its cluster, or changes who serves what.

use crate::{
    gateway::cluster::{Cluster, ClusterNode, ClusterPin, Rebalanced},
    remote::{Remote, say, table},
    settings::Settings,
};
use clap::{Args, Subcommand};
use comfy_table::CellAlignment;
use reqwest::Method;
use std::{collections::BTreeMap, error::Error, time::Duration};
use tokio::time::{Instant, sleep};

/// How often progress is looked at.
const LOOK_EVERY: Duration = Duration::from_millis(250);

/// How a node is let go.
const DRAIN_BY_EXAMPLE: &str = "\
The node of these settings, before its process is stopped (what a container's hook does)
  outrider cluster drain

One of several, asked of whichever is near
  outrider cluster --at http://10.0.0.5:7070 drain node-2

One after the other, before each is started anew, asked of one that stays
  outrider cluster --at http://10.0.0.7:7070 drain node-1 &&
  outrider cluster --at http://10.0.0.7:7070 drain node-2 --within 5m";

/// Which node is asked for what.
#[derive(Debug, Args)]
pub(crate) struct ClusterArgs {
    /// Where a node's gateway is; the one of the settings, if absent.
    #[arg(long, global = true, value_name = "URL", env = "OUTRIDER_AT")]
    at: Option<String>,
    #[command(subcommand)]
    command: ClusterCommand,
}

#[derive(Debug, Subcommand)]
enum ClusterCommand {
    /// Prints who is there, what everyone has, and what is moving.
    Status {
        /// Print every shard, too.
        #[arg(long)]
        shards: bool,
        /// Print one JSON object and nothing else.
        #[arg(long)]
        json: bool,
    },
    /// Lets a node leave, and waits until it has.
    #[command(after_help = DRAIN_BY_EXAMPLE)]
    Drain {
        /// The node's name, as `status` shows it; absent: the one that is asked.
        node: Option<String>,
        /// How long to wait; a node that takes longer goes on leaving.
        #[arg(long, default_value = "60s", value_parser = humantime::parse_duration)]
        within: Duration,
    },
    /// Wants a shard on a certain node.
    Pin {
        /// 0 to 1023.
        shard: u16,
        /// The node's name; absent: on none in particular any more.
        node: Option<String>,
    },
    /// Removes all pins, and waits until every shard is where it belongs.
    Rebalance {
        /// How long to wait; shards go on moving after that.
        #[arg(long, default_value = "60s", value_parser = humantime::parse_duration)]
        within: Duration,
    },
}

/// Asks, and prints what was answered.
pub(crate) async fn run(settings: &Settings, args: &ClusterArgs) -> Result<(), Box<dyn Error>> {
    let remote = Remote::new(settings, args.at.as_deref())?;
    match &args.command {
        ClusterCommand::Status { json: true, .. } => {
            say(&serde_json::to_string(&remote.look().await?)?)
        }
        ClusterCommand::Status { shards, json: false } => {
            say(&told(&remote.look().await?, *shards))
        }
        ClusterCommand::Drain { node: None, within } => remote.drain(*within).await,
        ClusterCommand::Drain { node: Some(node), within } => {
            remote.drain_node(node, *within).await
        }
        ClusterCommand::Pin { shard, node } => {
            let pin = ClusterPin { shard: *shard, node: node.clone() };
            remote.post("/admin/cluster/pins", &pin).await?;
            say(&match node {
                Some(node) => format!("shard {shard} is wanted on {node}"),
                None => format!("shard {shard} is wanted nowhere in particular"),
            })
        }
        ClusterCommand::Rebalance { within } => remote.rebalance(*within).await,
    }
}

impl Remote {
    async fn look(&self) -> Result<Cluster, Box<dyn Error>> {
        Ok(self.ask(Method::GET, "/admin/cluster").await?.json().await?)
    }

    async fn drain(&self, within: Duration) -> Result<(), Box<dyn Error>> {
        // One that cannot say who it is can leave all the same.
        let leaving = self.look().await.ok().and_then(|cluster| cluster.me);
        self.ask(Method::POST, "/admin/drain").await?;
        say(&format!("{} is leaving", self.at()))?;
        self.until_gone("it", leaving, within).await
    }

    /// Lets a node leave that may be another than the one that is asked.
    async fn drain_node(&self, node: &str, within: Duration) -> Result<(), Box<dyn Error>> {
        let before = self.look().await?;
        let is_called = |it: &&ClusterNode| it.node == node && it.standing != "dead";
        let leaving = before.nodes.iter().filter(is_called).map(|it| it.incarnation).max();
        // A node that is alone, and one that knows nobody of that name, say so.
        self.ask(Method::POST, &format!("/admin/drain/{}", path_part(node))).await?;
        say(&format!("{node} is leaving"))?;
        if leaving == before.me {
            return self.until_gone(node, leaving, within).await;
        }
        let began = Instant::now();
        while began.elapsed() < within {
            // The one that is asked may have much to do just now.
            if self.look().await.is_ok_and(|cluster| !is_alive(&cluster, leaving)) {
                return say(&format!("{node} has left after {}", seconds(began)));
            }
            sleep(LOOK_EVERY).await;
        }
        Err(format!("{node} is still there; it goes on leaving").into())
    }

    /// Waits until nothing answers any more where the node is that was asked, or, behind a load balancer, another one that
    /// knows that it has left.
    async fn until_gone(
        &self,
        node: &str,
        leaving: Option<u64>,
        within: Duration,
    ) -> Result<(), Box<dyn Error>> {
        let began = Instant::now();
        while began.elapsed() < within {
            // Gone is gone, whatever the connection dies of.
            let is_gone = !self.is_there().await
                || leaving.is_some()
                    && self.look().await.is_ok_and(|it| is_gone_for_another(&it, leaving));
            if is_gone {
                return say(&format!("{node} has left after {}", seconds(began)));
            }
            sleep(LOOK_EVERY).await;
        }
        Err(format!("{node} is still there; it goes on leaving").into())
    }

    async fn rebalance(&self, within: Duration) -> Result<(), Box<dyn Error>> {
        let rebalanced: Rebalanced =
            self.ask(Method::POST, "/admin/cluster/rebalance").await?.json().await?;
        say(&match rebalanced.n_unpinned {
            1 => "1 pin removed".to_owned(),
            n => format!("{n} pins removed"),
        })?;
        let began = Instant::now();
        let (mut before, mut quiet_since) = (BTreeMap::new(), Instant::now());
        while began.elapsed() < within {
            let cluster = self.look().await?;
            let counts: BTreeMap<u64, usize> =
                cluster.nodes.iter().map(|it| (it.incarnation, it.n_shards)).collect();
            if counts != before || cluster.n_orphans > 0 || !cluster.moves.is_empty() {
                (before, quiet_since) = (counts, Instant::now());
            }
            // Each node moves a shard at least this often, while there is one to move.
            if quiet_since.elapsed() > Duration::from_secs(3) {
                return say(&told(&cluster, false));
            }
            sleep(LOOK_EVERY).await;
        }
        Err("shards are still moving".into())
    }
}

/// Is that start of a node there, and not dead?
fn is_alive(cluster: &Cluster, incarnation: Option<u64>) -> bool {
    let mut alive = cluster.nodes.iter().filter(|it| it.standing != "dead");
    alive.any(|it| Some(it.incarnation) == incarnation)
}

/// Was another node asked than that one, which is not there any more? What a node that leaves says of itself is not enough:
/// it may still have something to do.
fn is_gone_for_another(cluster: &Cluster, leaving: Option<u64>) -> bool {
    cluster.me.is_some() && cluster.me != leaving && !is_alive(cluster, leaving)
}

fn seconds(since: Instant) -> String {
    format!("{:.1} s", since.elapsed().as_secs_f64())
}

/// A node's name as a part of a path.
fn path_part(name: &str) -> String {
    let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    let part = |byte: u8| match is_plain(byte) {
        true => char::from(byte).to_string(),
        false => format!("%{byte:02X}"),
    };
    name.bytes().map(part).collect()
}

/// The cluster in tables.
fn told(cluster: &Cluster, has_shards: bool) -> String {
    let Some(me) = cluster.me else {
        return "this node is alone: everything is its own".to_owned();
    };
    let mut text = Vec::new();
    let mut nodes = table(&[
        "node",
        "incarnation",
        "standing",
        "shards",
        "sessions",
        "commit ms",
        "lease ms",
        "hears",
        "age s",
        "weight",
        "zone",
        "version",
        "address",
    ]);
    let unknown = || "-".to_owned();
    for node in &cluster.nodes {
        let mark = if node.incarnation == me { "*" } else { "" };
        let sessions = node.sessions.as_ref().map(|it| it.values().sum::<usize>());
        let commits = node.commit_p50_ms.zip(node.commit_p99_ms);
        nodes.add_row([
            format!("{}{mark}", node.node),
            node.incarnation.to_string(),
            node.standing.clone(),
            node.n_shards.to_string(),
            sessions.map_or_else(unknown, |n| n.to_string()),
            commits.map_or_else(unknown, |(half, most)| format!("{half:.1} / {most:.1}")),
            node.lease_left_ms.to_string(),
            if node.hears { "yes" } else { "no" }.to_owned(),
            (node.age_ms / 1_000).to_string(),
            node.weight.to_string(),
            node.zone.clone(),
            node.version.clone(),
            node.address.clone(),
        ]);
    }
    for at in [1, 3, 4, 5, 6, 8, 9] {
        if let Some(column) = nodes.column_mut(at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    text.push(nodes.to_string());
    let name = |incarnation: u64| {
        let node = cluster.nodes.iter().find(|it| it.incarnation == incarnation);
        node.map_or_else(|| format!("incarnation {incarnation}"), |it| it.node.clone())
    };
    if !cluster.moves.is_empty() {
        let mut moves = table(&["moving shard", "from", "to", "phase", "ms"]);
        for moving in &cluster.moves {
            moves.add_row([
                moving.shard.to_string(),
                name(moving.from),
                name(moving.to),
                moving.phase.clone(),
                moving.lasts_ms.to_string(),
            ]);
        }
        text.push(moves.to_string());
    }
    if !cluster.pins.is_empty() {
        let mut pins = table(&["pinned shard", "to"]);
        for pin in &cluster.pins {
            pins.add_row([pin.shard.to_string(), pin.node.clone().unwrap_or_default()]);
        }
        text.push(pins.to_string());
    }
    if has_shards {
        let mut shards = table(&["shard", "owner", "epoch", "awake", "commands"]);
        for shard in &cluster.shards {
            let owner = shard.owner.map_or_else(|| "nobody".to_owned(), name);
            shards.add_row([
                shard.shard.to_string(),
                owner,
                shard.epoch.to_string(),
                shard.n_awake.map_or_else(unknown, |n| n.to_string()),
                shard.n_commands.map_or_else(unknown, |n| n.to_string()),
            ]);
        }
        text.push(shards.to_string());
    }
    if !cluster.silent.is_empty() {
        text.push(format!("not heard from in time: {}", cluster.silent.join(", ")));
    }
    text.push(format!(
        "{} shards without a node, {} callers waiting here, format {} is written",
        cluster.n_orphans, cluster.n_waiting, cluster.writes
    ));
    text.join("\n")
}

#[cfg(test)]
mod tests;
