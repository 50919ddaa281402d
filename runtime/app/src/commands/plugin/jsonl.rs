//! Records as JSON lines, which `capture` writes and `test`, `run` and `bench` read.
//! docs/plugins.md has the format.
//!
//! Bytes are written in the most readable form that restores them exactly: as text, as `{"json":
//! …}` where they are a JSON object or array without a line break, as `{"base64": "…"}` where they
//! are not UTF-8. null is Kafka's null.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value};
use strait_core::Record;

/// A line of a file. Every member may be missing.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Written<'a> {
    topic: Option<String>,
    partition: Option<i32>,
    offset: Option<i64>,
    timestamp: Option<i64>,
    #[serde(borrow)]
    key: Option<&'a RawValue>,
    #[serde(borrow)]
    value: Option<&'a RawValue>,
    #[serde(borrow, default)]
    headers: Vec<(&'a RawValue, &'a RawValue)>,
}

/// The forms of bytes that are JSON objects.
#[derive(Deserialize)]
#[serde(deny_unknown_fields, rename_all = "lowercase")]
enum Form<'a> {
    Text(String),
    Base64(String),
    #[serde(borrow)]
    Json(&'a RawValue),
}

/// Parses the lines of a file. Empty lines are skipped.
///
/// Defaults of missing members: topic `test`, partition 0, the offset after the last one of that
/// partition, timestamp 0, a null key, a null value, no headers.
///
/// # Errors
/// The number of the first wrong line, and the reason.
pub fn parse(text: &str) -> Result<Vec<Record>, String> {
    let mut lines: Vec<Record> = Vec::new();
    for (index, text) in text.lines().enumerate() {
        if text.trim().is_empty() {
            continue;
        }
        let line = parse_line(text, &lines).map_err(|error| format!("line {}: {error}", index + 1))?;
        lines.push(line);
    }
    Ok(lines)
}

fn parse_line(text: &str, before: &[Record]) -> Result<Record, String> {
    let written: Written<'_> = serde_json::from_str(text).map_err(|error| error.to_string())?;
    let topic = written.topic.unwrap_or_else(|| "test".to_owned());
    let partition = written.partition.unwrap_or(0);
    let last = before.iter().rev().find(|line| line.topic == topic && line.partition == partition);
    let next = last.map_or(0, |line| line.offset.saturating_add(1));
    let offset = written.offset.unwrap_or(next);
    if offset < next {
        return Err(format!("offset {offset} does not follow the one before; offsets ascend in a partition"));
    }
    let headers = written.headers.into_iter().map(|(name, value)| {
        let name = bytes(name).map_err(|error| format!("a header's name: {error}"))?;
        let name = name.ok_or("a header's name cannot be null")?;
        Ok((name, bytes(value).map_err(|error| format!("a header's value: {error}"))?))
    });
    let part = |name: &str, value: Option<&RawValue>| match value {
        Some(value) => bytes(value).map_err(|error| format!("{name}: {error}")),
        None => Ok(None),
    };
    Ok(Record {
        partition,
        offset,
        timestamp_ms: written.timestamp.unwrap_or(0),
        key: part("key", written.key)?,
        value: part("value", written.value)?,
        headers: headers.collect::<Result<_, String>>()?,
        topic,
    })
}

fn bytes(raw: &RawValue) -> Result<Option<Vec<u8>>, String> {
    let text = raw.get();
    if text == "null" {
        return Ok(None);
    }
    if text.starts_with('"') {
        let text: String = serde_json::from_str(text).map_err(|error| error.to_string())?;
        return Ok(Some(text.into_bytes()));
    }
    let form: Form<'_> = serde_json::from_str(text)
        .map_err(|_| "write a text, null, {\"json\": …}, {\"text\": \"…\"} or {\"base64\": \"…\"}".to_owned())?;
    match form {
        Form::Text(text) => Ok(Some(text.into_bytes())),
        Form::Json(json) => Ok(Some(json.get().as_bytes().to_vec())),
        Form::Base64(text) => STANDARD.decode(text).map(Some).map_err(|error| format!("base64: {error}")),
    }
}

/// Returns a record as a line, without the line break.
#[must_use]
pub fn write(record: &Record) -> String {
    let mut members = vec![
        member("topic", &quoted(&record.topic)),
        member("partition", &record.partition.to_string()),
        member("offset", &record.offset.to_string()),
        member("timestamp", &record.timestamp_ms.to_string()),
        member("key", &form(record.key.as_deref())),
        member("value", &form(record.value.as_deref())),
    ];
    if !record.headers.is_empty() {
        members.push(member("headers", &headers(&record.headers)));
    }
    format!("{{{}}}", members.join(","))
}

/// Returns a member of an object from JSON text.
#[must_use]
pub fn member(name: &str, json: &str) -> String {
    format!("\"{name}\":{json}")
}

/// Returns a text as a JSON string.
#[must_use]
pub fn quoted(text: &str) -> String {
    Value::from(text).to_string()
}

/// Returns headers as a JSON list of pairs.
#[must_use]
pub fn headers(headers: &[(Vec<u8>, Option<Vec<u8>>)]) -> String {
    let pairs: Vec<String> =
        headers.iter().map(|(name, value)| format!("[{},{}]", form(Some(name)), form(value.as_deref()))).collect();
    format!("[{}]", pairs.join(","))
}

/// Returns bytes in their most readable form.
#[must_use]
pub fn form(bytes: Option<&[u8]>) -> String {
    let Some(bytes) = bytes else {
        return "null".to_owned();
    };
    let Ok(text) = std::str::from_utf8(bytes) else {
        return Value::Object(Map::from_iter([("base64".to_owned(), STANDARD.encode(bytes).into())])).to_string();
    };
    // Whitespace around a document would be lost, and a line break would end the line.
    let whole = text.starts_with(['{', '[']) && text.ends_with(['}', ']']) && !text.contains(['\n', '\r']);
    if whole && serde_json::from_str::<&RawValue>(text).is_ok() {
        return format!("{{\"json\":{text}}}");
    }
    quoted(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_written_record_is_read_back_to_the_byte() {
        let values: [Option<&[u8]>; 9] = [
            None,
            Some(b""),
            Some(b"null"),
            Some(b"plain \"text\""),
            Some(br#"{"a": 1.0, "a":"\u0041" }"#),
            Some(b"{\"a\":\n1}"),
            Some(br#" {"space":"around"}"#),
            Some(br#"{"broken":"#),
            Some(b"\xff\x00"),
        ];
        for value in values {
            let line = Record {
                topic: "orders".to_owned(),
                partition: 3,
                offset: 7,
                timestamp_ms: -1,
                key: value.map(<[u8]>::to_vec),
                value: value.map(<[u8]>::to_vec),
                headers: vec![(b"\xfe".to_vec(), value.map(<[u8]>::to_vec)), (b"".to_vec(), None)],
            };
            let text = write(&line);
            assert!(!text.contains('\n'), "{text}");
            assert_eq!(parse(&text).unwrap(), [line], "{text}");
        }
    }

    #[test]
    fn missing_members_have_defaults_and_errors_have_a_line_number() {
        let lines =
            parse("{\"partition\":1,\"offset\":5}\n\n{}\n{\"partition\":1,\"key\":{\"text\":\"k\"}}\n").unwrap();
        let places: Vec<_> = lines.iter().map(|l| (l.topic.as_str(), l.partition, l.offset)).collect();
        assert_eq!(places, [("test", 1, 5), ("test", 0, 0), ("test", 1, 6)]);
        assert_eq!(lines[2].key.as_deref(), Some(&b"k"[..]));
        for (text, expected) in [
            ("{}\n{\"kye\":\"a\"}", "line 2: unknown field `kye`"),
            ("{\"offset\":1}\n{\"offset\":1}", "line 2: offset 1 does not follow"),
            ("{\"value\":{\"order\":1}}", "line 1: value: write a text, null, {\"json\": …}"),
            ("{\"value\":{\"base64\":\"?\"}}", "line 1: value: base64"),
            ("{\"headers\":[[null,\"a\"]]}", "line 1: a header's name cannot be null"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.starts_with(expected), "{error}");
        }
    }
}
