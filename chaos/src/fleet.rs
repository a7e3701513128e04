//! A cluster: a database, a broker, and nodes, all our own and on this machine only.

pub(crate) mod broker;
pub(crate) mod network;
pub(crate) mod node;

use crate::{
    Outcome,
    database::Database,
    scenario::{Disk, move_tables},
};
use broker::Broker;
use loadtest::{TokenSource, token::DevelopmentKey};
use network::Network;
use node::Node;
use protocol::Principal;
use serde::Deserialize;
use std::{
    collections::BTreeSet,
    fs::{self, Permissions},
    net::{Ipv4Addr, SocketAddr, TcpListener},
    os::unix::fs::PermissionsExt,
    path::{Path, PathBuf},
    sync::Arc,
    time::{Duration, Instant},
};
use tempfile::TempDir;
use tokio::process::Command;

/// How long a fleet may take to come up, and how much longer for each of its nodes.
const START_PATIENCE: Duration = Duration::from_secs(90);
const START_PATIENCE_EACH: Duration = Duration::from_secs(2);
/// How long to breathe between two looks.
const BREATHER: Duration = Duration::from_millis(50);
/// How long one question to a node may take.
const ANSWER_MAX: Duration = Duration::from_secs(3);
/// A picture counts as calm when it has not changed for this long.
const CALM_FOR: Duration = Duration::from_millis(600);
/// The key they share, in the fleet's directory.
const KEY: &str = "development-key.pem";
/// What every node is told; a crowd from one address is no attack here.
const SETTINGS: [(&str, &str); 11] = [
    ("JOURNAL__KIND", "postgres"),
    ("CLUSTER__SETTLE", "1s"),
    ("TELEMETRY__FORMAT", "json"),
    ("TELEMETRY__FILTER", "info,ractor=warn,sqlx=warn"),
    ("GATEWAY__SESSION__COMMANDS_PER_S", "100000"),
    ("GATEWAY__SESSION__COMMANDS_BURST", "100000"),
    ("GATEWAY__SESSION__FRAMES_PER_S", "100000"),
    ("GATEWAY__SESSION__FRAMES_BURST", "100000"),
    ("GATEWAY__REQUESTS_PER_S", "100000"),
    ("GATEWAY__REQUESTS_BURST", "100000"),
    ("GATEWAY__SESSION__STRIKES_MAX", "100000"),
];

/// Which programs a fleet is made of.
#[derive(Debug, Clone)]
pub(crate) struct Programs {
    pub(crate) outrider: PathBuf,
    pub(crate) nats: PathBuf,
}

/// What a scenario wants of its fleet.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Needs {
    /// How many nodes run from the start.
    pub(crate) n_nodes: usize,
    /// How many more there may be later.
    pub(crate) n_spare: usize,
    /// How many more run from the start that hold no shard and only talk to clients.
    pub(crate) n_gateways: usize,
    /// Does every node have a network of its own, that can be cut? That takes root.
    pub(crate) has_network: bool,
    /// How many threads each node works with, if not one for each core.
    pub(crate) n_threads: Option<usize>,
    /// By how much less those that hold no shard are worth to the scheduler than owners, the database and the broker.
    pub(crate) gateway_nice: u8,
    /// How seldom whoever nobody waits for is heard of, if not as seldom as nodes usually want.
    pub(crate) at_rest: Option<Duration>,
    /// More settings of the nodes.
    pub(crate) settings: &'static [(&'static str, &'static str)],
    /// More settings of Postgres.
    pub(crate) postgres: &'static [&'static str],
    /// Is a database of its own on a small disk wanted, of this many MiB? That takes root, too.
    pub(crate) disk_mib: Option<u32>,
}

impl Needs {
    /// Three nodes on the loopback.
    pub(crate) const USUAL: Self = Self {
        n_nodes: 3,
        n_spare: 0,
        n_gateways: 0,
        has_network: false,
        n_threads: None,
        gateway_nice: 0,
        at_rest: None,
        settings: &[],
        postgres: &[],
        disk_mib: None,
    };
}

/// A cluster that ends when it is dropped.
#[derive(Debug)]
pub(crate) struct Fleet {
    // In the order in which they end.
    pub(crate) nodes: Vec<Node>,
    pub(crate) broker: Broker,
    pub(crate) database: Database,
    pub(crate) network: Option<Network>,
    pub(crate) disk: Option<Disk>,
    pub(crate) programs: Programs,
    key: Arc<DevelopmentKey>,
    admin: String,
    http: reqwest::Client,
    pub(crate) directory: TempDir,
}

/// A node's answer about its cluster, as far as it matters here.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Picture {
    pub(crate) me: Option<u64>,
    pub(crate) nodes: Vec<Member>,
    pub(crate) shards: Vec<Head>,
    pub(crate) moves: Vec<Moving>,
    pub(crate) n_orphans: usize,
}

/// One of its nodes.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Member {
    pub(crate) node: String,
    pub(crate) incarnation: u64,
    pub(crate) standing: String,
    pub(crate) weight: u32,
    pub(crate) n_shards: usize,
}

/// Who has a shard.
#[derive(Debug, Clone, Deserialize)]
pub(crate) struct Head {
    pub(crate) shard: u16,
    pub(crate) owner: Option<u64>,
}

/// A shard on its way.
#[derive(Debug, Clone, Deserialize)]
#[expect(dead_code, reason = "its fields are for whoever prints a picture")]
pub(crate) struct Moving {
    pub(crate) shard: u16,
    pub(crate) to: u64,
}

impl Fleet {
    /// Starts everything, and waits until all shards are served. On failure nothing is left behind.
    pub(crate) async fn start(programs: &Programs, needs: Needs) -> Outcome<Self> {
        let fleet = Self::prepare(programs, needs).await?;
        fleet.launch(needs.n_nodes + needs.n_gateways).await
    }

    /// Starts the database and the broker, and no node yet.
    pub(crate) async fn prepare(programs: &Programs, needs: Needs) -> Outcome<Self> {
        let directory = tempfile::Builder::new().prefix("chaos-").tempdir()?;
        fs::set_permissions(directory.path(), Permissions::from_mode(0o755))?;
        let n_nodes = needs.n_nodes + needs.n_gateways + needs.n_spare;
        let network = match needs.has_network {
            true => Some(Network::make(n_nodes).await?),
            false => None,
        };
        let mut postgres: Vec<String> = needs.postgres.iter().map(|it| (*it).to_owned()).collect();
        if let Some(network) = &network {
            postgres.push(format!("listen_addresses={}", network.database()));
        }
        let database = Database::start(&directory.path().join("postgres"), &postgres).await?;
        let url = match &network {
            Some(network) => {
                database.admit(&network.everybody()).await?;
                Database::url_at(&network.database().to_string(), 5432)
            }
            None => database.url(),
        };
        let disk = match needs.disk_mib {
            Some(mib) => {
                let place = directory.path().join("disk");
                let disk = Disk::mount(&place, mib)?;
                move_tables(&database, &place).await?;
                Some(disk)
            }
            None => None,
        };
        let broker_at = match &network {
            Some(network) => SocketAddr::new(network.broker().into(), 4222),
            None => free_address()?,
        };
        let broker = Broker::start(&programs.nats, broker_at).await?;
        let key_file = make_key(programs, directory.path()).await?;
        let mut nodes = Vec::new();
        for n in 0..n_nodes {
            let address = match &network {
                Some(network) => SocketAddr::new(network.node(n).into(), 7070),
                None => free_address()?,
            };
            let name = format!("node-{n}");
            let mut environment: Vec<(String, String)> = SETTINGS
                .iter()
                .chain(needs.settings)
                .map(|(key, value)| (format!("OUTRIDER_{key}"), (*value).to_owned()))
                .collect();
            let mut set = |key: &str, value: String| {
                environment.push((format!("OUTRIDER_{key}"), value));
            };
            set("JOURNAL__URL", url.clone());
            set("JOURNAL__DIR", directory.path().display().to_string());
            set("AUTH__KEY_FILE", key_file.display().to_string());
            set("CLUSTER__NATS", broker.url());
            set("CLUSTER__NODE", name.clone());
            set("GATEWAY__LISTEN", address.to_string());
            let is_gateway = (needs.n_nodes..needs.n_nodes + needs.n_gateways).contains(&n);
            if is_gateway {
                set("CLUSTER__WEIGHT", "0".to_owned());
            }
            if let Some(at_rest) = needs.at_rest {
                let at_rest = humantime::format_duration(at_rest).to_string();
                set("GATEWAY__SESSION__HEARTBEAT_AT_REST", at_rest);
            }
            if let Some(n) = needs.n_threads {
                environment.push(("TOKIO_WORKER_THREADS".to_owned(), n.to_string()));
            }
            nodes.push(Node {
                log: directory.path().join(format!("{name}.log")),
                name,
                address,
                binary: programs.outrider.clone(),
                nice: if is_gateway { needs.gateway_nice } else { 0 },
                environment,
                namespace: network.as_ref().map(|network| network.namespace(n)),
                child: None,
            });
        }
        let key = Arc::new(DevelopmentKey::read(&key_file)?);
        let admin = key.token(Principal::Admin).await?;
        let http = reqwest::Client::builder().no_proxy().timeout(ANSWER_MAX).build()?;
        let programs = programs.clone();
        Ok(Self { nodes, broker, database, network, disk, programs, key, admin, http, directory })
    }

    /// Starts the first `n_nodes`, all at once, and waits until all is well.
    pub(crate) async fn launch(mut self, n_nodes: usize) -> Outcome<Self> {
        for node in &mut self.nodes[..n_nodes] {
            node.start()?;
        }
        let patience = START_PATIENCE + START_PATIENCE_EACH * n_nodes as u32;
        self.well(patience).await?;
        // Those without shards are no part of that, and talk to clients all the same.
        for n in 0..n_nodes {
            self.ready(n, patience).await?;
        }
        Ok(self)
    }

    /// The file of the key that signs tokens.
    pub(crate) fn key_file(&self) -> PathBuf {
        self.directory.path().join(KEY)
    }

    /// Who signs tokens.
    pub(crate) fn key(&self) -> Arc<DevelopmentKey> {
        Arc::clone(&self.key)
    }

    /// Where all gateways are, also those of nodes that do not run.
    pub(crate) fn doors(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(|node| node.address).collect()
    }

    /// What a node says of its cluster.
    pub(crate) async fn picture(&self, n: usize) -> Outcome<Picture> {
        let url = format!("http://{}/admin/cluster", self.nodes[n].address);
        let answer = self.http.get(url).bearer_auth(&self.admin).send().await?;
        Ok(answer.error_for_status()?.json().await?)
    }

    /// What a node has counted.
    pub(crate) async fn metrics(&self, n: usize) -> Outcome<String> {
        let url = format!("http://{}/metrics", self.nodes[n].address);
        Ok(self.http.get(url).send().await?.text().await?)
    }

    /// Waits until every running node agrees that all shards are served by running nodes, that each
    /// has its share, and that nothing moves; returns how long that took.
    pub(crate) async fn well(&mut self, within: Duration) -> Outcome<Duration> {
        let began = Instant::now();
        let mut calm_since: Option<(Instant, Vec<Option<u64>>)> = None;
        loop {
            match self.judge().await {
                Ok(owners) => match &calm_since {
                    Some((since, before)) if *before == owners => {
                        if since.elapsed() >= CALM_FOR {
                            return Ok(since.duration_since(began));
                        }
                    }
                    Some(_) | None => calm_since = Some((Instant::now(), owners)),
                },
                Err(problem) => {
                    calm_since = None;
                    if began.elapsed() > within {
                        return Err(format!("not well after {within:?}: {problem}").into());
                    }
                }
            }
            tokio::time::sleep(BREATHER).await;
        }
    }

    /// Who has each shard, if all is well.
    async fn judge(&mut self) -> Outcome<Vec<Option<u64>>> {
        let running: Vec<usize> =
            (0..self.nodes.len()).filter(|n| self.nodes[*n].is_running()).collect();
        let mut owners = None;
        for n in &running {
            let name = &self.nodes[*n].name;
            let picture = self.picture(*n).await.map_err(|error| format!("{name}: {error}"))?;
            let up: Vec<&Member> = picture.nodes.iter().filter(|it| it.standing == "up").collect();
            if up.len() != running.len() || picture.n_orphans > 0 || !picture.moves.is_empty() {
                let (n_up, n_running) = (up.len(), running.len());
                let (n_orphans, n_moves) = (picture.n_orphans, picture.moves.len());
                let problem = format!(
                    "{name} sees {n_up} of {n_running} nodes, {n_orphans} orphans, {n_moves} moves"
                );
                return Err(problem.into());
            }
            let (hosts, gateways): (Vec<&Member>, Vec<_>) = up.iter().partition(|it| it.weight > 0);
            if let Some(rich) = gateways.iter().find(|it| it.n_shards > 0) {
                return Err(
                    format!("{name} sees {} with shards it must not have", rich.node).into()
                );
            }
            let fair = picture.shards.len() / hosts.len().max(1) / 2;
            if let Some(poor) = hosts.iter().find(|it| it.n_shards < fair) {
                let (poor, n_shards) = (&poor.node, poor.n_shards);
                return Err(format!("{name} sees {poor} with {n_shards} shards").into());
            }
            let ids: BTreeSet<u64> = up.iter().map(|it| it.incarnation).collect();
            let heads: Vec<Option<u64>> = picture.shards.iter().map(|it| it.owner).collect();
            if !heads.iter().all(|it| it.is_some_and(|it| ids.contains(&it))) {
                return Err(format!("{name} sees shards that nobody alive has").into());
            }
            match &owners {
                None => owners = Some(heads),
                Some(before) if *before != heads => {
                    return Err(format!("{name} sees other owners").into());
                }
                Some(_) => {}
            }
        }
        owners.ok_or_else(|| "no node runs".into())
    }

    /// Waits until a node says that it can be sent work.
    pub(crate) async fn ready(&self, n: usize, within: Duration) -> Outcome {
        let (began, url) =
            (Instant::now(), format!("http://{}/health/ready", self.nodes[n].address));
        loop {
            let answer = self.http.get(&url).send().await;
            if answer.is_ok_and(|it| it.status().is_success()) {
                return Ok(());
            }
            if began.elapsed() > within {
                return Err(format!("{} is not ready after {within:?}", self.nodes[n].name).into());
            }
            tokio::time::sleep(BREATHER).await;
        }
    }

    /// The running node with the most shards, as node `n` sees it.
    pub(crate) async fn incarnation(&self, n: usize) -> Outcome<u64> {
        self.picture(n).await?.me.ok_or_else(|| "the node is alone".into())
    }

    /// Everyone's last words but for `OK`: panics are never expected.
    pub(crate) fn panics(&self) -> Vec<String> {
        let mut panics = Vec::new();
        for node in &self.nodes {
            let log = node.log();
            let lines = log.lines().filter(|line| line.contains("panicked at"));
            panics.extend(lines.map(|line| format!("{}: {line}", node.name)));
        }
        panics
    }

    /// Lets `outrider` read the journal from end to end and look for `acks`; what it said, and whether
    /// all is sound.
    pub(crate) async fn check(&self, acks: &Path) -> Outcome<(bool, String)> {
        let mut command = Command::new(&self.programs.outrider);
        command.args(["check", "journal", "--json", "--acks"]).arg(acks);
        command.envs(SETTINGS.map(|(key, value)| (format!("OUTRIDER_{key}"), value)));
        command.env("OUTRIDER_JOURNAL__URL", self.database.url()).kill_on_drop(true);
        let output = command.output().await?;
        let said = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        match said.is_empty() {
            true => Ok((false, String::from_utf8_lossy(&output.stderr).trim().to_owned())),
            false => Ok((output.status.success(), said)),
        }
    }

    /// Keeps logs and data, and says where.
    pub(crate) fn keep(&mut self) -> PathBuf {
        self.directory.disable_cleanup(true);
        self.directory.path().to_path_buf()
    }
}

/// A program that ends when we end, however that is, and when nobody wants it any more.
pub(crate) fn mortal(program: &Path) -> Command {
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL"]).arg(program).kill_on_drop(true);
    command
}

/// An address on the loopback where nobody listens.
pub(crate) fn free_address() -> Outcome<SocketAddr> {
    Ok(TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?)
}

/// The signing key that all nodes share.
async fn make_key(programs: &Programs, directory: &Path) -> Outcome<PathBuf> {
    let mut command = Command::new(&programs.outrider);
    command.args(["token", "--role", "admin"]).env("OUTRIDER_JOURNAL__DIR", directory);
    let output = command.output().await;
    let output = output.map_err(|error| format!("{}: {error}", programs.outrider.display()))?;
    match output.status.success() {
        true => Ok(directory.join(KEY)),
        false => Err(String::from_utf8_lossy(&output.stderr).into_owned().into()),
    }
}
