//! Turns at a distance from each other: what thousands want at the same moment is done one after the other, and what one
//! wants is done at once.

use std::{
    sync::{Mutex, PoisonError},
    time::Duration,
};
use tokio::time::Instant;

/// Nobody waits for longer: more than would are no crowd that was cut off at once, but one that comes and goes.
const WAIT_MAX: Duration = Duration::from_secs(60);

/// Gives everybody a turn.
#[derive(Debug)]
pub(super) struct Turns {
    every: Duration,
    /// When the next one is, at the earliest.
    next: Mutex<Instant>,
}

impl Turns {
    /// So long after each other.
    pub(super) fn new(every: Duration) -> Self {
        Self { every, next: Mutex::new(Instant::now()) }
    }

    /// When it is the turn of whoever asks: now, if nobody has asked lately, or far too many have.
    pub(super) fn next(&self) -> Instant {
        // Never held across an await or a panic, so poison means nothing here.
        let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
        let now = Instant::now();
        let turn = (*next).max(now);
        if turn - now > WAIT_MAX {
            return now;
        }
        *next = turn + self.every;
        turn
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn whoever_comes_alone_waits_for_nothing_and_a_crowd_passes_one_by_one() {
        let (every, start) = (Duration::from_millis(10), Instant::now());
        let turns = Turns::new(every);
        let all: Vec<_> = (0..3).map(|_| turns.next()).collect();
        assert_eq!(all, [start, start + every, start + 2 * every]);
        tokio::time::advance(Duration::from_millis(25)).await;
        assert_eq!(turns.next(), start + 3 * every, "they are still under way");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(turns.next(), Instant::now());
    }

    #[tokio::test(start_paused = true)]
    async fn nobody_waits_for_longer_than_a_minute() {
        let turns = Turns::new(Duration::from_secs(1));
        let last = (0..1_000).map(|_| turns.next()).max().unwrap();
        assert_eq!(last, Instant::now() + WAIT_MAX);
    }
}
