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
    edges: Vec<Edge>,
}

#[derive(Debug, Clone, Copy)]
struct Edge {
    column: u32,
    cost: u32,
}

impl Edges {
    /// No rows yet, and columns numbered from 0 to `n_columns`, exclusive.
    pub fn new(n_columns: usize) -> Self {
        Self { n_columns, starts: vec![0], edges: Vec::new() }
    }

    /// Adds a row that may have any of these columns at these costs.
    pub fn push_row(&mut self, edges: impl IntoIterator<Item = (u32, u32)>) {
        for (column, cost) in edges {
            assert!((column as usize) < self.n_columns, "an edge leads to a column that exists");
            self.edges.push(Edge { column, cost });
        }
        self.starts.push(self.edges.len() as u32);
    }

    /// How many rows there are.
    pub fn n_rows(&self) -> usize {
        self.starts.len() - 1
    }

    /// The edges of a row, and the number of the first.
    fn of(&self, row: u32) -> (u32, &[Edge]) {
        let (start, end) = (self.starts[row as usize], self.starts[row as usize + 1]);
        (start, &self.edges[start as usize..end as usize])
    }
}

/// The column of each row, or none if it stays alone. No other pairing has more pairs, and none with
/// as many pairs is cheaper. The same edges always give the same answer.
pub fn assign(edges: &Edges) -> Vec<Option<u32>> {
    let mut solver = Solver::new(edges);
    for row in solver.bid() {
        solver.augment(row);
    }
    let column = |&edge: &u32| (edge != ALONE).then(|| edges.edges[edge as usize].column);
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

/// What is known of a column, side by side, because it is looked up in no order at all.
#[derive(Clone, Copy)]
struct Column {
    /// At most 0, and 0 while nobody has it.
    price: i64,
    /// How far it is from the root of the present path.
    distance: i64,
    /// Who has it.
    row: u32,
    /// From which row, and over which of its edges, the present path reaches it.
    from: u32,
    over: u32,
}

impl Column {
    const UNTOUCHED: Self =
        Self { price: 0, distance: i64::MAX, row: NONE, from: NONE, over: NONE };

    fn reduced(&self, edge: Edge) -> i64 {
        i64::from(edge.cost) - self.price
    }
}

/// A column at a distance, in one number: a heap compares little else than these, and one comparison that does not
/// branch is quicker than two that do.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct Reached(u128);

impl Reached {
    /// Distances are never negative.
    fn pack(distance: i64, column: u32) -> Self {
        Self(u128::from(distance.cast_unsigned()) << 32 | u128::from(column))
    }

    fn unpack(self) -> (i64, u32) {
        ((self.0 >> 32) as i64, self.0 as u32)
    }
}

struct Solver<'a> {
    edges: &'a Edges,
    /// What it costs to stay alone: more than any chain of changes.
    alone: i64,
    columns: Vec<Column>,
    /// Per row: the edge it has.
    edge_of: Vec<u32>,
    /// Columns with a distance, to be forgotten after the path.
    reached: Vec<u32>,
    /// Columns whose distance is final, and whose price changes with the path.
    settled: Vec<u32>,
    /// Columns as near as the one being looked from: no heap is needed for those.
    level: Vec<u32>,
    /// What was reached and not looked from yet, the nearest first.
    frontier: BinaryHeap<Reverse<Reached>>,
    /// The nearest end so far. Whatever is not nearer is of no interest.
    bound: i64,
    end: End,
}

impl<'a> Solver<'a> {
    fn new(edges: &'a Edges) -> Self {
        let dearest = edges.edges.iter().map(|edge| edge.cost).max().unwrap_or(0);
        Self {
            edges,
            alone: (i64::from(dearest) + 1) * (edges.n_rows() as i64 + 1),
            columns: vec![Column::UNTOUCHED; edges.n_columns],
            edge_of: vec![NONE; edges.n_rows()],
            reached: Vec::new(),
            settled: Vec::new(),
            level: Vec::new(),
            frontier: BinaryHeap::new(),
            bound: 0,
            end: End::Alone(NONE),
        }
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
            let (start, edges) = self.edges.of(row);
            for (n, edge) in (start..).zip(edges) {
                let cost = self.columns[edge.column as usize].reduced(*edge);
                if cost < best {
                    (second, second_edge) = (best, best_edge);
                    (best, best_edge) = (cost, n);
                } else if cost < second {
                    (second, second_edge) = (cost, n);
                }
            }
            if best_edge == ALONE {
                // Prices only fall, so no other choice will ever be better for it.
                self.edge_of[row as usize] = ALONE;
                continue;
            }
            let is_tie = best == second;
            if is_tie && second_edge != ALONE && self.column_of(best_edge).row != NONE {
                best_edge = second_edge;
            }
            let column = self.column_of(best_edge);
            column.price -= second - best;
            let before = std::mem::replace(&mut column.row, row);
            self.edge_of[row as usize] = best_edge;
            if before != NONE {
                self.edge_of[before as usize] = NONE;
                // After a tie, bidding on could go round in circles.
                if is_tie { waiting.push(before) } else { bidders.push(before) }
            }
        }
        waiting
    }

    fn column_of(&mut self, edge: u32) -> &mut Column {
        &mut self.columns[self.edges.edges[edge as usize].column as usize]
    }

    /// Pairs `root`, or leaves alone whoever is cheapest to leave alone.
    fn augment(&mut self, root: u32) {
        (self.bound, self.end) = (self.alone, End::Alone(root));
        self.relax(root, 0, 0);
        while let Some((distance, column)) = self.nearest() {
            self.settled.push(column);
            let known = self.columns[column as usize];
            let edge = self.edges.edges[self.edge_of[known.row as usize] as usize];
            self.relax(known.row, distance, known.reduced(edge) - distance);
        }
        for &column in &self.settled {
            let column = &mut self.columns[column as usize];
            column.price += column.distance - self.bound;
        }
        self.change_over(root);
        for &column in &self.reached {
            self.columns[column as usize].distance = i64::MAX;
        }
        self.reached.clear();
        self.settled.clear();
        self.level.clear();
        self.frontier.clear();
    }

    /// The nearest column to look from, if any is nearer than the nearest end.
    fn nearest(&mut self) -> Option<(i64, u32)> {
        if let Some(column) = self.level.pop() {
            let distance = self.columns[column as usize].distance;
            return (distance < self.bound).then_some((distance, column));
        }
        while let Some(Reverse(reached)) = self.frontier.pop() {
            let (distance, column) = reached.unpack();
            if distance >= self.bound {
                return None;
            }
            // Otherwise it was reached on a shorter way since, and has been looked from.
            if distance == self.columns[column as usize].distance {
                return Some((distance, column));
            }
        }
        None
    }

    /// Looks from `row`, reached at this distance, at what it could have. Its reduced costs count from
    /// `lead`: what it has now, less the distance.
    fn relax(&mut self, row: u32, here: i64, lead: i64) {
        if self.alone - lead < self.bound {
            (self.bound, self.end) = (self.alone - lead, End::Alone(row));
        }
        let (start, edges) = self.edges.of(row);
        for (n, edge) in (start..).zip(edges) {
            let column = &mut self.columns[edge.column as usize];
            let distance = column.reduced(*edge) - lead;
            if distance >= self.bound || distance >= column.distance {
                continue;
            }
            if column.distance == i64::MAX {
                self.reached.push(edge.column);
            }
            (column.distance, column.from, column.over) = (distance, row, n);
            if column.row == NONE {
                (self.bound, self.end) = (distance, End::Free(edge.column));
            } else if distance == here {
                self.level.push(edge.column);
            } else {
                self.frontier.push(Reverse(Reached::pack(distance, edge.column)));
            }
        }
    }

    /// Every row of the chain takes the column it was reached for, back to `root`.
    fn change_over(&mut self, root: u32) {
        let mut column = match self.end {
            End::Free(column) => column,
            End::Alone(row) => {
                let before = std::mem::replace(&mut self.edge_of[row as usize], ALONE);
                if row == root {
                    return;
                }
                self.edges.edges[before as usize].column
            }
        };
        loop {
            let Column { from: row, over, .. } = self.columns[column as usize];
            self.columns[column as usize].row = row;
            let before = std::mem::replace(&mut self.edge_of[row as usize], over);
            if row == root {
                return;
            }
            column = self.edges.edges[before as usize].column;
        }
    }
}

#[cfg(test)]
mod tests;
