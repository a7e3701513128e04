//! One board for all dispatchers: folds what entities publish, and tells every viewer twice a second.
//!
//! ```text
//! entities ──► Board ── diff ──► broadcast ──► sessions
//!                └── full ──► a session that has just come, or was too slow
//! ```

use super::attendance::Attendance;
use actors::{
    board::Board,
    runtime::{Published, System},
};
use protocol::{frame, view::Mark};
use std::{sync::Arc, time::Duration};
use tokio::{
    sync::{broadcast, mpsc, oneshot},
    time::{Instant, MissedTickBehavior, interval_at},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Most diffs that wait for one slow viewer; one further behind starts again from a full board.
const DIFFS_MAX: usize = 32;
/// Most viewers that wait for a full board.
const REQUESTS_MAX: usize = 64;
/// Most publications that are folded before anyone else gets a turn.
const BATCH: usize = 1_024;
/// How often other nodes hear that somebody still looks. Without viewers, the board shows this node only.
const WIDEN_EVERY: Duration = Duration::from_secs(5);

/// The way to the board.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    requests: mpsc::Sender<Request>,
}

/// What is asked of the board.
#[derive(Debug)]
enum Request {
    /// All of it, and what follows.
    Feed(oneshot::Sender<Feed>),
    /// The first marks that all of these words name.
    Find { words: Vec<String>, most: usize, found: oneshot::Sender<Vec<Mark>> },
}

/// What a new viewer gets.
#[derive(Debug)]
pub(crate) struct Feed {
    /// Everything, in as many frames as it takes.
    pub(crate) full: Vec<frame::Board>,
    /// Every change since. Closed, or lagging: ask for a new feed.
    pub(crate) diffs: broadcast::Receiver<Arc<frame::Board>>,
}

impl Live {
    /// Starts to fold and to tell, until `stop`.
    pub(super) fn start(
        system: System,
        every: Duration,
        attendance: Arc<Attendance>,
        stop: CancellationToken,
    ) -> Self {
        let (requests, receiver) = mpsc::channel(REQUESTS_MAX);
        tokio::spawn(run(system, every, attendance, receiver, stop));
        Self { requests }
    }

    /// Everything and what follows; nothing if too many are asking.
    pub(crate) async fn feed(&self) -> Option<Feed> {
        let (reply, feed) = oneshot::channel();
        self.requests.try_send(Request::Feed(reply)).ok()?;
        feed.await.ok()
    }

    /// At most so many marks that all of these words name, in small letters; nothing if too many are asking.
    pub(super) async fn find(&self, words: Vec<String>, most: usize) -> Option<Vec<Mark>> {
        let (found, marks) = oneshot::channel();
        self.requests.try_send(Request::Find { words, most, found }).ok()?;
        marks.await.ok()
    }
}

async fn run(
    system: System,
    every: Duration,
    attendance: Arc<Attendance>,
    mut requests: mpsc::Receiver<Request>,
    stop: CancellationToken,
) {
    let mut ticks = interval_at(Instant::now() + every, every);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut widen = interval_at(Instant::now() + WIDEN_EVERY, WIDEN_EVERY);
    widen.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut batch: Vec<Published> = Vec::new();
    let mut n_attended = 0;
    loop {
        // A board that could not keep up has missed something: start again, and so must its viewers.
        let mut board = Board::new();
        let mut published = system.board();
        let (diffs, _) = broadcast::channel(DIFFS_MAX);
        // What other nodes last said may be long ago: the first viewer gets a new board.
        let mut is_wide = false;
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                n = published.recv_many(&mut batch, BATCH) => {
                    if n == 0 {
                        warn!("the board could not keep up and starts again");
                        tokio::time::sleep(every).await;
                        break;
                    }
                    for published in batch.drain(..) {
                        board.hear(published);
                    }
                }
                _ = ticks.tick() => {
                    // Each session adds to a diff who has which job open.
                    let n = attendance.n_changes();
                    if n != n_attended {
                        n_attended = n;
                        board.speak();
                    }
                    for diff in board.diff(system.now()) {
                        // Nobody may be watching, and that is fine.
                        let _n_viewers = diffs.send(Arc::new(diff));
                    }
                }
                _ = widen.tick(), if is_wide => {
                    if diffs.receiver_count() == 0 {
                        break;
                    }
                    system.widen_boards();
                }
                Some(request) = requests.recv() => {
                    if !is_wide {
                        is_wide = system.cluster_size() > 1;
                        system.widen_boards();
                    }
                    // Whoever asked may have left meanwhile.
                    match request {
                        Request::Feed(reply) => {
                            let full = board.full(system.now());
                            drop(reply.send(Feed { full, diffs: diffs.subscribe() }));
                        }
                        Request::Find { words, most, found } => {
                            drop(found.send(board.find(&words, most)));
                        }
                    }
                }
            }
        }
    }
}
