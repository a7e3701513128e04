//! Who is near: a grid of square metres around one place, and exact nearest neighbours in it.
//!
//! Entries are numbered by the caller, so that a move costs two list operations and no hashing.
//! Coordinates are metres east and north of the centre on a plane, off by less than half a percent
//! within 30 km. A point beyond the grid is kept in the border cell nearest to it; distances stay exact,
//! because moving two points to the nearest point of a box never moves them apart.

use protocol::Point;

const NONE: u32 = u32::MAX;
/// Metres per degree of latitude.
const LAT_DEGREE_M: f64 = 111_194.93;
/// Rounding of coordinates must not hide a neighbour behind a cell border.
const SLACK_M: f32 = 0.05;

/// Numbered points, findable by where they are.
#[derive(Debug, Clone)]
pub struct Grid {
    centre: Point,
    lon_degree_m: f64,
    half_m: f32,
    cell_m: f32,
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
        let cell = (self.line(y) * self.n_side + self.line(x)) as u32;
        if self.spots.len() <= n as usize {
            self.spots.resize(n as usize + 1, NOWHERE);
        }
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
        let mut best = Best { found, k, limit: radius_m * radius_m };
        let (cx, cy) = (self.line(x), self.line(y));
        let border_m = self.border_m(x, cx).min(self.border_m(y, cy));
        let last = self.n_side - 1;
        let n_rings = cx.max(last - cx).max(cy).max(last - cy);
        let mut n_cells = 0;
        for ring in 0..=n_rings {
            let at_least_m = border_m + (ring as f32 - 1.0) * self.cell_m - SLACK_M;
            if at_least_m > 0.0 && at_least_m * at_least_m > best.limit {
                break;
            }
            if n_cells > self.n_points {
                // Looking at everyone is cheaper than looking at more empty cells.
                best.found.clear();
                best.limit = radius_m * radius_m;
                for (n, spot) in (0..).zip(&self.spots) {
                    if spot.cell != NONE {
                        best.consider(n, spot, x, y, &mut fits);
                    }
                }
                break;
            }
            let (west, east) = (cx.saturating_sub(ring), (cx + ring).min(last));
            for row in cy.saturating_sub(ring)..=(cy + ring).min(last) {
                let is_full_row = row.abs_diff(cy) == ring;
                let step = if is_full_row { 1 } else { (2 * ring).max(1) };
                let first = if is_full_row || cx >= ring { west } else { cx + ring };
                for column in (first..=east).step_by(step) {
                    n_cells += 1;
                    let mut n = self.heads[row * self.n_side + column];
                    while n != NONE {
                        let spot = &self.spots[n as usize];
                        best.consider(n, spot, x, y, &mut fits);
                        n = spot.next;
                    }
                }
            }
        }
        for near in best.found.iter_mut() {
            near.distance_m = near.distance_m.sqrt();
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
        (((metres + self.half_m) / self.cell_m) as usize).min(self.n_side - 1)
    }

    /// How far a coordinate is from the nearer border of its own cell.
    fn border_m(&self, metres: f32, line: usize) -> f32 {
        let inside = (metres + self.half_m).clamp(0.0, self.cell_m * self.n_side as f32);
        let from_low = inside - line as f32 * self.cell_m;
        from_low.min(self.cell_m - from_low).max(0.0)
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
}

impl Best<'_> {
    fn consider(
        &mut self,
        n: u32,
        spot: &Spot,
        x: f32,
        y: f32,
        fits: &mut impl FnMut(u32) -> bool,
    ) {
        let (dx, dy) = (spot.x - x, spot.y - y);
        let square = dx * dx + dy * dy;
        if square > self.limit {
            return;
        }
        let is_after = |it: &Near| (it.distance_m, it.n) > (square, n);
        let rank = self.found.iter().rposition(|it| !is_after(it)).map_or(0, |last| last + 1);
        if rank == self.k || !fits(n) {
            return;
        }
        self.found.truncate(self.k - 1);
        self.found.insert(rank, Near { n, distance_m: square });
        if self.found.len() == self.k {
            self.limit = self.found[self.k - 1].distance_m;
        }
    }
}

#[cfg(test)]
mod tests;
