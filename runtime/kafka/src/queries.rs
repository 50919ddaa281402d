//! Requests about partitions and topics that any client can make. All block for a bounded time.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::{Duration, Instant};

use strait_core::TopicId;

use crate::ffi::{Client, Code, FfiError, OffsetSpec, Place, TopicDescription};

/// Most names in one DescribeTopics request. A single request for thousands of topics would exceed
/// sizes and deadlines.
const TOPICS_PER_REQUEST: usize = 500;
/// librdkafka's `RD_KAFKA_OFFSET_INVALID`: the partition's leader gave no answer.
const NO_OFFSET: i64 = -1001;

/// Returns whether an error means that a topic or partition does not exist.
pub(crate) fn is_gone(code: Code) -> bool {
    matches!(code, Code::UNKNOWN_PARTITION | Code::UNKNOWN_TOPIC | Code::UNKNOWN_TOPIC_OR_PART | Code::UNKNOWN_TOPIC_ID)
}

/// Returns whether an error means that the cluster lacks the request: old brokers and the mock
/// cluster do.
pub(crate) fn is_unsupported(code: Code) -> bool {
    matches!(code, Code::UNSUPPORTED_FEATURE | Code::UNSUPPORTED_VERSION)
}

/// Returns whether an error means that the principal lacks a permission on a topic or on the
/// cluster.
pub(crate) fn is_denied(code: Code) -> bool {
    matches!(code, Code::TOPIC_AUTHORIZATION_FAILED | Code::CLUSTER_AUTHORIZATION_FAILED)
}

/// Returns whether an error passes by itself: a cluster that has just begun makes the topic of its
/// coordinators with the first question, and each reads its part before it answers.
fn is_coordinator_starting(code: Code) -> bool {
    matches!(code, Code::COORDINATOR_LOAD_IN_PROGRESS | Code::COORDINATOR_NOT_AVAILABLE | Code::NOT_COORDINATOR)
}

/// Longest time to wait for a coordinator, and the pause between two questions.
const COORDINATOR: (Duration, Duration) = (Duration::from_secs(10), Duration::from_millis(250));

/// Asks a coordinator, again while it starts. Blocks for the time of the questions and some seconds
/// at most.
pub(crate) fn ask_coordinator<T>(mut question: impl FnMut() -> Result<T, FfiError>) -> Result<T, FfiError> {
    let began = Instant::now();
    loop {
        match question() {
            Err(error) if is_coordinator_starting(error.code) && began.elapsed() < COORDINATOR.0 => {
                std::thread::sleep(COORDINATOR.1);
            }
            answer => return answer,
        }
    }
}

/// Offsets by topic and partition.
pub(crate) type Offsets = BTreeMap<(String, i32), i64>;

/// The first offset and the end, by topic and partition.
pub(crate) type Spans = BTreeMap<(String, i32), (i64, i64)>;

/// The answer for each partition that exists. One that has no leader or may not be read has an
/// error of its own and hides no other.
pub(crate) type OffsetAnswers = BTreeMap<(String, i32), Result<i64, FfiError>>;

/// Lists one kind of offset. Partitions that do not exist are omitted; -1 stands for no offset. The
/// error of one partition is the error of the call.
pub(crate) fn list(
    client: &Client,
    partitions: &[Place],
    spec: OffsetSpec,
    committed: bool,
    timeout: Duration,
) -> Result<Offsets, FfiError> {
    let answers = list_each(client, partitions, spec, committed, timeout)?;
    answers.into_iter().map(|(place, answer)| Ok((place, answer?))).collect()
}

/// Lists the start of each partition and the end of what is committed there. One whose end is not
/// known any more has nothing to read.
pub(crate) fn spans(client: &Client, partitions: &[Place], timeout: Duration) -> Result<Spans, FfiError> {
    let starts = list(client, partitions, OffsetSpec::Earliest, true, timeout)?;
    let ends = list(client, partitions, OffsetSpec::Latest, true, timeout)?;
    let span = |(place, start): ((String, i32), i64)| {
        let end = ends.get(&place).copied().unwrap_or(start);
        (place, (start, end))
    };
    Ok(starts.into_iter().map(span).collect())
}

/// Lists one kind of offset, of each partition by itself. Partitions that do not exist are omitted;
/// -1 stands for no offset.
pub(crate) fn list_each(
    client: &Client,
    partitions: &[Place],
    spec: OffsetSpec,
    committed: bool,
    timeout: Duration,
) -> Result<OffsetAnswers, FfiError> {
    if partitions.is_empty() {
        return Ok(OffsetAnswers::new());
    }
    let error = match client.list_offsets(partitions, spec, committed, timeout) {
        Ok(listed) => return ask_new_leaders(client, collect(listed), spec, committed, timeout),
        Err(error) if is_unsupported(error.code) => return by_watermarks(client, partitions, spec, timeout),
        Err(error) => error,
    };
    // The leaders are looked up first. Where none is found, or a topic is gone, the whole request
    // fails: set those partitions apart and repeat it with the others.
    let Ok((mut answers, present)) = set_apart(client, partitions, timeout) else { return Err(error) };
    // Where all are present by now, one was without a leader before, or the leaders are silent.
    if present.len() == partitions.len() && error.code == Code::TIMED_OUT {
        return Err(error);
    }
    if !present.is_empty() {
        let listed = collect(client.list_offsets(&present, spec, committed, timeout)?);
        answers.extend(ask_new_leaders(client, listed, spec, committed, timeout)?);
    }
    Ok(answers)
}

/// Returns whether an error means that the client's knowledge of a partition's leader is old.
fn is_stale(code: Code) -> bool {
    matches!(code, Code::NOT_LEADER | Code::FENCED_LEADER_EPOCH | Code::UNKNOWN_LEADER_EPOCH)
}

/// Returns the topics among these with a partition that its leader does not serve yet.
///
/// A cluster describes a new partition before its leader has taken it up. The first batches of a
/// producer that are sent in between may be refused while those after them are taken: librdkafka
/// then reports the first ones as written, at no offset. A partition without a leader, or whose
/// leader does not answer within `timeout`, does not count, because it may stay so.
pub(crate) fn not_served(client: &Client, partitions: &[Place], timeout: Duration) -> BTreeSet<String> {
    let Ok(answers) = list_each(client, partitions, OffsetSpec::Latest, false, timeout) else {
        return BTreeSet::new();
    };
    let is_served = |place: &&Place| match answers.get(&(place.topic.clone(), place.partition)) {
        None => false,
        Some(answer) => !answer.as_ref().is_err_and(|error| is_stale(error.code)),
    };
    partitions.iter().filter(|place| !is_served(place)).map(|place| place.topic.clone()).collect()
}

/// Looks up the leaders that the client knows wrongly, and asks them. librdkafka itself goes on
/// asking with an old leader epoch until its metadata expires, which takes minutes: a leader that
/// went and came back has a new one.
fn ask_new_leaders(
    client: &Client,
    mut answers: OffsetAnswers,
    spec: OffsetSpec,
    committed: bool,
    timeout: Duration,
) -> Result<OffsetAnswers, FfiError> {
    let stale = answers.iter().filter(|(_, answer)| answer.as_ref().is_err_and(|error| is_stale(error.code)));
    let stale: Vec<Place> = stale.map(|((topic, partition), _)| Place::of(topic, *partition)).collect();
    let topics: BTreeSet<&str> = stale.iter().map(|place| place.topic.as_str()).collect();
    let Some(first) = topics.first() else { return Ok(answers) };
    client.metadata((topics.len() == 1).then_some(*first), timeout)?;
    answers.extend(collect(client.list_offsets(&stale, spec, committed, timeout)?));
    Ok(answers)
}

/// Returns the answers of a request. A leader that did not answer leaves its partitions without an
/// error and without an offset.
fn collect(listed: Vec<crate::ffi::Listed>) -> OffsetAnswers {
    let mut answers = OffsetAnswers::new();
    for partition in listed {
        let code = match partition.code {
            Code::OK if partition.offset == NO_OFFSET => Code::TIMED_OUT,
            code => code,
        };
        if is_gone(code) {
            continue;
        }
        let answer = match code {
            Code::OK => Ok(partition.offset),
            code => Err(failed(&partition.topic, partition.partition, code)),
        };
        answers.insert((partition.topic, partition.partition), answer);
    }
    answers
}

fn failed(topic: &str, partition: i32, code: Code) -> FfiError {
    FfiError::new(code, format!("{topic}-{partition}: {}", code.text()))
}

/// Lists offsets on clusters without the ListOffsets admin request. They have no last stable offset
/// either, so the high watermark replaces it: that is right where transactions do not matter, as on
/// the mock cluster.
fn by_watermarks(
    client: &Client,
    partitions: &[Place],
    spec: OffsetSpec,
    timeout: Duration,
) -> Result<OffsetAnswers, FfiError> {
    let mut offsets = OffsetAnswers::new();
    for place in partitions {
        match client.watermarks(&place.topic, place.partition, timeout) {
            Ok((low, high)) => {
                let offset = if spec == OffsetSpec::Latest { high } else { low };
                offsets.insert((place.topic.clone(), place.partition), Ok(offset));
            }
            Err(error) if is_gone(error.code) => {}
            Err(error) if matches!(error.code, Code::LEADER_NOT_AVAILABLE | Code::TOPIC_AUTHORIZATION_FAILED) => {
                offsets.insert((place.topic.clone(), place.partition), Err(error));
            }
            Err(error) => return Err(error),
        }
    }
    Ok(offsets)
}

/// Returns the answers for partitions that cannot be asked, and the partitions that can.
fn set_apart(
    client: &Client,
    partitions: &[Place],
    timeout: Duration,
) -> Result<(OffsetAnswers, Vec<Place>), FfiError> {
    let names: BTreeSet<&str> = partitions.iter().map(|place| place.topic.as_str()).collect();
    let names: Vec<&str> = names.into_iter().collect();
    let described = describe(client, &names, false, timeout)?;
    let topics: BTreeMap<&str, &TopicDescription> =
        described.iter().map(|topic| (topic.topic.as_str(), topic)).collect();
    let (mut answers, mut present) = (OffsetAnswers::new(), Vec::new());
    for place in partitions {
        let Some(topic) = topics.get(place.topic.as_str()).filter(|topic| !is_gone(topic.code)) else { continue };
        let leader = topic.partitions.iter().find(|found| found.partition == place.partition).map(|found| found.leader);
        let code = match (topic.code, leader) {
            (Code::OK, None) => continue,
            (Code::OK, Some(Some(_))) => {
                present.push(place.clone());
                continue;
            }
            (Code::OK, Some(None)) => Code::LEADER_NOT_AVAILABLE,
            (code, _) => code,
        };
        let answer = Err(failed(&place.topic, place.partition, code));
        answers.insert((place.topic.clone(), place.partition), answer);
    }
    Ok((answers, present))
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
                .map(|partition| crate::ffi::PartitionDescription {
                    partition,
                    leader: Some(0),
                    in_sync: 1,
                    replicas: 0,
                })
                .collect(),
            operations: Vec::new(),
            code,
            text: code.text(),
        })
        .collect())
}

/// Returns the ids of those of these topics that exist. Unknown where the cluster does not tell it:
/// an error of one topic hides no other.
pub(crate) fn topic_ids(
    client: &Client,
    topics: &[Arc<str>],
    timeout: Duration,
) -> Result<BTreeMap<Arc<str>, TopicId>, FfiError> {
    let names: BTreeSet<&str> = topics.iter().map(|topic| &**topic).collect();
    let names: Vec<&str> = names.into_iter().collect();
    Ok(ids_of(describe(client, &names, false, timeout)?))
}

fn ids_of(described: Vec<TopicDescription>) -> BTreeMap<Arc<str>, TopicId> {
    let existing = described.into_iter().filter(|topic| !is_gone(topic.code));
    let id = |topic: &TopicDescription| if topic.code == Code::OK { TopicId(topic.id) } else { TopicId::UNKNOWN };
    existing.map(|topic| (topic.topic.as_str().into(), id(&topic))).collect()
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_topic_that_cannot_be_described_hides_no_other_and_is_not_gone() {
        let described = TopicDescription::answered;
        let failures = [
            ("denied", Code::TOPIC_AUTHORIZATION_FAILED),
            ("electing", Code::LEADER_NOT_AVAILABLE),
            ("broken", Code(-1)),
            ("gone", Code::UNKNOWN_TOPIC_OR_PART),
        ];
        let mut all: Vec<TopicDescription> = failures.map(|(topic, code)| described(topic, code)).to_vec();
        all.push(described("well", Code::OK));
        let known = TopicId([7; 16]);
        let wanted = [("broken", TopicId::UNKNOWN), ("denied", TopicId::UNKNOWN), ("electing", TopicId::UNKNOWN)];
        let wanted = wanted.into_iter().chain([("well", known)]).map(|(topic, id)| (Arc::from(topic), id));
        assert_eq!(ids_of(all), wanted.collect());
    }

    #[test]
    fn a_coordinator_that_starts_is_asked_again_and_no_other_error_is() {
        let error = |code| FfiError::new(code, "why");
        let mut answers = vec![
            Err(error(Code::COORDINATOR_NOT_AVAILABLE)),
            Err(error(Code::COORDINATOR_LOAD_IN_PROGRESS)),
            Err(error(Code::NOT_COORDINATOR)),
            Ok(7),
        ]
        .into_iter();
        assert_eq!(ask_coordinator(|| answers.next().unwrap()).unwrap(), 7);
        let mut asked = 0;
        let refused = ask_coordinator(|| {
            asked += 1;
            Err::<(), _>(error(Code::GROUP_AUTHORIZATION_FAILED))
        });
        assert_eq!((asked, refused.unwrap_err().code), (1, Code::GROUP_AUTHORIZATION_FAILED));
    }
}
