//! What operators are told: log lines and counters.

use crate::settings::{LogFormat, TelemetrySettings};
use metrics_exporter_prometheus::{BuildError, PrometheusBuilder, PrometheusHandle};
use thiserror::Error;
use tracing_subscriber::{EnvFilter, util::SubscriberInitExt};

/// Bounds of histograms of durations, in seconds.
const SECONDS: [f64; 14] = [
    0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 5.0,
];

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
    match settings.format {
        LogFormat::Text => log.finish().try_init()?,
        LogFormat::Json => log.json().flatten_event(true).finish().try_init()?,
    }
    Ok(PrometheusBuilder::new().set_buckets(&SECONDS)?.install_recorder()?)
}
