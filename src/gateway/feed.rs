//! What drivers may claim: the feed, where jobs wait for whom nobody was found by asking.
//!
//! ```text
//!  a driver ── GET /v1/feed ──► what is in the feed ◄── every second at most ── list of views
//!                                     │ nearest first
//!                                     └──► each order as it is ──► may it be claimed, and by this driver? ──► told
//! ```
//!
//! What is in the list was committed, whoever owns it. It is looked at while somebody asks, once a second at most and for all who ask, and
//! an order is read once for each look. So what a node does for this grows with the jobs in the feed, and not with the drivers
//! who look at it. What is told is up to a second old: orders and drivers judge a claim as ever.
#![expect(unused_qualifications, reason = "utoipa writes query types with their path")]

use super::{
    Gate,
    rest::{Answered, Caller},
    translate::{forbidden, invalid, not_found},
    why::driver_named,
};
use crate::auth::scope::{Asker, Scope};
use actors::{
    Kind, Refusal, Version,
    driver::Driver,
    journal::{JournalError, ViewQuery},
    order::Order,
};
use axum::{
    Json,
    extract::{Query, State, rejection::QueryRejection},
};
use futures_util::future::join_all;
use matching::router::along;
use protocol::{
    Code, DriverId, JobId, Money, OrderId, OrderStatus, PartnerId, Place, Point, Principal,
    Refused, Timestamp,
    trace::WhyNot,
    view::{DriverView, Eta, WorkKind},
    work::{Needs, VehicleKind},
};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{Mutex, OnceCell},
    time::{Instant, timeout, timeout_at},
};
use tracing::warn;
use utoipa::{IntoParams, ToSchema};

/// For how long a look at the list is good.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How long one look may take.
const LOOK_WITHIN: Duration = Duration::from_secs(2);
/// Most orders that are seen, those that were placed last.
const SEEN_MAX: usize = 2_000;
/// Most orders that are read for one driver, the nearest…
const READ_MAX: usize = 200;
/// … so many at once…
const READ_AT_ONCE: usize = 25;
/// … and how long all of them may take. What is not known by then is not told.
const READ_WITHIN: Duration = Duration::from_secs(1);
/// Most jobs that are told at once.
const JOBS_MAX: usize = 50;
/// How far around a driver jobs are told at most, in metres.
const WITHIN_M_MAX: u32 = 50_000;
/// What skills begin with that say something of the rider. Who is told the job has them.
const OF_RIDERS: &str = "gender";

/// Whose feed.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct FeedQuery {
    /// What this driver may claim. Staff must say whom they mean; drivers see their own.
    driver: Option<String>,
    /// How far from the driver jobs begin at most, in metres: 50,000 at most, and if absent as far as drivers are looked for there
    /// who deliver, or as any rule of assignment lets them be, or as one was looked for who brings that very job.
    within_m: Option<u32>,
    /// At most this many; 1 to 50, 50 if absent.
    limit: Option<usize>,
}

/// What a driver may claim.
#[derive(Debug, Default, Serialize, ToSchema)]
pub(super) struct JobsInFeed {
    /// The nearest first.
    jobs: Vec<JobInFeed>,
    /// There may be others, further away: more than are told, or than could be looked at in time.
    more: bool,
    /// What keeps the driver from claiming anything, whatever there is; then it is told nothing.
    why: Vec<WhyNot>,
}

/// A job that waits for whoever claims it: what an offer of it would say, how far away it is, and what must be brought.
#[derive(Debug, Serialize, ToSchema)]
struct JobInFeed {
    /// Which: claim it by this.
    job: JobId,
    /// What it is.
    work: WorkKind,
    /// Where it starts.
    pickup: Place,
    /// Where it ends, if known.
    #[serde(skip_serializing_if = "Option::is_none")]
    dropoff: Option<Place>,
    /// What the rider pays.
    fare: Money,
    /// What must be brought.
    needs: Needs,
    /// To the pickup, in metres as the crow flies.
    distance_m: u32,
    /// How long it takes to get there, in seconds.
    eta_s: u32,
    /// When it is given up, if nobody has claimed it (server clock).
    until: Timestamp,
}

/// What is in the feed, as it was seen last.
#[derive(Debug, Default)]
pub(super) struct LastLook(Mutex<Option<Look>>);

#[derive(Debug)]
struct Look {
    at: Instant,
    /// Nothing, if the list could not be read.
    seen: Option<Arc<Picture>>,
}

#[derive(Debug)]
struct Picture {
    orders: Vec<Seen>,
    /// Are these all there are?
    is_whole: bool,
}

/// An order in the feed.
#[derive(Debug)]
struct Seen {
    id: OrderId,
    pickup: Point,
    /// How far away a driver was looked for, in metres, by whatever rule was in force when it was placed; 0: its row, of an older
    /// build, does not say.
    reach_m: u32,
    /// How it is, once somebody near has asked.
    order: OnceCell<Arc<Order>>,
}

/// Who would claim.
#[derive(Debug)]
struct Claimant {
    id: DriverId,
    driver: Arc<Driver>,
    fleet: Option<PartnerId>,
    vehicle: VehicleKind,
    at: Point,
}

/// What a driver may claim: jobs in the feed that begin near it and that it could have, nearest first, as offers tell them. It is
/// asked for again and again, for nobody is pushed what is in the feed. A driver sees its own, staff that of a driver they name.
#[utoipa::path(
    get, path = "/v1/feed", tag = "drivers", security(("bearer" = [])), params(FeedQuery),
    responses(
        (status = 200, body = JobsInFeed), (status = 401, body = Refused), (status = 403, body = Refused),
        (status = 404, body = Refused), (status = 422, body = Refused), (status = 429, body = Refused),
        (status = 503, body = Refused)
    )
)]
pub(super) async fn jobs_in_feed(
    State(gate): State<Arc<Gate>>,
    Caller(by): Caller,
    query: Result<Query<FeedQuery>, QueryRejection>,
) -> Result<Json<JobsInFeed>, Answered> {
    let Query(FeedQuery { driver, within_m, limit }) =
        query.map_err(|rejection| Refused::new(Code::Invalid, rejection.body_text()))?;
    let driver = whose(driver.as_deref(), by.who)?;
    if within_m.is_some_and(|within_m| within_m > WITHIN_M_MAX) {
        return Err(invalid("within_m", "50,000 at most").into());
    }
    let limit = limit.unwrap_or(JOBS_MAX);
    if !(1..=JOBS_MAX).contains(&limit) {
        return Err(invalid("limit", "1 to 50").into());
    }
    Ok(Json(gate.jobs_in_feed(driver, within_m, limit, &by).await?))
}

/// Whose feed is meant.
fn whose(named: Option<&str>, by: Principal) -> Result<DriverId, Refused> {
    match by {
        Principal::Driver(_) => driver_named(named.unwrap_or("me"), by),
        Principal::Dispatcher | Principal::Admin | Principal::System => {
            driver_named(named.ok_or_else(|| invalid("driver", "whose?"))?, by)
        }
        Principal::Rider(_) | Principal::Merchant(_) => Err(forbidden("for drivers and staff")),
    }
}

impl Gate {
    async fn jobs_in_feed(
        &self,
        id: DriverId,
        within_m: Option<u32>,
        limit: usize,
        by: &Asker,
    ) -> Result<JobsInFeed, Refused> {
        self.check_sight(id.into(), by).await?;
        let (version, driver) = self.system.read::<Driver>(id).await?;
        if version == Version(0) {
            return Err(not_found(&id.to_string()));
        }
        let DriverView { fleet, vehicle, position, .. } = driver.driver_view(id, version.0);
        let why = driver.why_no_claims(self.system.now());
        let can_claim = vehicle.zip(position).filter(|_| why.is_empty());
        let Some((vehicle, position)) = can_claim else {
            return Ok(JobsInFeed { why, ..JobsInFeed::default() });
        };
        let (vehicle, at) = (vehicle.kind, position.at);
        let claimant = Claimant { id, driver, fleet, vehicle, at };
        let usual_m = self.reach_m(at);
        let within_m =
            |seen: &Seen| within_m.unwrap_or(seen.reach_m.max(usual_m).min(WITHIN_M_MAX));
        let picture = self.look_at_feed().await.ok_or_else(super::unavailable)?;
        let near = picture.near(at, within_m, &by.scope);
        let (mut jobs, mut more) = (Vec::new(), !picture.is_whole || near.len() > READ_MAX);
        let until = Instant::now() + READ_WITHIN;
        for some in near[..near.len().min(READ_MAX)].chunks(READ_AT_ONCE) {
            let read = some.iter().map(|seen| timeout_at(until, self.order_of(seen)));
            for (seen, order) in some.iter().zip(join_all(read).await) {
                let Ok(Ok(order)) = order else {
                    more = true;
                    continue;
                };
                jobs.extend(self.job_for(&claimant, seen.id, order));
            }
            if jobs.len() > limit {
                break;
            }
        }
        more |= jobs.len() > limit;
        jobs.truncate(limit);
        Ok(JobsInFeed { jobs, more, why })
    }

    /// How far away drivers are looked for, at most, who deliver what is picked up there, or somewhere where a rule lets them be looked
    /// for further away. What was placed under a rule that is gone says itself how far that was.
    fn reach_m(&self, at: Point) -> u32 {
        let policy = self.translator.preset.policy_at(WorkKind::Delivery, at);
        let by_rules_m = self.system.regions().rules().set().reach_m(WorkKind::Delivery);
        policy.tiers_m.into_iter().fold(by_rules_m, u32::max).min(WITHIN_M_MAX)
    }

    /// What is in the feed; nothing, if that cannot be read.
    async fn look_at_feed(&self) -> Option<Arc<Picture>> {
        // Who comes while another one looks waits for what that one sees.
        let mut last = self.feed.0.lock().await;
        if let Some(look) = last.as_ref().filter(|look| look.at.elapsed() < LOOK_EVERY) {
            return look.seen.clone();
        }
        let read = timeout(LOOK_WITHIN, self.read_feed()).await.unwrap_or_else(|_elapsed| {
            Err(JournalError::Unavailable("no answer in time".to_owned()))
        });
        let seen = read.inspect_err(|error| warn!(%error, "the feed could not be read"));
        let seen = seen.ok().map(Arc::new);
        *last = Some(Look { at: Instant::now(), seen: seen.clone() });
        seen
    }

    async fn read_feed(&self) -> Result<Picture, JournalError> {
        let statuses = vec![OrderStatus::JobFeed.to_string()];
        let query = ViewQuery { statuses, ..ViewQuery::newest(Kind::Order, SEEN_MAX) };
        let rows = self.system.journal().views(query).await?;
        let is_whole = rows.len() < SEEN_MAX;
        let orders = rows.into_iter().filter_map(|(key, mut row)| {
            let pickup = row.body.get_mut("pickup").map(serde_json::Value::take);
            let pickup = serde_json::from_value::<Place>(pickup.unwrap_or_default())
                .inspect_err(|error| warn!(%key, %error, "a row without a pickup"));
            let reach_m = row.body.get("reach_m").and_then(serde_json::Value::as_u64);
            let reach_m = reach_m.and_then(|it| u32::try_from(it).ok()).unwrap_or(0);
            let pickup = pickup.ok()?.at;
            Some(Seen { id: OrderId(key.id), pickup, reach_m, order: OnceCell::new() })
        });
        Ok(Picture { orders: orders.collect(), is_whole })
    }

    /// How an order was when somebody asked first since the last look.
    async fn order_of<'s>(&self, seen: &'s Seen) -> Result<&'s Arc<Order>, Refusal> {
        let read = || async {
            let read = self.system.read::<Order>(seen.id).await;
            read.map(|(_version, order)| order)
        };
        seen.order.get_or_try_init(read).await
    }

    /// What a driver is told of an order that it may claim; nothing, if it may not.
    fn job_for(&self, claimant: &Claimant, id: OrderId, order: &Order) -> Option<JobInFeed> {
        let Claimant { driver, fleet, vehicle, at, .. } = claimant;
        let (now, regions) = (self.system.now(), self.system.regions());
        let (terms, until) = order.in_feed(id, claimant.id, *fleet, now)?;
        let asks = order.asks()?;
        let against = driver.against_claim(terms.job, &asks, now, regions.costs());
        let pickup = terms.pickup.at;
        if !against.is_empty() || self.translator.check_zone(pickup, None).is_err() {
            return None;
        }
        let eta = along(&*regions.router(), &[*at, pickup], *vehicle, now).pop()?;
        let mut needs = asks.needs.clone();
        needs.skills.retain(|skill| !skill.trim().to_lowercase().starts_with(OF_RIDERS));
        Some(JobInFeed {
            job: terms.job,
            work: terms.work,
            pickup: terms.pickup.clone(),
            dropoff: terms.dropoff.cloned(),
            fare: terms.fare,
            needs,
            distance_m: at.distance_m(pickup) as u32,
            eta_s: Eta::from(eta).s,
            until,
        })
    }
}

impl Picture {
    /// What begins near a place, each at most so far away, and within these regions, nearest first.
    fn near(&self, at: Point, within_m: impl Fn(&Seen) -> u32, scope: &Scope) -> Vec<&Seen> {
        let away = self.orders.iter().map(|seen| (at.distance_m(seen.pickup), seen));
        let is_near = |(distance_m, seen): &(f64, &Seen)| {
            *distance_m <= f64::from(within_m(seen)) && scope.contains(seen.pickup)
        };
        let mut near: Vec<_> = away.filter(is_near).collect();
        near.sort_by(|(a, _), (b, _)| a.total_cmp(b));
        near.into_iter().map(|(_, seen)| seen).collect()
    }
}
