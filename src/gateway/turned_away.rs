//! Where somebody asked lately and was refused, because nobody serves the place: for whoever decides where to go next.
//!
//! A region knows nothing of it, and must not: it would send drivers to where they may not work. Soft state of the node that
//! refused it; a node that is killed takes it along.

use actors::zone::neighbourhood;
use protocol::{
    Code, CommandId, Point, Refused, Timestamp, ZoneId,
    work::{RescueAction, Wish},
};
use std::{
    collections::{BTreeMap, VecDeque},
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// For how long it counts that somebody was refused.
const COUNTED_FOR: Duration = Duration::from_secs(3_600);
/// How many of them are known at most; those longest ago are forgotten first.
const N_MAX: usize = 4_096;

/// Who was refused lately.
#[derive(Debug, Default)]
pub(super) struct TurnedAway(Mutex<VecDeque<One>>);

#[derive(Debug)]
struct One {
    at: Timestamp,
    zone: ZoneId,
    /// By which it asked: who asks again with the same one is the same.
    command: CommandId,
}

impl TurnedAway {
    /// Somebody was refused who asked from there.
    pub(super) fn note(&self, from: Point, command: CommandId, now: Timestamp) {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if all.iter().any(|it| it.command == command) {
            return;
        }
        if all.len() == N_MAX {
            all.pop_front();
        }
        all.push_back(One { at: now, zone: neighbourhood(from), command });
    }

    /// How many, zone by zone, in the last hour.
    pub(super) fn by_zone(&self, now: Timestamp) -> BTreeMap<ZoneId, u32> {
        let mut all = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        all.retain(|it| now.since(it.at) < COUNTED_FOR);
        let mut counted = BTreeMap::new();
        for it in &*all {
            *counted.entry(it.zone).or_default() += 1;
        }
        counted
    }
}

/// Where somebody wishes that something begins.
pub(super) fn asked_from(wish: &Wish) -> Option<Point> {
    match wish {
        Wish::PlaceOrder(order) => order.stops.first().map(|it| it.at),
        Wish::RequestRescue(rescue) => Some(rescue.at.at),
        Wish::Rescue { action: RescueAction::Locate { at, .. }, .. } => Some(at.at),
        Wish::Order { .. }
        | Wish::Rescue { .. }
        | Wish::Rider { .. }
        | Wish::Driver { .. }
        | Wish::Sos(_)
        | Wish::Incident { .. }
        | Wish::Zone { .. }
        | Wish::Run { .. } => None,
    }
}

/// Was whoever asked from a place that nobody serves refused for that? A rescue from there is recorded all the same, an order is
/// not.
pub(super) fn is_turned_away<T>(outcome: &Result<T, Refused>) -> bool {
    match outcome {
        Ok(_) => true,
        Err(refused) => refused.code == Code::OutOfArea,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const KIGALI: Point = Point { lat: -1.9441, lon: 30.0619 };
    const NOW: Timestamp = Timestamp(1_000_000_000);

    #[test]
    fn each_is_counted_once_where_it_was_and_for_an_hour() {
        let turned_away = TurnedAway::default();
        let (first, far) = (CommandId::mint(), KIGALI.offset_m(20_000.0, 0.0));
        turned_away.note(KIGALI, first, NOW);
        turned_away.note(KIGALI, first, NOW + Duration::from_secs(1));
        turned_away.note(KIGALI, CommandId::mint(), NOW + Duration::from_secs(60));
        turned_away.note(far, CommandId::mint(), NOW);
        let (here, there) = (neighbourhood(KIGALI), neighbourhood(far));
        assert_eq!(turned_away.by_zone(NOW), BTreeMap::from([(here, 2), (there, 1)]));
        let later = NOW + COUNTED_FOR;
        assert_eq!(turned_away.by_zone(later), BTreeMap::from([(here, 1)]));
        assert_eq!(turned_away.by_zone(later + COUNTED_FOR), BTreeMap::new());
    }

    #[test]
    fn of_a_flood_the_last_are_known() {
        let turned_away = TurnedAway::default();
        turned_away.note(KIGALI.offset_m(20_000.0, 0.0), CommandId::mint(), NOW);
        for _ in 0..N_MAX {
            turned_away.note(KIGALI, CommandId::mint(), NOW);
        }
        let all = BTreeMap::from([(neighbourhood(KIGALI), N_MAX as u32)]);
        assert_eq!(turned_away.by_zone(NOW), all);
    }
}
