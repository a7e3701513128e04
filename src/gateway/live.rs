//! One board for all dispatchers: folds what entities publish, and tells every viewer twice a second.
//!
//! ```text
//! entities ──► Board ── diff ──► broadcast ──► sessions
//!                └── full ──► a session that has just come, or was too slow
//! ```
//!
//! While nobody looks, the board is told of events only, and not of what is merely seen: where drivers are is asked once
//! somebody begins to look.

use super::{attendance::Attendance, limits::Rate, scope::place_of, unavailable};
use crate::auth::scope::Scope;
use actors::{
    EntityKey,
    board::{Board, Found},
    runtime::{Published, System},
};
use protocol::{Code, Refused, frame, view::Mark};
use std::{collections::VecDeque, sync::Arc, time::Duration};
use tokio::{
    sync::{broadcast, mpsc, oneshot},
    time::{Instant, MissedTickBehavior, interval_at, sleep_until, timeout_at},
};
use tokio_util::sync::CancellationToken;
use tracing::warn;

/// Most diffs that wait for one slow viewer; one further behind starts again from a full board.
const DIFFS_MAX: usize = 32;
/// Most viewers that wait for a full board.
const REQUESTS_MAX: usize = 64;
/// Most publications that are folded before anyone else gets a turn.
const BATCH: usize = 1_024;
/// What is published within so long is folded together: to be woken for each position would cost more than to fold it.
const FOLD_EVERY: Duration = Duration::from_millis(20);
/// How often other nodes hear that the board is still wanted. One that is not shows this node only.
const WIDEN_EVERY: Duration = Duration::from_secs(5);
/// For how long it is wanted after somebody last looked at it, or searched it.
const WANTED_FOR: Duration = Duration::from_secs(30);
/// Other nodes that were not asked for so long tell nothing any more.
const UNTOLD_AFTER: Duration = Duration::from_secs(16);
/// How long it may take until a board has all that it was to be told.
const TOLD_WITHIN: Duration = Duration::from_secs(1);
/// How many searches there may be, a second and at once: each looks at everybody.
const SEARCHES: (u32, u32) = (10, 20);

/// The way to the board.
#[derive(Debug, Clone)]
pub(crate) struct Live {
    requests: mpsc::Sender<Request>,
    searches: Arc<Rate>,
}

/// What is asked of the board.
#[derive(Debug)]
enum Request {
    /// All of it, and what follows.
    Feed(oneshot::Sender<Feed>),
    /// The first marks behind one that all of these words name; or when to ask again, if not everybody is there yet.
    Find {
        words: Arc<[String]>,
        most: usize,
        after: Option<EntityKey>,
        found: oneshot::Sender<Result<Found, Instant>>,
    },
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
        let (per_s, burst) = SEARCHES;
        Self { requests, searches: Arc::new(Rate::new(per_s, burst)) }
    }

    /// Everything and what follows; nothing if too many are asking.
    pub(crate) async fn feed(&self) -> Option<Feed> {
        let (reply, feed) = oneshot::channel();
        self.requests.try_send(Request::Feed(reply)).ok()?;
        feed.await.ok()
    }

    /// At most so many marks in these regions, whichever node has them, that all of these words name, in small letters.
    ///
    /// # Errors
    /// `busy`: too many are searching. `unavailable`: too many are asking.
    pub(super) async fn find(
        &self,
        words: Vec<String>,
        most: usize,
        scope: &Scope,
    ) -> Result<Vec<Mark>, Refused> {
        self.searches.check().map_err(busy)?;
        let words: Arc<[String]> = words.into();
        let (mut marks, mut after) = (Vec::new(), None);
        while marks.len() < most {
            let (found, answer) = oneshot::channel();
            // Those of elsewhere are not asked for one by one, but all that the board looks at in one go.
            let most = if scope.is_everywhere() { most - marks.len() } else { usize::MAX };
            let words = Arc::clone(&words);
            let request = Request::Find { words, most, after, found };
            self.requests.try_send(request).ok().ok_or_else(unavailable)?;
            match answer.await.ok().ok_or_else(unavailable)? {
                Ok(found) => {
                    let within = found.marks.into_iter();
                    marks.extend(within.filter(|mark| scope.contains(place_of(mark))));
                    after = found.up_to;
                    if after.is_none() {
                        break;
                    }
                }
                Err(told_at) => sleep_until(told_at).await,
            }
        }
        marks.truncate(most);
        Ok(marks)
    }
}

fn busy(wait: Duration) -> Refused {
    let ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX).max(1);
    Refused::new(Code::Busy, "too many are searching").retry_after_ms(ms)
}

/// How far a board reaches: as long as nobody asks other nodes, it shows its own, and as long as nobody looks at it, what
/// events say of that.
#[derive(Debug)]
struct Reach {
    /// When others were last asked to tell what they have.
    asked_at: Option<Instant>,
    /// When all that it was to be told is there.
    told_at: Instant,
    /// When somebody last looked at it, or searched it.
    wanted_at: Instant,
    /// Is it told what is merely seen on this node?
    is_looked_at: bool,
    /// Cancelled once all of this node have told how they are now; none if they have.
    telling: Option<CancellationToken>,
    /// Who has not by then is not waited for.
    fresh_at: Instant,
}

impl Reach {
    /// That of a board which begins now.
    fn new(now: Instant, is_looked_at: bool, telling: CancellationToken) -> Self {
        let told_at = now + TOLD_WITHIN;
        Self {
            asked_at: None,
            told_at,
            wanted_at: now,
            is_looked_at,
            telling: Some(telling),
            fresh_at: told_at,
        }
    }

    /// Somebody wants it; does it have to be told what is seen from now on?
    fn is_found(&mut self, now: Instant) -> bool {
        self.wanted_at = now;
        let is_first = !std::mem::replace(&mut self.is_looked_at, true);
        if is_first {
            self.fresh_at = now + TOLD_WITHIN;
        }
        is_first
    }

    /// Returns once all of this node have told how they are, or had the time to.
    async fn told(&self) {
        if let Some(telling) = &self.telling {
            timeout_at(self.fresh_at, telling.cancelled()).await.ok();
        }
    }

    /// Does it show everybody? If not yet, when to ask again.
    fn is_whole(&self, now: Instant) -> Result<(), Instant> {
        if self.telling.is_some() {
            return Err(self.told_at.max(now + FOLD_EVERY));
        }
        if now < self.told_at { Err(self.told_at) } else { Ok(()) }
    }

    /// Has nobody wanted it for so long that it need not be told any more?
    fn is_forgotten(&mut self, now: Instant) -> bool {
        let is_over = self.is_looked_at && now >= self.wanted_at + WANTED_FOR;
        self.is_looked_at &= !is_over;
        is_over
    }

    /// Somebody wants it; are others to tell everything for that? Those that were asked a moment ago just go on.
    fn begins(&mut self, now: Instant) -> bool {
        let begins = self.asked_at.is_none_or(|at| now >= at + 2 * WIDEN_EVERY);
        if begins {
            (self.asked_at, self.told_at) = (Some(now), now + TOLD_WITHIN);
        }
        begins
    }

    /// Are others to go on?
    fn goes_on(&mut self, now: Instant) -> bool {
        let goes_on = self.asked_at.is_some() && now < self.wanted_at + WANTED_FOR;
        if goes_on {
            self.asked_at = Some(now);
        }
        goes_on
    }

    /// Does it show what others have had, and nobody says whether it is still so?
    fn is_past(&self, now: Instant) -> bool {
        self.asked_at.is_some_and(|at| now >= at + UNTOLD_AFTER)
    }
}

/// Somebody wants the board.
fn widen(reach: &mut Reach, system: &System) {
    let now = Instant::now();
    if reach.is_found(now) {
        reach.telling = Some(system.look_at_boards());
    }
    if system.cluster_size() > 1 && reach.begins(now) {
        system.widen_new_board();
    }
}

/// Folds what was published until now: what is told next is to be true. Was that all of it?
fn fold(board: &mut Board, published: &mut mpsc::Receiver<Published>) -> bool {
    // What is published meanwhile is for the next time, and a crowd of it for its turn.
    let n_waiting = published.len();
    for _ in 0..n_waiting.min(8 * BATCH) {
        let Ok(published) = published.try_recv() else { break };
        board.hear(published);
    }
    n_waiting <= 8 * BATCH
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
    let mut looks = interval_at(Instant::now() + WIDEN_EVERY, WIDEN_EVERY);
    looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut batch: Vec<Published> = Vec::new();
    let mut n_attended = 0;
    // They wait for a board that shows how it is now.
    let mut viewers: VecDeque<oneshot::Sender<Feed>> = VecDeque::new();
    let mut is_looked_at = false;
    loop {
        // A board that could not keep up has missed something: start again, and so must its viewers.
        let mut board = Board::new();
        let (mut published, telling) = system.board(is_looked_at);
        let (diffs, _) = broadcast::channel(DIFFS_MAX);
        let mut reach = Reach::new(Instant::now(), is_looked_at, telling);
        let mut folds_at = Instant::now();
        loop {
            tokio::select! {
                () = stop.cancelled() => return,
                n = async {
                    sleep_until(folds_at).await;
                    published.recv_many(&mut batch, BATCH).await
                } => {
                    if n == 0 {
                        warn!("the board could not keep up and starts again");
                        tokio::time::sleep(every).await;
                        break;
                    }
                    if n < BATCH {
                        folds_at = Instant::now() + FOLD_EVERY;
                    }
                    for published in batch.drain(..) {
                        board.hear(published);
                    }
                }
                _ = ticks.tick() => {
                    fold(&mut board, &mut published);
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
                _ = looks.tick() => {
                    if diffs.receiver_count() > 0 {
                        widen(&mut reach, &system);
                    }
                    let now = Instant::now();
                    if reach.is_forgotten(now) {
                        system.look_away();
                    }
                    if reach.goes_on(now) {
                        system.widen_boards();
                    } else if reach.is_past(now) {
                        break;
                    }
                }
                Some(request) = requests.recv(), if viewers.len() < REQUESTS_MAX => {
                    fold(&mut board, &mut published);
                    widen(&mut reach, &system);
                    match request {
                        Request::Feed(reply) => viewers.push_back(reply),
                        Request::Find { words, most, after, found } => {
                            let search = |()| board.find(&words, most, after);
                            // Whoever asked may have left meanwhile.
                            drop(found.send(reach.is_whole(Instant::now()).map(search)));
                        }
                    }
                }
                // What they told has to be heard, too; of a crowd, some at a time.
                () = reach.told(), if reach.telling.is_some() => {
                    if fold(&mut board, &mut published) {
                        reach.telling = None;
                    }
                }
                // One at a time: all of the board is much.
                Some(viewer) = async { viewers.pop_front() }, if reach.telling.is_none() => {
                    fold(&mut board, &mut published);
                    let full = board.full(system.now());
                    drop(viewer.send(Feed { full, diffs: diffs.subscribe() }));
                }
            }
        }
        is_looked_at = reach.is_looked_at;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    /// A board that nobody looks at.
    fn quiet(now: Instant) -> Reach {
        Reach::new(now, false, CancellationToken::new())
    }

    #[test]
    fn others_tell_a_board_for_as_long_as_it_is_wanted_and_then_it_is_over() {
        let now = Instant::now();
        let mut reach = quiet(now);
        assert!(!reach.goes_on(now) && !reach.is_past(now + secs(999)), "it has its own only");
        let at = now + secs(100);
        assert!(reach.is_found(at) && reach.begins(at));
        assert_eq!(reach.told_at, at + TOLD_WITHIN);
        for s in [5, 10, 15, 20, 25] {
            assert!(reach.goes_on(at + secs(s)), "{s}");
        }
        assert!(!reach.goes_on(at + secs(30)) && !reach.is_past(at + secs(30)));
        assert!(reach.is_past(at + secs(25) + UNTOLD_AFTER));
    }

    #[test]
    fn nobody_tells_a_board_what_is_seen_unless_it_was_wanted_a_moment_ago() {
        let now = Instant::now();
        let mut reach = quiet(now);
        assert!(!reach.is_forgotten(now + secs(999)), "nobody has looked at it");
        let at = now + secs(1_000);
        assert!(reach.is_found(at));
        assert_eq!(reach.fresh_at, at + TOLD_WITHIN);
        assert!(!reach.is_found(at + secs(20)), "it is told already");
        assert_eq!(reach.fresh_at, at + TOLD_WITHIN);
        assert!(!reach.is_forgotten(at + secs(49)));
        assert!(reach.is_forgotten(at + secs(50)));
        assert!(!reach.is_forgotten(at + secs(51)), "once");
        assert!(reach.is_found(at + secs(60)));
    }

    #[test]
    fn a_search_waits_for_everybody_of_this_node_and_at_first_for_others() {
        let now = Instant::now();
        let mut reach = quiet(now);
        assert_eq!(reach.is_whole(now), Err(now + TOLD_WITHIN));
        let at = now + secs(60);
        assert_eq!(reach.is_whole(at), Err(at + FOLD_EVERY), "somebody has not told yet");
        reach.telling = None;
        assert_eq!(reach.is_whole(at), Ok(()));
    }

    #[test]
    fn who_wants_it_while_others_tell_it_need_not_wait_and_who_comes_later_must() {
        let now = Instant::now();
        let mut reach = quiet(now);
        assert!(reach.begins(now));
        assert!(!reach.begins(now + secs(3)));
        assert!(reach.goes_on(now + secs(5)));
        assert!(!reach.begins(now + secs(14)));
        assert_eq!(reach.told_at, now + TOLD_WITHIN);
        // Others may have stopped.
        let late = now + secs(5) + 2 * WIDEN_EVERY;
        assert!(reach.begins(late));
        assert_eq!(reach.told_at, late + TOLD_WITHIN);
    }
}
