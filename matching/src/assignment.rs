//! Pairs rows with columns at the least total cost: exact, sparse and deterministic.
//!
//! ```text
//!  edges ──► how many pairs ──┬─► rows that all get a column ──► shortest augmenting paths ──┬─► pairs
//!           there can be      └─► columns that all get a row ──► the same, turned round ─────┘
//! ```
//!
//! As many rows as possible are paired, and among all such pairings the cheapest is found. Where rows are too many
//! for the columns they may have, whichever are paired, every one of those columns has a row (`scarcity.rs`): there
//! columns look for rows. So whoever looks finds somebody (`paths.rs`), and nobody has to look at everything before it
//! is known that nothing is left, which used to be most of the work where drivers were few.

mod paths;
mod queue;
mod scarcity;

use paths::pair_all;
use scarcity::Scarcity;

/// Nobody, or nothing yet.
const NONE: u32 = u32::MAX;

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

    /// The edges of a row.
    fn of(&self, row: u32) -> &[Edge] {
        &self.edges[self.starts[row as usize] as usize..self.starts[row as usize + 1] as usize]
    }
}

/// The column of each row, or none if it stays alone. No other pairing has more pairs, and none with
/// as many pairs is cheaper. The same edges always give the same answer.
pub fn assign(edges: &Edges) -> Vec<Option<u32>> {
    let Some(scarcity) = Scarcity::of(edges) else {
        return pair_all(edges).into_iter().map(Some).collect();
    };
    let mut columns = vec![None; edges.n_rows()];
    let (rows, ample) = scarcity.elsewhere(edges);
    for (row, column) in rows.into_iter().zip(pair_all(&ample)) {
        columns[row as usize] = Some(column);
    }
    let (scarce, turned) = scarcity.turned(edges);
    for (column, row) in scarce.into_iter().zip(pair_all(&turned)) {
        columns[row as usize] = Some(column);
    }
    columns
}

#[cfg(test)]
mod tests;
