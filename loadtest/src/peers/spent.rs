//! How long other processes have been on a processor.

use std::{fs, io, time::Duration};

/// What all threads of a process have used so far, to the nanosecond. Threads that have ended are not counted:
/// none of those that are weighed here end while they are.
pub(super) fn on_processor(pid: u32) -> io::Result<Duration> {
    let mut ns = 0;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        // It may have ended since.
        let text = fs::read_to_string(task?.path().join("schedstat")).unwrap_or_default();
        ns += nanoseconds(&text);
    }
    Ok(Duration::from_nanos(ns))
}

/// The first of three numbers: time on a processor, time waiting for one, how often.
pub(super) fn nanoseconds(schedstat: &str) -> u64 {
    schedstat.split_whitespace().next().and_then(|it| it.parse().ok()).unwrap_or_default()
}
