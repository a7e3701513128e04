use super::*;
use proptest::prelude::*;
use rand::{Rng, SeedableRng, rngs::StdRng};

/// Rows of (column, cost).
type Rows = Vec<Vec<(u32, u32)>>;

fn edges(rows: &Rows, n_columns: usize) -> Edges {
    let mut edges = Edges::new(n_columns);
    for row in rows {
        edges.push_row(row.iter().copied());
    }
    edges
}

/// How many pairs, at what cost; panics on a pairing that is none.
fn value(rows: &Rows, pairing: &[Option<u32>]) -> (usize, u64) {
    let mut taken = std::collections::HashSet::new();
    let mut total = 0;
    for (row, column) in rows.iter().zip(pairing) {
        let Some(column) = column else { continue };
        assert!(taken.insert(column), "column {column} is given twice");
        let costs = row.iter().filter(|(it, _)| it == column).map(|(_, cost)| *cost);
        total += u64::from(costs.min().expect("the pair has an edge"));
    }
    (taken.len(), total)
}

/// More pairs first, then cheaper.
fn better((n, cost): (usize, u64), (than_n, than_cost): (usize, u64)) -> bool {
    n > than_n || n == than_n && cost < than_cost
}

fn brute_force(rows: &[Vec<(u32, u32)>], taken: u32) -> (usize, u64) {
    let Some((row, rest)) = rows.split_first() else { return (0, 0) };
    let mut best = brute_force(rest, taken);
    for &(column, cost) in row {
        if taken & 1 << column == 0 {
            let (n, total) = brute_force(rest, taken | 1 << column);
            let this = (n + 1, total + u64::from(cost));
            if better(this, best) {
                best = this;
            }
        }
    }
    best
}

/// The textbook dense Hungarian method, with one private last resort per row.
fn dense(rows: &Rows, n_columns: usize) -> (usize, u64) {
    let (n, m) = (rows.len(), n_columns + rows.len());
    let alone = 1_000_000_000_i64;
    let mut cost = vec![vec![i64::MAX / 4; m + 1]; n + 1];
    for (i, row) in rows.iter().enumerate() {
        for &(column, c) in row {
            let known = &mut cost[i + 1][column as usize + 1];
            *known = (*known).min(i64::from(c));
        }
        cost[i + 1][n_columns + i + 1] = alone;
    }
    let (mut u, mut v) = (vec![0; n + 1], vec![0; m + 1]);
    let (mut row_of, mut way) = (vec![0; m + 1], vec![0; m + 1]);
    for i in 1..=n {
        row_of[0] = i;
        let (mut j0, mut min, mut used) = (0, vec![i64::MAX / 2; m + 1], vec![false; m + 1]);
        while row_of[j0] != 0 {
            used[j0] = true;
            let (i0, mut delta, mut j1) = (row_of[j0], i64::MAX / 2, 0);
            for j in 1..=m {
                if !used[j] {
                    let reduced = cost[i0][j] - u[i0] - v[j];
                    if reduced < min[j] {
                        (min[j], way[j]) = (reduced, j0);
                    }
                    if min[j] < delta {
                        (delta, j1) = (min[j], j);
                    }
                }
            }
            for j in 0..=m {
                if used[j] {
                    u[row_of[j]] += delta;
                    v[j] -= delta;
                } else {
                    min[j] -= delta;
                }
            }
            j0 = j1;
        }
        while j0 != 0 {
            row_of[j0] = row_of[way[j0]];
            j0 = way[j0];
        }
    }
    let pairs = (1..=n_columns).filter(|&j| row_of[j] != 0);
    pairs.fold((0, 0), |(n, total), j| (n + 1, total + cost[row_of[j]][j] as u64))
}

fn random_rows(random: &mut StdRng, n_rows: usize, n_columns: usize, cost_max: u32) -> Rows {
    let degree_max = random.random_range(0..=n_columns.min(8));
    (0..n_rows)
        .map(|_| {
            let degree = random.random_range(0..=degree_max);
            (0..degree)
                .map(|_| {
                    (random.random_range(0..n_columns as u32), random.random_range(0..=cost_max))
                })
                .collect()
        })
        .collect()
}

#[test]
fn more_pairs_come_before_a_lower_cost() {
    let rows = vec![vec![(0, 1), (1, 1_000)], vec![(0, 500)]];
    assert_eq!(assign(&edges(&rows, 2)), [Some(1), Some(0)]);
}

#[test]
fn a_row_without_an_edge_stays_alone() {
    let rows = vec![vec![], vec![(0, 9)], vec![]];
    assert_eq!(assign(&edges(&rows, 1)), [None, Some(0), None]);
    assert_eq!(assign(&Edges::new(0)), []);
}

#[test]
fn of_rows_that_want_one_column_the_cheapest_gets_it() {
    let rows: Rows = (0..50).map(|row| vec![(0, 100 + (row * 7) % 50)]).collect();
    let pairing = assign(&edges(&rows, 1));
    assert_eq!(pairing.iter().flatten().count(), 1);
    assert_eq!(pairing[0], Some(0));
}

#[test]
fn equal_costs_do_not_go_round_in_circles() {
    let rows: Rows = (0..60).map(|_| (0..40).map(|column| (column, 5)).collect()).collect();
    assert_eq!(value(&rows, &assign(&edges(&rows, 40))), (40, 200));
}

#[test]
fn agrees_with_a_dense_solver_on_a_thousand_random_instances() {
    let mut random = StdRng::seed_from_u64(6);
    for instance in 0..1_000 {
        let (n_rows, n_columns) = (random.random_range(1..40), random.random_range(1..40));
        let cost_max = if instance % 3 == 0 { 5 } else { 100_000 };
        let rows = random_rows(&mut random, n_rows, n_columns, cost_max);
        let edges = edges(&rows, n_columns);
        let pairing = assign(&edges);
        assert_eq!(value(&rows, &pairing), dense(&rows, n_columns), "instance {instance}");
        assert_eq!(pairing, assign(&edges), "the same edges, the same answer");
    }
}

#[test]
fn who_is_short_is_told_from_who_is_not() {
    // Two want what only one can have; a third could have that as well, and has something else.
    let rows = vec![vec![(0, 1)], vec![(0, 2)], vec![(0, 0), (1, 9)]];
    assert_eq!(assign(&edges(&rows, 3)), [Some(0), None, Some(1)]);
}

#[test]
fn agrees_with_a_dense_solver_on_crowded_streets() {
    let mut random = StdRng::seed_from_u64(7);
    for n_columns in [120, 110, 70, 150].into_iter().cycle().take(20) {
        let place = |random: &mut StdRng| {
            (random.random_range(0.0..1_000.0_f64), random.random_range(0.0..1_000.0_f64))
        };
        let columns: Vec<_> = (0..n_columns).map(|_| place(&mut random)).collect();
        let rows: Rows = (0..120)
            .map(|_| {
                let (x, y) = place(&mut random);
                let mut row: Vec<(u32, u32)> = (0..)
                    .zip(&columns)
                    .map(|(column, (cx, cy))| (column, (x - cx).hypot(y - cy) as u32))
                    .collect();
                row.sort_by_key(|(_, cost)| *cost);
                row.truncate(6);
                row
            })
            .collect();
        let found = value(&rows, &assign(&edges(&rows, n_columns)));
        assert_eq!(found, dense(&rows, n_columns), "{n_columns} columns");
    }
}

/// Thirty rows that are alone want the same thirty columns and get one in each round, and two more are kept out by all of
/// them: what these two remember of that must not double with every round.
#[test]
fn whoever_is_kept_out_again_and_again_looks_once_at_a_time() {
    const N: u32 = 30;
    let (gate, wide, end, own) = (|n| n, |n| N + n, |n| 2 * N + n, |n| 3 * N + n);
    let mut rows: Rows = Vec::new();
    // Whoever has a gate could have something else, which many want who do not need it.
    rows.extend((0..N).map(|n| vec![(gate(n), 1), (wide(n), 1)]));
    for n in 0..N {
        rows.extend((0..2 * N).map(|m| vec![(own(2 * N * n + m), 1), (wide(n), 1)]));
    }
    rows.extend((0..N).map(|n| vec![(end(n), 1)]));
    rows.extend((0..N).map(|n| (0..N).map(gate).chain([end(n)]).map(|it| (it, 1)).collect()));
    rows.extend((0..2).map(|_| (0..N).map(|n| (end(n), 1)).collect::<Vec<_>>()));
    let n_columns = (3 * N + 2 * N * N) as usize;
    let (n_paired, _) = value(&rows, &assign(&edges(&rows, n_columns)));
    assert_eq!(n_paired, rows.len() - 2);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn no_pairing_is_better(rows in prop::collection::vec(
        prop::collection::vec((0..7_u32, 0..20_u32), 0..5), 0..=7,
    )) {
        let found = value(&rows, &assign(&edges(&rows, 7)));
        prop_assert_eq!(found, brute_force(&rows, 0));
    }

    #[test]
    fn every_scarce_column_is_had_by_a_wanting_row_and_all_other_rows_have_others(
        rows in prop::collection::vec(prop::collection::vec((0..12_u32, Just(1)), 0..4), 0..=16),
    ) {
        let edges = edges(&rows, 12);
        let (n_pairs, _) = dense(&rows, 12);
        let Some(scarcity) = Scarcity::of(&edges) else {
            prop_assert_eq!(n_pairs, rows.len());
            return Ok(());
        };
        let (scarce, turned) = scarcity.turned(&edges);
        let (others, ample) = scarcity.elsewhere(&edges);
        prop_assert_eq!(scarce.len() + others.len(), n_pairs, "no pairing is larger");
        prop_assert!(pair_all(&ample).iter().all(|column| !scarce.contains(column)));
        prop_assert!(pair_all(&turned).iter().all(|row| !others.contains(row)));
        let n_edges = |row: &u32| edges.of(*row).len();
        let n_wanting: usize =
            (0..rows.len() as u32).filter(|row| !others.contains(row)).map(|row| n_edges(&row)).sum();
        prop_assert_eq!(turned.edges.len(), n_wanting, "who wants has nothing else to choose");
    }
}
