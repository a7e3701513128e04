//! Runs: several deliveries that one driver brings together, as dispatchers look at them and change them.

use super::{
    Gate,
    rest::{Answered, Body, Caller, Key, ListQuery, Named, Page, id_of},
    translate::{Translator, forbidden},
};
use actors::{
    Kind, Tell,
    driver::Driver,
    run::{self, Wanted},
};
use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
    response::Response,
};
use protocol::{
    CommandId, DriverId, Principal, Refused, RunId,
    frame::Done,
    view::RunView,
    work::{RunAction, Wish},
};
use std::sync::Arc;

impl Translator {
    /// What a dispatcher wants of a run. The run decides; whom it is to go to is looked up here.
    pub(super) async fn run_command(
        &self,
        to: RunId,
        action: RunAction,
        by: Principal,
        command: CommandId,
    ) -> Result<Tell, Refused> {
        use run::Command as C;
        if !by.is_staff() {
            return Err(forbidden("runs are changed by staff"));
        }
        let command = match action {
            RunAction::Insert { order, reason } => {
                let orders = vec![Wanted { order, round: None, from: None }];
                C::Insert { orders, place: None, reason: Some(reason) }
            }
            RunAction::Remove { order, reason } => C::Remove { orders: vec![order], reason },
            RunAction::Reorder { stops, reason } => {
                let errands = stops.iter().map(|it| run::Errand { order: it.order, what: it.what });
                C::Reorder { stops: errands.collect(), reason }
            }
            RunAction::Split { orders, driver, reason } => {
                if orders.is_empty() {
                    return Err(super::translate::invalid("orders", "which?"));
                }
                let taker = self.taker(driver).await?;
                let into = RunId::created_by(to.0, command, to.shard());
                taker.split(orders, into, false, reason)
            }
            RunAction::HandOver { driver, reason } => {
                let taker = self.taker(driver).await?;
                let into = RunId::created_by(to.0, command, to.shard());
                taker.split(Vec::new(), into, true, reason)
            }
            RunAction::Merge { into, reason } => C::Merge { into, reason },
            RunAction::Abandon { reason } => C::Abandon { reason },
        };
        Ok(Tell::Run { to, command })
    }

    async fn taker(&self, id: DriverId) -> Result<Taker, Refused> {
        let (version, driver) = self.system.read::<Driver>(id).await?;
        let view = driver.driver_view(id, version.0);
        Ok(Taker {
            driver: id,
            place: view.position.map(|it| it.at),
            capacity_g: view.vehicle.map_or(0, |it| it.capacity_g),
        })
    }
}

/// Who is to take a run over, or a part of it.
struct Taker {
    driver: DriverId,
    place: Option<protocol::Point>,
    capacity_g: u32,
}

impl Taker {
    fn split(
        self,
        orders: Vec<protocol::OrderId>,
        into: RunId,
        with_goods: bool,
        reason: String,
    ) -> run::Command {
        let Self { driver, place, capacity_g } = self;
        run::Command::Split { orders, driver, into, place, capacity_g, with_goods, reason }
    }
}

/// Runs, newest first: one's own, or all of them for staff.
#[utoipa::path(
    get, path = "/v1/runs", tag = "runs", security(("bearer" = [])), params(ListQuery),
    responses(
        (status = 200, body = Page), (status = 401, body = Refused), (status = 403, body = Refused),
        (status = 422, body = Refused)
    )
)]
pub(super) async fn list_runs(
    State(gate): State<Arc<Gate>>,
    Caller(by): Caller,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Page>, Answered> {
    gate.list(Kind::Run, by, query).await
}

/// One run: what it brings, in which order, and when.
#[utoipa::path(
    get, path = "/v1/runs/{id}", tag = "runs", security(("bearer" = [])),
    params(("id" = String, Path, description = "run-…")),
    responses((status = 200, body = RunView), (status = 401, body = Refused), (status = 404, body = Refused))
)]
pub(super) async fn show_run(
    State(gate): State<Arc<Gate>>,
    Caller(by): Caller,
    Named(id): Named,
) -> Result<Response, Answered> {
    gate.show(id_of::<RunId>(&id)?.into(), by).await
}

/// Does something to a run. Staff only. What was done to it is in `/v1/actors/{id}/history`.
#[utoipa::path(
    post, path = "/v1/runs/{id}/actions", tag = "runs", security(("bearer" = [])),
    request_body = RunAction,
    params(
        ("id" = String, Path, description = "run-…"),
        ("Idempotency-Key" = Option<String>, Header, description = "a UUIDv7, or any text of at most 64 characters")
    ),
    responses(
        (status = 200, body = Done), (status = 401, body = Refused), (status = 403, body = Refused),
        (status = 404, body = Refused), (status = 409, body = Refused), (status = 422, body = Refused)
    )
)]
pub(super) async fn act_on_run(
    State(gate): State<Arc<Gate>>,
    Caller(by): Caller,
    Named(id): Named,
    key: Key,
    Body(action): Body<RunAction>,
) -> Result<Json<Done>, Answered> {
    let id = id_of(&id)?;
    Ok(Json(gate.wish(by, key, Wish::Run { id, action }).await?))
}
