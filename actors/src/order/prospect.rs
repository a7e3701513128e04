//! What an order is told of how long it will take, and does not write down: when its vehicle is expected, and where in the
//! queue it is.
//!
//! ```text
//!  its driver is seen ──► Journey ──► how its region knows ways ──► Expected ─┐
//!  its region's queue moves ───────────────────────────────────────► Queued ──┴──► kept, and shown to whoever follows it
//! ```

use super::{Leg, Life, Sighting, Stage};
use crate::{Sight, listing::RegionId, tell::Journey};
use protocol::{
    OrderId, Place, Timestamp,
    view::{Etas, Queued},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How often it asks how long its way takes, at most.
const ASK_EVERY: Duration = Duration::from_secs(5);

/// Soft, as the track it is part of.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(super) struct Prospect {
    /// When it last asked how long its way takes.
    asked_at: Option<Timestamp>,
    etas: Option<Etas>,
    queued: Option<Queued>,
}

impl Life {
    /// What it lets others see now that its driver was seen: the way whose duration it wants to know, unless it asked a
    /// moment ago; or, if the driver may go elsewhere first, that nobody knows any more what was expected.
    pub(super) fn wonders(
        &mut self,
        id: OrderId,
        sighting: &Sighting,
        now: Timestamp,
    ) -> Option<Sight> {
        let Sighting::DriverAt { driver, position, vehicle } = sighting else { return None };
        if self.assignment().is_none_or(|by| by.driver != *driver) {
            return None;
        }
        let Some(vehicle) = vehicle.filter(|_| self.in_run().is_none()) else {
            // What was expected of it before it had company is not to be relied on. It lets itself see that, for then
            // whoever follows it does, too; once, for after that nothing is expected.
            let is_expected = self.track.prospect.as_ref().is_some_and(|it| it.etas.is_some());
            let nothing = Sighting::Expected { driver: *driver, etas: None };
            return is_expected.then_some(Sight::Order(id, nothing));
        };
        let (is_to_pickup, left) = self.stops_left()?;
        let asked_at = self.track.prospect.as_ref().and_then(|it| it.asked_at);
        if asked_at.is_some_and(|at| now.since(at) < ASK_EVERY) {
            return None;
        }
        let places = std::iter::once(position.at).chain(left.iter().map(|stop| stop.at)).collect();
        let region = RegionId::at(self.pickup().at);
        self.prospect_mut().asked_at = Some(now);
        let driver = *driver;
        Some(Sight::Way(Journey { order: id, driver, vehicle, region, places, is_to_pickup }))
    }

    /// Keeps what it is told to expect, if that is about what it is now.
    pub(super) fn is_told(&mut self, sighting: &Sighting) {
        match sighting {
            Sighting::Expected { driver, etas } => {
                let is_its_own = self.assignment().is_some_and(|by| by.driver == *driver);
                // Where nothing was expected there is nothing to take back.
                if is_its_own && (etas.is_some() || self.track.prospect.is_some()) {
                    self.prospect_mut().etas = *etas;
                }
            }
            Sighting::Queued { queued } => {
                if matches!(self.stage, Stage::Looking) {
                    self.prospect_mut().queued = Some(*queued);
                }
            }
            Sighting::DriverAt { .. } | Sighting::Connected { .. } => {}
        }
    }

    /// When its vehicle is expected, if one is under way for it alone and that was counted.
    pub(super) fn etas(&self) -> Option<Etas> {
        let (is_to_pickup, _) = self.stops_left().filter(|_| self.in_run().is_none())?;
        let etas = self.track.prospect.as_ref()?.etas?;
        Some(Etas { pickup: etas.pickup.filter(|_| is_to_pickup), ..etas })
    }

    /// Where in the queue it is, while it waits for a driver and if that was counted.
    pub(super) fn queued(&self) -> Option<Queued> {
        let is_waiting = matches!(self.stage, Stage::Looking);
        self.track.prospect.as_ref().filter(|_| is_waiting)?.queued
    }

    /// The stops that its driver still goes to, and whether the first of them is the pickup; none, if it goes to none.
    fn stops_left(&self) -> Option<(bool, &[Place])> {
        let stops = &self.placement.stops;
        let (is_to_pickup, n_done) = match self.leg()? {
            Leg::Assigned | Leg::EnRoutePickup => (true, 0),
            Leg::AtPickup { .. } => (false, 1),
            Leg::InProgress { .. } | Leg::PickedUp | Leg::InTransit | Leg::AtStop => {
                (false, usize::from(self.stops_done).max(1))
            }
            Leg::AtDropoff { .. } | Leg::FailedAttempt | Leg::Returning => return None,
        };
        let left = stops.get(n_done..).filter(|left| !left.is_empty())?;
        Some((is_to_pickup, left))
    }

    fn prospect_mut(&mut self) -> &mut Prospect {
        self.track.prospect.get_or_insert_default()
    }
}
