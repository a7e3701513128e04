//! The ways of finding a driver, from the wish to the claim, with regions that match by themselves
//! and every actor real.

use actors::{
    Claim, Decider, EntityKey, Sight, Version,
    driver::{self, Driver},
    journal::{SharedJournal, memory::MemoryJournal},
    order::{self, Order, Placement},
    policy::{DriverPolicy, JobPolicy},
    region,
    runtime::{Answer, Ask, Clock, Settings, System, Update},
    search,
};
use protocol::{
    CommandId, DriverId, JobId, OfferId, OfferStatus, OrderId, OrderStatus, PartnerId, Point,
    Principal, RiderId,
    trace::{Unfit, WhyNot},
    view::{Position, WorkKind},
    work::{DutyWish, OfferPolicy, OrderKind, Vehicle, VehicleKind},
};
use std::{sync::Arc, time::Duration};

const PATIENCE: Duration = Duration::from_secs(20);
const PICKUP: Point = Point { lat: -1.9441, lon: 30.0619 };

struct Stage {
    system: System,
    journal: SharedJournal,
}

impl Stage {
    async fn new() -> Self {
        let journal: SharedJournal = Arc::new(MemoryJournal::default());
        let regions =
            region::Settings { tick_ms: 20, warm_up_ms: 0, ..region::Settings::default() };
        let system = System::start(journal.clone(), Clock::Machine, Settings::default(), regions)
            .await
            .expect("starts");
        Self { system, journal }
    }

    async fn order(&self, id: OrderId, by: Principal, command: order::Command) -> Answer {
        let ask = Ask { command, by, id: CommandId::mint() };
        self.system.ask::<Order>(id, ask, PATIENCE).await
    }

    async fn driver(&self, id: DriverId, command: driver::Command) -> Answer {
        let ask = Ask { command, by: Principal::Driver(id), id: CommandId::mint() };
        self.system.ask::<Driver>(id, ask, PATIENCE).await
    }

    async fn place(&self, n: u64, change: impl FnOnce(&mut Placement)) -> OrderId {
        let (id, rider) = (OrderId::nth(n), RiderId::nth(n));
        let mut placement = placement(rider);
        change(&mut placement);
        let command = order::Command::Place(Box::new(placement));
        self.order(id, Principal::Rider(rider), command).await.expect("placed");
        id
    }

    /// Driver `n`, at work and so many metres east of the pickup.
    async fn on_duty(&self, n: u64, east_m: f64) -> DriverId {
        let id = driver_id(n);
        let vehicle = Vehicle { kind: VehicleKind::Moto, capacity_g: 50_000, skills: Vec::new() };
        let policy = DriverPolicy { forward_m: 300, ..DriverPolicy::default() };
        let command =
            driver::Command::SetDuty { duty: DutyWish::On, vehicle: Some(vehicle), policy };
        self.driver(id, command).await.expect("on duty");
        self.is_at(id, east_m, 0);
        id
    }

    fn is_at(&self, id: DriverId, east_m: f64, later_ms: u64) {
        let position = Position {
            at: PICKUP.offset_m(east_m, 0.0),
            sampled_at: self.system.now() + Duration::from_millis(later_ms),
            heading_deg: None,
            speed_mps: None,
            accuracy_m: None,
        };
        self.system.see(Sight::Driver(id, driver::Sighting::At(position)));
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

    async fn until_offered(&self, id: DriverId) -> OfferId {
        self.until::<Driver, _>(id, |it| it.open_offers().next().map(|offer| offer.id)).await
    }

    async fn until_jobs(&self, id: DriverId, wanted: &[OrderId]) {
        let wanted: Vec<JobId> = wanted.iter().copied().map(JobId::Order).collect();
        self.until::<Driver, _>(id, |it| (it.current_jobs() == wanted).then_some(())).await;
    }

    async fn was_ever(&self, entity: EntityKey, event: &str) -> bool {
        let history = self.journal.history(entity, Version(0), 200).await.expect("read");
        history.iter().any(|it| it.event.name == event)
    }
}

fn driver_id(n: u64) -> DriverId {
    DriverId::nth(1_000_000 + n)
}

fn placement(rider: RiderId) -> Placement {
    let policy = JobPolicy { offer: OfferPolicy::Sequential, ..JobPolicy::default() };
    Placement { policy, ..Placement::ride(rider, PICKUP, PICKUP.offset_m(180.0, 0.0)) }
}

fn accept(offer: OfferId) -> driver::Command {
    driver::Command::AcceptOffer { offer }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_sided_the_first_pair_that_wants_each_other_rides() {
    let stage = Stage::new().await;
    let (eager, chosen) = (stage.on_duty(1, 100.0).await, stage.on_duty(2, 300.0).await);
    let order = stage.place(1, |it| it.policy.offer = OfferPolicy::TwoSided).await;
    let (of_eager, of_chosen) =
        (stage.until_offered(eager).await, stage.until_offered(chosen).await);
    stage.driver(eager, accept(of_eager)).await.expect("wants it");
    stage
        .until::<Order, _>(order, |it| {
            let has_said_yes = |offer: &protocol::view::OfferView| {
                offer.id == of_eager && offer.status == OfferStatus::DriverConfirmed
            };
            it.offers().iter().any(has_said_yes).then_some(())
        })
        .await;
    let rider = Principal::Rider(RiderId::nth(1));
    let confirm = order::Command::ConfirmOffer { offer: of_chosen };
    stage.order(order, rider, confirm).await.expect("wants the other one");
    let (_, state) = stage.system.read::<Order>(order).await.expect("awake");
    assert_eq!(state.status(), Some(OrderStatus::Searching), "only one side has said yes to each");
    stage.driver(chosen, accept(of_chosen)).await.expect("wants it too");
    stage.until_status(order, OrderStatus::Assigned).await;
    stage.until_jobs(chosen, &[order]).await;
    stage
        .until::<Driver, _>(eager, |it| {
            (it.ended_offer(of_eager) == Some(OfferStatus::Lost)).then_some(())
        })
        .await;
    let holder = stage.journal.holder(Claim::slot(chosen, 0)).await.expect("read");
    assert_eq!(holder, Some(order.into()));
    assert_eq!(stage.journal.holder(Claim::slot(eager, 0)).await.expect("read"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn direct_asks_the_one_driver_and_no_other_even_if_that_one_declines() {
    let stage = Stage::new().await;
    let (nearer, wanted) = (stage.on_duty(1, 10.0).await, stage.on_duty(2, 900.0).await);
    let direct = |it: &mut Placement| {
        it.policy.offer = OfferPolicy::Direct;
        it.driver = Some(wanted);
    };
    let first = stage.place(1, direct).await;
    let offer = stage.until_offered(wanted).await;
    stage.driver(wanted, accept(offer)).await.expect("accepts");
    stage.until_status(first, OrderStatus::Assigned).await;
    let rider = Principal::Rider(RiderId::nth(1));
    let cancel = order::Command::Cancel { reason: "changed my mind".to_owned() };
    stage.order(first, rider, cancel).await.expect("cancelled");
    stage.until_jobs(wanted, &[]).await;
    let second = stage.place(2, direct).await;
    let offer = stage.until_offered(wanted).await;
    stage.driver(wanted, driver::Command::DeclineOffer { offer }).await.expect("declines");
    stage.until_status(second, OrderStatus::NoDriverFound).await;
    assert!(!stage.was_ever(nearer.into(), "offer_reserved").await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_fleet_that_comes_first_is_asked_alone_and_then_everybody_is() {
    let stage = Stage::new().await;
    let (near, own) = (stage.on_duty(1, 10.0).await, stage.on_duty(2, 900.0).await);
    let fleet = PartnerId::nth(1);
    let hire = driver::Command::SetFleet { fleet: Some(fleet), reason: "hired".to_owned() };
    let ask = Ask { command: hire, by: Principal::Dispatcher, id: CommandId::mint() };
    stage.system.ask::<Driver>(own, ask, PATIENCE).await.expect("hired");
    let order = stage
        .place(1, |it| {
            (it.fleet, it.fleet_first) = (Some(Box::new(fleet)), true);
            // Long enough for its driver to be found and to answer.
            it.policy.tier_ms = 3_000;
        })
        .await;
    let offer = stage.until_offered(own).await;
    stage.driver(own, driver::Command::DeclineOffer { offer }).await.expect("declines");
    assert!(!stage.was_ever(near.into(), "offer_reserved").await);
    // Rounds tell of themselves a moment after they have proposed.
    let is_why = |it: &Unfit| it.driver == near && it.why == WhyNot::OtherFleetFirst;
    let is_told = || {
        let rounds = stage.system.regions().rounds_of(JobId::Order(order));
        rounds.iter().any(|round| round.unfit.iter().any(is_why))
    };
    let until_told = async {
        while !is_told() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, until_told).await.expect("why the nearer one is not asked");
    let offer = stage.until_offered(near).await;
    let rider = Principal::Rider(RiderId::nth(1));
    let (version, state) = stage.system.read::<Order>(order).await.expect("awake");
    let view = state.order_view(order, version.0, rider).expect("placed");
    assert_eq!((view.fleet, view.fleet_first), (None, false));
    stage.driver(near, accept(offer)).await.expect("accepts");
    stage.until_status(order, OrderStatus::Assigned).await;
    stage.until_jobs(near, &[order]).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn from_the_feed_the_first_who_claims_has_it_and_nobody_is_asked() {
    let stage = Stage::new().await;
    let (quick, slow) = (stage.on_duty(1, 10.0).await, stage.on_duty(2, 20.0).await);
    let order = stage
        .place(1, |it| {
            it.kind = OrderKind::Delivery;
            it.policy.offer = OfferPolicy::Feed;
        })
        .await;
    stage.until_status(order, OrderStatus::JobFeed).await;
    let (job, work) = (JobId::Order(order), WorkKind::Delivery);
    let claim = driver::Command::ClaimJob { job, work, weight_g: 0 };
    stage.driver(quick, claim.clone()).await.expect("asks for it");
    stage.until_jobs(quick, &[order]).await;
    stage.driver(slow, claim).await.expect("asks for it as well");
    stage.until::<Driver, _>(slow, |it| it.listing(slow).map(|_| ())).await;
    let history = |id: DriverId| stage.was_ever(id.into(), "job_aborted");
    stage
        .until::<Driver, _>(slow, |it| {
            (it.status() == protocol::DriverStatus::Available).then_some(())
        })
        .await;
    assert!(history(slow).await && !history(quick).await);
    for driver in [quick, slow] {
        assert!(!stage.was_ever(driver.into(), "offer_reserved").await);
    }
    let (_, state) = stage.system.read::<Order>(order).await.expect("awake");
    assert_eq!(state.driver(), Some(quick));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_driver_about_to_end_a_ride_gets_the_next_one_and_claims_never_overlap() {
    let stage = Stage::new().await;
    let driver = stage.on_duty(1, 0.0).await;
    let first = stage.place(1, |_| {}).await;
    let offer = stage.until_offered(driver).await;
    stage.driver(driver, accept(offer)).await.expect("accepts");
    stage.until_jobs(driver, &[first]).await;
    stage.is_at(driver, 5.0, 1_000);
    stage.is_at(driver, 150.0, 2_000);
    let second = stage.place(2, |_| {}).await;
    let offer = stage.until_offered(driver).await;
    stage.driver(driver, accept(offer)).await.expect("accepts one more");
    stage.until_jobs(driver, &[first, second]).await;
    let holds = |slot| stage.journal.holder(Claim::slot(driver, slot));
    assert_eq!(holds(0).await.expect("read"), Some(first.into()));
    assert_eq!(holds(search::NEXT_SLOT).await.expect("read"), Some(second.into()));

    let rider = Principal::Rider(RiderId::nth(1));
    stage.order(first, rider, order::Command::Arrive {}).await.expect("arrived");
    let start = order::Command::Start { code: None };
    stage.order(first, Principal::Dispatcher, start).await.expect("started");
    let finish = order::Command::Finish { code: None, early_reason: Some("rider_asked".into()) };
    stage.order(first, Principal::Driver(driver), finish).await.expect("finished");
    stage.until_jobs(driver, &[second]).await;
    let slot = Claim::slot(driver, 0);
    stage.until::<Order, _>(second, |it| it.claims(second).contains(&slot).then_some(())).await;
    assert_eq!(holds(0).await.expect("read"), Some(second.into()));
    assert_eq!(holds(search::NEXT_SLOT).await.expect("read"), None);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_ride_whose_driver_breaks_down_goes_on_with_another_driver() {
    let stage = Stage::new().await;
    let (broken, other) = (stage.on_duty(1, 0.0).await, stage.on_duty(2, 600.0).await);
    let far = |it: &mut Placement| it.stops[1] = PICKUP.offset_m(5_000.0, 0.0).into();
    let first = stage.place(1, far).await;
    let offer = stage.until_offered(broken).await;
    stage.driver(broken, accept(offer)).await.expect("accepts");
    stage.until_status(first, OrderStatus::Assigned).await;
    let (rider, by) = (Principal::Rider(RiderId::nth(1)), Principal::Driver(broken));
    stage.order(first, rider, order::Command::Arrive {}).await.expect("arrived");
    let start = order::Command::Start { code: None };
    stage.order(first, Principal::Dispatcher, start).await.expect("started");
    let stuck = order::Command::CannotContinue { reason: "engine".to_owned() };
    stage.order(first, by, stuck).await.expect("said");
    let finish = order::Command::Finish { code: None, early_reason: Some("breakdown".into()) };
    stage.order(first, by, finish).await.expect("finished");
    let (version, state) = stage.system.read::<Order>(first).await.expect("awake");
    let view = state.order_view(first, version.0, rider).expect("placed");
    let next = view.followed_by.expect("it goes on");
    let offer = stage.until_offered(other).await;
    stage.driver(other, accept(offer)).await.expect("accepts");
    stage.until_jobs(other, &[next]).await;
    let holder = stage.journal.holder(Claim::ride(RiderId::nth(1))).await.expect("read");
    assert_eq!(holder, Some(next.into()));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_second_try_for_a_rider_who_rides_by_now_leaves_no_link_to_nowhere() {
    let stage = Stage::new().await;
    let rider = Principal::Rider(RiderId::nth(1));
    let lost = stage.place(1, |it| it.policy.search_ms = 1).await;
    stage.until_status(lost, OrderStatus::NoDriverFound).await;
    let command = order::Command::Place(Box::new(placement(RiderId::nth(1))));
    stage.order(OrderId::nth(2), rider, command).await.expect("placed");
    stage.order(lost, rider, order::Command::Retry {}).await.expect("tried");
    stage
        .until::<Order, _>(lost, |it| {
            let view = it.order_view(lost, 1, rider)?;
            view.followed_by.is_none().then_some(())
        })
        .await;
    assert!(stage.was_ever(lost.into(), "unfollowed").await);
    let running = Claim::ride(RiderId::nth(1));
    let holder = stage.journal.holder(running).await.expect("read");
    assert_eq!(holder, Some(OrderId::nth(2).into()));
}
