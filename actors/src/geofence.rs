//! Whether somebody is where they have something to do: in once they are within the fence, and out only well beyond it.
//!
//! ```text
//!               entered: within the radius                  dwelt: after two minutes
//!  no stay ─────────────────────────────────────► stay ─────────────────────────────► stay that has dwelt
//!     ▲                                             │                                        │
//!     └──────── exited: beyond the radius and half as much again, 50 m at least ─────────────┘
//! ```
//!
//! A receiver that stands at a fence trembles across it, and by less than that band, so whoever is there is not told to come and
//! to go all the time. A position that is vaguer than the fence is wide says nothing about it, but that whoever is inside may be
//! there still. What somebody is paid for is not judged by this, but strictly by the radius.
//!
//! Pure: what is known of somebody, and where they are seen, make what is known then. It is kept beside what else a job saw of its
//! driver, and written down nowhere.

use crate::search::Sighting;
use protocol::{
    DriverId, Point, Timestamp,
    view::{Crossing, Position, StopKind},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How much further out than in, as a part of the radius…
const BAND: f64 = 0.5;
/// … and at least, in metres.
const BAND_MIN_M: f64 = 50.0;
/// Whoever has been inside for so long has dwelt.
const DWELL: Duration = Duration::from_mins(2);
/// After a longer silence nobody knows where somebody was meanwhile: how long they have been inside counts anew.
pub(crate) const GAP_MAX: Duration = Duration::from_mins(2);

/// A circle around one of the stops of a job.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) struct Fence {
    /// Which stop: two may be at the same place.
    pub(crate) stop: u8,
    /// What is to be done there.
    pub(crate) what: StopKind,
    /// Its middle.
    pub(crate) around: Point,
    /// How far it reaches.
    pub(crate) radius_m: u32,
}

/// That somebody is inside a fence.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub(crate) struct Stay {
    stop: u8,
    around: Point,
    /// Since when, without a longer silence.
    since: Timestamp,
    /// When they were last seen there.
    seen_at: Timestamp,
    has_dwelt: bool,
}

impl Stay {
    /// Were they seen there before, too?
    pub(crate) fn is_going_on(&self, now: Timestamp) -> bool {
        self.since < now
    }
}

/// Takes in where a driver is who goes to that fence, if to any. What it crossed is for those who follow the job, which does
/// nothing about it.
pub(crate) fn crosses(
    fence: Option<Fence>,
    kept: &mut Option<Box<Stay>>,
    driver: DriverId,
    position: &Position,
    now: Timestamp,
) -> Option<Sighting> {
    let Some(fence) = fence else {
        *kept = None;
        return None;
    };
    let crossing = fence.see(kept, position, now)?;
    let Fence { stop, what, .. } = fence;
    Some(Sighting::Crossed { driver, stop, what, crossing, at: now })
}

impl Fence {
    /// What becomes of a stay when somebody is seen, and what they crossed. A stay within another fence is none; it is not told
    /// to have ended.
    fn judge(
        &self,
        stay: Option<Stay>,
        position: &Position,
        now: Timestamp,
    ) -> (Option<Stay>, Option<Crossing>) {
        let stay = stay.filter(|stay| (stay.stop, stay.around) == (self.stop, self.around));
        let radius_m = f64::from(self.radius_m);
        let distance_m = self.around.distance_m(position.at);
        if let Some(vague_m) = self.vague_m(position) {
            let may_be_inside = distance_m <= radius_m + vague_m;
            // How long they have been there does not begin anew because of that, nor go on after a silence.
            let is_seen = |stay: &Stay| may_be_inside && now.since(stay.seen_at) <= GAP_MAX;
            let seen = stay.map(|it| if is_seen(&it) { Stay { seen_at: now, ..it } } else { it });
            return (seen, None);
        }
        match stay {
            None if distance_m <= radius_m => (Some(self.entered(now)), Some(Crossing::Entered)),
            None => (None, None),
            Some(_) if distance_m > radius_m + (radius_m * BAND).max(BAND_MIN_M) => {
                (None, Some(Crossing::Exited))
            }
            Some(stay) => {
                let is_broken = now.since(stay.seen_at) > GAP_MAX;
                let since = if is_broken { now } else { stay.since };
                let has_now_dwelt = !stay.has_dwelt && now.since(since) >= DWELL;
                let has_dwelt = stay.has_dwelt || has_now_dwelt;
                let stay = Stay { since, seen_at: now, has_dwelt, ..stay };
                (Some(stay), has_now_dwelt.then_some(Crossing::Dwelt))
            }
        }
    }

    /// The same of a stay that is kept. In a box: few are inside of anything.
    fn see(
        &self,
        kept: &mut Option<Box<Stay>>,
        position: &Position,
        now: Timestamp,
    ) -> Option<Crossing> {
        let (stay, crossing) = self.judge(kept.as_deref().copied(), position, now);
        match (kept, stay) {
            (Some(kept), Some(stay)) => **kept = stay,
            (kept, stay) => *kept = stay.map(Box::new),
        }
        crossing
    }

    /// Is somebody who is there surely inside, and not in the band around it?
    pub(crate) fn holds(&self, position: &Position) -> bool {
        let distance_m = self.around.distance_m(position.at);
        self.vague_m(position).is_none() && distance_m <= f64::from(self.radius_m)
    }

    /// How vague a position is, in metres, if that is more than the fence is wide.
    fn vague_m(&self, position: &Position) -> Option<f64> {
        let accuracy_m = position.accuracy_m.map(f64::from);
        accuracy_m.filter(|accuracy_m| *accuracy_m > f64::from(self.radius_m))
    }

    fn entered(&self, now: Timestamp) -> Stay {
        let Self { stop, around, .. } = *self;
        Stay { stop, around, since: now, seen_at: now, has_dwelt: false }
    }
}

#[cfg(test)]
mod tests;
