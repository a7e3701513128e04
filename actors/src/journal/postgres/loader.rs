//! Reads entities for whoever wakes. All who ask while one statement runs share the next.
//!
//! When a crowd comes at once, each with a statement of its own, most of them wait for a connection until they give
//! up, and ask again, and hardly any come through.

use super::read;
use crate::{
    EntityKey,
    journal::{JournalError, Stored},
};
use sqlx::PgPool;
use std::time::Duration;
use tokio::{
    sync::{mpsc, oneshot},
    time::timeout,
};
use tokio_util::sync::CancellationToken;

/// Entities of one statement at most.
const BATCH_MAX: usize = 128;

/// Somebody who wants to know what an entity was.
#[derive(Debug)]
pub(super) struct Load {
    pub(super) entity: EntityKey,
    pub(super) reply: oneshot::Sender<Result<Stored, JournalError>>,
}

/// Answers until nobody is left who could ask, or the journal is closed. `patience` is longer than the server has for a
/// statement: a connection whose other end is gone would never say anything.
pub(super) async fn run(
    connections: PgPool,
    mut loads: mpsc::Receiver<Load>,
    patience: Duration,
    closed: CancellationToken,
) {
    let mut batch = Vec::new();
    while closed.run_until_cancelled(loads.recv_many(&mut batch, BATCH_MAX)).await > Some(0) {
        // Whoever gave up would only make the others wait longer.
        batch.retain(|load| !load.reply.is_closed());
        if batch.is_empty() {
            continue;
        }
        metrics::histogram!("outrider_journal_load_batch_size").record(batch.len() as f64);
        let entities: Vec<_> = batch.iter().map(|load| load.entity).collect();
        let late = |_| Err(JournalError::Unavailable("no answer in time".into()));
        match timeout(patience, read::load(&connections, &entities)).await.unwrap_or_else(late) {
            Ok(found) => {
                for (load, stored) in batch.drain(..).zip(found) {
                    load.reply.send(Ok(stored)).ok();
                }
            }
            Err(error) => {
                for load in batch.drain(..) {
                    load.reply.send(Err(error.clone())).ok();
                }
            }
        }
    }
}
