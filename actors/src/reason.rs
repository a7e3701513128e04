//! Why people did what they did, as they wrote it down.

use crate::Refusal;

/// Longest reason, in characters.
pub const REASON_CHARS_MAX: usize = 200;

/// Refuses a reason that says nothing, or more than one line.
pub fn check(reason: &str) -> Result<(), Refusal> {
    let is_said = !reason.trim().is_empty() && reason.chars().count() <= REASON_CHARS_MAX;
    if !is_said || reason.chars().any(char::is_control) {
        let problem = format!("1 to {REASON_CHARS_MAX} characters on one line");
        return Err(Refusal::invalid("reason", problem));
    }
    Ok(())
}
