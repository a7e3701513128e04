//! Hands a shard over to another node, with everything its entities know.
//!
//! ```text
//!  PREPARE   will you? then regions keep what they know  not in time: nothing has happened
//!  SEAL      callers wait; each entity hands in itself   not in time: they are woken again here
//!  TRANSFER  one compare-and-set; from here on it is     unknown: a new epoch of our own decides
//!            the other's, whatever becomes of us
//!  ADOPT     it is yours, and this is who was awake      unheard: it finds out by itself, and reads
//!  RELEASE   callers ask there
//! ```

use super::{
    Hosted, OWN_PATIENCE, System, by_kind,
    custody::Hold,
    membership::{Membership, Phase},
    post::Outcome,
};
use crate::{
    Kind,
    cluster::{
        Incarnation,
        arbiter::{ArbiterError, HandedOver, Head},
        envelope::{Notice, Reply, Request, Warm},
    },
};
use protocol::{ShardId, ShardSet};
use std::{collections::BTreeMap, time::Duration};
use strum::IntoEnumIterator;
use tokio::{
    sync::{mpsc, oneshot},
    time::{Instant, timeout, timeout_at},
};
use tracing::{info, warn};

/// Most entities of one shard and kind that are awake.
const AWAKE_MAX: usize = 1 << 20;
/// How long to wait before asking again who has a shard.
const AGAIN_AFTER: Duration = Duration::from_millis(100);

impl System {
    /// Hands a shard over; whether it is another's now.
    pub(super) async fn hand_over(&self, shard: ShardId, to: Incarnation) -> bool {
        let Some(membership) = self.membership() else { return false };
        let step = membership.settings.step_max;
        let mut phases = Phases { membership, shard, began: Instant::now() };
        // Without the others' ear there is nobody to ask: the arbiter's word is enough.
        let hears = *membership.hears.borrow();
        if hears && !self.prepare(membership, shard, to).await {
            return false;
        }
        // While everybody is still served here, and once the other has said yes, for it may be asked again and again: what
        // regions have learned goes with their shard.
        let one: ShardSet = [shard].into_iter().collect();
        timeout(step, self.regions().keep(&one)).await.ok();
        phases.enter(Phase::Seal);
        let sealed_at = Instant::now();
        if !membership.custody.turn(shard, Hold::Held, Hold::Sealed) {
            return false;
        }
        let Ok(everyone) = timeout(step, self.depart(shard)).await else {
            warn!(%shard, "entities did not let go in time");
            // Whoever did not may be in the middle of a commit, which nobody waits for any more: after
            // a new epoch it is there to be read, or never will be.
            self.keep(membership, shard, Vec::new()).await;
            return false;
        };
        if hears {
            for warm in &everyone {
                let notice = Notice::Warm(Box::new(warm.clone()));
                // Whoever is missing is read from the journal.
                membership.post.notify(self, to, &notice).ok();
            }
        }
        phases.enter(Phase::Transfer);
        let n_warm = everyone.len() as u32;
        let Some(epoch) = self.transfer(membership, shard, to, everyone).await else {
            return false;
        };
        phases.enter(Phase::Adopt);
        self.learn(&[Head { shard, owner: Some(to), epoch }]);
        let gone: ShardSet = [shard].into_iter().collect();
        self.abandon(&gone);
        if hears {
            let request = Request::Adopt { epoch, n_warm };
            let until = Instant::now() + step;
            let adopted = membership.post.call(self, to, shard, epoch, &request, until).await;
            if !matches!(adopted, Outcome::Reply(Reply::Fine)) {
                warn!(%shard, %to, "no word that it was adopted");
            }
        }
        phases.done();
        let unavailable = sealed_at.elapsed();
        metrics::histogram!("outrider_cluster_shard_unavailable_seconds", "cause" => "handover")
            .record(unavailable);
        metrics::counter!("outrider_cluster_ownership_changes_total", "cause" => "handover")
            .increment(1);
        info!(%shard, %to, epoch, n_warm, ms = unavailable.as_millis() as u64, cause = "handover", "shard changed hands");
        true
    }

    async fn prepare(&self, membership: &Membership, shard: ShardId, to: Incarnation) -> bool {
        let until = Instant::now() + membership.settings.step_max;
        let epoch = self.epoch(shard);
        let answer = membership.post.call(self, to, shard, epoch, &Request::Prepare, until).await;
        matches!(answer, Outcome::Reply(Reply::Fine))
    }

    /// Lets all entities of a shard finish and hand themselves in.
    async fn depart(&self, shard: ShardId) -> Vec<Warm> {
        // Room for everyone: an entity that leaves waits for nobody.
        let (to, mut leaving) = mpsc::channel(AWAKE_MAX.min(self.n_awake().max(64) + 1024));
        Kind::iter().for_each(|kind| by_kind!(kind, D => D::shards(self).depart(shard, &to)));
        drop(to);
        let mut everyone = Vec::new();
        while let Some(warm) = leaving.recv().await {
            everyone.push(warm);
        }
        everyone.sort_by_key(|warm| warm.entity);
        everyone
    }

    /// Returns the epoch under which it is the other's; none if it is not, and then it is ours again or
    /// somebody else's.
    async fn transfer(
        &self,
        membership: &Membership,
        shard: ShardId,
        to: Incarnation,
        everyone: Vec<Warm>,
    ) -> Option<u64> {
        let step = membership.settings.step_max;
        match timeout(step, membership.arbiter.hand_over(membership.me, shard, to)).await {
            Ok(Ok(HandedOver::To(epoch))) => return Some(epoch),
            Ok(Ok(HandedOver::NotOurs)) => {
                let lost: ShardSet = [shard].into_iter().collect();
                self.abandon(&lost);
                membership.look.notify_one();
                return None;
            }
            Ok(Err(error @ ArbiterError::Refused(_))) => {
                info!(%shard, %to, %error, "hand-over refused");
                self.resume(membership, shard, everyone);
                return None;
            }
            Ok(Err(error @ ArbiterError::Away(_))) => {
                warn!(%shard, %to, %error, "hand-over in doubt");
            }
            Err(_) => warn!(%shard, %to, "hand-over in doubt: no answer in time"),
        }
        // It may still happen. A new epoch of our own keeps it from happening later, or shows that it
        // has happened.
        self.keep(membership, shard, everyone).await;
        None
    }

    /// Goes on serving a shard that was sealed, under a new epoch, unless it is somebody else's by now.
    /// Until that is known nobody is served.
    async fn keep(&self, membership: &Membership, shard: ShardId, everyone: Vec<Warm>) {
        let step = membership.settings.step_max;
        while !*membership.is_over.borrow() {
            match timeout(step, membership.arbiter.reclaim(membership.me, shard)).await {
                Ok(Ok(Some(_ours))) => return self.resume(membership, shard, everyone),
                Ok(Ok(None)) => {
                    let lost: ShardSet = [shard].into_iter().collect();
                    self.abandon(&lost);
                    membership.look.notify_one();
                    return;
                }
                Ok(Err(_)) | Err(_) => tokio::time::sleep(AGAIN_AFTER).await,
            }
        }
    }

    /// Goes on serving a shard that was sealed.
    fn resume(&self, membership: &Membership, shard: ShardId, everyone: Vec<Warm>) {
        let one: ShardSet = [shard].into_iter().collect();
        self.drop_everyone(&one);
        if membership.custody.turn(shard, Hold::Sealed, Hold::Adopting) {
            info!(%shard, "goes on here");
            let system = self.clone();
            let warm = BTreeMap::from([(shard, everyone)]);
            // Whoever slept meanwhile may have missed a deadline.
            self.spawn(async move { system.adopt(&one, warm).await });
        }
    }

    /// Lets entities of shards that go to nobody finish, and write down what they are.
    pub(super) async fn settle(&self, shards: &ShardSet, patience: Duration) {
        let Some(membership) = self.membership() else { return };
        let until = Instant::now() + patience;
        for shard in shards.iter() {
            membership.custody.turn(shard, Hold::Held, Hold::Sealed);
            if timeout_at(until, self.depart(shard)).await.is_err() {
                return;
            }
        }
    }

    /// Another node asks whether it may hand a shard over.
    pub(super) fn may_adopt(&self, shard: ShardId) -> Reply {
        let Some(membership) = self.membership() else { return Reply::Later };
        let is_leaving = membership.is_leaving.load(std::sync::atomic::Ordering::Acquire);
        if is_leaving || membership.custody.hold(shard) != Hold::Away {
            return Reply::Later;
        }
        let arrival = super::membership::Arrival { since: Instant::now(), warm: Vec::new() };
        membership.state().arrivals.insert(shard, arrival);
        Reply::Fine
    }

    /// An entity of a shard that is being handed over to here.
    pub(super) fn arrived(&self, warm: Warm) {
        let Some(membership) = self.membership() else { return };
        let shard = warm.entity.shard();
        if let Some(arrival) = membership.state().arrivals.get_mut(&shard) {
            arrival.since = Instant::now();
            arrival.warm.push(warm);
        }
    }

    /// A shard is ours, says its former owner.
    pub(super) async fn given(&self, shard: ShardId, epoch: u64, from: Incarnation) -> Reply {
        let Some(membership) = self.membership() else { return Reply::Later };
        if !membership.custody.turn(shard, Hold::Away, Hold::Adopting) {
            return Reply::Fine;
        }
        let arrival = membership.state().arrivals.remove(&shard);
        membership.arbiter.own(shard, epoch);
        self.learn(&[Head { shard, owner: Some(membership.me), epoch }]);
        // What was handed in under an older epoch may have changed since.
        let mut warm = arrival.map(|it| it.warm).unwrap_or_default();
        warm.retain(|it| it.epoch + 1 == epoch);
        warm.dedup_by_key(|it| it.entity);
        let n_warm = warm.len();
        let one: ShardSet = [shard].into_iter().collect();
        let (done, is_done) = oneshot::channel();
        let system = self.clone();
        // However long it takes: nobody else will do it.
        self.spawn(async move {
            system.adopt(&one, BTreeMap::from([(shard, warm)])).await;
            done.send(()).ok();
        });
        if timeout(OWN_PATIENCE, is_done).await.is_err() {
            warn!(%shard, "adopting takes long");
        }
        info!(%shard, %from, epoch, n_warm, cause = "given", "shard changed hands");
        Reply::Fine
    }

    /// Wakes entities that moved here.
    pub(super) fn arrive(&self, shard: ShardId, everyone: Vec<Warm>) {
        let mut by_kind: BTreeMap<Kind, Vec<Warm>> = BTreeMap::new();
        for warm in everyone {
            by_kind.entry(warm.entity.kind).or_default().push(warm);
        }
        for (kind, everyone) in by_kind {
            by_kind!(kind, D => D::shards(self).arrive(self, shard, everyone));
        }
    }
}

/// Times the steps of one hand-over, and shows how far it is.
struct Phases<'a> {
    membership: &'a Membership,
    shard: ShardId,
    began: Instant,
}

impl Phases<'_> {
    fn enter(&mut self, phase: Phase) {
        let mut state = self.membership.state();
        if let Some(moving) = state.moves.get_mut(&self.shard) {
            let name: &'static str = moving.phase.into();
            metrics::histogram!("outrider_cluster_handover_seconds", "phase" => name)
                .record(self.began.elapsed());
            moving.phase = phase;
        }
        self.began = Instant::now();
    }

    fn done(&self) {
        metrics::histogram!("outrider_cluster_handover_seconds", "phase" => "adopt")
            .record(self.began.elapsed());
    }
}
