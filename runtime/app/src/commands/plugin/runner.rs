//! Runs one plugin as the only one of a link, or all plugins of a link, over the records of a file:
//! in the same host, without a broker.

use std::env;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use serde_json::Value;
use strait_core::Record;
use strait_core::batch::{Batch, BatchBuilder, TimestampType};
use strait_core::edit::{Content, Disposition, OutRecord, Processed, Reject, Route};
use strait_core::offset::{LeaderEpoch, SourceOffset};
use strait_core::topic::{PartitionKey, TopicId};
use strait_flow::ports::{Chain, ChainError};
use strait_host::{
    ChainSpec, HostChains, HostEngine, HostOptions, LinkInfo, PluginChain, PluginSource, PluginSpec, StageTrace,
    TopicNaming, bundled_names,
};

use super::Refusal;
use super::jsonl::{self, form, member, quoted};
use crate::compiler::own_process;

/// Most records of one call of `Chain::apply`. A fetch has about as many.
const BATCH_RECORDS_MAX: usize = 500;
/// How often stateful plugins are warmed up for one batch, beyond once for each of its records.
const WARM_UPS_MAX: usize = 8;
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
pub fn load(engine: &HostEngine, subject: &Subject) -> Result<Arc<HostChains>, Refusal> {
    let link = LinkInfo {
        link: "test".to_owned(),
        source: "source".to_owned(),
        source_region: Some("source-region".to_owned()),
        target: "target".to_owned(),
        target_region: Some("target-region".to_owned()),
        residency: false,
        framing: Vec::new(),
    };
    let plugin = PluginSpec::new(&subject.name, subject.source.clone(), subject.config.clone());
    load_chain(engine, ChainSpec { plugins: vec![plugin], link, naming: TopicNaming::Identity })
}

/// Loads the plugins of a link.
///
/// # Errors
/// Which does not load, and why.
pub fn load_chain(engine: &HostEngine, mut spec: ChainSpec) -> Result<Arc<HostChains>, Refusal> {
    // The records are the author's own, and without the plugin's words a mistake in it could not be
    // found.
    spec.plugins.iter_mut().for_each(|plugin| plugin.show_guest_messages = true);
    HostChains::load(engine, spec).map_err(|error| Refusal::unusable(&error))
}

/// Returns the number of partitions that the topics of these records seem to have.
#[must_use]
pub fn partitions(records: &[Record]) -> u32 {
    let most = records.iter().map(|record| record.partition.saturating_add(1)).max().unwrap_or(0);
    u32::try_from(most.max(PARTITIONS_MIN)).unwrap_or(1)
}

/// Whether the outcome of a record says what each plugin did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// The outcome alone.
    Outcome,
    /// The plugins one by one, and the outcome.
    Stages,
}

/// The outcomes of a run.
#[derive(Debug, Default)]
pub struct Ran {
    /// One of each record that was judged, in order.
    pub outcomes: Vec<Outcome>,
    /// Partitions that were not judged to their end, as a lane would stop them.
    pub stopped: Vec<Stopped>,
}

/// A partition that was not judged to its end.
#[derive(Debug)]
pub struct Stopped {
    topic: Arc<str>,
    partition: i32,
    /// Its records without an outcome.
    records: usize,
    reason: String,
}

impl std::fmt::Display for Stopped {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { topic, partition, records, reason } = self;
        write!(f, "topic {}, partition {partition}: {records} records were not judged: {reason}", quoted(topic))
    }
}

/// Runs the records in order through a fresh chain. A partition that cannot be judged stops alone.
///
/// # Errors
/// The chain does not start.
pub fn run(chains: &HostChains, records: &[Record], detail: Detail) -> Result<Ran, String> {
    let mut chain = chains.plugin_chain().map_err(|error| error.to_string())?;
    let partitions = partitions(records);
    let mut ran = Ran { outcomes: Vec::with_capacity(records.len()), stopped: Vec::new() };
    let mut before = 0;
    for batch in batches(records) {
        let log = records.get(..before).unwrap_or_default();
        before += batch.len();
        let is_its = |stopped: &&mut Stopped| stopped.partition == batch.partition() && stopped.topic == *batch.topic();
        if let Some(stopped) = ran.stopped.iter_mut().find(is_its) {
            stopped.records += batch.len();
            continue;
        }
        match judge(&mut chain, &batch, log, partitions) {
            Ok((processed, trace)) => {
                push_outcomes(&processed, (detail == Detail::Stages).then_some(&trace), &mut ran.outcomes);
            }
            Err(reason) => ran.stopped.push(Stopped {
                topic: Arc::clone(batch.topic()),
                partition: batch.partition(),
                records: batch.len(),
                reason,
            }),
        }
    }
    Ok(ran)
}

/// Has the chain judge a batch as a lane does: a stateful plugin that breaks loses its state, is
/// shown the log again, and judges the batch without the records that are guilty by then.
fn judge(
    chain: &mut PluginChain,
    batch: &Batch,
    log: &[Record],
    partitions: u32,
) -> Result<(Processed, Vec<StageTrace>), String> {
    let mut attempts = batch.len() + WARM_UPS_MAX;
    loop {
        let judged = warm_up(chain, batch, log, partitions);
        match judged.and_then(|()| chain.apply_traced(batch.clone(), partitions)) {
            Err(error) if error.needs_warm_up() && attempts > 0 => attempts -= 1,
            judged => return judged.map_err(|error| error.to_string()),
        }
    }
}

/// Shows the chain the log before a batch, as far as it asks for that. Before the first record of a
/// partition there is nothing.
///
/// # Errors
/// A plugin broke on the log.
pub fn warm_up(chain: &mut PluginChain, batch: &Batch, log: &[Record], partitions: u32) -> Result<(), ChainError> {
    let Some(first) = batch.first_offset() else { return Ok(()) };
    let (topic, topic_id) = (Arc::clone(batch.topic()), TopicId::UNKNOWN);
    let place = PartitionKey { topic, topic_id, partition: batch.partition() };
    let asked = chain.warm_up_needed(&place, first, partitions);
    if asked.is_empty() {
        return Ok(());
    }
    let of_partition = |record: &&Record| *record.topic == *place.topic && record.partition == place.partition;
    let log: Vec<&Record> = log.iter().filter(of_partition).collect();
    let times = batch.iter().map(|record| record.timestamp_ms).filter(|time_ms| *time_ms > 0);
    let time_ms = times.min().unwrap_or(0);
    let from = asked.iter().map(|asked| {
        let by_offset = first.0.saturating_sub(i64::from(asked.records));
        let since_ms = time_ms.saturating_sub_unsigned(asked.ms).max(0);
        let by_time = log.iter().find(|record| asked.ms > 0 && record.timestamp_ms >= since_ms);
        by_time.map_or(by_offset, |record| by_offset.max(record.offset))
    });
    let from = from.min().unwrap_or(first.0);
    let shown: Vec<Record> = log.into_iter().filter(|record| record.offset >= from).cloned().collect();
    for batch in batches(&shown) {
        chain.warm_up(&batch, first, partitions)?;
    }
    chain.warmed_up(&place, first);
    Ok(())
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

fn push_outcomes(processed: &Processed, trace: Option<&Vec<StageTrace>>, outcomes: &mut Vec<Outcome>) {
    let mut dispositions = processed.dispositions.iter().peekable();
    let (topic, target_topic) = (processed.batch.topic(), &*processed.target_topic);
    let renamed = *target_topic != **topic;
    for (index, record) in processed.batch.iter().enumerate() {
        let disposition = dispositions.next_if(|(at, _)| *at == index).map(|(_, disposition)| disposition);
        let topics = match disposition {
            None => vec![target_topic.to_owned()],
            Some(Disposition::Replace(records)) => {
                records.iter().map(|out| out.topic.as_deref().unwrap_or(target_topic).to_owned()).collect()
            }
            Some(_) => Vec::new(),
        };
        let mut members = vec![
            member("topic", &quoted(topic)),
            member("partition", &processed.batch.partition().to_string()),
            member("offset", &record.offset.0.to_string()),
        ];
        members.extend(trace.map(|trace| member("stages", &stages(trace, topic, index))));
        members.push(fate(disposition, renamed, target_topic));
        let unchanged = disposition.is_none() && !renamed;
        outcomes.push(Outcome { json: format!("{{{}}}", members.join(",")), unchanged, topics });
    }
}

/// Returns what became of a record, as a member.
fn fate(disposition: Option<&Disposition>, renamed: bool, target_topic: &str) -> String {
    match disposition {
        None if renamed => member("pass", &format!("{{{}}}", member("topic", &quoted(target_topic)))),
        None => member("pass", "{}"),
        Some(Disposition::Drop) => member("drop", "{}"),
        Some(Disposition::Reject(reject)) => member("reject", &refusal(reject)),
        Some(Disposition::Halt(reject)) => member("halt", &refusal(reject)),
        Some(Disposition::Replace(records)) => {
            let sent: Vec<String> = records.iter().map(|out| sent(out, renamed, target_topic)).collect();
            member("send", &format!("[{}]", sent.join(",")))
        }
    }
}

/// Returns how each plugin leaves a record, up to the one that lets it go no further. What the
/// plugin leaves as it was passes.
fn stages(trace: &[StageTrace], source_topic: &str, index: usize) -> String {
    let mut stages = Vec::new();
    let (mut before, mut topic_before): (Option<&Disposition>, &str) = (None, source_topic);
    for StageTrace { plugin, topic, dispositions } in trace {
        if matches!(before, Some(Disposition::Drop | Disposition::Reject(_) | Disposition::Halt(_))) {
            break;
        }
        let at = dispositions.binary_search_by_key(&index, |(at, _)| *at).ok();
        let now = at.and_then(|at| dispositions.get(at)).map(|(_, disposition)| disposition);
        let fate = match now == before {
            true => fate(None, **topic != *topic_before, topic),
            false => fate(now, **topic != *source_topic, topic),
        };
        stages.push(format!("{{{},{fate}}}", member("plugin", &quoted(plugin))));
        (before, topic_before) = (now, &**topic);
    }
    format!("[{}]", stages.join(","))
}

fn refusal(reject: &Reject) -> String {
    let mut members = vec![member("code", &quoted(&reject.code))];
    members.extend(reject.rule.as_deref().map(|rule| member("rule", &quoted(rule))));
    members.push(member("reason", &quoted(&reject.text)));
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
