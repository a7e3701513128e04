use super::*;
use crate::reason::REASON_CHARS_MAX;
use proptest::prelude::*;
use protocol::{DriverId, MerchantId, RiderId};
use std::collections::BTreeSet;
use strum::VariantNames;

const NOW: Timestamp = Timestamp(1_000_000);
const HOUR: Duration = Duration::from_secs(3600);

fn phone() -> Target {
    Target::Token(TokenId::nth(1))
}

fn rider() -> Principal {
    Principal::Rider(RiderId::nth(1))
}

fn at(target: Target, by: Principal, now: Timestamp) -> Context<RevocationId> {
    Context { id: target.id(), by, now, writes: Format::WRITES }
}

fn revoke(target: Target, until: Timestamp) -> Command {
    Command::Revoke {
        target,
        whose: None,
        issued_until: until,
        lapses_at: until + HOUR,
        reason: "stolen".to_owned(),
    }
}

fn after(commands: &[(Command, Principal, Timestamp)], target: Target) -> Revocation {
    let mut revocation = Revocation::default();
    for (command, by, now) in commands {
        let events = revocation.decide(command, &at(target, *by, *now)).unwrap();
        events.iter().for_each(|event| revocation.evolve(event));
    }
    revocation
}

#[test]
fn it_holds_until_what_it_is_about_has_expired() {
    let target = Target::Principal(rider());
    let mut revocation = after(&[(revoke(target, NOW), Principal::Admin, NOW)], target);
    let in_force = InForce { target, issued_until: NOW, lapses_at: NOW + HOUR };
    assert_eq!(revocation.in_force(), Some(in_force));
    assert_eq!(revocation.deadline(), Some((NOW + HOUR, Command::Lapse)));
    let row = revocation.view(target.id()).unwrap();
    assert_eq!((row.status.as_str(), row.rider), (IN_FORCE, Some(RiderId::nth(1))));
    assert_eq!(InForce::of_row(&row), Some(in_force));

    let early = revocation.decide(&Command::Lapse, &at(target, Principal::System, NOW));
    assert!(matches!(early, Err(Refusal::TooEarly { .. })), "{early:?}");
    let late = at(target, Principal::System, NOW + HOUR);
    for event in revocation.decide(&Command::Lapse, &late).unwrap() {
        revocation.evolve(&event);
    }
    assert_eq!((revocation.in_force(), revocation.deadline()), (None, None));
    assert_eq!(revocation.view(target.id()).unwrap().status, "lapsed");
    assert_eq!(revocation.decide(&Command::Lapse, &late), Ok(vec![]));
    let by_hand = revocation.decide(&Command::Lapse, &at(target, Principal::Admin, NOW + HOUR));
    assert!(matches!(by_hand, Err(Refusal::NotYours(_))), "{by_hand:?}");
}

#[test]
fn said_again_it_holds_for_more_and_never_for_less() {
    let target = Target::Principal(rider());
    let admin = Principal::Admin;
    let later = NOW + HOUR / 2;
    let said = [(revoke(target, later), admin, later)];
    let same = after(&said, target).decide(&revoke(target, later), &at(target, admin, later));
    assert_eq!(same, Ok(vec![]), "it is already so");
    let older = after(&said, target).decide(&revoke(target, NOW), &at(target, admin, later));
    assert_eq!(older, Ok(vec![]), "it says less");
    let moved = after(&[(revoke(target, NOW), admin, NOW), said[0].clone()], target);
    let in_force = InForce { target, issued_until: later, lapses_at: later + HOUR };
    assert_eq!(moved.in_force(), Some(in_force));
    // What ended is said anew.
    let ended = [
        (revoke(target, NOW), admin, NOW),
        (Command::Lapse, Principal::System, NOW + HOUR),
        (revoke(target, NOW + HOUR), admin, NOW + HOUR),
    ];
    assert!(after(&ended, target).in_force().is_some());
}

/// Who may say it of whom.
#[test]
fn one_says_it_of_ones_own_and_admins_of_everybodys() {
    let driver = Principal::Driver(DriverId::nth(1));
    let merchant = Principal::Merchant(MerchantId::nth(1));
    let all = [rider(), driver, merchant, Principal::Dispatcher, Principal::Admin];
    for by in all.into_iter().chain([Principal::System]) {
        for whose in all {
            let may = |target: Target, whose| {
                let Command::Revoke { target, issued_until, lapses_at, reason, .. } =
                    revoke(target, NOW)
                else {
                    unreachable!("made above")
                };
                let command = Command::Revoke { target, whose, issued_until, lapses_at, reason };
                Revocation::default().decide(&command, &at(target, by, NOW)).is_ok()
            };
            let is_admin = by == Principal::Admin;
            assert_eq!(may(phone(), Some(whose)), is_admin || by == whose, "{by} {whose}");
            assert_eq!(may(phone(), None), is_admin, "{by}, of a token nobody has shown");
            // All dispatchers share a name; none of them logs the others out.
            let may_all = is_admin || (by == whose && !by.is_staff());
            assert_eq!(may(Target::Principal(whose), None), may_all, "{by} all of {whose}");
        }
    }
}

#[test]
fn rubbish_is_refused() {
    let admin = at(phone(), Principal::Admin, NOW);
    let decide = |until: Timestamp, reason: &str| {
        let command = Command::Revoke {
            target: phone(),
            whose: None,
            issued_until: NOW,
            lapses_at: until,
            reason: reason.to_owned(),
        };
        Revocation::default().decide(&command, &admin)
    };
    assert!(decide(NOW + HOUR, "ü".repeat(REASON_CHARS_MAX).as_str()).is_ok());
    for reason in ["", "  ", "two\nlines", &"x".repeat(REASON_CHARS_MAX + 1)] {
        let refused = decide(NOW + HOUR, reason);
        assert!(matches!(&refused, Err(Refusal::Invalid { field, .. }) if field == "reason"));
    }
    assert!(matches!(decide(NOW, "stolen"), Err(Refusal::TooLate(_))));
    let forever = decide(NOW + LASTS_MAX + HOUR, "stolen");
    assert!(matches!(&forever, Err(Refusal::Invalid { field, .. }) if field == "lapses_at"));
    let elsewhere = revoke(Target::Token(TokenId::nth(2)), NOW);
    let refused = Revocation::default().decide(&elsewhere, &admin);
    assert!(matches!(&refused, Err(Refusal::Invalid { field, .. }) if field == "target"));
}

#[test]
fn what_nobody_has_said_is_in_no_list() {
    assert_eq!(Revocation::default().view(phone().id()), None);
}

#[test]
fn everybody_has_an_id_of_their_own_and_no_older_build_reads_it() {
    let of = |who| Target::Principal(who).id();
    let ids = BTreeSet::from([
        of(rider()),
        of(Principal::Driver(DriverId::nth(1))),
        of(Principal::Dispatcher),
        of(Principal::Admin),
        phone().id(),
    ]);
    assert_eq!(ids.len(), 5);
    assert_eq!(Revocation::event_format(&Event::Lapsed { at: NOW }), Format(2));
    assert_eq!(Revocation::command_format(&Command::Lapse), Format(2));
}

/// Every kind of event there is, as the first version wrote them. Never edit; add.
const GOLDEN: &str = include_str!("../../tests/journals/revocation-v1.jsonl");

#[test]
fn a_journal_of_its_first_version_still_replays() {
    let mut revocation = Revocation::default();
    let mut names = BTreeSet::new();
    for line in GOLDEN.lines() {
        let event: Event = serde_json::from_str(line).unwrap();
        names.insert(Revocation::event_name(&event));
        revocation.evolve(&event);
    }
    assert_eq!(names, Event::VARIANTS.iter().copied().collect());
    let driver: DriverId = "driver-0192f3c8aaaa7000800000000000aaaa".parse().unwrap();
    let target = Target::Principal(Principal::Driver(driver));
    let in_force = InForce { target, issued_until: Timestamp(5_000), lapses_at: Timestamp(9_000) };
    assert_eq!(revocation.in_force(), Some(in_force));
}

fn any_command() -> impl Strategy<Value = (Command, Principal, u64)> {
    let when = 0..8_u64;
    let revoke = when.clone().prop_map(|n| {
        (revoke(Target::Principal(rider()), NOW + HOUR * n as u32), Principal::Admin, n)
    });
    prop_oneof![revoke, when.prop_map(|n| (Command::Lapse, Principal::System, n))]
}

proptest! {
    /// The decider laws: the journal replays to the live state, a repeat has no second effect, and nothing that
    /// was revoked is good again before it has lapsed.
    #[test]
    fn no_sequence_of_commands_breaks_a_revocation(
        commands in prop::collection::vec(any_command(), 0..40),
    ) {
        let target = Target::Principal(rider());
        let mut live = Revocation::default();
        let mut replayed = Revocation::default();
        for (command, by, n) in commands {
            let context = at(target, by, NOW + HOUR * n as u32);
            let before = live.in_force();
            let Ok(events) = live.decide(&command, &context) else { continue };
            for event in events {
                live.evolve(&event);
                let bytes = rmp_serde::to_vec_named(&event).unwrap();
                replayed.evolve(&rmp_serde::from_slice(&bytes).unwrap());
            }
            prop_assert_eq!(live.decide(&command, &context), Ok(vec![]));
            match (before, live.in_force()) {
                (Some(was), Some(is)) => {
                    prop_assert!(is.issued_until >= was.issued_until && is.lapses_at >= was.lapses_at);
                }
                (Some(was), None) => prop_assert!(was.lapses_at <= context.now),
                (None, _) => {}
            }
            let (deadline, view) = (live.deadline(), live.view(target.id()));
            prop_assert_eq!(deadline.is_some(), live.in_force().is_some());
            prop_assert_eq!(view.is_some(), live.said.is_some());
        }
        prop_assert_eq!(replayed, live);
    }
}
