//! Who is near: a grid of square metres around one place, and exact nearest neighbours in it.
//!
//! Entries are numbered by the caller, so that a move costs two list operations and no hashing. A large grid waits
//! for memory and for little else, so what is needed of several points is asked for together: a search walks
//! through the lists of several cells side by side, and many moves are looked up before the first is made.
//!
//! Coordinates are metres east and north of the centre on a plane, off by less than half a percent
//! within 30 km. A point beyond the grid is kept in the border cell nearest to it; distances stay exact,
//! because moving two points to the nearest point of a box never moves them apart.

use protocol::Point;

const NONE: u32 = u32::MAX;
/// Metres per degree of latitude.
const LAT_DEGREE_M: f64 = 111_194.93;
/// Rounding of coordinates must not hide a neighbour behind a cell border.
const SLACK_M: f32 = 0.05;
/// How many points are looked up together.
const TOGETHER: usize = 32;

/// Numbered points, findable by where they are.
#[derive(Debug, Clone)]
pub struct Grid {
    centre: Point,
    lon_degree_m: f64,
    half_m: f32,
    cell_m: f32,
    cells_per_m: f32,
    n_side: usize,
    /// Per cell: the first of its entries.
    heads: Vec<u32>,
    /// Per number.
    spots: Vec<Spot>,
    n_points: usize,
}

/// One entry, and its neighbours in the list of its cell.
#[derive(Debug, Clone, Copy)]
struct Spot {
    x: f32,
    y: f32,
    cell: u32,
    next: u32,
    before: u32,
}

const NOWHERE: Spot = Spot { x: 0.0, y: 0.0, cell: NONE, next: NONE, before: NONE };

/// A number, and where it is now.
#[derive(Debug, Clone, Copy)]
struct Step {
    n: u32,
    x: f32,
    y: f32,
    cell: u32,
}

/// How far a search is in the lists of several cells.
struct Cursors {
    n: [u32; TOGETHER],
    len: usize,
}

/// One of the nearest.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Near {
    /// Its number.
    pub n: u32,
    /// How far it is, as the crow flies, in metres.
    pub distance_m: f32,
}

impl Grid {
    /// An empty grid that reaches `half_m` metres from `centre` in each direction, with cells of
    /// `cell_m` metres.
    pub fn new(centre: Point, half_m: f32, cell_m: f32) -> Self {
        let n_side = ((2.0 * half_m / cell_m).ceil() as usize).max(1);
        Self {
            centre,
            // Close to a pole every longitude is near; a floor keeps the arithmetic finite.
            lon_degree_m: LAT_DEGREE_M * centre.lat.to_radians().cos().max(1e-3),
            half_m,
            cell_m,
            cells_per_m: cell_m.recip(),
            n_side,
            heads: vec![NONE; n_side * n_side],
            spots: Vec::new(),
            n_points: 0,
        }
    }

    /// How many points there are.
    pub fn len(&self) -> usize {
        self.n_points
    }

    /// Is nobody here?
    pub fn is_empty(&self) -> bool {
        self.n_points == 0
    }

    /// Forgets every point; costs as much as there were points.
    pub fn clear(&mut self) {
        for spot in self.spots.drain(..) {
            if spot.cell != NONE {
                self.heads[spot.cell as usize] = NONE;
            }
        }
        self.n_points = 0;
    }

    /// Number `n` is at this point now, wherever it was before. Numbers should be small: memory grows
    /// with the largest.
    pub fn upsert(&mut self, n: u32, at: Point) {
        let (x, y) = self.metres(at);
        self.make_room(n);
        self.put(Step { n, x, y, cell: self.cell(x, y) });
    }

    /// The same for many, one after the other, and quicker where there are many.
    pub fn upsert_all(&mut self, moves: &[(u32, Point)]) {
        self.make_room(moves.iter().map(|(n, _)| *n).max().unwrap_or_default());
        let mut steps = [Step { n: NONE, x: 0.0, y: 0.0, cell: NONE }; TOGETHER];
        for some in moves.chunks(TOGETHER) {
            for (step, &(n, at)) in steps.iter_mut().zip(some) {
                let (x, y) = self.metres(at);
                *step = Step { n, x, y, cell: self.cell(x, y) };
            }
            let steps = &steps[..some.len()];
            self.look_up(steps);
            steps.iter().for_each(|step| self.put(*step));
        }
    }

    /// Reads whatever points these steps will change, so that it is at hand then.
    fn look_up(&self, steps: &[Step]) {
        let mut others = [NONE; 3 * TOGETHER];
        let mut n_others = 0;
        for step in steps {
            let spot = &self.spots[step.n as usize];
            let first = self.heads[step.cell as usize];
            others[n_others..n_others + 3].copy_from_slice(&[spot.next, spot.before, first]);
            // Without a branch: nobody could guess which way it goes, and guessing wrong would be waiting.
            n_others += if spot.cell == step.cell { 0 } else { 3 };
        }
        let others = others[..n_others].iter();
        let spots = others.map(|n| self.spots.get(*n as usize).unwrap_or(&NOWHERE));
        std::hint::black_box(spots.fold(0, |sum, spot| sum ^ spot.cell));
    }

    /// Numbers up to this one can be looked up.
    fn make_room(&mut self, n: u32) {
        if self.spots.len() <= n as usize {
            self.spots.resize(n as usize + 1, NOWHERE);
        }
    }

    fn put(&mut self, Step { n, x, y, cell }: Step) {
        let spot = &mut self.spots[n as usize];
        (spot.x, spot.y) = (x, y);
        if spot.cell != cell {
            self.remove(n);
            let next = std::mem::replace(&mut self.heads[cell as usize], n);
            if next != NONE {
                self.spots[next as usize].before = n;
            }
            self.spots[n as usize] = Spot { x, y, cell, next, before: NONE };
            self.n_points += 1;
        }
    }

    fn cell(&self, x: f32, y: f32) -> u32 {
        (self.line(y) * self.n_side + self.line(x)) as u32
    }

    /// Number `n` is gone; does nothing if it was not here.
    pub fn remove(&mut self, n: u32) {
        let Some(spot) = self.spots.get_mut(n as usize) else { return };
        let Spot { cell, next, before, .. } = *spot;
        if cell == NONE {
            return;
        }
        spot.cell = NONE;
        if next != NONE {
            self.spots[next as usize].before = before;
        }
        if before == NONE {
            self.heads[cell as usize] = next;
        } else {
            self.spots[before as usize].next = next;
        }
        self.n_points -= 1;
    }

    /// Puts into `found` the `k` nearest to `at`, nearest first, that are at most `radius_m` away and
    /// that `fits` lets pass. Of equally near ones, smaller numbers come first.
    pub fn nearest(
        &self,
        at: Point,
        k: usize,
        radius_m: f32,
        mut fits: impl FnMut(u32) -> bool,
        found: &mut Vec<Near>,
    ) {
        found.clear();
        if k == 0 || self.is_empty() {
            return;
        }
        let (x, y) = self.metres(at);
        let (cx, cy) = (self.line(x), self.line(y));
        // Cells are told apart by their distance from the nearest point of the grid.
        let inside = (self.inside_m(x), self.inside_m(y));
        let mut best = Best { found, k, limit: radius_m * radius_m, x, y };
        let mut cursors = Cursors { n: [0; TOGETHER], len: 0 };
        let last = self.n_side - 1;
        let n_rings = cx.max(last - cx).max(cy).max(last - cy);
        let mut n_cells = 0;
        for ring in 0..=n_rings {
            if ring > 1 {
                let (east_m, north_m) =
                    (self.reached_m(inside.0, cx, ring), self.reached_m(inside.1, cy, ring));
                let reached_m = east_m.min(north_m);
                if reached_m * reached_m > best.limit {
                    break;
                }
            }
            if n_cells > self.n_points {
                // Looking at everyone is cheaper than looking at more empty cells.
                best.found.clear();
                best.limit = radius_m * radius_m;
                for (n, spot) in (0..).zip(&self.spots) {
                    if spot.cell != NONE {
                        best.consider(n, spot, &mut fits);
                    }
                }
                break;
            }
            let (west, east) = (cx.saturating_sub(ring), (cx + ring).min(last));
            for row in cy.saturating_sub(ring)..=(cy + ring).min(last) {
                let north_m = self.gap_m(inside.1, row);
                let room = best.limit - north_m * north_m;
                if room < 0.0 {
                    continue;
                }
                let is_full_row = row.abs_diff(cy) == ring;
                let step = if is_full_row { 1 } else { (2 * ring).max(1) };
                let first = if is_full_row || cx >= ring { west } else { cx + ring };
                for column in (first..=east).step_by(step) {
                    n_cells += 1;
                    let n = self.heads[row * self.n_side + column];
                    if n == NONE {
                        continue;
                    }
                    let east_m = self.gap_m(inside.0, column);
                    if east_m * east_m > room {
                        continue;
                    }
                    cursors.n[cursors.len] = n;
                    cursors.len += 1;
                    if cursors.len == TOGETHER {
                        self.walk(&mut cursors, &mut best, &mut fits);
                    }
                }
            }
            // One cell is hardly ever enough: its neighbours are looked at together with it.
            if ring > 0 || n_rings == 0 {
                self.walk(&mut cursors, &mut best, &mut fits);
            }
        }
        if best.found.len() < k {
            best.put_in_order();
        }
        for near in best.found.iter_mut() {
            near.distance_m = near.distance_m.sqrt();
        }
    }

    /// Walks through the lists of several cells side by side, to their ends.
    fn walk(&self, cursors: &mut Cursors, best: &mut Best<'_>, fits: &mut impl FnMut(u32) -> bool) {
        let mut spots = [NOWHERE; TOGETHER];
        while cursors.len > 0 {
            // All are read before any is looked at.
            for (spot, n) in spots.iter_mut().zip(&cursors.n[..cursors.len]) {
                *spot = self.spots[*n as usize];
            }
            let mut n_left = 0;
            for (i, spot) in spots.iter().enumerate().take(cursors.len) {
                best.consider(cursors.n[i], spot, fits);
                cursors.n[n_left] = spot.next;
                n_left += usize::from(spot.next != NONE);
            }
            cursors.len = n_left;
        }
    }

    /// Where the cell of a point comes on a curve through all cells (Morton's) that mostly goes from
    /// neighbour to neighbour: sorted by it, what is near in the city is near in memory.
    pub fn place(&self, at: Point) -> u64 {
        let (x, y) = self.metres(at);
        spread(self.line(x) as u32) | spread(self.line(y) as u32) << 1
    }

    /// Metres east and north of the centre.
    fn metres(&self, at: Point) -> (f32, f32) {
        let mut east = at.lon - self.centre.lon;
        if east > 180.0 {
            east -= 360.0;
        } else if east < -180.0 {
            east += 360.0;
        }
        let north = at.lat - self.centre.lat;
        ((east * self.lon_degree_m) as f32, (north * LAT_DEGREE_M) as f32)
    }

    /// The row or column of cells that a coordinate is in, or nearest to.
    fn line(&self, metres: f32) -> usize {
        // A cast saturates: what is west of the grid is in column 0.
        let line = ((metres + self.half_m) * self.cells_per_m) as i32;
        (line.max(0) as usize).min(self.n_side - 1)
    }

    /// How far a coordinate, or the nearest one in the grid, is from the grid's low side.
    fn inside_m(&self, metres: f32) -> f32 {
        (metres + self.half_m).clamp(0.0, self.cell_m * self.n_side as f32)
    }

    /// How far it is from there to a row or column of cells, at least.
    fn gap_m(&self, inside_m: f32, line: usize) -> f32 {
        let low_m = line as f32 * self.cell_m;
        let gap_m = (low_m - inside_m).max(inside_m - low_m - self.cell_m);
        (gap_m - SLACK_M).max(0.0)
    }

    /// How far it is from there, in this row or column, out of all rings before this one, at least.
    fn reached_m(&self, inside_m: f32, line: usize, ring: usize) -> f32 {
        let from_low_m = inside_m - line as f32 * self.cell_m;
        let border_m = from_low_m.min(self.cell_m - from_low_m).max(0.0);
        (border_m + (ring - 1) as f32 * self.cell_m - SLACK_M).max(0.0)
    }
}

/// The bits of a number, each followed by a zero.
fn spread(n: u32) -> u64 {
    let mut n = u64::from(n);
    for (shift, mask) in [
        (16, 0x0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff),
        (4, 0x0f0f_0f0f_0f0f_0f0f),
        (2, 0x3333_3333_3333_3333),
        (1, 0x5555_5555_5555_5555),
    ] {
        n = (n | n << shift) & mask;
    }
    n
}

/// The best so far, by square of distance.
struct Best<'a> {
    found: &'a mut Vec<Near>,
    k: usize,
    /// Nobody further away, in square metres, is of interest.
    limit: f32,
    x: f32,
    y: f32,
}

impl Best<'_> {
    fn consider(&mut self, n: u32, spot: &Spot, fits: &mut impl FnMut(u32) -> bool) {
        let (dx, dy) = (spot.x - self.x, spot.y - self.y);
        let square = dx * dx + dy * dy;
        if square <= self.limit {
            self.insert(Near { n, distance_m: square }, fits);
        }
    }

    fn insert(&mut self, near: Near, fits: &mut impl FnMut(u32) -> bool) {
        let is_after = |it: &Near| (it.distance_m, it.n) > (near.distance_m, near.n);
        let is_full = self.found.len() == self.k;
        if is_full && !self.found.last().is_some_and(is_after) || !fits(near.n) {
            return;
        }
        if !is_full {
            self.found.push(near);
            if self.found.len() == self.k {
                self.put_in_order();
                self.limit = self.found[self.k - 1].distance_m;
            }
            return;
        }
        // As a slice: where a vector has its entries is read anew after each of them is written.
        let found = &mut self.found[..];
        let mut rank = self.k - 1;
        while rank > 0 && is_after(&found[rank - 1]) {
            found[rank] = found[rank - 1];
            rank -= 1;
        }
        found[rank] = near;
        self.limit = found[self.k - 1].distance_m;
    }

    /// The nearest first, and of equally near ones the smaller number. Until there are enough nobody asks for their order, and of
    /// many it is found sooner at once than one by one.
    fn put_in_order(&mut self) {
        // Squares are never below zero, and the bits of those are in their order.
        self.found.sort_unstable_by_key(|it| (it.distance_m.to_bits(), it.n));
    }
}

#[cfg(test)]
mod tests;
