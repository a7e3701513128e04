//! Where the world comes in: WebSocket sessions, REST, health and metrics behind one address.
//!
//! ```text
//! GET /v1/ws ──► session ──┐                          (GET and POST /v1/sse, where there can be no WebSocket)
//!                          ├── wish ──► translate ──► system.tell ──► an actor
//! POST /v1/… ──► rest ─────┘
//! ```

mod allowed;
mod attendance;
mod basemap;
pub(crate) mod cluster;
mod commits;
mod connections;
mod console;
mod demand;
mod events;
mod feed;
mod follow;
mod front;
mod health;
mod incidents;
pub(crate) mod inspect;
mod levels;
mod limits;
mod line;
mod live;
mod marks;
mod openapi;
mod orchestrations;
mod past;
pub(crate) mod plans;
mod presence;
mod price;
mod prospect;
mod replica;
mod reprice;
mod residence;
mod rest;
pub(crate) mod revocations;
mod rules;
mod runs;
mod scope;
mod served;
mod session;
mod sessions;
mod shifts;
mod socket;
mod stream;
pub(crate) mod tap;
mod templates;
mod together;
mod translate;
mod turned_away;
mod turns;
mod uses;
mod why;
mod zones;

pub(crate) use openapi::document;
pub(crate) use served::{ASKS, Sent, served};

use crate::{
    auth::{Identity, Keys, scope::Asker, unauthenticated},
    settings::{BoardSettings, GatewaySettings, SessionSettings, Settings, SettingsError},
};
use actors::{EntityKey, Kind, Version, journal::JournalError, runtime::System};
use attendance::Attendance;
use axum::{
    Router,
    extract::{ConnectInfo, DefaultBodyLimit, Query, Request, State, rejection::QueryRejection},
    http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header},
    middleware::{self, Next},
    response::{IntoResponse, Response},
};
use basemap::{ArchiveError, Basemap};
use commits::Commits;
use feed::LastLook;
use futures_util::FutureExt;
use incidents::Incidents;
use inspect::Taps;
use limits::{Limits, Rates, neighbourhood, rate_limited};
use line::Handshake;
use live::Live;
use metrics_exporter_prometheus::PrometheusHandle;
use price::Prices;
use protocol::{
    Code, CommandId, ParseIdError, Refused, Timestamp, ZoneId,
    codec::Codec,
    frame::{Resume, SUBPROTOCOL_JSON, SUBPROTOCOL_MSGPACK},
    work::Wish,
};
use rest::Answered;
use serde::Deserialize;
use sessions::{Room, Sessions};
use socket::Socket;
use std::{
    any::Any,
    io,
    net::SocketAddr,
    path::PathBuf,
    sync::{
        Arc, Weak,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use stream::Streams;
use thiserror::Error;
use tokio::{sync::Semaphore, task::JoinHandle, time::Instant};
use tokio_util::{sync::CancellationToken, task::TaskTracker};
use tower_http::{catch_panic::CatchPanicLayer, set_header::SetResponseHeaderLayer};
use tracing::{error, info, warn};
use translate::Translator;
use turned_away::TurnedAway;
use turns::Turns;
use uses::Uses;
use utoipa::IntoParams;

/// How often durations that were measured are added up.
const COUNT_EVERY: Duration = Duration::from_secs(5);
/// How long after each other sessions are put away that were cut off. A network that fails cuts off thousands at once, and to put
/// all of them away would keep those who are still there waiting; whoever comes back meanwhile waits for nothing.
const RETIRE_EVERY: Duration = Duration::from_millis(1);
/// Largest request body, in bytes.
const BODY_BYTES_MAX: usize = 64 * 1024;

/// Everything that handlers and sessions share.
#[derive(Debug)]
struct Gate {
    system: System,
    keys: Arc<Keys>,
    translator: Translator,
    live: Live,
    limits: Limits,
    session: SessionSettings,
    origins: Vec<String>,
    sessions_max: usize,
    patience: Duration,
    request_timeout: Duration,
    n_sessions: AtomicUsize,
    /// The same for metrics: to look it up for everybody who comes and goes costs more than to set it.
    n_sessions_shown: metrics::Gauge,
    sessions: TaskTracker,
    /// By their ids: to be found again.
    known: Sessions,
    /// Whose turn it is to be put away, of those that were cut off.
    retiring: Turns,
    /// Those of them that hear what is posted.
    streams: Streams,
    /// The node is leaving: nobody new is let in, and everybody is told.
    drain: CancellationToken,
    /// Over how long they are told, if there are other nodes to go to.
    spread: Duration,
    /// Somebody wants the node to leave.
    dismissal: CancellationToken,
    metrics: PrometheusHandle,
    /// Since when this node counts.
    opened_at: Timestamp,
    /// How long commits take, for whoever looks at the cluster.
    commits: Commits,
    /// Of all frames, positions are by far the most; to look their counter up costs more than to count.
    n_positions: metrics::Counter,
    uses: Uses,
    turned_away: TurnedAway,
    /// Sessions here that operators on other nodes listen to.
    taps: Taps,
    /// Which incidents call for somebody.
    incidents: Arc<Incidents>,
    /// What drivers may claim.
    feed: LastLook,
    /// Who of staff has which job open.
    attendance: Arc<Attendance>,
    /// How many more routes may be planned at once.
    plans: Arc<Semaphore>,
    /// So many may look at what could be brought together.
    looks: Arc<Semaphore>,
}

/// What a process serves beside what every gateway does.
#[derive(Debug, Default)]
pub(crate) struct Extra {
    pub(crate) routes: Router,
    /// Paths of these routes that the console asks for first of all.
    pub(crate) early: &'static [&'static str],
}

/// A gateway that is open.
#[derive(Debug)]
pub(crate) struct Gateway {
    address: SocketAddr,
    gate: Arc<Gate>,
    server: JoinHandle<()>,
    close: CancellationToken,
}

/// A gateway that cannot be opened.
#[derive(Debug, Error)]
pub(crate) enum GatewayError {
    /// The address is in use, or not ours.
    #[error("cannot listen on {listen}: {error}")]
    Listen { listen: SocketAddr, error: io::Error },
    /// The preset cannot be used.
    #[error(transparent)]
    Settings(#[from] SettingsError),
    /// The streets it is to show cannot be shown.
    #[error("map.archive: {archive} {error}")]
    Basemap { archive: PathBuf, error: ArchiveError },
    /// Nobody knows whom not to let in, or what not to allow.
    #[error("what is revoked, paused or ruled cannot be read: {0}")]
    Unread(#[from] JournalError),
}

impl Gateway {
    /// Opens the gateway to `system`; what is `extra` is served beside its own.
    pub(crate) async fn open(
        system: System,
        keys: Keys,
        settings: &Settings,
        metrics: PrometheusHandle,
        extra: Extra,
    ) -> Result<Self, GatewayError> {
        let preset = Arc::new(settings.preset()?);
        let basemap = Basemap::open(&settings.map).map_err(|error| GatewayError::Basemap {
            archive: settings.map.archive.clone(),
            error,
        })?;
        let GatewaySettings { listen, .. } = settings.gateway;
        let BoardSettings { every } = settings.board;
        let failed = |error| GatewayError::Listen { listen, error };
        let listener = connections::listen(listen).map_err(failed)?;
        let address = listener.local_addr().map_err(failed)?;

        let drain = CancellationToken::new();
        let keys = Arc::new(keys);
        let streets = system.regions().knows_streets().then(|| system.regions().router());
        let prices = Prices::new(Arc::clone(&preset), settings.estimate, Arc::clone(&keys))
            .by_streets(streets);
        let allowed = &settings.gateway;
        let attendance = Arc::<Attendance>::default();
        let session = &allowed.session;
        let opened_at = system.now();
        let gate = Arc::new(Gate {
            translator: Translator {
                system: system.clone(),
                preset,
                area: Arc::new(settings.area.clone()),
                prices,
            },
            live: Live::start(system.clone(), every, Arc::clone(&attendance), drain.clone()),
            limits: Limits {
                handshakes: Rates::new(allowed.handshakes_per_s, allowed.handshakes_burst),
                requests: Rates::new(allowed.requests_per_s, allowed.requests_burst),
                frames: Rates::new(session.frames_per_s, session.frames_burst),
                commands: Rates::new(session.commands_per_s, session.commands_burst),
                urgent: Rates::new(session.urgent_per_s, session.urgent_burst),
            },
            session: session.clone(),
            origins: allowed.origins.clone(),
            sessions_max: allowed.sessions_max,
            patience: allowed.patience,
            request_timeout: allowed.request_timeout,
            n_sessions: AtomicUsize::new(0),
            n_sessions_shown: metrics::gauge!("outrider_sessions"),
            sessions: TaskTracker::new(),
            known: Sessions::new(
                allowed.resume_within,
                Room { sessions: allowed.suspended_max, bytes: allowed.suspended_bytes_max },
            ),
            retiring: Turns::new(RETIRE_EVERY),
            streams: Streams::default(),
            uses: Uses::default(),
            turned_away: TurnedAway::default(),
            system,
            keys,
            drain,
            spread: settings.drain.spread,
            dismissal: CancellationToken::new(),
            metrics,
            opened_at,
            commits: Commits::default(),
            n_positions: metrics::counter!("outrider_frames_total", "kind" => "position"),
            taps: Taps::default(),
            incidents: Arc::default(),
            feed: LastLook::default(),
            attendance,
            plans: Arc::new(Semaphore::new(allowed.plans_max)),
            looks: Arc::new(Semaphore::new(together::LOOKS_MAX)),
        });
        tokio::spawn(reprice::run(Arc::clone(&gate)));
        drop(tokio::spawn(gate.known.tend()));
        drop(tokio::spawn(count_on(Arc::downgrade(&gate))));
        drop(tokio::spawn(attendance::tell(Arc::downgrade(&gate), Arc::clone(&gate.attendance))));
        gate.system.answer_with(Arc::new(front::Desk(Arc::downgrade(&gate))));
        // Before anybody is let in, and after others can say what is revoked meanwhile.
        let known = Box::pin(replica::load(&gate)).await?;
        drop(tokio::spawn(replica::follow(Arc::downgrade(&gate), known)));
        drop(tokio::spawn(templates::make_days(Arc::downgrade(&gate))));
        let incidents = Arc::clone(&gate.incidents);
        drop(tokio::spawn(incidents::follow(Arc::downgrade(&gate), incidents)));

        let close = CancellationToken::new();
        let connections = connections::Allowed {
            n_max: allowed.connections_max,
            head_within: allowed.head_within,
        };
        let router = router(Arc::clone(&gate), &basemap, extra);
        let serving = connections::serve(listener, router, connections, close.clone());
        let server = tokio::spawn(serving);
        info!(%address, "listening");
        Ok(Self { address, gate, server, close })
    }

    /// Where it listens.
    pub(crate) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Returns once somebody wants the node to leave.
    pub(crate) async fn dismissed(&self) {
        self.gate.dismissal.cancelled().await;
    }

    /// Lets no session in any more, answers what is under way on those there are, and tells them goodbye;
    /// requests are still answered. Returns once all have left, or after `within`.
    pub(crate) async fn leave(&self, within: Duration) {
        self.gate.drain.cancel();
        self.gate.sessions.close();
        if tokio::time::timeout(within, self.gate.sessions.wait()).await.is_err() {
            warn!("some clients did not leave in time");
        }
    }

    /// Answers the requests under way, and no more.
    pub(crate) async fn close(self, within: Duration) {
        self.close.cancel();
        match tokio::time::timeout(within, self.server).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => error!(%error, "listener fell"),
            Err(_) => warn!("some requests did not end in time"),
        }
    }
}

impl Gate {
    /// Does what a client wishes, or says why not. `waited` is how long it has waited for its turn.
    async fn perform(
        &self,
        wish: Wish,
        asker: Asker,
        id: CommandId,
        waited: Duration,
    ) -> Result<(EntityKey, Version), Refused> {
        let by = asker.who;
        let wished = translate::wished(&wish);
        let creates = matches!(wish, Wish::PlaceOrder(_) | Wish::RequestRescue(_));
        let area = &self.translator.area;
        let unserved = turned_away::asked_from(&wish).filter(|from| !area.serves(*from));
        let patience = self.patience.saturating_sub(waited);
        let done = async {
            if let Wish::Sos(sos) = wish {
                let sos = Box::pin(self.sos_within(sos, &asker)).await;
                return Box::pin(self.raise(sos, by, id, self.patience)).await;
            }
            if patience.is_zero() {
                // Nothing has been done.
                let refused = Refused::new(Code::Busy, "what was asked before took too long");
                return Err(refused.retry_after_ms(250));
            }
            translate::check_id(id)?;
            translate::check_fleet(&wish, &asker)?;
            if !asker.scope.is_everywhere() {
                Box::pin(self.check_wish(&wish, &asker, id)).await?;
            }
            let tell = self.translator.command(wish, by, id).await?;
            let to = tell.to();
            match self.system.grant(wished, tell, by, id, patience).await {
                Ok(version) => Ok((to, version)),
                Err(refusal) => Err(self.translator.hide(refusal.into(), to, by).await),
            }
        };
        // What is translated may read from a journal that hangs.
        let done = async {
            match tokio::time::timeout(self.patience + patience, done).await {
                Ok(outcome) => outcome,
                Err(_elapsed) => Err(unavailable()),
            }
        };
        let outcome = if creates {
            // Elsewhere it would be another actor, which has never heard of the first.
            self.uses.once(by, &id.to_string(), wished, Box::pin(done)).await
        } else {
            done.await
        };
        match &outcome {
            Ok((to, _)) if to.kind == Kind::Incident => self.alarm(),
            Ok((to, _)) if to.kind == Kind::Zone => {
                Box::pin(self.zone_changed(ZoneId(to.id))).await;
            }
            Ok(_) | Err(_) => {}
        }
        if let Some(from) = unserved.filter(|_| turned_away::is_turned_away(&outcome)) {
            self.turned_away.note(from, by, id, self.system.now());
        }
        if let Err(refused) = &outcome {
            metrics::counter!("outrider_refusals_total", "code" => refused.code.to_string())
                .increment(1);
        }
        outcome
    }

    /// When it is a session's turn to leave: they do not all knock at the next door at once.
    fn turn_to_leave(&self) -> Instant {
        let has_others = self.system.cluster_size() > 1;
        let spread = if has_others { self.spread } else { Duration::ZERO };
        Instant::now() + spread.mul_f32(rand::random())
    }

    /// Who speaks, by the Authorization header; nobody if there is none.
    fn identity(&self, headers: &HeaderMap) -> Result<Option<Identity>, Refused> {
        bearer(headers)?.map(|token| self.keys.verify(token)).transpose()
    }

    /// Whom a token speaks for, who may want to go on with a session of this node.
    fn believe(&self, token: &str, resume: Option<&Resume>) -> Result<Identity, Refused> {
        let known = resume.and_then(|it| self.known.identity_of(it.session));
        self.keys.recognise(token, known)
    }

    /// Whoever knocks at the door of sessions, unless there is a reason to keep it shut.
    fn let_in(
        &self,
        peer: SocketAddr,
        headers: &HeaderMap,
        query: Result<Query<Opening>, QueryRejection>,
    ) -> Result<Option<(Identity, Option<Resume>)>, Refused> {
        self.limits.handshakes.check(&neighbourhood(peer.ip())).map_err(rate_limited)?;
        if self.drain.is_cancelled() {
            return Err(Refused::new(Code::Draining, "this node is leaving"));
        }
        if !self.is_welcome_origin(headers) {
            return Err(translate::forbidden("not from this origin"));
        }
        self.entering(headers, &opening(query)?)
    }

    /// Who opens a socket, and which session it wants to go on with; nobody, if that comes in a frame.
    fn entering(
        &self,
        headers: &HeaderMap,
        opening: &Opening,
    ) -> Result<Option<(Identity, Option<Resume>)>, Refused> {
        let resume = opening.resume();
        let token = bearer(headers)?.or(opening.token.as_deref());
        let wanted = resume.as_ref().ok().and_then(Option::as_ref);
        let identity = token.map(|token| self.believe(token, wanted)).transpose()?;
        match (identity, resume?) {
            (None, Some(_)) => {
                let message = "without a token, say which session in the first frame";
                Err(Refused::new(Code::Invalid, message))
            }
            (identity, resume) => Ok(identity.map(|identity| (identity, resume))),
        }
    }

    /// Pages may open a socket from where they came from, and from where the settings say.
    fn is_welcome_origin(&self, headers: &HeaderMap) -> bool {
        let Some(origin) = headers.get(header::ORIGIN) else { return true };
        let Ok(origin) = origin.to_str() else { return false };
        let host = headers.get(header::HOST).and_then(|host| host.to_str().ok());
        let own = origin.split_once("://").map(|(_, host)| host);
        (own.is_some() && own == host) || self.origins.iter().any(|allowed| allowed == origin)
    }
}

/// Takes in what was counted, whether or not anybody ever asks for it: every duration that was measured is kept
/// until then.
async fn count_on(gate: Weak<Gate>) {
    while let Some(gate) = gate.upgrade() {
        gate.metrics.run_upkeep();
        drop(gate);
        tokio::time::sleep(COUNT_EVERY).await;
    }
}

/// Nothing is known about what came of it.
fn unavailable() -> Refused {
    let refused = Refused::new(Code::Unavailable, "no answer in time; ask again with the same id");
    refused.retry_after_ms(250)
}

fn router(gate: Arc<Gate>, basemap: &Basemap, extra: Extra) -> Router {
    let fixed = HeaderValue::from_static;
    let headers = [
        (header::X_CONTENT_TYPE_OPTIONS, fixed("nosniff")),
        (header::X_FRAME_OPTIONS, fixed("DENY")),
        (header::REFERRER_POLICY, fixed("no-referrer")),
        (header::CONTENT_SECURITY_POLICY, basemap.policy()),
        (HeaderName::from_static("cross-origin-opener-policy"), fixed("same-origin")),
    ];
    let (rest, _document) = openapi::routes(stream::cross_origin(gate.origins.clone()));
    let mut router = Router::new()
        .merge(rest)
        .merge(console::routes(extra.early))
        .merge(basemap.routes())
        .with_state(Arc::clone(&gate))
        .merge(extra.routes)
        .fallback(|| async { Answered(translate::not_found("this path")) })
        .method_not_allowed_fallback(no_such_method)
        .layer(middleware::from_fn_with_state(Arc::clone(&gate), within_time))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(CatchPanicLayer::custom(fell));
    for (name, value) in headers {
        router = router.layer(SetResponseHeaderLayer::if_not_present(name, value));
    }
    // Past most of that, which is for whoever waits for a page: thousands may knock at this door at once.
    let plain = (header::X_CONTENT_TYPE_OPTIONS, fixed("nosniff"));
    let socket = Router::new()
        .route("/v1/ws", axum::routing::get(upgrade))
        .method_not_allowed_fallback(no_such_method)
        .with_state(gate)
        .layer(CatchPanicLayer::custom(fell))
        .layer(SetResponseHeaderLayer::if_not_present(plain.0, plain.1));
    router.merge(socket)
}

/// Answers a request whose handler panicked.
fn fell(_panic: Box<dyn Any + Send>) -> Response {
    error!("a request handler fell");
    Answered(Refused::new(Code::Internal, "a fault of ours")).into_response()
}

async fn no_such_method() -> Response {
    let refused = Refused::new(Code::Invalid, "this path knows other methods");
    (StatusCode::METHOD_NOT_ALLOWED, axum::Json(refused)).into_response()
}

/// Answers late requests instead of leaving them to hang.
async fn within_time(State(gate): State<Arc<Gate>>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(gate.request_timeout, next.run(request)).await {
        Ok(response) => response,
        Err(_elapsed) => Answered(unavailable()).into_response(),
    }
}

/// What a client may say when it opens a socket, if it cannot say it otherwise.
#[derive(Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
struct Opening {
    /// A bearer token, for clients that can set no header. It is in no log of ours.
    token: Option<String>,
    /// The session to go on with…
    session: Option<String>,
    /// … and how many of its frames arrived.
    heard: Option<u64>,
}

impl Opening {
    /// The session to go on with, if one is named.
    fn resume(&self) -> Result<Option<Resume>, Refused> {
        match (&self.session, self.heard) {
            (Some(session), Some(heard)) => {
                let session = session.parse().map_err(|error: ParseIdError| {
                    Refused::new(Code::Invalid, format!("session: {error}"))
                })?;
                Ok(Some(Resume { session, heard }))
            }
            (None, None) => Ok(None),
            (Some(_), None) | (None, Some(_)) => {
                let message = "session and heard belong together";
                Err(Refused::new(Code::Invalid, message))
            }
        }
    }
}

/// The token of the Authorization header, if there is one.
fn bearer(headers: &HeaderMap) -> Result<Option<&str>, Refused> {
    let Some(value) = headers.get(header::AUTHORIZATION) else { return Ok(None) };
    let token = value
        .to_str()
        .ok()
        .and_then(|text| text.split_once(' '))
        .filter(|(scheme, _)| scheme.eq_ignore_ascii_case("bearer"))
        .map(|(_, token)| token.trim());
    token.map(Some).ok_or_else(unauthenticated)
}

fn opening(query: Result<Query<Opening>, QueryRejection>) -> Result<Opening, Refused> {
    match query {
        Ok(Query(opening)) => Ok(opening),
        Err(rejection) => Err(Refused::new(Code::Invalid, rejection.body_text())),
    }
}

/// There is no seat left.
fn full() -> Refused {
    Refused::new(Code::Unavailable, "too many sessions").retry_after_ms(5_000)
}

/// Opens a session.
async fn upgrade(
    State(gate): State<Arc<Gate>>,
    ConnectInfo(peer): ConnectInfo<SocketAddr>,
    query: Result<Query<Opening>, QueryRejection>,
    mut request: Request,
) -> Response {
    let handshake = match Handshake::of(&mut request) {
        Ok(handshake) => handshake,
        Err(error) => {
            return Answered(Refused::new(Code::Malformed, error.to_string())).into_response();
        }
    };
    let entering = match gate.let_in(peer, request.headers(), query) {
        Ok(entering) => entering,
        Err(refused) => return Answered(refused).into_response(),
    };
    let Some(codec) = offered(request.headers()) else {
        let text = format!("offer the subprotocol {SUBPROTOCOL_MSGPACK} or {SUBPROTOCOL_JSON}");
        return Answered(Refused::new(Code::Malformed, text)).into_response();
    };
    let Some(seat) = Seat::take(&gate) else { return Answered(full()).into_response() };
    let (response, opening) = handshake.answer(Some(codec.subprotocol()));
    drop(tokio::spawn(async move {
        // Whoever is gone by now was not there.
        let Some(line) = opening.await else { return };
        let socket = Socket::new(line, codec, gate.session.queue_max);
        let session = session::run(Arc::clone(&gate), socket, entering);
        let seated = session.map(move |()| drop(seat));
        // The task that shook hands is larger than a session, and ends here.
        drop(gate.sessions.spawn(seated));
    }));
    response
}

/// What a client offers to speak; the shorter of both, if it speaks both.
fn offered(headers: &HeaderMap) -> Option<Codec> {
    let lists = headers.get_all(header::SEC_WEBSOCKET_PROTOCOL).iter();
    let names = lists.filter_map(|list| list.to_str().ok()).flat_map(|list| list.split(','));
    let names: Vec<&str> = names.map(str::trim).collect();
    [Codec::MsgPack, Codec::Json].into_iter().find(|codec| names.contains(&codec.subprotocol()))
}

/// One of the places for sessions; given back when dropped.
#[derive(Debug)]
struct Seat(Arc<Gate>);

impl Seat {
    fn take(gate: &Arc<Gate>) -> Option<Self> {
        let taken = gate.n_sessions.fetch_add(1, Ordering::AcqRel);
        let seat = Self(Arc::clone(gate));
        gate.n_sessions_shown.set(taken as f64 + 1.0);
        (taken < gate.sessions_max).then_some(seat)
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        let left = self.0.n_sessions.fetch_sub(1, Ordering::AcqRel) - 1;
        self.0.n_sessions_shown.set(left as f64);
    }
}
