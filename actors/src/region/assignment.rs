//! Pairs rows with columns at the least total cost: exact, sparse and deterministic.
//!
//! Shortest augmenting paths over the edges that exist, after Jonker and Volgenant. Columns carry a
//! price, never above zero and zero while nobody has them. Rows first outbid each other, which settles
//! most of them; the few that are left each search a cheapest chain of changes (Dijkstra over reduced
//! costs). A row may also stay alone, at a cost above any sum of edges: as many rows as possible are
//! paired, and among all such pairings the cheapest is found.

use std::{cmp::Reverse, collections::BinaryHeap};

/// Nobody, or nothing yet.
const NONE: u32 = u32::MAX;
/// In place of an edge: the row stays alone.
const ALONE: u32 = u32::MAX - 1;
/// How many bids each row may make on average before paths take over.
const BIDS_PER_ROW: usize = 8;

/// Which row may have which column, at what cost.
#[derive(Debug, Clone, Default)]
pub struct Edges {
    n_columns: usize,
    /// Where each row's edges start; one more than there are rows.
    starts: Vec<u32>,
    columns: Vec<u32>,
    costs: Vec<u32>,
}

impl Edges {
    /// No rows yet, and columns numbered from 0 to `n_columns`, exclusive.
    pub fn new(n_columns: usize) -> Self {
        Self { n_columns, starts: vec![0], columns: Vec::new(), costs: Vec::new() }
    }

    /// Adds a row that may have any of these columns at these costs.
    pub fn push_row(&mut self, edges: impl IntoIterator<Item = (u32, u32)>) {
        for (column, cost) in edges {
            assert!((column as usize) < self.n_columns, "an edge leads to a column that exists");
            self.columns.push(column);
            self.costs.push(cost);
        }
        self.starts.push(self.columns.len() as u32);
    }

    /// How many rows there are.
    pub fn n_rows(&self) -> usize {
        self.starts.len() - 1
    }

    fn of(&self, row: u32) -> std::ops::Range<usize> {
        self.starts[row as usize] as usize..self.starts[row as usize + 1] as usize
    }
}

/// The column of each row, or none if it stays alone. No other pairing has more pairs, and none with
/// as many pairs is cheaper. The same edges always give the same answer.
pub fn assign(edges: &Edges) -> Vec<Option<u32>> {
    let mut solver = Solver::new(edges);
    for row in solver.bid() {
        solver.augment(row);
    }
    let column = |&edge: &u32| (edge != ALONE).then(|| edges.columns[edge as usize]);
    solver.edge_of.iter().map(column).collect()
}

/// Where a cheapest chain of changes ends.
#[derive(Clone, Copy)]
enum End {
    /// At a column nobody has.
    Free(u32),
    /// At a row that gives up its column and stays alone.
    Alone(u32),
}

struct Solver<'a> {
    edges: &'a Edges,
    /// What it costs to stay alone: more than any chain of changes.
    alone: i64,
    /// Per column: at most 0, and 0 while it is free.
    price: Vec<i64>,
    /// Per column.
    row_of: Vec<u32>,
    /// Per row: the edge it has.
    edge_of: Vec<u32>,
    /// Per column, for one path at a time: how far, and reached over which edge of which row.
    distance: Vec<i64>,
    over: Vec<(u32, u32)>,
    /// Columns with a distance, to be forgotten after the path.
    reached: Vec<u32>,
    /// Columns whose distance is final, and whose price changes with the path.
    settled: Vec<u32>,
    frontier: BinaryHeap<Reverse<(i64, u32)>>,
}

impl<'a> Solver<'a> {
    fn new(edges: &'a Edges) -> Self {
        let dearest = edges.costs.iter().copied().max().unwrap_or(0);
        Self {
            edges,
            alone: (i64::from(dearest) + 1) * (edges.n_rows() as i64 + 1),
            price: vec![0; edges.n_columns],
            row_of: vec![NONE; edges.n_columns],
            edge_of: vec![NONE; edges.n_rows()],
            distance: vec![i64::MAX; edges.n_columns],
            over: vec![(NONE, NONE); edges.n_columns],
            reached: Vec::new(),
            settled: Vec::new(),
            frontier: BinaryHeap::new(),
        }
    }

    fn reduced(&self, edge: u32) -> i64 {
        let column = self.edges.columns[edge as usize];
        i64::from(self.edges.costs[edge as usize]) - self.price[column as usize]
    }

    /// Each row takes its best column and lowers the price until its second best is as good. Whoever
    /// had the column bids again. Returns the rows that have nothing yet.
    fn bid(&mut self) -> Vec<u32> {
        let n_rows = self.edges.n_rows();
        let mut bids_left = n_rows * BIDS_PER_ROW;
        let mut bidders: Vec<u32> = (0..n_rows as u32).rev().collect();
        let mut waiting = Vec::new();
        while let Some(row) = bidders.pop() {
            if bids_left == 0 {
                waiting.push(row);
                continue;
            }
            bids_left -= 1;
            let (mut best, mut best_edge) = (self.alone, ALONE);
            let (mut second, mut second_edge) = (self.alone, ALONE);
            for edge in self.edges.of(row) {
                let cost = self.reduced(edge as u32);
                if cost < best {
                    (second, second_edge) = (best, best_edge);
                    (best, best_edge) = (cost, edge as u32);
                } else if cost < second {
                    (second, second_edge) = (cost, edge as u32);
                }
            }
            if best_edge == ALONE {
                // Prices only fall, so no other choice will ever be better for it.
                self.edge_of[row as usize] = ALONE;
                continue;
            }
            let mut column = self.edges.columns[best_edge as usize];
            if best < second {
                self.price[column as usize] -= second - best;
            } else if self.row_of[column as usize] != NONE && second_edge != ALONE {
                best_edge = second_edge;
                column = self.edges.columns[second_edge as usize];
            }
            let before = std::mem::replace(&mut self.row_of[column as usize], row);
            self.edge_of[row as usize] = best_edge;
            if before != NONE {
                self.edge_of[before as usize] = NONE;
                if best < second {
                    bidders.push(before);
                } else {
                    // A tie: bidding on could go round in circles.
                    waiting.push(before);
                }
            }
        }
        waiting
    }

    /// Pairs `root`, or leaves alone whoever is cheapest to leave alone.
    fn augment(&mut self, root: u32) {
        let (mut bound, mut end) = (self.alone, End::Alone(root));
        self.relax(root, 0, &mut bound, &mut end);
        while let Some(Reverse((distance, column))) = self.frontier.pop() {
            if distance >= bound {
                break;
            }
            if distance > self.distance[column as usize] {
                continue;
            }
            self.settled.push(column);
            let row = self.row_of[column as usize];
            let lead = self.reduced(self.edge_of[row as usize]) - distance;
            self.relax(row, lead, &mut bound, &mut end);
        }
        for &column in &self.settled {
            self.price[column as usize] += self.distance[column as usize] - bound;
        }
        self.change_over(root, end);
        for &column in &self.reached {
            self.distance[column as usize] = i64::MAX;
        }
        self.reached.clear();
        self.settled.clear();
        self.frontier.clear();
    }

    /// Looks from `row`, whose own cost so far is `lead` more than its distance, at what it could have.
    fn relax(&mut self, row: u32, lead: i64, bound: &mut i64, end: &mut End) {
        if self.alone - lead < *bound {
            (*bound, *end) = (self.alone - lead, End::Alone(row));
        }
        for edge in self.edges.of(row) {
            let column = self.edges.columns[edge];
            let distance = self.reduced(edge as u32) - lead;
            let known = self.distance[column as usize];
            if distance >= *bound || distance >= known {
                continue;
            }
            if known == i64::MAX {
                self.reached.push(column);
            }
            self.distance[column as usize] = distance;
            self.over[column as usize] = (row, edge as u32);
            if self.row_of[column as usize] == NONE {
                (*bound, *end) = (distance, End::Free(column));
            } else {
                self.frontier.push(Reverse((distance, column)));
            }
        }
    }

    /// Every row of the chain takes the column it was reached from, back to `root`.
    fn change_over(&mut self, root: u32, end: End) {
        let mut column = match end {
            End::Free(column) => column,
            End::Alone(row) => {
                let before = std::mem::replace(&mut self.edge_of[row as usize], ALONE);
                if row == root {
                    return;
                }
                self.edges.columns[before as usize]
            }
        };
        loop {
            let (row, edge) = self.over[column as usize];
            let before = std::mem::replace(&mut self.edge_of[row as usize], edge);
            self.row_of[column as usize] = row;
            if row == root {
                return;
            }
            column = self.edges.columns[before as usize];
        }
    }
}

#[cfg(test)]
mod tests;
