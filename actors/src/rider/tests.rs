use super::*;
use crate::Format;
use proptest::prelude::*;
use protocol::{OrderId, RescueId};
use std::collections::BTreeSet;
use strum::VariantNames;

const RIDER: u64 = 1;

fn context(by: Principal) -> Context<RiderId> {
    Context { id: RiderId::nth(RIDER), by, now: Timestamp(1_000), writes: Format::WRITES }
}

fn decide(rider: &Rider, command: &Command) -> Vec<Event> {
    rider.decide(command, &context(Principal::System)).expect("the platform may ask anything")
}

#[test]
fn a_rider_follows_its_jobs_until_they_are_over() {
    let mut rider = Rider::default();
    let mut story = String::new();
    let ride = JobId::Order(OrderId::nth(1));
    let rescue = JobId::Rescue(RescueId::nth(2));
    for command in [
        Command::OpenJob { job: ride, work: WorkKind::Ride },
        Command::OpenJob { job: ride, work: WorkKind::Ride },
        Command::OpenJob { job: rescue, work: WorkKind::Rescue },
        Command::CloseJob { job: ride },
        Command::CloseJob { job: ride },
    ] {
        let events = decide(&rider, &command);
        events.iter().for_each(|event| rider.evolve(event));
        let names: Vec<_> = events.iter().map(Rider::event_name).collect();
        let asked: &'static str = (&command).into();
        story += &format!("{asked} -> {names:?}, {} running\n", rider.jobs().count());
    }
    insta::assert_snapshot!(story, @r#"
    open_job -> ["job_opened"], 1 running
    open_job -> [], 1 running
    open_job -> ["job_opened"], 2 running
    close_job -> ["job_closed"], 1 running
    close_job -> [], 1 running
    "#);
}

#[test]
fn nobody_but_the_platform_lists_a_riders_jobs() {
    let command = Command::CloseJob { job: JobId::Order(OrderId::nth(1)) };
    for by in [Principal::Rider(RiderId::nth(RIDER)), Principal::Admin] {
        let refused = Rider::default().decide(&command, &context(by));
        assert!(matches!(refused, Err(Refusal::NotYours(_))));
    }
}

#[test]
fn staff_keep_a_rider_and_a_driver_apart_and_its_jobs_hear_of_it() {
    let mut rider = Rider::default();
    let (first, second) = (JobId::Order(OrderId::nth(1)), JobId::Rescue(RescueId::nth(2)));
    let driver = DriverId::nth(7);
    let mut ask = |by, command: &Command| {
        let events = rider.decide(command, &context(by))?;
        let mut told = Vec::new();
        for event in &events {
            told.extend(rider.effects(RiderId::nth(RIDER), event).into_iter().map(|it| it.tell));
            rider.evolve(event);
        }
        Ok::<_, Refusal>(told)
    };
    let bar = |job, drivers: &[DriverId]| {
        Tell::job(job, search::Command::Bar { drivers: drivers.to_vec() })
    };
    let open = |job| Command::OpenJob { job, work: WorkKind::Ride };
    assert_eq!(ask(Principal::System, &open(first)), Ok(vec![]));
    let block = Command::Block { driver, reason: "a quarrel".to_owned() };
    for by in [Principal::Rider(RiderId::nth(RIDER)), Principal::Driver(driver)] {
        assert!(matches!(ask(by, &block), Err(Refusal::NotYours(_))));
    }
    assert_eq!(ask(Principal::Dispatcher, &block), Ok(vec![bar(first, &[driver])]));
    assert_eq!(ask(Principal::Dispatcher, &block), Ok(vec![]), "already so");
    assert_eq!(ask(Principal::System, &open(second)), Ok(vec![bar(second, &[driver])]));
    let unblock = Command::Unblock { driver, reason: String::new() };
    let both = vec![bar(first, &[]), bar(second, &[])];
    assert_eq!(ask(Principal::Admin, &unblock), Ok(both));
    assert_eq!(ask(Principal::Admin, &unblock), Ok(vec![]), "already so");
}

#[test]
fn staff_write_to_a_rider_who_is_known_and_nobody_else_does() {
    let mut rider = Rider::default();
    let message = |text: &str| Command::Message { job: None, text: text.to_owned() };
    let staff = context(Principal::Dispatcher);
    assert_eq!(rider.decide(&message("hello"), &staff), Err(Refusal::Unknown("rider".to_owned())));
    let job = JobId::Order(OrderId::nth(1));
    for event in decide(&rider, &Command::OpenJob { job, work: WorkKind::Ride }) {
        rider.evolve(&event);
    }
    let told = rider.decide(&message("hello"), &staff).unwrap();
    assert!(
        matches!(&told[..], [Event::Messaged { by: Principal::Dispatcher, text, .. }] if text == "hello")
    );
    assert!(matches!(rider.decide(&message("two\nlines"), &staff), Err(Refusal::Invalid { .. })));
    let own = context(Principal::Rider(RiderId::nth(RIDER)));
    assert!(matches!(rider.decide(&message("hello"), &own), Err(Refusal::NotYours(_))));
}

/// Every kind of event there is, as the first version wrote them. Never edit; add.
const GOLDEN: &str = include_str!("../../tests/journals/rider-v1.jsonl");

#[test]
fn a_journal_of_version_1_still_replays() {
    let mut rider = Rider::default();
    let mut names = BTreeSet::new();
    for line in GOLDEN.lines() {
        let event: Event = serde_json::from_str(line).unwrap();
        names.insert(Rider::event_name(&event));
        rider.evolve(&event);
    }
    assert_eq!(names, Event::VARIANTS.iter().copied().collect());
    let jobs: Vec<_> = rider.jobs().map(|job| job.to_string()).collect();
    assert_eq!(jobs, ["rescue-0000000000027a99803325489c83e604"]);
}

fn any_command() -> impl Strategy<Value = Command> {
    let job = (0..4_u64).prop_map(|n| JobId::Order(OrderId::nth(n)));
    prop_oneof![
        job.clone().prop_map(|job| Command::OpenJob { job, work: WorkKind::Delivery }),
        job.prop_map(|job| Command::CloseJob { job }),
    ]
}

proptest! {
    /// The decider laws: the journal replays to the live state, and a repeat has no second effect.
    #[test]
    fn no_sequence_of_commands_breaks_a_rider(
        commands in prop::collection::vec(any_command(), 0..40),
    ) {
        let mut live = Rider::default();
        let mut replayed = Rider::default();
        for command in commands {
            for event in decide(&live, &command) {
                live.evolve(&event);
                let bytes = rmp_serde::to_vec_named(&event).unwrap();
                replayed.evolve(&rmp_serde::from_slice(&bytes).unwrap());
            }
            prop_assert_eq!(decide(&live, &command), vec![]);
        }
        prop_assert_eq!(replayed, live);
    }
}
