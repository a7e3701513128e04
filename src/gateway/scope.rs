//! What dispatchers of some regions see, and where they act: jobs that begin there, or whose driver is there; drivers who are
//! there; zones and incidents there. Everything else is to them as other people's things are to a rider: not there.
//!
//! Each way in passes one of these, and nobody else is asked anything:
//!
//! | | |
//! |---|---|
//! | a command | [`Gate::check_wish`], in `Gate::perform` |
//! | one thing | [`Gate::check_sight`], in `Gate::show` and where more is told of it |
//! | a list | [`Gate::rows_within`], in `Gate::list` |
//! | what is followed | `Session::show` and `Session::may_sight` |
//! | the board | `Session::full_within` and `Session::diff_within`; `Live::find` |
//!
//! Calls for help are for every dispatcher, wherever they come from, as long as somebody is needed: which dispatchers are there
//! and would see it no node knows for certain, and nobody in need may be lost. Only what is over is of its regions.

use super::{
    Gate,
    translate::{forbidden, not_found},
};
use crate::auth::scope::{Asker, Scope};
use actors::{
    EntityKey, Kind, ViewRow,
    driver::Driver,
    journal::{JournalError, ViewQuery},
    rider::Rider,
};
use protocol::{
    DriverId, JobId, OrderId, OrderStatus, Place, Point, Principal, Refused, RescueId,
    RescueStatus, RiderId, Timestamp, ZoneId,
    changes::Changed,
    frame::ServerFrame,
    view::{IncidentView, Mark, Position, StopKind},
    work::{DriverAction, OrderAction, RescueAction, RiderAction, RunAction, Wish},
};
use std::collections::HashMap;
use uuid::Uuid;

/// Rows that are looked at at once, of a list of some regions…
const LOOK_ROWS: usize = 100;
/// … and how often, for one page. Who is told few rows asks for the next page.
const LOOKS_MAX: usize = 10;

/// Rows of a list, and after which one it goes on, if it does.
pub(super) type Rows = (Vec<(EntityKey, ViewRow)>, Option<(Timestamp, Uuid)>);

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
        view.stops.first().is_some_and(|pickup| scope.contains(pickup.at))
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

    /// Refuses what somebody wants outside of its regions. Who calls for help is not asked where.
    pub(super) async fn check_wish(&self, wish: &Wish, asker: &Asker) -> Result<(), Refused> {
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
        }
        Ok(())
    }

    /// Does something lie within these regions?
    ///
    /// # Errors
    /// `not_found`: there is no such thing. `unavailable`: nobody can say.
    pub(super) async fn is_within(&self, key: EntityKey, scope: &Scope) -> Result<bool, Refused> {
        match key.kind {
            Kind::Order => self.is_job_within(JobId::Order(OrderId(key.id)), scope).await,
            Kind::Rescue => self.is_job_within(JobId::Rescue(RescueId(key.id)), scope).await,
            Kind::Driver => self.is_driver_within(DriverId(key.id), scope).await,
            Kind::Rider => self.is_rider_within(RiderId(key.id), scope).await,
            Kind::Run => self.is_run_within(key, scope).await,
            Kind::Zone => Ok(scope.meets(ZoneId(key.id))),
            Kind::Incident => {
                let shown = self.translator.show(key, Principal::Dispatcher).await?;
                Ok(says_within(scope, &shown))
            }
            // It is everybody's, and admins' alone.
            Kind::Revocation => Ok(scope.is_everywhere()),
        }
    }

    /// A job is where it begins; as long as it goes on, also where its driver is.
    async fn is_job_within(&self, job: JobId, scope: &Scope) -> Result<bool, Refused> {
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
            Some(driver) => self.is_driver_within(driver, scope).await,
            None => Ok(false),
        }
    }

    /// A driver is where it was seen last. Of whom that is not known is nowhere.
    async fn is_driver_within(&self, id: DriverId, scope: &Scope) -> Result<bool, Refused> {
        let (_, driver) = self.system.read::<Driver>(id).await?;
        Ok(driver.position().is_some_and(|at| scope.contains(at)))
    }

    /// A rider is where something is done for it.
    async fn is_rider_within(&self, id: RiderId, scope: &Scope) -> Result<bool, Refused> {
        let (version, rider) = self.system.read::<Rider>(id).await?;
        for job in rider.rider_view(id, version.0).jobs {
            if self.is_job_within(job, scope).await? {
                return Ok(true);
            }
        }
        Ok(false)
    }

    /// A run is where its driver is, and where any of its orders is.
    async fn is_run_within(&self, key: EntityKey, scope: &Scope) -> Result<bool, Refused> {
        let shown = self.translator.show(key, Principal::Dispatcher).await?;
        if says_within(scope, &shown) {
            return Ok(true);
        }
        let ServerFrame::Run(view) = shown else { return Ok(false) };
        if !view.status.is_final() && self.is_driver_within(view.driver, scope).await? {
            return Ok(true);
        }
        for member in &view.orders {
            if self.is_job_within(JobId::Order(member.order), scope).await? {
                return Ok(true);
            }
        }
        Ok(false)
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
        let (mut rows, mut after, mut drivers) = (Vec::new(), query.after, HashMap::new());
        for _ in 0..LOOKS_MAX {
            let look = ViewQuery { after, limit: LOOK_ROWS, ..query.clone() };
            let looked_at = journal.views(look).await?;
            let is_last = looked_at.len() < LOOK_ROWS;
            for row in looked_at {
                after = Some(place(&row));
                if self.is_row_within(&row, scope, &mut drivers).await {
                    rows.push(row);
                    if rows.len() == most {
                        return Ok((rows, after));
                    }
                }
            }
            if is_last {
                return Ok((rows, None));
            }
        }
        Ok((rows, after))
    }

    /// The same as of the thing itself, as far as its row says where it is; what is not known is not told.
    async fn is_row_within(
        &self,
        (key, row): &(EntityKey, ViewRow),
        scope: &Scope,
        drivers: &mut HashMap<DriverId, bool>,
    ) -> bool {
        let place = |field: &str| {
            let place = row.body.get(field).cloned();
            place.and_then(|place| serde_json::from_value::<Place>(place).ok())
        };
        let (begins, goes_on) = match key.kind {
            Kind::Order => {
                let goes_on = row.status.parse().is_ok_and(|it: OrderStatus| !it.is_final());
                (place("pickup"), goes_on)
            }
            Kind::Rescue => {
                let goes_on = row.status.parse().is_ok_and(|it: RescueStatus| !it.is_final());
                (place("at"), goes_on)
            }
            Kind::Incident => {
                let view = serde_json::from_value::<IncidentView>(row.body.clone());
                return view.is_ok_and(|view| is_incident_within(scope, &view));
            }
            Kind::Zone => return scope.meets(ZoneId(key.id)),
            Kind::Run => return self.is_run_within(*key, scope).await.unwrap_or(false),
            Kind::Driver | Kind::Rider | Kind::Revocation => return false,
        };
        if begins.is_some_and(|place| scope.contains(place.at)) {
            return true;
        }
        let Some(driver) = row.driver.filter(|_| goes_on) else { return false };
        if let Some(is_within) = drivers.get(&driver) {
            return *is_within;
        }
        let is_within = self.is_driver_within(driver, scope).await.unwrap_or(false);
        drivers.insert(driver, is_within);
        is_within
    }
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
    | OrderAction::Handover { driver } = action
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
