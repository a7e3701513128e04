//! The lie of the land: which way streets run, where the river is, where hills are too steep.

use rand::Rng;
use rand_chacha::ChaCha8Rng;
use std::f64::consts::{PI, TAU};

/// Metres east and north of the middle, or a direction.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) struct Xy {
    pub(super) x: f64,
    pub(super) y: f64,
}

impl Xy {
    pub(super) fn plus(self, other: Self) -> Self {
        Self { x: self.x + other.x, y: self.y + other.y }
    }

    pub(super) fn minus(self, other: Self) -> Self {
        Self { x: self.x - other.x, y: self.y - other.y }
    }

    pub(super) fn times(self, factor: f64) -> Self {
        Self { x: self.x * factor, y: self.y * factor }
    }

    pub(super) fn dot(self, other: Self) -> f64 {
        self.x * other.x + self.y * other.y
    }

    pub(super) fn length(self) -> f64 {
        self.x.hypot(self.y)
    }

    pub(super) fn is_within(self, other: Self, radius_m: f64) -> bool {
        let (x, y) = (self.x - other.x, self.y - other.y);
        x * x + y * y < radius_m * radius_m
    }

    pub(super) fn distance(self, other: Self) -> f64 {
        self.minus(other).length()
    }
}

/// Smooth noise from −1 to 1.
#[derive(Debug, Clone, Copy)]
struct Noise {
    seed: u64,
    scale_m: f64,
}

impl Noise {
    fn lattice(self, column: i64, row: i64) -> f64 {
        let mut z = self.seed
            ^ (column as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15)
            ^ (row as u64).wrapping_mul(0xc2b2_ae3d_27d4_eb4f);
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ z >> 31) as f64 / u64::MAX as f64 * 2.0 - 1.0
    }

    fn at(self, at: Xy) -> f64 {
        let (x, y) = (at.x / self.scale_m, at.y / self.scale_m);
        let (column, row) = (x.floor(), y.floor());
        let smooth = |t: f64| t * t * (3.0 - 2.0 * t);
        let (tx, ty) = (smooth(x - column), smooth(y - row));
        let (column, row) = (column as i64, row as i64);
        let mix = |a: f64, b: f64, t: f64| a + (b - a) * t;
        mix(
            mix(self.lattice(column, row), self.lattice(column + 1, row), tx),
            mix(self.lattice(column, row + 1), self.lattice(column + 1, row + 1), tx),
            ty,
        )
    }
}

/// What turns the streets around one place.
struct Pull {
    at: Xy,
    reach_m: f64,
    shape: Shape,
}

enum Shape {
    /// Along this angle.
    Grid(f64),
    /// In rings and spokes.
    Rings,
}

/// Which way streets run, everywhere.
pub(super) struct Field {
    pulls: Vec<Pull>,
    bend: Noise,
}

impl Field {
    pub(super) fn new(rng: &mut ChaCha8Rng) -> Self {
        let mut pulls = vec![
            Pull { at: Xy { x: 0.0, y: 0.0 }, reach_m: 1_900.0, shape: Shape::Rings },
            Pull { at: Xy { x: 4_500.0, y: -800.0 }, reach_m: 1_300.0, shape: Shape::Rings },
        ];
        for _ in 0..9 {
            pulls.push(Pull {
                at: Xy {
                    x: rng.random_range(-6_000.0..6_000.0),
                    y: rng.random_range(-6_000.0..6_000.0),
                },
                reach_m: rng.random_range(1_600.0..3_000.0),
                shape: Shape::Grid(rng.random_range(0.0..PI)),
            });
        }
        Self { pulls, bend: Noise { seed: rng.random(), scale_m: 2_100.0 } }
    }

    /// A unit vector along the streets; its opposite means the same.
    pub(super) fn direction(&self, at: Xy) -> Xy {
        // Directions without a sense are added as vectors of twice their angle.
        let mut sum = Xy { x: 1e-9, y: 0.0 };
        for pull in &self.pulls {
            let from = at.minus(pull.at);
            let nearness = (-(from.dot(from)) / (pull.reach_m * pull.reach_m)).exp();
            let (weight, angle) = match pull.shape {
                Shape::Grid(angle) => (nearness + 0.02, angle),
                Shape::Rings => (nearness * 2.2, from.y.atan2(from.x)),
            };
            sum = sum.plus(Xy { x: (2.0 * angle).cos(), y: (2.0 * angle).sin() }.times(weight));
        }
        let angle = sum.y.atan2(sum.x) / 2.0 + self.bend.at(at) * 0.45;
        Xy { x: angle.cos(), y: angle.sin() }
    }
}

/// A round thing with a wavy edge.
struct Blob {
    at: Xy,
    radius_m: f64,
    waves: [(f64, f64, f64); 3],
}

impl Blob {
    fn new(x: f64, y: f64, radius_m: f64, rng: &mut ChaCha8Rng) -> Self {
        let mut wave = |n: f64| (n, rng.random_range(0.06..0.16), rng.random_range(0.0..TAU));
        Self { at: Xy { x, y }, radius_m, waves: [wave(2.0), wave(3.0), wave(5.0)] }
    }

    fn edge_m(&self, angle: f64) -> f64 {
        let wavy: f64 =
            self.waves.iter().map(|(n, high, phase)| high * (n * angle + phase).sin()).sum();
        self.radius_m * (1.0 + wavy)
    }

    fn contains(&self, at: Xy) -> bool {
        let from = at.minus(self.at);
        from.length() < self.edge_m(from.y.atan2(from.x))
    }

    fn outline(&self) -> Vec<Xy> {
        (0..72)
            .map(|n| {
                let angle = f64::from(n) / 72.0 * TAU;
                let edge_m = self.edge_m(angle);
                self.at.plus(Xy { x: angle.cos() * edge_m, y: angle.sin() * edge_m })
            })
            .collect()
    }
}

/// Where nobody builds, and how loosely elsewhere.
pub(super) struct Terrain {
    river: Vec<(Xy, f64)>,
    lake: Blob,
    hills: Vec<Blob>,
    crowding: Noise,
}

impl Terrain {
    pub(super) fn new(rng: &mut ChaCha8Rng) -> Self {
        let course = [
            (3_400.0, 7_400.0),
            (2_300.0, 6_300.0),
            (700.0, 4_600.0),
            (-300.0, 2_700.0),
            (-2_000.0, 1_650.0),
            (-3_500.0, 900.0),
            (-4_600.0, -600.0),
            (-5_150.0, -2_600.0),
            (-4_500.0, -4_700.0),
            (-4_900.0, -6_300.0),
            (-5_200.0, -7_500.0),
        ]
        .map(|(x, y)| Xy {
            x: x + rng.random_range(-150.0..150.0),
            y: y + rng.random_range(-150.0..150.0),
        });
        let wiggle = Noise { seed: rng.random(), scale_m: 420.0 };
        let mut river = Vec::new();
        for n in 1..course.len() - 2 {
            for step in 0..20 {
                let at = spline(&course[n - 1..n + 3], f64::from(step) / 20.0);
                let sideways = wiggle.at(at) * 130.0;
                let progress = (n as f64 + f64::from(step) / 20.0) / course.len() as f64;
                let at = at.plus(Xy { x: sideways, y: -sideways * 0.6 });
                river.push((at, 34.0 + 46.0 * progress + 10.0 * wiggle.at(at.times(1.7))));
            }
        }
        let lake = Blob::new(3_650.0, 2_750.0, 330.0, rng);
        let hills = vec![
            Blob::new(-3_700.0, -2_300.0, 900.0, rng),
            Blob::new(-4_300.0, 3_900.0, 1_150.0, rng),
            Blob::new(2_250.0, -5_100.0, 620.0, rng),
            Blob::new(3_650.0, 300.0, 430.0, rng),
            Blob::new(5_350.0, -2_900.0, 560.0, rng),
            Blob::new(1_000.0, -1_900.0, 260.0, rng),
            Blob::new(2_700.0, 5_000.0, 520.0, rng),
        ];
        Self { river, lake, hills, crowding: Noise { seed: rng.random(), scale_m: 1_700.0 } }
    }

    /// May a small street be here?
    pub(super) fn is_buildable(&self, at: Xy) -> bool {
        let is_in_river =
            self.river.iter().any(|(bank, half_m)| at.is_within(*bank, half_m + 45.0));
        !is_in_river && !self.lake.contains(at) && !self.hills.iter().any(|hill| hill.contains(at))
    }

    /// Too deep for a bridge?
    pub(super) fn is_in_lake(&self, at: Xy) -> bool {
        self.lake.contains(at)
    }

    /// How much wider apart than in the middle streets are here.
    pub(super) fn looseness(&self, at: Xy) -> f64 {
        let outward = (at.length() / 6_000.0).min(1.4);
        (0.85 + 0.75 * outward * outward + 0.22 * self.crowding.at(at)).max(0.7)
    }

    /// Outlines of river and lake.
    pub(super) fn water(&self) -> impl Iterator<Item = Vec<Xy>> {
        let (mut left, mut right) = (Vec::new(), Vec::new());
        for pair in self.river.windows(2) {
            let (at, half_m) = pair[0];
            let along = pair[1].0.minus(at);
            let side = Xy { x: -along.y, y: along.x }.times(half_m / along.length().max(1.0));
            left.push(at.plus(side));
            right.push(at.minus(side));
        }
        left.extend(right.into_iter().rev());
        [left, self.lake.outline()].into_iter()
    }

    /// Outlines of the hills.
    pub(super) fn parks(&self) -> impl Iterator<Item = Vec<Xy>> {
        self.hills.iter().map(Blob::outline)
    }
}

/// Catmull and Rom's curve between the second and third of four points.
fn spline(p: &[Xy], t: f64) -> Xy {
    let axis = |a: f64, b: f64, c: f64, d: f64| {
        0.5 * (2.0 * b
            + (c - a) * t
            + (2.0 * a - 5.0 * b + 4.0 * c - d) * t * t
            + (3.0 * b - a - 3.0 * c + d) * t * t * t)
    };
    Xy { x: axis(p[0].x, p[1].x, p[2].x, p[3].x), y: axis(p[0].y, p[1].y, p[2].y, p[3].y) }
}
