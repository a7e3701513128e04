use super::*;
use crate::{
    auth::{Keys, Print},
    gateway::{Extra, Gateway},
    settings::{JournalKind, Settings},
};
use actors::{
    journal::memory::MemoryJournal,
    runtime::{Clock, System},
    zone::{self, neighbourhood},
};
use metrics_exporter_prometheus::PrometheusBuilder;
use protocol::{
    Date, Place, Point, RiderId, Weekday,
    template::{DayOutcome, TemplateDay},
    view::ZonePause,
    work::{Needs, PaymentTiming},
};
use tempfile::TempDir;

const PICKUP: Point = Point { lat: -1.9441, lon: 30.0619 };
const MINUTE: Duration = Duration::from_secs(60);
/// Longer than anything here should take.
const PATIENCE: Duration = Duration::from_secs(20);

/// That time of that day, by the clocks of the brand, which show UTC.
fn at(day: &str, time: &str) -> Timestamp {
    day.parse::<Date>().unwrap().moment(time.parse().unwrap(), 0)
}

fn delivery(n: u64) -> TemplateOrder {
    TemplateOrder {
        rider: RiderId::nth(n),
        from: Place::from(PICKUP),
        to: Place::from(PICKUP.offset_m(20.0 * n as f64, 150.0)),
        payment: PaymentTiming::Cash,
        needs: Needs::default(),
        pickup_proof: Vec::new(),
        dropoff_proof: Vec::new(),
        cash_on_delivery: None,
    }
}

/// Two deliveries, every day at eight, begun at seven.
fn terms() -> TemplateTerms {
    use Weekday::{Friday, Monday, Saturday, Sunday, Thursday, Tuesday, Wednesday};
    TemplateTerms {
        name: "the bakery's round".to_owned(),
        preset: String::new(),
        orders: vec![delivery(1), delivery(2)],
        weekdays: vec![Monday, Tuesday, Wednesday, Thursday, Friday, Saturday, Sunday],
        at: "08:00".parse().unwrap(),
        lead_min: 60,
        from: None,
        until: None,
        except: Vec::new(),
        driver: None,
    }
}

fn staff() -> Identity {
    Identity {
        principal: Principal::Dispatcher,
        scope: Scope::default(),
        fleet: None,
        token: None,
        issued_at: Timestamp(0),
        expires_at: Timestamp(u64::MAX),
        print: Print::default(),
    }
}

/// A gateway that goes on with a day when it is told to, and a template, on a Monday at one.
struct Stage {
    gateway: Gateway,
    clock: Clock,
    id: TemplateId,
    /// Where its keys are.
    _dir: TempDir,
}

impl Stage {
    async fn open() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let mut settings = Settings::read(None, Some(JournalKind::Memory)).unwrap();
        settings.gateway.listen = "127.0.0.1:0".parse().unwrap();
        settings.journal.dir = dir.path().to_path_buf();
        settings.preset.name = "reskflow".to_owned();
        settings.regions.tick_ms = 0;
        let keys = Keys::open(&settings.auth, settings.profile, &settings.journal.dir).unwrap();
        let (journal, clock) = (MemoryJournal::default(), Clock::manual(at("2026-11-30", "01:00")));
        let regions = settings.regions().unwrap();
        let system = System::start(Arc::new(journal), clock.clone(), settings.runtime, regions);
        let metrics = PrometheusBuilder::new().build_recorder().handle();
        let system = system.await.unwrap();
        let opened = Gateway::open(system, keys, &settings, metrics, Extra::default());
        let gateway = Box::pin(opened).await.unwrap();
        // One that is leaving goes on with nothing by itself; should it have looked already, there was no template.
        gateway.gate.drain.cancel();
        let command = CommandId::of_effect(b"template", 1, 0, clock.now());
        let stage = Self { gateway, clock, id: TemplateId(command.0), _dir: dir };
        let set = SetTemplate { template: terms(), reason: "the bakery asked".to_owned() };
        let staff = staff();
        let made = stage.gate().set_template(&staff, stage.id, 0, set, command);
        assert_eq!(Box::pin(made).await.unwrap().0.status, SET);
        stage
    }

    fn gate(&self) -> &Gate {
        &self.gateway.gate
    }

    fn wait_until(&self, then: Timestamp) {
        self.clock.advance(then.since(self.clock.now()));
    }

    async fn making(&self) -> Option<Making> {
        let (_, template) = self.gate().system.read::<Template>(self.id).await.unwrap();
        template.making().cloned()
    }

    /// The day that begins by itself, since it is time.
    async fn begun(&self) -> Making {
        let begun = async {
            loop {
                if let Some(making) = self.making().await {
                    return making;
                }
                tokio::task::yield_now().await;
            }
        };
        timeout(PATIENCE, begun).await.expect("in time")
    }

    async fn go_on(&self) -> Next {
        Box::pin(self.gate().make_day(self.id)).await.unwrap()
    }

    /// What became of its days, the latest first.
    async fn days(&self) -> Vec<TemplateDay> {
        self.gate().template_as_it_is(self.id).await.unwrap().0.days
    }

    async fn tell(&self, nth: u32, command: Command) {
        let id = CommandId::of_effect(b"template", 2, nth, self.clock.now());
        let staff = staff();
        let told = self.gate().tell_template(&staff, self.id, command, Wished::new(&nth), id);
        Box::pin(told).await.unwrap();
    }

    async fn n_orders(&self) -> usize {
        let all = ViewQuery::newest(Kind::Order, 100);
        self.gate().system.journal().views(all).await.unwrap().len()
    }

    /// Nothing begins any more where both are fetched.
    fn pause_zone(&self) {
        let (zone, now) = (neighbourhood(PICKUP), self.clock.now());
        let pause = ZonePause { zone, since: now, until: None, reason: "a flood".to_owned() };
        let pause = Some(pause);
        let standing = zone::Standing { nth: 1, pause, surge: None, set: None, changed_at: now };
        self.gate().take_in_zones([(zone, standing)]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_who_go_on_with_a_day_at_once_place_its_orders_once() {
    let stage = Stage::open().await;
    stage.wait_until(at("2026-11-30", "07:00"));
    let begun = stage.begun().await;
    assert_eq!((begun.due, stage.n_orders().await), (at("2026-11-30", "08:00"), 0));
    tokio::join!(stage.go_on(), stage.go_on());
    let making = stage.making().await.expect("nobody was looked for yet");
    let placed: Vec<OrderId> = making.placed();
    assert!(matches!(placed[..], [first, second] if first != second), "{placed:?}");
    for order in placed {
        let (version, state) = stage.gate().system.read::<Order>(order).await.unwrap();
        let shown = state.order_view(order, version.0, Principal::System).expect("it is there");
        assert_eq!(shown.start_at, Some(begun.due));
    }
    let looks_from = stage.gate().looks_from(&making, &making.terms.orders[0]);
    assert!(stage.clock.now() < looks_from && looks_from < making.due, "{looks_from:?}");
    assert_eq!(making.alone_from, Some(looks_from + 2 * MINUTE));
    // Nobody is looked for who brings both before they look for somebody.
    assert_eq!(stage.go_on().await, Next::InAWhile);
    assert_eq!((stage.n_orders().await, stage.days().await.len()), (2, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_placed_by_one_who_fell_before_it_said_so_is_found_and_not_placed_again() {
    let stage = Stage::open().await;
    stage.wait_until(at("2026-11-30", "07:00"));
    let begun = stage.begun().await;
    let (order, command) = (&begun.terms.orders[0], begun.order_command(stage.id, 0));
    let (first, _) = Box::pin(stage.gate().place_one(&begun, order, command)).await.unwrap();
    // What cannot be placed now may be in time, until drivers are looked for.
    stage.pause_zone();
    assert_eq!(stage.go_on().await, Next::AtOnce);
    let making = stage.making().await.expect("one of them waits");
    assert_eq!((making.placed(), making.alone_from), (vec![first], None));
    assert_eq!(making.unplaced().collect::<Vec<_>>(), [1]);
    assert_eq!(stage.go_on().await, Next::InAWhile);
    stage.wait_until(stage.gate().looks_from(&making, order));
    assert_eq!(stage.go_on().await, Next::AtOnce);
    let days = stage.days().await;
    assert_eq!((days.len(), days[0].outcome), (1, Some(DayOutcome::Alone)));
    let [Some(one), Some(Placing::Refused(why))] = &days[0].orders[..] else { panic!("{days:?}") };
    assert_eq!(*one, Placing::Placed(first));
    assert!(why.starts_with("zone_paused: "), "{why}");
    assert_eq!(stage.n_orders().await, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_day_that_is_begun_late_is_placed_for_now() {
    let stage = Stage::open().await;
    let late = at("2026-11-30", "08:20");
    stage.wait_until(late);
    assert_eq!(stage.begun().await.due, late);
    assert_eq!(stage.go_on().await, Next::AtOnce);
    let making = stage.making().await.expect("a driver is looked for");
    assert_eq!((making.placed().len(), making.alone_from), (2, Some(late + 2 * MINUTE)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_slept_over_a_day_places_nothing_of_it_and_of_those_that_were_missed() {
    let stage = Stage::open().await;
    stage.wait_until(at("2026-11-30", "07:00"));
    let begun = stage.begun().await;
    // Until Thursday at noon.
    stage.wait_until(at("2026-12-03", "12:00"));
    stage.gate().note(stage.id, Command::Tick {}).await.unwrap();
    let outcomes = async || {
        let days = stage.days().await.into_iter();
        days.map(|it| (it.outcome, it.orders.into_iter().flatten().count())).collect::<Vec<_>>()
    };
    let [missed, failed] = [DayOutcome::Missed, DayOutcome::Failed].map(|it| (Some(it), 0_usize));
    assert_eq!(outcomes().await, [missed, missed, missed, failed]);
    // It goes on with what it read before it slept, and then with what there is.
    let slept = Box::pin(stage.gate().place_orders(stage.id, &begun)).await;
    assert_eq!(slept.unwrap(), Next::AtOnce);
    assert_eq!((stage.go_on().await, stage.making().await), (Next::AtOnce, None));
    assert_eq!(outcomes().await, [missed, missed, missed, failed]);
    assert_eq!(stage.n_orders().await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_placed_of_a_day_that_comes_while_its_template_is_paused() {
    let stage = Stage::open().await;
    let reason = || "holidays".to_owned();
    stage.tell(1, Command::Pause { expects: 1, reason: reason(), with: None }).await;
    stage.wait_until(at("2026-12-01", "07:30"));
    stage.gate().note(stage.id, Command::Tick {}).await.unwrap();
    assert_eq!((stage.go_on().await, stage.making().await), (Next::AtOnce, None));
    assert_eq!((stage.n_orders().await, stage.days().await), (0, vec![]));
    stage.tell(2, Command::Resume { expects: 2, reason: reason(), with: None }).await;
    assert_eq!(stage.begun().await.due, at("2026-12-01", "08:00"), "the one that is still to come");
    assert_eq!(stage.go_on().await, Next::AtOnce);
    assert_eq!((stage.n_orders().await, stage.days().await.len()), (2, 1));
}

#[test]
fn who_has_no_shard_and_is_at_no_day_looks_seldom() {
    assert!(looks_again(true, LOOK_EVERY));
    assert!(!looks_again(false, LOOK_EVERY) && looks_again(false, LOOK_EVERY_IDLY));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_gateway_goes_on_with_the_days_of_its_own_brand() {
    let stage = Stage::open().await;
    let all = ViewQuery::newest(Kind::Template, 10);
    let mut rows = stage.gate().system.journal().views(all).await.unwrap();
    let (key, mut row) = rows.remove(0);
    assert!(stage.gate().goes_on_with(key, &row));
    row.body["template"]["preset"] = "safeboda".into();
    // However long it is left alone.
    row.at = Timestamp(0);
    assert!(!stage.gate().goes_on_with(key, &row));
}

#[test]
fn for_a_paused_zone_the_others_wait_only_until_drivers_are_looked_for() {
    let (before, looks_from) = (Timestamp(9), Timestamp(10));
    for now in [before, looks_from] {
        assert!(may_wait(Code::Busy, now, looks_from), "it may be done in a moment");
        assert!(!may_wait(Code::OutOfArea, now, looks_from));
    }
    assert!(may_wait(Code::ZonePaused, before, looks_from));
    assert!(!may_wait(Code::ZonePaused, looks_from, looks_from));
}

#[test]
fn a_template_is_changed_by_its_own_brands_nodes_only() {
    assert_eq!(check_ours("reskflow", "reskflow"), Ok(()));
    let refused = check_ours("safeboda", "reskflow").unwrap_err();
    assert_eq!(refused.code, Code::Invalid);
    assert!(refused.message.contains("safeboda"), "{refused}");
}
