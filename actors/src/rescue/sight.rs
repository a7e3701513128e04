//! What a rescue makes of its driver's positions: whether it is there, stays there, or sets off.

use super::{Case, Command, Event, Rescue, Sighting, ms, triage};
use crate::{
    Context, Refusal, Seen, Sight, Waited,
    geofence::{self, Fence, Stay},
    listing::RegionId,
    prospect::{self, Prospect},
    tell::{Halt, Journey},
};
use protocol::{
    DriverId, JobId, Point, RescueId, RescueStatus, Timestamp,
    view::{Eta, Etas, Queued, StopKind},
};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// Coming this much closer means having set off, in metres.
const DEPARTED_M: f64 = 50.0;
/// A position older than this says nothing about where the driver is.
const AGE_MAX: Duration = Duration::from_secs(60);

/// What is known of the driver and not written down. Equal to any other, since a replay cannot know
/// it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Soft {
    /// Who was seen last, where, and when.
    seen: Option<(DriverId, Point, Timestamp)>,
    /// When it was last seen outside the fence of the scene.
    outside_at: Option<Timestamp>,
    /// How far it was from the scene when this leg began.
    leg_from_m: Option<f64>,
    /// How often it was said to be where it was not, as was seen last.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    n_corrected: Option<u16>,
    /// Since when there has been a driver who was not seen on this job yet. Of one who accepted before this life it says nothing.
    #[serde(default)]
    unseen_since: Option<Timestamp>,
    /// What it was told to expect.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    prospect: Option<Box<Prospect>>,
    /// That whoever helps is where they go next, or wait.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    stay: Option<Box<Stay>>,
}

impl PartialEq for Soft {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Soft {
    /// The status has changed: movement is measured anew, and whoever has just accepted is to be seen, until it is there or gone.
    pub(super) fn enter(&mut self, status: RescueStatus, at: Timestamp) {
        self.leg_from_m = None;
        // Whoever sets off is as far away as before.
        if status != RescueStatus::EnRoute {
            self.prospect = None;
        }
        if status == RescueStatus::Accepted {
            self.unseen_since = Some(at);
        } else if status != RescueStatus::EnRoute {
            self.unseen_since = None;
        }
    }

    /// It is somewhere else, or is brought somewhere else.
    pub(super) fn forget_way(&mut self) {
        if let Some(prospect) = &mut self.prospect {
            prospect.forget_way();
        }
    }

    /// Keeps what it is told to expect, if that is about what it is now.
    fn is_told(&mut self, case: &Case, sighting: &Sighting) {
        match sighting {
            Sighting::Expected { driver, etas } => {
                let is_its_own = case.driver.as_ref().is_some_and(|by| by.driver == *driver);
                if is_its_own && !case.status.is_final() {
                    prospect::keep(&mut self.prospect, *etas);
                }
            }
            Sighting::Queued { queued } => {
                if case.is_waiting() {
                    self.prospect.get_or_insert_default().queued = Some(*queued);
                }
            }
            Sighting::DriverAt { .. } | Sighting::Connected { .. } | Sighting::Crossed { .. } => {}
        }
    }

    /// When whoever helps is expected, if they are under way and that was counted.
    pub(super) fn etas(&self, case: &Case) -> Option<Etas> {
        let (is_to_scene, _) = case.places_left()?;
        let etas = self.prospect.as_ref()?.etas?;
        Some(Etas { pickup: etas.pickup.filter(|_| is_to_scene), ..etas })
    }

    /// Where in the queue it is, while it waits for a driver and if that was counted.
    pub(super) fn queued(&self, case: &Case) -> Option<Queued> {
        self.prospect.as_ref().filter(|_| case.is_waiting())?.queued
    }

    /// Since when the driver has waited at the scene without leaving it.
    pub(super) fn waits_since(&self, arrived_at: Timestamp) -> Timestamp {
        self.outside_at.map_or(arrived_at, |left_at| left_at.max(arrived_at))
    }

    /// How long its rider has waited to be told when the driver comes, if nobody has seen it on this job yet.
    fn unseen(&self, case: &Case, now: Timestamp) -> Option<Waited> {
        let at_most = ms(case.request.policy.eta_within_ms);
        self.unseen_since.map(|since| Waited { what: "eta", took: now.since(since), at_most })
    }

    /// The same of one who is there without having been seen; or who has gone, or when all is over, too late already.
    pub(super) fn waited_unseen(&self, case: &Case, event: &Event) -> Option<Waited> {
        let (Event::Arrived { at } | Event::DriverReleased { at, .. } | Event::Ended { at, .. }) =
            event
        else {
            return None;
        };
        let is_there = matches!(event, Event::Arrived { .. });
        self.unseen(case, *at).filter(|it| is_there || it.is_missed())
    }

    /// Refuses unless `driver` is within `limit_m` of `point`.
    pub(super) fn require_near(
        &self,
        driver: DriverId,
        point: Point,
        limit_m: u32,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let recent = self.seen.filter(|(seen, _, at)| *seen == driver && now.since(*at) <= AGE_MAX);
        let Some((_, at, seen_at)) = recent else {
            let what = "no recent position of the driver".to_owned();
            return Err(Refusal::TooEarly { what, remaining_ms: 1_000 });
        };
        let distance_m = at.distance_m(point).round() as u32;
        match distance_m <= limit_m {
            true => Ok(()),
            false => Err(Refusal::too_far(distance_m, limit_m, now.since(seen_at))),
        }
    }
}

pub(super) fn see(
    rescue: &mut Rescue,
    sighting: &Sighting,
    context: &Context<RescueId>,
) -> Seen<Command> {
    let mut seen = Seen::default();
    let Some(case) = rescue.case.as_deref() else { return seen };
    rescue.soft.is_told(case, sighting);
    let Sighting::DriverAt { driver, position, vehicle, n_corrected, .. } = sighting else {
        return seen;
    };
    if case.driver.as_ref().is_none_or(|it| it.driver != *driver) || case.status.is_final() {
        return seen;
    }
    let soft = &mut rescue.soft;
    seen.waited = soft.unseen(case, context.now);
    soft.unseen_since = None;
    if soft.seen.is_none_or(|(before, ..)| before != *driver) {
        // That was somebody else's.
        (soft.stay, soft.n_corrected) = (None, None);
    }
    let before = soft.n_corrected.replace(*n_corrected);
    let is_anew = Sighting::is_corrected(before, *n_corrected);
    if is_anew {
        // It has not come from where it was seen before: that was wrong.
        soft.leg_from_m = None;
    }
    soft.seen = Some((*driver, position.at, context.now));
    let fence = case.fence();
    let crossed = geofence::crosses(fence, &mut soft.stay, *driver, position, context.now);
    // It lets itself see that, for then whoever follows it does, too.
    seen.passed_on.extend(crossed.map(|it| Sight::Rescue(context.id, it)));
    // Where it was corrected to it may not be for long. Whoever helps has nothing else to do.
    let is_there = fence.is_some_and(|it| it.holds(position)) && !is_anew;
    let (job, from) = (JobId::Rescue(context.id), position.at);
    let way = |vehicle| {
        let region = RegionId::at(case.request.at.at);
        let halts = case.halts(context.id)?;
        Some(Journey { driver: *driver, vehicle, region, from, halts })
    };
    let prospect = &mut soft.prospect;
    let wonders = prospect::wonders(prospect, (job, *driver), *vehicle, context.now, way);
    seen.passed_on.extend(wonders);
    let to_scene_m = position.at.distance_m(case.request.at.at);
    if to_scene_m > f64::from(triage::scene_fence_m(&case.request)) {
        soft.outside_at = Some(context.now);
    }
    let leg_from_m = *soft.leg_from_m.get_or_insert(to_scene_m);
    seen.asks.extend(asked_by_moving(case, is_there, leg_from_m - to_scene_m));
    seen
}

/// What the driver would say now, had it a hand free: it is where it goes, or has come so much closer to the scene.
fn asked_by_moving(case: &Case, is_there: bool, closer_m: f64) -> Option<Command> {
    let policy = &case.request.policy;
    let has_departed =
        policy.auto_depart && case.status == RescueStatus::Accepted && closer_m >= DEPARTED_M;
    let is_on_the_way = matches!(
        case.status,
        RescueStatus::Accepted | RescueStatus::EnRoute | RescueStatus::InTransit
    );
    if policy.auto_arrive && is_on_the_way && is_there {
        return Some(Command::Arrive {});
    }
    has_departed.then_some(Command::Depart {})
}

impl Case {
    /// Does it wait for a driver?
    fn is_waiting(&self) -> bool {
        let is_searching = matches!(self.status, RescueStatus::Searching | RescueStatus::Escalated);
        is_searching && self.driver.is_none()
    }

    /// The fence around where whoever helps goes next, or is; none, if nobody helps, or they are done.
    fn fence(&self) -> Option<Fence> {
        let scene = Fence {
            stop: 0,
            what: StopKind::Pickup,
            around: self.request.at.at,
            radius_m: triage::scene_fence_m(&self.request),
        };
        match self.status {
            RescueStatus::Accepted
            | RescueStatus::EnRoute
            | RescueStatus::OnScene
            | RescueStatus::Assisting
            | RescueStatus::Loading
            | RescueStatus::Escalated => Some(scene),
            RescueStatus::InTransit | RescueStatus::AtDropoff => {
                let around = self.request.dropoff.as_ref()?.at;
                let radius_m = self.request.policy.dropoff_fence_m;
                Some(Fence { stop: 1, what: StopKind::Dropoff, around, radius_m })
            }
            RescueStatus::Requested
            | RescueStatus::Searching
            | RescueStatus::Completed
            | RescueStatus::RejectedOutOfArea
            | RescueStatus::NoDriver
            | RescueStatus::CancelledByRider
            | RescueStatus::CancelledByAdmin
            | RescueStatus::NoShow
            | RescueStatus::CancelledSafety
            | RescueStatus::Failed => None,
        }
    }

    /// Where whoever helps still goes, and whether they are on the way to the scene; none, if they go nowhere.
    fn places_left(&self) -> Option<(bool, [Option<Point>; 2])> {
        let scene = Some(self.request.at.at);
        let dropoff = self.request.dropoff.as_ref().map(|dropoff| dropoff.at);
        match self.status {
            RescueStatus::Accepted | RescueStatus::EnRoute => Some((true, [scene, dropoff])),
            RescueStatus::InTransit => Some((false, [dropoff, None])),
            RescueStatus::Requested
            | RescueStatus::Searching
            | RescueStatus::OnScene
            | RescueStatus::Assisting
            | RescueStatus::Loading
            | RescueStatus::AtDropoff
            | RescueStatus::Escalated
            | RescueStatus::Completed
            | RescueStatus::RejectedOutOfArea
            | RescueStatus::NoDriver
            | RescueStatus::CancelledByRider
            | RescueStatus::CancelledByAdmin
            | RescueStatus::NoShow
            | RescueStatus::CancelledSafety
            | RescueStatus::Failed => None,
        }
    }

    /// The same, as stops.
    fn halts(&self, id: RescueId) -> Option<Vec<Halt>> {
        let (is_to_scene, places) = self.places_left()?;
        let halts = prospect::halts(JobId::Rescue(id), is_to_scene, places.into_iter().flatten());
        (!halts.is_empty()).then_some(halts)
    }

    /// Of when whoever helps is expected, when they are at the next place they must be.
    pub(super) fn next_of(&self, etas: &Etas) -> Option<Eta> {
        let (is_to_scene, _) = self.places_left()?;
        if is_to_scene { etas.pickup } else { etas.arrival }
    }
}
