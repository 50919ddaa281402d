//! The works that change clusters for a link as a whole, which its coordinator carries out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use strait_core::acl::commands::PRINCIPAL;
use strait_core::acl::{Names, grants, right_of};
use strait_core::config::Link;
use strait_core::plan::Settings;
use strait_core::{MetadataRight, Side};
use strait_flow::ports::{ChainFactory, ProgressStore, SourceTopic};
use strait_flow::{LaneDeps, MadeTopics, Named, Upkeep, UpkeepDeps};
use strait_host::ActiveChain;
use strait_kafka::{ClusterConfig, KafkaPlanner};

use super::topic_collisions::{self, names_by};
use super::tuning::REQUEST;

/// The ends of a link, and the facts that its works are made of.
pub struct Ends<'a> {
    /// The link.
    pub link: &'a Link,
    /// Its source.
    pub source: &'a ClusterConfig,
    /// Its target.
    pub target: &'a ClusterConfig,
    /// Its plugins.
    pub slot: &'a ActiveChain,
    /// Number of its lanes.
    pub lanes: u32,
    /// Whether nothing but records is written to the target.
    pub only_records: bool,
    /// All links of the configuration.
    pub links: &'a [Link],
    /// The topics that this process creates.
    pub made: &'a Arc<MadeTopics>,
}

impl Ends<'_> {
    /// Returns what keeps the target like the source, besides records. `progress` is what the lanes
    /// have committed.
    #[must_use]
    pub fn upkeep(&self, deps: &LaneDeps, progress: Arc<dyn ProgressStore>) -> Upkeep {
        let Self { link, source, target, slot, lanes, only_records, links, made } = self;
        Upkeep::new(UpkeepDeps {
            link: link.name.as_str().into(),
            settings: Settings::of(link, principal(target)).beside(links),
            only_looks: *only_records,
            topics: deps.topics.clone(),
            named: named(&deps.chains, slot),
            planner: Arc::new(KafkaPlanner::new(source, target, &link.name, REQUEST)),
            progress,
            lanes: *lanes,
            made: Arc::clone(made),
            grants: self.commands(),
            clock: Arc::clone(&deps.clock),
            events: Arc::clone(&deps.events),
            status: Arc::clone(&deps.status),
        })
    }

    /// Returns the commands that grant what the works need.
    fn commands(&self) -> BTreeMap<MetadataRight, String> {
        let all = grants(self.link, &Names::of(self.link, &[], &[]));
        let command = |right: MetadataRight| {
            let (on, operation) = right_of(right);
            let cluster = if on.side() == Side::Source { self.source } else { self.target };
            let who = principal(cluster).unwrap_or_else(|| PRINCIPAL.to_owned());
            let fitting = all.iter().filter(|grant| grant.right.on == on && grant.right.operation == operation);
            let commands: Vec<String> =
                fitting.filter_map(|grant| grant.command(&cluster.bootstrap_servers, &who)).collect();
            (right, commands.join("; "))
        };
        MetadataRight::ALL.into_iter().map(command).collect()
    }
}

/// Returns the principal of Strait on a cluster, where it is known.
#[must_use]
pub fn principal(cluster: &ClusterConfig) -> Option<String> {
    cluster.properties.get("sasl.username").map(|user| format!("User:{user}"))
}

/// The last names of target topics, and what they were made of.
#[derive(Default)]
struct LastNames {
    generation: Arc<str>,
    topics: Vec<SourceTopic>,
    named: topic_collisions::Named,
}

/// Names target topics by the plugins. Starting them costs, so names are kept while plugins and
/// topics are the same.
fn named(chains: &Arc<dyn ChainFactory>, slot: &ActiveChain) -> Named {
    let (chains, slot, last) = (Arc::clone(chains), slot.clone(), Mutex::new(LastNames::default()));
    Arc::new(move |topics| {
        let generation = slot.chains().generation().0;
        let mut last = strait_flow::lock(&last);
        if last.generation == generation && last.topics == topics {
            return Some(last.named.clone());
        }
        let (named, _) = names_by(&mut *chains.chain().ok()?, topics);
        *last = LastNames { generation, topics: topics.to_vec(), named: named.clone() };
        Some(named)
    })
}
