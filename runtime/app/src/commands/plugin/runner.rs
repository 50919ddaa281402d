//! Runs one plugin over the records of a file, as the only plugin of a link: in the same host,
//! without a broker.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use strait_core::Record;
use strait_core::batch::{Batch, BatchBuilder, TimestampType};
use strait_core::edit::{Content, Disposition, OutRecord, Processed, Reject, Route};
use strait_core::offset::{LeaderEpoch, SourceOffset};
use strait_core::topic::{PartitionKey, TopicId};
use strait_flow::ports::{Chain, ChainFactory};
use strait_host::{
    ChainSpec, HostChains, HostEngine, HostOptions, LinkInfo, PluginSource, PluginSpec, TopicNaming, bundled_names,
};

use super::jsonl::{self, form, member, quoted};
use crate::compiler::own_process;

/// Most records of one call of `Chain::apply`. A fetch has about as many.
const BATCH_RECORDS_MAX: usize = 500;
/// Least number of partitions that the topics seem to have.
const PARTITIONS_MIN: i32 = 6;

/// A plugin and its configuration.
#[derive(Clone, Debug)]
pub struct Subject {
    /// Name in messages.
    pub name: String,
    /// Where its file is.
    pub source: PluginSource,
    /// Configuration of the plugin.
    pub config: Value,
}

/// The outcome of one record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// One line of JSON. Golden files hold these lines, so the form is stable.
    pub json: String,
    /// Whether it passed unchanged, under its own topic.
    pub unchanged: bool,
    /// Topics that it goes to.
    pub topics: Vec<String>,
}

impl Subject {
    /// Returns the plugin of a path, or the bundled plugin of this name where no such file exists.
    #[must_use]
    pub fn named(text: &str, config: Value) -> Self {
        let path = PathBuf::from(text);
        let bundled = !path.exists() && bundled_names().any(|name| name == text);
        let source = if bundled { PluginSource::Bundled(text.to_owned()) } else { PluginSource::File(path.clone()) };
        let stem = path.file_stem().map_or_else(|| text.to_owned(), |stem| stem.to_string_lossy().into_owned());
        Self { name: stem, source, config }
    }

    /// Returns the plugin of a project.
    #[must_use]
    pub fn file(name: &str, path: &Path, config: Value) -> Self {
        Self { name: name.to_owned(), source: PluginSource::File(path.to_owned()), config }
    }
}

/// Returns an engine that caches compiled plugins in the user's cache folder: an author runs the
/// same plugin often.
///
/// # Errors
/// Why the engine does not start.
pub fn engine() -> Result<HostEngine, String> {
    HostEngine::with(HostOptions { compiled_dir: compiled_dir(), compiler: own_process(), ..HostOptions::default() })
}

/// Returns the cache folder. A relative `XDG_CACHE_HOME` is ignored, as its specification demands.
fn compiled_dir() -> Option<PathBuf> {
    let folder = |name: &str| env::var_os(name).map(PathBuf::from).filter(|path| path.is_absolute());
    let cache = folder("XDG_CACHE_HOME").or_else(|| Some(folder("HOME")?.join(".cache")))?;
    Some(cache.join("strait/compiled"))
}

/// Loads the plugin as a link's chain of one.
///
/// # Errors
/// Why it does not load.
pub fn load(engine: &HostEngine, subject: &Subject) -> Result<Arc<HostChains>, String> {
    let link = LinkInfo {
        link: "test".to_owned(),
        source: "source".to_owned(),
        source_region: Some("source-region".to_owned()),
        target: "target".to_owned(),
        target_region: Some("target-region".to_owned()),
    };
    let mut plugin = PluginSpec::new(&subject.name, subject.source.clone(), subject.config.clone());
    // The records are the author's own, and without the plugin's words a mistake in it could not be
    // found.
    plugin.show_guest_messages = true;
    let spec = ChainSpec { plugins: vec![plugin], link, naming: TopicNaming::Identity };
    HostChains::load(engine, spec).map_err(|error| error.to_string())
}

/// Returns the number of partitions that the topics of these records seem to have.
#[must_use]
pub fn partitions(records: &[Record]) -> u32 {
    let most = records.iter().map(|record| record.partition.saturating_add(1)).max().unwrap_or(0);
    u32::try_from(most.max(PARTITIONS_MIN)).unwrap_or(1)
}

/// Runs the records in order through a fresh chain. Returns one outcome per record.
///
/// # Errors
/// Where and how the plugin failed.
pub fn run(chains: &HostChains, records: &[Record]) -> Result<Vec<Outcome>, String> {
    let mut chain = chains.chain().map_err(|error| error.to_string())?;
    let partitions = partitions(records);
    let mut outcomes = Vec::with_capacity(records.len());
    for batch in batches(records) {
        let processed = judge(&mut *chain, batch, partitions)?;
        push_outcomes(&processed, &mut outcomes);
    }
    Ok(outcomes)
}

/// Has the chain judge a batch. Before the first record of a partition there was nothing: that is
/// the whole log that a stateful plugin sees.
///
/// # Errors
/// Where the plugin broke, and how.
pub fn judge(chain: &mut dyn Chain, batch: Batch, partitions: u32) -> Result<Processed, String> {
    if let Some(first) = batch.first_offset() {
        let (topic, topic_id) = (Arc::clone(batch.topic()), TopicId::UNKNOWN);
        let place = PartitionKey { topic, topic_id, partition: batch.partition() };
        if !chain.warm_up_needed(&place, first, partitions).is_empty() {
            chain.warmed_up(&place, first);
        }
    }
    chain.apply(batch, partitions).map_err(|error| error.to_string())
}

/// Groups the records into batches as a reader fetches them: runs of one partition.
#[must_use]
pub fn batches(records: &[Record]) -> Vec<Batch> {
    let same = |a: &Record, b: &Record| a.topic == b.topic && a.partition == b.partition;
    let runs = records.chunk_by(same).flat_map(|run| run.chunks(BATCH_RECORDS_MAX));
    runs.map(|run| {
        let (topic, partition) = run.first().map_or(("", 0), |first| (first.topic.as_str(), first.partition));
        let mut builder = BatchBuilder::new(topic.into(), partition, TimestampType::Create, LeaderEpoch(0));
        for record in run {
            let (key, value) = (record.key.as_deref(), record.value.as_deref());
            builder.push(SourceOffset(record.offset), record.timestamp_ms, key, value);
            for (name, value) in &record.headers {
                builder.push_header(name, value.as_deref());
            }
        }
        builder.build()
    })
    .collect()
}

fn push_outcomes(processed: &Processed, outcomes: &mut Vec<Outcome>) {
    let mut dispositions = processed.dispositions.iter().peekable();
    let renamed = *processed.target_topic != **processed.batch.topic();
    for (index, record) in processed.batch.iter().enumerate() {
        let disposition = dispositions.next_if(|(at, _)| *at == index).map(|(_, disposition)| disposition);
        let mut topics = Vec::new();
        let fate = match disposition {
            None if renamed => {
                topics.push(processed.target_topic.to_string());
                member("pass", &format!("{{{}}}", member("topic", &quoted(&processed.target_topic))))
            }
            None => {
                topics.push(processed.target_topic.to_string());
                member("pass", "{}")
            }
            Some(Disposition::Drop) => member("drop", "{}"),
            Some(Disposition::Reject(reject)) => member("reject", &refusal(reject)),
            Some(Disposition::Halt(reject)) => member("halt", &refusal(reject)),
            Some(Disposition::Replace(records)) => {
                let topic = |out: &OutRecord| out.topic.as_deref().unwrap_or(&processed.target_topic).to_owned();
                topics.extend(records.iter().map(topic));
                let sent: Vec<String> = records.iter().map(|out| sent(out, renamed, &processed.target_topic)).collect();
                member("send", &format!("[{}]", sent.join(",")))
            }
        };
        let place = [
            member("topic", &quoted(processed.batch.topic())),
            member("partition", &processed.batch.partition().to_string()),
            member("offset", &record.offset.0.to_string()),
        ];
        outcomes.push(Outcome {
            json: format!("{{{},{fate}}}", place.join(",")),
            unchanged: disposition.is_none() && !renamed,
            topics,
        });
    }
}

fn refusal(reject: &Reject) -> String {
    let members = [member("code", &quoted(&reject.code)), member("reason", &quoted(&reject.text))];
    format!("{{{}}}", members.join(","))
}

/// Returns the changed parts of a record.
fn sent(out: &OutRecord, renamed: bool, target_topic: &str) -> String {
    let mut members = Vec::new();
    match &out.topic {
        Some(topic) => members.push(member("topic", &quoted(topic))),
        None if renamed => members.push(member("topic", &quoted(target_topic))),
        None => {}
    }
    match &out.route {
        Route::Keep | Route::ByKey => {}
        Route::Partition(partition) => members.push(member("partition", &partition.to_string())),
        Route::Hash(bytes) => members.push(member("partition_by", &form(Some(bytes)))),
    }
    for (name, content) in [("key", &out.key), ("value", &out.value)] {
        match content {
            Content::Original => {}
            Content::Null => members.push(member(name, "null")),
            Content::Bytes(bytes) => members.push(member(name, &form(Some(bytes)))),
        }
    }
    if let Some(headers) = &out.headers {
        members.push(member("headers", &jsonl::headers(headers)));
    }
    if let Some(timestamp_ms) = out.timestamp_ms {
        members.push(member("timestamp", &timestamp_ms.to_string()));
    }
    format!("{{{}}}", members.join(","))
}
