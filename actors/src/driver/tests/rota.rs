//! Shifts that staff give a driver: when it may be on duty, how its time on duty ends, and which ones it misses.

use super::*;
use crate::driver::rota::SHIFTS_MAX;
use protocol::{RiderId, ZoneId, view::ShiftsView};

/// From so many minutes after the beginning of all on, until so many.
fn shift(from_min: u64, until_min: u64) -> Shift {
    Shift { start: at_min(from_min), end: at_min(until_min), zone: None }
}

fn at_min(min: u64) -> Timestamp {
    Timestamp(START.0 + min * MINUTE)
}

fn set(expects: u32, shifts: &[Shift]) -> Command {
    let (shifts, reason) = (shifts.to_vec(), "next week".to_owned());
    Command::SetShifts { expects, shifts, grace_s: 900, reason }
}

fn outside() -> Result<Vec<&'static str>, Refusal> {
    Err(Refusal::Unfit(vec![WhyNot::OutsideShift]))
}

/// A driver nobody has heard of, of a brand that demands shifts.
fn demanding() -> World {
    World::new(DriverPolicy { shifts: Shifts::Demanded, ..DriverPolicy::default() })
}

/// The same, on duty since the beginning of the first of its shifts.
fn on_shift(shifts: &[Shift]) -> World {
    let mut world = demanding();
    world.give(shifts).unwrap();
    world.go_on().unwrap();
    world.at(KIGALI).unwrap();
    world
}

impl World {
    fn shifts(&self) -> ShiftsView {
        self.driver.shifts_view(true, self.now)
    }

    fn turnouts(&self) -> Vec<Turnout> {
        self.shifts().shifts.iter().map(|it| it.turnout).collect()
    }

    fn give(&mut self, shifts: &[Shift]) -> Result<Vec<&'static str>, Refusal> {
        let command = set(self.shifts().version, shifts);
        self.ask(Principal::Dispatcher, command)
    }

    fn allow(&mut self, until_min: u64) -> Result<Vec<&'static str>, Refusal> {
        let (until, reason) = (at_min(until_min), "rain".to_owned());
        self.ask(Principal::Dispatcher, Command::AllowOffShift { until, reason })
    }

    fn revoke(&mut self) -> Result<Vec<&'static str>, Refusal> {
        let reason = "dry again".to_owned();
        self.ask(Principal::Admin, Command::RevokeOffShift { reason })
    }

    /// It is so late now, its device was heard of all the while, and what was due has come.
    fn at_minute(&mut self, min: u64) -> Vec<&'static str> {
        self.now = at_min(min);
        self.hear();
        self.tick()
    }
}

#[test]
fn where_shifts_are_demanded_who_is_in_none_goes_on_duty_only_if_staff_let_it() {
    let mut world = demanding();
    assert_eq!(world.go_on(), outside());
    // It has never worked, and could not begin otherwise.
    assert_eq!(world.give(&[shift(60, 120)]), Ok(vec!["shifts_set"]));
    world.at_minute(59);
    assert_eq!(world.go_on(), outside());
    world.at_minute(60);
    assert_eq!(world.go_on(), Ok(vec!["went_on"]));
    assert_eq!(world.set(DutyWish::Break), Ok(vec!["break_started"]));
    assert_eq!(world.at_minute(120), ["went_off"], "nobody rests out of hours");
    assert_eq!(world.go_on(), outside());

    assert_eq!(world.allow(180), Ok(vec!["off_shift_allowed"]));
    assert_eq!(world.allow(180), Ok(vec![]));
    assert_eq!(world.go_on(), Ok(vec!["went_on"]));
    let off_shift = world.shifts().off_shift.unwrap();
    assert_eq!((off_shift.until, off_shift.reason.as_str()), (at_min(180), "rain"));
    assert_eq!(world.at_minute(180), ["went_off"]);
    assert_eq!(world.shifts().off_shift, None);

    let mut free = World::new(DriverPolicy::default());
    free.give(&[shift(60, 120)]).unwrap();
    assert_eq!(free.go_on(), Ok(vec!["went_on"]), "where they are not, shifts keep nobody from it");
    assert_eq!(free.at_minute(121), [""; 0]);
    assert_eq!(free.driver.why_no_offers(free.now), [WhyNot::NoPosition]);
}

#[test]
fn when_its_shift_is_over_it_is_asked_no_more_ends_what_it_has_and_goes_off_duty() {
    let mut world = on_shift(&[shift(0, 60)]);
    assert_eq!(world.card().unwrap().standing.asked_until, Some(at_min(60)));
    let job = world.on_job(1, WorkKind::Delivery);
    world.at_minute(59);
    world.pass(55 * SECOND);
    let open = world.offer(0, ride(2), WorkKind::Delivery);
    world.reserve(&open).unwrap();
    world.told();

    // Nobody has said so yet, and it is so already.
    world.pass(5 * SECOND);
    world.at(KIGALI).unwrap();
    let late = world.offer(0, ride(3), WorkKind::Delivery);
    assert_eq!(world.reserve(&late), outside());
    let claim = Command::ClaimJob { job: ride(4), work: WorkKind::Delivery, weight_g: 0 };
    assert_eq!(world.ask(own(), claim), outside());
    assert!(world.driver.why_no_offers(world.now).contains(&WhyNot::OutsideShift));
    assert_eq!(world.driver.why_no_claims(world.now)[0], WhyNot::OutsideShift);

    assert_eq!(world.tick(), ["offer_dropped", "draining"]);
    assert_eq!(world.told(), ["offer_refused"], "somebody else is asked");
    assert_eq!((world.card(), world.driver.current_jobs()), (None, vec![job]));
    let why = world.driver.why_no_offers(world.now);
    assert_eq!(why, [WhyNot::Leaving, WhyNot::OutsideShift]);
    assert_eq!(world.go_on(), outside(), "it has had its time");
    assert_eq!(world.end(job), Ok(vec!["job_ended", "went_off"]));
    let off = Event::WentOff { at: world.now, why: Leave::ShiftOver };
    assert_eq!(world.journal.last(), Some(&off));
    assert_eq!(world.driver.deadline(), None);
}

#[test]
fn a_dispatcher_may_give_it_one_more_job_all_the_same() {
    let mut world = on_shift(&[shift(0, 60)]);
    world.on_job(1, WorkKind::Delivery);
    assert_eq!(world.at_minute(60), ["draining"]);
    let more = world.offer(0, ride(2), WorkKind::Delivery);
    assert_eq!(world.reserve(&more), outside());
    assert_eq!(world.force(&more), Ok(vec!["offer_reserved", "offer_accepted"]));
}

#[test]
fn it_works_on_as_long_as_one_shift_or_what_staff_let_it_do_goes_over_into_the_next() {
    let mut world = on_shift(&[shift(0, 60), shift(60, 120), shift(150, 180)]);
    assert_eq!(world.shifts().works_until, Some(at_min(120)));
    assert_eq!(world.at_minute(60), [""; 0]);
    world.at_minute(100);
    world.allow(155).unwrap();
    assert_eq!(world.shifts().works_until, Some(at_min(180)));
    for min in [120, 150, 155, 179] {
        assert_eq!(world.at_minute(min), [""; 0], "{min}");
    }
    assert_eq!(world.at_minute(180), ["went_off"]);
    assert_eq!(world.shifts().n_shift_no_shows, 0, "it came to all of them");
}

#[test]
fn who_may_not_work_any_more_leaves_at_once() {
    let mut world = on_shift(&[shift(0, 60)]);
    world.at_minute(30);
    assert_eq!(world.give(&[shift(90, 120)]), Ok(vec!["shifts_set", "went_off"]));
    world.allow(60).unwrap();
    world.go_on().unwrap();
    assert_eq!(world.revoke(), Ok(vec!["off_shift_revoked", "went_off"]));
    assert_eq!(world.revoke(), Ok(vec![]));
    world.allow(60).unwrap();
    world.go_on().unwrap();
    world.at(KIGALI).unwrap();
    let job = world.on_job(1, WorkKind::Ride);
    assert_eq!(world.revoke(), Ok(vec!["off_shift_revoked", "draining"]));
    assert_eq!(world.end(job), Ok(vec!["job_ended", "went_off"]));
}

#[test]
fn who_does_not_come_in_time_misses_a_shift_and_is_counted_once() {
    let mut world = demanding();
    world.give(&[shift(60, 120), shift(180, 190)]).unwrap();
    assert_eq!(world.driver.deadline(), Some((at_min(75), Command::Tick {})));
    assert_eq!(world.at_minute(74), [""; 0]);
    assert_eq!(world.at_minute(75), ["shift_missed"]);
    let missed = Event::ShiftMissed { at: world.now, start: at_min(60), end: at_min(120) };
    assert_eq!(world.journal.last(), Some(&missed));
    assert_eq!(world.tick(), [""; 0], "once");
    assert_eq!(world.turnouts(), [Turnout::Missed, Turnout::Awaited]);

    // It may come too late, and is no less late for that.
    world.at_minute(80);
    assert_eq!(world.go_on(), Ok(vec!["went_on"]));
    assert_eq!(world.turnouts(), [Turnout::Missed, Turnout::Awaited]);
    assert_eq!(world.at_minute(120), ["went_off"]);
    // A short one is missed when it is over.
    assert_eq!(world.driver.deadline(), Some((at_min(190), Command::Tick {})));
    assert_eq!(world.at_minute(190), ["shift_missed"]);
    let view = world.driver.driver_view(me(), 1);
    assert_eq!((view.n_shift_no_shows, view.shift), (2, None));
    assert_eq!(world.driver.deadline(), None);
}

#[test]
fn whoever_goes_on_duty_before_its_deadline_was_told_of_has_missed_it_all_the_same() {
    let mut world = demanding();
    world.give(&[shift(60, 120)]).unwrap();
    world.now = at_min(76);
    assert_eq!(world.go_on(), Ok(vec!["shift_missed", "went_on"]));
    let mut world = demanding();
    world.give(&[shift(60, 120)]).unwrap();
    world.now = at_min(76);
    assert_eq!(world.give(&[]), Ok(vec!["shift_missed", "shifts_set"]), "nor is it forgotten");
    assert_eq!(world.shifts().n_shift_no_shows, 1);
}

#[test]
fn who_was_on_duty_when_it_began_or_soon_after_came() {
    for (leaves_at, turnout, then) in [
        (55, Turnout::Awaited, vec!["shift_missed"]),
        (60, Turnout::Came, vec![]),
        (70, Turnout::Came, vec![]),
    ] {
        let mut world = World::new(DriverPolicy::default());
        world.give(&[shift(60, 120)]).unwrap();
        world.now = at_min(50);
        world.go_on().unwrap();
        world.at_minute(leaves_at);
        world.set(DutyWish::Off).unwrap();
        assert_eq!(world.turnouts(), [turnout], "left at {leaves_at}");
        assert_eq!(world.at_minute(75), then, "left at {leaves_at}");
    }
}

#[test]
fn who_may_not_work_misses_nothing() {
    let mut world = demanding();
    world.give(&[shift(60, 120), shift(180, 240)]).unwrap();
    let suspend = Command::Suspend { reason: "papers".to_owned(), reassign: false };
    world.ask(Principal::Admin, suspend).unwrap();
    assert_eq!(world.driver.deadline(), None);
    assert_eq!(world.at_minute(80), [""; 0]);
    world.ask(Principal::Admin, Command::Reinstate {}).unwrap();
    assert_eq!(world.turnouts(), [Turnout::Excused, Turnout::Awaited]);
    assert_eq!(world.at_minute(195), ["shift_missed"]);
    assert_eq!(world.shifts().n_shift_no_shows, 1);
}

#[test]
fn staff_alone_give_shifts_and_only_such_as_make_sense() {
    let mut world = demanding();
    world.now = at_min(20);
    let (until, reason) = (at_min(60), String::new);
    let commands = [
        set(0, &[shift(60, 120)]),
        Command::AllowOffShift { until, reason: "rain".to_owned() },
        Command::RevokeOffShift { reason: "dry".to_owned() },
    ];
    for by in [own(), Principal::Driver(DriverId::nth(8)), Principal::Rider(RiderId::nth(1))] {
        for command in commands.clone() {
            let answer = world.ask(by, command.clone());
            assert!(matches!(answer, Err(Refusal::NotYours(_))), "{by}: {command:?}");
        }
    }

    let (day, many) = (24 * 60, (0..).map(|n| shift(60 + n, 61 + n)));
    let many: Vec<Shift> = many.take(SHIFTS_MAX + 1).collect();
    let nowhere = Shift { zone: Some(ZoneId::nth(1)), ..shift(60, 120) };
    let early = &shift(60, 90);
    for (shifts, wrong) in [
        (&[shift(60, 60)][..], "shifts[0].end"),
        (&[*early, shift(120, 119)][..], "shifts[1].end"),
        (&[shift(60, 61 + day)][..], "shifts[0].end"),
        (&[shift(15, 20)][..], "shifts[0].end"),
        (&[shift(9, 60)][..], "shifts[0].start"),
        (&[shift(60 * day + 21, 60 * day + 30)][..], "shifts[0].start"),
        (&[nowhere][..], "shifts[0].zone"),
        (&[shift(89, 120), *early][..], "shifts[0].start"),
        (&many[..], "shifts"),
    ] {
        let Err(Refusal::Invalid { field, .. }) = world.give(shifts) else { panic!("{shifts:?}") };
        assert_eq!(field, wrong, "{shifts:?}");
    }
    let silent = Command::SetShifts { expects: 0, shifts: vec![], grace_s: 0, reason: reason() };
    let without = |field: &str, answer: Result<Vec<&'static str>, Refusal>| {
        let Err(Refusal::Invalid { field: named, .. }) = answer else { panic!("{answer:?}") };
        assert_eq!(named, field);
    };
    without("reason", world.ask(Principal::Admin, silent));
    without("until", world.allow(20));
    without("until", world.allow(21 + day));
    assert_eq!(world.allow(20 + day), Ok(vec!["off_shift_allowed"]));

    // In any order, one right after the other, all of a day, and one that has only just begun.
    let some = [shift(90, 90 + day), *early, shift(10, 60)];
    assert_eq!(world.give(&some), Ok(vec!["shifts_set"]));
    let told: Vec<_> = world.shifts().shifts.iter().map(|it| (it.start, it.due)).collect();
    let wanted = [(10, 35), (60, 75), (90, 105)].map(|(start, due)| (at_min(start), at_min(due)));
    assert_eq!(told, wanted, "a quarter of an hour since it was said, or since it begins");
    assert_eq!(world.give(&many[..SHIFTS_MAX]), Ok(vec!["shifts_set"]));
}

#[test]
fn two_who_give_it_shifts_do_not_overwrite_each_other() {
    let mut world = demanding();
    let (one, other) = (set(0, &[shift(60, 120)]), set(0, &[shift(90, 120)]));
    assert_eq!(world.ask(Principal::Dispatcher, one.clone()), Ok(vec!["shifts_set"]));
    assert!(matches!(world.ask(Principal::Admin, other), Err(Refusal::TooLate(_))));
    assert_eq!(world.ask(Principal::Admin, one), Ok(vec![]), "it is so already");
    assert_eq!(world.ask(Principal::Admin, set(1, &[])), Ok(vec!["shifts_set"]));
    assert_eq!((world.shifts().version, world.shifts().shifts.len()), (2, 0));
    assert_eq!(demanding().give(&[]), Ok(vec![]));
}

#[test]
fn one_that_begins_when_it_did_is_the_same_whatever_else_changes() {
    let mut world = demanding();
    world.give(&[shift(60, 120)]).unwrap();
    world.at_minute(75);
    let longer = [shift(60, 180), shift(200, 260)];
    world.at_minute(110);
    assert_eq!(world.give(&longer), Ok(vec!["shifts_set"]), "it may have begun");
    assert_eq!(world.turnouts(), [Turnout::Missed, Turnout::Awaited]);
    assert_eq!(world.tick(), [""; 0], "and is not counted again");
    assert_eq!(world.driver.driver_view(me(), 1).shift, Some(longer[0]));
    world.go_on().unwrap();
    assert_eq!(world.at_minute(150), [""; 0]);
    assert_eq!(world.at_minute(180), ["went_off"]);
}

#[test]
fn one_that_is_made_shorter_and_then_longer_again_is_missed_as_if_it_had_always_been_long() {
    let mut world = demanding();
    world.give(&[shift(60, 120)]).unwrap();
    world.give(&[shift(60, 65)]).unwrap();
    assert_eq!(world.driver.deadline(), Some((at_min(65), Command::Tick {})));
    world.give(&[shift(60, 120)]).unwrap();
    assert_eq!(world.driver.deadline(), Some((at_min(75), Command::Tick {})));
    assert_eq!(world.shifts().shifts[0].due, at_min(75));
}

#[test]
fn why_it_may_work_outside_of_its_shifts_is_what_was_said_last() {
    let mut world = demanding();
    world.allow(60).unwrap();
    let (until, reason) = (at_min(60), "a concert".to_owned());
    let allow = Command::AllowOffShift { until, reason };
    let said = world.ask(Principal::Dispatcher, allow.clone());
    assert_eq!(said, Ok(vec!["off_shift_allowed"]));
    assert_eq!(world.shifts().off_shift.unwrap().reason, "a concert");
    assert_eq!(world.ask(Principal::Admin, allow), Ok(vec![]), "it is so already");
}

#[test]
fn a_brand_that_demands_shifts_from_now_on_does_so_when_one_goes_on_with_its_time_on_duty() {
    let mut world = World::on_duty();
    world.set(DutyWish::Break).unwrap();
    world.policy.shifts = Shifts::Demanded;
    assert_eq!(world.set(DutyWish::On), outside());
    world.allow(60).unwrap();
    assert_eq!(world.set(DutyWish::On), Ok(vec!["went_off", "went_on"]));
    assert_eq!(world.at_minute(60), ["went_off"]);
}

#[test]
fn what_is_new_of_shifts_is_written_only_for_who_can_read_it() {
    for command in [
        set(0, &[]),
        Command::AllowOffShift { until: START, reason: String::new() },
        Command::RevokeOffShift { reason: String::new() },
    ] {
        assert_eq!(Driver::command_format(&command), SHIFTS, "{command:?}");
    }
    let mut world = on_shift(&[shift(0, 60)]);
    world.at_minute(60);
    world.allow(90).unwrap();
    world.revoke().unwrap();
    world.give(&[shift(100, 200)]).unwrap();
    world.at_minute(115);
    let names: Vec<_> = world.journal.iter().map(Driver::event_name).collect();
    let all = [
        "shifts_set",
        "went_on",
        "went_off",
        "off_shift_allowed",
        "off_shift_revoked",
        "shifts_set",
        "shift_missed",
    ];
    assert_eq!(names, all);
    assert!(world.journal.iter().all(|event| Driver::event_format(event) == SHIFTS));

    let older = Format(SHIFTS.0 - 1);
    let (vehicle, policy) = (Some(moto()), demanding().policy);
    let command = Command::SetDuty { duty: DutyWish::On, vehicle, policy };
    let context = Context { id: me(), by: own(), now: START, writes: older };
    let events = Driver::default().decide(&command, &context).unwrap();
    assert!(events.iter().all(|event| Driver::event_format(event) <= older), "{events:?}");
    let kept = serde_json::to_string(&World::on_duty().driver).unwrap();
    assert!(!kept.contains("shift") && !kept.contains("rota"), "{kept}");
}
