//! The quickest way along the streets, and where one is on it after a while.

use super::{City, Edge, OPEN_GROUND_MPS};
use protocol::Point;
use rand::{Rng, seq::IndexedRandom};
use std::{cmp::Ordering, collections::BinaryHeap};

/// Farther from any crossing than this, streets are no help.
const OFF_ROAD_M: f64 = 700.0;

/// A way to go: points, and when one is there, in city seconds from the start.
#[derive(Debug, Clone, Default)]
pub struct Route {
    points: Vec<Point>,
    at_s: Vec<f32>,
}

/// Where one is on a route.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Fix {
    /// Where.
    pub at: Point,
    /// Degrees clockwise from north.
    pub heading_deg: f32,
    /// City metres per city second.
    pub speed_mps: f32,
}

impl Route {
    /// The straight line, at the speed of open ground.
    pub fn straight(from: Point, to: Point) -> Self {
        let mut route = Self::standing(from);
        route.push(to, from.distance_m(to) / OPEN_GROUND_MPS);
        route
    }

    /// Staying where one is.
    pub fn standing(at: Point) -> Self {
        Self { points: vec![at], at_s: vec![0.0] }
    }

    fn push(&mut self, at: Point, seconds: f64) {
        let before = self.at_s.last().copied().unwrap_or(0.0);
        self.points.push(at);
        self.at_s.push(before + seconds as f32);
    }

    /// How long it takes, in city seconds.
    pub fn seconds(&self) -> f64 {
        self.at_s.last().copied().map_or(0.0, f64::from)
    }

    /// How long it is, in metres.
    pub fn length_m(&self) -> f64 {
        self.points.windows(2).map(|pair| pair[0].distance_m(pair[1])).sum()
    }

    /// Where it ends.
    pub fn end(&self) -> Option<Point> {
        self.points.last().copied()
    }

    /// Where one is after so many city seconds.
    pub fn fix(&self, after_s: f64) -> Option<Fix> {
        let next = self.at_s.partition_point(|&at_s| f64::from(at_s) <= after_s);
        let standing = |at| Fix { at, heading_deg: 0.0, speed_mps: 0.0 };
        if next == 0 {
            return self.points.first().copied().map(standing);
        }
        let from = *self.points.get(next - 1)?;
        let Some(&to) = self.points.get(next) else {
            return Some(standing(from));
        };
        let (from_s, to_s) = (f64::from(self.at_s[next - 1]), f64::from(self.at_s[next]));
        let lasting_s = (to_s - from_s).max(1e-3);
        Some(Fix {
            at: from.towards(to, ((after_s - from_s) / lasting_s).clamp(0.0, 1.0)),
            heading_deg: from.bearing_deg(to) as f32,
            speed_mps: (from.distance_m(to) / lasting_s) as f32,
        })
    }
}

/// A node on the frontier of a search; the heap's greatest is the most promising.
#[derive(PartialEq)]
struct Open {
    estimate_s: f32,
    node: u32,
}

impl Eq for Open {}

impl PartialOrd for Open {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Open {
    fn cmp(&self, other: &Self) -> Ordering {
        other.estimate_s.total_cmp(&self.estimate_s).then_with(|| self.node.cmp(&other.node))
    }
}

impl City {
    /// The quickest way between two points: along the streets where there are any, else straight.
    pub fn route(&self, from: Point, to: Point) -> Route {
        let near = |at| self.nearest(at).filter(|(_, distance_m)| *distance_m < OFF_ROAD_M);
        let (Some((start, _)), Some((goal, _))) = (near(from), near(to)) else {
            return Route::straight(from, to);
        };
        let Some(edges) = self.quickest(start, goal) else {
            return Route::straight(from, to);
        };
        let mut route = Route::standing(from);
        self.join(&mut route, self.nodes[start as usize]);
        let mut node = start;
        for edge in edges {
            self.follow(&mut route, node, edge);
            node = edge.to;
        }
        self.join(&mut route, to);
        route
    }

    /// An aimless drive of about `seconds` along the streets, seldom turning back.
    pub fn wander(&self, from: Point, seconds: f64, rng: &mut impl Rng) -> Route {
        let mut route = Route::standing(from);
        let Some((mut node, _)) = self.nearest(from).filter(|(_, far_m)| *far_m < OFF_ROAD_M)
        else {
            let to =
                from.offset_m(rng.random_range(-600.0..600.0), rng.random_range(-600.0..600.0));
            return Route::straight(from, to);
        };
        self.join(&mut route, self.nodes[node as usize]);
        let mut came_from = u32::MAX;
        while route.seconds() < seconds {
            let edges = self.edges_of(node);
            let onward = edges.choose(rng).filter(|edge| edge.to != came_from);
            let Some(edge) = onward.or_else(|| edges.choose(rng)).copied() else { break };
            self.follow(&mut route, node, edge);
            came_from = std::mem::replace(&mut node, edge.to);
        }
        route
    }

    fn join(&self, route: &mut Route, at: Point) {
        if let Some(end) = route.end() {
            let distance_m = end.distance_m(at);
            if distance_m > 1.0 {
                route.push(at, distance_m / OPEN_GROUND_MPS);
            }
        }
    }

    /// Appends one edge with its bends, its time shared out by length.
    fn follow(&self, route: &mut Route, from: u32, edge: Edge) {
        let end = self.nodes[edge.to as usize];
        let bends: &[Point] = match edge.shape {
            Edge::STRAIGHT => &[],
            shape => &self.shapes[shape as usize],
        };
        let bend = |n: usize| if edge.is_reversed { bends[bends.len() - 1 - n] } else { bends[n] };
        let mut length_m = 0.0;
        let mut last = self.nodes[from as usize];
        for n in 0..bends.len() {
            length_m += last.distance_m(bend(n));
            last = bend(n);
        }
        length_m += last.distance_m(end);
        let pace = f64::from(edge.seconds) / length_m.max(0.1);
        let mut last = self.nodes[from as usize];
        for n in 0..bends.len() {
            route.push(bend(n), last.distance_m(bend(n)) * pace);
            last = bend(n);
        }
        route.push(end, last.distance_m(end) * pace);
    }

    /// A* with the straight line at top speed as its estimate.
    pub(super) fn quickest(&self, start: u32, goal: u32) -> Option<Vec<Edge>> {
        let target = self.nodes[goal as usize];
        // A flat projection is enough for an estimate and six times cheaper than the haversine.
        let m_per_lat = 111_195.0 * 0.998;
        let m_per_lon = m_per_lat * self.center.lat.to_radians().cos() * 0.998;
        let estimate = |node: u32| {
            let at = self.nodes[node as usize];
            let north_m = (at.lat - target.lat) * m_per_lat;
            let east_m = (at.lon - target.lon) * m_per_lon;
            (north_m.hypot(east_m) / self.speed_max_mps) as f32
        };
        let mut cost_s = vec![f32::INFINITY; self.nodes.len()];
        let mut via = vec![(u32::MAX, u32::MAX); self.nodes.len()];
        let mut open = BinaryHeap::with_capacity(256);
        cost_s[start as usize] = 0.0;
        open.push(Open { estimate_s: estimate(start), node: start });
        while let Some(Open { estimate_s, node }) = open.pop() {
            if node == goal {
                break;
            }
            let so_far_s = cost_s[node as usize];
            let is_stale = estimate_s > so_far_s + estimate(node) + 1e-3;
            if is_stale {
                continue;
            }
            let first = self.first[node as usize];
            for (n, edge) in self.edges_of(node).iter().enumerate() {
                let then_s = so_far_s + edge.seconds;
                if then_s < cost_s[edge.to as usize] {
                    cost_s[edge.to as usize] = then_s;
                    via[edge.to as usize] = (node, first + n as u32);
                    open.push(Open { estimate_s: then_s + estimate(edge.to), node: edge.to });
                }
            }
        }
        if cost_s[goal as usize].is_infinite() {
            return None;
        }
        let mut edges = Vec::new();
        let mut node = goal;
        while node != start {
            let (before, edge) = via[node as usize];
            edges.push(self.edges[edge as usize]);
            node = before;
        }
        edges.reverse();
        Some(edges)
    }
}
