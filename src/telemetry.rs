//! What operators are told: log lines and counters.

use crate::settings::{LogFormat, TelemetrySettings};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use std::io::IsTerminal;
use thiserror::Error;
use tracing_subscriber::{EnvFilter, util::SubscriberInitExt};

/// Bounds of histograms of durations, in seconds.
const SECONDS: [f64; 14] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

/// The same for what happens between nodes: exact where alerts ask, at 0.2, 0.3, 1.5 and 3 s.
const CLUSTER_SECONDS: [f64; 16] = [
    0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 1.5, 3.0, 5.0, 10.0,
];

/// Bounds of how long somebody waited for what is promised within a minute or two, in seconds.
const WAITS: [f64; 12] =
    [1.0, 5.0, 15.0, 30.0, 60.0, 90.0, 120.0, 180.0, 300.0, 600.0, 1_200.0, 3_600.0];

/// Bounds of how many commits are written at once.
const BATCH: [f64; 9] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0];

/// Telemetry that could not be started.
#[derive(Debug, Error)]
pub(crate) enum TelemetryError {
    /// The filter makes no sense.
    #[error("telemetry.filter: {0}")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Somebody else writes the log already.
    #[error("log: {0}")]
    Log(#[from] tracing_subscriber::util::TryInitError),
    /// Somebody else counts already.
    #[error("metrics: {0}")]
    Metrics(#[from] BuildError),
}

/// Starts to log to standard error and to count; what was counted is read through the answer.
pub(crate) fn start(settings: &TelemetrySettings) -> Result<PrometheusHandle, TelemetryError> {
    let filter = EnvFilter::try_new(&settings.filter)?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    // Colours are for people.
    let log = log.with_ansi(std::io::stderr().is_terminal());
    match settings.format {
        LogFormat::Text => log.finish().try_init()?,
        LogFormat::Json => log.json().flatten_event(true).finish().try_init()?,
    }
    let metrics = PrometheusBuilder::new()
        .set_buckets(&SECONDS)?
        .set_buckets_for_metric(Matcher::Prefix("outrider_cluster_".into()), &CLUSTER_SECONDS)?
        .set_buckets_for_metric(Matcher::Full("outrider_wait_seconds".into()), &WAITS)?
        .set_buckets_for_metric(Matcher::Full("outrider_journal_batch_size".into()), &BATCH)?
        .set_buckets_for_metric(Matcher::Full("outrider_journal_load_batch_size".into()), &BATCH)?
        .install_recorder()?;
    metrics::gauge!("outrider_build_info", "version" => VERSION, "revision" => REVISION).set(1.0);
    Ok(metrics)
}

/// Which release this is.
const VERSION: &str = env!("CARGO_PKG_VERSION");
/// Which commit it was built from; empty if its builder did not say.
const REVISION: &str = match option_env!("OUTRIDER_REVISION") {
    Some(revision) => revision,
    None => "",
};

/// Which build this is, for people: `0.1.0`, or `0.1.0 (de7ed5b)` if its builder said from which commit.
pub(crate) fn build() -> String {
    match REVISION {
        "" => VERSION.to_owned(),
        revision => format!("{VERSION} ({revision})"),
    }
}
