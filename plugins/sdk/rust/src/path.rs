//! JSONPaths (RFC 9535) for the declaration of fields: names, indexes, `[*]` and `..name`.

use std::fmt;

/// Maximum length of a path in bytes, also of its canonical text; the host's.
const PATH_BYTES_MAX: usize = 1024;
/// Maximum number of steps; the host's.
const STEPS_MAX: usize = 24;
/// Characters of a path in a message: the host cuts long ones, and the reason must stay.
const SHOWN_MAX: usize = 100;

/// A parsed path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Path {
    /// Steps from the root.
    pub steps: Vec<Step>,
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// `.name` or `['name']`: a member of an object.
    Name(String),
    /// `[7]`: an element of an array, counted from 0.
    Index(u32),
    /// `[*]` or `.*`: every element of an array, every member of an object.
    Every,
    /// `..name` or `..['name']`: members with this name at any depth.
    Anywhere(String),
}

impl Step {
    /// Returns whether the step can match several places.
    #[must_use]
    pub fn is_many(&self) -> bool {
        matches!(self, Self::Every | Self::Anywhere(_))
    }
}

impl Path {
    /// # Errors
    /// A message for the author of the configuration.
    pub fn parse(path: &str) -> Result<Self, String> {
        if path.len() > PATH_BYTES_MAX {
            return Err(format!("a path has at most {PATH_BYTES_MAX} bytes"));
        }
        let mut rest = path.strip_prefix('$').ok_or("a path must start with $, as in $.customer.email")?;
        let mut steps = Vec::new();
        while !rest.is_empty() {
            if steps.len() == STEPS_MAX {
                return Err(format!("a path has at most {STEPS_MAX} steps: {}", shown(path)));
            }
            let (step, after) = step(rest).map_err(|problem| format!("{}: {problem}", shown(path)))?;
            steps.push(step);
            rest = after;
        }
        if steps.is_empty() {
            return Err("the path matches the whole document; name a field, as in $.customer.email".into());
        }
        let path = Self { steps };
        if path.to_string().len() > PATH_BYTES_MAX {
            return Err(format!("a path has at most {PATH_BYTES_MAX} bytes, with every name as ['name']"));
        }
        Ok(path)
    }

    /// Returns whether both paths can match the same place, or one can match inside a match of the
    /// other.
    #[must_use]
    pub fn overlaps(&self, other: &Self) -> bool {
        for (mine, theirs) in self.steps.iter().zip(&other.steps) {
            let apart = match (mine, theirs) {
                // Below this step, anything can match anywhere.
                (Step::Anywhere(_), _) | (_, Step::Anywhere(_)) => return true,
                (Step::Name(mine), Step::Name(theirs)) => mine != theirs,
                (Step::Index(mine), Step::Index(theirs)) => mine != theirs,
                (Step::Name(_), Step::Index(_)) | (Step::Index(_), Step::Name(_)) => true,
                (Step::Every, _) | (_, Step::Every) => false,
            };
            if apart {
                return false;
            }
        }
        true
    }
}

/// Writes the canonical text: that of RFC 9535 for normalized paths, with `[*]` and `..['name']`.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("$")?;
        for step in &self.steps {
            match step {
                Step::Name(name) => write!(f, "[{}]", Quoted(name))?,
                Step::Index(index) => write!(f, "[{index}]")?,
                Step::Every => f.write_str("[*]")?,
                Step::Anywhere(name) => write!(f, "..[{}]", Quoted(name))?,
            }
        }
        Ok(())
    }
}

/// Writes a name in single quotes, escaped as in normalized paths of RFC 9535.
pub struct Quoted<'a>(pub &'a str);

impl fmt::Display for Quoted<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("'")?;
        for character in self.0.chars() {
            match character {
                '\'' => f.write_str("\\'")?,
                '\\' => f.write_str("\\\\")?,
                '\u{8}' => f.write_str("\\b")?,
                '\u{c}' => f.write_str("\\f")?,
                '\n' => f.write_str("\\n")?,
                '\r' => f.write_str("\\r")?,
                '\t' => f.write_str("\\t")?,
                '\0'..='\u{1f}' => write!(f, "\\u{:04x}", u32::from(character))?,
                _ => write!(f, "{character}")?,
            }
        }
        f.write_str("'")
    }
}

/// Returns a path in quotes, or its start.
fn shown(path: &str) -> String {
    match path.char_indices().nth(SHOWN_MAX) {
        None => format!("'{path}'"),
        Some((end, _)) => format!("'{}…'", path.get(..end).unwrap_or_default()),
    }
}

fn step(text: &str) -> Result<(Step, &str), String> {
    if let Some(after) = text.strip_prefix("..") {
        let (name, rest) = if after.starts_with('[') { quoted(after)? } else { shorthand(after)? };
        return Ok((Step::Anywhere(name), rest));
    }
    if let Some(rest) = text.strip_prefix(".*").or_else(|| text.strip_prefix("[*]")) {
        return Ok((Step::Every, rest));
    }
    if let Some(after) = text.strip_prefix('.') {
        let (name, rest) = shorthand(after)?;
        return Ok((Step::Name(name), rest));
    }
    let Some(after) = text.strip_prefix('[') else {
        return Err(format!("{} is not a step; a step is .name, ['name'], [0], [*] or ..name", shown(text)));
    };
    if after.starts_with(['\'', '"']) {
        let (name, rest) = quoted(text)?;
        return Ok((Step::Name(name), rest));
    }
    let (digits, rest) = after.split_once(']').ok_or("']' is missing")?;
    let canonical = digits == "0" || !digits.starts_with('0') && digits.bytes().all(|b| b.is_ascii_digit());
    let index = digits.parse().ok().filter(|_| canonical);
    let index = index.ok_or_else(|| format!("{} is not an index from 0, [*] or a quoted name", shown(digits)))?;
    Ok((Step::Index(index), rest))
}

/// RFC 9535's member-name-shorthand.
fn shorthand(text: &str) -> Result<(String, &str), String> {
    let in_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || !c.is_ascii();
    let end = text.find(|c| !in_name(c)).unwrap_or(text.len());
    let (name, rest) = text.split_at(end);
    if name.is_empty() || name.starts_with(|c: char| c.is_ascii_digit()) {
        return Err(
            "expected a name after '.'; write ['…'] for a name with characters other than letters, digits and '_'"
                .into(),
        );
    }
    if !rest.is_empty() && !rest.starts_with(['.', '[']) {
        let message = format!(
            "{} is followed by {}; write ['…'] for a name with characters other than letters, digits and '_'",
            shown(name),
            shown(rest)
        );
        return Err(message);
    }
    Ok((name.to_owned(), rest))
}

/// `['name']` or `["name"]`, with RFC 9535's escapes.
fn quoted(text: &str) -> Result<(String, &str), String> {
    const OPEN: &str = "a quoted name has no closing quote";
    let mut chars = text.chars();
    let quote = chars.nth(1).filter(|c| matches!(c, '\'' | '"')).ok_or("expected a quoted name after '['")?;
    let mut name = String::new();
    loop {
        match chars.next().ok_or(OPEN)? {
            c if c == quote => break,
            '\\' => name.push(escaped(&mut chars, quote)?),
            '\0'..='\u{1f}' => return Err("a control character in a name".into()),
            c => name.push(c),
        }
    }
    let rest = chars.as_str().strip_prefix(']').ok_or(OPEN)?;
    Ok((name, rest))
}

fn escaped(chars: &mut std::str::Chars<'_>, quote: char) -> Result<char, String> {
    const WRONG: &str = "invalid escape in a quoted name";
    Ok(match chars.next().ok_or(WRONG)? {
        c if c == quote => c,
        c @ ('\\' | '/') => c,
        'b' => '\u{8}',
        'f' => '\u{c}',
        'n' => '\n',
        'r' => '\r',
        't' => '\t',
        'u' => {
            let first = hex4(chars)?;
            if !(0xd800..0xdc00).contains(&first) {
                return char::from_u32(first).ok_or_else(|| WRONG.into());
            }
            if (chars.next(), chars.next()) != (Some('\\'), Some('u')) {
                return Err(WRONG.into());
            }
            let second = hex4(chars)?;
            let low = second.checked_sub(0xdc00).filter(|low| *low < 0x400).ok_or(WRONG)?;
            char::from_u32(0x10000 + ((first - 0xd800) << 10) + low).ok_or(WRONG)?
        }
        _ => return Err(WRONG.into()),
    })
}

fn hex4(chars: &mut std::str::Chars<'_>) -> Result<u32, String> {
    let mut number = 0;
    for _ in 0..4 {
        let digit = chars.next().and_then(|c| c.to_digit(16)).ok_or("\\u needs four hexadecimal digits")?;
        number = number * 16 + digit;
    }
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn steps(path: &str) -> Vec<Step> {
        Path::parse(path).unwrap().steps
    }

    #[test]
    fn paths_are_parsed_and_printed() {
        use Step::{Anywhere, Every, Index, Name};
        let name = |name: &str| Name(name.into());
        assert_eq!(steps("$.customer.e_mail2"), [name("customer"), name("e_mail2")]);
        assert_eq!(steps("$.contacts[*].email"), [name("contacts"), Every, name("email")]);
        assert_eq!(steps("$[0].*[12]"), [Index(0), Every, Index(12)]);
        assert_eq!(steps("$..ssn"), [Anywhere("ssn".into())]);
        assert_eq!(steps("$..['a b']"), [Anywhere("a b".into())]);
        assert_eq!(
            steps(r#"$["it's"]['\'\u00e9\ud83d\ude00\\']['a.b']['']"#),
            [name("it's"), name("'é😀\\"), name("a.b"), name("")]
        );
        assert_eq!(steps("$.naïve"), [name("naïve")]);
        let path = "$['it\\'s']['a\\\\b'][*][3]..['\\u0001\\n\\t\\b\\f\\rx']";
        assert_eq!(Path::parse(path).unwrap().to_string(), path);
    }

    #[test]
    fn invalid_paths_are_refused() {
        for wrong in [
            "",
            "a",
            "$",
            ".a",
            "$a",
            "$.",
            "$..",
            "$.a-b",
            "$.1a",
            "$.a b",
            "$[",
            "$[]",
            "$[01]",
            "$[-1]",
            "$[1:2]",
            "$['a'",
            "$['a",
            "$[a]",
            "$..[0]",
            "$..*",
            "$..[*]",
            "$['\\x']",
            "$['\\ud800']",
            "$[?@.a]",
            "$.a ",
            "$[4294967296]",
            "$[+1]",
        ] {
            assert!(Path::parse(wrong).is_err(), "{wrong}");
        }
        for long in ["['é']".repeat(127), format!(".{}-", "a".repeat(1_000))] {
            let message = Path::parse(&format!("${long}")).unwrap_err();
            assert!(message.len() < 500, "{message}");
        }
    }

    #[test]
    fn the_host_and_the_sdk_read_paths_alike() {
        let vectors: Vec<serde_json::Value> =
            serde_json::from_str(include_str!("../../../../wit/vectors/paths.json")).unwrap();
        for vector in vectors {
            let canonical = Path::parse(vector["path"].as_str().unwrap()).ok().map(|path| path.to_string());
            assert_eq!(canonical.as_deref(), vector["canonical"].as_str(), "{}", vector["path"]);
        }
    }

    #[test]
    fn overlaps_are_detected_without_a_record() {
        let overlaps = |a: &str, b: &str| {
            let (a, b) = (Path::parse(a).unwrap(), Path::parse(b).unwrap());
            assert_eq!(a.overlaps(&b), b.overlaps(&a));
            a.overlaps(&b)
        };
        for (a, b) in [("$.a", "$.a"), ("$.a", "$.a.b"), ("$[*].b", "$.a"), ("$..x", "$.a.b"), ("$.a[*]", "$.a[0].c")] {
            assert!(overlaps(a, b), "{a} {b}");
        }
        for (a, b) in [("$.a", "$.b"), ("$.a.b", "$.a.c"), ("$[0]", "$[1]"), ("$[0]", "$.a"), ("$[*].b", "$.a.c")] {
            assert!(!overlaps(a, b), "{a} {b}");
        }
    }
}
