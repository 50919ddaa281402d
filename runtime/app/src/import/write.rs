//! Writes the new configuration.

use serde_json::{Map, Value};

use super::{Finding, Outcome};

/// The options that are written first.
const FIRST: [&str; 8] = ["kind", "name", "source", "target", "topics", "topics_exclude", "naming", "plugin"];

/// The options that are tables of their own.
const TABLES: [&str; 5] = ["kafka", "auth", "sync", "mm2", "plugins"];

/// Writes the configuration. Tables of tables go last, as TOML wants them. Refusals stand at the
/// top.
pub(super) fn toml(clusters: &Map<String, Value>, links: &[Map<String, Value>], findings: &[Finding]) -> String {
    let mut text = String::from("# Made from a configuration of MirrorMaker 2. Try it with: strait check\n");
    for finding in findings.iter().filter(|finding| finding.outcome == Outcome::Refused) {
        text.push_str(&format!("# NOT carried over: {} (line {}): {}\n", finding.name, finding.line, finding.text));
    }
    for (name, cluster) in clusters {
        let Some(cluster) = cluster.as_object() else { continue };
        text.push_str(&format!("\n[clusters.{name}]\n"));
        entries(&mut text, cluster);
        if let Some(kafka) = cluster.get("kafka").and_then(Value::as_object) {
            text.push_str(&format!("[clusters.{name}.kafka]\n"));
            entries(&mut text, kafka);
        }
        if let Some(auth) = cluster.get("auth").and_then(Value::as_object) {
            text.push_str(&format!("[clusters.{name}.auth]\n"));
            entries(&mut text, auth);
        }
    }
    for link in links {
        text.push_str("\n[[links]]\n");
        entries(&mut text, link);
        for name in ["sync", "mm2"] {
            let Some(table) = link.get(name).and_then(Value::as_object) else { continue };
            text.push_str(&format!("[links.{name}]\n"));
            entries(&mut text, table);
        }
        for plugin in link.get("plugins").and_then(Value::as_array).into_iter().flatten() {
            text.push_str("[[links.plugins]]\n");
            plugin.as_object().into_iter().for_each(|plugin| entries(&mut text, plugin));
        }
    }
    text
}

fn entries(text: &mut String, table: &Map<String, Value>) {
    let place = |name: &str| FIRST.iter().position(|first| *first == name).unwrap_or(FIRST.len());
    let mut entries: Vec<(&String, &Value)> =
        table.iter().filter(|(name, _)| !TABLES.contains(&name.as_str())).collect();
    entries.sort_by_key(|(name, _)| (place(name), name.as_str()));
    for (name, value) in entries {
        text.push_str(&format!("{} = {}\n", key(name), inline(value)));
    }
}

/// Writes a key, in quotes where it has other characters than a bare one.
fn key(name: &str) -> String {
    let is_bare = name.chars().all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-');
    if is_bare { name.to_owned() } else { toml::Value::String(name.to_owned()).to_string() }
}

pub(super) fn inline(value: &Value) -> String {
    match value {
        Value::String(text) => toml::Value::String(text.clone()).to_string(),
        Value::Array(list) => format!("[{}]", list.iter().map(inline).collect::<Vec<_>>().join(", ")),
        Value::Object(table) => {
            let entries: Vec<String> =
                table.iter().map(|(name, value)| format!("{} = {}", key(name), inline(value))).collect();
            format!("{{ {} }}", entries.join(", "))
        }
        other => other.to_string(),
    }
}
