//! What a session follows: itself, its jobs, its topics, and how each is shown.

use super::{BUSY_MS, Deed, Flow, Session, URGENT_MAX, regional::Regional};
use crate::gateway::{
    follow::{self, Change, Follow},
    prospect::Told,
    translate::{self, Subject, not_found},
};
use actors::{EntityKey, Kind, Refusal};
use futures_util::FutureExt;
use protocol::{
    Code, DriverId, IncidentId, OrderId, Principal, Refused, RescueId, RunId,
    changes::Changed,
    frame::{ServerFrame, Topic},
};
use std::time::Duration;
use tokio::time::Instant;

/// How long a finished job is followed on, so that its last word is heard.
pub(super) const LAST_WORD: Duration = Duration::from_secs(1);

impl Session {
    /// The follow of `key`, begun if there is none.
    pub(super) fn follow(&mut self, key: EntityKey) -> &mut Follow {
        let index = match self.follows.iter().position(|follow| follow.key == key) {
            Some(index) => index,
            None => {
                // Most sessions follow one thing or two; a Vec would make room for four.
                self.follows.reserve_exact(1);
                self.follows.push(Follow::new(key));
                self.open(key, Duration::ZERO);
                self.follows.len() - 1
            }
        };
        &mut self.follows[index]
    }

    pub(super) fn open(&mut self, key: EntityKey, after: Duration) {
        let Some(by) = self.who() else { return };
        let follow = self.follows.iter().find(|follow| follow.key == key);
        let known = follow.filter(|it| it.wants.own).and_then(|it| it.known);
        let opening = follow::open(self.gate.system.clone(), key, by, after, known);
        self.doing.push(opening.map(move |opened| Deed::Opened(key, opened)).boxed());
    }

    pub(super) fn reopen(&mut self, key: EntityKey, why: Option<&Refusal>) {
        let follow = self.follows.iter_mut().find(|follow| follow.key == key);
        if let Some(after) = follow.map(|it| it.lost(why)) {
            // Thousands may have lost it at the same moment.
            self.open(key, after.mul_f32(rand::random_range(0.5..=1.0)));
        }
    }

    pub(super) fn follow_own(&mut self, key: EntityKey) {
        let follow = self.follow(key);
        follow.wants.own = true;
        follow.leave(None);
    }

    pub(super) fn unfollow_own(&mut self, key: EntityKey) {
        if let Some(follow) = self.follows.iter_mut().find(|follow| follow.key == key) {
            if follow.wants.topic || follow.wants.actor {
                follow.wants.own = false;
            } else {
                follow.leave(Some(Instant::now() + LAST_WORD));
            }
        }
    }

    pub(super) fn subscribe(&mut self, by: Principal, topic: Topic) -> Flow {
        let needs_staff =
            matches!(topic, Topic::Board | Topic::Region(_) | Topic::Viewport(_) | Topic::Actor(_));
        if needs_staff && !by.is_staff() {
            let refused = translate::forbidden("staff only");
            return self.say(&ServerFrame::Unsubscribed { topic, refused });
        }
        let subject = match translate::subject(&topic, by) {
            Ok(subject) => subject,
            Err(refused) => return self.say(&ServerFrame::Unsubscribed { topic, refused }),
        };
        let is_new = match subject {
            Subject::Board | Subject::Viewport(_) => true,
            Subject::Region(region) => self.regions.iter().all(|it| it.region() != region),
            Subject::Entity(key) => self.follows.iter().all(|follow| follow.key != key),
        };
        if is_new && self.doing.len() >= self.doing_max() {
            let refused = Refused::new(Code::Busy, "too much under way").retry_after_ms(BUSY_MS);
            return self.say(&ServerFrame::Unsubscribed { topic, refused });
        }
        let n_topics = self.follows.len() + self.regions.len();
        let is_one_of_many = match subject {
            Subject::Board | Subject::Viewport(_) => false,
            Subject::Region(_) | Subject::Entity(_) => is_new,
        };
        if is_one_of_many && n_topics >= self.gate.session.topics_max {
            let refused = Refused::new(Code::Busy, "too many topics");
            return self.say(&ServerFrame::Unsubscribed { topic, refused });
        }
        let key = match subject {
            Subject::Entity(key) => key,
            Subject::Board => {
                self.wants_board = true;
                self.feed();
                return Ok(());
            }
            Subject::Region(region) => {
                if is_new {
                    self.regions.push(Regional::new(region));
                }
                self.feed();
                return Ok(());
            }
            Subject::Viewport(viewport) => {
                self.look_at(viewport);
                self.feed();
                self.attend();
                return Ok(());
            }
        };
        let follow = self.follow(key);
        follow.stay();
        match topic {
            Topic::Actor(_) => follow.wants.actor = true,
            Topic::Me => follow.wants.own = true,
            Topic::Order(_)
            | Topic::Rescue(_)
            | Topic::Driver(_)
            | Topic::Incident(_)
            | Topic::Run(_)
            | Topic::Board
            | Topic::Region(_)
            | Topic::Viewport(_) => follow.wants.topic = true,
        }
        if follow.watch.is_some() {
            follow.shown = None;
            self.attend();
            return self.show(key, Vec::new());
        }
        self.attend();
        Ok(())
    }

    /// Most deeds under way before nothing more is followed: a topic that is left while it is being
    /// opened is still being opened.
    pub(super) fn doing_max(&self) -> usize {
        let limits = &self.gate.session;
        let n_commands = usize::from(limits.inflight_max) + usize::from(URGENT_MAX);
        // And of staff, that somebody calls for help.
        n_commands + limits.topics_max + 1
    }

    pub(super) fn unsubscribe(&mut self, by: Principal, topic: &Topic) {
        match translate::subject(topic, by) {
            Ok(Subject::Board) => self.wants_board = false,
            Ok(Subject::Region(region)) => self.regions.retain(|it| it.region() != region),
            Ok(Subject::Viewport(viewport)) => self.look_away(viewport),
            Ok(Subject::Entity(key)) => {
                for follow in self.follows.iter_mut().filter(|follow| follow.key == key) {
                    match topic {
                        Topic::Actor(_) => follow.wants.actor = false,
                        // That is told to whoever it is, asked for or not.
                        Topic::Me => {}
                        Topic::Order(_)
                        | Topic::Rescue(_)
                        | Topic::Driver(_)
                        | Topic::Incident(_)
                        | Topic::Run(_)
                        | Topic::Board
                        | Topic::Region(_)
                        | Topic::Viewport(_) => follow.wants.topic = false,
                    }
                }
                self.follows.retain(|follow| follow.wants.is_any());
                self.attend();
            }
            // What cannot be followed is not.
            Err(_) => {}
        }
        if !self.wants_diffs() {
            self.diffs = None;
        }
    }

    /// Is anything of the board followed?
    pub(super) fn wants_diffs(&self) -> bool {
        self.wants_board || !self.regions.is_empty() || self.overview.is_some()
    }

    pub(super) fn opened(&mut self, key: EntityKey, opened: follow::Opened) -> Flow {
        let follow::Opened { watch, news } = opened;
        let Some(follow) = self.follows.iter_mut().find(|follow| follow.key == key) else {
            return Ok(());
        };
        if follow.watch.is_some() {
            return Ok(());
        }
        follow.opened(watch);
        if !follow.exists() && !follow.wants.own {
            return self.drop_topics(key);
        }
        if let Some(by @ Principal::Driver(id)) = self.who()
            && key == id.into()
            && self.heard_at.elapsed() <= self.gate.session.heartbeat
        {
            self.sign_of_life(by);
        }
        let told = self.show(key, Vec::new());
        // What must arrive is kept to be said, also if there is no room to say it now.
        self.became(key, &news)?;
        told?;
        self.rest()
    }

    pub(super) fn changed(&mut self, key: EntityKey, change: Change) -> Flow {
        match change {
            Change::State { events, news } => {
                if let Some(follow) = self.follows.iter_mut().find(|follow| follow.key == key) {
                    follow.is_well();
                    // Whoever was seen may be nobody's business any more; the next sighting is judged anew.
                    follow.sighted = None;
                    if let Some(near) = &mut follow.near {
                        near.is_outdated();
                    }
                    follow.forget_who_came();
                    if let Some(prospect) = &mut follow.prospect {
                        prospect.is_outdated();
                    }
                }
                let told = self.show(key, events);
                self.became(key, &news)?;
                told
            }
            Change::Sighted(Some(frame @ ServerFrame::Presence { who, .. })) => {
                let mut follows = self.follows.iter_mut();
                let follow = follows.find(|follow| follow.key == key);
                let is_news = follow.is_some_and(|it| it.others.heard(who, Instant::now()));
                if is_news { self.say(&frame) } else { Ok(()) }
            }
            Change::Sighted(Some(frame @ ServerFrame::Near { .. })) => {
                let may_sight = self.may_sight(key, &frame);
                let mut follows = self.follows.iter_mut();
                let follow = follows.find(|follow| follow.key == key && may_sight);
                if let Some(follow) = follow {
                    follow.sees_near(frame);
                }
                Ok(())
            }
            Change::Sighted(Some(ServerFrame::Changed(
                changed @ (Changed::Order(_) | Changed::Rescue(_)),
            ))) => {
                let scope = self.scope();
                let follow = self.follows.iter_mut().find(|follow| follow.key == key);
                // Of what lies elsewhere, the next view says it.
                let is_within = |it: &&mut Follow| scope.is_everywhere() || it.says_within(&scope);
                if let Some(follow) = follow.filter(is_within) {
                    follow.expects(changed);
                }
                Ok(())
            }
            // There are few of these, and the next position, which does not say that, would take its place.
            Change::Sighted(Some(frame)) if is_about_doubt(&frame) => {
                let scope = self.scope();
                let follow = self.follows.iter().find(|follow| follow.key == key);
                let is_for = follow.is_some_and(|it| {
                    let is_within = scope.is_everywhere() || it.says_within(&scope);
                    is_within && it.wants.views() && it.is_shown()
                });
                if is_for { self.say(&frame) } else { Ok(()) }
            }
            Change::Sighted(frame) => {
                if frame.as_ref().is_some_and(|frame| !self.may_sight(key, frame)) {
                    return Ok(());
                }
                let follow = self.follows.iter_mut().find(|follow| follow.key == key);
                let is_for = |follow: &Follow| match &frame {
                    Some(ServerFrame::Changed(_)) => follow.wants.views() && follow.is_shown(),
                    Some(_) | None => true,
                };
                if let Some(follow) = follow.filter(|it| is_for(it))
                    && let Some(frame) = frame
                {
                    follow.sighted = Some(Box::new(frame));
                }
                Ok(())
            }
            Change::Lost => {
                self.reopen(key, None);
                Ok(())
            }
        }
    }

    /// Shows what is followed as it is now, wherever that is.
    pub(super) fn show_at_once(&mut self, key: EntityKey, events: Vec<String>) -> Flow {
        let Some(by) = self.who() else { return Ok(()) };
        let Some(follow) = self.follows.iter_mut().find(|follow| follow.key == key) else {
            return Ok(());
        };
        let Some(watch) = &mut follow.watch else { return Ok(()) };
        let version = watch.version();
        let view = follow.wants.views().then(|| watch.frame(by)).flatten();
        let whole = follow.wants.actor.then(|| watch.whole(events));
        let is_hidden = follow.wants.topic && view.is_none();
        // Whoever is not shown it any more may have forgotten it by the time it is shown again.
        let shown = std::mem::replace(&mut follow.shown, view.as_ref().map(|_| version));
        let was_told = follow.prospect.as_ref().map(|it| it.told());
        let told = view.as_ref().and_then(Told::by);
        let view = view.and_then(|view| match shown == Some(version) {
            // Nobody could tell it what was expected meanwhile.
            true => watch.renew(&view, was_told.unwrap_or_default()),
            false => Some(watch.say(view, by, shown, was_told)),
        });
        if let Some(told) = told.filter(|_| view.is_some()) {
            follow.tells(told);
        }
        if let Some(prospect) = follow.prospect.as_mut().filter(|_| !is_hidden) {
            prospect.is_shown();
        }
        follow.look_for_others(by);
        if let Some(view) = view {
            self.say(&view)?;
        }
        if let Some(whole) = whole {
            self.say(&ServerFrame::Actor(Box::new(whole)))?;
        }
        if is_hidden { self.drop_topics(key) } else { Ok(()) }
    }

    /// What was subscribed to is not there, or not for this client; staff see the whole of what is there.
    pub(super) fn drop_topics(&mut self, key: EntityKey) -> Flow {
        let exists = self.follows.iter().any(|follow| follow.key == key && follow.exists());
        self.end_topics(key, exists)
    }

    /// What was subscribed to is not shown any more; `is_whole_shown`, if somebody wants that.
    pub(super) fn end_topics(&mut self, key: EntityKey, is_whole_shown: bool) -> Flow {
        let Some(follow) = self.follows.iter_mut().find(|follow| follow.key == key) else {
            return Ok(());
        };
        let was = std::mem::take(&mut follow.wants);
        follow.wants.own = was.own;
        if was.actor && is_whole_shown {
            follow.wants.actor = true;
        }
        let lost_actor = was.actor && !follow.wants.actor;
        self.follows.retain(|follow| follow.wants.is_any());
        self.attend();
        let topic = if was.topic { topic_of(key) } else { None };
        let actor = lost_actor.then(|| Topic::Actor(key.to_string()));
        for topic in topic.into_iter().chain(actor) {
            let refused = not_found(&key.to_string());
            self.say(&ServerFrame::Unsubscribed { topic, refused })?;
        }
        Ok(())
    }
}

/// Does it say whether what a driver's device says is doubted?
fn is_about_doubt(frame: &ServerFrame) -> bool {
    matches!(frame, ServerFrame::Changed(Changed::Driver(changes)) if changes.doubted.is_some())
}

/// The topic under which an entity's views are followed.
fn topic_of(key: EntityKey) -> Option<Topic> {
    match key.kind {
        Kind::Order => Some(Topic::Order(OrderId(key.id))),
        Kind::Rescue => Some(Topic::Rescue(RescueId(key.id))),
        Kind::Driver => Some(Topic::Driver(DriverId(key.id))),
        Kind::Incident => Some(Topic::Incident(IncidentId(key.id))),
        Kind::Run => Some(Topic::Run(RunId(key.id))),
        Kind::Rider | Kind::Revocation | Kind::Zone | Kind::Rule | Kind::Template => None,
    }
}
