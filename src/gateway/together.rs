//! Deliveries that staff have brought together now, and what would be: a region looks as it does by itself, and what comes of
//! it are runs like all others.
//!
//! ```text
//!  NewRun ──► its orders ──► whoever matches there: Regions::chosen ──► run::Command::Plan ──► its orders join, all or none
//! ```
//!
//! Here it is only looked whether it can be, so that whoever asks hears which order is in the way and why. What is looked at
//! may be otherwise a moment later: the orders, the run and its driver decide.

use super::{
    Gate,
    front::Question,
    rest::{Answered, Body, Caller, Key},
    scope::elsewhere,
    translate::{self, command_id, invalid, not_found},
    unavailable,
};
use crate::auth::scope::{Asker, Scope};
use actors::{
    Card, Decider, DriverCard, Kind, Listing, Refusal, SearchCard, Tell, Version,
    driver::Driver,
    listing::RegionId,
    order::Order,
    reason,
    region::Choice,
    run::{self, Plan, Run, Wanted},
    runtime::{Update, Wished},
};
use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use futures_util::future::join_all;
use matching::{
    batch::{self, Against, Chosen, Leeway, Proposal},
    region::Groups,
};
use protocol::{
    Code, CommandId, DriverId, JobId, OrderId, Principal, Refused, RunId, RunStatus, Timestamp,
    ZoneId,
    trace::{WhyAlone, WhyNot},
    view::StopKind,
    work::OfferPolicy,
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{collections::HashSet, sync::Arc, time::Duration};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore},
    time::{Instant, timeout_at},
};
use utoipa::ToSchema;

/// Most runs that are made of what waits in a region at once. The others are made by the region itself, or the next time.
const RUNS_MAX: usize = 20;
/// Most orders that are looked at, if they are named.
const NAMED_MAX: usize = 100;
/// As many look at once by way of one node: each takes a processor, which regions need, too.
pub(super) const LOOKS_MAX: usize = 2;
/// How long whoever matches somewhere has to look.
const LOOK_WITHIN: Duration = Duration::from_secs(5);
/// When whoever was refused had better come again, in milliseconds.
const BUSY_MS: u64 = 1_000;
/// How much longer than its orders may take to join is waited to see whether a run comes of it.
const SETTLED_WITHIN: Duration = Duration::from_secs(1);
/// Events of a run that came to nothing: it has had hardly any.
const EVENTS_MAX: usize = 100;

/// What is to be brought together now: some orders, all or none of them, or what waits in a region.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewRun {
    /// Which orders: from 2 to as many as a run may have. They look for a driver, or a dispatcher holds them.
    #[serde(default)]
    orders: Vec<OrderId>,
    /// Or else all that waits in this region, `region-…`, as the region itself would have it brought.
    #[serde(default)]
    region: Option<String>,
    /// Who is to be asked; the nearest who can, if absent. Only for orders that are named.
    #[serde(default)]
    driver: Option<DriverId>,
    /// However little is saved, and also if their brand brings deliveries alone, or they are urgent. Only for orders that are
    /// named.
    #[serde(default)]
    force: bool,
    /// Why, on one line.
    reason: String,
}

/// What came of it.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RunsMade {
    /// Runs whose orders were asked.
    runs: Vec<RunMade>,
    /// What runs under way were asked to take along.
    added: Vec<Added>,
    /// Of a region: what was to be brought together and is not, and what was answered.
    alone: Vec<Alone>,
    /// Of a region: how many more runs it would make, for no more than 20 are made at once. It makes them itself, or the next time.
    n_left: usize,
}

/// A run that was planned.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RunMade {
    /// Which.
    pub(super) run: RunId,
    /// Where it is in its life: `planned`, if its orders have not all said yes yet.
    pub(super) status: RunStatus,
    /// Who is asked.
    pub(super) driver: DriverId,
    /// What is brought; where orders were named, in the order in which it is fetched.
    pub(super) orders: Vec<OrderId>,
    /// Everything that is to be done, in order, as it was planned. None, where a region was named: its run says so once its
    /// orders have joined.
    pub(super) stops: Vec<DueStop>,
    /// How much less is driven than if each were brought alone, in percent.
    pub(super) saving_percent: u8,
}

/// Something that is to be done, and when.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(super) struct DueStop {
    /// For which order.
    pub(super) order: OrderId,
    /// What.
    pub(super) what: StopKind,
    /// When.
    pub(super) due: Timestamp,
}

/// What a run under way was asked to take along.
#[derive(Debug, Clone, Copy, Serialize, ToSchema)]
pub(super) struct Added {
    /// Which run.
    run: RunId,
    /// What.
    order: OrderId,
}

/// An order that is not brought with others.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Alone {
    /// Which.
    pub(super) order: OrderId,
    /// Why, in one stable word.
    pub(super) why: WhyAlone,
    /// The one it does not go with, if it is one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) with: Option<OrderId>,
    /// Why, in words, if it was asked and said no.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) said: Option<String>,
}

/// A refusal, and which orders were in the way.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NotMade {
    #[serde(flatten)]
    pub(super) refused: Refused,
    /// Which, and why.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) against: Vec<Alone>,
}

/// Of what it is asked what would be brought together.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct GroupsWanted {
    /// Of all that waits in this region, `region-…`…
    #[serde(default)]
    region: Option<String>,
    /// … or of these orders alone, 100 at most, by drivers around where the first of them is fetched.
    #[serde(default)]
    orders: Vec<OrderId>,
}

/// What would be brought together now, and what would not.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeliveryGroups {
    /// What would be.
    groups: Vec<DeliveryGroup>,
    /// Why the others would not; at most 500 of them.
    alone: Vec<Alone>,
    /// How many those are.
    n_alone: usize,
}

/// What one driver would bring.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct DeliveryGroup {
    /// What.
    orders: Vec<OrderId>,
    /// Who would be asked; absent, where it is the driver of a run under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    driver: Option<DriverId>,
    /// The run that would take it along, if it is under way.
    #[serde(skip_serializing_if = "Option::is_none")]
    run: Option<RunId>,
    /// How much less would be driven than if each were brought alone, in percent; absent for what is taken along.
    #[serde(skip_serializing_if = "Option::is_none")]
    saving_percent: Option<u8>,
}

/// What nodes ask each other of what would be brought together.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Grouping {
    region: RegionId,
    /// Of these; of all that waits there, if absent.
    of: Option<Vec<SearchCard>>,
    /// Also why the rest is alone?
    says_why: bool,
    scope: Scope,
}

/// What nodes ask each other of what staff want brought together.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Choosing {
    region: RegionId,
    choice: Choice,
    scope: Scope,
}

impl Alone {
    pub(super) fn new(order: OrderId, why: WhyAlone) -> Self {
        Self { order, why, with: None, said: None }
    }
}

impl From<Against> for Alone {
    fn from(Against { order, why, with }: Against) -> Self {
        Self { order, why, with, said: None }
    }
}

impl NotMade {
    /// These keep it from being made.
    pub(super) fn because_of(against: Vec<Alone>) -> Self {
        let told = |it: &Alone| format!("{} ({})", it.order, it.why);
        let told: Vec<String> = against.iter().take(5).map(told).collect();
        let message = format!("cannot be brought together: {}", told.join(", "));
        Self { refused: Refused::new(Code::NotEligible, message), against }
    }

    /// What is told of each of these, which were to be brought together: what it said itself, or else what was answered.
    fn told_of(&self, orders: &[OrderId]) -> Vec<Alone> {
        let told = |order: &OrderId| {
            let own = self.against.iter().find(|it| it.order == *order);
            own.cloned().unwrap_or_else(|| {
                let said = format!("{}: {}", self.refused.code, self.refused.message);
                Alone { said: Some(said), ..Alone::new(*order, WhyAlone::Refused) }
            })
        };
        orders.iter().map(told).collect()
    }
}

impl From<Refused> for NotMade {
    fn from(refused: Refused) -> Self {
        Self { refused, against: Vec::new() }
    }
}

impl From<Refusal> for NotMade {
    fn from(refusal: Refusal) -> Self {
        Refused::from(refusal).into()
    }
}

impl From<Answered> for NotMade {
    fn from(Answered(refused): Answered) -> Self {
        refused.into()
    }
}

impl IntoResponse for NotMade {
    fn into_response(self) -> Response {
        let mut response = Answered(self.refused.clone()).into_response();
        *response.body_mut() = Json(self).into_response().into_body();
        response
    }
}

/// Has deliveries brought together now, by the rules of what regions bring together by themselves: named orders, all or none of
/// them, by a named driver or the nearest who can; or what waits in a region. The driver is asked, unless nobody is who brings
/// what these orders are. With the same `Idempotency-Key` the same orders are brought once; a region looks again. Staff only;
/// dispatchers of some regions have it done there.
#[utoipa::path(
    post, path = "/v1/runs", tag = "runs", security(("bearer" = [])),
    request_body = NewRun,
    params(("Idempotency-Key" = Option<String>, Header, description = "a UUIDv7, or any text of at most 64 characters")),
    responses(
        (status = 201, body = RunsMade), (status = 401, body = Refused), (status = 403, body = Refused),
        (status = 404, body = Refused), (status = 409, body = NotMade), (status = 422, body = Refused),
        (status = 429, body = Refused), (status = 503, body = Refused)
    )
)]
pub(super) async fn make_runs(
    State(gate): State<Arc<Gate>>,
    caller: Caller,
    key: Key,
    Body(new): Body<NewRun>,
) -> Result<Response, NotMade> {
    caller.staff()?;
    let made = Box::pin(gate.make_runs(&caller.0, key, new)).await?;
    Ok((StatusCode::CREATED, Json(made)).into_response())
}

/// What would be brought together now of what waits in a region, or of some orders, as the region itself would have it, and why
/// the others would not be. Nobody is told. Staff only; dispatchers of some regions are told of what is there.
#[utoipa::path(
    post, path = "/v1/cluster-deliveries", tag = "runs", security(("bearer" = [])),
    request_body = GroupsWanted,
    responses(
        (status = 200, body = DeliveryGroups), (status = 401, body = Refused), (status = 403, body = Refused),
        (status = 404, body = Refused), (status = 422, body = Refused), (status = 429, body = Refused),
        (status = 503, body = Refused)
    )
)]
pub(super) async fn cluster_deliveries(
    State(gate): State<Arc<Gate>>,
    caller: Caller,
    Body(wanted): Body<GroupsWanted>,
) -> Result<Json<DeliveryGroups>, Answered> {
    caller.staff()?;
    Ok(Json(Box::pin(gate.delivery_groups(&caller.0, wanted)).await?))
}

impl Gate {
    async fn make_runs(&self, by: &Asker, Key(key): Key, new: NewRun) -> Result<RunsMade, NotMade> {
        reason::check(&new.reason)?;
        self.check_known_to_all()?;
        if let Some(name) = &new.region {
            if !new.orders.is_empty() || new.driver.is_some() || new.force {
                return Err(invalid("region", "alone, or else orders").into());
            }
            return self.batch_now(by, region_within(name, &by.scope)?, &new.reason).await;
        }
        let most = usize::from(self.system.regions().batches().orders_max);
        check_named(&new.orders, 2, most)?;
        let (id, name) = match key {
            None => (CommandId::mint(), None),
            Some(key) => (self.id_of_run(by.who, &key, new.orders[0]).await, Some(key)),
        };
        let Some(name) = name else { return Ok(self.bring(by, id, &new).await?.into()) };
        let mut against = Vec::new();
        let bringing = async {
            self.bring(by, id, &new).await.map_err(|no| {
                against = no.against;
                no.refused
            })
        };
        let made = self.uses.once(by.who, &name, Wished::new(&new), Box::pin(bringing)).await;
        made.map(RunsMade::from).map_err(|refused| NotMade { refused, against })
    }

    /// Refuses while there are nodes that would not know what to make of it.
    pub(super) fn check_known_to_all(&self) -> Result<(), Refused> {
        if self.system.writes() >= run::WANTED {
            return Ok(());
        }
        let message = "not every node knows yet that staff may want a run";
        Err(Refused::new(Code::Unavailable, message).retry_after_ms(60_000))
    }

    /// The command id a key stands for.
    async fn id_of_run(&self, by: Principal, key: &str, first: OrderId) -> CommandId {
        if let Some(id) = command_id(key) {
            return id;
        }
        let [earlier, now] = self.command_ids(by, key);
        let answered = self.system.journal().result(run_of(first, earlier).into(), earlier).await;
        if let Ok(Some(_)) = answered { earlier } else { now }
    }

    /// Makes one run of these orders, or says why not. Said again, it says what came of it.
    async fn bring(&self, by: &Asker, id: CommandId, new: &NewRun) -> Result<RunMade, NotMade> {
        translate::check_id(id)?;
        let to = run_of(new.orders[0], id);
        let plan = match self.planned_before(to).await? {
            Some(plan) => {
                self.check_sight_of(&plan, by).await?;
                plan
            }
            None => Box::pin(self.judged(by, new)).await?,
        };
        self.plan_run(to, plan, by.who, id, Wished::new(new)).await
    }

    /// What a run was planned as, if it was.
    pub(super) async fn planned_before(&self, id: RunId) -> Result<Option<Plan>, Refused> {
        let (_, run) = self.system.read::<Run>(id).await?;
        Ok(run.plan().cloned())
    }

    /// Refuses to say what was planned of orders that the asker is not shown.
    pub(super) async fn check_sight_of(&self, plan: &Plan, by: &Asker) -> Result<(), Refused> {
        for it in &plan.orders {
            self.check_sight(it.order.into(), by).await?;
        }
        Ok(())
    }

    /// What is to be planned, if it may be.
    async fn judged(&self, by: &Asker, new: &NewRun) -> Result<Plan, NotMade> {
        for order in &new.orders {
            self.check_sight((*order).into(), by).await?;
        }
        if let Some(driver) = new.driver {
            self.check_taker_there(driver, by).await?;
        }
        let cards = self.cards_of(&new.orders, new.force).await?;
        let driver = match new.driver {
            Some(driver) => Some(self.driver_card(driver, &new.orders).await?),
            None => None,
        };
        // Who is told what to bring is not asked, either, if it comes with others.
        let is_told = |it: &SearchCard| it.policy == OfferPolicy::AutoAssign;
        let consent = driver.is_none() || !cards.iter().all(is_told);
        let Some(first) = cards.first() else { return Err(invalid("orders", "which?").into()) };
        let region = RegionId::at(first.pickup);
        let leeway = Leeway { is_named: driver.is_some(), is_forced: new.force, is_apart: false };
        let choice = Choice { cards, driver, leeway };
        let chosen = self.chosen(region, choice, &by.scope).await?;
        let wish = run::Wish { by: by.who, reason: new.reason.clone() };
        Ok(run::wanted(chosen, consent, self.system.regions().batches(), wish))
    }

    /// What regions would know of these orders, if they may be brought with others.
    async fn cards_of(
        &self,
        orders: &[OrderId],
        is_forced: bool,
    ) -> Result<Vec<SearchCard>, NotMade> {
        let (mut cards, mut against) = (Vec::new(), Vec::new());
        for order in orders {
            let (version, state) = self.system.read::<Order>(*order).await?;
            if version == Version(0) {
                return Err(not_found(&order.to_string()).into());
            }
            let known = state.to_bring(*order, is_forced).and_then(|it| self.unless_paused(it));
            match known {
                Ok(card) => cards.push(card),
                Err(why) => against.push(Alone::new(*order, why)),
            }
        }
        if against.is_empty() { Ok(cards) } else { Err(NotMade::because_of(against)) }
    }

    /// Nobody is sent to where a zone is paused: also not for what is held, of which no region knows that it had better wait.
    pub(super) fn unless_paused(&self, card: SearchCard) -> Result<SearchCard, WhyAlone> {
        match self.system.regions().zones().paused().at(card.pickup, self.system.now()) {
            Some(_) => Err(WhyAlone::ZonePaused),
            None => Ok(card),
        }
    }

    /// What regions know of a driver who is to bring these, refused with whatever speaks against it.
    pub(super) async fn driver_card(
        &self,
        id: DriverId,
        orders: &[OrderId],
    ) -> Result<DriverCard, Refused> {
        self.translator.check_free_of_runs(id).await?;
        let mut against: Vec<WhyNot> = Vec::new();
        for order in orders {
            against.extend(self.translator.against(id, JobId::Order(*order)).await?);
        }
        let (_, state) = self.system.read::<Driver>(id).await?;
        let card = match state.listing(id) {
            Some(Listing { card: Card::Driver(card), .. }) => Some(card),
            Some(_) | None => None,
        };
        let card = card.filter(|it| it.is_free && usize::from(it.n_slots) >= orders.len());
        match card {
            Some(card) if against.is_empty() => Ok(card),
            Some(_) => Err(unfit(against)),
            None => {
                if against.is_empty() {
                    against.push(WhyNot::NoRoom);
                }
                Err(unfit(against))
            }
        }
    }

    /// Lets a run be planned, and waits to see whether its orders join.
    pub(super) async fn plan_run(
        &self,
        to: RunId,
        plan: Plan,
        by: Principal,
        id: CommandId,
        wished: Wished,
    ) -> Result<RunMade, NotMade> {
        let join_ms = plan.join_ms;
        let tell = Tell::Run { to, command: run::Command::Plan(Box::new(plan)) };
        self.system.grant(wished, tell, by, id, self.patience).await?;
        self.settled(to, Duration::from_millis(join_ms.into()) + SETTLED_WITHIN).await
    }

    /// What came of a run: once all of its orders have said whether they join, or after so long.
    async fn settled(&self, id: RunId, within: Duration) -> Result<RunMade, NotMade> {
        let until = Instant::now() + within;
        let watching = timeout_at(until, self.system.watch::<Run>(id)).await;
        let mut watching = watching.map_err(|_| unavailable())??;
        let mut run = Arc::clone(&watching.state);
        let settling = async {
            while run.status() == Some(RunStatus::Planned) {
                match watching.updates.recv().await {
                    Some(Update::Changed { state, .. }) => run = state,
                    Some(Update::Seen(_)) => {}
                    None => break,
                }
            }
        };
        // Whoever waits longer hears that it is planned.
        timeout_at(until, settling).await.ok();
        if run.status() == Some(RunStatus::Dissolved) {
            return Err(self.dissolved(id).await);
        }
        let plan = run.plan().ok_or_else(|| not_found(&id.to_string()))?;
        let stop = |it: &run::Stop| DueStop { order: it.order, what: it.what, due: it.due };
        Ok(RunMade {
            run: id,
            status: run.status().unwrap_or(RunStatus::Planned),
            driver: plan.driver,
            orders: plan.orders.iter().map(|it| it.order).collect(),
            stops: plan.told.iter().map(stop).collect(),
            saving_percent: plan.saving_percent,
        })
    }

    /// Why a run came to nothing: its history says who left it, and why.
    async fn dissolved(&self, id: RunId) -> NotMade {
        let history = self.system.journal().history(id.into(), Version(0), EVENTS_MAX).await;
        let (mut against, mut why) = (Vec::new(), String::new());
        for recorded in history.unwrap_or_default() {
            let Ok(event) = recorded.event.to_json(Kind::Run) else { continue };
            let said = |path: &str| event.pointer(path).and_then(|it| it.as_str());
            let order = said("/order_left/order").and_then(|it| it.parse().ok());
            if let Some(order) = order {
                let words = said("/order_left/reason").map(str::to_owned);
                against.push(Alone { said: words, ..Alone::new(order, WhyAlone::Refused) });
            }
            if let Some(reason) = said("/dissolved/reason") {
                reason.clone_into(&mut why);
            }
        }
        let message = format!("{id} came to nothing: {why}");
        NotMade { refused: Refused::new(Code::NotEligible, message), against }
    }

    /// Has a region's deliveries brought together as it would do by itself when it looks next.
    async fn batch_now(
        &self,
        by: &Asker,
        region: RegionId,
        reason: &str,
    ) -> Result<RunsMade, NotMade> {
        let Groups { proposals, .. } = self.groups(region, None, false, &by.scope).await?;
        let (proposals, n_left) = at_once(proposals);
        let proposed: Vec<Vec<OrderId>> = proposals.iter().map(Proposal::orders).collect();
        let made = join_all(proposals.into_iter().map(|it| self.propose(by, region, it, reason)));
        let mut all = RunsMade { runs: Vec::new(), added: Vec::new(), alone: Vec::new(), n_left };
        let mut refused = None;
        for (orders, made) in proposed.into_iter().zip(made.await) {
            match made {
                Ok(Made::Run(run)) => all.runs.push(run),
                Ok(Made::Added(added)) => all.added.push(added),
                // They have changed since the look, and look on for themselves.
                Err(no) => {
                    all.alone.extend(no.told_of(&orders));
                    refused = Some(no.refused);
                }
            }
        }
        match refused {
            Some(refused) if all.runs.is_empty() && all.added.is_empty() => {
                Err(NotMade { refused, against: all.alone })
            }
            Some(_) | None => Ok(all),
        }
    }

    /// Lets a run be made of what a region would propose, or something be taken along.
    async fn propose(
        &self,
        by: &Asker,
        region: RegionId,
        proposal: Proposal,
        reason: &str,
    ) -> Result<Made, NotMade> {
        let (id, reason) = (CommandId::mint(), reason.to_owned());
        match proposal {
            Proposal::Run(together) => {
                let to = RunId::created_by(together.driver.0, id, region.shard());
                let chosen = Chosen { together, stops: Vec::new() };
                let wish = run::Wish { by: by.who, reason };
                let plan = run::wanted(chosen, true, self.system.regions().batches(), wish);
                // Those that join are brought, as ever.
                let plan = Plan { n_min: 2, ..plan };
                let wished = Wished::new(&plan);
                Ok(Made::Run(self.plan_run(to, plan, by.who, id, wished).await?))
            }
            Proposal::Insert { run: to, order: (order, round), at, legs } => {
                let orders = vec![Wanted { order, round: Some(round), from: None }];
                let (place, reason) = (Some(at), Some(reason));
                let command = run::Command::Insert { orders, place, legs, reason };
                let tell = Tell::Run { to, command };
                self.system.tell(tell, by.who, id, self.patience).await?;
                Ok(Made::Added(Added { run: to, order }))
            }
        }
    }

    async fn delivery_groups(
        &self,
        by: &Asker,
        wanted: GroupsWanted,
    ) -> Result<DeliveryGroups, Refused> {
        let (groups, mut alone) = match (&wanted.region, wanted.orders.as_slice()) {
            (Some(name), []) => {
                let region = region_within(name, &by.scope)?;
                (self.groups(region, None, true, &by.scope).await?, Vec::new())
            }
            (None, orders) => {
                check_named(orders, 1, NAMED_MAX)?;
                let (cards, alone) = self.cards_by_themselves(by, orders).await?;
                let groups = match cards.first().map(|it| RegionId::at(it.pickup)) {
                    Some(region) => self.groups(region, Some(cards), true, &by.scope).await?,
                    None => Groups::default(),
                };
                (groups, alone)
            }
            (Some(_), _) => return Err(invalid("region", "alone, or else orders")),
        };
        let n_alone = alone.len() + groups.n_alone;
        alone.extend(told(groups.alone));
        alone.truncate(batch::REASONS_MAX);
        let group = |proposal: Proposal| match proposal {
            Proposal::Run(it) => DeliveryGroup {
                orders: it.orders.iter().map(|(order, _)| *order).collect(),
                driver: Some(it.driver),
                run: None,
                saving_percent: Some(it.saving_percent),
            },
            Proposal::Insert { run, order: (order, _), .. } => DeliveryGroup {
                orders: vec![order],
                driver: None,
                run: Some(run),
                saving_percent: None,
            },
        };
        let groups = groups.proposals.into_iter().map(group).collect();
        Ok(DeliveryGroups { groups, alone, n_alone })
    }

    /// What regions know of these orders by themselves, and why they know nothing of the others.
    async fn cards_by_themselves(
        &self,
        by: &Asker,
        orders: &[OrderId],
    ) -> Result<(Vec<SearchCard>, Vec<Alone>), Refused> {
        let (mut cards, mut alone) = (Vec::new(), Vec::new());
        for order in orders {
            self.check_sight((*order).into(), by).await?;
            let (version, state) = self.system.read::<Order>(*order).await?;
            if version == Version(0) {
                return Err(not_found(&order.to_string()));
            }
            let known = state.to_bring(*order, false).and_then(|it| self.unless_paused(it));
            match (known, state.listing(*order)) {
                (Err(why), _) => alone.push(Alone::new(*order, why)),
                (Ok(_), Some(Listing { card: Card::Search(card), .. })) => cards.push(*card),
                (Ok(_), _) => alone.push(Alone::new(*order, WhyAlone::Held)),
            }
        }
        Ok((cards, alone))
    }

    /// What would be brought together in a region, whoever matches there, and why the rest is alone, if it is to be said.
    async fn groups(
        &self,
        region: RegionId,
        of: Option<Vec<SearchCard>>,
        says_why: bool,
        scope: &Scope,
    ) -> Result<Groups, Refused> {
        let _turn = a_turn(&self.looks, "others are looking at what could be brought together")?;
        let asked = |of| Grouping { region, of, says_why, scope: scope.clone() };
        if let Some(groups) = self.groups_here(asked(of.clone())).await {
            return Ok(groups);
        }
        let question = Question::Groups(Box::new(asked(of)));
        self.ask_whose(region, &question).await.ok_or_else(unavailable)
    }

    /// What another node answers that matches in this region; none, if there is none, or it does not answer.
    pub(super) async fn ask_whose<T: DeserializeOwned>(
        &self,
        region: RegionId,
        question: &Question,
    ) -> Option<T> {
        let cluster = self.system.cluster()?;
        let head = cluster.picture.heads.iter().find(|head| head.shard == region.shard())?;
        let owner = head.owner.filter(|owner| *owner != self.system.incarnation())?;
        self.ask::<Option<T>>(owner, question, LOOK_WITHIN).await.flatten()
    }

    /// The same, if that is this node.
    pub(super) async fn groups_here(&self, asked: Grouping) -> Option<Groups> {
        let Grouping { region, of, says_why, scope } = asked;
        self.system.regions().groups(region, of, says_why, |at| scope.contains(at)).await
    }

    /// Whether these may be brought together, as whoever matches there knows it.
    pub(super) async fn chosen(
        &self,
        region: RegionId,
        choice: Choice,
        scope: &Scope,
    ) -> Result<Chosen, NotMade> {
        let asked = |choice| Choosing { region, choice, scope: scope.clone() };
        let chosen = match self.chosen_here(asked(choice.clone())).await {
            Some(chosen) => Some(chosen),
            None => {
                let question = Question::Chosen(Box::new(asked(choice)));
                self.ask_whose::<Result<Chosen, Vec<Against>>>(region, &question).await
            }
        };
        match chosen {
            Some(Ok(chosen)) => Ok(chosen),
            Some(Err(against)) => Err(NotMade::because_of(told(against))),
            None => Err(unavailable().into()),
        }
    }

    /// The same, if that is this node.
    pub(super) async fn chosen_here(
        &self,
        asked: Choosing,
    ) -> Option<Result<Chosen, Vec<Against>>> {
        let Choosing { region, choice, scope } = asked;
        self.system.regions().chosen(region, choice, |at| scope.contains(at)).await
    }
}

/// As many as are made at once, and how many are left for the next time.
fn at_once(mut proposals: Vec<Proposal>) -> (Vec<Proposal>, usize) {
    let n_left = proposals.len().saturating_sub(RUNS_MAX);
    proposals.truncate(RUNS_MAX);
    (proposals, n_left)
}

/// What came of one proposal.
enum Made {
    Run(RunMade),
    Added(Added),
}

impl From<RunMade> for RunsMade {
    fn from(run: RunMade) -> Self {
        Self { runs: vec![run], added: Vec::new(), alone: Vec::new(), n_left: 0 }
    }
}

/// A turn to do what takes long; refused, because of that, while as many do it as may.
pub(super) fn a_turn(
    among: &Arc<Semaphore>,
    because: &str,
) -> Result<OwnedSemaphorePermit, Refused> {
    let turn = Arc::clone(among).try_acquire_owned();
    turn.map_err(|_full| Refused::new(Code::Busy, because).retry_after_ms(BUSY_MS))
}

/// The run that a command makes of some orders, of which this is the first that is named.
pub(super) fn run_of(first: OrderId, id: CommandId) -> RunId {
    RunId::created_by(first.0, id, first.shard())
}

fn told(against: Vec<Against>) -> Vec<Alone> {
    against.into_iter().map(Alone::from).collect()
}

fn unfit(mut against: Vec<WhyNot>) -> Refused {
    against.sort_unstable();
    against.dedup();
    Refusal::Unfit(against).into()
}

/// The region of this name, refused to whom none of it is shown.
fn region_within(name: &str, scope: &Scope) -> Result<RegionId, Refused> {
    let region = RegionId::parse(name).ok_or_else(|| not_found(name))?;
    match scope.meets(ZoneId::of_cell(u64::from(region.0))) {
        true => Ok(region),
        false => Err(elsewhere(scope)),
    }
}

/// Refuses too few, too many, or one twice.
pub(super) fn check_named(orders: &[OrderId], least: usize, most: usize) -> Result<(), Refused> {
    if !(least..=most).contains(&orders.len()) {
        return Err(invalid("orders", &format!("{least} to {most}, not {}", orders.len())));
    }
    let mut seen = HashSet::new();
    match orders.iter().all(|it| seen.insert(*it)) {
        true => Ok(()),
        false => Err(invalid("orders", "each once")),
    }
}

#[cfg(test)]
mod tests;
