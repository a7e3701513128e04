//! Keeps the node alive in the eyes of the others, and its shards where they belong.
//!
//! ```text
//!  renew ──every 400 ms──► arbiter          look ──► judge the others ──► declare dead
//!    │ not in time: nothing here counts       │
//!    ▼                                        ├──► learn who has what ──► steal what is nobody's
//!  lease                                      └──► hand over what belongs elsewhere
//! ```

use super::{
    System,
    custody::Hold,
    membership::{Membership, State},
};
use crate::cluster::{
    Incarnation,
    arbiter::{ArbiterError, Head, Member, Picture, Renewal, Standing},
    envelope::Notice,
    observer::{Accusation, Observer},
    placement,
};
use protocol::{ShardId, ShardSet};
use std::{
    collections::{BTreeMap, BTreeSet},
    sync::{Arc, atomic::Ordering},
    time::Duration,
};
use tokio::{
    task::JoinSet,
    time::{Instant, MissedTickBehavior, timeout},
};
use tracing::{error, info, warn};

/// How often the arbiter is looked at when nothing calls for it.
const LOOK_EVERY: Duration = Duration::from_millis(200);
/// A node that is given no shard takes nothing and gives nothing: it need not know so soon, and there may be
/// many of them. Whatever moves calls it all the same, and while an owner is silent it looks often enough to be a judge.
const LOOK_EVERY_IDLY: Duration = Duration::from_secs(2);
/// …and how often at most.
const LOOK_GAP: Duration = Duration::from_millis(10);
/// Everybody is called to look whenever a shard moves: so that a busy database does not do much else, a node
/// waits so many times as long as its last look took.
const LOOK_SHARE: u32 = 4;
/// How long a shard that was given to this node waits for the word of its former owner.
const ADOPT_GRACE: Duration = Duration::from_millis(500);
/// How long a shard stays where it is after its hand-over failed.
const REST: Duration = Duration::from_secs(2);
/// How long a node must be the one that hears nobody, while others hear each other, before it gives its
/// shards away. When the broker restarts, everyone is for a moment: some are back before others.
const DEAF_FOR: Duration = Duration::from_secs(3);

/// Renews the lease, for ever.
pub(super) async fn renew(system: System) {
    let Some(membership) = system.membership() else { return };
    let settings = &membership.settings;
    let mut every = tokio::time::interval(settings.renew);
    every.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut is_well = true;
    loop {
        every.tick().await;
        // Counted from before it was asked for: the arbiter counts from later.
        let asked = Instant::now();
        let hears = *membership.hears.borrow();
        let renewal = membership.arbiter.renew(membership.me, membership.standing(), hears);
        match timeout(settings.ttl - settings.margin(), renewal).await {
            Ok(Ok(Renewal::Alive)) => {
                let was_live = membership.custody.is_live();
                membership.custody.extend(asked + settings.ttl - settings.margin());
                if !was_live {
                    membership.note_live();
                }
                metrics::histogram!("outrider_cluster_renew_seconds").record(asked.elapsed());
                if !is_well {
                    info!(me = %membership.me, "the lease is renewed again");
                }
                is_well = true;
            }
            Ok(Ok(Renewal::Dead)) => return expel(&system, membership),
            outcome => {
                if is_well {
                    let problem = match outcome {
                        Ok(Err(error)) => error.to_string(),
                        Ok(Ok(_)) | Err(_) => "no answer in time".to_owned(),
                    };
                    warn!(me = %membership.me, problem, "the lease is not renewed");
                }
                is_well = false;
            }
        }
        metrics::gauge!("outrider_cluster_lease_remaining_seconds")
            .set(membership.custody.lease_left().as_secs_f64());
    }
}

/// Others have declared this node dead: nothing it has counts any more. Unless it has left by its own word,
/// and has nothing: then it may still tell those it serves where to go.
fn expel(system: &System, membership: &Membership) {
    if !*membership.is_over.borrow() && !membership.has_left() {
        error!(me = %membership.me, "declared dead by another node: giving up everything");
        system.abandon(&ShardSet::ALL);
        membership.is_over.send_replace(true);
    }
}

/// Looks at the arbiter and does what follows, for ever.
pub(super) async fn look(system: System) {
    let Some(membership) = system.membership() else { return };
    let mut observer = Observer::new(&membership.settings);
    let mut changes = membership.arbiter.changes();
    let mut moves = JoinSet::new();
    let mut elsewhere = Vec::new();
    let mut is_well = true;
    let mut is_sparing = false;
    let mut is_called = false;
    let mut soonest = Instant::now();
    let mut latest = soonest + LOOK_EVERY;
    loop {
        tokio::select! {
            biased;
            () = tokio::time::sleep_until(if is_called { soonest } else { latest }) => {}
            changed = changes.changed(), if !is_called => {
                if changed.is_err() {
                    tokio::time::sleep(LOOK_EVERY).await;
                }
                is_called = true;
                continue;
            }
            () = membership.look.notified(), if !is_called => {
                is_called = true;
                continue;
            }
            Some(_done) = moves.join_next() => {
                begin_moves(&system, membership, &elsewhere, &mut moves);
                continue;
            }
        }
        if *membership.is_over.borrow() {
            return;
        }
        let began = Instant::now();
        match see(&system, membership, &mut observer).await {
            Ok(picture) => {
                is_well = true;
                let n_spared = observer.n_spared();
                metrics::gauge!("outrider_cluster_spared").set(n_spared as f64);
                if n_spared > 0 && !is_sparing {
                    warn!(me = %membership.me, n_spared, "not declared dead, for nobody could take over");
                }
                is_sparing = n_spared > 0;
                elsewhere = act(&system, membership, &picture).await;
                begin_moves(&system, membership, &elsewhere, &mut moves);
            }
            Err(error) => {
                elsewhere.clear();
                observer.failed();
                {
                    // What was seen before says nothing of how they are now.
                    let mut state = membership.state();
                    state.seen_at = None;
                    state.forget_unheard(&membership.picture.load(), Instant::now());
                }
                membership.note_silent();
                if is_well {
                    warn!(me = %membership.me, %error, "the arbiter is not seen");
                }
                is_well = false;
            }
        }
        let now = Instant::now();
        is_called = false;
        soonest = now + ((now - began) * LOOK_SHARE).clamp(LOOK_GAP, LOOK_EVERY);
        latest = now + look_every(membership, now - began);
    }
}

/// How long after a look that took so long a node looks again, if nothing calls for it.
fn look_every(membership: &Membership, took: Duration) -> Duration {
    match membership.card.weight > 0 {
        true => LOOK_EVERY,
        // A judge that has not looked for half a lease has not been well.
        false if membership.is_an_owner_silent() => {
            (membership.settings.ttl / 4).max(took * LOOK_SHARE).min(LOOK_EVERY_IDLY)
        }
        false => LOOK_EVERY_IDLY,
    }
}

/// Looks, declares dead who must be and leaves somebody to take over, and looks again if somebody was.
async fn see(
    system: &System,
    membership: &Membership,
    observer: &mut Observer,
) -> Result<Arc<Picture>, ArbiterError> {
    loop {
        let asked = Instant::now();
        let picture = timeout(membership.settings.ttl / 2, membership.arbiter.look())
            .await
            .map_err(|_| ArbiterError::Away("no answer in time".into()))??;
        let now = Instant::now();
        let unheard: BTreeSet<Incarnation> = {
            let mut state = membership.state();
            state.forget_unheard(&picture, now);
            state.unheard_lately(now)
        };
        knock(system, membership, &picture, &unheard);
        let accusations = observer.looked(asked, now, membership.me, &picture, &unheard);
        membership.state().saw(&picture, now);
        let picture = Arc::new(picture);
        // Before the picture, in which the dead are not any more once nothing is theirs: routes would still lead to them, as if
        // they were well.
        system.learn(&picture.heads);
        membership.picture.store(Arc::clone(&picture));
        membership.note_silent();
        let mut has_news = false;
        for accusation in accusations {
            has_news |= declare(membership, accusation).await;
        }
        if !has_news {
            for (who, member) in &picture.members {
                if member.standing == Standing::Dead {
                    membership.post.buried(*who);
                }
            }
            return Ok(picture);
        }
    }
}

/// Whoever has lost its connection to the arbiter may be gone, and a lease need not be waited for: does
/// its other connection answer? It is asked once more when its silence was a while ago.
fn knock(
    system: &System,
    membership: &Membership,
    picture: &Picture,
    unheard: &BTreeSet<Incarnation>,
) {
    let silent = picture.members.values().filter(|it| !it.has_session);
    for member in silent.filter(|it| it.standing != Standing::Dead) {
        let who = member.incarnation;
        if who != membership.me && !unheard.contains(&who) {
            // Too much waits for it: then it does not answer either.
            membership.post.notify(system, who, &Notice::Knock).ok();
        }
    }
}

async fn declare(membership: &Membership, Accusation { who, renewals, proof }: Accusation) -> bool {
    let declared = membership.arbiter.declare_dead(who, renewals);
    match timeout(membership.settings.ttl, declared).await {
        Ok(Ok(is_dead)) => {
            if is_dead {
                warn!(%who, by = %membership.me, %proof, "declared dead");
                let path: &'static str = proof.into();
                metrics::counter!("outrider_cluster_deaths_declared_total", "path" => path)
                    .increment(1);
            }
            is_dead
        }
        Ok(Err(_)) | Err(_) => false,
    }
}

/// Takes what is this node's to take, lets go of what is not. Returns what belongs elsewhere.
async fn act(
    system: &System,
    membership: &Membership,
    picture: &Picture,
) -> Vec<(ShardId, Incarnation)> {
    if picture.members.get(&membership.me).is_none_or(|me| me.standing == Standing::Dead) {
        expel(system, membership);
        return Vec::new();
    }
    let (ours, lost) = differences(membership, picture);
    if !lost.is_empty() {
        note(&lost, "lost", membership);
        system.abandon(&lost);
    }
    if !ours.is_empty() {
        // Given to us by somebody who did not live to say so, or says so too late.
        adopt_given(system, membership, picture, &ours);
    }
    let plan = placement::plan(membership.me, picture, &membership.settings);
    metrics::gauge!("outrider_cluster_orphan_shards").set(plan.n_orphans as f64);
    metrics::gauge!("outrider_cluster_unanswered_shards").set(membership.n_unanswered() as f64);
    metrics::gauge!("outrider_cluster_shards_owned")
        .set(membership.custody.all(Hold::Held).len() as f64);
    metrics::gauge!("outrider_cluster_shards_adopting")
        .set(membership.custody.all(Hold::Adopting).len() as f64);
    let n_members = picture.members.values().filter(|it| it.standing != Standing::Dead).count();
    metrics::gauge!("outrider_cluster_members").set(n_members as f64);
    metrics::gauge!("outrider_cluster_buffered_messages")
        .set(f64::from(membership.custody.n_waiting()));
    if !plan.steal.is_empty() && !membership.is_leaving.load(Ordering::Acquire) {
        steal(system, membership, plan.steal).await;
    }
    let now = Instant::now();
    let mut state = membership.state();
    let is_leaving = membership.is_leaving.load(Ordering::Acquire);
    match is_deaf(membership.me, picture) {
        true => {
            let since = *state.deaf_since.get_or_insert(now);
            if now - since < DEAF_FOR && !is_leaving {
                return Vec::new();
            }
        }
        false => state.deaf_since = None,
    }
    plan.hand_over
}

/// Hands over what belongs elsewhere, so many shards at once.
fn begin_moves(
    system: &System,
    membership: &Membership,
    elsewhere: &[(ShardId, Incarnation)],
    moves: &mut JoinSet<()>,
) {
    let now = Instant::now();
    let mut state = membership.state();
    state.resting.retain(|_, until| *until > now);
    metrics::gauge!("outrider_cluster_handovers_in_flight").set(state.moves.len() as f64);
    for &(shard, to) in elsewhere {
        let is_busy = state.moves.contains_key(&shard) || state.resting.contains_key(&shard);
        if state.moves.len() >= membership.settings.handovers_max {
            break;
        }
        if !is_busy && membership.custody.hold(shard) == Hold::Held {
            start_move(system, &mut state, shard, to, moves);
        }
    }
}

/// Does `me` hear nobody, while others hear each other?
fn is_deaf(me: Incarnation, picture: &Picture) -> bool {
    let hears = |who: &Incarnation| picture.members.get(who).is_some_and(|it| it.hears);
    let is_up = |it: &Member| it.standing == Standing::Up && it.hears;
    !hears(&me) && picture.members.values().any(is_up)
}

fn start_move(
    system: &System,
    state: &mut State,
    shard: ShardId,
    to: Incarnation,
    moves: &mut JoinSet<()>,
) {
    let first = super::membership::Move {
        shard,
        to,
        phase: super::membership::Phase::Prepare,
        since: system.now(),
    };
    state.moves.insert(shard, first);
    let system = system.clone();
    moves.spawn(async move {
        let is_done = system.hand_over(shard, to).await;
        let Some(membership) = system.membership() else { return };
        let mut state = membership.state();
        state.moves.remove(&shard);
        if !is_done {
            state.resting.insert(shard, Instant::now() + REST);
        }
    });
}

/// Shards the arbiter says are ours and are not held, and those it says are not and are.
fn differences(membership: &Membership, picture: &Picture) -> (ShardSet, ShardSet) {
    let (mut ours, mut lost) = (ShardSet::NONE, ShardSet::NONE);
    for head in &picture.heads {
        let is_ours = head.owner == Some(membership.me);
        match membership.custody.hold(head.shard) {
            Hold::Away if is_ours => {
                // Older than what we know: we have given it away since.
                let route = membership.routes.get(head.shard);
                if head.epoch >= route.epoch && route.owner == Some(membership.me) {
                    ours.insert(head.shard);
                }
            }
            Hold::Held if !is_ours => {
                let epoch = membership.arbiter.epoch(head.shard);
                // Not lost if we have taken it since we looked.
                if epoch.is_none_or(|epoch| head.epoch > epoch) {
                    lost.insert(head.shard);
                }
            }
            // An ambiguous commit found that it is not ours.
            Hold::Held if membership.arbiter.epoch(head.shard).is_none_or(|it| it < head.epoch) => {
                lost.insert(head.shard);
            }
            Hold::Away | Hold::Adopting | Hold::Held | Hold::Sealed => {}
        }
    }
    (ours, lost)
}

fn adopt_given(system: &System, membership: &Membership, picture: &Picture, ours: &ShardSet) {
    let now = Instant::now();
    let mut ready = ShardSet::NONE;
    {
        let mut state = membership.state();
        for shard in ours.iter() {
            let arrival = state
                .arrivals
                .entry(shard)
                .or_insert_with(|| super::membership::Arrival { since: now, warm: Vec::new() });
            if now - arrival.since >= ADOPT_GRACE {
                state.arrivals.remove(&shard);
                ready.insert(shard);
            }
        }
    }
    let taken: ShardSet = ready
        .iter()
        .filter(|shard| membership.custody.turn(*shard, Hold::Away, Hold::Adopting))
        .collect();
    if taken.is_empty() {
        return;
    }
    for head in picture.heads.iter().filter(|head| taken.contains(head.shard)) {
        membership.arbiter.own(head.shard, head.epoch);
    }
    note(&taken, "given", membership);
    let system = system.clone();
    system.clone().spawn(async move { system.adopt(&taken, BTreeMap::new()).await });
}

async fn steal(system: &System, membership: &Membership, shards: ShardSet) {
    let began = Instant::now();
    let wanted: ShardSet = shards
        .iter()
        .filter(|shard| membership.custody.turn(*shard, Hold::Away, Hold::Adopting))
        .collect();
    if wanted.is_empty() {
        return;
    }
    let stolen = timeout(membership.settings.ttl, membership.arbiter.steal(membership.me, wanted));
    let heads: Vec<Head> = match stolen.await {
        Ok(Ok(heads)) => heads,
        // Perhaps they are ours: then the next look says so.
        Ok(Err(_)) | Err(_) => Vec::new(),
    };
    let taken: ShardSet = heads.iter().map(|head| head.shard).collect();
    let missed: ShardSet = wanted.iter().filter(|shard| !taken.contains(*shard)).collect();
    if !missed.is_empty() {
        membership.custody.set(&missed, Hold::Away);
    }
    if taken.is_empty() {
        return;
    }
    system.learn(&heads);
    note(&taken, "steal", membership);
    let system = system.clone();
    system.clone().spawn(async move {
        system.adopt(&taken, BTreeMap::new()).await;
        metrics::histogram!("outrider_cluster_shard_unavailable_seconds", "cause" => "steal")
            .record(began.elapsed());
    });
}

/// One line for each change of ownership, with its cause.
fn note(shards: &ShardSet, cause: &'static str, membership: &Membership) {
    info!(n = shards.len(), cause, me = %membership.me, ?shards, "shards changed hands");
    metrics::counter!("outrider_cluster_ownership_changes_total", "cause" => cause)
        .increment(shards.len() as u64);
}

impl System {
    /// Learns who has what. What changes hands is asked for anew where it is now.
    pub(super) fn learn(&self, heads: &[Head]) {
        let Some(membership) = self.membership() else { return };
        let moved = membership.routes.learn(heads);
        if moved.is_empty() {
            return;
        }
        membership.post.moved(&moved);
        self.regions().forget(&moved, |region| self.sees(region));
        self.relist(&moved);
        membership.custody.notice();
        membership.reach.notice(&moved);
    }

    /// Gives everything to other nodes and leaves the cluster, within `patience`; what is left is given
    /// to nobody, and taken by whoever is there. Asked from here, everything still goes on. Alone, it
    /// does nothing.
    pub async fn leave(&self, patience: Duration) {
        let Some(membership) = self.membership() else { return };
        let until = Instant::now() + patience;
        if membership.is_leaving.swap(true, Ordering::AcqRel) {
            return;
        }
        let (me, hears) = (membership.me, *membership.hears.borrow());
        let told = membership.arbiter.renew(me, Standing::Draining, hears);
        timeout(membership.settings.ttl, told).await.ok();
        let is_empty = async {
            loop {
                let changed = membership.custody.changes();
                membership.look.notify_one();
                let has_left = membership.has_left() && membership.state().moves.is_empty();
                if has_left || *membership.is_over.borrow() {
                    return;
                }
                timeout(LOOK_EVERY, changed).await.ok();
            }
        };
        // With nobody to give them to, they are given to nobody at once.
        let alone = membership.others().is_empty();
        if !alone && tokio::time::timeout_at(until, is_empty).await.is_err() {
            warn!(%me, "not everything was handed over in time");
        }
        let left: ShardSet = ShardSet::ALL
            .iter()
            .filter(|shard| membership.custody.hold(*shard) != Hold::Away)
            .collect();
        if !left.is_empty() {
            timeout(membership.settings.ttl, self.regions().keep(&left)).await.ok();
            self.settle(&left, Duration::from_secs(2)).await;
            let released = membership.arbiter.release(me, left);
            timeout(membership.settings.ttl, released).await.ok();
            note(&left, "release", membership);
            self.abandon(&left);
        }
        timeout(membership.settings.ttl, membership.arbiter.leave(me)).await.ok();
        info!(%me, "left the cluster");
    }
}
