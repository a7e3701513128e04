//! Pausing zones and setting their multipliers, and knowing on every node which are paused or set.
//!
//! What is paused is known in memory (`actors/src/zone.rs`), kept up to date as `replica.rs` says: regions let searches
//! stand still, and what is new is refused here.

use super::{
    Gate,
    front::Question,
    replica::{KEPT_FOR, Replica},
    rest::{Answered, Body, Caller, Key, ListQuery, Named, Page, Whereabouts, id_of},
    scope::{check_place, check_zone_met},
    translate::not_found,
    unavailable,
};
use actors::{
    EntityKey, Kind, Refusal, Version, ViewRow, format,
    zone::{self, Multiplier, OPEN, PAUSED, SCARCE, Standing, Zone},
};
use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use futures_util::future::join_all;
use protocol::{
    Code, Point, Refused, Timestamp, ZoneId,
    frame::Done,
    view::ZonePause,
    work::{Wish, ZoneAction},
};
use serde::Serialize;
use std::{sync::Arc, time::Duration};
use tracing::warn;
use utoipa::ToSchema;

/// Most things that happened to a zone that are looked at for one answer.
const EVENTS_MAX: usize = 500;
/// How long another node has to hear what has become of a zone.
const TELL_WITHIN: Duration = Duration::from_millis(900);

/// Zones, as every node knows them.
#[derive(Debug)]
pub(super) struct Zones;

impl Replica for Zones {
    fn kind(&self) -> Kind {
        Kind::Zone
    }

    fn what(&self) -> &'static str {
        "zones"
    }

    fn statuses(&self) -> &'static [&'static str] {
        &[PAUSED, SCARCE]
    }

    fn settled(&self) -> &'static [&'static str] {
        &[OPEN]
    }

    fn take_in(&self, gate: &Arc<Gate>, rows: &[(EntityKey, ViewRow)]) {
        let all = rows.iter().filter_map(|(key, row)| {
            let standing = Standing::of_row(row);
            if standing.is_none() {
                warn!(%key, "a row that is no zone");
            }
            Some((ZoneId(key.id), standing?))
        });
        gate.take_in_zones(all);
    }

    fn n_known(&self, gate: &Gate) -> usize {
        gate.system.regions().zones().paused().len()
    }

    fn forget(&self, gate: &Gate) {
        gate.system.regions().zones().forget_settled(gate.system.now() - KEPT_FOR);
    }
}

impl Gate {
    /// Takes in what has become of zones.
    pub(super) fn take_in_zones(&self, all: impl IntoIterator<Item = (ZoneId, Standing)>) {
        let zones = self.system.regions().zones();
        if zones.take_in(all) {
            metrics::gauge!("outrider_zones_paused").set(zones.paused().len() as f64);
        }
    }

    /// What this node knows of a zone; none, if it is no cell.
    fn zone_as_it_is(&self, id: ZoneId) -> Option<ZoneAt> {
        let (paused, now) = (self.system.regions().zones().paused(), self.system.now());
        let paused = paused.of(id, now).map(|pause| ZonePause::clone(pause));
        let resolution = zone::cell_of(id)?.resolution().into();
        let zones = self.system.regions().zones();
        let surge = match zones.by_staff(id, now) {
            Some(set) => Some(WrittenDown {
                percent: set.percent,
                at: set.at,
                until: Some(set.until),
                by: Some(set.by.to_string()),
                reason: Some(set.reason),
            }),
            None => zones.counted(id, now).map(|Multiplier { percent, at }| WrittenDown {
                percent,
                at,
                until: None,
                by: None,
                reason: None,
            }),
        };
        Some(ZoneAt { id, resolution, paused, surge, outline: zone::outline_of(id)? })
    }

    /// Something has happened to a zone: this node knows at once, and the others are told. One that does not hear it
    /// finds it within a second.
    pub(super) async fn zone_changed(&self, id: ZoneId) {
        let (_, zone) = match self.system.read::<Zone>(id).await {
            Ok(read) => read,
            // The list has it.
            Err(error) => {
                warn!(%id, %error, "what became of a zone cannot be read");
                return;
            }
        };
        let standing = zone.standing(id);
        self.take_in_zones([(id, standing.clone())]);
        let question = Question::Zones(vec![(id, standing)]);
        let others = self.system.others().into_iter();
        join_all(others.map(|who| self.ask::<()>(who, &question, TELL_WITHIN))).await;
    }
}

/// What whoever wants something there is told.
pub(super) fn paused(pause: ZonePause, now: Timestamp) -> Refused {
    let left_ms = pause.until.map(|until| until.ms_since(now));
    let refused = Refused::from(Refusal::ZonePaused(Box::new(pause)));
    Refused { retry_after_ms: left_ms, ..refused }
}

/// Zones that are paused (`status=paused`), are not and drivers are scarce there or staff have set their multiplier (`scarce`), or were
/// either (`open`), the latest change first. One that is both is `paused`; `surge` in its row tells how scarce drivers are, and `set` what
/// staff say instead. Staff only.
#[utoipa::path(
    get, path = "/v1/zones", tag = "zones", security(("bearer" = [])), params(ListQuery),
    responses(
        (status = 200, body = Page), (status = 401, body = Refused), (status = 403, body = Refused),
        (status = 422, body = Refused)
    )
)]
pub(super) async fn list_zones(
    State(gate): State<Arc<Gate>>,
    caller: Caller,
    query: Result<Query<ListQuery>, QueryRejection>,
) -> Result<Json<Page>, Answered> {
    caller.staff()?;
    gate.list(Kind::Zone, caller.0, query).await
}

/// A zone that a place is in.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ZoneAt {
    /// Which.
    id: ZoneId,
    /// How large: the resolution of its H3 cell, of which 4 is about 1,800 km², 7 about 5, and 9 a tenth of one.
    resolution: u8,
    /// Why nothing begins there, if it is this one that is paused.
    paused: Option<ZonePause>,
    /// Its multiplier: as staff set it, while that lasts, or else as it was last written down, if it was unusual within a day; as usual
    /// since it lapsed, if nobody said it again within an hour. How it came about is in `/v1/actors/{id}/history`. What it is this minute, `/v1/demand` says.
    surge: Option<WrittenDown>,
    /// Its corners, in order.
    outline: Vec<Point>,
}

/// A multiplier as it was written down.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct WrittenDown {
    /// In percent; 100 is usual.
    percent: u32,
    /// When.
    at: Timestamp,
    /// How long it stays so, if staff set it.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
    /// Who did.
    #[serde(skip_serializing_if = "Option::is_none")]
    by: Option<String>,
    /// Why they did.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

/// The zones that a place is in, the largest first, and which of them are paused. Staff only.
#[utoipa::path(
    get, path = "/v1/zones/at", tag = "zones", security(("bearer" = [])), params(Whereabouts),
    responses(
        (status = 200, body = Vec<ZoneAt>), (status = 401, body = Refused), (status = 403, body = Refused),
        (status = 422, body = Refused)
    )
)]
pub(super) async fn zones_at(
    State(gate): State<Arc<Gate>>,
    caller: Caller,
    query: Result<Query<Whereabouts>, QueryRejection>,
) -> Result<Json<Vec<ZoneAt>>, Answered> {
    caller.staff()?;
    let Query(at) =
        query.map_err(|rejection| Refused::new(Code::Invalid, rejection.body_text()))?;
    let at = at.point()?;
    check_place(&caller.0.scope, at)?;
    let told = zone::zones_at(at).filter_map(|id| gate.zone_as_it_is(id));
    Ok(Json(told.collect()))
}

/// Where a zone is, and whether it is paused. Staff only.
#[utoipa::path(
    get, path = "/v1/zones/{id}", tag = "zones", security(("bearer" = [])),
    params(("id" = String, Path, description = "zone-…")),
    responses(
        (status = 200, body = ZoneAt), (status = 401, body = Refused), (status = 403, body = Refused),
        (status = 404, body = Refused)
    )
)]
pub(super) async fn show_zone(
    State(gate): State<Arc<Gate>>,
    caller: Caller,
    Named(id): Named,
) -> Result<Json<ZoneAt>, Answered> {
    caller.staff()?;
    let named = id_of(&id)?;
    let zone = gate.zone_as_it_is(named);
    check_zone_met(&caller.0.scope, named)?;
    Ok(Json(zone.ok_or_else(|| not_found(&id))?))
}

/// A multiplier that was written down.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Surge {
    /// When.
    at: Timestamp,
    /// Who said it: `system` where it follows what is counted.
    by: String,
    /// What was last written down, in percent.
    from_percent: u32,
    /// What it was then; the same, if it was said again.
    to_percent: u32,
    /// Why: `counted`; `restored`, and so less than it had been, where nobody had matched for a while; `lapsed`, where nobody said
    /// it again within an hour; `set`, where staff did; `lifted`, where that is over, and it follows what is counted again.
    cause: String,
    /// In the words of staff, where it is theirs.
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
    /// How long it stays so, where staff set it.
    #[serde(skip_serializing_if = "Option::is_none")]
    until: Option<Timestamp>,
    /// How many requests there were, or soon would be, for each free driver…
    ratio: f64,
    /// … of so many who waited, …
    n_waiting: u32,
    /// … so many who were free, …
    n_free: u32,
    /// … so many requests an hour…
    per_hour: f64,
    /// … and so many that were expected.
    per_hour_soon: f64,
}

impl Surge {
    /// What an event says of a multiplier, if it does.
    fn of(event: &zone::Event) -> Option<Self> {
        match event {
            zone::Event::Surged {
                at,
                by,
                from_percent,
                to_percent,
                ratio,
                count,
                cause,
                reason,
                until,
            } => Some(Self {
                at: *at,
                by: by.to_string(),
                from_percent: *from_percent,
                to_percent: *to_percent,
                cause: cause.to_string(),
                reason: reason.clone(),
                until: *until,
                ratio: *ratio,
                n_waiting: count.n_waiting,
                n_free: count.n_free,
                per_hour: count.per_hour,
                per_hour_soon: count.per_hour_soon,
            }),
            zone::Event::Paused { .. }
            | zone::Event::Resumed { .. }
            | zone::Event::Lapsed { .. } => None,
        }
    }
}

/// How a zone's multiplier came about, oldest first, as it was written down: when it had moved by what matters, every five
/// minutes at most, and every twenty while it is unusual; and when staff set it, or that was over. Of the last 500 things that happened to it. Staff only.
#[utoipa::path(
    get, path = "/v1/zones/{id}/surge", tag = "zones", security(("bearer" = [])),
    params(("id" = String, Path, description = "zone-…")),
    responses(
        (status = 200, body = Vec<Surge>), (status = 401, body = Refused), (status = 403, body = Refused),
        (status = 404, body = Refused)
    )
)]
pub(super) async fn surge_of_zone(
    State(gate): State<Arc<Gate>>,
    caller: Caller,
    Named(id): Named,
) -> Result<Json<Vec<Surge>>, Answered> {
    caller.staff()?;
    let named: ZoneId = id_of(&id)?;
    zone::cell_of(named).ok_or_else(|| not_found(&id))?;
    check_zone_met(&caller.0.scope, named)?;
    let (version, _) = gate.system.read::<Zone>(named).await.map_err(Refused::from)?;
    let after = Version(version.0.saturating_sub(EVENTS_MAX as u64));
    let recorded = gate.system.journal().history(named.into(), after, EVENTS_MAX).await;
    let recorded = recorded.map_err(|error| {
        warn!(%error, "a history could not be read");
        unavailable()
    })?;
    // What only a newer build can read it tells.
    let events = recorded.iter().filter_map(|it| format::decode(&it.event.bytes).ok());
    Ok(Json(events.filter_map(|(event, _)| Surge::of(&event)).collect()))
}

/// Pauses a zone, or lets it go on; sets its multiplier for a while, or lets it follow what is counted. Staff only. What was done to it is in `/v1/actors/{id}/history`.
#[utoipa::path(
    post, path = "/v1/zones/{id}/actions", tag = "zones", security(("bearer" = [])),
    request_body = ZoneAction,
    params(
        ("id" = String, Path, description = "zone-…: the H3 index of its cell, with zeros before it"),
        ("Idempotency-Key" = Option<String>, Header, description = "a UUIDv7, or any text of at most 64 characters")
    ),
    responses(
        (status = 200, body = Done), (status = 401, body = Refused), (status = 403, body = Refused),
        (status = 404, body = Refused), (status = 422, body = Refused)
    )
)]
pub(super) async fn act_on_zone(
    State(gate): State<Arc<Gate>>,
    Caller(by): Caller,
    Named(id): Named,
    key: Key,
    Body(action): Body<ZoneAction>,
) -> Result<Json<Done>, Answered> {
    let id = id_of(&id)?;
    Ok(Json(gate.wish(by, key, Wish::Zone { id, action }).await?))
}
