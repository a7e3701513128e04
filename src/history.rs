//! `outrider history order-…`: what happened to one entity, one JSON object a line.

use crate::{journal::Opened, settings::Settings};
use actors::{EntityKey, Version};
use clap::Args;
use protocol::Timestamp;
use serde::Serialize;
use std::{
    error::Error,
    io::{self, Write},
};

/// Events read at once.
const N_PAGE: usize = 1_000;

/// Whose.
#[derive(Debug, Args)]
pub(crate) struct HistoryArgs {
    /// Any id in display form: `order-…`, `rescue-…`, `driver-…` or `rider-…`.
    entity: String,
}

/// A line of the answer.
#[derive(Debug, Serialize)]
struct Line<'a> {
    version: u64,
    at: Timestamp,
    name: &'a str,
    event: serde_json::Value,
}

/// Prints all events of an entity, oldest first.
pub(crate) async fn run(settings: &Settings, args: &HistoryArgs) -> Result<(), Box<dyn Error>> {
    let entity = EntityKey::parse(&args.entity)
        .ok_or_else(|| format!("{:?} is no id; they look like order-0192f3c8…", args.entity))?;
    let opened = Opened::look(&settings.journal).await?;
    let journal = &opened.journal;
    let mut after = Version(0);
    loop {
        let page = journal.history(entity, after, N_PAGE).await?;
        let Some(last) = page.last() else { break };
        after = last.version;
        let mut out = io::stdout().lock();
        for recorded in &page {
            let event = recorded.event.to_json(entity.kind)?;
            let name = recorded.event.name.as_str();
            let line = Line { version: recorded.version.0, at: recorded.at, name, event };
            writeln!(out, "{}", serde_json::to_string(&line)?)?;
        }
    }
    opened.close().await?;
    match after {
        Version(0) => Err(format!("nothing ever happened to {}", args.entity).into()),
        Version(_) => Ok(()),
    }
}
