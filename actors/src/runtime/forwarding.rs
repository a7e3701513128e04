//! What other nodes follow here: under which number, and how much they have been told of it.
//!
//! A million clients of other nodes follow as many entities here that say nothing for hours. So there is no task
//! and no queue for any of them: a number for each, which the entity looks up when it has something to say.

use super::System;
use crate::cluster::{
    Incarnation,
    envelope::{Notice, UpdateBytes},
};
use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
    sync::{Mutex, MutexGuard, PoisonError},
};

/// Most streams in one envelope.
const PAGE: usize = 2_000;

/// How much was told under each number.
#[derive(Debug, Default)]
pub(super) struct Forwarding(Mutex<BTreeMap<(Incarnation, u64), u64>>);

impl Forwarding {
    /// Another node follows something, under a number of its own.
    pub(super) fn begin(&self, to: Incarnation, stream: u64) {
        self.lock().entry((to, stream)).or_default();
    }

    /// It does no more. Was it followed at all?
    pub(super) fn end(&self, to: Incarnation, stream: u64) -> bool {
        self.lock().remove(&(to, stream)).is_some()
    }

    /// The number of the next word; none, if it is not followed any more.
    fn next(&self, to: Incarnation, stream: u64) -> Option<u64> {
        let mut streams = self.lock();
        let n = streams.get_mut(&(to, stream))?;
        *n += 1;
        Some(*n)
    }

    fn has(&self, to: Incarnation, stream: u64) -> bool {
        self.lock().contains_key(&(to, stream))
    }

    /// Only these nodes are still there.
    pub(super) fn retain(&self, is_there: impl Fn(Incarnation) -> bool) {
        let mut streams = self.lock();
        let mut after = (Incarnation(0), 0);
        let mut gone = Vec::new();
        // From node to node, and not from stream to stream.
        while let Some(((to, _), _)) = streams.range(after..).next() {
            let to = *to;
            if !is_there(to) {
                gone.push(to);
            }
            after = (Incarnation(to.0.saturating_add(1)), 0);
        }
        for to in gone {
            let mut rest = streams.split_off(&(to, 0));
            let mut later = rest.split_off(&(Incarnation(to.0.saturating_add(1)), 0));
            streams.append(&mut later);
        }
    }

    /// All of them, in pages for each node, with how much was told.
    pub(super) fn pages(&self, mut take: impl FnMut(Incarnation, Vec<(u64, u64)>)) {
        let mut after = None;
        loop {
            let page: Vec<_> = {
                let streams = self.lock();
                let from = after.map_or(Unbounded, Excluded);
                let mut rest = streams.range((from, Unbounded)).peekable();
                let Some(((first, _), _)) = rest.peek() else { return };
                let first = *first;
                let page = rest.take_while(|((to, _), _)| *to == first).take(PAGE);
                page.map(|(key, n)| (*key, *n)).collect()
            };
            after = page.last().map(|(key, _)| *key);
            let Some((to, _)) = after else { return };
            take(to, page.into_iter().map(|((_, stream), n)| (stream, n)).collect());
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Incarnation, u64), u64>> {
        // Never held across an await or a panic, so poison means nothing here.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl System {
    /// Tells another node what has become of what it follows; does it want to hear more?
    pub(super) fn forward(
        &self,
        to: Incarnation,
        stream: u64,
        make: impl FnOnce() -> UpdateBytes,
    ) -> bool {
        let Some(membership) = self.membership() else { return false };
        let Some(n) = membership.forwarding.next(to, stream) else { return false };
        let notice = Notice::Update { stream, n, update: make() };
        if membership.post.notify(self, to, &notice).is_ok() {
            return true;
        }
        self.end_forwarding(to, stream);
        false
    }

    /// Is it still followed?
    pub(super) fn is_forwarded(&self, to: Incarnation, stream: u64) -> bool {
        self.membership().is_some_and(|it| it.forwarding.has(to, stream))
    }

    /// Nothing more comes: whoever follows it begins anew.
    pub(super) fn end_forwarding(&self, to: Incarnation, stream: u64) {
        let Some(membership) = self.membership() else { return };
        if membership.forwarding.end(to, stream) {
            let end = Notice::End { stream, by_watcher: false };
            membership.post.notify(self, to, &end).ok();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// For whom, how many streams, and the first of them.
    type Page = (u64, usize, Option<(u64, u64)>);

    fn pages(forwarding: &Forwarding) -> Vec<Page> {
        let mut pages = Vec::new();
        forwarding.pages(|to, page| pages.push((to.0, page.len(), page.first().copied())));
        pages
    }

    #[test]
    fn every_node_hears_of_what_it_follows_in_pages() {
        let forwarding = Forwarding::default();
        assert_eq!(pages(&forwarding), []);
        for stream in 0..PAGE as u64 + 1 {
            forwarding.begin(Incarnation(7), stream);
        }
        forwarding.begin(Incarnation(9), 5);
        assert_eq!(forwarding.next(Incarnation(9), 5), Some(1));
        assert_eq!(forwarding.next(Incarnation(9), 6), None);
        let all = [(7, PAGE, Some((0, 0))), (7, 1, Some((PAGE as u64, 0))), (9, 1, Some((5, 1)))];
        assert_eq!(pages(&forwarding), all);
    }

    #[test]
    fn whoever_is_gone_follows_nothing() {
        let forwarding = Forwarding::default();
        for to in [1, 2, 3] {
            forwarding.begin(Incarnation(to), to);
            forwarding.begin(Incarnation(to), u64::MAX);
        }
        forwarding.retain(|who| who != Incarnation(2));
        let left: Vec<_> = pages(&forwarding).iter().map(|(to, n, _)| (*to, *n)).collect();
        assert_eq!(left, [(1, 2), (3, 2)]);
        assert!(forwarding.end(Incarnation(1), 1) && !forwarding.end(Incarnation(2), 2));
    }
}
