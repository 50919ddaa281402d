//! Locators: names of parts of records, in one canonical text.

use std::fmt;
use std::str::FromStr;

use serde::{Serialize, Serializer};

use crate::json_path::{Path, Quoted, Reader, Segment};
use crate::text::clean;

/// Maximum length of a locator in bytes.
pub const LOCATOR_BYTES_MAX: usize = 2048;

/// A part of records, or fields inside of it.
///
/// Its text is `value`, `key`, `headers`, `header['name']`, `header['prefix'*]`, `topic`,
/// `timestamp` or `partition`. A path may follow a value, a key and a named header:
/// `value$['a'][*]..['b']`.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Locator {
    part: Part,
    path: Option<Path>,
}

/// A part of a record.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Part {
    /// The value.
    Value,
    /// The key.
    Key,
    /// All headers.
    Headers,
    /// The headers of this name.
    Header(Box<str>),
    /// The headers with names that start with this.
    HeaderPrefix(Box<str>),
    /// The name of the topic.
    Topic,
    /// The timestamp.
    Timestamp,
    /// The number of the partition.
    Partition,
}

/// The parts without a name.
const PLAIN: [(&str, Part); 6] = [
    ("value", Part::Value),
    ("key", Part::Key),
    ("headers", Part::Headers),
    ("topic", Part::Topic),
    ("timestamp", Part::Timestamp),
    ("partition", Part::Partition),
];

/// A text that is not a locator.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("'{}' does not name a part of records, at character {position}: {what}", clean(.text, 128))]
pub struct LocatorError {
    text: String,
    /// Counted from 1.
    position: usize,
    what: &'static str,
}

impl Locator {
    /// Makes the locator of a whole part.
    #[must_use]
    pub fn of(part: Part) -> Self {
        Self { part, path: None }
    }

    /// Makes the locator of fields of the value.
    #[must_use]
    pub fn field(path: Path) -> Self {
        Self { part: Part::Value, path: Some(path) }
    }

    /// Returns the part.
    #[must_use]
    pub fn part(&self) -> &Part {
        &self.part
    }

    /// Returns the path inside of the part, or `None` for the whole part.
    #[must_use]
    pub fn path(&self) -> Option<&Path> {
        self.path.as_ref()
    }

    /// Returns whether all that `other` names is named by this locator or lies inside of what it
    /// names. Of paths with several `..name`, it may say no where yes would be true.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let inside = match (&self.part, &other.part) {
            (Part::Headers, Part::Headers | Part::Header(_) | Part::HeaderPrefix(_)) => true,
            (Part::HeaderPrefix(mine), Part::HeaderPrefix(name) | Part::Header(name)) => name.starts_with(&**mine),
            (mine, theirs) => mine == theirs,
        };
        inside
            && match (&self.path, &other.path) {
                (None, _) => true,
                (Some(_), None) => false,
                (Some(mine), Some(theirs)) => mine.covers(theirs),
            }
    }

    /// Returns whether something can be named by both or lie inside of what both name. May say yes
    /// where no would be true.
    #[must_use]
    pub fn may_meet(&self, other: &Self) -> bool {
        let of_one_part = match (&self.part, &other.part) {
            (Part::Headers, theirs) => theirs.is_header(),
            (mine, Part::Headers) => mine.is_header(),
            (Part::HeaderPrefix(a), Part::HeaderPrefix(b)) => a.starts_with(&**b) || b.starts_with(&**a),
            (Part::HeaderPrefix(prefix), Part::Header(name)) | (Part::Header(name), Part::HeaderPrefix(prefix)) => {
                name.starts_with(&**prefix)
            }
            (mine, theirs) => mine == theirs,
        };
        of_one_part
            && match (&self.path, &other.path) {
                (Some(mine), Some(theirs)) => mine.may_meet(theirs),
                _ => true,
            }
    }

    /// Returns whether it ends with a name anywhere, `..name`.
    #[must_use]
    pub fn goes_anywhere(&self) -> bool {
        let is_below = |segment: &Segment| matches!(segment, Segment::Below(_));
        self.path.as_ref().is_some_and(|path| path.segments().iter().any(is_below))
    }

    /// Returns whether it has names of fields or headers, which can be written in another case.
    #[must_use]
    pub fn has_names(&self) -> bool {
        matches!(self.part, Part::Header(_) | Part::HeaderPrefix(_)) || self.path.as_ref().is_some_and(Path::has_names)
    }

    /// Returns the locator with the case of every name folded: names that differ only in case, by
    /// Unicode's rules in both directions, become equal.
    #[must_use]
    pub fn folded(&self) -> Self {
        let part = match &self.part {
            Part::Header(name) => Part::Header(folded(name).into()),
            Part::HeaderPrefix(prefix) => Part::HeaderPrefix(folded(prefix).into()),
            part => part.clone(),
        };
        Self { part, path: self.path.as_ref().map(|path| path.with_names(folded)) }
    }
}

/// Folds twice: of ẞ the first time gives ß, the second ss. Character by character, so that a
/// prefix stays one (by words, a final Σ would be another letter).
fn folded(name: &str) -> String {
    let once =
        |name: &str| -> String { name.chars().flat_map(char::to_uppercase).flat_map(char::to_lowercase).collect() };
    once(&once(name))
}

impl Part {
    fn is_header(&self) -> bool {
        matches!(self, Self::Headers | Self::Header(_) | Self::HeaderPrefix(_))
    }

    fn takes_path(&self) -> bool {
        matches!(self, Self::Value | Self::Key | Self::Header(_))
    }
}

/// Writes the canonical text.
impl fmt::Display for Locator {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.part {
            Part::Header(name) => write!(f, "header[{}]", Quoted(name))?,
            Part::HeaderPrefix(prefix) => write!(f, "header[{}*]", Quoted(prefix))?,
            plain => {
                let text = PLAIN.iter().find(|(_, part)| part == plain).map_or("", |(text, _)| *text);
                f.write_str(text)?;
            }
        }
        self.path.as_ref().map_or(Ok(()), |path| path.fmt(f))
    }
}

impl FromStr for Locator {
    type Err = LocatorError;

    fn from_str(text: &str) -> Result<Self, LocatorError> {
        let mut reader = Reader::new(text);
        locator(&mut reader, text.len()).map_err(|what| LocatorError {
            text: text.to_owned(),
            position: reader.position(),
            what,
        })
    }
}

fn locator(reader: &mut Reader<'_>, bytes: usize) -> Result<Locator, &'static str> {
    if bytes > LOCATOR_BYTES_MAX {
        return Err("it is longer than 2048 bytes");
    }
    let part = part(reader)?;
    if reader.rest.is_empty() {
        return Ok(Locator::of(part));
    }
    if !part.takes_path() {
        return Err("a path follows a value, a key or a header with a name only");
    }
    Ok(Locator { part, path: Some(reader.path()?) })
}

fn part(reader: &mut Reader<'_>) -> Result<Part, &'static str> {
    const UNKNOWN: &str = "value, key, headers, header['name'], topic, timestamp or partition is expected";
    let len = reader.rest.find(|c: char| !c.is_ascii_lowercase()).unwrap_or(reader.rest.len());
    let word = reader.rest.get(..len).unwrap_or_default();
    if let Some((text, part)) = PLAIN.iter().find(|(text, _)| *text == word) {
        reader.eat(text);
        return Ok(part.clone());
    }
    if word != "header" {
        return Err(UNKNOWN);
    }
    reader.eat("header");
    let before = reader.rest;
    match reader.bracket() {
        Ok(Segment::Name(name)) => return Ok(Part::Header(name)),
        Ok(_) => return Err("the name of a header is expected, in quotes"),
        Err(what) if !before.starts_with("['") => return Err(what),
        Err(_) => {}
    }
    // A prefix: `['x'*]`.
    reader.rest = before;
    reader.eat("['");
    let prefix = reader.quoted('\'')?;
    if !reader.eat("*]") {
        return Err("']' or '*]' is expected");
    }
    Ok(Part::HeaderPrefix(prefix.into()))
}

impl Serialize for Locator {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

#[cfg(test)]
mod tests {
    use super::folded;

    #[test]
    fn two_folds_are_enough_for_every_character() {
        for character in '\0'..=char::MAX {
            let once = folded(&character.to_string());
            assert_eq!(folded(&once), once, "{character:?}");
            for case in character.to_uppercase().chain(character.to_lowercase()) {
                assert!(once.starts_with(&folded(&case.to_string())) || once.contains(&folded(&case.to_string())));
            }
        }
        assert_eq!(folded("STRAẞE"), folded("strasse"));
        assert!(folded("ΑΣΑ").starts_with(&folded("ΑΣ")));
    }
}
