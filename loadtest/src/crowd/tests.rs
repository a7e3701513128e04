use super::*;
use crate::{
    checker::Broken,
    measure::Op,
    trips::{Trip, Want},
};
use client::{Answer, Client, Mind, Out};
use node::{Flaws, Node};
use protocol::{
    DriverId, Principal,
    frame::{Push, ServerFrame},
    work::{DriverAction, DutyWish, Issue, OrderAction, OrderKind, RescueAction, Wish},
};
use tokio::net::TcpListener;

#[expect(clippy::wildcard_enum_match_arm, reason = "this node refuses whatever it does not know")]
mod node;

/// A small and very quick city.
fn options(trips: Vec<Trip>) -> Options {
    Options {
        drivers: 6,
        speed: 800.0,
        lasting: Duration::from_millis(600),
        drain: Duration::from_secs(12),
        streets: Streets::None,
        demand: Demand::Given(trips),
        habits: Habits { cancel: 0.0, drop_s: 0.0, accept: 1.0, decline: 0.0, ..Habits::default() },
        position_every: Duration::from_millis(200),
        ..Options::default()
    }
}

fn trips(wants: &[Want]) -> Vec<Trip> {
    let center = Point { lat: -1.9441, lon: 30.0619 };
    let door = |n: usize| center.offset_m((n * 397 % 1_000) as f64, (n * 631 % 1_000) as f64);
    wants
        .iter()
        .enumerate()
        .map(|(n, &want)| Trip { at_s: n as f64 * 40.0, want, from: door(n + 1), to: door(n + 30) })
        .collect()
}

const RIDE: Want = Want::Order(OrderKind::Ride);
const DELIVERY: Want = Want::Order(OrderKind::Delivery);

async fn go(node: &Node, options: Options) -> Report {
    let target = Target::new(&node.url, node::token).unwrap();
    run(options, target, CancellationToken::new(), |_| {}).await.unwrap()
}

async fn measured(node: &Node, options: Options) -> Record {
    let target = Target::new(&node.url, node::token).unwrap();
    let stop = CancellationToken::new();
    play(options, target, Nodes::default(), stop, |_| {}).await.unwrap()
}

fn broken(report: &Report) -> Vec<Broken> {
    let mut broken: Vec<Broken> =
        report.violation_details.iter().map(|violation| violation.broken).collect();
    broken.dedup();
    broken
}

#[tokio::test]
async fn rides_deliveries_and_rescues_run_to_their_end() {
    let node = Node::start(Flaws::default()).await;
    let wants = [
        RIDE,
        DELIVERY,
        Want::Rescue(Issue::FlatTyre),
        Want::Rescue(Issue::Accident),
        RIDE,
        DELIVERY,
        RIDE,
        RIDE,
    ];
    let streets = Streets::Given(Arc::new(City::generate(1)));
    let report = go(&node, Options { streets, ..options(trips(&wants)) }).await;
    assert_eq!(report.violation_details, []);
    assert_eq!((report.orders.created, report.orders.completed), (4, 4), "{report}");
    assert_eq!((report.deliveries.created, report.deliveries.completed), (2, 2), "{report}");
    assert_eq!((report.rescues.created, report.rescues.completed), (2, 2), "{report}");
    assert_eq!(report.all().assigned, 8);
    assert_eq!((report.offer_ms.n, report.assign_ms.n), (8, 8));
    assert!((report.satisfied - 1.0).abs() < 1e-9);
    assert!(report.positions > 20 && report.commands_acked > 40);

    let said = |is_it: fn(&Wish) -> bool| node.commands().iter().any(|(_, wish)| is_it(wish));
    assert!(said(
        |wish| matches!(wish, Wish::Order { action: OrderAction::PickUp { proofs }, .. } if !proofs.is_empty())
    ));
    assert!(said(|wish| matches!(wish, Wish::Rescue { action: RescueAction::Fixed {}, .. })));
    assert!(said(|wish| matches!(
        wish,
        Wish::Rescue { action: RescueAction::ConfirmFixed { fixed: true }, .. }
    )));
    assert!(said(|wish| matches!(wish, Wish::Rescue { action: RescueAction::Unload { .. }, .. })));
}

#[tokio::test]
async fn after_a_cut_everybody_comes_back_and_goes_on() {
    let node = Node::start(Flaws::default()).await;
    let wants = [RIDE; 5];
    let crowd = go(&node, options(trips(&wants)));
    let cutter = async {
        for _ in 0..3 {
            sleep(Duration::from_millis(400)).await;
            node.cut();
        }
    };
    let (report, ()) = tokio::join!(crowd, cutter);
    assert_eq!(report.violation_details, []);
    assert!(report.reconnects >= 6, "{report}");
    assert!(node.n_connections() > 11);
    assert_eq!((report.orders.created, report.orders.completed), (5, 5), "{report}");
    assert_eq!(node.n_open(), 0);
}

#[tokio::test]
async fn a_busy_node_is_asked_again_with_the_same_command() {
    let node = Node::start(Flaws { is_busy_at_first: true, ..Flaws::default() }).await;
    let report = go(&node, options(trips(&[RIDE, DELIVERY]))).await;
    assert_eq!(report.violation_details, []);
    assert_eq!(report.all().completed, 2, "{report}");
    assert!(report.resends >= report.commands_acked);
}

#[tokio::test]
async fn a_wait_begins_when_a_rider_was_due() {
    let node = Node::start(Flaws { is_busy_at_first: true, ..Flaws::default() }).await;
    // Nobody goes off duty while an offer is on its way: this node would leave that order to nobody.
    let habits = Habits { patience_s: 1e6, duty_s: 1e9, ..options(Vec::new()).habits };
    let record = measured(&node, Options { habits, ..options(trips(&[RIDE; 8])) }).await;
    let schedule = record.schedule;
    assert_eq!((schedule.planned, schedule.started, schedule.turned_away), (8, 8, 0));
    assert!(record.commands.put_off > 0 && record.commands.errors() < 1e-9, "{record}");
    let place = &record.took[&Op::Place];
    let (corrected, service) = (place.corrected.spread(), place.service.spread());
    assert_eq!((corrected.n, service.n), (8, 8));
    // "Later" is no answer: at least the pause until it was asked again is in it, and connecting only in one of them.
    assert!(service.p50 > 50.0 && corrected.p50 >= service.p50, "{corrected:?} {service:?}");
    for op in [Op::FirstOffer, Op::DriverFound] {
        assert_eq!(record.took[&op].corrected.n(), 8, "{op}: {record}");
    }
    let done: u64 = record.timeline.slots.iter().map(|slot| slot.done).sum();
    assert_eq!(done, record.audit.acked, "a chart shows every answer");
}

#[tokio::test]
async fn what_drivers_do_is_measured_until_their_riders_see_it() {
    let node = Node::start(Flaws::default()).await;
    let lasting = Duration::from_secs(2);
    let record = measured(&node, Options { lasting, ..options(trips(&[RIDE; 3])) }).await;
    for op in [Op::Accept, Op::Step, Op::Heard, Op::Welcome] {
        let measured = record.took.get(&op).map_or(0, |took| took.corrected.n());
        assert!(measured > 0, "{op}: {record}");
    }
}

#[tokio::test]
async fn phones_that_are_cut_off_come_back_when_there_is_a_network() {
    let node = Node::start(Flaws::default()).await;
    let dark = Duration::from_millis(700);
    let cut = Cut { after: Duration::from_millis(200), share: 1.0, dark };
    // Long enough that whoever was cut off is due back while it counts.
    let lasting = Duration::from_secs(2);
    let habits = Habits { patience_s: 1e6, ..options(Vec::new()).habits };
    let cut_off = Options { cuts: vec![cut], lasting, habits, ..options(trips(&[RIDE; 4])) };
    let record = measured(&node, cut_off).await;
    assert_eq!(record.violation_details, []);
    assert!(record.traffic.cut >= 6 && record.traffic.lost == record.traffic.cut, "{record}");
    assert!(record.took[&Op::Back].corrected.n() >= 6);
    assert_eq!(record.jobs.all().completed, 4, "{record}");
    assert!(record.events[0].what.starts_with("100 % of phones cut off"), "{:?}", record.events);
}

#[tokio::test]
async fn phones_with_bad_networks_wait_longer_and_lose_nothing() {
    let node = Node::start(Flaws::default()).await;
    let delay = Duration::from_millis(60);
    let network = Network {
        share: 1.0,
        delay,
        jitter: Duration::ZERO,
        stall_every: Duration::ZERO,
        stall: Duration::ZERO,
        drop_every: Duration::from_secs(2),
        bytes_per_s: 100_000,
    };
    let record =
        measured(&node, Options { network: Some(network), ..options(trips(&[RIDE; 3])) }).await;
    assert_eq!(record.violation_details, []);
    assert_eq!(record.jobs.all().completed, 3, "{record}");
    let service = record.took[&Op::Place].service.spread();
    assert!(service.p50 >= 119.0, "there and back: {service:?}");
    let traffic = record.traffic;
    // This node says nothing by itself, and whoever hears nothing for too long breaks off, too.
    assert!(traffic.cut > 0 && traffic.lost >= traffic.cut, "lost, and by us: {traffic:?}");
}

/// A driver who says one thing, when it has been connected for so long for the `at`th time.
struct Terse {
    at: u32,
    after: Duration,
    n_welcomed: u32,
    wake_at: Instant,
    /// Its network is gone as soon as it has said it, for so long.
    dark: Option<Duration>,
    has_said: bool,
    is_answered: bool,
}

impl Terse {
    fn new(at: u32, after: Duration, dark: Option<Duration>) -> Self {
        let wake_at = Instant::now();
        Self { at, after, n_welcomed: 0, wake_at, dark, has_said: false, is_answered: false }
    }
}

impl Mind for Terse {
    fn principal(&self) -> Principal {
        Principal::Driver(DriverId::nth(1))
    }

    fn welcomed(&mut self, _resumed: bool, now: Instant, _out: &mut Out) {
        self.n_welcomed += 1;
        self.wake_at = now + self.after;
    }

    fn lost(&mut self, _now: Instant) {}

    fn pushed(&mut self, _push: Push, _now: Instant) {}

    fn hear(&mut self, _frame: ServerFrame, _now: Instant, _out: &mut Out) {}

    fn answered(&mut self, _answer: Answer, _now: Instant, _out: &mut Out) {
        self.is_answered = true;
    }

    fn wake(&mut self, now: Instant, out: &mut Out) {
        self.wake_at = now + Duration::from_secs(60);
        if self.n_welcomed == self.at && !std::mem::replace(&mut self.has_said, true) {
            let action = DriverAction::SetDuty { duty: DutyWish::Off, vehicle: None };
            out.command(Wish::Driver { id: None, action });
            if let Some(dark) = self.dark {
                out.go_dark(dark);
            }
        }
    }

    fn wake_at(&self) -> Instant {
        self.wake_at
    }

    fn is_done(&self) -> bool {
        self.is_answered
    }
}

/// What was measured of this driver, who goes home when it has its answer, or when `until` is over.
async fn of_terse(node: &Node, mind: Terse, until: impl Future<Output = ()>) -> Record {
    let target = Target::new(&node.url, node::token).unwrap();
    let lasting = Duration::from_secs(60);
    let options = Options { lasting, ..options(Vec::new()) };
    let city = Arc::new(City::open_ground("here", Point { lat: -1.9441, lon: 30.0619 }, 6_000.0));
    let world = World::new(options, target, Vec::new(), city, Vec::new(), Nodes::default(), 0);
    let (world, home) = (Arc::new(world), CancellationToken::new());
    world.go_out();
    let mut living = tokio::spawn(Client::new(Arc::clone(&world), mind, 1).live(home.clone()));
    tokio::select! {
        done = &mut living => done.unwrap(),
        () = until => {
            world.stop_counting();
            home.cancel();
            living.await.unwrap();
        }
    }
    world.record()
}

#[tokio::test]
async fn what_is_wanted_long_after_coming_back_was_not_owed_before() {
    let node = Node::start(Flaws::default()).await;
    let after = Duration::from_millis(1_500);
    let cutting = async {
        sleep(Duration::from_millis(1_200)).await;
        node.cut();
        sleep(Duration::from_secs(30)).await;
    };
    let record = of_terse(&node, Terse::new(2, after, None), cutting).await;
    assert_eq!((record.traffic.lost, record.commands.done), (1, 1), "{record}");
    let took = record.took[&Op::Other].corrected.spread();
    assert!(took.max < 800.0, "it was due when it was said: {took:?}");
}

#[tokio::test]
async fn the_time_a_phone_is_off_is_nobodys_delay() {
    let node = Node::start(Flaws::default()).await;
    let dark = Duration::from_millis(1_500);
    let mind = Terse::new(1, Duration::from_millis(100), Some(dark));
    let record = of_terse(&node, mind, sleep(Duration::from_secs(30))).await;
    assert_eq!((record.traffic.cut, record.commands.done), (1, 1), "{record}");
    assert!(record.lasted_s > dark.as_secs_f64(), "it was away: {record}");
    let took = &record.took[&Op::Other];
    let (corrected, service) = (took.corrected.spread(), took.service.spread());
    assert!(corrected.max < 800.0 && service.max < 800.0, "{corrected:?} {service:?}");
}

#[tokio::test]
async fn whoever_has_no_network_in_the_end_has_withdrawn_its_wish() {
    let node = Node::start(Flaws::default()).await;
    let mind = Terse::new(1, Duration::from_millis(100), Some(Duration::from_secs(60)));
    let record = of_terse(&node, mind, sleep(Duration::from_millis(800))).await;
    let commands = &record.commands;
    assert_eq!((commands.wanted, commands.done, commands.withdrawn), (1, 0, 1), "{record}");
    assert_eq!((commands.unanswered(), record.commands.errors()), (0, 0.0));
}

#[tokio::test]
async fn whoever_leaves_hears_first_what_came_of_its_last_word() {
    let node = Node::start(Flaws { has_no_matching: true, ..Flaws::default() }).await;
    // Everybody's shift ends half a second after riders have begun to ask; the node shows that before it answers.
    let until_s = 8.0 * 3_600.0 + 800.0;
    let short = Options {
        shifts: vec![Shift { from_s: 0.0, until_s, share: 1.0 }],
        lasting: Duration::from_secs(2),
        drain: Duration::from_millis(500),
        habits: Habits { duty_s: 1e9, ..options(Vec::new()).habits },
        ..options(Vec::new())
    };
    let record = measured(&node, short).await;
    let off = |(_, wish): &&(Principal, Wish)| {
        matches!(
            wish,
            Wish::Driver { action: DriverAction::SetDuty { duty: DutyWish::Off, .. }, .. }
        )
    };
    assert_eq!(node.commands().iter().filter(off).count(), 6);
    assert_eq!((record.commands.wanted, record.commands.unanswered()), (6, 0), "{record}");
}

#[tokio::test]
async fn what_nobody_has_read_since_is_read_by_the_audit() {
    let node = Node::start(Flaws { has_no_matching: true, ..Flaws::default() }).await;
    let waiting = Options {
        drain: Duration::from_millis(100),
        audits: true,
        habits: Habits { patience_s: 1e6, ..options(Vec::new()).habits },
        ..options(trips(&[RIDE, DELIVERY]))
    };
    let record = measured(&node, waiting).await;
    let Audit { jobs, confirmed, reread, missing, unread, .. } = record.audit;
    assert_eq!((jobs, confirmed, reread, missing, unread), (2, 2, 2, 0, 0), "{record}");
}

#[test]
fn hands_play_all_of_a_crowd_and_nobody_twice() {
    let city = Arc::new(City::generate(2));
    let trips = trips::invent(&city, 3_000.0, 100.0, Mix::default(), 2);
    let mut seconds: Vec<f64> = Vec::new();
    for n in 0..3 {
        let (town, mine) = dealt(Hand { n, of: 3 }, Arc::clone(&city), trips.clone());
        let east = town.center.lon - city.center.lon;
        assert!((east - f64::from(n)).abs() < 1e-9, "{east}");
        for trip in &mine {
            let near = town.nearest(trip.from).map(|(_, far_m)| far_m);
            assert!(near.is_some_and(|far_m| far_m < 500.0), "{near:?}");
        }
        seconds.extend(mine.iter().map(|trip| trip.at_s));
    }
    seconds.sort_by(f64::total_cmp);
    assert_eq!(seconds, trips.iter().map(|trip| trip.at_s).collect::<Vec<_>>());
    let riders = |n| (0..50).map(move |k| Hand { n, of: 3 }.nth(k)).collect::<Vec<_>>();
    assert!(riders(0).iter().all(|it| !riders(1).contains(it)));
}

#[tokio::test]
async fn riders_give_up_when_nobody_comes() {
    let node = Node::start(Flaws { has_no_matching: true, ..Flaws::default() }).await;
    let impatient = Options {
        habits: Habits { patience_s: 300.0, ..options(Vec::new()).habits },
        ..options(trips(&[RIDE, Want::Rescue(Issue::Stuck)]))
    };
    let report = go(&node, impatient).await;
    assert_eq!(report.all().cancelled_by_rider, 2, "{report}");
    assert_eq!(report.all().assigned, 0);
    assert_eq!(report.violations, 0);
}

#[tokio::test]
async fn drivers_decline_ignore_and_rest_as_they_tend_to() {
    let node = Node::start(Flaws::default()).await;
    let lazy = Options {
        habits: Habits {
            accept: 0.5,
            decline: 0.5,
            duty_s: 200.0,
            rest_s: 30.0,
            drop_s: 400.0,
            ..options(Vec::new()).habits
        },
        ..options(trips(&[RIDE; 6]))
    };
    let report = go(&node, lazy).await;
    assert_eq!(report.violation_details, []);
    assert!(report.reconnects > 0);
    let declined = |(_, wish): &(Principal, Wish)| {
        matches!(wish, Wish::Driver { action: DriverAction::DeclineOffer { .. }, .. })
    };
    assert!(node.commands().iter().any(declined));
    let off = |(_, wish): &(Principal, Wish)| {
        matches!(wish, Wish::Driver { action: DriverAction::SetDuty { vehicle: None, .. }, .. })
    };
    assert!(node.commands().iter().any(off));
}

#[tokio::test]
async fn a_node_that_answers_twice_is_caught() {
    let node = Node::start(Flaws { answers_twice: true, ..Flaws::default() }).await;
    let report = go(&node, options(trips(&[RIDE]))).await;
    assert_eq!(broken(&report), [Broken::ManyAnswers]);
    assert_eq!(report.exit_code(), 3);
}

#[tokio::test]
async fn a_node_that_gives_one_ride_to_two_is_caught() {
    let node = Node::start(Flaws { gives_one_ride_to_two: true, ..Flaws::default() }).await;
    let report = go(&node, options(trips(&[RIDE]))).await;
    assert!(broken(&report).contains(&Broken::TwoTruths), "{:?}", report.violation_details);
}

#[tokio::test]
async fn a_node_that_forgets_what_it_acknowledged_is_caught() {
    let node = Node::start(Flaws { forgets_the_last_command: true, ..Flaws::default() }).await;
    let quick = Options {
        habits: Habits { rate: 0.0, ..options(Vec::new()).habits },
        ..options(trips(&[RIDE]))
    };
    let report = go(&node, quick).await;
    assert_eq!(broken(&report), [Broken::AckedNotVisible]);
}

#[tokio::test]
async fn the_crowd_goes_home_when_told() {
    let node = Node::start(Flaws::default()).await;
    let target = Target::new(&node.url, node::token).unwrap();
    let stop = CancellationToken::new();
    stop.cancel();
    let began = Instant::now();
    let report = run(options(trips(&[RIDE])), target, stop, |_| {}).await.unwrap();
    assert!(began.elapsed() < Duration::from_secs(10));
    assert_eq!(report.violations, 0);
}

#[tokio::test]
async fn a_node_that_lets_people_in_is_found() {
    let node = Node::start(Flaws::default()).await;
    let target = Target::new(&node.url, node::token).unwrap();
    assert_eq!(target.knock().await, Ok(Vec::new()));
}

#[tokio::test]
async fn an_absent_node_is_named_and_does_not_matter_if_another_is_there() {
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = gone.local_addr().unwrap();
    drop(gone);
    let absent = format!("ws://{at}/v1/ws");
    let alone = Target::new(&absent, node::token).unwrap().knock().await;
    assert!(matches!(&alone, Err(NoEntry::Absent { at: named, .. }) if *named == at.to_string()));
    let node = Node::start(Flaws::default()).await;
    let both = Target::of(&[absent, node.url.clone()], Reach::Loopback, node::token);
    assert_eq!(both.unwrap().knock().await.map(|shut| shut.len()), Ok(1));
}

#[tokio::test]
async fn whoever_answers_and_is_no_node_is_told_apart() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("ws://{}/v1/ws", silent.local_addr().unwrap());
    let shut = Target::new(&url, node::token).unwrap().knock().await;
    assert!(matches!(shut, Err(NoEntry::Shut { .. })), "{shut:?}");
}

#[tokio::test]
async fn tokens_that_are_not_believed_or_not_to_be_had_are_told_at_once() {
    let node = Node::start(Flaws { believes_nobody: true, ..Flaws::default() }).await;
    let shut = Target::new(&node.url, node::token).unwrap().knock().await;
    assert!(matches!(shut, Err(NoEntry::Disbelieved { .. })), "{shut:?}");
    let none = crate::token::Endpoint::new("http://127.0.0.1:1/token".to_owned());
    let shut = Target::new(&node.url, none).unwrap().knock().await;
    assert!(matches!(shut, Err(NoEntry::Token(_))), "{shut:?}");
}

#[tokio::test]
async fn whoever_interrupts_hears_what_was_until_then() {
    let node = Node::start(Flaws { has_no_matching: true, ..Flaws::default() }).await;
    let target = Target::new(&node.url, node::token).unwrap();
    let stop = CancellationToken::new();
    let habits = Habits { patience_s: 1e6, ..options(Vec::new()).habits };
    let endless = Options {
        lasting: Duration::from_secs(60),
        audits: true,
        habits,
        ..options(trips(&[RIDE, RIDE, DELIVERY]))
    };
    let enough = |glance: &Glance| {
        if glance.progress.jobs.created == 3 {
            stop.cancel();
        }
    };
    let record = play(endless, target, Nodes::default(), stop.clone(), enough).await.unwrap();
    assert!(record.is_interrupted && record.lasted_s < 30.0);
    assert_eq!((record.jobs.all().created, record.jobs.all().open), (3, 3));
    let Audit { jobs, unread, missing, .. } = record.audit;
    assert_eq!((jobs, unread, missing), (3, 3, 0), "nobody had the time to read them");
    assert!(record.commands.errors() < 1e-9, "who was interrupted was not let down: {record}");
    assert_eq!(record.exit_code(), 130);
}

#[tokio::test]
async fn a_node_that_falls_in_the_middle_is_an_error_and_not_an_end() {
    let node = Node::start(Flaws::default()).await;
    let target = Target::new(&node.url, node::token).unwrap();
    let lasting = Duration::from_secs(2);
    let options =
        Options { lasting, drain: Duration::from_millis(200), ..options(trips(&[RIDE; 30])) };
    let falling = async {
        sleep(Duration::from_millis(700)).await;
        node.fall();
    };
    let stop = CancellationToken::new();
    let playing = play(options, target, Nodes::default(), stop, |_| {});
    let (record, ()) = tokio::join!(playing, falling);
    let record = record.unwrap();
    assert!(!record.is_interrupted);
    assert_eq!(record.schedule.started, 30, "an open model asks on");
    assert!(record.commands.unanswered() > 0 && record.commands.errors() > 0.1, "{record}");
    assert!(record.traffic.lost > record.traffic.cut);
}

#[test]
fn a_crowd_stays_on_its_machine() {
    let target = |url: &str| Target::new(url, node::token).map(|target| target.nodes[0].at.port());
    assert_eq!(target("ws://127.0.0.1:7070/v1/ws"), Ok(7070));
    assert_eq!(target("ws://127.9.9.9/v1/ws"), Ok(80));
    let far = "ws://192.0.2.1:7070/v1/ws";
    assert_eq!(target(far), Err(NoTarget::NotHere(far.into())));
    for wrong in ["http://127.0.0.1/", "127.0.0.1:7070", "wss://127.0.0.1/v1/ws"] {
        assert_eq!(target(wrong), Err(NoTarget::Malformed(wrong.into())), "{wrong}");
    }
}

#[test]
fn two_crowds_of_one_seed_want_the_same() {
    let city = City::generate(3);
    let invent = || trips::invent(&city, 600.0, 600.0, Mix::default(), 3);
    assert_eq!(invent(), invent());
}
