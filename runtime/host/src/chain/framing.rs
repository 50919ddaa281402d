//! The framing of a schema registry's serializers: a zero byte and the id of the schema before the
//! content. Plugins see the content alone, and the five bytes stay on the record.

use std::borrow::Cow;

use strait_core::batch::{Batch, RecordRef};
use strait_core::edit::{Content, OutRecord, Reject};

use crate::load::FramedParts;

/// Bytes before the content.
const PREFIX_BYTES: usize = 5;
/// The first of them.
const MAGIC: u8 = 0;
/// Headers that hold the id in place of the prefix.
const VALUE_HEADER: &[u8] = b"__value_schema_id";
const KEY_HEADER: &[u8] = b"__key_schema_id";

/// A batch as plugins see it.
pub(super) struct Unframed {
    pub(super) batch: Batch,
    /// Records that are not framed as declared, by their index.
    pub(super) refused: Vec<(usize, Reject)>,
}

/// The framing of one part of a record.
#[derive(Clone, Copy)]
enum Framing<'a> {
    /// The prefix.
    Prefix(&'a [u8]),
    /// The id is in a header.
    InHeader,
    /// There is no content.
    OfNull,
}

impl Unframed {
    pub(super) fn of(batch: &Batch, parts: FramedParts) -> Self {
        let (mut refused, mut lengths) = (Vec::new(), Vec::with_capacity(batch.len()));
        for (index, record) in batch.iter().enumerate() {
            let length = |is_framed: bool, part: Option<&[u8]>, header: &[u8]| match is_framed {
                true => framing(record, part, header).map(Framing::bytes),
                false => Ok(0),
            };
            let key = length(parts.key, record.key, KEY_HEADER);
            let both = key.and_then(|key| Ok((key, length(parts.value, record.value, VALUE_HEADER)?)));
            lengths.push(both.unwrap_or_else(|reject| {
                refused.push((index, reject));
                (0, 0)
            }));
        }
        Self { batch: batch.without_prefixes(&lengths), refused }
    }
}

impl Framing<'_> {
    fn bytes(self) -> usize {
        if let Self::Prefix(prefix) = self { prefix.len() } else { 0 }
    }
}

/// Gives a record that plugins have changed the framing of the original.
///
/// # Errors
/// The reason why the record cannot be sent: nobody knows its framing.
pub(super) fn restore(record: &mut OutRecord, original: RecordRef<'_>, parts: FramedParts) -> Result<(), Reject> {
    let key = (parts.key, &mut record.key, original.key, KEY_HEADER);
    for (is_framed, content, part, header) in [key, (parts.value, &mut record.value, original.value, VALUE_HEADER)] {
        let Content::Bytes(bytes) = content else { continue };
        if !is_framed {
            continue;
        }
        match framing(original, part, header)? {
            Framing::Prefix(prefix) => drop(bytes.splice(0..0, prefix.iter().copied())),
            Framing::InHeader => {}
            Framing::OfNull => {
                return Err(refusal("frame-missing", "a plugin gives content to a null, and its framing is not known"));
            }
        }
    }
    Ok(())
}

fn framing<'a>(record: RecordRef<'_>, part: Option<&'a [u8]>, header: &[u8]) -> Result<Framing<'a>, Reject> {
    match record.headers.iter().filter(|found| found.name == header).count() {
        0 => {}
        1 => return Ok(Framing::InHeader),
        _ => return Err(refusal("frame-header-twice", "the header with the id of the schema comes more than once")),
    }
    let Some(part) = part else { return Ok(Framing::OfNull) };
    match part.split_at_checked(PREFIX_BYTES) {
        Some((prefix, _)) if prefix.first() == Some(&MAGIC) => Ok(Framing::Prefix(prefix)),
        _ => {
            let text = "it has no framing of a schema registry (a zero byte and the id of the schema), although the \
                        link declares it in [[links.values]]";
            Err(refusal("frame-missing", text))
        }
    }
}

/// Tells why a value that plugins cannot read as JSON is none, where framing explains it.
/// `original` is the record as it was fetched, if the link declares its value as framed.
pub(super) fn explained(
    text: &'static str,
    value: Option<&[u8]>,
    original: Option<RecordRef<'_>>,
) -> Cow<'static, str> {
    if let Some(original) = original {
        let id = match framing(original, original.value, VALUE_HEADER) {
            Ok(Framing::Prefix(prefix)) => schema_id(prefix),
            _ => None,
        };
        let id = id.map(|id| format!(" (schema {id})")).unwrap_or_default();
        return format!(
            "behind the framing of a schema registry{id} is no JSON: fields of Avro and Protobuf are not read"
        )
        .into();
    }
    let begins_like_framed = value.is_some_and(|value| value.len() > PREFIX_BYTES && value.first() == Some(&MAGIC));
    if !begins_like_framed {
        return text.into();
    }
    // Without a declaration nobody knows whether these bytes are an id or data.
    "the value begins as one with the framing of a schema registry: if it holds JSON, declare that in \
     [[links.values]]; fields of Avro and Protobuf are not read"
        .into()
}

/// Returns the id of the schema behind the first byte.
fn schema_id(prefix: &[u8]) -> Option<u32> {
    let (_, id) = prefix.split_first()?;
    Some(u32::from_be_bytes(id.try_into().ok()?))
}

fn refusal(code: &str, text: &str) -> Reject {
    Reject { plugin: "strait".into(), digest: "".into(), code: code.into(), rule: None, text: text.into() }
}
