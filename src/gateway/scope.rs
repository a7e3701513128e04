//! What dispatchers of some regions see, and where they act: jobs that begin there, or whose driver is there; drivers who are
//! there, or nobody knows where; zones and incidents there. Everything else is to them as other people's things are to a rider:
//! not there.
//!
//! Each way in passes one of these, and nobody else is asked anything:
//!
//! | | |
//! |---|---|
//! | a command | [`Gate::check_wish`], in `Gate::perform` |
//! | what staff have brought together | [`Gate::check_sight`] of each order, [`Gate::check_taker_there`]; what is looked for, `Batching::within` |
//! | one thing | [`Gate::check_sight`], in `Gate::show` and where more is told of it |
//! | a list | [`Gate::rows_within`], in `Gate::list` |
//! | what a driver may claim | `Picture::near`, in `Gate::jobs_in_feed` |
//! | what is followed | `Session::show` and `Session::may_sight` |
//! | the board | `Session::full_within` and `Session::diff_within`; `Live::find` |
//!
//! All commands of staff about an order, a rescue, a rider, a driver, a run or a zone are wishes, whether they come as a request, on a socket
//! or on a stream, but for the shifts that they give a driver, which are looked at where they are said (`check_sight` and `check_within` of
//! `shifts.rs`); what is not (rules, revocations, the cluster, sessions, what was set aside) is admins' alone, who are of everywhere.
//!
//! What they vouch for counts wherever its driver goes, so that only dispatchers of everywhere do, but for a permit for a place that is all
//! in their regions ([`counts_only_within`]). To take it back is no harm anywhere.
//!
//! Calls for help are for every dispatcher, wherever they come from, as long as somebody is needed: which dispatchers are there
//! and would see it no node knows for certain, and nobody in need may be lost. Only what is over is of its regions.
//! A call of their own names only a job that they see ([`Gate::sos_within`]).

use super::{
    Gate,
    translate::{ASKED_WITHIN, forbidden, not_found},
};
use crate::auth::scope::{Asker, Scope};
use actors::{
    EntityKey, Kind, Version, ViewRow,
    driver::Driver,
    journal::{JournalError, ViewQuery},
    rider::Rider,
};
use futures_util::future::join_all;
use matching::fit::Permit;
use protocol::{
    Code, CommandId, DriverId, DutyStatus, JobId, OrderId, OrderStatus, Place, Point, Principal,
    Refused, RescueId, RescueStatus, RiderId, Timestamp, ZoneId,
    changes::Changed,
    frame::ServerFrame,
    view::{IncidentView, Mark, Position, StopKind},
    work::{DriverAction, OrderAction, RescueAction, RiderAction, RunAction, Sos, Wish},
};
use std::{
    collections::HashMap,
    f64::consts::FRAC_PI_4,
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::{Instant, timeout};
use uuid::Uuid;

/// Rows that are looked at at once, of a list of some regions…
const LOOK_ROWS: usize = 100;
/// … and how often, for one page. Who is told few rows asks for the next page.
const LOOKS_MAX: usize = 10;
/// Of how many rows it is found out at once where they are, if they do not say so…
const JUDGED_AT_ONCE: usize = 25;
/// … and how long that may take. What is not known by then is not told.
const JUDGED_WITHIN: Duration = Duration::from_secs(1);
/// After so long a page ends with what it has.
const LOOK_FOR: Duration = Duration::from_secs(2);

/// Rows of a list, and after which one it goes on, if it does.
pub(super) type Rows = (Vec<(EntityKey, ViewRow)>, Option<(Timestamp, Uuid)>);

/// Of which drivers is it known whether they are within? Kept for one question only: they drive on.
type Drivers = Mutex<HashMap<DriverId, Result<bool, Refused>>>;

/// Where a mark is: a job where it begins.
pub(super) fn place_of(mark: &Mark) -> Point {
    match mark {
        Mark::Driver { at, .. } | Mark::Rescue { at, .. } => *at,
        Mark::Order { pickup, .. } => *pickup,
    }
}

/// Whose mark it is.
pub(super) fn key_of(mark: &Mark) -> EntityKey {
    match mark {
        Mark::Driver { id, .. } => (*id).into(),
        Mark::Order { id, .. } => (*id).into(),
        Mark::Rescue { id, .. } => (*id).into(),
    }
}

/// Does what is shown say itself that it lies within? If not, its driver may.
pub(super) fn says_within(scope: &Scope, shown: &ServerFrame) -> bool {
    if let ServerFrame::Order(view) = shown {
        // One that was left at a hub is of those who see that, and of those where it came from.
        let mut begins = view.stops.first().into_iter().chain(view.pickup());
        begins.any(|pickup| scope.contains(pickup.at))
    } else if let ServerFrame::Rescue(view) = shown {
        scope.contains(view.at.at)
    } else if let ServerFrame::Driver(view) = shown {
        view.position.as_ref().is_some_and(|position| scope.contains(position.at))
    } else if let ServerFrame::Run(view) = shown {
        let mut fetched = view.stops.iter().filter(|stop| stop.what == StopKind::Pickup);
        fetched.any(|stop| scope.contains(stop.at.at))
    } else if let ServerFrame::Incident(view) = shown {
        is_incident_within(scope, view)
    } else if let ServerFrame::Sighted { at, .. } = shown {
        scope.contains(*at)
    } else if let ServerFrame::Changed(Changed::Driver(changes)) = shown {
        let position = changes.position.as_ref().and_then(Option::as_ref);
        position.is_some_and(|position| scope.contains(position.at))
    } else {
        false
    }
}

/// Whoever may be in need is everybody's business.
fn is_incident_within(scope: &Scope, view: &IncidentView) -> bool {
    let is_here = |position: &Position| scope.contains(position.at);
    !view.status.is_over() || view.position.as_ref().is_none_or(is_here)
}

/// Refuses what would be somewhere else.
pub(super) fn check_place(scope: &Scope, at: Point) -> Result<(), Refused> {
    if scope.contains(at) { Ok(()) } else { Err(elsewhere(scope)) }
}

/// Refuses to tell of a zone that lies somewhere else.
pub(super) fn check_zone_met(scope: &Scope, zone: ZoneId) -> Result<(), Refused> {
    if scope.meets(zone) { Ok(()) } else { Err(elsewhere(scope)) }
}

/// Of places there is no secret to keep.
pub(super) fn elsewhere(scope: &Scope) -> Refused {
    forbidden(&format!("not in your regions: {scope}"))
}

impl Gate {
    /// Refuses to say anything of what lies outside of the asker's regions, also whether it exists.
    pub(super) async fn check_sight(&self, key: EntityKey, asker: &Asker) -> Result<(), Refused> {
        let scope = &asker.scope;
        let is_within = scope.is_everywhere() || Box::pin(self.is_within(key, scope)).await?;
        if is_within { Ok(()) } else { Err(not_found(&key.to_string())) }
    }

    /// Refuses what somebody wants outside of its regions, unless it was answered before: what was done may be what led out of
    /// them, and who did not hear of it asks again. Who calls for help is not asked where.
    pub(super) async fn check_wish(
        &self,
        wish: &Wish,
        asker: &Asker,
        id: CommandId,
    ) -> Result<(), Refused> {
        let Err(refused) = self.check_regions(wish, asker).await else { return Ok(()) };
        let answered = match self.translator.command(wish.clone(), asker.who, id).await {
            Ok(tell) => self.system.journal().result(tell.to(), id).await,
            // It would be refused again.
            Err(_) => Ok(None),
        };
        if let Ok(Some(_)) = answered { Ok(()) } else { Err(refused) }
    }

    async fn check_regions(&self, wish: &Wish, asker: &Asker) -> Result<(), Refused> {
        let scope = &asker.scope;
        if scope.is_everywhere() {
            return Ok(());
        }
        match wish {
            Wish::PlaceOrder(order) => {
                // What has no pickup is refused for that.
                let pickup = order.stops.first();
                pickup.map_or(Ok(()), |pickup| check_place(scope, pickup.at))?;
            }
            Wish::RequestRescue(rescue) => check_place(scope, rescue.at.at)?,
            // What is here is not moved to somebody else.
            Wish::Rescue { action: RescueAction::Locate { at, .. }, .. } => {
                check_place(scope, at.at)?;
            }
            // Not one that only meets them: most of it may be somebody else's.
            Wish::Zone { id, .. } if !scope.covers(*id) => return Err(elsewhere(scope)),
            Wish::Zone { .. }
            | Wish::Order { .. }
            | Wish::Rescue { .. }
            | Wish::Rider { .. }
            | Wish::Driver { .. }
            | Wish::Sos(_)
            | Wish::Incident { .. }
            | Wish::Run { .. } => {}
        }
        for key in named(wish) {
            self.check_sight(key, asker).await?;
            if key.kind == Kind::Driver && !is_for_unseen(wish) {
                let driver = DriverId(key.id);
                if !self.is_driver_within(driver, scope, &Drivers::default()).await? {
                    return Err(forbidden("nobody knows where this driver is"));
                }
            }
        }
        if let Wish::Order { id, action: OrderAction::ModifyStops { stops } } = wish {
            self.check_pickup(*id, stops, scope).await?;
        }
        if let Wish::Driver { action: DriverAction::GrantSkill { skill, .. }, .. } = wish {
            let permits = &self.system.regions().costs().permits;
            if !counts_only_within(skill, permits, scope) {
                return Err(forbidden("it would count outside of your regions, too"));
            }
        }
        Ok(())
    }

    /// Refuses to give work to a driver who is not in the asker's regions.
    pub(super) async fn check_taker_there(
        &self,
        driver: DriverId,
        asker: &Asker,
    ) -> Result<(), Refused> {
        self.check_sight(driver.into(), asker).await?;
        let scope = &asker.scope;
        let is_there = scope.is_everywhere()
            || self.is_driver_within(driver, scope, &Drivers::default()).await?;
        if is_there { Ok(()) } else { Err(forbidden("nobody knows where this driver is")) }
    }

    /// Refuses to let an order begin elsewhere, as long as it has not begun.
    async fn check_pickup(
        &self,
        id: OrderId,
        to_come: &[Place],
        scope: &Scope,
    ) -> Result<(), Refused> {
        let Some(first) = to_come.first().filter(|first| !scope.contains(first.at)) else {
            return Ok(());
        };
        let shown = self.translator.show(id.into(), Principal::Dispatcher).await?;
        let ServerFrame::Order(view) = shown else { return Ok(()) };
        if view.stops_done == 0 { check_place(scope, first.at) } else { Ok(()) }
    }

    /// A call for help, of which job only if its caller may see that: whose it is would be told with it. What cannot be found
    /// out in time stops nobody.
    pub(super) async fn sos_within(&self, sos: Sos, asker: &Asker) -> Sos {
        let is_seen = match sos.job {
            Some(job) if !asker.scope.is_everywhere() => {
                let looked = timeout(ASKED_WITHIN, self.check_sight(job.into(), asker)).await;
                matches!(looked, Ok(Ok(())))
            }
            Some(_) | None => true,
        };
        Sos { job: sos.job.filter(|_| is_seen), ..sos }
    }

    /// Does something lie within these regions?
    ///
    /// # Errors
    /// `not_found`: there is no such thing, or it was set aside, so that it is nowhere. `unavailable`: nobody can say.
    pub(super) async fn is_within(&self, key: EntityKey, scope: &Scope) -> Result<bool, Refused> {
        let is_within = self.find_within(key, scope, &Drivers::default()).await;
        is_within.map_err(|refused| {
            let is_nowhere = matches!(refused.code, Code::NotFound | Code::Quarantined);
            if is_nowhere { not_found(&key.to_string()) } else { refused }
        })
    }

    async fn find_within(
        &self,
        key: EntityKey,
        scope: &Scope,
        drivers: &Drivers,
    ) -> Result<bool, Refused> {
        match key.kind {
            Kind::Order => self.is_job_within(JobId::Order(OrderId(key.id)), scope, drivers).await,
            Kind::Rescue => {
                self.is_job_within(JobId::Rescue(RescueId(key.id)), scope, drivers).await
            }
            Kind::Driver => self.is_driver_seen(DriverId(key.id), scope).await,
            Kind::Rider => self.is_rider_within(RiderId(key.id), scope, drivers).await,
            Kind::Run => self.is_run_within(key, scope, drivers).await,
            Kind::Zone => Ok(scope.meets(ZoneId(key.id))),
            Kind::Incident => {
                let shown = self.translator.show(key, Principal::Dispatcher).await?;
                Ok(says_within(scope, &shown))
            }
            // It is everybody's, and of those alone who see everything.
            Kind::Revocation | Kind::Rule | Kind::Template => Ok(scope.is_everywhere()),
        }
    }

    /// A job is where it begins; as long as it goes on, also where its driver is.
    async fn is_job_within(
        &self,
        job: JobId,
        scope: &Scope,
        drivers: &Drivers,
    ) -> Result<bool, Refused> {
        let shown = self.translator.show(job.into(), Principal::Dispatcher).await?;
        if says_within(scope, &shown) {
            return Ok(true);
        }
        let driver = if let ServerFrame::Order(view) = &shown {
            view.driver.filter(|_| !view.status.is_final())
        } else if let ServerFrame::Rescue(view) = &shown {
            view.driver.filter(|_| !view.status.is_final())
        } else {
            None
        };
        match driver {
            Some(driver) => self.is_driver_within(driver, scope, drivers).await,
            None => Ok(false),
        }
    }

    /// Does any of them lie within? Who can say so of one is not kept from it by another of which nobody can.
    async fn is_any_within(
        &self,
        jobs: Vec<JobId>,
        scope: &Scope,
        drivers: &Drivers,
    ) -> Result<bool, Refused> {
        let mut unknown = None;
        for job in jobs {
            match self.is_job_within(job, scope, drivers).await {
                Ok(true) => return Ok(true),
                Ok(false) => {}
                Err(refused) => unknown = unknown.or(Some(refused)),
            }
        }
        unknown.map_or(Ok(false), Err)
    }

    /// A driver is where it was seen last. Of whom that is not known is nowhere.
    async fn is_driver_within(
        &self,
        id: DriverId,
        scope: &Scope,
        drivers: &Drivers,
    ) -> Result<bool, Refused> {
        let known = drivers.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        if let Some(known) = known {
            return known;
        }
        let read = self.system.read::<Driver>(id).await.map_err(Refused::from);
        let is_within =
            read.map(|(_, driver)| driver.position().is_some_and(|at| scope.contains(at)));
        drivers.lock().unwrap_or_else(PoisonError::into_inner).insert(id, is_within.clone());
        is_within
    }

    /// Is a driver to be seen from there? Who does not work is nowhere, and so is everybody for a moment after a node has
    /// fallen: these are seen from everywhere, or nobody could let one work again.
    async fn is_driver_seen(&self, id: DriverId, scope: &Scope) -> Result<bool, Refused> {
        let (version, driver) = self.system.read::<Driver>(id).await?;
        let is_seen = driver.position().is_none_or(|at| scope.contains(at));
        Ok(version > Version(0) && is_seen)
    }

    /// A rider is where something is done for it.
    async fn is_rider_within(
        &self,
        id: RiderId,
        scope: &Scope,
        drivers: &Drivers,
    ) -> Result<bool, Refused> {
        let (version, rider) = self.system.read::<Rider>(id).await?;
        self.is_any_within(rider.rider_view(id, version.0).jobs, scope, drivers).await
    }

    /// A run is where its driver is, and where any of its orders is.
    async fn is_run_within(
        &self,
        key: EntityKey,
        scope: &Scope,
        drivers: &Drivers,
    ) -> Result<bool, Refused> {
        let shown = self.translator.show(key, Principal::Dispatcher).await?;
        if says_within(scope, &shown) {
            return Ok(true);
        }
        let ServerFrame::Run(view) = shown else { return Ok(false) };
        let driver = match view.status.is_final() {
            true => Ok(false),
            false => self.is_driver_within(view.driver, scope, drivers).await,
        };
        if driver == Ok(true) {
            return driver;
        }
        let orders = view.orders.iter().map(|member| JobId::Order(member.order)).collect();
        let is_any = self.is_any_within(orders, scope, drivers).await?;
        if is_any { Ok(true) } else { driver }
    }

    /// Rows of a list that lie within these regions: at most as many as are wanted, and fewer where many others lie between.
    pub(super) async fn rows_within(
        &self,
        query: ViewQuery,
        scope: &Scope,
    ) -> Result<Rows, JournalError> {
        let journal = self.system.journal();
        let most = query.limit;
        let place = |(key, row): &(EntityKey, ViewRow)| (row.at, key.id);
        if scope.is_everywhere() {
            let rows = journal.views(query).await?;
            let next = rows.last().filter(|_| rows.len() == most).map(place);
            return Ok((rows, next));
        }
        let (began, drivers) = (Instant::now(), Drivers::default());
        let (mut rows, mut after) = (Vec::new(), query.after);
        for _ in 0..LOOKS_MAX {
            let look = ViewQuery { after, limit: LOOK_ROWS, ..query.clone() };
            let looked_at = journal.views(look).await?;
            for some in looked_at.chunks(JUDGED_AT_ONCE) {
                let judge = |row| timeout(JUDGED_WITHIN, self.is_row_within(row, scope, &drivers));
                let judged = join_all(some.iter().map(judge)).await;
                for (row, is_within) in some.iter().zip(judged) {
                    after = Some(place(row));
                    if is_within.unwrap_or(false) {
                        rows.push(row.clone());
                        if rows.len() == most {
                            return Ok((rows, after));
                        }
                    }
                }
                if began.elapsed() >= LOOK_FOR {
                    let next = after.map(|last| unnamed(last, &rows, query.after));
                    return Ok((rows, next));
                }
            }
            if looked_at.len() < LOOK_ROWS {
                return Ok((rows, None));
            }
        }
        let next = after.map(|last| unnamed(last, &rows, query.after));
        Ok((rows, next))
    }

    /// The same as of the thing itself, as far as its row says where it is; what is not known is not told.
    async fn is_row_within(
        &self,
        (key, row): &(EntityKey, ViewRow),
        scope: &Scope,
        drivers: &Drivers,
    ) -> bool {
        let place = |field: &str| {
            let place = row.body.get(field).cloned();
            place.and_then(|place| serde_json::from_value::<Place>(place).ok())
        };
        let (begins, goes_on) = match key.kind {
            Kind::Order => {
                let goes_on = row.status.parse().is_ok_and(|it: OrderStatus| !it.is_final());
                // One that was left at a hub is of those where that is, and of those where it came from.
                ([place("pickup"), place("from")], goes_on)
            }
            Kind::Rescue => {
                let goes_on = row.status.parse().is_ok_and(|it: RescueStatus| !it.is_final());
                ([place("at"), None], goes_on)
            }
            Kind::Incident => {
                let view = serde_json::from_value::<IncidentView>(row.body.clone());
                return view.is_ok_and(|view| is_incident_within(scope, &view));
            }
            Kind::Zone => return scope.meets(ZoneId(key.id)),
            Kind::Run => return self.is_run_within(*key, scope, drivers).await.unwrap_or(false),
            // Who is off duty is nowhere, and so seen from everywhere: it need not be woken to be asked.
            Kind::Driver if row.status == DutyStatus::Offline.to_string() => return true,
            Kind::Driver => {
                return self.is_driver_seen(DriverId(key.id), scope).await.unwrap_or(false);
            }
            Kind::Rider | Kind::Revocation | Kind::Rule | Kind::Template => {
                return false;
            }
        };
        if begins.iter().flatten().any(|place| scope.contains(place.at)) {
            return true;
        }
        let Some(driver) = row.driver.filter(|_| goes_on) else { return false };
        self.is_driver_within(driver, scope, drivers).await.unwrap_or(false)
    }
}

/// After what a page goes on that ends behind a row which may not be told: of that, its moment is said and not its id. What is
/// of the same moment is looked at again; where so much is of one that this leads nowhere, it is named after all.
fn unnamed(
    (at, id): (Timestamp, Uuid),
    told: &[(EntityKey, ViewRow)],
    began: Option<(Timestamp, Uuid)>,
) -> (Timestamp, Uuid) {
    let last = told.last().filter(|(_, row)| row.at == at);
    match last {
        Some((key, _)) => (at, key.id),
        None if began.is_some_and(|(began, _)| began == at) => (at, id),
        None => (at, Uuid::max()),
    }
}

/// Does a skill that staff vouch for count in these regions only? A permit is for places; all else goes wherever its driver does.
fn counts_only_within(skill: &str, permits: &[Permit], scope: &Scope) -> bool {
    let Some(name) = skill.strip_prefix("permit.") else { return false };
    let mut places = permits.iter().filter(|it| it.name == name).peekable();
    places.peek().is_some() && places.all(|it| lies_within(it, scope))
}

/// Does the place of a permit lie within, as far as its middle and its edge tell?
fn lies_within(permit: &Permit, scope: &Scope) -> bool {
    let middle = Point { lat: permit.lat, lon: permit.lon };
    let mut edge = (0..8).map(|n| {
        let (north, east) = (f64::from(n) * FRAC_PI_4).sin_cos();
        let away_m = f64::from(permit.radius_m);
        middle.offset_m(east * away_m, north * away_m)
    });
    scope.contains(middle) && edge.all(|at| scope.contains(at))
}

/// May it be done to a driver of whom nobody knows where it is?
fn is_for_unseen(wish: &Wish) -> bool {
    let Wish::Driver { action, .. } = wish else { return false };
    matches!(
        action,
        DriverAction::Reinstate {}
            | DriverAction::Message { .. }
            | DriverAction::RevokeSkill { .. }
            | DriverAction::RevokeOffShift { .. }
    )
}

/// Everything that a wish names and that must be seen for it: whom it is for, and whom it is about.
fn named(wish: &Wish) -> Vec<EntityKey> {
    let (to, about): (Option<EntityKey>, Vec<EntityKey>) = match wish {
        Wish::PlaceOrder(order) => (None, keys(order.driver)),
        Wish::RequestRescue(_) | Wish::Sos(_) | Wish::Zone { .. } => (None, Vec::new()),
        Wish::Order { id, action } => (Some((*id).into()), keys(driver_of_order(action))),
        Wish::Rescue { id, action } => (Some((*id).into()), keys(driver_of_rescue(action))),
        Wish::Rider { id, action } => {
            let about = match action {
                RiderAction::Block { driver, .. } | RiderAction::Unblock { driver, .. } => {
                    keys(Some(*driver))
                }
                RiderAction::Message { job, .. } => keys(*job),
            };
            (Some((*id).into()), about)
        }
        Wish::Driver { id, action } => {
            let about =
                if let DriverAction::ClaimJob { job } | DriverAction::RejectJob { job } = action {
                    Some(*job)
                } else if let DriverAction::Message { job, .. } = action {
                    *job
                } else {
                    None
                };
            (id.map(EntityKey::from), keys(about))
        }
        Wish::Incident { id, .. } => (Some((*id).into()), Vec::new()),
        Wish::Run { id, action } => {
            let about = match action {
                RunAction::Insert { order, .. } | RunAction::Remove { order, .. } => {
                    keys(Some(*order))
                }
                RunAction::Split { orders, driver, .. } => {
                    [keys(orders.iter().copied()), keys(Some(*driver))].concat()
                }
                RunAction::Merge { into, .. } => keys(Some(*into)),
                RunAction::HandOver { driver, .. } => keys(Some(*driver)),
                RunAction::Reorder { .. } | RunAction::Abandon { .. } => Vec::new(),
            };
            (Some((*id).into()), about)
        }
    };
    to.into_iter().chain(about).collect()
}

fn keys<T: Into<EntityKey>>(ids: impl IntoIterator<Item = T>) -> Vec<EntityKey> {
    ids.into_iter().map(Into::into).collect()
}

/// To whom it is given, if it is.
fn driver_of_order(action: &OrderAction) -> Option<DriverId> {
    if let OrderAction::Assign { driver, .. }
    | OrderAction::Reassign { driver, .. }
    | OrderAction::Handover { driver, .. } = action
    {
        Some(*driver)
    } else {
        None
    }
}

/// Who is sent, if anybody is.
fn driver_of_rescue(action: &RescueAction) -> Option<DriverId> {
    if let RescueAction::Assign { driver, .. } | RescueAction::Reassign { driver, .. } = action {
        Some(*driver)
    } else {
        None
    }
}

#[cfg(test)]
mod tests;
