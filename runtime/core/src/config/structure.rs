//! Checks a configuration tree against the schema of the model and reports every problem, where
//! serde would stop at the first. The schema is derived from the model, so the two cannot drift
//! apart.

use std::sync::LazyLock;

use schemars::generate::SchemaSettings;
use serde_json::{Map, Value};

use super::model::Config;
use super::path::{Path, Step};
use super::problem::{Part, Problem, What, nearest};
use super::setting::TEXT_OF_ANY_SPELLING;
use super::start::Start;

/// Returns the JSON Schema of a configuration file, for editors and `strait config schema`.
#[must_use]
pub fn schema() -> Value {
    SchemaSettings::draft2020_12().for_deserialize().into_generator().into_root_schema_for::<Config>().to_value()
}

/// The schema with all references inlined. It is the same for every configuration.
static INLINED: LazyLock<Value> = LazyLock::new(|| {
    SchemaSettings::draft2020_12()
        .for_deserialize()
        .with(|settings| settings.inline_subschemas = true)
        .into_generator()
        .into_root_schema_for::<Config>()
        .to_value()
});

/// Builds the model from a tree. Unknown keys are reported and skipped, so that the rest can be
/// checked.
///
/// # Errors
/// Returns `None` if the model cannot be built, and all problems in either case.
pub fn read(mut tree: Value) -> (Option<Config>, Vec<Problem>) {
    let mut walk = Walk::default();
    walk.value(&mut tree, &INLINED, &Path::default());
    if walk.broken {
        return (None, walk.problems);
    }
    match serde_json::from_value(tree) {
        Ok(config) => (Some(config), walk.problems),
        Err(error) => {
            walk.problem(&Path::default(), Part::Value, What::Refused(error.to_string()));
            (None, walk.problems)
        }
    }
}

/// The kind of value that a place takes, as far as overrides need to know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Expected {
    /// Text, used as it is.
    Text,
    /// A number, a boolean, a list or a table.
    Other,
    /// Any value: only the plugin knows.
    Any,
    /// The place does not exist.
    Unknown,
}

/// The schema as overrides need it.
pub struct Shape(&'static Value);

impl Default for Shape {
    fn default() -> Self {
        Self(&INLINED)
    }
}

impl Shape {
    /// Returns what kind of value a place takes.
    #[must_use]
    pub fn expected(&self, at: &Path) -> Expected {
        let Some(schema) = self.at(at) else {
            return Expected::Unknown;
        };
        let schema = alternative(schema);
        if schema.is_boolean() {
            return Expected::Any;
        }
        if is_choice(schema) || types(schema).contains(&"string") {
            return Expected::Text;
        }
        Expected::Other
    }

    /// Returns whether a place takes a number or boolean of the file as the text that was written:
    /// `0123` and `1e5` as a password, a name or a topic.
    #[must_use]
    pub fn takes_as_text(&self, at: &Path, value: &Value) -> bool {
        let Some(schema) = self.at(at).map(alternative) else {
            return false;
        };
        let types = types(schema);
        if types == TEXT_OF_ANY_SPELLING {
            return true;
        }
        let is_text = types.contains(&"string") || is_choice(schema);
        let takes = |schema: &Value| self::types(schema).iter().any(|name| fits(value, name));
        is_text && !takes(schema) && !options(schema).iter().any(takes)
    }

    /// Returns the keys that a table at a place can have. Empty if it can have any.
    #[must_use]
    pub fn keys(&self, at: &Path) -> Vec<String> {
        let table = self.at(at).map(|schema| table_option(schema).unwrap_or_else(|| alternative(schema)));
        let properties = table.and_then(|table| table.get("properties"));
        match properties {
            Some(Value::Object(properties)) => properties.keys().cloned().collect(),
            _ => Vec::new(),
        }
    }

    fn at(&self, at: &Path) -> Option<&Value> {
        let mut schema = self.0;
        for step in at.steps() {
            schema = alternative(schema);
            if schema.is_boolean() {
                return Some(schema);
            }
            schema = table_option(schema).unwrap_or(schema);
            schema = match step {
                Step::Index(_) => schema.get("items")?,
                Step::Key(key) => schema
                    .get("properties")
                    .and_then(|properties| properties.get(key))
                    .or_else(|| schema.get("additionalProperties").filter(|more| **more != Value::Bool(false)))?,
            };
        }
        Some(schema)
    }
}

/// Returns the other alternative of an optional value (`anyOf` with null).
fn alternative(schema: &Value) -> &Value {
    let Some(Value::Array(options)) = schema.get("anyOf") else {
        return schema;
    };
    match options.iter().filter(|option| types(option) != ["null"]).collect::<Vec<_>>()[..] {
        [only] => only,
        _ => schema,
    }
}

fn types(schema: &Value) -> Vec<&str> {
    match schema.get("type") {
        Some(Value::String(one)) => vec![one],
        Some(Value::Array(several)) => several.iter().filter_map(Value::as_str).collect(),
        _ => Vec::new(),
    }
}

fn options(schema: &Value) -> &[Value] {
    match schema.get("oneOf").or_else(|| schema.get("anyOf")) {
        Some(Value::Array(options)) => options,
        _ => &[],
    }
}

fn choices(schema: &Value) -> Vec<String> {
    let listed = schema.get("enum").and_then(Value::as_array).into_iter().flatten();
    options(schema)
        .iter()
        .flat_map(|option| {
            let several = option.get("enum").and_then(Value::as_array).into_iter().flatten();
            option.get("const").into_iter().chain(several)
        })
        .chain(listed)
        .filter_map(Value::as_str)
        .map(str::to_owned)
        .collect()
}

/// Returns the table among the options, where one is a table.
fn table_option(schema: &Value) -> Option<&Value> {
    is_choice(schema).then(|| options(schema).iter().find(|option| types(option) == ["object"]))?
}

fn is_choice(schema: &Value) -> bool {
    !choices(schema).is_empty()
}

fn kind(value: &Value) -> &'static str {
    match value {
        Value::Null => "nothing (null)",
        Value::Bool(_) => "true or false",
        Value::Number(number) if number.is_f64() => "a number with a fraction",
        Value::Number(_) => "a number",
        Value::String(_) => "a string",
        Value::Array(_) => "a list",
        Value::Object(_) => "a table",
    }
}

fn type_names(types: &[&str]) -> String {
    let words: Vec<&str> = types
        .iter()
        .filter(|name| **name != "null")
        .map(|name| match *name {
            "string" => "a string",
            "integer" => "a whole number",
            "number" => "a number",
            "boolean" => "true or false",
            "array" => "a list",
            "object" => "a table",
            other => other,
        })
        .collect();
    words.join(" or ")
}

fn fits(value: &Value, name: &str) -> bool {
    match name {
        "null" => value.is_null(),
        "string" => value.is_string(),
        "integer" => value.is_i64() || value.is_u64(),
        "number" => value.is_number(),
        "boolean" => value.is_boolean(),
        "array" => value.is_array(),
        "object" => value.is_object(),
        _ => false,
    }
}

/// Returns a text as a list with one entry, where a list of texts is expected.
fn list_of_one(value: &Value, schema: &Value) -> Option<Value> {
    let is_list = types(schema) == ["array"];
    let of_texts = schema.get("items").is_some_and(|items| types(items) == ["string"]);
    (is_list && of_texts && value.is_string()).then(|| Value::Array(vec![value.clone()]))
}

/// Returns what to write instead of a value of the wrong type. A text is quoted only where the
/// place takes no text, and so no secret.
fn hint(expected: &[&str], found: &Value) -> Option<String> {
    let wants = |name: &str| expected.contains(&name);
    match found {
        Value::String(text) if wants("boolean") => {
            let word = match text.trim().to_ascii_lowercase().as_str() {
                "true" | "yes" | "y" | "on" | "1" => "true",
                "false" | "no" | "n" | "off" | "0" => "false",
                _ => return None,
            };
            Some(format!("write {word}, without quotes"))
        }
        Value::String(text) if wants("integer") || wants("number") => {
            let digits: String = text.trim().chars().filter(|c| *c != '_').collect();
            let digits = digits.trim_start_matches('0');
            let is_number = !digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit());
            is_number.then(|| format!("write {digits}, without quotes"))
        }
        Value::Number(number) if wants("integer") => {
            let whole = number.as_f64().filter(|number| number.fract() == 0.0 && number.abs() < 1e15)?;
            Some(format!("write {whole}"))
        }
        Value::Object(_) if wants("array") => {
            Some("write a list with this table in it: [[links]] in TOML, '- name: ...' in YAML".to_owned())
        }
        Value::Array(_) if wants("string") => Some("write one text; addresses are separated by commas".to_owned()),
        Value::Null if wants("string") => {
            Some("leave the line out, or write the text in quotes: \"\" is an empty one".to_owned())
        }
        Value::String(_) if wants("array") => Some("write a list: [...]".to_owned()),
        _ => None,
    }
}

#[derive(Default)]
struct Walk {
    problems: Vec<Problem>,
    /// A problem was found that prevents building the model.
    broken: bool,
}

impl Walk {
    fn problem(&mut self, at: &Path, part: Part, what: What) {
        if !matches!(what, What::UnknownKey { .. }) {
            self.broken = true;
        }
        self.problems.push(Problem { at: at.clone(), part, what });
    }

    fn value(&mut self, value: &mut Value, schema: &Value, at: &Path) {
        // Any value is allowed, at any depth: a plugin's configuration is the plugin's own matter.
        if *schema == Value::Bool(true) {
            return;
        }
        if is_choice(schema) {
            self.choice(value, schema, at);
            return;
        }
        let schema = alternative(schema);
        let types = types(schema);
        if !types.is_empty() && !types.iter().any(|name| fits(value, name)) {
            if let Some(list) = list_of_one(value, schema) {
                *value = list;
            } else {
                let hint = hint(&types, value);
                let what = What::WrongType { expected: type_names(&types), found: kind(value), hint };
                self.problem(at, Part::Value, what);
                return;
            }
        }
        if types == TEXT_OF_ANY_SPELLING && value.is_f64() {
            let hint = Some("write it in quotes: its digits are not known any more".to_owned());
            let what = What::WrongType { expected: "a string".to_owned(), found: kind(value), hint };
            self.problem(at, Part::Value, what);
            return;
        }
        match value {
            Value::Object(fields) => self.table(fields, schema, at),
            Value::Array(items) => {
                let schema = schema.get("items").unwrap_or(&Value::Bool(true));
                for (index, item) in items.iter_mut().enumerate() {
                    self.value(item, schema, &at.index(index));
                }
            }
            Value::Number(number) => {
                let bound = |name: &str| schema.get(name).and_then(Value::as_f64);
                let (Some(min), Some(max), Some(found)) = (bound("minimum"), bound("maximum"), number.as_f64()) else {
                    return;
                };
                if found < min || found > max {
                    let what =
                        What::OutOfRange { found: number.to_string(), min: min.to_string(), max: max.to_string() };
                    self.problem(at, Part::Value, what);
                }
            }
            Value::Null | Value::Bool(_) | Value::String(_) => {}
        }
    }

    fn choice(&mut self, value: &mut Value, schema: &Value, at: &Path) {
        let choices = choices(schema);
        if let (Value::Object(fields), Some(table)) = (&mut *value, table_option(schema)) {
            self.table(fields, table, at);
            return;
        }
        let number = options(schema).iter().find(|option| types(option) == ["integer"]);
        if let Some(number) = number.filter(|_| value.is_number()) {
            self.value(&mut value.clone(), number, at);
            return;
        }
        let Value::String(found) = &*value else {
            let or_table = if table_option(schema).is_some() { ", or a table" } else { "" };
            let expected = format!("one of {}{or_table}", choices.join(", "));
            let what = What::WrongType { expected, found: kind(value), hint: None };
            self.problem(at, Part::Value, what);
            return;
        };
        // A variable of the environment has numbers as text.
        if choices.contains(found) || (number.is_some() && found.parse::<u32>().is_ok()) {
            return;
        }
        let takes_times =
            options(schema).iter().any(|option| option.get("format").and_then(Value::as_str) == Some("date-time"));
        if takes_times {
            if let Err(reason) = Start::parse(found) {
                self.problem(at, Part::Value, What::BadStart(reason));
            }
            return;
        }
        let what = What::NotAChoice {
            nearest: nearest(found, choices.iter().map(String::as_str)),
            found: found.clone(),
            choices,
        };
        self.problem(at, Part::Value, what);
    }

    fn table(&mut self, fields: &mut Map<String, Value>, schema: &Value, at: &Path) {
        let none = Map::new();
        let properties = schema.get("properties").and_then(Value::as_object).unwrap_or(&none);
        let more = schema.get("additionalProperties");
        for name in schema.get("required").and_then(Value::as_array).into_iter().flatten() {
            let Some(key) = name.as_str().filter(|key| !fields.contains_key(*key)) else {
                continue;
            };
            let doc = properties
                .get(key)
                .and_then(|property| property.get("description"))
                .and_then(Value::as_str)
                .unwrap_or_default();
            let what = What::Missing { key: key.to_owned(), doc: doc.replace('\n', " ") };
            self.problem(at, Part::Key, what);
        }
        let mut unknown = Vec::new();
        for (key, value) in fields.iter_mut() {
            let at = at.key(key);
            if let Some(schema) = properties.get(key) {
                self.value(value, schema, &at);
            } else if let Some(schema) = more.filter(|more| **more != Value::Bool(false)) {
                self.value(value, schema, &at);
            } else {
                unknown.push(key.clone());
            }
        }
        for key in unknown {
            fields.remove(&key);
            let what = What::UnknownKey {
                nearest: nearest(&key, properties.keys().map(String::as_str)),
                known: properties.keys().cloned().collect(),
                key: key.clone(),
            };
            self.problem(&at.key(&key), Part::Key, what);
        }
    }
}
