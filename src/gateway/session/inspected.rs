//! What others on this node want of a session: to end it, or to look at it. A look changes nothing about it.

use super::{End, Flow, Session, close};
use crate::{
    auth::revoked::revoked,
    gateway::{
        inspect::Inspected,
        sessions::{Call, Look, Wants},
        socket::Heard,
        tap::Seen,
    },
};
use axum::extract::ws::Message;
use protocol::frame::ClientFrame;
use tokio::time::Instant;

impl Session {
    pub(super) fn called(&mut self, call: Call) -> Flow {
        match call {
            Call::LetGo(to) => self.hand_in(to),
            Call::Revoked => self.revoked(),
            Call::Look(look) => {
                let Look { next, wants } = *look;
                self.called = Some(next);
                match wants {
                    // Whoever asked may have stopped waiting.
                    Wants::State(to) => drop(to.send(self.inspected())),
                    Wants::Frames(tap, answer) => {
                        let is_free = self.tap.as_ref().is_none_or(|tap| tap.is_over());
                        if is_free {
                            self.tap = Some(Box::new(tap));
                        }
                        answer.send(is_free).ok();
                    }
                }
                Ok(())
            }
        }
    }

    /// Its token is good no longer: what waits to be said is not for its client any more.
    pub(super) fn revoked(&mut self) -> Flow {
        self.socket.forget();
        Err(End::because(close::UNAUTHENTICATED, revoked()))
    }

    fn inspected(&self) -> Inspected {
        let (now, wall) = (Instant::now(), self.gate.system.now());
        let n_followed = self.follows.iter().filter(|it| it.wants.is_any()).count();
        Inspected {
            id: self.id,
            principal: self.who().map(|it| it.to_string()).unwrap_or_default(),
            token: self.identity.as_ref().and_then(|it| it.token),
            since: self.id.minted_at(),
            heard_at: wall - now.saturating_duration_since(self.heard_at),
            speaks: self.socket.codec().subprotocol().to_owned(),
            n_followed: n_followed
                + self.regions.len()
                + usize::from(self.wants_board)
                + usize::from(self.overview.is_some()),
            n_waiting: self.socket.n_waiting(),
            n_heard: u64::from(self.n_heard),
            n_said: self.replay.n_said(),
            n_under_way: usize::from(self.n_commands),
            is_tapped: self.tap.as_ref().is_some_and(|tap| !tap.is_over()),
            node: None,
        }
    }

    /// Counts what is heard, and lets whoever taps it hear it, too.
    pub(super) fn tap_heard(&mut self, heard: &Heard<ClientFrame>) {
        let seen = match heard {
            Heard::Frame(_) | Heard::Rubbish(_) | Heard::TooLarge => {
                self.n_heard = self.n_heard.saturating_add(1);
                self.tap.as_ref().map(|_| heard)
            }
            Heard::Sign | Heard::Written | Heard::Broken(_) | Heard::Left | Heard::Gone => None,
        };
        match seen {
            Some(Heard::Frame(frame)) => self.tap(|| Seen::Heard(Box::new(frame.clone()))),
            Some(Heard::Rubbish(why)) => self.tap(|| Seen::Rubbish(why.clone())),
            Some(_) => self.tap(|| Seen::Rubbish("frame too large".to_owned())),
            None => {}
        }
    }

    /// Lets whoever taps it hear what is said.
    pub(super) fn tap_said(&mut self, message: &Message) {
        let codec = self.socket.codec();
        self.tap(|| Seen::Said(codec, message.clone()));
    }

    fn tap(&mut self, seen: impl FnOnce() -> Seen) {
        let Some(tap) = &mut self.tap else { return };
        if !tap.pass(self.gate.system.now(), seen) {
            self.tap = None;
        }
    }
}
