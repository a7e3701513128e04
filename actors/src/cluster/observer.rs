//! Who must be dead: a judgement from what one node sees of the others, by its own clock.
//!
//! Wrong judgements are harmless to data (the fence decides) but cost a stall, so two things are
//! asked for: a proof, and that the judge itself has been well. Without the second, a node that
//! comes back from a pause sees everyone else stand still, and declares them dead.

use super::{
    Incarnation, Settings,
    arbiter::{Picture, Standing},
};
use std::{
    collections::{BTreeMap, BTreeSet, VecDeque},
    time::Duration,
};
use tokio::time::Instant;

/// Over this long, no more than a third of the others are declared dead for standing still.
const STORM: Duration = Duration::from_secs(10);

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

/// Why somebody must be dead.
#[derive(Debug, Clone, Copy, PartialEq, Eq, strum::Display, strum::IntoStaticStr)]
#[strum(serialize_all = "snake_case")]
pub enum Proof {
    /// Both its connections are gone, to the arbiter and to the other nodes: the process is. The first was
    /// there before, and the judge has been well since.
    Gone,
    /// It has not renewed itself for as long as a lease lasts.
    Still,
}

/// What one node has seen of the others.
#[derive(Debug)]
pub struct Observer {
    ttl: Duration,
    /// A judge that has not looked for this long has not been well.
    gap_max: Duration,
    well_since: Option<Instant>,
    looked_at: Option<Instant>,
    seen: BTreeMap<Incarnation, Seen>,
    declared: VecDeque<Instant>,
}

#[derive(Debug, Clone, Copy)]
struct Seen {
    renewals: u64,
    since: Instant,
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
        }
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
        self.looked_at = Some(now);
        if was_away {
            self.failed();
        }
        let well_since = *self.well_since.get_or_insert(now);
        let others = picture.members.values().filter(|it| it.incarnation != me);
        let others: Vec<_> = others.filter(|it| it.standing != Standing::Dead).collect();
        self.seen.retain(|who, _| others.iter().any(|it| it.incarnation == *who));
        while self.declared.front().is_some_and(|at| now - *at > STORM) {
            self.declared.pop_front();
        }
        let mut accusations = Vec::new();
        for other in &others {
            let (who, renewals) = (other.incarnation, other.renewals);
            let new = Seen { renewals, since: now, was_connected: false };
            let seen = self.seen.entry(who).or_insert(new);
            if seen.renewals != renewals {
                (seen.renewals, seen.since) = (renewals, now);
            }
            seen.was_connected |= other.has_session;
            if seen.was_connected && !other.has_session && unheard.contains(&who) {
                accusations.push(Accusation { who, renewals, proof: Proof::Gone });
                continue;
            }
            let is_still = now - seen.since >= self.ttl && now - well_since >= self.ttl;
            if is_still && self.declared.len() < (others.len() / 3).max(1) {
                self.declared.push_back(now);
                accusations.push(Accusation { who, renewals, proof: Proof::Still });
            }
        }
        accusations
    }
}

#[cfg(test)]
mod tests;
