//! Where rows are too many for what they may have: what the largest pairing there is tells of all others.
//!
//! Some rows stay alone in it. What can be reached from them (a column one may have, the row that has it, what that may
//! have instead, and so on) is scarce: no column of it is free, or somebody more could be paired, and no row of it may
//! have anything else. So in every largest pairing each scarce column goes to one of those rows, and each other row has
//! a column that is not scarce (Dulmage and Mendelsohn). Costs have no say in any of this.

use super::{Edge, Edges, NONE};

/// Which rows compete for which columns, where these are too few.
pub(super) struct Scarcity {
    /// Per row: is it one of those that compete?
    is_wanting: Vec<bool>,
    /// Per column: is it one of those that are too few?
    is_scarce: Vec<bool>,
}

impl Scarcity {
    /// None if every row can have a column while all others have theirs.
    pub(super) fn of(edges: &Edges) -> Option<Self> {
        let mut pairs = Pairs::greedy(edges);
        if pairs.alone.is_empty() {
            return None;
        }
        let mut forest = Forest::new(edges);
        forest.grow(edges, &mut pairs);
        if pairs.alone.is_empty() {
            return None;
        }
        let is_scarce: Vec<bool> = forest.tree_of.iter().map(|tree| forest.grows(*tree)).collect();
        let mut is_wanting = vec![false; edges.n_rows()];
        pairs.alone.iter().for_each(|row| is_wanting[*row as usize] = true);
        for (row, _) in pairs.row_of.iter().zip(&is_scarce).filter(|(_, is_scarce)| **is_scarce) {
            is_wanting[*row as usize] = true;
        }
        Some(Self { is_wanting, is_scarce })
    }

    /// The rows that can all be paired, and what they may have, in the same order.
    pub(super) fn elsewhere(&self, edges: &Edges) -> (Vec<u32>, Edges) {
        let mut ample = Edges::new(edges.n_columns);
        let rows = (0..edges.n_rows() as u32).filter(|row| !self.is_wanting[*row as usize]);
        let rows: Vec<u32> = rows.collect();
        for row in &rows {
            let some = edges.of(*row).iter().filter(|it| !self.is_scarce[it.column as usize]);
            ample.push_row(some.map(|it| (it.column, it.cost)));
        }
        (rows, ample)
    }

    /// The columns that are scarce, and which rows each may go to, in the same order: in these edges they are the
    /// rows, and can all be paired.
    pub(super) fn turned(&self, edges: &Edges) -> (Vec<u32>, Edges) {
        let columns = (0..edges.n_columns as u32).filter(|it| self.is_scarce[*it as usize]);
        let columns: Vec<u32> = columns.collect();
        let rows = (0..edges.n_rows() as u32).filter(|row| self.is_wanting[*row as usize]);
        let mut next = vec![0; edges.n_columns];
        for edge in rows.clone().flat_map(|row| edges.of(row)) {
            next[edge.column as usize] += 1;
        }
        let mut starts = Vec::with_capacity(columns.len() + 1);
        let mut n_before = 0;
        for column in &columns {
            starts.push(n_before);
            let n = std::mem::replace(&mut next[*column as usize], n_before);
            n_before += n;
        }
        starts.push(n_before);
        let mut turned = vec![Edge { column: NONE, cost: 0 }; n_before as usize];
        for row in rows {
            for edge in edges.of(row) {
                let next = &mut next[edge.column as usize];
                turned[*next as usize] = Edge { column: row, cost: edge.cost };
                *next += 1;
            }
        }
        (columns, Edges { n_columns: edges.n_rows(), starts, edges: turned })
    }
}

/// Who has whom, whatever it costs.
struct Pairs {
    /// Per row and per column.
    column_of: Vec<u32>,
    row_of: Vec<u32>,
    /// The rows that have nothing yet.
    alone: Vec<u32>,
}

impl Pairs {
    /// Each row in turn takes what fewest others may have, which leaves few without anything.
    fn greedy(edges: &Edges) -> Self {
        let mut n_suitors = vec![0_u32; edges.n_columns];
        edges.edges.iter().for_each(|edge| n_suitors[edge.column as usize] += 1);
        let (mut column_of, mut row_of) = (vec![NONE; edges.n_rows()], vec![NONE; edges.n_columns]);
        let mut alone = Vec::new();
        for row in 0..edges.n_rows() as u32 {
            let free = edges.of(row).iter().map(|edge| edge.column);
            let free = free.filter(|it| row_of[*it as usize] == NONE);
            match free.min_by_key(|it| n_suitors[*it as usize]) {
                Some(column) => {
                    column_of[row as usize] = column;
                    row_of[column as usize] = row;
                }
                None => alone.push(row),
            }
        }
        Self { column_of, row_of, alone }
    }
}

/// From every row that is alone: a tree of what it could have, who has that, what that could have instead, and so on.
/// Where one reaches a column nobody has, its root is paired, and what it held is left to other trees.
struct Forest {
    /// Per column: the tree that reached it last, by its root, and from which row.
    tree_of: Vec<u32>,
    from: Vec<u32>,
    /// Per row: the tree it is in, or was last.
    root: Vec<u32>,
    /// Per root: has it been paired?
    is_done: Vec<bool>,
    /// Rows to look from.
    rows: Vec<u32>,
    /// Per row: is it one of those already?
    looks_again: Vec<bool>,
    /// Rows that could have had what a tree holds that is not theirs.
    kept_out: Vec<(u32, u32)>,
}

impl Forest {
    fn new(edges: &Edges) -> Self {
        Self {
            tree_of: vec![NONE; edges.n_columns],
            from: vec![NONE; edges.n_columns],
            root: vec![NONE; edges.n_rows()],
            is_done: vec![false; edges.n_rows()],
            rows: Vec::new(),
            looks_again: vec![false; edges.n_rows()],
            kept_out: Vec::new(),
        }
    }

    /// Pairs all that can be. The trees that are left then hold all that leads from their roots.
    fn grow(&mut self, edges: &Edges, pairs: &mut Pairs) {
        self.rows.extend(&pairs.alone);
        pairs.alone.iter().for_each(|row| self.root[*row as usize] = *row);
        while !self.rows.is_empty() {
            let mut n_looked = 0;
            // Breadth first, from all of them at once, so that chains are short.
            while let Some(&row) = self.rows.get(n_looked) {
                n_looked += 1;
                self.look(row, edges, pairs);
            }
            self.rows.clear();
            self.let_in();
        }
        pairs.alone.retain(|row| !self.is_done[*row as usize]);
    }

    /// Is there such a tree, and does its root have nothing yet?
    fn grows(&self, tree: u32) -> bool {
        self.is_done.get(tree as usize).is_some_and(|is_done| !is_done)
    }

    /// Looks from a row at what it could have.
    fn look(&mut self, row: u32, edges: &Edges, pairs: &mut Pairs) {
        let root = self.root[row as usize];
        if self.is_done[root as usize] {
            return;
        }
        for edge in edges.of(row) {
            let column = edge.column as usize;
            let holder = self.tree_of[column];
            if self.grows(holder) {
                if holder != root {
                    self.kept_out.push((row, holder));
                }
                continue;
            }
            (self.tree_of[column], self.from[column]) = (root, row);
            let owner = pairs.row_of[column];
            if owner == NONE {
                self.change_over(edge.column, pairs);
                self.is_done[root as usize] = true;
                return;
            }
            self.root[owner as usize] = root;
            self.rows.push(owner);
        }
    }

    /// Who was kept out by a tree that is gone looks again, and finds anew by whom it is kept out: what it found before
    /// is forgotten, or it would be twice as much after every look.
    fn let_in(&mut self) {
        let Self { root, is_done, looks_again, rows, kept_out, .. } = self;
        let is_over = |row: u32| is_done[root[row as usize] as usize];
        for &(row, holder) in kept_out.iter() {
            let looks_again = &mut looks_again[row as usize];
            if is_done[holder as usize] && !is_over(row) && !*looks_again {
                *looks_again = true;
                rows.push(row);
            }
        }
        kept_out.retain(|&(row, _)| !looks_again[row as usize] && !is_over(row));
        rows.iter().for_each(|row| looks_again[*row as usize] = false);
    }

    /// Every row of a chain takes the column that was reached from it, back to the one that was alone.
    fn change_over(&self, free: u32, pairs: &mut Pairs) {
        let mut column = free;
        while column != NONE {
            let row = self.from[column as usize];
            pairs.row_of[column as usize] = row;
            column = std::mem::replace(&mut pairs.column_of[row as usize], column);
        }
    }
}
