//! Tells a session that somebody else than its client has something for it. A client that says where it is says so all
//! day, and each time all the others would have to be asked: what they are asked for lies all over the memory, and costs
//! more than what is done with a position.

use futures_util::task::AtomicWaker;
use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Wake, Waker},
};

/// Rings once somebody has something.
#[derive(Debug)]
pub(super) struct Bell {
    ringing: Arc<Ringing>,
    /// Rings it.
    waker: Waker,
}

#[derive(Debug, Default)]
struct Ringing {
    rings: AtomicBool,
    session: AtomicWaker,
}

impl Default for Bell {
    /// It rings: nobody was asked yet.
    fn default() -> Self {
        let ringing = Arc::<Ringing>::default();
        let bell = Self { waker: Waker::from(Arc::clone(&ringing)), ringing };
        bell.ring();
        bell
    }
}

impl Bell {
    /// Somebody may have something who was not asked, or has not been asked since.
    pub(super) fn ring(&self) {
        self.ringing.rings.store(true, Ordering::Release);
    }

    /// Asks them, if it rings. Then it is silent until one of them rings it, unless there was something: there may be more.
    pub(super) fn poll<T>(
        &self,
        cx: &mut Context<'_>,
        ask: impl FnOnce(&mut Context<'_>) -> Poll<T>,
    ) -> Poll<T> {
        // First, so that it does not ring between a look and a sleep.
        self.ringing.session.register(cx.waker());
        if !self.ringing.rings.swap(false, Ordering::AcqRel) {
            return Poll::Pending;
        }
        let answer = ask(&mut Context::from_waker(&self.waker));
        if answer.is_ready() {
            self.ring();
        }
        answer
    }
}

impl Wake for Ringing {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.rings.store(true, Ordering::Release);
        self.session.wake();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::task::noop_waker_ref;
    use std::{future::poll_fn, time::Duration};
    use tokio::sync::mpsc;

    #[test]
    fn nobody_is_asked_again_until_one_of_them_rings() {
        let (bell, mut cx) = (Bell::default(), Context::from_waker(noop_waker_ref()));
        let (to, mut from) = mpsc::channel(2);
        let mut n_asked = 0;
        let mut poll = |bell: &Bell| {
            bell.poll(&mut cx, |cx| {
                n_asked += 1;
                from.poll_recv(cx).map(|it| (it, n_asked))
            })
        };
        assert_eq!(poll(&bell), Poll::Pending);
        assert_eq!(poll(&bell), Poll::Pending);
        to.try_send("first").unwrap();
        to.try_send("second").unwrap();
        assert_eq!(poll(&bell), Poll::Ready((Some("first"), 2)), "it was asked once before");
        assert_eq!(poll(&bell), Poll::Ready((Some("second"), 3)), "there was more");
        assert_eq!(poll(&bell), Poll::Pending);
        bell.ring();
        drop(to);
        assert_eq!(poll(&bell), Poll::Ready((None, 5)));
    }

    #[tokio::test(flavor = "multi_thread", worker_threads = 2)]
    async fn whoever_waits_is_woken_however_often_it_rings() {
        let (to, mut from) = mpsc::channel(1);
        let sender = tokio::spawn(async move {
            for n in 0..20_000 {
                to.send(n).await.unwrap();
            }
        });
        let bell = Bell::default();
        let all = async {
            for wanted in 0..20_000 {
                let got = poll_fn(|cx| bell.poll(cx, |cx| from.poll_recv(cx))).await;
                assert_eq!(got, Some(wanted));
            }
        };
        tokio::time::timeout(Duration::from_secs(60), all).await.expect("a ring was missed");
        sender.await.unwrap();
    }
}
