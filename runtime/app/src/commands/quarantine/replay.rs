//! `strait quarantine replay`.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use strait_core::books::{BookIndex, BookKey, ReplayPlan, StateFilter, replay_plan};
use strait_core::config::Selector;
use strait_core::{Batch, Event, PartitionKey};
use strait_flow::SystemClock;
use strait_flow::ports::{Clock as _, Discovery as _, EventSink};
use strait_kafka::{
    Judged, KafkaDiscovery, Outcome, RECORDS_MAX, ReplayError, ReplayJob, ReplayTopics, Replayed, SourceFacts,
    TopicMaker, Work, Written, source_facts,
};

use super::judge::Judge;
use super::lanes::Lanes;
use super::summary::Summary;
use super::{Logging, Sides, as_of, filter, records};
use crate::cli::quarantine::ReplayRecords;
use crate::commands::partitions::user;
use crate::commands::{End, REQUEST, block_on, failed, print, reach};
use crate::compose;

/// How often the border is looked at again while records are replayed.
const BORDER: Duration = Duration::from_secs(10);

/// Runs the command.
pub fn replay(args: &ReplayRecords, logging: &Logging<'_>) -> End {
    match try_replay(args, logging) {
        Ok((text, end)) => match print(&text) {
            End::Ok => end,
            other => other,
        },
        Err(end) => end,
    }
}

fn try_replay(args: &ReplayRecords, logging: &Logging<'_>) -> Result<(String, End), End> {
    let sides = Sides::of(&args.of.config, &args.of.link)?;
    logging.start(&sides.loaded)?;
    let (link, filter) = (&sides.link, filter(&args.of, Some(&args.offsets), StateFilter::Open));
    let discovery = KafkaDiscovery::new(&sides.source, &link.name, &link.topics, &link.topics_exclude, REQUEST)
        .map_err(|e| failed(&e))?;
    reach(&sides.source)?;
    let topics = block_on(discovery.topics())?.listed;
    // Before the id is initialised: plugins that do not load end nobody else's job.
    let judge = Judge::load(&sides, topics).map_err(|error| failed(&error))?;
    let mut job = None;
    let books = if args.consent.yes {
        let maker = link.manage_topics.then(|| {
            let events: Arc<dyn EventSink> = Arc::new(Logged);
            Arc::new(TopicMaker::new(&sides.source, &link.name, link.sync.replication, events, REQUEST))
        });
        let begun = job.insert(ReplayJob::begin(sides.job_spec()?, maker).map_err(|error| failed(&error))?);
        begun.books(filter).map_err(|error| failed(&error))?
    } else {
        sides.books(filter)?
    };
    if books.index.entries.is_empty() {
        let text = format!("no such record of link {} is open in quarantine ({})", link.name, as_of(&books));
        let is_asked_for = args.of.topic.is_some() || args.of.code.is_some();
        return Ok((text, if is_asked_for { End::Failed } else { End::Ok }));
    }
    let age = as_of(&books);
    let mut replay = Replay::prepare(&sides, args, judge, books.index)?;
    let Some(mut job) = job else {
        let text = format!(
            "{} would be replayed ({age}). Nothing was changed: add --yes to do it\n{}",
            records(replay.plan.ready.len()),
            replay.summary.still_open()
        );
        return Ok((text, End::Ok));
    };
    let ended = replay.run(&mut job);
    let summary = &replay.summary;
    if let Err(error) = ended {
        return Err(failed(&format!(
            "{error}\n{}what is replayed stays so; run this again for the rest",
            summary.text()
        )));
    }
    Ok((summary.text(), if summary.is_whole() { End::Ok } else { End::Failed }))
}

/// Logs what becomes known of topics that are created.
struct Logged;

impl EventSink for Logged {
    fn emit(&self, link: &str, event: Event) {
        tracing::warn!(link, "{event}");
    }
}

/// A replay whose records are known.
struct Replay<'a> {
    sides: &'a Sides,
    args: &'a ReplayRecords,
    judge: Judge,
    index: BookIndex,
    facts: SourceFacts,
    lanes: Lanes,
    plan: ReplayPlan,
    summary: Summary,
    /// Source partitions whose records the plugins judge by those before them.
    looks_back: BTreeSet<PartitionKey>,
}

impl<'a> Replay<'a> {
    fn prepare(sides: &'a Sides, args: &'a ReplayRecords, mut judge: Judge, index: BookIndex) -> Result<Self, End> {
        let link = &sides.link;
        let keys: Vec<BookKey> = index.entries.keys().cloned().collect();
        let facts = block_on(source_facts(&sides.source, &link.name, keys, REQUEST))?;
        let identity = compose::identity(&sides.loaded, link, facts.cluster_id.clone());
        let lanes = block_on(Lanes::read(&sides.target, &identity, &link.name, index.entries.keys()))?;
        lanes.check_border(&judge.border()).map_err(|error| failed(&error))?;
        let selector = Selector::new(&link.topics, &link.topics_exclude).map_err(|error| failed(&error))?;
        let plan =
            replay_plan(index.entries.keys(), &facts.topics, &lanes.positions(), |topic| selector.selects(topic));
        let mut summary = Summary::of(index.entries.len());
        for (key, why) in &plan.held_back {
            summary.hold_back(key.clone(), why);
        }
        let mut looks_back = BTreeSet::new();
        for key in plan.ready.chunk_by(|one, other| one.partition == other.partition).filter_map(<[_]>::first) {
            let partition = &key.partition;
            let partitions = facts.topics.get(&partition.topic).map_or(1, |topic| topic.partitions);
            if judge.looks_back(partition, partitions) {
                looks_back.insert(partition.clone());
            }
        }
        if let Some(partition) = looks_back.first().filter(|_| !args.accept_late) {
            return Err(failed(&format!(
                "a plugin of the link judges records of topic {} by those before them (lookback), and a replayed record comes behind newer ones: replay all the same with --accept-late, or discard the records",
                partition.topic
            )));
        }
        Ok(Self { sides, args, judge, index, facts, lanes, plan, summary, looks_back })
    }

    /// Replays what is ready, transaction by transaction.
    ///
    /// # Errors
    /// Why it ends before the end.
    fn run(&mut self, job: &mut ReplayJob) -> Result<(), String> {
        let mut rules = ReplayTopics {
            accept_late: self.args.accept_late,
            new_topics_max: self.sides.link.new_topics_max,
            written: self.lanes.written(),
        };
        let (by, ready): (Arc<str>, _) = (user().into(), std::mem::take(&mut self.plan.ready));
        let (mut left, mut one_by_one, mut looked) = (ready.as_slice(), 0_usize, Instant::now());
        while let Some(first) = left.first() {
            if looked.elapsed() > BORDER {
                block_on(self.lanes.refresh()).map_err(|_| "the lanes cannot be read".to_owned())?;
                self.lanes.check_border(&self.judge.border())?;
                looked = Instant::now();
            }
            // Its records need what came before each of them.
            let is_single = one_by_one > 0 || self.looks_back.contains(&first.partition);
            let fetched = job.fetch(left, if is_single { 1 } else { RECORDS_MAX }).map_err(said)?;
            let (done, count, held_back) = (fetched.done, fetched.records(), fetched.held_back);
            let written = self.write(job, &mut rules, fetched.batches, &by)?;
            if matches!(written, Written::Refused(_)) && count > 1 {
                // One of them is to blame: each goes alone.
                one_by_one = done;
                continue;
            }
            for (key, why) in held_back {
                self.summary.hold_back(key, &why);
            }
            match written {
                Written::Done(Replayed { outcomes, stopped }) => {
                    let tried = outcomes.len();
                    outcomes.into_iter().for_each(|(key, outcome)| self.summary.add(key, outcome));
                    if stopped {
                        self.summary.untried = left.len().saturating_sub(done) + count.saturating_sub(tried);
                        return Ok(());
                    }
                }
                Written::Refused(text) => {
                    let refused = Outcome::Refused { by: "target".into(), code: "refused".into(), text };
                    self.summary.add(first.clone(), refused);
                    if self.args.stop_at_reject {
                        self.summary.untried = left.len().saturating_sub(done);
                        return Ok(());
                    }
                }
            }
            one_by_one = one_by_one.saturating_sub(done);
            left = left.get(done.max(1)..).unwrap_or_default();
            tracing::info!(
                link = self.sides.link.name,
                replayed = self.summary.replayed(),
                left = left.len(),
                "replaying"
            );
        }
        Ok(())
    }

    /// Judges and writes the records of one transaction.
    fn write(
        &mut self,
        job: &mut ReplayJob,
        rules: &mut ReplayTopics,
        batches: Vec<(PartitionKey, Batch)>,
        by: &Arc<str>,
    ) -> Result<Written, String> {
        let mut judged = Vec::with_capacity(batches.len());
        for (partition, batch) in batches {
            let partitions = self.facts.topics.get(&partition.topic).map_or(1, |topic| topic.partitions);
            let processed = self.judge.judge(job, &partition, &batch, partitions)?;
            let lane = self.lanes.lane_of(&partition);
            judged.push(Judged { partition, lane, partitions, processed });
        }
        let entries = |key: &BookKey| self.index.entries.get(key).cloned();
        let work = Work {
            judged: &judged,
            entries: &entries,
            by: Arc::clone(by),
            now_ms: SystemClock::start().unix_ms(),
            generation: self.judge.border().generation,
            on_timestamp_zero: self.sides.link.on_timestamp_zero,
            stop_at_reject: self.args.stop_at_reject,
        };
        job.write(&work, rules).map_err(said)
    }
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn said(error: ReplayError) -> String {
    error.to_string()
}
