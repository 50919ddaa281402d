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
                let mut bytes = message.bytes();
                // The headers that were added are not the record's.
                let is_own = |name: &[u8]| !name.starts_with(b"strait-");
                let add = |name: &[u8], value: Option<&[u8]>| {
                    bytes += if is_own(name) { name.len() + value.map_or(0, <[u8]>::len) } else { 0 };
                };
                // Headers that cannot be read count nothing.
                message.headers(add).unwrap_or_default();
                sizes.insert((first.partition, message.offset()), bytes);
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
