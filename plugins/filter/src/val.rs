//! Values as expressions compare them.

use std::{borrow::Cow, cmp::Ordering};

use serde_json::Value;
use strait_plugin_sdk::json::{self, Kind};

use crate::document;

/// The reason why a rule has no result for a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Trouble {
    /// The value is not exactly one JSON document, or a name on a path occurs twice.
    NotJudged,
    /// The rule reads a field of a tombstone.
    Tombstone,
    /// Incompatible types, a number out of range, or a missing field where that is an error.
    Evaluation,
}

/// A value of a record, or a literal of an expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Val<'a> {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Double(f64),
    Text(Cow<'a, str>),
    Bytes(Cow<'a, [u8]>),
    /// An array or object, as JSON text.
    Json(&'a [u8]),
    /// The values of all headers with one name.
    List(Vec<Val<'a>>),
}

/// A number, for comparison across types.
enum Number {
    Int(i128),
    Double(f64),
}

impl<'a> Val<'a> {
    /// Converts the JSON text of a field.
    pub fn of_json(source: &'a [u8]) -> Result<Self, Trouble> {
        Ok(match json::kind(source).ok_or(Trouble::NotJudged)? {
            Kind::Null => Self::Null,
            Kind::Boolean => Self::Bool(source == b"true"),
            Kind::Number => number(source)?,
            Kind::String => Self::Text(json::text(source).ok_or(Trouble::NotJudged)?),
            Kind::Array | Kind::Object => Self::Json(source),
        })
    }

    /// Converts a key or header value: text if it is UTF-8, or else bytes.
    pub fn of_bytes(bytes: Option<&'a [u8]>) -> Self {
        let Some(bytes) = bytes else { return Self::Null };
        std::str::from_utf8(bytes).map_or(Self::Bytes(Cow::Borrowed(bytes)), |text| Self::Text(Cow::Borrowed(text)))
    }

    fn number(&self) -> Option<Number> {
        Some(match self {
            Self::Int(number) => Number::Int(i128::from(*number)),
            Self::UInt(number) => Number::Int(i128::from(*number)),
            Self::Double(number) => Number::Double(*number),
            _ => return None,
        })
    }

    /// CEL's `==`: values of different types are not equal; numbers compare by value, exactly.
    ///
    /// # Errors
    /// [`Trouble::NotJudged`] if an array or object cannot be read.
    pub fn equals(&self, other: &Self) -> Result<bool, Trouble> {
        if let (Some(a), Some(b)) = (self.number(), other.number()) {
            return Ok(compare(&a, &b) == Some(Ordering::Equal));
        }
        Ok(match (self, other) {
            (Self::Json(a), Self::Json(b)) => same(&document(a)?, &document(b)?),
            (Self::Json(json), Self::List(list)) | (Self::List(list), Self::Json(json)) => {
                Some(document(json)?) == texts(list)
            }
            (a, b) => a == b,
        })
    }

    /// CEL's `<` and its like.
    pub fn order(&self, other: &Self) -> Result<Ordering, Trouble> {
        let order = match (self, other) {
            (Self::Text(a), Self::Text(b)) => Some(a.cmp(b)),
            (Self::Bytes(a), Self::Bytes(b)) => Some(a.cmp(b)),
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(b)),
            _ => match (self.number(), other.number()) {
                (Some(a), Some(b)) => compare(&a, &b),
                _ => None,
            },
        };
        order.ok_or(Trouble::Evaluation)
    }

    pub fn text(&self) -> Result<&str, Trouble> {
        match self {
            Self::Text(text) => Ok(text),
            _ => Err(Trouble::Evaluation),
        }
    }

    /// CEL's `size`.
    pub fn size(&self) -> Result<i64, Trouble> {
        let size = match self {
            Self::Text(text) => text.chars().count(),
            Self::Bytes(bytes) => bytes.len(),
            Self::List(list) => list.len(),
            Self::Json(source) => match document(source)? {
                serde_json::Value::Array(list) => list.len(),
                serde_json::Value::Object(members) => members.len(),
                _ => return Err(Trouble::Evaluation),
            },
            _ => return Err(Trouble::Evaluation),
        };
        Ok(size as i64)
    }
}

/// Parses a number into the narrowest type that holds it exactly: an integer if possible, or else a
/// double.
fn number<'a>(source: &[u8]) -> Result<Val<'a>, Trouble> {
    let text = std::str::from_utf8(source).map_err(|_| Trouble::NotJudged)?;
    if let Ok(number) = text.parse::<i64>() {
        return Ok(Val::Int(number));
    }
    if let Ok(number) = text.parse::<u64>() {
        return Ok(Val::UInt(number));
    }
    let number: f64 = text.parse().map_err(|_| Trouble::NotJudged)?;
    if number.is_finite() { Ok(Val::Double(number)) } else { Err(Trouble::Evaluation) }
}

/// # Errors
/// [`Trouble::NotJudged`] if it is not JSON, or an object has a name twice.
pub fn document(source: &[u8]) -> Result<Value, Trouble> {
    document::parse(source).ok_or(Trouble::NotJudged)
}

/// Compares two documents by value.
fn same(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => compare(&of_document(a), &of_document(b)) == Some(Ordering::Equal),
        (Value::Array(a), Value::Array(b)) => a.len() == b.len() && a.iter().zip(b).all(|(a, b)| same(a, b)),
        (Value::Object(a), Value::Object(b)) => {
            a.len() == b.len() && a.iter().all(|(name, a)| b.get(name).is_some_and(|b| same(a, b)))
        }
        (a, b) => a == b,
    }
}

fn of_document(number: &serde_json::Number) -> Number {
    let whole = number.as_i64().map(i128::from).or_else(|| number.as_u64().map(i128::from));
    whole.map_or_else(|| Number::Double(number.as_f64().unwrap_or(f64::NAN)), Number::Int)
}

/// Returns the values of headers as a document. `None` if some are bytes, which no document has.
fn texts(list: &[Val<'_>]) -> Option<Value> {
    let text = |val: &Val<'_>| match val {
        Val::Text(text) => Some(Value::from(&**text)),
        Val::Null => Some(Value::Null),
        _ => None,
    };
    list.iter().map(text).collect()
}

fn compare(a: &Number, b: &Number) -> Option<Ordering> {
    match (a, b) {
        (Number::Int(a), Number::Int(b)) => Some(a.cmp(b)),
        (Number::Double(a), Number::Double(b)) => a.partial_cmp(b),
        (Number::Int(a), Number::Double(b)) => compare_mixed(*a, *b),
        (Number::Double(a), Number::Int(b)) => compare_mixed(*b, *a).map(Ordering::reverse),
    }
}

/// Compares exactly, where converting the integer to a double would round.
fn compare_mixed(int: i128, double: f64) -> Option<Ordering> {
    if double.is_nan() {
        return None;
    }
    // Saturates far outside the range of 64-bit integers.
    let whole = double.trunc() as i128;
    Some(int.cmp(&whole).then(0.0.partial_cmp(&double.fract()).unwrap_or(Ordering::Equal)))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn val(json: &str) -> Val<'_> {
        Val::of_json(json.as_bytes()).unwrap()
    }

    #[test]
    fn numbers_are_equal_by_value_and_ordered_exactly() {
        for (a, b) in [("1", "1.0"), ("1e2", "100"), ("18446744073709551615", "18446744073709551615"), ("-0", "0.0")] {
            assert_eq!(val(a).equals(&val(b)), Ok(true), "{a} {b}");
        }
        for (a, b) in
            [("9007199254740993", "9007199254740992.0"), ("1", "\"1\""), ("0", "false"), ("0", "null"), ("1", "1.5")]
        {
            assert_eq!(val(a).equals(&val(b)), Ok(false), "{a} {b}");
        }
        for (less, more) in
            [("1", "1.5"), ("-1.5", "-1"), ("9007199254740992.0", "9007199254740993"), ("-1e300", "0"), ("7", "1e300")]
        {
            assert_eq!(val(less).order(&val(more)), Ok(Ordering::Less), "{less} {more}");
            assert_eq!(val(more).order(&val(less)), Ok(Ordering::Greater), "{less} {more}");
        }
        assert_eq!(Val::of_json(b"1e999"), Err(Trouble::Evaluation));
    }

    #[test]
    fn documents_are_equal_by_value_whatever_their_order_and_spelling() {
        for (a, b) in [(r#"{"a":[1,{"b":2.0}],"c":"A"}"#, r#"{ "c":"\u0041", "a":[1.0,{"b":2}] }"#), ("[]", "[ ]")] {
            assert_eq!(val(a).equals(&val(b)), Ok(true), "{a} {b}");
        }
        for (a, b) in [("[9007199254740993]", "[9007199254740992.0]"), ("[1,2]", "[2,1]"), ("{\"a\":1}", "{}")] {
            assert_eq!(val(a).equals(&val(b)), Ok(false), "{a} {b}");
        }
        assert_eq!(val(r#"{"a":1,"a":1}"#).equals(&val("{}")), Err(Trouble::NotJudged));
        let headers = Val::List(vec![Val::Text("x".into()), Val::Null]);
        assert_eq!((headers.equals(&val(r#"["x",null]"#)), headers.equals(&val(r#"["x"]"#))), (Ok(true), Ok(false)));
        let bytes = Val::List(vec![Val::Bytes(Cow::Borrowed(b"\xff"))]);
        assert_eq!(bytes.equals(&val("[{}]")), Ok(false));
    }

    #[test]
    fn types_do_not_mix() {
        for (a, b) in [("1", "\"1\""), ("null", "1"), ("[]", "[]"), ("true", "1")] {
            assert_eq!(val(a).order(&val(b)), Err(Trouble::Evaluation), "{a} {b}");
        }
        assert_eq!(val("\"a\"").order(&val("\"b\"")), Ok(Ordering::Less));
        assert_eq!((val("\"é😀\"").size(), val("[1,[2]]").size(), val("{\"a\":1}").size()), (Ok(2), Ok(2), Ok(1)));
        assert_eq!(val("7").size(), Err(Trouble::Evaluation));
    }
}
