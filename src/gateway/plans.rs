//! Routes that are planned in advance: who serves which jobs, in which order and when, for vehicles that may differ.
//!
//! ```text
//! PlanRequest ──► Wanted (checked) ──► places, ways by the node's router ──► planning::routes::mixed ──► RoutePlan
//! ```
//!
//! Nothing is kept, and nobody is told: what comes of a plan is wished as ever. It is the one thing here that takes seconds of a
//! processor, so it is done beside the runtime, by a few at once, in so much time and no more, and ends when nobody waits
//! for it any more.

use super::{
    Gate,
    rest::{Answered, Body, Caller},
    scope::check_place,
    translate::invalid,
};
use axum::{Json, extract::State};
use matching::router::{Leg, Router, Spot};
use planning::routes::mixed::{
    self, Errand, Fault, Job, Plan, Problem, Stop, Task, Vehicle, Ways, Why,
};
use protocol::{Code, Point, Refused, Timestamp, work::VehicleKind};
use serde::{Deserialize, Serialize};
use std::{
    collections::HashSet,
    sync::Arc,
    time::{Duration, Instant},
};
use tokio::task::spawn_blocking;
use tokio_util::sync::CancellationToken;
use tracing::error;
use utoipa::ToSchema;

/// Largest body, in bytes: of as many jobs as there may be, with everything said of each.
pub(super) const BODY_BYTES_MAX: usize = 256 * 1024;
/// Most vehicles, and most jobs, of one plan.
const VEHICLES_MAX: usize = 50;
const JOBS_MAX: usize = 200;
/// How long it may be searched, in milliseconds: at least, at most, and if nobody says otherwise.
const BUDGET_MS: (u32, u32, u32) = (100, 10_000, 2_000);
/// Of the time a request may take, so much is for the search.
const BUDGET_SHARE: f64 = 0.8;
/// After how many rounds the search ends: at most, and if nobody says otherwise.
const ITERATIONS: (u32, u32) = (1_000_000, 20_000);
/// What a vehicle costs that is used, in seconds of driving: at most, and if nobody says otherwise.
const VEHICLE_COST_S: (u32, u32) = (86_400, 3_600);
/// Longest time a vehicle is out, in milliseconds: a week.
const SHIFT_MS_MAX: u64 = 7 * 86_400_000;
/// Nothing that is named is further than this from the plan's begin, in milliseconds: 31 days. Times are compared to within
/// so little that they must not be large.
const SPAN_MS_MAX: u64 = 31 * 86_400_000;
/// Longest time at one stop, in seconds.
const SERVICE_S_MAX: u32 = 86_400;
/// Longest name of a vehicle, a job or a skill, in characters.
const NAME_CHARS_MAX: usize = 64;
/// Most skills that are told apart.
const SKILLS_MAX: usize = u64::BITS as usize;
/// When whoever was refused had better come again, in milliseconds.
const BUSY_MS: u64 = 2_000;

/// What is to be planned.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct PlanRequest {
    /// Who there is; 1 to 50.
    vehicles: Vec<PlanVehicle>,
    /// What is to be done; 1 to 200.
    jobs: Vec<PlanJob>,
    /// How long to search at most, in milliseconds; 100 to 10,000, 2,000 if absent.
    #[serde(default)]
    budget_ms: Option<u32>,
    /// After how many rounds the search ends, if it is not out of time before; 1 to 1,000,000, 20,000 if absent.
    #[serde(default)]
    iterations: Option<u32>,
    /// Which plan, of those that are as good: the same body comes to the same plan, if the search ended by `iterations`.
    #[serde(default)]
    seed: u32,
    /// What a vehicle costs that is used at all, in seconds of driving; 0 for the least driving, 86,400 at most, 3,600 if absent.
    #[serde(default)]
    vehicle_cost_s: Option<u32>,
}

/// A vehicle.
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PlanVehicle {
    /// What the caller calls it: 1 to 64 characters, unlike the others.
    id: String,
    /// Where it begins.
    start: Point,
    /// Where it must end; where its last job is, if absent.
    #[serde(default)]
    end: Option<Point>,
    /// How much it holds, in whatever unit jobs are measured.
    #[serde(default)]
    capacity: u32,
    /// It leaves no sooner than this, which is at most 31 days after the first shift begins, …
    shift_from: Timestamp,
    /// … and has ended by this; a week later at most.
    shift_until: Timestamp,
    /// What it, or its driver, can do.
    #[serde(default)]
    skills: Vec<String>,
    /// How it gets along; a car, if absent.
    #[serde(default)]
    kind: Option<VehicleKind>,
}

/// A job: `pickup` and `dropoff` (fetched and then brought, by one vehicle); `pickup` alone (fetched, and on board to the end);
/// `dropoff` alone (on board from the start); or `visit` (nothing is moved).
#[derive(Debug, Clone, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PlanJob {
    /// What the caller calls it: 1 to 64 characters, unlike the others.
    id: String,
    /// Where it is fetched.
    #[serde(default)]
    pickup: Option<PlanStop>,
    /// Where it is brought to.
    #[serde(default)]
    dropoff: Option<PlanStop>,
    /// Where something else is done.
    #[serde(default)]
    visit: Option<PlanStop>,
    /// How much of a vehicle it takes while it is on board.
    #[serde(default)]
    size: u32,
    /// What the vehicle must be able to do: all of these.
    #[serde(default)]
    skills: Vec<String>,
}

/// Where something is done, and when.
#[derive(Debug, Clone, Copy, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PlanStop {
    /// Where.
    at: Point,
    /// It begins no sooner than this, which is within 31 days of where the first shift begins; at any time, if absent.
    #[serde(default)]
    opens_at: Option<Timestamp>,
    /// And no later than this, within 31 days as well; at any time, if absent.
    #[serde(default)]
    closes_at: Option<Timestamp>,
    /// How long it takes, in seconds; a day at most.
    #[serde(default)]
    service_s: u32,
}

/// Routes that can be driven, and what is in none of them.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct RoutePlan {
    /// Of each vehicle that is used, in the order in which they were named.
    pub(crate) routes: Vec<PlannedRoute>,
    /// What nobody does, in the order in which jobs were named.
    pub(crate) unserved: Vec<Unserved>,
    /// How it is known how long ways take.
    pub(crate) ways: WaysBy,
    /// How it was searched.
    pub(crate) search: PlanSearch,
}

/// What one vehicle does.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct PlannedRoute {
    /// Which.
    pub(crate) vehicle: String,
    /// When it leaves: not so soon that it would wait at its first stop.
    pub(crate) departs_at: Timestamp,
    /// When it has ended.
    pub(crate) ends_at: Timestamp,
    /// What it leaves with.
    pub(crate) load: u64,
    /// Each stop, in order.
    pub(crate) stops: Vec<PlannedStop>,
    /// How long it drives, in seconds, …
    pub(crate) driving_s: f64,
    /// … waits, …
    pub(crate) waiting_s: f64,
    /// … and stands at its stops.
    pub(crate) service_s: f64,
    /// How far it drives, in metres: straight lines, times how much longer roads usually are.
    pub(crate) distance_m: u64,
}

/// One stop.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct PlannedStop {
    /// For which job.
    pub(crate) job: String,
    /// What is done.
    pub(crate) what: PlannedWhat,
    /// Where.
    pub(crate) at: Point,
    /// When the vehicle is there.
    pub(crate) arrives_at: Timestamp,
    /// When it begins.
    pub(crate) begins_at: Timestamp,
    /// When the vehicle goes on.
    pub(crate) departs_at: Timestamp,
    /// How long it waits before it begins, in seconds.
    pub(crate) wait_s: f64,
    /// What is on board when it goes on.
    pub(crate) load: u64,
    /// How long it drives there from the stop before, in seconds, …
    pub(crate) driving_s: f64,
    /// … and how far, in metres.
    pub(crate) distance_m: u64,
}

/// What is done at a stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum PlannedWhat {
    /// Something is fetched.
    Pickup,
    /// Something is brought.
    Dropoff,
    /// Nothing is moved.
    Visit,
}

/// A job that nobody does.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub(crate) struct Unserved {
    /// Which.
    pub(crate) job: String,
    /// Why.
    pub(crate) reason: UnservedReason,
}

/// Why nobody does a job. Reasons are added, never changed or reused.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum UnservedReason {
    /// No vehicle can do all that it asks for.
    NoSkills,
    /// It is larger than each vehicle that can.
    TooLarge,
    /// None of those can be there in its time and end in its own, even with nothing else to do; or no street that is known
    /// leads there, or none that takes less than an hour and three quarters.
    OutOfTime,
    /// It could be served alone; beside the others no place was found.
    NoRoom,
    /// The time to search was over before anybody looked for a place for it.
    OutOfSearchTime,
}

/// How it is known how long ways take.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum WaysBy {
    /// By the streets this node knows (`roads.folder`), at the hour it knows them at; by a straight line to what is off a
    /// crossing, and all the way from and to what is more than 300 m from each.
    Roads,
    /// By straight lines, times how much longer roads usually are, at the mean speed of the vehicle.
    StraightLine,
}

/// How a plan was searched.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, ToSchema)]
pub(crate) struct PlanSearch {
    /// Where chance began.
    pub(crate) seed: u32,
    /// How many rounds there were.
    pub(crate) iterations: u64,
    /// How long it took, in seconds.
    pub(crate) seconds: f64,
    /// What the routes cost, in seconds of driving: all that is driven, and each vehicle that is used.
    pub(crate) cost_s: f64,
    /// Why it ended.
    pub(crate) ended_by: EndedBy,
}

/// Why a search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub(crate) enum EndedBy {
    /// All rounds were done: the same body comes to the same plan.
    Iterations,
    /// Its time was over: with more of it there may be a better plan.
    Time,
}

impl PlannedWhat {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Pickup => "pickup",
            Self::Dropoff => "dropoff",
            Self::Visit => "visit",
        }
    }
}

impl UnservedReason {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::NoSkills => "no_skills",
            Self::TooLarge => "too_large",
            Self::OutOfTime => "out_of_time",
            Self::NoRoom => "no_room",
            Self::OutOfSearchTime => "out_of_search_time",
        }
    }
}

impl From<Why> for UnservedReason {
    fn from(why: Why) -> Self {
        match why {
            Why::Skills => Self::NoSkills,
            Why::Size => Self::TooLarge,
            Why::Times => Self::OutOfTime,
            Why::Room => Self::NoRoom,
            Why::Search => Self::OutOfSearchTime,
        }
    }
}

impl EndedBy {
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Iterations => "iterations",
            Self::Time => "time",
        }
    }
}

/// Plans routes: which vehicle serves which jobs, in which order and when. As many jobs as can be, then as few vehicles and as
/// little driving as is found in the time. Nothing is kept, and no driver is told. Staff only; dispatchers of some regions plan
/// within them.
#[utoipa::path(
    post, path = "/v1/routes/plan", tag = "routes", security(("bearer" = [])),
    request_body = PlanRequest,
    responses(
        (status = 200, body = RoutePlan), (status = 401, body = Refused), (status = 403, body = Refused),
        (status = 413, body = Refused), (status = 422, body = Refused), (status = 429, body = Refused)
    )
)]
pub(super) async fn plan_routes(
    State(gate): State<Arc<Gate>>,
    caller: Caller,
    Body(request): Body<PlanRequest>,
) -> Result<Json<RoutePlan>, Answered> {
    caller.staff()?;
    let wanted = Wanted::of(request)?;
    for place in &wanted.places {
        check_place(&caller.0.scope, *place)?;
    }
    let Ok(turn) = Arc::clone(&gate.plans).try_acquire_owned() else {
        let refused = Refused::new(Code::Busy, "other routes are being planned");
        return Err(refused.retry_after_ms(BUSY_MS).into());
    };
    let regions = gate.system.regions();
    let known = Known {
        router: regions.router(),
        ways: if regions.knows_streets() { WaysBy::Roads } else { WaysBy::StraightLine },
        detour: regions.costs().detour.into(),
        time_max: gate.request_timeout.mul_f64(BUDGET_SHARE),
    };
    // Whoever does not wait for the answer drops this.
    let gone = CancellationToken::new();
    let is_gone = gone.clone();
    let _waiting = gone.drop_guard();
    let planning = spawn_blocking(move || {
        let planned = wanted.plan(&known, &is_gone);
        drop(turn);
        planned
    });
    let planned = match planning.await {
        Ok(Ok(planned)) => planned,
        Ok(Err(fault)) => {
            error!(%fault, "routes were planned that cannot be driven");
            return Err(Refused::new(Code::Internal, "a fault of ours").into());
        }
        Err(error) => {
            error!(%error, "planning routes fell");
            return Err(Refused::new(Code::Internal, "a fault of ours").into());
        }
    };
    let ended_by = planned.search.ended_by.name();
    metrics::counter!("outrider_route_plans_total", "ended_by" => ended_by).increment(1);
    Ok(Json(planned))
}

/// What the node knows of ways, and how much time there is.
struct Known {
    router: Arc<dyn Router>,
    ways: WaysBy,
    /// How much longer roads are than straight lines.
    detour: f64,
    time_max: Duration,
}

/// What is wanted, once it makes sense. Times are in seconds since `begin`.
#[derive(Debug)]
struct Wanted {
    begin: Timestamp,
    /// Every place that is named, as often as it is.
    places: Vec<Point>,
    /// What each job and each vehicle is called.
    jobs: Vec<String>,
    vehicles: Vec<String>,
    /// What kinds of vehicles there are: a table of ways for each.
    kinds: Vec<VehicleKind>,
    /// Without its tables of ways.
    problem: Problem,
    budget: Duration,
    iterations: u32,
    seed: u32,
}

impl Wanted {
    /// Refuses what makes no sense, and says where it stands.
    fn of(request: PlanRequest) -> Result<Self, Refused> {
        let PlanRequest { vehicles, jobs, budget_ms, iterations, seed, vehicle_cost_s } = request;
        check_number("vehicles", vehicles.len(), VEHICLES_MAX)?;
        check_number("jobs", jobs.len(), JOBS_MAX)?;
        let (least_ms, most_ms, usual_ms) = BUDGET_MS;
        let budget_ms = budget_ms.unwrap_or(usual_ms);
        if !(least_ms..=most_ms).contains(&budget_ms) {
            return Err(invalid("budget_ms", "100 to 10,000"));
        }
        let iterations = iterations.unwrap_or(ITERATIONS.1);
        if !(1..=ITERATIONS.0).contains(&iterations) {
            return Err(invalid("iterations", "1 to 1,000,000"));
        }
        let vehicle_cost_s = vehicle_cost_s.unwrap_or(VEHICLE_COST_S.1);
        if vehicle_cost_s > VEHICLE_COST_S.0 {
            return Err(invalid("vehicle_cost_s", "86,400 at most"));
        }
        let begin = vehicles.iter().map(|it| it.shift_from).min().unwrap_or_default();
        let mut reading = Reading { begin, places: Vec::new(), skills: Vec::new() };
        let mut wanted = Self {
            begin,
            places: Vec::new(),
            jobs: Vec::new(),
            vehicles: Vec::new(),
            kinds: Vec::new(),
            problem: Problem {
                jobs: Vec::new(),
                vehicles: Vec::new(),
                ways: Vec::new(),
                vehicle_cost: vehicle_cost_s.into(),
            },
            budget: Duration::from_millis(budget_ms.into()),
            iterations,
            seed,
        };
        let mut names = HashSet::new();
        for (n, it) in vehicles.into_iter().enumerate() {
            let field = format!("vehicles[{n}]");
            check_name(&field, &it.id, &mut names)?;
            let kind = it.kind.unwrap_or(VehicleKind::Car);
            let known = wanted.kinds.iter().position(|known| *known == kind);
            let ways = known.unwrap_or(wanted.kinds.len());
            if known.is_none() {
                wanted.kinds.push(kind);
            }
            wanted.problem.vehicles.push(reading.vehicle(&field, &it, ways)?);
            wanted.vehicles.push(it.id);
        }
        names.clear();
        for (n, it) in jobs.into_iter().enumerate() {
            let field = format!("jobs[{n}]");
            check_name(&field, &it.id, &mut names)?;
            wanted.problem.jobs.push(reading.job(&field, &it)?);
            wanted.jobs.push(it.id);
        }
        wanted.places = reading.places;
        Ok(wanted)
    }

    /// Searches, until it is over or nobody waits any more.
    ///
    /// # Errors
    /// Routes were found that cannot be driven, which would be our fault.
    fn plan(mut self, known: &Known, gone: &CancellationToken) -> Result<RoutePlan, Fault> {
        let began = Instant::now();
        let budget = self.budget.min(known.time_max);
        let mut is_late = false;
        let mut is_over = || {
            is_late = gone.is_cancelled() || began.elapsed() >= budget;
            is_late
        };
        let distances = Distances::between(&self.places, known.detour);
        let plan = if is_over() {
            self.untried()
        } else {
            self.problem.ways = self.ways(&*known.router, &distances);
            mixed::plan(&self.problem, self.seed.into(), self.iterations.into(), is_over)
        };
        let mut routes = Vec::new();
        for (vehicle, errands) in plan.routes.iter().enumerate() {
            if !errands.is_empty() {
                routes.push(self.route(vehicle, errands, &distances)?);
            }
        }
        let Plan { left_out, cost, rounds, .. } = plan;
        let unserved = left_out
            .into_iter()
            .map(|(job, why)| Unserved { job: self.jobs[job].clone(), reason: why.into() });
        Ok(RoutePlan {
            routes,
            unserved: unserved.collect(),
            ways: known.ways,
            search: PlanSearch {
                seed: self.seed,
                iterations: rounds,
                seconds: rounded(began.elapsed().as_secs_f64()),
                cost_s: rounded(cost),
                ended_by: if is_late { EndedBy::Time } else { EndedBy::Iterations },
            },
        })
    }

    /// Nothing was looked for.
    fn untried(&self) -> Plan {
        let left_out = (0..self.jobs.len()).map(|job| (job, Why::Search)).collect();
        Plan { routes: Vec::new(), left_out, cost: 0.0, rounds: 0 }
    }

    /// How long ways take, for each kind of vehicle; for ever, where no street leads.
    fn ways(&self, router: &dyn Router, distances: &Distances) -> Vec<Ways> {
        let spots: Vec<Spot> = self.places.iter().map(|at| router.spot(*at)).collect();
        let n_places = u32::try_from(spots.len()).expect("few places");
        let of_kind = |vehicle: VehicleKind| {
            Ways::new(n_places, |from, to| {
                if from == to {
                    return 0.0;
                }
                let leg = Leg {
                    from: spots[from as usize],
                    to: spots[to as usize],
                    distance_m: distances.straight_m(from, to),
                    vehicle,
                    leaving: self.begin,
                };
                router.way(&leg).map_or(f64::INFINITY, |eta| f64::from(eta.ms) / 1_000.0)
            })
        };
        self.kinds.iter().copied().map(of_kind).collect()
    }

    /// What a vehicle does, and when.
    fn route(
        &self,
        vehicle: usize,
        errands: &[Errand],
        distances: &Distances,
    ) -> Result<PlannedRoute, Fault> {
        let schedule = self.problem.schedule(vehicle, errands)?;
        let Vehicle { start, end, .. } = self.problem.vehicles[vehicle];
        let mut place = start;
        let mut stops = Vec::with_capacity(errands.len());
        let (mut waiting_s, mut service_s, mut distance_m) = (0.0, 0.0, 0.0);
        for (errand, moment) in errands.iter().zip(&schedule.moments) {
            let (what, stop) = stop_of(&self.problem.jobs[errand.job], errand.is_second);
            let way_m = distances.driven_m(place, stop.place);
            let wait_s = moment.begins - moment.arrives;
            (place, distance_m) = (stop.place, distance_m + way_m);
            (waiting_s, service_s) = (waiting_s + wait_s, service_s + stop.service);
            stops.push(PlannedStop {
                job: self.jobs[errand.job].clone(),
                what,
                at: self.places[stop.place as usize],
                arrives_at: self.at(moment.arrives),
                begins_at: self.at(moment.begins),
                departs_at: self.at(moment.leaves),
                wait_s: rounded(wait_s),
                load: moment.load,
                driving_s: rounded(moment.driven),
                distance_m: way_m.round() as u64,
            });
        }
        distance_m += end.map_or(0.0, |end| distances.driven_m(place, end));
        Ok(PlannedRoute {
            vehicle: self.vehicles[vehicle].clone(),
            departs_at: self.at(schedule.leaves),
            ends_at: self.at(schedule.ends),
            load: schedule.load,
            stops,
            driving_s: rounded(schedule.driven),
            waiting_s: rounded(waiting_s),
            service_s: rounded(service_s),
            distance_m: distance_m.round() as u64,
        })
    }

    /// Which moment that is.
    fn at(&self, second: f64) -> Timestamp {
        self.begin + Duration::from_millis((second * 1_000.0).round().max(0.0) as u64)
    }
}

/// What one errand of a job is.
fn stop_of(job: &Job, is_second: bool) -> (PlannedWhat, Stop) {
    match job.task {
        Task::Visit(stop) => (PlannedWhat::Visit, stop),
        Task::Fetch(stop) => (PlannedWhat::Pickup, stop),
        Task::Bring(stop) => (PlannedWhat::Dropoff, stop),
        Task::Carry { to, .. } if is_second => (PlannedWhat::Dropoff, to),
        Task::Carry { from, .. } => (PlannedWhat::Pickup, from),
    }
}

/// Takes what is said into the words of a [`Problem`].
struct Reading {
    begin: Timestamp,
    places: Vec<Point>,
    skills: Vec<String>,
}

impl Reading {
    fn vehicle(&mut self, field: &str, it: &PlanVehicle, ways: usize) -> Result<Vehicle, Refused> {
        let PlanVehicle { shift_from, shift_until, .. } = *it;
        if shift_until <= shift_from {
            return Err(invalid(&format!("{field}.shift_until"), "not after shift_from"));
        }
        if shift_until.ms_since(shift_from) > SHIFT_MS_MAX {
            return Err(invalid(
                &format!("{field}.shift_until"),
                "a week after shift_from at most",
            ));
        }
        let from = self.second(&format!("{field}.shift_from"), shift_from)?;
        let until = self.second(&format!("{field}.shift_until"), shift_until)?;
        Ok(Vehicle {
            start: self.place(it.start),
            end: it.end.map(|end| self.place(end)),
            capacity: it.capacity,
            from,
            until,
            skills: self.bits(field, &it.skills)?,
            ways,
        })
    }

    fn job(&mut self, field: &str, it: &PlanJob) -> Result<Job, Refused> {
        let mut stop = |name: &str, stop: PlanStop| self.stop(&format!("{field}.{name}"), stop);
        let task = match (it.pickup, it.dropoff, it.visit) {
            (Some(pickup), Some(dropoff), None) => {
                let (from, to) = (stop("pickup", pickup)?, stop("dropoff", dropoff)?);
                if to.closes < from.opens {
                    let problem = "closes before the pickup opens";
                    return Err(invalid(&format!("{field}.dropoff"), problem));
                }
                Task::Carry { from, to }
            }
            (Some(pickup), None, None) => Task::Fetch(stop("pickup", pickup)?),
            (None, Some(dropoff), None) => Task::Bring(stop("dropoff", dropoff)?),
            (None, None, Some(_)) if it.size > 0 => {
                return Err(invalid(&format!("{field}.size"), "a visit moves nothing"));
            }
            (None, None, Some(visit)) => Task::Visit(stop("visit", visit)?),
            (None, None, None) | (_, _, Some(_)) => {
                return Err(invalid(field, "a pickup, a dropoff or both, or else a visit"));
            }
        };
        Ok(Job { task, size: it.size, skills: self.bits(field, &it.skills)? })
    }

    fn stop(&mut self, field: &str, it: PlanStop) -> Result<Stop, Refused> {
        let PlanStop { at, opens_at, closes_at, service_s } = it;
        let second = |name: &str, at: Option<Timestamp>, else_s: f64| match at {
            Some(at) => self.second(&format!("{field}.{name}"), at),
            None => Ok(else_s),
        };
        let opens = second("opens_at", opens_at, f64::NEG_INFINITY)?;
        let closes = second("closes_at", closes_at, f64::INFINITY)?;
        if closes < opens {
            return Err(invalid(field, "closes before it opens"));
        }
        if service_s > SERVICE_S_MAX {
            return Err(invalid(&format!("{field}.service_s"), "86,400 at most"));
        }
        Ok(Stop { place: self.place(at), opens, closes, service: service_s.into() })
    }

    /// The number of one more place.
    fn place(&mut self, at: Point) -> u32 {
        self.places.push(at);
        u32::try_from(self.places.len() - 1).expect("few places")
    }

    /// How long that is after the begin, in seconds; before it, less than nothing.
    fn second(&self, field: &str, at: Timestamp) -> Result<f64, Refused> {
        if at.0.abs_diff(self.begin.0) > SPAN_MS_MAX {
            return Err(invalid(field, "more than 31 days from where the first shift begins"));
        }
        Ok((at.0 as f64 - self.begin.0 as f64) / 1_000.0)
    }

    /// Each skill as a bit.
    fn bits(&mut self, field: &str, names: &[String]) -> Result<u64, Refused> {
        let mut bits = 0;
        for name in names {
            if !is_name(name) {
                return Err(invalid(&format!("{field}.skills"), "1 to 64 characters each"));
            }
            let bit = match self.skills.iter().position(|known| known == name) {
                Some(bit) => bit,
                None if self.skills.len() == SKILLS_MAX => {
                    return Err(invalid(&format!("{field}.skills"), "64 in all at most"));
                }
                None => {
                    self.skills.push(name.clone());
                    self.skills.len() - 1
                }
            };
            bits |= 1 << bit;
        }
        Ok(bits)
    }
}

/// How far it is from each place to each other one.
struct Distances {
    n_places: usize,
    /// As the crow flies, in metres; by where it begins, then by where it ends.
    straight_m: Vec<f32>,
    detour: f64,
}

impl Distances {
    fn between(places: &[Point], detour: f64) -> Self {
        let from_one = |from: &Point| {
            let from = *from;
            places.iter().map(move |to| from.distance_m(*to) as f32)
        };
        let straight_m = places.iter().flat_map(from_one).collect();
        Self { n_places: places.len(), straight_m, detour }
    }

    fn straight_m(&self, from: u32, to: u32) -> f32 {
        self.straight_m[from as usize * self.n_places + to as usize]
    }

    fn driven_m(&self, from: u32, to: u32) -> f64 {
        f64::from(self.straight_m(from, to)) * self.detour
    }
}

fn check_number(field: &str, n: usize, n_max: usize) -> Result<(), Refused> {
    let is_fine = (1..=n_max).contains(&n);
    if is_fine { Ok(()) } else { Err(invalid(field, &format!("1 to {n_max}, not {n}"))) }
}

/// Refuses a name that is none, or that another one has.
fn check_name(field: &str, name: &str, names: &mut HashSet<String>) -> Result<(), Refused> {
    if !is_name(name) {
        return Err(invalid(&format!("{field}.id"), "1 to 64 characters"));
    }
    match names.insert(name.to_owned()) {
        true => Ok(()),
        false => Err(invalid(&format!("{field}.id"), "another one is called so")),
    }
}

fn is_name(text: &str) -> bool {
    (1..=NAME_CHARS_MAX).contains(&text.chars().count())
}

/// To milliseconds: what is beyond is noise.
fn rounded(seconds: f64) -> f64 {
    (seconds * 1_000.0).round() / 1_000.0
}

#[cfg(test)]
mod tests;
