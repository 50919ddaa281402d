//! The strict grammar of JSON (RFC 8259): tokens, and values that are skipped.

/// Nesting depth; far above real documents, far below the limit of the stack.
pub(crate) const DEPTH_MAX: u32 = 128;

/// Why a pass ends early.
#[derive(Debug)]
pub(super) enum Stop {
    NotJson,
    TooDeep,
}

/// A position in a text that is known to be UTF-8.
pub(super) struct Lexer<'a> {
    pub(super) text: &'a [u8],
    pub(super) pos: usize,
    pub(super) depth: u32,
}

impl<'a> Lexer<'a> {
    pub(super) fn new(text: &'a [u8]) -> Self {
        Self { text, pos: 0, depth: 0 }
    }

    /// Skips a value.
    pub(super) fn skip(&mut self) -> Result<(), Stop> {
        match self.peek() {
            Some(b'{') => {
                self.enter()?;
                if !self.eat(b'}') {
                    loop {
                        self.string()?;
                        self.colon()?;
                        self.skip()?;
                        if !self.more(b'}')? {
                            break;
                        }
                    }
                }
            }
            Some(b'[') => {
                self.enter()?;
                if !self.eat(b']') {
                    loop {
                        self.skip()?;
                        if !self.more(b']')? {
                            break;
                        }
                    }
                }
            }
            _ => return self.scalar(),
        }
        self.depth -= 1;
        Ok(())
    }

    /// Reads an opening bracket and the blanks after it.
    #[inline]
    pub(super) fn enter(&mut self) -> Result<(), Stop> {
        if self.depth == DEPTH_MAX {
            return Err(Stop::TooDeep);
        }
        self.depth += 1;
        self.pos += 1;
        self.blank();
        Ok(())
    }

    /// Reads a comma and the blanks around it, or the end of the container.
    #[inline]
    pub(super) fn more(&mut self, close: u8) -> Result<bool, Stop> {
        self.blank();
        match self.peek() {
            Some(b',') => {
                self.pos += 1;
                self.blank();
                Ok(true)
            }
            Some(byte) if byte == close => {
                self.pos += 1;
                Ok(false)
            }
            _ => Err(Stop::NotJson),
        }
    }

    #[inline]
    pub(super) fn colon(&mut self) -> Result<(), Stop> {
        self.blank();
        if !self.eat(b':') {
            return Err(Stop::NotJson);
        }
        self.blank();
        Ok(())
    }

    pub(super) fn scalar(&mut self) -> Result<(), Stop> {
        match self.peek() {
            Some(b'"') => self.string().map(drop),
            Some(b'-' | b'0'..=b'9') => self.number(),
            Some(b't') => self.literal(b"true"),
            Some(b'f') => self.literal(b"false"),
            Some(b'n') => self.literal(b"null"),
            _ => Err(Stop::NotJson),
        }
    }

    fn literal(&mut self, word: &[u8]) -> Result<(), Stop> {
        if !self.rest().starts_with(word) {
            return Err(Stop::NotJson);
        }
        self.pos += word.len();
        Ok(())
    }

    fn number(&mut self) -> Result<(), Stop> {
        self.eat(b'-');
        if !self.eat(b'0') {
            self.digits()?;
        }
        if self.eat(b'.') {
            self.digits()?;
        }
        if self.eat(b'e') || self.eat(b'E') {
            if !self.eat(b'+') {
                self.eat(b'-');
            }
            self.digits()?;
        }
        Ok(())
    }

    fn digits(&mut self) -> Result<(), Stop> {
        let count = self.rest().iter().take_while(|byte| byte.is_ascii_digit()).count();
        if count == 0 {
            return Err(Stop::NotJson);
        }
        self.pos += count;
        Ok(())
    }

    /// Reads a string. Returns whether it has escapes.
    #[inline]
    pub(super) fn string(&mut self) -> Result<bool, Stop> {
        if !self.eat(b'"') {
            return Err(Stop::NotJson);
        }
        let mut has_escapes = false;
        loop {
            self.plain();
            match self.peek() {
                Some(b'"') => {
                    self.pos += 1;
                    return Ok(has_escapes);
                }
                Some(b'\\') => {
                    has_escapes = true;
                    self.pos += 1;
                    self.escape()?;
                }
                // A control character, or the end of the text.
                _ => return Err(Stop::NotJson),
            }
        }
    }

    /// Advances to the next byte with a meaning inside a string, eight at a time.
    #[inline]
    fn plain(&mut self) {
        const ONES: u64 = 0x0101_0101_0101_0101;
        const HIGHS: u64 = 0x8080_8080_8080_8080;
        while let Some(word) = self.rest().first_chunk::<8>() {
            let word = u64::from_le_bytes(*word);
            let (quote, slash) = (word ^ (ONES * 0x22), word ^ (ONES * 0x5c));
            let hits = (quote.wrapping_sub(ONES) & !quote)
                | (slash.wrapping_sub(ONES) & !slash)
                | (word.wrapping_sub(ONES * 0x20) & !word);
            let hits = hits & HIGHS;
            if hits != 0 {
                // Only bytes after the first hit can be false hits.
                self.pos += hits.trailing_zeros() as usize / 8;
                return;
            }
            self.pos += 8;
        }
        let rest = self.rest();
        self.pos += rest.iter().position(|b| matches!(b, b'"' | b'\\' | 0..=0x1f)).unwrap_or(rest.len());
    }

    /// Reads the rest of an escape after its backslash.
    fn escape(&mut self) -> Result<(), Stop> {
        let byte = self.peek();
        self.pos += 1;
        match byte {
            Some(b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't') => Ok(()),
            Some(b'u') => {
                let unit = self.hex()?;
                match unit {
                    0xd800..0xdc00 => {
                        if !(self.eat(b'\\') && self.eat(b'u') && (0xdc00..0xe000).contains(&self.hex()?)) {
                            return Err(Stop::NotJson);
                        }
                        Ok(())
                    }
                    0xdc00..0xe000 => Err(Stop::NotJson),
                    _ => Ok(()),
                }
            }
            _ => Err(Stop::NotJson),
        }
    }

    fn hex(&mut self) -> Result<u32, Stop> {
        let unit = self.rest().first_chunk::<4>().and_then(hex).ok_or(Stop::NotJson)?;
        self.pos += 4;
        Ok(unit)
    }

    #[inline]
    fn rest(&self) -> &'a [u8] {
        self.text.get(self.pos..).unwrap_or_default()
    }

    #[inline]
    pub(super) fn peek(&self) -> Option<u8> {
        self.text.get(self.pos).copied()
    }

    #[inline]
    pub(super) fn eat(&mut self, byte: u8) -> bool {
        let is_next = self.peek() == Some(byte);
        self.pos += usize::from(is_next);
        is_next
    }

    #[inline]
    pub(super) fn blank(&mut self) {
        while let Some(b' ' | b'\t' | b'\n' | b'\r') = self.peek() {
            self.pos += 1;
        }
    }
}

fn hex(digits: &[u8; 4]) -> Option<u32> {
    let mut unit = 0;
    for digit in digits {
        unit = unit << 4 | (*digit as char).to_digit(16)?;
    }
    Some(unit)
}

/// Resolves the escapes of a valid string.
pub(super) fn unescape(mut text: &[u8], out: &mut Vec<u8>) {
    while let Some(at) = text.iter().position(|b| *b == b'\\') {
        out.extend_from_slice(text.get(..at).unwrap_or_default());
        text = text.get(at + 1..).unwrap_or_default();
        let Some((code, mut rest)) = text.split_first() else { return };
        let plain = match code {
            b'b' => 0x8,
            b'f' => 0xc,
            b'n' => b'\n',
            b'r' => b'\r',
            b't' => b'\t',
            b'u' => {
                let c = take_unit(&mut rest).and_then(|unit| match unit {
                    0xd800..0xdc00 => {
                        rest = rest.get(2..)?;
                        let low = take_unit(&mut rest)?.checked_sub(0xdc00)?;
                        char::from_u32(0x10000 + ((unit - 0xd800) << 10) + low)
                    }
                    _ => char::from_u32(unit),
                });
                let c = c.unwrap_or(char::REPLACEMENT_CHARACTER);
                out.extend_from_slice(c.encode_utf8(&mut [0; 4]).as_bytes());
                text = rest;
                continue;
            }
            other => *other,
        };
        out.push(plain);
        text = rest;
    }
    out.extend_from_slice(text);
}

fn take_unit(text: &mut &[u8]) -> Option<u32> {
    let (digits, rest) = text.split_first_chunk::<4>()?;
    *text = rest;
    hex(digits)
}
