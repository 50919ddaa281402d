//! The canonical form of JSON: RFC 8785, but integers of 64 bits stay exact.
//!
//! RFC 8785 makes every number a double, so 9007199254740993 would become ...992, and two ids would
//! be one. Here a number whose value is an integer from -2^63 to 2^64-1 is written with all of its
//! digits, however it was spelt: 400, 400.0 and 4e2 are `400`. Every other number is written as the
//! RFC says. The two agree on all integers up to 2^53.

use std::fmt;

/// Maximum nesting.
const DEPTH_MAX: usize = 200;
/// Digits of the largest integer of 64 bits.
const INTEGER_DIGITS_MAX: usize = 20;

/// JSON without a canonical form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NotCanonical {
    /// It is not one JSON document.
    NotJson,
    /// A string represents no text (a lone surrogate).
    NotText,
    /// A name stands twice in one object.
    NameTwice,
    /// A number is too large for a double.
    NumberTooLarge,
    /// It is nested too deeply.
    TooDeep,
}

impl fmt::Display for NotCanonical {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NotJson => "it is not one JSON document",
            Self::NotText => "a string represents no text (a lone surrogate)",
            Self::NameTwice => "a name stands twice in one object",
            Self::NumberTooLarge => "a number is too large",
            Self::TooDeep => "it is nested too deeply",
        })
    }
}

impl std::error::Error for NotCanonical {}

/// Appends the canonical form of one JSON document.
///
/// # Errors
/// [`NotCanonical`]; what was appended until then is of no use.
pub fn write(json: &[u8], out: &mut Vec<u8>) -> Result<(), NotCanonical> {
    let mut reader = Reader { json, at: 0, out };
    reader.value(0)?;
    reader.blank();
    if reader.at == json.len() { Ok(()) } else { Err(NotCanonical::NotJson) }
}

struct Reader<'a> {
    json: &'a [u8],
    at: usize,
    out: &'a mut Vec<u8>,
}

impl<'a> Reader<'a> {
    fn value(&mut self, depth: usize) -> Result<(), NotCanonical> {
        if depth > DEPTH_MAX {
            return Err(NotCanonical::TooDeep);
        }
        self.blank();
        match self.json.get(self.at) {
            Some(b'{') => self.object(depth),
            Some(b'[') => self.array(depth),
            Some(b'"') => {
                let text = self.string()?;
                quote(&text, self.out);
                Ok(())
            }
            Some(b'-' | b'0'..=b'9') => {
                let number = number(self.word())?;
                self.out.extend_from_slice(number.as_bytes());
                Ok(())
            }
            _ => {
                let word = self.word();
                if !matches!(word, b"true" | b"false" | b"null") {
                    return Err(NotCanonical::NotJson);
                }
                self.out.extend_from_slice(word);
                Ok(())
            }
        }
    }

    fn array(&mut self, depth: usize) -> Result<(), NotCanonical> {
        self.open(b'[');
        if self.closes(b']') {
            return Ok(());
        }
        loop {
            self.value(depth + 1)?;
            if self.closes(b']') {
                return Ok(());
            }
            self.eat(b',')?;
            self.out.push(b',');
        }
    }

    fn object(&mut self, depth: usize) -> Result<(), NotCanonical> {
        self.open(b'{');
        if self.closes(b'}') {
            return Ok(());
        }
        let start = self.out.len();
        // Each member with its place in the output, without commas.
        let mut members = Vec::new();
        loop {
            self.blank();
            let (name, from) = (self.string()?, self.out.len());
            quote(&name, self.out);
            self.eat(b':')?;
            self.out.push(b':');
            self.value(depth + 1)?;
            members.push((name, from..self.out.len()));
            self.blank();
            if self.json.get(self.at) == Some(&b'}') {
                break;
            }
            self.eat(b',')?;
        }
        members.sort_by(|(a, _), (b, _)| a.encode_utf16().cmp(b.encode_utf16()));
        if members.windows(2).any(|pair| pair[0].0 == pair[1].0) {
            return Err(NotCanonical::NameTwice);
        }
        let mut sorted = Vec::with_capacity(self.out.len() - start + members.len());
        for (_, place) in members {
            sorted.extend_from_slice(&self.out[place]);
            sorted.push(b',');
        }
        sorted.pop();
        self.out.truncate(start);
        self.out.append(&mut sorted);
        self.closes(b'}');
        Ok(())
    }

    fn open(&mut self, bracket: u8) {
        self.at += 1;
        self.out.push(bracket);
    }

    /// Takes a closing bracket, if it is next.
    fn closes(&mut self, bracket: u8) -> bool {
        self.blank();
        let found = self.json.get(self.at) == Some(&bracket);
        if found {
            self.at += 1;
            self.out.push(bracket);
        }
        found
    }

    fn eat(&mut self, sign: u8) -> Result<(), NotCanonical> {
        self.blank();
        if self.json.get(self.at) != Some(&sign) {
            return Err(NotCanonical::NotJson);
        }
        self.at += 1;
        Ok(())
    }

    fn string(&mut self) -> Result<String, NotCanonical> {
        let start = self.at;
        if self.json.get(self.at) != Some(&b'"') {
            return Err(NotCanonical::NotJson);
        }
        self.at += 1;
        loop {
            match self.json.get(self.at).ok_or(NotCanonical::NotJson)? {
                b'"' => break,
                b'\\' => self.at += 2,
                _ => self.at += 1,
            }
        }
        self.at += 1;
        let quoted = &self.json[start..self.at];
        serde_json::from_slice(quoted).map_err(|_| match std::str::from_utf8(quoted).is_ok_and(has_surrogate) {
            true => NotCanonical::NotText,
            false => NotCanonical::NotJson,
        })
    }

    /// Takes the letters, digits and signs of a number or a word.
    fn word(&mut self) -> &'a [u8] {
        let rest = &self.json[self.at..];
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
        let len = rest.iter().position(|byte| !is_part(byte)).unwrap_or(rest.len());
        self.at += len;
        &rest[..len]
    }

    fn blank(&mut self) {
        while matches!(self.json.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }
}

fn has_surrogate(quoted: &str) -> bool {
    let escapes = quoted.as_bytes().windows(4).filter(|window| window[..2] == *b"\\u");
    escapes.into_iter().any(|window| matches!(window[2..], [b'd' | b'D', b'8' | b'9' | b'a'..=b'f' | b'A'..=b'F']))
}

fn quote(text: &str, out: &mut Vec<u8>) {
    out.push(b'"');
    for byte in text.bytes() {
        match byte {
            b'"' => out.extend_from_slice(b"\\\""),
            b'\\' => out.extend_from_slice(b"\\\\"),
            0x08 => out.extend_from_slice(b"\\b"),
            b'\t' => out.extend_from_slice(b"\\t"),
            b'\n' => out.extend_from_slice(b"\\n"),
            0x0c => out.extend_from_slice(b"\\f"),
            b'\r' => out.extend_from_slice(b"\\r"),
            0..0x20 => out.extend_from_slice(format!("\\u{byte:04x}").as_bytes()),
            _ => out.push(byte),
        }
    }
    out.push(b'"');
}

/// Returns the canonical text of a number.
///
/// # Errors
/// [`NotCanonical::NotJson`] or [`NotCanonical::NumberTooLarge`].
pub fn number(text: &[u8]) -> Result<String, NotCanonical> {
    let text = std::str::from_utf8(text).map_err(|_| NotCanonical::NotJson)?;
    let decimal = Decimal::parse(text).ok_or(NotCanonical::NotJson)?;
    if let Some(integer) = decimal.integer() {
        return Ok(integer.to_string());
    }
    let double: f64 = text.parse().map_err(|_| NotCanonical::NotJson)?;
    if double.is_infinite() {
        return Err(NotCanonical::NumberTooLarge);
    }
    // As JavaScript writes it: of two shortest texts that are as near, the even one.
    Ok(ryu_js::Buffer::new().format_finite(double).to_owned())
}

/// Returns the value of a number that is an integer from -2^63 to 2^64-1, however it is spelt.
#[must_use]
pub fn integer(text: &str) -> Option<i128> {
    Decimal::parse(text)?.integer()
}

/// A number as written: its significant digits and their scale.
struct Decimal {
    negative: bool,
    /// Without zeros at either end.
    digits: String,
    /// The power of ten to multiply them with.
    scale: i64,
}

impl Decimal {
    fn parse(text: &str) -> Option<Self> {
        let (negative, rest) = text.strip_prefix('-').map_or((false, text), |rest| (true, rest));
        let (mantissa, exponent) = match rest.split_once(['e', 'E']) {
            None => (rest, 0),
            Some((mantissa, exponent)) => (mantissa, exponent_of(exponent)?),
        };
        let (whole, fraction) = match mantissa.split_once('.') {
            None => (mantissa, ""),
            Some((_, "")) => return None,
            Some(parts) => parts,
        };
        let is_digits = |text: &str| text.bytes().all(|byte| byte.is_ascii_digit());
        if whole.is_empty() || !is_digits(whole) || !is_digits(fraction) || whole.len() > 1 && whole.starts_with('0') {
            return None;
        }
        let all = format!("{whole}{fraction}");
        let digits = all.trim_end_matches('0');
        let zeros = all.len() - digits.len();
        let scale = exponent.saturating_add(i64::try_from(zeros).ok()?) - i64::try_from(fraction.len()).ok()?;
        Some(Self { negative, digits: digits.trim_start_matches('0').to_owned(), scale })
    }

    /// Returns the value of an integer of 64 bits.
    fn integer(&self) -> Option<i128> {
        if self.digits.is_empty() {
            return Some(0);
        }
        let zeros = usize::try_from(self.scale).ok().filter(|zeros| *zeros <= INTEGER_DIGITS_MAX)?;
        if self.digits.len() + zeros > INTEGER_DIGITS_MAX {
            return None;
        }
        let digits: i128 = format!("{}{}", self.digits, "0".repeat(zeros)).parse().ok()?;
        let value = if self.negative { -digits } else { digits };
        (i128::from(i64::MIN)..=i128::from(u64::MAX)).contains(&value).then_some(value)
    }
}

/// Returns the exponent. One with more digits than matter is as good as the largest.
fn exponent_of(text: &str) -> Option<i64> {
    let digits = text.strip_prefix(['+', '-']).unwrap_or(text);
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    let value = digits.parse().unwrap_or(i64::MAX).min(1 << 40);
    Some(if text.starts_with('-') { -value } else { value })
}

#[cfg(test)]
mod tests;
