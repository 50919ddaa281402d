//! `${env:NAME}` and `${file:/path}` inside strings.
//!
//! `$${` stands for a plain `${`. `${name}` without a colon is left alone: plugins use it in
//! replacement texts.

use std::fmt;

/// A reference in a string.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reference<'a> {
    /// The value of an environment variable.
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

/// Returns the value of a reference, or the reason why there is none. The reason never contains a
/// value.
pub type Lookup<'a> = dyn FnMut(&Reference<'_>) -> Result<String, String> + 'a;

/// The reason why a reference cannot be resolved. Never contains a value.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RefError {
    /// The variable is not set, or the file cannot be read.
    #[error("{reference} {reason}")]
    Missing {
        /// The reference, for people.
        reference: String,
        /// The reason.
        reason: String,
    },
    /// `${` without `}`.
    #[error("unclosed reference: '}}' is missing")]
    Unclosed,
    /// The kind is neither `env` nor `file`.
    #[error(
        "unknown reference '${{{kind}:…}}': use ${{env:NAME}} or ${{file:/path}}, or write '$${{' for a plain '${{'"
    )]
    UnknownKind {
        /// The text before the colon.
        kind: String,
    },
    /// Nothing follows the colon.
    #[error("'${{{kind}:}}' has no name")]
    Empty {
        /// The text before the colon.
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

/// Returns whether the text has a reference. An invalid one counts.
#[must_use]
pub fn has_reference(text: &str) -> bool {
    parts(text).map_or(true, |parts| parts.iter().any(|part| matches!(part, Part::Ref(_))))
}

/// Returns whether the text consists only of references.
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

/// Returns the text beside the references, which name secrets without revealing them.
#[must_use]
pub fn beside(text: &str) -> Vec<&str> {
    if !has_reference(text) {
        return vec![text];
    }
    match parts(text) {
        Ok(parts) => {
            parts.into_iter().filter_map(|part| if let Part::Text(text) = part { Some(text) } else { None }).collect()
        }
        // Nobody knows where an invalid one ends.
        Err(_) => text.split("${").take(1).collect(),
    }
}

/// Returns the files that the text refers to. Those of an invalid text cannot be told.
#[must_use]
pub fn files(text: &str) -> Vec<&str> {
    let mut files = Vec::new();
    for part in parts(text).unwrap_or_default() {
        if let Part::Ref(Reference::File(path)) = part {
            files.push(path);
        }
    }
    files
}

/// Returns the text with its references resolved, or `None` if it has none.
///
/// # Errors
/// [`RefError`], which names the reference and never a value.
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
    fn only_references_are_replaced() {
        let mut lookup = |reference: &Reference<'_>| match reference {
            Reference::Env("A") => Ok("<${env:B}>".to_owned()),
            Reference::File("/x y") => Ok("file".to_owned()),
            _ => Err("is not set".to_owned()),
        };
        for (text, resolved) in [
            ("plain $1 ${1} ${name} $", None),
            // The value of a reference is not searched for references.
            ("a${env:A}b${file:/x y}", Some("a<${env:B}>bfile")),
            ("$${env:A}", Some("${env:A}")),
            ("${name}${env:A}", Some("${name}<${env:B}>")),
        ] {
            assert_eq!(resolve(text, &mut lookup), Ok(resolved.map(str::to_owned)), "{text}");
        }
        for (text, error) in [
            ("${env:NONE}", "environment variable NONE is not set"),
            ("${env:A", "unclosed reference: '}' is missing"),
            (
                "${evn:A}",
                "unknown reference '${evn:…}': use ${env:NAME} or ${file:/path}, or write '$${' for a plain '${'",
            ),
            ("${env:}", "'${env:}' has no name"),
        ] {
            assert_eq!(resolve(text, &mut lookup).unwrap_err().to_string(), error);
        }
    }
}
