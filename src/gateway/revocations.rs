//! Revoking tokens, and knowing on every node which are revoked.
//!
//! Those in force are in memory (`auth/revoked.rs`), where every token is looked up when it is verified, and kept up to
//! date as `replica.rs` says. A node that could not look for a minute believes nobody new: somebody may have been
//! locked out meanwhile.

use super::{
    Gate,
    front::Question,
    replica::Replica,
    rest::{Answered, Bearer, Body, ListQuery, Page},
    translate::invalid,
};
use crate::auth::{Identity, principal_named, token_id};
use actors::{
    EntityKey, Kind, ViewRow,
    revocation::{Command, IN_FORCE, InForce, Revocation, Target},
    runtime::Ask,
};
use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use futures_util::future::join_all;
use protocol::{Code, CommandId, Refused, Timestamp};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};
use tracing::info;
use utoipa::ToSchema;

/// How long a node believes newcomers without having looked.
const BLIND_MAX: Duration = Duration::from_secs(60);
/// How long another node has to say that it knows.
const TELL_WITHIN: Duration = Duration::from_millis(900);

/// What is to be revoked: one of `token` and `principal`.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(crate) struct Revoke {
    /// A token, by its `jti`: `token-…` or a UUID. Never the token itself.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<String>,
    /// Every token issued until now to somebody: `rider-…`, `driver-…`, `merchant-…`, or `dispatcher` or
    /// `admin` for all who have that role.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) principal: Option<String>,
    /// Why, for whoever reads it later: 1 to 200 characters on one line.
    pub(crate) reason: String,
}

/// What logging out means.
#[derive(Debug, Clone, Default, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct LogOut {
    /// Everywhere, and not only with this token.
    #[serde(default)]
    everywhere: bool,
}

/// What became of it.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct Revoked {
    /// The revocation, in display form.
    pub(crate) id: String,
    /// When the last token it is about has expired anyway.
    #[schema(value_type = u64)]
    pub(crate) lapses_at: Timestamp,
    /// How many sessions it ended, on the nodes that said so.
    pub(crate) n_ended: usize,
    /// How many nodes there are…
    pub(crate) n_nodes: usize,
    /// … and how many of them know already. The others find out within a second or two.
    pub(crate) n_told: usize,
}

/// Revokes a token, or every token issued until now to somebody: nobody is let in with it any more, anywhere, and
/// sockets that were opened with it close with 4401. A token issued in the same second is meant, too.
/// Admins only.
#[utoipa::path(
    post, path = "/admin/revocations", tag = "admin", security(("bearer" = [])),
    request_body = Revoke,
    responses(
        (status = 200, body = Revoked), (status = 401, body = Refused), (status = 403, body = Refused),
        (status = 422, body = Refused), (status = 429, body = Refused), (status = 503, body = Refused)
    )
)]
pub(super) async fn revoke(
    State(gate): State<Arc<Gate>>,
    bearer: Bearer,
    Body(Revoke { token, principal, reason }): Body<Revoke>,
) -> Result<Json<Revoked>, Answered> {
    bearer.admin()?;
    let target = match (token, principal) {
        (Some(token), None) => {
            let named = token_id(&token);
            Target::Token(named.ok_or_else(|| invalid("token", "a jti: token-… or a UUID"))?)
        }
        (None, Some(principal)) => {
            let named = principal_named(&principal);
            Target::Principal(named.ok_or_else(|| invalid("principal", "nobody is called that"))?)
        }
        (Some(_), Some(_)) | (None, None) => {
            return Err(invalid("token", "either token or principal").into());
        }
    };
    Ok(Json(gate.revoke(&bearer.0, target, reason).await?))
}

/// Logs out: the token this is asked with is good no longer, and with `everywhere` no other one that was issued to
/// the same rider, driver or merchant until now.
#[utoipa::path(
    post, path = "/v1/auth/logout", tag = "auth", security(("bearer" = [])),
    request_body = LogOut,
    responses(
        (status = 200, body = Revoked), (status = 401, body = Refused), (status = 403, body = Refused),
        (status = 422, body = Refused), (status = 429, body = Refused), (status = 503, body = Refused)
    )
)]
pub(super) async fn log_out(
    State(gate): State<Arc<Gate>>,
    Bearer(identity): Bearer,
    Body(LogOut { everywhere }): Body<LogOut>,
) -> Result<Json<Revoked>, Answered> {
    let target = match (everywhere, identity.token) {
        (true, _) => Target::Principal(identity.principal),
        (false, Some(token)) => Target::Token(token),
        (false, None) => {
            let problem =
                "this token has no id of its own (jti), so only all of yours can be revoked";
            return Err(invalid("everywhere", problem).into());
        }
    };
    Ok(Json(gate.revoke(&identity, target, "logged out".to_owned()).await?))
}

/// What is revoked, or was, newest first. Admins only.
#[utoipa::path(
    get, path = "/admin/revocations", tag = "admin", security(("bearer" = [])), params(ListQuery),
    responses(
        (status = 200, body = Page), (status = 401, body = Refused), (status = 403, body = Refused),
        (status = 422, body = Refused)
    )
)]
pub(super) async fn list(
    State(gate): State<Arc<Gate>>,
    bearer: Bearer,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Page>, Answered> {
    bearer.admin()?;
    gate.list(Kind::Revocation, bearer.0.asker(), query).await
}

impl Gate {
    async fn revoke(
        self: &Arc<Self>,
        by: &Identity,
        target: Target,
        reason: String,
    ) -> Result<Revoked, Refused> {
        let (id, now) = (target.id(), self.system.now());
        if self.keys.revoked().is_full() {
            let message = "as many are revoked as may be (auth.revocations_max)";
            return Err(Refused::new(Code::Busy, message).retry_after_ms(60_000));
        }
        let is_ones_own = matches!(target, Target::Token(token) if by.token == Some(token));
        let lapses_at = match is_ones_own {
            true => by.expires_at,
            false => now + self.keys.token_ttl_max(),
        };
        // For as long as verifying is lenient.
        let lapses_at = lapses_at + self.keys.leeway();
        let command = Command::Revoke {
            target,
            whose: is_ones_own.then_some(by.principal),
            issued_until: now,
            lapses_at,
            reason: reason.clone(),
        };
        let ask = Ask { command, by: by.principal, id: CommandId::mint() };
        self.system.ask::<Revocation>(id, ask, self.patience).await.map_err(Refused::from)?;

        let in_force = [InForce { target, issued_until: now, lapses_at }];
        let mut n_ended = self.take_in(&in_force);
        let others = self.system.others();
        let n_nodes = others.len() + 1;
        let question = Question::Revoked(in_force.to_vec());
        let tell = others.into_iter().map(|who| self.ask::<usize>(who, &question, TELL_WITHIN));
        let told: Vec<usize> = join_all(tell).await.into_iter().flatten().collect();
        n_ended += told.iter().sum::<usize>();
        let n_told = told.len() + 1;
        // Who revoked whom, and why: the one line an auditor looks for.
        let what = match target {
            Target::Token(token) => token.to_string(),
            Target::Principal(who) => who.to_string(),
        };
        let with = by.token.map(|token| token.to_string());
        info!(
            by = %by.principal, with, revoked = what, reason, n_ended, n_nodes, n_told,
            "tokens revoked"
        );
        metrics::counter!("outrider_revocations_total").increment(1);
        Ok(Revoked { id: id.to_string(), lapses_at, n_ended, n_nodes, n_told })
    }

    /// Takes in what is revoked, and ends the sessions here that live by it; returns how many.
    pub(super) fn take_in(&self, all: &[InForce]) -> usize {
        let revoked = self.keys.revoked();
        // First the set, then the sessions: who is let in meanwhile looks at them the other way round.
        if revoked.add(all, self.system.now()) == 0 {
            return 0;
        }
        metrics::gauge!("outrider_revocations_in_force").set(revoked.len() as f64);
        let n_ended = self.known.end_revoked(|identity| revoked.has(identity));
        if n_ended > 0 {
            metrics::counter!("outrider_sessions_revoked_total").increment(n_ended as u64);
        }
        n_ended
    }
}

/// Revocations, as every node knows them.
#[derive(Debug)]
pub(super) struct Revocations;

impl Replica for Revocations {
    fn kind(&self) -> Kind {
        Kind::Revocation
    }

    fn what(&self) -> &'static str {
        "revocations"
    }

    fn statuses(&self) -> &'static [&'static str] {
        &[IN_FORCE]
    }

    fn take_in(&self, gate: &Arc<Gate>, rows: &[(EntityKey, ViewRow)]) {
        let all: Vec<_> = rows.iter().filter_map(|(_, row)| InForce::of_row(row)).collect();
        gate.take_in(&all);
    }

    fn n_known(&self, gate: &Gate) -> usize {
        gate.keys.revoked().len()
    }

    /// Whoever is told by others what is revoked believes newcomers only as long as it knows.
    fn has_looked(&self, gate: &Gate) {
        if gate.has_others() {
            gate.keys.revoked().is_known_until(gate.system.now() + BLIND_MAX);
        }
    }

    fn tend(&self, gate: &Gate) {
        gate.taps.forget_gone();
    }

    fn forget(&self, gate: &Gate) {
        gate.keys.revoked().forget_lapsed(gate.system.now());
    }
}
