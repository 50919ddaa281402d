//! Requests about partitions and topics that any client can make. All block for a bounded time.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use strait_core::TopicId;

use crate::ffi::{Client, Code, FfiError, OffsetSpec, Place, TopicDescription};

/// Most names in one DescribeTopics request. A single request for thousands of topics would exceed
/// sizes and deadlines.
const TOPICS_PER_REQUEST: usize = 500;

/// Returns whether an error means that a topic or partition does not exist.
pub(crate) fn is_gone(code: Code) -> bool {
    matches!(code, Code::UNKNOWN_PARTITION | Code::UNKNOWN_TOPIC | Code::UNKNOWN_TOPIC_OR_PART | Code::UNKNOWN_TOPIC_ID)
}

/// Returns whether an error means that the cluster lacks the request: old brokers and the mock
/// cluster do.
pub(crate) fn is_unsupported(code: Code) -> bool {
    matches!(code, Code::UNSUPPORTED_FEATURE | Code::UNSUPPORTED_VERSION)
}

/// Offsets by topic and partition.
pub(crate) type Offsets = BTreeMap<(String, i32), i64>;

/// Lists one kind of offset. Partitions that do not exist are omitted; -1 stands for no offset.
pub(crate) fn list(
    client: &Client,
    partitions: &[Place],
    spec: OffsetSpec,
    committed: bool,
    timeout: Duration,
) -> Result<Offsets, FfiError> {
    if partitions.is_empty() {
        return Ok(Offsets::new());
    }
    match client.list_offsets(partitions, spec, committed, timeout) {
        Ok(listed) => collect(listed),
        Err(error) if is_unsupported(error.code) => by_watermarks(client, partitions, spec, timeout),
        // A topic that is gone fails the whole request, as the leaders are looked up first: repeat
        // it without such topics.
        Err(error) => {
            let present = existing(client, partitions, timeout)?;
            if present.len() == partitions.len() {
                return Err(error);
            }
            if present.is_empty() {
                return Ok(Offsets::new());
            }
            collect(client.list_offsets(&present, spec, committed, timeout)?)
        }
    }
}

fn collect(listed: Vec<crate::ffi::Listed>) -> Result<Offsets, FfiError> {
    let mut offsets = Offsets::new();
    for partition in listed {
        if partition.code == Code::OK {
            offsets.insert((partition.topic, partition.partition), partition.offset);
        } else if !is_gone(partition.code) {
            let text = format!("{}-{}: {}", partition.topic, partition.partition, partition.code.text());
            return Err(FfiError::new(partition.code, text));
        }
    }
    Ok(offsets)
}

/// Lists offsets on clusters without the ListOffsets admin request. They have no last stable offset
/// either, so the high watermark replaces it: that is right where transactions do not matter, as on
/// the mock cluster.
fn by_watermarks(
    client: &Client,
    partitions: &[Place],
    spec: OffsetSpec,
    timeout: Duration,
) -> Result<Offsets, FfiError> {
    let mut offsets = Offsets::new();
    for place in partitions {
        match client.watermarks(&place.topic, place.partition, timeout) {
            Ok((low, high)) => {
                let offset = if spec == OffsetSpec::Latest { high } else { low };
                offsets.insert((place.topic.clone(), place.partition), offset);
            }
            Err(error) if is_gone(error.code) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(offsets)
}

fn existing(client: &Client, partitions: &[Place], timeout: Duration) -> Result<Vec<Place>, FfiError> {
    let names: BTreeSet<&str> = partitions.iter().map(|place| place.topic.as_str()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let counts: BTreeMap<String, usize> = describe(client, &names, false, timeout)?
        .into_iter()
        .filter(|topic| topic.code == Code::OK)
        .map(|topic| (topic.topic, topic.partitions.len()))
        .collect();
    let exists = |place: &&Place| {
        counts.get(&place.topic).is_some_and(|count| usize::try_from(place.partition).is_ok_and(|p| p < *count))
    };
    Ok(partitions.iter().filter(exists).cloned().collect())
}

/// Describes topics in requests of bounded size. Clusters without the request answer from metadata,
/// without ids.
pub(crate) fn describe(
    client: &Client,
    topics: &[&str],
    authorized: bool,
    timeout: Duration,
) -> Result<Vec<TopicDescription>, FfiError> {
    let mut described = Vec::with_capacity(topics.len());
    for chunk in topics.chunks(TOPICS_PER_REQUEST) {
        match client.describe_topics(chunk, authorized, timeout) {
            Ok(answer) => described.extend(answer),
            Err(error) if is_unsupported(error.code) => return by_metadata(client, topics, timeout),
            Err(error) => return Err(error),
        }
    }
    Ok(described)
}

fn by_metadata(client: &Client, topics: &[&str], timeout: Duration) -> Result<Vec<TopicDescription>, FfiError> {
    let wanted: BTreeSet<&str> = topics.iter().copied().collect();
    let all = client.metadata(None, timeout)?;
    let described = all.into_iter().filter(|(topic, ..)| wanted.contains(topic.as_str()));
    Ok(described
        .map(|(topic, count, code)| TopicDescription {
            topic,
            id: TopicId::UNKNOWN.0,
            partitions: (0..count)
                .map(|partition| crate::ffi::PartitionDescription { partition, leader: Some(0), in_sync: 1 })
                .collect(),
            operations: Vec::new(),
            code,
            text: code.text(),
        })
        .collect())
}

/// Describes one topic; `None` where it does not exist.
pub(crate) fn describe_one(
    client: &Client,
    topic: &str,
    timeout: Duration,
) -> Result<Option<TopicDescription>, FfiError> {
    let Some(described) = describe(client, &[topic], false, timeout)?.into_iter().next() else {
        return Ok(None);
    };
    if is_gone(described.code) {
        return Ok(None);
    }
    if described.code != Code::OK {
        return Err(FfiError::new(described.code, format!("topic {topic}: {}", described.text)));
    }
    Ok(Some(described))
}
