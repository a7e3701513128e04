//! How often a session and its client must hear of each other.
//!
//! Somebody waits for whoever has a job or works, and must soon know that they cannot be reached. For whoever only
//! has the app open nobody waits, and most of a million sessions are theirs.

use super::{Flow, Session};
use protocol::{Principal, frame::ServerFrame};
use std::time::Duration;
use tokio::time::Instant;

/// What its client was told last.
#[derive(Debug)]
pub(super) struct Pace {
    is_at_rest: bool,
    since: Instant,
}

impl Pace {
    /// What `hello` says.
    pub(super) fn new(now: Instant) -> Self {
        Self { is_at_rest: false, since: now }
    }
}

impl Session {
    /// The longest that either side may be silent, as its client was told. Both sides give up after two and a half
    /// times as long.
    pub(super) fn heartbeat_every(&self) -> Duration {
        let limits = &self.gate.session;
        match self.pace.is_at_rest {
            true => limits.heartbeat_at_rest.max(limits.heartbeat),
            false => limits.heartbeat,
        }
    }

    /// When its client has been silent for too long. It had no reason to say more before it was told of another pace.
    pub(super) fn silent_at(&self) -> Instant {
        self.heard_at.max(self.pace.since) + self.heartbeat_every() * 5 / 2
    }

    /// Does nobody wait for its client?
    fn is_at_rest(&self) -> bool {
        let own = match self.identity.map(|identity| identity.principal) {
            Some(Principal::Rider(id)) => id.into(),
            Some(Principal::Driver(id)) => id.into(),
            Some(
                Principal::Merchant(_)
                | Principal::Dispatcher
                | Principal::Admin
                | Principal::System,
            )
            | None => return false,
        };
        if !self.socket.is_websocket() {
            // What keeps proxies from closing the stream in its place is what the node says.
            return false;
        }
        let follow = self.follows.iter().find(|follow| follow.key == own);
        let watch = follow.and_then(|follow| follow.watch.as_ref());
        self.jobs.is_empty() && watch.is_some_and(|watch| watch.may_sleep())
    }

    /// Says that it is still there, and how often to, if that is new.
    pub(super) fn heartbeat(&mut self) -> Flow {
        let is_at_rest = self.is_at_rest();
        let is_new = self.pace.is_at_rest != is_at_rest;
        if is_new {
            self.pace = Pace { is_at_rest, since: Instant::now() };
        }
        let every = self.heartbeat_every().as_millis();
        let heartbeat_ms = is_new.then(|| u64::try_from(every).unwrap_or(u64::MAX));
        let server_time = self.gate.system.now();
        self.say(&ServerFrame::Heartbeat { server_time, heartbeat_ms })
    }

    /// Lets a client know at once that somebody waits for it now. That nobody does any more can wait.
    pub(super) fn hurry(&mut self) -> Flow {
        if self.pace.is_at_rest && !self.is_at_rest() { self.heartbeat() } else { Ok(()) }
    }
}
