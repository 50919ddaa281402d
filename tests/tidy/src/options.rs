//! The tables of `docs/configuration.md`, made from the configuration model and its doc comments.

use std::collections::BTreeMap;

use serde_json::{Map, Value, json};
use strait_core::config::{refused, structure};

use crate::{Finding, Tree};

/// The file with the tables.
pub const FILE: &str = "docs/configuration.md";

/// Each table's heading and the structure of the model that it shows.
const TABLES: [(&str, &str); 12] = [
    ("### Top", ROOT),
    ("### `clusters.<name>`", "Cluster"),
    ("### `clusters.<name>.auth`", "Auth"),
    ("### `[[links]]`", "Link"),
    ("### `links.reload`", "Reload"),
    ("### `links.sync`", "Sync"),
    ("### `links.mm2`", "Mm2"),
    ("### `[[links.values]]`", "Framing"),
    ("### `[[links.plugins]]`", "PluginUse"),
    ("### `limits` of a plugin", "PluginLimits"),
    ("### `log`", "Log"),
    ("### `admin`", "Admin"),
];
/// The structure that is the whole configuration.
const ROOT: &str = "Config";
const REFUSED_HEADING: &str = "## Refused properties";

/// Returns the file as it should be: its prose as it is, its tables made anew.
///
/// # Errors
/// A heading without a table.
pub fn generate(tree: &Tree) -> Result<String, Finding> {
    let schema = structure::schema();
    let mut text = tree.text(FILE).to_owned();
    let fields = fields(tree)?;
    for (heading, name) in TABLES {
        let pointer = if name == ROOT { String::new() } else { format!("/$defs/{name}") };
        let (Some(part), Some(order)) = (schema.pointer(&pointer), fields.get(name)) else {
            return Err(Finding::of_file(FILE, format!("the configuration model has no {name}")));
        };
        text = replace_table(&text, heading, &options_table(&schema, part, order))?;
    }
    replace_table(&text, REFUSED_HEADING, &refused_table())
}

/// Returns the fields of the model's structures in their order, which the schema does not keep.
fn fields(tree: &Tree) -> Result<BTreeMap<String, Vec<String>>, Finding> {
    let mut fields = BTreeMap::new();
    for (path, text) in tree.files("runtime/core/src/config/", ".rs") {
        let file = syn::parse_file(text).map_err(|e| Finding::of_file(path, format!("does not parse: {e}")))?;
        for item in file.items {
            if let syn::Item::Struct(model) = item {
                let names = model.fields.iter().filter_map(|field| field.ident.as_ref().map(ToString::to_string));
                fields.insert(model.ident.to_string(), names.collect());
            }
        }
    }
    Ok(fields)
}

fn options_table(schema: &Value, part: &Value, order: &[String]) -> String {
    let mut table = String::from("| Option | Default | Meaning |\n|---|---|---|\n");
    let empty = Vec::new();
    let required = part.get("required").and_then(Value::as_array).unwrap_or(&empty);
    for name in order {
        let Some(option) = part.pointer(&format!("/properties/{name}")) else { continue };
        let default = match option.get("default") {
            _ if required.contains(&json!(name)) => "required".to_owned(),
            _ if has_own_table(name) => "see below".to_owned(),
            None | Some(Value::Null) => "none".to_owned(),
            Some(default) => format!("`{default}`"),
        };
        table.push_str(&format!("| `{name}` | {default} | {} |\n", meaning(schema, option).replace('|', "\\|")));
    }
    table
}

fn has_own_table(name: &str) -> bool {
    ["admin", "auth", "limits", "log", "mm2", "reload", "sync"].contains(&name)
}

/// Joins an option's description, its range and the meaning of each of its values.
fn meaning(schema: &Value, option: &Value) -> String {
    let mut parts = vec![description(option)];
    if let (Some(min), Some(max)) = (option.get("minimum"), option.get("maximum")) {
        parts.push(format!("Range: {min} to {max}."));
    }
    let reference = option.get("$ref").and_then(Value::as_str).and_then(|r| schema.pointer(r.trim_start_matches('#')));
    let values = ["oneOf", "anyOf"].iter().find_map(|key| reference?.get(key)?.as_array());
    for value in values.into_iter().flatten() {
        match value.get("const") {
            Some(name) => parts.push(format!("`{name}`: {}", description(value))),
            None => parts.push(description(value)),
        }
    }
    parts.retain(|part| !part.is_empty());
    parts.join(" ")
}

fn description(value: &Value) -> String {
    let text = value.get("description").and_then(Value::as_str).unwrap_or_default();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn refused_table() -> String {
    let mut table = String::from("| Property | Why | Instead |\n|---|---|---|\n");
    for property in refused::REFUSED {
        let instead = property.instead.unwrap_or("-");
        table.push_str(&format!("| `{}` | {} | {instead} |\n", property.name, property.reason));
    }
    table
}

/// Replaces the first table under a heading.
fn replace_table(text: &str, heading: &str, table: &str) -> Result<String, Finding> {
    let missing = || Finding::of_file(FILE, format!("has no table under the heading '{heading}'"));
    let at = text.find(&format!("\n{heading}\n")).ok_or_else(missing)?;
    let (before, section) = text.split_at(at + heading.len() + 2);
    let end = section.find("\n#").unwrap_or(section.len());
    let start = section.find("\n|").filter(|start| *start < end).ok_or_else(missing)? + 1;
    let (prose, rest) = section.split_at(start);
    let old: usize = rest.split_inclusive('\n').take_while(|line| line.starts_with('|')).map(str::len).sum();
    let (_, after) = rest.split_at(old);
    Ok([before, prose, table, after].concat())
}

/// Returns the parts of the schema that hold options and stand in no table.
pub fn untabled() -> Vec<String> {
    let schema = structure::schema();
    let empty = Map::new();
    let definitions = schema.get("$defs").and_then(Value::as_object).unwrap_or(&empty);
    let with_options = definitions.iter().filter(|(_, part)| part.get("properties").is_some());
    let names = with_options.map(|(name, _)| name);
    names.filter(|name| !TABLES.iter().any(|(_, tabled)| tabled == name)).cloned().collect()
}
