//! `/api/v1/plugins`: the plugins of each link, their reloads and rollbacks.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use serde::Serialize;
use serde::de::DeserializeOwned;
use strait_host::HistoryEntry;

use super::answer::{Answer, problem, to_json};
use super::plugins::{self, Plugin};
use crate::board::Board;
use crate::board::plugins::{LinkPlugins, ReloadError, ReloadOutcome, ReloadRequest};

/// The plugins of a link, as `/api/v1/plugins` lists them.
#[derive(Debug, Serialize)]
struct LinkView {
    #[serde(flatten)]
    chain: LinkPlugins,
    /// The figures of the active plugins.
    figures: Vec<Plugin>,
}

/// The reloads and rollbacks of a link, oldest first.
#[derive(Debug, Serialize)]
struct History {
    link: String,
    history: Vec<HistoryEntry>,
}

/// The options of a rollback.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RollbackRequest {
    /// Go back although the previous plugins protect less.
    confirm: bool,
}

/// Returns the routes below `/api/v1/plugins`.
pub fn routes() -> Router<Arc<Board>> {
    Router::new()
        .route("/api/v1/plugins", get(list))
        .route("/api/v1/plugins/{link}/history", get(history))
        .route("/api/v1/plugins/{link}/reload", post(reload))
        .route("/api/v1/plugins/{link}/rollback", post(rollback))
}

async fn list(State(board): State<Arc<Board>>) -> impl IntoResponse {
    let Some(control) = board.plugin_control() else { return not_prepared() };
    let view = |mut chain: LinkPlugins| {
        let link = board.link(&chain.link);
        let figures = link.and_then(|link| Some(plugins::of(link, link.work()?))).unwrap_or_default();
        if let Some(link) = link {
            chain.problem = chain.problem.map(|problem| link.mask(&problem));
        }
        LinkView { chain, figures }
    };
    let links: Vec<LinkView> = control.state().into_iter().map(view).collect();
    to_json(StatusCode::OK, &serde_json::json!({ "links": links }))
}

async fn history(State(board): State<Arc<Board>>, Path(link): Path<String>) -> impl IntoResponse {
    let Some(control) = board.plugin_control() else { return not_prepared() };
    match control.history(&link) {
        Ok(mut history) => {
            for entry in &mut history {
                mask(&board, &link, &mut entry.reason);
            }
            to_json(StatusCode::OK, &History { link, history })
        }
        Err(error) => refused(&board, &link, &error),
    }
}

async fn reload(State(board): State<Arc<Board>>, Path(link): Path<String>, body: Bytes) -> impl IntoResponse {
    let Some(control) = board.plugin_control() else { return not_prepared() };
    let request: ReloadRequest = match read(&body) {
        Ok(request) => request,
        Err(reason) => return problem(StatusCode::BAD_REQUEST, &reason),
    };
    tracing::info!(link, confirm = request.confirm, force = request.force, "a reload was requested");
    let mut report = match control.reload(&link, request).await {
        Ok(report) => report,
        Err(error) => return refused(&board, &link, &error),
    };
    mask(&board, &link, &mut report.reason);
    match report.outcome {
        ReloadOutcome::Refused => problem(StatusCode::CONFLICT, &report.reason),
        ReloadOutcome::Unchanged | ReloadOutcome::Reloaded | ReloadOutcome::OnTrial => to_json(StatusCode::OK, &report),
    }
}

async fn rollback(State(board): State<Arc<Board>>, Path(link): Path<String>, body: Bytes) -> impl IntoResponse {
    let Some(control) = board.plugin_control() else { return not_prepared() };
    let RollbackRequest { confirm } = match read(&body) {
        Ok(request) => request,
        Err(reason) => return problem(StatusCode::BAD_REQUEST, &reason),
    };
    tracing::info!(link, confirm, "a rollback was requested");
    match control.rollback(&link, confirm).await {
        Ok(mut entry) => {
            mask(&board, &link, &mut entry.reason);
            to_json(StatusCode::OK, &entry)
        }
        Err(error) => refused(&board, &link, &error),
    }
}

fn not_prepared() -> Answer {
    problem(StatusCode::SERVICE_UNAVAILABLE, "the links are not prepared yet")
}

/// Reads the body of a request. An empty body is a request with all defaults.
fn read<T: DeserializeOwned + Default>(body: &Bytes) -> Result<T, String> {
    if body.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(body).map_err(|error| format!("the body: {error}"))
}

fn mask(board: &Board, link: &str, text: &mut String) {
    if let Some(link) = board.link(link) {
        *text = link.mask(text);
    }
}

fn refused(board: &Board, link: &str, error: &ReloadError) -> Answer {
    let status = match error {
        ReloadError::UnknownLink { .. } => StatusCode::NOT_FOUND,
        ReloadError::Rollback { .. } => StatusCode::CONFLICT,
        ReloadError::Panicked(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    let mut text = error.to_string();
    mask(board, link, &mut text);
    problem(status, &text)
}
