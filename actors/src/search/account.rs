//! What rounds saw of a search, in few bytes, to go along with an event that is written anyway.
//!
//! ```text
//!  region ── rounds ──► memory of its node ── what is new ──► Account ── in an event of the search ──► journal
//! ```
//!
//! It decides nothing: rules never look into it, so it stays bytes until somebody asks how a driver was looked for. What a
//! later build writes otherwise is told as nothing, and harms nobody who replays it.

use protocol::{
    DriverId, Timestamp,
    rule::RuleMark,
    trace::{Fate, Parts, Seen, Unfit, Verdict, Weighed, WhyNot},
};
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::cmp::Reverse;

/// How long one may be, in bytes.
const BYTES_MAX: usize = 1_024;
/// The last rounds that came to something else: how many are told.
const ROUNDS_MAX: usize = 4;
/// How many of those who were weighed are told of each…
const WEIGHED_MAX: usize = 4;
/// … how many of those who did not fit…
const UNFIT_MAX: usize = 4;
/// … and how many reasons are counted, the most frequent ones.
const REASONS_MAX: usize = 8;

/// What rounds saw of a search since its journal was last told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Account(Box<[u8]>);

/// One round, without names of fields: by them it would be twice as long. New ones are added at the end, with a default.
#[derive(Serialize, Deserialize)]
struct Brief {
    from: Timestamp,
    at: Timestamp,
    n: u32,
    round: u32,
    radius_m: u32,
    verdict: Verdict,
    n_weighed: u32,
    weighed: Vec<(DriverId, Fate, [u32; N_COSTS])>,
    n_unfit: Vec<(WhyNot, u32)>,
    unfit: Vec<(DriverId, WhyNot)>,
    /// Left away where there was none: what was said before there were rules is said the same way.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    rule: Option<RuleMark>,
}

/// How many numbers a driver who was weighed is told with: the way, what it costs beside it, and when it would be there.
const N_COSTS: usize = 4 + Parts::COUNT + 2;

impl Account {
    /// Of these rounds, oldest first, the last ones that there is room for; none, if there were none.
    pub fn of(rounds: &[Seen]) -> Option<Self> {
        let told = &rounds[rounds.len().saturating_sub(ROUNDS_MAX)..];
        let briefs: Vec<Brief> = told.iter().map(Brief::of).collect();
        // A single one always finds room.
        (0..briefs.len())
            .map(|skipped| encoded(&briefs[skipped..]))
            .find_map(|bytes| (bytes.len() <= BYTES_MAX).then(|| Self(bytes.into_boxed_slice())))
    }

    /// The rounds, oldest first; none, if another build says them otherwise.
    pub fn rounds(&self) -> Vec<Seen> {
        let briefs: Vec<Brief> = rmp_serde::from_slice(&self.0).unwrap_or_default();
        briefs.into_iter().map(Brief::seen).collect()
    }

    /// How many bytes it takes.
    pub fn size(&self) -> usize {
        self.0.len()
    }
}

fn encoded(briefs: &[Brief]) -> Vec<u8> {
    rmp_serde::to_vec(briefs).expect("plain data")
}

impl Brief {
    fn of(seen: &Seen) -> Self {
        let weighed = seen.weighed.iter().take(WEIGHED_MAX);
        let mut n_unfit: Vec<(WhyNot, u32)> =
            seen.n_unfit.iter().map(|(why, n)| (*why, *n)).collect();
        n_unfit.sort_by_key(|(why, n)| (Reverse(*n), *why));
        n_unfit.truncate(REASONS_MAX);
        Self {
            from: seen.from,
            at: seen.at,
            n: seen.n,
            round: seen.round,
            radius_m: seen.radius_m,
            verdict: seen.verdict,
            n_weighed: seen.n_weighed,
            weighed: weighed.map(|it| (it.driver, it.fate, costs(it))).collect(),
            n_unfit,
            unfit: seen.unfit.iter().take(UNFIT_MAX).map(|it| (it.driver, it.why)).collect(),
            rule: seen.rule,
        }
    }

    fn seen(self) -> Seen {
        let unfit = |(driver, why)| Unfit { driver, why };
        Seen {
            from: self.from,
            at: self.at,
            n: self.n,
            round: self.round,
            radius_m: self.radius_m,
            verdict: self.verdict,
            n_weighed: self.n_weighed,
            weighed: self.weighed.into_iter().map(weighed).collect(),
            n_unfit: self.n_unfit.into_iter().collect(),
            unfit: self.unfit.into_iter().map(unfit).collect(),
            rule: self.rule,
            model: None,
        }
    }
}

fn costs(it: &Weighed) -> [u32; N_COSTS] {
    let mut costs = [0; N_COSTS];
    let [distance_m, cost_ms, travel_ms, busy_ms, parts @ .., low_s, high_s] = &mut costs;
    (*distance_m, *cost_ms) = (it.distance_m, it.cost_ms);
    (*travel_ms, *busy_ms) = (it.travel_ms, it.busy_ms);
    *parts = it.parts.into();
    (*low_s, *high_s) = (it.low_s.into(), it.high_s.into());
    costs
}

fn weighed((driver, fate, costs): (DriverId, Fate, [u32; N_COSTS])) -> Weighed {
    let [distance_m, cost_ms, travel_ms, busy_ms, parts @ .., low_s, high_s] = costs;
    let seconds = |s: u32| u16::try_from(s).unwrap_or(u16::MAX);
    let (low_s, high_s) = (seconds(low_s), seconds(high_s));
    let parts = parts.into();
    Weighed { driver, fate, distance_m, cost_ms, travel_ms, busy_ms, low_s, high_s, parts }
}

/// Bytes in the journal, and rounds for people.
impl Serialize for Account {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        if serializer.is_human_readable() {
            self.rounds().serialize(serializer)
        } else {
            serializer.serialize_bytes(&self.0)
        }
    }
}

impl<'de> Deserialize<'de> for Account {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        if deserializer.is_human_readable() {
            let rounds = Vec::<Seen>::deserialize(deserializer)?;
            return Ok(Self::of(&rounds).unwrap_or_else(|| Self(encoded(&[]).into())));
        }
        let bytes = serde_bytes::ByteBuf::deserialize(deserializer)?;
        Ok(Self(bytes.into_vec().into_boxed_slice()))
    }
}

#[cfg(test)]
mod tests;
