use super::*;
use matching::router::{Road, Roads, Straight, Times};
use serde_json::{Value, json};

/// A moment so many minutes after a shift begins.
fn minute(n: u64) -> u64 {
    1_767_225_600_000 + n * 60_000
}

fn place(east_m: f64) -> Value {
    let at = Point { lat: -1.95, lon: 30.06 }.offset_m(east_m, 0.0);
    json!({ "lat": at.lat, "lon": at.lon })
}

fn vehicle(id: &str) -> Value {
    json!({
        "id": id, "start": place(0.0), "end": place(0.0), "capacity": 3,
        "shift_from": minute(0), "shift_until": minute(240),
    })
}

fn job(id: &str) -> Value {
    json!({
        "id": id, "size": 1,
        "pickup": { "at": place(1_000.0), "service_s": 60 },
        "dropoff": { "at": place(2_000.0), "service_s": 60 },
    })
}

fn body(vehicles: &[Value], jobs: &[Value]) -> Value {
    json!({ "vehicles": vehicles, "jobs": jobs, "iterations": 300 })
}

/// The same with something else somewhere in it.
fn with(mut it: Value, pointer: &str, value: Value) -> Value {
    let (parent, key) = pointer.rsplit_once('/').unwrap();
    it.pointer_mut(parent).unwrap()[key] = value;
    it
}

fn read(body: &Value) -> Result<Wanted, Refused> {
    Wanted::of(serde_json::from_value(body.clone()).unwrap())
}

fn known() -> Known {
    Known {
        router: Arc::new(Straight::default()),
        ways: WaysBy::StraightLine,
        detour: 1.35,
        time_max: Duration::from_secs(60),
    }
}

fn planned(body: &Value) -> RoutePlan {
    read(body).unwrap().plan(&known(), &CancellationToken::new()).unwrap()
}

/// What of a plan is the same each time.
fn lasting(plan: RoutePlan) -> RoutePlan {
    RoutePlan { search: PlanSearch { seconds: 0.0, ..plan.search }, ..plan }
}

#[test]
fn a_plan_says_when_what_is_done_how_far_it_is_and_what_is_on_board() {
    let opens = with(job("b"), "/pickup/opens_at", json!(minute(60)));
    let plan = planned(&body(&[vehicle("van"), vehicle("spare")], &[job("a"), opens]));
    assert!(plan.unserved.is_empty(), "{plan:?}");
    let [route] = plan.routes.as_slice() else { panic!("one vehicle will do: {plan:?}") };
    assert_eq!((route.vehicle.as_str(), route.load, route.stops.len()), ("van", 0, 4));
    let mut at = route.departs_at;
    for stop in &route.stops {
        assert!(stop.arrives_at >= at && stop.begins_at >= stop.arrives_at, "{route:?}");
        assert_eq!(stop.departs_at.ms_since(stop.begins_at), 60_000);
        assert_eq!(stop.wait_s, stop.begins_at.ms_since(stop.arrives_at) as f64 / 1_000.0);
        at = stop.departs_at;
    }
    assert_eq!(route.stops.last().unwrap().load, 0);
    let opened = route.stops.iter().find(|it| it.job == "b").unwrap();
    assert!(opened.begins_at >= Timestamp(minute(60)), "{route:?}");
    // There and back, by roads that are a third longer.
    let there_and_back_m = 2.0 * 2_000.0 * 1.35;
    assert!((route.distance_m as f64 - there_and_back_m).abs() < 20.0, "{}", route.distance_m);
    assert!((route.driving_s - there_and_back_m / 7.0).abs() < 5.0, "{}", route.driving_s);
    let seconds = route.ends_at.ms_since(route.departs_at) as f64 / 1_000.0;
    let parts = route.driving_s + route.waiting_s + route.service_s;
    assert!((seconds - parts).abs() < 0.01, "{seconds} {parts}");
    assert!((plan.search.cost_s - route.driving_s - 3_600.0).abs() < 0.01);
    let EndedBy::Iterations = plan.search.ended_by else { panic!("{plan:?}") };
}

#[test]
fn the_same_body_comes_to_the_same_plan() {
    let jobs: Vec<Value> = (0..12)
        .map(|n| with(job(&format!("job {n}")), "/dropoff/at", place(f64::from(n) * -700.0)))
        .collect();
    let body = body(&[vehicle("a"), vehicle("b"), vehicle("c")], &jobs);
    assert_eq!(lasting(planned(&body)), lasting(planned(&body)));
}

#[test]
fn kinds_of_vehicles_get_along_as_fast_as_they_do() {
    let seconds = |kind: &str| {
        let by = with(vehicle("it"), "/kind", json!(kind));
        planned(&body(&[by], &[job("a")])).routes[0].driving_s
    };
    assert!(seconds("foot") > 3.0 * seconds("van"), "{} {}", seconds("foot"), seconds("van"));
}

#[test]
fn what_nobody_can_serve_is_named_with_why() {
    let jobs = [
        with(job("cold"), "/skills", json!(["cold_chain"])),
        with(job("large"), "/size", json!(4)),
        with(job("gone"), "/dropoff/closes_at", json!(minute(1))),
        job("fine"),
    ];
    let plan = planned(&body(&[vehicle("van")], &jobs));
    let told: Vec<(&str, &str)> =
        plan.unserved.iter().map(|it| (it.job.as_str(), it.reason.name())).collect();
    assert_eq!(told, [("cold", "no_skills"), ("large", "too_large"), ("gone", "out_of_time")]);
    let able = with(vehicle("van"), "/skills", json!(["tail_lift", "cold_chain"]));
    assert_eq!(planned(&body(&[able], &jobs)).unserved.len(), 2);
    // Each alone has time, and both do not.
    let tight = with(vehicle("van"), "/shift_until", json!(minute(16)));
    let plan = planned(&body(&[tight], &[job("a"), with(job("b"), "/dropoff/at", place(0.0))]));
    assert_eq!(plan.unserved.len(), 1, "{plan:?}");
    assert_eq!(plan.unserved[0].reason, UnservedReason::NoRoom);
}

#[test]
fn by_roads_what_is_off_them_takes_time_and_where_none_leads_nobody_goes() {
    // Three crossings; the last one's street leads nowhere.
    let here = Point { lat: -1.95, lon: 30.06 };
    let nodes: Vec<Point> = [0.0, 1_000.0, 2_000.0].map(|m| here.offset_m(m, 0.0)).to_vec();
    let street = |from, to| Road { from, to, ms: 100_000 };
    let times = Times::new(3, vec![street(0, 1), street(1, 0)]).unwrap();
    let roads = Arc::new(Roads::new(nodes, Arc::new(times)).unwrap());
    let known = Known { router: roads, ways: WaysBy::Roads, ..known() };
    let visit = |id: &str, at: Value| json!({ "id": id, "visit": { "at": at } });
    let planned = |jobs: &[Value]| {
        let wanted = read(&body(&[vehicle("van")], jobs)).unwrap();
        wanted.plan(&known, &CancellationToken::new()).unwrap()
    };
    let driving_s = |east_m: f64| planned(&[visit("a", place(east_m))]).routes[0].driving_s;
    assert_eq!(driving_s(1_000.0), 200.0);
    // Beside a crossing, and so far from each that a straight line is all there is.
    let straight_s = |m: f64| m * 1.35 / 7.0;
    assert!((driving_s(1_100.0) - 200.0 - 2.0 * straight_s(100.0)).abs() < 0.5);
    assert!((driving_s(-5_000.0) - 2.0 * straight_s(5_000.0)).abs() < 5.0);
    let plan = planned(&[visit("cut off", place(2_000.0)), visit("fine", place(1_000.0))]);
    let [left] = plan.unserved.as_slice() else { panic!("{plan:?}") };
    assert_eq!((left.job.as_str(), left.reason), ("cut off", UnservedReason::OutOfTime));
}

#[test]
fn names_in_json_are_those_that_are_printed() {
    for what in [PlannedWhat::Pickup, PlannedWhat::Dropoff, PlannedWhat::Visit] {
        assert_eq!(json!(what), what.name());
    }
    let reasons = [Why::Skills, Why::Size, Why::Times, Why::Room, Why::Search];
    for why in reasons.map(UnservedReason::from) {
        assert_eq!(json!(why), why.name());
    }
    for ended_by in [EndedBy::Iterations, EndedBy::Time] {
        assert_eq!(json!(ended_by), ended_by.name());
    }
}

#[test]
fn what_makes_no_sense_is_refused_and_it_is_said_where() {
    let fine = || body(&[vehicle("van")], &[job("a")]);
    read(&fine()).unwrap();
    let visit = json!({ "id": "a", "visit": { "at": place(5.0) } });
    let many = |n: usize| -> Vec<Value> { (0..n).map(|n| job(&n.to_string())).collect() };
    for (wrong, field) in [
        (with(fine(), "/vehicles", json!([])), "vehicles: "),
        (with(fine(), "/jobs", json!([])), "jobs: "),
        (with(fine(), "/jobs", json!(many(201))), "jobs: 1 to 200, not 201"),
        (with(fine(), "/budget_ms", json!(10_001)), "budget_ms: "),
        (with(fine(), "/budget_ms", json!(99)), "budget_ms: "),
        (with(fine(), "/iterations", json!(0)), "iterations: "),
        (with(fine(), "/vehicle_cost_s", json!(86_401)), "vehicle_cost_s: "),
        (with(fine(), "/vehicles/0/id", json!("")), "vehicles[0].id: "),
        (with(fine(), "/jobs/0/id", json!("x".repeat(65))), "jobs[0].id: "),
        (body(&[vehicle("a"), vehicle("a")], &[job("a")]), "vehicles[1].id: another"),
        (body(&[vehicle("a")], &[job("a"), job("a")]), "jobs[1].id: another"),
        (with(fine(), "/vehicles/0/shift_until", json!(minute(0))), "vehicles[0].shift_until: n"),
        (with(fine(), "/vehicles/0/shift_until", json!(minute(10_081))), "vehicles[0].shift_"),
        (with(fine(), "/vehicles/0/skills", json!([""])), "vehicles[0].skills: "),
        (with(fine(), "/jobs/0/pickup", Value::Null), ""),
        (
            with(
                with(fine(), "/jobs/0/pickup/opens_at", json!(minute(9))),
                "/jobs/0/pickup/closes_at",
                json!(minute(8)),
            ),
            "jobs[0].pickup: closes before it opens",
        ),
        (
            with(
                with(fine(), "/jobs/0/pickup/opens_at", json!(minute(9))),
                "/jobs/0/dropoff/closes_at",
                json!(minute(8)),
            ),
            "jobs[0].dropoff: closes before the pickup opens",
        ),
        (with(fine(), "/jobs/0/dropoff/service_s", json!(86_401)), "jobs[0].dropoff.service_s: "),
        (body(&[vehicle("a")], &[json!({ "id": "a" })]), "jobs[0]: "),
        (body(&[vehicle("a")], &[with(visit.clone(), "/size", json!(1))]), "jobs[0].size: "),
        (with(fine(), "/jobs/0/visit", json!({ "at": place(5.0) })), "jobs[0]: "),
    ] {
        match read(&wrong) {
            Err(refused) => {
                assert_eq!(refused.code, Code::Invalid, "{wrong}");
                assert!(refused.message.starts_with(field) && !field.is_empty(), "{refused}");
            }
            // A job that is only brought makes sense.
            Ok(_) => assert!(field.is_empty(), "{wrong}"),
        }
    }
    read(&body(&[vehicle("a")], &[visit])).unwrap();
    let skills: Vec<String> = (0..65).map(|n| format!("skill {n}")).collect();
    let refused = read(&with(fine(), "/jobs/0/skills", json!(skills))).unwrap_err();
    assert!(refused.message.contains("64 in all"), "{refused}");
}

#[test]
fn nothing_is_further_than_31_days_from_where_the_first_shift_begins() {
    const DAYS: u64 = 31 * 24 * 60;
    let fine = || body(&[vehicle("a"), vehicle("b")], &[job("a")]);
    let late = |from: u64| {
        let b = with(vehicle("b"), "/shift_from", json!(minute(from)));
        let b = with(b, "/shift_until", json!(minute(from + 60)));
        body(&[vehicle("a"), b], &[job("a")])
    };
    let opens = |at: u64| with(fine(), "/jobs/0/pickup/opens_at", json!(at));
    let closes = |at: u64| with(fine(), "/jobs/0/dropoff/closes_at", json!(at));
    let month_ms = DAYS * 60_000;
    for allowed in
        [late(DAYS - 60), opens(minute(DAYS)), opens(minute(0) - month_ms), closes(minute(DAYS))]
    {
        read(&allowed).unwrap();
    }
    for (wrong, field) in [
        (late(DAYS - 59), "vehicles[1].shift_until: more than 31 days"),
        (late(DAYS + 1), "vehicles[1].shift_from: more than 31 days"),
        (opens(minute(DAYS) + 1), "jobs[0].pickup.opens_at: more than 31 days"),
        (opens(0), "jobs[0].pickup.opens_at: more than 31 days"),
        (closes(u64::MAX), "jobs[0].dropoff.closes_at: more than 31 days"),
    ] {
        let refused = read(&wrong).unwrap_err();
        assert_eq!(refused.code, Code::Invalid, "{wrong}");
        assert!(refused.message.starts_with(field), "{refused}");
    }
}

#[test]
fn whoever_is_gone_is_searched_for_no_longer() {
    let jobs: Vec<Value> = (0..30).map(|n| job(&n.to_string())).collect();
    let it = with(body(&[vehicle("van")], &jobs), "/iterations", json!(1_000_000));
    let wanted = read(&with(it, "/budget_ms", json!(10_000))).unwrap();
    let gone = CancellationToken::new();
    gone.cancel();
    let plan = wanted.plan(&known(), &gone).unwrap();
    assert_eq!((plan.search.iterations, plan.search.ended_by), (0, EndedBy::Time));
    assert_eq!(plan.unserved.len(), 30);
    assert!(plan.unserved.iter().all(|it| it.reason == UnservedReason::OutOfSearchTime));
}

#[test]
fn no_more_time_is_spent_than_a_request_has() {
    let jobs: Vec<Value> = (0..30).map(|n| job(&n.to_string())).collect();
    let it = with(body(&[vehicle("van")], &jobs), "/iterations", json!(1_000_000));
    let wanted = read(&with(it, "/budget_ms", json!(10_000))).unwrap();
    let known = Known { time_max: Duration::from_millis(50), ..known() };
    let plan = wanted.plan(&known, &CancellationToken::new()).unwrap();
    assert_eq!(plan.search.ended_by, EndedBy::Time);
    assert!(plan.search.seconds < 5.0, "{}", plan.search.seconds);
}
