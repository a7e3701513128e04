//! Whether the node is well, for those who run it, and what it has counted.

use super::Gate;
use axum::{
    Json,
    extract::State,
    http::{StatusCode, header},
    response::{IntoResponse, Response},
};
use protocol::{ShardId, ShardSet, Timestamp};
use serde::Serialize;
use std::sync::{Arc, atomic::Ordering};
use utoipa::ToSchema;

/// How the node is.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct Health {
    /// `ok`, or `draining` while it leaves.
    status: &'static str,
    /// Which build.
    version: &'static str,
    /// How many clients are connected.
    sessions: usize,
    /// Can the journal be read?
    journal: bool,
}

/// How the node is.
#[utoipa::path(get, path = "/health", tag = "health", responses((status = 200, body = Health)))]
pub(super) async fn health(State(gate): State<Arc<Gate>>) -> Json<Health> {
    let is_leaving = gate.drain.is_cancelled();
    Json(Health {
        status: if is_leaving { "draining" } else { "ok" },
        version: env!("CARGO_PKG_VERSION"),
        sessions: gate.n_sessions.load(Ordering::Acquire),
        journal: is_journal_readable(&gate).await,
    })
}

/// Is the process alive? If not, it should be started again.
#[utoipa::path(get, path = "/health/live", tag = "health", responses((status = 200)))]
pub(super) async fn live() -> Json<serde_json::Value> {
    Json(serde_json::json!({ "status": "ok" }))
}

/// Should it be sent work?
#[utoipa::path(
    get, path = "/health/ready", tag = "health",
    responses((status = 200, body = Health), (status = 503, body = Health))
)]
pub(super) async fn ready(state: State<Arc<Gate>>) -> Response {
    let Json(health) = health(state).await;
    let is_ready = health.status == "ok" && health.journal;
    let status = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    (status, Json(health)).into_response()
}

/// Counters for Prometheus.
#[utoipa::path(get, path = "/metrics", tag = "health", responses((status = 200, body = String)))]
pub(super) async fn metrics(State(gate): State<Arc<Gate>>) -> impl IntoResponse {
    gate.metrics.run_upkeep();
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], gate.metrics.render())
}

async fn is_journal_readable(gate: &Gate) -> bool {
    // Any question will do; this one is answered by one look at an index.
    let shards = ShardSet::from_iter([ShardId(0)]);
    let probe = gate.system.journal().deadlines(&shards, Timestamp(0), None, 1);
    matches!(tokio::time::timeout(gate.patience, probe).await, Ok(Ok(_)))
}
