//! How far the log of each shard goes, for who follows the feed.
//!
//! Rows of heads are up to a second behind the logs. What this process has written it knows itself; of what others
//! have, their logs are asked for the last number: one who follows asks for all at once, and not more often than five
//! times a second, however many follow and however often their own node's commits wake them.

use super::read;
use protocol::{SHARDS, ShardId};
use sqlx::PgPool;
use std::{
    ops::RangeInclusive,
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How often a log is asked at most.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// What they said.
#[derive(Debug)]
pub(super) struct Horizon {
    ends: Mutex<Box<[End]>>,
    /// One asks at a time. Whoever waited finds what was said.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Clone, Copy, Default)]
struct End {
    /// When a log that has answered was asked.
    at: Option<Instant>,
    /// The number of its last event. A log only grows, so what was said stays true.
    seq: u64,
}

impl Default for Horizon {
    fn default() -> Self {
        let ends = vec![End::default(); usize::from(SHARDS)].into();
        Self { ends: Mutex::new(ends), turn: tokio::sync::Mutex::default() }
    }
}

impl Horizon {
    /// The number of a shard's last event, as far as the logs were asked.
    pub(super) fn seq(&self, shard: ShardId) -> u64 {
        self.ends()[usize::from(shard.0 % SHARDS)].seq
    }

    /// Asks the logs of some shards, those that nobody has asked just now.
    pub(super) async fn refresh(
        &self,
        readers: &PgPool,
        shards: RangeInclusive<u16>,
    ) -> sqlx::Result<()> {
        let _turn = self.turn.lock().await;
        let now = Instant::now();
        let is_old = |end: &End| end.at.is_none_or(|at| now.duration_since(at) >= ASK_EVERY);
        let old: Vec<i32> = {
            let ends = self.ends();
            let old = (0..SHARDS).zip(&**ends).filter(|(_, end)| is_old(end));
            old.filter(|(shard, _)| shards.contains(shard)).map(|(shard, _)| shard.into()).collect()
        };
        if old.is_empty() {
            return Ok(());
        }
        let said: Vec<(i32, i64)> = sqlx::query_as(read::ENDS).bind(old).fetch_all(readers).await?;
        let mut ends = self.ends();
        for (shard, seq) in said {
            let end = &mut ends[usize::from(shard as u16 % SHARDS)];
            *end = End { at: Some(now), seq: seq.cast_unsigned().max(end.seq) };
        }
        Ok(())
    }

    fn ends(&self) -> MutexGuard<'_, Box<[End]>> {
        // Never held across an await or a panic, so poison means nothing here.
        self.ends.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
