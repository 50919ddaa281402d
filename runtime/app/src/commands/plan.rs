//! `strait plan`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde_json::{Value, json};
use strait_core::config::{Link, OnDeleted};
use strait_core::control::{Control, TopicRecord};
use strait_core::mm2::HeartbeatTopics;
use strait_core::plan::{Action, Answer, Facts, Feeds, GoneTopic, Plan, Settings, Sign, Unknown, plan as plan_of};
use strait_core::progress::Position;
use strait_core::{PartitionKey, Side};
use strait_flow::ports::{ChainFactory, Discovery as _, Planner as _, PortError, SourceTopics};
use strait_flow::{Fed, fed_by};
use strait_host::{HostChains, HostEngine, HostOptions};
use strait_kafka::{ClusterConfig, KafkaControl, KafkaDiscovery, KafkaPlanner, MapLog};

use super::{End, REQUEST, block_on, ends_of, failed, link_of, load, print};
use crate::cli::{Output, plan as cli};
use crate::compiler::own_process;
use crate::compose;
use crate::heartbeats::around;
use crate::load::Loaded;
use crate::run::topic_collisions::target_names;
use crate::run::works::principal;

/// Said below a plan with settings or access lists, where nobody would carry it out.
const NOBODY: &str = "the target takes no transactions, so no process coordinates the link: strait run creates and \
                      grows topics there, and changes neither settings of topics that exist nor access lists";

/// A plan, and how the target would take each of its actions.
struct Tried {
    plan: Plan,
    answers: Vec<Answer>,
    topics: usize,
    /// Whether the link can have a coordinator.
    is_coordinated: bool,
}

impl Tried {
    /// Returns whether a run carries an action out.
    fn is_by_run(&self, action: &Action) -> bool {
        self.is_coordinated || matches!(action, Action::Create { .. } | Action::Grow { .. })
    }
}

/// Runs the command.
#[must_use]
pub fn plan(args: &cli::Plan) -> End {
    match run(args) {
        Ok(end) => end,
        Err(end) => end,
    }
}

fn run(args: &cli::Plan) -> Result<End, End> {
    let loaded = load(&args.config)?;
    let link = link_of(&loaded, &args.link)?;
    let chains = chains(&loaded, link).map_err(|error| failed(&error))?;
    let (source, target) = ends_of(&loaded, link)?;
    let settings = Settings::of(link, principal(&target)).beside(&loaded.config.links);
    let tried = tried((link, loaded.config.heartbeats_of(link)), &settings, &chains, (&source, &target));
    let tried = block_on(tried)?;
    let end = match args.output {
        Output::Text => print(&text(link, &tried)),
        Output::Json => print(&format!("{:#}", to_json(link, &tried))),
    };
    let is_clean = tried.plan.is_empty() && tried.plan.unknown.is_empty();
    Ok(if end == End::Ok && args.fail_on_change && !is_clean { End::Failed } else { end })
}

fn chains(loaded: &Loaded, link: &Link) -> Result<Arc<HostChains>, String> {
    let engine = HostEngine::with(HostOptions { compiler: own_process(), ..HostOptions::default() })?;
    HostChains::load(&engine, compose::chain(loaded, link)).map_err(|error| error.to_string())
}

async fn tried(
    (link, heartbeats): (&Link, Option<HeartbeatTopics>),
    settings: &Settings,
    chains: &Arc<HostChains>,
    (source, target): (&ClusterConfig, &ClusterConfig),
) -> Result<Tried, String> {
    let planner = KafkaPlanner::new(source, target, &link.name, REQUEST);
    let (facts, unread) = facts((link, heartbeats), chains, (source, target), &planner).await?;
    let mut plan = plan_of(&facts, settings);
    plan.unknown.extend(unread);
    let mut answers = Vec::with_capacity(plan.actions.len());
    for action in &plan.actions {
        answers.push(planner.try_out(action.clone()).await.map_err(|error| error.to_string())?);
    }
    Ok(Tried { plan, answers, topics: facts.sources.len(), is_coordinated: target.has_idempotence() })
}

/// Reads the facts, and says what of the link's own progress cannot be read.
async fn facts(
    (link, heartbeats): (&Link, Option<HeartbeatTopics>),
    chains: &Arc<HostChains>,
    (source, target): (&ClusterConfig, &ClusterConfig),
    planner: &KafkaPlanner,
) -> Result<(Facts, Option<Unknown>), String> {
    let discovery = KafkaDiscovery::new(source, &link.name, &link.topics, &link.topics_exclude, REQUEST);
    let discovery = discovery.map_err(|error| error.to_string())?.with_heartbeats(heartbeats.clone());
    let found = discovery.topics().await.map_err(|error| error.to_string())?;
    let listed: BTreeSet<Arc<str>> = found.listed.iter().map(|topic| Arc::clone(&topic.topic)).collect();
    let chains = around(Arc::clone(chains) as Arc<dyn ChainFactory>, heartbeats);
    let (named, unnamed) = target_names(chains, link.merge_topics, found.listed).map_err(|error| error.to_string())?;
    let feeds = fed_by(&named);
    let mut facts = planner.facts(named, link.sync.acls).await.map_err(|error| error.to_string())?;
    facts.unnamed = unnamed;
    facts.hidden.extend(found.hidden.into_iter().map(|(topic, error)| (topic, error.reason)));
    let missing = |(topic, meant): (Arc<str>, Option<Arc<str>>)| (topic, SourceTopics::reason_missing(meant.as_ref()));
    facts.hidden.extend(found.missing.into_iter().map(missing));
    let before = async {
        let (positions, _) = MapLog::new(source, target, &link.name, REQUEST).progress().await?;
        facts.learn(&positions);
        let control = KafkaControl::new(target, &link.name, REQUEST).said().await?;
        facts.recall(&control);
        if link.on_deleted == OnDeleted::Delete {
            facts.gone = gone(&control, (&listed, &feeds), &positions, planner).await?;
        }
        Ok::<_, PortError>(())
    };
    let unread = before.await.err().map(|error| {
        let of = "topics that the link has copied before".to_owned();
        Unknown { of, reason: error.reason }
    });
    Ok((facts, unread))
}

/// Returns what is known of target topics whose source topics are not listed. A topic that waits
/// was believed to be gone by the process that has written so, which asks again before it deletes.
async fn gone(
    control: &Control,
    (listed, feeds): (&BTreeSet<Arc<str>>, &Fed),
    positions: &BTreeMap<PartitionKey, Position>,
    planner: &KafkaPlanner,
) -> Result<BTreeMap<Arc<str>, GoneTopic>, PortError> {
    let is_gone = |record: &TopicRecord| !record.source.is_empty() && !listed.contains(&record.source);
    let records = control.topics().iter().filter(|(_, record)| is_gone(record));
    let mut all: BTreeMap<Arc<str>, GoneTopic> =
        records.map(|(topic, record)| (Arc::clone(topic), GoneTopic::of(record))).collect();
    if all.is_empty() {
        return Ok(all);
    }
    let sources: BTreeSet<Arc<str>> = all.values().map(|gone| Arc::clone(&gone.source)).collect();
    let at_source = planner.presence(Side::Source, sources.into_iter().collect()).await?;
    let at_target = planner.presence(Side::Target, all.keys().cloned().collect()).await?;
    for (topic, gone) in &mut all {
        let mut by_positions = Feeds::default();
        by_positions.add(positions, &gone.source, (topic, gone.made.unwrap_or_default()));
        gone.feeds = Some(by_positions);
        gone.named_for = feeds.get(topic).cloned().unwrap_or_default();
        gone.at_source = at_source.get(&gone.source).cloned();
        gone.at_target = at_target.get(topic).cloned();
        (gone.is_believed, gone.is_quiet) = (gone.gone.is_some(), gone.gone.is_some());
    }
    Ok(all)
}

fn refusal(answer: &Answer) -> Option<String> {
    match answer {
        Answer::Taken | Answer::WasSo | Answer::NotAsked => None,
        Answer::Refused(reason) | Answer::Denied(reason) => Some(format!("the target refuses it: {reason}")),
        Answer::WithoutSome { left_out, reason } => {
            Some(format!("the target takes it without {}: {reason}", left_out.join(", ")))
        }
    }
}

fn text(link: &Link, tried: &Tried) -> String {
    let Tried { plan, answers, topics, .. } = tried;
    let mut text = format!("link {}: {} -> {}, {topics} topics\n", link.name, link.source, link.target);
    for (action, answer) in plan.actions.iter().zip(answers) {
        for entry in action.entries() {
            text.push_str(&format!("{entry}\n"));
        }
        if let Some(refusal) = refusal(answer) {
            text.push_str(&format!("    {refusal}\n"));
        }
    }
    for entry in plan.left.iter().map(|left| left.entry()).chain(plan.unknown.iter().map(Unknown::entry)) {
        text.push_str(&format!("{entry}\n"));
    }
    let entries = plan.entries();
    let count = |sign| entries.iter().filter(|entry| entry.sign == sign).count();
    text.push_str(&format!(
        "{} to make, {} to change, {} to delete; {} left as they are, {} not known\n",
        count(Sign::Make),
        count(Sign::Change),
        count(Sign::Delete),
        count(Sign::Leave),
        count(Sign::Unknown)
    ));
    if !plan.actions.iter().all(|action| tried.is_by_run(action)) {
        text.push_str(NOBODY);
    }
    text
}

fn to_json(link: &Link, tried: &Tried) -> Value {
    let Tried { plan, answers, topics, .. } = tried;
    let of_action = |(action, answer): (&Action, &Answer)| -> Vec<Value> {
        let with_answer = |mut entry: Value| {
            if let Value::Object(fields) = &mut entry {
                fields.insert("tried".to_owned(), json!(*answer != Answer::NotAsked));
                fields.insert("refused".to_owned(), json!(refusal(answer)));
                fields.insert("by_run".to_owned(), json!(tried.is_by_run(action)));
            }
            entry
        };
        action.entries().iter().map(|entry| with_answer(entry.json())).collect()
    };
    json!({
        "link": link.name,
        "source": link.source,
        "target": link.target,
        "topics": topics,
        "changes": plan.actions.iter().zip(answers).flat_map(of_action).collect::<Vec<_>>(),
        "left": plan.left.iter().map(|left| left.entry().json()).collect::<Vec<_>>(),
        "unknown": plan.unknown.iter().map(|unknown| unknown.entry().json()).collect::<Vec<_>>(),
    })
}
