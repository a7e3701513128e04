//! What an order costs the journal, with every actor real: what nobody needs is not written.

use actors::{
    Commit, EntityKey, Kind, Refusal, Tell, Version, ViewRow,
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
    search,
};
use protocol::{
    CommandId, DriverId, JobId, OfferId, OfferStatus, OrderId, OrderStatus, Point, Principal,
    RiderId, Timestamp,
    view::Position,
    work::{DutyWish, OfferPolicy, Vehicle, VehicleKind},
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
        Self::with(Clock::Machine).await
    }

    async fn with(clock: Clock) -> Self {
        let journal = MemoryJournal::default();
        Self { system: start_with(Arc::new(journal.clone()), clock).await, journal }
    }

    /// An order that is offered to five, and what they are offered.
    async fn broadcast(&self) -> (OrderId, Vec<(DriverId, OfferId)>) {
        let mut drivers = Vec::new();
        for n in 0..5 {
            drivers.push(self.on_duty(n).await);
        }
        let order = self.place(1).await;
        let mut offered = Vec::new();
        for driver in drivers {
            offered.push((driver, self.offered(driver).await));
        }
        (order, offered)
    }

    /// Tells an order what a driver passes on.
    async fn seen(&self, order: OrderId, offer: OfferId) {
        let told = search::Command::OfferSeen { offer };
        let tell = Tell::job(JobId::Order(order), told);
        let id = CommandId::mint();
        self.system.tell(tell, Principal::System, id, PATIENCE).await.expect("heard");
    }

    async fn until_all_seen(&self, order: OrderId) {
        let is_seen = |it: &Order| it.offers().iter().all(|it| it.status == OfferStatus::Seen);
        self.until::<Order, _>(order, |it| is_seen(it).then_some(())).await;
    }

    /// What happened to somebody, when, and by which command.
    async fn events(&self, of: EntityKey) -> Vec<(String, Timestamp, Option<CommandId>)> {
        let event = |record: Record| {
            let Record::Event { entity, name, at, command, .. } = record else { return None };
            (entity == of).then_some((name, at, command))
        };
        self.dump(Part::Events).await.into_iter().filter_map(event).collect()
    }

    /// One who waits a hundred metres from the pickup.
    async fn on_duty(&self, n: u64) -> DriverId {
        let id = DriverId::nth(1_000_000 + n);
        let vehicle = Vehicle { kind: VehicleKind::Moto, capacity_g: 50_000, skills: Vec::new() };
        let (vehicle, policy) = (Some(vehicle), DriverPolicy::default());
        self.driver(id, driver::Command::SetDuty { duty: DutyWish::On, vehicle, policy }).await;
        let (at, sampled_at) = (PICKUP.offset_m(-100.0, 0.0), self.system.now());
        let position =
            Position { at, sampled_at, heading_deg: None, speed_mps: None, accuracy_m: None };
        let seen = self.system.see_and_tell::<Driver>(id, driver::Sighting::At(position));
        seen.await.expect("a plain position");
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
    start_with(journal, Clock::Machine).await
}

async fn start_with(journal: SharedJournal, clock: Clock) -> System {
    let regions = region::Settings { tick_ms: 20, warm_up_ms: 0, ..region::Settings::default() };
    System::start(journal, clock, Settings::default(), regions).await.expect("starts")
}

async fn place(system: &System, order: OrderId, placement: Placement, id: CommandId) -> Answer {
    let by = Principal::Rider(placement.rider);
    let ask = Ask { command: order::Command::Place(Box::new(placement)), by, id };
    system.ask::<Order>(order, ask, PATIENCE).await
}

fn placement(rider: RiderId) -> Placement {
    let policy = JobPolicy { offer: OfferPolicy::BroadcastFirstWins, ..JobPolicy::default() };
    Placement { policy, ..Placement::ride(rider, PICKUP, PICKUP.offset_m(2_000.0, 500.0)) }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_region_proposes_leaves_no_answer_for_nobody_repeats_it() {
    let stage = Stage::new().await;
    let driver = stage.on_duty(1).await;
    let order = stage.place(1).await;
    stage.offered(driver).await;
    let of_order = EntityKey::from(order);
    let events = stage.events(of_order).await;
    let made = events.iter().find(|(name, ..)| name == "offer_made").map(|(.., command)| *command);
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

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn that_a_phone_shows_an_offer_is_kept_by_its_order_alone() {
    let stage = Stage::new().await;
    let driver = stage.on_duty(1).await;
    let order = stage.place(1).await;
    let offer = stage.offered(driver).await;
    let before = stage.system.read::<Driver>(driver).await.expect("awake").0;
    stage.driver(driver, driver::Command::SeeOffer { offer }).await;
    stage.until_all_seen(order).await;
    assert_eq!(stage.system.read::<Driver>(driver).await.expect("awake").0, before);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn five_who_see_an_offer_within_a_second_are_one_commit() {
    let clock = Clock::manual(Clock::Machine.now());
    let stage = Stage::with(clock.clone()).await;
    let (order, offered) = stage.broadcast().await;
    let before = stage.system.read::<Order>(order).await.expect("awake").0;
    for (_, offer) in &offered {
        stage.seen(order, *offer).await;
        stage.seen(order, *offer).await;
    }
    assert_eq!(stage.system.read::<Order>(order).await.expect("awake").0, before, "not yet");
    clock.advance(Duration::from_secs(1));
    stage.until_all_seen(order).await;
    assert_eq!(stage.system.read::<Order>(order).await.expect("awake").0.0, before.0 + 5);
    let events = stage.events(order.into()).await;
    let seen: Vec<_> = events.iter().filter(|(name, ..)| name == "offer_seen").collect();
    assert!(seen.iter().all(|it| *it == seen[0]), "at once: {seen:?}");
    assert_eq!(seen[0].2, None, "and by no command");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_seen_is_written_with_the_yes_that_follows_and_before_it() {
    let stage = Stage::with(Clock::manual(Clock::Machine.now())).await;
    let (order, offered) = stage.broadcast().await;
    for (_, offer) in &offered[..2] {
        stage.seen(order, *offer).await;
    }
    let (driver, offer) = offered[0];
    stage.driver(driver, driver::Command::AcceptOffer { offer }).await;
    stage
        .until::<Order, _>(order, |it| (it.status() == Some(OrderStatus::Assigned)).then_some(()))
        .await;
    let events = stage.events(order.into()).await;
    let of = |wanted: &str| events.iter().position(|(name, ..)| name == wanted).expect(wanted);
    let (seen, assigned) = (of("offer_seen"), of("assigned"));
    assert_eq!(events[seen + 1].0, "offer_seen");
    assert_eq!(events[seen + 2].0, "offer_closed", "what they came with is judged as ever");
    assert!(events[seen].2.is_some() && events[seen].2 == events[assigned].2, "one commit");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_seen_is_written_before_sleep() {
    let clock = Clock::manual(Clock::Machine.now());
    let stage = Stage::with(clock).await;
    let (order, offered) = stage.broadcast().await;
    stage.seen(order, offered[0].1).await;
    assert!(stage.system.drain(PATIENCE).await);
    let events = stage.events(order.into()).await;
    assert_eq!(events.iter().filter(|(name, ..)| name == "offer_seen").count(), 1);
}
