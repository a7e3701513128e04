//! Templates of runs: what staff say is brought together again and again, and the days that are made of it.
//!
//! ```text
//!  Template: a day begins ──► list of views (`due`) ◄── every second: which of mine? ── the node that has it
//!       ▲                                                                                  │
//!       └── orders, run, what became of it ── told ── orders placed, run planned: again and again, with the same ids
//! ```
//!
//! When a day begins, and when there is no time left for it, the template knows by itself (`actors/src/template.rs`). Here is done what
//! takes prices, policies and routers, by whoever has the template, or else by any node of its brand; nothing of it is kept but what the
//! template is told, so that another node goes on where this one fell. Two that do it at once do it to the same orders and to the same run.

use super::{
    Gate,
    rest::{Answered, Bearer, Body, Expected, Key, ListQuery, Named, Page, id_of, made, tagged},
    rules::{WhyRemoved, check_ours},
    together::run_of,
    translate::{self, forbidden, invalid, not_found},
};
use crate::{
    auth::{Identity, scope::Scope},
    telemetry::AUDIT,
};
use actors::{
    EntityKey, Kind, Tell, Version, ViewRow,
    driver::Driver,
    journal::{Sort, ViewQuery},
    listing::RegionId,
    order::{self, Order},
    region::Choice,
    run::{self, Plan, Run},
    runtime::Wished,
    template::{
        Command, DUE, KNOWN, Making, OVER, PAUSED, PlacedOne, SET, TEMPLATES_MAX, Template,
    },
};
use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
    response::{IntoResponse, Response},
};
use futures_util::{StreamExt, stream};
use matching::batch::Leeway;
use protocol::{
    Code, CommandId, OrderId, Principal, Refused, RunStatus, TemplateId, Timestamp,
    template::{Placing, TemplateOrder, TemplateTerms, TemplateView},
    trace::WhyAlone,
    work::{NewOrder, OfferPolicy, OrderKind, Wish},
};
use serde::{Deserialize, Serialize};
use std::{
    collections::HashMap,
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};
use utoipa::ToSchema;

/// How often a node looks for days that are being made, if it has any shard, or went on with one not long ago.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often another one does, of which there may be many: a day is its affair only once it has been left alone.
const LOOK_EVERY_IDLY: Duration = Duration::from_secs(5);
/// How long one look may take.
const LOOK_WITHIN: Duration = Duration::from_secs(5);
/// How many days are worked at at once: each places some orders, or looks for a driver.
const AT_ONCE: usize = 8;
/// How long each of them may take; what is not done by then is done with the next look.
const STEP_WITHIN: Duration = Duration::from_secs(15);
/// How long it is waited after nobody was found who brings all of it.
const AGAIN_AFTER: Duration = Duration::from_secs(3);
/// After how long in which nothing came of a day any node of its brand goes on with it: who has it may be of another brand.
const LEFT_ALONE: Duration = Duration::from_secs(15);

/// What a template is to say, and why.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SetTemplate {
    /// What it says.
    template: TemplateTerms,
    /// Why, for whoever reads it later: 1 to 200 characters on one line.
    reason: String,
}

/// What may be done to a template beside changing what it says.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub(super) enum TemplateAction {
    /// No day of it is begun for a while. One that has begun goes on.
    Pause {
        /// Why, for whoever reads it later: 1 to 200 characters on one line.
        reason: String,
    },
    /// Its days are begun again, from the next one on that is still to come.
    Resume {
        /// Why, for whoever reads it later: 1 to 200 characters on one line.
        reason: String,
    },
}

/// A template as it is, with its version.
#[derive(Debug)]
pub(super) struct TemplateShown(TemplateView);

impl IntoResponse for TemplateShown {
    fn into_response(self) -> Response {
        tagged(self.0.version, &self.0)
    }
}

/// Refuses all but staff, and dispatchers of some regions: what is brought every day may begin anywhere.
fn staff_of_everywhere(by: &Identity) -> Result<(), Answered> {
    let asker = by.asker();
    match asker.who.is_staff() && asker.scope.is_everywhere() {
        true => Ok(()),
        false => Err(forbidden("staff only, and not dispatchers of some regions").into()),
    }
}

/// Makes a template: some deliveries that are brought together on some days of the week. Some time before they are due the orders of a
/// day are placed, once, and wait for a moment to be brought as one run: by the driver it names, or by the nearest who can; then each
/// looks for a driver by itself. Staff of everywhere only.
#[utoipa::path(
    post, path = "/v1/run-templates", tag = "runs", security(("bearer" = [])),
    request_body = SetTemplate,
    params(("Idempotency-Key" = Option<String>, Header, description = "a UUIDv7, or any text of at most 64 characters")),
    responses(
        (status = 201, body = TemplateView), (status = 401, body = Refused), (status = 403, body = Refused),
        (status = 404, body = Refused), (status = 422, body = Refused), (status = 503, body = Refused)
    )
)]
pub(super) async fn make_template(
    State(gate): State<Arc<Gate>>,
    bearer: Bearer,
    key: Result<Key, Answered>,
    body: Result<Body<SetTemplate>, Answered>,
) -> Result<Response, Answered> {
    staff_of_everywhere(&bearer.0)?;
    let (key, Body(set)) = (key?, body?);
    let command = gate.keyed(bearer.0.principal, key, |id| TemplateId(id.0).into()).await;
    let id = TemplateId(command.0);
    let shown = Box::pin(gate.set_template(&bearer.0, id, 0, set, command)).await?;
    Ok(made(&format!("/v1/run-templates/{id}"), shown))
}

/// Templates of which days are to come (`status=set`), of which one is being made (`due`), that are `paused`, whose last day is `over`,
/// or that were `removed`; the latest change first. Staff of everywhere only.
#[utoipa::path(
    get, path = "/v1/run-templates", tag = "runs", security(("bearer" = [])), params(ListQuery),
    responses(
        (status = 200, body = Page), (status = 401, body = Refused), (status = 403, body = Refused),
        (status = 422, body = Refused)
    )
)]
pub(super) async fn list_templates(
    State(gate): State<Arc<Gate>>,
    bearer: Bearer,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Page>, Answered> {
    staff_of_everywhere(&bearer.0)?;
    gate.list(Kind::Template, bearer.0.asker(), query).await
}

/// A template as it is, also one that was removed, when its next day is, and what became of the last 31. Its `ETag` is its version.
/// Staff of everywhere only.
#[utoipa::path(
    get, path = "/v1/run-templates/{id}", tag = "runs", security(("bearer" = [])),
    params(("id" = String, Path, description = "template-…")),
    responses(
        (status = 200, body = TemplateView), (status = 401, body = Refused), (status = 403, body = Refused),
        (status = 404, body = Refused)
    )
)]
pub(super) async fn show_template(
    State(gate): State<Arc<Gate>>,
    bearer: Bearer,
    Named(id): Named,
) -> Result<TemplateShown, Answered> {
    staff_of_everywhere(&bearer.0)?;
    Ok(gate.template_as_it_is(id_of(&id)?).await?)
}

/// Lets a template say something else, from the next day on: one that has begun goes on as it was, and no day is made twice. Who has not
/// seen what it says now is refused (409 `too_late`), and changes nothing. Staff of everywhere only.
#[utoipa::path(
    put, path = "/v1/run-templates/{id}", tag = "runs", security(("bearer" = [])),
    request_body = SetTemplate,
    params(
        ("id" = String, Path, description = "template-…"),
        ("If-Match" = String, Header, description = "the version that is to be changed, as its ETag says it"),
        ("Idempotency-Key" = Option<String>, Header, description = "a UUIDv7, or any text of at most 64 characters")
    ),
    responses(
        (status = 200, body = TemplateView), (status = 401, body = Refused), (status = 403, body = Refused),
        (status = 404, body = Refused), (status = 409, body = Refused), (status = 422, body = Refused),
        (status = 503, body = Refused)
    )
)]
pub(super) async fn change_template(
    State(gate): State<Arc<Gate>>,
    bearer: Bearer,
    Named(id): Named,
    expected: Result<Expected, Answered>,
    key: Result<Key, Answered>,
    body: Result<Body<SetTemplate>, Answered>,
) -> Result<TemplateShown, Answered> {
    staff_of_everywhere(&bearer.0)?;
    let (id, Expected(expects), Body(set)) = (id_of::<TemplateId>(&id)?, expected?, body?);
    let command = gate.keyed(bearer.0.principal, key?, |_| id.into()).await;
    Ok(Box::pin(gate.set_template(&bearer.0, id, expects, set, command)).await?)
}

/// Removes a template for good. A day that has begun goes on. Staff of everywhere only.
#[utoipa::path(
    delete, path = "/v1/run-templates/{id}", tag = "runs", security(("bearer" = [])),
    params(
        ("id" = String, Path, description = "template-…"),
        ("If-Match" = String, Header, description = "the version that is to be removed, as its ETag says it"),
        ("Idempotency-Key" = Option<String>, Header, description = "a UUIDv7, or any text of at most 64 characters"),
        ("reason" = String, Query, description = "why, for whoever reads it later: 1 to 200 characters on one line")
    ),
    responses(
        (status = 200, body = TemplateView), (status = 401, body = Refused), (status = 403, body = Refused),
        (status = 404, body = Refused), (status = 409, body = Refused), (status = 422, body = Refused),
        (status = 503, body = Refused)
    )
)]
pub(super) async fn remove_template(
    State(gate): State<Arc<Gate>>,
    bearer: Bearer,
    Named(id): Named,
    expected: Result<Expected, Answered>,
    key: Result<Key, Answered>,
    query: Result<Query<WhyRemoved>, QueryRejection>,
) -> Result<TemplateShown, Answered> {
    staff_of_everywhere(&bearer.0)?;
    let (id, Expected(expects)) = (id_of::<TemplateId>(&id)?, expected?);
    let Query(WhyRemoved { reason }) =
        query.map_err(|rejection| Refused::new(Code::Invalid, rejection.body_text()))?;
    let by = &bearer.0;
    gate.check_template_brand(id).await?;
    let wished = Wished::new(&(expects, &reason));
    let removal = Command::Remove { expects, reason, with: by.token };
    let command = gate.keyed(by.principal, key?, |_| id.into()).await;
    Ok(gate.tell_template(by, id, removal, wished, command).await?)
}

/// Pauses a template, or lets it go on. Staff of everywhere only.
#[utoipa::path(
    post, path = "/v1/run-templates/{id}/actions", tag = "runs", security(("bearer" = [])),
    request_body = TemplateAction,
    params(
        ("id" = String, Path, description = "template-…"),
        ("If-Match" = String, Header, description = "the version that is meant, as its ETag says it"),
        ("Idempotency-Key" = Option<String>, Header, description = "a UUIDv7, or any text of at most 64 characters")
    ),
    responses(
        (status = 200, body = TemplateView), (status = 401, body = Refused), (status = 403, body = Refused),
        (status = 404, body = Refused), (status = 409, body = Refused), (status = 422, body = Refused),
        (status = 503, body = Refused)
    )
)]
pub(super) async fn act_on_template(
    State(gate): State<Arc<Gate>>,
    bearer: Bearer,
    Named(id): Named,
    expected: Result<Expected, Answered>,
    key: Result<Key, Answered>,
    body: Result<Body<TemplateAction>, Answered>,
) -> Result<TemplateShown, Answered> {
    staff_of_everywhere(&bearer.0)?;
    let (id, Expected(expects), Body(action)) = (id_of::<TemplateId>(&id)?, expected?, body?);
    let by = &bearer.0;
    gate.check_template_brand(id).await?;
    let wished = Wished::new(&(expects, &action));
    let with = by.token;
    let told = match action {
        TemplateAction::Pause { reason } => Command::Pause { expects, reason, with },
        TemplateAction::Resume { reason } => Command::Resume { expects, reason, with },
    };
    let command = gate.keyed(by.principal, key?, |_| id.into()).await;
    Ok(gate.tell_template(by, id, told, wished, command).await?)
}

impl Gate {
    async fn template_as_it_is(&self, id: TemplateId) -> Result<TemplateShown, Refused> {
        let (_, template) = self.system.read::<Template>(id).await.map_err(Refused::from)?;
        let shown = template.shown(id, true).ok_or_else(|| not_found(&id.to_string()))?;
        Ok(TemplateShown(shown))
    }

    /// Refuses to change a template of another brand: whoever knows that one's prices and places does it there.
    async fn check_template_brand(&self, id: TemplateId) -> Result<(), Refused> {
        let theirs = self.template_as_it_is(id).await?.0.template.preset;
        check_ours(&theirs, &self.translator.preset.name)
    }

    async fn set_template(
        &self,
        by: &Identity,
        id: TemplateId,
        expects: u32,
        SetTemplate { mut template, reason }: SetTemplate,
        command: CommandId,
    ) -> Result<TemplateShown, Refused> {
        let wished = Wished::new(&(expects, &template, &reason));
        let ours = &self.translator.preset;
        if template.preset.is_empty() {
            template.preset.clone_from(&ours.name);
        }
        check_ours(&template.preset, &ours.name)?;
        if expects > 0 {
            self.check_template_brand(id).await?;
        }
        self.check_orders(&template).await?;
        // One that was made before is answered as it was then.
        if expects == 0 && self.template_as_it_is(id).await.is_err() {
            self.check_room().await?;
        }
        let (terms, utc_offset_min) = (Box::new(template), ours.utc_offset_min);
        let set = Command::Set { terms, utc_offset_min, expects, reason, with: by.token };
        self.tell_template(by, id, set, wished, command).await
    }

    /// Refuses deliveries that could be placed on no day, and a driver of whom nobody has ever heard.
    async fn check_orders(&self, template: &TemplateTerms) -> Result<(), Refused> {
        let most = usize::from(self.system.regions().batches().orders_max);
        if template.orders.len() > most {
            return Err(invalid("orders", &format!("a run has {most} at most")));
        }
        for order in &template.orders {
            let new = new_order(order);
            translate::check_sizes(&Wish::PlaceOrder(Box::new(new.clone())))?;
            self.translator.check_stops(&new.stops, 2)?;
            self.translator.check_area(order.from.at)?;
        }
        let Some(driver) = template.driver else { return Ok(()) };
        let (version, _) = self.system.read::<Driver>(driver).await.map_err(Refused::from)?;
        if version == Version(0) { Err(not_found(&driver.to_string())) } else { Ok(()) }
    }

    /// Refuses one more where there are as many as there may be. Two that are made at once may both find room.
    async fn check_room(&self) -> Result<(), Refused> {
        let statuses = [SET, DUE, PAUSED, OVER].map(str::to_owned).to_vec();
        let all = ViewQuery { statuses, ..ViewQuery::newest(Kind::Template, TEMPLATES_MAX) };
        let all = self.system.journal().views(all).await.map_err(|error| {
            warn!(%error, "templates cannot be counted");
            super::unavailable()
        })?;
        match all.len() < TEMPLATES_MAX {
            true => Ok(()),
            false => Err(invalid("template", &format!("there are {TEMPLATES_MAX}, the most"))),
        }
    }

    /// Tells a template what staff want, who then see what it is.
    async fn tell_template(
        &self,
        by: &Identity,
        id: TemplateId,
        command: Command,
        wished: Wished,
        command_id: CommandId,
    ) -> Result<TemplateShown, Refused> {
        if self.system.writes() < KNOWN {
            let message = "not every node knows templates yet";
            return Err(Refused::new(Code::Unavailable, message).retry_after_ms(60_000));
        }
        let what: &'static str = (&command).into();
        let tell = Tell::Template { to: id, command };
        let told = self.system.grant(wished, tell, by.principal, command_id, self.patience).await;
        told.map_err(Refused::from)?;
        let with = by.token.map(|token| token.to_string());
        info!(target: AUDIT, by = %by.principal, with, template = %id, what, "template changed");
        self.template_as_it_is(id).await
    }

    /// Is it for this node to go on with a day? Prices and policies are a brand's own, and another brand's node knows them.
    fn goes_on_with(&self, key: EntityKey, row: &ViewRow) -> bool {
        let preset = row.body.pointer("/template/preset").and_then(serde_json::Value::as_str);
        let is_left_alone = || row.at + LEFT_ALONE <= self.system.now();
        preset == Some(self.translator.preset.name.as_str())
            && (self.system.is_held(key.shard()) || is_left_alone())
    }

    /// Goes on with a day that is being made, as far as it can be gone on with now. Should nobody have been found who brings all of it,
    /// it is looked for again in a while.
    async fn make_day(&self, id: TemplateId) -> Result<Next, Refused> {
        let (_, template) = self.system.read::<Template>(id).await?;
        let Some(making) = template.making() else { return Ok(Next::AtOnce) };
        if making.alone_from.is_none() {
            return Box::pin(self.place_orders(id, making)).await;
        }
        match making.run {
            Some(run) => self.see_run(id, making, run).await,
            None => Box::pin(self.plan_day(id, making)).await,
        }
    }

    /// Places what of a day is not placed yet, and says what came of it.
    async fn place_orders(&self, id: TemplateId, making: &Making) -> Result<Next, Refused> {
        let (mut orders, mut alone_from) = (Vec::new(), making.begun_at);
        let now = self.system.now();
        for nth in making.unplaced() {
            let Some(order) = making.terms.orders.get(usize::from(nth)) else { continue };
            let command = making.order_command(id, nth);
            let placing = match self.place_one(making, order, command).await {
                Ok((order, until)) => {
                    alone_from = alone_from.max(until);
                    Placing::Placed(order)
                }
                Err(refused) if may_wait(refused.code, now, self.looks_from(making, order)) => {
                    warn!(template = %id, day = %making.day, nth, %refused, "not placed yet");
                    continue;
                }
                Err(refused) => match self.placed_before(making, order, command).await {
                    Ok(Some((order, until))) => {
                        alone_from = alone_from.max(until);
                        Placing::Placed(order)
                    }
                    Ok(None) => Placing::Refused(format!("{}: {}", refused.code, refused.message)),
                    // It may be there: with the next look somebody can say.
                    Err(_) => continue,
                },
            };
            orders.push(PlacedOne { nth, placing });
        }
        if orders.is_empty() {
            return Ok(Next::InAWhile);
        }
        let note = Command::NoteOrders { day: making.day, orders, alone_from };
        self.note(id, note).await?;
        Ok(Next::AtOnce)
    }

    /// Places one delivery of a day, which is kept to be brought with the others; says until when.
    async fn place_one(
        &self,
        making: &Making,
        order: &TemplateOrder,
        command: CommandId,
    ) -> Result<(OrderId, Timestamp), Refused> {
        let new = NewOrder { start_at: Some(making.due), ..new_order(order) };
        let wish = Wish::PlaceOrder(Box::new(new));
        let wished = translate::wished(&wish);
        let tell = self.translator.command(wish, Principal::System, command).await?;
        let Tell::Order { to, command: order::Command::Place(mut placement) } = tell else {
            return Err(Refused::new(Code::Internal, "a placement that is none"));
        };
        let lead = Duration::from_millis(placement.policy.lead_ms.into());
        let until = making.waits_until(self.system.now().max(making.due - lead));
        placement.kept_until = Some(until);
        let tell = Tell::Order { to, command: order::Command::Place(placement) };
        let placed =
            self.system.grant(wished, tell, Principal::System, command, self.patience).await;
        placed.map_err(Refused::from)?;
        Ok((to, until))
    }

    /// From when on a driver is looked for who brings a delivery of a day.
    fn looks_from(&self, making: &Making, order: &TemplateOrder) -> Timestamp {
        let work = order::work(OrderKind::Delivery);
        let then = making.due.max(self.system.now());
        let (policy, _) = self.translator.policy_at(work, order.from.at, then);
        making.due - Duration::from_millis(policy.lead_ms.into())
    }

    /// A delivery of a day that is placed already, though it would be refused now, and until when it is kept at most: whoever placed
    /// it may have fallen before it said so.
    async fn placed_before(
        &self,
        making: &Making,
        order: &TemplateOrder,
        command: CommandId,
    ) -> Result<Option<(OrderId, Timestamp)>, Refused> {
        let shard = RegionId::at(order.from.at).shard();
        let placed = OrderId::created_by(order.rider.0, command, shard);
        let (version, _) = self.system.read::<Order>(placed).await.map_err(Refused::from)?;
        let until = making.waits_until(self.system.now().max(self.looks_from(making, order)));
        Ok((version > Version(0)).then_some((placed, until)))
    }

    /// Looks for somebody who brings all orders of a day that are still to be brought, and lets a run be planned.
    async fn plan_day(&self, id: TemplateId, making: &Making) -> Result<Next, Refused> {
        if making.is_early(self.system.now()) {
            return Ok(Next::InAWhile);
        }
        let placed = making.placed();
        let Some(first) = placed.first() else { return Ok(Next::InAWhile) };
        let command = making.run_command(id);
        let to = run_of(*first, command);
        if self.planned_before(to).await?.is_none() {
            let (mut cards, mut is_paused) = (Vec::new(), false);
            for order in &placed {
                let (_, state) = self.system.read::<Order>(*order).await?;
                match state.to_bring(*order, true).and_then(|it| self.unless_paused(it)) {
                    Ok(card) => cards.push(card),
                    // It is for later still, or what it was asked last is not over yet.
                    Err(WhyAlone::NotLooking | WhyAlone::InRun | WhyAlone::Offered) => {
                        return Ok(Next::InAWhile);
                    }
                    // The others are brought without it, if there are enough.
                    Err(WhyAlone::ZonePaused) => is_paused = true,
                    // It has a driver, or is over, or is brought alone in any case.
                    Err(_) => {}
                }
            }
            if cards.len() < 2 && is_paused {
                return Ok(Next::InAWhile);
            }
            if cards.len() < 2 {
                let why = "fewer than two of its orders are still to be brought".to_owned();
                self.note(id, Command::GiveUp { day: making.day, why }).await?;
                return Ok(Next::AtOnce);
            }
            let orders: Vec<OrderId> = cards
                .iter()
                .filter_map(|it| match it.job {
                    protocol::JobId::Order(order) => Some(order),
                    protocol::JobId::Rescue(_) => None,
                })
                .collect();
            let driver = match making.terms.driver {
                Some(driver) => Some(self.driver_card(driver, &orders).await?),
                None => None,
            };
            let is_told = cards.iter().all(|it| it.policy == OfferPolicy::AutoAssign);
            let consent = driver.is_none() || !is_told;
            let region = RegionId::at(cards[0].pickup);
            // Whoever made the template has decided that they belong together.
            let leeway = Leeway { is_named: driver.is_some(), is_forced: true, is_apart: true };
            let choice = Choice { cards, driver, leeway };
            let chosen = self.chosen(region, choice, &Scope::default()).await;
            let chosen = chosen.map_err(|no| no.refused)?;
            let wish = run::Wish { by: Principal::System, reason: making.terms.name.clone() };
            let plan = run::wanted(chosen, consent, self.system.regions().batches(), wish);
            // The platform wants it: staff have wanted the template.
            let plan = Plan { by: None, ..plan };
            let wished = Wished::new(&(id, making.day, making.n_runs));
            let planned = self.plan_run(to, plan, Principal::System, command, wished).await;
            if let Err(no) = planned
                && self.planned_before(to).await?.is_none()
            {
                return Err(no.refused);
            }
        }
        let note = Command::NoteRun { day: making.day, nth: making.n_runs, run: to };
        self.note(id, note).await?;
        Ok(Next::AtOnce)
    }

    /// Says what became of a run of a day, once that is known.
    async fn see_run(
        &self,
        id: TemplateId,
        making: &Making,
        run: protocol::RunId,
    ) -> Result<Next, Refused> {
        let (_, state) = self.system.read::<Run>(run).await?;
        let is_brought = match state.status() {
            Some(RunStatus::Planned | RunStatus::Offered) => return Ok(Next::AtOnce),
            Some(RunStatus::Accepted | RunStatus::Active | RunStatus::Completed) => true,
            Some(RunStatus::Dissolved | RunStatus::Abandoned) | None => false,
        };
        let why =
            if is_brought { "" } else { "its driver did not bring it, or not all of it joined" };
        let (day, why) = (making.day, why.to_owned());
        self.note(id, Command::EndRun { day, run, is_brought, why }).await?;
        Ok(Next::AtOnce)
    }

    /// Tells a template what became of its day.
    async fn note(&self, to: TemplateId, command: Command) -> Result<(), Refused> {
        let (tell, id) = (Tell::Template { to, command }, CommandId::mint());
        self.system.tell(tell, Principal::System, id, self.patience).await?;
        Ok(())
    }
}

/// When a day is gone on with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Next {
    /// With the next look.
    AtOnce,
    /// It takes a while until anything is otherwise.
    InAWhile,
}

/// Goes on with all days that are being made of templates which this node has, as long as there is a gate.
pub(super) async fn make_days(gate: Weak<Gate>) {
    let mut again_at: HashMap<TemplateId, Instant> = HashMap::new();
    let mut looked_at = Instant::now();
    let mut concerned_until = looked_at;
    let mut is_blind = false;
    loop {
        sleep(LOOK_EVERY).await;
        let Some(gate) = gate.upgrade() else { return };
        if gate.drain.is_cancelled() {
            return;
        }
        let is_concerned = gate.system.has_shards() || Instant::now() < concerned_until;
        if !looks_again(is_concerned, looked_at.elapsed()) {
            continue;
        }
        looked_at = Instant::now();
        let query = ViewQuery {
            statuses: vec![DUE.to_owned()],
            sort: Sort::Oldest,
            ..ViewQuery::newest(Kind::Template, TEMPLATES_MAX)
        };
        let rows = match timeout(LOOK_WITHIN, gate.system.journal().views(query)).await {
            Ok(Ok(rows)) => {
                is_blind = false;
                rows
            }
            Ok(Err(_)) | Err(_) => {
                if !is_blind {
                    warn!("days that are being made cannot be read; trying again every second");
                }
                is_blind = true;
                continue;
            }
        };
        let ours = rows.iter().filter(|(key, row)| gate.goes_on_with(*key, row));
        let ours: Vec<TemplateId> = ours.map(|(key, _)| TemplateId(key.id)).collect();
        again_at.retain(|id, _| ours.contains(id));
        let now = Instant::now();
        if !ours.is_empty() {
            // Until it is seen whether that one is left alone again.
            concerned_until = now + 2 * LEFT_ALONE;
        }
        let is_time = |id: &&TemplateId| again_at.get(id).is_none_or(|at| *at <= now);
        let due: Vec<TemplateId> = ours.iter().filter(is_time).copied().collect();
        let steps = due.into_iter().map(|id| {
            let gate = Arc::clone(&gate);
            async move { (id, timeout(STEP_WITHIN, gate.make_day(id)).await) }
        });
        // One that takes long keeps none of the others waiting.
        let mut steps = stream::iter(steps).buffer_unordered(AT_ONCE);
        while let Some((id, step)) = steps.next().await {
            match step {
                Ok(Ok(Next::AtOnce)) => {}
                Ok(Ok(Next::InAWhile)) | Err(_) => {
                    again_at.insert(id, Instant::now() + AGAIN_AFTER);
                }
                Ok(Err(refused)) => {
                    // Most often nobody is there yet who brings it.
                    tracing::debug!(template = %id, %refused, "a day is not made yet");
                    again_at.insert(id, Instant::now() + AGAIN_AFTER);
                }
            }
        }
    }
}

/// Is it time for another look?
fn looks_again(is_concerned: bool, since_looked: Duration) -> bool {
    is_concerned || since_looked >= LOOK_EVERY_IDLY
}

/// What is placed of a delivery on each day.
fn new_order(order: &TemplateOrder) -> NewOrder {
    NewOrder {
        kind: OrderKind::Delivery,
        stops: vec![order.from.clone(), order.to.clone()],
        rider: Some(order.rider),
        start_at: None,
        payment: order.payment,
        needs: order.needs.clone(),
        quote: None,
        merchant: None,
        handoff: protocol::work::Handoff::default(),
        driver: None,
        policy: None,
        pickup_proof: order.pickup_proof.clone(),
        dropoff_proof: order.dropoff_proof.clone(),
        cash_on_delivery: order.cash_on_delivery,
        n_items: None,
        fleet: None,
        exclusive: false,
        via: None,
    }
}

/// May a delivery that was refused still be placed in time for the others? For a zone that is paused they wait no longer than until
/// a driver would be looked for who brings it.
fn may_wait(code: Code, now: Timestamp, looks_from: Timestamp) -> bool {
    may_change(code) && (code != Code::ZonePaused || now < looks_from)
}

/// May the same be possible in a moment?
fn may_change(code: Code) -> bool {
    match code {
        Code::Busy
        | Code::RateLimited
        | Code::Quarantined
        | Code::Unavailable
        | Code::Draining
        | Code::Internal
        | Code::ZonePaused => true,
        Code::Malformed
        | Code::Unauthenticated
        | Code::Forbidden
        | Code::NotFound
        | Code::TooLarge
        | Code::IllegalTransition
        | Code::Taken
        | Code::InsufficientFunds
        | Code::TooEarly
        | Code::TooLate
        | Code::NotEligible
        | Code::OfferGone
        | Code::Invalid
        | Code::TooFar
        | Code::WrongCode
        | Code::ProofMissing
        | Code::OutOfArea
        | Code::QuoteInvalid
        | Code::CommandExpired
        | Code::CommandIdReused => false,
    }
}

#[cfg(test)]
mod tests;
