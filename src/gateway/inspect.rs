//! Looking at sessions while they live: a list of them, and the frames of one. Admins only; every tap leaves two lines
//! in the log, which no filter leaves out.
//!
//! What a session says about itself it says when it is asked: nothing is kept for it. A session on another node is
//! asked through that node.
#![expect(unused_qualifications, reason = "utoipa writes query types with their path")]

use super::{
    Gate,
    front::Question,
    rest::{Answered, Bearer, Named},
    sessions::Wants,
    tap::{Line, Over, Tapping, tap},
    translate::{invalid, not_found},
};
use crate::{
    auth::{Identity, principal_named},
    telemetry::AUDIT,
};
use actors::cluster::Incarnation;
use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
    response::{
        IntoResponse, Response,
        sse::{Event, KeepAlive, Sse},
    },
};
use futures_util::{future::join_all, stream};
use protocol::{Code, Principal, Refused, SessionId, Timestamp, TokenId};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeMap, HashMap, VecDeque},
    convert::Infallible,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::{OwnedSemaphorePermit, Semaphore, oneshot},
    time::{Instant, sleep_until, timeout, timeout_at},
};
use tracing::info;
use utoipa::{IntoParams, ToSchema};

/// Sessions of a page: the most, and what is usual.
const PAGE_SESSIONS: (usize, usize) = (200, 50);
/// How long a session has to say how it is.
const SAY_WITHIN: Duration = Duration::from_millis(500);
/// How long another node has to say how its sessions are.
const ASK_WITHIN: Duration = Duration::from_secs(2);
/// How long a tap lasts: at most, and if nobody says otherwise.
const TAP_LASTS: (Duration, Duration) = (Duration::from_secs(15 * 60), Duration::from_secs(60));
/// Most taps on one node at once, by whomever.
const TAPS_MAX: usize = 16;
/// How long a node that was asked for more waits until there is something.
const HEAR_WITHIN: Duration = Duration::from_millis(300);
/// Most that crosses nodes at once, in bytes of JSON.
const BATCH_BYTES_MAX: usize = 128 * 1_024;
/// A listener on another node that has not asked for so long has gone.
const GONE_AFTER: Duration = Duration::from_secs(10);

/// How a session is.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(crate) struct Inspected {
    /// Which.
    pub(crate) id: SessionId,
    /// Whose, in display form.
    pub(crate) principal: String,
    /// By which token, if that has a name.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) token: Option<TokenId>,
    /// On which node; absent on one that is alone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) node: Option<String>,
    /// Since when it is connected.
    #[schema(value_type = u64)]
    pub(crate) since: Timestamp,
    /// When its client was last heard of.
    #[schema(value_type = u64)]
    pub(crate) heard_at: Timestamp,
    /// The subprotocol it speaks.
    pub(crate) speaks: String,
    /// How many things it follows.
    pub(crate) n_followed: usize,
    /// How many frames wait to be sent to it.
    pub(crate) n_waiting: usize,
    /// How many it has said…
    pub(crate) n_heard: u64,
    /// … and was told.
    pub(crate) n_said: u64,
    /// How many of its commands are under way.
    pub(crate) n_under_way: usize,
    /// Does somebody listen to it?
    pub(crate) is_tapped: bool,
}

/// Which sessions of one node.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(crate) struct Wanted {
    of: Option<Principal>,
    after: Option<SessionId>,
    limit: usize,
}

/// Sessions of one node.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct Rows {
    rows: Vec<Inspected>,
    /// There may be more after this one.
    more_after: Option<SessionId>,
}

/// Which sessions.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct SessionsQuery {
    /// Of this principal only: `rider-…`, `dispatcher`.
    principal: Option<String>,
    /// What `next` of the page before said.
    after: Option<String>,
    /// At most this many; 1 to 200, 50 if absent.
    limit: Option<usize>,
}

/// A page of sessions, in the order in which they were opened, about.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(crate) struct SessionPage {
    /// The sessions.
    pub(crate) items: Vec<Inspected>,
    /// Give this as `after` for the next page; absent on the last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(crate) next: Option<String>,
    /// Nodes that did not answer: their sessions are missing here.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub(crate) silent: Vec<String>,
}

/// For how long.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct FramesQuery {
    /// As `90s`; a minute if absent, 15 minutes at most.
    r#for: Option<String>,
}

/// Sessions on all nodes, those with a token that was believed. Admins only.
#[utoipa::path(
    get, path = "/admin/sessions", tag = "admin", security(("bearer" = [])), params(SessionsQuery),
    responses(
        (status = 200, body = SessionPage), (status = 401, body = Refused),
        (status = 403, body = Refused), (status = 422, body = Refused)
    )
)]
pub(super) async fn sessions(
    State(gate): State<Arc<Gate>>,
    bearer: Bearer,
    query: Result<Query<SessionsQuery>, QueryRejection>,
) -> Result<Json<SessionPage>, Answered> {
    bearer.admin()?;
    let Query(query) =
        query.map_err(|rejection| Refused::new(Code::Invalid, rejection.body_text()))?;
    let of = query.principal.as_deref().map(|name| {
        principal_named(name).ok_or_else(|| invalid("principal", "nobody is called that"))
    });
    let after = query
        .after
        .as_deref()
        .map(|after| after.parse().map_err(|_| invalid("after", "not what a page said")));
    let (most, usual) = PAGE_SESSIONS;
    let limit = query.limit.unwrap_or(usual);
    if !(1..=most).contains(&limit) {
        return Err(invalid("limit", "1 to 200").into());
    }
    let wanted = Wanted { of: of.transpose()?, after: after.transpose()?, limit };
    Ok(Json(gate.sessions_everywhere(wanted).await))
}

/// What one session hears and says from now on, as server-sent events: `frame` for each frame, without tokens,
/// codes and proofs; `end` with a reason, last. Frames there is no room for are left out and counted
/// (`n_dropped`); the session itself is never slowed. Admins only, and the log says who listened to whom.
#[utoipa::path(
    get, path = "/admin/sessions/{id}/frames", tag = "admin", security(("bearer" = [])),
    params(("id" = String, Path, description = "session-…"), FramesQuery),
    responses(
        (status = 200, body = Line, content_type = "text/event-stream"),
        (status = 401, body = Refused), (status = 403, body = Refused), (status = 404, body = Refused),
        (status = 409, body = Refused), (status = 422, body = Refused), (status = 429, body = Refused)
    )
)]
pub(super) async fn frames(
    State(gate): State<Arc<Gate>>,
    bearer: Bearer,
    Named(id): Named,
    query: Result<Query<FramesQuery>, QueryRejection>,
) -> Result<Response, Answered> {
    bearer.admin()?;
    let session: SessionId = id.parse().map_err(|_| not_found(&id))?;
    let Query(query) =
        query.map_err(|rejection| Refused::new(Code::Invalid, rejection.body_text()))?;
    let lasts = query.r#for.as_deref().map(humantime::parse_duration).transpose();
    let (most, usual) = TAP_LASTS;
    let lasts = lasts.map_err(|_| invalid("for", "a duration, such as 90s"))?.unwrap_or(usual);
    if lasts.is_zero() || lasts > most {
        return Err(invalid("for", "15 minutes at most").into());
    }
    let by = bearer.0;
    let source = gate.tap(session, lasts).await?;
    let listening = Listening::begin(gate, by, session, source);
    Ok(Sse::new(events(listening)).keep_alive(KeepAlive::default()).into_response())
}

/// Where the frames come from.
#[derive(Debug)]
enum Source {
    Here(Tapping, #[expect(dead_code, reason = "held until the tap ends")] OwnedSemaphorePermit),
    There { who: Incarnation, tap: u64, n: u64, lines: VecDeque<Line>, over: Option<Over> },
}

/// An operator who listens to a session.
#[derive(Debug)]
struct Listening {
    gate: Arc<Gate>,
    by: Identity,
    session: SessionId,
    source: Source,
    began: Instant,
    n_frames: u64,
    n_dropped: u64,
}

impl Listening {
    fn begin(gate: Arc<Gate>, by: Identity, session: SessionId, source: Source) -> Self {
        metrics::counter!("outrider_taps_total").increment(1);
        let with = by.token.map(|token| token.to_string());
        let is_here = matches!(source, Source::Here(..));
        info!(target: AUDIT, by = %by.principal, with, %session, is_here, "session tapped");
        let began = Instant::now();
        Self { gate, by, session, source, began, n_frames: 0, n_dropped: 0 }
    }

    /// The next frame, or why there is none.
    async fn next(&mut self) -> Result<Line, Over> {
        let Self { gate, by, source, .. } = self;
        let left = by.expires_at.since(gate.system.now());
        let expired = async {
            match Instant::now().checked_add(left) {
                Some(at) => sleep_until(at).await,
                None => std::future::pending().await,
            }
        };
        let line = tokio::select! {
            line = source.next(gate) => line?,
            () = gate.keys.revoked().until(by) => return Err(Over::Unauthenticated),
            () = expired => return Err(Over::Unauthenticated),
            () = gate.drain.cancelled() => return Err(Over::Draining),
        };
        self.n_frames += 1;
        self.n_dropped += line.n_dropped;
        Ok(line)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        let Self { by, session, n_frames, n_dropped, .. } = self;
        let with = by.token.map(|token| token.to_string());
        let seconds = self.began.elapsed().as_secs();
        info!(
            target: AUDIT,
            by = %by.principal, with, %session, n_frames, n_dropped, seconds,
            "session not tapped any more"
        );
    }
}

impl Source {
    async fn next(&mut self, gate: &Arc<Gate>) -> Result<Line, Over> {
        match self {
            Self::Here(tapping, _) => tapping.next().await,
            Self::There { who, tap, n, lines, over } => loop {
                if let Some(line) = lines.pop_front() {
                    return Ok(line);
                }
                if let Some(over) = over {
                    return Err(*over);
                }
                // Asked again after this was dropped half-way, it is the same question.
                let question = Question::Hear { tap: *tap, n: *n };
                let heard: Option<Heard> = gate.ask(*who, &question, ASK_WITHIN).await;
                let Some(heard) = heard else { return Err(Over::Lost) };
                *n += 1;
                lines.extend(heard.lines);
                *over = heard.over;
            },
        }
    }
}

/// What a listener is sent.
fn events(listening: Listening) -> impl stream::Stream<Item = Result<Event, Infallible>> + Send {
    stream::unfold(Some(listening), |listening| async move {
        let mut listening = listening?;
        match listening.next().await {
            Ok(line) => {
                let event = Event::default().event("frame").json_data(&line);
                Some((Ok(event.unwrap_or_default()), Some(listening)))
            }
            Err(why) => {
                let event = Event::default().event("end").data(why.word());
                Some((Ok(event), None))
            }
        }
    })
}

/// Sessions here that operators on other nodes listen to, and room for all who listen to one here.
#[derive(Debug)]
pub(super) struct Taps {
    room: Arc<Semaphore>,
    far: Mutex<Far>,
}

#[derive(Debug, Default)]
struct Far {
    last: u64,
    taps: HashMap<u64, Arc<FarTap>>,
}

/// One listener on another node.
#[derive(Debug)]
struct FarTap {
    state: tokio::sync::Mutex<FarState>,
    asked_at: Mutex<Instant>,
    _room: OwnedSemaphorePermit,
}

#[derive(Debug)]
struct FarState {
    tapping: Tapping,
    /// What was answered last: the answer may have been lost, and is asked for again then.
    last: Option<(u64, Heard)>,
}

/// What a session has heard and said since somebody asked.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub(super) struct Heard {
    lines: Vec<Line>,
    /// Why there will be no more.
    over: Option<Over>,
}

impl Default for Taps {
    fn default() -> Self {
        Self { room: Arc::new(Semaphore::new(TAPS_MAX)), far: Mutex::default() }
    }
}

impl Taps {
    fn keep(&self, tapping: Tapping, room: OwnedSemaphorePermit) -> u64 {
        let mut far = self.far();
        far.last += 1;
        let tap = far.last;
        let state = tokio::sync::Mutex::new(FarState { tapping, last: None });
        let asked_at = Mutex::new(Instant::now());
        far.taps.insert(tap, Arc::new(FarTap { state, asked_at, _room: room }));
        tap
    }

    /// Forgets listeners who have not asked for long.
    pub(super) fn forget_gone(&self) {
        self.far().taps.retain(|_, tap| tap.asked_at().elapsed() < GONE_AFTER);
    }

    /// What there is to hear on a tap, soon.
    pub(super) async fn hear(&self, tap: u64, n: u64) -> Heard {
        let Some(far) = self.far().taps.get(&tap).cloned() else {
            return Heard { over: Some(Over::Lost), ..Heard::default() };
        };
        *far.asked_at() = Instant::now();
        let mut state = far.state.lock().await;
        if let Some((last, heard)) = &state.last
            && *last == n
        {
            return heard.clone();
        }
        let heard = state.tapping.batch().await;
        state.last = Some((n, heard.clone()));
        heard
    }

    fn far(&self) -> MutexGuard<'_, Far> {
        // Never held across an await or a panic, so poison means nothing here.
        self.far.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl FarTap {
    fn asked_at(&self) -> MutexGuard<'_, Instant> {
        self.asked_at.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Tapping {
    /// All that waits, or the first that comes, within a moment.
    async fn batch(&mut self) -> Heard {
        let (mut heard, mut n_bytes) = (Heard::default(), 0);
        let until = Instant::now() + HEAR_WITHIN;
        loop {
            match timeout_at(until, self.next()).await {
                Ok(Ok(line)) => {
                    n_bytes += line.frame.to_string().len();
                    heard.lines.push(line);
                }
                Ok(Err(over)) => heard.over = Some(over),
                Err(_elapsed) => {}
            }
            let is_all = self.n_waiting() == 0 || heard.over.is_some();
            if is_all || n_bytes >= BATCH_BYTES_MAX {
                return heard;
            }
        }
    }
}

impl Gate {
    /// Sessions of this node.
    pub(super) async fn inspect(&self, Wanted { of, after, limit }: Wanted) -> Rows {
        let ids = self.known.live(of, after, limit.min(PAGE_SESSIONS.0));
        let more_after = ids.last().copied().filter(|_| ids.len() >= limit);
        let asked = ids.into_iter().map(|id| async move {
            let (to, state) = oneshot::channel();
            // Whoever ends just now is not there.
            let is_asked = self.known.look(id, Wants::State(to));
            if is_asked { timeout(SAY_WITHIN, state).await.ok()?.ok() } else { None }
        });
        let rows = join_all(asked).await.into_iter().flatten().collect();
        Rows { rows, more_after }
    }

    async fn sessions_everywhere(self: &Arc<Self>, wanted: Wanted) -> SessionPage {
        let names = self.node_names();
        let name = |who: Incarnation| names.get(&who).cloned();
        let me = self.system.incarnation();
        let question = &Question::Sessions(wanted);
        let others = self.system.others().into_iter();
        let asked = others
            .map(|who| async move { (who, self.ask::<Rows>(who, question, ASK_WITHIN).await) });
        let (here, there) = tokio::join!(self.inspect(wanted), join_all(asked));
        let mut silent = Vec::new();
        let mut all = vec![(me, here)];
        for (who, rows) in there {
            match rows {
                Some(rows) => all.push((who, rows)),
                None => silent.push(name(who).unwrap_or_else(|| who.to_string())),
            }
        }
        // Where one node has more, what others have beyond that belongs to a later page.
        let until = all.iter().filter_map(|(_, rows)| rows.more_after).min();
        let mut items: Vec<Inspected> = all
            .into_iter()
            .flat_map(|(who, rows)| {
                let node = name(who);
                rows.rows.into_iter().map(move |row| Inspected { node: node.clone(), ..row })
            })
            .filter(|row| until.is_none_or(|until| row.id <= until))
            .collect();
        items.sort_by_key(|row| row.id);
        let is_cut = items.len() > wanted.limit;
        items.truncate(wanted.limit);
        let last = items.last().map(|row| row.id).filter(|_| is_cut);
        SessionPage { items, next: last.or(until).map(|id| id.to_string()), silent }
    }

    pub(super) fn node_names(&self) -> BTreeMap<Incarnation, String> {
        let members = self.system.cluster().map(|view| view.picture.members).unwrap_or_default();
        members.into_iter().map(|(who, member)| (who, member.card.node)).collect()
    }

    async fn tap(self: &Arc<Self>, session: SessionId, lasts: Duration) -> Result<Source, Refused> {
        let is_home = |Incarnation(start): Incarnation| session.is_of(start);
        if is_home(self.system.incarnation()) {
            let (tapping, room) = self.tap_here(session, lasts).await?;
            return Ok(Source::Here(tapping, room));
        }
        let who = self.system.member(is_home).ok_or_else(|| not_found(&session.to_string()))?;
        let lasts_ms = u64::try_from(lasts.as_millis()).unwrap_or(u64::MAX);
        let question = Question::Tap { session, lasts_ms };
        let begun: Option<Result<u64, Refused>> = self.ask(who, &question, ASK_WITHIN * 2).await;
        let tap = begun.unwrap_or_else(|| {
            let message = "the node it is on does not answer";
            Err(Refused::new(Code::Unavailable, message).retry_after_ms(1_000))
        })?;
        Ok(Source::There { who, tap, n: 0, lines: VecDeque::new(), over: None })
    }

    /// Taps a session of this node, for whoever asks on another one.
    pub(super) async fn tap_for(
        &self,
        session: SessionId,
        lasts: Duration,
    ) -> Result<u64, Refused> {
        self.taps.forget_gone();
        let (tapping, room) = self.tap_here(session, lasts.min(TAP_LASTS.0)).await?;
        Ok(self.taps.keep(tapping, room))
    }

    async fn tap_here(
        &self,
        session: SessionId,
        lasts: Duration,
    ) -> Result<(Tapping, OwnedSemaphorePermit), Refused> {
        let room = Arc::clone(&self.taps.room).try_acquire_owned().map_err(|_| {
            let message = "as many sessions of that node are tapped as may be";
            Refused::new(Code::Busy, message).retry_after_ms(5_000)
        })?;
        let unknown = || not_found(&session.to_string());
        let (tap, tapping) = tap(lasts);
        let (answer, answered) = oneshot::channel();
        if !self.known.look(session, Wants::Frames(tap, answer)) {
            return Err(unknown());
        }
        match timeout(ASK_WITHIN, answered).await {
            Ok(Ok(true)) => Ok((tapping, room)),
            Ok(Ok(false)) => {
                Err(Refused::new(Code::Taken, "somebody listens to that session already"))
            }
            Ok(Err(_ended)) => Err(unknown()),
            Err(_elapsed) => {
                let message = "the session is being let in; ask again";
                Err(Refused::new(Code::Unavailable, message).retry_after_ms(1_000))
            }
        }
    }
}
