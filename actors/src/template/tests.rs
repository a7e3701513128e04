use super::*;
use proptest::prelude::*;
use protocol::{
    DriverId, MerchantId, Place, Point, RiderId, TimeOfDay, Weekday, template::TemplateOrder,
    work::Needs,
};
use strum::IntoEnumIterator;

const KIGALI: Point = Point { lat: -1.9441, lon: 30.0619 };
const STAFF: Principal = Principal::Dispatcher;
const SYSTEM: Principal = Principal::System;
/// Kigali's.
const OFFSET_MIN: i32 = 120;
const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const DAY: Duration = Duration::from_secs(24 * 3_600);

fn date(text: &str) -> Date {
    text.parse().unwrap()
}

/// That time of that day in Kigali.
fn at(day: &str, time: &str) -> Timestamp {
    date(day).moment(time.parse().unwrap(), OFFSET_MIN)
}

/// A Monday, long before anybody gets up.
fn start() -> Timestamp {
    at("2026-11-30", "01:00")
}

fn order(n: u64) -> TemplateOrder {
    let place = |east_m| Place::from(KIGALI.offset_m(east_m, 0.0));
    TemplateOrder {
        rider: RiderId::nth(n),
        from: place(0.0),
        to: place(1_000.0),
        payment: PaymentTiming::Cash,
        needs: Needs::default(),
        pickup_proof: Vec::new(),
        dropoff_proof: Vec::new(),
        cash_on_delivery: None,
    }
}

/// At eight on working days, two deliveries.
fn terms() -> TemplateTerms {
    let is_work = |it: &Weekday| !matches!(it, Weekday::Saturday | Weekday::Sunday);
    TemplateTerms {
        name: "the bakery's round".to_owned(),
        preset: "reskflow".to_owned(),
        orders: vec![order(1), order(2)],
        weekdays: Weekday::iter().filter(is_work).collect(),
        at: "08:00".parse().unwrap(),
        lead_min: 60,
        from: None,
        until: None,
        except: Vec::new(),
        driver: None,
    }
}

fn set(terms: TemplateTerms, expects: u32) -> Command {
    let (terms, reason) = (Box::new(terms), "the bakery asked".to_owned());
    Command::Set { terms, utc_offset_min: OFFSET_MIN, expects, reason, with: None }
}

fn pause(expects: u32) -> Command {
    Command::Pause { expects, reason: "holidays".to_owned(), with: None }
}

fn resume(expects: u32) -> Command {
    Command::Resume { expects, reason: "back".to_owned(), with: None }
}

fn remove(expects: u32) -> Command {
    Command::Remove { expects, reason: "it is closed".to_owned(), with: None }
}

/// A template and what happens to it.
#[derive(Clone)]
struct Play {
    state: Template,
    journal: Vec<Event>,
    now: Timestamp,
}

impl Play {
    fn set(terms: TemplateTerms) -> Self {
        let mut play = Self { state: Template::default(), journal: Vec::new(), now: start() };
        play.yes(STAFF, set(terms, 0));
        play
    }

    fn ask(&self, by: Principal, command: &Command) -> Result<Vec<Event>, Refusal> {
        let context = Context { id: TemplateId::nth(1), by, now: self.now, writes: Format::WRITES };
        self.state.decide(command, &context)
    }

    fn yes(&mut self, by: Principal, command: Command) -> Vec<Event> {
        let events = self.ask(by, &command).unwrap();
        events.iter().for_each(|event| self.state.evolve(event));
        self.journal.extend(events.clone());
        // A tick settles only so many days, and the next goes on from there.
        let again = self.ask(by, &command).unwrap_or_default();
        assert!(again.is_empty() || command == Command::Tick {}, "{command:?} again: {again:?}");
        events
    }

    /// Time passes until it acts by itself.
    fn tick(&mut self) -> Vec<Event> {
        let (due, command) = self.state.deadline().expect("something is due");
        self.now = self.now.max(due);
        self.yes(SYSTEM, command)
    }

    fn making(&self) -> &Making {
        self.state.making().expect("a day is being made")
    }

    fn status(&self) -> &'static str {
        self.state.status()
    }

    fn place(&mut self, placings: &[(u8, Placing)], alone_from: Timestamp) -> Vec<Event> {
        let placed = placings.iter().map(|(nth, it)| PlacedOne { nth: *nth, placing: it.clone() });
        let (day, orders) = (self.making().day, placed.collect());
        self.yes(SYSTEM, Command::NoteOrders { day, orders, alone_from })
    }

    /// Its day has begun and all of its orders are placed, kept for two minutes.
    fn placed(terms: TemplateTerms) -> Self {
        let mut play = Self::set(terms);
        play.tick();
        play.place(&[(0, placed(1)), (1, placed(2))], play.now + 2 * MINUTE);
        play
    }

    fn last(&self) -> TemplateDay {
        let shown = self.state.shown(TemplateId::nth(1), true).unwrap();
        shown.days.first().cloned().expect("a day")
    }
}

fn placed(n: u64) -> Placing {
    Placing::Placed(OrderId::nth(n))
}

fn refused() -> Placing {
    Placing::Refused("zone_paused: a flood".to_owned())
}

#[test]
fn a_day_begins_some_time_before_it_is_due_and_once() {
    let mut play = Play::set(terms());
    assert_eq!((play.status(), play.state.making()), (SET, None));
    let next = play.state.shown(TemplateId::nth(1), true).unwrap().next.unwrap();
    assert_eq!((next.day, next.due), (date("2026-11-30"), at("2026-11-30", "08:00")));
    assert_eq!(next.placed_at, at("2026-11-30", "07:00"));
    play.now = next.placed_at - Duration::from_millis(1);
    assert_eq!(play.ask(SYSTEM, &Command::Tick {}), Ok(vec![]), "not yet");
    let (day, due) = (next.day, next.due);
    assert_eq!(play.tick(), [Event::Begun { at: next.placed_at, day, due }]);
    assert_eq!((play.status(), play.making().day), (DUE, day));
    assert_eq!(play.making().unplaced().collect::<Vec<_>>(), [0, 1]);
    // Whatever becomes of it, the next one is tomorrow's.
    let next = play.state.shown(TemplateId::nth(1), true).unwrap().next.unwrap();
    assert_eq!(next.due, at("2026-12-01", "08:00"));
    // What it says otherwise meanwhile is for tomorrow, and brings today back neither.
    let later = TemplateTerms { at: "20:00".parse().unwrap(), ..terms() };
    play.yes(STAFF, set(later, 1));
    let next = play.state.shown(TemplateId::nth(1), true).unwrap().next.unwrap();
    assert_eq!(next.due, at("2026-12-01", "20:00"));
    assert_eq!(play.making().terms, terms());
}

#[test]
fn what_is_made_of_a_day_is_called_by_it_and_no_other_is_called_so() {
    let mut play = Play::set(terms());
    play.tick();
    let (id, making) = (TemplateId::nth(1), play.making().clone());
    let all = [
        making.order_command(id, 0),
        making.order_command(id, 1),
        making.order_command(TemplateId::nth(2), 0),
        making.run_command(id),
        Making { n_runs: 1, ..making.clone() }.run_command(id),
        Making { day: making.day.next(), ..making.clone() }.order_command(id, 0),
    ];
    let distinct: BTreeSet<_> = all.iter().collect();
    assert_eq!(distinct.len(), all.len(), "{all:?}");
    assert_eq!(making.clone().order_command(id, 0), all[0]);
    assert_eq!(all[0].minted_at(), making.begun_at, "young enough for its answer to be kept");
}

#[test]
fn its_orders_are_brought_as_one_run_or_else_alone() {
    let mut play = Play::set(terms());
    play.tick();
    let alone_from = play.now + 2 * MINUTE;
    // Some first: the others are still to be placed.
    play.place(&[(1, placed(2))], alone_from);
    assert_eq!(play.making().unplaced().collect::<Vec<_>>(), [0]);
    assert_eq!(play.making().alone_from, None);
    play.place(&[(0, placed(1)), (1, placed(7)), (9, placed(8))], alone_from);
    assert_eq!(play.making().placed(), [1, 2].map(OrderId::nth), "what was known stays");
    assert_eq!(play.state.deadline(), Some((alone_from, Command::Tick {})));
    let (day, run) = (play.making().day, RunId::nth(1));
    let too_late = play.ask(SYSTEM, &Command::NoteRun { day, nth: 1, run });
    assert!(matches!(too_late, Err(Refusal::TooLate(_))), "{too_late:?}");
    play.yes(SYSTEM, Command::NoteRun { day, nth: 0, run });
    let why = "its driver said no".to_owned();
    play.yes(SYSTEM, Command::EndRun { day, run, is_brought: false, why: why.clone() });
    assert_eq!((play.making().run, play.making().n_runs), (None, 1));

    let mut alone = play.clone();
    alone.tick();
    let day_of = alone.last();
    assert_eq!((day_of.outcome, day_of.run), (Some(DayOutcome::Alone), None));
    assert_eq!(day_of.why, Some(why), "as was said of its run");
    assert_eq!(day_of.orders, [Some(placed(1)), Some(placed(2))]);
    assert_eq!((alone.status(), alone.now), (SET, alone_from));

    let run = RunId::nth(2);
    play.yes(SYSTEM, Command::NoteRun { day, nth: 1, run });
    assert_eq!(play.state.deadline(), Some((alone_from + 5 * MINUTE, Command::Tick {})));
    play.yes(SYSTEM, Command::EndRun { day, run, is_brought: true, why: String::new() });
    let day_of = play.last();
    assert_eq!((day_of.outcome, day_of.run, day_of.why), (Some(DayOutcome::Run), Some(run), None));
    assert_eq!(play.state.deadline(), Some((at("2026-12-01", "07:00"), Command::Tick {})));
    // What is said of a day that is over is no news.
    let late = Command::EndRun { day, run, is_brought: false, why: String::new() };
    assert_eq!(play.ask(SYSTEM, &late), Ok(vec![]));
}

#[test]
fn a_day_of_which_too_little_can_be_placed_is_no_run() {
    let mut play = Play::set(terms());
    play.tick();
    let events = play.place(&[(0, refused()), (1, refused())], play.now);
    assert!(matches!(events.last(), Some(Event::Settled { outcome: DayOutcome::Failed, .. })));
    let mut play = Play::set(terms());
    play.tick();
    let events = play.place(&[(0, placed(1)), (1, refused())], play.now);
    assert!(matches!(events.last(), Some(Event::Settled { outcome: DayOutcome::Alone, .. })));
    assert_eq!(play.last().orders, [Some(placed(1)), Some(refused())]);
    // Nobody said anything of its orders: it does not stand in the way of the next day.
    let mut play = Play::set(terms());
    play.tick();
    assert_eq!(play.tick().len(), 1);
    assert_eq!(play.last().outcome, Some(DayOutcome::Failed));
    assert_eq!(play.now, at("2026-11-30", "08:09"));
    // Nobody can bring them together, however long they wait.
    let mut play = Play::placed(terms());
    let why = "fewer than two are left".to_owned();
    play.yes(SYSTEM, Command::GiveUp { day: play.making().day, why: why.clone() });
    assert_eq!((play.last().outcome, play.last().why), (Some(DayOutcome::Alone), Some(why)));
}

#[test]
fn a_day_waits_for_as_long_as_any_of_its_orders_whatever_became_of_the_last() {
    let three = TemplateTerms { orders: vec![order(1), order(2), order(3)], ..terms() };
    let mut play = Play::set(three);
    play.tick();
    let (begun_at, until) = (play.now, play.now + 40 * MINUTE);
    play.place(&[(0, placed(1)), (1, placed(2))], until);
    play.place(&[(2, refused())], begun_at);
    assert_eq!(play.making().alone_from, Some(until));
    assert_eq!(play.state.deadline(), Some((until, Command::Tick {})));
    assert_eq!((play.status(), play.making().placed().len()), (DUE, 2));
}

#[test]
fn nobody_is_looked_for_who_brings_all_of_it_before_the_last_of_it_looks_for_somebody() {
    let mut play = Play::set(terms());
    play.tick();
    let until = play.now + 40 * MINUTE;
    assert!(!play.making().is_early(play.now), "not all of it is placed");
    play.place(&[(0, placed(1)), (1, placed(2))], until);
    let making = play.making();
    assert!(making.is_early(play.now));
    assert!(making.is_early(until - 2 * MINUTE - Duration::from_millis(1)));
    assert!(!making.is_early(until - 2 * MINUTE));
    // Who is named is waited for until it is due, whenever its orders begin to look.
    let named = TemplateTerms { driver: Some(DriverId::nth(1)), ..terms() };
    assert!(!Making { terms: named, ..making.clone() }.is_early(play.now));
}

#[test]
fn runs_are_not_planned_for_ever() {
    let mut play = Play::placed(terms());
    let day = play.making().day;
    for n in 0..RUNS_MAX {
        let run = RunId::nth(n.into());
        play.yes(SYSTEM, Command::NoteRun { day, nth: n, run });
        let why = "nobody wants it".to_owned();
        play.yes(SYSTEM, Command::EndRun { day, run, is_brought: false, why });
    }
    assert_eq!((play.state.making(), play.last().outcome), (None, Some(DayOutcome::Alone)));
}

#[test]
fn what_nobody_was_there_for_is_made_if_it_still_makes_sense_and_else_missed() {
    let mut play = Play::set(terms());
    play.now = at("2026-11-30", "08:20");
    let late = play.yes(SYSTEM, Command::Tick {});
    let (day, now) = (date("2026-11-30"), play.now);
    assert_eq!(late, [Event::Begun { at: now, day, due: now }], "it is to be fetched now");
    play.tick();

    // Nobody was there from Tuesday until Friday at noon.
    play.now = at("2026-12-04", "12:00");
    let missed = play.yes(SYSTEM, Command::Tick {});
    let days = missed.iter().map(|it| {
        let Event::Missed { day, .. } = it else { panic!("{it:?}") };
        day.to_string()
    });
    let expected = ["2026-12-01", "2026-12-02", "2026-12-03", "2026-12-04"];
    assert_eq!(days.collect::<Vec<_>>(), expected);
    assert_eq!((play.status(), play.last().outcome), (SET, Some(DayOutcome::Missed)));
    assert_eq!(play.state.deadline(), Some((at("2026-12-07", "07:00"), Command::Tick {})));

    // Nor for half a year: what is remembered stays bounded, and it goes on.
    play.now = at("2027-06-01", "12:00");
    let mut n_missed = 0;
    while play.state.deadline().is_some_and(|(due, _)| due <= play.now) {
        let missed = play.yes(SYSTEM, Command::Tick {});
        assert!(missed.len() <= DAYS_MAX);
        n_missed += missed.len();
    }
    assert_eq!(n_missed, 127, "of 177 days, Saturdays and Sundays are none");
    assert_eq!(play.state.shown(TemplateId::nth(1), true).unwrap().days.len(), DAYS_MAX);
    assert!(play.state.shown(TemplateId::nth(1), false).unwrap().days.is_empty());
}

#[test]
fn no_day_begins_while_it_is_paused_and_none_of_those_is_missed() {
    let mut play = Play::set(terms());
    play.yes(STAFF, pause(1));
    assert_eq!((play.status(), play.state.deadline()), (PAUSED, None));
    play.now = at("2026-12-02", "07:30");
    assert_eq!(play.ask(SYSTEM, &Command::Tick {}), Ok(vec![]));
    // Who changes it does not let it go on.
    play.yes(STAFF, set(TemplateTerms { lead_min: 15, ..terms() }, 2));
    assert_eq!(play.status(), PAUSED);
    play.yes(STAFF, resume(3));
    assert_eq!(play.state.deadline(), Some((at("2026-12-02", "07:45"), Command::Tick {})));
    play.tick();
    // One that has begun goes on, also if it is paused or removed, and what staff said is shown all the same.
    let phase = |play: &Play| play.state.shown(TemplateId::nth(1), false).unwrap().phase;
    play.yes(STAFF, pause(4));
    assert_eq!((play.status(), phase(&play)), (DUE, Some(Phase::Paused)));
    play.yes(STAFF, remove(5));
    assert_eq!((play.status(), phase(&play)), (DUE, Some(Phase::Removed)));
    play.place(&[(0, placed(1)), (1, placed(2))], play.now);
    play.tick();
    assert_eq!((play.status(), play.state.deadline()), (REMOVED, None));
    for command in [set(terms(), 6), pause(6), resume(6), set(terms(), 0)] {
        let refused = play.ask(STAFF, &command);
        assert!(matches!(refused, Err(Refusal::Unknown(_))), "{command:?}: {refused:?}");
    }
}

#[test]
fn it_ends_with_its_last_day_and_leaves_out_what_is_excepted() {
    let until = Some(date("2026-12-02"));
    let except = vec![date("2026-11-30"), date("2026-12-01")];
    let mut play = Play::set(TemplateTerms { until, except, ..terms() });
    play.tick();
    assert_eq!(play.making().day, date("2026-12-02"));
    play.tick();
    assert_eq!((play.status(), play.state.deadline()), (OVER, None));
    assert_eq!(play.state.shown(TemplateId::nth(1), true).unwrap().next, None);
    play.yes(STAFF, set(terms(), 1));
    assert_eq!((play.status(), play.making_next()), (SET, date("2026-12-03")));
    let from = Some(date("2026-12-12"));
    play.yes(STAFF, set(TemplateTerms { from, ..terms() }, 2));
    assert_eq!(play.making_next(), date("2026-12-14"), "the twelfth is a Saturday");
}

impl Play {
    fn making_next(&self) -> Date {
        self.state.next().expect("a day is to come").0
    }
}

#[test]
fn it_is_said_by_staff_who_know_its_version() {
    let play = Play::set(terms());
    assert_eq!(play.ask(STAFF, &set(terms(), 0)), Ok(vec![]), "it says so already");
    let other = TemplateTerms { name: "another".to_owned(), ..terms() };
    for expects in [0, 2] {
        for command in [set(other.clone(), expects), pause(expects), remove(expects)] {
            let late = play.ask(STAFF, &command);
            assert!(matches!(late, Err(Refusal::TooLate(_))), "{command:?}: {late:?}");
        }
    }
    let nobodys = Play { state: Template::default(), journal: Vec::new(), now: start() };
    for command in [set(terms(), 1), pause(0), resume(0), remove(0)] {
        let unknown = nobodys.ask(STAFF, &command);
        assert!(matches!(unknown, Err(Refusal::Unknown(_))), "{command:?}: {unknown:?}");
    }
    assert_eq!(nobodys.state.view(TemplateId::nth(1)), None);
    assert_eq!(nobodys.ask(SYSTEM, &Command::Tick {}), Ok(vec![]));
    for by in [
        Principal::Rider(RiderId::nth(1)),
        Principal::Driver(DriverId::nth(1)),
        Principal::Merchant(MerchantId::nth(1)),
        SYSTEM,
    ] {
        for command in [set(other.clone(), 1), pause(1), resume(1), remove(1)] {
            let refused = play.ask(by, &command);
            assert!(matches!(refused, Err(Refusal::NotYours(_))), "{by}: {refused:?}");
        }
    }
    let (day, run) = (date("2026-11-30"), RunId::nth(1));
    for command in [
        Command::Tick {},
        Command::GiveUp { day, why: String::new() },
        Command::NoteRun { day, nth: 0, run },
        Command::EndRun { day, run, is_brought: true, why: String::new() },
        Command::NoteOrders { day, orders: Vec::new(), alone_from: start() },
    ] {
        let refused = play.ask(Principal::Admin, &command);
        assert!(matches!(refused, Err(Refusal::NotYours(_))), "{command:?}: {refused:?}");
    }
    assert!(play.journal.iter().all(|event| Template::event_format(event) == KNOWN));
}

/// The field that is refused, if any is.
fn refused_for(change: impl FnOnce(&mut TemplateTerms)) -> Option<String> {
    let mut terms = terms();
    change(&mut terms);
    let nobodys = Play { state: Template::default(), journal: Vec::new(), now: start() };
    match nobodys.ask(STAFF, &set(terms, 0)) {
        Ok(_) => None,
        Err(Refusal::Invalid { field, .. }) => Some(field),
        Err(refusal) => panic!("{refusal:?}"),
    }
}

#[test]
fn what_makes_no_sense_is_refused_and_named() {
    type Change = fn(&mut TemplateTerms);
    let cases: [(&str, Change); 17] = [
        ("name", |it| it.name.clear()),
        ("preset", |it| it.preset = "two\nlines".to_owned()),
        ("orders", |it| it.orders.truncate(1)),
        ("orders", |it| it.orders = (0..21).map(order).collect()),
        ("orders.payment", |it| it.orders[1].payment = PaymentTiming::Prepay),
        ("orders.cash_on_delivery", |it| it.orders[0].cash_on_delivery = Some(0)),
        ("weekdays", |it| it.weekdays.clear()),
        ("weekdays", |it| it.weekdays.push(Weekday::Monday)),
        ("lead_min", |it| it.lead_min = 0),
        ("lead_min", |it| it.lead_min = 721),
        ("from", |it| it.from = Some(date("2031-12-10"))),
        ("until", |it| {
            (it.from, it.until) = (Some(date("2026-12-02")), Some(date("2026-12-01")));
        }),
        ("until", |it| it.until = Some(date("2026-11-29"))),
        // The only day that is left is excepted.
        ("until", |it| {
            it.until = Some(date("2026-11-30"));
            it.except = vec![date("2026-11-30")];
        }),
        ("except", |it| it.except = vec![date("2026-12-01"); 2]),
        ("except", |it| {
            let days = std::iter::successors(Some(date("2027-01-01")), |it| Some(it.next()));
            it.except = days.take(65).collect();
        }),
        ("until", |it| (it.weekdays, it.until) = (vec![Weekday::Sunday], Some(date("2026-12-05")))),
    ];
    for (n, (field, change)) in cases.into_iter().enumerate() {
        assert_eq!(refused_for(change).as_deref(), Some(field), "{n}");
    }
    assert_eq!(refused_for(|_| ()), None);
    assert_eq!(refused_for(|it| it.from = Some(date("2031-11-30"))), None);
    assert_eq!(refused_for(|it| it.until = Some(date("2026-11-30"))), None);
}

#[test]
fn orders_wait_for_the_one_who_is_named_until_they_are_due_and_else_for_two_minutes() {
    let mut play = Play::set(terms());
    play.tick();
    let making = play.making().clone();
    assert_eq!(making.waits_until(making.begun_at), making.begun_at + 2 * MINUTE);
    let looks_at = making.due - 15 * MINUTE;
    assert_eq!(making.waits_until(looks_at), looks_at + 2 * MINUTE);
    let named = TemplateTerms { driver: Some(DriverId::nth(1)), ..terms() };
    let making = Making { terms: named, ..making };
    assert_eq!(making.waits_until(looks_at), making.due);
    assert_eq!(making.waits_until(making.due), making.due + 2 * MINUTE, "one that is late");
}

/// Clocks of a brand are as far ahead all year: nothing is ever twice, or left out, because others put theirs forward.
#[test]
fn from_the_first_to_the_last_days_are_a_day_apart() {
    let (from, until, leap) = (date("2027-01-31"), date("2028-03-01"), date("2028-02-29"));
    let weekdays = Weekday::iter().collect();
    let bounds = TemplateTerms { from: Some(from), until: Some(until), ..terms() };
    let terms = TemplateTerms { weekdays, except: vec![leap], ..bounds };
    for offset_min in [-720, 0, 60, OFFSET_MIN, 840] {
        let next = |last| next_day(&terms, offset_min, start(), last);
        let all = std::iter::successors(next(None), |(day, _)| next(Some(*day)));
        let all: Vec<(Date, Timestamp)> = all.collect();
        assert_eq!((all[0].0, all[all.len() - 1].0), (from, until), "{offset_min}");
        // The first and the last are among them, and the one that is excepted is not.
        assert_eq!(all.len(), (until.days() - from.days()) as usize, "{offset_min}");
        let apart = |two: &[(Date, Timestamp)]| two[1].1.since(two[0].1);
        let odd: Vec<_> = all.windows(2).filter(|two| apart(two) != DAY).collect();
        assert_eq!(odd.len(), 1, "{offset_min}: {odd:?}");
        assert_eq!((odd[0][1].0, apart(odd[0])), (leap.next(), 2 * DAY), "{offset_min}");
    }
}

proptest! {
    /// Whatever is said of it and whenever it is asked: no day is twice, none before it is said, and it always goes on.
    #[test]
    fn no_day_is_made_twice_whatever_is_said_and_whoever_sleeps(
        steps in prop::collection::vec((0_u8..8, 0_u64..50, 0_u16..1_440, 0_u8..127), 1..60)
    ) {
        let mut play = Play::set(terms());
        let mut n_said = 1;
        for (step, hours, minute, days) in steps {
            play.now = play.now + Duration::from_secs(hours * HOUR.as_secs());
            let said = match step {
                0 => {
                    let weekdays = Weekday::iter().zip(0_u8..).filter(|(_, n)| (days >> *n) & 1 == 1);
                    let weekdays = weekdays.map(|(it, _)| it).collect();
                    let at = TimeOfDay::new(minute).unwrap();
                    Some(set(TemplateTerms { weekdays, at, ..terms() }, n_said))
                }
                1 => Some(pause(n_said)),
                2 => Some(resume(n_said)),
                _ => None,
            };
            if let Some(said) = said {
                let events = play.ask(STAFF, &said).unwrap_or_default();
                n_said += u32::try_from(events.len()).unwrap();
                events.iter().for_each(|event| play.state.evolve(event));
                play.journal.extend(events);
            }
            let making = play.state.making().map(|it| (it.day, it.unplaced().next()));
            if let (3, Some((day, Some(nth)))) = (step, making) {
                let orders = vec![PlacedOne { nth, placing: placed(nth.into()) }];
                play.yes(SYSTEM, Command::NoteOrders { day, orders, alone_from: play.now });
            }
            if step >= 4 {
                let events = play.ask(SYSTEM, &Command::Tick {}).unwrap();
                events.iter().for_each(|event| play.state.evolve(event));
                play.journal.extend(events);
                let left = play.state.deadline().filter(|(due, _)| *due <= play.now);
                prop_assert!(left.is_none() || play.journal.len() >= DAYS_MAX, "it does not go on");
            }
        }
        let (mut began, mut last) = (0, None);
        for event in &play.journal {
            if let Event::Begun { day, due, .. } | Event::Missed { day, due, .. } = event {
                prop_assert!(last < Some(*day), "{day} comes twice, or too late");
                prop_assert!(start() < *due, "it was not there yet");
                last = Some(*day);
            }
            began += usize::from(matches!(event, Event::Begun { .. }));
        }
        let settled = play.journal.iter().filter(|it| matches!(it, Event::Settled { .. })).count();
        prop_assert_eq!(began, settled + usize::from(play.state.making().is_some()));
        // Its journal says what it is.
        let mut again = Template::default();
        play.journal.iter().for_each(|event| again.evolve(event));
        prop_assert_eq!(&again, &play.state);
        let bytes = crate::format::encode(&play.state, KNOWN);
        let (read, _) = crate::format::decode::<Template>(&bytes).unwrap();
        prop_assert_eq!(read, play.state);
    }

    #[test]
    fn the_next_day_is_the_first_that_is_meant(
        since_h in 0_u64..2_000, days in 1_u8..128, minute in 0_u16..1_440, offset_min in -720_i32..=840
    ) {
        let weekdays = Weekday::iter().zip(0_u8..).filter(|(_, n)| (days >> *n) & 1 == 1);
        let weekdays: Vec<Weekday> = weekdays.map(|(it, _)| it).collect();
        let time = TimeOfDay::new(minute).unwrap();
        let terms = TemplateTerms { weekdays: weekdays.clone(), at: time, ..terms() };
        let since = start() + Duration::from_secs(since_h * 3_600);
        let (day, due) = next_day(&terms, offset_min, since, None).unwrap();
        prop_assert!(since < due && weekdays.contains(&day.weekday()));
        prop_assert!(due.ms_since(since) <= u64::try_from((8 * DAY).as_millis()).unwrap());
        // None between.
        let mut before = Date::at(since, offset_min);
        while before < day {
            let is_past = before.moment(time, offset_min) <= since;
            prop_assert!(is_past || !weekdays.contains(&before.weekday()));
            before = before.next();
        }
    }
}
