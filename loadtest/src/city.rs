//! A city to drive in: streets as a graph, and how it looks on a map.
//!
//! One structure, three origins: [`City::generate`] invents one from a seed, [`City::load`] reads
//! road tables from a folder, [`City::open_ground`] has no streets at all and everybody drives
//! straight. Drivers and the console use the same one, so vehicles follow the streets that are drawn.

mod draw;
mod generate;
mod load;
mod route;

pub use load::{Day, LoadError, router};
pub use route::{Fix, Route};

use matching::router;
use protocol::Point;

/// How fast a driver goes where there is no street, in metres per second, detours included.
pub(crate) const OPEN_GROUND_MPS: f64 = 6.5;

/// Streets, water, parks and names.
#[derive(Debug, Clone)]
pub struct City {
    /// What people call it.
    pub name: String,
    /// Its middle.
    pub center: Point,
    /// South-west corner.
    pub south_west: Point,
    /// North-east corner.
    pub north_east: Point,
    /// As drawn.
    pub roads: Vec<Road>,
    /// Outlines of rivers and lakes.
    pub water: Vec<Vec<Point>>,
    /// Outlines of parks and wooded hills.
    pub parks: Vec<Vec<Point>>,
    /// Named parts of the city; trips gather around them.
    pub places: Vec<District>,
    nodes: Vec<Point>,
    /// Where each node's edges start in `edges`; one longer than `nodes`.
    first: Vec<u32>,
    edges: Vec<Edge>,
    /// The bends of each street, in the direction of its first edge.
    shapes: Vec<Box<[Point]>>,
    grid: Grid,
    /// The fastest any edge is, in metres per second; makes the search's estimate a lower bound.
    speed_max_mps: f64,
}

/// How important a road is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RoadClass {
    /// Crosses the city, and the river.
    Arterial,
    /// Leads to it.
    Collector,
    /// Leads home.
    Street,
}

/// One road as drawn.
#[derive(Debug, Clone)]
pub struct Road {
    /// How wide.
    pub class: RoadClass,
    /// On its sign.
    pub name: Option<String>,
    /// Where.
    pub line: Vec<Point>,
}

/// A named part of the city.
#[derive(Debug, Clone)]
pub struct District {
    /// What people call it.
    pub name: String,
    /// Its middle.
    pub at: Point,
    /// How many trips begin there, relative to the others.
    pub weight: f64,
}

/// One direction of a street between two crossings.
#[derive(Debug, Clone, Copy)]
struct Edge {
    to: u32,
    seconds: f32,
    /// Index into `shapes`, and whether to read it backwards; [`Edge::STRAIGHT`] for none.
    shape: u32,
    is_reversed: bool,
}

impl Edge {
    const STRAIGHT: u32 = u32::MAX;
}

/// A street between two nodes, before the graph is assembled.
#[derive(Debug, Clone)]
struct Street {
    from: u32,
    to: u32,
    seconds: f64,
    is_two_way: bool,
    bends: Vec<Point>,
}

impl City {
    /// A place without streets: everybody drives straight, at the speed detours would leave them.
    pub fn open_ground(name: &str, center: Point, radius_m: f64) -> Self {
        let corners =
            [center.offset_m(-radius_m, -radius_m), center.offset_m(radius_m, radius_m)].to_vec();
        Self::assemble(name, corners, Vec::new())
    }

    /// The same city so many degrees further east: as large, and nobody there meets anybody here.
    #[must_use]
    pub fn moved_east(mut self, degrees: f64) -> Self {
        let shift = |at: &mut Point| *at = moved_east(*at, degrees);
        [&mut self.center, &mut self.south_west, &mut self.north_east].into_iter().for_each(shift);
        self.nodes.iter_mut().for_each(shift);
        self.roads.iter_mut().flat_map(|road| &mut road.line).for_each(shift);
        self.water.iter_mut().chain(&mut self.parks).flatten().for_each(shift);
        self.places.iter_mut().for_each(|place| shift(&mut place.at));
        self.shapes.iter_mut().flat_map(|shape| shape.iter_mut()).for_each(shift);
        self.grid = Grid::new(&self.nodes, self.south_west, self.north_east);
        self
    }

    /// How many crossings it has.
    pub fn n_nodes(&self) -> usize {
        if self.edges.is_empty() { 0 } else { self.nodes.len() }
    }

    /// How many directed streets between crossings it has.
    pub fn n_edges(&self) -> usize {
        self.edges.len()
    }

    /// The crossing with this number, if there is one.
    pub fn node(&self, n: usize) -> Option<Point> {
        self.nodes.get(n).copied()
    }

    /// The crossing nearest to a point, and how far that is in metres.
    pub fn nearest(&self, at: Point) -> Option<(u32, f64)> {
        if self.edges.is_empty() { None } else { self.grid.nearest(&self.nodes, at) }
    }

    /// Its streets as a router takes them: from crossing to crossing, one entry for each direction.
    pub fn as_roads(&self) -> Vec<router::Road> {
        let from = 0..self.n_nodes() as u32;
        let roads = from.flat_map(|from| {
            self.edges_of(from).iter().map(move |edge| router::Road {
                from,
                to: edge.to,
                ms: (edge.seconds * 1_000.0) as u32,
            })
        });
        roads.collect()
    }

    fn edges_of(&self, node: u32) -> &[Edge] {
        let range = self.first[node as usize] as usize..self.first[node as usize + 1] as usize;
        &self.edges[range]
    }

    /// Builds the graph from streets, keeping only nodes from which all others can be reached.
    fn assemble(name: &str, nodes: Vec<Point>, streets: Vec<Street>) -> Self {
        let kept = mutually_reachable(nodes.len(), &streets);
        let mut renumbered = vec![u32::MAX; nodes.len()];
        let mut kept_nodes = Vec::new();
        for (old, &at) in nodes.iter().enumerate() {
            if streets.is_empty() || kept[old] {
                renumbered[old] = kept_nodes.len() as u32;
                kept_nodes.push(at);
            }
        }

        let mut shapes = Vec::new();
        let mut speed_max_mps = 1.0_f64;
        let mut directed: Vec<(u32, Edge)> = Vec::new();
        for street in streets {
            let (from, to) = (renumbered[street.from as usize], renumbered[street.to as usize]);
            if from == u32::MAX || to == u32::MAX || from == to {
                continue;
            }
            let direct_m = kept_nodes[from as usize].distance_m(kept_nodes[to as usize]);
            let seconds = street.seconds.max(0.5);
            speed_max_mps = speed_max_mps.max(direct_m / seconds);
            let shape = if street.bends.is_empty() {
                Edge::STRAIGHT
            } else {
                shapes.push(street.bends.into_boxed_slice());
                shapes.len() as u32 - 1
            };
            let edge = Edge { to, seconds: seconds as f32, shape, is_reversed: false };
            directed.push((from, edge));
            if street.is_two_way {
                directed.push((to, Edge { to: from, is_reversed: true, ..edge }));
            }
        }
        directed.sort_by_key(|(from, edge)| (*from, edge.to));

        let mut first = vec![0_u32; kept_nodes.len() + 1];
        for (from, _) in &directed {
            first[*from as usize + 1] += 1;
        }
        for node in 0..kept_nodes.len() {
            first[node + 1] += first[node];
        }

        let (south_west, north_east) = bounds(&kept_nodes);
        Self {
            name: name.to_owned(),
            center: south_west.towards(north_east, 0.5),
            south_west,
            north_east,
            roads: Vec::new(),
            water: Vec::new(),
            parks: Vec::new(),
            places: Vec::new(),
            grid: Grid::new(&kept_nodes, south_west, north_east),
            nodes: kept_nodes,
            first,
            edges: directed.into_iter().map(|(_, edge)| edge).collect(),
            shapes,
            // The estimate must stay below the truth in spite of rounding.
            speed_max_mps: speed_max_mps * 1.001,
        }
    }
}

/// So many degrees further east, once around the world if need be.
pub(crate) fn moved_east(at: Point, degrees: f64) -> Point {
    Point { lat: at.lat, lon: (at.lon + degrees + 180.0).rem_euclid(360.0) - 180.0 }
}

/// The corners of the box around some points; the origin twice for none.
fn bounds(points: &[Point]) -> (Point, Point) {
    let Some(&start) = points.first() else {
        return (Point::default(), Point::default());
    };
    points.iter().fold((start, start), |(low, high), at| {
        (
            Point { lat: low.lat.min(at.lat), lon: low.lon.min(at.lon) },
            Point { lat: high.lat.max(at.lat), lon: high.lon.max(at.lon) },
        )
    })
}

/// Marks the largest set of nodes that can all reach each other, as far as a few seeds find it.
fn mutually_reachable(n_nodes: usize, streets: &[Street]) -> Vec<bool> {
    let mut out = vec![Vec::new(); n_nodes];
    let mut back = vec![Vec::new(); n_nodes];
    for street in streets {
        out[street.from as usize].push(street.to);
        back[street.to as usize].push(street.from);
        if street.is_two_way {
            out[street.to as usize].push(street.from);
            back[street.from as usize].push(street.to);
        }
    }
    let reach = |seed: usize, next: &[Vec<u32>]| {
        let mut seen = vec![false; n_nodes];
        let mut open = vec![seed as u32];
        seen[seed] = true;
        while let Some(node) = open.pop() {
            for &other in &next[node as usize] {
                if !std::mem::replace(&mut seen[other as usize], true) {
                    open.push(other);
                }
            }
        }
        seen
    };
    let mut best = vec![false; n_nodes];
    let mut n_best = 0;
    for n in 0..8 {
        let seed = n * n_nodes / 8;
        if seed >= n_nodes || best[seed] {
            continue;
        }
        let (there, here) = (reach(seed, &out), reach(seed, &back));
        let both: Vec<bool> = there.iter().zip(&here).map(|(a, b)| *a && *b).collect();
        let n_both = both.iter().filter(|is_in| **is_in).count();
        if n_both > n_best {
            (best, n_best) = (both, n_both);
        }
    }
    best
}

/// Nodes by square, to find the nearest without looking at all of them.
#[derive(Debug, Clone)]
struct Grid {
    south_west: Point,
    lat_step: f64,
    lon_step: f64,
    n_side: usize,
    squares: Vec<Vec<u32>>,
}

impl Grid {
    fn new(nodes: &[Point], south_west: Point, north_east: Point) -> Self {
        let n_side = ((nodes.len() as f64 / 4.0).sqrt().ceil() as usize).clamp(1, 256);
        let step = |low: f64, high: f64| ((high - low) / n_side as f64).max(1e-6);
        let mut grid = Self {
            south_west,
            lat_step: step(south_west.lat, north_east.lat),
            lon_step: step(south_west.lon, north_east.lon),
            n_side,
            squares: vec![Vec::new(); n_side * n_side],
        };
        for (n, &at) in nodes.iter().enumerate() {
            let (row, column) = grid.square(at);
            grid.squares[row * n_side + column].push(n as u32);
        }
        grid
    }

    fn square(&self, at: Point) -> (usize, usize) {
        let clamp = |x: f64| (x.max(0.0) as usize).min(self.n_side - 1);
        (
            clamp((at.lat - self.south_west.lat) / self.lat_step),
            clamp((at.lon - self.south_west.lon) / self.lon_step),
        )
    }

    fn nearest(&self, nodes: &[Point], at: Point) -> Option<(u32, f64)> {
        let (row, column) = self.square(at);
        let mut best: Option<(u32, f64)> = None;
        let mut rings_after_find = 0;
        for ring in 0..self.n_side {
            // One more ring after the first find: a node across the edge may be nearer.
            if best.is_some() {
                rings_after_find += 1;
            }
            if rings_after_find > 2 {
                break;
            }
            let rows = row.saturating_sub(ring)..=(row + ring).min(self.n_side - 1);
            for r in rows {
                let columns = column.saturating_sub(ring)..=(column + ring).min(self.n_side - 1);
                for c in columns {
                    let is_on_ring = r.abs_diff(row) == ring || c.abs_diff(column) == ring;
                    if !is_on_ring {
                        continue;
                    }
                    for &node in &self.squares[r * self.n_side + c] {
                        let distance_m = nodes[node as usize].distance_m(at);
                        if best.is_none_or(|(_, nearest_m)| distance_m < nearest_m) {
                            best = Some((node, distance_m));
                        }
                    }
                }
            }
        }
        best
    }
}

#[cfg(test)]
mod tests;
