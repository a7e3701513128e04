//! Who serves what, for operators, and what they can change about it. Admins only.
//!
//! What the arbiter knows is on every node; what a node counts it is asked for when somebody looks. One that does not
//! answer, or knows less, is shown without it.

use super::{
    Gate,
    commits::Took,
    front::Question,
    rest::{Answered, Bearer, Body, Caller, Named},
    translate::invalid,
};
use actors::{
    cluster::{
        Incarnation,
        arbiter::{ArbiterError, Standing},
    },
    runtime::{ClusterView, Load, Move},
};
use axum::{Json, extract::State, http::StatusCode};
use futures_util::future::join_all;
use protocol::{Code, Principal, Refused, SHARDS, ShardId, Timestamp, TokenId};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use tokio::time::Instant;
use tracing::info;
use utoipa::ToSchema;

/// How long the database may take to note what an operator wants.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long another node has to say what it counts: whoever looks, looks every second.
const COUNT_WITHIN: Duration = Duration::from_millis(800);
/// How long another node has to hear that it should leave.
const DRAIN_WITHIN: Duration = Duration::from_secs(3);

/// The cluster as the node that was asked sees it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Cluster {
    /// The node that was asked: its incarnation. Absent if it is alone, with everything its own.
    pub(crate) me: Option<u64>,
    /// Everyone who is not dead, and the dead whose shards nobody has taken yet.
    pub(crate) nodes: Vec<ClusterNode>,
    /// Every shard, in the order of their numbers.
    pub(crate) shards: Vec<ClusterShard>,
    /// Shards on their way, from any node.
    pub(crate) moves: Vec<ClusterMove>,
    /// Shards that are wanted on a certain node.
    pub(crate) pins: Vec<ClusterPin>,
    /// How many shards nobody alive has.
    pub(crate) n_orphans: usize,
    /// How many callers of the node that was asked wait for a shard that is moving.
    pub(crate) n_waiting: u32,
    /// The newest format of events, snapshots and envelopes that may be written: everyone reads it.
    pub(crate) writes: u32,
    /// How many clients are connected to all nodes that said so, by what they are: `rider`, `driver`, …
    #[serde(default)]
    pub(crate) sessions: BTreeMap<String, usize>,
    /// Nodes that are not dead and did not say what they count: it is missing here.
    #[serde(default)]
    pub(crate) silent: Vec<String>,
}

/// A node.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ClusterNode {
    /// What it is called.
    pub(crate) node: String,
    /// Which start of it; a greater one is a later one.
    pub(crate) incarnation: u64,
    /// `up`, `draining` or `dead`.
    pub(crate) standing: String,
    /// Where its gateway is reached.
    pub(crate) address: String,
    /// Where it stands.
    pub(crate) zone: String,
    /// How much it takes on, compared with others.
    pub(crate) weight: u32,
    /// Which build.
    pub(crate) version: String,
    /// The newest format it can read.
    pub(crate) reads: u32,
    /// Is it connected to the other nodes?
    pub(crate) hears: bool,
    /// How long ago it joined, in milliseconds.
    pub(crate) age_ms: u64,
    /// For how much longer it counts as alive, in milliseconds, as the node that was asked sees it.
    pub(crate) lease_left_ms: u64,
    /// How many shards it has.
    pub(crate) n_shards: usize,
    /// How many clients are connected to it, by what they are; absent if it did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) sessions: Option<BTreeMap<String, usize>>,
    /// How long half of its commits took lately, at most, in milliseconds; absent if it did not say, or made none…
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) commit_p50_ms: Option<f64>,
    /// … and all but one in a hundred.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) commit_p99_ms: Option<f64>,
}

/// Who has a shard.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ClusterShard {
    /// Which.
    pub(crate) shard: u16,
    /// The incarnation that has it; nobody's, if absent.
    pub(crate) owner: Option<u64>,
    /// Which ownership.
    pub(crate) epoch: u64,
    /// How many of its entities are awake; absent, like what follows, if its owner did not say.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) n_awake: Option<u32>,
    /// How many commands they were asked there since its owner started.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) n_commands: Option<u64>,
}

/// A shard on its way.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct ClusterMove {
    /// Which.
    pub(crate) shard: u16,
    /// From which incarnation…
    #[serde(default)]
    pub(crate) from: u64,
    /// … to which.
    pub(crate) to: u64,
    /// `prepare`, `seal`, `transfer` or `adopt`.
    pub(crate) phase: String,
    /// Since when.
    #[schema(value_type = u64)]
    pub(crate) since: Timestamp,
    /// For how long already, in milliseconds.
    #[serde(default)]
    pub(crate) lasts_ms: u64,
}

/// A shard that is wanted on a certain node.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct ClusterPin {
    /// Which.
    pub(crate) shard: u16,
    /// The node's name. Absent in a request: on none in particular.
    pub(crate) node: Option<String>,
}

/// What a node counts of itself, for whoever looks at the cluster.
#[derive(Debug, Default, Serialize, Deserialize)]
#[serde(default)]
pub(super) struct Counted {
    /// Of each shard it has: which, how many entities are awake, and how many commands they were asked.
    loads: Vec<(u16, u32, u64)>,
    /// How many clients are connected, by what they are.
    sessions: BTreeMap<String, usize>,
    /// How long commits take lately; none, if there are none.
    commits: Option<Took>,
    /// Shards on their way from here.
    moves: Vec<ClusterMove>,
}

impl Cluster {
    /// What the arbiter knows, with what nodes count of themselves.
    fn of(view: ClusterView, counted: BTreeMap<Incarnation, Counted>) -> Self {
        let mut n_shards = BTreeMap::new();
        for owner in view.picture.heads.iter().filter_map(|head| head.owner) {
            *n_shards.entry(owner).or_insert(0) += 1;
        }
        let mut sessions = BTreeMap::<String, usize>::new();
        for (role, n) in counted.values().flat_map(|it| &it.sessions) {
            *sessions.entry(role.clone()).or_default() += n;
        }
        let mut loads = BTreeMap::new();
        for (who, it) in &counted {
            let loads_there = it.loads.iter();
            loads.extend(loads_there.map(|&(shard, awake, asked)| ((*who, shard), (awake, asked))));
        }
        let is_silent = |who: &Incarnation, standing: Standing| {
            standing != Standing::Dead && !counted.contains_key(who)
        };
        let silent = view.picture.members.iter().filter(|(who, it)| is_silent(who, it.standing));
        let silent = silent.map(|(_, it)| it.card.node.clone()).collect();
        let nodes = view.picture.members.into_iter().map(|(who, member)| {
            let counted = counted.get(&who);
            let commits = counted.and_then(|it| it.commits);
            ClusterNode {
                node: member.card.node,
                incarnation: who.0,
                standing: member.standing.to_string(),
                address: member.card.address,
                zone: member.card.zone,
                weight: member.card.weight,
                version: member.card.version,
                reads: member.card.reads,
                hears: member.hears,
                age_ms: u64::try_from(member.age.as_millis()).unwrap_or(u64::MAX),
                lease_left_ms: match member.standing {
                    Standing::Dead => 0,
                    _ if who == view.me => view.lease_left_ms,
                    Standing::Up | Standing::Draining => {
                        view.leases_left_ms.get(&who).copied().unwrap_or_default()
                    }
                },
                n_shards: n_shards.get(&who).copied().unwrap_or_default(),
                sessions: counted.map(|it| it.sessions.clone()),
                commit_p50_ms: commits.map(|it| it.p50_ms),
                commit_p99_ms: commits.map(|it| it.p99_ms),
            }
        });
        let shards = view.picture.heads.into_iter().map(|head| {
            let load = head.owner.and_then(|owner| loads.get(&(owner, head.shard.0)));
            ClusterShard {
                shard: head.shard.0,
                owner: head.owner.map(|owner| owner.0),
                epoch: head.epoch,
                n_awake: load.map(|(awake, _)| *awake),
                n_commands: load.map(|(_, asked)| *asked),
            }
        });
        let pins = view.picture.pins.into_iter();
        Self {
            me: Some(view.me.0),
            nodes: nodes.collect(),
            shards: shards.collect(),
            moves: counted.values().flat_map(|it| it.moves.iter().cloned()).collect(),
            pins: pins.map(|pin| ClusterPin { shard: pin.shard.0, node: Some(pin.node) }).collect(),
            n_orphans: view.n_orphans,
            n_waiting: view.n_waiting,
            writes: view.picture.writes,
            sessions,
            silent,
        }
    }

    fn alone(counted: Counted) -> Self {
        Self {
            me: None,
            nodes: Vec::new(),
            shards: Vec::new(),
            moves: Vec::new(),
            pins: Vec::new(),
            n_orphans: 0,
            n_waiting: 0,
            writes: 0,
            sessions: counted.sessions,
            silent: Vec::new(),
        }
    }
}

/// Who serves what, as this node sees it, and what each node counts of itself. Admins only.
#[utoipa::path(
    get, path = "/admin/cluster", tag = "admin", security(("bearer" = [])),
    responses(
        (status = 200, body = Cluster), (status = 401, body = Refused), (status = 403, body = Refused)
    )
)]
pub(super) async fn show(
    State(gate): State<Arc<Gate>>,
    caller: Caller,
) -> Result<Json<Cluster>, Answered> {
    caller.admin()?;
    Ok(Json(gate.cluster().await))
}

/// Wants a shard on a certain node, as long as that is there, or on none in particular any more.
/// Admins only.
#[utoipa::path(
    post, path = "/admin/cluster/pins", tag = "admin", security(("bearer" = [])),
    request_body = ClusterPin,
    responses(
        (status = 204), (status = 401, body = Refused), (status = 403, body = Refused),
        (status = 409, body = Refused), (status = 422, body = Refused), (status = 503, body = Refused)
    )
)]
pub(super) async fn pin(
    State(gate): State<Arc<Gate>>,
    caller: Caller,
    Body(ClusterPin { shard, node }): Body<ClusterPin>,
) -> Result<StatusCode, Answered> {
    caller.admin()?;
    if shard >= SHARDS {
        return Err(invalid("shard", "0 to 1023").into());
    }
    let view = gate.system.cluster().ok_or_else(alone)?;
    if let Some(node) = &node
        && !view.picture.members.values().any(|it| it.card.node == *node)
    {
        return Err(invalid("node", "no node of this cluster is called that").into());
    }
    gate.pin(ShardId(shard), node).await?;
    Ok(StatusCode::NO_CONTENT)
}

/// What a cluster without pins will look like.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Rebalanced {
    /// How many pins were removed.
    pub(crate) n_unpinned: usize,
}

/// Removes every pin, so that each shard goes where it belongs. Admins only.
#[utoipa::path(
    post, path = "/admin/cluster/rebalance", tag = "admin", security(("bearer" = [])),
    responses(
        (status = 200, body = Rebalanced), (status = 401, body = Refused),
        (status = 403, body = Refused), (status = 409, body = Refused), (status = 503, body = Refused)
    )
)]
pub(super) async fn rebalance(
    State(gate): State<Arc<Gate>>,
    caller: Caller,
) -> Result<Json<Rebalanced>, Answered> {
    caller.admin()?;
    let pins = gate.system.cluster().ok_or_else(alone)?.picture.pins;
    for pin in &pins {
        gate.pin(pin.shard, None).await?;
    }
    Ok(Json(Rebalanced { n_unpinned: pins.len() }))
}

/// Lets this node leave: sessions are told to move, shards are handed over, and the process ends.
/// Answers at once; `GET /health/ready` says no from then on. Admins only.
#[utoipa::path(
    post, path = "/admin/drain", tag = "admin", security(("bearer" = [])),
    responses((status = 202), (status = 401, body = Refused), (status = 403, body = Refused))
)]
pub(super) async fn drain(
    State(gate): State<Arc<Gate>>,
    bearer: Bearer,
) -> Result<StatusCode, Answered> {
    bearer.admin()?;
    gate.dismiss(bearer.0.principal, bearer.0.token);
    Ok(StatusCode::ACCEPTED)
}

/// Lets a node of the cluster leave, this one or another, as `POST /admin/drain` does the one that is asked. Admins
/// only.
#[utoipa::path(
    post, path = "/admin/drain/{node}", tag = "admin", security(("bearer" = [])),
    params(("node" = String, Path, description = "what the node is called")),
    responses(
        (status = 202), (status = 401, body = Refused), (status = 403, body = Refused),
        (status = 404, body = Refused), (status = 409, body = Refused), (status = 503, body = Refused)
    )
)]
pub(super) async fn drain_node(
    State(gate): State<Arc<Gate>>,
    bearer: Bearer,
    Named(node): Named,
) -> Result<StatusCode, Answered> {
    bearer.admin()?;
    let (by, with) = (bearer.0.principal, bearer.0.token);
    let members = gate.system.cluster().ok_or_else(alone)?.picture.members.into_values();
    let called = members.filter(|it| it.card.node == node && it.standing != Standing::Dead);
    let unknown = || Refused::new(Code::NotFound, "no node of this cluster is called that");
    let who = called.map(|it| it.incarnation).max().ok_or_else(unknown)?;
    if who == gate.system.incarnation() {
        gate.dismiss(by, with);
        return Ok(StatusCode::ACCEPTED);
    }
    let told = gate.ask::<()>(who, &Question::Drain { by, with }, DRAIN_WITHIN).await;
    told.ok_or_else(|| {
        let message = "that node does not answer; one of an older build must be asked itself";
        Refused::new(Code::Unavailable, message).retry_after_ms(1_000)
    })?;
    let with = with.map(|token| token.to_string());
    info!(%by, with, node, %who, "another node told to leave");
    Ok(StatusCode::ACCEPTED)
}

impl Gate {
    async fn cluster(&self) -> Cluster {
        let question = &Question::Counted;
        let asked = self.system.others().into_iter().map(|who| async move {
            Some((who, self.ask::<Counted>(who, question, COUNT_WITHIN).await?))
        });
        let there = join_all(asked).await;
        let here = self.counted();
        // Looked at last: who has died meanwhile is shown as dead, and not as silent.
        let Some(view) = self.system.cluster() else { return Cluster::alone(here) };
        let me = (view.me, here);
        Cluster::of(view, there.into_iter().flatten().chain([me]).collect())
    }

    /// What this node counts of itself.
    pub(super) fn counted(&self) -> Counted {
        let me = self.system.incarnation().0;
        let load = |it: Load| (it.shard.0, it.n_awake, it.n_commands);
        let connected = self.known.n_live().into_iter().filter(|(_, n)| *n > 0);
        let now = self.system.now();
        let moving = |it: Move| ClusterMove {
            shard: it.shard.0,
            from: me,
            to: it.to.0,
            phase: <&str>::from(it.phase).to_owned(),
            since: it.since,
            lasts_ms: now.ms_since(it.since),
        };
        Counted {
            loads: self.system.loads().into_iter().map(load).collect(),
            sessions: connected.map(|(role, n)| (role.to_string(), n)).collect(),
            commits: self.commits.took(Instant::now(), || self.metrics.render()),
            moves: self.system.moves().into_iter().map(moving).collect(),
        }
    }

    /// Lets this node leave, because an admin wants it to.
    pub(super) fn dismiss(&self, by: Principal, with: Option<TokenId>) {
        let with = with.map(|token| token.to_string());
        info!(%by, with, "told to leave by an operator");
        self.dismissal.cancel();
    }

    async fn pin(&self, shard: ShardId, node: Option<String>) -> Result<(), Answered> {
        let arbiter = self.system.arbiter().ok_or_else(alone)?;
        let name = node.clone().unwrap_or_default();
        let noted = match tokio::time::timeout(PATIENCE, arbiter.pin(shard, node)).await {
            Ok(noted) => noted,
            Err(_) => Err(ArbiterError::Away("no answer in time".to_owned())),
        };
        match noted {
            Ok(()) => {
                info!(%shard, node = name, "shard pinned");
                Ok(())
            }
            Err(error @ ArbiterError::Away(_)) => {
                Err(Refused::new(Code::Unavailable, error.to_string()).retry_after_ms(1_000).into())
            }
            Err(error @ ArbiterError::Refused(_)) => {
                Err(Refused::new(Code::Taken, error.to_string()).into())
            }
        }
    }
}

fn alone() -> Refused {
    Refused::new(Code::Taken, "this node is alone: everything is its own")
}
