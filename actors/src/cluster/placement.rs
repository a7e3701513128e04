//! Where every shard belongs: a pure function of who is alive, so that nobody needs to be told.
//!
//! Weighted rendezvous hashing (Mosharaf and Schindler, "Weighted Distributed Hash Tables", 2005): each
//! node has a score for each shard, and the highest wins. A node that comes or goes moves its own
//! share and nothing else.

use super::{
    Incarnation, Settings,
    arbiter::{Member, Picture, Standing},
};
use protocol::{ShardId, ShardSet};
use xxhash_rust::xxh3::xxh3_64;

/// What one node should do about shards now.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Plan {
    /// Take these: they are nobody's.
    pub steal: ShardSet,
    /// Hand these over.
    pub hand_over: Vec<(ShardId, Incarnation)>,
    /// Shards nobody alive has, whoever should take them.
    pub n_orphans: usize,
}

/// What `me` should do about `picture`. Everyone who sees the same picture agrees who takes what.
pub fn plan(me: Incarnation, picture: &Picture, settings: &Settings) -> Plan {
    let mut plan = Plan::default();
    let members: Vec<_> = picture.members.values().collect();
    let able = heirs(&members, picture.writes);
    let settled: Vec<_> = able
        .iter()
        .copied()
        .filter(|it| it.incarnation == me || it.age >= settings.settle)
        .collect();
    let is_leaving = !able.iter().any(|it| it.incarnation == me);
    for head in &picture.heads {
        let pin = picture.pins.iter().find(|pin| pin.shard == head.shard);
        let owner = head.owner.and_then(|owner| picture.members.get(&owner));
        match owner.filter(|owner| owner.standing != Standing::Dead) {
            None => {
                plan.n_orphans += 1;
                // A newcomer counts here: better settled anywhere than nowhere.
                if belongs_to(head.shard, &able, pin.map(|it| &*it.node)) == Some(me) {
                    plan.steal.insert(head.shard);
                }
            }
            Some(owner) if owner.incarnation == me => {
                let candidates = if is_leaving { &able } else { &settled };
                let Some(better) = belongs_to(head.shard, candidates, pin.map(|it| &*it.node))
                else {
                    continue;
                };
                let is_downgrade =
                    picture.members[&better].card.reads < owner.card.reads && !is_leaving;
                if better != me && !is_downgrade {
                    plan.hand_over.push((head.shard, better));
                }
            }
            Some(_) => {}
        }
    }
    plan
}

/// Which of `members` a shard belongs to.
pub fn belongs_to(shard: ShardId, members: &[&Member], pin: Option<&str>) -> Option<Incarnation> {
    if let Some(pinned) = members.iter().find(|it| Some(&*it.card.node) == pin) {
        return Some(pinned.incarnation);
    }
    let best = members.iter().max_by(|one, other| {
        score(shard, one)
            .total_cmp(&score(shard, other))
            .then(one.incarnation.cmp(&other.incarnation))
    });
    best.map(|it| it.incarnation)
}

/// Those of `members` that may be given shards, where `writes` is the newest format that is written. One that the
/// others cannot talk to may not, unless nobody can.
pub fn heirs<'a>(members: &[&'a Member], writes: u32) -> Vec<&'a Member> {
    let anyone_hears = members.iter().any(|it| it.standing == Standing::Up && it.hears);
    let is_able = |it: &&Member| {
        it.standing == Standing::Up
            && it.card.weight > 0
            && it.card.reads >= writes
            && (it.hears || !anyone_hears)
    };
    members.iter().copied().filter(is_able).collect()
}

/// By name and not by incarnation, so that a node that restarts gets its own shards back.
fn score(shard: ShardId, member: &Member) -> f64 {
    let mut bytes = shard.0.to_be_bytes().to_vec();
    bytes.extend_from_slice(member.card.node.as_bytes());
    // In (0, 1): 53 bits are what an f64 holds.
    let hash = ((xxh3_64(&bytes) >> 11) as f64 + 0.5) / (1_u64 << 53) as f64;
    -f64::from(member.card.weight) / hash.ln()
}

#[cfg(test)]
mod tests;
