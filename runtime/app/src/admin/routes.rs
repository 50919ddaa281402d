//! The routes of the API.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::middleware::from_fn;
use axum::response::IntoResponse;
use axum::routing::get;

use super::answer::{of_type, plain_text, problem, to_json};
use super::{guard, metrics, partitions, reload, status};
use crate::board::Board;

/// Largest body of a request, in bytes.
const BODY_BYTES_MAX: usize = 64 << 10;
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Returns the router of the whole API.
pub fn router(board: Arc<Board>) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(scrape))
        .route("/api/v1/status", get(all))
        .merge(reload::routes())
        .merge(partitions::routes())
        .fallback(unknown_path)
        .method_not_allowed_fallback(other_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn(guard::guard))
        .with_state(board)
}

/// Answers as long as the process has threads that do. A restart does not help against clusters
/// that do not answer, so they do not count here.
async fn livez() -> impl IntoResponse {
    plain_text(StatusCode::OK, "ok\n".to_owned())
}

async fn readyz(State(board): State<Arc<Board>>) -> impl IntoResponse {
    let missing = board.not_ready();
    if missing.is_empty() {
        return plain_text(StatusCode::OK, "ok\n".to_owned());
    }
    plain_text(StatusCode::SERVICE_UNAVAILABLE, missing.join("\n") + "\n")
}

async fn scrape(State(board): State<Arc<Board>>) -> impl IntoResponse {
    match metrics::encode(board) {
        Ok(text) => of_type(StatusCode::OK, METRICS_TYPE, text),
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, &format!("metrics cannot be written: {error}")),
    }
}

async fn all(State(board): State<Arc<Board>>) -> impl IntoResponse {
    to_json(StatusCode::OK, &status::of(&board))
}

async fn unknown_path() -> impl IntoResponse {
    problem(
        StatusCode::NOT_FOUND,
        "nothing is here; see /livez, /readyz, /metrics, /api/v1/status, /api/v1/plugins and /api/v1/partitions",
    )
}

async fn other_method() -> impl IntoResponse {
    problem(StatusCode::METHOD_NOT_ALLOWED, "this path does not take this method")
}
