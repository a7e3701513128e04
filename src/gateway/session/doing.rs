//! What is under way for one client: nothing for most of them, most of the time, and then it takes no room.

use super::Deed;
use futures_util::{StreamExt, future::BoxFuture, stream::FuturesUnordered};
use std::{
    future::poll_fn,
    task::{Context, Poll, ready},
};

/// Deeds that have been started and have not come to an end.
#[derive(Debug, Default)]
pub(super) struct Doing(Option<FuturesUnordered<BoxFuture<'static, Deed>>>);

impl Doing {
    /// One more.
    pub(super) fn push(&mut self, deed: BoxFuture<'static, Deed>) {
        self.0.get_or_insert_default().push(deed);
    }

    /// How many there are.
    pub(super) fn len(&self) -> usize {
        self.0.as_ref().map_or(0, FuturesUnordered::len)
    }

    /// The next one that comes to an end; none, if there are none. Safe to drop at any point.
    pub(super) async fn next(&mut self) -> Option<Deed> {
        poll_fn(|cx| self.poll_next(cx)).await
    }

    /// The same.
    pub(super) fn poll_next(&mut self, cx: &mut Context<'_>) -> Poll<Option<Deed>> {
        let Some(deeds) = &mut self.0 else { return Poll::Ready(None) };
        let deed = ready!(deeds.poll_next_unpin(cx));
        if deeds.is_empty() {
            self.0 = None;
        }
        Poll::Ready(deed)
    }
}
