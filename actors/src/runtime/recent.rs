//! The last answers an entity gave, so that a repeat is recognised without reading the journal.

use super::{Answer, Wished};
use crate::{
    Refusal,
    journal::{RECENT_RESULTS, Stored},
};
use protocol::{CommandId, Principal};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use xxhash_rust::xxh3::xxh3_64;

/// The last answers, and enough about older ones to know when the journal must be asked.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct Recent {
    answers: VecDeque<(CommandId, First)>,
    older_max: Option<CommandId>,
}

/// The first answer to a command, and what it was given to: a repeat is the same wish of the same
/// asker, and nobody else may hear the answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct First {
    #[serde(flatten)]
    to: Fingerprint,
    answer: Answer,
}

/// Who asked for what, in few bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Fingerprint {
    /// Of the asker and the name of the command.
    asked: u64,
    /// Of its particulars. Absent in answers that were kept before there was one, and for what the
    /// platform asks of itself, whose ids already say what is asked.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    content: Option<u64>,
}

impl Fingerprint {
    /// `by` asks for `command`, whose name is `name`; `wish` tells it from others of that name if
    /// the command itself does not say the same each time it is asked for.
    pub(super) fn of<C: Serialize>(
        by: Principal,
        name: &str,
        command: &C,
        wish: Option<Wished>,
    ) -> Self {
        let asked = xxh3_64(format!("{by} {name}").as_bytes());
        let content = match wish {
            Some(Wished(wish)) => Some(wish),
            None if by == Principal::System => None,
            None => Some(xxh3_64(&rmp_serde::to_vec_named(command).expect("plain data"))),
        };
        Self { asked, content }
    }

    fn is_same(self, other: Self) -> bool {
        let is_content = match (self.content, other.content) {
            (Some(one), Some(other)) => one == other,
            (None, _) | (_, None) => true,
        };
        self.asked == other.asked && is_content
    }
}

impl First {
    /// This was answered to that.
    pub(super) fn new(to: Fingerprint, answer: Answer) -> Self {
        Self { to, answer }
    }

    /// What to tell whoever now asks with the same id.
    pub(super) fn repeated(self, asking: Fingerprint) -> Answer {
        if self.to.is_same(asking) { self.answer } else { Err(Refusal::CommandIdReused) }
    }
}

/// What is known of a command.
#[derive(Debug, PartialEq)]
pub(super) enum Known {
    /// It was answered so.
    Answered(First),
    /// It was never answered.
    New,
    /// Only the journal can tell.
    Maybe,
}

impl Recent {
    /// What the journal remembers.
    pub(super) fn of(stored: &Stored) -> Result<Self, rmp_serde::decode::Error> {
        let mut answers = VecDeque::with_capacity(stored.results.len());
        for result in &stored.results {
            answers.push_back((result.command, decode(&result.bytes)?));
        }
        Ok(Self { answers, older_max: stored.older_results_max })
    }

    pub(super) fn find(&self, command: CommandId) -> Known {
        if let Some((_, first)) = self.answers.iter().find(|(id, _)| *id == command) {
            return Known::Answered(first.clone());
        }
        match self.older_max {
            Some(older) if command <= older => Known::Maybe,
            Some(_) | None => Known::New,
        }
    }

    pub(super) fn add(&mut self, command: CommandId, first: First) {
        if self.answers.len() == RECENT_RESULTS
            && let Some((oldest, _)) = self.answers.pop_front()
        {
            self.older_max = self.older_max.max(Some(oldest));
        }
        self.answers.push_back((command, first));
    }
}

pub(super) fn encode(first: &First) -> Vec<u8> {
    rmp_serde::to_vec_named(first).expect("an answer is plain data")
}

pub(super) fn decode(bytes: &[u8]) -> Result<First, rmp_serde::decode::Error> {
    rmp_serde::from_slice(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Version;

    fn print(by: Principal, content: u32) -> Fingerprint {
        Fingerprint::of(by, "open", &content, None)
    }

    #[test]
    fn an_answer_that_was_pushed_out_is_looked_up_and_a_newer_command_is_not() {
        let mut recent = Recent::default();
        let id = |ms| CommandId::of_effect(b"x", ms, 0, protocol::Timestamp(ms));
        let to = print(Principal::Dispatcher, 1);
        for n in 0..RECENT_RESULTS as u64 + 2 {
            recent.add(id(n), First::new(to, Ok(Version(n))));
        }
        assert_eq!(recent.find(id(0)), Known::Maybe);
        assert_eq!(recent.find(id(1)), Known::Maybe);
        let Known::Answered(first) = recent.find(id(2)) else { panic!("forgotten") };
        assert_eq!(first.clone().repeated(to), Ok(Version(2)));
        assert_eq!(recent.find(id(99)), Known::New);
    }

    #[test]
    fn an_answer_is_for_who_asked_and_for_what_was_asked_also_after_it_was_written_down() {
        let to = print(Principal::Dispatcher, 1);
        let first = decode(&encode(&First::new(to, Ok(Version(2))))).unwrap();
        assert_eq!(first.clone().repeated(to), Ok(Version(2)));
        for other in [print(Principal::Admin, 1), print(Principal::Dispatcher, 2)] {
            assert_eq!(first.clone().repeated(other), Err(Refusal::CommandIdReused));
        }
    }

    #[test]
    fn what_was_wished_counts_and_not_what_became_of_it() {
        let of = |command, wish| {
            Fingerprint::of(Principal::Dispatcher, "open", &command, Some(Wished::new(&wish)))
        };
        assert!(of("at day", "a ride").is_same(of("at night", "a ride")));
        assert!(!of("at day", "a ride").is_same(of("at day", "another ride")));
    }

    #[test]
    fn an_answer_kept_before_particulars_were_is_still_heard() {
        #[derive(Serialize)]
        struct Old {
            asked: u64,
            answer: Answer,
        }
        let to = print(Principal::Dispatcher, 1);
        let old = Old { asked: to.asked, answer: Ok(Version(3)) };
        let first = decode(&rmp_serde::to_vec_named(&old).unwrap()).unwrap();
        assert_eq!(first.repeated(to), Ok(Version(3)));
    }
}
