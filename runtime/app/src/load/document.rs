//! Parses a configuration file by its format.

use std::path::Path as FilePath;

use serde_json::{Map, Number, Value};
use strait_core::config::Path;
use toml::de::{DeTable, DeValue};

use super::tree::{Parsed, Places, SyntaxError};
use super::yaml::{self, YamlError};

/// The format of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// `.toml`
    Toml,
    /// `.yaml`, `.yml`
    Yaml,
    /// `.json`
    Json,
}

impl std::fmt::Display for Format {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Toml => "TOML",
            Self::Yaml => "YAML",
            Self::Json => "JSON",
        })
    }
}

impl Format {
    /// Returns the format that the extension of a file name stands for.
    #[must_use]
    pub fn of(path: &FilePath) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "toml" => Some(Self::Toml),
            "yaml" | "yml" => Some(Self::Yaml),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// Parses a text.
///
/// # Errors
/// The syntax errors that the parser of the format finds.
pub fn parse(text: &str, format: Format) -> Result<Parsed, Vec<SyntaxError>> {
    match format {
        Format::Toml => parse_toml(text),
        Format::Yaml => yaml::parse(text).map_err(|error| vec![error.into()]),
        Format::Json => parse_json(text),
    }
}

fn parse_json(text: &str) -> Result<Parsed, Vec<SyntaxError>> {
    let tree = serde_json::from_str(text).map_err(|error| {
        let at = byte_at(text, error.line(), error.column());
        let message = error.to_string();
        // serde_json repeats the position in its text; the report shows it already.
        let message = message.split(" at line ").next().unwrap_or_default().to_owned();
        vec![SyntaxError { span: at..at, message }]
    })?;
    // The YAML parser reads JSON with positions, and finds duplicate keys, which serde_json
    // accepts. Of what only JSON has (surrogate escapes) the positions are lost, not the content.
    match yaml::parse(text) {
        Ok(parsed) => Ok(Parsed { tree, ..parsed }),
        Err(YamlError::DuplicateKey(error)) => Err(vec![error]),
        Err(YamlError::Syntax(_)) => Ok(Parsed { tree, places: Places::default() }),
    }
}

fn byte_at(text: &str, line: usize, column: usize) -> usize {
    let before: usize = text.split_inclusive('\n').take(line.saturating_sub(1)).map(str::len).sum();
    (before + column.saturating_sub(1)).min(text.len())
}

fn parse_toml(text: &str) -> Result<Parsed, Vec<SyntaxError>> {
    let (table, errors) = DeTable::parse_recoverable(text);
    if !errors.is_empty() {
        let errors = errors
            .iter()
            .map(|error| SyntaxError { span: error.span().unwrap_or(0..0), message: error.message().to_owned() });
        return Err(errors.collect());
    }
    let mut places = Places::default();
    let tree = from_table(table.get_ref(), &mut Path::default(), &mut places);
    Ok(Parsed { tree, places })
}

fn from_table(table: &DeTable<'_>, at: &mut Path, places: &mut Places) -> Value {
    let mut fields = Map::new();
    for (key, value) in table {
        at.push_key(key.get_ref());
        places.set_key(at, key.span());
        places.set_value(at, value.span());
        fields.insert(key.get_ref().to_string(), from_value(value.get_ref(), at, places));
        at.pop();
    }
    Value::Object(fields)
}

fn from_value(value: &DeValue<'_>, at: &mut Path, places: &mut Places) -> Value {
    match value {
        DeValue::String(text) => Value::String(text.to_string()),
        DeValue::Integer(number) => i64::from_str_radix(number.as_str(), number.radix())
            .map_or_else(|_| Value::String(number.to_string()), Value::from),
        DeValue::Float(number) => number
            .as_str()
            .parse()
            .ok()
            .and_then(Number::from_f64)
            .map_or_else(|| Value::String(number.to_string()), Value::Number),
        DeValue::Boolean(flag) => Value::Bool(*flag),
        DeValue::Datetime(time) => Value::String(time.to_string()),
        DeValue::Array(items) => {
            let mut list = Vec::new();
            for (index, item) in items.iter().enumerate() {
                at.push_index(index);
                places.set_value(at, item.span());
                list.push(from_value(item.get_ref(), at, places));
                at.pop();
            }
            Value::Array(list)
        }
        DeValue::Table(table) => from_table(table, at, places),
    }
}
