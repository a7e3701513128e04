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
        Lore { at: now, is_closed, profile: self.profile.kept(), ways }
    }

    /// Forgets what it has learned: somebody else knows better, or has learned the same.
    pub fn forget_lore(&mut self, now: Timestamp) {
        self.profile = Profile::new(now);
        self.ways = Arc::new(Ways::new(self.middle));
    }

    /// Goes on from what was kept, and adds what it has learned since it began. `here_since`: since when nobody asks in it
    /// without being listed with whoever matches it now. Says whether all of what was kept could be believed.
    pub fn resume(
        &mut self,
        lore: &Lore,
        router: &dyn Router,
        now: Timestamp,
        here_since: Timestamp,
    ) -> bool {
        let has_missed = !lore.is_closed || lore.at < here_since;
        let profile = Profile::resume(&lore.profile, lore.at, now, has_missed);
        let ways = Ways::resume(&lore.ways, self.middle, router);
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
