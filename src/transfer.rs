//! `outrider export` and `outrider import`: a whole journal as a file of JSON lines, and back.
//!
//! The first line says what the file is, each further one is a record, the last says how many there
//! are, so that a file that was cut off is not taken for a whole one.

use crate::{check, journal::Opened, settings::Settings};
use actors::journal::{Part, Record, SharedJournal, check::check};
use clap::Args;
use serde::{Deserialize, Serialize};
use std::{
    error::Error,
    fs::File,
    io::{BufRead, BufReader, BufWriter, Write},
    path::{Path, PathBuf},
};
use tracing::info;

/// The layout of the file; another one gets another number.
const LAYOUT: u32 = 1;
/// Records read or written at once.
const N_PAGE: usize = 2_000;

/// Where to.
#[derive(Debug, Args)]
pub(crate) struct ExportArgs {
    /// A file that does not exist yet.
    #[arg(long, value_name = "FILE")]
    to: PathBuf,
}

/// Where from.
#[derive(Debug, Args)]
pub(crate) struct ImportArgs {
    /// What `outrider export` wrote. The journal must be empty.
    #[arg(long, value_name = "FILE")]
    from: PathBuf,
}

/// A line of the file.
#[derive(Debug, Serialize, Deserialize)]
#[serde(untagged)]
enum Line {
    First { outrider_journal: u32 },
    Last { n_records: u64 },
    Record(Record),
}

/// Writes the journal to a file.
pub(crate) async fn export(settings: &Settings, args: &ExportArgs) -> Result<(), Box<dyn Error>> {
    let opened = Opened::look(&settings.journal).await?;
    let n_records = write_file(&opened.journal, &args.to).await?;
    opened.close().await?;
    info!(n_records, "exported");
    Ok(())
}

/// Writes a file to the journal, which must be empty, then checks it; is it sound?
pub(crate) async fn import(settings: &Settings, args: &ImportArgs) -> Result<bool, Box<dyn Error>> {
    let opened = Opened::open(&settings.journal).await?;
    let n_records = read_file(&opened.journal, &args.from).await?;
    info!(n_records, "imported");
    let report = check(&*opened.journal, [], check::answers_since()).await?;
    opened.close().await?;
    check::print(&report)?;
    let n_found: u64 = report.counts.values().sum();
    if n_found != n_records {
        return Err(format!("{n_records} records were imported, {n_found} are there").into());
    }
    Ok(report.is_sound())
}

async fn write_file(journal: &SharedJournal, path: &Path) -> Result<u64, Box<dyn Error>> {
    let file = File::create_new(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let mut out = BufWriter::new(file);
    let mut write = |line: &Line| -> Result<(), Box<dyn Error>> {
        serde_json::to_writer(&mut out, line)?;
        Ok(out.write_all(b"\n")?)
    };
    write(&Line::First { outrider_journal: LAYOUT })?;
    let mut n_records = 0;
    for part in Part::ALL {
        let mut after = None;
        loop {
            let page = journal.dump(*part, after, N_PAGE).await?;
            let Some(last) = page.last().cloned() else { break };
            after = Some(last);
            n_records += page.len() as u64;
            for record in page {
                write(&Line::Record(record))?;
            }
        }
    }
    write(&Line::Last { n_records })?;
    out.into_inner()?.sync_all()?;
    Ok(n_records)
}

async fn read_file(journal: &SharedJournal, path: &Path) -> Result<u64, Box<dyn Error>> {
    let file = File::open(path).map_err(|error| format!("{}: {error}", path.display()))?;
    let wrong = |n: usize, problem: &str| format!("{}: line {n}: {problem}", path.display());
    // Says at once whether the journal is empty.
    journal.restore(Vec::new()).await?;
    let (mut n_records, mut said, mut page) = (0, None, Vec::with_capacity(N_PAGE));
    for (line, n) in BufReader::new(file).lines().zip(1..) {
        let line = serde_json::from_str(&line?).map_err(|error| wrong(n, &error.to_string()))?;
        match line {
            Line::First { outrider_journal: LAYOUT } if n == 1 => {}
            Line::First { .. } => return Err(wrong(n, "another layout").into()),
            Line::Record(record) if n > 1 && said.is_none() => {
                n_records += 1;
                page.push(record);
            }
            Line::Last { n_records } if n > 1 && said.is_none() => said = Some(n_records),
            Line::Record(_) | Line::Last { .. } => {
                return Err(wrong(n, "not where it belongs").into());
            }
        }
        if page.len() == N_PAGE {
            journal.restore(std::mem::take(&mut page)).await?;
        }
    }
    journal.restore(page).await?;
    match said {
        Some(said) if said == n_records => Ok(n_records),
        _ => Err(format!("{} is cut off after {n_records} records", path.display()).into()),
    }
}
