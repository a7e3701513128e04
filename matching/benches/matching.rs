//! How long one matching tick takes, and how fast the grid below it is.

use criterion::{BatchSize, Criterion, Throughput, criterion_group, criterion_main};
use matching::{
    DriverCard, Field, SearchCard,
    assignment::{Edges, assign},
    batch,
    cost::Settings,
    grid::Grid,
    round::{Pairing, Terms, round},
    router::{Gone, Learned, Leg, Router, Straight, Ways},
    ruling::Ruling,
};
use protocol::{
    Point, RuleId, Timestamp,
    rule::{RuleChanges, RuleMark, WeightChanges},
    view::WorkKind,
    work::{OfferPolicy, Vehicle, VehicleKind},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{
    hint::black_box,
    sync::Arc,
    time::{Duration, Instant},
};

/// As the programs have it.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

const KIGALI: Point = Point { lat: -1.9441, lon: 30.0619 };
const NOW: Timestamp = Timestamp(1_800_000_000_000);
/// Half the side of the city, in metres.
const HALF_M: f64 = 10_000.0;
/// So many rules may be set.
const N_RULES: u32 = 256;

fn place(random: &mut StdRng) -> Point {
    KIGALI.offset_m(random.random_range(-HALF_M..HALF_M), random.random_range(-HALF_M..HALF_M))
}

fn drivers(random: &mut StdRng, n: u64) -> Vec<Arc<DriverCard>> {
    let vehicle = Arc::new(Vehicle { kind: VehicleKind::Moto, capacity_g: 20_000, skills: vec![] });
    (0..n)
        .map(|n| {
            let at = place(random);
            Arc::new(DriverCard {
                idle_since: NOW - Duration::from_secs(random.random_range(0..1_200)),
                rating: random.random_range(400..=500),
                ..DriverCard::nth(n, vehicle.clone(), at, NOW)
            })
        })
        .collect()
}

fn searches(random: &mut StdRng, n: u64) -> Vec<SearchCard> {
    (0..n)
        .map(|n| {
            let pickup = place(random);
            let asked_at = NOW - Duration::from_secs(random.random_range(0..30));
            let policy = OfferPolicy::BatchOptimal;
            SearchCard { policy, ..SearchCard::nth(n, pickup, asked_at) }
        })
        .collect()
}

fn solver(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("assignment, k = 10");
    group.sample_size(20);
    let mut random = StdRng::seed_from_u64(1);
    for n in [1_000_u64, 5_000] {
        let (mut grid, mut near) = (Grid::new(KIGALI, 30_000.0, 400.0), Vec::new());
        (0..n as u32).for_each(|n| grid.upsert(n, place(&mut random)));
        let pickups: Vec<Point> = (0..n).map(|_| place(&mut random)).collect();
        let mut edges = |grid: &Grid| {
            let mut edges = Edges::new(n as usize);
            for &pickup in &pickups {
                grid.nearest(pickup, 10, f32::MAX, |_| true, &mut near);
                // A metre of road takes about 180 ms.
                edges.push_row(near.iter().map(|it| (it.n, (it.distance_m * 180.0) as u32)));
            }
            edges
        };
        let known = edges(&grid);
        group.bench_function(format!("{n} x {n}, solver only"), |bencher| {
            bencher.iter(|| assign(black_box(&known)));
        });
        group.bench_function(format!("{n} x {n}, with neighbour search"), |bencher| {
            bencher.iter(|| assign(&edges(black_box(&grid))));
        });
    }
}

/// What a region knows after ten thousand ways.
fn learned(random: &mut StdRng, router: &Straight) -> Ways {
    let mut ways = Ways::new(KIGALI);
    for _ in 0..10_000 {
        let (from, to) = (place(random), place(random));
        let learned = Learned { router, ways: &ways };
        let leg = Leg {
            from: learned.spot(from),
            to: learned.spot(to),
            distance_m: from.distance_m(to) as f32,
            vehicle: VehicleKind::Moto,
            leaving: NOW,
        };
        let took_ms = (f64::from(router.eta(&leg).ms) * random.random_range(0.7..1.6)) as u32;
        ways.learn(&Gone { leg, took_ms }, router);
    }
    ways
}

/// The same searches, each under one of as many rules as may be set, which all weigh drivers by weights of their own.
fn ruled(searches: &[SearchCard], settings: &Settings) -> Vec<SearchCard> {
    let ruling = |n: u32| {
        let idle_ms = Some(settings.weights.idle_ms + 1 + n);
        let weights = Some(WeightChanges { idle_ms, ..WeightChanges::default() });
        let changes = RuleChanges { weights, ..RuleChanges::default() };
        let mark = RuleMark { id: RuleId::nth(n.into()), version: 1 };
        Arc::new(Ruling::of(mark, &changes, settings))
    };
    let rulings: Vec<Arc<Ruling>> = (0..N_RULES).map(ruling).collect();
    let all = searches.iter().zip(rulings.iter().cycle());
    all.map(|(card, it)| SearchCard { ruling: Some(Arc::clone(it)), ..card.clone() }).collect()
}

fn tick(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("round");
    group.sample_size(20);
    let mut random = StdRng::seed_from_u64(2);
    for (n_drivers, n_searches) in [(1_000, 30), (5_000, 5_000)] {
        let drivers = drivers(&mut random, n_drivers);
        let searches = searches(&mut random, n_searches);
        let (mut field, settings) = (Field::new(KIGALI), Settings::default());
        let router = settings.straight();
        let terms =
            Terms { router: &router, settings: &settings, now: NOW, pairing: Pairing::Joint };
        field.fill(drivers.iter().cloned(), &router);
        let name = format!("{n_drivers} drivers, {n_searches} searches");
        group.bench_function(&name, |bencher| {
            bencher.iter(|| round(&searches, [], &field, &terms));
        });
        let under_rules = ruled(&searches, &settings);
        group.bench_function(format!("{name}, under {N_RULES} rules"), |bencher| {
            bencher.iter(|| round(&under_rules, [], &field, &terms));
        });
        let silent = Settings { n_told: 0, ..settings.clone() };
        let in_silence = Terms { settings: &silent, ..terms };
        group.bench_function(format!("{name}, telling nothing of itself"), |bencher| {
            bencher.iter(|| round(&searches, [], &field, &in_silence));
        });
        let ways = learned(&mut random, &router);
        let learned = Learned { router: &router, ways: &ways };
        let with_ways = Terms { router: &learned, ..terms };
        let mut field_with_ways = Field::new(KIGALI);
        field_with_ways.fill(drivers.iter().cloned(), &learned);
        group.bench_function(format!("{name}, with ways that were learned"), |bencher| {
            bencher.iter(|| round(&searches, [], &field_with_ways, &with_ways));
        });
        group.bench_function(format!("{name}, with filling the field"), |bencher| {
            bencher.iter(|| {
                field.fill(drivers.iter().cloned(), &router);
                round(&searches, [], &field, &terms)
            });
        });
    }
}

fn grid(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("grid");
    group.throughput(Throughput::Elements(10_000));
    let mut random = StdRng::seed_from_u64(3);
    for n in [10_000_u32, 1_000_000] {
        // Two in a cell.
        let cell_m = (2.0 * HALF_M / (f64::from(n) / 2.0).sqrt()) as f32;
        let mut grid = Grid::new(KIGALI, HALF_M as f32, cell_m);
        let mut at: Vec<Point> = (0..n).map(|_| place(&mut random)).collect();
        (0..).zip(&at).for_each(|(n, &at)| grid.upsert(n, at));
        let mut moves = || {
            let mut step = || {
                let n = random.random_range(0..n);
                let step = [(20.0, 0.0), (-20.0, 0.0), (0.0, 20.0), (0.0, -20.0)];
                let (east, north) = step[random.random_range(0..4)];
                at[n as usize] = at[n as usize].offset_m(east, north);
                (n, at[n as usize])
            };
            (0..10_000).map(|_| step()).collect::<Vec<_>>()
        };
        group.bench_function(format!("upsert, each moves 20 m, of {n}"), |bencher| {
            bencher.iter_batched(
                &mut moves,
                |moves| moves.iter().for_each(|&(n, at)| grid.upsert(n, at)),
                BatchSize::SmallInput,
            );
        });
        group.bench_function(format!("upsert_all, each moves 20 m, of {n}"), |bencher| {
            bencher.iter_batched(
                &mut moves,
                |moves| grid.upsert_all(&moves),
                BatchSize::SmallInput,
            );
        });
        let queries: Vec<Point> = (0..10_000).map(|_| place(&mut random)).collect();
        let mut near = Vec::new();
        group.bench_function(format!("ten nearest, of {n}"), |bencher| {
            bencher.iter(|| {
                for &at in &queries {
                    grid.nearest(black_box(at), 10, f32::MAX, |_| true, &mut near);
                }
            });
        });
    }
}

/// How long the slowest of a hundred rounds of a region takes, which a mean does not tell: each of other searches.
#[expect(clippy::print_stdout, reason = "what a bench measures is what it prints")]
fn tails(_: &mut Criterion) {
    const N: usize = 20_000;
    let mut random = StdRng::seed_from_u64(4);
    let drivers = drivers(&mut random, 1_000);
    let all: Vec<Vec<SearchCard>> = (0..100).map(|_| searches(&mut random, 30)).collect();
    let settings = Settings::default();
    let straight = settings.straight();
    let ways = learned(&mut random, &straight);
    let learned = Learned { router: &straight, ways: &ways };
    let routers: [(&str, &dyn Router); 2] = [("straight", &straight), ("learned", &learned)];
    for (name, router) in routers {
        let mut field = Field::new(KIGALI);
        field.fill(drivers.iter().cloned(), router);
        let terms = Terms { router, settings: &settings, now: NOW, pairing: Pairing::Joint };
        let mut took: Vec<Duration> = (0..N)
            .map(|n| {
                let began = Instant::now();
                black_box(round(&all[n % all.len()], [], &field, &terms));
                began.elapsed()
            })
            .collect();
        // Each of them is held often enough to tell what it takes from what the machine does beside it.
        let usual = (0..all.len()).map(|nth| {
            let mut took: Vec<Duration> =
                took.iter().skip(nth).step_by(all.len()).copied().collect();
            took.sort_unstable();
            took[took.len() / 2]
        });
        let slowest = usual.max().expect("there are a hundred");
        took.sort_unstable();
        let [p50, p99, p999] = [0.5, 0.99, 0.999].map(|q| took[(N as f64 * q) as usize]);
        println!(
            "round/1000 drivers, 30 searches, {name} ways: p50 {p50:.1?}, p99 {p99:.1?}, p99.9 {p999:.1?} of {N}; the slowest of {} mostly {slowest:.1?}",
            all.len()
        );
    }
}

/// A look at what had better be brought together, of thirty deliveries from a few shops of one quarter.
fn batches(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("batches");
    group.sample_size(20);
    let mut random = StdRng::seed_from_u64(5);
    let drivers: Vec<Arc<DriverCard>> = drivers(&mut random, 1_000)
        .into_iter()
        .map(|card| Arc::new(DriverCard { n_slots: 5, ..(*card).clone() }))
        .collect();
    let mut near = |m: f64| KIGALI.offset_m(random.random_range(-m..m), random.random_range(-m..m));
    let shops: Vec<Point> = (0..5).map(|_| near(1_000.0)).collect();
    let until = NOW + Duration::from_secs(180);
    let promise = Some(NOW + Duration::from_secs(3_600));
    let times = batch::Batch { asked: NOW, ready: NOW, promise, until };
    let waiting: Vec<Arc<SearchCard>> = searches(&mut StdRng::seed_from_u64(6), 30)
        .into_iter()
        .zip(shops.iter().cycle())
        .map(|(card, shop)| {
            Arc::new(SearchCard {
                work: WorkKind::Delivery,
                pickup: *shop,
                dropoff: Some(near(3_000.0)),
                batch: Some(times),
                ..card
            })
        })
        .collect();
    let (settings, costs) = (batch::Settings::default(), Settings::default());
    let router = costs.straight();
    let look = |router: &dyn Router| {
        batch::plan(&waiting, &drivers, &[], NOW, &settings, &costs, router).len()
    };
    assert!(look(&router) > 0, "there is something to bring together");
    group.bench_function("30 x 1000", |bencher| bencher.iter(|| look(black_box(&router))));
    let ways = learned(&mut StdRng::seed_from_u64(7), &router);
    let learned = Learned { router: &router, ways: &ways };
    group.bench_function("30 x 1000, ways that were learned", |bencher| {
        bencher.iter(|| look(black_box(&learned)));
    });
}

criterion_group!(benches, solver, tick, tails, batches, grid);
criterion_main!(benches);
