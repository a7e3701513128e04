use super::*;
use proptest::prelude::*;
use protocol::{
    DriverId, JobId, OfferId, OfferStatus, OrderId, Point, RiderId, SessionId, changes::Changed,
    view::RiderView, work::OrderAction,
};
use std::collections::{BTreeMap, HashMap};

const HEARTBEAT_MS: u64 = 10_000;
const HOUR: Duration = Duration::from_secs(3_600);

/// A client, what it said, and what it told its app; time passes when the test says so.
struct Stage {
    core: Core,
    now: Instant,
    began: Instant,
    asked_for_tokens: usize,
    opened: Vec<usize>,
    said: Vec<ClientFrame>,
    told: Vec<Event>,
    n_sessions: u64,
}

impl Stage {
    fn new(habits: Habits) -> Self {
        let now = Instant::now();
        let core = Core::new(habits, now);
        let (opened, said, told) = (Vec::new(), Vec::new(), Vec::new());
        Self { core, now, began: now, asked_for_tokens: 0, opened, said, told, n_sessions: 0 }
    }

    /// One that was let in.
    fn open() -> Self {
        let mut stage = Self::new(Habits::default());
        stage.go();
        stage.enter(None);
        stage
    }

    /// Does what is to be done now.
    fn go(&mut self) {
        while let Some(act) = self.core.next(self.now) {
            match act {
                Act::AskToken => {
                    self.asked_for_tokens += 1;
                    self.core.token(Some(format!("token {}", self.asked_for_tokens)), self.now);
                }
                Act::Open { address } => self.opened.push(address),
                Act::Say(frame) => self.said.push(frame),
                Act::Close { .. } => {}
                Act::Tell(event) => self.told.push(event),
            }
        }
    }

    fn pass(&mut self, time: Duration) {
        self.now += time;
        self.go();
    }

    fn clock(&self) -> Timestamp {
        Timestamp(1_000_000) + self.now.duration_since(self.began)
    }

    fn hear(&mut self, frame: ServerFrame) {
        self.core.heard(frame, self.now);
        self.go();
    }

    /// The socket opens, and the node lets it in.
    fn enter(&mut self, resumed: Option<bool>) {
        self.core.opened(self.now);
        self.go();
        self.n_sessions += 1;
        self.hear(hello(self.n_sessions, self.clock()));
        self.hear(welcome(self.clock() + HOUR, resumed.or(Some(false))));
    }

    fn close(&mut self, code: Option<u16>) {
        self.core.closed(code, self.now);
        self.go();
    }

    /// Comes back after whatever pause there is.
    fn come_back(&mut self, resumed: bool) {
        self.pass(Duration::from_secs(60));
        self.enter(Some(resumed));
    }

    fn state(&self) -> State {
        let states = self.told.iter().rev();
        states
            .filter_map(|event| if let Event::State(state) = event { Some(state) } else { None })
            .next()
            .unwrap()
            .clone()
    }

    fn pause(&self) -> Duration {
        let State::Waiting { until } = self.state() else { panic!("{:?}", self.state()) };
        until.duration_since(self.now)
    }
}

fn hello(session: u64, server_time: Timestamp) -> ServerFrame {
    ServerFrame::Hello {
        session: SessionId::nth(session),
        server_time,
        heartbeat_ms: HEARTBEAT_MS,
        frame_bytes_max: 65_536,
        frames_per_s: 20,
        commands_per_s: 10,
        commands_max: 16,
        topics_max: 64,
        resume_ms: 120_000,
    }
}

fn welcome(expires_at: Timestamp, resumed: Option<bool>) -> ServerFrame {
    let principal = Principal::Rider(RiderId::nth(1));
    ServerFrame::Welcome { principal, expires_at, resumed, regions: Vec::new() }
}

fn wish(n: u64) -> Wish {
    Wish::Order { id: OrderId::nth(n), action: OrderAction::Rate { stars: 5 } }
}

fn done(id: CommandId) -> Outcome {
    Outcome::Ok(protocol::frame::Done { actor: id.to_string(), version: 1 })
}

fn at(lat: f64) -> Fix {
    Fix {
        at: Point { lat, lon: 30.0 },
        sampled_at: Timestamp(0),
        heading_deg: None,
        speed_mps: None,
        accuracy_m: None,
        mock: false,
    }
}

fn offer_ended(n: u64) -> Push {
    Push::OfferEnded { offer: OfferId::nth(n), status: OfferStatus::Expired }
}

fn n_commands(said: &[ClientFrame]) -> usize {
    said.iter().filter(|frame| matches!(frame, ClientFrame::Command { .. })).count()
}

fn answers(told: &[Event]) -> Vec<CommandId> {
    let answer = |event: &Event| if let Event::Answered(it) = event { Some(it.id) } else { None };
    told.iter().filter_map(answer).collect()
}

fn pushed(told: &[Event]) -> Vec<(PushId, Push)> {
    let push = |event: &Event| {
        if let Event::Push { id, push } = event { Some((*id, push.clone())) } else { None }
    };
    told.iter().filter_map(push).collect()
}

#[test]
fn after_a_drop_it_says_where_it_was() {
    let mut stage = Stage::open();
    stage.hear(ServerFrame::Heartbeat { server_time: stage.clock(), heartbeat_ms: None });
    stage.core.unreadable("a newer kind of frame".to_owned(), stage.now);
    stage.close(None);
    stage.said.clear();
    stage.pass(Duration::from_secs(60));
    stage.core.opened(stage.now);
    stage.go();
    let resume = Resume { session: SessionId::nth(1), heard: 4 };
    let identify = ClientFrame::Identify { token: "token 1".to_owned(), resume: Some(resume) };
    assert_eq!(stage.said, std::slice::from_ref(&identify));
    // Cut off before its welcome: the place is still that of the last session that said one.
    stage.hear(hello(9, stage.clock()));
    stage.close(None);
    stage.said.clear();
    stage.pass(Duration::from_secs(60));
    stage.core.opened(stage.now);
    stage.go();
    assert_eq!(stage.said, [identify]);
}

/// One that nobody waits for.
fn at_rest(seed: u64) -> Stage {
    let mut stage = Stage::new(Habits { seed, ..Habits::default() });
    stage.go();
    stage.enter(None);
    let longer = Some(HEARTBEAT_MS * 11);
    stage.hear(ServerFrame::Heartbeat { server_time: stage.clock(), heartbeat_ms: longer });
    stage
}

#[test]
fn whoever_is_cut_off_at_rest_lets_those_who_have_a_job_come_back_first() {
    let most = Habits::default().pause_max;
    let mut pauses: Vec<_> = (0..200)
        .map(|seed| {
            let mut stage = at_rest(seed);
            stage.close(None);
            stage.pause()
        })
        .collect();
    pauses.sort();
    assert!(pauses[100] > most / 3 && pauses[100] < most * 2 / 3, "{:?}", pauses[100]);
    assert!(pauses[199] <= most && pauses[199] > most / 10 * 9, "{:?}", pauses[199]);
}

#[test]
fn whoever_wants_something_is_not_at_rest() {
    let first = Habits::default().pause_first;
    for seed in 0..50 {
        let wants: [fn(&mut Core, Instant); 3] = [
            |core, now| core.command(CommandId::nth(1), wish(1), now).unwrap(),
            |core, _| core.follow(Topic::Order(OrderId::nth(1))),
            |core, _| core.position(at(-1.9)),
        ];
        for want in wants {
            let mut before = at_rest(seed);
            want(&mut before.core, before.now);
            before.core.closed(None, before.now);
            before.go();
            assert!(before.pause() <= first, "{:?}", before.pause());
        }
        let ends: [fn(&mut Core, Instant); 2] =
            [|core, _| core.rouse(), |core, now| core.retry_now(now)];
        for end in wants.into_iter().chain(ends) {
            let mut after = at_rest(seed);
            after.close(None);
            end(&mut after.core, after.now);
            after.pass(first);
            assert_eq!(after.opened.len(), 2, "it comes back soon");
        }
        let mut moved = at_rest(seed);
        let refused = Refused::new(Code::Draining, "leaving").retry_after_ms(0);
        moved.hear(ServerFrame::Goodbye { refused });
        moved.close(Some(1012));
        assert!(
            moved.pause() <= first,
            "whoever is told when to go goes then: {:?}",
            moved.pause()
        );
        let mut busy = at_rest(seed);
        let usual = Some(HEARTBEAT_MS);
        busy.hear(ServerFrame::Heartbeat { server_time: busy.clock(), heartbeat_ms: usual });
        busy.close(None);
        assert!(busy.pause() <= first, "{:?}", busy.pause());
    }
}

#[test]
fn what_was_said_and_is_not_known_to_have_arrived_is_still_wanted() {
    let first = Habits::default().pause_first;
    let rests = |topic: Topic, heard: Option<ServerFrame>| {
        let mut pauses = (0..50).map(|seed| {
            let mut stage = at_rest(seed);
            stage.core.follow(topic.clone());
            stage.go();
            assert_eq!(stage.said[1], ClientFrame::Subscribe(topic.clone()));
            heard.iter().for_each(|frame| stage.hear(frame.clone()));
            stage.close(None);
            stage.pause()
        });
        pauses.any(|pause| pause > first)
    };
    let view = RiderView { id: RiderId::nth(1), version: 1, jobs: Vec::new() };
    let beat = ServerFrame::Heartbeat { server_time: Timestamp(0), heartbeat_ms: None };
    let order = Topic::Order(OrderId::nth(1));
    assert!(!rests(Topic::Me, None) && !rests(order.clone(), None));
    assert!(!rests(order, Some(beat.clone())), "what it follows it has not heard of");
    assert!(rests(Topic::Me, Some(view.into())));
    assert!(rests(Topic::Me, Some(beat)), "of a rider who never ordered there is nothing to tell");
}

#[test]
fn whoever_knows_of_nothing_is_at_rest_also_where_its_way_died_without_a_word() {
    let first = Habits::default().pause_first;
    let mut pauses = (0..50).map(|seed| {
        let mut stage = at_rest(seed);
        stage.core.follow(Topic::Me);
        stage.go();
        stage.hear(ServerFrame::Heartbeat { server_time: stage.clock(), heartbeat_ms: None });
        // The next heartbeat is said, and nothing comes.
        stage.pass(Duration::from_millis(HEARTBEAT_MS * 11 / 2));
        stage.pass(UNHEARD_MAX);
        stage.pause()
    });
    assert!(pauses.any(|pause| pause > first * 20));
}

#[test]
fn one_view_is_what_all_who_asked_for_it_want() {
    let mut stage = Stage::open();
    let driver = DriverId::nth(1);
    for topic in [Topic::Me, Topic::Driver(driver)] {
        stage.core.follow(topic);
    }
    stage.go();
    let view = protocol::view::DriverView {
        id: driver,
        version: 1,
        status: protocol::DriverStatus::Offline,
        blocked: None,
        vehicle: None,
        jobs: Vec::new(),
        offers: Vec::new(),
        position: None,
        fleet: None,
        hint: None,
        run: None,
        grants: Vec::new(),
        ungranted: Vec::new(),
        rates: protocol::view::Rates::default(),
        shift: None,
        n_shift_no_shows: 0,
        doubted: false,
        rest: None,
    };
    stage.hear(view.into());
    assert!(stage.core.topics.iter().all(|it| it.is_sure));
}

#[test]
fn whoever_has_just_got_something_done_is_not_at_rest_until_it_is_told_so_again() {
    let first = Habits::default().pause_first;
    let pauses = |beats: Vec<Option<u64>>| {
        (0..50).map(move |seed| {
            let mut stage = at_rest(seed);
            let id = CommandId::nth(1);
            stage.core.command(id, wish(1), stage.now).unwrap();
            stage.go();
            stage.hear(ServerFrame::Result { id, outcome: done(id) });
            for heartbeat_ms in beats.iter().copied() {
                stage.hear(ServerFrame::Heartbeat { server_time: stage.clock(), heartbeat_ms });
            }
            stage.close(None);
            stage.pause()
        })
    };
    assert!(pauses(vec![None]).all(|pause| pause <= first));
    assert!(pauses(vec![Some(HEARTBEAT_MS * 22)]).any(|pause| pause > first * 20));
    // At the longest interval there is never another one to be told.
    assert!(pauses(vec![None, None]).any(|pause| pause > first * 20));
}

#[test]
fn whoever_is_told_to_go_at_rest_does_not_wait_for_others() {
    let first = Habits::default().pause_first;
    let pauses = |code| {
        (0..50).map(move |seed| {
            let mut stage = at_rest(seed);
            stage.close(code);
            stage.pause()
        })
    };
    for code in [1000, 1012, 1013, 4401, 4408] {
        assert!(pauses(Some(code)).all(|pause| pause <= first), "{code}");
    }
    // What stands for a code where there was none is none.
    assert!(pauses(Some(1006)).any(|pause| pause > first * 20));
}

#[test]
fn whoever_is_roused_waits_for_as_long_as_the_node_asks_and_a_network_that_is_back_does_not() {
    let asked = Duration::from_secs(7);
    let full = NotOpened::Refused { status: 503, retry_after: Some(asked) };
    let mut stage = Stage::new(Habits::default());
    stage.go();
    stage.core.not_opened(&full, stage.now);
    stage.core.rouse();
    stage.go();
    assert!(stage.pause() >= asked);
    stage.core.retry_now(stage.now);
    stage.go();
    assert_eq!(stage.opened.len(), 2);
}

#[test]
fn pauses_grow_are_jittered_and_have_a_bound() {
    let mut longest = Duration::ZERO;
    let mut pauses = std::collections::HashSet::new();
    for seed in 0..40 {
        let habits = Habits { seed, n_addresses: 3, ..Habits::default() };
        let (first, most) = (habits.pause_first, habits.pause_max);
        let mut stage = Stage::new(habits);
        for n in 0..12 {
            stage.go();
            stage.core.not_opened(&NotOpened::Failed("nobody there".to_owned()), stage.now);
            stage.go();
            let pause = stage.pause();
            assert!(pause <= most.min(first * 2_u32.pow(n)), "{pause:?} after {n} failures");
            longest = longest.max(pause);
            pauses.insert(pause);
            stage.now += pause;
        }
        let nexts = stage.opened.windows(2).all(|pair| pair[1] == (pair[0] + 1) % 3);
        assert!(nexts, "each failure is followed by the next node: {:?}", stage.opened);
    }
    assert!(longest > Duration::from_secs(18), "{longest:?}");
    assert!(pauses.len() > 400, "chance is in every pause");
}

#[test]
fn what_the_node_says_about_coming_back_is_obeyed() {
    let full = NotOpened::Refused { status: 503, retry_after: Some(Duration::from_secs(7)) };
    let mut stage = Stage::new(Habits::default());
    stage.go();
    stage.core.not_opened(&full, stage.now);
    stage.go();
    assert!(stage.pause() >= Duration::from_secs(7));

    // Leaving: to another node, at once.
    let mut stage = Stage::new(Habits { n_addresses: 2, ..Habits::default() });
    stage.go();
    stage.enter(None);
    let refused = Refused::new(Code::Draining, "").retry_after_ms(250);
    stage.hear(ServerFrame::Goodbye { refused: refused.clone() });
    stage.close(Some(1012));
    let pause = stage.pause();
    assert!(pause >= Duration::from_millis(250) && pause <= Duration::from_millis(750));
    stage.pass(pause);
    assert_ne!(stage.opened[0], stage.opened[1]);

    // The same, when the close code is lost on its way.
    stage.enter(None);
    stage.hear(ServerFrame::Goodbye { refused });
    stage.pass(CLOSE_MAX);
    assert!(stage.pause() <= Duration::from_millis(750));

    for code in [1002, 1007, 1008, 1009] {
        let mut stage = Stage::open();
        stage.close(Some(code));
        assert!(stage.pause() >= Habits::default().pause_max, "{code}: the same would come of it");
    }
    let mut stage = Stage::open();
    stage.close(Some(4409));
    assert_eq!(stage.state(), State::Closed(Why::Elsewhere));
    assert_eq!(stage.core.wake_at(), None);
}

#[test]
fn a_token_is_kept_until_it_is_refused_and_the_second_refusal_ends_it() {
    let mut stage = Stage::open();
    stage.close(None);
    stage.come_back(true);
    assert_eq!(stage.asked_for_tokens, 1, "it is still good");
    stage.close(Some(4401));
    stage.pass(Duration::from_secs(60));
    assert_eq!(stage.asked_for_tokens, 2);
    stage.enter(None);
    assert_eq!(stage.state(), State::Open);
    for _ in 0..2 {
        stage.close(Some(4401));
        stage.pass(Duration::from_secs(60));
        stage.core.opened(stage.now);
        stage.go();
    }
    assert!(matches!(stage.state(), State::Closed(Why::Disbelieved(_))));
    assert_eq!(stage.asked_for_tokens, 3);
}

#[test]
fn a_newer_token_is_shown_before_the_old_one_ends() {
    let mut stage = Stage::open();
    stage.said.clear();
    let beat = Duration::from_millis(HEARTBEAT_MS);
    while stage.now.duration_since(stage.began) < HOUR - RENEW_BEFORE - beat {
        stage.hear(ServerFrame::Heartbeat { server_time: stage.clock(), heartbeat_ms: None });
        stage.pass(beat);
    }
    assert_eq!(stage.asked_for_tokens, 1);
    for _ in 0..2 {
        stage.hear(ServerFrame::Heartbeat { server_time: stage.clock(), heartbeat_ms: None });
        stage.pass(beat);
    }
    let identify = ClientFrame::Identify { token: "token 2".to_owned(), resume: None };
    assert!(stage.said.contains(&identify));
    stage.told.clear();
    stage.hear(welcome(stage.clock() + HOUR, None));
    assert_eq!(stage.told, [], "nothing begins");
    assert_eq!((stage.asked_for_tokens, stage.opened.len()), (2, 1));
    stage.said.clear();
    stage.pass(Duration::from_millis(HEARTBEAT_MS / 2));
    assert_eq!(stage.said.len(), 1, "it goes on");
}

#[test]
fn silence_is_noticed_and_none_is_kept() {
    let mut stage = Stage::open();
    stage.said.clear();
    stage.pass(Duration::from_millis(HEARTBEAT_MS / 2));
    assert_eq!(stage.said, [ClientFrame::Heartbeat { heard: Some(2) }]);
    stage.pass(Duration::from_millis(HEARTBEAT_MS * 2));
    assert!(matches!(stage.state(), State::Waiting { .. }));
}

#[test]
fn an_unanswered_word_ends_the_line_long_before_silence_does() {
    let longer = Some(600_000);
    let mut stage = Stage::open();
    stage.hear(ServerFrame::Heartbeat { server_time: stage.clock(), heartbeat_ms: longer });
    stage.pass(UNHEARD_MAX * 2);
    assert_eq!(stage.state(), State::Open, "nobody was asked anything");
    stage.core.command(CommandId::nth(1), wish(1), stage.now).unwrap();
    stage.go();
    stage.pass(UNHEARD_MAX - Duration::from_secs(1));
    stage.hear(ServerFrame::Heartbeat { server_time: stage.clock(), heartbeat_ms: None });
    stage.pass(UNHEARD_MAX - Duration::from_secs(1));
    assert_eq!(stage.state(), State::Open, "something was heard meanwhile");
    stage.pass(UNHEARD_MAX);
    assert!(matches!(stage.state(), State::Waiting { .. }));
}

#[test]
fn what_is_said_at_rest_and_does_not_arrive_is_noticed_as_soon_as_what_is_answered() {
    let wants: [fn(&mut Core); 2] =
        [|core| core.follow(Topic::Order(OrderId::nth(1))), |core| core.position(at(-1.9))];
    for want in wants {
        let mut stage = at_rest(1);
        // The next heartbeat would be due a moment later.
        stage.pass(Duration::from_millis(HEARTBEAT_MS * 11 / 2 - 1));
        stage.said.clear();
        want(&mut stage.core);
        stage.go();
        assert_eq!(stage.said.len(), 2, "{:?}", stage.said);
        assert!(matches!(stage.said[1], ClientFrame::Heartbeat { .. }), "{:?}", stage.said);
        stage.pass(UNHEARD_MAX);
        assert!(matches!(stage.state(), State::Waiting { .. }));
    }
}

#[test]
fn many_positions_at_rest_ask_no_more_often_than_is_usual() {
    let mut stage = at_rest(1);
    stage.pass(Duration::from_millis(HEARTBEAT_MS));
    stage.said.clear();
    for _ in 0..20 {
        stage.core.position(at(-1.9));
        stage.pass(Duration::from_millis(HEARTBEAT_MS / 10));
        stage.hear(ServerFrame::Heartbeat { server_time: stage.clock(), heartbeat_ms: None });
    }
    let beats = stage.said.iter().filter(|it| matches!(it, ClientFrame::Heartbeat { .. }));
    assert!((3..=5).contains(&beats.count()), "{:?}", stage.said);
}

#[test]
fn what_is_not_answered_puts_off_no_heartbeat() {
    let mut stage = Stage::open();
    stage.said.clear();
    for _ in 0..6 {
        stage.core.position(at(-1.9));
        stage.pass(Duration::from_millis(HEARTBEAT_MS / 10));
    }
    assert!(stage.said.iter().any(|it| matches!(it, ClientFrame::Heartbeat { .. })));
}

#[test]
fn only_the_latest_position_waits_and_it_goes_before_commands() {
    let mut stage = Stage::new(Habits::default());
    stage.go();
    for n in 0..1_000 {
        stage.core.position(at(f64::from(n) / 100.0));
    }
    stage.core.command(CommandId::nth(1), wish(1), stage.now).unwrap();
    stage.enter(None);
    assert_eq!(stage.said[1], ClientFrame::Position(at(9.99)));
    assert_eq!((n_commands(&stage.said), stage.said.len()), (1, 3));
}

#[test]
fn commands_have_a_bound_and_are_said_one_after_the_other() {
    let mut stage = Stage::new(Habits { commands_max: 20, ..Habits::default() });
    for n in 0..20 {
        stage.core.command(CommandId::nth(n), wish(n), stage.now).unwrap();
    }
    let more = stage.core.command(CommandId::nth(99), wish(99), stage.now);
    assert_eq!(more, Err(NotTaken::Full));
    let again = stage.core.command(CommandId::nth(3), wish(3), stage.now);
    assert_eq!(again, Err(NotTaken::UnderWay));
    stage.go();
    stage.enter(None);
    assert_eq!(n_commands(&stage.said), IN_FLIGHT_MAX);
    for n in 0..20 {
        stage.hear(ServerFrame::Result { id: CommandId::nth(n), outcome: done(CommandId::nth(n)) });
        stage.pass(Duration::from_millis(200));
    }
    assert_eq!(answers(&stage.told), (0..20).map(CommandId::nth).collect::<Vec<_>>());
    let said = stage.said.iter().filter_map(|frame| {
        if let ClientFrame::Command { id, .. } = frame { Some(*id) } else { None }
    });
    assert_eq!(said.collect::<Vec<_>>(), (0..20).map(CommandId::nth).collect::<Vec<_>>());
}

#[test]
fn what_was_under_way_is_asked_for_again_as_soon_as_it_is_back() {
    let mut stage = Stage::open();
    stage.core.command(CommandId::nth(1), wish(1), stage.now).unwrap();
    stage.go();
    stage.close(None);
    stage.said.clear();
    stage.pass(stage.pause());
    stage.enter(Some(true));
    assert_eq!(n_commands(&stage.said), 1, "and not only when an answer is overdue");
}

#[test]
fn what_does_not_fit_into_a_frame_is_refused_here() {
    let mut stage = Stage::open();
    let cancel = OrderAction::Cancel { reason: "x".repeat(FRAME_BYTES_MAX) };
    let large = Wish::Order { id: OrderId::nth(1), action: cancel };
    let taken = stage.core.command(CommandId::nth(1), large, stage.now);
    assert_eq!(taken, Err(NotTaken::TooLarge));
}

#[test]
fn later_is_no_answer_until_patience_ends() {
    let patience = Some(Duration::from_secs(5));
    let mut stage = Stage::new(Habits { give_up_after: patience, ..Habits::default() });
    stage.go();
    stage.enter(None);
    let id = CommandId::nth(1);
    stage.core.command(id, wish(1), stage.now).unwrap();
    stage.go();
    let busy = Refused::new(Code::Busy, "").retry_after_ms(1_000);
    stage.hear(ServerFrame::Result { id, outcome: Outcome::Refused(busy.clone()) });
    stage.pass(Duration::from_millis(990));
    assert_eq!(n_commands(&stage.said), 1, "not before it was told to");
    stage.pass(Duration::from_millis(1_010));
    assert_eq!((n_commands(&stage.said), answers(&stage.told)), (2, vec![]));
    stage.pass(Duration::from_secs(4));
    stage.hear(ServerFrame::Result { id, outcome: Outcome::Refused(busy) });
    assert_eq!(answers(&stage.told), [id]);
    stage.hear(ServerFrame::Result { id, outcome: done(id) });
    assert_eq!(answers(&stage.told), [id], "one answer, whatever comes after it");
}

#[test]
fn what_is_refused_for_a_moment_is_wished_again_as_another_command_but_not_for_ever() {
    let mut stage = Stage::new(Habits { once_more_max: 2, ..Habits::default() });
    stage.go();
    stage.enter(None);
    let id = CommandId::nth(1);
    stage.core.command(id, wish(1), stage.now).unwrap();
    stage.go();
    let too_far = |ms: Option<u64>| {
        let refused = Refused::new(Code::TooFar, "");
        Outcome::Refused(ms.map_or(refused.clone(), |ms| refused.retry_after_ms(ms)))
    };
    let asked_as = |stage: &Stage| {
        let said = stage.said.iter().rev();
        let mut ids = said.filter_map(|frame| {
            if let ClientFrame::Command { id, .. } = frame { Some(*id) } else { None }
        });
        ids.next().unwrap()
    };
    let [second, third] = [id.once_more(), id.once_more().once_more()];
    for (was, then) in [(id, second), (second, third)] {
        assert_eq!(asked_as(&stage), was);
        stage.hear(ServerFrame::Result { id: was, outcome: too_far(Some(500)) });
        stage.pass(Duration::from_millis(490));
        assert_eq!(asked_as(&stage), was, "not before it was told to");
        stage.pass(Duration::from_millis(20));
        assert_eq!(asked_as(&stage), then, "the first answer is kept");
    }
    // Said again after a drop, it is still that one.
    stage.close(None);
    stage.said.clear();
    stage.come_back(true);
    assert_eq!((asked_as(&stage), answers(&stage.told)), (third, vec![]));
    stage.hear(ServerFrame::Result { id: third, outcome: too_far(Some(500)) });
    assert_eq!(answers(&stage.told), [id], "it is told by the name its app knows");
}

#[test]
fn what_is_refused_for_longer_or_for_good_is_not_wished_again_nor_by_whoever_keeps_account() {
    for (once_more_max, code, ms) in [
        (0, Code::TooFar, Some(500)),
        (3, Code::TooFar, None),
        (3, Code::TooEarly, Some(60_000)),
        (3, Code::TooEarly, Some(0)),
        (3, Code::Taken, Some(500)),
    ] {
        let mut stage = Stage::new(Habits { once_more_max, ..Habits::default() });
        stage.go();
        stage.enter(None);
        let id = CommandId::nth(1);
        stage.core.command(id, wish(1), stage.now).unwrap();
        stage.go();
        let mut refused = Refused::new(code, "");
        refused.retry_after_ms = ms;
        stage.hear(ServerFrame::Result { id, outcome: Outcome::Refused(refused) });
        assert_eq!(answers(&stage.told), [id], "{once_more_max} {code} {ms:?}");
    }
}

#[test]
fn too_fast_stops_all_commands_and_not_only_one() {
    let mut stage = Stage::open();
    for n in 0..3 {
        stage.core.command(CommandId::nth(n), wish(n), stage.now).unwrap();
    }
    stage.go();
    let refused = Refused::new(Code::RateLimited, "").retry_after_ms(1_000);
    stage.hear(ServerFrame::Result { id: CommandId::nth(0), outcome: Outcome::Refused(refused) });
    stage.core.command(CommandId::nth(3), wish(3), stage.now).unwrap();
    stage.pass(Duration::from_millis(999));
    assert_eq!(n_commands(&stage.said), 3);
    stage.pass(Duration::from_millis(1_001));
    assert!(n_commands(&stage.said) > 3);
}

#[test]
fn a_topic_is_said_again_unless_the_node_surely_knows_it() {
    let mut stage = Stage::open();
    let topics = [Topic::Driver(DriverId::nth(1)), Topic::Board];
    for topic in &topics {
        stage.core.follow(topic.clone());
    }
    stage.go();
    stage.hear(board(1, true));
    let subscribed = |stage: &mut Stage| {
        let said = std::mem::take(&mut stage.said).into_iter();
        let topics = said.filter_map(|frame| {
            if let ClientFrame::Subscribe(topic) = frame { Some(topic) } else { None }
        });
        topics.collect::<Vec<_>>()
    };
    assert_eq!(subscribed(&mut stage), topics);
    stage.close(None);
    stage.come_back(true);
    // Nothing was ever heard of the driver: the wish to follow it may have been lost.
    assert_eq!(subscribed(&mut stage), topics[..1]);
    stage.close(None);
    stage.come_back(false);
    assert_eq!(subscribed(&mut stage), topics);
}

fn board(seq: u64, full: bool) -> ServerFrame {
    ServerFrame::Board(Box::new(Board {
        seq,
        full,
        server_time: Timestamp(0),
        marks: Vec::new(),
        gone: Vec::new(),
        counters: protocol::view::Counters::default(),
        happenings: Vec::new(),
        attending: None,
        left_out: 0,
    }))
}

#[test]
fn a_gap_in_the_board_is_not_shown_and_asked_about_once() {
    let mut stage = Stage::open();
    stage.core.follow(Topic::Board);
    stage.go();
    for (seq, full) in
        [(4, true), (4, false), (5, false), (7, false), (8, false), (9, true), (10, false)]
    {
        stage.hear(board(seq, full));
    }
    let shown = stage.told.iter().filter_map(|event| {
        if let Event::Frame(ServerFrame::Board(board)) = event { Some(board.seq) } else { None }
    });
    assert_eq!(shown.collect::<Vec<_>>(), [4, 4, 5, 9, 10]);
    let subscribed = stage.said.iter().filter(|it| matches!(it, ClientFrame::Subscribe(_)));
    assert_eq!(subscribed.count(), 2);
}

#[test]
fn a_push_is_acknowledged_when_it_is_taken_and_not_before() {
    let mut stage = Stage::open();
    stage.said.clear();
    let push = offer_ended(1);
    for _ in 0..3 {
        stage.hear(ServerFrame::Push { n: 7, push: push.clone() });
    }
    assert_eq!(stage.said, []);
    let delivered = pushed(&stage.told);
    assert_eq!(delivered.len(), 1);
    stage.core.taken(delivered[0].0);
    stage.go();
    assert_eq!(stage.said, [ClientFrame::Ack { n: 7 }]);
    // The acknowledgement was lost, and the session too: another number for the same.
    stage.close(None);
    stage.come_back(false);
    stage.said.clear();
    stage.hear(ServerFrame::Push { n: 1, push });
    assert_eq!(stage.said, [ClientFrame::Ack { n: 1 }]);
    assert_eq!(pushed(&stage.told).len(), 1);
}

#[test]
fn pushes_that_nobody_takes_have_a_bound() {
    let mut stage = Stage::open();
    for n in 0..PUSHES_MAX as u64 + 50 {
        stage.hear(ServerFrame::Push { n, push: offer_ended(n) });
    }
    let delivered = pushed(&stage.told);
    assert_eq!(delivered.len(), PUSHES_MAX);
    stage.core.taken(delivered[0].0);
    let n = PUSHES_MAX as u64;
    stage.hear(ServerFrame::Push { n, push: offer_ended(n) });
    assert_eq!(pushed(&stage.told).len(), PUSHES_MAX + 1, "once there is room, it is heard");
}

/// What may happen to a client and its node.
#[derive(Debug, Clone, Copy)]
enum Happening {
    Wish,
    Push,
    Pass {
        ms: u64,
    },
    /// So much of what is on its way arrives; the rest and the connection are lost.
    Cut {
        arrives: usize,
    },
    /// The node forgets the session.
    Forget,
    /// The next command is refused for now.
    Busy,
    /// The app takes the pushes it has.
    Take,
}

fn happening() -> impl Strategy<Value = Happening> {
    prop_oneof![
        4 => Just(Happening::Wish),
        3 => Just(Happening::Push),
        6 => (1_u64..4_000).prop_map(|ms| Happening::Pass { ms }),
        3 => (0_usize..6).prop_map(|arrives| Happening::Cut { arrives }),
        1 => Just(Happening::Forget),
        2 => Just(Happening::Busy),
        3 => Just(Happening::Take),
    ]
}

/// A node as the protocol promises it, and a network that promises nothing.
struct World {
    core: Core,
    now: Instant,
    is_connected: bool,
    to_node: VecDeque<ClientFrame>,
    to_client: VecDeque<ServerFrame>,
    n_sessions: u64,
    /// The session that can be resumed, and all that was said in it.
    session: Option<(u64, Vec<ServerFrame>)>,
    done: BTreeMap<CommandId, u32>,
    n_busy: u32,
    pushes: BTreeMap<u64, Push>,
    n_pushes: u64,
    answers: HashMap<CommandId, u32>,
    delivered: Vec<Push>,
    untaken: Vec<PushId>,
}

impl World {
    fn new(seed: u64) -> Self {
        let now = Instant::now();
        let habits = Habits { seed, commands_max: usize::MAX, ..Habits::default() };
        Self {
            core: Core::new(habits, now),
            now,
            is_connected: false,
            to_node: VecDeque::new(),
            to_client: VecDeque::new(),
            n_sessions: 0,
            session: None,
            done: BTreeMap::new(),
            n_busy: 0,
            pushes: BTreeMap::new(),
            n_pushes: 0,
            answers: HashMap::new(),
            delivered: Vec::new(),
            untaken: Vec::new(),
        }
    }

    fn say(&mut self, frame: ServerFrame) {
        if let Some((_, said)) = &mut self.session {
            said.push(frame.clone());
        }
        if self.is_connected {
            self.to_client.push_back(frame);
        }
    }

    /// Does what the client wants done, and lets the node answer.
    fn go(&mut self) {
        while let Some(act) = self.core.next(self.now) {
            match act {
                Act::AskToken => self.core.token(Some("token".to_owned()), self.now),
                Act::Open { .. } => {
                    self.is_connected = true;
                    self.core.opened(self.now);
                }
                Act::Say(frame) => self.to_node.push_back(frame),
                Act::Close { .. } => self.lose(),
                Act::Tell(Event::Answered(answer)) => {
                    *self.answers.entry(answer.id).or_default() += 1;
                }
                Act::Tell(Event::Push { id, push }) => {
                    self.delivered.push(push);
                    self.untaken.push(id);
                }
                Act::Tell(_) => {}
            }
        }
    }

    fn lose(&mut self) {
        self.is_connected = false;
        self.to_node.clear();
        self.to_client.clear();
    }

    fn node(&mut self, frame: ClientFrame) {
        match frame {
            ClientFrame::Identify { resume, .. } => {
                self.n_sessions += 1;
                let old = self.session.take();
                let missed = match (resume, old) {
                    (Some(resume), Some((n, said))) if SessionId::nth(n) == resume.session => {
                        Some(said.into_iter().skip(resume.heard as usize).collect::<Vec<_>>())
                    }
                    _ => None,
                };
                self.session = Some((self.n_sessions, Vec::new()));
                self.say(hello(self.n_sessions, Timestamp(0)));
                self.say(welcome(Timestamp(0) + HOUR * 1_000, Some(missed.is_some())));
                match missed {
                    Some(missed) => {
                        let is_new = |frame: &ServerFrame| {
                            matches!(frame, ServerFrame::Result { .. } | ServerFrame::Push { .. })
                        };
                        missed.into_iter().filter(is_new).for_each(|frame| self.say(frame));
                    }
                    None => {
                        // What is not acknowledged is said again, and counted anew.
                        let pushes = std::mem::take(&mut self.pushes);
                        self.n_pushes = 0;
                        pushes.into_values().for_each(|push| self.push(push));
                    }
                }
            }
            ClientFrame::Command { id, .. } if self.n_busy > 0 => {
                self.n_busy -= 1;
                let busy = Refused::new(Code::Busy, "").retry_after_ms(100);
                self.say(ServerFrame::Result { id, outcome: Outcome::Refused(busy) });
            }
            ClientFrame::Command { id, .. } => {
                self.done.entry(id).or_insert(1);
                self.say(ServerFrame::Result { id, outcome: done(id) });
            }
            ClientFrame::Ack { n } => drop(self.pushes.remove(&n)),
            ClientFrame::Heartbeat { .. } => {
                self.say(ServerFrame::Heartbeat { server_time: Timestamp(0), heartbeat_ms: None });
            }
            ClientFrame::Position(_) | ClientFrame::Subscribe(_) | ClientFrame::Unsubscribe(_) => {}
        }
    }

    fn push(&mut self, push: Push) {
        self.n_pushes += 1;
        let n = self.n_pushes;
        self.pushes.insert(n, push.clone());
        self.say(ServerFrame::Push { n, push });
    }

    /// Everything that is on its way arrives.
    fn settle(&mut self) {
        loop {
            self.go();
            if let Some(frame) = self.to_node.pop_front() {
                self.node(frame);
            } else if let Some(frame) = self.to_client.pop_front() {
                self.core.heard(frame, self.now);
            } else {
                return;
            }
        }
    }

    fn happen(&mut self, n: u64, what: Happening) {
        match what {
            Happening::Wish => self.core.command(CommandId::nth(n), wish(n), self.now).unwrap(),
            Happening::Push => self.push(offer_ended(n)),
            Happening::Pass { ms } => {
                self.now += Duration::from_millis(ms);
                self.settle();
                // What is not acknowledged is said again from time to time.
                if self.is_connected && self.session.is_some() {
                    for (n, push) in self.pushes.clone() {
                        self.say(ServerFrame::Push { n, push });
                    }
                }
                self.settle();
            }
            Happening::Cut { arrives } => {
                self.go();
                for _ in 0..arrives {
                    if let Some(frame) = self.to_node.pop_front() {
                        self.node(frame);
                    }
                    if let Some(frame) = self.to_client.pop_front() {
                        self.core.heard(frame, self.now);
                    }
                    self.go();
                }
                self.lose();
                self.core.closed(None, self.now);
            }
            Happening::Forget => self.session = None,
            Happening::Busy => self.n_busy += 1,
            Happening::Take => {
                let taken = std::mem::take(&mut self.untaken);
                taken.into_iter().for_each(|id| self.core.taken(id));
            }
        }
    }
}

proptest! {
    /// However often connections break and sessions are forgotten: every command is done and answered once,
    /// every push is delivered once.
    #[test]
    fn nothing_is_lost_and_nothing_is_doubled(
        seed in any::<u64>(),
        happenings in prop::collection::vec(happening(), 1..120),
    ) {
        let mut world = World::new(seed);
        for (n, what) in happenings.iter().enumerate() {
            world.happen(n as u64, *what);
        }
        let wished = happenings.iter().filter(|it| matches!(it, Happening::Wish)).count();
        let pushed = happenings.iter().filter(|it| matches!(it, Happening::Push)).count();
        for _ in 0..600 {
            world.happen(0, Happening::Take);
            world.happen(0, Happening::Pass { ms: 500 });
        }
        prop_assert_eq!(world.done.len(), wished);
        prop_assert_eq!(world.answers.len(), wished);
        prop_assert!(world.answers.values().all(|n| *n == 1));
        prop_assert_eq!(world.delivered.len(), pushed);
        let mut unique = Vec::new();
        for push in &world.delivered {
            prop_assert!(!unique.contains(push), "{:?} came twice", push);
            unique.push(push.clone());
        }
        prop_assert!(world.pushes.is_empty(), "all were acknowledged");
    }
}

#[test]
fn what_changed_of_a_view_is_told_whole() {
    let view = |version, jobs: &[u64]| RiderView {
        id: RiderId::nth(1),
        version,
        jobs: jobs.iter().map(|n| JobId::Order(OrderId::nth(*n))).collect(),
    };
    let changed = |was: &RiderView, now: &RiderView| {
        ServerFrame::Changed(Changed::Rider(now.changes_since(was).unwrap()))
    };
    let told = |stage: &mut Stage| match stage.told.pop() {
        Some(Event::Frame(frame)) => Some(frame),
        Some(_) | None => None,
    };
    let (first, second, third) = (view(1, &[]), view(2, &[1]), view(3, &[1, 2]));
    let mut stage = Stage::open();
    stage.hear(first.clone().into());
    stage.hear(changed(&first, &second));
    assert_eq!(told(&mut stage), Some(second.clone().into()));
    // A session that goes on says again what did not arrive.
    stage.close(None);
    stage.come_back(true);
    stage.hear(changed(&second, &third));
    assert_eq!(told(&mut stage), Some(third.clone().into()));
    assert!(!stage.said.iter().any(|frame| matches!(frame, ClientFrame::Subscribe(_))));
    // One that begins anew says all of it first; whatever does not fit is asked for.
    stage.close(None);
    stage.come_back(false);
    stage.told.clear();
    stage.hear(changed(&third, &view(4, &[])));
    assert_eq!(told(&mut stage), None);
    assert_eq!(stage.said.last(), Some(&ClientFrame::Subscribe(Topic::Me)));
    stage.core.follow(Topic::Me);
    stage.go();
    stage.said.clear();
    stage.hear(changed(&third, &view(4, &[])));
    assert_eq!(stage.said, [ClientFrame::Subscribe(Topic::Me)], "as what it follows anyway");
    stage.hear(view(4, &[]).into());
    assert_eq!(told(&mut stage), Some(view(4, &[]).into()));
}

#[test]
fn its_silence_may_be_as_long_as_the_node_says() {
    let mut stage = Stage::open();
    let longer = Some(HEARTBEAT_MS * 3);
    stage.hear(ServerFrame::Heartbeat { server_time: stage.clock(), heartbeat_ms: longer });
    stage.said.clear();
    stage.pass(Duration::from_millis(HEARTBEAT_MS));
    assert_eq!(stage.said, []);
    stage.pass(Duration::from_millis(HEARTBEAT_MS / 2));
    assert_eq!(stage.said, [ClientFrame::Heartbeat { heard: Some(3) }]);
    stage.said.clear();
    stage.pass(Duration::from_millis(HEARTBEAT_MS));
    assert_eq!((stage.state(), &stage.said[..]), (State::Open, &[][..]));
    let usual = Some(HEARTBEAT_MS);
    stage.hear(ServerFrame::Heartbeat { server_time: stage.clock(), heartbeat_ms: usual });
    assert_eq!(stage.said, [ClientFrame::Heartbeat { heard: Some(4) }], "it is late already");
}
