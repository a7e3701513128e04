//! `GET /v1/events`: what the journal committed, shard by shard, for programs that follow it.
//!
//! A consumer keeps the cursor of the last page it is done with. Whatever dies, it asks again with
//! that cursor: at worst a page comes twice, and each event in it has the same shard and number.
#![expect(unused_qualifications, reason = "utoipa writes query types with their path")]

use super::{
    Gate,
    rest::{Answered, Bearer},
    translate::forbidden,
    unavailable,
};
use crate::auth::revoked::revoked;
use actors::journal::feed::{self, FeedCursor, FeedEvent};
use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use protocol::{Code, Refused, Timestamp};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};
use utoipa::{IntoParams, ToSchema};

/// Events of a page: the most, and what is usual.
const PAGE_EVENTS: (usize, usize) = (500, 100);
/// How long a caller may wait for an event.
const WAIT_MAX: Duration = Duration::from_secs(20);
/// What is left of the request's time to answer in.
const ANSWER_TIME: Duration = Duration::from_secs(1);

/// Which events.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EventsQuery {
    /// `next` of the page before; from the beginning, if absent.
    after: Option<String>,
    /// At most this many; 1 to 500, 100 if absent.
    limit: Option<usize>,
    /// Of these shards only, as `0-511`; a cursor already says of which.
    shards: Option<String>,
    /// How long to wait when there are none yet, as `20s`; 20 seconds at most, and always shorter
    /// than a request may take.
    wait: Option<String>,
}

/// A page of events.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct EventPage {
    /// Each shard's in order; those of different shards in none.
    events: Vec<EventRow>,
    /// What to ask for events after these; also when there are none.
    next: String,
}

/// Something that happened.
#[derive(Debug, Serialize, ToSchema)]
struct EventRow {
    /// In whose log it stands.
    shard: u16,
    /// Its number there, without a gap.
    seq: u64,
    /// The ownership of the shard that wrote it.
    epoch: u64,
    /// To whom it happened.
    entity: String,
    /// The version it led to.
    version: u64,
    /// When.
    at: Timestamp,
    /// Its name.
    name: String,
    /// The command it answered.
    #[serde(skip_serializing_if = "Option::is_none")]
    command: Option<String>,
    /// What it says.
    #[schema(value_type = Object)]
    event: serde_json::Value,
}

/// What was committed, in order within each shard, without a gap. Staff only.
#[utoipa::path(
    get, path = "/v1/events", tag = "actors", security(("bearer" = [])),
    params(EventsQuery),
    responses(
        (status = 200, body = EventPage), (status = 401, body = Refused),
        (status = 403, body = Refused), (status = 422, body = Refused)
    )
)]
pub(super) async fn events(
    State(gate): State<Arc<Gate>>,
    bearer: Bearer,
    query: Result<Query<EventsQuery>, QueryRejection>,
) -> Result<Json<EventPage>, Answered> {
    bearer.staff()?;
    if !bearer.0.scope.is_everywhere() {
        // Most events do not say where they happened, and a page without some would have gaps.
        return Err(forbidden("not for those who are told of some regions only").into());
    }
    let Query(query) =
        query.map_err(|rejection| Refused::new(Code::Invalid, rejection.body_text()))?;
    let (most, usual) = PAGE_EVENTS;
    let limit = query.limit.unwrap_or(usual);
    if !(1..=most).contains(&limit) {
        return Err(invalid("limit: 1 to 500").into());
    }
    let mut cursor = cursor_of(&query)?;
    let wait = query.wait.as_deref().map(humantime::parse_duration).transpose();
    let wait = wait.map_err(|_| invalid("wait: a duration, such as 20s"))?.unwrap_or_default();
    let wait = wait.min(WAIT_MAX).min(gate.request_timeout.saturating_sub(ANSWER_TIME));

    let events = tokio::select! {
        read = feed::page(&**gate.system.journal(), &cursor, limit, wait) => {
            read.map_err(|error| {
                tracing::warn!(%error, "the feed could not be read");
                unavailable()
            })?
        }
        // Whoever waits hears now that there is nothing yet, and asks another node.
        () = gate.drain.cancelled() => Vec::new(),
        () = gate.keys.revoked().until(&bearer.0) => return Err(revoked().into()),
    };
    events.iter().for_each(|event| cursor.pass(event));
    let events = events.into_iter().map(row).collect::<Result<_, _>>()?;
    Ok(Json(EventPage { events, next: cursor.to_string() }))
}

fn cursor_of(query: &EventsQuery) -> Result<FeedCursor, Refused> {
    let shards = query.shards.as_deref().map(|text| {
        let (first, last) = text.split_once('-')?;
        FeedCursor::of(first.parse().ok()?..=last.parse().ok()?)
    });
    let wanted = match shards {
        None => None,
        Some(cursor) => {
            Some(cursor.ok_or_else(|| invalid("shards: two of 0 to 1023, such as 0-511"))?)
        }
    };
    let Some(after) = &query.after else { return Ok(wanted.unwrap_or_default()) };
    let cursor: FeedCursor =
        after.parse().map_err(|_| invalid("after: not a cursor of this feed"))?;
    match wanted {
        Some(wanted) if wanted.shards() != cursor.shards() => {
            Err(invalid("shards: not those of the cursor"))
        }
        Some(_) | None => Ok(cursor),
    }
}

fn row(event: FeedEvent) -> Result<EventRow, Refused> {
    let FeedEvent { shard, seq, epoch, entity, command, recorded } = event;
    let mut shown = recorded.event.to_json(entity.kind).map_err(|error| {
        tracing::error!(%entity, version = recorded.version.0, %error, "an unreadable event");
        Refused::new(Code::Internal, "an event cannot be read")
    })?;
    // What a rider tells a driver to prove to be the rider is nobody else's to know.
    if let Some(placement) = shown.pointer_mut("/placed/placement")
        && let Some(placement) = placement.as_object_mut()
    {
        placement.remove("code");
    }
    Ok(EventRow {
        shard: shard.0,
        seq,
        epoch,
        entity: entity.to_string(),
        version: recorded.version.0,
        at: recorded.at,
        name: recorded.event.name,
        command: command.map(|command| command.to_string()),
        event: shown,
    })
}

fn invalid(problem: &str) -> Refused {
    Refused::new(Code::Invalid, problem)
}
