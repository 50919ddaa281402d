//! Compares one field of a JSON document, strictly: the whole document must be well formed and the path unambiguous.

use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::{Number, Value};

/// Whether the field at `path` (names from the root) equals `expected`; an absent field does not.
///
/// # Errors
/// The value is not exactly one JSON document in UTF-8, or a name on the path occurs twice in its object.
pub fn equals(document: &[u8], path: &[String], expected: &Value) -> Result<bool, String> {
    // serde_json checks the encoding of the strings that it keeps only.
    let text = std::str::from_utf8(document).map_err(|e| e.to_string())?;
    let mut json = serde_json::Deserializer::from_str(text);
    let equal = Field { path, expected }.deserialize(&mut json).map_err(|e| e.to_string())?;
    json.end().map_err(|e| e.to_string())?;
    Ok(equal)
}

/// `$.a.b` as its names.
pub fn parse_path(path: &str) -> Option<Vec<String>> {
    let names: Vec<String> = path.strip_prefix("$.")?.split('.').map(str::to_owned).collect();
    let simple = |name: &String| {
        let mut chars = name.chars();
        chars.next().is_some_and(|c| c.is_ascii_alphabetic() || c == '_')
            && chars.all(|c| c.is_ascii_alphanumeric() || c == '_' || c == '-')
    };
    names.iter().all(simple).then_some(names)
}

struct Field<'a> {
    path: &'a [String],
    expected: &'a Value,
}

impl Field<'_> {
    fn scalar(&self, equal: bool) -> bool {
        self.path.is_empty() && equal
    }

    fn number(&self, found: Option<Number>) -> bool {
        let (Value::Number(expected), Some(found)) = (self.expected, found) else {
            return false;
        };
        // 1 and 1.0 are one number to whoever writes a rule, but two to serde_json.
        self.scalar(*expected == found || (expected.is_f64() != found.is_f64() && expected.as_f64() == found.as_f64()))
    }
}

impl<'de> DeserializeSeed<'de> for Field<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Field<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON document")
    }

    fn visit_unit<E>(self) -> Result<bool, E> {
        Ok(self.scalar(self.expected.is_null()))
    }

    fn visit_bool<E>(self, found: bool) -> Result<bool, E> {
        Ok(self.scalar(self.expected.as_bool() == Some(found)))
    }

    fn visit_str<E>(self, found: &str) -> Result<bool, E> {
        Ok(self.scalar(self.expected.as_str() == Some(found)))
    }

    fn visit_i64<E>(self, found: i64) -> Result<bool, E> {
        Ok(self.number(Some(found.into())))
    }

    fn visit_u64<E>(self, found: u64) -> Result<bool, E> {
        Ok(self.number(Some(found.into())))
    }

    fn visit_f64<E>(self, found: f64) -> Result<bool, E> {
        Ok(self.number(Number::from_f64(found)))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut seq: A) -> Result<bool, A::Error> {
        while seq.next_element::<IgnoredAny>()?.is_some() {}
        Ok(false)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<bool, A::Error> {
        let next = self.path.split_first();
        let mut found = None;
        while let Some(matches) = map.next_key_seed(Name(next.map(|(name, _)| name)))? {
            let Some((name, rest)) = next.filter(|_| matches) else {
                map.next_value::<IgnoredAny>()?;
                continue;
            };
            if found.is_some() {
                return Err(A::Error::custom(format!("'{name}' occurs twice")));
            }
            found = Some(map.next_value_seed(Field { path: rest, expected: self.expected })?);
        }
        Ok(found.unwrap_or(false))
    }
}

/// Whether a member's name is the one looked for; compares unescaped text without keeping it.
struct Name<'a>(Option<&'a String>);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, found: &str) -> Result<bool, E> {
        Ok(self.0.is_some_and(|name| name == found))
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn eq(document: &str, path: &str, expected: Value) -> Option<bool> {
        equals(document.as_bytes(), &parse_path(path).unwrap(), &expected).ok()
    }

    #[test]
    fn a_field_is_compared_by_value() {
        assert_eq!(eq(r#"{"a":{"b":"eu"},"c":[1,{"b":2}]}"#, "$.a.b", json!("eu")), Some(true));
        assert_eq!(eq(r#"{"\u0061":"e\u0075"}"#, "$.a", json!("eu")), Some(true));
        assert_eq!(eq(r#"{"a":1.0}"#, "$.a", json!(1)), Some(true));
        assert_eq!(eq(r#"{"a":18446744073709551615}"#, "$.a", json!(18446744073709551615u64)), Some(true));
        assert_eq!(eq(r#"{"a":9007199254740993}"#, "$.a", json!(9007199254740992u64)), Some(false));
        assert_eq!(eq(r#"{"a":null}"#, "$.a", json!(null)), Some(true));
        assert_eq!(eq(r#"{"a":true}"#, "$.a", json!(true)), Some(true));
        for absent in [r#"{"b":1}"#, "[1]", "7", r#"{"a":{}}"#, r#"{"a":["eu"]}"#, r#"{"x":{"a":"eu"}}"#] {
            assert_eq!(eq(absent, "$.a", json!("eu")), Some(false), "{absent}");
        }
    }

    #[test]
    fn what_is_ambiguous_or_malformed_is_not_judged() {
        let deep = format!(r#"{{"a":"eu","d":{}1{}}}"#, "[".repeat(300), "]".repeat(299));
        for bad in [
            "",
            "\u{feff}{\"a\":\"eu\"}",
            r#"{"a":"eu"} x"#,
            r#"{"a":"eu","a":"us"}"#,
            r#"{"a":"eu""#,
            r#"{"a":"eu","b":}"#,
            r#"{"a":"eu","b":01}"#,
            "{\"a\":\"eu\",\"b\":\"\n\"}",
            &deep,
        ] {
            assert_eq!(eq(bad, "$.a", json!("eu")), None, "{bad}");
        }
        assert!(equals(b"{\"a\":\"eu\",\"b\":\"\xff\"}", &["a".into()], &json!("eu")).is_err());
    }
}
