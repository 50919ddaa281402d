//! The API without a cluster: views of a board, and the secrets that never appear in them.

use std::path::Path;
use std::sync::Arc;

use axum::body::Body;
use axum::http::{Method, Request, StatusCode};
use http_body_util::BodyExt;
use strait_core::{Event, PartitionKey, TopicId};
use strait_flow::ports::EventSink;
use strait_host::{HistoryEntry, OfferError};
use tower::ServiceExt;

use super::routes::router;
use crate::board::plugins::{LinkPlugins, PluginControl, ReloadError, ReloadReport, ReloadRequest};
use crate::board::{Board, Phase};
use crate::load::{self, Environment};

const CONFIG: &str =
    concat!(include_str!("../../tests/minimal.toml"), "[clusters.aws.kafka]\n\"sasl.password\" = \"canary\"\n");

fn board() -> Arc<Board> {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("strait.toml");
    std::fs::write(&file, CONFIG).unwrap();
    let loaded = load::load(Path::new(&file), &Environment::default()).unwrap();
    Board::new(&loaded.config, loaded.mask())
}

async fn ask(board: &Arc<Board>, method: Method, path: &str, headers: &[(&str, &str)]) -> (StatusCode, String) {
    let mut request = Request::builder().method(method).uri(path).header("host", "localhost");
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    let answer = router(Arc::clone(board)).oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
    let status = answer.status();
    let body = answer.into_body().collect().await.unwrap().to_bytes();
    (status, String::from_utf8(body.to_vec()).unwrap())
}

async fn get(board: &Arc<Board>, path: &str) -> (StatusCode, String) {
    ask(board, Method::GET, path, &[]).await
}

#[tokio::test]
async fn a_process_is_alive_all_the_time_and_ready_only_while_its_links_run() {
    let board = board();
    for (phase, missing) in [
        (Phase::Starting, "starting"),
        (Phase::Running, "link aws-to-gcp: is not prepared yet"),
        (Phase::Draining, "draining"),
        (Phase::Running, "draining"),
    ] {
        board.enter(phase);
        assert_eq!(get(&board, "/livez").await, (StatusCode::OK, "ok\n".to_owned()));
        let (status, text) = get(&board, "/readyz").await;
        assert!(status == StatusCode::SERVICE_UNAVAILABLE && text.contains(missing), "{phase:?}: {text}");
    }
}

#[tokio::test]
async fn status_and_metrics_show_events_and_mask_secrets() {
    let board = board();
    board.enter(Phase::Running);
    let link = board.link("aws-to-gcp").unwrap();
    let partition = PartitionKey { topic: "orders".into(), topic_id: TopicId([1; 16]), partition: 3 };
    let denied = Event::SourceDenied { partition, reason: "the broker said canary\u{1b}[2J".to_owned(), retry_ms: 1 };
    link.emit("aws-to-gcp", denied);
    for _ in 0..50 {
        link.emit("aws-to-gcp", Event::Fenced { lane: 0, reason: "by \"another\"\n".to_owned() });
    }
    link.set_ended("no right to canary");

    let (status, text) = get(&board, "/api/v1/status").await;
    assert_eq!(status, StatusCode::OK);
    assert!(!text.contains("canary") && text.contains("***"), "{text}");
    let shown: super::status::Status = serde_json::from_str(&text).unwrap();
    let shown = &shown.links[0];
    assert_eq!((shown.state.as_str(), shown.error.as_deref()), ("ended", Some("no right to ***")));
    assert_eq!((shown.events["fenced"], shown.recent_events.len()), (50, 20));

    let (_, page) = get(&board, "/metrics").await;
    let labels = "link=\"aws-to-gcp\",source=\"aws\",target=\"gcp\"";
    for line in [
        format!("strait_fenced_total{{{labels}}} 50\n"),
        format!("strait_events_total{{{labels},event=\"source_denied\"}} 1\n"),
        format!("strait_link_up{{{labels}}} 0.0\n"),
        "strait_ready 0.0\n".to_owned(),
    ] {
        assert!(page.contains(&line), "{line} in\n{page}");
    }
    assert!(!page.contains("canary"), "{page}");
}

#[tokio::test]
async fn errors_are_answered_as_json() {
    let board = board();
    let json = [("content-type", "application/json")];
    for (method, path, headers, wanted) in [
        (Method::GET, "/", &[][..], StatusCode::NOT_FOUND),
        (Method::GET, "/api/v2/status", &[], StatusCode::NOT_FOUND),
        (Method::POST, "/api/v1/status", &json, StatusCode::METHOD_NOT_ALLOWED),
        (Method::POST, "/api/v1/status", &[], StatusCode::UNSUPPORTED_MEDIA_TYPE),
        (Method::GET, "/livez", &[("origin", "http://evil.example")], StatusCode::FORBIDDEN),
    ] {
        let (status, text) = ask(&board, method.clone(), path, headers).await;
        assert_eq!(status, wanted, "{method} {path}");
        assert!(serde_json::from_str::<serde_json::Value>(&text).unwrap()["error"].is_string(), "{text}");
    }
}

/// The plugins of a link whose previous ones protect less.
struct Tightened;

#[async_trait::async_trait]
impl PluginControl for Tightened {
    fn state(&self) -> Vec<LinkPlugins> {
        Vec::new()
    }

    fn history(&self, _link: &str) -> Result<Vec<HistoryEntry>, ReloadError> {
        Ok(Vec::new())
    }

    async fn reload(&self, link: &str, _request: ReloadRequest) -> Result<ReloadReport, ReloadError> {
        Err(ReloadError::UnknownLink { link: link.to_owned(), known: String::new() })
    }

    async fn rollback(&self, link: &str, confirm: bool) -> Result<HistoryEntry, ReloadError> {
        assert!(!confirm, "an empty body confirms nothing");
        let error = OfferError::ProtectsLess(vec!["value$['canary'] is not looked at any more".to_owned()]);
        Err(ReloadError::Rollback { link: link.to_owned(), error })
    }
}

#[tokio::test]
async fn going_back_to_plugins_that_protect_less_is_a_conflict_with_the_way_to_confirm_it() {
    let board = board();
    board.set_plugin_control(Arc::new(Tightened));
    let json = [("content-type", "application/json")];
    let (status, text) = ask(&board, Method::POST, "/api/v1/plugins/aws-to-gcp/rollback", &json).await;
    assert_eq!(status, StatusCode::CONFLICT);
    assert!(text.contains("value$['***']") && text.contains("confirm it with --confirm"), "{text}");
}
