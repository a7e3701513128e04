//! What was said to a client and may not have arrived: it is said again when the client comes back.
//!
//! Frames are not numbered on the wire. Both sides count them, all of them, from `hello` on; who comes back
//! says how many it has.

use axum::{body::Bytes, extract::ws::Message};
use protocol::frame::ServerFrame;
use serde::{Deserialize, Serialize};
use serde_bytes::ByteBuf;
use std::collections::VecDeque;

/// Frames in the order they were said, without those that only the moment needed.
#[derive(Debug, Default)]
pub(super) struct Replay {
    /// How many frames were said.
    n_said: u64,
    /// No frame up to this one can be said again.
    n_gone: u64,
    kept: VecDeque<(u64, Message)>,
    n_bytes: usize,
}

/// Most that is kept.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) frames: usize,
    pub(super) bytes: usize,
}

/// A kept frame on its way to another node.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) enum Said {
    /// As JSON.
    #[serde(rename = "t")]
    Text(String),
    /// As MessagePack.
    #[serde(rename = "b")]
    Binary(ByteBuf),
}

impl Said {
    /// How long it is.
    pub(super) fn bytes(&self) -> usize {
        match self {
            Self::Text(text) => text.len(),
            Self::Binary(bytes) => bytes.len(),
        }
    }
}

/// Does it matter to somebody who comes later?
pub(super) fn is_lasting(frame: &ServerFrame) -> bool {
    match frame {
        ServerFrame::Hello { .. }
        | ServerFrame::Welcome { .. }
        | ServerFrame::Heartbeat { .. }
        | ServerFrame::Sighted { .. }
        | ServerFrame::Near { .. }
        | ServerFrame::Board(_)
        | ServerFrame::Region(_)
        | ServerFrame::Goodbye { .. } => false,
        ServerFrame::Result { .. }
        | ServerFrame::Push { .. }
        | ServerFrame::Refused(_)
        | ServerFrame::Order(_)
        | ServerFrame::Rescue(_)
        | ServerFrame::Driver(_)
        | ServerFrame::Rider(_)
        | ServerFrame::Incident(_)
        | ServerFrame::Run(_)
        | ServerFrame::Changed(_)
        | ServerFrame::Presence { .. }
        | ServerFrame::Actor(_)
        | ServerFrame::Unsubscribed { .. } => true,
    }
}

impl Replay {
    /// Counts a frame; one that lasts is kept, as long as there is room.
    pub(super) fn said(&mut self, lasting: Option<&Message>, room: Room) {
        self.n_said += 1;
        if let Some(message) = lasting {
            self.n_bytes += size(message);
            self.kept.push_back((self.n_said, message.clone()));
        }
        while self.kept.len() > room.frames || self.n_bytes > room.bytes {
            let Some((n, message)) = self.kept.pop_front() else { break };
            self.n_bytes -= size(&message);
            self.n_gone = n;
        }
    }

    /// How many frames were said.
    pub(super) fn n_said(&self) -> u64 {
        self.n_said
    }

    /// The client has so many: they need not be kept. False if there have not been so many.
    pub(super) fn heard(&mut self, n: u64) -> bool {
        if n > self.n_said {
            return false;
        }
        while let Some((_, message)) = self.kept.pop_front_if(|(said, _)| *said <= n) {
            self.n_bytes -= size(&message);
        }
        self.n_gone = self.n_gone.max(n);
        if self.kept.is_empty() {
            // Most sessions are idle most of the time.
            self.kept = VecDeque::new();
        }
        true
    }

    /// What somebody who has `heard` so many frames has missed; none, if not all of it is here.
    pub(super) fn missed(self, heard: u64) -> Option<Vec<Message>> {
        if heard > self.n_said || heard < self.n_gone {
            return None;
        }
        let missed = self.kept.into_iter().filter(|(n, _)| *n > heard);
        Some(missed.map(|(_, message)| message).collect())
    }

    /// As it crosses nodes.
    pub(super) fn pack(self) -> (u64, u64, Vec<(u64, Said)>) {
        let kept = self.kept.into_iter().filter_map(|(n, message)| match message {
            Message::Text(text) => Some((n, Said::Text(text.as_str().to_owned()))),
            Message::Binary(bytes) => Some((n, Said::Binary(ByteBuf::from(bytes.to_vec())))),
            Message::Ping(_) | Message::Pong(_) | Message::Close(_) => None,
        });
        (self.n_said, self.n_gone, kept.collect())
    }

    /// The same again.
    pub(super) fn unpack((n_said, n_gone, kept): (u64, u64, Vec<(u64, Said)>)) -> Self {
        let kept: VecDeque<_> = kept
            .into_iter()
            .map(|(n, said)| match said {
                Said::Text(text) => (n, Message::Text(text.into())),
                Said::Binary(bytes) => (n, Message::Binary(Bytes::from(bytes.into_vec()))),
            })
            .collect();
        let n_bytes = kept.iter().map(|(_, message)| size(message)).sum();
        Self { n_said, n_gone, kept, n_bytes }
    }
}

fn size(message: &Message) -> usize {
    match message {
        Message::Text(text) => text.len(),
        Message::Binary(bytes) | Message::Ping(bytes) | Message::Pong(bytes) => bytes.len(),
        Message::Close(_) => 0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROOM: Room = Room { frames: 4, bytes: 100 };

    fn message(text: &str) -> Message {
        Message::Text(text.into())
    }

    fn said(frames: &[Option<&str>]) -> Replay {
        let mut replay = Replay::default();
        for frame in frames {
            replay.said(frame.map(message).as_ref(), ROOM);
        }
        replay
    }

    #[test]
    fn whoever_has_heard_some_has_missed_the_others_that_last() {
        let frames = [None, Some("a"), None, Some("b"), Some("c")];
        let missed = |heard| said(&frames).missed(heard);
        assert_eq!(missed(5), Some(vec![]));
        assert_eq!(missed(4), Some(vec![message("c")]));
        assert_eq!(missed(2), Some(vec![message("b"), message("c")]));
        assert_eq!(missed(0), Some(vec![message("a"), message("b"), message("c")]));
    }

    #[test]
    fn what_is_incomplete_is_not_said_again() {
        let six = [Some("1"), Some("2"), Some("3"), Some("4"), Some("5"), Some("6")];
        assert_eq!(said(&six).missed(1), None, "the second had to make room");
        assert_eq!(said(&six).missed(2).map(|it| it.len()), Some(4));
        let large = "x".repeat(60);
        let large = [Some(large.as_str()), Some(large.as_str())];
        assert_eq!(said(&large).missed(0), None);
        assert_eq!(said(&large).missed(1).map(|it| it.len()), Some(1));
        assert_eq!(said(&six).missed(7), None, "nobody said a seventh");
    }

    #[test]
    fn what_was_heard_is_not_kept_and_never_said_again() {
        let mut replay = said(&[Some("a"), Some("b"), Some("c")]);
        assert!(!replay.heard(4));
        assert!(replay.heard(2));
        assert!(replay.heard(1), "an older word changes nothing");
        assert_eq!(replay.kept.len(), 1);
        assert_eq!(replay.n_bytes, 1);
        assert_eq!(replay.missed(1), None);
    }

    #[test]
    fn it_is_the_same_on_another_node() {
        let mut there = said(&[Some("a"), None, Some("b")]);
        there.said(Some(&Message::Binary(Bytes::from_static(b"c"))), ROOM);
        let crossed = rmp_serde::to_vec_named(&there.pack()).unwrap();
        let here = Replay::unpack(rmp_serde::from_slice(&crossed).unwrap());
        assert_eq!((here.n_said, here.n_bytes), (4, 3));
        let missed = vec![message("b"), Message::Binary(Bytes::from_static(b"c"))];
        assert_eq!(here.missed(2), Some(missed));
    }
}
