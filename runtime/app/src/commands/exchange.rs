//! `strait plugin reload`, `rollback` and `history`: what a running process does with the plugins of its links.

use std::time::Duration;

use serde_json::{Value, json};

use super::status::{client, columns, failed, plain};
use super::{End, print, say};
use crate::admin::client::{Client, ClientError};
use crate::cli::{AdminAt, Output};

/// An answer from memory.
const PATIENCE: Duration = Duration::from_secs(10);
/// A reload reads, compiles and tries the plugins.
const EXCHANGE: Duration = Duration::from_secs(170);

/// What a process is told to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exchange {
    /// Load the plugins anew.
    Reload {
        /// Also where the new ones protect less than those that serve.
        confirm: bool,
        /// Also those that broke or were refused before.
        force: bool,
    },
    /// Go back to those before.
    Rollback,
}

/// Reloads or rolls back one link, or reloads all of them.
#[must_use]
pub fn exchange(at: &AdminAt, link: Option<&str>, what: Exchange, output: Output) -> End {
    let (client, links) = match reach(at, link) {
        Ok(reached) => reached,
        Err(end) => return end,
    };
    if what == Exchange::Rollback && links.len() != 1 {
        say(&format!("error: which link? Name one with --link: {}", links.join(", ")));
        return End::Failed;
    }
    let (verb, body) = match what {
        Exchange::Reload { confirm, force } => ("reload", json!({ "confirm": confirm, "force": force })),
        Exchange::Rollback => ("rollback", json!({})),
    };
    let mut end = End::Ok;
    let mut answers = Vec::new();
    for link in &links {
        match client.post(&format!("/api/v1/plugins/{link}/{verb}"), &body, EXCHANGE) {
            Ok(answer) => answers.push((link.clone(), answer)),
            Err(error) => {
                say(&format!("error: {link}: {}", plain(&error.to_string())));
                end = End::Failed;
            }
        }
    }
    let printed = match output {
        Output::Json => print(&format!("{:#}", Value::Object(answers.iter().cloned().collect()))),
        Output::Text => {
            let lines: Vec<String> = answers.iter().map(|(link, answer)| format!("{link}: {}", told(answer))).collect();
            if lines.is_empty() { End::Ok } else { print(&lines.join("\n")) }
        }
    };
    if end == End::Ok { printed } else { end }
}

/// Prints what became of each chain of plugins, oldest first.
#[must_use]
pub fn history(at: &AdminAt, link: Option<&str>, output: Output) -> End {
    let (client, links) = match reach(at, link) {
        Ok(reached) => reached,
        Err(end) => return end,
    };
    let mut all = serde_json::Map::new();
    for link in links {
        match client.get(&format!("/api/v1/plugins/{link}/history"), PATIENCE) {
            Ok(answer) => all.insert(link, answer),
            Err(error) => return failed(&error),
        };
    }
    match output {
        Output::Json => print(&format!("{:#}", Value::Object(all))),
        Output::Text => print(&all.iter().map(|(link, history)| table(link, history)).collect::<Vec<_>>().join("\n")),
    }
}

/// The process, and the link of it that was named, or all of them.
fn reach(at: &AdminAt, link: Option<&str>) -> Result<(Client, Vec<String>), End> {
    let client = client(at)?;
    let links = links(&client, link).map_err(|error| failed(&error))?;
    Ok((client, links))
}

/// The link that was named, or all of the process.
fn links(client: &Client, link: Option<&str>) -> Result<Vec<String>, ClientError> {
    if let Some(link) = link {
        return Ok(vec![link.to_owned()]);
    }
    let status = client.get("/api/v1/status", PATIENCE)?;
    let links = status.get("links").and_then(Value::as_array).into_iter().flatten();
    Ok(links.filter_map(|link| link.get("name")?.as_str().map(str::to_owned)).collect())
}

fn text<'a>(value: &'a Value, field: &str) -> &'a str {
    value.get(field).and_then(Value::as_str).unwrap_or_default()
}

fn told(entry: &Value) -> String {
    let mut line = format!("{}; {} serves", plain(text(entry, "outcome")), plain(text(entry, "serving")));
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
