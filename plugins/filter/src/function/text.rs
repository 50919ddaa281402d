//! The strings extension of CEL. Indexes count characters.

use std::rc::Rc;

use super::Function;
use crate::{number::Number, trouble::Trouble, val::Val, work::Work};

/// Calls a function whose first argument is the text, or for `join` the list.
pub fn call<'a>(function: Function, arguments: &[Val<'a>], work: &Work) -> Result<Val<'a>, Trouble> {
    let (first, rest) = arguments.split_first().ok_or(Trouble::Evaluation)?;
    if function == Function::Join {
        let separator = rest.first().map_or(Ok(""), Val::text)?;
        return Ok(made(join(first, separator, work)?));
    }
    let text = first.text()?;
    work.write(text.len())?;
    Ok(match (function, rest) {
        (Function::CharAt, [index]) => {
            let rest = text.get(offset(text, index)?..).unwrap_or_default();
            made(rest.chars().next().map(String::from).unwrap_or_default())
        }
        (Function::IndexOf, [part]) => index_of(text, part.text()?, 0),
        (Function::IndexOf, [part, from]) => index_of(text, part.text()?, offset(text, from)?),
        (Function::LastIndexOf, [part]) => last_index_of(text, part.text()?, text.len()),
        (Function::LastIndexOf, [part, until]) => last_index_of(text, part.text()?, offset(text, until)?),
        (Function::LowerAscii, []) => made(text.to_ascii_lowercase()),
        (Function::UpperAscii, []) => made(text.to_ascii_uppercase()),
        (Function::Replace, [old, new]) => made(replace(text, [old.text()?, new.text()?], usize::MAX, work)?),
        (Function::Replace, [old, new, times]) => made(replace(text, [old.text()?, new.text()?], limit(times)?, work)?),
        (Function::Reverse, []) => made(text.chars().rev().collect()),
        (Function::Split, [by]) => split(text, by.text()?, usize::MAX, work)?,
        (Function::Split, [by, parts]) => split(text, by.text()?, limit(parts)?, work)?,
        (Function::Substring, [from]) => made(text.get(offset(text, from)?..).unwrap_or_default().to_owned()),
        (Function::Substring, [from, to]) => {
            let range = offset(text, from)?..offset(text, to)?;
            made(text.get(range).ok_or(Trouble::Evaluation)?.to_owned())
        }
        (Function::Trim, []) => made(text.trim().to_owned()),
        _ => return Err(Trouble::Evaluation),
    })
}

fn made<'a>(text: String) -> Val<'a> {
    Val::Text(text.into())
}

fn integer(val: &Val<'_>) -> Result<i64, Trouble> {
    match val {
        Val::Int(number) => Some(*number),
        Val::Number(Number::Whole(number)) => i64::try_from(*number).ok(),
        _ => None,
    }
    .ok_or(Trouble::Evaluation)
}

/// Returns a number of times; a negative one is no limit.
fn limit(val: &Val<'_>) -> Result<usize, Trouble> {
    integer(val).map(|number| usize::try_from(number).unwrap_or(usize::MAX))
}

/// Returns the place of a character, or of the end.
fn offset(text: &str, index: &Val<'_>) -> Result<usize, Trouble> {
    let index = usize::try_from(integer(index)?).map_err(|_| Trouble::Evaluation)?;
    text.char_indices().map(|(at, _)| at).chain([text.len()]).nth(index).ok_or(Trouble::Evaluation)
}

/// Returns the index of the character at a place.
fn index(text: &str, at: usize) -> i64 {
    text.get(..at).unwrap_or(text).chars().count() as i64
}

fn index_of<'a>(text: &str, part: &str, from: usize) -> Val<'a> {
    let found = text.get(from..).and_then(|rest| rest.find(part));
    Val::Int(found.map_or(-1, |at| index(text, from + at)))
}

/// Finds the last one that begins at the place `until` or before.
fn last_index_of<'a>(text: &str, part: &str, until: usize) -> Val<'a> {
    let end = text.len().min(until + part.len());
    // Nothing that is found ends within a character.
    let end = (until..=end).rev().find(|end| text.is_char_boundary(*end)).unwrap_or(until);
    let found = text.get(..end).and_then(|head| head.rfind(part));
    Val::Int(found.map_or(-1, |at| index(text, at)))
}

fn replace(text: &str, [old, new]: [&str; 2], times: usize, work: &Work) -> Result<String, Trouble> {
    let found = text.matches(old).take(times).count();
    work.write(found.saturating_mul(new.len()))?;
    Ok(text.replacen(old, new, times))
}

fn split<'a>(text: &str, by: &str, parts: usize, work: &Work) -> Result<Val<'a>, Trouble> {
    let mut list = Vec::new();
    let mut rest = (parts > 0).then_some(text);
    while let Some(text) = rest {
        work.steps(1)?;
        let next = match by {
            _ if list.len() + 1 >= parts => None,
            "" => text.chars().next().map(char::len_utf8).filter(|len| *len < text.len()).map(|len| text.split_at(len)),
            by => text.split_once(by),
        };
        let part = next.map_or(text, |(part, _)| part);
        rest = next.map(|(_, rest)| rest);
        list.push(made(part.to_owned()));
    }
    // Nothing has no characters.
    if by.is_empty() && text.is_empty() {
        list.clear();
    }
    Ok(Val::List(Rc::new(list)))
}

fn join(list: &Val<'_>, separator: &str, work: &Work) -> Result<String, Trouble> {
    let Val::List(list) = list else { return Err(Trouble::Evaluation) };
    let mut joined = String::new();
    for (index, part) in list.iter().enumerate() {
        let part = part.text()?;
        work.write(part.len() + separator.len())?;
        if index > 0 {
            joined.push_str(separator);
        }
        joined.push_str(part);
    }
    Ok(joined)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_function_makes_counts_before_it_is_made() {
        let text = |text: &str| Val::Text(text.to_owned().into());
        let long = "a".repeat(100_000);
        let list = Val::List(Rc::new(vec![text(&long); 1_000]));
        for (function, arguments) in [
            (Function::Replace, vec![text(&long), text(""), text(&long)]),
            (Function::Replace, vec![text(&long), text("a"), text(&long), Val::Int(5_000)]),
            (Function::Join, vec![list.clone()]),
            (Function::Join, vec![list, text(&long)]),
            (Function::Split, vec![text(&long.repeat(10)), text("")]),
        ] {
            assert_eq!(call(function, &arguments, &Work::new()), Err(Trouble::TooMuch), "{function:?}");
        }
    }
}
