//! The admin port: HTTP/1 with `/metrics`, `/livez` and `/readyz`. Never reachable by clients.

use anyhow::Context as _;
use axum::Router;
use axum::extract::State;
use axum::routing::get;
use http::{StatusCode, header};
use tokio::net::TcpListener;

use crate::metrics::Metrics;
use crate::readiness::Readiness;

const OPENMETRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Serves until it is dropped: it goes last, so that a drain can be watched.
///
/// # Errors
/// If the listener fails.
pub async fn serve(
    listener: TcpListener,
    metrics: Metrics,
    readiness: Readiness,
) -> anyhow::Result<()> {
    axum::serve(listener, router(metrics, readiness)).await.context("the admin port failed")
}

fn router(metrics: Metrics, readiness: Readiness) -> Router {
    Router::new()
        .route("/metrics", get(encoded).with_state(metrics))
        // That this answers shows that the runtime turns, which is all a restart could mend.
        .route("/livez", get(|| async { "ok\n" }))
        .route("/readyz", get(ready).with_state(readiness))
}

async fn encoded(
    State(metrics): State<Metrics>,
) -> ([(header::HeaderName, &'static str); 1], String) {
    ([(header::CONTENT_TYPE, OPENMETRICS)], metrics.encode())
}

async fn ready(State(readiness): State<Readiness>) -> (StatusCode, String) {
    let checks = readiness.checks();
    let (status, verdict) = match checks.is_ready() {
        true => (StatusCode::OK, "ready"),
        false => (StatusCode::SERVICE_UNAVAILABLE, "not ready"),
    };
    let mut text = format!("{verdict}\n");
    for line in checks.lines() {
        text += &line;
        text.push('\n');
    }
    (status, text)
}
