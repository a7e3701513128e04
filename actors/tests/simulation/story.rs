//! What happened in a run, as a digest: two runs of one seed must tell the same story.

use std::{
    fmt,
    sync::{Mutex, PoisonError},
};
use xxhash_rust::xxh3::Xxh3Default;

/// Everything that happened, and when. Kept as a digest, and printed if somebody wants to read it.
pub(crate) struct Story {
    digest: Mutex<Xxh3Default>,
    is_told: bool,
}

impl fmt::Debug for Story {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Story").field("is_told", &self.is_told).finish()
    }
}

impl Story {
    /// `is_told`: every line is printed.
    pub(crate) fn new(is_told: bool) -> Self {
        Self { digest: Mutex::default(), is_told }
    }

    /// Something happens now. `what` stands for it in the digest, `words` in print.
    pub(crate) fn tell(&self, what: &[u64], words: impl FnOnce() -> String) {
        let at = turmoil::sim_elapsed().unwrap_or_default();
        let mut digest = self.digest.lock().unwrap_or_else(PoisonError::into_inner);
        digest.update(&(at.as_micros() as u64).to_le_bytes());
        what.iter().for_each(|n| digest.update(&n.to_le_bytes()));
        if self.is_told {
            println!("{:>9.3} {}", at.as_secs_f64(), words());
        }
    }

    /// The same for every run that went the same way.
    pub(crate) fn digest(&self) -> u64 {
        self.digest.lock().unwrap_or_else(PoisonError::into_inner).digest()
    }
}
