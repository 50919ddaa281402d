//! Reads records from their place in quarantine, to show them.

use std::collections::BTreeMap;
use std::time::Duration;

use strait_core::Record;
use strait_core::books::{BookKey, KeptAt};
use strait_core::progress::quarantine_topic;
use strait_flow::ports::{Class, PortError};

use super::places::{Next, Places};
use crate::config::ClusterConfig;
use crate::error::{blocking, own};

/// A record in quarantine.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Kept {
    /// The record with its own headers, as at the source.
    pub record: Record,
    /// Headers that the quarantine added.
    pub added: Vec<(Vec<u8>, Option<Vec<u8>>)>,
}

/// Reads the record of an entry from its place. `None` where the place has no record any more.
///
/// # Errors
/// [`PortError`] if the source does not answer, or the place holds another record.
pub async fn kept_record(
    source: &ClusterConfig,
    link: &str,
    key: &BookKey,
    place: KeptAt,
    timeout: Duration,
) -> Result<Option<Kept>, PortError> {
    let (source, link, key) = (source.clone(), link.to_owned(), key.clone());
    blocking("reading a quarantined record", move || {
        let topic = quarantine_topic(&link);
        let mut found = None;
        Places::new(&source, &link, timeout)?.read(&topic, place.partition, &[place.offset.0], |message| {
            let record = message.to_record().map_err(|error| own(Class::Stop, &*topic, error.to_string()))?;
            found = Some(split(record));
            Ok(Next::More)
        })?;
        let Some(kept) = found else { return Ok(None) };
        if is_of(&kept, &key) {
            return Ok(Some(kept));
        }
        let context = format!("{topic}-{} offset {}", place.partition, place.offset);
        let reason = "the place holds another record: was the quarantine topic deleted and created again?";
        Err(own(Class::Stop, context, reason))
    })
    .await?
}

/// Returns the bytes of key, value and headers of the records at these places. Those that are gone
/// are missing.
///
/// # Errors
/// [`PortError`] if the source does not answer.
pub async fn kept_sizes(
    source: &ClusterConfig,
    link: &str,
    mut places: Vec<KeptAt>,
    timeout: Duration,
) -> Result<BTreeMap<(i32, i64), usize>, PortError> {
    let (source, link) = (source.clone(), link.to_owned());
    blocking("reading quarantined records", move || {
        places.sort_by_key(|place| (place.partition, place.offset));
        places.dedup();
        let mut sizes = BTreeMap::new();
        if places.is_empty() {
            return Ok(sizes);
        }
        let (topic, mut reader) = (quarantine_topic(&link), Places::new(&source, &link, timeout)?);
        for of_partition in places.chunk_by(|one, other| one.partition == other.partition) {
            let Some(first) = of_partition.first() else { continue };
            let offsets: Vec<i64> = of_partition.iter().map(|place| place.offset.0).collect();
            reader.read(&topic, first.partition, &offsets, |message| {
                let (mut all, mut own) = (0, None);
                let add = |name: &[u8], value: Option<&[u8]>| {
                    if name == FIRST_ADDED {
                        own = Some(all);
                    }
                    all += name.len() + value.map_or(0, <[u8]>::len);
                };
                // Headers that cannot be read count nothing.
                message.headers(add).unwrap_or_default();
                // The headers that were added are not the record's.
                sizes.insert((first.partition, message.offset()), message.bytes() + own.unwrap_or(all));
                Ok(Next::More)
            })?;
        }
        Ok(sizes)
    })
    .await?
}

/// The first of the headers that the quarantine adds behind the record's own.
const FIRST_ADDED: &[u8] = b"strait-plugin-digest";

pub(super) fn split(mut record: Record) -> Kept {
    let own = record.headers.iter().rposition(|(name, _)| name == FIRST_ADDED);
    let added = record.headers.split_off(own.unwrap_or(record.headers.len()));
    Kept { record, added }
}

pub(super) fn is_of(kept: &Kept, key: &BookKey) -> bool {
    let header = |name: &str| {
        let found = kept.added.iter().rev().find(|(found, _)| found == name.as_bytes());
        found.and_then(|(_, value)| std::str::from_utf8(value.as_deref()?).ok())
    };
    header("strait-source-topic") == Some(&*key.partition.topic)
        && header("strait-source-partition") == Some(&*key.partition.partition.to_string())
        && header("strait-source-offset") == Some(&*key.offset.to_string())
}

#[cfg(test)]
mod tests {
    use strait_core::{BatchBuilder, Generation, LeaderEpoch, PartitionKey, SourceOffset, TimestampType, TopicId};
    use strait_flow::ports::QuarantineRecord;

    use super::*;
    use crate::quarantine::each_header;

    /// Whoever writes to the source may set headers that look like those of a record in quarantine.
    #[test]
    fn forged_headers_stay_the_records_own_and_those_of_the_quarantine_are_believed() {
        let forged = [("strait-plugin-digest", "sha256:forged"), ("strait-code", "forged"), ("a", "1")];
        let mut builder = BatchBuilder::new("orders".into(), 3, TimestampType::Create, LeaderEpoch(1));
        builder.push(SourceOffset(7), 5, None, Some(b"v"));
        for (name, value) in [forged[0], forged[1], ("strait-source-offset", "8"), forged[2]] {
            builder.push_header(name.as_bytes(), Some(value.as_bytes()));
        }
        let batch = builder.build();
        let partition = PartitionKey { topic: "orders".into(), topic_id: TopicId([1; 16]), partition: 3 };
        let refused = QuarantineRecord {
            partition: &partition,
            record: batch.get(0).unwrap(),
            by: "target",
            digest: None,
            code: "too-large",
            text: "no",
            generation: &Generation::default(),
        };
        let mut headers = Vec::new();
        each_header("l", &refused, |name, value| headers.push((name.to_vec(), value.map(<[u8]>::to_vec))));

        let kept = split(Record { headers, ..Record::default() });
        let own: Vec<&[u8]> = kept.record.headers.iter().map(|(name, _)| name.as_slice()).collect();
        assert_eq!(own, [b"strait-plugin-digest".as_slice(), b"strait-code", b"strait-source-offset", b"a"]);
        assert_eq!(kept.added[0], (FIRST_ADDED.to_vec(), None), "no plugin has refused it");
        let code = kept.added.iter().rfind(|(name, _)| name == b"strait-code").unwrap();
        assert_eq!(code.1.as_deref(), Some(&b"too-large"[..]));
        assert!(is_of(&kept, &BookKey { partition: partition.clone(), offset: SourceOffset(7) }));
        assert!(!is_of(&kept, &BookKey { partition, offset: SourceOffset(8) }));
    }
}
