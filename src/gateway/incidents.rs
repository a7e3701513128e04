//! Calls for help: raising them, and knowing on every node which of them wait for somebody.
//!
//! ```text
//!  a phone ── sos ──► an incident ── commit ──► list of views ◄── every second: who calls? ── each node with staff
//!                          │                                                                       ▲       │
//!                          └──► this node: look now! ── and the others ────────────────────────────┘       └──► pushes
//! ```
//!
//! An incident is an entity like any other, so it is durable before its caller hears yes, and what is in the list is
//! what was committed, whoever owns it and whether or not they are still alive. A node that has dispatchers looks at
//! the list every second, and at once when it is told that there is something new; each of its sessions pushes what
//! it has not pushed (`session/alarms.rs`).

use super::{
    Gate,
    front::Question,
    rest::{Answered, Bearer, Body, Key, ListQuery, Named, Page, Urgent, created, id_of},
    translate,
};
use actors::{
    EntityKey, Kind, Refusal, Version,
    journal::{JournalError, Sort, ViewQuery},
};
use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
    response::Response,
};
use futures_util::future::join_all;
use protocol::{
    CommandId, IncidentId, IncidentStatus, Principal, Refused,
    frame::Done,
    view::IncidentView,
    work::{IncidentAction, Sos, Wish},
};
use std::{
    sync::{
        Arc, Weak,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Notify, watch},
    time::{Instant, timeout},
};
use tracing::warn;

/// How often a node with dispatchers looks for what it was not told.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long one look may take.
const LOOK_WITHIN: Duration = Duration::from_secs(5);
/// How long another node has to hear that there is something to be seen.
const TELL_WITHIN: Duration = Duration::from_millis(900);
/// Most open incidents that are looked at, the latest first.
const SEEN_MAX: usize = 512;
/// How often a call is made anew that could not be made as it was.
const RAISE_TRIES: usize = 4;

/// Those that are not over.
const LIVE: [IncidentStatus; 3] =
    [IncidentStatus::Open, IncidentStatus::Acked, IncidentStatus::Responding];

/// Which incidents call for somebody.
#[derive(Debug)]
pub(super) struct Picture {
    /// When it was looked at.
    pub(super) since: Instant,
    /// The oldest first.
    pub(super) calling: Vec<IncidentView>,
    /// Are these all there are?
    pub(super) is_whole: bool,
}

/// What a node knows of incidents, as long as somebody wants to know.
#[derive(Debug, Default)]
pub(super) struct Incidents {
    picture: watch::Sender<Option<Arc<Picture>>>,
    look: Notify,
    /// Somebody has come who was shown nothing yet.
    has_newcomer: AtomicBool,
    /// Other nodes do not know of what has happened here.
    has_news: AtomicBool,
}

/// A dispatcher's way to hear of them.
pub(super) type Hearing = watch::Receiver<Option<Arc<Picture>>>;

impl Incidents {
    /// Hears of those that call, from the next look on, which is taken at once.
    pub(super) fn hear(&self) -> Hearing {
        let mut hearing = self.picture.subscribe();
        hearing.mark_unchanged();
        self.has_newcomer.store(true, Ordering::Release);
        self.look.notify_one();
        hearing
    }

    /// There is something new.
    pub(super) fn look(&self) {
        self.look.notify_one();
    }

    /// There is, and the other nodes should know.
    fn tell(&self) {
        self.has_news.store(true, Ordering::Release);
        self.look.notify_one();
    }

    fn is_heard(&self) -> bool {
        self.picture.receiver_count() > 0
    }

    fn show(&self, picture: Picture, is_asked: bool) {
        metrics::gauge!("outrider_incidents_calling").set(picture.calling.len() as f64);
        self.picture.send_if_modified(|shown| {
            let was = shown.as_ref().map(|it| (it.is_whole, &it.calling));
            let is_same = was == Some((picture.is_whole, &picture.calling));
            *shown = Some(Arc::new(picture));
            is_asked || !is_same
        });
    }
}

/// Looks whenever there is something to be seen, as long as there is a gate.
pub(super) async fn follow(gate: Weak<Gate>, incidents: Arc<Incidents>) {
    let mut is_blind = false;
    loop {
        // Whether it was called or it is time makes no difference.
        timeout(LOOK_EVERY, incidents.look.notified()).await.ok();
        let Some(gate) = gate.upgrade() else { return };
        if incidents.has_news.swap(false, Ordering::AcqRel) {
            drop(tokio::spawn(tell_others(Arc::clone(&gate))));
        }
        if !incidents.is_heard() {
            continue;
        }
        // Whoever comes while it looks is shown what is seen next.
        let is_asked = incidents.has_newcomer.swap(false, Ordering::AcqRel);
        match gate.read_calling().await {
            Ok(picture) => {
                is_blind = false;
                incidents.show(picture, is_asked);
            }
            Err(error) => {
                if !std::mem::replace(&mut is_blind, true) {
                    warn!(%error, "incidents cannot be read; trying again every second");
                }
                incidents.has_newcomer.fetch_or(is_asked, Ordering::AcqRel);
            }
        }
    }
}

/// Lets the other nodes look. One that does not hear it looks within a second.
async fn tell_others(gate: Arc<Gate>) {
    let others = gate.system.others().into_iter();
    let question = Question::Incidents;
    join_all(others.map(|who| gate.ask::<()>(who, &question, TELL_WITHIN))).await;
}

impl Gate {
    async fn read_calling(&self) -> Result<Picture, JournalError> {
        let since = Instant::now();
        let query = ViewQuery {
            statuses: LIVE.map(|status| status.to_string()).to_vec(),
            sort: Sort::Newest,
            ..ViewQuery::newest(Kind::Incident, SEEN_MAX)
        };
        let read = timeout(LOOK_WITHIN, self.system.journal().views(query)).await;
        let rows = read.unwrap_or_else(|_elapsed| {
            Err(JournalError::Unavailable("no answer in time".to_owned()))
        })?;
        let is_whole = rows.len() < SEEN_MAX;
        let views = rows.into_iter().rev().filter_map(|(key, row)| {
            let view = serde_json::from_value::<IncidentView>(row.body);
            view.inspect_err(|error| warn!(%key, %error, "a row that is no incident")).ok()
        });
        Ok(Picture { since, calling: views.filter(|view| view.calling).collect(), is_whole })
    }

    /// Raises an incident, or finds the one that is open. A device's clock may be wrong, and an id used before:
    /// that keeps nobody from being heard.
    pub(super) async fn raise(
        &self,
        sos: Sos,
        by: Principal,
        id: CommandId,
        patience: Duration,
    ) -> Result<(EntityKey, Version), Refused> {
        let wish = Wish::Sos(sos);
        let wished = translate::wished(&wish);
        let mut id = if translate::check_id(id).is_ok() { id } else { CommandId::mint() };
        let mut tries = 1;
        loop {
            let tell = self.translator.command(wish.clone(), by, id).await?;
            let to = tell.to();
            match self.system.grant(wished, tell, by, id, patience).await {
                Ok(version) => {
                    metrics::counter!("outrider_sos_total").increment(1);
                    return Ok((to, version));
                }
                Err(refusal) if tries >= RAISE_TRIES => {
                    return Err(self.translator.hide(refusal.into(), to, by).await);
                }
                Err(Refusal::CommandExpired | Refusal::CommandIdReused) => id = CommandId::mint(),
                // It was open a moment ago.
                Err(Refusal::IllegalTransition { .. }) => {}
                Err(refusal) => return Err(self.translator.hide(refusal.into(), to, by).await),
            }
            tries += 1;
        }
    }

    /// Something has happened to an incident: whoever wants to know looks.
    pub(super) fn alarm(&self) {
        self.incidents.tell();
    }
}

/// Calls for help. It has a limit of its own, which nobody in danger comes near, and only beyond that counts among other
/// requests; while the caller's last call for that job is open, it is the answer.
#[utoipa::path(
    post, path = "/v1/sos", tag = "incidents", security(("bearer" = [])),
    request_body = Sos,
    params(("Idempotency-Key" = Option<String>, Header, description = "a UUIDv7, or any text of at most 64 characters")),
    responses(
        (status = 201, body = Done), (status = 401, body = Refused), (status = 404, body = Refused),
        (status = 422, body = Refused), (status = 429, body = Refused), (status = 503, body = Refused)
    )
)]
pub(super) async fn raise_sos(
    State(gate): State<Arc<Gate>>,
    asker: Urgent,
    key: Result<Key, Answered>,
    sos: Result<Body<Sos>, Answered>,
) -> Result<Response, Answered> {
    let wish = sos.map(|Body(sos)| Wish::Sos(sos));
    let done = gate.wish_in_time(asker, key, wish).await?;
    Ok(created("/v1/incidents/", done))
}

/// Incidents, newest first. Staff only.
#[utoipa::path(
    get, path = "/v1/incidents", tag = "incidents", security(("bearer" = [])), params(ListQuery),
    responses(
        (status = 200, body = Page), (status = 401, body = Refused), (status = 403, body = Refused),
        (status = 422, body = Refused)
    )
)]
pub(super) async fn list_incidents(
    State(gate): State<Arc<Gate>>,
    bearer: Bearer,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Page>, Answered> {
    bearer.staff()?;
    gate.list(Kind::Incident, bearer.0.asker(), query).await
}

/// One incident: one's own, or any for staff.
#[utoipa::path(
    get, path = "/v1/incidents/{id}", tag = "incidents", security(("bearer" = [])),
    params(("id" = String, Path, description = "incident-…")),
    responses((status = 200, body = IncidentView), (status = 401, body = Refused), (status = 404, body = Refused))
)]
pub(super) async fn show_incident(
    State(gate): State<Arc<Gate>>,
    Bearer(identity): Bearer,
    Named(id): Named,
) -> Result<Response, Answered> {
    gate.show(id_of::<IncidentId>(&id)?.into(), identity.asker()).await
}

/// Does something to an incident. Staff only.
#[utoipa::path(
    post, path = "/v1/incidents/{id}/actions", tag = "incidents", security(("bearer" = [])),
    request_body = IncidentAction,
    params(
        ("id" = String, Path, description = "incident-…"),
        ("Idempotency-Key" = Option<String>, Header, description = "a UUIDv7, or any text of at most 64 characters")
    ),
    responses(
        (status = 200, body = Done), (status = 401, body = Refused), (status = 403, body = Refused),
        (status = 404, body = Refused), (status = 409, body = Refused), (status = 422, body = Refused)
    )
)]
pub(super) async fn act_on_incident(
    State(gate): State<Arc<Gate>>,
    Bearer(identity): Bearer,
    Named(id): Named,
    key: Key,
    Body(action): Body<IncidentAction>,
) -> Result<Json<Done>, Answered> {
    let id = id_of(&id)?;
    Ok(Json(gate.wish(identity.asker(), key, Wish::Incident { id, action }).await?))
}
