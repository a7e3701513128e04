//! What an entity promises when things go wrong, seen from outside.
//!
//! Riders serve as the example: their rules are the shortest. Always on many threads, for one
//! thread hides the races.

use actors::{
    Claim, Context, Decider, Effect, EntityKey, Format, Kind, Refusal, Sight, Tell, Version,
    ViewRow,
    commit::{Commit, EncodedEvent},
    driver::{self, Driver},
    format,
    journal::{
        CommitError, EffectKey, FeedCursor, FeedEvent, Forgotten, Journal, JournalError,
        OutboxPosition, OutboxRow, Part, Record, Recorded, RestoreError, SharedJournal, Shelf,
        Stored, ViewQuery,
        faulty::{Fault, FaultyJournal, Odds},
        memory::MemoryJournal,
    },
    listing::RegionId,
    policy::DriverPolicy,
    region,
    rider::{Command, Rider},
    runtime::{Answer, Ask, Clock, Objections, Settings, System, Update, Updates, Watching},
};
use futures_util::{FutureExt, future::BoxFuture};
use protocol::{
    CommandId, Currency, DriverId, DriverStatus, JobId, OrderId, Point, Principal, RiderId,
    ShardSet, Timestamp,
    view::{Position, WorkKind},
    work::{DutyWish, Vehicle, VehicleKind},
};
use std::{future::poll_fn, sync::Arc, time::Duration};
use tokio::sync::{Semaphore, watch};

const PATIENCE: Duration = Duration::from_secs(10);

async fn start(journal: SharedJournal) -> System {
    start_with(journal, Settings::default(), Clock::Machine).await
}

async fn start_with(journal: SharedJournal, settings: Settings, clock: Clock) -> System {
    System::start(journal, clock, settings, region::Settings::default()).await.expect("starts")
}

fn open(n: u64) -> Command {
    Command::OpenJob { job: JobId::Order(OrderId::nth(n)), work: WorkKind::Delivery }
}

fn close(n: u64) -> Command {
    Command::CloseJob { job: JobId::Order(OrderId::nth(n)) }
}

async fn ask(system: &System, rider: RiderId, command: Command, id: CommandId) -> Answer {
    system.ask::<Rider>(rider, Ask { command, by: Principal::System, id }, PATIENCE).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_start_outlasts_a_journal_that_is_out_of_reach_for_a_moment() {
    let journal = Arc::new(FaultyJournal::new(Arc::new(MemoryJournal::default()), Odds::default()));
    journal.fail_next_scans(3);
    let system = start(journal).await;
    let rider = RiderId::nth(1);
    assert_eq!(ask(&system, rider, open(1), CommandId::mint()).await, Ok(Version(1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_answer_survives_its_actor_being_killed() {
    let system = start(Arc::new(MemoryJournal::default())).await;
    for n in 0..300 {
        let rider = RiderId::nth(n);
        assert_eq!(ask(&system, rider, open(1), CommandId::mint()).await, Ok(Version(1)));
        system.kill(rider.into());
        assert_eq!(
            ask(&system, rider, open(2), CommandId::mint()).await,
            Ok(Version(2)),
            "rider {n}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_repeat_hears_the_first_answer_and_has_one_effect_also_after_a_fall() {
    let system = start(Arc::new(MemoryJournal::default())).await;
    let (rider, id) = (RiderId::nth(1), CommandId::mint());
    assert_eq!(ask(&system, rider, open(1), id).await, Ok(Version(1)));
    assert_eq!(ask(&system, rider, open(2), CommandId::mint()).await, Ok(Version(2)));
    assert_eq!(ask(&system, rider, open(1), id).await, Ok(Version(1)));
    system.kill(rider.into());
    assert_eq!(ask(&system, rider, open(1), id).await, Ok(Version(1)));
    assert_eq!(system.read::<Rider>(rider).await.expect("awake").0, Version(2));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_repeat_is_recognised_after_a_hundred_other_commands() {
    let system = start(Arc::new(MemoryJournal::default())).await;
    let (rider, id) = (RiderId::nth(1), CommandId::mint());
    assert_eq!(ask(&system, rider, open(0), id).await, Ok(Version(1)));
    for n in 1..100 {
        ask(&system, rider, open(n), CommandId::mint()).await.expect("opens");
    }
    assert_eq!(ask(&system, rider, open(0), id).await, Ok(Version(1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_thousand_repeats_at_once_have_one_effect() {
    let system = start(Arc::new(MemoryJournal::default())).await;
    let (rider, id) = (RiderId::nth(1), CommandId::mint());
    let settings = 100;
    let asks = (0..settings).map(|_| ask(&system, rider, open(1), id));
    for answer in futures_util::future::join_all(asks).await {
        assert_eq!(answer, Ok(Version(1)));
    }
    let history = system.journal().history(rider.into(), Version(0), 10).await.expect("reads");
    assert_eq!(history.len(), 1);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_host_that_is_behind_reads_what_it_missed_and_thinks_again() {
    let journal = MemoryJournal::default();
    let system = start(Arc::new(journal.clone())).await;
    let rider = RiderId::nth(1);
    ask(&system, rider, open(1), CommandId::mint()).await.expect("opens");

    // Another host writes behind our back.
    let elsewhere = start(Arc::new(journal)).await;
    assert_eq!(ask(&elsewhere, rider, open(2), CommandId::mint()).await, Ok(Version(2)));

    assert_eq!(ask(&system, rider, open(3), CommandId::mint()).await, Ok(Version(3)));
    assert_eq!(ask(&elsewhere, rider, open(4), CommandId::mint()).await, Ok(Version(4)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_entity_whose_past_is_unreadable_is_set_aside_alone_and_can_be_released() {
    let journal = MemoryJournal::default();
    let (bad, good) = (RiderId::nth(1), RiderId::nth(2));
    journal.commit(rubbish(bad.into())).await.expect("written");
    let system = start(Arc::new(journal)).await;
    assert_eq!(ask(&system, bad, open(1), CommandId::mint()).await, Err(Refusal::Quarantined));
    assert_eq!(ask(&system, good, open(1), CommandId::mint()).await, Ok(Version(1)));
    system.release(bad.into()).await.expect("released");
    // It falls again, and is set aside again.
    assert_eq!(ask(&system, bad, open(1), CommandId::mint()).await, Err(Refusal::Quarantined));
}

/// What a newer build writes is whole or nothing: an older one that read half of it would lose the rest
/// with its next snapshot.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_event_of_a_newer_format_is_refused_and_stays_as_it_is() {
    let journal = MemoryJournal::default();
    let rider = RiderId::nth(1);
    let platform = Principal::System;
    let now = Timestamp(1);
    let context = Context { id: rider, by: platform, now, writes: Format::FIRST };
    let opened = Rider::default().decide(&open(1), &context).expect("the platform may ask");
    let newer = Format(Format::READS.0 + 1);
    let event =
        EncodedEvent { name: "job_opened".to_owned(), bytes: format::encode(&opened[0], newer) };
    let shown = event.to_json(Kind::Rider).expect_err("is not shown");
    assert!(shown.to_string().contains("needs a build that reads"), "{shown}");
    let commit = Commit { events: vec![event.clone()], ..rubbish(rider.into()) };
    journal.commit(commit).await.expect("written");
    let system = start(Arc::new(journal)).await;
    assert_eq!(ask(&system, rider, open(2), CommandId::mint()).await, Err(Refusal::Quarantined));
    let history = system.journal().history(rider.into(), Version(0), 10).await.expect("reads");
    let events: Vec<_> = history.into_iter().map(|it| it.event).collect();
    assert_eq!(events, [event]);
}

fn rubbish(entity: EntityKey) -> Commit {
    Commit {
        events: vec![EncodedEvent { name: "rubbish".to_owned(), bytes: vec![0xc1] }],
        ..Commit::new(entity, Version(0), Timestamp(1))
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn overload_is_an_answer() {
    let settings = Settings { entity_inflight_max: 4, ..Settings::default() };
    let system = start_with(Arc::new(MemoryJournal::default()), settings, Clock::Machine).await;
    let rider = RiderId::nth(1);
    let asks = (0..1_000).map(|n| ask(&system, rider, open(n), CommandId::mint()));
    let answers = futures_util::future::join_all(asks).await;
    let n_busy = answers.iter().filter(|it| matches!(it, Err(Refusal::Busy { .. }))).count();
    let n_done = answers.iter().filter(|it| it.is_ok()).count();
    assert_eq!(n_busy + n_done, 1_000);
    assert!(n_busy > 0 && n_done > 0, "{n_busy} busy, {n_done} done");
    let (version, _) = system.read::<Rider>(rider).await.expect("awake");
    assert_eq!(version, Version(n_done as u64));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_follower_hears_every_change_across_sleep_and_fall() {
    let system = start(Arc::new(MemoryJournal::default())).await;
    let rider = RiderId::nth(1);
    ask(&system, rider, open(1), CommandId::mint()).await.expect("opens");
    ask(&system, rider, close(1), CommandId::mint()).await.expect("closes");
    let mut watching = system.watch::<Rider>(rider).await.expect("watches");
    assert_eq!(watching.version, Version(2));
    until_asleep(&system).await;

    ask(&system, rider, open(2), CommandId::mint()).await.expect("opens");
    until_version(&mut watching.updates, Version(3)).await;
    system.kill(rider.into());
    ask(&system, rider, open(3), CommandId::mint()).await.expect("opens");
    until_version(&mut watching.updates, Version(4)).await;
}

/// Every update before `wanted` must be older.
async fn until_version(updates: &mut Updates<Rider>, wanted: Version) {
    loop {
        let update = tokio::time::timeout(PATIENCE, updates.recv()).await.expect("in time");
        match update.expect("still followed") {
            Update::Changed { version, .. } if version == wanted => return,
            Update::Changed { version, .. } => assert!(version < wanted),
            Update::Seen(_) => {}
        }
    }
}

async fn until_asleep(system: &System) {
    while system.n_awake() > 0 {
        system.sleep_all();
        tokio::task::yield_now().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_message_is_lost_between_sleeping_and_waking() {
    let system = start(Arc::new(MemoryJournal::default())).await;
    let rider = RiderId::nth(1);
    let sleeper = tokio::spawn({
        let system = system.clone();
        async move {
            loop {
                system.sleep_all();
                tokio::task::yield_now().await;
            }
        }
    });
    for n in 0..500 {
        assert!(ask(&system, rider, open(n), CommandId::mint()).await.is_ok());
        assert!(ask(&system, rider, close(n), CommandId::mint()).await.is_ok());
    }
    sleeper.abort();
    assert_eq!(system.read::<Rider>(rider).await.expect("awake").0, Version(1_000));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_drained_system_refuses_and_its_successor_knows_everything() {
    let journal = MemoryJournal::default();
    let system = start(Arc::new(journal.clone())).await;
    for n in 0..50 {
        ask(&system, RiderId::nth(n), open(1), CommandId::mint()).await.expect("opens");
    }
    assert!(system.drain(PATIENCE).await);
    let by = Principal::Rider(RiderId::nth(1));
    let late = Ask { command: open(2), by, id: CommandId::mint() };
    assert_eq!(system.ask::<Rider>(RiderId::nth(1), late, PATIENCE).await, Err(Refusal::Draining));

    let successor = start(Arc::new(journal)).await;
    for n in 0..50 {
        let (version, _) = successor.read::<Rider>(RiderId::nth(n)).await.expect("awake");
        assert_eq!(version, Version(1));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_command_from_outside_the_repeat_window_is_refused() {
    let system = start(Arc::new(MemoryJournal::default())).await;
    let by = Principal::Rider(RiderId::nth(1));
    for minted in [0, u64::MAX >> 16] {
        let id = CommandId::of_effect(b"x", 1, 0, Timestamp(minted));
        let ask = Ask { command: open(1), by, id };
        let answer = system.ask::<Rider>(RiderId::nth(1), ask, PATIENCE).await;
        assert_eq!(answer, Err(Refusal::CommandExpired));
    }
}

fn duty(capacity_g: u32) -> driver::Command {
    let vehicle = Vehicle { kind: VehicleKind::Moto, capacity_g, skills: Vec::new() };
    let policy = DriverPolicy::default();
    driver::Command::SetDuty { duty: DutyWish::On, vehicle: Some(vehicle), policy }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_command_id_used_again_with_other_details_is_refused_also_after_a_restart() {
    let journal = MemoryJournal::default();
    let (driver, id) = (DriverId::nth(1), CommandId::mint());
    let ask = async |system: &System, command| {
        let ask = Ask { command, by: Principal::Driver(driver), id };
        system.ask::<Driver>(driver, ask, PATIENCE).await
    };
    for _ in 0..2 {
        let system = start(Arc::new(journal.clone())).await;
        assert_eq!(ask(&system, duty(0)).await, Ok(Version(1)));
        assert_eq!(ask(&system, duty(9)).await, Err(Refusal::CommandIdReused));
        assert_eq!(ask(&system, duty(0)).await, Ok(Version(1)), "the refusal changed nothing");
        assert!(system.drain(PATIENCE).await);
    }
}

/// Loads of drivers wait at a gate, and are counted there.
#[derive(Debug)]
struct Gated {
    inner: MemoryJournal,
    gate: Semaphore,
    loads: watch::Sender<Loads>,
}

/// How many loads are under way, were at most, and are done.
#[derive(Debug, Default)]
struct Loads {
    now: usize,
    most: usize,
    done: usize,
}

impl Gated {
    fn closed(inner: MemoryJournal) -> Arc<Self> {
        Arc::new(Self { inner, gate: Semaphore::new(0), loads: watch::Sender::default() })
    }

    fn open(&self) {
        self.gate.add_permits(N_DRIVERS);
    }

    async fn until(&self, is_so: impl FnMut(&Loads) -> bool) {
        let mut loads = self.loads.subscribe();
        let waited = tokio::time::timeout(PATIENCE, loads.wait_for(is_so)).await;
        waited.expect("in time").expect("not closed");
    }
}

impl Journal for Gated {
    fn load(&self, entity: EntityKey) -> BoxFuture<'_, Result<Stored, JournalError>> {
        async move {
            if entity.kind != Kind::Driver {
                return self.inner.load(entity).await;
            }
            self.loads.send_modify(|loads| {
                loads.now += 1;
                loads.most = loads.most.max(loads.now);
            });
            self.gate.acquire().await.expect("never closed").forget();
            let stored = self.inner.load(entity).await;
            self.loads.send_modify(|loads| {
                loads.now -= 1;
                loads.done += 1;
            });
            stored
        }
        .boxed()
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<(), CommitError>> {
        self.inner.commit(commit)
    }

    fn result(
        &self,
        entity: EntityKey,
        command: CommandId,
    ) -> BoxFuture<'_, Result<Option<Vec<u8>>, JournalError>> {
        self.inner.result(entity, command)
    }

    fn undelivered(
        &self,
        shards: &ShardSet,
        after: Option<OutboxPosition>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<OutboxRow>, JournalError>> {
        self.inner.undelivered(shards, after, limit)
    }

    fn delivered(&self, effects: Vec<EffectKey>) -> BoxFuture<'_, Result<(), JournalError>> {
        self.inner.delivered(effects)
    }

    fn deadlines(
        &self,
        shards: &ShardSet,
        until: Timestamp,
        after: Option<(Timestamp, EntityKey)>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Timestamp, EntityKey)>, JournalError>> {
        self.inner.deadlines(shards, until, after, limit)
    }

    fn keep(&self, shelf: Shelf, bytes: Vec<u8>) -> BoxFuture<'_, Result<(), CommitError>> {
        self.inner.keep(shelf, bytes)
    }

    fn kept(&self, shelf: Shelf) -> BoxFuture<'_, Result<Option<Vec<u8>>, JournalError>> {
        self.inner.kept(shelf)
    }

    fn holder(&self, claim: Claim) -> BoxFuture<'_, Result<Option<EntityKey>, JournalError>> {
        self.inner.holder(claim)
    }

    fn history(
        &self,
        entity: EntityKey,
        after: Version,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Recorded>, JournalError>> {
        self.inner.history(entity, after, limit)
    }

    fn views(
        &self,
        query: ViewQuery,
    ) -> BoxFuture<'_, Result<Vec<(EntityKey, ViewRow)>, JournalError>> {
        self.inner.views(query)
    }

    fn balance(
        &self,
        account: String,
        currency: Currency,
    ) -> BoxFuture<'_, Result<i64, JournalError>> {
        self.inner.balance(account, currency)
    }

    fn feed(
        &self,
        after: FeedCursor,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<FeedEvent>, JournalError>> {
        self.inner.feed(after, limit)
    }

    fn dump(
        &self,
        part: Part,
        after: Option<Record>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Record>, JournalError>> {
        self.inner.dump(part, after, limit)
    }

    fn restore(&self, records: Vec<Record>) -> BoxFuture<'_, Result<(), RestoreError>> {
        self.inner.restore(records)
    }

    fn forget_results(&self, before: Timestamp) -> BoxFuture<'_, Result<Forgotten, JournalError>> {
        self.inner.forget_results(before)
    }

    fn close(&self) -> BoxFuture<'_, Result<(), JournalError>> {
        self.inner.close()
    }
}

const N_DRIVERS: usize = 200;

/// What a node leaves behind on which many drivers are on duty, and so will soon act by themselves.
async fn on_duty() -> MemoryJournal {
    let journal = MemoryJournal::default();
    let system = start(Arc::new(journal.clone())).await;
    for n in 0..N_DRIVERS as u64 {
        let by = Principal::Driver(DriverId::nth(n));
        let ask = Ask { command: duty(0), by, id: CommandId::mint() };
        system.ask::<Driver>(DriverId::nth(n), ask, PATIENCE).await.expect("on duty");
    }
    assert!(system.drain(PATIENCE).await);
    journal
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_wakes_by_itself_after_a_restart_is_read_a_few_at_a_time() {
    let gated = Gated::closed(on_duty().await);
    let system = start(gated.clone()).await;
    gated.until(|loads| loads.now >= 64).await;
    assert!(system.read::<Rider>(RiderId::nth(1)).await.is_ok(), "a live reader waits for nobody");
    gated.open();
    gated.until(|loads| loads.done == N_DRIVERS).await;
    assert_eq!(gated.loads.borrow().most, 64);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_is_spoken_to_does_not_wait_behind_what_wakes_by_itself() {
    let gated = Gated::closed(on_duty().await);
    let system = start(gated.clone()).await;
    gated.until(|loads| loads.now >= 64).await;
    let reads = (0..N_DRIVERS as u64).map(|n| {
        let system = system.clone();
        tokio::spawn(async move { system.read::<Driver>(DriverId::nth(n)).await })
    });
    let reads: Vec<_> = reads.collect();
    gated.until(|loads| loads.now == N_DRIVERS).await;
    gated.open();
    for read in reads {
        read.await.expect("finished").expect("awake");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_commit_that_was_executed_and_timed_out_happens_once() {
    let faulty = FaultyJournal::new(Arc::new(MemoryJournal::default()), Odds::default());
    let system = start(Arc::new(faulty.clone())).await;
    let rider = RiderId::nth(1);
    for (n, fault) in (0..).zip([Fault::LostAfter, Fault::LostBefore, Fault::Stale]) {
        faulty.fail_next_commit(fault);
        let answer = ask(&system, rider, open(n), CommandId::mint()).await;
        assert_eq!(answer, Ok(Version(n + 1)), "{fault:?}");
    }
    for (n, fault) in (9..).zip([Fault::Unavailable, Fault::Fenced]) {
        faulty.fail_next_commit(fault);
        let id = CommandId::mint();
        let answer = ask(&system, rider, open(n), id).await;
        assert!(matches!(answer, Err(Refusal::Busy { .. })), "{fault:?}: {answer:?}");
        assert_eq!(ask(&system, rider, open(n), id).await, Ok(Version(n - 5)), "{fault:?}");
    }
    faulty.fail_next_commit(Fault::BelowFloor);
    let id = CommandId::mint();
    let broke = Refusal::InsufficientFunds { account: "injected".to_owned() };
    assert_eq!(ask(&system, rider, open(11), id).await, Err(broke));
    assert_eq!(ask(&system, rider, open(11), id).await, Ok(Version(6)), "once it is funded");
    let history = system.journal().history(rider.into(), Version(0), 10).await.expect("reads");
    assert_eq!(history.len(), 6);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_entity_that_cannot_be_read_for_a_while_is_not_set_aside() {
    let faulty = FaultyJournal::new(Arc::new(MemoryJournal::default()), Odds::default());
    let system = start(Arc::new(faulty.clone())).await;
    faulty.fail_next_loads(20);
    assert_eq!(ask(&system, RiderId::nth(1), open(1), CommandId::mint()).await, Ok(Version(1)));
}

/// One commit in ten goes wrong in some way, and callers repeat what was not answered: every command
/// must have happened once.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_journal_that_keeps_failing_loses_and_doubles_nothing() {
    const N_RIDERS: u64 = 20;
    const N_COMMANDS: u64 = 50;
    let odds = Odds {
        seed: 1,
        unavailable: 0.025,
        lost_before: 0.025,
        lost_after: 0.025,
        stale: 0.025,
        load: 0.05,
        ..Odds::default()
    };
    let faulty = FaultyJournal::new(Arc::new(MemoryJournal::default()), odds);
    let system = start(Arc::new(faulty.clone())).await;
    let riders = (0..N_RIDERS).map(|n| {
        let system = system.clone();
        tokio::spawn(async move {
            let rider = RiderId::nth(n);
            for k in 0..N_COMMANDS {
                let id = CommandId::mint();
                while ask(&system, rider, open(k), id).await.is_err() {
                    tokio::task::yield_now().await;
                }
            }
        })
    });
    for rider in futures_util::future::join_all(riders).await {
        rider.expect("finished");
    }
    faulty.set_odds(Odds::default());
    for n in 0..N_RIDERS {
        let history = system
            .journal()
            .history(RiderId::nth(n).into(), Version(0), 1_000)
            .await
            .expect("reads");
        assert_eq!(history.len() as u64, N_COMMANDS, "rider {n}");
    }
    let injected = faulty.injected();
    assert!(injected.lost_after > 0 && injected.lost_before > 0, "{injected:?}");
}

/// For as long as the policy that is returned bears silence.
async fn go_on_duty(system: &System, driver: DriverId, clock: &Clock) -> DriverPolicy {
    let vehicle = Vehicle { kind: VehicleKind::Moto, capacity_g: 0, skills: Vec::new() };
    let policy = DriverPolicy::default();
    let command = driver::Command::SetDuty { duty: DutyWish::On, vehicle: Some(vehicle), policy };
    // Minted by the manual clock, which is not the machine's.
    let id = CommandId::of_effect(b"duty", 1, 0, clock.now());
    let ask = Ask { command, by: Principal::Driver(driver), id };
    system.ask::<Driver>(driver, ask, PATIENCE).await.expect("on duty");
    policy
}

async fn until_status(mut watching: Watching<Driver>, wanted: DriverStatus) {
    loop {
        let update = tokio::time::timeout(PATIENCE, watching.updates.recv()).await;
        if let Update::Changed { state, .. } = update.expect("in time").expect("followed")
            && state.status() == wanted
        {
            break;
        }
    }
}

fn position(north_m: f64, sampled_at: Timestamp) -> driver::Sighting {
    driver::Sighting::At(Position {
        at: Point { lat: -1.9441, lon: 30.0619 }.offset_m(0.0, north_m),
        sampled_at,
        heading_deg: None,
        speed_mps: None,
        accuracy_m: None,
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn who_has_no_use_for_sightings_is_not_woken_by_them_and_misses_nothing() {
    let clock = Clock::manual(Timestamp(1_800_000_000_000));
    let journal = Arc::new(MemoryJournal::default());
    let system = start_with(journal, Settings::default(), clock.clone()).await;
    let driver = DriverId::nth(1);
    go_on_duty(&system, driver, &clock).await;
    let mut all = system.watch::<Driver>(driver).await.expect("watches");
    let mut changes = system.watch_changes::<Driver>(driver).await.expect("watches");
    let seen = position(7.0, clock.now());
    assert_eq!(system.see_and_tell::<Driver>(driver, seen.clone()).await, Ok(()));
    let command = driver::Command::SetDuty {
        duty: DutyWish::Break,
        vehicle: None,
        policy: DriverPolicy::default(),
    };
    let id = CommandId::of_effect(b"duty", 2, 0, clock.now());
    let ask = Ask { command, by: Principal::Driver(driver), id };
    system.ask::<Driver>(driver, ask, PATIENCE).await.expect("a break");

    let Some(Update::Seen(first)) = all.updates.recv().await else { panic!("no sighting") };
    assert_eq!(first, seen);
    assert!(matches!(all.updates.recv().await, Some(Update::Changed { .. })));
    let Some(Update::Changed { state, version, .. }) = changes.updates.recv().await else {
        panic!("a sighting")
    };
    // What it was not told of is in the state.
    let position = state.driver_view(driver, version.0).position;
    assert_eq!(position.map(driver::Sighting::At), Some(seen));
}

/// Whoever goes on duty and says where in one breath is heard in that order, though positions take a shorter way.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_shown_after_a_command_is_seen_after_it() {
    let clock = Clock::manual(Timestamp(1_800_000_000_000));
    let journal = Arc::new(MemoryJournal::default());
    let system = start_with(journal, Settings::default(), clock.clone()).await;
    for n in 0..200 {
        let driver = DriverId::nth(n);
        // Awake, and without a use for positions.
        system.read::<Driver>(driver).await.expect("awake");
        let goes_on = go_on_duty(&system, driver, &clock);
        let says_where = async { system.see(Sight::Driver(driver, position(7.0, clock.now()))) };
        tokio::join!(biased; goes_on, says_where);
        let (version, state) = system.read::<Driver>(driver).await.expect("awake");
        let seen = state.driver_view(driver, version.0).position.map(driver::Sighting::At);
        assert_eq!(seen, Some(position(7.0, clock.now())), "driver {n}");
    }
}

/// Positions that come past its shard while an entity falls asleep, falls, or is put to sleep are neither heard by somebody
/// who is gone nor keep it from coming back.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn positions_find_whoever_is_awake_however_often_it_falls() {
    let clock = Clock::manual(Timestamp(1_800_000_000_000));
    let journal = Arc::new(MemoryJournal::default());
    // Falling often is the point.
    let settings = Settings { falls_max: 1_000, ..Settings::default() };
    let system = start_with(journal, settings, clock.clone()).await;
    let driver = DriverId::nth(1);
    go_on_duty(&system, driver, &clock).await;
    let streams = tokio::spawn({
        let (system, clock) = (system.clone(), clock.clone());
        async move {
            loop {
                system.see(Sight::Driver(driver, position(7.0, clock.now())));
                tokio::task::yield_now().await;
            }
        }
    });
    for _ in 0..100 {
        system.kill(EntityKey::from(driver));
        clock.advance(Duration::from_secs(2));
        let is_seen = async {
            loop {
                // It may be busy with positions.
                let Ok((version, state)) = system.read::<Driver>(driver).await else { continue };
                let seen = state.driver_view(driver, version.0).position;
                if seen.is_some_and(|it| it.sampled_at == clock.now()) {
                    break;
                }
            }
        };
        tokio::time::timeout(PATIENCE, is_seen).await.expect("in time");
    }
    streams.abort();
}

/// On one thread, so that it is certain that its actor has nothing to do.
#[tokio::test]
async fn who_has_nothing_to_do_takes_in_what_it_is_shown_at_once() {
    let clock = Clock::manual(Timestamp(1_800_000_000_000));
    let journal = Arc::new(MemoryJournal::default());
    let system = start_with(journal, Settings::default(), clock.clone()).await;
    let driver = DriverId::nth(1);
    let policy = go_on_duty(&system, driver, &clock).await;
    let show = |north_m| system.see_and_tell::<Driver>(driver, position(north_m, clock.now()));
    system.read::<Driver>(driver).await.expect("awake");
    assert_eq!(show(7.0).now_or_never(), Some(Ok(())));
    let objection = show(8.0).now_or_never().expect("at once");
    assert!(objection.is_err_and(|it| it.to_string().contains("not after the last one")));

    // Of somebody who was silent, that it is back is written first; what is shown next waits behind that, for it would
    // object to what is older.
    let watching = system.watch::<Driver>(driver).await.expect("watches");
    clock.advance(Duration::from_millis(u64::from(policy.stale_ms)));
    until_status(watching, DriverStatus::Unreachable).await;
    system.read::<Driver>(driver).await.expect("awake");
    let mut first = Box::pin(show(9.0));
    clock.advance(Duration::from_millis(1));
    let mut second = Box::pin(show(10.0));
    assert_eq!((&mut first).now_or_never(), None);
    assert_eq!((&mut second).now_or_never(), None);
    assert_eq!((first.await, second.await), (Ok(()), Ok(())));
    let (version, state) = system.read::<Driver>(driver).await.expect("awake");
    assert_eq!(state.status(), DriverStatus::Available);
    let seen = state.driver_view(driver, version.0).position.map(driver::Sighting::At);
    assert_eq!(seen, Some(position(10.0, clock.now())));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_is_shown_to_somebody_who_still_reads_its_past_waits_and_is_seen_in_order() {
    let gated = Gated::closed(on_duty().await);
    let system = start(gated.clone()).await;
    let driver = DriverId::nth(1);
    gated.until(|loads| loads.now >= 64).await;
    let sampled_at = |n| system.now() + Duration::from_millis(n);
    let shown = (1..=20).map(|n| position(7.0, sampled_at(n)));
    let verdicts: Vec<_> = shown.map(|it| system.see_and_tell::<Driver>(driver, it)).collect();
    gated.open();
    for verdict in verdicts {
        assert_eq!(verdict.await, Ok(()), "each is after the one before");
    }
    let (version, state) = system.read::<Driver>(driver).await.expect("awake");
    assert!(state.driver_view(driver, version.0).position.is_some());
}

/// On one thread, so that it is certain who calls the rules.
#[tokio::test]
async fn of_what_rules_panic_of_whoever_sees_it_falls_and_not_who_shows_it() {
    let clock = Clock::manual(Timestamp(1_800_000_000_000));
    let journal = Arc::new(MemoryJournal::default());
    let system = start_with(journal, Settings::default(), clock.clone()).await;
    let driver = DriverId::nth(1);
    go_on_duty(&system, driver, &clock).await;
    let nowhere = driver::Sighting::At(Position {
        at: Point { lat: f64::NAN, lon: 30.0619 },
        sampled_at: clock.now(),
        heading_deg: None,
        speed_mps: None,
        accuracy_m: None,
    });
    for n in 1..=2 {
        system.read::<Driver>(driver).await.expect("awake");
        let verdict = system.see_and_tell::<Driver>(driver, nowhere.clone()).now_or_never();
        assert_eq!(verdict, Some(Ok(())), "nobody has anything to say of it");
        let is_buried = async {
            while system.residence(driver.into()).await.expect("here").n_falls < n {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(PATIENCE, is_buried).await.expect("in time");
    }
    let seen = position(7.0, clock.now());
    assert_eq!(system.see_and_tell::<Driver>(driver, seen.clone()).await, Ok(()));
    let (version, state) = system.read::<Driver>(driver).await.expect("awake");
    let known = state.driver_view(driver, version.0).position;
    assert_eq!(known.map(driver::Sighting::At), Some(seen), "its successor goes on");
}

/// Several show it something at once while it falls asleep again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whatever_is_shown_to_somebody_who_falls_asleep_is_seen_once_and_in_order() {
    const SENDERS: usize = 4;
    const EACH: u64 = 500;
    // There is room for all of it.
    let max = SENDERS as u32 * EACH as u32;
    let settings =
        Settings { entity_inflight_max: max, watch_queue_max: max as usize, ..Settings::default() };
    let journal = Arc::new(MemoryJournal::default());
    let system = start_with(journal, settings, Clock::Machine).await;
    // Off duty, so that it may sleep.
    let driver = DriverId::nth(1);
    let mut watching = system.watch::<Driver>(driver).await.expect("watches");
    let sleeper = tokio::spawn({
        let system = system.clone();
        async move {
            loop {
                system.sleep_all();
                tokio::task::yield_now().await;
            }
        }
    });
    for sender in 0..SENDERS {
        let system = system.clone();
        tokio::spawn(async move {
            for n in 0..EACH {
                let driver::Sighting::At(at) = position(0.0, Timestamp(n)) else { return };
                let seen = Position { heading_deg: Some(sender as f32), ..at };
                system.see(Sight::Driver(driver, driver::Sighting::At(seen)));
                tokio::task::yield_now().await;
            }
        });
    }
    let mut next = [0; SENDERS];
    while next != [EACH; SENDERS] {
        let update = tokio::time::timeout(PATIENCE, watching.updates.recv()).await;
        let update = update.unwrap_or_else(|_| panic!("lost, of {next:?}")).expect("followed");
        let Update::Seen(driver::Sighting::At(position)) = update else { continue };
        let sender = position.heading_deg.expect("it has one") as usize;
        assert_eq!(position.sampled_at, Timestamp(next[sender]), "sender {sender}");
        next[sender] += 1;
    }
    sleeper.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn of_many_positions_only_those_that_are_rubbish_are_heard_of() {
    let clock = Clock::manual(Timestamp(1_800_000_000_000));
    let journal = Arc::new(MemoryJournal::default());
    let system = start_with(journal, Settings::default(), clock.clone()).await;
    let driver = DriverId::nth(1);
    go_on_duty(&system, driver, &clock).await;
    let objections = Objections::default();
    let next = || poll_fn(|cx| objections.poll_next(cx));
    for n in 1..=50 {
        clock.advance(Duration::from_secs(1));
        system.see_or_object::<Driver>(driver, position(f64::from(n), clock.now()), &objections);
    }
    // Asked after them, so they have been seen by then.
    system.read::<Driver>(driver).await.expect("awake");
    assert_eq!(next().now_or_never(), None);
    // Another city, a moment later.
    clock.advance(Duration::from_secs(1));
    system.see_or_object::<Driver>(driver, position(90_000.0, clock.now()), &objections);
    let heard = tokio::time::timeout(PATIENCE, next()).await.expect("in time");
    assert!(heard.to_string().contains("jump"), "{heard}");
    assert_eq!(next().now_or_never(), None, "once");
    let (_, state) = system.read::<Driver>(driver).await.expect("awake");
    let seen = state.driver_view(driver, 1).position.map(driver::Sighting::At);
    let last = Timestamp(clock.now().0 - 1_000);
    assert_eq!(seen, Some(position(50.0, last)), "the last good one");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn a_deadline_fires_after_a_restart_and_not_before_it_is_due() {
    let journal = MemoryJournal::default();
    let clock = Clock::manual(Timestamp(1_800_000_000_000));
    let system = start_with(Arc::new(journal.clone()), Settings::default(), clock.clone()).await;
    let driver = DriverId::nth(1);
    let policy = go_on_duty(&system, driver, &clock).await;
    assert!(system.drain(PATIENCE).await);

    let system = start_with(Arc::new(journal), Settings::default(), clock.clone()).await;
    let watching = system.watch::<Driver>(driver).await.expect("watches");
    assert_eq!(watching.state.status(), DriverStatus::Available);
    // Silent for as long as the policy bears, it becomes unreachable by itself.
    clock.advance(Duration::from_millis(u64::from(policy.stale_ms) - 1));
    let (before, _) = system.read::<Driver>(driver).await.expect("awake");
    assert_eq!(before, watching.version);
    clock.advance(Duration::from_millis(1));
    until_status(watching, DriverStatus::Unreachable).await;
}

/// Its alarm rang when it could neither write nor read, and nobody asks for it.
#[tokio::test(start_paused = true)]
async fn a_deadline_outlasts_a_journal_that_is_out_of_reach_when_it_comes() {
    let faulty = FaultyJournal::new(Arc::new(MemoryJournal::default()), Odds::default());
    let clock = Clock::manual(Timestamp(1_800_000_000_000));
    let system = start_with(Arc::new(faulty.clone()), Settings::default(), clock.clone()).await;
    let driver = DriverId::nth(1);
    let policy = go_on_duty(&system, driver, &clock).await;

    faulty.set_odds(Odds { lost_before: 1.0, load: 1.0, ..Odds::default() });
    clock.advance(Duration::from_millis(u64::from(policy.stale_ms)));
    let until_awake = async |wanted| {
        let reached = async {
            while system.n_awake() != wanted {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, reached).await.unwrap_or_else(|_| panic!("not {wanted}"));
    };
    until_awake(0).await;
    faulty.set_odds(Odds::default());

    clock.advance(Duration::from_secs(1));
    until_awake(1).await;
    // Nobody could be heard by one who had fallen, so its patience begins anew.
    let watching = system.watch::<Driver>(driver).await.expect("watches");
    assert_eq!(watching.state.status(), DriverStatus::Available);
    clock.advance(Duration::from_millis(u64::from(policy.stale_ms)));
    until_status(watching, DriverStatus::Unreachable).await;
}

/// Nobody says when its journal answers again.
#[tokio::test(start_paused = true)]
async fn what_a_node_alone_could_not_follow_is_worth_another_try_soon() {
    let system = start(Arc::new(MemoryJournal::default())).await;
    let trying = system.worth_another_try(RiderId::nth(1).into(), Duration::from_secs(3_600));
    tokio::time::timeout(PATIENCE, trying).await.expect("soon");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn an_effect_that_was_committed_and_not_delivered_is_delivered_after_a_restart_once() {
    let journal = MemoryJournal::default();
    let (source, target) = (RiderId::nth(1), RiderId::nth(2));
    let tell = Tell::Rider { to: target, command: open(7) };
    let effect = rmp_serde::to_vec_named(&Effect::from(tell)).expect("plain data");
    // What a node that was killed between commit and delivery leaves behind.
    let platform = Principal::System;
    let (now, writes) = (Timestamp(1), Format::FIRST);
    let opened = Rider::default()
        .decide(&open(1), &Context { id: source, by: platform, now, writes })
        .expect("the platform may ask");
    let open = rmp_serde::to_vec_named(&opened[0]).expect("plain data");
    let commit = Commit {
        events: vec![EncodedEvent { name: "job_opened".to_owned(), bytes: open }],
        effects: vec![effect],
        ..rubbish(source.into())
    };
    journal.commit(commit).await.expect("written");
    for _ in 0..2 {
        let system = start(Arc::new(journal.clone())).await;
        let mut watching = system.watch::<Rider>(target).await.expect("watches");
        if watching.version == Version(0) {
            until_version(&mut watching.updates, Version(1)).await;
        }
        assert!(system.drain(PATIENCE).await);
    }
    let history = journal.history(target.into(), Version(0), 10).await.expect("reads");
    assert_eq!(history.len(), 1);
    assert!(journal.undelivered(&ShardSet::ALL, None, 10).await.expect("reads").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_was_delivered_while_the_journal_was_away_leaves_the_outbox_when_it_is_back() {
    let inner = MemoryJournal::default();
    let tell = Tell::Rider { to: RiderId::nth(2), command: open(7) };
    let effect = rmp_serde::to_vec_named(&Effect::from(tell)).expect("plain data");
    let commit = Commit { effects: vec![effect], ..rubbish(RiderId::nth(1).into()) };
    inner.commit(commit).await.expect("written");
    let journal = FaultyJournal::new(Arc::new(inner.clone()), Odds::default());
    journal.fail_next_forgets(3);
    let system = start(Arc::new(journal)).await;
    while !inner.undelivered(&ShardSet::ALL, None, 1).await.expect("reads").is_empty() {
        tokio::task::yield_now().await;
    }
    assert!(system.drain(PATIENCE).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn whoever_follows_somebody_who_sleeps_wakes_nobody_and_misses_nothing() {
    let system = start(Arc::new(MemoryJournal::default())).await;
    let rider = RiderId::nth(1);
    ask(&system, rider, open(1), CommandId::mint()).await.expect("opens");
    ask(&system, rider, close(1), CommandId::mint()).await.expect("closes");
    until_asleep(&system).await;
    let mut followed = Vec::new();
    for _ in 0..3 {
        followed.push(system.watch::<Rider>(rider).await.expect("watches"));
    }
    assert!(followed.iter().all(|it| it.version == Version(2)));
    assert_eq!(system.n_awake(), 0);
    ask(&system, rider, open(2), CommandId::mint()).await.expect("opens");
    for watching in &mut followed {
        until_version(&mut watching.updates, Version(3)).await;
    }
    assert!(system.drain(PATIENCE).await);
}

/// Followers and commands come at the same moment, in any order, while it falls asleep again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn no_change_is_missed_between_a_look_and_waking() {
    let system = start(Arc::new(MemoryJournal::default())).await;
    for n in 1..=100 {
        let rider = RiderId::nth(n);
        let asking = tokio::spawn({
            let system = system.clone();
            async move {
                ask(&system, rider, open(1), CommandId::mint()).await.expect("opens");
                ask(&system, rider, close(1), CommandId::mint()).await.expect("closes");
            }
        });
        let mut watching = system.watch::<Rider>(rider).await.expect("watches");
        system.sleep_all();
        if watching.version < Version(2) {
            until_version(&mut watching.updates, Version(2)).await;
        }
        asking.await.expect("asks");
    }
    assert!(system.drain(PATIENCE).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_there_is_to_do_in_a_shard_is_counted_there_and_nowhere_else() {
    let system = start(Arc::new(MemoryJournal::default())).await;
    let rider = RiderId::nth(1);
    let shard = EntityKey::from(rider).shard();
    ask(&system, rider, open(1), CommandId::mint()).await.expect("opens");
    ask(&system, rider, close(1), CommandId::mint()).await.expect("closes");
    system.read::<Rider>(rider).await.expect("awake");
    let loads = system.loads();
    assert_eq!(loads.len(), usize::from(protocol::SHARDS));
    for it in loads {
        let expected = if it.shard == shard { (1, 2) } else { (0, 0) };
        assert_eq!((it.n_awake, it.n_commands), expected, "{}", it.shard);
    }
    until_asleep(&system).await;
    let asleep = system.loads().into_iter().find(|it| it.shard == shard).expect("it is here");
    assert_eq!((asleep.n_awake, asleep.n_commands), (0, 2));
    assert!(system.drain(PATIENCE).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn what_a_region_has_learned_is_kept_again_when_its_node_is_drained() {
    let (journal, clock) = (MemoryJournal::default(), Clock::manual(Timestamp(1_800_000_000_000)));
    let system = start_with(Arc::new(journal.clone()), Settings::default(), clock.clone()).await;
    let (driver, place) = (DriverId::nth(1), Point { lat: -1.9441, lon: 30.0619 });
    go_on_duty(&system, driver, &clock).await;
    system.see(Sight::Driver(driver, position(0.0, system.now())));
    let shelf = region::Kept::Lore.shelf(RegionId::at(place));
    let first = loop {
        // Once it knows that nothing was kept before.
        system.regions().tick().await;
        system.regions().keep(&ShardSet::ALL).await;
        if let Some(first) = journal.kept(shelf.clone()).await.expect("open") {
            break first;
        }
        tokio::task::yield_now().await;
    };
    clock.advance(Duration::from_secs(1));
    assert!(system.drain(PATIENCE).await);
    let last = journal.kept(shelf).await.expect("open");
    assert!(last.is_some_and(|last| last != first), "when it was kept is part of it");
}
