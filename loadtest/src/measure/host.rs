//! What the generator takes of the machine it is on, as Linux counts it.

use crate::connect::Weight;
use serde::{Deserialize, Serialize};
use std::{fs, time::Instant};

/// The machine a run was made on.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Machine {
    /// How many processors the generator may use.
    pub cores: u64,
    /// What kind they are.
    pub model: String,
    /// How much memory there is.
    pub memory_bytes: u64,
    /// Which kernel.
    pub kernel: String,
}

impl Machine {
    /// This one.
    pub fn here() -> Self {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let value = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name));
            line.and_then(|line| line.split_once(':')).map(|(_, it)| it.trim().to_owned())
        };
        let memory = value(&read("/proc/meminfo"), "MemTotal");
        let kib = memory.and_then(|it| it.split(' ').next().and_then(|kib| kib.parse().ok()));
        Self {
            cores: cores(),
            model: value(&read("/proc/cpuinfo"), "model name").unwrap_or_default(),
            memory_bytes: kib.unwrap_or(0_u64) * 1_024,
            kernel: read("/proc/sys/kernel/osrelease").trim().to_owned(),
        }
    }
}

fn cores() -> u64 {
    std::thread::available_parallelism().map_or(1, |n| n.get() as u64)
}

/// Shares of processors, 0 to 1.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(crate) struct Share {
    /// Of those this process may use, by it.
    pub(crate) ours: f64,
    /// Of the machine's, by anybody.
    pub(crate) machine: f64,
}

/// Looks at this process and its machine from time to time.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Host {
    at: Instant,
    cpu_s: f64,
    machine: [u64; 2],
}

impl Host {
    pub(crate) fn look() -> Self {
        let stat = fs::read_to_string("/proc/stat").unwrap_or_default();
        Self {
            at: Instant::now(),
            cpu_s: Weight::of(&[std::process::id()]).cpu_s,
            machine: busy_of_all(&stat),
        }
    }

    /// What has been taken since an earlier look.
    pub(crate) fn since(&self, before: &Self) -> Share {
        let lasting_s = self.at.saturating_duration_since(before.at).as_secs_f64();
        let ours = (self.cpu_s - before.cpu_s) / (lasting_s * cores() as f64).max(1e-3);
        let [busy, all] = [0, 1].map(|n| self.machine[n].saturating_sub(before.machine[n]));
        Share { ours: ours.clamp(0.0, 1.0), machine: busy as f64 / all.max(1) as f64 }
    }
}

/// Ticks of all processors, of which the first are not idle: the first line of `/proc/stat`.
fn busy_of_all(stat: &str) -> [u64; 2] {
    let line = stat.lines().next().unwrap_or_default();
    // User, nice, system, idle, waiting for disks, interrupts (two kinds), stolen; guests are counted as users.
    let ticks: Vec<u64> =
        line.split_whitespace().skip(1).take(8).map(|it| it.parse().unwrap_or(0)).collect();
    let all: u64 = ticks.iter().sum();
    let idle: u64 = ticks.iter().skip(3).take(2).sum();
    [all - idle, all]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waiting_is_not_being_busy() {
        assert_eq!(busy_of_all("cpu  10 1 5 100 50 2 3 4 9 9\ncpu0 1 1"), [25, 175]);
        assert_eq!(busy_of_all(""), [0, 0]);
    }

    #[test]
    fn whoever_works_has_taken_something() {
        let before = Host::look();
        let mut sum = 0_u64;
        while before.at.elapsed().as_millis() < 60 {
            sum = sum.wrapping_mul(31).wrapping_add(7);
        }
        assert!(Host::look().since(&before).ours > 0.0, "{sum}");
        assert!(Machine::here().cores > 0);
    }
}
