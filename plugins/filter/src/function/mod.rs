//! The functions that an expression can call.

mod convert;

use std::cmp::Ordering;

use crate::{trouble::Trouble, val::Val, work::Work};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Function {
    Bool,
    Bytes,
    Contains,
    Double,
    Dyn,
    EndsWith,
    Int,
    Matches,
    Max,
    Min,
    Size,
    StartsWith,
    String,
    Type,
    UInt,
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
const FUNCTIONS: [Row; 15] = [
    ("bool", Function::Bool, Call::Plain, 1, 1),
    ("bytes", Function::Bytes, Call::Plain, 1, 1),
    ("contains", Function::Contains, Call::Member, 2, 2),
    ("double", Function::Double, Call::Plain, 1, 1),
    ("dyn", Function::Dyn, Call::Plain, 1, 1),
    ("endsWith", Function::EndsWith, Call::Member, 2, 2),
    ("int", Function::Int, Call::Plain, 1, 1),
    ("matches", Function::Matches, Call::Both, 2, 2),
    ("max", Function::Max, Call::Plain, 1, usize::MAX),
    ("min", Function::Min, Call::Plain, 1, usize::MAX),
    ("size", Function::Size, Call::Both, 1, 1),
    ("startsWith", Function::StartsWith, Call::Member, 2, 2),
    ("string", Function::String, Call::Plain, 1, 1),
    ("type", Function::Type, Call::Plain, 1, 1),
    ("uint", Function::UInt, Call::Plain, 1, 1),
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
        matches!(self, Self::Max | Self::Min | Self::Size)
    }

    /// Calls the function. [`Function::Matches`] is not one of these: its patterns are kept.
    pub fn call<'a>(self, arguments: &[Val<'a>], work: &Work) -> Result<Val<'a>, Trouble> {
        match arguments {
            _ if self == Self::Max => extreme(arguments, Ordering::Greater, work),
            _ if self == Self::Min => extreme(arguments, Ordering::Less, work),
            [one] => self.of_one(one, work),
            [text, other] => {
                let (text, other) = (text.text()?, other.text()?);
                work.read(text.len())?;
                match self {
                    Self::Contains => Ok(Val::Bool(text.contains(other))),
                    Self::EndsWith => Ok(Val::Bool(text.ends_with(other))),
                    Self::StartsWith => Ok(Val::Bool(text.starts_with(other))),
                    _ => Err(Trouble::Evaluation),
                }
            }
            _ => Err(Trouble::Evaluation),
        }
    }

    fn of_one<'a>(self, val: &Val<'a>, work: &Work) -> Result<Val<'a>, Trouble> {
        match self {
            Self::Bool => convert::bool(val),
            Self::Bytes => convert::bytes(val, work),
            Self::Double => convert::double(val),
            Self::Dyn => Ok(val.clone()),
            Self::Int => convert::int(val),
            Self::Size => val.size(work).map(Val::Int),
            Self::String => convert::string(val, work),
            Self::Type => Ok(convert::type_of(val)),
            Self::UInt => convert::uint(val),
            _ => Err(Trouble::Evaluation),
        }
    }
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
