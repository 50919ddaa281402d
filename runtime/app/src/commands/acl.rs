//! `strait acl print`.

use std::sync::Arc;

use strait_core::Side;
use strait_core::acl::commands::{PRINCIPAL, Place, script, to_json};
use strait_core::acl::msk::{CLUSTER_ARN, capitalized, is_identity_arn, policy, statements};
use strait_core::acl::{Grant, Names, Pattern, grants};
use strait_core::config::{Link, PluginUse};
use strait_core::mm2::HeartbeatTopics;
use strait_flow::ports::{ChainFactory as _, Discovery as _};
use strait_host::{HostChains, HostEngine, HostOptions};
use strait_kafka::{ClusterConfig, KafkaDiscovery};

use super::{End, REQUEST, block_on, cluster_of, failed, link_of, load, print, print_message, reached};
use crate::cli::acl::{AclCommand, AclOutput, AclPrint, OfSide, PRINCIPALS};
use crate::compiler::own_process;
use crate::compose;
use crate::heartbeats;
use crate::load::Loaded;

/// The effects with which a plugin may name topics.
const NAMING: [&str; 2] = ["topic", "emit"];

/// Runs the command.
#[must_use]
pub fn acl(command: &AclCommand) -> End {
    let AclCommand::Print(args) = command;
    match text(args) {
        Ok(text) => print(&text),
        Err(end) => end,
    }
}

fn text(args: &AclPrint) -> Result<String, End> {
    let loaded = load(&args.config)?;
    let link = link_of(&loaded, &args.link)?;
    let is_policy = args.output == AclOutput::MskIam;
    if args.principal.iter().any(|principal| is_identity_arn(principal.text()) != is_policy) {
        return Err(failed(&format!("--principal does not fit -o: write {PRINCIPALS}")));
    }
    let chains = chains(&loaded, link);
    let source = cluster_of(&loaded, &link.source)?;
    let seen = if args.offline {
        Err("no cluster was asked".to_owned())
    } else {
        seen(&source, (link, loaded.config.heartbeats_of(link)), chains.as_deref())?
    };
    let names = Names::of(link, &namers(link, chains.as_deref()), seen.as_deref().unwrap_or_default());
    let all = grants(link, &names);
    let mut places = Vec::new();
    for (side, cluster) in [(Side::Source, &link.source), (Side::Target, &link.target)] {
        if args.side.is_some_and(|only| Side::from(only) != side) {
            continue;
        }
        places.push(Place {
            side,
            cluster: cluster.clone(),
            servers: cluster_of(&loaded, cluster)?.bootstrap_servers,
            principal: OfSide::last(&args.principal, side).unwrap_or(PRINCIPAL).to_owned(),
        });
    }
    let known = match &seen {
        Ok(seen) => format!("topics: {} that cluster {} shows to this login, and patterns", seen.len(), link.source),
        Err(reason) => format!("topics: the patterns of the configuration; {reason}"),
    };
    Ok(match args.output {
        AclOutput::KafkaAcls => {
            let parts: Vec<String> = places.iter().map(|place| script(&link.name, place, &all)).collect();
            let more = "Add --command-config FILE where the cluster asks for a login.";
            format!("# {known}\n# {more}\n{}", parts.join("\n"))
        }
        AclOutput::Json => {
            let clusters: Vec<_> = places.iter().map(|place| to_json(place, &all)).collect();
            let value = serde_json::json!({
                "link": link.name, "topics": known, "asked": seen.is_ok(), "clusters": clusters,
            });
            format!("{value:#}")
        }
        AclOutput::MskIam => {
            print_message(&format!("{known}{}", beyond_policies(&all)));
            let of_place = |place: &Place| {
                if let Some(arn) = OfSide::last(&args.principal, place.side) {
                    print_message(&format!("attach the statements {}… to {arn}", capitalized(&place.side.to_string())));
                }
                let arn = OfSide::last(&args.cluster_arn, place.side).unwrap_or(CLUSTER_ARN);
                statements(&link.name, place.side, arn, &all)
            };
            let all: Vec<_> = places.iter().flat_map(of_place).collect();
            format!("{:#}", policy(&all))
        }
    })
}

/// Returns what a policy cannot say.
fn beyond_policies(all: &[Grant]) -> String {
    let mut names: Vec<&str> = all.iter().filter(|g| g.pattern == Pattern::Matching).map(|g| g.name.as_str()).collect();
    names.dedup();
    if names.is_empty() {
        return String::new();
    }
    format!("; not in the policy, as they have no common beginning: the topics '{}'", names.join("', '"))
}

/// Loads the plugins of a link. If they do not load, each is taken for one that names topics.
fn chains(loaded: &Loaded, link: &Link) -> Option<Arc<HostChains>> {
    if link.plugins.is_empty() {
        return None;
    }
    let engine = HostEngine::with(HostOptions { compiler: own_process(), ..HostOptions::default() });
    let engine = engine.map_err(|error| print_message(&format!("plugins: {error}"))).ok()?;
    let loaded = HostChains::load(&engine, compose::chain(loaded, link));
    loaded.map_err(|error| print_message(&format!("each plugin is taken for one that names topics: {error}"))).ok()
}

/// Returns the plugins of a link that may name topics.
#[must_use]
pub fn namers<'a>(link: &'a Link, chains: Option<&HostChains>) -> Vec<&'a PluginUse> {
    let Some(chains) = chains else { return link.plugins.iter().collect() };
    let names_topics =
        chains.manifests().map(|(_, manifest)| manifest.effect_names.iter().any(|effect| NAMING.contains(effect)));
    link.plugins.iter().zip(names_topics).filter(|(_, names)| *names).map(|(plugin, _)| plugin).collect()
}

/// The topics that a link would copy, each with its name on the target.
type Seen = Vec<(String, String)>;

/// Asks the source for the topics that the link would copy, or says why it does not tell them.
fn seen(
    source: &ClusterConfig,
    link: (&Link, Option<HeartbeatTopics>),
    chains: Option<&HostChains>,
) -> Result<Result<Seen, String>, End> {
    block_on(async { Ok::<_, String>(ask(source, link, chains).await) })
}

async fn ask(
    source: &ClusterConfig,
    (link, heartbeats): (&Link, Option<HeartbeatTopics>),
    chains: Option<&HostChains>,
) -> Result<Seen, String> {
    reached(source).await.map_err(|error| error.to_string())?;
    let discovery = KafkaDiscovery::new(source, &link.name, &link.topics, &link.topics_exclude, REQUEST);
    let discovery = discovery.map_err(|error| error.to_string())?.with_heartbeats(heartbeats.clone());
    let topics = discovery.topics().await.map_err(|error| error.to_string())?;
    let mut chain = chains.map(|chains| chains.chain()).transpose().map_err(|error| error.to_string())?;
    let mut seen = Seen::new();
    for topic in topics.listed {
        let partitions = topic.partitions.unsigned_abs();
        let name = heartbeats::name(heartbeats.as_ref(), &topic.topic, partitions).map(|name| name.to_string());
        let target = name.or_else(|| match &mut chain {
            // A topic without a name on the target is not copied; strait check says why.
            Some(chain) => chain.target_topic(&topic.topic, partitions).ok().map(|target| target.to_string()),
            None => Some(link.naming.apply(&link.source, &topic.topic)),
        });
        seen.extend(target.map(|target| (topic.topic.to_string(), target)));
    }
    Ok(seen)
}
