//! Who must be dead: a judgement from what one node sees of the others, by its own clock.
//!
//! Wrong judgements are harmless to data (the fence decides) but cost a stall, so three things are
//! asked for: a proof, that the judge itself has been well, and that somebody is left who could take over.
//! Without the second, a node that comes back from a pause sees everyone else stand still, and declares them
//! dead. Without the third, gateways of a machine that has too much to do declare the last owner dead for having
//! been late: nobody takes its shards, and what follows it has even more to do.
//!
//! Somebody is left, if a member that may be given shards ([`placement::heirs`]) must have renewed itself within
//! half a lease, by two looks no further apart, or has come that lately, and is not suspected itself. So of two owners one may be declared dead
//! if the other is in time, and neither if both are late. That holds for each proof, and for whoever is suspected, gateways
//! among them, but for those of them that are gone, for nothing is theirs to take over: where no owner is in time, being late proves that the machine is slow. It is judged anew with every
//! look. So whoever was spared is declared dead as soon as an owner comes, or is in time again. What looks miss, for two judges may each count on
//! the one whom the other accuses, the arbiter refuses ([`super::arbiter::Arbiter::declare_dead`]).

use super::{
    Incarnation, Settings,
    arbiter::{Member, Picture, Standing},
    placement,
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};
use tokio::time::Instant;

/// Over this long, no more than a third of the others are declared dead for standing still.
const STORM: Duration = Duration::from_secs(10);
/// For how many leases one that is given no shard may stand still: nothing waits for it to be declared dead, and thousands
/// of clients lose their sockets with it.
const GATEWAY_LEASES: u32 = 5;

/// Somebody should be declared dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accusation {
    /// Who.
    pub who: Incarnation,
    /// What it had said last. Should it have said more by then, it lives.
    pub renewals: u64,
    /// Why.
    pub proof: Proof,
}

/// Why somebody must be dead, as far as others can tell. Two other ways to die need no proof and no judge, for the arbiter knows:
/// a start is replaced by the next one of its name, and whoever leaves says so. Neither asks who is left.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Proof {
    /// Both its connections are gone, to the arbiter and to the other nodes: the process is. The first was
    /// there before, and the judge has been well since. Hardly ever wrong, but not never: a process that gets no processor loses both, too,
    /// when a renewal is given up and its broker does not wait for a slow reader. Where nobody could take over, that matters, and being right
    /// does not: what is gone answers no sooner for being called dead, and whatever comes later finds it gone as well.
    Gone,
    /// It has not renewed itself for as long as a lease lasts, or several where it is given no shard: it is stopped, cut off,
    /// or late.
    Still,
}

/// What one node has seen of the others.
#[derive(Debug)]
pub struct Observer {
    ttl: Duration,
    /// A judge that has not looked for this long has not been well, and who has not renewed itself for as long is no heir.
    gap_max: Duration,
    well_since: Option<Instant>,
    looked_at: Option<Instant>,
    seen: BTreeMap<Incarnation, Seen>,
    declared: VecDeque<Instant>,
    n_spared: usize,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    renewals: u64,
    since: Instant,
    /// When its last renewal was seen to be still missing: it has come since. None, if it has not renewed itself before our
    /// eyes: of one that was there before us we do not know how long it has stood still.
    missed_at: Option<Instant>,
    /// It was connected to the arbiter, at a time since which the judge has been well.
    was_connected: bool,
}

impl Observer {
    /// Has seen nothing yet.
    pub fn new(settings: &Settings) -> Self {
        Self {
            ttl: settings.ttl,
            gap_max: settings.ttl / 2,
            well_since: None,
            looked_at: None,
            seen: BTreeMap::new(),
            declared: VecDeque::new(),
            n_spared: 0,
        }
    }

    /// How many it would have accused in its last look, had somebody been left to take over.
    pub fn n_spared(&self) -> usize {
        self.n_spared
    }

    /// The arbiter did not answer: whatever stands still may be this node's own fault.
    pub fn failed(&mut self) {
        self.well_since = None;
        // An arbiter that comes back has lost everybody's connection: some are back before others.
        self.seen.values_mut().for_each(|seen| seen.was_connected = false);
    }

    /// Judges `picture`, seen at `now` after asking for it at `asked`. `unheard` are those whom a
    /// message did not reach a moment ago.
    pub fn looked(
        &mut self,
        asked: Instant,
        now: Instant,
        me: Incarnation,
        picture: &Picture,
        unheard: &BTreeSet<Incarnation>,
    ) -> Vec<Accusation> {
        let was_away = self.looked_at.is_none_or(|before| asked - before > self.gap_max)
            || now - asked > self.gap_max;
        let before = self.looked_at.replace(now);
        if was_away {
            self.failed();
        }
        let well_since = *self.well_since.get_or_insert(now);
        let alive = picture.members.values().filter(|it| it.standing != Standing::Dead);
        let alive: Vec<_> = alive.collect();
        self.seen.retain(|who, _| alive.iter().any(|it| it.incarnation == *who));
        alive.iter().for_each(|member| self.see(before, now, member));
        let well_for = now - well_since;
        let others: Vec<_> = alive.iter().filter(|it| it.incarnation != me).collect();
        let mut suspects: Vec<_> = others
            .iter()
            .filter_map(|other| self.suspicion(now, other, well_for, unheard))
            .collect();
        let n_suspects = suspects.len();
        if !self.has_heir(now, &alive, &suspects, picture.writes) {
            // Of one that is given no shard there is nothing to take over.
            let is_without_shards = |who: Incarnation| picture.members[&who].card.weight == 0;
            suspects.retain(|it| it.proof == Proof::Gone && is_without_shards(it.who));
        }
        self.n_spared = n_suspects - suspects.len();
        while self.declared.front().is_some_and(|at| now - *at > STORM) {
            self.declared.pop_front();
        }
        let still_max = (others.len() / 3).max(1);
        suspects.retain(|suspect| match suspect.proof {
            Proof::Gone => true,
            Proof::Still if self.declared.len() < still_max => {
                self.declared.push_back(now);
                true
            }
            Proof::Still => false,
        });
        suspects
    }

    /// Notes how somebody is, the judge among them, after having looked `before`.
    fn see(&mut self, before: Option<Instant>, now: Instant, member: &Member) {
        let renewals = member.renewals;
        let new = Seen { renewals, since: now, missed_at: None, was_connected: false };
        let seen = self.seen.entry(member.incarnation).or_insert(new);
        if seen.renewals != renewals {
            (seen.renewals, seen.since, seen.missed_at) = (renewals, now, before);
        }
        seen.was_connected |= member.has_session;
    }

    /// Why another must be dead, if anything says so to a judge that has been well for so long.
    fn suspicion(
        &self,
        now: Instant,
        other: &Member,
        well_for: Duration,
        unheard: &BTreeSet<Incarnation>,
    ) -> Option<Accusation> {
        let (who, renewals) = (other.incarnation, other.renewals);
        let seen = self.seen.get(&who)?;
        let accusation = |proof| Accusation { who, renewals, proof };
        if seen.was_connected && !other.has_session && unheard.contains(&who) {
            return Some(accusation(Proof::Gone));
        }
        let patience = if other.card.weight > 0 { self.ttl } else { GATEWAY_LEASES * self.ttl };
        let is_still = well_for >= patience && now - seen.since >= patience;
        is_still.then(|| accusation(Proof::Still))
    }

    /// Without these, would anybody be left who may be given shards and is in time?
    fn has_heir(
        &self,
        now: Instant,
        alive: &[&Member],
        suspects: &[Accusation],
        writes: u32,
    ) -> bool {
        let is_suspect = |it: &Member| suspects.iter().any(|other| other.who == it.incarnation);
        let rest: Vec<_> = alive.iter().copied().filter(|it| !is_suspect(it)).collect();
        placement::heirs(&rest, writes).into_iter().any(|heir| {
            self.seen.get(&heir.incarnation).is_some_and(|seen| {
                // Seen now, its renewal may be as old as the look before.
                let has_moved = seen.missed_at.is_some_and(|at| now - at <= self.gap_max);
                has_moved || heir.age <= self.gap_max
            })
        })
    }
}

#[cfg(test)]
mod tests;
