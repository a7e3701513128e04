//! The only place that knows what time it is.

use protocol::Timestamp;
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
}

impl Clock {
    /// A clock that stands at `start`.
    pub fn manual(start: Timestamp) -> Self {
        Self::Manual(Arc::new(watch::Sender::new(start)))
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
        }
    }
}
