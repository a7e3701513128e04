//! The database behind a network: a node's journal and arbiter send their statements to it by datagram,
//! and wait for the word that they were run.
//!
//! ```text
//!  commit, steal, look …        Statement(7)                Done(7)
//!  node ── lays 7 down ───────────────────► database ───────────────────► node takes what 7 returned
//!                        late, lost, twice    runs it once    late, lost
//! ```
//!
//! What was sent may be run long after whoever sent it gave up, or died. A commit takes along the epoch
//! that its node believed in when it sent it. A commit without an answer leaves its shard ambiguous, as
//! in Postgres: nobody here reads or writes it as its owner before a new epoch was taken.

use super::world::{DATABASE, Datagram, Host, World, lock};
use actors::{
    Claim, Commit, EntityKey, Version, ViewRow,
    cluster::{
        Incarnation,
        arbiter::{Arbiter, ArbiterError, HandedOver, Head, NodeCard, Picture, Renewal, Standing},
    },
    journal::{
        CommitError, EffectKey, FeedCursor, FeedEvent, Forgotten, Journal, JournalError,
        OutboxPosition, OutboxRow, Part, Record, Recorded, RestoreError, Shelf, Stored, ViewQuery,
        memory::{MemoryJournal, arbiter::MemoryArbiter},
    },
};
use futures_util::future::{BoxFuture, FutureExt};
use protocol::{CommandId, Currency, SHARDS, ShardId, ShardSet, Timestamp};
use std::{
    collections::BTreeSet,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};
use tokio::{sync::watch, time::timeout};

/// How long it breathes between attempts to take a new epoch.
const BREATHER: Duration = Duration::from_millis(100);

/// Runs what arrives, for ever, and tells nodes when somebody else has changed something.
pub(crate) async fn serve(world: Arc<World>) {
    let host = Host::open(&world, DATABASE).await;
    let mut sessions = BTreeSet::new();
    let (_, own) = world.database.open();
    let mut changes = own.changes();
    loop {
        let (datagram, from) = host.receive().await;
        let Datagram::Statement(n) = datagram else { continue };
        if let Some(statement) = world.take_up(n) {
            statement();
        }
        sessions.insert(from.clone());
        host.send(&from, &Datagram::Done(n));
        if changes.has_changed().expect("the database is there") {
            changes.mark_unchanged();
            sessions.iter().for_each(|node| host.send(node, &Datagram::Changed));
        }
    }
}

/// One node's connection to the database. Cloning shares it.
#[derive(Debug, Clone)]
pub(crate) struct Connection {
    host: Arc<Host>,
    journal: MemoryJournal,
    arbiter: MemoryArbiter,
    /// Who the node is, once it has registered.
    me: Arc<OnceLock<Incarnation>>,
    beliefs: Arc<Mutex<Vec<Belief>>>,
    changes: watch::Sender<u64>,
}

/// What a node believes of a shard.
#[derive(Debug, Clone, Copy, Default)]
struct Belief {
    /// 0: not ours.
    epoch: u64,
    /// A commit to it may or may not have been written, and may still be.
    is_ambiguous: bool,
}

impl Connection {
    pub(crate) fn open(host: Arc<Host>) -> Self {
        let (journal, arbiter) = host.world.database.open();
        let beliefs = Arc::new(Mutex::new(vec![Belief::default(); usize::from(SHARDS)]));
        Self { host, journal, arbiter, me: Arc::default(), beliefs, changes: watch::Sender::new(0) }
    }

    /// Something has changed, says the database.
    pub(crate) fn changed(&self) {
        self.changes.send_modify(|n| *n += 1);
    }

    /// The database's end of it.
    pub(crate) fn session(&self) -> MemoryArbiter {
        self.arbiter.clone()
    }

    /// Has the database run `statement`. None: no answer came in time, and it may or may not run.
    async fn ask<T: Send + 'static>(
        &self,
        statement: impl FnOnce(&MemoryJournal, &MemoryArbiter) -> T + Send + 'static,
    ) -> Option<T> {
        let outcome = Arc::new(Mutex::new(None));
        let (slot, journal, arbiter) =
            (Arc::clone(&outcome), self.journal.clone(), self.arbiter.clone());
        let n = self.host.world.lay_down(Box::new(move || {
            *lock(&slot) = Some(statement(&journal, &arbiter));
        }));
        let done = self.host.expect(n);
        self.host.send(DATABASE, &Datagram::Statement(n));
        let answered = timeout(self.host.world.patience, done).await;
        self.host.done(n);
        matches!(answered, Ok(Ok(()))).then(|| lock(&outcome).take()).flatten()
    }

    /// The same for a question to the journal.
    fn read<T: Send + 'static>(
        &self,
        entity: Option<EntityKey>,
        question: impl FnOnce(&MemoryJournal) -> BoxFuture<'_, Result<T, JournalError>> + Send + 'static,
    ) -> BoxFuture<'_, Result<T, JournalError>> {
        async move {
            self.readable(entity)?;
            let answer = self.ask(move |journal, _| at_once(question(journal))).await;
            // It may have become so while we were reading.
            self.readable(entity)?;
            answer.unwrap_or_else(|| Err(JournalError::Unavailable("no answer in time".into())))
        }
        .boxed()
    }

    fn readable(&self, entity: Option<EntityKey>) -> Result<(), JournalError> {
        let is_ambiguous = entity.is_some_and(|entity| self.belief(entity.shard()).is_ambiguous);
        let said = || JournalError::Unavailable("what was written is not known yet".into());
        if is_ambiguous { Err(said()) } else { Ok(()) }
    }

    fn told(&self, shards: &ShardSet) -> Result<(), JournalError> {
        let is_ambiguous = shards.iter().any(|shard| self.belief(shard).is_ambiguous);
        let said = || JournalError::Unavailable("what was written is not known yet".into());
        if is_ambiguous { Err(said()) } else { Ok(()) }
    }

    /// The same for what changes who has what. Each answers at once, or not at all.
    fn decide<T: Send + 'static>(
        &self,
        question: impl FnOnce(&MemoryArbiter) -> BoxFuture<'_, Result<T, ArbiterError>> + Send + 'static,
        learn: impl FnOnce(&Self, &T) + Send + 'static,
    ) -> BoxFuture<'_, Result<T, ArbiterError>> {
        async move {
            let answer = self.ask(move |_, arbiter| at_once(question(arbiter))).await;
            let answer =
                answer.unwrap_or_else(|| Err(ArbiterError::Away("no answer in time".into())))?;
            learn(self, &answer);
            Ok(answer)
        }
        .boxed()
    }

    fn belief(&self, shard: ShardId) -> Belief {
        lock(&self.beliefs)[usize::from(shard.0)]
    }

    fn believe(&self, shard: ShardId, change: impl FnOnce(&mut Belief)) {
        let mut beliefs = lock(&self.beliefs);
        let belief = &mut beliefs[usize::from(shard.0)];
        let before = belief.epoch;
        change(belief);
        if belief.epoch != before {
            let (host, epoch) = (&self.host, belief.epoch);
            host.world.story.tell(&[shard.0.into(), epoch], || match epoch {
                0 => format!("{} gives up {shard}", host.name),
                epoch => format!("{} has {shard} under epoch {epoch}", host.name),
            });
        }
    }

    /// Takes a new epoch, however long it takes: afterwards the database knows what became of whatever
    /// was sent under an older one.
    async fn recover(self, me: Incarnation, shard: ShardId, suspected: u64) {
        while self.belief(shard).is_ambiguous {
            let taken = self.ask(move |_, arbiter| at_once(arbiter.reclaim(me, shard))).await;
            let epoch = match taken {
                Some(Ok(Some(head))) => head.epoch,
                Some(Ok(None)) | Some(Err(ArbiterError::Refused(_))) => 0,
                Some(Err(ArbiterError::Away(_))) | None => {
                    tokio::time::sleep(BREATHER).await;
                    continue;
                }
            };
            self.believe(shard, |belief| {
                // Whatever was learned meanwhile is newer.
                if belief.epoch == suspected {
                    *belief = Belief { epoch, is_ambiguous: false };
                }
                belief.is_ambiguous = false;
            });
        }
    }

    async fn commit(&self, commit: Commit) -> Result<(), CommitError> {
        let (shard, entity, version) = (commit.entity.shard(), commit.entity, commit.version());
        let Belief { epoch, is_ambiguous } = self.belief(shard);
        if is_ambiguous {
            return Err(CommitError::Unavailable("what was written is not known yet".into()));
        }
        if epoch == 0 {
            return Err(CommitError::Fenced { shard });
        }
        let (world, name) = (Arc::clone(&self.host.world), self.host.name.clone());
        let outcome = self.ask(move |journal, _| {
            let outcome = journal.commit_under(epoch, commit);
            let what = [shard.0.into(), epoch, version.0, u64::from(outcome.is_ok())];
            world.story.tell(&what, || {
                format!(
                    "database: {name} commits {entity} {} of {shard} under {epoch}: {outcome:?}",
                    version.0
                )
            });
            outcome
        });
        match outcome.await {
            Some(Err(CommitError::Fenced { shard })) => {
                self.believe(shard, |belief| {
                    // It may have come back meanwhile, under a newer epoch.
                    if belief.epoch == epoch {
                        belief.epoch = 0;
                    }
                });
                Err(CommitError::Fenced { shard })
            }
            Some(outcome) => outcome,
            None => {
                let mut is_new = false;
                self.believe(shard, |belief| {
                    if belief.epoch == epoch && !belief.is_ambiguous {
                        belief.is_ambiguous = true;
                        is_new = true;
                    }
                });
                if is_new && let Some(me) = self.me.get().copied() {
                    drop(tokio::spawn(self.clone().recover(me, shard, epoch)));
                }
                Err(CommitError::Unknown("no answer in time".into()))
            }
        }
    }
}

/// What the database in memory answers, which never waits.
fn at_once<T>(answer: BoxFuture<'_, T>) -> T {
    answer.now_or_never().expect("maps in memory answer at once")
}

impl Journal for Connection {
    fn load(&self, entity: EntityKey) -> BoxFuture<'_, Result<Stored, JournalError>> {
        self.read(Some(entity), move |journal| journal.load(entity))
    }

    fn commit(&self, commit: Commit) -> BoxFuture<'_, Result<(), CommitError>> {
        // Whoever stops waiting does not stop it: what becomes of it concerns the shard.
        let connection = self.clone();
        let committed = tokio::spawn(async move { Self::commit(&connection, commit).await });
        async move { committed.await.expect("it only ends with its node") }.boxed()
    }

    fn result(
        &self,
        entity: EntityKey,
        command: CommandId,
    ) -> BoxFuture<'_, Result<Option<Vec<u8>>, JournalError>> {
        self.read(Some(entity), move |journal| journal.result(entity, command))
    }

    fn undelivered(
        &self,
        shards: &ShardSet,
        after: Option<OutboxPosition>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<OutboxRow>, JournalError>> {
        let shards = *shards;
        async move {
            self.told(&shards)?;
            let rows = self.read(None, move |journal| journal.undelivered(&shards, after, limit));
            let rows = rows.await?;
            self.told(&shards)?;
            Ok(rows)
        }
        .boxed()
    }

    fn delivered(&self, effects: Vec<EffectKey>) -> BoxFuture<'_, Result<(), JournalError>> {
        self.read(None, move |journal| journal.delivered(effects))
    }

    fn deadlines(
        &self,
        shards: &ShardSet,
        until: Timestamp,
        after: Option<(Timestamp, EntityKey)>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<(Timestamp, EntityKey)>, JournalError>> {
        let shards = *shards;
        self.read(None, move |journal| journal.deadlines(&shards, until, after, limit))
    }

    fn keep(&self, shelf: Shelf, bytes: Vec<u8>) -> BoxFuture<'_, Result<(), CommitError>> {
        async move {
            let (shard, epoch) = (shelf.shard, self.belief(shelf.shard).epoch);
            if epoch == 0 {
                return Err(CommitError::Fenced { shard });
            }
            let kept = self.ask(move |journal, _| journal.keep_under(epoch, shelf, bytes)).await;
            kept.unwrap_or_else(|| Err(CommitError::Unknown("no answer in time".into())))
        }
        .boxed()
    }

    fn kept(&self, shelf: Shelf) -> BoxFuture<'_, Result<Option<Vec<u8>>, JournalError>> {
        self.read(None, move |journal| journal.kept(shelf))
    }

    fn holder(&self, claim: Claim) -> BoxFuture<'_, Result<Option<EntityKey>, JournalError>> {
        self.read(None, move |journal| journal.holder(claim))
    }

    fn history(
        &self,
        entity: EntityKey,
        after: Version,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Recorded>, JournalError>> {
        self.read(None, move |journal| journal.history(entity, after, limit))
    }

    fn views(
        &self,
        query: ViewQuery,
    ) -> BoxFuture<'_, Result<Vec<(EntityKey, ViewRow)>, JournalError>> {
        self.read(None, move |journal| journal.views(query))
    }

    fn balance(
        &self,
        account: String,
        currency: Currency,
    ) -> BoxFuture<'_, Result<i64, JournalError>> {
        self.read(None, move |journal| journal.balance(account, currency))
    }

    fn feed(
        &self,
        after: FeedCursor,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<FeedEvent>, JournalError>> {
        self.read(None, move |journal| journal.feed(after, limit))
    }

    fn dump(
        &self,
        part: Part,
        after: Option<Record>,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<Record>, JournalError>> {
        self.read(None, move |journal| journal.dump(part, after, limit))
    }

    fn restore(&self, _records: Vec<Record>) -> BoxFuture<'_, Result<(), RestoreError>> {
        async { unreachable!("nobody restores into a cluster that runs") }.boxed()
    }

    fn forget_results(&self, before: Timestamp) -> BoxFuture<'_, Result<Forgotten, JournalError>> {
        self.read(None, move |journal| journal.forget_results(before))
    }

    fn close(&self) -> BoxFuture<'_, Result<(), JournalError>> {
        async { Ok(()) }.boxed()
    }
}

impl Arbiter for Connection {
    fn register(&self, card: NodeCard) -> BoxFuture<'_, Result<Incarnation, ArbiterError>> {
        self.decide(
            move |arbiter| arbiter.register(card),
            |this, me| {
                this.me.set(*me).ok();
            },
        )
    }

    fn renew(
        &self,
        me: Incarnation,
        standing: Standing,
        hears: bool,
    ) -> BoxFuture<'_, Result<Renewal, ArbiterError>> {
        self.decide(move |arbiter| arbiter.renew(me, standing, hears), |_, _| ())
    }

    fn look(&self) -> BoxFuture<'_, Result<Picture, ArbiterError>> {
        let looked = self.decide(Arbiter::look, |_, _| ());
        async move {
            let mut picture = looked.await?;
            picture.heads.retain(|head| self.host.world.in_play.contains(head.shard));
            Ok(picture)
        }
        .boxed()
    }

    fn declare_dead(
        &self,
        who: Incarnation,
        renewals: u64,
    ) -> BoxFuture<'_, Result<bool, ArbiterError>> {
        self.decide(move |arbiter| arbiter.declare_dead(who, renewals), |_, _| ())
    }

    fn steal(
        &self,
        me: Incarnation,
        shards: ShardSet,
    ) -> BoxFuture<'_, Result<Vec<Head>, ArbiterError>> {
        self.decide(
            move |arbiter| arbiter.steal(me, shards),
            |this, heads| heads.iter().for_each(|head| this.own(head.shard, head.epoch)),
        )
    }

    fn hand_over(
        &self,
        me: Incarnation,
        shard: ShardId,
        to: Incarnation,
    ) -> BoxFuture<'_, Result<HandedOver, ArbiterError>> {
        self.decide(
            move |arbiter| arbiter.hand_over(me, shard, to),
            move |this, handed| match handed {
                HandedOver::To(_) => this.disown(shard),
                HandedOver::NotOurs => {}
            },
        )
    }

    fn reclaim(
        &self,
        me: Incarnation,
        shard: ShardId,
    ) -> BoxFuture<'_, Result<Option<Head>, ArbiterError>> {
        self.decide(
            move |arbiter| arbiter.reclaim(me, shard),
            move |this, head| match head {
                Some(head) => this.own(shard, head.epoch),
                None => this.disown(shard),
            },
        )
    }

    fn release(
        &self,
        me: Incarnation,
        shards: ShardSet,
    ) -> BoxFuture<'_, Result<(), ArbiterError>> {
        self.decide(
            move |arbiter| arbiter.release(me, shards),
            move |this, ()| shards.iter().for_each(|shard| this.disown(shard)),
        )
    }

    fn leave(&self, me: Incarnation) -> BoxFuture<'_, Result<(), ArbiterError>> {
        self.decide(move |arbiter| arbiter.leave(me), |_, ()| ())
    }

    fn pin(&self, shard: ShardId, node: Option<String>) -> BoxFuture<'_, Result<(), ArbiterError>> {
        self.decide(move |arbiter| arbiter.pin(shard, node), |_, ()| ())
    }

    fn own(&self, shard: ShardId, epoch: u64) {
        self.believe(shard, |belief| {
            // Old news does not undo newer.
            if epoch > belief.epoch {
                *belief = Belief { epoch, is_ambiguous: false };
            }
        });
    }

    fn disown(&self, shard: ShardId) {
        self.believe(shard, |belief| *belief = Belief::default());
    }

    fn epoch(&self, shard: ShardId) -> Option<u64> {
        Some(self.belief(shard).epoch).filter(|epoch| *epoch > 0)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}
