//! A city that never was: streets traced along a direction field, between a river and some hills.
//!
//! People lay out streets along and across one direction, which turns slowly from quarter to quarter
//! and runs around old centres in rings. So: a field of directions; lines traced along and across it,
//! wide apart for arterials, then collectors, then streets; their crossings are the graph.

use super::{City, District, Road, RoadClass, Street};
use field::{Field, Terrain, Xy};
use protocol::Point;
use rand::{Rng, SeedableRng, seq::SliceRandom};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;

mod field;

/// The middle of the invented city: that of Kigali.
const CENTER: Point = Point { lat: -1.9441, lon: 30.0619 };
/// From the middle to the edge, in metres.
const HALF_M: f64 = 6_000.0;
/// How far one traces before asking for the direction again, in metres.
const STEP_M: f64 = 30.0;
/// Crossings nearer than this to each other are one, in metres.
const MERGE_M: f64 = 24.0;
/// A dead end shorter than this is left out, in metres.
const DEAD_END_M: f64 = 260.0;

/// Names, metres east and north of the middle, and how much is going on there.
const DISTRICTS: [(&str, f64, f64, f64); 16] = [
    ("City Centre", 0.0, 0.0, 5.0),
    ("Kiyovu", 500.0, -900.0, 2.0),
    ("Nyabugogo", -1_700.0, 600.0, 4.0),
    ("Kimisagara", -2_100.0, -700.0, 2.0),
    ("Nyamirambo", -2_200.0, -3_400.0, 3.0),
    ("Gikondo", 1_500.0, -3_200.0, 2.0),
    ("Kimihurura", 2_800.0, -900.0, 3.0),
    ("Kacyiru", 2_500.0, 900.0, 3.0),
    ("Gisozi", 1_100.0, 2_900.0, 2.0),
    ("Gatsata", -1_700.0, 3_300.0, 1.0),
    ("Nyarutarama", 4_300.0, 1_900.0, 2.0),
    ("Kinyinya", 4_300.0, 4_300.0, 2.0),
    ("Kimironko", 5_300.0, 500.0, 4.0),
    ("Remera", 4_700.0, -1_500.0, 4.0),
    ("Kicukiro", 4_200.0, -4_200.0, 3.0),
    ("Rebero", 700.0, -5_200.0, 1.0),
];

impl RoadClass {
    /// How far apart such roads are in the middle of the city, in metres.
    fn spacing_m(self) -> f64 {
        match self {
            Self::Arterial => 1_450.0,
            Self::Collector => 520.0,
            Self::Street => 178.0,
        }
    }

    /// How near to its own kind such a road ends, as a share of the spacing.
    fn nearness(self) -> f64 {
        match self {
            Self::Arterial => 0.26,
            Self::Collector | Self::Street => 0.55,
        }
    }

    /// Shorter than this many spacings, it is not worth building.
    fn shortest(self) -> f64 {
        match self {
            Self::Arterial => 2.2,
            Self::Collector | Self::Street => 1.2,
        }
    }

    /// How much farther it then goes to find a crossing, in spacings of streets.
    fn overrun(self) -> f64 {
        match self {
            Self::Arterial => 4.0,
            Self::Collector => 2.2,
            Self::Street => 1.3,
        }
    }

    /// How fast one gets along, in metres per second.
    fn speed_mps(self) -> f64 {
        match self {
            Self::Arterial => 12.5,
            Self::Collector => 9.5,
            Self::Street => 7.0,
        }
    }
}

impl City {
    /// The city of this seed, about 12 by 12 km; the same seed always gives the same city.
    pub fn generate(seed: u64) -> Self {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let terrain = Terrain::new(&mut rng);
        let field = Field::new(&mut rng);
        let traces = trace_all(&field, &terrain, &mut rng);
        let mut graph = Crossings::of(&traces);
        graph.drop_dead_ends();
        graph.keep_largest_part();

        let point = |at: Xy| CENTER.offset_m(at.x, at.y);
        let nodes = graph.nodes.iter().map(|&at| point(at)).collect();
        let streets = graph
            .links
            .values()
            .map(|link| Street {
                from: link.from,
                to: link.to,
                seconds: link.length_m(&graph.nodes) / link.class.speed_mps(),
                is_two_way: true,
                bends: link.bends.iter().map(|&at| point(at)).collect(),
            })
            .collect();
        let mut city = Self::assemble("Kigali", nodes, streets);
        city.center = CENTER;
        city.south_west = CENTER.offset_m(-HALF_M, -HALF_M);
        city.north_east = CENTER.offset_m(HALF_M, HALF_M);
        city.roads = graph.roads(&mut rng, point);
        city.water =
            terrain.water().map(|outline| outline.into_iter().map(point).collect()).collect();
        city.parks =
            terrain.parks().map(|outline| outline.into_iter().map(point).collect()).collect();
        city.places = DISTRICTS
            .iter()
            .map(|&(name, east_m, north_m, weight)| District {
                name: name.to_owned(),
                at: CENTER.offset_m(east_m, north_m),
                weight,
            })
            .collect();
        city
    }
}

/// Unnamed centres of gravity for a city that came without: a sample of its crossings.
pub(super) fn districts_of_nodes(city: &City) -> Vec<District> {
    let step = (city.nodes.len() / 40).max(1);
    city.nodes
        .iter()
        .step_by(step)
        .map(|&at| District { name: String::new(), at, weight: 1.0 })
        .collect()
}

/// A line along the field.
struct Trace {
    class: RoadClass,
    points: Vec<Xy>,
}

/// Points of one family of lines, by square of 100 m.
struct Near {
    squares: Vec<Vec<Xy>>,
}

impl Near {
    const SIDE: usize = 160;
    const SQUARE_M: f64 = 100.0;

    fn new() -> Self {
        Self { squares: vec![Vec::new(); Self::SIDE * Self::SIDE] }
    }

    fn index(x: f64) -> usize {
        (((x / Self::SQUARE_M) + Self::SIDE as f64 / 2.0).max(0.0) as usize).min(Self::SIDE - 1)
    }

    fn add(&mut self, at: Xy) {
        self.squares[Self::index(at.y) * Self::SIDE + Self::index(at.x)].push(at);
    }

    fn is_any_within(&self, at: Xy, radius_m: f64) -> bool {
        let rows = Self::index(at.y - radius_m)..=Self::index(at.y + radius_m);
        rows.into_iter().any(|row| {
            let columns = Self::index(at.x - radius_m)..=Self::index(at.x + radius_m);
            columns.into_iter().any(|column| {
                self.squares[row * Self::SIDE + column]
                    .iter()
                    .any(|other| at.is_within(*other, radius_m))
            })
        })
    }
}

fn trace_all(field: &Field, terrain: &Terrain, rng: &mut ChaCha8Rng) -> Vec<Trace> {
    let mut traces = Vec::new();
    let mut families = [Near::new(), Near::new()];
    for class in [RoadClass::Arterial, RoadClass::Collector, RoadClass::Street] {
        let mut seeds = Vec::new();
        let step_m = class.spacing_m() * 0.55;
        let n_side = (2.0 * HALF_M / step_m) as i32;
        for row in 0..=n_side {
            for column in 0..=n_side {
                let jitter = |rng: &mut ChaCha8Rng| rng.random_range(-0.4..0.4) * step_m;
                seeds.push(Xy {
                    x: f64::from(column) * step_m - HALF_M + jitter(rng),
                    y: f64::from(row) * step_m - HALF_M + jitter(rng),
                });
            }
        }
        seeds.shuffle(rng);
        // The middle comes first, so that the main roads meet there.
        seeds.insert(0, Xy { x: 0.0, y: 0.0 });
        for seed in seeds {
            for (across, near) in families.iter_mut().enumerate() {
                let points = trace(field, terrain, near, class, seed, across == 1);
                let length_m = points.len() as f64 * STEP_M;
                if length_m < class.spacing_m() * class.shortest() {
                    continue;
                }
                for &at in &points {
                    near.add(at);
                }
                traces.push(Trace { class, points });
            }
        }
    }
    traces
}

fn spacing_m(class: RoadClass, terrain: &Terrain, at: Xy) -> f64 {
    class.spacing_m() * terrain.looseness(at)
}

/// One line through `seed`, both ways, until it meets the edge, the water or its own kind.
fn trace(
    field: &Field,
    terrain: &Terrain,
    near: &Near,
    class: RoadClass,
    seed: Xy,
    is_across: bool,
) -> Vec<Xy> {
    let is_free = |at: Xy| {
        terrain.is_buildable(at) || class == RoadClass::Arterial && !terrain.is_in_lake(at)
    };
    // Most seeds are too near to a neighbour, and that is the cheaper question.
    if !at_home(seed) || near.is_any_within(seed, spacing_m(class, terrain, seed)) || !is_free(seed)
    {
        return Vec::new();
    }
    let heading = |at: Xy| {
        let along = field.direction(at);
        if is_across { Xy { x: -along.y, y: along.x } } else { along }
    };
    let half = |sign: f64| {
        let mut points = Vec::new();
        let mut at = seed;
        let mut before = heading(seed).times(sign);
        // Past the first neighbour it goes on for a while, to end at a crossing and not short of it.
        let mut left_m = f64::INFINITY;
        for n in 0..700 {
            let turned = |d: Xy| if d.dot(before) < 0.0 { d.times(-1.0) } else { d };
            let first = turned(heading(at));
            let way = turned(heading(at.plus(first.times(STEP_M / 2.0))));
            let next = at.plus(way.times(STEP_M));
            let spacing = spacing_m(class, terrain, next);
            let is_back = n > 20 && next.distance(seed) < STEP_M * 1.5;
            if !at_home(next) || !is_free(next) || left_m <= 0.0 {
                break;
            }
            if left_m.is_infinite() && near.is_any_within(next, spacing * class.nearness()) {
                left_m = RoadClass::Street.spacing_m() * class.overrun();
            }
            left_m -= STEP_M;
            points.push(next);
            if is_back {
                break;
            }
            let too_close_m = spacing * 0.4;
            let n_just_passed = (too_close_m * 1.6 / STEP_M) as usize + 12;
            let meets_itself = points.len().checked_sub(n_just_passed).is_some_and(|n_old| {
                points[..n_old].iter().any(|old| old.distance(next) < too_close_m)
            });
            if meets_itself {
                break;
            }
            (at, before) = (next, way);
        }
        points
    };
    let mut points = half(-1.0);
    points.reverse();
    points.push(seed);
    points.extend(half(1.0));
    points
}

fn at_home(at: Xy) -> bool {
    at.x.abs() < HALF_M && at.y.abs() < HALF_M
}

/// A street between two crossings.
struct Link {
    from: u32,
    to: u32,
    class: RoadClass,
    bends: Vec<Xy>,
}

impl Link {
    fn length_m(&self, nodes: &[Xy]) -> f64 {
        let mut length_m = 0.0;
        let mut last = nodes[self.from as usize];
        for &bend in &self.bends {
            length_m += last.distance(bend);
            last = bend;
        }
        length_m + last.distance(nodes[self.to as usize])
    }
}

/// The crossings of all lines, and the streets between them.
struct Crossings {
    nodes: Vec<Xy>,
    /// By the two ends, the lower first: where two lines run together, one street is enough.
    links: BTreeMap<(u32, u32), Link>,
    /// The pairs of nodes each line runs along, in order.
    lines: Vec<(RoadClass, Vec<(u32, u32)>)>,
}

impl Crossings {
    fn of(traces: &[Trace]) -> Self {
        let mut cuts: Vec<Vec<(f64, Xy)>> = traces
            .iter()
            .map(|trace| {
                let last = trace.points.len() - 1;
                vec![(0.0, trace.points[0]), (last as f64, trace.points[last])]
            })
            .collect();
        for (a, at_a, b, at_b, place) in crossings(traces) {
            cuts[a].push((at_a, place));
            cuts[b].push((at_b, place));
        }

        let mut nodes: Vec<Xy> = Vec::new();
        let mut by_square: BTreeMap<(i32, i32), Vec<u32>> = BTreeMap::new();
        let mut node_at = |at: Xy| -> u32 {
            let square = |x: f64| (x / MERGE_M).floor() as i32;
            let (column, row) = (square(at.x), square(at.y));
            for near_row in row - 1..=row + 1 {
                for near_column in column - 1..=column + 1 {
                    let found = by_square.get(&(near_column, near_row)).and_then(|here| {
                        here.iter().find(|&&n| nodes[n as usize].distance(at) < MERGE_M)
                    });
                    if let Some(&n) = found {
                        return n;
                    }
                }
            }
            nodes.push(at);
            let n = nodes.len() as u32 - 1;
            by_square.entry((column, row)).or_default().push(n);
            n
        };

        let mut links = BTreeMap::new();
        let mut lines = Vec::new();
        for (trace, mut cuts) in traces.iter().zip(cuts) {
            cuts.sort_by(|a, b| a.0.total_cmp(&b.0));
            let mut steps = Vec::new();
            let mut last: Option<(f64, u32)> = None;
            for (place, at) in cuts {
                let node = node_at(at);
                if let Some((last_place, last_node)) = last {
                    if last_node == node {
                        continue;
                    }
                    let bends = bends(&trace.points, last_place, place);
                    let pair = (last_node.min(node), last_node.max(node));
                    links.entry(pair).or_insert(Link {
                        from: last_node,
                        to: node,
                        class: trace.class,
                        bends,
                    });
                    steps.push((last_node, node));
                }
                last = Some((place, node));
            }
            lines.push((trace.class, steps));
        }
        Self { nodes, links, lines }
    }

    /// Removes short streets that lead nowhere, twice: behind one may be another.
    fn drop_dead_ends(&mut self) {
        for _ in 0..2 {
            let mut degree = vec![0_u32; self.nodes.len()];
            for &(a, b) in self.links.keys() {
                degree[a as usize] += 1;
                degree[b as usize] += 1;
            }
            let nodes = &self.nodes;
            self.links.retain(|&(a, b), link| {
                let is_dead_end = degree[a as usize] == 1 || degree[b as usize] == 1;
                !(is_dead_end && link.length_m(nodes) < DEAD_END_M)
            });
        }
    }

    fn keep_largest_part(&mut self) {
        let mut part: Vec<u32> = (0..self.nodes.len() as u32).collect();
        fn root(part: &mut [u32], mut n: u32) -> u32 {
            while part[n as usize] != n {
                part[n as usize] = part[part[n as usize] as usize];
                n = part[n as usize];
            }
            n
        }
        for &(a, b) in self.links.keys() {
            let (a, b) = (root(&mut part, a), root(&mut part, b));
            part[a.max(b) as usize] = a.min(b);
        }
        let mut sizes: BTreeMap<u32, u32> = BTreeMap::new();
        for n in 0..self.nodes.len() as u32 {
            *sizes.entry(root(&mut part, n)).or_default() += 1;
        }
        let largest = sizes.into_iter().max_by_key(|(_, size)| *size).map_or(0, |(root, _)| root);
        self.links.retain(|&(a, _), _| root(&mut part, a) == largest);
    }

    /// The lines as drawn: without what was left out, and with names.
    fn roads(&self, rng: &mut ChaCha8Rng, point: impl Fn(Xy) -> Point) -> Vec<Road> {
        let mut roads = Vec::new();
        let mut drawn = std::collections::BTreeSet::new();
        for (class, steps) in &self.lines {
            let mut run: Vec<Xy> = Vec::new();
            let mut runs = Vec::new();
            for &(from, to) in steps {
                let pair = (from.min(to), from.max(to));
                let link = self.links.get(&pair).filter(|_| drawn.insert(pair));
                let Some(link) = link else {
                    runs.push(std::mem::take(&mut run));
                    continue;
                };
                if run.is_empty() {
                    run.push(self.nodes[from as usize]);
                }
                if link.from == from {
                    run.extend(&link.bends);
                } else {
                    run.extend(link.bends.iter().rev());
                }
                run.push(self.nodes[to as usize]);
            }
            runs.push(run);
            for run in runs.into_iter().filter(|run| run.len() > 1) {
                let name = name(*class, run[run.len() / 2], rng);
                let line = run.into_iter().map(&point).collect();
                roads.push(Road { class: *class, name, line });
            }
        }
        roads
    }
}

/// As in Kigali: KN in the west, KG in the north-east, KK in the south-east, and a number.
fn name(class: RoadClass, at: Xy, rng: &mut ChaCha8Rng) -> Option<String> {
    let prefix = if at.x < 800.0 {
        "KN"
    } else if at.y > -1_200.0 {
        "KG"
    } else {
        "KK"
    };
    match class {
        RoadClass::Arterial => Some(format!("{prefix} {} Rd", rng.random_range(1..=15))),
        RoadClass::Collector => Some(format!("{prefix} {} Ave", rng.random_range(1..=60))),
        RoadClass::Street => None,
    }
}

/// The points strictly between two places of a line, without those that hardly bend.
fn bends(points: &[Xy], from: f64, to: f64) -> Vec<Xy> {
    let (first, last) = (from.floor() as usize + 1, to.ceil() as usize);
    let mut bends: Vec<Xy> = Vec::new();
    for n in first..last.min(points.len()) {
        let before = bends.last().copied().unwrap_or(points[n - 1]);
        let after = points.get(n + 1).copied().unwrap_or(points[n]);
        let (a, b) = (points[n].minus(before), after.minus(points[n]));
        let turn = (a.x * b.y - a.y * b.x).abs();
        let is_bend = turn > 0.04 * a.length() * b.length() || a.length() > 120.0;
        if is_bend {
            bends.push(points[n]);
        }
    }
    bends
}

/// Every crossing of two lines: the lines, where on each, and the place.
fn crossings(traces: &[Trace]) -> Vec<(usize, f64, usize, f64, Xy)> {
    const SQUARE_M: f64 = 60.0;
    let mut squares: BTreeMap<(i32, i32), Vec<(usize, usize)>> = BTreeMap::new();
    for (t, trace) in traces.iter().enumerate() {
        for (n, pair) in trace.points.windows(2).enumerate() {
            let index = |x: f64| (x / SQUARE_M).floor() as i32;
            let (low_x, high_x) = (pair[0].x.min(pair[1].x), pair[0].x.max(pair[1].x));
            let (low_y, high_y) = (pair[0].y.min(pair[1].y), pair[0].y.max(pair[1].y));
            for column in index(low_x)..=index(high_x) {
                for row in index(low_y)..=index(high_y) {
                    squares.entry((column, row)).or_default().push((t, n));
                }
            }
        }
    }
    let mut seen = std::collections::BTreeSet::new();
    let mut found = Vec::new();
    for here in squares.values() {
        for (i, &(a, n)) in here.iter().enumerate() {
            for &(b, m) in &here[i + 1..] {
                if a == b || !seen.insert((a, n, b, m)) {
                    continue;
                }
                let (p, q) = (&traces[a].points[n..=n + 1], &traces[b].points[m..=m + 1]);
                let (along_p, along_q) = (p[1].minus(p[0]), q[1].minus(q[0]));
                let cross = along_p.x * along_q.y - along_p.y * along_q.x;
                if cross.abs() < 1e-9 {
                    continue;
                }
                let between = q[0].minus(p[0]);
                let on_p = (between.x * along_q.y - between.y * along_q.x) / cross;
                let on_q = (between.x * along_p.y - between.y * along_p.x) / cross;
                if (0.0..=1.0).contains(&on_p) && (0.0..=1.0).contains(&on_q) {
                    let place = p[0].plus(along_p.times(on_p));
                    found.push((a, n as f64 + on_p, b, m as f64 + on_q, place));
                }
            }
        }
    }
    found
}
