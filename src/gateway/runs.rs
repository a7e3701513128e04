//! Runs: several deliveries that one driver brings together, as dispatchers look at them and change them.

use super::{
    Gate,
    rest::{Answered, Body, Caller, Key, ListQuery, Named, Page, id_of},
    translate::{Translator, forbidden, invalid, not_found},
};
use actors::{
    Kind, Refusal, Tell,
    driver::Driver,
    listing::RegionId,
    order::Order,
    run::{self, Legs, Run, Wanted},
};
use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
    response::Response,
};
use protocol::{
    CommandId, DriverId, JobId, MemberStatus, OrderId, Point, Principal, Refused, RunId,
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
                let (driver, _, _) = self.run_as_it_is(to).await?;
                self.check_taker(driver, &[order], Some(to)).await?;
                let orders = vec![Wanted { order, round: None, from: None }];
                let (place, legs) = self.ways_with(to, driver, order).await?;
                C::Insert { orders, place, legs, reason: Some(reason) }
            }
            RunAction::Remove { order, reason } => C::Remove { orders: vec![order], reason },
            RunAction::Reorder { stops, reason } => {
                let errands = stops.iter().map(|it| run::Errand { order: it.order, what: it.what });
                C::Reorder { stops: errands.collect(), reason }
            }
            RunAction::Split { orders, driver, reason } => {
                if orders.is_empty() {
                    return Err(invalid("orders", "which?"));
                }
                self.check_taker(driver, &orders, None).await?;
                self.check_free_of_runs(driver).await?;
                let taker = self.taker(driver, &[]).await?;
                let into = RunId::created_by(to.0, command, to.shard());
                taker.split(orders, into, false, reason)
            }
            RunAction::HandOver { driver, reason } => {
                let (_, waiting, aboard) = self.run_as_it_is(to).await?;
                let all = [waiting, aboard.clone()].concat();
                self.check_taker(driver, &all, None).await?;
                self.check_free_of_runs(driver).await?;
                let taker = self.taker(driver, &aboard).await?;
                let into = RunId::created_by(to.0, command, to.shard());
                taker.split(Vec::new(), into, true, reason)
            }
            RunAction::Merge { into, reason } => {
                let (_, waiting, _) = self.run_as_it_is(to).await?;
                let (driver, _, _) = self.run_as_it_is(into).await?;
                self.check_taker(driver, &waiting, Some(into)).await?;
                C::Merge { into, reason }
            }
            RunAction::Abandon { reason } => C::Abandon { reason },
        };
        Ok(Tell::Run { to, command })
    }

    /// Whose a run is, what of it is not fetched yet, and what is on board.
    async fn run_as_it_is(
        &self,
        id: RunId,
    ) -> Result<(DriverId, Vec<OrderId>, Vec<OrderId>), Refused> {
        let (version, run) = self.system.read::<Run>(id).await?;
        let view = run.run_view(id, version.0, Principal::System);
        let view = view.ok_or_else(|| not_found(&id.to_string()))?;
        let those = |status: MemberStatus| {
            view.orders.iter().filter(|it| it.status == status).map(|it| it.order).collect()
        };
        Ok((view.driver, those(MemberStatus::Waiting), those(MemberStatus::Aboard)))
    }

    /// Where the driver of a run is, and how long it takes between there, all that is left of the run and one order more.
    async fn ways_with(
        &self,
        id: RunId,
        driver: DriverId,
        order: OrderId,
    ) -> Result<(Option<Point>, Legs), Refused> {
        let (version, run) = self.system.read::<Run>(id).await?;
        let run = run.run_view(id, version.0, Principal::System);
        let (version, state) = self.system.read::<Order>(order).await?;
        let view = state.order_view(order, version.0, Principal::System);
        let (version, state) = self.system.read::<Driver>(driver).await?;
        let driver = state.driver_view(driver, version.0);
        let place = driver.position.map(|it| it.at);
        let (Some(run), Some(view), Some(vehicle)) = (run, view, driver.vehicle) else {
            return Ok((place, Legs::default()));
        };
        let left = run.stops.iter().map(|stop| stop.at.at);
        let new: Vec<Point> = view.stops.iter().map(|stop| stop.at).collect();
        let Some(region) = new.first().map(|pickup| RegionId::at(*pickup)) else {
            return Ok((place, Legs::default()));
        };
        let places = place.into_iter().chain(left).chain(new);
        Ok((place, self.system.regions().legs(region, places, vehicle.kind, self.system.now())))
    }

    /// Refuses a driver who could not have these orders, each of them and all together, for nobody is to lose the driver it has
    /// for one who cannot come. `with` is the run of that driver's in which they would be brought along, if it is on one.
    /// What a dispatcher may overrule of one order, is not of several. The driver's actor still has the last word.
    async fn check_taker(
        &self,
        driver: DriverId,
        orders: &[OrderId],
        with: Option<RunId>,
    ) -> Result<(), Refused> {
        let mut against = Vec::new();
        for order in orders {
            against.extend(self.against(driver, JobId::Order(*order)).await?);
        }
        let weight_g = self.weight_g(orders).await?;
        let (_, state) = self.system.read::<Driver>(driver).await?;
        against.extend(state.against_together(orders.len(), weight_g, with));
        against.sort_unstable();
        against.dedup();
        match against.is_empty() {
            true => Ok(()),
            false => Err(Refusal::Unfit(against).into()),
        }
    }

    /// How heavy these orders are together, in grams.
    async fn weight_g(&self, orders: &[OrderId]) -> Result<u32, Refused> {
        let mut weight_g = 0_u32;
        for id in orders {
            let (_, order) = self.system.read::<Order>(*id).await?;
            let each_g = order.asks().map_or(0, |asks| asks.needs.weight_g);
            weight_g = weight_g.saturating_add(each_g);
        }
        Ok(weight_g)
    }

    /// Refuses a driver who is on a run: what it is to bring beside that is brought along.
    pub(super) async fn check_free_of_runs(&self, driver: DriverId) -> Result<(), Refused> {
        let (version, state) = self.system.read::<Driver>(driver).await?;
        match state.driver_view(driver, version.0).run {
            None => Ok(()),
            Some(run) => Err(Refusal::NotEligible(format!("is on {run}; merge into it")).into()),
        }
    }

    /// Who takes over a run, or a part of it, and beside it what is on board: that is there all the while.
    async fn taker(&self, id: DriverId, beside: &[OrderId]) -> Result<Taker, Refused> {
        let beside_g = self.weight_g(beside).await?;
        let (version, driver) = self.system.read::<Driver>(id).await?;
        let place = driver.driver_view(id, version.0).position.map(|it| it.at);
        let capacity_g = driver.room_g().saturating_sub(beside_g);
        Ok(Taker { driver: id, place, capacity_g })
    }
}

/// Who is to take a run over, or a part of it.
struct Taker {
    driver: DriverId,
    place: Option<Point>,
    capacity_g: u32,
}

impl Taker {
    fn split(
        self,
        orders: Vec<OrderId>,
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
