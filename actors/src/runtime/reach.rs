//! Who should answer, and how to wait until somebody does.
//!
//! A million clients may follow what a node has that is gone, or gets no processor for a while. Were each of them to ask it
//! again by a timer, they would take the processor that it waits for. So they wait for news of the shard: that another node has it, or
//! that whoever has it is heard of again. Then so many at a time ask ([`super::post`]).

use super::{
    System, breathe,
    membership::{Membership, Place},
    remote::{At, Seat},
};
use crate::{
    EntityKey, Refusal,
    cluster::{
        Incarnation,
        arbiter::{Member, Standing},
        routes::Route,
    },
};
use arc_swap::ArcSwap;
use protocol::{SHARDS, ShardId, ShardSet};
use std::{collections::BTreeSet, sync::Arc, time::Duration};
use tokio::{
    sync::{Notify, futures::Notified},
    time::{Instant, sleep, timeout_at},
};

/// How long whoever waits for news of a shard that nobody should answer for goes without any. All there is comes
/// sooner, unless this node cannot look.
const UNANSWERED_MAX: Duration = Duration::from_secs(30);
/// How long at most before another try of what this node has itself: nobody says so when its journal answers again.
const HERE_MAX: Duration = Duration::from_secs(5);
/// How long to wait before asking another node once more what it did not answer: at first, and at most.
const AGAIN_AFTER: [Duration; 2] = [Duration::from_millis(5), Duration::from_millis(250)];

/// Who should not be expected to answer, and who waits for news of which shard.
#[derive(Debug)]
pub(super) struct Reach {
    silent: ArcSwap<BTreeSet<Incarnation>>,
    /// By shard. Wakes those who wait in the order in which they came.
    news: Box<[Notify]>,
}

/// Where a shard is, and whether it should be answered for there.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bearing {
    route: Route,
    is_answered: bool,
}

impl Reach {
    /// Everybody should answer.
    pub(super) fn new() -> Self {
        Self { silent: ArcSwap::default(), news: (0..SHARDS).map(|_| Notify::new()).collect() }
    }

    fn is_silent(&self, who: Incarnation) -> bool {
        self.silent.load().contains(&who)
    }

    /// Nobody else should be expected not to answer. Returns of whom that is news.
    fn silence(&self, silent: BTreeSet<Incarnation>) -> BTreeSet<Incarnation> {
        let before = self.silent.load_full();
        if *before == silent {
            return BTreeSet::new();
        }
        let news = before.symmetric_difference(&silent).copied().collect();
        self.silent.store(Arc::new(silent));
        news
    }

    /// There is news of these shards.
    pub(super) fn notice(&self, shards: &ShardSet) {
        shards.iter().for_each(|shard| self.of(shard).notify_waiters());
    }

    /// Ends with the next news. To be taken before looking for what may have to be waited for.
    fn news(&self, shard: ShardId) -> Notified<'_> {
        self.of(shard).notified()
    }

    fn of(&self, shard: ShardId) -> &Notify {
        &self.news[usize::from(shard.0 % SHARDS)]
    }
}

impl Membership {
    /// Should it not be expected to answer? The dead should not, nor who had renewed nothing for a lease when this node last
    /// looked, nor whom a message did not reach a moment ago, or longer ago if it is not connected to the arbiter either. Of a
    /// node that cannot look nobody is late.
    pub(super) fn is_silent(&self, who: Incarnation) -> bool {
        self.reach.is_silent(who)
    }

    /// Is there one that may be given shards, is not dead, and should not be expected to answer?
    pub(super) fn is_an_owner_silent(&self) -> bool {
        let picture = self.picture.load();
        let mut owners = picture
            .members
            .values()
            .filter(|it| it.standing != Standing::Dead && it.card.weight > 0);
        owners.any(|it| self.is_silent(it.incarnation))
    }

    /// Takes note of who should not be expected to answer, after anything that says so has changed.
    pub(super) fn note_silent(&self) {
        let news = {
            // Held until it is noted, so that what is older does not take the place of what is newer.
            let state = self.state();
            let is_silent = |it: &&Member| {
                let who = it.incarnation;
                it.standing == Standing::Dead
                    || state.is_late(who, self.settings.ttl)
                    || state.unheard.contains_key(&who)
            };
            let picture = self.picture.load();
            let silent = picture.members.values().filter(is_silent).map(|it| it.incarnation);
            self.reach.silence(silent.collect())
        };
        if !news.is_empty() {
            self.notice_of(|owner| news.contains(&owner));
        }
    }

    /// Takes note that this node may believe again that what it has is its own.
    pub(super) fn note_live(&self) {
        self.notice_of(|owner| owner == self.me);
    }

    /// There is news of all shards of these.
    fn notice_of(&self, is_one: impl Fn(Incarnation) -> bool) {
        let routes = self.routes.all();
        let is_theirs = |shard: &ShardId| routes[usize::from(shard.0)].owner.is_some_and(&is_one);
        self.reach.notice(&(0..SHARDS).map(ShardId).filter(is_theirs).collect());
    }

    /// It has been heard of: whatever did not reach it before may now.
    pub(super) fn heard(&self, who: Incarnation) {
        // Hardly ever, so that most messages take no lock.
        if self.is_silent(who) && self.state().unheard.remove(&who).is_some() {
            self.note_silent();
        }
    }

    fn bearing(&self, shard: ShardId) -> Bearing {
        let route = self.routes.get(shard);
        let is_answered = match route.owner {
            Some(owner) if owner == self.me => self.custody.is_live(),
            Some(owner) => !self.is_silent(owner),
            None => false,
        };
        Bearing { route, is_answered }
    }

    /// How many shards nobody should be expected to answer for.
    pub(super) fn n_unanswered(&self) -> usize {
        (0..SHARDS).filter(|shard| !self.bearing(ShardId(*shard)).is_answered).count()
    }

    /// Is it still worth asking there for something that can wait?
    pub(super) fn should_answer(&self, at: At) -> bool {
        self.place(at.shard) == Place::There(at.owner, at.epoch) && !self.is_silent(at.owner)
    }
}

impl System {
    /// Ends when an entity that could not be followed, or is not any more, is worth another try: `after` that long, if whoever has
    /// its shard should answer (sooner, if that is this node), and else once somebody should. What is news of the shard ends it,
    /// too. Many may wait for one shard, and none of them asks anybody meanwhile.
    pub async fn worth_another_try(&self, entity: EntityKey, after: Duration) {
        let Some(membership) = self.membership() else { return sleep(after.min(HERE_MAX)).await };
        let (shard, began) = (entity.shard(), Instant::now());
        let before = membership.bearing(shard);
        let is_here = before.route.owner == Some(membership.me);
        let after = if is_here { after.min(HERE_MAX) } else { after };
        loop {
            let news = membership.reach.news(shard);
            let bearing = membership.bearing(shard);
            if bearing.is_answered && bearing != before {
                return;
            }
            let wait = if bearing.is_answered { after } else { after + UNANSWERED_MAX };
            if timeout_at(began + wait, news).await.is_err() {
                return;
            }
        }
    }

    /// Finds out where something can be followed: where it is answered for. Waits until it is somewhere, for whoever follows has
    /// time.
    pub(super) async fn seat_to_follow(
        &self,
        shard: ShardId,
        until: Instant,
    ) -> Result<Seat, Refusal> {
        loop {
            let seat = self.seat(shard, until).await?;
            let (Seat::There(at), Some(membership)) = (seat, self.membership()) else {
                return Ok(seat);
            };
            let news = membership.reach.news(shard);
            if membership.should_answer(at) {
                return Ok(seat);
            }
            if membership.is_silent(at.owner) && timeout_at(until, news).await.is_err() {
                return Err(Refusal::Unavailable);
            }
        }
    }

    /// Waits before asking again for what was not answered: where it lives here, for a moment; elsewhere the longer the more
    /// often it was in vain, but not beyond the news that it lives somewhere else.
    pub(super) async fn again(
        &self,
        seat: Seat,
        n_lost: &mut u32,
        until: Instant,
    ) -> Result<(), Refusal> {
        breathe(until).await?;
        let (Seat::There(at), Some(membership)) = (seat, self.membership()) else { return Ok(()) };
        let [first, most] = AGAIN_AFTER;
        let wait = (first * (1 << (*n_lost).min(10))).min(most);
        *n_lost += 1;
        // The first time, what was lost may just have been on its way while the shard moved.
        if *n_lost == 1 {
            return Ok(());
        }
        let end = until.min(Instant::now() + wait);
        loop {
            let news = membership.reach.news(at.shard);
            let is_there = membership.place(at.shard) == Place::There(at.owner, at.epoch);
            if !is_there || timeout_at(end, news).await.is_err() {
                return Ok(());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{
        cluster::arbiter::{NodeCard, Picture},
        runtime::membership::State,
    };
    use futures_util::FutureExt;

    fn set(who: impl IntoIterator<Item = u64>) -> BTreeSet<Incarnation> {
        who.into_iter().map(Incarnation).collect()
    }

    #[test]
    fn it_is_news_when_somebody_falls_silent_and_when_it_is_heard_again() {
        let reach = Reach::new();
        assert_eq!(reach.silence(set([])), set([]));
        assert_eq!(reach.silence(set([1, 2])), set([1, 2]));
        assert!(reach.is_silent(Incarnation(1)) && !reach.is_silent(Incarnation(3)));
        assert_eq!(reach.silence(set([1, 2])), set([]), "nothing has changed");
        assert_eq!(reach.silence(set([2, 3])), set([1, 3]));
        assert!(!reach.is_silent(Incarnation(1)));
    }

    /// One node, which has renewed itself so often.
    fn picture(renewals: u64) -> Picture {
        let card = NodeCard {
            node: "node".to_owned(),
            address: String::new(),
            zone: String::new(),
            weight: 100,
            version: String::new(),
            writes: 1,
            reads: 1,
            secret: String::new(),
        };
        let member = Member {
            incarnation: Incarnation(1),
            card,
            standing: Standing::Up,
            hears: true,
            renewals,
            age: Duration::ZERO,
            has_session: true,
        };
        let members = [(member.incarnation, member)].into();
        Picture { members, ..Picture::default() }
    }

    #[test]
    fn who_is_late_was_so_when_it_was_last_seen_however_long_ago_that_is() {
        let (ttl, began) = (Duration::from_secs(2), Instant::now());
        let is_late = |state: &State| state.is_late(Incarnation(1), ttl);
        let mut state = State::default();
        assert!(!is_late(&state), "nobody has looked");
        state.saw(&picture(1), began);
        state.saw(&picture(2), began + ttl);
        assert!(!is_late(&state), "it may renew itself while nobody looks");
        state.saw(&picture(2), began + ttl * 3 / 2);
        assert!(!is_late(&state));
        state.saw(&picture(2), began + ttl * 2);
        assert!(is_late(&state));
        state.seen_at = None;
        assert!(!is_late(&state), "nobody can look");
        state.saw(&picture(2), began + ttl * 4);
        assert!(is_late(&state));
        state.saw(&picture(3), began + ttl * 5);
        assert!(!is_late(&state));
    }

    #[test]
    fn whom_a_message_did_not_reach_is_silent_for_longer_while_the_arbiter_misses_it_too() {
        let (who, began) = (Incarnation(1), Instant::now());
        let (soon, later) = (began + Duration::from_secs(1), began + Duration::from_secs(60));
        let mut picture = picture(1);
        picture.members.get_mut(&who).unwrap().has_session = false;
        let mut state = State::default();
        state.unheard.insert(who, began);
        state.forget_unheard(&picture, soon);
        assert_eq!(state.unheard_lately(soon), set([1]));
        state.forget_unheard(&picture, later);
        assert_eq!(state.unheard_lately(later), set([]), "it proves nothing any more");
        assert!(state.unheard.contains_key(&who));
        picture.members.get_mut(&who).unwrap().has_session = true;
        state.forget_unheard(&picture, later);
        assert!(state.unheard.is_empty());
    }

    #[test]
    fn news_wakes_those_who_wait_for_that_shard_and_nobody_else() {
        let reach = Reach::new();
        let (one, other) = (ShardId(7), ShardId(8));
        let (mut ours, mut theirs) = (Box::pin(reach.news(one)), Box::pin(reach.news(other)));
        assert!(ours.as_mut().now_or_never().is_none());
        reach.notice(&[one].into_iter().collect());
        assert!(ours.now_or_never().is_some());
        assert!(theirs.as_mut().now_or_never().is_none());
    }
}
