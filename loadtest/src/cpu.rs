//! Processor time of this thread: what a computation costs, whoever else is busy on the machine.

use rustix::time::{ClockId, clock_gettime};

/// A moment on the thread's own clock, which stands still while others run.
#[derive(Debug, Clone, Copy)]
pub(crate) struct CpuTime(f64);

impl CpuTime {
    pub(crate) fn now() -> Self {
        let it = clock_gettime(ClockId::ThreadCPUTime);
        Self(it.tv_sec as f64 + it.tv_nsec as f64 * 1e-9)
    }

    /// Seconds since then, asked on the same thread.
    pub(crate) fn elapsed_s(self) -> f64 {
        Self::now().0 - self.0
    }
}
