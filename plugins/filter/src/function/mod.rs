//! The functions that an expression can call.

mod convert;
mod text;

use std::cmp::Ordering;

use crate::{time::Unit, trouble::Trouble, val::Val, work::Work};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    Bool,
    Bytes,
    CharAt,
    Contains,
    Double,
    Duration,
    Dyn,
    EndsWith,
    /// A part of a time or duration.
    Get(Unit),
    IndexOf,
    Int,
    Join,
    LastIndexOf,
    LowerAscii,
    Matches,
    Max,
    Min,
    Replace,
    Reverse,
    Size,
    Split,
    StartsWith,
    String,
    Substring,
    Timestamp,
    Trim,
    Type,
    UInt,
    UpperAscii,
}

/// How a function is called.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Call {
    /// `f(x)`
    Plain,
    /// `x.f()`
    Member,
    Both,
}

/// Name, call, and the smallest and largest number of arguments, the one before the point counted.
type Row = (&'static str, Function, Call, usize, usize);

/// All functions, by name.
const FUNCTIONS: [Row; 38] = [
    ("bool", Function::Bool, Call::Plain, 1, 1),
    ("bytes", Function::Bytes, Call::Plain, 1, 1),
    ("charAt", Function::CharAt, Call::Member, 2, 2),
    ("contains", Function::Contains, Call::Member, 2, 2),
    ("double", Function::Double, Call::Plain, 1, 1),
    ("duration", Function::Duration, Call::Plain, 1, 1),
    ("dyn", Function::Dyn, Call::Plain, 1, 1),
    ("endsWith", Function::EndsWith, Call::Member, 2, 2),
    ("getDate", Function::Get(Unit::Date), Call::Member, 1, 2),
    ("getDayOfMonth", Function::Get(Unit::DayOfMonth), Call::Member, 1, 2),
    ("getDayOfWeek", Function::Get(Unit::DayOfWeek), Call::Member, 1, 2),
    ("getDayOfYear", Function::Get(Unit::DayOfYear), Call::Member, 1, 2),
    ("getFullYear", Function::Get(Unit::FullYear), Call::Member, 1, 2),
    ("getHours", Function::Get(Unit::Hours), Call::Member, 1, 2),
    ("getMilliseconds", Function::Get(Unit::Milliseconds), Call::Member, 1, 2),
    ("getMinutes", Function::Get(Unit::Minutes), Call::Member, 1, 2),
    ("getMonth", Function::Get(Unit::Month), Call::Member, 1, 2),
    ("getSeconds", Function::Get(Unit::Seconds), Call::Member, 1, 2),
    ("indexOf", Function::IndexOf, Call::Member, 2, 3),
    ("int", Function::Int, Call::Plain, 1, 1),
    ("join", Function::Join, Call::Member, 1, 2),
    ("lastIndexOf", Function::LastIndexOf, Call::Member, 2, 3),
    ("lowerAscii", Function::LowerAscii, Call::Member, 1, 1),
    ("matches", Function::Matches, Call::Both, 2, 2),
    ("max", Function::Max, Call::Plain, 1, usize::MAX),
    ("min", Function::Min, Call::Plain, 1, usize::MAX),
    ("replace", Function::Replace, Call::Member, 3, 4),
    ("reverse", Function::Reverse, Call::Member, 1, 1),
    ("size", Function::Size, Call::Both, 1, 1),
    ("split", Function::Split, Call::Member, 2, 3),
    ("startsWith", Function::StartsWith, Call::Member, 2, 2),
    ("string", Function::String, Call::Plain, 1, 1),
    ("substring", Function::Substring, Call::Member, 2, 3),
    ("timestamp", Function::Timestamp, Call::Plain, 1, 1),
    ("trim", Function::Trim, Call::Member, 1, 1),
    ("type", Function::Type, Call::Plain, 1, 1),
    ("uint", Function::UInt, Call::Plain, 1, 1),
    ("upperAscii", Function::UpperAscii, Call::Member, 1, 1),
];

impl Function {
    /// Finds the function of a call with `arguments` arguments, the one before the point counted.
    ///
    /// # Errors
    /// A message for the author of the expression.
    pub fn find(name: &str, is_member: bool, arguments: usize) -> Result<Self, String> {
        let Some((_, function, call, min, max)) = FUNCTIONS.iter().find(|row| row.0 == name) else {
            let names: Vec<_> = FUNCTIONS.iter().map(|row| row.0).collect();
            return Err(format!("the function '{name}' does not exist; available: {}", names.join(", ")));
        };
        match (call, is_member) {
            (Call::Plain, true) => return Err(format!("write {name}(x) instead of x.{name}()")),
            (Call::Member, false) => return Err(format!("write x.{name}() instead of {name}(x)")),
            _ => {}
        }
        if (*min..=*max).contains(&arguments) {
            return Ok(*function);
        }
        let before = usize::from(is_member);
        Err(format!("{name}() with {} arguments does not exist", arguments - before))
    }

    /// Whether an argument can be an array or object.
    pub fn is_of_lists(self) -> bool {
        matches!(self, Self::Join | Self::Max | Self::Min | Self::Size)
    }

    /// Calls the function. [`Function::Matches`] is not one of these: its patterns are kept.
    pub fn call<'a>(self, arguments: &[Val<'a>], work: &Work) -> Result<Val<'a>, Trouble> {
        for argument in arguments {
            match argument {
                Val::Text(text) => work.read(text.len())?,
                Val::Bytes(bytes) => work.read(bytes.len())?,
                _ => {}
            }
        }
        match (self, arguments) {
            (Self::Max, of) => extreme(of, Ordering::Greater, work),
            (Self::Min, of) => extreme(of, Ordering::Less, work),
            (Self::Get(unit), [of]) => part_of(of, unit, "UTC"),
            (Self::Get(unit), [of, zone]) => part_of(of, unit, zone.text()?),
            (Self::Contains | Self::EndsWith | Self::StartsWith, [text, other]) => {
                let (text, other) = (text.text()?, other.text()?);
                Ok(Val::Bool(match self {
                    Self::Contains => text.contains(other),
                    Self::EndsWith => text.ends_with(other),
                    _ => text.starts_with(other),
                }))
            }
            (Self::Bool, [val]) => convert::bool(val),
            (Self::Bytes, [val]) => convert::bytes(val, work),
            (Self::Double, [val]) => convert::double(val),
            (Self::Duration, [val]) => convert::duration(val),
            (Self::Dyn, [val]) => Ok(val.clone()),
            (Self::Int, [val]) => convert::int(val),
            (Self::Size, [val]) => val.size(work).map(Val::Int),
            (Self::String, [val]) => convert::string(val, work),
            (Self::Timestamp, [val]) => convert::timestamp(val),
            (Self::Type, [val]) => Ok(convert::type_of(val)),
            (Self::UInt, [val]) => convert::uint(val),
            _ => text::call(self, arguments, work),
        }
    }
}

/// Returns a part of a time in a zone, or of a duration.
fn part_of<'a>(of: &Val<'a>, unit: Unit, zone: &str) -> Result<Val<'a>, Trouble> {
    let part = match of {
        Val::Time(time) => time.get(unit, zone),
        Val::Span(span) => span.get(unit),
        _ => None,
    };
    part.map(Val::Int).ok_or(Trouble::Evaluation)
}

/// Returns the type that a name stands for.
pub fn type_named(name: &str) -> Option<&'static str> {
    convert::TYPES.iter().find(|known| **known == name).copied()
}

/// Returns the largest or smallest of several values, or of the elements of one list.
fn extreme<'a>(of: &[Val<'a>], wanted: Ordering, work: &Work) -> Result<Val<'a>, Trouble> {
    let of = match of {
        [Val::List(list)] => list.as_slice(),
        of => of,
    };
    let (first, rest) = of.split_first().ok_or(Trouble::Evaluation)?;
    let mut found = first;
    for val in rest {
        work.steps(1)?;
        if val.order(found, work)? == Some(wanted) {
            found = val;
        }
    }
    Ok(found.clone())
}
