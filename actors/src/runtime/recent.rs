//! The last answers an entity gave, so that a repeat is recognised without reading the journal.

use super::Answer;
use crate::{
    Refusal,
    journal::{RECENT_RESULTS, Stored},
};
use protocol::{CommandId, Principal};
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use xxhash_rust::xxh3::xxh3_64;

/// The last answers, and enough about older ones to know when the journal must be asked.
#[derive(Debug, Default)]
pub(super) struct Recent {
    answers: VecDeque<(CommandId, First)>,
    older_max: Option<CommandId>,
}

/// The first answer to a command, and to whom and what it was given: a repeat is the same wish of the
/// same asker, and nobody else may hear the answer.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub(super) struct First {
    asked: u64,
    answer: Answer,
}

impl First {
    /// `by` asked for `command`, and was answered this.
    pub(super) fn new(by: Principal, command: &str, answer: Answer) -> Self {
        Self { asked: asked(by, command), answer }
    }

    /// What to tell `by`, who now asks for `command` with the same id.
    pub(super) fn repeated(self, by: Principal, command: &str) -> Answer {
        if self.asked == asked(by, command) { self.answer } else { Err(Refusal::CommandIdReused) }
    }
}

fn asked(by: Principal, command: &str) -> u64 {
    xxh3_64(format!("{by} {command}").as_bytes())
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

    #[test]
    fn an_answer_that_was_pushed_out_is_looked_up_and_a_newer_command_is_not() {
        let mut recent = Recent::default();
        let id = |ms| CommandId::of_effect(b"x", ms, 0, protocol::Timestamp(ms));
        for n in 0..RECENT_RESULTS as u64 + 2 {
            recent.add(id(n), First::new(Principal::System, "open", Ok(Version(n))));
        }
        assert_eq!(recent.find(id(0)), Known::Maybe);
        assert_eq!(recent.find(id(1)), Known::Maybe);
        let Known::Answered(first) = recent.find(id(2)) else { panic!("forgotten") };
        assert_eq!(first.clone().repeated(Principal::System, "open"), Ok(Version(2)));
        assert_eq!(first.repeated(Principal::Admin, "open"), Err(Refusal::CommandIdReused));
        assert_eq!(recent.find(id(99)), Known::New);
    }
}
