//! The offsets of consumer groups on both clusters of a link.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use async_trait::async_trait;
use strait_core::config::GroupSelector;
use strait_core::control::turn::REQUEST_MAX;
use strait_core::groups::{Committed, GroupOffset, Place, Write, Written};
use strait_flow::ports::{Class, GroupList, GroupOffsets, PortError};
use tokio::task::JoinHandle;

use crate::config::ClusterConfig;
use crate::error::{own, port_error};
use crate::ffi::{Client, Code, FfiError, Place as At};
use crate::lazy_client::LazyClient;

/// [`GroupOffsets`] on the clusters of a link.
pub struct KafkaGroupOffsets {
    source: LazyClient,
    target: LazyClient,
    selector: GroupSelector,
}

impl KafkaGroupOffsets {
    /// Connects on first use. `selector` says which groups count.
    #[must_use]
    pub fn new(source: &ClusterConfig, target: &ClusterConfig, link: &str, selector: GroupSelector) -> Self {
        let client = |cluster: &ClusterConfig| {
            let context = format!("link {link}: groups on cluster {}", cluster.name);
            LazyClient::new(cluster, format!("{link}/groups"), context)
        };
        Self { source: client(source), target: client(target), selector }
    }
}

#[async_trait]
impl GroupOffsets for KafkaGroupOffsets {
    fn selects(&self, group: &str) -> bool {
        self.selector.selects(group)
    }

    async fn list(&self) -> Result<GroupList, PortError> {
        let listed = self.source.ask(|client| client.consumer_groups(REQUEST_MAX)).await?;
        let names = listed.names.into_iter().filter(|name| self.selector.selects(name)).map(Into::into).collect();
        let missing = listed.error.map(|error| port_error(&*self.source.context, &error));
        Ok(GroupList { names, missing })
    }

    async fn at_source(&self, groups: &[Arc<str>]) -> Vec<Result<Committed, PortError>> {
        read(&self.source, groups).await
    }

    async fn at_target(&self, groups: &[Arc<str>]) -> Vec<Result<Committed, PortError>> {
        read(&self.target, groups).await
    }

    async fn write(&self, writes: &[(Arc<str>, Vec<Write>)], within: Duration) -> Vec<BTreeMap<Place, Written>> {
        // Looked at once more in the thread that sends: a process that was stopped in between sends
        // nothing.
        let until = Instant::now() + within;
        let begin = |(group, writes): &(Arc<str>, Vec<Write>)| {
            let (client, group, writes) = (self.target.clone(), Arc::clone(group), writes.clone());
            tokio::task::spawn_blocking(move || client.ask_here(|client| Ok(send(client, &group, &writes, until))))
        };
        let begun: Vec<_> = writes.iter().map(begin).collect();
        let mut answers = Vec::with_capacity(begun.len());
        for ((_, writes), begun) in writes.iter().zip(begun) {
            let answer = match begun.await {
                Ok(Ok(answer)) => answer,
                // There was no client to send anything.
                Ok(Err(error)) => all(writes, &Written::Unknown(error.to_string())),
                Err(error) => all(writes, &Written::Unknown(error.to_string())),
            };
            answers.push(answer);
        }
        answers
    }
}

/// Reads groups side by side.
async fn read(cluster: &LazyClient, groups: &[Arc<str>]) -> Vec<Result<Committed, PortError>> {
    let begin = |group: &Arc<str>| {
        let (client, group) = (cluster.clone(), Arc::clone(group));
        tokio::task::spawn_blocking(move || client.ask_here(|client| committed(client, &group)))
    };
    let begun: Vec<JoinHandle<Result<Committed, PortError>>> = groups.iter().map(begin).collect();
    let mut read = Vec::with_capacity(begun.len());
    for begun in begun {
        let lost = |error| own(Class::Retry, &*cluster.context, format!("the blocking call was lost: {error}"));
        read.push(begun.await.unwrap_or_else(|error| Err(lost(error))));
    }
    read
}

fn committed(client: &Client, group: &str) -> Result<Committed, FfiError> {
    let mut committed = Committed::new();
    for found in client.group_offsets(group, REQUEST_MAX)? {
        let listed = found.listed;
        if listed.code != Code::OK {
            let text = format!("group {group}, {}-{}: {}", listed.topic, listed.partition, listed.code.text());
            return Err(FfiError::new(listed.code, text));
        }
        // Without a committed offset.
        if listed.offset >= 0 {
            let offset = GroupOffset { offset: listed.offset, metadata: found.metadata.into() };
            committed.insert((listed.topic.into(), listed.partition), offset);
        }
    }
    Ok(committed)
}

fn send(client: &Client, group: &str, writes: &[Write], until: Instant) -> BTreeMap<Place, Written> {
    let left = until.saturating_duration_since(Instant::now());
    if left.is_zero() {
        return all(writes, &Written::Unknown("the announcement is too old".to_owned()));
    }
    let offsets: Vec<(At, &[u8])> = writes
        .iter()
        .map(|write| {
            let (topic, partition) = &write.place;
            (At { offset: write.offset.0, ..At::of(&**topic, *partition) }, &*write.metadata)
        })
        .collect();
    match client.set_group_offsets(group, &offsets, REQUEST_MAX.min(left)) {
        Ok(listed) => {
            listed.into_iter().map(|one| ((one.topic.as_str().into(), one.partition), written(one.code))).collect()
        }
        Err(error) => all(writes, &as_a_whole(&error)),
    }
}

fn all(writes: &[Write], answer: &Written) -> BTreeMap<Place, Written> {
    writes.iter().map(|write| (write.place.clone(), answer.clone())).collect()
}

fn written(code: Code) -> Written {
    match code {
        Code::OK => Written::Taken,
        Code::UNKNOWN_MEMBER_ID => Written::Active,
        Code::UNKNOWN_TOPIC_OR_PART => Written::NoPartition,
        Code::GROUP_ID_NOT_FOUND => Written::OtherKind,
        Code::OFFSET_METADATA_TOO_LARGE => Written::MetadataTooLarge,
        Code::TOPIC_AUTHORIZATION_FAILED | Code::GROUP_AUTHORIZATION_FAILED => {
            Written::Denied(port_error("", &FfiError::new(code, code.text())).reason)
        }
        code => Written::Unknown(code.text()),
    }
}

/// The answer to a request that failed as a whole: what brokers answer for the group counts, all
/// else leaves open whether it has arrived.
fn as_a_whole(error: &FfiError) -> Written {
    match written(error.code) {
        Written::Taken | Written::Unknown(_) => Written::Unknown(error.to_string()),
        other => other,
    }
}
