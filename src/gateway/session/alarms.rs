//! What a dispatcher is told of incidents: each that calls for somebody is pushed, again with each escalation, and
//! that it calls no more. Whoever is told of some regions only hears of all of them on purpose: nobody in need is lost because
//! those who look after that place are not there.

use super::{Deed, Flow, Session};
use crate::gateway::incidents::{Hearing, Picture};
use futures_util::FutureExt;
use protocol::{IncidentId, frame::Push, view::IncidentView};
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use tokio::time::Instant;

/// An incident that was told of.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Alarm {
    incident: IncidentId,
    /// How often it had been escalated.
    escalations: u8,
}

/// Those that one session was told of.
#[derive(Debug)]
pub(super) struct Alarms {
    told: Vec<Alarm>,
    /// Which there are, as was last seen.
    picture: Option<Arc<Picture>>,
    /// What was seen before that is older than what the session was told.
    since: Instant,
}

impl Alarms {
    fn new(told: Vec<Alarm>) -> Box<Self> {
        Box::new(Self { told, picture: None, since: Instant::now() })
    }

    /// Those of a session that goes on; none, if it was told of none.
    pub(super) fn again(told: Vec<Alarm>) -> Option<Box<Self>> {
        (!told.is_empty()).then(|| Self::new(told))
    }

    /// As they cross nodes.
    pub(super) fn told(self) -> Vec<Alarm> {
        self.told
    }
}

/// What is to be said, given what was.
#[derive(Debug, Default, PartialEq)]
struct News {
    /// These call no more, or louder.
    void: Vec<IncidentId>,
    /// These are to be pushed, as many as there is room for.
    pushes: Vec<Push>,
    /// What was told then.
    told: Vec<Alarm>,
}

/// What to say to whom was `told` so much, now that it is as in the picture.
fn news(told: &[Alarm], picture: &Picture, room: usize) -> News {
    let mut news = News::default();
    let calls = |it: &Alarm| picture.calling.iter().any(|view| view.id == it.incident);
    for alarm in told {
        // What is not in a picture that was cut off may be there all the same.
        if calls(alarm) || !picture.is_whole {
            news.told.push(*alarm);
            continue;
        }
        news.void.push(alarm.incident);
        if news.pushes.len() < room {
            news.pushes.push(Push::IncidentHeeded { incident: alarm.incident });
        } else {
            news.told.push(*alarm);
        }
    }
    for view in &picture.calling {
        news.call(view, room);
    }
    news
}

impl News {
    fn call(&mut self, view: &IncidentView, room: usize) {
        let known = self.told.iter().position(|it| it.incident == view.id);
        let is_told = known.is_some_and(|it| self.told[it].escalations >= view.escalations);
        if is_told || self.pushes.len() >= room {
            return;
        }
        if let Some(known) = known {
            self.told.swap_remove(known);
            self.void.push(view.id);
        }
        self.told.push(Alarm { incident: view.id, escalations: view.escalations });
        self.pushes.push(Push::Incident(Box::new(view.clone())));
    }
}

impl Session {
    /// Hears of incidents from now on.
    pub(super) fn hear_of_incidents(&mut self) {
        self.alarms.get_or_insert_with(|| Alarms::new(Vec::new())).since = Instant::now();
        let hearing = self.gate.incidents.hear();
        self.hear_on(hearing);
    }

    fn hear_on(&mut self, mut hearing: Hearing) {
        let heard = async move {
            let is_there = hearing.changed().await.is_ok();
            Deed::Alarmed(is_there.then_some(hearing))
        };
        self.doing.push(heard.boxed());
    }

    /// There is another picture.
    pub(super) fn alarmed(&mut self, hearing: Option<Hearing>) -> Flow {
        let Some(mut hearing) = hearing else { return Ok(()) };
        let picture = hearing.borrow_and_update().clone();
        self.hear_on(hearing);
        if let Some(alarms) = &mut self.alarms
            && let Some(picture) = picture.filter(|it| it.since >= alarms.since)
        {
            alarms.picture = Some(picture);
        }
        self.sound()
    }

    /// Pushes what was not pushed yet.
    pub(super) fn sound(&mut self) -> Flow {
        let Some(alarms) = &mut self.alarms else { return Ok(()) };
        let Some(picture) = &alarms.picture else { return Ok(()) };
        let News { void, pushes, told } = news(&alarms.told, picture, self.pushes.room());
        alarms.told = told;
        for incident in void {
            self.pushes.void_call(incident);
        }
        if pushes.is_empty() { Ok(()) } else { self.push_all(pushes) }
    }
}

#[cfg(test)]
mod tests;
