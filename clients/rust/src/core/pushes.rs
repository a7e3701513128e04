//! Which pushes the app has: each is delivered once, and acknowledged when it was taken.
//!
//! Within a session a push is known by its number. A session that does not go on where it was counts
//! anew and says again what was not acknowledged; what was delivered before is then known by what it says.

use protocol::{IncidentId, JobId, OfferId, frame::Push};
use std::collections::VecDeque;

/// Most that are remembered, and most that wait to be taken. More are left to be said again.
pub(crate) const PUSHES_MAX: usize = 256;

/// One delivered push, as the app gives it back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct PushId(u64);

/// What to do about a push that was heard.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// The app has not heard it.
    Deliver(PushId),
    /// It has, and took it: the node has not heard that.
    Acknowledge,
    /// It waits to be taken, or there is no room for it: say nothing, and it is said again.
    Leave,
}

#[derive(Debug)]
struct Delivered {
    id: PushId,
    push: Push,
    /// Its number in this session; none, if it is of an earlier one and was not said again.
    n: Option<u64>,
    is_taken: bool,
}

/// What was delivered, the latest last.
#[derive(Debug, Default)]
pub(super) struct Pushes {
    delivered: VecDeque<Delivered>,
    n_ever: u64,
}

/// What a push is about.
#[derive(PartialEq, Eq)]
enum Subject {
    Offer(OfferId),
    OfferEnded(OfferId),
    Job(JobId),
    Incident(IncidentId),
    Message,
}

fn subject(push: &Push) -> Subject {
    match push {
        Push::Offer(offer) => Subject::Offer(offer.id),
        Push::OfferEnded { offer, .. } => Subject::OfferEnded(*offer),
        Push::Assigned { job } | Push::Released { job, .. } | Push::ClaimLost { job, .. } => {
            Subject::Job(*job)
        }
        Push::Incident(view) => Subject::Incident(view.id),
        Push::IncidentHeeded { incident } => Subject::Incident(*incident),
        Push::Message(_) => Subject::Message,
    }
}

/// How loud an incident calls, if it does.
fn call(push: &Push) -> Option<u8> {
    if let Push::Incident(view) = push { Some(view.escalations) } else { None }
}

impl Pushes {
    /// The numbers begin anew.
    pub(super) fn begin_anew(&mut self) {
        for it in &mut self.delivered {
            it.n = None;
        }
    }

    /// A push was heard.
    pub(super) fn heard(&mut self, n: u64, push: &Push) -> Verdict {
        let known = match self.delivered.iter().position(|it| it.n == Some(n)) {
            Some(known) => Some(known),
            None => self.said_before(push),
        };
        if let Some(known) = known.and_then(|known| self.delivered.get_mut(known)) {
            known.n = Some(n);
            return if known.is_taken { Verdict::Acknowledge } else { Verdict::Leave };
        }
        if self.delivered.len() >= PUSHES_MAX {
            let Some(oldest) = self.delivered.iter().position(|it| it.is_taken) else {
                return Verdict::Leave;
            };
            self.delivered.remove(oldest);
        }
        let id = PushId(self.n_ever);
        self.n_ever += 1;
        self.delivered.push_back(Delivered { id, push: push.clone(), n: Some(n), is_taken: false });
        Verdict::Deliver(id)
    }

    /// The same, delivered in an earlier session: nothing else about it may have been said since.
    fn said_before(&self, push: &Push) -> Option<usize> {
        let about = subject(push);
        let last = self.delivered.iter().rposition(|it| subject(&it.push) == about)?;
        let it = self.delivered.get(last)?;
        // An offer is made once, and ends once; what is said of a job may be said twice in truth.
        let is_same = match about {
            Subject::Offer(_) | Subject::OfferEnded(_) => true,
            Subject::Job(_) | Subject::Message => it.push == *push,
            Subject::Incident(_) => call(&it.push) == call(push),
        };
        (it.n.is_none() && is_same).then_some(last)
    }

    /// The app took it: under which number is it to be acknowledged, if it has one?
    pub(super) fn taken(&mut self, id: PushId) -> Option<u64> {
        let it = self.delivered.iter_mut().find(|it| it.id == id)?;
        it.is_taken = true;
        it.n
    }
}
