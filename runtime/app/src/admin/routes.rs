//! What can be asked.

use std::sync::Arc;

use axum::Router;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, StatusCode};
use axum::middleware::from_fn;
use axum::response::IntoResponse;
use axum::routing::get;
use serde::Serialize;
use serde_json::json;

use super::board::Board;
use super::{exchange, guard, metrics, status};

/// Bodies of requests, in bytes.
const BODY_BYTES_MAX: usize = 64 << 10;
const METRICS_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// An answer: its status, its type, its text.
pub type Answer = (StatusCode, [(HeaderName, &'static str); 2], String);

/// The API.
pub fn router(board: Arc<Board>) -> Router {
    Router::new()
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(scrape))
        .route("/api/v1/status", get(all))
        .merge(exchange::routes())
        .fallback(nothing)
        .method_not_allowed_fallback(other_method)
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn(guard::guard))
        .with_state(board)
}

fn answer(status: StatusCode, kind: &'static str, text: String) -> Answer {
    (status, [(CONTENT_TYPE, kind), (CACHE_CONTROL, "no-store")], text)
}

/// An answer in JSON.
pub fn to_json(status: StatusCode, body: &impl Serialize) -> Answer {
    match serde_json::to_string(body) {
        Ok(text) => answer(status, "application/json", text),
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// An error, as every part of the API gives it.
pub fn problem(status: StatusCode, reason: &str) -> Answer {
    answer(status, "application/json", json!({ "error": reason }).to_string())
}

/// The process's threads answer. Clusters that do not are no reason to start it anew.
async fn livez() -> impl IntoResponse {
    answer(StatusCode::OK, "text/plain; charset=utf-8", "ok\n".to_owned())
}

async fn readyz(State(board): State<Arc<Board>>) -> impl IntoResponse {
    let missing = board.not_ready();
    if missing.is_empty() {
        return answer(StatusCode::OK, "text/plain; charset=utf-8", "ok\n".to_owned());
    }
    answer(StatusCode::SERVICE_UNAVAILABLE, "text/plain; charset=utf-8", missing.join("\n") + "\n")
}

async fn scrape(State(board): State<Arc<Board>>) -> impl IntoResponse {
    match metrics::encode(board) {
        Ok(text) => answer(StatusCode::OK, METRICS_TYPE, text),
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, &format!("metrics cannot be written: {error}")),
    }
}

async fn all(State(board): State<Arc<Board>>) -> impl IntoResponse {
    to_json(StatusCode::OK, &status::of(&board))
}

async fn nothing() -> impl IntoResponse {
    problem(StatusCode::NOT_FOUND, "nothing is here; see /livez, /readyz, /metrics, /api/v1/status and /api/v1/plugins")
}

async fn other_method() -> impl IntoResponse {
    problem(StatusCode::METHOD_NOT_ALLOWED, "this path does not take this method")
}
