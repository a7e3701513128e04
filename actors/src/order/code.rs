//! Codes that a person tells another: how often a wrong one may be tried.

use super::{Alert, Around, Event, Life};
use crate::Refusal;

impl Life {
    /// Nobody finds a code out by trying them all.
    pub(super) fn note_wrong_code(&self, around: &Around) -> Vec<Event> {
        let (by, at) = (around.by, around.now);
        let is_last = self.n_wrong_codes.saturating_add(1) >= self.placement.policy.code_tries_max;
        let locked = Event::Alerted { what: Alert::CodeLocked, at };
        [Event::CodeWrong { by, at }].into_iter().chain(is_last.then_some(locked)).collect()
    }

    /// A code that may still be tried.
    pub(super) fn may_try_code(&self, around: &Around) -> Result<(), Refusal> {
        if !around.by.is_staff() && self.n_wrong_codes >= self.placement.policy.code_tries_max {
            let why = "the code was wrong too often; a dispatcher must go on";
            return Err(Refusal::NotEligible(why.to_owned()));
        }
        Ok(())
    }
}
