//! How far the log of each shard goes, for who follows the feed.
//!
//! Rows of heads are up to a second behind the logs. What this process has written it knows itself; of what others
//! have, their logs are asked for the last number, all at once and not more often than five times a second, however
//! many follow and however often their own node's commits wake them.

use super::read;
use foldhash::HashMap;
use protocol::{SHARDS, ShardId};
use sqlx::PgPool;
use std::{
    sync::{Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

/// How often the logs are asked at most.
const ASK_EVERY: Duration = Duration::from_millis(200);

/// What they said.
#[derive(Debug, Default)]
pub(super) struct Horizon(Mutex<Asked>);

#[derive(Debug, Default)]
struct Asked {
    at: Option<Instant>,
    /// Numbers of last events. A log only grows, so what was said stays true.
    seqs: HashMap<ShardId, u64>,
}

impl Horizon {
    /// The number of a shard's last event, as far as the logs were asked.
    pub(super) fn seq(&self, shard: ShardId) -> u64 {
        self.asked().seqs.get(&shard).copied().unwrap_or_default()
    }

    /// Asks the logs, unless somebody has just done so.
    pub(super) async fn refresh(&self, readers: &PgPool) -> sqlx::Result<()> {
        {
            let mut asked = self.asked();
            if asked.at.is_some_and(|at| at.elapsed() < ASK_EVERY) {
                return Ok(());
            }
            asked.at = Some(Instant::now());
        }
        let rows: Vec<(i32, i64)> = sqlx::query_as(read::ENDS)
            .bind((0..i32::from(SHARDS)).collect::<Vec<_>>())
            .fetch_all(readers)
            .await?;
        let mut asked = self.asked();
        for (shard, seq) in rows {
            let known = asked.seqs.entry(ShardId(shard as u16)).or_default();
            *known = seq.cast_unsigned().max(*known);
        }
        Ok(())
    }

    fn asked(&self) -> MutexGuard<'_, Asked> {
        // Never held across an await or a panic, so poison means nothing here.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
