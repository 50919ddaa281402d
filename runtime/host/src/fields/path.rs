//! The subset of JSONPath (RFC 9535) in which plugins name fields: names, indexes, `[*]` and
//! `..name`.

use crate::text::clean;

/// Maximum length of a path in bytes.
const PATH_BYTES_MAX: usize = 1024;
/// Maximum number of segments: the scanner keeps positions in a path as the bits of an u32.
const SEGMENTS_MAX: usize = 24;

/// A parsed path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Path {
    segments: Vec<Segment>,
    /// Segments that visit every name of an object, as bits.
    walks: u32,
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Segment {
    /// The member of this name, unescaped.
    Name(Box<[u8]>),
    /// The element at this index, from 0.
    Index(u32),
    /// Every member or element.
    Each,
    /// The members of this name, here and at any depth below.
    Below(Box<[u8]>),
}

/// A path that is not valid, with the position of the mistake.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("the field path '{}' is not valid at character {position}: {what}", clean(.path, 128))]
pub(crate) struct PathError {
    path: String,
    /// Counted from 1.
    position: usize,
    what: &'static str,
}

impl Path {
    /// Reads a path.
    pub(crate) fn parse(text: &str) -> Result<Self, PathError> {
        let mut reader = Reader { text, rest: text };
        let segments = reader.path().map_err(|what| PathError {
            path: text.to_owned(),
            position: reader.text.chars().count() - reader.rest.chars().count() + 1,
            what,
        })?;
        let mut walks = 0;
        for (index, segment) in segments.iter().enumerate() {
            if matches!(segment, Segment::Each | Segment::Below(_)) {
                walks |= 1 << index;
            }
        }
        Ok(Self { segments, walks })
    }

    pub(crate) fn segment(&self, index: u32) -> Option<&Segment> {
        self.segments.get(index as usize)
    }

    /// Returns the bit of a match.
    pub(crate) fn end(&self) -> u32 {
        1 << self.segments.len()
    }

    /// Returns whether, at these positions, every name of an object is on the path.
    pub(crate) fn walks(&self, places: u32) -> bool {
        self.walks & places != 0
    }

    /// Returns the name that an insert adds, if the path has a single match.
    pub(crate) fn insertable(&self) -> Option<&[u8]> {
        match self.segments.last() {
            Some(Segment::Name(name)) if self.walks == 0 => Some(name),
            _ => None,
        }
    }

    /// Returns the position in the path at the object around its last name.
    pub(crate) fn last_place(&self) -> u32 {
        self.end() >> 1
    }
}

/// A path while it is parsed.
struct Reader<'a> {
    text: &'a str,
    rest: &'a str,
}

impl<'a> Reader<'a> {
    fn path(&mut self) -> Result<Vec<Segment>, &'static str> {
        if self.text.len() > PATH_BYTES_MAX {
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
        Ok(segments)
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

    fn shorthand(&mut self) -> Result<Box<[u8]>, &'static str> {
        let is_first = |c: char| c.is_ascii_alphabetic() || c == '_' || !c.is_ascii();
        let len = self.rest.find(|c: char| !(is_first(c) || c.is_ascii_digit())).unwrap_or(self.rest.len());
        let name = self.rest.get(..len).unwrap_or_default();
        if !name.starts_with(is_first) {
            return Err("a name is expected that starts with a letter or '_'; put others into brackets: ['1st']");
        }
        self.advance(len);
        Ok(name.as_bytes().into())
    }

    fn bracket(&mut self) -> Result<Segment, &'static str> {
        self.advance(1);
        self.blank();
        let segment = match self.rest.chars().next() {
            Some('*') => {
                self.advance(1);
                Segment::Each
            }
            Some(quote @ ('\'' | '"')) => {
                self.advance(1);
                Segment::Name(self.quoted(quote)?.into_bytes().into())
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

    fn quoted(&mut self, quote: char) -> Result<String, &'static str> {
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

    fn eat(&mut self, token: &str) -> bool {
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
        Segment::Name(text.as_bytes().into())
    }

    #[test]
    fn the_forms_of_a_path_are_read_and_others_are_refused_with_a_reason() {
        let below = |text: &str| Segment::Below(text.as_bytes().into());
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
}
