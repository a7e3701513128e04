//! What a dispatcher of some regions is told of them, and no more: of the board what is in them, of what it follows as long as
//! that is.
//!
//! ```text
//! a change ──► does what would be said say itself that it is within? ── yes ──► said
//!                    └── no ──► asked: where is it, where is its driver? ── within ──► said
//!                                                                         └── outside ──► not found
//! ```
//!
//! Everybody else is past all of this: to whom everything may be told, nothing is asked.

use super::{Deed, Flow, Session, outlook::Outlook};
use crate::{
    auth::scope::Scope,
    gateway::{follow::Follow, scope::says_within},
};
use actors::{EntityKey, Kind};
use futures_util::FutureExt;
use protocol::{
    Code, Refused,
    frame::{Board, ServerFrame},
};
use std::{mem, sync::Arc, time::Duration};
use tokio::time::{Instant, sleep};

/// How long to wait before asking again where something is.
const ASK_AGAIN_AFTER: Duration = Duration::from_secs(1);
/// Most events that wait until it is known whether they may be told; what is left out, the state says.
const UNTOLD_MAX: usize = 64;

/// Of something that is followed, what may be told once it is known where it is.
#[derive(Debug, Default)]
pub(crate) struct Untold {
    /// Somebody asks.
    is_asked: bool,
    /// Something became of it since, so that the answer may be of what it was.
    is_newer: bool,
    /// The names of events that led to its state.
    events: Vec<String>,
}

impl Session {
    /// Shows what is followed as it is now, if that is in its regions.
    pub(super) fn show(&mut self, key: EntityKey, events: Vec<String>) -> Flow {
        let scope = self.scope();
        if scope.is_everywhere() {
            return self.show_at_once(key, events);
        }
        if self.follow_of(key).is_some_and(|follow| follow.says_within(&scope)) {
            let events = [self.untold(key), events].concat();
            return self.show_at_once(key, events);
        }
        self.judge(key, events, Duration::ZERO);
        Ok(())
    }

    /// May it be told at once that something was seen so? If not, it is asked where that is.
    pub(super) fn may_sight(&mut self, key: EntityKey, frame: &ServerFrame) -> bool {
        let scope = self.scope();
        // A driver is where it was seen last. Of a job, its pickup stays where it is.
        let is_job = matches!(key.kind, Kind::Order | Kind::Rescue);
        let is_home =
            || is_job && self.follow_of(key).is_some_and(|follow| follow.says_within(&scope));
        if scope.is_everywhere() || says_within(&scope, frame) || is_home() {
            return true;
        }
        self.judge(key, Vec::new(), Duration::ZERO);
        false
    }

    /// Asks whether something that is followed is in its regions.
    fn judge(&mut self, key: EntityKey, mut events: Vec<String>, after: Duration) {
        let scope = self.scope();
        let Some(follow) = self.follows.iter_mut().find(|follow| follow.key == key) else { return };
        if follow.watch.is_none() {
            // Once it is there, it is asked.
            return;
        }
        let untold = follow.untold.get_or_insert_with(Box::<Untold>::default);
        untold.events.append(&mut events);
        untold.events.truncate(UNTOLD_MAX);
        untold.is_newer = mem::replace(&mut untold.is_asked, true);
        if untold.is_newer {
            return;
        }
        let gate = Arc::clone(&self.gate);
        let judged = async move {
            if !after.is_zero() {
                sleep(after).await;
            }
            let judged = gate.is_within(key, &scope).await;
            Deed::Judged { key, scope, judged }
        };
        self.doing.push(judged.boxed());
    }

    /// It is known where that is.
    pub(super) fn judged(
        &mut self,
        key: EntityKey,
        scope: &Scope,
        judged: Result<bool, Refused>,
    ) -> Flow {
        let Some(follow) = self.follows.iter_mut().find(|follow| follow.key == key) else {
            return Ok(());
        };
        let is_newer = follow.untold.as_mut().is_some_and(|untold| {
            untold.is_asked = false;
            mem::take(&mut untold.is_newer)
        });
        let is_home = follow.says_within(scope);
        if *scope != self.scope() {
            // Its token is another one by now.
            return self.show(key, Vec::new());
        }
        match judged {
            Ok(_) if is_newer || is_home => self.show(key, Vec::new()),
            Ok(true) => {
                let events = self.untold(key);
                self.show_at_once(key, events)
            }
            Ok(false) => self.end_topics(key, false),
            Err(refused) if refused.code == Code::NotFound => self.end_topics(key, false),
            Err(_unavailable) => {
                self.judge(key, Vec::new(), ASK_AGAIN_AFTER);
                Ok(())
            }
        }
    }

    /// Its token names other regions than the one before: what is not in them any more is told no longer.
    pub(super) fn looks_elsewhere(&mut self) -> Flow {
        // Nor is it told again: who has not heard all that was said until now begins anew.
        self.replay.heard(self.replay.n_said());
        let now = Instant::now();
        for follow in &mut self.follows {
            follow.sighted = None;
            follow.near = None;
            // What was told is known still, and told again by nobody; whether more may be told is judged first.
            if let Some(prospect) = &mut follow.prospect {
                prospect.withhold();
            }
            follow.others.are(Vec::new(), now);
        }
        if let Some(overview) = &mut self.overview {
            overview.attend_anew();
        }
        if self.wants_diffs() {
            // What is said of the board until all of it comes would be of what was told before.
            self.diffs = None;
            self.feed();
        }
        let keys: Vec<EntityKey> = self.follows.iter().map(|follow| follow.key).collect();
        keys.into_iter().try_for_each(|key| self.show(key, Vec::new()))
    }

    /// All of everybody's board, as far as it is told of it.
    pub(super) fn full_within(&mut self, board: Vec<Board>) -> Vec<Board> {
        let scope = self.scope();
        if scope.is_everywhere() {
            return board;
        }
        match &mut self.diffs {
            Some(diffs) => diffs.outlook.full(&scope, board),
            None => Vec::new(),
        }
    }

    /// What changed of it.
    pub(super) fn diff_within(&mut self, board: Arc<Board>) -> Arc<Board> {
        let scope = self.scope();
        if scope.is_everywhere() {
            return board;
        }
        Arc::new(match &mut self.diffs {
            Some(diffs) => diffs.outlook.diff(&scope, &board),
            None => Outlook::default().diff(&scope, &board),
        })
    }

    /// Of those who have jobs open, who has one that it knows.
    pub(super) fn attending_within(&self, board: &mut Board) {
        if self.scope().is_everywhere() {
            return;
        }
        if let (Some(attending), Some(diffs)) = (&mut board.attending, &self.diffs) {
            // Not of those who are told to others: there is room for few.
            *attending = self.gate.attendance.among(|it| diffs.outlook.knows(it));
        }
    }

    fn follow_of(&self, key: EntityKey) -> Option<&Follow> {
        self.follows.iter().find(|follow| follow.key == key)
    }

    fn untold(&mut self, key: EntityKey) -> Vec<String> {
        let follow = self.follows.iter_mut().find(|follow| follow.key == key);
        let untold = follow.and_then(|follow| follow.untold.as_mut());
        untold.map_or_else(Vec::new, |untold| mem::take(&mut untold.events))
    }
}
