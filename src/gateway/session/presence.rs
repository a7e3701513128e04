//! What a session says of its client to those who follow its jobs, and tells it of them.

use super::{Flow, Session};
use actors::{Sight, search::Sighting};
use protocol::{Principal, frame::ServerFrame};
use std::time::Duration;
use tokio::time::Instant;

impl Session {
    /// So long after the last sign of somebody, they cannot be reached: no tunnel.
    pub(super) fn grace(&self) -> Duration {
        self.gate.session.heartbeat * 3 / 2
    }

    /// Its client was heard of: whoever follows its jobs may know.
    fn is_present(&mut self, by: Principal, now: Instant) {
        // Clients say something twice in a heartbeat.
        let is_time =
            |at: Instant| now >= at + self.gate.session.heartbeat / 3 && self.heard_at > at;
        if self.jobs.is_empty() || !self.present_at.is_none_or(is_time) {
            return;
        }
        self.present_at = Some(now);
        for job in &self.jobs {
            self.gate.system.see(Sight::job(*job, Sighting::Connected { who: by }));
        }
    }

    /// Does what time asks for.
    pub(super) fn presence(&mut self, now: Instant) -> Flow {
        let Some(by) = self.identity.map(|identity| identity.principal) else { return Ok(()) };
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
