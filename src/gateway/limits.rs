//! How fast anyone may talk, and what they are told when they talk faster.

use dashmap::DashMap;
use governor::{
    Quota, RateLimiter,
    clock::{Clock, MonotonicClock},
    middleware::NoOpMiddleware,
    state::{InMemoryState, NotKeyed},
};
use protocol::{Code, Principal, Refused};
use std::{
    fmt,
    hash::Hash,
    net::{IpAddr, Ipv6Addr},
    num::NonZeroU32,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

/// Keys that have been silent long enough are forgotten once in so many questions.
const FORGET_EVERY: u32 = 4_096;

type Middleware = NoOpMiddleware<Instant>;

/// So many a second over time, and so many at once, of one thing.
pub(crate) struct Rate {
    limiter: RateLimiter<NotKeyed, InMemoryState, MonotonicClock, Middleware>,
    burst: NonZeroU32,
}

impl Rate {
    /// At least one of each, whatever is asked for.
    pub(crate) fn new(per_s: u32, burst: u32) -> Self {
        let quota = quota(per_s, burst);
        let limiter = RateLimiter::direct_with_clock(quota, MonotonicClock);
        Self { limiter, burst: quota.burst_size() }
    }

    /// One more; or how long to wait.
    pub(crate) fn check(&self) -> Result<(), Duration> {
        self.limiter.check().map_err(|until| until.wait_time_from(MonotonicClock.now()))
    }

    /// Has it been silent for so long that it allows all there may be at once? If so, that has been taken.
    fn is_as_new(&self) -> bool {
        matches!(self.limiter.check_n(self.burst), Ok(Ok(())))
    }
}

impl fmt::Debug for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rate").finish_non_exhaustive()
    }
}

/// The same for each of many.
pub(crate) struct Rates<K: Eq + Hash> {
    per_s: u32,
    burst: u32,
    known: DashMap<K, Arc<Rate>>,
    n_asked: AtomicU32,
}

impl<K: Clone + Eq + Hash> Rates<K> {
    /// At least one of each, whatever is asked for.
    pub(crate) fn new(per_s: u32, burst: u32) -> Self {
        Self { per_s, burst, known: DashMap::new(), n_asked: AtomicU32::new(0) }
    }

    /// That of `key`, for whoever asks it often: it is the same for all who do.
    pub(crate) fn of(&self, key: &K) -> Arc<Rate> {
        if self.n_asked.fetch_add(1, Ordering::Relaxed) % FORGET_EVERY == FORGET_EVERY - 1 {
            // Nobody asks these, and one that is made anew allows no more than they would.
            self.known.retain(|_, rate| Arc::strong_count(rate) > 1 || !rate.is_as_new());
        }
        if let Some(known) = self.known.get(key) {
            return Arc::clone(&*known);
        }
        let new = || Arc::new(Rate::new(self.per_s, self.burst));
        Arc::clone(&*self.known.entry(key.clone()).or_insert_with(new))
    }

    /// One more of `key`; or how long to wait.
    pub(crate) fn check(&self, key: &K) -> Result<(), Duration> {
        self.of(key).check()
    }
}

impl<K: Eq + Hash> fmt::Debug for Rates<K> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Rates").finish_non_exhaustive()
    }
}

/// Limits that all requests share.
#[derive(Debug)]
pub(crate) struct Limits {
    /// Handshakes, by neighbourhood.
    pub(crate) handshakes: Rates<IpAddr>,
    /// REST requests.
    pub(crate) requests: Rates<Principal>,
    /// Frames, over all sockets of one client.
    pub(crate) frames: Rates<Principal>,
    /// Commands among them.
    pub(crate) commands: Rates<Principal>,
    /// What somebody in danger wishes for who is no staff, on sockets and by requests, before it counts among the others.
    pub(crate) urgent: Rates<Principal>,
}

impl Limits {
    /// Is somebody in danger let past what limits requests? Staff always are, for a dispatcher's token does not say which
    /// dispatcher, and one who floods must not keep the others from it.
    pub(crate) fn lets_past(&self, by: Principal) -> bool {
        by.is_staff() || self.urgent.check(&by).is_ok()
    }
}

/// The refusal of whoever was too fast.
pub(crate) fn rate_limited(wait: Duration) -> Refused {
    let ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
    Refused::new(Code::RateLimited, "too fast").retry_after_ms(ms)
}

/// Who counts as one address: an IPv6 household is given a /64 and could use all of it.
pub(crate) fn neighbourhood(ip: IpAddr) -> IpAddr {
    match ip.to_canonical() {
        IpAddr::V4(ip) => ip.into(),
        IpAddr::V6(ip) => {
            let [a, b, c, d, ..] = ip.segments();
            Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0).into()
        }
    }
}

fn quota(per_s: u32, burst: u32) -> Quota {
    let at_least_one = |n| NonZeroU32::new(n).unwrap_or(NonZeroU32::MIN);
    Quota::per_second(at_least_one(per_s)).allow_burst(at_least_one(burst))
}

#[cfg(test)]
mod tests;
