//! Target topics to delete, as their source topics are gone.
//!
//! A list of topics proves nothing: a cluster leaves out what the principal may not see. So the
//! source is asked by name, and believed after several answers. Then a topic waits. The time that
//! it has waited is in the control topic and is counted by those who see that the source topic is
//! gone, so that neither a clock that jumps nor another coordinator shortens it, nor begins it
//! anew.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::{Action, Facts, Left, Part, Plan, Settings, Why};
use crate::config::{Around, Link, Selector};
use crate::control::{Gone, TopicRecord};
use crate::progress::Position;
use crate::topic::{PartitionKey, TopicId, is_reserved};

/// How often the clusters are asked for topics that are gone.
pub const ASK_EVERY: Duration = Duration::from_secs(20);
/// The answers that are believed: so many, within so much time.
const BELIEVED: (usize, Duration) = (3, Duration::from_secs(60));
/// Answers that are closer to each other count as one.
const APART: Duration = Duration::from_secs(10);
/// How much of the time that was waited is lost at most when another process coordinates the link.
const WRITE_EVERY: Duration = Duration::from_secs(300);
/// How often it is looked at again who feeds a topic that others feed too.
const FED: Duration = Duration::from_secs(300);
/// Most topics that one plan deletes.
const DELETIONS_MAX: usize = 10;

/// The answer of a cluster that was asked for a topic by name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// It has the topic, with this id.
    Exists(TopicId),
    /// It has no topic of this name.
    Unknown,
    /// It does not say, for this reason.
    Hidden(String),
}

/// Who writes to a target topic, by the positions of the link.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Feeds {
    /// Other source topics that have written there.
    pub others: BTreeSet<Arc<str>>,
    /// Source topics of which it is not known where all of their records went.
    pub vague: BTreeSet<Arc<str>>,
    /// How far the source topic was read: the sum over its partitions.
    pub reached: i64,
}

impl Feeds {
    /// Adds what the positions of a lane tell of a target topic with this id.
    pub fn add(&mut self, positions: &BTreeMap<PartitionKey, Position>, source: &str, (topic, id): (&str, TopicId)) {
        for (key, position) in positions {
            if &*key.topic == source {
                self.reached = self.reached.wrapping_add(position.next.0);
                continue;
            }
            let is_there = |tail: &crate::progress::Tail| &*tail.topic == topic && !tail.id.is_other_than(id);
            if position.tails.list().iter().any(is_there) {
                self.others.insert(Arc::clone(&key.topic));
            } else if position.tails.has_more() {
                self.vague.insert(Arc::clone(&key.topic));
            }
        }
    }
}

/// A target topic that the link knows and whose source topic is not listed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GoneTopic {
    /// The source topic.
    pub source: Arc<str>,
    /// Id of the topic that the link has created; `None` if it has not, unknown where that was not
    /// told.
    pub made: Option<TopicId>,
    /// How long it has waited.
    pub gone: Option<Gone>,
    /// The source's answer for the source topic; `None` if there was none.
    pub at_source: Option<Presence>,
    /// The target's answer for the target topic.
    pub at_target: Option<Presence>,
    /// The source has said often enough that it does not have the topic.
    pub is_believed: bool,
    /// Nothing more was read of the source topic for a while.
    pub is_quiet: bool,
    /// Source topics that are there and go to the target topic.
    pub named_for: BTreeSet<Arc<str>>,
    /// Who has written to it, where that was read.
    pub feeds: Option<Feeds>,
}

impl GoneTopic {
    /// Returns the topic as the control topic knows it.
    #[must_use]
    pub fn of(record: &TopicRecord) -> Self {
        let made = record.made.then_some(record.target_id);
        Self { source: Arc::clone(&record.source), made, gone: record.gone, ..Self::default() }
    }

    fn has_waited(&self, after: Duration) -> bool {
        self.gone.is_some_and(|gone| Duration::from_secs(gone.waited_s) >= after)
    }

    fn is_unknown_at_source(&self) -> bool {
        self.at_source == Some(Presence::Unknown)
    }

    /// Returns whether the target has the topic that the link has made.
    fn is_ours(&self) -> bool {
        match (self.made, &self.at_target) {
            (Some(made), Some(Presence::Exists(found))) => made.is_known() && made == *found,
            _ => false,
        }
    }
}

/// Why a target topic is kept although its source topic is gone.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kept {
    /// Nothing says that the link has created it.
    NotMade,
    /// It is another topic than the link has created.
    Another,
    /// It is a topic of Kafka, Strait or MirrorMaker 2.
    Reserved,
    /// The link does not select the source topic any more.
    NotSelected,
    /// These source topics feed it too.
    Fed(Vec<Arc<str>>),
    /// These source topics may feed it too: they feed more topics than their positions name.
    MayBeFed(Vec<Arc<str>>),
    /// This link writes there too.
    OtherLink(String),
    /// The source does not say whether it has the source topic.
    Hidden(String),
}

impl Kept {
    /// Returns the name for programs.
    #[must_use]
    pub fn name(&self) -> &'static str {
        match self {
            Self::NotMade => "not_made",
            Self::Another => "another_topic",
            Self::Reserved => "reserved",
            Self::NotSelected => "not_selected",
            Self::Fed(_) => "fed_by_others",
            Self::MayBeFed(_) => "may_be_fed_by_others",
            Self::OtherLink(_) => "other_link",
            Self::Hidden(_) => "source_hides",
        }
    }
}

impl fmt::Display for Kept {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotMade => f.write_str("nothing says that the link has created it"),
            Self::Another => f.write_str("it is not the topic that the link has created, but one of the same name"),
            Self::Reserved => f.write_str("its name is reserved"),
            Self::NotSelected => f.write_str("the link does not select the source topic any more"),
            Self::Fed(others) => write!(f, "{} feed it too", others.join(", ")),
            Self::MayBeFed(others) => write!(f, "{} may feed it too", others.join(", ")),
            Self::OtherLink(link) => write!(f, "link {link} writes there too"),
            Self::Hidden(reason) => write!(f, "the source does not say whether it has the source topic: {reason}"),
        }
    }
}

/// The topics that a link selects, and the other links to its target.
#[derive(Clone, Debug, Default)]
pub struct Beside {
    own: Option<Selector>,
    link: String,
    target: String,
    others: Vec<(String, Selector, Around)>,
}

impl Beside {
    /// Returns that of a link which selects these topics, and has no other beside it.
    #[must_use]
    pub fn selecting(own: Selector) -> Self {
        Self { own: Some(own), ..Self::default() }
    }

    /// Returns what is known of the link alone.
    #[must_use]
    pub fn alone(link: &Link) -> Self {
        Self { own: link.selector().ok(), link: link.name.clone(), target: link.target.clone(), others: Vec::new() }
    }

    /// Returns this with those of the links that have the same target.
    #[must_use]
    pub fn with(self, links: &[Link]) -> Self {
        let others = links.iter().filter(|other| other.name != self.link && other.target == self.target);
        let known =
            |other: &Link| Some((other.name.clone(), other.selector().ok()?, other.naming.around(&other.source)));
        let others = others.filter_map(known).collect();
        Self { others, ..self }
    }

    fn selects(&self, source: &str) -> bool {
        self.own.as_ref().is_some_and(|selector| selector.selects(source))
    }

    /// Returns another link whose topics may have this name on the target.
    fn other_link(&self, topic: &str) -> Option<&String> {
        let writes = |(_, selector, around): &&(String, Selector, Around)| {
            let source = topic.strip_prefix(&*around.before).and_then(|rest| rest.strip_suffix(&*around.after));
            source.is_some_and(|source| selector.selects(source))
        };
        self.others.iter().find(writes).map(|(link, ..)| link)
    }
}

/// Returns whether a topic has the heartbeats of MirrorMaker 2, which makes it anew by itself.
fn is_heartbeats(source: &str) -> bool {
    source == "heartbeats" || source.ends_with(".heartbeats")
}

/// Returns why a topic is kept, whatever the time.
fn kept(topic: &str, gone: &GoneTopic, beside: &Beside) -> Option<Kept> {
    if is_reserved(topic) || is_heartbeats(&gone.source) {
        return Some(Kept::Reserved);
    }
    if gone.made.is_none() {
        return Some(Kept::NotMade);
    }
    if !gone.is_ours() {
        return Some(Kept::Another);
    }
    if !beside.selects(&gone.source) {
        return Some(Kept::NotSelected);
    }
    if let Some(link) = beside.other_link(topic) {
        return Some(Kept::OtherLink(link.clone()));
    }
    if !gone.named_for.is_empty() {
        return Some(Kept::Fed(gone.named_for.iter().cloned().collect()));
    }
    if let Some(Presence::Hidden(reason)) = &gone.at_source {
        return Some(Kept::Hidden(reason.clone()));
    }
    let feeds = gone.feeds.as_ref()?;
    if !feeds.others.is_empty() {
        return Some(Kept::Fed(feeds.others.iter().cloned().collect()));
    }
    (!feeds.vague.is_empty()).then(|| Kept::MayBeFed(feeds.vague.iter().cloned().collect()))
}

pub(super) fn plan(facts: &Facts, settings: &Settings, plan: &mut Plan) {
    let Some(after) = settings.delete_after else { return };
    let mut deletions = 0;
    for (topic, gone) in &facts.gone {
        let leave = |plan: &mut Plan, why| {
            let topic = Arc::clone(topic);
            plan.leave(Left { topic, part: Part::Topic, source: None, target: None, why });
        };
        match (&gone.at_source, &gone.at_target) {
            // It is back, or there is nothing to delete.
            (Some(Presence::Exists(_)), _) | (_, Some(Presence::Unknown)) => continue,
            (_, Some(Presence::Hidden(reason))) => {
                plan.not_known(format!("target topic {topic}"), reason);
                continue;
            }
            (None, _) | (_, None) => continue,
            (Some(_), Some(Presence::Exists(_))) => {}
        }
        if let Some(kept) = kept(topic, gone, &settings.beside) {
            leave(plan, Why::Kept(kept));
            continue;
        }
        let is_due = gone.has_waited(after) && gone.is_believed && gone.is_quiet && gone.feeds.is_some();
        match gone.made {
            Some(id) if is_due && deletions < DELETIONS_MAX => {
                deletions += 1;
                let (topic, source) = (Arc::clone(topic), Arc::clone(&gone.source));
                plan.actions.push(Action::Delete { topic, id, source });
            }
            _ => leave(plan, Why::DeletionPending(gone.gone.map(|gone| gone.due_ms(after)))),
        }
    }
}

/// The answers that a coordinator has had for topics that are gone. They do not outlive its turn.
#[derive(Debug, Default)]
pub struct Departures {
    /// By target topic.
    topics: BTreeMap<Arc<str>, Departure>,
}

#[derive(Debug, Default)]
struct Departure {
    /// When the source said that it does not have the topic, with nothing else in between.
    unknown: VecDeque<Duration>,
    /// The time that was waited and is not written.
    counted: Duration,
    /// Who feeds the topic: since when it has been so, and when it was read.
    feeds: Option<(Duration, Duration, Feeds)>,
}

impl Departures {
    /// Takes the answers of both clusters. Call it with all topics that are gone, at most every
    /// [`ASK_EVERY`].
    pub fn hear(&mut self, topics: &mut BTreeMap<Arc<str>, GoneTopic>, now: Duration) {
        self.topics.retain(|topic, _| topics.contains_key(topic));
        for (topic, gone) in topics {
            let memory = self.topics.entry(Arc::clone(topic)).or_default();
            if !gone.is_unknown_at_source() {
                memory.unknown.clear();
                continue;
            }
            let since = memory.unknown.back().map(|last| now.saturating_sub(*last));
            match since {
                Some(since) if since > BELIEVED.1 => memory.unknown.clear(),
                Some(since) if since < APART => {}
                Some(since) if gone.gone.is_some() => memory.counted += since,
                _ => {}
            }
            if since.is_none_or(|since| since >= APART) {
                memory.unknown.push_back(now);
            }
            if memory.unknown.len() > BELIEVED.0 {
                memory.unknown.pop_front();
            }
            let first = memory.unknown.front().filter(|_| memory.unknown.len() == BELIEVED.0);
            gone.is_believed = first.is_some_and(|first| now.saturating_sub(*first) <= BELIEVED.1);
        }
    }

    /// Returns whether the positions of the link have to be read to decide.
    #[must_use]
    pub fn needs_feeds(&self, topics: &BTreeMap<Arc<str>, GoneTopic>, now: Duration, settings: &Settings) -> bool {
        let Some(after) = settings.delete_after else { return false };
        topics.iter().any(|(topic, gone)| {
            let memory = self.topics.get(topic);
            let counted = memory.map_or(Duration::ZERO, |memory| memory.counted);
            let is_turn = gone.gone.is_none_or(|gone| Duration::from_secs(gone.waited_s) + counted >= after);
            let is_fresh = memory.and_then(|memory| memory.feeds.as_ref()).is_some_and(|(_, read, feeds)| {
                let is_fed = !feeds.others.is_empty() || !feeds.vague.is_empty();
                now.saturating_sub(*read) < if is_fed { FED } else { APART }
            });
            gone.is_believed && is_turn && !is_fresh && kept(topic, gone, &settings.beside).is_none()
        })
    }

    /// Takes who feeds a topic, as it was just read.
    pub fn fed(&mut self, topic: &Arc<str>, feeds: Feeds, now: Duration) {
        let memory = self.topics.entry(Arc::clone(topic)).or_default();
        let same = memory.feeds.take().filter(|(_, _, before)| before.reached == feeds.reached);
        memory.feeds = Some((same.map_or(now, |(since, ..)| since), now, feeds));
    }

    /// Completes the facts. Returns what the control topic is to say of the topics from now on,
    /// where that is something new.
    pub fn settle(
        &mut self,
        topics: &mut BTreeMap<Arc<str>, GoneTopic>,
        (now, now_ms): (Duration, i64),
        settings: &Settings,
    ) -> BTreeMap<Arc<str>, Option<Gone>> {
        let Some(after) = settings.delete_after else { return BTreeMap::new() };
        let mut news = BTreeMap::new();
        for (topic, gone) in topics {
            let Some(memory) = self.topics.get_mut(topic) else { continue };
            if let Some((since, read, feeds)) = &memory.feeds {
                gone.is_quiet = *read == now && now.saturating_sub(*since) >= APART;
                gone.feeds = Some(feeds.clone());
            }
            let Some(before) = gone.gone else {
                if gone.is_believed && gone.feeds.is_some() && kept(topic, gone, &settings.beside).is_none() {
                    memory.counted = Duration::ZERO;
                    gone.gone = Some(Gone { since: now_ms, at: now_ms, waited_s: 0 });
                    news.insert(Arc::clone(topic), gone.gone);
                }
                continue;
            };
            if matches!(gone.at_source, Some(Presence::Exists(_))) {
                gone.gone = None;
                news.insert(Arc::clone(topic), None);
                continue;
            }
            let had_waited = gone.has_waited(after);
            let waited_s = before.waited_s.saturating_add(memory.counted.as_secs());
            let counted = Gone { at: now_ms, waited_s, ..before };
            gone.gone = Some(counted);
            if memory.counted >= WRITE_EVERY || gone.has_waited(after) != had_waited {
                memory.counted = Duration::ZERO;
                news.insert(Arc::clone(topic), Some(counted));
            }
        }
        news
    }
}

#[cfg(test)]
#[path = "tests/deletions.rs"]
mod tests;
