//! Signs of life and positions: what regions are shown, and what jobs are passed, of what is believed.

use super::{
    Command, Driver, Duty, Job, Link, Sighting,
    doubt::{self, Doubts, Judged},
    ms,
};
use crate::{Context, Refusal, Seen, Sight, listing::RegionId, prospect::ASK_EVERY, run, search};
use matching::Came;
use protocol::{DriverId, JobId, Point, Principal, RunId, Timestamp, view::Position};
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};

/// A position older than this is none.
const POSITION_AGE_MAX: Duration = Duration::from_secs(60);
/// Whoever was this near to a pickup has been there, in metres.
pub(super) const PICKUP_M: f64 = 150.0;
/// How far ahead a device's clock may be.
const CLOCK_SKEW_MAX: Duration = Duration::from_secs(30);
/// Whoever is slower heads nowhere, in metres per second.
const MOVING_MPS: f32 = 2.0;
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
    /// The way to a pickup that it is on.
    #[serde(default)]
    set_out: Option<Box<SetOut>>,
    /// How the last such way went.
    #[serde(default)]
    came: Option<Arc<Came>>,
    /// How long it has had something to do since it last rested properly, up to `busy_since`.
    #[serde(default)]
    busy_ms: u32,
    /// Since when it has; none while it has not.
    #[serde(default)]
    busy_since: Option<Timestamp>,
    /// When it last showed its run where it is, in seconds, for a driver has little room; 0: never.
    #[serde(default)]
    asked_run_s: u32,
    /// What speaks against its device, if anything does. In a box: of most nothing does.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    doubts: Option<Box<Doubts>>,
    /// How often what was believed turned out to be wrong. A job that misses the sighting that said so still sees it by the next.
    #[serde(default)]
    n_corrected: u16,
}

/// A way to a pickup that is not over.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
struct SetOut {
    job: JobId,
    from: Point,
    at: Timestamp,
}

/// The position that regions were last shown.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Shown {
    pub(super) at: Point,
    pub(super) seen_at: Timestamp,
    shown_at: Timestamp,
    /// Where it headed; none if it stood, or nobody knows.
    #[serde(default)]
    pub(super) heading_deg: Option<u16>,
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

    /// Has its device said too often, until then, that it is where it cannot be?
    pub(super) fn is_doubted(&self, now: Timestamp) -> bool {
        self.doubts.as_ref().is_some_and(|doubts| doubts.is_doubted(now))
    }

    /// Were those who follow it told that?
    fn is_marked(&self) -> bool {
        self.doubts.as_ref().is_some_and(|doubts| doubts.is_marked())
    }

    /// What counts no more is forgotten.
    fn forgive(&mut self, now: Timestamp) {
        if self.doubts.as_ref().is_some_and(|doubts| doubts.is_forgiven(now)) {
            self.doubts = None;
        }
    }

    /// Judges a position by what is known of the device, and keeps in mind what came of it. Says why it is not believed, if it is
    /// not.
    fn believes(
        &mut self,
        position: &Position,
        speed_max_mps: f32,
        now: Timestamp,
    ) -> Result<(), Refusal> {
        let suspect = self.doubts.as_ref().and_then(|doubts| doubts.suspect());
        let heard_at = self.received_at;
        let judged = self.position.as_ref().map_or(Judged::Plausible, |last| {
            doubt::judge(last, heard_at, suspect, position, speed_max_mps, now)
        });
        if let Judged::Jump { distance_m, elapsed_s, suspect } = judged {
            self.doubts.get_or_insert_default().jumps(suspect, now);
            let problem = format!("{distance_m:.0} m in {elapsed_s:.1} s is a jump");
            return Err(Refusal::invalid("at", problem));
        }
        if let Some(doubts) = &mut self.doubts {
            doubts.is_believed();
        }
        if judged == Judged::Corrects {
            self.n_corrected = self.n_corrected.wrapping_add(1);
            // Where it set out from was wrong, too.
            self.set_out = None;
        }
        self.position = Some(*position);
        self.received_at = now;
        Ok(())
    }

    /// Nobody tracks a driver who is off duty.
    pub(super) fn forget(&mut self) {
        self.position = None;
        self.shown = None;
        self.set_out = None;
        self.came = None;
    }

    /// It goes to the pickup of a job, and nowhere else before.
    pub(super) fn sets_out(&mut self, job: JobId, at: Timestamp) {
        let from = self.position.map(|position| position.at);
        self.set_out = from.map(|from| Box::new(SetOut { job, from, at }));
    }

    /// Is it time to show its run where it is, so that its orders know when it comes? A run is not woken by every position.
    fn asks_run(&mut self, now: Timestamp) -> bool {
        let now_s = u32::try_from(now.0 / 1_000).unwrap_or(u32::MAX);
        let is_time = u64::from(now_s.saturating_sub(self.asked_run_s)) >= ASK_EVERY.as_secs();
        if is_time {
            self.asked_run_s = now_s;
        }
        is_time
    }

    /// It is where a job begins.
    fn arrives(&mut self, job: JobId, to: Point, now: Timestamp) {
        if self.pickup_of == Some(job) {
            return;
        }
        self.pickup_of = Some(job);
        let Some(set_out) = self.set_out.take().filter(|it| it.job == job) else { return };
        let SetOut { from, at: left_at, .. } = *set_out;
        let took_ms = u32::try_from(now.ms_since(left_at)).unwrap_or(u32::MAX);
        self.came = Some(Arc::new(Came { from, to, left_at, took_ms }));
    }

    /// How its last way to a pickup went, if it has had one since it went on duty.
    pub(super) fn came(&self) -> Option<&Arc<Came>> {
        self.came.as_ref()
    }

    /// It has something to do from now on.
    pub(super) fn is_busy_from(&mut self, at: Timestamp) {
        self.busy_since.get_or_insert(at);
    }

    /// It has nothing to do any more.
    pub(super) fn is_idle_from(&mut self, at: Timestamp) {
        self.busy_ms = self.busy_ms(at);
        self.busy_since = None;
    }

    /// It has rested properly.
    pub(super) fn is_rested(&mut self) {
        self.busy_ms = 0;
    }

    /// How long it has had something to do since it last rested properly, in milliseconds. Only what was seen: a restart
    /// forgets it.
    pub(super) fn busy_ms(&self, now: Timestamp) -> u32 {
        let running = self.busy_since.map_or(0, |since| now.ms_since(since));
        self.busy_ms.saturating_add(u32::try_from(running).unwrap_or(u32::MAX))
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
    let is_for_others = matches!(sighting, Sighting::Doubted { .. });
    if driver.duty == Duty::Off || is_for_others {
        return seen;
    }
    let was_marked = driver.soft.is_marked();
    driver.soft.heard(context.now);
    if driver.link != Link::Live {
        seen.asks.push(Command::Tick {});
    }
    match sighting {
        Sighting::Heartbeat => {
            let age = context.now.since(driver.soft.received_at);
            if age > POSITION_AGE_MAX {
                driver.soft.shown = None;
            }
            if age >= ms(driver.policy.stale_ms) {
                seen.passed_on.extend(driver.expected_no_more(context.id));
            }
        }
        Sighting::MadeUp => {
            driver.soft.doubts.get_or_insert_default().rise(context.now);
            seen.implausible = Some("mock");
            let problem = "the device knows that its position is made up";
            seen.refused = Some(Refusal::invalid("mock", problem));
        }
        Sighting::At(position) => match driver.check(position, context.now) {
            Err(refusal) => seen.refused = Some(refusal),
            Ok(()) => {
                let speed_max_mps = driver.policy.speed_max_mps;
                match driver.soft.believes(position, speed_max_mps, context.now) {
                    Ok(()) => driver.is_at(position, context, &mut seen),
                    Err(jump) => {
                        (seen.implausible, seen.refused) = (Some("jump"), Some(jump));
                    }
                }
            }
        },
        Sighting::Doubted { .. } => {}
    }
    driver.soft.forgive(context.now);
    let doubted = driver.soft.is_marked();
    if doubted != was_marked {
        // It lets itself see that, for then whoever follows it does, too.
        seen.passed_on.push(Sight::Driver(context.id, Sighting::Doubted { doubted }));
    }
    seen
}

impl Driver {
    /// It is there, and is believed: what regions, its jobs and its run see of that.
    fn is_at(
        &mut self,
        position: &Position,
        context: &Context<DriverId>,
        seen: &mut Seen<Command>,
    ) {
        self.show(position, context.now);
        let is_there = |job: &&Job| {
            !job.is_next()
                && job.way.is_some_and(|way| way.from.distance_m(position.at) <= PICKUP_M)
        };
        // Where several begin, the last one is remembered, of which it is asked whether anything is left to fetch.
        let there = self.jobs.iter().filter(is_there);
        for (job, way) in there.filter_map(|job| Some((job.id, job.way?))) {
            self.soft.arrives(job, way.from, context.now);
        }
        let on_job = self.on_job();
        // Who has several may go to another one first, and nobody is to count on its way, unless a run says which.
        let is_alone = on_job.clone().count() == 1;
        let kind = self.vehicle.as_ref().map(|it| it.kind);
        let (vehicle, run) = (kind.filter(|_| is_alone), self.run_of_all());
        let n_corrected = self.soft.n_corrected;
        seen.passed_on.extend(on_job.map(|job| {
            let (driver, position) = (context.id, *position);
            let sighting =
                search::Sighting::DriverAt { driver, position, vehicle, run, n_corrected };
            Sight::job(job.id, sighting)
        }));
        if let Some((run, vehicle)) = run.zip(kind)
            && self.soft.asks_run(context.now)
        {
            let (driver, at) = (context.id, position.at);
            seen.passed_on.push(Sight::Run(run, run::Sighting { driver, at, vehicle }));
        }
    }

    /// The jobs it is on now.
    fn on_job(&self) -> impl Iterator<Item = &Job> + Clone {
        self.jobs.iter().filter(|job| job.is_current() && !job.is_next())
    }

    /// The run that all it is on now is of; none, if some of it is of no run, or of another.
    fn run_of_all(&self) -> Option<RunId> {
        let run = self.current_run()?;
        self.on_job().all(|job| job.run == Some(run)).then_some(run)
    }

    /// Lets the jobs it is on see that nobody knows any more when it comes.
    pub(super) fn expected_no_more(&self, id: DriverId) -> impl Iterator<Item = Sight> {
        let nothing = search::Sighting::Expected { driver: id, etas: None };
        self.on_job().map(move |job| Sight::job(job.id, nothing.clone()))
    }

    /// Does it make sense at all? Whether the device can be there is judged apart.
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
        // What was stored meanwhile comes later than it was sampled, and must not undo what is known; but whose clock was set
        // back is not to wait until it has caught up.
        let may_be_older = now.since(self.soft.received_at) > POSITION_AGE_MAX
            && doubt::is_set_back(last.sampled_at, position.sampled_at);
        if position.sampled_at <= last.sampled_at && !may_be_older {
            return Err(Refusal::invalid("sampled_at", "is not after the last one"));
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
        let moves = position.speed_mps.is_some_and(|speed_mps| speed_mps >= MOVING_MPS);
        let heading_deg = position.heading_deg.filter(|_| moves);
        let heading_deg = heading_deg.map(|deg| deg.rem_euclid(360.0) as u16);
        self.soft.shown =
            Some(Shown { at: position.at, seen_at, shown_at: now, heading_deg, region, region_of });
    }
}

/// At the date line nobody is near: there it is looked up more often, and that is all.
fn is_near(one: Point, other: Point) -> bool {
    (one.lat - other.lat).abs() < NEAR_DEG && (one.lon - other.lon).abs() < NEAR_DEG
}
