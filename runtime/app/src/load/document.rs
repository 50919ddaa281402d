//! Parses a configuration file by its format.

use std::collections::BTreeMap;
use std::path::Path as FilePath;

use serde_json::{Map, Number, Value};
use strait_core::config::Path;
use toml::Spanned;
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
        Err(YamlError::Syntax(_)) => Ok(Parsed { tree, places: Places::default(), written: BTreeMap::new() }),
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
    let mut reader = TomlReader { text, at: Path::default(), places: Places::default(), written: BTreeMap::new() };
    let tree = reader.table(table.get_ref());
    Ok(Parsed { tree, places: reader.places, written: reader.written })
}

struct TomlReader<'a> {
    text: &'a str,
    at: Path,
    places: Places,
    written: BTreeMap<Path, String>,
}

impl TomlReader<'_> {
    fn table(&mut self, table: &DeTable<'_>) -> Value {
        let mut fields = Map::new();
        for (key, value) in table {
            self.at.push_key(key.get_ref());
            self.places.set_key(&self.at, key.span());
            self.places.set_value(&self.at, value.span());
            fields.insert(key.get_ref().to_string(), self.value(value));
            self.at.pop();
        }
        Value::Object(fields)
    }

    fn value(&mut self, value: &Spanned<DeValue<'_>>) -> Value {
        let written = || self.text.get(value.span()).unwrap_or_default().to_owned();
        let scalar = match value.get_ref() {
            DeValue::String(text) => return Value::String(text.to_string()),
            DeValue::Datetime(_) => return Value::String(written()),
            DeValue::Array(items) => return self.list(items),
            DeValue::Table(table) => return self.table(table),
            DeValue::Boolean(flag) => Value::Bool(*flag),
            DeValue::Integer(number) => integer(number.as_str(), number.radix()),
            DeValue::Float(number) => number
                .as_str()
                .parse()
                .ok()
                .and_then(Number::from_f64)
                .map_or_else(|| Value::String(number.to_string()), Value::Number),
        };
        self.written.insert(self.at.clone(), written());
        scalar
    }

    fn list(&mut self, items: &[Spanned<DeValue<'_>>]) -> Value {
        let mut list = Vec::new();
        for (index, item) in items.iter().enumerate() {
            self.at.push_index(index);
            self.places.set_value(&self.at, item.span());
            list.push(self.value(item));
            self.at.pop();
        }
        Value::Array(list)
    }
}

/// Returns a whole number; one that is too large for 64 bits as a number that has lost digits.
fn integer(digits: &str, radix: u32) -> Value {
    let exact = i64::from_str_radix(digits, radix).map(Number::from);
    let number = exact.ok().or_else(|| digits.parse().ok().and_then(Number::from_f64));
    number.map_or_else(|| Value::String(digits.to_owned()), Value::Number)
}
