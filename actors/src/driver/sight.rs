//! Signs of life and positions: what is believed, what regions are shown, what jobs are passed.

use super::{Command, Driver, Duty, Job, Link, Sighting, ms};
use crate::{Context, Refusal, Seen, Sight, listing::RegionId, search};
use protocol::{DriverId, JobId, Point, Principal, Timestamp, view::Position};
use serde::{Deserialize, Serialize};
use std::time::Duration;

/// A position older than this is none.
const POSITION_AGE_MAX: Duration = Duration::from_secs(60);
/// Whoever was this near to a pickup has been there, in metres.
const PICKUP_M: f64 = 150.0;
/// How far ahead a device's clock may be.
const CLOCK_SKEW_MAX: Duration = Duration::from_secs(30);
/// Shorter jumps are the noise of a standing receiver.
const JUMP_MIN_M: f64 = 200.0;
/// A driver no further than this from where it was, north and east, is near enough for choosing among drivers: two
/// hundred metres, in degrees. Two subtractions, where to find out the cell of a place costs more than all the rest.
const NEAR_DEG: f64 = 0.0018;

/// What is known of a driver and not written down. Equal to any other, since a replay cannot know it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Soft {
    heard_at: Timestamp,
    position: Option<Position>,
    received_at: Timestamp,
    /// Written under another name, for an earlier build writes something else as `shown`. To each of them the other has
    /// shown nothing yet, and shows its next position.
    #[serde(rename = "listed", default)]
    shown: Option<Shown>,
    /// At the pickup of which job it was last.
    pickup_of: Option<JobId>,
}

/// The position that regions were last shown.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Shown {
    pub(super) at: Point,
    pub(super) seen_at: Timestamp,
    shown_at: Timestamp,
    /// The region that should know: that of `region_of`, which is near.
    pub(super) region: RegionId,
    region_of: Point,
}

impl PartialEq for Soft {
    fn eq(&self, _: &Self) -> bool {
        true
    }
}

impl Soft {
    pub(super) fn heard(&mut self, at: Timestamp) {
        self.heard_at = self.heard_at.max(at);
    }

    pub(super) fn heard_at(&self) -> Timestamp {
        self.heard_at
    }

    pub(super) fn position(&self) -> Option<&Position> {
        self.position.as_ref()
    }

    /// Has it been where this job begins? Forgotten in a restart, and then it counts as no.
    pub(super) fn was_at_pickup_of(&self, job: JobId) -> bool {
        self.pickup_of == Some(job)
    }

    pub(super) fn shown(&self) -> Option<&Shown> {
        self.shown.as_ref()
    }

    /// Nobody tracks a driver who is off duty.
    pub(super) fn forget(&mut self) {
        self.position = None;
        self.shown = None;
    }
}

pub(super) fn see(
    driver: &mut Driver,
    sighting: &Sighting,
    context: &Context<DriverId>,
) -> Seen<Command> {
    let mut seen = Seen::default();
    let is_own = match context.by {
        Principal::System => true,
        Principal::Driver(by) => by == context.id,
        Principal::Rider(_) | Principal::Merchant(_) | Principal::Dispatcher | Principal::Admin => {
            false
        }
    };
    if !is_own {
        seen.refused = Some(Refusal::NotYours("only a driver says where it is".to_owned()));
        return seen;
    }
    if driver.duty == Duty::Off {
        return seen;
    }
    driver.soft.heard(context.now);
    if driver.link != Link::Live {
        seen.asks.push(Command::Tick {});
    }
    match sighting {
        Sighting::Heartbeat => {
            if context.now.since(driver.soft.received_at) > POSITION_AGE_MAX {
                driver.soft.shown = None;
            }
        }
        Sighting::At(position) => match driver.check(position, context.now) {
            Err(refusal) => seen.refused = Some(refusal),
            Ok(()) => {
                driver.soft.position = Some(*position);
                driver.soft.received_at = context.now;
                driver.show(position, context.now);
                let is_there = |job: &&Job| {
                    !job.is_next()
                        && job.way.is_some_and(|way| way.from.distance_m(position.at) <= PICKUP_M)
                };
                if let Some(job) = driver.jobs.iter().find(is_there) {
                    driver.soft.pickup_of = Some(job.id);
                }
                let on_job = driver.jobs.iter().filter(|job| job.is_current() && !job.is_next());
                seen.passed_on.extend(on_job.map(|job| {
                    let sighting =
                        search::Sighting::DriverAt { driver: context.id, position: *position };
                    Sight::job(job.id, sighting)
                }));
            }
        },
    }
    seen
}

impl Driver {
    /// Can the device really be there?
    fn check(&self, position: &Position, now: Timestamp) -> Result<(), Refusal> {
        if position.sampled_at > now + CLOCK_SKEW_MAX {
            return Err(Refusal::invalid("sampled_at", "is in the future"));
        }
        let accuracy_max_m = self.policy.accuracy_max_m;
        if position
            .accuracy_m
            .is_some_and(|accuracy_m| !(0.0..=accuracy_max_m).contains(&accuracy_m))
        {
            return Err(Refusal::invalid(
                "accuracy_m",
                format!("must be at most {accuracy_max_m}"),
            ));
        }
        let Some(last) = &self.soft.position else { return Ok(()) };
        if position.sampled_at <= last.sampled_at {
            return Err(Refusal::invalid("sampled_at", "is not after the last one"));
        }
        let distance_m = last.at.distance_m(position.at);
        let elapsed_s = position.sampled_at.since(last.sampled_at).as_secs_f64();
        if distance_m > JUMP_MIN_M && distance_m > f64::from(self.policy.speed_max_mps) * elapsed_s
        {
            return Err(Refusal::invalid(
                "at",
                format!("{distance_m:.0} m in {elapsed_s:.1} s is a jump"),
            ));
        }
        Ok(())
    }

    /// Lets regions see the position, unless it is as good as the one they know.
    fn show(&mut self, position: &Position, now: Timestamp) {
        let shown = self.soft.shown;
        let is_known = shown.is_some_and(|shown| {
            is_near(shown.at, position.at) && now.since(shown.shown_at) < ms(self.policy.relist_ms)
        });
        if is_known {
            return;
        }
        let looked_up = shown.filter(|shown| is_near(shown.region_of, position.at));
        let (region, region_of) = looked_up.map_or_else(
            || (RegionId::at(position.at), position.at),
            |shown| (shown.region, shown.region_of),
        );
        let seen_at = position.sampled_at.min(now);
        self.soft.shown =
            Some(Shown { at: position.at, seen_at, shown_at: now, region, region_of });
    }
}

/// At the date line nobody is near: there it is looked up more often, and that is all.
fn is_near(one: Point, other: Point) -> bool {
    (one.lat - other.lat).abs() < NEAR_DEG && (one.lon - other.lon).abs() < NEAR_DEG
}
