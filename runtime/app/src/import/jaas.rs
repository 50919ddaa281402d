//! `sasl.jaas.config`: the login module, and its options.

use std::collections::BTreeMap;

/// A login.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Login {
    /// Class of the module, without its package.
    pub module: String,
    /// Its options.
    pub options: BTreeMap<String, String>,
}

/// Parses `package.Module required name="value" …;`.
pub fn parse(text: &str) -> Option<Login> {
    let text = text.trim().strip_suffix(';')?.trim_end();
    let (class, rest) = text.split_once(char::is_whitespace)?;
    let (flag, mut rest) = rest.trim_start().split_once(char::is_whitespace).unwrap_or_else(|| (rest.trim_start(), ""));
    if !["required", "requisite", "sufficient", "optional"].contains(&flag) {
        return None;
    }
    let mut options = BTreeMap::new();
    loop {
        rest = rest.trim_start();
        if rest.is_empty() {
            break;
        }
        let (name, after) = rest.split_once('=')?;
        let (value, after) = value(after.trim_start())?;
        options.insert(name.trim().to_owned(), value);
        rest = after;
    }
    Some(Login { module: class.rsplit('.').next()?.to_owned(), options })
}

/// Reads a value, in quotes or up to the next space. Returns it and what follows.
fn value(text: &str) -> Option<(String, &str)> {
    let Some(quote) = text.chars().next().filter(|c| *c == '"' || *c == '\'') else {
        let (value, rest) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        return Some((value.to_owned(), rest));
    };
    let mut value = String::new();
    let mut characters = text.char_indices().skip(1);
    while let Some((at, c)) = characters.next() {
        match c {
            '\\' => value.push(characters.next()?.1),
            c if c == quote => return Some((value, text.get(at + c.len_utf8()..)?)),
            c => value.push(c),
        }
    }
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_login_is_a_module_and_its_options() {
        let text =
            "org.apache.kafka.common.security.scram.ScramLoginModule required username=\"a b\" password='p\\'\\\\\"';";
        let login = parse(text).unwrap();
        assert_eq!(login.module, "ScramLoginModule");
        assert_eq!((login.options["username"].as_str(), login.options["password"].as_str()), ("a b", "p'\\\""));
        assert_eq!(parse("a.B required;").unwrap().options.len(), 0);
        assert_eq!(parse("a.B required x=1 y=${env:P} ;").unwrap().options["y"], "${env:P}");
        for bad in ["", "a.B required x=1", "a.B perhaps x=1;", "a.B required x=\"1;", "B;"] {
            assert_eq!(parse(bad), None, "{bad}");
        }
    }
}
