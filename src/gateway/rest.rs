//! The same wishes as on the socket, one HTTP request each.
#![expect(unused_qualifications, reason = "utoipa writes query types with their path")]

use super::{
    Gate,
    limits::rate_limited,
    price::{Quote, QuoteRequest},
    scope::check_place,
    translate::{self, command_id, command_id_of, invalid, not_found},
};
use crate::auth::{Identity, scope::Asker, unauthenticated};
use actors::{
    EntityKey, Kind, Version, ViewRow,
    journal::{Recorded, ViewQuery},
    revocation, rule, template, zone,
};
use axum::{
    Json,
    extract::{
        FromRequest, FromRequestParts, Path, Query, Request, State,
        rejection::{JsonRejection, QueryRejection},
    },
    http::{HeaderName, HeaderValue, StatusCode, header, request::Parts},
    response::{IntoResponse, Response},
};
use protocol::{
    Code, CommandId, DriverId, DutyStatus, IncidentStatus, OrderId, OrderStatus, Point, Principal,
    Refused, RescueId, RescueStatus, RiderId, RunStatus, Timestamp,
    frame::Done,
    view::{DriverView, OrderView, RescueView, RiderView},
    work::{DriverAction, NewOrder, NewRescue, OrderAction, RescueAction, RiderAction, Wish},
};
use serde::{Deserialize, Serialize, de::DeserializeOwned};
use std::{str::FromStr, sync::Arc, time::Duration};
use strum::IntoEnumIterator;
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

/// How a client names a request, so that a repeat of it has one effect.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");
/// Longest such name, in characters.
const KEY_CHARS_MAX: usize = 64;
/// Keys that are no UUIDv7 say no time, and are taken to be minted at the start of a span this long.
const KEY_SPAN: Duration = Duration::from_secs(11 * 3600);
/// Rows of a page: at most, and if nobody says otherwise.
const PAGE_ROWS: (usize, usize) = (100, 20);
/// Events of a page of history.
const HISTORY_ROWS: (usize, usize) = (500, 100);

/// A refusal as an HTTP response.
#[derive(Debug)]
pub(super) struct Answered(pub(super) Refused);

impl From<Refused> for Answered {
    fn from(refused: Refused) -> Self {
        Self(refused)
    }
}

impl IntoResponse for Answered {
    fn into_response(self) -> Response {
        let Self(refused) = self;
        let wait = refused.retry_after_ms.map(|ms| ms.div_ceil(1_000).max(1));
        let status = status_of(refused.code);
        let mut response = (status, Json(refused)).into_response();
        if let Some(wait) = wait {
            response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(wait));
        }
        if status == StatusCode::UNAUTHORIZED {
            let bearer = HeaderValue::from_static("Bearer");
            response.headers_mut().insert(header::WWW_AUTHENTICATE, bearer);
        }
        response
    }
}

fn status_of(code: Code) -> StatusCode {
    match code {
        Code::Malformed => StatusCode::BAD_REQUEST,
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::Forbidden => StatusCode::FORBIDDEN,
        Code::NotFound => StatusCode::NOT_FOUND,
        Code::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
        Code::IllegalTransition
        | Code::Taken
        | Code::InsufficientFunds
        | Code::TooEarly
        | Code::TooLate
        | Code::NotEligible
        | Code::ZonePaused => StatusCode::CONFLICT,
        Code::OfferGone => StatusCode::GONE,
        Code::Invalid
        | Code::TooFar
        | Code::WrongCode
        | Code::ProofMissing
        | Code::OutOfArea
        | Code::QuoteInvalid
        | Code::CommandExpired
        | Code::CommandIdReused => StatusCode::UNPROCESSABLE_ENTITY,
        Code::Busy | Code::RateLimited => StatusCode::TOO_MANY_REQUESTS,
        Code::Quarantined | Code::Unavailable | Code::Draining => StatusCode::SERVICE_UNAVAILABLE,
        Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}

/// Who asks, and where; without a valid token nobody does.
#[derive(Debug, Clone)]
pub(super) struct Caller(pub(super) Asker);

impl FromRequestParts<Arc<Gate>> for Caller {
    type Rejection = Answered;

    async fn from_request_parts(
        parts: &mut Parts,
        gate: &Arc<Gate>,
    ) -> Result<Self, Self::Rejection> {
        let Bearer(identity) = Bearer::from_request_parts(parts, gate).await?;
        Ok(Self(identity.asker()))
    }
}

/// The same, and by which token.
#[derive(Debug, Clone)]
pub(super) struct Bearer(pub(super) Identity);

impl FromRequestParts<Arc<Gate>> for Bearer {
    type Rejection = Answered;

    async fn from_request_parts(
        parts: &mut Parts,
        gate: &Arc<Gate>,
    ) -> Result<Self, Self::Rejection> {
        let identity = gate.identity(&parts.headers)?.ok_or_else(unauthenticated)?;
        gate.limits.requests.check(&identity.principal).map_err(rate_limited)?;
        Ok(Self(identity))
    }
}

/// Who asks, however often: for those who may be in danger.
#[derive(Debug, Clone)]
pub(super) struct Urgent(pub(super) Asker);

impl FromRequestParts<Arc<Gate>> for Urgent {
    type Rejection = Answered;

    async fn from_request_parts(
        parts: &mut Parts,
        gate: &Arc<Gate>,
    ) -> Result<Self, Self::Rejection> {
        let identity = gate.identity(&parts.headers)?.ok_or_else(unauthenticated)?;
        Ok(Self(identity.asker()))
    }
}

impl Bearer {
    pub(super) fn staff(&self) -> Result<(), Answered> {
        Caller(self.0.asker()).staff()
    }

    pub(super) fn admin(&self) -> Result<(), Answered> {
        Caller(self.0.asker()).admin()
    }
}

impl Caller {
    pub(super) fn staff(&self) -> Result<(), Answered> {
        if self.0.who.is_staff() { Ok(()) } else { Err(translate::forbidden("staff only").into()) }
    }

    pub(super) fn admin(&self) -> Result<(), Answered> {
        match self.0.who == Principal::Admin {
            true => Ok(()),
            false => Err(translate::forbidden("admins only").into()),
        }
    }

    /// May it be told everything of this one? Staff may, but for what is admins' alone.
    pub(super) fn reader_of(&self, key: EntityKey) -> Result<(), Answered> {
        match key.kind {
            Kind::Revocation | Kind::Rule => self.admin(),
            Kind::Order
            | Kind::Rescue
            | Kind::Driver
            | Kind::Rider
            | Kind::Incident
            | Kind::Zone
            | Kind::Run
            | Kind::Template => self.staff(),
        }
    }
}

/// A JSON body, refused in our words.
#[derive(Debug)]
pub(super) struct Body<T>(pub(super) T);

impl<T: DeserializeOwned, S: Send + Sync> FromRequest<S> for Body<T> {
    type Rejection = Answered;

    async fn from_request(request: Request, state: &S) -> Result<Self, Self::Rejection> {
        match Json::from_request(request, state).await {
            Ok(Json(body)) => Ok(Self(body)),
            Err(JsonRejection::JsonDataError(rejection)) => {
                Err(Refused::new(Code::Invalid, rejection.body_text()).into())
            }
            Err(rejection) if rejection.status() == StatusCode::PAYLOAD_TOO_LARGE => {
                Err(Refused::new(Code::TooLarge, "body too large").into())
            }
            Err(rejection) => Err(Refused::new(Code::Malformed, rejection.body_text()).into()),
        }
    }
}

/// What the path names. Bytes that are no text name nothing.
#[derive(Debug)]
pub(super) struct Named(pub(super) String);

impl<S: Send + Sync> FromRequestParts<S> for Named {
    type Rejection = Answered;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Self::Rejection> {
        match Path::from_request_parts(parts, state).await {
            Ok(Path(text)) => Ok(Self(text)),
            Err(_rejection) => Err(not_found(parts.uri.path()).into()),
        }
    }
}

/// The id in the path; text that is none names nothing.
pub(super) fn id_of<T: FromStr>(text: &str) -> Result<T, Refused> {
    text.parse().map_err(|_| not_found(text))
}

/// What is wished of whom, unless one of them makes no sense.
fn action_on<I: FromStr, A>(
    id: Result<Named, Answered>,
    action: Result<Body<A>, Answered>,
) -> Result<(I, A), Answered> {
    let (Named(id), Body(action)) = (id?, action?);
    Ok((id_of(&id)?, action))
}

/// The name the client gave its request.
#[derive(Debug)]
pub(super) struct Key(pub(super) Option<String>);

impl<S: Send + Sync> FromRequestParts<S> for Key {
    type Rejection = Answered;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let Some(value) = parts.headers.get(IDEMPOTENCY_KEY) else { return Ok(Self(None)) };
        let is_short = |text: &&str| (1..=KEY_CHARS_MAX).contains(&text.len());
        match value.to_str().ok().filter(is_short) {
            Some(text) => Ok(Self(Some(text.to_owned()))),
            None => Err(invalid("idempotency-key", "1 to 64 visible ASCII characters").into()),
        }
    }
}

/// Which version of something is to be changed (`If-Match`), as the one who changes it knows it: `LEAST` is the first it can have,
/// which most things have once they are made.
#[derive(Debug)]
pub(super) struct Expected<const LEAST: u32 = 1>(pub(super) u32);

impl<S: Send + Sync, const LEAST: u32> FromRequestParts<S> for Expected<LEAST> {
    type Rejection = Answered;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Self::Rejection> {
        let tag = parts.headers.get(header::IF_MATCH).and_then(|tag| tag.to_str().ok());
        let version = tag.and_then(|tag| tag.trim().trim_matches('"').parse::<u32>().ok());
        match version.filter(|version| *version >= LEAST) {
            Some(version) => Ok(Self(version)),
            None => Err(invalid("if-match", "which version? Its ETag says it").into()),
        }
    }
}

/// Something as it is, with its version as its `ETag`.
pub(super) fn tagged(version: u32, shown: &impl Serialize) -> Response {
    let mut response = Json(shown).into_response();
    if let Ok(tag) = HeaderValue::from_str(&format!("\"{version}\"")) {
        response.headers_mut().insert(header::ETAG, tag);
    }
    response
}

impl Gate {
    pub(super) async fn wish(
        &self,
        asker: Asker,
        Key(key): Key,
        wish: Wish,
    ) -> Result<Done, Answered> {
        let Some(key) = key else {
            let id = CommandId::mint();
            let (to, version) = self.perform(wish, asker, id, Duration::ZERO).await?;
            return Ok(translate::done(to, version));
        };
        let by = asker.who;
        let wished = translate::wished(&wish);
        let performed = async {
            let id = self.command_id(by, &key, &wish).await;
            self.perform(wish, asker, id, Duration::ZERO).await
        };
        let (to, version) = self.uses.once(by, &key, wished, Box::pin(performed)).await?;
        Ok(translate::done(to, version))
    }

    /// Does what a request wishes that was let in without asking how often it came. Only what is urgent needs not ask, as long
    /// as it does not come too often itself; what can be no wish at all is a request like any other.
    pub(super) async fn wish_in_time(
        &self,
        Urgent(by): Urgent,
        key: Result<Key, Answered>,
        wish: Result<Wish, Answered>,
    ) -> Result<Done, Answered> {
        let is_urgent = key.is_ok() && wish.as_ref().is_ok_and(Wish::is_urgent);
        if !is_urgent || !self.limits.lets_past(by.who) {
            self.limits.requests.check(&by.who).map_err(rate_limited)?;
        }
        self.wish(by, key?, wish?).await
    }

    /// The command id a key stands for.
    async fn command_id(&self, by: Principal, key: &str, wish: &Wish) -> CommandId {
        if let Some(id) = command_id(key) {
            return id;
        }
        let [earlier, now] = self.command_ids(by, key);
        if let Ok(tell) = self.translator.command(wish.clone(), by, earlier).await
            && let Ok(Some(_)) = self.system.journal().result(tell.to(), earlier).await
        {
            return earlier;
        }
        now
    }

    /// The command that a request is which is no wish, by its key: a repeat is the same. `to` says whom it asks.
    pub(super) async fn keyed(
        &self,
        by: Principal,
        Key(key): Key,
        to: impl Fn(CommandId) -> EntityKey,
    ) -> CommandId {
        let Some(key) = key else { return CommandId::mint() };
        if let Some(id) = command_id(&key) {
            return id;
        }
        let [earlier, now] = self.command_ids(by, &key);
        match self.system.journal().result(to(earlier), earlier).await {
            Ok(Some(_)) => earlier,
            Ok(None) | Err(_) => now,
        }
    }

    /// What a key that is no UUIDv7 may stand for: a repeat may come in the span after the one in which the first was made.
    pub(super) fn command_ids(&self, by: Principal, key: &str) -> [CommandId; 2] {
        let span_ms = u64::try_from(KEY_SPAN.as_millis()).unwrap_or(u64::MAX);
        let span = Timestamp(self.system.now().0 / span_ms * span_ms);
        let author = by.to_string();
        [span - KEY_SPAN, span].map(|span| command_id_of(&author, key, span))
    }

    pub(super) async fn show(&self, key: EntityKey, by: Asker) -> Result<Response, Answered> {
        self.check_sight(key, &by).await?;
        let frame = self.translator.show(key, by.who).await?;
        // A frame is a map of one entry, named after what it shows.
        let view = serde_json::to_value(&frame)
            .ok()
            .and_then(|frame| frame.as_object()?.values().next().cloned())
            .ok_or_else(|| Refused::new(Code::Internal, "a view that is none"))?;
        Ok(Json(view).into_response())
    }

    pub(super) async fn list(
        &self,
        kind: Kind,
        by: Asker,
        query: Result<Query<ListQuery>, QueryRejection>,
    ) -> Result<Json<Page>, Answered> {
        let Query(query) =
            query.map_err(|rejection| Refused::new(Code::Invalid, rejection.body_text()))?;
        let (rider, driver) = match by.who {
            Principal::Rider(me) => (Some(me), None),
            Principal::Driver(me) => (None, Some(me)),
            Principal::Dispatcher | Principal::Admin | Principal::System => (
                query.rider.as_deref().map(id_of).transpose()?,
                query.driver.as_deref().map(id_of).transpose()?,
            ),
            Principal::Merchant(_) => return Err(translate::forbidden("not for merchants").into()),
        };
        let (most, usual) = PAGE_ROWS;
        let limit = query.limit.unwrap_or(usual);
        if !(1..=most).contains(&limit) {
            return Err(invalid("limit", "1 to 100").into());
        }
        let mut statuses: Vec<String> = match &query.status {
            Some(text) => text.split(',').map(str::to_owned).collect(),
            None => Vec::new(),
        };
        let known = statuses_of(kind);
        if let Some(unknown) = statuses.iter().find(|it| !known.contains(&it.as_str())) {
            let problem = format!("{unknown:?} is none of {}", known.join(", "));
            return Err(invalid("status", &problem).into());
        }
        let on_duty = DutyStatus::OnDuty.to_string();
        if kind == Kind::Driver && statuses.contains(&on_duty) {
            statuses.extend(ON_DUTY_BEFORE.map(str::to_owned));
        }
        let after = query.before.as_deref().map(parse_cursor).transpose()?;
        let view_query =
            ViewQuery { statuses, rider, driver, after, ..ViewQuery::newest(kind, limit) };
        let read = self.rows_within(view_query, &by.scope).await;
        let (rows, next) = read.map_err(|error| {
            tracing::warn!(%error, "a list could not be read");
            super::unavailable()
        })?;
        let next = next.map(|(at, id)| cursor(at, id));
        let is_on_duty =
            |row: &ViewRow| kind == Kind::Driver && ON_DUTY_BEFORE.contains(&row.status.as_str());
        let items = rows
            .into_iter()
            .map(|(key, row)| Row {
                id: key.to_string(),
                status: if is_on_duty(&row) { on_duty.clone() } else { row.status },
                at: row.at,
                rider: row.rider,
                driver: row.driver,
                body: without_code(row.body),
            })
            .collect();
        Ok(Json(Page { items, next }))
    }
}

/// What builds of before wrote in the rows of drivers who were on duty, until these next commit something.
const ON_DUTY_BEFORE: [&str; 4] = ["available", "offered", "partly_busy", "busy"];

/// The statuses that rows of a kind may have.
fn statuses_of(kind: Kind) -> Vec<&'static str> {
    fn all<S: IntoEnumIterator + Into<&'static str>>() -> Vec<&'static str> {
        S::iter().map(Into::into).collect()
    }
    match kind {
        Kind::Order => all::<OrderStatus>(),
        Kind::Rescue => all::<RescueStatus>(),
        Kind::Driver => all::<DutyStatus>(),
        Kind::Incident => all::<IncidentStatus>(),
        Kind::Run => all::<RunStatus>(),
        Kind::Zone => vec![zone::PAUSED, zone::SCARCE, zone::OPEN],
        Kind::Rule => vec![rule::SET, rule::OVER, rule::REMOVED],
        Kind::Template => {
            vec![template::SET, template::DUE, template::PAUSED, template::OVER, template::REMOVED]
        }
        Kind::Revocation => vec![revocation::IN_FORCE, revocation::LAPSED],
        // They are in no list.
        Kind::Rider => Vec::new(),
    }
}

/// Which rows of a list.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ListQuery {
    /// In any of these statuses, separated by commas.
    status: Option<String>,
    /// Of this rider; staff only, riders see their own.
    rider: Option<String>,
    /// Of this driver; staff only, drivers see their own.
    driver: Option<String>,
    /// At most this many; 1 to 100, 20 if absent.
    limit: Option<usize>,
    /// What `next` of the page before said.
    before: Option<String>,
}

/// Where a place is.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Whereabouts {
    /// Degrees north.
    pub(super) lat: f64,
    /// Degrees east.
    pub(super) lon: f64,
}

impl Whereabouts {
    pub(super) fn point(&self) -> Result<Point, Refused> {
        let is_on_earth =
            (-90.0..=90.0).contains(&self.lat) && (-180.0..=180.0).contains(&self.lon);
        match is_on_earth {
            true => Ok(Point { lat: self.lat, lon: self.lon }),
            false => Err(invalid("lat, lon", "not on earth")),
        }
    }
}

/// A page of a list, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Page {
    items: Vec<Row>,
    /// Give this as `before` for the next page; absent on the last.
    #[serde(skip_serializing_if = "Option::is_none")]
    next: Option<String>,
}

/// One row of a list.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Row {
    /// Its id in display form.
    id: String,
    /// Where it is in its life.
    status: String,
    /// When it began; of a driver, since when it works, or has not (0: it never did).
    at: Timestamp,
    /// Whose.
    rider: Option<RiderId>,
    /// Who performs it.
    driver: Option<DriverId>,
    /// What lists show of it.
    #[schema(value_type = Object)]
    body: serde_json::Value,
}

/// One event of an actor's history.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct HistoryRow {
    /// The version it led to.
    version: u64,
    /// When.
    at: Timestamp,
    /// Its name.
    event: String,
    /// Whose doing it was, if it says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    /// About which driver, if it says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    driver: Option<String>,
    /// Why, if it says so.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// What spoke against it, and was overruled.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    bypassed: Vec<String>,
}

impl HistoryRow {
    /// Of what an event says, what tells who did what to whom, and why.
    fn of(kind: Kind, recorded: Recorded) -> Self {
        let Recorded { version, at, event } = recorded;
        // One that only a newer build can read has a name all the same.
        let said = event.to_json(kind).ok().map(innermost).unwrap_or_default();
        let text = |field: &str| {
            // What was planned says so in its plan.
            let value = said.get(field).or_else(|| said.get("plan")?.get(field))?;
            // A principal with an id is a map of its role to it.
            let value = value.as_object().and_then(|map| map.values().next()).unwrap_or(value);
            value.as_str().filter(|it| !it.is_empty()).map(str::to_owned)
        };
        let bypassed = said.get("bypassed").and_then(serde_json::Value::as_array);
        let bypassed = bypassed.into_iter().flatten().filter_map(|it| it.as_str());
        Self {
            version: version.0,
            at,
            by: text("by"),
            driver: text("driver"),
            // What people wrote is why somebody was told.
            reason: text("reason").or_else(|| text("text")),
            bypassed: bypassed.map(str::to_owned).collect(),
            event: event.name,
        }
    }
}

/// What is inside the names of an event: a map of one entry, or of one in another.
fn innermost(event: serde_json::Value) -> serde_json::Value {
    let only = event.as_object().filter(|map| map.len() == 1).and_then(|map| map.values().next());
    match only.filter(|it| it.is_object()).cloned() {
        Some(inner) => innermost(inner),
        None => event,
    }
}

/// Which part of a history.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct HistoryQuery {
    /// After this version; from the beginning, if absent.
    after: Option<u64>,
    /// At most this many; 1 to 500, 100 if absent.
    limit: Option<usize>,
}

fn cursor(at: Timestamp, id: Uuid) -> String {
    format!("{}.{}", at.0, id.simple())
}

fn parse_cursor(text: &str) -> Result<(Timestamp, Uuid), Refused> {
    text.split_once('.')
        .and_then(|(at, id)| Some((Timestamp(at.parse().ok()?), Uuid::try_parse(id).ok()?)))
        .ok_or_else(|| invalid("before", "not what a page said"))
}

/// The start code is for the rider alone, and lists do not ask who reads them.
fn without_code(mut body: serde_json::Value) -> serde_json::Value {
    if let Some(body) = body.as_object_mut() {
        body.remove("code");
    }
    body
}

/// What a trip would cost, and a promise that it will.
#[utoipa::path(
    post, path = "/v1/quotes", tag = "orders", security(("bearer" = [])),
    request_body = QuoteRequest,
    responses(
        (status = 200, body = Quote), (status = 401, body = Refused), (status = 403, body = Refused),
        (status = 422, body = Refused)
    )
)]
pub(super) async fn quote(
    State(gate): State<Arc<Gate>>,
    Caller(by): Caller,
    Body(request): Body<QuoteRequest>,
) -> Result<Json<Quote>, Answered> {
    let translator = &gate.translator;
    translate::check_start(request.start_at, gate.system.now())?;
    translator.check_stops(&request.stops, 2)?;
    check_place(&by.scope, request.stops[0].at)?;
    translator.check_area(request.stops[0].at)?;
    translator.check_zone(request.stops[0].at, request.start_at)?;
    let quote =
        translator.prices.promise(&request, by.who, gate.system.now()).map_err(|error| {
            tracing::error!(%error, "no quote could be signed");
            Refused::new(Code::Internal, "a fault of ours")
        })?;
    Ok(Json(quote))
}

/// Places an order. The answer names it; follow it on the socket or read it.
#[utoipa::path(
    post, path = "/v1/orders", tag = "orders", security(("bearer" = [])),
    request_body = NewOrder,
    params(("Idempotency-Key" = Option<String>, Header, description = "a UUIDv7, or any text of at most 64 characters")),
    responses(
        (status = 201, body = Done), (status = 401, body = Refused), (status = 403, body = Refused),
        (status = 409, body = Refused), (status = 422, body = Refused), (status = 429, body = Refused)
    )
)]
pub(super) async fn place_order(
    State(gate): State<Arc<Gate>>,
    Caller(by): Caller,
    key: Key,
    Body(order): Body<NewOrder>,
) -> Result<Response, Answered> {
    let done = gate.wish(by, key, Wish::PlaceOrder(Box::new(order))).await?;
    Ok(created("/v1/orders/", done))
}

/// Orders, newest first: one's own, or all of them for staff.
#[utoipa::path(
    get, path = "/v1/orders", tag = "orders", security(("bearer" = [])), params(ListQuery),
    responses((status = 200, body = Page), (status = 401, body = Refused), (status = 422, body = Refused))
)]
pub(super) async fn list_orders(
    State(gate): State<Arc<Gate>>,
    Caller(by): Caller,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Page>, Answered> {
    gate.list(Kind::Order, by, query).await
}

/// One order.
#[utoipa::path(
    get, path = "/v1/orders/{id}", tag = "orders", security(("bearer" = [])),
    params(("id" = String, Path, description = "order-…")),
    responses((status = 200, body = OrderView), (status = 401, body = Refused), (status = 404, body = Refused))
)]
pub(super) async fn show_order(
    State(gate): State<Arc<Gate>>,
    Caller(by): Caller,
    Named(id): Named,
) -> Result<Response, Answered> {
    gate.show(id_of::<OrderId>(&id)?.into(), by).await
}

/// Does something to an order.
#[utoipa::path(
    post, path = "/v1/orders/{id}/actions", tag = "orders", security(("bearer" = [])),
    request_body = OrderAction,
    params(
        ("id" = String, Path, description = "order-…"),
        ("Idempotency-Key" = Option<String>, Header, description = "a UUIDv7, or any text of at most 64 characters")
    ),
    responses(
        (status = 200, body = Done), (status = 401, body = Refused), (status = 404, body = Refused),
        (status = 409, body = Refused), (status = 410, body = Refused), (status = 422, body = Refused)
    )
)]
pub(super) async fn act_on_order(
    State(gate): State<Arc<Gate>>,
    asker: Urgent,
    id: Result<Named, Answered>,
    key: Result<Key, Answered>,
    action: Result<Body<OrderAction>, Answered>,
) -> Result<Json<Done>, Answered> {
    let wish = action_on(id, action).map(|(id, action)| Wish::Order { id, action });
    Ok(Json(gate.wish_in_time(asker, key, wish).await?))
}

/// Asks for help.
#[utoipa::path(
    post, path = "/v1/rescues", tag = "rescues", security(("bearer" = [])),
    request_body = NewRescue,
    params(("Idempotency-Key" = Option<String>, Header, description = "a UUIDv7, or any text of at most 64 characters")),
    responses(
        (status = 201, body = Done), (status = 401, body = Refused), (status = 403, body = Refused),
        (status = 409, body = Refused), (status = 422, body = Refused), (status = 429, body = Refused)
    )
)]
pub(super) async fn request_rescue(
    State(gate): State<Arc<Gate>>,
    Caller(by): Caller,
    key: Key,
    Body(rescue): Body<NewRescue>,
) -> Result<Response, Answered> {
    let done = gate.wish(by, key, Wish::RequestRescue(Box::new(rescue))).await?;
    Ok(created("/v1/rescues/", done))
}

/// Rescues, newest first: one's own, or all of them for staff.
#[utoipa::path(
    get, path = "/v1/rescues", tag = "rescues", security(("bearer" = [])), params(ListQuery),
    responses((status = 200, body = Page), (status = 401, body = Refused), (status = 422, body = Refused))
)]
pub(super) async fn list_rescues(
    State(gate): State<Arc<Gate>>,
    Caller(by): Caller,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Page>, Answered> {
    gate.list(Kind::Rescue, by, query).await
}

/// One rescue.
#[utoipa::path(
    get, path = "/v1/rescues/{id}", tag = "rescues", security(("bearer" = [])),
    params(("id" = String, Path, description = "rescue-…")),
    responses((status = 200, body = RescueView), (status = 401, body = Refused), (status = 404, body = Refused))
)]
pub(super) async fn show_rescue(
    State(gate): State<Arc<Gate>>,
    Caller(by): Caller,
    Named(id): Named,
) -> Result<Response, Answered> {
    gate.show(id_of::<RescueId>(&id)?.into(), by).await
}

/// Does something to a rescue.
#[utoipa::path(
    post, path = "/v1/rescues/{id}/actions", tag = "rescues", security(("bearer" = [])),
    request_body = RescueAction,
    params(
        ("id" = String, Path, description = "rescue-…"),
        ("Idempotency-Key" = Option<String>, Header, description = "a UUIDv7, or any text of at most 64 characters")
    ),
    responses(
        (status = 200, body = Done), (status = 401, body = Refused), (status = 404, body = Refused),
        (status = 409, body = Refused), (status = 410, body = Refused), (status = 422, body = Refused)
    )
)]
pub(super) async fn act_on_rescue(
    State(gate): State<Arc<Gate>>,
    asker: Urgent,
    id: Result<Named, Answered>,
    key: Result<Key, Answered>,
    action: Result<Body<RescueAction>, Answered>,
) -> Result<Json<Done>, Answered> {
    let wish = action_on(id, action).map(|(id, action)| Wish::Rescue { id, action });
    Ok(Json(gate.wish_in_time(asker, key, wish).await?))
}

/// Drivers, for staff: those who came or went last first, also those who are off duty. `status` is what each means to do (any of
/// `on_duty`, `leaving`, `on_break`, `unreachable`, `blocked`, `offline`) and `at` since when it works, or has not; 0 if it never
/// did. What it does just now its own view and the board tell.
#[utoipa::path(
    get, path = "/v1/drivers", tag = "drivers", security(("bearer" = [])), params(ListQuery),
    responses(
        (status = 200, body = Page), (status = 401, body = Refused), (status = 403, body = Refused),
        (status = 422, body = Refused)
    )
)]
pub(super) async fn list_drivers(
    State(gate): State<Arc<Gate>>,
    caller: Caller,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Page>, Answered> {
    caller.staff()?;
    gate.list(Kind::Driver, caller.0, query).await
}

/// One driver: oneself, or anyone for staff.
#[utoipa::path(
    get, path = "/v1/drivers/{id}", tag = "drivers", security(("bearer" = [])),
    params(("id" = String, Path, description = "driver-…")),
    responses((status = 200, body = DriverView), (status = 401, body = Refused), (status = 404, body = Refused))
)]
pub(super) async fn show_driver(
    State(gate): State<Arc<Gate>>,
    Caller(by): Caller,
    Named(id): Named,
) -> Result<Response, Answered> {
    gate.show(id_of::<DriverId>(&id)?.into(), by).await
}

/// Does something to a driver.
#[utoipa::path(
    post, path = "/v1/drivers/{id}/actions", tag = "drivers", security(("bearer" = [])),
    request_body = DriverAction,
    params(
        ("id" = String, Path, description = "driver-…"),
        ("Idempotency-Key" = Option<String>, Header, description = "a UUIDv7, or any text of at most 64 characters")
    ),
    responses(
        (status = 200, body = Done), (status = 401, body = Refused), (status = 404, body = Refused),
        (status = 409, body = Refused), (status = 410, body = Refused), (status = 422, body = Refused)
    )
)]
pub(super) async fn act_on_driver(
    State(gate): State<Arc<Gate>>,
    Caller(by): Caller,
    Named(id): Named,
    key: Key,
    Body(action): Body<DriverAction>,
) -> Result<Json<Done>, Answered> {
    let id = Some(id_of(&id)?);
    Ok(Json(gate.wish(by, key, Wish::Driver { id, action }).await?))
}

/// One rider: oneself, or anyone for staff.
#[utoipa::path(
    get, path = "/v1/riders/{id}", tag = "riders", security(("bearer" = [])),
    params(("id" = String, Path, description = "rider-…")),
    responses((status = 200, body = RiderView), (status = 401, body = Refused), (status = 404, body = Refused))
)]
pub(super) async fn show_rider(
    State(gate): State<Arc<Gate>>,
    Caller(by): Caller,
    Named(id): Named,
) -> Result<Response, Answered> {
    gate.show(id_of::<RiderId>(&id)?.into(), by).await
}

/// Does something to a rider. Staff only.
#[utoipa::path(
    post, path = "/v1/riders/{id}/actions", tag = "riders", security(("bearer" = [])),
    request_body = RiderAction,
    params(
        ("id" = String, Path, description = "rider-…"),
        ("Idempotency-Key" = Option<String>, Header, description = "a UUIDv7, or any text of at most 64 characters")
    ),
    responses(
        (status = 200, body = Done), (status = 401, body = Refused), (status = 403, body = Refused),
        (status = 404, body = Refused), (status = 422, body = Refused)
    )
)]
pub(super) async fn act_on_rider(
    State(gate): State<Arc<Gate>>,
    Caller(by): Caller,
    Named(id): Named,
    key: Key,
    Body(action): Body<RiderAction>,
) -> Result<Json<Done>, Answered> {
    let id = id_of(&id)?;
    Ok(Json(gate.wish(by, key, Wish::Rider { id, action }).await?))
}

/// Which moment of an actor.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ActorQuery {
    /// As of this version, made anew from its events; as it is now, if absent.
    version: Option<u64>,
}

/// Everything one actor remembers, or remembered. Staff only; of rules and revocations, admins only.
#[utoipa::path(
    get, path = "/v1/actors/{id}", tag = "actors", security(("bearer" = [])),
    params(("id" = String, Path, description = "any id in display form"), ActorQuery),
    responses(
        (status = 200, body = Object), (status = 401, body = Refused), (status = 403, body = Refused),
        (status = 404, body = Refused), (status = 413, body = Refused), (status = 422, body = Refused)
    )
)]
pub(super) async fn show_actor(
    State(gate): State<Arc<Gate>>,
    caller: Caller,
    Named(id): Named,
    query: Result<Query<ActorQuery>, QueryRejection>,
) -> Result<Response, Answered> {
    caller.staff()?;
    let Query(query) =
        query.map_err(|rejection| Refused::new(Code::Invalid, rejection.body_text()))?;
    let key = EntityKey::parse(&id).ok_or_else(|| not_found(&id))?;
    caller.reader_of(key)?;
    gate.check_sight(key, &caller.0).await?;
    let view = match query.version {
        Some(version) => gate.as_of(key, Version(version)).await?,
        None => gate.translator.whole(key).await?,
    };
    Ok(Json(view).into_response())
}

/// What happened to one actor, oldest first: its audit, with who did what and why. Staff only; of rules and revocations, admins only.
#[utoipa::path(
    get, path = "/v1/actors/{id}/history", tag = "actors", security(("bearer" = [])),
    params(("id" = String, Path, description = "any id in display form"), HistoryQuery),
    responses(
        (status = 200, body = Vec<HistoryRow>), (status = 401, body = Refused),
        (status = 403, body = Refused), (status = 404, body = Refused)
    )
)]
pub(super) async fn actor_history(
    State(gate): State<Arc<Gate>>,
    caller: Caller,
    Named(id): Named,
    query: Result<Query<HistoryQuery>, QueryRejection>,
) -> Result<Json<Vec<HistoryRow>>, Answered> {
    caller.staff()?;
    let Query(query) =
        query.map_err(|rejection| Refused::new(Code::Invalid, rejection.body_text()))?;
    let key = EntityKey::parse(&id).ok_or_else(|| not_found(&id))?;
    caller.reader_of(key)?;
    gate.check_sight(key, &caller.0).await?;
    let (most, usual) = HISTORY_ROWS;
    let limit = query.limit.unwrap_or(usual);
    if !(1..=most).contains(&limit) {
        return Err(invalid("limit", "1 to 500").into());
    }
    let after = Version(query.after.unwrap_or(0));
    let history = gate.system.journal().history(key, after, limit).await.map_err(|error| {
        tracing::warn!(%error, "a history could not be read");
        super::unavailable()
    })?;
    if history.is_empty() && after == Version(0) {
        return Err(not_found(&id).into());
    }
    Ok(Json(history.into_iter().map(|recorded| HistoryRow::of(key.kind, recorded)).collect()))
}

/// Gives an actor that fell again and again, and was set aside (`quarantined`), another chance. Does
/// nothing to any other. Admins only.
#[utoipa::path(
    post, path = "/v1/actors/{id}/release", tag = "actors", security(("bearer" = [])),
    params(("id" = String, Path, description = "any id in display form")),
    responses(
        (status = 204), (status = 401, body = Refused), (status = 403, body = Refused),
        (status = 404, body = Refused), (status = 503, body = Refused)
    )
)]
pub(super) async fn release_actor(
    State(gate): State<Arc<Gate>>,
    caller: Caller,
    Named(id): Named,
) -> Result<StatusCode, Answered> {
    caller.admin()?;
    let key = EntityKey::parse(&id).ok_or_else(|| not_found(&id))?;
    gate.system.release(key).await.map_err(Refused::from)?;
    tracing::info!(entity = %key, "released from quarantine");
    Ok(StatusCode::NO_CONTENT)
}

pub(super) fn created(path: &str, done: Done) -> Response {
    made(&format!("{path}{}", done.actor), Json(done))
}

/// Something that was just made, and where it is from now on.
pub(super) fn made(path: &str, shown: impl IntoResponse) -> Response {
    let mut response = (StatusCode::CREATED, shown).into_response();
    if let Ok(location) = HeaderValue::from_str(path) {
        response.headers_mut().insert(header::LOCATION, location);
    }
    response
}

#[cfg(test)]
mod tests;
