//! Rules of assignment: what admins say of how drivers are found, tried before it is said, and known on every node.
//!
//! Those that are set are known in memory (`actors/src/rule.rs`), kept up to date as `replica.rs` says: regions match by them from
//! their next tick on, and what is placed is placed under them. So one takes effect at once where it was said and on every node that could
//! be told, and within two seconds on one that could not; on a node that is alone, where its answer was lost, within some seconds.

use super::{
    Gate,
    front::Question,
    replica::{KEPT_FOR, Replica},
    rest::{Answered, Bearer, Body, Expected, Key, ListQuery, Named, Page, id_of, made, tagged},
    translate::{invalid, not_found},
    why::ASK_WITHIN,
};
use crate::{auth::Identity, telemetry::AUDIT};
use actors::{
    EntityKey, Kind, Tell, ViewRow,
    rule::{self, Command, OVER, REMOVED, RULES_MAX, Rule, SET, Scope, Standing},
    runtime::Wished,
};
use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
    response::{IntoResponse, Response},
};
use futures_util::future::join_all;
use matching::replay::Replayed;
use protocol::{
    Code, CommandId, Refused, RuleId, Timestamp,
    rule::{DryRun, RuleChanges, RuleTerms},
};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};
use tokio::{sync::OwnedSemaphorePermit, task::spawn_blocking};
use tracing::{error, info, warn};
use utoipa::ToSchema;

/// How far back rounds are held again.
const LOOK_BACK: Duration = Duration::from_secs(3_600);
/// How long another node has to hear what has become of a rule.
const TELL_WITHIN: Duration = Duration::from_millis(900);
/// How long a node that is asked by another one works at a dry run, so that its answer comes before nobody waits for it any more.
const REPLAY_WITHIN: Duration = Duration::from_millis(800);
/// When to ask again for a dry run, where others are under way.
const BUSY_MS: u64 = 1_000;

/// Rules, as every node knows them.
#[derive(Debug)]
pub(super) struct Rules;

impl Replica for Rules {
    fn kind(&self) -> Kind {
        Kind::Rule
    }

    fn what(&self) -> &'static str {
        "rules"
    }

    fn statuses(&self) -> &'static [&'static str] {
        &[SET]
    }

    fn settled(&self) -> &'static [&'static str] {
        &[OVER, REMOVED]
    }

    fn take_in(&self, gate: &Arc<Gate>, rows: &[(EntityKey, ViewRow)]) {
        let all = rows.iter().filter_map(|(key, row)| {
            let standing = Standing::of_row(row);
            if standing.is_none() {
                warn!(%key, "a row that is no rule");
            }
            Some((RuleId(key.id), standing?))
        });
        gate.take_in_rules(all);
    }

    fn n_known(&self, gate: &Gate) -> usize {
        gate.system.regions().rules().n_set(gate.system.now())
    }

    fn has_looked(&self, gate: &Gate) {
        gate.system.regions().rules().are_read();
    }

    fn forget(&self, gate: &Gate) {
        gate.system.regions().rules().forget_settled(gate.system.now() - KEPT_FOR);
    }
}

/// What a rule is to say, and why.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SetRule {
    /// What it says.
    rule: RuleTerms,
    /// Why, for whoever reads it later: 1 to 200 characters on one line.
    reason: String,
}

/// Why something is removed.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct WhyRemoved {
    /// For whoever reads it later: 1 to 200 characters on one line.
    pub(super) reason: String,
}

/// A rule that may be said one day.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct TryRule {
    /// What it would say. It is tried as if it had been the one in force for all jobs it is for, whatever its period and priority.
    rule: RuleTerms,
}

/// A rule, as it was last said.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RuleShown {
    /// Which.
    id: RuleId,
    /// Its version: who changes it says so (`If-Match`).
    version: u32,
    /// `set`, `over` once its end has come, or `removed`.
    status: String,
    /// What it says.
    rule: RuleTerms,
    /// When it was made.
    made_at: Timestamp,
    /// When something last happened to it.
    changed_at: Timestamp,
    /// Who last changed or removed it. By which token, and who did before, is in `/v1/actors/{id}/history` and in the audit log.
    by: String,
    /// Why they did.
    reason: String,
}

impl RuleShown {
    fn of(id: RuleId, standing: Standing) -> Self {
        let Standing { nth, status, changed_at, said } = standing;
        Self {
            id,
            version: nth,
            status,
            rule: said.terms,
            made_at: said.made_at,
            changed_at,
            by: said.by.to_string(),
            reason: said.reason,
        }
    }
}

impl IntoResponse for RuleShown {
    fn into_response(self) -> Response {
        tagged(self.version, &self)
    }
}

/// Makes a rule: how drivers are found otherwise, for some jobs and for a while. It takes effect at once, and on every node within two
/// seconds, without a restart. A job keeps what the rule says of how it is offered for as long as it lasts; weights, hold and learned ways
/// count in every round as they are then. Of several rules in force the strongest counts alone. Admins only.
#[utoipa::path(
    post, path = "/v1/rules", tag = "rules", security(("bearer" = [])),
    request_body = SetRule,
    params(("Idempotency-Key" = Option<String>, Header, description = "a UUIDv7, or any text of at most 64 characters")),
    responses(
        (status = 201, body = RuleShown), (status = 401, body = Refused), (status = 403, body = Refused),
        (status = 422, body = Refused), (status = 503, body = Refused)
    )
)]
pub(super) async fn make_rule(
    State(gate): State<Arc<Gate>>,
    bearer: Bearer,
    key: Result<Key, Answered>,
    body: Result<Body<SetRule>, Answered>,
) -> Result<Response, Answered> {
    bearer.admin()?;
    let (key, Body(set)) = (key?, body?);
    let command = gate.keyed(bearer.0.principal, key, |id| RuleId(id.0).into()).await;
    let id = RuleId(command.0);
    let shown = gate.set_rule(&bearer.0, id, 0, set, command).await?;
    Ok(made(&format!("/v1/rules/{id}"), shown))
}

/// Rules that are set (`status=set`), whose end has come (`over`), or that were removed (`removed`), the latest change first. Admins only.
#[utoipa::path(
    get, path = "/v1/rules", tag = "rules", security(("bearer" = [])), params(ListQuery),
    responses(
        (status = 200, body = Page), (status = 401, body = Refused), (status = 403, body = Refused),
        (status = 422, body = Refused)
    )
)]
pub(super) async fn list_rules(
    State(gate): State<Arc<Gate>>,
    bearer: Bearer,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Page>, Answered> {
    bearer.admin()?;
    gate.list(Kind::Rule, bearer.0.asker(), query).await
}

/// A rule as it is, also one that was removed. Its `ETag` is its version. Admins only.
#[utoipa::path(
    get, path = "/v1/rules/{id}", tag = "rules", security(("bearer" = [])),
    params(("id" = String, Path, description = "rule-…")),
    responses(
        (status = 200, body = RuleShown), (status = 401, body = Refused), (status = 403, body = Refused),
        (status = 404, body = Refused)
    )
)]
pub(super) async fn show_rule(
    State(gate): State<Arc<Gate>>,
    bearer: Bearer,
    Named(id): Named,
) -> Result<RuleShown, Answered> {
    bearer.admin()?;
    Ok(gate.rule_as_it_is(id_of(&id)?).await?)
}

/// Lets a rule say something else. Who has not seen what it says now is refused (409 `too_late`), and changes nothing; so is whoever asks
/// a node of another brand (422 `invalid`). Admins only.
#[utoipa::path(
    put, path = "/v1/rules/{id}", tag = "rules", security(("bearer" = [])),
    request_body = SetRule,
    params(
        ("id" = String, Path, description = "rule-…"),
        ("If-Match" = String, Header, description = "the version that is to be changed, as its ETag says it"),
        ("Idempotency-Key" = Option<String>, Header, description = "a UUIDv7, or any text of at most 64 characters")
    ),
    responses(
        (status = 200, body = RuleShown), (status = 401, body = Refused), (status = 403, body = Refused),
        (status = 404, body = Refused), (status = 409, body = Refused), (status = 422, body = Refused),
        (status = 503, body = Refused)
    )
)]
pub(super) async fn change_rule(
    State(gate): State<Arc<Gate>>,
    bearer: Bearer,
    Named(id): Named,
    expected: Result<Expected, Answered>,
    key: Result<Key, Answered>,
    body: Result<Body<SetRule>, Answered>,
) -> Result<RuleShown, Answered> {
    bearer.admin()?;
    let (id, Expected(expects), Body(set)) = (id_of::<RuleId>(&id)?, expected?, body?);
    let command = gate.keyed(bearer.0.principal, key?, |_| id.into()).await;
    Ok(gate.set_rule(&bearer.0, id, expects, set, command).await?)
}

/// Removes a rule for good. Jobs that were placed under it keep what it said of how they are offered. A node of another brand refuses it
/// (422 `invalid`). Admins only.
#[utoipa::path(
    delete, path = "/v1/rules/{id}", tag = "rules", security(("bearer" = [])),
    params(
        ("id" = String, Path, description = "rule-…"),
        ("If-Match" = String, Header, description = "the version that is to be removed, as its ETag says it"),
        ("Idempotency-Key" = Option<String>, Header, description = "a UUIDv7, or any text of at most 64 characters"),
        ("reason" = String, Query, description = "why, for whoever reads it later: 1 to 200 characters on one line")
    ),
    responses(
        (status = 200, body = RuleShown), (status = 401, body = Refused), (status = 403, body = Refused),
        (status = 404, body = Refused), (status = 409, body = Refused), (status = 422, body = Refused),
        (status = 503, body = Refused)
    )
)]
pub(super) async fn remove_rule(
    State(gate): State<Arc<Gate>>,
    bearer: Bearer,
    Named(id): Named,
    expected: Result<Expected, Answered>,
    key: Result<Key, Answered>,
    query: Result<Query<WhyRemoved>, QueryRejection>,
) -> Result<RuleShown, Answered> {
    bearer.admin()?;
    let (id, Expected(expects)) = (id_of::<RuleId>(&id)?, expected?);
    let Query(WhyRemoved { reason }) =
        query.map_err(|rejection| Refused::new(Code::Invalid, rejection.body_text()))?;
    let by = &bearer.0;
    gate.check_brand(id).await?;
    let wished = Wished::new(&(expects, &reason));
    let removal = Command::Remove { expects, reason, with: by.token };
    let command = gate.keyed(by.principal, key?, |_| id.into()).await;
    Ok(gate.tell_rule(by, id, removal, wished, command).await?)
}

/// What a rule would have made of the rounds of the last hour: which assignments would have been others, and how long drivers would have
/// taken to their pickups. Each round is held again by itself with what it told then, by other weights; what would have come of it
/// afterwards nobody knows, and what else cannot be known, or was left out, the answer says. Changes nothing. Admins only.
#[utoipa::path(
    post, path = "/v1/rules/dry-run", tag = "rules", security(("bearer" = [])),
    request_body = TryRule,
    responses(
        (status = 200, body = DryRun), (status = 401, body = Refused), (status = 403, body = Refused),
        (status = 422, body = Refused), (status = 429, body = Refused)
    )
)]
pub(super) async fn try_rule(
    State(gate): State<Arc<Gate>>,
    bearer: Bearer,
    body: Result<Body<TryRule>, Answered>,
) -> Result<Json<DryRun>, Answered> {
    bearer.admin()?;
    let Body(TryRule { rule }) = body?;
    Ok(Json(gate.dry_run(gate.of_this_brand(rule)?).await?))
}

/// Refuses what is of another brand: prices, policies and places are a brand's own.
pub(super) fn check_ours(theirs: &str, ours: &str) -> Result<(), Refused> {
    match theirs == ours {
        true => Ok(()),
        false => Err(invalid("preset", &format!("it is for {theirs}, and this node's is {ours}"))),
    }
}

impl Gate {
    /// Takes in what has become of rules.
    pub(super) fn take_in_rules(&self, all: impl IntoIterator<Item = (RuleId, Standing)>) {
        self.system.regions().rules().take_in(all);
    }

    async fn rule_as_it_is(&self, id: RuleId) -> Result<RuleShown, Refused> {
        let (_, rule) = self.system.read::<Rule>(id).await.map_err(Refused::from)?;
        let standing = rule.standing().ok_or_else(|| not_found(&id.to_string()))?;
        Ok(RuleShown::of(id, standing))
    }

    /// The same terms, which are of the brand of this node if they do not say of which; and refused if they are of another.
    fn of_this_brand(&self, mut terms: RuleTerms) -> Result<RuleTerms, Refused> {
        let ours = &self.translator.preset.name;
        if terms.preset.is_empty() {
            terms.preset.clone_from(ours);
        }
        match terms.preset == *ours {
            true => Ok(terms),
            false => Err(invalid("preset", &format!("this node's is {ours}"))),
        }
    }

    /// Refuses to change a rule of another brand: whoever knows that one's jobs does it there.
    async fn check_brand(&self, id: RuleId) -> Result<(), Refused> {
        let theirs = self.rule_as_it_is(id).await?.rule.preset;
        check_ours(&theirs, &self.translator.preset.name)
    }

    async fn set_rule(
        &self,
        by: &Identity,
        id: RuleId,
        expects: u32,
        SetRule { rule, reason }: SetRule,
        command: CommandId,
    ) -> Result<RuleShown, Refused> {
        let wished = Wished::new(&(expects, &rule, &reason));
        let terms = Box::new(self.of_this_brand(rule)?);
        if expects > 0 {
            self.check_brand(id).await?;
        }
        let is_full = !self.system.regions().rules().has_room(id, self.system.now());
        // One that was made before is answered as it was then.
        if is_full && (expects > 0 || self.rule_as_it_is(id).await.is_err()) {
            return Err(invalid("rule", &format!("{RULES_MAX} are set, which is the most")));
        }
        let set = Command::Set { terms, expects, reason, with: by.token };
        self.tell_rule(by, id, set, wished, command).await
    }

    /// Tells a rule, and then everybody what has become of it.
    async fn tell_rule(
        &self,
        by: &Identity,
        id: RuleId,
        command: Command,
        wished: Wished,
        command_id: CommandId,
    ) -> Result<RuleShown, Refused> {
        let what: &'static str = (&command).into();
        let reason = match &command {
            Command::Set { reason, .. } | Command::Remove { reason, .. } => reason.clone(),
            Command::Lapse {} => String::new(),
        };
        let tell = Tell::Rule { to: id, command };
        let told = self.system.grant(wished, tell, by.principal, command_id, self.patience).await;
        told.map_err(Refused::from)?;
        let with = by.token.map(|token| token.to_string());
        info!(target: AUDIT, by = %by.principal, with, rule = %id, what, reason, "rule changed");
        self.rule_changed(id).await;
        self.rule_as_it_is(id).await
    }

    /// Something has happened to a rule: this node knows at once, and the others are told. One that does not hear it finds it within a
    /// second.
    async fn rule_changed(&self, id: RuleId) {
        let standing = match self.system.read::<Rule>(id).await {
            Ok((_, rule)) => rule.standing(),
            // The list has it.
            Err(error) => {
                warn!(%id, %error, "what became of a rule cannot be read");
                return;
            }
        };
        let Some(standing) = standing else { return };
        self.take_in_rules([(id, standing.clone())]);
        let question = Question::Rules(vec![(id, standing)]);
        let others = self.system.others().into_iter();
        join_all(others.map(|who| self.ask::<()>(who, &question, TELL_WITHIN))).await;
    }

    async fn dry_run(&self, terms: RuleTerms) -> Result<DryRun, Refused> {
        rule::check(&terms).map_err(Refused::from)?;
        let turn = self.replay_turn()?;
        let until = self.system.now();
        let since = until - LOOK_BACK;
        let cannot_know = unknowable(&terms.changes);
        let question = Question::Replay { terms: Box::new(terms.clone()), since };
        let (here, (there, silent)) = tokio::join!(
            self.replayed(&terms, since, ASK_WITHIN, turn),
            self.elsewhere::<Option<(Replayed, Timestamp)>>(&question)
        );
        let here = here?;
        let (replayed, known_since) = there
            .into_iter()
            .flatten()
            .fold(here, |(all, since), (more, then)| (all.and(more), since.max(then)));
        let Replayed { n_assignments, n_differ, n_after, eta_before_ms, eta_after_ms, .. } =
            replayed;
        Ok(DryRun {
            since,
            until,
            known_since,
            n_assignments,
            n_differ,
            eta_before_s: mean_s(eta_before_ms, n_assignments),
            eta_after_s: mean_s(eta_after_ms, n_after),
            differ: replayed.differ,
            left_out: replayed.left_out,
            cannot_know,
            silent,
        })
    }

    /// A turn to work at something that is not for drivers and riders; refused, where as many are under way as may be.
    fn replay_turn(&self) -> Result<OwnedSemaphorePermit, Refused> {
        Arc::clone(&self.plans).try_acquire_owned().map_err(|_| busy())
    }

    /// What another node's dry run would have made of the rounds of this one: nothing, if it is of another brand; refused, if this node
    /// has no turn or no time for it.
    pub(super) async fn replayed_for(
        &self,
        terms: &RuleTerms,
        since: Timestamp,
    ) -> Result<Option<(Replayed, Timestamp)>, Refused> {
        if terms.preset != self.translator.preset.name {
            return Ok(None);
        }
        let turn = self.replay_turn()?;
        self.replayed(terms, since, REPLAY_WITHIN, turn).await.map(Some)
    }

    /// What a rule would have made of the rounds of this node since then, and since when those are known.
    async fn replayed(
        &self,
        terms: &RuleTerms,
        since: Timestamp,
        within: Duration,
        turn: OwnedSemaphorePermit,
    ) -> Result<(Replayed, Timestamp), Refused> {
        let (system, scope, changes) = (self.system.clone(), Scope::of(terms), terms.changes);
        let replaying = spawn_blocking(move || {
            let replayed = system.regions().replay(&scope, &changes, since);
            // It takes its turn until it is done, also where nobody waits for it any more.
            drop(turn);
            replayed
        });
        match tokio::time::timeout(within, replaying).await {
            Ok(Ok(replayed)) => Ok(replayed),
            Ok(Err(error)) => {
                error!(%error, "a dry run fell");
                Err(Refused::new(Code::Internal, "a fault of ours"))
            }
            Err(_elapsed) => {
                warn!("a dry run took too long");
                Err(busy())
            }
        }
    }
}

fn busy() -> Refused {
    let refused = Refused::new(Code::Busy, "as much is being worked out as may be");
    refused.retry_after_ms(BUSY_MS)
}

/// What a rule changes and no round can tell, by its key: all but weights.
fn unknowable(changes: &RuleChanges) -> Vec<String> {
    let changes = serde_json::to_value(changes).unwrap_or_default();
    let keys = changes.as_object().into_iter().flat_map(|it| it.keys());
    let keys = keys.filter(|key| *key != "weights").map(|key| format!("changes.{key}"));
    let mut keys: Vec<String> = keys.collect();
    keys.sort_unstable();
    keys
}

/// The mean of so many, in seconds.
fn mean_s(sum_ms: u64, n: u64) -> Option<f64> {
    (n > 0).then(|| sum_ms as f64 / n as f64 / 1_000.0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::rule::WeightChanges;

    #[test]
    fn what_rounds_cannot_tell_is_named_by_its_key() {
        let weights = Some(WeightChanges { star_ms: Some(1), ..WeightChanges::default() });
        let changes = RuleChanges { weights, ..RuleChanges::default() };
        assert_eq!(unknowable(&changes), Vec::<String>::new());
        let changes = RuleChanges { tier_ms: Some(1), learned_ways: Some(false), ..changes };
        assert_eq!(unknowable(&changes), ["changes.learned_ways", "changes.tier_ms"]);
    }

    #[test]
    fn the_mean_of_nothing_is_none() {
        assert_eq!(mean_s(0, 0), None);
        assert_eq!(mean_s(3_000, 2), Some(1.5));
    }
}
