use super::*;
use crate::router::{Learned, Ways};
use protocol::work::VehicleKind;
use rand::{Rng, SeedableRng, rngs::StdRng};

const KIGALI: Point = Point { lat: -1.9441, lon: 30.0619 };

/// A chain of crossings, quick one way and slow the other.
fn chain(n: u32) -> Times {
    let there = (1..n).map(|to| Road { from: to - 1, to, ms: 1_000 });
    let back = (1..n).map(|to| Road { from: to, to: to - 1, ms: 5_000 });
    Times::new(n as usize, there.chain(back).collect()).unwrap()
}

#[test]
fn one_way_may_take_longer_than_the_other() {
    let times = chain(5);
    assert_eq!(times.ms(Spot::at(0), Spot::at(4)), Some(4_000));
    assert_eq!(times.ms(Spot::at(4), Spot::at(0)), Some(20_000));
    assert_eq!(times.ms(Spot::at(3), Spot::at(3)), Some(0));
}

#[test]
fn where_no_street_leads_there_is_no_way() {
    let times = Times::new(2, vec![Road { from: 0, to: 1, ms: 10 }]).unwrap();
    assert_eq!(times.ms(Spot::at(0), Spot::at(1)), Some(100));
    assert_eq!(times.ms(Spot::at(1), Spot::at(0)), None);
    assert_eq!(times.next(Spot::at(1), Spot::at(0)), None);
}

#[test]
fn every_first_road_leads_along_a_quickest_way() {
    let mut random = StdRng::seed_from_u64(1);
    let n = 60;
    let roads: Vec<Road> = (0..400)
        .map(|_| Road {
            from: random.random_range(0..n),
            to: random.random_range(0..n),
            ms: random.random_range(1..40) * 100,
        })
        .collect();
    let times = Times::new(n as usize, roads.clone()).unwrap();
    let ways = (0..n).flat_map(|from| (0..n).map(move |to| (Spot::at(from), Spot::at(to))));
    for (from, to) in ways {
        let Some(whole) = times.ms(from, to) else { continue };
        let (mut at, mut took, mut n_roads) = (from, 0, 0);
        while let Some(road) = times.next(at, to) {
            assert!(roads.contains(&road));
            (at, took, n_roads) = (Spot::at(road.to), took + road.ms, n_roads + 1);
            assert!(n_roads <= n, "round in circles");
        }
        assert_eq!((at, took), (to, whole));
    }
}

#[test]
fn roads_that_lead_nowhere_are_refused() {
    assert_eq!(Times::new(0, vec![]).unwrap_err(), NoRoads::Empty);
    assert_eq!(Times::new(NODES_MAX + 1, vec![]).unwrap_err(), NoRoads::TooMany(NODES_MAX + 1));
    let nowhere = vec![Road { from: 0, to: 7, ms: 1 }];
    assert_eq!(Times::new(7, nowhere).unwrap_err(), NoRoads::NoNode(7));
    assert!(Roads::new(vec![KIGALI], Arc::new(chain(2))).is_err());
}

#[test]
fn times_count_from_when_they_begin() {
    let nodes: Vec<Point> = (0..5).map(|n| KIGALI.offset_m(f64::from(n) * 200.0, 0.0)).collect();
    let mut roads = Roads::new(nodes.clone(), Arc::new(chain(5))).unwrap();
    let jam = (1..5).map(|to| Road { from: to - 1, to, ms: 9_000 }).collect();
    roads.add(Timestamp(1_000), Arc::new(Times::new(5, jam).unwrap())).unwrap();
    let (from, to) = (roads.spot(nodes[0].offset_m(30.0, 40.0)), roads.spot(nodes[4]));
    let ms = |at| {
        let leaving = Timestamp(at);
        let leg = Leg { from, to, distance_m: 0.0, vehicle: VehicleKind::Car, leaving };
        roads.eta(&leg).ms
    };
    assert_eq!((from, to), (Spot { n: 0, off_m: 50 }, Spot::at(4)));
    assert_eq!((ms(999), ms(1_000)), (4_000, 36_000));
}

#[test]
fn the_nearest_crossing_is_found_also_from_outside() {
    let mut random = StdRng::seed_from_u64(2);
    let mut place = |reach_m: f64| {
        KIGALI.offset_m(
            random.random_range(-reach_m..reach_m),
            random.random_range(-reach_m..reach_m),
        )
    };
    let nodes: Vec<Point> = (0..300).map(|_| place(2_000.0)).collect();
    let lookup = Lookup::new(&nodes);
    for _ in 0..2_000 {
        let at = place(2_150.0);
        let spot = lookup.nearest(at);
        let found = nodes[spot.n as usize].distance_m(at);
        assert!((found - f64::from(spot.off_m)).abs() < 1.5, "{found}, not {spot:?}");
        let wanted = nodes.iter().map(|node| node.distance_m(at)).fold(f64::MAX, f64::min);
        assert!((found - wanted).abs() < 1.0, "{found}, not {wanted}");
    }
    for (east_m, north_m) in [(90_000.0, -90_000.0), (0.0, 2_302.0), (-2_302.0, 0.0)] {
        let spot = lookup.nearest(KIGALI.offset_m(east_m, north_m));
        assert!(spot.n < 300 && spot.off_m > OFF_M_MAX, "{spot:?}");
    }
}

#[test]
fn a_slower_vehicle_takes_longer_on_the_same_roads() {
    let nodes: Vec<Point> = (0..5).map(|n| KIGALI.offset_m(f64::from(n) * 200.0, 0.0)).collect();
    let usual = Speeds::default();
    let roads = Roads::new(nodes.clone(), Arc::new(chain(5))).unwrap();
    let ms = |roads: &Roads, vehicle| {
        let (from, to) = (roads.spot(nodes[0]), roads.spot(nodes[4]));
        let leg = Leg { from, to, distance_m: 800.0, vehicle, leaving: Timestamp(0) };
        roads.eta(&leg).ms
    };
    assert_eq!(ms(&roads, VehicleKind::Car), 4_000);
    assert_eq!(ms(&roads, VehicleKind::Foot), 20_000, "a fifth of a car's speed");
    let twice = roads.with_straight(Straight { speeds: usual.times(2.0), ..Straight::default() });
    assert_eq!(ms(&twice, VehicleKind::Car), 2_000);
}

/// A way by car between two places, as a router is asked for it.
fn leg(roads: &Roads, from: Point, to: Point) -> Leg {
    Leg {
        from: roads.spot(from),
        to: roads.spot(to),
        distance_m: from.distance_m(to) as f32,
        vehicle: VehicleKind::Car,
        leaving: Timestamp(0),
    }
}

#[test]
fn what_is_off_a_road_takes_time_and_what_is_far_off_is_a_straight_line() {
    let nodes: Vec<Point> = (0..5).map(|n| KIGALI.offset_m(f64::from(n) * 200.0, 0.0)).collect();
    let roads = Roads::new(nodes.clone(), Arc::new(chain(5))).unwrap();
    let straight = Straight::default();
    let ms = |from: Point, to: Point| roads.eta(&leg(&roads, from, to)).ms;
    let off = |n: usize, m: f64| nodes[n].offset_m(0.0, m);
    assert_eq!(ms(nodes[0], nodes[4]), 4_000);
    let there = ms(off(0, 80.0), off(4, -120.0));
    assert_eq!(there, 4_000 + straight.ms(VehicleKind::Car, 200.0));
    // As far off as may be.
    assert_eq!(ms(off(0, 0.0), off(4, 300.0)), 4_000 + straight.ms(VehicleKind::Car, 300.0));
    for far in [off(4, 302.0), off(4, 0.0).offset_m(3_000.0, 0.0), off(0, -20_000.0)] {
        for (from, to) in [(nodes[0], far), (far, nodes[0]), (far, far.offset_m(50.0, 0.0))] {
            let leg = leg(&roads, from, to);
            assert_eq!(roads.eta(&leg), straight.eta(&leg), "{leg:?}");
            assert!(roads.eta(&leg).ms > 0);
        }
    }
}

#[test]
fn who_stands_beside_the_pickup_does_not_drive_to_a_crossing_and_back() {
    let nodes = vec![KIGALI, KIGALI.offset_m(200.0, 0.0)];
    let roads = Roads::new(nodes, Arc::new(chain(2))).unwrap();
    let at = KIGALI.offset_m(0.0, 90.0);
    assert_eq!(roads.eta(&leg(&roads, at, at)).ms, 0);
    let beside = leg(&roads, at, at.offset_m(0.0, 10.0));
    assert_eq!(roads.eta(&beside).ms, Straight::default().eta(&beside).ms);
}

#[test]
fn where_no_street_leads_no_way_is_known_and_a_straight_line_is_likely() {
    let nodes = vec![KIGALI, KIGALI.offset_m(900.0, 0.0)];
    let one_way = vec![Road { from: 0, to: 1, ms: 90_000 }];
    let roads = Roads::new(nodes.clone(), Arc::new(Times::new(2, one_way).unwrap())).unwrap();
    let [there, back] = [(0, 1), (1, 0)].map(|(from, to)| leg(&roads, nodes[from], nodes[to]));
    assert_eq!(roads.way(&there).map(|eta| eta.ms), Some(90_000));
    assert_eq!(roads.way(&back), None);
    assert_eq!(roads.eta(&back), Straight::default().eta(&back));
    // Whoever learns about these roads knows no more of where they lead, and how far off them it is.
    let ways = Ways::new(KIGALI);
    let learned = Learned { router: &roads, ways: &ways };
    let [from, to] = [nodes[1], nodes[0].offset_m(0.0, 90.0)].map(|at| learned.spot(at));
    assert_eq!(learned.way(&Leg { from, to, ..back }), None);
    let there = Leg { from: to, to: from, ..there };
    assert_eq!(learned.eta(&there).ms, 90_000 + Straight::default().ms(VehicleKind::Car, 90.0));
}

#[test]
fn a_way_is_as_far_as_its_streets_and_what_is_beside_them() {
    // Round three sides of a square, for no street is the fourth one.
    let corners = [(0.0, 0.0), (0.0, 1_000.0), (1_000.0, 1_000.0), (1_000.0, 0.0), (5_000.0, 0.0)];
    let nodes: Vec<Point> =
        corners.map(|(east_m, north_m)| KIGALI.offset_m(east_m, north_m)).to_vec();
    let by = |streets: &[(u32, u32, u32)]| {
        let street = |(from, to, ms): &(u32, u32, u32)| Road { from: *from, to: *to, ms: *ms };
        let times = Times::new(5, streets.iter().map(street).collect()).unwrap();
        Roads::new(nodes.clone(), Arc::new(times)).unwrap()
    };
    let roads = by(&[(0, 1, 100_000), (1, 2, 100_000), (2, 3, 100_000)]);
    let driven_m = |from: Point, to: Point| roads.driven_m(&leg(&roads, from, to));
    let whole_m = driven_m(nodes[0], nodes[3]).unwrap();
    assert!((whole_m - 3_000.0).abs() < 10.0, "{whole_m}");
    assert_eq!(driven_m(nodes[1], nodes[1]), Some(0.0));
    let beside_m = driven_m(nodes[0].offset_m(-100.0, 0.0), nodes[3]).unwrap();
    assert!((beside_m - whole_m - 135.0).abs() < 5.0, "{beside_m}");
    assert_eq!(driven_m(nodes[3], nodes[0]), None, "that is one way only");
    assert_eq!(driven_m(nodes[0], nodes[4]), None, "no street leads there");
    assert_eq!(driven_m(nodes[0], nodes[0].offset_m(0.0, -5_000.0)), None, "nor there");
    let ways = Ways::new(KIGALI);
    let learned = Learned { router: &roads, ways: &ways };
    let [from, to] = [nodes[0], nodes[3]].map(|at| learned.spot(at));
    let whole = Leg { from, to, ..leg(&roads, nodes[0], nodes[3]) };
    assert_eq!(learned.driven_m(&whole), Some(whole_m));
    // Where a street takes no time, going on is as good as going back.
    let roads = by(&[(0, 1, 100_000), (1, 2, 0), (2, 1, 0), (2, 3, 100_000)]);
    assert_eq!(roads.driven_m(&leg(&roads, nodes[0], nodes[3])), None, "it does not for ever");
}
