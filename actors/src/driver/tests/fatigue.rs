//! How long a driver works, what it is told of that, and that it rests then.

use super::*;
use protocol::view::Rest;

/// Of 24 hours it works twelve, and is told after ten.
fn by_day() -> DriverPolicy {
    let (duty_told_ms, duty_within_ms) = (10 * HOUR as u32, 24 * HOUR as u32);
    DriverPolicy { duty_told_ms, duty_within_ms, ..DriverPolicy::default() }
}

fn at_work() -> World {
    let mut world = World::new(by_day());
    world.go_on().unwrap();
    world.at(KIGALI).unwrap();
    world
}

fn must_rest(remaining_ms: u64) -> Result<Vec<&'static str>, Refusal> {
    Err(Refusal::MustRest { remaining_ms })
}

fn at_hour(hour: u64) -> Timestamp {
    Timestamp(START.0 + hour * HOUR)
}

impl World {
    /// So much later, and heard of meanwhile.
    fn work(&mut self, ms: u64) -> Vec<&'static str> {
        self.pass(ms);
        self.hear();
        self.tick()
    }

    fn rest(&self) -> Option<Rest> {
        self.driver.driver_view(me(), 1).rest
    }

    /// As it was before builds that wrote these down of its hours.
    fn forget_of_hours(&mut self, names: &[&str]) {
        let mut kept = serde_json::to_value(&self.driver).unwrap();
        for name in names {
            kept["hours"].as_object_mut().unwrap().remove(*name).unwrap();
        }
        self.driver = serde_json::from_value(kept).unwrap();
        self.driver.wake(self.now);
    }

    fn is_marked_tired(&self) -> bool {
        matches!(self.driver.mark(me()), Some(Mark::Driver { tired: true, .. }))
    }
}

#[test]
fn after_ten_hours_it_is_told_once() {
    let mut world = at_work();
    assert_eq!(world.work(10 * HOUR - 1), [""; 0]);
    assert_eq!((world.rest(), world.is_marked_tired()), (None, false));
    assert_eq!(world.work(1), ["hours_told"]);
    let (worked_ms, left_ms) = (10 * HOUR as u32, 2 * HOUR as u32);
    let told = Event::HoursTold { at: at_hour(10), worked_ms, left_ms };
    assert_eq!(world.journal.last(), Some(&told));
    let wanted = Rest { must: false, at: Some(at_hour(12)), until: None };
    assert_eq!((world.rest(), world.is_marked_tired()), (Some(wanted), true));
    assert_eq!(world.status(), DriverStatus::Available, "it goes on");
    let offer = world.offer(0, ride(1), WorkKind::Ride);
    world.reserve(&offer).unwrap();
    world.ask(own(), Command::DeclineOffer { offer: offer.id }).unwrap();

    assert_eq!(world.work(MINUTE), [""; 0]);
    world.set(DutyWish::Break).unwrap();
    assert_eq!(world.rest(), Some(Rest { at: None, ..wanted }));
    world.pass(HOUR);
    world.set(DutyWish::On).unwrap();
    assert_eq!(world.work(MINUTE), [""; 0], "also after a break");
    let wanted = Rest { at: Some(at_hour(13)), ..wanted };
    assert_eq!(world.rest(), Some(wanted));
}

#[test]
fn after_twelve_it_ends_what_it_has_and_rests_for_six() {
    let mut world = at_work();
    world.work(10 * HOUR);
    let job = world.on_job(1, WorkKind::Ride);
    assert_eq!(world.work(2 * HOUR), ["break_started"]);
    assert_eq!(
        world.journal.last(),
        Some(&Event::BreakStarted { at: world.now, why: Break::Fatigue })
    );
    assert_eq!(world.driver.current_jobs(), [job], "it is not taken from it");
    assert_eq!(world.rest(), Some(Rest { must: true, at: None, until: None }));
    assert!(world.is_marked_tired());

    let offer = world.offer(0, ride(2), WorkKind::Ride);
    let hours = || Err(Refusal::Unfit(vec![WhyNot::Hours]));
    assert_eq!((world.reserve(&offer), world.force(&offer)), (hours(), hours()));
    let why = world.driver.why_no_offers(world.now);
    assert_eq!(why[..2], [WhyNot::OnBreak, WhyNot::Hours]);
    assert_eq!(world.set(DutyWish::On), must_rest(6 * HOUR));

    world.pass(HOUR);
    world.hear();
    assert_eq!(world.end(job).unwrap(), ["job_ended"]);
    assert_eq!(world.status(), DriverStatus::OnBreak);
    let until = Some(at_hour(13 + 6));
    assert_eq!(world.rest(), Some(Rest { must: true, at: None, until }));
    world.pass(6 * HOUR - 1);
    assert_eq!(world.set(DutyWish::On), must_rest(1));
    assert_eq!(world.set(DutyWish::Off).unwrap(), ["went_off"]);
    assert_eq!(world.go_on(), must_rest(1), "going home does not shorten it");
    assert!(world.driver.why_no_offers(world.now).contains(&WhyNot::Hours));
    world.pass(1);
    assert_eq!(world.go_on().unwrap(), ["went_on"]);
    assert_eq!(world.rest(), None);
    assert_eq!(world.work(10 * HOUR), ["hours_told"], "it begins anew");
}

#[test]
fn who_works_on_to_end_what_it_has_must_rest_as_well() {
    let mut world = at_work();
    world.work(10 * HOUR);
    let job = world.on_job(1, WorkKind::Ride);
    assert_eq!(world.set(DutyWish::Off).unwrap(), ["draining"]);
    assert_eq!(world.work(3 * HOUR), [""; 0]);
    assert_eq!(world.end(job).unwrap(), ["job_ended", "went_off"]);
    assert_eq!(world.go_on(), must_rest(6 * HOUR));
}

#[test]
fn who_leaves_is_told_as_well_and_what_it_must_once_it_has_left() {
    let mut world = at_work();
    world.work(9 * HOUR);
    let job = world.on_job(1, WorkKind::Ride);
    assert_eq!(world.set(DutyWish::Off).unwrap(), ["draining"]);
    assert_eq!(world.work(HOUR), ["hours_told"]);
    let (worked_ms, left_ms) = (10 * HOUR as u32, 2 * HOUR as u32);
    let told = Event::HoursTold { at: at_hour(10), worked_ms, left_ms };
    assert_eq!(world.journal.last(), Some(&told));
    let wanted = Rest { must: false, at: Some(at_hour(12)), until: None };
    assert_eq!(world.rest(), Some(wanted));
    assert_eq!(world.work(3 * HOUR), [""; 0]);
    assert_eq!(world.end(job).unwrap(), ["job_ended", "went_off"]);
    let until = Some(at_hour(13 + 6));
    assert_eq!(world.rest(), Some(Rest { must: true, at: None, until }));
}

#[test]
fn only_the_last_day_counts() {
    let mut world = at_work();
    let rest_five_hours = |world: &mut World| {
        world.set(DutyWish::Off).unwrap();
        world.pass(5 * HOUR);
        world.go_on().unwrap();
    };
    assert_eq!(world.work(5 * HOUR), [""; 0]);
    rest_five_hours(&mut world);
    assert_eq!(world.work(5 * HOUR), ["hours_told"], "ten of fifteen");
    rest_five_hours(&mut world);
    assert_eq!(world.work(HOUR), [""; 0], "eleven, and it knows");
    rest_five_hours(&mut world);
    assert_eq!(world.rest(), None, "nine of the last 24");
    assert_eq!(world.work(4 * HOUR - 1), [""; 0]);
    assert_eq!(world.work(1), ["hours_told"], "two more are further back by now");
    let wanted = Rest { must: false, at: Some(at_hour(32)), until: None };
    assert_eq!(world.rest(), Some(wanted));
    assert_eq!(world.work(2 * HOUR - 1), [""; 0]);
    assert_eq!(world.work(1), ["break_started"]);
}

#[test]
fn a_brand_that_counts_from_now_on_does_so_when_one_goes_on_with_its_time_on_duty() {
    let mut world = World::on_duty();
    assert_eq!(world.work(5 * HOUR), [""; 0]);
    world.set(DutyWish::Break).unwrap();
    world.policy = by_day();
    assert_eq!(world.set(DutyWish::On).unwrap(), ["went_off", "went_on"]);
    assert_eq!(world.work(5 * HOUR), ["hours_told"], "what was before counts");
}

#[test]
fn hours_outlast_restarts_and_builds_that_knew_less() {
    let mut world = at_work();
    world.work(5 * HOUR);
    world.set(DutyWish::Off).unwrap();
    world.pass(HOUR);
    world.go_on().unwrap();
    assert_eq!(world.work(5 * HOUR), ["hours_told"]);
    let bytes = rmp_serde::to_vec_named(&world.driver).unwrap();
    let restored: Driver = rmp_serde::from_slice(&bytes).unwrap();
    assert_eq!(restored, world.driver);
    world.driver = restored;
    world.driver.wake(world.now);
    assert_eq!(world.tick(), [""; 0], "nor is it told again");
    assert_eq!(world.work(2 * HOUR), ["break_started"]);

    let mut world = at_work();
    world.work(5 * HOUR);
    world.set(DutyWish::Off).unwrap();
    world.forget_of_hours(&["spells"]);
    world.pass(HOUR);
    world.go_on().unwrap();
    assert_eq!(world.work(5 * HOUR), ["hours_told"]);
}

#[test]
fn a_rest_that_a_build_that_knew_less_left_owing_is_a_whole_one() {
    let mut world = at_work();
    world.work(10 * HOUR);
    world.pass(2 * HOUR);
    assert_eq!(world.set(DutyWish::Off).unwrap(), ["went_off"]);
    world.forget_of_hours(&["spells", "owes_rest", "is_told"]);
    world.pass(5 * HOUR + 50 * MINUTE);
    assert_eq!(world.go_on(), must_rest(10 * MINUTE));
    world.pass(10 * MINUTE);
    assert_eq!(world.go_on().unwrap(), ["went_on"]);
    assert_eq!(world.work(10 * HOUR), ["hours_told"], "it begins anew");
}

#[test]
fn what_it_ends_on_a_break_is_work() {
    let mut world = at_work();
    let job = world.on_job(1, WorkKind::Ride);
    assert_eq!(world.set(DutyWish::Break).unwrap(), ["break_started"]);
    assert_eq!(world.work(10 * HOUR), ["hours_told"]);
    let wanted = Rest { must: false, at: Some(at_hour(12)), until: None };
    assert_eq!(world.rest(), Some(wanted));
    assert_eq!(world.work(2 * HOUR - 1), [""; 0]);
    assert_eq!(world.work(1), ["break_started"]);
    let told = Event::BreakStarted { at: at_hour(12), why: Break::Fatigue };
    assert_eq!(world.journal.last(), Some(&told));
    assert_eq!(world.rest(), Some(Rest { must: true, at: None, until: None }));
    assert_eq!(world.set(DutyWish::On), must_rest(6 * HOUR));
    assert_eq!(world.work(HOUR), [""; 0], "it is told once");

    assert_eq!(world.end(job).unwrap(), ["job_ended"]);
    let until = Some(at_hour(13 + 6));
    assert_eq!(world.rest(), Some(Rest { must: true, at: None, until }));
    world.pass(6 * HOUR - 1);
    assert_eq!(world.set(DutyWish::On), must_rest(1));
    world.pass(1);
    assert_eq!(world.set(DutyWish::On).unwrap(), ["resumed"]);
    assert_eq!(world.rest(), None);
}

#[test]
fn a_break_while_it_has_a_job_hides_no_hours() {
    let mut world = at_work();
    world.work(10 * HOUR);
    let job = world.on_job(1, WorkKind::Ride);
    world.set(DutyWish::Break).unwrap();
    world.pass(2 * HOUR);
    assert_eq!(world.end(job).unwrap(), ["job_ended"], "before anybody looked at the clock");
    let until = Some(at_hour(12 + 6));
    assert_eq!(world.rest(), Some(Rest { must: true, at: None, until }));
    assert_eq!(world.set(DutyWish::On), must_rest(6 * HOUR));
}

#[test]
fn a_job_that_a_dispatcher_gives_to_who_has_rested_is_where_it_begins_anew() {
    let mut world = at_work();
    world.work(10 * HOUR);
    assert_eq!(world.work(2 * HOUR), ["break_started"]);
    assert!(world.is_marked_tired());
    world.pass(7 * HOUR);
    world.hear();
    assert!(!world.is_marked_tired(), "it has rested");
    let offer = world.offer(0, ride(1), WorkKind::Ride);
    assert_eq!(world.force(&offer).unwrap(), ["offer_reserved", "offer_accepted"]);
    assert_eq!(world.rest(), None);
    let commit = Command::CommitJob { job: ride(1) };
    world.ask(Principal::System, commit).unwrap();
    assert_eq!(world.work(HOUR), [""; 0]);
    assert_eq!(world.driver.worked_ms(world.now), HOUR as u32);
    assert_eq!(world.end(ride(1)).unwrap(), ["job_ended"]);
    assert_eq!(world.set(DutyWish::On).unwrap(), ["resumed"]);
    assert_eq!(world.work(9 * HOUR), ["hours_told"], "the job counts");
}

#[test]
fn a_rest_that_became_longer_is_asked_for_before_it_comes_back() {
    let mut world = at_work();
    world.work(10 * HOUR);
    assert_eq!(world.work(2 * HOUR), ["break_started"]);
    world.policy = DriverPolicy { rest_ms: 8 * HOUR as u32, ..by_day() };
    world.pass(7 * HOUR);
    assert_eq!(world.set(DutyWish::On), must_rest(HOUR));
    world.pass(HOUR);
    assert_eq!(world.set(DutyWish::On).unwrap(), ["went_off", "went_on"]);
    assert_eq!(world.rest(), None);
}

#[test]
fn a_break_with_a_job_leaves_hours_as_builds_before_format_11_read_them() {
    let mut world = at_work();
    world.work(9 * HOUR);
    world.on_job(1, WorkKind::Ride);
    world.set(DutyWish::Break).unwrap();
    let kept = serde_json::to_value(&world.driver).unwrap();
    assert_eq!(kept["hours"]["worked_ms"], world.now.ms_since(START));
    assert_eq!(kept["hours"]["since"], serde_json::to_value(world.now).unwrap());
}

#[test]
fn who_is_on_duty_and_should_rest_is_sent_to_rest_at_once() {
    let mut world = at_work();
    world.work(HOUR);
    let mut kept = serde_json::to_value(&world.driver).unwrap();
    kept["hours"]["owes_rest"] = true.into();
    world.driver = serde_json::from_value(kept).unwrap();
    world.driver.wake(world.now);
    assert_eq!(world.driver.deadline(), Some((START, Command::Tick {})));
    assert_eq!(world.tick(), ["break_started"]);
    assert_eq!(world.set(DutyWish::On), must_rest(6 * HOUR));
    world.pass(6 * HOUR);
    assert_eq!(world.set(DutyWish::On).unwrap(), ["resumed"]);
}

#[test]
fn who_must_rest_claims_nothing() {
    let mut world = at_work();
    world.work(10 * HOUR);
    world.pass(2 * HOUR - 1);
    world.hear();
    let claim = |n| Command::ClaimJob { job: ride(n), work: WorkKind::Delivery, weight_g: 0 };
    assert_eq!(world.ask(own(), claim(1)).unwrap(), ["job_claimed"]);
    world.pass(1);
    assert_eq!(world.ask(own(), claim(2)), must_rest(6 * HOUR), "before it was sent to rest");
}

#[test]
fn where_nobody_is_told_and_all_counts_nothing_is_new() {
    let mut world = World::on_duty();
    assert_eq!(world.work(5 * HOUR), [""; 0]);
    world.set(DutyWish::Off).unwrap();
    world.pass(HOUR);
    world.go_on().unwrap();
    assert_eq!(world.work(7 * HOUR - 1), [""; 0]);
    let kept = serde_json::to_string(&world.driver).unwrap();
    let new = ["spells", "owes_rest", "\"is_told", "duty_told_ms", "duty_within_ms"];
    assert_eq!(new.iter().find(|it| kept.contains(**it)), None, "{kept}");
    assert_eq!(world.work(1), ["break_started"]);
    assert!(world.journal.iter().all(|event| Driver::event_format(event) < HOURS));
}

#[test]
fn what_is_new_of_hours_is_written_only_for_who_can_read_it() {
    let mut world = at_work();
    world.work(10 * HOUR);
    assert!(world.journal.iter().all(|event| Driver::event_format(event) == HOURS));
    world.work(2 * HOUR);

    let older = Format(HOURS.0 - 1);
    let (vehicle, policy) = (Some(moto()), by_day());
    let on = Command::SetDuty { duty: DutyWish::On, vehicle, policy };
    let context = Context { id: me(), by: own(), now: world.now, writes: older };
    let events = Driver::default().decide(&on, &context).unwrap();
    assert!(events.iter().all(|event| Driver::event_format(event) <= older), "{events:?}");
    let too_early = Refusal::TooEarly { what: "rest".to_owned(), remaining_ms: 6 * HOUR };
    assert_eq!(world.driver.decide(&on, &context), Err(too_early));
}
