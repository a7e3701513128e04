//! Where somebody asked lately and was refused, because nobody serves the place: for whoever decides where to go next.
//!
//! A region knows nothing of it, and must not: it would send drivers to where they may not work. Soft state of the node that
//! refused it; a node that is killed takes it along.

use actors::zone::neighbourhood;
use protocol::{
    Code, CommandId, Point, Principal, Refused, Timestamp, ZoneId,
    work::{RescueAction, Wish},
};
use std::{
    collections::{BTreeMap, HashSet, VecDeque},
    sync::{Mutex, PoisonError},
    time::Duration,
};

/// For how long it counts that somebody was refused.
const COUNTED_FOR: Duration = Duration::from_secs(3_600);
/// How many of them are known at most; those longest ago are forgotten first.
const N_MAX: usize = 4_096;

/// Who was refused lately.
#[derive(Debug, Default)]
pub(super) struct TurnedAway(Mutex<Lately>);

#[derive(Debug, Default)]
struct Lately {
    /// When whom and where, the first of them first.
    all: VecDeque<(Timestamp, One)>,
    /// The same, to be found.
    known: HashSet<One>,
}

/// Whoever is counted once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
struct One {
    zone: ZoneId,
    asker: Asker,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
enum Asker {
    /// However often it asks.
    Itself(Principal),
    /// Staff, for somebody else each time: by which they asked, for a repeat is the same.
    Staff(CommandId),
}

impl TurnedAway {
    /// Somebody was refused who asked from there.
    pub(super) fn note(&self, from: Point, by: Principal, command: CommandId, now: Timestamp) {
        let asker = if by.is_staff() { Asker::Staff(command) } else { Asker::Itself(by) };
        let one = One { zone: neighbourhood(from), asker };
        let mut lately = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lately.forget(now);
        if !lately.known.insert(one) {
            return;
        }
        if lately.all.len() == N_MAX {
            lately.forget_first();
        }
        lately.all.push_back((now, one));
    }

    /// How many, zone by zone, in the last hour.
    pub(super) fn by_zone(&self, now: Timestamp) -> BTreeMap<ZoneId, u32> {
        let mut lately = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        lately.forget(now);
        let mut counted = BTreeMap::new();
        for (_, it) in &lately.all {
            *counted.entry(it.zone).or_default() += 1;
        }
        counted
    }
}

impl Lately {
    /// Forgets those that do not count any more.
    fn forget(&mut self, now: Timestamp) {
        while self.all.front().is_some_and(|(at, _)| now.since(*at) >= COUNTED_FOR) {
            self.forget_first();
        }
    }

    fn forget_first(&mut self) {
        if let Some((_, first)) = self.all.pop_front() {
            self.known.remove(&first);
        }
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
    use protocol::RiderId;

    const KIGALI: Point = Point { lat: -1.9441, lon: 30.0619 };
    const NOW: Timestamp = Timestamp(1_000_000_000);

    #[test]
    fn each_is_counted_once_where_it_was_and_for_an_hour() {
        let turned_away = TurnedAway::default();
        let far = KIGALI.offset_m(20_000.0, 0.0);
        let asks = |from, n, after_s| {
            let by = Principal::Rider(RiderId::nth(n));
            turned_away.note(from, by, CommandId::mint(), NOW + Duration::from_secs(after_s));
        };
        asks(KIGALI, 1, 0);
        asks(far, 1, 0);
        asks(KIGALI, 1, 1);
        asks(KIGALI, 2, 60);
        let (here, there) = (neighbourhood(KIGALI), neighbourhood(far));
        assert_eq!(turned_away.by_zone(NOW), BTreeMap::from([(here, 2), (there, 1)]));
        let later = NOW + COUNTED_FOR;
        assert_eq!(turned_away.by_zone(later), BTreeMap::from([(here, 1)]));
        // Who asks again after an hour counts again, also where nobody has looked meanwhile.
        asks(KIGALI, 2, 2 * 3_600);
        let later = later + COUNTED_FOR;
        assert_eq!(turned_away.by_zone(later), BTreeMap::from([(here, 1)]));
        assert_eq!(turned_away.by_zone(later + COUNTED_FOR), BTreeMap::new());
    }

    #[test]
    fn staff_ask_for_somebody_else_each_time() {
        let turned_away = TurnedAway::default();
        let again = CommandId::mint();
        for command in [CommandId::mint(), again, again] {
            turned_away.note(KIGALI, Principal::Dispatcher, command, NOW);
        }
        let here = BTreeMap::from([(neighbourhood(KIGALI), 2)]);
        assert_eq!(turned_away.by_zone(NOW), here);
    }

    #[test]
    fn of_a_flood_the_last_are_known() {
        let turned_away = TurnedAway::default();
        let (by, far) = (Principal::Rider(RiderId::nth(0)), KIGALI.offset_m(20_000.0, 0.0));
        turned_away.note(far, by, CommandId::mint(), NOW);
        for n in 1..=N_MAX as u64 {
            let by = Principal::Rider(RiderId::nth(n));
            turned_away.note(KIGALI, by, CommandId::mint(), NOW);
        }
        let mut all = BTreeMap::from([(neighbourhood(KIGALI), N_MAX as u32)]);
        assert_eq!(turned_away.by_zone(NOW), all);
        // Whoever is forgotten is new.
        turned_away.note(far, by, CommandId::mint(), NOW);
        all.insert(neighbourhood(KIGALI), N_MAX as u32 - 1);
        all.insert(neighbourhood(far), 1);
        assert_eq!(turned_away.by_zone(NOW), all);
    }
}
