//! What an order costs the journal, with every actor real: what nobody needs is not written.

use actors::{
    Commit, EntityKey, Kind, Refusal, Sight, Version, ViewRow,
    driver::{self, Driver},
    journal::{
        Journal, Part, Record, SharedJournal, ViewQuery,
        faulty::{FaultyJournal, Odds},
        memory::MemoryJournal,
    },
    order::{self, Order, Placement},
    policy::{DriverPolicy, JobPolicy},
    region,
    runtime::{Answer, Ask, Clock, Hosted, Settings, System, Update},
};
use protocol::{
    CommandId, Currency, DriverId, Fare, FareLine, OfferId, OrderId, OrderStatus, Point, Principal,
    RiderId,
    view::Position,
    work::{DutyWish, Handoff, Needs, OfferPolicy, OrderKind, PaymentTiming, Vehicle, VehicleKind},
};
use std::{sync::Arc, time::Duration};

const PATIENCE: Duration = Duration::from_secs(10);
const PICKUP: Point = Point { lat: -1.9441, lon: 30.0619 };

/// A node whose region looks every 20 milliseconds.
struct Stage {
    system: System,
    journal: MemoryJournal,
}

impl Stage {
    async fn new() -> Self {
        let journal = MemoryJournal::default();
        Self { system: start(Arc::new(journal.clone())).await, journal }
    }

    /// One who waits a hundred metres from the pickup.
    async fn on_duty(&self, n: u64) -> DriverId {
        let id = DriverId::nth(1_000_000 + n);
        let vehicle = Vehicle { kind: VehicleKind::Moto, capacity_g: 50_000, skills: Vec::new() };
        let (vehicle, policy) = (Some(vehicle), DriverPolicy::default());
        self.driver(id, driver::Command::SetDuty { duty: DutyWish::On, vehicle, policy }).await;
        self.system.see(Sight::Driver(
            id,
            driver::Sighting::At(Position {
                at: PICKUP.offset_m(-100.0, 0.0),
                sampled_at: self.system.now(),
                heading_deg: None,
                speed_mps: None,
                accuracy_m: None,
            }),
        ));
        id
    }

    async fn driver(&self, id: DriverId, command: driver::Command) {
        let ask = Ask { command, by: Principal::Driver(id), id: CommandId::mint() };
        self.system.ask::<Driver>(id, ask, PATIENCE).await.expect("done");
    }

    async fn place(&self, n: u64) -> OrderId {
        let (id, rider) = (OrderId::nth(n), RiderId::nth(n));
        place(&self.system, id, placement(rider), CommandId::mint()).await.expect("placed");
        id
    }

    /// What a driver is offered, once it is.
    async fn offered(&self, id: DriverId) -> OfferId {
        self.until::<Driver, _>(id, |it| it.open_offers().next().map(|offer| offer.id)).await
    }

    async fn until<D: Hosted, T>(&self, id: D::Id, found: impl Fn(&D) -> Option<T>) -> T {
        let mut watching = self.system.watch::<D>(id).await.expect("watched");
        if let Some(found) = found(&watching.state) {
            return found;
        }
        loop {
            let update = tokio::time::timeout(PATIENCE, watching.updates.recv()).await;
            if let Update::Changed { state, .. } = update.expect("in time").expect("followed")
                && let Some(found) = found(&state)
            {
                return found;
            }
        }
    }

    /// The row of the only order.
    async fn row(&self) -> ViewRow {
        let rows = self.journal.views(ViewQuery::newest(Kind::Order, 2)).await.expect("reads");
        let [(_, row)] = &rows[..] else { panic!("one order and not {}", rows.len()) };
        row.clone()
    }

    /// Writes over the only row: whoever writes it again wipes that off.
    async fn scribble(&self, order: OrderId) -> ViewRow {
        let (version, _) = self.system.read::<Order>(order).await.expect("awake");
        let scribbled = ViewRow { body: "scribbled".into(), ..self.row().await };
        let commit = Commit {
            view: Some(scribbled.clone()),
            ..Commit::new(order.into(), version, self.system.now())
        };
        self.journal.commit(commit).await.expect("nobody else writes");
        scribbled
    }

    async fn dump(&self, part: Part) -> Vec<Record> {
        self.journal.dump(part, None, 10_000).await.expect("reads")
    }
}

async fn start(journal: SharedJournal) -> System {
    let regions = region::Settings { tick_ms: 20, warm_up_ms: 0, ..region::Settings::default() };
    System::start(journal, Clock::Machine, Settings::default(), regions).await.expect("starts")
}

async fn place(system: &System, order: OrderId, placement: Placement, id: CommandId) -> Answer {
    let by = Principal::Rider(placement.rider);
    let ask = Ask { command: order::Command::Place(Box::new(placement)), by, id };
    system.ask::<Order>(order, ask, PATIENCE).await
}

fn placement(rider: RiderId) -> Placement {
    Placement {
        kind: OrderKind::Ride,
        rider,
        stops: vec![PICKUP.into(), PICKUP.offset_m(2_000.0, 500.0).into()],
        fare: Fare {
            currency: Currency::RWF,
            lines: vec![FareLine { code: "base".to_owned(), amount: 1_000 }],
        },
        policy: JobPolicy { offer: OfferPolicy::BroadcastFirstWins, ..JobPolicy::default() },
        start_at: None,
        payment: PaymentTiming::Cash,
        needs: Needs::default(),
        merchant: None,
        handoff: Handoff::Driver,
        n_items: 0,
        driver: None,
        code: None,
        pickup_proof: Vec::new(),
        dropoff_proof: Vec::new(),
        cash_on_delivery: None,
        waiting_per_min: 0,
        follows: None,
        excluded: Vec::new(),
        barred: Box::default(),
        fleet: None,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_region_proposes_leaves_no_answer_for_nobody_repeats_it() {
    let stage = Stage::new().await;
    let driver = stage.on_duty(1).await;
    let order = stage.place(1).await;
    stage.offered(driver).await;
    let of_order = EntityKey::from(order);
    let made = stage.dump(Part::Events).await.into_iter().find_map(|record| {
        let Record::Event { entity, name, command, .. } = record else { return None };
        (entity == of_order && name == "offer_made").then_some(command)
    });
    assert_eq!(made, Some(None), "made, and by no command");
    let answers = stage.dump(Part::Results).await;
    let of_it = |it: &&Record| matches!(it, Record::Result { entity, .. } if *entity == of_order);
    assert_eq!(answers.iter().filter(of_it).count(), 1, "the one to whoever placed it");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_order_begins_without_being_read_and_a_repeat_finds_the_one_that_is_there() {
    let faulty = FaultyJournal::new(Arc::new(MemoryJournal::default()), Odds::default());
    let system = start(Arc::new(faulty.clone())).await;
    let (order, rider, id) = (OrderId::nth(1), RiderId::nth(1), CommandId::mint());
    faulty.set_odds(Odds { load: 1.0, ..Odds::default() });
    let answer = place(&system, order, placement(rider), id).await;
    faulty.set_odds(Odds::default());
    let version = answer.expect("nobody has to be read for it");

    // Its successor is believed to be new as well.
    system.kill(order.into());
    assert_eq!(place(&system, order, placement(rider), id).await, Ok(version));
    // The rules refuse this one before the journal is asked.
    system.kill(order.into());
    let nowhere = Placement { stops: Vec::new(), ..placement(rider) };
    let again = place(&system, order, nowhere, CommandId::mint()).await;
    assert!(matches!(again, Err(Refusal::IllegalTransition { .. })), "it is there: {again:?}");
    let (now, state) = system.read::<Order>(order).await.expect("awake");
    assert_eq!((now, state.rider()), (version, Some(rider)));
    let history = system.journal().history(order.into(), Version(0), 100).await.expect("reads");
    assert_eq!(history.len() as u64, version.0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_order_that_is_refused_is_nobody_also_if_it_was_not_read() {
    let system = start(Arc::new(MemoryJournal::default())).await;
    let (order, rider) = (OrderId::nth(1), RiderId::nth(1));
    let nowhere = Placement { stops: Vec::new(), ..placement(rider) };
    let refused = place(&system, order, nowhere, CommandId::mint()).await;
    assert!(matches!(refused, Err(Refusal::Invalid { .. })), "{refused:?}");
    let (version, state) = system.read::<Order>(order).await.expect("awake");
    assert_eq!((version, state.rider()), (Version(0), None));
    assert!(place(&system, order, placement(rider), CommandId::mint()).await.is_ok());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_row_of_an_order_is_written_when_it_shows_something_else_and_not_before() {
    let stage = Stage::new().await;
    let order = stage.place(1).await;
    let scribbled = stage.scribble(order).await;
    let driver = stage.on_duty(1).await;
    let offer = stage.offered(driver).await;
    assert_eq!(stage.row().await, scribbled, "no list shows who is asked");
    stage.driver(driver, driver::Command::AcceptOffer { offer }).await;
    stage
        .until::<Order, _>(order, |it| (it.status() == Some(OrderStatus::Assigned)).then_some(()))
        .await;
    let row = stage.row().await;
    assert_eq!((row.status.as_str(), row.driver), ("assigned", Some(driver)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_was_read_writes_its_row_once_for_it_may_be_of_an_older_build() {
    let stage = Stage::new().await;
    let order = stage.place(1).await;
    let row = stage.row().await;
    stage.scribble(order).await;
    stage.system.kill(order.into());
    stage.system.read::<Order>(order).await.expect("awake again");
    let driver = stage.on_duty(1).await;
    stage.offered(driver).await;
    assert_eq!(stage.row().await, row);
}
