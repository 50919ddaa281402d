//! Which records of a judged batch cannot be sent as they are.

use std::collections::BTreeSet;
use std::sync::Arc;

use strait_core::{Disposition, OutRecord, Processed, Reject, Route};

use crate::caution::Caution;
use crate::partitions::{OutCopy, PartitionWindow};
use crate::ports::{Target, TargetTopic, Token};
use crate::spec::{OnRefused, OnTimestampZero, Policies};
use crate::target_topics::TargetTopics;

/// A record that cannot be sent as it is.
#[derive(Debug)]
pub(crate) struct Refusal {
    /// Index into the batch.
    pub index: usize,
    /// Name of the plugin that refused it, or `target` or `strait`.
    pub by: Arc<str>,
    /// Digest of the plugin's file, if it was a plugin.
    pub digest: Option<Arc<str>>,
    /// Stable code of the reason.
    pub code: Arc<str>,
    /// The plugin's rule, if one refused it.
    pub rule: Option<Arc<str>>,
    /// Detail for the operator.
    pub text: String,
    /// Policy says that the partition stops before it.
    pub stop: bool,
}

impl Refusal {
    fn new(index: usize, by: &str, code: &str, text: String, stop: bool) -> Self {
        Self { index, by: by.into(), digest: None, code: code.into(), rule: None, text, stop }
    }

    fn by_plugin(index: usize, reject: &Reject, stop: bool) -> Self {
        let Reject { plugin, digest, code, rule, text } = reject.clone();
        // The host has no file.
        let digest = Some(digest).filter(|digest| !digest.is_empty());
        Self { index, by: plugin, digest, code, rule, text, stop }
    }
}

/// The rules that a batch is checked against.
pub(crate) struct Checks<'a> {
    /// The link's policies.
    pub policies: &'a Policies,
    /// The caution of earlier attempts.
    pub caution: &'a Caution,
    /// The topics that the batch goes to.
    pub topics: &'a TargetTopics,
    /// Target topic of records without a topic of their own.
    pub batch_topic: TargetTopic,
    /// Tells how small a record becomes.
    pub target: &'a dyn Target,
    /// Milliseconds since the Unix epoch.
    pub now_ms: i64,
}

/// The records of a batch that cannot be sent as they are.
#[derive(Debug, Default)]
pub(crate) struct Refusals {
    /// Ascending by index.
    pub found: Vec<Refusal>,
    /// How many of them plugins rejected.
    pub rejected: u64,
    /// How many of them plugins send to a topic that does not exist and is not created.
    pub without_topic: u64,
    /// Indexes of records that are sent with the present time.
    pub stamped: Vec<usize>,
}

impl Checks<'_> {
    /// Returns the records that cannot be sent as they are.
    pub fn refusals(&self, window: &PartitionWindow, processed: &Processed) -> Refusals {
        let mut refusals = Refusals::default();
        let mut left_out = BTreeSet::new();
        self.find_rejected(processed, &mut left_out, &mut refusals);
        self.find_refused_before(window, processed, &mut left_out, &mut refusals);
        self.find_too_large(processed, &mut left_out, &mut refusals);
        self.find_bad_timestamps(processed, &left_out, &mut refusals);
        refusals.found.sort_by_key(|refusal| refusal.index);
        refusals
    }

    fn stops(&self) -> bool {
        self.policies.on_refused == OnRefused::Stop
    }

    fn find_rejected(&self, processed: &Processed, left_out: &mut BTreeSet<usize>, refusals: &mut Refusals) {
        for (index, disposition) in &processed.dispositions {
            let refusal = match disposition {
                Disposition::Drop => {
                    left_out.insert(*index);
                    continue;
                }
                Disposition::Reject(reject) => {
                    refusals.rejected += 1;
                    Refusal::by_plugin(*index, reject, self.stops())
                }
                Disposition::Halt(reject) => Refusal::by_plugin(*index, reject, true),
                Disposition::Replace(copies)
                    if !copies.iter().all(|copy| self.topics.has_topic_of(copy, &processed.target_topic)) =>
                {
                    refusals.without_topic += 1;
                    let text = "plugins send it to a topic that does not exist and is not created, as new_topics_max \
                                topics were created like that; create it by hand, or raise new_topics_max";
                    Refusal::new(*index, "strait", "no-such-topic", text.to_owned(), self.stops())
                }
                Disposition::Replace(copies) => {
                    let missing = copies.iter().find_map(|copy| self.missing_partition(copy));
                    let Some(text) = missing else { continue };
                    Refusal::new(*index, "strait", "no-such-partition", text, self.stops())
                }
            };
            left_out.insert(*index);
            refusals.found.push(refusal);
        }
    }

    fn missing_partition(&self, copy: &OutRecord) -> Option<String> {
        let Route::Partition(partition) = copy.route else {
            return None;
        };
        let topic = self.topics.topic_of(copy, &self.batch_topic);
        let exists = u32::try_from(partition).is_ok_and(|p| p < topic.partitions);
        let text = || format!("partition {partition} does not exist, the topic has {}", topic.partitions);
        (!exists).then(text)
    }

    /// Finds records that the target refused in an earlier attempt.
    fn find_refused_before(
        &self,
        window: &PartitionWindow,
        processed: &Processed,
        left_out: &mut BTreeSet<usize>,
        refusals: &mut Refusals,
    ) {
        for (index, reason) in self.caution.refused_in(window.key(), &processed.batch) {
            if left_out.insert(index) {
                refusals.found.push(Refusal::new(index, "target", "refused", reason, self.stops()));
            }
        }
    }

    /// Finds records that are larger than their topic takes even after compression. One that may
    /// fit is sent, in a request of its own.
    fn find_too_large(&self, processed: &Processed, left_out: &mut BTreeSet<usize>, refusals: &mut Refusals) {
        let whole = processed.batch.data_bytes() > self.batch_topic.batch_bytes_max();
        let mut dispositions = processed.dispositions.iter().peekable();
        for (index, record) in processed.batch.iter().enumerate() {
            if !whole && dispositions.peek().is_none() {
                return;
            }
            let disposition = dispositions.next_if(|(at, _)| *at == index).map(|(_, disposition)| disposition);
            if left_out.contains(&index) {
                continue;
            }
            let too_large =
                |edit: Option<&OutRecord>| self.too_large(&OutCopy { record, edit, batch_topic: self.batch_topic });
            let text = match disposition {
                Some(Disposition::Replace(copies)) => copies.iter().find_map(|copy| too_large(Some(copy))),
                _ => too_large(None),
            };
            if let Some(text) = text {
                left_out.insert(index);
                refusals.found.push(Refusal::new(index, "strait", "too-large", text, self.stops()));
            }
        }
    }

    fn too_large(&self, copy: &OutCopy<'_>) -> Option<String> {
        let topic = copy.edit.map_or(self.batch_topic, |edit| self.topics.topic_of(edit, &self.batch_topic));
        let outgoing = copy.outgoing(&topic, 0, Token { stream: 0, sequence: 0 });
        let bytes = outgoing.counted_bytes();
        if bytes <= topic.batch_bytes_max() {
            return None;
        }
        let (least, most) = (self.target.least_batch_bytes(&outgoing), topic.max_message_bytes);
        let name = || self.topics.identity_of(topic.handle).map_or("its topic", |(name, _)| &**name);
        let text = || {
            format!(
                "it has {bytes} bytes, and at least {least} in a compressed batch; {} takes {most} (max.message.bytes)",
                name()
            )
        };
        (least > most).then(text)
    }

    /// Finds records whose timestamp the target does not take. It would refuse the whole batch
    /// around such a record, so the record is found before it is produced.
    fn find_bad_timestamps(&self, processed: &Processed, left_out: &BTreeSet<usize>, refusals: &mut Refusals) {
        let bad = |timestamp_ms: i64, topic: &TargetTopic| {
            (!topic.accepts(timestamp_ms, self.now_ms)).then_some(timestamp_ms)
        };
        let mut dispositions = processed.dispositions.iter().peekable();
        for (index, record) in processed.batch.iter().enumerate() {
            let disposition = dispositions.next_if(|(at, _)| *at == index).map(|(_, disposition)| disposition);
            if left_out.contains(&index) {
                continue;
            }
            // The copies that are sent count: a plugin may have given them another time or topic.
            let bad = match disposition {
                Some(Disposition::Replace(copies)) => copies.iter().find_map(|copy| {
                    let topic = self.topics.topic_of(copy, &self.batch_topic);
                    bad(copy.timestamp_ms.unwrap_or(record.timestamp_ms), &topic)
                }),
                _ => bad(record.timestamp_ms, &self.batch_topic),
            };
            let Some(timestamp_ms) = bad else { continue };
            if timestamp_ms > 0 {
                let text = format!(
                    "timestamp {timestamp_ms} ms is further from the target's clock than message.timestamp.after.max.ms or before.max.ms of the topic allow"
                );
                refusals.found.push(Refusal::new(index, "strait", "timestamp", text, self.stops()));
                continue;
            }
            let stop = match self.policies.on_timestamp_zero {
                OnTimestampZero::Stop => true,
                OnTimestampZero::Quarantine => false,
                OnTimestampZero::Now => {
                    refusals.stamped.push(index);
                    continue;
                }
            };
            let text = format!("timestamp {timestamp_ms} cannot be sent (see on_timestamp_zero)");
            refusals.found.push(Refusal::new(index, "strait", "timestamp-zero", text, stop));
        }
    }
}

/// Sends nothing in place of a record. Unlike a drop, this does not count as dropped by a plugin.
pub(crate) fn leave_out(processed: &mut Processed, index: usize) {
    set_disposition(processed, index, Disposition::Replace(Vec::new()));
}

/// Replaces a record's timestamp by the present time. Copies that have a usable time of their own
/// keep it.
pub(crate) fn stamp(processed: &mut Processed, index: usize, now_ms: i64) {
    let at = processed.dispositions.binary_search_by_key(&index, |(i, _)| *i);
    if let Some((_, Disposition::Replace(copies))) = at.ok().and_then(|at| processed.dispositions.get_mut(at)) {
        for copy in copies.iter_mut().filter(|copy| copy.timestamp_ms.is_none_or(|own| own <= 0)) {
            copy.timestamp_ms = Some(now_ms);
        }
        return;
    }
    let stamped = OutRecord { timestamp_ms: Some(now_ms), ..OutRecord::default() };
    set_disposition(processed, index, Disposition::Replace(vec![stamped]));
}

fn set_disposition(processed: &mut Processed, index: usize, disposition: Disposition) {
    match processed.dispositions.binary_search_by_key(&index, |(i, _)| *i) {
        Ok(at) => {
            if let Some(entry) = processed.dispositions.get_mut(at) {
                entry.1 = disposition;
            }
        }
        Err(at) => processed.dispositions.insert(at, (index, disposition)),
    }
}
