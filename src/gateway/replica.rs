//! What every node keeps in memory of one kind of entity, because it must know it at every step.
//!
//! ```text
//!  an entity ── commit ──► list of views ◄── every second: anything new? ── every node ──► its memory
//!      └──► the node where it happened: its memory, at once ── told ── the others ──────────────▲
//! ```
//!
//! Such an entity is one like any other, so it is durable before anybody hears yes, and what is in the list was
//! committed. A node reads all of them that anybody needs before it lets anybody in. After that it hears of changes from the node where
//! they happen, and finds those it was not told of when it looks at the list. One that is alone looks, too, if less often: what it did
//! itself it does not know either, if the answer was lost.

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
/// How often one that is alone does.
const LOOK_ALONE_EVERY: Duration = Duration::from_secs(5);
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
/// How long what is settled is kept: for longer than whoever knows otherwise is left without news.
pub(super) const KEPT_FOR: Duration = Duration::from_secs(24 * 3_600);
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
    /// In which others for [`KEPT_FOR`] only, so that whoever knows otherwise hears of it.
    const SETTLED: &'static [&'static str] = &[];

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
        match read::<R>(gate, Since::start(gate.system.now())).await {
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
    let mut looked_at = Instant::now();
    let mut is_blind = false;
    loop {
        sleep(LOOK_EVERY).await;
        let Some(gate) = gate.upgrade() else { return };
        R::tend(&gate);
        if Instant::now() >= forget_at {
            forget_at = Instant::now() + FORGET_EVERY;
            R::forget(&gate);
        }
        if !is_time(gate.has_others(), looked_at.elapsed()) {
            continue;
        }
        looked_at = Instant::now();
        let is_due = Instant::now() >= read_all_at;
        let recent = Since::all(newest - LOOK_BACK);
        let since = if is_due { recent.and_all(gate.system.now()) } else { recent };
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

/// Is it time to look again? Alone, nobody does anything but this node, which knows nearly all of it.
fn is_time(has_others: bool, since_looked: Duration) -> bool {
    has_others || since_looked >= LOOK_ALONE_EVERY
}

/// Since when what has changed is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Since {
    /// What must be known.
    known: Timestamp,
    /// What is settled.
    settled: Timestamp,
}

impl Since {
    /// Everything since the same moment.
    fn all(since: Timestamp) -> Self {
        Self { known: since, settled: since }
    }

    /// All there is, as far as anybody needs it.
    fn start(now: Timestamp) -> Self {
        Self { known: Timestamp::default(), settled: now - KEPT_FOR }
    }

    /// The same, and this, too: who was blind for long hears of all that was settled meanwhile.
    fn and_all(self, now: Timestamp) -> Self {
        let Self { known, settled } = Self::start(now);
        Self { known, settled: settled.min(self.settled) }
    }

    /// What is to be read one after the other: in which statuses, and since when. What is settled first, for what is not settled any
    /// more by then is found afterwards.
    fn reads<R: Replica>(self) -> Vec<(Vec<&'static str>, Timestamp)> {
        if self.known == self.settled || R::SETTLED.is_empty() {
            return vec![([R::SETTLED, R::STATUSES].concat(), self.known)];
        }
        vec![(R::SETTLED.to_vec(), self.settled), (R::STATUSES.to_vec(), self.known)]
    }
}

/// Takes in what has changed since then; returns the newest moment that was read.
async fn read<R: Replica>(gate: &Arc<Gate>, since: Since) -> Result<Timestamp, JournalError> {
    let mut newest = Timestamp::default();
    for (statuses, since) in since.reads::<R>() {
        newest = newest.max(read_in::<R>(gate, &statuses, since).await?);
    }
    Ok(newest)
}

/// The same of what is in these statuses.
async fn read_in<R: Replica>(
    gate: &Arc<Gate>,
    statuses: &[&'static str],
    since: Timestamp,
) -> Result<Timestamp, JournalError> {
    let (mut newest, mut after) = (since, None);
    loop {
        let query = ViewQuery {
            statuses: statuses.iter().map(|&status| status.to_owned()).collect(),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::gateway::{revocations::Revocations, zones::Zones};

    const NOW: Timestamp = Timestamp(1_800_000_000_000);
    const HOUR: Duration = Duration::from_secs(3_600);

    #[test]
    fn who_is_alone_looks_as_well_for_an_answer_of_its_own_may_be_lost() {
        assert!(is_time(true, LOOK_EVERY));
        assert!(!is_time(false, LOOK_EVERY) && is_time(false, LOOK_ALONE_EVERY));
    }

    #[test]
    fn a_start_reads_what_holds_and_what_was_settled_within_a_day() {
        let reads = Since::start(NOW).reads::<Zones>();
        let day_ago = NOW - 24 * HOUR;
        let all = Timestamp::default();
        assert_eq!(reads, [(vec!["open"], day_ago), (vec!["paused", "scarce"], all)]);
        let reads = Since::start(NOW).reads::<Revocations>();
        assert_eq!(reads, [(vec!["in_force"], all)], "nothing of them is ever settled");
    }

    #[test]
    fn who_was_blind_for_days_hears_of_all_that_was_settled_meanwhile() {
        let recent = NOW - Duration::from_secs(60);
        let one_read = [(vec!["open", "paused", "scarce"], recent)];
        assert_eq!(Since::all(recent).reads::<Zones>(), one_read);
        assert_eq!(Since::all(recent).and_all(NOW), Since::start(NOW));
        let blind = Since::all(NOW - 72 * HOUR).and_all(NOW);
        assert_eq!(blind, Since { known: Timestamp::default(), settled: NOW - 72 * HOUR });
    }
}
