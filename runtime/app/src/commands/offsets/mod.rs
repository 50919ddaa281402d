//! `strait offsets …`.

mod positions;

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;
use strait_core::config::{DeliveryMode, Link};
use strait_core::map::{Answer, Exactness, LinkMap, NoAnswer, Why};
use strait_core::progress::{Position, resume_point};
use strait_core::{PartitionKey, SourceOffset, TargetOffset};
use strait_flow::ports::PortError;
use strait_kafka::{AllBounds, Committed, MapLog, TargetBounds, positions_of};

use super::{End, REQUEST, block_on, ends_of, failed, link_of, load, print, print_message};
use crate::cli::offsets::{OffsetsCommand, OffsetsOutput, Translate};

/// A partition and an offset in it.
#[derive(Debug, Serialize)]
struct Place {
    topic: Arc<str>,
    partition: i32,
    /// The next offset to read; none where there is no answer.
    offset: Option<i64>,
}

/// One translated position.
#[derive(Debug, Serialize)]
struct Translated {
    /// The positions that were translated.
    from: Vec<Place>,
    /// The answer.
    to: Place,
    /// Whether the reader continues with exactly the records that it would read next.
    exact: bool,
    /// Records that it reads again, where that is known.
    re_reads: Option<u64>,
    /// Source offsets that it is ahead of the link.
    ahead: i64,
    /// Source offsets below the first one that the link ever copied.
    not_copied: i64,
    /// Source offsets up to the next copied record.
    left_out: i64,
    /// Why there is no answer, or why it is not exact.
    why: Option<String>,
}

/// Runs the command.
#[must_use]
pub fn offsets(command: &OffsetsCommand) -> End {
    let args = match command {
        OffsetsCommand::Translate(args) => args,
        OffsetsCommand::Positions(args) => return positions::positions(args),
    };
    match translate(args) {
        Ok(translated) => show(args, &translated),
        Err(end) => end,
    }
}

fn translate(args: &Translate) -> Result<Vec<Translated>, End> {
    let loaded = load(&args.config)?;
    let link = link_of(&loaded, &args.link)?;
    let (source, target) = ends_of(&loaded, link)?;
    let log = MapLog::new(&source, &target, &link.name, REQUEST);
    block_on(async {
        let (committed, reader) = asked(args, &log).await?;
        if committed.is_empty() {
            return Err(format!("{reader} has committed no offset: check its name, and that it reads this cluster"));
        }
        let translation = Translation { link, log: &log, committed, is_one: args.topic.is_some() };
        if args.inverse { translation.back_to_source().await } else { translation.forward().await }
    })
}

/// Returns the positions to translate, and who has them.
async fn asked(args: &Translate, log: &MapLog) -> Result<(Committed, String), String> {
    if let (Some(topic), Some(partition), Some(offset)) = (&args.topic, args.partition, args.offset) {
        return Ok(([((topic.as_str().into(), partition), offset)].into(), String::new()));
    }
    let group = args.group.as_deref().unwrap_or_default();
    let committed = match args.inverse {
        true => log.committed_on_target(group).await,
        false => log.committed_on_source(group).await,
    };
    Ok((committed.map_err(|error| error.to_string())?, format!("group '{group}'")))
}

/// A translation of one group, or of one offset.
struct Translation<'a> {
    link: &'a Link,
    log: &'a MapLog,
    committed: Committed,
    is_one: bool,
}

impl Translation<'_> {
    async fn forward(&self) -> Result<Vec<Translated>, String> {
        let topics: BTreeSet<Arc<str>> = self.committed.keys().map(|(topic, _)| Arc::clone(topic)).collect();
        let ids = self.log.source_ids(topics.into_iter().collect()).await.map_err(text)?;
        let asked = positions_of(&self.committed, &ids);
        let map = self.read(asked.clone()).await?;
        let mut places = map.targets();
        // Where nothing was copied yet, the topic that the link would copy to.
        let untouched = || asked.keys().filter(|key| map.is_settled(key) && map.targets_of(key).is_empty());
        for key in untouched() {
            let name = self.link.naming.apply(&self.link.source, &key.topic);
            places.entry((name.into(), key.partition)).or_default().push(key);
        }
        let bounds = self.log.target_bounds(places.keys().cloned().collect()).await.map_err(text)?;
        // Their first records may have arrived since, below the end that is known now.
        let begun: BTreeSet<&PartitionKey> = match untouched().next() {
            Some(_) => self.begun(untouched()).await?,
            None => BTreeSet::new(),
        };
        let translated = places.iter().map(|((topic, partition), sources)| {
            let mine: Vec<&PartitionKey> = sources.iter().copied().filter(|key| asked.contains_key(*key)).collect();
            let from = mine.iter().map(|key| place_of(key, asked.get(*key).map(|offset| offset.0))).collect();
            let to = |offset| Place { topic: Arc::clone(topic), partition: *partition, offset };
            let bounds = match bounds.get(&(Arc::clone(topic), *partition)) {
                Some(Ok(bounds)) => bounds,
                Some(Err(reason)) => return unanswered(from, to(None), unreadable(reason)),
                None => return unanswered(from, to(None), format!("{topic}-{partition} does not exist on the target")),
            };
            if mine.iter().any(|key| begun.contains(key)) {
                return unanswered(
                    from,
                    to(None),
                    "pending: its first records are just arriving, ask again".to_owned(),
                );
            }
            let asks = if self.is_one { &mine } else { sources };
            match map.answer(asks, &bounds.side(topic, *partition)) {
                Ok(answer) => answered(from, to(Some(answer.offset.0)), &answer),
                Err(why) => unanswered(from, to(None), explain(&why)),
            }
        });
        let mut translated: Vec<Translated> = translated.collect();
        if !translated.is_empty() {
            translated.extend(self.unplaced(&map, &asked)?);
        }
        self.whole(translated, "the source")
    }

    /// Returns those of these partitions that have copies by now.
    async fn begun<'a>(
        &self,
        keys: impl Iterator<Item = &'a PartitionKey>,
    ) -> Result<BTreeSet<&'a PartitionKey>, String> {
        let (progress, _) = self.log.progress().await.map_err(text)?;
        let has_copies = |key: &&PartitionKey| {
            let position = resume_point(&progress, key).map(|point| point.position);
            position.is_some_and(|position| !position.tails.list().is_empty())
        };
        Ok(keys.filter(has_copies).collect())
    }

    /// Returns the positions of topics that the link copies for which there is no answer, or not
    /// all of it.
    fn unplaced(&self, map: &LinkMap, asked: &BTreeMap<PartitionKey, SourceOffset>) -> Result<Vec<Translated>, String> {
        let selector = self.link.selector().map_err(|error| error.to_string())?;
        let mut unplaced = Vec::new();
        for ((topic, partition), offset) in self.committed.iter().filter(|((topic, _), _)| selector.selects(topic)) {
            let known = asked.keys().find(|key| key.topic == *topic && key.partition == *partition);
            let why = match known {
                None => "unknown_topic: the source does not list this topic",
                Some(key) if !map.is_settled(key) => "no_progress: the link has no position in it yet",
                Some(key) if map.has_unnamed_targets(key) => {
                    "tails_more: it also has records in target partitions that the map does not name any more"
                }
                Some(_) => continue,
            };
            let place = |offset| Place { topic: Arc::clone(topic), partition: *partition, offset };
            let to = Place { topic: self.link.naming.apply(&self.link.source, topic).into(), ..place(None) };
            unplaced.push(unanswered(vec![place(Some(*offset))], to, why.to_owned()));
        }
        Ok(unplaced)
    }

    async fn back_to_source(&self) -> Result<Vec<Translated>, String> {
        let (progress, _) = self.log.progress().await.map_err(text)?;
        let may_be_there = |position: &Position| {
            let mut tails = position.tails.list().iter();
            position.tails.has_more()
                || tails.any(|tail| self.committed.contains_key(&(Arc::clone(&tail.topic), tail.partition)))
        };
        let topics: BTreeSet<Arc<str>> = progress.keys().map(|key| Arc::clone(&key.topic)).collect();
        let ids = self.log.source_ids(topics.into_iter().collect()).await.map_err(text)?;
        let is_now = |key: &PartitionKey| ids.get(&key.topic).is_some_and(|id| !id.is_other_than(key.topic_id));
        let keys = progress.iter().filter(|(key, position)| is_now(key) && may_be_there(position));
        let keys: Vec<PartitionKey> = keys.map(|(key, _)| key.clone()).collect();
        let map = self.read(keys.iter().map(|key| (key.clone(), SourceOffset(0))).collect()).await?;
        let partitions: Vec<(Arc<str>, i32)> = keys.iter().flat_map(|key| map.targets_of(key)).collect();
        let bounds = self.log.target_bounds(partitions).await.map_err(text)?;
        let translated = keys.iter().filter_map(|key| self.back(key, &map, &bounds));
        self.whole(translated.collect(), "the target")
    }

    /// Returns the source position of the reader in one source partition: the lowest of those by
    /// its target partitions.
    fn back(&self, key: &PartitionKey, map: &LinkMap, bounds: &AllBounds) -> Option<Translated> {
        let (mut from, mut lowest, mut exact) = (Vec::new(), None::<SourceOffset>, map.is_exactly_once());
        let mut unmapped = map.has_unnamed_targets(key);
        let (mut silent, mut recreated, mut unread) = (Vec::new(), false, None);
        for (topic, partition) in map.targets_of(key) {
            let Some(offset) = self.committed.get(&(Arc::clone(&topic), partition)) else {
                silent.push(format!("{topic}-{partition}"));
                continue;
            };
            from.push(Place { topic: Arc::clone(&topic), partition, offset: Some(*offset) });
            let is_former = |bounds: &TargetBounds| map.is_former(key, &bounds.side(&topic, partition));
            match bounds.get(&(Arc::clone(&topic), partition)) {
                Some(Err(reason)) => unread = Some(unreadable(reason)),
                Some(Ok(bounds)) => recreated |= is_former(bounds),
                None => recreated = true,
            }
            match map.inverse(key, &topic, partition, TargetOffset(*offset)) {
                Some(found) => {
                    // Where it is further in another target partition, it reads again from here.
                    exact &= lowest.is_none_or(|lowest| lowest == found);
                    lowest = Some(lowest.map_or(found, |lowest| lowest.min(found)));
                }
                None => unmapped = true,
            }
        }
        if from.is_empty() {
            return None;
        }
        let to = |offset| place_of(key, offset);
        let silent = (!silent.is_empty() && !self.is_one).then(|| silent.join(", "));
        if let Some(unread) = unread {
            return Some(unanswered(from, to(None), unread));
        }
        Some(match (lowest, silent) {
            _ if recreated => unanswered(from, to(None), explain(&NoAnswer::TargetRecreated)),
            (_, Some(silent)) => unanswered(
                from,
                to(None),
                format!("no_commit: its records are also in {silent}, where the group has no position"),
            ),
            _ if unmapped => {
                unanswered(from, to(None), "before_map: the offset map does not reach back to this position".to_owned())
            }
            (None, None) => unanswered(from, to(None), "before_map: the offset map has no record of it".to_owned()),
            (Some(offset), None) => {
                let why = (!exact).then(|| {
                    "its records are in several target partitions, and the reader is further in one, or the link delivers at least once".to_owned()
                });
                Translated {
                    exact,
                    why,
                    re_reads: exact.then_some(0),
                    to: to(Some(offset.0)),
                    ..unanswered(from, to(None), String::new())
                }
            }
        })
    }

    async fn read(&self, asked: BTreeMap<PartitionKey, SourceOffset>) -> Result<LinkMap, String> {
        let (progress, lanes) = self.log.progress().await.map_err(text)?;
        if lanes.is_empty() {
            return Err(format!("link {} has not been run yet: nothing was copied", self.link.name));
        }
        let exactly_once = self.link.delivery == DeliveryMode::ExactlyOnce;
        self.log.read(LinkMap::new(asked, progress, exactly_once)).await.map_err(text)
    }

    fn whole(&self, translated: Vec<Translated>, end: &str) -> Result<Vec<Translated>, String> {
        if translated.is_empty() {
            let topics: BTreeSet<&str> = self.committed.keys().map(|(topic, _)| &**topic).collect();
            let topics = topics.into_iter().collect::<Vec<_>>().join(", ");
            return Err(format!("link {} has copied nothing of these topics of {end}: {topics}", self.link.name));
        }
        Ok(translated)
    }
}

fn text(error: PortError) -> String {
    error.to_string()
}

fn place_of(key: &PartitionKey, offset: Option<i64>) -> Place {
    Place { topic: Arc::clone(&key.topic), partition: key.partition, offset }
}

/// Returns why a target partition whose bounds are not known gives no answer.
pub fn unreadable(reason: &str) -> String {
    format!("target_unreadable: the target gives no bounds of it: {reason}")
}

fn unanswered(from: Vec<Place>, to: Place, why: String) -> Translated {
    let why = Some(why);
    Translated { from, to, exact: false, re_reads: None, ahead: 0, not_copied: 0, left_out: 0, why }
}

fn answered(from: Vec<Place>, to: Place, answer: &Answer) -> Translated {
    let (re_reads, why) = match answer.exactness {
        Exactness::Exact => (Some(0), None),
        Exactness::ReReads(count) => {
            (Some(count), Some("several source partitions feed it, and the reader is further in one".to_owned()))
        }
        Exactness::Inexact(why) => (None, Some(reason(why).to_owned())),
    };
    let exact = answer.exactness == Exactness::Exact;
    let Answer { ahead, not_copied, left_out, .. } = *answer;
    Translated { from, to, exact, re_reads, ahead, not_copied, left_out, why }
}

/// Returns why an answer is not exact.
pub(super) fn reason(why: Why) -> &'static str {
    match why {
        Why::BeforeMap => {
            "before_map: the position is older than the offset map reaches back, so it is the start of the target's log"
        }
        Why::Ahead => {
            "ahead: it has read records that the link has not copied yet, and would read them again: let the link catch up, then ask again"
        }
        Why::AtLeastOnce => "at_least_once: records may be on the target twice",
        Why::MapCut => {
            "map_cut: several source partitions feed it, and the map does not reach back far enough to count what is read again"
        }
    }
}

/// Returns why there is no answer.
pub(super) fn explain(why: &NoAnswer) -> String {
    match why {
        NoAnswer::NoCommit(keys) => {
            let keys = keys.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
            format!("no_commit: records of {keys} are also there, where the group has no position")
        }
        NoAnswer::Pending(key) => {
            format!("pending: the map does not have the last copies of {key} yet, ask again")
        }
        NoAnswer::NotInMemory(key) => format!(
            "not_in_memory: the position in {key} is older than map_memory_mib holds of the offset map; raise it, or use strait offsets translate"
        ),
        NoAnswer::TargetRecreated => {
            "target_recreated: the target topic was created again since, old offsets point into another log".to_owned()
        }
    }
}

/// Prints the answers. Ends with 1 if a position has none.
fn show(args: &Translate, translated: &[Translated]) -> End {
    let missing: Vec<&Translated> = translated.iter().filter(|one| one.to.offset.is_none()).collect();
    let end = match args.output {
        OffsetsOutput::Json => match serde_json::to_string_pretty(translated) {
            Ok(json) => print(&json),
            Err(error) => failed(&error),
        },
        OffsetsOutput::Csv => {
            let lines = translated
                .iter()
                .filter_map(|one| Some(format!("{},{},{}\n", one.to.topic, one.to.partition, one.to.offset?)));
            for one in translated.iter().filter(|one| one.why.is_some()) {
                print_message(&line(one));
            }
            print(&lines.collect::<String>())
        }
        OffsetsOutput::Text => print(&translated.iter().map(|one| line(one) + "\n").collect::<String>()),
    };
    if end == End::Ok && !missing.is_empty() { End::Failed } else { end }
}

fn line(one: &Translated) -> String {
    let place = |place: &Place| match place.offset {
        Some(offset) => format!("{}-{} at {offset}", place.topic, place.partition),
        None => format!("{}-{}", place.topic, place.partition),
    };
    let from = one.from.iter().map(place).collect::<Vec<_>>().join(", ");
    let verdict = match (one.to.offset, one.exact, one.re_reads) {
        (None, ..) => "no answer".to_owned(),
        (_, true, _) => "exact".to_owned(),
        (_, _, Some(count)) => format!("reads {count} records again"),
        _ if one.ahead > 0 => "not exact yet".to_owned(),
        _ => "may read records again".to_owned(),
    };
    let notes = [
        (one.ahead, "ahead of the link by"),
        (one.not_copied, "not copied by the link:"),
        (one.left_out, "without a copy:"),
    ];
    let notes = notes
        .into_iter()
        .filter(|(count, _)| *count > 0)
        .map(|(count, what)| format!("; {what} {count} source offsets"));
    let why = one.why.iter().map(|why| format!("; {why}"));
    format!("{from} -> {}: {verdict}{}", place(&one.to), notes.chain(why).collect::<String>())
}
