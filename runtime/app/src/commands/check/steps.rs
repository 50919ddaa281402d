//! The steps of a check beyond the file: plugins, clusters, topics, permissions.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use strait_core::Side;
use strait_core::acl::{On, Operation};
use strait_core::config::{DeliveryMode, Link, name_of_entry};
use strait_core::mm2::HeartbeatTopics;
use strait_core::opposite::names_of_copies;
use strait_flow::ports::{Chain, Discovery, SourceTopic, SourceTopics};
use strait_host::{HostChains, HostEngine, HostOptions};
use strait_kafka::error::lacks_right;
use strait_kafka::probe::{AppendTime, ClusterInfo, probe, topics_with_append_time};
use strait_kafka::{ClusterConfig, KafkaDiscovery, SocketBuffers, probe_transactions};

use super::border::border;
use super::line::{buffers_of, line};
use super::rights::{self, Rights};
use super::{Outcome, Step, opposite, target_topics};
use crate::compiler::own_process;
use crate::compose;
use crate::heartbeats;
use crate::load::Loaded;
use crate::plugin_memory::PluginMemory;
use crate::run::loops;
use crate::run::topic_collisions::collisions;
use crate::run::{WITHOUT_IDEMPOTENCE, without_transactions};

/// How long a cluster may take to answer.
pub(super) const TIMEOUT: Duration = Duration::from_secs(15);
/// Most topics named in a line; the others are counted.
const NAMED_MAX: usize = 8;

/// Partitions that one lane reads well.
const PARTITIONS_PER_LANE: i64 = 500;

/// Runs every step, in order.
pub fn all(loaded: &Loaded) -> Vec<Step> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    match runtime {
        Ok(runtime) => runtime.block_on(run_all(loaded)),
        Err(error) => vec![Step::new("start", Outcome::Failed, format!("the async runtime does not start: {error}"))],
    }
}

async fn run_all(loaded: &Loaded) -> Vec<Step> {
    let mut steps = Vec::new();
    let chains = plugins(loaded, &mut steps);
    let clusters = clusters(loaded, &mut steps).await;
    for link in &loaded.config.links {
        let (Some(source), Some(target)) = (clusters.get(&link.source), clusters.get(&link.target)) else {
            let name = format!("topics of {}", link.name);
            steps.push(Step::new(name, Outcome::Skipped, "a cluster of the link cannot be used"));
            continue;
        };
        let Some(chain) = chains.get(&link.name) else {
            let name = format!("topics of {}", link.name);
            steps.push(Step::new(name, Outcome::Skipped, "a plugin of the link cannot be used"));
            continue;
        };
        let servers = |reached: &Reached| reached.config.bootstrap_servers.clone();
        let rights = Rights::of(link, chain, &servers(source), &servers(target));
        let heartbeats = loaded.config.heartbeats_of(link);
        let sides = Sides { link, heartbeats, source, target, rights };
        sides.same_cluster(&mut steps);
        opposite::check(&sides, &mut steps).await;
        steps.extend(sides.delivery());
        sides.lines(&mut steps);
        let names = sides.topics(chain, &mut steps).await;
        target_topics::check(&sides, &names, &mut steps).await;
        if target_topics::check_own(&sides, &mut steps).await {
            border(&sides, chain, &names, &mut steps).await;
        }
        target_topics::check_mm2(&sides, &mut steps).await;
        rights::check(&sides, &names, &mut steps).await;
        sides.transactions(&mut steps).await;
        sides.timestamps(&names, &mut steps).await;
    }
    steps
}

/// Loads the plugins of every link as a run does.
fn plugins(loaded: &Loaded, steps: &mut Vec<Step>) -> BTreeMap<String, Arc<HostChains>> {
    let mut chains = BTreeMap::new();
    let engine = match HostEngine::with(HostOptions { compiler: own_process(), ..HostOptions::default() }) {
        Ok(engine) => engine,
        Err(error) => {
            steps.push(Step::new("plugins", Outcome::Failed, error));
            return chains;
        }
    };
    if let Err(error) = PluginMemory::default().admit(&loaded.config) {
        steps.push(Step::new("memory of plugins", Outcome::Invalid, error.to_string()));
    }
    for link in &loaded.config.links {
        let name = format!("plugins of {}", link.name);
        let mut spec = compose::chain(loaded, link);
        // A check shows no record to a plugin, so whatever it says is of its configuration.
        spec.plugins.iter_mut().for_each(|plugin| plugin.show_guest_messages = true);
        match HostChains::load(&engine, spec) {
            Ok(chain) => {
                if !link.plugins.is_empty() {
                    steps.push(Step::new(name, Outcome::Ok, describe(&chain)));
                }
                chains.insert(link.name.clone(), chain);
            }
            Err(error) => steps.push(Step::new(name, Outcome::Invalid, error.to_string())),
        }
    }
    chains
}

fn describe(chain: &HostChains) -> String {
    let plugins = chain.manifests().map(|(name, manifest)| {
        let closed = if manifest.fails_closed { "; fails closed" } else { "" };
        format!("{name} {} ({}{closed})", manifest.version, manifest.effect_names.join(", "))
    });
    plugins.collect::<Vec<_>>().join(" -> ")
}

/// A cluster that has answered.
pub(super) struct Reached {
    pub(super) config: ClusterConfig,
    pub(super) info: ClusterInfo,
    /// Socket buffers of its brokers, if it is far away.
    buffers: Option<Result<SocketBuffers, String>>,
}

impl Reached {
    /// Returns whether the principal may create topics of any name, as far as the cluster tells it.
    pub(super) fn may_create(&self) -> bool {
        self.info.operations.contains(&Operation::Create)
    }

    /// Returns whether the principal may do anything on the cluster, as it may where rights do not
    /// count.
    fn may_do_all(&self) -> bool {
        [Operation::Create, Operation::Alter, Operation::Describe].iter().all(|op| self.info.operations.contains(op))
    }
}

/// Connects to every cluster that a link uses.
async fn clusters(loaded: &Loaded, steps: &mut Vec<Step>) -> BTreeMap<String, Reached> {
    let mut reached = BTreeMap::new();
    for (name, cluster) in &loaded.config.clusters {
        let step = format!("cluster {name}");
        let used = loaded.config.links.iter().any(|link| link.source == *name || link.target == *name);
        if !used {
            steps.push(Step::new(step, Outcome::Warning, "no link uses it"));
            continue;
        }
        let config = compose::cluster(loaded, name, cluster);
        match probe(&config, TIMEOUT).await {
            Ok(info) => {
                let place: Vec<&str> = cluster.provider.iter().chain(&cluster.region).map(String::as_str).collect();
                let place = if place.is_empty() { String::new() } else { format!(" ({})", place.join(", ")) };
                let id = info.cluster_id.as_deref().unwrap_or("unknown");
                let detail = format!("{} brokers, {} topics, id {id}{place}", info.brokers, info.topics);
                steps.push(Step::new(step, Outcome::Ok, detail));
                let buffers = buffers_of(&config, info.round_trip, TIMEOUT).await;
                reached.insert(name.clone(), Reached { config, info, buffers });
            }
            // The error names the cluster.
            Err(error) => steps.push(Step::new(step, Outcome::Failed, error.to_string())),
        }
    }
    reached
}

/// A link and its two clusters.
pub(super) struct Sides<'a> {
    pub(super) link: &'a Link,
    /// The heartbeats that it copies.
    heartbeats: Option<HeartbeatTopics>,
    pub(super) source: &'a Reached,
    pub(super) target: &'a Reached,
    pub(super) rights: Rights,
}

impl Sides<'_> {
    fn same_cluster(&self, steps: &mut Vec<Step>) {
        let (source, target) = (&self.source.info.cluster_id, &self.target.info.cluster_id);
        if source.is_none() || source != target {
            return;
        }
        let link = self.link;
        let (outcome, consequence) = match names_of_copies(link) {
            Some(copies) => (
                Outcome::Warning,
                format!("topics whose names match '{copies}' are its own copies and not copied again"),
            ),
            None => (
                Outcome::Failed,
                format!(
                    "each topic would be copied into itself (naming = \"identity\"), and strait run does not start the \
                     link: correct bootstrap_servers of {} or {}",
                    link.source, link.target
                ),
            ),
        };
        let text = format!("source and target are one and the same Kafka cluster: their ids are equal; {consequence}");
        steps.push(Step::new(format!("clusters of {}", link.name), outcome, text));
    }

    /// Returns what the target's lack of transactions or idempotence means for the link.
    fn delivery(&self) -> Option<Step> {
        if self.target.info.has_idempotence {
            return None;
        }
        let name = format!("delivery of {}", self.link.name);
        Some(match self.link.delivery {
            DeliveryMode::ExactlyOnce => Step::new(name, Outcome::Failed, without_transactions(&self.link.target)),
            DeliveryMode::AtLeastOnce => Step::new(name, Outcome::Warning, WITHOUT_IDEMPOTENCE),
        })
    }

    fn lines(&self, steps: &mut Vec<Step>) {
        for (side, cluster) in [(Side::Source, self.source), (Side::Target, self.target)] {
            let Some(buffers) = cluster.buffers.clone() else { continue };
            steps.push(line(&self.link.name, side, &cluster.config.name, cluster.info.round_trip, buffers));
        }
    }

    /// Returns the topics that the link would copy, with their names on the target.
    async fn topics(&self, chains: &HostChains, steps: &mut Vec<Step>) -> Vec<(SourceTopic, Arc<str>)> {
        let link = self.link;
        let name = format!("topics of {}", link.name);
        let SourceTopics { listed: topics, hidden, missing } = match self.discover().await {
            Ok(topics) => topics,
            Err(error) => {
                steps.push(Step::new(name, Outcome::Failed, error));
                return Vec::new();
            }
        };
        let hidden = hidden.into_iter().map(|(topic, error)| {
            let remedy = match lacks_right(&error) {
                true => self.rights.remedy(On::SourceTopics, Operation::Read, &topic),
                false => String::new(),
            };
            format!("{topic} cannot be described: {}{remedy}", error.reason)
        });
        steps.extend(hidden.map(|text| Step::new(&name, Outcome::Failed, text)));
        steps.extend(missing.iter().map(|(topic, meant)| {
            let text = format!("{topic}: {}", SourceTopics::reason_missing(meant.as_ref()));
            Step::new(&name, Outcome::Warning, text)
        }));
        let mut chain = match chains.plugin_chain() {
            Ok(chain) => chain,
            Err(error) => {
                steps.push(Step::new(name, Outcome::Failed, error.to_string()));
                return Vec::new();
            }
        };
        let mut named = Vec::new();
        let mut refused = Vec::new();
        let mut out_of_reach = BTreeSet::new();
        for topic in topics {
            if let Some(name) =
                heartbeats::name(self.heartbeats.as_ref(), &topic.topic, topic.partitions.unsigned_abs())
            {
                named.push((topic, name));
                continue;
            }
            match target_name(&mut chain, &topic) {
                Ok(target) => {
                    let partitions = u32::try_from(topic.partitions).unwrap_or_default();
                    out_of_reach.extend(chain.refused_names(&topic.topic, partitions).unwrap_or_default());
                    if let Err(error) = chain.protection(&topic.topic, partitions) {
                        refused.push(format!("{}: {error}", topic.topic));
                        continue;
                    }
                    named.push((topic, target));
                }
                Err(error) => refused.push(format!("{}: {error}", topic.topic)),
            }
        }
        let mut idle = self.idle_patterns(&named);
        idle.retain(|pattern| name_of_entry(pattern).is_none_or(|name| !missing.contains_key(&*name)));
        if !link.merge_topics {
            let collisions = collisions(named.iter().map(|(topic, target)| (&topic.topic, Arc::clone(target))));
            named.retain(|(topic, _)| !collisions.contains_key(&topic.topic));
            // Topics that collide share one reason.
            refused.extend(collisions.into_values().collect::<BTreeSet<_>>());
        }
        let lines = shorten(named.iter().map(|(topic, target)| format!("{} -> {target}", topic.topic)));
        let partitions: i64 = named.iter().map(|(topic, _)| i64::from(topic.partitions)).sum();
        if named.is_empty() && refused.is_empty() {
            let text = format!("no topic matches now; new ones that match would be picked up{}", self.unseen());
            steps.push(Step::new(name, Outcome::Warning, text));
            return named;
        }
        steps.push(Step::new(&name, Outcome::Ok, format!("{} with {partitions} partitions: {lines}", named.len())));
        let lanes = i64::from(link.lanes_to_create());
        if partitions > lanes * PARTITIONS_PER_LANE {
            let text = format!(
                "{partitions} partitions for {lanes} lanes: above {PARTITIONS_PER_LANE} a lane, each fetch and each \
                 transaction names so many partitions that others wait; use more lanes (strait lanes resize once the link \
                 has run)"
            );
            steps.push(Step::new(&name, Outcome::Warning, text));
        }
        if !refused.is_empty() {
            steps.push(Step::new(&name, Outcome::Failed, shorten(refused)));
        }
        if !idle.is_empty() {
            let text = format!("match nothing now: {}{}", idle.join(", "), self.unseen());
            steps.push(Step::new(&name, Outcome::Warning, text));
        }
        steps.extend(outputs(&link.name, &out_of_reach));
        named
    }

    /// Returns how topics that a cluster does not list would be seen; nothing where the principal
    /// may do anything.
    fn unseen(&self) -> String {
        let commands = self.rights.of_hidden_topics();
        if commands.is_empty() || self.source.may_do_all() {
            return String::new();
        }
        format!("; a cluster does not list topics that the principal may not read:{commands}")
    }

    /// Finds out whether the target has transactions that this principal may use.
    async fn transactions(&self, steps: &mut Vec<Step>) {
        let link = self.link;
        // Without idempotence there are none, which `delivery` reports.
        if link.delivery != DeliveryMode::ExactlyOnce || !self.target.info.has_idempotence {
            return;
        }
        let step = format!("transactions of {}", link.name);
        steps.push(match probe_transactions(&self.target.config, &link.name, TIMEOUT).await {
            Ok(()) => Step::new(step, Outcome::Ok, "the target has transactions"),
            Err(error) => {
                let remedy = match lacks_right(&error) {
                    true => {
                        self.rights.remedy(On::TransactionalIds, Operation::Write, &format!("strait.{}.", link.name))
                    }
                    false => String::new(),
                };
                Step::new(step, Outcome::Failed, format!("{error}{remedy}"))
            }
        });
    }

    /// Warns of target topics that replace the records' own timestamps.
    async fn timestamps(&self, names: &[(SourceTopic, Arc<str>)], steps: &mut Vec<Step>) {
        let step = format!("timestamps of {}", self.link.name);
        let topics: BTreeSet<String> = names.iter().map(|(_, target)| target.to_string()).collect();
        let asked = topics_with_append_time(&self.target.config, topics.into_iter().collect(), TIMEOUT).await;
        let AppendTime { topics, unknown, reason } = match asked {
            Ok(found) => found,
            Err(error) => return steps.push(Step::new(step, Outcome::Warning, error.to_string())),
        };
        if unknown > 0 {
            let reason = reason.unwrap_or_else(|| "there was no time to ask".to_owned());
            let text = format!("the settings of {unknown} target topics are not known: {reason}");
            steps.push(Step::new(&step, Outcome::Warning, text));
        }
        if !topics.is_empty() {
            let text = format!(
                "message.timestamp.type=LogAppendTime, so the records' own timestamps are lost on {}; set CreateTime to keep them",
                shorten(topics)
            );
            steps.push(Step::new(&step, Outcome::Warning, text));
        }
    }

    async fn discover(&self) -> Result<SourceTopics, String> {
        let link = self.link;
        let id = |reached: &Reached| reached.info.cluster_id.clone();
        let excluded = loops::excluded(link, id(self.source).as_deref(), id(self.target).as_deref());
        let discovery = KafkaDiscovery::new(&self.source.config, &link.name, &link.topics, &excluded, TIMEOUT);
        let discovery = discovery.map_err(|error| error.to_string())?.with_heartbeats(self.heartbeats.clone());
        discovery.topics().await.map_err(|error| error.to_string())
    }

    fn idle_patterns(&self, named: &[(SourceTopic, Arc<str>)]) -> Vec<&str> {
        let Ok(selector) = self.link.selector() else {
            return Vec::new();
        };
        let used: Vec<usize> = named.iter().flat_map(|(topic, _)| selector.matches(&topic.topic)).collect();
        let patterns = self.link.topics.iter().enumerate().filter(|(index, _)| !used.contains(index));
        patterns.map(|(_, pattern)| pattern.as_str()).collect()
    }
}

/// Warns of topics that plugins name and that the link does not let them name.
fn outputs(link: &str, out_of_reach: &BTreeSet<(Arc<str>, String)>) -> Option<Step> {
    if out_of_reach.is_empty() {
        return None;
    }
    let names = shorten(out_of_reach.iter().map(|(plugin, topic)| format!("{plugin} to {topic}")));
    let text = format!(
        "the configuration of a plugin names topics that its output_topics do not allow, and every record that is sent \
         there would be rejected (edit-topic): {names}; allow these names in output_topics, or take them out of its \
         configuration"
    );
    Some(Step::new(format!("output topics of {link}"), Outcome::Warning, text))
}

fn target_name(chain: &mut dyn Chain, topic: &SourceTopic) -> Result<Arc<str>, String> {
    let partitions = u32::try_from(topic.partitions).unwrap_or_default();
    chain.target_topic(&topic.topic, partitions).map_err(|error| error.to_string())
}

/// Returns the first items of a list and the number of the others.
pub(super) fn shorten(items: impl IntoIterator<Item = String>) -> String {
    let mut items: Vec<String> = items.into_iter().collect();
    let more = items.len().saturating_sub(NAMED_MAX);
    items.truncate(NAMED_MAX);
    let text = items.join(", ");
    if more > 0 { format!("{text} and {more} more") } else { text }
}
