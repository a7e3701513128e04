//! Who of staff has which job open, on whatever node: so that two who are about to act on one see each other before.
//! Soft: each node says what is so on it, again and again, and what was not said for a while is forgotten.

use super::{Gate, front::Question};
use futures_util::future::join_all;
use protocol::{JobId, Principal, SessionId, frame::Attending};
use std::{
    collections::{BTreeMap, HashMap},
    sync::{Arc, Mutex, MutexGuard, PoisonError, Weak},
    time::Duration,
};
use tokio::{
    sync::Notify,
    time::{Instant, timeout},
};

/// How often other nodes are told, if nothing changes.
const TELL_EVERY: Duration = Duration::from_secs(2);
/// How long another node has to hear it.
const TELL_WITHIN: Duration = Duration::from_millis(900);
/// What another node said is forgotten after so long.
const GOOD_FOR: Duration = Duration::from_secs(7);
/// Most that a board tells, so that it fits into a frame beside everything else.
const TOLD_MAX: usize = 32;

/// Who has what open.
#[derive(Debug, Default)]
pub(super) struct Attendance {
    known: Mutex<Known>,
    changed: Notify,
}

#[derive(Debug, Default)]
struct Known {
    /// How often it has changed.
    n: u64,
    here: BTreeMap<SessionId, (Principal, Vec<JobId>)>,
    /// By the incarnation that said it, and when.
    elsewhere: HashMap<u64, (Instant, Vec<Attending>)>,
}

/// One dispatcher's part in it, as long as it is there.
#[derive(Debug)]
pub(super) struct Attends {
    attendance: Arc<Attendance>,
    session: SessionId,
    by: Principal,
}

impl Attendance {
    /// All of it, unless it is the `told`th already; at most 32.
    pub(super) fn news(&self, told: Option<u64>) -> Option<(u64, Vec<Attending>)> {
        let known = self.known();
        if told == Some(known.n) {
            return None;
        }
        Some((known.n, known.all().take(TOLD_MAX).collect()))
    }

    /// What of it is told to whom not all is; at most 32.
    pub(super) fn among(&self, is_told: impl Fn(&Attending) -> bool) -> Vec<Attending> {
        self.known().all().filter(is_told).take(TOLD_MAX).collect()
    }

    /// How often it has changed.
    pub(super) fn n_changes(&self) -> u64 {
        self.known().n
    }

    /// Another node says what is so there.
    pub(super) fn elsewhere(&self, who: u64, all: Vec<Attending>) {
        let mut known = self.known();
        let was = match all.is_empty() {
            true => known.elsewhere.remove(&who),
            false => known.elsewhere.insert(who, (Instant::now(), all)),
        };
        let is = known.elsewhere.get(&who).map(|(_, all)| all);
        if was.as_ref().map(|(_, all)| all) != is {
            known.n += 1;
        }
    }

    fn set(&self, session: SessionId, by: Principal, jobs: Vec<JobId>) {
        let mut known = self.known();
        let was = match jobs.is_empty() {
            true => known.here.remove(&session),
            false => known.here.insert(session, (by, jobs)),
        };
        if was.as_ref() != known.here.get(&session) {
            known.n += 1;
            self.changed.notify_one();
        }
    }

    fn forget(&self, now: Instant) {
        let mut known = self.known();
        let n_before = known.elsewhere.len();
        known.elsewhere.retain(|_, (at, _)| now < *at + GOOD_FOR);
        if known.elsewhere.len() != n_before {
            known.n += 1;
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Known {
    fn all(&self) -> impl Iterator<Item = Attending> {
        let elsewhere = self.elsewhere.values().flat_map(|(_, all)| all).copied();
        self.here().chain(elsewhere)
    }

    fn here(&self) -> impl Iterator<Item = Attending> {
        self.here.iter().flat_map(|(session, (by, jobs))| {
            jobs.iter().map(|job| Attending { job: *job, session: *session, by: *by })
        })
    }
}

impl Attends {
    /// Somebody is there, and has nothing open yet.
    pub(super) fn begin(attendance: Arc<Attendance>, session: SessionId, by: Principal) -> Self {
        Self { attendance, session, by }
    }

    /// These are open now.
    pub(super) fn to(&self, jobs: Vec<JobId>) {
        self.attendance.set(self.session, self.by, jobs);
    }
}

impl Drop for Attends {
    fn drop(&mut self) {
        self.attendance.set(self.session, self.by, Vec::new());
    }
}

/// Tells other nodes what is so here, when it changes and now and then; until the node is gone.
pub(super) async fn tell(gate: Weak<Gate>, attendance: Arc<Attendance>) {
    let mut is_owed = false;
    loop {
        // Either will do.
        let _changed = timeout(TELL_EVERY, attendance.changed.notified()).await;
        let Some(gate) = gate.upgrade() else { return };
        attendance.forget(Instant::now());
        let here: Vec<_> = attendance.known().here().take(TOLD_MAX).collect();
        let was_owed = std::mem::replace(&mut is_owed, !here.is_empty());
        if !was_owed && here.is_empty() {
            continue;
        }
        let question = Question::Attending(gate.system.incarnation().0, here);
        let others = gate.system.others().into_iter();
        join_all(others.map(|who| gate.ask::<()>(who, &question, TELL_WITHIN))).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use protocol::OrderId;

    #[test]
    fn what_changed_is_news_once_and_who_leaves_is_gone() {
        let attendance = Arc::new(Attendance::default());
        let (n, all) = attendance.news(None).unwrap();
        assert_eq!((all.len(), attendance.news(Some(n))), (0, None));
        let session = SessionId::nth(1);
        let attends = Attends::begin(Arc::clone(&attendance), session, Principal::Dispatcher);
        attends.to(vec![JobId::Order(OrderId::nth(7))]);
        let (n, all) = attendance.news(Some(n)).unwrap();
        assert_eq!(all.iter().map(|it| it.session).collect::<Vec<_>>(), [session]);
        attends.to(vec![JobId::Order(OrderId::nth(7))]);
        assert_eq!(attendance.news(Some(n)), None, "it was open already");
        drop(attends);
        assert!(attendance.news(Some(n)).unwrap().1.is_empty());
    }

    #[test]
    fn what_another_node_said_is_forgotten_when_it_is_silent() {
        let attendance = Attendance::default();
        let job = JobId::Order(OrderId::nth(7));
        let open = Attending { job, session: SessionId::nth(2), by: Principal::Admin };
        attendance.elsewhere(3, vec![open]);
        let (n, all) = attendance.news(None).unwrap();
        assert_eq!(all, [open]);
        attendance.elsewhere(3, vec![open]);
        attendance.forget(Instant::now());
        assert_eq!(attendance.news(Some(n)), None);
        // Whoever is not told of the first ones is told of those behind them.
        let others = (100..200).map(|n| Attending { job: JobId::Order(OrderId::nth(n)), ..open });
        let here = Attendance::default();
        here.elsewhere(3, others.chain([open]).collect());
        assert_eq!(here.news(None).unwrap().1.len(), TOLD_MAX);
        assert_eq!(here.among(|it| it.job == job), [open]);
        attendance.forget(Instant::now() + GOOD_FOR);
        assert!(attendance.news(Some(n)).unwrap().1.is_empty());
    }
}
