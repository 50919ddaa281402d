//! A configuration file as a tree, with the place of every key and value in it.

use std::collections::BTreeMap;
use std::ops::Range;

use serde_json::{Map, Number, Value};
use strait_core::config::{Part, Path, Step, reference, refused, secrets};
use toml::de::{DeTable, DeValue};

use super::yaml;

/// What a file is written in.
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
    /// By the extension of a file name.
    #[must_use]
    pub fn of(path: &std::path::Path) -> Option<Self> {
        match path.extension()?.to_str()?.to_ascii_lowercase().as_str() {
            "toml" => Some(Self::Toml),
            "yaml" | "yml" => Some(Self::Yaml),
            "json" => Some(Self::Json),
            _ => None,
        }
    }
}

/// The text is not what its extension says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SyntaxError {
    /// Bytes of the text.
    pub span: Range<usize>,
    /// What is wrong.
    pub message: String,
}

/// Where keys and values stand, in bytes of the text.
#[derive(Clone, Debug, Default)]
pub struct Places {
    keys: BTreeMap<Path, Range<usize>>,
    values: BTreeMap<Path, Range<usize>>,
}

impl Places {
    pub(super) fn set_key(&mut self, at: &Path, span: Range<usize>) {
        self.keys.insert(at.clone(), span);
    }

    pub(super) fn set_value(&mut self, at: &Path, span: Range<usize>) {
        self.values.insert(at.clone(), span);
    }

    /// The span of an entry's name or value, or of what is around it if it has none of its own.
    #[must_use]
    pub fn find(&self, at: &Path, part: Part) -> Option<Range<usize>> {
        let key = self.keys.get(at);
        let value = self.values.get(at);
        let found = match part {
            Part::Key => key.or(value),
            Part::Value => value.or(key),
        };
        if let Some(span) = found {
            return Some(span.clone());
        }
        self.find(&at.parent().filter(|outer| !outer.steps().is_empty())?, Part::Key)
    }
}

/// A file that was read.
#[derive(Debug)]
pub struct Parsed {
    /// Everything in it.
    pub tree: Value,
    /// Where it stands.
    pub places: Places,
}

/// Reads a text.
///
/// # Errors
/// Everything that keeps it from being read.
pub fn parse(text: &str, format: Format) -> Result<Parsed, Vec<SyntaxError>> {
    match format {
        Format::Toml => parse_toml(text),
        Format::Yaml => yaml::parse(text).map_err(|error| vec![error]),
        Format::Json => parse_json(text),
    }
}

fn parse_json(text: &str) -> Result<Parsed, Vec<SyntaxError>> {
    let tree = serde_json::from_str(text).map_err(|error| {
        let at = byte_at(text, error.line(), error.column());
        let message = error.to_string();
        // serde_json says the place again in its text; the report shows it.
        let message = message.split(" at line ").next().unwrap_or_default().to_owned();
        vec![SyntaxError { span: at..at, message }]
    })?;
    // JSON is YAML as far as places go. What only JSON has (surrogate escapes) costs the places, not the tree; keys that
    // are there twice, which serde_json lets pass, are found here.
    match yaml::parse(text) {
        Ok(parsed) => Ok(Parsed { tree, ..parsed }),
        Err(error) if error.message.ends_with("is there twice") => Err(vec![error]),
        Err(_) => Ok(Parsed { tree, places: Places::default() }),
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

/// The text with the values of secrets starred out, byte for byte, so that a report can show lines of it.
#[must_use]
pub fn hide_secrets(text: &str, parsed: &Parsed) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for (at, span) in &parsed.places.values {
        let hidden = match at.find(&parsed.tree) {
            Some(Value::String(text)) => {
                let in_url = secrets::without_userinfo(text) != *text;
                in_url || (is_secret(at) && !reference::is_only_references(text))
            }
            Some(Value::Number(_)) => is_secret(at),
            _ => false,
        };
        if hidden {
            star(&mut bytes, span.clone());
        }
    }
    String::from_utf8(bytes).unwrap_or_default()
}

fn is_secret(at: &Path) -> bool {
    let in_kafka = match at.steps() {
        [Step::Key(clusters), _, Step::Key(kafka), Step::Key(property)]
            if clusters == "clusters" && kafka == "kafka" =>
        {
            // A misspelt property may be a misspelt password.
            let known = refused::known_properties().any(|known| known == property);
            Some(!known || secrets::is_secret_property(property))
        }
        _ => None,
    };
    in_kafka.unwrap_or_else(|| {
        at.steps().iter().any(|step| match step {
            Step::Key(key) => secrets::is_secret_field(key),
            Step::Index(_) => false,
        })
    })
}

/// The same for a text that cannot be read: whatever follows a secret's name on its line.
#[must_use]
pub fn hide_secret_lines(text: &str) -> String {
    let mut bytes = text.as_bytes().to_vec();
    let mut start = 0;
    for line in text.split_inclusive('\n') {
        let known = secrets::SECRET_PROPERTIES.iter().any(|property| line.contains(property));
        if known || secrets::is_secret_field(line) || line.contains("PRIVATE KEY") {
            let value = line.find(['=', ':']).map_or(0, |at| at + 1);
            star(&mut bytes, start + value..start + line.len());
        }
        start += line.len();
    }
    String::from_utf8(bytes).unwrap_or_default()
}

fn star(bytes: &mut [u8], span: Range<usize>) {
    for byte in bytes.get_mut(span).unwrap_or_default() {
        if !matches!(*byte, b'\n' | b'\r' | b' ' | b'"' | b'\'') {
            *byte = b'*';
        }
    }
}
