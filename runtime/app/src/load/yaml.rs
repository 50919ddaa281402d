//! Parses YAML with the position of every key and value. JSON is read for its positions too.

use std::collections::BTreeMap;
use std::ops::Range;

use saphyr_parser::{Event, Parser, ScalarStyle, Span, StrInput, Tag};
use serde_json::{Map, Number, Value};
use strait_core::config::Path;

use super::tree::{Parsed, Places, SyntaxError};

/// Deepest nesting. A configuration needs about six levels.
const DEPTH_MAX: usize = 64;
/// Most values, aliases counted at each use: a few lines of aliases can expand to billions of
/// values.
const VALUES_MAX: usize = 100_000;

/// Why a text is no configuration in YAML.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum YamlError {
    /// It does not parse, or has what a configuration must not have.
    Syntax(SyntaxError),
    /// A table has a key twice.
    DuplicateKey(SyntaxError),
}

impl From<YamlError> for SyntaxError {
    fn from(error: YamlError) -> Self {
        match error {
            YamlError::Syntax(error) | YamlError::DuplicateKey(error) => error,
        }
    }
}

impl From<SyntaxError> for YamlError {
    fn from(error: SyntaxError) -> Self {
        Self::Syntax(error)
    }
}

/// Parses one YAML document.
pub(super) fn parse(text: &str) -> Result<Parsed, YamlError> {
    let mut reader = Reader {
        events: Parser::new_from_str(text),
        offsets: Offsets::new(text),
        places: Places::default(),
        written: BTreeMap::new(),
        anchors: BTreeMap::new(),
        values: 0,
    };
    let mut tree = None;
    loop {
        let (event, span) = reader.next()?;
        match event {
            Event::StreamEnd => break,
            Event::DocumentStart(_) if tree.is_some() => {
                let message = "a second document: a configuration must be one document".to_owned();
                return Err(reader.error(span, message).into());
            }
            Event::StreamStart | Event::DocumentStart(_) | Event::DocumentEnd | Event::Nothing => {}
            event => tree = Some(reader.value(event, span, &mut Path::default(), 0)?),
        }
    }
    // An empty file is an empty table, as in TOML.
    let tree = match tree {
        None | Some(Value::Null) => Value::Object(Map::new()),
        Some(tree) => tree,
    };
    Ok(Parsed { tree, places: reader.places, written: reader.written })
}

struct Reader<'a> {
    events: Parser<'a, StrInput<'a>>,
    offsets: Offsets,
    places: Places,
    written: BTreeMap<Path, String>,
    /// The value of each anchor, and its place.
    anchors: BTreeMap<usize, (Value, Path)>,
    values: usize,
}

impl<'a> Reader<'a> {
    fn next(&mut self) -> Result<(Event<'a>, Span), SyntaxError> {
        match self.events.next_event() {
            Some(Ok(event)) => Ok(event),
            Some(Err(error)) => {
                let at = self.offsets.byte(error.marker().index());
                Err(SyntaxError { span: at..at, message: error.info().to_owned() })
            }
            None => Ok((Event::StreamEnd, Span::default())),
        }
    }

    fn error(&self, span: Span, message: String) -> SyntaxError {
        SyntaxError { span: self.offsets.range(span), message }
    }

    fn value(&mut self, event: Event<'a>, span: Span, at: &mut Path, depth: usize) -> Result<Value, YamlError> {
        self.values += 1;
        if depth > DEPTH_MAX || self.values > VALUES_MAX {
            return Err(self.error(span, "nested too deeply, or too many values".to_owned()).into());
        }
        self.places.set_value(at, self.offsets.range(span));
        let (value, anchor) = match event {
            Event::Scalar(text, style, anchor, tag) => {
                let value = self.scalar(&text, style, tag.as_deref(), span)?;
                if value.is_number() || value.is_boolean() {
                    self.written.insert(at.clone(), text.into_owned());
                }
                (value, anchor)
            }
            Event::SequenceStart(anchor, _) => (self.list(at, depth)?, anchor),
            Event::MappingStart(anchor, _) => (self.table(at, depth)?, anchor),
            Event::Alias(anchor) => {
                let Some((value, origin)) = self.anchors.get(&anchor).cloned() else {
                    return Err(self.error(span, "an alias inside its own anchor".to_owned()).into());
                };
                self.values += count(&value);
                self.write_again(&origin, at);
                (value, 0)
            }
            other => return Err(self.error(span, format!("expected a value, found {other:?}")).into()),
        };
        if anchor != 0 {
            self.anchors.insert(anchor, (value.clone(), at.clone()));
        }
        Ok(value)
    }

    /// Copies what is known of the texts in an anchor's value to the place of an alias.
    fn write_again(&mut self, origin: &Path, at: &Path) {
        let from_origin = self.written.range(origin.clone()..);
        let inside = from_origin.map_while(|(place, text)| Some((at.join(&place.inside(origin)?), text.clone())));
        let copies: Vec<_> = inside.collect();
        self.written.extend(copies);
    }

    fn scalar(&self, text: &str, style: ScalarStyle, tag: Option<&Tag>, span: Span) -> Result<Value, SyntaxError> {
        match tag {
            None if style == ScalarStyle::Plain => Ok(plain(text)),
            None => Ok(Value::String(text.to_owned())),
            Some(tag) if tag.is_yaml_core_schema() && tag.suffix == "str" => Ok(Value::String(text.to_owned())),
            Some(tag) => Err(self.error(span, format!("the tag {tag} is not supported"))),
        }
    }

    fn list(&mut self, at: &mut Path, depth: usize) -> Result<Value, YamlError> {
        let mut items = Vec::new();
        loop {
            let (event, span) = self.next()?;
            if event == Event::SequenceEnd {
                return Ok(Value::Array(items));
            }
            at.push_index(items.len());
            items.push(self.value(event, span, at, depth + 1)?);
            at.pop();
        }
    }

    fn table(&mut self, at: &mut Path, depth: usize) -> Result<Value, YamlError> {
        let mut fields = Map::new();
        loop {
            let (event, span) = self.next()?;
            let key = match event {
                Event::MappingEnd => return Ok(Value::Object(fields)),
                Event::Scalar(text, ..) => text.into_owned(),
                _ => return Err(self.error(span, "a key must be plain text".to_owned()).into()),
            };
            if fields.contains_key(&key) {
                return Err(YamlError::DuplicateKey(self.error(span, format!("duplicate key '{key}'"))));
            }
            at.push_key(&key);
            self.places.set_key(at, self.offsets.range(span));
            let (event, span) = self.next()?;
            let value = self.value(event, span, at, depth + 1)?;
            at.pop();
            fields.insert(key, value);
        }
    }
}

fn count(value: &Value) -> usize {
    match value {
        Value::Array(items) => 1 + items.iter().map(count).sum::<usize>(),
        Value::Object(fields) => 1 + fields.values().map(count).sum::<usize>(),
        _ => 1,
    }
}

/// Reads a plain scalar by the core schema of YAML 1.2, in which `no` and `on` are text.
fn plain(text: &str) -> Value {
    match text {
        "" | "~" | "null" | "Null" | "NULL" => return Value::Null,
        "true" | "True" | "TRUE" => return Value::Bool(true),
        "false" | "False" | "FALSE" => return Value::Bool(false),
        _ => {}
    }
    let digits = text.strip_prefix(['-', '+']).unwrap_or(text);
    if !digits.starts_with(|c: char| c.is_ascii_digit() || c == '.') || has_leading_zero(digits) {
        return Value::String(text.to_owned());
    }
    let integer = match text.get(..2) {
        Some("0x") => i64::from_str_radix(digits.get(2..).unwrap_or_default(), 16).ok(),
        Some("0o") => i64::from_str_radix(digits.get(2..).unwrap_or_default(), 8).ok(),
        _ => text.parse().ok(),
    };
    let number = integer
        .map(Number::from)
        .or_else(|| text.parse::<u64>().ok().map(Number::from))
        .or_else(|| text.parse().ok().and_then(Number::from_f64));
    number.map_or_else(|| Value::String(text.to_owned()), Value::Number)
}

/// Returns whether a number is octal in YAML 1.1 and decimal in YAML 1.2: `0123`. Such a number
/// stays text.
fn has_leading_zero(digits: &str) -> bool {
    digits.strip_prefix('0').is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
}

/// Converts the parser's character positions to bytes.
struct Offsets(Option<Vec<usize>>, usize);

impl Offsets {
    fn new(text: &str) -> Self {
        let map = (!text.is_ascii()).then(|| text.char_indices().map(|(byte, _)| byte).collect());
        Self(map, text.len())
    }

    fn byte(&self, character: usize) -> usize {
        match &self.0 {
            None => character.min(self.1),
            Some(map) => map.get(character).copied().unwrap_or(self.1),
        }
    }

    fn range(&self, span: Span) -> Range<usize> {
        self.byte(span.start.index())..self.byte(span.end.index())
    }
}
