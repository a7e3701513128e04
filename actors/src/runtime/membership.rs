//! This node's part in a cluster: who it is, what it has, and whom it can reach.

use super::{
    System,
    custody::{Custody, Hold},
    forwarding::Forwarding,
    post::Post,
    reach::Reach,
    relay,
};
use crate::{
    Format,
    cluster::{
        Incarnation, Settings,
        arbiter::{Arbiter, ArbiterError, Member, NodeCard, Picture, Standing},
        envelope::Warm,
        routes::Routes,
        transport::{Incoming, Transport},
    },
};
use arc_swap::ArcSwap;
use protocol::{ShardId, ShardSet, Timestamp};
use serde::Serialize;
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{
        Arc, Mutex, MutexGuard, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};
use thiserror::Error;
use tokio::{
    sync::{Notify, mpsc, watch},
    time::Instant,
};
use tracing::warn;

/// How long a node that starts waits before it asks an arbiter again that did not answer: at first, and at most.
const ASK_AGAIN_AFTER: Duration = Duration::from_millis(250);
const ASK_AGAIN_AFTER_MAX: Duration = Duration::from_secs(5);

/// How long "nobody heard it" proves something, and counts at all of whoever is connected to the arbiter.
const UNHEARD_FOR: Duration = Duration::from_secs(3);

/// How long to wait before reading again what could not be read.
const AGAIN_AFTER: Duration = Duration::from_millis(50);

/// What it takes to be one of several nodes.
#[derive(Debug, Clone)]
pub struct Joining {
    /// Who decides who owns what: the journal's own database.
    pub arbiter: Arc<dyn Arbiter>,
    /// How the others are reached.
    pub transport: Arc<dyn Transport>,
    /// What the node says about itself.
    pub card: NodeCard,
    /// How it takes part.
    pub settings: Settings,
}

/// A node among others.
#[derive(Debug)]
pub(super) struct Membership {
    pub(super) me: Incarnation,
    pub(super) card: NodeCard,
    pub(super) settings: Settings,
    pub(super) arbiter: Arc<dyn Arbiter>,
    pub(super) hears: watch::Receiver<bool>,
    pub(super) post: Post,
    /// What others follow here.
    pub(super) forwarding: Forwarding,
    pub(super) routes: Routes,
    pub(super) custody: Custody,
    /// Who should answer.
    pub(super) reach: Reach,
    /// How everything stood when it was last looked at.
    pub(super) picture: ArcSwap<Picture>,
    /// Wakes whoever looks at the arbiter.
    pub(super) look: Notify,
    pub(super) is_leaving: AtomicBool,
    /// Declared dead: the process must end.
    pub(super) is_over: watch::Sender<bool>,
    pub(super) state: Mutex<State>,
}

/// What is under way.
#[derive(Debug, Default)]
pub(super) struct State {
    /// Whom a message did not reach, and when.
    pub(super) unheard: BTreeMap<Incarnation, Instant>,
    /// Hand-overs from here.
    pub(super) moves: BTreeMap<ShardId, Move>,
    /// What has arrived of shards that are being handed over to here.
    pub(super) arrivals: BTreeMap<ShardId, Arrival>,
    /// Shards whose hand-over failed a moment ago are left alone until then.
    pub(super) resting: BTreeMap<ShardId, Instant>,
    /// Shards whose regions everyone awake will be asked to list itself in again.
    pub(super) relisting: Option<ShardSet>,
    /// Since when this node hears nobody, while others hear each other.
    pub(super) deaf_since: Option<Instant>,
    /// Nodes that look at a board, until when.
    pub(super) boards: BTreeMap<Incarnation, Instant>,
    /// How often each node had renewed its lease, and when that was first seen.
    pub(super) renewed: BTreeMap<Incarnation, (u64, Instant)>,
    /// When everybody was last seen; never, while the arbiter cannot be looked at.
    pub(super) seen_at: Option<Instant>,
}

/// A shard that is on its way from here.
#[derive(Debug, Clone, Serialize)]
pub struct Move {
    /// Which.
    pub shard: ShardId,
    /// To whom.
    pub to: Incarnation,
    /// How far it has come.
    pub phase: Phase,
    /// Since when.
    pub since: Timestamp,
}

/// A step of a hand-over.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Serialize, strum::IntoStaticStr, strum::VariantNames,
)]
#[serde(rename_all = "snake_case")]
#[strum(serialize_all = "snake_case")]
pub enum Phase {
    /// The other node is asked.
    Prepare,
    /// Its entities finish what they do.
    Seal,
    /// The arbiter is told.
    Transfer,
    /// The other node takes over.
    Adopt,
}

/// What has come of a shard before it is ours.
#[derive(Debug)]
pub(super) struct Arrival {
    pub(super) since: Instant,
    pub(super) warm: Vec<Warm>,
}

/// The cluster as one node sees it.
#[derive(Debug, Clone, Serialize)]
pub struct ClusterView {
    /// The node that looks.
    pub me: Incarnation,
    /// How it all stood when it was last looked at.
    pub picture: Picture,
    /// For how much longer the node counts as alive, in milliseconds.
    pub lease_left_ms: u64,
    /// The same for every node, as far as this one has seen it renew itself.
    pub leases_left_ms: BTreeMap<Incarnation, u64>,
    /// Is it connected to the others?
    pub hears: bool,
    /// Is it leaving?
    pub is_leaving: bool,
    /// How many shards are its own.
    pub n_held: usize,
    /// Shards on their way from here.
    pub moves: Vec<Move>,
    /// How many callers wait for a shard that moves.
    pub n_waiting: u32,
    /// How many shards nobody alive has.
    pub n_orphans: usize,
}

/// Where a shard is served.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Place {
    /// Here.
    Here,
    /// There, since that epoch.
    There(Incarnation, u64),
    /// Nobody knows yet, or it is moving: wait a moment.
    Soon,
    /// Here, but this node may not believe so: the arbiter is out of reach.
    Doubtful,
}

/// Why a cluster does not take a node.
#[derive(Debug, Error)]
pub enum JoinError {
    /// It cannot be asked, or says no.
    #[error(transparent)]
    Arbiter(#[from] ArbiterError),
    /// What others have written would be lost on it.
    #[error(
        "the cluster writes format {written}, and this build reads up to {reads}: start a newer one"
    )]
    TooOld {
        /// What is written there.
        written: u32,
        /// What this node reads.
        reads: u32,
    },
    /// Clients of one would not be believed by the other.
    #[error("{node} signs with another key: all nodes of a cluster need the same (auth.key_file)")]
    OtherSecret {
        /// Who has another one.
        node: String,
    },
}

/// What the arbiter says, however long that takes: it may be away, or have too much to do while a whole cluster starts at
/// once. Whoever registers once more replaces itself.
async fn answered<T, F>(ask: impl Fn() -> F) -> Result<T, ArbiterError>
where
    F: Future<Output = Result<T, ArbiterError>>,
{
    let mut pause = ASK_AGAIN_AFTER;
    loop {
        match ask().await {
            Err(error @ ArbiterError::Away(_)) => {
                warn!(%error, "cannot join yet; trying again");
                tokio::time::sleep(pause).await;
                pause = (pause * 2).min(ASK_AGAIN_AFTER_MAX);
            }
            said => return said,
        }
    }
}

impl State {
    /// Takes note of who has renewed its lease since the last look.
    pub(super) fn saw(&mut self, picture: &Picture, now: Instant) {
        self.seen_at = Some(now);
        self.renewed.retain(|who, _| picture.members.contains_key(who));
        for (who, member) in &picture.members {
            let known = self.renewed.entry(*who).or_insert((member.renewals, now));
            if known.0 != member.renewals {
                *known = (member.renewals, now);
            }
        }
    }

    /// Forgets whom a message did not reach, but not long ago. Who is not connected to the arbiter either, as far as was seen, is not
    /// there before it says something: whoever follows what it has would only ask in vain every few seconds.
    pub(super) fn forget_unheard(&mut self, picture: &Picture, now: Instant) {
        self.unheard.retain(|who, at| {
            let is_cut_off = || picture.members.get(who).is_some_and(|it| !it.has_session);
            now - *at < UNHEARD_FOR || is_cut_off()
        });
    }

    /// Whom a message did not reach a moment ago.
    pub(super) fn unheard_lately(&self, now: Instant) -> BTreeSet<Incarnation> {
        let lately = self.unheard.iter().filter(|(_, at)| now - **at < UNHEARD_FOR);
        lately.map(|(who, _)| *who).collect()
    }

    /// Had it renewed nothing for a lease when it was last seen? What it has done since then nobody here knows.
    pub(super) fn is_late(&self, who: Incarnation, ttl: Duration) -> bool {
        let renewed = self.renewed.get(&who);
        renewed.is_some_and(|(_, at)| self.seen_at.is_some_and(|seen_at| seen_at - *at >= ttl))
    }
}

impl Membership {
    /// Announces the node. `incoming` is where everything arrives that others send to it.
    pub(super) async fn announce(
        joining: Joining,
        incoming: mpsc::Sender<Incoming>,
    ) -> Result<Self, JoinError> {
        let Joining { arbiter, transport, card, settings } = joining;
        let can_read = |written: u32| match card.reads {
            reads if reads < written => Err(JoinError::TooOld { written, reads }),
            _ => Ok(()),
        };
        // Before it is registered: that would end another node of its name.
        let before = answered(|| arbiter.look()).await?;
        can_read(before.writes)?;
        let mut others = before.members.into_values().filter(|it| it.standing != Standing::Dead);
        // What stands under its own name may be its former self, with a former key.
        let differs = |it: &Member| {
            let is_said = !it.card.secret.is_empty() && !card.secret.is_empty();
            it.card.node != card.node && is_said && it.card.secret != card.secret
        };
        if let Some(other) = others.find(differs) {
            return Err(JoinError::OtherSecret { node: other.card.node });
        }
        let me = answered(|| arbiter.register(card.clone())).await?;
        // From now on nobody writes more than it reads. What was written before is what counts.
        let picture = answered(|| arbiter.look()).await?;
        if let Err(too_old) = can_read(picture.writes) {
            arbiter.leave(me).await?;
            return Err(too_old);
        }
        transport.listen(me, incoming);
        Ok(Self {
            me,
            card,
            hears: transport.is_connected(),
            post: Post::new(me, transport),
            forwarding: Forwarding::default(),
            routes: Routes::default(),
            custody: Custody::new(settings.waiting_max),
            reach: Reach::new(),
            picture: ArcSwap::from_pointee(picture),
            look: Notify::new(),
            is_leaving: AtomicBool::new(false),
            is_over: watch::Sender::new(false),
            state: Mutex::default(),
            arbiter,
            settings,
        })
    }

    /// The newest format that everyone reads and this node writes.
    pub(super) fn writes(&self) -> Format {
        let by_all = u8::try_from(self.picture.load().writes).unwrap_or(u8::MAX);
        Format(by_all).clamp(Format::FIRST, Format::WRITES)
    }

    /// Is it leaving, and has nothing any more?
    pub(super) fn has_left(&self) -> bool {
        let held = [Hold::Held, Hold::Sealed, Hold::Adopting];
        self.is_leaving.load(Ordering::Acquire)
            && held.iter().all(|hold| self.custody.all(*hold).is_empty())
    }

    /// Where a shard is served, as far as this node knows.
    pub(super) fn place(&self, shard: ShardId) -> Place {
        match self.custody.hold(shard) {
            Hold::Held if self.custody.is_live() => Place::Here,
            Hold::Held => Place::Doubtful,
            Hold::Adopting | Hold::Sealed => Place::Soon,
            Hold::Away => {
                let route = self.routes.get(shard);
                match route.owner.filter(|owner| *owner != self.me && !self.is_dead(*owner)) {
                    Some(owner) => Place::There(owner, route.epoch),
                    None => Place::Soon,
                }
            }
        }
    }

    /// Has it been declared dead? Nobody answers there, and its shards will be elsewhere.
    fn is_dead(&self, who: Incarnation) -> bool {
        let picture = self.picture.load();
        picture.members.get(&who).is_some_and(|it| it.standing == Standing::Dead)
    }

    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What it says about itself when it renews its lease.
    pub(super) fn standing(&self) -> Standing {
        match self.is_leaving.load(Ordering::Acquire) {
            true => Standing::Draining,
            false => Standing::Up,
        }
    }

    /// Everyone else who is not dead.
    pub(super) fn others(&self) -> Vec<Incarnation> {
        let picture = self.picture.load();
        let alive = picture.members.values().filter(|it| it.standing != Standing::Dead);
        alive.map(|it| it.incarnation).filter(|it| *it != self.me).collect()
    }

    pub(super) fn view(&self) -> ClusterView {
        let picture = Picture::clone(&self.picture.load());
        let n_orphans =
            crate::cluster::placement::plan(self.me, &picture, &self.settings).n_orphans;
        let ttl = self.settings.ttl;
        let left = |since: &Instant| ttl.saturating_sub(since.elapsed()).as_millis() as u64;
        let renewed = self.state().renewed.iter().map(|(who, (_, at))| (*who, left(at))).collect();
        ClusterView {
            me: self.me,
            picture,
            lease_left_ms: self.custody.lease_left().as_millis() as u64,
            leases_left_ms: renewed,
            hears: *self.hears.borrow(),
            is_leaving: self.is_leaving.load(Ordering::Acquire),
            n_held: self.custody.all(Hold::Held).len(),
            moves: self.state().moves.values().cloned().collect(),
            n_waiting: self.custody.n_waiting(),
            n_orphans,
        }
    }
}

impl System {
    /// This node's part in a cluster; none, if it is alone.
    pub(super) fn membership(&self) -> Option<&Membership> {
        self.0.membership.as_ref()
    }

    /// How many nodes there are that are not dead, itself among them.
    pub fn cluster_size(&self) -> usize {
        self.membership().map_or(1, |membership| membership.others().len() + 1)
    }

    /// The cluster as this node sees it; none, if it is alone.
    pub fn cluster(&self) -> Option<ClusterView> {
        self.membership().map(Membership::view)
    }

    /// Shards that are on their way from here.
    pub fn moves(&self) -> Vec<Move> {
        let state = self.membership().map(Membership::state);
        state.map_or_else(Vec::new, |state| state.moves.values().cloned().collect())
    }

    /// Who decides who owns what; nobody, if the node is alone.
    pub fn arbiter(&self) -> Option<Arc<dyn Arbiter>> {
        self.membership().map(|membership| Arc::clone(&membership.arbiter))
    }

    /// Returns once others have declared this node dead. Never, if it is alone.
    pub async fn expelled(&self) {
        match self.membership() {
            // An error would mean that the sender is gone, and the node holds it.
            Some(it) => drop(it.is_over.subscribe().wait_for(|is_over| *is_over).await),
            None => std::future::pending().await,
        }
    }

    /// Where a shard is served. Alone, everything is here.
    pub(super) fn place(&self, shard: ShardId) -> Place {
        self.membership().map_or(Place::Here, |membership| membership.place(shard))
    }

    /// Do a shard's entities live here, or are they about to?
    pub fn is_held(&self, shard: ShardId) -> bool {
        self.membership().is_none_or(|it| it.custody.hold(shard) == Hold::Held)
    }

    /// Do any entities live here? Alone, all do.
    pub fn has_shards(&self) -> bool {
        !self.held().is_empty()
    }

    /// Is it neither here nor elsewhere, but may soon be here?
    pub(super) fn is_coming(&self, shard: ShardId) -> bool {
        self.membership()
            .is_some_and(|it| matches!(it.custody.hold(shard), Hold::Adopting | Hold::Sealed))
    }

    /// The epoch this node has a shard under; 0 if it has not, or is alone.
    pub(super) fn epoch(&self, shard: ShardId) -> u64 {
        self.membership().and_then(|it| it.arbiter.epoch(shard)).unwrap_or_default()
    }

    /// A commit says that a shard is somebody else's.
    pub(super) fn fenced(&self, _shard: ShardId) {
        if let Some(membership) = self.membership() {
            membership.look.notify_one();
        }
    }

    /// Makes ready to serve `shards`, whose entities may be known already: what their former owners
    /// left undone is done here.
    pub(super) async fn adopt(&self, shards: &ShardSet, warm: BTreeMap<ShardId, Vec<Warm>>) {
        let Some(membership) = self.membership() else { return };
        let (undelivered, deadlines) = loop {
            // Before anything new is told or decided: what was left is older.
            match tokio::try_join!(relay::read_outbox(self, shards), self.read_deadlines(shards)) {
                Ok(left) => break left,
                Err(error) => {
                    warn!(%error, "what former owners left is read again");
                    tokio::time::sleep(AGAIN_AFTER).await;
                }
            }
            if *membership.is_over.borrow() {
                return;
            }
        };
        self.0.relay.take_over(undelivered);
        let turn = |shard: &ShardId| membership.custody.turn(*shard, Hold::Adopting, Hold::Held);
        let adopted: ShardSet = shards.iter().filter(turn).collect();
        for (shard, everyone) in warm {
            self.arrive(shard, everyone);
        }
        self.arm(deadlines.into_iter().filter(|(_, who)| adopted.contains(who.shard())).collect());
    }

    /// Forgets everything about shards that are not this node's any more.
    pub(super) fn abandon(&self, shards: &ShardSet) {
        let Some(membership) = self.membership() else { return };
        for shard in shards.iter() {
            membership.arbiter.disown(shard);
        }
        membership.custody.set(shards, Hold::Away);
        self.0.relay.abandon(shards);
        self.drop_everyone(shards);
    }

    /// What this node may do with every shard that it takes part in.
    pub(super) fn held(&self) -> ShardSet {
        self.membership().map_or(ShardSet::ALL, |it| it.custody.all(Hold::Held))
    }
}
