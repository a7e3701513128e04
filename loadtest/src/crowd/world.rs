//! What all clients of one crowd share: the city, the options, the checker, the book, the meter.

use super::{Audit, Cut, Options, Target};
use crate::{
    checker::{Broken, Checker},
    city::City,
    clock,
    connect::Weight,
    measure::{Generator, Host, Meter, Op, Sample, Share, Slot, Timeline},
    nodes::Nodes,
    record::{self, Record, Seen, Watched},
    report::{Book, Ending, Glance, Phase, Progress, Report},
    trips::{self, Want},
};
use protocol::{Code, JobId, MerchantId, OrderId, Point, RiderId, Timestamp};
use rand::{Rng, seq::IndexedRandom};
use std::{
    collections::{HashMap, VecDeque},
    net::SocketAddr,
    sync::{
        Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering::Relaxed},
    },
    time::{Duration, Instant},
};
use tokio::sync::watch;

/// Counted without a lock, because often.
#[derive(Debug, Default)]
pub(super) struct Counts {
    pub(super) acked: AtomicU64,
    pub(super) positions: AtomicU64,
    pub(super) frames: AtomicU64,
    pub(super) frames_refused: AtomicU64,
    pub(super) reconnects: AtomicU64,
    /// Of these, how many we wanted.
    pub(super) cut: AtomicU64,
    pub(super) resumes: AtomicU64,
    pub(super) resends: AtomicU64,
    pub(super) turned_away: AtomicU64,
    pub(super) drivers: AtomicU64,
    pub(super) riders: AtomicU64,
    started: AtomicU64,
    created: AtomicU64,
    completed: AtomicU64,
}

/// What had been counted at the end of a second.
#[derive(Debug, Default)]
struct Counted {
    positions: u64,
    frames: u64,
    created: u64,
    completed: u64,
    reconnects: u64,
    cut: u64,
}

/// The run so far, second by second.
#[derive(Debug)]
struct Line {
    timeline: Timeline,
    counted: Counted,
    /// How many seconds are in it.
    n_s: u64,
    host: Host,
    events: Vec<Seen>,
    watch: Watch,
}

/// What watched processes hold and have spent.
#[derive(Debug, Default)]
struct Watch {
    /// At the last look.
    last: Option<(Instant, Weight)>,
    /// When it began to count, and when it was last seen to.
    counted: Option<[(Instant, Weight); 2]>,
    bytes_max: u64,
}

impl Watch {
    /// Another look: what they hold, and how many processors they have kept busy since the one before.
    fn saw(&mut self, now: Instant, weight: Weight, is_counting: bool) -> (u64, f64) {
        let before = self.last.replace((now, weight));
        let cores = before.map_or(0.0, |before| cores([before, (now, weight)]));
        if is_counting {
            let [_, last] = self.counted.get_or_insert([(now, weight); 2]);
            *last = (now, weight);
            self.bytes_max = self.bytes_max.max(weight.bytes);
        }
        (weight.bytes, cores)
    }

    fn watched(&self, n: usize) -> Option<Watched> {
        let [before, after] = self.counted?;
        Some(Watched {
            n: n as u64,
            cores: cores([before, after]),
            bytes_before: before.1.bytes,
            bytes_after: after.1.bytes,
            bytes_max: self.bytes_max,
        })
    }
}

/// How many processors were kept busy between two looks.
fn cores([(then, before), (now, after)]: [(Instant, Weight); 2]) -> f64 {
    let s = now.saturating_duration_since(then).as_secs_f64();
    if s > 0.0 { (after - before).cpu_s / s } else { 0.0 }
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
    /// Baskets that shops have not heard of yet, by shop.
    asked: Mutex<HashMap<usize, VecDeque<OrderId>>>,
    phase: Mutex<Phase>,
    rss_max: AtomicU64,
    began: Instant,
    began_at: Timestamp,
    /// When riders began to ask.
    out_at: OnceLock<Instant>,
    meter: Mutex<Meter>,
    line: Mutex<Line>,
    host_at_first: Host,
    nodes: Nodes,
    /// Ways to nodes that are bad, in the order of the nodes.
    relays: Vec<SocketAddr>,
    cuts: watch::Sender<Option<Cut>>,
    /// How many riders there are to be.
    planned: u64,
    /// Jobs of which the audit has read all.
    audited: AtomicU64,
    not_audited: AtomicU64,
    is_interrupted: AtomicBool,
    /// Jobs that the audit was to read.
    to_audit: AtomicU64,
}

/// A client that panicked while writing has spoilt at most its own entry.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl World {
    pub(super) fn new(
        options: Options,
        target: Target,
        relays: Vec<SocketAddr>,
        city: std::sync::Arc<City>,
        hot_spots: Vec<Point>,
        nodes: Nodes,
        n_trips: usize,
    ) -> Self {
        let host = Host::look();
        let line = Line {
            timeline: Timeline::default(),
            counted: Counted::default(),
            n_s: 0,
            host,
            events: Vec::new(),
            watch: Watch::default(),
        };
        Self {
            options,
            target,
            city,
            counts: Counts::default(),
            hot_spots,
            checker: Mutex::default(),
            book: Mutex::new(Book::new()),
            words: Mutex::default(),
            asked: Mutex::default(),
            phase: Mutex::default(),
            rss_max: AtomicU64::new(0),
            began: Instant::now(),
            began_at: clock::now(),
            out_at: OnceLock::new(),
            meter: Mutex::new(Meter::new()),
            line: Mutex::new(line),
            host_at_first: host,
            nodes,
            relays,
            cuts: watch::Sender::new(None),
            planned: n_trips as u64,
            audited: AtomicU64::new(0),
            not_audited: AtomicU64::new(0),
            is_interrupted: AtomicBool::new(false),
            to_audit: AtomicU64::new(0),
        }
    }

    /// Riders begin to ask: what is due after the warm-up counts, until they stop.
    pub(super) fn go_out(&self) -> Instant {
        let now = *self.out_at.get_or_init(Instant::now);
        self.set_phase(Phase::Out);
        let mut meter = self.meter();
        meter.count_from(now + self.options.warm_up);
        meter.count_until(now + self.options.lasting);
        now
    }

    /// Somebody wants no more of it, before it is over.
    pub(super) fn interrupt(&self) {
        self.is_interrupted.store(true, Relaxed);
    }

    /// Nobody is there any more.
    pub(super) fn stop_counting(&self) {
        self.meter().stop(Instant::now());
    }

    pub(super) fn meter(&self) -> MutexGuard<'_, Meter> {
        lock(&self.meter)
    }

    fn line(&self) -> MutexGuard<'_, Line> {
        lock(&self.line)
    }

    fn note(&self, samples: impl IntoIterator<Item = Sample>) {
        let mut meter = self.meter();
        samples.into_iter().for_each(|sample| meter.took(sample));
    }

    /// A rider who is due starts.
    pub(super) fn start(&self, due: Instant) {
        self.counts.started.fetch_add(1, Relaxed);
        let mut meter = self.meter();
        meter.started(due, Instant::now());
        meter.wanted(due);
    }

    /// A rider who is due has no place.
    pub(super) fn turn_away(&self) {
        self.counts.turned_away.fetch_add(1, Relaxed);
    }

    /// Somebody is let in, who was to be then, and tried at last when `said`.
    pub(super) fn welcomed(&self, op: Op, due: Instant, said: Instant, at: Instant) {
        self.note([Sample { op, due, said, at }]);
    }

    /// A command that was due then, and said, is answered now.
    pub(super) fn answered(&self, op: Op, [due, said, at]: [Instant; 3], refused: Option<Code>) {
        let mut meter = self.meter();
        meter.answered(due, refused);
        meter.took(Sample { op, due, said, at });
    }

    /// A job came into being.
    pub(super) fn created(
        &self,
        job: JobId,
        by: RiderId,
        want: Want,
        [due, said, now]: [Instant; 3],
    ) {
        self.counts.created.fetch_add(1, Relaxed);
        let samples = self.book().created(job, by, want, [due, said, now]);
        self.note(samples);
    }

    /// A driver's phone shows an offer of it.
    pub(super) fn offered(&self, job: JobId, now: Instant) {
        let sample = self.book().offered(job, now);
        self.note(sample);
    }

    /// Its rider sees a driver.
    pub(super) fn assigned(&self, job: JobId, now: Instant) {
        let sample = self.book().assigned(job, now);
        self.note(sample);
    }

    /// A driver's step for it, said then, was acknowledged.
    pub(super) fn stepped(&self, job: JobId, version: u64, [due, said]: [Instant; 2]) {
        let sample = self.book().stepped(job, version, [due, said]);
        self.note(sample);
    }

    /// Its rider was shown this version of it.
    pub(super) fn shown(&self, job: JobId, version: u64, now: Instant) {
        let sample = self.book().shown(job, version, now);
        self.note(sample);
    }

    /// It has ended.
    pub(super) fn ended(&self, job: JobId, ending: Ending) {
        self.counts.completed.fetch_add(u64::from(ending == Ending::Completed), Relaxed);
        self.book().ended(job, ending);
    }

    /// Everything that was acknowledged of it up to this version was read again.
    pub(super) fn looked(&self, job: JobId, version: u64) {
        self.book().looked(job, version);
    }

    /// Jobs that nobody has read since something was acknowledged of them, whose they are, and what should be read.
    pub(super) fn unseen(&self) -> Vec<(JobId, RiderId, u64)> {
        let jobs = self.book().looked_at();
        let checker = self.checker();
        let unseen: Vec<_> = jobs
            .into_iter()
            .map(|(job, rider, looked)| (job, rider, looked, checker.acked_version(job)))
            .filter(|(_, _, looked, acked)| looked < acked)
            .map(|(job, rider, _, acked)| (job, rider, acked))
            .collect();
        self.to_audit.store(unseen.len() as u64, Relaxed);
        unseen
    }

    /// The audit has read a job.
    pub(super) fn audited(&self, job: JobId, version: u64) {
        self.audited.fetch_add(1, Relaxed);
        self.looked(job, version);
    }

    /// The audit has not read what it should have.
    pub(super) fn not_audited(&self, broken: Broken, detail: String) {
        self.not_audited.fetch_add(1, Relaxed);
        self.report_broken(Some((broken, detail)));
    }

    /// Phones are cut off.
    pub(super) fn cut(&self, cut: Cut) {
        let (percent, dark) = (cut.share * 100.0, humantime::format_duration(cut.dark));
        self.event("the crowd", format!("{percent:.0} % of phones cut off for {dark}"));
        self.cuts.send_replace(Some(cut));
    }

    /// Hears of cuts.
    pub(super) fn cuts(&self) -> watch::Receiver<Option<Cut>> {
        self.cuts.subscribe()
    }

    fn event(&self, who: &str, what: String) {
        let after_s = self.began.elapsed().as_secs_f64();
        self.line().events.push(Seen { after_s, who: who.to_owned(), what });
    }

    /// Where the `n`th node is reached by a phone: badly, if that is how its network is.
    pub(super) fn way_to(&self, n: usize, is_bad: bool) -> Option<SocketAddr> {
        match self.relays.get(n).filter(|_| is_bad) {
            Some(relay) => Some(*relay),
            None => self.target.nodes.get(n).map(|node| node.at),
        }
    }

    /// Which second of a day it is now, counted from the first midnight.
    pub(super) fn second_of_day(&self, now: Instant) -> f64 {
        let out_at = self.out_at.get().copied().unwrap_or(now);
        self.options.starts_at_s + self.city_s(out_at, now) * self.options.compress
    }

    /// How long so many seconds of a day really take: vehicles may be slower than the day.
    pub(super) fn real_of_day(&self, day_s: f64) -> Duration {
        self.real(day_s / self.options.compress)
    }

    /// Who the `n`th shop is.
    pub(super) fn shop(&self, n: usize) -> MerchantId {
        MerchantId::nth(self.options.seed << 32 | n as u64)
    }

    /// A shop for the `n`th rider.
    pub(super) fn shop_for(&self, n: usize) -> usize {
        self.options.hand.nth(n % self.options.shops.max(1))
    }

    /// A rider tells a shop what it has ordered.
    pub(super) fn ask_of_shop(&self, shop: usize, order: OrderId) {
        lock(&self.asked).entry(shop).or_default().push_back(order);
    }

    /// What a shop was asked for since it last looked.
    pub(super) fn asked_of_shop(&self, shop: usize) -> VecDeque<OrderId> {
        lock(&self.asked).remove(&shop).unwrap_or_default()
    }

    /// How many drivers are this hand's.
    fn n_drivers(&self) -> u64 {
        let hand = self.options.hand;
        (0..self.options.drivers).filter(|n| hand.holds(*n)).count() as u64
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

    /// A second is over: what must be looked at then, and how things stand.
    pub(super) fn second(&self) -> Glance {
        let now = Instant::now();
        self.checker().sweep(now);
        let rss_bytes = self.options.pids.iter().filter_map(|pid| rss_bytes(*pid)).sum();
        self.rss_max.fetch_max(rss_bytes, Relaxed);
        let mut slot = self.meter().second();
        let counts = &self.counts;
        let counted_s = self.meter().counted(now).as_secs_f64();
        let (from, until) = self.meter().window();
        let has_begun = from.is_some_and(|from| now >= from);
        let is_over = until.is_some_and(|until| now >= until);
        if has_begun {
            self.nodes.begin_counting();
        }
        if is_over {
            self.nodes.end_counting();
        }
        let (host, sights) = (Host::look(), self.nodes.look());
        let progress = self.progress();
        let counted = Counted {
            positions: counts.positions.load(Relaxed),
            frames: counts.frames.load(Relaxed),
            created: counts.created.load(Relaxed),
            completed: counts.completed.load(Relaxed),
            reconnects: counts.reconnects.load(Relaxed),
            cut: counts.cut.load(Relaxed),
        };
        let mut line = self.line();
        let before = std::mem::replace(&mut line.counted, counted);
        let after = &line.counted;
        slot.positions = after.positions - before.positions;
        slot.frames = after.frames - before.frames;
        slot.created = after.created - before.created;
        slot.completed = after.completed - before.completed;
        slot.lost = after.reconnects - before.reconnects;
        slot.cut = after.cut - before.cut;
        (slot.drivers, slot.riders) = (progress.drivers, progress.riders);
        if !self.options.pids.is_empty() {
            let weight = Weight::of(&self.options.pids);
            let is_counting = has_begun && !is_over;
            (slot.watched_bytes, slot.watched_cores) = line.watch.saw(now, weight, is_counting);
        }
        slot.cpu_share = host.since(&line.host).ours;
        line.host = host;
        slot.nodes = sights.slots;
        let began_s = self.began.elapsed().as_secs_f64();
        line.events.extend(sights.events.into_iter().map(|(who, what)| Seen {
            after_s: began_s,
            who,
            what,
        }));
        // Seconds that were missed were not without people.
        let n_s = (self.began.elapsed().as_secs_f64().round() as u64).max(line.n_s + 1);
        let quiet = Slot {
            drivers: slot.drivers,
            riders: slot.riders,
            watched_bytes: slot.watched_bytes,
            nodes: slot.nodes.clone(),
            ..Slot::default()
        };
        for _ in line.n_s + 1..n_s {
            line.timeline.second(quiet.clone());
        }
        line.timeline.second(slot.clone());
        line.n_s = n_s;
        Glance {
            progress,
            planned: self.planned,
            started: counts.started.load(Relaxed),
            turned_away: counts.turned_away.load(Relaxed),
            counted_s,
            lasting_s: self.options.lasting.as_secs_f64(),
            asking_s: self.out_at.get().map_or(0.0, |at| now.duration_since(*at).as_secs_f64()),
            slot,
            events: line.events.iter().rev().take(8).rev().cloned().collect(),
        }
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
            drivers: self.n_drivers(),
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
    /// Everything that was measured.
    pub(super) fn record(&self) -> Record {
        let report = self.report();
        let counts = &self.counts;
        let turned_away = counts.turned_away.load(Relaxed);
        let share: Share = Host::look().since(&self.host_at_first);
        let jobs = self.book().looked_at();
        let is_interrupted = self.is_interrupted.load(Relaxed);
        let audit = {
            let checker = self.checker();
            let is_read =
                |(job, _, looked): &&(JobId, RiderId, u64)| *looked >= checker.acked_version(*job);
            let (reread, missing) = (self.audited.load(Relaxed), self.not_audited.load(Relaxed));
            let (n_jobs, confirmed) =
                (jobs.len() as u64, jobs.iter().filter(is_read).count() as u64);
            // Whoever was still driving during an audit may have been acknowledged more after it.
            let unread = match is_interrupted {
                true => n_jobs.saturating_sub(confirmed + missing),
                false => self.to_audit.load(Relaxed).saturating_sub(reread + missing),
            };
            Audit { acked: report.commands_acked, jobs: n_jobs, confirmed, reread, missing, unread }
        };
        let meter = self.meter();
        let generator = Generator {
            lag: meter.lag.clone(),
            schedule_lag: meter.schedule_lag.clone(),
            cpu_share: share.ours,
            machine_share: share.machine,
            saturated: Vec::new(),
        };
        let line = self.line();
        let after_s = |at: Instant| at.saturating_duration_since(self.began).as_secs_f64();
        let (from, until) = meter.window();
        let mut commands = meter.commands.clone();
        if is_interrupted {
            commands.under_way = commands.unanswered();
        }
        Record {
            began_at: self.began_at,
            seed: self.options.seed,
            speed: self.options.speed,
            lasted_s: self.began.elapsed().as_secs_f64(),
            counted_from_s: from.map_or(0.0, after_s),
            counted_until_s: until.map_or(0.0, after_s),
            schedule: record::Schedule {
                planned: self.planned,
                started: counts.started.load(Relaxed),
                turned_away,
            },
            is_interrupted,
            commands,
            took: meter.took.clone(),
            jobs: record::Jobs {
                rides: report.orders,
                deliveries: report.deliveries,
                rescues: report.rescues,
            },
            traffic: record::Traffic {
                drivers: report.drivers,
                positions: report.positions,
                frames: report.frames,
                frames_refused: report.frames_refused,
                lost: report.reconnects,
                cut: counts.cut.load(Relaxed),
                resumed: report.resumes,
            },
            audit,
            violations: report.violations,
            violation_details: report.violation_details,
            generator: generator.judge(self.planned, turned_away),
            nodes: self.nodes.sides(),
            watched: line.watch.watched(self.options.pids.len()),
            timeline: line.timeline.clone(),
            events: line.events.clone(),
            ..Record::default()
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
