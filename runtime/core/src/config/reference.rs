//! `${env:NAME}` and `${file:/path}` inside strings.
//!
//! `$${` stands for a plain `${`. `${name}` without a colon is left alone: plugins use it in replacement texts.

use std::fmt;

/// What a string refers to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference<'a> {
    /// An environment variable.
    Env(&'a str),
    /// The content of a file, without the line break at its end.
    File(&'a str),
}

impl fmt::Display for Reference<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Env(name) => write!(f, "environment variable {name}"),
            Self::File(path) => write!(f, "file {path}"),
        }
    }
}

/// Gives the value of a reference, or says why there is none (without giving a value away).
pub type Lookup<'a> = dyn FnMut(&Reference<'_>) -> Result<String, String> + 'a;

/// Why a reference cannot be resolved. Never holds a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefError {
    /// What it refers to cannot be had.
    #[error("{reference} {reason}")]
    Missing {
        /// What was referred to.
        reference: String,
        /// Why.
        reason: String,
    },
    /// `${` without `}`.
    #[error("a reference is not closed: '}}' is missing")]
    Unclosed,
    /// Neither `env` nor `file`.
    #[error(
        "'${{{kind}:…}}' is not a kind of reference: use ${{env:NAME}} or ${{file:/path}}, or write '$${{' for a plain '${{'"
    )]
    UnknownKind {
        /// What stands before the colon.
        kind: String,
    },
    /// Nothing behind the colon.
    #[error("'${{{kind}:}}' names nothing")]
    Empty {
        /// What stands before the colon.
        kind: String,
    },
}

enum Part<'a> {
    Text(&'a str),
    Ref(Reference<'a>),
}

fn parts(text: &str) -> Result<Vec<Part<'_>>, RefError> {
    let mut parts = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find("${") {
        let (before, from) = rest.split_at(at);
        if let Some(before) = before.strip_suffix('$') {
            parts.push(Part::Text(before));
            parts.push(Part::Text("${"));
            rest = from.get(2..).unwrap_or_default();
            continue;
        }
        let inside = from.get(2..).unwrap_or_default();
        let kind_end = inside.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(inside.len());
        let (kind, tail) = inside.split_at(kind_end);
        let Some(tail) = tail.strip_prefix(':').filter(|_| !kind.is_empty()) else {
            parts.push(Part::Text(before));
            parts.push(Part::Text("${"));
            rest = inside;
            continue;
        };
        let Some((name, after)) = tail.split_once('}') else {
            return Err(RefError::Unclosed);
        };
        let reference = match kind {
            "env" => Reference::Env(name),
            "file" => Reference::File(name),
            _ => return Err(RefError::UnknownKind { kind: kind.to_owned() }),
        };
        if name.is_empty() {
            return Err(RefError::Empty { kind: kind.to_owned() });
        }
        parts.push(Part::Text(before));
        parts.push(Part::Ref(reference));
        rest = after;
    }
    parts.push(Part::Text(rest));
    Ok(parts)
}

/// Whether the text has a reference (a broken one counts).
#[must_use]
pub fn has_reference(text: &str) -> bool {
    parts(text).map_or(true, |parts| parts.iter().any(|part| matches!(part, Part::Ref(_))))
}

/// Whether the text is nothing but references.
#[must_use]
pub fn is_only_references(text: &str) -> bool {
    let Ok(parts) = parts(text) else {
        return false;
    };
    let mut any = false;
    for part in parts {
        match part {
            Part::Ref(_) => any = true,
            Part::Text("") => {}
            Part::Text(_) => return false,
        }
    }
    any
}

/// The text with its references resolved; `None` where it has none.
///
/// # Errors
/// [`RefError`], which names what was referred to and never a value.
pub fn resolve(text: &str, lookup: &mut Lookup<'_>) -> Result<Option<String>, RefError> {
    if !text.contains("${") {
        return Ok(None);
    }
    let mut resolved = String::new();
    for part in parts(text)? {
        match part {
            Part::Text(text) => resolved.push_str(text),
            Part::Ref(reference) => {
                let value = lookup(&reference)
                    .map_err(|reason| RefError::Missing { reference: reference.to_string(), reason })?;
                resolved.push_str(&value);
            }
        }
    }
    Ok((resolved != text).then_some(resolved))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn references_are_replaced_and_everything_else_is_left_alone() {
        let mut lookup = |reference: &Reference<'_>| match reference {
            Reference::Env("A") => Ok("<${env:B}>".to_owned()),
            Reference::File("/x y") => Ok("file".to_owned()),
            _ => Err("is not set".to_owned()),
        };
        for (text, resolved) in [
            ("plain $1 ${1} ${name} $", None),
            // What comes out of a reference is never looked at again.
            ("a${env:A}b${file:/x y}", Some("a<${env:B}>bfile")),
            ("$${env:A}", Some("${env:A}")),
            ("${name}${env:A}", Some("${name}<${env:B}>")),
        ] {
            assert_eq!(resolve(text, &mut lookup), Ok(resolved.map(str::to_owned)), "{text}");
        }
        for (text, error) in [
            ("${env:NONE}", "environment variable NONE is not set"),
            ("${env:A", "a reference is not closed: '}' is missing"),
            (
                "${evn:A}",
                "'${evn:…}' is not a kind of reference: use ${env:NAME} or ${file:/path}, or write '$${' for a plain '${'",
            ),
            ("${env:}", "'${env:}' names nothing"),
        ] {
            assert_eq!(resolve(text, &mut lookup).unwrap_err().to_string(), error);
        }
    }
}
