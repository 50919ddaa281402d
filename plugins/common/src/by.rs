//! The `by` setting: the key, a header, or a field of the value.

use std::borrow::Cow;

use strait_plugin_sdk::{
    Needs, Record, ValueState, column,
    json::{self, Kind},
    path::Path,
};

/// The part of a record that a plugin uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum By {
    /// `key`
    Key,
    /// `header:NAME`: the last header with the name.
    Header(Vec<u8>),
    /// `$.path`: one field.
    Field(Path),
}

/// The content of that part in one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found<'a> {
    /// A key, the value of a header, the text of a string, or a number or boolean as written.
    Bytes(Cow<'a, [u8]>),
    /// An object or array, as written.
    Json(&'a [u8]),
    /// A null, or a missing header or field.
    Nothing,
    /// The value is not exactly one JSON document.
    NotJudged,
}

impl By {
    /// # Errors
    /// A message for the author of the configuration.
    pub fn parse(text: &str) -> Result<Self, String> {
        if text == "key" {
            return Ok(Self::Key);
        }
        if let Some(name) = text.strip_prefix("header:") {
            if name.is_empty() {
                return Err("header: needs the name of a header".into());
            }
            return Ok(Self::Header(name.as_bytes().to_vec()));
        }
        if !text.starts_with('$') {
            return Err(format!("'{text}' is not key, header:NAME or a JSONPath such as $.region"));
        }
        let path = Path::parse(text)?;
        if path.steps.iter().any(strait_plugin_sdk::path::Step::is_many) {
            return Err(format!("the path can match several places; use one of names and indexes: {text}"));
        }
        Ok(Self::Field(path))
    }

    /// Adds the columns that this part needs.
    #[must_use]
    pub fn needs(&self, needs: Needs) -> Needs {
        match self {
            Self::Key => needs.and(column::KEY),
            Self::Header(name) => needs.headers([name.as_slice()]),
            Self::Field(path) => needs.fields([path.to_string()]),
        }
    }

    /// Returns the content of this part of a record.
    #[must_use]
    pub fn find<'a>(&self, record: &Record<'a>) -> Found<'a> {
        match self {
            Self::Key => found(record.key()),
            Self::Header(name) => {
                found(record.headers().iter().rev().find(|header| header.name == name).and_then(|header| header.value))
            }
            Self::Field(_) => match record.value_state() {
                ValueState::Null => Found::Nothing,
                ValueState::Parsed => record.field(0).first().map_or(Found::Nothing, |field| of_json(field.json)),
                _ => Found::NotJudged,
            },
        }
    }
}

fn found(bytes: Option<&[u8]>) -> Found<'_> {
    bytes.map_or(Found::Nothing, |bytes| Found::Bytes(Cow::Borrowed(bytes)))
}

fn of_json(source: &[u8]) -> Found<'_> {
    match json::kind(source) {
        Some(Kind::Null) => Found::Nothing,
        Some(Kind::Number | Kind::Boolean) => Found::Bytes(Cow::Borrowed(source)),
        Some(Kind::Array | Kind::Object) => Found::Json(source),
        Some(Kind::String) => match json::text(source) {
            Some(Cow::Borrowed(text)) => Found::Bytes(Cow::Borrowed(text.as_bytes())),
            Some(Cow::Owned(text)) => Found::Bytes(Cow::Owned(text.into_bytes())),
            None => Found::NotJudged,
        },
        None => Found::NotJudged,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn by_has_three_forms() {
        assert_eq!(By::parse("key"), Ok(By::Key));
        assert_eq!(By::parse("header:x:y"), Ok(By::Header(b"x:y".to_vec())));
        assert!(matches!(By::parse("$.a['b c'][0]"), Ok(By::Field(_))));
        for wrong in ["", "Key", "header:", "header", "value", "$", "$..a", "$.a[*]", "$.a b"] {
            assert!(By::parse(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn scalars_are_bytes_and_a_null_is_nothing() {
        let bytes = |bytes: &'static [u8]| Found::Bytes(Cow::Borrowed(bytes));
        assert_eq!(of_json(br#""e\u0075""#), Found::Bytes(Cow::Borrowed(b"eu")));
        assert_eq!((of_json(b"\"\""), of_json(b"1.0"), of_json(b"true")), (bytes(b""), bytes(b"1.0"), bytes(b"true")));
        assert_eq!((of_json(b"null"), of_json(b"[1]")), (Found::Nothing, Found::Json(b"[1]")));
        assert_eq!((of_json(b"\"\\ud800\""), of_json(b"")), (Found::NotJudged, Found::NotJudged));
        assert_eq!((found(None), found(Some(b""))), (Found::Nothing, bytes(b"")));
    }
}
