//! Compares what the source has at an offset with the record that was refused there: the source may
//! have lost that one since, and given its offset to another.

use std::collections::BTreeMap;

use openssl::sha::Sha256;
use strait_core::PartitionKey;
use strait_core::books::{BookKey, KeptAt};
use strait_core::progress::quarantine_topic;
use strait_flow::ports::{Class, PortError};

use super::places::{Next, Places};
use super::show::{is_of, split};
use crate::error::own;
use crate::ffi::ConsumedMessage;

/// A digest of a record's key and value.
pub(super) type Digest = [u8; 32];

/// The digests of the refused records that are read next, as quarantine keeps them.
#[derive(Default)]
pub(super) struct KeptDigests {
    /// `None` where quarantine does not have the record any more.
    of: BTreeMap<BookKey, Option<Digest>>,
    /// Quarantine cannot be read, so that nothing is compared.
    is_off: bool,
}

impl KeptDigests {
    /// Reads those of these records that are not known yet, and forgets all others. The keys
    /// ascend.
    pub fn read(
        &mut self,
        places: &mut Places,
        link: &str,
        keys: &[BookKey],
        place_of: &dyn Fn(&BookKey) -> Option<KeptAt>,
    ) {
        self.of.retain(|key, _| keys.binary_search(key).is_ok());
        let unknown = keys.iter().filter(|key| !self.of.contains_key(*key));
        let mut wanted: Vec<(KeptAt, &BookKey)> = unknown.filter_map(|key| Some((place_of(key)?, key))).collect();
        wanted.sort_by_key(|(place, _)| (place.partition, place.offset));
        let topic = quarantine_topic(link);
        for of_partition in wanted.chunk_by(|(one, _), (other, _)| one.partition == other.partition) {
            if self.is_off {
                return;
            }
            if let Err(error) = self.read_partition(places, &topic, of_partition) {
                // A replay needs no right to read quarantine.
                tracing::warn!(link, %error, "the records to replay are not compared with those in quarantine");
                self.is_off = true;
            }
        }
    }

    fn read_partition(
        &mut self,
        places: &mut Places,
        topic: &str,
        wanted: &[(KeptAt, &BookKey)],
    ) -> Result<(), PortError> {
        let Some((first, _)) = wanted.first() else { return Ok(()) };
        let mut offsets: Vec<i64> = wanted.iter().map(|(place, _)| place.offset.0).collect();
        offsets.dedup();
        self.of.extend(wanted.iter().map(|(_, key)| ((*key).clone(), None)));
        places.read(topic, first.partition, &offsets, |message| {
            let record = message.to_record().map_err(|error| own(Class::Stop, topic, error.to_string()))?;
            let kept = split(record);
            let at = message.offset();
            // A topic that was created again has other records there.
            let here = wanted.iter().filter(|(place, key)| place.offset.0 == at && is_of(&kept, key));
            for (_, key) in here {
                let digest = digest(kept.record.key.as_deref(), kept.record.value.as_deref());
                self.of.insert((*key).clone(), Some(digest));
            }
            Ok(Next::More)
        })?;
        Ok(())
    }

    /// Returns the known digests of a source partition, by offset.
    pub fn of_partition(&self, partition: &PartitionKey) -> BTreeMap<i64, Digest> {
        let here = self.of.iter().filter(|(key, _)| key.partition == *partition);
        here.filter_map(|(key, digest)| Some((key.offset.0, (*digest)?))).collect()
    }
}

/// Returns whether the source has another record than the one that was refused.
pub(super) fn is_other(kept: &BTreeMap<i64, Digest>, message: &ConsumedMessage<'_>) -> bool {
    kept.get(&message.offset()).is_some_and(|kept| *kept != digest(message.key(), message.value()))
}

fn digest(key: Option<&[u8]>, value: Option<&[u8]>) -> Digest {
    let mut hash = Sha256::new();
    for part in [key, value] {
        // Null is not empty, and no key can pass for the beginning of a value.
        hash.update(&part.map_or(u64::MAX, |bytes| bytes.len() as u64).to_be_bytes());
        hash.update(part.unwrap_or_default());
    }
    hash.finish()
}
