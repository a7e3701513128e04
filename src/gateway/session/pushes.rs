//! What must arrive: said again until the client has it, or until it no longer matters.

use protocol::{
    IncidentId, OfferId, Timestamp,
    frame::{Push, ServerFrame},
};
use std::time::Duration;
use tokio::time::Instant;

/// Most pushes that wait to be acknowledged.
const WAITING_MAX: usize = 64;

/// Pushes under way to one client.
#[derive(Debug, Default)]
pub(super) struct Pushes {
    last_n: u64,
    waiting: Vec<Waiting>,
}

#[derive(Debug)]
struct Waiting {
    n: u64,
    push: Push,
    again_at: Instant,
}

impl Pushes {
    /// Numbers a push and keeps it until it is acknowledged. None if too many wait already.
    pub(super) fn add(&mut self, push: Push, again_at: Instant) -> Option<ServerFrame> {
        if self.waiting.len() >= WAITING_MAX {
            return None;
        }
        self.last_n += 1;
        let n = self.last_n;
        self.waiting.push(Waiting { n, push: push.clone(), again_at });
        Some(ServerFrame::Push { n, push })
    }

    /// As it crosses nodes: the last number, and what was not acknowledged.
    pub(super) fn pack(self) -> (u64, Vec<(u64, Push)>) {
        (self.last_n, self.waiting.into_iter().map(|waiting| (waiting.n, waiting.push)).collect())
    }

    /// The same again; what was not acknowledged is said again then.
    pub(super) fn unpack(last_n: u64, waiting: Vec<(u64, Push)>, again_at: Instant) -> Self {
        let waiting = waiting.into_iter().map(|(n, push)| Waiting { n, push, again_at });
        Self { last_n, waiting: waiting.collect() }
    }

    /// The client has it; says which offer it now can show, if it is one.
    pub(super) fn acknowledge(&mut self, n: u64) -> Option<OfferId> {
        let index = self.waiting.iter().position(|waiting| waiting.n == n)?;
        match self.waiting.swap_remove(index).push {
            Push::Offer(offer) => Some(offer.id),
            Push::OfferEnded { .. }
            | Push::Assigned { .. }
            | Push::Released { .. }
            | Push::ClaimLost { .. }
            | Push::Incident(_)
            | Push::IncidentHeeded { .. }
            | Push::Message(_) => None,
        }
    }

    /// An offer has ended: nobody needs to see it any more.
    pub(super) fn void(&mut self, ended: OfferId) {
        self.waiting
            .retain(|waiting| !matches!(&waiting.push, Push::Offer(offer) if offer.id == ended));
    }

    /// Somebody has taken an incident on, or it calls louder: nobody needs to hear that it called as it did.
    pub(super) fn void_call(&mut self, heeded: IncidentId) {
        self.waiting.retain(|it| !matches!(&it.push, Push::Incident(view) if view.id == heeded));
    }

    /// How many more may wait.
    pub(super) fn room(&self) -> usize {
        WAITING_MAX.saturating_sub(self.waiting.len())
    }

    /// When the next one is to be said again.
    pub(super) fn due(&self) -> Option<Instant> {
        self.waiting.iter().map(|waiting| waiting.again_at).min()
    }

    /// Those to be said again now, and next after `wait`.
    pub(super) fn again(
        &mut self,
        now: Instant,
        wait: Duration,
        clock: Timestamp,
    ) -> Vec<ServerFrame> {
        self.waiting.retain(
            |waiting| !matches!(&waiting.push, Push::Offer(offer) if offer.expires_at <= clock),
        );
        let due = self.waiting.iter_mut().filter(|waiting| waiting.again_at <= now);
        due.map(|waiting| {
            waiting.again_at = now + wait;
            ServerFrame::Push { n: waiting.n, push: waiting.push.clone() }
        })
        .collect()
    }
}

#[cfg(test)]
mod tests;
