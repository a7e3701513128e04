//! What operators are told: log lines and counters.

use crate::settings::{LogFormat, TelemetrySettings};
use metrics_exporter_prometheus::{BuildError, Matcher, PrometheusBuilder, PrometheusHandle};
use std::io::{self, IsTerminal};
use thiserror::Error;
use tracing::Dispatch;
use tracing_subscriber::{
    EnvFilter, Layer, Registry,
    filter::{FilterExt, LevelFilter, ParseError, filter_fn},
    fmt::{self, MakeWriter},
    layer::{Filter, SubscriberExt},
    util::SubscriberInitExt,
};

/// The target of what is logged whatever the filter says: who looked at what others say and hear.
pub(crate) const AUDIT: &str = "outrider::audit";

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
const BATCH: [f64; 10] = [1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0];

/// Telemetry that could not be started.
#[derive(Debug, Error)]
pub(crate) enum TelemetryError {
    /// The filter makes no sense.
    #[error("telemetry.filter: {0}")]
    Filter(#[from] ParseError),
    /// Somebody else writes the log already.
    #[error("log: {0}")]
    Log(#[from] tracing_subscriber::util::TryInitError),
    /// Somebody else counts already.
    #[error("metrics: {0}")]
    Metrics(#[from] BuildError),
}

/// Starts to log to standard error and to count; what was counted is read through the answer.
pub(crate) fn start(settings: &TelemetrySettings) -> Result<PrometheusHandle, TelemetryError> {
    // Colours are for people.
    log(settings, io::stderr, io::stderr().is_terminal())?.try_init()?;
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

/// What writes log lines.
fn log<W>(
    settings: &TelemetrySettings,
    writer: W,
    has_colours: bool,
) -> Result<Dispatch, ParseError>
where
    W: for<'a> MakeWriter<'a> + Send + Sync + 'static,
{
    let lines = fmt::layer().with_writer(writer).with_ansi(has_colours);
    let wanted = wanted(&settings.filter)?;
    Ok(match settings.format {
        LogFormat::Text => tracing_subscriber::registry().with(lines.with_filter(wanted)).into(),
        LogFormat::Json => {
            let lines = lines.json().flatten_event(true).with_filter(wanted);
            tracing_subscriber::registry().with(lines).into()
        }
    })
}

/// Which lines are shown: what the filter wants, and what nobody may leave out.
fn wanted(filter: &str) -> Result<impl Filter<Registry> + use<>, ParseError> {
    let audit = filter_fn(|line| line.target() == AUDIT).with_max_level_hint(LevelFilter::INFO);
    Ok(EnvFilter::try_new(filter)?.or(audit))
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

#[cfg(test)]
mod tests {
    use super::*;
    use std::{
        io::Write,
        sync::{Arc, Mutex},
    };
    use tracing::{dispatcher::with_default, info};

    /// What was written, by whoever has a copy of it.
    #[derive(Clone, Default)]
    struct Written(Arc<Mutex<Vec<u8>>>);

    impl Write for Written {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn no_filter_leaves_out_who_looked_at_what_others_say() {
        for (filter, format, others_too) in [
            ("info", LogFormat::Text, true),
            ("warn", LogFormat::Text, false),
            ("off", LogFormat::Json, false),
            ("off,outrider=off,outrider::audit=off", LogFormat::Text, false),
        ] {
            let written = Written::default();
            let settings = TelemetrySettings { filter: filter.to_owned(), format };
            let to = written.clone();
            let log = log(&settings, move || to.clone(), false).unwrap();
            with_default(&log, || {
                info!(target: AUDIT, by = "admin", "session tapped");
                info!("something else");
            });
            let written = String::from_utf8(written.0.lock().unwrap().clone()).unwrap();
            assert!(written.contains("session tapped"), "{filter}: {written}");
            assert_eq!(written.contains("something else"), others_too, "{filter}: {written}");
        }
    }
}
