//! Goods that change vehicles at a hub: one driver leaves them there, and another one is looked for who brings them on.
//!
//! ```text
//!  searching ─► … ─► at_stop, the hub ── complete_stop: left there ──► waiting, if they are to stay ──► searching ─► assigned ─► … ─► delivered
//!                                           its driver is free                    │                        │ nobody: it is held there
//!                                                                                 └── called off: they lie there ──┘
//! ```
//!
//! It is one order all the while, with one history, and each of its drivers holds a slot for as long as it has the goods. From the hub on
//! everything begins there: where it is fetched, in whose region somebody is looked for, and where it is brought back to.

use super::{Answer, Around, Event, Life, Stage};
use crate::{
    Format, Refusal,
    search::{self, Search},
};
use protocol::{
    DriverId, Place, Principal, Timestamp,
    view::HubStay,
    work::{Proof, ProofKind},
};
use serde::{Deserialize, Serialize};

/// What it takes to know that goods change vehicles at a hub.
pub(super) const KNOWN: Format = crate::template::KNOWN;
/// Which of the stops the hub is.
const HUB: u8 = 1;

/// That goods were left at the hub.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Left {
    /// When.
    pub(super) at: Timestamp,
    /// By whom.
    pub(super) by: DriverId,
}

impl Life {
    /// Is it on its way to a hub, or still to be fetched for it?
    pub(super) fn is_before_hub(&self) -> bool {
        self.placement.hub.is_some() && self.left.is_none()
    }

    /// Was it left at its hub?
    pub(super) fn is_past_hub(&self) -> bool {
        self.left.is_some()
    }

    /// Which stop is the first of whoever brings it now, or is looked for.
    pub(super) fn first_stop(&self) -> usize {
        if self.is_past_hub() { HUB.into() } else { 0 }
    }

    /// Which stop is the last of whoever brings it now, or is looked for.
    pub(super) fn last_stop(&self) -> usize {
        match self.is_before_hub() {
            true => HUB.into(),
            false => self.placement.stops.len().saturating_sub(1),
        }
    }

    /// Its driver leaves it at the hub, and somebody is looked for who brings it on.
    pub(super) fn leave_at_hub(&self, proofs: &[Proof], around: &Around) -> Answer {
        let Some(by) = self.driver() else { return Err(self.illegal()) };
        // Nobody is there who knows the PIN of whom it is for.
        let wanted = self.placement.dropoff_proof.iter().copied();
        let wanted: Vec<ProofKind> = wanted.filter(|it| *it != ProofKind::Pin).collect();
        self.are_complete(proofs, &wanted, None)?;
        // Whoever was to take it over on the way is not to any more.
        let closed = self.search.close(around.now).into_iter().map(Event::Search);
        let left = Event::LeftAtHub { by, proofs: proofs.to_vec(), at: around.now };
        let mut events: Vec<Event> = closed.chain([left]).collect();
        let mut after = self.clone();
        events.iter().for_each(|event| after.evolve(event));
        if !matches!(after.stage, Stage::Waiting { search_at: Some(_) }) {
            events.extend(after.begin_search(around.now));
        }
        Ok(events)
    }

    /// It lies at the hub, and its driver has nothing to do with it any more.
    pub(super) fn lie_at_hub(&mut self, by: DriverId, at: Timestamp) {
        let until = self.placement.hub.as_ref().and_then(|hub| hub.until);
        self.stage = Stage::Waiting { search_at: until.filter(|until| at < *until) };
        self.left = Some(Box::new(Left { at, by }));
        self.stops_done = HUB + 1;
        // What was of the first driver is not of the second.
        self.search.begin_anew(&self.placement.excluded);
        self.n_reassigns = 0;
        self.n_failed = 0;
        self.n_wrong_codes = 0;
        self.is_driver_lost = false;
        self.cancel_request = None;
        self.moved_at = None;
        self.at_stop_since = None;
        self.track = super::Track::default();
    }

    /// Nobody was found who brings it on: it stays where it is, and a dispatcher says when it is looked for again.
    pub(super) fn stay_at_hub(&self, around: &Around) -> Vec<Event> {
        let at = around.now;
        let reason = "nobody was found to bring it on from the hub".to_owned();
        let opened = Search::default().open(None, &self.placement.policy, at);
        let held = search::Event::Held { at, by: Principal::System, reason };
        let searched = opened.into_iter().chain([held]).map(Event::Search);
        [Event::DispatchFailed { at }].into_iter().chain(searched).collect()
    }

    /// What of a price is for the way to the hub: by distance.
    pub(super) fn share_to_hub(&self, total: i64) -> i64 {
        let stops = &self.placement.stops;
        let leg_m = |(from, to): (&Place, &Place)| from.at.distance_m(to.at).round() as u64;
        let mut legs_m = stops.iter().zip(stops.iter().skip(1)).map(leg_m);
        let to_hub_m = legs_m.next().unwrap_or(0);
        let all_m = to_hub_m + legs_m.sum::<u64>();
        let share = i128::from(total) * i128::from(to_hub_m) / i128::from(all_m.max(1));
        i64::try_from(share).expect("a part is no larger than the whole")
    }

    /// What `reader` is told of it; drivers not by which other one it was left there.
    pub(super) fn hub_stay(&self, reader: Principal) -> Option<HubStay> {
        let hub = self.placement.hub.as_deref()?;
        let left = self.left.as_deref();
        let is_driver = matches!(reader, Principal::Driver(_));
        Some(HubStay {
            until: hub.until,
            left_at: left.map(|left| left.at),
            by: left.map(|left| left.by).filter(|_| !is_driver),
        })
    }

    /// Refuses to go past the hub with it.
    pub(super) fn must_not_skip_hub(&self) -> Result<(), Refusal> {
        match self.is_before_hub() {
            true => Err(Refusal::invalid("stop", "it is left at this one")),
            false => Ok(()),
        }
    }
}
