//! The only place that knows what time it is.

use protocol::Timestamp;
#[cfg(any(test, feature = "testing"))]
use std::fmt;
use std::{
    sync::Arc,
    time::{Duration, SystemTime, UNIX_EPOCH},
};
use tokio::sync::watch;

/// A clock. Cloning shares it.
#[derive(Debug, Clone, Default)]
pub enum Clock {
    /// The machine's.
    #[default]
    Machine,
    /// One that stands still until it is moved, for tests.
    Manual(Arc<watch::Sender<Timestamp>>),
    /// One that somebody else moves, together with tokio's: a simulation's.
    #[cfg(any(test, feature = "testing"))]
    Simulated(Simulated),
}

/// Where a simulated clock gets its time from.
#[cfg(any(test, feature = "testing"))]
#[derive(Clone)]
pub struct Simulated(Arc<dyn Fn() -> Timestamp + Send + Sync>);

#[cfg(any(test, feature = "testing"))]
impl fmt::Debug for Simulated {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Simulated").field(&(self.0)()).finish()
    }
}

impl Clock {
    /// A clock that stands at `start`.
    pub fn manual(start: Timestamp) -> Self {
        Self::Manual(Arc::new(watch::Sender::new(start)))
    }

    /// A clock that shows what `now` says, and goes as fast as tokio's.
    #[cfg(any(test, feature = "testing"))]
    pub fn simulated(now: impl Fn() -> Timestamp + Send + Sync + 'static) -> Self {
        Self::Simulated(Simulated(Arc::new(now)))
    }

    /// What it shows.
    #[expect(clippy::disallowed_methods, reason = "time enters the platform here and nowhere else")]
    pub fn now(&self) -> Timestamp {
        match self {
            Self::Machine => {
                let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or(Duration::ZERO);
                Timestamp(0) + since
            }
            Self::Manual(shown) => *shown.borrow(),
            #[cfg(any(test, feature = "testing"))]
            Self::Simulated(Simulated(now)) => now(),
        }
    }

    /// Moves a manual clock forward; the machine's moves by itself.
    pub fn advance(&self, by: Duration) {
        if let Self::Manual(shown) = self {
            shown.send_modify(|now| *now = *now + by);
        }
    }

    /// Returns once it shows at least `due`.
    pub async fn reaches(&self, due: Timestamp) {
        match self {
            Self::Machine => tokio::time::sleep(due.since(self.now())).await,
            Self::Manual(shown) => {
                // Fails only when the sender is gone, and `self` holds it.
                shown.subscribe().wait_for(|now| *now >= due).await.ok();
            }
            #[cfg(any(test, feature = "testing"))]
            Self::Simulated(_) => tokio::time::sleep(due.since(self.now())).await,
        }
    }
}
