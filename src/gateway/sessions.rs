//! Finds a session again by its id: one that was cut off waits here for its client, and one whose client
//! comes back before the node has noticed is asked to let go.
//!
//! ```text
//!  open ──► Live ── cut off ──► Suspended ── too late ──► forgotten
//!             └────── take ──────┴──► Moved ─────────────► whoever its client speaks to now
//! ```
//!
//! A client that is cut off again before it has heard its welcome asks for the session it knows: that one says
//! where it has moved.
//!
//! A node that leaves entrusts its sessions to another one, which any node finds by the session's id.

use super::{front::Question, inspect::Inspected, session::Suspended, tap::Tap};
use crate::auth::Identity;
use actors::{cluster::Incarnation, runtime::System};
use protocol::{Principal, Role, SessionId, frame::Resume};
use serde::{Deserialize, Serialize};
use std::{
    collections::{BTreeSet, HashMap, VecDeque, hash_map},
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};
use tokio::{
    sync::oneshot,
    time::{Instant, timeout},
};

/// How long a session that is taken has to let go.
const LET_GO_WITHIN: Duration = Duration::from_secs(3);
/// How long another node has to give one up. A client waits for its welcome meanwhile.
const GIVE_UP_WITHIN: Duration = Duration::from_secs(4);

/// How long another node has to take one in, when this one leaves.
const KEEP_WITHIN: Duration = Duration::from_secs(2);
/// How often in a row a client may be cut off before it hears its welcome.
const HOPS_MAX: usize = 8;
/// Most sessions of one client that wait for it: nobody takes the room of others.
const OF_ONE_MAX: usize = 8;
/// How often those who have waited for too long are forgotten.
const TEND_EVERY: Duration = Duration::from_secs(5);

/// Where a session hands itself in when its client is elsewhere.
pub(super) type HandIn = oneshot::Sender<Suspended>;

/// What a session is told by whoever finds it here. It hears one call; one that it goes on after brings the way
/// on which the next will come, so that a session nobody calls costs no queue.
#[derive(Debug)]
pub(super) enum Call {
    /// Its client is elsewhere, and wants what is left of it.
    LetGo(HandIn),
    /// The token it lives by is good no longer.
    Revoked,
    /// An operator looks at it.
    Look(Box<Look>),
}

/// What an operator wants of a session.
#[derive(Debug)]
pub(super) struct Look {
    pub(super) next: oneshot::Receiver<Call>,
    pub(super) wants: Wants,
}

/// See [`Look`].
#[derive(Debug)]
pub(super) enum Wants {
    /// How it is.
    State(oneshot::Sender<Inspected>),
    /// What it hears and says from now on. It says no if somebody hears that already.
    Frames(Tap, oneshot::Sender<bool>),
}

/// The sessions of this node.
#[derive(Debug, Clone)]
pub(super) struct Sessions(Arc<Mutex<Known>>);

#[derive(Debug)]
struct Known {
    by_id: HashMap<SessionId, Entry>,
    /// How many are live, by what their clients are: so that nobody has to count them.
    n_live: HashMap<Role, usize>,
    /// Those that wait or have moved, in the order in which they are forgotten.
    waiting: VecDeque<(Instant, SessionId)>,
    suspended_of: OfOne,
    moved_of: OfOne,
    n_suspended: usize,
    /// About how much those take that wait.
    suspended_bytes: usize,
    n_moved: usize,
    within: Duration,
    room: Room,
    /// How many wait, and how much they take, for metrics.
    shown: [metrics::Gauge; 2],
}

/// Most sessions that wait for their clients.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) sessions: usize,
    pub(super) bytes: usize,
}

/// Sessions of each client, the oldest first. Staff share a name, and are not counted.
#[derive(Debug, Default)]
struct OfOne(HashMap<Principal, VecDeque<SessionId>>);

impl OfOne {
    /// One more; which must go, if they are more than `max` now?
    fn add(&mut self, by: Principal, id: SessionId, max: usize) -> Option<SessionId> {
        if by.is_staff() {
            return None;
        }
        let all = self.0.entry(by).or_default();
        all.push_back(id);
        if all.len() > max { all.pop_front() } else { None }
    }

    fn remove(&mut self, by: Principal, id: SessionId) {
        if let hash_map::Entry::Occupied(mut all) = self.0.entry(by) {
            all.get_mut().retain(|it| *it != id);
            if all.get().is_empty() {
                all.remove();
            }
        }
    }
}

#[derive(Debug)]
enum Entry {
    /// Its client is here.
    Live {
        /// By which token.
        identity: Identity,
        call: oneshot::Sender<Call>,
        /// Its client has shown that it knows of it.
        is_welcomed: bool,
    },
    /// It waits for its client until then.
    Suspended { until: Instant, left: Box<Suspended> },
    /// Its client has come back, and may not know yet.
    Moved(Box<Moved>),
}

/// A session that goes on in another one.
#[derive(Debug)]
struct Moved {
    until: Instant,
    by: Principal,
    to: SessionId,
    /// How many frames its client said it had.
    heard: Option<u64>,
    /// What was given to another node, which may ask again.
    given: Option<Suspended>,
}

/// Which session is taken, for whom, and into which.
#[derive(Debug, Clone, Copy, Serialize, Deserialize)]
pub(super) struct Taking {
    pub(super) session: SessionId,
    by: Principal,
    into: SessionId,
    /// How many of its frames its client has; none, if that cannot be said.
    heard: Option<u64>,
    /// Its client has asked for another one that has moved into it. It would know this one by its own name, had
    /// it heard its welcome: then these are old words on a slow way.
    is_hop: bool,
}

/// What there is of a session.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Taken {
    /// This.
    Left(Box<Suspended>),
    /// It goes on in that one, which knows what somebody misses who had heard so much of this one.
    Moved { to: SessionId, heard: Option<u64> },
}

/// What is left of the session a client asks for, or of the one that has taken it over since.
#[derive(Debug)]
pub(super) struct Found {
    pub(super) left: Suspended,
    /// How many of its frames the client has; none, if that cannot be said.
    pub(super) heard: Option<u64>,
    /// Does its client know of it? Else it has not heard its welcome.
    pub(super) is_known: bool,
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
            known.remove(self.id);
        }
    }
}

impl Sessions {
    /// Sessions wait for their clients for so long, and so many of them.
    pub(super) fn new(within: Duration, room: Room) -> Self {
        Self(Arc::new(Mutex::new(Known {
            by_id: HashMap::new(),
            n_live: HashMap::new(),
            waiting: VecDeque::new(),
            suspended_of: OfOne::default(),
            moved_of: OfOne::default(),
            n_suspended: 0,
            suspended_bytes: 0,
            n_moved: 0,
            within,
            room,
            shown: [
                metrics::gauge!("outrider_sessions_suspended"),
                metrics::gauge!("outrider_sessions_suspended_bytes"),
            ],
        })))
    }

    /// How long sessions wait for their clients.
    pub(super) fn within(&self) -> Duration {
        self.known().within
    }

    /// A session begins, by a token. It hears when somebody here wants something of it.
    pub(super) fn open(
        &self,
        id: SessionId,
        identity: Identity,
    ) -> (Begun, oneshot::Receiver<Call>) {
        let (call, called) = oneshot::channel();
        let mut known = self.known();
        // Whatever goes by this name is over now.
        known.remove(id);
        *known.n_live.entry(identity.principal.role()).or_default() += 1;
        known.by_id.insert(id, Entry::Live { identity, call, is_welcomed: false });
        drop(known);
        (Begun { sessions: self.clone(), id }, called)
    }

    /// It lives by another token from now on.
    pub(super) fn renewed(&self, id: SessionId, by: Identity) {
        if let Some(Entry::Live { identity, .. }) = self.known().by_id.get_mut(&id) {
            *identity = by;
        }
    }

    /// Ends every session that lives by a token that is good no longer, and forgets those that wait for a client
    /// who had one; returns how many.
    pub(super) fn end_revoked(&self, is_revoked: impl Fn(&Identity) -> bool) -> usize {
        let mut known = self.known();
        let is_over = |entry: &Entry| match entry {
            Entry::Live { identity, .. } => is_revoked(identity),
            Entry::Suspended { left, .. } => is_revoked(&left.identity()),
            Entry::Moved(moved) => {
                moved.given.as_ref().is_some_and(|given| is_revoked(&given.identity()))
            }
        };
        let over = known.by_id.iter().filter(|(_, entry)| is_over(entry)).map(|(id, _)| *id);
        let over: Vec<_> = over.collect();
        for id in &over {
            if let Some(Entry::Live { call, .. }) = known.remove(*id) {
                // It may have ended by itself.
                call.send(Call::Revoked).ok();
            }
        }
        over.len()
    }

    /// Those that are live here, of one principal or all, in the order of their ids: the first so many after one.
    pub(super) fn live(
        &self,
        of: Option<Principal>,
        after: Option<SessionId>,
        n_max: usize,
    ) -> Vec<SessionId> {
        let mut first = BTreeSet::new();
        for (id, entry) in &self.known().by_id {
            let Entry::Live { identity, .. } = entry else { continue };
            let is_wanted = of.is_none_or(|of| of == identity.principal)
                && after.is_none_or(|after| *id > after);
            if is_wanted {
                first.insert(*id);
                if first.len() > n_max {
                    first.pop_last();
                }
            }
        }
        first.into_iter().collect()
    }

    /// How many are live here, by what their clients are.
    pub(super) fn n_live(&self) -> HashMap<Role, usize> {
        self.known().n_live.clone()
    }

    /// Lets a live session hear what an operator wants; false, if there is none of that name.
    pub(super) fn look(&self, id: SessionId, wants: Wants) -> bool {
        let mut known = self.known();
        let Some(Entry::Live { call, .. }) = known.by_id.get_mut(&id) else { return false };
        let (again, next) = oneshot::channel();
        let call = std::mem::replace(call, again);
        call.send(Call::Look(Box::new(Look { next, wants }))).is_ok()
    }

    /// By which token a session lives, or lived until it was cut off; nothing, if it is not here.
    pub(super) fn identity_of(&self, id: SessionId) -> Option<Identity> {
        match self.known().by_id.get(&id)? {
            Entry::Live { identity, .. } => Some(identity.clone()),
            Entry::Suspended { left, .. } => Some(left.identity()),
            Entry::Moved(_) => None,
        }
    }

    /// Its client has shown that it knows of this session: whoever asks by an older name comes too late.
    pub(super) fn welcomed(&self, id: SessionId) {
        if let Some(Entry::Live { is_welcomed, .. }) = self.known().by_id.get_mut(&id) {
            *is_welcomed = true;
        }
    }

    /// A session is cut off, and waits for its client.
    pub(super) fn suspend(&self, id: SessionId, left: Suspended) {
        let mut known = self.known();
        known.remove(id);
        let now = Instant::now();
        known.forget_late(now);
        let (room, bytes) = (known.room, left.bytes());
        if known.within.is_zero() || room.sessions == 0 || bytes > room.bytes {
            return;
        }
        if let Some(oldest) = known.suspended_of.add(left.principal, id, OF_ONE_MAX) {
            known.remove(oldest);
        }
        while (known.n_suspended >= room.sessions || known.suspended_bytes + bytes > room.bytes)
            && let Some((until, oldest)) = known.waiting.pop_front()
        {
            known.forget(oldest, until);
        }
        let until = now + known.within;
        known.keep(id, until, Entry::Suspended { until, left: Box::new(left) });
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

    /// What there is of a session on this node; it ends here. `is_far`: another node asks, and may ask again.
    pub(super) async fn take(&self, taking: Taking, is_far: bool) -> Option<Taken> {
        let Taking { session: id, by, .. } = taking;
        let (hand_in, handed_in) = oneshot::channel();
        let left = {
            let mut known = self.known();
            known.forget_late(Instant::now());
            let (whose, is_welcomed) = match known.by_id.get(&id)? {
                Entry::Live { identity, is_welcomed, .. } => (identity.principal, *is_welcomed),
                Entry::Suspended { left, .. } => (left.principal, left.is_welcomed),
                Entry::Moved(moved) => (moved.by, false),
            };
            if whose != by || (taking.is_hop && is_welcomed) {
                return None;
            }
            if let Some(Entry::Moved(moved)) = known.by_id.get(&id) {
                return moved.answer(taking.into);
            }
            let entry = known.remove(id)?;
            // At once: its client may ask again before it has let go.
            known.moved(taking);
            match entry {
                Entry::Suspended { left, .. } => Some(left),
                // It may be over already.
                Entry::Live { call, .. } => {
                    call.send(Call::LetGo(hand_in)).ok()?;
                    None
                }
                Entry::Moved(_) => None,
            }
        };
        let left = match left {
            Some(left) => left,
            None => match timeout(LET_GO_WITHIN, handed_in).await {
                Ok(Ok(left)) => Box::new(left),
                // It may have been cut off while it was asked.
                Ok(Err(_)) | Err(_) => self.known().take_after_all(taking)?,
            },
        };
        if is_far && let Some(Entry::Moved(moved)) = self.known().by_id.get_mut(&id) {
            moved.given = Some(Suspended::clone(&left));
        }
        Some(Taken::Left(left))
    }

    /// This node leaves: somebody else keeps it. If nobody does, it waits here for as long as it can.
    pub(super) async fn entrust(&self, system: &System, session: SessionId, suspended: Suspended) {
        let me = system.incarnation();
        if let Some(heir) = system.heir(place_of(session), |it| it == me) {
            let suspended = Box::new(suspended);
            let question = Question::Keep { session, suspended };
            let Ok(bytes) = rmp_serde::to_vec_named(&question) else { return };
            if system.ask_front(heir, bytes, KEEP_WITHIN).await.is_some() {
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

    /// What is left of a session, wherever it is, for the session `into` that goes on with it.
    pub(super) async fn find(
        &self,
        system: &System,
        Resume { session, heard }: Resume,
        by: Principal,
        into: SessionId,
    ) -> Option<Found> {
        if session == into {
            // Nothing was said on it yet.
            return None;
        }
        let mut taking = Taking { session, by, into, heard: Some(heard), is_hop: false };
        for n_hops in 0..HOPS_MAX {
            match self.take_anywhere(system, taking).await? {
                Taken::Left(left) => {
                    let is_known = n_hops == 0;
                    return Some(Found { left: *left, heard: taking.heard, is_known });
                }
                Taken::Moved { to, heard } => {
                    // Of that one it has heard nothing; what it missed of this one was said there.
                    let heard = taking.heard.filter(|_| taking.heard == heard).map(|_| 0);
                    taking = Taking { session: to, heard, is_hop: true, ..taking };
                }
            }
        }
        None
    }

    async fn take_anywhere(&self, system: &System, taking: Taking) -> Option<Taken> {
        let id = taking.session;
        let is_home = |Incarnation(start): Incarnation| id.is_of(start);
        let me = system.incarnation();
        if is_home(me) {
            return self.take(taking, false).await;
        }
        let question = rmp_serde::to_vec_named(&Question::Take(taking)).ok()?;
        let ask = async |who| {
            let answer = system.ask_front(who, question.clone(), GIVE_UP_WITHIN).await?;
            rmp_serde::from_slice(&answer).ok()
        };
        if let Some(home) = system.member(is_home)
            && let Some(taken) = ask(home).await
        {
            return Some(taken);
        }
        match system.heir(place_of(id), is_home)? {
            heir if heir == me => self.take(taking, false).await,
            heir => ask(heir).await,
        }
    }

    fn known(&self) -> MutexGuard<'_, Known> {
        // Never held across an await or a panic, so poison means nothing here.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Moved {
    /// What whoever takes it into `into` is told; nothing, if it is the one that has it, and has lost it.
    fn answer(&self, into: SessionId) -> Option<Taken> {
        if self.to == into {
            return self.given.clone().map(|left| Taken::Left(Box::new(left)));
        }
        Some(Taken::Moved { to: self.to, heard: self.heard })
    }
}

impl Known {
    fn keep(&mut self, id: SessionId, until: Instant, entry: Entry) {
        self.waiting.push_back((until, id));
        match &entry {
            Entry::Live { .. } => {}
            Entry::Suspended { left, .. } => {
                self.n_suspended += 1;
                self.suspended_bytes += left.bytes();
            }
            Entry::Moved(_) => self.n_moved += 1,
        }
        self.by_id.insert(id, entry);
        self.show();
    }

    fn remove(&mut self, id: SessionId) -> Option<Entry> {
        let entry = self.by_id.remove(&id)?;
        match &entry {
            Entry::Live { identity, .. } => {
                if let Some(n) = self.n_live.get_mut(&identity.principal.role()) {
                    *n -= 1;
                }
            }
            Entry::Suspended { left, .. } => {
                self.n_suspended -= 1;
                self.suspended_bytes -= left.bytes();
                self.suspended_of.remove(left.principal, id);
                self.show();
            }
            Entry::Moved(moved) => {
                self.n_moved -= 1;
                self.moved_of.remove(moved.by, id);
            }
        }
        Some(entry)
    }

    /// A session that did not let go when it was asked to, but has been cut off since.
    fn take_after_all(&mut self, taking: Taking) -> Option<Box<Suspended>> {
        if !matches!(self.by_id.get(&taking.session)?, Entry::Suspended { .. }) {
            return None;
        }
        match self.remove(taking.session)? {
            Entry::Suspended { left, .. } => {
                self.moved(taking);
                Some(left)
            }
            Entry::Live { .. } | Entry::Moved(_) => None,
        }
    }

    /// A session goes on in another one.
    fn moved(&mut self, taking: Taking) {
        let Taking { session, by, into: to, heard, .. } = taking;
        // Forgotten too early, it costs its client the telling anew.
        if self.n_moved < self.room.sessions {
            let until = Instant::now() + self.within;
            let moved = Moved { until, by, to, heard, given: None };
            self.keep(session, until, Entry::Moved(Box::new(moved)));
            // Nobody follows more of them than that.
            if let Some(oldest) = self.moved_of.add(by, session, HOPS_MAX) {
                self.remove(oldest);
            }
        }
    }

    fn forget_late(&mut self, now: Instant) {
        while let Some((until, late)) = self.waiting.pop_front_if(|(until, _)| *until <= now) {
            self.forget(late, until);
        }
    }

    /// Forgets one that was kept until then, unless it has become something else since.
    fn forget(&mut self, id: SessionId, kept_until: Instant) {
        let is_still = match self.by_id.get(&id) {
            Some(Entry::Suspended { until, .. }) => *until == kept_until,
            Some(Entry::Moved(moved)) => moved.until == kept_until,
            Some(Entry::Live { .. }) | None => false,
        };
        if is_still {
            self.remove(id);
        }
    }

    fn show(&self) {
        let [n, bytes] = &self.shown;
        n.set(self.n_suspended as f64);
        bytes.set(self.suspended_bytes as f64);
    }
}

/// By what its heir is found.
fn place_of(session: SessionId) -> u64 {
    // Random bits.
    session.0.as_u64_pair().1
}

#[cfg(test)]
mod tests;
