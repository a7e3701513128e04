//! What a session says of its client to those who follow its jobs, and tells it of them.

use super::{Flow, Session};
use actors::{Sight, search::Sighting};
use protocol::{Principal, frame::ServerFrame};
use std::time::Duration;
use tokio::time::Instant;

impl Session {
    /// So long after the last sign of somebody, they cannot be reached: no tunnel.
    pub(super) fn grace(&self) -> Duration {
        grace_of(self.gate.session.heartbeat)
    }

    /// Is it time to say that its client was heard of?
    pub(super) fn is_presence_due(&self, now: Instant) -> bool {
        let every = self.gate.session.heartbeat;
        !self.jobs.is_empty() && is_time(self.present_at, self.heard_at, now, every)
    }

    /// Its client was heard of: whoever follows its jobs may know.
    fn is_present(&mut self, by: Principal, now: Instant) {
        if !self.is_presence_due(now) {
            return;
        }
        self.present_at = Some(now);
        for job in &self.jobs {
            self.gate.system.see(Sight::job(*job, Sighting::Connected { who: by }));
        }
    }

    /// Does what time asks for.
    pub(super) fn presence(&mut self, now: Instant) -> Flow {
        let Some(by) = self.who() else { return Ok(()) };
        self.is_present(by, now);
        let grace = self.grace();
        let mut told = Vec::new();
        for follow in &mut self.follows {
            let Some(job) = follow.job() else { continue };
            let silent = follow.others.silent(grace, now).into_iter();
            told.extend(silent.map(|who| ServerFrame::Presence { job, who, reachable: false }));
        }
        told.iter().try_for_each(|frame| self.say(frame))
    }
}

fn grace_of(heartbeat: Duration) -> Duration {
    heartbeat * 3 / 2
}

/// Is it to be said that somebody is there, of whom that was last said, and who was last heard, then? Whoever was at
/// rest may have been silent for minutes, and is heard of first.
fn is_time(said_at: Option<Instant>, heard_at: Instant, now: Instant, heartbeat: Duration) -> bool {
    let is_lately = now < heard_at + grace_of(heartbeat);
    // Clients say something twice in a heartbeat.
    let is_news = |at: Instant| now >= at + heartbeat / 3 && heard_at > at;
    is_lately && said_at.is_none_or(is_news)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEARTBEAT: Duration = Duration::from_secs(20);

    #[test]
    fn that_somebody_is_there_is_said_of_whoever_was_heard_lately_and_again_once_they_are_heard_again()
     {
        let start = Instant::now();
        let at = |s| start + Duration::from_secs(s);
        let is_time = |said, heard, now| is_time(said, at(heard), at(now), HEARTBEAT);
        assert!(is_time(None, 0, 29));
        assert!(!is_time(None, 0, 30), "it was at rest");
        assert!(is_time(Some(at(0)), 5, 10));
        assert!(!is_time(Some(at(0)), 5, 6), "that was just said");
        assert!(!is_time(Some(at(5)), 5, 20), "nothing was heard since");
        assert!(!is_time(Some(at(0)), 5, 200));
    }
}
