//! Finds a session again by its id: one that was cut off waits here for its client, and one whose client
//! comes back before the node has noticed is asked to let go.
//!
//! ```text
//!  open ──► Live ── cut off ──► Suspended ── too late ──► forgotten
//!             └────── take ──────┴──────────────────────► whoever its client speaks to now
//! ```
//!
//! A node that leaves entrusts its sessions to another one, which any node finds by the session's id.

use super::session::Suspended;
use actors::{
    cluster::Incarnation,
    runtime::{Front, System},
};
use futures_util::{FutureExt, future::BoxFuture};
use protocol::{Principal, SessionId};
use serde::{Deserialize, Serialize};
use std::{
    collections::{HashMap, VecDeque},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};

/// How long a session that is taken has to let go.
const LET_GO_WITHIN: Duration = Duration::from_secs(1);
/// How long another node has to give one up. A client waits for its welcome meanwhile.
const GIVE_UP_WITHIN: Duration = Duration::from_secs(2);

/// How often those who have waited for too long are forgotten.
const TEND_EVERY: Duration = Duration::from_secs(5);

/// Where a session hands itself in when its client is elsewhere.
pub(super) type HandIn = oneshot::Sender<Suspended>;

/// The sessions of this node.
#[derive(Debug, Clone)]
pub(super) struct Sessions(Arc<Mutex<Known>>);

#[derive(Debug)]
struct Known {
    by_id: HashMap<SessionId, Entry>,
    /// Those that wait, in the order in which they are forgotten.
    waiting: VecDeque<(Instant, SessionId)>,
    n_suspended: usize,
    within: Duration,
    suspended_max: usize,
}

#[derive(Debug)]
enum Entry {
    Live { by: Principal, let_go: oneshot::Sender<HandIn> },
    Suspended(Box<Suspended>),
}

/// What one node asks of another.
#[derive(Debug, Serialize, Deserialize)]
enum Question {
    /// Give me what is left of it.
    Take { session: SessionId, by: Principal },
    /// Keep this until its client comes: I am leaving.
    Keep { session: SessionId, suspended: Box<Suspended> },
}

/// A session that has begun; over when dropped, unless it waits by then.
#[derive(Debug)]
pub(super) struct Begun {
    sessions: Sessions,
    id: SessionId,
}

impl Drop for Begun {
    fn drop(&mut self) {
        let mut known = self.sessions.known();
        if matches!(known.by_id.get(&self.id), Some(Entry::Live { .. })) {
            known.by_id.remove(&self.id);
        }
    }
}

impl Sessions {
    /// Sessions wait for their clients for so long, and so many of them.
    pub(super) fn new(within: Duration, suspended_max: usize) -> Self {
        Self(Arc::new(Mutex::new(Known {
            by_id: HashMap::new(),
            waiting: VecDeque::new(),
            n_suspended: 0,
            within,
            suspended_max,
        })))
    }

    /// A session of `by` begins. It hears when it has to let go.
    pub(super) fn open(&self, id: SessionId, by: Principal) -> (Begun, oneshot::Receiver<HandIn>) {
        let (let_go, asked) = oneshot::channel();
        self.known().by_id.insert(id, Entry::Live { by, let_go });
        (Begun { sessions: self.clone(), id }, asked)
    }

    /// A session is cut off, and waits for its client.
    pub(super) fn suspend(&self, id: SessionId, suspended: Suspended) {
        let mut known = self.known();
        known.remove(id);
        known.forget_late(Instant::now());
        if known.within.is_zero() || known.suspended_max == 0 {
            return;
        }
        while known.n_suspended >= known.suspended_max
            && let Some((_, oldest)) = known.waiting.pop_front()
        {
            known.remove(oldest);
        }
        let until = Instant::now() + known.within;
        known.waiting.push_back((until, id));
        known.by_id.insert(id, Entry::Suspended(Box::new(suspended)));
        known.n_suspended += 1;
        known.show();
    }

    /// Forgets sessions that have waited for long enough, as long as there is anybody to look for them.
    pub(super) fn tend(&self) -> impl Future<Output = ()> + Send + use<> {
        let known = Arc::downgrade(&self.0);
        async move {
            while let Some(known) = known.upgrade() {
                Self(known).known().forget_late(Instant::now());
                tokio::time::sleep(TEND_EVERY).await;
            }
        }
    }

    /// What is left of a session of `by` on this node; it ends.
    pub(super) async fn take(&self, id: SessionId, by: Principal) -> Option<Suspended> {
        let (hand_in, handed_in) = oneshot::channel();
        {
            let mut known = self.known();
            known.forget_late(Instant::now());
            let is_its_own = match known.by_id.get(&id)? {
                Entry::Live { by: whose, .. } => *whose == by,
                Entry::Suspended(suspended) => suspended.principal == by,
            };
            if !is_its_own {
                return None;
            }
            match known.remove(id)? {
                Entry::Suspended(suspended) => return Some(*suspended),
                // It may be over already.
                Entry::Live { let_go, .. } => let_go.send(hand_in).ok()?,
            }
        }
        if let Ok(Ok(suspended)) = timeout(LET_GO_WITHIN, handed_in).await {
            return Some(suspended);
        }
        // It may have been cut off while it was asked.
        let mut known = self.known();
        let is_there = matches!(known.by_id.get(&id), Some(Entry::Suspended(_)));
        match is_there.then(|| known.remove(id)).flatten() {
            Some(Entry::Suspended(suspended)) => Some(*suspended),
            Some(Entry::Live { .. }) | None => None,
        }
    }

    /// This node leaves: somebody else keeps it. If nobody does, it waits here for as long as it can.
    pub(super) async fn entrust(&self, system: &System, session: SessionId, suspended: Suspended) {
        let me = system.incarnation();
        if let Some(heir) = system.heir(place_of(session), |it| it == me) {
            let suspended = Box::new(suspended);
            let question = Question::Keep { session, suspended };
            let Ok(bytes) = rmp_serde::to_vec_named(&question) else { return };
            if system.ask_front(heir, bytes, GIVE_UP_WITHIN).await.is_some() {
                return self.close(session);
            }
            let Question::Keep { suspended, .. } = question else { return };
            return self.suspend(session, *suspended);
        }
        self.suspend(session, suspended);
    }

    fn close(&self, id: SessionId) {
        self.known().remove(id);
    }

    /// The same, wherever it is.
    pub(super) async fn find(
        &self,
        system: &System,
        id: SessionId,
        by: Principal,
    ) -> Option<Suspended> {
        let is_home = |Incarnation(start): Incarnation| id.is_of(start);
        let me = system.incarnation();
        if is_home(me) {
            return self.take(id, by).await;
        }
        let question = rmp_serde::to_vec_named(&Question::Take { session: id, by }).ok()?;
        let ask = async |who| {
            let answer = system.ask_front(who, question.clone(), GIVE_UP_WITHIN).await?;
            rmp_serde::from_slice(&answer).ok()
        };
        if let Some(home) = system.member(is_home)
            && let Some(suspended) = ask(home).await
        {
            return Some(suspended);
        }
        match system.heir(place_of(id), is_home)? {
            heir if heir == me => self.take(id, by).await,
            heir => ask(heir).await,
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Never held across an await or a panic, so poison means nothing here.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Front for Sessions {
    fn answer(&self, question: Vec<u8>) -> BoxFuture<'static, Option<Vec<u8>>> {
        let sessions = self.clone();
        async move {
            match rmp_serde::from_slice(&question).ok()? {
                Question::Take { session, by } => {
                    let suspended = sessions.take(session, by).await?;
                    rmp_serde::to_vec_named(&suspended).ok()
                }
                Question::Keep { session, suspended } => {
                    sessions.suspend(session, *suspended);
                    Some(Vec::new())
                }
            }
        }
        .boxed()
    }
}

impl Known {
    fn remove(&mut self, id: SessionId) -> Option<Entry> {
        let entry = self.by_id.remove(&id)?;
        if matches!(entry, Entry::Suspended(_)) {
            self.n_suspended -= 1;
            self.show();
        }
        Some(entry)
    }

    fn forget_late(&mut self, now: Instant) {
        while let Some((_, late)) = self.waiting.pop_front_if(|(until, _)| *until <= now) {
            // Unless it has been taken since.
            if matches!(self.by_id.get(&late), Some(Entry::Suspended(_))) {
                self.remove(late);
            }
        }
    }

    fn show(&self) {
        metrics::gauge!("outrider_sessions_suspended").set(self.n_suspended as f64);
    }
}

/// By what its heir is found.
fn place_of(session: SessionId) -> u64 {
    // Random bits.
    session.0.as_u64_pair().1
}

#[cfg(test)]
mod tests;
