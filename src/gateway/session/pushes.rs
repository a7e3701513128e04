//! What must arrive: said again until the client has it, or until it no longer matters.

use protocol::{
    IncidentId, OfferId, Timestamp,
    frame::{Push, ServerFrame},
};
use std::time::Duration;
use tokio::time::Instant;

/// Most pushes that wait to be acknowledged, beside those with which its client has come back.
const WAITING_MAX: usize = 64;
/// Most of all, also those that wait for it to come back: whoever acknowledges none then either, again and again, begins
/// anew in the end.
pub(super) const KEPT_MAX: usize = 2 * WAITING_MAX;

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
    /// It has waited for its client to come back.
    was_kept: bool,
}

impl Pushes {
    /// Numbers a push and keeps it until it is acknowledged.
    pub(super) fn add(&mut self, push: Push, again_at: Instant) -> ServerFrame {
        self.last_n += 1;
        let n = self.last_n;
        self.waiting.push(Waiting { n, push: push.clone(), again_at, was_kept: false });
        ServerFrame::Push { n, push }
    }

    /// Do more wait than may?
    pub(super) fn are_too_many(&self) -> bool {
        let n_new = self.waiting.iter().filter(|waiting| !waiting.was_kept).count();
        n_new > WAITING_MAX || !self.may_be_kept()
    }

    /// Are there few enough to be kept for a client that is sent away?
    pub(super) fn may_be_kept(&self) -> bool {
        self.waiting.len() <= KEPT_MAX
    }

    /// As it crosses nodes: the last number, and what was not acknowledged.
    pub(super) fn pack(self) -> (u64, Vec<(u64, Push)>) {
        (self.last_n, self.waiting.into_iter().map(|waiting| (waiting.n, waiting.push)).collect())
    }

    /// The same again; what was not acknowledged is said again then.
    pub(super) fn unpack(last_n: u64, waiting: Vec<(u64, Push)>, again_at: Instant) -> Self {
        let kept = |(n, push)| Waiting { n, push, again_at, was_kept: true };
        Self { last_n, waiting: waiting.into_iter().map(kept).collect() }
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
