//! The arbiter in the database that the journal is in: one thing to agree with, and the one that has to
//! be reached anyway.
//!
//! ```text
//!  renew ──▶ liveness connection, which holds the session lock ──▶ members
//!  look  ──▶ looking connection ─────────────────────────────────▶ members, heads, pins, locks
//!  steal, hand over, … ──▶ a few connections ────────────────────▶ heads (epoch + 1), epochs
//!  changes ◀── listening connection ◀── notify ────────────────────┘
//! ```
//!
//! None of these is a connection of the journal, so that neither a crowd of commits nor a slow
//! statement makes a node look dead.

mod statements;

use super::{
    GRACE, answering,
    committer::{Shared, now, says},
    millis,
    ownership::N_TAKEN_MAX,
    read,
};
use crate::cluster::{
    Incarnation,
    arbiter::{
        Arbiter, ArbiterError, HandedOver, Head, Member, NodeCard, Picture, Pin, Renewal, Standing,
    },
};
use futures_util::future::{BoxFuture, FutureExt};
use protocol::{ShardId, ShardSet};
use serde::{Deserialize, de::DeserializeOwned};
use sqlx::{
    ConnectOptions, Connection, Executor, PgConnection, PgPool, Postgres, Transaction,
    postgres::{PgConnectOptions, PgListener, PgPoolOptions},
};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{Mutex, watch},
    time::{sleep, timeout},
};
use tokio_util::sync::{CancellationToken, DropGuard};
use tracing::{info, warn};

/// How many statements that change who owns what may run at once.
const N_ACTING_MAX: u32 = 4;
/// How long one of them may take, or wait for a connection. Its caller has given up by then, and
/// looks at what has become of it.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often registering is tried when another of the same name registers at that moment.
const RACES_MAX: u32 = 5;
/// How often the listening connection is asked whether it is still there.
const PING_EVERY: Duration = Duration::from_secs(5);
/// What the server says of a statement that it has given up: it took too long.
const GIVEN_UP: &str = "57014";
/// How long to breathe between attempts to listen.
const BREATHER: Duration = Duration::from_millis(250);

/// One start of a node, as it speaks to the database about itself and the others. Its sessions, and
/// those of the journal it was opened with, are called `outrider <node> <incarnation>`.
#[derive(Debug)]
pub struct PostgresArbiter {
    shared: Arc<Shared>,
    liveness: Line,
    looking: Line,
    acting: PgPool,
    changes: watch::Sender<u64>,
    _listening: DropGuard,
}

/// A connection that is opened when it is needed. It is thrown away when a use of it fails, unless it only took too long, or is
/// not waited for: what it would say next is the answer to something else. A pool asks each of its connections twice or three times
/// whether it is still there; here nothing is asked but what is to be known.
#[derive(Debug)]
pub(super) struct Line {
    options: PgConnectOptions,
    /// The session lock that comes with it.
    lock: Option<i32>,
    connection: Mutex<Option<PgConnection>>,
}

/// A member as [`statements::LOOK`] writes it.
#[derive(Deserialize)]
struct MemberRow {
    incarnation: Incarnation,
    card: NodeCard,
    standing: Standing,
    hears: bool,
    renewals: u64,
    age_ms: u64,
    has_session: bool,
}

/// What the sessions of one start of a node are called.
pub(super) fn session(node: &str, incarnation: i64) -> String {
    format!("outrider {node} {incarnation}")
}

impl PostgresArbiter {
    /// Beside the journal that shares `shared`. Must be called within a tokio runtime.
    pub(super) fn new(shared: Arc<Shared>, options: PgConnectOptions) -> Self {
        let patience = PATIENCE.as_millis().to_string();
        let options = options.options([("statement_timeout", patience.as_str())]);
        let (_, incarnation) = shared.ownership.owner();
        let lock = (incarnation & i64::from(i32::MAX)) as i32;
        // A renewal that is lost in a crash is a renewal that did not happen: no need to wait for a disk.
        let liveness = options.clone().options([("synchronous_commit", "off")]);
        let acting = answering(PgPoolOptions::new(), PATIENCE + GRACE)
            .max_connections(N_ACTING_MAX)
            .acquire_timeout(PATIENCE);
        let changes = watch::Sender::new(0);
        let over = CancellationToken::new();
        drop(tokio::spawn(listen(options.clone(), changes.clone(), over.clone())));
        Self {
            shared,
            liveness: Line::new(liveness, Some(lock)),
            looking: Line::new(options.clone(), None),
            acting: acting.connect_lazy_with(options),
            changes,
            _listening: over.drop_guard(),
        }
    }

    fn me(&self) -> i64 {
        self.shared.ownership.owner().1
    }

    /// Ends what is left of a dead node's sessions, as far as we may.
    async fn terminate(&self, node: &str, incarnation: i64) {
        let ended = sqlx::query_scalar::<_, i64>(statements::TERMINATE)
            .bind(session(node, incarnation))
            .fetch_one(&self.acting)
            .await;
        match ended {
            Ok(n_ended) => info!(node, incarnation, n_ended, "sessions of a dead node are ended"),
            // Its commits are fenced all the same, only some may wait for its locks.
            Err(error) => warn!(node, incarnation, %error, "sessions of a dead node stay"),
        }
    }

    async fn register(&self, card: NodeCard) -> Result<Incarnation, ArbiterError> {
        let (node, me) = self.shared.ownership.owner();
        if card.node != node {
            let problem = format!("opened as {node}, not as {}", card.node);
            return Err(ArbiterError::Refused(problem));
        }
        // Whoever sees the newcomer sees its session, too.
        self.liveness.ask(|connection| connection.ping().boxed()).await.map_err(away)?;
        let written = serde_json::to_string(&card).map_err(|it| refused(&it))?;
        let mut n_races = 0;
        let (standing, replaced) = loop {
            let register = sqlx::query_as(statements::REGISTER)
                .bind(me)
                .bind(node)
                .bind(&written)
                .bind(card.reads.cast_signed())
                .bind(card.writes.cast_signed());
            let registered: sqlx::Result<(String, Vec<i64>, i64)> = async {
                let mut turn = self.turn().await?;
                let registered = register.fetch_one(&mut *turn).await?;
                turn.commit().await.map(|()| registered)
            }
            .await;
            match registered {
                Ok((standing, replaced, _)) => break (standing, replaced),
                Err(sqlx::Error::Database(error))
                    if error.is_unique_violation() && n_races < RACES_MAX =>
                {
                    n_races += 1;
                }
                Err(error) => return Err(away(error)),
            }
        };
        if standing.parse() == Ok(Standing::Dead) {
            return Err(dead(me));
        }
        for incarnation in replaced {
            self.terminate(node, incarnation).await;
        }
        Ok(Incarnation(me.cast_unsigned()))
    }

    async fn renew(
        &self,
        me: Incarnation,
        standing: Standing,
        hears: bool,
    ) -> sqlx::Result<Renewal> {
        let renewed = self.liveness.ask(move |connection| {
            sqlx::query_as(statements::RENEW)
                .bind(me.0.cast_signed())
                .bind(standing.to_string())
                .bind(hears)
                .fetch_one(connection)
                .boxed()
        });
        let (is_alive, _): (bool, i64) = renewed.await?;
        Ok(if is_alive { Renewal::Alive } else { Renewal::Dead })
    }

    async fn look(&self) -> Result<Picture, ArbiterError> {
        let seen = self.looking.ask(|connection| {
            let look = sqlx::query_as(statements::LOOK).bind(i64::from(statements::SESSIONS));
            look.fetch_one(connection).boxed()
        });
        let seen: (Vec<Option<i64>>, Vec<i64>, String, String, i64) = seen.await.map_err(away)?;
        let (owners, epochs, members, pins, writes) = seen;
        let heads = (0..).zip(owners.into_iter().zip(epochs));
        let heads = heads.map(|(shard, (owner, epoch))| Head {
            shard: ShardId(shard),
            owner: owner.map(|it| Incarnation(it.cast_unsigned())),
            epoch: epoch.cast_unsigned(),
        });
        let members: Vec<MemberRow> = read(&members)?;
        let members = members.into_iter().map(|it| (it.incarnation, it.into()));
        Ok(Picture {
            members: members.collect(),
            heads: heads.collect(),
            pins: read::<Vec<Pin>>(&pins)?,
            writes: u32::try_from(writes).map_err(|it| refused(&it))?,
        })
    }

    async fn declare_dead(&self, who: Incarnation, renewals: u64) -> Result<bool, ArbiterError> {
        let (is_judge_alive, is_dead, n_buried) =
            self.bury(who.0.cast_signed(), Some(renewals.cast_signed()), self.me()).await?;
        if !is_judge_alive {
            return Err(dead(self.me()));
        }
        if n_buried > 0 {
            let who = who.0.cast_signed();
            let named = sqlx::query_scalar("SELECT node FROM members WHERE incarnation = $1")
                .bind(who)
                .fetch_optional(&self.acting);
            match named.await {
                Ok(node) => self.terminate(&node.unwrap_or_else(String::new), who).await,
                Err(error) => warn!(who, %error, "sessions of a dead node stay"),
            }
        }
        Ok(is_dead)
    }

    /// Is the judge alive, is `who` dead, and was it we who buried it?
    async fn bury(
        &self,
        who: i64,
        renewals: Option<i64>,
        judge: i64,
    ) -> Result<(bool, bool, i64), ArbiterError> {
        let bury = sqlx::query_as(statements::BURY).bind(who).bind(renewals).bind(judge);
        let buried = async {
            let mut turn = self.turn().await?;
            let buried = bury.fetch_one(&mut *turn).await?;
            turn.commit().await.map(|()| buried)
        };
        buried.await.map_err(away)
    }

    /// Begins something that changes who is alive. One after the other: what may be written is what all of
    /// them read, and two that do not see each other would each get that wrong.
    async fn turn(&self) -> sqlx::Result<Transaction<'static, Postgres>> {
        let mut turn = self.acting.begin().await?;
        sqlx::query(statements::TURN)
            .bind(i64::from(statements::SESSIONS))
            .execute(&mut *turn)
            .await?;
        Ok(turn)
    }

    async fn steal(&self, me: i64, shards: ShardSet) -> Result<Vec<Head>, ArbiterError> {
        let mut taken = Vec::new();
        for shards in numbers(shards).chunks(N_TAKEN_MAX) {
            match self.steal_some(me, shards).await {
                Ok(heads) => taken.extend(heads),
                Err(error) if taken.is_empty() => return Err(error),
                // What is ours by now need not wait for the others, which somebody tries again.
                Err(error) => {
                    warn!(me, n_taken = taken.len(), %error, "some shards could not be taken");
                    break;
                }
            }
        }
        Ok(taken)
    }

    async fn steal_some(&self, me: i64, shards: &[i32]) -> Result<Vec<Head>, ArbiterError> {
        read::warm(&self.acting, shards).await.map_err(away)?;
        let rows: Vec<(bool, Option<i32>, Option<i64>, i64)> = sqlx::query_as(statements::STEAL)
            .bind(shards)
            .bind(self.shared.ownership.owner().0)
            .bind(me)
            .bind(millis(now()))
            .fetch_all(&self.acting)
            .await
            .map_err(away)?;
        if rows.iter().any(|(is_alive, ..)| !is_alive) {
            return Err(dead(me));
        }
        let taken = rows.into_iter().filter_map(|(_, shard, epoch, _)| {
            Some(head(ShardId(u16::try_from(shard?).ok()?), me, epoch?))
        });
        let taken: Vec<_> = taken.collect();
        for head in &taken {
            self.shared.ownership.own(head.shard, head.epoch);
        }
        Ok(taken)
    }

    async fn hand_over(
        &self,
        me: i64,
        shard: ShardId,
        to: Incarnation,
    ) -> Result<HandedOver, ArbiterError> {
        let ownership = &self.shared.ownership;
        let epoch = ownership.epoch(shard).unwrap_or_default();
        let (is_alive, is_heir_up, owner, epoch, _): (bool, bool, Option<i64>, Option<i64>, i64) =
            sqlx::query_as(statements::HAND_OVER)
                .bind(i32::from(shard.0))
                .bind(me)
                .bind(epoch.cast_signed())
                .bind(to.0.cast_signed())
                .bind(millis(now()))
                .fetch_one(&self.acting)
                .await
                .map_err(away)?;
        match epoch {
            Some(epoch) => {
                ownership.disown(shard);
                Ok(HandedOver::To(epoch.cast_unsigned()))
            }
            None if !is_alive => Err(dead(me)),
            None if !is_heir_up => Err(ArbiterError::Refused(format!("{to} takes no shards"))),
            // A commit of unknown fate has taken a new epoch, or is about to.
            None if owner == Some(me) => Err(ArbiterError::Away(format!("{shard} is unsettled"))),
            None => Ok(HandedOver::NotOurs),
        }
    }

    async fn reclaim(&self, me: i64, shard: ShardId) -> Result<Option<Head>, ArbiterError> {
        let (is_alive, epoch): (bool, Option<i64>) = sqlx::query_as(statements::RECLAIM)
            .bind(i32::from(shard.0))
            .bind(self.shared.ownership.owner().0)
            .bind(me)
            .bind(millis(now()))
            .fetch_one(&self.acting)
            .await
            .map_err(away)?;
        match epoch.map(|epoch| head(shard, me, epoch)) {
            Some(head) => {
                self.shared.ownership.own(shard, head.epoch);
                Ok(Some(head))
            }
            None if !is_alive => Err(dead(me)),
            None => {
                self.shared.ownership.disown(shard);
                Ok(None)
            }
        }
    }

    async fn release(&self, me: i64, shards: ShardSet) -> Result<(), ArbiterError> {
        let released = sqlx::query_as(statements::RELEASE).bind(numbers(shards)).bind(me);
        let (is_alive, _): (bool, i64) = released.fetch_one(&self.acting).await.map_err(away)?;
        if !is_alive {
            return Err(dead(me));
        }
        shards.iter().for_each(|shard| self.shared.ownership.disown(shard));
        Ok(())
    }

    async fn pin(&self, shard: ShardId, node: Option<String>) -> Result<(), ArbiterError> {
        let pinned =
            sqlx::query_as(statements::PIN).bind(i32::from(shard.0)).bind(node).bind(self.me());
        let (is_alive, _): (bool, i64) = pinned.fetch_one(&self.acting).await.map_err(away)?;
        if is_alive { Ok(()) } else { Err(dead(self.me())) }
    }
}

impl Arbiter for PostgresArbiter {
    fn register(&self, card: NodeCard) -> BoxFuture<'_, Result<Incarnation, ArbiterError>> {
        self.register(card).boxed()
    }

    fn renew(
        &self,
        me: Incarnation,
        standing: Standing,
        hears: bool,
    ) -> BoxFuture<'_, Result<Renewal, ArbiterError>> {
        async move { self.renew(me, standing, hears).await.map_err(away) }.boxed()
    }

    fn look(&self) -> BoxFuture<'_, Result<Picture, ArbiterError>> {
        self.look().boxed()
    }

    fn declare_dead(
        &self,
        who: Incarnation,
        renewals: u64,
    ) -> BoxFuture<'_, Result<bool, ArbiterError>> {
        self.declare_dead(who, renewals).boxed()
    }

    fn steal(
        &self,
        me: Incarnation,
        shards: ShardSet,
    ) -> BoxFuture<'_, Result<Vec<Head>, ArbiterError>> {
        self.steal(me.0.cast_signed(), shards).boxed()
    }

    fn hand_over(
        &self,
        me: Incarnation,
        shard: ShardId,
        to: Incarnation,
    ) -> BoxFuture<'_, Result<HandedOver, ArbiterError>> {
        self.hand_over(me.0.cast_signed(), shard, to).boxed()
    }

    fn reclaim(
        &self,
        me: Incarnation,
        shard: ShardId,
    ) -> BoxFuture<'_, Result<Option<Head>, ArbiterError>> {
        self.reclaim(me.0.cast_signed(), shard).boxed()
    }

    fn release(
        &self,
        me: Incarnation,
        shards: ShardSet,
    ) -> BoxFuture<'_, Result<(), ArbiterError>> {
        self.release(me.0.cast_signed(), shards).boxed()
    }

    fn leave(&self, me: Incarnation) -> BoxFuture<'_, Result<(), ArbiterError>> {
        let me = me.0.cast_signed();
        async move { self.bury(me, None, me).await.map(drop) }.boxed()
    }

    fn pin(&self, shard: ShardId, node: Option<String>) -> BoxFuture<'_, Result<(), ArbiterError>> {
        self.pin(shard, node).boxed()
    }

    fn own(&self, shard: ShardId, epoch: u64) {
        self.shared.ownership.own(shard, epoch);
    }

    fn disown(&self, shard: ShardId) {
        self.shared.ownership.disown(shard);
    }

    fn epoch(&self, shard: ShardId) -> Option<u64> {
        self.shared.ownership.epoch(shard)
    }

    fn changes(&self) -> watch::Receiver<u64> {
        self.changes.subscribe()
    }
}

impl Line {
    pub(super) fn new(options: PgConnectOptions, lock: Option<i32>) -> Self {
        Self { options, lock, connection: Mutex::default() }
    }

    /// Asks something that may be asked twice: once more, if the connection was lost since it was last used.
    async fn ask<T>(
        &self,
        ask: impl for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, sqlx::Result<T>>,
    ) -> sqlx::Result<T> {
        let mut slot = self.connection.lock().await;
        self.ask_on(&mut slot, ask).await
    }

    /// The same, unless somebody else is asking something.
    pub(super) async fn ask_if_free<T>(
        &self,
        ask: impl for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, sqlx::Result<T>>,
    ) -> Option<sqlx::Result<T>> {
        let mut slot = self.connection.try_lock().ok()?;
        Some(self.ask_on(&mut slot, ask).await)
    }

    async fn ask_on<T>(
        &self,
        slot: &mut Option<PgConnection>,
        ask: impl for<'c> Fn(&'c mut PgConnection) -> BoxFuture<'c, sqlx::Result<T>>,
    ) -> sqlx::Result<T> {
        if let Some(mut connection) = slot.take() {
            let answer = ask(&mut connection).await;
            let is_well = match &answer {
                Ok(_) => true,
                // It would take as long again.
                Err(error) => says(error, GIVEN_UP),
            };
            if is_well {
                *slot = Some(connection);
                return answer;
            }
        }
        let mut connection = self.open().await?;
        let answer = ask(&mut connection).await?;
        *slot = Some(connection);
        Ok(answer)
    }

    async fn open(&self) -> sqlx::Result<PgConnection> {
        let mut connection = self.options.connect().await?;
        if let Some(lock) = self.lock {
            let locked =
                sqlx::query(statements::LOCK_SESSION).bind(statements::SESSIONS).bind(lock);
            locked.execute(&mut connection).await?;
        }
        Ok(connection)
    }
}

impl From<MemberRow> for Member {
    fn from(row: MemberRow) -> Self {
        let MemberRow { incarnation, card, standing, hears, renewals, age_ms, has_session } = row;
        let age = Duration::from_millis(age_ms);
        Self { incarnation, card, standing, hears, renewals, age, has_session }
    }
}

/// Counts what is told, and every time that something may have been missed.
async fn listen(options: PgConnectOptions, changes: watch::Sender<u64>, over: CancellationToken) {
    let listening = async {
        loop {
            // Each time another: one that is not answered keeps its place for as long as the network wants.
            let once = PgPoolOptions::new().max_connections(1).acquire_timeout(PATIENCE);
            if let Err(error) = hear(&once.connect_lazy_with(options.clone()), &changes).await {
                info!(%error, "changes of the cluster are not heard");
            }
            sleep(BREATHER).await;
        }
    };
    over.run_until_cancelled(listening).await;
}

/// Listens until the connection is lost.
async fn hear(database: &PgPool, changes: &watch::Sender<u64>) -> sqlx::Result<()> {
    let mut listener = PgListener::connect_with(database).await?;
    listener.listen(statements::CHANNEL).await?;
    changes.send_modify(|n| *n += 1);
    loop {
        match timeout(PING_EVERY, listener.try_recv()).await {
            Ok(heard) => match heard? {
                Some(_) => changes.send_modify(|n| *n += 1),
                None => return Ok(()),
            },
            // Silence may be a connection whose other end is gone.
            Err(_) => {
                let ping = timeout(PING_EVERY, listener.execute("SELECT 1")).await;
                ping.unwrap_or(Err(sqlx::Error::PoolTimedOut))?;
            }
        }
    }
}

fn numbers(shards: ShardSet) -> Vec<i32> {
    shards.iter().map(|shard| i32::from(shard.0)).collect()
}

fn head(shard: ShardId, owner: i64, epoch: i64) -> Head {
    Head { shard, owner: Some(Incarnation(owner.cast_unsigned())), epoch: epoch.cast_unsigned() }
}

fn read<T: DeserializeOwned>(json: &str) -> Result<T, ArbiterError> {
    serde_json::from_str(json).map_err(|it| refused(&it))
}

fn away(error: sqlx::Error) -> ArbiterError {
    ArbiterError::Away(error.to_string())
}

fn refused(error: &dyn std::error::Error) -> ArbiterError {
    ArbiterError::Refused(error.to_string())
}

fn dead(who: i64) -> ArbiterError {
    ArbiterError::Refused(format!("{} is dead", Incarnation(who.cast_unsigned())))
}
