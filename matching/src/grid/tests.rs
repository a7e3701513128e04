use super::*;
use proptest::prelude::*;

const KIGALI: Point = Point { lat: -1.9441, lon: 30.0619 };

fn nearest(grid: &Grid, at: Point, k: usize, radius_m: f32) -> Vec<u32> {
    let mut found = Vec::new();
    grid.nearest(at, k, radius_m, |_| true, &mut found);
    found.iter().map(|near| near.n).collect()
}

#[test]
fn distances_are_those_of_the_sphere() {
    let mut grid = Grid::new(KIGALI, 30_000.0, 100.0);
    let there = KIGALI.offset_m(7_000.0, -11_000.0);
    grid.upsert(0, there);
    let mut found = Vec::new();
    grid.nearest(KIGALI, 1, f32::MAX, |_| true, &mut found);
    let wanted = KIGALI.distance_m(there) as f32;
    assert!((found[0].distance_m - wanted).abs() < wanted * 5e-3, "{found:?}, not {wanted}");
}

#[test]
fn who_is_removed_or_moved_is_not_found_where_it_was() {
    let mut grid = Grid::new(KIGALI, 10_000.0, 100.0);
    for n in 0..4 {
        grid.upsert(n, KIGALI.offset_m(f64::from(n), 0.0));
    }
    grid.remove(1);
    grid.remove(1);
    grid.remove(99);
    grid.upsert(0, KIGALI.offset_m(5_000.0, 0.0));
    assert_eq!(nearest(&grid, KIGALI, 9, 1_000.0), [2, 3]);
    assert_eq!(grid.len(), 3);
    grid.clear();
    assert!(grid.is_empty());
    assert_eq!(nearest(&grid, KIGALI, 9, 1_000.0), [0; 0]);
}

#[test]
fn the_filter_is_asked_before_the_count() {
    let mut grid = Grid::new(KIGALI, 10_000.0, 100.0);
    (0..100).for_each(|n| grid.upsert(n, KIGALI.offset_m(f64::from(n) * 10.0, 0.0)));
    let mut found = Vec::new();
    grid.nearest(KIGALI, 3, f32::MAX, |n| n % 10 == 9, &mut found);
    assert_eq!(found.iter().map(|near| near.n).collect::<Vec<_>>(), [9, 19, 29]);
}

#[test]
fn the_date_line_is_no_border() {
    let taveuni = Point { lat: -16.8, lon: 179.999 };
    let mut grid = Grid::new(taveuni, 10_000.0, 100.0);
    grid.upsert(0, Point { lat: -16.8, lon: -179.999 });
    assert_eq!(nearest(&grid, taveuni, 1, 500.0), [0]);
}

#[derive(Debug, Clone)]
enum Change {
    Upsert(u32, f64, f64),
    UpsertAll(Vec<(u32, f64, f64)>),
    Remove(u32),
}

fn changes() -> impl Strategy<Value = Vec<Change>> {
    // Beyond the grid as well, whose half is 2 km.
    let reach = -3_500.0..3_500.0;
    let moved = (0..60_u32, reach.clone(), reach);
    // Some numbers more than once.
    let many = prop::collection::vec(moved.clone(), 0..100).prop_map(Change::UpsertAll);
    let upsert = moved.prop_map(|(n, x, y)| Change::Upsert(n, x, y));
    let change = prop_oneof![12 => upsert, 3 => (0..60_u32).prop_map(Change::Remove), 1 => many];
    prop::collection::vec(change, 0..150)
}

proptest! {
    #[test]
    fn finds_exactly_who_a_look_at_everyone_finds(
        changes in changes(),
        (east, north) in (-3_500.0..3_500.0, -3_500.0..3_500.0),
        k in 0..40_usize,
        radius_m in prop_oneof![Just(f32::MAX), 0.0..4_000.0_f32],
        cell_m in prop_oneof![Just(50.0_f32), Just(100.0), Just(700.0)],
        odd_only in any::<bool>(),
    ) {
        let mut grid = Grid::new(KIGALI, 2_000.0, cell_m);
        let mut everyone = std::collections::BTreeMap::new();
        for change in changes {
            match change {
                Change::Upsert(n, x, y) => {
                    let at = KIGALI.offset_m(x, y);
                    grid.upsert(n, at);
                    everyone.insert(n, at);
                }
                Change::UpsertAll(many) => {
                    let many: Vec<_> =
                        many.into_iter().map(|(n, x, y)| (n, KIGALI.offset_m(x, y))).collect();
                    grid.upsert_all(&many);
                    everyone.extend(many);
                }
                Change::Remove(n) => {
                    grid.remove(n);
                    everyone.remove(&n);
                }
            }
        }
        prop_assert_eq!(grid.len(), everyone.len());
        let at = KIGALI.offset_m(east, north);
        let (x, y) = grid.metres(at);
        let mut wanted: Vec<(f32, u32)> = everyone
            .iter()
            .filter(|(n, _)| !odd_only || *n % 2 == 1)
            .map(|(n, point)| {
                let (px, py) = grid.metres(*point);
                ((px - x) * (px - x) + (py - y) * (py - y), *n)
            })
            .filter(|(square, _)| *square <= radius_m * radius_m)
            .collect();
        wanted.sort_by(|a, b| a.partial_cmp(b).expect("distances are numbers"));
        wanted.truncate(k);
        let mut found = Vec::new();
        grid.nearest(at, k, radius_m, |n| !odd_only || n % 2 == 1, &mut found);
        let found: Vec<(f32, u32)> = found.iter().map(|near| (near.distance_m, near.n)).collect();
        let wanted: Vec<(f32, u32)> = wanted.iter().map(|(square, n)| (square.sqrt(), *n)).collect();
        prop_assert_eq!(found, wanted);
    }
}
