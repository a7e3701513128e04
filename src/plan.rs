//! `outrider plan …`: routes for the vehicles and jobs of a file, as a running node plans them.

use crate::{
    gateway::plans::{PlannedRoute, RoutePlan, WaysBy},
    remote::{Remote, say, table},
    settings::Settings,
};
use clap::Args;
use comfy_table::CellAlignment;
use protocol::Timestamp;
use serde_json::Value;
use std::{error::Error, fs, io, path::PathBuf, time::Duration};

/// How long a node may take: longer than it searches at most.
const PATIENCE: Duration = Duration::from_secs(20);

/// What a file looks like.
pub(crate) const BY_EXAMPLE: &str = "\
Two jobs for one vehicle; moments are milliseconds since 1970, and docs/routes.md has every key
  outrider plan - <<'JSON'
  {
    \"vehicles\": [{
      \"id\": \"van\", \"start\": {\"lat\": -1.95, \"lon\": 30.06}, \"capacity\": 3,
      \"shift_from\": 1767225600000, \"shift_until\": 1767240000000
    }],
    \"jobs\": [
      {\"id\": \"a\", \"size\": 1, \"pickup\": {\"at\": {\"lat\": -1.94, \"lon\": 30.07}},
                           \"dropoff\": {\"at\": {\"lat\": -1.93, \"lon\": 30.1}, \"closes_at\": 1767229200000}},
      {\"id\": \"b\", \"visit\": {\"at\": {\"lat\": -1.96, \"lon\": 30.09}, \"service_s\": 600}}
    ]
  }
  JSON";

/// What is planned, and by whom.
#[derive(Debug, Args)]
pub(crate) struct PlanArgs {
    /// A file with the body of `POST /v1/routes/plan`; `-` for what is written to the standard input.
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// Where a node's gateway is; the one of the settings, if absent.
    #[arg(long, value_name = "URL", env = "OUTRIDER_AT")]
    at: Option<String>,
    /// Print one JSON object and nothing else.
    #[arg(long)]
    json: bool,
}

/// Asks, and prints what was answered.
pub(crate) async fn run(settings: &Settings, args: &PlanArgs) -> Result<(), Box<dyn Error>> {
    let text = match args.file.as_os_str() == "-" {
        true => io::read_to_string(io::stdin())?,
        false => fs::read_to_string(&args.file)
            .map_err(|error| format!("{}: {error}", args.file.display()))?,
    };
    let body: Value = serde_json::from_str(&text)
        .map_err(|error| format!("{} is no JSON: {error}", args.file.display()))?;
    let remote = Remote::new(settings, args.at.as_deref())?;
    let answer = remote.post_within("/v1/routes/plan", &body, PATIENCE).await?;
    let plan: RoutePlan = answer.json().await?;
    say(&if args.json { serde_json::to_string(&plan)? } else { told(&plan) })
}

/// Each route in a table, and what is in none.
fn told(plan: &RoutePlan) -> String {
    let mut parts: Vec<String> = plan.routes.iter().map(route_told).collect();
    for it in &plan.unserved {
        parts.push(format!("{} is left out: {}", it.job, it.reason.name()));
    }
    let ways = match plan.ways {
        WaysBy::Roads => "by streets",
        WaysBy::StraightLine => "by straight lines",
    };
    let search = &plan.search;
    parts.push(format!(
        "{} vehicles, {} jobs left out; cost {:.0} s; {} rounds in {:.2} s, ended by {}; ways {ways}",
        plan.routes.len(),
        plan.unserved.len(),
        search.cost_s,
        search.iterations,
        search.seconds,
        search.ended_by.name(),
    ));
    parts.join("\n\n")
}

fn route_told(route: &PlannedRoute) -> String {
    let mut rows = table(&["after", "job", "what", "at", "waits", "load", "drives", "metres"]);
    let after = |at: Timestamp| minutes(at.ms_since(route.departs_at) as f64 / 1_000.0);
    for stop in &route.stops {
        rows.add_row([
            after(stop.arrives_at),
            stop.job.clone(),
            stop.what.name().to_owned(),
            stop.at.to_string(),
            minutes(stop.wait_s),
            stop.load.to_string(),
            minutes(stop.driving_s),
            stop.distance_m.to_string(),
        ]);
    }
    for column in rows.column_iter_mut().skip(4) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!(
        "{} leaves at {} and ends after {}: drives {} ({} m), waits {}, stands {}\n{rows}",
        route.vehicle,
        route.departs_at,
        after(route.ends_at),
        minutes(route.driving_s),
        route.distance_m,
        minutes(route.waiting_s),
        minutes(route.service_s),
    )
}

/// In minutes and seconds.
fn minutes(seconds: f64) -> String {
    let whole = seconds.max(0.0).round() as u64;
    format!("{}:{:02}", whole / 60, whole % 60)
}
