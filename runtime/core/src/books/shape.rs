//! The shape of a record: what can be shown of it where its contents must not be.

use std::collections::{BTreeMap, BTreeSet};

use serde::Serialize;
use serde_json::Value;

use crate::record::Record;

/// Most paths of a shape.
const PATHS_MAX: usize = 500;
/// Most characters of one path.
const PATH_CHARS_MAX: usize = 200;

/// Header names, lengths, paths and types, without a key or a value.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct RecordShape {
    /// Length of the key in bytes; none if it is null.
    pub key_bytes: Option<usize>,
    /// Length of the value in bytes; none if it is null.
    pub value_bytes: Option<usize>,
    /// Name and length of each header, in order.
    pub headers: Vec<(String, Option<usize>)>,
    /// The paths of the value and their types; none where it is not JSON.
    pub paths: Option<BTreeMap<String, BTreeSet<&'static str>>>,
    /// There are more paths.
    pub more_paths: bool,
}

/// Returns the shape of a record.
#[must_use]
pub fn shape_of(record: &Record) -> RecordShape {
    let length = |bytes: &Option<Vec<u8>>| bytes.as_ref().map(Vec::len);
    let headers = record.headers.iter();
    let mut shape = RecordShape {
        key_bytes: length(&record.key),
        value_bytes: length(&record.value),
        headers: headers.map(|(name, value)| (String::from_utf8_lossy(name).into_owned(), length(value))).collect(),
        ..RecordShape::default()
    };
    let Some(document) = record.value.as_deref().and_then(|bytes| serde_json::from_slice::<Value>(bytes).ok()) else {
        return shape;
    };
    let mut paths = BTreeMap::new();
    shape.more_paths = !walk(&document, "$", &mut paths);
    shape.paths = Some(paths);
    shape
}

/// Adds the paths of a value. Returns whether all had room.
fn walk(value: &Value, path: &str, paths: &mut BTreeMap<String, BTreeSet<&'static str>>) -> bool {
    let kind = match value {
        Value::Null => "null",
        Value::Bool(_) => "boolean",
        Value::Number(_) => "number",
        Value::String(_) => "string",
        Value::Array(_) => "array",
        Value::Object(_) => "object",
    };
    if paths.len() >= PATHS_MAX && !paths.contains_key(path) {
        return false;
    }
    paths.entry(path.to_owned()).or_default().insert(kind);
    match value {
        Value::Array(items) => {
            let path = format!("{path}[*]");
            items.iter().all(|item| walk(item, &path, paths))
        }
        Value::Object(members) => members.iter().all(|(name, value)| {
            let mut path = format!("{path}{}", step(name));
            if let Some((end, _)) = path.char_indices().nth(PATH_CHARS_MAX) {
                path.truncate(end);
                path.push('…');
            }
            walk(value, &path, paths)
        }),
        _ => true,
    }
}

fn step(name: &str) -> String {
    let is_plain = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || c == '_');
    if is_plain { format!(".{name}") } else { format!("[{}]", Value::from(name)) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shape_has_paths_and_types_and_no_contents() {
        let value = br#"{"ssn":"canary-1","lines":[{"n":1},{"n":null},"canary-2"],"a b":true}"#;
        let record = Record {
            key: Some(b"canary-key".to_vec()),
            value: Some(value.to_vec()),
            headers: vec![(b"trace".to_vec(), Some(b"canary-3".to_vec())), (b"trace".to_vec(), None)],
            ..Record::default()
        };
        let shape = shape_of(&record);
        let text = serde_json::to_string(&shape).unwrap();
        assert!(!text.contains("canary"), "{text}");
        assert_eq!((shape.key_bytes, shape.value_bytes), (Some(10), Some(value.len())));
        assert_eq!(shape.headers, [("trace".to_owned(), Some(8)), ("trace".to_owned(), None)]);
        let paths: Vec<String> = shape
            .paths
            .unwrap()
            .iter()
            .map(|(path, kinds)| format!("{path} {}", kinds.iter().copied().collect::<Vec<_>>().join("|")))
            .collect();
        assert_eq!(
            paths,
            [
                "$ object",
                "$.lines array",
                "$.lines[*] object|string",
                "$.lines[*].n null|number",
                "$.ssn string",
                "$[\"a b\"] boolean"
            ]
        );
    }

    #[test]
    fn a_shape_is_bounded_and_other_bytes_have_none() {
        let with = |value: &[u8]| shape_of(&Record { value: Some(value.to_vec()), ..Record::default() });
        assert_eq!(with(b"\xff").paths, None);
        assert_eq!(with(&[b'['; 500]).paths, None);
        let members: Vec<String> = (0..2_000).map(|n| format!("\"{}{n}\":1", "m".repeat(300))).collect();
        let wide = with(format!("{{{}}}", members.join(",")).as_bytes());
        assert_eq!(wide.paths.unwrap().len(), 2, "long names are cut, and one stands for all");
        let members: Vec<String> = (0..2_000).map(|n| format!("\"m{n}\":1")).collect();
        let many = with(format!("{{{}}}", members.join(",")).as_bytes());
        assert_eq!((many.paths.unwrap().len(), many.more_paths), (PATHS_MAX, true));
    }
}
