//! What happens when two of them want the same thing at the same moment (MODEL 11.2), with every
//! actor real and on many threads. Whoever wins, the world that is left must make sense.

use actors::{
    Claim, EntityKey, Refusal, Sight, Tell, Version,
    driver::{self, Driver},
    journal::{SharedJournal, memory::MemoryJournal},
    order::{self, Order, Placement},
    policy::{DriverPolicy, JobPolicy},
    region,
    runtime::{Answer, Ask, Clock, Settings, System, Update},
    search::{self, Candidate},
};
use protocol::{
    CommandId, DriverId, DriverStatus, JobId, MerchantId, OfferId, OrderId, OrderStatus, Point,
    Principal, RiderId,
    view::Position,
    work::{DutyWish, Handoff, OfferPolicy, OrderKind, Vehicle, VehicleKind},
};
use std::{sync::Arc, time::Duration};

const PATIENCE: Duration = Duration::from_secs(10);
const PICKUP: Point = Point { lat: -1.9441, lon: 30.0619 };
const ROUNDS: u64 = 40;

/// A node without regions' ticks: the tests propose.
struct Stage {
    system: System,
    journal: SharedJournal,
}

impl Stage {
    async fn new() -> Self {
        Self::with(Clock::Machine).await
    }

    async fn with(clock: Clock) -> Self {
        let journal: SharedJournal = Arc::new(MemoryJournal::default());
        let regions = region::Settings { tick_ms: 0, ..region::Settings::default() };
        let system = System::start(journal.clone(), clock, Settings::default(), regions)
            .await
            .expect("starts");
        Self { system, journal }
    }

    async fn order(&self, id: OrderId, by: Principal, command: order::Command) -> Answer {
        let ask = Ask { command, by, id: CommandId::mint() };
        self.system.ask::<Order>(id, ask, PATIENCE).await
    }

    async fn driver(&self, id: DriverId, by: Principal, command: driver::Command) -> Answer {
        let ask = Ask { command, by, id: CommandId::mint() };
        self.system.ask::<Driver>(id, ask, PATIENCE).await
    }

    async fn place(&self, n: u64, policy: OfferPolicy) -> OrderId {
        let (id, rider) = (OrderId::nth(n), RiderId::nth(n));
        let command = order::Command::Place(Box::new(placement(rider, policy)));
        self.order(id, Principal::Rider(rider), command).await.expect("placed");
        id
    }

    async fn on_duty(&self, id: DriverId) {
        let vehicle = Vehicle { kind: VehicleKind::Moto, capacity_g: 50_000, skills: Vec::new() };
        let policy = DriverPolicy::default();
        let command =
            driver::Command::SetDuty { duty: DutyWish::On, vehicle: Some(vehicle), policy };
        self.driver(id, Principal::Driver(id), command).await.expect("on duty");
    }

    /// Proposes these drivers as the order's region would.
    async fn propose(&self, order: OrderId, drivers: &[DriverId]) {
        let (_, state) = self.system.read::<Order>(order).await.expect("awake");
        let Some(actors::Listing { card: actors::Card::Search(card), .. }) =
            actors::Decider::listing(&*state, order)
        else {
            return;
        };
        let candidates = drivers.iter().map(|driver| Candidate {
            driver: *driver,
            eta_s: 60,
            distance_m: 400,
            cost_ms: 0,
        });
        let command =
            search::Command::Propose { round: card.round, candidates: candidates.collect() };
        let tell = Tell::job(JobId::Order(order), command);
        self.system
            .tell(tell, Principal::System, CommandId::mint(), PATIENCE)
            .await
            .expect("proposed");
    }

    /// Proposes, and waits until the driver holds the offer.
    async fn offer(&self, order: OrderId, driver: DriverId) -> OfferId {
        self.propose(order, &[driver]).await;
        self.until_driver(driver, |state| state.open_offers().next().map(|offer| offer.id)).await
    }

    async fn until_driver<T>(&self, id: DriverId, found: impl Fn(&Driver) -> Option<T>) -> T {
        let mut watching = self.system.watch::<Driver>(id).await.expect("watched");
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

    async fn until_order<T>(&self, id: OrderId, found: impl Fn(&Order) -> Option<T>) -> T {
        let mut watching = self.system.watch::<Order>(id).await.expect("watched");
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

    /// Sweeps I-1, I-2, I-4 and I-9: waits for what is eventual, asserts what is not.
    async fn sweep(&self, orders: &[OrderId], drivers: &[DriverId]) {
        // No command is under way any more; let effects arrive.
        for driver in drivers {
            self.until_driver(*driver, |state| {
                let is_settled = state.current_jobs().len() <= 1
                    && !matches!(state.status(), DriverStatus::Offered);
                is_settled.then_some(())
            })
            .await;
        }
        for order in orders {
            let (_, state) = self.system.read::<Order>(*order).await.expect("awake");
            let status = state.status().expect("placed");
            let assigned = state.driver().filter(|_| status.has_driver());
            for driver in drivers {
                let slot = Claim::slot(*driver, 0);
                let holder = self.journal.holder(slot).await.expect("read");
                let is_holder = holder == Some(EntityKey::from(*order));
                assert_eq!(is_holder, assigned == Some(*driver), "{order} {status} and {driver}");
            }
            if let Some(driver) = assigned {
                self.until_driver(driver, |state| {
                    state.current_jobs().contains(&JobId::Order(*order)).then_some(())
                })
                .await;
            }
            if status.is_final() {
                assert!(state.offers().is_empty(), "{order} is {status} and still offers");
                for driver in drivers {
                    self.until_driver(*driver, |state| {
                        let is_free = !state.current_jobs().contains(&JobId::Order(*order))
                            && state.open_offers().all(|offer| offer.job != JobId::Order(*order));
                        is_free.then_some(())
                    })
                    .await;
                }
            }
        }
    }
}

fn placement(rider: RiderId, offer: OfferPolicy) -> Placement {
    let policy = JobPolicy { offer, ..JobPolicy::default() };
    Placement { policy, ..Placement::ride(rider, PICKUP, PICKUP.offset_m(2_000.0, 500.0)) }
}

fn drivers(base: u64, n: u64) -> Vec<DriverId> {
    (0..n).map(|k| DriverId::nth(1_000_000 + base * 1_000 + k)).collect()
}

fn accept(offer: OfferId) -> driver::Command {
    driver::Command::AcceptOffer { offer }
}

fn cancel() -> order::Command {
    order::Command::Cancel { reason: "changed my mind".to_owned() }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_five_who_accept_a_broadcast_at_once_one_wins() {
    let stage = Stage::new().await;
    for n in 0..ROUNDS {
        let crew = drivers(n, 5);
        for driver in &crew {
            stage.on_duty(*driver).await;
        }
        let order = stage.place(n, OfferPolicy::BroadcastFirstWins).await;
        stage.propose(order, &crew).await;
        let mut offers = Vec::new();
        for driver in &crew {
            let id = stage
                .until_driver(*driver, |state| state.open_offers().next().map(|offer| offer.id))
                .await;
            offers.push(id);
        }
        let asks = crew.iter().zip(&offers).map(|(driver, offer)| {
            stage.driver(*driver, Principal::Driver(*driver), accept(*offer))
        });
        futures_util::future::join_all(asks).await;
        stage
            .until_order(order, |state| {
                (state.status() == Some(OrderStatus::Assigned)).then_some(())
            })
            .await;
        stage.sweep(&[order], &crew).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_driver_who_accepts_a_hundred_times_has_one_job() {
    let stage = Stage::new().await;
    let crew = drivers(0, 1);
    stage.on_duty(crew[0]).await;
    let order = stage.place(1, OfferPolicy::Sequential).await;
    let offer = stage.offer(order, crew[0]).await;
    let asks = (0..100).map(|_| stage.driver(crew[0], Principal::Driver(crew[0]), accept(offer)));
    futures_util::future::join_all(asks).await;
    stage.sweep(&[order], &crew).await;
    stage.until_driver(crew[0], |state| (state.current_jobs().len() == 1).then_some(())).await;
    let history = stage.journal.history(order.into(), Version(0), 100).await.expect("read");
    let n_assigned = history.iter().filter(|it| it.event.name == "assigned").count();
    assert_eq!(n_assigned, 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn accept_and_cancel_at_once_leave_one_truth() {
    let stage = Stage::new().await;
    let (mut n_cancelled, mut n_cancelled_after) = (0, 0);
    for n in 0..ROUNDS {
        let crew = drivers(n, 1);
        stage.on_duty(crew[0]).await;
        let order = stage.place(n, OfferPolicy::Sequential).await;
        let offer = stage.offer(order, crew[0]).await;
        let rider = Principal::Rider(RiderId::nth(n));
        let (_, cancelled) = tokio::join!(
            stage.driver(crew[0], Principal::Driver(crew[0]), accept(offer)),
            stage.order(order, rider, cancel()),
        );
        cancelled.expect("a rider may cancel before and after assignment");
        let (_, state) = stage.system.read::<Order>(order).await.expect("awake");
        assert_eq!(state.status(), Some(OrderStatus::CancelledByRider));
        n_cancelled += 1;
        n_cancelled_after += u32::from(state.driver().is_some());
        stage.sweep(&[order], &crew).await;
    }
    assert_eq!(n_cancelled, ROUNDS as u32, "{n_cancelled_after} after an assignment");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn accept_and_suspend_at_once_leave_one_truth() {
    let stage = Stage::new().await;
    for n in 0..ROUNDS {
        let crew = drivers(n, 1);
        stage.on_duty(crew[0]).await;
        let order = stage.place(n, OfferPolicy::Sequential).await;
        let offer = stage.offer(order, crew[0]).await;
        let suspend = driver::Command::Suspend { reason: "papers".to_owned(), reassign: true };
        let (_, suspended) = tokio::join!(
            stage.driver(crew[0], Principal::Driver(crew[0]), accept(offer)),
            stage.driver(crew[0], Principal::Dispatcher, suspend),
        );
        suspended.expect("staff may suspend");
        stage
            .until_driver(crew[0], |state| {
                (state.status() == DriverStatus::Blocked && state.current_jobs().is_empty())
                    .then_some(())
            })
            .await;
        stage
            .until_order(order, |state| {
                (state.status() == Some(OrderStatus::Searching)).then_some(())
            })
            .await;
        stage.sweep(&[order], &crew).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn accept_and_a_dispatchers_assignment_at_once_give_one_driver() {
    let stage = Stage::new().await;
    for n in 0..ROUNDS {
        let crew = drivers(n, 2);
        for driver in &crew {
            stage.on_duty(*driver).await;
        }
        let order = stage.place(n, OfferPolicy::Sequential).await;
        let offer = stage.offer(order, crew[0]).await;
        let assign = order::Command::Assign {
            driver: crew[1],
            force: false,
            reason: "nearer".to_owned(),
            against: Vec::new(),
        };
        let (_, _) = tokio::join!(
            stage.driver(crew[0], Principal::Driver(crew[0]), accept(offer)),
            stage.order(order, Principal::Dispatcher, assign),
        );
        stage
            .until_order(order, |state| {
                (state.status() == Some(OrderStatus::Assigned)).then_some(())
            })
            .await;
        stage.sweep(&[order], &crew).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn two_orders_that_want_one_driver_do_not_share_it() {
    let stage = Stage::new().await;
    for n in 0..ROUNDS {
        let crew = drivers(n, 1);
        stage.on_duty(crew[0]).await;
        let orders = [
            stage.place(2 * n, OfferPolicy::AutoAssign).await,
            stage.place(2 * n + 1, OfferPolicy::AutoAssign).await,
        ];
        tokio::join!(stage.propose(orders[0], &crew), stage.propose(orders[1], &crew));
        stage.until_driver(crew[0], |state| (!state.current_jobs().is_empty()).then_some(())).await;
        stage.sweep(&orders, &crew).await;
        let mut n_assigned = 0;
        for order in orders {
            let (_, state) = stage.system.read::<Order>(order).await.expect("awake");
            n_assigned += u32::from(state.status() == Some(OrderStatus::Assigned));
        }
        assert!(n_assigned <= 1, "one driver, {n_assigned} rides");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_rider_who_places_two_rides_at_once_gets_one() {
    let stage = Stage::new().await;
    for n in 0..ROUNDS {
        let rider = RiderId::nth(n);
        let place = |id| {
            let command =
                order::Command::Place(Box::new(placement(rider, OfferPolicy::Sequential)));
            stage.order(id, Principal::Rider(rider), command)
        };
        let (one, other) = tokio::join!(place(OrderId::nth(2 * n)), place(OrderId::nth(2 * n + 1)));
        let refused = one.as_ref().err().or(other.as_ref().err());
        assert!(one.is_ok() != other.is_ok(), "{one:?} {other:?}");
        assert!(matches!(refused, Some(Refusal::Taken { .. })), "{refused:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn finish_and_finish_and_cancel_at_once_end_a_ride_once() {
    let stage = Stage::new().await;
    for n in 0..ROUNDS {
        let crew = drivers(n, 1);
        let (driver, rider) = (crew[0], Principal::Rider(RiderId::nth(n)));
        stage.on_duty(driver).await;
        let order = stage.place(n, OfferPolicy::Sequential).await;
        let offer = stage.offer(order, driver).await;
        stage.driver(driver, Principal::Driver(driver), accept(offer)).await.expect("accepts");
        stage
            .until_order(order, |state| {
                (state.status() == Some(OrderStatus::Assigned)).then_some(())
            })
            .await;
        // The rider vouches for what no position shows here.
        stage.order(order, rider, order::Command::Arrive {}).await.expect("arrived");
        let start = order::Command::Start { code: None };
        stage.order(order, Principal::Dispatcher, start).await.expect("started");
        let finish =
            || order::Command::Finish { code: None, early_reason: Some("rider_asked".to_owned()) };
        let (one, other, cancelled) = tokio::join!(
            stage.order(order, Principal::Driver(driver), finish()),
            stage.order(order, Principal::Driver(driver), finish()),
            stage.order(order, rider, cancel()),
        );
        assert!(one.is_ok() || other.is_ok(), "{one:?} {other:?}");
        assert!(cancelled.is_err(), "a started ride is never cancelled");
        let history = stage.journal.history(order.into(), Version(0), 100).await.expect("read");
        let n_ends = history.iter().filter(|it| it.event.name == "completed").count();
        assert_eq!(n_ends, 1, "{history:#?}");
        stage.sweep(&[order], &crew).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn the_same_races_with_every_actor_falling_leave_one_truth() {
    let stage = Stage::new().await;
    for n in 0..ROUNDS {
        let crew = drivers(n, 2);
        for driver in &crew {
            stage.on_duty(*driver).await;
        }
        let order = stage.place(n, OfferPolicy::BroadcastFirstWins).await;
        stage.propose(order, &crew).await;
        let mut offers = Vec::new();
        for driver in &crew {
            let id = stage
                .until_driver(*driver, |state| state.open_offers().next().map(|offer| offer.id))
                .await;
            offers.push(id);
        }
        let fall = async {
            for k in 0..20_u64 {
                stage.system.kill(order.into());
                stage.system.kill(crew[(k % 2) as usize].into());
                tokio::task::yield_now().await;
            }
        };
        let (_, _, ()) = tokio::join!(
            stage.driver(crew[0], Principal::Driver(crew[0]), accept(offers[0])),
            stage.driver(crew[1], Principal::Driver(crew[1]), accept(offers[1])),
            fall,
        );
        stage
            .until_order(order, |state| {
                (state.status() == Some(OrderStatus::Assigned)).then_some(())
            })
            .await;
        stage.sweep(&[order], &crew).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_rider_with_a_ride_for_later_may_ride_now_and_the_later_one_waits_for_its_turn() {
    let clock = Clock::manual(Clock::Machine.now());
    let stage = Stage::with(clock.clone()).await;
    let rider = RiderId::nth(1);
    let (now, later) = (OrderId::nth(1), OrderId::nth(2));
    let start_at = Some(stage.system.now() + Duration::from_mins(60));
    let scheduled = Placement { start_at, ..placement(rider, OfferPolicy::Sequential) };
    let place = |it: Placement| order::Command::Place(Box::new(it));
    let by = Principal::Rider(rider);
    stage.order(later, by, place(scheduled)).await.expect("placed");
    let mut running = placement(rider, OfferPolicy::Sequential);
    running.policy.search_ms = 3 * 3_600_000;
    running.policy.attempts_max = 1_000;
    stage.order(now, by, place(running)).await.expect("nothing is in its way yet");

    clock.advance(Duration::from_mins(45));
    let wake_again = stage
        .until_order(later, |state| {
            let (due, _) = actors::Decider::deadline(state)?;
            (due > stage.system.now()).then_some(due)
        })
        .await;
    assert_eq!(wake_again, stage.system.now() + Duration::from_mins(3));
    stage.order(now, by, cancel()).await.expect("cancelled");
    clock.advance(Duration::from_mins(3));
    stage
        .until_order(later, |state| (state.status() == Some(OrderStatus::Searching)).then_some(()))
        .await;
    let holder = stage.journal.holder(Claim::ride(rider)).await.expect("read");
    assert_eq!(holder, Some(EntityKey::from(later)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_follows_an_order_sees_that_nobody_knows_when_a_silent_driver_comes() {
    let clock = Clock::manual(Clock::Machine.now());
    let stage = Stage::with(clock.clone()).await;
    let driver = drivers(0, 1)[0];
    stage.on_duty(driver).await;
    let order = stage.place(1, OfferPolicy::Sequential).await;
    let offer = stage.offer(order, driver).await;
    stage.driver(driver, Principal::Driver(driver), accept(offer)).await.expect("accepted");
    let is_on_it = |state: &Driver| (state.current_jobs().len() == 1).then_some(());
    stage.until_driver(driver, is_on_it).await;

    let mut watching = stage.system.watch::<Order>(order).await.expect("watched");
    let mut expected = async || loop {
        let update = tokio::time::timeout(PATIENCE, watching.updates.recv()).await;
        let update = update.expect("in time").expect("followed");
        if let Update::Seen(search::Sighting::Expected { etas, .. }) = update {
            break etas;
        }
    };
    let position = Position {
        at: PICKUP.offset_m(900.0, 0.0),
        sampled_at: clock.now(),
        heading_deg: None,
        speed_mps: None,
        accuracy_m: None,
    };
    stage.system.see(Sight::Driver(driver, driver::Sighting::At(position)));
    assert!(expected().await.is_some_and(|etas| etas.pickup.is_some()));
    clock.advance(Duration::from_millis(DriverPolicy::default().stale_ms.into()));
    assert_eq!(expected().await, None);
    let (_, state) = stage.system.read::<Order>(order).await.expect("awake");
    let view = state.order_view(order, 1, Principal::Dispatcher).expect("it was placed");
    assert_eq!((view.driver, view.eta), (Some(driver), None));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn wrong_codes_are_counted_although_they_are_refused_and_a_repeat_counts_once() {
    let stage = Stage::new().await;
    let (order, rider) = (OrderId::nth(1), RiderId::nth(1));
    let mut prepared = placement(rider, OfferPolicy::Feed);
    prepared.handoff = Handoff::Collect;
    prepared.kind = OrderKind::Commerce;
    prepared.merchant = Some(MerchantId::nth(1));
    prepared.n_items = 1;
    prepared.code = Some("4711".to_owned());
    let merchant = Principal::Merchant(MerchantId::nth(1));
    let rider = Principal::Rider(rider);
    stage.order(order, rider, order::Command::Place(Box::new(prepared))).await.expect("placed");
    let accept = order::Command::MerchantAccept { prep_min: 1 };
    stage.order(order, merchant, accept).await.expect("accepted");
    stage.order(order, merchant, order::Command::Ready {}).await.expect("ready");
    let collected = |code: &str| order::Command::Collected { code: Some(code.to_owned()) };
    let wrong = Ask { command: collected("0000"), by: rider, id: CommandId::mint() };
    for _ in 0..10 {
        let answer = stage.system.ask::<Order>(order, wrong.clone(), PATIENCE).await;
        assert_eq!(answer, Err(Refusal::WrongCode), "a repeat hears the same, also after a fall");
        stage.system.kill(order.into());
    }
    for _ in 0..4 {
        let answer = stage.order(order, rider, collected("0001")).await;
        assert_eq!(answer, Err(Refusal::WrongCode));
    }
    let locked = stage.order(order, rider, collected("4711")).await;
    assert!(matches!(locked, Err(Refusal::NotEligible(_))), "{locked:?}");
    let history = stage.journal.history(order.into(), Version(0), 100).await.expect("read");
    let n_wrong = history.iter().filter(|it| it.event.name == "code_wrong").count();
    assert_eq!(n_wrong, 5);
}
