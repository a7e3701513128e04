//! Writes to other nodes: one queue for each, bundled as they come; calls that are answered, streams
//! that are followed, and what only needs its latest word.

use super::{System, verdict::Curious};
use crate::{
    EntityKey, Refusal, Topic,
    cluster::{
        Incarnation,
        envelope::{
            self, Bundle, Envelope, ListedBytes, Notice, Reply, Request, SightBytes, UpdateBytes,
        },
        transport::{Full, MESSAGE_BYTES_MAX, Transport},
    },
};
use protocol::{ShardId, ShardSet};
use std::{
    collections::{BTreeMap, HashMap},
    fmt, mem,
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::{
    sync::{Notify, OwnedSemaphorePermit, Semaphore, mpsc, oneshot},
    time::{Instant, timeout_at},
};

/// Most envelopes that wait for one node.
const QUEUE_MAX: usize = 65_536;
/// Most envelopes in one message.
const BUNDLE_MAX: usize = 512;
/// How long sightings and listings wait for newer ones.
const CONFLATE: Duration = Duration::from_millis(20);
/// Most sightings that wait for one node, and most listings.
const CONFLATED_MAX: usize = 65_536;
/// Most sightings or listings in one envelope.
const CONFLATED_PAGE: usize = 500;
/// Most who begin to follow something on one node at once. When it has fallen, or has not had a processor for a while, whole
/// crowds begin anew in the same moment: it should not have to answer all of them before anybody else.
const BEGINNING_MAX: usize = 128;
/// And so many more of those who do not begin anew: they would else stand behind the crowd.
const BEGINNING_FIRST_MAX: usize = 16;
/// A stream that has been silent for this long has ended: its owner says something more often.
pub(super) const SILENCE_MAX: Duration = Duration::from_secs(60);

/// How a call ended.
#[derive(Debug)]
pub(super) enum Outcome {
    /// It was answered.
    Reply(Reply),
    /// It may or may not have arrived; its shard may be elsewhere now. Ask again.
    Lost,
    /// Too much waits for that node. It has not been sent.
    Full,
}

/// Everything on its way to other nodes.
#[derive(Debug)]
pub(super) struct Post {
    me: Incarnation,
    transport: Arc<dyn Transport>,
    boxes: Mutex<HashMap<Incarnation, Arc<Outbox>>>,
    calls: Mutex<BTreeMap<u64, Call>>,
    streams: Mutex<BTreeMap<u64, Stream>>,
    n: AtomicU64,
}

/// What waits for one node.
#[derive(Debug)]
struct Outbox {
    queue: mpsc::Sender<Envelope>,
    conflated: Mutex<Conflated>,
    has_conflated: Notify,
    turns: Turns,
}

/// Who may begin to follow something on one node, so many at once.
#[derive(Debug)]
struct Turns {
    all: Arc<Semaphore>,
    /// Not for those who begin anew.
    first: Arc<Semaphore>,
}

#[derive(Debug, Default)]
struct Conflated {
    sights: BTreeMap<(EntityKey, Topic), (SightBytes, Option<Curious>)>,
    listed: BTreeMap<(u64, EntityKey), ListedBytes>,
}

#[derive(Debug)]
struct Call {
    to: Incarnation,
    shard: ShardId,
    reply: oneshot::Sender<Outcome>,
}

/// Something on another node that is followed here.
struct Stream {
    at: Incarnation,
    entity: EntityKey,
    n: u64,
    /// How much its owner had said of it when it last counted.
    said: u64,
    heard_at: Instant,
    /// Takes what comes; does anyone still want more?
    take: Box<dyn FnMut(UpdateBytes) -> bool + Send>,
}

impl fmt::Debug for Stream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Stream").field("at", &self.at).field("entity", &self.entity).finish()
    }
}

impl Post {
    pub(super) fn new(me: Incarnation, transport: Arc<dyn Transport>) -> Self {
        Self {
            me,
            transport,
            boxes: Mutex::default(),
            calls: Mutex::default(),
            streams: Mutex::default(),
            n: AtomicU64::new(1),
        }
    }

    /// Asks another node, and waits for what it says until `until`.
    pub(super) async fn call(
        &self,
        system: &System,
        to: Incarnation,
        shard: ShardId,
        epoch: u64,
        request: &Request,
        until: Instant,
    ) -> Outcome {
        let call = self.number();
        let (reply, answer) = oneshot::channel();
        lock(&self.calls).insert(call, Call { to, shard, reply });
        let _forget = Forget { post: self, call };
        let patience_ms = until.saturating_duration_since(Instant::now()).as_millis() as u64;
        let body = envelope::encode(request);
        let sent =
            self.send(system, to, Envelope::Request { call, shard, epoch, patience_ms, body });
        if sent.is_err() {
            return Outcome::Full;
        }
        match timeout_at(until, answer).await {
            Ok(Ok(outcome)) => outcome,
            Ok(Err(_)) | Err(_) => Outcome::Lost,
        }
    }

    pub(super) fn reply(&self, system: &System, to: Incarnation, call: u64, reply: &Reply) {
        let body = envelope::encode(reply);
        // Whoever asked will ask again.
        self.send(system, to, Envelope::Reply { call, body }).ok();
    }

    pub(super) fn notify(
        &self,
        system: &System,
        to: Incarnation,
        notice: &Notice,
    ) -> Result<(), Full> {
        self.send(system, to, Envelope::Notice { body: envelope::encode(notice) })
    }

    /// Queues an envelope. Never waits.
    fn send(&self, system: &System, to: Incarnation, envelope: Envelope) -> Result<(), Full> {
        self.outbox(system, to).queue.try_send(envelope).map_err(|_| Full)
    }

    /// Sends a sighting soon, unless a newer one of the same entity about the same thing comes first.
    pub(super) fn show(
        &self,
        system: &System,
        to: Incarnation,
        sight: SightBytes,
        topic: Topic,
        curious: Option<Curious>,
    ) {
        let outbox = self.outbox(system, to);
        let mut conflated = lock(&outbox.conflated);
        let key = (sight.entity, topic);
        if conflated.sights.len() < CONFLATED_MAX || conflated.sights.contains_key(&key) {
            let older = conflated.sights.insert(key, (sight, curious));
            if let Some((_, Some(curious))) = older {
                // What is superseded was as good as seen.
                curious.hear(Ok(()));
            }
            outbox.has_conflated.notify_one();
        }
    }

    /// The same for what a region should know of an entity.
    pub(super) fn list(&self, system: &System, to: Incarnation, listed: ListedBytes) {
        let outbox = self.outbox(system, to);
        let mut conflated = lock(&outbox.conflated);
        let key = (listed.region, listed.entity);
        if conflated.listed.len() < CONFLATED_MAX || conflated.listed.contains_key(&key) {
            conflated.listed.insert(key, listed);
            outbox.has_conflated.notify_one();
        }
    }

    fn outbox(&self, system: &System, to: Incarnation) -> Arc<Outbox> {
        let mut boxes = lock(&self.boxes);
        let outbox = boxes.entry(to).or_insert_with(|| {
            let (queue, letters) = mpsc::channel(QUEUE_MAX);
            let outbox = Arc::new(Outbox {
                queue,
                conflated: Mutex::default(),
                has_conflated: Notify::new(),
                turns: Turns::new(),
            });
            let (bundler, conflater) = (system.clone(), system.clone());
            system.spawn(async move { bundle(&bundler, to, letters).await });
            let weak = Arc::downgrade(&outbox);
            system.spawn(async move {
                while let Some(outbox) = weak.upgrade() {
                    outbox.has_conflated.notified().await;
                    tokio::time::sleep(CONFLATE).await;
                    flush(&conflater, to, &outbox);
                }
            });
            outbox
        });
        Arc::clone(outbox)
    }

    /// An answer has come.
    pub(super) fn answered(&self, call: u64, reply: Reply) {
        if let Some(call) = lock(&self.calls).remove(&call) {
            call.reply.send(Outcome::Reply(reply)).ok();
        }
    }

    /// Whoever waits for these shards where they were should ask again.
    pub(super) fn moved(&self, shards: &ShardSet) {
        self.lose(|call| shards.contains(call.shard));
        lock(&self.streams).retain(|_, stream| !shards.contains(stream.entity.shard()));
    }

    /// Nobody heard what was last sent there.
    pub(super) fn unheard(&self, by: Incarnation) {
        self.lose(|call| call.to == by);
    }

    /// It is dead: nothing more goes there, nothing more comes from there.
    pub(super) fn buried(&self, who: Incarnation) {
        lock(&self.boxes).remove(&who);
        self.lose(|call| call.to == who);
        lock(&self.streams).retain(|_, stream| stream.at != who);
    }

    fn lose(&self, is_lost: impl Fn(&Call) -> bool) {
        let lost: Vec<Call> = lock(&self.calls)
            .extract_if(.., |_, call| is_lost(call))
            .map(|(_, call)| call)
            .collect();
        for call in lost {
            call.reply.send(Outcome::Lost).ok();
        }
    }

    /// Follows something on another node: `take` is given what comes under the number returned.
    pub(super) fn follow(
        &self,
        at: Incarnation,
        entity: EntityKey,
        take: impl FnMut(UpdateBytes) -> bool + Send + 'static,
    ) -> u64 {
        let stream = self.number();
        let heard_at = Instant::now();
        let take = Box::new(take);
        lock(&self.streams).insert(stream, Stream { at, entity, n: 0, said: 0, heard_at, take });
        stream
    }

    /// The turn of somebody who wants to follow something there, or to follow it again, who has it until it is dropped; none, if it
    /// has not come by `until`.
    pub(super) async fn turn(
        &self,
        system: &System,
        at: Incarnation,
        is_again: bool,
        until: Instant,
    ) -> Option<OwnedSemaphorePermit> {
        let outbox = self.outbox(system, at);
        timeout_at(until, outbox.turns.take(is_again)).await.ok()?
    }

    pub(super) fn unfollow(&self, stream: u64) {
        lock(&self.streams).remove(&stream);
    }

    /// Something came for a stream. Does its owner have to be told that nobody follows it any more?
    pub(super) fn updated(&self, stream: u64, n: u64, update: UpdateBytes) -> bool {
        let mut streams = lock(&self.streams);
        let Some(followed) = streams.get_mut(&stream) else { return true };
        if n <= followed.n {
            return false;
        }
        let is_next = n == followed.n + 1;
        (followed.n, followed.heard_at) = (n, Instant::now());
        // After a gap the follower begins anew, with the state as it then is.
        if is_next && (followed.take)(update) {
            return false;
        }
        streams.remove(&stream);
        true
    }

    /// Its owner has said so much of a stream. Does it have to be told that nobody follows it any more?
    pub(super) fn still(&self, at: Incarnation, stream: u64, n: u64) -> bool {
        let mut streams = lock(&self.streams);
        let Some(followed) = streams.get_mut(&stream).filter(|it| it.at == at) else { return true };
        followed.heard_at = Instant::now();
        // What was missing the last time, too, does not come any more: it may be counted before it is sent, but
        // not for so long.
        let is_lost = followed.said > followed.n;
        followed.said = n;
        if !is_lost && (followed.take)(UpdateBytes::Still) {
            return false;
        }
        streams.remove(&stream);
        true
    }

    /// Forgets streams whose owner has long been silent.
    pub(super) fn sweep(&self) {
        let now = Instant::now();
        lock(&self.streams).retain(|_, stream| now - stream.heard_at < SILENCE_MAX);
    }

    fn number(&self) -> u64 {
        self.n.fetch_add(1, Ordering::Relaxed)
    }
}

impl Turns {
    fn new() -> Self {
        let of = |n| Arc::new(Semaphore::new(n));
        Self { all: of(BEGINNING_MAX), first: of(BEGINNING_FIRST_MAX) }
    }

    /// Nobody closes them, so one comes in the end.
    async fn take(&self, is_again: bool) -> Option<OwnedSemaphorePermit> {
        let one_of_all = Arc::clone(&self.all).acquire_owned();
        if is_again {
            return one_of_all.await.ok();
        }
        let turn = tokio::select! {
            biased;
            turn = one_of_all => turn,
            turn = Arc::clone(&self.first).acquire_owned() => turn,
        };
        turn.ok()
    }
}

/// Forgets a call nobody waits for any more.
struct Forget<'a> {
    post: &'a Post,
    call: u64,
}

impl Drop for Forget<'_> {
    fn drop(&mut self) {
        lock(&self.post.calls).remove(&self.call);
    }
}

/// Sends what is queued for a node, as much at a time as has gathered.
async fn bundle(system: &System, to: Incarnation, mut queue: mpsc::Receiver<Envelope>) {
    let Some(membership) = system.membership() else { return };
    let post = &membership.post;
    let mut envelopes = Vec::new();
    while queue.recv_many(&mut envelopes, BUNDLE_MAX).await > 0 {
        while !envelopes.is_empty() {
            let mut bytes = 0;
            let fits = envelopes
                .iter()
                .take_while(|envelope| {
                    bytes += size(envelope);
                    bytes <= MESSAGE_BYTES_MAX
                })
                .count();
            // One that is too large by itself fails by itself.
            let rest = envelopes.split_off(fits.max(1));
            let bundled = mem::replace(&mut envelopes, rest);
            let bundle = Bundle { format: system.writes(), from: post.me, envelopes: bundled };
            let message = rmp_serde::to_vec_named(&bundle).expect("plain data");
            if post.transport.send(to, message).is_err() {
                let calls: Vec<u64> = bundle.envelopes.iter().filter_map(call_of).collect();
                let mut waiting = lock(&post.calls);
                for call in calls.into_iter().filter_map(|call| waiting.remove(&call)) {
                    call.reply.send(Outcome::Full).ok();
                }
            }
        }
    }
}

fn call_of(envelope: &Envelope) -> Option<u64> {
    match envelope {
        Envelope::Request { call, .. } => Some(*call),
        Envelope::Reply { .. } | Envelope::Notice { .. } => None,
    }
}

fn size(envelope: &Envelope) -> usize {
    const HEADER: usize = 48;
    match envelope {
        Envelope::Request { body, .. }
        | Envelope::Reply { body, .. }
        | Envelope::Notice { body } => HEADER + body.len(),
    }
}

/// Sends what has been conflated for a node.
fn flush(system: &System, to: Incarnation, outbox: &Outbox) {
    let Some(membership) = system.membership() else { return };
    let Conflated { sights, listed } = mem::take(&mut *lock(&outbox.conflated));
    let mut listed: Vec<_> = listed.into_values().collect();
    while !listed.is_empty() {
        let rest = listed.split_off(listed.len().min(CONFLATED_PAGE));
        let page = mem::replace(&mut listed, rest);
        // Whoever is not listed now is listed with the next position, or when routes change.
        membership.post.notify(system, to, &Notice::Listed(page)).ok();
    }
    let mut sights: Vec<_> = sights.into_values().collect();
    while !sights.is_empty() {
        let rest = sights.split_off(sights.len().min(CONFLATED_PAGE));
        let page = mem::replace(&mut sights, rest);
        let (page, curious): (Vec<_>, Vec<_>) = page.into_iter().unzip();
        let Some(first) = page.first() else { continue };
        let (shard, system) = (first.entity.shard(), system.clone());
        system.clone().spawn(async move {
            let Some(membership) = system.membership() else { return };
            let until = Instant::now() + Duration::from_secs(2);
            let request = Request::See(page);
            let outcome = membership.post.call(&system, to, shard, 0, &request, until).await;
            let mut refused: HashMap<u32, Refusal> = match outcome {
                Outcome::Reply(Reply::Seen(refused)) => refused.into_iter().collect(),
                Outcome::Reply(_) | Outcome::Lost | Outcome::Full => HashMap::new(),
            };
            for (place, curious) in (0..).zip(curious) {
                let seen = refused.remove(&place).map_or(Ok(()), Err);
                if let Some(curious) = curious {
                    curious.hear(seen);
                }
            }
        });
    }
}

/// Never held across an await or a panic, so poison means nothing here.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;

    #[test]
    fn whoever_begins_to_follow_does_not_stand_behind_a_crowd_that_begins_anew() {
        let turns = Turns::new();
        let take = |is_again| turns.take(is_again).now_or_never().flatten();
        let mut crowd: Vec<_> = (0..BEGINNING_MAX).map(|_| take(true).expect("room")).collect();
        assert!(take(true).is_none());
        let mut first: Vec<_> =
            (0..BEGINNING_FIRST_MAX).map(|_| take(false).expect("room")).collect();
        assert!(take(false).is_none());
        first.pop();
        assert!(take(true).is_none(), "that one is not for the crowd");
        crowd.pop();
        assert!(take(true).is_some());
    }
}
