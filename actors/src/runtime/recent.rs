//! The last answers an entity gave, so that a repeat is recognised without reading the journal.

use super::Answer;
use crate::journal::{RECENT_RESULTS, Stored};
use protocol::CommandId;
use std::collections::VecDeque;

/// The last answers, and enough about older ones to know when the journal must be asked.
#[derive(Debug, Default)]
pub(super) struct Recent {
    answers: VecDeque<(CommandId, Answer)>,
    older_max: Option<CommandId>,
}

/// What is known of a command.
#[derive(Debug, PartialEq)]
pub(super) enum Known {
    /// It was answered so.
    Answered(Answer),
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
        if let Some((_, answer)) = self.answers.iter().find(|(id, _)| *id == command) {
            return Known::Answered(answer.clone());
        }
        match self.older_max {
            Some(older) if command <= older => Known::Maybe,
            Some(_) | None => Known::New,
        }
    }

    pub(super) fn add(&mut self, command: CommandId, answer: Answer) {
        if self.answers.len() == RECENT_RESULTS
            && let Some((oldest, _)) = self.answers.pop_front()
        {
            self.older_max = self.older_max.max(Some(oldest));
        }
        self.answers.push_back((command, answer));
    }
}

pub(super) fn encode(answer: &Answer) -> Vec<u8> {
    rmp_serde::to_vec_named(answer).expect("an answer is plain data")
}

pub(super) fn decode(bytes: &[u8]) -> Result<Answer, rmp_serde::decode::Error> {
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
            recent.add(id(n), Ok(Version(n)));
        }
        assert_eq!(recent.find(id(0)), Known::Maybe);
        assert_eq!(recent.find(id(1)), Known::Maybe);
        assert_eq!(recent.find(id(2)), Known::Answered(Ok(Version(2))));
        assert_eq!(recent.find(id(99)), Known::New);
    }
}
