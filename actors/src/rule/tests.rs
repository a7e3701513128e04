use super::*;
use crate::zone::zones_at;
use proptest::prelude::*;
use protocol::{DriverId, MerchantId, RiderId, ZoneId};
use strum::VariantNames;

const NOW: Timestamp = Timestamp(1_000_000);
const HOUR: Duration = Duration::from_secs(3_600);
const KIGALI: Point = Point { lat: -1.9441, lon: 30.0619 };
const PRESET: &str = "safeboda";

fn zone(resolution: u8) -> ZoneId {
    zones_at(KIGALI).nth(usize::from(resolution - crate::zone::RESOLUTIONS.start())).unwrap()
}

fn at(by: Principal, now: Timestamp) -> Context<RuleId> {
    Context { id: RuleId::nth(1), by, now, writes: Format::WRITES }
}

/// A rule that holds a pair for so long.
fn holding(hold_ms: u32) -> RuleTerms {
    RuleTerms {
        name: "rush hour".to_owned(),
        preset: PRESET.to_owned(),
        changes: RuleChanges { hold_ms: Some(hold_ms), ..RuleChanges::default() },
        ..RuleTerms::default()
    }
}

fn set(terms: RuleTerms, expects: u32) -> Command {
    let (terms, reason) = (Box::new(terms), "a trial".to_owned());
    Command::Set { terms, expects, reason, with: Some(TokenId::nth(1)) }
}

fn remove(expects: u32) -> Command {
    Command::Remove { expects, reason: "it did no good".to_owned(), with: None }
}

fn after(said: &[(Command, Principal, Timestamp)]) -> Rule {
    let mut state = Rule::default();
    for (command, by, now) in said {
        let events = state.decide(command, &at(*by, *now)).unwrap();
        events.iter().for_each(|event| state.evolve(event));
    }
    state
}

#[test]
fn it_is_set_changed_and_removed_by_whoever_knows_its_version() {
    let admin = Principal::Admin;
    let first = after(&[(set(holding(1), 0), admin, NOW)]);
    let standing = first.standing().unwrap();
    assert_eq!((standing.nth, standing.status.as_str()), (1, SET));
    assert_eq!((standing.said.made_at, standing.said.by), (NOW, admin));
    let row = first.view(RuleId::nth(1)).unwrap();
    assert_eq!((row.status.as_str(), Standing::of_row(&row)), (SET, Some(standing)));

    let later = at(admin, NOW + HOUR);
    assert_eq!(first.decide(&set(holding(1), 0), &later), Ok(vec![]), "it says so already");
    for expects in [0, 2] {
        let late = first.decide(&set(holding(2), expects), &later);
        assert!(matches!(late, Err(Refusal::TooLate(_))), "{late:?}");
        let late = first.decide(&remove(expects), &later);
        assert!(matches!(late, Err(Refusal::TooLate(_))), "{late:?}");
    }
    let second =
        after(&[(set(holding(1), 0), admin, NOW), (set(holding(2), 1), admin, NOW + HOUR)]);
    let standing = second.standing().unwrap();
    assert_eq!((standing.nth, standing.said.terms), (2, holding(2)));
    assert_eq!((standing.said.made_at, standing.changed_at), (NOW, NOW + HOUR));

    let gone = after(&[(set(holding(1), 0), admin, NOW), (remove(1), admin, NOW + HOUR)]);
    let standing = gone.standing().unwrap();
    assert_eq!(
        (standing.status.as_str(), standing.said.reason.as_str()),
        (REMOVED, "it did no good")
    );
    assert!(!standing.is_set(NOW + HOUR) && gone.deadline().is_none());
    assert_eq!(gone.decide(&remove(1), &later), Ok(vec![]), "it is gone already");
    for command in [set(holding(3), 0), set(holding(3), 2)] {
        let refused = gone.decide(&command, &later);
        assert!(matches!(refused, Err(Refusal::Unknown(_))), "{refused:?}");
    }
    let nobodys = Rule::default();
    assert_eq!(nobodys.view(RuleId::nth(1)), None);
    for command in [set(holding(1), 1), remove(0)] {
        let refused = nobodys.decide(&command, &later);
        assert!(matches!(refused, Err(Refusal::Unknown(_))), "{refused:?}");
    }
}

#[test]
fn it_lapses_at_its_end_by_itself_and_can_be_set_again() {
    let (admin, until) = (Principal::Admin, NOW + HOUR);
    let terms = RuleTerms { until: Some(until), ..holding(1) };
    let mut state = after(&[(set(terms.clone(), 0), admin, NOW)]);
    assert_eq!(state.deadline(), Some((until, Command::Lapse {})));
    assert_eq!(state.decide(&Command::Lapse {}, &at(Principal::System, NOW)), Ok(vec![]));
    let by_hand = state.decide(&Command::Lapse {}, &at(admin, until));
    assert!(matches!(by_hand, Err(Refusal::NotYours(_))), "{by_hand:?}");
    let due = state.decide(&Command::Lapse {}, &at(Principal::System, until)).unwrap();
    assert_eq!(due, [Event::Lapsed { at: until }]);
    due.iter().for_each(|event| state.evolve(event));
    assert_eq!((state.standing().unwrap().status.as_str(), state.deadline()), (OVER, None));
    let again = RuleTerms { until: Some(until + HOUR), ..terms };
    let events = state.decide(&set(again, 2), &at(admin, until)).unwrap();
    events.iter().for_each(|event| state.evolve(event));
    assert_eq!(state.standing().unwrap().status, SET);
}

#[test]
fn only_admins_say_anything_of_it() {
    let set_before = after(&[(set(holding(1), 0), Principal::Admin, NOW)]);
    for by in [
        Principal::Rider(RiderId::nth(1)),
        Principal::Driver(DriverId::nth(1)),
        Principal::Merchant(MerchantId::nth(1)),
        Principal::Dispatcher,
        Principal::System,
    ] {
        for command in [set(holding(2), 1), remove(1)] {
            let refused = set_before.decide(&command, &at(by, NOW));
            assert!(matches!(refused, Err(Refusal::NotYours(_))), "{by}: {refused:?}");
        }
    }
}

/// The field that is refused, if any is.
fn refused(change: impl FnOnce(&mut RuleTerms)) -> Option<String> {
    let mut terms = holding(1);
    change(&mut terms);
    match Rule::default().decide(&set(terms, 0), &at(Principal::Admin, NOW)) {
        Ok(_) => None,
        Err(Refusal::Invalid { field, .. }) => Some(field),
        Err(refusal) => panic!("{refusal:?}"),
    }
}

#[test]
fn what_makes_no_sense_is_refused_and_named() {
    type Change = fn(&mut RuleTerms);
    let cases: [(&str, Change); 33] = [
        ("name", |it| it.name.clear()),
        ("name", |it| it.name = "two\nlines".to_owned()),
        ("preset", |it| it.preset.clear()),
        ("zones", |it| it.zones = vec![ZoneId::nth(1)]),
        ("zones", |it| it.zones = vec![zone(7), zone(7)]),
        ("zones", |it| it.zones = (0..65).map(ZoneId::of_cell).collect()),
        ("kinds", |it| it.kinds = vec![WorkKind::Ride; 2]),
        ("from", |it| it.from = Some(LATEST + Duration::from_millis(1))),
        ("until", |it| it.until = Some(Timestamp(u64::MAX))),
        ("until", |it| it.until = Some(NOW)),
        ("until", |it| (it.from, it.until) = (Some(NOW + HOUR), Some(NOW + HOUR))),
        ("priority", |it| it.priority = 1_001),
        ("changes", |it| it.changes = RuleChanges::default()),
        ("changes", |it| {
            let weights = Some(WeightChanges::default());
            it.changes = RuleChanges { weights, ..RuleChanges::default() };
        }),
        ("changes.offer", |it| it.changes.offer = Some(OfferPolicy::Direct)),
        ("changes.offer", |it| it.changes.offer = Some(OfferPolicy::Feed)),
        ("changes.tiers_m", |it| it.changes.tiers_m = Some([0, 1, 2])),
        ("changes.tiers_m", |it| it.changes.tiers_m = Some([3, 2, 4])),
        ("changes.tiers_m", |it| it.changes.tiers_m = Some([1, 2, 100_001])),
        ("changes.tier_ms", |it| it.changes.tier_ms = Some(999)),
        ("changes.attempts_max", |it| it.changes.attempts_max = Some(0)),
        ("changes.parallel_max", |it| it.changes.parallel_max = Some(21)),
        ("changes.offer_ttl_ms", |it| it.changes.offer_ttl_ms = Some(600_001)),
        ("changes.search_ms", |it| it.changes.search_ms = Some(0)),
        ("changes.feed_ms", |it| it.changes.feed_ms = Some(86_400_001)),
        ("changes.feed_ms", |it| {
            (it.kinds, it.changes.feed_ms) = (vec![WorkKind::Rescue], Some(1_000));
        }),
        ("changes.hold_ms", |it| it.changes.hold_ms = Some(3_600_001)),
        ("changes.hold_per_age", |it| {
            (it.changes.hold_ms, it.changes.hold_per_age) = (Some(0), Some(0));
        }),
        ("changes.hold_per_age", |it| it.changes.hold_per_age = Some(1_001)),
        ("changes.weights.star_ms", |it| {
            let star_ms = Some(3_600_001);
            it.changes.weights = Some(WeightChanges { star_ms, ..WeightChanges::default() });
        }),
        ("changes.weights.idle_full_ms", |it| {
            let idle_full_ms = Some(0);
            it.changes.weights = Some(WeightChanges { idle_full_ms, ..WeightChanges::default() });
        }),
        ("changes.weights.turn_ms", |it| {
            let turn_ms = Some(u32::MAX);
            it.changes.weights = Some(WeightChanges { turn_ms, ..WeightChanges::default() });
        }),
        ("zones", |it| it.zones = vec![ZoneId::of_cell(7)]),
    ];
    for (field, change) in cases {
        assert_eq!(refused(change).as_deref(), Some(field));
    }
    assert_eq!(refused(|_| ()), None);
    assert_eq!(refused(|it| it.zones = (4..=9).map(zone).collect()), None);
    let feed = |it: &mut RuleTerms| {
        (it.kinds, it.changes.offer) = (vec![WorkKind::Delivery], Some(OfferPolicy::Feed));
    };
    assert_eq!(refused(feed), None);
    assert_eq!(refused(|it| it.until = Some(NOW + Duration::from_millis(1))), None);
    for reason in ["", "two\nlines"] {
        let Command::Set { terms, expects, with, .. } = set(holding(1), 0) else { unreachable!() };
        let command = Command::Set { terms, expects, with, reason: reason.to_owned() };
        let refused = Rule::default().decide(&command, &at(Principal::Admin, NOW));
        assert!(matches!(&refused, Err(Refusal::Invalid { field, .. }) if field == "reason"));
    }
}

#[test]
fn all_of_it_needs_the_format_in_which_it_came() {
    assert_eq!(Rule::event_format(&Event::Lapsed { at: NOW }), RULED);
    for command in [set(holding(1), 0), remove(1), Command::Lapse {}] {
        assert_eq!(Rule::command_format(&command), RULED);
    }
    assert_eq!(Event::VARIANTS, ["rule_set", "rule_removed", "rule_lapsed"]);
}

/// As a node knows it.
fn known(n: u64, made_s: u64, terms: RuleTerms) -> (RuleId, Standing) {
    let made_at = NOW + Duration::from_secs(made_s);
    let said = Said { terms, made_at, by: Principal::Admin, reason: "a trial".to_owned() };
    (RuleId::nth(n), Standing { nth: 1, status: SET.to_owned(), changed_at: made_at, said })
}

fn rule_set(all: &[(RuleId, Standing)]) -> RuleSet {
    let all = all.iter().map(|(id, standing)| (*id, standing));
    RuleSet::of(PRESET, all, &cost::Settings::default())
}

fn strongest(all: &[(RuleId, Standing)], at: Point, work: WorkKind) -> Option<RuleId> {
    rule_set(all).in_force(at, work, NOW).map(|it| it.mark().id)
}

#[test]
fn of_several_the_strongest_is_in_force_however_they_come() {
    let everywhere = known(1, 9, holding(1));
    let town = known(2, 0, RuleTerms { zones: vec![zone(5)], ..holding(2) });
    let block = known(3, 0, RuleTerms { zones: vec![zone(9)], ..holding(3) });
    let wide = known(4, 9, RuleTerms { zones: vec![zone(9), zone(4)], ..holding(4) });
    let rides = known(5, 0, RuleTerms { kinds: vec![WorkKind::Ride], ..holding(5) });
    let earlier = known(6, 3, holding(6));
    let strong = known(7, 0, RuleTerms { priority: 1, ..holding(7) });
    let order = [&earlier, &everywhere, &rides, &wide, &town, &block, &strong];
    for pair in order.windows(2) {
        let [weaker, stronger] = [pair[0].clone(), pair[1].clone()];
        let wanted = Some(stronger.0);
        let both = [weaker.clone(), stronger.clone()];
        assert_eq!(strongest(&both, KIGALI, WorkKind::Ride), wanted);
        assert_eq!(strongest(&[stronger, weaker], KIGALI, WorkKind::Ride), wanted);
    }
    let all: Vec<_> = order.into_iter().cloned().collect();
    assert_eq!(strongest(&all, KIGALI, WorkKind::Ride), Some(RuleId::nth(7)));
    // Elsewhere, and for other work, those that are for it.
    let weak: Vec<_> = all.iter().filter(|(id, _)| *id != RuleId::nth(7)).cloned().collect();
    let far = KIGALI.offset_m(500_000.0, 0.0);
    assert_eq!(strongest(&weak, far, WorkKind::Ride), Some(RuleId::nth(5)));
    assert_eq!(strongest(&weak, far, WorkKind::Delivery), Some(RuleId::nth(1)));
}

#[test]
fn a_rule_is_in_force_from_its_beginning_until_before_its_end() {
    let (from, until) = (Some(NOW), Some(NOW + HOUR));
    let timed = rule_set(&[known(1, 0, RuleTerms { from, until, ..holding(1) })]);
    let is_in_force = |now| timed.in_force(KIGALI, WorkKind::Ride, now).is_some();
    let ms = Duration::from_millis(1);
    let told = [NOW - ms, NOW, NOW + HOUR - ms, NOW + HOUR].map(is_in_force);
    assert_eq!(told, [false, true, true, false]);
    let open = rule_set(&[known(1, 0, holding(1))]);
    for now in [Timestamp(0), Timestamp(u64::MAX)] {
        assert!(open.in_force(KIGALI, WorkKind::Rescue, now).is_some());
    }
}

#[test]
fn as_far_as_any_of_them_looks_for_such_work_is_their_reach() {
    let reaching = |far_m, kinds: &[WorkKind]| {
        let changes = RuleChanges { tiers_m: Some([1, 2, far_m]), ..RuleChanges::default() };
        RuleTerms { changes, kinds: kinds.to_vec(), zones: vec![zone(9)], ..holding(1) }
    };
    let all = rule_set(&[
        known(1, 0, reaching(30_000, &[WorkKind::Delivery])),
        known(2, 0, reaching(40_000, &[WorkKind::Ride])),
        known(3, 0, reaching(20_000, &[])),
        known(4, 0, holding(1)),
    ]);
    let reach_m = [WorkKind::Delivery, WorkKind::Ride, WorkKind::Rescue].map(|it| all.reach_m(it));
    assert_eq!(reach_m, [30_000, 40_000, 20_000]);
    assert_eq!(rule_set(&[known(4, 0, holding(1))]).reach_m(WorkKind::Ride), 0);
}

#[test]
fn those_of_one_moment_count_as_each_by_itself_does() {
    let (from, until) = (Some(NOW + HOUR), Some(NOW + HOUR * 2));
    let all = rule_set(&[
        known(1, 0, holding(1)),
        known(2, 0, RuleTerms { zones: vec![zone(7), zone(4)], from, until, ..holding(2) }),
        known(3, 0, RuleTerms { zones: vec![zone(9)], priority: 1, until, ..holding(3) }),
    ]);
    let places = [KIGALI, KIGALI.offset_m(600.0, 0.0), KIGALI.offset_m(500_000.0, 0.0)];
    let told = [NOW, NOW + HOUR, NOW + HOUR * 2].map(|now| {
        let then = all.then(now);
        places.map(|at| {
            let one = then.of(at, WorkKind::Ride).map(InForce::mark);
            assert_eq!(one, all.in_force(at, WorkKind::Ride, now).map(InForce::mark));
            one.map(|it| it.id)
        })
    });
    let ids = |all: [u64; 3]| all.map(|n| Some(RuleId::nth(n)));
    assert_eq!(told, [ids([3, 1, 1]), ids([3, 2, 1]), ids([1, 1, 1])]);
    assert!(rule_set(&[]).then(NOW).is_empty() && !all.then(NOW).is_empty());
}

#[test]
fn where_as_many_are_set_as_may_be_only_those_are_set_again() {
    let rules = Rules::new(PRESET.to_owned(), cost::Settings::default());
    let until = Some(NOW + HOUR);
    let n_max = RULES_MAX as u64;
    rules.take_in((1..n_max).map(|n| known(n, 0, holding(1))));
    rules.take_in([known(n_max, 0, RuleTerms { until, ..holding(1) })]);
    let has_room = |n, now| rules.has_room(RuleId::nth(n), now);
    assert!(has_room(1, NOW) && has_room(n_max, NOW));
    assert!(!has_room(n_max + 1, NOW));
    assert!(has_room(n_max + 1, NOW + HOUR), "one is over");
    rules.take_in([known(n_max + 1, 0, holding(1))]);
    assert!(!has_room(n_max, NOW + HOUR), "it would be one more");
}

#[test]
fn that_there_are_none_is_known_once_somebody_has_looked() {
    let rules = Rules::new(PRESET.to_owned(), cost::Settings::default());
    assert!(!rules.is_known());
    assert!(rules.take_in([known(1, 0, holding(1))]) && !rules.is_known(), "one, not all");
    rules.are_read();
    assert!(rules.is_known());
    assert!(Rules::new(String::new(), cost::Settings::default()).is_known(), "there is no brand");
}

#[test]
fn another_brands_rules_and_those_that_are_over_are_not_in_force() {
    let foreign = known(1, 0, RuleTerms { preset: "riderguy".to_owned(), ..holding(1) });
    let (id, standing) = known(2, 0, holding(2));
    let gone = (id, Standing { status: REMOVED.to_owned(), ..standing });
    assert!(rule_set(&[foreign, gone]).is_empty());
}

#[test]
fn what_a_rule_does_not_say_is_as_everywhere() {
    let weights = Some(WeightChanges { star_ms: Some(9), ..WeightChanges::default() });
    let changes = RuleChanges {
        offer: Some(OfferPolicy::Sequential),
        tiers_m: Some([1, 2, 3]),
        weights,
        ..RuleChanges::default()
    };
    let mut policy = JobPolicy::default();
    apply(&changes, &mut policy);
    let usual = JobPolicy::default();
    let wanted = JobPolicy { offer: OfferPolicy::Sequential, tiers_m: [1, 2, 3], ..usual };
    assert_eq!(policy, wanted);

    let costs = cost::Settings::default();
    let all = [known(1, 0, RuleTerms { changes, ..holding(1) })];
    let ruling = rule_set(&all).in_force(KIGALI, WorkKind::Ride, NOW).unwrap().ruling.clone();
    assert_eq!(ruling.mark, RuleMark { id: RuleId::nth(1), version: 1 });
    assert_eq!(ruling.weights, cost::Weights { star_ms: 9, ..costs.weights });
    assert_eq!((ruling.hold_ms, ruling.hold_per_age), (costs.hold_ms, costs.hold_per_age));
    assert!(ruling.learned_ways);
}

#[test]
fn what_was_told_of_an_earlier_version_undoes_nothing() {
    let rules = Rules::new(PRESET.to_owned(), cost::Settings::default());
    let (id, first) = known(1, 0, holding(1));
    let gone = Standing { nth: 2, status: REMOVED.to_owned(), ..first.clone() };
    assert!(rules.take_in([(id, first.clone())]) && !rules.take_in([(id, first.clone())]));
    assert_eq!((rules.set().len(), rules.n_set(NOW)), (1, 1));
    assert!(rules.take_in([(id, gone)]) && !rules.take_in([(id, first.clone())]), "it came late");
    assert!(rules.set().is_empty());
    rules.forget_settled(NOW);
    assert!(!rules.take_in([(id, first.clone())]), "not forgotten yet");
    rules.forget_settled(NOW + HOUR);
    assert!(rules.take_in([(id, first)]), "nobody knows of it any more");
}

/// Every kind of event there is, as the first version wrote them. Never edit; add.
const GOLDEN: &str = include_str!("../../tests/journals/rule-v1.jsonl");

#[test]
fn a_journal_of_its_first_version_still_replays() {
    let mut state = Rule::default();
    let mut names = BTreeSet::new();
    for (n, line) in (1..).zip(GOLDEN.lines()) {
        let event: Event = serde_json::from_str(line).unwrap();
        names.insert(Rule::event_name(&event));
        if let Event::Set { terms, .. } = &event {
            assert_eq!(check(terms), Ok(()));
        }
        state.evolve(&event);
        assert_eq!(state.standing().unwrap().nth, n);
    }
    assert_eq!(names, Event::VARIANTS.iter().copied().collect());
    let Standing { status, changed_at, said, .. } = state.standing().unwrap();
    assert_eq!((status.as_str(), changed_at), (REMOVED, Timestamp(11_000)));
    assert_eq!((said.made_at, said.reason.as_str()), (Timestamp(1_000), "it did no good"));
}

#[derive(Debug, Clone)]
enum Word {
    Set(u32, Option<u64>, u32),
    Remove(u32),
    Lapse,
    Wait(u64),
}

fn word() -> impl Strategy<Value = Word> {
    let end = proptest::option::of(1..10_000_000_u64);
    prop_oneof![
        4 => (0..3_u32, end, 0..2_u32).prop_map(|(ms, end, stale)| Word::Set(ms, end, stale)),
        1 => (0..2_u32).prop_map(Word::Remove),
        2 => Just(Word::Lapse),
        2 => (0..5_000_000_u64).prop_map(Word::Wait),
    ]
}

proptest! {
    /// The laws of every entity: what is replayed is what lives, and what was said is not said again. And of two who change the
    /// same version, one is told that it came too late.
    #[test]
    fn the_journal_tells_all_and_nobody_overwrites_what_they_have_not_seen(
        words in proptest::collection::vec(word(), 1..40)
    ) {
        let (mut state, mut now, mut journal) = (Rule::default(), NOW, Vec::new());
        for word in words {
            let nth = state.nth;
            let (command, by) = match word {
                Word::Wait(ms) => {
                    now = Timestamp(now.0 + ms);
                    continue;
                }
                Word::Set(ms, end, stale) => {
                    let until = end.map(|ms| Timestamp(now.0 + ms));
                    let terms = RuleTerms { until, ..holding(ms) };
                    (set(terms, nth.saturating_sub(stale)), Principal::Admin)
                }
                Word::Remove(stale) => (remove(nth.saturating_sub(stale)), Principal::Admin),
                Word::Lapse => (Command::Lapse {}, Principal::System),
            };
            let around = at(by, now);
            let Ok(events) = state.decide(&command, &around) else { continue };
            let expects = match &command {
                Command::Set { expects, .. } | Command::Remove { expects, .. } => *expects,
                Command::Lapse {} => nth,
            };
            prop_assert!(events.is_empty() || expects == nth, "{:?} over {}", command, nth);
            for event in &events {
                let bytes = rmp_serde::to_vec_named(event).unwrap();
                prop_assert_eq!(&rmp_serde::from_slice::<Event>(&bytes).unwrap(), event);
                state.evolve(event);
            }
            prop_assert_eq!(state.nth as usize, journal.len() + events.len());
            journal.extend(events);
            prop_assert_eq!(state.decide(&command, &around), Ok(vec![]));
            let row = state.view(RuleId::nth(1));
            prop_assert_eq!(row.as_ref().and_then(Standing::of_row), state.standing());
        }
        let mut replayed = Rule::default();
        journal.iter().for_each(|event| replayed.evolve(event));
        prop_assert_eq!(replayed, state);
    }
}
