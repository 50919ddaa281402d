//! Quarantine: refused records are acknowledged there before anything that passes them begins.

use std::time::Duration;

use strait_core::{Event, PartitionKey, Processed};

use super::Lane;
use crate::partitions::Stream;
use crate::ports::{Class, PortError, Quarantine, QuarantineRecord};
use crate::refusals::Refusal;

/// A quarantine that fails after this long does not answer. It holds up the whole lane each time.
const SILENT: Duration = Duration::from_secs(1);

/// How long a lane waits for its quarantine before it begins.
const READY_MAX: Duration = Duration::from_secs(5);

/// Connects to quarantine ahead of the first refused record. A failure is logged, not returned.
pub(super) async fn prepare(quarantine: &mut dyn Quarantine, link: &str) {
    let error = match tokio::time::timeout(READY_MAX, quarantine.prepare()).await {
        Ok(Ok(())) => return,
        Ok(Err(error)) => error.to_string(),
        Err(_) => "it does not answer".to_owned(),
    };
    tracing::warn!(link, error, "quarantine is not ready: a record that is refused would stop its partition");
}

impl Lane<'_> {
    /// Writes refused records to quarantine; after a failure one at a time, so that a retry does
    /// not write the earlier ones again. Returns the first that could not be written.
    pub(super) async fn write_to_quarantine<'r>(
        &mut self,
        stream: Stream,
        processed: &Processed,
        refusals: &[&'r Refusal],
        now: Duration,
    ) -> Result<(), (&'r Refusal, PortError)> {
        let key = self.partitions.at(stream).key().clone();
        let has_failed = self.caution.is_stopped(&key) || self.caution.is_quarantine_silent();
        let mut step = if has_failed { 1 } else { refusals.len() };
        let mut left = refusals;
        let mut now = now;
        while let Some(first) = left.first() {
            if let Some(error) = self.caution.quarantine_error(now) {
                return Err((first, error.clone()));
            }
            let (these, later) = left.split_at(step.min(left.len()));
            let began = self.deps.clock.now();
            let result = self.write_records(&key, processed, these).await;
            now = self.deps.clock.now();
            match result {
                Ok(()) => {
                    self.caution.quarantine_answers();
                    left = later;
                }
                Err(_) if step > 1 => step = 1,
                Err(error) => {
                    if now.saturating_sub(began) >= SILENT {
                        self.caution.quarantine_is_silent(&error, now);
                    }
                    return Err((first, error));
                }
            }
        }
        Ok(())
    }

    async fn write_records(
        &mut self,
        key: &PartitionKey,
        processed: &Processed,
        refusals: &[&Refusal],
    ) -> Result<(), PortError> {
        let mut records = Vec::with_capacity(refusals.len());
        for refusal in refusals {
            let Some(record) = processed.batch.get(refusal.index) else {
                let context = format!("writing a record of {key} to quarantine");
                let reason = "it is not in its batch: please report this as a bug";
                return Err(PortError::new(Class::Retry, context, reason));
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
        self.quarantine.write(&records).await?;
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
        Ok(())
    }
}
