//! What the machine allows: looked at before the first socket, so that nothing fails half-way for a reason
//! that was known.

use std::{fmt, fs};

/// What the kernel allows, as far as it can be read.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Kernel {
    /// Files a process may open.
    files_per_process: Option<u64>,
    /// Files of all processes.
    files: Option<u64>,
    /// Connections that wait to be accepted.
    backlog: Option<u64>,
    /// Ports of one source address.
    ports: Option<u64>,
    /// Pages of all buffers of TCP.
    tcp_pages: Option<u64>,
    /// Connections a firewall would remember; none, if it remembers none.
    tracked: Option<u64>,
    /// Bytes of memory that nobody uses.
    memory: Option<u64>,
}

/// What sessions need.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Need {
    pub(super) n_sessions: u64,
    /// Of one generator.
    pub(super) per_worker: u64,
    pub(super) n_addresses: u64,
}

/// One thing that is too small.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct TooSmall {
    what: &'static str,
    has: u64,
    needs: u64,
    /// Nothing works without it.
    pub(super) is_fatal: bool,
}

impl fmt::Display for TooSmall {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { what, has, needs, .. } = self;
        write!(f, "{what} is {has}, and {needs} are needed")
    }
}

/// Files of a process that are no sessions.
const OTHER_FILES: u64 = 256;
/// Both ends of an idle connection in the kernel, measured: 10.2 KiB.
const KERNEL_BYTES: u64 = 10_445;
/// What a node keeps for a session that says nothing.
const NODE_BYTES: u64 = 4_096;
/// Most sessions on one node: it, too, has 20,000 files.
const PER_NODE: u64 = 19_500;

impl Kernel {
    /// Reads it.
    pub(super) fn read() -> Self {
        let text = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let number = |path: &str| text(path).split_whitespace().next_back()?.parse::<u64>().ok();
        let limits = text("/proc/self/limits");
        let files = limits.lines().find_map(|line| line.strip_prefix("Max open files"));
        let range: Vec<u64> = text("/proc/sys/net/ipv4/ip_local_port_range")
            .split_whitespace()
            .filter_map(|it| it.parse().ok())
            .collect();
        let meminfo = text("/proc/meminfo");
        let available = meminfo.lines().find_map(|line| line.strip_prefix("MemAvailable:"));
        let is_tracking =
            number("/proc/sys/net/netfilter/nf_conntrack_count").is_some_and(|n| n > 0);
        Self {
            files_per_process: files.and_then(|it| it.split_whitespace().next()?.parse().ok()),
            files: number("/proc/sys/fs/file-max"),
            backlog: number("/proc/sys/net/core/somaxconn"),
            ports: range.first().zip(range.last()).map(|(first, last)| last.saturating_sub(*first)),
            tcp_pages: number("/proc/sys/net/ipv4/tcp_mem"),
            tracked: is_tracking
                .then(|| number("/proc/sys/net/netfilter/nf_conntrack_max"))
                .flatten(),
            memory: available
                .and_then(|it| it.split_whitespace().next()?.parse().ok())
                .map(|kib: u64| kib * 1_024),
        }
    }

    /// What of it is too small.
    pub(super) fn judge(&self, need: Need) -> Vec<TooSmall> {
        let Need { n_sessions, per_worker, n_addresses } = need;
        let wanted: [(&'static str, Option<u64>, u64, bool); 8] = [
            (
                "the number of files a generator may open (ulimit -n)",
                self.files_per_process,
                per_worker + OTHER_FILES,
                true,
            ),
            ("fs.file-max", self.files, 2 * n_sessions + 10_000, true),
            ("net.core.somaxconn", self.backlog, 1_024, false),
            (
                "the width of net.ipv4.ip_local_port_range, with two addresses for each generator,",
                self.ports.map(|it| it * 2),
                per_worker + 1_000,
                true,
            ),
            // A page each for what is under way in one of four, beside what is idle.
            ("net.ipv4.tcp_mem, in pages,", self.tcp_pages, n_sessions / 4, false),
            ("net.netfilter.nf_conntrack_max", self.tracked, n_sessions + 1_000, true),
            (
                "the memory that is free, in bytes,",
                self.memory,
                n_sessions * (KERNEL_BYTES + NODE_BYTES),
                false,
            ),
            ("the room of all nodes", Some(n_addresses * PER_NODE), n_sessions, false),
        ];
        wanted
            .into_iter()
            .filter_map(|(what, has, needs, is_fatal)| {
                let has = has.filter(|has| *has < needs)?;
                Some(TooSmall { what, has, needs, is_fatal })
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const AMPLE: Kernel = Kernel {
        files_per_process: Some(20_000),
        files: Some(2_466_174),
        backlog: Some(4_096),
        ports: Some(28_231),
        tcp_pages: Some(575_796),
        tracked: None,
        memory: Some(24 << 30),
    };
    const MILLION: Need = Need { n_sessions: 1_000_000, per_worker: 18_000, n_addresses: 55 };

    #[test]
    fn a_machine_with_enough_of_everything_is_told_nothing() {
        assert_eq!(AMPLE.judge(MILLION), []);
    }

    #[test]
    fn what_is_too_small_is_named_with_what_it_takes() {
        let poor = Kernel { files_per_process: Some(1_024), ..AMPLE };
        let told: Vec<_> = poor.judge(MILLION).iter().map(ToString::to_string).collect();
        let word =
            "the number of files a generator may open (ulimit -n) is 1024, and 18256 are needed";
        assert_eq!(told, [word]);
        let poor = Kernel { tracked: Some(262_144), memory: Some(8 << 30), ..AMPLE };
        assert_eq!(poor.judge(MILLION).iter().filter(|it| it.is_fatal).count(), 1);
        assert_eq!(poor.judge(Need { n_addresses: 3, ..MILLION }).len(), 3);
    }

    #[test]
    fn this_machine_can_be_read() {
        let read = Kernel::read();
        assert!(read.files_per_process.is_some() && read.ports.is_some() && read.memory.is_some());
    }
}
