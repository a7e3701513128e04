use super::*;
use crate::Tell;
use proptest::prelude::*;
use protocol::{Code, DriverId, OrderId, Point, RiderId};
use std::collections::BTreeSet;
use strum::VariantNames;

const NOW: Timestamp = Timestamp(1_000_000_000);
const SECOND: u64 = 1_000;

fn rider() -> Principal {
    Principal::Rider(RiderId::nth(1))
}

fn driver() -> Principal {
    Principal::Driver(DriverId::nth(1))
}

fn job() -> JobId {
    JobId::Order(OrderId::nth(1))
}

fn position(sampled_at: Timestamp) -> Position {
    let at = Point { lat: -1.9441, lon: 30.0619 };
    Position { at, sampled_at, heading_deg: None, speed_mps: None, accuracy_m: None }
}

fn sos() -> Opening {
    Opening {
        parties: Some(vec![rider(), driver()]),
        command: Some(CommandId::nth(1)),
        ..Opening::of_job(IncidentKind::Sos, rider(), job())
    }
}

fn open(opening: &Opening) -> Command {
    Command::Open(Box::new(opening.clone()))
}

fn resolve(resolution: Resolution) -> Command {
    Command::Resolve { resolution, note: "spoke to her".to_owned() }
}

fn escalate() -> Command {
    Command::Escalate { reason: "shots heard".to_owned() }
}

fn responder(name: &str) -> Command {
    Command::AddResponder { name: name.to_owned() }
}

fn check(item: CheckItem, answer: bool) -> Command {
    Command::Check { item, answer }
}

/// One incident, its journal, and a clock that only moves when told to.
#[derive(Debug, Clone)]
struct Play {
    id: IncidentId,
    incident: Incident,
    journal: Vec<Event>,
    now: Timestamp,
}

impl Play {
    fn raised(opening: &Opening) -> Self {
        let mut play =
            Self { id: opening.id(), incident: Incident::default(), journal: vec![], now: NOW };
        assert_eq!(play.ask(opening.raised_by, open(opening)), Ok(vec!["opened"]));
        play
    }

    /// One in that status, each step by a dispatcher.
    fn at(status: IncidentStatus) -> Self {
        use IncidentStatus as S;
        let mut play = match status {
            S::Open => Self::raised(&sos()),
            S::Acked => Self::at(S::Open),
            S::Responding => Self::at(S::Acked),
            S::Resolved | S::False => Self::at(S::Responding),
            S::Closed => Self::at(S::Resolved),
        };
        match status {
            S::Open => {}
            S::Acked => play.yes(Command::Ack {}),
            S::Responding => play.yes(responder("police")),
            S::Resolved => play.yes(resolve(Resolution::Helped)),
            S::False => play.yes(resolve(Resolution::False)),
            S::Closed => {
                play.pass(24 * 3600 * SECOND);
                assert_eq!(play.tick(), ["closed"]);
            }
        }
        assert_eq!(play.incident.status(), Some(status));
        play
    }

    fn ask(&mut self, by: Principal, command: Command) -> Result<Vec<&'static str>, Refusal> {
        let context = Context { id: self.id, by, now: self.now, writes: Format::WRITES };
        let events = self.incident.decide(&command, &context)?;
        events.iter().for_each(|event| self.incident.evolve(event));
        let names = events.iter().map(Incident::event_name).collect();
        self.journal.extend(events);
        Ok(names)
    }

    #[track_caller]
    fn yes(&mut self, command: Command) {
        let answer = self.ask(Principal::Dispatcher, command);
        assert!(answer.as_ref().is_ok_and(|events| !events.is_empty()), "{answer:?}");
    }

    fn tick(&mut self) -> Vec<&'static str> {
        self.ask(Principal::System, Command::Tick {}).unwrap()
    }

    fn pass(&mut self, ms: u64) {
        self.now = Timestamp(self.now.0 + ms);
    }

    /// In how many milliseconds it acts by itself.
    fn due_in(&self) -> Option<u64> {
        self.incident.deadline().map(|(due, _)| due.0 - self.now.0)
    }

    fn shown(&self, to: Principal) -> Option<IncidentView> {
        self.incident.incident_view(self.id, to)
    }

    fn is_calling(&self) -> bool {
        self.shown(Principal::Dispatcher).unwrap().calling
    }
}

/// One of each command that staff give.
fn staffs() -> Vec<Command> {
    vec![
        Command::Ack {},
        responder("ambulance"),
        escalate(),
        check(CheckItem::CallerSafe, true),
        resolve(Resolution::Helped),
    ]
}

/// MODEL section 5.7, by hand: what each status allows.
const TABLE: [(IncidentStatus, &str); 6] = [
    (IncidentStatus::Open, "ack escalate"),
    (IncidentStatus::Acked, "ack add_responder escalate check resolve"),
    (IncidentStatus::Responding, "ack add_responder escalate check resolve"),
    (IncidentStatus::Resolved, "check"),
    (IncidentStatus::False, "check"),
    (IncidentStatus::Closed, ""),
];

#[test]
fn the_table_is_as_the_model_has_it() {
    for (status, names) in TABLE {
        for command in staffs() {
            let mut play = Play::at(status);
            let name = Incident::command_name(&command);
            let answer = play.ask(Principal::Dispatcher, command.clone());
            let is_allowed = names.split(' ').any(|it| it == name);
            // Whoever resolves it again as it was has nothing more to say.
            let is_so = status == IncidentStatus::Resolved && name == "resolve";
            assert_eq!(answer.is_ok(), is_allowed || is_so, "{name} while {status}: {answer:?}");
            if let Err(refusal) = answer {
                assert_eq!(refusal.code(), Code::IllegalTransition, "{name} while {status}");
                let Refusal::IllegalTransition { state, allowed } = refusal else { unreachable!() };
                assert_eq!((state, allowed.join(" ")), (status.to_string(), names.to_owned()));
            }
        }
    }
}

#[test]
fn who_calls_is_heard_and_staff_see_to_it() {
    let mut play = Play::raised(&sos());
    assert!(play.is_calling());
    assert_eq!(play.incident.status(), Some(IncidentStatus::Open));
    play.yes(Command::Ack {});
    assert!(!play.is_calling());
    assert_eq!(play.due_in(), None, "somebody sees to it");
    play.yes(responder("police, car 12"));
    play.yes(responder("ambulance"));
    assert_eq!(play.ask(Principal::Admin, responder("ambulance")), Ok(vec![]));
    play.yes(resolve(Resolution::Helped));
    assert_eq!(play.due_in(), Some(24 * 3600 * SECOND));
    play.pass(24 * 3600 * SECOND);
    assert_eq!(play.tick(), ["closed"]);
    assert_eq!((play.due_in(), play.tick()), (None, vec![]));
    let names: Vec<_> = play.journal.iter().map(Incident::event_name).collect();
    let story =
        ["opened", "acked", "responder_added", "responder_added", "resolved", "closed"].to_vec();
    assert_eq!(names, story);
    let view = play.shown(Principal::Admin).unwrap();
    assert_eq!((view.version, view.responders.len()), (6, 2));
}

#[test]
fn what_nobody_heeds_is_escalated_after_half_a_minute_and_after_a_minute() {
    let mut play = Play::raised(&sos());
    assert_eq!(play.due_in(), Some(30 * SECOND));
    play.pass(29 * SECOND);
    assert_eq!(play.tick(), [""; 0], "too early");
    play.pass(SECOND);
    assert_eq!(play.tick(), ["escalated"]);
    assert_eq!(play.due_in(), Some(30 * SECOND));
    play.pass(30 * SECOND);
    assert_eq!(play.tick(), ["escalated"]);
    assert_eq!((play.due_in(), play.is_calling()), (None, true), "it calls on");
    assert_eq!(play.shown(Principal::Admin).unwrap().escalations, 2);
    // One that was asleep meanwhile is not asked twice.
    let mut late = Play::raised(&sos());
    late.pass(300 * SECOND);
    assert_eq!(late.tick(), ["escalated", "escalated"]);
    assert_eq!(late.tick(), [""; 0]);
}

#[test]
fn whoever_needs_more_calls_everybody_again() {
    let mut play = Play::at(IncidentStatus::Responding);
    play.yes(escalate());
    assert_eq!(play.ask(Principal::Admin, escalate()), Ok(vec![]), "at the same time");
    assert!(play.is_calling());
    assert_eq!(play.incident.status(), Some(IncidentStatus::Responding));
    assert_eq!(play.due_in(), Some(30 * SECOND));
    play.pass(30 * SECOND);
    assert_eq!(play.tick(), ["escalated"]);
    play.yes(Command::Ack {});
    assert_eq!((play.is_calling(), play.due_in()), (false, None));
    assert_eq!(play.ask(Principal::Dispatcher, Command::Ack {}), Ok(vec![]));
    let view = play.shown(Principal::Dispatcher).unwrap();
    assert_eq!((view.escalations, view.note.as_deref()), (2, Some("shots heard")));
}

#[test]
fn calling_again_is_already_so_until_it_is_over_and_then_another_call() {
    let again = Opening { command: Some(CommandId::nth(2)), ..sos() };
    for status in [IncidentStatus::Open, IncidentStatus::Acked, IncidentStatus::Responding] {
        let mut play = Play::at(status);
        assert_eq!(play.ask(rider(), open(&again)), Ok(vec![]), "{status}");
    }
    for status in [IncidentStatus::Resolved, IncidentStatus::False, IncidentStatus::Closed] {
        let mut play = Play::at(status);
        assert_eq!(play.ask(rider(), open(&sos())), Ok(vec![]), "the call it was raised by");
        let refusal = play.ask(rider(), open(&again)).unwrap_err();
        assert_eq!(refusal.code(), Code::IllegalTransition, "{status}");
    }
    assert_ne!(sos().id(), Opening { nth: 1, ..sos() }.id());
}

#[test]
fn a_call_from_elsewhere_says_where_but_not_all_the_time() {
    let mut play = Play::raised(&sos());
    let from = |sampled_at| {
        let (position, command) = (Some(position(sampled_at)), Some(CommandId::nth(2)));
        open(&Opening { position, command, ..sos() })
    };
    assert_eq!(play.ask(rider(), from(NOW)), Ok(vec!["located"]), "nothing was known");
    play.pass(9 * SECOND);
    assert_eq!(play.ask(rider(), from(play.now)), Ok(vec![]));
    play.pass(SECOND);
    assert_eq!(play.ask(rider(), from(NOW)), Ok(vec![]), "that is known");
    assert_eq!(play.ask(rider(), from(play.now)), Ok(vec!["located"]));
    assert_eq!(play.shown(rider()).unwrap().position, Some(position(play.now)));
}

#[test]
fn only_whoever_has_part_in_a_job_calls_for_help_in_it() {
    let raise = |by: Principal, opening: &Opening| {
        let context = Context { id: opening.id(), by, now: NOW, writes: Format::WRITES };
        Incident::default().decide(&open(opening), &context).map(|events| events.len())
    };
    let stranger = Principal::Driver(DriverId::nth(2));
    let by = |raised_by| Opening { raised_by, ..sos() };
    for who in [rider(), driver(), Principal::Dispatcher, Principal::Admin] {
        assert_eq!(raise(who, &by(who)), Ok(1), "{who}");
        assert_eq!(raise(Principal::System, &by(who)), Ok(1), "for {who}");
    }
    let code = |answer: Result<usize, Refusal>| answer.map_err(|refusal| refusal.code());
    assert_eq!(code(raise(stranger, &by(stranger))), Err(Code::Forbidden));
    assert_eq!(code(raise(driver(), &by(rider()))), Err(Code::Forbidden), "in another's name");
    // Without a job, or with one that cannot be asked, nobody is turned away.
    assert_eq!(raise(stranger, &Opening { job: None, parties: None, ..by(stranger) }), Ok(1));
    assert_eq!(raise(stranger, &Opening { parties: None, ..by(stranger) }), Ok(1));
    // And it has one id and no other.
    let context = Context { id: IncidentId::nth(9), by: rider(), now: NOW, writes: Format::WRITES };
    let refusal = Incident::default().decide(&open(&sos()), &context).unwrap_err();
    assert_eq!(refusal.code(), Code::Invalid);
}

#[test]
fn only_staff_see_to_it_and_only_time_does_what_time_does() {
    for status in TABLE.map(|(status, _)| status) {
        for command in staffs() {
            for by in [rider(), driver()] {
                let refusal = Play::at(status).ask(by, command.clone()).unwrap_err();
                assert_eq!(refusal.code(), Code::Forbidden, "{by} {command:?} while {status}");
            }
        }
        for by in [rider(), Principal::Dispatcher, Principal::Admin] {
            let refusal = Play::at(status).ask(by, Command::Tick {}).unwrap_err();
            assert_eq!(refusal.code(), Code::Forbidden);
        }
    }
    let context =
        Context { id: sos().id(), by: Principal::Admin, now: NOW, writes: Format::WRITES };
    let refusal = Incident::default().decide(&Command::Ack {}, &context).unwrap_err();
    assert_eq!(refusal.code(), Code::NotFound, "what was never raised");
}

#[test]
fn the_other_side_of_the_job_sees_nothing_of_it_and_its_caller_not_all() {
    let mut play = Play::at(IncidentStatus::Responding);
    play.yes(check(CheckItem::AnybodyHurt, false));
    play.yes(escalate());
    assert_eq!(play.shown(driver()), None);
    let staffs = play.shown(Principal::Dispatcher).unwrap();
    assert_eq!((staffs.others.as_slice(), staffs.checklist.len()), ([driver()].as_slice(), 1));
    let callers = play.shown(rider()).unwrap();
    let hidden = IncidentView { others: vec![], checklist: vec![], note: None, ..staffs };
    assert_eq!(callers, hidden);
    let row = play.incident.view(play.id).unwrap();
    assert_eq!((row.rider, row.driver), (Some(RiderId::nth(1)), None), "in nobody else's list");
    assert_eq!(row.status, "responding");
}

#[test]
fn an_accident_is_not_closed_before_all_is_answered() {
    let accident = Opening::of_job(IncidentKind::Accident, rider(), job());
    let mut play = Play::raised(&accident);
    play.yes(Command::Ack {});
    play.yes(resolve(Resolution::Helped));
    assert_eq!(play.due_in(), None);
    play.pass(48 * 3600 * SECOND);
    assert_eq!(play.tick(), [""; 0]);
    for item in CheckItem::iter() {
        play.yes(check(item, true));
        assert_eq!(play.ask(Principal::Admin, check(item, true)), Ok(vec![]));
    }
    let (due, _) = play.incident.deadline().expect("all is answered");
    assert!(due < play.now);
    assert_eq!(play.tick(), ["closed"]);
    // One that was none needs no answers.
    let mut none = Play::raised(&accident);
    none.yes(Command::Ack {});
    none.yes(resolve(Resolution::False));
    assert_eq!(none.due_in(), Some(24 * 3600 * SECOND));
}

#[test]
fn what_a_job_says_of_itself_is_said_once() {
    let opening = Opening::of_job(IncidentKind::CancelledSafety, rider(), job());
    let mut play = Play::raised(&opening);
    for _ in 0..2 {
        assert_eq!(play.ask(Principal::System, open(&opening)), Ok(vec![]));
    }
    play.yes(Command::Ack {});
    play.yes(resolve(Resolution::Helped));
    assert_eq!(play.ask(Principal::System, open(&opening)), Ok(vec![]), "also when it is over");
    assert_ne!(opening.id(), sos().id(), "a call of the same party is another incident");
}

#[test]
fn rubbish_is_refused() {
    let mut play = Play::at(IncidentStatus::Acked);
    for name in ["", "  ", "two\nlines", &"x".repeat(NAME_CHARS_MAX + 1)] {
        let refused = play.ask(Principal::Admin, responder(name));
        assert!(matches!(&refused, Err(Refusal::Invalid { field, .. }) if field == "name"));
    }
    for n in 0..RESPONDERS_MAX {
        play.yes(responder(&format!("car {n}")));
    }
    let refused = play.ask(Principal::Admin, responder("one more"));
    assert!(matches!(&refused, Err(Refusal::Invalid { field, .. }) if field == "name"));
}

#[test]
fn no_older_build_reads_it() {
    assert_eq!(Incident::event_format(&Event::Closed { at: NOW }), Format(3));
    assert_eq!(Tell::incident(sos()).format(), Format(3));
    assert_eq!(Incident::default().view(sos().id()), None, "what was never raised is in no list");
}

/// Every kind of event there is, as the first version wrote them. Never edit; add.
const GOLDEN: &str = include_str!("../../tests/journals/incident-v1.jsonl");

#[test]
fn a_journal_of_its_first_version_still_replays() {
    let mut incident = Incident::default();
    let mut names = BTreeSet::new();
    for line in GOLDEN.lines() {
        let event: Event = serde_json::from_str(line).unwrap();
        names.insert(Incident::event_name(&event));
        incident.evolve(&event);
    }
    assert_eq!(names, Event::VARIANTS.iter().copied().collect());
    let view = incident.incident_view(IncidentId::nth(1), Principal::Admin).unwrap();
    assert_eq!((view.status, view.escalations), (IncidentStatus::Closed, 1));
    assert_eq!((view.version, view.others.len(), view.checklist.len()), (8, 1, 1));
}

fn any_step() -> impl Strategy<Value = (u64, Principal, Command)> {
    let who = prop_oneof![
        4 => Just(Principal::Dispatcher),
        2 => Just(Principal::System),
        2 => Just(rider()),
        1 => Just(driver()),
    ];
    let calls = (1..4_u64, 0..3_u64).prop_map(|(n, place)| {
        let position = (place > 0).then(|| position(Timestamp(NOW.0 + place * 20 * SECOND)));
        open(&Opening { command: Some(CommandId::nth(n)), position, ..sos() })
    });
    let items: Vec<_> = CheckItem::iter().collect();
    let command = prop_oneof![
        4 => Just(Command::Tick {}),
        2 => calls,
        3 => Just(Command::Ack {}),
        2 => Just(escalate()),
        2 => prop::sample::select(vec!["police", "ambulance"]).prop_map(responder),
        3 => (prop::sample::select(items), any::<bool>()).prop_map(|(item, it)| check(item, it)),
        1 => any::<bool>().prop_map(|it| {
            resolve(if it { Resolution::Helped } else { Resolution::False })
        }),
    ];
    let wait = prop_oneof![4 => 0..40 * SECOND, 1 => 0..30 * 3600 * SECOND];
    (wait, who, command)
}

proptest! {
    /// The decider laws: the journal replays to the live state, a repeat has no second effect, nothing that is due
    /// stays due, it goes only forward, and it calls exactly as long as nobody has taken it on.
    #[test]
    fn no_sequence_of_commands_breaks_an_incident(
        is_accident in any::<bool>(),
        steps in prop::collection::vec(any_step(), 0..60),
    ) {
        let kind = if is_accident { IncidentKind::Accident } else { IncidentKind::Sos };
        let mut play = Play::raised(&Opening { kind, ..sos() });
        for (wait, by, command) in steps {
            play.pass(wait);
            let command = if let Command::Open(it) = command {
                open(&Opening { kind, ..*it })
            } else {
                command
            };
            let before = play.incident.status();
            let Ok(events) = play.ask(by, command.clone()) else { continue };
            let again = play.ask(by, command.clone()).unwrap_or_default();
            prop_assert!(again.is_empty(), "{:?} again: {:?}", command, again);
            if command == (Command::Tick {}) {
                let due = play.incident.deadline().map(|(due, _)| due);
                prop_assert!(due.is_none_or(|due| due > play.now), "{:?} stands still", due);
            }
            prop_assert!(before <= play.incident.status());
            let view = play.shown(Principal::Admin).unwrap();
            prop_assert_eq!(view.version, play.journal.len() as u64);
            prop_assert!(!view.calling || !view.status.is_over());
            prop_assert!(view.calling || view.acked_at.is_some() || view.status.is_over());
            if events.contains(&"escalated") {
                prop_assert!(view.calling);
            }
            if view.status == IncidentStatus::Closed && is_accident {
                let is_helped = play.journal.iter().any(|it| matches!(
                    it, Event::Resolved { resolution: Resolution::Helped, .. }
                ));
                prop_assert!(!is_helped || view.checklist.len() == CheckItem::iter().count());
            }
        }
        let mut replayed = Incident::default();
        for event in &play.journal {
            let bytes = rmp_serde::to_vec_named(event).unwrap();
            replayed.evolve(&rmp_serde::from_slice(&bytes).unwrap());
        }
        prop_assert_eq!(&replayed, &play.incident, "replaying the journal gives the live state");
        let bytes = rmp_serde::to_vec_named(&play.incident).unwrap();
        let restored: Incident = rmp_serde::from_slice(&bytes).unwrap();
        prop_assert_eq!(&restored, &play.incident, "and so does a snapshot");
    }
}
