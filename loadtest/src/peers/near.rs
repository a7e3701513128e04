//! Moving drivers and finding the ten nearest of them: Redis GEO and the grid inside a region.

use super::{
    Fault, Near, Program,
    figures::median,
    grid::Town,
    redis::{Batch, Connection},
    report::NearAt,
};
use protocol::Point;
use rand::{Rng, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::time::{Duration, Instant};

/// The middle of the city and how far it goes in each direction, in metres.
const CENTRE: Point = Point { lat: -1.9441, lon: 30.0619 };
const HALF_M: f64 = 10_000.0;
/// How many are wanted.
pub(super) const N_NEAREST: usize = 10;
/// How many commands are sent together.
const BATCH: usize = 500;
/// The same for searches, which take longer.
const SEARCHES_AT_ONCE: usize = 10;
/// How a driver moves, in metres east and north.
const STEPS: [(f64, f64); 4] = [(20.0, 0.0), (-20.0, 0.0), (0.0, 20.0), (0.0, -20.0)];
/// How long one measurement lasts, or a single batch if that is longer.
const LASTS: Duration = Duration::from_secs(1);
/// A searcher who knows how many drivers there are looks where it expects so many of them.
const N_EXPECTED: f64 = 60.0;

/// Measures all sizes, in rounds.
pub(super) async fn run(sizes: &[u32], radius_m: u32, rounds: usize) -> Result<Near, Fault> {
    let redis = Program::redis().await?;
    let mut connection = Connection::open(redis.address()).await?;
    let mut cities = Vec::new();
    for (seed, &size) in (1..).zip(sizes) {
        let town = Town::fill(CENTRE, HALF_M, size.max(1), seed);
        cities.push((size, City::fill(&mut connection, size.max(1), seed).await?, town));
    }
    let mut measured: Vec<Vec<NearAt>> = vec![Vec::new(); sizes.len()];
    for _ in 0..rounds {
        for ((n_drivers, city, town), all) in cities.iter_mut().zip(&mut measured) {
            let fitting_m = city.fitting_m();
            let ours = tokio::task::block_in_place(|| town.measure(LASTS));
            all.push(NearAt {
                n_drivers: *n_drivers,
                move_us: ours.move_us,
                ten_nearest_us: ours.ten_nearest_us,
                geoadd_us: city.moves(&redis, &mut connection).await?,
                geosearch_us: city.searches(&redis, &mut connection, radius_m.into()).await?,
                geosearch_fitting_us: city.searches(&redis, &mut connection, fitting_m).await?,
            });
        }
    }
    let sizes = measured.iter().map(|all| {
        let of = |figure: fn(&NearAt) -> f64| median(all.iter().map(figure).collect());
        NearAt {
            n_drivers: all.first().map_or(0, |it| it.n_drivers),
            move_us: of(|it| it.move_us),
            ten_nearest_us: of(|it| it.ten_nearest_us),
            geoadd_us: of(|it| it.geoadd_us),
            geosearch_us: of(|it| it.geosearch_us),
            geosearch_fitting_us: of(|it| it.geosearch_fitting_us),
        }
    });
    Ok(Near { radius_m, n_expected: N_EXPECTED, sizes: sizes.collect() })
}

/// Drivers in Redis, and where they are.
struct City {
    key: String,
    drivers: Vec<Point>,
    random: ChaCha8Rng,
}

impl City {
    async fn fill(connection: &mut Connection, size: u32, seed: u64) -> Result<Self, Fault> {
        let mut random = ChaCha8Rng::seed_from_u64(seed);
        let drivers = (0..size).map(|_| place(&mut random)).collect();
        let city = Self { key: format!("drivers-{size}"), drivers, random };
        let all: Vec<usize> = (0..city.drivers.len()).collect();
        for some in all.chunks(BATCH) {
            let mut batch = Batch::default();
            some.iter().for_each(|n| geoadd(&mut batch, &city.key, *n, city.drivers[*n]));
            connection.ask(&batch).await?;
        }
        Ok(city)
    }

    /// How far somebody looks who knows how many there are, in metres.
    fn fitting_m(&self) -> f64 {
        let side_m = 2.0 * HALF_M;
        (N_EXPECTED / self.drivers.len().max(1) as f64 / std::f64::consts::PI).sqrt() * side_m
    }

    /// What it costs Redis to take in one position, in microseconds of processor time. Many are sent at once,
    /// which nobody does who has each from a socket of its own: it only makes Redis look better.
    async fn moves(&mut self, redis: &Program, connection: &mut Connection) -> Result<f64, Fault> {
        let Self { key, drivers, random } = self;
        cost(redis, connection, BATCH, |batch| {
            let (n, at) = step(random, drivers);
            geoadd(batch, key, n as usize, at);
        })
        .await
    }

    /// The same for one search.
    async fn searches(
        &mut self,
        redis: &Program,
        connection: &mut Connection,
        radius_m: f64,
    ) -> Result<f64, Fault> {
        let (radius, count) = (format!("{radius_m:.1}"), N_NEAREST.to_string());
        cost(redis, connection, SEARCHES_AT_ONCE, |batch| {
            let (lon, lat) = words(place(&mut self.random));
            batch.push(&[
                "GEOSEARCH",
                &self.key,
                "FROMLONLAT",
                &lon,
                &lat,
                "BYRADIUS",
                &radius,
                "m",
                "ASC",
                "COUNT",
                &count,
            ]);
        })
        .await
    }
}

/// Sends batches for a while. Returns what one command cost.
async fn cost(
    redis: &Program,
    connection: &mut Connection,
    at_once: usize,
    mut push: impl FnMut(&mut Batch),
) -> Result<f64, Fault> {
    let (began, before) = (Instant::now(), redis.spent()?);
    let mut n = 0;
    while began.elapsed() < LASTS {
        let mut batch = Batch::default();
        (0..at_once).for_each(|_| push(&mut batch));
        connection.ask(&batch).await?;
        n += at_once;
    }
    Ok(redis.spent()?.saturating_sub(before).as_secs_f64() * 1e6 / n as f64)
}

fn geoadd(batch: &mut Batch, key: &str, n: usize, at: Point) {
    let (lon, lat) = words(at);
    batch.push(&["GEOADD", key, &lon, &lat, &format!("driver-{n}")]);
}

/// A driver moves: which, and to where.
pub(super) fn step(random: &mut ChaCha8Rng, drivers: &mut [Point]) -> (u32, Point) {
    let n = random.random_range(0..drivers.len());
    let (east, north) = STEPS[random.random_range(0..STEPS.len())];
    drivers[n] = drivers[n].offset_m(east, north);
    (n as u32, drivers[n])
}

/// Somewhere in the city.
pub(super) fn place(random: &mut ChaCha8Rng) -> Point {
    let mut along = || random.random_range(-HALF_M..HALF_M);
    CENTRE.offset_m(along(), along())
}

/// A place as Redis wants it.
fn words(at: Point) -> (String, String) {
    (format!("{:.6}", at.lon), format!("{:.6}", at.lat))
}
