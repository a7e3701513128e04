//! Orders that are given to drivers as staff see fit: first it is shown who would bring what, and when, and then that is
//! committed as it was shown, or not at all.
//!
//! ```text
//!  POST /v1/orchestrations ──► whoever matches there: Regions::assigned ──► manifests, and what they were counted from
//!  POST …/commit with both ──► is all of that still so? ──► a run for each manifest, of all of its orders or none
//! ```
//!
//! Nothing is kept between the two: whoever saw a plan brings along what it was counted from, and a digest that says that the
//! two belong together. It keeps nobody from anything, for whoever may commit may have any runs made; it finds out what is
//! stale or was mixed up.

use super::{
    Gate,
    front::Question,
    rest::{Answered, Body, Caller, Key},
    together::{Alone, DueStop, NotMade, RunMade, a_turn, check_named},
    translate::{self, command_id, invalid, not_found},
    unavailable,
};
use crate::auth::scope::Asker;
use actors::{
    Card, Decider, DriverCard, EntityKey, Listing, Refusal, SearchCard, Version,
    driver::Driver,
    listing::RegionId,
    order::Order,
    reason,
    region::Choice,
    run::{self, Plan},
    runtime::Wished,
};
use aws_lc_rs::digest;
use axum::{
    Json,
    extract::State,
    http::StatusCode,
    response::{IntoResponse, Response},
};
use futures_util::future::join_all;
use matching::batch::{self, Assigned, Chosen, Leeway};
use protocol::{
    Code, CommandId, DriverId, JobId, OrderId, Principal, Refused, RunId, Timestamp,
    trace::{WhyAlone, WhyNot},
    view::StopKind,
    work::OfferPolicy,
};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap, HashSet},
    sync::Arc,
};
use utoipa::ToSchema;

/// Most orders, and most drivers, of one plan.
const ORDERS_MAX: usize = 50;
const DRIVERS_MAX: usize = 20;

/// What is to be given to whom.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct NewOrchestration {
    /// Which orders; 1 to 50. They look for a driver, or a dispatcher holds them.
    orders: Vec<OrderId>,
    /// Which drivers; 1 to 20, all of them on duty and with nothing else to do.
    drivers: Vec<DriverId>,
    /// How.
    engine: Engine,
}

/// How orders are given to drivers. Whichever it is, what is promised is kept, no vehicle holds more than it can, and nobody has
/// more orders than a run may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(super) enum Engine {
    /// Who waits longest first, each where it costs least.
    Greedy,
    /// The heaviest first, each where it leaves the least room: few vehicles, and full ones.
    Capacity,
    /// The cheapest first, and then all again as long as it gets better.
    Sequencing,
}

/// Who would bring what.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Orchestration {
    /// How it was found.
    engine: Engine,
    /// Of each driver who would have something to do.
    manifests: Vec<Manifest>,
    /// What nobody would bring, and why.
    unassigned: Vec<Alone>,
    /// Drivers who cannot be given anything, and why.
    unfit: Vec<Unfit>,
    /// What it was counted from. Commit it with the manifests.
    seen: Vec<SeenOf>,
    /// Of both.
    digest: String,
    /// When it was counted.
    at: Timestamp,
}

/// What one driver would bring.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Manifest {
    /// Who.
    driver: DriverId,
    /// What, in the order in which it would be fetched.
    orders: Vec<OrderId>,
    /// Everything that would be to be done, in order.
    stops: Vec<ManifestStop>,
    /// How heavy all of it is, in grams.
    weight_g: u32,
    /// How much less would be driven than if each were brought alone, in percent.
    saving_percent: u8,
}

/// Something that would be to be done, and what is then on board.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ManifestStop {
    #[serde(flatten)]
    stop: DueStop,
    /// How heavy what is on board is then, in grams.
    load_g: u32,
}

/// A driver who cannot be given anything.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Unfit {
    /// Who.
    driver: DriverId,
    /// Why.
    why: Vec<WhyNot>,
}

/// An order or a driver, and how it was. Says nothing but whether it is otherwise now.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SeenOf {
    /// Which: `order-…`, `driver-…`.
    id: String,
    /// How it was.
    state: String,
}

/// What is to be done as it was shown.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Commitment {
    /// Who is to bring what: every manifest, as it was shown.
    manifests: Vec<Given>,
    /// What that was counted from, as it was told.
    seen: Vec<SeenOf>,
    /// Of both, as it was told.
    digest: String,
    /// Why, on one line.
    reason: String,
}

/// What one driver is to bring.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct Given {
    /// Who.
    driver: DriverId,
    /// What.
    orders: Vec<OrderId>,
}

/// What came of it: of each manifest all of its orders were asked to go with its driver, or none.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Committed {
    /// Runs whose drivers are asked, or told.
    runs: Vec<RunMade>,
    /// Manifests of which nothing came, for something changed at that very moment: their orders look on, each for itself.
    failed: Vec<Failed>,
}

/// A manifest of which nothing came.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Failed {
    /// Whose.
    driver: DriverId,
    /// What.
    orders: Vec<OrderId>,
    /// Why.
    #[serde(flatten)]
    why: NotMade,
}

/// A refusal, and what is otherwise than it was shown. Nothing was done.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct NotCommitted {
    #[serde(flatten)]
    refused: NotMade,
    /// What has changed.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    changed: Vec<Changed>,
}

/// What is otherwise than it was shown.
#[derive(Debug, PartialEq, Eq, Serialize, ToSchema)]
pub(super) struct Changed {
    /// Which: `order-…`, `driver-…`.
    id: String,
    /// How it was…
    was: String,
    /// … and how it is.
    is: String,
}

/// What nodes ask each other of who would bring what.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Assigning {
    region: RegionId,
    cards: Vec<SearchCard>,
    drivers: Vec<DriverCard>,
    engine: batch::Engine,
}

impl From<Engine> for batch::Engine {
    fn from(engine: Engine) -> Self {
        match engine {
            Engine::Greedy => Self::Greedy,
            Engine::Capacity => Self::Capacity,
            Engine::Sequencing => Self::Sequencing,
        }
    }
}

impl From<NotMade> for NotCommitted {
    fn from(refused: NotMade) -> Self {
        Self { refused, changed: Vec::new() }
    }
}

impl From<Refused> for NotCommitted {
    fn from(refused: Refused) -> Self {
        NotMade::from(refused).into()
    }
}

impl From<Refusal> for NotCommitted {
    fn from(refusal: Refusal) -> Self {
        NotMade::from(refusal).into()
    }
}

impl From<Answered> for NotCommitted {
    fn from(answered: Answered) -> Self {
        NotMade::from(answered).into()
    }
}

impl NotCommitted {
    /// This is not as it was shown any more.
    fn changed(changed: Vec<Changed>) -> Self {
        let told: Vec<&str> = changed.iter().take(5).map(|it| &*it.id).collect();
        let message = format!("not as it was shown: {}", told.join(", "));
        Self { refused: Refused::new(Code::TooLate, message).into(), changed }
    }
}

impl IntoResponse for NotCommitted {
    fn into_response(self) -> Response {
        let mut response = Answered(self.refused.refused.clone()).into_response();
        *response.body_mut() = Json(self).into_response().into_body();
        response
    }
}

/// Shows which of these drivers would bring which of these orders, in which order and when: a manifest for each. Nobody is told,
/// and nothing is kept. Staff only; dispatchers of some regions with what is there.
#[utoipa::path(
    post, path = "/v1/orchestrations", tag = "runs", security(("bearer" = [])),
    request_body = NewOrchestration,
    responses(
        (status = 200, body = Orchestration), (status = 401, body = Refused), (status = 403, body = Refused),
        (status = 404, body = Refused), (status = 422, body = Refused), (status = 429, body = Refused),
        (status = 503, body = Refused)
    )
)]
pub(super) async fn orchestrate(
    State(gate): State<Arc<Gate>>,
    caller: Caller,
    Body(wanted): Body<NewOrchestration>,
) -> Result<Json<Orchestration>, Answered> {
    caller.staff()?;
    Ok(Json(Box::pin(gate.orchestrate(&caller.0, wanted)).await?))
}

/// Has done what was shown: a run for each manifest, which its driver is asked to bring, of all of its orders or none. If any order
/// or driver is otherwise than it was shown, nothing is done at all (`too_late`, and `changed` says which). What changes while it is
/// being done takes its whole manifest along (`failed`), and no other. With the same `Idempotency-Key` it is done once. Staff only.
#[utoipa::path(
    post, path = "/v1/orchestrations/commit", tag = "runs", security(("bearer" = [])),
    request_body = Commitment,
    params(("Idempotency-Key" = Option<String>, Header, description = "a UUIDv7, or any text of at most 64 characters")),
    responses(
        (status = 201, body = Committed), (status = 401, body = Refused), (status = 403, body = Refused),
        (status = 404, body = Refused), (status = 409, body = NotCommitted), (status = 422, body = Refused),
        (status = 429, body = Refused), (status = 503, body = Refused)
    )
)]
pub(super) async fn commit(
    State(gate): State<Arc<Gate>>,
    caller: Caller,
    key: Key,
    Body(wanted): Body<Commitment>,
) -> Result<Response, NotCommitted> {
    caller.staff()?;
    let committed = Box::pin(gate.commit_as_shown(&caller.0, key, wanted)).await?;
    Ok((StatusCode::CREATED, Json(committed)).into_response())
}

impl Gate {
    async fn orchestrate(
        &self,
        by: &Asker,
        wanted: NewOrchestration,
    ) -> Result<Orchestration, Refused> {
        let NewOrchestration { orders, drivers, engine } = wanted;
        check_named(&orders, 1, ORDERS_MAX)?;
        check_drivers(&drivers)?;
        for order in &orders {
            self.check_sight((*order).into(), by).await?;
        }
        for driver in &drivers {
            self.check_taker_there(*driver, by).await?;
        }
        let (mut seen, mut unassigned, mut cards) = (Vec::new(), Vec::new(), Vec::new());
        for order in &orders {
            let (state, card) = self.order_seen(*order).await?;
            seen.push(SeenOf { id: order.to_string(), state });
            match card {
                Ok(card) => cards.push(card),
                Err(why) => unassigned.push(Alone::new(*order, why)),
            }
        }
        let (mut unfit, mut free) = (Vec::new(), Vec::new());
        for driver in &drivers {
            let (state, card) = self.driver_seen(*driver).await?;
            seen.push(SeenOf { id: driver.to_string(), state });
            match card {
                Ok(card) => free.push(card),
                Err(why) => unfit.push(Unfit { driver: *driver, why }),
            }
        }
        let weights: HashMap<OrderId, u32> = cards.iter().filter_map(weight_of).collect();
        let assigned = match cards.first().map(|it| RegionId::at(it.pickup)) {
            Some(region) => {
                let _turn = a_turn(&self.plans, "other routes are being planned")?;
                let engine = engine.into();
                self.assigned(Assigning { region, cards, drivers: free, engine }).await?
            }
            None => Assigned::default(),
        };
        unassigned.extend(assigned.unassigned.into_iter().map(Alone::from));
        let manifests: Vec<Manifest> =
            assigned.manifests.into_iter().map(|it| Manifest::of(it, &weights)).collect();
        let given: Vec<Given> = manifests.iter().map(Manifest::given).collect();
        let digest = digest_of(&given, &seen);
        let at = self.system.now();
        Ok(Orchestration { engine, manifests, unassigned, unfit, seen, digest, at })
    }

    /// How an order is, however far away it looks for a driver, and what regions would know of it, if it may be given to somebody.
    async fn order_seen(
        &self,
        id: OrderId,
    ) -> Result<(String, Result<SearchCard, WhyAlone>), Refused> {
        let (version, order) = self.system.read::<Order>(id).await?;
        if version == Version(0) {
            return Err(not_found(&id.to_string()));
        }
        // Whoever has it given to somebody insists: its brand only says what is brought together by itself.
        let known = order.to_bring(id, true).and_then(|it| self.unless_paused(it));
        Ok((order.version_as_seen(version.0).to_string(), known))
    }

    /// How a driver is as far as it matters here, and what regions know of it, if it may be given something. Where it is does
    /// not matter: it drives on.
    async fn driver_seen(
        &self,
        id: DriverId,
    ) -> Result<(String, Result<DriverCard, Vec<WhyNot>>), Refused> {
        let (version, driver) = self.system.read::<Driver>(id).await?;
        if version == Version(0) {
            return Err(not_found(&id.to_string()));
        }
        let run = driver.driver_view(id, version.0).run;
        let mut why = driver.why_no_offers(self.system.now());
        let card = match driver.listing(id) {
            Some(Listing { card: Card::Driver(card), .. }) => Some(card),
            Some(_) | None => None,
        };
        let is_free = |it: &DriverCard| it.is_free && it.n_slots > 0 && run.is_none();
        let card = card.filter(|it| is_free(it) && why.is_empty());
        if card.is_none() && why.is_empty() {
            why.push(WhyNot::NoRoom);
        }
        let shape = card.as_ref().map(|it| {
            let until = it.standing.until;
            (&*it.vehicle, it.n_slots, it.load_g, it.fleet, it.destination, until)
        });
        let state = short(&serde_json::json!({ "run": run, "why": why, "shape": shape }));
        Ok((state, card.ok_or(why)))
    }

    /// Who would bring what, as whoever matches there knows the ways.
    async fn assigned(&self, asked: Assigning) -> Result<Assigned, Refused> {
        let region = asked.region;
        if let Some(assigned) = self.assigned_here(asked.clone()).await {
            return Ok(assigned);
        }
        let question = Question::Assigned(Box::new(asked));
        self.ask_whose(region, &question).await.ok_or_else(unavailable)
    }

    /// The same, if that is this node.
    pub(super) async fn assigned_here(&self, asked: Assigning) -> Option<Assigned> {
        let Assigning { region, cards, drivers, engine } = asked;
        self.system.regions().assigned(region, cards, drivers, engine).await
    }

    async fn commit_as_shown(
        &self,
        by: &Asker,
        Key(key): Key,
        wanted: Commitment,
    ) -> Result<Committed, NotCommitted> {
        reason::check(&wanted.reason)?;
        self.check_known_to_all()?;
        let orders_max = usize::from(self.system.regions().batches().orders_max);
        wanted.check(orders_max)?;
        let wished = Wished::new(&wanted);
        let id = match &key {
            None => CommandId::mint(),
            Some(key) => self.id_of_commit(by.who, key, &wanted).await,
        };
        translate::check_id(id)?;
        let Some(name) = key else { return self.commit_by(by, id, &wanted).await };
        let mut told = None;
        let committing = async {
            self.commit_by(by, id, &wanted).await.map_err(|no| {
                let refused = no.refused.refused.clone();
                told = Some(no);
                refused
            })
        };
        let committed = self.uses.once(by.who, &name, wished, Box::pin(committing)).await;
        committed.map_err(|refused| told.unwrap_or_else(|| refused.into()))
    }

    /// The command id a key stands for.
    async fn id_of_commit(&self, by: Principal, key: &str, wanted: &Commitment) -> CommandId {
        if let Some(id) = command_id(key) {
            return id;
        }
        let [earlier, now] = self.command_ids(by, key);
        let (run, command) = wanted.manifests[0].run(earlier, &wanted.digest, 0);
        match self.system.journal().result(run.into(), command).await {
            Ok(Some(_)) => earlier,
            Ok(None) | Err(_) => now,
        }
    }

    async fn commit_by(
        &self,
        by: &Asker,
        id: CommandId,
        wanted: &Commitment,
    ) -> Result<Committed, NotCommitted> {
        let mut known: Vec<Option<Plan>> = Vec::new();
        for (n, given) in wanted.manifests.iter().enumerate() {
            let plan = self.planned_before(given.run(id, &wanted.digest, n).0).await?;
            if let Some(plan) = &plan {
                given.check_is(plan)?;
                self.check_sight_of(plan, by).await?;
            }
            known.push(plan);
        }
        // Said again: what it has changed itself is not as it was shown. What it has not done yet still must be.
        let is_repeat = known.iter().any(Option::is_some);
        if !is_repeat {
            self.check_as_shown(by, wanted).await?;
        }
        let planning = wanted.manifests.iter().zip(known).map(|(given, known)| async move {
            match known {
                Some(plan) => Ok(plan),
                None => Box::pin(self.plan_of(by, given, wanted)).await,
            }
        });
        let mut plans: Vec<Result<Plan, NotCommitted>> = join_all(planning).await;
        if !is_repeat {
            // Nothing has been done yet.
            let all: Vec<Plan> = plans.into_iter().collect::<Result<_, _>>()?;
            plans = all.into_iter().map(Ok).collect();
        }
        let all = wanted.manifests.iter().enumerate().zip(plans);
        let made = all.map(|((n, given), plan)| async move {
            let (to, command) = given.run(id, &wanted.digest, n);
            let made = match plan {
                Ok(plan) => {
                    let wished = Wished::new(&(wanted, n));
                    self.plan_run(to, plan, by.who, command, wished).await
                }
                Err(no) => Err(no.refused),
            };
            made.map_err(|why| Failed { driver: given.driver, orders: given.orders.clone(), why })
        });
        let mut committed = Committed { runs: Vec::new(), failed: Vec::new() };
        for made in join_all(made).await {
            match made {
                Ok(run) => committed.runs.push(run),
                Err(failed) => committed.failed.push(failed),
            }
        }
        // Nobody knows what came of it: whoever says it again finds out.
        let is_unknown = |it: &Failed| it.why.refused.code == Code::Unavailable;
        if let Some(n) = committed.failed.iter().position(is_unknown) {
            return Err(committed.failed.swap_remove(n).why.into());
        }
        // Of a single one that failed, and of all that did, its refusal is the answer.
        match (committed.runs.is_empty(), committed.failed.pop()) {
            (true, Some(failed)) => Err(failed.why.into()),
            (_, last) => {
                committed.failed.extend(last);
                Ok(committed)
            }
        }
    }

    /// Refuses if anything is otherwise than it was shown.
    async fn check_as_shown(&self, by: &Asker, wanted: &Commitment) -> Result<(), NotCommitted> {
        let mut changed = Vec::new();
        for SeenOf { id, state: was } in &wanted.seen {
            let key = EntityKey::parse(id).ok_or_else(|| not_found(id))?;
            let is = match (id.parse::<OrderId>(), id.parse::<DriverId>()) {
                (Ok(order), _) => {
                    self.check_sight(key, by).await?;
                    self.order_seen(order).await?.0
                }
                (_, Ok(driver)) => {
                    self.check_taker_there(driver, by).await?;
                    self.driver_seen(driver).await?.0
                }
                (Err(_), Err(_)) => return Err(not_found(id).into()),
            };
            if is != *was {
                changed.push(Changed { id: id.clone(), was: was.clone(), is });
            }
        }
        if changed.is_empty() { Ok(()) } else { Err(NotCommitted::changed(changed)) }
    }

    /// What is planned of one manifest, judged as it is now, which is as it was shown.
    async fn plan_of(
        &self,
        by: &Asker,
        given: &Given,
        wanted: &Commitment,
    ) -> Result<Plan, NotCommitted> {
        for order in &given.orders {
            self.check_sight((*order).into(), by).await?;
        }
        self.check_taker_there(given.driver, by).await?;
        let (mut cards, mut against, mut changed) = (Vec::new(), Vec::new(), Vec::new());
        for order in &given.orders {
            let (is, card) = self.order_seen(*order).await?;
            changed.extend(wanted.changed(order.to_string(), is));
            match card {
                Ok(card) => cards.push(card),
                Err(why) => against.push(Alone::new(*order, why)),
            }
        }
        let (is, card) = self.driver_seen(given.driver).await?;
        changed.extend(wanted.changed(given.driver.to_string(), is));
        if !changed.is_empty() {
            return Err(NotCommitted::changed(changed));
        }
        if !against.is_empty() {
            return Err(NotMade::because_of(against).into());
        }
        // What speaks against it beside how it is.
        self.driver_card(given.driver, &given.orders).await?;
        let driver = Some(card.map_err(Refusal::Unfit)?);
        let consent = !cards.iter().all(|it| it.policy == OfferPolicy::AutoAssign);
        let Some(first) = cards.first() else { return Err(invalid("orders", "which?").into()) };
        let region = RegionId::at(first.pickup);
        let leeway = Leeway { is_named: true, is_forced: true, is_apart: true };
        let choice = Choice { cards, driver, leeway };
        let chosen = self.chosen(region, choice, &by.scope).await?;
        let wish = run::Wish { by: by.who, reason: wanted.reason.clone() };
        Ok(run::wanted(chosen, consent, self.system.regions().batches(), wish))
    }
}

impl Commitment {
    /// Refuses what was not shown so.
    fn check(&self, orders_max: usize) -> Result<(), Refused> {
        let drivers: Vec<DriverId> = self.manifests.iter().map(|it| it.driver).collect();
        check_drivers(&drivers)?;
        for given in &self.manifests {
            check_named(&given.orders, 1, orders_max)?;
        }
        let orders: Vec<OrderId> =
            self.manifests.iter().flat_map(|it| it.orders.iter().copied()).collect();
        check_named(&orders, 1, ORDERS_MAX)?;
        if self.seen.len() > ORDERS_MAX + DRIVERS_MAX {
            return Err(invalid("seen", "more than can have been"));
        }
        let ids: HashSet<&str> = self.seen.iter().map(|it| &*it.id).collect();
        if ids.len() < self.seen.len() {
            return Err(invalid("seen", "each once"));
        }
        let is_seen = |id: String| self.seen.iter().any(|it| it.id == id);
        let are_seen = orders.iter().all(|it| is_seen(it.to_string()))
            && drivers.iter().all(|it| is_seen(it.to_string()));
        if !are_seen || self.digest != digest_of(&self.manifests, &self.seen) {
            return Err(invalid("digest", "is of other manifests, or of something else seen"));
        }
        Ok(())
    }

    /// How this is otherwise than it was shown, if it is.
    fn changed(&self, id: String, is: String) -> Option<Changed> {
        let seen = self.seen.iter().find(|it| it.id == id);
        let was = seen.map(|it| it.state.clone()).unwrap_or_default();
        (is != was).then_some(Changed { id, was, is })
    }
}

impl Given {
    /// The run that comes of the `n`th manifest of a commitment with this digest, and the command that makes it. Another
    /// commitment under the same name makes others.
    fn run(&self, id: CommandId, digest: &str, n: usize) -> (RunId, CommandId) {
        let nth = u32::try_from(n).unwrap_or(u32::MAX);
        let name = [id.0.as_bytes().as_slice(), digest.as_bytes()].concat();
        let command = CommandId::of_effect(&name, 0, nth, id.minted_at());
        (RunId::created_by(self.driver.0, command, self.orders[0].shard()), command)
    }

    /// Refuses what was planned for somebody else, or of something else.
    fn check_is(&self, plan: &Plan) -> Result<(), Refused> {
        let planned: HashSet<OrderId> = plan.orders.iter().map(|it| it.order).collect();
        let given: HashSet<OrderId> = self.orders.iter().copied().collect();
        if plan.driver == self.driver && planned == given {
            return Ok(());
        }
        let message = "this command id or idempotency key was used for something else";
        Err(Refused::new(Code::CommandIdReused, message))
    }
}

impl Manifest {
    fn of(chosen: Chosen, weights: &HashMap<OrderId, u32>) -> Self {
        let Chosen { together, stops } = chosen;
        let weight = |order: OrderId| weights.get(&order).copied().unwrap_or_default();
        let orders: Vec<OrderId> = together.orders.iter().map(|(order, _)| *order).collect();
        let mut load_g = 0_u32;
        let stop = |it: batch::Due| {
            let batch::Due { order, is_pickup, at: due } = it;
            let what = if is_pickup { StopKind::Pickup } else { StopKind::Dropoff };
            load_g = match what {
                StopKind::Pickup => load_g.saturating_add(weight(order)),
                StopKind::Dropoff => load_g.saturating_sub(weight(order)),
            };
            ManifestStop { stop: DueStop { order, what, due }, load_g }
        };
        let stops = stops.into_iter().map(stop).collect();
        let weight_g = orders.iter().fold(0_u32, |sum, it| sum.saturating_add(weight(*it)));
        let (driver, saving_percent) = (together.driver, together.saving_percent);
        Self { driver, orders, stops, weight_g, saving_percent }
    }

    fn given(&self) -> Given {
        Given { driver: self.driver, orders: self.orders.clone() }
    }
}

fn weight_of(card: &SearchCard) -> Option<(OrderId, u32)> {
    match card.job {
        JobId::Order(order) => Some((order, card.needs.weight_g)),
        JobId::Rescue(_) => None,
    }
}

/// Refuses nobody, too many, or one twice.
fn check_drivers(drivers: &[DriverId]) -> Result<(), Refused> {
    if !(1..=DRIVERS_MAX).contains(&drivers.len()) {
        let problem = format!("1 to {DRIVERS_MAX}, not {}", drivers.len());
        return Err(invalid("drivers", &problem));
    }
    let distinct: HashSet<&DriverId> = drivers.iter().collect();
    match distinct.len() == drivers.len() {
        true => Ok(()),
        false => Err(invalid("drivers", "each once")),
    }
}

/// Says of manifests and of what they were counted from that they belong together, whatever order they are told in.
fn digest_of(manifests: &[Given], seen: &[SeenOf]) -> String {
    let given = |it: &Given| {
        let mut orders: Vec<String> = it.orders.iter().map(OrderId::to_string).collect();
        orders.sort_unstable();
        (it.driver.to_string(), orders)
    };
    let given: BTreeMap<String, Vec<String>> = manifests.iter().map(given).collect();
    let seen: BTreeMap<&str, &str> = seen.iter().map(|it| (&*it.id, &*it.state)).collect();
    hex(&serde_json::json!({ "given": given, "seen": seen }), usize::MAX)
}

/// Enough to tell two states apart.
fn short(value: &serde_json::Value) -> String {
    hex(value, 8)
}

fn hex(value: &serde_json::Value, n_bytes: usize) -> String {
    let digest = digest::digest(&digest::SHA256, value.to_string().as_bytes());
    digest.as_ref().iter().take(n_bytes).map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
