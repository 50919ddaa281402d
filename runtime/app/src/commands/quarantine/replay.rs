//! `strait quarantine replay`.

use std::collections::{BTreeSet, VecDeque};
use std::sync::Arc;
use std::time::{Duration, Instant};

use strait_core::books::{BookFilter, BookIndex, BookKey, ReplayPlan, StateFilter, replay_plan};
use strait_core::config::Selector;
use strait_core::{Batch, Event, PartitionKey};
use strait_flow::SystemClock;
use strait_flow::ports::{Clock as _, Discovery as _, EventSink};
use strait_kafka::{
    Blocked, Fetched, Judged, KafkaDiscovery, Outcome, RECORDS_MAX, ReplayError, ReplayJob, ReplayTopics, Replayed,
    SourceFacts, TopicMaker, Work, Written, source_facts,
};

use super::judge::Judge;
use super::lanes::Lanes;
use super::summary::Summary;
use super::{Logging, Sides, as_of, filter, records};
use crate::cli::quarantine::ReplayRecords;
use crate::commands::partitions::user;
use crate::commands::{End, REQUEST, block_on, failed, print, reach};
use crate::compose;

/// How often border, positions and books are looked at again while records are replayed.
const LOOK: Duration = Duration::from_secs(10);
/// Something that failed after this long may be a cluster that does not answer.
const SILENT: Duration = Duration::from_secs(5);
/// How often that may happen in a row.
const SILENCES_MAX: usize = 10;
/// Why records wait whose plugins look back.
const LATE_PLUGIN: &str = "a plugin of the link judges records by those before them (lookback), and a replayed record comes behind newer ones: replay all the same with --accept-late, or discard the records";

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
        .map_err(|e| failed(&e))?
        .with_heartbeats(sides.loaded.config.heartbeats_of(link));
    reach(&sides.source)?;
    let topics = block_on(discovery.topics())?.listed;
    // Before the id is initialised: plugins that do not load end nobody else's job.
    let judge = Judge::load(&sides, topics).map_err(|error| failed(&error))?;
    let mut job = None;
    let books = if args.consent.yes {
        let maker = link.manage_topics.then(|| {
            let events: Arc<dyn EventSink> = Arc::new(Logged);
            Arc::new(TopicMaker::new(&sides.source, &link.name, &link.sync, events, REQUEST))
        });
        let begun = job.insert(ReplayJob::begin(sides.job_spec()?, maker).map_err(|error| failed(&error))?);
        begun.books(filter.clone()).map_err(|error| failed(&error))?
    } else {
        sides.books(filter.clone())?
    };
    if books.index.entries.is_empty() {
        let text = format!("no such record of link {} is open in quarantine ({})", link.name, as_of(&books));
        let is_asked_for = args.of.topic.is_some() || args.of.code.is_some();
        return Ok((text, if is_asked_for { End::Failed } else { End::Ok }));
    }
    let age = as_of(&books);
    let mut replay = Replay::prepare(&sides, args, judge, filter, books.index)?;
    let Some(mut job) = job else {
        let text = format!(
            "{} would be replayed ({age}). Nothing was changed: add --yes to do it\n{}",
            records(replay.left.len()),
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
    filter: BookFilter,
    index: BookIndex,
    facts: SourceFacts,
    lanes: Lanes,
    selector: Selector,
    /// The records that are ready and not replayed yet, ascending.
    left: VecDeque<BookKey>,
    summary: Summary,
    /// Source partitions whose records the plugins judge by those before them.
    looks_back: BTreeSet<PartitionKey>,
    /// Source partitions that share no transaction with others.
    alone: BTreeSet<PartitionKey>,
}

impl<'a> Replay<'a> {
    fn prepare(
        sides: &'a Sides,
        args: &'a ReplayRecords,
        judge: Judge,
        filter: BookFilter,
        index: BookIndex,
    ) -> Result<Self, End> {
        let link = &sides.link;
        let keys: Vec<BookKey> = index.entries.keys().cloned().collect();
        let facts = block_on(source_facts(&sides.source, &link.name, keys.clone(), REQUEST))?;
        let identity = compose::identity(&sides.loaded, link, facts.cluster_id.clone());
        let lanes = block_on(Lanes::read(&sides.target, &identity, &link.name, keys.iter()))?;
        lanes.check_border(&judge.border()).map_err(|error| failed(&error))?;
        let selector = Selector::new(&link.topics, &link.topics_exclude).map_err(|error| failed(&error))?;
        let summary = Summary::of(keys.len());
        let (left, looks_back, alone) = (VecDeque::new(), BTreeSet::new(), BTreeSet::new());
        let mut new =
            Self { sides, args, judge, filter, index, facts, lanes, selector, left, summary, looks_back, alone };
        let plan = new.plan(&keys);
        for (key, why) in plan.held_back {
            new.summary.hold_back(key, &why);
        }
        new.left = plan.ready.into();
        let partitions: BTreeSet<PartitionKey> = new.left.iter().map(|key| key.partition.clone()).collect();
        for partition in partitions {
            let count = new.facts.topics.get(&partition.topic).map_or(1, |topic| topic.partitions);
            if !new.judge.looks_back(&partition, count) {
                continue;
            }
            if !args.accept_late {
                new.leave(&partition, LATE_PLUGIN);
            }
            new.looks_back.insert(partition);
        }
        Ok(new)
    }

    /// Replays what is ready, transaction by transaction. What cannot be read, judged or written
    /// stops its own source partition.
    ///
    /// # Errors
    /// Why it ends before the end.
    fn run(&mut self, job: &mut ReplayJob) -> Result<(), String> {
        let mut rules = ReplayTopics {
            accept_late: self.args.accept_late,
            new_topics_max: self.sides.link.new_topics_max,
            written: self.lanes.written(),
        };
        let by: Arc<str> = user().into();
        let (mut one_by_one, mut silences, mut next_look) = (0_usize, 0_usize, Instant::now() + LOOK);
        while let Some(first) = self.left.front().cloned() {
            let began = Instant::now();
            if began > next_look {
                self.look_again(job)?;
                // A long log takes long to read.
                next_look = Instant::now() + LOOK.max(began.elapsed() * 10);
                continue;
            }
            // Its records need what came before each of them.
            let is_single = one_by_one > 0 || self.looks_back.contains(&first.partition);
            let together = self.together(&first.partition);
            let asked = self.left.make_contiguous().get(..together).unwrap_or_default();
            let place_of = |key: &BookKey| self.index.entries.get(key).map(|booked| booked.entry.place);
            let step = match job.fetch(asked, &place_of, if is_single { 1 } else { RECORDS_MAX }) {
                Ok(fetched) => self.transact(job, &mut rules, fetched, &by)?,
                Err(error) if error.ends_all() => return Err(error.to_string()),
                Err(error) => {
                    self.leave(&first.partition, &error.to_string());
                    Step::Failed
                }
            };
            match step {
                Step::Moved(records) => (one_by_one, silences) = (one_by_one.saturating_sub(records), 0),
                Step::OneByOne(records) => one_by_one = records,
                Step::Failed => silences += usize::from(began.elapsed() >= SILENT),
                Step::Stopped => return Ok(()),
            }
            if silences >= SILENCES_MAX {
                let left: Vec<BookKey> = self.left.drain(..).collect();
                self.summary
                    .leave(left, "not tried, as too many source partitions before it have failed: run this again");
            }
            tracing::info!(
                link = self.sides.link.name,
                replayed = self.summary.replayed(),
                left = self.left.len(),
                "replaying"
            );
        }
        Ok(())
    }

    /// Returns how many of the next records may share a transaction.
    fn together(&self, first: &PartitionKey) -> usize {
        let may = |key: &&BookKey| match self.alone.contains(first) {
            true => key.partition == *first,
            false => !self.alone.contains(&key.partition),
        };
        self.left.iter().take(RECORDS_MAX).take_while(may).count()
    }

    /// Leaves the rest of a source partition: nothing overtakes a record that stays open because
    /// its place cannot be written or read.
    fn leave(&mut self, partition: &PartitionKey, cause: &str) {
        let (left, others): (VecDeque<BookKey>, _) =
            std::mem::take(&mut self.left).into_iter().partition(|key| key.partition == *partition);
        self.left = others;
        self.summary.leave(left.into(), cause);
    }

    /// Looks again at what may have changed: the border, and the positions of the lanes. One that
    /// reads its partition again copies its records itself, and has told the books.
    fn look_again(&mut self, job: &mut ReplayJob) -> Result<(), String> {
        block_on(self.lanes.refresh()).map_err(|_| "the lanes cannot be read".to_owned())?;
        self.lanes.check_border(&self.judge.border())?;
        let books = job.books(self.filter.clone()).map_err(said)?;
        let is_open = |key: &BookKey| books.index.entries.contains_key(key);
        let (open, ended): (Vec<BookKey>, Vec<BookKey>) = self.left.drain(..).partition(is_open);
        self.summary.leave(ended, "the link has read it again meanwhile: nothing is to be done");
        let plan = self.plan(&open);
        for (key, why) in plan.held_back {
            self.summary.hold_back(key, &why);
        }
        self.left = plan.ready.into();
        Ok(())
    }

    fn plan<'k>(&self, keys: impl IntoIterator<Item = &'k BookKey>) -> ReplayPlan {
        replay_plan(keys, &self.facts.topics, &self.lanes.positions(), |topic| self.selector.selects(topic))
    }

    /// Judges and writes records in one transaction.
    fn transact(
        &mut self,
        job: &mut ReplayJob,
        rules: &mut ReplayTopics,
        fetched: Fetched,
        by: &Arc<str>,
    ) -> Result<Step, String> {
        let (done, count) = (fetched.done, fetched.records());
        let first = fetched.batches.first().and_then(|(partition, batch)| {
            Some(BookKey { partition: partition.clone(), offset: batch.first_offset()? })
        });
        let (written, mut blocked) = self.write(job, rules, fetched.batches, by)?;
        let Replayed { outcomes, stopped, blocked: more } = match written {
            Written::Done(replayed) => replayed,
            Written::Refused(text) if count == 1 => {
                let refused = Outcome::Refused { by: "target".into(), code: "refused".into(), text };
                let outcomes = first.map(|only| (only, refused)).into_iter().collect();
                Replayed { outcomes, stopped: self.args.stop_at_reject, blocked: Vec::new() }
            }
            Written::Refused(_) => {
                blocked.iter().for_each(|blocked| self.leave(&blocked.partition, &blocked.cause));
                // One of them is to blame: each goes alone.
                return Ok(Step::OneByOne(done));
            }
            Written::Failed { partitions, is_sure, cause } => {
                if is_sure || partitions.len() < 2 {
                    blocked.extend(partitions.into_iter().map(|p| Blocked { partition: p, cause: cause.clone() }));
                } else {
                    // Each goes alone, to find out which ones are to blame.
                    self.alone.extend(partitions);
                }
                blocked.iter().for_each(|blocked| self.leave(&blocked.partition, &blocked.cause));
                return Ok(Step::Failed);
            }
        };
        blocked.extend(more);
        let has_moved = !outcomes.is_empty() || !fetched.held_back.is_empty();
        let mut taken: BTreeSet<BookKey> = self.left.drain(..done.max(1).min(self.left.len())).collect();
        for (key, outcome) in outcomes {
            taken.remove(&key);
            self.summary.add(key, outcome);
        }
        for (key, why) in fetched.held_back {
            taken.remove(&key);
            self.summary.hold_back(key, &why);
        }
        for Blocked { partition, cause } in &blocked {
            let of_partition = taken.extract_if(.., |key| key.partition == *partition).collect();
            self.summary.leave(of_partition, cause);
            self.leave(partition, cause);
        }
        if stopped {
            self.summary.untried = taken.len() + self.left.len();
            return Ok(Step::Stopped);
        }
        // None, as each record has an outcome.
        self.summary.leave(taken.into_iter().collect(), "not tried: please report this as a bug");
        Ok(if has_moved { Step::Moved(done) } else { Step::Failed })
    }

    /// Judges and writes the records of one transaction. Also returns the source partitions that
    /// cannot be judged.
    fn write(
        &mut self,
        job: &mut ReplayJob,
        rules: &mut ReplayTopics,
        batches: Vec<(PartitionKey, Batch)>,
        by: &Arc<str>,
    ) -> Result<(Written, Vec<Blocked>), String> {
        let (mut judged, mut unjudged) = (Vec::with_capacity(batches.len()), Vec::<Blocked>::new());
        for (partition, batch) in batches {
            if unjudged.last().is_some_and(|last| last.partition == partition) {
                continue;
            }
            let partitions = self.facts.topics.get(&partition.topic).map_or(1, |topic| topic.partitions);
            match self.judge.judge(job, &partition, &batch, partitions) {
                Ok(processed) => {
                    let lane = self.lanes.lane_of(&partition);
                    judged.push(Judged { partition, lane, partitions, processed });
                }
                Err(cause) => unjudged.push(Blocked { partition, cause }),
            }
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
        Ok((job.write(&work, rules).map_err(said)?, unjudged))
    }
}

/// The outcome of a transaction.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Step {
    /// So many records are done with.
    Moved(usize),
    /// Nothing was written. So many records are to be written one by one.
    OneByOne(usize),
    /// Nothing was written.
    Failed,
    /// A refused record ends the replay.
    Stopped,
}

#[allow(clippy::needless_pass_by_value, reason = "for map_err")]
fn said(error: ReplayError) -> String {
    error.to_string()
}
