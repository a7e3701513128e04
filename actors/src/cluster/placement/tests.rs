//! Everyone agrees, and only a fair share moves.

use super::*;
use crate::cluster::arbiter::{Head, NodeCard, Pin};
use protocol::SHARDS;
use std::{collections::BTreeMap, time::Duration};

fn member(n: u64) -> Member {
    let card = NodeCard {
        node: format!("node-{n}"),
        address: String::new(),
        zone: String::new(),
        weight: 100,
        version: "0.1.0".into(),
        writes: 1,
        reads: 1,
        secret: String::new(),
    };
    Member {
        incarnation: Incarnation(n),
        card,
        standing: Standing::Up,
        hears: true,
        renewals: 1,
        age: Duration::from_secs(60),
        has_session: true,
    }
}

fn picture(members: impl IntoIterator<Item = Member>) -> Picture {
    Picture {
        members: members.into_iter().map(|it| (it.incarnation, it)).collect(),
        heads: (0..SHARDS).map(|n| Head { shard: ShardId(n), owner: None, epoch: 0 }).collect(),
        pins: Vec::new(),
        writes: 1,
    }
}

fn owners(picture: &Picture) -> BTreeMap<ShardId, Incarnation> {
    let members: Vec<_> = picture.members.values().collect();
    let all = (0..SHARDS).map(ShardId);
    all.map(|shard| (shard, belongs_to(shard, &members, None).unwrap())).collect()
}

/// As if everyone had stolen what was theirs.
fn settled(mut picture: Picture) -> Picture {
    let owners = owners(&picture);
    for head in &mut picture.heads {
        (head.owner, head.epoch) = (Some(owners[&head.shard]), 1);
    }
    picture
}

#[test]
fn everyone_takes_their_own_and_together_all() {
    let picture = picture([member(1), member(2), member(3)]);
    let plans = [1, 2, 3].map(|n| plan(Incarnation(n), &picture, &Settings::default()));
    let total: usize = plans.iter().map(|plan| plan.steal.len()).sum();
    let together: ShardSet =
        plans.iter().flat_map(|plan| plan.steal.iter().collect::<Vec<_>>()).collect();
    assert_eq!((total, together), (1024, ShardSet::ALL));
    for plan in plans {
        assert!((270..410).contains(&plan.steal.len()), "{}", plan.steal.len());
    }
}

#[test]
fn a_node_that_leaves_moves_its_own_shards_only() {
    let before = owners(&picture([member(1), member(2), member(3), member(4)]));
    let after = owners(&picture([member(1), member(2), member(3)]));
    for (shard, owner) in &before {
        assert!(*owner == Incarnation(4) || after[shard] == *owner);
    }
}

#[test]
fn weight_decides_the_share() {
    let heavy = Member { card: NodeCard { weight: 300, ..member(1).card }, ..member(1) };
    let owners = owners(&picture([heavy, member(2)]));
    let n = owners.values().filter(|it| **it == Incarnation(1)).count();
    assert!((710..830).contains(&n), "{n}");
}

#[test]
fn a_node_that_restarts_gets_its_own_shards_back() {
    let before = owners(&picture([member(1), member(2)]));
    let again = Member { incarnation: Incarnation(9), ..member(1) };
    let after = owners(&picture([again, member(2)]));
    for (shard, owner) in before {
        assert_eq!(after[&shard] == Incarnation(9), owner == Incarnation(1));
    }
}

#[test]
fn nothing_moves_to_a_newcomer_before_it_has_settled() {
    let mut picture = settled(picture([member(1), member(2)]));
    picture.members.insert(Incarnation(3), Member { age: Duration::from_secs(1), ..member(3) });
    assert_eq!(plan(Incarnation(1), &picture, &Settings::default()), Plan::default());
    picture.members.insert(Incarnation(3), member(3));
    let moves = plan(Incarnation(1), &picture, &Settings::default()).hand_over;
    assert!(!moves.is_empty() && moves.iter().all(|(_, to)| *to == Incarnation(3)));
}

#[test]
fn a_node_that_drains_gives_away_all_it_has_and_takes_nothing() {
    let mut picture = settled(picture([member(1), member(2), member(3)]));
    let mine = picture.heads.iter().filter(|head| head.owner == Some(Incarnation(1))).count();
    picture.members.get_mut(&Incarnation(1)).unwrap().standing = Standing::Draining;
    picture.heads[0].owner = None;
    let plan = plan(Incarnation(1), &picture, &Settings::default());
    assert!(plan.steal.is_empty());
    assert!(plan.hand_over.len() >= mine - 1);
    assert!(plan.hand_over.iter().all(|(_, to)| *to != Incarnation(1)));
}

#[test]
fn what_a_dead_node_had_is_taken_and_what_a_silent_one_has_is_not() {
    let mut picture = settled(picture([member(1), member(2)]));
    assert_eq!(plan(Incarnation(1), &picture, &Settings::default()).steal, ShardSet::NONE);
    picture.members.get_mut(&Incarnation(2)).unwrap().standing = Standing::Dead;
    let plan = plan(Incarnation(1), &picture, &Settings::default());
    assert_eq!(plan.steal.len(), plan.n_orphans);
    assert!(plan.n_orphans > 400);
}

#[test]
fn a_pin_wins_while_its_node_is_there() {
    let mut picture = settled(picture([member(1), member(2)]));
    let shard = picture.heads.iter().find(|it| it.owner == Some(Incarnation(1))).unwrap().shard;
    picture.pins = vec![Pin { shard, node: "node-2".into() }];
    let plan_now = plan(Incarnation(1), &picture, &Settings::default());
    assert_eq!(plan_now.hand_over, [(shard, Incarnation(2))]);
    picture.members.remove(&Incarnation(2));
    assert!(plan(Incarnation(1), &picture, &Settings::default()).hand_over.is_empty());
}

#[test]
fn a_node_that_cannot_hear_the_others_gets_nothing_unless_nobody_can() {
    let deaf = |n| Member { hears: false, ..member(n) };
    let half = settled(picture([member(1), deaf(2)]));
    let moves = plan(Incarnation(2), &half, &Settings::default()).hand_over;
    assert!(!moves.is_empty());
    let none = settled(picture([deaf(1), deaf(2)]));
    assert!(plan(Incarnation(2), &none, &Settings::default()).hand_over.is_empty());
}

#[test]
fn shards_do_not_move_to_a_node_that_reads_less_than_their_own() {
    let new = Member { card: NodeCard { reads: 2, ..member(1).card }, ..member(1) };
    let mut picture = picture([new, member(2)]);
    for head in &mut picture.heads {
        (head.owner, head.epoch) = (Some(Incarnation(1)), 1);
    }
    assert!(plan(Incarnation(1), &picture, &Settings::default()).hand_over.is_empty());
    picture.members.get_mut(&Incarnation(1)).unwrap().standing = Standing::Draining;
    assert_eq!(plan(Incarnation(1), &picture, &Settings::default()).hand_over.len(), 1024);
}
