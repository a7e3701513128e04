//! Who serves what, for operators, and what they can change about it. Admins only.

use super::{
    Gate,
    rest::{Answered, Body, Caller},
    translate::invalid,
};
use actors::{
    cluster::arbiter::{ArbiterError, Standing},
    runtime::ClusterView,
};
use axum::{Json, extract::State, http::StatusCode};
use protocol::{Code, Refused, SHARDS, ShardId, Timestamp};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc, time::Duration};
use utoipa::ToSchema;

/// How long the database may take to note what an operator wants.
const PATIENCE: Duration = Duration::from_secs(5);

/// The cluster as the node that was asked sees it.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct Cluster {
    /// The node that was asked: its incarnation. Absent if it is alone, with everything its own.
    pub(crate) me: Option<u64>,
    /// Everyone who is not dead, and the dead whose shards nobody has taken yet.
    pub(crate) nodes: Vec<ClusterNode>,
    /// Every shard, in the order of their numbers.
    pub(crate) shards: Vec<ClusterShard>,
    /// Shards on their way from the node that was asked.
    pub(crate) moves: Vec<ClusterMove>,
    /// Shards that are wanted on a certain node.
    pub(crate) pins: Vec<ClusterPin>,
    /// How many shards nobody alive has.
    pub(crate) n_orphans: usize,
    /// How many callers of the node that was asked wait for a shard that is moving.
    pub(crate) n_waiting: u32,
    /// The newest format of events, snapshots and envelopes that may be written: everyone reads it.
    pub(crate) writes: u32,
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
}

/// A shard on its way.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct ClusterMove {
    /// Which.
    pub(crate) shard: u16,
    /// To which incarnation.
    pub(crate) to: u64,
    /// `prepare`, `seal`, `transfer` or `adopt`.
    pub(crate) phase: String,
    /// Since when.
    #[schema(value_type = u64)]
    pub(crate) since: Timestamp,
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

impl Cluster {
    fn of(view: ClusterView) -> Self {
        let mut counts = BTreeMap::new();
        for owner in view.picture.heads.iter().filter_map(|head| head.owner) {
            *counts.entry(owner).or_insert(0) += 1;
        }
        let nodes = view.picture.members.into_iter().map(|(who, member)| ClusterNode {
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
            n_shards: counts.get(&who).copied().unwrap_or_default(),
        });
        let shards = view.picture.heads.into_iter().map(|head| ClusterShard {
            shard: head.shard.0,
            owner: head.owner.map(|owner| owner.0),
            epoch: head.epoch,
        });
        let moves = view.moves.into_iter().map(|moving| ClusterMove {
            shard: moving.shard.0,
            to: moving.to.0,
            phase: <&str>::from(moving.phase).to_owned(),
            since: moving.since,
        });
        let pins = view.picture.pins.into_iter();
        Self {
            me: Some(view.me.0),
            nodes: nodes.collect(),
            shards: shards.collect(),
            moves: moves.collect(),
            pins: pins.map(|pin| ClusterPin { shard: pin.shard.0, node: Some(pin.node) }).collect(),
            n_orphans: view.n_orphans,
            n_waiting: view.n_waiting,
            writes: view.picture.writes,
        }
    }

    fn alone() -> Self {
        Self {
            me: None,
            nodes: Vec::new(),
            shards: Vec::new(),
            moves: Vec::new(),
            pins: Vec::new(),
            n_orphans: 0,
            n_waiting: 0,
            writes: 0,
        }
    }
}

/// Who serves what, as this node sees it. Admins only.
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
    Ok(Json(gate.system.cluster().map_or_else(Cluster::alone, Cluster::of)))
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
    caller: Caller,
) -> Result<StatusCode, Answered> {
    caller.admin()?;
    gate.dismissal.cancel();
    Ok(StatusCode::ACCEPTED)
}

impl Gate {
    async fn pin(&self, shard: ShardId, node: Option<String>) -> Result<(), Answered> {
        let arbiter = self.system.arbiter().ok_or_else(alone)?;
        let name = node.clone().unwrap_or_default();
        let noted = match tokio::time::timeout(PATIENCE, arbiter.pin(shard, node)).await {
            Ok(noted) => noted,
            Err(_) => Err(ArbiterError::Away("no answer in time".to_owned())),
        };
        match noted {
            Ok(()) => {
                tracing::info!(%shard, node = name, "shard pinned");
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
