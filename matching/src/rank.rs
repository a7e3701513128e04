//! Ranks: places where drivers line up, as at airports and stations. Who came first is asked first, for jobs that are
//! picked up there.
//!
//! ```text
//!  elsewhere ── comes in ──► last in line ── those before it go ──► first ── is asked
//!                                 │  ▲ comes back in time: the same place
//!                                 └──┴── goes ── for too long ──► elsewhere
//! ```

use crate::{DriverCard, SearchCard, cost, fit::fits};
use protocol::{DriverId, Point, Timestamp, view::WorkKind};
use serde::{Deserialize, Serialize};
use std::{
    cmp::Reverse,
    collections::{BTreeMap, HashSet},
    sync::Arc,
    time::Duration,
};

/// A place where drivers line up.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Rank {
    /// What it is called.
    pub name: String,
    /// Its middle, in degrees north.
    pub lat: f64,
    /// In degrees east.
    pub lon: f64,
    /// How far it reaches, in metres.
    pub radius_m: u32,
    /// How long a driver keeps its place who has gone, or is being asked, in milliseconds.
    #[serde(default = "grace_ms")]
    pub grace_ms: u32,
}

fn grace_ms() -> u32 {
    120_000
}

impl Rank {
    /// Is a point in it?
    pub fn holds(&self, at: Point) -> bool {
        let middle = Point { lat: self.lat, lon: self.lon };
        middle.distance_m(at) <= f64::from(self.radius_m)
    }
}

/// Most of a line that are kept: who came first.
const N_KEPT_MAX: usize = 2_000;

/// Who stands in line at one rank.
#[derive(Debug, Clone, Default)]
pub struct Line {
    places: BTreeMap<DriverId, Place>,
    /// When it first looked who is there.
    began_at: Option<Timestamp>,
    /// It goes on from what was kept: whoever is not in that came later.
    is_resumed: bool,
}

/// Somebody in line, to be kept: who, since when, and since when it is not there, if it is not.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Stood(pub DriverId, pub Timestamp, pub Option<Timestamp>);

#[derive(Debug, Clone, Copy)]
struct Place {
    since: Timestamp,
    /// Since when it is not there.
    gone_at: Option<Timestamp>,
}

impl Line {
    /// Takes in who is there now, and since when each has had nothing to do.
    pub fn see(
        &mut self,
        there: impl Iterator<Item = (DriverId, Timestamp)>,
        now: Timestamp,
        grace: Duration,
    ) {
        for place in self.places.values_mut() {
            place.gone_at = place.gone_at.or(Some(now));
        }
        // A line that has just begun, of which nothing was kept, has not seen them come. Who has waited longest, wherever that
        // was, is the best guess.
        let began_at = *self.began_at.get_or_insert(now);
        let is_guess = !self.is_resumed && now.since(began_at) < grace;
        for (driver, idle_since) in there {
            let since = if is_guess { idle_since.min(now) } else { now };
            let place = self.places.entry(driver).or_insert(Place { since, gone_at: None });
            // Who comes back too late stands behind those who came meanwhile.
            if place.gone_at.is_some_and(|at| now.since(at) >= grace) {
                place.since = now;
            }
            place.gone_at = None;
        }
        self.places.retain(|_, place| place.gone_at.is_none_or(|at| now.since(at) < grace));
    }

    /// Who is in it, first come first, to be kept.
    pub fn kept(&self) -> Vec<Stood> {
        let mut kept: Vec<Stood> = self
            .places
            .iter()
            .map(|(driver, Place { since, gone_at })| Stood(*driver, *since, *gone_at))
            .collect();
        kept.sort_unstable_by_key(|Stood(driver, since, _)| (*since, *driver));
        kept.truncate(N_KEPT_MAX);
        kept
    }

    /// Goes on from what was kept at that moment. Whoever was there then has as long to be seen again as one who goes has to
    /// come back, and whoever is not in it came later.
    pub fn resume(&mut self, kept: &[Stood], at: Timestamp, now: Timestamp, grace: Duration) {
        self.is_resumed = true;
        let later = at + Duration::from_millis(1);
        for place in self.places.values_mut() {
            place.since = place.since.max(later);
        }
        for Stood(driver, since, gone_at) in kept.iter().copied() {
            if gone_at.is_some_and(|at| now.since(at) >= grace) {
                continue;
            }
            let gone_at = gone_at.or(Some(now));
            let place = self.places.entry(driver).or_insert(Place { since, gone_at });
            place.since = since.min(now);
        }
    }

    /// Those who are there, first come first.
    pub fn order(&self) -> Vec<DriverId> {
        let there = self.places.iter().filter(|(_, place)| place.gone_at.is_none());
        let mut there: Vec<_> = there.map(|(driver, place)| (place.since, *driver)).collect();
        there.sort_unstable();
        there.into_iter().map(|(_, driver)| driver).collect()
    }
}

/// For each search that is picked up at a rank: the first in line who fits it, and whom no search before it gets. What
/// matters more chooses first, then who has waited longest. A rescue waits for nobody's turn.
pub fn choose<'a>(
    searches: impl IntoIterator<Item = &'a Arc<SearchCard>>,
    rank: &Rank,
    line: &[Arc<DriverCard>],
    now: Timestamp,
    settings: &cost::Settings,
) -> Vec<(usize, DriverId)> {
    let is_meant = |card: &SearchCard| {
        card.work != WorkKind::Rescue && card.only.is_none() && rank.holds(card.pickup)
    };
    let mut meant: Vec<(usize, &SearchCard)> = searches
        .into_iter()
        .enumerate()
        .filter(|(_, card)| is_meant(card))
        .map(|(n, card)| (n, &**card))
        .collect();
    meant.sort_by_key(|(_, card)| (Reverse(card.priority), card.opened_at, card.job));
    let mut taken: HashSet<DriverId> = HashSet::new();
    let chosen = meant.into_iter().filter_map(|(n, search)| {
        let is_next =
            |it: &&Arc<DriverCard>| !taken.contains(&it.id) && fits(search, it, now, settings);
        let next = line.iter().find(is_next)?.id;
        taken.insert(next);
        Some((n, next))
    });
    chosen.collect()
}

#[cfg(test)]
mod tests;
