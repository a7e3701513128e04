//! Pairs every row at the least total cost, where all can be paired: shortest augmenting paths, after Jonker and
//! Volgenant.
//!
//! Columns carry a price, never above zero and zero while nobody has them. Rows first outbid each other, which settles
//! most of them; the few that are left each search a cheapest chain of changes (Dijkstra over reduced costs) that ends
//! at a column nobody has.

use super::{Edge, Edges, NONE, queue::Queue};

/// How many bids each row may make on average before paths take over.
const BIDS_PER_ROW: usize = 8;

/// The column of each row. All of them must be able to have one at the same time.
pub(super) fn pair_all(edges: &Edges) -> Vec<u32> {
    let mut solver = Solver::new(edges);
    for row in solver.bid() {
        solver.augment(row);
    }
    solver.edge_of.iter().map(|edge| edges.edges[*edge as usize].column).collect()
}

/// What is known of a column, side by side, because it is looked up in no order at all.
#[derive(Clone, Copy)]
struct Column {
    /// At most 0, and 0 while nobody has it.
    price: i64,
    /// How far it is from the root of the present path.
    distance: i64,
    /// Who has it, and at what cost.
    row: u32,
    cost: u32,
    /// From which row, and over which of its edges, the present path reaches it.
    from: u32,
    over: u32,
}

impl Column {
    const UNTOUCHED: Self =
        Self { price: 0, distance: i64::MAX, row: NONE, cost: 0, from: NONE, over: NONE };

    fn reduced(&self, cost: u32) -> i64 {
        i64::from(cost) - self.price
    }
}

struct Solver<'a> {
    edges: &'a Edges,
    columns: Vec<Column>,
    /// Per row: the edge it has.
    edge_of: Vec<u32>,
    /// Columns with a distance, to be forgotten after the path.
    reached: Vec<u32>,
    /// Columns whose distance is final, and whose price changes with the path.
    settled: Vec<u32>,
    /// What was reached and not looked from yet.
    frontier: Queue,
    /// How far the nearest free column is that was reached so far. Whatever is not nearer is of no interest.
    bound: i64,
    /// Which it is.
    end: u32,
}

impl<'a> Solver<'a> {
    fn new(edges: &'a Edges) -> Self {
        Self {
            edges,
            columns: vec![Column::UNTOUCHED; edges.n_columns],
            edge_of: vec![NONE; edges.n_rows()],
            reached: Vec::new(),
            settled: Vec::new(),
            frontier: Queue::new(),
            bound: i64::MAX,
            end: NONE,
        }
    }

    /// The edges of a row, each with its number.
    fn of(&self, row: u32) -> impl Iterator<Item = (u32, Edge)> + use<'a> {
        (self.edges.starts[row as usize]..).zip(self.edges.of(row).iter().copied())
    }

    /// Each row takes its best column and lowers the price until its second best is as good. Whoever
    /// had the column bids again. Returns the rows that have nothing yet.
    fn bid(&mut self) -> Vec<u32> {
        let n_rows = self.edges.n_rows();
        let dearest = self.edges.edges.iter().map(|edge| edge.cost).max().unwrap_or_default();
        let mut bids_left = n_rows * BIDS_PER_ROW;
        let mut bidders: Vec<u32> = (0..n_rows as u32).rev().collect();
        let mut waiting = Vec::new();
        while let Some(row) = bidders.pop() {
            if bids_left == 0 {
                waiting.push(row);
                continue;
            }
            bids_left -= 1;
            let (mut best, mut best_edge) = (i64::MAX, NONE);
            let (mut second, mut second_edge) = (i64::MAX, NONE);
            for (n, edge) in self.of(row) {
                let cost = self.columns[edge.column as usize].reduced(edge.cost);
                if cost < best {
                    (second, second_edge) = (best, best_edge);
                    (best, best_edge) = (cost, n);
                } else if cost < second {
                    (second, second_edge) = (cost, n);
                }
            }
            if second_edge == NONE {
                // It has no choice: whatever it offers, what is left to others is no worse for it.
                second = best + i64::from(dearest) + 1;
            }
            let is_tie = best == second;
            if is_tie && self.column_of(best_edge).row != NONE {
                best_edge = second_edge;
            }
            let cost = self.edges.edges[best_edge as usize].cost;
            let column = self.column_of(best_edge);
            column.price -= second - best;
            column.cost = cost;
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

    /// Pairs `root`, at the end of a cheapest chain of changes.
    fn augment(&mut self, root: u32) {
        (self.bound, self.end) = (i64::MAX, NONE);
        self.relax(root, 0);
        while let Some((distance, column)) = self.frontier.pop(self.bound) {
            let Column { price, distance: known, row, cost, .. } = self.columns[column as usize];
            // Otherwise it was reached on a shorter way since, and has been looked from.
            if distance == known {
                self.settled.push(column);
                self.relax(row, i64::from(cost) - price - distance);
            }
        }
        assert!(self.end != NONE, "every row can be paired");
        for column in self.settled.drain(..) {
            let column = &mut self.columns[column as usize];
            column.price += column.distance - self.bound;
        }
        self.change_over(root);
        for column in self.reached.drain(..) {
            self.columns[column as usize].distance = i64::MAX;
        }
        self.frontier.clear();
    }

    /// Looks from `row` at what it could have. Its reduced costs count from `lead`: what it has now, less the
    /// distance at which it was reached.
    fn relax(&mut self, row: u32, lead: i64) {
        for (n, edge) in self.of(row) {
            let column = &mut self.columns[edge.column as usize];
            let distance = column.reduced(edge.cost) - lead;
            if distance >= column.distance.min(self.bound) {
                continue;
            }
            if column.distance == i64::MAX {
                self.reached.push(edge.column);
            }
            (column.distance, column.from, column.over) = (distance, row, n);
            if column.row == NONE {
                (self.bound, self.end) = (distance, edge.column);
            } else {
                self.frontier.push(distance, edge.column);
            }
        }
    }

    /// Every row of the chain takes the column it was reached for, back to `root`.
    fn change_over(&mut self, root: u32) {
        let mut next = self.end;
        loop {
            let column = &mut self.columns[next as usize];
            let (row, over) = (column.from, column.over);
            column.row = row;
            column.cost = self.edges.edges[over as usize].cost;
            let before = std::mem::replace(&mut self.edge_of[row as usize], over);
            if row == root {
                return;
            }
            next = self.edges.edges[before as usize].column;
        }
    }
}
