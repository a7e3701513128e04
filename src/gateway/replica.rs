//! What every node keeps in memory of one kind of entity, because it must know it at every step.
//!
//! ```text
//!  an entity ── commit ──► list of views ◄── every second: anything new? ── every node ──► its memory
//!      └──► the node where it happened: its memory, at once ── told ── the others ──────────────▲
//! ```
//!
//! Such an entity is one like any other, so it is durable before anybody hears yes, and what is in the list was
//! committed. A node reads all of them before it lets anybody in. After that it hears of changes from the node where
//! they happen, and finds those it was not told of when it looks at the list.

use super::Gate;
use actors::{
    EntityKey, Kind, ViewRow,
    journal::{JournalError, Sort, ViewQuery},
};
use protocol::Timestamp;
use std::{
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};

/// How often a node of several looks for what it was not told.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How far back it looks: longer than a commit takes, and than the clocks of two nodes differ.
const LOOK_BACK: Duration = Duration::from_secs(60);
/// How often it reads all of it again, whatever the clocks said.
const READ_ALL_EVERY: Duration = Duration::from_secs(300);
/// How often it forgets what nobody needs to know any more.
const FORGET_EVERY: Duration = Duration::from_secs(60);
/// How long one look may take.
const LOOK_WITHIN: Duration = Duration::from_secs(5);
/// How long a start waits for the journal.
const START_PATIENCE: Duration = Duration::from_secs(60);
/// Rows of one read.
const PAGE_ROWS: usize = 1_000;

/// A kind of entity that every node knows.
pub(super) trait Replica: Send + Sync + 'static {
    /// Which.
    const KIND: Kind;
    /// The same in words, for logs.
    const WHAT: &'static str;
    /// In which statuses one must be known.
    const STATUSES: &'static [&'static str];

    /// Takes in what the list says; some of it is known already. An earlier state may come after a later one.
    fn take_in(gate: &Arc<Gate>, rows: &[(EntityKey, ViewRow)]);

    /// How many are known.
    fn n_known(gate: &Gate) -> usize;

    /// What is known is as new as it gets.
    fn has_looked(_gate: &Gate) {}

    /// Every second.
    fn tend(_gate: &Gate) {}

    /// Forgets what nobody needs to know any more.
    fn forget(_gate: &Gate) {}
}

/// Reads all of it, before anybody is let in; returns the newest moment. A node that cannot is of no use: it would
/// allow what others have forbidden.
pub(super) async fn load<R: Replica>(gate: &Arc<Gate>) -> Result<Timestamp, JournalError> {
    let until = Instant::now() + START_PATIENCE;
    loop {
        match read::<R>(gate, Timestamp::default()).await {
            Ok(newest) => {
                R::has_looked(gate);
                info!(what = R::WHAT, n = R::n_known(gate), "read");
                return Ok(newest);
            }
            Err(error) if Instant::now() < until => {
                warn!(what = R::WHAT, %error, "cannot be read; trying again");
                sleep(LOOK_EVERY).await;
            }
            Err(error) => return Err(error),
        }
    }
}

/// Finds what this node was not told, and forgets what nobody needs, as long as there is a gate.
pub(super) async fn follow<R: Replica>(gate: Weak<Gate>, mut newest: Timestamp) {
    let mut read_all_at = Instant::now() + READ_ALL_EVERY;
    let mut forget_at = Instant::now() + FORGET_EVERY;
    let mut is_blind = false;
    loop {
        sleep(LOOK_EVERY).await;
        let Some(gate) = gate.upgrade() else { return };
        R::tend(&gate);
        if Instant::now() >= forget_at {
            forget_at = Instant::now() + FORGET_EVERY;
            R::forget(&gate);
        }
        // Alone, nobody does anything but this node.
        if !gate.has_others() {
            continue;
        }
        let is_due = Instant::now() >= read_all_at;
        let since = if is_due { Timestamp::default() } else { newest - LOOK_BACK };
        match read::<R>(&gate, since).await {
            Ok(read) => {
                newest = newest.max(read);
                R::has_looked(&gate);
                if is_due {
                    read_all_at = Instant::now() + READ_ALL_EVERY;
                }
                is_blind = false;
            }
            Err(error) if !is_blind => {
                is_blind = true;
                warn!(what = R::WHAT, %error, "cannot be read; trying again every second");
            }
            Err(_) => {}
        }
    }
}

/// Takes in what has changed since then; returns the newest moment that was read.
async fn read<R: Replica>(gate: &Arc<Gate>, since: Timestamp) -> Result<Timestamp, JournalError> {
    let (mut newest, mut after) = (since, None);
    loop {
        let query = ViewQuery {
            statuses: R::STATUSES.iter().map(|&status| status.to_owned()).collect(),
            since: Some(since),
            sort: Sort::Oldest,
            after,
            ..ViewQuery::newest(R::KIND, PAGE_ROWS)
        };
        let read = timeout(LOOK_WITHIN, gate.system.journal().views(query)).await;
        let rows = read.unwrap_or_else(|_elapsed| {
            Err(JournalError::Unavailable("no answer in time".to_owned()))
        })?;
        let is_last = rows.len() < PAGE_ROWS;
        after = rows.last().map(|(key, row)| (row.at, key.id));
        newest = newest.max(after.map_or(since, |(at, _)| at));
        R::take_in(gate, &rows);
        if is_last {
            return Ok(newest);
        }
    }
}

impl Gate {
    /// Is it one of several, who are told by others what they do?
    pub(super) fn has_others(&self) -> bool {
        self.system.arbiter().is_some()
    }
}
