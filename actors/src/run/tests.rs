//! What a run promises: its story, what falls out of it, what staff may do, and its laws.

use super::*;
use crate::{EntityKey, search::Command as Heard};
use matching::batch::{Batch, Cart, Pace};
use proptest::prelude::*;
use protocol::{Currency, Place, Principal, work::VehicleKind};
use std::collections::BTreeSet;

const KIGALI: Point = Point { lat: -1.9441, lon: 30.0619 };
const NOW: Timestamp = Timestamp(1_800_000_000_000);
const SYSTEM: Principal = Principal::System;
const STAFF: Principal = Principal::Dispatcher;

fn nth(n: u64) -> OrderId {
    OrderId::nth(n)
}

fn driver() -> DriverId {
    DriverId::nth(1)
}

fn at(east_m: f64) -> Place {
    KIGALI.offset_m(east_m, 0.0).into()
}

fn because() -> String {
    "it had to be".to_owned()
}

fn secs(n: u64) -> Duration {
    Duration::from_secs(n)
}

fn wanted(n: u64) -> Wanted {
    Wanted { order: nth(n), round: Some(n as u32), from: None }
}

fn plan(orders: &[u64]) -> Plan {
    Plan {
        driver: driver(),
        orders: orders.iter().map(|n| wanted(*n)).collect(),
        cart: Cart {
            at: KIGALI,
            free: NOW,
            capacity_g: 10_000,
            n_max: 5,
            pace: Pace { crow_mps: 10.0, stop_s: 60 },
            until: None,
        },
        legs: Legs::default(),
        orders_max: 5,
        n_min: 2,
        consent: true,
        saving_percent: 40,
        join_ms: 3_000,
        offer_ms: 30_000,
        reason: None,
        by: None,
        told: Vec::new(),
    }
}

/// From the first street, `n` doors on, to the next street, to be there within the hour.
fn part(n: u64) -> Part {
    Part {
        pickup: at(100.0 * n as f64),
        dropoff: at(3_000.0 + 100.0 * n as f64),
        fare: Money { amount: 1_000 + n as i64, currency: Currency::RWF },
        weight_g: 1_000,
        wants: None,
        times: Batch {
            asked: NOW,
            ready: NOW,
            promise: Some(NOW + secs(3_600)),
            until: NOW + secs(180),
        },
    }
}

fn join(n: u64) -> Command {
    Command::Join { order: nth(n), part: Box::new(part(n)) }
}

fn leave(n: u64) -> Command {
    Command::Leave { order: nth(n), why: "called off".to_owned() }
}

fn done(n: u64, what: StopKind) -> Command {
    Command::StopDone { order: nth(n), what }
}

fn insert(n: u64) -> Command {
    Command::Insert { orders: vec![wanted(n)], place: None, legs: Legs::default(), reason: None }
}

/// One run, its journal and what it told others.
#[derive(Debug, Clone)]
struct Play {
    id: RunId,
    run: Run,
    now: Timestamp,
    journal: Vec<Event>,
    effects: Vec<Effect>,
}

impl Play {
    fn planned(orders: &[u64]) -> Self {
        let (id, run) = (RunId::nth(1), Run::default());
        let mut play = Self { id, run, now: NOW, journal: Vec::new(), effects: Vec::new() };
        play.yes(Command::Plan(Box::new(plan(orders))));
        play
    }

    fn offered(orders: &[u64]) -> Self {
        let mut play = Self::planned(orders);
        orders.iter().for_each(|n| play.yes(join(*n)));
        play
    }

    fn active(orders: &[u64]) -> Self {
        let mut play = Self::offered(orders);
        play.accept();
        orders.iter().for_each(|n| play.yes(Command::NoteAssigned { order: nth(*n) }));
        play
    }

    fn ask(&mut self, by: Principal, command: &Command) -> Result<Vec<&'static str>, Refusal> {
        let around = Context { id: self.id, by, now: self.now, writes: Format::WRITES };
        let events = self.run.decide(command, &around)?;
        for event in &events {
            self.effects.extend(self.run.effects(self.id, event));
            self.run.evolve(event);
        }
        self.journal.extend(events.iter().cloned());
        Ok(events.iter().map(Run::event_name).collect())
    }

    #[track_caller]
    fn yes(&mut self, command: Command) {
        let by = if rules::authorise(&command, SYSTEM).is_ok() { SYSTEM } else { STAFF };
        let answer = self.ask(by, &command);
        assert!(answer.as_ref().is_ok_and(|it| !it.is_empty()), "{command:?}: {answer:?}");
    }

    #[track_caller]
    fn no(&mut self, command: Command) -> Refusal {
        self.ask(STAFF, &command).expect_err("it is refused")
    }

    fn offer(&self) -> OfferId {
        self.life().offer.as_ref().expect("it is offered").id
    }

    fn slots(&self) -> Vec<(OrderId, u8)> {
        self.life().in_status(MemberStatus::Joined).into_iter().zip(0..).collect()
    }

    fn accept(&mut self) {
        let (offer, slots) = (self.offer(), self.slots());
        self.yes(Command::AcceptOffer { offer, driver: driver(), slots });
    }

    fn life(&self) -> &Life {
        self.run.0.as_ref().expect("it is planned")
    }

    fn status(&self) -> RunStatus {
        self.life().status
    }

    /// The order in which things are fetched and handed over: `+1` is the first order's pickup.
    fn sequence(&self) -> String {
        let number = |order: OrderId| (1..=9).find(|n| nth(*n) == order).unwrap();
        let stops = self.life().stops.iter().map(|it| {
            let sign = if it.what == StopKind::Pickup { '+' } else { '-' };
            format!("{sign}{}", number(it.order))
        });
        stops.collect::<Vec<_>>().join(" ")
    }

    /// Whom it told what, since the last time.
    fn told(&mut self) -> Vec<(EntityKey, Tell)> {
        self.effects.drain(..).map(|it| (it.tell.to(), it.tell)).collect()
    }

    fn told_orders(&mut self) -> Vec<(OrderId, &'static str)> {
        let mut all = Vec::new();
        for (_, tell) in self.told() {
            if let Tell::Order { to, command } = tell {
                all.push((to, command.name()));
            }
        }
        all
    }
}

#[test]
fn three_deliveries_are_offered_as_one_and_brought() {
    let mut play = Play::planned(&[1, 2, 3]);
    assert_eq!(play.told_orders(), [1, 2, 3].map(|n| (nth(n), "join_run")));
    play.yes(join(1));
    play.yes(join(3));
    assert_eq!((play.status(), play.told().len()), (RunStatus::Planned, 0), "one has not answered");
    play.yes(join(2));
    assert_eq!(play.status(), RunStatus::Offered);
    let told = play.told();
    let [(_, Tell::Driver { to, command })] = told.as_slice() else { panic!("{told:?}") };
    let driver::Command::ReserveOffer { offer, consent, weights_g, .. } = command else {
        panic!("{command:?}")
    };
    assert_eq!((*to, *consent, offer.fare.amount), (driver(), true, 1_001 + 1_002 + 1_003));
    let whole = offer.run.as_deref().unwrap();
    assert_eq!(
        whole.orders.iter().map(|it| it.fare.amount).collect::<Vec<_>>(),
        [1_001, 1_002, 1_003]
    );
    assert_eq!((whole.stops.len(), offer.jobs().count()), (6, 3));
    assert_eq!(*weights_g, [1_000; 3]);
    assert!(whole.stops.is_sorted_by_key(|it| it.due));
    play.accept();
    assert_eq!(play.told_orders(), [1, 2, 3].map(|n| (nth(n), "take_by_run")));
    assert_eq!(play.run.claims(play.id), [Claim::run(driver())]);
    for n in [2, 1, 3] {
        assert_eq!(play.status(), RunStatus::Accepted);
        play.yes(Command::NoteAssigned { order: nth(n) });
    }
    assert_eq!(play.status(), RunStatus::Active);
    assert_eq!(play.sequence(), "+1 +2 +3 -1 -2 -3");
    assert!(play.run.listing(play.id).is_some(), "it may take more along");
    for n in 1..=3 {
        play.yes(done(n, StopKind::Pickup));
        assert_eq!(play.ask(SYSTEM, &done(n, StopKind::Pickup)), Ok(vec![]));
    }
    for n in 1..=3 {
        play.yes(done(n, StopKind::Dropoff));
    }
    assert_eq!(play.status(), RunStatus::Completed);
    assert_eq!((play.run.claims(play.id), play.run.listing(play.id)), (vec![], None));
    assert_eq!(play.run.deadline(), None);
}

/// The way that its driver has before it, as the run lets it be found out: order and what is done, one after the other.
fn way(play: &mut Play, sighting: &Sighting) -> Option<Vec<(JobId, StopKind)>> {
    let (by, writes) = (SYSTEM, Format::WRITES);
    let context = Context { id: play.id, by, now: play.now, writes };
    let mut seen = play.run.see(sighting, &context);
    match seen.passed_on.pop()? {
        Sight::Way(journey) => {
            assert_eq!((journey.driver, journey.from), (sighting.driver, sighting.at));
            Some(journey.halts.iter().map(|it| (it.job, it.what)).collect())
        }
        other @ (Sight::Order(..) | Sight::Rescue(..) | Sight::Driver(..) | Sight::Run(..)) => {
            panic!("{other:?}")
        }
    }
}

#[test]
fn its_orders_are_told_when_its_driver_comes_by_way_of_all_that_is_done_before() {
    let (up, down) = (StopKind::Pickup, StopKind::Dropoff);
    let job = |n| JobId::Order(nth(n));
    let here = Sighting { driver: driver(), at: KIGALI, vehicle: VehicleKind::Moto };
    let mut play = Play::offered(&[1, 2]);
    assert_eq!(way(&mut play, &here), None, "nobody has said yes to it");
    let mut play = Play::active(&[1, 2]);
    assert_eq!(play.sequence(), "+1 +2 -1 -2");
    let all = [(job(1), up), (job(2), up), (job(1), down), (job(2), down)];
    assert_eq!(way(&mut play, &here).as_deref(), Some(&all[..]));
    play.yes(done(1, up));
    assert_eq!(way(&mut play, &here).as_deref(), Some(&all[1..]), "that is behind it");
    let stranger = Sighting { driver: DriverId::nth(9), ..here };
    assert_eq!(way(&mut play, &stranger), None);
}

#[test]
fn who_does_not_join_is_left_out_and_too_few_are_no_run() {
    let mut play = Play::planned(&[1, 2, 3]);
    play.yes(join(1));
    play.yes(leave(2));
    play.yes(join(3));
    assert_eq!(play.status(), RunStatus::Offered);
    assert_eq!(play.slots().len(), 2);

    let mut play = Play::planned(&[1, 2]);
    play.yes(join(1));
    play.yes(leave(2));
    assert_eq!(play.status(), RunStatus::Dissolved);
    assert_eq!(play.told_orders().last(), Some(&(nth(1), "leave_run")));
    assert!(
        matches!(play.ask(SYSTEM, &join(2)), Err(Refusal::TooLate(_))),
        "it is told to look on"
    );

    let mut play = Play::planned(&[1, 2, 3]);
    play.yes(join(2));
    let (due, _) = play.run.deadline().unwrap();
    assert_eq!(due, NOW + secs(3));
    play.now = due;
    play.yes(Command::Tick {});
    assert_eq!(play.status(), RunStatus::Dissolved, "nobody waits for who says nothing");
}

#[test]
fn a_promise_that_would_be_broken_is_not_made() {
    let mut play = Play::planned(&[1, 2, 3]);
    play.yes(join(1));
    play.yes(join(2));
    let soon = Batch { promise: Some(NOW + secs(60)), ..part(3).times };
    let late = Part { times: soon, ..part(3) };
    play.yes(Command::Join { order: nth(3), part: Box::new(late) });
    assert_eq!(play.slots().into_iter().map(|it| it.0).collect::<Vec<_>>(), [nth(1), nth(2)]);
    assert!(play.told_orders().contains(&(nth(3), "leave_run")));
    let heavy = Part { weight_g: 6_000, ..part(1) };
    let mut play = Play::planned(&[1, 2]);
    play.yes(Command::Join { order: nth(1), part: Box::new(heavy.clone()) });
    play.yes(Command::Join { order: nth(2), part: Box::new(Part { weight_g: 6_000, ..part(2) }) });
    play.accept();
    assert_eq!(play.sequence(), "+1 -1 +2 -2", "no more than fits");
}

#[test]
fn what_its_driver_may_not_bring_any_more_does_not_join() {
    let joined = |left_s| {
        let (id, run) = (RunId::nth(1), Run::default());
        let mut play = Play { id, run, now: NOW, journal: Vec::new(), effects: Vec::new() };
        let all = plan(&[1, 2]);
        let cart = Cart { until: Some(NOW + secs(left_s)), ..all.cart };
        play.yes(Command::Plan(Box::new(Plan { cart, ..all })));
        play.yes(join(1));
        play.yes(join(2));
        play
    };
    // Both take 530 s, the first alone 400 s.
    assert!(joined(600).life().offer.is_some());
    assert_eq!(joined(500).status(), RunStatus::Dissolved, "one is no run");
}

#[test]
fn one_that_is_called_off_while_it_is_offered_lets_the_rest_be_offered_anew() {
    let mut play = Play::offered(&[1, 2, 3]);
    let first = play.offer();
    play.told();
    play.yes(leave(2));
    assert_ne!(play.offer(), first);
    let told = play.told();
    assert!(matches!(
        &told[0].1,
        Tell::Driver { command: driver::Command::WithdrawOffer { offer, .. }, .. } if *offer == first
    ));
    let Tell::Driver { command: driver::Command::ReserveOffer { offer, .. }, .. } = &told[1].1
    else {
        panic!("{told:?}")
    };
    assert_eq!(offer.fare.amount, 1_001 + 1_003);
    // Who said yes to what is not offered any more has not said yes.
    let slots = vec![(nth(1), 0), (nth(2), 1), (nth(3), 2)];
    let late = Command::AcceptOffer { offer: first, driver: driver(), slots };
    assert_eq!(play.ask(SYSTEM, &late), Err(Refusal::OfferGone(OfferStatus::Lost)));
    play.yes(leave(3));
    assert_eq!(play.status(), RunStatus::Dissolved);
}

#[test]
fn a_no_and_a_silence_send_every_order_back_to_its_own_search() {
    for (says_no, status) in [(true, OfferStatus::Declined), (false, OfferStatus::Expired)] {
        let mut play = Play::offered(&[1, 2]);
        play.told();
        if says_no {
            let offer = play.offer();
            play.yes(Command::DeclineOffer { offer });
        } else {
            play.now = play.run.deadline().unwrap().0;
            play.yes(Command::Tick {});
        }
        assert_eq!(play.status(), RunStatus::Dissolved);
        let told = play.told();
        for (n, (_, tell)) in [1, 2].into_iter().zip(told) {
            let left = Heard::LeaveRun { run: play.id, status };
            assert_eq!(tell, Tell::job(nth(n).into(), left));
        }
    }
    let mut play = Play::offered(&[1, 2]);
    let offer = play.offer();
    play.yes(Command::RefuseOffer { offer, why: "has no room".to_owned() });
    assert_eq!(play.status(), RunStatus::Dissolved);
}

#[test]
fn no_yes_is_late_and_none_is_somebody_elses() {
    let mut play = Play::offered(&[1, 2]);
    let (offer, slots) = (play.offer(), play.slots());
    let other = Command::AcceptOffer { offer, driver: DriverId::nth(2), slots: slots.clone() };
    assert!(matches!(play.ask(SYSTEM, &other), Err(Refusal::NotYours(_))));
    let yes = Command::AcceptOffer { offer, driver: driver(), slots: slots.clone() };
    let mut late = play.clone();
    late.now = late.run.deadline().unwrap().0;
    assert_eq!(late.ask(SYSTEM, &yes), Err(Refusal::OfferGone(OfferStatus::Expired)));
    play.yes(yes.clone());
    assert_eq!(play.ask(SYSTEM, &yes), Ok(vec![]), "said again");
    let once_more = Command::AcceptOffer { offer, driver: driver(), slots: vec![slots[1]] };
    assert_eq!(play.ask(SYSTEM, &once_more), Ok(vec![]), "by an order's job that waits");
}

#[test]
fn an_order_that_changed_meanwhile_falls_out_and_the_run_goes_on() {
    let mut play = Play::offered(&[1, 2, 3]);
    play.accept();
    play.told();
    play.yes(leave(2));
    let aborts = play.told().into_iter().any(|(_, tell)| {
        let wanted = JobId::Order(nth(2));
        matches!(
            tell,
            Tell::Driver { command: driver::Command::AbortJob { job, .. }, .. } if job == wanted
        )
    });
    assert!(aborts, "its driver holds no place for it");
    play.yes(Command::NoteAssigned { order: nth(1) });
    play.yes(Command::NoteAssigned { order: nth(3) });
    assert_eq!((play.status(), play.sequence().as_str()), (RunStatus::Active, "+1 +3 -1 -3"));
    // Called off on the way: the rest is brought all the same.
    play.yes(leave(3));
    assert_eq!(play.sequence(), "+1 -1");
    play.yes(done(1, StopKind::Pickup));
    play.yes(done(1, StopKind::Dropoff));
    assert_eq!(play.status(), RunStatus::Completed);
    let mut gone = Play::active(&[1, 2]);
    gone.yes(leave(1));
    gone.yes(leave(2));
    assert_eq!(gone.status(), RunStatus::Abandoned, "nothing of it was brought");
}

#[test]
fn a_run_under_way_takes_one_more_along_if_its_driver_wants_to() {
    let mut play = Play::active(&[1, 2]);
    play.yes(done(1, StopKind::Pickup));
    play.told();
    play.yes(insert(3));
    assert_eq!(play.told_orders(), [(nth(3), "join_run")]);
    assert_eq!(play.run.listing(play.id), None, "one after the other");
    assert!(matches!(play.ask(SYSTEM, &insert(4)), Err(Refusal::TooEarly { .. })));
    play.yes(join(3));
    let told = play.told();
    let Tell::Driver { command: driver::Command::ReserveOffer { offer, .. }, .. } = &told[0].1
    else {
        panic!("{told:?}")
    };
    assert_eq!((offer.fare.amount, offer.jobs().count()), (1_003, 1), "what is new pays");
    assert_eq!(offer.run.as_ref().unwrap().stops.len(), 5, "and all that would then be to be done");
    assert_eq!(play.sequence(), "+2 -1 -2", "as it was, until the driver says yes");
    let mut no = play.clone();
    let offer = no.offer();
    no.yes(Command::DeclineOffer { offer });
    assert_eq!((no.status(), no.sequence().as_str()), (RunStatus::Active, "+2 -1 -2"));
    assert!(no.told_orders().contains(&(nth(3), "leave_run")));
    play.accept();
    play.yes(Command::NoteAssigned { order: nth(3) });
    assert_eq!((play.status(), play.sequence().as_str()), (RunStatus::Active, "+2 +3 -1 -2 -3"));
    // What would make the others late is not offered.
    let mut play = Play::active(&[1, 2]);
    play.yes(insert(3));
    let far = Part { pickup: at(-60_000.0), dropoff: at(60_000.0), ..part(3) };
    play.yes(Command::Join { order: nth(3), part: Box::new(far) });
    assert_eq!(play.life().offer, None);
    assert!(play.run.listing(play.id).is_some());
}

/// A one-way street, with all that is fetched in it: to go up it takes ten minutes around the block.
fn one_way() -> Legs {
    let places: Vec<Point> = std::iter::once(KIGALI)
        .chain((1..=3).map(|n| part(n).pickup.at))
        .chain((1..=3).map(|n| part(n).dropoff.at))
        .collect();
    let seconds = |from: usize, to: usize| match (from, to) {
        (0, 1..=3) => 30,
        (1..=3, 1..=3) if to > from => 600,
        (1..=3, 1..=3) if to < from => 10,
        _ if from == to => 0,
        _ => 200 + 10 * from.abs_diff(to) as u32,
    };
    let n = places.len();
    let seconds = (0..n).flat_map(|from| (0..n).map(move |to| seconds(from, to))).collect();
    Legs { places, seconds }
}

#[test]
fn a_run_is_driven_as_its_regions_router_says_and_not_as_the_crow_flies() {
    let mut play = Play {
        id: RunId::nth(1),
        run: Run::default(),
        now: NOW,
        journal: Vec::new(),
        effects: Vec::new(),
    };
    play.yes(Command::Plan(Box::new(Plan { legs: one_way(), ..plan(&[1, 2, 3]) })));
    (1..=3).for_each(|n| play.yes(join(n)));
    play.accept();
    assert_eq!(play.sequence(), "+3 +2 +1 -1 -2 -3");
    assert_eq!(play.life().stops[0].due, NOW + secs(60), "30 s to drive, 30 to the door");

    // What is brought along later comes with ways of its own.
    let stops = |legs: Legs| {
        let mut play = Play::active(&[1, 2]);
        let orders = vec![wanted(3)];
        play.yes(Command::Insert { orders, place: Some(KIGALI), legs, reason: None });
        play.yes(join(3));
        let open = play.life().offer.as_ref().unwrap();
        let at = |n| {
            let is_it = |it: &Stop| (it.order, it.what) == (nth(n), StopKind::Pickup);
            open.stops.iter().position(is_it)
        };
        (at(1), at(2), at(3))
    };
    assert_eq!(stops(Legs::default()), (Some(0), Some(1), Some(2)));
    let (first, second, third) = stops(one_way());
    assert!(first == Some(0) && third < second, "{second:?} {third:?}");
}

#[test]
fn what_is_late_already_keeps_nothing_else_from_being_taken_along() {
    let mut play = Play::active(&[1, 2]);
    play.now = NOW + secs(7_200);
    play.yes(insert(3));
    let times = Batch { promise: Some(play.now + secs(3_600)), ..part(3).times };
    play.yes(Command::Join { order: nth(3), part: Box::new(Part { times, ..part(3) }) });
    assert!(play.life().offer.is_some());
    // But it is not made later still.
    let stops: Vec<_> = play.life().offer.as_ref().unwrap().stops.clone();
    let at = |n| stops.iter().position(|it| (it.order, it.what) == (nth(n), StopKind::Dropoff));
    assert!(at(1) < at(3) && at(2) < at(3), "{stops:?}");
}

#[test]
fn goods_that_one_driver_could_not_take_over_may_go_to_another() {
    let hand_over = |to: u64| Command::Split {
        orders: Vec::new(),
        driver: DriverId::nth(to),
        into: RunId::nth(to),
        place: None,
        capacity_g: 0,
        with_goods: true,
        reason: because(),
    };
    let mut play = Play::active(&[1, 2]);
    play.yes(done(1, StopKind::Pickup));
    play.yes(done(2, StopKind::Pickup));
    play.told();
    play.yes(hand_over(2));
    assert_eq!(play.told_orders(), [1, 2].map(|n| (nth(n), "handover")));
    assert_eq!(play.ask(STAFF, &hand_over(2)), Ok(vec![]));
    play.yes(hand_over(3));
    // Or to the same one, if an order has said no.
    play.yes(Command::Stay { orders: vec![nth(2)] });
    play.told();
    play.yes(hand_over(3));
    assert_eq!(play.told_orders(), [(nth(2), "handover")]);
}

#[test]
fn staff_reorder_what_can_be_driven_so() {
    let mut play = Play::active(&[1, 2]);
    let stops = |all: &[(u64, StopKind)]| -> Vec<Errand> {
        all.iter().map(|(n, what)| Errand { order: nth(*n), what: *what }).collect()
    };
    use StopKind::{Dropoff, Pickup};
    let reorder = |stops| Command::Reorder { stops, reason: because() };
    let wanted = [(2, Pickup), (2, Dropoff), (1, Pickup), (1, Dropoff)];
    play.yes(reorder(stops(&wanted)));
    assert_eq!(play.sequence(), "+2 -2 +1 -1");
    assert_eq!(play.ask(STAFF, &reorder(stops(&wanted))), Ok(vec![]));
    let backwards = [(2, Dropoff), (2, Pickup), (1, Pickup), (1, Dropoff)];
    assert!(matches!(play.no(reorder(stops(&backwards))), Refusal::Invalid { .. }));
    assert!(matches!(play.no(reorder(stops(&wanted[..3]))), Refusal::Invalid { .. }));
    let silent = Command::Reorder { stops: stops(&wanted), reason: " ".to_owned() };
    assert!(matches!(play.no(silent), Refusal::Invalid { .. }));
    let own = Principal::Driver(driver());
    assert!(matches!(play.ask(own, &reorder(stops(&wanted))), Err(Refusal::NotYours(_))));
}

#[test]
fn staff_take_out_what_is_not_fetched_and_its_order_has_the_last_word() {
    let mut play = Play::active(&[1, 2]);
    play.yes(done(1, StopKind::Pickup));
    let remove = |n| Command::Remove { orders: vec![nth(n)], reason: because() };
    assert!(matches!(play.no(remove(1)), Refusal::TooLate(_)));
    assert!(matches!(play.no(remove(9)), Refusal::Unknown(_)));
    play.told();
    play.yes(remove(2));
    assert_eq!(play.told_orders(), [(nth(2), "leave_run")]);
    assert_eq!(play.ask(STAFF, &remove(2)), Ok(vec![]));
    assert_eq!(play.sequence(), "+2 -1 -2", "not before the order says so");
    let mut stays = play.clone();
    stays.yes(Command::Stay { orders: vec![nth(2)] });
    stays.yes(remove(2));
    play.yes(leave(2));
    assert_eq!(play.sequence(), "-1");
}

#[test]
fn a_part_becomes_another_drivers_run_and_two_runs_become_one() {
    let mut play = Play::active(&[1, 2, 3]);
    play.yes(done(1, StopKind::Pickup));
    play.told();
    let split = |orders: &[u64], with_goods| Command::Split {
        orders: orders.iter().map(|n| nth(*n)).collect(),
        driver: DriverId::nth(2),
        into: RunId::nth(2),
        place: Some(KIGALI),
        capacity_g: 5_000,
        with_goods,
        reason: because(),
    };
    let mut halves = play.clone();
    halves.yes(split(&[3], false));
    let told = halves.told();
    let [(_, Tell::Run { to, command: Command::Plan(plan) })] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!((*to, plan.driver, plan.consent), (RunId::nth(2), DriverId::nth(2), false));
    assert_eq!(plan.orders, [Wanted { order: nth(3), round: None, from: Some(play.id) }]);
    assert_eq!(halves.ask(STAFF, &split(&[3], false)), Ok(vec![]));
    let mut all = play.clone();
    all.yes(split(&[], true));
    let told: Vec<_> = all.told().into_iter().map(|(to, _)| to).collect();
    let wanted = [EntityKey::from(RunId::nth(2)), EntityKey::from(nth(1))];
    assert_eq!(told, wanted, "goods change hands on their own");
    let mut merged = play.clone();
    merged.yes(Command::Merge { into: RunId::nth(3), reason: because() });
    let told = merged.told();
    let [(_, Tell::Run { command: Command::Insert { orders, .. }, .. })] = told.as_slice() else {
        panic!("{told:?}")
    };
    assert_eq!(orders.iter().map(|it| it.order).collect::<Vec<_>>(), [nth(2), nth(3)]);
    // The run they were to join tells the one they come from, if they do not.
    let mut other = Play::active(&[4, 5]);
    let insert = Command::Insert {
        orders: orders.clone(),
        place: None,
        legs: Legs::default(),
        reason: Some(because()),
    };
    other.yes(insert);
    other.told();
    other.yes(leave(2));
    let stay = Command::Stay { orders: vec![nth(2)] };
    let told = (EntityKey::from(play.id), Tell::Run { to: play.id, command: stay });
    assert_eq!(other.told(), [told]);
}

#[test]
fn what_an_abandoned_run_has_fetched_stays_and_the_rest_goes_back() {
    for by_order in [true, false] {
        let mut play = Play::active(&[1, 2]);
        play.yes(done(1, StopKind::Pickup));
        play.told();
        play.yes(match by_order {
            true => Command::LoseDriver { why: because() },
            false => Command::Abandon { reason: because() },
        });
        assert_eq!(play.status(), RunStatus::Abandoned);
        // Each order knows best: one that is fetched calls for a dispatcher, one that is not looks on.
        assert_eq!(play.told_orders(), [1, 2].map(|n| (nth(n), "driver_lost")));
        assert_eq!(play.ask(SYSTEM, &leave(2)), Ok(vec![]));
        assert_eq!(play.run.claims(play.id), []);
    }
}

#[test]
fn who_may_see_it() {
    let play = Play::planned(&[1, 2]);
    let own = Principal::Driver(driver());
    let see = |play: &Play, by| play.run.run_view(play.id, 1, by).is_some();
    assert!(see(&play, STAFF) && !see(&play, own), "it is not offered yet");
    let play = Play::active(&[1, 2]);
    let others = [Principal::Driver(DriverId::nth(2)), Principal::Rider(protocol::RiderId::nth(1))];
    assert!(see(&play, own) && others.iter().all(|by| !see(&play, *by)));
    let view = play.run.run_view(play.id, 9, own).unwrap();
    assert_eq!((view.stops.len(), view.orders.len(), view.version), (4, 2, 9));
    assert_eq!(view.fare.unwrap().amount, 1_001 + 1_002);
    let row = play.run.view(play.id).unwrap();
    assert_eq!((row.status.as_str(), row.driver, row.rider), ("active", Some(driver()), None));
    assert_eq!(Run::default().view(play.id), None);
}

#[test]
fn no_older_build_reads_it() {
    assert_eq!(Run::event_format(&Event::Completed { at: NOW }), Format(5));
    let tell = Tell::Run { to: RunId::nth(1), command: Command::Tick {} };
    assert_eq!(tell.format(), Format(5));
    let mut play = Play::offered(&[1, 2]);
    assert!(play.told().iter().all(|(_, tell)| tell.format() == Format(5)));
}

/// Every kind of event there is, as the first version wrote them. Never edit; add.
const GOLDEN: &str = include_str!("../../tests/journals/run-v1.jsonl");

#[test]
fn a_journal_of_its_first_version_still_replays() {
    let mut runs: Vec<Run> = Vec::new();
    let mut names = BTreeSet::new();
    for line in GOLDEN.lines() {
        let event: Event = serde_json::from_str(line).unwrap();
        if let Event::Planned { .. } = event {
            runs.push(Run::default());
        }
        names.insert(Run::event_name(&event));
        runs.last_mut().expect("a journal begins with it").evolve(&event);
    }
    let ends: Vec<_> = runs.iter().filter_map(Run::status).collect();
    assert_eq!(ends, [RunStatus::Dissolved, RunStatus::Completed, RunStatus::Abandoned]);
    assert_eq!(names, <Event as strum::VariantNames>::VARIANTS.iter().copied().collect());
}

fn any_command() -> impl Strategy<Value = (u64, Principal, Command)> {
    let n = || 1..6_u64;
    let what = || prop_oneof![Just(StopKind::Pickup), Just(StopKind::Dropoff)];
    let offer = || (0..4_u32).prop_map(|n| OfferId::of_run(RunId::nth(1), n));
    let few = || prop::collection::vec(n().prop_map(nth), 0..3);
    let command = prop_oneof![
        8 => n().prop_map(join),
        3 => n().prop_map(leave),
        4 => (offer(), prop::collection::vec(n(), 0..4)).prop_map(|(offer, orders)| {
            let slots = orders.into_iter().map(nth).zip(0..).collect();
            Command::AcceptOffer { offer, driver: driver(), slots }
        }),
        1 => offer().prop_map(|offer| Command::DeclineOffer { offer }),
        1 => offer().prop_map(|offer| Command::RefuseOffer { offer, why: because() }),
        8 => n().prop_map(|n| Command::NoteAssigned { order: nth(n) }),
        8 => (n(), what()).prop_map(|(n, what)| done(n, what)),
        2 => n().prop_map(insert),
        1 => few().prop_map(|orders| Command::Stay { orders }),
        2 => few().prop_map(|orders| Command::Remove { orders, reason: because() }),
        1 => few().prop_map(|orders| Command::Split {
            orders, driver: DriverId::nth(2), into: RunId::nth(2), place: None, capacity_g: 9,
            with_goods: true, reason: because(),
        }),
        1 => Just(Command::Merge { into: RunId::nth(3), reason: because() }),
        1 => Just(Command::LoseDriver { why: because() }),
        1 => Just(Command::Abandon { reason: because() }),
        4 => Just(Command::Tick {}),
    ];
    let who =
        prop_oneof![6 => Just(SYSTEM), 2 => Just(STAFF), 1 => Just(Principal::Driver(driver()))];
    (prop_oneof![6 => 0..2_000_u64, 1 => 0..40_000_u64], who, command)
}

/// True of every run at all times.
fn hold(play: &Play) -> Result<(), TestCaseError> {
    let life = play.life();
    let mut orders: Vec<OrderId> = life.members.iter().map(|it| it.order).collect();
    orders.sort_unstable();
    orders.dedup();
    prop_assert_eq!(orders.len(), life.members.len(), "no order is in it twice");
    let n_left = life.members.iter().filter(|it| it.status != MemberStatus::Done).count();
    prop_assert!(n_left <= usize::from(life.plan.orders_max));
    let is_driven = matches!(life.status, RunStatus::Accepted | RunStatus::Active);
    prop_assert_eq!(!play.run.claims(play.id).is_empty(), is_driven);
    if life.status.is_final() {
        prop_assert_eq!(play.run.deadline(), None);
        prop_assert_eq!(play.run.listing(play.id), None);
        prop_assert!(life.stops.is_empty() && life.offer.is_none());
    }
    if is_driven {
        // What is waiting is fetched and handed over, what is on board is handed over; each once and in that order.
        for member in &life.members {
            let at =
                |what| life.stops.iter().position(|it| (it.order, it.what) == (member.order, what));
            let (pickup, dropoff) = (at(StopKind::Pickup), at(StopKind::Dropoff));
            match member.status {
                MemberStatus::Assigning | MemberStatus::Waiting => {
                    prop_assert!(pickup.is_some() && pickup < dropoff, "{:?}", life.stops);
                }
                MemberStatus::Aboard => prop_assert!(pickup.is_none() && dropoff.is_some()),
                MemberStatus::Asked | MemberStatus::Joined | MemberStatus::Done => {
                    prop_assert!(pickup.is_none() && dropoff.is_none());
                }
            }
        }
        let n_stops: usize = life
            .members
            .iter()
            .map(|it| match it.status {
                MemberStatus::Assigning | MemberStatus::Waiting => 2,
                MemberStatus::Aboard => 1,
                MemberStatus::Asked | MemberStatus::Joined | MemberStatus::Done => 0,
            })
            .sum();
        prop_assert_eq!(n_stops, life.stops.len());
    }
    if let Some(offer) = &life.offer {
        prop_assert!(
            offer.expires_at + secs(5) <= life.frozen_until,
            "who joined waits long enough"
        );
        prop_assert!(life.members.iter().any(|it| it.status == MemberStatus::Joined));
    }
    Ok(())
}

proptest! {
    /// The decider laws: the journal replays to the live state, a repeat has no second effect, nothing that is due stays
    /// due, the end is final, and what is to be done is always what is left of it.
    #[test]
    fn no_sequence_of_commands_breaks_a_run(
        n in 1..4_u64,
        begin in 0..3_u8,
        steps in prop::collection::vec(any_command(), 0..60),
    ) {
        let orders: Vec<u64> = (1..=n + 1).collect();
        let mut play = match begin {
            0 => Play::planned(&orders),
            1 => Play::offered(&orders),
            _ => Play::active(&orders),
        };
        for (wait_ms, by, command) in steps {
            play.now = play.now + Duration::from_millis(wait_ms);
            let before = play.clone();
            let Ok(events) = play.ask(by, &command) else { continue };
            prop_assert!(events.is_empty() || !before.status().is_final(), "{:?} after the end", command);
            let again = play.ask(by, &command).unwrap_or_default();
            prop_assert!(again.is_empty(), "{:?} again: {:?}", command, again);
            if command == (Command::Tick {}) {
                let due = play.run.deadline().map(|(due, _)| due);
                prop_assert!(due.is_none_or(|due| due > play.now), "{:?} stands still", due);
            }
            hold(&play)?;
        }
        let mut replayed = Run::default();
        for event in &play.journal {
            let bytes = rmp_serde::to_vec_named(event).unwrap();
            replayed.evolve(&rmp_serde::from_slice(&bytes).unwrap());
        }
        prop_assert_eq!(&replayed, &play.run, "replaying the journal gives the live state");
        let bytes = rmp_serde::to_vec_named(&play.run).unwrap();
        let restored: Run = rmp_serde::from_slice(&bytes).unwrap();
        prop_assert_eq!(&restored, &play.run, "and so does a snapshot");
        for effect in &play.effects {
            let bytes = rmp_serde::to_vec_named(effect).unwrap();
            prop_assert_eq!(&rmp_serde::from_slice::<Effect>(&bytes).unwrap(), effect);
        }
    }
}

/// As staff want it: of all of them, or not at all.
fn wanted_by(by: Principal, orders: &[u64]) -> Command {
    let stop = |n: &u64| Stop { order: nth(*n), what: StopKind::Pickup, due: NOW };
    let n_min = orders.len() as u8;
    let told = orders.iter().map(stop).collect();
    let (by, reason) = (Some(by), Some(because()));
    Command::Plan(Box::new(Plan { n_min, by, told, reason, ..plan(orders) }))
}

fn new_play() -> Play {
    let (id, run) = (RunId::nth(1), Run::default());
    Play { id, run, now: NOW, journal: Vec::new(), effects: Vec::new() }
}

#[test]
fn what_staff_want_is_brought_by_all_who_were_named_or_by_nobody() {
    let mut play = new_play();
    play.yes(wanted_by(STAFF, &[1, 2, 3]));
    assert_eq!(play.ask(STAFF, &wanted_by(STAFF, &[1, 2, 3])), Ok(vec![]), "said again");
    play.yes(join(1));
    play.yes(join(2));
    play.told();
    play.yes(leave(3));
    assert_eq!(play.status(), RunStatus::Dissolved);
    let let_go: Vec<OrderId> = play.told_orders().into_iter().map(|(order, _)| order).collect();
    assert_eq!(let_go, [nth(1), nth(2)], "who had joined looks on");

    let mut play = new_play();
    play.yes(wanted_by(STAFF, &[1, 2]));
    play.yes(join(1));
    play.yes(join(2));
    assert_eq!(play.status(), RunStatus::Offered);
    play.yes(leave(1));
    assert_eq!(play.status(), RunStatus::Dissolved, "also once the driver is asked");
}

#[test]
fn only_staff_want_runs_and_each_says_who_and_why() {
    for by in [Principal::Driver(driver()), SYSTEM] {
        let answer = new_play().ask(by, &wanted_by(by, &[1, 2]));
        assert!(matches!(answer, Err(Refusal::NotYours(_))), "{by:?}: {answer:?}");
    }
    let answer = new_play().ask(STAFF, &wanted_by(Principal::Admin, &[1, 2]));
    assert!(matches!(answer, Err(Refusal::NotYours(_))), "in somebody else's name: {answer:?}");
    let unsigned = Command::Plan(Box::new(plan(&[1, 2])));
    assert!(matches!(new_play().ask(STAFF, &unsigned), Err(Refusal::NotYours(_))));
    let mut silent = wanted_by(STAFF, &[1, 2]);
    if let Command::Plan(plan) = &mut silent {
        plan.reason = None;
    }
    assert!(matches!(new_play().ask(STAFF, &silent), Err(Refusal::Invalid { .. })));
}

#[test]
fn builds_that_do_not_know_that_staff_want_runs_are_not_told_of_any() {
    let wanted = wanted_by(STAFF, &[1, 2]);
    assert_eq!(Run::command_format(&wanted), WANTED);
    assert_eq!(Run::command_format(&Command::Plan(Box::new(plan(&[1, 2])))), KNOWN);
    let mut play = new_play();
    let around = Context { id: play.id, by: STAFF, now: NOW, writes: KNOWN };
    assert!(matches!(play.run.decide(&wanted, &around), Err(Refusal::NotEligible(_))));
    play.yes(wanted);
    assert_eq!(Run::event_format(&play.journal[0]), WANTED);
    // What another run takes over of it is no wish of theirs for that.
    play.yes(join(1));
    play.yes(join(2));
    play.accept();
    [1, 2].iter().for_each(|n| play.yes(Command::NoteAssigned { order: nth(*n) }));
    let split = Command::Split {
        orders: vec![nth(1)],
        driver: DriverId::nth(2),
        into: RunId::nth(2),
        place: None,
        capacity_g: 10_000,
        with_goods: false,
        reason: because(),
    };
    play.yes(split);
    let last = play.journal.last().unwrap();
    assert!(matches!(last, Event::SplitAsked { plan, .. } if plan.by.is_none()), "{last:?}");
    assert_eq!(Run::event_format(last), KNOWN);
}
