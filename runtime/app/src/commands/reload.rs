//! `strait plugin reload`, `rollback` and `history`: the plugins of a running process.

use std::time::Duration;

use serde_json::{Value, json};

use super::status::{client, columns, plain};
use super::{End, failed, print, print_message};
use crate::admin::client::{Client, ClientError};
use crate::cli::{LinkAt, Output};

/// How long an answer from memory may take.
const ANSWER_TIMEOUT: Duration = Duration::from_secs(10);
/// How long a reload may take: it reads, compiles and tries the plugins.
const RELOAD_TIMEOUT: Duration = Duration::from_secs(170);

/// A request that changes the plugins of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Request {
    /// Load the plugins again.
    Reload {
        /// Accept plugins that protect less than the active ones.
        confirm: bool,
        /// Retry plugins that broke or were refused before.
        force: bool,
    },
    /// Go back to the previous plugins.
    Rollback {
        /// Accept that they protect less than the active ones.
        confirm: bool,
    },
}

/// Sends a request for one link, or reloads all of them.
#[must_use]
pub fn send(on: &LinkAt, request: Request) -> End {
    let (client, links) = match connect(on) {
        Ok(connected) => connected,
        Err(end) => return end,
    };
    if matches!(request, Request::Rollback { .. }) && links.len() != 1 {
        print_message(&format!("error: which link? Name one with --link: {}", links.join(", ")));
        return End::Failed;
    }
    let (verb, body) = match request {
        Request::Reload { confirm, force } => ("reload", json!({ "confirm": confirm, "force": force })),
        Request::Rollback { confirm } => ("rollback", json!({ "confirm": confirm })),
    };
    let mut end = End::Ok;
    let mut answers = Vec::new();
    for link in &links {
        match client.post(&format!("/api/v1/plugins/{link}/{verb}"), &body, RELOAD_TIMEOUT) {
            Ok(answer) => answers.push((link.clone(), answer)),
            Err(error) => {
                print_message(&format!("error: {link}: {}", plain(&error.to_string())));
                end = End::Failed;
            }
        }
    }
    let printed = match on.output {
        Output::Json => print(&format!("{:#}", Value::Object(answers.iter().cloned().collect()))),
        Output::Text => {
            let lines: Vec<String> =
                answers.iter().map(|(link, answer)| format!("{link}: {}", outcome_line(answer))).collect();
            if lines.is_empty() { End::Ok } else { print(&lines.join("\n")) }
        }
    };
    if end == End::Ok { printed } else { end }
}

/// Prints the reloads and rollbacks of each link, oldest first.
#[must_use]
pub fn history(on: &LinkAt) -> End {
    let (client, links) = match connect(on) {
        Ok(connected) => connected,
        Err(end) => return end,
    };
    let mut all = serde_json::Map::new();
    for link in links {
        match client.get(&format!("/api/v1/plugins/{link}/history"), ANSWER_TIMEOUT) {
            Ok(answer) => all.insert(link, answer),
            Err(error) => return failed(&error),
        };
    }
    match on.output {
        Output::Json => print(&format!("{:#}", Value::Object(all))),
        Output::Text => print(&all.iter().map(|(link, history)| table(link, history)).collect::<Vec<_>>().join("\n")),
    }
}

/// Returns the process's API, and the named link or all of the process.
fn connect(on: &LinkAt) -> Result<(Client, Vec<String>), End> {
    let client = client(&on.at)?;
    let links = links(&client, on.link.as_deref()).map_err(|error| failed(&error))?;
    Ok((client, links))
}

fn links(client: &Client, link: Option<&str>) -> Result<Vec<String>, ClientError> {
    if let Some(link) = link {
        return Ok(vec![link.to_owned()]);
    }
    let status = client.get("/api/v1/status", ANSWER_TIMEOUT)?;
    let links = status.get("links").and_then(Value::as_array).into_iter().flatten();
    Ok(links.filter_map(|link| link.get("name")?.as_str().map(str::to_owned)).collect())
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn outcome_line(entry: &Value) -> String {
    let mut line = format!("{}; {} is active", plain(text(entry, "outcome")), plain(text(entry, "serving")));
    if let Some(took_ms) = entry.get("took_ms").and_then(Value::as_u64) {
        line.push_str(&format!(" ({took_ms} ms)"));
    }
    let reason = text(entry, "reason");
    if !reason.is_empty() {
        line.push_str(&format!(": {}", plain(reason)));
    }
    let restart = entry.get("needs_restart").and_then(Value::as_array).into_iter().flatten();
    let restart: Vec<String> = restart.filter_map(Value::as_str).map(plain).collect();
    if !restart.is_empty() {
        line.push_str(&format!("; takes effect at the next start only: {}", restart.join(", ")));
    }
    line
}

fn table(link: &str, history: &Value) -> String {
    let entries = history.get("history").and_then(Value::as_array).into_iter().flatten();
    let rows: Vec<Vec<String>> = entries
        .map(|entry| {
            let time = entry.get("at_unix_ms").and_then(Value::as_i64).unwrap_or_default();
            let fields = [text(entry, "outcome"), text(entry, "generation"), text(entry, "reason")];
            std::iter::once(utc(time)).chain(fields.iter().map(|field| plain(field))).collect()
        })
        .collect();
    format!("{}\n{}", plain(link), columns(&["TIME (UTC)", "OUTCOME", "PLUGINS", "REASON"], &rows))
}

fn utc(unix_ms: i64) -> String {
    jiff::Timestamp::from_millisecond(unix_ms).map_or_else(|_| format!("{unix_ms} ms"), |time| time.to_string())
}
