//! Arrays and objects of a record. An object with a name twice has no value: readers take the first
//! or the last, so nobody knows what was meant.

use std::{borrow::Cow, collections::BTreeMap, rc::Rc};

use strait_plugin_sdk::json;

use super::{Key, Val};
use crate::{shared::Shared, trouble::Trouble, work::Work};

/// Maximum nesting.
const DEPTH_MAX: usize = 200;

/// Parses JSON text.
///
/// # Errors
/// [`Trouble::NotJudged`] if it is not JSON or an object has a name twice, [`Trouble::Evaluation`]
/// for a number out of range.
pub fn parse<'a>(source: &'a [u8], work: &Work) -> Result<Val<'a>, Trouble> {
    work.read(source.len())?;
    let mut reader = Reader { source, at: 0, work };
    let val = reader.value(0)?;
    reader.blank();
    if reader.at == source.len() { Ok(val) } else { Err(Trouble::NotJudged) }
}

/// Returns the text of a JSON string.
pub fn text(source: &[u8]) -> Result<Shared<'_, str>, Trouble> {
    Ok(match json::text(source).ok_or(Trouble::NotJudged)? {
        Cow::Borrowed(text) => text.into(),
        Cow::Owned(text) => text.into(),
    })
}

struct Reader<'a, 'w> {
    source: &'a [u8],
    at: usize,
    work: &'w Work,
}

impl<'a> Reader<'a, '_> {
    fn value(&mut self, depth: usize) -> Result<Val<'a>, Trouble> {
        self.work.steps(1)?;
        if depth > DEPTH_MAX {
            return Err(Trouble::NotJudged);
        }
        self.blank();
        match self.source.get(self.at) {
            Some(b'[') => self.array(depth),
            Some(b'{') => self.object(depth),
            Some(b'"') => Ok(Val::Text(text(self.string()?)?)),
            _ => match self.word() {
                b"null" => Ok(Val::Null),
                b"true" => Ok(Val::Bool(true)),
                b"false" => Ok(Val::Bool(false)),
                number if matches!(number.first(), Some(b'-' | b'0'..=b'9')) => Val::of_json(number),
                _ => Err(Trouble::NotJudged),
            },
        }
    }

    fn array(&mut self, depth: usize) -> Result<Val<'a>, Trouble> {
        self.at += 1;
        let mut list = Vec::new();
        if self.takes(b']') {
            return Ok(Val::List(Rc::new(list)));
        }
        loop {
            list.push(self.value(depth + 1)?);
            if self.takes(b']') {
                return Ok(Val::List(Rc::new(list)));
            }
            self.expect(b',')?;
        }
    }

    fn object(&mut self, depth: usize) -> Result<Val<'a>, Trouble> {
        self.at += 1;
        let mut members = BTreeMap::new();
        if self.takes(b'}') {
            return Ok(Val::Map(Rc::new(members)));
        }
        loop {
            self.blank();
            let name = text(self.string()?)?;
            self.expect(b':')?;
            let value = self.value(depth + 1)?;
            if members.insert(Key::Text(name), value).is_some() {
                return Err(Trouble::NotJudged);
            }
            if self.takes(b'}') {
                return Ok(Val::Map(Rc::new(members)));
            }
            self.expect(b',')?;
        }
    }

    /// Takes a string with its quotes.
    fn string(&mut self) -> Result<&'a [u8], Trouble> {
        let rest = self.source.get(self.at..).filter(|rest| rest.starts_with(b"\"")).ok_or(Trouble::NotJudged)?;
        let mut end = 1;
        loop {
            match rest.get(end).ok_or(Trouble::NotJudged)? {
                b'"' => break,
                b'\\' => end += 2,
                _ => end += 1,
            }
        }
        let (string, _) = rest.split_at(end + 1);
        self.at += string.len();
        Ok(string)
    }

    /// Takes the letters, digits and signs of a number or a word.
    fn word(&mut self) -> &'a [u8] {
        let rest = self.source.get(self.at..).unwrap_or_default();
        let is_part = |byte: &u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'+' | b'.');
        let (word, _) = rest.split_at(rest.iter().position(|byte| !is_part(byte)).unwrap_or(rest.len()));
        self.at += word.len();
        word
    }

    /// Takes a sign, if it is next.
    fn takes(&mut self, sign: u8) -> bool {
        self.blank();
        let found = self.source.get(self.at) == Some(&sign);
        self.at += usize::from(found);
        found
    }

    fn expect(&mut self, sign: u8) -> Result<(), Trouble> {
        if self.takes(sign) { Ok(()) } else { Err(Trouble::NotJudged) }
    }

    fn blank(&mut self) {
        while matches!(self.source.get(self.at), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::number::Number;

    fn parsed(text: &str) -> Result<Val<'_>, Trouble> {
        parse(text.as_bytes(), &Work::new())
    }

    #[test]
    fn a_document_is_read_as_it_stands() {
        let number = |number| Val::Number(Number::Whole(number));
        let list = |list: Vec<Val<'static>>| Val::List(Rc::new(list));
        let map = |name: &'static str, val| Val::Map(Rc::new(BTreeMap::from([(Key::Text(name.into()), val)])));
        for (text, expected) in [
            (
                "[1, -2,18446744073709551615 ,\t1.5,\"x\\u0041\\\\\", null,true,false]",
                list(vec![
                    number(1),
                    number(-2),
                    number(u64::MAX.into()),
                    Val::Number(Number::Double(1.5)),
                    Val::Text("xA\\".into()),
                    Val::Null,
                    Val::Bool(true),
                    Val::Bool(false),
                ]),
            ),
            ("{ \"b\\\"\" : {\"a\":{}} }", map("b\"", map("a", Val::Map(Rc::default())))),
            (" [[ ], [\"\"]]\n", list(vec![list(vec![]), list(vec![Val::Text("".into())])])),
            ("[9007199254740993.0]", list(vec![number(9_007_199_254_740_993)])),
        ] {
            assert_eq!(parsed(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn what_is_not_one_document_has_no_value() {
        for text in [
            r#"{"a":1,"a":1}"#,
            r#"[{"b":{"a":1,"\u0061":2}}]"#,
            "{",
            "[1] 2",
            "[1,]",
            "{\"a\"}",
            "{\"a\":1,}",
            "{1:2}",
            "[\"",
            "[\"\\",
            "[\"\\ud800\"]",
            "[nul]",
            "[inf]",
            "",
            &format!("{}{}", "[".repeat(300), "]".repeat(300)),
        ] {
            assert_eq!(parsed(text), Err(Trouble::NotJudged), "{text}");
        }
        assert_eq!(parsed("[1e999]"), Err(Trouble::Evaluation));
        let long = format!("[{}1]", "1,".repeat(300_000));
        assert_eq!(parsed(&long), Err(Trouble::TooMuch));
    }
}
