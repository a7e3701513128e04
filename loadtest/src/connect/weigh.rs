//! What processes cost, as the kernel counts it.

use serde::Serialize;
use std::{fs, ops::Sub};

/// Linux counts processor time in hundredths of a second, whatever the machine.
const TICKS_PER_S: f64 = 100.0;

/// What some processes hold and have spent.
#[derive(Debug, Clone, Copy, Default, PartialEq, Serialize)]
pub struct Weight {
    /// Memory of their own that is resident, in bytes.
    pub bytes: u64,
    /// Processor time, in seconds.
    pub cpu_s: f64,
}

impl Weight {
    /// What these processes hold now; those that are gone count for nothing.
    pub(crate) fn of(pids: &[u32]) -> Self {
        let mut all = Self::default();
        for pid in pids {
            let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
            let anonymous = status.lines().find_map(|line| line.strip_prefix("RssAnon:"));
            let kib: u64 = anonymous.and_then(first_number).unwrap_or_default();
            let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            // Behind the name, which may have anything in it.
            let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
            let ticks = fields.split_whitespace().skip(11).take(2);
            let ticks: f64 = ticks.filter_map(|it| it.parse::<f64>().ok()).sum();
            all.bytes += kib * 1_024;
            all.cpu_s += ticks / TICKS_PER_S;
        }
        all
    }
}

impl Sub for Weight {
    type Output = Self;

    fn sub(self, before: Self) -> Self {
        Self {
            bytes: self.bytes.saturating_sub(before.bytes),
            cpu_s: (self.cpu_s - before.cpu_s).max(0.0),
        }
    }
}

/// Bytes of memory of the machine that could still be used.
pub(super) fn available() -> u64 {
    let meminfo = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
    line.and_then(first_number).unwrap_or_default() * 1_024
}

fn first_number(text: &str) -> Option<u64> {
    text.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_weighs_something_and_one_that_is_gone_nothing() {
        assert!(Weight::of(&[std::process::id()]).bytes > 100_000);
        assert_eq!(Weight::of(&[u32::MAX]), Weight::default());
        assert!(available() > 0);
    }
}
