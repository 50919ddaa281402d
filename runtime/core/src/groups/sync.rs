//! All that is known of the groups of a link.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use super::{Committed, GroupOffset, Lack, Place, Translated, Verdict, Wish, Write, Written, judge, resumes_at};
use crate::control::{Control, ControlRecord, GroupPartition, GroupRecord, Intent, Orphan, SourcePlace, TakenOver};
use crate::event::GroupEvent;
use crate::map::{Exactness, NoAnswer};
use crate::offset::TargetOffset;

/// How often a group's offsets on the target are looked at when nothing changes: they expire.
const LOOK_EVERY: Duration = Duration::from_secs(30);
/// How often an offset is written again that has not changed.
const WRITE_AGAIN_MS: i64 = 24 * 3600 * 1000;
/// Least time between two writes of one group.
const WRITE_EVERY: Duration = Duration::from_secs(1);
/// When a group with members is retried.
const ACTIVE_AGAIN: Duration = Duration::from_secs(5);
/// When a group is retried whose offsets the target refuses.
const REFUSED_AGAIN: Duration = Duration::from_secs(60);
/// Most offsets of a partition that may still be written. A request can arrive a minute late, and
/// each turn leaves one: were the oldest forgotten, its arrival would look like a reader's commit.
const ORPHANS_MAX: usize = 16;
/// How long they count, in milliseconds.
const ORPHANS_MS: i64 = 24 * 3600 * 1000;

/// The state of a group on the target.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum State {
    /// Nothing is known yet, or a partition has no answer.
    #[default]
    Pending,
    /// Each offset is there, and its reader repeats and skips nothing.
    Exact,
    /// Each offset is there, and a reader may repeat records.
    Inexact,
    /// It has members on the target, so nothing is written.
    Active,
    /// It has read on the target, or was there before: nothing is written any more.
    TakenOver,
    /// The target refuses its offsets.
    Refused,
    /// It reads a topic that another link writes to as well: nothing is written there.
    Shared,
}

/// One group.
#[derive(Debug, Default)]
struct Group {
    /// Its records, by target topic.
    topics: BTreeMap<Arc<str>, GroupRecord>,
    translated: Translated,
    /// Its offsets were translated since the target was looked at.
    is_new: bool,
    /// The source has it no more.
    is_gone: bool,
    /// When the target was looked at last.
    looked: Option<Duration>,
    /// Nothing is asked of the target before.
    not_before: Duration,
    /// Topics whose records are not written yet.
    unsaved: BTreeSet<Arc<str>>,
    /// The intents are in the control topic.
    is_announced: bool,
    /// Partitions where the target takes no metadata of this size.
    bare: BTreeSet<Place>,
    state: State,
    /// The last refusal or fault that was told.
    told: Option<String>,
}

/// All groups of a link, while this process coordinates it.
#[derive(Debug, Default)]
pub struct GroupSync {
    groups: BTreeMap<Arc<str>, Group>,
}

impl GroupSync {
    /// Begins a turn with what the control topic says. What was intended then may be written or
    /// not, now or later.
    #[must_use]
    pub fn of(control: &Control, unix_ms: i64) -> Self {
        let mut groups: BTreeMap<Arc<str>, Group> = BTreeMap::new();
        for ((name, topic), record) in control.groups() {
            let group = groups.entry(Arc::clone(name)).or_default();
            let mut record = GroupRecord::clone(record);
            record.partitions.values_mut().for_each(|partition| give_up(partition, unix_ms));
            if record.taken.is_some() && !record.resync {
                group.state = State::TakenOver;
            }
            group.topics.insert(Arc::clone(topic), record);
        }
        Self { groups }
    }

    /// Takes what a group's source offsets are on the target.
    pub fn translated(&mut self, name: &Arc<str>, translated: Translated) {
        let group = self.groups.entry(Arc::clone(name)).or_default();
        group.is_new |= group.translated != translated;
        group.translated = translated;
        // Where that is all that it reads, it is never compared.
        if !group.is_taken() && group.translated.is_shared() {
            group.state = State::Shared;
        }
    }

    /// The source has the group no more. What was written for it stays, and is kept from expiring.
    pub fn gone(&mut self, name: &Arc<str>) {
        if let Some(group) = self.groups.get_mut(name) {
            group.is_gone = true;
        }
    }

    /// The source has the group, or has it again.
    pub fn here(&mut self, name: &Arc<str>) {
        if let Some(group) = self.groups.get_mut(name) {
            group.is_gone = false;
        }
    }

    /// Returns the offset at which a group resumes at a place where it has this wish.
    #[must_use]
    pub fn resumes(&self, name: &Arc<str>, place: &Place, wish: &Wish) -> TargetOffset {
        resumes_at(self.groups.get(name).and_then(|group| group.known(place)), wish)
    }

    /// Returns the groups that the link has written.
    pub fn written(&self) -> impl Iterator<Item = &Arc<str>> {
        self.groups.iter().filter(|(_, group)| !group.topics.is_empty() && !group.is_taken()).map(|(name, _)| name)
    }

    /// Returns the source offsets of a group that were written last.
    #[must_use]
    pub fn kept(&self, name: &Arc<str>) -> Committed {
        let topics = self.groups.get(name).map(|group| group.topics.values()).into_iter().flatten();
        let sources = topics.flat_map(|record| record.partitions.values()).flat_map(|known| &known.source);
        let kept = |at: &SourcePlace| {
            let offset = GroupOffset { offset: at.offset.0, metadata: Arc::default() };
            ((Arc::clone(&at.partition.topic), at.partition.partition), offset)
        };
        sources.map(kept).collect()
    }

    /// Returns the groups whose offsets on the target are to be looked at now.
    #[must_use]
    pub fn due(&self, now: Duration) -> Vec<Arc<str>> {
        let due = |group: &Group| {
            let is_due = group.is_new || group.looked.is_none_or(|looked| now >= looked + LOOK_EVERY);
            // Without a record or an answer there is nothing to compare with.
            let is_known = !group.topics.is_empty() || !group.translated.wishes.is_empty();
            let is_ready = is_known && !group.is_taken() && !group.has_intents() && !group.waits_for_answers();
            is_ready && is_due && now >= group.not_before
        };
        self.groups.iter().filter(|(_, group)| due(group)).map(|(name, _)| Arc::clone(name)).collect()
    }

    /// Compares what a group has on the target with what it is to have.
    pub fn look(&mut self, name: &Arc<str>, found: &Committed, now: Duration, unix_ms: i64) -> Vec<GroupEvent> {
        let Some(group) = self.groups.get_mut(name) else { return Vec::new() };
        (group.is_new, group.looked) = (false, Some(now));
        group.compare(name, found, now, unix_ms)
    }

    /// The target does not say what the group has there: nothing is written, and it is asked again.
    pub fn put_off(&mut self, name: &Arc<str>, now: Duration) {
        let Some(group) = self.groups.get_mut(name) else { return };
        for (topic, record) in &mut group.topics {
            for known in record.partitions.values_mut().filter(|known| known.intended.is_some()) {
                known.intended = None;
                group.unsaved.insert(Arc::clone(topic));
            }
        }
        (group.is_new, group.is_announced, group.not_before) = (true, false, now + ACTIVE_AGAIN);
    }

    /// Returns whether there is something to write to the control topic, or to the target.
    #[must_use]
    pub fn has_work(&self) -> bool {
        self.groups.values().any(|group| !group.unsaved.is_empty() || group.has_intents())
    }

    /// Returns the records that say what has changed. Once they are committed the groups that they
    /// name with an intent may be written ([`GroupSync::announced`]).
    pub fn records(&mut self) -> Vec<ControlRecord> {
        let mut records = Vec::new();
        for (name, group) in &mut self.groups {
            for topic in std::mem::take(&mut group.unsaved) {
                let record = group.topics.get(&topic).cloned().map(Arc::new);
                records.push(ControlRecord::Group(Arc::clone(name), topic, record));
            }
            group.is_announced = group.has_intents();
        }
        records
    }

    /// Returns the groups whose intents are in the control topic.
    #[must_use]
    pub fn announced(&self) -> Vec<Arc<str>> {
        let ready = self.groups.iter().filter(|(_, group)| group.is_announced && group.has_intents());
        ready.map(|(name, _)| Arc::clone(name)).collect()
    }

    /// Compares once more, just before writing. Returns what to write: nothing if the group has
    /// moved.
    pub fn writes(&mut self, name: &Arc<str>, found: &Committed, unix_ms: i64) -> (Vec<Write>, Vec<GroupEvent>) {
        let Some(group) = self.groups.get_mut(name) else { return (Vec::new(), Vec::new()) };
        group.writes(name, found, unix_ms)
    }

    /// Takes the target's answers.
    pub fn wrote(
        &mut self,
        name: &Arc<str>,
        answers: &BTreeMap<Place, Written>,
        now: Duration,
        unix_ms: i64,
    ) -> Vec<GroupEvent> {
        let Some(group) = self.groups.get_mut(name) else { return Vec::new() };
        group.wrote(name, answers, now, unix_ms)
    }

    /// Takes the states of groups from their answers alone, where nobody writes them.
    pub fn judge_answers(&mut self) {
        self.groups.values_mut().for_each(Group::set_state);
    }

    /// Returns what each group is like on the target. Those that read none of the link's topics are
    /// left out.
    pub fn states(&self) -> impl Iterator<Item = (&Arc<str>, State)> {
        let counts = |group: &Group| !group.topics.is_empty() || group.translated != Translated::default();
        self.groups.iter().filter(move |(_, group)| counts(group)).map(|(name, group)| (name, group.state))
    }
}

impl Group {
    fn is_taken(&self) -> bool {
        self.topics.values().any(|record| record.taken.is_some() && !record.resync)
    }

    /// Returns whether the group is given back and its answers are still to come: what it has on
    /// the target then counts as the link's.
    fn waits_for_answers(&self) -> bool {
        let Translated { wishes, lacks } = &self.translated;
        let is_to_come = |lack: &Lack| matches!(lack, Lack::MapUnread | Lack::NoAnswer(NoAnswer::Pending(_)));
        self.is_given_back() && (wishes.is_empty() || lacks.values().any(is_to_come))
    }

    fn is_given_back(&self) -> bool {
        self.topics.values().any(|record| record.resync)
    }

    fn has_intents(&self) -> bool {
        self.topics.values().any(|record| record.partitions.values().any(|partition| partition.intended.is_some()))
    }

    /// Returns all places that the link has written, or is to write.
    fn places(&self) -> BTreeSet<Place> {
        let known = self
            .topics
            .iter()
            .flat_map(|(topic, record)| record.partitions.keys().map(move |partition| (Arc::clone(topic), *partition)));
        let all = known.chain(self.translated.wishes.keys().cloned());
        all.filter(|place| !self.is_shared(place) || self.known(place).is_some_and(|known| known.intended.is_some()))
            .collect()
    }

    /// Returns whether another link writes to the topic. What was announced before that was known
    /// is still written.
    fn is_shared(&self, place: &Place) -> bool {
        matches!(self.translated.lacks.get(place), Some(Lack::SharedTarget(_)))
    }

    fn known(&self, (topic, partition): &Place) -> Option<&GroupPartition> {
        self.topics.get(topic)?.partitions.get(partition)
    }

    fn known_mut(&mut self, (topic, partition): &Place) -> &mut GroupPartition {
        self.unsaved.insert(Arc::clone(topic));
        self.topics.entry(Arc::clone(topic)).or_default().partitions.entry(*partition).or_default()
    }

    fn compare(&mut self, name: &Arc<str>, found: &Committed, now: Duration, unix_ms: i64) -> Vec<GroupEvent> {
        let resync = self.is_given_back();
        let verdicts: Vec<(Place, Verdict)> = self
            .places()
            .into_iter()
            .map(|place| {
                let flags = (resync, self.may_expire(&place, unix_ms) || self.keeps_other(found, &place));
                let verdict = judge(self.known(&place), at(found, &place), self.wish(&place), flags);
                (place, verdict)
            })
            .collect();
        if let Some(event) = self.take_over(name, &verdicts, unix_ms) {
            return vec![event];
        }
        if resync {
            self.unsaved.extend(self.topics.keys().cloned());
            self.topics.values_mut().for_each(|record| (record.taken, record.resync) = (None, false));
            for (place, _) in &verdicts {
                let there = at(found, place);
                let known = self.known_mut(place);
                // Without a source offset that could fall.
                (known.written, known.source) = (there.or(known.written), Vec::new());
            }
        }
        let mut events = Vec::new();
        self.set_state();
        for (place, verdict) in verdicts {
            let source = self.wish(&place).map(|wish| wish.source.clone());
            match verdict {
                Verdict::Adopt(offset) => {
                    let known = self.known_mut(&place);
                    (known.written, known.source) = (Some(offset), source.unwrap_or_default());
                    known.written_at = Some(unix_ms);
                }
                Verdict::Write(offset) => {
                    let known = self.known_mut(&place);
                    let source = source.unwrap_or_else(|| known.source.clone());
                    known.intended = Some(Intent { offset, source });
                }
                Verdict::Fell { found, answer } => {
                    self.state = State::Refused;
                    self.not_before = now + REFUSED_AGAIN;
                    let (topic, partition) = place;
                    let event = GroupEvent::Fell { group: Arc::clone(name), topic, partition, found, answer };
                    events.extend(self.tell(event));
                }
                Verdict::Leave | Verdict::Foreign(_) => {}
            }
        }
        self.is_announced = false;
        events
    }

    /// Returns whether the offset was written so long ago that it is written again. It counts from
    /// the last write by any coordinator: one that begins more often would never come to it.
    fn may_expire(&self, place: &Place, unix_ms: i64) -> bool {
        let written = self.known(place).filter(|known| known.written.is_some());
        written.is_some_and(|known| known.written_at.is_none_or(|at| unix_ms.saturating_sub(at) >= WRITE_AGAIN_MS))
    }

    /// Returns whether the group keeps something else beside its offset on the source.
    fn keeps_other(&self, found: &Committed, place: &Place) -> bool {
        let wish = self.wish(place).filter(|_| !self.is_gone && !self.bare.contains(place));
        wish.zip(found.get(place)).is_some_and(|(wish, found)| wish.metadata != found.metadata)
    }

    /// Returns the wish for a place. That of a group which is gone must be for what was written.
    fn wish(&self, place: &Place) -> Option<&Wish> {
        let is_same = |wish: &&Wish| self.known(place).is_some_and(|known| known.source == wish.source);
        self.translated.wishes.get(place).filter(|wish| !self.is_gone || is_same(wish))
    }

    /// Leaves the group to the target if an offset there is not the link's.
    fn take_over(&mut self, name: &Arc<str>, verdicts: &[(Place, Verdict)], unix_ms: i64) -> Option<GroupEvent> {
        let ((topic, partition), found) = verdicts.iter().find_map(|(place, verdict)| match verdict {
            Verdict::Foreign(found) => Some((place.clone(), *found)),
            _ => None,
        })?;
        let written = self.known(&(Arc::clone(&topic), partition)).and_then(|known| known.written);
        for (topic, record) in &mut self.topics {
            for known in record.partitions.values_mut().filter(|known| known.intended.is_some()) {
                give_up(known, unix_ms);
                self.unsaved.insert(Arc::clone(topic));
            }
        }
        let record = self.topics.entry(Arc::clone(&topic)).or_default();
        record.taken = Some(TakenOver { partition, found, at: unix_ms });
        self.unsaved.insert(Arc::clone(&topic));
        (self.state, self.is_announced) = (State::TakenOver, false);
        Some(GroupEvent::TakenOver { group: Arc::clone(name), topic, partition, found, written })
    }

    fn set_state(&mut self) {
        let is_exact = |wish: &Wish| wish.answer.exactness == Exactness::Exact;
        let Translated { wishes, lacks } = &self.translated;
        self.state = match (lacks.is_empty(), wishes.is_empty()) {
            _ if self.translated.is_shared() => State::Shared,
            (false, _) | (true, true) => State::Pending,
            (true, false) if wishes.values().all(is_exact) => State::Exact,
            (true, false) => State::Inexact,
        };
    }

    fn writes(&mut self, name: &Arc<str>, found: &Committed, unix_ms: i64) -> (Vec<Write>, Vec<GroupEvent>) {
        let intended: Vec<(Place, TargetOffset)> = self
            .places()
            .into_iter()
            .filter_map(|place| {
                let intent = self.known(&place)?.intended.as_ref()?.offset;
                Some((place, intent))
            })
            .collect();
        let verdicts: Vec<(Place, Verdict)> = self
            .places()
            .into_iter()
            .map(|place| {
                let verdict = judge(self.known(&place), at(found, &place), self.wish(&place), (false, false));
                (place, verdict)
            })
            .collect();
        if let Some(event) = self.take_over(name, &verdicts, unix_ms) {
            return (Vec::new(), vec![event]);
        }
        let write = |(place, offset): (Place, TargetOffset)| {
            let wish = self.wish(&place).filter(|_| !self.is_gone);
            let kept = wish.filter(|_| !self.bare.contains(&place)).map(|wish| Arc::clone(&wish.metadata));
            // Else the offset is there as it was, or has expired with what it kept.
            let there = || found.get(&place).map(|found| Arc::clone(&found.metadata));
            let metadata = kept.or_else(there).unwrap_or_default();
            Write { place, offset, metadata }
        };
        (intended.into_iter().map(write).collect(), Vec::new())
    }

    fn wrote(
        &mut self,
        name: &Arc<str>,
        answers: &BTreeMap<Place, Written>,
        now: Duration,
        unix_ms: i64,
    ) -> Vec<GroupEvent> {
        let (mut events, mut is_refused) = (Vec::new(), false);
        self.is_announced = false;
        self.not_before = now + WRITE_EVERY;
        for place in self.places() {
            let Some(intent) = self.known(&place).and_then(|known| known.intended.clone()) else { continue };
            let unanswered = Written::Unknown("the target did not answer".to_owned());
            let answer = answers.get(&place).unwrap_or(&unanswered);
            let known = self.known_mut(&place);
            match answer {
                Written::Taken => {
                    (known.written, known.source, known.intended) = (Some(intent.offset), intent.source, None);
                    known.written_at = Some(unix_ms);
                    continue;
                }
                Written::Unknown(_) => give_up(known, unix_ms),
                // The target has said that it did not take it.
                _ => known.intended = None,
            }
            (self.is_new, is_refused) = (true, true);
            events.extend(self.refused(name, &place, answer, now));
        }
        if !is_refused {
            self.told = None;
        }
        events
    }

    fn refused(&mut self, name: &Arc<str>, place: &Place, answer: &Written, now: Duration) -> Option<GroupEvent> {
        let (group, topic) = (Arc::clone(name), Arc::clone(&place.0));
        let (wait, state, event) = match answer {
            Written::Taken => return None,
            Written::Active => (ACTIVE_AGAIN, State::Active, None),
            Written::NoPartition => (ACTIVE_AGAIN, State::Pending, None),
            Written::Unknown(_) => (WRITE_EVERY, State::Pending, None),
            Written::MetadataTooLarge => {
                self.bare.insert(place.clone());
                let event = GroupEvent::MetadataLeftOut { group, topic, partition: place.1 };
                (WRITE_EVERY, State::Pending, Some(event))
            }
            Written::OtherKind => {
                let reason = "the target has a group of this name that is no consumer group".to_owned();
                (REFUSED_AGAIN, State::Refused, Some(GroupEvent::Refused { group, topic, reason }))
            }
            Written::Denied(reason) => {
                let reason = reason.clone();
                (REFUSED_AGAIN, State::Refused, Some(GroupEvent::Refused { group, topic, reason }))
            }
        };
        self.state = state;
        self.not_before = self.not_before.max(now + wait);
        event.and_then(|event| self.tell(event))
    }

    /// Returns an event unless it was the last one.
    fn tell(&mut self, event: GroupEvent) -> Option<GroupEvent> {
        let text = event.to_string();
        (self.told.replace(text.clone()) != Some(text)).then_some(event)
    }
}

/// Turns an intent into an offset that may still be written.
fn give_up(partition: &mut GroupPartition, unix_ms: i64) {
    partition.orphans.retain(|orphan| unix_ms.saturating_sub(orphan.at) < ORPHANS_MS);
    let Some(Intent { offset, .. }) = partition.intended.take() else { return };
    partition.orphans.retain(|orphan| orphan.offset != offset);
    partition.orphans.push(Orphan { offset, at: unix_ms });
    if partition.orphans.len() > ORPHANS_MAX {
        partition.orphans.remove(0);
    }
}

fn at(found: &Committed, place: &Place) -> Option<TargetOffset> {
    found.get(place).map(|found| TargetOffset(found.offset))
}
