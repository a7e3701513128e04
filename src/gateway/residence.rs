//! Where an actor lives, and how it is there: for whoever looks at one, and wonders why it does not answer.

use super::{
    Gate,
    front::Question,
    rest::{Answered, Caller, Named},
    translate::not_found,
};
use actors::{EntityKey, cluster::Incarnation, runtime::Residence};
use axum::{Json, extract::State};
use protocol::{Refused, ShardId};
use serde::Serialize;
use std::{sync::Arc, time::Duration};
use utoipa::ToSchema;

/// How long another node has to say.
const ASK_WITHIN: Duration = Duration::from_secs(2);

/// Where an actor lives, and how it is there.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Resident {
    /// Its shard.
    shard: ShardId,
    /// The name of the node that has it; absent if the node is alone, or nobody has it just now.
    #[serde(skip_serializing_if = "Option::is_none")]
    node: Option<String>,
    /// Which ownership of the shard it is; absent if the node is alone.
    #[serde(skip_serializing_if = "Option::is_none")]
    epoch: Option<u64>,
    /// Does an actor host it, or does it sleep in the journal? Absent, like what follows, if its node did not say.
    #[serde(skip_serializing_if = "Option::is_none")]
    awake: Option<bool>,
    /// How many messages wait in its mailbox.
    #[serde(skip_serializing_if = "Option::is_none")]
    waiting: Option<u32>,
    /// How often it fell lately.
    #[serde(skip_serializing_if = "Option::is_none")]
    falls: Option<usize>,
    /// Was it set aside because it fell too often?
    #[serde(skip_serializing_if = "Option::is_none")]
    quarantined: Option<bool>,
}

/// Where an actor lives, and how it is there: its node, its mailbox, its falls. Wakes nobody. Staff only; of rules and revocations, admins
/// only.
#[utoipa::path(
    get, path = "/v1/actors/{id}/residence", tag = "actors", security(("bearer" = [])),
    params(("id" = String, Path, description = "any id in display form")),
    responses(
        (status = 200, body = Resident), (status = 401, body = Refused), (status = 403, body = Refused),
        (status = 404, body = Refused)
    )
)]
pub(super) async fn residence(
    State(gate): State<Arc<Gate>>,
    caller: Caller,
    Named(id): Named,
) -> Result<Json<Resident>, Answered> {
    caller.staff()?;
    let key = EntityKey::parse(&id).ok_or_else(|| not_found(&id))?;
    caller.reader_of(key)?;
    gate.check_sight(key, &caller.0).await?;
    Ok(Json(gate.resident(key).await))
}

impl Gate {
    async fn resident(&self, key: EntityKey) -> Resident {
        let shard = key.shard();
        let cluster = self.system.cluster();
        let head = cluster
            .as_ref()
            .and_then(|it| it.picture.heads.iter().find(|head| head.shard == shard));
        let owner: Option<Incarnation> = head.and_then(|head| head.owner);
        let node = owner
            .and_then(|owner| cluster.as_ref()?.picture.members.get(&owner))
            .map(|member| member.card.node.clone());
        let is_elsewhere = owner.is_some_and(|owner| owner != self.system.incarnation());
        let found: Option<Residence> = match owner {
            Some(owner) if is_elsewhere => self
                .ask::<Option<Residence>>(owner, &Question::Residence(key), ASK_WITHIN)
                .await
                .flatten(),
            Some(_) | None => {
                tokio::time::timeout(ASK_WITHIN, self.system.residence(key)).await.ok().flatten()
            }
        };
        Resident {
            shard,
            node,
            epoch: head.map(|head| head.epoch),
            awake: found.map(|it| it.is_awake),
            waiting: found.map(|it| it.n_waiting),
            falls: found.map(|it| it.n_falls),
            quarantined: found.map(|it| it.is_quarantined),
        }
    }
}
