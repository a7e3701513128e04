//! Revoking tokens, and knowing on every node which are revoked.
//!
//! ```text
//!  admin ── revoke ──► entity ── commit ──► journal ◄── every second: anything new? ── other nodes
//!                         │                                                            ▲
//!                         └──► this node: the set, then its sessions ── told ──────────┘
//! ```
//!
//! A revocation is an entity like any other, so it is durable before anybody hears yes. Each node keeps those that
//! are in force in memory (`auth/revoked.rs`), where every token is looked up when it is verified. It reads all of
//! them before it lets anybody in. After that it hears of new ones from the node that revoked, and finds those it
//! was not told of when it looks at the list. One that could not look for a minute believes nobody new:
//! somebody may have been locked out meanwhile.

use super::{
    Gate,
    front::Question,
    rest::{Answered, Bearer, Body, ListQuery, Page},
    translate::invalid,
};
use crate::auth::{Identity, principal_named, token_id};
use actors::{
    Kind,
    journal::{JournalError, Sort, ViewQuery},
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
use std::{
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};
use utoipa::ToSchema;

/// How often a node of several looks for what it was not told.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How far back it looks: longer than a commit takes, and than the clocks of two nodes differ.
const LOOK_BACK: Duration = Duration::from_secs(60);
/// How often it reads all of it again, whatever the clocks said.
const READ_ALL_EVERY: Duration = Duration::from_secs(300);
/// How often it forgets what has lapsed.
const FORGET_EVERY: Duration = Duration::from_secs(60);
/// How long one look may take.
const LOOK_WITHIN: Duration = Duration::from_secs(5);
/// How long a node believes newcomers without having looked.
const BLIND_MAX: Duration = Duration::from_secs(60);
/// How long a start waits for the journal.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// How long another node has to say that it knows.
const TELL_WITHIN: Duration = Duration::from_millis(900);
/// Rows of one read.
const PAGE_ROWS: usize = 1_000;

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
    gate.list(Kind::Revocation, bearer.0.principal, query).await
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

    /// Reads what is in force since then; returns the newest moment that was read.
    async fn read_revoked(&self, since: Timestamp) -> Result<Timestamp, JournalError> {
        let (mut newest, mut after) = (since, None);
        loop {
            let query = ViewQuery {
                statuses: vec![IN_FORCE.to_owned()],
                since: Some(since),
                sort: Sort::Oldest,
                after,
                ..ViewQuery::newest(Kind::Revocation, PAGE_ROWS)
            };
            let read = timeout(LOOK_WITHIN, self.system.journal().views(query)).await;
            let rows = read.unwrap_or_else(|_elapsed| {
                Err(JournalError::Unavailable("no answer in time".to_owned()))
            })?;
            let is_last = rows.len() < PAGE_ROWS;
            after = rows.last().map(|(key, row)| (row.at, key.id));
            newest = newest.max(after.map_or(since, |(at, _)| at));
            let all: Vec<_> = rows.iter().filter_map(|(_, row)| InForce::of_row(row)).collect();
            self.take_in(&all);
            if is_last {
                return Ok(newest);
            }
        }
    }

    /// Is it one of several, who are told by others what is revoked?
    fn has_others(&self) -> bool {
        self.system.arbiter().is_some()
    }

    fn has_looked(&self) {
        if self.has_others() {
            self.keys.revoked().is_known_until(self.system.now() + BLIND_MAX);
        }
    }
}

/// Reads all that is in force, before anybody is let in; returns the newest moment. A node that cannot is of no use:
/// it would let in whom others have locked out.
pub(super) async fn load(gate: &Arc<Gate>) -> Result<Timestamp, JournalError> {
    let until = Instant::now() + START_PATIENCE;
    loop {
        match gate.read_revoked(Timestamp::default()).await {
            Ok(newest) => {
                gate.has_looked();
                info!(n = gate.keys.revoked().len(), "revocations read");
                return Ok(newest);
            }
            Err(error) if Instant::now() < until => {
                warn!(%error, "what is revoked cannot be read; trying again");
                sleep(LOOK_EVERY).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Finds what this node was not told, and forgets what has lapsed, as long as there is a gate.
pub(super) async fn follow(gate: Weak<Gate>, mut newest: Timestamp) {
    let mut read_all_at = Instant::now() + READ_ALL_EVERY;
    let mut forget_at = Instant::now() + FORGET_EVERY;
    let mut is_blind = false;
    loop {
        sleep(LOOK_EVERY).await;
        let Some(gate) = gate.upgrade() else { return };
        gate.taps.forget_gone();
        if Instant::now() >= forget_at {
            forget_at = Instant::now() + FORGET_EVERY;
            gate.keys.revoked().forget_lapsed(gate.system.now());
        }
        // Alone, nobody revokes anything but this node.
        if !gate.has_others() {
            continue;
        }
        let is_due = Instant::now() >= read_all_at;
        let since = if is_due { Timestamp::default() } else { newest - LOOK_BACK };
        match gate.read_revoked(since).await {
            Ok(read) => {
                newest = newest.max(read);
                gate.has_looked();
                if is_due {
                    read_all_at = Instant::now() + READ_ALL_EVERY;
                }
                is_blind = false;
            }
            Err(error) if !is_blind => {
                is_blind = true;
                warn!(%error, "what is revoked cannot be read; trying again every second");
            }
            Err(_) => {}
        }
    }
}
