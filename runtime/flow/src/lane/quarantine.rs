//! Quarantine: refused records are acknowledged there before anything that passes them begins.

use std::time::Duration;

use strait_core::books::KeptAt;
use strait_core::{Event, PartitionKey, Processed, SourceOffset};

use super::Lane;
use crate::error::LaneError;
use crate::partitions::Stream;
use crate::ports::{Class, ControlRecord, PortError, Quarantine, QuarantineRecord};
use crate::refusals::Refusal;

/// A quarantine that fails after this long does not answer. It holds up the whole lane each time.
const SILENT: Duration = Duration::from_secs(1);

/// How long a lane waits for its quarantine before it begins.
const READY_MAX: Duration = Duration::from_secs(5);

/// A place that needs as many bytes in an entry as any other.
const LONGEST_PLACE: KeptAt = KeptAt { partition: i32::MAX, offset: SourceOffset(i64::MAX) };

/// Connects to quarantine ahead of the first refused record. A failure is logged, not returned.
pub(super) async fn prepare(quarantine: &mut dyn Quarantine, link: &str) {
    let error = match tokio::time::timeout(READY_MAX, quarantine.prepare()).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it does not answer".to_owned(),
    };
    tracing::warn!(link, error, "quarantine is not ready: a record that is refused would stop its partition");
}

/// The refused records of a batch that are in quarantine.
#[derive(Debug, Default)]
pub(super) struct Kept<'r> {
    /// Their entries for the books, in order.
    pub entries: Vec<(SourceOffset, ControlRecord)>,
    /// The first that cannot be passed over, and why.
    pub failed: Option<(&'r Refusal, String)>,
}

impl Lane<'_> {
    /// Writes refused records to quarantine, as far as the books can have their entries.
    pub(super) async fn keep<'r>(
        &mut self,
        stream: Stream,
        processed: &Processed,
        refusals: &[&'r Refusal],
        now: Duration,
    ) -> Result<Kept<'r>, LaneError> {
        let mut kept = Kept::default();
        let Some(first) = refusals.first() else { return Ok(kept) };
        let entry_bytes_max = match self.open_books(now).await? {
            Ok(bytes) => bytes,
            Err(reason) => {
                kept.failed = Some((first, format!("the books of the link cannot be written: {reason}")));
                return Ok(kept);
            }
        };
        let key = self.partitions.at(stream).key().clone();
        let offset_of = |refusal: &Refusal| processed.batch.get(refusal.index).map(|record| record.offset);
        let entry = |lane: &Self, refusal: &Refusal, place: KeptAt| {
            let offset = offset_of(refusal)?;
            Some((offset, lane.entry((&key, offset), processed, refusal, place)))
        };
        let fits = |refusal: &&&Refusal| {
            entry(self, refusal, LONGEST_PLACE).is_none_or(|(_, entry)| entry.bytes() <= entry_bytes_max)
        };
        let fitting = refusals.iter().take_while(fits).count();
        let (refusals, others) = refusals.split_at_checked(fitting).unwrap_or((refusals, &[]));
        kept.failed = others.first().map(|first| {
            let reason = format!(
                "its entry has more than the {entry_bytes_max} bytes that the books take: raise max.message.bytes of \
                 their topic on the target"
            );
            (*first, reason)
        });
        let now = self.deps.clock.now();
        let (places, failed) = self.write_to_quarantine(&key, processed, refusals, now).await;
        kept.failed = failed.map(|(first, error)| (first, error.to_string())).or(kept.failed);
        let written = refusals.iter().zip(places);
        kept.entries = written.filter_map(|(refusal, place)| entry(self, refusal, place)).collect();
        Ok(kept)
    }

    /// Writes refused records to quarantine; after a failure one at a time, so that a retry does
    /// not write the earlier ones again. Returns where they are, and the first that could not be
    /// written.
    async fn write_to_quarantine<'r>(
        &mut self,
        key: &PartitionKey,
        processed: &Processed,
        refusals: &[&'r Refusal],
        mut now: Duration,
    ) -> (Vec<KeptAt>, Option<(&'r Refusal, PortError)>) {
        let mut places = Vec::with_capacity(refusals.len());
        let has_failed = self.caution.is_stopped(key) || self.caution.is_quarantine_silent();
        let mut step = if has_failed { 1 } else { refusals.len() };
        let mut left = refusals;
        while let Some(first) = left.first() {
            if let Some(error) = self.caution.quarantine_error(now) {
                return (places, Some((first, error.clone())));
            }
            let (these, later) = left.split_at(step.min(left.len()));
            let began = self.deps.clock.now();
            let result = self.write_records(key, processed, these).await;
            now = self.deps.clock.now();
            match result {
                Ok(written) => {
                    self.caution.quarantine_answers();
                    places.extend(written);
                    left = later;
                }
                Err(_) if step > 1 => step = 1,
                Err(error) => {
                    if now.saturating_sub(began) >= SILENT {
                        self.caution.quarantine_is_silent(&error, now);
                    }
                    return (places, Some((first, error)));
                }
            }
        }
        (places, None)
    }

    async fn write_records(
        &mut self,
        key: &PartitionKey,
        processed: &Processed,
        refusals: &[&Refusal],
    ) -> Result<Vec<KeptAt>, PortError> {
        let failed = |reason| {
            let context = format!("writing a record of {key} to quarantine");
            Err(PortError::new(Class::Retry, context, reason))
        };
        let mut records = Vec::with_capacity(refusals.len());
        for refusal in refusals {
            let Some(record) = processed.batch.get(refusal.index) else {
                return failed("it is not in its batch: please report this as a bug");
            };
            records.push(QuarantineRecord {
                partition: key,
                record,
                by: &refusal.by,
                digest: refusal.digest.as_deref(),
                code: &refusal.code,
                text: &refusal.text,
                generation: &processed.generation,
            });
        }
        let places = self.quarantine.write(&records).await?;
        if places.len() != records.len() {
            return failed("quarantine does not tell where it is: please report this as a bug");
        }
        let count = records.len() as u64;
        self.deps.status.add_of(&key.topic, |all, topic| {
            all.records_quarantined += count;
            topic.records_quarantined += count;
        });
        for record in &records {
            self.emit(Event::Quarantined {
                partition: key.clone(),
                offset: record.record.offset,
                reason: format!("{} ({}): {}", record.by, record.code, record.text),
            });
        }
        Ok(places)
    }
}
