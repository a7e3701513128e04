//! What regions promise, on a multi-threaded runtime and with a clock that only tests move.

use actors::{
    Card, DriverCard, EntityKey, Listing, SearchCard,
    journal::{CommitError, JournalError},
    listing::RegionId,
    region::{Kept, Regions, Settings, Surroundings},
    rule::{self, Said, Scope},
    search::Candidate,
    tell::{Halt, Journey},
    zone::{ByStaff, Multiplier, SURGE_EVERY, Standing, middle_of, neighbourhood, zones_at},
};
use futures_util::future::{BoxFuture, FutureExt, ready};
use matching::{
    Came, Field, Paused, batch,
    rank::Rank,
    round::{Pairing, Terms, round},
    surge::{self, Cause, Cell, USUAL},
};
use protocol::{
    DriverId, JobId, OrderId, Point, Principal, RuleId, ShardSet, Timestamp, ZoneId,
    rule::{LeftOut, RuleChanges, RuleTerms, WeightChanges},
    trace::{Verdict, WhyNot},
    view::{Etas, Queued, StopKind, WorkKind, ZonePause},
    work::{OfferPolicy, Vehicle, VehicleKind},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use std::{
    collections::{BTreeMap, HashSet},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::{mpsc, watch};

const KIGALI: Point = Point { lat: -1.9441, lon: 30.0619 };
const START: u64 = 1_800_000_000_000;

/// What is kept of regions, by whichever node.
type Shelves = Arc<Mutex<BTreeMap<(RegionId, Kept), Vec<u8>>>>;

/// The rest of the node, played by the test.
#[derive(Debug)]
struct Stage {
    now: AtomicU64,
    proposals: Mutex<Vec<(JobId, Vec<DriverId>)>>,
    pauses: Mutex<Vec<(JobId, Option<ZonePause>)>>,
    batches: Mutex<Vec<batch::Proposal>>,
    hints: Mutex<Vec<(DriverId, Point)>>,
    queued: Mutex<Vec<(JobId, Queued)>>,
    surges: Mutex<Vec<(ZoneId, u32)>>,
    /// What regions said, in its order, by kind.
    said: Mutex<Vec<&'static str>>,
    ups: mpsc::Sender<RegionId>,
    falls_at_next_proposal: AtomicBool,
    /// Another node matches here.
    is_away: AtomicBool,
    kept: Shelves,
    /// Nothing of it can be read.
    is_unreadable: AtomicBool,
    /// Lines are written as soon as it is not so any more.
    is_slow: watch::Sender<bool>,
    /// How often other tasks of the node had their turn: so far, when a region last looked at the
    /// clock, when it then proposed, and when it sent somebody to wait elsewhere (none: `u64::MAX`).
    turns: AtomicU64,
    turns_at_clock: AtomicU64,
    turns_at_proposal: AtomicU64,
    turns_at_hint: AtomicU64,
}

impl Stage {
    fn say(&self, what: &'static str) {
        self.said.lock().expect("no test panics holding it").push(what);
    }

    /// All that is kept, as it is.
    fn all_kept(&self) -> BTreeMap<(RegionId, Kept), Vec<u8>> {
        self.kept.lock().expect("no test panics holding it").clone()
    }
}

impl Surroundings for Stage {
    fn propose(&self, job: JobId, _round: u32, candidates: Vec<Candidate>) {
        self.turns_at_proposal.store(self.turns.load(Ordering::SeqCst), Ordering::SeqCst);
        assert!(!self.falls_at_next_proposal.swap(false, Ordering::SeqCst), "the stage said so");
        self.say("propose");
        let drivers = candidates.iter().map(|it| it.driver).collect();
        self.proposals.lock().expect("no test panics holding it").push((job, drivers));
    }

    fn pause(&self, job: JobId, pause: Option<ZonePause>) {
        self.pauses.lock().expect("no test panics holding it").push((job, pause));
    }

    fn surge(&self, zone: ZoneId, cell: &Cell, _cause: Cause) {
        self.surges.lock().expect("no test panics holding it").push((zone, cell.percent));
    }

    fn batch(&self, _region: RegionId, proposal: batch::Proposal, _settings: &batch::Settings) {
        self.say("batch");
        self.batches.lock().expect("no test panics holding it").push(proposal);
    }

    fn hint(&self, driver: DriverId, to: Point) {
        self.turns_at_hint.store(self.turns.load(Ordering::SeqCst), Ordering::SeqCst);
        self.say("hint");
        self.hints.lock().expect("no test panics holding it").push((driver, to));
    }

    fn queued(&self, job: JobId, queued: Queued) {
        self.queued.lock().expect("no test panics holding it").push((job, queued));
    }

    fn keep(
        &self,
        region: RegionId,
        what: Kept,
        bytes: Vec<u8>,
    ) -> BoxFuture<'static, Result<(), CommitError>> {
        if self.is_away.load(Ordering::SeqCst) {
            return ready(Err(CommitError::Fenced { shard: region.shard() })).boxed();
        }
        let kept = Arc::clone(&self.kept);
        let put =
            move || kept.lock().expect("no test panics holding it").insert((region, what), bytes);
        if what == Kept::Lines && *self.is_slow.borrow() {
            let mut is_slow = self.is_slow.subscribe();
            return async move {
                is_slow.wait_for(|is_slow| !is_slow).await.expect("the stage stays");
                put();
                Ok(())
            }
            .boxed();
        }
        put();
        ready(Ok(())).boxed()
    }

    fn kept(
        &self,
        region: RegionId,
        what: Kept,
    ) -> BoxFuture<'static, Result<Option<Vec<u8>>, JournalError>> {
        if self.is_unreadable.load(Ordering::SeqCst) {
            return ready(Err(JournalError::Unavailable("the stage said so".into()))).boxed();
        }
        ready(Ok(self.all_kept().get(&(region, what)).cloned())).boxed()
    }

    fn region_up(&self, region: RegionId) {
        // Tests that do not ask who came up let the channel fill.
        self.ups.try_send(region).ok();
    }

    fn is_ours(&self, _region: RegionId) -> bool {
        !self.is_away.load(Ordering::SeqCst)
    }

    fn now(&self) -> Timestamp {
        self.turns_at_clock.store(self.turns.load(Ordering::SeqCst), Ordering::SeqCst);
        Timestamp(self.now.load(Ordering::SeqCst))
    }
}

/// Regions, the stage they play on, and what is listed in them.
struct Play {
    stage: Arc<Stage>,
    regions: Regions,
    ups: mpsc::Receiver<RegionId>,
    listed: BTreeMap<EntityKey, Listing>,
}

/// Ticks only when told, and is warm from the start.
fn settings() -> Settings {
    Settings { tick_ms: 0, warm_up_ms: 0, ..Settings::default() }
}

impl Play {
    fn with(settings: Settings) -> Self {
        Self::after(settings, Arc::default())
    }

    /// On a node that finds what another has kept.
    fn after(settings: Settings, kept: Shelves) -> Self {
        let (sender, ups) = mpsc::channel(64);
        let stage = Arc::new(Stage {
            now: AtomicU64::new(START),
            proposals: Mutex::default(),
            pauses: Mutex::default(),
            batches: Mutex::default(),
            hints: Mutex::default(),
            queued: Mutex::default(),
            surges: Mutex::default(),
            said: Mutex::default(),
            ups: sender,
            falls_at_next_proposal: AtomicBool::new(false),
            is_away: AtomicBool::new(false),
            kept,
            is_unreadable: AtomicBool::new(false),
            is_slow: watch::Sender::new(false),
            turns: AtomicU64::new(0),
            turns_at_clock: AtomicU64::new(0),
            turns_at_proposal: AtomicU64::new(u64::MAX),
            turns_at_hint: AtomicU64::new(u64::MAX),
        });
        let regions = Regions::start(settings, stage.clone()).expect("tests run on Tokio");
        Self { stage, regions, ups, listed: BTreeMap::new() }
    }

    fn new() -> Self {
        Self::with(settings())
    }

    fn now(&self) -> Timestamp {
        self.stage.now()
    }

    fn later(&self, ms: u64) {
        self.stage.now.fetch_add(ms, Ordering::SeqCst);
    }

    fn list(&mut self, entity: EntityKey, new: Option<Listing>) {
        let old = match &new {
            Some(new) => self.listed.insert(entity, new.clone()),
            None => self.listed.remove(&entity),
        };
        self.regions.list(entity, old.as_ref(), new.as_ref());
    }

    /// Driver `n` is free at this point.
    fn driver(&mut self, n: u64, at: Point) {
        self.driver_with(n, at, |_| ());
    }

    fn driver_with(&mut self, n: u64, at: Point, change: impl FnOnce(&mut DriverCard)) {
        let vehicle = Vehicle { kind: VehicleKind::Moto, capacity_g: 20_000, skills: vec![] };
        let card = DriverCard::nth(n, Arc::new(vehicle), at, self.now());
        let mut card = DriverCard { n_slots: 5, ..card };
        change(&mut card);
        let listing = Listing { region: RegionId::at(at), card: Card::Driver(card) };
        self.list(DriverId::nth(n).into(), Some(listing));
    }

    /// Somebody at this point wants ride `n`.
    fn ride(&mut self, n: u64, at: Point, policy: OfferPolicy) {
        self.ride_with(n, at, policy, |_| ());
    }

    fn ride_with(
        &mut self,
        n: u64,
        at: Point,
        policy: OfferPolicy,
        change: impl FnOnce(&mut SearchCard),
    ) {
        let mut card = SearchCard { policy, ..SearchCard::nth(n, at, self.now()) };
        change(&mut card);
        let listing = Listing { region: RegionId::at(at), card: Card::Search(Box::new(card)) };
        self.list(OrderId::nth(n).into(), Some(listing));
    }

    fn driver_gone(&mut self, n: u64) {
        self.list(DriverId::nth(n).into(), None);
    }

    fn ride_gone(&mut self, n: u64) {
        self.list(OrderId::nth(n).into(), None);
    }

    /// So many drivers have nothing to do and may be sent elsewhere: they were here a minute ago, when so many asked a
    /// kilometre and a half away.
    async fn idle_drivers(&mut self, n_drivers: u64, n_asking: u64) {
        (1..=n_drivers).for_each(|n| self.driver_with(n, KIGALI, |card| card.takes_hints = true));
        // Nobody is proposed for what is in the feed.
        let rides = 1_000..1_000 + n_asking;
        let sides = [1_500.0, -1_500.0].map(|east_m| KIGALI.offset_m(east_m, 0.0));
        let is_near = |it: &Point| RegionId::at(*it) == RegionId::at(KIGALI);
        let busy = sides.into_iter().find(is_near).expect("a region is wider than that");
        rides.clone().for_each(|n| self.ride(n, busy, OfferPolicy::Feed));
        self.tick().await;
        rides.for_each(|n| self.ride_gone(n));
        self.later(60_000);
    }

    /// One tick, and what it proposed.
    async fn tick(&self) -> Vec<(JobId, Vec<DriverId>)> {
        self.regions.tick().await;
        std::mem::take(&mut self.stage.proposals.lock().expect("no test panics holding it"))
    }

    fn n_listed(&self) -> (usize, usize) {
        let stats = self.regions.stats();
        stats.iter().fold((0, 0), |(drivers, searches), (_, it)| {
            (drivers + it.n_drivers, searches + it.n_searches)
        })
    }
}

fn job(n: u64) -> JobId {
    JobId::Order(OrderId::nth(n))
}

fn pair(job_n: u64, driver_n: u64) -> (JobId, Vec<DriverId>) {
    (job(job_n), vec![DriverId::nth(driver_n)])
}

/// Two points 200 m apart, on either side of the border between two regions.
fn border() -> (Point, Point) {
    let home = RegionId::at(KIGALI);
    let far = (0..)
        .map(|n| KIGALI.offset_m(f64::from(n) * 50.0, 0.0))
        .find(|it| RegionId::at(*it) != home)
        .expect("regions end somewhere");
    let sides = (far.offset_m(-100.0, 0.0), far.offset_m(100.0, 0.0));
    assert_ne!(RegionId::at(sides.0), RegionId::at(sides.1));
    sides
}

#[tokio::test(flavor = "multi_thread")]
async fn deliveries_are_kept_for_company_but_not_for_long() {
    let mut play = Play::new();
    play.driver(1, KIGALI);
    let until = Timestamp(START + 600_000);
    let batch = |now: Timestamp| batch::Batch { asked: now, ready: now, promise: None, until };
    let delivery = |play: &mut Play, n: u64| {
        let (now, at) = (play.now(), KIGALI.offset_m(100.0 * n as f64, 0.0));
        play.ride_with(n, at, OfferPolicy::BatchOptimal, |card| {
            card.work = WorkKind::Delivery;
            card.dropoff = Some(KIGALI.offset_m(2_000.0, 50.0 * n as f64));
            card.batch = Some(batch(now));
        });
    };
    delivery(&mut play, 1);
    assert_eq!(play.tick().await, [], "somebody may come along");
    let hold_ms = u64::from(batch::Settings::default().hold_ms);
    play.later(hold_ms);
    play.driver(1, KIGALI);
    assert_eq!(play.tick().await, [pair(1, 1)], "nobody did");
    play.ride_gone(1);
    // Two that come together are brought together, and asked about neither alone nor to anybody else.
    play.later(60_000);
    play.driver(1, KIGALI);
    delivery(&mut play, 2);
    delivery(&mut play, 3);
    assert_eq!(play.tick().await, []);
    let proposed = std::mem::take(&mut *play.stage.batches.lock().unwrap());
    let [batch::Proposal::Run(together)] = proposed.as_slice() else { panic!("{proposed:?}") };
    let orders: Vec<_> = together.orders.iter().map(|(order, round)| (*order, *round)).collect();
    assert_eq!((together.driver, orders.len()), (DriverId::nth(1), 2));
    assert!(orders.contains(&(OrderId::nth(2), 1)) && orders.contains(&(OrderId::nth(3), 1)));
    // It came to nothing: after the hold each is on its own again.
    play.later(hold_ms);
    play.driver(1, KIGALI);
    play.driver(2, KIGALI);
    play.regions.tick().await;
    let alone = std::mem::take(&mut *play.stage.proposals.lock().unwrap());
    let again = std::mem::take(&mut *play.stage.batches.lock().unwrap());
    assert!(alone.len() == 2 || again.len() == 1, "{alone:?} {again:?}");
    play.regions.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn whoever_looks_for_a_driver_is_served_before_anything_is_counted_or_planned() {
    let mut play = Play::new();
    play.idle_drivers(6, 20).await;
    play.ride(1, KIGALI, OfferPolicy::Sequential);
    let (asked, until) = (play.now(), play.now() + Duration::from_secs(600));
    for n in [2, 3] {
        play.ride_with(
            n,
            KIGALI.offset_m(100.0 * n as f64, 0.0),
            OfferPolicy::BatchOptimal,
            |card| {
                card.work = WorkKind::Delivery;
                card.dropoff = Some(KIGALI.offset_m(2_000.0, 50.0 * n as f64));
                card.batch = Some(batch::Batch { asked, ready: asked, promise: None, until });
            },
        );
    }
    assert_eq!(play.tick().await.len(), 1);
    let said = play.stage.said.lock().unwrap();
    assert!(said.contains(&"hint") && said.contains(&"batch"), "{said:?}");
    assert_eq!(said[0], "propose", "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn drivers_are_sent_to_wait_elsewhere_over_several_ticks_and_nobody_twice() {
    let mut play = Play::new();
    play.idle_drivers(50, 20).await;
    let sent = |play: &Play| -> Vec<DriverId> {
        let hints = std::mem::take(&mut *play.stage.hints.lock().unwrap());
        hints.into_iter().map(|(driver, _)| driver).collect()
    };
    let mut all = Vec::new();
    for n in [20, 20] {
        play.tick().await;
        let some = sent(&play);
        assert_eq!(some.len(), n);
        all.extend(some);
        play.later(1_000);
    }
    // Of those who are left, one has gone home.
    let left = (1..=50).find(|n| !all.contains(&DriverId::nth(*n))).unwrap();
    play.driver_gone(left);
    play.tick().await;
    let rest = sent(&play);
    assert!(!rest.contains(&DriverId::nth(left)));
    all.extend(rest);
    assert_eq!(all.iter().collect::<HashSet<_>>().len(), all.len(), "{all:?}");
    assert_eq!(all.len(), 49);
    play.tick().await;
    assert_eq!(sent(&play), []);
}

/// Whether others have their turn within one tick of what `arrange` sets up, between the clock and what `until` counts. On one
/// thread, where nothing else has a turn unless the region lets go of it; who lets go may find its work done before it looks
/// away, on a busy machine nearly every time, so it has many goes.
async fn others_have_their_turn(
    arrange: impl AsyncFn(&mut Play),
    until: impl Fn(&Stage) -> &AtomicU64,
) -> bool {
    for _ in 0..200 {
        let mut play = Play::new();
        arrange(&mut play).await;
        let stage = play.stage.clone();
        let others = tokio::spawn(async move {
            loop {
                stage.turns.fetch_add(1, Ordering::SeqCst);
                tokio::task::yield_now().await;
            }
        });
        play.tick().await;
        others.abort();
        let end = until(&play.stage).load(Ordering::SeqCst);
        assert_ne!(end, u64::MAX, "the tick came to what was waited for");
        if end > play.stage.turns_at_clock.load(Ordering::SeqCst) {
            return true;
        }
    }
    false
}

#[tokio::test]
async fn nobody_is_kept_waiting_while_it_is_found_out_where_drivers_had_better_wait() {
    let idle = async |play: &mut Play| play.idle_drivers(6, 20).await;
    assert!(others_have_their_turn(idle, |stage| &stage.turns_at_hint).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_on_the_other_side_of_a_border_is_proposed() {
    let mut play = Play::new();
    let (here, there) = border();
    play.driver(1, there);
    play.ride(1, here, OfferPolicy::BatchOptimal);
    // A roster shows up a tick later at most, whichever region is first.
    let proposals = [play.tick().await, play.tick().await].concat();
    assert_eq!(proposals, [pair(1, 1)]);
}

/// Two points 200 m apart in different regions: first the one in the region that ticks first.
fn first_and_second() -> (Point, Point) {
    let (west, east) = border();
    if RegionId::at(west) < RegionId::at(east) { (west, east) } else { (east, west) }
}

#[tokio::test(flavor = "multi_thread")]
async fn who_was_just_proposed_by_a_neighbour_is_not_proposed_by_another_region() {
    let (first, second) = first_and_second();
    let mut play = Play::new();
    play.driver(1, second);
    play.tick().await;
    // When the first one is matched the second has not told yet that somebody waits right beside the driver.
    play.ride(1, first, OfferPolicy::Sequential);
    play.ride(2, second, OfferPolicy::Sequential);
    assert_eq!(play.tick().await, [pair(1, 1)]);
    play.later(1_000);
    assert_eq!(play.tick().await, []);
    // It had another offer, say.
    play.ride_gone(1);
    play.later(1_000);
    assert_eq!(play.tick().await, [pair(2, 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_left_for_a_ride_beyond_the_border_that_has_just_got_its_driver() {
    let (first, second) = first_and_second();
    let mut play = Play::new();
    play.driver(1, first);
    play.driver(2, first.towards(second, 0.3));
    play.tick().await;
    play.ride(1, first, OfferPolicy::Sequential);
    play.ride(2, second, OfferPolicy::Sequential);
    // The first ride is nearer to the second driver as well, and does not need it.
    assert_eq!(play.tick().await, [pair(1, 1), pair(2, 2)]);
}

fn paused(zone: ZoneId, until: Option<Timestamp>) -> Standing {
    let reason = "a flood".to_owned();
    let pause = Some(ZonePause { zone, since: Timestamp(START), until, reason });
    Standing { nth: 1, pause, surge: None, set: None, changed_at: Timestamp(START) }
}

fn surged(percent: u32, at: Timestamp) -> Standing {
    let surge = Some(Multiplier { percent, at });
    Standing { nth: 1, pause: None, surge, set: None, changed_at: at }
}

/// What jobs were told of their zones since the last time.
fn told(play: &Play) -> Vec<(JobId, Option<String>)> {
    let told = std::mem::take(&mut *play.stage.pauses.lock().expect("no test panics holding it"));
    told.into_iter().map(|(job, pause)| (job, pause.map(|it| it.reason))).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn in_a_paused_zone_nobody_is_proposed_and_jobs_are_told_until_they_show_it() {
    let mut play = Play::new();
    play.driver(1, KIGALI);
    play.ride(1, KIGALI, OfferPolicy::Sequential);
    play.ride_with(2, KIGALI, OfferPolicy::Sequential, |card| card.work = WorkKind::Rescue);
    let zone = zones_at(KIGALI).nth(3).expect("a zone of a few square kilometres");
    let end = Timestamp(START) + Duration::from_secs(60);
    play.regions.zones().take_in([(zone, paused(zone, Some(end)))]);
    assert_eq!(play.tick().await, [pair(2, 1)], "a rescue is not kept waiting");
    let flood = Some("a flood".to_owned());
    assert_eq!(told(&play), [(job(1), flood.clone())]);
    assert_eq!((play.tick().await, told(&play)), (vec![], vec![]), "it is given time to show it");
    let seen = play.regions.rounds_of(job(1));
    assert_eq!(seen.last().map(|it| it.verdict), Some(Verdict::ZonePaused));
    let at = Some(KIGALI.offset_m(100.0, 0.0));
    let chances = play.regions.chances_of(DriverId::nth(2), at, Timestamp(START));
    let why = chances.iter().find(|(it, _)| *it == job(1)).and_then(|(_, chance)| chance.why);
    assert_eq!(why, Some(WhyNot::ZonePaused));

    play.later(2_000);
    play.tick().await;
    assert_eq!(told(&play), [(job(1), flood)], "it has not shown it: told again");
    let knows = Paused { zone, until: Some(end), stale_at: None };
    let wait = |card: &mut SearchCard| (card.n_wanted, card.paused) = (0, Some(knows));
    play.ride_with(1, KIGALI, OfferPolicy::Sequential, wait);
    play.ride_gone(2);
    assert_eq!((play.tick().await, told(&play)), (vec![], vec![]), "it knows");

    // A node that does not know yet what is paused lets nobody go on.
    let mut fresh = Play::new();
    fresh.driver(1, KIGALI);
    fresh.ride_with(1, KIGALI, OfferPolicy::Sequential, |card| card.paused = Some(knows));
    assert_eq!((fresh.tick().await, told(&fresh)), (vec![], vec![]));

    // Over, or resumed before that.
    let resumed = Standing { nth: 2, pause: None, surge: None, set: None, changed_at: play.now() };
    play.regions.zones().take_in([(zone, resumed)]);
    assert_eq!((play.tick().await, told(&play)), (vec![], vec![(job(1), None)]));
    play.ride(1, KIGALI, OfferPolicy::Sequential);
    play.driver(1, KIGALI);
    play.later(2_000);
    assert_eq!(play.tick().await, [pair(1, 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_multiplier_is_written_down_once_and_gone_on_from_where_it_was() {
    let often = surge::Settings { every_ms: 1_000, ..surge::Settings::default() };
    let counting = || Play::with(Settings { surge: often.clone(), ..settings() });
    let written =
        |play: &Play| std::mem::take(&mut *play.stage.surges.lock().expect("nobody panics"));
    let zone = neighbourhood(KIGALI);
    let middle = middle_of(zone).expect("a zone has one");
    let mut play = counting();
    for n in 1..=5 {
        play.ride(n, middle, OfferPolicy::Sequential);
    }
    play.tick().await;
    play.later(1_000);
    play.tick().await;
    assert_eq!(written(&play), [], "what was written down before is not known yet");
    play.regions.zones().take_in([]);
    play.later(1_000);
    play.tick().await;
    let [(first, percent)] = written(&play)[..] else { panic!("one zone") };
    assert!(first == zone && percent >= 130, "{first} {percent}");
    play.later(1_000);
    play.tick().await;
    assert_eq!(written(&play).len(), 1, "it was not: it is said again");
    play.regions.zones().take_in([(zone, surged(percent, play.now()))]);
    play.later(1_000);
    play.tick().await;
    assert_eq!(written(&play), [], "not so soon, however it moves");

    // While staff say what it is, what is counted is not written down; and at once when that is over.
    let later = play.now() + SURGE_EVERY;
    let until = later + Duration::from_secs(10);
    let (by, reason) = (Principal::Dispatcher, "a concert".to_owned());
    let set = Some(ByStaff { percent: 100, at: play.now(), until, by, reason });
    let before = surged(100, play.now());
    play.regions.zones().take_in([(zone, Standing { nth: 2, set, ..before })]);
    play.later(SURGE_EVERY.as_millis() as u64);
    play.tick().await;
    assert_eq!(written(&play), []);
    play.later(10_000);
    play.tick().await;
    assert_eq!(written(&play).len(), 1);

    // Whoever matches there next goes on from it.
    let mut next = counting();
    next.regions.zones().take_in([(zone, surged(160, next.now()))]);
    next.driver(1, middle);
    next.tick().await;
    next.later(1_000);
    next.tick().await;
    let demand = next.regions.demand();
    let (_, cell) = demand.iter().find(|(it, _)| *it == zone).expect("counted");
    let change = cell.changes[0];
    assert_eq!((change.cause, change.to_percent), (Cause::Restored, 160));
    assert!((USUAL + 1..160).contains(&cell.percent), "it falls from there: {}", cell.percent);
}

/// A place in a zone whose middle lies in another region, and that middle.
fn astride() -> (Point, ZoneId, Point) {
    let belongs_to = |at| RegionId::at(middle_of(neighbourhood(at)).expect("a zone has one"));
    let is_beyond = |at: &Point| RegionId::at(*at) != belongs_to(*at);
    let east = (0..2_000).map(|n| KIGALI.offset_m(f64::from(n) * 50.0, 0.0));
    let beyond = { east }.find(is_beyond).expect("regions are not made of whole zones");
    let zone = neighbourhood(beyond);
    (beyond, zone, middle_of(zone).expect("a zone has one"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_whose_own_region_wakes_goes_on_from_what_its_neighbour_told_of_it() {
    let often = surge::Settings { every_ms: 1_000, ..surge::Settings::default() };
    let (beyond, zone, middle) = astride();
    let told = |play: &Play| {
        let mut told = play.regions.demand();
        told.retain(|(it, _)| *it == zone);
        told.into_iter().map(|(_, cell)| cell).collect::<Vec<_>>()
    };
    let mut play = Play::with(Settings { surge: often.clone(), ..settings() });
    play.regions.zones().take_in([]);
    (1..=5).for_each(|n| play.ride(n, beyond, OfferPolicy::Sequential));
    for _ in 0..5 {
        play.tick().await;
        play.later(1_000);
    }
    let told_before = told(&play);
    let [before] = &told_before[..] else { panic!("once: {told_before:?}") };
    assert!(before.percent > 130, "more than it rises at once: {}", before.percent);

    // It wakes, and is told on by its neighbour until it counts.
    play.driver(1, middle);
    play.tick().await;
    play.later(1_000);
    play.tick().await;
    play.later(1_000);
    play.tick().await;
    let told_now = told(&play);
    let [after] = &told_now[..] else { panic!("once: {told_now:?}") };
    assert_eq!(after.count.n_free, 1, "its own region counts all of it");
    let first = after.changes[0];
    assert_eq!((first.cause, first.from_percent), (Cause::Restored, USUAL));
    let most = often.percent_max;
    assert!((before.percent..=most).contains(&first.to_percent), "{first:?}");
    assert!((before.percent..=most).contains(&after.percent), "{}", after.percent);

    // And who begins to tell of it, because its own region sleeps, goes on from what was written down.
    let mut next = Play::with(Settings { surge: often, ..settings() });
    next.regions.zones().take_in([(zone, surged(160, next.now()))]);
    next.driver(1, beyond);
    next.tick().await;
    next.later(1_000);
    next.tick().await;
    let told_now = told(&next);
    let [cell] = &told_now[..] else { panic!("once: {told_now:?}") };
    let first = cell.changes[0];
    assert_eq!((first.cause, first.to_percent), (Cause::Restored, 160));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_zone_astride_two_regions_is_told_once_with_all_that_is_in_it() {
    let often = surge::Settings { every_ms: 1_000, ..surge::Settings::default() };
    let mut play = Play::with(Settings { surge: often, ..settings() });
    let (beyond, zone, middle) = astride();
    play.driver(1, beyond);
    (1..=3).for_each(|n| play.ride(n, middle, OfferPolicy::Sequential));
    for _ in 0..3 {
        play.tick().await;
        play.later(1_000);
    }
    let mut told = play.regions.demand();
    told.retain(|(it, _)| *it == zone);
    let [(_, cell)] = &told[..] else { panic!("once: {told:?}") };
    assert_eq!((cell.count.n_waiting, cell.count.n_free), (3, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_that_comes_back_goes_on_from_what_was_written_down_meanwhile() {
    let often = surge::Settings { every_ms: 1_000, ..surge::Settings::default() };
    let mut play = Play::with(Settings { surge: often, ..settings() });
    let zone = neighbourhood(KIGALI);
    let middle = middle_of(zone).expect("a zone has one");
    let cell = |play: &Play| {
        let demand = play.regions.demand();
        demand.into_iter().find(|(it, _)| *it == zone).expect("counted").1
    };
    play.regions.zones().take_in([]);
    (1..=5).for_each(|n| play.ride(n, middle, OfferPolicy::Sequential));
    play.tick().await;
    play.later(1_000);
    play.tick().await;
    let before = cell(&play);
    assert_eq!(before.changes[0].cause, Cause::Counted);
    assert!(before.percent > USUAL, "nobody is free: {}", before.percent);

    // Its shard is elsewhere for less than it takes to count.
    play.stage.is_away.store(true, Ordering::SeqCst);
    (1..=5).for_each(|n| play.ride_gone(n));
    play.driver(1, middle);
    play.tick().await;
    play.regions.zones().take_in([(zone, surged(160, play.now()))]);
    play.stage.is_away.store(false, Ordering::SeqCst);
    play.later(1_000);
    play.tick().await;
    let after = cell(&play);
    let first = after.changes[0];
    assert_eq!((first.cause, first.from_percent, first.to_percent), (Cause::Restored, USUAL, 160));
    assert!((USUAL + 1..=160).contains(&after.percent), "from there: {}", after.percent);
}

#[tokio::test(flavor = "multi_thread")]
async fn where_drivers_line_up_who_came_first_is_asked_first_and_knows_its_turn() {
    let (lat, lon) = (KIGALI.lat, KIGALI.lon);
    let rank = Rank { name: "airport".to_owned(), lat, lon, radius_m: 400, grace_ms: 60_000 };
    let mut play = Play::with(Settings { ranks: vec![rank], ..settings() });
    play.driver(1, KIGALI.offset_m(300.0, 0.0));
    play.tick().await;
    play.later(1_000);
    play.driver(2, KIGALI);
    play.tick().await;
    let turn = |play: &Play, n| play.regions.turn_of(DriverId::nth(n)).map(|(_, at, of)| (at, of));
    assert_eq!((turn(&play, 1), turn(&play, 2)), (Some((1, 2)), Some((2, 2))));
    play.ride(1, KIGALI, OfferPolicy::Sequential);
    assert_eq!(play.tick().await, [pair(1, 1)], "not who is nearest");
    play.ride_gone(1);
    play.driver_gone(1);
    play.ride(2, KIGALI, OfferPolicy::Sequential);
    assert_eq!(play.tick().await, [pair(2, 2)]);
    assert_eq!(turn(&play, 1), None);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_waits_is_told_where_in_the_queue_and_when_somebody_could_come() {
    let mut play = Play::new();
    let told = |play: &Play| {
        let mut told = play.stage.queued.lock().expect("no test panics holding it");
        let told = std::mem::take(&mut *told);
        told.into_iter().map(|(job, it)| (job, it.position, it.eta)).collect::<Vec<_>>()
    };
    for n in [1, 2] {
        play.ride_with(n, KIGALI, OfferPolicy::BatchOptimal, |card| card.radius_m = 9_000);
        play.later(1);
    }
    play.tick().await;
    assert_eq!(told(&play), [], "most have a driver in a moment");
    play.later(3_000);
    play.tick().await;
    let [one, two] = [1, 2].map(|n| JobId::Order(OrderId::nth(n)));
    assert_eq!(told(&play), [(one, 1, None), (two, 2, None)]);
    // Too far away to be bound yet, but somebody.
    let sides = [4_000.0, -4_000.0].map(|east_m| KIGALI.offset_m(east_m, 0.0));
    let is_near = |it: &Point| RegionId::at(*it) == RegionId::at(KIGALI);
    play.later(5_000);
    play.driver(1, sides.into_iter().find(is_near).expect("a region is wider than that"));
    assert_eq!(play.tick().await, []);
    assert_eq!(told(&play), [], "nobody has moved up");
    play.ride_gone(1);
    play.later(5_000);
    assert_eq!(play.tick().await, []);
    let told = told(&play);
    let [(_, 1, Some(eta))] = told.as_slice() else { panic!("{told:?}") };
    assert!((715..=725).contains(&eta.s) && eta.low_s < eta.s && eta.s < eta.high_s, "{eta:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_is_under_way_is_expected_as_its_region_has_learned_how_ways_go() {
    let mut play = Play::new();
    let to = KIGALI.offset_m(1_000.0, 0.0);
    let (pickup, dropoff) = (StopKind::Pickup, StopKind::Dropoff);
    let only = JobId::Order(OrderId::nth(1));
    let expected = |play: &Play, halts: &[(JobId, StopKind, Point)], now| {
        let halt =
            |(job, what, at): &(JobId, StopKind, Point)| Halt { job: *job, what: *what, at: *at };
        let journey = Journey {
            driver: DriverId::nth(1),
            vehicle: VehicleKind::Moto,
            region: RegionId::at(to),
            from: KIGALI,
            halts: halts.iter().map(halt).collect(),
        };
        play.regions.etas(&journey, now)
    };
    let there_and_back = [(only, pickup, to), (only, dropoff, KIGALI)];
    let s = |it: &Etas| [it.pickup, it.next, it.arrival].map(|eta| eta.map(|it| it.s));
    let started_at = play.now();
    let before = expected(&play, &there_and_back, started_at);
    let [(job, etas)] = &before[..] else { panic!("{before:?}") };
    assert_eq!((*job, etas.at), (only, started_at));
    assert_eq!(s(etas), [Some(180), None, Some(360)]);
    let way_back = expected(&play, &[(only, dropoff, to)], started_at);
    assert_eq!(s(&way_back[0].1), [None, None, Some(180)]);
    let by_two = [(only, dropoff, to), (only, dropoff, KIGALI), (only, dropoff, to)];
    let by_two = expected(&play, &by_two, started_at);
    assert_eq!(s(&by_two[0].1), [None, Some(180), Some(540)], "the next stop is not the last");

    // Of what is brought together each is expected after all that comes before it.
    let other = JobId::Order(OrderId::nth(2));
    let run =
        [(only, pickup, to), (other, pickup, KIGALI), (other, dropoff, to), (only, dropoff, to)];
    let run = expected(&play, &run, started_at);
    let of = |job| run.iter().find(|(it, _)| *it == job).map(|(_, etas)| s(etas));
    assert_eq!(of(only), Some([Some(180), None, Some(540)]));
    assert_eq!(of(other), Some([Some(360), None, Some(540)]));

    // They come that way in twice the time.
    for n in 1..=40 {
        let left_at = Timestamp(START - 600_000 + n);
        let came = Came { from: KIGALI, to, left_at, took_ms: 360_000 };
        play.driver_with(n, to, |card| card.came = Some(Arc::new(came)));
    }
    play.tick().await;
    assert_eq!(expected(&play, &there_and_back, started_at), before, "not with every tick");
    play.later(30_000);
    play.tick().await;
    let after = expected(&play, &there_and_back, play.now());
    let comes = after[0].1.pickup.expect("it is on its way");
    assert!(comes.s > 240 && comes.low_s <= comes.s && comes.s <= comes.high_s, "{after:?}");
}

/// How many rides of a random city over several regions are served within 40 seconds. Each has the
/// number of a driver who starts somewhere else.
async fn served_in_a_city(rings: u8) -> usize {
    let mut play = Play::with(Settings { rings, ..settings() });
    city(|n, pickup, at| {
        play.driver(n, at);
        play.ride_with(n, pickup, OfferPolicy::BatchOptimal, |card| card.radius_m = RADIUS_M);
    });
    let mut n_served = 0;
    for _ in 0..40 {
        // Two regions may propose one driver, who says yes to the first; the second search goes on.
        let mut busy = HashSet::new();
        for (job, drivers) in play.tick().await {
            let is_first = busy.insert(drivers[0]);
            n_served += usize::from(is_first);
            let listing = play.listed.get(&job.into()).filter(|_| !is_first).cloned();
            play.list(job.into(), listing);
        }
        busy.into_iter().for_each(|driver| play.list(driver.into(), None));
        play.later(1_000);
    }
    n_served
}

/// The same with everything in one place, at the same pace.
async fn served_by_one_who_sees_everyone() -> usize {
    let (mut drivers, mut rides) = (BTreeMap::new(), BTreeMap::new());
    let mut play = Play::new();
    city(|n, pickup, at| {
        play.driver(n, at);
        play.ride_with(n, pickup, OfferPolicy::BatchOptimal, |card| card.radius_m = RADIUS_M);
    });
    for listing in std::mem::take(&mut play.listed).into_values() {
        match listing.card {
            Card::Driver(card) => drop(drivers.insert(card.id, Arc::new(card))),
            Card::Search(card) => drop(rides.insert(card.job, *card)),
            Card::Run(_) => {}
        }
    }
    let (mut field, settings) = (Field::new(KIGALI), settings().matching);
    let router = settings.straight();
    for _ in 0..40 {
        field.fill(drivers.values().cloned(), &router);
        let terms = Terms {
            router: &router,
            settings: &settings,
            now: play.now(),
            pairing: Pairing::Joint,
        };
        let outcome = round(rides.values(), [], &field, &terms);
        for proposal in outcome.proposals {
            rides.remove(&proposal.job);
            drivers.remove(&proposal.candidates[0].driver);
        }
        play.later(1_000);
    }
    N_CITY as usize - rides.len()
}

const N_CITY: u64 = 300;
/// Near enough to be released from the hold within 40 seconds.
const RADIUS_M: u32 = 2_500;

/// Rides and drivers, each somewhere on 30 x 30 km.
fn city(mut list: impl FnMut(u64, Point, Point)) {
    let mut random = StdRng::seed_from_u64(5);
    let mut place =
        || KIGALI.offset_m(random.random_range(-15e3..15e3), random.random_range(-15e3..15e3));
    (0..N_CITY).for_each(|n| list(n, place(), place()));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_ring_serves_more_and_about_as_many_as_one_who_sees_everyone() {
    let own_cell_only = served_in_a_city(0).await;
    let with_ring = served_in_a_city(1).await;
    let everyone = served_by_one_who_sees_everyone().await;
    assert!(own_cell_only < with_ring, "{own_cell_only} without the ring, {with_ring} with it");
    assert!(with_ring * 100 >= everyone * 97, "{with_ring} with the ring, {everyone} in one place");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fallen_region_starts_empty_asks_for_listings_and_goes_on() {
    let mut play = Play::new();
    play.driver(1, KIGALI);
    play.ride(1, KIGALI, OfferPolicy::Sequential);
    let elsewhere = Point { lat: 40.7, lon: -74.0 };
    play.driver(2, elsewhere);
    play.stage.falls_at_next_proposal.store(true, Ordering::SeqCst);
    assert_eq!(play.tick().await, []);
    let home = RegionId::at(KIGALI);
    let mut ups = HashSet::new();
    let mut n_home = 0;
    // Each region came up once, and the fallen one a second time.
    while n_home < 2 || ups.len() < 2 {
        let up = play.ups.recv().await.unwrap();
        ups.insert(up);
        n_home += usize::from(up == home);
    }
    play.later(1_000);
    assert_eq!(play.tick().await, [], "the successor knows nobody");
    assert_eq!(play.n_listed(), (1, 0), "the other region is as it was");

    play.driver(1, KIGALI);
    play.ride(1, KIGALI, OfferPolicy::Sequential);
    assert_eq!(play.tick().await, [pair(1, 1)]);
    let stats = play.regions.stats();
    let (_, home) = stats.iter().find(|(region, _)| *region == home).unwrap();
    assert_eq!((home.n_falls, home.n_drivers, home.n_searches), (1, 1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_survives_falling_again_and_again() {
    let mut play = Play::new();
    play.driver(1, KIGALI);
    play.ups.recv().await.unwrap();
    for n_falls in 1..=3 {
        play.driver(1, KIGALI);
        play.ride(1, KIGALI, OfferPolicy::Sequential);
        play.stage.falls_at_next_proposal.store(true, Ordering::SeqCst);
        assert_eq!(play.tick().await, []);
        play.ups.recv().await.unwrap();
        assert_eq!(play.regions.stats()[0].1.n_falls, n_falls);
    }
    play.driver(1, KIGALI);
    play.ride(1, KIGALI, OfferPolicy::Sequential);
    assert_eq!(play.tick().await, [pair(1, 1)]);
}

/// The last points of the middle region on the way from its middle to the west and to the east.
fn ends() -> (Point, Point) {
    let home = RegionId::at(KIGALI);
    let last = |step_m: f64| {
        let way = (0..).map(|n| KIGALI.offset_m(f64::from(n) * step_m, 0.0));
        way.take_while(|it| RegionId::at(*it) == home).last().expect("it is in it itself")
    };
    (last(-100.0), last(100.0))
}

/// In how many parts each region was matched last.
fn n_parts(play: &Play) -> usize {
    play.regions.stats().iter().map(|(_, stats)| stats.n_parts).max().expect("there is one")
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hot_region_is_matched_in_parts_until_it_has_cooled_and_no_search_is_lost() {
    let mut play = Play::with(Settings { split_at: 100, ..settings() });
    let (west, east) = ends();
    let mut random = StdRng::seed_from_u64(9);
    let mut place = || west.towards(east, random.random_range(0.0..1.0));
    for n in 0..60 {
        play.driver(n, place());
        play.ride_with(n, place(), OfferPolicy::Sequential, |card| card.radius_m = 30_000);
    }
    let (mut served, mut busy) = (HashSet::new(), HashSet::new());
    let mut was_split = false;
    for _ in 0..6 {
        for (job, drivers) in play.tick().await {
            assert!(served.insert(job), "{job} twice");
            assert!(busy.insert(drivers[0]), "{} twice", drivers[0]);
            play.list(job.into(), None);
            play.list(drivers[0].into(), None);
        }
        was_split |= n_parts(&play) > 1;
        play.later(1_000);
    }
    assert!(was_split);
    assert_eq!((served.len(), play.n_listed()), (60, (0, 0)), "each ride has a driver of its own");

    // It has cooled down: what comes now is matched at once.
    play.driver(100, west);
    play.ride_with(100, east, OfferPolicy::Sequential, |card| card.radius_m = 30_000);
    assert_eq!(play.tick().await, [pair(100, 100)]);
    assert_eq!(n_parts(&play), 1);
}

#[tokio::test(flavor = "multi_thread")]
async fn whose_driver_is_in_no_part_near_is_served_all_the_same_in_the_same_tick() {
    let mut play = Play::with(Settings { split_at: 20, ..settings() });
    let (west, east) = ends();
    for n in 0..20 {
        play.driver(n, east);
    }
    for n in 0..3 {
        play.ride_with(n, west, OfferPolicy::Sequential, |card| card.radius_m = 30_000);
        play.ride_with(10 + n, east, OfferPolicy::Sequential, |card| card.radius_m = 30_000);
    }
    let proposals = play.tick().await;
    assert_eq!(n_parts(&play), 2);
    let jobs: HashSet<JobId> = proposals.iter().map(|(job, _)| *job).collect();
    let drivers: HashSet<DriverId> = proposals.iter().map(|(_, drivers)| drivers[0]).collect();
    assert_eq!((jobs.len(), drivers.len()), (6, 6));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hot_region_is_matched_at_once_while_few_wait_in_it() {
    let mut play = Play::with(Settings { split_at: 40, ..settings() });
    let (west, east) = ends();
    for n in 0..60 {
        play.driver(n, if n % 2 == 0 { west } else { east });
    }
    play.ride(100, west, OfferPolicy::Sequential);
    play.ride(101, east, OfferPolicy::Sequential);
    assert_eq!(play.tick().await.len(), 2);
    assert_eq!(n_parts(&play), 1, "each driver would be looked at several times");
    for n in 110..130 {
        play.ride(n, if n % 2 == 0 { west } else { east }, OfferPolicy::Sequential);
    }
    assert_eq!(play.tick().await.len(), 20);
    assert_eq!(n_parts(&play), 2);
}

#[tokio::test]
async fn a_large_region_does_not_keep_others_waiting_while_it_matches() {
    let crowd = async |play: &mut Play| {
        for n in 0..1_500 {
            play.driver(n, KIGALI.offset_m((n % 50) as f64 * 20.0, (n / 50) as f64 * 20.0));
        }
        for n in 2_000..3_000 {
            play.ride(n, KIGALI.offset_m(10.0, (n % 500) as f64), OfferPolicy::Sequential);
        }
    };
    assert!(others_have_their_turn(crowd, |stage| &stage.turns_at_proposal).await);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pair_is_held_until_it_is_good_enough_for_its_age() {
    let mut play = Play::new();
    // 1,000 m take 180 s: good enough after 12 s.
    play.driver(1, KIGALI.offset_m(1_000.0, 0.0));
    play.ride(1, KIGALI, OfferPolicy::BatchOptimal);
    for second in 0..12 {
        assert_eq!(play.tick().await, [], "after {second} s");
        assert_eq!(play.regions.stats()[0].1.n_held, 1);
        play.later(1_000);
    }
    assert_eq!(play.tick().await, [pair(1, 1)]);
    assert_eq!(play.regions.stats()[0].1.n_held, 0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_better_driver_who_turns_up_ends_the_hold() {
    let mut play = Play::new();
    play.driver(1, KIGALI.offset_m(3_000.0, 0.0));
    play.ride(1, KIGALI, OfferPolicy::AutoAssign);
    assert_eq!(play.tick().await, []);
    play.driver(2, KIGALI.offset_m(100.0, 0.0));
    assert_eq!(play.tick().await, [pair(1, 2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn each_policy_gets_what_it_asks_for() {
    let wanted = [
        (OfferPolicy::Sequential, 1),
        (OfferPolicy::BroadcastFirstWins, 3),
        (OfferPolicy::TwoSided, 3),
        (OfferPolicy::BatchOptimal, 1),
        (OfferPolicy::AutoAssign, 1),
        (OfferPolicy::Direct, 1),
        (OfferPolicy::Feed, 0),
    ];
    for (policy, n_wanted) in wanted {
        let mut play = Play::new();
        (1..=5).for_each(|n| play.driver(n, KIGALI.offset_m(n as f64 * 50.0, 0.0)));
        play.ride_with(1, KIGALI, policy, |card| {
            card.n_wanted = 3;
            card.only = (policy == OfferPolicy::Direct).then(|| DriverId::nth(4));
        });
        let proposals = play.tick().await;
        let n_proposed: usize = proposals.iter().map(|(_, drivers)| drivers.len()).sum();
        assert_eq!(n_proposed, n_wanted, "{policy}");
        if policy == OfferPolicy::Direct {
            assert_eq!(proposals, [pair(1, 4)]);
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_who_crosses_a_border_is_never_nowhere_and_never_twice() {
    let mut play = Play::new();
    let (here, there) = border();
    play.driver(1, here);
    play.tick().await;
    for at in [there, here, there] {
        play.driver(1, at);
        play.tick().await;
        assert_eq!(play.n_listed(), (1, 0));
    }
    for (n, at) in [(1, here), (2, there)] {
        play.ride(n, at, OfferPolicy::Sequential);
    }
    play.tick().await;
    play.ride_gone(1);
    play.later(2_000);
    play.tick().await;
    // The driver goes back: the other side still sees it, now in the ring.
    play.driver(1, here);
    play.later(2_000);
    let proposals = [play.tick().await, play.tick().await].concat();
    assert_eq!(proposals, [pair(2, 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn of_many_positions_between_two_ticks_the_last_counts() {
    let mut play = Play::new();
    for n in (0..5_000).rev() {
        play.driver(1, KIGALI.offset_m(f64::from(n), 0.0));
    }
    play.ride(1, KIGALI, OfferPolicy::BatchOptimal);
    assert_eq!(play.tick().await, [pair(1, 1)]);
    assert_eq!(play.n_listed(), (1, 1));
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_proposed_again_before_the_last_proposal_could_show() {
    let mut play = Play::new();
    play.driver(1, KIGALI);
    play.ride(1, KIGALI, OfferPolicy::Sequential);
    assert_eq!(play.tick().await, [pair(1, 1)]);
    play.ride(2, KIGALI, OfferPolicy::Sequential);
    play.later(1_000);
    assert_eq!(play.tick().await, [], "the driver was proposed, and so was the ride");
    play.later(1_000);
    assert_eq!(play.tick().await, [pair(1, 1)], "nothing came of it");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_search_that_is_listed_anew_is_served_at_once() {
    let mut play = Play::new();
    play.driver(1, KIGALI);
    play.driver(2, KIGALI.offset_m(500.0, 0.0));
    play.ride(1, KIGALI, OfferPolicy::Sequential);
    assert_eq!(play.tick().await, [pair(1, 1)]);
    let exclude = |card: &mut SearchCard| {
        card.excluded = vec![DriverId::nth(1)];
        card.round = 2;
    };
    play.ride_with(1, KIGALI, OfferPolicy::Sequential, exclude);
    assert_eq!(play.tick().await, [pair(1, 2)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_driver_who_is_listed_anew_can_be_proposed_at_once() {
    let mut play = Play::new();
    play.driver(1, KIGALI);
    play.ride(1, KIGALI, OfferPolicy::Sequential);
    assert_eq!(play.tick().await, [pair(1, 1)]);
    // It was busy for a moment, and the first ride is gone.
    play.driver_gone(1);
    play.ride_gone(1);
    play.tick().await;
    play.driver(1, KIGALI);
    play.ride(2, KIGALI, OfferPolicy::Sequential);
    assert_eq!(play.tick().await, [pair(2, 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_new_region_lets_searches_choose_in_turn() {
    let paired = |warm_up_ms| async move {
        let mut play = Play::with(Settings { warm_up_ms, ..settings() });
        play.driver(1, KIGALI.offset_m(100.0, 0.0));
        play.driver(2, KIGALI.offset_m(-400.0, 0.0));
        play.ride(1, KIGALI, OfferPolicy::Sequential);
        play.later(1);
        play.ride(2, KIGALI.offset_m(400.0, 0.0), OfferPolicy::Sequential);
        play.tick().await
    };
    assert_eq!(paired(3_000).await, [pair(1, 1), pair(2, 2)]);
    assert_eq!(paired(0).await, [pair(1, 2), pair(2, 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_empty_region_is_forgotten_and_comes_back_when_needed() {
    let mut play = Play::new();
    play.driver(1, KIGALI);
    play.tick().await;
    play.driver_gone(1);
    play.tick().await;
    assert_eq!(play.regions.stats().len(), 1);
    play.later(60_000);
    play.tick().await;
    assert_eq!(play.regions.stats(), []);
    play.driver(1, KIGALI);
    play.ride(1, KIGALI, OfferPolicy::Sequential);
    assert_eq!(play.tick().await, [pair(1, 1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_the_end_nothing_is_kept() {
    let mut play = Play::new();
    play.driver(1, KIGALI);
    play.tick().await;
    play.regions.stop().await;
    play.driver(1, KIGALI);
    play.driver(2, Point { lat: 40.7, lon: -74.0 });
    assert_eq!(play.tick().await, []);
    assert_eq!(play.regions.stats(), []);
}

#[tokio::test(flavor = "multi_thread")]
async fn regions_tick_by_themselves() {
    let mut play = Play::with(Settings { tick_ms: 5, ..settings() });
    play.driver(1, KIGALI);
    play.ride(1, KIGALI, OfferPolicy::Sequential);
    while play.stage.proposals.lock().unwrap().is_empty() {
        tokio::task::yield_now().await;
    }
    assert_eq!(play.stage.proposals.lock().unwrap()[0], pair(1, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn nothing_listed_is_lost_while_regions_come_and_go() {
    // Regions that close as soon as they are empty, under listings from all sides.
    let settings = Settings { tick_ms: 1, linger_ms: 0, ..settings() };
    let play = Play::with(settings);
    let (here, there) = border();
    let mut crowd = tokio::task::JoinSet::new();
    for n in 0..8_u64 {
        let (stage, regions) = (play.stage.clone(), play.regions.clone());
        crowd.spawn(async move {
            let (_, ups) = mpsc::channel(1);
            let mut mine = Play { stage, regions, ups, listed: BTreeMap::new() };
            let mut random = StdRng::seed_from_u64(n);
            for step in 0..400 {
                match random.random_range(0..3) {
                    0 => mine.driver(n, here),
                    1 => mine.driver(n, there),
                    _ => mine.driver_gone(n),
                }
                if step % 8 == 0 {
                    tokio::time::sleep(Duration::from_micros(300)).await;
                }
            }
            if n.is_multiple_of(2) { mine.driver(n, here) } else { mine.driver_gone(n) }
        });
    }
    crowd.join_all().await;
    play.regions.tick().await;
    assert_eq!(play.n_listed(), (4, 0));
}

/// A rank around the middle of town.
fn at_a_rank() -> Settings {
    let (lat, lon) = (KIGALI.lat, KIGALI.lon);
    let rank = Rank { name: "airport".to_owned(), lat, lon, radius_m: 400, grace_ms: 60_000 };
    Settings { ranks: vec![rank], ..settings() }
}

/// Not at the rank, but in the same region.
fn in_town() -> Point {
    let near = [1_000.0, -1_000.0].map(|east_m| KIGALI.offset_m(east_m, 0.0));
    near.into_iter().find(|it| RegionId::at(*it) == RegionId::at(KIGALI)).expect("it is wide")
}

/// The second driver, then the first comes to the rank; and ten have come to town in twice the usual time.
async fn learn_something(play: &mut Play) {
    play.driver(2, KIGALI);
    play.tick().await;
    play.later(1_000);
    play.driver(1, KIGALI);
    for n in 101..=110 {
        let left_at = play.now() - Duration::from_millis(600_000 - n);
        let came = Came { from: KIGALI, to: in_town(), left_at, took_ms: 360_000 };
        play.driver_with(n, in_town(), |card| card.came = Some(Arc::new(came)));
    }
    play.tick().await;
}

/// How long, in seconds, the way from the rank into town takes, as the region has told.
fn way_s(play: &Play) -> Option<u32> {
    let halt = Halt { job: OrderId::nth(1).into(), what: StopKind::Pickup, at: in_town() };
    let journey = Journey {
        driver: DriverId::nth(1),
        vehicle: VehicleKind::Moto,
        region: RegionId::at(KIGALI),
        from: KIGALI,
        halts: vec![halt],
    };
    let etas = play.regions.etas(&journey, play.now());
    etas.first()?.1.pickup.map(|it| it.s)
}

fn turns(play: &Play) -> [Option<usize>; 2] {
    [1, 2].map(|n| play.regions.turn_of(DriverId::nth(n)).map(|(_, at, _)| at))
}

/// Ticks until it is so: what is read and kept has tasks of its own.
async fn until(play: &Play, step_ms: u64, is_so: impl Fn(&Play) -> bool) {
    while !is_so(play) {
        play.later(step_ms);
        play.tick().await;
        tokio::task::yield_now().await;
    }
}

/// Ticks until all has been kept, minute after minute.
async fn until_all_is_kept(play: &Play) {
    until(play, 10_000, |play| play.stage.all_kept().len() == 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_fallen_region_goes_on_from_what_it_had_learned_and_its_line_is_in_order() {
    let mut play = Play::with(at_a_rank());
    learn_something(&mut play).await;
    until_all_is_kept(&play).await;
    assert_eq!(turns(&play), [Some(2), Some(1)]);
    let knew = way_s(&play);
    assert!(knew > Some(200), "{knew:?}");

    play.ride(1, in_town(), OfferPolicy::Sequential);
    play.driver(101, in_town());
    play.stage.falls_at_next_proposal.store(true, Ordering::SeqCst);
    play.tick().await;
    play.ups.recv().await.unwrap();
    play.ups.recv().await.unwrap();
    play.ride_gone(1);
    assert_eq!(way_s(&play), Some(180), "the successor has learned nothing yet");
    play.driver(1, KIGALI);
    play.driver(2, KIGALI);
    until(&play, 0, |play| way_s(play) == knew).await;
    assert_eq!(turns(&play), [Some(2), Some(1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_that_was_closed_comes_back_knowing() {
    let mut play = Play::with(Settings { keep_every_ms: 3_600_000, ..at_a_rank() });
    learn_something(&mut play).await;
    // Lines are kept once they have moved; how ways go is not due for long.
    until(&play, 10_000, |play| !play.stage.all_kept().is_empty()).await;
    (1..=2).chain(101..=110).for_each(|n| play.driver_gone(n));
    play.tick().await;
    play.later(60_000);
    play.tick().await;
    assert_eq!(play.regions.stats(), []);
    assert_eq!(play.stage.all_kept().len(), 2);
    play.driver(1, KIGALI);
    until(&play, 0, |play| way_s(play) > Some(200)).await;
    assert_eq!(turns(&play), [Some(1), None]);
}

#[tokio::test(flavor = "multi_thread")]
async fn lines_that_move_while_they_are_being_kept_are_kept_soon() {
    // How ways go is not due for days.
    let mut play = Play::with(Settings { keep_every_ms: u32::MAX, ..at_a_rank() });
    play.stage.is_slow.send_replace(true);
    play.driver(2, KIGALI);
    until(&play, 10_000, |play| play.stage.is_slow.receiver_count() > 0).await;
    play.driver(1, KIGALI);
    play.later(30_000);
    play.tick().await;
    play.stage.is_slow.send_replace(false);
    until(&play, 0, |play| !play.stage.all_kept().is_empty()).await;
    let kept = play.stage.all_kept();
    let mut n_tried = 0;
    while play.stage.all_kept() == kept {
        assert!(n_tried < 100, "who joined meanwhile is not kept");
        n_tried += 1;
        play.later(30_000);
        play.tick().await;
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_that_moves_is_known_where_it_goes_and_nothing_older_overwrites_that() {
    let mut one = Play::with(at_a_rank());
    learn_something(&mut one).await;
    until_all_is_kept(&one).await;
    one.tick().await;
    let before = one.stage.all_kept();
    one.regions.keep(&ShardSet::NONE).await;
    assert_eq!(one.stage.all_kept(), before, "another shard is handed over");
    one.later(1_000);
    one.regions.keep(&ShardSet::ALL).await;
    let kept = one.stage.all_kept();
    assert_ne!(kept, before);

    let mut two = Play::after(at_a_rank(), Arc::clone(&one.stage.kept));
    two.stage.now.store(one.now().0 + 1_000, Ordering::SeqCst);
    one.stage.is_away.store(true, Ordering::SeqCst);
    two.driver(1, KIGALI);
    two.driver(2, KIGALI);
    until(&two, 0, |play| way_s(play) > Some(200)).await;
    assert_eq!(turns(&two), [Some(2), Some(1)]);
    one.later(600_000);
    one.tick().await;
    one.regions.keep(&ShardSet::ALL).await;
    assert_eq!(two.stage.all_kept(), kept);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_region_whose_memory_is_damaged_learns_anew_and_keeps_that() {
    let rubbish = |what| ((RegionId::at(KIGALI), what), vec![0xc1, 0x01, 0x93]);
    let kept = BTreeMap::from([Kept::Lore, Kept::Lines].map(rubbish));
    let mut play = Play::after(at_a_rank(), Arc::new(Mutex::new(kept.clone())));
    learn_something(&mut play).await;
    until(&play, 10_000, |play| play.stage.all_kept().iter().all(|(it, bytes)| kept[it] != *bytes))
        .await;
    assert_eq!(turns(&play), [Some(2), Some(1)]);
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_kept_before_it_is_known_what_was() {
    let mut one = Play::with(at_a_rank());
    learn_something(&mut one).await;
    until_all_is_kept(&one).await;
    let kept = one.stage.all_kept();
    let mut two = Play::after(at_a_rank(), Arc::clone(&one.stage.kept));
    two.stage.now.store(one.now().0, Ordering::SeqCst);
    two.stage.is_unreadable.store(true, Ordering::SeqCst);
    two.driver(1, KIGALI);
    for _ in 0..20 {
        two.later(60_000);
        two.tick().await;
        two.regions.keep(&ShardSet::ALL).await;
    }
    assert_eq!(two.stage.all_kept(), kept);
    assert_eq!(way_s(&two), Some(180));
    two.stage.is_unreadable.store(false, Ordering::SeqCst);
    until(&two, 5_000, |play| way_s(play) > Some(200)).await;
    until(&two, 60_000, |play| play.stage.all_kept() != kept).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn where_nothing_is_to_be_kept_nothing_is() {
    let mut play = Play::with(Settings { keep_every_ms: 0, ..at_a_rank() });
    learn_something(&mut play).await;
    for _ in 0..20 {
        play.later(60_000);
        play.tick().await;
    }
    play.regions.keep(&ShardSet::ALL).await;
    assert!(play.stage.all_kept().is_empty());
}

/// A rule as nodes know it: near enough, nobody counts but by stars.
fn by_stars(nth: u32, from: Timestamp, until: Timestamp) -> (RuleId, rule::Standing) {
    let weights = WeightChanges { star_ms: Some(600_000), ..WeightChanges::default() };
    let terms = RuleTerms {
        name: "stars".to_owned(),
        from: Some(from),
        until: Some(until),
        zones: vec![neighbourhood(KIGALI)],
        changes: RuleChanges { weights: Some(weights), ..RuleChanges::default() },
        ..RuleTerms::default()
    };
    let said = Said { terms, made_at: from, by: Principal::Admin, reason: "a trial".to_owned() };
    let status = rule::SET.to_owned();
    (RuleId::nth(1), rule::Standing { nth, status, changed_at: from, said })
}

#[tokio::test(flavor = "multi_thread")]
async fn nobody_is_proposed_before_it_is_known_by_which_rules_and_nobody_waits_for_long() {
    let of_a_brand = || Settings { preset: "safeboda".to_owned(), ..settings() };
    let (mut told, mut left) = (Play::with(of_a_brand()), Play::with(of_a_brand()));
    for play in [&mut told, &mut left] {
        play.driver(1, KIGALI);
        play.ride(1, KIGALI, OfferPolicy::BatchOptimal);
        assert_eq!(play.tick().await, []);
        play.later(4_999);
        assert_eq!(play.tick().await, []);
    }
    told.regions.rules().are_read();
    assert_eq!(told.tick().await, [pair(1, 1)]);
    left.later(1);
    assert_eq!(left.tick().await, [pair(1, 1)], "nobody can read them");
}

/// A search that waits keeps its rule, whose next version counts at once.
#[tokio::test(flavor = "multi_thread")]
async fn a_search_that_waits_is_matched_by_its_rule_as_it_is_by_then() {
    let mut play = Play::with(Settings { repeat_ms: 0, ..settings() });
    let (from, until) = (play.now(), play.now() + Duration::from_secs(600));
    let versions = |play: &Play| -> Vec<Option<u32>> {
        play.regions.rounds_of(job(1)).iter().map(|it| it.rule.map(|it| it.version)).collect()
    };
    assert!(play.regions.rules().take_in([by_stars(1, from, until)]));
    play.ride(1, KIGALI, OfferPolicy::BatchOptimal);
    for _ in 0..3 {
        play.later(1_000);
        assert_eq!(play.tick().await, []);
    }
    assert_eq!(versions(&play), [Some(1)]);
    assert!(play.regions.rules().take_in([by_stars(2, from, until)]));
    play.later(1_000);
    assert_eq!(play.tick().await, []);
    assert_eq!(versions(&play), [Some(1), Some(2)]);
    // What the search itself says anew counts, too.
    let near = DriverId::nth(1);
    play.ride_with(1, KIGALI, OfferPolicy::BatchOptimal, |card| {
        (card.round, card.excluded) = (2, vec![near]);
    });
    play.driver(1, KIGALI.offset_m(50.0, 0.0));
    play.driver(2, KIGALI.offset_m(100.0, 0.0));
    play.later(1_000);
    assert_eq!(play.tick().await, [pair(1, 2)]);
}

/// Rules count from the next round on, from their beginning until their end; and a dry run says before what they come to.
#[tokio::test(flavor = "multi_thread")]
async fn a_rule_counts_from_the_next_round_on_and_a_dry_run_says_so_before() {
    // Whoever was just proposed is not left alone: that would be another reason to propose the other one.
    let mut play = Play::with(Settings { repeat_ms: 0, ..settings() });
    let asks = |play: &mut Play, n| {
        play.driver_with(1, KIGALI.offset_m(100.0, 0.0), |card| card.rating = 400);
        play.driver_with(2, KIGALI.offset_m(300.0, 0.0), |card| card.rating = 500);
        play.ride(n, KIGALI, OfferPolicy::BatchOptimal);
    };
    let marks = |play: &Play, n| -> Vec<Option<u32>> {
        play.regions.rounds_of(job(n)).iter().map(|it| it.rule.map(|it| it.version)).collect()
    };
    asks(&mut play, 1);
    assert_eq!(play.tick().await, [pair(1, 1)]);
    play.ride_gone(1);

    let from = play.now() + Duration::from_secs(60);
    let until = from + Duration::from_secs(60);
    let (id, standing) = by_stars(1, from, until);
    let (scope, changes) = (Scope::of(&standing.said.terms), standing.said.terms.changes);
    let (replayed, known_since) = play.regions.replay(&scope, &changes, Timestamp(START));
    assert_eq!((replayed.n_assignments, replayed.n_differ), (1, 1));
    assert_eq!(replayed.differ[0].after, Some(DriverId::nth(2)));
    assert!(replayed.eta_after_ms > replayed.eta_before_ms, "{replayed:?}");
    assert_eq!((replayed.left_out, known_since), (LeftOut::default(), Timestamp(START)));

    assert!(play.regions.rules().take_in([(id, standing)]));
    for (n, after_s, driver, mark) in
        [(2, 59, 1, None), (3, 1, 2, Some(1)), (4, 59, 2, Some(1)), (5, 1, 1, None)]
    {
        play.later(after_s * 1_000);
        asks(&mut play, n);
        assert_eq!(play.tick().await, [pair(n, driver)], "ride {n}");
        assert_eq!(marks(&play, n), [mark], "ride {n}");
        play.ride_gone(n);
    }
}
