//! Operators that calculate.

use std::rc::Rc;

use crate::{number::Operator, shared::Shared, trouble::Trouble, val::Val, work::Work};

/// Applies an operator. CEL's own numbers calculate only with their own type, and exactly; a number
/// of the record's JSON calculates with all of them.
///
/// # Errors
/// [`Trouble::Evaluation`] for types that do not go together and for a result out of range.
pub fn calculate<'a>(by: Operator, left: &Val<'a>, right: &Val<'a>, work: &Work) -> Result<Val<'a>, Trouble> {
    Ok(match (left, right) {
        (Val::Int(a), Val::Int(b)) => Val::Int(int(by, *a, *b).ok_or(Trouble::Evaluation)?),
        (Val::UInt(a), Val::UInt(b)) => Val::UInt(uint(by, *a, *b).ok_or(Trouble::Evaluation)?),
        (Val::Double(a), Val::Double(b)) => Val::Double(double(by, *a, *b).ok_or(Trouble::Evaluation)?),
        (Val::Number(_), _) | (_, Val::Number(_)) => {
            let (a, b) = left.number().zip(right.number()).ok_or(Trouble::Evaluation)?;
            Val::Number(a.calculate(by, b)?)
        }
        (Val::Time(_) | Val::Span(_), _) => timed(by, left, right).ok_or(Trouble::Evaluation)?,
        _ if by == Operator::Add => join(&left.clone().parsed(work)?, &right.clone().parsed(work)?, work)?,
        _ => return Err(Trouble::Evaluation),
    })
}

/// Applies the operator `-` before a value.
pub fn negate<'a>(val: &Val<'a>) -> Result<Val<'a>, Trouble> {
    Ok(match val {
        Val::Int(number) => Val::Int(number.checked_neg().ok_or(Trouble::Evaluation)?),
        Val::Double(number) => Val::Double(-number),
        Val::Number(number) => Val::Number(number.negate()?),
        _ => return Err(Trouble::Evaluation),
    })
}

fn int(by: Operator, a: i64, b: i64) -> Option<i64> {
    match by {
        Operator::Add => a.checked_add(b),
        Operator::Subtract => a.checked_sub(b),
        Operator::Multiply => a.checked_mul(b),
        Operator::Divide => a.checked_div(b),
        Operator::Remainder => a.checked_rem(b),
    }
}

fn uint(by: Operator, a: u64, b: u64) -> Option<u64> {
    match by {
        Operator::Add => a.checked_add(b),
        Operator::Subtract => a.checked_sub(b),
        Operator::Multiply => a.checked_mul(b),
        Operator::Divide => a.checked_div(b),
        Operator::Remainder => a.checked_rem(b),
    }
}

fn double(by: Operator, a: f64, b: f64) -> Option<f64> {
    match by {
        Operator::Add => Some(a + b),
        Operator::Subtract => Some(a - b),
        Operator::Multiply => Some(a * b),
        Operator::Divide => Some(a / b),
        Operator::Remainder => None,
    }
}

fn timed<'a>(by: Operator, left: &Val<'a>, right: &Val<'a>) -> Option<Val<'a>> {
    match (left, by, right) {
        (Val::Time(time), Operator::Add, Val::Span(span)) | (Val::Span(span), Operator::Add, Val::Time(time)) => {
            time.plus(*span).map(Val::Time)
        }
        (Val::Time(time), Operator::Subtract, Val::Span(span)) => time.minus(*span).map(Val::Time),
        (Val::Time(time), Operator::Subtract, Val::Time(earlier)) => time.since(*earlier).map(Val::Span),
        (Val::Span(a), Operator::Add, Val::Span(b)) => a.plus(*b).map(Val::Span),
        (Val::Span(a), Operator::Subtract, Val::Span(b)) => a.minus(*b).map(Val::Span),
        _ => None,
    }
}

fn join<'a>(left: &Val<'a>, right: &Val<'a>, work: &Work) -> Result<Val<'a>, Trouble> {
    Ok(match (left, right) {
        (Val::Text(a), Val::Text(b)) => {
            work.write(a.len() + b.len())?;
            Val::Text(format!("{}{}", &**a, &**b).into())
        }
        (Val::Bytes(a), Val::Bytes(b)) => {
            work.write(a.len() + b.len())?;
            Val::Bytes(Shared::Counted([&**a, &**b].concat().into()))
        }
        (Val::List(a), Val::List(b)) => {
            work.steps(a.len() + b.len())?;
            Val::List(Rc::new(a.iter().chain(b.iter()).cloned().collect()))
        }
        _ => return Err(Trouble::Evaluation),
    })
}
