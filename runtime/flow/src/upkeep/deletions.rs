//! Deleting target topics whose source topics are gone, by [`strait_core::plan`].

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use strait_core::control::{Control, Gone, TopicRecord};
use strait_core::plan::{ASK_EVERY, Departures, Facts, Feeds, GoneTopic, Plan, Presence, Why};
use strait_core::{Side, SyncEvent, TopicId};

use super::Upkeep;
use crate::lock::lock;
use crate::ports::{PortError, SourceTopic};

/// Most topics that are remembered as created here, and that are asked for at once.
const TOPICS_MAX: usize = 10_000;
/// Most refusals that are remembered, so that each is told once.
const TOLD_MAX: usize = 10_000;

/// The target topics that this process has created for a link, each with the source topic that it
/// is for, until the control topic has them.
#[derive(Debug, Default)]
pub struct MadeTopics(Mutex<BTreeMap<Arc<str>, Arc<str>>>);

impl MadeTopics {
    /// Records that this process has just created a topic, which did not exist before.
    pub fn note(&self, topic: &Arc<str>, source: &Arc<str>) {
        let mut made = lock(&self.0);
        if made.len() < TOPICS_MAX {
            made.insert(Arc::clone(topic), Arc::clone(source));
        }
    }

    fn forget(&self, topic: &str) {
        lock(&self.0).remove(topic);
    }

    fn all(&self) -> BTreeMap<Arc<str>, Arc<str>> {
        lock(&self.0).clone()
    }
}

/// Source topics that go to a target topic, by its name.
pub type Fed = BTreeMap<Arc<str>, BTreeSet<Arc<str>>>;

/// The memory of a process of topics that are gone.
#[derive(Default)]
pub(super) struct Goings {
    departures: Departures,
    /// When they are asked for next.
    pub next: Duration,
    /// Topics with the reasons that were told, why they are kept.
    told: BTreeSet<(Arc<str>, String)>,
}

impl Goings {
    /// Returns whether the clusters are to be asked now.
    pub fn asks(&mut self, now: Duration) -> bool {
        let is_due = self.next <= now;
        if is_due {
            self.next = now + ASK_EVERY;
        }
        is_due
    }

    /// Another turn begins: nobody knows who has counted meanwhile.
    pub fn begin(&mut self) {
        self.departures = Departures::default();
    }
}

/// News for the control topic.
#[derive(Default)]
pub(super) struct News {
    /// Topics that the link has created: for which source topic, and their ids.
    made: BTreeMap<Arc<str>, (Arc<str>, TopicId)>,
    /// Topics whose source topics are gone, or are back.
    gone: BTreeMap<Arc<str>, Option<Gone>>,
}

impl News {
    pub fn topics(&self) -> impl Iterator<Item = &Arc<str>> {
        self.made.keys().chain(self.gone.keys())
    }

    /// Enters the news into the records of the control topic.
    pub fn enter(self, known: &mut BTreeMap<Arc<str>, TopicRecord>, changed: &mut BTreeSet<Arc<str>>) {
        for (topic, (source, id)) in self.made {
            let record = known.entry(Arc::clone(&topic)).or_default();
            if record.target_id.is_other_than(id) {
                record.applied.clear();
            }
            (record.made, record.target_id, record.source) = (true, id, source);
            changed.insert(topic);
        }
        for (topic, gone) in self.gone {
            if let Some(record) = known.get_mut(&topic) {
                record.gone = gone;
                changed.insert(topic);
            }
        }
    }
}

/// Returns the source topics of each target topic.
#[must_use]
pub fn fed_by(named: &[(SourceTopic, Arc<str>)]) -> Fed {
    let mut fed = Fed::new();
    for (source, target) in named {
        fed.entry(Arc::clone(target)).or_default().insert(Arc::clone(&source.topic));
    }
    fed
}

/// Returns the target topics that the control topic knows for source topics that are not listed,
/// and those that were to be deleted.
fn gone_of<'a>(
    known: &'a Control,
    listed: &'a [SourceTopic],
) -> impl Iterator<Item = (&'a Arc<str>, &'a TopicRecord)> + use<'a> {
    let listed: BTreeSet<&str> = listed.iter().map(|topic| &*topic.topic).collect();
    let is_gone = move |record: &TopicRecord| record.gone.is_some() || !listed.contains(&*record.source);
    known.topics().iter().filter(move |(_, record)| !record.source.is_empty() && is_gone(record)).take(TOPICS_MAX)
}

impl Upkeep {
    /// Returns whether there is a topic to ask for: one that is gone at the source, or one that was
    /// created here and that the control topic does not have.
    pub(super) fn has_gone(&self, known: &Control, listed: &[SourceTopic]) -> bool {
        let has_gone = match self.deps.settings.delete_after {
            _ if self.deps.only_looks => false,
            Some(_) => gone_of(known, listed).next().is_some(),
            None => known.topics().values().any(|record| record.gone.is_some()),
        };
        has_gone || !self.unrecorded(known).is_empty()
    }

    /// Returns the topics that this process has created and that the control topic does not have.
    pub(super) fn unrecorded(&self, known: &Control) -> BTreeMap<Arc<str>, Arc<str>> {
        let mut made = self.deps.made.all();
        made.retain(|topic, _| {
            let is_known = known.topic(topic).is_some_and(|record| record.made && record.target_id.is_known());
            if is_known {
                self.deps.made.forget(topic);
            }
            !is_known
        });
        made
    }

    /// Adds what is to be known of topics that are gone at the source. Returns what the control
    /// topic is to say of them, and of topics that this process has created.
    pub(super) async fn look_for_gone(
        &self,
        known: &Control,
        (listed, feeds): (&[SourceTopic], &Fed),
        facts: &mut Facts,
    ) -> Result<News, PortError> {
        let unrecorded = self.unrecorded(known);
        let mut gone = BTreeMap::new();
        if self.deps.settings.delete_after.is_some() && !self.deps.only_looks {
            gone = gone_of(known, listed).map(|(topic, record)| (Arc::clone(topic), GoneTopic::of(record))).collect();
        }
        let targets: BTreeSet<Arc<str>> = unrecorded.keys().chain(gone.keys()).cloned().collect();
        let at_target = self.presence(Side::Target, targets).await?;
        let of_made = |(topic, source): (Arc<str>, Arc<str>)| match at_target.get(&topic) {
            Some(Presence::Exists(id)) if id.is_known() => Some((topic, (source, *id))),
            _ => None,
        };
        let mut news = News { made: unrecorded.into_iter().filter_map(of_made).collect(), ..News::default() };
        let sources = gone.values().map(|topic| Arc::clone(&topic.source)).collect();
        let at_source = self.presence(Side::Source, sources).await?;
        for (topic, gone) in &mut gone {
            gone.at_target = at_target.get(topic).cloned();
            gone.at_source = at_source.get(&gone.source).cloned();
            gone.named_for = feeds.get(topic).cloned().unwrap_or_default();
        }
        news.gone = self.settled(&mut gone, known).await?;
        facts.gone = gone;
        Ok(news)
    }

    /// Takes the answers, and reads the positions of the link where they decide.
    async fn settled(
        &self,
        gone: &mut BTreeMap<Arc<str>, GoneTopic>,
        known: &Control,
    ) -> Result<BTreeMap<Arc<str>, Option<Gone>>, PortError> {
        let Some(after) = self.deps.settings.delete_after else {
            // They are kept. Switched on again, the option lets them wait anew.
            let waiting = known.topics().iter().filter(|(_, record)| record.gone.is_some() && !self.deps.only_looks);
            return Ok(waiting.map(|(topic, _)| (Arc::clone(topic), None)).collect());
        };
        let now = self.deps.clock.now();
        let needs = {
            let departures = &mut lock(&self.state).gone.departures;
            departures.hear(gone, now);
            departures.needs_feeds(gone, now, &self.deps.settings)
        };
        if needs {
            let written = self.deps.progress.read_written(self.deps.lanes).await?;
            let departures = &mut lock(&self.state).gone.departures;
            for (topic, gone) in &*gone {
                let mut feeds = Feeds::default();
                let id = gone.made.unwrap_or_default();
                written.iter().for_each(|lane| feeds.add(&lane.positions, &gone.source, (topic, id)));
                departures.fed(topic, feeds, now);
            }
        }
        let news = {
            let departures = &mut lock(&self.state).gone.departures;
            departures.settle(gone, (now, self.deps.clock.unix_ms()), &self.deps.settings)
        };
        for (topic, gone) in &news {
            let Some(record) = known.topic(topic) else { continue };
            let (source_topic, target_topic) = (Arc::clone(&record.source), Arc::clone(topic));
            match (record.gone, gone) {
                (None, Some(_)) => self.emit(SyncEvent::DeletionPending { source_topic, target_topic, after }),
                (Some(_), None) => {
                    let reason = "the source has the topic again".to_owned();
                    self.emit(SyncEvent::DeletionRefused { source_topic, target_topic, reason });
                }
                _ => {}
            }
        }
        Ok(news)
    }

    /// Asks a cluster for topics by name.
    async fn presence(
        &self,
        side: Side,
        topics: BTreeSet<Arc<str>>,
    ) -> Result<BTreeMap<Arc<str>, Presence>, PortError> {
        if topics.is_empty() {
            return Ok(BTreeMap::new());
        }
        self.deps.planner.presence(side, topics.into_iter().collect()).await
    }

    /// Tells once why topics are kept whose source topics are gone.
    pub(super) fn tell_kept(&self, facts: &Facts, planned: &Plan) {
        for left in &planned.left {
            let Why::Kept(kept) = &left.why else { continue };
            let Some(gone) = facts.gone.get(&left.topic).filter(|gone| gone.is_believed || gone.gone.is_some()) else {
                continue;
            };
            self.not_deleted(&gone.source, &left.topic, kept.to_string());
        }
    }

    /// Tells once that a target topic is not deleted.
    pub(super) fn not_deleted(&self, source: &Arc<str>, topic: &Arc<str>, reason: String) {
        {
            let told = &mut lock(&self.state).gone.told;
            if told.len() >= TOLD_MAX || !told.insert((Arc::clone(topic), reason.clone())) {
                return;
            }
        }
        let (source_topic, target_topic) = (Arc::clone(source), Arc::clone(topic));
        self.emit(SyncEvent::DeletionRefused { source_topic, target_topic, reason });
    }

    /// Asks both clusters once more, right before a topic is deleted.
    pub(super) async fn is_still_due(&self, (topic, id): (&Arc<str>, TopicId), source: &Arc<str>) -> bool {
        let at_source = self.presence(Side::Source, [Arc::clone(source)].into()).await;
        let at_target = self.presence(Side::Target, [Arc::clone(topic)].into()).await;
        let (mut at_source, mut at_target) = match (at_source, at_target) {
            (Ok(at_source), Ok(at_target)) => (at_source, at_target),
            (Err(error), _) | (_, Err(error)) => {
                tracing::debug!(link = &*self.deps.link, topic = &**topic, %error, "a topic is not deleted yet");
                return false;
            }
        };
        let is_gone = at_source.remove(source) == Some(Presence::Unknown);
        is_gone && id.is_known() && at_target.remove(topic) == Some(Presence::Exists(id))
    }
}
