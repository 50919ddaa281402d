//! The source topics of open entries as they are now.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use strait_core::TopicId;
use strait_core::books::{BookKey, FoundTopic};
use strait_flow::ports::PortError;

use crate::config::ClusterConfig;
use crate::error::blocking;
use crate::ffi::{Code, OffsetSpec, Place};
use crate::lazy_client::{connect, fail};
use crate::queries::{describe, is_gone, list_each};

/// The source as it is now.
#[derive(Clone, Debug, Default)]
pub struct SourceFacts {
    /// The topics that exist.
    pub topics: BTreeMap<Arc<str>, FoundTopic>,
    /// Id of the cluster, where it reports one.
    pub cluster_id: Option<Arc<str>>,
}

/// Describes the source topics of these entries, and asks for the starts of their logs.
///
/// # Errors
/// [`PortError`] if the source does not answer.
pub async fn source_facts(
    source: &ClusterConfig,
    link: &str,
    keys: Vec<BookKey>,
    timeout: Duration,
) -> Result<SourceFacts, PortError> {
    let context = format!("link {link}: source topics of quarantined records on cluster {}", source.name);
    let (source, label) = (source.clone(), format!("{link}/replay-source"));
    blocking(&context.clone(), move || {
        let client = connect(&source, &label).map_err(|error| fail(&context, &error, None))?;
        let failed = |error| fail(&context, &error, Some(&client));
        let names: BTreeSet<&str> = keys.iter().map(|key| &*key.partition.topic).collect();
        let names: Vec<&str> = names.into_iter().collect();
        let described = describe(&client, &names, false, timeout).map_err(failed)?;
        let mut topics = BTreeMap::new();
        for topic in described.into_iter().filter(|topic| !is_gone(topic.code)) {
            // One that the source does not describe now has no logs that answer.
            if topic.code != Code::OK {
                let found = FoundTopic { partitions: u32::MAX, ..FoundTopic::default() };
                topics.insert(Arc::<str>::from(topic.topic), found);
                continue;
            }
            let partitions = u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX);
            let found = FoundTopic { id: TopicId(topic.id), log_starts: BTreeMap::new(), partitions };
            topics.insert(Arc::<str>::from(topic.topic), found);
        }
        let is_described = |found: &FoundTopic| found.partitions != u32::MAX;
        let has = |topic: &str, number: i32| {
            topics.get(topic).is_some_and(|found| is_described(found) && number.unsigned_abs() < found.partitions)
        };
        let places: BTreeSet<(&str, i32)> = keys
            .iter()
            .map(|key| (&*key.partition.topic, key.partition.partition))
            .filter(|(topic, number)| has(topic, *number))
            .collect();
        let places: Vec<Place> = places.into_iter().map(|(topic, number)| Place::of(topic, number)).collect();
        let starts = list_each(&client, &places, OffsetSpec::Earliest, false, timeout).map_err(failed)?;
        for ((topic, partition), start) in starts {
            if let (Some(found), Ok(start)) = (topics.get_mut(&*topic), start) {
                found.log_starts.insert(partition, start);
            }
        }
        Ok(SourceFacts { topics, cluster_id: client.cluster_id(timeout).map(Into::into) })
    })
    .await?
}
