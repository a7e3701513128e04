//! What a region keeps for whoever matches there next: what it has learned, and who stands in line.
//!
//! ```text
//!  Region ──lore, kept_lines──► Lore, Lines ── plain, bounded, kept by somebody ──► resume, resume_lines ──► its successor
//! ```
//!
//! All of it is soft: a successor that finds nothing begins with nothing, and one that finds something adds what it has
//! seen meanwhile.

use super::Region;
use crate::{
    Router,
    forecast::{KeptProfile, Profile},
    rank::Stood,
    router::{KeptWays, Ways},
};
use protocol::Timestamp;
use serde::{Deserialize, Serialize};
use std::{sync::Arc, time::Duration};

/// Of a line that was kept longer ago nothing is known any more.
const LINES_LAST: Duration = Duration::from_secs(3_600);

/// What a region has learned: how ways go, and how much is usually asked.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Lore {
    /// When that was.
    pub at: Timestamp,
    /// It was closed then, for nobody was there.
    pub is_closed: bool,
    profile: KeptProfile,
    ways: KeptWays,
    /// The same of another router, of which more was learned: nodes that have that one may be back.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    other_ways: Option<Box<KeptWays>>,
}

/// Who stands in line at the ranks of a region, by their names; those where nobody stands are left out.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lines {
    /// When that was.
    pub at: Timestamp,
    /// First come first.
    pub ranks: Vec<(String, Vec<Stood>)>,
}

impl Region {
    /// What it has learned, to be kept. `router` is what rounds are held with.
    pub fn lore(&mut self, router: &dyn Router, now: Timestamp, is_closed: bool) -> Lore {
        self.profile.roll(now);
        let ways = self.ways.kept(self.middle, router);
        // No more than two are ever kept, and of a router that is gone nothing is, in the end.
        self.other_ways.take_if(|it| self.ways.has_seen_as_much_as(it));
        let other_ways = self.other_ways.clone();
        Lore { at: now, is_closed, profile: self.profile.kept(), ways, other_ways }
    }

    /// Forgets what it has learned: somebody else knows better, or has learned the same.
    pub fn forget_lore(&mut self, now: Timestamp) {
        self.profile = Profile::new(now);
        self.ways = Arc::new(Ways::new(self.middle));
        self.other_ways = None;
    }

    /// Goes on from what was kept, and adds what it has learned since it began. `here_since`: since when nobody asks in it
    /// without being listed with whoever matches it now. Says whether all of what was kept could be believed. What was learned of
    /// another router is put by for whoever has that.
    pub fn resume(
        &mut self,
        lore: &Lore,
        router: &dyn Router,
        now: Timestamp,
        here_since: Timestamp,
    ) -> bool {
        let has_missed = !lore.is_closed || lore.at < here_since;
        let profile = Profile::resume(&lore.profile, lore.at, now, has_missed);
        let found = || std::iter::once(&lore.ways).chain(lore.other_ways.as_deref());
        let ways = found().find_map(|it| Ways::resume(it, self.middle, router));
        let other = found().find(|it| it.is_of_another_router(self.middle, router));
        self.other_ways = other.cloned().map(Box::new);
        let is_whole = profile.is_some() && ways.is_some();
        if let Some(mut profile) = profile {
            self.searches.values().for_each(|open| profile.record(open.card.opened_at));
            self.profile = profile;
        }
        if let Some(before) = ways {
            Arc::make_mut(&mut self.ways).add(&before);
        }
        is_whole
    }

    /// Who stands in line, to be kept.
    pub fn kept_lines(&self, now: Timestamp) -> Lines {
        let ranks = self.ranks.iter().map(|(rank, line)| (rank.name.clone(), line.kept()));
        Lines { at: now, ranks: ranks.filter(|(_, line)| !line.is_empty()).collect() }
    }

    /// Goes on from the lines that were kept.
    pub fn resume_lines(&mut self, lines: &Lines, now: Timestamp) {
        if now.since(lines.at) > LINES_LAST {
            return;
        }
        for (rank, line) in &mut self.ranks {
            let kept = lines.ranks.iter().find(|(name, _)| *name == rank.name);
            let kept = kept.map_or(&[][..], |(_, kept)| kept);
            line.resume(kept, lines.at, now, Duration::from_millis(rank.grace_ms.into()));
        }
    }
}

#[cfg(test)]
mod tests;
