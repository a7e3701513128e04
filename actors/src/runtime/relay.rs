//! Delivers effects: at least once, in order per receiver, never before their commit.
//!
//! Effects reach the relay straight from the entity that committed them. What does not fit in its
//! memory is not lost: the outbox in the journal has it, and the relay reads that again when it has
//! caught up, as it does after a restart. The receiver recognises a second delivery by its command
//! id, which is derived from source, version and index.
//!
//! What somebody waits for who looks for a driver, or was asked, comes before what can wait, and has room
//! of its own: a thousand jobs that end at once must not keep an offer from its driver.

use super::{OWN_PATIENCE, System};
use crate::{
    Commit, Effect, EntityKey, Refusal, Tell, Version, driver,
    format::{self, Unreadable},
    journal::{CommitError, EffectKey, JournalError},
    order, rescue, run, search,
};
use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use protocol::{CommandId, Principal, ShardSet, Timestamp};
use std::{
    collections::{HashMap, HashSet, VecDeque},
    mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Notify, mpsc, oneshot},
    time::Instant,
};
use tracing::{debug, error, warn};

/// Most commits whose effects wait to be taken up.
const QUEUE_MAX: usize = 16_384;
/// Most effects held in memory; the rest waits in the outbox.
const HELD_MAX: usize = 65_536;
/// Most deliveries under way at once: of what somebody waits for, and of all else.
const INFLIGHT_MAX: usize = 1_024;
/// Deliveries are forgotten in the journal in batches of at most this.
const FORGET_MAX: usize = 512;
/// …and at the latest this long after the first one.
const FORGET_EVERY: Duration = Duration::from_millis(50);
/// How often it is looked at although nothing is under way. A node that has nothing to do should hardly ever be woken: many of
/// them may share a machine.
const IDLE_EVERY: Duration = Duration::from_secs(1);
/// How long to wait before telling again what could not be told.
const AGAIN_AFTER: [Duration; 5] = [
    Duration::from_millis(10),
    Duration::from_millis(50),
    Duration::from_millis(250),
    Duration::from_secs(1),
    Duration::from_secs(5),
];

/// The effects of one commit.
#[derive(Debug)]
pub(super) struct Outgoing {
    pub(super) source: EntityKey,
    pub(super) version: Version,
    pub(super) at: Timestamp,
    pub(super) effects: Vec<Effect>,
}

/// Where entities hand in the effects of their commits.
#[derive(Debug)]
pub(super) struct Relay {
    queue: mpsc::Sender<Outgoing>,
    progress: Arc<Progress>,
}

/// Whose effects are delivered here.
#[derive(Debug)]
enum Change {
    /// Those that a former owner of their sources left in the outbox.
    TakeOver(Vec<Parcel>),
    /// None from these shards any more.
    Abandon(ShardSet),
}

/// What is known about effects under way, for a drain and for catching up.
#[derive(Debug, Default)]
struct Progress {
    /// Handed in or read, and not yet delivered and out of the outbox.
    n_open: AtomicUsize,
    /// Some were not taken up, and must be read from the outbox.
    n_missed: AtomicUsize,
    changed: Notify,
    /// Rare, and taken up before any effect that comes later.
    changes: Mutex<Vec<Change>>,
    has_changes: Notify,
}

impl Relay {
    pub(super) fn new() -> (Self, Deliveries) {
        let (queue, incoming) = mpsc::channel(QUEUE_MAX);
        let progress = Arc::new(Progress::default());
        let deliveries = Deliveries { incoming, progress: progress.clone(), late: ShardSet::NONE };
        (Self { queue, progress }, deliveries)
    }

    /// Delivers what was committed and not delivered before this node had its sources, and before
    /// anything that they commit from now on.
    pub(super) fn take_over(&self, left: Left) {
        let Left { parcels, is_full } = left;
        self.progress.n_open.fetch_add(parcels.len(), Ordering::AcqRel);
        if is_full {
            self.progress.n_missed.fetch_add(1, Ordering::AcqRel);
        }
        self.progress.change(Change::TakeOver(parcels));
    }

    /// Delivers nothing more from these shards: their new owners do.
    pub(super) fn abandon(&self, shards: &ShardSet) {
        self.progress.change(Change::Abandon(*shards));
    }

    /// Hands in the effects of a commit. Never waits.
    pub(super) fn send(&self, outgoing: Outgoing) {
        let n = outgoing.effects.len();
        if n == 0 {
            return;
        }
        self.progress.n_open.fetch_add(n, Ordering::AcqRel);
        if self.queue.try_send(outgoing).is_err() {
            self.missed();
            self.progress.close(n);
        }
    }

    /// A commit may have left effects in the outbox that nobody has handed in. Newer ones wait there,
    /// too, until it was read: they must not overtake them.
    pub(super) fn missed(&self) {
        self.progress.n_missed.fetch_add(1, Ordering::AcqRel);
        self.progress.has_changes.notify_one();
    }

    /// Returns once everything handed in has been delivered, and the outbox knows.
    pub(super) async fn idle(&self) {
        loop {
            let changed = self.progress.changed.notified();
            if self.progress.n_open.load(Ordering::Acquire) == 0 {
                return;
            }
            changed.await;
        }
    }
}

impl Progress {
    fn change(&self, change: Change) {
        self.changes().push(change);
        self.has_changes.notify_one();
    }

    /// Never held across an await or a panic, so poison means nothing here.
    fn changes(&self) -> MutexGuard<'_, Vec<Change>> {
        self.changes.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn close(&self, n: usize) {
        if self.n_open.fetch_sub(n, Ordering::AcqRel) == n {
            self.changed.notify_waiters();
        }
    }
}

impl System {
    /// Commits, and hands in what others are to be told of it, also if whoever asked for it is gone by then: its
    /// successor would not know that it has to be told. `is_guess`: it was decided without looking at what there is, so that what is there
    /// says nothing of what became of earlier ones.
    pub(super) async fn commit_and_tell(
        &self,
        commit: Commit,
        outgoing: Outgoing,
        is_guess: bool,
    ) -> Result<(), CommitError> {
        let has_effects = !outgoing.effects.is_empty();
        let system = self.clone();
        let committing = async move {
            let committed = system.journal().commit(commit).await;
            match &committed {
                Ok(()) => system.0.relay.send(outgoing),
                Err(CommitError::Stale { .. }) if is_guess => {}
                // If it was ours, only the outbox knows of its effects.
                Err(CommitError::Stale { .. } | CommitError::Unknown(_)) => system.0.relay.missed(),
                Err(_nothing_was_written) => {}
            }
            committed
        };
        if !has_effects {
            return committing.await;
        }
        let (done, outcome) = oneshot::channel();
        self.spawn(async move { drop(done.send(committing.await)) });
        outcome.await.unwrap_or_else(|_| Err(CommitError::Unknown("the node has stopped".into())))
    }
}

/// One effect on its way.
#[derive(Debug)]
pub(super) struct Parcel {
    key: EffectKey,
    at: Timestamp,
    effect: Effect,
}

/// What was read of what nobody has delivered.
#[derive(Debug)]
pub(super) struct Left {
    pub(super) parcels: Vec<Parcel>,
    /// As much as fits: there may be more.
    is_full: bool,
}

/// What the relay's task owns.
#[derive(Debug)]
pub(super) struct Deliveries {
    incoming: mpsc::Receiver<Outgoing>,
    progress: Arc<Progress>,
    /// Shards that were being adopted when effects were handed in, which that may have missed.
    late: ShardSet,
}

impl Deliveries {
    /// Delivers for ever.
    pub(super) async fn run(mut self, system: System) {
        let mut queues = Queues::default();
        let mut underway: FuturesUnordered<BoxFuture<'static, Told>> = FuturesUnordered::new();
        let mut done = Vec::new();
        let mut forget_at = Instant::now();

        loop {
            while let Some((lane, parcel)) = queues.next() {
                underway.push(Box::pin(deliver(system.clone(), lane, parcel)));
            }
            if !done.is_empty() || queues.n_held() > 0 || self.is_behind() {
                forget_at = forget_at.min(Instant::now() + FORGET_EVERY);
            }
            tokio::select! {
                // What is rare comes first, and a change of owners before what the new one commits.
                biased;
                () = self.progress.has_changes.notified() => self.change(&mut queues),
                () = tokio::time::sleep_until(forget_at) => {
                    forget_at = Instant::now() + IDLE_EVERY;
                    if !done.is_empty() {
                        forget_delivered(&system, &self.progress, &mut done).await;
                    }
                    metrics::gauge!("outrider_effects_open").set(queues.n_held() as f64);
                    if self.is_behind() && queues.n_held() < HELD_MAX / 2 {
                        self.catch_up(&system, &mut queues).await;
                    }
                }
                Some(told) = underway.next() => {
                    queues.finish(&told);
                    done.push(told.key);
                    if done.len() >= FORGET_MAX {
                        forget_delivered(&system, &self.progress, &mut done).await;
                    }
                }
                Some(outgoing) = self.incoming.recv() => self.take_up(&system, outgoing, &mut queues),
            }
        }
    }

    /// Must something be read from the outbox?
    fn is_behind(&self) -> bool {
        self.progress.n_missed.load(Ordering::Acquire) > 0
    }

    fn change(&self, queues: &mut Queues) {
        for change in mem::take(&mut *self.progress.changes()) {
            match change {
                Change::TakeOver(parcels) => self.add(parcels, queues),
                Change::Abandon(shards) => self.progress.close(queues.remove(&shards)),
            }
        }
    }

    fn take_up(&mut self, system: &System, outgoing: Outgoing, queues: &mut Queues) {
        let n = outgoing.effects.len();
        let shard = outgoing.source.shard();
        // Handed in before its shard moved, and read only now: its new owner has it from the outbox, and
        // may be telling what came before it. If that is this node, it may have looked too early.
        if !system.is_held(shard) {
            if system.is_coming(shard) {
                self.late.insert(shard);
                self.progress.n_missed.fetch_add(1, Ordering::AcqRel);
            }
            return self.progress.close(n);
        }
        // While behind, newer effects stay in the outbox too, so that order is kept.
        if queues.n_held() + n > HELD_MAX || self.progress.n_missed.load(Ordering::Acquire) > 0 {
            self.progress.n_missed.fetch_add(1, Ordering::AcqRel);
            self.progress.close(n);
            return;
        }
        let Outgoing { source, version, at, effects } = outgoing;
        let key = |index| EffectKey { source, version, index };
        let parcels =
            (0..).zip(effects).map(|(index, effect)| Parcel { key: key(index), at, effect });
        self.add(parcels, queues);
    }

    /// Takes up parcels that have been counted as open.
    fn add(&self, parcels: impl IntoIterator<Item = Parcel>, queues: &mut Queues) {
        let n_known = parcels.into_iter().filter_map(|it| (!queues.add(it)).then_some(())).count();
        self.progress.close(n_known);
    }

    async fn catch_up(&mut self, system: &System, queues: &mut Queues) {
        self.progress.n_missed.store(0, Ordering::Release);
        self.late = self.late.iter().filter(|shard| system.is_coming(*shard)).collect();
        if !self.late.is_empty() {
            // They are not read yet.
            self.progress.n_missed.fetch_add(1, Ordering::AcqRel);
        }
        match read_outbox(system, &system.held()).await {
            Ok(Left { mut parcels, is_full }) => {
                if is_full {
                    self.progress.n_missed.fetch_add(1, Ordering::AcqRel);
                }
                // Some may have moved while we were reading.
                parcels.retain(|it| system.is_held(it.key.source.shard()));
                self.progress.n_open.fetch_add(parcels.len(), Ordering::AcqRel);
                self.add(parcels, queues);
            }
            Err(error) => {
                warn!(%error, "outbox not read");
                self.progress.n_missed.fetch_add(1, Ordering::AcqRel);
            }
        }
    }
}

/// From whom to whom: effects of one lane are delivered one after the other.
type Lane = (EntityKey, EntityKey);

/// Parcels by lane; a lane whose head is under way waits.
#[derive(Debug, Default)]
struct Queues {
    lanes: HashMap<Lane, VecDeque<Parcel>>,
    /// Lanes whose head somebody waits for.
    awaited: VecDeque<Lane>,
    /// Other lanes that have one.
    ready: VecDeque<Lane>,
    /// How many of either sort are under way.
    n_awaited: usize,
    n_others: usize,
    known: HashSet<EffectKey>,
}

/// A delivery that is over.
#[derive(Debug)]
struct Told {
    lane: Lane,
    key: EffectKey,
    is_awaited: bool,
}

impl Queues {
    fn n_held(&self) -> usize {
        self.known.len()
    }

    /// Returns whether it was not already there.
    fn add(&mut self, parcel: Parcel) -> bool {
        if !self.known.insert(parcel.key) {
            return false;
        }
        let lane = (parcel.key.source, parcel.effect.tell.to());
        let queue = self.lanes.entry(lane).or_insert_with(|| {
            match is_awaited(&parcel.effect.tell) {
                true => self.awaited.push_back(lane),
                false => self.ready.push_back(lane),
            }
            VecDeque::new()
        });
        queue.push_back(parcel);
        true
    }

    /// What is delivered next, if there is room for it.
    fn next(&mut self) -> Option<(Lane, Parcel)> {
        let sorts =
            [(&mut self.awaited, &mut self.n_awaited), (&mut self.ready, &mut self.n_others)];
        let (lane, n_underway) = sorts
            .into_iter()
            .filter(|(_, n)| **n < INFLIGHT_MAX)
            .find_map(|(lanes, n)| Some((lanes.pop_front()?, n)))?;
        let parcel = self.lanes.get_mut(&lane)?.pop_front()?;
        *n_underway += 1;
        Some((lane, parcel))
    }

    /// Removes what waits from these shards; returns how much.
    fn remove(&mut self, shards: &ShardSet) -> usize {
        let n_before = self.known.len();
        let gone = |lane: &Lane| shards.contains(lane.0.shard());
        for lane in self.awaited.iter().chain(&self.ready).filter(|lane| gone(lane)) {
            for parcel in self.lanes.remove(lane).unwrap_or_default() {
                self.known.remove(&parcel.key);
            }
        }
        self.awaited.retain(|lane| !gone(lane));
        self.ready.retain(|lane| !gone(lane));
        // The others' heads are under way: they are removed when that is done.
        for (_, queue) in self.lanes.iter_mut().filter(|(lane, _)| gone(lane)) {
            for parcel in queue.drain(..) {
                self.known.remove(&parcel.key);
            }
        }
        n_before - self.known.len()
    }

    fn finish(&mut self, told: &Told) {
        let Told { lane, key, is_awaited: was_awaited } = *told;
        match was_awaited {
            true => self.n_awaited -= 1,
            false => self.n_others -= 1,
        }
        self.known.remove(&key);
        let head = self.lanes.get(&lane).and_then(VecDeque::front);
        match head.map(|parcel| is_awaited(&parcel.effect.tell)) {
            Some(true) => self.awaited.push_back(lane),
            Some(false) => self.ready.push_back(lane),
            None => drop(self.lanes.remove(&lane)),
        }
    }
}

/// Does somebody wait for it who looks for a driver, or for whom one was found?
fn is_awaited(tell: &Tell) -> bool {
    let is_yes = |command: &search::Command| match command {
        search::Command::OfferAccepted { .. } | search::Command::TakeByRun { .. } => true,
        search::Command::Propose { .. }
        | search::Command::OfferRefused { .. }
        | search::Command::OfferSeen { .. }
        | search::Command::OfferDeclined { .. }
        | search::Command::Claim { .. }
        | search::Command::Settle { .. }
        | search::Command::Bar { .. }
        | search::Command::Pause { .. }
        | search::Command::Unpause {}
        | search::Command::JoinRun { .. }
        | search::Command::LeaveRun { .. }
        | search::Command::DriverLost { .. } => false,
    };
    match tell {
        Tell::Driver { command, .. } => matches!(command, driver::Command::ReserveOffer { .. }),
        Tell::Order { command: order::Command::Search(command), .. }
        | Tell::Rescue { command: rescue::Command::Search(command), .. } => is_yes(command),
        Tell::Run { command, .. } => matches!(command, run::Command::AcceptOffer { .. }),
        Tell::Order { .. }
        | Tell::Rescue { .. }
        | Tell::Rider { .. }
        | Tell::Revocation { .. }
        | Tell::Incident { .. }
        | Tell::Zone { .. }
        | Tell::Rule { .. }
        | Tell::Template { .. } => false,
    }
}

/// Tells, and if that is refused, tells the source.
async fn deliver(system: System, lane: Lane, parcel: Parcel) -> Told {
    let Parcel { key, at, effect: Effect { tell, if_refused } } = parcel;
    let is_awaited = is_awaited(&tell);
    if let Err(refusal) = tell_until_answered(&system, tell, key, at, 0).await {
        match if_refused {
            Some(answer) => {
                let answer = answer.because(&refusal);
                if let Err(refusal) = tell_until_answered(&system, answer, key, at, 1 << 31).await {
                    // The source has moved on; it knows better.
                    tracing::debug!(source = %key.source, %refusal, "answer to a refusal refused");
                }
            }
            None => tracing::debug!(source = %key.source, to = %lane.1, %refusal, "effect refused"),
        }
    }
    Told { lane, key, is_awaited }
}

async fn tell_until_answered(
    system: &System,
    tell: Tell,
    key: EffectKey,
    at: Timestamp,
    salt: u32,
) -> super::Answer {
    let id = CommandId::of_effect(&key.source.to_bytes(), key.version.0, key.index | salt, at);
    let mut tries = 0;
    loop {
        match system.tell(tell.clone(), Principal::System, id, OWN_PATIENCE).await {
            Err(
                refusal @ (Refusal::Busy { .. }
                | Refusal::Unavailable
                | Refusal::Quarantined
                | Refusal::Draining),
            ) => {
                let wait = AGAIN_AFTER[tries.min(AGAIN_AFTER.len() - 1)];
                if tries == AGAIN_AFTER.len() {
                    warn!(to = %tell.to(), %refusal, "effect still not delivered");
                }
                tries += 1;
                tokio::time::sleep(wait).await;
            }
            answer => return answer,
        }
    }
}

/// Empties `done`, unless the journal cannot be reached: then soon again, for what stays in the outbox
/// is delivered again after a restart, and nobody may recognise it by then.
async fn forget_delivered(system: &System, progress: &Progress, done: &mut Vec<EffectKey>) {
    match system.journal().delivered(done.clone()).await {
        Ok(()) => {}
        Err(error) if done.len() < HELD_MAX => {
            return debug!(%error, "delivered effects kept for now");
        }
        Err(error) => warn!(%error, n = done.len(), "delivered effects kept until the next start"),
    }
    progress.close(done.len());
    done.clear();
}

/// What entities of `shards` have committed and nobody has delivered, as much as fits. Asked for at once, for of pages that are
/// asked for one by one each knows only how it was when it was read.
pub(super) async fn read_outbox(system: &System, shards: &ShardSet) -> Result<Left, JournalError> {
    let rows = system.journal().undelivered(shards, None, HELD_MAX).await?;
    let is_full = rows.len() >= HELD_MAX;
    let mut parcels = Vec::with_capacity(rows.len());
    for row in rows {
        match format::decode(&row.bytes) {
            Ok((effect, _)) => parcels.push(Parcel { key: row.key, at: row.at, effect }),
            // Whoever can read it must deliver it, and not find it marked as told.
            Err(error @ Unreadable::Newer(_)) => {
                return Err(JournalError::Unavailable(error.to_string()));
            }
            Err(error @ Unreadable::Rubbish(_)) => {
                error!(source = %row.key.source, %error, "unreadable effect");
            }
        }
    }
    Ok(Left { parcels, is_full })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rider;
    use protocol::{DriverId, JobId, OfferId, OrderId, RiderId};

    const JOB: JobId = JobId::Order(OrderId(uuid::Uuid::nil()));

    fn parcel(source: u64, version: u64, tell: Tell) -> Parcel {
        let source = OrderId::nth(source).into();
        let key = EffectKey { source, version: Version(version), index: 0 };
        Parcel { key, at: Timestamp(1), effect: tell.into() }
    }

    /// What can wait.
    fn closing(n: u64, version: u64) -> Parcel {
        let command = rider::Command::CloseJob { job: JOB };
        parcel(n, version, Tell::Rider { to: RiderId::nth(n), command })
    }

    /// What a driver waits for.
    fn yes(n: u64, version: u64) -> Parcel {
        let (offer, driver) = (OfferId::of(JOB, 0), DriverId::nth(n));
        let command = search::Command::OfferAccepted { offer, driver, slots: vec![0] };
        parcel(n, version, Tell::job(JOB, command))
    }

    fn begun(queues: &mut Queues) -> Vec<Told> {
        std::iter::from_fn(|| queues.next())
            .map(|(lane, parcel)| {
                let is_awaited = is_awaited(&parcel.effect.tell);
                Told { lane, key: parcel.key, is_awaited }
            })
            .collect()
    }

    #[test]
    fn what_somebody_waits_for_comes_first_and_has_room_of_its_own() {
        let mut queues = Queues::default();
        let n = INFLIGHT_MAX as u64 + 10;
        assert!((0..n).all(|n| queues.add(closing(n, 1))));
        assert!(queues.add(yes(n, 1)));
        let mut underway = begun(&mut queues);
        assert!(underway[0].is_awaited, "before those that came earlier");
        assert_eq!(underway.len(), INFLIGHT_MAX + 1, "there is no room for more of them");
        assert!(queues.add(yes(n + 1, 1)));
        assert_eq!(begun(&mut queues).len(), 1, "but for this");
        assert!(begun(&mut queues).is_empty());

        // The room of one sort is not the other's.
        assert!((n + 2..2 * n).all(|n| queues.add(yes(n, 1))));
        assert_eq!(begun(&mut queues).len(), INFLIGHT_MAX - 2);
        let last = underway.pop().expect("under way");
        queues.finish(&last);
        let next = begun(&mut queues);
        assert_eq!((next.len(), next[0].is_awaited), (1, false));
    }

    #[test]
    fn in_a_lane_nothing_overtakes_what_came_before_it() {
        let mut queues = Queues::default();
        let to_job = |command| Tell::job(JOB, command);
        let seen = search::Command::OfferSeen { offer: OfferId::of(JOB, 0) };
        assert!(queues.add(parcel(1, 1, to_job(seen))));
        assert!(queues.add(yes(1, 2)));
        let first = begun(&mut queues);
        assert_eq!((first.len(), first[0].key.version), (1, Version(1)));
        queues.finish(&first[0]);
        let then = begun(&mut queues);
        assert_eq!((then.len(), then[0].key.version, then[0].is_awaited), (1, Version(2), true));
        queues.finish(&then[0]);
        assert!(queues.lanes.is_empty() && queues.known.is_empty());
    }

    #[test]
    fn what_waits_is_given_up_with_its_shard_whichever_sort_it_is() {
        let mut queues = Queues::default();
        assert!(queues.add(yes(1, 1)) && queues.add(closing(1, 2)));
        assert_eq!(queues.remove(&ShardSet::ALL), 2);
        assert!(begun(&mut queues).is_empty() && queues.lanes.is_empty());
    }
}
