//! Conversions between types.

use strait_scheme::canonical;

use crate::{
    number::Number,
    shared::Shared,
    time::{Span, Time},
    trouble::Trouble,
    val::Val,
    work::Work,
};

/// The names of types.
pub const TYPES: [&str; 12] =
    ["bool", "bytes", "double", DURATION, TIMESTAMP, "int", "list", "map", "null_type", "string", "type", "uint"];
const DURATION: &str = "google.protobuf.Duration";
const TIMESTAMP: &str = "google.protobuf.Timestamp";

pub fn bool<'a>(val: &Val<'a>) -> Result<Val<'a>, Trouble> {
    Ok(Val::Bool(match val {
        Val::Bool(holds) => *holds,
        Val::Text(text) => match &**text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
            "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
            _ => return Err(Trouble::Evaluation),
        },
        _ => return Err(Trouble::Evaluation),
    }))
}

pub fn bytes<'a>(val: &Val<'a>, work: &Work) -> Result<Val<'a>, Trouble> {
    match val {
        Val::Bytes(bytes) => Ok(Val::Bytes(bytes.clone())),
        Val::Text(Shared::Borrowed(text)) => Ok(Val::Bytes(Shared::Borrowed(text.as_bytes()))),
        Val::Text(Shared::Counted(text)) => {
            work.write(text.len())?;
            Ok(Val::Bytes(Shared::Counted(text.as_bytes().into())))
        }
        _ => Err(Trouble::Evaluation),
    }
}

pub fn double<'a>(val: &Val<'a>) -> Result<Val<'a>, Trouble> {
    Ok(Val::Double(match val {
        Val::Text(text) => text.parse().map_err(|_| Trouble::Evaluation)?,
        number => number.number().ok_or(Trouble::Evaluation)?.double(),
    }))
}

pub fn int<'a>(val: &Val<'a>) -> Result<Val<'a>, Trouble> {
    let int = match val {
        Val::Text(text) => text.parse().ok(),
        Val::Time(time) => Some(time.seconds()),
        // The bounds do not count, because a double near them is rounded.
        Val::Double(number) | Val::Number(Number::Double(number)) => {
            (*number > i64::MIN as f64 && *number < i64::MAX as f64).then_some(*number as i64)
        }
        number => number.number().and_then(Number::whole).and_then(|number| i64::try_from(number).ok()),
    };
    int.map(Val::Int).ok_or(Trouble::Evaluation)
}

pub fn uint<'a>(val: &Val<'a>) -> Result<Val<'a>, Trouble> {
    let uint = match val {
        Val::Text(text) => text.parse().ok(),
        Val::Double(number) | Val::Number(Number::Double(number)) => {
            (*number >= 0.0 && *number < u64::MAX as f64).then_some(*number as u64)
        }
        number => number.number().and_then(Number::whole).and_then(|number| u64::try_from(number).ok()),
    };
    uint.map(Val::UInt).ok_or(Trouble::Evaluation)
}

pub fn string<'a>(val: &Val<'a>, work: &Work) -> Result<Val<'a>, Trouble> {
    Ok(Val::Text(match val {
        Val::Bool(holds) => holds.to_string().into(),
        Val::Text(text) => text.clone(),
        Val::Time(time) => time.to_string().into(),
        Val::Span(span) => span.to_string().into(),
        Val::Bytes(Shared::Borrowed(bytes)) => std::str::from_utf8(bytes).map_err(|_| Trouble::Evaluation)?.into(),
        Val::Bytes(Shared::Counted(bytes)) => {
            work.write(bytes.len())?;
            std::str::from_utf8(bytes).map_err(|_| Trouble::Evaluation)?.to_owned().into()
        }
        number => match number.number().ok_or(Trouble::Evaluation)? {
            Number::Whole(number) => number.to_string().into(),
            Number::Double(number) => double_text(number).into(),
        },
    }))
}

/// Converts RFC 3339, or seconds since the Unix epoch.
pub fn timestamp<'a>(val: &Val<'a>) -> Result<Val<'a>, Trouble> {
    let time = match val {
        Val::Text(text) => Time::parse(text),
        Val::Time(time) => Some(*time),
        Val::Int(_) | Val::Number(_) => match val.number().ok_or(Trouble::Evaluation)? {
            Number::Whole(seconds) => i64::try_from(seconds).ok().and_then(Time::of_seconds),
            Number::Double(seconds) => Time::of_fraction(seconds),
        },
        _ => None,
    };
    time.map(Val::Time).ok_or(Trouble::Evaluation)
}

pub fn duration<'a>(val: &Val<'a>) -> Result<Val<'a>, Trouble> {
    let span = match val {
        Val::Text(text) => Span::parse(text),
        Val::Span(span) => Some(*span),
        _ => None,
    };
    span.map(Val::Span).ok_or(Trouble::Evaluation)
}

/// Writes a double as JSON does.
fn double_text(number: f64) -> String {
    let text = number.to_string();
    canonical::number(text.as_bytes()).unwrap_or(text)
}

pub fn type_of<'a>(val: &Val<'a>) -> Val<'a> {
    Val::Type(match val {
        Val::Null => "null_type",
        Val::Bool(_) => "bool",
        Val::Int(_) => "int",
        Val::UInt(_) => "uint",
        Val::Double(_) | Val::Number(Number::Double(_)) => "double",
        Val::Number(Number::Whole(number)) => {
            if i64::try_from(*number).is_ok() {
                "int"
            } else {
                "uint"
            }
        }
        Val::Text(_) => "string",
        Val::Bytes(_) => "bytes",
        Val::List(_) => "list",
        Val::Map(_) => "map",
        Val::Time(_) => TIMESTAMP,
        Val::Span(_) => DURATION,
        Val::Type(_) => "type",
        Val::Json(source) if source.starts_with(b"[") => "list",
        Val::Json(_) => "map",
    })
}
