//! How scarce drivers are, zone by zone, and where somebody is in the queue: told from the regions of whatever node
//! matches in them.
#![expect(unused_qualifications, reason = "utoipa writes query types with their path")]

use super::{
    Gate,
    front::Question,
    rest::{Answered, Caller, Named, Whereabouts, id_of},
    translate::{invalid, not_found},
    why::driver_named,
};
use crate::auth::scope::Asker;
use actors::{
    EntityKey,
    zone::{middle_of, outline_of},
};
use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use matching::surge::USUAL;
use protocol::{
    Code, DriverId, JobId, OrderId, Point, Refused, RescueId, Timestamp, ZoneId,
    frame::ServerFrame, trace::Seen,
};
use serde::{Deserialize, Serialize};
use std::{collections::BTreeMap, sync::Arc};
use utoipa::{IntoParams, ToSchema};

/// Most zones that are told at once.
const ZONES_MAX: usize = 500;
/// How far around a place zones are told, if nobody says otherwise, in metres.
const AROUND_M: u32 = 5_000;
/// … and at most.
const AROUND_M_MAX: u32 = 50_000;

/// Around which place.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct Around {
    /// Degrees north.
    lat: f64,
    /// Degrees east.
    lon: f64,
    /// How far, in metres; 5,000 if absent, 50,000 at most.
    within_m: Option<u32>,
}

/// How scarce drivers are in a zone.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(super) struct Demand {
    /// Which: a cell of about five square kilometres.
    zone: ZoneId,
    /// Its middle.
    at: Point,
    /// Searches that waited for a driver when it was last counted.
    n_waiting: u32,
    /// Drivers who had nothing to do.
    n_free: u32,
    /// How much was asked of late, in requests an hour.
    per_hour: f64,
    /// How much is expected a few minutes later.
    per_hour_soon: f64,
    /// How many requests there are, or soon will be, for each free driver.
    ratio: f64,
    /// The multiplier, in percent; 100 where drivers are not scarce. No price follows it yet.
    surge_percent: u32,
    /// How many asked from there in the last hour, each once however often it did, and were refused, because nobody serves the place.
    /// No multiplier follows from it, and nobody is sent there for it.
    #[serde(default)]
    n_refused: u32,
    /// How long it stays so, whatever is counted, if staff set it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    set_until: Option<Timestamp>,
    /// How it came to be what it is, oldest first: the last sixteen steps that this node saw. What mattered is kept in the zone's
    /// history.
    changes: Vec<SurgeChange>,
    /// Its corners, in order.
    #[serde(default)]
    outline: Vec<Point>,
}

/// A multiplier that became another one, and why.
#[derive(Debug, Clone, Serialize, Deserialize, ToSchema)]
pub(super) struct SurgeChange {
    /// When.
    at: Timestamp,
    /// What it was, in percent.
    from_percent: u32,
    /// What it became.
    to_percent: u32,
    /// How many requests there were for each free driver…
    ratio: f64,
    /// … of so many who waited, …
    n_waiting: u32,
    /// … so many who were free, …
    n_free: u32,
    /// … and so many requests an hour that were expected.
    per_hour_soon: f64,
    /// What it follows: `counted`, or `restored`: what was written down before this node began to match there, less the older that
    /// was.
    #[serde(default)]
    cause: String,
}

/// What is waiting for a driver.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Waiting {
    /// Which of those who wait around there it is, from 1. Who is nearer to a driver may be served before.
    position: usize,
    /// How many wait.
    n_waiting: usize,
    /// How long the driver who would come if one had to be chosen now would take, in seconds; absent if there is none.
    #[serde(skip_serializing_if = "Option::is_none")]
    eta_s: Option<u32>,
    /// One time in ten it takes less than this…
    #[serde(skip_serializing_if = "Option::is_none")]
    eta_low_s: Option<u32>,
    /// … and one in ten more than this.
    #[serde(skip_serializing_if = "Option::is_none")]
    eta_high_s: Option<u32>,
}

/// How scarce drivers are in the zones around a place, nearest first: what is counted, what is expected, the multiplier and how
/// it came about. Staff only.
#[utoipa::path(
    get, path = "/v1/demand", tag = "zones", security(("bearer" = [])), params(Around),
    responses(
        (status = 200, body = Vec<Demand>), (status = 401, body = Refused), (status = 403, body = Refused),
        (status = 422, body = Refused)
    )
)]
pub(super) async fn around(
    State(gate): State<Arc<Gate>>,
    caller: Caller,
    query: Result<Query<Around>, QueryRejection>,
) -> Result<Json<Vec<Demand>>, Answered> {
    caller.staff()?;
    let Query(Around { lat, lon, within_m }) =
        query.map_err(|rejection| Refused::new(Code::Invalid, rejection.body_text()))?;
    let from = Whereabouts { lat, lon }.point()?;
    let within_m = within_m.unwrap_or(AROUND_M);
    if within_m > AROUND_M_MAX {
        return Err(invalid("within_m", "50,000 at most").into());
    }
    let (there, _silent) = gate.elsewhere::<Vec<Demand>>(&Question::Demand).await;
    let all = together(there.into_iter().flatten().chain(gate.demand())).into_values();
    let distance_m = |it: &Demand| from.distance_m(it.at);
    let is_told = |it: &Demand| caller.0.scope.meets(it.zone);
    let near = all.filter(|it| distance_m(it) <= f64::from(within_m) && is_told(it));
    let mut near: Vec<Demand> = near.collect();
    near.sort_by(|a, b| distance_m(a).total_cmp(&distance_m(b)));
    near.truncate(ZONES_MAX);
    // Only here, so that nodes need not tell each other.
    for it in &mut near {
        it.outline = outline_of(it.zone).unwrap_or_default();
    }
    Ok(Json(near))
}

/// Where an order is among those who wait for a driver around there, and how far away the next driver is. For whoever
/// may see it; not found once it has a driver.
#[utoipa::path(
    get, path = "/v1/orders/{id}/queue", tag = "orders", security(("bearer" = [])),
    params(("id" = String, Path, description = "order-…")),
    responses((status = 200, body = Waiting), (status = 401, body = Refused), (status = 404, body = Refused))
)]
pub(super) async fn queue_of_order(
    State(gate): State<Arc<Gate>>,
    Caller(by): Caller,
    Named(id): Named,
) -> Result<Json<Waiting>, Answered> {
    let id = id_of::<OrderId>(&id)?;
    Ok(Json(gate.waiting(JobId::Order(id), id.into(), &by).await?))
}

/// The same of a rescue.
#[utoipa::path(
    get, path = "/v1/rescues/{id}/queue", tag = "rescues", security(("bearer" = [])),
    params(("id" = String, Path, description = "rescue-…")),
    responses((status = 200, body = Waiting), (status = 401, body = Refused), (status = 404, body = Refused))
)]
pub(super) async fn queue_of_rescue(
    State(gate): State<Arc<Gate>>,
    Caller(by): Caller,
    Named(id): Named,
) -> Result<Json<Waiting>, Answered> {
    let id = id_of::<RescueId>(&id)?;
    Ok(Json(gate.waiting(JobId::Rescue(id), id.into(), &by).await?))
}

/// Where a driver stands in line.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
pub(super) struct Turn {
    /// At which rank: an airport, a station.
    rank: String,
    /// Whose turn it is before: 1 is next.
    position: usize,
    /// How many stand there.
    n_waiting: usize,
}

/// Where a driver stands in line, where drivers are asked in turn. A driver of itself (`me`), staff of anyone.
#[utoipa::path(
    get, path = "/v1/drivers/{id}/queue", tag = "drivers", security(("bearer" = [])),
    params(("id" = String, Path, description = "driver-…, or `me`")),
    responses(
        (status = 200, body = Turn), (status = 401, body = Refused), (status = 403, body = Refused),
        (status = 404, body = Refused)
    )
)]
pub(super) async fn queue_of_driver(
    State(gate): State<Arc<Gate>>,
    Caller(by): Caller,
    Named(id): Named,
) -> Result<Json<Turn>, Answered> {
    let driver = driver_named(&id, by.who)?;
    gate.check_sight(driver.into(), &by).await?;
    let turn = match gate.turn_of(driver) {
        Some(turn) => Some(turn),
        None => {
            let (there, _silent) = gate.elsewhere::<Option<Turn>>(&Question::Turn(driver)).await;
            there.into_iter().flatten().next()
        }
    };
    let refused = || Refused::new(Code::NotFound, "it stands in no line");
    Ok(Json(turn.ok_or_else(refused)?))
}

/// Where a job is in its region's queue, and the last that rounds saw of it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Place {
    position: usize,
    n_waiting: usize,
    seen: Option<Seen>,
}

/// Each zone once: of those that regions count one tells, and any node may have refused somebody there.
fn together(all: impl Iterator<Item = Demand>) -> BTreeMap<ZoneId, Demand> {
    let mut zones = BTreeMap::<ZoneId, Demand>::new();
    for it in all {
        let Some(known) = zones.get_mut(&it.zone) else {
            zones.insert(it.zone, it);
            continue;
        };
        let n_refused = known.n_refused.saturating_add(it.n_refused);
        if !known.is_counted() {
            *known = it;
        }
        known.n_refused = n_refused;
    }
    zones
}

impl Demand {
    /// A zone of which nothing is counted but who was refused.
    fn refused(zone: ZoneId, n_refused: u32) -> Option<Self> {
        Some(Self {
            zone,
            at: middle_of(zone)?,
            n_waiting: 0,
            n_free: 0,
            per_hour: 0.0,
            per_hour_soon: 0.0,
            ratio: 0.0,
            surge_percent: USUAL,
            n_refused,
            set_until: None,
            changes: Vec::new(),
            outline: Vec::new(),
        })
    }

    /// Does a region count anything of it, or do staff say anything?
    fn is_counted(&self) -> bool {
        let is_told = self.n_waiting + self.n_free > 0 || self.per_hour > 0.0 || self.ratio > 0.0;
        let is_said = self.surge_percent != USUAL || self.set_until.is_some();
        is_told || is_said || !self.changes.is_empty()
    }
}

impl Gate {
    /// What is counted by the regions that are matched here, and who was refused here.
    pub(super) fn demand(&self) -> Vec<Demand> {
        let refused = self.turned_away.by_zone(self.system.now());
        let refused = refused.into_iter().filter_map(|(zone, n)| Demand::refused(zone, n));
        together(self.counted_demand().into_iter().chain(refused)).into_values().collect()
    }

    fn counted_demand(&self) -> Vec<Demand> {
        let (now, zones) = (self.system.now(), self.system.regions().zones());
        let all = self.system.regions().demand().into_iter();
        all.filter_map(|(zone, cell)| {
            let set = zones.by_staff(zone, now);
            let changes = cell.changes.iter().map(|it| SurgeChange {
                at: it.at,
                from_percent: it.from_percent,
                to_percent: it.to_percent,
                ratio: it.ratio,
                n_waiting: it.count.n_waiting,
                n_free: it.count.n_free,
                per_hour_soon: it.count.per_hour_soon,
                cause: it.cause.to_string(),
            });
            Some(Demand {
                zone,
                at: middle_of(zone)?,
                n_waiting: cell.count.n_waiting,
                n_free: cell.count.n_free,
                per_hour: cell.count.per_hour,
                per_hour_soon: cell.count.per_hour_soon,
                ratio: cell.ratio,
                surge_percent: set.as_ref().map_or(cell.percent, |it| it.percent),
                n_refused: 0,
                set_until: set.map(|it| it.until),
                changes: changes.collect(),
                outline: Vec::new(),
            })
        })
        .collect()
    }

    /// Where a driver stands in line, if that is here.
    pub(super) fn turn_of(&self, driver: DriverId) -> Option<Turn> {
        let (rank, position, n_waiting) = self.system.regions().turn_of(driver)?;
        Some(Turn { rank, position, n_waiting })
    }

    /// Where a job is in the queue of its region, if that is matched here.
    pub(super) fn place_of(&self, job: JobId, pickup: Point) -> Option<Place> {
        let regions = self.system.regions();
        let (position, n_waiting) = regions.place_of(job, pickup)?;
        Some(Place { position, n_waiting, seen: regions.rounds_of(job).pop() })
    }

    async fn waiting(&self, job: JobId, key: EntityKey, by: &Asker) -> Result<Waiting, Refused> {
        self.check_sight(key, by).await?;
        let shown = self.translator.show(key, by.who).await?;
        let pickup = if let ServerFrame::Order(view) = &shown {
            view.pickup().map(|it| it.at)
        } else if let ServerFrame::Rescue(view) = &shown {
            Some(view.at.at)
        } else {
            None
        };
        let pickup = pickup.ok_or_else(|| not_found(&key.to_string()))?;
        let place = match self.place_of(job, pickup) {
            Some(place) => Some(place),
            None => {
                let question = Question::Place(job, pickup);
                let (there, _silent) = self.elsewhere::<Option<Place>>(&question).await;
                there.into_iter().flatten().next()
            }
        };
        let Place { position, n_waiting, seen } =
            place.ok_or_else(|| Refused::new(Code::NotFound, "it does not wait for a driver"))?;
        let eta = seen.as_ref().and_then(Seen::eta);
        Ok(Waiting {
            position,
            n_waiting,
            eta_s: eta.map(|it| it.s),
            eta_low_s: eta.map(|it| it.low_s),
            eta_high_s: eta.map(|it| it.high_s),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use actors::zone::neighbourhood;

    #[test]
    fn what_staff_have_set_stands_also_where_somebody_was_refused() {
        let zone = neighbourhood(Point { lat: -1.9441, lon: 30.0619 });
        let refused = || Demand::refused(zone, 2).unwrap();
        let set = Demand { set_until: Some(Timestamp(1)), ..Demand::refused(zone, 0).unwrap() };
        for all in [vec![refused(), set], vec![refused()]] {
            let is_set = all.len() > 1;
            let told = together(all.into_iter().rev());
            let told = &told[&zone];
            assert_eq!((told.n_refused, told.set_until.is_some()), (2, is_set));
        }
    }
}
