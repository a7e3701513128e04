//! How much memory this process holds.

use std::fs;

/// Bytes of memory that are resident, from `/proc/self/statm`; 0 where there is no such file.
pub(crate) fn bytes() -> u64 {
    const PAGE_BYTES: u64 = 4_096;
    let pages = fs::read_to_string("/proc/self/statm")
        .ok()
        .and_then(|text| text.split_whitespace().nth(1)?.parse::<u64>().ok());
    pages.unwrap_or(0) * PAGE_BYTES
}
