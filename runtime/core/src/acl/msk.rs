//! Grants as a policy for Amazon MSK with IAM access control: the actions `kafka-cluster:*`, each
//! with those that Amazon's documentation requires beside it.

use serde_json::{Value, json};

use super::grants::{Grant, Pattern, Resource};
use super::{Need, On, Operation};
use crate::event::Side;

/// The cluster in policies for which no ARN is given.
pub const CLUSTER_ARN: &str = "arn:aws:kafka:REGION:ACCOUNT:cluster/NAME/UUID";

/// Returns whether a text is the ARN of an MSK cluster.
#[must_use]
pub fn is_cluster_arn(text: &str) -> bool {
    let parts: Vec<&str> = text.split(':').collect();
    let &["arn", partition, "kafka", region, account, resource] = parts.as_slice() else { return false };
    let is_region = region.contains('-') && is_word(region, "-");
    let named = match resource.split('/').collect::<Vec<_>>().as_slice() {
        ["cluster", name, uuid] => is_word(name, "-") && is_word(uuid, "-"),
        _ => false,
    };
    is_partition(partition) && is_region && is_account(account) && named
}

/// Returns whether a text is the ARN of a role or user, to which a policy can be attached.
#[must_use]
pub fn is_identity_arn(text: &str) -> bool {
    let parts: Vec<&str> = text.split(':').collect();
    let &["arn", partition, "iam", "", account, resource] = parts.as_slice() else { return false };
    let name = resource.strip_prefix("role/").or_else(|| resource.strip_prefix("user/"));
    let is_named = name.is_some_and(|name| name.split('/').all(|part| is_word(part, "-_+=,.@")));
    is_partition(partition) && is_account(account) && is_named
}

fn is_partition(text: &str) -> bool {
    text == "aws" || text.starts_with("aws-")
}

fn is_account(text: &str) -> bool {
    text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn is_word(text: &str, more: &str) -> bool {
    !text.is_empty() && text.chars().all(|c| c.is_ascii_alphanumeric() || more.contains(c))
}

/// Returns the statements for one cluster, by its ARN.
///
/// Reading a topic requires the actions on a group as well, also where records are read without
/// one.
#[must_use]
pub fn statements(link: &str, side: Side, cluster_arn: &str, grants: &[Grant]) -> Vec<Value> {
    let here: Vec<&Grant> = grants.iter().filter(|grant| grant.side() == side).collect();
    let name = |part: &str| format!("{}{part}", capitalized(&side.to_string()));
    let mut cluster = vec!["Connect"];
    if here.iter().any(|grant| grant.resource == Resource::Topic && grant.right.operation == Operation::Write) {
        cluster.push("WriteDataIdempotently");
    }
    if here.iter().any(|grant| grant.resource == Resource::Cluster && grant.right.operation == Operation::Describe) {
        cluster.push("DescribeCluster");
    }
    if here.iter().any(|grant| grant.resource == Resource::Cluster && grant.right.operation == Operation::Alter) {
        cluster.push("AlterCluster");
    }
    let mut all = vec![statement(&name("Cluster"), &cluster, &[cluster_arn.to_owned()])];
    if side == Side::Source {
        let group = vec![arn(cluster_arn, "group", &format!("strait.{link}"))];
        all.push(statement(&name("Group"), actions(Resource::Group, Operation::Read), &group));
    }
    for (on, part) in STATEMENTS.into_iter().filter(|(on, _)| on.side() == side) {
        let of_it: Vec<&Grant> =
            here.iter().copied().filter(|grant| grant.right.on == on && grant.right.need != Need::Sometimes).collect();
        let (mut wanted, mut resources) = (Vec::new(), Vec::new());
        for grant in of_it {
            let of_grant = actions(grant.resource, grant.right.operation);
            wanted.extend(of_grant.iter().filter(|action| !wanted.contains(*action)).copied().collect::<Vec<_>>());
            if let Some(resource) = resource(cluster_arn, grant).filter(|resource| !resources.contains(resource)) {
                resources.push(resource);
            }
        }
        if !resources.is_empty() {
            all.push(statement(&name(part), &wanted, &resources));
        }
    }
    all
}

/// The statements besides that for the cluster, and the ends of their ids.
const STATEMENTS: [(On, &str); 10] = [
    (On::SourceTopics, "Topics"),
    (On::Quarantine, "Quarantine"),
    (On::SourceHeartbeats, "Heartbeats"),
    (On::TargetTopics, "Topics"),
    (On::OwnTopics, "OwnTopics"),
    (On::Mm2Topics, "MirrorMakerTopics"),
    (On::Group, "Group"),
    (On::SyncedSourceGroups, "KeptGroups"),
    (On::SyncedTargetGroups, "KeptGroups"),
    (On::TransactionalIds, "TransactionalIds"),
];

/// Returns a policy of these statements.
#[must_use]
pub fn policy(statements: &[Value]) -> Value {
    json!({ "Version": "2012-10-17", "Statement": statements })
}

fn statement(id: &str, actions: &[&str], resources: &[String]) -> Value {
    let actions: Vec<String> = actions.iter().map(|action| format!("kafka-cluster:{action}")).collect();
    json!({ "Sid": id, "Effect": "Allow", "Action": actions, "Resource": resources })
}

/// Returns the actions that stand for an operation.
fn actions(resource: Resource, operation: Operation) -> &'static [&'static str] {
    match (resource, operation) {
        (Resource::Topic, Operation::Read) => &["DescribeTopic", "ReadData"],
        (Resource::Topic, Operation::Write) => &["DescribeTopic", "WriteData"],
        (Resource::Topic, Operation::Create) => &["CreateTopic"],
        (Resource::Topic, Operation::Alter) => &["DescribeTopic", "AlterTopic"],
        (Resource::Topic, Operation::DescribeConfigs) => &["DescribeTopicDynamicConfiguration"],
        (Resource::Topic, Operation::AlterConfigs) => &["AlterTopicDynamicConfiguration"],
        (Resource::Group, Operation::Read) => &["DescribeGroup", "AlterGroup"],
        (Resource::Group, Operation::Describe) => &["DescribeGroup"],
        (Resource::TransactionalId, Operation::Write) => &["DescribeTransactionalId", "AlterTransactionalId"],
        _ => &[],
    }
}

fn resource(cluster_arn: &str, grant: &Grant) -> Option<String> {
    let kind = grant.resource.name();
    match grant.pattern {
        Pattern::Literal => Some(arn(cluster_arn, kind, &grant.name)),
        Pattern::Prefixed => Some(arn(cluster_arn, kind, &format!("{}*", grant.name))),
        Pattern::Matching => None,
    }
}

/// Returns the ARN of a thing of the cluster.
fn arn(cluster_arn: &str, kind: &str, name: &str) -> String {
    format!("{}/{name}", cluster_arn.replacen(":cluster/", &format!(":{kind}/"), 1))
}

/// Returns a word as the ids of statements begin.
#[must_use]
pub fn capitalized(word: &str) -> String {
    let mut characters = word.chars();
    characters.next().map_or_else(String::new, |first| first.to_uppercase().chain(characters).collect())
}
