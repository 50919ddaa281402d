//! The subset of JSONPath (RFC 9535) in which fields are named: names, indexes, `[*]` and `..name`.

use std::fmt;

use crate::text::clean;

/// Maximum length of a path in bytes.
const PATH_BYTES_MAX: usize = 1024;
/// Maximum number of segments: a scanner may keep positions in a path as the bits of an u32.
pub const SEGMENTS_MAX: usize = 24;

/// A parsed path with at least one segment.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Path {
    segments: Vec<Segment>,
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Segment {
    /// The member of this name, unescaped.
    Name(Box<str>),
    /// The element at this index, from 0.
    Index(u32),
    /// Every member or element.
    Each,
    /// The members of this name, here and at any depth below.
    Below(Box<str>),
}

/// A path that is not valid, with the position of the mistake.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the field path '{}' is not valid at character {position}: {what}", clean(.path, 128))]
pub struct PathError {
    path: String,
    /// Counted from 1.
    position: usize,
    what: &'static str,
}

impl Path {
    /// Reads a path.
    ///
    /// # Errors
    /// [`PathError`].
    pub fn parse(text: &str) -> Result<Self, PathError> {
        let mut reader = Reader::new(text);
        reader.path().map_err(|what| PathError { path: text.to_owned(), position: reader.position(), what })
    }

    /// Returns the steps from the root.
    #[must_use]
    pub fn segments(&self) -> &[Segment] {
        &self.segments
    }

    /// Returns the path with each name changed.
    #[must_use]
    pub fn with_names(&self, change: impl Fn(&str) -> String) -> Self {
        let segment = |segment: &Segment| match segment {
            Segment::Name(name) => Segment::Name(change(name).into()),
            Segment::Below(name) => Segment::Below(change(name).into()),
            Segment::Index(_) | Segment::Each => segment.clone(),
        };
        Self { segments: self.segments.iter().map(segment).collect() }
    }

    /// Returns whether a step of the path is a name.
    #[must_use]
    pub fn has_names(&self) -> bool {
        self.segments.iter().any(|segment| matches!(segment, Segment::Name(_) | Segment::Below(_)))
    }

    /// Returns whether every match of `other` is a match of this path or lies inside one, in every
    /// document. Of paths with several `..name`, it may say no where yes would be true.
    #[must_use]
    pub fn covers(&self, other: &Self) -> bool {
        let (mut mine, mut theirs) = (&*self.segments, &*other.segments);
        // Step by step while no `..name` gives a choice.
        while let ([first, mine_after @ ..], [other, theirs_after @ ..]) = (mine, theirs) {
            match (first, other) {
                (Segment::Below(_), _) | (_, Segment::Below(_)) => break,
                (Segment::Each, _) => {}
                (first, other) if first == other => {}
                _ => return false,
            }
            (mine, theirs) = (mine_after, theirs_after);
        }
        simulates(mine, theirs)
    }

    /// Returns whether a place can match both paths or lie inside a match of both. May say yes
    /// where no would be true.
    #[must_use]
    pub fn may_meet(&self, other: &Self) -> bool {
        for pair in self.segments.iter().zip(&other.segments) {
            let apart = match pair {
                // Below this step, anything can match anywhere.
                (Segment::Below(_), _) | (_, Segment::Below(_)) => return true,
                (Segment::Each, _) | (_, Segment::Each) => false,
                (mine, theirs) => mine != theirs,
            };
            if apart {
                return false;
            }
        }
        true
    }
}

/// Returns whether the first steps cover the second: the greatest simulation, from the ends of
/// both.
fn simulates(mine: &[Segment], theirs: &[Segment]) -> bool {
    // Bit n: the steps of `mine` behind the present one cover `theirs` from its step n on. No steps
    // cover everything.
    let mut next = u32::MAX;
    for step in mine.iter().rev() {
        let mut row = 0;
        for (at, their) in theirs.iter().enumerate().rev() {
            let (here, after) = (next & 1 << at != 0, next & 1 << (at + 1) != 0);
            let stays = row & 1 << (at + 1) != 0;
            let covered = match (step, their) {
                (Segment::Name(mine), Segment::Name(their)) => mine == their && after,
                (Segment::Index(mine), Segment::Index(their)) => mine == their && after,
                (Segment::Each, Segment::Below(_)) => here && after,
                (Segment::Each, _) => after,
                (Segment::Below(mine), Segment::Name(their) | Segment::Below(their)) => mine == their && after || stays,
                (Segment::Below(_), Segment::Index(_) | Segment::Each) => stays,
                (Segment::Name(_) | Segment::Index(_), _) => false,
            };
            row |= u32::from(covered) << at;
        }
        if row == 0 {
            return false;
        }
        next = row;
    }
    next & 1 != 0
}

/// Writes the canonical text: that of RFC 9535 for normalized paths, with `[*]` and `..['name']`.
impl fmt::Display for Path {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("$")?;
        for segment in &self.segments {
            match segment {
                Segment::Name(name) => write!(f, "[{}]", Quoted(name))?,
                Segment::Index(index) => write!(f, "[{index}]")?,
                Segment::Each => f.write_str("[*]")?,
                Segment::Below(name) => write!(f, "..[{}]", Quoted(name))?,
            }
        }
        Ok(())
    }
}

/// Writes a name in single quotes, escaped as in normalized paths of RFC 9535.
pub(crate) struct Quoted<'a>(pub(crate) &'a str);

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

/// A path while it is parsed.
pub(crate) struct Reader<'a> {
    text: &'a str,
    pub(crate) rest: &'a str,
}

impl<'a> Reader<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        Self { text, rest: text }
    }

    /// Returns the position of the next character, counted from 1.
    pub(crate) fn position(&self) -> usize {
        self.text.chars().count() - self.rest.chars().count() + 1
    }

    /// Reads a path up to the end of the text.
    pub(crate) fn path(&mut self) -> Result<Path, &'static str> {
        if self.rest.len() > PATH_BYTES_MAX {
            return Err("it is longer than 1024 bytes");
        }
        if !self.eat("$") {
            return Err("a path starts with '$'");
        }
        let mut segments = Vec::new();
        while !self.rest.is_empty() {
            if segments.len() == SEGMENTS_MAX {
                return Err("it has more than 24 segments");
            }
            self.blank();
            segments.push(self.segment()?);
        }
        if segments.is_empty() {
            return Err("'$' alone is the whole value: ask for columns 5 and 6");
        }
        let path = Path { segments };
        if path.to_string().len() > PATH_BYTES_MAX {
            return Err("it is longer than 1024 bytes, with every name as ['name']");
        }
        Ok(path)
    }

    fn segment(&mut self) -> Result<Segment, &'static str> {
        if self.eat("..") {
            if self.rest.starts_with('[') {
                return match self.bracket()? {
                    Segment::Name(name) => Ok(Segment::Below(name)),
                    _ => Err("'..' takes a name only, such as '..email' or \"..['e-mail']\""),
                };
            }
            return Ok(Segment::Below(self.shorthand()?));
        }
        if self.eat(".") {
            if self.eat("*") {
                return Ok(Segment::Each);
            }
            return Ok(Segment::Name(self.shorthand()?));
        }
        if self.rest.starts_with('[') {
            return self.bracket();
        }
        Err("'.name', '[..]' or '..name' is expected; names with other signs than letters, digits and '_' go into \
             brackets: ['e-mail']")
    }

    fn shorthand(&mut self) -> Result<Box<str>, &'static str> {
        let is_first = |c: char| c.is_ascii_alphabetic() || c == '_' || !c.is_ascii();
        let len = self.rest.find(|c: char| !(is_first(c) || c.is_ascii_digit())).unwrap_or(self.rest.len());
        let name = self.rest.get(..len).unwrap_or_default();
        if !name.starts_with(is_first) {
            return Err("a name is expected that starts with a letter or '_'; put others into brackets: ['1st']");
        }
        self.advance(len);
        Ok(name.into())
    }

    pub(crate) fn bracket(&mut self) -> Result<Segment, &'static str> {
        self.advance(1);
        self.blank();
        let segment = match self.rest.chars().next() {
            Some('*') => {
                self.advance(1);
                Segment::Each
            }
            Some(quote @ ('\'' | '"')) => {
                self.advance(1);
                Segment::Name(self.quoted(quote)?.into())
            }
            Some('0'..='9') => Segment::Index(self.index()?),
            Some('-') => return Err("an index that counts from the end is not supported"),
            Some('?') => return Err("filters are not supported: only names, indexes, [*] and ..name"),
            _ => return Err("a quoted name, an index or '*' is expected"),
        };
        self.blank();
        if self.rest.starts_with([',', ':']) {
            return Err("lists and slices are not supported: write one path for each");
        }
        if !self.eat("]") {
            return Err("']' is expected");
        }
        Ok(segment)
    }

    fn index(&mut self) -> Result<u32, &'static str> {
        let len = self.rest.find(|c: char| !c.is_ascii_digit()).unwrap_or(self.rest.len());
        let digits = self.rest.get(..len).unwrap_or_default();
        if len > 1 && digits.starts_with('0') {
            return Err("an index has no leading zeros");
        }
        let index = digits.parse().map_err(|_| "the index is too large")?;
        self.advance(len);
        Ok(index)
    }

    pub(crate) fn quoted(&mut self, quote: char) -> Result<String, &'static str> {
        let mut name = String::new();
        loop {
            let Some(c) = self.rest.chars().next() else {
                return Err("the name has no closing quote");
            };
            if (c as u32) < 0x20 {
                return Err("a control character must be escaped");
            }
            self.advance(c.len_utf8());
            match c {
                _ if c == quote => return Ok(name),
                '\\' => name.push(self.escape(quote)?),
                _ => name.push(c),
            }
        }
    }

    fn escape(&mut self, quote: char) -> Result<char, &'static str> {
        let Some(c) = self.rest.chars().next() else {
            return Err("the name ends in an escape");
        };
        self.advance(c.len_utf8());
        Ok(match c {
            _ if c == quote => quote,
            '\\' | '/' => c,
            'b' => '\u{8}',
            'f' => '\u{c}',
            'n' => '\n',
            'r' => '\r',
            't' => '\t',
            'u' => return self.unicode(),
            _ => return Err("this escape does not exist"),
        })
    }

    fn unicode(&mut self) -> Result<char, &'static str> {
        let unit = self.hex()?;
        if !(0xd800..0xe000).contains(&unit) {
            return char::from_u32(unit).ok_or("this is no character");
        }
        let low = if unit < 0xdc00 && self.eat("\\u") { self.hex()? } else { 0 };
        if !(0xdc00..0xe000).contains(&low) {
            return Err("half of a surrogate pair");
        }
        char::from_u32(0x10000 + ((unit - 0xd800) << 10) + (low - 0xdc00)).ok_or("this is no character")
    }

    fn hex(&mut self) -> Result<u32, &'static str> {
        let digits = self.rest.get(..4).filter(|d| d.bytes().all(|b| b.is_ascii_hexdigit()));
        let digits = digits.ok_or("four hexadecimal digits are expected")?;
        self.advance(4);
        u32::from_str_radix(digits, 16).map_err(|_| "four hexadecimal digits are expected")
    }

    pub(crate) fn eat(&mut self, token: &str) -> bool {
        match self.rest.strip_prefix(token) {
            Some(rest) => {
                self.rest = rest;
                true
            }
            None => false,
        }
    }

    fn blank(&mut self) {
        self.rest = self.rest.trim_start_matches([' ', '\t', '\n', '\r']);
    }

    fn advance(&mut self, bytes: usize) {
        self.rest = self.rest.get(bytes..).unwrap_or_default();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn name(text: &str) -> Segment {
        Segment::Name(text.into())
    }

    #[test]
    fn the_forms_of_a_path_are_read_and_others_are_refused_with_a_reason() {
        let below = |text: &str| Segment::Below(text.into());
        for (text, segments) in [
            ("$.a", vec![name("a")]),
            ("$.customer.e_mail2", vec![name("customer"), name("e_mail2")]),
            ("$['a'][\"b\"]", vec![name("a"), name("b")]),
            ("$[ 'a' ] [0][*].*", vec![name("a"), Segment::Index(0), Segment::Each, Segment::Each]),
            ("$..ssn", vec![below("ssn")]),
            ("$.a..['e-mail'].x", vec![name("a"), below("e-mail"), name("x")]),
            ("$.ä", vec![name("ä")]),
            (r#"$['it\'s "\\ \u00e4 \ud83d\ude00 \n']"#, vec![name("it's \"\\ ä 😀 \n")]),
            ("$['']", vec![name("")]),
        ] {
            assert_eq!(Path::parse(text).unwrap().segments, segments, "{text}");
        }
        for (text, position, what) in [
            ("", 1, "starts with '$'"),
            ("a.b", 1, "starts with '$'"),
            ("$", 2, "whole value"),
            ("$.", 3, "a name is expected"),
            ("$.e-mail", 4, "['e-mail']"),
            ("$.1", 3, "['1st']"),
            ("$ ", 3, "is expected"),
            ("$..", 4, "a name is expected"),
            ("$..*", 4, "a name is expected"),
            ("$..[0]", 7, "takes a name only"),
            ("$[-1]", 3, "from the end"),
            ("$[01]", 3, "leading zeros"),
            ("$[4294967296]", 3, "too large"),
            ("$[0,1]", 4, "lists"),
            ("$[0:1]", 4, "slices"),
            ("$[?@.a]", 3, "filters"),
            ("$['a", 5, "closing quote"),
            ("$['\n']", 4, "control character"),
            (r"$['\x']", 6, "escape"),
            (r#"$['\"']"#, 6, "escape"),
            (r"$['\ud83d']", 10, "surrogate"),
            (r"$['\ude00']", 10, "surrogate"),
            (r"$['\u12g4']", 6, "hexadecimal"),
            ("$['a'", 6, "']' is expected"),
            ("$[a]", 3, "a quoted name"),
        ] {
            let error = Path::parse(text).unwrap_err();
            assert!(error.what.contains(what) && error.position == position, "{text}: {error}");
        }
        assert!(Path::parse(&format!("${}", ".a".repeat(25))).is_err());
        assert!(Path::parse(&format!("$.{}", "a".repeat(1024))).is_err());
    }

    #[test]
    fn the_canonical_text_reads_back() {
        for (text, canonical) in [
            ("$.a[\"b\"].*[7]", "$['a']['b'][*][7]"),
            ("$.x..ssn", "$['x']..['ssn']"),
            (r#"$["it's"]['\\\u0001\n\t\b\f\r\u00e4\/"']"#, r#"$['it\'s']['\\\u0001\n\t\b\f\rä/"']"#),
        ] {
            let path = Path::parse(text).unwrap();
            assert_eq!(path.to_string(), canonical);
            assert_eq!(Path::parse(canonical).unwrap(), path);
        }
    }

    /// The SDK reads the same file.
    #[test]
    fn the_host_and_the_sdk_read_paths_alike() {
        let vectors: Vec<serde_json::Value> =
            serde_json::from_str(include_str!("../../../wit/vectors/paths.json")).unwrap();
        for vector in vectors {
            let canonical = Path::parse(vector["path"].as_str().unwrap()).ok().map(|path| path.to_string());
            assert_eq!(canonical.as_deref(), vector["canonical"].as_str(), "{}", vector["path"]);
        }
    }

    #[test]
    fn an_ancestor_covers_and_a_wildcard_covers_what_it_can_be() {
        let path = |text| Path::parse(text).unwrap();
        for (outer, inner) in [
            ("$.a", "$.a.b[0]..c"),
            ("$[*]", "$.a"),
            ("$[*]", "$..a"),
            ("$[*].x", "$.a.x.y"),
            ("$..a", "$.b[0].a.c"),
            ("$..a", "$.b..a"),
            ("$..a.b", "$.x.a.b"),
            ("$..a[*]", "$..a..b"),
            ("$..a[*].b", "$..a.a[*].b"),
        ] {
            assert!(path(outer).covers(&path(inner)), "{outer} {inner}");
            assert!(path(outer).may_meet(&path(inner)), "{outer} {inner}");
            assert!(!path(inner).covers(&path(outer)), "{inner} {outer}");
        }
        for (one, other) in [("$.a", "$.b"), ("$[0]", "$[1]"), ("$[*].b", "$.x.c"), ("$[0]", "$.a")] {
            assert!(!path(one).covers(&path(other)) && !path(one).may_meet(&path(other)), "{one} {other}");
        }
        assert!(!path("$..a").covers(&path("$..b")) && path("$..a").may_meet(&path("$..b")));
    }
}
