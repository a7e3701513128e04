//! Runs from end to end: deliveries that a region brings together, the run, its orders and its driver, every actor real.

use actors::{
    Claim, Decider, EntityKey, Refusal, Sight,
    driver::{self, Driver},
    journal::{SharedJournal, memory::MemoryJournal},
    order::{self, Order, Placement},
    policy::{DriverPolicy, JobPolicy},
    region,
    run::{self, Run},
    runtime::{Answer, Ask, Clock, Settings, System, Update},
    search,
};
use matching::batch;
use protocol::{
    CommandId, DriverId, JobId, MemberStatus, OfferStatus, OrderId, OrderStatus, Point, Principal,
    RiderId, RunId, RunStatus,
    view::{Offer, Position, StopKind},
    work::{DutyWish, OfferPolicy, OrderKind, Proof, ProofKind, Vehicle, VehicleKind},
};
use std::{sync::Arc, time::Duration};

const PATIENCE: Duration = Duration::from_secs(20);
const SHOP: Point = Point { lat: -1.9441, lon: 30.0619 };
const STAFF: Principal = Principal::Dispatcher;

struct Stage {
    system: System,
    journal: SharedJournal,
}

impl Stage {
    async fn new() -> Self {
        let journal: SharedJournal = Arc::new(MemoryJournal::default());
        Self { system: Self::start(journal.clone()).await, journal }
    }

    async fn start(journal: SharedJournal) -> System {
        // What waits is looked at often, and never alone.
        let batches =
            batch::Settings { every_ms: 20, hold_ms: 600_000, ..batch::Settings::default() };
        let regions = region::Settings {
            tick_ms: 20,
            warm_up_ms: 0,
            repeat_ms: 200,
            batches,
            ..region::Settings::default()
        };
        System::start(journal, Clock::Machine, Settings::default(), regions).await.expect("starts")
    }

    async fn order(&self, id: OrderId, by: Principal, command: order::Command) -> Answer {
        let ask = Ask { command, by, id: CommandId::mint() };
        self.system.ask::<Order>(id, ask, PATIENCE).await
    }

    async fn driver(&self, id: DriverId, command: driver::Command) -> Answer {
        let ask = Ask { command, by: Principal::Driver(id), id: CommandId::mint() };
        self.system.ask::<Driver>(id, ask, PATIENCE).await
    }

    async fn run(&self, id: RunId, command: run::Command) -> Answer {
        let ask = Ask { command, by: STAFF, id: CommandId::mint() };
        self.system.ask::<Run>(id, ask, PATIENCE).await
    }

    /// A delivery from the `n`th shop of the street to the `n`th door of the next one.
    async fn place(&self, n: u64) -> OrderId {
        let (id, rider) = (OrderId::nth(n), RiderId::nth(n));
        let command = order::Command::Place(Box::new(placement(rider, n)));
        self.order(id, Principal::Rider(rider), command).await.expect("placed");
        id
    }

    async fn on_duty(&self, n: u64) -> DriverId {
        let id = DriverId::nth(1_000_000 + n);
        let vehicle = Vehicle { kind: VehicleKind::Moto, capacity_g: 50_000, skills: Vec::new() };
        // Nobody waits here for a driver to get from street to street.
        let policy = DriverPolicy { speed_max_mps: 1e6, ..DriverPolicy::default() };
        let (duty, vehicle) = (DutyWish::On, Some(vehicle));
        self.driver(id, driver::Command::SetDuty { duty, vehicle, policy }).await.expect("on duty");
        self.is_at(id, SHOP.offset_m(-100.0, 0.0), 0);
        id
    }

    fn is_at(&self, id: DriverId, at: Point, later_ms: u64) {
        let sampled_at = self.system.now() + Duration::from_millis(later_ms);
        let position =
            Position { at, sampled_at, heading_deg: None, speed_mps: None, accuracy_m: None };
        self.system.see(Sight::Driver(id, driver::Sighting::At(position)));
    }

    /// The same, and an order on board, or to be fetched, has seen it.
    async fn is_seen_at(&self, order: OrderId, driver: DriverId, at: Point, later_ms: u64) {
        let mut watching = self.system.watch::<Order>(order).await.expect("watched");
        self.is_at(driver, at, later_ms);
        loop {
            let update = tokio::time::timeout(PATIENCE, watching.updates.recv()).await;
            // It may see, too, when it is expected, as its run found out from where the driver was before.
            let update = update.expect("in time").expect("followed");
            if let Update::Seen(search::Sighting::DriverAt { .. }) = update {
                return;
            }
        }
    }

    async fn until<D: actors::runtime::Hosted, T>(
        &self,
        id: D::Id,
        found: impl Fn(&D) -> Option<T>,
    ) -> T {
        let mut watching = self.system.watch::<D>(id).await.expect("watched");
        if let Some(found) = found(&watching.state) {
            return found;
        }
        loop {
            let update = tokio::time::timeout(PATIENCE, watching.updates.recv()).await;
            match update.expect("in time").expect("followed") {
                Update::Changed { state, .. } => {
                    if let Some(found) = found(&state) {
                        return found;
                    }
                }
                Update::Seen(_) => {}
            }
        }
    }

    async fn until_status(&self, id: OrderId, wanted: OrderStatus) {
        self.until::<Order, _>(id, |it| (it.status() == Some(wanted)).then_some(())).await;
    }

    async fn until_run(&self, id: RunId, wanted: RunStatus) {
        self.until::<Run, _>(id, |it| (it.status() == Some(wanted)).then_some(())).await;
    }

    /// What a driver is offered, once that is a run of so many.
    async fn until_offered(&self, id: DriverId, n: usize) -> Offer {
        let is_it = |it: &&Offer| it.run.as_ref().is_some_and(|run| run.orders.len() == n);
        self.until::<Driver, _>(id, |it| it.open_offers().find(is_it).cloned()).await
    }

    async fn until_jobs(&self, id: DriverId, n: usize) {
        self.until::<Driver, _>(id, |it| (it.current_jobs().len() == n).then_some(())).await;
    }

    async fn accept(&self, id: DriverId, offer: &Offer) {
        self.driver(id, driver::Command::AcceptOffer { offer: offer.id }).await.expect("accepts");
    }

    fn run_of(offer: &Offer) -> RunId {
        offer.run.as_ref().expect("of a run").run
    }

    /// Fetches an order, and hands it over.
    async fn fetch(&self, driver: DriverId, n: u64, later_ms: u64) {
        let (id, by) = (OrderId::nth(n), Principal::Driver(driver));
        self.is_seen_at(id, driver, shop(n), later_ms).await;
        self.order(id, STAFF, order::Command::Arrive {}).await.expect("arrived");
        self.order(id, by, order::Command::PickUp { proofs: vec![photo()] })
            .await
            .expect("fetched");
    }

    async fn bring(&self, driver: DriverId, n: u64, later_ms: u64) {
        let (id, by) = (OrderId::nth(n), Principal::Driver(driver));
        self.is_seen_at(id, driver, door(n), later_ms).await;
        // Movement may have said so.
        self.order(id, by, order::Command::Depart {}).await.ok();
        self.until_status(id, OrderStatus::InTransit).await;
        self.order(id, STAFF, order::Command::Arrive {}).await.expect("arrived");
        let deliver = order::Command::Deliver { proofs: vec![photo()], cash: None };
        self.order(id, by, deliver).await.expect("delivered");
    }

    async fn holder(&self, driver: DriverId, slot: u8) -> Option<EntityKey> {
        self.journal.holder(Claim::slot(driver, slot)).await.expect("read")
    }
}

fn photo() -> Proof {
    Proof { kind: ProofKind::Photo, value: "sha-1".to_owned() }
}

fn shop(n: u64) -> Point {
    SHOP.offset_m(50.0 * n as f64, 0.0)
}

fn door(n: u64) -> Point {
    SHOP.offset_m(50.0 * n as f64, 1_500.0)
}

fn placement(rider: RiderId, n: u64) -> Placement {
    let policy = JobPolicy {
        batch: true,
        offer: OfferPolicy::BatchOptimal,
        pickup_fence_m: 100_000,
        dropoff_fence_m: 100_000,
        feed_ms: 0,
        ..JobPolicy::delivery()
    };
    let ride = Placement::ride(rider, shop(n), door(n));
    let mut placement = Placement { kind: OrderKind::Delivery, policy, ..ride };
    placement.fare.lines[0].amount += n as i64;
    placement
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn three_deliveries_are_one_offer_three_jobs_and_one_run() {
    let stage = Stage::new().await;
    let orders = [stage.place(1).await, stage.place(2).await, stage.place(3).await];
    let driver = stage.on_duty(1).await;
    let offer = stage.until_offered(driver, 3).await;
    let run = Stage::run_of(&offer);
    assert_eq!(offer.fare.amount, 1_001 + 1_002 + 1_003);
    stage.accept(driver, &offer).await;
    stage.until_run(run, RunStatus::Active).await;
    stage.until_jobs(driver, 3).await;
    let mut held = Vec::new();
    for (n, order) in orders.into_iter().enumerate() {
        stage.until_status(order, OrderStatus::Assigned).await;
        held.push(stage.holder(driver, n as u8).await.expect("each has a slot of its own"));
        let (version, state) = stage.system.read::<Order>(order).await.expect("awake");
        let view = state.order_view(order, version.0, STAFF).expect("placed");
        assert_eq!((view.run, view.driver), (Some(run), Some(driver)));
    }
    held.sort_unstable();
    let mut wanted = orders.map(EntityKey::from).to_vec();
    wanted.sort_unstable();
    assert_eq!(held, wanted);
    let holder = stage.journal.holder(Claim::run(driver)).await.expect("read");
    assert_eq!(holder, Some(run.into()));
    // One is called off on the way; the others are brought.
    let rider = Principal::Rider(RiderId::nth(2));
    let cancel = order::Command::Cancel { reason: "changed my mind".to_owned() };
    stage.order(orders[1], rider, cancel).await.expect("called off");
    stage.until_jobs(driver, 2).await;
    let is_left = |it: &Run| {
        let view = it.run_view(run, 1, STAFF)?;
        (view.stops.len() == 4 && view.orders.len() == 2).then_some(())
    };
    stage.until::<Run, _>(run, is_left).await;
    stage.fetch(driver, 1, 1_000).await;
    stage.fetch(driver, 3, 2_000).await;
    stage.bring(driver, 1, 3_000).await;
    stage.bring(driver, 3, 4_000).await;
    stage.until_run(run, RunStatus::Completed).await;
    stage.until_jobs(driver, 0).await;
    assert_eq!(stage.journal.holder(Claim::run(driver)).await.expect("read"), None);
    assert_eq!(stage.holder(driver, 0).await, None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_driver_who_declines_is_not_asked_again_and_the_orders_go_to_another() {
    let stage = Stage::new().await;
    let orders = [stage.place(1).await, stage.place(2).await];
    let first = stage.on_duty(1).await;
    let offer = stage.until_offered(first, 2).await;
    // While they wait for the driver, nobody else may have them.
    let (_, state) = stage.system.read::<Order>(orders[0]).await.expect("awake");
    assert_eq!((state.status(), state.offers().len()), (Some(OrderStatus::Searching), 0));
    stage.driver(first, driver::Command::DeclineOffer { offer: offer.id }).await.expect("declines");
    stage.until_run(Stage::run_of(&offer), RunStatus::Dissolved).await;
    let second = stage.on_duty(2).await;
    let offer = stage.until_offered(second, 2).await;
    stage.accept(second, &offer).await;
    stage.until_jobs(second, 2).await;
    let (_, state) = stage.system.read::<Driver>(first).await.expect("awake");
    assert_eq!((state.open_offers().count(), state.current_jobs().len()), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_dispatchers_word_takes_an_order_out_of_a_run_that_is_being_offered() {
    let stage = Stage::new().await;
    let orders = [stage.place(1).await, stage.place(2).await, stage.place(3).await];
    let asked = stage.on_duty(1).await;
    let whole = stage.until_offered(asked, 3).await;
    let chosen = DriverId::nth(1_000_002);
    let vehicle = Vehicle { kind: VehicleKind::Moto, capacity_g: 50_000, skills: Vec::new() };
    let (duty, policy) = (DutyWish::On, DriverPolicy::default());
    let command = driver::Command::SetDuty { duty, vehicle: Some(vehicle), policy };
    stage.driver(chosen, command).await.expect("on duty");
    let assign = order::Command::Assign {
        driver: chosen,
        force: false,
        reason: "a regular".to_owned(),
        against: Vec::new(),
    };
    stage.order(orders[0], STAFF, assign).await.expect("assigned");
    stage.until_jobs(chosen, 1).await;
    let rest = stage.until_offered(asked, 2).await;
    let late = driver::Command::AcceptOffer { offer: whole.id };
    assert_eq!(
        stage.driver(asked, late).await.map(|_| ()),
        Err(Refusal::OfferGone(OfferStatus::Withdrawn))
    );
    stage.accept(asked, &rest).await;
    stage.until_jobs(asked, 2).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_run_takes_along_what_comes_later_and_gives_a_part_to_another_driver() {
    let stage = Stage::new().await;
    stage.place(1).await;
    stage.place(2).await;
    let driver = stage.on_duty(1).await;
    let offer = stage.until_offered(driver, 2).await;
    let run = Stage::run_of(&offer);
    stage.accept(driver, &offer).await;
    stage.until_run(run, RunStatus::Active).await;
    stage.until_jobs(driver, 2).await;
    // One more lies on the way: its driver is asked about it, alone.
    let late = stage.place(3).await;
    let more = stage.until_offered(driver, 1).await;
    assert_eq!((Stage::run_of(&more), more.fare.amount), (run, 1_003));
    stage.accept(driver, &more).await;
    stage.until_jobs(driver, 3).await;
    stage.until_status(late, OrderStatus::Assigned).await;
    let is_whole = |it: &Run| {
        let view = it.run_view(run, 1, STAFF)?;
        let waiting = view.orders.iter().filter(|it| it.status == MemberStatus::Waiting);
        (waiting.count() == 3).then_some(())
    };
    stage.until::<Run, _>(run, is_whole).await;
    stage.fetch(driver, 1, 1_000).await;
    // What is not fetched goes to another driver, who is not asked.
    let other = stage.on_duty(2).await;
    let into = RunId::nth(77);
    let split = run::Command::Split {
        orders: vec![OrderId::nth(2), late],
        driver: other,
        into,
        place: None,
        capacity_g: 50_000,
        with_goods: false,
        reason: "too much for one".to_owned(),
    };
    stage.run(run, split).await.expect("split");
    stage.until_jobs(other, 2).await;
    stage.until_jobs(driver, 1).await;
    stage.until_run(into, RunStatus::Active).await;
    let is_left = |it: &Run| {
        let view = it.run_view(run, 1, STAFF)?;
        let left: Vec<_> = view.stops.iter().map(|it| (it.order, it.what)).collect();
        (left == [(OrderId::nth(1), StopKind::Dropoff)]).then_some(())
    };
    stage.until::<Run, _>(run, is_left).await;
    stage.bring(driver, 1, 2_000).await;
    stage.until_run(run, RunStatus::Completed).await;
    // The other breaks down with one on board.
    stage.fetch(other, 2, 3_000).await;
    let abandon = run::Command::Abandon { reason: "a flat tyre".to_owned() };
    stage.run(into, abandon).await.expect("abandoned");
    stage.until::<Order, _>(late, |it| (it.driver() != Some(other)).then_some(())).await;
    let (_, aboard) = stage.system.read::<Order>(OrderId::nth(2)).await.expect("awake");
    assert_eq!((aboard.status(), aboard.driver()), (Some(OrderStatus::PickedUp), Some(other)));
    // It calls for a dispatcher.
    let is_lost = |it: &Order| {
        let state = serde_json::to_value(it).expect("an order is JSON");
        (state["is_driver_lost"] == true).then_some(())
    };
    stage.until::<Order, _>(OrderId::nth(2), is_lost).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_node_that_falls_right_after_a_yes_makes_good_on_it() {
    let mut stage = Stage::new().await;
    let orders = [stage.place(1).await, stage.place(2).await, stage.place(3).await];
    let driver = stage.on_duty(1).await;
    let offer = stage.until_offered(driver, 3).await;
    stage.accept(driver, &offer).await;
    stage.system.crash().await;
    stage.system = Stage::start(stage.journal.clone()).await;
    let run = Stage::run_of(&offer);
    stage.until_run(run, RunStatus::Active).await;
    stage.until_jobs(driver, 3).await;
    for order in orders {
        stage.until_status(order, OrderStatus::Assigned).await;
    }
    // Whoever says once more what was said hears that it is so.
    let again = search::Command::TakeByRun { run, offer: offer.id, driver, slots: vec![0] };
    let command = order::Command::Search(again);
    stage.order(orders[0], Principal::System, command).await.expect("already so");
    let (_, state) = stage.system.read::<Run>(run).await.expect("awake");
    assert_eq!(state.claims(run), [Claim::run(driver)]);
    let jobs: Vec<JobId> = orders.map(JobId::Order).to_vec();
    let (_, state) = stage.system.read::<Driver>(driver).await.expect("awake");
    assert!(state.current_jobs().iter().all(|job| jobs.contains(job)));
}
