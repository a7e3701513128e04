//! When an order's vehicle is expected, and where in the queue it is: what of `crate::prospect` is an order's own.

use super::{Leg, Life, Sighting, Stage};
use crate::{Sight, listing::RegionId, prospect, tell::Journey};
use protocol::{
    JobId, OrderId, Place, Timestamp,
    view::{Eta, Etas, Queued},
};

impl Life {
    /// What it lets others see now that its driver was seen: the way whose duration it wants to know, or that nobody knows
    /// any more what was expected. Of what is brought with others, their run asks.
    pub(super) fn wonders(
        &mut self,
        id: OrderId,
        sighting: &Sighting,
        now: Timestamp,
    ) -> Option<Sight> {
        let Sighting::DriverAt { driver, position, vehicle, run, .. } = sighting else {
            return None;
        };
        if self.assignment().is_none_or(|by| by.driver != *driver) {
            return None;
        }
        let in_run = self.in_run();
        if in_run.is_some() && in_run == *run {
            return None;
        }
        let vehicle = vehicle.filter(|_| in_run.is_none());
        let job = JobId::Order(id);
        let mut prospect = self.track.prospect.take();
        let wonders = prospect::wonders(&mut prospect, (job, *driver), vehicle, now, |vehicle| {
            let (is_to_pickup, left) = self.stops_left()?;
            Some(Journey {
                driver: *driver,
                vehicle,
                region: RegionId::at(self.pickup().at),
                from: position.at,
                halts: prospect::halts(job, is_to_pickup, left.iter().map(|stop| stop.at)),
            })
        });
        self.track.prospect = prospect;
        wonders
    }

    /// Keeps what it is told to expect, if that is about what it is now.
    pub(super) fn is_told(&mut self, sighting: &Sighting) {
        match sighting {
            Sighting::Expected { driver, etas } => {
                let is_its_own = self.assignment().is_some_and(|by| by.driver == *driver);
                if is_its_own {
                    prospect::keep(&mut self.track.prospect, *etas);
                }
            }
            Sighting::Queued { queued } => {
                if matches!(self.stage, Stage::Looking) {
                    self.track.prospect.get_or_insert_default().queued = Some(*queued);
                }
            }
            Sighting::DriverAt { .. } | Sighting::Connected { .. } | Sighting::Crossed { .. } => {}
        }
    }

    /// When its vehicle is expected, if one is under way and that was counted.
    pub(super) fn etas(&self) -> Option<Etas> {
        let (is_to_pickup, _) = self.stops_left()?;
        let etas = self.track.prospect.as_ref()?.etas?;
        Some(Etas { pickup: etas.pickup.filter(|_| is_to_pickup), ..etas })
    }

    /// Of when its vehicle is expected, when it is at the next place it must be.
    pub(super) fn next_of(&self, etas: &Etas) -> Option<Eta> {
        let (is_to_pickup, left) = self.stops_left()?;
        if is_to_pickup {
            etas.pickup
        } else if left.len() == 1 {
            etas.arrival
        } else {
            etas.next
        }
    }

    /// Where in the queue it is, while it waits for a driver and if that was counted.
    pub(super) fn queued(&self) -> Option<Queued> {
        let is_waiting = matches!(self.stage, Stage::Looking);
        self.track.prospect.as_ref().filter(|_| is_waiting)?.queued
    }

    /// A stop on the way is done.
    pub(super) fn passes_stop(&mut self) {
        if let Some(prospect) = &mut self.track.prospect {
            prospect.passes_stop();
        }
    }

    /// The stops that its driver still goes to, and whether the first of them is the pickup; none, if it goes to none.
    fn stops_left(&self) -> Option<(bool, &[Place])> {
        let stops = self.placement.stops.get(..=self.last_stop())?;
        let first = self.first_stop();
        let (is_to_pickup, n_done) = match self.leg()? {
            Leg::Assigned | Leg::EnRoutePickup => (true, first),
            Leg::AtPickup { .. } => (false, first + 1),
            Leg::InProgress { .. } | Leg::PickedUp | Leg::InTransit | Leg::AtStop => {
                (false, usize::from(self.stops_done).max(1))
            }
            Leg::AtDropoff { .. } | Leg::FailedAttempt | Leg::Returning => return None,
        };
        let left = stops.get(n_done..).filter(|left| !left.is_empty())?;
        Some((is_to_pickup, left))
    }
}
