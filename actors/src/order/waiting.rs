//! What it costs to let a driver wait longer than is free.

use super::{Around, Event, Leg, Life, ms};
use crate::fare;
use protocol::{Fare, FareLine, Timestamp, work::OrderKind};

/// The line of a fare that waiting is added to.
pub(super) const LINE: &str = "waiting";

impl Life {
    /// Who waits for a merchant's goods does not wait for the rider.
    pub(super) fn charge_pickup(&self, around: &Around) -> Option<Event> {
        match self.leg() {
            // Nor does who waits at a hub.
            Some(Leg::AtPickup { since, .. })
                if self.placement.kind != OrderKind::Commerce && !self.is_past_hub() =>
            {
                self.charge(*since, around)
            }
            _ => None,
        }
    }

    pub(super) fn charge_stop(&self, around: &Around) -> Option<Event> {
        self.charge(self.at_stop_since?, around)
    }

    fn charge(&self, since: Timestamp, around: &Around) -> Option<Event> {
        let waited = around.now.since(since);
        let free = ms(self.placement.policy.wait_free_ms);
        let amount = fare::waiting(self.placement.waiting_per_min, waited, free);
        let waited_ms = u64::try_from(waited.as_millis()).unwrap_or(u64::MAX);
        let charged = Event::WaitingCharged { waited_ms, amount, at: around.now };
        (amount > 0).then_some(charged)
    }

    pub(super) fn add_waiting(&mut self, amount: i64) {
        let lines = &mut self.placement.fare.lines;
        match lines.iter_mut().find(|line| line.code == LINE) {
            Some(line) => line.amount = line.amount.saturating_add(amount),
            None if amount != 0 => lines.push(FareLine { code: LINE.to_owned(), amount }),
            None => {}
        }
    }

    /// A new price for the way; what has been waited is still owed.
    pub(super) fn reprice(&mut self, fare: &Fare) {
        let lines = &self.placement.fare.lines;
        let waited = lines.iter().find(|line| line.code == LINE).map_or(0, |line| line.amount);
        self.placement.fare = fare.clone();
        self.add_waiting(waited);
    }
}
