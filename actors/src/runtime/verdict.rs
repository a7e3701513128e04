//! What an entity thinks of what it was shown, on its way to whoever wants to know.

use crate::Refusal;
use futures_util::task::AtomicWaker;
use std::{
    sync::{Arc, Mutex, PoisonError},
    task::{Context, Poll},
};
use tokio::sync::oneshot;

/// Whether it was fine, or why not.
pub(super) type Verdict = Result<(), Refusal>;

/// Who wants to know.
#[derive(Debug)]
pub(super) enum Curious {
    /// Somebody who waits for it.
    Once(oneshot::Sender<Verdict>),
    /// Somebody who cares for objections only. Most of what is shown is fine, and then nobody is woken.
    Objections(Objections),
}

impl Curious {
    pub(super) fn hear(self, verdict: Verdict) {
        match (self, verdict) {
            // Whoever is gone needs no answer.
            (Self::Once(reply), verdict) => drop(reply.send(verdict)),
            (Self::Objections(objections), Err(refusal)) => objections.raise(refusal),
            (Self::Objections(_), Ok(())) => {}
        }
    }
}

/// Where objections to what somebody shows are heard: the latest that has not been. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub struct Objections(Arc<Raised>);

#[derive(Debug, Default)]
struct Raised {
    latest: Mutex<Option<Refusal>>,
    listener: AtomicWaker,
}

impl Objections {
    /// The next objection. One task listens.
    pub fn poll_next(&self, cx: &mut Context<'_>) -> Poll<Refusal> {
        // First, so that none is raised between a look and a sleep.
        self.0.listener.register(cx.waker());
        let latest = self.0.latest.lock().unwrap_or_else(PoisonError::into_inner).take();
        latest.map_or(Poll::Pending, Poll::Ready)
    }

    fn raise(&self, refusal: Refusal) {
        *self.0.latest.lock().unwrap_or_else(PoisonError::into_inner) = Some(refusal);
        self.0.listener.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt;
    use std::future::poll_fn;

    #[tokio::test]
    async fn an_objection_wakes_its_listener_and_is_heard_once() {
        let objections = Objections::default();
        let curious = || Curious::Objections(objections.clone());
        let next = || poll_fn(|cx| objections.poll_next(cx));
        curious().hear(Ok(()));
        assert_eq!(next().now_or_never(), None, "nobody objects");
        let raised = async {
            curious().hear(Err(Refusal::Unavailable));
            curious().hear(Err(Refusal::Draining));
        };
        let (heard, ()) = tokio::join!(next(), raised);
        assert_eq!(heard, Refusal::Draining, "the latest counts");
        assert_eq!(next().now_or_never(), None, "it was heard");
    }
}
