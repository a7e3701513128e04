use super::*;
use crate::{
    DriverCard, Router, SearchCard, Standing, cost,
    region::Batching,
    router::{Eta, Leg, Spot, Straight},
};
use proptest::prelude::*;
use protocol::{
    JobId, OrderId,
    trace::WhyAlone,
    view::WorkKind,
    work::{Needs, OfferPolicy, Vehicle, VehicleKind},
};
use std::{
    collections::{HashMap, HashSet},
    slice,
    sync::{Arc, Mutex},
    time::Duration,
};

const KIGALI: Point = Point { lat: -1.95, lon: 30.06 };
const NOW: Timestamp = Timestamp(1_000_000_000);

fn at(east_m: f64, north_m: f64) -> Point {
    KIGALI.offset_m(east_m, north_m)
}

fn times(promise_s: u64) -> Batch {
    let promise = Some(NOW + Duration::from_secs(promise_s));
    Batch { asked: NOW, ready: NOW, promise, until: NOW + Duration::from_secs(180) }
}

fn waiting(n: u64, from: Point, to: Point) -> SearchCard {
    SearchCard {
        work: WorkKind::Delivery,
        dropoff: Some(to),
        policy: OfferPolicy::BatchOptimal,
        round: n as u32,
        radius_m: 5_000,
        batch: Some(times(3_600)),
        ..SearchCard::nth(n, from, Timestamp(NOW.0 + n))
    }
}

fn driver(n: u64, at: Point) -> DriverCard {
    let vehicle = Vehicle { kind: VehicleKind::Moto, capacity_g: 20_000, skills: Vec::new() };
    DriverCard { n_slots: 5, ..DriverCard::nth(n, Arc::new(vehicle), at, NOW) }
}

fn planned(waiting: &[SearchCard], drivers: &[DriverCard], runs: &[RunCard]) -> Vec<Proposal> {
    planned_by(&cost::Settings::default().straight(), waiting, drivers, runs)
}

fn planned_by(
    router: &dyn Router,
    waiting: &[SearchCard],
    drivers: &[DriverCard],
    runs: &[RunCard],
) -> Vec<Proposal> {
    let waiting: Vec<_> = waiting.iter().cloned().map(Arc::new).collect();
    let drivers: Vec<_> = drivers.iter().cloned().map(Arc::new).collect();
    let runs: Vec<_> = runs.iter().cloned().map(Arc::new).collect();
    let costs = cost::Settings::default();
    plan(&waiting, &drivers, &runs, NOW, &Settings::default(), &costs, router)
}

fn orders_of(proposals: &[Proposal]) -> Vec<Vec<OrderId>> {
    let orders = proposals.iter().map(|it| match it {
        Proposal::Run(together) => together.orders.iter().map(|it| it.0).collect(),
        Proposal::Insert { order, .. } => vec![order.0],
    });
    orders.collect()
}

/// Three from one street to the next one, two kilometres on.
fn neighbours() -> [SearchCard; 3] {
    [1, 2, 3].map(|n| waiting(n, at(50.0 * n as f64, 0.0), at(2_000.0, 100.0 * n as f64)))
}

#[test]
fn neighbours_are_brought_together_by_who_is_near() {
    let drivers = [driver(1, at(-3_000.0, 0.0)), driver(2, at(-300.0, 0.0))];
    let proposals = planned(&neighbours(), &drivers, &[]);
    assert_eq!(orders_of(&proposals), [[1, 2, 3].map(OrderId::nth)]);
    let Proposal::Run(together) = &proposals[0] else { panic!("{proposals:?}") };
    assert_eq!(together.driver, DriverId::nth(2));
    assert_eq!(together.orders[1], (OrderId::nth(2), 2), "with the rounds they answer");
    assert!(together.saving_percent >= 50, "{}", together.saving_percent);
}

#[test]
fn what_breaks_a_limit_is_not_brought_together() {
    let all = neighbours();
    let cases: [(&str, SearchCard); 8] = [
        ("fetched elsewhere", SearchCard { pickup: at(2_500.0, 0.0), ..all[1].clone() }),
        ("brought elsewhere", SearchCard { dropoff: Some(at(-2_000.0, 0.0)), ..all[1].clone() }),
        (
            "ready an hour later",
            SearchCard {
                batch: Some(Batch { ready: NOW + Duration::from_secs(3_700), ..times(9_000) }),
                ..all[1].clone()
            },
        ),
        ("nobody is in time", SearchCard { batch: Some(times(200)), ..all[1].clone() }),
        ("not to be batched", SearchCard { batch: None, ..all[1].clone() }),
        (
            "its search ends before",
            SearchCard {
                batch: Some(Batch { until: NOW + Duration::from_secs(30), ..times(3_600) }),
                ..all[1].clone()
            },
        ),
        ("being offered", SearchCard { n_wanted: 0, ..all[1].clone() }),
        (
            "too heavy",
            SearchCard { needs: Needs { weight_g: 30_000, ..Needs::default() }, ..all[1].clone() },
        ),
    ];
    for (why, other) in cases {
        let proposals = planned(&[all[0].clone(), other], &[driver(1, at(-300.0, 0.0))], &[]);
        assert_eq!(proposals, [], "{why}");
    }
    let busy = DriverCard { is_free: false, ..driver(1, at(-300.0, 0.0)) };
    assert_eq!(planned(&all, &[busy], &[]), [], "who has other work is not given a run");
    let declined = SearchCard { excluded: vec![DriverId::nth(1)], ..all[2].clone() };
    let some = [all[0].clone(), all[1].clone(), declined];
    let proposals = planned(&some, &[driver(1, at(-300.0, 0.0))], &[]);
    assert_eq!(orders_of(&proposals), [[1, 2].map(OrderId::nth)], "who declined one");
}

fn chosen_of(
    waiting: &[SearchCard],
    drivers: &[DriverCard],
    (is_named, is_forced): (bool, bool),
) -> Result<Chosen, Vec<(OrderId, WhyAlone)>> {
    let waiting: Vec<_> = waiting.iter().cloned().map(Arc::new).collect();
    let drivers: Vec<_> = drivers.iter().cloned().map(Arc::new).collect();
    let costs = cost::Settings::default();
    let leeway = Leeway { is_named, is_forced, is_apart: false };
    let chosen =
        chosen(&waiting, &drivers, leeway, NOW, &Settings::default(), &costs, &costs.straight());
    chosen.map_err(|against| against.into_iter().map(|it| (it.order, it.why)).collect())
}

#[test]
fn what_staff_choose_is_brought_by_the_nearest_in_the_best_order_or_not_at_all() {
    let all = neighbours();
    let near = driver(1, at(-300.0, 0.0));
    let drivers = [driver(2, at(-900.0, 0.0)), near.clone()];
    let Chosen { together, stops } = chosen_of(&all, &drivers, (false, false)).unwrap();
    assert_eq!(together.driver, DriverId::nth(1));
    let fetched = stops.iter().filter(|it| it.is_pickup).map(|it| it.order);
    assert!(fetched.eq(together.orders.iter().map(|it| it.0)), "in the order of the stops");
    assert_eq!(stops.len(), 6);
    assert!(stops.is_sorted_by_key(|it| it.at));
    let by_itself = planned(&all, &drivers, &[]);
    let Proposal::Run(found) = &by_itself[0] else { panic!("{by_itself:?}") };
    assert_eq!((found.driver, found.orders.len()), (together.driver, 3), "as a region would");
    assert!(together.saving_percent >= 50, "{}", together.saving_percent);

    let apart = SearchCard { pickup: at(2_500.0, 0.0), ..all[1].clone() };
    let why = chosen_of(&[all[0].clone(), apart], &drivers, (true, true)).unwrap_err();
    assert_eq!(why, [(OrderId::nth(2), WhyAlone::PickupsApart)], "no force brings it nearer");
    let far = [driver(1, at(-9_000.0, 0.0))];
    let none = |why| all.each_ref().map(|it| (order_of(it), why)).to_vec();
    assert_eq!(chosen_of(&all, &far, (false, false)), Err(none(WhyAlone::NoDriver)));
    assert!(chosen_of(&all, &far, (true, true)).is_ok(), "but by who was named");
    let small = [DriverCard { n_slots: 2, ..near.clone() }];
    assert_eq!(chosen_of(&all, &small, (false, true)), Err(none(WhyAlone::NoDriver)));
    let declined = SearchCard { excluded: vec![DriverId::nth(1)], ..all[2].clone() };
    let some = [all[0].clone(), declined];
    let why = chosen_of(&some, slice::from_ref(&near), (true, true)).unwrap_err();
    assert_eq!(why, [(OrderId::nth(3), WhyAlone::NoDriver)], "who said no to one of them");
    let late = SearchCard { batch: Some(times(200)), ..all[1].clone() };
    let why = chosen_of(&[all[0].clone(), late], slice::from_ref(&near), (true, true)).unwrap_err();
    assert_eq!(why, [(OrderId::nth(2), WhyAlone::Late)]);
}

#[test]
fn what_saves_too_little_is_brought_together_only_if_staff_insist() {
    // Fetched and brought within the limits, and in opposite directions.
    let (from, to) = (at(0.0, 0.0), at(1_400.0, 0.0));
    let both = [waiting(1, from, to), waiting(2, to, from)];
    let drivers = [driver(1, at(700.0, 900.0))];
    let each = both.each_ref().map(|it| (order_of(it), WhyAlone::NoSaving)).to_vec();
    let settings = Settings { saving_percent: 60, ..Settings::default() };
    let costs = cost::Settings::default();
    let cards = both.each_ref().map(|it| Arc::new(it.clone()));
    let by = drivers.each_ref().map(|it| Arc::new(it.clone()));
    let judged = |is_forced| {
        let leeway = Leeway { is_named: true, is_forced, is_apart: false };
        chosen(&cards, &by, leeway, NOW, &settings, &costs, &costs.straight())
    };
    let why = judged(false).unwrap_err();
    let why: Vec<_> = why.into_iter().map(|it| (it.order, it.why)).collect();
    assert_eq!(why, each);
    assert!(judged(true).is_ok());
}

fn order_of(card: &SearchCard) -> OrderId {
    let JobId::Order(order) = card.job else { panic!("{card:?}") };
    order
}

fn why_alone(waiting: &[SearchCard], drivers: &[DriverCard]) -> Vec<(u64, WhyAlone)> {
    let proposals = planned(waiting, drivers, &[]);
    let waiting: Vec<_> = waiting.iter().cloned().map(Arc::new).collect();
    let drivers: Vec<_> = drivers.iter().cloned().map(Arc::new).collect();
    let costs = cost::Settings::default();
    let settings = Settings::default();
    let alone = alone(&waiting, &drivers, &proposals, NOW, &settings, &costs, &costs.straight());
    let number = |order| (1..=9).find(|n| OrderId::nth(*n) == order).unwrap();
    alone.into_iter().map(|it| (number(it.order), it.why)).collect()
}

#[test]
fn it_is_said_why_what_waits_stays_alone() {
    let [one, two, three] = neighbours();
    let drivers = [driver(1, at(-300.0, 0.0))];
    assert_eq!(why_alone(&[one.clone(), two.clone(), three.clone()], &drivers), []);
    assert_eq!(why_alone(slice::from_ref(&one), &drivers), [(1, WhyAlone::NobodyElse)]);
    let ready_later = Batch { ready: NOW + Duration::from_secs(3_700), ..times(9_000) };
    let cases = [
        (WhyAlone::PickupsApart, SearchCard { pickup: at(2_500.0, 0.0), ..two.clone() }),
        (WhyAlone::DropoffsApart, SearchCard { dropoff: Some(at(-2_000.0, 0.0)), ..two.clone() }),
        (WhyAlone::TimesApart, SearchCard { batch: Some(ready_later), ..two.clone() }),
        (WhyAlone::Late, SearchCard { batch: Some(times(200)), ..two.clone() }),
        (WhyAlone::NotBatched, SearchCard { batch: None, ..two.clone() }),
        (WhyAlone::Offered, SearchCard { n_wanted: 0, ..two.clone() }),
    ];
    for (why, other) in cases {
        let told = why_alone(&[one.clone(), other], &drivers);
        assert!(told.contains(&(2, why)), "{why}: {told:?}");
    }
    let nobody = [(1, WhyAlone::NoDriver), (2, WhyAlone::NoDriver)];
    assert_eq!(why_alone(&[one.clone(), two.clone()], &[]), nobody);
    let six = [1, 2, 3, 4, 5, 6]
        .map(|n| waiting(n, at(50.0 * n as f64, 0.0), at(2_000.0, 100.0 * n as f64)));
    assert_eq!(why_alone(&six, &drivers), [(6, WhyAlone::Full)]);
}

#[test]
fn of_those_that_do_not_go_with_it_the_nearest_is_named() {
    let to = at(0.0, 2_000.0);
    let far = |n: u64, east_m: f64| Arc::new(waiting(n, at(east_m, 0.0), to));
    let cards = [far(1, 0.0), far(2, 9_000.0), far(3, 2_500.0), far(4, -6_000.0)];
    let costs = cost::Settings::default();
    let told = alone(&cards, &[], &[], NOW, &Settings::default(), &costs, &costs.straight());
    let nearest = OrderId::nth(3);
    let why = WhyAlone::PickupsApart;
    assert_eq!(told[0], Against { order: OrderId::nth(1), why, with: Some(nearest) });
    // Fetched at the same place and brought elsewhere comes closer than what is near.
    let elsewhere = Arc::new(waiting(5, at(0.0, 0.0), at(0.0, -9_000.0)));
    let cards = [&cards[..], &[elsewhere]].concat();
    let told = alone(&cards, &[], &[], NOW, &Settings::default(), &costs, &costs.straight());
    assert_eq!((told[0].why, told[0].with), (WhyAlone::DropoffsApart, Some(OrderId::nth(5))));
}

#[test]
fn all_that_are_alone_are_counted_and_reasons_are_given_for_some_when_they_are_asked_for() {
    let n_all = REASONS_MAX + 7;
    let apart = |n: usize| waiting(n as u64, at(3_000.0 * n as f64, 0.0), at(0.0, 0.0));
    let batching = Batching::of_nobody(KIGALI, NOW).of_these((1..=n_all).map(apart));
    let costs = cost::Settings::default();
    let groups =
        |says_why| batching.groups(says_why, &Settings::default(), &costs, &costs.straight());
    let told = groups(true);
    assert_eq!((told.alone.len(), told.n_alone), (REASONS_MAX, n_all));
    let silent = groups(false);
    assert_eq!((silent.alone.len(), silent.n_alone), (0, n_all));
    let driver = driver(1, at(-300.0, 0.0));
    let together = Batching::of_nobody(KIGALI, NOW).of_these(neighbours()).by([driver]);
    let told = together.groups(true, &Settings::default(), &costs, &costs.straight());
    assert_eq!((told.proposals.len(), told.alone.len(), told.n_alone), (1, 0, 0));
}

fn assigned(waiting: &[SearchCard], drivers: &[DriverCard], engine: Engine) -> Assigned {
    let waiting: Vec<_> = waiting.iter().cloned().map(Arc::new).collect();
    let drivers: Vec<_> = drivers.iter().cloned().map(Arc::new).collect();
    let costs = cost::Settings::default();
    assign(&waiting, &drivers, engine, NOW, &Settings::default(), &costs, &costs.straight())
}

const ENGINES: [Engine; 3] = [Engine::Greedy, Engine::Capacity, Engine::Sequencing];

/// By how many drivers, and which orders each has.
fn manifests(assigned: &Assigned) -> Vec<(DriverId, Vec<OrderId>)> {
    let of = |it: &Chosen| {
        let mut orders: Vec<OrderId> = it.together.orders.iter().map(|it| it.0).collect();
        orders.sort_unstable_by_key(|order| (1..=9).find(|n| OrderId::nth(*n) == *order));
        (it.together.driver, orders)
    };
    assigned.manifests.iter().map(of).collect()
}

#[test]
fn each_engine_gives_orders_to_drivers_by_its_own_measure() {
    let heavy = |n, from, to, weight_g| SearchCard {
        needs: Needs { weight_g, ..Needs::default() },
        ..waiting(n, from, to)
    };
    // Two in the west and two in the east, far beyond what a region brings together.
    let (west, east) = (at(-4_000.0, 0.0), at(4_000.0, 0.0));
    let north = |at: Point| at.offset_m(0.0, 800.0);
    let all = [
        heavy(1, west, north(west), 9_000),
        heavy(2, east, north(east), 9_000),
        heavy(3, west, north(west), 9_000),
        heavy(4, east, north(east), 9_000),
    ];
    let drivers = [driver(1, west.offset_m(100.0, 0.0)), driver(2, east.offset_m(100.0, 0.0))];
    let [one, two] = [1, 2].map(DriverId::nth);
    let by_place =
        [(one, [1, 3].map(OrderId::nth).to_vec()), (two, [2, 4].map(OrderId::nth).to_vec())];
    for engine in [Engine::Greedy, Engine::Sequencing] {
        let found = assigned(&all, &drivers, engine);
        assert_eq!(manifests(&found), by_place, "{engine:?}");
        assert_eq!(found.unassigned, [], "{engine:?}");
    }
    let full = manifests(&assigned(&all, &drivers, Engine::Capacity));
    assert_eq!(full.len(), 2, "each holds two of them: {full:?}");
    let large = Vehicle { kind: VehicleKind::Van, capacity_g: 50_000, skills: Vec::new() };
    let large = [drivers[0].clone(), DriverCard { vehicle: Arc::new(large), ..drivers[1].clone() }];
    let full = manifests(&assigned(&all[..2], &large, Engine::Capacity));
    assert_eq!(full, [(one, [1, 2].map(OrderId::nth).to_vec())], "the smaller one is filled");
}

#[test]
fn who_is_given_what_can_do_it_and_what_nobody_can_is_named_with_a_reason() {
    let [one, two, three] = neighbours();
    let near = at(-300.0, 0.0);
    let late = SearchCard { batch: Some(times(200)), ..one.clone() };
    let not_theirs = SearchCard { excluded: vec![DriverId::nth(1)], ..two.clone() };
    for engine in ENGINES {
        let found = assigned(&[late.clone(), not_theirs.clone()], &[driver(1, near)], engine);
        assert_eq!(found.manifests, [], "{engine:?}");
        let mut why: Vec<WhyAlone> = found.unassigned.iter().map(|it| it.why).collect();
        why.sort_unstable();
        assert_eq!(why, [WhyAlone::NoDriver, WhyAlone::Late], "{engine:?}");
        let small = DriverCard { n_slots: 2, ..driver(1, near) };
        let found = assigned(&[one.clone(), two.clone(), three.clone()], &[small], engine);
        assert_eq!(found.manifests[0].stops.len(), 4, "{engine:?}");
        let why: Vec<WhyAlone> = found.unassigned.iter().map(|it| it.why).collect();
        assert_eq!(why, [WhyAlone::Full], "{engine:?}");
        let busy = DriverCard { is_free: false, ..driver(1, near) };
        let found = assigned(slice::from_ref(&one), &[busy], engine);
        assert_eq!(found.unassigned[0].why, WhyAlone::NoDriver, "{engine:?}");
    }
}

proptest! {
    #[test]
    fn whatever_is_given_to_drivers_each_order_is_given_once_and_no_vehicle_holds_too_much(
        places in prop::collection::vec((0..6_000_i32, 0..6_000_i32, 0..12_000_u32), 1..9),
        n_drivers in 1..4_u64,
        engine in prop::sample::select(ENGINES.to_vec()),
    ) {
        let card = |(n, (east, north, weight_g)): (usize, &(i32, i32, u32))| SearchCard {
            needs: Needs { weight_g: *weight_g, ..Needs::default() },
            ..waiting(
                n as u64 + 1,
                at(f64::from(*east), f64::from(*north)),
                at(f64::from(*north), f64::from(*east)),
            )
        };
        let all: Vec<SearchCard> = places.iter().enumerate().map(card).collect();
        let drivers: Vec<DriverCard> =
            (1..=n_drivers).map(|n| driver(n, at(1_000.0 * n as f64, 0.0))).collect();
        let found = assigned(&all, &drivers, engine);
        prop_assert_eq!(&found, &assigned(&all, &drivers, engine), "the same again");
        let given = found.manifests.iter().flat_map(|it| &it.together.orders).map(|it| it.0);
        let left = found.unassigned.iter().map(|it| it.order);
        let everything: Vec<OrderId> = given.chain(left).collect();
        let distinct: HashSet<OrderId> = everything.iter().copied().collect();
        prop_assert_eq!((everything.len(), distinct.len()), (all.len(), all.len()));
        for manifest in &found.manifests {
            let weight = |order: OrderId| {
                let card = all.iter().find(|it| it.job == JobId::Order(order)).unwrap();
                card.needs.weight_g
            };
            let (mut load_g, mut aboard) = (0, HashSet::new());
            for stop in &manifest.stops {
                if stop.is_pickup {
                    prop_assert!(aboard.insert(stop.order));
                    load_g += weight(stop.order);
                } else {
                    prop_assert!(aboard.remove(&stop.order), "brought before it is fetched");
                    load_g -= weight(stop.order);
                }
                prop_assert!(load_g <= 20_000 && aboard.len() <= 5);
            }
            prop_assert!(aboard.is_empty());
            prop_assert!(manifest.stops.is_sorted_by_key(|it| it.at));
        }
    }
}

#[test]
fn what_is_too_heavy_together_is_not_fetched_together() {
    let heavy = neighbours()
        .map(|it| SearchCard { needs: Needs { weight_g: 15_000, ..Needs::default() }, ..it });
    // One after the other saves next to nothing.
    assert_eq!(planned(&heavy, &[driver(1, at(-300.0, 0.0))], &[]), []);
}

#[test]
fn a_run_under_way_takes_along_what_lies_on_its_way_and_nothing_that_makes_it_late() {
    let parcel = |promise_s| Parcel {
        from: at(500.0, 0.0),
        to: at(3_000.0, 0.0),
        times: times(promise_s),
        weight_g: 0,
    };
    let card = |promise_s| RunCard {
        run: RunId::nth(1),
        driver: DriverId::nth(1),
        parcels: vec![parcel(promise_s)],
        errands: Errand::both(0).to_vec(),
        n_more: 4,
        capacity_g: 20_000,
        pace: Pace { crow_mps: 5.5, stop_s: 60 },
        until: None,
    };
    let on_the_way = waiting(1, at(600.0, 0.0), at(2_500.0, 50.0));
    let somewhere = waiting(2, at(600.0, 0.0), at(-4_000.0, 0.0));
    let busy = DriverCard { is_free: false, ..driver(1, at(0.0, 0.0)) };
    let proposals =
        planned(&[somewhere.clone(), on_the_way.clone()], slice::from_ref(&busy), &[card(3_600)]);
    let [Proposal::Insert { run, order, at: place, legs }] = proposals.as_slice() else {
        panic!("{proposals:?}")
    };
    assert_eq!((*run, *order, *place), (RunId::nth(1), (OrderId::nth(1), 1), at(0.0, 0.0)));
    let places = [(0.0, 0.0), (500.0, 0.0), (3_000.0, 0.0), (600.0, 0.0), (2_500.0, 50.0)];
    assert_eq!(legs.places, places.map(|(east_m, north_m)| at(east_m, north_m)));
    assert_eq!(legs.seconds[1], 90, "the first five hundred metres by motorcycle");
    // Alone it takes 540 s and two stops; with the other it is late.
    assert_eq!(planned(slice::from_ref(&on_the_way), slice::from_ref(&busy), &[card(640)]), []);
    let full = RunCard { n_more: 0, ..card(3_600) };
    assert_eq!(planned(slice::from_ref(&on_the_way), slice::from_ref(&busy), &[full]), []);
    assert_eq!(planned(&[on_the_way], &[], &[card(3_600)]), [], "nobody knows where it is");
}

/// This driver, who has worked for as long as it may in so many seconds.
fn tired(driver: DriverCard, left_s: u64) -> DriverCard {
    let until = Some(NOW + Duration::from_secs(left_s));
    DriverCard { standing: Standing { until, ..driver.standing }, ..driver }
}

#[test]
fn nobody_brings_together_what_takes_longer_than_they_may_work() {
    // Alone each takes less than ten minutes; all three, with six stops, do not.
    let by = |left_s| planned(&neighbours(), &[tired(driver(1, at(-300.0, 0.0)), left_s)], &[]);
    let proposals = by(3_600);
    let [Proposal::Run(long)] = proposals.as_slice() else { panic!("{proposals:?}") };
    assert_eq!(long.orders.len(), 3);
    assert_eq!(long.cart.until, Some(NOW + Duration::from_secs(3_600)));
    let known = Known { legs: [&long.legs, &Legs::default()], pace: long.cart.pace };
    let parcels = neighbours().map(|it| Parcel {
        from: it.pickup,
        to: it.dropoff.unwrap(),
        times: times(3_600),
        weight_g: 0,
    });
    let all: Vec<_> = (0..3).flat_map(Errand::both).collect();
    let trip = Trip::new(long.cart, &parcels, &known);
    let ends = *trip.moments(&trip.best(&all, 0).unwrap()).unwrap().last().unwrap();
    let takes_s = ends.since(NOW).as_secs();
    assert!(takes_s > 10 * 60, "{takes_s}");
    let n_orders = |left_s| orders_of(&by(left_s)).concat().len();
    // Ways are told in whole seconds.
    assert_eq!(n_orders(takes_s + 30), 3);
    assert!(n_orders(takes_s - 60) < 3, "the last of them would be brought after hours");
    // Once it is late all the same, it is still said when.
    let short = Cart { until: Some(ends - Duration::from_secs(60)), ..long.cart };
    let trip = Trip::new(short, &parcels, &known);
    assert_eq!(trip.best(&all, 0), None);
    assert!(trip.moments_late(&all).is_some());
}

#[test]
fn a_run_under_way_takes_nothing_along_that_its_driver_may_not_bring_any_more() {
    let parcel =
        Parcel { from: at(500.0, 0.0), to: at(3_000.0, 0.0), times: times(3_600), weight_g: 0 };
    let card = |until_s: Option<u64>| RunCard {
        run: RunId::nth(1),
        driver: DriverId::nth(1),
        parcels: vec![parcel],
        errands: Errand::both(0).to_vec(),
        n_more: 4,
        capacity_g: 20_000,
        pace: Pace { crow_mps: 5.5, stop_s: 60 },
        until: until_s.map(|s| NOW + Duration::from_secs(s)),
    };
    let on_the_way = [waiting(1, at(600.0, 0.0), at(2_500.0, 50.0))];
    let busy = DriverCard { is_free: false, ..driver(1, at(0.0, 0.0)) };
    let n_along = |left_s, planned_s| {
        planned(&on_the_way, &[tired(busy.clone(), left_s)], &[card(planned_s)]).len()
    };
    // Alone it takes 540 s and two stops; with the other it is two stops more.
    assert_eq!(n_along(3_600, None), 1);
    assert_eq!(n_along(640, None), 0);
    assert_eq!(n_along(3_600, Some(640)), 0, "as it was planned");
}

#[test]
fn what_is_on_board_is_handed_over_in_time() {
    let cart = Cart {
        at: at(0.0, 0.0),
        free: NOW,
        capacity_g: 1,
        n_max: 5,
        pace: Pace { crow_mps: 10.0, stop_s: 60 },
        until: None,
    };
    let parcel =
        Parcel { from: at(9.0, 9.0), to: at(1_000.0, 0.0), times: times(200), weight_g: 1 };
    let aboard = [Errand { parcel: 0, is_pickup: false }];
    let trip = Trip::new(cart, &[parcel], &cart.pace);
    let moments = trip.moments(&aboard).unwrap();
    let took = moments[0].since(NOW).as_secs_f64();
    assert!((took - 130.0).abs() < 1.0, "100 s to drive, 30 to the door: {took}");
    let late = Cart { free: NOW + Duration::from_secs(100), ..cart };
    let trip = Trip::new(late, &[parcel], &late.pace);
    assert_eq!(trip.moments(&aboard), None);
    assert!(trip.moments_late(&aboard).is_some(), "it is brought all the same");
}

/// A town with a river through it, fifty minutes from bank to bank, that counts how often it is asked for each way.
#[derive(Debug, Default)]
struct River {
    /// How far north it flows, in metres.
    north_m: f64,
    places: Mutex<Vec<Point>>,
    asked: Mutex<HashMap<(Spot, Spot), usize>>,
}

impl River {
    fn at(north_m: f64) -> Self {
        Self { north_m, ..Self::default() }
    }

    fn is_beyond(&self, spot: Spot) -> bool {
        self.places.lock().unwrap()[spot.n as usize].lat > at(0.0, self.north_m).lat
    }
}

impl Router for River {
    fn spot(&self, at: Point) -> Spot {
        let mut places = self.places.lock().unwrap();
        let known = places.iter().position(|it| *it == at);
        let number = known.unwrap_or_else(|| {
            places.push(at);
            places.len() - 1
        });
        Spot::at(number as u32)
    }

    fn eta(&self, leg: &Leg) -> Eta {
        *self.asked.lock().unwrap().entry((leg.from, leg.to)).or_default() += 1;
        let eta = Straight::default().eta(leg);
        let is_across = self.is_beyond(leg.from) != self.is_beyond(leg.to);
        if is_across { Eta { ms: eta.ms + 3_000_000, ..eta } } else { eta }
    }
}

#[test]
fn what_lies_across_a_river_is_not_brought_together_however_near_it_is() {
    let patient = |card: SearchCard| SearchCard { batch: Some(times(9_000)), ..card };
    let both = [
        patient(waiting(1, at(50.0, 0.0), at(2_000.0, 100.0))),
        patient(waiting(2, at(100.0, 0.0), at(2_000.0, 200.0))),
    ];
    let near = [driver(1, at(-300.0, 0.0))];
    assert_eq!(orders_of(&planned(&both, &near, &[])), [[1, 2].map(OrderId::nth)]);
    assert_eq!(planned_by(&River::at(150.0), &both, &near, &[]), [], "each of them on its own");
    let together = planned_by(&River::at(900.0), &both, &near, &[]);
    assert_eq!(orders_of(&together), [[1, 2].map(OrderId::nth)], "it flows elsewhere");
}

#[test]
fn a_way_is_asked_for_once_in_a_look_however_many_trips_it_is_part_of() {
    let drivers: Vec<DriverCard> =
        (0..3).map(|n| driver(n, at(-300.0 - 10.0 * n as f64, 0.0))).collect();
    let all: Vec<SearchCard> = (0..9)
        .map(|n| {
            let m = 20.0 * n as f64;
            waiting(n, at(m, 0.0), at(2_000.0, m))
        })
        .collect();
    let river = River::at(9_000.0);
    assert!(!planned_by(&river, &all, &drivers, &[]).is_empty());
    let asked = river.asked.lock().unwrap();
    assert!(!asked.is_empty() && asked.values().all(|n| *n == 1), "{asked:?}");
}

#[test]
fn what_nobody_said_of_a_way_is_gone_as_the_crow_flies_and_the_latest_word_counts() {
    let (a, b, c) = (at(0.0, 0.0), at(600.0, 0.0), at(600.0, 800.0));
    let older = Legs { places: vec![a, b], seconds: vec![0, 300, 310, 0] };
    let newer = Legs { places: vec![b, a], seconds: vec![0, 450, 400, 0] };
    let known = |legs| Known { legs, pace: Pace { crow_mps: 10.0, stop_s: 60 } };
    let seconds = |known: &Known<'_>| -> Vec<u32> {
        known.table(&[a, b, c]).into_iter().map(|s| s.round() as u32).collect()
    };
    let none = Legs::default();
    assert_eq!(seconds(&known([&none, &older])), [0, 300, 100, 310, 0, 80, 100, 80, 0]);
    assert_eq!(seconds(&known([&newer, &older])), [0, 400, 100, 450, 0, 80, 100, 80, 0]);
    assert_eq!(seconds(&known([&none, &none])), [0, 60, 100, 60, 0, 80, 100, 80, 0]);
    // What cannot be read whole is not believed.
    let broken = Legs { places: vec![a, b, c], seconds: vec![0, 7] };
    assert_eq!(seconds(&known([&none, &broken])), [0, 7, 100, 60, 0, 80, 100, 80, 0]);
}

#[test]
fn what_is_handed_over_on_the_way_makes_room_for_what_is_taken_along() {
    // It carries fifteen of the twenty kilograms it may, as far as the next corner.
    let aboard =
        Parcel { from: at(-900.0, 0.0), to: at(500.0, 0.0), times: times(3_600), weight_g: 15_000 };
    let card = RunCard {
        run: RunId::nth(1),
        driver: DriverId::nth(1),
        parcels: vec![aboard],
        errands: vec![Errand { parcel: 0, is_pickup: false }],
        n_more: 4,
        capacity_g: 20_000,
        pace: Pace { crow_mps: 5.5, stop_s: 60 },
        until: None,
    };
    let needs = Needs { weight_g: 8_000, ..Needs::default() };
    let on_the_way = SearchCard { needs, ..waiting(1, at(600.0, 0.0), at(2_500.0, 0.0)) };
    let n_along = |load_g| {
        let driver = DriverCard { is_free: false, load_g, ..driver(1, at(0.0, 0.0)) };
        planned(slice::from_ref(&on_the_way), &[driver], slice::from_ref(&card)).len()
    };
    assert_eq!(n_along(15_000), 1);
    assert_eq!(n_along(15_000 + 13_000), 0, "beside what it brings besides");
}

fn any_card() -> impl Strategy<Value = (f64, f64, f64, f64, u64, u32)> {
    (0.0..3_000.0, 0.0..3_000.0, 0.0..4_000.0, 0.0..4_000.0, 600..5_000_u64, 0..12_000_u32)
}

proptest! {
    /// Whatever waits: nobody is in two proposals, every limit is kept, every promise can be, and it is the same again.
    #[test]
    fn no_plan_breaks_a_limit(
        cards in prop::collection::vec(any_card(), 0..14),
        places in prop::collection::vec((0.0..3_000.0, 0.0..3_000.0), 0..5),
    ) {
        let settings = Settings::default();
        let cards: Vec<SearchCard> = cards.into_iter().enumerate().map(|(n, it)| {
            let (e1, n1, e2, n2, promise_s, weight_g) = it;
            SearchCard {
                batch: Some(times(promise_s)),
                needs: Needs { weight_g, ..Needs::default() },
                ..waiting(n as u64, at(e1, n1), at(e2, n2))
            }
        }).collect();
        let drivers: Vec<DriverCard> =
            places.iter().enumerate().map(|(n, it)| driver(n as u64, at(it.0, it.1))).collect();
        let proposals = planned(&cards, &drivers, &[]);
        prop_assert_eq!(&proposals, &planned(&cards, &drivers, &[]));
        let (mut seen, mut who) = (HashSet::new(), HashSet::new());
        for proposal in &proposals {
            let Proposal::Run(it) = proposal else { panic!("there is no run to insert into") };
            prop_assert!(who.insert(it.driver));
            prop_assert!((2..=5).contains(&it.orders.len()));
            let mut parcels = Vec::new();
            for (order, _) in &it.orders {
                prop_assert!(seen.insert(*order), "{} is in two", order);
                let card = cards.iter().find(|card| card.job == JobId::Order(*order)).unwrap();
                let (to, times) = (card.dropoff.unwrap(), card.batch.unwrap());
                parcels.push(Parcel { from: card.pickup, to, times, weight_g: card.needs.weight_g });
            }
            for (one, other) in parcels.iter().flat_map(|a| parcels.iter().map(move |b| (a, b))) {
                prop_assert!(one.from.distance_m(other.from) <= f64::from(settings.pickups_m));
                prop_assert!(one.to.distance_m(other.to) <= f64::from(settings.dropoffs_m));
            }
            let known = Known { legs: [&it.legs, &Legs::default()], pace: it.cart.pace };
            let trip = Trip::new(it.cart, &parcels, &known);
            let errands: Vec<_> = (0..parcels.len() as u32).flat_map(Errand::both).collect();
            let best = trip.best(&errands, 0).expect("every promise can be kept");
            let moments = trip.moments(&best).unwrap();
            for (errand, moment) in best.iter().zip(moments) {
                let promise = parcels[errand.parcel as usize].times.promise.unwrap();
                prop_assert!(errand.is_pickup || moment <= promise);
            }
            prop_assert!(it.saving_percent >= settings.saving_percent);
        }
    }
}
