//! `/api/v1/partitions`: what an operator asks of single partitions.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::StatusCode;
use axum::response::IntoResponse;
use axum::routing::post;
use serde::{Deserialize, Serialize};
use strait_core::{LaneId, lanes};
use strait_flow::{LinkStatus, RetryAnswer};

use super::answer::{problem, to_json};
use crate::board::{Board, Work};

/// How long a lane may take to answer. One that is being taken does not answer.
const LANE_TIMEOUT: Duration = Duration::from_secs(10);

/// The body of a retry.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct RetryRequest {
    topic: String,
    partition: i32,
}

/// The answer to a retry.
#[derive(Debug, Serialize)]
struct Retry {
    link: String,
    topic: String,
    partition: i32,
    lane: u32,
    /// `retried`, or `running` where there was nothing to retry.
    outcome: &'static str,
}

/// Returns the routes below `/api/v1/partitions`.
pub fn routes() -> Router<Arc<Board>> {
    Router::new().route("/api/v1/partitions/{link}/retry", post(retry))
}

async fn retry(State(board): State<Arc<Board>>, Path(name): Path<String>, body: Bytes) -> impl IntoResponse {
    let request: RetryRequest = match serde_json::from_slice(&body) {
        Ok(request) => request,
        Err(error) => return problem(StatusCode::BAD_REQUEST, &format!("the body: {error}")),
    };
    let Some(link) = board.link(&name) else {
        let known: Vec<&str> = board.links().iter().map(|link| &*link.name).collect();
        let text = format!("no link is named '{name}'; there are: {}", known.join(", "));
        return problem(StatusCode::NOT_FOUND, &text);
    };
    let Some(work) = link.work() else {
        return problem(StatusCode::SERVICE_UNAVAILABLE, "the link is not prepared yet");
    };
    tracing::info!(link = name, topic = request.topic, partition = request.partition, "a retry was requested");
    let lane = lanes::lane_of(&request.topic, request.partition, work.lanes);
    if let Err(reason) = has_lane(&work.status, lane, &request) {
        return problem(StatusCode::CONFLICT, &reason);
    }
    match ask(work, lane, &request).await {
        Ok(outcome) => {
            let RetryRequest { topic, partition } = request;
            to_json(StatusCode::OK, &Retry { link: name, topic, partition, lane: lane.0, outcome })
        }
        Err((status, reason)) => problem(status, &link.mask(&reason)),
    }
}

/// Checks that this process has the lane of a partition.
fn has_lane(status: &LinkStatus, lane: LaneId, request: &RetryRequest) -> Result<(), String> {
    let mine = status.lanes();
    if mine.contains_key(&lane) {
        return Ok(());
    }
    let RetryRequest { topic, partition } = request;
    let mine: Vec<String> = mine.keys().map(ToString::to_string).collect();
    let mine = if mine.is_empty() { "none".to_owned() } else { mine.join(", ") };
    Err(format!(
        "{topic}-{partition} is in lane {lane}, which this process does not have (it has {mine}); ask the process that has it"
    ))
}

/// Asks the lane. Returns the outcome, or the status and the reason of a refusal.
async fn ask(work: &Work, lane: LaneId, request: &RetryRequest) -> Result<&'static str, (StatusCode, String)> {
    let RetryRequest { topic, partition } = request;
    let answer = work.requests.retry(topic, *partition);
    match tokio::time::timeout(LANE_TIMEOUT, answer).await {
        Ok(Ok(RetryAnswer::Retried)) => Ok("retried"),
        Ok(Ok(RetryAnswer::Runs)) => Ok("running"),
        Ok(Ok(RetryAnswer::Refused(reason))) => Err((StatusCode::CONFLICT, format!("a retry does not help: {reason}"))),
        Ok(Ok(RetryAnswer::Unknown)) => {
            Err((StatusCode::NOT_FOUND, format!("the link does not copy a partition {topic}-{partition}")))
        }
        Ok(Err(_)) => Err((StatusCode::CONFLICT, format!("another request for {topic}-{partition} came meanwhile"))),
        Err(_) => {
            let trouble = work.status.lanes().remove(&lane).map(|lane| lane.trouble).filter(|text| !text.is_empty());
            let why = trouble.map(|trouble| format!(" ({trouble})")).unwrap_or_default();
            let text = format!("lane {lane} does not answer{why}; ask again once it runs");
            Err((StatusCode::SERVICE_UNAVAILABLE, text))
        }
    }
}

#[cfg(test)]
mod tests {
    use strait_flow::LaneState;

    use super::*;

    #[test]
    fn the_lane_of_another_process_is_named() {
        let status = LinkStatus::default();
        let request = RetryRequest { topic: "orders".to_owned(), partition: 3 };
        assert!(has_lane(&status, LaneId(2), &request).unwrap_err().contains("it has none"));
        for lane in [0, 1] {
            status.set_lane(LaneId(lane), LaneState::Running, Duration::ZERO);
        }
        let refused = has_lane(&status, LaneId(2), &request).unwrap_err();
        assert!(refused.contains("orders-3 is in lane 2") && refused.contains("it has 0, 1"), "{refused}");
        assert_eq!(has_lane(&status, LaneId(1), &request), Ok(()));
    }
}
