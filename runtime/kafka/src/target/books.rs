//! The books of a link: whether the target takes their entries, asked before a transaction depends
//! on it.
//!
//! Inside of a transaction it would be too late: an entry that a topic refuses, or for which a
//! permission is missing, breaks the whole transaction.

use std::collections::BTreeMap;
use std::time::Duration;

use strait_core::SourceOffset;
use strait_core::books::{BOOKS_PARTITION, ReadAgain};
use strait_flow::ports::{BooksAnswer, Class, ControlRecord, PortError, Target as _};

use super::KafkaTarget;
use crate::error::own;
use crate::ffi::{Client, Code, FfiError, TopicDescription};
use crate::queries::{describe, is_denied, is_gone};
use crate::topics::target::may_write;

/// Kafka's default of `max.message.bytes`.
const BATCH_BYTES_MAX: usize = 1_048_588;

/// Asks whether the partition of the books can be written. Blocks for a bounded time.
pub(super) fn look(client: &Client, topic: &str, timeout: Duration) -> Result<BooksAnswer, FfiError> {
    let described = describe(client, &[topic], true, timeout)?.into_iter().next();
    let described = match described {
        Some(described) if !is_gone(described.code) => described,
        _ => return Ok(BooksAnswer::Closed(missing(topic))),
    };
    if is_denied(described.code) || (described.code == Code::OK && !may_write(&described)) {
        let reason = format!("the principal may not write topic {topic} of the target: grant Write and Describe on it");
        return Ok(BooksAnswer::Closed(reason));
    }
    // An error of this topic stops the partitions that need the books, and not the lane.
    if described.code != Code::OK {
        let text = &described.text;
        return Ok(BooksAnswer::Closed(format!("the target cannot describe topic {topic} ({text}): repair it")));
    }
    // The settings that cannot be read are taken for Kafka's defaults, whatever the reason.
    let configs = client.topic_configs(topic, timeout).unwrap_or_default();
    Ok(judge(&described, &configs))
}

/// Judges the topic of the books as it is described. Kafka's defaults stand for settings that are
/// not reported.
fn judge(described: &TopicDescription, configs: &BTreeMap<String, String>) -> BooksAnswer {
    let topic = &described.topic;
    let number = |name: &str| configs.get(name).and_then(|text| text.parse::<usize>().ok());
    let Some(partition) = described.partitions.iter().find(|partition| partition.partition == BOOKS_PARTITION) else {
        let found = described.partitions.len();
        return BooksAnswer::Closed(format!(
            "topic {topic} of the target has {found} partitions, and the books are partition {BOOKS_PARTITION}: add \
             partitions to it"
        ));
    };
    let (in_sync, needed) = (partition.in_sync as usize, number("min.insync.replicas").unwrap_or(1));
    if partition.leader.is_none() || in_sync < needed {
        return BooksAnswer::Closed(format!(
            "partition {BOOKS_PARTITION} of topic {topic} of the target has no leader, or {in_sync} replicas in sync \
             where min.insync.replicas is {needed}: repair it"
        ));
    }
    BooksAnswer::Open { batch_bytes_max: number("max.message.bytes").unwrap_or(BATCH_BYTES_MAX) }
}

/// Returns the record of a mark, for a position that goes back from `was`.
///
/// # Errors
/// [`PortError`] if the books cannot be written: the position must stay then.
pub(crate) async fn mark_record(
    target: &mut KafkaTarget,
    mark: &ReadAgain,
    was: SourceOffset,
) -> Result<ControlRecord, PortError> {
    match target.open_books().await? {
        BooksAnswer::Open { .. } => Ok(ControlRecord::of_read_again(mark, was)),
        BooksAnswer::Closed(reason) => {
            let context = format!("{} is to be read again from {}", mark.partition, mark.read_again_from);
            Err(own(Class::Stop, context, format!("the books of the link cannot be told: {reason}")))
        }
    }
}

fn missing(topic: &str) -> String {
    format!(
        "topic {topic} does not exist on the target, or is hidden from the principal: create it (strait check prints \
         the command; with manage_topics the link creates it when it starts), or grant Describe and Write on it"
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::ffi::PartitionDescription;

    #[test]
    fn books_are_open_with_their_partition_a_leader_and_enough_replicas() {
        let partition = |partition, leader, in_sync| PartitionDescription { partition, leader, in_sync, replicas: 3 };
        let judged = |partitions: Vec<PartitionDescription>, configs: &[(&str, &str)]| {
            let described = TopicDescription { partitions, ..TopicDescription::answered("books", Code::OK) };
            let configs = configs.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
            judge(&described, &configs)
        };
        let (zero, good) = (partition(0, Some(1), 3), partition(1, Some(2), 2));
        let both = || vec![zero.clone(), good.clone()];
        let open = judged(both(), &[("max.message.bytes", "2000"), ("min.insync.replicas", "2")]);
        assert_eq!(open, BooksAnswer::Open { batch_bytes_max: 2000 });
        assert_eq!(judged(both(), &[]), BooksAnswer::Open { batch_bytes_max: BATCH_BYTES_MAX });
        for (partitions, configs, says) in [
            (vec![zero.clone()], &[][..], "has 1 partitions"),
            (vec![zero.clone(), partition(1, None, 0)], &[][..], "no leader"),
            (both(), &[("min.insync.replicas", "3")][..], "2 replicas in sync where min.insync.replicas is 3"),
        ] {
            let BooksAnswer::Closed(reason) = judged(partitions, configs) else { panic!("open: {says}") };
            assert!(reason.contains(says), "{reason}");
        }
    }
}
