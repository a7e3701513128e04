//! Why people did what they did, as they wrote it down.

use crate::Refusal;

/// Longest reason, in characters.
pub const REASON_CHARS_MAX: usize = 200;

/// Refuses a reason that says nothing, or more than one line.
pub fn check(reason: &str) -> Result<(), Refusal> {
    check_line("reason", reason)
}

/// The same of another field that people fill in.
pub fn check_line(field: &'static str, line: &str) -> Result<(), Refusal> {
    let is_said = !line.trim().is_empty() && line.chars().count() <= REASON_CHARS_MAX;
    if !is_said || line.chars().any(char::is_control) {
        let problem = format!("1 to {REASON_CHARS_MAX} characters on one line");
        return Err(Refusal::invalid(field, problem));
    }
    Ok(())
}
