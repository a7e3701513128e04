//! What a session says: answers, pushes, and what becomes of its own rider or driver.

use super::{
    Deed, End, Flow, Session, close,
    outlook::{Diffs, Outlook, is_quiet},
    regional::Regional,
    replay::{Room, is_lasting},
};
use crate::gateway::{
    follow::Follow,
    live::Feed,
    translate::{News, Release},
};
use actors::{EntityKey, Kind};
use futures_util::FutureExt;
use protocol::{
    Code, CommandId, JobId, OfferId, OfferStatus, Principal, Refused, RunId,
    frame::{FRAME_BYTES_MAX, Outcome, Push, ServerFrame, Topic},
    view::{DriverView, Offer},
};
use std::{sync::Arc, time::Duration};
use tokio::{sync::broadcast::error::RecvError, time::Instant};

/// How long a client that acknowledges nothing should wait before it comes back.
const UNACKNOWLEDGED_MS: u64 = 1_000;

impl Session {
    pub(super) fn say(&mut self, frame: &ServerFrame) -> Flow {
        self.said_at = Instant::now();
        let Some(message) = self.socket.encode(frame) else { return Ok(()) };
        self.tap_said(&message);
        self.replay.said(Some(&message).filter(|_| is_lasting(frame)), self.room());
        Ok(self.socket.say(message)?)
    }

    /// Most that is kept to be said again.
    pub(super) fn room(&self) -> Room {
        let limits = &self.gate.session;
        Room { frames: limits.replay_max, bytes: limits.replay_bytes_max }
    }

    pub(super) fn hello(&mut self) -> Flow {
        let limits = &self.gate.session;
        let ms = |it: Duration| u64::try_from(it.as_millis()).unwrap_or(u64::MAX);
        let few = |it: usize| u32::try_from(it).unwrap_or(u32::MAX);
        let hello = ServerFrame::Hello {
            session: self.id,
            server_time: self.gate.system.now(),
            heartbeat_ms: ms(limits.heartbeat),
            frame_bytes_max: few(FRAME_BYTES_MAX),
            frames_per_s: limits.frames_per_s,
            commands_per_s: limits.commands_per_s,
            commands_max: limits.inflight_max.into(),
            topics_max: few(limits.topics_max),
            resume_ms: ms(self.gate.known.within()),
        };
        self.say(&hello)
    }

    pub(super) fn refuse(&mut self, refused: Refused) -> Flow {
        self.say(&ServerFrame::Refused(refused))
    }

    pub(super) fn answer(&mut self, id: CommandId, outcome: Outcome) -> Flow {
        self.say(&ServerFrame::Result { id, outcome })
    }

    /// Keeps all of them to be said again before it says the first: there may be no room for the others.
    pub(super) fn push_all(&mut self, pushes: Vec<Push>) -> Flow {
        let again_at = Instant::now() + self.gate.session.push_again;
        let is_news = !pushes.is_empty();
        let frames: Vec<_> =
            pushes.into_iter().map(|push| self.pushes.add(push, again_at)).collect();
        if is_news && self.pushes.are_too_many() {
            let refused = Refused::new(Code::Busy, "too many pushes are not acknowledged");
            let refused = refused.retry_after_ms(UNACKNOWLEDGED_MS);
            let may_resume = self.pushes.may_be_kept();
            return Err(End { may_resume, ..End::because(close::TRY_LATER, refused) });
        }
        frames.iter().try_for_each(|frame| self.say(frame))
    }

    /// Follows one's own jobs and pushes what a driver must know.
    pub(super) fn became(&mut self, key: EntityKey, news: &News) -> Flow {
        let Some(by) = self.who() else { return Ok(()) };
        let has_had_its_say =
            |follow: &Follow| follow.watch.as_ref().is_some_and(|watch| watch.has_had_its_say(by));
        if key.kind == Kind::Incident
            && self.follows.iter().any(|follow| follow.key == key && has_had_its_say(follow))
        {
            // Nothing but an end and what staff write down comes of it now.
            self.unfollow_own(key);
        }
        let is_self = match by {
            Principal::Rider(id) => key == id.into(),
            Principal::Driver(id) => key == id.into(),
            Principal::Merchant(_)
            | Principal::Dispatcher
            | Principal::Admin
            | Principal::System => false,
        };
        let follow = self.follows.iter().find(|follow| follow.key == key);
        let Some(watch) = follow.filter(|_| is_self).and_then(|follow| follow.watch.as_ref())
        else {
            return Ok(());
        };
        match watch.frame(by) {
            Some(ServerFrame::Rider(view)) => {
                self.follow_jobs(&view.jobs);
                self.jobs = view.jobs;
                self.push_all(messages(news))
            }
            Some(ServerFrame::Driver(view)) => {
                let said = |offer| news.ended.iter().rfind(|(id, _)| *id == offer).map(|it| it.1);
                let how = |offer| watch.ended_offer(offer).or_else(|| said(offer));
                let ended = self.offers.iter().map(|(offer, _)| (*offer, how(*offer))).collect();
                let drove = self.drove(&view, ended, &news.released);
                // These are kept, too, if it was too much.
                let told = self.push_all(messages(news));
                drove.and(told)
            }
            Some(_) | None => Ok(()),
        }
    }

    pub(super) fn follow_jobs(&mut self, jobs: &[JobId]) {
        if jobs.iter().any(|job| !self.jobs.contains(job)) {
            self.present_at = None;
        }
        for job in jobs {
            self.follow_own((*job).into());
        }
        for job in std::mem::take(&mut self.jobs) {
            if !jobs.contains(&job) {
                self.unfollow_own(job.into());
            }
        }
    }

    /// A driver sees the sequence of its run without asking.
    fn follow_run(&mut self, run: Option<RunId>) {
        let run = run.map(EntityKey::from);
        let is_own = |it: &&Follow| it.key.kind == Kind::Run && it.wants.own && !it.is_leaving();
        let had: Vec<EntityKey> = self.follows.iter().filter(is_own).map(|it| it.key).collect();
        for key in run.into_iter().filter(|key| !had.contains(key)) {
            self.follow_own(key);
        }
        for key in had.into_iter().filter(|key| Some(*key) != run) {
            self.unfollow_own(key);
        }
    }

    pub(super) fn drove(
        &mut self,
        view: &DriverView,
        ended: Vec<(OfferId, Option<OfferStatus>)>,
        released: &[Release],
    ) -> Flow {
        let told = std::mem::take(&mut self.offers);
        let mut pushes = Vec::new();
        let is_open = |id: OfferId| view.offers.iter().any(|offer| offer.id == id);
        for (offer, job) in told.iter().copied().filter(|(offer, _)| !is_open(*offer)) {
            self.pushes.void(offer);
            let status = ended.iter().find(|(id, _)| *id == offer).and_then(|(_, status)| *status);
            match status.map(|status| Push::OfferEnded { offer, status }) {
                // Of a run it is said once, not of each job.
                Some(push) if pushes.last() == Some(&push) => {}
                Some(push) => pushes.push(push),
                None => self.accepting.push((offer, job)),
            }
        }
        let each = |offer: &Offer| offer.jobs().map(|job| (offer.id, job)).collect::<Vec<_>>();
        self.offers = view.offers.iter().flat_map(each).collect();
        let is_told = |id: OfferId| told.iter().any(|(told, _)| *told == id);
        let new = view.offers.iter().filter(|offer| !is_told(offer.id));
        pushes.extend(new.cloned().map(Push::Offer));

        self.follow_run(view.run);
        let had = self.jobs.clone();
        self.follow_jobs(&view.jobs);
        self.jobs.clone_from(&view.jobs);
        for job in view.jobs.iter().copied().filter(|job| !had.contains(job)) {
            // Of a run one job is enough to know that the offer came in time.
            let won = self.accepting.iter().find(|(_, accepted)| *accepted == job).map(|it| it.0);
            self.accepting.retain(|(offer, _)| Some(*offer) != won);
            pushes.push(Push::Assigned { job });
        }
        for job in had.iter().copied().filter(|job| !view.jobs.contains(job)) {
            let why = released.iter().find(|it| it.job == job);
            let reason = why.map_or_else(String::new, |it| it.reason.clone());
            pushes.push(Push::Released { job, reason });
        }
        let was_offered = |job: JobId| self.accepting.iter().any(|(_, accepted)| *accepted == job);
        // What came and went while nobody looked was no claim.
        let claimed = released.iter().filter(|it| it.is_claim && !had.contains(&it.job));
        for Release { job, reason, .. } in claimed.filter(|it| !was_offered(it.job)) {
            pushes.push(Push::ClaimLost { job: *job, reason: reason.clone() });
        }
        // Of what became its own and ended while nobody looked, one push is enough, and the last reason.
        let is_unseen =
            |it: &&Release| !it.is_claim && !had.contains(&it.job) && !view.jobs.contains(&it.job);
        for Release { job, reason, .. } in released.iter().rev().filter(is_unseen) {
            let is_told =
                |push: &Push| matches!(push, Push::Released { job: told, .. } if told == job);
            if !pushes.iter().any(is_told) {
                pushes.push(Push::Released { job: *job, reason: reason.clone() });
            }
            // Unless it had said yes to another offer of it before, and lost that.
            if !released.iter().any(|it| it.is_claim && it.job == *job) {
                self.accepting.retain(|(_, accepted)| accepted != job);
            }
        }
        let is_released = |job: JobId| released.iter().any(|it| it.job == job);
        let mut lost: Vec<OfferId> =
            self.accepting.extract_if(.., |(_, job)| is_released(*job)).map(|it| it.0).collect();
        lost.dedup();
        lost.retain(|offer| self.accepting.iter().all(|(left, _)| left != offer));
        pushes.extend(
            lost.into_iter().map(|offer| Push::OfferEnded { offer, status: OfferStatus::Lost }),
        );
        self.push_all(pushes)
    }

    /// Asks for all of the board. One answer is for everything that is followed by then.
    pub(super) fn feed(&mut self) {
        if std::mem::replace(&mut self.is_feeding, true) {
            return;
        }
        let live = self.gate.live.clone();
        self.doing.push(async move { Deed::Fed(live.feed().await) }.boxed());
    }

    pub(super) fn fed(&mut self, feed: Option<Feed>) -> Flow {
        self.is_feeding = false;
        if !self.wants_diffs() {
            return Ok(());
        }
        let Some(Feed { full, diffs }) = feed else {
            if self.gate.drain.is_cancelled() {
                // There is no board any more, and soon no session.
                return Ok(());
            }
            self.diffs = None;
            let board = std::mem::take(&mut self.wants_board).then_some(Topic::Board);
            let regions = std::mem::take(&mut self.regions);
            let viewport = self.overview.take().map(|it| Topic::Viewport(it.viewport()));
            let refused = Refused::new(Code::Busy, "too many viewers").retry_after_ms(1_000);
            let regions = regions.iter().map(Regional::topic);
            for topic in board.into_iter().chain(regions).chain(viewport) {
                self.say(&ServerFrame::Unsubscribed { topic, refused: refused.clone() })?;
            }
            return Ok(());
        };
        self.diffs = Some(Box::new(Diffs { changes: diffs, outlook: Outlook::default() }));
        let full = self.full_within(full);
        let regions: Vec<_> = self.regions.iter_mut().flat_map(|it| it.full(&full)).collect();
        let seen = self.overview.as_mut().map(|it| it.full(&full, &self.gate.attendance));
        if self.wants_board {
            for board in full {
                self.say(&ServerFrame::Board(Box::new(board)))?;
            }
        }
        for mut board in seen.into_iter().flatten() {
            self.attending_within(&mut board);
            self.say(&ServerFrame::Board(Box::new(board)))?;
        }
        regions.into_iter().try_for_each(|it| self.say(&ServerFrame::Region(Box::new(it))))
    }

    pub(super) fn board(&mut self, diff: Result<Arc<protocol::frame::Board>, RecvError>) -> Flow {
        match diff {
            Ok(board) => {
                let board = self.diff_within(board);
                // Of some regions most of what changes is elsewhere.
                let is_elsewhere = !self.scope().is_everywhere() && is_quiet(&board);
                let regions: Vec<_> =
                    self.regions.iter_mut().filter_map(|it| it.diff(&board)).collect();
                let attendance = &self.gate.attendance;
                let overview = self.overview.as_mut();
                let overview = overview.filter(|it| !is_elsewhere || it.has_news(attendance));
                let seen = overview.map(|it| it.diff(&board, attendance));
                if let Some(mut board) = seen {
                    self.attending_within(&mut board);
                    self.say(&ServerFrame::Board(Box::new(board)))?;
                }
                if self.wants_board && !is_elsewhere {
                    self.say(&ServerFrame::Board(Box::new(Arc::unwrap_or_clone(board))))?;
                }
                regions.into_iter().try_for_each(|it| self.say(&ServerFrame::Region(Box::new(it))))
            }
            Err(RecvError::Lagged(_) | RecvError::Closed) => {
                self.diffs = None;
                self.feed();
                Ok(())
            }
        }
    }
}

/// What staff wrote, to be pushed.
fn messages(news: &News) -> Vec<Push> {
    news.messages.iter().cloned().map(Push::Message).collect()
}
