//! Skills that staff vouch for, what a reservation asks for, and who is told that it takes no offers.

use super::*;
use crate::driver::grants::GRANTS_MAX;
use matching::{cost, fit};
use protocol::{RiderId, view::Rates, work::Needs};

const DAY: u64 = 24 * HOUR;

fn grant(skill: &str, until: Option<Timestamp>) -> Command {
    Command::GrantSkill { skill: skill.to_owned(), reason: "seen".to_owned(), until }
}

fn revoke(skill: &str) -> Command {
    Command::RevokeSkill { skill: skill.to_owned(), reason: "over".to_owned() }
}

fn with(skills: &[&str]) -> Vehicle {
    Vehicle { skills: skills.iter().map(|&it| it.to_owned()).collect(), ..moto() }
}

fn needing(skill: &str) -> Needs {
    Needs { skills: vec![skill.to_owned()], ..Needs::default() }
}

fn wanting(skill: &str) -> Wants {
    Wants::of(&needing(skill), None, false).unwrap()
}

/// On duty with a vehicle that has these skills, as its driver says.
fn saying(skills: &[&str], self_declared: Option<bool>) -> World {
    let mut world = World::new(DriverPolicy { self_declared, ..DriverPolicy::default() });
    let (duty, vehicle, policy) = (DutyWish::On, Some(with(skills)), world.policy);
    world.ask(own(), Command::SetDuty { duty, vehicle, policy }).unwrap();
    world.at(KIGALI).unwrap();
    world
}

fn listed(world: &World) -> Vec<String> {
    world.card().unwrap().vehicle.skills.clone()
}

/// What a dispatcher, and whoever claims, is told of a job that needs this.
fn against(world: &World, skill: &str) -> Vec<WhyNot> {
    let (needs, way) = (needing(skill), fit::Way { pickup: KIGALI, dropoff: None });
    let (work, fleet, fleet_first) = (WorkKind::Ride, None, false);
    let asks = Asks { work, needs: &needs, fleet, fleet_first, way };
    let costs = cost::Settings::default();
    let offered = world.driver.against(ride(1), &asks, world.now, &costs);
    assert_eq!(world.driver.against_claim(ride(1), &asks, world.now, &costs), offered);
    offered
}

#[test]
fn what_must_be_granted_counts_only_if_it_is_and_all_else_as_it_is_said() {
    let said = ["winch", "certificate.hazmat", "cold_chain", "gender.female", "permit.old-town"];
    let mut world = saying(&said, None);
    assert_eq!(listed(&world), ["winch"]);
    assert_eq!(world.driver.ungranted(world.now), said[1..]);
    assert_eq!(world.driver.driver_view(me(), 1).ungranted, said[1..]);
    assert_eq!(world.driver.driver_view(me(), 1).vehicle, Some(with(&said)), "as it said");
    for (skill, why) in said[1..].iter().zip([
        WhyNot::Certificate,
        WhyNot::ColdChain,
        WhyNot::Gender,
        WhyNot::Permit,
    ]) {
        assert_eq!(against(&world, skill), [why]);
        let offer = world.offer(0, ride(1), WorkKind::Ride);
        for force in [false, true] {
            let refused = world.reserve_wanting(&offer, wanting(skill), force);
            assert_eq!(refused, Err(Refusal::Unfit(vec![why])), "{skill}, forced: {force}");
        }
        assert_eq!(world.ask(Principal::Dispatcher, grant(skill, None)), Ok(vec!["skill_granted"]));
        assert_eq!(against(&world, skill), []);
    }
    assert_eq!(listed(&world), said);
    assert_eq!(world.driver.ungranted(world.now), [""; 0]);
    let offer = world.offer(0, ride(1), WorkKind::Ride);
    assert_eq!(world.reserve_wanting(&offer, wanting(said[1]), false), Ok(vec!["offer_reserved"]));
}

#[test]
fn a_claim_says_what_counts_as_it_is_made_and_as_it_is_made_again() {
    let mut world = saying(&["winch", "certificate.hazmat"], None);
    let skill = "certificate.hazmat";
    world.ask(Principal::Dispatcher, grant(skill, None)).unwrap();
    let claim = Command::ClaimJob { job: ride(1), work: WorkKind::Delivery, weight_g: 2_000 };
    world.ask(own(), claim).unwrap();
    world.ask(Principal::Dispatcher, revoke(skill)).unwrap();
    let (due, tick) = world.driver.deadline().unwrap();
    world.pass(due.since(world.now).as_millis() as u64);
    world.hear();
    world.ask(Principal::System, tick).unwrap();
    let mut said = Vec::new();
    for effect in &world.told {
        if let Tell::Order { command: crate::order::Command::Search(it), .. } = &effect.tell
            && let search::Command::Claim { brings: Some(brings), .. } = it
        {
            // What it claims it does not carry yet.
            assert_eq!(brings.load_g, 0);
            said.push(brings.vehicle.skills.join("+"));
        }
    }
    assert_eq!(said, ["winch+certificate.hazmat", "winch"]);
}

#[test]
fn what_is_of_the_person_need_not_be_said_but_what_is_of_the_vehicle_must() {
    let mut world = saying(&[], None);
    for skill in ["gender.female", "cold_chain"] {
        world.ask(Principal::Admin, grant(skill, None)).unwrap();
    }
    assert_eq!(listed(&world), ["gender.female"]);
    assert_eq!(against(&world, "cold_chain"), [WhyNot::ColdChain], "it came without its box");
}

#[test]
fn a_grant_that_is_over_counts_no_more_and_one_that_is_revoked_not_at_once() {
    let mut world = saying(&["certificate.hazmat", "permit.old-town"], None);
    let until = Some(world.now + Duration::from_secs(60));
    world.ask(Principal::Admin, grant("certificate.hazmat", until)).unwrap();
    world.ask(Principal::Admin, grant("permit.old-town", None)).unwrap();
    let grants = world.driver.driver_view(me(), 1).grants;
    assert_eq!((grants.len(), grants[0].until), (2, until), "its view says until when");
    world.pass(59 * SECOND);
    world.hear();
    assert_eq!(against(&world, "certificate.hazmat"), []);
    world.pass(SECOND);
    world.at(KIGALI).unwrap();
    assert_eq!(against(&world, "certificate.hazmat"), [WhyNot::Certificate]);
    assert_eq!(listed(&world), ["permit.old-town"]);
    assert_eq!(world.driver.driver_view(me(), 1).ungranted, ["certificate.hazmat"]);

    // On a job by now, which goes on.
    let job = world.on_job(1, WorkKind::Delivery);
    world.ask(Principal::Admin, revoke("permit.old-town")).unwrap();
    assert_eq!(listed(&world), [""; 0], "at once");
    assert_eq!(world.driver.current_jobs(), [job]);
    assert_eq!(world.ask(Principal::Admin, revoke("permit.old-town")), Ok(vec![]), "it is already");
}

#[test]
fn staff_alone_grant_and_only_what_must_be_and_not_without_end() {
    let mut world = saying(&[], None);
    let hazmat = || grant("certificate.hazmat", None);
    for by in [own(), Principal::Driver(DriverId::nth(8)), Principal::Rider(RiderId::nth(1))] {
        assert!(matches!(world.ask(by, hazmat()), Err(Refusal::NotYours(_))), "{by}");
        let revoked = world.ask(by, revoke("certificate.hazmat"));
        assert!(matches!(revoked, Err(Refusal::NotYours(_))), "{by}");
    }
    let mut invalid = |command| {
        let Err(Refusal::Invalid { field, .. }) = world.ask(Principal::Admin, command) else {
            panic!("it makes no sense")
        };
        field
    };
    let long = format!("permit.{}", "x".repeat(64));
    for name in ["", "winch", "permit old", "permit.\n", &long] {
        assert_eq!(invalid(grant(name, None)), "skill", "{name:?}");
    }
    assert_eq!(invalid(grant("permit.old-town", Some(START))), "until");
    let (skill, reason) = ("permit.old-town".to_owned(), String::new());
    assert_eq!(invalid(Command::GrantSkill { skill, reason, until: None }), "reason");
    let nobody = World::new(DriverPolicy::default()).ask(Principal::Admin, hazmat());
    assert_eq!(nobody, Err(Refusal::Unknown("driver".to_owned())));

    let later = Some(world.now + Duration::from_millis(DAY));
    for n in 0..GRANTS_MAX {
        world.ask(Principal::Admin, grant(&format!("permit.{n}"), later)).unwrap();
    }
    let one_more = world.ask(Principal::Admin, hazmat());
    assert!(matches!(one_more, Err(Refusal::Invalid { .. })), "{one_more:?}");
    let longer = world.ask(Principal::Admin, grant("permit.0", None));
    assert_eq!(longer, Ok(vec!["skill_granted"]), "that is none more");
    assert_eq!(world.ask(Principal::Admin, grant("permit.0", None)), Ok(vec![]));
    world.pass(DAY);
    world.ask(Principal::Admin, hazmat()).unwrap();
    let names: Vec<_> = world.driver.grants.iter().map(|it| it.skill.as_str()).collect();
    assert_eq!(names, ["permit.0", "certificate.hazmat"], "what is over is forgotten");
}

#[test]
fn where_a_brand_says_so_or_a_shift_is_older_than_grants_what_is_said_counts() {
    let world = saying(&["certificate.hazmat"], Some(true));
    assert_eq!(listed(&world), ["certificate.hazmat"]);
    assert_eq!(against(&world, "certificate.hazmat"), []);
    assert_eq!(world.driver.driver_view(me(), 1).ungranted, [""; 0]);

    let policy = DriverPolicy::default();
    let (duty, vehicle) = (DutyWish::On, Some(with(&["certificate.hazmat"])));
    let command = Command::SetDuty { duty, vehicle, policy };
    let context = Context { id: me(), by: own(), now: START, writes: Format(7) };
    let events = Driver::default().decide(&command, &context).unwrap();
    assert!(events.iter().all(|event| Driver::event_format(event) <= Format(7)), "{events:?}");
    let mut older = Driver::default();
    events.iter().for_each(|event| older.evolve(event));
    assert_eq!(older.ungranted(START), [""; 0], "nobody can vouch for anything yet");
}

#[test]
fn what_is_new_of_grants_is_written_only_for_who_can_read_it() {
    assert_eq!(Driver::command_format(&grant("cold_chain", None)), GRANTS);
    assert_eq!(Driver::command_format(&revoke("cold_chain")), GRANTS);
    let mut world = saying(&["cold_chain"], None);
    world.ask(Principal::Admin, grant("cold_chain", None)).unwrap();
    world.ask(Principal::Admin, revoke("cold_chain")).unwrap();
    let new = world.journal.iter().filter(|event| Driver::event_format(event) == GRANTS);
    let names: Vec<_> = new.map(Driver::event_name).collect();
    assert_eq!(names, ["went_on", "skill_granted", "skill_revoked"]);
    let kept = serde_json::to_string(&Driver::default()).unwrap();
    assert!(!kept.contains("grants"), "{kept}");
}

#[test]
fn who_is_another_than_was_listed_is_not_asked_unless_a_dispatcher_may_overrule_that() {
    let mut world = World::on_duty();
    let van = Needs { vehicles: vec![VehicleKind::Van], ..Needs::default() };
    let fleet = Some(PartnerId::nth(1));
    let offer = world.offer(0, ride(1), WorkKind::Ride);
    for (wants, why) in [
        (Wants::of(&van, None, false), WhyNot::Vehicle),
        (Wants::of(&needing("winch"), None, false), WhyNot::Skill),
        (Wants::of(&Needs::default(), fleet, false), WhyNot::OtherFleet),
        (Wants::of(&Needs::default(), fleet, true), WhyNot::OtherFleetFirst),
    ] {
        let refused = world.reserve_wanting(&offer, wants.unwrap(), false);
        assert_eq!(refused, Err(Refusal::Unfit(vec![why])));
    }
    assert_eq!(Wants::of(&Needs::default(), None, false), None, "any driver would do");
    let hire = Command::SetFleet { fleet, reason: "hired".to_owned() };
    world.ask(Principal::Admin, hire).unwrap();
    let theirs = Wants::of(&Needs::default(), fleet, false).unwrap();
    assert_eq!(world.reserve_wanting(&offer, theirs, false), Ok(vec!["offer_reserved"]));
    let other = world.offer(0, ride(2), WorkKind::Ride);
    let wants = Wants::of(&van, Some(PartnerId::nth(2)), false).unwrap();
    let forced = world.reserve_wanting(&other, wants, true);
    assert_eq!(forced, Ok(vec!["offer_dropped", "offer_reserved", "offer_accepted"]));
}

#[test]
fn whoever_wants_to_give_it_a_job_is_told_all_that_it_lacks() {
    let world = saying(&["lift_gate"], None);
    let skills = ["ramp", "tie_downs", "winch"].map(str::to_owned).to_vec();
    let needs = Needs { vehicles: vec![VehicleKind::Van], weight_g: 20_001, skills };
    let way = fit::Way { pickup: KIGALI, dropoff: None };
    let (work, fleet, fleet_first) = (WorkKind::Rescue, None, false);
    let asks = Asks { work, needs: &needs, fleet, fleet_first, way };
    let against = world.driver.against(ride(1), &asks, world.now, &cost::Settings::default());
    let lacks = [WhyNot::Vehicle, WhyNot::Capacity, WhyNot::Skill, WhyNot::TieDowns];
    assert_eq!(against, lacks);
    assert_eq!(world.driver.ungranted(world.now), [""; 0], "nobody need vouch for a lift gate");
}

#[test]
fn a_reservation_that_says_nothing_of_needs_is_as_it_always_was() {
    let world = World::on_duty();
    let (offer, weights_g) = (world.offer(0, ride(1), WorkKind::Ride), vec![]);
    let reserve =
        Command::ReserveOffer { offer, consent: true, force: false, weights_g, wants: vec![] };
    let said = serde_json::to_string(&reserve).unwrap();
    assert!(!said.contains("wants") && !said.contains("\"next\""), "{said}");
    let bytes = rmp_serde::to_vec_named(&reserve).unwrap();
    assert_eq!(rmp_serde::from_slice::<Command>(&bytes).unwrap(), reserve);
}

#[test]
fn of_a_run_each_order_may_ask_for_something() {
    let mut world = World::on_duty();
    let offer = run_offer(&world, 2);
    let refused = world.reserve_wanting(&offer, wanting("cold_chain"), false);
    assert_eq!(refused, Err(Refusal::Unfit(vec![WhyNot::ColdChain])));
}

// What begins next.

#[test]
fn an_offer_of_what_begins_after_the_present_job_says_so_as_long_as_that_goes_on() {
    let (mut world, first) = nearly_there();
    let is_next = |world: &World| world.driver.driver_view(me(), 1).offers[0].next;
    let offer = world.offer(0, ride(2), WorkKind::Ride);
    world.reserve(&offer).unwrap();
    assert!(is_next(&world));
    world.end(first).unwrap();
    assert!(!is_next(&world), "it would begin at once");
    assert_eq!(world.reserve(&offer), Ok(vec![]), "it is the same offer all the while");

    let mut shared = World::on_duty();
    shared.on_job(1, WorkKind::Delivery);
    let offer = shared.offer(0, ride(2), WorkKind::Delivery);
    shared.reserve(&offer).unwrap();
    assert!(!is_next(&shared), "they go together");
}

// Who takes no offers.

fn turn_down(world: &mut World, n: u64) -> Vec<&'static str> {
    let offer = world.offer(0, ride(n), WorkKind::Ride);
    world.reserve(&offer).unwrap();
    world.ask(own(), Command::DeclineOffer { offer: offer.id }).unwrap()
}

fn let_pass(world: &mut World, n: u64) -> Vec<&'static str> {
    let offer = world.offer(0, ride(n), WorkKind::Ride);
    world.reserve(&offer).unwrap();
    world.pass(16 * SECOND);
    world.hear();
    world.tick()
}

#[test]
fn who_takes_none_of_its_offers_is_told_so_once_until_it_takes_one() {
    let mut world = World::on_duty();
    for n in 1..=2 {
        assert_eq!(turn_down(&mut world, n), ["offer_declined"]);
        assert_eq!(let_pass(&mut world, 10 + n), ["offer_ended"]);
    }
    assert_eq!(turn_down(&mut world, 5), ["offer_declined", "unwanted_told"]);
    assert_eq!(world.journal.last(), Some(&Event::UnwantedTold { at: world.now, n: 5 }));
    assert_eq!(turn_down(&mut world, 6), ["offer_declined"], "once");
    world.at(KIGALI).unwrap();
    assert!(world.card().is_some(), "it is asked as before");
    assert_eq!(world.driver.driver_view(me(), 1).rates.in_a_row, 6);

    let job = world.on_job(7, WorkKind::Ride);
    world.end(job).unwrap();
    for n in 20..24 {
        assert_eq!(turn_down(&mut world, n), ["offer_declined"]);
    }
    assert_eq!(turn_down(&mut world, 24), ["offer_declined", "unwanted_told"]);
    let rates = Rates {
        made: 12,
        accepted: 1,
        declined: 9,
        ignored: 2,
        acceptance_percent: 45,
        in_a_row: 5,
    };
    assert_eq!(world.driver.driver_view(me(), 1).rates, rates);
    assert_eq!(World::on_duty().driver.driver_view(me(), 1).rates, Rates::default());
}

#[test]
fn who_rests_is_not_told_to_and_begins_anew() {
    let mut world = World::on_duty();
    for n in 1..=4 {
        turn_down(&mut world, n);
    }
    let offer = world.offer(0, ride(5), WorkKind::Ride);
    world.reserve(&offer).unwrap();
    assert_eq!(world.set(DutyWish::Break), Ok(vec!["offer_declined", "break_started"]));
    world.set(DutyWish::On).unwrap();
    assert_eq!(turn_down(&mut world, 6), ["offer_declined"]);
    assert_eq!(world.driver.driver_view(me(), 1).rates.in_a_row, 1);
}

#[test]
fn after_how_many_it_is_told_is_the_brands_choice_and_may_be_never() {
    for (unwanted_told, wanted) in [(1, 1), (2, 1), (0, 0)] {
        let mut world = World::new(DriverPolicy { unwanted_told, ..DriverPolicy::default() });
        world.go_on().unwrap();
        world.at(KIGALI).unwrap();
        for n in 0..8 {
            turn_down(&mut world, n);
        }
        let told = |event: &&Event| matches!(event, Event::UnwantedTold { .. });
        assert_eq!(world.journal.iter().filter(told).count(), wanted, "after {unwanted_told}");
    }
}

#[test]
fn nobody_is_told_where_not_every_node_could_read_it() {
    let mut world = World::on_duty();
    for n in 1..=4 {
        turn_down(&mut world, n);
    }
    let offer = world.offer(0, ride(5), WorkKind::Ride);
    world.reserve(&offer).unwrap();
    let context = Context { id: me(), by: own(), now: world.now, writes: Format(7) };
    let decline = Command::DeclineOffer { offer: offer.id };
    let events = world.driver.decide(&decline, &context).unwrap();
    assert_eq!(events.iter().map(Driver::event_name).collect::<Vec<_>>(), ["offer_declined"]);
}

#[test]
fn whoever_comes_back_from_a_break_begins_a_shift_as_it_is_now_said_whose_skills_count() {
    let mut world = saying(&["gender.female"], Some(true));
    assert_eq!(listed(&world), ["gender.female"], "that was enough then");
    world.policy.self_declared = Some(false);
    let policy = world.policy;
    let mut set = |duty, vehicle| {
        world.ask(own(), Command::SetDuty { duty, vehicle, policy }).unwrap();
    };
    set(DutyWish::Break, None);
    set(DutyWish::On, Some(with(&["gender.female", "certificate.hazmat"])));
    world.at(KIGALI).unwrap();
    assert_eq!(listed(&world), [""; 0]);
    // Nor does another vehicle help.
    let mut world = saying(&[], Some(true));
    let vehicle = Some(with(&["gender.female"]));
    world.ask(own(), Command::SetDuty { duty: DutyWish::On, vehicle, policy }).unwrap();
    world.at(KIGALI).unwrap();
    assert_eq!(listed(&world), [""; 0]);
}

#[test]
fn however_a_skill_is_written_it_must_be_granted_and_a_grant_is_one_that_can_be_read() {
    for odd in ["Gender.female", " gender.female", "CERTIFICATE.hazmat", "cold-chain", "permit"] {
        assert!(fit::must_be_granted(odd), "{odd}");
    }
    for other in ["winch", "genderless", "cold", "permits"] {
        assert!(!fit::must_be_granted(other), "{other}");
    }
    for wrong in ["gender.female\u{200b}", "gender. female", "", "winch"] {
        assert!(grants::check(wrong).is_err(), "{wrong:?}");
    }
    assert!(grants::check("gender.female").is_ok());
}
