//! Reads the facts of a plan from both clusters of a link, and tries and carries out its actions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use strait_core::acl::Operation;
use strait_core::control::turn::REQUEST_MAX;
use strait_core::plan::{
    Acl, AclFacts, Action, Answer, Configs, Facts, Presence, Reading, SourceFacts, TopicFacts, Unread,
};
use strait_core::{Side, TopicId};
use strait_flow::ports::{Planner, PortError, SourceTopic};

use crate::config::ClusterConfig;
use crate::error::port_error;
use crate::ffi::{Client, Code, FfiError, TopicDescription};
use crate::lazy_client::LazyClient;
use crate::queries::{describe, is_denied, is_gone, is_unsupported};
use crate::topics::{Creation, grow};

/// The two ends of a link, to plan what the target takes over.
pub struct KafkaPlanner {
    source: LazyClient,
    target: LazyClient,
    timeout: Duration,
}

impl KafkaPlanner {
    /// Connects on first use. One request takes `timeout` at most.
    #[must_use]
    pub fn new(source: &ClusterConfig, target: &ClusterConfig, link: &str, timeout: Duration) -> Self {
        let client = |cluster: &ClusterConfig| {
            let context = format!("link {link}: topics on cluster {}", cluster.name);
            LazyClient::new(cluster, format!("{link}/plan"), context)
        };
        Self { source: client(source), target: client(target), timeout }
    }

    /// Asks the target whether it would take an action. Changes nothing.
    ///
    /// # Errors
    /// [`PortError`] when the target does not answer.
    pub async fn try_out(&self, action: Action) -> Result<Answer, PortError> {
        let timeout = self.timeout;
        self.target.ask(move |client| answered(act(client, &action, true, timeout), true)).await
    }
}

#[async_trait]
impl Planner for KafkaPlanner {
    async fn facts(&self, named: Vec<(SourceTopic, Arc<str>)>, acls: bool) -> Result<Facts, PortError> {
        let timeout = self.timeout;
        let sources: Vec<Arc<str>> = named.iter().map(|(topic, _)| Arc::clone(&topic.topic)).collect();
        let mut targets: Vec<Arc<str>> = named.iter().map(|(_, target)| Arc::clone(target)).collect();
        targets.sort();
        targets.dedup();
        let (mut found, source_acls) =
            self.source.ask(move |client| of_cluster(client, &sources, acls, timeout)).await?;
        let ((targets, target_acls), brokers) = self
            .target
            .ask(move |client| {
                let brokers = client.describe_cluster(timeout).ok().map(|cluster| cluster.brokers);
                Ok((of_cluster(client, &targets, acls, timeout)?, brokers))
            })
            .await?;
        let mut facts = Facts { targets, brokers, ..Facts::default() };
        for (topic, target) in named {
            let unread = match found.remove(&topic.topic) {
                Some(Ok(found)) => {
                    facts.sources.insert(topic.topic, SourceFacts { target, topic: found });
                    continue;
                }
                Some(Err(unread)) => unread.reason,
                None => "the source lists it and does not describe it: it was just created, or deleted".to_owned(),
            };
            facts.hidden.insert(topic.topic, unread);
        }
        facts.acls = source_acls.zip(target_acls).map(|(source, target)| AclFacts {
            source,
            target,
            ours: Default::default(),
            gone: Default::default(),
        });
        Ok(facts)
    }

    async fn presence(&self, side: Side, topics: Vec<Arc<str>>) -> Result<BTreeMap<Arc<str>, Presence>, PortError> {
        let timeout = self.timeout;
        let client = if side == Side::Source { &self.source } else { &self.target };
        let described = client.ask(move |client| {
            let names: Vec<&str> = topics.iter().map(|topic| &**topic).collect();
            describe(client, &names, false, timeout)
        });
        let presence = |topic: TopicDescription| {
            let presence = match topic.code {
                Code::OK => Presence::Exists(TopicId(topic.id)),
                Code::UNKNOWN_TOPIC_OR_PART => Presence::Unknown,
                code => Presence::Hidden(said(&FfiError::new(code, topic.text)).reason),
            };
            (topic.topic.into(), presence)
        };
        Ok(described.await?.into_iter().map(presence).collect())
    }

    async fn carry_out(&self, action: Action) -> Result<Answer, PortError> {
        self.target.ask(move |client| answered(act(client, &action, false, REQUEST_MAX), false)).await
    }
}

/// Tells an answer that concerns the action alone from one that may pass. Where an action is only
/// tried, every answer of the target is one.
fn answered(answer: Result<Answer, FfiError>, is_trial: bool) -> Result<Answer, FfiError> {
    let error = match answer {
        Ok(answer) => return Ok(answer),
        Err(error) => error,
    };
    match error.code {
        code if is_lost(code) => Err(error),
        code if is_denied(code) => Ok(Answer::Denied(said(&error).reason)),
        code if is_final(code) || is_trial => Ok(Answer::Refused(said(&error).reason)),
        code if is_gone(code) || is_unsupported(code) => Ok(Answer::NotAsked),
        _ => Err(error),
    }
}

/// Returns whether the same request would be refused again.
fn is_final(code: Code) -> bool {
    matches!(
        code,
        Code::INVALID_CONFIG
            | Code::POLICY_VIOLATION
            | Code::INVALID_ARG
            | Code::INVALID_REPLICATION_FACTOR
            | Code::INVALID_PARTITIONS
            | Code::SECURITY_DISABLED
            | Code::TOPIC_DELETION_DISABLED
    )
}

fn is_lost(code: Code) -> bool {
    matches!(code, Code::TIMED_OUT | Code::TRANSPORT | Code::ALL_BROKERS_DOWN) || is_login(code)
}

fn is_login(code: Code) -> bool {
    matches!(code, Code::AUTHENTICATION | Code::SASL_AUTHENTICATION_FAILED)
}

fn act(client: &Client, action: &Action, validate_only: bool, timeout: Duration) -> Result<Answer, FfiError> {
    match action {
        Action::Create { topic, partitions, replicas, settings, .. } => {
            let creation = Creation { name: topic, partitions: *partitions, replicas: *replicas, settings };
            Ok(match creation.send(client, validate_only, timeout)? {
                None => Answer::WasSo,
                Some(created) if created.left_out.is_empty() => Answer::Taken,
                Some(created) => Answer::WithoutSome { left_out: created.left_out, reason: created.refusal },
            })
        }
        Action::Grow { topic, to, .. } if validate_only => {
            client.create_partitions(topic, *to, true, timeout).map(|()| Answer::Taken)
        }
        Action::Grow { topic, to, .. } => grow(client, topic, *to, timeout).map(|()| Answer::Taken),
        Action::Alter { topic, changes } => {
            let changes: Vec<(&str, Option<&str>)> =
                changes.iter().map(|change| (change.name.as_str(), change.to.as_deref())).collect();
            match client.alter_configs(topic, &changes, validate_only, timeout) {
                Err(error) if validate_only && is_gone(error.code) => Ok(Answer::NotAsked),
                other => other.map(|()| Answer::Taken),
            }
        }
        Action::Delete { .. } if validate_only => Ok(Answer::NotAsked),
        Action::Delete { topic, .. } => match client.delete_topic(topic, timeout) {
            Err(error) if is_gone(error.code) => Ok(Answer::WasSo),
            other => other.map(|()| Answer::Taken),
        },
        Action::AddAcl(_) | Action::RemoveAcl(_) if validate_only => Ok(Answer::NotAsked),
        Action::AddAcl(acl) => client.add_acl(acl, timeout).map(|()| Answer::Taken),
        Action::RemoveAcl(acl) => client.remove_acl(acl, timeout).map(|()| Answer::Taken),
    }
}

/// Topics that exist, or why one cannot be described.
type Topics = BTreeMap<Arc<str>, Reading<TopicFacts>>;
/// An access list, where it was asked for.
type Acls = Option<Reading<BTreeSet<Acl>>>;

/// Reads topics of one cluster, and its access lists where they are wanted.
fn of_cluster(client: &Client, names: &[Arc<str>], acls: bool, timeout: Duration) -> Result<(Topics, Acls), FfiError> {
    let names: Vec<&str> = names.iter().map(|name| &**name).collect();
    let described = describe(client, &names, false, timeout)?;
    let present: Vec<&str> =
        described.iter().filter(|topic| topic.code == Code::OK).map(|topic| topic.topic.as_str()).collect();
    let mut configs = read_configs(client, &present, timeout)?;
    let mut topics = Topics::new();
    for topic in &described {
        let read = match topic.code {
            code if is_gone(code) => continue,
            Code::OK => Ok(facts(topic, configs.remove(&topic.topic))),
            code => Err(said(&FfiError::new(code, topic.text.clone()))),
        };
        topics.insert(topic.topic.as_str().into(), read);
    }
    let acls = match acls.then(|| read_acls(client, timeout)) {
        Some(Err(error)) if is_lost(error.code) => return Err(error),
        other => other.map(|acls| acls.map_err(|error| said(&error))),
    };
    Ok((topics, acls))
}

/// Reads the access lists of topics. librdkafka drops the error of the answer and gives an empty
/// list, so the right to see them is asked for first: what is not shown must not count as gone.
fn read_acls(client: &Client, timeout: Duration) -> Result<BTreeSet<Acl>, FfiError> {
    let cluster = client.describe_cluster(timeout)?;
    if !cluster.operations.iter().any(|number| Operation::from(*number) == Operation::Describe) {
        let code = Code::CLUSTER_AUTHORIZATION_FAILED;
        return Err(FfiError::new(code, "Describe on the cluster is missing"));
    }
    let authorizer = || {
        let broker = cluster.a_broker.ok_or_else(|| FfiError::new(Code::STATE, "the cluster names no broker"))?;
        Ok(client.broker_configs(broker, timeout)?.remove("authorizer.class.name"))
    };
    unless_nobody_asks(client.topic_acls(timeout)?, authorizer)
}

/// Returns an access list, unless it is empty and the cluster has no authorizer: then anybody may
/// do everything, which is not what an empty list says.
fn unless_nobody_asks(
    acls: BTreeSet<Acl>,
    authorizer: impl FnOnce() -> Result<Option<String>, FfiError>,
) -> Result<BTreeSet<Acl>, FfiError> {
    if !acls.is_empty() {
        return Ok(acls);
    }
    match authorizer() {
        Ok(Some(class)) if !class.is_empty() => Ok(acls),
        Ok(_) => {
            Err(FfiError::new(Code::SECURITY_DISABLED, "it has no access lists, as authorizer.class.name is not set"))
        }
        Err(error) if is_lost(error.code) => Err(error),
        Err(error) => {
            let text = format!(
                "its access list is empty, and whether it has an authorizer cannot be read ({error}): grant \
                 DescribeConfigs on the cluster"
            );
            Err(FfiError::new(error.code, text))
        }
    }
}

fn read_configs(
    client: &Client,
    topics: &[&str],
    timeout: Duration,
) -> Result<BTreeMap<String, Reading<Configs>>, FfiError> {
    if topics.is_empty() {
        return Ok(BTreeMap::new());
    }
    match client.entries_of_topics(topics, timeout) {
        Ok(read) => Ok(read.into_iter().map(|(topic, read)| (topic, read.map_err(|error| said(&error)))).collect()),
        Err(error) if is_unsupported(error.code) || is_denied(error.code) => {
            let unread = said(&error);
            Ok(topics.iter().map(|topic| ((*topic).to_owned(), Err(unread.clone()))).collect())
        }
        Err(error) => Err(error),
    }
}

fn facts(topic: &TopicDescription, configs: Option<Reading<Configs>>) -> TopicFacts {
    TopicFacts {
        id: TopicId(topic.id),
        partitions: u32::try_from(topic.partitions.len()).unwrap_or(u32::MAX),
        replicas: topic.partitions.iter().map(|partition| partition.replicas).max().unwrap_or_default(),
        configs: configs.unwrap_or_else(|| Err("the cluster did not tell them".into())),
    }
}

/// Returns an error with what to do about it.
fn said(error: &FfiError) -> Unread {
    Unread { reason: port_error("", error).reason, is_denied: is_denied(error.code) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_empty_access_list_counts_only_with_an_authorizer() {
        let read = |authorizer| unless_nobody_asks(BTreeSet::new(), || authorizer);
        assert_eq!(read(Ok(Some("org.example.Authorizer".to_owned()))).unwrap(), BTreeSet::new());
        for none in [None, Some(String::new())] {
            assert_eq!(read(Ok(none)).unwrap_err().code, Code::SECURITY_DISABLED);
        }
        let denied = read(Err(FfiError::new(Code::CLUSTER_AUTHORIZATION_FAILED, "denied"))).unwrap_err();
        assert!(denied.text.contains("grant DescribeConfigs on the cluster"), "{denied}");
    }
}
