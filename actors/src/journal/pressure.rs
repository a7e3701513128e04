//! Puts a journal under load: entities that each commit as fast as they are answered.
//!
//! A figure of a durable journal means nothing without the disk it was taken on, so there is a
//! probe of that too. Print both.

use super::{CommitError, SharedJournal};
use crate::{
    Commit, EntityKey, Kind, Version, ViewRow,
    commit::{CommandResult, EncodedEvent},
};
use futures_util::future::try_join_all;
use protocol::{CommandId, Timestamp};
use std::{
    fs::File,
    io::{self, Write},
    path::Path,
    sync::Arc,
    time::{Duration, Instant},
};
use uuid::Uuid;

/// How hard.
#[derive(Debug, Clone, Copy)]
pub struct Pressure {
    /// Committing at once.
    pub n_entities: usize,
    /// By each of them, one after the other.
    pub n_commits: u64,
}

/// What came of it.
#[derive(Debug, Clone, Copy)]
pub struct Endured {
    /// Commits that were acknowledged.
    pub n_commits: u64,
    /// From the first request to the last acknowledgement.
    pub elapsed: Duration,
    /// How long a commit took.
    pub latency: Latency,
}

/// How long something took, over many times.
#[derive(Debug, Clone, Copy, Default)]
pub struct Latency {
    /// Half of the times were shorter.
    pub p50: Duration,
    /// 99 of 100 were shorter.
    pub p99: Duration,
    /// The longest.
    pub max: Duration,
}

impl Endured {
    /// Commits per second.
    pub fn rate(&self) -> f64 {
        self.n_commits as f64 / self.elapsed.as_secs_f64()
    }
}

impl Latency {
    fn of(mut times: Vec<Duration>) -> Self {
        times.sort_unstable();
        let at = |percent: usize| times.get(times.len().saturating_sub(1) * percent / 100);
        let at = |percent| at(percent).copied().unwrap_or_default();
        Self { p50: at(50), p99: at(99), max: at(100) }
    }
}

/// Commits what an entity on its way typically does: an event of some 120 bytes, the answer to its
/// command, one effect and a view. New entities each time, so a journal can be pressed repeatedly.
pub async fn press(journal: &SharedJournal, pressure: Pressure) -> Result<Endured, CommitError> {
    let began = Instant::now();
    let committing = (0..pressure.n_entities).map(|_| {
        let journal = Arc::clone(journal);
        let entity = EntityKey { kind: Kind::Order, id: Uuid::now_v7() };
        tokio::spawn(async move {
            let mut times = Vec::new();
            for expected in 0..pressure.n_commits {
                let commit = typical(entity, Version(expected));
                let asked = Instant::now();
                journal.commit(commit).await?;
                times.push(asked.elapsed());
            }
            Ok(times)
        })
    });
    let times: Result<Vec<_>, CommitError> = try_join_all(committing)
        .await
        .map_err(|error| CommitError::Unknown(error.to_string()))?
        .into_iter()
        .collect();
    let (times, elapsed) = (times?.concat(), began.elapsed());
    Ok(Endured { n_commits: times.len() as u64, elapsed, latency: Latency::of(times) })
}

/// How long the disk below `directory` takes to keep 170 bytes for good.
pub fn probe_disk(directory: &Path, n_syncs: usize) -> io::Result<Latency> {
    let path = directory.join("probe");
    let mut file = File::create(&path)?;
    let mut times = Vec::with_capacity(n_syncs);
    for _ in 0..n_syncs {
        let began = Instant::now();
        file.write_all(&[0; 170])?;
        file.sync_data()?;
        times.push(began.elapsed());
    }
    std::fs::remove_file(path)?;
    Ok(Latency::of(times))
}

fn typical(entity: EntityKey, expected: Version) -> Commit {
    let at = Timestamp(expected.0);
    Commit {
        events: vec![EncodedEvent { name: "driver_arrived".into(), bytes: vec![7; 120] }],
        result: Some(CommandResult { command: CommandId::mint(), bytes: vec![1; 10] }),
        effects: vec![vec![3; 80]],
        view: Some(ViewRow {
            status: "assigned".into(),
            rider: None,
            driver: None,
            at,
            body: serde_json::json!({ "price": 700 }),
        }),
        ..Commit::new(entity, expected, at)
    }
}
