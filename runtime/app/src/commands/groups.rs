//! `strait groups`.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use serde::Serialize;
use strait_core::config::Link;
use strait_core::control::{Control, ControlRecord, GroupPartition, GroupRecord};
use strait_core::groups::{Committed, Lack, Place, Translated, Verdict, Wish, judge, resumes_at};
use strait_core::map::Exactness;
use strait_core::{SourceOffset, TargetOffset};
use strait_flow::ports::{ControlLog as _, GroupMap as _, GroupOffsets as _};
use strait_kafka::{ClusterConfig, KafkaControl, KafkaGroupMap, KafkaGroupOffsets};

use super::offsets::{explain, reason, unreadable};
use super::{End, REQUEST, block_on, cluster_of, ends_of, failed, link_of, load, print, reach};
use crate::cli::Output;
use crate::cli::groups::{GroupsCommand, GroupsList, GroupsResync};

/// Readings of the offset map before it counts as too long.
const READINGS: u32 = 600;

/// A group's offset in a source partition.
#[derive(Debug, Serialize)]
struct Source {
    topic: Arc<str>,
    partition: i32,
    offset: SourceOffset,
}

/// A group in one target partition.
#[derive(Debug, Serialize)]
struct InPartition {
    topic: Arc<str>,
    partition: i32,
    /// Its offsets on the source.
    source: Vec<Source>,
    /// Where it resumes; none where there is no answer.
    offset: Option<TargetOffset>,
    /// Whether its reader continues with exactly the records that it would read next.
    exact: bool,
    /// Records that it reads again, where that is known.
    re_reads: Option<u64>,
    /// Source offsets that it is ahead of the link.
    ahead: i64,
    /// Why there is no answer, or why it is not exact.
    why: Option<String>,
    /// The offset that is there.
    there: Option<i64>,
    /// The offset that the link has written.
    written: Option<TargetOffset>,
}

/// A group.
#[derive(Debug, Serialize)]
struct Group {
    group: Arc<str>,
    /// `link`, `target`, `nobody` where nothing is written yet, or `unknown`.
    owner: &'static str,
    /// Why the group is the target's.
    taken: Option<String>,
    /// The source has the group; none where it did not list all of its groups.
    on_source: Option<bool>,
    /// Why a cluster does not say what the group has.
    error: Option<String>,
    partitions: Vec<InPartition>,
}

/// Runs the command.
#[must_use]
pub fn groups(command: &GroupsCommand) -> End {
    let done = match command {
        GroupsCommand::List(args) => list(args).and_then(|groups| show(args, &groups)),
        GroupsCommand::Resync(args) => resync(args),
    };
    done.map_or_else(|end| end, |text| print(&text))
}

fn list(args: &GroupsList) -> Result<Vec<Group>, End> {
    let loaded = load(&args.config)?;
    let link = link_of(&loaded, &args.link)?;
    if link.groups.is_empty() {
        return Err(failed(&format!("link {} keeps no groups: list some in its option groups", link.name)));
    }
    let (source, target) = ends_of(&loaded, link)?;
    block_on(read(args, link, &loaded.config.links, (&source, &target)))
}

async fn read(
    args: &GroupsList,
    link: &Link,
    links: &[Link],
    (source, target): (&ClusterConfig, &ClusterConfig),
) -> Result<Vec<Group>, String> {
    let text = |error: strait_flow::ports::PortError| error.to_string();
    let selector = link.group_selector().map_err(|error| error.to_string())?;
    let offsets = KafkaGroupOffsets::new(source, target, &link.name, selector.clone());
    let map = KafkaGroupMap::new(source, target, link, links, REQUEST).map_err(text)?;
    let control = KafkaControl::new(target, &link.name, REQUEST).read().await.map_err(text)?;
    let listing = offsets.list().await.map_err(text)?;
    let listed: BTreeSet<Arc<str>> = listing.names.into_iter().collect();
    let known = control.groups().keys().map(|(group, _)| Arc::clone(group)).filter(|group| selector.selects(group));
    let mut names: Vec<Arc<str>> = listed.iter().cloned().chain(known).collect();
    names.sort();
    names.dedup();
    if let Some(only) = &args.group {
        names.retain(|name| **name == **only);
        if names.is_empty() {
            return Err(format!("the source has no group '{only}' that the option groups of link {} names", link.name));
        }
    }
    for _ in 0..READINGS {
        map.refresh().await.map_err(text)?;
        if map.is_read() {
            break;
        }
    }
    let (at_source, at_target) = (offsets.at_source(&names).await, offsets.at_target(&names).await);
    let mut groups = Vec::new();
    for ((name, committed), there) in names.into_iter().zip(at_source).zip(at_target) {
        let on_source = Some(listed.contains(&name)).filter(|found| *found || listing.missing.is_none());
        // What cannot be read of one hides no other.
        let (committed, there) = match (committed, there) {
            (Ok(committed), Ok(there)) => (committed, there),
            (Err(error), _) | (_, Err(error)) => {
                groups.push(Group::unread(name, on_source, error.to_string()));
                continue;
            }
        };
        let translated = map.translate(&committed).await.map_err(text)?;
        groups.push(group(name, on_source, &translated, &there, &control));
    }
    Ok(groups)
}

impl Group {
    fn unread(group: Arc<str>, on_source: Option<bool>, error: String) -> Self {
        Self { group, owner: "unknown", taken: None, on_source, error: Some(error), partitions: Vec::new() }
    }
}

fn group(
    name: Arc<str>,
    on_source: Option<bool>,
    translated: &Translated,
    there: &Committed,
    control: &Control,
) -> Group {
    let records: BTreeMap<&Arc<str>, &GroupRecord> = control
        .groups()
        .iter()
        .filter(|((group, _), _)| *group == name)
        .map(|((_, topic), record)| (topic, &**record))
        .collect();
    let known = |(topic, partition): &Place| records.get(topic).and_then(|record| record.partitions.get(partition));
    let places: BTreeSet<Place> =
        translated
            .wishes
            .keys()
            .chain(translated.lacks.keys())
            .cloned()
            .chain(records.iter().flat_map(|(topic, record)| {
                record.partitions.keys().map(move |partition| (Arc::clone(topic), *partition))
            }))
            .collect();
    let taken = records.iter().find_map(|(topic, record)| {
        let taken = record.taken.filter(|_| !record.resync)?;
        Some(format!("{topic}-{} was at {}, which the link has not written", taken.partition, taken.found))
    });
    let foreign = places.iter().find_map(|place| {
        let found = there.get(place).map(|found| TargetOffset(found.offset));
        let verdict = judge(known(place), found, translated.wishes.get(place), (false, false));
        let Verdict::Foreign(found) = verdict else { return None };
        Some(format!("{}-{} is at {found}, which the link has not written", place.0, place.1))
    });
    let taken = taken.or(foreign);
    let owner = match (&taken, records.is_empty()) {
        (Some(_), _) => "target",
        (None, true) => "nobody",
        (None, false) => "link",
    };
    let partitions = places.iter().map(|place| in_partition(place, known(place), translated, there)).collect();
    Group { group: name, owner, taken, on_source, error: None, partitions }
}

fn in_partition(
    place: &Place,
    known: Option<&GroupPartition>,
    translated: &Translated,
    there: &Committed,
) -> InPartition {
    let lack = translated.lacks.get(place);
    let none = InPartition {
        topic: Arc::clone(&place.0),
        partition: place.1,
        source: Vec::new(),
        offset: None,
        exact: false,
        re_reads: None,
        ahead: 0,
        why: Some(lack.map_or_else(|| "gone: the group has no offset on the source any more".to_owned(), why)),
        there: there.get(place).map(|found| found.offset),
        written: known.and_then(|known| known.written),
    };
    let Some(wish) = translated.wishes.get(place) else { return none };
    let Wish { answer, source, .. } = wish;
    let (re_reads, why) = match answer.exactness {
        Exactness::Exact => (Some(0), None),
        Exactness::ReReads(count) => {
            (Some(count), Some("several source partitions feed it, and the group is further in one".to_owned()))
        }
        Exactness::Inexact(why) => (None, Some(reason(why).to_owned())),
    };
    let source = source.iter().map(|place| Source {
        topic: Arc::clone(&place.partition.topic),
        partition: place.partition.partition,
        offset: place.offset,
    });
    InPartition {
        source: source.collect(),
        offset: Some(resumes_at(known, wish)),
        exact: answer.exactness == Exactness::Exact,
        re_reads,
        ahead: answer.ahead,
        why,
        ..none
    }
}

fn why(lack: &Lack) -> String {
    match lack {
        Lack::NoAnswer(why) => explain(why),
        Lack::NoTarget => "no_target_partition: the target does not have it".to_owned(),
        Lack::Unreadable(reason) => unreadable(reason),
        Lack::SharedTarget(other) => {
            format!("shared_target: link {other} writes to the topic too, so neither keeps offsets there")
        }
        Lack::MapUnread => "pending: the offset map is not read to its end yet".to_owned(),
    }
}

fn show(args: &GroupsList, groups: &[Group]) -> Result<String, End> {
    if args.output == Output::Json {
        return serde_json::to_string_pretty(groups).map_err(|error| failed(&error));
    }
    if groups.is_empty() {
        return Ok("no group that the option groups of the link names".to_owned());
    }
    let mut text = String::new();
    for group in groups {
        let owner = match (&group.taken, group.owner) {
            (Some(taken), _) => format!("the target's: {taken}"),
            (None, "nobody") => "nothing is written yet".to_owned(),
            (None, "unknown") => "not known".to_owned(),
            (None, _) => "the link's".to_owned(),
        };
        let gone = match (&group.error, group.on_source) {
            (Some(error), _) => format!(" ({error})"),
            (None, Some(false)) => " (gone from the source)".to_owned(),
            (None, _) => String::new(),
        };
        text.push_str(&format!("{}{gone}: {owner}\n", group.group));
        for partition in &group.partitions {
            text.push_str(&format!("  {}\n", line(partition)));
        }
    }
    Ok(text)
}

fn line(partition: &InPartition) -> String {
    let source = partition.source.iter().map(|at| format!("{}-{} at {}", at.topic, at.partition, at.offset));
    let source = source.collect::<Vec<_>>().join(", ");
    let arrow = if source.is_empty() { "" } else { " -> " };
    let place = format!("{}-{}", partition.topic, partition.partition);
    let answer = match (partition.offset, partition.exact, partition.re_reads) {
        (None, ..) => "no answer".to_owned(),
        (Some(offset), true, _) => format!("{offset}, exact"),
        (Some(offset), _, Some(count)) => format!("{offset}, reads {count} records again"),
        (Some(offset), ..) => format!("{offset}, may read records again"),
    };
    let there = partition.there.map_or_else(|| "nothing there".to_owned(), |there| format!("{there} there"));
    let why = partition.why.iter().map(|why| format!("; {why}")).collect::<String>();
    format!("{source}{arrow}{place}: {answer}; {there}{why}")
}

fn resync(args: &GroupsResync) -> Result<String, End> {
    let loaded = load(&args.config)?;
    let link = link_of(&loaded, &args.link)?;
    let target = cluster_of(&loaded, &link.target)?;
    reach(&target)?;
    block_on(async {
        let log = KafkaControl::new(&target, &link.name, REQUEST);
        let known = log.read().await.map_err(|error| error.to_string())?;
        // Before the coordinator's id is taken from it for nothing.
        given_back(&known, &args.group, link)?;
        let mut writer = log.take().await.map_err(|error| error.to_string())?;
        // Only now: the coordinator can write nothing more.
        let known = log.read().await.map_err(|error| error.to_string())?;
        let records = given_back(&known, &args.group, link)?;
        writer.commit(&records).await.map_err(|error| error.to_string())?;
        Ok::<_, String>(format!(
            "{} is given back to link {}: its coordinator begins anew and writes the group's offsets within a minute",
            args.group, link.name
        ))
    })
}

/// Returns the records of a group that give it back to the link.
fn given_back(known: &Control, group: &str, link: &Link) -> Result<Vec<ControlRecord>, String> {
    let mine = known.groups().iter().filter(|((name, _), _)| **name == *group);
    let records: Vec<ControlRecord> = mine
        .map(|((name, topic), record)| {
            let record = GroupRecord { resync: true, taken: None, ..(**record).clone() };
            ControlRecord::Group(Arc::clone(name), Arc::clone(topic), Some(Arc::new(record)))
        })
        .collect();
    if records.is_empty() {
        return Err(format!(
            "link {} knows no group '{group}': strait groups list shows those that it does",
            link.name
        ));
    }
    Ok(records)
}
