//! `/api/v1/plugins`: the plugins of each link, and what an operator may have done with them.

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

use super::board::Board;
use super::plugins::{self, Plugin};
use super::routes::{Answer, problem, to_json};
use crate::run::reload::{LinkPlugins, ReloadError, ReloadOutcome, ReloadRequest};

/// What `/api/v1/plugins` says of a link.
#[derive(Debug, Serialize)]
struct OfLink {
    #[serde(flatten)]
    chain: LinkPlugins,
    /// The figures of the plugins that serve.
    figures: Vec<Plugin>,
}

/// What became of a link's chains, oldest first.
#[derive(Debug, Serialize)]
struct History {
    link: String,
    history: Vec<HistoryEntry>,
}

/// Nothing can be chosen in a rollback yet.
#[derive(Debug, Default, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Nothing {}

/// The routes.
pub fn routes() -> Router<Arc<Board>> {
    Router::new()
        .route("/api/v1/plugins", get(list))
        .route("/api/v1/plugins/{link}/history", get(history))
        .route("/api/v1/plugins/{link}/reload", post(reload))
        .route("/api/v1/plugins/{link}/rollback", post(rollback))
}

async fn list(State(board): State<Arc<Board>>) -> impl IntoResponse {
    let Some(reloads) = board.reloads() else { return not_prepared() };
    let of_link = |mut chain: LinkPlugins| {
        let link = board.link(&chain.link);
        let figures = link.and_then(|link| Some(plugins::of(link, link.work()?))).unwrap_or_default();
        if let Some(link) = link {
            chain.problem = chain.problem.map(|problem| link.hide(&problem));
        }
        OfLink { chain, figures }
    };
    let links: Vec<OfLink> = reloads.state().into_iter().map(of_link).collect();
    to_json(StatusCode::OK, &serde_json::json!({ "links": links }))
}

async fn history(State(board): State<Arc<Board>>, Path(link): Path<String>) -> impl IntoResponse {
    let Some(reloads) = board.reloads() else { return not_prepared() };
    match reloads.history(&link) {
        Ok(mut history) => {
            for entry in &mut history {
                hide(&board, &link, &mut entry.reason);
            }
            to_json(StatusCode::OK, &History { link, history })
        }
        Err(error) => refused(&error),
    }
}

async fn reload(State(board): State<Arc<Board>>, Path(link): Path<String>, body: Bytes) -> impl IntoResponse {
    let Some(reloads) = board.reloads() else { return not_prepared() };
    let request: ReloadRequest = match read(&body) {
        Ok(request) => request,
        Err(reason) => return problem(StatusCode::BAD_REQUEST, &reason),
    };
    tracing::info!(link, confirm = request.confirm, force = request.force, "a reload was asked for");
    let mut report = match reloads.reload(&link, request).await {
        Ok(report) => report,
        Err(error) => return refused(&error),
    };
    hide(&board, &link, &mut report.reason);
    match report.outcome {
        ReloadOutcome::Refused => problem(StatusCode::CONFLICT, &report.reason),
        ReloadOutcome::Unchanged | ReloadOutcome::Reloaded | ReloadOutcome::OnTrial => to_json(StatusCode::OK, &report),
    }
}

async fn rollback(State(board): State<Arc<Board>>, Path(link): Path<String>, body: Bytes) -> impl IntoResponse {
    let Some(reloads) = board.reloads() else { return not_prepared() };
    if let Err(reason) = read::<Nothing>(&body) {
        return problem(StatusCode::BAD_REQUEST, &reason);
    }
    tracing::info!(link, "a rollback was asked for");
    match reloads.rollback(&link).await {
        Ok(mut entry) => {
            hide(&board, &link, &mut entry.reason);
            to_json(StatusCode::OK, &entry)
        }
        Err(error) => refused(&error),
    }
}

fn not_prepared() -> Answer {
    problem(StatusCode::SERVICE_UNAVAILABLE, "the links are not prepared yet")
}

/// An empty body is an empty request.
fn read<T: DeserializeOwned + Default>(body: &Bytes) -> Result<T, String> {
    if body.is_empty() {
        return Ok(T::default());
    }
    serde_json::from_slice(body).map_err(|error| format!("the body: {error}"))
}

fn hide(board: &Board, link: &str, text: &mut String) {
    if let Some(link) = board.link(link) {
        *text = link.hide(text);
    }
}

fn refused(error: &ReloadError) -> Answer {
    let status = match error {
        ReloadError::UnknownLink { .. } => StatusCode::NOT_FOUND,
        ReloadError::Rollback { .. } => StatusCode::CONFLICT,
        ReloadError::Panicked(_) => StatusCode::INTERNAL_SERVER_ERROR,
    };
    problem(status, &error.to_string())
}
