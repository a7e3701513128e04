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
/// How often it is said how much was told, after it was: what is missing twice is lost.
const SAID_TIMES: u8 = 2;

/// How much was told under each number.
#[derive(Debug, Default)]
pub(super) struct Forwarding(Mutex<BTreeMap<(Incarnation, u64), Told>>);

/// How much was told under one.
#[derive(Debug, Clone, Copy)]
struct Told {
    n: u64,
    /// How often that is still to be said although nothing else happens.
    n_times: u8,
    /// Does its follower bear it if nothing is said for a while?
    is_patient: bool,
}

impl Forwarding {
    /// Another node follows something, under a number of its own.
    pub(super) fn begin(&self, to: Incarnation, stream: u64, is_patient: bool) {
        self.lock().entry((to, stream)).or_insert(Told { n: 0, n_times: 0, is_patient });
    }

    /// It does no more. Was it followed at all?
    pub(super) fn end(&self, to: Incarnation, stream: u64) -> bool {
        self.lock().remove(&(to, stream)).is_some()
    }

    /// The number of the next word; none, if it is not followed any more.
    fn next(&self, to: Incarnation, stream: u64) -> Option<u64> {
        let mut streams = self.lock();
        let told = streams.get_mut(&(to, stream))?;
        told.n += 1;
        told.n_times = SAID_TIMES;
        Some(told.n)
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

    /// Those of which something was told lately and those whose followers are not patient, or `all` of them: in pages
    /// for each node, with how much was told.
    pub(super) fn pages(&self, all: bool, mut take: impl FnMut(Incarnation, Vec<(u64, u64)>)) {
        let mut from = Unbounded;
        loop {
            let (mut page, mut last) = (None, None);
            let mut streams = self.lock();
            for (key, told) in streams.range_mut((from, Unbounded)) {
                let (to, page) = page.get_or_insert_with(|| (key.0, Vec::new()));
                if *to != key.0 || page.len() >= PAGE {
                    break;
                }
                last = Some(*key);
                if all || !told.is_patient || told.n_times > 0 {
                    told.n_times = told.n_times.saturating_sub(1);
                    page.push((key.1, told.n));
                }
            }
            drop(streams);
            let Some(last) = last else { return };
            from = Excluded(last);
            if let Some((to, page)) = page.filter(|(_, page)| !page.is_empty()) {
                take(to, page);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<(Incarnation, u64), Told>> {
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

    fn pages(forwarding: &Forwarding, all: bool) -> Vec<Page> {
        let mut pages = Vec::new();
        forwarding.pages(all, |to, page| pages.push((to.0, page.len(), page.first().copied())));
        pages
    }

    #[test]
    fn every_node_hears_of_what_it_follows_in_pages() {
        let forwarding = Forwarding::default();
        assert_eq!(pages(&forwarding, true), []);
        for stream in 0..PAGE as u64 + 1 {
            forwarding.begin(Incarnation(7), stream, true);
        }
        forwarding.begin(Incarnation(9), 5, true);
        assert_eq!(forwarding.next(Incarnation(9), 5), Some(1));
        assert_eq!(forwarding.next(Incarnation(9), 6), None);
        let all = [(7, PAGE, Some((0, 0))), (7, 1, Some((PAGE as u64, 0))), (9, 1, Some((5, 1)))];
        assert_eq!(pages(&forwarding, true), all);
    }

    #[test]
    fn what_was_told_is_said_until_its_loss_would_have_been_seen() {
        let forwarding = Forwarding::default();
        for (to, stream, is_patient) in [(1, 1, true), (1, 2, true), (2, 3, false), (3, 4, true)] {
            forwarding.begin(Incarnation(to), stream, is_patient);
        }
        let impatient = (2, 1, Some((3, 0)));
        assert_eq!(pages(&forwarding, false), [impatient]);
        forwarding.next(Incarnation(1), 2);
        for _ in 0..SAID_TIMES {
            assert_eq!(pages(&forwarding, false), [(1, 1, Some((2, 1))), impatient]);
        }
        assert_eq!(pages(&forwarding, false), [impatient]);
        let all = [(1, 2, Some((1, 0))), impatient, (3, 1, Some((4, 0)))];
        assert_eq!(pages(&forwarding, true), all);
    }

    #[test]
    fn whoever_is_gone_follows_nothing() {
        let forwarding = Forwarding::default();
        for to in [1, 2, 3] {
            forwarding.begin(Incarnation(to), to, true);
            forwarding.begin(Incarnation(to), u64::MAX, true);
        }
        forwarding.retain(|who| who != Incarnation(2));
        let left: Vec<_> = pages(&forwarding, true).iter().map(|(to, n, _)| (*to, *n)).collect();
        assert_eq!(left, [(1, 2), (3, 2)]);
        assert!(forwarding.end(Incarnation(1), 1) && !forwarding.end(Incarnation(2), 2));
    }
}
