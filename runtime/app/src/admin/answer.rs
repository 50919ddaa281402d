//! The answers of the API.

use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderName, StatusCode};
use serde::Serialize;
use serde_json::json;

/// An answer: status, headers, body.
pub type Answer = (StatusCode, [(HeaderName, &'static str); 2], String);

/// Returns an answer of this content type.
pub fn of_type(status: StatusCode, content_type: &'static str, body: String) -> Answer {
    (status, [(CONTENT_TYPE, content_type), (CACHE_CONTROL, "no-store")], body)
}

/// Returns an answer in plain text.
pub fn plain_text(status: StatusCode, body: String) -> Answer {
    of_type(status, "text/plain; charset=utf-8", body)
}

/// Returns an answer in JSON.
pub fn to_json(status: StatusCode, body: &impl Serialize) -> Answer {
    match serde_json::to_string(body) {
        Ok(text) => of_type(status, "application/json", text),
        Err(error) => problem(StatusCode::INTERNAL_SERVER_ERROR, &error.to_string()),
    }
}

/// Returns an error, in the form that all parts of the API use.
pub fn problem(status: StatusCode, reason: &str) -> Answer {
    of_type(status, "application/json", json!({ "error": reason }).to_string())
}
