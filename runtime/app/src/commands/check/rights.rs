//! The rights of a link, and the commands that grant those that are missing.

use std::collections::BTreeMap;

use strait_core::Side;
use strait_core::acl::commands::PRINCIPAL;
use strait_core::acl::grants::granting;
use strait_core::acl::{Grant, Names, Need, On, Operation, Pattern, RIGHTS, grants};
use strait_core::config::Link;
use strait_core::mm2::Mm2Topic;
use strait_flow::ports::SourceTopic;
use strait_host::HostChains;
use strait_kafka::probe::{missing_group_operations, missing_operations};

use super::quarantine::quarantine;
use super::steps::{Sides, TIMEOUT, shorten};
use super::{Outcome, Step};
use crate::commands::acl::namers;

/// The rights of a link, by the same table as `strait acl print`.
pub(super) struct Rights {
    grants: Vec<Grant>,
    source: String,
    target: String,
}

impl Rights {
    pub(super) fn of(link: &Link, chains: &HostChains, source: &str, target: &str) -> Self {
        let names = Names::of(link, &namers(link, Some(chains)), &[]);
        Self { grants: grants(link, &names), source: source.to_owned(), target: target.to_owned() }
    }

    /// Returns the operations that the link needs on a kind of thing.
    fn operations(&self, on: On) -> Vec<Operation> {
        let is_needed = |operation: &Operation| {
            self.grants.iter().any(|grant| {
                grant.right.on == on && grant.right.operation == *operation && grant.right.need != Need::Sometimes
            })
        };
        let all = RIGHTS.iter().filter(|right| right.on == on).map(|right| right.operation);
        let mut all: Vec<Operation> = all.filter(is_needed).collect();
        all.dedup();
        all
    }

    /// Returns the grant of a right that is missing, and the command for it.
    pub(super) fn missing(&self, on: On, operation: Operation, name: &str) -> Option<(Grant, String)> {
        let grant = granting(&self.grants, on, operation, name)?;
        let servers = if on.side() == Side::Source { &self.source } else { &self.target };
        let command = grant.command(servers, PRINCIPAL)?;
        Some((grant, command))
    }

    /// Returns the command that grants a right, on a line of its own.
    pub(super) fn remedy(&self, on: On, operation: Operation, name: &str) -> String {
        self.missing(on, operation, name).map_or_else(String::new, |(_, command)| format!("\n  {command}"))
    }

    /// Returns the commands for source topics that are granted by how their names begin.
    pub(super) fn of_hidden_topics(&self) -> String {
        let read = |grant: &&Grant| grant.right.on == On::SourceTopics && grant.right.operation == Operation::Read;
        let prefixed = self.grants.iter().filter(read).filter(|grant| grant.pattern == Pattern::Prefixed);
        prefixed.filter_map(|grant| grant.command(&self.source, PRINCIPAL)).map(|line| format!("\n  {line}")).collect()
    }
}

/// Rights that are missing, by the command that grants them.
#[derive(Default)]
struct Missing(BTreeMap<String, (Grant, Vec<String>)>);

impl Missing {
    fn add(&mut self, rights: &Rights, on: On, operation: Operation, name: &str) {
        let Some((grant, command)) = rights.missing(on, operation, name) else { return };
        self.0.entry(command).or_insert_with(|| (grant, Vec::new())).1.push(name.to_owned());
    }

    /// Returns what to report: what stops records, and what does not.
    fn steps(self, name: &str, is_missing: &str) -> Vec<Step> {
        let (mut failed, mut warned) = (Vec::new(), Vec::new());
        for (command, (grant, names)) in self.0 {
            let right = grant.right;
            let operation = right.operation.name();
            let line = format!("\n{operation} on {}: {}\n  {command}", shorten(names), right.without);
            if right.need == Need::Needed { failed.push(line) } else { warned.push(line) }
        }
        let step = |outcome, lines: Vec<String>| {
            (!lines.is_empty()).then(|| Step::new(name, outcome, format!("{is_missing}:{}", lines.concat())))
        };
        step(Outcome::Failed, failed).into_iter().chain(step(Outcome::Warning, warned)).collect()
    }
}

/// Reports the rights that are missing on what exists.
pub(super) async fn check(sides: &Sides<'_>, names: &[(SourceTopic, std::sync::Arc<str>)], steps: &mut Vec<Step>) {
    let (link, rights) = (sides.link, &sides.rights);
    let wanted = |on, name: &str| (on, name.to_owned(), rights.operations(on));
    let mm2 = |on: On| {
        let topics = Mm2Topic::ALL.into_iter().filter(move |topic| topic.is_on_source() == (on.side() == Side::Source));
        let written = topics.filter(|topic| link.mm2.writes(*topic));
        written.map(move |topic| wanted(on, &topic.name(&link.source)))
    };
    let read = names.iter().map(|(topic, _)| wanted(On::SourceTopics, &topic.topic));
    steps.extend(on_topics(sides, Side::Source, read.chain(mm2(On::SourceHeartbeats)).collect()).await);
    steps.push(quarantine(sides, TIMEOUT).await);

    let write = names.iter().map(|(_, target)| wanted(On::TargetTopics, target));
    let own = strait_core::link_topics::LinkTopic::ALL.map(|topic| wanted(On::OwnTopics, &topic.name(&link.name)));
    steps.extend(on_topics(sides, Side::Target, write.chain(own).chain(mm2(On::Mm2Topics)).collect()).await);
    steps.extend(on_group(sides).await);
}

async fn on_topics(sides: &Sides<'_>, side: Side, wanted: Vec<(On, String, Vec<Operation>)>) -> Vec<Step> {
    let name = format!("permissions of {} on its {side}", sides.link.name);
    let reached = if side == Side::Source { sides.source } else { sides.target };
    let asked = wanted.iter().map(|(_, topic, operations)| (topic.clone(), operations.clone())).collect();
    let found = match missing_operations(&reached.config, asked, TIMEOUT).await {
        Ok(found) => found,
        Err(error) => return vec![Step::new(name, Outcome::Failed, error.to_string())],
    };
    let mut missing = Missing::default();
    for (on, topic, _) in &wanted {
        for (_, operation) in found.iter().filter(|(found, _)| found == topic) {
            // The right to create topics of any name stands at the cluster.
            if *operation == Operation::Create && reached.may_create() {
                continue;
            }
            missing.add(&sides.rights, *on, *operation, topic);
        }
    }
    let steps = missing.steps(&name, "missing");
    if steps.is_empty() {
        return vec![Step::new(name, Outcome::Ok, "nothing is missing on the topics that exist")];
    }
    steps
}

async fn on_group(sides: &Sides<'_>) -> Vec<Step> {
    let (link, on) = (sides.link, On::Group);
    let name = format!("group of {}", link.name);
    let group = format!("strait.{}", link.name);
    let wanted = sides.rights.operations(on);
    match missing_group_operations(&sides.target.config, group.clone(), wanted, TIMEOUT).await {
        Err(error) => vec![Step::new(name, Outcome::Failed, error.to_string())],
        Ok(operations) => {
            let mut missing = Missing::default();
            operations.into_iter().for_each(|operation| missing.add(&sides.rights, on, operation, &group));
            missing.steps(&name, "missing")
        }
    }
}
