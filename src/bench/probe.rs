//! How fast this disk makes a small write durable, right now.

use std::{
    fs::File,
    io::{self, Write},
    path::Path,
    time::{Duration, Instant},
};

/// The median time of one 4 KiB append and `fdatasync` in `dir`.
pub(super) fn fsync(dir: &Path) -> io::Result<Duration> {
    const TRIES: usize = 50;
    let path = dir.join("fsync-probe");
    let mut file = File::create(&path)?;
    let mut times = Vec::with_capacity(TRIES);
    for _ in 0..TRIES {
        let started = Instant::now();
        file.write_all(&[0; 4_096])?;
        file.sync_data()?;
        times.push(started.elapsed());
    }
    std::fs::remove_file(path)?;
    times.sort();
    Ok(times[TRIES / 2])
}
