//! `outrider sessions …`: who is connected to a running cluster, and what one of them hears and says.

use crate::{
    gateway::inspect::{Inspected, SessionPage},
    node::now,
    remote::{Remote, say, table},
    settings::Settings,
};
use clap::{Args, Subcommand};
use comfy_table::CellAlignment;
use protocol::Timestamp;
use reqwest::{Method, Url};
use std::{error::Error, time::Duration};

/// Longest event that is put together, in bytes.
const EVENT_BYTES_MAX: usize = 1_024 * 1_024;

/// Which sessions.
#[derive(Debug, Args)]
pub(crate) struct SessionsArgs {
    /// Where a node's gateway is; the one of the settings, if absent.
    #[arg(long, global = true, value_name = "URL", env = "OUTRIDER_AT")]
    at: Option<String>,
    /// Print JSON, an object a line, and nothing else.
    #[arg(long, global = true)]
    json: bool,
    /// Of this principal only: rider-…, driver-…, dispatcher.
    #[arg(long)]
    principal: Option<String>,
    /// What the page before said comes next.
    #[arg(long, value_name = "SESSION")]
    after: Option<String>,
    /// At most this many, 1 to 200.
    #[arg(long, default_value_t = 50)]
    limit: usize,
    #[command(subcommand)]
    command: Option<SessionsCommand>,
}

#[derive(Debug, Subcommand)]
enum SessionsCommand {
    /// Prints what a session hears and says from now on. The node's log says who listened.
    Tap {
        /// session-…
        session: String,
        /// For so long, 15 minutes at most.
        #[arg(long, default_value = "60s", value_parser = humantime::parse_duration)]
        r#for: Duration,
    },
}

/// Asks, and prints what was answered.
pub(crate) async fn run(settings: &Settings, args: &SessionsArgs) -> Result<(), Box<dyn Error>> {
    let remote = Remote::new(settings, args.at.as_deref())?;
    match &args.command {
        Some(SessionsCommand::Tap { session, r#for }) => {
            tap(&remote, session, *r#for, args.json).await
        }
        None => {
            // The host stands for any: only path and query are used.
            let mut path = Url::parse("http://node/admin/sessions")?;
            path.query_pairs_mut().append_pair("limit", &args.limit.to_string());
            for (name, value) in [("principal", &args.principal), ("after", &args.after)] {
                if let Some(value) = value {
                    path.query_pairs_mut().append_pair(name, value);
                }
            }
            let path = format!("{}?{}", path.path(), path.query().unwrap_or_default());
            let page: SessionPage = remote.ask(Method::GET, &path).await?.json().await?;
            say(&if args.json { serde_json::to_string(&page)? } else { told(&page, now()) })
        }
    }
}

/// The sessions in a table.
fn told(page: &SessionPage, now: Timestamp) -> String {
    let mut rows = table(&[
        "session",
        "principal",
        "node",
        "age s",
        "heard s ago",
        "speaks",
        "follows",
        "waiting",
        "under way",
        "in",
        "out",
        "tapped",
    ]);
    for row in &page.items {
        let Inspected { id, principal, node, since, heard_at, speaks, is_tapped, .. } = row;
        rows.add_row([
            id.to_string(),
            principal.clone(),
            node.clone().unwrap_or_default(),
            now.since(*since).as_secs().to_string(),
            now.since(*heard_at).as_secs().to_string(),
            speaks.clone(),
            row.n_followed.to_string(),
            row.n_waiting.to_string(),
            row.n_under_way.to_string(),
            row.n_heard.to_string(),
            row.n_said.to_string(),
            if *is_tapped { "yes" } else { "" }.to_owned(),
        ]);
    }
    for at in [3, 4, 6, 7, 8, 9, 10] {
        if let Some(column) = rows.column_mut(at) {
            column.set_cell_alignment(CellAlignment::Right);
        }
    }
    let mut text = vec![rows.to_string()];
    if let Some(next) = &page.next {
        text.push(format!("there may be more: --after {next}"));
    }
    if !page.silent.is_empty() {
        text.push(format!("no answer from {}", page.silent.join(", ")));
    }
    text.join("\n")
}

async fn tap(
    remote: &Remote,
    session: &str,
    lasts: Duration,
    is_json: bool,
) -> Result<(), Box<dyn Error>> {
    let lasts = humantime::format_duration(lasts).to_string().replace(' ', "%20");
    let mut frames =
        remote.follow(&format!("/admin/sessions/{session}/frames?for={lasts}")).await?;
    let mut rest = Vec::new();
    while let Some(bytes) = frames.chunk().await? {
        rest.extend_from_slice(&bytes);
        while let Some(end) = rest.windows(2).position(|it| it == b"\n\n") {
            let event: Vec<u8> = rest.drain(..end + 2).collect();
            if let Some(line) = line_of(&String::from_utf8_lossy(&event), is_json) {
                say(&line)?;
            }
        }
        if rest.len() > EVENT_BYTES_MAX {
            return Err("the node sends what is no event".into());
        }
    }
    Ok(())
}

/// An event as it is printed.
fn line_of(event: &str, is_json: bool) -> Option<String> {
    let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name));
    let (kind, data) = (field("event: ")?, field("data: ")?);
    if is_json {
        return Some(match kind {
            "end" => serde_json::json!({ "end": data }).to_string(),
            _ => data.to_owned(),
        });
    }
    if kind == "end" {
        return Some(format!("over: {data}"));
    }
    let line: crate::gateway::tap::Line = serde_json::from_str(data).ok()?;
    let dropped = match line.n_dropped {
        0 => String::new(),
        n => format!("({n} left out) "),
    };
    Some(format!("{} {:>3} {dropped}{}", line.at, line.way.word(), line.frame))
}
