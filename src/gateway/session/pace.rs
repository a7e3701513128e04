//! How often a session and its client must hear of each other.
//!
//! Somebody waits for whoever has a job or works, and must soon know that they cannot be reached. For whoever only
//! has the app open nobody waits, and most of a million sessions are theirs. What they cost is their heartbeats, so
//! these come ever less often, as long as the way to the client is seen to bear it.

use super::{Flow, Session};
use crate::settings::SessionSettings;
use protocol::{Principal, frame::ServerFrame};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use tokio::time::Instant;

/// How much longer than the interval its client may be silent, at most.
const GRACE_MAX: Duration = Duration::from_secs(120);
/// A client is back so long after it spoke in vain, at the latest: it notices after 20 seconds, draws when to try again from as
/// many, and needs a little for the way.
const BACK_WITHIN: Duration = Duration::from_secs(50);

/// What its client was told last, and what is known of the way to it.
#[derive(Debug)]
pub(super) struct Pace {
    /// The interval while nobody waits for it, in milliseconds; 0: somebody may.
    at_rest_ms: u32,
    since: Instant,
    /// Whether somebody waits for it has been known.
    is_known: bool,
    way: Way,
}

impl Pace {
    /// What `hello` says.
    pub(super) fn new(now: Instant) -> Self {
        Self { at_rest_ms: 0, since: now, is_known: false, way: Way::default() }
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
    /// Its client was heard after a silence. Once a way has broken, its limit is near: what is borne by chance beyond what
    /// was borne before would in the end lead there again and again.
    fn bears(&mut self, silence: Duration) {
        if !self.has_broken {
            self.bore_ms = self.bore_ms.max(ms(silence));
        }
    }

    /// It was lost after a silence. If that was none, something else was the cause; if it was one that is asked of a way that
    /// has broken before, even that is too long.
    fn breaks(&mut self, silence: Duration) {
        let silence_ms = ms(silence);
        if self.has_broken && silence_ms >= self.bore_ms / 4 * 3 {
            self.bore_ms = self.bore_ms / 4 * 3;
        }
        self.has_broken |= silence_ms > self.bore_ms;
    }

    /// The interval to try, in milliseconds. Clients say something after half of it, so that four times what the way
    /// bore makes them silent for twice as long. One that broke is asked for no more than it bore.
    fn interval_ms(self, Bounds { least, most }: Bounds) -> u32 {
        let times = if self.has_broken { 2 } else { 4 };
        self.bore_ms.saturating_mul(times).clamp(ms(least), ms(most))
    }
}

/// Between what intervals a client may be heard of while nobody waits for it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Bounds {
    /// No more than `most`.
    least: Duration,
    most: Duration,
}

impl Bounds {
    /// As the settings have it, and no longer than what a session that waits `within` for its client bears: one that was cut
    /// off without a word notices when it next speaks, and must still find its session when it is back. None: nobody rests.
    fn of(settings: &SessionSettings, within: Duration) -> Option<Self> {
        let bears = within.saturating_sub(BACK_WITHIN).saturating_mul(2);
        let most = bears.min(settings.heartbeat_at_rest_max);
        let least = settings.heartbeat_at_rest.max(settings.heartbeat).min(most);
        (most > settings.heartbeat).then_some(Self { least, most })
    }
}

fn ms(it: Duration) -> u32 {
    u32::try_from(it.as_millis()).unwrap_or(u32::MAX)
}

impl Session {
    /// The longest that either side may be silent, as its client was told.
    pub(super) fn heartbeat_every(&self) -> Duration {
        match self.pace.at_rest_ms {
            0 => self.gate.session.heartbeat,
            at_rest_ms => Duration::from_millis(at_rest_ms.into()),
        }
    }

    /// When its client has been silent for too long: for two and a half times the interval, and for no more than two
    /// minutes longer than that. It had no reason to say more before it was told of another pace.
    pub(super) fn silent_at(&self) -> Instant {
        let every = self.heartbeat_every();
        self.heard_at.max(self.pace.since) + every + (every * 3 / 2).min(GRACE_MAX)
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

    /// The way to its client is lost now.
    pub(super) fn way_breaks(&mut self) {
        let silence = self.silence(Instant::now());
        self.pace.way.breaks(silence);
    }

    /// What is known of the way to its client.
    pub(super) fn way(&self) -> Way {
        self.pace.way
    }

    /// It goes on on a way like the one that was lost.
    pub(super) fn goes_the_way(&mut self, way: Way) {
        self.pace.way = way;
    }

    /// Does nobody wait for its client? None, while it is not known: when its own node is lost, a crowd that was hurried for
    /// that would speak the more often, the less there is to hear it.
    fn is_at_rest(&self) -> Option<bool> {
        let own = match self.who() {
            Some(Principal::Rider(id)) => id.into(),
            Some(Principal::Driver(id)) => id.into(),
            Some(
                Principal::Merchant(_)
                | Principal::Dispatcher
                | Principal::Admin
                | Principal::System,
            )
            | None => return Some(false),
        };
        if !self.socket.is_websocket() {
            // What keeps proxies from closing the stream in its place is what the node says.
            return Some(false);
        }
        if !self.jobs.is_empty() {
            return Some(false);
        }
        let follow = self.follows.iter().find(|follow| follow.key == own);
        let watch = follow.and_then(|follow| follow.watch.as_ref())?;
        Some(watch.may_sleep())
    }

    /// The interval for as long as nobody waits, in milliseconds; 0: somebody does. What would hardly change it is not
    /// worth telling.
    fn at_rest_ms(&mut self) -> u32 {
        let is_at_rest = self.is_at_rest();
        self.pace.is_known |= is_at_rest.is_some();
        let bounds = Bounds::of(&self.gate.session, self.gate.known.within());
        let Some(bounds) = bounds else { return 0 };
        match is_at_rest {
            Some(true) => {}
            Some(false) => return 0,
            // A rider who comes while its own node has too much to do cannot be told anything either. A crowd that spoke often
            // until it is known would keep that node from ever getting there. Drivers are few, and may be on duty.
            None if !self.pace.is_known && matches!(self.who(), Some(Principal::Rider(_))) => {
                return self.pace.at_rest_ms.max(ms(bounds.least));
            }
            None => return self.pace.at_rest_ms,
        }
        let wanted = self.pace.way.interval_ms(bounds);
        let told = self.pace.at_rest_ms;
        if wanted / 4 * 3 < told && told <= wanted { told } else { wanted }
    }

    /// Answers its client's heartbeat, and says how often to send one, if that is new.
    pub(super) fn answer_heartbeat(&mut self) -> Flow {
        let at_rest_ms = self.at_rest_ms();
        self.heartbeat_with(at_rest_ms)
    }

    /// Says that it is still there, and how often to, if that is more often than before: of a client that says nothing, nothing
    /// is known that would let it be silent for longer.
    pub(super) fn heartbeat(&mut self) -> Flow {
        let at_rest_ms = self.at_rest_ms().min(self.pace.at_rest_ms);
        self.heartbeat_with(at_rest_ms)
    }

    fn heartbeat_with(&mut self, at_rest_ms: u32) -> Flow {
        let is_new = self.pace.at_rest_ms != at_rest_ms;
        if is_new {
            (self.pace.at_rest_ms, self.pace.since) = (at_rest_ms, Instant::now());
            self.socket.may_rest(at_rest_ms > 0);
        }
        let every = self.heartbeat_every().as_millis();
        let heartbeat_ms = is_new.then(|| u64::try_from(every).unwrap_or(u64::MAX));
        let server_time = self.gate.system.now();
        self.say(&ServerFrame::Heartbeat { server_time, heartbeat_ms })
    }

    /// Lets a client that has just come know that nobody waits for it, in one write with what it is shown: it would have to
    /// speak once or twice more to hear that, as would all others that come at the same time.
    pub(super) fn rest(&mut self) -> Flow {
        if self.pace.at_rest_ms == 0 && self.at_rest_ms() > 0 {
            self.answer_heartbeat()
        } else {
            Ok(())
        }
    }

    /// Lets a client know at once that somebody waits for it now. That nobody does any more can wait.
    pub(super) fn hurry(&mut self) -> Flow {
        if self.pace.at_rest_ms > 0 && self.is_at_rest() == Some(false) {
            self.heartbeat()
        } else {
            Ok(())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOUNDS: Bounds = Bounds { least: secs(110), most: secs(480) };

    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn nobody_rests_for_longer_than_a_session_waits_or_has_to() {
        let mut settings = crate::settings::Settings::read(None, None).unwrap().gateway.session;
        let mut of = |at_rest, at_rest_max, within| {
            settings.heartbeat = secs(20);
            settings.heartbeat_at_rest = secs(at_rest);
            settings.heartbeat_at_rest_max = secs(at_rest_max);
            let bounds = Bounds::of(&settings, secs(within));
            bounds.map(|Bounds { least, most }| (least.as_secs(), most.as_secs()))
        };
        assert_eq!(of(110, 480, 300), Some((110, 480)));
        assert_eq!(of(110, 480, 200), Some((110, 300)), "it must be found after its next word");
        assert_eq!(of(110, 480, 80), Some((60, 60)), "also at first");
        for within in [60, 50, 0] {
            assert_eq!(of(110, 480, within), None, "there is no time for it");
        }
        assert_eq!(of(110, 90, 300), Some((90, 90)));
        assert_eq!(of(10, 480, 300), Some((20, 480)));
        assert_eq!(of(110, 20, 300), None, "all are to speak equally often");
        assert_eq!(of(110, 480, u64::MAX), Some((110, 480)));
    }

    #[test]
    fn a_way_is_trusted_with_twice_the_silence_it_bore_up_to_a_bound() {
        let mut way = Way::default();
        let interval = |way: Way| way.interval_ms(BOUNDS);
        assert_eq!(interval(way), 110_000);
        for (silence, then) in [(3, 110_000), (55, 220_000), (110, 440_000), (220, 480_000)] {
            way.bears(secs(silence));
            assert_eq!(interval(way), then);
        }
        way.bears(secs(10));
        assert_eq!(interval(way), 480_000);
    }

    #[test]
    fn a_way_that_breaks_at_what_it_bore_is_asked_for_less_each_time() {
        let mut way = Way::default();
        way.bears(secs(100));
        way.breaks(secs(150));
        for _ in 0..5 {
            way.bears(secs(120));
        }
        assert_eq!(way.interval_ms(BOUNDS), 200_000, "it does not creep up to where it breaks");
        way.breaks(secs(100));
        assert_eq!(way.interval_ms(BOUNDS), 150_000);
        way.breaks(secs(1));
        assert_eq!(way.interval_ms(BOUNDS), 150_000);
    }

    #[test]
    fn a_way_that_broke_after_a_longer_silence_is_not_tried_again() {
        let mut way = Way::default();
        way.bears(secs(55));
        way.breaks(secs(20));
        assert_eq!(way.interval_ms(BOUNDS), 220_000, "that was no silence");
        way.breaks(secs(110));
        assert_eq!(way.interval_ms(BOUNDS), 110_000);
        way.bears(secs(55));
        assert_eq!(way.interval_ms(BOUNDS), 110_000);
    }
}
