//! What all clients of one crowd share: the city, the options, the checker, the book.

use super::{Options, Target};
use crate::{
    checker::{Broken, Checker},
    city::City,
    report::{Book, Phase, Progress, Report},
    trips,
};
use protocol::{JobId, Point};
use rand::{Rng, seq::IndexedRandom};
use std::{
    collections::HashMap,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};

/// Counted without a lock, because often.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) acked: AtomicU64,
    pub(super) positions: AtomicU64,
    pub(super) frames: AtomicU64,
    pub(super) frames_refused: AtomicU64,
    pub(super) reconnects: AtomicU64,
    pub(super) resumes: AtomicU64,
    pub(super) resends: AtomicU64,
    pub(super) turned_away: AtomicU64,
    pub(super) drivers: AtomicU64,
    pub(super) riders: AtomicU64,
}

/// What rider and driver of a job say to each other without a phone.
#[derive(Debug, Clone, Default)]
pub(super) struct Words {
    /// "My code is …"
    pub(super) code: Option<String>,
    /// "It runs again."
    pub(super) is_fixed: bool,
}

/// What all clients of one crowd share.
pub(super) struct World {
    pub(super) options: Options,
    pub(super) target: Target,
    pub(super) city: std::sync::Arc<City>,
    pub(super) counts: Counts,
    hot_spots: Vec<Point>,
    checker: Mutex<Checker>,
    book: Mutex<Book>,
    words: Mutex<HashMap<JobId, Words>>,
    phase: Mutex<Phase>,
    rss_max: AtomicU64,
    began: Instant,
}

/// A client that panicked while writing has spoilt at most its own entry.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub(super) fn new(
        options: Options,
        target: Target,
        city: std::sync::Arc<City>,
        hot_spots: Vec<Point>,
    ) -> Self {
        Self {
            options,
            target,
            city,
            counts: Counts::default(),
            hot_spots,
            checker: Mutex::default(),
            book: Mutex::new(Book::new()),
            words: Mutex::default(),
            phase: Mutex::default(),
            rss_max: AtomicU64::new(0),
            began: Instant::now(),
        }
    }

    /// How long so many city seconds really take.
    pub(super) fn real(&self, city_s: f64) -> Duration {
        Duration::from_secs_f64((city_s / self.options.speed).clamp(0.0, 1e6))
    }

    /// How many city seconds have passed since.
    pub(super) fn city_s(&self, since: Instant, now: Instant) -> f64 {
        now.saturating_duration_since(since).as_secs_f64() * self.options.speed
    }

    pub(super) fn checker(&self) -> MutexGuard<'_, Checker> {
        lock(&self.checker)
    }

    pub(super) fn book(&self) -> MutexGuard<'_, Book> {
        lock(&self.book)
    }

    pub(super) fn report_broken(&self, broken: Option<(Broken, String)>) {
        if let Some((broken, detail)) = broken {
            self.checker().report(broken, detail);
        }
    }

    /// What the other side of a job said.
    pub(super) fn heard(&self, job: JobId) -> Words {
        lock(&self.words).get(&job).cloned().unwrap_or_default()
    }

    /// Says something to the other side of a job.
    pub(super) fn say(&self, job: JobId, say: impl FnOnce(&mut Words)) {
        say(lock(&self.words).entry(job).or_default());
    }

    pub(super) fn forget_words(&self, job: JobId) {
        lock(&self.words).remove(&job);
    }

    pub(super) fn set_phase(&self, phase: Phase) {
        *lock(&self.phase) = phase;
    }

    /// A place where people ask.
    pub(super) fn hot_spot(&self, rng: &mut impl Rng) -> Point {
        match self.hot_spots.choose(rng) {
            Some(spot) => {
                spot.offset_m(rng.random_range(-300.0..300.0), rng.random_range(-300.0..300.0))
            }
            None => trips::somewhere(&self.city, rng),
        }
    }

    /// What must be looked at every second.
    pub(super) fn second(&self) {
        self.checker().sweep(Instant::now());
        let rss_bytes = self.options.pids.iter().filter_map(|pid| rss_bytes(*pid)).sum();
        self.rss_max.fetch_max(rss_bytes, Relaxed);
    }

    pub(super) fn progress(&self) -> Progress {
        let (jobs, assign_p50_ms) = {
            let book = self.book();
            let [rides, rescues, deliveries] = book.outcomes();
            (rides.plus(rescues).plus(deliveries), book.assign_p50_ms())
        };
        Progress {
            after_s: self.began.elapsed().as_secs_f64(),
            phase: *lock(&self.phase),
            drivers: self.counts.drivers.load(Relaxed),
            riders: self.counts.riders.load(Relaxed),
            jobs,
            commands_acked: self.counts.acked.load(Relaxed),
            positions: self.counts.positions.load(Relaxed),
            violations: self.checker().n_violations(),
            assign_p50_ms,
        }
    }

    pub(super) fn report(&self) -> Report {
        let counts = &self.counts;
        let (violations, violation_details) = {
            let checker = self.checker();
            (checker.n_violations(), checker.violations().to_vec())
        };
        Report {
            commands_acked: counts.acked.load(Relaxed),
            violations,
            violation_details,
            drivers: self.options.drivers as u64,
            riders_turned_away: counts.turned_away.load(Relaxed),
            positions: counts.positions.load(Relaxed),
            frames: counts.frames.load(Relaxed),
            reconnects: counts.reconnects.load(Relaxed),
            resumes: counts.resumes.load(Relaxed),
            resends: counts.resends.load(Relaxed),
            frames_refused: counts.frames_refused.load(Relaxed),
            lasted_s: self.began.elapsed().as_secs_f64(),
            speed: self.options.speed,
            seed: self.options.seed,
            rss_bytes: self.rss_max.load(Relaxed),
            ..self.book().report()
        }
    }
}

/// How much memory a process holds, where the system says so.
fn rss_bytes(pid: u32) -> Option<u64> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.starts_with("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().nth(1)?.parse().ok()?;
    Some(kib * 1024)
}
