//! The one place where the crowd reads the wall clock: phones stamp their positions.

use protocol::Timestamp;
use std::time::{SystemTime, UNIX_EPOCH};

/// What a phone's clock shows.
#[expect(clippy::disallowed_methods, reason = "a phone has a clock; nothing is decided by it here")]
pub fn now() -> Timestamp {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    Timestamp(u64::try_from(since.as_millis()).unwrap_or(u64::MAX))
}
