//! What every arbiter keeps, said as tests. Each case wants a database of its own.
//!
//! [`arbiter_contract!`](crate::arbiter_contract) runs all of them, so that a case added here holds for
//! every arbiter there is.

use super::{
    Incarnation,
    arbiter::{Arbiter, ArbiterError, HandedOver, Head, NodeCard, Picture, Pin, Renewal, Standing},
};
use crate::{
    Commit, EntityKey, Version,
    commit::EncodedEvent,
    journal::{CommitError, FeedCursor, SharedJournal, Shelf},
};
use futures_util::future::{BoxFuture, join_all};
use protocol::{CommandId, OrderId, SHARDS, ShardId, ShardSet, Timestamp};
use std::{sync::Arc, time::Duration};
use tokio::{task::yield_now, time::timeout};
use uuid::Uuid;

/// Makes one multi-threaded test of each case. `$make` is an async function that returns a
/// [`Database`] without members, and whatever must live as long as it.
#[macro_export]
macro_rules! arbiter_contract {
    ($make:path) => {
        $crate::arbiter_contract! { $make:
            a_newcomer_is_up_and_has_nothing
            incarnations_grow_with_each_start
            whoever_had_the_name_before_is_dead
            registering_again_says_the_same
            a_renewal_is_seen_by_everyone
            whoever_has_just_renewed_is_not_declared_dead
            the_last_that_may_be_given_shards_is_not_declared_dead
            the_dead_are_told_and_refused
            the_dead_are_seen_while_they_are_named_as_owners
            only_what_is_nobodys_or_a_dead_nodes_is_stolen
            of_many_thieves_each_shard_has_one
            a_stolen_shard_takes_commits_of_its_owner_only
            a_shard_handed_over_fences_who_had_it
            what_is_kept_of_a_shard_is_its_owners_only
            a_shard_is_handed_over_by_its_owner_to_one_that_is_up
            a_shard_can_come_back
            a_reclaimed_shard_cannot_be_handed_over_any_more
            what_is_handed_over_cannot_be_reclaimed
            a_released_shard_is_nobodys
            epochs_only_grow
            whoever_leaves_is_dead
            pins_are_seen_until_they_are_taken_out
            formats_are_written_once_everyone_alive_can_read_them
            formats_are_never_unlearnt
            changes_of_owners_and_standings_wake_everyone
        }
    };
    ($make:path: $($case:ident)+) => {$(
        #[tokio::test(flavor = "multi_thread", worker_threads = 4)]
        async fn $case() {
            let (database, _kept) = $make().await;
            $crate::cluster::contract::$case(database).await;
        }
    )+};
}

/// One start of a node, not registered yet.
#[derive(Debug, Clone)]
pub struct Node {
    /// Commits what the node owns.
    pub journal: SharedJournal,
    /// Says what that is.
    pub arbiter: Arc<dyn Arbiter>,
}

/// A database that nodes with the given names can be started on.
pub type Database = Box<dyn Fn(&'static str) -> BoxFuture<'static, Node> + Send + Sync>;

const ANSWERS: &str = "the arbiter answers";
const OURS: &str = "it is its own";
/// How long a change may take to be heard of.
const SOON: Duration = Duration::from_secs(10);

fn card(node: &str) -> NodeCard {
    NodeCard {
        node: node.to_owned(),
        address: format!("http://{node}"),
        zone: "here".to_owned(),
        weight: 100,
        version: "0".to_owned(),
        writes: 1,
        reads: 1,
        secret: String::new(),
    }
}

/// A node that has registered.
struct Joined {
    me: Incarnation,
    node: Node,
}

impl Joined {
    async fn start(database: &Database, name: &'static str) -> Self {
        Self::start_with(database, card(name)).await
    }

    async fn start_with(database: &Database, card: NodeCard) -> Self {
        let name = match &*card.node {
            "one" => "one",
            "two" => "two",
            "three" => "three",
            other => panic!("no node is called {other}"),
        };
        let node = database(name).await;
        let me = node.arbiter.register(card).await.expect(ANSWERS);
        Self { me, node }
    }

    fn arbiter(&self) -> &dyn Arbiter {
        &*self.node.arbiter
    }

    async fn renew(&self) -> Renewal {
        self.arbiter().renew(self.me, Standing::Up, true).await.expect(ANSWERS)
    }

    async fn look(&self) -> Picture {
        self.arbiter().look().await.expect(ANSWERS)
    }

    async fn head(&self, shard: u16) -> Head {
        self.look().await.heads[usize::from(shard)]
    }

    async fn steal(&self, shards: impl IntoIterator<Item = u16>) -> Vec<Head> {
        self.arbiter().steal(self.me, set(shards)).await.expect(ANSWERS)
    }

    async fn hand_over(&self, shard: u16, to: &Self) -> HandedOver {
        self.arbiter().hand_over(self.me, ShardId(shard), to.me).await.expect(ANSWERS)
    }

    async fn declare_dead(&self, other: &Self) {
        let seen = self.look().await.members[&other.me].renewals;
        assert!(self.arbiter().declare_dead(other.me, seen).await.expect(ANSWERS));
    }

    fn epoch(&self, shard: u16) -> Option<u64> {
        self.arbiter().epoch(ShardId(shard))
    }

    /// Whatever a dead node writes is fenced, once its connections, which may have been ended, are back.
    async fn is_fenced(&self, entity: EntityKey, expected: u64) -> bool {
        let outcome = async {
            loop {
                match self.commit(entity, expected).await {
                    Err(CommitError::Unknown(_) | CommitError::Unavailable(_)) => yield_now().await,
                    outcome => break outcome,
                }
            }
        };
        let outcome = timeout(SOON, outcome).await.expect("it is back soon");
        matches!(outcome, Err(CommitError::Fenced { .. }))
    }

    /// Keeps something of a shard.
    async fn keep(&self, shard: u16, bytes: &[u8]) -> Result<(), CommitError> {
        self.node.journal.keep(shelf(shard), bytes.to_vec()).await
    }

    /// What is kept of it.
    async fn kept(&self, shard: u16) -> Option<Vec<u8>> {
        self.node.journal.kept(shelf(shard)).await.expect("readable")
    }

    /// Writes the next event of an entity.
    async fn commit(&self, entity: EntityKey, expected: u64) -> Result<(), CommitError> {
        let events = vec![EncodedEvent { name: "moved".into(), bytes: vec![7] }];
        let at = Timestamp(expected);
        let commit = Commit { events, ..Commit::new(entity, Version(expected), at) };
        self.node.journal.commit(commit).await
    }
}

fn set(shards: impl IntoIterator<Item = u16>) -> ShardSet {
    shards.into_iter().map(ShardId).collect()
}

/// An order of that shard.
fn order_in(shard: u16) -> EntityKey {
    OrderId::created_by(Uuid::from_u128(7), CommandId::nth(7), ShardId(shard)).into()
}

fn shelf(shard: u16) -> Shelf {
    Shelf { shard: ShardId(shard), name: "learned".to_owned() }
}

fn fenced(shard: u16) -> Result<(), CommitError> {
    Err(CommitError::Fenced { shard: ShardId(shard) })
}

fn shards(heads: &[Head]) -> Vec<u16> {
    heads.iter().map(|head| head.shard.0).collect()
}

/// Everything it said of itself is seen; no shard is anybody's.
pub async fn a_newcomer_is_up_and_has_nothing(database: Database) {
    let one = Joined::start(&database, "one").await;
    let picture = one.look().await;
    assert_eq!(picture.members.keys().copied().collect::<Vec<_>>(), [one.me]);
    let member = &picture.members[&one.me];
    assert_eq!((&member.card, member.standing), (&card("one"), Standing::Up));
    assert_eq!((member.incarnation, member.hears, member.has_session), (one.me, false, true));
    assert!(member.age < Duration::from_secs(60), "{:?}", member.age);
    assert_eq!(picture.heads.len(), usize::from(SHARDS));
    for (number, head) in (0..).zip(&picture.heads) {
        assert_eq!((head.shard, head.owner), (ShardId(number), None));
    }
    assert_eq!(picture.pins, []);
    assert_eq!(one.commit(order_in(3), 0).await, fenced(3));
    assert_eq!(one.epoch(3), None);
}

/// Whichever node starts.
pub async fn incarnations_grow_with_each_start(database: Database) {
    let mut last = Incarnation(0);
    for name in ["one", "two", "one", "three"] {
        let joined = Joined::start(&database, name).await;
        assert!(joined.me > last, "{} after {last}", joined.me);
        last = joined.me;
    }
}

/// A restart replaces what it restarted, without waiting for it.
pub async fn whoever_had_the_name_before_is_dead(database: Database) {
    let before = Joined::start(&database, "one").await;
    let other = Joined::start(&database, "two").await;
    assert_eq!(shards(&before.steal([5]).await), [5]);
    let after = Joined::start(&database, "one").await;
    assert_eq!(before.renew().await, Renewal::Dead);
    assert_eq!(other.renew().await, Renewal::Alive);
    assert_eq!(after.renew().await, Renewal::Alive);
    assert_eq!(shards(&other.steal([5]).await), [5]);
}

/// Who did not hear the answer asks again. Once it is dead, it must start anew.
pub async fn registering_again_says_the_same(database: Database) {
    let one = Joined::start(&database, "one").await;
    let other = Joined::start(&database, "two").await;
    assert_eq!(one.arbiter().register(card("one")).await, Ok(one.me));
    assert_eq!(one.renew().await, Renewal::Alive);
    other.declare_dead(&one).await;
    let again = one.arbiter().register(card("one")).await;
    assert!(matches!(again, Err(ArbiterError::Refused(_))), "{again:?}");
}

/// How often, how it stands, whether it hears.
pub async fn a_renewal_is_seen_by_everyone(database: Database) {
    let one = Joined::start(&database, "one").await;
    let two = Joined::start(&database, "two").await;
    let before = two.look().await.members[&one.me].renewals;
    assert_eq!(one.renew().await, Renewal::Alive);
    let seen = two.look().await.members.remove(&one.me).expect("a member");
    assert_eq!((seen.renewals, seen.hears), (before + 1, true));
    one.arbiter().renew(one.me, Standing::Draining, false).await.expect(ANSWERS);
    let seen = two.look().await.members.remove(&one.me).expect("a member");
    assert_eq!((seen.renewals, seen.hears, seen.standing), (before + 2, false, Standing::Draining));
}

/// What the accuser saw is old.
pub async fn whoever_has_just_renewed_is_not_declared_dead(database: Database) {
    let one = Joined::start(&database, "one").await;
    let two = Joined::start(&database, "two").await;
    let seen = two.look().await.members[&one.me].renewals;
    one.renew().await;
    assert_eq!(two.arbiter().declare_dead(one.me, seen).await, Ok(false));
    assert_eq!(one.renew().await, Renewal::Alive);
    let seen = two.look().await.members[&one.me].renewals;
    assert_eq!(two.arbiter().declare_dead(one.me, seen).await, Ok(true));
    assert_eq!(two.arbiter().declare_dead(one.me, seen).await, Ok(true), "it is dead already");
    assert_eq!(one.renew().await, Renewal::Dead);
}

/// Nobody would take over what it has. It may leave all the same, and a restart replaces it.
pub async fn the_last_that_may_be_given_shards_is_not_declared_dead(database: Database) {
    let gateway = |name| NodeCard { weight: 0, ..card(name) };
    let judge = Joined::start_with(&database, gateway("one")).await;
    let owner = Joined::start(&database, "two").await;
    let accuse = async |who: &Joined| {
        let seen = judge.look().await.members[&who.me].renewals;
        judge.arbiter().declare_dead(who.me, seen).await
    };
    assert_eq!(accuse(&owner).await, Ok(false));
    assert_eq!(owner.renew().await, Renewal::Alive);
    // One that leaves takes nothing over.
    let other = Joined::start(&database, "three").await;
    other.arbiter().renew(other.me, Standing::Draining, true).await.expect(ANSWERS);
    assert_eq!(accuse(&owner).await, Ok(false));
    other.renew().await;
    // Of two, whoever is accused first is dead, and the other is the last.
    assert_eq!(accuse(&owner).await, Ok(true));
    assert_eq!(accuse(&other).await, Ok(false));
    assert_eq!(owner.renew().await, Renewal::Dead);
    assert_eq!(other.renew().await, Renewal::Alive);
    let again = Joined::start(&database, "three").await;
    assert_eq!(other.renew().await, Renewal::Dead);
    assert_eq!(again.arbiter().leave(again.me).await, Ok(()));
    assert_eq!(again.renew().await, Renewal::Dead);
}

/// Nothing that a dead node asks for happens.
pub async fn the_dead_are_told_and_refused(database: Database) {
    let dead = Joined::start(&database, "one").await;
    let two = Joined::start(&database, "two").await;
    dead.steal([1, 2, 3]).await;
    two.declare_dead(&dead).await;

    assert_eq!(dead.renew().await, Renewal::Dead);
    let (arbiter, me) = (dead.arbiter(), dead.me);
    fn refused<T: std::fmt::Debug>(outcome: Result<T, ArbiterError>) {
        assert!(matches!(outcome, Err(ArbiterError::Refused(_))), "{outcome:?}");
    }
    refused(arbiter.steal(me, set([1, 4])).await);
    refused(arbiter.hand_over(me, ShardId(1), two.me).await);
    refused(arbiter.reclaim(me, ShardId(2)).await);
    refused(arbiter.release(me, set([3])).await);
    refused(arbiter.declare_dead(two.me, 0).await);
    refused(arbiter.pin(ShardId(1), Some("one".into())).await);
    assert_eq!(arbiter.leave(me).await, Ok(()), "it has left");
    let picture = two.look().await;
    let owners: Vec<_> = picture.heads[..5].iter().map(|head| head.owner).collect();
    assert_eq!(owners, [None, Some(me), Some(me), Some(me), None]);
    assert_eq!(picture.pins, []);
    assert_eq!(two.renew().await, Renewal::Alive);
}

/// So that everybody knows that these shards are to be had.
pub async fn the_dead_are_seen_while_they_are_named_as_owners(database: Database) {
    let dead = Joined::start(&database, "one").await;
    let two = Joined::start(&database, "two").await;
    dead.steal([9]).await;
    two.declare_dead(&dead).await;
    assert_eq!(two.look().await.members[&dead.me].standing, Standing::Dead);
    two.steal([9]).await;
    assert!(!two.look().await.members.contains_key(&dead.me));
}

/// Not what somebody alive has, however long ago it was heard of, and not one's own.
pub async fn only_what_is_nobodys_or_a_dead_nodes_is_stolen(database: Database) {
    let one = Joined::start(&database, "one").await;
    let two = Joined::start(&database, "two").await;
    assert_eq!(shards(&one.steal([1, 2]).await), [1, 2]);
    assert_eq!(shards(&one.steal([1, 2, 3]).await), [3], "its own are not stolen again");
    assert_eq!(shards(&two.steal([1, 2, 3, 4]).await), [4]);
    one.arbiter().renew(one.me, Standing::Draining, true).await.expect(ANSWERS);
    assert_eq!(two.steal([1, 2, 3]).await, []);
    two.declare_dead(&one).await;
    let stolen = two.steal([1, 2]).await;
    assert_eq!(shards(&stolen), [1, 2]);
    for head in stolen {
        assert_eq!(head.owner, Some(two.me));
        assert_eq!(two.epoch(head.shard.0), Some(head.epoch));
        assert_eq!(two.head(head.shard.0).await, head);
    }
}

/// Whoever is first: nobody waits for another for ever, and no shard has two owners.
pub async fn of_many_thieves_each_shard_has_one(database: Database) {
    let mut thieves = Vec::new();
    for name in ["one", "two", "three"] {
        thieves.push(Joined::start(&database, name).await);
    }
    let stolen = join_all(thieves.iter().map(|it| it.steal(0..SHARDS))).await;
    let mut all: Vec<_> = stolen.iter().flatten().map(|head| head.shard.0).collect();
    all.sort_unstable();
    assert_eq!(all, (0..SHARDS).collect::<Vec<_>>());
    let picture = thieves[0].look().await;
    for (thief, stolen) in thieves.iter().zip(&stolen) {
        for head in stolen {
            assert_eq!(head.owner, Some(thief.me));
            assert_eq!(picture.heads[usize::from(head.shard.0)], *head);
        }
    }
}

/// The old owner is not told; its commit finds out.
pub async fn a_stolen_shard_takes_commits_of_its_owner_only(database: Database) {
    let one = Joined::start(&database, "one").await;
    let two = Joined::start(&database, "two").await;
    let order = order_in(7);
    one.steal([7]).await;
    one.commit(order, 0).await.expect(OURS);
    assert_eq!(two.commit(order, 1).await, fenced(7));
    two.declare_dead(&one).await;
    two.steal([7]).await;
    assert!(one.is_fenced(order, 1).await);
    assert_eq!(one.epoch(7), None, "it knows now");
    assert_eq!(two.node.journal.load(order).await.expect("readable").version(), Version(1));
    two.commit(order, 1).await.expect(OURS);
}

/// Whoever had it before does not overwrite what its successor keeps, whatever it believes.
pub async fn what_is_kept_of_a_shard_is_its_owners_only(database: Database) {
    let one = Joined::start(&database, "one").await;
    let two = Joined::start(&database, "two").await;
    let taken = one.steal([7]).await;
    one.keep(7, b"first").await.expect(OURS);
    assert_eq!(two.keep(7, b"not mine").await, fenced(7));
    assert_eq!(two.kept(7).await.as_deref(), Some(&b"first"[..]), "anybody may read it");
    let HandedOver::To(epoch) = one.hand_over(7, &two).await else { panic!("{OURS}") };
    assert_eq!(one.keep(7, b"too late").await, fenced(7));
    one.arbiter().own(ShardId(7), taken[0].epoch);
    assert_eq!(one.keep(7, b"too late").await, fenced(7), "believing does not help");
    two.arbiter().own(ShardId(7), epoch);
    assert_eq!(two.kept(7).await.as_deref(), Some(&b"first"[..]));
    two.keep(7, b"second").await.expect(OURS);
    one.arbiter().own(ShardId(7), taken[0].epoch);
    assert_eq!(one.keep(7, b"far too late").await, fenced(7));
    assert_eq!(one.kept(7).await.as_deref(), Some(&b"second"[..]));
}

/// At once, and only when the other says that it has it can the other write.
pub async fn a_shard_handed_over_fences_who_had_it(database: Database) {
    let one = Joined::start(&database, "one").await;
    let two = Joined::start(&database, "two").await;
    let (order, taken) = (order_in(7), one.steal([7]).await);
    one.commit(order, 0).await.expect(OURS);
    let HandedOver::To(epoch) = one.hand_over(7, &two).await else { panic!("{OURS}") };
    assert!(epoch > taken[0].epoch);
    assert_eq!(two.head(7).await, Head { shard: ShardId(7), owner: Some(two.me), epoch });
    assert_eq!(one.epoch(7), None);
    assert_eq!(one.commit(order, 1).await, fenced(7));
    one.arbiter().own(ShardId(7), taken[0].epoch);
    assert_eq!(one.commit(order, 1).await, fenced(7), "believing in an old epoch does not help");

    assert_eq!(two.commit(order, 1).await, fenced(7));
    two.arbiter().own(ShardId(7), epoch);
    two.commit(order, 1).await.expect(OURS);
    two.arbiter().disown(ShardId(7));
    assert_eq!(two.commit(order, 2).await, fenced(7));
}

/// Not what is another's, and not to one that is leaving, dead or unheard of.
pub async fn a_shard_is_handed_over_by_its_owner_to_one_that_is_up(database: Database) {
    let one = Joined::start(&database, "one").await;
    let two = Joined::start(&database, "two").await;
    let three = Joined::start(&database, "three").await;
    let taken = one.steal([7]).await;
    assert_eq!(two.hand_over(7, &three).await, HandedOver::NotOurs);
    assert_eq!(one.hand_over(8, &two).await, HandedOver::NotOurs);
    two.arbiter().renew(two.me, Standing::Draining, true).await.expect(ANSWERS);
    one.declare_dead(&three).await;
    for to in [two.me, three.me, Incarnation(999_999)] {
        let outcome = one.arbiter().hand_over(one.me, ShardId(7), to).await;
        assert!(matches!(outcome, Err(ArbiterError::Refused(_))), "{outcome:?}");
    }
    assert_eq!(one.head(7).await, taken[0]);
    one.commit(order_in(7), 0).await.expect("it is still its own");
}

/// And what its first owner wrote under the first epoch stays fenced.
pub async fn a_shard_can_come_back(database: Database) {
    let one = Joined::start(&database, "one").await;
    let two = Joined::start(&database, "two").await;
    let order = order_in(7);
    one.steal([7]).await;
    let HandedOver::To(there) = one.hand_over(7, &two).await else { panic!("{OURS}") };
    two.arbiter().own(ShardId(7), there);
    two.commit(order, 0).await.expect(OURS);
    let HandedOver::To(back) = two.hand_over(7, &one).await else { panic!("{OURS}") };
    assert!(back > there);
    one.arbiter().own(ShardId(7), back);
    // Late news of an older ownership.
    one.arbiter().own(ShardId(7), there);
    assert_eq!(one.epoch(7), Some(back));
    one.commit(order, 1).await.expect("it is its own again");
}

/// The same owner, a new epoch, and commits go on.
pub async fn a_reclaimed_shard_cannot_be_handed_over_any_more(database: Database) {
    let one = Joined::start(&database, "one").await;
    let order = order_in(7);
    let taken = one.steal([7]).await;
    one.commit(order, 0).await.expect(OURS);
    let again = one.arbiter().reclaim(one.me, ShardId(7)).await.expect(ANSWERS);
    let again = again.expect("it is still its own");
    assert!(again.epoch > taken[0].epoch);
    assert_eq!((again.owner, one.epoch(7)), (Some(one.me), Some(again.epoch)));
    assert_eq!(one.head(7).await, again);
    one.commit(order, 1).await.expect(OURS);
}

/// It did happen.
pub async fn what_is_handed_over_cannot_be_reclaimed(database: Database) {
    let one = Joined::start(&database, "one").await;
    let two = Joined::start(&database, "two").await;
    one.steal([7]).await;
    one.hand_over(7, &two).await;
    // Whoever does not know the fate of a hand-over still believes this.
    one.arbiter().own(ShardId(7), 1);
    assert_eq!(one.arbiter().reclaim(one.me, ShardId(7)).await, Ok(None));
    assert_eq!(one.epoch(7), None);
    assert_eq!(one.head(7).await.owner, Some(two.me));
    assert_eq!(one.arbiter().reclaim(one.me, ShardId(8)).await, Ok(None));
}

/// Ours only; others stay whose they are.
pub async fn a_released_shard_is_nobodys(database: Database) {
    let one = Joined::start(&database, "one").await;
    let two = Joined::start(&database, "two").await;
    let taken = one.steal([6, 7]).await;
    two.steal([8]).await;
    one.arbiter().release(one.me, set([7, 8, 9])).await.expect(ANSWERS);
    let owners: Vec<_> = one.look().await.heads[6..10].iter().map(|head| head.owner).collect();
    assert_eq!(owners, [Some(one.me), None, Some(two.me), None]);
    assert_eq!((one.epoch(6), one.epoch(7)), (Some(taken[0].epoch), None));
    assert_eq!(one.commit(order_in(7), 0).await, fenced(7));
    two.commit(order_in(8), 0).await.expect(OURS);
    let stolen = two.steal([7]).await;
    assert!(stolen[0].epoch > taken[1].epoch);
}

/// Of each shard, whatever becomes of it, and along its log.
pub async fn epochs_only_grow(database: Database) {
    let one = Joined::start(&database, "one").await;
    let two = Joined::start(&database, "two").await;
    let (order, mut epochs) = (order_in(7), Vec::new());
    epochs.push(one.steal([7]).await[0].epoch);
    one.commit(order, 0).await.expect(OURS);
    epochs.push(one.arbiter().reclaim(one.me, ShardId(7)).await.expect(ANSWERS).expect(OURS).epoch);
    one.commit(order, 1).await.expect(OURS);
    let HandedOver::To(epoch) = one.hand_over(7, &two).await else { panic!("{OURS}") };
    epochs.push(epoch);
    two.arbiter().own(ShardId(7), epoch);
    two.commit(order, 2).await.expect(OURS);
    two.arbiter().release(two.me, set([7])).await.expect(ANSWERS);
    epochs.push(one.steal([7]).await[0].epoch);
    one.commit(order, 3).await.expect(OURS);
    two.declare_dead(&one).await;
    epochs.push(two.steal([7]).await[0].epoch);
    two.commit(order, 4).await.expect(OURS);
    assert!(epochs.is_sorted_by(|before, after| before < after), "{epochs:?}");
    let log = two.node.journal.feed(FeedCursor::start(), 100).await.expect("readable");
    assert_eq!(log.iter().map(|event| event.epoch).collect::<Vec<_>>(), epochs);
    assert_eq!(log.iter().map(|event| event.seq).collect::<Vec<_>>(), [1, 2, 3, 4, 5]);
}

/// By its own word, without anybody's proof.
pub async fn whoever_leaves_is_dead(database: Database) {
    let one = Joined::start(&database, "one").await;
    let two = Joined::start(&database, "two").await;
    one.steal([7]).await;
    one.arbiter().leave(one.me).await.expect(ANSWERS);
    assert_eq!(one.renew().await, Renewal::Dead);
    assert_eq!(shards(&two.steal([7]).await), [7]);
    assert!(!two.look().await.members.contains_key(&one.me));
}

/// The last word about a shard counts.
pub async fn pins_are_seen_until_they_are_taken_out(database: Database) {
    let one = Joined::start(&database, "one").await;
    for (shard, node) in [(8, "two"), (7, "two"), (7, "one"), (9, "one")] {
        one.arbiter().pin(ShardId(shard), Some(node.into())).await.expect(ANSWERS);
    }
    one.arbiter().pin(ShardId(9), None).await.expect(ANSWERS);
    let pin = |shard, node: &str| Pin { shard: ShardId(shard), node: node.to_owned() };
    assert_eq!(one.look().await.pins, [pin(7, "one"), pin(8, "two")]);
}

/// A newer node writes what the oldest alive can read; when that one goes, more.
pub async fn formats_are_written_once_everyone_alive_can_read_them(database: Database) {
    let with = |node, writes, reads| NodeCard { writes, reads, ..card(node) };
    let old = Joined::start_with(&database, with("one", 1, 1)).await;
    assert_eq!(old.look().await.writes, 1);
    let new = Joined::start_with(&database, with("two", 2, 3)).await;
    assert_eq!(new.look().await.writes, 1);
    old.arbiter().leave(old.me).await.expect(ANSWERS);
    assert_eq!(new.look().await.writes, 2, "what nobody writes needs no reader");
    let newer = Joined::start_with(&database, with("three", 3, 3)).await;
    assert_eq!(newer.look().await.writes, 3);
}

/// What was written has to be read, though all who wrote it are gone.
pub async fn formats_are_never_unlearnt(database: Database) {
    let with = |node, writes, reads| NodeCard { writes, reads, ..card(node) };
    let new = Joined::start_with(&database, with("two", 2, 2)).await;
    let old = Joined::start_with(&database, with("one", 1, 1)).await;
    old.declare_dead(&new).await;
    assert_eq!(old.look().await.writes, 2);
}

/// Not at once, but soon; whoever looked before a change hears of it.
pub async fn changes_of_owners_and_standings_wake_everyone(database: Database) {
    let one = Joined::start(&database, "one").await;
    let two = Joined::start(&database, "two").await;
    let three = Joined::start(&database, "three").await;
    let mut changes = two.arbiter().changes();
    // What there was to tell before may still be on its way; it ends.
    while timeout(Duration::from_millis(500), changes.changed()).await.is_ok() {}
    let mut heard = *changes.borrow_and_update();
    macro_rules! tells {
        ($what:literal, $act:expr) => {{
            let outcome = $act.await;
            // Each is told once, so that none can stand for another that is not.
            heard += 1;
            let told = timeout(SOON, changes.wait_for(|n| *n >= heard)).await;
            drop(told.expect($what).expect("the arbiter lives"));
            outcome
        }};
    }
    tells!("shards were stolen", one.steal([7, 8]));
    tells!("a shard was handed over", one.hand_over(7, &two));
    tells!("a shard was released", one.arbiter().release(one.me, set([8]))).expect(ANSWERS);
    tells!("a shard was pinned", one.arbiter().pin(ShardId(1), Some("one".into()))).expect(ANSWERS);
    tells!("a node leaves", one.arbiter().renew(one.me, Standing::Draining, true)).expect(ANSWERS);
    tells!("a node is dead", three.declare_dead(&one));
    tells!("a node has left", three.arbiter().leave(three.me)).expect(ANSWERS);
    tells!("a node came", Joined::start(&database, "three"));
}
