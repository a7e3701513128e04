//! What a job is told of how long it will take, and does not write down: when its vehicle is expected, and where in the
//! queue it is.
//!
//! ```text
//!  its driver is seen ──► Journey ──► how its region knows ways ──► Expected ─┐
//!  its driver's run is shown where that is ──► Journey of the run ──► Expected ┤
//!  its region's queue moves ───────────────────────────────────────► Queued ──┴──► kept, and shown to whoever follows it
//! ```

use crate::{
    Sight,
    search::Sighting,
    tell::{Halt, Journey},
};
use protocol::{
    DriverId, JobId, Point, Timestamp,
    view::{Etas, Queued, StopKind},
    work::VehicleKind,
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// How often it is asked how long a way takes, at most.
pub(crate) const ASK_EVERY: Duration = Duration::from_secs(5);

/// Soft, as what it is kept beside.
#[derive(Debug, Clone, Copy, Default, Serialize, Deserialize)]
pub(crate) struct Prospect {
    /// When it last asked how long its way takes.
    asked_at: Option<Timestamp>,
    pub(crate) etas: Option<Etas>,
    pub(crate) queued: Option<Queued>,
}

impl Prospect {
    /// It goes another way: what was expected was of the old one, and with the next position it asks how long this one takes.
    pub(crate) fn forget_way(&mut self) {
        (self.asked_at, self.etas) = (None, None);
    }

    /// A stop on the way is done: when it is at the next one, it asks with the next position.
    pub(crate) fn passes_stop(&mut self) {
        self.asked_at = None;
        if let Some(etas) = &mut self.etas {
            etas.next = None;
        }
    }
}

/// What a job lets others see now that its driver was seen: the way whose duration it wants to know, unless it asked a moment
/// ago; or, if the driver may go elsewhere first (there is no `vehicle` then), that nobody knows any more what was expected.
pub(crate) fn wonders(
    prospect: &mut Option<Box<Prospect>>,
    (job, driver): (JobId, DriverId),
    vehicle: Option<VehicleKind>,
    now: Timestamp,
    way: impl FnOnce(VehicleKind) -> Option<Journey>,
) -> Option<Sight> {
    let Some(vehicle) = vehicle else {
        // What was expected of it before it had company is not to be relied on. It lets itself see that, for then
        // whoever follows it does, too; once, for after that nothing is expected.
        let is_expected = prospect.as_ref().is_some_and(|it| it.etas.is_some());
        let nothing = Sighting::Expected { driver, etas: None };
        return is_expected.then(|| Sight::job(job, nothing));
    };
    let asked_at = prospect.as_ref().and_then(|it| it.asked_at);
    if asked_at.is_some_and(|at| now.since(at) < ASK_EVERY) {
        return None;
    }
    let journey = way(vehicle)?;
    prospect.get_or_insert_default().asked_at = Some(now);
    Some(Sight::Way(journey))
}

/// Keeps when its vehicle is expected. Where nothing was expected there is nothing to take back.
pub(crate) fn keep(prospect: &mut Option<Box<Prospect>>, etas: Option<Etas>) {
    if etas.is_some() || prospect.is_some() {
        prospect.get_or_insert_default().etas = etas;
    }
}

/// Where a job's driver must go, in order, of which the first is the pickup or is not.
pub(crate) fn halts(
    job: JobId,
    is_to_pickup: bool,
    places: impl IntoIterator<Item = Point>,
) -> Vec<Halt> {
    let halt = |(n, at): (usize, Point)| {
        let what = if is_to_pickup && n == 0 { StopKind::Pickup } else { StopKind::Dropoff };
        Halt { job, what, at }
    };
    places.into_iter().enumerate().map(halt).collect()
}
