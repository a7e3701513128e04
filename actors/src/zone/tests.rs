use super::*;
use proptest::prelude::*;
use protocol::{DriverId, MerchantId, RiderId};
use strum::VariantNames;

const NOW: Timestamp = Timestamp(1_000_000);
const HOUR: Duration = Duration::from_secs(3_600);
const KIGALI: Point = Point { lat: -1.9441, lon: 30.0619 };

fn zone(resolution: u8) -> ZoneId {
    zones_at(KIGALI).nth(usize::from(resolution - RESOLUTIONS.start())).unwrap()
}

fn at(id: ZoneId, by: Principal, now: Timestamp) -> Context<ZoneId> {
    Context { id, by, now, writes: Format::WRITES }
}

fn pause(reason: &str, until: Option<Timestamp>) -> Command {
    Command::Pause { reason: reason.to_owned(), until }
}

fn resume() -> Command {
    Command::Resume { reason: "dry again".to_owned() }
}

fn after(said: &[(Command, Principal, Timestamp)]) -> Zone {
    let mut state = Zone::default();
    for (command, by, now) in said {
        let events = state.decide(command, &at(zone(7), *by, *now)).unwrap();
        events.iter().for_each(|event| state.evolve(event));
    }
    state
}

fn paused(until: Option<Timestamp>) -> Zone {
    after(&[(pause("a flood", until), Principal::Dispatcher, NOW)])
}

#[test]
fn it_is_paused_until_it_is_resumed_and_lists_say_so() {
    let id = zone(7);
    let state = paused(None);
    let known = ZonePause { zone: id, since: NOW, until: None, reason: "a flood".to_owned() };
    let standing = Standing { nth: 1, pause: Some(known), surge: None, set: None, changed_at: NOW };
    assert_eq!(state.standing(id), standing);
    assert_eq!(state.deadline(), None);
    let row = state.view(id).unwrap();
    assert_eq!(row.status, PAUSED);
    assert_eq!(Standing::of_row(&row), Some(standing));

    let staff = Principal::Admin;
    let open = after(&[
        (pause("a flood", None), Principal::Dispatcher, NOW),
        (resume(), staff, NOW + HOUR),
    ]);
    let row = open.view(id).unwrap();
    assert_eq!((row.status.as_str(), row.at), (OPEN, NOW + HOUR));
    let standing = Standing { nth: 2, pause: None, surge: None, set: None, changed_at: NOW + HOUR };
    assert_eq!(Standing::of_row(&row), Some(standing));
    let again = open.decide(&resume(), &at(id, staff, NOW + HOUR));
    assert_eq!(again, Ok(vec![]), "it is already so");
    assert_eq!(Zone::default().view(id), None, "nobody has ever paused it");
}

#[test]
fn one_that_is_paused_and_scarce_is_listed_as_paused_and_tells_both() {
    let id = zone(7);
    let both = after(&[
        (counted(140), Principal::System, NOW),
        (pause("a flood", None), Principal::Dispatcher, NOW + HOUR / 2),
    ]);
    let row = both.view(id).unwrap();
    let listed = (row.status.as_str(), &row.body["surge"]["percent"]);
    assert_eq!(listed, (PAUSED, &serde_json::json!(140)));
    let mut open = both;
    let resumed = open.decide(&resume(), &at(id, Principal::Admin, NOW + HOUR / 2)).unwrap();
    resumed.iter().for_each(|event| open.evolve(event));
    assert_eq!(open.view(id).unwrap().status, SCARCE, "it still is");
}

#[test]
fn a_pause_with_an_end_lapses_by_itself_then_and_not_before() {
    let id = zone(7);
    let mut state = paused(Some(NOW + HOUR));
    assert_eq!(state.deadline(), Some((NOW + HOUR, Command::Lapse {})));
    let early = state.decide(&Command::Lapse {}, &at(id, Principal::System, NOW));
    assert_eq!(early, Ok(vec![]));
    let by_hand = state.decide(&Command::Lapse {}, &at(id, Principal::Admin, NOW + HOUR));
    assert!(matches!(by_hand, Err(Refusal::NotYours(_))), "{by_hand:?}");
    let due = state.decide(&Command::Lapse {}, &at(id, Principal::System, NOW + HOUR)).unwrap();
    due.iter().for_each(|event| state.evolve(event));
    assert_eq!((state.deadline(), state.standing(id).pause), (None, None));
}

#[test]
fn said_again_in_other_words_those_hold_and_it_has_been_so_since_the_first() {
    let staff = Principal::Dispatcher;
    let (id, later) = (zone(7), NOW + HOUR);
    let same = paused(None).decide(&pause("a flood", None), &at(id, staff, later));
    assert_eq!(same, Ok(vec![]));
    let longer = after(&[
        (pause("a flood", Some(NOW + HOUR)), staff, NOW),
        (pause("a storm", Some(NOW + 2 * HOUR)), staff, NOW + HOUR / 2),
    ]);
    let known = longer.standing(id).pause.unwrap();
    assert_eq!((known.since, known.until), (NOW, Some(NOW + 2 * HOUR)));
    assert_eq!(known.reason, "a storm");
}

/// Who may, and what makes no sense.
#[test]
fn staff_pause_zones_with_a_reason_and_an_end_that_is_ahead() {
    let others = [
        Principal::Rider(RiderId::nth(1)),
        Principal::Driver(DriverId::nth(1)),
        Principal::Merchant(MerchantId::nth(1)),
        Principal::System,
    ];
    for by in others {
        for command in [pause("a flood", None), resume()] {
            let refused = paused(None).decide(&command, &at(zone(7), by, NOW));
            assert!(matches!(refused, Err(Refusal::NotYours(_))), "{by}: {refused:?}");
        }
    }
    let asked =
        |command: Command, id| Zone::default().decide(&command, &at(id, Principal::Admin, NOW));
    for command in [
        pause("", None),
        pause("two\nlines", None),
        pause("a flood", Some(NOW)),
        pause("a flood", Some(NOW + LASTS_MAX + HOUR)),
    ] {
        let refused = asked(command.clone(), zone(7));
        assert!(matches!(refused, Err(Refusal::Invalid { .. })), "{command:?}: {refused:?}");
    }
    let cell = |resolution| {
        let at = LatLng::new(KIGALI.lat, KIGALI.lon).unwrap();
        ZoneId::of_cell(at.to_cell(resolution).into())
    };
    let nowhere =
        [cell(Resolution::Three), cell(Resolution::Ten), ZoneId::nth(1), ZoneId::of_cell(7)];
    for id in nowhere {
        let refused = asked(pause("a flood", None), id);
        assert!(matches!(refused, Err(Refusal::Unknown(_))), "{id}: {refused:?}");
    }
    for resolution in RESOLUTIONS {
        assert!(asked(pause("a flood", None), zone(resolution)).is_ok());
    }
}

#[test]
fn a_place_is_in_the_zones_that_cover_it_and_the_longest_pause_is_told() {
    let far = KIGALI.offset_m(60_000.0, 0.0);
    let said = |resolution, until| ZonePause {
        zone: zone(resolution),
        since: NOW,
        until,
        reason: format!("at {resolution}"),
    };
    let why = |paused: &Paused, at, now| paused.at(at, now).map(|it| it.reason.clone());
    let two: Paused = [said(9, None), said(5, Some(NOW + HOUR))].into_iter().collect();
    assert_eq!(why(&two, KIGALI, NOW), Some("at 9".to_owned()));
    assert_eq!(why(&two, KIGALI.offset_m(2_000.0, 0.0), NOW), Some("at 5".to_owned()));
    assert_eq!(why(&two, KIGALI.offset_m(2_000.0, 0.0), NOW + HOUR), None, "its time is over");
    assert_eq!(why(&two, far, NOW), None);
    assert_eq!(why(&Paused::default(), KIGALI, NOW), None);
}

#[test]
fn what_was_told_of_an_earlier_moment_undoes_nothing() {
    let zones = Zones::default();
    assert!(
        !zones.is_known() && !zones.take_in([]) && zones.is_known(),
        "that nothing is, is said"
    );
    let first = paused(None).standing(zone(7));
    let second = Standing { nth: 2, pause: None, surge: None, set: None, changed_at: NOW + HOUR };
    assert!(zones.take_in([(zone(7), first.clone())]));
    assert!(!zones.take_in([(zone(7), first.clone())]), "no news");
    assert_eq!(zones.paused().len(), 1);
    assert!(zones.take_in([(zone(7), second)]));
    assert!(!zones.take_in([(zone(7), first)]), "it came late");
    assert!(zones.paused().is_empty());
}

#[test]
fn all_of_it_needs_the_format_in_which_it_came() {
    assert_eq!(Zone::event_format(&Event::Lapsed { at: NOW }), ZONED);
    assert_eq!(Zone::command_format(&Command::Lapse {}), ZONED);
    assert_eq!(
        Event::VARIANTS,
        ["zone_paused", "zone_resumed", "zone_pause_lapsed", "zone_surged"]
    );
    let surged = counted(140);
    assert_eq!(Zone::command_format(&surged), SURGED);
    let event = Zone::default().decide(&surged, &at(zone(7), Principal::System, NOW)).unwrap();
    assert_eq!(event.iter().map(Zone::event_format).collect::<Vec<_>>(), [SURGED]);
    let rolling = Context { writes: ZONED, ..at(zone(7), Principal::System, NOW) };
    assert_eq!(Zone::default().decide(&surged, &rolling), Ok(vec![]), "not every node reads it");
}

fn counted(percent: u32) -> Command {
    let count = Count { n_waiting: 9, n_free: 3, per_hour: 60.0, per_hour_soon: 70.0 };
    Command::Surge { percent, count, ratio: 3.0, cause: Cause::Counted }
}

/// What was written down of a zone whose multiplier was so, minute by minute.
fn written(percents: impl IntoIterator<Item = u32>) -> (Zone, Vec<(u64, u32, u32)>) {
    let (mut state, mut told) = (Zone::default(), Vec::new());
    for (minute, percent) in (0..).zip(percents) {
        let now = NOW + Duration::from_secs(60 * minute);
        let around = at(zone(7), Principal::System, now);
        for event in state.decide(&counted(percent), &around).unwrap() {
            let Event::Surged { from_percent, to_percent, by: Principal::System, .. } = event
            else {
                panic!("{event:?}")
            };
            told.push((minute, from_percent, to_percent));
            state.evolve(&event);
        }
    }
    (state, told)
}

#[test]
fn a_multiplier_is_written_down_when_it_has_moved_by_what_matters_and_not_too_often() {
    let rising = [100, 110, 120, 140, 160, 160, 160, 180];
    let (state, told) = written(rising.into_iter().chain([180; 10]).chain([110, 100, 100]));
    assert_eq!(told, [(2, 100, 120), (7, 120, 180), (18, 180, 110)]);
    let multiplier = state.standing(zone(7)).surge.unwrap();
    assert_eq!((multiplier.percent, multiplier.at), (110, NOW + 18 * Duration::from_secs(60)));

    let (_, told) = written([100, 110, 110, 100, 110]);
    assert_eq!(told, [], "a little more or less");
    // However restless it is.
    let (_, told) = written((0..60).map(|n| if n % 2 == 0 { 100 } else { 180 }));
    assert!(told.len() <= 12, "{told:?}");
    assert!(told.iter().zip(&told[1..]).all(|((at, ..), (then, ..))| then - at >= 5), "{told:?}");
    assert!(told.iter().zip(&told[1..]).all(|((.., to), (_, from, _))| to == from), "{told:?}");
}

#[test]
fn one_that_stays_is_said_again_and_one_that_is_not_lapses() {
    let (state, told) = written([140; 45]);
    assert_eq!(told, [(0, 100, 140), (20, 140, 140), (40, 140, 140)]);
    let (due, lapse) = state.deadline().unwrap();
    assert_eq!(due, NOW + 40 * Duration::from_secs(60) + STALE);
    let id = zone(7);
    assert_eq!(state.view(id).unwrap().status, SCARCE);
    assert_eq!(Standing::of_row(&state.view(id).unwrap()), Some(state.standing(id)));
    let events = state.decide(&lapse, &at(id, Principal::System, due)).unwrap();
    let mut state = state;
    events.iter().for_each(|event| state.evolve(event));
    assert!(matches!(events[..], [Event::Surged { to_percent: USUAL, cause: Cause::Lapsed, .. }]));
    assert_eq!((state.deadline(), state.view(id).unwrap().status.as_str()), (None, OPEN));
}

#[test]
fn only_the_platform_moves_multipliers_and_only_of_zones() {
    let asked = |by, id, percent| Zone::default().decide(&counted(percent), &at(id, by, NOW));
    for by in [Principal::Dispatcher, Principal::Driver(DriverId::nth(1))] {
        assert!(matches!(asked(by, zone(7), 140), Err(Refusal::NotYours(_))), "{by}");
    }
    assert!(matches!(asked(Principal::System, ZoneId::nth(1), 140), Err(Refusal::Unknown(_))));
    for percent in [0, 99, 1_001] {
        let refused = asked(Principal::System, zone(7), percent);
        assert!(matches!(refused, Err(Refusal::Invalid { .. })), "{percent}: {refused:?}");
    }
}

fn set(percent: u32, reason: &str, until: Timestamp) -> Command {
    Command::SetSurge { percent, reason: reason.to_owned(), until }
}

fn lift() -> Command {
    Command::LiftSurge { reason: "it is over".to_owned() }
}

#[test]
fn as_staff_set_it_so_it_is_whatever_is_counted_until_they_lift_that_or_its_time_is_over() {
    let (id, staff, minute) = (zone(7), Principal::Dispatcher, Duration::from_secs(60));
    let until = NOW + 50 * minute;
    let mut state = written([140]).0;
    let said = state.decide(&set(200, "a concert", until), &at(id, staff, NOW + minute)).unwrap();
    let [Event::Surged { by, from_percent: 140, to_percent: 200, cause: Cause::Set, .. }] =
        said[..]
    else {
        panic!("{said:?}")
    };
    assert_eq!(by, staff);
    said.iter().for_each(|event| state.evolve(event));
    let again = state.decide(&set(200, "a concert", until), &at(id, staff, NOW + 2 * HOUR));
    assert_eq!(again, Ok(vec![]), "it is already so");
    let around = at(id, Principal::System, NOW + 30 * minute);
    assert_eq!(state.decide(&counted(180), &around), Ok(vec![]), "whatever is counted");

    let standing = state.standing(id);
    let row = state.view(id).unwrap();
    assert_eq!((row.status.as_str(), &Standing::of_row(&row)), (SCARCE, &Some(standing.clone())));
    let zones = Zones::default();
    zones.take_in([(id, standing)]);
    let percent = |now| zones.multiplier(id, now).map(|it| it.percent);
    let last = until - Duration::from_millis(1);
    assert_eq!((percent(last), percent(until)), (Some(200), Some(140)), "told or not");
    assert_eq!(zones.counted(id, last).map(|it| it.percent), Some(140));
    zones.forget_settled(last);
    assert_eq!(percent(last), Some(200), "it is not forgotten while it lasts");

    let lifted = state.decide(&lift(), &at(id, Principal::Admin, NOW + 40 * minute)).unwrap();
    let [Event::Surged { from_percent: 200, to_percent: 140, cause: Cause::Lifted, .. }] =
        lifted[..]
    else {
        panic!("{lifted:?}")
    };
    let mut early = state.clone();
    lifted.iter().for_each(|event| early.evolve(event));
    assert_eq!(early.decide(&lift(), &at(id, staff, until)), Ok(vec![]), "it is already so");
    assert_eq!(early.deadline().map(|(due, _)| due), Some(NOW + STALE), "as it was counted");

    // Nobody has said again meanwhile what was counted.
    assert_eq!(state.deadline(), Some((until, Command::Lapse {})));
    let late = at(id, Principal::System, NOW + 2 * HOUR);
    let over = state.decide(&Command::Lapse {}, &late).unwrap();
    let [Event::Surged { by: Principal::System, to_percent: USUAL, cause: Cause::Lifted, .. }] =
        over[..]
    else {
        panic!("{over:?}")
    };
    over.iter().for_each(|event| state.evolve(event));
    assert_eq!((state.deadline(), state.standing(id).set), (None, None));
    assert_eq!(state.view(id).unwrap().status, OPEN);
}

#[test]
fn only_staff_set_multipliers_of_zones_that_have_one_for_a_reason_and_a_day_at_most() {
    let until = NOW + HOUR;
    let asked = |by, id, command: &Command| Zone::default().decide(command, &at(id, by, NOW));
    for by in [Principal::System, Principal::Driver(DriverId::nth(1))] {
        for command in [set(150, "a concert", until), lift()] {
            assert!(matches!(asked(by, zone(7), &command), Err(Refusal::NotYours(_))), "{by}");
        }
    }
    let asked = |id, command| asked(Principal::Admin, id, &command);
    for command in [
        set(99, "a concert", until),
        set(MOST + 1, "a concert", until),
        set(150, "", until),
        set(150, "two\nlines", until),
        set(150, "a concert", NOW),
        set(150, "a concert", NOW + SET_MAX + HOUR),
    ] {
        let refused = asked(zone(7), command.clone());
        assert!(matches!(refused, Err(Refusal::Invalid { .. })), "{command:?}: {refused:?}");
    }
    let larger = asked(zone(6), set(150, "a concert", until));
    assert!(matches!(larger, Err(Refusal::Invalid { .. })), "{larger:?}");
    let nowhere = asked(ZoneId::nth(1), set(150, "a concert", until));
    assert!(matches!(nowhere, Err(Refusal::Unknown(_))), "{nowhere:?}");
    let events = asked(zone(7), set(150, "a concert", NOW + SET_MAX)).unwrap();
    assert_eq!(events.iter().map(Zone::event_format).collect::<Vec<_>>(), [SET]);
    assert_eq!(
        [set(150, "a concert", until), lift()].map(|it| Zone::command_format(&it)),
        [SET; 2]
    );
}

#[test]
fn what_was_written_down_of_multipliers_is_known_to_regions() {
    let zones = Zones::default();
    let (state, _) = written([140]);
    zones.take_in([(zone(7), state.standing(zone(7)))]);
    let multiplier = Multiplier { percent: 140, at: NOW };
    assert_eq!(zones.multiplier(zone(7), NOW), Some(multiplier));
    assert_eq!(zones.all_counted(NOW), [(zone(7), multiplier)]);
    assert_eq!(zones.multiplier(zone(8), NOW), None);
    assert!(zones.paused().is_empty(), "nothing stands still for that");
}

#[test]
fn one_that_has_lapsed_is_as_usual_though_nobody_has_told_this_node() {
    let zones = Zones::default();
    let (state, _) = written([140]);
    zones.take_in([(zone(7), state.standing(zone(7)))]);
    let last = NOW + STALE - Duration::from_millis(1);
    assert_eq!(zones.multiplier(zone(7), last), Some(Multiplier { percent: 140, at: NOW }));
    // As the zone itself writes it down, then or a moment later.
    let lapsed = Multiplier { percent: USUAL, at: NOW + STALE };
    assert_eq!(zones.multiplier(zone(7), NOW + STALE), Some(lapsed));
    assert_eq!(zones.all_counted(NOW + 24 * HOUR), [(zone(7), lapsed)]);
}

#[test]
fn what_nobody_has_to_know_any_more_is_forgotten() {
    let n_known = |zones: &Zones| zones.known.lock().unwrap().len();
    let known = |state: &Zone| {
        let zones = Zones::default();
        zones.take_in([(zone(7), state.standing(zone(7)))]);
        zones
    };
    // From when on it is forgotten, if ever.
    let resumed = after(&[
        (pause("a flood", None), Principal::Dispatcher, NOW),
        (resume(), Principal::Admin, NOW + HOUR),
    ]);
    let mut usual = written([140]).0;
    let (lapsed_at, lapse) = usual.deadline().unwrap();
    let scarce = usual.clone();
    let lapsed = usual.decide(&lapse, &at(zone(7), Principal::System, lapsed_at)).unwrap();
    lapsed.iter().for_each(|event| usual.evolve(event));
    let all = [
        ("resumed", resumed, NOW + HOUR),
        ("over", paused(Some(NOW + 2 * HOUR)), NOW + 2 * HOUR),
        ("usual again", usual, lapsed_at),
        ("lapsed, and not told", scarce, lapsed_at),
    ];
    for (what, state, settled_at) in all {
        let zones = known(&state);
        zones.forget_settled(settled_at - Duration::from_millis(1));
        assert_eq!(n_known(&zones), 1, "{what}");
        zones.forget_settled(settled_at + Duration::from_millis(1));
        assert_eq!((n_known(&zones), zones.paused().len()), (0, 0), "{what}");
        assert_eq!(zones.multiplier(zone(7), settled_at), None);
    }
    let zones = known(&paused(None));
    zones.forget_settled(NOW + 365 * 24 * HOUR);
    assert_eq!((n_known(&zones), zones.paused().len()), (1, 1), "it is paused until it is resumed");
}

/// Every kind of event there is, as the first version wrote them. Never edit; add.
const GOLDEN: &str = include_str!("../../tests/journals/zone-v1.jsonl");
/// What came with multipliers.
const GOLDEN_SURGED: &str = include_str!("../../tests/journals/zone-v2.jsonl");
/// What came with staff who say what they are.
const GOLDEN_SET: &str = include_str!("../../tests/journals/zone-v3.jsonl");

#[test]
fn a_journal_of_its_first_version_still_replays() {
    let mut state = Zone::default();
    let mut names = BTreeSet::new();
    for line in GOLDEN.lines().chain(GOLDEN_SURGED.lines()) {
        let event: Event = serde_json::from_str(line).unwrap();
        names.insert(Zone::event_name(&event));
        state.evolve(&event);
    }
    assert_eq!(names, Event::VARIANTS.iter().copied().collect());
    let pause = state.standing(zone(7)).pause.unwrap();
    assert_eq!((pause.since, pause.reason.as_str()), (Timestamp(9_000), "another race"));
    let surge = state.standing(zone(7)).surge.unwrap();
    assert_eq!((surge.percent, surge.at), (100, Timestamp(20_000)));
    for line in GOLDEN_SET.lines() {
        state.evolve(&serde_json::from_str(line).unwrap());
    }
    let Standing { surge: after, set, .. } = state.standing(zone(7));
    let set = set.unwrap();
    assert_eq!((after, set.percent, set.until), (Some(surge), 160, Timestamp(7_200_000)));
    assert_eq!((set.by, set.reason.as_str()), (Principal::Dispatcher, "a match"));
}

#[derive(Debug, Clone)]
enum Word {
    Pause(u8, Option<u64>),
    Resume,
    Lapse,
    Surge(u32),
    Set(u32, u64),
    Lift,
    Wait(u64),
}

fn word() -> impl Strategy<Value = Word> {
    prop_oneof![
        (0..3_u8, proptest::option::of(1..10_000_000_u64)).prop_map(|(n, ms)| Word::Pause(n, ms)),
        Just(Word::Resume),
        Just(Word::Lapse),
        (10..30_u32).prop_map(|tens| Word::Surge(10 * tens)),
        (10..30_u32, 1..10_000_000_u64).prop_map(|(tens, ms)| Word::Set(10 * tens, ms)),
        Just(Word::Lift),
        (0..5_000_000_u64).prop_map(Word::Wait),
    ]
}

proptest! {
    /// The laws of every entity: what is replayed is what lives, what is so is not done again, and what is due happens.
    #[test]
    fn the_journal_tells_all_and_saying_it_again_changes_nothing(
        words in proptest::collection::vec(word(), 1..40)
    ) {
        let id = zone(7);
        let (mut state, mut now, mut journal) = (Zone::default(), NOW, Vec::new());
        for word in words {
            let (command, by) = match word {
                Word::Wait(ms) => {
                    now = Timestamp(now.0 + ms);
                    continue;
                }
                Word::Pause(n, ms) => {
                    let until = ms.map(|ms| Timestamp(now.0 + ms));
                    (pause(&format!("reason {n}"), until), Principal::Dispatcher)
                }
                Word::Resume => (resume(), Principal::Admin),
                Word::Lapse => (Command::Lapse {}, Principal::System),
                Word::Surge(percent) => (counted(percent), Principal::System),
                Word::Set(percent, ms) => {
                    (set(percent, "a concert", Timestamp(now.0 + ms)), Principal::Dispatcher)
                }
                Word::Lift => (lift(), Principal::Admin),
            };
            let around = at(id, by, now);
            let events = state.decide(&command, &around).unwrap();
            for event in &events {
                let bytes = rmp_serde::to_vec_named(event).unwrap();
                prop_assert_eq!(&rmp_serde::from_slice::<Event>(&bytes).unwrap(), event);
                state.evolve(event);
            }
            journal.extend(events);
            prop_assert_eq!(state.decide(&command, &around), Ok(vec![]));
            let lapses = state.decide(&Command::Lapse {}, &at(id, Principal::System, now)).unwrap();
            let is_due = state.deadline().is_some_and(|(due, _)| due <= now);
            prop_assert_eq!(!lapses.is_empty(), is_due);
        }
        let mut replayed = Zone::default();
        journal.iter().for_each(|event| replayed.evolve(event));
        prop_assert_eq!(replayed, state);
    }
}
