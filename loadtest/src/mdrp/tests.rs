use super::{check::check, *};
use std::{io::Write, path::PathBuf};

const ORDERS: &str = "order\tx\ty\tplacement_time\trestaurant\tready_time
o1\t1000\t0\t100\tr1\t115
o2\t1200\t0\t102\tr1\t116
o3\t0\t3000\t104\tr2\t110
o4\t5000\t0\t190\tr1\t205
o5\t0\t100\t250\tr2\t300
";
const COURIERS: &str =
    "courier\tx\ty\ton_time\toff_time\nc1\t0\t640\t90\t210\nc2\t300\t0\t0\t130\n";
const RESTAURANTS: &str = "restaurant\tx\ty\nr1\t0\t0\nr2\t0\t2000\n";
const PARAMETERS: &str =
    "meters_per_minute\tpickup service minutes\tdropoff service minutes\ttarget\n320\t4\t4\t40\n";

fn folder(change: impl Fn(&str) -> Option<&'static str>) -> tempfile::TempDir {
    let folder = tempfile::tempdir().unwrap();
    let files = [
        ("orders.txt", ORDERS),
        ("couriers.txt", COURIERS),
        ("restaurants.txt", RESTAURANTS),
        ("instance_parameters.txt", PARAMETERS),
    ];
    for (name, text) in files {
        std::fs::write(folder.path().join(name), change(name).unwrap_or(text)).unwrap();
    }
    folder
}

fn small() -> Instance {
    Instance::read(folder(|_| None).path()).unwrap()
}

#[test]
fn an_instance_is_read_and_travel_is_rounded_up() {
    let it = small();
    assert_eq!(
        (it.meals.len(), it.couriers.len(), it.n_restaurants, it.places.len()),
        (5, 2, 2, 9)
    );
    assert_eq!(it.meals[2], Meal { restaurant: 1, diner: 4, placed: 104.0, ready: 110.0 });
    assert_eq!(it.couriers[1], Courier { begins_at: 8, on: 0.0, off: 130.0 });
    assert_eq!(it.travel_min(0, 7), 2.0, "640 m at 320 m a minute");
    assert_eq!(it.travel_min(0, 2), 4.0, "1,000 m");
    assert_eq!(it.travel_min(0, 0), 0.0);
    assert_eq!(it.least_click_to_door(&it.meals[0]), 15.0 + 4.0 + 4.0);
}

#[test]
fn what_is_no_instance_is_refused() {
    for (file, text, said) in [
        ("orders.txt", "order\tx\ty\n1\t2\t3\n", "no column placement_time"),
        (
            "orders.txt",
            "order\tx\ty\tplacement_time\trestaurant\tready_time\no1\t1\t2\t3\tr9\t4\n",
            "\"r9\" is not a restaurant",
        ),
        (
            "orders.txt",
            "order\tx\ty\tplacement_time\trestaurant\tready_time\no1\t1\t2\tsoon\tr1\t4\n",
            "\"soon\" is not a number",
        ),
        (
            "couriers.txt",
            "courier\tx\ty\ton_time\toff_time\nc1\t0\t0\t-5\t9\n",
            "\"-5\" is not a whole number of minutes",
        ),
        (
            "instance_parameters.txt",
            "meters_per_minute\tpickup service minutes\tdropoff service minutes\n0\t4\t4\n",
            "\"0\" is not a speed",
        ),
        (
            "instance_parameters.txt",
            "meters_per_minute\tpickup service minutes\tdropoff service minutes\n",
            "\"\" is not a number",
        ),
    ] {
        let folder = folder(|name| (name == file).then_some(text));
        let error = Instance::read(folder.path()).unwrap_err().to_string();
        assert!(error.contains(said), "{file}: {error}");
    }
    assert!(Instance::read(Path::new("nowhere")).unwrap_err().to_string().contains("nowhere"));
}

#[test]
fn a_day_is_played_by_the_rules_and_a_seed_says_how() {
    let it = small();
    let day = play(&it, 1);
    assert_eq!(check(&it, &day), Ok(()));
    assert_eq!(play(&it, 1), day);
    let played = measure(&it, &day, None, 0.0);
    assert_eq!((played.orders, played.delivered), (5, 4), "nobody is there for the last one");
    assert_eq!(day.dropoffs[4], None);
    assert!(
        played.click_to_door_mean_min >= 20.0 && played.ready_to_pickup_mean_min < 5.0,
        "{played:?}"
    );
    assert_eq!(Report::of(vec![played]).exit_code(), 0);
}

#[test]
fn nobody_knows_an_order_before_it_was_placed() {
    // Until the last order is placed, the day is the same whether it will be or not.
    let it = small();
    let mut without = it.clone();
    without.meals[3].placed = 205.0;
    let until = |day: &Day| {
        let moves: Vec<Vec<Move>> = day
            .moves
            .iter()
            .map(|it| it.iter().filter(|it| it.leaves < 190.0).copied().collect())
            .collect();
        let told: Vec<Assignment> =
            day.assignments.iter().filter(|it| it.told < 190.0).cloned().collect();
        (moves, told)
    };
    assert_eq!(until(&play(&it, 1)), until(&play(&without, 1)));
}

/// A day by hand: courier 0 waits at restaurant 0 and brings two meals, then one from the other restaurant.
fn by_hand() -> (Instance, Day) {
    let it = small();
    let first = Assignment { told: 114.0, courier: 0, picked_up: 116.0, meals: vec![0, 1] };
    let second = Assignment { told: 140.0, courier: 0, picked_up: 142.0, meals: vec![2] };
    let drive = |leaves, from, to| Move { leaves, from, to };
    let moves = vec![
        vec![
            drive(100.0, 7, 0),
            drive(118.0, 0, 2),
            drive(126.0, 2, 3),
            drive(131.0, 3, 1),
            drive(144.0, 1, 4),
        ],
        Vec::new(),
    ];
    let dropoffs = vec![Some(124.0), Some(129.0), Some(150.0), None, None];
    (it, Day { assignments: vec![first, second], moves, dropoffs })
}

#[test]
fn every_planted_fault_is_found() {
    let (it, day) = by_hand();
    assert_eq!(check(&it, &day), Ok(()));
    let plant = |how: &dyn Fn(&mut Day)| {
        let mut day = day.clone();
        how(&mut day);
        check(&it, &day).expect_err("a fault that was planted").to_string()
    };
    let found = [
        plant(&|day| day.assignments[1].meals.push(0)),
        plant(&|day| day.assignments[1].meals.clear()),
        plant(&|day| day.assignments[1].meals = vec![77]),
        plant(&|day| day.assignments[1].courier = 9),
        plant(&|day| {
            day.assignments[0].meals.push(2);
            day.assignments.pop();
        }),
        plant(&|day| day.assignments[0].told = 101.0),
        plant(&|day| day.assignments[0].picked_up = 115.0),
        plant(&|day| {
            day.assignments[1].picked_up = 211.0;
            day.assignments[1].told = 209.0;
        }),
        plant(&|day| day.assignments[1].told = 130.0),
        plant(&|day| {
            day.moves[0][0].leaves = 113.0;
            day.assignments[0].told = 115.0;
        }),
        plant(&|day| day.moves[0][0].leaves = 89.0),
        plant(&|day| day.moves[0][0].from = 8),
        plant(&|day| {
            day.moves[0].remove(3);
        }),
        plant(&|day| day.moves[0][1].leaves = 117.0),
        plant(&|day| day.moves[0][2].leaves = 125.0),
        plant(&|day| day.moves[0].swap(1, 2)),
        plant(&|day| day.dropoffs[1] = Some(128.0)),
        plant(&|day| day.dropoffs[1] = None),
        plant(&|day| day.dropoffs[3] = Some(200.0)),
        plant(&|day| day.moves[0].push(Move { leaves: 160.0, from: 4, to: 6 })),
        plant(&|day| day.moves[0].push(Move { leaves: 211.0, from: 4, to: 0 })),
        plant(&|day| day.moves[0].push(Move { leaves: 151.0, from: 4, to: 0 })),
        plant(&|day| day.moves[1].push(Move { leaves: 100.0, from: 4, to: 0 })),
    ];
    let said = [
        "meal 0 is in two assignments",
        "an assignment of nothing, or for nobody: Assignment { told: 140.0, courier: 0, picked_up: 142.0, meals: [] }",
        "an assignment of nothing, or for nobody: Assignment { told: 140.0, courier: 0, picked_up: 142.0, meals: [77] }",
        "an assignment of nothing, or for nobody: Assignment { told: 140.0, courier: 9, picked_up: 142.0, meals: [2] }",
        "meal 2 is from another restaurant than the rest of its bundle",
        "meal 1 was placed at 102 and assigned at 101",
        "meal 1 was picked up before it was ready",
        "courier 0 picked up when it was off duty",
        "courier 0 was not at place 1 when it had to be",
        "courier 0 left at 116, which is too early",
        "courier 0 left at 89, which is too early",
        "courier 0 was not at place 8 when it had to be",
        "courier 0 was not at place 1 when it had to be",
        "courier 0 left at 117, which is too early",
        "courier 0 left at 125, which is too early",
        "courier 0 was not at place 2 when it had to be",
        "meal 1 was handed over at Some(128.0), and could be at 129",
        "meal 1 was handed over at None, and could be at 129",
        "meal 3 was handed over though nobody had it",
        "courier 0 drove to place 6 for nothing",
        "courier 0 picked up when it was off duty",
        "courier 0 left at 151, which is too early",
        "courier 1 was not at place 4 when it had to be",
    ];
    assert_eq!(found, said);
}

#[test]
fn a_courier_on_its_way_is_not_diverted() {
    let (it, mut day) = by_hand();
    // Told on the way to the restaurant, which it reaches at 140.
    day.moves[0][3].leaves = 132.0;
    assert_eq!(check(&it, &day), Ok(()));
    day.moves[0][3].leaves = 133.0;
    day.assignments[1].picked_up = 143.0;
    day.moves[0][4].leaves = 145.0;
    day.dropoffs[2] = Some(151.0);
    assert_eq!(
        check(&it, &day).unwrap_err().to_string(),
        "courier 0 was told what to do at 140 while it was busy"
    );
}

/// The published instances, if they lie beside the checkout or where a variable says.
fn published() -> Option<PathBuf> {
    let beside = PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/data"));
    let data = std::env::var_os("OUTRIDER_TEST_DATA").map_or(beside, PathBuf::from);
    let folder = data.join("mdrp_grubhub");
    if folder.is_dir() {
        return Some(folder);
    }
    let skipped = "SKIPPED: there are no Grubhub instances; say where with OUTRIDER_TEST_DATA";
    writeln!(std::io::stderr(), "{skipped} ({} is missing)", folder.display()).unwrap();
    None
}

#[test]
fn published_days_are_played_by_the_rules() {
    let Some(folder) = published() else { return };
    for name in ["0r50t75s2p100", "0o50t100s1p100"] {
        let played = play_folder(&folder.join(name), 1).unwrap();
        assert_eq!(played.broken, None, "{name}");
        assert!(played.delivered * 100 >= played.orders * 99, "{played:?}");
    }
}
