//! Values as expressions compare them.

use std::{cmp::Ordering, collections::BTreeMap, rc::Rc};

use strait_plugin_sdk::json::{self, Kind};

use crate::{
    number::Number,
    shared::Shared,
    time::{Span, Time},
    trouble::Trouble,
    work::Work,
};

mod document;

/// A value of a record, or a literal of an expression.
#[derive(Clone, Debug, PartialEq)]
pub enum Val<'a> {
    Null,
    Bool(bool),
    Int(i64),
    UInt(u64),
    Double(f64),
    /// A number of the record's JSON, or calculated with one. Unlike CEL's own numbers, it
    /// calculates with all others.
    Number(Number),
    Text(Shared<'a, str>),
    Bytes(Shared<'a, [u8]>),
    /// An array or object, as JSON text.
    Json(&'a [u8]),
    List(Rc<Vec<Val<'a>>>),
    Map(Rc<BTreeMap<Key<'a>, Val<'a>>>),
    Time(Time),
    Span(Span),
    /// The name of a type.
    Type(&'static str),
}

/// A key of a map. Whole numbers are one key, whatever their types are.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Key<'a> {
    Bool(bool),
    Whole(i128),
    Text(Shared<'a, str>),
}

impl<'a> Val<'a> {
    /// Converts the JSON text of a field.
    pub fn of_json(source: &'a [u8]) -> Result<Self, Trouble> {
        Ok(match json::kind(source).ok_or(Trouble::NotJudged)? {
            Kind::Null => Self::Null,
            Kind::Boolean => Self::Bool(source == b"true"),
            Kind::Number => Self::Number(Number::parse(source)?),
            Kind::String => Self::Text(document::text(source)?),
            Kind::Array | Kind::Object => Self::Json(source),
        })
    }

    /// Converts a key or header value: text if it is UTF-8, or else bytes.
    pub fn of_bytes(bytes: Option<&'a [u8]>) -> Self {
        let Some(bytes) = bytes else { return Self::Null };
        std::str::from_utf8(bytes).map_or(Self::Bytes(Shared::Borrowed(bytes)), |text| Self::Text(text.into()))
    }

    /// Parses an array or object. Returns other values as they are.
    pub fn parsed(self, work: &Work) -> Result<Self, Trouble> {
        match self {
            Self::Json(source) => document::parse(source, work),
            other => Ok(other),
        }
    }

    pub fn number(&self) -> Option<Number> {
        Some(match self {
            Self::Int(number) => Number::Whole((*number).into()),
            Self::UInt(number) => Number::Whole((*number).into()),
            Self::Double(number) => Number::Double(*number),
            Self::Number(number) => *number,
            _ => return None,
        })
    }

    /// CEL's `==`: values of different types are not equal; numbers compare by value, exactly.
    ///
    /// # Errors
    /// [`Trouble::NotJudged`] if an array or object cannot be read.
    pub fn equals(&self, other: &Self, work: &Work) -> Result<bool, Trouble> {
        // The most frequent one first.
        if let (Self::Text(a), Self::Text(b)) = (self, other) {
            work.read(a.len().min(b.len()))?;
            return Ok(a == b);
        }
        if let (Some(a), Some(b)) = (self.number(), other.number()) {
            return Ok(a.compare(b) == Some(Ordering::Equal));
        }
        match (self, other) {
            (Self::Json(a), b @ (Self::Json(_) | Self::List(_) | Self::Map(_))) => {
                document::parse(a, work)?.equals(b, work)
            }
            (a @ (Self::List(_) | Self::Map(_)), Self::Json(b)) => a.equals(&document::parse(b, work)?, work),
            (Self::List(a), Self::List(b)) if a.len() == b.len() => {
                for (a, b) in a.iter().zip(b.iter()) {
                    work.steps(1)?;
                    if !a.equals(b, work)? {
                        return Ok(false);
                    }
                }
                Ok(true)
            }
            (Self::Map(a), Self::Map(b)) if a.len() == b.len() => {
                for (key, a) in a.iter() {
                    work.steps(1)?;
                    match b.get(key) {
                        Some(b) if a.equals(b, work)? => {}
                        _ => return Ok(false),
                    }
                }
                Ok(true)
            }
            (Self::List(_), Self::List(_)) | (Self::Map(_), Self::Map(_)) => Ok(false),
            (Self::Bytes(a), Self::Bytes(b)) => {
                work.read(a.len().min(b.len()))?;
                Ok(a == b)
            }
            (a, b) => Ok(a == b),
        }
    }

    /// CEL's `<` and its like. `None` if one of the two is not a number: then none of them holds.
    ///
    /// # Errors
    /// [`Trouble::Evaluation`] for types without an order.
    pub fn order(&self, other: &Self, work: &Work) -> Result<Option<Ordering>, Trouble> {
        Ok(match (self, other) {
            (Self::Text(a), Self::Text(b)) => {
                work.read(a.len().min(b.len()))?;
                Some(a.cmp(b))
            }
            (Self::Bytes(a), Self::Bytes(b)) => {
                work.read(a.len().min(b.len()))?;
                Some(a.cmp(b))
            }
            (Self::Bool(a), Self::Bool(b)) => Some(a.cmp(b)),
            (Self::Time(a), Self::Time(b)) => Some(a.cmp(b)),
            (Self::Span(a), Self::Span(b)) => Some(a.cmp(b)),
            _ => {
                let (a, b) = self.number().zip(other.number()).ok_or(Trouble::Evaluation)?;
                a.compare(b)
            }
        })
    }

    pub fn text(&self) -> Result<&str, Trouble> {
        match self {
            Self::Text(text) => Ok(text),
            _ => Err(Trouble::Evaluation),
        }
    }

    /// CEL's `size`.
    pub fn size(&self, work: &Work) -> Result<i64, Trouble> {
        let size = match self {
            Self::Text(text) => {
                work.read(text.len())?;
                text.chars().count()
            }
            Self::Bytes(bytes) => bytes.len(),
            Self::List(list) => list.len(),
            Self::Map(map) => map.len(),
            Self::Json(source) => return document::parse(source, work)?.size(work),
            _ => return Err(Trouble::Evaluation),
        };
        Ok(size as i64)
    }
}

impl<'a> Key<'a> {
    /// Returns the key that is equal to a value, if a map can have it.
    ///
    /// # Errors
    /// [`Trouble::TooMuch`].
    pub fn of(val: &Val<'a>, work: &Work) -> Result<Option<Self>, Trouble> {
        Ok(match val {
            Val::Bool(holds) => Some(Self::Bool(*holds)),
            Val::Text(text) => {
                work.read(text.len())?;
                Some(Self::Text(text.clone()))
            }
            number => number.number().and_then(Number::whole).map(Self::Whole),
        })
    }

    /// Returns the value that a macro sees.
    pub fn val(&self) -> Val<'a> {
        match self {
            Self::Bool(holds) => Val::Bool(*holds),
            Self::Whole(number) => i64::try_from(*number).map_or(Val::UInt(*number as u64), Val::Int),
            Self::Text(text) => Val::Text(text.clone()),
        }
    }
}

/// An operator that compares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Comparison {
    Equal,
    NotEqual,
    Less,
    LessOrEqual,
    Greater,
    GreaterOrEqual,
}

impl Comparison {
    pub fn holds(self, left: &Val<'_>, right: &Val<'_>, work: &Work) -> Result<bool, Trouble> {
        Ok(match self {
            Self::Equal => left.equals(right, work)?,
            Self::NotEqual => !left.equals(right, work)?,
            Self::Less => left.order(right, work)?.is_some_and(Ordering::is_lt),
            Self::LessOrEqual => left.order(right, work)?.is_some_and(Ordering::is_le),
            Self::Greater => left.order(right, work)?.is_some_and(Ordering::is_gt),
            Self::GreaterOrEqual => left.order(right, work)?.is_some_and(Ordering::is_ge),
        })
    }

    /// Returns the comparison for swapped sides.
    pub fn swapped(self) -> Self {
        match self {
            Self::Less => Self::Greater,
            Self::LessOrEqual => Self::GreaterOrEqual,
            Self::Greater => Self::Less,
            Self::GreaterOrEqual => Self::LessOrEqual,
            same => same,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn val(json: &str) -> Val<'_> {
        Val::of_json(json.as_bytes()).unwrap()
    }

    fn equal(a: &Val<'_>, b: &Val<'_>) -> Result<bool, Trouble> {
        let result = a.equals(b, &Work::new());
        assert_eq!(b.equals(a, &Work::new()), result, "{a:?} {b:?} the other way round");
        result
    }

    #[test]
    fn numbers_are_equal_by_value_and_ordered_exactly() {
        for (a, b) in [("1", "1.0"), ("1e2", "100"), ("18446744073709551615", "18446744073709551615"), ("-0", "0.0")] {
            assert_eq!(equal(&val(a), &val(b)), Ok(true), "{a} {b}");
        }
        for (a, b) in
            [("9007199254740993.0", "9007199254740992"), ("1", "\"1\""), ("0", "false"), ("0", "null"), ("1", "1.5")]
        {
            assert_eq!(equal(&val(a), &val(b)), Ok(false), "{a} {b}");
        }
        for (less, more) in [
            ("1", "1.5"),
            ("-1.5", "-1"),
            ("9007199254740992", "9007199254740993.0"),
            ("18446744073709551615", "18446744073709551616"),
            ("-1e300", "0"),
            ("7", "1e300"),
        ] {
            assert_eq!(val(less).order(&val(more), &Work::new()), Ok(Some(Ordering::Less)), "{less} {more}");
            assert_eq!(val(more).order(&val(less), &Work::new()), Ok(Some(Ordering::Greater)), "{less} {more}");
        }
        assert_eq!(Val::of_json(b"1e999"), Err(Trouble::Evaluation));
    }

    #[test]
    fn documents_are_equal_by_value_whatever_their_order_and_spelling() {
        for (a, b) in [(r#"{"a":[1,{"b":2.0}],"c":"A"}"#, r#"{ "c":"\u0041", "a":[1.0,{"b":2}] }"#), ("[]", "[ ]")] {
            assert_eq!(equal(&val(a), &val(b)), Ok(true), "{a} {b}");
        }
        for (a, b) in [
            ("[9007199254740993]", "[9007199254740992.0]"),
            ("[1,2]", "[2,1]"),
            ("[1]", "[1,2]"),
            ("{\"a\":1}", "{}"),
            ("{}", "[]"),
        ] {
            assert_eq!(equal(&val(a), &val(b)), Ok(false), "{a} {b}");
        }
        assert_eq!(equal(&val(r#"{"a":1,"a":1}"#), &val("{}")), Err(Trouble::NotJudged));
        let headers = Val::List(vec![Val::Text("x".into()), Val::Null].into());
        assert_eq!(equal(&headers, &val(r#"["x",null]"#)), Ok(true));
        assert_eq!(equal(&headers, &val(r#"["x"]"#)), Ok(false));
        let bytes = Val::List(vec![Val::Bytes(Shared::Borrowed(b"\xff"))].into());
        assert_eq!(equal(&bytes, &val("[{}]")), Ok(false));
    }

    #[test]
    fn types_do_not_mix() {
        let work = Work::new();
        for (a, b) in [("1", "\"1\""), ("null", "1"), ("[]", "[]"), ("true", "1")] {
            assert_eq!(val(a).order(&val(b), &work), Err(Trouble::Evaluation), "{a} {b}");
        }
        assert_eq!(val("\"a\"").order(&val("\"b\""), &work), Ok(Some(Ordering::Less)));
        for (json, size) in [("\"é😀\"", 2), ("[1,[2]]", 2), ("{\"a\":1}", 1)] {
            assert_eq!(val(json).size(&work), Ok(size), "{json}");
        }
        assert_eq!(val("7").size(&work), Err(Trouble::Evaluation));
    }
}
