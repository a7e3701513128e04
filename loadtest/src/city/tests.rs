use super::*;
use proptest::prelude::*;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::sync::LazyLock;

static KIGALI: LazyLock<City> = LazyLock::new(|| City::generate(1));

#[test]
fn a_city_has_a_city_s_number_of_crossings() {
    for seed in 2..=3 {
        let city = City::generate(seed);
        assert!((1_500..=4_000).contains(&city.n_nodes()), "seed {seed}: {}", city.n_nodes());
        assert!(city.n_edges() > 2 * city.n_nodes());
        assert!(city.roads.iter().any(|road| road.class == RoadClass::Arterial));
    }
}

#[test]
fn the_same_seed_draws_the_same_city() {
    let hash = |city: &City| xxhash(&city.to_json().to_string());
    assert_eq!(hash(&City::generate(1)), hash(&KIGALI));
    assert_ne!(hash(&City::generate(2)), hash(&KIGALI));
    insta::assert_snapshot!(format!(
        "{} nodes, {} edges, {} roads, {:016x}",
        KIGALI.n_nodes(),
        KIGALI.n_edges(),
        KIGALI.roads.len(),
        hash(&KIGALI)
    ), @"2480 nodes, 9112 edges, 324 roads, e4cb9ed47c1c0522");
}

fn xxhash(text: &str) -> u64 {
    // FNV-1a: enough to notice a change.
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    })
}

#[test]
fn every_crossing_leads_to_every_other() {
    let reach = |next: &dyn Fn(u32) -> Vec<u32>| {
        let mut seen = vec![false; KIGALI.n_nodes()];
        let mut open = vec![0];
        seen[0] = true;
        while let Some(node) = open.pop() {
            for other in next(node) {
                if !std::mem::replace(&mut seen[other as usize], true) {
                    open.push(other);
                }
            }
        }
        seen.into_iter().all(|is_seen| is_seen)
    };
    assert!(reach(&|node| KIGALI.edges_of(node).iter().map(|edge| edge.to).collect()));
}

#[test]
fn open_ground_is_crossed_straight() {
    let city = City::open_ground("nowhere", Point { lat: 0.0, lon: 0.0 }, 1_000.0);
    let (from, to) = (Point { lat: 0.0, lon: 0.0 }, Point { lat: 0.01, lon: 0.0 });
    let route = city.route(from, to);
    assert!((route.length_m() - from.distance_m(to)).abs() < 1.0);
    assert!((route.seconds() - from.distance_m(to) / OPEN_GROUND_MPS).abs() < 0.1);
}

#[test]
fn the_page_gets_roads_water_parks_and_names() {
    let drawn = KIGALI.to_json();
    for list in ["roads", "water", "parks", "places"] {
        assert!(!drawn[list].as_array().unwrap().is_empty(), "{list}");
    }
    assert_eq!(drawn["name"], "Kigali");
    assert!(drawn["roads"][0]["line"][0][0].as_f64().unwrap() > 29.0);
    assert!(drawn["bounds"]["north"].as_f64() > drawn["bounds"]["south"].as_f64());
}

#[test]
fn a_wanderer_stays_on_the_streets_of_the_city() {
    let mut rng = ChaCha8Rng::seed_from_u64(3);
    let route = KIGALI.wander(KIGALI.center, 300.0, &mut rng);
    assert!(route.seconds() >= 300.0);
    assert!(KIGALI.nearest(route.end().unwrap()).unwrap().1 < 1.0);
}

fn somewhere() -> impl Strategy<Value = Point> {
    (0..10_000_usize).prop_map(|n| KIGALI.nodes[n % KIGALI.nodes.len()])
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn a_route_is_longer_than_the_straight_line_but_not_absurdly(from in somewhere(), to in somewhere()) {
        let route = KIGALI.route(from, to);
        let straight_m = from.distance_m(to);
        prop_assert!(route.length_m() >= straight_m * 0.999);
        prop_assert!(route.length_m() <= straight_m * 4.0 + 3_000.0);
        let speed_mps = route.length_m() / route.seconds().max(1.0);
        prop_assert!(speed_mps < 14.0);
    }

    #[test]
    fn the_search_finds_what_dijkstra_finds(from in 0..2_000_u32, to in 0..2_000_u32) {
        let n = KIGALI.n_nodes() as u32;
        let (from, to) = (from % n, to % n);
        let found: f32 = KIGALI.quickest(from, to).unwrap().iter().map(|edge| edge.seconds).sum();
        prop_assert!((found - dijkstra(&KIGALI, from, to)).abs() < 0.5);
    }

    #[test]
    fn nobody_jumps_on_a_route(from in somewhere(), to in somewhere()) {
        let route = KIGALI.route(from, to);
        let mut last = route.fix(0.0).unwrap().at;
        let mut after_s = 0.0;
        while after_s < route.seconds() {
            after_s += 5.0;
            let fix = route.fix(after_s).unwrap();
            prop_assert!(last.distance_m(fix.at) < 5.0 * 13.0);
            last = fix.at;
        }
        prop_assert!(last.distance_m(to) < 1.0);
    }

    #[test]
    fn the_nearest_crossing_is_the_nearest(east_m in -6_000.0..6_000.0_f64, north_m in -6_000.0..6_000.0_f64) {
        let at = KIGALI.center.offset_m(east_m, north_m);
        let (_, found_m) = KIGALI.nearest(at).unwrap();
        let nearest_m = KIGALI.nodes.iter().map(|node| node.distance_m(at)).fold(f64::MAX, f64::min);
        prop_assert!((found_m - nearest_m).abs() < 1.0, "{found_m} {nearest_m}");
    }
}

fn dijkstra(city: &City, from: u32, to: u32) -> f32 {
    let mut cost = vec![f32::INFINITY; city.n_nodes()];
    let mut open = std::collections::BTreeSet::new();
    cost[from as usize] = 0.0;
    open.insert((0_u64, from));
    while let Some((_, node)) = open.pop_first() {
        for edge in city.edges_of(node) {
            let then = cost[node as usize] + edge.seconds;
            if then < cost[edge.to as usize] {
                cost[edge.to as usize] = then;
                open.insert(((then * 1_000.0) as u64, edge.to));
            }
        }
    }
    cost[to as usize]
}

fn packed(folder: &std::path::Path, name: &str, text: &str) {
    use std::io::Write;
    let file = std::fs::File::create(folder.join(name)).unwrap();
    let mut packer = flate2::write::GzEncoder::new(file, flate2::Compression::default());
    packer.write_all(text.as_bytes()).unwrap();
    packer.finish().unwrap();
}

#[test]
fn road_tables_become_streets_with_the_traffic_of_the_hour() {
    let folder = tempfile::tempdir().unwrap();
    packed(
        folder.path(),
        "nodes.csv.gz",
        "node,lat,lon\n1,40.0,-74\n2,40.01,-74\n3,40.02,-74\n4,40.03,-74\n",
    );
    // Node 4 can be left but not reached.
    packed(folder.path(), "edges.csv.gz", "edge,from_node,to_node\n1,1,2\n2,2,3\n3,3,1\n4,4,1\n");
    packed(
        folder.path(),
        "travel_s_weekday.csv.gz",
        "edge,h08,h09\n1,100,200\n2,100,200\n3,0,400\n4,1,1\n",
    );
    let city = City::load(folder.path(), Day::Weekday, 9).unwrap();
    assert_eq!((city.n_nodes(), city.n_edges()), (3, 3));
    let route = city.route(Point { lat: 40.0, lon: -74.0 }, Point { lat: 40.02, lon: -74.0 });
    assert!((route.seconds() - 400.0).abs() < 1.0, "{}", route.seconds());
    let early = City::load(folder.path(), Day::Weekday, 8).unwrap();
    let back = early.route(Point { lat: 40.02, lon: -74.0 }, Point { lat: 40.0, lon: -74.0 });
    let length_m = back.length_m();
    assert!((back.seconds() - length_m / 20.0).abs() < 1.0, "nobody flies over a noisy edge");
}

#[test]
fn a_city_further_east_is_the_same_city() {
    let here = City::generate(4);
    let there = here.clone().moved_east(3.0);
    let to = |city: &City| city.route(city.center, city.places[2].at).seconds();
    assert!((to(&here) - to(&there)).abs() < 1.0, "{} {}", to(&here), to(&there));
    assert!((there.places[0].at.lon - here.places[0].at.lon - 3.0).abs() < 1e-9);
    assert!(there.moved_east(330.0).center.lon.abs() < 180.0, "once around the world");
}

#[test]
fn links_with_coordinates_become_streets() {
    let folder = tempfile::tempdir().unwrap();
    packed(
        folder.path(),
        "links_16h.csv.gz",
        "link,from_lat,from_lon,to_lat,to_lon,length_m,travel_s_16h\n\
         1,40.0,-74,40.01,-74,1112,150\n2,40.01,-74,40.0,-74,1112,160\n",
    );
    let city = City::load(folder.path(), Day::Weekday, 16).unwrap();
    assert_eq!((city.n_nodes(), city.n_edges(), city.roads.len()), (2, 2, 2));
    assert!(matches!(
        City::load(&folder.path().join("none"), Day::Weekday, 16),
        Err(LoadError::NoRoads(_))
    ));
}
