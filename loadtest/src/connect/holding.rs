//! Pushes that must arrive, and are not acknowledged: nothing may be lost of them when their driver is cut off.
//!
//! An order for one driver takes no luck: that driver is offered it, or has it. Half of the drivers are told before
//! the cut, and half while they are away.

use super::order::Held;
use protocol::frame::{Outcome, Push};
use std::collections::{BTreeMap, BTreeSet};

/// What holders and placers of one generator know.
#[derive(Debug, Default)]
pub(super) struct Holding {
    n_holders: u32,
    n_times_placed: u32,
    is_cut: bool,
    /// Who has placed what for whom, in display form.
    placed: BTreeMap<u32, String>,
    n_not_placed: u64,
    before: BTreeMap<u32, BTreeSet<Told>>,
    after: BTreeMap<u32, BTreeSet<Told>>,
}

/// A push, as far as it can be missed.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
enum Told {
    /// An offer, and of which job.
    Offered(String, String),
    Ended(String),
    Assigned(String),
    Released(String),
    Lost(String),
    Incident(String),
    Message(String),
}

impl Told {
    fn of(push: Push) -> Self {
        match push {
            Push::Offer(offer) => Self::Offered(offer.id.to_string(), offer.job.to_string()),
            Push::OfferEnded { offer, .. } => Self::Ended(offer.to_string()),
            Push::Assigned { job } => Self::Assigned(job.to_string()),
            Push::Released { job, .. } => Self::Released(job.to_string()),
            Push::ClaimLost { job, .. } => Self::Lost(job.to_string()),
            Push::Incident(view) => Self::Incident(view.id.to_string()),
            Push::IncidentHeeded { incident } => Self::Incident(incident.to_string()),
            Push::Message(message) => Self::Message(message.text),
        }
    }
}

impl Holding {
    pub(super) fn new(n_holders: u32) -> Self {
        Self { n_holders, ..Self::default() }
    }

    /// Which placers place an order now, and for which holders.
    pub(super) fn place(&mut self) -> Vec<(u32, u32)> {
        let half = self.n_holders / 2;
        let holders = match self.n_times_placed {
            0 => 0..half,
            1 => half..self.n_holders,
            _ => 0..0,
        };
        self.n_times_placed += 1;
        holders.map(|holder| (self.n_holders + holder, holder)).collect()
    }

    /// What came of an order for a holder.
    pub(super) fn placed(&mut self, holder: u32, outcome: &Outcome) {
        match outcome {
            Outcome::Ok(done) => {
                self.placed.insert(holder, done.actor.clone());
            }
            Outcome::Refused(_) => self.n_not_placed += 1,
        }
    }

    /// A holder was told something.
    pub(super) fn heard(&mut self, holder: u32, push: Push) {
        let told = if self.is_cut { &mut self.after } else { &mut self.before };
        told.entry(holder).or_default().insert(Told::of(push));
    }

    /// They are cut off now.
    pub(super) fn cut(&mut self) {
        self.is_cut = true;
    }

    /// What should have been heard again, or for the first time, and was not.
    pub(super) fn judge(&self) -> Held {
        let nothing = BTreeSet::new();
        let mut missed = Vec::new();
        for (holder, before) in &self.before {
            let after = self.after.get(holder).unwrap_or(&nothing);
            let is_void = |told: &Told| match told {
                // It ended before, or the driver was told that it did.
                Told::Offered(offer, _) => {
                    let ended = Told::Ended(offer.clone());
                    before.contains(&ended) || after.contains(&ended)
                }
                Told::Ended(_)
                | Told::Assigned(_)
                | Told::Released(_)
                | Told::Lost(_)
                | Told::Incident(_)
                | Told::Message(_) => false,
            };
            let lost = before.iter().filter(|told| !after.contains(told) && !is_void(told));
            missed.extend(lost.map(|told| format!("{holder}: {told:?}, held before the cut")));
        }
        for (holder, job) in &self.placed {
            let is_it = |told: &Told| match told {
                Told::Offered(_, of) | Told::Assigned(of) => of == job,
                Told::Ended(_)
                | Told::Released(_)
                | Told::Lost(_)
                | Told::Incident(_)
                | Told::Message(_) => false,
            };
            let all = [&self.before, &self.after].into_iter().filter_map(|told| told.get(holder));
            if !all.flatten().any(is_it) {
                missed.push(format!("{holder}: was never told of {job}"));
            }
        }
        let n = |told: &BTreeMap<u32, BTreeSet<Told>>| {
            told.values().map(|it| it.len() as u64).sum::<u64>()
        };
        Held {
            n_placed: self.placed.len() as u64,
            n_not_placed: self.n_not_placed,
            n_held: n(&self.before),
            n_heard_after: n(&self.after),
            missed,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::{JobId, OfferId, OfferStatus, OrderId, frame::Done};

    fn assigned(n: u64) -> Push {
        Push::Assigned { job: JobId::Order(OrderId::nth(n)) }
    }

    fn done(n: u64) -> Outcome {
        Outcome::Ok(Done { actor: OrderId::nth(n).to_string(), version: 1 })
    }

    fn ended(n: u64) -> Push {
        Push::OfferEnded { offer: OfferId::nth(n), status: OfferStatus::Withdrawn }
    }

    #[test]
    fn what_was_held_must_be_heard_again() {
        let mut holding = Holding::new(4);
        assert_eq!(holding.place(), [(4, 0), (5, 1)]);
        for n in [0, 1] {
            holding.placed(n, &done(n.into()));
            holding.heard(n, assigned(n.into()));
        }
        holding.cut();
        assert_eq!(holding.judge().missed.len(), 2);
        holding.heard(0, assigned(0));
        holding.heard(1, ended(7));
        assert_eq!(holding.judge().missed.len(), 1, "another push is not the one that was held");
        holding.heard(1, assigned(1));
        assert_eq!(holding.judge().missed, Vec::<String>::new());
    }

    #[test]
    fn what_happened_meanwhile_must_be_heard_too() {
        let mut holding = Holding::new(2);
        holding.place();
        holding.cut();
        assert_eq!(holding.place(), [(3, 1)]);
        holding.placed(1, &done(9));
        assert_eq!(holding.judge().missed.len(), 1);
        holding.heard(1, assigned(9));
        assert_eq!(holding.judge().missed, Vec::<String>::new());
        assert_eq!(holding.place(), []);
    }
}
