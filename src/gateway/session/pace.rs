//! How often a session and its client must hear of each other.
//!
//! Somebody waits for whoever has a job or works, and must soon know that they cannot be reached. For whoever only
//! has the app open nobody waits, and most of a million sessions are theirs. What they cost is their heartbeats, so
//! these come ever less often, as long as the way to the client is seen to bear it.

use super::{Flow, Session};
use protocol::{Principal, frame::ServerFrame};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::time::Instant;

/// What its client was told last, and what is known of the way to it.
#[derive(Debug)]
pub(super) struct Pace {
    /// The interval while nobody waits for it, in milliseconds; 0: somebody may.
    at_rest_ms: u32,
    since: Instant,
    way: Way,
}

impl Pace {
    /// What `hello` says.
    pub(super) fn new(now: Instant) -> Self {
        Self { at_rest_ms: 0, since: now, way: Way::default() }
    }
}

/// How long a way stays open although nobody says anything. Proxies and routers forget those on which nothing comes,
/// some after a minute and most after many.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Way {
    /// The longest silence after which its client was heard, in milliseconds.
    bore_ms: u32,
    /// It was lost after a longer one.
    has_broken: bool,
}

impl Way {
    /// Its client was heard after a silence.
    fn bears(&mut self, silence: Duration) {
        self.bore_ms = self.bore_ms.max(ms(silence));
    }

    /// It was lost after a silence, and not the first of that length.
    fn breaks(&mut self, silence: Duration) {
        self.has_broken |= ms(silence) > self.bore_ms;
    }

    /// The interval to try, in milliseconds. Clients say something after half of it, so that four times what the way
    /// bore makes them silent for twice as long. One that broke is asked for no more than it bore.
    fn interval_ms(self, least: Duration, most: Duration) -> u32 {
        let times = if self.has_broken { 2 } else { 4 };
        self.bore_ms.saturating_mul(times).min(ms(most)).max(ms(least))
    }
}

fn ms(it: Duration) -> u32 {
    u32::try_from(it.as_millis()).unwrap_or(u32::MAX)
}

impl Session {
    /// The longest that either side may be silent, as its client was told. Both sides give up after two and a half
    /// times as long.
    pub(super) fn heartbeat_every(&self) -> Duration {
        match self.pace.at_rest_ms {
            0 => self.gate.session.heartbeat,
            at_rest_ms => Duration::from_millis(at_rest_ms.into()),
        }
    }

    /// When its client has been silent for too long. It had no reason to say more before it was told of another pace.
    pub(super) fn silent_at(&self) -> Instant {
        self.heard_at.max(self.pace.since) + self.heartbeat_every() * 5 / 2
    }

    /// Its client is there.
    pub(super) fn is_heard(&mut self) {
        let now = Instant::now();
        self.pace.way.bears(self.silence(now));
        self.heard_at = now;
    }

    /// For how long nothing went either way.
    fn silence(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.heard_at.max(self.said_at))
    }

    /// What is known of the way to its client, now that it is lost.
    pub(super) fn way_lost(&self) -> Way {
        let mut way = self.pace.way;
        way.breaks(self.silence(Instant::now()));
        way
    }

    /// It goes on on a way like the one that was lost.
    pub(super) fn goes_the_way(&mut self, way: Way) {
        self.pace.way = way;
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

    /// The interval for as long as nobody waits, in milliseconds; 0: somebody does. What would hardly change it is not
    /// worth telling.
    fn at_rest_ms(&self) -> u32 {
        if !self.is_at_rest() {
            return 0;
        }
        let limits = &self.gate.session;
        let least = limits.heartbeat_at_rest.max(limits.heartbeat);
        let wanted = self.pace.way.interval_ms(least, limits.heartbeat_at_rest_max);
        let told = self.pace.at_rest_ms;
        if wanted / 4 * 3 < told && told <= wanted { told } else { wanted }
    }

    /// Says that it is still there, and how often to, if that is new.
    pub(super) fn heartbeat(&mut self) -> Flow {
        let at_rest_ms = self.at_rest_ms();
        let is_new = self.pace.at_rest_ms != at_rest_ms;
        if is_new {
            (self.pace.at_rest_ms, self.pace.since) = (at_rest_ms, Instant::now());
        }
        let every = self.heartbeat_every().as_millis();
        let heartbeat_ms = is_new.then(|| u64::try_from(every).unwrap_or(u64::MAX));
        let server_time = self.gate.system.now();
        self.say(&ServerFrame::Heartbeat { server_time, heartbeat_ms })
    }

    /// Lets a client know at once that somebody waits for it now. That nobody does any more can wait.
    pub(super) fn hurry(&mut self) -> Flow {
        if self.pace.at_rest_ms > 0 && !self.is_at_rest() { self.heartbeat() } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LEAST: Duration = Duration::from_secs(110);
    const MOST: Duration = Duration::from_secs(480);

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_way_is_trusted_with_twice_the_silence_it_bore_up_to_a_bound() {
        let mut way = Way::default();
        let interval = |way: Way| way.interval_ms(LEAST, MOST);
        assert_eq!(interval(way), 110_000);
        for (silence, then) in [(3, 110_000), (55, 220_000), (110, 440_000), (220, 480_000)] {
            way.bears(secs(silence));
            assert_eq!(interval(way), then);
        }
        way.bears(secs(10));
        assert_eq!(interval(way), 480_000);
    }

    #[test]
    fn a_way_that_broke_after_a_longer_silence_is_not_tried_again() {
        let mut way = Way::default();
        way.bears(secs(55));
        way.breaks(secs(20));
        assert_eq!(way.interval_ms(LEAST, MOST), 220_000, "that was no silence");
        way.breaks(secs(110));
        assert_eq!(way.interval_ms(LEAST, MOST), 110_000);
        way.bears(secs(55));
        assert_eq!(way.interval_ms(LEAST, MOST), 110_000);
    }
}
