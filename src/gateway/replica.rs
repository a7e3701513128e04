//! What every node keeps in memory of one kind of entity, because it must know it at every step.
//!
//! ```text
//!  an entity ── commit ──► list of views ◄── every second: anything new? ── every node ──► its memory
//!      └──► the node where it happened: its memory, at once ── told ── the others ──────────────▲
//! ```
//!
//! Such an entity is one like any other, so it is durable before anybody hears yes, and what is in the list was
//! committed. A node reads all of them that anybody needs before it lets anybody in. After that it hears of changes from the node where
//! they happen, and finds those it was not told of when it looks at the lists, all of them at once: there may be many nodes that have
//! nothing else to do. One that is alone looks, too, if less often: what it did itself it does not know either, if the answer was lost.

use super::{Gate, revocations::Revocations, rules::Rules, zones::Zones};
use actors::{
    EntityKey, Kind, ViewRow,
    journal::{JournalError, List, Sort, ViewQuery},
};
use protocol::Timestamp;
use std::{
    mem,
    sync::{Arc, Weak},
    time::Duration,
};
use tokio::time::{Instant, sleep, timeout};
use tracing::{info, warn};
use uuid::Uuid;

/// How often a node of several looks for what it was not told.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// How often one that is alone does.
const LOOK_ALONE_EVERY: Duration = Duration::from_secs(5);
/// How far back it looks: longer than a commit takes, and than the clocks of two nodes differ.
const LOOK_BACK: Duration = Duration::from_secs(60);
/// How often it reads all of it again, whatever the clocks said.
const READ_ALL_EVERY: Duration = Duration::from_secs(300);
/// How long after those of one kind those of the next are read again, so that seldom two kinds are due at once.
const READ_ALL_APART: Duration = Duration::from_secs(100);
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
pub(super) trait Replica: Sync {
    /// Which.
    fn kind(&self) -> Kind;

    /// The same in words, for logs.
    fn what(&self) -> &'static str;

    /// In which statuses one must be known.
    fn statuses(&self) -> &'static [&'static str];

    /// In which others for [`KEPT_FOR`] only, so that whoever knows otherwise hears of it.
    fn settled(&self) -> &'static [&'static str] {
        &[]
    }

    /// Takes in what the list says; some of it is known already. An earlier state may come after a later one.
    fn take_in(&self, gate: &Arc<Gate>, rows: &[(EntityKey, ViewRow)]);

    /// How many are known.
    fn n_known(&self, gate: &Gate) -> usize;

    /// What is known is as new as it gets.
    fn has_looked(&self, _gate: &Gate) {}

    /// Every second.
    fn tend(&self, _gate: &Gate) {}

    /// Forgets what nobody needs to know any more.
    fn forget(&self, _gate: &Gate) {}
}

/// All of them. Revocations are read last, so that nobody is let in long after they were.
const ALL: [&dyn Replica; 3] = [&Zones, &Rules, &Revocations];

/// One of them, and how far this node has followed it.
pub(super) struct Followed {
    replica: &'static dyn Replica,
    /// The newest moment that was read.
    newest: Timestamp,
    /// When all of it is read again.
    read_all_at: Instant,
    /// It could not be read when it was last looked at.
    is_blind: bool,
    /// Not all of it could be read when that was last due.
    is_overdue: bool,
}

/// Reads all of them, before anybody is let in. A node that cannot is of no use: it would allow what others have forbidden.
pub(super) async fn load(gate: &Arc<Gate>) -> Result<Vec<Followed>, JournalError> {
    let mut all = Vec::with_capacity(ALL.len());
    for (replica, nth) in ALL.into_iter().zip(1..) {
        let until = Instant::now() + START_PATIENCE;
        let newest = loop {
            match read(gate, replica, Since::start(gate.system.now())).await {
                Ok(newest) => break newest,
                Err(error) if Instant::now() < until => {
                    warn!(what = replica.what(), %error, "cannot be read; trying again");
                    sleep(LOOK_EVERY).await;
                }
                Err(error) => return Err(error),
            }
        };
        replica.has_looked(gate);
        info!(what = replica.what(), n = replica.n_known(gate), "read");
        all.push(Followed::new(replica, newest, nth));
    }
    Ok(all)
}

/// Finds what this node was not told, and forgets what nobody needs, as long as there is a gate.
pub(super) async fn follow(gate: Weak<Gate>, mut all: Vec<Followed>) {
    let mut forget_at = Instant::now() + FORGET_EVERY;
    let mut looked_at = Instant::now();
    loop {
        sleep(LOOK_EVERY).await;
        let Some(gate) = gate.upgrade() else { return };
        all.iter().for_each(|it| it.replica.tend(&gate));
        if Instant::now() >= forget_at {
            forget_at = Instant::now() + FORGET_EVERY;
            all.iter().for_each(|it| it.replica.forget(&gate));
        }
        if !is_time(gate.has_others(), looked_at.elapsed()) {
            continue;
        }
        looked_at = Instant::now();
        let newest = read_recent(&gate, &all).await;
        let is_away = newest.iter().all(|it| matches!(it, Err(JournalError::Unavailable(_))));
        for (followed, newest) in all.iter_mut().zip(newest) {
            followed.note(&gate, newest);
        }
        // One at most, and none if nobody answers: meanwhile nobody looks at what is new.
        if let Some(followed) = due(&mut all, looked_at).filter(|_| !is_away) {
            let since = Since::all(followed.since()).and_all(gate.system.now());
            let newest = read(&gate, followed.replica, since).await;
            followed.note_all(&gate, newest);
        }
    }
}

/// Of those of which all is to be read again, the one that has waited longest.
fn due(all: &mut [Followed], now: Instant) -> Option<&mut Followed> {
    all.iter_mut().filter(|it| now >= it.read_all_at).min_by_key(|it| it.read_all_at)
}

impl Followed {
    /// All of it has just been read. It is the `nth` that is followed, from 1 on.
    fn new(replica: &'static dyn Replica, newest: Timestamp, nth: u32) -> Self {
        let read_all_at = Instant::now() + nth * READ_ALL_APART;
        Self { replica, newest, read_all_at, is_blind: false, is_overdue: false }
    }

    /// Since when it is looked at again.
    fn since(&self) -> Timestamp {
        self.newest - LOOK_BACK
    }

    /// Whatever has changed since then, as far as one page goes.
    fn query(&self) -> ViewQuery {
        page(self.replica, &all_statuses(self.replica), self.since(), None)
    }

    /// Notes what came of a look.
    fn note(&mut self, gate: &Gate, newest: Result<Timestamp, JournalError>) {
        match newest {
            Ok(newest) => {
                self.newest = self.newest.max(newest);
                self.replica.has_looked(gate);
                self.is_blind = false;
            }
            Err(error) => {
                if !mem::replace(&mut self.is_blind, true) {
                    let what = self.replica.what();
                    warn!(what, %error, "cannot be read; trying again every second");
                }
            }
        }
    }

    /// Notes what came of reading all of it again.
    fn note_all(&mut self, gate: &Gate, newest: Result<Timestamp, JournalError>) {
        self.plan(newest.is_ok(), Instant::now());
        match newest {
            Ok(newest) => {
                self.is_overdue = false;
                self.note(gate, Ok(newest));
            }
            Err(error) => {
                if !mem::replace(&mut self.is_overdue, true) {
                    let what = self.replica.what();
                    warn!(what, %error, "not all can be read again; trying until it can");
                }
            }
        }
    }

    /// Decides when all of it is read again. If it could not be, it is due still, but behind others that are.
    fn plan(&mut self, was_read: bool, now: Instant) {
        self.read_all_at = if was_read { now + READ_ALL_EVERY } else { now };
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
    fn reads(self, replica: &dyn Replica) -> Vec<(Vec<&'static str>, Timestamp)> {
        let (statuses, settled) = (replica.statuses(), replica.settled());
        if self.known == self.settled || settled.is_empty() {
            return vec![(all_statuses(replica), self.known)];
        }
        vec![(settled.to_vec(), self.settled), (statuses.to_vec(), self.known)]
    }
}

fn all_statuses(replica: &dyn Replica) -> Vec<&'static str> {
    [replica.settled(), replica.statuses()].concat()
}

/// Takes in what has changed lately, by one look at all lists: hardly ever is there anything. Returns of each the newest moment
/// that was read.
async fn read_recent(
    gate: &Arc<Gate>,
    recent: &[Followed],
) -> Vec<Result<Timestamp, JournalError>> {
    let queries = recent.iter().map(Followed::query).collect();
    let mut newest = Vec::with_capacity(recent.len());
    match in_time(gate.system.journal().lists(queries)).await {
        Ok(lists) => {
            for (it, first) in recent.iter().zip(lists) {
                let statuses = all_statuses(it.replica);
                newest.push(read_in(gate, it.replica, &statuses, it.since(), Some(first)).await);
            }
        }
        Err(error @ JournalError::Unavailable(_)) => {
            newest.extend(recent.iter().map(|_| Err(error.clone())));
        }
        // What is wrong with one keeps nobody from knowing the others.
        Err(JournalError::Unreadable { .. }) => {
            for it in recent {
                newest.push(read(gate, it.replica, Since::all(it.since())).await);
            }
        }
    }
    newest
}

/// Takes in what has changed since then; returns the newest moment that was read.
async fn read(
    gate: &Arc<Gate>,
    replica: &dyn Replica,
    since: Since,
) -> Result<Timestamp, JournalError> {
    let mut newest = Timestamp::default();
    for (statuses, since) in since.reads(replica) {
        newest = newest.max(read_in(gate, replica, &statuses, since, None).await?);
    }
    Ok(newest)
}

/// The same of what is in these statuses. The first page may have been read before.
async fn read_in(
    gate: &Arc<Gate>,
    replica: &dyn Replica,
    statuses: &[&'static str],
    since: Timestamp,
    mut first: Option<List>,
) -> Result<Timestamp, JournalError> {
    let (mut newest, mut after) = (since, None);
    loop {
        let rows = match first.take() {
            Some(rows) => rows,
            None => {
                let query = page(replica, statuses, since, after);
                in_time(gate.system.journal().views(query)).await?
            }
        };
        let is_last = rows.len() < PAGE_ROWS;
        after = rows.last().map(|(key, row)| (row.at, key.id));
        newest = newest.max(after.map_or(since, |(at, _)| at));
        replica.take_in(gate, &rows);
        if is_last {
            return Ok(newest);
        }
    }
}

fn page(
    replica: &dyn Replica,
    statuses: &[&'static str],
    since: Timestamp,
    after: Option<(Timestamp, Uuid)>,
) -> ViewQuery {
    ViewQuery {
        statuses: statuses.iter().map(|&status| status.to_owned()).collect(),
        since: Some(since),
        sort: Sort::Oldest,
        after,
        ..ViewQuery::newest(replica.kind(), PAGE_ROWS)
    }
}

async fn in_time<T>(
    look: impl Future<Output = Result<T, JournalError>>,
) -> Result<T, JournalError> {
    let late = |_elapsed| Err(JournalError::Unavailable("no answer in time".to_owned()));
    timeout(LOOK_WITHIN, look).await.unwrap_or_else(late)
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

    const NOW: Timestamp = Timestamp(1_800_000_000_000);
    const HOUR: Duration = Duration::from_secs(3_600);

    fn all_followed() -> Vec<Followed> {
        ALL.into_iter().zip(1..).map(|(it, nth)| Followed::new(it, NOW, nth)).collect()
    }

    #[test]
    fn who_is_alone_looks_as_well_for_an_answer_of_its_own_may_be_lost() {
        assert!(is_time(true, LOOK_EVERY));
        assert!(!is_time(false, LOOK_EVERY) && is_time(false, LOOK_ALONE_EVERY));
    }

    #[test]
    fn a_start_reads_what_holds_and_what_was_settled_within_a_day() {
        let reads = Since::start(NOW).reads(&Zones);
        let day_ago = NOW - 24 * HOUR;
        let all = Timestamp::default();
        assert_eq!(reads, [(vec!["open"], day_ago), (vec!["paused", "scarce"], all)]);
        let reads = Since::start(NOW).reads(&Revocations);
        assert_eq!(reads, [(vec!["in_force"], all)], "nothing of them is ever settled");
    }

    #[test]
    fn a_look_asks_for_all_kinds_and_whatever_may_have_become_of_each() {
        let followed = all_followed();
        let asked: Vec<_> = followed.iter().map(Followed::query).collect();
        let kinds: Vec<_> = asked.iter().map(|it| it.kind).collect();
        assert_eq!(kinds, [Kind::Zone, Kind::Rule, Kind::Revocation]);
        assert_eq!(asked[0].statuses, ["open", "paused", "scarce"]);
        assert_eq!(asked[2].statuses, ["in_force"]);
        let since = Some(NOW - LOOK_BACK);
        assert!(asked.iter().all(|it| it.since == since && it.sort == Sort::Oldest));
    }

    #[test]
    fn each_kind_is_read_again_in_its_own_turn_and_who_failed_comes_after_others() {
        fn kind(all: &mut [Followed], now: Instant) -> Option<Kind> {
            due(all, now).map(|it| it.replica.kind())
        }
        let mut all = all_followed();
        let first = all[0].read_all_at;
        assert_eq!(kind(&mut all, first - READ_ALL_APART / 2), None);
        assert_eq!(kind(&mut all, first), Some(Kind::Zone));
        all[0].plan(true, first);
        assert_eq!(kind(&mut all, first + READ_ALL_APART / 2), None, "the others come later");
        // For long nobody answered.
        let late = first + READ_ALL_EVERY + LOOK_EVERY;
        assert_eq!(kind(&mut all, late), Some(Kind::Rule));
        all[1].plan(false, late);
        assert_eq!(kind(&mut all, late), Some(Kind::Revocation));
        all[2].plan(true, late);
        assert_eq!(kind(&mut all, late), Some(Kind::Zone));
        all[0].plan(true, late);
        assert_eq!(kind(&mut all, late), Some(Kind::Rule));
    }

    #[test]
    fn who_was_blind_for_days_hears_of_all_that_was_settled_meanwhile() {
        let recent = NOW - Duration::from_secs(60);
        let one_read = [(vec!["open", "paused", "scarce"], recent)];
        assert_eq!(Since::all(recent).reads(&Zones), one_read);
        assert_eq!(Since::all(recent).and_all(NOW), Since::start(NOW));
        let blind = Since::all(NOW - 72 * HOUR).and_all(NOW);
        assert_eq!(blind, Since { known: Timestamp::default(), settled: NOW - 72 * HOUR });
    }
}
