//! What an order sees of its driver and does not write down: where, since when at the pickup, whether at the next stop, and
//! how far since the last checkpoint.

use super::{Command, Leg, Life, Sighting};
use crate::{
    geofence::{self, Fence, GAP_MAX, Stay},
    prospect::Prospect,
};
use protocol::{Point, Timestamp, view::StopKind};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A position older than this says nothing about where the driver is now.
const FRESH: Duration = Duration::from_mins(1);
/// Steps shorter than this are the device's noise, in metres.
const STEP_MIN_M: f64 = 10.0;
/// Moving this far is a departure, in metres.
const DEPARTED_M: f64 = 50.0;
/// How much moving makes a checkpoint.
const CHECKPOINT: Duration = Duration::from_mins(1);
/// A command to oneself that has led to nothing is given again after this.
const ASK_AGAIN: Duration = Duration::from_secs(10);
/// Whoever is faster passes by, in metres per second.
const PASSING_MPS: f32 = 3.0;

/// Soft: gone after a restart, rebuilt from the next positions, and not part of what an order *is*.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Track {
    /// Where the driver was last seen.
    at: Option<(Point, Timestamp)>,
    /// How often the driver was said to be where it was not, as was seen last: what it went is measured between two sightings that
    /// agree about that.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    n_corrected: Option<u16>,
    /// Where the driver was first seen on this leg.
    first: Option<Point>,
    /// Since when the driver has been within the fence of the pickup, however vaguely, and neither in the band around it nor silent
    /// for long: a no-show is worth money.
    #[serde(default)]
    in_fence_since: Option<Timestamp>,
    /// That the driver is where it goes next, or waits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stay: Option<Box<Stay>>,
    /// Where and when the last counted step ended.
    step: Option<(Point, Timestamp)>,
    unmetered_m: f64,
    moving: Duration,
    /// When it last asked something of itself, in seconds, for there are many orders; 0: nothing that has not led to something.
    #[serde(default)]
    asked_s: u32,
    /// What it was told to expect. In a box: of most that are under way nothing is counted yet.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub(super) prospect: Option<Box<Prospect>>,
}

impl PartialEq for Track {
    /// Two orders that differ only in what was seen are the same order.
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Track {
    /// Where the driver is and when it was seen there, if that was lately.
    pub(super) fn seen(&self, now: Timestamp) -> Option<(Point, Timestamp)> {
        self.at.filter(|(_, seen_at)| now.since(*seen_at) <= FRESH)
    }

    /// Where the driver was when it was last seen, however long ago.
    pub(super) fn last_seen(&self) -> Option<Point> {
        self.at.map(|(point, _)| point)
    }

    /// Since when the driver has been at the pickup, strictly.
    pub(super) fn in_fence_since(&self) -> Option<Timestamp> {
        self.in_fence_since
    }

    /// How far it went since the last checkpoint, in metres.
    pub(super) fn unmetered_m(&self) -> u32 {
        self.unmetered_m.round() as u32
    }

    /// The distance counts from here.
    pub(super) fn restart_meter(&mut self) {
        self.step = self.at;
        self.first = self.at.map(|(point, _)| point);
        self.unmetered_m = 0.0;
        self.moving = Duration::ZERO;
        self.asked_s = 0;
    }

    /// What was asked for has happened.
    pub(super) fn forget_asking(&mut self) {
        self.asked_s = 0;
    }

    /// So much has been written down.
    pub(super) fn checkpoint(&mut self, distance_m: u32) {
        self.unmetered_m = (self.unmetered_m - f64::from(distance_m)).max(0.0);
        self.moving = Duration::ZERO;
        self.asked_s = 0;
    }

    /// Takes in where the driver is, and says whether it has not come from where it was seen before, for that was wrong: what lies
    /// between counts for nothing then.
    fn see(&mut self, point: Point, is_at_pickup: bool, n_corrected: u16, now: Timestamp) -> bool {
        let is_broken = self.at.is_none_or(|(_, seen_at)| now.since(seen_at) > GAP_MAX);
        let since = self.in_fence_since.filter(|_| !is_broken).unwrap_or(now);
        self.in_fence_since = is_at_pickup.then_some(since);
        let before = self.n_corrected.replace(n_corrected);
        let is_anew = Sighting::is_corrected(before, n_corrected);
        if is_anew {
            (self.first, self.step) = (None, None);
        }
        self.at = Some((point, now));
        self.first.get_or_insert(point);
        is_anew
    }

    fn measure(&mut self, point: Point, now: Timestamp) {
        let Some((from, since)) = self.step else {
            self.step = Some((point, now));
            return;
        };
        let step_m = from.distance_m(point);
        if step_m >= STEP_MIN_M {
            self.unmetered_m += step_m;
            self.moving += now.since(since).min(FRESH);
            self.step = Some((point, now));
        } else if now.since(since) > FRESH {
            // It stood still: that time is not moving, that jitter is not distance.
            self.step = Some((from, now));
        }
    }

    /// Asks once, and again if nothing came of it.
    fn ask(&mut self, command: Command, now: Timestamp) -> Vec<Command> {
        let now_s = u32::try_from(now.0 / 1_000).unwrap_or(u32::MAX);
        if u64::from(now_s.saturating_sub(self.asked_s)) < ASK_AGAIN.as_secs() {
            return Vec::new();
        }
        self.asked_s = now_s;
        vec![command]
    }
}

impl Life {
    /// Takes in a position: what the order asks of itself because of it, and what its driver crossed.
    pub(super) fn see(
        &mut self,
        sighting: &Sighting,
        now: Timestamp,
    ) -> (Vec<Command>, Option<Sighting>) {
        let Sighting::DriverAt { driver, position, vehicle, n_corrected, .. } = sighting else {
            return (Vec::new(), None);
        };
        if self.assignment().is_none_or(|by| by.driver != *driver) {
            return (Vec::new(), None);
        }
        let fence = self.fence();
        let pickup_m = position.at.distance_m(self.pickup().at);
        let is_at_pickup = pickup_m <= f64::from(self.placement.policy.pickup_fence_m);
        let track = &mut self.track;
        let is_anew = track.see(position.at, is_at_pickup, *n_corrected, now);
        let crossed = geofence::crosses(fence, &mut track.stay, *driver, position, now);
        // Who has something else to do may only pass by, and where it was corrected to it may not be for long.
        let has_come = fence.is_some_and(|it| it.holds(position)) && vehicle.is_some() && !is_anew;
        let speed_mps = position.speed_mps.filter(|it| *it >= 0.0);
        let is_going_on = track.stay.as_ref().is_some_and(|stay| stay.is_going_on(now));
        let has_stopped = has_come && speed_mps.map_or(is_going_on, |it| it < PASSING_MPS);
        (self.asks(position.at, (has_come, has_stopped), now), crossed)
    }

    /// The fence around where its driver goes next, or waits; none, if it goes to no stop.
    fn fence(&self) -> Option<Fence> {
        let policy = &self.placement.policy;
        let (what, stop, radius_m) = match self.leg()? {
            Leg::Assigned | Leg::EnRoutePickup | Leg::AtPickup { .. } => {
                (StopKind::Pickup, self.first_stop(), policy.pickup_fence_m)
            }
            Leg::InProgress { .. }
            | Leg::PickedUp
            | Leg::InTransit
            | Leg::AtStop
            | Leg::AtDropoff { .. } => {
                let next = usize::from(self.stops_done).min(self.last_stop());
                (StopKind::Dropoff, next, policy.dropoff_fence_m)
            }
            Leg::FailedAttempt | Leg::Returning => return None,
        };
        let around = self.placement.stops.get(stop)?.at;
        let stop = u8::try_from(stop).unwrap_or(u8::MAX);
        Some(Fence { stop, what, around, radius_m })
    }

    /// What it asks of itself now that its driver is there, and has come to where it goes next, or has stopped there, or has not.
    fn asks(
        &mut self,
        here: Point,
        (has_come, has_stopped): (bool, bool),
        now: Timestamp,
    ) -> Vec<Command> {
        let pickup = self.pickup().at;
        let policy = self.placement.policy;
        let is_at_last_stop = self.is_at_last_stop();
        let Some(leg) = self.leg() else { return Vec::new() };
        let is_moving = matches!(leg, Leg::InProgress { .. } | Leg::InTransit | Leg::Returning);
        let is_to_pickup = matches!(leg, Leg::Assigned | Leg::EnRoutePickup);
        let is_to_dropoff = matches!(leg, Leg::InTransit) && is_at_last_stop;
        let may_depart = policy.auto_depart && matches!(leg, Leg::Assigned | Leg::PickedUp);
        let is_picked_up = matches!(leg, Leg::PickedUp);

        let track = &mut self.track;
        if is_moving || is_picked_up {
            track.measure(here, now);
        }
        let is_there = is_to_pickup && has_come || is_to_dropoff && has_stopped;
        if is_there && policy.auto_arrive {
            return track.ask(Command::Arrive {}, now);
        }
        let first = track.first.unwrap_or(here);
        let has_departed = if is_picked_up {
            first.distance_m(here) >= DEPARTED_M
        } else {
            // Towards the pickup, not merely about.
            first.distance_m(pickup) - here.distance_m(pickup) >= DEPARTED_M
        };
        if may_depart && has_departed {
            return track.ask(Command::Depart {}, now);
        }
        if is_moving && track.moving >= CHECKPOINT {
            let total_m = self.metered_m.saturating_add(track.unmetered_m());
            return track.ask(Command::Metered { total_m }, now);
        }
        Vec::new()
    }
}
