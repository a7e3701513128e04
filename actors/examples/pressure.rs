//! How many commits per second SQLite keeps here, beside what one sync of the disk costs.
#![expect(clippy::print_stdout, reason = "its purpose is to print")]

use actors::journal::{
    SharedJournal,
    pressure::{Pressure, press, probe_disk},
    sqlite::SqliteJournal,
};
use std::{error::Error, path::PathBuf, sync::Arc};

#[tokio::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let directory: PathBuf = std::env::args().nth(1).ok_or("usage: pressure DIRECTORY")?.into();
    let journal: SharedJournal = Arc::new(SqliteJournal::open(&directory).await?);
    for n_entities in [1, 32, 256, 1000].repeat(3) {
        let sync = probe_disk(&directory, 200)?;
        let n_commits = if n_entities == 1 { 2000 } else { 40_000 / n_entities as u64 };
        let endured = press(&journal, Pressure { n_entities, n_commits }).await?;
        println!(
            "{n_entities:5} entities: {:7.0} commits/s, p50 {:?}, p99 {:?}, max {:?}; sync p50 {:?} p99 {:?}",
            endured.rate(),
            endured.latency.p50,
            endured.latency.p99,
            endured.latency.max,
            sync.p50,
            sync.p99,
        );
    }
    journal.close().await?;
    Ok(())
}
